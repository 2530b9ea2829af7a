/*
 * wait.c - those who found nothing free: a queue, first come first served, within bounds.
 *
 * What keeps a waiter from being forgotten (pool_check verifies it): while somebody is parked,
 * either somebody else has been woken and will look, or no slot is free and every held slot
 * carries the WAITER mark, so that its release comes through here.
 */
#include "core/pool.h"

void pool_waiter_init(struct pool_waiter *waiter, bool asynchronous)
{
  atomic_init(&waiter->signal, POOL_PARKED);
  waiter->asynchronous = asynchronous;
  waiter->uncounted = false;
  waiter->asked_ns = 0;
  cen_link_init(&waiter->link);
  waiter->queued = false;
  waiter->enqueued_ns = 0;
  waiter->status = CENOTE_OK;
  waiter->slot = 0;
  waiter->generation = 0;
}

static bool is_awake(const struct pool_waiter *waiter)
{
  return atomic_load_explicit(&waiter->signal, memory_order_relaxed) == POOL_WOKEN;
}

static bool can_wake(const struct pool_wakes *wakes)
{
  return wakes->count < POOL_WAKES;
}

static void wake(struct pool_waiter *waiter, enum pool_signal signal, struct pool_wakes *wakes)
{
  const bool parked = atomic_load_explicit(&waiter->signal, memory_order_relaxed) == POOL_PARKED;
  if (waiter->asynchronous) {
    wakes->loop = true;
  } else if (parked) {
    wakes->word[wakes->count++] = &waiter->signal;
  }
  POOL_STEP();
  /* From here on a settled waiter's memory is its owner's again. */
  atomic_store_explicit(&waiter->signal, signal, memory_order_release);
}

static void dequeue(struct pool *pool, struct pool_waiter *waiter)
{
  cen_list_remove(&waiter->link);
  waiter->queued = false;
  pool->waiters--;
  if (is_awake(waiter)) {
    pool->awake--;
  }
}

void pool_settle_locked(struct pool *pool, struct pool_waiter *waiter, cenote_status status,
                        struct pool_wakes *wakes)
{
  if (waiter->queued) {
    dequeue(pool, waiter);
  }
  waiter->status = status;
  wake(waiter, POOL_SETTLED, wakes);
}

bool pool_wake_first_locked(struct pool *pool, struct pool_wakes *wakes)
{
  if (pool->waiters == pool->awake) {
    return false;
  }
  if (!can_wake(wakes)) {
    wakes->loop = true; /* the next tick arms again */
    return false;
  }
  for (struct cen_link *link = pool->queue.next; link != &pool->queue; link = link->next) {
    struct pool_waiter *waiter = CEN_CONTAINER(link, struct pool_waiter, link);
    if (!is_awake(waiter)) {
      pool->awake++;
      wake(waiter, POOL_WOKEN, wakes);
      return true;
    }
  }
  return false;
}

bool pool_mark_locked(struct slot *slot, int64_t now_ns)
{
  uint64_t word = slot_word(slot);
  while (word_state(word) == SLOT_HELD || word_state(word) == SLOT_CALL) {
    if ((word & SLOT_WAITER) != 0) {
      return true;
    }
    if (slot_move(slot, &word, word_state(word), word_generation(word),
                  (word & SLOT_FLAGS) | SLOT_WAITER)) {
      slot->marked_ns = now_ns;
      return true;
    }
  }
  return word_state(word) != SLOT_FREE;
}

void pool_rearm_locked(struct pool *pool, int64_t now_ns, struct pool_wakes *wakes)
{
  if (pool->waiters == pool->awake) {
    return;
  }
  const uint32_t top = atomic_load_explicit(&pool->top, memory_order_relaxed);
  for (uint32_t index = 0; index < top; index++) {
    if (!pool_mark_locked(pool_slot(pool, index), now_ns)) {
      pool_wake_first_locked(pool, wakes);
    }
  }
}

static void note_wait(struct pool *pool, const struct pool_waiter *waiter, int64_t now_ns)
{
  if (!waiter->uncounted) {
    pool->counters.waited++;
    cen_hist_record(&pool->wait, now_ns - waiter->enqueued_ns);
  }
}

bool pool_hand_over_locked(struct pool *pool, struct slot *slot, uint64_t *word, int64_t now_ns,
                           struct pool_wakes *wakes)
{
  struct pool_waiter *waiter = CEN_CONTAINER(pool->queue.next, struct pool_waiter, link);
  const uint64_t generation = word_generation(*word) + 1;
  /* Whoever waited has stamped the precise time anyway: measured for free. */
  const uint64_t flags = SLOT_SAMPLED | (pool->waiters > 1 ? SLOT_WAITER : 0u);
  if (!slot_move(slot, word, SLOT_HELD, generation, flags)) {
    return false;
  }
  slot->marked_ns = now_ns;
  const bool was_awake = is_awake(waiter);
  waiter->slot = slot->index;
  waiter->generation = generation;
  pool->counters.handed += !waiter->uncounted;
  note_wait(pool, waiter, now_ns);
  pool_settle_locked(pool, waiter, CENOTE_OK, wakes);
  if (was_awake) {
    pool_rearm_locked(pool, now_ns, wakes); /* what it was woken for is still there */
  }
  return true;
}

static bool try_take(struct slot *slot, struct pool_waiter *waiter, bool others, int64_t now_ns)
{
  uint64_t word = slot_word(slot);
  if (word_state(word) != SLOT_FREE) {
    return false;
  }
  const uint64_t generation = word_generation(word) + 1;
  if (!slot_move(slot, &word, SLOT_HELD, generation, SLOT_SAMPLED | (others ? SLOT_WAITER : 0u))) {
    return false;
  }
  slot->marked_ns = now_ns;
  waiter->slot = slot->index;
  waiter->generation = generation;
  return true;
}

/* Takes a free slot for the waiter, or leaves every held one marked. `others`: somebody else goes
 * on waiting. */
static bool take_or_mark(struct pool *pool, struct pool_waiter *waiter, bool others, int64_t now_ns)
{
  const uint32_t top = atomic_load_explicit(&pool->top, memory_order_relaxed);
  for (uint32_t index = 0; index < top; index++) {
    if (try_take(pool_slot(pool, index), waiter, others, now_ns)) {
      return true;
    }
  }
  for (uint32_t index = 0; index < top; index++) {
    while (!pool_mark_locked(pool_slot(pool, index), now_ns)) { /* free by now: whose? */
      if (try_take(pool_slot(pool, index), waiter, others, now_ns)) {
        return true;
      }
    }
  }
  return false;
}

static void enqueue(struct pool *pool, struct pool_waiter *waiter)
{
  struct cen_link *behind = waiter->asked_ns != 0 ? pool->queue.next : &pool->queue;
  while (behind != &pool->queue &&
         CEN_CONTAINER(behind, struct pool_waiter, link)->enqueued_ns <= waiter->enqueued_ns) {
    behind = behind->next;
  }
  cen_list_push_back(behind, &waiter->link); /* right before it */
  waiter->queued = true;
  pool->waiters++;
}

bool pool_wait(struct pool *pool, struct pool_waiter *waiter, int64_t now_ns,
               struct pool_wakes *wakes)
{
  bool settled = true;
  pool_lock_take(&pool->lock);
  waiter->enqueued_ns = waiter->asked_ns != 0 ? waiter->asked_ns : now_ns;
  if (atomic_load_explicit(&pool->phase, memory_order_relaxed) != POOL_OPEN) {
    waiter->status = CENOTE_SHUTTING_DOWN;
    pool->counters.acquire_refused += !waiter->uncounted;
  } else if (take_or_mark(pool, waiter, pool->waiters > 0, now_ns)) {
    waiter->status = CENOTE_OK;
  } else if (pool->waiters >= pool->limits.max_waiters) {
    waiter->status = CENOTE_QUEUE_FULL;
    pool->counters.acquire_refused += !waiter->uncounted;
    if (pool->waiters == 0) { /* no waiter will ever ask for a connection */
      pool->turned_away = true;
      pool_fill_locked(pool, now_ns, wakes);
    }
  } else {
    enqueue(pool, waiter);
    if (pool->held) {
      pool->turned_away = true; /* remembered, also when he leaves before the next probe, */
      wakes->loop = true;       /* which may be waiting for somebody who asks */
    }
    pool_fill_locked(pool, now_ns, wakes);
    settled = false;
  }
  if (settled) {
    atomic_store_explicit(&waiter->signal, POOL_SETTLED, memory_order_release);
  }
  pool_lock_give(&pool->lock);
  return settled;
}

bool pool_rescan(struct pool *pool, struct pool_waiter *waiter, int64_t now_ns,
                 struct pool_wakes *wakes)
{
  bool settled = true;
  pool_lock_take(&pool->lock);
  if (waiter->queued) {
    if (is_awake(waiter)) {
      pool->awake--;
    }
    atomic_store_explicit(&waiter->signal, POOL_PARKED, memory_order_relaxed);
    if (take_or_mark(pool, waiter, pool->waiters > 1, now_ns)) {
      dequeue(pool, waiter);
      waiter->status = CENOTE_OK;
      note_wait(pool, waiter, now_ns);
      atomic_store_explicit(&waiter->signal, POOL_SETTLED, memory_order_release);
      pool_rearm_locked(pool, now_ns, wakes);
    } else {
      pool_fill_locked(pool, now_ns, wakes);
      settled = false;
    }
  }
  pool_lock_give(&pool->lock);
  return settled;
}

void pool_give_up(struct pool *pool, struct pool_waiter *waiter, cenote_status why, int64_t now_ns,
                  struct pool_wakes *wakes)
{
  pool_lock_take(&pool->lock);
  if (waiter->queued) {
    const bool was_awake = is_awake(waiter);
    dequeue(pool, waiter);
    if (why == CENOTE_TIMEOUT && take_or_mark(pool, waiter, pool->waiters > 0, now_ns)) {
      waiter->status = CENOTE_OK; /* no time-out beside a free connection */
      note_wait(pool, waiter, now_ns);
    } else {
      waiter->status = why;
      pool->counters.acquire_timeouts += why == CENOTE_TIMEOUT && !waiter->uncounted;
      pool->counters.acquire_cancelled += why != CENOTE_TIMEOUT && !waiter->uncounted;
    }
    atomic_store_explicit(&waiter->signal, POOL_SETTLED, memory_order_release);
    if (was_awake) {
      pool_rearm_locked(pool, now_ns, wakes);
    }
  }
  pool_lock_give(&pool->lock);
}

/* Refuses waiters until all are refused or the wakes are full. */
void pool_refuse_locked(struct pool *pool, struct pool_wakes *wakes)
{
  const bool open = atomic_load_explicit(&pool->phase, memory_order_relaxed) == POOL_OPEN;
  const cenote_status status = open ? pool->failure.status : CENOTE_SHUTTING_DOWN;
  while (!cen_list_empty(&pool->queue) && can_wake(wakes)) {
    struct pool_waiter *waiter = CEN_CONTAINER(pool->queue.next, struct pool_waiter, link);
    pool->counters.acquire_refused += !waiter->uncounted;
    pool_settle_locked(pool, waiter, status, wakes);
  }
  wakes->more = !cen_list_empty(&pool->queue);
}

void pool_despair_locked(struct pool *pool, struct pool_wakes *wakes)
{
  const bool open = atomic_load_explicit(&pool->phase, memory_order_relaxed) == POOL_OPEN;
  if (open && pool->held && pool->live == 0 && pool->open_failures > 0) {
    pool_refuse_locked(pool, wakes);
  }
}

void pool_refuse_more(struct pool *pool, struct pool_wakes *wakes)
{
  pool_lock_take(&pool->lock);
  const bool open = atomic_load_explicit(&pool->phase, memory_order_relaxed) == POOL_OPEN;
  if (!open || pool->live == 0) { /* else something is on its way again: the rest may wait for it */
    pool_refuse_locked(pool, wakes);
  }
  pool_lock_give(&pool->lock);
}
