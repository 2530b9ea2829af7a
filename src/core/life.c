/* life.c - a pool begins, is reconfigured, drains and ends. */
#include "core/pool.h"

#include <stdlib.h>
#include <string.h>

static void empty_books(struct pool *pool)
{
  cen_link_init(&pool->queue);
  cen_link_init(&pool->todo);
  pool->waiters = pool->awake = 0;
  pool->live = pool->opening = pool->closing = 0;
  pool->numbers = 0;
  pool->last_bound_ns = pool->next_tick_ns = pool->next_open_ns = pool->thawed_ns = 0;
  pool->open_failures = 0;
  pool->turned_away = pool->held = pool->owed = pool->pressed = false;
  pool->quota = POOL_NO_QUOTA;
  pool->told = 0;
  memset(&pool->failure, 0, sizeof pool->failure);
  memset(&pool->counters, 0, sizeof pool->counters);
  cen_hist_reset(&pool->wait);
  cen_hist_reset(&pool->hold);
  cen_hist_reset(&pool->connect);
}

static void set_limits(struct pool *pool, const struct pool_limits *limits)
{
  pool->limits = *limits;
  atomic_store_explicit(&pool->check_after_ns, limits->check_after_ns, memory_order_relaxed);
  atomic_store_explicit(&pool->lease_ns, limits->lease_ns, memory_order_relaxed);
}

cenote_status pool_init(struct pool *pool, const struct pool_limits *limits, uint64_t seed,
                        int64_t now_ns)
{
  (void)now_ns;
  if (!pool->born && pool_lock_init(&pool->lock) != 0) {
    return CENOTE_NO_MEMORY;
  }
  pool->born = true;
  pool_lock_take(&pool->lock); /* handles of an earlier life may be looked up meanwhile */
  empty_books(pool);
  set_limits(pool, limits);
  cen_rng_seed(&pool->rng, seed);
  const uint32_t span = atomic_load_explicit(&pool->span, memory_order_relaxed);
  for (uint32_t index = 0; index < span; index++) {
    struct slot *slot = pool_slot(pool, index);
    slot->obituary.generation = 0;
    slot->first_generation = word_generation(slot_word(slot));
  }
  pool_lock_give(&pool->lock);
  atomic_store_explicit(&pool->phase, POOL_OPEN, memory_order_release);
  atomic_fetch_and_explicit(&pool->gate, ~(uint32_t)POOL_GATE_SHUT, memory_order_release);
  return CENOTE_OK;
}

void pool_deinit(struct pool *pool)
{
  for (uint32_t i = 0; i < POOL_CHUNKS; i++) {
    free(pool->chunk[i]);
    pool->chunk[i] = NULL;
  }
  atomic_store_explicit(&pool->span, 0, memory_order_relaxed);
  if (pool->born) {
    pool_lock_deinit(&pool->lock);
    pool->born = false;
  }
}

/* A connection in the manager's or a holder's hands is closed when it comes back. */
static bool retire(struct slot *slot, enum pool_reason reason)
{
  uint64_t word = slot_word(slot);
  while (word_state(word) != SLOT_FREE && word_state(word) != SLOT_EMPTY &&
         word_state(word) != SLOT_CLOSING) {
    if ((word & SLOT_RETIRE) != 0) {
      /* Growing again takes a shrink back (keep), but nothing else. */
      slot->reason = slot->reason == POOL_REASON_RESIZE ? reason : slot->reason;
      return false;
    }
    /* OPENING keeps its state too: the table allows a slot to stay where it is. */
    if (slot_move(slot, &word, word_state(word), word_generation(word),
                  (word & SLOT_FLAGS) | SLOT_RETIRE)) {
      slot->reason = reason;
      return true;
    }
  }
  return false;
}

/* A shrink that was taken back before the connection came home. */
static bool keep(struct slot *slot)
{
  uint64_t word = slot_word(slot);
  while ((word & SLOT_RETIRE) != 0 && slot->reason == POOL_REASON_RESIZE) {
    if (slot_move(slot, &word, word_state(word), word_generation(word),
                  (word & SLOT_FLAGS) & ~(uint64_t)SLOT_RETIRE)) {
      return true;
    }
  }
  return false;
}

static bool close_free(struct pool *pool, struct slot *slot, enum pool_reason reason,
                       int64_t now_ns, struct pool_wakes *wakes)
{
  uint64_t word = slot_word(slot);
  return word_state(word) == SLOT_FREE &&
         pool_close_locked(pool, slot, &word, reason, now_ns, wakes);
}

/* Closes it now if it is idle, else marks it; a slot that changes hands meanwhile is met again.
 * false: there was nothing to do any more. */
static bool close_or_retire(struct pool *pool, struct slot *slot, enum pool_reason reason,
                            int64_t now_ns, struct pool_wakes *wakes)
{
  do {
    if (close_free(pool, slot, reason, now_ns, wakes) || retire(slot, reason)) {
      return true;
    }
  } while (word_state(slot_word(slot)) == SLOT_FREE);
  return false;
}

static uint32_t span_of(struct pool *pool)
{
  return atomic_load_explicit(&pool->span, memory_order_relaxed);
}

static uint32_t count_staying(struct pool *pool)
{
  uint32_t staying = 0;
  for (uint32_t index = 0; index < span_of(pool); index++) {
    const uint64_t word = slot_word(pool_slot(pool, index));
    staying += word_state(word) != SLOT_EMPTY && word_state(word) != SLOT_CLOSING &&
               (word & SLOT_RETIRE) == 0;
  }
  return staying;
}

void pool_configure(struct pool *pool, const struct pool_limits *limits, int64_t now_ns,
                    struct pool_wakes *wakes)
{
  pool_lock_take(&pool->lock);
  set_limits(pool, limits);
  uint32_t staying = count_staying(pool);
  for (uint32_t index = span_of(pool); index-- > 0 && staying > limits->maximum;) {
    staying -= close_free(pool, pool_slot(pool, index), POOL_REASON_RESIZE, now_ns, wakes);
  }
  for (uint32_t index = span_of(pool); index-- > 0 && staying > limits->maximum;) {
    /* also one that was leased a moment ago and is idle by now */
    staying -= close_or_retire(pool, pool_slot(pool, index), POOL_REASON_RESIZE, now_ns, wakes);
  }
  for (uint32_t index = 0; index < span_of(pool) && staying < limits->maximum; index++) {
    staying += keep(pool_slot(pool, index));
  }
  pool_fill_locked(pool, now_ns, wakes);
  wakes->loop = true;
  pool_lock_give(&pool->lock);
}

void pool_flush(struct pool *pool, int64_t now_ns, enum pool_reason reason,
                struct pool_wakes *wakes)
{
  pool_lock_take(&pool->lock);
  for (uint32_t index = 0; index < span_of(pool); index++) {
    close_or_retire(pool, pool_slot(pool, index), reason, now_ns, wakes);
  }
  pool_fill_locked(pool, now_ns, wakes);
  pool_lock_give(&pool->lock);
}

void pool_relieve(struct pool *pool, int64_t now_ns, struct pool_wakes *wakes)
{
  pool_lock_take(&pool->lock);
  pool->counters.pressure_events++;
  for (uint32_t index = span_of(pool); index-- > 0;) {
    if (pool->live - pool->closing <= pool->limits.minimum) {
      break;
    }
    close_free(pool, pool_slot(pool, index), POOL_REASON_PRESSURE, now_ns, wakes);
  }
  pool_lock_give(&pool->lock);
}

/* A connect that nobody needs any more: not begun, it is dropped; under way, it is cancelled. */
static void stop_opening(struct pool *pool, struct slot *slot, struct pool_wakes *wakes)
{
  uint64_t word = slot_word(slot);
  if (word_state(word) != SLOT_OPENING) {
    return;
  }
  if (slot->todo != POOL_ACT_OPEN) {
    pool_todo_locked(pool, slot, POOL_ACT_CANCEL, wakes);
    return;
  }
  cen_list_remove(&slot->todo_link);
  slot->todo = POOL_ACT_NONE;
  slot_move(slot, &word, SLOT_EMPTY, word_generation(word), 0);
  pool->live--;
  pool->opening--;
}

void pool_drain(struct pool *pool, int64_t now_ns, struct pool_wakes *wakes)
{
  pool_lock_take(&pool->lock);
  if (atomic_load_explicit(&pool->phase, memory_order_relaxed) == POOL_OPEN) {
    atomic_store_explicit(&pool->phase, POOL_DRAINING, memory_order_release);
    atomic_fetch_or_explicit(&pool->gate, POOL_GATE_SHUT, memory_order_release);
    for (uint32_t index = 0; index < span_of(pool); index++) {
      struct slot *slot = pool_slot(pool, index);
      close_or_retire(pool, slot, POOL_REASON_SHUTDOWN, now_ns, wakes);
      stop_opening(pool, slot, wakes);
    }
    pool_refuse_locked(pool, wakes);
  }
  wakes->loop = true;
  pool_lock_give(&pool->lock);
}

/* The holder may just go in or out of a call: that is no reason to leave it alone. */
static bool force_slot(struct pool *pool, struct slot *slot, int64_t now_ns,
                       struct pool_wakes *wakes)
{
  for (;;) {
    const uint64_t word = slot_word(slot);
    if (pool_revoke_locked(pool, slot, word, POOL_REASON_SHUTDOWN, now_ns, wakes)) {
      return true;
    }
    const uint64_t stamp = atomic_load_explicit(&slot->stamp, memory_order_acquire);
    const bool leased = word_state(word) == SLOT_HELD ||
                        (word_state(word) == SLOT_CALL && (word & SLOT_REVOKED) == 0);
    if (!leased || stamp_generation(stamp) != word_generation(word)) {
      return false; /* or its holder has not stamped it yet */
    }
  }
}

/* Who is inside a call is asked to stop first: he may wait for what another one's session holds,
 * and is not to get it because that session goes. */
uint32_t pool_force(struct pool *pool, int64_t now_ns, struct pool_wakes *wakes)
{
  uint32_t forced = 0;
  pool_lock_take(&pool->lock);
  for (uint32_t index = 0; index < span_of(pool); index++) {
    struct slot *slot = pool_slot(pool, index);
    if (word_state(slot_word(slot)) == SLOT_CALL) {
      forced += force_slot(pool, slot, now_ns, wakes);
    }
  }
  for (uint32_t index = 0; index < span_of(pool); index++) {
    forced += force_slot(pool, pool_slot(pool, index), now_ns, wakes);
  }
  wakes->loop = true;
  pool_lock_give(&pool->lock);
  return forced;
}

bool pool_finished(struct pool *pool)
{
  pool_lock_take(&pool->lock);
  const bool finished = atomic_load_explicit(&pool->phase, memory_order_relaxed) == POOL_DRAINING &&
                        pool->live == 0 && cen_list_empty(&pool->queue);
  if (finished) {
    atomic_store_explicit(&pool->phase, POOL_SHUTDOWN, memory_order_release);
  }
  pool_lock_give(&pool->lock);
  return finished;
}

void pool_forget(struct pool *pool)
{
  pool_lock_take(&pool->lock);
  for (uint32_t index = 0; index < span_of(pool); index++) {
    pool_slot(pool, index)->obituary.generation = 0;
  }
  pool_lock_give(&pool->lock);
}
