/*
 * execute.c - EXECUTE: arguments as text, preparing at the second use, rows into the sink.
 *
 *   next ──► (bury ──► next) ──► prepare ──► next ──► run ──► rows ──► finish
 *                                                      └ stale plan: next, unprepared
 */
#include "base/error.h"
#include "driver/postgres/postgres.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------------------ sending */

const char *pg_statement_text(const struct pg_statement *statement)
{
  return statement->rewritten ? statement->rewritten : statement->sql;
}

static cenote_step no_memory(cenote_connection *c, cenote_error *error)
{
  pg_fail(c, CENOTE_NO_MEMORY, "out of memory for the arguments");
  return pg_finish(c, error);
}

static cenote_step run(cenote_connection *c, bool prepared, cenote_error *error)
{
  struct pg_args args;
  int count = (int)c->request->count;
  if (!pg_args_build(c, c->request, &args)) {
    return no_memory(c, error);
  }
  c->use_prepared = prepared;
  const char *name = pg_statement_name(c->statements, c->statement);
  pthread_mutex_lock(&c->guard);
  int ok = prepared ? PQsendQueryPrepared(c->conn, name, count, args.values, args.lengths,
                                          args.formats, 0)
                    : PQsendQueryParams(c->conn, pg_statement_text(c->statement), count, args.types,
                                        args.values, args.lengths, args.formats, 0);
  if (ok) {
    (void)PQsetSingleRowMode(c->conn); /* rows pass through; libpq keeps one */
  }
  pthread_mutex_unlock(&c->guard);
  return pg_sent(c, ok, PG_RUNNING, error);
}

static cenote_step prepare(cenote_connection *c, cenote_error *error)
{
  struct pg_args args;
  if (!pg_args_build(c, c->request, &args)) {
    return no_memory(c, error);
  }
  const char *name = pg_statement_name(c->statements, c->statement);
  pthread_mutex_lock(&c->guard);
  int ok = PQsendPrepare(c->conn, name, pg_statement_text(c->statement), (int)c->request->count,
                         args.types);
  pthread_mutex_unlock(&c->guard);
  return pg_sent(c, ok, PG_PREPARING, error);
}

/* Worth it from the second use on, for what has a plan, and where the session is ours. */
bool pg_should_prepare(const cenote_connection *c, const struct pg_statement *statement)
{
  enum cen_verb verb = statement->verb;
  return c->level != PG_LEVEL_POOLER && statement->cached &&
         statement->uses >= PG_PREPARE_AT + statement->refused &&
         (verb == CEN_VERB_READ || verb == CEN_VERB_WRITE);
}

/* The next thing to send for the statement. */
static cenote_step next(cenote_connection *c, cenote_error *error)
{
  bool exact;
  uint64_t mask = pg_args_blobs(c->request, &exact);
  struct pg_statement *statement = c->statement;
  if (statement->prepared && c->level != PG_LEVEL_POOLER) {
    return run(c, exact && mask == statement->blob_mask && !c->retried, error);
  }
  if (!pg_should_prepare(c, statement) || !exact || c->retried ||
      PQtransactionStatus(c->conn) == PQTRANS_INERROR) {
    return run(c, false, error);
  }
  size_t dead = c->statements->dead_count;
  if (dead > 0 && PQtransactionStatus(c->conn) == PQTRANS_IDLE) {
    char *sql = pg_statements_bury(c->statements);
    if (!sql) {
      return no_memory(c, error);
    }
    cenote_step step = pg_send_command(c, sql, PG_BURYING, error);
    free(sql);
    return step;
  }
  if (dead >= CEN_STATEMENT_CACHE) {
    return run(c, false, error); /* a long transaction: nothing can be deallocated in it */
  }
  statement->blob_mask = mask;
  return prepare(c, error);
}

cenote_status pg_statement_for(cenote_connection *c, const cenote_request *request,
                               struct pg_statement **statement, cenote_error *error)
{
  const char *sql = request->sql ? request->sql : "";
  *statement = NULL;
  const bool script = (request->flags & CENOTE_REQUEST_SCRIPT) != 0;
  if ((request->flags & CENOTE_REQUEST_REFUSE) != 0) {
    return cenote_error_set(error, CENOTE_UNSUPPORTED,
                            "refusing writes: on PostgreSQL use a read-only transaction");
  }
  if (script && c->pipe) {
    return cenote_error_set(error, CENOTE_UNSUPPORTED, "several statements cannot be pipelined");
  }
  const bool native = script || (request->flags & CENOTE_REQUEST_NATIVE) != 0;
  cenote_status status = pg_statement_get(&c->statements, sql, native, statement, error);
  return status == CENOTE_OK ? pg_args_check(*statement, request, error) : status;
}

static bool is_script(const cenote_connection *c)
{
  return (c->request->flags & CENOTE_REQUEST_SCRIPT) != 0;
}

/* The simple protocol: the server takes the text apart itself, and all of it is one transaction
 * unless it says otherwise. */
static cenote_step run_script(cenote_connection *c, cenote_error *error)
{
  c->use_prepared = false;
  pthread_mutex_lock(&c->guard);
  int ok = PQsendQuery(c->conn, c->statement->sql);
  if (ok) {
    (void)PQsetSingleRowMode(c->conn);
  }
  pthread_mutex_unlock(&c->guard);
  return pg_sent(c, ok, PG_RUNNING, error);
}

cenote_step pg_execute_start(cenote_connection *c, cenote_error *error)
{
  cenote_error why; /* filled on failure only */
  why.size = sizeof(why);
  cenote_status status = pg_statement_for(c, c->request, &c->statement, &why);
  if (status != CENOTE_OK) {
    cenote_error *failure = pg_failure(c, status);
    cen_error_copy(failure, &why);
    return pg_finish(c, error);
  }
  c->in_block = PQtransactionStatus(c->conn) != PQTRANS_IDLE;
  c->dirty = c->dirty || c->statement->may_dirty;
  if (pg_alone_takes(c)) {
    return pg_alone_start(c, error);
  }
  if (!pg_still_there(c)) {
    return pg_lost(c, error);
  }
  return is_script(c) ? run_script(c, error) : next(c, error);
}

cenote_step pg_execute_again(cenote_connection *c, cenote_error *error)
{
  return next(c, error);
}

/* ------------------------------------------------------------------------------ results */

enum { FEW_COLUMNS = 16 };

bool pg_cells_reserve(cenote_connection *c, size_t count)
{
  if (count <= c->cell_count) {
    return true;
  }
  cenote_value *larger = realloc(c->cells, count * sizeof(*larger));
  if (larger) {
    c->cells = larger;
    c->cell_count = count;
  }
  return larger != NULL;
}

/* The sink wants no more: what is still to come is cancelled and read past. */
void pg_sink_failed(cenote_connection *c, cenote_status status, const cenote_error *why)
{
  cenote_error *failure = pg_failure(c, status);
  cen_error_copy(failure, why);
  if (!c->pipe) { /* else whoever pipelines is told, and cancels */
    pg_cancel(c);
  }
}

static void tell_columns(cenote_connection *c, const PGresult *result)
{
  int count = PQnfields(result);
  cenote_error why; /* large: to be filled on failure only */
  why.size = sizeof(why);
  c->columns_told = true;
  if (!c->request->sink || count == 0) {
    return;
  }
  cenote_column few[FEW_COLUMNS];
  cenote_column *columns = count <= FEW_COLUMNS ? few : calloc((size_t)count, sizeof(*columns));
  if (!columns) {
    (void)cenote_error_set(&why, CENOTE_NO_MEMORY, "out of memory for the columns");
    pg_sink_failed(c, CENOTE_NO_MEMORY, &why);
    return;
  }
  for (int i = 0; i < count; i++) {
    pg_column_of(result, i, &columns[i]);
  }
  cenote_status status = cenote_sink_columns(c->request->sink, columns, (size_t)count, &why);
  if (columns != few) {
    free(columns);
  }
  if (status != CENOTE_OK) {
    pg_sink_failed(c, status, &why);
  }
}

static void free_kept(void **kept, size_t count)
{
  for (size_t i = 0; kept && i < count; i++) {
    PQfreemem(kept[i]);
  }
  free(kept);
}

static void tell_row(cenote_connection *c, const PGresult *result, int row)
{
  cenote_error why; /* as above */
  why.size = sizeof(why);
  size_t count = (size_t)PQnfields(result);
  bool raw = (c->request->flags & CENOTE_REQUEST_RAW_TEXT) != 0;
  void **kept = NULL; /* blobs in PostgreSQL's old notation need memory of their own */
  bool memory = pg_cells_reserve(c, count);
  for (size_t i = 0; memory && i < count; i++) {
    void *own = NULL;
    memory = pg_cell(result, row, (int)i, raw, &c->cells[i], &own);
    if (own && !kept && !(kept = calloc(count, sizeof(*kept)))) {
      PQfreemem(own);
      memory = false;
    } else if (own) {
      kept[i] = own;
    }
  }
  cenote_status status =
      memory ? cenote_sink_row(c->request->sink, c->cells, count, &why)
             : cenote_error_set(&why, CENOTE_NO_MEMORY, "out of memory while reading a row");
  free_kept(kept, count);
  if (status != CENOTE_OK) {
    pg_sink_failed(c, status, &why);
  }
}

static int64_t affected_rows(PGresult *result)
{
  /* SELECT's count is the rows', except where it made a table. */
  if (PQnfields(result) > 0 && strncmp(PQcmdStatus(result), "SELECT", 6) == 0) {
    return 0;
  }
  return strtoll(PQcmdTuples(result), NULL, 10);
}

void pg_complete(cenote_connection *c, const char *tag, int64_t affected)
{
  pg_session_used(c, tag);
  if (!c->failed && c->request->sink) {
    cenote_sink_complete(c->request->sink, affected, 0, tag);
  }
}

void pg_execute_empty(cenote_connection *c)
{
  if (c->request->flags & CENOTE_REQUEST_NATIVE) {
    pg_complete(c, "", 0);
  } else {
    pg_fail(c, CENOTE_INVALID, "empty statement");
  }
}

static void complete(cenote_connection *c, PGresult *result)
{
  pg_complete(c, PQcmdStatus(result), affected_rows(result));
  c->script_goes_on = is_script(c);
}

/* A result of a script's next statement. */
static void begin_next(cenote_connection *c)
{
  cenote_error why; /* to be filled on failure only */
  why.size = sizeof(why);
  c->script_goes_on = c->columns_told = false;
  if (c->failed == CENOTE_OK) {
    cenote_status status = cenote_sink_next(c->request->sink, &why);
    if (status != CENOTE_OK) {
      pg_sink_failed(c, status, &why);
    }
  }
}

static bool cancelled(cenote_connection *c)
{
  pthread_mutex_lock(&c->guard);
  bool answer = c->cancelled;
  pthread_mutex_unlock(&c->guard);
  return answer;
}

void pg_execute_error(cenote_connection *c, const PGresult *result)
{
  pg_execute_said(c, &(struct pg_said){.result = result});
}

void pg_execute_said(cenote_connection *c, const struct pg_said *said)
{
  const char *sqlstate = pg_said(said, PG_DIAG_SQLSTATE);
  cenote_status status = CENOTE_DATABASE;
  if (strcmp(sqlstate, "57014") == 0) {
    bool timeout = strstr(pg_said(said, PG_DIAG_MESSAGE_PRIMARY), "statement timeout") != NULL;
    c->cancel_arrived = c->cancel_arrived || !timeout;
    status = cancelled(c) ? CENOTE_CANCELLED : timeout ? CENOTE_STATEMENT_TIMEOUT : status;
  }
  const bool first = c->failed == CENOTE_OK;
  cenote_error *failure = pg_failure(c, status);
  if (failure) {
    pg_error_said(said, status, failure);
  } else if (first) {
    snprintf(c->failed_state, sizeof(c->failed_state), "%s", sqlstate);
  }
}

/*
 * A prepared statement that the server cannot use any more: its result has other columns since a
 * table was altered, or somebody deallocated it. It failed before anything ran, so outside a
 * transaction it simply runs again; inside one, the transaction has failed with it.
 */
bool pg_is_stale(const cenote_connection *c, const struct pg_said *said)
{
  const char *sqlstate = pg_said(said, PG_DIAG_SQLSTATE);
  const char *routine = pg_said(said, PG_DIAG_SOURCE_FUNCTION);
  if (!c->use_prepared || c->columns_told) {
    return false;
  }
  if (strcmp(sqlstate, "0A000") == 0) {
    return strcmp(routine, "RevalidateCachedQuery") == 0;
  }
  return strcmp(sqlstate, "26000") == 0 && strcmp(routine, "FetchPreparedStatement") == 0 &&
         !*pg_said(said, PG_DIAG_CONTEXT);
}

/*
 * A statement that was prepared is not there any more: somebody deallocated it, or a pooler gives
 * the session to others in between. This session cannot tell any more, so it is replaced: at once
 * where it pipelines, else when its holder gives it back. The next one asks when it is new.
 */
void pg_vanished(cenote_connection *c)
{
  c->vanished++;
  if (c->proven || c->level == PG_LEVEL_POOLER || c->vanished < PG_VANISHED) {
    return;
  }
  c->level = PG_LEVEL_POOLER;
  c->doubtful = c->dirty = true;
  atomic_store(&c->shared->doubtful, true);
  if (c->pipe && c->state != PG_ALONE) {
    atomic_store(&c->broken, true); /* what is in flight is still answered */
  }
}

static void run_error(cenote_connection *c, const PGresult *result)
{
  if (pg_is_stale(c, &(struct pg_said){.result = result})) {
    bool on_server = strcmp(pg_field(result, PG_DIAG_SQLSTATE), "0A000") == 0;
    pg_statement_unprepare(c->statements, c->statement, on_server);
    if (!on_server) {
      pg_vanished(c);
    }
    c->retry = !c->in_block && !c->retried;
    if (c->retry) {
      return;
    }
  }
  pg_execute_error(c, result);
}

void pg_execute_result(cenote_connection *c, PGresult *result)
{
  if (c->script_goes_on) {
    begin_next(c);
  }
  switch (PQresultStatus(result)) {
  case PGRES_SINGLE_TUPLE:
  case PGRES_TUPLES_OK:
    if (!c->failed && !c->columns_told) {
      tell_columns(c, result);
    }
    for (int row = 0; row < PQntuples(result) && !c->failed && c->request->sink; row++) {
      tell_row(c, result, row);
    }
    if (PQresultStatus(result) == PGRES_TUPLES_OK) {
      complete(c, result);
    }
    break;
  case PGRES_COMMAND_OK:
    complete(c, result);
    break;
  case PGRES_EMPTY_QUERY:
    pg_execute_empty(c);
    break;
  default:
    run_error(c, result);
    break;
  }
}

cenote_step pg_execute_idle(cenote_connection *c, cenote_error *error)
{
  bool unfinished = c->state == PG_BURYING || c->state == PG_PREPARING || c->retry;
  if (c->failed || !unfinished) {
    pg_args_trim(c);
    pg_session_idled(c);
    return pg_finish(c, error);
  }
  if (cancelled(c)) {
    pg_fail(c, CENOTE_CANCELLED, "cancelled");
    return pg_finish(c, error);
  }
  c->retried = c->retried || c->retry;
  c->retry = false;
  c->sent = false;
  return next(c, error);
}
