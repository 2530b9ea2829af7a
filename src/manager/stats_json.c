/* stats_json.c - figures, health and advice as JSON, in the shapes that existing dashboards read;
 * more members stand beside the documented ones. Operation ids come in redacted. */
#include "manager/observe.h"
#include "manager/settings_table.h"

#include "core/slot.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { OUTPUT_CEILING = 64 << 20 };

void cen_time_text(char out[CEN_TIME_SIZE], int64_t unix_ms)
{
  int64_t ms = unix_ms % 1000 < 0 ? unix_ms % 1000 + 1000 : unix_ms % 1000;
  time_t seconds = (time_t)((unix_ms - ms) / 1000);
  struct tm parts;
  if (gmtime_r(&seconds, &parts) == NULL || parts.tm_year > 9999 - 1900 || parts.tm_year < -1900) {
    snprintf(out, CEN_TIME_SIZE, "1970-01-01T00:00:00.000Z");
    return;
  }
  size_t at = strftime(out, CEN_TIME_SIZE, "%Y-%m-%dT%H:%M:%S", &parts);
  snprintf(out + at, CEN_TIME_SIZE - at, ".%03dZ", (int)ms);
}

void cen_lease_id(char out[CEN_LEASE_ID_SIZE], cenote_lease lease)
{
  snprintf(out, CEN_LEASE_ID_SIZE, "%" PRIu32 "-%" PRIu32 "-%" PRIu64, lease.manager, lease.slot,
           lease.generation);
}

/* ---------------------------------------------------------------- members */

static void put_text(struct cen_json *json, const char *key, const char *text)
{
  cen_json_key(json, key);
  cen_json_string(json, text);
}

static void put_int(struct cen_json *json, const char *key, int64_t value)
{
  cen_json_key(json, key);
  cen_json_int(json, value);
}

static void put_count(struct cen_json *json, const char *key, uint64_t value)
{
  cen_json_key(json, key);
  cen_json_uint(json, value);
}

static void put_bool(struct cen_json *json, const char *key, bool value)
{
  cen_json_key(json, key);
  cen_json_bool(json, value);
}

/* Shares, rates and milliseconds, none negative: two decimals are enough for people. */
static void put_real(struct cen_json *json, const char *key, double value)
{
  cen_json_key(json, key);
  cen_json_real(json, value < 1e15 ? (double)(int64_t)(value * 100 + 0.5) / 100 : value);
}

static void put_time(struct cen_json *json, const struct cen_figures *figures)
{
  char text[CEN_TIME_SIZE];
  cen_time_text(text, figures->unix_ms);
  put_text(json, "timestamp", text);
}

static void put_percentiles(struct cen_json *json, const char *key, const cenote_percentiles *times)
{
  cen_json_key(json, key);
  cen_json_object(json);
  put_count(json, "count", times->count);
  put_real(json, "meanMs", times->mean_us / 1000.0);
  put_real(json, "p50Ms", (double)times->p50_us / 1000.0);
  put_real(json, "p95Ms", (double)times->p95_us / 1000.0);
  put_real(json, "p99Ms", (double)times->p99_us / 1000.0);
  put_real(json, "maxMs", (double)times->max_us / 1000.0);
  cen_json_object_end(json);
}

/* Plain counts in a struct that is made for times. */
static void put_spread(struct cen_json *json, const char *key, const cenote_percentiles *counts)
{
  cen_json_key(json, key);
  cen_json_object(json);
  put_count(json, "count", counts->count);
  put_real(json, "mean", counts->mean_us);
  put_count(json, "p50", counts->p50_us);
  put_count(json, "p95", counts->p95_us);
  put_count(json, "p99", counts->p99_us);
  put_count(json, "max", counts->max_us);
  cen_json_object_end(json);
}

/* -------------------------------------------------------------- statistics */

/* The settings of a pool: those of the gateway are not its own, whatever the INI file says. */
static void write_config(struct cen_json *json, const struct cen_figures *figures)
{
  cen_json_object(json);
  for (int id = 0; id < CEN_SETTING_COUNT; id++) {
    char name[CEN_NAME_SIZE];
    if (cen_setting_is_gateway((cen_setting_id)id)) {
      continue;
    }
    cen_name_camel(name, cen_setting_rows[id].name);
    if (cen_setting_rows[id].type == CEN_SETTING_BOOL) {
      put_bool(json, name, figures->setting[id] != 0);
    } else {
      put_int(json, name, figures->setting[id]);
    }
  }
  if (figures->profile != NULL) {
    put_text(json, "profile", figures->profile);
  }
  cen_json_object_end(json);
}

static void write_pool(struct cen_json *json, const struct cen_figures *figures)
{
  const cenote_statistics *now = &figures->statistics;
  cen_json_object(json);
  put_int(json, "totalConnections", now->total_connections);
  put_int(json, "availableConnections", now->idle_connections);
  put_int(json, "activeLeases", now->active_leases);
  put_int(json, "maxConnections", now->max_connections);
  put_int(json, "minConnections", now->min_connections);
  put_int(json, "waitingClients", now->waiters);
  put_int(json, "longestWaitMs", figures->longest_wait_ms);
  put_int(json, "openingConnections", now->opening);
  put_int(json, "closingConnections", now->closing);
  cen_json_object_end(json);
}

static void write_reasons(struct cen_json *json, const uint64_t *closed_by)
{
  static const char *const names[POOL_REASON_COUNT] = {
#define REASON_NAME(name, text) text,
      POOL_REASONS(REASON_NAME)
#undef REASON_NAME
  };
  cen_json_object(json);
  for (int reason = POOL_REASON_NONE + 1; reason < POOL_REASON_COUNT; reason++) {
    put_count(json, names[reason], closed_by[reason]);
  }
  cen_json_object_end(json);
}

static void write_metrics(struct cen_json *json, const struct cen_figures *figures)
{
  const cenote_statistics *all = &figures->statistics;
  cen_json_object(json);
  put_int(json, "currentActiveLeases", all->active_leases);
#define PUT_METRICS(name, text) put_count(json, text, all->name);
#define PUT_PATHS(name, text)
#define PUT_SHOWN_ELSEWHERE(name, text)
#define PUT(name, object, text, recent, metric) PUT_##object(name, text)
  CEN_COUNTERS(PUT)
#undef PUT_METRICS
#undef PUT_PATHS
  if (figures->closed_by != NULL) {
    cen_json_key(json, "closedBy");
    write_reasons(json, figures->closed_by);
  }
  cen_json_object_end(json);
}

static void write_lease(struct cen_json *json, const cenote_lease_info *lease, int64_t unix_ms)
{
  char id[CEN_LEASE_ID_SIZE];
  cen_lease_id(id, lease->lease);
  cen_json_object(json);
  put_text(json, "id", id);
  cen_json_key(json, "operationId");
  cen_json_string_n(json, lease->operation_id,
                    strnlen(lease->operation_id, sizeof(lease->operation_id)));
  put_int(json, "createdAt", lease->created_unix_ms);
  put_int(json, "lastUsed", unix_ms - lease->idle_ms);
  put_int(json, "ageMs", lease->age_ms);
  put_int(json, "idleMs", lease->idle_ms);
  put_bool(json, "isReleased", lease->released);
  put_int(json, "remainingMs", lease->remaining_ms);
  put_bool(json, "inCall", lease->in_call);
  cen_json_object_end(json);
}

static void write_recent(struct cen_json *json, const struct cen_recent *recent)
{
  cen_json_object(json);
#define PUT_RECENT(name, object, text, lately, metric) put_count(json, lately, recent->name);
  CEN_COUNTERS_LATELY(PUT_RECENT)
#undef PUT_RECENT
  cen_json_key(json, "closedBy");
  write_reasons(json, recent->closed_by);
  cen_json_object_end(json);
}

static void write_check(struct cen_json *json, const struct cen_figures *figures)
{
  int64_t interval = figures->setting[CEN_SET_HEALTH_CHECK_INTERVAL];
  cen_json_object(json);
  put_bool(json, "enabled", interval > 0);
  put_int(json, "interval", interval);
  cen_json_object_end(json);
}

static void write_latency(struct cen_json *json, const cenote_statistics *all)
{
  cen_json_object(json);
  put_percentiles(json, "acquireWait", &all->acquire_wait);
  put_percentiles(json, "hold", &all->hold);
  put_percentiles(json, "statement", &all->statement);
  put_percentiles(json, "connect", &all->connect);
  cen_json_object_end(json);
}

static void put_path(struct cen_json *json, const cenote_path_statistics *path,
                     const uint64_t why[CENOTE_WHYS])
{
  put_count(json, "statements", path->statements);
  put_count(json, "errors", path->errors);
  cen_json_key(json, "why");
  cen_json_object(json);
  for (int reason = 0; reason < CENOTE_WHYS; reason++) {
    put_count(json, cenote_why_name((cenote_why)reason), why[reason]);
  }
  cen_json_object_end(json);
  put_percentiles(json, "wait", &path->wait);
  put_percentiles(json, "statement", &path->statement);
}

static void write_paths(struct cen_json *json, const struct cen_figures *figures)
{
  const cenote_statistics *all = &figures->statistics;
  cen_json_object(json);
  cen_json_key(json, "simple");
  cen_json_object(json);
  put_bool(json, "available", figures->simple_path);
  put_path(json, &all->simple, all->simple_why);
  put_int(json, "connections", all->pipelines);
  put_int(json, "idle", all->pipelines_idle);
  put_int(json, "inFlight", all->in_flight);
  put_spread(json, "depth", &all->depth);
  put_spread(json, "batch", &all->batch);
  cen_json_object_end(json);
  cen_json_key(json, "exclusive");
  cen_json_object(json);
  put_path(json, &all->exclusive, all->exclusive_why);
  cen_json_object_end(json);
  if (figures->http_path) {
    cen_json_key(json, "http");
    cen_json_object(json);
    put_bool(json, "available", all->http_breaker == CENOTE_BREAKER_CLOSED);
    put_path(json, &all->http, all->http_why);
    put_int(json, "inFlight", all->http_in_flight);
    put_count(json, "fallbacks", all->http_fallbacks);
    cen_json_object_end(json);
  }
#define PUT_METRICS(name, text)
#define PUT_PATHS(name, text) put_count(json, text, all->name);
  CEN_COUNTERS(PUT)
#undef PUT
#undef PUT_METRICS
#undef PUT_PATHS
#undef PUT_SHOWN_ELSEWHERE
  cen_json_object_end(json);
}

static void write_breaker(struct cen_json *json, const struct cen_breaker_figure *breaker)
{
  cen_json_object(json);
  put_text(json, "state", cenote_breaker_name(breaker->state));
  put_int(json, "notClosedMs", breaker->not_closed_ms);
  put_int(json, "nextAttemptMs", breaker->next_ms);
  put_count(json, "opened", breaker->opened);
  put_count(json, "rejected", breaker->rejected);
  put_text(json, "lastFailure", breaker->why != NULL ? breaker->why : "");
  cen_json_object_end(json);
}

static void write_breakers(struct cen_json *json, const struct cen_figures *figures)
{
  cen_json_object(json);
  cen_json_key(json, "endpoint");
  write_breaker(json, &figures->breaker);
  cen_json_key(json, "login");
  write_breaker(json, &figures->login_breaker);
  if (figures->http_path) {
    cen_json_key(json, "http");
    write_breaker(json, &figures->http_breaker);
  }
  cen_json_object_end(json);
}

void cen_write_statistics(struct cen_json *json, const struct cen_figures *figures)
{
  const cenote_statistics *all = &figures->statistics;
  cen_json_object(json);
  put_text(json, "state", cenote_state_name(all->state));
  cen_json_key(json, "config");
  write_config(json, figures);
  cen_json_key(json, "pool");
  write_pool(json, figures);
  cen_json_key(json, "metrics");
  write_metrics(json, figures);
  cen_json_key(json, "activeLeases");
  cen_json_array(json);
  for (size_t i = 0; i < figures->lease_count; i++) {
    write_lease(json, &figures->leases[i], figures->unix_ms);
  }
  cen_json_array_end(json);
  cen_json_key(json, "healthCheck");
  write_check(json, figures);
  cen_json_key(json, "latency");
  write_latency(json, all);
  cen_json_key(json, "paths");
  write_paths(json, figures);
  cen_json_key(json, "breakers");
  write_breakers(json, figures);
  cen_json_key(json, "lastMinute");
  write_recent(json, &figures->minute);
  cen_json_key(json, "last15Minutes");
  write_recent(json, &figures->quarter);
  put_int(json, "uptimeMs", figures->uptime_ms);
  put_text(json, "driver", figures->driver);
  put_text(json, "database", figures->database);
  put_time(json, figures);
  cen_json_object_end(json);
}

void cen_write_derived(struct cen_json *json, const struct cen_figures *figures)
{
  struct cen_derived derived;
  cen_figures_derive(figures, &derived);
  cen_json_object(json);
  put_real(json, "utilizationPercentage", derived.utilization);
  put_real(json, "successRate", derived.success_rate);
  put_real(json, "averageLeaseAge", derived.average_lease_ms);
  put_real(json, "poolEfficiency", derived.efficiency);
  put_real(json, "reuseRate", derived.reuse_rate);
  put_real(json, "acquiresPerSecond", derived.acquires_per_second);
  put_real(json, "statementsPerSecond", derived.statements_per_second);
  put_real(json, "statementErrorRate", derived.error_rate);
  put_percentiles(json, "acquireWait", &figures->statistics.acquire_wait);
  put_percentiles(json, "hold", &figures->statistics.hold);
  put_percentiles(json, "statement", &figures->statistics.statement);
  cen_json_object_end(json);
}

/* -------------------------------------------------------- health and advice */

void cen_write_issues(struct cen_json *json, const struct cen_health *health)
{
  cen_json_array(json);
  for (size_t i = 0; i < health->count; i++) {
    cen_json_string(json, health->text[i]);
  }
  cen_json_array_end(json);
}

void cen_write_advice(struct cen_json *json, const struct cen_advice *advice)
{
  cen_json_array(json);
  for (size_t i = 0; i < advice->count; i++) {
    const struct cen_recommendation *one = &advice->of[i];
    cen_json_object(json);
    put_text(json, "type", one->type);
    put_text(json, "message", one->message);
    put_text(json, "suggestion", one->suggestion);
    put_text(json, "priority", cen_priority_name(one->priority));
    cen_json_object_end(json);
  }
  cen_json_array_end(json);
}

/* ------------------------------------------------------------------- texts */

static char *take_text(struct cen_buf *buf)
{
  char *text = cen_buf_take(buf);
  cen_buf_deinit(buf);
  return text;
}

static void start(struct cen_buf *buf, struct cen_json *json)
{
  cen_buf_init(buf, OUTPUT_CEILING);
  cen_json_init(json, buf);
}

char *cen_statistics_json(const struct cen_figures *figures)
{
  struct cen_buf buf;
  struct cen_json json;
  start(&buf, &json);
  cen_write_statistics(&json, figures);
  return take_text(&buf);
}

/* What health and status have in common, as members of an object that is open; only the names of
 * two of them differ. */
static void put_verdict(struct cen_json *json, const struct cen_figures *figures,
                        const struct cen_health *health, const char *status_key,
                        const char *statistics_key)
{
  struct cen_advice advice;
  cen_advise(figures, health, &advice);
  put_text(json, status_key, cenote_health_name(health->status));
  put_text(json, "state", cenote_state_name(figures->statistics.state));
  cen_json_key(json, statistics_key);
  cen_write_statistics(json, figures);
  cen_json_key(json, "issues");
  cen_write_issues(json, health);
  cen_json_key(json, "recommendations");
  cen_write_advice(json, &advice);
  cen_json_key(json, "derivedMetrics");
  cen_write_derived(json, figures);
}

/* The shape of getStats(), as members of an object that is open. */
static void put_stats(struct cen_json *json, const struct cen_figures *figures)
{
  const cenote_statistics *now = &figures->statistics;
  const bool open = now->state == CENOTE_STATE_IDLE || now->state == CENOTE_STATE_ACTIVE;
  const bool neon = figures->http_path || figures->simple_path;
  put_int(json, "totalConnections", now->total_connections);
  put_int(json, "activeConnections", now->active_leases);
  put_int(json, "idleConnections", now->idle_connections);
  put_int(json, "waitingClients", now->waiters);
  put_text(json, "neonClient", neon ? "initialized" : "not_initialized");
  put_text(json, "pgPool", open ? "initialized" : "not_initialized");
  put_time(json, figures);
}

static void put_well(struct cen_json *json, const char *key, const char *problem)
{
  cen_json_key(json, key);
  cen_json_object(json);
  put_bool(json, "healthy", problem == NULL);
  put_text(json, "error", problem);
  cen_json_object_end(json);
}

/* The shape of healthCheck(): one verdict for each of the two paths. */
static void put_both(struct cen_json *json, const struct cen_figures *figures,
                     const struct cen_health *health)
{
  const struct cen_breaker_figure *breaker = &figures->http_breaker;
  const char *refused = breaker->state == CENOTE_BREAKER_CLOSED ? NULL
                        : breaker->why != NULL                  ? breaker->why
                                                                : "";
  put_well(json, "neon", figures->http_error != NULL ? figures->http_error : refused);
  put_well(json, "pgPool", health->status == CENOTE_UNHEALTHY ? health->text[health->worst] : NULL);
  cen_json_key(json, "stats");
  cen_json_object(json);
  put_stats(json, figures);
  cen_json_object_end(json);
}

char *cen_health_json(const struct cen_figures *figures)
{
  struct cen_buf buf;
  struct cen_json json;
  struct cen_health health;
  cen_health_judge(figures, &health);
  start(&buf, &json);
  cen_json_object(&json);
  put_verdict(&json, figures, &health, "status", "poolStatistics");
  if (figures->http_path) {
    put_both(&json, figures, &health);
  }
  put_time(&json, figures);
  cen_json_object_end(&json);
  return take_text(&buf);
}

void cen_write_pool_members(struct cen_json *json, const struct cen_figures *figures,
                            const struct cen_health *health)
{
  put_verdict(json, figures, health, "health", "statistics");
}

char *cen_stats_json(const struct cen_figures *figures)
{
  struct cen_buf buf;
  struct cen_json json;
  start(&buf, &json);
  cen_json_object(&json);
  put_stats(&json, figures);
  cen_json_object_end(&json);
  return take_text(&buf);
}

char *cen_status_json(const struct cen_figures *figures)
{
  struct cen_buf buf;
  struct cen_json json;
  struct cen_health health;
  cen_health_judge(figures, &health);
  start(&buf, &json);
  cen_json_object(&json);
  put_text(&json, "status", cenote_health_name(health.status));
  put_time(&json, figures);
  cen_json_key(&json, "connectionPool");
  cen_json_object(&json);
  cen_write_pool_members(&json, figures, &health);
  cen_json_object_end(&json);
  cen_json_object_end(&json);
  return take_text(&buf);
}
