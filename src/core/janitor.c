/* janitor.c - what time brings: leases expire, idle connections end, the minimum is filled. */
#include "core/pool.h"

#include <stdlib.h>
#include <string.h>

static const int64_t THAW_NS = INT64_C(5000000000); /* later than promised by this: we slept */
static const int64_t THAW_GRACE_NS = INT64_C(1000000000); /* nothing expires right after it */
static const int64_t IDLE_LOOK_NS = INT64_C(100000000);   /* not more often, for idle ones */

/* ----------------------------------------------------------------- filling */

static bool grow(struct pool *pool)
{
  const uint32_t span = atomic_load_explicit(&pool->span, memory_order_relaxed);
  if (span >= CEN_MAX_CONNECTIONS) {
    return false;
  }
  struct slot **chunk = &pool->chunk[span / POOL_CHUNK];
  if (*chunk == NULL) {
    struct slot *slots = aligned_alloc(64, POOL_CHUNK * sizeof *slots);
    if (slots == NULL) {
      return false;
    }
    memset(slots, 0, POOL_CHUNK * sizeof *slots);
    for (uint32_t i = 0; i < POOL_CHUNK; i++) {
      slots[i].index = span + i;
      cen_link_init(&slots[i].todo_link);
    }
    *chunk = slots;
  }
  atomic_store_explicit(&pool->span, span + 1, memory_order_release);
  return true;
}

static struct slot *find_empty(struct pool *pool)
{
  for (int tries = 0; tries < 2; tries++) {
    const uint32_t span = atomic_load_explicit(&pool->span, memory_order_relaxed);
    for (uint32_t index = tries == 0 ? 0 : span - 1; index < span; index++) {
      struct slot *slot = pool_slot(pool, index);
      if (word_state(slot_word(slot)) == SLOT_EMPTY) {
        return slot;
      }
    }
    if (!grow(pool)) {
      return NULL;
    }
  }
  return NULL;
}

/* Closing ones still count against the maximum, but not towards the minimum. */
static bool misses_more(const struct pool *pool)
{
  return pool->live - pool->closing < pool->limits.minimum ||
         pool->waiters - pool->awake > pool->opening || (pool->turned_away && pool->opening == 0);
}

static bool wants_more(const struct pool *pool)
{
  if (pool->live >= pool_room_locked(pool) || pool->opening >= pool->limits.max_opening) {
    return false;
  }
  if (pool->open_failures > 0 && pool->opening > 0) {
    return false; /* one scout is enough while the server does not answer */
  }
  return !pool->held && misses_more(pool);
}

static bool open_one(struct pool *pool, int64_t now_ns, struct pool_wakes *wakes)
{
  struct slot *slot = find_empty(pool);
  if (slot == NULL) {
    pool->next_open_ns = now_ns + pool->limits.backoff_ns;
    return false;
  }
  uint64_t word = slot_word(slot);
  slot_move(slot, &word, SLOT_OPENING, word_generation(word), 0);
  slot->number = ++pool->numbers;
  slot->since_ns = now_ns;
  slot->reason = POOL_REASON_NONE;
  slot->taken = POOL_REASON_NONE;
  slot->escalated = false;
  pool->live++;
  pool->opening++;
  pool->turned_away = false;
  if (slot->index >= atomic_load_explicit(&pool->top, memory_order_relaxed)) {
    atomic_store_explicit(&pool->top, slot->index + 1, memory_order_release);
  }
  pool_todo_locked(pool, slot, POOL_ACT_OPEN, wakes);
  return true;
}

static bool is_open(struct pool *pool)
{
  return atomic_load_explicit(&pool->phase, memory_order_relaxed) == POOL_OPEN;
}

void pool_fill_locked(struct pool *pool, int64_t now_ns, struct pool_wakes *wakes)
{
  if (!is_open(pool)) {
    return;
  }
  pool_tell_need_locked(pool, wakes);
  if (pool->owed && pool->live < pool_room_locked(pool)) {
    pool->owed = false;
    open_one(pool, now_ns, wakes);
  }
  while (wants_more(pool)) {
    if (now_ns < pool->next_open_ns) {
      /* The janitor comes back when the back-off is over; told each time, it would spin. */
      wakes->loop = wakes->loop || pool->next_open_ns < pool->next_tick_ns;
      return;
    }
    if (!open_one(pool, now_ns, wakes)) {
      return;
    }
  }
}

/* ----------------------------------------------------------------- holding */

void pool_hold(struct pool *pool, bool held, int64_t now_ns, struct pool_wakes *wakes)
{
  pool_lock_take(&pool->lock);
  const bool begins = held && !pool->held; /* else who waits may wait for the next probe */
  if (pool->held && !held) {
    pool->next_open_ns = 0;
  }
  pool->held = held;
  pool->owed = pool->owed && held;
  pool_fill_locked(pool, now_ns, wakes);
  if (begins) {
    pool_despair_locked(pool, wakes);
  }
  pool_lock_give(&pool->lock);
}

static bool check_one(struct pool *pool, int64_t now_ns, struct pool_wakes *wakes)
{
  for (uint32_t index = atomic_load_explicit(&pool->span, memory_order_relaxed); index-- > 0;) {
    struct slot *slot = pool_slot(pool, index);
    uint64_t word = slot_word(slot);
    if (word_state(word) == SLOT_FREE && pool_check_locked(pool, slot, &word, now_ns, wakes)) {
      return true;
    }
  }
  return false;
}

bool pool_probe(struct pool *pool, int64_t now_ns, struct pool_wakes *wakes)
{
  bool asks = false;
  pool_lock_take(&pool->lock);
  if (is_open(pool)) {
    asks = pool->opening > 0 ||
           (pool->live < pool_room_locked(pool) && open_one(pool, now_ns, wakes)) ||
           check_one(pool, now_ns, wakes);
    if (!asks && pool->live >= pool->quota) {
      pool->owed = true; /* made up for as soon as the quota allows it */
      pool_tell_need_locked(pool, wakes);
    }
  }
  pool_lock_give(&pool->lock);
  return asks;
}

bool pool_misses_connections(struct pool *pool)
{
  pool_lock_take(&pool->lock);
  const bool misses = misses_more(pool);
  pool_lock_give(&pool->lock);
  return misses;
}

bool pool_has_connections(struct pool *pool)
{
  pool_lock_take(&pool->lock);
  const bool has = pool->live > pool->opening + pool->closing;
  pool_lock_give(&pool->lock);
  return has;
}

/* ------------------------------------------------------------------ expiry */

static void bury(struct slot *slot, const struct pool_lease_view *view, enum pool_reason reason,
                 int64_t now_ns)
{
  slot->obituary.generation = view->generation;
  slot->obituary.age_ns = now_ns - view->acquired_ns;
  slot->obituary.reason = reason;
  memcpy(slot->obituary.operation, view->operation, sizeof view->operation);
}

/* The holder said so when it left its last call: no reset makes it good again. */
static bool is_broken(const struct slot *slot, uint64_t word)
{
  return (word & SLOT_TAINTED) != 0 &&
         (atomic_load_explicit(&slot->session, memory_order_relaxed) & SLOT_SESSION_BROKEN) != 0;
}

bool pool_revoke_locked(struct pool *pool, struct slot *slot, uint64_t word,
                        enum pool_reason reason, int64_t now_ns, struct pool_wakes *wakes)
{
  const uint64_t generation = word_generation(word);
  struct pool_lease_view view;
  if ((word & SLOT_REVOKED) != 0 || !pool_view_slot(slot, generation, &view)) {
    return false; /* not stamped yet: its time has not begun */
  }
  if (word_state(word) == SLOT_CALL) {
    /* The holder is inside: it must leave by itself. We only mark, and ask for a cancel. */
    if (!slot_move(slot, &word, SLOT_CALL, generation, (word & SLOT_FLAGS) | SLOT_REVOKED)) {
      return false;
    }
    slot->revoked_ns = now_ns;
    slot->escalated = false;
    pool_todo_locked(pool, slot, POOL_ACT_CANCEL, wakes);
  } else if (word_state(word) != SLOT_HELD) {
    return false;
  } else if (reason == POOL_REASON_SHUTDOWN || (word & SLOT_RETIRE) != 0 || is_broken(slot, word)) {
    if (!pool_close_locked(pool, slot, &word, reason, now_ns, wakes)) {
      return false;
    }
  } else {
    if (!slot_move(slot, &word, SLOT_CLEANING, generation, 0)) {
      return false;
    }
    slot->since_ns = now_ns;
    slot->taken = reason;
    pool_todo_locked(pool, slot, POOL_ACT_CLEAN, wakes);
  }
  pool->counters.expired += reason == POOL_REASON_EXPIRED;
  pool->counters.revoked += reason == POOL_REASON_REVOKED;
  pool->counters.forced += reason == POOL_REASON_SHUTDOWN;
  bury(slot, &view, reason, now_ns);
  return true;
}

static int64_t sooner(int64_t a, int64_t b)
{
  return a < b ? a : b;
}

/* A leased slot: expired? grown old? Answers when to look again. */
static int64_t tick_leased(struct pool *pool, struct slot *slot, uint64_t word, int64_t now_ns,
                           struct pool_wakes *wakes)
{
  if ((word & SLOT_REVOKED) != 0) {
    const int64_t patience = slot->revoked_ns + pool->limits.cancel_ns;
    if (now_ns < patience) {
      return patience;
    }
    if (!slot->escalated) {
      slot->escalated = true;
      pool_todo_locked(pool, slot, POOL_ACT_ABORT, wakes);
    }
    return INT64_MAX;
  }
  const uint64_t stamp = atomic_load_explicit(&slot->stamp, memory_order_acquire);
  if (stamp_generation(stamp) != word_generation(word)) {
    return INT64_MAX;
  }
  /* The verdict is about this word's holder: whatever moves the slot makes the CAS fail. */
  const int64_t deadline = atomic_load_explicit(&slot->deadline_ns, memory_order_acquire);
  const int64_t acquired = atomic_load_explicit(&slot->acquired_ns, memory_order_relaxed);
  if (acquired < pool->thawed_ns && now_ns < pool->thawed_ns + THAW_GRACE_NS) {
    return pool->thawed_ns + THAW_GRACE_NS;
  }
  if (now_ns >= deadline) {
    pool_revoke_locked(pool, slot, word, POOL_REASON_EXPIRED, now_ns, wakes);
    return (slot_word(slot) & SLOT_REVOKED) != 0 ? now_ns + pool->limits.cancel_ns : INT64_MAX;
  }
  if (now_ns >= slot->retire_ns && (word & SLOT_RETIRE) == 0 &&
      slot_move(slot, &word, word_state(word), word_generation(word),
                (word & SLOT_FLAGS) | SLOT_RETIRE)) {
    slot->reason = POOL_REASON_AGE;
  }
  return deadline;
}

/* -------------------------------------------------------------------- idle */

/* Checks prove a connection, but nobody has used it. */
static int64_t idle_since(const struct slot *slot, uint64_t word)
{
  if (slot->rest_ns != 0 && slot->rest_generation == word_generation(word)) {
    return slot->rest_ns;
  }
  const int64_t proven = atomic_load_explicit(&slot->proven_ns, memory_order_relaxed);
  const int64_t acquired = atomic_load_explicit(&slot->acquired_ns, memory_order_relaxed);
  return proven > acquired ? proven : acquired;
}

bool pool_check_locked(struct pool *pool, struct slot *slot, uint64_t *word, int64_t now_ns,
                       struct pool_wakes *wakes)
{
  const int64_t since = idle_since(slot, *word);
  if (!slot_move(slot, word, SLOT_CHECKING, word_generation(*word), 0)) {
    return false;
  }
  slot->rest_ns = since;
  slot->rest_generation = word_generation(*word);
  slot->since_ns = now_ns;
  pool_todo_locked(pool, slot, POOL_ACT_CHECK, wakes);
  return true;
}

static int64_t tick_free(struct pool *pool, struct slot *slot, uint64_t word, int64_t now_ns,
                         uint32_t *checks, struct pool_wakes *wakes)
{
  const struct pool_limits *limits = &pool->limits;
  if (now_ns >= slot->retire_ns) {
    pool_close_locked(pool, slot, &word, POOL_REASON_AGE, now_ns, wakes);
    return INT64_MAX;
  }
  int64_t next = slot->retire_ns;
  if (limits->idle_ns > 0 && pool->live - pool->closing > limits->minimum) {
    const int64_t end = idle_since(slot, word) + limits->idle_ns;
    if (now_ns >= end) {
      pool_close_locked(pool, slot, &word, POOL_REASON_IDLE, now_ns, wakes);
      return INT64_MAX;
    }
    next = sooner(next, end);
  }
  if (limits->check_interval_ns > 0) {
    const int64_t proven = atomic_load_explicit(&slot->proven_ns, memory_order_relaxed);
    const int64_t due = proven + limits->check_interval_ns;
    if (now_ns >= due) {
      if (*checks == 0) {
        return now_ns + limits->heartbeat_ns; /* not all at once: somebody may want one */
      }
      (*checks)--;
      pool_check_locked(pool, slot, &word, now_ns, wakes);
      return INT64_MAX;
    }
    next = sooner(next, due);
  }
  return next;
}

/* When to look at connections that may soon have been idle for too long: each moment of a release
 * is not told to the janitor, so with a short time-out it looks more often, while there is one that
 * may end by it. */
static int64_t idle_look(const struct pool *pool, int64_t now_ns)
{
  const int64_t idle = pool->limits.idle_ns;
  if (idle <= 0 || pool->live - pool->closing <= pool->limits.minimum) {
    return INT64_MAX;
  }
  return now_ns + (idle / 4 > IDLE_LOOK_NS ? idle / 4 : IDLE_LOOK_NS);
}

/* -------------------------------------------------------------------- tick */

static void thaw_locked(struct pool *pool, int64_t now_ns, int64_t gap_ns)
{
  const uint32_t span = atomic_load_explicit(&pool->span, memory_order_relaxed);
  pool->counters.thaws++;
  pool->thawed_ns = now_ns;
  pool->next_open_ns = 0;
  for (uint32_t index = 0; index < span; index++) {
    struct slot *slot = pool_slot(pool, index);
    const uint64_t word = slot_word(slot);
    if (word_state(word) == SLOT_HELD || word_state(word) == SLOT_CALL) {
      const int64_t acquired = atomic_load_explicit(&slot->acquired_ns, memory_order_relaxed);
      int64_t deadline = atomic_load_explicit(&slot->deadline_ns, memory_order_acquire);
      if (stamp_generation(atomic_load_explicit(&slot->stamp, memory_order_acquire)) ==
              word_generation(word) &&
          acquired <= now_ns - gap_ns) {
        /* Fails when a new holder has written its own meanwhile: that one needs no more. */
        atomic_compare_exchange_strong_explicit(&slot->deadline_ns, &deadline, deadline + gap_ns,
                                                memory_order_acq_rel, memory_order_relaxed);
      }
    } else if (word_state(word) == SLOT_FREE) {
      /* Long ago, also for a coarse clock that is behind ours; but not so long that it looks
       * idle since for ever. */
      const int64_t stale = now_ns - pool->limits.check_after_ns - THAW_GRACE_NS;
      atomic_store_explicit(&slot->proven_ns, stale, memory_order_relaxed);
      slot->rest_ns = 0;
    }
  }
}

void pool_thaw(struct pool *pool, int64_t now_ns, int64_t gap_ns)
{
  pool_lock_take(&pool->lock);
  thaw_locked(pool, now_ns, gap_ns);
  if (gap_ns > 0) {
    pool->next_tick_ns = now_ns; /* or the next tick would notice the same gap again */
  }
  pool_lock_give(&pool->lock);
}

int64_t pool_tick(struct pool *pool, int64_t now_ns, struct pool_wakes *wakes)
{
  pool_lock_take(&pool->lock);
  if (pool->next_tick_ns > 0 && now_ns - pool->next_tick_ns > THAW_NS) {
    thaw_locked(pool, now_ns, now_ns - pool->next_tick_ns);
  }
  int64_t next = now_ns + pool->limits.heartbeat_ns;
  uint32_t checks = (pool->live + 1) / 2;
  /* From the top, so that what is left stays low: the fast path scans from the bottom. */
  for (uint32_t index = atomic_load_explicit(&pool->span, memory_order_relaxed); index-- > 0;) {
    struct slot *slot = pool_slot(pool, index);
    const uint64_t word = slot_word(slot);
    switch (word_state(word)) {
    case SLOT_FREE:
      next = sooner(next, tick_free(pool, slot, word, now_ns, &checks, wakes));
      break;
    case SLOT_HELD:
    case SLOT_CALL:
      next = sooner(next, tick_leased(pool, slot, word, now_ns, wakes));
      break;
    default:
      break;
    }
  }
  pool_rearm_locked(pool, now_ns, wakes);
  pool_fill_locked(pool, now_ns, wakes);
  next = sooner(next, idle_look(pool, now_ns));
  const bool later = pool->live >= pool->quota ? misses_more(pool) : wants_more(pool);
  if (later && pool->next_open_ns > now_ns) { /* without room it is asked for again then */
    next = sooner(next, pool->next_open_ns);
  }
  pool->next_tick_ns = next;
  pool_lock_give(&pool->lock);
  return next;
}
