/*
 * errand.c - what the housekeeper does on a connection that nobody holds: open, check, clean,
 * close. Each is a request driven by the loop; its end is reported to the pool.
 */
#include "manager/manager.h"

#include "manager/run.h"
#include "net/workers.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CLOSE_PATIENCE_MS = 500 };

static void errand_done(struct session *session, cenote_step step, cenote_error *error);

/* ------------------------------------------------------------------ the machine */

static void stop_watching(struct session *session)
{
  cen_watch_stop(&session->watch);
  cen_timer_stop(&session->timer);
}

/* Waits for what the driver wants, or ends the errand when that cannot be arranged. */
static void arrange(struct session *session, cenote_step step, cenote_error *error)
{
  struct cenote_manager *manager = session->manager;
  if (step == CENOTE_STEP_AGAIN) {
    cenote_wants wants = {.fd = -1, .deadline_ns = CEN_NEVER};
    manager->driver->wants(session->connection, &wants);
    const int64_t until =
        wants.deadline_ns < session->deadline_ns ? wants.deadline_ns : session->deadline_ns;
    cenote_status status = cen_watch_set(manager->loop, &session->watch, wants.fd, wants.events);
    if (status == CENOTE_OK) {
      status = cen_timer_set(manager->loop, &session->timer, until);
    }
    if (status == CENOTE_OK) {
      return;
    }
    cenote_error_set(error, status, "cannot watch the connection");
    step = CENOTE_STEP_FAILED;
  }
  stop_watching(session);
  errand_done(session, step, error);
}

/* ------------------------------------------------- a driver whose steps block */

/* It runs on a worker thread, so that the janitor goes on working meanwhile: it may be an expiry of
 * his that lets the request come through. The driver minds the deadline itself. */
struct errand_job {
  struct cen_job job;
  struct session *session; /* outlives the job: freed only when that has ended */
  cenote_step step;
  cenote_error error;
};

static void job_work(struct cen_job *job)
{
  struct errand_job *errand = CEN_CONTAINER(job, struct errand_job, job);
  struct session *session = errand->session;
  errand->step =
      session->manager->driver->start(session->connection, &session->request, &errand->error);
}

static void job_dispose(struct cen_job *job)
{
  free(CEN_CONTAINER(job, struct errand_job, job));
}

static void job_ended(struct session *session)
{
  struct errand_job *errand = session->job;
  cenote_error error = errand->error;
  const cenote_step step = errand->step;
  stop_watching(session);
  session->job = NULL;
  cen_job_drop(&errand->job);
  arrange(session, step, &error);
}

/* false: it must be run here, whatever that takes. */
static bool start_job(struct session *session)
{
  struct cenote_manager *manager = session->manager;
  const int64_t grace = cen_setting(&manager->settings, CEN_SET_CANCEL_TIMEOUT) * CEN_NS_PER_MS;
  struct errand_job *errand = calloc(1, sizeof *errand);
  if (errand == NULL) {
    return false;
  }
  errand->session = session;
  errand->error = (cenote_error)CENOTE_ERROR_INIT;
  errand->job = (struct cen_job){
      .set = CEN_WORKERS_SESSION, .work = job_work, .dispose = job_dispose, .done_fd = -1};
  if (cen_job_start(&errand->job, NULL) != CENOTE_OK) {
    free(errand);
    return false;
  }
  session->job = errand;
  (void)cen_timer_set(manager->loop, &session->timer, session->deadline_ns + grace);
  if (cen_watch_set(manager->loop, &session->watch, errand->job.done_fd, POLLIN) != CENOTE_OK) {
    struct pollfd done = {.fd = errand->job.done_fd, .events = POLLIN};
    while (!cen_job_done(&errand->job)) {
      (void)poll(&done, 1, 100); /* no memory to be told: wait for it */
    }
    job_ended(session);
  }
  return true;
}

/* ------------------------------------------------------------------- the machine's events */

static void advance(struct session *session, short revents)
{
  cenote_error error = CENOTE_ERROR_INIT;
  /* The driver may close the descriptor, or hand it to a worker who does: the number is then free
   * for anybody. */
  cen_watch_stop(&session->watch);
  const cenote_step step = session->manager->driver->advance(session->connection, revents, &error);
  arrange(session, step, &error);
}

static void on_ready(struct cen_watch *watch, short revents)
{
  struct session *session = CEN_CONTAINER(watch, struct session, watch);
  if (session->job != NULL) {
    if (cen_job_done(&session->job->job)) {
      job_ended(session);
    }
    return;
  }
  advance(session, revents);
}

static void on_timer(struct cen_timer *timer)
{
  struct session *session = CEN_CONTAINER(timer, struct session, timer);
  if (session->job != NULL) {
    session->manager->driver->abort(session->connection); /* it did not mind its deadline */
    return;
  }
  if (cen_now_ns() < session->deadline_ns) {
    advance(session, 0);
    return;
  }
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_error_set(&error, CENOTE_CONNECT, "no answer in time");
  session->stuck = true;
  stop_watching(session);
  errand_done(session, CENOTE_STEP_FAILED, &error);
}

static void run_until(struct session *session, cenote_request_kind kind, int64_t deadline_ns)
{
  const cenote_driver *driver = session->manager->driver;
  session->deadline_ns = deadline_ns;
  session->request = (cenote_request){
      .size = sizeof session->request, .kind = kind, .deadline_ns = session->deadline_ns};
  if ((driver->flags & CENOTE_DRIVER_BLOCKING) != 0 && start_job(session)) {
    return;
  }
  cenote_error error = CENOTE_ERROR_INIT;
  const cenote_step step = driver->start(session->connection, &session->request, &error);
  arrange(session, step, &error);
}

static void run(struct session *session, cenote_request_kind kind, int64_t patience_ms)
{
  run_until(session, kind, cen_deadline_ns(cen_now_ns(), patience_ms));
}

static int64_t connect_ms(const struct cenote_manager *manager)
{
  return cen_setting(&manager->settings, CEN_SET_CONNECT_TIMEOUT);
}

/* ------------------------------------------------------------------------- opening */

static void free_session(struct session *session)
{
  stop_watching(session);
  if (session->connection != NULL) {
    session->manager->driver->destroy(session->connection);
  }
  cen_list_remove(&session->link);
  free(session);
}

static bool is_permanent(const cenote_error *error)
{
  return error->status == CENOTE_AUTH || error->status == CENOTE_CONFIG ||
         error->status == CENOTE_INVALID || error->status == CENOTE_UNSUPPORTED ||
         (error->status == CENOTE_CONNECT && !error->retryable) ||
         strcmp(error->sqlstate, "3D000") == 0 || strncmp(error->sqlstate, "28", 2) == 0;
}

static void report_open_failed(struct cenote_manager *manager, uint32_t slot,
                               const cenote_error *error)
{
  struct pool_wakes wakes = {0};
  /* The first of a row of the same failures is news. */
  const bool ending = atomic_load_explicit(&manager->pool.phase, memory_order_relaxed) != POOL_OPEN;
  const bool again = ending || error->status == CENOTE_SHUTTING_DOWN || /* given up by us */
                     strcmp(manager->connect_error, error->message) == 0;
  if (!again) {
    snprintf(manager->connect_error, sizeof manager->connect_error, "%s", error->message);
  }
  cen_log_write(&manager->log, again ? CENOTE_LOG_DEBUG : CENOTE_LOG_WARNING,
                "connect to %s failed: %s", manager->url, error->message);
  if (error->status == CENOTE_AUTH) {
    observer_audit(manager, CENOTE_AUDIT_LOGIN_FAILED, 0, "auth", "");
  }
  pool_open_failed(&manager->pool, slot, error, is_permanent(error), cen_now_ns(), &wakes);
  manager_wake(manager, &wakes);
}

/* It was open for as long as the hook looked at it. */
static bool hook_accepts(struct session *session)
{
  const struct cenote_manager *manager = session->manager;
  const cenote_options *options = &manager->options;
  if (options->hook == NULL) {
    return true;
  }
  void *resource = manager->driver->resource(session->connection);
  if (options->hook(options->hook_context, CENOTE_HOOK_CONNECTED, resource, "")) {
    return true;
  }
  const char *reason = pool_reason_text(POOL_REASON_HOOK);
  (void)options->hook(options->hook_context, CENOTE_HOOK_CLOSED, resource, reason);
  return false;
}

static void open_ended(struct session *session, cenote_step step, cenote_error *error)
{
  struct cenote_manager *manager = session->manager;
  const uint32_t slot = session->slot;
  const bool opened = step == CENOTE_STEP_DONE;
  if (opened) {
    manager_note_connect(manager, CENOTE_OK, NULL);
    observer_audit(manager, CENOTE_AUDIT_CONNECTION_OPENED, session->number, "", "");
  }
  if (opened && !hook_accepts(session)) {
    observer_audit(manager, CENOTE_AUDIT_CONNECTION_CLOSED, session->number,
                   pool_reason_text(POOL_REASON_HOOK), "");
    cenote_error_set(error, CENOTE_CONNECT, "the hook for new connections rejected it");
    step = CENOTE_STEP_FAILED;
  }
  if (step != CENOTE_STEP_DONE) {
    if (!opened && cen_now_ns() >= session->deadline_ns) {
      cenote_error_set(error, CENOTE_CONNECT,
                       "connect timeout: %s did not answer within %" PRId64 " ms", manager->url,
                       connect_ms(manager));
    }
    if (!opened) {
      manager_note_connect(manager, error->status, error);
    }
    free_session(session);
    report_open_failed(manager, slot, error);
    return;
  }
  if (manager->connect_error[0] != '\0') {
    manager->connect_error[0] = '\0';
    cen_log_write(&manager->log, CENOTE_LOG_INFO, "connected to %s again", manager->url);
  }
  cen_log_write(&manager->log, CENOTE_LOG_DEBUG, "connection %" PRIu64 " open", session->number);
  struct pool_wakes wakes = {0};
  pool_opened(&manager->pool, slot, cen_now_ns(), &wakes);
  manager_wake(manager, &wakes);
}

static void open_connection(struct cenote_manager *manager, const struct pool_action *action)
{
  cenote_error error = CENOTE_ERROR_INIT;
  struct session *session = calloc(1, sizeof *session);
  if (session == NULL) {
    cenote_error_set(&error, CENOTE_NO_MEMORY, "out of memory: session");
    report_open_failed(manager, action->slot, &error);
    return;
  }
  session->manager = manager;
  session->slot = action->slot;
  session->number = action->number;
  session->tx_deadline_ns = CEN_NEVER;
  session->watch.ready = on_ready;
  session->watch.fd = -1;
  session->timer.fire = on_timer;
  session->errand = ERRAND_OPEN;
  cen_list_push_back(&manager->sessions, &session->link);
  const cenote_status status =
      manager->driver->create(&manager->params, &session->connection, &error);
  const bool wanted = pool_set_resource(&manager->pool, action->slot, session);
  if (status != CENOTE_OK || !wanted) {
    if (status == CENOTE_OK) {
      cenote_error_set(&error, CENOTE_SHUTTING_DOWN, "the pool manager is shutting down");
    }
    free_session(session);
    report_open_failed(manager, action->slot, &error);
    return;
  }
  run(session, CENOTE_REQUEST_OPEN, connect_ms(manager));
}

/* -------------------------------------------------- checking, cleaning, closing */

static void close_ended(struct session *session)
{
  struct cenote_manager *manager = session->manager;
  const uint32_t slot = session->slot;
  const uint64_t number = session->number;
  const char *reason = pool_reason_text(session->reason);
  free_session(session);
  cen_log_write(&manager->log, CENOTE_LOG_DEBUG, "connection %" PRIu64 " closed: %s", number,
                reason);
  observer_audit(manager, CENOTE_AUDIT_CONNECTION_CLOSED, number, reason, "");
  struct pool_wakes wakes = {0};
  pool_closed(&manager->pool, slot, cen_now_ns(), &wakes);
  manager_wake(manager, &wakes);
}

static void check_ended(struct session *session, bool good)
{
  struct cenote_manager *manager = session->manager;
  struct pool_wakes wakes = {0};
  if (good && manager->driver->shrink != NULL &&
      atomic_exchange_explicit(&session->shrink, false, memory_order_relaxed)) {
    manager->driver->shrink(session->connection);
  }
  manager_note_check(manager, good);
  pool_checked(&manager->pool, session->slot, good, cen_now_ns(), &wakes);
  manager_wake(manager, &wakes);
}

static void clean_ended(struct session *session, bool good)
{
  struct cenote_manager *manager = session->manager;
  if (good && session->verify) {
    session->verify = false;
    session->errand = ERRAND_CLEAN;
    run(session, CENOTE_REQUEST_CHECK, connect_ms(manager));
    return;
  }
  const unsigned flags =
      session->stuck ? CENOTE_SESSION_BROKEN : manager->driver->session(session->connection);
  const bool clean = good && (flags & (CENOTE_SESSION_BROKEN | CENOTE_SESSION_IN_TRANSACTION |
                                       CENOTE_SESSION_FAILED)) == 0;
  session->depth = 0;
  session->innermost = NULL; /* the last holder's; may be freed by now */
  session->tx_deadline_ns = CEN_NEVER;
  struct pool_wakes wakes = {0};
  pool_cleaned(&manager->pool, session->slot, clean, cen_now_ns(), &wakes);
  manager_wake(manager, &wakes);
}

static void errand_done(struct session *session, cenote_step step, cenote_error *error)
{
  const bool good = step == CENOTE_STEP_DONE;
  const int errand = (int)session->errand;
  session->errand = ERRAND_NONE;
  switch (errand) {
  case ERRAND_OPEN:
    open_ended(session, step, error);
    break;
  case ERRAND_CHECK:
    check_ended(session, good);
    break;
  case ERRAND_CLEAN:
    clean_ended(session, good);
    break;
  case ERRAND_CLOSE:
    close_ended(session);
    break;
  case ERRAND_LEASE:
    async_checked(session->asks, session, good);
    break;
  case ERRAND_NONE:
    break;
  }
}

static void close_connection(struct session *session, enum pool_reason reason)
{
  struct cenote_manager *manager = session->manager;
  session->errand = ERRAND_CLOSE;
  session->reason = reason;
  if (manager->options.hook != NULL) {
    (void)manager->options.hook(manager->options.hook_context, CENOTE_HOOK_CLOSED,
                                manager->driver->resource(session->connection),
                                pool_reason_text(reason));
  }
  if (session->stuck ||
      (manager->driver->session(session->connection) & CENOTE_SESSION_BROKEN) != 0 ||
      reason == POOL_REASON_CHECK_FAILED || reason == POOL_REASON_RESET_FAILED) {
    close_ended(session); /* nobody is there to say goodbye to */
    return;
  }
  run(session, CENOTE_REQUEST_CLOSE, CLOSE_PATIENCE_MS);
}

/* Once a lease: told by the first of cancel, clean and close that meets it. */
static void tell_taken(struct cenote_manager *manager, const struct pool_action *action)
{
  struct session *session = action->resource;
  struct slot_obituary obituary;
  if (session->told == action->generation ||
      !pool_was_taken(&manager->pool, action->slot, action->generation, &obituary) ||
      obituary.reason == POOL_REASON_SHUTDOWN) {
    return;
  }
  char shown[CEN_MAX_OPERATION_ID * 4 + 1];
  session->told = action->generation;
  manager_show_operation(manager, obituary.operation, shown, sizeof shown);
  if (obituary.reason == POOL_REASON_REVOKED) { /* somebody wanted that */
    cen_log_write(&manager->log, CENOTE_LOG_DEBUG,
                  "lease '%.160s' on connection %" PRIu64 " was revoked after %" PRId64 " ms",
                  shown, session->number, obituary.age_ns / CEN_NS_PER_MS);
    return;
  }
  cen_log_write(&manager->log, CENOTE_LOG_WARNING,
                "lease '%.160s' on connection %" PRIu64 " expired after %" PRId64 " ms: taken back",
                shown, session->number, obituary.age_ns / CEN_NS_PER_MS);
  observer_audit(manager, CENOTE_AUDIT_LEASE_EXPIRED, session->number, "expired",
                 obituary.operation);
}

static void clean_connection(struct cenote_manager *manager, struct session *session,
                             const struct pool_action *action)
{
  session->errand = ERRAND_CLEAN;
  session->verify = action->reason == POOL_REASON_EXPIRED ||
                    action->reason == POOL_REASON_REVOKED || action->reason == POOL_REASON_SHUTDOWN;
  run(session, CENOTE_REQUEST_RESET, connect_ms(manager));
}

void errand_check_lease(struct session *session, struct acquisition *acquisition,
                        int64_t deadline_ns)
{
  session->errand = ERRAND_LEASE;
  session->asks = acquisition;
  atomic_fetch_add_explicit(&session->manager->checks, 1, memory_order_relaxed);
  run_until(session, CENOTE_REQUEST_CHECK, deadline_ns);
}

static void cancel(struct cenote_manager *manager, struct session *session, bool hard)
{
  if (session == NULL || run_revoke(session, hard)) {
    return;
  }
  if (session->errand == ERRAND_OPEN && session->job == NULL) {
    cenote_error error = CENOTE_ERROR_INIT;
    const uint32_t slot = session->slot;
    cenote_error_set(&error, CENOTE_SHUTTING_DOWN, "the pool manager is shutting down");
    free_session(session);
    report_open_failed(manager, slot, &error);
  } else if (hard || session->errand == ERRAND_OPEN) {
    manager->driver->abort(session->connection);
  } else {
    manager->driver->cancel(session->connection);
  }
}

void errand_perform(struct cenote_manager *manager, const struct pool_action *action)
{
  struct session *session = action->resource;
  if (session != NULL) {
    tell_taken(manager, action);
  }
  switch (action->kind) {
  case POOL_ACT_OPEN:
    open_connection(manager, action);
    break;
  case POOL_ACT_CHECK:
    session->errand = ERRAND_CHECK;
    run(session, CENOTE_REQUEST_CHECK, connect_ms(manager));
    break;
  case POOL_ACT_CLEAN:
    clean_connection(manager, session, action);
    break;
  case POOL_ACT_CLOSE:
    close_connection(session, action->reason);
    break;
  case POOL_ACT_CANCEL:
    cancel(manager, session, false);
    break;
  case POOL_ACT_ABORT:
    cancel(manager, session, true);
    break;
  case POOL_ACT_NONE:
    break;
  }
}
