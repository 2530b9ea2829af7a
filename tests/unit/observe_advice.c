/* observe_advice.c - recommendations: the documented thresholds and ours, at, below and above. */
#include "observe_help.h"

static size_t advice_count(const struct cen_figures *figures)
{
  struct cen_health health;
  struct cen_advice advice;
  cen_health_judge(figures, &health);
  cen_advise(figures, &health, &advice);
  return advice.count;
}

static void manager_that_is_well_gets_no_advice(void **state)
{
  (void)state;
  struct cen_figures figures = good_figures();
  assert_int_equal(advice_count(&figures), 0);
}

static void utilization_above_80_percent_is_a_warning(void **state)
{
  (void)state;
  struct cen_figures figures = good_figures();
  figures.statistics.active_leases = 16;
  assert_int_equal(advice_count(&figures), 0);
  figures.statistics.active_leases = 17;
  assert_true(advises(&figures, "warning", CEN_HIGH, "85 %"));
}

static void success_below_95_percent_is_critical(void **state)
{
  (void)state;
  struct cen_figures figures = good_figures();
  figures.quarter = (struct cen_recent){.leases_granted = 95, .acquire_timeouts = 5};
  assert_false(advises(&figures, "error", CEN_CRITICAL, "success rate"));
  figures.quarter.acquire_refused = 1;
  assert_true(advises(&figures, "error", CEN_CRITICAL, "success rate"));
  figures.quarter = (struct cen_recent){0}; /* nothing happened: nothing failed */
  assert_false(advises(&figures, "error", CEN_CRITICAL, "success rate"));
  /* long ago does not count */
  figures.statistics.acquire_timeouts = 100000;
  assert_false(advises(&figures, "error", CEN_CRITICAL, "success rate"));
}

static void leases_older_than_80_percent_of_their_time_are_a_warning(void **state)
{
  (void)state;
  struct cen_figures figures = good_figures();
  cenote_lease_info leases[2] = {CENOTE_LEASE_INFO_INIT, CENOTE_LEASE_INFO_INIT};
  figures.leases = leases;
  figures.lease_count = 2;
  leases[0].age_ms = 29000;
  leases[1].age_ms = 19000; /* average 24000 of 30000: exactly 80 % */
  assert_false(advises(&figures, "warning", CEN_MEDIUM, "Long leases"));
  leases[1].age_ms = 19002;
  assert_true(advises(&figures, "warning", CEN_MEDIUM, "Long leases"));
  figures.lease_count = 0; /* 0 without leases */
  assert_false(advises(&figures, "warning", CEN_MEDIUM, "Long leases"));
}

static void releases_below_98_percent_are_an_info(void **state)
{
  (void)state;
  struct cen_figures figures = good_figures();
  /* 40 are still held: they are set aside */
  figures.quarter =
      (struct cen_recent){.leases_granted = 1040, .leases_released = 980, .lease_timeouts = 20};
  assert_false(advises(&figures, "info", CEN_MEDIUM, "not released"));
  figures.quarter.lease_timeouts = 21;
  assert_true(advises(&figures, "info", CEN_MEDIUM, "not released"));
}

static void unhealthy_is_critical(void **state)
{
  (void)state;
  struct cen_figures figures = good_figures();
  figures.probe = CEN_PROBE_FAILED;
  assert_true(advises(&figures, "error", CEN_CRITICAL, "unhealthy"));
  /* What made it so is named, not what came first. */
  figures.statistics.active_leases = figures.statistics.max_connections;
  assert_true(advises(&figures, "error", CEN_CRITICAL, "unhealthy: The database did not answer"));
  figures = good_figures();
  figures.statistics.state = CENOTE_STATE_DRAINING;
  figures.statistics.total_connections = 0;
  assert_true(advises(&figures, "error", CEN_CRITICAL, "shutting down"));
  assert_int_equal(advice_count(&figures), 1); /* nothing to tune any more */
}

static void no_connection_is_a_warning(void **state)
{
  (void)state;
  struct cen_figures figures = good_figures();
  figures.statistics.total_connections = 1;
  assert_false(advises(&figures, "warning", CEN_HIGH, "No connection"));
  figures.statistics.total_connections = 0;
  assert_true(advises(&figures, "warning", CEN_HIGH, "No connection"));
}

static void more_than_twice_the_maximum_created_is_an_info(void **state)
{
  (void)state;
  struct cen_figures figures = good_figures();
  figures.statistics.connections_created = 100000; /* since last year */
  figures.quarter.connections_created = 40;
  assert_false(advises(&figures, "info", CEN_LOW, "Many new connections"));
  figures.quarter.connections_created = 41;
  assert_true(advises(&figures, "info", CEN_LOW, "Many new connections"));
}

static void connections_for_few_leases_are_an_info(void **state)
{
  (void)state;
  struct cen_figures figures = good_figures();
  figures.quarter.leases_granted = 50;
  figures.quarter.connections_created = 10;
  assert_false(advises(&figures, "info", CEN_LOW, "few leases"));
  figures.quarter.leases_granted = 49;
  assert_true(advises(&figures, "info", CEN_LOW, "few leases"));
  figures.quarter.connections_created = 9;
  figures.quarter.leases_granted = 9;
  assert_false(advises(&figures, "info", CEN_LOW, "few leases"));
}

static void long_waits_are_a_warning_before_they_fail(void **state)
{
  (void)state;
  struct cen_figures figures = good_figures();
  figures.statistics.acquire_wait.count = 20;
  figures.statistics.acquire_wait.p95_us = 500000; /* 10 % of 5000 ms */
  assert_false(advises(&figures, "warning", CEN_MEDIUM, "Long waits"));
  figures.statistics.acquire_wait.p95_us = 500001;
  assert_true(advises(&figures, "warning", CEN_MEDIUM, "Long waits"));
  figures.statistics.acquire_wait.count = 19;
  assert_false(advises(&figures, "warning", CEN_MEDIUM, "Long waits"));
}

static void failed_acquires_are_a_warning(void **state)
{
  (void)state;
  struct cen_figures figures = good_figures();
  figures.minute.acquire_timeouts = 1;
  assert_true(advises(&figures, "warning", CEN_HIGH, "1 acquires timed out and 0 were refused"));
  figures.minute.acquire_timeouts = 0;
  figures.minute.acquire_refused = 1;
  assert_true(advises(&figures, "warning", CEN_HIGH, "0 acquires timed out and 1 were refused"));
}

static void errors_of_the_database_get_their_own_advice(void **state)
{
  (void)state;
  struct cen_figures figures = good_figures();
  figures.minute.login_failures = 1;
  assert_true(advises(&figures, "error", CEN_CRITICAL, "refused 1 logins"));
  figures.minute.connection_errors = 2;
  assert_false(advises(&figures, "warning", CEN_HIGH, "attempts to connect"));
  figures.minute.connection_errors = 3;
  assert_true(advises(&figures, "warning", CEN_HIGH, "3 attempts to connect"));
}

static void slow_statements_above_5_percent_are_an_info(void **state)
{
  (void)state;
  struct cen_figures figures = good_figures();
  figures.quarter.statements = 20;
  figures.quarter.slow_statements = 1;
  assert_false(advises(&figures, "info", CEN_MEDIUM, "slower than"));
  figures.quarter.slow_statements = 2;
  assert_true(advises(&figures, "info", CEN_MEDIUM, "slower than"));
  figures.quarter.statements = 19;
  assert_false(advises(&figures, "info", CEN_MEDIUM, "slower than"));
}

static void callers_refused_by_a_breaker_are_a_warning(void **state)
{
  (void)state;
  struct cen_figures figures = good_figures();
  figures.quarter.breaker_rejections = 7;
  assert_int_equal(advice_count(&figures), 0);
  figures.minute.breaker_rejections = 1;
  assert_true(advises(&figures, "warning", CEN_HIGH, "refused 1 callers"));
}

static void many_retries_are_an_info(void **state)
{
  (void)state;
  struct cen_figures figures = good_figures();
  figures.quarter.statements = 20;
  figures.quarter.retries = 1;
  assert_false(advises(&figures, "info", CEN_MEDIUM, "tried again"));
  figures.quarter.retries = 2;
  assert_true(advises(&figures, "info", CEN_MEDIUM, "2 statements"));
  figures.quarter.statements = 19;
  assert_false(advises(&figures, "info", CEN_MEDIUM, "tried again"));
}

static void many_fallbacks_are_an_info(void **state)
{
  (void)state;
  struct cen_figures figures = good_figures();
  figures.quarter.statements = 20;
  figures.quarter.fallbacks = 4;
  assert_false(advises(&figures, "info", CEN_LOW, "shared connection first"));
  figures.quarter.fallbacks = 5;
  assert_true(advises(&figures, "info", CEN_LOW, "shared connection first"));
}

static void memory_pressure_is_an_info(void **state)
{
  (void)state;
  struct cen_figures figures = good_figures();
  figures.statistics.memory_pressure_events = 5;
  assert_int_equal(advice_count(&figures), 0);
  figures.quarter.memory_pressure_events = 1;
  assert_true(advises(&figures, "info", CEN_MEDIUM, "Memory ran short 1 times"));
}

static void lease_past_its_deadline_is_named_and_escaped(void **state)
{
  (void)state;
  struct cen_figures figures = good_figures();
  cenote_lease_info lease = CENOTE_LEASE_INFO_INIT;
  snprintf(lease.operation_id, sizeof(lease.operation_id), "report\n\"x\"");
  figures.leases = &lease;
  figures.lease_count = 1;
  assert_int_equal(advice_count(&figures), 0);
  lease.remaining_ms = -1;
  assert_true(advises(&figures, "warning", CEN_MEDIUM, "report\\x0a\\x22x\\x22"));
}

static void most_urgent_comes_first(void **state)
{
  (void)state;
  struct cen_figures figures = good_figures();
  struct cen_health health;
  struct cen_advice advice;
  figures.quarter.connections_created = 1000; /* low */
  figures.quarter.memory_pressure_events = 1; /* medium */
  figures.statistics.active_leases = 20;      /* high */
  figures.minute.login_failures = 1;          /* critical */
  cen_health_judge(&figures, &health);
  cen_advise(&figures, &health, &advice);
  assert_true(advice.count >= 4);
  for (size_t i = 1; i < advice.count; i++) {
    assert_true(advice.of[i - 1].priority <= advice.of[i].priority);
  }
  assert_string_equal(cen_priority_name(advice.of[0].priority), "critical");
  assert_string_equal(cen_priority_name(advice.of[advice.count - 1].priority), "low");
}

static void shares_stay_within_0_and_100(void **state)
{
  (void)state;
  struct cen_figures figures = good_figures();
  struct cen_derived derived;
  figures.quarter = (struct cen_recent){.lease_timeouts = 5};
  figures.statistics.active_leases = 30; /* after a shrink */
  figures.statistics.leases_granted = 1;
  figures.statistics.connections_created = 5;
  cen_figures_derive(&figures, &derived);
  assert_true(derived.success_rate == 0);
  assert_true(derived.efficiency == 0);
  assert_true(derived.utilization == 100);
  assert_true(derived.reuse_rate == 0);
  figures = (struct cen_figures){0};
  cen_figures_derive(&figures, &derived);
  assert_true(derived.success_rate == 100);
  assert_true(derived.efficiency == 100);
  assert_true(derived.utilization == 0);
  assert_true(derived.average_lease_ms == 0);
  assert_true(derived.acquires_per_second == 0);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(manager_that_is_well_gets_no_advice),
      cmocka_unit_test(utilization_above_80_percent_is_a_warning),
      cmocka_unit_test(success_below_95_percent_is_critical),
      cmocka_unit_test(leases_older_than_80_percent_of_their_time_are_a_warning),
      cmocka_unit_test(releases_below_98_percent_are_an_info),
      cmocka_unit_test(unhealthy_is_critical),
      cmocka_unit_test(no_connection_is_a_warning),
      cmocka_unit_test(more_than_twice_the_maximum_created_is_an_info),
      cmocka_unit_test(connections_for_few_leases_are_an_info),
      cmocka_unit_test(long_waits_are_a_warning_before_they_fail),
      cmocka_unit_test(failed_acquires_are_a_warning),
      cmocka_unit_test(errors_of_the_database_get_their_own_advice),
      cmocka_unit_test(slow_statements_above_5_percent_are_an_info),
      cmocka_unit_test(callers_refused_by_a_breaker_are_a_warning),
      cmocka_unit_test(many_retries_are_an_info),
      cmocka_unit_test(many_fallbacks_are_an_info),
      cmocka_unit_test(memory_pressure_is_an_info),
      cmocka_unit_test(lease_past_its_deadline_is_named_and_escaped),
      cmocka_unit_test(most_urgent_comes_first),
      cmocka_unit_test(shares_stay_within_0_and_100),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
