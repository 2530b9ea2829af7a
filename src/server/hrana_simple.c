/*
 * hrana_simple.c - what most requests are: one statement and `close`. It needs no stream, so it
 * goes by cenote_query_async, and nothing is held for it but its statement.
 */
#include "server/hrana_inside.h"

#include "server/hrana_sql.h"
#include "wire/json_put.h"

/* The one statement of a pipeline of the right kind. */
static const struct cen_hrana_stmt *only_statement(const struct hrana_exchange *x)
{
  const struct cen_hrana_body *body = &x->body;
  if (x->cursor || !x->closes || body->count < 2) {
    return NULL;
  }
  for (size_t i = 1; i + 1 < body->count; i++) {
    if (body->requests[i].kind != CEN_HRANA_GET_AUTOCOMMIT) {
      return NULL;
    }
  }
  const struct cen_hrana_request *first = &body->requests[0];
  if (first->kind == CEN_HRANA_EXECUTE) {
    return &first->as.stmt;
  }
  const bool single = first->kind == CEN_HRANA_BATCH && first->as.batch.count == 1 &&
                      first->as.batch.steps[0].condition == NULL;
  return single ? &first->as.batch.steps[0].stmt : NULL;
}

bool hrana_is_simple(const struct hrana_exchange *x)
{
  const struct cen_hrana_stmt *stmt = only_statement(x);
  if (stmt == NULL || stmt->sql.text == NULL || (stmt->count > 0 && stmt->named_count > 0)) {
    return false;
  }
  /* what opens a transaction, or sets something, is for a session */
  return hrana_sql_is_plain(stmt->sql.text, stmt->sql.size);
}

/* ------------------------------------------------------------------- its answer */

/* The statement's result, or x->problem. */
static bool result_put(struct hrana_exchange *x, const struct cen_hrana_stmt *stmt)
{
  const size_t begin = x->out.size;
  if (x->result == NULL) {
    hrana_problem(x, stmt->sql.text);
    return false;
  }
  const bool fine = cen_hrana_stmt_put(&x->writer, x->result, stmt->want_rows);
  if (fine && !x->out.failed) {
    return true;
  }
  const bool full = x->out.full;
  if (x->out.failed && !full) {
    hrana_no_memory(x);
    return false;
  }
  x->out.failed = x->out.full = false;
  cen_put_undo(&x->out, begin);
  x->out.ceiling = x->limit + HRANA_SMALL;
  if (full) {
    hrana_problem_is(x, "RESPONSE_TOO_LARGE", "Response is too large");
  } else {
    hrana_problem_is(x, "INVALID_UTF8", "The result has text that is not UTF-8");
  }
  return false;
}

static void results_put(struct hrana_exchange *x)
{
  struct cen_hrana_writer *w = &x->writer;
  const struct cen_hrana_request *first = &x->body.requests[0];
  const size_t begin = x->out.size;
  const bool batch = first->kind == CEN_HRANA_BATCH;
  cen_hrana_ok_begin(w, first->kind);
  if (batch) {
    cen_hrana_batch_begin(w);
    cen_hrana_step_begin(w);
  }
  const bool fine = result_put(x, only_statement(x));
  if (batch) {
    if (!fine) {
      cen_hrana_step_error(w, x->problem.message, x->problem.code);
    }
    cen_hrana_batch_end(w);
    cen_hrana_ok_end(w);
  } else if (fine) {
    cen_hrana_ok_end(w);
  } else {
    cen_put_undo(&x->out, begin);
    w->comma = false;
    cen_hrana_error(w, x->problem.message, x->problem.code);
  }
  x->out.ceiling = x->out.size + x->body.count * HRANA_SMALL;
  for (size_t i = 1; i + 1 < x->body.count; i++) {
    cen_hrana_autocommit(w, true);
  }
  cen_hrana_ok(w, CEN_HRANA_CLOSE);
  cen_hrana_pipeline_end(w);
}

void hrana_simple_results(struct hrana_exchange *x)
{
  if (cen_buf_room(&x->out, HRANA_HEAD) != NULL) {
    results_put(x);
  }
}

/* --------------------------------------------------------------------- asking */

/* It never came to the statement. */
static bool is_refusal(cenote_status status)
{
  return status == CENOTE_TIMEOUT || status == CENOTE_QUEUE_FULL ||
         status == CENOTE_SHUTTING_DOWN || status == CENOTE_CLOSED ||
         status == CENOTE_BREAKER_OPEN || status == CENOTE_CONNECT || status == CENOTE_AUTH;
}

/* The manager's thread: no more than noting it down. */
static void on_result(void *context, cenote_status status, cenote_result *result,
                      const cenote_error *error)
{
  struct hrana_exchange *x = context;
  x->result = result;
  if (status != CENOTE_OK) {
    cen_error_copy(&x->error, error);
    x->refused = is_refusal(status) ? status : CENOTE_OK;
  }
  hrana_post(x);
}

void hrana_simple_start(struct hrana_exchange *x)
{
  const struct cen_hrana_stmt *stmt = only_statement(x);
  const cenote_value *args;
  size_t count;
  cenote_query_options options = CENOTE_QUERY_OPTIONS_INIT;
  options.operation_id = x->operation;
  options.flags = CENOTE_QUERY_NATIVE | (x->read_only ? CENOTE_QUERY_READ_ONLY : 0u);
  x->simple = true;
  x->stage = HRANA_QUERIES;
  hrana_args(x, stmt, &args, &count);
  const cenote_status status = cenote_query_async(x->database->manager, stmt->sql.text, args, count,
                                                  &options, on_result, x, &x->ticket, &x->error);
  if (status != CENOTE_OK) {
    x->refused = is_refusal(status) ? status : CENOTE_OK;
    hrana_post(x);
  }
}

void hrana_simple_cancel(struct hrana_exchange *x)
{
  const cenote_status cancelled = cenote_cancel_query(x->ticket);
  (void)cancelled; /* stale: its result is on its way */
}
