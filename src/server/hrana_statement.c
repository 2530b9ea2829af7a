/* hrana_statement.c - one statement on a stream's lease, and errors in the words of Hrana's own
 * server. */
#include "server/hrana_inside.h"

#include "server/hrana_sql.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* -------------------------------------------------------------------- problems */

void hrana_problem_is(struct hrana_exchange *x, const char *code, const char *message)
{
  x->problem.code = code;
  (void)snprintf(x->problem.message, sizeof x->problem.message, "%s", message);
}

void hrana_no_memory(struct hrana_exchange *x)
{
  hrana_problem_is(x, "PROXY_ERROR", "out of memory");
  x->out.failed = x->lost = true;
}

/* SQLite's position counts characters from 1, Hrana's offset bytes from 0. */
static size_t offset_of(const char *sql, const char *position)
{
  size_t characters = (size_t)strtoul(position, NULL, 10);
  size_t at = 0;
  for (; characters > 1 && sql[at] != '\0'; characters--) {
    do {
      at++;
    } while (((unsigned char)sql[at] & 0xc0) == 0x80);
  }
  return at;
}

/* What SQLite itself said, or its driver in a code of Hrana's. */
static void problem_of_sqlite(struct hrana_exchange *x, const char *sql)
{
  const char *code = cen_hrana_code(&x->error);
  const char *said = cenote_error_field(&x->error, 'M');
  const char *position = cenote_error_field(&x->error, 'P');
  char *message = x->problem.message;
  const size_t room = sizeof x->problem.message;
  x->problem.code = code;
  said = said != NULL ? said : x->error.message;
  if (strcmp(code, "SQL_INPUT_ERROR") == 0 && position != NULL) {
    (void)snprintf(message, room, "SQL input error: %.512s (at offset %zu)", said,
                   offset_of(sql, position));
  } else if (strcmp(code, "SQL_PARSE_ERROR") == 0) {
    (void)snprintf(message, room, "SQL parse error: %.512s", said);
  } else if (strncmp(code, "SQLITE_", 7) == 0) {
    (void)snprintf(message, room, "SQLite error: %.512s", said);
  } else {
    (void)snprintf(message, room, "%.512s", said);
  }
}

void hrana_problem(struct hrana_exchange *x, const char *sql)
{
  const cenote_error *error = &x->error;
  switch (error->status) {
  case CENOTE_LEASE_EXPIRED:
  case CENOTE_STALE:
  case CENOTE_SHUTTING_DOWN:
  case CENOTE_CLOSED:
  case CENOTE_CONNECTION_LOST:
  case CENOTE_OUTCOME_UNKNOWN:
  case CENOTE_FORKED:
    x->lost = true; /* and its transaction with it */
    hrana_problem_is(x, cen_hrana_code(error), error->message);
    return;
  case CENOTE_STATEMENT_TIMEOUT:
    /* it may have waited for nothing but another one's lock */
    hrana_problem_is(x,
                     strstr(error->message, "waiting for") != NULL ||
                             strstr(error->message, "lock") != NULL
                         ? "SQLITE_BUSY"
                         : "SQLITE_INTERRUPT",
                     error->message);
    return;
  default:
    break;
  }
  if (strcmp(error->sqlstate, "25006") == 0 && cenote_error_field(error, 'M') == NULL) {
    const bool token = x->read_only || (x->stream != NULL && x->stream->read_only);
    hrana_problem_is(x, token ? "BLOCKED" : "SQLITE_READONLY",
                     token ? "The statement writes, but the token may only read"
                           : "The statement writes, but the transaction is read-only");
  } else if (cenote_error_field(error, 'X') != NULL) {
    problem_of_sqlite(x, sql);
  } else {
    hrana_problem_is(x, cen_hrana_code(error), error->message);
  }
}

/* ------------------------------------------------------------------- arguments */

void hrana_args(struct hrana_exchange *x, const struct cen_hrana_stmt *stmt,
                const cenote_value **args, size_t *count)
{
  (void)x;
  *args = stmt->count > 0 ? stmt->args : stmt->named;
  *count = stmt->count > 0 ? stmt->count : stmt->named_count;
}

const cenote_column *hrana_columns(struct hrana_exchange *x, const cenote_result *result)
{
  const size_t count = cenote_result_columns(result);
  cenote_column *columns = cen_arena_get(&x->body.arena, (count + 1) * sizeof *columns, 16);
  for (size_t i = 0; columns != NULL && i < count; i++) {
    columns[i] = (cenote_column){.name = cenote_result_column_name(result, i),
                                 .type = cenote_result_column_type(result, i)};
  }
  return columns;
}

/* --------------------------------------------------- what a statement does to its stream */

bool hrana_autocommit(struct hrana_exchange *x)
{
  bool open = false;
  if (x->stream == NULL || x->stream->lease.generation == 0) {
    return true;
  }
  return cenote_in_transaction(x->stream->lease, &open) != CENOTE_OK || !open;
}

/* After it has run. */
static void stream_note(struct hrana_exchange *x, const char *sql, size_t size, bool fine)
{
  struct hrana_stream *stream = x->stream;
  const enum hrana_begin begin = fine ? hrana_sql_begins(sql, size) : HRANA_NO_BEGIN;
  if (begin != HRANA_NO_BEGIN) {
    stream->transaction_read_only = begin == HRANA_BEGINS_TO_READ;
  } else if (stream->transaction_read_only && hrana_autocommit(x)) {
    stream->transaction_read_only = false;
  }
  stream->dirty = stream->dirty || hrana_sql_may_dirty(sql, size);
}

static unsigned flags_of(const struct hrana_exchange *x)
{
  const bool reads = x->read_only || x->stream->read_only || x->stream->transaction_read_only;
  return CENOTE_QUERY_NATIVE | (reads ? CENOTE_QUERY_READ_ONLY : 0u);
}

/* --------------------------------------------------------------------- executing */

struct run {
  struct hrana_exchange *x;
  struct hrana_target *target;
  bool announced, no_memory;
};

static bool announce(struct run *run, const cenote_result *result)
{
  const size_t count = cenote_result_columns(result);
  const cenote_column *columns = hrana_columns(run->x, result);
  run->announced = true;
  run->no_memory = columns == NULL;
  return columns != NULL && run->target->columns(run->target->context, columns, count);
}

static bool on_columns(void *context, const cenote_result *columns)
{
  return announce(context, columns);
}

static bool on_row(void *context, const char *const *names, const cenote_value *values,
                   size_t columns)
{
  struct run *run = context;
  (void)names;
  return run->target->row(run->target->context, values, columns);
}

/* It was stopped from here. */
static void problem_of_target(struct hrana_exchange *x, const struct run *run)
{
  if (run->target->not_utf8) {
    hrana_problem_is(x, "INVALID_UTF8", "The result has text that is not UTF-8");
  } else if (run->target->full) {
    hrana_problem_is(x, "RESPONSE_TOO_LARGE", "Response is too large");
  } else {
    hrana_problem_is(x, "PROXY_ERROR", "out of memory");
  }
}

bool hrana_execute(struct hrana_exchange *x, const struct cen_hrana_stmt *stmt,
                   struct hrana_target *target, int64_t *affected, int64_t *last_rowid)
{
  const char *sql = stmt->sql.text;
  const cenote_value *args;
  size_t count;
  struct run run = {.x = x, .target = target};
  cenote_execute_options options = CENOTE_EXECUTE_OPTIONS_INIT;
  cenote_result *summary = NULL;
  if (stmt->count > 0 && stmt->named_count > 0) {
    hrana_problem_is(x, "ARGS_BOTH_POSITIONAL_AND_NAMED",
                     "Positional and named arguments cannot be mixed in one statement");
    return false;
  }
  hrana_args(x, stmt, &args, &count);
  options.flags = flags_of(x);
  options.columns = on_columns;
  options.row = on_row;
  options.context = &run;
  const cenote_status status =
      cenote_execute_with(x->stream->lease, sql, args, count, &options, &summary, &x->error);
  stream_note(x, sql, stmt->sql.size, status == CENOTE_OK);
  if (status != CENOTE_OK) {
    if (status == CENOTE_CANCELLED && (target->not_utf8 || target->full || run.no_memory)) {
      problem_of_target(x, &run);
    } else {
      hrana_problem(x, sql);
    }
    return false;
  }
  *affected = cenote_result_affected_rows(summary);
  *last_rowid = cenote_result_last_insert_id(summary);
  const bool fine = run.announced || announce(&run, summary);
  cenote_result_free(summary);
  if (!fine) {
    hrana_no_memory(x); /* or the client has gone */
  }
  return fine;
}

bool hrana_script(struct hrana_exchange *x, const struct cen_hrana_sql *sql)
{
  cenote_execute_options options = CENOTE_EXECUTE_OPTIONS_INIT;
  cenote_result *summary = NULL;
  size_t offset = 0;
  const char *part;
  size_t size;
  options.flags = flags_of(x) | CENOTE_QUERY_SCRIPT;
  const cenote_status status =
      cenote_execute_with(x->stream->lease, sql->text, NULL, 0, &options, &summary, &x->error);
  cenote_result_free(summary);
  while (hrana_sql_next(sql->text, sql->size, &offset, &part, &size)) {
    stream_note(x, part, size, !hrana_autocommit(x));
  }
  if (status != CENOTE_OK) {
    hrana_problem(x, sql->text);
  }
  return status == CENOTE_OK;
}

bool hrana_describe(struct hrana_exchange *x, const struct cen_hrana_sql *sql,
                    struct cen_hrana_description *description, cenote_result **result)
{
  if (cenote_describe(x->stream->lease, sql->text, CENOTE_QUERY_NATIVE, result, &x->error) !=
      CENOTE_OK) {
    hrana_problem(x, sql->text);
    return false;
  }
  const size_t count = cenote_result_parameters(*result);
  const char **params = cen_arena_get(&x->body.arena, (count + 1) * sizeof *params, 16);
  for (size_t i = 0; params != NULL && i < count; i++) {
    params[i] = cenote_result_parameter_name(*result, i);
  }
  *description = (struct cen_hrana_description){
      .params = params,
      .param_count = count,
      .columns = hrana_columns(x, *result),
      .column_count = cenote_result_columns(*result),
      .is_explain = cenote_result_is_explain(*result),
      .is_readonly = cenote_result_is_readonly(*result),
  };
  if (params == NULL || description->columns == NULL) {
    hrana_problem_is(x, "PROXY_ERROR", "out of memory");
    cenote_result_free(*result);
    *result = NULL;
    return false;
  }
  return true;
}
