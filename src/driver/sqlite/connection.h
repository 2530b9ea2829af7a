/*
 * connection.h - the insides of the SQLite driver, shared by its files.
 *
 *   shared ── one a manager: the URL, the writer's turn; in memory mode also the one handle
 *   connection ── one a slot of the pool: whose turn, what state, which request runs
 *   handle ── a sqlite3* with its statement cache; a file connection owns one, the connections
 *             of a database in memory use the shared one in turn (then the gate guards it)
 *
 * One thread at a time is inside a connection; cancel and abort come from any thread and touch
 * only `stop` and `waiter.word`.
 */
#ifndef CEN_SQLITE_CONNECTION_H
#define CEN_SQLITE_CONNECTION_H

#include "driver/sqlite/cache.h"
#include "driver/sqlite/gate.h"
#include "driver/sqlite/url.h"

#include <cenote/driver.h>

#include <sqlite3.h>
#include <stdatomic.h>

struct cen_sq_handle {
  sqlite3 *db;
  struct cen_sq_cache cache;
  cenote_connection *user; /* whose request runs in it; NULL: none of ours */
  sqlite3_stmt *running;   /* what is being stepped; NULL: nothing yet */
  uint32_t fork_count;     /* the process that opened it */
  const struct cen_sq_url *url;
  bool ours;        /* what is prepared now is the driver's own */
  bool vacuuming;   /* VACUUM runs */
  char refused[80]; /* what confine.c has refused since the last statement was prepared, or "" */
  struct cen_sq_handle *abandoned_next;
};

struct cen_sq_shared {
  struct cen_sq_url url;
  struct cen_sq_gate gate;              /* the writer's turn; in memory mode everybody's */
  struct cen_sq_handle *_Atomic memory; /* made under the gate, then the same for life */
  bool confined;                        /* the setting sqlite_confined */
  _Atomic bool wal;                     /* the file has a write-ahead log */
  /* Twice the commits of this manager's connections; odd while one may be under way. Who holds
   * the gate writes it. */
  _Atomic uint64_t commits;
};

/* Why a request must stop. */
enum cen_sq_reason { CEN_SQ_GO, CEN_SQ_CANCELLED, CEN_SQ_DEADLINE, CEN_SQ_ABORTED };

/*
 * A cancel names the request that it is for by its serial, so that a late one finds another
 * number and does nothing. sqlite3_interrupt is not used for it: it knows no request.
 */
struct cen_sq_stop {
  _Atomic uint64_t running;   /* serial of the running request; 0: none */
  _Atomic uint64_t cancelled; /* highest serial that was to be cancelled */
  _Atomic bool aborted;
  uint64_t serial;     /* of the last request; the thread inside only */
  int64_t deadline_ns; /* the thread inside only */
  bool shielded;       /* cleaning up: only an abort stops it */
};

/* A connection's snapshot: what `commits` was when its transaction had begun to read; or: */
#define CEN_SQ_UNSURE_SNAPSHOT (UINT64_MAX - 1)
#define CEN_SQ_NO_SNAPSHOT UINT64_MAX

struct cen_sq_counts {
  int64_t affected;
  int64_t inserted; /* row id, or 0 */
};

struct cenote_connection {
  const cenote_driver_params *params;
  struct cen_sq_shared *shared;
  struct cen_sq_handle *handle; /* NULL: not open */
  struct cen_sq_stop stop;
  struct cen_sq_waiter waiter;
  bool holds_gate;
  bool dirty;      /* session state may be left */
  bool failed;     /* SQLite rolled the transaction back; the caller does not know yet */
  bool broken;     /* to be closed */
  bool query_only; /* a read-only transaction switched writes off */
  bool locked_out; /* the request waited for another process's lock */
  bool queued;     /* its time was over before its turn came */
  uint64_t snapshot;
  cenote_value *values;
  size_t values_capacity;
};

/* open.c */
cenote_status cen_sq_open(cenote_connection *connection, cenote_error *error);
void cen_sq_handle_free(struct cen_sq_handle *handle); /* NULL is fine */
void cen_sq_close(cenote_connection *connection);
cenote_status cen_sq_check(cenote_connection *connection, cenote_error *error);
/* What the driver itself has to say, in spite of confine.c: a result code of SQLite. */
int cen_sq_own(cenote_connection *connection, const char *sql);
/* Makes the session as new; outside of transactions. */
cenote_status cen_sq_renew(cenote_connection *connection, cenote_error *error);

/* stop.c */
void cen_sq_request_begin(cenote_connection *connection, const cenote_request *request);
void cen_sq_request_end(cenote_connection *connection);
enum cen_sq_reason cen_sq_stopped(cenote_connection *connection);
/* Waits for the writer's turn (memory mode: the handle's) unless it is ours already. */
cenote_status cen_sq_enter(cenote_connection *connection, cenote_error *error);
void cen_sq_leave(cenote_connection *connection);
int cen_sq_on_progress(void *handle);
int cen_sq_on_busy(void *handle, int count);

/* prepare.c */
/* Is there a text, within the ceiling? */
cenote_status cen_sq_check_text(const cenote_request *request, cenote_error *error);
/* The statement at *tail (a place in the text), classified, and *tail moved behind it; no
 * statement->stmt when only blanks and comments were left. */
cenote_status cen_sq_prepare_next(cenote_connection *connection, const char *text, size_t size,
                                  const char **tail, struct cen_sq_statement *statement,
                                  cenote_error *error);
/* The one statement of the text, prepared anew; to be freed. */
cenote_status cen_sq_prepare(cenote_connection *connection, const char *sql, bool native,
                             struct cen_sq_statement **statement, cenote_error *error);
/* The same out of the cache where it is there; to be put back. */
cenote_status cen_sq_find(cenote_connection *connection, const char *sql, bool native,
                          struct cen_sq_statement **statement, cenote_error *error);
/* The statement is through: the handle is free for the next one. */
void cen_sq_put_back(struct cen_sq_statement *statement);

/* execute.c */
cenote_status cen_sq_execute(cenote_connection *connection, const cenote_request *request,
                             cenote_error *error);
/* A statement of ours, without rows. */
cenote_status cen_sq_run(cenote_connection *connection, const char *sql, cenote_error *error);
bool cen_sq_in_transaction(const cenote_connection *connection);
/* Binds, takes the turn, steps to the end; *counts is filled on CENOTE_OK. */
cenote_status cen_sq_run_prepared(cenote_connection *connection,
                                  const struct cen_sq_statement *statement,
                                  const cenote_request *request, struct cen_sq_counts *counts,
                                  cenote_error *error);
/* In a transaction that SQLite has rolled back: CENOTE_OK for its ROLLBACK alone. */
cenote_status cen_sq_refuse_failed(cenote_connection *connection, const char *sql, size_t size,
                                   cenote_error *error);
/* Behind each statement: is the transaction over, and does its owner know? */
void cen_sq_settle(cenote_connection *connection, bool was_open, bool succeeded);

/* script.c, describe.c */
cenote_status cen_sq_script(cenote_connection *connection, const cenote_request *request,
                            cenote_error *error);
cenote_status cen_sq_describe(cenote_connection *connection, const cenote_request *request,
                              cenote_error *error);

/* confine.c */
int cen_sq_confine(struct cen_sq_handle *handle);

/* bounded.c: functions in the place of SQLite's own; a result code of SQLite. */
int cen_sq_bound(sqlite3 *db);

/* bind.c, rows.c */
cenote_status cen_sq_bind(cenote_connection *connection, const struct cen_sq_statement *statement,
                          const cenote_request *request, cenote_error *error);
cenote_status cen_sq_columns(sqlite3_stmt *stmt, cenote_sink *sink, cenote_error *error);
cenote_status cen_sq_row(cenote_connection *connection, sqlite3_stmt *stmt,
                         const cenote_request *request, cenote_error *error);

/* error.c */
cenote_status cen_sq_error(cenote_connection *connection, int code,
                           const struct cen_sq_statement *statement, cenote_error *error);
/* A code that SQLite did not have to be asked for. */
cenote_status cen_sq_code_error(int code, cenote_error *error);
cenote_status cen_sq_stop_error(cenote_connection *connection, enum cen_sq_reason reason,
                                const char *what, cenote_error *error);
const char *cen_sq_code_name(int extended_code);

#endif
