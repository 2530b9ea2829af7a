/* quiet.c - nobody can run before time goes on, and nobody is stopped in the middle of anything.
 * If there is work now, whoever should do it was not told: a lost wake-up. */
#include "sim/world.h"

static const int64_t SLACK_NS = 2 * SIM_MS;
static const int64_t THAW_GRACE_NS = INT64_C(1100) * SIM_MS;

static bool loop_is_busy(void)
{
  return world->cancelling;
}

static void check_overdue(struct slot *slot, uint64_t word)
{
  struct pool *pool = &world->pool;
  if ((word_state(word) != SLOT_HELD && word_state(word) != SLOT_CALL) ||
      (word & SLOT_REVOKED) != 0 || stamp_generation(slot->stamp) != word_generation(word)) {
    return;
  }
  if (sim_now() < pool->thawed_ns + THAW_GRACE_NS) {
    return;
  }
  if (sim_now() < slot->deadline_ns || loop_is_busy()) {
    return;
  }
  /* A holder may be so slow that it writes down a deadline which has passed already: what counts
   * is how long the lease could be seen to be overdue. */
  struct overdue *overdue = &world->overdue[slot->index];
  if (overdue->generation != word_generation(word)) {
    overdue->generation = word_generation(word);
    overdue->since_ns = sim_now();
  }
  if (sim_now() - overdue->since_ns > pool->limits.heartbeat_ns + SLACK_NS) {
    sim_fail("slot %u: the lease is overdue by %lld us and nobody looks", slot->index,
             (long long)(sim_now() - slot->deadline_ns) / SIM_US);
  }
}

static void check_opens(void)
{
  const struct pool *pool = &world->pool;
  const uint32_t parked = pool->waiters - pool->awake;
  const bool scout = pool->open_failures > 0 && pool->opening > 0;
  const bool room = pool->live < pool->limits.maximum && pool->live < pool->quota;
  if (!pool->held && parked > pool->opening && room && !scout &&
      pool->opening < pool->limits.max_opening &&
      sim_now() >= pool->next_open_ns + pool->limits.heartbeat_ns + SLACK_NS) {
    sim_fail("%u wait, %u of %u connections exist, and nobody opens one", parked, pool->live,
             pool->limits.maximum);
  }
}

/* Whoever divides connections must hear of those that only the quota forbids. */
static void check_need(void)
{
  const struct pool *pool = &world->pool;
  if (pool->live >= pool->quota && pool->waiters > pool->told) {
    sim_fail("%u miss a connection above the quota, and the loop knows of %u", pool->waiters,
             pool->told);
  }
}

static void check_requests(void)
{
  for (int i = 0; i < WORLD_CLIENTS; i++) {
    struct request *request = &world->request[i];
    if (request->active && request->waiter.signal != POOL_PARKED && !loop_is_busy()) {
      sim_fail("an asynchronous waiter was served and the loop does not know");
    }
  }
}

static void look_around(void)
{
  struct pool *pool = &world->pool;
  bool free_slot = false;
  for (uint32_t i = 0; i < pool->span; i++) {
    const uint64_t word = slot_word(pool_slot(pool, i));
    free_slot = free_slot || word_state(word) == SLOT_FREE;
    check_overdue(pool_slot(pool, i), word);
  }
  if (pool->phase != POOL_OPEN) {
    if (pool->waiters > 0) {
      sim_fail("%u still wait for a pool that drains", pool->waiters);
    }
  } else if (pool->waiters > 0 && !loop_is_busy()) {
    if (pool->awake > 0) {
      sim_fail("a woken waiter was not told");
    }
    if (free_slot) {
      sim_fail("somebody sleeps beside a free slot");
    }
    check_opens();
    check_need();
  }
  if (!cen_list_empty(&pool->todo) && !loop_is_busy()) {
    const struct slot *slot = CEN_CONTAINER(pool->todo.next, struct slot, todo_link);
    sim_fail("an action (%d) waits for slot %u and the loop does not know", (int)slot->todo,
             slot->index);
  }
  check_requests();
}

void world_quiet(void)
{
  sim_quiet(true);
  look_around();
  sim_quiet(false);
}
