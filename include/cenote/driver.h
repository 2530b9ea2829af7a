/*
 * driver.h - a new database, or a resource of the caller's own.
 *
 * A driver is a constant table over a step machine. One connection runs one
 * request at a time:
 *
 *     start(connection, request) ──► AGAIN ──► wants() … wait … advance() ──┐
 *          │                           ▲                                    │
 *          │                           └──────────── AGAIN ─────────────────┤
 *          └──► DONE / FAILED ◄─────────────────────────────────────────────┘
 *
 * Whoever runs the request (a blocking caller on its own thread, or a loop)
 * calls wants() after each AGAIN, waits for the descriptor or the deadline,
 * and calls advance(). At most one thread is inside a connection, except for
 * cancel() and abort(), which are thread-safe.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef CENOTE_DRIVER_H
#define CENOTE_DRIVER_H

#include <cenote/cenote.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct cenote_connection cenote_connection; /* the driver's own struct */
typedef struct cenote_sink cenote_sink;             /* where rows go; see below */

typedef enum cenote_step { CENOTE_STEP_AGAIN, CENOTE_STEP_DONE, CENOTE_STEP_FAILED } cenote_step;

typedef enum cenote_request_kind {
  CENOTE_REQUEST_OPEN,    /* connect and log in */
  CENOTE_REQUEST_CHECK,   /* cheapest proof that the other side answers */
  CENOTE_REQUEST_EXECUTE, /* one statement, with arguments */
  CENOTE_REQUEST_BEGIN,   /* begin a transaction; `mode` says which kind */
  CENOTE_REQUEST_COMMIT,
  CENOTE_REQUEST_ROLLBACK, /* also where the transaction has failed already */
  CENOTE_REQUEST_RESET,    /* roll back and make the session as new */
  CENOTE_REQUEST_CLOSE,    /* say goodbye; must finish quickly, errors are ignored */
  CENOTE_REQUEST_DESCRIBE, /* prepare `sql`, run nothing: cenote_sink_columns,
                              cenote_sink_parameters; CENOTE_UNSUPPORTED where that cannot be told */
  CENOTE_REQUEST_BATCH /* `statements` in one transaction, all or nothing, each with its sink; only
                          for a driver that says CENOTE_DRIVER_BATCHES */
} cenote_request_kind;

enum {
  CENOTE_REQUEST_RAW_TEXT = 1u << 0, /* values as the server's text, unconverted */
  CENOTE_REQUEST_STREAM = 1u << 1,   /* fetch row by row, buffer nothing */
  CENOTE_REQUEST_READ = 1u << 2,     /* its text was taken for a read: a driver that knows better
                                        refuses it with 25006 before anything ran; may be ignored */
  CENOTE_REQUEST_ALONE = 1u << 3,    /* pipelined: it shares its sync point with no other */
  CENOTE_REQUEST_NATIVE = 1u << 4,   /* CENOTE_QUERY_NATIVE: no placeholder is rewritten */
  CENOTE_REQUEST_REFUSE = 1u << 5,   /* CENOTE_QUERY_READ_ONLY: 25006 before anything that writes;
                                        CENOTE_UNSUPPORTED where the driver cannot tell */
  CENOTE_REQUEST_SCRIPT = 1u << 6, /* CENOTE_QUERY_SCRIPT: cenote_sink_next between the results, or
                                      no rows at all; CENOTE_UNSUPPORTED where there is none */
  CENOTE_REQUEST_LAZY = 1u << 7, /* OPEN: what asks nothing of the server is enough, where there is
                                      such a thing; the first statement tells */
  CENOTE_REQUEST_TIMES = 1u << 8 /* CENOTE_QUERY_TIMES; may be ignored */
};

typedef struct cenote_request {
  size_t size;
  cenote_request_kind kind;
  unsigned flags;
  cenote_batch_mode mode;     /* BEGIN, BATCH */
  cenote_isolation isolation; /* BEGIN, BATCH: at least this, or CENOTE_UNSUPPORTED */
  bool deferrable;          /* BEGIN, BATCH: as PostgreSQL has it; a driver without it ignores it */
  const char *sql;          /* EXECUTE: NUL-terminated; `?` and `$1` placeholders */
  const cenote_value *args; /* all borrowed until the request ends */
  size_t count;
  cenote_sink *sink;   /* EXECUTE: where columns and rows go; may be NULL */
  int64_t deadline_ns; /* CLOCK_MONOTONIC; INT64_MAX: none. The runner enforces it with
                               cancel(); a CENOTE_DRIVER_BLOCKING driver does so itself. */
  const cenote_statement *statements; /* BATCH; then `sql`, `args` and `sink` mean nothing */
  size_t statement_count;
  cenote_sink *const *sinks; /* BATCH: one for each statement */
} cenote_request;

/* What an unfinished request waits for. fd -1: only for the deadline. */
typedef struct cenote_wants {
  int fd;
  short events; /* POLLIN, POLLOUT */
  int64_t deadline_ns;
  bool together; /* pipelined: the oldest one's answer may wait for those behind it */
} cenote_wants;

/* Flags of session(): cheap facts about the connection between requests. */
enum {
  CENOTE_SESSION_IN_TRANSACTION = 1u << 0,
  CENOTE_SESSION_FAILED = 1u << 1, /* in a transaction that can only roll back */
  CENOTE_SESSION_DIRTY = 1u << 2,  /* its state may differ from a new session's */
  CENOTE_SESSION_BROKEN = 1u << 3, /* must be closed, never handed on */
  CENOTE_SESSION_WRITING =
      1u << 4,                  /* it holds what other sessions wait for (SQLite's writing turn):
                                       its next request must not queue behind theirs */
  CENOTE_SESSION_SENT = 1u << 5 /* its last request answered CENOTE_CONNECTION_LOST, and may have
                                       been executed: a read by its text may hide a write. Without
                                       it CENOTE_CONNECTION_LOST says that nothing of it remains */
};

enum {
  CENOTE_DRIVER_BLOCKING = 1u << 0, /* steps block: a loop runs them on worker threads */
  CENOTE_DRIVER_BATCHES = 1u << 1,  /* a batch outside a transaction is one CENOTE_REQUEST_BATCH */
  /* Until a connection is broken, a request that nobody cancels waits for one descriptor, the same
   * for all requests behind OPEN: a loop need not forget it in between. */
  CENOTE_DRIVER_STEADY = 1u << 2
};

typedef struct cenote_driver_params {
  size_t size;
  const char *url; /* whole, with its secrets: never log it */
  void *context;   /* options.driver_context */
  void *shared;    /* what shared_new answered */
  cenote_password_callback password;
  void *password_context;
  const char *(*setting)(const void *settings, const char *name); /* text of a setting, or NULL */
  const void *settings;
  void (*log)(void *log_context, cenote_log_level level, const char *line);
  void *log_context;
} cenote_driver_params;

/*
 * Pipelining: many requests in flight on one connection, answered in order, each a transaction of
 * its own (a sync point after each). At most one thread is inside the connection here too; between
 * two calls it may be another one.
 *
 * On a read-only connection a driver may let reads that are pushed together share a sync point (a
 * batch), where a transaction's end cannot change what a read has read. Each still has its own
 * answer. DONE of one that is not the last of its batch is told when its results are complete: they
 * stand, whatever becomes of those behind it. Where one fails, those behind it in the batch have
 * not run: REPEAT, with SQLSTATE 25P02; so too the last one, where it is the sync point that fails.
 *
 *     enter ──► push, push, … ──► wants, wait, read, read, … ──► leave
 *
 * What the driver needs for itself (preparing, deallocating, SET) it sends and answers unseen.
 */
typedef enum cenote_answer {
  CENOTE_ANSWER_NONE,   /* nothing more now: wait again */
  CENOTE_ANSWER_DONE,   /* the oldest request has succeeded; its sink is complete */
  CENOTE_ANSWER_FAILED, /* the oldest request has failed, *error says how; nothing of it remains */
  CENOTE_ANSWER_REPEAT, /* the oldest failed before anything ran: push it again. A stale plan; or,
                            with SQLSTATE 25P02, another's failure in front of it in its batch:
                            pushed with CENOTE_REQUEST_ALONE that cannot happen again */
  CENOTE_ANSWER_ENOUGH, /* the sink of the oldest wants no more: it goes on, its rows are dropped,
                            and FAILED comes in the end; told once, so that one may cancel it */
  CENOTE_ANSWER_LOST    /* the connection is dead: nothing in flight will be answered */
} cenote_answer;

typedef struct cenote_pipelining {
  size_t size;
  /* Out of request mode, between requests. `read_only`: the session refuses to write (25006) from
   * here on; it is DIRTY then. Sends nothing that has to be waited for. CENOTE_UNSUPPORTED: not on
   * this connection (a pooler is in between), or not read-only; it is as before then. */
  cenote_status (*enter)(cenote_connection *connection, bool read_only, cenote_error *error);
  /* Sends one EXECUTE or CHECK, followed by a sync point (a batch's at the latest when wants() is
   * asked). `request` is borrowed until push returns,
   * its sink until the request is answered or the connection destroyed. CENOTE_OK: the server may
   * have it from now on. CENOTE_CONNECTION_LOST: the server will not run it, the connection is dead
   * (read() then answers what came before that, and LOST for the rest). Anything else: the request
   * itself is wrong, nothing was sent, the connection is as before. Never blocks. */
  cenote_status (*push)(cenote_connection *connection, const cenote_request *request,
                        cenote_error *error);
  /* What to wait for; no deadline, or 0: do not wait, read. To be asked after the last push of a
   * batch, also when somebody waits already: a driver may hold requests back until then, to send
   * many at once, and POLLOUT is wanted while the network takes no more. */
  void (*wants)(const cenote_connection *connection, cenote_wants *wants);
  /* After waiting (`revents`; 0 in the calls after the first): what has arrived. Call it until it
   * answers NONE or LOST. cancel() asks the oldest request to stop; its answer tells whether it did:
   * CENOTE_CANCELLED. On its way the cancel may hit one behind instead, which then fails with
   * CENOTE_DATABASE and 57014, rolled back; the server's own time-out is CENOTE_STATEMENT_TIMEOUT.
   * With nothing in flight cancel() does nothing. */
  cenote_answer (*read)(cenote_connection *connection, short revents, cenote_error *error);
  /* A cancel was asked for and may still reach the server: nothing new should be pushed until it
   * cannot, and leave() would break the session. `done_fd`: readable when it is worth asking again,
   * owned by the driver and good until the next call; or -1. Once it cannot: session() says BROKEN
   * when a cancel may have gone astray. What is in flight is answered all the same, but the
   * connection should get nothing more. */
  bool (*cancelling)(const cenote_connection *connection, int *done_fd);
  /* Back to request mode; nothing may be in flight. Fine after LOST too. session() is exact then. */
  void (*leave)(cenote_connection *connection);
} cenote_pipelining;

typedef struct cenote_driver {
  size_t size;
  const char *name;
  unsigned flags;

  /* Once a manager, before any connection: checks the URL, makes what all
   * connections share. May be NULL. No I/O. */
  cenote_status (*shared_new)(const cenote_driver_params *params, void **shared,
                              cenote_error *error);
  void (*shared_free)(void *shared);

  /* Memory only, no I/O. `params` is borrowed for the connection's life. */
  cenote_status (*create)(const cenote_driver_params *params, cenote_connection **connection,
                          cenote_error *error);
  /* Closes abruptly whatever is still open, waits for nothing, frees. */
  void (*destroy)(cenote_connection *connection);

  /* `request` is borrowed until DONE or FAILED. FAILED fills *error. */
  cenote_step (*start)(cenote_connection *connection, const cenote_request *request,
                       cenote_error *error);
  void (*wants)(const cenote_connection *connection, cenote_wants *wants);
  cenote_step (*advance)(cenote_connection *connection, short revents, cenote_error *error);

  /* Asks what runs to stop; returns at once; any thread. The request then
   * ends by itself, as CENOTE_CANCELLED or with its real outcome. A cancel
   * that arrives between requests never touches the next one. */
  void (*cancel)(cenote_connection *connection);
  /* The last resort: the running request fails soon, the connection is
   * broken; any thread. */
  void (*abort)(cenote_connection *connection);

  unsigned (*session)(const cenote_connection *connection);
  void (*taint)(cenote_connection *connection); /* mark DIRTY: its resource was handed out */
  void *(*resource)(cenote_connection *connection);
  /* Gives back caches (prepared statements, page cache); may be NULL. */
  void (*shrink)(cenote_connection *connection);

  const cenote_pipelining *pipelining; /* NULL: one request at a time */
  /* cenote_flush: what connections share and could outlive them (sockets that rest, what is known
   * of the server) is not used again. Any thread, no I/O; may be NULL. */
  void (*flush)(void *shared);
} cenote_driver;

/* --- what a driver tells a sink. A status other than OK means: stop the
 * statement (cancel it if need be), finish, and answer FAILED with *error as
 * the sink filled it. Names and values are copied; NULL sink is fine. */
typedef struct cenote_column {
  const char *name;
  const char *type; /* declared type's name, or NULL */
  uint32_t oid;     /* PostgreSQL's type OID, or 0 */
  /* What RowDescription says beside (protocol 55.7). Without an OID nothing is known: zeros will
   * do, and the modifier reads as -1. */
  uint32_t table_oid;
  int16_t attribute; /* number of the table's column */
  int16_t type_size; /* pg_type.typlen; negative: variable */
  int32_t modifier;  /* -1: none */
} cenote_column;

CENOTE_API cenote_status cenote_sink_columns(cenote_sink *sink, const cenote_column *columns,
                                             size_t count, cenote_error *error);
CENOTE_API cenote_status cenote_sink_row(cenote_sink *sink, const cenote_value *values,
                                         size_t count, cenote_error *error);
/* DESCRIBE: names with their sign, or NULL for a parameter that has none. */
CENOTE_API cenote_status cenote_sink_parameters(cenote_sink *sink, const char *const *names,
                                                size_t count, bool is_readonly, bool is_explain,
                                                cenote_error *error);
CENOTE_API void cenote_sink_complete(cenote_sink *sink, int64_t affected_rows,
                                     int64_t last_insert_id, const char *command);
/* SCRIPT: what comes from here on belongs to the next statement of the text. CENOTE_UNSUPPORTED
 * where rows are streamed. */
CENOTE_API cenote_status cenote_sink_next(cenote_sink *sink, cenote_error *error);

/* What the driver told of a result's column; its texts are the result's. False: no such column. */
CENOTE_API bool cenote_result_column(const cenote_result *result, size_t column,
                                     cenote_column *out);

/* Fills *error: status, "message" by printf's rules, retryable by the status's
 * own row. NULL error is fine. Answers `status`. */
CENOTE_API cenote_status cenote_error_set(cenote_error *error, cenote_status status,
                                          const char *format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 3, 4)))
#endif
    ;
/* Adds one server field (see cenote_error_field). */
CENOTE_API void cenote_error_add_field(cenote_error *error, char code, const char *text);

#ifdef __cplusplus
}
#endif

#endif
