/*
 * driver.c - the table: each request's way through the other files. All steps block, so start()
 * answers DONE or FAILED and never AGAIN (CENOTE_DRIVER_BLOCKING).
 */
#include "driver/sqlite/connection.h"

#include "base/text.h"
#include "net/clock.h"
#include "net/fork.h"

#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

static bool is_on(const cenote_driver_params *params, const char *setting)
{
  const char *text = params->setting ? params->setting(params->settings, setting) : NULL;
  bool on = false;
  return text && cen_text_to_bool(text, &on) && on;
}

static cenote_status shared_new(const cenote_driver_params *params, void **out, cenote_error *error)
{
  struct cen_sq_shared *shared = calloc(1, sizeof(*shared));
  char folder[PATH_MAX];
  cenote_status status;
  *out = NULL;
  if (!shared) {
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory");
  }
  status = cen_sq_url_parse(params->url ? params->url : "", &shared->url, error);
  if (status == CENOTE_OK && getcwd(folder, sizeof(folder))) {
    status = cen_sq_url_anchor(&shared->url, folder, error);
  }
  if (status) {
    cen_sq_url_deinit(&shared->url);
    free(shared);
    return status;
  }
  shared->confined = is_on(params, "sqlite_confined");
  cen_fork_watch();
  cen_sq_gate_init(&shared->gate);
  *out = shared;
  return CENOTE_OK;
}

static void shared_free(void *context)
{
  struct cen_sq_shared *shared = context;
  if (!shared) {
    return;
  }
  cen_sq_handle_free(atomic_load(&shared->memory));
  cen_sq_gate_deinit(&shared->gate);
  cen_sq_url_deinit(&shared->url);
  free(shared);
}

static cenote_status create(const cenote_driver_params *params, cenote_connection **out,
                            cenote_error *error)
{
  cenote_connection *connection = calloc(1, sizeof(*connection));
  *out = connection;
  if (!connection) {
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory for a connection");
  }
  connection->params = params;
  connection->shared = params->shared;
  connection->snapshot = CEN_SQ_NO_SNAPSHOT;
  cen_link_init(&connection->waiter.link);
  return CENOTE_OK;
}

static void destroy(cenote_connection *connection)
{
  if (connection) {
    cen_sq_close(connection);
    free(connection->values);
    free(connection);
  }
}

static cenote_status execute_text(cenote_connection *connection, const char *sql,
                                  cenote_error *error)
{
  const cenote_request request = {.size = sizeof(request), .sql = sql};
  return cen_sq_execute(connection, &request, error);
}

static cenote_status begin(cenote_connection *connection, cenote_batch_mode mode,
                           cenote_error *error)
{
  cenote_status status =
      execute_text(connection, mode == CENOTE_BATCH_WRITE ? "BEGIN IMMEDIATE" : "BEGIN", error);
  if (status == CENOTE_OK && mode == CENOTE_BATCH_READ) {
    int code = cen_sq_own(connection, "PRAGMA query_only=1");
    connection->query_only = true;
    if (code != SQLITE_OK) {
      status = cen_sq_error(connection, code, NULL, error);
    }
  }
  return status;
}

/* Also where there is no transaction, or SQLite rolled it back already. */
static cenote_status rollback(cenote_connection *connection, cenote_error *error)
{
  cenote_status status = CENOTE_OK;
  connection->failed = false;
  if (cen_sq_in_transaction(connection)) {
    connection->stop.shielded = true;
    status = execute_text(connection, "ROLLBACK", error);
    connection->stop.shielded = false;
    connection->failed = false;
    connection->broken = connection->broken || status != CENOTE_OK;
  }
  return status;
}

static cenote_status reset(cenote_connection *connection, cenote_error *error)
{
  cenote_status status = rollback(connection, error);
  if (status == CENOTE_OK && connection->dirty) {
    status = cen_sq_renew(connection, error);
    connection->dirty = status != CENOTE_OK;
  }
  if (status == CENOTE_OK && !connection->shared->url.memory) {
    sqlite3_set_last_insert_rowid(connection->handle->db, 0);
  }
  return status;
}

static cenote_status run_request(cenote_connection *connection, const cenote_request *request,
                                 cenote_error *error)
{
  switch (request->kind) {
  case CENOTE_REQUEST_OPEN:
    return cen_sq_open(connection, error);
  case CENOTE_REQUEST_CHECK:
    return cen_sq_check(connection, error);
  case CENOTE_REQUEST_EXECUTE:
    return cen_sq_execute(connection, request, error);
  case CENOTE_REQUEST_BEGIN:
    return begin(connection, request->mode, error);
  case CENOTE_REQUEST_COMMIT:
    return execute_text(connection, "COMMIT", error);
  case CENOTE_REQUEST_ROLLBACK:
    return rollback(connection, error);
  case CENOTE_REQUEST_RESET:
    return reset(connection, error);
  case CENOTE_REQUEST_CLOSE:
    cen_sq_close(connection);
    return CENOTE_OK;
  case CENOTE_REQUEST_DESCRIBE:
    return cen_sq_describe(connection, request, error);
  case CENOTE_REQUEST_BATCH: /* the manager sends its parts */
    break;
  }
  return cenote_error_set(error, CENOTE_UNSUPPORTED, "unknown kind of request");
}

static cenote_status refuse_request(const cenote_connection *connection,
                                    const cenote_request *request, cenote_error *error)
{
  if (request->kind == CENOTE_REQUEST_CLOSE) {
    return CENOTE_OK;
  }
  if (request->kind == CENOTE_REQUEST_OPEN) {
    return connection->handle ? cenote_error_set(error, CENOTE_INVALID, "already open") : CENOTE_OK;
  }
  if (connection->broken || atomic_load(&connection->stop.aborted)) {
    return cenote_error_set(error, CENOTE_CONNECTION_LOST, "the connection is broken");
  }
  if (!connection->handle) {
    return cenote_error_set(error, CENOTE_INVALID, "the connection is not open");
  }
  if (connection->handle->fork_count != cen_fork_count) {
    return cenote_error_set(error, CENOTE_FORKED, "the connection belongs to the parent process");
  }
  return CENOTE_OK;
}

static cenote_step start(cenote_connection *connection, const cenote_request *request,
                         cenote_error *error)
{
  cenote_status status = refuse_request(connection, request, error);
  if (status == CENOTE_OK) {
    cen_sq_request_begin(connection, request);
    status = run_request(connection, request, error);
    cen_sq_request_end(connection);
  }
  return status == CENOTE_OK ? CENOTE_STEP_DONE : CENOTE_STEP_FAILED;
}

static void wants(const cenote_connection *connection, cenote_wants *out)
{
  (void)connection;
  *out = (cenote_wants){.fd = -1, .deadline_ns = CEN_NEVER};
}

static cenote_step advance(cenote_connection *connection, short revents, cenote_error *error)
{
  (void)connection;
  (void)revents;
  cenote_error_set(error, CENOTE_INTERNAL, "no request is unfinished");
  return CENOTE_STEP_FAILED;
}

static void cancel(cenote_connection *connection)
{
  struct cen_sq_stop *stop = &connection->stop;
  uint64_t serial = atomic_load(&stop->running);
  uint64_t before = atomic_load(&stop->cancelled);
  if (serial == 0) {
    return;
  }
  /* only upwards, or a slow canceller would undo the cancel of a later request */
  while (before < serial && !atomic_compare_exchange_weak(&stop->cancelled, &before, serial)) {
  }
  cen_sq_waiter_nudge(&connection->waiter);
}

static void abort_connection(cenote_connection *connection)
{
  atomic_store(&connection->stop.aborted, true);
  cen_sq_waiter_nudge(&connection->waiter);
}

static unsigned session(const cenote_connection *connection)
{
  unsigned flags = 0;
  if (connection->failed) {
    flags |= CENOTE_SESSION_IN_TRANSACTION | CENOTE_SESSION_FAILED;
  } else if (cen_sq_in_transaction(connection)) {
    flags |= CENOTE_SESSION_IN_TRANSACTION;
  }
  if (connection->dirty) {
    flags |= CENOTE_SESSION_DIRTY;
  }
  if (connection->holds_gate) {
    flags |= CENOTE_SESSION_WRITING;
  }
  if (!connection->handle || connection->broken || atomic_load(&connection->stop.aborted)) {
    flags |= CENOTE_SESSION_BROKEN;
  }
  return flags;
}

static void taint(cenote_connection *connection)
{
  connection->dirty = true;
}

static void *resource(cenote_connection *connection)
{
  return connection->handle ? connection->handle->db : NULL;
}

static void shrink(cenote_connection *connection)
{
  bool memory = connection->shared->url.memory;
  if (!connection->handle || connection->handle->fork_count != cen_fork_count) {
    return;
  }
  if (memory && !connection->holds_gate && !cen_sq_gate_try(&connection->shared->gate)) {
    return; /* somebody is inside: another time */
  }
  cen_sq_cache_clear(&connection->handle->cache);
  sqlite3_db_release_memory(connection->handle->db);
  if (memory && !connection->holds_gate) {
    cen_sq_gate_leave(&connection->shared->gate);
  }
}

extern const cenote_driver cen_driver_sqlite;
const cenote_driver cen_driver_sqlite = {
    .size = sizeof(cenote_driver),
    .name = "sqlite",
    .flags = CENOTE_DRIVER_BLOCKING,
    .shared_new = shared_new,
    .shared_free = shared_free,
    .create = create,
    .destroy = destroy,
    .start = start,
    .wants = wants,
    .advance = advance,
    .cancel = cancel,
    .abort = abort_connection,
    .session = session,
    .taint = taint,
    .resource = resource,
    .shrink = shrink,
};
