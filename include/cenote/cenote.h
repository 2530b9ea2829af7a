/*
 * cenote.h - the C library: leases over pooled database connections.
 *
 * A *manager* owns one pool of connections to one database. A *lease* is an
 * acquired connection with an owner's operation id, a generation and a
 * deadline. Everything here is thread-safe; one lease is for one thread at a
 * time (a second one inside gets CENOTE_BUSY). Times are milliseconds. Every
 * fallible call returns a cenote_status, clears its outputs first and fills an
 * optional cenote_error. Misuse changes nothing.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef CENOTE_H
#define CENOTE_H

#include <cenote/result.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CENOTE_VERSION_MAJOR 0
#define CENOTE_VERSION_MINOR 1
#define CENOTE_VERSION_PATCH 0
#define CENOTE_VERSION "0.1.0"

#ifdef __cplusplus
extern "C" {
#endif

CENOTE_API const char *cenote_version(void);

/* ----------------------------------------------------------------- options */

/* One setting by its name in `cenote config` / docs/settings.md, e.g.
 * {"max_connections", "10"}. An unknown name or a value out of range makes
 * cenote_open fail with CENOTE_CONFIG, naming setting, value and range. */
typedef struct cenote_setting {
  const char *name;
  const char *value;
} cenote_setting;

typedef enum cenote_log_level {
  CENOTE_LOG_ERROR,
  CENOTE_LOG_WARNING,
  CENOTE_LOG_INFO,
  CENOTE_LOG_DEBUG
} cenote_log_level;

/* A log line, without a newline and without secrets. May come from any
 * thread, never under a lock of Cenote's. */
typedef void (*cenote_log_callback)(void *context, cenote_log_level level, const char *line);

typedef enum cenote_audit_kind {
  CENOTE_AUDIT_CONNECTION_OPENED,
  CENOTE_AUDIT_CONNECTION_CLOSED, /* reason says why */
  CENOTE_AUDIT_LEASE_EXPIRED,
  CENOTE_AUDIT_LOGIN_FAILED,
  CENOTE_AUDIT_BREAKER_MOVED,
  CENOTE_AUDIT_SETTINGS_CHANGED,
  CENOTE_AUDIT_SHUTDOWN
} cenote_audit_kind;

typedef struct cenote_audit_event {
  size_t size;
  cenote_audit_kind kind;
  int64_t unix_ms;          /* wall clock */
  const char *database;     /* the redacted URL */
  uint64_t connection;      /* number of the connection in its manager, or 0 */
  const char *reason;       /* a word that docs/observe.md lists, or ""; BREAKER_MOVED: a word, and
                               behind "open: " the text of the last failure, cut to fit */
  const char *operation_id; /* of the lease concerned, or "" */
} cenote_audit_event;

typedef void (*cenote_audit_callback)(void *context, const cenote_audit_event *event);

typedef enum cenote_hook_kind {
  CENOTE_HOOK_CONNECTED,
  CENOTE_HOOK_BEFORE_LEASE,
  CENOTE_HOOK_AFTER_RELEASE,
  CENOTE_HOOK_CLOSED
} cenote_hook_kind;

/* `resource` is what cenote_lease_resource answers (sqlite3*, PGconn*, or the
 * caller's own). false from CONNECTED or BEFORE_LEASE rejects the connection:
 * it is closed with reason "hook". BEFORE_LEASE and AFTER_RELEASE also run for
 * connections that single statements share, when the manager takes one for
 * that and when it gives it back. Never called under a lock. What CONNECTED
 * sets in the session lasts until the session is reset the first time: put
 * lasting settings into the URL or the role. */
typedef bool (*cenote_hook)(void *context, cenote_hook_kind kind, void *resource,
                            const char *reason);

/* Writes the password for a new connection into `buffer` (NUL-terminated,
 * `size` bytes). Called for each new connection, so that a rotated secret is
 * picked up. The buffer is wiped after use. May block; runs on the manager's
 * own thread, or a worker thread where the driver's steps block; for SQL over
 * HTTP beside a pool (docs/dual-path.md) on the thread that asks for the
 * statement, several at a time. Never under a lock. Not asked for libSQL, which
 * has tokens. Answer false when there is none. */
typedef bool (*cenote_password_callback)(void *context, const char *user, char *buffer,
                                         size_t size);

/* Writes what may be shown of an operation id ("get-user-…"). */
typedef void (*cenote_redact_callback)(void *context, const char *operation_id, char *buffer,
                                       size_t size);

struct cenote_driver; /* driver.h */

typedef struct cenote_options {
  size_t size;
  const cenote_setting *settings; /* copied by cenote_open */
  size_t settings_count;
  const char *config_file; /* an INI file, or NULL */
  bool external_loop;      /* the host drives it through loop.h; no thread of its own */
  cenote_log_callback log; /* NULL: standard error, level from CENOTE_LOG or DEBUG */
  void *log_context;
  cenote_audit_callback audit;
  void *audit_context;
  cenote_hook hook;
  void *hook_context;
  cenote_password_callback password;
  void *password_context;
  cenote_redact_callback redact;
  void *redact_context;
  const struct cenote_driver *driver; /* the caller's own; its URL scheme is not looked up */
  void *driver_context;
} cenote_options;

#define CENOTE_OPTIONS_INIT        \
  {                                \
    .size = sizeof(cenote_options) \
  }

/* ----------------------------------------------------------------- manager */

typedef struct cenote_manager cenote_manager;

/*
 * Opens a manager. Connects to nothing yet: connections come in the
 * background (minimum) and on demand. `url` NULL: CENOTE_URL, DATABASE_URL,
 * TURSO_DATABASE_URL, then sqlite:cenote.db (an error on a serverless
 * profile). `options` may be NULL. Close it with cenote_close.
 */
CENOTE_API CENOTE_MUST_USE cenote_status cenote_open(const char *url, const cenote_options *options,
                                                     cenote_manager **manager, cenote_error *error);

/*
 * Refuses new work at once, lets leases finish for up to timeout_ms (negative:
 * the setting shutdown_timeout_ms), cancels what is left and closes every
 * connection. CENOTE_OK: drained. CENOTE_TIMEOUT: leases were forced; details
 * name their operation ids. A second call waits for the first and answers the
 * same. The handle stays valid until cenote_close. Inside a callback of the
 * manager's loop it would wait for itself: CENOTE_INVALID.
 */
CENOTE_API CENOTE_MUST_USE cenote_status cenote_shutdown(cenote_manager *manager,
                                                         int64_t timeout_ms, cenote_error *error);

/* Shuts down (with the setting's time-out, unless done) and frees the
 * manager. No other call may use this manager pointer at the same time or
 * later; leases may: they get CENOTE_STALE. NULL is fine. In a forked child
 * it frees the child's copy and leaves the parent's sessions alone. Where a
 * holder does not come out of its call in time, the manager is abandoned, not
 * freed: its callbacks may then still be called. */
CENOTE_API void cenote_close(cenote_manager *manager);

/* The process-wide manager, opened from the environment at the first call.
 * Never pass it to cenote_close; cenote_reset_default_manager ends it. */
CENOTE_API CENOTE_MUST_USE cenote_status cenote_default_manager(cenote_manager **manager,
                                                                cenote_error *error);
CENOTE_API void cenote_reset_default_manager(void);

/* New bounds while running; leased connections above a smaller maximum are
 * closed when they come back. */
CENOTE_API CENOTE_MUST_USE cenote_status cenote_resize(cenote_manager *manager,
                                                       int64_t min_connections,
                                                       int64_t max_connections,
                                                       cenote_error *error);

/* Retires every connection that is open now: idle ones at once, leased ones
 * when they come back. SQL over HTTP beside the pool goes over new connections, too. */
CENOTE_API CENOTE_MUST_USE cenote_status cenote_flush(cenote_manager *manager, cenote_error *error);

/* ------------------------------------------------------------------ leases */

/* A value, freely copied. {0} is no lease. Never reused: a stale, doubled or
 * foreign one is detected and harmless, also after cenote_close. */
typedef struct cenote_lease {
  uint32_t manager;
  uint32_t slot;
  uint64_t generation;
} cenote_lease;

/*
 * Acquires a connection. operation_id: NULL or a short text that says what
 * for (copied, cut at 128 bytes). timeout_ms: 0 does not wait (but up to 50 ms
 * for one that only rests on the simple path); negative: the setting. CENOTE_TIMEOUT's message contains "timeout", CENOTE_SHUTTING_DOWN's
 * "shutting down"; error->details say who holds the connections, what
 * connects since when and what the server last answered. Blocks the calling
 * thread: with external_loop, and inside a callback of the manager's own
 * thread, only timeout_ms 0 and the asynchronous form are allowed.
 */
CENOTE_API CENOTE_MUST_USE cenote_status cenote_acquire(cenote_manager *manager,
                                                        const char *operation_id,
                                                        int64_t timeout_ms, cenote_lease *lease,
                                                        cenote_error *error);

/* The same with a lease time of its own: its deadline is the smallest of the
 * setting lease_timeout_ms, lease_ms and what is left of the invocation
 * (remaining_ms); 0 or negative: not given. */
typedef struct cenote_acquire_options {
  size_t size;
  int64_t timeout_ms; /* negative: the setting */
  int64_t lease_ms;
  int64_t remaining_ms;
} cenote_acquire_options;

#define CENOTE_ACQUIRE_OPTIONS_INIT                          \
  {                                                          \
    .size = sizeof(cenote_acquire_options), .timeout_ms = -1 \
  }

CENOTE_API CENOTE_MUST_USE cenote_status cenote_acquire_with(cenote_manager *manager,
                                                             const char *operation_id,
                                                             const cenote_acquire_options *options,
                                                             cenote_lease *lease,
                                                             cenote_error *error);

/*
 * The outcome of an asynchronous acquire, exactly once. On the I/O thread of
 * the manager, or inside cenote_dispatch. `error` lives until it returns.
 *
 * When callbacks come, for every call here that ends with one: never from
 * within the call itself. With the manager's own thread one may run, over
 * there, before the call has returned on yours: what it needs has to stand
 * before the call. With external_loop it comes only inside cenote_dispatch.
 * *ticket is written before the callback can come. A call that does not answer
 * CENOTE_OK calls nothing back.
 */
typedef void (*cenote_acquire_callback)(void *context, cenote_status status, cenote_lease lease,
                                        const cenote_error *error);

/* A ticket for cancelling; {0} is none. Like leases, never reused. */
typedef struct cenote_ticket {
  uint32_t manager;
  uint32_t reserved;
  uint64_t number;
} cenote_ticket;

/* When it calls back: see cenote_acquire_callback. *ticket may be NULL. */
CENOTE_API CENOTE_MUST_USE cenote_status cenote_acquire_async(
    cenote_manager *manager, const char *operation_id, int64_t timeout_ms,
    cenote_acquire_callback callback, void *context, cenote_ticket *ticket, cenote_error *error);

/* CENOTE_OK: the callback comes (or came) with CENOTE_CANCELLED. CENOTE_STALE:
 * too late, another outcome was or will be delivered. */
CENOTE_API cenote_status cenote_cancel_acquire(cenote_ticket ticket);

/* Gives the connection back; never blocks. An open transaction is rolled
 * back before the next holder. CENOTE_STALE: was not (any longer) yours;
 * CENOTE_LEASE_EXPIRED: taken back at its deadline; CENOTE_SHUTTING_DOWN:
 * taken back by a shutdown; CENOTE_BUSY: another thread is inside a call. */
CENOTE_API cenote_status cenote_release(cenote_lease lease);

/* Releases it and has the connection closed: for a holder who knows that it is of no use to others.
 * The same answers as cenote_release. */
CENOTE_API cenote_status cenote_discard(cenote_lease lease);

/* Takes a lease back now, whoever holds it: for a holder that is gone, or must go. What runs on it
 * is cancelled, its transaction rolled back, the session cleaned, as at its deadline, but it does
 * not count as expired. The holder's calls get CENOTE_CANCELLED (the one that runs) and CENOTE_STALE.
 * Any thread, returns at once. CENOTE_STALE: it is over. */
CENOTE_API cenote_status cenote_revoke(cenote_lease lease);

/* Moves the deadline to now + ms, at most the setting lease_extend_max_ms
 * after the acquire. */
CENOTE_API CENOTE_MUST_USE cenote_status cenote_lease_extend(cenote_lease lease, int64_t ms,
                                                             cenote_error *error);

typedef struct cenote_lease_info {
  size_t size;
  cenote_lease lease;
  char operation_id[129];
  int64_t created_unix_ms;
  int64_t age_ms;
  int64_t idle_ms;      /* since its last use */
  int64_t remaining_ms; /* until the deadline, negative when overdue */
  bool in_call;
  bool released;
} cenote_lease_info;

#define CENOTE_LEASE_INFO_INIT        \
  {                                   \
    .size = sizeof(cenote_lease_info) \
  }

CENOTE_API CENOTE_MUST_USE cenote_status cenote_lease_stats(cenote_lease lease,
                                                            cenote_lease_info *info);

/* The number of the leased connection, as audit events have it; 0 when it is not held. */
CENOTE_API uint64_t cenote_lease_connection(cenote_lease lease);

/* The driver's own handle (sqlite3*, PGconn*, a caller's resource), borrowed
 * while the lease is held; NULL when it is not. What is done with it behind
 * Cenote's back marks the session dirty. */
CENOTE_API void *cenote_lease_resource(cenote_lease lease);

/* A statement that the holder has sent to the resource by itself has ended: statistics and the log
 * of slow statements have it, as one of the lease, which may be over by now. The breaker does not:
 * nobody here knows what a resource's error means. `status`: CENOTE_OK, else it counts as an error.
 * Neither literals of `sql` nor anything else of the caller's is kept. Any thread. */
CENOTE_API void cenote_note_statement(cenote_manager *manager, cenote_lease lease, const char *sql,
                                      cenote_status status, int64_t took_us);

/* -------------------------------------------------------------- statements */

/* What a statement is run with; an `unsigned` of them. */
enum {
  CENOTE_QUERY_RAW_TEXT = 1u << 0, /* values as the server's text, unconverted */
  CENOTE_QUERY_NATIVE = 1u << 1,   /* the text is the database's own: no placeholder is rewritten
                                      (`?` is an operator of PostgreSQL; ?NNN, :a, @a, $a of SQLite) */
  CENOTE_QUERY_READ_ONLY =
      1u << 2, /* 25006 when it would write; SQLite, elsewhere CENOTE_UNSUPPORTED */
  CENOTE_QUERY_SCRIPT =
      1u << 3,                 /* several statements, without arguments; the first failure ends it.
                                   PostgreSQL: a result for each (cenote_result_next), and one
                                   transaction unless the text says otherwise; SQLite: rows are
                                   dropped; elsewhere CENOTE_UNSUPPORTED */
  CENOTE_QUERY_TIMES = 1u << 4 /* a value of PostgreSQL's type timestamptz may be an integer,
                                   microseconds since 2000-01-01 00:00 UTC, where that costs less;
                                   else, and where it is infinite, it is text as ever */
};

/* Runs one statement. `?` and `$1` both work on every database, `??` is a
 * literal question mark; named arguments where the database has them. */
CENOTE_API CENOTE_MUST_USE cenote_status cenote_execute(cenote_lease lease, const char *sql,
                                                        const cenote_value *args, size_t count,
                                                        cenote_result **result,
                                                        cenote_error *error);

/* Rows one by one, none kept. *summary (NULL: not wanted) is a result without rows: columns,
 * affected rows, command. */
CENOTE_API CENOTE_MUST_USE cenote_status cenote_execute_stream(
    cenote_lease lease, const char *sql, const cenote_value *args, size_t count,
    cenote_row_callback callback, void *context, cenote_result **summary, cenote_error *error);

typedef struct cenote_execute_options {
  size_t size;
  unsigned flags;
  int64_t timeout_ms; /* beside the setting statement_timeout_ms; 0 or negative: only that */
  /* Rows one by one, none kept, as cenote_execute_stream has it: *result is then the summary.
   * `columns` (only with `row`) comes once, if there are any: before the first row, without rows at
   * the end, when false changes nothing any more. It gets a result that has columns alone, borrowed.
   * Both on the thread that runs the statement (of the asynchronous form: one of the manager's),
   * inside the lease: call nothing on it from here. */
  bool (*columns)(void *context, const cenote_result *columns);
  cenote_row_callback row;
  void *context;
} cenote_execute_options;

#define CENOTE_EXECUTE_OPTIONS_INIT        \
  {                                        \
    .size = sizeof(cenote_execute_options) \
  }

/* cenote_execute with all that can be said; options may be NULL. */
CENOTE_API CENOTE_MUST_USE cenote_status cenote_execute_with(cenote_lease lease, const char *sql,
                                                             const cenote_value *args, size_t count,
                                                             const cenote_execute_options *options,
                                                             cenote_result **result,
                                                             cenote_error *error);

/* Prepares one statement and runs nothing: *result has its columns, its parameters
 * (cenote_result_parameters) and what it would do, but no rows. flags: CENOTE_QUERY_NATIVE.
 * CENOTE_UNSUPPORTED where the database cannot tell. */
CENOTE_API CENOTE_MUST_USE cenote_status cenote_describe(cenote_lease lease, const char *sql,
                                                         unsigned flags, cenote_result **result,
                                                         cenote_error *error);

/* *open: does the session stand inside a transaction now, whoever began it? */
CENOTE_API CENOTE_MUST_USE cenote_status cenote_in_transaction(cenote_lease lease, bool *open);

typedef struct cenote_statement {
  const char *sql;
  const cenote_value *args;
  size_t count;
} cenote_statement;

typedef enum cenote_batch_mode {
  CENOTE_BATCH_DEFERRED, /* one transaction, the database's default kind */
  CENOTE_BATCH_WRITE,    /* one that takes the write lock at once, where there is one */
  CENOTE_BATCH_READ      /* one read-only transaction */
} cenote_batch_mode;

typedef enum cenote_isolation {
  CENOTE_ISOLATION_DEFAULT,
  CENOTE_READ_COMMITTED,
  CENOTE_REPEATABLE_READ,
  CENOTE_SERIALIZABLE,
  CENOTE_READ_UNCOMMITTED
} cenote_isolation;

/* All or nothing, so BEGIN, COMMIT and ROLLBACK among the statements are
 * CENOTE_INVALID. *results: an array of `n` results, freed with
 * cenote_results_free. On failure error->statement is the failing index. */
CENOTE_API CENOTE_MUST_USE cenote_status cenote_batch(cenote_lease lease,
                                                      const cenote_statement *statements, size_t n,
                                                      cenote_batch_mode mode,
                                                      cenote_result ***results,
                                                      cenote_error *error);

typedef struct cenote_batch_options {
  size_t size;
  cenote_batch_mode mode;     /* CENOTE_BATCH_READ: read only; 25006 for what writes */
  cenote_isolation isolation; /* of its transaction: at least this; SQLite and libSQL always are
                                 serializable */
  bool deferrable;            /* as PostgreSQL has it; means nothing on SQLite and libSQL */
  unsigned flags;             /* CENOTE_QUERY_RAW_TEXT, CENOTE_QUERY_NATIVE: of each statement */
  int64_t timeout_ms; /* for all of it, beside the setting statement_timeout_ms; 0 or negative: only
                         that */
} cenote_batch_options;

#define CENOTE_BATCH_OPTIONS_INIT        \
  {                                      \
    .size = sizeof(cenote_batch_options) \
  }

/* cenote_batch with all that can be said; `options` may be NULL. Inside a transaction a batch is a
 * part of it: isolation and deferrable are CENOTE_INVALID there. */
CENOTE_API CENOTE_MUST_USE cenote_status cenote_batch_with(
    cenote_lease lease, const cenote_statement *statements, size_t n,
    const cenote_batch_options *options, cenote_result ***results, cenote_error *error);
CENOTE_API void cenote_results_free(cenote_result **results, size_t n);

/* ------------------------------------------------------------ transactions */

typedef struct cenote_transaction cenote_transaction;

/* Begins a transaction on the lease; inside one, a savepoint. timeout_ms:
 * from then on its statements and its commit fail, and it is rolled back by the
 * next call, at the latest with the lease (0 or negative: the lease's deadline
 * only).
 * The handle is freed by commit or rollback. */
CENOTE_API CENOTE_MUST_USE cenote_status cenote_begin(cenote_lease lease, int64_t timeout_ms,
                                                      cenote_transaction **transaction,
                                                      cenote_error *error);
CENOTE_API CENOTE_MUST_USE cenote_status cenote_tx_execute(cenote_transaction *transaction,
                                                           const char *sql,
                                                           const cenote_value *args, size_t count,
                                                           cenote_result **result,
                                                           cenote_error *error);
/* Frees the handle unless it fails with CENOTE_INVALID or CENOTE_BUSY. After
 * any other failure nothing was committed (or the outcome is unknown, and the
 * status says so) and cenote_rollback on the same handle is not needed. */
CENOTE_API CENOTE_MUST_USE cenote_status cenote_commit(cenote_transaction *transaction,
                                                       cenote_error *error);
/* Succeeds also after a failed statement, an expiry or a lost connection:
 * nothing of the transaction remains. NULL is fine. Frees the handle. */
CENOTE_API cenote_status cenote_rollback(cenote_transaction *transaction, cenote_error *error);

/* ------------------------------------------------------- routed statements */

/*
 * What the caller knows of a statement. It can move a statement to a connection of its own; it
 * never moves one onto a shared connection that Cenote does not find safe there (docs/routing.md).
 * There are more names than ways: a host says what it knows, not where that goes.
 */
typedef enum cenote_hint {
  CENOTE_HINT_NONE,        /* decided from the text */
  CENOTE_HINT_QUERY,       /* the same */
  CENOTE_HINT_SIMPLE,      /* the simple path where it is safe */
  CENOTE_HINT_TRANSACTION, /* a connection of its own */
  CENOTE_HINT_COMPLEX,     /* a connection of its own */
  CENOTE_HINT_POOL         /* a connection of its own */
} cenote_hint;

typedef struct cenote_query_options {
  size_t size;
  const char *operation_id; /* as in cenote_acquire */
  cenote_hint hint;
  unsigned flags;
  int64_t
      timeout_ms; /* one deadline for waiting, connecting, retrying and executing; 0 or negative:
                           acquire_timeout_ms + statement_timeout_ms, and each wait for a connection
                           ends after acquire_timeout_ms. With statement_timeout_ms = 0 only that */
  int64_t remaining_ms; /* what is left of the invocation; 0 or negative: not given, so do not ask
                           when nothing is left */
  int64_t retries;      /* of transient failures, after the first try; negative: the setting */
} cenote_query_options;

#define CENOTE_QUERY_OPTIONS_INIT                       \
  {                                                     \
    .size = sizeof(cenote_query_options), .retries = -1 \
  }

/*
 * Runs one statement without a lease; the path is chosen from the statement (docs/routing.md):
 * shared connections where that is safe, else a connection of its own, given back afterwards with
 * a clean session. `options` may be NULL. A failure that is known to have done nothing, or of a
 * statement that only reads, is tried again (docs/simple-path.md). CENOTE_OUTCOME_UNKNOWN: the
 * connection was lost after a write was sent; it may have been executed and is not repeated.
 * CENOTE_BREAKER_OPEN: the database has been failing; the message says since when, why, and when
 * the next attempt is. Blocks like cenote_acquire.
 */
CENOTE_API CENOTE_MUST_USE cenote_status cenote_query(cenote_manager *manager, const char *sql,
                                                      const cenote_value *args, size_t count,
                                                      const cenote_query_options *options,
                                                      cenote_result **result, cenote_error *error);

/* The outcome of an asynchronous statement, exactly once; where and when: see
 * cenote_acquire_callback. `result` is the callback's to free, NULL on failure; `error` lives until
 * it returns. */
typedef void (*cenote_query_callback)(void *context, cenote_status status, cenote_result *result,
                                      const cenote_error *error);

/* sql and args are copied. *ticket may be NULL. */
CENOTE_API CENOTE_MUST_USE cenote_status
cenote_query_async(cenote_manager *manager, const char *sql, const cenote_value *args, size_t count,
                   const cenote_query_options *options, cenote_query_callback callback,
                   void *context, cenote_ticket *ticket, cenote_error *error);

/* One statement on a lease, asynchronously. Until its callback the lease is inside a call
 * (CENOTE_BUSY for others). */
CENOTE_API CENOTE_MUST_USE cenote_status cenote_execute_async(
    cenote_lease lease, const char *sql, const cenote_value *args, size_t count,
    cenote_query_callback callback, void *context, cenote_ticket *ticket, cenote_error *error);

CENOTE_API CENOTE_MUST_USE cenote_status cenote_execute_async_with(
    cenote_lease lease, const char *sql, const cenote_value *args, size_t count,
    const cenote_execute_options *options, cenote_query_callback callback, void *context,
    cenote_ticket *ticket, cenote_error *error);

/* Asks a statement of one of the asynchronous calls to stop. CENOTE_OK: its callback comes with
 * CENOTE_CANCELLED, or with its real outcome when it was faster. CENOTE_STALE: it is over. */
CENOTE_API cenote_status cenote_cancel_query(cenote_ticket ticket);

/* ------------------------------------------------------ routed transactions */

typedef struct cenote_transact_options {
  size_t size;
  const char *operation_id;
  cenote_batch_mode mode; /* CENOTE_BATCH_READ: read only; without options: CENOTE_BATCH_WRITE */
  cenote_isolation isolation;
  bool deferrable;
  int64_t timeout_ms; /* one deadline for all of it, repetitions too; 0 or negative: the lease's */
  int64_t remaining_ms; /* what is left of the invocation; 0 or negative: not given */
  int64_t retries; /* how often the callback may run again after a serialization failure (40001)
                           or a deadlock (40P01); 0: never */
} cenote_transact_options;

#define CENOTE_TRANSACT_OPTIONS_INIT        \
  {                                         \
    .size = sizeof(cenote_transact_options) \
  }

/*
 * The body of a transaction: uses cenote_tx_execute on `transaction` (and nothing else of it), and
 * answers CENOTE_OK to commit; anything else rolls back and is what cenote_transact answers, with
 * *error as the body left it. It may run several times where options.retries allow it.
 */
typedef cenote_status (*cenote_transact_callback)(void *context, cenote_transaction *transaction,
                                                  cenote_error *error);

/*
 * Begins, runs the callback, commits; rolls back on any error. A BEGIN sent by the callback does
 * nothing but warn once: its isolation level, READ ONLY and DEFERRABLE are applied when nothing has run
 * yet, else it is refused (25001). A COMMIT or ROLLBACK sent by it ends the transaction: nothing
 * is run again after it, and what it executes later is refused (25P01). Retries wait, exponentially
 * with jitter, within the deadline. CENOTE_OUTCOME_UNKNOWN: the connection was lost during the
 * commit, which is not repeated. Blocks like cenote_acquire. All of it: docs/manager.md.
 */
CENOTE_API CENOTE_MUST_USE cenote_status cenote_transact(cenote_manager *manager,
                                                         cenote_transact_callback callback,
                                                         void *context, cenote_error *error);
CENOTE_API CENOTE_MUST_USE cenote_status
cenote_transact_with(cenote_manager *manager, const cenote_transact_options *options,
                     cenote_transact_callback callback, void *context, cenote_error *error);

/* The asynchronous form. `begin` is called when the transaction is open, again for each
 * repetition; it starts statements with cenote_tx_execute_async, one at a time, and in the end
 * something calls cenote_tx_finish. `done` comes exactly once, after the commit or rollback, and
 * never between `begin` and cenote_tx_finish, so that the handle stays good: what was cancelled or
 * lost its lease tells so at the next call. Only cenote_close does not wait for it. The ticket is
 * for cenote_cancel_query. Where and when `begin` and `done` come: see cenote_acquire_callback. */
typedef void (*cenote_transact_begin)(void *context, cenote_transaction *transaction);
typedef void (*cenote_transact_done)(void *context, cenote_status status,
                                     const cenote_error *error);
CENOTE_API CENOTE_MUST_USE cenote_status cenote_transact_async(
    cenote_manager *manager, const cenote_transact_options *options, cenote_transact_begin begin,
    cenote_transact_done done, void *context, cenote_ticket *ticket, cenote_error *error);
CENOTE_API CENOTE_MUST_USE cenote_status cenote_tx_execute_async(
    cenote_transaction *transaction, const char *sql, const cenote_value *args, size_t count,
    cenote_query_callback callback, void *context, cenote_ticket *ticket, cenote_error *error);
/* The same with all that can be said; options may be NULL. */
CENOTE_API CENOTE_MUST_USE cenote_status cenote_tx_execute_async_with(
    cenote_transaction *transaction, const char *sql, const cenote_value *args, size_t count,
    const cenote_execute_options *options, cenote_query_callback callback, void *context,
    cenote_ticket *ticket, cenote_error *error);
/* CENOTE_OK: commit. Anything else: roll back, and `done` gets that status and a copy of *error
 * (NULL: the status's own text). CENOTE_INVALID, CENOTE_BUSY: nothing happened. */
CENOTE_API CENOTE_MUST_USE cenote_status cenote_tx_finish(cenote_transaction *transaction,
                                                          cenote_status outcome,
                                                          const cenote_error *error);

#ifdef __cplusplus
}
#endif

#include <cenote/observe.h>

#endif
