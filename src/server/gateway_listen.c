/* gateway_listen.c - where the gateway listens, and under which rules. */
#include "base/text.h"
#include "server/gateway_inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* HOST:PORT, [::1]:PORT, :PORT, HOST, PORT. */
static bool address_split(const char *text, char host[CEN_MAX_LISTEN + 1], uint16_t *port)
{
  const char *colon = strrchr(text, ':');
  const char *port_text = colon != NULL ? colon + 1 : NULL;
  size_t size = colon != NULL ? (size_t)(colon - text) : strlen(text);
  int64_t number = 3000;
  if (size > CEN_MAX_LISTEN || (port_text != NULL && !cen_text_to_int(port_text, &number)) ||
      number < 0 || number > 65535) {
    return false;
  }
  if (size >= 2 && text[0] == '[' && text[size - 1] == ']') {
    text++;
    size -= 2;
  }
  memcpy(host, text, size);
  host[size] = '\0';
  if (size == 0) {
    memcpy(host, "127.0.0.1", sizeof "127.0.0.1");
  }
  *port = (uint16_t)number;
  return true;
}

cenote_status gateway_listen(struct gateway *gateway, cenote_error *error)
{
  const struct cen_settings *settings = &gateway->settings;
  struct cen_http_config config;
  cen_http_config_init(&config);
  const char *listen = settings->text[CEN_TEXT_LISTEN];
  if (!address_split(listen != NULL ? listen : "127.0.0.1:3000", gateway->house->host,
                     &config.port)) {
    return cenote_error_set(error, CENOTE_CONFIG, "listen: HOST:PORT is wanted");
  }
  config.host = gateway->house->host;
  config.threads = (unsigned)cen_setting(settings, CEN_SET_THREADS);
  config.max_connections = (unsigned)cen_setting(settings, CEN_SET_MAX_CLIENTS);
  config.max_body = (uint64_t)cen_setting(settings, CEN_SET_MAX_BODY);
  config.head_ms = cen_setting(settings, CEN_SET_HEAD_TIMEOUT);
  config.body_ms = cen_setting(settings, CEN_SET_BODY_TIMEOUT);
  config.idle_ms = cen_setting(settings, CEN_SET_KEEPALIVE_TIMEOUT);
  config.write_ms = cen_setting(settings, CEN_SET_WRITE_TIMEOUT);
  config.login_failures = (unsigned)cen_setting(settings, CEN_SET_LOGIN_LIMIT);
  config.tokens[CEN_HTTP_ADMIN] = settings->text[CEN_TEXT_ADMIN_TOKEN];
  config.tokens[CEN_HTTP_SQL] = settings->text[CEN_TEXT_SQL_TOKEN];
  config.tls_cert = settings->text[CEN_TEXT_TLS_CERT];
  config.tls_key = settings->text[CEN_TEXT_TLS_KEY];
  gateway->house->tls = config.tls_cert != NULL;
  config.log = &gateway->log;
  config.loop_started = gateway_loop_started;
  config.loop_ended = gateway_loop_ended;
  config.context = gateway;
  gateway->loop_count = config.threads;
  gateway->loops = calloc(config.threads, sizeof *gateway->loops);
  if (gateway->loops == NULL) {
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory");
  }
  return cen_http_server_new(&config, &gateway->http, error);
}

void gateway_address(const struct gateway *gateway, char *out, size_t size)
{
  const char *host = gateway->house->host;
  const bool bracket = strchr(host, ':') != NULL;
  (void)snprintf(out, size, "%s://%s%s%s:%u", gateway->house->tls ? "https" : "http",
                 bracket ? "[" : "", host, bracket ? "]" : "",
                 (unsigned)cen_http_server_port(gateway->http));
}
