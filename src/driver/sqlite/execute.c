/*
 * execute.c - one statement: find or prepare it, bind, take the writer's turn if it writes, step
 * through its rows, and see what became of the transaction.
 */
#include "driver/sqlite/connection.h"

#include "base/error.h"
#include "base/limits.h"

#include <stdlib.h>
#include <string.h>

bool cen_sq_in_transaction(const cenote_connection *connection)
{
  if (!connection->handle || (connection->shared->url.memory && !connection->holds_gate)) {
    return false;
  }
  return !sqlite3_get_autocommit(connection->handle->db);
}

/* Prepares the first statement of the text; there must be no second one. */
static cenote_status prepare_text(cenote_connection *connection, const char *text,
                                  struct cen_sq_statement *statement, cenote_error *error)
{
  sqlite3 *db = connection->handle->db;
  const char *end = text + strlen(text);
  const char *tail = text;
  while (!statement->stmt && tail < end) {
    int code = sqlite3_prepare_v3(db, tail, (int)(end - tail) + 1, SQLITE_PREPARE_PERSISTENT,
                                  &statement->stmt, &tail);
    if (code != SQLITE_OK) {
      return cen_sq_error(connection, code, statement, error);
    }
  }
  if (!statement->stmt) {
    return cenote_error_set(error, CENOTE_INVALID, "the statement is empty");
  }
  if (cen_count_statements(tail, (size_t)(end - tail), CEN_DIALECT_SQLITE) > 0) {
    return cenote_error_set(
        error, CENOTE_INVALID,
        "the text holds several statements; run them one by one, or as a batch");
  }
  return CENOTE_OK;
}

/* INSERT, REPLACE, also behind WITH: the first word outside parentheses that names an action. */
static bool is_insert(const char *sql, size_t size)
{
  struct cen_scanner scanner;
  struct cen_token token;
  size_t depth = 0;
  cen_scan_init(&scanner, sql, size, CEN_DIALECT_SQLITE);
  while (cen_scan_next(&scanner, &token) != CEN_TOKEN_END) {
    if (token.kind == CEN_TOKEN_SYMBOL && *token.start == '(') {
      depth++;
    } else if (token.kind == CEN_TOKEN_SYMBOL && *token.start == ')' && depth) {
      depth--;
    } else if (depth == 0 && (cen_token_is(&token, "insert") || cen_token_is(&token, "replace"))) {
      return true;
    } else if (depth == 0 && (cen_token_is(&token, "select") || cen_token_is(&token, "update") ||
                              cen_token_is(&token, "delete"))) {
      return false;
    }
  }
  return false;
}

static cenote_status prepare(cenote_connection *connection, const char *sql, size_t size,
                             struct cen_sq_statement **out, cenote_error *error)
{
  struct cen_sq_statement *statement = NULL;
  char *rewritten = NULL;
  size_t highest;
  cenote_status status;
  *out = NULL;
  if (size > CEN_MAX_SQL) {
    return cenote_error_set(error, CENOTE_TOO_LARGE,
                            "the statement's text has %zu bytes; at most %d are allowed", size,
                            CEN_MAX_SQL);
  }
  status = cen_placeholders(sql, size, CEN_DIALECT_SQLITE, &rewritten, &highest, error);
  if (status) {
    goto done;
  }
  statement = cen_sq_statement_new(sql, size);
  if (!statement) {
    status = cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory while preparing");
    goto done;
  }
  statement->rewritten = rewritten != NULL;
  status = prepare_text(connection, rewritten ? rewritten : sql, statement, error);
  if (status) {
    goto done;
  }
  statement->verb = cen_statement_verb(sql, size, CEN_DIALECT_SQLITE);
  statement->may_dirty = cen_statement_may_dirty(sql, size, CEN_DIALECT_SQLITE);
  statement->inserts = statement->verb == CEN_VERB_WRITE && is_insert(sql, size);
  statement->writes = !sqlite3_stmt_readonly(statement->stmt);
  *out = statement;
  statement = NULL;
done:
  cen_sq_statement_free(statement);
  free(rewritten);
  return status;
}

/* What changes the schema or the session rarely comes twice. */
static bool worth_keeping(const struct cen_sq_statement *statement)
{
  return statement->size <= CEN_SQ_CACHED_TEXT && !statement->may_dirty &&
         statement->verb != CEN_VERB_DDL && statement->verb != CEN_VERB_UNKNOWN;
}

static cenote_status find_or_prepare(cenote_connection *connection, const char *sql,
                                     struct cen_sq_statement **statement, cenote_error *error)
{
  size_t size = strlen(sql);
  cenote_status status;
  *statement = cen_sq_cache_find(&connection->handle->cache, sql, size);
  if (*statement) {
    return CENOTE_OK;
  }
  status = prepare(connection, sql, size, statement, error);
  if (status == CENOTE_OK && worth_keeping(*statement)) {
    cen_sq_cache_keep(&connection->handle->cache, *statement);
  }
  return status;
}

/* The statement is through: the handle is free for the next one. */
static void put_back(struct cen_sq_statement *statement)
{
  if (statement->kept) {
    sqlite3_reset(statement->stmt);
    sqlite3_clear_bindings(statement->stmt);
  } else {
    cen_sq_statement_free(statement);
  }
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

static void complete(cenote_connection *connection, const struct cen_sq_statement *statement,
                     const cenote_request *request)
{
  sqlite3 *db = connection->handle->db;
  int64_t affected = 0;
  int64_t inserted = 0;
  if (!request->sink) {
    return;
  }
  if (statement->writes && statement->verb == CEN_VERB_WRITE) {
#if SQLITE_VERSION_NUMBER >= 3037000
    affected = sqlite3_changes64(db);
#else
    affected = sqlite3_changes(db);
#endif
    inserted = affected && statement->inserts ? sqlite3_last_insert_rowid(db) : 0;
  }
  cenote_sink_complete(request->sink, affected, inserted, "");
}

/* Behind each statement: is the transaction over, and does its owner know? */
static void settle(cenote_connection *connection, bool was_open, bool succeeded)
{
  sqlite3 *db = connection->handle->db;
  if (!sqlite3_get_autocommit(db)) {
    return;
  }
  if (was_open && !succeeded) {
    connection->failed = true;
  }
  if (connection->query_only) {
    connection->query_only = false;
    sqlite3_exec(db, "PRAGMA query_only=0", NULL, NULL, NULL);
  }
  cen_sq_leave(connection);
}

/*
 * SQLite rolls a whole transaction back after some errors (interrupt, disk full, ON CONFLICT
 * ROLLBACK). Its owner would go on in autocommit mode without knowing; so, as in PostgreSQL,
 * everything is refused until the owner ends the transaction.
 */
static cenote_status refuse_failed(cenote_connection *connection, const char *sql,
                                   cenote_error *error)
{
  enum cen_verb verb = cen_statement_verb(sql, strlen(sql), CEN_DIALECT_SQLITE);
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

/* Whoever asks took its text for a read; SQLite knows better. */
static cenote_status refuse_write(cenote_error *error)
{
  cenote_error_set(error, CENOTE_DATABASE, "the statement writes, but was sent as a read");
  cen_error_sqlstate(error, "25006");
  return CENOTE_DATABASE;
}

static cenote_status run_statement(cenote_connection *connection, const char *sql,
                                   const cenote_request *request, cenote_error *error)
{
  struct cen_sq_statement *statement = NULL;
  enum cen_sq_reason reason;
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
  status = find_or_prepare(connection, sql, &statement, error);
  if (status == CENOTE_OK && request) {
    status = cen_sq_bind(statement, request->args, request->count, error);
  }
  if (status == CENOTE_OK && statement->writes && request &&
      (request->flags & CENOTE_REQUEST_READ) != 0) {
    status = refuse_write(error);
  } else if (status == CENOTE_OK && statement->writes) {
    status = cen_sq_enter(connection, error);
  }
  reason = cen_sq_stopped(connection);
  if (status == CENOTE_OK && reason != CEN_SQ_GO) {
    status = cen_sq_stop_error(connection, reason, "the statement had not begun", error);
  }
  if (status == CENOTE_OK) {
    connection->dirty = connection->dirty || statement->may_dirty;
    connection->handle->running = statement->stmt;
    status = step_rows(connection, statement, request, error);
    connection->handle->running = NULL;
  }
  if (status == CENOTE_OK && request) {
    complete(connection, statement, request);
  }
  if (statement) {
    put_back(statement);
  }
  connection->handle->user = NULL; /* before the gate opens: in memory mode it is the next one's */
  settle(connection, was_open, status == CENOTE_OK);
  return status;
}

cenote_status cen_sq_execute(cenote_connection *connection, const cenote_request *request,
                             cenote_error *error)
{
  if (!request->sql || (request->count && !request->args)) {
    return cenote_error_set(error, CENOTE_INVALID, "no statement, or no arguments, were given");
  }
  if (connection->failed) {
    cenote_status status = refuse_failed(connection, request->sql, error);
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
