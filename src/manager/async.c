/* async.c - acquires that do not block: the housekeeper waits for them and calls back. */
#include "manager/async.h"

#include "base/error.h"
#include "manager/query.h"
#include "manager/simple.h"
#include "manager/transact.h"

#include <stdlib.h>
#include <string.h>

/* ----------------------------------------------------------------- any thread */

void acquisition_start(struct acquisition *fresh, cenote_ticket *handle)
{
  struct cenote_manager *manager = fresh->manager;
  struct pool_wakes wakes = {0};
  fresh->start_ns = cen_now_ns();
  fresh->checking = false;
  pool_waiter_init(&fresh->waiter, true);
  const cenote_status admitted = manager_admit(manager, NULL);

  /* Under the list's lock, so that the housekeeper never meets one that is half queued. The
   * pool's lock is taken inside; nobody takes them the other way round. */
  pthread_mutex_lock(&manager->async_lock);
  bool waits = false;
  if (admitted == CENOTE_OK) {
    waits = !pool_wait(&manager->pool, &fresh->waiter, fresh->start_ns, &wakes);
  } else {
    fresh->waiter.status = admitted;
    atomic_store_explicit(&fresh->waiter.signal, POOL_SETTLED, memory_order_release);
  }
  cen_list_push_back(&manager->asking, &fresh->link);
  if (handle != NULL) {
    ticket_issue_locked(manager, &fresh->ticket, handle);
  }
  pthread_mutex_unlock(&manager->async_lock);
  manager_wake(manager, &wakes);
  if (waits) {
    simple_yield(manager);
  }
  housekeeper_kick(manager);
}

cenote_status acquisition_cancel_locked(struct acquisition *acquisition, struct pool_wakes *wakes)
{
  pool_give_up(&acquisition->manager->pool, &acquisition->waiter, CENOTE_CANCELLED, cen_now_ns(),
               wakes);
  return acquisition->waiter.status == CENOTE_CANCELLED ? CENOTE_OK : CENOTE_STALE;
}

/* One of cenote_acquire_async. */
struct asked {
  struct acquisition acquisition;
  cenote_acquire_callback callback;
  void *context;
};

static void tell(struct acquisition *acquisition, cenote_status status, cenote_lease lease,
                 cenote_error *error)
{
  struct asked *asked = CEN_CONTAINER(acquisition, struct asked, acquisition);
  asked->callback(asked->context, status, lease, error);
  free(asked);
}

static cenote_status cancel(struct cenote_manager *manager, struct ticket *ticket,
                            struct pool_wakes *wakes)
{
  (void)manager;
  return acquisition_cancel_locked(CEN_CONTAINER(ticket, struct acquisition, ticket), wakes);
}

cenote_status cenote_acquire_async(cenote_manager *manager, const char *operation_id,
                                   int64_t timeout_ms, cenote_acquire_callback callback,
                                   void *context, cenote_ticket *ticket, cenote_error *error)
{
  if (ticket != NULL) {
    *ticket = (cenote_ticket){0};
  }
  if (manager == NULL || callback == NULL) {
    return cenote_error_set(error, CENOTE_INVALID, "%s: NULL",
                            manager == NULL ? "manager" : "callback");
  }
  if (manager_is_foreign(manager)) {
    return manager_foreign_error(error);
  }
  struct asked *fresh = calloc(1, sizeof *fresh);
  if (fresh == NULL) {
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory: acquire");
  }
  if (timeout_ms < 0) {
    timeout_ms = cen_setting(&manager->settings, CEN_SET_ACQUIRE_TIMEOUT);
  }
  fresh->callback = callback;
  fresh->context = context;
  struct acquisition *acquisition = &fresh->acquisition;
  acquisition->manager = manager;
  acquisition->deadline_ns = cen_deadline_ns(cen_now_ns(), timeout_ms);
  acquisition->done = tell;
  acquisition->ticket.kind = TICKET_ACQUIRE;
  acquisition->ticket.cancel = cancel;
  if (operation_id != NULL) {
    memcpy(acquisition->operation, operation_id, strnlen(operation_id, CEN_MAX_OPERATION_ID));
  }
  acquisition_start(acquisition, ticket);
  return CENOTE_OK;
}

cenote_status cenote_cancel_acquire(cenote_ticket ticket)
{
  return ticket_cancel(ticket, TICKET_ACQUIRE);
}

/* --------------------------------------------------------- the housekeeper's side */

/* Takes it out of the list: from here on nobody else knows it. */
static void take_out(struct acquisition *acquisition)
{
  struct cenote_manager *manager = acquisition->manager;
  pthread_mutex_lock(&manager->async_lock);
  cen_list_remove(&acquisition->link);
  ticket_end_locked(manager, &acquisition->ticket);
  pthread_mutex_unlock(&manager->async_lock);
}

static void deliver(struct acquisition *acquisition, cenote_status status, cenote_lease lease)
{
  struct cenote_manager *manager = acquisition->manager;
  cenote_error error;
  cen_error_begin(&error);
  take_out(acquisition);
  if (status != CENOTE_OK) {
    const int64_t waited = (cen_now_ns() - acquisition->start_ns) / CEN_NS_PER_MS;
    acquire_failed(manager, status, waited, &error);
  }
  acquisition->done(acquisition, status, lease, &error);
}

static bool hook_rejects(struct cenote_manager *manager, const struct session *session)
{
  return atomic_load_explicit(&manager->hooked, memory_order_relaxed) &&
         !manager->options.hook(manager->options.hook_context, CENOTE_HOOK_BEFORE_LEASE,
                                manager->driver->resource(session->connection), "");
}

/* The time waited is gone from what was left. */
static struct pool_ask ask_for(const struct acquisition *acquisition)
{
  struct pool_ask ask = manager_ask(acquisition->manager, acquisition->operation, 0, cen_now_ns());
  if (acquisition->lease_ns > 0) {
    ask.lease_ns = acquisition->lease_ns;
  }
  if (acquisition->lease_end_ns != 0 && acquisition->lease_end_ns - ask.now_ns < ask.lease_ns) {
    ask.lease_ns = acquisition->lease_end_ns - ask.now_ns;
  }
  ask.lease_ns = ask.lease_ns > CEN_NS_PER_MS ? ask.lease_ns : CEN_NS_PER_MS;
  return ask;
}

/* Granted: stamped, checked where it must be, then delivered. */
static void accept_grant(struct acquisition *acquisition)
{
  struct cenote_manager *manager = acquisition->manager;
  struct pool_ask ask = ask_for(acquisition);
  struct pool_grant grant;
  pool_accept(&manager->pool, &acquisition->waiter, &ask, &grant);
  if (ask.lease_ns < 2 * manager->heartbeat_ns) {
    housekeeper_kick(manager); /* shorter than the janitor's rhythm: it must look sooner */
  }
  const bool hooked = atomic_load_explicit(&manager->hooked, memory_order_relaxed);
  if (!grant.must_check && !hooked) {
    deliver(acquisition, CENOTE_OK, (cenote_lease){manager->id, grant.slot, grant.generation});
    return;
  }
  void *resource;
  if (pool_enter(&manager->pool, grant.slot, grant.generation, &resource) == POOL_OK) {
    acquisition->checking = grant.must_check;
    if (grant.must_check) {
      errand_check_lease(resource, acquisition,
                         check_deadline(manager, cen_now_ns(), acquisition->deadline_ns));
    } else {
      async_checked(acquisition, resource, true);
    }
  } else { /* taken back already, by a shutdown */
    deliver(acquisition, CENOTE_SHUTTING_DOWN, (cenote_lease){0});
  }
}

void async_checked(struct acquisition *acquisition, struct session *session, bool good)
{
  struct cenote_manager *manager = acquisition->manager;
  const uint32_t slot = acquisition->waiter.slot;
  const uint64_t generation = acquisition->waiter.generation;
  const bool rejected = good && hook_rejects(manager, session);
  struct pool_wakes wakes = {0};
  const bool proven = good && acquisition->checking;
  if (acquisition->checking) {
    manager_note_check(manager, good);
  }
  acquisition->checking = false;
  const enum pool_answer answer =
      pool_leave(&manager->pool, slot, generation, good ? 0 : SLOT_SESSION_BROKEN, proven,
                 cen_now_ns(), &wakes);
  if (answer == POOL_OK && (!good || rejected)) {
    pool_discard(&manager->pool, slot, generation,
                 rejected ? POOL_REASON_HOOK : POOL_REASON_CHECK_FAILED, cen_now_ns(), &wakes);
  }
  manager_wake(manager, &wakes);
  if (answer == POOL_OK && good && !rejected) {
    deliver(acquisition, CENOTE_OK, (cenote_lease){manager->id, slot, generation});
    return;
  }
  /* Once more, with what is left of its time, at its place among those who wait. */
  const int64_t asked_ns = acquisition->waiter.enqueued_ns;
  wakes = (struct pool_wakes){0};
  pthread_mutex_lock(&manager->async_lock);
  pool_waiter_init(&acquisition->waiter, true);
  acquisition->waiter.asked_ns = asked_ns;
  (void)pool_wait(&manager->pool, &acquisition->waiter, cen_now_ns(), &wakes);
  pthread_mutex_unlock(&manager->async_lock);
  manager_wake(manager, &wakes);
  housekeeper_kick(manager);
}

/* One look: settles it if its time has come. It may be delivered, and gone, afterwards. */
static void look(struct acquisition *acquisition, int64_t now_ns)
{
  struct cenote_manager *manager = acquisition->manager;
  struct pool_waiter *waiter = &acquisition->waiter;
  struct pool_wakes wakes = {0};
  uint32_t signal = atomic_load_explicit(&waiter->signal, memory_order_acquire);
  if (signal == POOL_WOKEN) {
    (void)pool_rescan(&manager->pool, waiter, now_ns, &wakes);
  } else if (signal == POOL_PARKED && now_ns >= acquisition->deadline_ns) {
    pool_give_up(&manager->pool, waiter, CENOTE_TIMEOUT, now_ns, &wakes);
  }
  manager_wake(manager, &wakes);
  if (atomic_load_explicit(&waiter->signal, memory_order_acquire) != POOL_SETTLED) {
    return;
  }
  if (waiter->status == CENOTE_OK) {
    accept_grant(acquisition);
  } else {
    deliver(acquisition, waiter->status, (cenote_lease){0});
  }
}

static bool is_due(const struct acquisition *acquisition, int64_t now_ns)
{
  return !acquisition->checking &&
         (atomic_load_explicit(&acquisition->waiter.signal, memory_order_acquire) != POOL_PARKED ||
          now_ns >= acquisition->deadline_ns);
}

/* Once through those who ask now; who is added or woken meanwhile kicks, and is met in the next
 * turn, so that a callback that asks again does not hold up the loop. The lock is given back for
 * each look, but only the housekeeper takes out, and only the one it looks at: the others stay. */
int64_t async_turn(struct cenote_manager *manager, int64_t now_ns)
{
  int64_t next_ns = CEN_NEVER;
  pthread_mutex_lock(&manager->async_lock);
  struct cen_link *const last = manager->asking.prev;
  struct cen_link *next = manager->asking.next;
  for (struct cen_link *at = NULL; at != last && next != &manager->asking;) {
    struct acquisition *acquisition = CEN_CONTAINER(next, struct acquisition, link);
    at = next;
    next = next->next;
    if (!acquisition->checking && acquisition->deadline_ns > now_ns) {
      next_ns = acquisition->deadline_ns < next_ns ? acquisition->deadline_ns : next_ns;
    }
    if (is_due(acquisition, now_ns)) {
      pthread_mutex_unlock(&manager->async_lock);
      look(acquisition, now_ns);
      pthread_mutex_lock(&manager->async_lock);
    }
  }
  pthread_mutex_unlock(&manager->async_lock);
  return next_ns;
}

static bool somebody_asks(struct cenote_manager *manager)
{
  pthread_mutex_lock(&manager->async_lock);
  const bool asks = !cen_list_empty(&manager->asking);
  pthread_mutex_unlock(&manager->async_lock);
  return asks;
}

/* Callbacks that ask again are refused again; who never stops asking is left behind. */
void async_finish(struct cenote_manager *manager)
{
  for (int i = 0; i < 100; i++) {
    const bool queries = query_settle(manager);
    const bool transactions = transact_settle(manager);
    if (!queries && !transactions && !somebody_asks(manager)) {
      break;
    }
    (void)async_turn(manager, cen_now_ns());
  }
}
