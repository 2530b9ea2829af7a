/* observe_health.c - the health verdict: each threshold at, just below and just above. */
#include "observe_help.h"

static void used_manager_is_healthy(void **state)
{
  (void)state;
  struct cen_figures figures = good_figures();
  struct cen_health health;
  cen_health_judge(&figures, &health);
  assert_int_equal(health.status, CENOTE_HEALTHY);
  assert_int_equal(health.count, 0);
}

static void new_manager_is_not_unhealthy(void **state)
{
  (void)state;
  struct cen_figures figures = {0};
  for (int id = 0; id < CEN_SETTING_COUNT; id++) {
    figures.setting[id] = cen_setting_default((cen_setting_id)id, CEN_PROFILE_LOCAL);
  }
  figures.statistics.max_connections = 5;
  assert_int_equal(status_of(&figures), CENOTE_HEALTHY);
  figures.statistics.opening = 1;
  assert_int_equal(status_of(&figures), CENOTE_HEALTHY);
}

static void contract_texts_are_exact(void **state)
{
  (void)state;
  struct cen_figures figures = good_figures();
  struct cen_health health;
  figures.statistics.active_leases = 20;
  figures.minute.connection_errors = 3;
  figures.quarter.lease_timeouts = 3;
  figures.minute.check_failures = 1;
  cen_health_judge(&figures, &health);
  assert_int_equal(health.count, 4);
  assert_int_equal(health.status, CENOTE_DEGRADED);
  assert_string_equal(health.text[0], "High lease utilization");
  assert_string_equal(health.text[1], "Multiple connection creation errors");
  assert_string_equal(health.text[2], "Frequent lease timeouts");
  assert_string_equal(health.text[3], "Recent health check failures");
}

static void utilization_above_80_percent_is_an_issue(void **state)
{
  (void)state;
  struct cen_figures figures = good_figures();
  figures.statistics.active_leases = 15;
  assert_false(has_issue(&figures, CEN_ISSUE_UTILIZATION));
  figures.statistics.active_leases = 16; /* of 20: exactly 80 % */
  assert_false(has_issue(&figures, CEN_ISSUE_UTILIZATION));
  assert_int_equal(status_of(&figures), CENOTE_HEALTHY);
  figures.statistics.active_leases = 17;
  assert_true(has_issue(&figures, CEN_ISSUE_UTILIZATION));
  assert_int_equal(status_of(&figures), CENOTE_DEGRADED);
}

static void third_connection_error_in_a_minute_is_an_issue(void **state)
{
  (void)state;
  struct cen_figures figures = good_figures();
  figures.statistics.connection_errors = 1000; /* long ago */
  figures.quarter.connection_errors = 1000;
  figures.minute.connection_errors = 2;
  assert_false(has_issue(&figures, CEN_ISSUE_CONNECT_ERRORS));
  figures.minute.connection_errors = 3;
  assert_true(has_issue(&figures, CEN_ISSUE_CONNECT_ERRORS));
  assert_int_equal(status_of(&figures), CENOTE_DEGRADED);
}

static void third_lease_timeout_in_a_quarter_is_an_issue(void **state)
{
  (void)state;
  struct cen_figures figures = good_figures();
  figures.statistics.lease_timeouts = 1000;
  figures.quarter.lease_timeouts = 2;
  assert_false(has_issue(&figures, CEN_ISSUE_LEASE_TIMEOUTS));
  figures.quarter.lease_timeouts = 3;
  assert_true(has_issue(&figures, CEN_ISSUE_LEASE_TIMEOUTS));
}

static void recent_check_failures_are_an_issue(void **state)
{
  (void)state;
  struct cen_figures figures = good_figures();
  figures.statistics.check_failures = 1000;
  figures.quarter.check_failures = 2;
  assert_false(has_issue(&figures, CEN_ISSUE_CHECK_FAILURES));
  figures.quarter.check_failures = 3;
  assert_true(has_issue(&figures, CEN_ISSUE_CHECK_FAILURES));
  figures.quarter.check_failures = 1;
  figures.minute.check_failures = 1;
  assert_true(has_issue(&figures, CEN_ISSUE_CHECK_FAILURES));
}

static void callers_that_time_out_are_an_issue(void **state)
{
  (void)state;
  struct cen_figures figures = good_figures();
  figures.quarter.acquire_timeouts = 9;
  assert_false(has_issue(&figures, CEN_ISSUE_ACQUIRE_TIMEOUTS));
  figures.minute.acquire_timeouts = 1;
  assert_true(has_issue(&figures, CEN_ISSUE_ACQUIRE_TIMEOUTS));
}

static void queue_from_80_percent_is_an_issue(void **state)
{
  (void)state;
  struct cen_figures figures = good_figures();
  figures.setting[CEN_SET_MAX_WAITERS] = 100;
  figures.statistics.waiters = 79;
  assert_false(has_issue(&figures, CEN_ISSUE_QUEUE));
  figures.statistics.waiters = 80;
  assert_true(has_issue(&figures, CEN_ISSUE_QUEUE));
  figures.statistics.waiters = 0;
  figures.setting[CEN_SET_MAX_WAITERS] = 0;
  assert_false(has_issue(&figures, CEN_ISSUE_QUEUE));
}

static void failed_connect_without_any_connection_is_unhealthy_while_fresh(void **state)
{
  (void)state;
  struct cen_figures figures = good_figures();
  struct cen_health health;
  figures.connect_error = "connection refused";
  figures.connect_error_age_ms = 10;
  assert_int_equal(status_of(&figures), CENOTE_HEALTHY); /* others are open */
  figures.statistics.total_connections = 0;
  figures.connect_error_age_ms = 60000;
  cen_health_judge(&figures, &health);
  assert_int_equal(health.status, CENOTE_UNHEALTHY);
  assert_non_null(strstr(health.text[0], "connection refused"));
  figures.connect_error_age_ms = 60001;
  cen_health_judge(&figures, &health);
  assert_int_equal(health.status, CENOTE_DEGRADED);
  assert_true(health.has[CEN_ISSUE_LOST_CONNECTIONS]);
  figures.connect_error = NULL;
  assert_int_equal(status_of(&figures), CENOTE_HEALTHY);
}

static void probe_decides_when_there_was_one(void **state)
{
  (void)state;
  struct cen_figures figures = good_figures();
  struct cen_health health;
  figures.probe = CEN_PROBE_GOOD;
  assert_int_equal(status_of(&figures), CENOTE_HEALTHY);
  figures.probe = CEN_PROBE_FAILED;
  figures.probe_error = "no answer within 5000 ms";
  cen_health_judge(&figures, &health);
  assert_int_equal(health.status, CENOTE_UNHEALTHY);
  assert_string_equal(health.text[0], "The database did not answer: no answer within 5000 ms");
}

static void refused_login_is_an_issue(void **state)
{
  (void)state;
  struct cen_figures figures = good_figures();
  figures.quarter.login_failures = 1;
  assert_false(has_issue(&figures, CEN_ISSUE_LOGIN_REFUSED));
  figures.minute.login_failures = 1;
  assert_true(has_issue(&figures, CEN_ISSUE_LOGIN_REFUSED));
  assert_int_equal(status_of(&figures), CENOTE_DEGRADED);
}

static void a_breaker_that_refuses_callers_is_unhealthy(void **state)
{
  (void)state;
  static const cenote_breaker_state states[] = {CENOTE_BREAKER_IS_OPEN, CENOTE_BREAKER_HALF_OPEN};
  for (size_t i = 0; i < 2; i++) {
    struct cen_figures figures = good_figures();
    assert_false(has_issue(&figures, CEN_ISSUE_BREAKER_OPEN));
    figures.breaker.state = states[i];
    figures.breaker.why = "connection refused";
    struct cen_health health;
    cen_health_judge(&figures, &health);
    assert_int_equal(health.status, CENOTE_UNHEALTHY);
    assert_string_equal(health.text[0], "The circuit breaker is open: connection refused");
  }
}

/* Sessions that are in go on working: that nobody can log in is not the end yet. */
static void a_login_breaker_is_an_issue(void **state)
{
  (void)state;
  struct cen_figures figures = good_figures();
  assert_false(has_issue(&figures, CEN_ISSUE_LOGIN_BREAKER_OPEN));
  figures.login_breaker.state = CENOTE_BREAKER_IS_OPEN;
  assert_true(has_issue(&figures, CEN_ISSUE_LOGIN_BREAKER_OPEN));
  assert_int_equal(status_of(&figures), CENOTE_DEGRADED);
}

static void manager_that_shuts_down_is_unhealthy(void **state)
{
  (void)state;
  struct cen_figures figures = good_figures();
  static const cenote_state states[] = {CENOTE_STATE_DRAINING, CENOTE_STATE_SHUTDOWN};
  for (size_t i = 0; i < 2; i++) {
    figures.statistics.state = states[i];
    assert_int_equal(status_of(&figures), CENOTE_UNHEALTHY);
    assert_true(has_issue(&figures, CEN_ISSUE_SHUTTING_DOWN));
  }
}

static void lease_that_does_not_let_go_is_an_issue(void **state)
{
  (void)state;
  struct cen_figures figures = good_figures();
  cenote_lease_info lease = CENOTE_LEASE_INFO_INIT;
  figures.leases = &lease;
  figures.lease_count = 1;
  lease.in_call = true;
  lease.remaining_ms = -2000; /* cancel_timeout_ms */
  assert_false(has_issue(&figures, CEN_ISSUE_OVERDUE));
  lease.remaining_ms = -2001;
  assert_true(has_issue(&figures, CEN_ISSUE_OVERDUE));
  lease.in_call = false;
  assert_false(has_issue(&figures, CEN_ISSUE_OVERDUE));
}

static void every_issue_fits_at_once(void **state)
{
  (void)state;
  struct cen_figures figures = good_figures();
  struct cen_health health;
  struct cen_advice advice;
  cenote_lease_info lease = CENOTE_LEASE_INFO_INIT;
  char text[1000];
  memset(text, 'e', sizeof(text) - 1);
  text[sizeof(text) - 1] = '\0';
  lease.in_call = true;
  lease.remaining_ms = -100000;
  memset(&figures.minute, 0x11, sizeof(figures.minute));
  memset(&figures.quarter, 0x11, sizeof(figures.quarter));
  figures.leases = &lease;
  figures.lease_count = 1;
  figures.statistics.active_leases = 20;
  figures.statistics.waiters = 1000000;
  figures.statistics.total_connections = 0;
  figures.connect_error = text;
  figures.probe = CEN_PROBE_FAILED;
  figures.probe_error = text;
  figures.breaker.state = figures.login_breaker.state = CENOTE_BREAKER_IS_OPEN;
  figures.breaker.why = figures.login_breaker.why = text;
  figures.http_path = true;
  figures.http_error = text;
  figures.statistics.state = CENOTE_STATE_DRAINING;
  cen_health_judge(&figures, &health);
  assert_int_equal(health.count, CEN_ISSUE_COUNT - 1); /* LOST and CANNOT_CONNECT exclude */
  figures.statistics.state = CENOTE_STATE_ACTIVE;
  cen_health_judge(&figures, &health);
  cen_advise(&figures, &health, &advice);
  assert_true(advice.count > 8 && advice.count <= CEN_RECOMMENDATIONS);
}

static void names_are_words(void **state)
{
  (void)state;
  assert_string_equal(cenote_health_name(CENOTE_HEALTHY), "healthy");
  assert_string_equal(cenote_health_name(CENOTE_DEGRADED), "degraded");
  assert_string_equal(cenote_health_name(CENOTE_UNHEALTHY), "unhealthy");
  assert_string_equal(cenote_state_name(CENOTE_STATE_IDLE), "IDLE");
  assert_string_equal(cenote_state_name(CENOTE_STATE_SHUTDOWN), "SHUTDOWN");
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(used_manager_is_healthy),
      cmocka_unit_test(new_manager_is_not_unhealthy),
      cmocka_unit_test(contract_texts_are_exact),
      cmocka_unit_test(utilization_above_80_percent_is_an_issue),
      cmocka_unit_test(third_connection_error_in_a_minute_is_an_issue),
      cmocka_unit_test(third_lease_timeout_in_a_quarter_is_an_issue),
      cmocka_unit_test(recent_check_failures_are_an_issue),
      cmocka_unit_test(callers_that_time_out_are_an_issue),
      cmocka_unit_test(queue_from_80_percent_is_an_issue),
      cmocka_unit_test(failed_connect_without_any_connection_is_unhealthy_while_fresh),
      cmocka_unit_test(probe_decides_when_there_was_one),
      cmocka_unit_test(refused_login_is_an_issue),
      cmocka_unit_test(a_breaker_that_refuses_callers_is_unhealthy),
      cmocka_unit_test(a_login_breaker_is_an_issue),
      cmocka_unit_test(manager_that_shuts_down_is_unhealthy),
      cmocka_unit_test(lease_that_does_not_let_go_is_an_issue),
      cmocka_unit_test(every_issue_fits_at_once),
      cmocka_unit_test(names_are_words),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
