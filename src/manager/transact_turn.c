/*
 * transact_turn.c - routed transactions that nobody waits for, the housekeeper's side: performs what
 * the machine in transact_steps.c decides, and serves what was noted for it.
 */
#include "manager/transact_routed.h"

#include "base/error.h"

#include <stdlib.h>
#include <string.h>

static void perform(struct routed *routed, enum transact_step step, cenote_status status,
                    cenote_result *result, cenote_error *error);

/* ------------------------------------------------------------- the housekeeper's side */

static void give_turn(struct routed *routed)
{
  routed_lock(routed);
  routed->turn = TURN_BODY;
  routed_unlock(routed);
}

/* From here on nobody knows it. */
static void deliver(struct routed *routed)
{
  struct cenote_manager *manager = routed_manager(routed);
  struct transact *transact = &routed->transact;
  ticket_end(manager, &routed->ticket);
  routed_lock(routed);
  cen_list_remove(&routed->link);
  if (routed->posted) {
    cen_list_remove(&routed->post);
  }
  routed_unlock(routed);
  routed->done(routed->context, transact->status, &transact->error);
  free(routed->statement);
  free(routed);
}

static void serve(struct routed *routed);

/* The body's statement is over. A rollback of ours, after a cancel, was nobody's: what the body asked
 * for meanwhile is next. */
static void tell(struct routed *routed, cenote_status status, cenote_result *result,
                 const cenote_error *error)
{
  struct transact *transact = &routed->transact;
  routed_lock(routed);
  const bool asked = routed->turn == TURN_RUNS;
  routed_unlock(routed);
  if (!asked) {
    serve(routed);
    return;
  }
  ticket_end(routed_manager(routed), &routed->statement_ticket);
  const cenote_query_callback callback = routed->callback;
  if (transact->empty != NULL) {
    result = transact->empty;
    transact->empty = NULL;
  }
  if (status != CENOTE_OK) {
    cenote_result_free(result);
    result = NULL;
  }
  free(routed->statement);
  routed->statement = NULL;
  void *context = routed->callback_context;
  give_turn(routed);
  callback(context, status, result, error);
}

static void after_run(struct routed *routed, cenote_status status, cenote_result *result,
                      cenote_error *error)
{
  struct entry *entry = &routed->execution.run.entry;
  const unsigned flags = entry->manager->driver->session(entry->session->connection);
  status = lease_leave(entry, status, error);
  const enum transact_step step =
      transact_ran(&routed->transact, &status, flags, error, cen_now_ns());
  perform(routed, step, status, result, error);
}

static void executed(struct execution *execution, cenote_status status, cenote_result *result,
                     cenote_error *error)
{
  after_run(CEN_CONTAINER(execution, struct routed, execution), status, result, error);
}

static void ran(struct run *run, cenote_status status, cenote_error *error)
{
  struct execution *execution = CEN_CONTAINER(run, struct execution, run);
  after_run(CEN_CONTAINER(execution, struct routed, execution), status, NULL, error);
}

/* false: the lease is gone, and *step says what that means. */
static bool start_run(struct routed *routed, enum transact_step *step, cenote_status *status,
                      cenote_error *error)
{
  struct transact *transact = &routed->transact;
  struct execution *execution = &routed->execution;
  struct run *run = &execution->run;
  *status = lease_enter(transact->lease, &run->entry, error);
  if (*status != CENOTE_OK) {
    *step = transact_ran(transact, status, 0, error, cen_now_ns());
    return false;
  }
  run->entry.until_ns = transact->until_ns;
  atomic_store_explicit(&run->cancelled, false, memory_order_relaxed);
  if (transact->request.kind == CENOTE_REQUEST_EXECUTE) {
    const int64_t until_ns = routed->statement_until_ns;
    if (until_ns != 0 && (run->entry.until_ns == 0 || until_ns < run->entry.until_ns)) {
      run->entry.until_ns = until_ns;
    }
    execution->statement = *routed->statement;
    execution->flags = statement_flags_for(&routed->options);
    execution->row = routed->options.row;
    execution->columns = routed->options.columns;
    execution->context = routed->options.context;
    execution->done = executed;
    execution_start(execution);
  } else {
    run->request = transact->request;
    run->deadline_ns = statement_deadline(&run->entry);
    run->refused = CENOTE_OK;
    run->done = ran;
    run_start(run);
  }
  return true;
}

static void acquired(struct acquisition *acquisition, cenote_status status, cenote_lease lease,
                     cenote_error *error)
{
  struct routed *routed = CEN_CONTAINER(acquisition, struct routed, acquisition);
  perform(routed, transact_acquired(&routed->transact, status, lease, error), status, NULL, error);
}

static void start_acquire(struct routed *routed)
{
  struct transact *transact = &routed->transact;
  struct cenote_manager *manager = routed_manager(routed);
  const int64_t own = transact_lease_ms(transact, cen_now_ns());
  const int64_t most = cen_setting(&manager->settings, CEN_SET_LEASE_TIMEOUT);
  routed->acquisition = (struct acquisition){
      .manager = manager,
      .deadline_ns = transact->until_ns,
      .lease_ns = (own > 0 && own < most ? own : most) * CEN_NS_PER_MS,
      .done = acquired,
  };
  memcpy(routed->acquisition.operation, routed->operation, sizeof routed->operation);
  acquisition_start(&routed->acquisition, NULL);
}

static void on_timer(struct cen_timer *timer)
{
  struct routed *routed = CEN_CONTAINER(timer, struct routed, timer);
  cenote_error error = CENOTE_ERROR_INIT;
  perform(routed, transact_waited(&routed->transact, cen_now_ns()), CENOTE_OK, NULL, &error);
}

/* Until it has to wait. Nothing is touched after a callback: it may run the loop. */
static void perform(struct routed *routed, enum transact_step step, cenote_status status,
                    cenote_result *result, cenote_error *error)
{
  struct transact *transact = &routed->transact;
  routed->waits = true;
  for (;;) {
    switch (step) {
    case TRANSACT_ACQUIRE:
      start_acquire(routed);
      return;
    case TRANSACT_RUN:
      if (start_run(routed, &step, &status, error)) {
        return;
      }
      break;
    case TRANSACT_BODY:
      routed->waits = false;
      give_turn(routed);
      routed->begin(routed->context, &transact->handle);
      return;
    case TRANSACT_TELL:
      routed->waits = false;
      tell(routed, status, result, error);
      return;
    case TRANSACT_RELEASE:
      (void)!cenote_release(transact->lease);
      step = transact_released(transact, cen_now_ns());
      break;
    case TRANSACT_WAIT:
      if (cen_timer_set(routed_manager(routed)->loop, &routed->timer, transact->until_ns) ==
          CENOTE_OK) {
        return;
      }
      step = transact_waited(transact, cen_now_ns()); /* no memory for a pause: without one */
      break;
    case TRANSACT_DONE:
      deliver(routed);
      return;
    }
  }
}

/* ---------------------------------------------------------------------- what was posted */

static void stop_acquire(struct routed *routed)
{
  struct cenote_manager *manager = routed_manager(routed);
  struct pool_wakes wakes = {0};
  pthread_mutex_lock(&manager->async_lock);
  (void)!acquisition_cancel_locked(&routed->acquisition, &wakes);
  pthread_mutex_unlock(&manager->async_lock);
  manager_wake(manager, &wakes);
  housekeeper_kick(manager);
}

/* A step of the machine's is under way. A rollback is not stopped: it is what is wanted. */
static void stop_step(struct routed *routed)
{
  struct transact *transact = &routed->transact;
  cenote_error error = CENOTE_ERROR_INIT;
  switch (transact->phase) {
  case PHASE_ACQUIRING:
    stop_acquire(routed);
    break;
  case PHASE_PAUSING:
    cen_timer_stop(&routed->timer);
    perform(routed, transact_waited(transact, cen_now_ns()), CENOTE_OK, NULL, &error);
    break;
  default:
    if (transact->request.kind != CENOTE_REQUEST_ROLLBACK) {
      run_cancel(&routed->execution.run);
    }
  }
}

static void cancel_now(struct routed *routed, enum body_turn turn)
{
  struct transact *transact = &routed->transact;
  cenote_error error = CENOTE_ERROR_INIT;
  transact_cancel(transact);
  if (routed->waits) {
    stop_step(routed);
  } else if (turn == TURN_BODY) {
    perform(routed, transact_abandon(transact, cen_now_ns()), CENOTE_OK, NULL, &error);
  }
}

static void begin_statement(struct routed *routed, bool cancelled)
{
  struct transact *transact = &routed->transact;
  const cenote_statement *statement = routed->statement;
  cenote_status status = CENOTE_CANCELLED;
  cenote_error error = CENOTE_ERROR_INIT;
  enum transact_step step = TRANSACT_TELL;
  routed_lock(routed);
  routed->turn = TURN_RUNS;
  routed_unlock(routed);
  if (cancelled) {
    cenote_error_set(&error, CENOTE_CANCELLED, "the statement was cancelled before it was sent");
  } else {
    step = transact_send(transact, statement->sql, statement->args, statement->count, &status,
                         &error, cen_now_ns());
  }
  perform(routed, step, status, NULL, &error);
}

static void begin_all(struct routed *routed)
{
  struct transact *transact = &routed->transact;
  cenote_error error = CENOTE_ERROR_INIT;
  const int64_t now = cen_now_ns();
  routed->begun = true;
  routed->timer.fire = on_timer;
  const enum transact_step step =
      transact->cancelled ? transact_waited(transact, now) : transact_start(transact, now);
  perform(routed, step, CENOTE_OK, NULL, &error);
}

static void end_all(struct routed *routed, cenote_status answer)
{
  cenote_error error = CENOTE_ERROR_INIT;
  perform(routed, transact_finish(&routed->transact, answer, cen_now_ns()), CENOTE_OK, NULL,
          &error);
}

/* What was noted for it. Each of these may be the end of it, so there is one at a time: where there
 * is more, it is posted again. */
static void serve(struct routed *routed)
{
  routed_lock(routed);
  const enum body_turn turn = routed->turn;
  const cenote_status answer = routed->answer;
  const bool cancel = routed->cancel && !routed->transact.cancelled;
  const bool cancel_statement = routed->cancel_statement;
  routed->cancel_statement = false;
  if (cancel && routed->begun && !routed->waits && turn > TURN_BODY) {
    routed_post_locked(routed);
  }
  routed_unlock(routed);
  if (!routed->begun) {
    routed->transact.cancelled = cancel;
    begin_all(routed);
  } else if (cancel) {
    cancel_now(routed, turn);
  } else if (!routed->waits && turn == TURN_ASKED) {
    begin_statement(routed, cancel_statement);
  } else if (!routed->waits && turn == TURN_FINISHED) {
    end_all(routed, answer);
  } else if (cancel_statement && routed->waits && turn == TURN_RUNS) {
    stop_step(routed);
  }
}

/* Those that are posted now: what they cause is met in the next round of the loop. */
static bool work(struct transacts *transacts)
{
  struct cen_link now;
  bool any = false;
  cen_link_init(&now);
  pthread_mutex_lock(&transacts->lock);
  for (struct cen_link *link; (link = cen_list_pop(&transacts->posted)) != NULL;) {
    cen_list_push_back(&now, link);
  }
  for (struct cen_link *link; (link = cen_list_pop(&now)) != NULL; any = true) {
    struct routed *routed = CEN_CONTAINER(link, struct routed, post);
    routed->posted = false;
    pthread_mutex_unlock(&transacts->lock);
    serve(routed);
    pthread_mutex_lock(&transacts->lock);
  }
  pthread_mutex_unlock(&transacts->lock);
  return any;
}

static void on_posted(struct cen_task *task)
{
  (void)work(CEN_CONTAINER(task, struct transacts, task));
}

/* ------------------------------------------------------------------------- life */

cenote_status transact_new(struct cenote_manager *manager)
{
  struct transacts *transacts = calloc(1, sizeof *transacts);
  if (transacts == NULL || pthread_mutex_init(&transacts->lock, NULL) != 0) {
    free(transacts);
    return CENOTE_NO_MEMORY;
  }
  cen_link_init(&transacts->all);
  cen_link_init(&transacts->posted);
  cen_task_init(&transacts->task, on_posted);
  manager->transacts = transacts;
  return CENOTE_OK;
}

void transact_free(struct cenote_manager *manager)
{
  if (manager->transacts != NULL) {
    pthread_mutex_destroy(&manager->transacts->lock);
    free(manager->transacts);
    manager->transacts = NULL;
  }
}

/* The next one that will not be told by itself; what waits for a connection will be. */
static struct routed *left_behind(struct transacts *transacts)
{
  struct routed *found = NULL;
  pthread_mutex_lock(&transacts->lock);
  for (struct cen_link *at = transacts->all.next; at != &transacts->all && found == NULL;
       at = at->next) {
    struct routed *routed = CEN_CONTAINER(at, struct routed, link);
    found = routed->waits && routed->transact.phase == PHASE_ACQUIRING ? NULL : routed;
  }
  pthread_mutex_unlock(&transacts->lock);
  return found;
}

static void leave_behind(struct routed *routed)
{
  struct transact *transact = &routed->transact;
  cen_timer_stop(&routed->timer);
  if (!transact->kept) {
    transact->status = cenote_error_set(&transact->error, CENOTE_SHUTTING_DOWN,
                                        "the pool manager is shut down: nothing of the "
                                        "transaction remains");
  }
  deliver(routed);
}

/* As many as there are now: what their callbacks begin is met the next time. */
bool transact_settle(struct cenote_manager *manager)
{
  struct transacts *transacts = manager->transacts;
  size_t count = 0;
  if (transacts == NULL) {
    return false;
  }
  if (work(transacts)) {
    return true;
  }
  pthread_mutex_lock(&transacts->lock);
  for (struct cen_link *at = transacts->all.next; at != &transacts->all; at = at->next) {
    count++;
  }
  pthread_mutex_unlock(&transacts->lock);
  bool any = false;
  for (struct routed *routed; count > 0 && (routed = left_behind(transacts)) != NULL; count--) {
    leave_behind(routed);
    any = true;
  }
  return any;
}
