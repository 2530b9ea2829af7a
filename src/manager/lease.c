/* lease.c - what is done with a lease: enter a call, leave it, release, revoke, extend, look. */
#include "manager/manager.h"

#include "base/text.h"
#include "core/fast.h"
#include "manager/simple.h"

#include <inttypes.h>
#include <string.h>

cenote_status manager_foreign_error(cenote_error *error)
{
  return cenote_error_set(error, CENOTE_FORKED,
                          "this manager belongs to the parent process: open one of its own after "
                          "fork()");
}

static cenote_status lost_error(struct cenote_manager *manager, cenote_lease lease,
                                cenote_error *error)
{
  struct slot_obituary obituary;
  if (manager == NULL || !pool_was_taken(&manager->pool, lease.slot, lease.generation, &obituary)) {
    return cenote_error_set(error, CENOTE_STALE,
                            "Cannot execute query on released lease: it was released already, or "
                            "its manager is closed");
  }
  char shown[CEN_MAX_OPERATION_ID * 4 + 1];
  manager_show_operation(manager, obituary.operation, shown, sizeof shown);
  const int64_t age = obituary.age_ns / CEN_NS_PER_MS;
  if (obituary.reason == POOL_REASON_SHUTDOWN) {
    return cenote_error_set(error, CENOTE_SHUTTING_DOWN,
                            "lease '%.160s' was taken back after %" PRId64
                            " ms: the pool manager is shutting down",
                            shown, age);
  }
  if (obituary.reason == POOL_REASON_REVOKED) {
    return cenote_error_set(error, CENOTE_STALE,
                            "lease '%.160s' was revoked after %" PRId64
                            " ms: somebody took it back for good",
                            shown, age);
  }
  return cenote_error_set(error, CENOTE_LEASE_EXPIRED,
                          "lease '%.160s' expired after %" PRId64
                          " ms and was taken back; hold it shorter, extend it, or raise "
                          "lease_timeout_ms",
                          shown, age);
}

cenote_status lease_lost_error(struct cenote_manager *manager, cenote_lease lease,
                               cenote_error *error)
{
  if (manager == NULL) {
    return lost_error(NULL, lease, error);
  }
  manager_visit(manager);
  const cenote_status status = lost_error(manager, lease, error);
  manager_unvisit(manager);
  return status;
}

static cenote_status refused(struct cenote_manager *manager, cenote_lease lease,
                             enum pool_answer answer, cenote_error *error)
{
  if (answer == POOL_IN_CALL) {
    return cenote_error_set(error, CENOTE_BUSY,
                            "another thread is inside a call on this lease; a lease is for one "
                            "thread at a time");
  }
  return lease_lost_error(manager, lease, error);
}

cenote_status lease_enter(cenote_lease lease, struct entry *entry, cenote_error *error)
{
  struct cenote_manager *manager = manager_find(lease.manager);
  *entry = (struct entry){.manager = manager, .lease = lease};
  if (manager == NULL) {
    return lease_lost_error(NULL, lease, error);
  }
  if (manager_is_foreign(manager)) {
    return manager_foreign_error(error);
  }
  void *resource;
  const enum pool_answer answer =
      pool_enter(&manager->pool, lease.slot, lease.generation, &resource);
  if (answer != POOL_OK) {
    return refused(manager, lease, answer, error);
  }
  entry->session = resource;
  return CENOTE_OK;
}

unsigned session_flags(unsigned flags)
{
  const unsigned dirty =
      CENOTE_SESSION_IN_TRANSACTION | CENOTE_SESSION_FAILED | CENOTE_SESSION_DIRTY;
  return ((flags & dirty) != 0 ? SLOT_SESSION_DIRTY : 0u) |
         ((flags & CENOTE_SESSION_BROKEN) != 0 ? SLOT_SESSION_BROKEN : 0u);
}

/* Does the outcome show that the database answered? Not when the driver refused by itself. */
static bool is_answer(cenote_status status)
{
  return status == CENOTE_OK || status == CENOTE_DATABASE || status == CENOTE_TOO_LARGE ||
         status == CENOTE_CANCELLED || status == CENOTE_STATEMENT_TIMEOUT;
}

static cenote_status leave(struct entry *entry, cenote_status status, unsigned more,
                           cenote_error *error)
{
  struct cenote_manager *manager = entry->manager;
  struct session *session = entry->session;
  const cenote_driver *driver = manager->driver;
  if (driver->shrink != NULL &&
      atomic_exchange_explicit(&session->shrink, false, memory_order_relaxed)) {
    driver->shrink(session->connection);
  }
  const unsigned flags = driver->session(session->connection) | more;
  entry->sent = (flags & CENOTE_SESSION_SENT) != 0;
  if (session->depth > 0) {
    (void)transaction_depth(session); /* or its end would be noticed by the next holder */
  }
  struct pool_wakes wakes = {0};
  manager_visit(manager); /* once left, nothing holds a close back */
  const enum pool_answer answer =
      pool_leave(&manager->pool, entry->lease.slot, entry->lease.generation, session_flags(flags),
                 entry->asked && is_answer(status) && (flags & CENOTE_SESSION_BROKEN) == 0,
                 cen_now_ns(), &wakes);
  manager_wake(manager, &wakes);
  manager_unvisit(manager);
  entry->session = NULL;
  if (answer == POOL_OK) {
    return status;
  }
  /* Taken back while we were inside. What ran outside a transaction and succeeded has happened:
   * that is what the caller must know; the next call tells the rest. */
  if (status == CENOTE_OK && (flags & CENOTE_SESSION_IN_TRANSACTION) == 0) {
    return status;
  }
  if (status == CENOTE_OUTCOME_UNKNOWN) {
    return status;
  }
  const cenote_status lost = lease_lost_error(manager, entry->lease, error);
  if (lost == CENOTE_STALE) { /* revoked: what ran was cancelled, the next call is stale */
    if (error != NULL && error->size >= sizeof *error) {
      error->status = CENOTE_CANCELLED;
    }
    return CENOTE_CANCELLED;
  }
  return lost;
}

cenote_status lease_leave(struct entry *entry, cenote_status status, cenote_error *error)
{
  return leave(entry, status, 0, error);
}

/* -------------------------------------------------------------------- release */

static void call_release_hook(struct cenote_manager *manager, cenote_lease lease)
{
  struct entry entry;
  if (lease_enter(lease, &entry, NULL) != CENOTE_OK) {
    return;
  }
  (void)manager->options.hook(manager->options.hook_context, CENOTE_HOOK_AFTER_RELEASE,
                              manager->driver->resource(entry.session->connection), "");
  (void)lease_leave(&entry, CENOTE_OK, NULL);
}

__attribute__((noinline)) static cenote_status release_fully(struct cenote_manager *manager,
                                                             cenote_lease lease)
{
  if (manager == NULL) {
    return CENOTE_STALE;
  }
  if (manager_is_foreign(manager)) {
    return CENOTE_FORKED;
  }
  if (atomic_load_explicit(&manager->hooked, memory_order_relaxed)) {
    call_release_hook(manager, lease);
  }
  enum pool_answer answer = pool_release(&manager->pool, lease.slot, lease.generation);
  if (answer == POOL_SLOW) {
    struct pool_wakes wakes = {0};
    manager_visit(manager);
    answer = pool_release_slow(&manager->pool, lease.slot, lease.generation, cen_now_ns(), &wakes);
    manager_wake(manager, &wakes);
    manager_unvisit(manager);
  }
  return answer == POOL_OK ? CENOTE_OK : refused(manager, lease, answer, NULL);
}

cenote_status cenote_release(cenote_lease lease)
{
  /* Usually the thread's last one: its slot is known without a walk through three tables. */
  if (lease.manager == last_slot.lease.manager && lease.slot == last_slot.lease.slot &&
      lease.manager != 0 &&
      atomic_load_explicit(&last_slot.manager->pool.gate, memory_order_acquire) == 0 &&
      slot_give(last_slot.slot, lease.generation)) {
    return CENOTE_OK;
  }
  return release_fully(manager_find(lease.manager), lease);
}

cenote_status cenote_discard(cenote_lease lease)
{
  struct entry entry;
  cenote_status status = lease_enter(lease, &entry, NULL);
  if (status == CENOTE_OK) {
    status = leave(&entry, CENOTE_OK, CENOTE_SESSION_BROKEN, NULL);
  }
  return status == CENOTE_OK ? cenote_release(lease) : status;
}

/* ------------------------------------------------------------------- revoking */

cenote_status cenote_revoke(cenote_lease lease)
{
  struct cenote_manager *manager = manager_find(lease.manager);
  if (manager == NULL) {
    return CENOTE_STALE;
  }
  if (manager_is_foreign(manager)) {
    return CENOTE_FORKED;
  }
  enum pool_answer answer = POOL_STALE;
  struct pool_wakes wakes = {0};
  struct pool_lease_view view;
  manager_visit(manager);
  /* Only what is held: of a manager that is closed, all but the pool may be gone already. */
  if (pool_view(&manager->pool, lease.slot, lease.generation, &view) &&
      !simple_holds(manager, lease.slot, lease.generation)) {
    answer = pool_revoke(&manager->pool, lease.slot, lease.generation, cen_now_ns(), &wakes);
    manager_wake(manager, &wakes);
  }
  manager_unvisit(manager);
  return answer == POOL_OK ? CENOTE_OK : CENOTE_STALE;
}

/* ------------------------------------------------------------ extending, looking */

/* `manager` is visited: nothing of it goes away meanwhile. */
static cenote_status extend_visited(struct cenote_manager *manager, cenote_lease lease, int64_t ms,
                                    cenote_error *error)
{
  struct pool_lease_view view;
  int64_t granted;
  if (!pool_view(&manager->pool, lease.slot, lease.generation, &view)) {
    return lost_error(manager, lease, error); /* perhaps all but the pool is gone already */
  }
  const int64_t most = cen_setting(&manager->settings, CEN_SET_LEASE_EXTEND_MAX);
  const int64_t wanted = cen_deadline_ns(cen_now_ns(), ms);
  if (wanted > view.acquired_ns + most * CEN_NS_PER_MS) {
    return cenote_error_set(error, CENOTE_INVALID,
                            "cenote_lease_extend: %" PRId64
                            " ms from now is more than lease_extend_max_ms (%" PRId64
                            ") after the acquire",
                            ms, most);
  }
  if (!pool_extend(&manager->pool, lease.slot, lease.generation, wanted, most * CEN_NS_PER_MS,
                   &granted)) {
    return lost_error(manager, lease, error);
  }
  housekeeper_kick(manager); /* it may be sooner than the janitor expects */
  return CENOTE_OK;
}

cenote_status cenote_lease_extend(cenote_lease lease, int64_t ms, cenote_error *error)
{
  struct cenote_manager *manager = manager_find(lease.manager);
  if (manager == NULL) {
    return lease_lost_error(NULL, lease, error);
  }
  if (manager_is_foreign(manager)) {
    return manager_foreign_error(error);
  }
  if (ms <= 0) {
    return cenote_error_set(error, CENOTE_INVALID,
                            "cenote_lease_extend: %" PRId64 " ms; must be more than 0", ms);
  }
  manager_visit(manager);
  const cenote_status status = extend_visited(manager, lease, ms, error);
  manager_unvisit(manager);
  return status;
}

void lease_describe(const struct cenote_manager *manager, const struct pool_lease_view *view,
                    cenote_lease_info *info)
{
  const int64_t now = cen_now_ns();
  const size_t size = info->size;
  memset(info, 0, sizeof *info);
  info->size = size;
  info->lease = (cenote_lease){manager->id, view->slot, view->generation};
  memcpy(info->operation_id, view->operation, sizeof info->operation_id);
  info->age_ms = (now - view->acquired_ns) / CEN_NS_PER_MS;
  info->idle_ms = (now - view->used_ns) / CEN_NS_PER_MS;
  info->remaining_ms = (view->deadline_ns - now) / CEN_NS_PER_MS;
  info->created_unix_ms = cen_wall_ms() - info->age_ms;
  info->in_call = view->in_call;
}

cenote_status cenote_lease_stats(cenote_lease lease, cenote_lease_info *info)
{
  struct cenote_manager *manager = manager_find(lease.manager);
  if (info == NULL || info->size < sizeof *info) {
    return CENOTE_INVALID;
  }
  *info = (cenote_lease_info){.size = info->size};
  if (manager != NULL && manager_is_foreign(manager)) {
    return CENOTE_FORKED;
  }
  struct pool_lease_view view;
  if (manager == NULL || !pool_view(&manager->pool, lease.slot, lease.generation, &view)) {
    info->released = true;
    return refused(manager, lease, POOL_STALE, NULL);
  }
  lease_describe(manager, &view, info);
  return CENOTE_OK;
}

uint64_t cenote_lease_connection(cenote_lease lease)
{
  struct cenote_manager *manager = manager_find(lease.manager);
  if (manager == NULL || manager_is_foreign(manager)) {
    return 0;
  }
  return pool_number(&manager->pool, lease.slot, lease.generation);
}

void *cenote_lease_resource(cenote_lease lease)
{
  struct entry entry;
  if (lease_enter(lease, &entry, NULL) != CENOTE_OK) {
    return NULL;
  }
  const cenote_driver *driver = entry.manager->driver;
  void *resource = driver->resource(entry.session->connection);
  driver->taint(entry.session->connection);
  return lease_leave(&entry, CENOTE_OK, NULL) == CENOTE_OK ? resource : NULL;
}
