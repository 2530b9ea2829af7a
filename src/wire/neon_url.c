/* neon_url.c - connection strings as clients send them. What is refused, and how: neon.h. */
#include "wire/neon.h"

#include "base/limits.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Decodes and terminates where it stands (one byte behind it is ours). A percent sign without two
 * digits stays as it is. False: what comes out is no text. */
static bool percent_decode(char *text, size_t size)
{
  size_t wrote = 0;
  for (size_t i = 0; i < size; i++) {
    int high = text[i] == '%' && size - i > 2 ? cen_hex_digit(text[i + 1]) : -1;
    int low = high >= 0 ? cen_hex_digit(text[i + 2]) : -1;
    if (low >= 0) {
      text[wrote++] = (char)(high * 16 + low);
      i += 2;
    } else {
      text[wrote++] = text[i];
    }
  }
  text[wrote] = '\0';
  for (size_t at = 0; at < wrote;) {
    size_t bytes = cen_utf8_next(text + at, wrote - at);
    if (bytes == 0 || text[at] == '\0') {
      return false;
    }
    at += bytes;
  }
  return true;
}

static char *find(char *from, char *end, char wanted)
{
  char *found = from < end ? memchr(from, wanted, (size_t)(end - from)) : NULL;
  return found != NULL ? found : end;
}

static bool port_read(const char *text, uint16_t *port)
{
  unsigned number = 0;
  for (; *text != '\0'; text++) {
    unsigned digit = (unsigned)(unsigned char)*text - '0';
    if (digit > 9 || (number = number * 10 + digit) > 65535) {
      return false;
    }
  }
  *port = (uint16_t)number;
  return true;
}

/* "host:port" at `host`, terminated. */
static bool host_split(struct cen_neon_url *url, char *host)
{
  char *colon = host[0] == '[' ? strchr(host, ']') : host;
  if (colon == NULL) {
    return false;
  }
  colon = strchr(colon, ':');
  if (colon != NULL && !port_read(colon + 1, &url->port)) {
    return false;
  }
  if (colon != NULL) {
    *colon = '\0';
  }
  url->host = host;
  return percent_decode(host, strlen(host)) && strcspn(host, " /\\@?#<>^|") == strlen(host);
}

static bool user_split(struct cen_neon_url *url, char *user, char *end)
{
  char *colon = find(user, end, ':');
  url->user = user;
  if (colon < end) {
    url->password = colon + 1;
    url->has_password = end > colon + 1;
    if (!percent_decode(colon + 1, (size_t)(end - colon - 1))) {
      return false;
    }
  }
  return percent_decode(user, (size_t)(colon - user));
}

/* The parts of what follows "postgres://", each terminated where a delimiter stood. */
static bool parts_split(struct cen_neon_url *url, char *at, char *end)
{
  char *fragment = find(at, end, '#');
  *fragment = '\0';
  char *query = find(at, fragment, '?');
  if (query < fragment) {
    url->query = query + 1;
  }
  *query = '\0';
  char *path = find(at, query, '/');
  bool has_path = path < query;
  *path = '\0';
  if (has_path) {
    char *database = path + 1;
    char *next = find(database, query, '/');
    *next = '\0';
    url->database = database;
    if (!percent_decode(database, (size_t)(next - database))) {
      return false;
    }
  }
  char *host = at;
  char *sign = strrchr(at, '@');
  if (sign != NULL) {
    *sign = '\0';
    host = sign + 1;
    if (!user_split(url, at, sign)) {
      return false;
    }
  }
  return host_split(url, host);
}

static bool has_control(const char *text, size_t size)
{
  for (size_t i = 0; i < size; i++) {
    if ((unsigned char)text[i] < 0x20 || text[i] == 0x7F) {
      return true;
    }
  }
  return false;
}

static cenote_status missing(struct cen_neon_url *url, cenote_error *error, const char *what)
{
  cen_neon_url_deinit(url);
  return cenote_error_set(error, CENOTE_INVALID, "%s", what);
}

cenote_status cen_neon_url_parse(struct cen_neon_url *url, const char *text, size_t size,
                                 cenote_error *error)
{
  *url = (struct cen_neon_url){0};
  if (size > CEN_MAX_URL) {
    return cenote_error_set(error, CENOTE_INVALID, "invalid connection string: too long");
  }
  if (has_control(text, size)) {
    return missing(url, error, "invalid connection string: a control character");
  }
  const char *colon = memchr(text, ':', size);
  size_t scheme = colon == NULL ? 0 : (size_t)(colon - text);
  if (scheme == 0 || size - scheme < 3 || memcmp(colon, "://", 3) != 0) {
    return missing(url, error, "invalid connection string: not a URL");
  }
  if (!(scheme == 8 && strncasecmp(text, "postgres", 8) == 0) &&
      !(scheme == 10 && strncasecmp(text, "postgresql", 10) == 0)) {
    return missing(url, error, "incorrect scheme");
  }
  size_t rest = size - scheme - 3;
  url->room = rest + 1;
  url->text = malloc(url->room);
  if (url->text == NULL) {
    *url = (struct cen_neon_url){0};
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory for a connection string");
  }
  memcpy(url->text, colon + 3, rest);
  url->text[rest] = '\0';
  url->user = url->password = url->host = url->database = url->query = url->text + rest;
  if (!parts_split(url, url->text, url->text + rest)) {
    return missing(url, error, "invalid connection string: not a URL");
  }
  if (url->database[0] == '\0') {
    return missing(url, error, "missing database name");
  }
  if (url->user[0] == '\0') {
    return missing(url, error, "missing username");
  }
  return url->host[0] == '\0' ? missing(url, error, "missing hostname") : CENOTE_OK;
}

void cen_neon_url_deinit(struct cen_neon_url *url)
{
  cen_wipe(url->text, url->room);
  free(url->text);
  *url = (struct cen_neon_url){0};
}

bool cen_neon_url_param(const struct cen_neon_url *url, const char *name, char *out, size_t size)
{
  size_t wanted = strlen(name);
  const char *at = url->query == NULL ? "" : url->query;
  while (*at != '\0') {
    size_t whole = strcspn(at, "&");
    size_t key = strcspn(at, "&=");
    if (key == wanted && memcmp(at, name, key) == 0) {
      size_t value = whole - key - (key < whole);
      if (value >= size) {
        return false;
      }
      memcpy(out, at + whole - value, value);
      out[value] = '\0';
      return percent_decode(out, value);
    }
    at += whole + (at[whole] == '&');
  }
  return false;
}
