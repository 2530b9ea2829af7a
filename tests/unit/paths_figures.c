/* paths_figures.c - what each path did, as it comes out of the statistics. */
#include "manager_help.h"

#include "manager/manager.h"
#include "manager/simple.h"

static void a_new_manager_has_done_nothing(void **state)
{
  (void)state;
  struct place place;
  place_init(&place);
  place_open_with(&place, "0", "2");
  const cenote_statistics now = statistics_of(place.manager);
  assert_int_equal(now.statements + now.statement_errors + now.simple.statements, 0);
  assert_int_equal(now.exclusive.statements + now.exclusive.errors + now.simple.errors, 0);
  assert_int_equal(now.fallbacks + now.retries + now.reruns + now.transaction_retries, 0);
  assert_int_equal(now.depth.count + now.batch.count + now.statement.count, 0);
  assert_int_equal(now.breaker_rejections + now.breaker_opened, 0);
  assert_int_equal(now.breaker, CENOTE_BREAKER_CLOSED);
  assert_int_equal(now.login_breaker, CENOTE_BREAKER_CLOSED);
  place_close(&place);
}

static void statements_on_a_lease_are_exclusive(void **state)
{
  (void)state;
  struct place place;
  place_init(&place);
  place_open_with(&place, "0", "1");
  const cenote_lease lease = must_acquire(place.manager, "lease");
  must_run(lease, "SELECT 1");
  must_run(lease, "sleep 30");
  expect(CENOTE_DATABASE, run_sql(lease, "error 42601", &place.error), &place.error);
  must_release(lease);
  const cenote_statistics now = statistics_of(place.manager);
  assert_int_equal(now.exclusive.statements, 3);
  assert_int_equal(now.exclusive.errors, 1);
  assert_int_equal(now.exclusive.statement.count, 3);
  assert_true(now.exclusive.statement.max_us >= 29000);
  assert_int_equal(now.simple.statements, 0);
  assert_int_equal(now.statements, 3);
  assert_int_equal(now.statement_errors, 1);
  /* Its wait is the lease's. */
  assert_int_equal(now.exclusive.wait.count, now.acquire_wait.count);
  assert_int_equal(now.exclusive.wait.max_us, now.acquire_wait.max_us);
  place_close(&place);
}

static void both_paths_make_the_total(void **state)
{
  (void)state;
  struct place place;
  place_init(&place);
  place_open_with(&place, "0", "1");
  struct cenote_manager *manager = place.manager;
  paths_note(manager, CEN_PATH_SIMPLE, CENOTE_WHY_SHAREABLE, CENOTE_OK, 2000000, 5000000);
  paths_note(manager, CEN_PATH_SIMPLE, CENOTE_WHY_SHAREABLE, CENOTE_DATABASE, 4000000, 7000000);
  paths_note(manager, CEN_PATH_EXCLUSIVE, CENOTE_WHY_SESSION_STATE, CENOTE_OK, 0, 20000000);
  const cenote_statistics now = statistics_of(manager);
  assert_int_equal(now.statements, 3);
  assert_int_equal(now.statement_errors, 1);
  assert_int_equal(now.statement.count, 3);
  assert_int_equal(now.statement.max_us, 20000);
  assert_int_equal(now.simple.statements, 2);
  assert_int_equal(now.simple.errors, 1);
  assert_int_equal(now.simple.wait.count, 2);
  assert_int_equal(now.simple.wait.max_us, 4000);
  assert_int_equal(now.simple.statement.max_us, 7000);
  assert_int_equal(now.exclusive.wait.count, 0);
  place_close(&place);
}

static void depth_and_batch_are_plain_counts(void **state)
{
  (void)state;
  struct place place;
  place_init(&place);
  place_open_with(&place, "0", "1");
  for (uint64_t i = 1; i <= 16; i++) {
    paths_depth(place.manager, i);
  }
  paths_batch(place.manager, 3);
  paths_batch(place.manager, 5);
  const cenote_statistics now = statistics_of(place.manager);
  assert_int_equal(now.depth.count, 16);
  assert_int_equal(now.depth.p50_us, 8);
  assert_int_equal(now.depth.max_us, 16);
  assert_true(now.depth.mean_us > 8.4 && now.depth.mean_us < 8.6);
  assert_int_equal(now.batch.count, 2);
  assert_int_equal(now.batch.max_us, 5);
  assert_true(now.batch.mean_us > 3.9 && now.batch.mean_us < 4.1);
  place_close(&place);
}

static void everything_else_is_counted_by_name(void **state)
{
  (void)state;
  struct place place;
  place_init(&place);
  place_open_with(&place, "0", "1");
  const int times[] = {1, 2, 3, 4};
  void (*const count[])(struct cenote_manager *) = {paths_fallback, paths_retry, paths_rerun,
                                                    paths_transaction_retry};
  for (size_t i = 0; i < 4; i++) {
    for (int n = 0; n < times[i]; n++) {
      count[i](place.manager);
    }
  }
  const cenote_statistics now = statistics_of(place.manager);
  assert_int_equal(now.fallbacks, 1);
  assert_int_equal(now.retries, 2);
  assert_int_equal(now.reruns, 3);
  assert_int_equal(now.transaction_retries, 4);
  place_close(&place);
}

static void shared_connections_are_nobody_s_leases(void **state)
{
  (void)state;
  struct place place;
  place_init(&place);
  place_open_with(&place, "0", "2");
  for (int i = 0; i < 5; i++) {
    const struct simple_request request = {.sql = "SELECT 7",
                                           .sql_size = sizeof "SELECT 7" - 1,
                                           .read_only = true,
                                           .deadline_ns =
                                               cen_deadline_ns(cen_now_ns(), PATIENCE_MS)};
    struct simple_outcome outcome;
    cenote_result *result = NULL;
    must(simple_query(place.manager, &request, &result, &outcome, &place.error), &place.error);
    cenote_result_free(result);
  }
  const cenote_statistics now = statistics_of(place.manager);
  assert_int_equal(now.active_leases, 0);
  assert_int_equal(now.leases_granted, 0);
  assert_int_equal(now.pipelines, 1);
  assert_int_equal(now.pipelines_idle, 1);
  assert_int_equal(now.in_flight, 0);
  assert_int_equal(now.depth.count, 5);
  assert_int_equal(now.depth.max_us, 1);
  size_t count = 1;
  assert_int_equal(cenote_pool_leases(place.manager, NULL, 0, &count), CENOTE_OK);
  assert_int_equal(count, 0);
  place_close(&place);
}

int main(void)
{
#define TEST(name) cmocka_unit_test(name)
  const struct CMUnitTest tests[] = {
      TEST(a_new_manager_has_done_nothing),     TEST(statements_on_a_lease_are_exclusive),
      TEST(both_paths_make_the_total),          TEST(depth_and_batch_are_plain_counts),
      TEST(everything_else_is_counted_by_name), TEST(shared_connections_are_nobody_s_leases),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
