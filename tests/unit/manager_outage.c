/* manager_outage.c - what counts as a failed health check while the database does not answer, and
 * what does not. */
#include "manager_help.h"

static uint64_t failures(struct place *place)
{
  const cenote_statistics now = statistics_of(place->manager);
  assert_true(now.checks >= now.check_failures);
  return now.check_failures;
}

static void a_probe_that_failed_is_a_failed_check(void **state)
{
  (void)state;
  struct place place;
  cenote_health_status health;
  place_init(&place);
  place_set(&place, "health_check_interval_ms", "0");
  place_open_with(&place, "0", "1");
  must(cenote_health(place.manager, true, &health, &place.error), &place.error);
  assert_int_equal(health, CENOTE_HEALTHY);
  assert_int_equal(statistics_of(place.manager).checks, 1);
  assert_int_equal(failures(&place), 0);
  fake_fail(&place.script, CENOTE_REQUEST_CHECK, CENOTE_CONNECTION_LOST, -1);
  must(cenote_health(place.manager, true, &health, &place.error), &place.error);
  assert_int_equal(health, CENOTE_UNHEALTHY);
  assert_int_equal(failures(&place), 1);
  fake_fail(&place.script, CENOTE_REQUEST_CHECK, CENOTE_OK, 0);
  must(cenote_health(place.manager, true, &health, &place.error), &place.error);
  assert_int_equal(health, CENOTE_DEGRADED); /* it was a moment ago */
  assert_int_equal(failures(&place), 1);
  place_close(&place);
}

static void a_probe_that_found_all_at_work_is_no_check(void **state)
{
  (void)state;
  struct place place;
  cenote_health_status health;
  place_init(&place);
  place_set(&place, "health_check_interval_ms", "0");
  place_open(&place);
  cenote_lease leases[64];
  size_t held = 0;
  for (const int64_t most = statistics_of(place.manager).max_connections; held < (size_t)most;) {
    leases[held++] = must_acquire(place.manager, "at work");
  }
  const uint64_t before = statistics_of(place.manager).checks;
  place_change(&place, "connect_timeout_ms", "20"); /* half of it is a probe's patience */
  must(cenote_health(place.manager, true, &health, &place.error), &place.error);
  assert_int_equal(statistics_of(place.manager).checks, before);
  assert_int_equal(failures(&place), 0);
  while (held > 0) {
    must_release(leases[--held]);
  }
  place_close(&place);
}

static void rounds_of_checks_fail_also_when_nothing_is_left_to_check(void **state)
{
  (void)state;
  struct place place;
  place_init(&place);
  place_set(&place, "health_check_interval_ms", "100");
  place_set(&place, "connect_backoff_ms", "10");
  place_set(&place, "connect_backoff_max_ms", "20");
  place_open_with(&place, "1", "1");
  wait_until(statistics_of(place.manager).idle_connections == 1);
  fake_fail(&place.script, CENOTE_REQUEST_OPEN, CENOTE_CONNECT, -1);
  fake_kill_all(&place.script);
  wait_until(statistics_of(place.manager).total_connections == 0);
  wait_until(failures(&place) >= 3); /* one was that connection's own */
  fake_fail(&place.script, CENOTE_REQUEST_OPEN, CENOTE_OK, 0);
  wait_until(statistics_of(place.manager).idle_connections == 1);
  place_close(&place);
}

static void nothing_is_checked_where_nobody_tries_to_connect(void **state)
{
  (void)state;
  struct place place;
  cenote_lease lease;
  place_init(&place);
  place_set(&place, "health_check_interval_ms", "100");
  place_set(&place, "breaker_failures", "0"); /* it would probe */
  place_open_with(&place, "0", "1");
  fake_fail(&place.script, CENOTE_REQUEST_OPEN, CENOTE_CONNECT, -1);
  assert_int_not_equal(cenote_acquire(place.manager, "in vain", 50, &lease, &place.error),
                       CENOTE_OK);
  wait_until(failures(&place) >= 1);
  const uint64_t attempts = started(&place, CENOTE_REQUEST_OPEN), before = failures(&place);
  pause_ms(2500); /* many intervals, and two looks of the housekeeper's */
  if (started(&place, CENOTE_REQUEST_OPEN) == attempts) {
    assert_int_equal(failures(&place), before);
  }
  place_close(&place);
}

static void a_host_tells_of_its_own_checks(void **state)
{
  (void)state;
  struct place place;
  place_init(&place);
  place_set(&place, "health_check_interval_ms", "0");
  place_open_with(&place, "0", "1");
  cenote_note_health_check(place.manager, true);
  cenote_note_health_check(place.manager, false);
  cenote_note_health_check(NULL, false);
  assert_int_equal(statistics_of(place.manager).checks, 2);
  assert_int_equal(failures(&place), 1);
  place_close(&place);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      TEST(a_probe_that_failed_is_a_failed_check),
      TEST(a_probe_that_found_all_at_work_is_no_check),
      TEST(rounds_of_checks_fail_also_when_nothing_is_left_to_check),
      TEST(nothing_is_checked_where_nobody_tries_to_connect),
      TEST(a_host_tells_of_its_own_checks),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
