/* gateway_inside.h - what the files gateway_*.c share. Main thread, unless it is said. */
#ifndef CEN_GATEWAY_INSIDE_H
#define CEN_GATEWAY_INSIDE_H

#include "base/limits.h"
#include "server/gateway.h"

/* How the gateway was asked for: a reload reads it again. */
struct gateway_house {
  char *config_file; /* or NULL */
  char *url;         /* of the command line, or NULL */
  cenote_setting *settings;
  size_t setting_count;
  cenote_log_callback log;
  void *log_context;
  bool parts_started[GATEWAY_PARTS];
  char host[CEN_MAX_LISTEN + 1]; /* where it listens, as it is shown */
  int listen_fd;                 /* handed over; -1: none */
  bool loopback, tls;
  struct gateway_keys *keys;
};

/* gateway.c: as the command line, the environment and the INI file have them now. Without a word
 * about a profile it is "server". */
cenote_status gateway_settings_load(const struct gateway *gateway, struct cen_settings *settings,
                                    cenote_error *error);
/* Most connections of one pool. */
int64_t gateway_pool_maximum(const struct gateway *gateway);

/* gateway_databases.c: fills gateway->databases from the URL or the INI file. */
cenote_status gateway_databases_load(struct gateway *gateway, cenote_error *error);
/* Are there the same databases in what was read anew? */
bool gateway_databases_same(const struct gateway *gateway, const struct cen_settings *fresh);
/* max_connections has moved. */
void gateway_budget_resize(struct gateway *gateway);
/* The managers of SQLite databases. */
cenote_status gateway_databases_open(struct gateway *gateway, cenote_error *error);
/* Cancels what runs and lets nobody in; then the managers are closed. */
void gateway_databases_stop(struct gateway *gateway);
void gateway_databases_free(struct gateway *gateway);

/* gateway_keys.c: who may come in. The tokens and the key for JSON Web Tokens, as the settings name
 * them; to be loaded once, before anybody asks. */
struct gateway_keys;
struct gateway_keys *gateway_keys_new(void);
void gateway_keys_free(struct gateway_keys *keys);
cenote_status gateway_keys_load(struct gateway_keys *keys, const struct cen_settings *settings,
                                const struct cen_log *log, cenote_error *error);
/* Is one asked for? */
bool gateway_keys_guard(struct gateway_keys *keys, enum cen_http_scope scope);
/* Each gets the other's. */
void gateway_keys_swap(struct gateway_keys *keys, struct gateway_keys *fresh);
/* Any thread. */
enum cen_http_grant gateway_keys_grant(struct gateway_keys *keys, enum cen_http_scope scope,
                                       const char *bearer);

/* gateway_address.c: "HOST:PORT", ":PORT", "HOST", "PORT", "[::1]:PORT". An address without a host
 * is 127.0.0.1, without a port 3000. */
struct gateway_address {
  char host[CEN_MAX_LISTEN + 1]; /* without brackets */
  uint16_t port;
};
cenote_status gateway_address_parse(const char *text, struct gateway_address *address,
                                    cenote_error *error);
/* Does everything that the name stands for stay on this machine? */
bool gateway_address_is_loopback(const char *host);
/* One of a comma-separated list, without blanks around it; *rest moves on. false: there is none. */
bool gateway_list_next(const char **rest, const char **word, size_t *size);
/* "app.example", "[::1]"; "https://app.example:8443" */
bool gateway_name_is_host(const char *name, size_t size);
bool gateway_name_is_origin(const char *name, size_t size);

/* gateway_listen.c: where and under which rules; gateway->http is made and listens. */
cenote_status gateway_listen(struct gateway *gateway, cenote_error *error);
/* May it be where it is with these keys? */
cenote_status gateway_rules_check(const struct gateway *gateway, struct gateway_keys *keys,
                                  cenote_error *error);

/* gateway_loop.c: until every loop runs, or one cannot. */
cenote_status gateway_loops_wait(const struct gateway *gateway, cenote_error *error);
/* Callbacks of the HTTP server, on each loop's thread; the context is the gateway */
bool gateway_loop_started(struct cen_http_loop *http, void *context);
void gateway_loop_ended(struct cen_http_loop *http, void *context);

/* pools.c */
struct gateway_pools *gateway_pools_new(void);
void gateway_pools_free(struct gateway_pools *pools);

/* audit.c. `where`: NULL (nothing is written), "stderr", or a file. */
cenote_status gateway_audit_new(const char *where, const struct cen_log *log,
                                struct gateway_audit **audit, cenote_error *error);
cenote_status gateway_audit_reopen(struct gateway_audit *audit, cenote_error *error);
void gateway_audit_free(struct gateway_audit *audit); /* waits a second for what is queued */
/* Any thread; NULL is fine. */
void gateway_audit_put(struct gateway_audit *audit, const struct gateway_event *event);

#endif
