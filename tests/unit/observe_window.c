/* observe_window.c - what "lately" means: nothing older than the window counts. */
#include "observe_help.h"

#define SECOND INT64_C(1000000000)

static void count_is_seen_for_exactly_a_minute(void **state)
{
  (void)state;
  struct cen_window window;
  int64_t start = 1000 * SECOND;
  cen_window_init(&window, start);
  assert_int_equal(cen_window_last_minute(&window, start), 0);
  cen_window_add(&window, start, 3);
  assert_int_equal(cen_window_last_minute(&window, start), 3);
  assert_int_equal(cen_window_last_minute(&window, start + 59 * SECOND), 3);
  assert_int_equal(cen_window_last_minute(&window, start + 60 * SECOND), 0);
  assert_int_equal(cen_window_last_quarter(&window, start + 60 * SECOND), 3);
}

static void quarter_of_an_hour_forgets_too(void **state)
{
  (void)state;
  struct cen_window window;
  int64_t start = 6000 * SECOND; /* a whole minute */
  cen_window_init(&window, start);
  cen_window_add(&window, start, 1);
  cen_window_add(&window, start + 60 * SECOND, 1);
  assert_int_equal(cen_window_last_quarter(&window, start + 899 * SECOND), 2);
  assert_int_equal(cen_window_last_quarter(&window, start + 900 * SECOND), 1);
  assert_int_equal(cen_window_last_quarter(&window, start + 960 * SECOND), 0);
}

static void long_silence_empties_everything(void **state)
{
  (void)state;
  struct cen_window window;
  cen_window_init(&window, 0);
  cen_window_add(&window, 0, 7);
  assert_int_equal(cen_window_last_minute(&window, INT64_MAX), 0);
  assert_int_equal(cen_window_last_quarter(&window, INT64_MAX), 0);
  cen_window_add(&window, INT64_MAX, 2);
  assert_int_equal(cen_window_last_minute(&window, INT64_MAX), 2);
}

static void clock_that_steps_back_stands_still(void **state)
{
  (void)state;
  struct cen_window window;
  cen_window_init(&window, 500 * SECOND);
  cen_window_add(&window, 500 * SECOND, 1);
  cen_window_add(&window, 100 * SECOND, 1);
  cen_window_add(&window, -1, 1);
  assert_int_equal(cen_window_last_minute(&window, 500 * SECOND), 3);
}

static void ring_agrees_with_a_plain_list(void **state)
{
  (void)state;
  enum { EVENTS = 5000 };
  static int64_t when[EVENTS];
  struct cen_window window;
  uint64_t seed = 12345;
  int64_t now = 777 * SECOND;
  cen_window_init(&window, now);
  for (int i = 0; i < EVENTS; i++) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    now += (int64_t)(seed >> 33) % (i % 100 == 0 ? 100 * SECOND : 2 * SECOND);
    when[i] = now;
    cen_window_add(&window, now, 1);
    uint64_t expected = 0;
    for (int j = i; j >= 0 && when[j] / SECOND > now / SECOND - 60; j--) {
      expected++;
    }
    assert_int_equal(cen_window_last_minute(&window, now), expected);
    expected = 0;
    for (int j = i; j >= 0 && when[j] / SECOND / 60 > now / SECOND / 60 - 15; j--) {
      expected++;
    }
    assert_int_equal(cen_window_last_quarter(&window, now), expected);
  }
}

static void counts_saturate(void **state)
{
  (void)state;
  struct cen_window window;
  cen_window_init(&window, 0);
  cen_window_add(&window, 0, UINT64_MAX);
  cen_window_add(&window, 0, 5);
  assert_int_equal(cen_window_last_minute(&window, 0), UINT32_MAX);
}

static void growing_counters_are_followed(void **state)
{
  (void)state;
  static struct cen_recent_windows windows;
  struct cen_recent minute, quarter;
  cenote_statistics statistics = CENOTE_STATISTICS_INIT;
  const uint64_t closed[POOL_REASON_COUNT] = {0};
  cen_recent_init(&windows, 0);
  statistics.leases_granted = 10;
  statistics.check_failures = 2;
  cen_recent_track(&windows, SECOND, &statistics, closed);
  cen_recent_track(&windows, 2 * SECOND, &statistics, closed);
  statistics.leases_granted = 15;
  cen_recent_track(&windows, 70 * SECOND, &statistics, closed);
  cen_recent_read(&windows, 70 * SECOND, &minute, &quarter);
  assert_int_equal(minute.leases_granted, 5);
  assert_int_equal(quarter.leases_granted, 15);
  assert_int_equal(minute.check_failures, 0);
  assert_int_equal(quarter.check_failures, 2);
  assert_int_equal(quarter.statements, 0);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(count_is_seen_for_exactly_a_minute),
      cmocka_unit_test(quarter_of_an_hour_forgets_too),
      cmocka_unit_test(long_silence_empties_everything),
      cmocka_unit_test(clock_that_steps_back_stands_still),
      cmocka_unit_test(ring_agrees_with_a_plain_list),
      cmocka_unit_test(counts_saturate),
      cmocka_unit_test(growing_counters_are_followed),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
