/*
 * http_guard.c - may this request come in? A web page in a visitor's browser can reach whatever
 * listens on the visitor's loopback; so the name it used must be one of ours (a rebound DNS name is
 * not), and a foreign Origin is refused unless it is on the list. Then the token.
 */
#include "base/text.h"
#include "server/http_inside.h"

#include <string.h>
#include <strings.h>

/* "name:port", "[::1]:port" → the length of the name. 0: malformed. */
static size_t host_name_size(const char *host, size_t size)
{
  size_t name = size;
  if (host[0] == '[') {
    const char *end = memchr(host, ']', size);
    name = end != NULL ? (size_t)(end - host) + 1 : 0;
  } else {
    const char *colon = memchr(host, ':', size);
    name = colon != NULL ? (size_t)(colon - host) : size;
  }
  if (name == 0 || (name < size && (host[name] != ':' || name + 1 == size))) {
    return 0;
  }
  for (size_t i = name + 1; i < size; i++) {
    if (host[i] < '0' || host[i] > '9') {
      return 0;
    }
  }
  return name;
}

int http_guard_host(const struct cen_http_request *request)
{
  static const char *const loopback[] = {"localhost", "127.0.0.1", "[::1]"};
  const struct cen_http_config *config = &http_server_of(request->conn)->config;
  const struct cen_http_parser *parser = &request->parser;
  if (parser->host_size == 0 || (request->route && (request->route->flags & CEN_HTTP_ANY_HOST))) {
    return 0; /* HTTP/1.0: no browser speaks it */
  }
  const char *host = request->in + parser->host;
  size_t size = host_name_size(host, parser->host_size);
  if (size == 0) {
    return 400;
  }
  bool ours = config->names != NULL;
  const char *const *names = ours ? config->names : loopback;
  size_t count = ours ? config->name_count : sizeof loopback / sizeof loopback[0];
  for (size_t i = 0; i < count; i++) {
    if (strcmp(names[i], "*") == 0 ||
        (strlen(names[i]) == size && strncasecmp(names[i], host, size) == 0)) {
      return 0;
    }
  }
  return 421;
}

int http_guard_origin(struct cen_http_request *request)
{
  const struct cen_http_config *config = &http_server_of(request->conn)->config;
  const struct cen_http_parser *parser = &request->parser;
  const char *origin = cen_http_header(request, "Origin");
  if (origin == NULL) {
    return 0;
  }
  for (size_t i = 0; i < config->origin_count; i++) {
    if (strcmp(config->origins[i], "*") == 0 || strcasecmp(config->origins[i], origin) == 0) {
      request->cors = origin;
      return 0;
    }
  }
  /* our own page: the authority is the Host, which was checked; a proxy may have changed the
   * scheme */
  const char *mark = strstr(origin, "://");
  if (mark != NULL && parser->host_size > 0 && strlen(mark + 3) == parser->host_size &&
      strncasecmp(mark + 3, request->in + parser->host, parser->host_size) == 0 &&
      (strncasecmp(origin, "http://", 7) == 0 || strncasecmp(origin, "https://", 8) == 0)) {
    return 0;
  }
  return 403;
}

bool cen_http_login_limited(const struct cen_http_request *request)
{
  return http_failures_limited(http_server_of(request->conn)->failures, request->conn->peer,
                               cen_now_coarse_ns());
}

void cen_http_login_failed(const struct cen_http_request *request)
{
  http_failures_add(http_server_of(request->conn)->failures, request->conn->peer,
                    cen_now_coarse_ns());
}

static enum cen_http_grant token_check(const struct cen_http_config *config,
                                       enum cen_http_scope scope, const char *bearer)
{
  if (config->grant != NULL) {
    return config->grant(scope, bearer, config->context);
  }
  const char *token = config->tokens[scope];
  return token == NULL || (bearer != NULL && cen_text_equal_secret(bearer, token))
             ? CEN_HTTP_GRANTED
             : CEN_HTTP_DENIED;
}

int http_guard_token(struct cen_http_request *request)
{
  const struct cen_http_config *config = &http_server_of(request->conn)->config;
  const enum cen_http_scope scope = request->route->scope;
  if (scope == CEN_HTTP_PUBLIC || token_check(config, scope, NULL) != CEN_HTTP_DENIED) {
    return 0;
  }
  /* before the comparison: a right token tells nothing to who has to wait */
  if (cen_http_login_limited(request)) {
    return 429;
  }
  const char *given = cen_http_header(request, "Authorization");
  if (given == NULL) {
    return 401; /* a browser that has not asked its user yet: no failure */
  }
  const enum cen_http_grant grant = strncasecmp(given, "Bearer ", 7) == 0
                                        ? token_check(config, scope, given + 7)
                                        : CEN_HTTP_DENIED;
  if (grant != CEN_HTTP_DENIED) {
    request->read_only = grant == CEN_HTTP_GRANTED_READ;
    return 0;
  }
  cen_http_login_failed(request);
  if (config->refused != NULL) {
    config->refused(request, scope, config->context);
  }
  return 401;
}
