/*
 * endpoint.c - where requests go. `?endpoint=` before the setting http_endpoint before what the
 * host says: its first label becomes "api" ("apiauth" with a token), as Neon's own client has it.
 * A host without a point stays as it is; an address says nothing, and needs an endpoint.
 */
#include "driver/neon/neon.h"

#include "base/error.h"
#include "base/limits.h"
#include "base/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---------------------------------------------------------------- settings */

static const char *setting(const cenote_driver_params *params, const char *name)
{
  const char *text = params->setting != NULL ? params->setting(params->settings, name) : NULL;
  return text != NULL && text[0] != '\0' ? text : NULL;
}

static int64_t number(const cenote_driver_params *params, const char *name, int64_t otherwise)
{
  const char *text = setting(params, name);
  int64_t value;
  return text != NULL && cen_text_to_int(text, &value) ? value : otherwise;
}

/* ---------------------------------------------------------------- the URL */

/* neon://… and postgres://… alike. Messages hold no part of the URL. */
static cenote_status parse(struct neon_shared *shared, const char *url, cenote_error *error)
{
  static const char ours[] = "neon:";
  if (strncasecmp(url, ours, sizeof ours - 1) != 0) {
    return cen_neon_url_parse(&shared->url, url, strlen(url), error);
  }
  struct cen_buf text;
  cen_buf_init(&text, 2 * CEN_MAX_URL);
  cen_buf_text(&text, "postgres:");
  cen_buf_text(&text, url + sizeof ours - 1);
  cenote_status status =
      text.failed ? cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory for the URL")
                  : cen_neon_url_parse(&shared->url, text.data, text.size, error);
  if (text.data != NULL) {
    cen_wipe(text.data, text.size);
  }
  cen_buf_deinit(&text);
  return status;
}

static bool is_key(const char *at, size_t size, const char *name)
{
  return size == strlen(name) && memcmp(at, name, size) == 0;
}

/* The parameters go to the server as they are, but for those that are ours. */
static cenote_status keep_parameters(struct neon_shared *shared, const cenote_driver_params *params,
                                     cenote_error *error)
{
  struct cen_buf text;
  const char *name = setting(params, "application_name");
  cen_buf_init(&text, 4 * CEN_MAX_URL);
  for (const char *at = shared->url.query; *at != '\0';) {
    const size_t whole = strcspn(at, "&");
    const size_t key = strcspn(at, "&=");
    if (whole > 0 && !is_key(at, key, "endpoint")) {
      cen_buf_char(&text, text.size == 0 ? '?' : '&');
      cen_buf_add(&text, at, whole);
      name = is_key(at, key, "application_name") ? NULL : name;
    }
    at += whole + (at[whole] == '&');
  }
  if (name != NULL) {
    cen_buf_text(&text, text.size == 0 ? "?application_name=" : "&application_name=");
    for (; *name != '\0'; name++) {
      cen_buf_format(&text, "%%%02X", (unsigned char)*name);
    }
  }
  shared->parameters = cen_buf_take(&text);
  cen_buf_deinit(&text);
  return shared->parameters != NULL
             ? CENOTE_OK
             : cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory for the URL");
}

/* What is no unreserved character (RFC 3986), encoded. */
static void put_encoded(struct cen_buf *text, const char *part)
{
  for (; *part != '\0'; part++) {
    const unsigned char byte = (unsigned char)*part;
    const bool plain = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
                       (byte >= '0' && byte <= '9') || strchr("-._~", byte) != NULL;
    if (plain) {
      cen_buf_char(text, (char)byte);
    } else {
      cen_buf_format(text, "%%%02X", byte);
    }
  }
}

char *neon_connection_string(const struct neon_shared *shared, const cenote_driver_params *params)
{
  const struct cen_neon_url *url = &shared->url;
  char password[CEN_MAX_PASSWORD];
  struct cen_buf text;
  const char *secret = url->has_password ? url->password : NULL;
  if (params->password != NULL &&
      params->password(params->password_context, url->user, password, sizeof password)) {
    password[sizeof password - 1] = '\0';
    secret = password;
  }
  cen_buf_init(&text, 8 * CEN_MAX_URL);
  /* In one piece: growing would leave copies of the password behind. */
  if (cen_buf_room(&text, 4 * CEN_MAX_URL) != NULL) {
    text.size = 0;
  }
  cen_buf_text(&text, "postgresql://");
  put_encoded(&text, url->user);
  if (secret != NULL) {
    cen_buf_char(&text, ':');
    put_encoded(&text, secret);
  }
  cen_buf_char(&text, '@');
  cen_buf_text(&text, url->host);
  if (url->port != 0) {
    cen_buf_format(&text, ":%u", (unsigned)url->port);
  }
  cen_buf_char(&text, '/');
  put_encoded(&text, url->database);
  cen_buf_text(&text, shared->parameters);
  cen_wipe(password, sizeof password);
  char *taken = cen_buf_take(&text);
  cen_buf_deinit(&text);
  return taken;
}

/* Back to what put_encoded was given; `password` holds it all. */
static void decode(char *password, const char *text, size_t size)
{
  size_t used = 0;
  for (size_t i = 0; i < size && used + 1 < CEN_MAX_PASSWORD; i++) {
    unsigned byte = (unsigned char)text[i];
    if (text[i] == '%' && i + 2 < size && sscanf(text + i + 1, "%2x", &byte) == 1) {
      i += 2;
    }
    password[used++] = (char)byte;
  }
  password[used] = '\0';
}

void neon_hide_secrets(const struct neon_shared *shared, const char *string, cenote_error *error)
{
  char password[CEN_MAX_PASSWORD];
  const char *at = string != NULL ? strstr(string, "://") : NULL;
  const char *end = at != NULL ? strchr(at, '@') : NULL;
  const char *colon = at != NULL ? strchr(at + 3, ':') : NULL;
  if (shared->bearer != NULL) {
    cen_error_hide(error, shared->bearer + strlen("Bearer "));
  }
  if (end == NULL || colon == NULL || colon > end) {
    return;
  }
  const size_t size = (size_t)(end - colon - 1);
  decode(password, colon + 1, size);
  cen_error_hide(error, password);
  if (size < sizeof password && strchr(colon, '%') != NULL) {
    memcpy(password, colon + 1, size);
    password[size] = '\0';
    cen_error_hide(error, password);
  }
  cen_wipe(password, sizeof password);
}

/* ---------------------------------------------------------------- the endpoint */

static bool is_address(const char *host)
{
  return host[0] == '[' || strspn(host, "0123456789.") == strlen(host);
}

static cenote_status derive(struct neon_shared *shared, cenote_error *error)
{
  const char *host = shared->url.host;
  const char *point = strchr(host, '.');
  const size_t size = strlen(host) + 32;
  if (is_address(host)) {
    return cenote_error_set(error, CENOTE_CONFIG,
                            "the host of the URL is an address, which does not say where SQL over "
                            "HTTP is: name it with ?endpoint= or CENOTE_HTTP_ENDPOINT");
  }
  shared->endpoint = malloc(size);
  if (shared->endpoint == NULL) {
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory for the endpoint");
  }
  if (point == NULL) {
    (void)snprintf(shared->endpoint, size, "https://%s/sql", host);
  } else {
    (void)snprintf(shared->endpoint, size, "https://%s%s/sql",
                   shared->bearer != NULL ? "apiauth" : "api", point);
  }
  return CENOTE_OK;
}

static cenote_status find_endpoint(struct neon_shared *shared, const cenote_driver_params *params,
                                   cenote_error *error)
{
  char *given = malloc(CEN_MAX_URL);
  if (given == NULL) {
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory for the endpoint");
  }
  const bool in_url = cen_neon_url_param(&shared->url, "endpoint", given, CEN_MAX_URL);
  const char *text = in_url && given[0] != '\0' ? given : setting(params, "http_endpoint");
  cenote_status status = CENOTE_OK;
  if (text == NULL) {
    status = derive(shared, error);
  } else if ((shared->endpoint = cen_text_copy(text)) == NULL) {
    status = cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory for the endpoint");
  }
  free(given);
  return status;
}

static void warn(const cenote_driver_params *params, const char *line)
{
  if (params->log != NULL) {
    params->log(params->log_context, CENOTE_LOG_WARNING, line);
  }
}

/* Passwords go nowhere that anybody can listen. */
static cenote_status check_endpoint(const struct neon_shared *shared,
                                    const cenote_driver_params *params, cenote_error *error)
{
  struct cen_http_place place;
  if (!cen_http_place_read(shared->endpoint, &place)) {
    return cenote_error_set(error, CENOTE_CONFIG,
                            "the endpoint for SQL over HTTP is not an http:// or https:// URL "
                            "without a user name");
  }
  if (!place.secure && !place.loopback && number(params, "http_insecure", 0) == 0) {
    return cenote_error_set(error, CENOTE_CONFIG,
                            "the endpoint for SQL over HTTP at %s is plain http: the password "
                            "would be readable on the way. Use https, or allow it with "
                            "http_insecure",
                            place.host);
  }
  if (!place.secure && !place.loopback) {
    warn(params, "http_insecure is on: passwords go to the endpoint for SQL over HTTP over "
                 "connections that are not encrypted");
  }
  if (place.secure && number(params, "tls_verify", 1) == 0 && !place.loopback) {
    warn(params, "the certificate of the endpoint for SQL over HTTP is not verified (tls_verify "
                 "is off): anybody on the way can read the password");
  }
  return CENOTE_OK;
}

/* ---------------------------------------------------------------- all of it */

static cenote_status take_bearer(struct neon_shared *shared, const cenote_driver_params *params,
                                 cenote_error *error)
{
  const char *token = setting(params, "auth_token");
  if (token == NULL || shared->url.has_password) {
    return CENOTE_OK;
  }
  const size_t size = strlen(token) + sizeof "Bearer ";
  shared->bearer = malloc(size);
  if (shared->bearer == NULL) {
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory for the token");
  }
  (void)snprintf(shared->bearer, size, "Bearer %s", token);
  return CENOTE_OK;
}

/* Text as JSON is at most so much longer than what it becomes. */
static size_t ceiling_of(const cenote_driver_params *params)
{
  const int64_t bytes = number(params, "max_result_bytes", 0);
  return bytes > 0 && bytes < INT64_MAX / 8 ? (size_t)bytes * 2 + (1 << 20) : SIZE_MAX / 4;
}

static cenote_status make(struct neon_shared *shared, const cenote_driver_params *params,
                          cenote_error *error)
{
  const struct cen_http_options options = {
      .verify = number(params, "tls_verify", 1) != 0,
      .ca_file = setting(params, "tls_ca_file"),
      .connections = number(params, "http_connections", 8),
      .connect_timeout_ms = number(params, "connect_timeout_ms", 5000),
  };
  shared->ceiling = ceiling_of(params);
  cenote_status status = parse(shared, params->url, error);
  if (status == CENOTE_INVALID) {
    status = CENOTE_CONFIG;
    if (error != NULL) {
      error->status = status;
    }
  }
  if (status == CENOTE_OK) {
    status = take_bearer(shared, params, error);
  }
  if (status == CENOTE_OK) {
    status = keep_parameters(shared, params, error);
  }
  if (status == CENOTE_OK) {
    status = find_endpoint(shared, params, error);
  }
  if (status == CENOTE_OK) {
    status = check_endpoint(shared, params, error);
  }
  return status == CENOTE_OK ? cen_http_client_new(&options, &shared->http, error) : status;
}

cenote_status neon_shared_new(const cenote_driver_params *params, void **out, cenote_error *error)
{
  *out = NULL;
  struct neon_shared *shared = calloc(1, sizeof *shared);
  if (shared == NULL) {
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory for the endpoint");
  }
  atomic_init(&shared->proven_ns, 0);
  const cenote_status status = make(shared, params, error);
  if (status == CENOTE_OK) {
    *out = shared;
  } else {
    neon_shared_free(shared);
  }
  return status;
}

void neon_shared_free(void *pointer)
{
  struct neon_shared *shared = pointer;
  if (shared == NULL) {
    return;
  }
  cen_http_client_free(shared->http);
  cen_neon_url_deinit(&shared->url);
  if (shared->bearer != NULL) {
    cen_wipe(shared->bearer, strlen(shared->bearer));
  }
  free(shared->bearer);
  free(shared->parameters);
  free(shared->endpoint);
  free(shared);
}
