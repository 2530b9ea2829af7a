/*
 * hrana_cursor.c - a batch whose rows are sent while they come. The worker writes lines into a
 * buffer and hands it over; the loop sends. When the client does not read, the loop stops taking,
 * the buffer fills, and the worker waits: so a cursor costs bounded memory, however large its
 * result. It waits up to write_timeout_ms; then the stream is over.
 */
#include "server/hrana_inside.h"

static void on_end(struct cen_task *task);

/* --------------------------------------------------------------- the worker's side */

/* Locked. Until the loop has taken some, the client is gone, or its time is over. */
static bool pipe_wait(struct hrana_exchange *x)
{
  const int64_t ms = cen_setting(&x->hrana->gateway->settings, CEN_SET_WRITE_TIMEOUT);
  const int64_t until = cen_deadline_ns(cen_now_ns(), ms);
  const struct timespec when = {.tv_sec = (time_t)(until / 1000000000),
                                .tv_nsec = (long)(until % 1000000000)};
  int waited = 0;
  while (x->pipe.lines.size >= HRANA_PIPE && !hrana_is_gone(x) && waited == 0) {
    waited = pthread_cond_timedwait(&x->pipe.taken, &x->lock, &when);
  }
  return x->pipe.lines.size < HRANA_PIPE && !hrana_is_gone(x);
}

/* false: nobody reads, or no memory. */
static bool pipe_put(struct hrana_exchange *x)
{
  if (x->pipe.failed) {
    return false;
  }
  pthread_mutex_lock(&x->lock);
  const bool fine = pipe_wait(x);
  if (fine) {
    cen_buf_add(&x->pipe.lines, x->out.data, x->out.size);
  }
  const bool kept = fine && !x->pipe.lines.failed;
  pthread_mutex_unlock(&x->lock);
  x->out.size = 0;
  x->pipe.sent_ns = cen_now_coarse_ns();
  x->pipe.failed = !kept || !cen_http_loop_post(x->loop->http, &x->task);
  x->lost = x->lost || x->pipe.failed;
  return !x->pipe.failed;
}

static bool pipe_flush(struct hrana_exchange *x)
{
  return x->out.size == 0 || pipe_put(x);
}

/* A line is written: is it time to send? */
static bool pipe_line(struct hrana_exchange *x)
{
  if (x->out.failed) {
    return false;
  }
  const bool due = x->out.size >= HRANA_CHUNK ||
                   cen_now_coarse_ns() - x->pipe.sent_ns >= HRANA_CHUNK_MS * CEN_NS_PER_MS;
  return !due || pipe_put(x);
}

struct step {
  struct hrana_target target;
  struct hrana_exchange *x;
  size_t index;
  bool want_rows, begun;
};

static bool step_columns(void *context, const cenote_column *columns, size_t count)
{
  struct step *step = context;
  struct hrana_exchange *x = step->x;
  step->begun = true;
  cen_hrana_cursor_step_begin(&x->out, step->index, columns, count);
  return pipe_line(x);
}

static bool step_row(void *context, const cenote_value *values, size_t count)
{
  struct step *step = context;
  struct hrana_exchange *x = step->x;
  if (!step->want_rows) {
    return !hrana_is_gone(x);
  }
  const size_t begin = x->out.size;
  const bool valid = cen_hrana_cursor_row(&x->out, values, count);
  if (valid && !x->out.failed) {
    return pipe_line(x);
  }
  /* this row is not sent, and the statement fails */
  step->target.not_utf8 = !valid;
  step->target.full = x->out.full;
  if (x->out.full) {
    x->out.failed = x->out.full = false;
  }
  if (x->out.data != NULL) {
    x->out.size = begin;
  }
  return false;
}

static bool step_run(struct hrana_exchange *x, const struct cen_hrana_step *what, size_t index)
{
  int64_t affected;
  int64_t last;
  struct step step = {.target = {.columns = step_columns, .row = step_row},
                      .x = x,
                      .index = index,
                      .want_rows = what->stmt.want_rows};
  step.target.context = &step;
  const bool fine = hrana_execute(x, &what->stmt, &step.target, &affected, &last);
  if (fine) {
    cen_hrana_cursor_step_end(&x->out, affected, last == 0 ? NULL : &last);
  } else if (!x->lost) {
    cen_hrana_cursor_step_error(&x->out, index, x->problem.message, x->problem.code);
  } else {
    cen_hrana_cursor_error(&x->out, x->problem.message, x->problem.code);
  }
  return fine;
}

static bool steps_run(struct hrana_exchange *x)
{
  const struct cen_hrana_request *request = &x->body.requests[0];
  const size_t count = request->as.batch.count;
  enum cen_hrana_outcome *outcomes =
      cen_arena_get(&x->body.arena, (count + 1) * sizeof *outcomes, 16);
  for (size_t i = 0; outcomes != NULL && i < count && !x->lost && !hrana_is_gone(x); i++) {
    const struct cen_hrana_step *step = &request->as.batch.steps[i];
    outcomes[i] = CEN_HRANA_SKIPPED;
    if (cen_hrana_condition_holds(step->condition, outcomes,
                                  step->condition == NULL || hrana_autocommit(x))) {
      outcomes[i] = step_run(x, step, i) ? CEN_HRANA_SUCCEEDED : CEN_HRANA_FAILED;
    }
    if (i + 1 < count && !pipe_line(x)) { /* what ends the last one goes when the stream rests */
      return false;
    }
  }
  return outcomes != NULL;
}

/* The stream is not kept for a client that is slow to read, or has read what it wanted and hung up:
 * it rests from here on, and its next request may come. */
static void work_ends(struct hrana_exchange *x)
{
  char baton[CEN_BATON_TEXT + 1]; /* it was the first line */
  pthread_mutex_lock(&x->lock);
  if (!x->lost && !hrana_is_gone(x)) {
    x->stage = HRANA_SENDS;
  }
  pthread_mutex_unlock(&x->lock);
  hrana_run_end(x);
  const bool open = hrana_settle(x, baton);
  (void)open;
}

void hrana_cursor_job(struct hrana_job *job)
{
  struct hrana_exchange *x = CEN_CONTAINER(job, struct hrana_exchange, job);
  char baton[CEN_BATON_TEXT + 1];
  bool fine = hrana_streams_baton(x->hrana->streams, x->stream, baton);
  if (fine) {
    cen_hrana_cursor_baton(&x->out, baton, NULL);
    fine = !x->out.failed && pipe_flush(x) && steps_run(x);
  }
  x->lost = x->lost || !fine || x->out.failed;
  work_ends(x); /* first: who reads that the last step has ended may ask again at once */
  fine = !x->out.failed && pipe_flush(x) && fine;
  x->pipe.broken = !fine;
  cen_task_init(&x->pipe.end, on_end);
  if (!cen_http_loop_post(x->loop->http, &x->pipe.end)) {
    on_end(&x->pipe.end); /* the loop has ended, so the client has gone */
  }
}

/* ----------------------------------------------------------------- the loop's side */

static void on_ready(struct cen_http_request *request, void *context)
{
  struct hrana_exchange *x = context;
  (void)request;
  x->pipe.paused = false;
  hrana_cursor_pump(x);
}

static void cursor_end(struct hrana_exchange *x)
{
  struct cen_http_request *request = x->request;
  x->pipe.pumping = true; /* should the client go away in here */
  if (request != NULL && x->pipe.broken) {
    cen_http_abort(request);
  } else if (request != NULL) {
    cen_http_finish(request);
  }
  hrana_exchange_free(x);
}

/* To the client, which may go away inside cen_http_write: then on_gone was called, and the worker
 * is told. */
static void send(struct hrana_exchange *x, const struct cen_buf *lines)
{
  const struct cen_http_answer answer = {.status = 200, .type = "text/plain"};
  if (!x->pipe.begun && x->request != NULL) {
    x->pipe.begun = true;
    cen_http_begin(x->request, &answer);
  }
  struct cen_http_request *request = x->request;
  const bool more = request == NULL || cen_http_write(request, lines->data, lines->size);
  if (!more && !hrana_is_gone(x)) {
    x->pipe.paused = true;
    cen_http_on_ready(request, on_ready);
  }
}

/* false: there is nothing. */
static bool send_some(struct hrana_exchange *x)
{
  struct cen_buf fresh;
  cen_buf_init(&fresh, x->pipe.lines.ceiling);
  pthread_mutex_lock(&x->lock);
  struct cen_buf lines = x->pipe.lines;
  x->pipe.lines = fresh;
  pthread_cond_broadcast(&x->pipe.taken);
  pthread_mutex_unlock(&x->lock);
  const bool some = lines.size > 0;
  if (some) {
    send(x, &lines);
  }
  cen_buf_deinit(&lines);
  return some;
}

void hrana_cursor_pump(struct hrana_exchange *x)
{
  if (x->pipe.pumping) {
    return; /* inside cen_http_write: the turn that is at it goes on */
  }
  x->pipe.pumping = true;
  while (!x->pipe.paused && send_some(x)) {
  }
  x->pipe.pumping = false;
  if (x->pipe.over && (!x->pipe.paused || x->pipe.broken)) {
    cursor_end(x);
  }
}

static void on_end(struct cen_task *task)
{
  struct hrana_exchange *x =
      CEN_CONTAINER(CEN_CONTAINER(task, struct hrana_pipe, end), struct hrana_exchange, pipe);
  x->pipe.over = true;
  hrana_cursor_pump(x);
}
