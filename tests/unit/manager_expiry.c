/* manager_expiry.c - leases that last too long: taken back, cleaned, and the late holder told. */
#include "manager_help.h"

static cenote_status last_word(cenote_lease lease, char *message)
{
  cenote_error error = CENOTE_ERROR_INIT;
  const cenote_status status = run_sql(lease, "SELECT 1", &error);
  snprintf(message, sizeof error.message, "%s", error.message);
  return status;
}

static void an_idle_lease_expires_and_its_late_holder_is_told(void **state)
{
  (void)state;
  struct place place;
  char message[512];
  cenote_lease_info info = CENOTE_LEASE_INFO_INIT;
  place_init(&place);
  place_set(&place, "lease_timeout_ms", "80");
  place_open_with(&place, "0", "1");
  cenote_lease late = must_acquire(place.manager, "forgetful");
  wait_until(statistics_of(place.manager).lease_timeouts == 1);
  place_change(&place, "lease_timeout_ms", "60000");
  expect(CENOTE_LEASE_EXPIRED, last_word(late, message), NULL);
  has_text(message, "forgetful");
  has_text(message, " ms");
  assert_int_equal(cenote_release(late), CENOTE_LEASE_EXPIRED);
  assert_int_equal(cenote_release(late), CENOTE_LEASE_EXPIRED);
  assert_int_equal(cenote_lease_extend(late, 100, &place.error), CENOTE_LEASE_EXPIRED);
  assert_int_equal(cenote_lease_stats(late, &info), CENOTE_LEASE_EXPIRED);
  assert_null(cenote_lease_resource(late));
  cenote_lease next = must_acquire(place.manager, "next");
  assert_true(started(&place, CENOTE_REQUEST_RESET) >= 1); /* cleaned … */
  assert_true(started(&place, CENOTE_REQUEST_CHECK) >= 1); /* … and verified */
  assert_int_equal(must_read(next, "SELECT 4"), 4);
  must_release(next);
  const cenote_statistics now = statistics_of(place.manager);
  assert_int_equal(now.lease_timeouts, 1);
  assert_int_equal(now.leases_granted, 2);
  assert_int_equal(now.leases_released, 1);
  assert_int_equal(noted(&place.notes, "audit: expired"), 1);
  assert_int_equal(noted(&place.notes, "'forgetful'"), 2); /* audit and log */
  place_close(&place);
}

struct call {
  cenote_lease lease;
  const char *sql;
  cenote_status status;
  cenote_error error;
};

static void *call_in_thread(void *context)
{
  struct call *call = context;
  call->error = (cenote_error)CENOTE_ERROR_INIT;
  call->status = run_sql(call->lease, call->sql, &call->error);
  return NULL;
}

static void a_lease_that_expires_mid_statement_is_cancelled_rolled_back_and_verified(void **state)
{
  (void)state;
  struct place place;
  char message[512];
  cenote_transaction *tx;
  place_init(&place);
  place_open_with(&place, "0", "1");
  struct call call = {.lease = must_acquire(place.manager, "slow-report"), .sql = "hang"};
  must(cenote_begin(call.lease, 0, &tx, &place.error), &place.error);
  pthread_t thread = start_thread(call_in_thread, &call);
  wait_until(started(&place, CENOTE_REQUEST_EXECUTE) == 1);
  let_expire(call.lease);
  cenote_lease next = must_acquire(place.manager, "next");
  pthread_join(thread, NULL);
  expect(CENOTE_LEASE_EXPIRED, call.status, &call.error);
  has_text(call.error.message, "slow-report");
  expect(CENOTE_LEASE_EXPIRED, last_word(call.lease, message), NULL);
  assert_true(place.script.cancels >= 1);
  assert_int_equal(place.script.late_cancels, 0);
  assert_int_equal(place.script.rollbacks_of_open_transactions, 1);
  assert_true(started(&place, CENOTE_REQUEST_CHECK) >= 1);
  assert_int_equal(must_read(next, "who"), 1);
  assert_int_equal(statistics_of(place.manager).lease_timeouts, 1);
  assert_int_equal(cenote_rollback(tx, &place.error), CENOTE_OK);
  must_release(next);
  assert_int_equal(noted(&place.notes, "audit: expired"), 1);
  place_close(&place);
}

static void a_holder_that_ignores_the_cancel_is_cut_off(void **state)
{
  (void)state;
  struct place place;
  place_init(&place);
  place.script.deaf = true;
  place_set(&place, "cancel_timeout_ms", "80");
  place_open_with(&place, "0", "1");
  struct call call = {.lease = must_acquire(place.manager, "deaf"), .sql = "hang"};
  pthread_t thread = start_thread(call_in_thread, &call);
  wait_until(started(&place, CENOTE_REQUEST_EXECUTE) == 1);
  let_expire(call.lease);
  cenote_lease next = must_acquire(place.manager, "next");
  pthread_join(thread, NULL);
  expect(CENOTE_LEASE_EXPIRED, call.status, &call.error);
  assert_true(place.script.aborts >= 1);
  assert_int_equal(must_read(next, "who"), 2);
  must_release(next);
  place.script.deaf = false;
  place_close(&place);
}

static void hanging_after_an_expiry_costs_only_the_connection(cenote_request_kind kind)
{
  struct place place;
  place_init(&place);
  place_open_with(&place, "0", "1");
  place.script.hang[kind] = true;
  cenote_lease late = must_acquire(place.manager, "late");
  place_change(&place, "connect_timeout_ms", "100");
  let_expire(late);
  cenote_lease next = must_acquire(place.manager, "next");
  assert_true(must_read(next, "who") >= 2); /* a connect may take too long, too */
  assert_int_equal(cenote_release(late), CENOTE_LEASE_EXPIRED);
  must_release(next);
  assert_int_equal(noted(&place.notes, "audit: closed expired"), 1);
  place_close(&place);
}

static void a_reset_that_hangs_after_an_expiry_costs_only_the_connection(void **state)
{
  (void)state;
  hanging_after_an_expiry_costs_only_the_connection(CENOTE_REQUEST_RESET);
}

static void a_check_that_hangs_after_an_expiry_costs_only_the_connection(void **state)
{
  (void)state;
  hanging_after_an_expiry_costs_only_the_connection(CENOTE_REQUEST_CHECK);
}

static void an_extension_moves_the_deadline_within_its_bound(void **state)
{
  (void)state;
  struct place place;
  cenote_lease_info info = CENOTE_LEASE_INFO_INIT;
  place_init(&place);
  place_set(&place, "lease_timeout_ms", "150");
  place_set(&place, "lease_extend_max_ms", "60000");
  place_open_with(&place, "0", "1");
  cenote_lease lease;
  cenote_status status = CENOTE_LEASE_EXPIRED;
  for (int i = 0; i < 50 && status == CENOTE_LEASE_EXPIRED; i++) { /* before it runs out */
    lease = must_acquire(place.manager, "longer");
    status = cenote_lease_extend(lease, 50000, &place.error);
  }
  must(status, &place.error);
  const uint64_t expired = statistics_of(place.manager).lease_timeouts;
  assert_int_equal(cenote_lease_stats(lease, &info), CENOTE_OK);
  assert_in_range(info.remaining_ms, 30000, 50000);
  pause_ms(400);
  must_run(lease, "SELECT 1");
  const int64_t wrong[] = {0, -5, INT64_MIN, 60001, INT64_MAX};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    expect(CENOTE_INVALID, cenote_lease_extend(lease, wrong[i], &place.error), &place.error);
  }
  assert_int_equal(cenote_lease_stats(lease, &info), CENOTE_OK);
  assert_true(info.remaining_ms > 20000); /* misuse changed nothing */
  assert_int_equal(statistics_of(place.manager).lease_timeouts, expired);
  must(cenote_lease_extend(lease, 50, &place.error), &place.error); /* also to something sooner */
  wait_until(statistics_of(place.manager).lease_timeouts == expired + 1);
  place_close(&place);
}

static void a_lease_time_of_ones_own_is_kept_and_never_exceeds_the_setting(void **state)
{
  (void)state;
  struct place place;
  cenote_lease lease;
  cenote_lease_info info = CENOTE_LEASE_INFO_INIT;
  cenote_acquire_options options = CENOTE_ACQUIRE_OPTIONS_INIT;
  place_init(&place);
  place_set(&place, "lease_timeout_ms", "40000");
  place_open_with(&place, "0", "1");
  const struct {
    int64_t lease_ms, remaining_ms, most;
  } cases[] = {{0, 0, 40000},          {90000, 0, 40000},     {5000, 0, 5000},
               {0, 3000, 3000},        {5000, 3000, 3000},    {3000, 5000, 3000},
               {-1, -1, 40000},        {INT64_MAX, 0, 40000}, {INT64_MIN, INT64_MAX, 40000},
               {INT64_MAX, 7000, 7000}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    options.lease_ms = cases[i].lease_ms;
    options.remaining_ms = cases[i].remaining_ms;
    must(cenote_acquire_with(place.manager, "own", &options, &lease, &place.error), &place.error);
    assert_int_equal(cenote_lease_stats(lease, &info), CENOTE_OK);
    assert_true(info.remaining_ms <= cases[i].most && info.remaining_ms > cases[i].most - 2500);
    must_release(lease);
  }
  options.size = 1;
  assert_int_equal(cenote_acquire_with(place.manager, "x", &options, &lease, &place.error),
                   CENOTE_INVALID);
  cenote_lease brief = must_acquire_for(place.manager, "brief", 50);
  wait_until(statistics_of(place.manager).lease_timeouts == 1);
  assert_int_equal(cenote_release(brief), CENOTE_LEASE_EXPIRED);
  place_close(&place);
}

static void what_is_left_of_an_invocation_bounds_waiting_and_holding(void **state)
{
  (void)state;
  struct place place;
  cenote_lease lease;
  cenote_lease_info info = CENOTE_LEASE_INFO_INIT;
  cenote_acquire_options options = CENOTE_ACQUIRE_OPTIONS_INIT;
  place_init(&place);
  place_set(&place, "acquire_timeout_ms", "0");
  place.script.delay_ns[CENOTE_REQUEST_OPEN] = 300 * 1000000;
  place_open_with(&place, "0", "1");
  options.remaining_ms = 20000;
  expect(CENOTE_TIMEOUT, cenote_acquire_with(place.manager, "x", &options, &lease, &place.error),
         &place.error); /* the setting says: do not wait; what is left does not change that */
  wait_until(statistics_of(place.manager).idle_connections == 1);
  must(cenote_flush(place.manager, &place.error), &place.error);
  wait_until(statistics_of(place.manager).total_connections == 0);
  options.timeout_ms = 60000;
  must(cenote_acquire_with(place.manager, "x", &options, &lease, &place.error), &place.error);
  assert_int_equal(cenote_lease_stats(lease, &info), CENOTE_OK);
  assert_true(info.remaining_ms <= 20000 - 250); /* the wait for the connect is gone */
  cenote_lease other;
  options.remaining_ms = 30;
  expect(CENOTE_TIMEOUT, cenote_acquire_with(place.manager, "y", &options, &other, &place.error),
         &place.error);
  must_release(lease);
  place_close(&place);
}

static void results_outlive_release_and_expiry(void **state)
{
  (void)state;
  struct place place;
  cenote_result *result;
  place_init(&place);
  place_open_with(&place, "0", "1");
  cenote_lease lease = must_acquire(place.manager, "reader");
  must(cenote_execute(lease, "rows 100", NULL, 0, &result, &place.error), &place.error);
  let_expire(lease);
  wait_until(statistics_of(place.manager).lease_timeouts == 1);
  assert_int_equal(cenote_result_integer(result, 99, 0), 100);
  place_close(&place);
  assert_int_equal(cenote_result_rows(result), 100);
  assert_int_equal(cenote_result_integer(result, 41, 0), 42);
  cenote_result_free(result);
}

static void many_leases_expire_each_counted_once(void **state)
{
  (void)state;
  enum { LEASES = 20 };
  struct place place;
  cenote_lease leases[LEASES];
  place_init(&place);
  place_open_with(&place, "0", "20");
  for (int i = 0; i < LEASES; i++) {
    leases[i] = must_acquire(place.manager, "many");
  }
  for (int i = 0; i < LEASES; i++) {
    let_expire(leases[i]);
  }
  wait_until(statistics_of(place.manager).lease_timeouts == LEASES);
  for (int i = 0; i < LEASES; i++) {
    assert_int_equal(cenote_release(leases[i]), CENOTE_LEASE_EXPIRED);
  }
  wait_until(statistics_of(place.manager).idle_connections == LEASES);
  const cenote_statistics now = statistics_of(place.manager);
  assert_int_equal(now.leases_granted, LEASES);
  assert_int_equal(now.leases_released, 0);
  assert_int_equal(now.lease_timeouts, LEASES);
  assert_int_equal(now.connections_created, LEASES); /* none had to be replaced */
  place_close(&place);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      TEST(an_idle_lease_expires_and_its_late_holder_is_told),
      TEST(a_lease_that_expires_mid_statement_is_cancelled_rolled_back_and_verified),
      TEST(a_holder_that_ignores_the_cancel_is_cut_off),
      TEST(a_reset_that_hangs_after_an_expiry_costs_only_the_connection),
      TEST(a_check_that_hangs_after_an_expiry_costs_only_the_connection),
      TEST(an_extension_moves_the_deadline_within_its_bound),
      TEST(a_lease_time_of_ones_own_is_kept_and_never_exceeds_the_setting),
      TEST(what_is_left_of_an_invocation_bounds_waiting_and_holding),
      TEST(results_outlive_release_and_expiry),
      TEST(many_leases_expire_each_counted_once),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
