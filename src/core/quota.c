/* quota.c - a pool's share of a maximum over several pools: what it must give up, what it needs. */
#include "core/pool.h"

#include <string.h>

static uint32_t misses(const struct pool *pool)
{
  return pool->waiters + ((pool->turned_away || pool->owed) && pool->waiters == 0);
}

void pool_tell_need_locked(struct pool *pool, struct pool_wakes *wakes)
{
  wakes->loop = wakes->loop || (pool->live >= pool->quota && misses(pool) > pool->told);
}

static uint32_t count_free(struct pool *pool)
{
  uint32_t count = 0;
  const uint32_t top = atomic_load_explicit(&pool->top, memory_order_relaxed);
  for (uint32_t index = 0; index < top; index++) {
    count += word_state(slot_word(pool_slot(pool, index))) == SLOT_FREE;
  }
  return count;
}

/* So many of those who wait could be helped by a connection more. While the server does not answer
 * one is enough to find out; while we pause, none helps anybody. */
static uint32_t count_asking(const struct pool *pool, int64_t now_ns)
{
  const uint32_t asking = misses(pool);
  if (!pool->owed && pool->open_failures > 0 && now_ns < pool->next_open_ns) {
    return 0;
  }
  return (pool->open_failures > 0 || pool->held) && asking > 1 ? 1 : asking;
}

static void fill_need(struct pool *pool, int64_t now_ns, struct pool_need *need)
{
  const bool open = atomic_load_explicit(&pool->phase, memory_order_relaxed) == POOL_OPEN;
  const uint32_t maximum = pool->limits.maximum;
  const uint32_t staying = pool->live - pool->closing;
  const uint32_t idle = count_free(pool) + pool->opening;
  const uint32_t used = staying > idle ? staying - idle : 0;
  const uint32_t wanted = used + (open ? count_asking(pool, now_ns) : 0);
  need->live = pool->live;
  need->staying = staying;
  need->open = staying - pool->opening;
  need->wanted = wanted < maximum ? wanted : maximum;
  need->minimum = !open ? 0 : pool->limits.minimum < maximum ? pool->limits.minimum : maximum;
  need->over = pool_is_over_locked(pool) ? staying - pool->quota : 0;
}

/* An idle one is closed, as long as there are too many; a leased one is marked, so that its release
 * is seen. Whoever takes or releases it meanwhile is met again. */
static void press_slot(struct pool *pool, struct slot *slot, int64_t now_ns,
                       struct pool_wakes *wakes)
{
  while (!pool_mark_locked(slot, now_ns)) {
    uint64_t word = slot_word(slot);
    if (!pool_is_over_locked(pool)) {
      return; /* it may stay, and is free */
    }
    if (word_state(word) == SLOT_FREE &&
        pool_close_locked(pool, slot, &word, POOL_REASON_QUOTA, now_ns, wakes)) {
      return;
    }
  }
}

/* A connect that was not begun yet. */
static void drop_opening(struct pool *pool, struct slot *slot)
{
  uint64_t word = slot_word(slot);
  if (word_state(word) == SLOT_OPENING && slot->todo == POOL_ACT_OPEN) {
    cen_list_remove(&slot->todo_link);
    slot->todo = POOL_ACT_NONE;
    slot_move(slot, &word, SLOT_EMPTY, word_generation(word), 0);
    pool->live--;
    pool->opening--;
  }
}

static void shrink(struct pool *pool, int64_t now_ns, struct pool_wakes *wakes)
{
  const uint32_t span = atomic_load_explicit(&pool->span, memory_order_relaxed);
  for (uint32_t index = span; index-- > 0 && pool_is_over_locked(pool);) {
    struct slot *slot = pool_slot(pool, index);
    uint64_t word = slot_word(slot);
    drop_opening(pool, slot);
    if (word_state(word) == SLOT_FREE) {
      pool_close_locked(pool, slot, &word, POOL_REASON_QUOTA, now_ns, wakes);
    }
  }
  for (uint32_t index = span; index-- > 0 && (pool_is_over_locked(pool) || pool->pressed);) {
    press_slot(pool, pool_slot(pool, index), now_ns, wakes);
  }
}

void pool_set_quota(struct pool *pool, uint32_t quota, bool pressed, int64_t now_ns,
                    struct pool_wakes *wakes, struct pool_need *need)
{
  memset(need, 0, sizeof *need);
  pool_lock_take(&pool->lock);
  pool->quota = quota;
  pool->pressed = pressed;
  if (pool_is_over_locked(pool) || pressed) {
    shrink(pool, now_ns, wakes);
  }
  pool->told = misses(pool);
  pool_fill_locked(pool, now_ns, wakes);
  fill_need(pool, now_ns, need);
  pool_lock_give(&pool->lock);
}

uint32_t pool_excess(struct pool *pool)
{
  pool_lock_take(&pool->lock);
  const uint32_t excess = pool_is_over_locked(pool) ? pool->live - pool->closing - pool->quota : 0;
  pool_lock_give(&pool->lock);
  return excess;
}
