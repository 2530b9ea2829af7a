#include "driver/neon/neon.h"

#include "base/error.h"
#include "base/text.h"
#include "net/clock.h"
#include "net/fork.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

/* ---------------------------------------------------------------- a request leaves */

bool neon_in_transaction(const cenote_connection *c)
{
  return c->request->kind == CENOTE_REQUEST_BATCH || c->repeated ||
         (c->request->flags & CENOTE_REQUEST_REFUSE) != 0;
}

static bool refuses_writes(const cenote_connection *c)
{
  const cenote_request *request = c->request;
  return c->repeated || (request->flags & CENOTE_REQUEST_REFUSE) != 0 ||
         (request->kind == CENOTE_REQUEST_BATCH && request->mode == CENOTE_BATCH_READ);
}

static enum cen_neon_isolation isolation_of(const cenote_request *request)
{
  switch (request->isolation) {
  case CENOTE_READ_UNCOMMITTED:
    return CEN_NEON_READ_UNCOMMITTED;
  case CENOTE_READ_COMMITTED:
    return CEN_NEON_READ_COMMITTED;
  case CENOTE_REPEATABLE_READ:
    return CEN_NEON_REPEATABLE_READ;
  case CENOTE_SERIALIZABLE:
    return CEN_NEON_SERIALIZABLE;
  case CENOTE_ISOLATION_DEFAULT:
    break;
  }
  return CEN_NEON_NO_ISOLATION;
}

enum { MAX_LINES = 8 };

static size_t lines_of(const cenote_connection *c, struct cen_http_line lines[MAX_LINES])
{
  const enum cen_neon_isolation isolation = isolation_of(c->request);
  size_t count = 0;
  lines[count++] = (struct cen_http_line){"Content-Type", "application/json"};
  lines[count++] = (struct cen_http_line){"Neon-Connection-String", c->string};
  lines[count++] = (struct cen_http_line){"Neon-Raw-Text-Output", "true"};
  lines[count++] = (struct cen_http_line){"Neon-Array-Mode", "true"};
  if (c->shared->bearer != NULL) {
    lines[count++] = (struct cen_http_line){"Authorization", c->shared->bearer};
  }
  if (isolation != CEN_NEON_NO_ISOLATION) {
    lines[count++] =
        (struct cen_http_line){"Neon-Batch-Isolation-Level", cen_neon_isolation_name(isolation)};
  }
  if (refuses_writes(c)) {
    lines[count++] = (struct cen_http_line){"Neon-Batch-Read-Only", "true"};
  }
  if (c->request->deferrable) {
    lines[count++] = (struct cen_http_line){"Neon-Batch-Deferrable", "true"};
  }
  return count;
}

static cenote_status post(cenote_connection *c, cenote_error *error)
{
  struct cen_http_line lines[MAX_LINES];
  struct cen_buf body;
  cen_buf_init(&body, NEON_REQUEST_BYTES);
  cenote_status status =
      cen_neon_request_put(&body, c->queries.list, c->queries.count, neon_in_transaction(c), error);
  if (status == CENOTE_OK) {
    const size_t size = body.size;
    const struct cen_http_ask ask = {.url = c->shared->endpoint,
                                     .body = cen_buf_take(&body),
                                     .body_size = size,
                                     .lines = lines,
                                     .line_count = lines_of(c, lines),
                                     .deadline_ns = CEN_NEVER,
                                     .ceiling = c->shared->ceiling,
                                     .fresh = c->repeated,
                                     .tag = c->serial};
    status = cen_http_call_start(c->call, &ask, error);
  }
  cen_buf_deinit(&body);
  if (status == CENOTE_OK && (neon_is_cancelled(c) || atomic_load(&c->broken))) {
    cen_http_call_cancel(c->call, c->serial); /* it came before there was anything to stop */
  }
  return status;
}

static cenote_step settle(cenote_connection *c, cenote_step step)
{
  atomic_store(&c->running, 0);
  neon_queries_free(&c->queries);
  c->request = NULL;
  return step;
}

static cenote_step send(cenote_connection *c, const cenote_request *request, cenote_error *error)
{
  static const cenote_request probe = {
      .size = sizeof probe, .kind = CENOTE_REQUEST_EXECUTE, .sql = "SELECT 1"};
  const bool asks =
      request->kind == CENOTE_REQUEST_EXECUTE || request->kind == CENOTE_REQUEST_BATCH;
  c->request = request;
  c->repeated = false;
  c->serial++;
  if (neon_queries_make(&c->queries, asks ? request : &probe, error) != CENOTE_OK) {
    return settle(c, CENOTE_STEP_FAILED);
  }
  atomic_store(&c->running, c->serial);
  return post(c, error) == CENOTE_OK ? CENOTE_STEP_AGAIN : settle(c, CENOTE_STEP_FAILED);
}

/* ---------------------------------------------------------------- the kinds */

static void string_free(cenote_connection *c)
{
  if (c->string != NULL) {
    cen_wipe(c->string, strlen(c->string));
    free(c->string);
    c->string = NULL;
  }
}

/* Whoever opens wants to know that the database is there; once is enough for all of a manager's. */
static cenote_step open_start(cenote_connection *c, const cenote_request *request,
                              cenote_error *error)
{
  string_free(c);
  c->string = neon_connection_string(c->shared, c->params);
  if (c->string == NULL) {
    (void)!cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory for a connection");
    return CENOTE_STEP_FAILED;
  }
  const bool proven =
      c->params->password == NULL && cen_now_ns() < atomic_load(&c->shared->proven_ns);
  if (proven || (request->flags & CENOTE_REQUEST_LAZY) != 0) {
    return CENOTE_STEP_DONE;
  }
  return send(c, request, error);
}

static cenote_step refuse(cenote_status status, const char *message, cenote_error *error)
{
  (void)!cenote_error_set(error, status, "%s", message);
  return CENOTE_STEP_FAILED;
}

static cenote_step execute_start(cenote_connection *c, const cenote_request *request,
                                 cenote_error *error)
{
  if ((request->flags & CENOTE_REQUEST_SCRIPT) != 0) {
    return refuse(CENOTE_UNSUPPORTED, "PostgreSQL takes scripts of several statements as a batch",
                  error);
  }
  return send(c, request, error);
}

static cenote_step neon_start(cenote_connection *c, const cenote_request *request,
                              cenote_error *error)
{
  c->sent = false;
  if (c->fork_count != cen_fork_count) {
    return refuse(CENOTE_FORKED, "the connection belongs to the parent process", error);
  }
  if (request->kind == CENOTE_REQUEST_CLOSE) {
    atomic_store(&c->broken, true);
    return CENOTE_STEP_DONE;
  }
  if (atomic_load(&c->broken) || (c->string == NULL && request->kind != CENOTE_REQUEST_OPEN)) {
    return refuse(CENOTE_CONNECTION_LOST, "the connection is not open", error);
  }
  switch (request->kind) {
  case CENOTE_REQUEST_OPEN:
    return open_start(c, request, error);
  case CENOTE_REQUEST_CHECK:
  case CENOTE_REQUEST_BATCH:
    return send(c, request, error);
  case CENOTE_REQUEST_EXECUTE:
    return execute_start(c, request, error);
  case CENOTE_REQUEST_BEGIN:
  case CENOTE_REQUEST_COMMIT:
    return refuse(CENOTE_UNSUPPORTED,
                  "a transaction cannot stay open over HTTP: use cenote_batch for statements that "
                  "belong together, or a postgres:// URL, which has both",
                  error);
  case CENOTE_REQUEST_DESCRIBE:
    return refuse(CENOTE_UNSUPPORTED, "statements of PostgreSQL are not described", error);
  case CENOTE_REQUEST_RESET:
    c->tainted = false;
    return CENOTE_STEP_DONE;
  case CENOTE_REQUEST_ROLLBACK:
  case CENOTE_REQUEST_CLOSE:
    break;
  }
  return CENOTE_STEP_DONE; /* nothing is ever left open */
}

static cenote_step neon_advance(cenote_connection *c, short revents, cenote_error *error)
{
  cenote_error local;
  cenote_error *told = error;
  (void)revents;
  if (c->request == NULL) {
    return refuse(CENOTE_INTERNAL, "no request is running", error);
  }
  if (!cen_http_call_done(c->call)) {
    return CENOTE_STEP_AGAIN;
  }
  if (error == NULL || error->size < sizeof local) {
    cen_error_begin(&local); /* what failed decides, also when nobody asks for it */
    told = &local;
  }
  const enum neon_end end = neon_outcome(c, told);
  if (end == NEON_REPEAT) {
    cen_error_clear(told);
    c->repeated = true;
    if (post(c, told) == CENOTE_OK) {
      return CENOTE_STEP_AGAIN;
    }
  }
  if (end != NEON_DONE) {
    neon_hide_secrets(c->shared, c->string, told);
  }
  if (told == &local) {
    cen_error_copy(error, told);
  }
  return settle(c, end == NEON_DONE ? CENOTE_STEP_DONE : CENOTE_STEP_FAILED);
}

static void neon_wants(const cenote_connection *c, cenote_wants *wants)
{
  *wants = (cenote_wants){.fd = -1, .deadline_ns = CEN_NEVER};
  if (c->request != NULL) {
    wants->fd = cen_http_call_fd(c->call);
    wants->events = POLLIN;
  }
}

/* ---------------------------------------------------------------- any thread */

static void neon_cancel(cenote_connection *c)
{
  const uint64_t serial = atomic_load(&c->running);
  if (serial != 0) {
    atomic_store(&c->cancelled, serial);
    cen_http_call_cancel(c->call, serial);
  }
}

static void neon_abort(cenote_connection *c)
{
  atomic_store(&c->broken, true);
  neon_cancel(c);
}

/* ---------------------------------------------------------------- the rest */

static cenote_status neon_create(const cenote_driver_params *params, cenote_connection **connection,
                                 cenote_error *error)
{
  *connection = NULL;
  cen_fork_watch();
  cenote_connection *c = calloc(1, sizeof *c);
  if (c == NULL) {
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory for a connection");
  }
  c->params = params;
  c->shared = params->shared;
  c->fork_count = cen_fork_count;
  const cenote_status status = cen_http_call_new(c->shared->http, &c->call, error);
  if (status != CENOTE_OK) {
    free(c);
    return status;
  }
  *connection = c;
  return CENOTE_OK;
}

static void neon_destroy(cenote_connection *c)
{
  if (c != NULL) {
    cen_http_call_free(c->call);
    neon_queries_free(&c->queries);
    string_free(c);
    free(c);
  }
}

static unsigned neon_session(const cenote_connection *c)
{
  return (c->string == NULL || atomic_load(&c->broken) ? CENOTE_SESSION_BROKEN : 0u) |
         (c->tainted ? CENOTE_SESSION_DIRTY : 0u) | (c->sent ? CENOTE_SESSION_SENT : 0u);
}

static void neon_taint(cenote_connection *c)
{
  c->tainted = true;
}

/* The endpoint's URL, a text. */
static void *neon_resource(cenote_connection *c)
{
  return c->shared->endpoint;
}

static void neon_flush(void *context)
{
  struct neon_shared *shared = context;
  atomic_store(&shared->proven_ns, 0);
  cen_http_client_flush(shared->http);
}

const cenote_driver cen_driver_neon = {
    .size = sizeof(cenote_driver),
    .name = "neon",
    .flags = CENOTE_DRIVER_BATCHES,
    .shared_new = neon_shared_new,
    .shared_free = neon_shared_free,
    .create = neon_create,
    .destroy = neon_destroy,
    .start = neon_start,
    .wants = neon_wants,
    .advance = neon_advance,
    .cancel = neon_cancel,
    .abort = neon_abort,
    .session = neon_session,
    .taint = neon_taint,
    .resource = neon_resource,
    .flush = neon_flush,
};
