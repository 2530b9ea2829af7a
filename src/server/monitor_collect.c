/* monitor_collect.c - the thread that looks at the pools, for whoever asked. */
#include "server/monitor_inside.h"

#include "base/error.h"
#include "net/clock.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

/* -------------------------------------------------------------------------- texts */

struct monitor_text *monitor_text_new(struct cen_buf *buf)
{
  struct monitor_text *text = calloc(1, sizeof *text);
  const size_t size = buf->size;
  char *data = cen_buf_take(buf);
  if (text == NULL || data == NULL) {
    free(text);
    free(data);
    return NULL;
  }
  text->data = data;
  text->size = size;
  atomic_store(&text->refs, 1);
  return text;
}

void monitor_text_free(struct monitor_text *text)
{
  if (text != NULL && atomic_fetch_sub(&text->refs, 1) == 1) {
    free(text->data);
    free(text);
  }
}

void monitor_look(struct monitor *monitor, enum monitor_kind kind, struct monitor_made *made)
{
  (void)pthread_mutex_lock(&monitor->lock);
  *made = monitor->made[kind];
  if (made->text != NULL) {
    atomic_fetch_add(&made->text->refs, 1);
  }
  if (made->at_ns == 0 || cen_now_ns() - made->at_ns > MONITOR_FRESH_MS * CEN_NS_PER_MS) {
    monitor->wanted |= 1u << kind;
    (void)pthread_cond_signal(&monitor->wake);
  }
  (void)pthread_mutex_unlock(&monitor->lock);
}

/* --------------------------------------------------------------------- collecting */

/* The thread's own. */
struct collection {
  struct monitor *monitor;
  unsigned kinds;
  unsigned listeners;
  struct cen_sum total;
  bool serving; /* a pool that is not unhealthy */
  struct status_draft status;
  struct metrics_draft *metrics;
  struct history_last last;
};

/* The managers behind a pool have one ceiling together, not each its own. */
static void limit_to(struct cen_sum *sum, const struct cen_settings *settings)
{
  const int64_t all = cen_setting(settings, CEN_SET_MAX_CONNECTIONS);
  const int64_t own = cen_setting(settings, CEN_SET_POOL_CONNECTIONS);
  const int64_t most = own > 0 && own < all ? own : all;
  if (sum->figures.statistics.max_connections > most) {
    sum->figures.statistics.max_connections = most;
    sum->figures.setting[CEN_SET_MAX_CONNECTIONS] = most;
  }
}

static void on_group(void *context, const struct pools_group *group, struct cen_sum *sum)
{
  struct collection *collection = context;
  struct cen_health health;
  const cenote_statistics *all = &sum->figures.statistics;
  limit_to(sum, &collection->monitor->gateway->settings);
  cen_health_judge(&sum->figures, &health);
  if (group->managers > 0) {
    collection->serving = collection->serving || health.status != CENOTE_UNHEALTHY;
    if ((collection->kinds & 1u << MONITOR_STATUS) != 0) {
      cen_sum_settle(sum);
      status_pool(&collection->status, group, sum, &health);
    }
  }
  if (collection->metrics != NULL) {
    metrics_pool(collection->metrics, group, sum);
  }
  if (all->connections_created == 0 && all->login_failures > 0) {
    /* Somebody with a wrong name or password must not make the gateway look ill. */
    sum->failing = 0;
    sum->connect_error[0] = '\0';
  }
  cen_figures_merge(&collection->total, sum);
}

/* The gateway's own words where a sum has none or other ones. */
static void total_finish(struct collection *collection)
{
  const struct gateway *gateway = collection->monitor->gateway;
  struct cen_figures *figures = &collection->total.figures;
  const int64_t waiters = figures->setting[CEN_SET_MAX_WAITERS];
  cen_figures_settings(figures, &gateway->settings);
  if (waiters > 0) {
    figures->setting[CEN_SET_MAX_WAITERS] = waiters; /* the ceiling of all of them */
  }
  figures->statistics.max_connections = figures->setting[CEN_SET_MAX_CONNECTIONS];
  figures->unix_ms = cen_wall_ms();
  figures->uptime_ms = (cen_now_ns() - gateway->born_ns) / CEN_NS_PER_MS;
  figures->profile = cen_profile_name(gateway->settings.profile);
  if (atomic_load(&gateway->draining)) {
    figures->statistics.state = CENOTE_STATE_DRAINING;
  }
}

/* One pool that cannot serve does not stop the others. */
static void total_judge(const struct collection *collection, struct cen_health *health)
{
  cen_health_judge(&collection->total.figures, health);
  if (health->status == CENOTE_UNHEALTHY && collection->serving &&
      !health->has[CEN_ISSUE_SHUTTING_DOWN]) {
    health->status = CENOTE_DEGRADED;
  }
}

static void publish(struct monitor *monitor, enum monitor_kind kind, int64_t at_ns,
                    struct monitor_text *text, cenote_health_status health)
{
  (void)pthread_mutex_lock(&monitor->lock);
  struct monitor_text *old = monitor->made[kind].text;
  monitor->made[kind] = (struct monitor_made){.at_ns = at_ns, .text = text, .health = health};
  (void)pthread_mutex_unlock(&monitor->lock);
  monitor_text_free(old);
}

static void history_turn(struct collection *collection, int64_t now_ns)
{
  struct monitor *monitor = collection->monitor;
  struct history_point point;
  if (collection->last.at_ns != 0 &&
      now_ns - collection->last.at_ns < HISTORY_STEP_MS * CEN_NS_PER_MS) {
    return;
  }
  if (history_sample(&collection->last, &collection->total, now_ns, cen_wall_ms(), &point)) {
    (void)pthread_mutex_lock(&monitor->lock);
    history_add(&monitor->history, &point);
    (void)pthread_mutex_unlock(&monitor->lock);
  }
}

static void loops_tell(struct monitor *monitor)
{
  (void)pthread_mutex_lock(&monitor->lock);
  for (unsigned i = 0; i < monitor->gateway->loop_count; i++) {
    if (monitor->loops[i] != NULL) {
      (void)cen_http_loop_post(monitor->loops[i]->loop->http, &monitor->loops[i]->task);
    }
  }
  (void)pthread_mutex_unlock(&monitor->lock);
}

static void collect(struct collection *collection)
{
  struct monitor *monitor = collection->monitor;
  const int64_t now = cen_now_ns();
  struct cen_health health;
  cen_sum_empty(&collection->total);
  collection->serving = false;
  if ((collection->kinds & 1u << MONITOR_STATUS) != 0) {
    status_begin(&collection->status);
  }
  collection->metrics =
      (collection->kinds & 1u << MONITOR_METRICS) != 0 ? metrics_begin(monitor->gateway) : NULL;
  pools_collect(monitor->gateway, on_group, collection);
  total_finish(collection);
  history_turn(collection, now);
  total_judge(collection, &health);
  publish(monitor, MONITOR_VERDICT, now, NULL, health.status);
  if ((collection->kinds & 1u << MONITOR_STATUS) != 0) {
    cen_sum_settle(&collection->total);
    publish(monitor, MONITOR_STATUS, now,
            status_end(&collection->status, monitor->gateway, &collection->total, &health,
                       collection->listeners),
            health.status);
  }
  if ((collection->kinds & 1u << MONITOR_METRICS) != 0) {
    publish(monitor, MONITOR_METRICS, now,
            metrics_end(collection->metrics, health.status, collection->listeners), health.status);
  }
  metrics_free(collection->metrics);
  loops_tell(monitor);
}

/* ---------------------------------------------------------------------- the thread */

/* Waits until something is due. false: the end. */
static bool wait_for_work(struct collection *collection)
{
  struct monitor *monitor = collection->monitor;
  (void)pthread_mutex_lock(&monitor->lock);
  for (;;) {
    const int64_t now = cen_now_ns();
    const int64_t sampled = collection->last.at_ns;
    int64_t due = sampled == 0 ? now : sampled + HISTORY_STEP_MS * CEN_NS_PER_MS;
    if (monitor->listeners > 0) {
      const int64_t next = monitor->made[MONITOR_STATUS].at_ns + MONITOR_STEP_MS * CEN_NS_PER_MS;
      if (next <= now) {
        monitor->wanted |= 1u << MONITOR_STATUS;
      }
      due = next < due ? next : due;
    }
    if (monitor->stop || monitor->wanted != 0 || due <= now) {
      break;
    }
    const struct timespec until = {(time_t)(due / 1000000000), (long)(due % 1000000000)};
    (void)pthread_cond_timedwait(&monitor->wake, &monitor->lock, &until);
  }
  const bool go_on = !monitor->stop;
  collection->kinds = monitor->wanted;
  collection->listeners = monitor->listeners;
  monitor->wanted = 0;
  (void)pthread_mutex_unlock(&monitor->lock);
  return go_on;
}

static void *collector(void *context)
{
  struct collection *collection = context;
  while (wait_for_work(collection)) {
    collect(collection);
  }
  cen_sum_deinit(&collection->total);
  free(collection);
  return NULL;
}

cenote_status monitor_start_thread(struct monitor *monitor, cenote_error *error)
{
  struct collection *collection = calloc(1, sizeof *collection);
  if (collection == NULL) {
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory");
  }
  collection->monitor = monitor;
  sigset_t all, before;
  (void)sigfillset(&all);
  (void)pthread_sigmask(SIG_SETMASK, &all, &before);
  monitor->running = pthread_create(&monitor->thread, NULL, collector, collection) == 0;
  (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (!monitor->running) {
    free(collection);
    return cenote_error_set(error, CENOTE_IO, "no thread could be started");
  }
  return CENOTE_OK;
}

void monitor_stop_thread(struct monitor *monitor)
{
  if (!monitor->running) {
    return;
  }
  (void)pthread_mutex_lock(&monitor->lock);
  monitor->stop = true;
  (void)pthread_cond_signal(&monitor->wake);
  (void)pthread_mutex_unlock(&monitor->lock);
  (void)pthread_join(monitor->thread, NULL);
  monitor->running = false;
}
