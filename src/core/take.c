/* take.c - taking, releasing, entering and leaving: the lock-free side, and what a release has to
 * do when somebody waits or the session is not clean. */
#include "core/fast.h"

static struct slot *slot_find(struct pool *pool, uint32_t index)
{
  if (index >= atomic_load_explicit(&pool->span, memory_order_acquire)) {
    return NULL;
  }
  return pool_slot(pool, index);
}

static bool take_slot(struct pool *pool, uint32_t index, const struct pool_ask *ask,
                      struct pool_grant *grant)
{
  struct slot *slot = pool_slot(pool, index);
  uint64_t word = slot_word(slot);
  const uint64_t generation = word_generation(word) + 1;
  const uint64_t sampling = slot_sampling(slot, ask->now_ns);
  if (!slot_take(slot, &word, sampling)) {
    return false;
  }
  /* Before the stamp: from then on the lease may expire, and the slot's connection be another's. */
  *grant = pool_grant_of(pool, slot, generation, sampling != 0, ask->now_ns);
  slot_stamp(slot, generation, ask->operation, ask->operation_size, ask->now_ns, ask->lease_ns);
  return true;
}

bool pool_take(struct pool *pool, uint32_t hint, const struct pool_ask *ask,
               struct pool_grant *grant)
{
  if (atomic_load_explicit(&pool->phase, memory_order_acquire) != POOL_OPEN) {
    return false;
  }
  const uint32_t top = atomic_load_explicit(&pool->top, memory_order_acquire);
  if (hint < top && take_slot(pool, hint, ask, grant)) {
    return true;
  }
  for (uint32_t index = 0; index < top; index++) {
    if (index != hint && take_slot(pool, index, ask, grant)) {
      return true;
    }
  }
  return false;
}

void pool_restamp(struct pool *pool, const struct pool_grant *grant, int64_t now_ns)
{
  struct slot *slot = pool_slot(pool, grant->slot);
  atomic_store_explicit(&slot->acquired_ns, now_ns, memory_order_relaxed);
}

void pool_unsample(struct pool *pool, const struct pool_grant *grant)
{
  struct slot *slot = pool_slot(pool, grant->slot);
  uint64_t word = slot_word(slot);
  while (word_generation(word) == grant->generation && word_state(word) == SLOT_HELD &&
         (word & SLOT_SAMPLED) != 0 &&
         !slot_move(slot, &word, SLOT_HELD, grant->generation,
                    word & SLOT_FLAGS & ~(uint64_t)SLOT_SAMPLED)) {
  }
}

void pool_accept(struct pool *pool, const struct pool_waiter *waiter, const struct pool_ask *ask,
                 struct pool_grant *grant)
{
  struct slot *slot = pool_slot(pool, waiter->slot);
  *grant = pool_grant_of(pool, slot, waiter->generation, false, ask->now_ns);
  slot_stamp(slot, waiter->generation, ask->operation, ask->operation_size, ask->now_ns,
             ask->lease_ns);
}

enum pool_answer pool_release(struct pool *pool, uint32_t index, uint64_t generation)
{
  struct slot *slot = slot_find(pool, index);
  if (slot == NULL) {
    return POOL_STALE;
  }
  uint64_t word = slot_word(slot);
  if (word != word_make(generation, SLOT_HELD, 0)) {
    if (word_generation(word) != generation) {
      return POOL_STALE;
    }
    return word_state(word) == SLOT_HELD   ? POOL_SLOW
           : word_state(word) == SLOT_CALL ? POOL_IN_CALL
                                           : POOL_STALE;
  }
  /* Somebody marked it, or released it a second time: the slow path tells them apart. */
  return slot_move(slot, &word, SLOT_FREE, generation, 0) ? POOL_OK : POOL_SLOW;
}

/* Is it still held, so that the holder is obeyed? The lock is held. */
static enum pool_answer holder_answer(uint64_t word, uint64_t generation)
{
  if (word_generation(word) != generation) {
    return POOL_STALE;
  }
  return word_state(word) == SLOT_HELD   ? POOL_OK
         : word_state(word) == SLOT_CALL ? POOL_IN_CALL
                                         : POOL_STALE;
}

static enum pool_reason closing_reason(const struct pool *pool, const struct slot *slot,
                                       uint64_t word)
{
  const uint32_t session = atomic_load_explicit(&slot->session, memory_order_relaxed);
  if ((word & SLOT_TAINTED) != 0 && (session & SLOT_SESSION_BROKEN) != 0) {
    return POOL_REASON_BROKEN;
  }
  if (atomic_load_explicit(&pool->phase, memory_order_relaxed) != POOL_OPEN) {
    return POOL_REASON_SHUTDOWN;
  }
  if ((word & SLOT_RETIRE) != 0) {
    return slot->reason;
  }
  return pool_is_over_locked(pool) ? POOL_REASON_QUOTA : POOL_REASON_NONE;
}

/* Handing over makes a convoy when nobody holds for long; setting free starves when many do. The
 * time the slot was really held since somebody asked for it tells the two apart. */
static bool must_hand_over(struct pool *pool, const struct slot *slot, int64_t now_ns)
{
  if (cen_list_empty(&pool->queue)) {
    return false;
  }
  const int64_t acquired = atomic_load_explicit(&slot->acquired_ns, memory_order_relaxed);
  const int64_t since = acquired > slot->marked_ns ? acquired : slot->marked_ns;
  if (now_ns - since >= POOL_HANDOVER_HOLD_NS) {
    return true;
  }
  const struct pool_waiter *head = CEN_CONTAINER(pool->queue.next, struct pool_waiter, link);
  if (now_ns - head->enqueued_ns < POOL_HANDOVER_WAIT_NS ||
      now_ns - pool->last_bound_ns < POOL_HANDOVER_GAP_NS) {
    return false;
  }
  pool->last_bound_ns = now_ns;
  return true;
}

static bool release_step(struct pool *pool, struct slot *slot, uint64_t *word, int64_t now_ns,
                         struct pool_wakes *wakes)
{
  const enum pool_reason reason = closing_reason(pool, slot, *word);
  if (reason != POOL_REASON_NONE) {
    return pool_close_locked(pool, slot, word, reason, now_ns, wakes);
  }
  if ((*word & SLOT_TAINTED) != 0) {
    if (!slot_move(slot, word, SLOT_CLEANING, word_generation(*word), 0)) {
      return false;
    }
    slot->since_ns = now_ns;
    slot->taken = POOL_REASON_NONE;
    pool_todo_locked(pool, slot, POOL_ACT_CLEAN, wakes);
    return true;
  }
  if (must_hand_over(pool, slot, now_ns)) {
    return pool_hand_over_locked(pool, slot, word, now_ns, wakes);
  }
  if (!slot_move(slot, word, SLOT_FREE, word_generation(*word), 0)) {
    return false;
  }
  pool_wake_first_locked(pool, wakes);
  wakes->loop = wakes->loop || pool->pressed; /* others may need it */
  return true;
}

static enum pool_answer release(struct pool *pool, uint32_t index, uint64_t generation,
                                int64_t now_ns, bool used, struct pool_wakes *wakes)
{
  struct slot *slot = slot_find(pool, index);
  if (slot == NULL) {
    return POOL_STALE;
  }
  pool_lock_take(&pool->lock);
  uint64_t word = slot_word(slot);
  enum pool_answer answer;
  while ((answer = holder_answer(word, generation)) == POOL_OK) {
    /* What was measured belongs to this holder, so it is read before the slot changes hands. */
    const bool sampled = (word & SLOT_SAMPLED) != 0;
    const int64_t held = now_ns - atomic_load_explicit(&slot->acquired_ns, memory_order_relaxed);
    if (release_step(pool, slot, &word, now_ns, wakes)) {
      if (sampled && used) {
        cen_hist_record(&pool->hold, held);
      }
      pool->counters.put_back += !used;
      break;
    }
  }
  pool_lock_give(&pool->lock);
  return answer;
}

enum pool_answer pool_release_slow(struct pool *pool, uint32_t index, uint64_t generation,
                                   int64_t now_ns, struct pool_wakes *wakes)
{
  return release(pool, index, generation, now_ns, true, wakes);
}

void pool_put_back(struct pool *pool, const struct pool_grant *grant, int64_t now_ns,
                   struct pool_wakes *wakes)
{
  (void)release(pool, grant->slot, grant->generation, now_ns, false, wakes);
}

enum pool_answer pool_enter(struct pool *pool, uint32_t index, uint64_t generation, void **resource)
{
  *resource = NULL;
  struct slot *slot = slot_find(pool, index);
  if (slot == NULL) {
    return POOL_STALE;
  }
  uint64_t word = slot_word(slot);
  enum pool_answer answer;
  while ((answer = holder_answer(word, generation)) == POOL_OK) {
    if (slot_move(slot, &word, SLOT_CALL, generation, word & SLOT_FLAGS)) {
      *resource = slot->resource;
      break;
    }
  }
  return answer;
}

static enum pool_answer leave_revoked(struct pool *pool, struct slot *slot, int64_t now_ns,
                                      struct pool_wakes *wakes)
{
  pool_lock_take(&pool->lock);
  uint64_t word = slot_word(slot);
  const bool broken =
      (atomic_load_explicit(&slot->session, memory_order_relaxed) & SLOT_SESSION_BROKEN) != 0;
  const bool shutting = atomic_load_explicit(&pool->phase, memory_order_relaxed) != POOL_OPEN;
  if (broken || shutting || (word & SLOT_RETIRE) != 0) {
    const enum pool_reason reason = shutting ? POOL_REASON_SHUTDOWN : slot->obituary.reason;
    pool_close_locked(pool, slot, &word, reason, now_ns, wakes);
  } else if (slot_move(slot, &word, SLOT_CLEANING, word_generation(word), 0)) {
    slot->since_ns = now_ns;
    slot->taken = slot->obituary.reason; /* its own: written when it was marked */
    pool_todo_locked(pool, slot, POOL_ACT_CLEAN, wakes);
  }
  pool_lock_give(&pool->lock);
  return POOL_REVOKED;
}

/* A session died under its holder, and perhaps its server: what rests was proven before that. So
 * that not each of them fails a statement of its own, whoever takes one next checks it first. */
static void doubt_idle(struct pool *pool, int64_t now_ns)
{
  const int64_t behind_ns = INT64_C(1000000000); /* a coarse clock may be behind ours */
  pool_lock_take(&pool->lock);
  const int64_t stale = now_ns - pool->limits.check_after_ns - behind_ns;
  const uint32_t span = atomic_load_explicit(&pool->span, memory_order_relaxed);
  for (uint32_t index = 0; index < span; index++) {
    struct slot *slot = pool_slot(pool, index);
    if (word_state(slot_word(slot)) == SLOT_FREE) {
      atomic_store_explicit(&slot->proven_ns, stale, memory_order_relaxed);
    }
  }
  pool_lock_give(&pool->lock);
}

enum pool_answer pool_leave(struct pool *pool, uint32_t index, uint64_t generation,
                            unsigned session, bool proven, int64_t now_ns, struct pool_wakes *wakes)
{
  struct slot *slot = slot_find(pool, index);
  if (slot == NULL) {
    return POOL_STALE;
  }
  uint64_t word = slot_word(slot);
  if (word_generation(word) != generation || word_state(word) != SLOT_CALL) {
    return POOL_STALE;
  }
  const bool was_broken =
      (atomic_load_explicit(&slot->session, memory_order_relaxed) & SLOT_SESSION_BROKEN) != 0;
  atomic_store_explicit(&slot->session, session, memory_order_relaxed);
  if (proven) {
    atomic_store_explicit(&slot->proven_ns, now_ns, memory_order_relaxed);
  }
  if ((session & SLOT_SESSION_BROKEN) != 0 && !was_broken) {
    doubt_idle(pool, now_ns);
  }
  const uint64_t tainted = session != 0 ? SLOT_TAINTED : 0;
  while ((word & SLOT_REVOKED) == 0) {
    const uint64_t flags = (word & (SLOT_WAITER | SLOT_RETIRE | SLOT_SAMPLED)) | tainted;
    if (slot_move(slot, &word, SLOT_HELD, generation, flags)) {
      return POOL_OK;
    }
  }
  return leave_revoked(pool, slot, now_ns, wakes);
}

enum pool_answer pool_revoke(struct pool *pool, uint32_t index, uint64_t generation, int64_t now_ns,
                             struct pool_wakes *wakes)
{
  struct slot *slot = slot_find(pool, index);
  if (slot == NULL) {
    return POOL_STALE;
  }
  enum pool_answer answer = POOL_STALE;
  pool_lock_take(&pool->lock);
  for (;;) {
    /* Its holder may just go in or out of a call: met again. Over, or another's: not met. */
    const uint64_t word = slot_word(slot);
    const bool leased = word_state(word) == SLOT_HELD || word_state(word) == SLOT_CALL;
    const uint64_t stamp = atomic_load_explicit(&slot->stamp, memory_order_acquire);
    if (word_generation(word) != generation || stamp_generation(stamp) != generation || !leased ||
        (word & SLOT_REVOKED) != 0) {
      break;
    }
    if (pool_revoke_locked(pool, slot, word, POOL_REASON_REVOKED, now_ns, wakes)) {
      answer = POOL_OK;
      break;
    }
  }
  pool_lock_give(&pool->lock);
  return answer;
}

bool pool_is_revoked(struct pool *pool, uint32_t index, uint64_t generation)
{
  struct slot *slot = slot_find(pool, index);
  if (slot == NULL) {
    return true;
  }
  const uint64_t word = slot_word(slot);
  return word_generation(word) != generation || (word & SLOT_REVOKED) != 0;
}

/* One connection was found dead: others may be. What has not answered lately is checked in the
 * background before anyone gets it, so that the next caller pays for one connect at most. */
static void suspect_others(struct pool *pool, int64_t now_ns, struct pool_wakes *wakes)
{
  const uint32_t span = atomic_load_explicit(&pool->span, memory_order_relaxed);
  for (uint32_t index = 0; index < span; index++) {
    struct slot *slot = pool_slot(pool, index);
    uint64_t word = slot_word(slot);
    const int64_t proven = atomic_load_explicit(&slot->proven_ns, memory_order_relaxed);
    if (word_state(word) == SLOT_FREE && now_ns - proven > pool->limits.check_after_ns) {
      pool_check_locked(pool, slot, &word, now_ns, wakes);
    }
  }
}

void pool_discard(struct pool *pool, uint32_t index, uint64_t generation, enum pool_reason reason,
                  int64_t now_ns, struct pool_wakes *wakes)
{
  struct slot *slot = slot_find(pool, index);
  if (slot == NULL) {
    return;
  }
  pool_lock_take(&pool->lock);
  uint64_t word = slot_word(slot);
  while (holder_answer(word, generation) == POOL_OK) {
    if (!pool_close_locked(pool, slot, &word, reason, now_ns, wakes)) {
      continue;
    }
    pool->counters.discarded++;
    if (reason == POOL_REASON_HOOK && pool->next_open_ns < now_ns + pool->limits.backoff_ns) {
      pool->next_open_ns =
          now_ns + pool->limits.backoff_ns; /* it may reject the next one as well */
    }
    if (reason == POOL_REASON_CHECK_FAILED) {
      pool->counters.check_failures++;
      suspect_others(pool, now_ns, wakes);
    }
    pool_fill_locked(pool, now_ns, wakes);
    break;
  }
  pool_lock_give(&pool->lock);
}

bool pool_extend(struct pool *pool, uint32_t index, uint64_t generation, int64_t deadline_ns,
                 int64_t most_ns, int64_t *granted_ns)
{
  struct slot *slot = slot_find(pool, index);
  struct pool_lease_view view;
  bool extended = false;
  if (slot == NULL) {
    return false;
  }
  pool_lock_take(&pool->lock); /* against the janitor, which revokes under it */
  if (pool_view_slot(slot, generation, &view) && !pool_is_revoked(pool, index, generation)) {
    const int64_t most = view.acquired_ns + most_ns;
    *granted_ns = deadline_ns < most ? deadline_ns : most;
    /* Not a store: released and taken again meanwhile, the deadline is somebody else's. It may even
     * be the same, for the clock is coarse: then it is put back before the janitor, who needs the
     * lock, can look at it. */
    int64_t before_ns = view.deadline_ns, after_ns = *granted_ns;
    extended = atomic_compare_exchange_strong_explicit(&slot->deadline_ns, &before_ns, after_ns,
                                                       memory_order_acq_rel, memory_order_relaxed);
    if (extended && word_generation(slot_word(slot)) != generation) {
      extended = false;
      (void)atomic_compare_exchange_strong_explicit(&slot->deadline_ns, &after_ns, view.deadline_ns,
                                                    memory_order_acq_rel, memory_order_relaxed);
    }
  }
  pool_lock_give(&pool->lock);
  return extended;
}
