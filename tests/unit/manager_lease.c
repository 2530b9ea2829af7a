/* manager_lease.c - acquiring and releasing: handles that are not valid, waiting and its limits,
 * hygiene between two holders, and checks before a connection is handed out. */
#include "manager_help.h"

static void a_lease_goes_out_and_comes_back(void **state)
{
  (void)state;
  struct place place;
  place_init(&place);
  place_open_with(&place, "0", "2");
  cenote_lease lease = must_acquire(place.manager, "first");
  assert_int_not_equal(lease.generation, 0);
  assert_int_equal(statistics_of(place.manager).state, CENOTE_STATE_ACTIVE);
  assert_int_equal(statistics_of(place.manager).active_leases, 1);
  assert_int_equal(must_read(lease, "SELECT 7"), 7);
  must_release(lease);
  assert_int_equal(statistics_of(place.manager).state, CENOTE_STATE_IDLE);
  cenote_statistics now = statistics_of(place.manager);
  assert_int_equal(now.leases_granted, 1);
  assert_int_equal(now.leases_released, 1);
  place_close(&place);
}

static void every_call_on_a_released_lease_is_stale(void **state)
{
  (void)state;
  struct place place;
  cenote_transaction *tx;
  cenote_result *result = (cenote_result *)(uintptr_t)1;
  cenote_lease_info info = CENOTE_LEASE_INFO_INIT;
  place_init(&place);
  place_open_with(&place, "0", "2");
  cenote_lease lease = must_acquire(place.manager, "gone");
  must_release(lease);
  assert_int_equal(cenote_release(lease), CENOTE_STALE);
  assert_int_equal(cenote_execute(lease, "SELECT 1", NULL, 0, &result, &place.error), CENOTE_STALE);
  assert_null(result);
  has_text(place.error.message, "released lease");
  assert_int_equal(cenote_begin(lease, 0, &tx, &place.error), CENOTE_STALE);
  assert_int_equal(cenote_lease_extend(lease, 1000, &place.error), CENOTE_STALE);
  assert_int_equal(cenote_lease_stats(lease, &info), CENOTE_STALE);
  assert_true(info.released);
  assert_null(cenote_lease_resource(lease));
  place_close(&place);
}

static void a_double_release_never_frees_the_next_holders_connection(void **state)
{
  (void)state;
  struct place place;
  place_init(&place);
  place_open_with(&place, "0", "1");
  cenote_lease first = must_acquire(place.manager, "first");
  must_release(first);
  cenote_lease second = must_acquire(place.manager, "second");
  assert_int_equal(first.slot, second.slot);
  assert_int_equal(cenote_release(first), CENOTE_STALE);
  assert_int_equal(must_read(second, "SELECT 5"), 5);
  cenote_lease none;
  assert_int_equal(cenote_acquire(place.manager, "third", 0, &none, &place.error), CENOTE_TIMEOUT);
  assert_int_equal(none.generation, 0);
  must_release(second);
  place_close(&place);
}

static void invented_leases_are_stale(void **state)
{
  (void)state;
  struct place place;
  place_init(&place);
  place_open_with(&place, "0", "1");
  cenote_lease lease = must_acquire(place.manager, "real");
  const cenote_lease invented[] = {
      {0, 0, 0},
      {lease.manager, lease.slot, lease.generation + 1},
      {lease.manager, lease.slot, 0},
      {lease.manager, lease.slot, UINT64_MAX},
      {lease.manager, lease.slot + 1, lease.generation},
      {lease.manager, UINT32_MAX, lease.generation},
      {lease.manager + 1, lease.slot, lease.generation},
      {UINT32_MAX, lease.slot, lease.generation},
      {1024, lease.slot, lease.generation},
      {1025, lease.slot, lease.generation},
  };
  for (size_t i = 0; i < sizeof invented / sizeof *invented; i++) {
    assert_int_equal(cenote_release(invented[i]), CENOTE_STALE);
    assert_int_equal(run_sql(invented[i], "SELECT 1", &place.error), CENOTE_STALE);
    assert_null(cenote_lease_resource(invented[i]));
  }
  assert_int_equal(must_read(lease, "SELECT 3"), 3);
  must_release(lease);
  place_close(&place);
}

static void a_lease_of_a_closed_manager_is_stale_also_for_its_successor(void **state)
{
  (void)state;
  struct place place, next;
  place_init(&place);
  place_open_with(&place, "0", "1");
  cenote_lease lease = must_acquire(place.manager, "old");
  must_release(lease);
  cenote_lease again = must_acquire(place.manager, "old too");
  must_release(again);
  place_close(&place);
  assert_int_equal(cenote_release(lease), CENOTE_STALE);
  assert_int_equal(run_sql(again, "SELECT 1", NULL), CENOTE_STALE);
  place_init(&next);
  place_open_with(&next, "0", "1");
  cenote_lease fresh = must_acquire(next.manager, "new");
  assert_int_equal(fresh.manager, lease.manager); /* the same place in the table */
  assert_true(fresh.generation != lease.generation && fresh.generation != again.generation);
  assert_int_equal(cenote_release(lease), CENOTE_STALE);
  assert_int_equal(cenote_release(again), CENOTE_STALE);
  assert_int_equal(must_read(fresh, "SELECT 9"), 9);
  must_release(fresh);
  place_close(&next);
}

struct sleeper {
  cenote_lease lease;
  const char *sql;
  cenote_status status;
  cenote_error error;
};

static void *run_statement(void *context)
{
  struct sleeper *sleeper = context;
  sleeper->error = (cenote_error)CENOTE_ERROR_INIT;
  sleeper->status = run_sql(sleeper->lease, sleeper->sql, &sleeper->error);
  return NULL;
}

static void a_second_thread_inside_a_lease_is_told_busy(void **state)
{
  (void)state;
  struct place place;
  cenote_transaction *tx;
  place_init(&place);
  place_open_with(&place, "0", "1");
  struct sleeper sleeper = {.lease = must_acquire(place.manager, "shared"), .sql = "wait 1"};
  pthread_t thread = start_thread(run_statement, &sleeper);
  wait_until(started(&place, CENOTE_REQUEST_EXECUTE) == 1);
  assert_int_equal(run_sql(sleeper.lease, "SELECT 1", &place.error), CENOTE_BUSY);
  assert_true(place.error.retryable);
  assert_int_equal(cenote_begin(sleeper.lease, 0, &tx, &place.error), CENOTE_BUSY);
  assert_int_equal(cenote_release(sleeper.lease), CENOTE_BUSY);
  cenote_lease_info info = CENOTE_LEASE_INFO_INIT;
  assert_int_equal(cenote_lease_stats(sleeper.lease, &info), CENOTE_OK);
  assert_true(info.in_call);
  fake_let_go(&place.script, 1);
  pthread_join(thread, NULL);
  must(sleeper.status, &sleeper.error);
  must_release(sleeper.lease);
  place_close(&place);
}

static void a_timeout_says_who_holds_what(void **state)
{
  (void)state;
  struct place place;
  cenote_lease lease;
  place_init(&place);
  place_set(&place, "acquire_timeout_ms", "30");
  place_open_with(&place, "0", "2");
  cenote_lease one = must_acquire(place.manager, "nightly-report");
  cenote_lease two = must_acquire(place.manager, "line\nbreak\x01");
  pause_ms(20);
  const int64_t timeouts[] = {0, 20, -1};
  for (int i = 0; i < 3; i++) {
    lease = one;
    expect(CENOTE_TIMEOUT, cenote_acquire(place.manager, "late", timeouts[i], &lease, &place.error),
           &place.error);
    assert_true(lease.manager == 0 && lease.generation == 0);
    assert_true(place.error.retryable);
    has_text(place.error.message, "timeout");
    has_text(place.error.details, "nightly-report");
    has_text(place.error.details, " ms");
    has_no_text(place.error.details, "line\nbreak");
    has_no_text(place.error.message, "nightly-report");
  }
  assert_int_equal(statistics_of(place.manager).acquire_timeouts, 3);
  must_release(one);
  must_release(two);
  place_close(&place);
}

static void a_timeout_says_what_connects_and_what_the_server_said(void **state)
{
  (void)state;
  struct place place;
  cenote_lease lease;
  place_init(&place);
  fake_fail(&place.script, CENOTE_REQUEST_OPEN, CENOTE_CONNECT, -1);
  place_set(&place, "connect_backoff_ms", "10");
  place_set(&place, "connect_backoff_max_ms", "40");
  place_set(&place, "connect_timeout_ms", "600000");
  place_set(&place, "breaker_failures", "0");
  place_open_with(&place, "1", "2");
  wait_until(statistics_of(place.manager).connection_errors > 0);
  expect(CENOTE_TIMEOUT, cenote_acquire(place.manager, "x", 30, &lease, &place.error),
         &place.error);
  has_text(place.error.details, "scripted failure");
  place.script.hang[CENOTE_REQUEST_OPEN] = true;
  fake_fail(&place.script, CENOTE_REQUEST_OPEN, CENOTE_CONNECT, 0);
  int tries = 0;
  do { /* until the next attempt has begun */
    expect(CENOTE_TIMEOUT, cenote_acquire(place.manager, "x", 50, &lease, &place.error),
           &place.error);
  } while (strstr(place.error.details, "connecting for") == NULL && ++tries < 100);
  has_text(place.error.details, "connecting for");
  place.script.hang[CENOTE_REQUEST_OPEN] = false;
  assert_true(statistics_of(place.manager).connection_errors > 0);
  place_close(&place);
}

static void a_wrong_password_is_told_at_once(void **state)
{
  (void)state;
  struct place place;
  cenote_lease lease;
  place_init(&place);
  fake_fail(&place.script, CENOTE_REQUEST_OPEN, CENOTE_AUTH, -1);
  place_open_with(&place, "0", "2");
  expect(CENOTE_AUTH, cenote_acquire(place.manager, "x", 60000, &lease, &place.error),
         &place.error);
  has_text(place.error.message, "scripted failure");
  assert_int_equal(noted(&place.notes, "audit: login_failed"), 1);
  assert_true(statistics_of(place.manager).login_failures > 0);
  place_close(&place);
}

static void a_failed_open_heals_by_itself(void **state)
{
  (void)state;
  struct place place;
  place_init(&place);
  fake_fail(&place.script, CENOTE_REQUEST_OPEN, CENOTE_CONNECT, 3);
  place_set(&place, "connect_backoff_ms", "10");
  place_open_with(&place, "1", "2");
  cenote_lease lease = must_acquire(place.manager, "patient");
  must_release(lease);
  assert_int_equal(statistics_of(place.manager).connection_errors, 3);
  place_close(&place);
}

struct waiting {
  struct place *place;
  const char *operation;
  int64_t timeout_ms;
  cenote_status status;
  cenote_lease lease;
  cenote_error error;
};

static void *acquire_in_thread(void *context)
{
  struct waiting *waiting = context;
  waiting->error = (cenote_error)CENOTE_ERROR_INIT;
  waiting->status = cenote_acquire(waiting->place->manager, waiting->operation, waiting->timeout_ms,
                                   &waiting->lease, &waiting->error);
  return NULL;
}

static void one_waiter_past_the_ceiling_is_refused(void **state)
{
  (void)state;
  struct place place;
  cenote_lease lease;
  place_init(&place);
  place_set(&place, "max_waiters", "2");
  place_open_with(&place, "0", "1");
  cenote_lease held = must_acquire(place.manager, "holder");
  struct waiting waiters[2];
  pthread_t threads[2];
  for (int i = 0; i < 2; i++) {
    waiters[i] = (struct waiting){.place = &place, .operation = "w", .timeout_ms = PATIENCE_MS};
    threads[i] = start_thread(acquire_in_thread, &waiters[i]);
  }
  wait_until(statistics_of(place.manager).waiters == 2);
  expect(CENOTE_QUEUE_FULL, cenote_acquire(place.manager, "third", 5000, &lease, &place.error),
         &place.error);
  assert_true(place.error.retryable);
  has_text(place.error.message, "the acquire timeout is not waited for");
  has_text(place.error.details, "holder");
  assert_int_equal(statistics_of(place.manager).acquire_refused, 1);
  must_release(held);
  for (int done = 0; done < 2; done++) { /* each lets the next one through */
    wait_until(statistics_of(place.manager).active_leases == 1);
    cenote_lease_info info = CENOTE_LEASE_INFO_INIT;
    size_t count;
    assert_int_equal(cenote_pool_leases(place.manager, &info, 1, &count), CENOTE_OK);
    if (count == 1) {
      must_release(info.lease);
    } else {
      done--;
    }
  }
  for (int i = 0; i < 2; i++) {
    pthread_join(threads[i], NULL);
    must(waiters[i].status, &waiters[i].error);
  }
  place_close(&place);
}

static void without_waiters_allowed_a_pool_still_opens_its_connections(void **state)
{
  (void)state;
  struct place place;
  cenote_lease lease = {0};
  place_init(&place);
  place_set(&place, "max_waiters", "0");
  place_open_with(&place, "0", "2");
  cenote_status status;
  wait_until((status = cenote_acquire(place.manager, "x", 100, &lease, &place.error)) == CENOTE_OK);
  must_release(lease);
  place_close(&place);
}

static void waiters_are_served_in_order(void **state)
{
  (void)state;
  struct place place;
  place_init(&place);
  place_open_with(&place, "0", "1");
  cenote_lease held = must_acquire(place.manager, "holder");
  struct waiting waiters[3];
  pthread_t threads[3];
  static const char *const names[] = {"w0", "w1", "w2"};
  for (int i = 0; i < 3; i++) {
    waiters[i] =
        (struct waiting){.place = &place, .operation = names[i], .timeout_ms = PATIENCE_MS};
    threads[i] = start_thread(acquire_in_thread, &waiters[i]);
    wait_until(statistics_of(place.manager).waiters == i + 1);
  }
  pause_ms(5); /* held long: handed over, in order */
  for (int i = 0; i < 3; i++) {
    must_release(held);
    pthread_join(threads[i], NULL);
    must(waiters[i].status, &waiters[i].error);
    held = waiters[i].lease;
    pause_ms(5);
  }
  must_release(held);
  place_close(&place);
}

static void a_long_operation_id_is_cut_and_null_is_fine(void **state)
{
  (void)state;
  struct place place;
  char name[1001];
  cenote_lease_info info = CENOTE_LEASE_INFO_INIT;
  place_init(&place);
  place_open_with(&place, "0", "3");
  memset(name, 'n', 1000);
  name[1000] = '\0';
  cenote_lease lease = must_acquire(place.manager, name);
  assert_int_equal(cenote_lease_stats(lease, &info), CENOTE_OK);
  assert_int_equal(strlen(info.operation_id), 128);
  must_release(lease);
  for (size_t size = 0; size < 140; size += 3) { /* every length, at every alignment */
    lease = must_acquire(place.manager, name + 1000 - size);
    assert_int_equal(cenote_lease_stats(lease, &info), CENOTE_OK);
    assert_int_equal(strlen(info.operation_id), size < 128 ? size : 128);
    must_release(lease);
  }
  lease = must_acquire(place.manager, NULL);
  assert_int_equal(cenote_lease_stats(lease, &info), CENOTE_OK);
  assert_string_equal(info.operation_id, "");
  must_release(lease);
  place_close(&place);
}

static void lease_stats_tell_what_is_true(void **state)
{
  (void)state;
  struct place place;
  cenote_lease_info info = CENOTE_LEASE_INFO_INIT;
  cenote_lease_info all[4];
  size_t count;
  place_init(&place);
  place_set(&place, "lease_timeout_ms", "60000");
  place_open_with(&place, "0", "2");
  cenote_lease old = must_acquire(place.manager, "old");
  pause_ms(60);
  cenote_lease young = must_acquire_for(place.manager, "young", 30000);
  assert_int_equal(cenote_lease_stats(old, &info), CENOTE_OK);
  assert_true(info.age_ms >= 50 && info.idle_ms >= 50 && !info.in_call && !info.released);
  assert_in_range(info.remaining_ms, 1, 60000 - 50);
  assert_int_equal(cenote_lease_stats(young, &info), CENOTE_OK);
  assert_in_range(info.remaining_ms, 1, 30000);
  assert_memory_equal(&info.lease, &young, sizeof young);
  for (int i = 0; i < 4; i++) {
    all[i] = (cenote_lease_info)CENOTE_LEASE_INFO_INIT;
  }
  assert_int_equal(cenote_pool_leases(place.manager, all, 4, &count), CENOTE_OK);
  assert_int_equal(count, 2);
  assert_string_equal(all[0].operation_id, "old");
  assert_string_equal(all[1].operation_id, "young");
  assert_int_equal(cenote_pool_leases(place.manager, all, 1, &count), CENOTE_OK);
  assert_int_equal(count, 2);
  info.size = 3;
  assert_int_equal(cenote_lease_stats(old, &info), CENOTE_INVALID);
  assert_int_equal(cenote_pool_leases(place.manager, &info, 1, &count), CENOTE_INVALID);
  all[0].size = 2 * sizeof all[0]; /* a caller whose header knows more */
  all[1].size = all[3].size = 7;
  assert_int_equal(cenote_pool_leases(place.manager, all, 2, &count), CENOTE_OK);
  assert_string_equal(all[2].operation_id, "young");
  assert_int_equal(all[2].size, 2 * sizeof all[0]);
  assert_true(all[1].size == 7 && all[3].size == 7);
  must_release(old);
  must_release(young);
  place_close(&place);
}

static void a_clean_release_makes_no_request(void **state)
{
  (void)state;
  struct place place;
  place_init(&place);
  place_open_with(&place, "0", "1");
  must_release(must_acquire(place.manager, "warm"));
  uint64_t before[FAKE_KINDS];
  for (int kind = 0; kind < FAKE_KINDS; kind++) {
    before[kind] = started(&place, (cenote_request_kind)kind);
  }
  for (int i = 0; i < 50; i++) {
    cenote_lease lease = must_acquire(place.manager, "clean");
    must_run(lease, "SELECT 1");
    must_release(lease);
  }
  for (int kind = 0; kind < FAKE_KINDS; kind++) {
    if (kind != CENOTE_REQUEST_EXECUTE) {
      assert_int_equal(started(&place, (cenote_request_kind)kind), before[kind]);
    }
  }
  place_close(&place);
}

static void a_dirty_session_is_reset_before_the_next_holder(void **state)
{
  (void)state;
  struct place place;
  place_init(&place);
  place_open_with(&place, "0", "1");
  cenote_lease lease = must_acquire(place.manager, "dirty");
  must_run(lease, "set something");
  must_release(lease);
  lease = must_acquire(place.manager, "next");
  assert_int_equal(started(&place, CENOTE_REQUEST_RESET), 1);
  assert_non_null(cenote_lease_resource(lease)); /* handed out: nobody knows what was done */
  must_release(lease);
  lease = must_acquire(place.manager, "after");
  assert_int_equal(started(&place, CENOTE_REQUEST_RESET), 2);
  assert_int_equal(place.script.taints, 1);
  must_release(lease);
  assert_int_equal(statistics_of(place.manager).resets, 2);
  place_close(&place);
}

static void an_open_transaction_is_rolled_back_on_release(void **state)
{
  (void)state;
  struct place place;
  cenote_transaction *tx;
  place_init(&place);
  place_open_with(&place, "0", "1");
  cenote_lease lease = must_acquire(place.manager, "careless");
  must(cenote_begin(lease, 0, &tx, &place.error), &place.error);
  must_release(lease);
  cenote_lease next = must_acquire(place.manager, "next");
  assert_int_equal(place.script.rollbacks_of_open_transactions, 1);
  must_run(next, "begin"); /* would fail inside a transaction */
  must_run(next, "rollback");
  assert_int_equal(cenote_rollback(tx, &place.error), CENOTE_OK);
  must_release(next);
  place_close(&place);
}

static void a_reset_that_fails_costs_the_connection_not_the_next_holder(void **state)
{
  (void)state;
  struct place place;
  place_init(&place);
  place_open_with(&place, "0", "1");
  fake_fail(&place.script, CENOTE_REQUEST_RESET, CENOTE_CONNECTION_LOST, 1);
  cenote_lease lease = must_acquire(place.manager, "dirty");
  must_run(lease, "set x");
  must_release(lease);
  lease = must_acquire(place.manager, "next");
  assert_int_equal(must_read(lease, "who"), 2);
  must_release(lease);
  assert_int_equal(noted(&place.notes, "audit: closed reset_failed"), 1);
  assert_int_equal(statistics_of(place.manager).reset_failures, 1);
  place_close(&place);
}

static void a_reset_that_hangs_is_given_up(void **state)
{
  (void)state;
  struct place place;
  place_init(&place);
  place_set(&place, "connect_timeout_ms", "100");
  place_open_with(&place, "0", "1");
  place.script.hang[CENOTE_REQUEST_RESET] = true;
  cenote_lease lease = must_acquire(place.manager, "dirty");
  const int64_t dirty = must_read(lease, "who"); /* a connect may have taken too long, too */
  must_run(lease, "set x");
  must_release(lease);
  wait_until(statistics_of(place.manager).reset_failures == 1);
  lease = must_acquire(place.manager, "next");
  assert_true(must_read(lease, "who") > dirty);
  must_release(lease);
  place_close(&place);
}

static void a_lost_connection_is_closed_and_replaced(void **state)
{
  (void)state;
  struct place place;
  place_init(&place);
  place_open_with(&place, "0", "1");
  cenote_lease lease = must_acquire(place.manager, "unlucky");
  expect(CENOTE_CONNECTION_LOST, run_sql(lease, "lose", &place.error), &place.error);
  assert_int_not_equal(run_sql(lease, "SELECT 1", &place.error), CENOTE_OK);
  must_release(lease);
  lease = must_acquire(place.manager, "next");
  assert_int_equal(must_read(lease, "who"), 2);
  must_release(lease);
  assert_int_equal(noted(&place.notes, "audit: closed broken"), 1);
  place_close(&place);
}

static void a_discarded_connection_is_closed_and_replaced(void **state)
{
  (void)state;
  struct place place;
  place_init(&place);
  place_open_with(&place, "0", "1");
  cenote_lease lease = must_acquire(place.manager, "first");
  const uint64_t number = cenote_lease_connection(lease);
  assert_int_equal(number, 1);
  must_release(lease);
  assert_int_equal(cenote_lease_connection(lease), 0);
  lease = must_acquire(place.manager, "second");
  assert_int_equal(cenote_lease_connection(lease), number);
  assert_int_equal(cenote_discard(lease), CENOTE_OK);
  assert_int_equal(cenote_discard(lease), CENOTE_STALE);
  assert_int_equal(cenote_release(lease), CENOTE_STALE);
  lease = must_acquire(place.manager, "third");
  assert_int_not_equal(cenote_lease_connection(lease), number);
  assert_int_equal(must_read(lease, "SELECT 3"), 3);
  must_release(lease);
  cenote_statistics now = statistics_of(place.manager);
  assert_int_equal(now.connections_created, 2);
  assert_int_equal(now.leases_granted, 3);
  assert_int_equal(now.leases_released, 3);
  assert_int_equal(cenote_discard((cenote_lease){0}), CENOTE_STALE);
  assert_int_equal(cenote_lease_connection((cenote_lease){0}), 0);
  place_close(&place);
}

static void a_hot_connection_is_not_checked_and_an_idle_one_is(void **state)
{
  (void)state;
  struct place place;
  place_init(&place);
  place_open_with(&place, "0", "1");
  must_release(must_acquire(place.manager, "a"));
  cenote_lease lease = must_acquire(place.manager, "b");
  assert_int_equal(started(&place, CENOTE_REQUEST_CHECK), 0);
  must_release(lease);
  pause_ms(200);
  place_change(&place, "check_after_ms", "50");
  lease = must_acquire(place.manager, "c");
  assert_int_equal(started(&place, CENOTE_REQUEST_CHECK), 1);
  place_change(&place, "check_after_ms", "600000");
  must_release(lease);
  must_release(must_acquire(place.manager, "d"));
  assert_int_equal(started(&place, CENOTE_REQUEST_CHECK), 1);
  const cenote_statistics now = statistics_of(place.manager);
  assert_true(now.checks >= now.check_failures);
  place_close(&place);
}

static void all_idle_connections_dead_cost_one_connect(void **state)
{
  (void)state;
  enum { IDLE = 5 };
  struct place place;
  cenote_lease leases[IDLE];
  place_init(&place);
  place_set(&place, "check_after_ms", "0");
  place_open_with(&place, "0", "5");
  for (int i = 0; i < IDLE; i++) {
    leases[i] = must_acquire(place.manager, "warm");
  }
  for (int i = 0; i < IDLE; i++) {
    must_release(leases[i]);
  }
  pause_ms(50);
  fake_kill_all(&place.script);
  cenote_lease lease = must_acquire(place.manager, "after the restart");
  assert_int_equal(place.script.opened, IDLE + 1);
  assert_int_equal(must_read(lease, "who"), IDLE + 1);
  wait_until(statistics_of(place.manager).connections_closed == IDLE);
  assert_int_equal(place.script.opened, IDLE + 1);
  must_release(lease);
  const cenote_statistics now = statistics_of(place.manager);
  assert_int_equal(now.check_failures, IDLE);
  assert_true(now.checks >= now.check_failures);
  assert_int_equal(now.leases_granted, now.leases_released);
  place_close(&place);
}

/* "Does not wait" means for a connection: a living one that only has to be asked must not be
 * thrown away because there was no time to ask. */
static void an_acquire_without_time_does_not_kill_what_it_has_to_check(void **state)
{
  (void)state;
  struct place place;
  cenote_lease lease;
  place_init(&place);
  place_set(&place, "check_after_ms", "0");
  place_set(&place, "health_check_interval_ms", "0");
  place_open_with(&place, "0", "1");
  must_release(must_acquire(place.manager, "warm"));
  place.script.delay_ns[CENOTE_REQUEST_CHECK] = 20 * 1000000;
  pause_ms(30);
  const cenote_status hurried = cenote_acquire(place.manager, "hurried", 0, &lease, &place.error);
  assert_int_equal(cenote_release(lease), hurried == CENOTE_OK ? CENOTE_OK : CENOTE_STALE);
  pause_ms(50);
  lease = must_acquire(place.manager, "next");
  assert_int_equal(must_read(lease, "who"), 1);
  must_release(lease);
  assert_int_equal(statistics_of(place.manager).check_failures, 0);
  place_close(&place);
}

static void a_check_that_hangs_does_not_eat_the_whole_patience(void **state)
{
  (void)state;
  struct place place;
  place_init(&place);
  place_set(&place, "check_after_ms", "100");
  place_set(&place, "health_check_interval_ms", "0");
  place_set(&place, "cancel_timeout_ms", "100");
  place_open_with(&place, "0", "1");
  must_release(must_acquire(place.manager, "warm"));
  pause_ms(300);
  place_change(&place, "connect_timeout_ms", "200");
  place.script.deaf = true;
  place.script.hang[CENOTE_REQUEST_CHECK] = true;
  cenote_lease lease = must_acquire(place.manager, "next");
  assert_true(must_read(lease, "who") >= 2); /* a connect may take too long, too */
  must_release(lease);
  place.script.hang[CENOTE_REQUEST_CHECK] = false;
  place_close(&place);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      TEST(a_lease_goes_out_and_comes_back),
      TEST(every_call_on_a_released_lease_is_stale),
      TEST(a_double_release_never_frees_the_next_holders_connection),
      TEST(invented_leases_are_stale),
      TEST(a_lease_of_a_closed_manager_is_stale_also_for_its_successor),
      TEST(a_second_thread_inside_a_lease_is_told_busy),
      TEST(a_timeout_says_who_holds_what),
      TEST(a_timeout_says_what_connects_and_what_the_server_said),
      TEST(a_wrong_password_is_told_at_once),
      TEST(a_failed_open_heals_by_itself),
      TEST(one_waiter_past_the_ceiling_is_refused),
      TEST(without_waiters_allowed_a_pool_still_opens_its_connections),
      TEST(waiters_are_served_in_order),
      TEST(a_long_operation_id_is_cut_and_null_is_fine),
      TEST(lease_stats_tell_what_is_true),
      TEST(a_clean_release_makes_no_request),
      TEST(a_dirty_session_is_reset_before_the_next_holder),
      TEST(an_open_transaction_is_rolled_back_on_release),
      TEST(a_reset_that_fails_costs_the_connection_not_the_next_holder),
      TEST(a_reset_that_hangs_is_given_up),
      TEST(a_lost_connection_is_closed_and_replaced),
      TEST(a_discarded_connection_is_closed_and_replaced),
      TEST(a_hot_connection_is_not_checked_and_an_idle_one_is),
      TEST(all_idle_connections_dead_cost_one_connect),
      TEST(an_acquire_without_time_does_not_kill_what_it_has_to_check),
      TEST(a_check_that_hangs_does_not_eat_the_whole_patience),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
