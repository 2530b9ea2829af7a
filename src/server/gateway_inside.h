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
  bool tls;
};

/* gateway_databases.c: fills gateway->databases from the URL or the INI file. */
cenote_status gateway_databases_load(struct gateway *gateway, cenote_error *error);
/* The managers of SQLite databases. */
cenote_status gateway_databases_open(struct gateway *gateway, cenote_error *error);
/* Cancels what runs and lets nobody in; then the managers are closed. */
void gateway_databases_stop(struct gateway *gateway);
void gateway_databases_free(struct gateway *gateway);

/* gateway_listen.c: where and under which rules; gateway->http is made and listens. */
cenote_status gateway_listen(struct gateway *gateway, cenote_error *error);

/* gateway_loop.c: callbacks of the HTTP server, on each loop's thread; the context is the gateway */
bool gateway_loop_started(struct cen_http_loop *http, void *context);
void gateway_loop_ended(struct cen_http_loop *http, void *context);

/* pools.c */
struct gateway_pools *gateway_pools_new(void);
void gateway_pools_free(struct gateway_pools *pools);

/* audit.c. `where`: NULL (nothing is written), "stderr", or a file. */
cenote_status gateway_audit_new(const char *where, const struct cen_log *log,
                                struct gateway_audit **audit, cenote_error *error);
cenote_status gateway_audit_reopen(struct gateway_audit *audit, cenote_error *error);
void gateway_audit_free(struct gateway_audit *audit);

#endif
