/* look.c - seeing what the pool does without disturbing it, and checking that its books agree. */
#include "core/pool.h"

#include <string.h>

const char *pool_reason_text(enum pool_reason reason)
{
  static const char *const text[POOL_REASON_COUNT] = {
#define POOL_REASON_TEXT(name, word) word,
      POOL_REASONS(POOL_REASON_TEXT)
#undef POOL_REASON_TEXT
  };
  return reason < POOL_REASON_COUNT ? text[reason] : "none";
}

static void add_counts(struct pool *pool, struct pool_picture *picture)
{
  const uint32_t span = atomic_load_explicit(&pool->span, memory_order_relaxed);
  for (uint32_t index = 0; index < span; index++) {
    struct slot *slot = pool_slot(pool, index);
    const uint64_t word = slot_word(slot); /* once, or a lease begun meanwhile counts on one side */
    picture->by_state[word_state(word)]++;
    picture->revoked += (word & SLOT_REVOKED) != 0;
    picture->grants += word_generation(word) - slot->first_generation;
  }
}

static cenote_state user_state(const struct pool *pool, const struct pool_picture *picture)
{
  switch (atomic_load_explicit(&pool->phase, memory_order_relaxed)) {
  case POOL_DRAINING:
    return CENOTE_STATE_DRAINING;
  case POOL_SHUTDOWN:
    return CENOTE_STATE_SHUTDOWN;
  default:
    return picture->by_state[SLOT_HELD] + picture->by_state[SLOT_CALL] > 0 ? CENOTE_STATE_ACTIVE
                                                                           : CENOTE_STATE_IDLE;
  }
}

void pool_look(struct pool *pool, int64_t now_ns, struct pool_picture *picture)
{
  memset(picture, 0, sizeof *picture);
  pool_lock_take(&pool->lock);
  add_counts(pool, picture);
  picture->state = user_state(pool, picture);
  picture->live = pool->live;
  picture->minimum = pool->limits.minimum;
  picture->maximum = pool->limits.maximum;
  picture->quota = pool->quota;
  picture->waiters = pool->waiters;
  if (!cen_list_empty(&pool->queue)) {
    const struct pool_waiter *head = CEN_CONTAINER(pool->queue.next, struct pool_waiter, link);
    picture->longest_wait_ns = now_ns - head->enqueued_ns;
  }
  picture->counters = pool->counters;
  picture->failure = pool->failure;
  picture->open_failures = pool->open_failures;
  pool_lock_give(&pool->lock);

  /* A lease ends by release, expiry, revoke, force or discard: what is none of the others was a
   * release. One that was taken back from inside a call is among those already. */
  const uint64_t leased =
      picture->by_state[SLOT_HELD] + picture->by_state[SLOT_CALL] - picture->revoked;
  const uint64_t nobodys = picture->counters.discarded + picture->counters.put_back;
  const uint64_t others =
      leased + picture->counters.expired + picture->counters.revoked + picture->counters.forced;
  picture->grants = picture->grants > nobodys ? picture->grants - nobodys : 0;
  picture->releases = picture->grants > others ? picture->grants - others : 0;
}

bool pool_view_slot(struct slot *slot, uint64_t generation, struct pool_lease_view *view)
{
  const uint64_t stamp = atomic_load_explicit(&slot->stamp, memory_order_acquire);
  if (stamp_generation(stamp) != generation) {
    return false;
  }
  view->slot = slot->index;
  view->generation = generation;
  view->acquired_ns = atomic_load_explicit(&slot->acquired_ns, memory_order_acquire);
  view->deadline_ns = atomic_load_explicit(&slot->deadline_ns, memory_order_acquire);
  const int64_t proven = atomic_load_explicit(&slot->proven_ns, memory_order_relaxed);
  view->used_ns = proven > view->acquired_ns ? proven : view->acquired_ns;
  const uint32_t size = stamp_size(stamp);
  for (uint32_t at = 0; at < size; at += 8) {
    const uint64_t piece = atomic_load_explicit(&slot->operation[at / 8], memory_order_acquire);
    memcpy(view->operation + at, &piece, 8);
  }
  view->operation[size] = '\0';
  /* Anything read of a later holder's would have shown us its generation too. */
  const uint64_t word = slot_word(slot);
  view->in_call = word_state(word) == SLOT_CALL;
  return word_generation(word) == generation &&
         (word_state(word) == SLOT_HELD || word_state(word) == SLOT_CALL);
}

bool pool_view(struct pool *pool, uint32_t index, uint64_t generation, struct pool_lease_view *view)
{
  return index < atomic_load_explicit(&pool->span, memory_order_acquire) &&
         pool_view_slot(pool_slot(pool, index), generation, view);
}

uint64_t pool_number(struct pool *pool, uint32_t index, uint64_t generation)
{
  if (index >= atomic_load_explicit(&pool->span, memory_order_acquire)) {
    return 0;
  }
  struct slot *slot = pool_slot(pool, index);
  pool_lock_take(&pool->lock);
  const uint64_t word = slot_word(slot);
  const bool held = word_generation(word) == generation &&
                    (word_state(word) == SLOT_HELD || word_state(word) == SLOT_CALL);
  const uint64_t number = held ? slot->number : 0;
  pool_lock_give(&pool->lock);
  return number;
}

size_t pool_views(struct pool *pool, struct pool_lease_view *views, size_t capacity)
{
  size_t count = 0;
  const uint32_t span = atomic_load_explicit(&pool->span, memory_order_acquire);
  for (uint32_t index = 0; index < span; index++) {
    struct slot *slot = pool_slot(pool, index);
    struct pool_lease_view view;
    if (pool_view_slot(slot, word_generation(slot_word(slot)), &view)) {
      if (count < capacity) {
        views[count] = view;
      }
      count++;
    }
  }
  return count;
}

bool pool_was_taken(struct pool *pool, uint32_t index, uint64_t generation,
                    struct slot_obituary *obituary)
{
  if (index >= atomic_load_explicit(&pool->span, memory_order_acquire) || generation == 0) {
    return false;
  }
  pool_lock_take(&pool->lock);
  *obituary = pool_slot(pool, index)->obituary;
  pool_lock_give(&pool->lock);
  return obituary->generation == generation;
}

bool pool_is_short(struct pool *pool)
{
  pool_lock_take(&pool->lock);
  const bool full = pool->live >= pool_room_locked(pool) || pool->open_failures > 0;
  const bool is_short = pool->waiters > pool->opening && full;
  pool_lock_give(&pool->lock);
  return is_short;
}

size_t pool_openings(struct pool *pool, int64_t *since_ns, size_t capacity)
{
  size_t count = 0;
  pool_lock_take(&pool->lock);
  const uint32_t span = atomic_load_explicit(&pool->span, memory_order_relaxed);
  for (uint32_t index = 0; index < span; index++) {
    const struct slot *slot = pool_slot(pool, index);
    if (word_state(slot_word(slot)) == SLOT_OPENING) {
      if (count < capacity) {
        since_ns[count] = slot->since_ns;
      }
      count++;
    }
  }
  pool_lock_give(&pool->lock);
  return count;
}

/* ---------------------------------------------------------------- invariants */

static const char *check_slots(struct pool *pool)
{
  uint32_t live = 0, opening = 0, closing = 0, todo = 0;
  const bool parked = pool->waiters > 0 && pool->awake == 0;
  const bool over = pool_is_over_locked(pool);
  const uint32_t span = atomic_load_explicit(&pool->span, memory_order_relaxed);
  for (uint32_t index = 0; index < span; index++) {
    struct slot *slot = pool_slot(pool, index);
    const uint64_t word = slot_word(slot);
    const enum slot_state state = word_state(word);
    live += state != SLOT_EMPTY;
    opening += state == SLOT_OPENING;
    closing += state == SLOT_CLOSING;
    todo += slot->todo != POOL_ACT_NONE;
    if (slot->index != index) {
      return "a slot has forgotten its index";
    }
    if ((state == SLOT_FREE || state == SLOT_EMPTY) && (word & SLOT_FLAGS) != 0) {
      return "a slot without a holder carries a flag";
    }
    if ((word & SLOT_REVOKED) != 0 && state != SLOT_CALL) {
      return "REVOKED outside a call";
    }
    if (parked && (state == SLOT_HELD || state == SLOT_CALL) && (word & SLOT_WAITER) == 0) {
      return "somebody waits and a held slot is not marked";
    }
    if (over && state == SLOT_FREE) {
      return "a slot is free above the quota";
    }
    if (over && (state == SLOT_HELD || state == SLOT_CALL) &&
        (word & (SLOT_WAITER | SLOT_RETIRE | SLOT_REVOKED)) == 0) {
      return "a held slot above the quota would come back unseen";
    }
    if (parked && state == SLOT_FREE) {
      return "somebody sleeps beside a free slot";
    }
    if (state == SLOT_EMPTY && slot->todo != POOL_ACT_NONE) {
      return "an empty slot has something to do";
    }
    if (state == SLOT_EMPTY && slot->resource != NULL) {
      return "an empty slot has a connection";
    }
    if ((slot->todo != POOL_ACT_NONE) == cen_list_empty(&slot->todo_link)) {
      return "an action and its queue disagree";
    }
  }
  if (live != pool->live || opening != pool->opening || closing != pool->closing) {
    return "a count of slots is wrong";
  }
  uint32_t queued = 0;
  for (const struct cen_link *at = pool->todo.next; at != &pool->todo; at = at->next) {
    queued++;
  }
  return queued == todo ? NULL : "the list of actions has lost or gained one";
}

static const char *check_queue(const struct pool *pool)
{
  uint32_t waiters = 0, awake = 0;
  for (const struct cen_link *at = pool->queue.next; at != &pool->queue; at = at->next) {
    const struct pool_waiter *waiter = CEN_CONTAINER(at, const struct pool_waiter, link);
    const uint32_t signal = atomic_load_explicit(&waiter->signal, memory_order_relaxed);
    waiters++;
    awake += signal == POOL_WOKEN;
    if (!waiter->queued || signal == POOL_SETTLED) {
      return "a settled waiter is still queued";
    }
  }
  if (waiters != pool->waiters || awake != pool->awake) {
    return "a count of waiters is wrong";
  }
  if (waiters > 0 && atomic_load_explicit(&pool->phase, memory_order_relaxed) == POOL_SHUTDOWN) {
    return "somebody waits for a pool that is shut down";
  }
  return NULL;
}

const char *pool_check(struct pool *pool)
{
  pool_lock_take(&pool->lock);
  const char *wrong = check_slots(pool);
  if (wrong == NULL) {
    wrong = check_queue(pool);
  }
  pool_lock_give(&pool->lock);
  return wrong;
}
