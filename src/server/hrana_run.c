/*
 * hrana_run.c - a pipeline's requests, one behind the other, each answer into one buffer. An
 * error of SQL is its request's; those behind it run all the same.
 */
#include "server/hrana_inside.h"

#include "wire/json_put.h"

/* ------------------------------------------------------------------- the ceiling */

/* Rows stop at the limit; what has none (COMMIT, an error) always finds a little room. */
static void room_make(struct hrana_exchange *x)
{
  const size_t least = x->out.size + HRANA_SMALL;
  x->out.ceiling = least > x->limit ? least : x->limit;
  x->out.failed = x->out.failed && !x->out.full; /* no memory sticks */
  x->out.full = false;
}

/* Where a statement's columns and rows go. */
struct sink {
  struct hrana_target target;
  struct hrana_exchange *x;
  bool step, want_rows;
};

static bool has_room(struct sink *sink)
{
  const struct cen_buf *out = &sink->x->out;
  sink->target.full = out->full || (!out->failed && out->size > sink->x->limit);
  return !out->failed && !sink->target.full && !hrana_is_gone(sink->x);
}

static bool sink_columns(void *context, const cenote_column *columns, size_t count)
{
  struct sink *sink = context;
  if (sink->step) {
    cen_hrana_step_begin(&sink->x->writer);
  }
  cen_hrana_stmt_begin(&sink->x->writer, columns, count);
  return count == 0 || has_room(sink);
}

static bool sink_row(void *context, const cenote_value *values, size_t count)
{
  struct sink *sink = context;
  if (!sink->want_rows) {
    return !hrana_is_gone(sink->x);
  }
  if (!cen_hrana_stmt_row(&sink->x->writer, values, count)) {
    sink->target.not_utf8 = true;
    return false;
  }
  return has_room(sink);
}

static bool stmt_run(struct hrana_exchange *x, const struct cen_hrana_stmt *stmt, bool step)
{
  int64_t affected;
  int64_t last;
  struct sink sink = {.target = {.columns = sink_columns, .row = sink_row},
                      .x = x,
                      .step = step,
                      .want_rows = stmt->want_rows};
  sink.target.context = &sink;
  room_make(x);
  const bool fine = hrana_execute(x, stmt, &sink.target, &affected, &last);
  room_make(x);
  if (fine) {
    cen_hrana_stmt_end(&x->writer, affected, last == 0 ? NULL : &last);
  }
  return fine;
}

/* ------------------------------------------------------------------- the requests */

static void failed(struct hrana_exchange *x, size_t begin, bool comma)
{
  cen_put_undo(&x->out, begin);
  x->writer.comma = comma;
  room_make(x);
  cen_hrana_error(&x->writer, x->problem.message, x->problem.code);
}

static void run_execute(struct hrana_exchange *x, const struct cen_hrana_request *request)
{
  const size_t begin = x->out.size;
  const bool comma = x->writer.comma;
  cen_hrana_ok_begin(&x->writer, CEN_HRANA_EXECUTE);
  if (stmt_run(x, &request->as.stmt, false)) {
    cen_hrana_ok_end(&x->writer);
  } else {
    failed(x, begin, comma);
  }
}

static void run_steps(struct hrana_exchange *x, const struct cen_hrana_request *request,
                      enum cen_hrana_outcome *outcomes)
{
  struct cen_hrana_writer *w = &x->writer;
  for (size_t i = 0; i < request->as.batch.count && !x->lost && !hrana_is_gone(x); i++) {
    const struct cen_hrana_step *step = &request->as.batch.steps[i];
    outcomes[i] = CEN_HRANA_SKIPPED;
    if (step->condition != NULL &&
        !cen_hrana_condition_holds(step->condition, outcomes, hrana_autocommit(x))) {
      room_make(x);
      cen_hrana_step_skipped(w);
    } else if (stmt_run(x, &step->stmt, true)) {
      outcomes[i] = CEN_HRANA_SUCCEEDED;
    } else {
      outcomes[i] = CEN_HRANA_FAILED;
      cen_hrana_step_error(w, x->problem.message, x->problem.code);
    }
  }
}

static void run_batch(struct hrana_exchange *x, const struct cen_hrana_request *request)
{
  struct cen_hrana_writer *w = &x->writer;
  const size_t begin = x->out.size;
  const bool comma = w->comma;
  const size_t count = request->as.batch.count;
  enum cen_hrana_outcome *outcomes =
      cen_arena_get(&x->body.arena, (count + 1) * sizeof *outcomes, 16);
  if (outcomes == NULL) {
    hrana_problem_is(x, "PROXY_ERROR", "out of memory");
    failed(x, begin, comma);
    return;
  }
  cen_hrana_ok_begin(w, CEN_HRANA_BATCH);
  cen_hrana_batch_begin(w);
  run_steps(x, request, outcomes);
  if (w->errors.full) {
    hrana_problem_is(x, "RESPONSE_TOO_LARGE", "Response is too large");
  }
  if (x->lost || w->errors.full) { /* then the whole of it has failed */
    cen_hrana_writer_deinit(w);
    failed(x, begin, comma);
    return;
  }
  x->out.ceiling = x->out.size + w->errors.size + HRANA_SMALL;
  cen_hrana_batch_end(w);
  cen_hrana_ok_end(w);
}

static void run_describe(struct hrana_exchange *x, const struct cen_hrana_request *request)
{
  const size_t begin = x->out.size;
  const bool comma = x->writer.comma;
  struct cen_hrana_description description;
  cenote_result *result = NULL;
  bool fine = hrana_describe(x, &request->as.sql, &description, &result);
  if (fine) {
    cen_hrana_describe_put(&x->writer, &description);
    if (x->out.full) {
      hrana_problem_is(x, "RESPONSE_TOO_LARGE", "Response is too large");
      fine = false;
    }
  }
  cenote_result_free(result);
  if (!fine) {
    failed(x, begin, comma);
  }
}

static void run_store(struct hrana_exchange *x, const struct cen_hrana_request *request)
{
  switch ((enum hrana_stored)request->as.sql.id) {
  case HRANA_STORED:
    cen_hrana_ok(&x->writer, CEN_HRANA_STORE_SQL);
    break;
  case HRANA_TOO_MANY:
    cen_hrana_error(&x->writer, "Too many SQL texts are stored in this stream",
                    "SQL_STORE_TOO_MANY");
    break;
  default:
    cen_hrana_error(&x->writer, "The SQL text is too large to be stored", "SQL_STORE_TOO_LARGE");
    break;
  }
}

static void run_request(struct hrana_exchange *x, const struct cen_hrana_request *request)
{
  struct cen_hrana_writer *w = &x->writer;
  room_make(x);
  switch (request->kind) {
  case CEN_HRANA_EXECUTE:
    run_execute(x, request);
    break;
  case CEN_HRANA_BATCH:
    run_batch(x, request);
    break;
  case CEN_HRANA_SEQUENCE:
    if (hrana_script(x, &request->as.sql)) {
      cen_hrana_ok(w, CEN_HRANA_SEQUENCE);
    } else {
      cen_hrana_error(w, x->problem.message, x->problem.code);
    }
    break;
  case CEN_HRANA_DESCRIBE:
    run_describe(x, request);
    break;
  case CEN_HRANA_STORE_SQL:
    run_store(x, request);
    break;
  case CEN_HRANA_GET_AUTOCOMMIT:
    cen_hrana_autocommit(w, hrana_autocommit(x));
    break;
  case CEN_HRANA_CLOSE_SQL:
  case CEN_HRANA_CLOSE:
  case CEN_HRANA_KINDS:
    cen_hrana_ok(w, request->kind);
    break;
  }
}

void hrana_run_pipeline(struct hrana_exchange *x)
{
  (void)cen_buf_room(&x->out, HRANA_HEAD);
  for (size_t i = 0; i < x->body.count && !hrana_is_gone(x); i++) {
    if (x->lost && x->body.requests[i].kind != CEN_HRANA_CLOSE) {
      room_make(x);
      cen_hrana_error(&x->writer, x->problem.message, x->problem.code);
    } else {
      run_request(x, &x->body.requests[i]);
    }
  }
  room_make(x);
  cen_hrana_pipeline_end(&x->writer);
}

void hrana_run_end(struct hrana_exchange *x)
{
  struct hrana_stream *stream = x->stream;
  stream->keeps = stream->dirty || !hrana_autocommit(x);
  if (x->closes || x->lost || (x->stage != HRANA_SENDS && hrana_is_gone(x))) {
    hrana_lease_release(stream); /* here, not when the loop comes to it */
  }
}

void hrana_run_job(struct hrana_job *job)
{
  struct hrana_exchange *x = CEN_CONTAINER(job, struct hrana_exchange, job);
  hrana_run_pipeline(x);
  hrana_run_end(x);
  hrana_post(x);
}
