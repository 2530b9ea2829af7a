/*
 * url.c - libsql://host[:port][/prefix][?tls=0][&authToken=…], and the same with http: and https:.
 * The text of a URL is never shown: it may hold a token.
 */
#include "driver/libsql/libsql.h"

#include "base/limits.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static cenote_status wrong(cenote_error *error, const char *what)
{
  return cenote_error_set(error, CENOTE_CONFIG, "the database URL: %s", what);
}

static cenote_status no_memory(cenote_error *error)
{
  return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory while reading the URL");
}

static bool is_printable(const char *text)
{
  while ((unsigned char)*text > ' ' && (unsigned char)*text < 0x7f) {
    text++;
  }
  return *text == '\0';
}

enum tls { TLS_DEFAULT, TLS_OFF, TLS_ON };

static bool is(const char *text, size_t size, const char *what)
{
  return strlen(what) == size && strncmp(text, what, size) == 0;
}

static cenote_status parameter(const char *text, size_t size, struct ls_url *out, enum tls *tls,
                               cenote_error *error)
{
  const char *equals = memchr(text, '=', size);
  const size_t name = equals != NULL ? (size_t)(equals - text) : size;
  const char *value = equals != NULL ? equals + 1 : text + size;
  const size_t value_size = size - (size_t)(value - text);
  bool bad;
  if (is(text, name, "tls")) {
    *tls = is(value, value_size, "0") ? TLS_OFF : TLS_ON;
    return *tls == TLS_OFF || is(value, value_size, "1") ? CENOTE_OK
                                                         : wrong(error, "tls is 0 or 1");
  }
  if (!is(text, name, "authToken")) {
    return wrong(error, "only tls and authToken are known behind the question mark");
  }
  if (out->token != NULL) {
    return wrong(error, "authToken stands there twice");
  }
  out->token = cen_percent_decode(value, value_size, &bad);
  if (out->token == NULL && !bad) {
    return no_memory(error);
  }
  return bad || !is_printable(out->token) ? wrong(error, "authToken holds what no token holds")
                                          : CENOTE_OK;
}

static cenote_status parameters(const char *text, struct ls_url *out, enum tls *tls,
                                cenote_error *error)
{
  cenote_status status = CENOTE_OK;
  while (status == CENOTE_OK && *text != '\0') {
    const size_t size = strcspn(text, "&");
    status = size == 0 ? CENOTE_OK : parameter(text, size, out, tls, error);
    text += size + (text[size] != '\0');
  }
  return status;
}

static bool has_port(const char *host, size_t size)
{
  const char *end = memchr(host, ']', size);
  const char *from = end != NULL ? end : host;
  const char *colon = memchr(from, ':', size - (size_t)(from - host));
  return colon != NULL && colon + 1 < host + size;
}

static cenote_status scheme(const char *url, bool *plain, bool *libsql, const char **rest,
                            cenote_error *error)
{
  static const char *const known[] = {"libsql://", "http://", "https://"};
  for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
    if (strncasecmp(url, known[i], strlen(known[i])) == 0) {
      *rest = url + strlen(known[i]);
      *libsql = i == 0;
      *plain = i == 1;
      return CENOTE_OK;
    }
  }
  return wrong(error, "it begins with libsql://, http:// or https://");
}

/* Where TLS is said twice it must be said alike. */
static cenote_status decide_tls(enum tls tls, bool libsql, bool *plain, const char *host,
                                size_t host_size, cenote_error *error)
{
  if (!libsql) {
    const bool agrees = tls == TLS_DEFAULT || (tls == TLS_OFF) == *plain;
    return agrees ? CENOTE_OK : wrong(error, "tls says something else than http: or https:");
  }
  *plain = tls == TLS_OFF;
  return *plain && !has_port(host, host_size)
             ? wrong(error, "with tls=0 it needs a port, as in libsql://host:8080?tls=0")
             : CENOTE_OK;
}

static cenote_status build(const char *rest, size_t host, size_t path, bool plain,
                           struct ls_url *out, cenote_error *error)
{
  struct cen_buf base;
  struct cen_http_place place;
  while (path > 0 && rest[host + path - 1] == '/') {
    path--;
  }
  cen_buf_init(&base, 2 * CEN_MAX_URL);
  cen_buf_text(&base, plain ? "http://" : "https://");
  cen_buf_add(&base, rest, host + path);
  out->base = cen_buf_take(&base);
  if (out->base == NULL) {
    return no_memory(error);
  }
  return cen_http_place_read(out->base, &place) ? CENOTE_OK
                                                : wrong(error, "it names no host as it should");
}

cenote_status ls_url_parse(const char *url, struct ls_url *out, cenote_error *error)
{
  const char *rest = NULL;
  bool plain = false;
  bool libsql = false;
  enum tls tls = TLS_DEFAULT;
  *out = (struct ls_url){0};
  cenote_status status = scheme(url, &plain, &libsql, &rest, error);
  if (status != CENOTE_OK) {
    return status;
  }
  const size_t host = strcspn(rest, "/?#");
  const size_t path = strcspn(rest + host, "?#");
  const char *query = rest + host + path;
  if (memchr(rest, '@', host) != NULL) {
    return wrong(error, "no user name and password; a token goes into authToken");
  }
  if (strchr(query, '#') != NULL) {
    return wrong(error, "no fragment (#) belongs there");
  }
  status = *query == '?' ? parameters(query + 1, out, &tls, error) : CENOTE_OK;
  if (status == CENOTE_OK) {
    status = decide_tls(tls, libsql, &plain, rest, host, error);
  }
  if (status == CENOTE_OK) {
    status = build(rest, host, path, plain, out, error);
  }
  if (status != CENOTE_OK) {
    ls_url_deinit(out);
  }
  return status;
}

void ls_url_deinit(struct ls_url *url)
{
  if (url->token != NULL) {
    cen_wipe(url->token, strlen(url->token));
  }
  free(url->token);
  free(url->base);
  *url = (struct ls_url){0};
}
