/* observe_json.c - the JSON shapes that dashboards read, parsed by someone else's parser. */
#include "observe_help.h"

#include "core/slot.h"

#include <jansson.h>

/* Parses and frees the text; every one must be a JSON object. */
static json_t *parse(char *text)
{
  json_error_t error;
  assert_non_null(text);
  json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, &error);
  if (root == NULL) {
    fail_msg("%s in %s", error.text, text);
  }
  free(text);
  assert_true(json_is_object(root));
  return root;
}

static json_t *get(json_t *object, const char *path)
{
  char key[64];
  while (*path != '\0') {
    size_t size = strcspn(path, ".");
    snprintf(key, sizeof(key), "%.*s", (int)size, path);
    object = json_object_get(object, key);
    if (object == NULL) {
      fail_msg("no member %s", key);
    }
    path += size + (path[size] == '.' ? 1 : 0);
  }
  return object;
}

static void assert_number(json_t *root, const char *path, json_int_t expected)
{
  json_t *value = get(root, path);
  assert_true(json_is_integer(value));
  assert_int_equal(json_integer_value(value), expected);
}

static void assert_text(json_t *root, const char *path, const char *expected)
{
  json_t *value = get(root, path);
  assert_true(json_is_string(value));
  assert_string_equal(json_string_value(value), expected);
}

static cenote_lease_info sample_lease(void)
{
  cenote_lease_info lease = CENOTE_LEASE_INFO_INIT;
  lease.lease = (cenote_lease){.manager = 1, .slot = 2, .generation = UINT64_MAX};
  snprintf(lease.operation_id, sizeof(lease.operation_id), "get-\"user\"\n\x01\xff");
  lease.created_unix_ms = 1705314590000;
  lease.age_ms = 10000;
  lease.idle_ms = 250;
  lease.remaining_ms = 20000;
  return lease;
}

static void check_statistics(json_t *root)
{
  assert_text(root, "state", "ACTIVE");
  assert_number(root, "config.maxConnections", 20);
  assert_number(root, "config.acquireTimeout", 5000);
  assert_number(root, "config.leaseTimeout", 30000);
  assert_number(root, "config.healthCheckInterval", 60000);
  assert_null(json_object_get(json_object_get(root, "config"), "threads")); /* the gateway's */
  assert_null(json_object_get(json_object_get(root, "config"), "maxClients"));
  assert_number(root, "pool.totalConnections", 4);
  assert_number(root, "pool.availableConnections", 3);
  assert_number(root, "pool.activeLeases", 1);
  assert_number(root, "pool.maxConnections", 20);
  assert_number(root, "metrics.totalConnectionsCreated", 5);
  assert_number(root, "metrics.totalLeasesGranted", 1000);
  assert_number(root, "metrics.totalLeasesReleased", 999);
  assert_number(root, "metrics.currentActiveLeases", 1);
  assert_number(root, "metrics.connectionCreationErrors", 11);
  assert_number(root, "metrics.leaseTimeouts", 12);
  assert_number(root, "metrics.healthCheckFailures", 13);
  assert_number(root, "metrics.closedBy.idle", 7);
  assert_number(root, "healthCheck.interval", 60000);
  assert_true(json_is_true(get(root, "healthCheck.enabled")));
  assert_number(root, "latency.acquireWait.count", 42);
  assert_number(root, "last15Minutes.leasesGranted", 500);
  assert_number(root, "last15Minutes.breakerRejections", 0);
  assert_true(json_is_true(get(root, "paths.simple.available")));
  assert_number(root, "paths.simple.statements", 31);
  assert_number(root, "paths.simple.errors", 3);
  assert_number(root, "paths.simple.wait.count", 30);
  assert_number(root, "paths.simple.connections", 2);
  assert_number(root, "paths.simple.idle", 1);
  assert_number(root, "paths.simple.inFlight", 9);
  assert_number(root, "paths.simple.depth.p95", 16);
  assert_number(root, "paths.simple.batch.max", 12);
  assert_number(root, "paths.exclusive.statements", 32);
  assert_number(root, "paths.exclusive.statement.count", 0);
  assert_number(root, "paths.fallbacks", 33);
  assert_number(root, "paths.retries", 34);
  assert_number(root, "paths.reruns", 35);
  assert_number(root, "paths.transactionRetries", 36);
  assert_text(root, "breakers.endpoint.state", "closed");
  assert_text(root, "breakers.endpoint.lastFailure", "");
  assert_number(root, "breakers.endpoint.opened", 0);
  assert_text(root, "breakers.login.state", "half-open");
  assert_text(root, "breakers.login.lastFailure", "no \"such\" user");
  assert_number(root, "breakers.login.notClosedMs", 5000);
  assert_number(root, "breakers.login.nextAttemptMs", 700);
  assert_number(root, "breakers.login.opened", 2);
  assert_number(root, "breakers.login.rejected", 44);
  assert_text(root, "timestamp", "2024-01-15T10:30:00.000Z");
  json_t *lease = json_array_get(get(root, "activeLeases"), 0);
  assert_text(lease, "id", "1-2-18446744073709551615");
  assert_text(lease, "operationId", "get-\"user\"\n\x01\xEF\xBF\xBD");
  assert_number(lease, "createdAt", 1705314590000);
  assert_number(lease, "lastUsed", 1705314599750);
  assert_number(lease, "ageMs", 10000);
  assert_number(lease, "idleMs", 250);
  assert_true(json_is_false(get(lease, "isReleased")));
}

static struct cen_figures sample_figures(const cenote_lease_info *lease)
{
  static const uint64_t closed_by[POOL_REASON_COUNT] = {[POOL_REASON_IDLE] = 7};
  struct cen_figures figures = good_figures();
  figures.leases = lease;
  figures.lease_count = 1;
  figures.statistics.connection_errors = 11;
  figures.statistics.lease_timeouts = 12;
  figures.statistics.check_failures = 13;
  figures.statistics.acquire_wait.count = 42;
  figures.simple_path = true;
  figures.statistics.simple =
      (cenote_path_statistics){.statements = 31, .errors = 3, .wait.count = 30};
  figures.statistics.exclusive.statements = 32;
  figures.statistics.pipelines = 2;
  figures.statistics.pipelines_idle = 1;
  figures.statistics.in_flight = 9;
  figures.statistics.depth.p95_us = 16;
  figures.statistics.batch.max_us = 12;
  figures.statistics.fallbacks = 33;
  figures.statistics.retries = 34;
  figures.statistics.reruns = 35;
  figures.statistics.transaction_retries = 36;
  figures.closed_by = closed_by;
  return figures;
}

static void pool_statistics_have_the_documented_shape(void **state)
{
  (void)state;
  cenote_lease_info lease = sample_lease();
  struct cen_figures figures = sample_figures(&lease);
  figures.login_breaker = (struct cen_breaker_figure){.state = CENOTE_BREAKER_HALF_OPEN,
                                                      .not_closed_ms = 5000,
                                                      .next_ms = 700,
                                                      .opened = 2,
                                                      .rejected = 44,
                                                      .why = "no \"such\" user"};
  json_t *root = parse(cen_statistics_json(&figures));
  check_statistics(root);
  json_decref(root);
}

static void health_has_the_documented_shape(void **state)
{
  (void)state;
  cenote_lease_info lease = sample_lease();
  struct cen_figures figures = sample_figures(&lease);
  figures.statistics.active_leases = 20;
  json_t *root = parse(cen_health_json(&figures));
  assert_text(root, "status", "degraded");
  assert_text(root, "state", "ACTIVE");
  assert_text(root, "timestamp", "2024-01-15T10:30:00.000Z");
  assert_int_equal(json_array_size(get(root, "issues")), 1);
  assert_string_equal(json_string_value(json_array_get(get(root, "issues"), 0)),
                      "High lease utilization");
  assert_number(root, "poolStatistics.pool.maxConnections", 20);
  json_decref(root);
}

static void status_has_the_documented_shape(void **state)
{
  (void)state;
  cenote_lease_info lease = sample_lease();
  struct cen_figures figures = sample_figures(&lease);
  figures.statistics.active_leases = 20;
  json_t *root = parse(cen_status_json(&figures));
  assert_text(root, "status", "degraded");
  assert_text(root, "timestamp", "2024-01-15T10:30:00.000Z");
  assert_text(root, "connectionPool.health", "degraded");
  assert_text(root, "connectionPool.state", "ACTIVE");
  assert_number(root, "connectionPool.statistics.pool.activeLeases", 20);
  assert_true(json_number_value(get(root, "connectionPool.derivedMetrics.utilizationPercentage")) ==
              100.0);
  assert_true(json_is_number(get(root, "connectionPool.derivedMetrics.successRate")));
  assert_true(json_number_value(get(root, "connectionPool.derivedMetrics.averageLeaseAge")) ==
              10000.0);
  assert_true(json_is_number(get(root, "connectionPool.derivedMetrics.poolEfficiency")));
  json_t *advice = json_array_get(get(root, "connectionPool.recommendations"), 0);
  assert_text(advice, "type", "warning");
  assert_text(advice, "priority", "high");
  assert_true(strlen(json_string_value(get(advice, "message"))) > 0);
  assert_true(strlen(json_string_value(get(advice, "suggestion"))) > 0);
  json_decref(root);
}

static void stats_have_the_documented_shape(void **state)
{
  (void)state;
  struct cen_figures figures = good_figures();
  figures.statistics.total_connections = 15;
  figures.statistics.active_leases = 8;
  figures.statistics.idle_connections = 7;
  json_t *root = parse(cen_stats_json(&figures));
  assert_int_equal(json_object_size(root), 7);
  assert_number(root, "totalConnections", 15);
  assert_number(root, "activeConnections", 8);
  assert_number(root, "idleConnections", 7);
  assert_number(root, "waitingClients", 0);
  assert_text(root, "neonClient", "not_initialized");
  assert_text(root, "pgPool", "initialized");
  assert_text(root, "timestamp", "2024-01-15T10:30:00.000Z");
  json_decref(root);
  figures.simple_path = true;
  figures.statistics.state = CENOTE_STATE_SHUTDOWN;
  root = parse(cen_stats_json(&figures));
  assert_text(root, "neonClient", "initialized");
  assert_text(root, "pgPool", "not_initialized");
  json_decref(root);
}

static void empty_figures_are_valid_json_too(void **state)
{
  (void)state;
  struct cen_figures figures = {0};
  json_decref(parse(cen_statistics_json(&figures)));
  json_decref(parse(cen_health_json(&figures)));
  json_decref(parse(cen_stats_json(&figures)));
  json_decref(parse(cen_status_json(&figures)));
}

static void numbers_beyond_int64_stay_valid(void **state)
{
  (void)state;
  struct cen_figures figures = good_figures();
  figures.statistics.leases_granted = UINT64_MAX;
  figures.statistics.hold.mean_us = 1e300;
  figures.statistics.statement.mean_us = 0.0 / 1.0;
  char *text = cen_statistics_json(&figures);
  assert_non_null(strstr(text, "\"totalLeasesGranted\":18446744073709551615"));
  free(text);
}

static void timestamps_are_iso_8601_in_utc(void **state)
{
  (void)state;
  static const struct {
    int64_t unix_ms;
    const char *text;
  } cases[] = {
      {0, "1970-01-01T00:00:00.000Z"},
      {1, "1970-01-01T00:00:00.001Z"},
      {-1, "1969-12-31T23:59:59.999Z"},
      {1705314600000, "2024-01-15T10:30:00.000Z"},
      {1709210096789, "2024-02-29T12:34:56.789Z"},
      {INT64_C(253402300799999), "9999-12-31T23:59:59.999Z"},
      {INT64_MAX, "1970-01-01T00:00:00.000Z"},
  };
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    char text[CEN_TIME_SIZE];
    cen_time_text(text, cases[i].unix_ms);
    assert_string_equal(text, cases[i].text);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(pool_statistics_have_the_documented_shape),
      cmocka_unit_test(health_has_the_documented_shape),
      cmocka_unit_test(status_has_the_documented_shape),
      cmocka_unit_test(stats_have_the_documented_shape),
      cmocka_unit_test(empty_figures_are_valid_json_too),
      cmocka_unit_test(numbers_beyond_int64_stay_valid),
      cmocka_unit_test(timestamps_are_iso_8601_in_utc),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
