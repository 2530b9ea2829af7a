#include "driver/postgres/postgres.h"

#include "base/error.h"
#include "net/clock.h"
#include "net/fork.h"

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* -------------------------------------------------------------------- talking about it */

void pg_log(const cenote_connection *c, cenote_log_level level, const char *format, ...)
{
  char line[600];
  va_list args;
  if (!c->params->log) {
    return;
  }
  va_start(args, format);
  (void)vsnprintf(line, sizeof(line), format, args);
  va_end(args);
  c->params->log(c->params->log_context, level, line);
}

cenote_error *pg_failure(cenote_connection *c, cenote_status status)
{
  if (c->failed != CENOTE_OK) {
    return NULL;
  }
  c->failed = status;
  c->failed_state[0] = '\0';
  c->failure = malloc(sizeof(*c->failure));
  if (c->failure) {
    *c->failure = (cenote_error)CENOTE_ERROR_INIT;
    (void)cenote_error_set(c->failure, status, "%s", cenote_status_text(status));
  }
  return c->failure;
}

void pg_tell_failure(const cenote_connection *c, cenote_status failed, const cenote_error *failure,
                     cenote_error *error)
{
  if (failure) {
    cen_error_copy(error, failure);
  } else {
    (void)cenote_error_set(error, failed, "%s (no memory for more)", cenote_status_text(failed));
    cen_error_sqlstate(error, c->failed_state);
  }
}

void pg_fail(cenote_connection *c, cenote_status status, const char *format, ...)
{
  char text[512];
  cenote_error *failure = pg_failure(c, status);
  va_list args;
  va_start(args, format);
  (void)vsnprintf(text, sizeof(text), format, args);
  va_end(args);
  (void)cenote_error_set(failure, status, "%s", text);
}

/* ------------------------------------------------------------------------- a request */

/* Nothing of the request is left; its outcome goes to the caller. */
static cenote_step settle(cenote_connection *c, cenote_error *error)
{
  cenote_status failed = c->failed;
  cenote_error *failure = c->failure;
  if (pg_cancel_astray(c)) {
    atomic_store(&c->broken, true);
  }
  pg_cancel_drop(c);
  pg_set_fd(c, -1);
  c->state = PG_RESTING;
  c->request = NULL;
  c->failure = NULL;
  pg_statement_done(c->statement);
  c->statement = NULL;
  if (failed == CENOTE_OK) {
    return CENOTE_STEP_DONE;
  }
  pg_tell_failure(c, failed, failure, error);
  free(failure);
  return CENOTE_STEP_FAILED;
}

cenote_step pg_finish(cenote_connection *c, cenote_error *error)
{
  pthread_mutex_lock(&c->guard);
  c->running = false;
  bool pending = pg_cancel_pending(c);
  pthread_mutex_unlock(&c->guard);
  /* A connection that goes away need not wait for its cancel. */
  if (!pending || atomic_load(&c->broken)) {
    return settle(c, error);
  }
  c->state = PG_CANCELLING;
  return CENOTE_STEP_AGAIN;
}

static void request_begin(cenote_connection *c, const cenote_request *request)
{
  c->request = request;
  c->failed = CENOTE_OK;
  c->flushing = c->more = c->sent = c->unsure = false;
  c->use_prepared = c->retry = c->retried = c->columns_told = c->in_block = false;
  c->copying_out = c->cancel_arrived = c->script_goes_on = false;
  pthread_mutex_lock(&c->guard);
  c->running = true;
  c->cancelled = false;
  c->fd = c->conn ? PQsocket(c->conn) : -1;
  pthread_mutex_unlock(&c->guard);
}

static cenote_step say_goodbye(cenote_connection *c, cenote_error *error)
{
  atomic_store(&c->broken, true);
  pg_conn_free(c); /* never waits: the socket does not block */
  return pg_finish(c, error);
}

static cenote_step pg_start(cenote_connection *c, const cenote_request *request,
                            cenote_error *error)
{
  if (c->pipe && request->kind != CENOTE_REQUEST_CLOSE) {
    (void)cenote_error_set(error, CENOTE_INVALID, "the connection pipelines");
    return CENOTE_STEP_FAILED;
  }
  request_begin(c, request);
  if (c->fork_count != cen_fork_count) {
    pg_fail(c, CENOTE_FORKED, "the connection belongs to the parent process");
    return settle(c, error);
  }
  switch (request->kind) {
  case CENOTE_REQUEST_DESCRIBE:
    pg_fail(c, CENOTE_UNSUPPORTED, "statements of PostgreSQL are not described");
    return pg_finish(c, error);
  case CENOTE_REQUEST_OPEN:
    return pg_open_start(c, error);
  case CENOTE_REQUEST_CLOSE:
    return say_goodbye(c, error);
  default:
    break;
  }
  if (!c->conn || atomic_load(&c->broken) || PQstatus(c->conn) != CONNECTION_OK) {
    return pg_lost(c, error);
  }
  if (request->kind == CENOTE_REQUEST_EXECUTE) {
    return pg_execute_start(c, error);
  }
  return pg_still_there(c) ? pg_session_start(c, error) : pg_lost(c, error);
}

static cenote_step pg_advance(cenote_connection *c, short revents, cenote_error *error)
{
  switch (c->state) {
  case PG_RESTING:
    (void)cenote_error_set(error, CENOTE_INTERNAL, "no request is running");
    return CENOTE_STEP_FAILED;
  case PG_RESOLVING:
  case PG_CONNECTING:
    return pg_open_advance(c, error);
  case PG_CANCELLING:
    if (atomic_load(&c->aborted) || !pg_cancel_pending(c)) {
      return settle(c, error);
    }
    return CENOTE_STEP_AGAIN;
  case PG_ALONE:
    return pg_alone_advance(c, revents, error);
  default:
    return pg_exchange_advance(c, revents, error);
  }
}

static void pg_wants(const cenote_connection *c, cenote_wants *wants)
{
  *wants = (cenote_wants){.fd = -1, .deadline_ns = CEN_NEVER};
  switch (c->state) {
  case PG_RESTING:
    break;
  case PG_RESOLVING:
  case PG_CONNECTING:
    pg_open_wants(c, wants);
    break;
  case PG_ALONE:
    cen_postgres_pipelining.wants(c, wants);
    break;
  case PG_CANCELLING: /* an abort cannot wake us by the descriptor */
    wants->fd = pg_cancel_fd(c);
    wants->events = POLLIN;
    wants->deadline_ns = cen_deadline_ns(cen_now_ns(), PG_TICK_MS);
    break;
  default:
    wants->fd = PQsocket(c->conn);
    wants->events = (short)(POLLIN | (c->flushing ? POLLOUT : 0));
    if (c->more) {
      wants->deadline_ns = 0;
    }
    break;
  }
}

/* -------------------------------------------------------------------------- the rest */

static cenote_status pg_create(const cenote_driver_params *params, cenote_connection **connection,
                               cenote_error *error)
{
  *connection = NULL;
  cen_fork_watch();
  cenote_connection *c = calloc(1, sizeof(*c));
  if (!c || pthread_mutex_init(&c->guard, NULL) != 0) {
    free(c);
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory for a connection");
  }
  c->params = params;
  c->shared = params->shared;
  c->fd = -1;
  c->fork_count = cen_fork_count;
  atomic_init(&c->aborted, false);
  atomic_init(&c->broken, false);
  *connection = c;
  return CENOTE_OK;
}

static void pg_shrink(cenote_connection *c)
{
  pg_statements_shrink(c->statements);
  pg_alone_free(c);
  free(c->scratch);
  free(c->cells);
  c->scratch = NULL;
  c->cells = NULL;
  c->scratch_size = c->cell_count = 0;
}

static void pg_destroy(cenote_connection *c)
{
  if (!c) {
    return;
  }
  pg_opening_free(c->opening);
  pg_conn_free(c);
  pg_cancel_free(c);
  pg_alone_free(c);
  pg_pipe_free(c);
  pg_statement_done(c->statement);
  pg_shrink(c);
  pg_statements_free(c->statements);
  free(c->failure);
  if (c->fork_count == cen_fork_count) {
    pthread_mutex_destroy(&c->guard);
  }
  free(c);
}

static unsigned pg_session(const cenote_connection *c)
{
  return pg_session_flags(c);
}

static void pg_taint(cenote_connection *c)
{
  c->tainted = true;
}

static void *pg_resource(cenote_connection *c)
{
  return c->conn;
}

const cenote_driver cen_driver_postgres = {
    .size = sizeof(cenote_driver),
    .name = "postgres",
    .flags = CENOTE_DRIVER_STEADY,
    .shared_new = pg_shared_new,
    .shared_free = pg_shared_free,
    .create = pg_create,
    .destroy = pg_destroy,
    .start = pg_start,
    .wants = pg_wants,
    .advance = pg_advance,
    .cancel = pg_cancel,
    .abort = pg_abort,
    .session = pg_session,
    .taint = pg_taint,
    .resource = pg_resource,
    .shrink = pg_shrink,
    .pipelining = &cen_postgres_pipelining,
};
