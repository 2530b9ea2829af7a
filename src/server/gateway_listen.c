/*
 * gateway_listen.c - where the gateway listens, and under which rules: what only this machine can
 * reach needs nothing; anything else needs TLS and tokens, or it does not start.
 */
#include "base/text.h"
#include "server/gateway_inside.h"
#include "server/systemd.h"

#include <cenote/driver.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static cenote_status no_memory(cenote_error *error)
{
  return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory");
}

/* --------------------------------------------------------------------- the rules */

static bool serves_sqlite(const struct gateway *gateway)
{
  for (size_t i = 0; i < gateway->database_count; i++) {
    if (gateway->databases[i].kind == GATEWAY_SQLITE) {
      return true;
    }
  }
  return false;
}

cenote_status gateway_rules_check(const struct gateway *gateway, struct gateway_keys *keys,
                                  cenote_error *error)
{
  const struct gateway_house *house = gateway->house;
  if (house->loopback) {
    return CENOTE_OK;
  }
  const bool admin = gateway_keys_guard(keys, CEN_HTTP_ADMIN);
  /* PostgreSQL asks every client for a password of its own */
  const bool sql = gateway_keys_guard(keys, CEN_HTTP_SQL) || !serves_sqlite(gateway);
  if (house->tls && admin && sql) {
    return CENOTE_OK;
  }
  return cenote_error_set(
      error, CENOTE_CONFIG,
      "%s can be reached from other machines, and missing is: %s%s%s%s%s. Or listen on 127.0.0.1",
      house->host, house->tls ? "" : "TLS (tls_cert and tls_key)",
      !house->tls && (!admin || !sql) ? "; " : "",
      admin ? "" : "a token for monitoring (admin_token_file)", !admin && !sql ? "; " : "",
      sql ? "" : "a token for SQL (sql_token_file or jwt_key_file)");
}

static enum cen_http_grant grant(enum cen_http_scope scope, const char *bearer, void *context)
{
  const struct gateway *gateway = context;
  return gateway_keys_grant(gateway->house->keys, scope, bearer);
}

static void refused(const struct cen_http_request *request, enum cen_http_scope scope,
                    void *context)
{
  char peer[CEN_HTTP_PEER_TEXT];
  cen_http_peer(request, peer);
  const struct gateway_event event = {
      .event = "login_failed",
      .peer = peer,
      .reason = scope == CEN_HTTP_ADMIN ? "admin_token" : "sql_token",
  };
  gateway_audit_write(context, &event);
}

/* ------------------------------------------------------------------ names and origins */

struct names {
  char **list;
  size_t count;
};

static bool names_add(struct names *names, const char *text, size_t size)
{
  char **grown = realloc(names->list, (names->count + 1) * sizeof *grown);
  if (grown == NULL) {
    return false;
  }
  names->list = grown;
  grown[names->count] = cen_text_copy_n(text, size);
  if (grown[names->count] == NULL) {
    return false;
  }
  names->count++;
  return true;
}

static void names_free(struct names *names)
{
  for (size_t i = 0; i < names->count; i++) {
    free(names->list[i]);
  }
  free(names->list);
}

static cenote_status names_read(struct names *names, const char *setting, const char *list,
                                bool (*fits)(const char *, size_t), const char *wanted,
                                cenote_error *error)
{
  const char *word = NULL;
  size_t size = 0;
  while (list != NULL && gateway_list_next(&list, &word, &size)) {
    if (!fits(word, size)) {
      char shown[160], *copy = cen_text_copy_n(word, size);
      cen_text_escape(shown, sizeof shown, copy);
      free(copy);
      return cenote_error_set(error, CENOTE_CONFIG, "%s: \"%s\" is not %s", setting, shown, wanted);
    }
    if (!names_add(names, word, size)) {
      return no_memory(error);
    }
  }
  return CENOTE_OK;
}

bool gateway_is_local(const struct gateway *gateway)
{
  return gateway->house->loopback;
}

/* What a client may call us: localhost and the loopback addresses, the address we listen on, and
 * what host_names adds. */
static cenote_status names_collect(const struct gateway *gateway, struct names *names,
                                   cenote_error *error)
{
  static const char *const always[] = {"localhost", "127.0.0.1", "[::1]"};
  const char *host = gateway->house->host;
  char own[CEN_MAX_LISTEN + 4];
  for (size_t i = 0; i < sizeof always / sizeof always[0]; i++) {
    if (!names_add(names, always[i], strlen(always[i]))) {
      return no_memory(error);
    }
  }
  (void)snprintf(own, sizeof own, strchr(host, ':') != NULL ? "[%s]" : "%s", host);
  if (gateway_name_is_host(own, strlen(own)) && !names_add(names, own, strlen(own))) {
    return no_memory(error);
  }
  return names_read(names, "host_names", gateway->settings.text[CEN_TEXT_HOST_NAMES],
                    gateway_name_is_host, "a name without scheme and port, as db.example.com",
                    error);
}

/* --------------------------------------------------------------------- the address */

/* Of a socket that was handed over. */
static void address_of_fd(struct gateway_house *house, int fd)
{
  struct sockaddr_storage address = {.ss_family = AF_UNSPEC};
  socklen_t size = sizeof address;
  (void)getsockname(fd, (struct sockaddr *)&address, &size);
  if (address.ss_family == AF_UNIX) {
    (void)snprintf(house->host, sizeof house->host, "localhost");
    house->loopback = true;
    return;
  }
  if (getnameinfo((struct sockaddr *)&address, size, house->host, sizeof house->host, NULL, 0,
                  NI_NUMERICHOST) != 0) {
    (void)snprintf(house->host, sizeof house->host, "0.0.0.0");
  }
  house->loopback = gateway_address_is_loopback(house->host);
}

static cenote_status address_find(struct gateway *gateway, struct cen_http_config *config,
                                  cenote_error *error)
{
  struct gateway_house *house = gateway->house;
  const char *listen = gateway->settings.text[CEN_TEXT_LISTEN];
  struct gateway_address address;
  cenote_status status = gateway_systemd_listen(&house->listen_fd, error);
  if (status != CENOTE_OK) {
    return status;
  }
  if (house->listen_fd >= 0) {
    address_of_fd(house, house->listen_fd);
    config->listen_fd = house->listen_fd;
    return CENOTE_OK;
  }
  status = gateway_address_parse(listen != NULL ? listen : "127.0.0.1:3000", &address, error);
  if (status == CENOTE_OK) {
    memcpy(house->host, address.host, sizeof house->host);
    house->loopback = gateway_address_is_loopback(house->host);
    config->host = house->host;
    config->port = address.port;
  }
  return status;
}

static bool is_any(const char *host)
{
  return strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0;
}

static cenote_status tls_find(struct gateway *gateway, struct cen_http_config *config,
                              cenote_error *error)
{
  config->tls_cert = gateway->settings.text[CEN_TEXT_TLS_CERT];
  config->tls_key = gateway->settings.text[CEN_TEXT_TLS_KEY];
  gateway->house->tls = config->tls_cert != NULL && config->tls_key != NULL;
  if ((config->tls_cert == NULL) != (config->tls_key == NULL)) {
    return cenote_error_set(error, CENOTE_CONFIG, "%s is set, but %s is not: TLS needs both",
                            config->tls_cert != NULL ? "tls_cert" : "tls_key",
                            config->tls_cert != NULL ? "tls_key" : "tls_cert");
  }
  return CENOTE_OK;
}

static void config_fill(struct gateway *gateway, struct cen_http_config *config)
{
  const struct cen_settings *settings = &gateway->settings;
  config->threads = (unsigned)cen_setting(settings, CEN_SET_THREADS);
  config->max_connections = (unsigned)cen_setting(settings, CEN_SET_MAX_CLIENTS);
  config->max_body = (uint64_t)cen_setting(settings, CEN_SET_MAX_BODY);
  config->head_ms = cen_setting(settings, CEN_SET_HEAD_TIMEOUT);
  config->body_ms = cen_setting(settings, CEN_SET_BODY_TIMEOUT);
  config->idle_ms = cen_setting(settings, CEN_SET_KEEPALIVE_TIMEOUT);
  config->write_ms = cen_setting(settings, CEN_SET_WRITE_TIMEOUT);
  config->login_failures = (unsigned)cen_setting(settings, CEN_SET_LOGIN_LIMIT);
  if (config->max_bodies < config->max_body) {
    config->max_bodies = config->max_body;
  }
  config->grant = grant;
  config->refused = refused;
  config->log = &gateway->log;
  config->loop_started = gateway_loop_started;
  config->loop_ended = gateway_loop_ended;
  config->context = gateway;
}

static cenote_status server_make(struct gateway *gateway, struct cen_http_config *config,
                                 cenote_error *error)
{
  struct names names = {0}, origins = {0};
  cenote_status status = names_collect(gateway, &names, error);
  if (status == CENOTE_OK) {
    status = names_read(&origins, "origins", gateway->settings.text[CEN_TEXT_ORIGINS],
                        gateway_name_is_origin, "an origin, as https://app.example", error);
  }
  if (status == CENOTE_OK) {
    config->names = (const char *const *)names.list;
    config->name_count = names.count;
    config->origins = (const char *const *)origins.list;
    config->origin_count = origins.count;
    gateway->loop_count = config->threads;
    gateway->loops = calloc(config->threads, sizeof *gateway->loops);
    status = gateway->loops != NULL ? cen_http_server_new(config, &gateway->http, error)
                                    : no_memory(error);
  }
  names_free(&names);
  names_free(&origins);
  return status;
}

/* What the system says is short; what can be done about it is not. */
static void advice_add(const struct gateway *gateway, uint16_t port, cenote_error *error)
{
  if (error == NULL) {
    return;
  }
  if (strstr(error->message, strerror(EADDRINUSE)) != NULL) {
    cenote_error_set(error, CENOTE_IO,
                     "%s port %u is in use: another gateway runs there, or another program. "
                     "`--listen :0` takes any free port",
                     gateway->house->host, (unsigned)port);
  } else if (strstr(error->message, strerror(EACCES)) != NULL) {
    cenote_error_set(error, CENOTE_IO,
                     "%s port %u may not be used by this user: ports below 1024 are the system's",
                     gateway->house->host, (unsigned)port);
  }
}

cenote_status gateway_listen(struct gateway *gateway, cenote_error *error)
{
  struct gateway_house *house = gateway->house;
  struct cen_http_config config;
  cen_http_config_init(&config);
  config_fill(gateway, &config);
  house->keys = gateway_keys_new();
  if (house->keys == NULL) {
    return no_memory(error);
  }
  cenote_status status = address_find(gateway, &config, error);
  if (status == CENOTE_OK) {
    status = tls_find(gateway, &config, error);
  }
  if (status == CENOTE_OK) {
    status = gateway_keys_load(house->keys, &gateway->settings, &gateway->log, error);
  }
  if (status == CENOTE_OK) {
    status = gateway_rules_check(gateway, house->keys, error);
  }
  if (status != CENOTE_OK) {
    return status;
  }
  status = server_make(gateway, &config, error);
  if (status != CENOTE_OK) {
    advice_add(gateway, config.port, error);
    return status;
  }
  if (is_any(house->host) && gateway->settings.text[CEN_TEXT_HOST_NAMES] == NULL) {
    cen_log_write(&gateway->log, CENOTE_LOG_WARNING,
                  "listening on %s, but host_names is empty: only who calls the gateway localhost "
                  "is answered, others get 421",
                  house->host);
  }
  return CENOTE_OK;
}

void gateway_address(const struct gateway *gateway, char *out, size_t size)
{
  const char *host = gateway->house->host;
  const bool bracket = strchr(host, ':') != NULL;
  (void)snprintf(out, size, "%s://%s%s%s:%u", gateway->house->tls ? "https" : "http",
                 bracket ? "[" : "", host, bracket ? "]" : "",
                 (unsigned)cen_http_server_port(gateway->http));
}
