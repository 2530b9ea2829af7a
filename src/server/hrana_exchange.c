/*
 * hrana_exchange.c - one request of a client, from its body to its answer.
 *
 *   body ──► decoded ──► stream taken or opened ──► stored SQL resolved ──► lease ──► worker ──► answer
 *                └─ one statement, no stream ──► cenote_query_async ───────────────────────────────┘
 */
#include "server/hrana_inside.h"

#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------- answers */

void hrana_respond_error(struct cen_http_request *request, int status, const char *message)
{
  struct cen_http_answer answer = {.status = status, .type = "text/plain", .no_store = true};
  struct cen_buf body;
  if (status == 400) {
    cen_http_respond(request, &answer, message, strlen(message));
    return;
  }
  answer.type = "application/json";
  cen_buf_init(&body, 4096);
  cen_hrana_refused_put(&body, message);
  cen_http_respond(request, &answer, body.failed ? "{}" : body.data, body.failed ? 2 : body.size);
  cen_buf_deinit(&body);
}

static void respond_expired(struct cen_http_request *request)
{
  struct cen_http_answer answer = {.status = 400, .type = "application/json", .no_store = true};
  struct cen_buf body;
  cen_buf_init(&body, 4096);
  cen_hrana_expired_put(&body);
  cen_http_respond(request, &answer, body.failed ? "{}" : body.data, body.failed ? 2 : body.size);
  cen_buf_deinit(&body);
}

/* Of what is no statement's fault. */
static int http_status(cenote_status status)
{
  switch (status) {
  case CENOTE_INVALID:
    return 400;
  case CENOTE_TOO_LARGE:
    return 413;
  case CENOTE_QUEUE_FULL:
    return 429;
  case CENOTE_TIMEOUT:
  case CENOTE_SHUTTING_DOWN:
  case CENOTE_CLOSED:
  case CENOTE_BREAKER_OPEN:
  case CENOTE_NO_MEMORY:
  case CENOTE_BUSY:
    return 503;
  default:
    return 500;
  }
}

/* Answered first, freed then: the client may go away in between, and on_gone wants the exchange. */
void hrana_refuse(struct hrana_exchange *x, cenote_status status, const char *message)
{
  if (x->request != NULL && status == CENOTE_LEASE_EXPIRED) {
    respond_expired(x->request);
  } else if (x->request != NULL) {
    hrana_respond_error(x->request, http_status(status), message);
  }
  hrana_exchange_free(x);
}

/* ---------------------------------------------------------------- its memory */

static struct hrana_exchange *exchange_new(struct cen_http_request *request,
                                           const struct hrana_route *route)
{
  size_t size;
  struct hrana *hrana = route->hrana;
  const char *body = cen_http_body(request, &size);
  struct hrana_exchange *x = malloc(sizeof *x + size + 1);
  if (x == NULL) {
    return NULL;
  }
  memset(x, 0, offsetof(struct hrana_exchange, body));
  x->error = (cenote_error)CENOTE_ERROR_INIT;
  x->hrana = hrana;
  x->loop = gateway_loop_of(request);
  x->request = request;
  x->cursor = route->cursor;
  x->text_size = size;
  if (size > 0) {
    memcpy(x->text, body, size);
  }
  x->text[size] = '\0';
  x->limit = (size_t)cen_setting(&hrana->gateway->settings, CEN_SET_MAX_RESPONSE) + HRANA_HEAD;
  cen_buf_init(&x->out, x->limit);
  x->writer.buf = &x->out;
  cen_buf_init(&x->pipe.lines, HRANA_PIPE + x->limit);
  pthread_mutex_init(&x->lock, NULL);
  pthread_condattr_t attributes;
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_cond_init(&x->pipe.taken, &attributes);
  pthread_condattr_destroy(&attributes);
  pthread_mutex_lock(&hrana->lock);
  hrana->exchanges++;
  pthread_mutex_unlock(&hrana->lock);
  return x;
}

void hrana_exchange_free(struct hrana_exchange *x)
{
  struct hrana *hrana = x->hrana;
  cen_hrana_body_deinit(&x->body);
  cenote_result_free(x->result);
  cen_buf_deinit(&x->out);
  cen_buf_deinit(&x->pipe.lines);
  pthread_cond_destroy(&x->pipe.taken);
  pthread_mutex_destroy(&x->lock);
  free(x);
  pthread_mutex_lock(&hrana->lock);
  if (--hrana->exchanges == 0) {
    pthread_cond_broadcast(&hrana->none);
  }
  pthread_mutex_unlock(&hrana->lock);
}

bool hrana_is_gone(const struct hrana_exchange *x)
{
  return atomic_load_explicit(&x->gone, memory_order_relaxed);
}

/* ------------------------------------------------------------------- its end */

static void stream_end(struct hrana_exchange *x)
{
  if (x->stream != NULL) {
    hrana_lease_release(x->stream);
    hrana_streams_end(x->hrana->streams, x->stream);
    x->stream = NULL;
  }
}

bool hrana_settle(struct hrana_exchange *x, char baton[CEN_BATON_TEXT + 1])
{
  struct hrana *hrana = x->hrana;
  struct hrana_stream *stream = x->stream;
  if (stream == NULL) {
    return false;
  }
  hrana_texts_settle(&stream->texts);
  const int64_t ms = cen_setting(&hrana->gateway->settings, CEN_SET_STREAM_TIMEOUT);
  const int64_t until = cen_deadline_ns(cen_now_ns(), ms);
  const bool wanted = x->stage == HRANA_SENDS || !hrana_is_gone(x);
  if (wanted && !x->lost && !x->closes && hrana_lease_rest(x) &&
      hrana_streams_baton(hrana->streams, stream, baton) &&
      hrana_streams_rest(hrana->streams, stream, until)) {
    x->stream = NULL; /* another thread may have it already */
    return true;
  }
  stream_end(x);
  return false;
}

/* The pipeline's results are there; the baton comes in front of them. */
static void pipeline_answer(struct hrana_exchange *x)
{
  char baton[CEN_BATON_TEXT + 1];
  struct cen_buf head;
  const struct cen_http_answer answer = {.status = 200, .type = "application/json"};
  struct cen_hrana_writer writer = {.buf = &head};
  struct cen_http_request *request = x->request;
  x->lost = x->lost || x->out.failed || x->out.size < HRANA_HEAD; /* no memory for the answer */
  const bool open = hrana_settle(x, baton);
  cen_buf_init(&head, HRANA_HEAD);
  cen_hrana_pipeline_begin(&writer, open ? baton : NULL, NULL);
  if (request != NULL && !head.failed && !x->out.failed && x->out.size >= HRANA_HEAD) {
    char *begin = x->out.data + HRANA_HEAD - head.size;
    memcpy(begin, head.data, head.size);
    cen_http_respond(request, &answer, begin, x->out.size - (HRANA_HEAD - head.size));
  } else if (request != NULL) {
    hrana_respond_error(request, 500, "out of memory"); /* not 503: it has run */
  }
  cen_buf_deinit(&head);
  hrana_exchange_free(x);
}

/* The loop's turn, or the last one's when the loop has ended (then the client has gone). */
static void finish(struct hrana_exchange *x)
{
  if (x->refused != CENOTE_OK) {
    stream_end(x);
    hrana_refuse(x, x->refused, x->error.message);
  } else if (x->cursor) {
    hrana_cursor_pump(x);
  } else {
    if (x->simple && x->request != NULL) {
      hrana_simple_results(x);
    }
    pipeline_answer(x);
  }
}

static void on_task(struct cen_task *task)
{
  finish(CEN_CONTAINER(task, struct hrana_exchange, task));
}

void hrana_post(struct hrana_exchange *x)
{
  if (!cen_http_loop_post(x->loop->http, &x->task)) {
    finish(x);
  }
}

static void on_gone(struct cen_http_request *request, enum cen_http_gone why, void *context)
{
  struct hrana_exchange *x = context;
  (void)request;
  (void)why;
  x->request = NULL;
  pthread_mutex_lock(&x->lock);
  atomic_store_explicit(&x->gone, true, memory_order_relaxed);
  const enum hrana_stage stage = x->stage;
  const cenote_lease lease = x->lease;
  pthread_cond_broadcast(&x->pipe.taken);
  pthread_mutex_unlock(&x->lock);
  x->pipe.paused = false; /* nobody has to read any more */
  if (stage == HRANA_ASKS) {
    hrana_lease_cancel(x);
  } else if (stage == HRANA_QUERIES) {
    hrana_simple_cancel(x);
  } else if (stage == HRANA_WORKS) {
    cenote_status revoked = cenote_revoke(lease);
    (void)revoked; /* stale: it has just ended */
  }
  if (x->cursor && (stage == HRANA_WORKS || stage == HRANA_SENDS)) {
    hrana_cursor_pump(x); /* it may have been over, but for what the client had to read */
  }
}

/* ------------------------------------------------------------- stored SQL */

/* Before anything runs, all at once: a stored text may be closed further on in the same pipeline.
 * false: against the protocol. */
static bool sql_resolve(const struct hrana_stream *stream, struct cen_hrana_sql *sql)
{
  if (sql->text == NULL) {
    const struct hrana_text *text = hrana_texts_find(&stream->texts, sql->id);
    if (text == NULL) {
      return false;
    }
    sql->text = text->text;
    sql->size = text->size;
  }
  return true;
}

static const char *const UNKNOWN_ID = "The sql_id is not known to this stream";

/* NULL, or what is against the protocol. What could not be stored is marked: its id is gone. */
static const char *request_resolve(struct hrana_stream *stream, struct cen_hrana_request *request)
{
  bool known = true;
  switch (request->kind) {
  case CEN_HRANA_EXECUTE:
    known = sql_resolve(stream, &request->as.stmt.sql);
    break;
  case CEN_HRANA_BATCH:
    for (size_t i = 0; known && i < request->as.batch.count; i++) {
      known = sql_resolve(stream, &request->as.batch.steps[i].stmt.sql);
    }
    break;
  case CEN_HRANA_SEQUENCE:
  case CEN_HRANA_DESCRIBE:
    known = sql_resolve(stream, &request->as.sql);
    break;
  case CEN_HRANA_STORE_SQL: {
    struct cen_hrana_sql *sql = &request->as.sql;
    const enum hrana_stored stored =
        hrana_texts_store(&stream->texts, sql->id, sql->text, sql->size);
    if (stored == HRANA_ID_IN_USE) {
      return "The sql_id is in use in this stream";
    }
    sql->id = (int32_t)stored;
    break;
  }
  case CEN_HRANA_CLOSE_SQL:
    hrana_texts_close(&stream->texts, request->as.sql.id);
    break;
  case CEN_HRANA_GET_AUTOCOMMIT:
  case CEN_HRANA_CLOSE:
  case CEN_HRANA_KINDS:
    break;
  }
  return known ? NULL : UNKNOWN_ID;
}

static const char *resolve(struct hrana_exchange *x)
{
  const char *violation = NULL;
  for (size_t i = 0; violation == NULL && i < x->body.count; i++) {
    violation = request_resolve(x->stream, &x->body.requests[i]);
  }
  return violation;
}

/* ------------------------------------------------------------- its beginning */

/* The stream that was meant, where the request itself is wrong: it is over. */
static void named_stream_end(struct hrana_exchange *x)
{
  if (x->body.baton != NULL &&
      hrana_streams_take(x->hrana->streams, x->body.baton, x->body.baton_size, cen_now_ns(),
                         &x->stream) == HRANA_TAKEN) {
    stream_end(x);
  }
}

static bool decode(struct hrana_exchange *x, unsigned version)
{
  const size_t most = x->text_size + 1; /* the server has bounded it */
  const cenote_status status =
      x->cursor
          ? cen_hrana_cursor_decode(&x->body, x->text, x->text_size, most, &x->error)
          : cen_hrana_pipeline_decode(&x->body, version, x->text, x->text_size, most, &x->error);
  if (status == CENOTE_OK) {
    x->closes = x->body.count > 0 && x->body.requests[x->body.count - 1].kind == CEN_HRANA_CLOSE;
    return true;
  }
  named_stream_end(x);
  hrana_refuse(x, status, x->error.message);
  return false;
}

static bool stream_take(struct hrana_exchange *x)
{
  static const char *const said[] = {
      [HRANA_FOREIGN] = "Received an invalid baton",
      [HRANA_USED] = "Received a baton that was used already",
      [HRANA_BUSY] = "The stream is busy with another request",
  };
  const enum hrana_taking taking = hrana_streams_take(x->hrana->streams, x->body.baton,
                                                      x->body.baton_size, cen_now_ns(), &x->stream);
  if (taking == HRANA_TAKEN) {
    x->database = x->stream->database;
    return true;
  }
  if (taking == HRANA_GONE) {
    hrana_refuse(x, CENOTE_LEASE_EXPIRED, "");
  } else {
    hrana_refuse(x, CENOTE_INVALID, said[taking]);
  }
  return false;
}

static bool stream_open(struct hrana_exchange *x)
{
  bool full;
  x->stream = hrana_streams_open(x->hrana->streams, &full);
  if (x->stream != NULL) {
    x->stream->database = x->database;
    x->stream->read_only = x->read_only;
    return true;
  }
  hrana_refuse(x, full ? CENOTE_QUEUE_FULL : CENOTE_NO_MEMORY,
               full ? "too many streams are open" : "out of memory");
  return false;
}

/* Does it ask the database anything? */
static bool needs_lease(const struct hrana_exchange *x)
{
  for (size_t i = 0; i < x->body.count; i++) {
    const struct cen_hrana_request *request = &x->body.requests[i];
    if (request->kind <= CEN_HRANA_DESCRIBE &&
        (request->kind != CEN_HRANA_BATCH || request->as.batch.count > 0)) {
      return true;
    }
  }
  return x->cursor;
}

static void name(struct hrana_exchange *x)
{
  const char *given = cen_http_header(x->request, "Cenote-Operation-Id");
  if (given == NULL || given[0] == '\0') {
    given = x->cursor ? "hrana cursor" : "hrana stream";
    if (x->body.baton == NULL && x->closes) {
      given = "hrana";
    }
  }
  memcpy(x->operation, given, strnlen(given, CEN_MAX_OPERATION_ID));
}

static void begin(struct hrana_exchange *x)
{
  if (x->body.baton == NULL && hrana_is_simple(x)) {
    cen_http_hold(x->request, on_gone, x);
    hrana_simple_start(x);
    return;
  }
  if (x->body.baton != NULL ? !stream_take(x) : !stream_open(x)) {
    return;
  }
  const char *violation = resolve(x);
  if (violation != NULL) {
    stream_end(x);
    hrana_refuse(x, CENOTE_INVALID, violation);
    return;
  }
  if (needs_lease(x)) {
    cen_http_hold(x->request, on_gone, x);
    x->job.run = x->cursor ? hrana_cursor_job : hrana_run_job;
    hrana_lease_start(x);
  } else {
    hrana_run_pipeline(x);
    pipeline_answer(x);
  }
}

void hrana_on_post(struct cen_http_request *request, void *context)
{
  const struct hrana_route *route = context;
  const char *problem = NULL;
  const struct gateway_database *database =
      hrana_database(route->hrana, cen_http_header(request, "X-Namespace"),
                     cen_http_header(request, "Host"), &problem);
  if (database == NULL) {
    hrana_respond_error(request, 404, problem);
    return;
  }
  struct hrana_exchange *x = exchange_new(request, route);
  if (x == NULL) {
    hrana_respond_error(request, 503, "out of memory");
    return;
  }
  x->database = database;
  x->read_only = cen_http_read_only(request);
  cen_task_init(&x->task, on_task);
  if (decode(x, route->version)) {
    name(x);
    begin(x);
  }
}
