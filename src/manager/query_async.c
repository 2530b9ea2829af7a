/*
 * query_async.c - a routed statement that nobody waits for. Its stages are the housekeeper's:
 * whoever asks or cancels only starts the first one, or posts.
 *
 *   SIMPLE ────────────────────────────────┐
 *   TURN ──► ACQUIRE ──► RUN ──────────────┴──► judged ──► over, PAUSE, or the next try
 */
#include "manager/query.h"

#include "base/error.h"
#include "manager/async.h"
#include "manager/run.h"

#include <stdlib.h>
#include <string.h>

enum stage { STAGE_TRY, STAGE_SIMPLE, STAGE_TURN, STAGE_ACQUIRE, STAGE_RUN, STAGE_PAUSE };

struct query {
  struct query_plan plan;
  struct ticket ticket;
  cenote_query_callback callback;
  void *context;
  cenote_statement *copy;
  char operation[CEN_MAX_OPERATION_ID + 1];
  struct cen_link link; /* in queries->posted, guarded by its lock */
  bool posted;
  _Atomic bool cancelled;
  enum stage stage; /* the housekeeper's, as what follows */
  struct cen_link resting;
  struct cen_timer timer;
  int64_t asked_ns; /* for the turn */
  struct query_turn turn;
  cenote_lease lease;
  struct simple_async simple;
  struct acquisition acquisition;
  struct execution execution;
};

static void begin_try(struct query *query);

/* ----------------------------------------------------------------- any thread */

static void post_locked(struct queries *queries, struct query *query)
{
  if (!query->posted) {
    query->posted = true;
    cen_list_push_back(&queries->posted, &query->link);
  }
}

/* The task is posted by whoever gives the turn. */
static void turn_granted(struct query_turn *turn)
{
  struct query *query = CEN_CONTAINER(turn, struct query, turn);
  post_locked(query->plan.manager->queries, query);
}

static void post(struct query *query)
{
  struct queries *queries = query->plan.manager->queries;
  pthread_mutex_lock(&queries->lock);
  post_locked(queries, query);
  pthread_mutex_unlock(&queries->lock);
  cen_loop_post(queries->manager->loop, &queries->task);
}

static cenote_status query_cancel(struct cenote_manager *manager, struct ticket *ticket,
                                  struct pool_wakes *wakes)
{
  struct query *query = CEN_CONTAINER(ticket, struct query, ticket);
  (void)manager;
  (void)wakes;
  atomic_store_explicit(&query->cancelled, true, memory_order_relaxed);
  post(query);
  return CENOTE_OK;
}

static bool is_draining(const struct cenote_manager *manager)
{
  return atomic_load_explicit(&manager->queries->draining, memory_order_relaxed);
}

static bool is_cancelled(const struct query *query)
{
  return atomic_load_explicit(&query->cancelled, memory_order_relaxed);
}

/* ---------------------------------------------------------------- its end */

static void deliver(struct query *query, cenote_status status, cenote_result *result,
                    const cenote_error *error)
{
  struct cenote_manager *manager = query->plan.manager;
  struct queries *queries = manager->queries;
  ticket_end(manager, &query->ticket);
  pthread_mutex_lock(&queries->lock);
  if (query->posted) { /* a cancel that came too late */
    cen_list_remove(&query->link);
  }
  pthread_mutex_unlock(&queries->lock);
  query->callback(query->context, status, result, error);
  free(query->copy);
  free(query);
}

static void deliver_cancelled(struct query *query)
{
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_error_set(&error, CENOTE_CANCELLED, "the query was cancelled");
  deliver(query, CENOTE_CANCELLED, NULL, &error);
}

static void stop_resting(struct query *query)
{
  cen_timer_stop(&query->timer);
  cen_list_remove(&query->resting);
}

static void rest(struct query *query, enum stage stage, int64_t until_ns)
{
  struct cenote_manager *manager = query->plan.manager;
  query->stage = stage;
  cen_list_push_back(&manager->queries->resting, &query->resting);
  if (cen_timer_set(manager->loop, &query->timer, until_ns) != CENOTE_OK && stage == STAGE_PAUSE) {
    cen_list_remove(&query->resting);
    begin_try(query); /* no memory for a pause: without one */
  }
}

/* A try has ended. */
static void judge(struct query *query, cenote_status status, enum cen_fate fate, bool refused,
                  cenote_result *result, cenote_error *error)
{
  query_turn_give(query->plan.manager, &query->turn);
  const enum query_next next = query_plan_judge(&query->plan, &status, fate, refused, error);
  query->stage = STAGE_TRY;
  if (next == QUERY_OVER) {
    deliver(query, status, result, error);
  } else if (is_cancelled(query)) {
    deliver_cancelled(query);
  } else if (next == QUERY_WAIT && !is_draining(query->plan.manager)) {
    rest(query, STAGE_PAUSE, query->plan.wait_ns);
  } else {
    post(query);
  }
}

/* ------------------------------------------------------------------ the simple path */

static void simple_done(struct simple_async *async, cenote_status status, cenote_result *result,
                        const struct simple_outcome *outcome, const cenote_error *error)
{
  struct query *query = CEN_CONTAINER(async, struct query, simple);
  cenote_error copy;
  cen_error_begin(&copy);
  cen_error_copy(&copy, error);
  query_note_simple(&query->plan, status, outcome, error);
  judge(query, status, outcome->fate, outcome->read_only_refused, result, &copy);
}

/* -------------------------------------------------------- a connection of its own */

static void executed(struct execution *execution, cenote_status status, cenote_result *result,
                     cenote_error *error)
{
  struct query *query = CEN_CONTAINER(execution, struct query, execution);
  struct entry *entry = &execution->run.entry;
  status = lease_leave(entry, status, error);
  (void)cenote_release(query->lease);
  if (status != CENOTE_OK) {
    cenote_result_free(result);
    result = NULL;
  }
  judge(query, status, query_fate(status, entry), false, result, error);
}

static void acquired(struct acquisition *acquisition, cenote_status status, cenote_lease lease,
                     cenote_error *error)
{
  struct query *query = CEN_CONTAINER(acquisition, struct query, acquisition);
  struct execution *execution = &query->execution;
  query->lease = lease;
  if (status == CENOTE_OK && is_cancelled(query)) {
    status = cenote_error_set(error, CENOTE_CANCELLED, "the query was cancelled");
    (void)cenote_release(lease);
  } else if (status == CENOTE_OK) {
    status = lease_enter(lease, &execution->run.entry, error);
    if (status != CENOTE_OK) {
      (void)cenote_release(lease);
    }
  }
  if (status != CENOTE_OK) {
    judge(query, status, CEN_FATE_NOT_RUN, false, NULL, error);
    return;
  }
  query->stage = STAGE_RUN;
  execution->run.entry.until_ns = query->plan.deadline_ns;
  execution->run.entry.why = query->plan.why;
  execution->statement = query->plan.statement;
  execution->flags = query_plan_request_flags(&query->plan);
  execution->done = executed;
  execution_start(execution);
}

/* Any thread: the first try is its caller's. Nothing of the query may be touched afterwards. */
static void ask(struct query *query)
{
  struct acquisition *acquisition = &query->acquisition;
  const int64_t now = cen_now_ns();
  query->stage = STAGE_ACQUIRE;
  *acquisition = (struct acquisition){
      .manager = query->plan.manager,
      .deadline_ns = query_plan_patience(&query->plan, now),
      .lease_ns = query_plan_lease_ns(&query->plan, now),
      .done = acquired,
  };
  memcpy(acquisition->operation, query->operation, sizeof acquisition->operation);
  acquisition_start(acquisition, NULL);
}

/* ------------------------------------------------------------------- the next try */

/* Any thread, like ask(). What fails here was not run. */
static cenote_status ask_simple(struct query *query, cenote_error *error)
{
  struct cenote_manager *manager = query->plan.manager;
  const cenote_status status = query->plan.http ? CENOTE_OK : manager_admit(manager, error);
  if (status != CENOTE_OK) {
    return status;
  }
  query->stage = STAGE_SIMPLE;
  query->simple =
      (struct simple_async){.request = query_plan_simple(&query->plan), .done = simple_done};
  return simple_start(manager, &query->simple, error);
}

static void take_turn(struct query *query)
{
  struct cenote_manager *manager = query->plan.manager;
  bool mine;
  query->turn = (struct query_turn){.granted = turn_granted};
  query->stage = STAGE_TURN;
  const cenote_status status = query_turn_ask(manager, &query->turn, &mine);
  if (status != CENOTE_OK) {
    cenote_error error = CENOTE_ERROR_INIT;
    query_turn_error(manager, status, 0, &error);
    judge(query, status, CEN_FATE_NOT_RUN, false, NULL, &error);
  } else if (mine) {
    ask(query);
  } else {
    query->asked_ns = cen_now_ns();
    rest(query, STAGE_TURN, query_plan_patience(&query->plan, query->asked_ns));
  }
}

static void begin_try(struct query *query)
{
  struct query_plan *plan = &query->plan;
  cenote_error error;
  cenote_status status = CENOTE_OK;
  cen_error_begin(&error);
  const bool draining = is_draining(plan->manager); /* then the pool says so */
  if (plan->simple && !draining) {
    status = ask_simple(query, &error);
  } else if (plan->turn && !draining) {
    take_turn(query);
  } else {
    ask(query);
  }
  if (status != CENOTE_OK) {
    judge(query, status, CEN_FATE_NOT_RUN, false, NULL, &error);
  }
}

/* ------------------------------------------------------- the housekeeper's events */

static void turn_timed_out(struct query *query)
{
  struct cenote_manager *manager = query->plan.manager;
  cenote_error error = CENOTE_ERROR_INIT;
  if (!query_turn_give_up(manager, &query->turn)) {
    return; /* it has just been granted, and is posted */
  }
  cen_list_remove(&query->resting);
  query_turn_error(manager, CENOTE_TIMEOUT, (cen_now_ns() - query->asked_ns) / CEN_NS_PER_MS,
                   &error);
  judge(query, CENOTE_TIMEOUT, CEN_FATE_NOT_RUN, false, NULL, &error);
}

static void on_timer(struct cen_timer *timer)
{
  struct query *query = CEN_CONTAINER(timer, struct query, timer);
  if (query->stage == STAGE_TURN) {
    turn_timed_out(query);
  } else {
    cen_list_remove(&query->resting);
    begin_try(query);
  }
}

static void cancel_acquisition(struct query *query)
{
  struct cenote_manager *manager = query->plan.manager;
  struct pool_wakes wakes = {0};
  pthread_mutex_lock(&manager->async_lock);
  (void)acquisition_cancel_locked(&query->acquisition, &wakes);
  pthread_mutex_unlock(&manager->async_lock);
  manager_wake(manager, &wakes);
  housekeeper_kick(manager);
}

/* Its callback comes now, or when what it waits for has stopped. */
static void cancel_at_its_stage(struct query *query)
{
  switch (query->stage) {
  case STAGE_TRY:
    deliver_cancelled(query);
    break;
  case STAGE_SIMPLE:
    simple_cancel(query->plan.manager, &query->simple);
    break;
  case STAGE_TURN:
    if (!query_turn_give_up(query->plan.manager, &query->turn)) {
      query_turn_give(query->plan.manager, &query->turn);
    }
    stop_resting(query);
    deliver_cancelled(query);
    break;
  case STAGE_ACQUIRE:
    cancel_acquisition(query);
    break;
  case STAGE_RUN:
    execution_cancel(&query->execution);
    break;
  case STAGE_PAUSE:
    stop_resting(query);
    deliver_cancelled(query);
    break;
  }
}

static void posted(struct query *query)
{
  if (is_cancelled(query)) {
    cancel_at_its_stage(query);
  } else if (query->stage == STAGE_TURN) {
    stop_resting(query);
    ask(query);
  } else if (query->stage == STAGE_TRY) {
    if (query->plan.wait_ns > cen_now_ns() && !is_draining(query->plan.manager)) {
      rest(query, STAGE_PAUSE, query->plan.wait_ns);
    } else {
      begin_try(query);
    }
  }
}

/* A shutdown: what rests is tried at once, and refused by the pool. */
static void rouse(struct queries *queries)
{
  struct cen_link resting;
  cen_link_init(&resting);
  for (struct cen_link *link; (link = cen_list_pop(&queries->resting)) != NULL;) {
    cen_list_push_back(&resting, link);
  }
  for (struct cen_link *link; (link = cen_list_pop(&resting)) != NULL;) {
    struct query *query = CEN_CONTAINER(link, struct query, resting);
    if (query->stage == STAGE_TURN && !query_turn_give_up(queries->manager, &query->turn)) {
      cen_list_push_back(&queries->resting, link); /* granted: it is posted */
      continue;
    }
    cen_timer_stop(&query->timer);
    ask(query);
  }
}

static bool work(struct queries *queries)
{
  struct cen_link now;
  cen_link_init(&now);
  pthread_mutex_lock(&queries->lock);
  for (struct cen_link *link; (link = cen_list_pop(&queries->posted)) != NULL;) {
    cen_list_push_back(&now, link);
  }
  pthread_mutex_unlock(&queries->lock);
  const bool any = !cen_list_empty(&now);
  if (is_draining(queries->manager)) {
    rouse(queries);
  }
  for (;;) {
    pthread_mutex_lock(&queries->lock);
    struct cen_link *link = cen_list_pop(&now);
    struct query *query = link != NULL ? CEN_CONTAINER(link, struct query, link) : NULL;
    if (query != NULL) {
      query->posted = false;
    }
    pthread_mutex_unlock(&queries->lock);
    if (query == NULL) {
      return any;
    }
    posted(query);
  }
}

static void on_posted(struct cen_task *task)
{
  (void)work(CEN_CONTAINER(task, struct queries, task));
}

bool query_settle(struct cenote_manager *manager)
{
  return work(manager->queries);
}

void query_drain(struct cenote_manager *manager)
{
  atomic_store_explicit(&manager->queries->draining, true, memory_order_relaxed);
  cen_loop_post(manager->loop, &manager->queries->task);
}

/* ------------------------------------------------------------------------- life */

cenote_status query_new(struct cenote_manager *manager, cenote_error *error)
{
  const char *name = manager->driver->name;
  const bool sqlite = strcmp(name, "sqlite") == 0;
  const bool postgres = strcmp(name, "postgres") == 0 || strcmp(name, "neon") == 0;
  const bool sqlite_text = sqlite || strcmp(name, "libsql") == 0;
  const enum cen_route_database database = sqlite_text ? CEN_ROUTE_SQLITE
                                           : postgres  ? CEN_ROUTE_POSTGRES
                                                       : CEN_ROUTE_UNKNOWN;
  struct queries *queries = calloc(1, sizeof *queries);
  if (queries == NULL || pthread_mutex_init(&queries->lock, NULL) != 0) {
    free(queries);
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory: manager");
  }
  queries->manager = manager;
  queries->takes_turns = sqlite;
  cen_link_init(&queries->turns);
  cen_link_init(&queries->posted);
  cen_link_init(&queries->resting);
  cen_task_init(&queries->task, on_posted);
  manager->queries = queries;
  return cen_route_new(database, cen_settings_text(&manager->settings, "stateless_functions"),
                       &queries->route, error);
}

void query_free(struct cenote_manager *manager)
{
  if (manager->queries != NULL) {
    cen_route_free(manager->queries->route);
    pthread_mutex_destroy(&manager->queries->lock);
    free(manager->queries);
    manager->queries = NULL;
  }
}

/* ------------------------------------------------------------------ the public call */

static struct query *query_make(const char *sql, const cenote_value *args, size_t count,
                                cenote_error *error)
{
  struct query *fresh = calloc(1, sizeof *fresh);
  cenote_statement *copy = fresh != NULL ? run_copy(sql, args, count) : NULL;
  if (copy == NULL) {
    free(fresh);
    (void)!cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory: query");
    return NULL;
  }
  fresh->copy = copy;
  fresh->ticket.kind = TICKET_QUERY;
  fresh->ticket.cancel = query_cancel;
  fresh->timer.fire = on_timer;
  cen_link_init(&fresh->resting);
  return fresh;
}

static void query_dispose(struct query *query)
{
  ticket_end(query->plan.manager, &query->ticket);
  free(query->copy);
  free(query);
}

/* The first try, as far as the caller's thread may go. Nothing of the query may be touched after
 * it, unless it failed. */
static cenote_status query_begin(struct query *query, cenote_error *error)
{
  struct query_plan *plan = &query->plan;
  if (is_draining(plan->manager)) {
    ask(query);
    return CENOTE_OK;
  }
  if (plan->simple) {
    cenote_status status = ask_simple(query, error);
    if (status == CENOTE_OK) {
      return status;
    }
    query->stage = STAGE_TRY;
    if (query_plan_judge(plan, &status, CEN_FATE_NOT_RUN, false, error) == QUERY_OVER) {
      return status;
    }
    cen_error_clear(error);
  } else if (!plan->turn) {
    ask(query);
    return CENOTE_OK;
  }
  post(query);
  return CENOTE_OK;
}

cenote_status cenote_query_async(cenote_manager *manager, const char *sql, const cenote_value *args,
                                 size_t count, const cenote_query_options *options,
                                 cenote_query_callback callback, void *context,
                                 cenote_ticket *ticket, cenote_error *error)
{
  if (ticket != NULL) {
    *ticket = (cenote_ticket){0};
  }
  if (callback == NULL) {
    return cenote_error_set(error, CENOTE_INVALID, "callback: NULL");
  }
  struct query_plan plan;
  const cenote_statement statement = {.sql = sql, .args = args, .count = count};
  cenote_status status = query_plan_init(&plan, manager, &statement, options, error);
  if (status != CENOTE_OK) {
    return status;
  }
  cenote_ticket handle = {0};
  struct query *query = query_make(sql, args, count, error);
  if (query == NULL) {
    return CENOTE_NO_MEMORY;
  }
  memcpy(query->operation, plan.operation, strnlen(plan.operation, CEN_MAX_OPERATION_ID));
  query->plan = plan;
  query->plan.statement = *query->copy;
  query->plan.operation = query->operation;
  query->callback = callback;
  query->context = context;
  if (ticket != NULL) {
    query->ticket.starting = true;
    ticket_issue(manager, &query->ticket, &handle);
    *ticket = handle;
  }
  cenote_error local;
  cen_error_begin(&local);
  status = query_begin(query, &local);
  if (status == CENOTE_OK && handle.number != 0) {
    ticket_started(manager, handle); /* *ticket may be gone, by the callback */
  } else if (status != CENOTE_OK) {
    query_dispose(query);
    cen_error_copy(error, &local);
    if (ticket != NULL) {
      *ticket = (cenote_ticket){0};
    }
  }
  return status;
}
