/*
 * neon_call.c - the statements of a request. One by itself goes where the manager finds best, mostly a
 * shared connection; several are a transaction on a lease.
 *
 *     QUERY ──► (ASK_TYPES) ──► answered
 *
 *     ACQUIRE ──► BEGIN ──► STATEMENT ⇄ (TX_TYPES) ──► COMMIT ──► answered
 *                              └── one fails ──► ROLLBACK ──► answered
 *
 * When the client goes, what runs is cancelled; its callback still comes, and ends the call. Texts and
 * arguments lie in the HTTP request's body: they are gone with the client.
 */
#include "server/neon_inside.h"

#include "base/error.h"
#include "base/result.h"

#include <stdlib.h>
#include <string.h>

enum { NEON_FLAGS = CENOTE_QUERY_RAW_TEXT | CENOTE_QUERY_NATIVE, FEW_COLUMNS = 16 };

static size_t most_bytes(const struct neon_call *call)
{
  return (size_t)cen_setting(&call->loop->neon->gateway->settings, CEN_SET_MAX_RESPONSE);
}

static const char *operation_of(const struct neon_call *call)
{
  const char *given = cen_http_header(call->request, "Cenote-Operation-Id");
  return given != NULL && given[0] != '\0' ? given : "neon";
}

static void too_large(const struct neon_call *call, cenote_error *error)
{
  (void)cenote_error_set(error, CENOTE_TOO_LARGE, "response is too large (max is %zu bytes)",
                         most_bytes(call));
}

/* ----------------------------------------------------------------------- results */

/* False: no memory, but what the buffer says goes first. */
static bool result_put(struct neon_call *call, const cenote_result *result)
{
  const size_t count = cenote_result_columns(result);
  struct cen_neon_column few[FEW_COLUMNS];
  struct cen_neon_column *facts = count <= FEW_COLUMNS ? few : malloc(count * sizeof *facts);
  if (facts == NULL) {
    return false;
  }
  for (size_t i = 0; i < count; i++) {
    cenote_column column;
    if (!cenote_result_column(result, i, &column)) {
      column = (cenote_column){.type_size = -1, .modifier = -1};
    }
    facts[i] = (struct cen_neon_column){.table_oid = column.table_oid,
                                        .attribute = column.attribute,
                                        .size = column.type_size,
                                        .modifier = column.modifier};
  }
  const bool fine = cen_neon_result_put(&call->writer, result, facts);
  if (facts != few) {
    free(facts);
  }
  return fine;
}

static void writer_begin(struct neon_call *call, struct cen_buf *buf)
{
  call->writer = (struct cen_neon_writer){.buf = buf,
                                          .raw_text = call->headers.raw_text,
                                          .element_of = neon_types_element,
                                          .context = &call->pool->types};
}

static void writer_mode(struct neon_call *call, const struct cen_neon_query *query)
{
  call->writer.array_mode =
      query->array_mode >= 0 ? query->array_mode == 1 : call->headers.array_mode;
}

/* The types that have to be asked for before `result` can be written. NULL: none, or no memory, and
 * then it is written without. malloc'ed. */
static char *types_wanted(const struct neon_call *call, const cenote_result *result)
{
  struct cen_buf oids;
  if (call->headers.raw_text) {
    return NULL;
  }
  cen_buf_init(&oids, 1 << 16);
  const size_t count = neon_types_missing(&call->pool->types, result, &oids);
  char *text = count > 0 ? cen_buf_take(&oids) : NULL;
  cen_buf_deinit(&oids);
  return text;
}

/* ---------------------------------------------------------------- a single statement */

static void single_answer(struct neon_call *call)
{
  struct cen_buf *out = &call->loop->out;
  if (out->capacity > NEON_OUT_KEPT) {
    cen_buf_deinit(out);
  }
  out->size = 0;
  out->failed = out->full = false;
  out->ceiling = most_bytes(call);
  writer_begin(call, out);
  writer_mode(call, &call->body.queries[0]);
  const bool fine = result_put(call, call->result);
  if (fine && !out->failed) {
    neon_answer_body(call, 200, out);
    return;
  }
  cenote_error *error = &call->loop->error;
  cenote_status status = CENOTE_TOO_LARGE;
  if (out->full) {
    too_large(call, error);
  } else {
    status = cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory for an answer");
  }
  neon_answer_error(call, status, error);
}

static void on_types(void *context, cenote_status status, cenote_result *result,
                     const cenote_error *error)
{
  struct neon_call *call = context;
  (void)error;
  if (status == CENOTE_OK) {
    neon_types_learn(&call->pool->types, call->result, result);
  }
  cenote_result_free(result); /* without it these arrays stay text */
  if (call->request == NULL) {
    neon_call_end(call);
  } else {
    single_answer(call);
  }
}

static bool types_ask(struct neon_call *call, const char *oids)
{
  cenote_query_options options = CENOTE_QUERY_OPTIONS_INIT;
  const cenote_value argument = cenote_text(oids);
  options.operation_id = "neon types";
  options.flags = NEON_FLAGS;
  call->stage = NEON_ASK_TYPES;
  return cenote_query_async(call->pool->manager, neon_types_sql, &argument, 1, &options, on_types,
                            call, &call->ticket, NULL) == CENOTE_OK;
}

/* The database has refused: answered; a login that it no longer takes is known no more. */
static bool refused(struct neon_call *call, cenote_status status, const cenote_error *error)
{
  if (status == CENOTE_AUTH) {
    const struct neon_login_key key = neon_pool_key(call->pool);
    neon_login_forget(call->loop->neon->logins, &key, call->digest);
  }
  if (status != CENOTE_OK) {
    neon_answer_error(call, status, error);
  }
  return status != CENOTE_OK;
}

static void on_query(void *context, cenote_status status, cenote_result *result,
                     const cenote_error *error)
{
  struct neon_call *call = context;
  call->result = result;
  if (call->request == NULL) {
    neon_call_end(call);
    return;
  }
  if (refused(call, status, error)) {
    return;
  }
  char *oids = types_wanted(call, result);
  if (oids == NULL || !types_ask(call, oids)) {
    single_answer(call);
  }
  free(oids);
}

static cenote_status single_run(struct neon_call *call, cenote_error *error)
{
  const struct cen_neon_query *query = &call->body.queries[0];
  cenote_query_options options = CENOTE_QUERY_OPTIONS_INIT;
  options.operation_id = operation_of(call);
  options.flags = NEON_FLAGS;
  call->stage = NEON_QUERY;
  return cenote_query_async(call->pool->manager, query->sql, query->args, query->count, &options,
                            on_query, call, &call->ticket, error);
}

/* -------------------------------------------------------------------------- batches */

static void on_step(void *context, cenote_status status, cenote_result *result,
                    const cenote_error *error);

static cenote_status step_start(struct neon_call *call, enum neon_stage stage, const char *sql,
                                const cenote_value *args, size_t count)
{
  cenote_execute_options options = CENOTE_EXECUTE_OPTIONS_INIT;
  options.flags = NEON_FLAGS;
  call->stage = stage;
  return cenote_execute_async_with(call->lease, sql, args, count, &options, on_step, call,
                                   &call->ticket, &call->loop->error);
}

static void lease_give(struct neon_call *call)
{
  (void)cenote_release(call->lease); /* stale where it was revoked or has expired */
  call->lease = (cenote_lease){0};
}

/* The answer is put down, the transaction is undone, then it is given. */
static void batch_fail(struct neon_call *call, cenote_status status, const cenote_error *error)
{
  const bool open = call->stage != NEON_BEGIN && call->stage != NEON_COMMIT &&
                    status != CENOTE_CONNECTION_LOST && status != CENOTE_OUTCOME_UNKNOWN;
  cen_buf_deinit(&call->out);
  cen_buf_init(&call->out, 1 << 20);
  call->status = neon_error_body(call, status, error, &call->out);
  if (open && step_start(call, NEON_ROLLBACK, "ROLLBACK", NULL, 0) == CENOTE_OK) {
    return;
  }
  lease_give(call);
  neon_answer_body(call, call->status != 0 ? call->status : 500, &call->out);
}

static void batch_begin(struct neon_call *call)
{
  static const char *const levels[] = {
      "", " ISOLATION LEVEL READ UNCOMMITTED", " ISOLATION LEVEL READ COMMITTED",
      " ISOLATION LEVEL REPEATABLE READ", " ISOLATION LEVEL SERIALIZABLE"};
  struct cen_buf sql;
  char memory[128];
  sql = (struct cen_buf){.data = memory, .capacity = sizeof memory, .ceiling = sizeof memory - 1};
  cen_buf_text(&sql, "START TRANSACTION");
  cen_buf_text(&sql, levels[call->headers.isolation]);
  cen_buf_text(&sql, call->headers.read_only ? " READ ONLY" : "");
  cen_buf_text(&sql, call->headers.deferrable ? " DEFERRABLE" : "");
  const cenote_status status = step_start(call, NEON_BEGIN, sql.data, NULL, 0);
  if (status != CENOTE_OK) {
    batch_fail(call, status, &call->loop->error);
  }
}

static void batch_next(struct neon_call *call)
{
  cenote_status status;
  if (call->at < call->body.count) {
    const struct cen_neon_query *query = &call->body.queries[call->at];
    status = step_start(call, NEON_STATEMENT, query->sql, query->args, query->count);
  } else {
    status = step_start(call, NEON_COMMIT, "COMMIT", NULL, 0);
  }
  if (status != CENOTE_OK) {
    batch_fail(call, status, &call->loop->error);
  }
}

/* The statement's result goes to the answer, and the next one runs. */
static void batch_put(struct neon_call *call)
{
  writer_mode(call, &call->body.queries[call->at]);
  const bool fine = result_put(call, call->result);
  cenote_result_free(call->result);
  call->result = NULL;
  cenote_error *error = &call->loop->error;
  if (call->out.full) {
    too_large(call, error);
    batch_fail(call, CENOTE_TOO_LARGE, error);
  } else if (!fine || call->out.failed) {
    batch_fail(call, cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory for an answer"),
               error);
  } else {
    call->at++;
    batch_next(call);
  }
}

static void batch_result(struct neon_call *call, cenote_result *result)
{
  call->result = result;
  char *oids = types_wanted(call, result);
  const cenote_value argument = cenote_text(oids != NULL ? oids : "");
  if (oids == NULL || step_start(call, NEON_TX_TYPES, neon_types_sql, &argument, 1) != CENOTE_OK) {
    batch_put(call);
  }
  free(oids);
}

static void batch_done(struct neon_call *call)
{
  lease_give(call);
  cen_neon_batch_end(&call->writer);
  if (call->out.full) {
    too_large(call, &call->loop->error); /* committed all the same: the last two bytes */
    neon_answer_error(call, CENOTE_TOO_LARGE, &call->loop->error);
  } else {
    neon_answer_body(call, 200, &call->out);
  }
}

static void on_step(void *context, cenote_status status, cenote_result *result,
                    const cenote_error *error)
{
  struct neon_call *call = context;
  if (call->request == NULL) {
    cenote_result_free(result);
    lease_give(call);
    neon_call_end(call);
    return;
  }
  if (call->stage == NEON_ROLLBACK) {
    cenote_result_free(result);
    lease_give(call);
    neon_answer_body(call, call->status != 0 ? call->status : 500, &call->out);
    return;
  }
  if (status != CENOTE_OK) {
    cenote_result_free(result);
    batch_fail(call, status, error);
    return;
  }
  switch (call->stage) {
  case NEON_STATEMENT:
    batch_result(call, result);
    return;
  case NEON_TX_TYPES:
    neon_types_learn(&call->pool->types, call->result, result);
    cenote_result_free(result);
    batch_put(call);
    return;
  case NEON_COMMIT:
    cenote_result_free(result);
    batch_done(call);
    return;
  default:
    cenote_result_free(result);
    batch_next(call);
    return;
  }
}

static void on_lease(void *context, cenote_status status, cenote_lease lease,
                     const cenote_error *error)
{
  struct neon_call *call = context;
  call->lease = lease;
  if (call->request == NULL) {
    lease_give(call);
    neon_call_end(call);
    return;
  }
  if (refused(call, status, error)) {
    return;
  }
  batch_begin(call);
}

static cenote_status batch_run(struct neon_call *call, cenote_error *error)
{
  call->stage = NEON_ACQUIRE;
  cen_buf_init(&call->out, most_bytes(call));
  writer_begin(call, &call->out);
  cen_neon_batch_begin(&call->writer);
  return cenote_acquire_async(call->pool->manager, operation_of(call), -1, on_lease, call,
                              &call->ticket, error);
}

/* ------------------------------------------------------------------------ the call */

void neon_call_run(struct neon_call *call)
{
  cenote_error *error = &call->loop->error;
  size_t size;
  const char *body = cen_http_body(call->request, &size);
  cenote_status status = cen_neon_request_decode(
      &call->body, (char *)(uintptr_t)body, size,
      (size_t)cen_setting(&call->loop->neon->gateway->settings, CEN_SET_MAX_BODY), error);
  call->decoded = status == CENOTE_OK;
  if (status == CENOTE_OK) {
    status = neon_pool_get(call->loop, &call->choice, call->url.user, &call->pool, error);
  }
  if (status == CENOTE_OK) {
    neon_pool_enter(call->pool, call->url.password);
    status = call->body.batch ? batch_run(call, error) : single_run(call, error);
  }
  if (status != CENOTE_OK) {
    neon_answer_error(call, status, error);
  }
}

void neon_call_gone(struct neon_call *call)
{
  const struct neon_try *left;
  switch (call->stage) {
  case NEON_LOGIN:
    left = neon_login_leave(call->loop->neon->logins, &call->waiter);
    if (left != NULL) {
      neon_prove_cancel(call->loop, left);
    }
    neon_call_end(call);
    return;
  case NEON_QUERY:
  case NEON_ASK_TYPES:
    (void)cenote_cancel_query(call->ticket);
    return;
  case NEON_ACQUIRE:
    (void)cenote_cancel_acquire(call->ticket);
    return;
  default:
    (void)cenote_revoke(call->lease);
    return;
  }
}
