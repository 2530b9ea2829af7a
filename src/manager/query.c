/* query.c - a routed statement, for a caller who waits for it on his own thread. */
#include "manager/query.h"

#include "base/error.h"
#include "base/result.h"
#include "net/park.h"

#include <string.h>

/* What one try came to. */
struct outcome {
  cenote_status status;
  enum cen_fate fate;
  bool refused;
};

static struct outcome not_run(cenote_status status)
{
  return (struct outcome){.status = status, .fate = CEN_FATE_NOT_RUN};
}

static struct outcome try_simple(const struct query_plan *plan, cenote_result **result,
                                 cenote_error *error)
{
  struct simple_outcome simple = {0};
  const cenote_status admitted = plan->http ? CENOTE_OK : manager_admit(plan->manager, error);
  if (admitted != CENOTE_OK) {
    return not_run(admitted);
  }
  const struct simple_request request = query_plan_simple(plan);
  const cenote_status status = simple_query(plan->manager, &request, result, &simple, error);
  query_note_simple(plan, status, &simple, error);
  return (struct outcome){status, simple.fate, simple.read_only_refused};
}

/* ------------------------------------------------------- a connection of its own */

static cenote_status execute(const struct query_plan *plan, struct entry *entry,
                             cenote_result **result, cenote_error *error)
{
  cenote_sink sink;
  const cenote_statement *statement = &plan->statement;
  cenote_status status = statement_sink(plan->manager, &sink, error);
  if (status != CENOTE_OK) {
    return status;
  }
  entry->until_ns = plan->deadline_ns;
  entry->why = plan->why;
  status = statement_run(entry, statement->sql, statement->args, statement->count, &sink,
                         query_plan_request_flags(plan), error);
  if (status == CENOTE_OK) {
    *result = cen_sink_take(&sink);
  }
  cen_sink_deinit(&sink);
  return status;
}

static struct outcome try_exclusive(const struct query_plan *plan, int64_t until_ns,
                                    cenote_result **result, cenote_error *error)
{
  cenote_lease lease;
  struct entry entry;
  const int64_t now = cen_now_ns();
  cenote_status status = acquire_until(plan->manager, plan->operation, until_ns,
                                       query_plan_lease_ns(plan, now), &lease, error);
  if (status != CENOTE_OK) {
    return not_run(status);
  }
  status = lease_enter(lease, &entry, error);
  if (status != CENOTE_OK) {
    (void)cenote_release(lease);
    return not_run(status);
  }
  status = execute(plan, &entry, result, error);
  const cenote_status left = lease_leave(&entry, status, error);
  (void)cenote_release(lease);
  if (left != CENOTE_OK) {
    cenote_result_free(*result);
    *result = NULL;
  }
  return (struct outcome){.status = left, .fate = query_fate(left, &entry)};
}

static cenote_status wait_for_turn(struct cenote_manager *manager, struct query_turn *turn,
                                   int64_t until_ns, cenote_error *error)
{
  const int64_t start = cen_now_ns();
  bool mine;
  const cenote_status status = query_turn_ask(manager, turn, &mine);
  if (status != CENOTE_OK) {
    return query_turn_error(manager, status, 0, error);
  }
  while (!mine && atomic_load_explicit(&turn->word, memory_order_acquire) == 0) {
    if (!cen_park(&turn->word, 0, until_ns) && query_turn_give_up(manager, turn)) {
      return query_turn_error(manager, CENOTE_TIMEOUT, (cen_now_ns() - start) / CEN_NS_PER_MS,
                              error);
    }
  }
  return CENOTE_OK;
}

static struct outcome try_once(const struct query_plan *plan, cenote_result **result,
                               cenote_error *error)
{
  if (plan->simple) {
    return try_simple(plan, result, error);
  }
  const int64_t until = query_plan_patience(plan, cen_now_ns());
  if (!plan->turn) {
    return try_exclusive(plan, until, result, error);
  }
  struct query_turn turn = {.granted = NULL};
  manager_visit(plan->manager);
  const cenote_status status = wait_for_turn(plan->manager, &turn, until, error);
  manager_unvisit(plan->manager);
  if (status != CENOTE_OK) {
    return not_run(status);
  }
  const struct outcome outcome = try_exclusive(plan, until, result, error);
  query_turn_give(plan->manager, &turn);
  return outcome;
}

/* Until then, or until a shutdown has told the pool: the next try is refused by it. */
static void pause_until(struct cenote_manager *manager, int64_t until_ns)
{
  const struct timespec until = {.tv_sec = until_ns / 1000000000, .tv_nsec = until_ns % 1000000000};
  manager_visit(manager);
  pthread_mutex_lock(&manager->life_lock);
  while (!manager->turned_away && cen_now_ns() < until_ns) {
    pthread_cond_timedwait(&manager->life_changed, &manager->life_lock, &until);
  }
  pthread_mutex_unlock(&manager->life_lock);
  manager_unvisit(manager);
}

cenote_status cenote_query(cenote_manager *manager, const char *sql, const cenote_value *args,
                           size_t count, const cenote_query_options *options,
                           cenote_result **result, cenote_error *error)
{
  if (result != NULL) {
    *result = NULL;
  }
  struct query_plan plan;
  const cenote_statement statement = {.sql = sql, .args = args, .count = count};
  const cenote_status fine = query_plan_init(&plan, manager, &statement, options, error);
  if (fine != CENOTE_OK) {
    return fine;
  }
  if (manager_must_not_block(manager)) {
    return cenote_error_set(error, CENOTE_INVALID,
                            "a query on the loop's own thread must not block: use "
                            "cenote_query_async");
  }
  cenote_error local; /* what failed decides, also when nobody asks for it */
  cenote_error *told = error;
  if (error == NULL || error->size < sizeof local) {
    local.size = sizeof local;
    cen_error_clear(&local);
    told = &local;
  }
  cenote_result *rows = NULL;
  struct outcome outcome;
  enum query_next next;
  do {
    outcome = try_once(&plan, &rows, told);
    next = query_plan_judge(&plan, &outcome.status, outcome.fate, outcome.refused, told);
    if (next == QUERY_WAIT) {
      pause_until(manager, plan.wait_ns);
    }
  } while (next != QUERY_OVER);
  if (outcome.status == CENOTE_OK && told->status != CENOTE_OK) {
    cen_error_clear(told); /* of an earlier try */
  }
  if (outcome.status == CENOTE_OK && result != NULL) {
    *result = rows;
  } else {
    cenote_result_free(rows);
  }
  if (told != error) {
    cen_error_copy(error, told);
  }
  return outcome.status;
}
