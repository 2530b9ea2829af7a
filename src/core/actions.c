/* actions.c - what the manager has to do, and what it reports when it has done it. */
#include "core/pool.h"

#include <string.h>

void pool_todo_locked(struct pool *pool, struct slot *slot, enum pool_action_kind kind,
                      struct pool_wakes *wakes)
{
  if (slot->todo == POOL_ACT_NONE) {
    cen_list_push_back(&pool->todo, &slot->todo_link);
  }
  slot->todo = kind; /* a cancel that was not yet taken gives way to what follows it */
  wakes->loop = true;
}

/* What was asked for and not yet taken is not wanted any more. */
static void drop_todo(struct slot *slot)
{
  if (slot->todo != POOL_ACT_NONE) {
    cen_list_remove(&slot->todo_link);
    slot->todo = POOL_ACT_NONE;
  }
}

/* A cancel is only worth anything while the one it is meant for is still inside. */
static bool is_current(enum pool_action_kind kind, uint64_t word)
{
  if (kind != POOL_ACT_CANCEL && kind != POOL_ACT_ABORT) {
    return true;
  }
  return (word_state(word) == SLOT_CALL && (word & SLOT_REVOKED) != 0) ||
         (word_state(word) == SLOT_OPENING && (word & SLOT_RETIRE) != 0);
}

bool pool_next_action(struct pool *pool, struct pool_action *action)
{
  bool found = false;
  pool_lock_take(&pool->lock);
  struct cen_link *link;
  while (!found && (link = cen_list_pop(&pool->todo)) != NULL) {
    struct slot *slot = CEN_CONTAINER(link, struct slot, todo_link);
    const uint64_t word = slot_word(slot);
    action->kind = slot->todo;
    action->slot = slot->index;
    action->generation = word_generation(word);
    action->resource = slot->resource;
    action->number = slot->number;
    action->reason = slot->taken != POOL_REASON_NONE ? slot->taken : slot->reason;
    found = is_current(slot->todo, word);
    slot->todo = POOL_ACT_NONE;
  }
  pool_lock_give(&pool->lock);
  return found;
}

bool pool_set_resource(struct pool *pool, uint32_t index, void *resource)
{
  pool_lock_take(&pool->lock);
  pool_slot(pool, index)->resource = resource;
  const bool wanted = atomic_load_explicit(&pool->phase, memory_order_relaxed) == POOL_OPEN;
  pool_lock_give(&pool->lock);
  return wanted;
}

bool pool_close_locked(struct pool *pool, struct slot *slot, uint64_t *word,
                       enum pool_reason reason, int64_t now_ns, struct pool_wakes *wakes)
{
  if (!slot_move(slot, word, SLOT_CLOSING, word_generation(*word), 0)) {
    return false;
  }
  slot->reason = reason;
  slot->since_ns = now_ns;
  slot->taken = POOL_REASON_NONE;
  pool->closing++;
  pool_todo_locked(pool, slot, POOL_ACT_CLOSE, wakes);
  return true;
}

void pool_offer_locked(struct pool *pool, struct slot *slot, int64_t now_ns,
                       struct pool_wakes *wakes)
{
  uint64_t word = slot_word(slot);
  const bool open = atomic_load_explicit(&pool->phase, memory_order_relaxed) == POOL_OPEN;
  if (!open || (word & SLOT_RETIRE) != 0) {
    pool_close_locked(pool, slot, &word, open ? slot->reason : POOL_REASON_SHUTDOWN, now_ns, wakes);
  } else if (pool->live - pool->closing > pool->limits.maximum) {
    pool_close_locked(pool, slot, &word, POOL_REASON_RESIZE, now_ns, wakes);
  } else if (pool_is_over_locked(pool)) {
    pool_close_locked(pool, slot, &word, POOL_REASON_QUOTA, now_ns, wakes);
  } else if (cen_list_empty(&pool->queue)) {
    slot_move(slot, &word, SLOT_FREE, word_generation(word), 0);
    wakes->loop = wakes->loop || pool->pressed;
  } else {
    pool_hand_over_locked(pool, slot, &word, now_ns, wakes);
  }
}

/* Into the hands of the next one with a clean sheet. */
static void renew(struct slot *slot, int64_t now_ns)
{
  atomic_store_explicit(&slot->session, 0, memory_order_relaxed);
  atomic_store_explicit(&slot->proven_ns, now_ns, memory_order_relaxed);
  slot->taken = POOL_REASON_NONE;
  slot->rest_ns = 0;
}

void pool_opened(struct pool *pool, uint32_t index, int64_t now_ns, struct pool_wakes *wakes)
{
  pool_lock_take(&pool->lock);
  struct slot *slot = pool_slot(pool, index);
  pool->opening--;
  pool->open_failures = 0;
  pool->next_open_ns = 0;
  pool->counters.created++;
  cen_hist_record(&pool->connect, now_ns - slot->since_ns);
  slot->opened_ns = now_ns;
  const int64_t age = pool->limits.age_ns;
  const int64_t spread = age / 10;
  slot->retire_ns = age <= 0
                        ? INT64_MAX
                        : now_ns + age - (int64_t)cen_rng_below(&pool->rng, (uint64_t)spread + 1);
  renew(slot, now_ns);
  if (now_ns - slot->since_ns > pool->limits.check_after_ns) {
    /* So slow, or we were stopped meanwhile and read late what the server said long ago. */
    atomic_store_explicit(&slot->proven_ns, slot->since_ns, memory_order_relaxed);
  }
  pool_offer_locked(pool, slot, now_ns, wakes);
  pool_fill_locked(pool, now_ns, wakes);
  pool_lock_give(&pool->lock);
}

static void remember_failure(struct pool *pool, const cenote_error *why, bool permanent,
                             int64_t now_ns)
{
  struct pool_failure *failure = &pool->failure;
  failure->status = why->status == CENOTE_OK ? CENOTE_CONNECT : why->status;
  memcpy(failure->sqlstate, why->sqlstate, sizeof failure->sqlstate);
  failure->sqlstate[sizeof failure->sqlstate - 1] = '\0';
  size_t size = strnlen(why->message, sizeof why->message);
  size = size < sizeof failure->message ? size : sizeof failure->message - 1;
  memcpy(failure->message, why->message, size);
  failure->message[size] = '\0';
  failure->at_ns = now_ns;
  failure->permanent = permanent;
}

static const int64_t LEAST_PAUSE_NS = 1000 * 1000;

/* Doubles with each failure in a row, with jitter; a server that is full gets more time. */
static void back_off(struct pool *pool, bool full, int64_t now_ns)
{
  const unsigned doublings = pool->open_failures < 20 ? pool->open_failures : 20;
  int64_t pause = pool->limits.backoff_ns;
  for (unsigned i = 1; i < doublings && pause < pool->limits.backoff_max_ns; i++) {
    pause *= 2;
  }
  pause = full ? pause * 4 : pause;
  pause = pause < pool->limits.backoff_max_ns ? pause : pool->limits.backoff_max_ns;
  pause = pause > LEAST_PAUSE_NS ? pause : LEAST_PAUSE_NS; /* no busy loop, whatever was set */
  pool->next_open_ns = now_ns + cen_rng_jitter(&pool->rng, pause, 25);
}

void pool_open_failed(struct pool *pool, uint32_t index, const cenote_error *why, bool permanent,
                      int64_t now_ns, struct pool_wakes *wakes)
{
  pool_lock_take(&pool->lock);
  struct slot *slot = pool_slot(pool, index);
  uint64_t word = slot_word(slot);
  const bool given_up = (word & SLOT_RETIRE) != 0; /* by us: says nothing about the server */
  pool->opening--;
  pool->live--;
  slot->resource = NULL;
  drop_todo(slot); /* a cancel may be queued: the next connection's actions must not find it */
  slot_move(slot, &word, SLOT_EMPTY, word_generation(word), 0);
  if (!given_up) {
    const bool full = strcmp(why->sqlstate, "53300") == 0;
    pool->counters.open_errors++;
    pool->counters.login_failures += why->status == CENOTE_AUTH;
    pool->open_failures++;
    remember_failure(pool, why, permanent, now_ns);
    back_off(pool, full, now_ns);
  }
  if (permanent && !given_up && pool->live == 0) {
    pool_refuse_locked(pool, wakes);
  }
  pool_despair_locked(pool, wakes);
  pool_fill_locked(pool, now_ns, wakes);
  wakes->loop = true; /* the back-off's end is a new deadline */
  pool_lock_give(&pool->lock);
}

void pool_checked(struct pool *pool, uint32_t index, bool good, int64_t now_ns,
                  struct pool_wakes *wakes)
{
  pool_lock_take(&pool->lock);
  struct slot *slot = pool_slot(pool, index);
  uint64_t word = slot_word(slot);
  pool->counters.checks++;
  if (good) {
    atomic_store_explicit(&slot->proven_ns, now_ns, memory_order_relaxed);
    pool_offer_locked(pool, slot, now_ns, wakes);
  } else {
    pool->counters.check_failures++;
    pool_close_locked(pool, slot, &word, POOL_REASON_CHECK_FAILED, now_ns, wakes);
    pool_fill_locked(pool, now_ns, wakes);
  }
  pool_lock_give(&pool->lock);
}

void pool_cleaned(struct pool *pool, uint32_t index, bool good, int64_t now_ns,
                  struct pool_wakes *wakes)
{
  pool_lock_take(&pool->lock);
  struct slot *slot = pool_slot(pool, index);
  uint64_t word = slot_word(slot);
  pool->counters.resets++;
  if (good) {
    renew(slot, now_ns);
    pool_offer_locked(pool, slot, now_ns, wakes);
  } else {
    pool->counters.reset_failures++;
    pool_close_locked(pool, slot, &word,
                      slot->taken != POOL_REASON_NONE ? slot->taken : POOL_REASON_RESET_FAILED,
                      now_ns, wakes);
    pool_fill_locked(pool, now_ns, wakes);
  }
  pool_lock_give(&pool->lock);
}

/* The fast path need not look at what is empty at the end. */
static void lower_top(struct pool *pool)
{
  uint32_t top = atomic_load_explicit(&pool->top, memory_order_relaxed);
  while (top > 0 && word_state(slot_word(pool_slot(pool, top - 1))) == SLOT_EMPTY) {
    top--;
  }
  atomic_store_explicit(&pool->top, top, memory_order_relaxed);
}

void pool_closed(struct pool *pool, uint32_t index, int64_t now_ns, struct pool_wakes *wakes)
{
  pool_lock_take(&pool->lock);
  struct slot *slot = pool_slot(pool, index);
  uint64_t word = slot_word(slot);
  pool->live--;
  pool->closing--;
  pool->counters.closed++;
  pool->counters.closed_by[slot->reason]++;
  slot->resource = NULL;
  atomic_store_explicit(&slot->session, 0, memory_order_relaxed);
  slot_move(slot, &word, SLOT_EMPTY, word_generation(word), 0);
  lower_top(pool);
  pool_fill_locked(pool, now_ns, wakes);
  pool_despair_locked(pool, wakes);
  /* A shutdown may be complete by this, and others wait for what a quota takes away. */
  wakes->loop = wakes->loop || pool->live == 0 || pool->quota != POOL_NO_QUOTA;
  pool_lock_give(&pool->lock);
}
