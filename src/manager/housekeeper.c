/*
 * housekeeper.c - the one that works while others wait: it ticks the pool, performs its actions,
 * settles asynchronous acquires, and notices when a shutdown is complete. A thread of the
 * manager's runs it, or the host's loop through loop.h.
 */
#include "manager/manager.h"

#include "manager/budget_member.h"
#include "manager/http_path.h"
#include "manager/pressure.h"
#include "manager/simple.h"

#include <cenote/loop.h>

#include <signal.h>
#include <string.h>
#include <time.h>

struct pool_limits manager_limits(const struct cenote_manager *manager)
{
  const struct cen_settings *settings = &manager->settings;
#define MS(id) (cen_setting(settings, CEN_SET_##id) * CEN_NS_PER_MS)
#define COUNT(id) ((uint32_t)cen_setting(settings, CEN_SET_##id))
  return (struct pool_limits){
      .minimum = COUNT(MIN_CONNECTIONS),
      .maximum = COUNT(MAX_CONNECTIONS),
      .max_opening = COUNT(MAX_OPENING),
      .max_waiters = COUNT(MAX_WAITERS),
      .idle_ns = MS(IDLE_TIMEOUT),
      .age_ns = MS(MAX_AGE),
      .check_interval_ns = MS(HEALTH_CHECK_INTERVAL),
      .check_after_ns = MS(CHECK_AFTER),
      .backoff_ns = MS(CONNECT_BACKOFF),
      .backoff_max_ns = MS(CONNECT_BACKOFF_MAX),
      .lease_ns = MS(LEASE_TIMEOUT),
      .heartbeat_ns = manager->heartbeat_ns,
      .cancel_ns = MS(CANCEL_TIMEOUT),
  };
#undef MS
#undef COUNT
}

/* ------------------------------------------------------------------------ one turn */

static void perform_actions(struct cenote_manager *manager)
{
  struct pool_action action;
  while (pool_next_action(&manager->pool, &action)) {
    errand_perform(manager, &action);
  }
}

static void notice_sleep(struct cenote_manager *manager, int64_t now_ns)
{
  const int64_t slept = cen_slept_ns();
  if (slept - manager->slept_ns > INT64_C(1000000000)) {
    cen_log_write(&manager->log, CENOTE_LOG_INFO,
                  "the machine slept: idle connections are checked before use");
    pool_thaw(&manager->pool, now_ns, 0);
  }
  manager->slept_ns = slept;
}

/* Memory is short: idle connections above the minimum go, the others give back their caches. */
static void relieve(struct cenote_manager *manager, int64_t now_ns)
{
  struct pool_wakes wakes = {0};
  cen_log_write(&manager->log, CENOTE_LOG_WARNING,
                "memory pressure: closing idle connections, giving back caches");
  for (struct cen_link *at = manager->sessions.next; at != &manager->sessions; at = at->next) {
    struct session *session = CEN_CONTAINER(at, struct session, link);
    atomic_store_explicit(&session->shrink, true, memory_order_relaxed);
  }
  pool_relieve(&manager->pool, now_ns, &wakes);
  manager_wake(manager, &wakes);
}

static void notice_pressure(struct cenote_manager *manager, int64_t now_ns)
{
  if (manager->pressure != NULL && cen_setting(&manager->settings, CEN_SET_MEMORY_PRESSURE) != 0 &&
      cen_pressure_poll(manager->pressure, now_ns)) {
    relieve(manager, now_ns);
  }
}

static void notice_end(struct cenote_manager *manager)
{
  if (http_path_in_flight(manager) > 0 || !pool_finished(&manager->pool)) { /* said once */
    return;
  }
  pthread_mutex_lock(&manager->life_lock);
  manager->life = LIFE_FINISHED;
  pthread_cond_broadcast(&manager->life_changed);
  pthread_mutex_unlock(&manager->life_lock);
}

static void work(struct cenote_manager *manager)
{
  const int64_t now = cen_now_ns();
  struct pool_wakes wakes = {0};
  notice_sleep(manager, now);
  notice_pressure(manager, now);
  int64_t next = pool_tick(&manager->pool, now, &wakes);
  manager_wake(manager, &wakes);
  const int64_t probe = breaking_turn(manager, now);
  const int64_t http = http_path_turn(manager, now);
  const int64_t budget = budget_turn(manager, now);
  perform_actions(manager);
  const int64_t asked = async_turn(manager, cen_now_ns());
  const int64_t shared = simple_turn(manager, cen_now_ns());
  perform_actions(manager);
  observer_turn(manager, now);
  notice_end(manager);
  next = probe < next ? probe : next;
  next = asked < next ? asked : next;
  next = shared < next ? shared : next;
  next = budget < next ? budget : next;
  next = http < next ? http : next;
  if (cen_timer_set(manager->loop, &manager->tick, next) != CENOTE_OK) {
    housekeeper_kick(manager); /* no memory for a timer: come back at once rather than never */
  }
}

static void on_kick(struct cen_task *task)
{
  struct cenote_manager *manager = CEN_CONTAINER(task, struct cenote_manager, kick);
  atomic_store_explicit(&manager->kicked, false, memory_order_seq_cst);
  work(manager);
}

static void on_tick(struct cen_timer *timer)
{
  work(CEN_CONTAINER(timer, struct cenote_manager, tick));
}

void housekeeper_kick(struct cenote_manager *manager)
{
  /* Whoever is first posts; on_kick lowers the flag before it looks, so nothing is missed. */
  if (!atomic_exchange_explicit(&manager->kicked, true, memory_order_seq_cst)) {
    cen_loop_post(manager->loop, &manager->kick);
  }
}

void manager_host(struct cenote_manager *manager, void (*soon)(void *context), void *context)
{
  cen_loop_host(manager->loop, soon, context);
}

void cenote_loop_host(cenote_manager *manager, void (*soon)(void *context), void *context)
{
  if (manager != NULL && manager->external && !manager_is_foreign(manager)) {
    manager_host(manager, soon, context);
  }
}

void housekeeper_turn(struct cenote_manager *manager, int64_t deadline_ns)
{
  cen_loop_run(manager->loop, deadline_ns);
}

/* ---------------------------------------------------------------- thread and loop */

static void *keep_house(void *argument)
{
  struct cenote_manager *manager = argument;
  while (!atomic_load_explicit(&manager->stop, memory_order_acquire)) {
    housekeeper_turn(manager, CEN_NEVER);
  }
  return NULL;
}

static cenote_status start_thread(struct cenote_manager *manager, cenote_error *error)
{
  /* The host's signals are for the host's threads. */
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const int failed = pthread_create(&manager->thread, NULL, keep_house, manager);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (failed != 0) {
    return cenote_error_set(error, CENOTE_NO_MEMORY, "cannot start the manager's thread: %s",
                            strerror(failed));
  }
  manager->has_thread = true;
  return CENOTE_OK;
}

cenote_status housekeeper_start(struct cenote_manager *manager, cenote_error *error)
{
  cen_task_init(&manager->kick, on_kick);
  manager->tick.fire = on_tick;
  manager->slept_ns = cen_slept_ns();
  cen_link_init(&manager->sessions);
  const cenote_status status = cen_loop_new(&manager->loop, error);
  if (status != CENOTE_OK) {
    return status;
  }
  housekeeper_kick(manager); /* the minimum */
  return manager->external ? CENOTE_OK : start_thread(manager, error);
}

void housekeeper_stop(struct cenote_manager *manager)
{
  if (manager->has_thread) {
    atomic_store_explicit(&manager->stop, true, memory_order_release);
    cen_loop_wake(manager->loop);
    pthread_join(manager->thread, NULL);
    manager->has_thread = false;
  }
  budget_leave(manager);
  async_finish(manager);
  while (atomic_load_explicit(&manager->visitors, memory_order_acquire) > 0) {
    nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL); /* they are on their way out */
  }
  simple_finish(manager);
  async_finish(manager); /* what its callbacks asked for */
  cen_timer_stop(&manager->tick);
  cen_loop_free(manager->loop);
  manager->loop = NULL;
}

/* ------------------------------------------------------------------ the host's loop */

int cenote_pollfd(cenote_manager *manager)
{
  return manager == NULL || manager_is_foreign(manager) || !manager->external
             ? -1
             : cen_loop_fd(manager->loop);
}

int64_t cenote_next_deadline(cenote_manager *manager)
{
  if (manager == NULL || manager_is_foreign(manager) || !manager->external) {
    return -1;
  }
  return cen_poll_timeout_ms(cen_now_ns(), cen_loop_next_deadline(manager->loop));
}

cenote_status cenote_dispatch(cenote_manager *manager, cenote_error *error)
{
  if (manager == NULL || !manager->external) {
    return cenote_error_set(error, CENOTE_INVALID,
                            "cenote_dispatch is for a manager opened with external_loop");
  }
  if (manager_is_foreign(manager)) {
    return manager_foreign_error(error);
  }
  housekeeper_turn(manager, 0);
  return CENOTE_OK;
}
