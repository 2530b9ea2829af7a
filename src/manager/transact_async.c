/*
 * transact_async.c - routed transactions that nobody waits for: the housekeeper performs what the
 * machine in transact_steps.c decides. The calls of the body, from any thread, only leave a note and
 * post; so does a cancel.
 */
#include "manager/transact.h"

#include "base/error.h"
#include "manager/async.h"
#include "manager/run.h"

#include <stdlib.h>
#include <string.h>

enum body_turn { TURN_NOT_YET, TURN_BODY, TURN_ASKED, TURN_RUNS, TURN_FINISHED };

struct routed {
  struct transact transact;
  char operation[CEN_MAX_OPERATION_ID + 1];
  cenote_transact_begin begin;
  cenote_transact_done done;
  void *context;
  struct ticket ticket;
  struct ticket statement_ticket;
  struct cen_link link; /* in transacts->all; this and what follows: guarded by its lock */
  struct cen_link post;
  bool posted;
  bool cancel, cancel_statement; /* asked for */
  enum body_turn turn;
  cenote_statement *statement; /* ASKED, RUNS */
  cenote_query_callback callback;
  void *callback_context;
  cenote_status answer; /* FINISHED */
  /* the housekeeper's */
  bool begun, waits; /* `waits`: a step of the machine is under way */
  struct cen_timer timer;
  struct acquisition acquisition;
  struct execution execution; /* its run serves all requests */
};

static void perform(struct routed *routed, enum transact_step step, cenote_status status,
                    cenote_result *result, cenote_error *error);

static struct cenote_manager *manager_of(const struct routed *routed)
{
  return routed->transact.manager;
}

/* ----------------------------------------------------------------- any thread */

static void lock(struct routed *routed)
{
  pthread_mutex_lock(&manager_of(routed)->transacts->lock);
}

static void unlock(struct routed *routed)
{
  pthread_mutex_unlock(&manager_of(routed)->transacts->lock);
}

static void post_locked(struct routed *routed)
{
  struct transacts *transacts = manager_of(routed)->transacts;
  if (!routed->posted) {
    routed->posted = true;
    cen_list_push_back(&transacts->posted, &routed->post);
  }
  cen_loop_post(manager_of(routed)->loop, &transacts->task);
}

static cenote_status cancel_all(struct cenote_manager *manager, struct ticket *ticket,
                                struct pool_wakes *wakes)
{
  struct routed *routed = CEN_CONTAINER(ticket, struct routed, ticket);
  (void)manager;
  (void)wakes;
  lock(routed);
  routed->cancel = true;
  post_locked(routed);
  unlock(routed);
  return CENOTE_OK;
}

static cenote_status cancel_statement(struct cenote_manager *manager, struct ticket *ticket,
                                      struct pool_wakes *wakes)
{
  struct routed *routed = CEN_CONTAINER(ticket, struct routed, statement_ticket);
  (void)manager;
  (void)wakes;
  lock(routed);
  routed->cancel_statement = true;
  post_locked(routed);
  unlock(routed);
  return CENOTE_OK;
}

static struct routed *routed_of(cenote_transaction *transaction)
{
  struct transact *transact = transaction != NULL ? transaction->routed : NULL;
  return transact != NULL && transact->asynchronous
             ? CEN_CONTAINER(transact, struct routed, transact)
             : NULL;
}

static cenote_status not_ours(cenote_error *error)
{
  return cenote_error_set(error, CENOTE_INVALID,
                          "transaction: NULL, or not one of cenote_transact_async");
}

/* The body's turn becomes `next`, or why not. */
static cenote_status take_turn_locked(struct routed *routed, enum body_turn next,
                                      cenote_error *error)
{
  if (routed->turn == TURN_FINISHED) {
    return cenote_error_set(error, CENOTE_INVALID, "the transaction was finished already");
  }
  if (routed->turn != TURN_BODY) {
    return cenote_error_set(error, CENOTE_BUSY,
                            "a statement of this transaction is still running; one at a time");
  }
  routed->turn = next;
  return CENOTE_OK;
}

cenote_status cenote_tx_execute_async(cenote_transaction *transaction, const char *sql,
                                      const cenote_value *args, size_t count,
                                      cenote_query_callback callback, void *context,
                                      cenote_ticket *ticket, cenote_error *error)
{
  struct routed *routed = routed_of(transaction);
  if (ticket != NULL) {
    *ticket = (cenote_ticket){0};
  }
  if (routed == NULL) {
    return not_ours(error);
  }
  if (manager_is_foreign(manager_of(routed))) {
    return manager_foreign_error(error);
  }
  if (callback == NULL) {
    return cenote_error_set(error, CENOTE_INVALID, "callback: NULL");
  }
  cenote_status status = statement_check(sql, args, count, error);
  if (status != CENOTE_OK) {
    return status;
  }
  cenote_statement *copy = run_copy(sql, args, count);
  if (copy == NULL) {
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory: statement");
  }
  struct cenote_manager *manager = manager_of(routed);
  pthread_mutex_lock(&manager->async_lock); /* before ours, as where a ticket is cancelled */
  lock(routed);
  status = take_turn_locked(routed, TURN_ASKED, error);
  if (status == CENOTE_OK) {
    routed->statement = copy;
    routed->callback = callback;
    routed->callback_context = context;
    routed->cancel_statement = false;
    if (ticket != NULL) {
      ticket_issue_locked(manager, &routed->statement_ticket, ticket);
    }
    post_locked(routed);
  }
  unlock(routed);
  pthread_mutex_unlock(&manager->async_lock);
  if (status != CENOTE_OK) {
    free(copy);
  }
  return status;
}

cenote_status cenote_tx_finish(cenote_transaction *transaction, cenote_status outcome,
                               const cenote_error *error)
{
  struct routed *routed = routed_of(transaction);
  if (routed == NULL) {
    return CENOTE_INVALID;
  }
  if (manager_is_foreign(manager_of(routed))) {
    return CENOTE_FORKED;
  }
  lock(routed);
  const cenote_status status = take_turn_locked(routed, TURN_FINISHED, NULL);
  if (status == CENOTE_OK) {
    routed->answer = outcome;
    cen_error_clear(&routed->transact.error);
    if (outcome != CENOTE_OK && error != NULL) {
      cen_error_copy(&routed->transact.error, error);
    }
    post_locked(routed);
  }
  unlock(routed);
  return status;
}

/* ------------------------------------------------------------- the housekeeper's side */

static void give_turn(struct routed *routed)
{
  lock(routed);
  routed->turn = TURN_BODY;
  unlock(routed);
}

/* From here on nobody knows it. */
static void deliver(struct routed *routed)
{
  struct cenote_manager *manager = manager_of(routed);
  struct transact *transact = &routed->transact;
  ticket_end(manager, &routed->ticket);
  lock(routed);
  cen_list_remove(&routed->link);
  if (routed->posted) {
    cen_list_remove(&routed->post);
  }
  unlock(routed);
  routed->done(routed->context, transact->status, &transact->error);
  free(routed);
}

/* The body's statement is over, if one was under way: a cancel ends in nobody's. */
static void tell(struct routed *routed, cenote_status status, cenote_result *result,
                 const cenote_error *error)
{
  struct transact *transact = &routed->transact;
  lock(routed);
  const bool asked = routed->turn == TURN_RUNS;
  unlock(routed);
  if (!asked) {
    return;
  }
  ticket_end(manager_of(routed), &routed->statement_ticket);
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
    execution->statement = *routed->statement;
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
  struct cenote_manager *manager = manager_of(routed);
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
      if (cen_timer_set(manager_of(routed)->loop, &routed->timer, transact->until_ns) ==
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
  struct cenote_manager *manager = manager_of(routed);
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
  lock(routed);
  routed->turn = TURN_RUNS;
  unlock(routed);
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
  lock(routed);
  const enum body_turn turn = routed->turn;
  const cenote_status answer = routed->answer;
  const bool cancel = routed->cancel && !routed->transact.cancelled;
  const bool cancel_statement = routed->cancel_statement;
  routed->cancel_statement = false;
  if (cancel && routed->begun && !routed->waits && turn > TURN_BODY) {
    post_locked(routed);
  }
  unlock(routed);
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

/* ------------------------------------------------------------------ the public call */

cenote_status cenote_transact_async(cenote_manager *manager, const cenote_transact_options *options,
                                    cenote_transact_begin begin, cenote_transact_done done,
                                    void *context, cenote_ticket *ticket, cenote_error *error)
{
  if (ticket != NULL) {
    *ticket = (cenote_ticket){0};
  }
  const cenote_status status =
      transact_check(manager, options, begin != NULL && done != NULL, error);
  if (status != CENOTE_OK) {
    return status;
  }
  struct routed *fresh = calloc(1, sizeof *fresh);
  if (fresh == NULL) {
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory: transaction");
  }
  transact_init(&fresh->transact, manager, options, cen_now_ns());
  fresh->transact.asynchronous = true;
  fresh->begin = begin;
  fresh->done = done;
  fresh->context = context;
  fresh->timer.fire = on_timer;
  fresh->ticket.kind = fresh->statement_ticket.kind = TICKET_QUERY;
  fresh->ticket.cancel = cancel_all;
  fresh->statement_ticket.cancel = cancel_statement;
  if (options != NULL && options->operation_id != NULL) {
    memcpy(fresh->operation, options->operation_id,
           strnlen(options->operation_id, CEN_MAX_OPERATION_ID));
  }
  if (ticket != NULL) {
    ticket_issue(manager, &fresh->ticket, ticket);
  }
  lock(fresh);
  cen_list_push_back(&manager->transacts->all, &fresh->link);
  post_locked(fresh);
  pthread_mutex_unlock(&manager->transacts->lock);
  return CENOTE_OK;
}
