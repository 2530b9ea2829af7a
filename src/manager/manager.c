/* manager.c - a manager's life: opened, resized, flushed, shut down, closed. */
#include "manager/manager.h"

#include "base/buf.h"
#include "base/error.h"
#include "base/text.h"
#include "driver/registry.h"
#include "manager/budget_member.h"
#include "manager/http_path.h"
#include "manager/pressure.h"
#include "manager/simple.h"
#include "manager/query.h"
#include "manager/run.h"
#include "manager/transact.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ------------------------------------------------------------------------- opening */

static void driver_log(void *context, cenote_log_level level, const char *line)
{
  cen_log_write(context, level, "%s", line);
}

static cenote_status check_options(const cenote_options *options, cenote_error *error)
{
  if (options != NULL && options->size < sizeof *options) {
    return cenote_error_set(error, CENOTE_INVALID,
                            "options: size %zu; start with CENOTE_OPTIONS_INIT", options->size);
  }
  if (options != NULL && options->settings == NULL && options->settings_count > 0) {
    return cenote_error_set(error, CENOTE_INVALID, "options: settings is NULL, its count %zu",
                            options->settings_count);
  }
  const cenote_driver *driver = options != NULL ? options->driver : NULL;
  if (driver != NULL &&
      (driver->size < sizeof *driver || driver->create == NULL || driver->destroy == NULL ||
       driver->start == NULL || driver->wants == NULL || driver->advance == NULL ||
       driver->cancel == NULL || driver->abort == NULL || driver->session == NULL ||
       driver->taint == NULL || driver->resource == NULL)) {
    return cenote_error_set(error, CENOTE_INVALID,
                            "options: the driver's table is smaller than this library's, or has "
                            "a function missing that is not optional");
  }
  return CENOTE_OK;
}

static cenote_status find_driver(struct cenote_manager *manager, cenote_error *error)
{
  manager->driver = manager->options.driver != NULL
                        ? manager->options.driver
                        : cen_driver_for_url(manager->settings.url, error);
  if (manager->driver == NULL) {
    return CENOTE_CONFIG;
  }
  manager->params = (cenote_driver_params){
      .size = sizeof manager->params,
      .url = manager->settings.url,
      .context = manager->options.driver_context,
      .password = manager->options.password,
      .password_context = manager->options.password_context,
      .setting = cen_settings_text,
      .settings = &manager->settings,
      .log = driver_log,
      .log_context = &manager->log,
  };
  if (manager->driver->shared_new == NULL) {
    return CENOTE_OK;
  }
  const cenote_status status =
      manager->driver->shared_new(&manager->params, &manager->shared, error);
  manager->params.shared = manager->shared;
  return status;
}

static cenote_status make_locks(struct cenote_manager *manager)
{
  pthread_condattr_t attributes;
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  int failed = pthread_mutex_init(&manager->life_lock, NULL);
  failed |= pthread_cond_init(&manager->life_changed, &attributes);
  pthread_condattr_destroy(&attributes);
  return failed == 0 ? CENOTE_OK : CENOTE_NO_MEMORY;
}

static void free_parts(struct cenote_manager *manager)
{
  if (manager->driver != NULL && manager->driver->shared_free != NULL && manager->shared != NULL) {
    manager->driver->shared_free(manager->shared);
  }
  budget_free(manager);
  observer_free(manager);
  http_path_free(manager);
  simple_free(manager);
  query_free(manager);
  transact_free(manager);
  run_free(manager);
  breaking_free(manager);
  paths_free(manager);
  cen_pressure_free(manager->pressure);
  cen_settings_deinit(&manager->settings);
  free(manager->forced_names);
  pthread_cond_destroy(&manager->life_changed);
  pthread_mutex_destroy(&manager->life_lock);
}

static int64_t heartbeat(const struct cenote_manager *manager)
{
  const int64_t lease = cen_setting(&manager->settings, CEN_SET_LEASE_TIMEOUT) * CEN_NS_PER_MS / 8;
  const int64_t least = 5 * CEN_NS_PER_MS;
  const int64_t most = 1000 * CEN_NS_PER_MS;
  return lease < least ? least : lease > most ? most : lease;
}

static cenote_status assemble(struct cenote_manager *manager, const char *url,
                              const struct cen_budget_ask *ask, cenote_error *error)
{
  const cenote_options *options = &manager->options;
  cenote_status status = make_locks(manager);
  if (status != CENOTE_OK) {
    return cenote_error_set(error, status, "out of memory: locks");
  }
  cen_log_init(&manager->log, options->log, options->log_context);
  status = cen_settings_load(&manager->settings, url, options, NULL, NULL, error);
  if (status != CENOTE_OK) {
    return status;
  }
  cen_log_set_level(&manager->log, cen_settings_text(&manager->settings, "log"));
  cen_url_redact(manager->url, sizeof manager->url, manager->settings.url);
  manager->heartbeat_ns = heartbeat(manager);
  status = find_driver(manager, error);
  if (status != CENOTE_OK) {
    return status;
  }
  manager->pressure = cen_pressure_new("");
  status = observer_new(manager);
  if (status == CENOTE_OK) {
    status = paths_new(manager);
  }
  if (status == CENOTE_OK) {
    status = breaking_new(manager);
  }
  const struct pool_limits limits = manager_limits(manager);
  const int64_t now = cen_now_ns();
  if (status == CENOTE_OK) {
    status = pool_init(&manager->pool, &limits, (uint64_t)now ^ manager->id, now);
  }
  if (status == CENOTE_OK && ask != NULL) {
    status = budget_join(manager, ask);
  }
  if (status == CENOTE_OK) {
    status = run_new(manager);
  }
  if (status == CENOTE_OK) {
    status = transact_new(manager);
  }
  if (status == CENOTE_OK) {
    status = simple_new(manager);
  }
  if (status == CENOTE_OK) {
    status = http_path_new(manager, error);
    if (status != CENOTE_OK) {
      return status;
    }
    status = query_new(manager, error);
    if (status != CENOTE_OK) {
      return status;
    }
  }
  if (status != CENOTE_OK) {
    return cenote_error_set(error, status, "out of memory: manager");
  }
  return housekeeper_start(manager, error);
}

cenote_status manager_open(const char *url, const cenote_options *options,
                           const struct cen_budget_ask *ask, cenote_manager **manager,
                           cenote_error *error)
{
  if (manager == NULL) {
    return cenote_error_set(error, CENOTE_INVALID, "manager: NULL, must point to a variable");
  }
  *manager = NULL;
  cenote_status status = check_options(options, error);
  if (status != CENOTE_OK) {
    return status;
  }
  struct cenote_manager *fresh = manager_new();
  if (fresh == NULL) {
    return cenote_error_set(error, CENOTE_NO_MEMORY,
                            "cannot make a manager: out of memory, or %d are open already",
                            CEN_MAX_MANAGERS);
  }
  fresh->options = options != NULL ? *options : (cenote_options)CENOTE_OPTIONS_INIT;
  fresh->external = fresh->options.external_loop;
  atomic_store_explicit(&fresh->born_in, cen_fork_count, memory_order_relaxed);
  atomic_store_explicit(&fresh->hooked, fresh->options.hook != NULL, memory_order_relaxed);
  atomic_store_explicit(&fresh->pool.gate,
                        POOL_GATE_SHUT | (fresh->options.hook != NULL ? POOL_GATE_HOOKED : 0u) |
                            (fresh->external ? POOL_GATE_LOOP : 0u),
                        memory_order_relaxed);
  status = assemble(fresh, url, ask, error);
  if (status != CENOTE_OK) {
    if (fresh->loop != NULL) {
      housekeeper_stop(fresh);
    }
    free_parts(fresh);
    manager_recycle(fresh);
    return status;
  }
  fresh->options.settings = NULL; /* the caller's memory; the values are ours by now */
  fresh->options.settings_count = 0;
  cen_log_write(&fresh->log, CENOTE_LOG_INFO, "manager %" PRIu32 " for %s (%s)", fresh->id,
                fresh->url, fresh->driver->name);
  *manager = fresh;
  return CENOTE_OK;
}

cenote_status cenote_open(const char *url, const cenote_options *options, cenote_manager **manager,
                          cenote_error *error)
{
  return manager_open(url, options, NULL, manager, error);
}

/* ------------------------------------------------------------------ while it is open */

cenote_status cenote_resize(cenote_manager *manager, int64_t min_connections,
                            int64_t max_connections, cenote_error *error)
{
  if (manager == NULL) {
    return cenote_error_set(error, CENOTE_INVALID, "manager: NULL");
  }
  if (manager_is_foreign(manager)) {
    return manager_foreign_error(error);
  }
  struct pool_wakes wakes = {0};
  pthread_mutex_lock(&manager->life_lock); /* who changes settings takes turns */
  const cenote_status status =
      cen_settings_set_bounds(&manager->settings, min_connections, max_connections, error);
  if (status == CENOTE_OK) {
    const struct pool_limits limits = manager_limits(manager);
    pool_configure(&manager->pool, &limits, cen_now_ns(), &wakes);
  }
  pthread_mutex_unlock(&manager->life_lock);
  if (status != CENOTE_OK) {
    return status;
  }
  manager_wake(manager, &wakes);
  observer_audit(manager, CENOTE_AUDIT_SETTINGS_CHANGED, 0, "resize", "");
  return CENOTE_OK;
}

cenote_status cenote_flush(cenote_manager *manager, cenote_error *error)
{
  if (manager == NULL) {
    return cenote_error_set(error, CENOTE_INVALID, "manager: NULL");
  }
  if (manager_is_foreign(manager)) {
    return manager_foreign_error(error);
  }
  struct pool_wakes wakes = {0};
  if (manager->driver->flush != NULL) {
    manager->driver->flush(manager->shared);
  }
  pool_flush(&manager->pool, cen_now_ns(), POOL_REASON_FLUSH, &wakes);
  manager_wake(manager, &wakes);
  housekeeper_kick(manager); /* shared connections are given back */
  manager_visit(manager);
  const cenote_status status = http_path_flush(manager, error);
  manager_unvisit(manager);
  return status;
}

/* -------------------------------------------------------------------- shutting down */

/* Who is forced, for the report: one a line, malloc'ed; NULL when it is nobody. Shared connections
 * are nobody's: of them the statements count that still run there. */
static char *name_holders(struct cenote_manager *manager, uint32_t *forced)
{
  enum { NAMED = 32 };
  struct cen_buf text;
  struct simple_figures simple;
  size_t count, shared;
  const int64_t now = cen_now_ns();
  struct pool_lease_view *views = manager_leases(manager, &count, &shared);
  if (views ==
      NULL) { /* nobody can be named, or told from a shared connection: all of them count */
    count = pool_views(&manager->pool, NULL, 0);
  }
  cen_buf_init(&text, sizeof((cenote_error *)NULL)->details - 1);
  for (size_t i = 0; views != NULL && i < count && i < NAMED; i++) {
    char shown[CEN_MAX_OPERATION_ID * 4 + 1];
    manager_show_operation(manager, views[i].operation, shown, sizeof shown);
    cen_buf_format(&text, "forced: '%.160s' held for %" PRId64 " ms%s\n", shown,
                   (now - views[i].acquired_ns) / CEN_NS_PER_MS,
                   views[i].in_call ? ", running a statement" : "");
  }
  simple_look(manager, &simple);
  if (simple.in_flight > 0) {
    cen_buf_format(&text, "forced: %" PRId64 " statements on shared connections\n",
                   simple.in_flight);
  }
  const int64_t over_http = http_path_in_flight(manager);
  if (over_http > 0) {
    cen_buf_format(&text, "forced: %" PRId64 " statements over HTTP\n", over_http);
  }
  char *names = text.data != NULL ? cen_text_copy(text.data) : NULL;
  cen_buf_deinit(&text);
  free(views);
  *forced = (uint32_t)count + (uint32_t)simple.in_flight + (uint32_t)over_http;
  return names;
}

/* The first one who loses patience notes whom it forces. The host's callbacks (redaction, log)
 * run outside the lock. */
static void note_holders(struct cenote_manager *manager)
{
  uint32_t forced;
  char *names = name_holders(manager, &forced);
  pthread_mutex_lock(&manager->life_lock);
  const bool first = manager->life == LIFE_DRAINING;
  if (first) {
    manager->life = LIFE_FORCED;
    manager->forced = forced;
    manager->forced_names = names != NULL ? cen_text_copy(names) : NULL;
  }
  pthread_mutex_unlock(&manager->life_lock);
  if (first && names != NULL) {
    cen_log_write(&manager->log, CENOTE_LOG_WARNING,
                  "shutdown forces %" PRIu32 " leases and statements: %s", forced, names);
  }
  free(names);
}

static bool is_finished(struct cenote_manager *manager)
{
  pthread_mutex_lock(&manager->life_lock);
  const bool finished = manager->life == LIFE_FINISHED;
  pthread_mutex_unlock(&manager->life_lock);
  return finished;
}

/* Waits until the pool is empty; with an external loop this thread drives it meanwhile. */
static bool wait_finished(struct cenote_manager *manager, int64_t deadline_ns)
{
  bool finished = false;
  pthread_mutex_lock(&manager->life_lock);
  while (!(finished = manager->life == LIFE_FINISHED) && cen_now_ns() < deadline_ns) {
    if (manager->external) {
      pthread_mutex_unlock(&manager->life_lock);
      housekeeper_turn(manager, deadline_ns);
      pthread_mutex_lock(&manager->life_lock);
      continue;
    }
    const struct timespec until = {.tv_sec = deadline_ns / 1000000000,
                                   .tv_nsec = deadline_ns % 1000000000};
    pthread_cond_timedwait(&manager->life_changed, &manager->life_lock, &until);
  }
  pthread_mutex_unlock(&manager->life_lock);
  return finished;
}

/* The first one begins; everybody else only waits for it. Answers until when. */
static int64_t begin_shutdown(struct cenote_manager *manager, int64_t timeout_ms)
{
  pthread_mutex_lock(&manager->life_lock);
  const bool first = manager->life == LIFE_OPEN;
  if (first) {
    manager->life = LIFE_DRAINING;
    manager->drain_ms = timeout_ms;
    manager->drain_until_ns = cen_deadline_ns(cen_now_ns(), timeout_ms);
  }
  const int64_t until = manager->drain_until_ns;
  pthread_mutex_unlock(&manager->life_lock);
  if (first) {
    struct pool_wakes wakes = {0};
    cen_log_write(&manager->log, CENOTE_LOG_INFO, "shutting down");
    observer_audit(manager, CENOTE_AUDIT_SHUTDOWN, 0, "", "");
    simple_drain(manager);
    http_path_drain(manager);
    pool_drain(&manager->pool, cen_now_ns(), &wakes);
    manager_wake(manager, &wakes);
    query_drain(manager);
    pthread_mutex_lock(&manager->life_lock);
    manager->turned_away = true;
    pthread_cond_broadcast(&manager->life_changed); /* whoever pauses before he tries again */
    pthread_mutex_unlock(&manager->life_lock);
  }
  return until;
}

/* Leases are taken back; holders inside a call are cancelled, then cut off. One that is just
 * being granted has no name yet: so more than once. */
static bool force(struct cenote_manager *manager)
{
  const int64_t patience = cen_setting(&manager->settings, CEN_SET_CANCEL_TIMEOUT);
  const int64_t end = cen_deadline_ns(cen_now_ns(), 2 * patience + 1000);
  bool finished = false;
  note_holders(manager);
  while (!finished && cen_now_ns() < end) {
    struct pool_wakes wakes = {0};
    http_path_stop(manager);
    pool_force(&manager->pool, cen_now_ns(), &wakes);
    manager_wake(manager, &wakes);
    finished = wait_finished(manager, cen_deadline_ns(cen_now_ns(), 50));
  }
  return finished;
}

cenote_status cenote_shutdown(cenote_manager *manager, int64_t timeout_ms, cenote_error *error)
{
  if (manager == NULL) {
    return cenote_error_set(error, CENOTE_INVALID, "manager: NULL");
  }
  if (manager_is_foreign(manager)) {
    return manager_foreign_error(error);
  }
  if (cen_loop_inside(manager->loop)) {
    return cenote_error_set(error, CENOTE_INVALID,
                            "cenote_shutdown inside a callback would wait for itself: call it "
                            "after the callback, or on another thread");
  }
  if (timeout_ms < 0) {
    timeout_ms = cen_setting(&manager->settings, CEN_SET_SHUTDOWN_TIMEOUT);
  }
  bool finished = wait_finished(manager, begin_shutdown(manager, timeout_ms));
  if (!finished) {
    /* Connections that only have to be closed are no leases: nobody is forced then. */
    finished = force(manager);
  }
  pthread_mutex_lock(&manager->life_lock);
  const uint32_t forced = manager->forced;
  pthread_mutex_unlock(&manager->life_lock);
  if (forced == 0 && finished) {
    return CENOTE_OK;
  }
  cenote_error_set(error, CENOTE_TIMEOUT,
                   "shutdown timeout after %" PRId64 " ms: %" PRIu32
                   " leases and statements were forced%s",
                   manager->drain_ms, forced,
                   finished      ? ""
                   : forced == 0 ? ", but a connection is not closed yet"
                                 : ", and a holder is still inside a call");
  if (manager->forced_names != NULL) { /* written once, before anybody can come here */
    cen_error_details(error, "%s", manager->forced_names);
  }
  return CENOTE_TIMEOUT;
}

void cenote_close(cenote_manager *manager)
{
  if (manager == NULL) {
    return;
  }
  if (manager_is_foreign(manager)) {
    /* The sessions, the thread and perhaps a locked mutex are the parent's; what can be given
     * back safely is our copy of the loop's descriptors. */
    cen_loop_free_child(manager->loop);
    manager->loop = NULL;
    return;
  }
  const bool inside = cen_loop_inside(manager->loop);
  if (inside) {
    (void)begin_shutdown(manager, 0);
  } else {
    const cenote_status status = cenote_shutdown(manager, -1, NULL);
    (void)status;
  }
  if (inside || !is_finished(manager)) {
    budget_leave(manager);
    /* Somebody is inside a connection, or our caller inside the loop, and does not come out: better
     * to leak than to free it. */
    cen_log_write(&manager->log, CENOTE_LOG_ERROR, "closed inside %s: its memory is abandoned",
                  inside ? "a callback" : "a call on a connection");
    return;
  }
  pool_forget(&manager->pool);
  housekeeper_stop(manager);
  free_parts(manager);
  manager_recycle(manager);
}
