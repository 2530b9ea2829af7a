/*
 * gateway.h - the gateway: an HTTP server, the pools behind it, and the parts that answer. What
 * the files of src/server beside http_* share, and what the command needs to run it.
 *
 *     gateway_new ──► gateway_start ──► … gateway_reload … ──► gateway_drain ──► gateway_wait ──► gateway_free
 *
 * A part (table in gateway_parts.c) owns a family of endpoints with its state; parts know the
 * gateway, not each other, but for live, which sends what monitor collects. Threads: gateway_* from the command's main thread, except where it is
 * said; a part's handlers run on the loop that the request came in on.
 */
#ifndef CEN_GATEWAY_H
#define CEN_GATEWAY_H

#include "base/buf.h"
#include "manager/budget.h"
#include "manager/manager.h"
#include "server/http_server.h"

struct gateway;
struct gateway_loop;

/* ------------------------------------------------------------------- the parts */

enum gateway_part_id {
  GATEWAY_MONITOR,   /* status endpoint, probes, /metrics */
  GATEWAY_LIVE,      /* history and server-sent events */
  GATEWAY_DASHBOARD, /* the page */
  GATEWAY_NEON,      /* POST /sql */
  GATEWAY_HRANA,     /* /v2, /v3 */
  GATEWAY_PARTS
};

/* Any member but name may be NULL. */
struct gateway_part {
  const char *name;
  cenote_status (*start)(struct gateway *gateway,
                         cenote_error *error);     /* state, routes; before any loop runs */
  bool (*loop_started)(struct gateway_loop *loop); /* on each loop's thread */
  void (*loop_tick)(struct gateway_loop *loop);    /* on each loop's thread, about once a second */
  void (*loop_ended)(struct gateway_loop *loop);   /* on each loop's thread; give everything back */
  void (*reload)(struct gateway *gateway);         /* settings have moved; main thread */
  void (*drain)(struct gateway *gateway);          /* refuse what is new; main thread */
  void (*stop)(struct gateway *gateway);           /* all loops have ended; frees its state */
};
extern const struct gateway_part *const gateway_parts[GATEWAY_PARTS];
extern const struct gateway_part gateway_monitor, gateway_live, gateway_dashboard, gateway_neon,
    gateway_hrana;

/* --------------------------------------------------------------- the databases */

enum gateway_kind { GATEWAY_SQLITE, GATEWAY_POSTGRES };

/* One that was configured: --url's, whose name is "default", or a line of [databases]. */
struct gateway_database {
  const char *name;
  enum gateway_kind kind;
  const char *url; /* whole, with its secrets: never log it */
  char shown[512]; /* redacted */
  /* SQLite: one manager with a thread of its own, shared by all loops; opened before any loop runs,
   * closed after the last has ended. PostgreSQL: NULL; neon_pools.c has a pool for each user and loop. */
  cenote_manager *manager;
};

/* ------------------------------------------------------------------ the gateway */

/* One event loop: its thread alone touches it. */
struct gateway_loop {
  struct gateway *gateway;
  struct cen_http_loop *http;
  struct event_base *base;
  unsigned index;
  struct event *tick;
  _Atomic int64_t ticked_ns; /* when the loop last went round; any thread may look */
  void *part[GATEWAY_PARTS]; /* what a part keeps for each loop */
};

struct gateway {
  struct cen_settings settings; /* of the gateway; reading is lock-free */
  struct cen_log log;
  struct cen_http_server *http;
  struct gateway_database *databases;
  size_t database_count;
  struct gateway_loop *loops;
  unsigned loop_count;
  struct cen_budget *budget;   /* max_connections over all pools */
  struct gateway_pools *pools; /* the directory below */
  struct gateway_audit *audit;
  _Atomic bool draining;
  int64_t born_ns, born_unix_ms;
  void *part[GATEWAY_PARTS];   /* a part's own state */
  struct gateway_house *house; /* gateway_inside.h: what gateway_*.c keep for themselves */
};

/* NULL: none of that name or kind. With one database of the kind, name NULL finds it. */
struct gateway_database *gateway_find(const struct gateway *gateway, enum gateway_kind kind,
                                      const char *name);

/* Options for a manager of the gateway: log, audit, settings that are handed down (all those that
 * the gateway knows and a pool has); `extra` (NULL-named last, or NULL) win. The memory behind it
 * is gateway_options_free's. */
struct gateway_options;
struct gateway_options *gateway_options_new(struct gateway *gateway, const cenote_setting *extra);
const cenote_options *gateway_options_of(struct gateway_options *options);
cenote_options *gateway_options_edit(struct gateway_options *options);
void gateway_options_free(struct gateway_options *options);

/* A manager that shares the gateway's budget; `group` is one database and user. Any thread. */
cenote_status gateway_open(struct gateway *gateway, const char *group, const char *url,
                           const cenote_options *options, cenote_manager **manager,
                           cenote_error *error);

/* ------------------------------------------------- pools, for who looks at them */

/* Every manager that serves requests is in the directory while it lives. Any thread. `user` is ""
 * for SQLite. On removal its counters are kept, so that sums never fall. */
cenote_status gateway_pools_add(struct gateway *gateway, const struct gateway_database *database,
                                const char *user, cenote_manager *manager);
void gateway_pools_remove(struct gateway *gateway, cenote_manager *manager);
/* Under the directory's lock: nothing slow, no call into the gateway. */
typedef void (*gateway_pools_visitor)(void *context, const struct gateway_database *database,
                                      const char *user, cenote_manager *manager);
void gateway_pools_visit(struct gateway *gateway, gateway_pools_visitor visit, void *context);

/* ------------------------------------------ a manager on a loop (gateway_drive.c) */

/* Lets the loop drive a manager that was opened with external_loop. On the loop's thread. */
struct gateway_drive;
struct gateway_drive *gateway_drive_new(struct gateway_loop *loop, cenote_manager *manager);
/* Before the manager is closed. NULL is fine. */
void gateway_drive_free(struct gateway_drive *drive);

static inline struct gateway_loop *gateway_loop_of(const struct cen_http_request *request)
{
  return cen_http_loop_user(cen_http_loop_of(request));
}

/* ----------------------------------------------------------- the audit (audit.c) */

/* One line of JSON to where `audit_log` says. Any thread, never blocks for long. Members that are
 * NULL are left out. No secret, no parameter's value. */
struct gateway_event {
  const char *event; /* "login_failed", "settings_reloaded", … : docs/gateway.md lists them */
  const char *database, *user, *peer, *reason, *operation;
  uint64_t connection; /* its number in its pool; 0: none */
  int64_t unix_ms;     /* 0: now */
};
void gateway_audit_write(struct gateway *gateway, const struct gateway_event *event);
/* For cenote_options.audit of the managers; the context is the gateway. */
void gateway_audit_manager(void *context, const cenote_audit_event *event);

/* -------------------------------------------------------------- running it */

/* Settings, databases, what listens; nothing runs yet. `url` NULL: from the environment, the INI
 * file, else sqlite:cenote.db. */
cenote_status gateway_new(const char *url, const cenote_options *options, struct gateway **gateway,
                          cenote_error *error);
cenote_status gateway_start(struct gateway *gateway, cenote_error *error);
/* Does it listen on a loopback address, so that only this machine reaches it? */
bool gateway_is_local(const struct gateway *gateway);
/* "http://127.0.0.1:3000" */
void gateway_address(const struct gateway *gateway, char *out, size_t size);
/* SIGHUP: settings that may move, certificate, tokens, audit file. What is wrong is logged and
 * changes nothing. */
cenote_status gateway_reload(struct gateway *gateway, cenote_error *error);
/* readyz answers 503 from here on; all else goes on. */
void gateway_announce(struct gateway *gateway);
/* The same, and nothing new is taken; what runs may finish. */
void gateway_drain(struct gateway *gateway);
/* Has every loop gone round lately? Any thread. */
bool gateway_alive(const struct gateway *gateway);
bool gateway_wait(struct gateway *gateway, int64_t timeout_ms); /* false: some still run */
void gateway_free(struct gateway *gateway);                     /* whoever still runs is cut off */

#endif
