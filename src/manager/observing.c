/* observing.c - from the pool's counters to what people read: statistics, leases, health, JSON. */
#include "manager/manager.h"

#include "manager/observe.h"
#include "manager/http_path.h"
#include "manager/simple.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct cen_observer {
  pthread_mutex_t lock;
  struct cen_recent_windows windows; /* guarded by lock */
  int64_t born_ns;
  int64_t turned_ns; /* the housekeeper's, as the next */
  int64_t missed_ns; /* when a round of checks last had nothing left to check */
};

cenote_status observer_new(struct cenote_manager *manager)
{
  struct cen_observer *observer = calloc(1, sizeof *observer);
  if (observer == NULL) {
    return CENOTE_NO_MEMORY;
  }
  if (pthread_mutex_init(&observer->lock, NULL) != 0) {
    free(observer);
    return CENOTE_NO_MEMORY;
  }
  observer->born_ns = observer->missed_ns = cen_now_ns();
  cen_recent_init(&observer->windows, observer->born_ns);
  manager->observer = observer;
  return CENOTE_OK;
}

void observer_free(struct cenote_manager *manager)
{
  if (manager->observer != NULL) {
    pthread_mutex_destroy(&manager->observer->lock);
    free(manager->observer);
    manager->observer = NULL;
  }
}

void observer_audit(struct cenote_manager *manager, cenote_audit_kind kind, uint64_t connection,
                    const char *reason, const char *operation)
{
  if (manager->options.audit == NULL) {
    return;
  }
  char shown[CEN_MAX_OPERATION_ID * 4 + 1] = "";
  if (operation[0] != '\0') {
    manager_show_operation(manager, operation, shown, sizeof shown);
  }
  const cenote_audit_event event = {.size = sizeof event,
                                    .kind = kind,
                                    .unix_ms = cen_wall_ms(),
                                    .database = manager->url,
                                    .connection = connection,
                                    .reason = reason,
                                    .operation_id = shown};
  manager->options.audit(manager->options.audit_context, &event);
}

/* ----------------------------------------------------------------------- statistics */

static uint64_t less(uint64_t a, uint64_t b)
{
  return a > b ? a - b : 0; /* the two were not read at the same moment */
}

/* The leases behind shared connections are the manager's own, not anybody's. */
static void set_shared_aside(struct cenote_manager *manager, cenote_statistics *out)
{
  struct simple_figures shared;
  simple_look(manager, &shared);
  out->pipelines = shared.pipelines;
  out->pipelines_idle = shared.resting;
  out->in_flight = shared.in_flight;
  out->reruns += shared.reruns;
  out->waiters = (int64_t)less((uint64_t)out->waiters, shared.waiters);
  out->active_leases = (int64_t)less((uint64_t)out->active_leases, (uint64_t)shared.pipelines);
  out->leases_granted = less(out->leases_granted, shared.grants);
  out->leases_released = less(out->leases_released, shared.releases);
}

static void read_counts(struct cenote_manager *manager, const struct pool_picture *picture,
                        cenote_statistics *out)
{
  const struct pool_counters *counters = &picture->counters;
  const size_t size = out->size;
  *out = (cenote_statistics){
      .size = size,
      .state = picture->state,
      .total_connections = picture->live - picture->by_state[SLOT_OPENING],
      .idle_connections = picture->by_state[SLOT_FREE] + picture->by_state[SLOT_CHECKING] +
                          picture->by_state[SLOT_CLEANING],
      .active_leases = picture->by_state[SLOT_HELD] + picture->by_state[SLOT_CALL],
      .waiters = picture->waiters,
      .opening = picture->by_state[SLOT_OPENING],
      .closing = picture->by_state[SLOT_CLOSING],
      .min_connections = picture->minimum,
      .max_connections = picture->maximum,
      .connections_created = counters->created,
      .connections_closed = counters->closed,
      .connection_errors = counters->open_errors,
      .login_failures = counters->login_failures,
      .leases_granted = picture->grants,
      .leases_released = picture->releases,
      .lease_timeouts = counters->expired,
      .acquire_timeouts = counters->acquire_timeouts,
      .acquire_cancelled = counters->acquire_cancelled,
      .acquire_refused = counters->acquire_refused,
      .checks = counters->checks + atomic_load_explicit(&manager->checks, memory_order_relaxed),
      .check_failures = counters->check_failures +
                        atomic_load_explicit(&manager->failed_probes, memory_order_relaxed),
      .resets = counters->resets,
      .reset_failures = counters->reset_failures,
      .slow_statements = atomic_load_explicit(&manager->slow_statements, memory_order_relaxed),
      .memory_pressure_events = counters->pressure_events,
      .thaws = counters->thaws,
  };
  paths_read_counts(manager, out);
  breaking_read(manager, out);
  out->http_in_flight = http_path_in_flight(manager);
  out->http_breaker = CENOTE_BREAKER_CLOSED;
  if (http_path_breaker(manager) != NULL) {
    struct cen_breaker_view view;
    cen_breaker_look(http_path_breaker(manager), &view);
    out->http_breaker = view.state;
  }
  set_shared_aside(manager, out);
}

static void read_latencies(struct cenote_manager *manager, cenote_statistics *out)
{
  cen_waits_read(&manager->pool.wait, out->leases_granted, &out->acquire_wait);
  cen_hist_read(&manager->pool.hold, &out->hold);
  cen_hist_read(&manager->pool.connect, &out->connect);
  paths_read(manager, out);
  out->exclusive.wait = out->acquire_wait;
}

cenote_status cenote_pool_statistics(cenote_manager *manager, cenote_statistics *statistics)
{
  if (manager == NULL || statistics == NULL || statistics->size < sizeof *statistics) {
    return CENOTE_INVALID;
  }
  if (manager_is_foreign(manager)) {
    return CENOTE_FORKED;
  }
  struct pool_picture picture;
  pool_look(&manager->pool, cen_now_ns(), &picture);
  read_counts(manager, &picture, statistics);
  read_latencies(manager, statistics);
  return CENOTE_OK;
}

static int older_first(const void *a, const void *b)
{
  const cenote_lease_info *left = a;
  const cenote_lease_info *right = b;
  return (left->age_ms < right->age_ms) - (left->age_ms > right->age_ms);
}

/* All live leases, oldest first, malloc'ed; NULL with *count 0 when there are none. */
static cenote_status read_leases(struct cenote_manager *manager, cenote_lease_info **leases,
                                 size_t *count)
{
  *leases = NULL;
  *count = 0;
  size_t shared; /* nobody's leases */
  struct pool_lease_view *views = manager_leases(manager, count, &shared);
  cenote_lease_info *infos = views != NULL ? calloc(*count + 1, sizeof *infos) : NULL;
  if (infos == NULL) {
    free(views);
    *count = 0;
    return CENOTE_NO_MEMORY;
  }
  for (size_t i = 0; i < *count; i++) {
    infos[i].size = sizeof infos[i];
    lease_describe(manager, &views[i], &infos[i]);
  }
  qsort(infos, *count, sizeof *infos, older_first);
  free(views);
  *leases = infos;
  return CENOTE_OK;
}

cenote_status cenote_pool_leases(cenote_manager *manager, cenote_lease_info *leases,
                                 size_t capacity, size_t *count)
{
  if (manager == NULL || count == NULL || (leases == NULL && capacity > 0)) {
    return CENOTE_INVALID;
  }
  *count = 0;
  /* The first one's size says how far apart they are: a caller built with another version's header
   * has structs of another size. */
  const size_t stride = capacity > 0 ? leases->size : sizeof *leases;
  if (stride < sizeof *leases || stride > 8 * sizeof *leases) {
    return CENOTE_INVALID;
  }
  if (manager_is_foreign(manager)) {
    return CENOTE_FORKED;
  }
  cenote_lease_info *infos;
  const cenote_status status = read_leases(manager, &infos, count);
  for (size_t i = 0; i < *count && i < capacity; i++) {
    infos[i].size = stride;
    memcpy((char *)leases + i * stride, &infos[i], sizeof infos[i]);
  }
  free(infos);
  return status;
}

/* --------------------------------------------------------------------------- figures */

void cenote_note_health_check(cenote_manager *manager, bool good)
{
  if (manager != NULL && !manager_is_foreign(manager)) {
    atomic_fetch_add_explicit(&manager->checks, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&manager->failed_probes, good ? 0 : 1, memory_order_relaxed);
  }
}

/* Once an interval, while nothing is open and attempts to change that fail: idle connections that
 * could be checked are no more, and the round of checks fails all the same. */
static void note_outage(struct cenote_manager *manager, const struct pool_picture *picture,
                        int64_t now_ns)
{
  const int64_t interval_ns =
      cen_setting(&manager->settings, CEN_SET_HEALTH_CHECK_INTERVAL) * CEN_NS_PER_MS;
  const uint32_t open =
      picture->live - picture->by_state[SLOT_OPENING] - picture->by_state[SLOT_CLOSING];
  struct cen_observer *observer = manager->observer;
  if (interval_ns > 0 && open == 0 && picture->open_failures > 0 &&
      picture->failure.at_ns > observer->missed_ns && now_ns - observer->missed_ns >= interval_ns) {
    observer->missed_ns = now_ns;
    cenote_note_health_check(manager, false);
  }
}

void observer_turn(struct cenote_manager *manager, int64_t now_ns)
{
  if (now_ns - manager->observer->turned_ns < 1000 * CEN_NS_PER_MS) {
    return;
  }
  manager->observer->turned_ns = now_ns;
  cenote_statistics statistics = CENOTE_STATISTICS_INIT;
  struct pool_picture picture;
  pool_look(&manager->pool, now_ns, &picture);
  note_outage(manager, &picture, now_ns);
  read_counts(manager, &picture, &statistics);
  pthread_mutex_lock(&manager->observer->lock);
  cen_recent_track(&manager->observer->windows, now_ns, &statistics, picture.counters.closed_by);
  pthread_mutex_unlock(&manager->observer->lock);
}

struct probe {
  enum cen_probe outcome;
  cenote_error error;
};

struct observation {
  struct cen_figures figures;
  struct pool_failure failure;
  uint64_t closed_by[POOL_REASON_COUNT];
  struct cen_breaker_view breaker, login_breaker, http_breaker;
  struct probe probe, http_probe;
  cenote_lease_info *leases;
};

/* A lease, a check, a release: what a caller would meet. Half of the time for a connect may go by
 * until a connection is there, and half until it answers. */
static void probe_now(struct cenote_manager *manager, struct probe *probe)
{
  cenote_lease lease;
  struct entry entry;
  probe->error = (cenote_error)CENOTE_ERROR_INIT;
  const int64_t patience = (cen_setting(&manager->settings, CEN_SET_CONNECT_TIMEOUT) + 1) / 2;
  cenote_status status =
      cenote_acquire(manager, "cenote-health-check", patience, &lease, &probe->error);
  if (status == CENOTE_OK) {
    status = lease_enter(lease, &entry, &probe->error);
    if (status == CENOTE_OK) {
      cenote_request request = {.size = sizeof request, .kind = CENOTE_REQUEST_CHECK};
      status =
          call_run(entry.session, &request, cen_deadline_ns(cen_now_ns(), patience), &probe->error);
      manager_note_check(manager, status == CENOTE_OK);
      entry.asked = true;
      status = lease_leave(&entry, status, &probe->error);
    }
    (void)cenote_release(lease);
  }
  /* All connections busy is not a database that does not answer. */
  const bool busy = status == CENOTE_TIMEOUT || status == CENOTE_QUEUE_FULL;
  probe->outcome = status == CENOTE_OK ? CEN_PROBE_GOOD : busy ? CEN_PROBE_NONE : CEN_PROBE_FAILED;
  if (!busy) {
    cenote_note_health_check(manager, status == CENOTE_OK);
  }
}

static void probe_http(struct cenote_manager *manager, struct probe *probe)
{
  probe->error = (cenote_error)CENOTE_ERROR_INIT;
  const cenote_status status = http_path_check(manager, &probe->error);
  const bool busy = status == CENOTE_QUEUE_FULL || status == CENOTE_SHUTTING_DOWN;
  probe->outcome = status == CENOTE_OK ? CEN_PROBE_GOOD : busy ? CEN_PROBE_NONE : CEN_PROBE_FAILED;
}

static void redact_leases(struct cenote_manager *manager, cenote_lease_info *leases, size_t count)
{
  if (manager->options.redact == NULL) {
    return;
  }
  for (size_t i = 0; i < count; i++) {
    char shown[CEN_MAX_OPERATION_ID + 1] = "";
    manager->options.redact(manager->options.redact_context, leases[i].operation_id, shown,
                            sizeof shown);
    shown[sizeof shown - 1] = '\0';
    memcpy(leases[i].operation_id, shown, sizeof shown);
  }
}

static void read_breaker(struct cen_breaker *breaker, int64_t now_ns, struct cen_breaker_view *view,
                         struct cen_breaker_figure *figure)
{
  cen_breaker_look(breaker, view);
  *figure = (struct cen_breaker_figure){
      .state = view->state, .opened = view->opened, .rejected = view->rejected, .why = view->why};
  if (view->state != CENOTE_BREAKER_CLOSED) {
    figure->not_closed_ms = (now_ns - view->opened_ns) / CEN_NS_PER_MS;
  }
  if (view->state == CENOTE_BREAKER_IS_OPEN && view->next_ns > now_ns) {
    figure->next_ms = (view->next_ns - now_ns) / CEN_NS_PER_MS;
  }
}

/* All but the percentiles. */
static void observe_counts(struct cenote_manager *manager, struct observation *seen)
{
  struct cen_figures *figures = &seen->figures;
  const int64_t now = cen_now_ns();
  struct pool_picture picture;
  pool_look(&manager->pool, now, &picture);
  seen->failure = picture.failure;
  memcpy(seen->closed_by, picture.counters.closed_by, sizeof seen->closed_by);
  figures->closed_by = seen->closed_by;
  figures->longest_wait_ms = picture.longest_wait_ns / CEN_NS_PER_MS;
  figures->statistics.size = sizeof figures->statistics;
  read_counts(manager, &picture, &figures->statistics);
  cen_figures_settings(figures, &manager->settings);
  figures->unix_ms = cen_wall_ms();
  figures->uptime_ms = (now - manager->observer->born_ns) / CEN_NS_PER_MS;
  figures->profile = cen_profile_name(manager->settings.profile);
  figures->driver = manager->driver->name;
  figures->database = manager->url;
  /* Without memory for them the other figures must do. */
  (void)read_leases(manager, &seen->leases, &figures->lease_count);
  redact_leases(manager, seen->leases, figures->lease_count);
  figures->leases = seen->leases;
  pthread_mutex_lock(&manager->observer->lock);
  cen_recent_track(&manager->observer->windows, now, &figures->statistics, seen->closed_by);
  cen_recent_read(&manager->observer->windows, now, &figures->minute, &figures->quarter);
  pthread_mutex_unlock(&manager->observer->lock);
  if (seen->failure.at_ns != 0 && picture.open_failures > 0) { /* none came through since */
    figures->connect_error = seen->failure.message;
    figures->connect_error_age_ms = (now - seen->failure.at_ns) / CEN_NS_PER_MS;
  }
  figures->simple_path = simple_is_there(manager, false);
  read_breaker(&manager->breaker, now, &seen->breaker, &figures->breaker);
  read_breaker(&manager->login_breaker, now, &seen->login_breaker, &figures->login_breaker);
  figures->http_path = http_path_breaker(manager) != NULL;
  if (figures->http_path) {
    read_breaker(http_path_breaker(manager), now, &seen->http_breaker, &figures->http_breaker);
    figures->http_error =
        seen->http_probe.outcome == CEN_PROBE_FAILED ? seen->http_probe.error.message : NULL;
  }
  figures->probe = seen->probe.outcome;
  figures->probe_error = seen->probe.error.message[0] != '\0' ? seen->probe.error.message : NULL;
}

static void observe(struct cenote_manager *manager, bool probe, struct observation *seen)
{
  memset(seen, 0, sizeof *seen);
  if (probe && !manager_must_not_block(manager)) { /* it waits for the loop */
    probe_now(manager, &seen->probe);
    if (manager->http != NULL) {
      probe_http(manager, &seen->http_probe);
    }
  }
  observe_counts(manager, seen);
  read_latencies(manager, &seen->figures.statistics);
}

void cen_figures_collect(cenote_manager *manager, struct cen_sum *sum)
{
  cen_sum_empty(sum);
  if (manager_is_foreign(manager)) {
    return;
  }
  struct observation seen;
  memset(&seen, 0, sizeof seen);
  observe_counts(manager, &seen);
  cen_sum_add(sum, &seen.figures);
  cen_hist_add(&sum->times.wait, &manager->pool.wait);
  cen_hist_add(&sum->times.hold, &manager->pool.hold);
  cen_hist_add(&sum->times.connect, &manager->pool.connect);
  paths_add_times(manager, &sum->times);
  free(seen.leases);
}

/* ------------------------------------------------------------------- health and JSON */

cenote_status cenote_health(cenote_manager *manager, bool probe, cenote_health_status *health,
                            cenote_error *error)
{
  if (manager == NULL || health == NULL) {
    return cenote_error_set(error, CENOTE_INVALID, "%s: NULL",
                            manager == NULL ? "manager" : "health");
  }
  *health = CENOTE_UNHEALTHY;
  if (manager_is_foreign(manager)) {
    return manager_foreign_error(error);
  }
  struct observation seen;
  struct cen_health verdict;
  observe(manager, probe, &seen);
  cen_health_judge(&seen.figures, &verdict);
  *health = verdict.status;
  free(seen.leases);
  return CENOTE_OK;
}

static cenote_status write_json(cenote_manager *manager, bool probe,
                                char *(*write)(const struct cen_figures *), char **json,
                                cenote_error *error)
{
  if (json == NULL || manager == NULL) {
    return cenote_error_set(error, CENOTE_INVALID, "%s: NULL",
                            manager == NULL ? "manager" : "json");
  }
  *json = NULL;
  if (manager_is_foreign(manager)) {
    return manager_foreign_error(error);
  }
  struct observation seen;
  observe(manager, probe, &seen);
  *json = write(&seen.figures);
  free(seen.leases);
  return *json != NULL ? CENOTE_OK
                       : cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory: JSON");
}

cenote_status cenote_pool_statistics_json(cenote_manager *manager, char **json, cenote_error *error)
{
  return write_json(manager, false, cen_statistics_json, json, error);
}

cenote_status cenote_health_json(cenote_manager *manager, bool probe, char **json,
                                 cenote_error *error)
{
  return write_json(manager, probe, cen_health_json, json, error);
}

cenote_status cenote_config_json(cenote_manager *manager, char **json, cenote_error *error)
{
  if (json == NULL || manager == NULL) {
    return cenote_error_set(error, CENOTE_INVALID, "%s: NULL",
                            manager == NULL ? "manager" : "json");
  }
  *json = NULL;
  if (manager_is_foreign(manager)) {
    return manager_foreign_error(error);
  }
  *json = cen_settings_json(&manager->settings);
  return *json != NULL ? CENOTE_OK
                       : cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory: JSON");
}
