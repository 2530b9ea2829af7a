/*
 * stop.c - when a request must stop, and where it may wait: the writer's turn inside this
 * process, the lock of another process.
 */
#include "driver/sqlite/connection.h"

#include "net/clock.h"
#include "net/park.h"

#include <time.h>

void cen_sq_request_begin(cenote_connection *connection, const cenote_request *request)
{
  struct cen_sq_stop *stop = &connection->stop;
  stop->deadline_ns = request->deadline_ns;
  stop->shielded = false;
  connection->locked_out = false;
  connection->queued = false;
  atomic_store(&stop->running, ++stop->serial);
}

void cen_sq_request_end(cenote_connection *connection)
{
  atomic_store(&connection->stop.running, 0);
}

enum cen_sq_reason cen_sq_stopped(cenote_connection *connection)
{
  struct cen_sq_stop *stop = &connection->stop;
  if (atomic_load(&stop->aborted)) {
    return CEN_SQ_ABORTED;
  }
  if (stop->shielded) {
    return CEN_SQ_GO;
  }
  if (atomic_load(&stop->cancelled) == stop->serial) {
    return CEN_SQ_CANCELLED;
  }
  if (stop->deadline_ns != CEN_NEVER && cen_now_coarse_ns() >= stop->deadline_ns) {
    return CEN_SQ_DEADLINE;
  }
  return CEN_SQ_GO;
}

static bool is_stopped(void *context)
{
  return cen_sq_stopped(context) != CEN_SQ_GO;
}

cenote_status cen_sq_enter(cenote_connection *connection, cenote_error *error)
{
  struct cen_sq_shared *shared = connection->shared;
  enum cen_sq_reason reason;
  const char *what = shared->url.memory
                         ? "waiting for another lease's transaction on the database in memory"
                         : "waiting for the turn to write";
  if (connection->holds_gate) {
    return CENOTE_OK;
  }
  if (cen_sq_gate_enter(&shared->gate, &connection->waiter, connection->stop.deadline_ns,
                        is_stopped, connection)) {
    connection->holds_gate = true;
    return CENOTE_OK;
  }
  reason = cen_sq_stopped(connection);
  if (reason == CEN_SQ_GO) {
    reason = CEN_SQ_DEADLINE; /* the coarse clock is a little behind */
  }
  connection->queued = true;
  return cen_sq_stop_error(connection, reason, what, error);
}

void cen_sq_leave(cenote_connection *connection)
{
  if (connection->holds_gate) {
    connection->holds_gate = false;
    cen_sq_gate_leave(&connection->shared->gate);
  }
}

/*
 * SQLite asks every thousand instructions or so; other than 0 interrupts the statement. It may ask
 * behind the last instruction too, when a write is committed already: a statement that has run to
 * its end must not be called interrupted.
 */
int cen_sq_on_progress(void *context)
{
  struct cen_sq_handle *handle = context;
  if (!handle->user || (handle->running && !sqlite3_stmt_busy(handle->running))) {
    return 0;
  }
  return cen_sq_stopped(handle->user) != CEN_SQ_GO;
}

/* Another process (or a handle that we lent out) holds the lock: 1 to try again, 0 to give up. */
int cen_sq_on_busy(void *context, int count)
{
  static const int64_t pauses_us[] = {200, 500, 1000, 2000, 5000, 10000, 20000, 35000, 50000};
  enum { PAUSES = sizeof(pauses_us) / sizeof(*pauses_us), PATIENCE = 100 };
  struct cen_sq_handle *handle = context;
  cenote_connection *user = handle->user;
  int64_t pause_ns = pauses_us[count < PAUSES ? count : PAUSES - 1] * 1000;
  int64_t until;
  if (!user) {
    /* the caller uses the handle directly: five seconds, as most programs have it */
    struct timespec pause = {.tv_nsec = pause_ns};
    nanosleep(&pause, NULL);
    return count < PATIENCE;
  }
  user->locked_out = true;
  atomic_store(&user->waiter.word, CEN_SQ_WAITING);
  if (cen_sq_stopped(user) != CEN_SQ_GO) {
    return 0;
  }
  until = cen_now_ns() + pause_ns;
  if (!user->stop.shielded && until > user->stop.deadline_ns) {
    until = user->stop.deadline_ns;
  }
  (void)cen_park(&user->waiter.word, CEN_SQ_WAITING, until);
  return cen_sq_stopped(user) == CEN_SQ_GO;
}
