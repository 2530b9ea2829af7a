/*
 * redact.c - what may be shown of a database's URL.
 *
 * People paste passwords unescaped, so this does not parse as a URL library would: wherever a
 * text can be read in two ways, the reading that hides more wins.
 */
#include "base/text.h"

#include <string.h>
#include <strings.h>

enum { KEY_TEXT = 64 };

static const char stars[] = "***";

struct output {
  char *out;
  size_t size, used;
};

static void put(struct output *output, const char *text, size_t size)
{
  size_t room = output->size - output->used - 1;
  if (size > room) {
    size = cen_utf8_cut(text, room);
    output->size = output->used + size + 1; /* full: nothing shorter may follow the cut */
  }
  memcpy(output->out + output->used, text, size);
  output->used += size;
  output->out[output->used] = '\0';
}

/* A key as compared: percent signs decoded, small letters. A longer one is cut. */
static void key_normalize(char key[KEY_TEXT], const char *text, size_t size)
{
  size_t used = 0;
  for (size_t i = 0; i < size && used + 1 < KEY_TEXT; i++) {
    char c = text[i];
    if (c == '%' && i + 2 < size && cen_hex_digit(text[i + 1]) >= 0 &&
        cen_hex_digit(text[i + 2]) >= 0) {
      c = (char)(cen_hex_digit(text[i + 1]) * 16 + cen_hex_digit(text[i + 2]));
      i += 2;
    }
    key[used++] = (char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
  }
  key[used] = '\0';
}

static bool key_is_secret(const char *text, size_t size)
{
  static const char *const parts[] = {"password", "passwd", "token",   "secret",
                                      "jwt",      "apikey", "api_key", "credential"};
  static const char *const whole[] = {"pass", "pwd", "key", "hexkey", "textkey"};
  if (size >= KEY_TEXT) {
    return true; /* nobody's real parameter */
  }
  char key[KEY_TEXT];
  key_normalize(key, text, size);
  for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
    if (strstr(key, parts[i]) != NULL) {
      return true;
    }
  }
  for (size_t i = 0; i < sizeof(whole) / sizeof(whole[0]); i++) {
    if (strcmp(key, whole[i]) == 0) {
      return true;
    }
  }
  return false;
}

/* A value that is itself a URL with somebody's login in it. */
static bool value_has_login(const char *text, size_t size)
{
  bool at = false, scheme = false;
  for (size_t i = 0; i < size; i++) {
    at = at || text[i] == '@' || (size - i >= 3 && strncasecmp(text + i, "%40", 3) == 0);
    scheme = scheme || (size - i >= 3 &&
                        (strncmp(text + i, "://", 3) == 0 || strncasecmp(text + i, "%2f", 3) == 0));
  }
  return at && scheme;
}

/* key=value&key=value … */
static void put_query(struct output *output, const char *query)
{
  for (;;) {
    size_t size = strcspn(query, "&");
    const char *equals = memchr(query, '=', size);
    size_t key = equals == NULL ? size : (size_t)(equals - query);
    const char *value = query + key + (equals != NULL);
    size_t value_size = size - key - (equals != NULL);
    put(output, query, size - value_size);
    if (value_size > 0 && (key_is_secret(query, key) || value_has_login(value, value_size))) {
      put(output, stars, strlen(stars));
    } else {
      put(output, value, value_size);
    }
    if (query[size] == '\0') {
      return;
    }
    put(output, "&", 1);
    query += size + 1;
  }
}

/* Is what follows the first colon a port, so that this is "host:5432/…" and not "user:pass"? */
static bool starts_with_port(const char *text)
{
  const char *bracket = *text == '[' ? strchr(text, ']') : NULL; /* [::1]:5432 */
  const char *colon = strpbrk(bracket != NULL ? bracket : text, ":/?#");
  if (colon == NULL || *colon != ':') {
    return true; /* no colon before the path: no password there either */
  }
  const char *end = colon + 1 + strspn(colon + 1, "0123456789");
  return *end == '/' || *end == '?' || *end == ',' || *end == '\0';
}

/*
 * Where user and password end, or NULL where there are none: at the last '@', for a password may
 * hold others. When a "?key=" stands before that '@', it may be one inside the query as well; then
 * all up to the next parameter is hidden. Only a port in the password's place shows that a query's
 * '@' is just that.
 */
static const char *login_end(const char *text)
{
  const char *first = strchr(text, '@');
  if (first == NULL) {
    /* "user:pass" and the host forgotten? */
    return starts_with_port(text) ? NULL : text + strcspn(text, "?");
  }
  const char *last = strrchr(text, '@');
  const char *question = strchr(text, '?');
  const char *equals = question == NULL ? NULL : strchr(question, '=');
  if (equals == NULL || equals > last) {
    return last;
  }
  if (equals < first && starts_with_port(text)) {
    return NULL;
  }
  return last + strcspn(last, "&");
}

static void put_authority_and_rest(struct output *output, const char *text)
{
  const char *end = login_end(text);
  if (end != NULL) {
    const char *colon = memchr(text, ':', (size_t)(end - text));
    if (colon != NULL) {
      put(output, text, (size_t)(colon - text) + 1);
      put(output, stars, strlen(stars));
    } else {
      put(output, text, (size_t)(end - text));
    }
    text = end;
  }
  size_t path = strcspn(text, "?&");
  put(output, text, path);
  if (text[path] != '\0') {
    put(output, text + path, 1);
    put_query(output, text + path + 1);
  }
}

static const char *skip_blanks(const char *text)
{
  return text + strspn(text, " \t\r\n\f\v");
}

/* libpq's key = 'quo\'ted value' list. */
static void put_conninfo(struct output *output, const char *text)
{
  while (*text != '\0') {
    const char *key = skip_blanks(text);
    size_t key_size = strcspn(key, "= \t\r\n\f\v");
    const char *equals = skip_blanks(key + key_size);
    if (*equals != '=') {
      /* No key: perhaps the rest of a password with a blank in it. */
      put(output, text, (size_t)(key - text));
      put(output, stars, *key == '\0' ? 0 : strlen(stars));
      text = key + key_size;
      continue;
    }
    const char *value = skip_blanks(equals + 1);
    bool quoted = *value == '\'';
    const char *end = value + quoted;
    while (*end != '\0' && (quoted ? *end != '\'' : strchr(" \t\r\n\f\v", *end) == NULL)) {
      end += *end == '\\' && end[1] != '\0' ? 2 : 1;
    }
    end += quoted && *end == '\'';
    put(output, text, (size_t)(value - text));
    if (key_is_secret(key, key_size) || value_has_login(value, (size_t)(end - value))) {
      put(output, stars, strlen(stars));
    } else {
      put(output, value, (size_t)(end - value));
    }
    text = end;
  }
}

static bool is_conninfo(const char *url)
{
  const char *key = skip_blanks(url);
  size_t size = strspn(key, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_");
  return size > 0 && *skip_blanks(key + size) == '=';
}

void cen_url_redact(char *out, size_t size, const char *url)
{
  if (size == 0) {
    return;
  }
  out[0] = '\0';
  if (url == NULL) {
    return;
  }
  struct output output = {.out = out, .size = size};
  if (is_conninfo(url)) {
    put_conninfo(&output, url);
    return;
  }
  bool is_file = strncasecmp(url, "sqlite:", 7) == 0 || strncasecmp(url, "file:", 5) == 0;
  if (is_file) {
    size_t path = strcspn(url, "?");
    put(&output, url, path);
    if (url[path] == '?') {
      put(&output, "?", 1);
      put_query(&output, url + path + 1);
    }
    return;
  }
  const char *slashes = strstr(url, "://");
  const char *start = slashes == NULL ? url : slashes + 3;
  put(&output, url, (size_t)(start - url));
  put_authority_and_rest(&output, start);
}
