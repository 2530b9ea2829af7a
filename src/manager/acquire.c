/* acquire.c - getting a lease: at once when a connection is free, else by waiting for one. */
#include "manager/manager.h"

#include <cenote/loop.h>

#include "core/fast.h"
#include "manager/simple.h"
#include "net/park.h"

#include <sched.h>
#include <string.h>

_Thread_local struct last_slot last_slot;

void manager_wake(struct cenote_manager *manager, struct pool_wakes *wakes)
{
  for (;;) {
    for (unsigned i = 0; i < wakes->count; i++) {
      cen_unpark(wakes->word[i]);
    }
    if (wakes->loop) {
      housekeeper_kick(manager);
    }
    if (!wakes->more) {
      return;
    }
    *wakes = (struct pool_wakes){0};
    pool_refuse_more(&manager->pool, wakes);
  }
}

struct pool_ask manager_ask(struct cenote_manager *manager, const char *operation_id,
                            int64_t lease_ms, int64_t now_ns)
{
  const int64_t most = cen_setting(&manager->settings, CEN_SET_LEASE_TIMEOUT);
  const int64_t ms = lease_ms > 0 && lease_ms < most ? lease_ms : most;
  return (struct pool_ask){
      .operation = operation_id,
      .operation_size = operation_length(operation_id),
      .now_ns = now_ns,
      .lease_ns = ms * CEN_NS_PER_MS,
  };
}

/* -------------------------------------------------------------------- waiting */

/* What only rests on the simple path is as good as free, but it takes a round trip to come back. */
enum { RESTING_MS = 50 };

/* `asked_ns`: since when, of one whose connection was no good; else 0. */
static cenote_status wait_for(struct cenote_manager *manager, struct pool_ask *ask,
                              int64_t asked_ns, int64_t deadline_ns, struct pool_grant *grant)
{
  struct pool_waiter waiter;
  struct pool_wakes wakes = {0};
  pool_waiter_init(&waiter, false);
  waiter.asked_ns = asked_ns;
  bool settled = pool_wait(&manager->pool, &waiter, cen_now_ns(), &wakes);
  manager_wake(manager, &wakes);
  if (!settled && simple_yield(manager) && !manager_must_not_block(manager)) {
    const int64_t back_ns = cen_deadline_ns(cen_now_ns(), RESTING_MS);
    deadline_ns = deadline_ns > back_ns ? deadline_ns : back_ns;
  }
  while (!settled) {
    wakes = (struct pool_wakes){0};
    switch (atomic_load_explicit(&waiter.signal, memory_order_acquire)) {
    case POOL_PARKED:
      if (!cen_park(&waiter.signal, POOL_PARKED, deadline_ns)) {
        pool_give_up(&manager->pool, &waiter, CENOTE_TIMEOUT, cen_now_ns(), &wakes);
        settled = true;
      }
      break;
    case POOL_WOKEN:
      settled = pool_rescan(&manager->pool, &waiter, cen_now_ns(), &wakes);
      break;
    default:
      settled = true;
    }
    manager_wake(manager, &wakes);
  }
  if (waiter.status == CENOTE_OK) {
    ask->now_ns = cen_now_ns();
    pool_accept(&manager->pool, &waiter, ask, grant);
  }
  return waiter.status;
}

enum { LEAST_CHECK_MS = 250 };

int64_t check_deadline(const struct cenote_manager *manager, int64_t now_ns, int64_t deadline_ns)
{
  const int64_t most = cen_setting(&manager->settings, CEN_SET_CONNECT_TIMEOUT);
  const int64_t least = cen_deadline_ns(now_ns, LEAST_CHECK_MS < most ? LEAST_CHECK_MS : most);
  const int64_t patience = cen_deadline_ns(now_ns, most);
  const int64_t until = deadline_ns > least ? deadline_ns : least;
  return until < patience ? until : patience;
}

/* A connection that has not answered lately is checked by its new holder, on the holder's thread. */
static bool is_alive(struct cenote_manager *manager, const struct pool_grant *grant,
                     int64_t deadline_ns)
{
  struct session *session;
  void *resource;
  if (pool_enter(&manager->pool, grant->slot, grant->generation, &resource) != POOL_OK) {
    return false;
  }
  session = resource;
  cenote_request request = {.size = sizeof request, .kind = CENOTE_REQUEST_CHECK};
  atomic_fetch_add_explicit(&manager->checks, 1, memory_order_relaxed);
  const cenote_status status =
      call_run(session, &request, check_deadline(manager, cen_now_ns(), deadline_ns), NULL);
  struct pool_wakes wakes = {0};
  manager_note_check(manager, status == CENOTE_OK);
  const enum pool_answer answer = pool_leave(&manager->pool, grant->slot, grant->generation,
                                             status == CENOTE_OK ? 0 : SLOT_SESSION_BROKEN,
                                             status == CENOTE_OK, cen_now_ns(), &wakes);
  manager_wake(manager, &wakes);
  return status == CENOTE_OK && answer == POOL_OK;
}

static bool hook_agrees(struct cenote_manager *manager, const struct pool_grant *grant)
{
  void *resource;
  if (!atomic_load_explicit(&manager->hooked, memory_order_relaxed)) {
    return true;
  }
  if (pool_enter(&manager->pool, grant->slot, grant->generation, &resource) != POOL_OK) {
    return false;
  }
  struct session *session = resource;
  const bool agrees = manager->options.hook(manager->options.hook_context, CENOTE_HOOK_BEFORE_LEASE,
                                            manager->driver->resource(session->connection), "");
  struct pool_wakes wakes = {0};
  const enum pool_answer answer =
      pool_leave(&manager->pool, grant->slot, grant->generation, 0, false, cen_now_ns(), &wakes);
  manager_wake(manager, &wakes);
  return agrees && answer == POOL_OK;
}

static bool is_usable(struct cenote_manager *manager, const struct pool_grant *grant,
                      int64_t deadline_ns)
{
  enum pool_reason reason = POOL_REASON_NONE;
  if (grant->must_check && !is_alive(manager, grant, deadline_ns)) {
    reason = POOL_REASON_CHECK_FAILED;
  } else if (!hook_agrees(manager, grant)) {
    reason = POOL_REASON_HOOK;
  }
  if (reason == POOL_REASON_NONE) {
    return true;
  }
  struct pool_wakes wakes = {0};
  pool_discard(&manager->pool, grant->slot, grant->generation, reason, cen_now_ns(), &wakes);
  manager_wake(manager, &wakes);
  return false;
}

static void give_back(struct cenote_manager *manager, const struct pool_grant *grant)
{
  struct pool_wakes wakes = {0};
  pool_put_back(&manager->pool, grant, cen_now_ns(), &wakes);
  manager_wake(manager, &wakes);
}

/* What the fast path could not finish: waiting, checking, hooks. */
static cenote_status acquire_visited(struct cenote_manager *manager, struct pool_ask *ask,
                                     bool taken, struct pool_grant *grant, int64_t timeout_ms,
                                     cenote_error *error)
{
  const int64_t start = cen_now_ns();
  if (timeout_ms < 0) {
    timeout_ms = cen_setting(&manager->settings, CEN_SET_ACQUIRE_TIMEOUT);
  }
  const int64_t deadline = cen_deadline_ns(start, timeout_ms);
  int64_t asked_ns = 0;
  for (;;) {
    if (!taken) {
      const cenote_status status = wait_for(manager, ask, asked_ns, deadline, grant);
      if (status == CENOTE_QUEUE_FULL) {
        sched_yield(); /* who asks again at once must not keep the lock from those who serve */
      }
      if (status != CENOTE_OK) {
        return acquire_failed(manager, status, (cen_now_ns() - start) / CEN_NS_PER_MS, error);
      }
    } else if (grant->sampled) {
      pool_restamp(&manager->pool, grant, start);
    }
    if (grant->must_check && manager_must_not_block(manager)) {
      give_back(manager, grant);
      return acquire_failed(manager, CENOTE_TIMEOUT, 0, error);
    }
    if (is_usable(manager, grant, deadline)) {
      return CENOTE_OK;
    }
    asked_ns = start; /* he keeps his place among those who wait */
    ask->now_ns = cen_now_ns();
    taken = pool_take(&manager->pool, UINT32_MAX, ask, grant);
  }
}

static cenote_status acquire_slowly(struct cenote_manager *manager, struct pool_ask *ask,
                                    bool taken, struct pool_grant *grant, int64_t timeout_ms,
                                    cenote_error *error)
{
  manager_visit(manager);
  const cenote_status status = acquire_visited(manager, ask, taken, grant, timeout_ms, error);
  manager_unvisit(manager);
  return status;
}

static void remember(struct cenote_manager *manager, const struct pool_grant *grant,
                     cenote_lease *lease)
{
  last_slot.manager = manager;
  last_slot.slot = pool_slot(&manager->pool, grant->slot);
  last_slot.lease = (cenote_lease){manager->id, grant->slot, grant->generation};
  *lease = last_slot.lease;
}

/* Everything but the fast path's case. */
static cenote_status acquire_fully(struct cenote_manager *manager, struct pool_ask *ask,
                                   int64_t timeout_ms, cenote_lease *lease, cenote_error *error)
{
  struct pool_grant grant;
  if (manager_is_foreign(manager)) {
    return manager_foreign_error(error);
  }
  if (timeout_ms != 0 && manager_must_not_block(manager)) {
    return cenote_error_set(error, CENOTE_INVALID,
                            "an acquire on the loop's own thread must not block: use "
                            "cenote_acquire_async, or a timeout of 0");
  }
  const cenote_status admitted = manager_admit(manager, error);
  if (admitted != CENOTE_OK) {
    return admitted;
  }
  const uint32_t hint = last_slot.manager == manager ? last_slot.lease.slot : 0;
  const bool found = pool_take(&manager->pool, hint, ask, &grant);
  const bool simple = found && !grant.must_check && !grant.sampled &&
                      !atomic_load_explicit(&manager->hooked, memory_order_relaxed);
  if (!simple) {
    const cenote_status status = acquire_slowly(manager, ask, found, &grant, timeout_ms, error);
    if (status != CENOTE_OK) {
      return status;
    }
  }
  remember(manager, &grant, lease);
  return CENOTE_OK;
}

__attribute__((noinline)) static cenote_status acquire_anywhere(struct cenote_manager *manager,
                                                                const char *operation_id,
                                                                int64_t timeout_ms,
                                                                cenote_lease *lease,
                                                                cenote_error *error)
{
  if (manager == NULL || lease == NULL) {
    return cenote_error_set(error, CENOTE_INVALID, "%s: NULL",
                            manager == NULL ? "manager" : "lease");
  }
  *lease = (cenote_lease){0};
  struct pool_ask ask = manager_ask(manager, operation_id, 0, cen_now_coarse_ns());
  return acquire_fully(manager, &ask, timeout_ms, lease, error);
}

/* Of the fast path's 11 ns a canary costs more than half a one, and all there is to guard is the
 * kernel's own timespec. */
#if defined(__has_attribute)
#if __has_attribute(no_stack_protector)
#define WITHOUT_CANARY __attribute__((no_stack_protector))
#endif
#endif
#ifndef WITHOUT_CANARY
#define WITHOUT_CANARY
#endif

/*
 * The fast path. A locked instruction waits for every store before it, and loads after it wait for
 * the lock: so few stores, and whatever can be known before the CAS is looked up before it. The
 * lease, too, is written before: it is the caller's to read at once.
 */
cenote_status cenote_acquire(cenote_manager *manager, const char *operation_id, int64_t timeout_ms,
                             cenote_lease *lease, cenote_error *error)
{
  if (manager == NULL || lease == NULL || last_slot.manager != manager ||
      atomic_load_explicit(&manager->pool.gate, memory_order_acquire) != 0) {
    return acquire_anywhere(manager, operation_id, timeout_ms, lease, error);
  }
  const int64_t now = cen_now_coarse_ns();
  struct slot *slot = last_slot.slot;
  const int64_t lease_ns = atomic_load_explicit(&manager->pool.lease_ns, memory_order_relaxed);
  const bool usual = slot_is_usual(&manager->pool, slot, now);
  uint64_t word = slot_word(slot);
  const uint64_t generation = word_generation(word) + 1;
  memcpy(lease, &last_slot.lease, offsetof(cenote_lease, generation)); /* read as one word */
  lease->generation = generation;
  if (!usual || !slot_take(slot, &word, 0)) {
    return acquire_anywhere(manager, operation_id, timeout_ms, lease, error);
  }
  slot_stamp(slot, generation, operation_id, operation_length(operation_id), now, lease_ns);
  return CENOTE_OK;
}

bool cenote_acquire_now(cenote_manager *manager, const char *operation_id, cenote_lease *lease)
{
  struct pool_grant grant;
  if (lease != NULL) {
    *lease = (cenote_lease){0};
  }
  if (manager == NULL || lease == NULL || manager_is_foreign(manager) ||
      manager_admit(manager, NULL) != CENOTE_OK) {
    return false;
  }
  struct pool_ask ask = manager_ask(manager, operation_id, 0, cen_now_coarse_ns());
  const uint32_t hint = last_slot.manager == manager ? last_slot.lease.slot : 0;
  if (!pool_take(&manager->pool, hint, &ask, &grant)) {
    return false;
  }
  if (grant.must_check || atomic_load_explicit(&manager->hooked, memory_order_relaxed)) {
    manager_visit(manager);
    give_back(manager, &grant);
    manager_unvisit(manager);
    return false;
  }
  if (grant.sampled) {
    pool_restamp(&manager->pool, &grant, cen_now_ns());
  }
  remember(manager, &grant, lease);
  return true;
}

cenote_status acquire_until(struct cenote_manager *manager, const char *operation_id,
                            int64_t until_ns, int64_t lease_ns, cenote_lease *lease,
                            cenote_error *error)
{
  const int64_t now = cen_now_ns();
  const int64_t left_ms = (until_ns - now + CEN_NS_PER_MS - 1) / CEN_NS_PER_MS;
  struct pool_ask ask = manager_ask(manager, operation_id, 0, now);
  *lease = (cenote_lease){0};
  ask.lease_ns = lease_ns;
  const cenote_status status =
      acquire_fully(manager, &ask, left_ms > 0 ? left_ms : 0, lease, error);
  if (status == CENOTE_OK && lease_ns < 2 * manager->heartbeat_ns) {
    housekeeper_kick(manager); /* shorter than the janitor's rhythm: it must look sooner */
  }
  return status;
}

static int64_t smaller_positive(int64_t a, int64_t b)
{
  if (a <= 0 || b <= 0) {
    return a > 0 ? a : b;
  }
  return a < b ? a : b;
}

cenote_status cenote_acquire_with(cenote_manager *manager, const char *operation_id,
                                  const cenote_acquire_options *options, cenote_lease *lease,
                                  cenote_error *error)
{
  if (manager == NULL || lease == NULL || options == NULL) {
    return cenote_error_set(error, CENOTE_INVALID, "%s: NULL",
                            manager == NULL ? "manager"
                            : lease == NULL ? "lease"
                                            : "options");
  }
  *lease = (cenote_lease){0};
  if (options->size < sizeof *options) {
    return cenote_error_set(error, CENOTE_INVALID,
                            "options: size %zu; start with CENOTE_ACQUIRE_OPTIONS_INIT",
                            options->size);
  }
  const int64_t lease_ms = smaller_positive(options->lease_ms, options->remaining_ms);
  int64_t timeout_ms = options->timeout_ms;
  if (timeout_ms < 0) {
    timeout_ms = cen_setting(&manager->settings, CEN_SET_ACQUIRE_TIMEOUT);
  }
  if (options->remaining_ms > 0 && timeout_ms > options->remaining_ms) {
    timeout_ms = options->remaining_ms;
  }
  const int64_t start = cen_now_coarse_ns();
  struct pool_ask ask = manager_ask(manager, operation_id, lease_ms, start);
  const cenote_status status = acquire_fully(manager, &ask, timeout_ms, lease, error);
  if (status == CENOTE_OK && options->remaining_ms > 0) {
    /* The time waited is gone from what was left. */
    const int64_t end = cen_deadline_ns(start, options->remaining_ms);
    int64_t granted;
    if (end < ask.now_ns + ask.lease_ns) {
      (void)pool_extend(&manager->pool, lease->slot, lease->generation, end, ask.lease_ns,
                        &granted);
    }
  }
  if (status == CENOTE_OK && lease_ms > 0 && ask.lease_ns < 2 * manager->heartbeat_ns) {
    housekeeper_kick(manager); /* shorter than the janitor's rhythm: it must look sooner */
  }
  return status;
}
