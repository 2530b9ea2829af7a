/*
 * execute.c - one statement: find or prepare it, bind, take the writer's turn if it writes, step
 * through its rows, and see what became of the transaction.
 */
#include "driver/sqlite/connection.h"

#include "base/error.h"

#include <string.h>

bool cen_sq_in_transaction(const cenote_connection *connection)
{
  if (!connection->handle || (connection->shared->url.memory && !connection->holds_gate)) {
    return false;
  }
  return !sqlite3_get_autocommit(connection->handle->db);
}

/*
 * The sink wants no more. A statement that writes must not be committed by halves: it is
 * interrupted, and SQLite rolls back.
 */
static void stop_statement(cenote_connection *connection, const struct cen_sq_statement *statement)
{
  if (statement->writes) {
    sqlite3_interrupt(connection->handle->db);
    (void)sqlite3_step(statement->stmt);
  }
}

static cenote_status step_rows(cenote_connection *connection,
                               const struct cen_sq_statement *statement,
                               const cenote_request *request, cenote_error *error)
{
  sqlite3_stmt *stmt = statement->stmt;
  bool announced = false;
  for (;;) {
    int code = sqlite3_step(stmt);
    cenote_status status = CENOTE_OK;
    if (code != SQLITE_ROW && code != SQLITE_DONE) {
      return cen_sq_error(connection, code, statement, error);
    }
    /* only now: the first step may have prepared anew, with other columns */
    if (!announced && request) {
      status = cen_sq_columns(stmt, request->sink, error);
      announced = true;
    }
    if (status == CENOTE_OK && code == SQLITE_ROW && request) {
      status = cen_sq_row(connection, stmt, request, error);
    }
    if (status) {
      stop_statement(connection, statement);
      return status;
    }
    if (code == SQLITE_DONE) {
      return CENOTE_OK;
    }
  }
}

/* ------------------------------------------------------------------------------ transactions */

/* SQLITE_TXN_NONE, _READ or _WRITE of what `schema` names (NULL: the highest of all). */
static int transaction_state(sqlite3 *db, const char *schema)
{
#if SQLITE_VERSION_NUMBER >= 3034000
  return sqlite3_txn_state(db, schema);
#else
  (void)schema;
  return sqlite3_get_autocommit(db) ? 0 : 2; /* unknown: as if it wrote */
#endif
}

enum { TXN_READ = 1, TXN_WRITE = 2 };

/* A transaction has begun to read: what has been committed since is what makes it stale. */
static void note_snapshot(cenote_connection *connection)
{
  uint64_t commits;
  if (connection->holds_gate || connection->snapshot != CEN_SQ_NO_SNAPSHOT ||
      transaction_state(connection->handle->db, "main") != TXN_READ) {
    return;
  }
  commits = atomic_load(&connection->shared->commits);
  connection->snapshot = commits % 2 == 0 ? commits : CEN_SQ_UNSURE_SNAPSHOT;
}

/* The one that holds the turn may be about to commit: the number is odd meanwhile. */
static bool commit_begins(cenote_connection *connection)
{
  bool may_commit = connection->holds_gate && !connection->shared->url.memory;
  if (may_commit) {
    atomic_fetch_add(&connection->shared->commits, 1);
  }
  return may_commit;
}

static void commit_ends(cenote_connection *connection, bool committed)
{
  if (committed) {
    atomic_fetch_add(&connection->shared->commits, 1);
  } else {
    atomic_fetch_sub(&connection->shared->commits, 1);
  }
}

/*
 * The turn, for a statement that writes. Where the transaction has read already and another one
 * has the turn, some waits are in vain: what it has read was overtaken by a commit; or there is no
 * write-ahead log, and the other one cannot commit while we read.
 */
static cenote_status take_turn(cenote_connection *connection, cenote_error *error)
{
  struct cen_sq_shared *shared = connection->shared;
  if (connection->holds_gate || shared->url.memory ||
      transaction_state(connection->handle->db, "main") != TXN_READ) {
    return cen_sq_enter(connection, error);
  }
  connection->holds_gate = cen_sq_gate_try(&shared->gate);
  if (connection->holds_gate) {
    return CENOTE_OK; /* SQLite itself knows best */
  }
  if (connection->snapshot < CEN_SQ_UNSURE_SNAPSHOT &&
      atomic_load(&shared->commits) >= connection->snapshot + 2) {
    return cen_sq_code_error(SQLITE_BUSY_SNAPSHOT, error);
  }
  if (!atomic_load(&shared->wal)) {
    return cen_sq_code_error(SQLITE_BUSY, error);
  }
  return cen_sq_enter(connection, error);
}

void cen_sq_settle(cenote_connection *connection, bool was_open, bool succeeded)
{
  sqlite3 *db = connection->handle->db;
  if (!sqlite3_get_autocommit(db)) {
    note_snapshot(connection);
    /* the turn is for who holds SQLite's lock; it was not to be had, or a snapshot was stale */
    if (!succeeded && connection->holds_gate && !connection->shared->url.memory &&
        transaction_state(db, NULL) < TXN_WRITE) {
      cen_sq_leave(connection);
    }
    return;
  }
  connection->snapshot = CEN_SQ_NO_SNAPSHOT;
  if (was_open && !succeeded) {
    connection->failed = true;
  }
  if (connection->query_only) {
    connection->query_only = false;
    cen_sq_own(connection, "PRAGMA query_only=0");
  }
  cen_sq_leave(connection);
}

/* -------------------------------------------------------------------------------- refusing */

/*
 * SQLite rolls a whole transaction back after some errors (interrupt, disk full, ON CONFLICT
 * ROLLBACK). Its owner would go on in autocommit mode without knowing; so, as in PostgreSQL,
 * everything is refused until the owner ends the transaction.
 */
cenote_status cen_sq_refuse_failed(cenote_connection *connection, const char *sql, size_t size,
                                   cenote_error *error)
{
  enum cen_verb verb = cen_statement_verb(sql, size, CEN_DIALECT_SQLITE);
  if (verb == CEN_VERB_ROLLBACK) {
    connection->failed = false;
    return CENOTE_OK;
  }
  if (verb == CEN_VERB_COMMIT) {
    connection->failed = false;
    cenote_error_set(error, CENOTE_DATABASE,
                     "nothing was committed: an error had rolled the transaction back");
  } else {
    cenote_error_set(error, CENOTE_DATABASE,
                     "an error has rolled the transaction back; end it with ROLLBACK");
  }
  cen_error_sqlstate(error, "25P02");
  return CENOTE_DATABASE;
}

/* Whoever asks took its text for a read, or may only read; SQLite knows better. */
static cenote_status refuse_write(unsigned flags, cenote_error *error)
{
  cenote_error_set(error, CENOTE_DATABASE,
                   (flags & CENOTE_REQUEST_REFUSE) != 0
                       ? "the statement writes, and only reads are allowed here"
                       : "the statement writes, but was sent as a read");
  cen_error_sqlstate(error, "25006");
  cenote_error_add_field(error, 'X', "SQLITE_READONLY");
  return CENOTE_DATABASE;
}

/* --------------------------------------------------------------------------------- running */

static void count_changes(cenote_connection *connection, const struct cen_sq_statement *statement,
                          struct cen_sq_counts *counts)
{
  sqlite3 *db = connection->handle->db;
  *counts = (struct cen_sq_counts){0};
  if (statement->writes && statement->verb == CEN_VERB_WRITE) {
#if SQLITE_VERSION_NUMBER >= 3037000
    counts->affected = sqlite3_changes64(db);
#else
    counts->affected = sqlite3_changes(db);
#endif
    counts->inserted = counts->affected && statement->inserts ? sqlite3_last_insert_rowid(db) : 0;
  }
}

static cenote_status step_all(cenote_connection *connection,
                              const struct cen_sq_statement *statement,
                              const cenote_request *request, cenote_error *error)
{
  struct cen_sq_handle *handle = connection->handle;
  bool counted = commit_begins(connection);
  cenote_status status;
  connection->dirty = connection->dirty || statement->may_dirty;
  handle->running = statement->stmt;
  handle->vacuuming = statement->vacuums;
  status = step_rows(connection, statement, request, error);
  handle->vacuuming = false;
  handle->running = NULL;
  if (counted) {
    commit_ends(connection, status == CENOTE_OK && sqlite3_get_autocommit(handle->db) &&
                                statement->verb != CEN_VERB_ROLLBACK);
  }
  return status;
}

cenote_status cen_sq_run_prepared(cenote_connection *connection,
                                  const struct cen_sq_statement *statement,
                                  const cenote_request *request, struct cen_sq_counts *counts,
                                  cenote_error *error)
{
  const unsigned refusing = CENOTE_REQUEST_READ | CENOTE_REQUEST_REFUSE;
  enum cen_sq_reason reason;
  cenote_status status = request ? cen_sq_bind(connection, statement, request, error) : CENOTE_OK;
  if (status == CENOTE_OK && statement->writes) {
    status = request && (request->flags & refusing) != 0 ? refuse_write(request->flags, error)
                                                         : take_turn(connection, error);
  }
  reason = cen_sq_stopped(connection);
  if (status == CENOTE_OK && reason != CEN_SQ_GO) {
    status = cen_sq_stop_error(connection, reason, "the statement had not begun", error);
  }
  if (status == CENOTE_OK) {
    status = step_all(connection, statement, request, error);
  }
  if (status == CENOTE_OK) {
    count_changes(connection, statement, counts);
  }
  return status;
}

static cenote_status run_statement(cenote_connection *connection, const char *sql,
                                   const cenote_request *request, cenote_error *error)
{
  struct cen_sq_statement *statement = NULL;
  struct cen_sq_counts counts = {0};
  bool native = request && (request->flags & CENOTE_REQUEST_NATIVE) != 0;
  bool was_open;
  cenote_status status;

  if (connection->shared->url.memory) {
    status = cen_sq_enter(connection, error); /* the handle is everybody's */
    if (status) {
      return status;
    }
  }
  connection->handle->user = connection;
  was_open = !sqlite3_get_autocommit(connection->handle->db);
  status = cen_sq_find(connection, sql, native, &statement, error);
  if (status == CENOTE_OK) {
    status = cen_sq_run_prepared(connection, statement, request, &counts, error);
  }
  if (status == CENOTE_OK && request && request->sink) {
    cenote_sink_complete(request->sink, counts.affected, counts.inserted, "");
  }
  if (statement) {
    cen_sq_put_back(statement);
  }
  connection->handle->user = NULL; /* before the gate opens: in memory mode it is the next one's */
  cen_sq_settle(connection, was_open, status == CENOTE_OK);
  return status;
}

cenote_status cen_sq_execute(cenote_connection *connection, const cenote_request *request,
                             cenote_error *error)
{
  cenote_status status = cen_sq_check_text(request, error);
  if (status) {
    return status;
  }
  if (request->flags & CENOTE_REQUEST_SCRIPT) {
    return cen_sq_script(connection, request, error);
  }
  if (connection->failed) {
    status = cen_sq_refuse_failed(connection, request->sql, strlen(request->sql), error);
    if (status == CENOTE_OK && request->sink) {
      cenote_sink_complete(request->sink, 0, 0, "");
    }
    return status;
  }
  return run_statement(connection, request->sql, request, error);
}

cenote_status cen_sq_run(cenote_connection *connection, const char *sql, cenote_error *error)
{
  return run_statement(connection, sql, NULL, error);
}
