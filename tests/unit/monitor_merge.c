/* monitor_merge.c - figures of several managers as if they were of one. */
#include "observe_help.h"

static struct cen_sum *sum_new(void)
{
  struct cen_sum *sum = calloc(1, sizeof *sum);
  assert_non_null(sum);
  return sum;
}

static void sum_free(struct cen_sum *sum)
{
  cen_sum_deinit(sum);
  free(sum);
}

/* A sum of one manager with these figures. */
static struct cen_sum *sum_of(const struct cen_figures *figures)
{
  struct cen_sum *sum = sum_new();
  cen_sum_add(sum, figures);
  return sum;
}

static struct cen_sum *merged(const struct cen_figures *a, const struct cen_figures *b)
{
  struct cen_sum *total = sum_new(), *one = sum_of(a), *two = sum_of(b);
  cen_figures_merge(total, one);
  cen_figures_merge(total, two);
  sum_free(one);
  sum_free(two);
  return total;
}

static void counters_gauges_and_windows_are_added_up(void **state)
{
  (void)state;
  struct cen_figures a = good_figures(), b = good_figures();
  b.statistics.active_leases = 5;
  b.statistics.waiters = 3;
  b.statistics.exclusive.errors = 7;
  b.minute.leases_granted = 11;
  b.longest_wait_ms = 400;
  b.uptime_ms = 5000;
  uint64_t closed[POOL_REASON_COUNT] = {0};
  closed[POOL_REASON_AGE] = 4;
  a.closed_by = b.closed_by = closed;
  struct cen_sum *total = merged(&a, &b);
  const cenote_statistics *all = &total->figures.statistics;
  assert_int_equal(all->active_leases, 6);
  assert_int_equal(all->waiters, 3);
  assert_int_equal(all->max_connections, 40);
  assert_int_equal(all->leases_granted, 2000);
  assert_int_equal(all->exclusive.errors, 7);
  assert_int_equal(total->figures.minute.leases_granted, 71);
  assert_int_equal(total->figures.quarter.leases_granted, 1000);
  assert_int_equal(total->figures.longest_wait_ms, 400);
  assert_int_equal(total->figures.uptime_ms, 3600000);
  assert_int_equal(total->figures.closed_by[POOL_REASON_AGE], 8);
  assert_int_equal(total->figures.setting[CEN_SET_MAX_WAITERS], 20000);
  assert_int_equal(total->figures.setting[CEN_SET_LEASE_TIMEOUT], 30000);
  assert_int_equal(total->managers, 2);
  sum_free(total);
}

static void percentiles_come_from_joined_histograms(void **state)
{
  (void)state;
  struct cen_figures figures = good_figures();
  figures.statistics.leases_granted = 100;
  struct cen_sum *total = sum_new(), *fast = sum_of(&figures), *slow = sum_of(&figures);
  for (int i = 0; i < 90; i++) {
    cen_hist_record(&fast->times.exclusive_statement, 1000000);
  }
  for (int i = 0; i < 10; i++) {
    cen_hist_record(&slow->times.simple_statement, 100000000);
    cen_hist_record(&slow->times.wait, 50000000);
  }
  cen_figures_merge(total, fast);
  cen_figures_merge(total, slow);
  cen_sum_settle(total);
  const cenote_statistics *all = &total->figures.statistics;
  assert_int_equal(all->statement.count, 100);
  assert_in_range(all->statement.p50_us, 900, 1100);
  assert_in_range(all->statement.p95_us, 90000, 110000);
  /* 190 of 200 acquires did not wait */
  assert_int_equal(all->acquire_wait.count, 200);
  assert_int_equal(all->acquire_wait.p50_us, 0);
  assert_in_range(all->acquire_wait.p99_us, 45000, 55000);
  assert_in_range((uint64_t)all->acquire_wait.mean_us, 2400, 2600);
  sum_free(total);
  sum_free(fast);
  sum_free(slow);
}

static void the_oldest_leases_come_first_and_have_a_ceiling(void **state)
{
  (void)state;
  enum { MANY = 700 };
  static cenote_lease_info even[MANY], odd[MANY];
  for (int i = 0; i < MANY; i++) {
    even[i].age_ms = 2 * (MANY - i);
    odd[i].age_ms = 2 * (MANY - i) + 1;
  }
  struct cen_figures a = good_figures(), b = good_figures();
  a.leases = even;
  b.leases = odd;
  a.lease_count = b.lease_count = MANY;
  struct cen_sum *total = merged(&a, &b);
  assert_int_equal(total->figures.lease_count, CEN_SUM_LEASES);
  assert_int_equal(total->figures.leases[0].age_ms, 2 * MANY + 1);
  for (size_t i = 1; i < CEN_SUM_LEASES; i++) {
    assert_int_equal(total->figures.leases[i].age_ms, 2 * MANY + 1 - (int64_t)i);
  }
  sum_free(total);
}

static void the_worst_breaker_is_shown_and_its_failure(void **state)
{
  (void)state;
  struct cen_figures a = good_figures(), b = good_figures(), c = good_figures();
  a.breaker = (struct cen_breaker_figure){CENOTE_BREAKER_HALF_OPEN, 100, 0, 1, 2, "half"};
  b.breaker = (struct cen_breaker_figure){CENOTE_BREAKER_IS_OPEN, 200, 50, 3, 4, "no route"};
  struct cen_sum *total = sum_new(), *one = sum_of(&a), *two = sum_of(&b), *three = sum_of(&c);
  cen_figures_merge(total, one);
  cen_figures_merge(total, two);
  cen_figures_merge(total, three);
  const struct cen_breaker_figure *breaker = &total->figures.breaker;
  assert_int_equal(breaker->state, CENOTE_BREAKER_IS_OPEN);
  assert_int_equal(breaker->not_closed_ms, 200);
  assert_int_equal(breaker->next_ms, 50);
  assert_int_equal(breaker->opened, 4);
  assert_int_equal(breaker->rejected, 6);
  assert_string_equal(breaker->why, "no route");
  sum_free(total);
  sum_free(one);
  sum_free(two);
  sum_free(three);
}

static void one_that_connects_is_proof_that_the_database_is_there(void **state)
{
  (void)state;
  struct cen_figures well = good_figures(), ill = good_figures();
  ill.statistics.total_connections = 0;
  ill.statistics.idle_connections = 0;
  ill.statistics.active_leases = 0;
  ill.connect_error = "no route to host";
  ill.connect_error_age_ms = 5;
  struct cen_sum *both = merged(&ill, &ill), *mixed = merged(&ill, &well);
  assert_int_equal(status_of(&both->figures), CENOTE_UNHEALTHY);
  assert_string_equal(both->figures.connect_error, "no route to host");
  assert_null(mixed->figures.connect_error);
  assert_int_equal(status_of(&mixed->figures), CENOTE_HEALTHY);
  sum_free(both);
  sum_free(mixed);
}

static void who_works_decides_the_state(void **state)
{
  (void)state;
  struct cen_figures a = good_figures(), b = good_figures();
  a.statistics.state = CENOTE_STATE_DRAINING;
  b.statistics.state = CENOTE_STATE_SHUTDOWN;
  struct cen_sum *total = merged(&b, &a);
  assert_int_equal(total->figures.statistics.state, CENOTE_STATE_DRAINING);
  sum_free(total);
  b.statistics.state = CENOTE_STATE_IDLE;
  total = merged(&a, &b);
  assert_int_equal(total->figures.statistics.state, CENOTE_STATE_IDLE);
  sum_free(total);
}

static void what_two_share_is_named_and_nothing_else(void **state)
{
  (void)state;
  struct cen_figures a = good_figures(), b = good_figures();
  struct cen_sum *total = merged(&a, &b);
  assert_string_equal(total->figures.database, a.database);
  assert_string_equal(total->figures.driver, "postgres");
  sum_free(total);
  b.database = "sqlite:other.db";
  b.driver = "sqlite";
  total = merged(&a, &b);
  assert_null(total->figures.database);
  assert_null(total->figures.driver);
  sum_free(total);
}

static void of_a_manager_that_is_gone_only_counts_remain(void **state)
{
  (void)state;
  static cenote_lease_info lease = {.age_ms = 5};
  struct cen_figures figures = good_figures();
  figures.leases = &lease;
  figures.lease_count = 1;
  figures.breaker = (struct cen_breaker_figure){CENOTE_BREAKER_IS_OPEN, 200, 50, 3, 4, "away"};
  struct cen_sum *gone = sum_of(&figures), *total = sum_of(&figures);
  cen_hist_record(&gone->times.hold, 1000);
  cen_sum_retire(gone);
  assert_int_equal(gone->figures.statistics.active_leases, 0);
  assert_int_equal(gone->figures.statistics.total_connections, 0);
  assert_int_equal(gone->figures.lease_count, 0);
  assert_int_equal(gone->figures.breaker.state, CENOTE_BREAKER_CLOSED);
  assert_int_equal(gone->closed_by[POOL_REASON_SHUTDOWN], 4);
  assert_int_equal(gone->figures.statistics.connections_closed, 4);
  cen_figures_merge(total, gone);
  assert_int_equal(total->figures.statistics.leases_granted, 2000);
  assert_int_equal(total->figures.statistics.active_leases, 1);
  assert_int_equal(total->figures.statistics.max_connections, 20);
  assert_int_equal(total->figures.breaker.opened, 6);
  assert_int_equal(total->managers, 1);
  cen_sum_settle(total);
  assert_int_equal(total->figures.statistics.hold.count, 1);
  sum_free(gone);
  sum_free(total);
}

static void an_empty_sum_is_healthy_and_can_be_written(void **state)
{
  (void)state;
  struct cen_sum *sum = sum_new();
  cen_sum_settle(sum);
  sum->figures.statistics.max_connections = 5;
  assert_int_equal(status_of(&sum->figures), CENOTE_HEALTHY);
  char *json = cen_status_json(&sum->figures);
  assert_non_null(json);
  free(json);
  sum_free(sum);
}

static void values_below_an_edge_are_counted_from_the_buckets(void **state)
{
  (void)state;
  static struct cen_hist hist;
  const uint64_t edges[] = {1000, 1000000, 1000000000};
  uint64_t below[3];
  cen_hist_record(&hist, 10);
  cen_hist_record(&hist, 1100);
  cen_hist_record(&hist, 500000);
  cen_hist_record(&hist, 500000000);
  cen_hist_record(&hist, INT64_MAX);
  assert_int_equal(cen_hist_below(&hist, edges, 3, below), 5);
  assert_int_equal(below[0], 1);
  assert_int_equal(below[1], 3);
  assert_int_equal(below[2], 4);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(counters_gauges_and_windows_are_added_up),
      cmocka_unit_test(percentiles_come_from_joined_histograms),
      cmocka_unit_test(the_oldest_leases_come_first_and_have_a_ceiling),
      cmocka_unit_test(the_worst_breaker_is_shown_and_its_failure),
      cmocka_unit_test(one_that_connects_is_proof_that_the_database_is_there),
      cmocka_unit_test(who_works_decides_the_state),
      cmocka_unit_test(what_two_share_is_named_and_nothing_else),
      cmocka_unit_test(of_a_manager_that_is_gone_only_counts_remain),
      cmocka_unit_test(an_empty_sum_is_healthy_and_can_be_written),
      cmocka_unit_test(values_below_an_edge_are_counted_from_the_buckets),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
