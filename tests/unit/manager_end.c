/* manager_end.c - shutting down and closing, with everything that may still be going on. */
#include "manager_help.h"

struct call {
  struct place *place;
  cenote_lease lease;
  const char *sql;
  int64_t ms;
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

static void *release_later(void *context)
{
  struct call *call = context;
  pause_ms(call->ms);
  call->status = cenote_release(call->lease);
  return NULL;
}

static void *shut_down(void *context)
{
  struct call *call = context;
  call->error = (cenote_error)CENOTE_ERROR_INIT;
  call->status = cenote_shutdown(call->place->manager, call->ms, &call->error);
  return NULL;
}

static void *acquire_and_wait(void *context)
{
  struct call *call = context;
  call->error = (cenote_error)CENOTE_ERROR_INIT;
  call->status =
      cenote_acquire(call->place->manager, "waiter", call->ms, &call->lease, &call->error);
  return NULL;
}

static void an_idle_manager_drains_at_once(void **state)
{
  (void)state;
  struct place place;
  place_init(&place);
  place_open_with(&place, "3", "3");
  wait_until(statistics_of(place.manager).idle_connections == 3);
  must(cenote_shutdown(place.manager, 10000, &place.error), &place.error);
  assert_int_equal(place.script.open_now, 0);
  assert_int_equal(place.script.done[CENOTE_REQUEST_CLOSE], 3); /* each was said goodbye to */
  assert_int_equal(statistics_of(place.manager).state, CENOTE_STATE_SHUTDOWN);
  must(cenote_shutdown(place.manager, 0, &place.error), &place.error);
  must(cenote_shutdown(place.manager, -1, &place.error), &place.error);
  assert_int_equal(noted(&place.notes, "audit: shutdown"), 1);
  assert_int_equal(noted(&place.notes, "audit: closed shutdown"), 3);
  place_close(&place);
}

static void new_work_is_refused_and_never_called_a_timeout(void **state)
{
  (void)state;
  struct place place;
  cenote_lease lease;
  place_init(&place);
  place_open_with(&place, "0", "2");
  struct call call = {.place = &place, .lease = must_acquire(place.manager, "last"), .ms = 15000};
  pthread_t thread = start_thread(shut_down, &call);
  wait_until(statistics_of(place.manager).state == CENOTE_STATE_DRAINING);
  const int64_t timeouts[] = {0, 50, -1};
  for (int i = 0; i < 3; i++) {
    expect(CENOTE_SHUTTING_DOWN,
           cenote_acquire(place.manager, "late", timeouts[i], &lease, &place.error), &place.error);
    has_text(place.error.message, "shutting down");
    has_no_text(place.error.message, "timeout");
    has_no_text(place.error.details, "timeout");
    assert_false(place.error.retryable);
  }
  assert_int_equal(must_read(call.lease, "SELECT 6"), 6); /* the lease that is there goes on */
  must_release(call.lease);
  pthread_join(thread, NULL);
  must(call.status, &call.error);
  expect(CENOTE_SHUTTING_DOWN, cenote_acquire(place.manager, "late", 0, &lease, &place.error),
         NULL);
  cenote_health_status health;
  must(cenote_health(place.manager, true, &health, &place.error), &place.error);
  assert_int_equal(health, CENOTE_UNHEALTHY);
  place_close(&place);
}

static void a_shutdown_forces_what_is_left_and_names_it(void **state)
{
  (void)state;
  struct place place;
  place_init(&place);
  place_open_with(&place, "0", "3");
  cenote_lease idle = must_acquire(place.manager, "forgotten-one");
  struct call call = {.lease = must_acquire(place.manager, "endless-query"), .sql = "hang"};
  pthread_t thread = start_thread(call_in_thread, &call);
  wait_until(started(&place, CENOTE_REQUEST_EXECUTE) == 1);
  expect(CENOTE_TIMEOUT, cenote_shutdown(place.manager, 50, &place.error), &place.error);
  has_text(place.error.details, "forgotten-one");
  has_text(place.error.details, "endless-query");
  has_text(place.error.message, "2 leases");
  pthread_join(thread, NULL);
  expect(CENOTE_SHUTTING_DOWN, call.status, &call.error);
  has_text(call.error.message, "shutting down");
  has_no_text(call.error.message, "timeout");
  assert_int_equal(cenote_release(idle), CENOTE_SHUTTING_DOWN);
  assert_int_equal(place.script.open_now, 0);
  /* A second call answers the same. */
  cenote_error again = CENOTE_ERROR_INIT;
  expect(CENOTE_TIMEOUT, cenote_shutdown(place.manager, 1000, &again), &again);
  has_text(again.details, "forgotten-one");
  assert_true(noted(&place.notes, "forgotten-one") >= 1); /* and the log says so */
  const cenote_statistics now = statistics_of(place.manager);
  assert_int_equal(now.leases_granted, 2);
  assert_int_equal(now.leases_released, 0);
  assert_int_equal(now.lease_timeouts, 0);
  place_close(&place);
}

static void a_second_shutdown_waits_for_the_first_and_answers_the_same(void **state)
{
  (void)state;
  struct place place;
  place_init(&place);
  place_open_with(&place, "0", "1");
  cenote_lease lease = must_acquire(place.manager, "slow");
  struct call first = {.place = &place, .ms = 15000};
  struct call second = {.place = &place, .ms = 0};
  struct call holder = {.lease = lease, .ms = 300};
  pthread_t one = start_thread(shut_down, &first);
  wait_until(statistics_of(place.manager).state == CENOTE_STATE_DRAINING);
  pthread_t two = start_thread(shut_down, &second);
  pthread_t three = start_thread(release_later, &holder);
  pthread_join(one, NULL);
  pthread_join(two, NULL);
  pthread_join(three, NULL);
  assert_int_equal(holder.status, CENOTE_OK);
  must(first.status, &first.error);
  must(second.status, &second.error);
  place_close(&place);
}

static void shutdown_settles_waiters_at_once(void **state)
{
  (void)state;
  enum { WAITERS = 40 }; /* more than are woken in one go */
  struct place place;
  struct call calls[WAITERS];
  pthread_t threads[WAITERS];
  place_init(&place);
  place_open_with(&place, "0", "1");
  cenote_lease lease = must_acquire(place.manager, "holder");
  for (int i = 0; i < WAITERS; i++) {
    calls[i] = (struct call){.place = &place, .ms = 600000};
    threads[i] = start_thread(acquire_and_wait, &calls[i]);
  }
  wait_until(statistics_of(place.manager).waiters == WAITERS);
  struct call shutdown = {.place = &place, .ms = 60000};
  pthread_t thread = start_thread(shut_down, &shutdown);
  for (int i = 0; i < WAITERS; i++) { /* while the lease is still held */
    pthread_join(threads[i], NULL);
    expect(CENOTE_SHUTTING_DOWN, calls[i].status, &calls[i].error);
    has_text(calls[i].error.message, "shutting down");
  }
  assert_int_equal(statistics_of(place.manager).state, CENOTE_STATE_DRAINING);
  must_release(lease);
  pthread_join(thread, NULL);
  must(shutdown.status, &shutdown.error);
  place_close(&place);
}

static void close_during_connect_destroys_the_connection(void **state)
{
  (void)state;
  struct place place;
  place_init(&place);
  place.script.hang[CENOTE_REQUEST_OPEN] = true;
  place_open_with(&place, "2", "4");
  struct call call = {.place = &place, .ms = 600000};
  pthread_t thread = start_thread(acquire_and_wait, &call);
  wait_until(statistics_of(place.manager).opening >= 2 &&
             statistics_of(place.manager).waiters == 1);
  must(cenote_shutdown(place.manager, 15000, &place.error), &place.error);
  pthread_join(thread, NULL);
  expect(CENOTE_SHUTTING_DOWN, call.status, &call.error);
  assert_int_equal(statistics_of(place.manager).connection_errors, 0); /* given up, not failed */
  assert_int_equal(noted(&place.notes, "failed"), 0);
  place_close(&place);
}

static void close_takes_a_leaked_lease_back_and_names_it(void **state)
{
  (void)state;
  struct place place;
  place_init(&place);
  place_set(&place, "shutdown_timeout_ms", "50");
  place_open_with(&place, "0", "2");
  cenote_lease lease = must_acquire(place.manager, "leaked-lease");
  cenote_transaction *tx;
  must(cenote_begin(lease, 0, &tx, &place.error), &place.error);
  cenote_close(place.manager);
  assert_int_equal(noted(&place.notes, "leaked-lease"), 1);
  assert_int_equal(place.script.open_now, 0);
  assert_int_equal(cenote_release(lease), CENOTE_STALE);
  expect(CENOTE_STALE, run_sql(lease, "SELECT 1", &place.error), &place.error);
  assert_int_equal(cenote_rollback(tx, &place.error), CENOTE_OK);
  fake_script_deinit(&place.script);
  notes_deinit(&place.notes);
}

static void close_waits_for_a_holder_that_releases_in_time(void **state)
{
  (void)state;
  struct place place;
  place_init(&place);
  place_open_with(&place, "0", "2");
  struct call holder = {.lease = must_acquire(place.manager, "busy"), .ms = 100};
  pthread_t thread = start_thread(release_later, &holder);
  place_close(&place);
  pthread_join(thread, NULL);
  assert_int_equal(holder.status, CENOTE_OK);
}

static void a_close_that_hangs_is_cut_short(void **state)
{
  (void)state;
  struct place place;
  place_init(&place);
  place.script.hang[CENOTE_REQUEST_CLOSE] = true;
  place_open_with(&place, "2", "2");
  wait_until(statistics_of(place.manager).idle_connections == 2);
  must(cenote_shutdown(place.manager, 10000, &place.error), &place.error);
  place_close(&place);
}

static void nothing_runs_after_a_shutdown(void **state)
{
  (void)state;
  struct place place;
  place_init(&place);
  place_open_with(&place, "1", "2");
  must_release(must_acquire(place.manager, "one"));
  must(cenote_shutdown(place.manager, PATIENCE_MS, &place.error), &place.error);
  const uint64_t created = place.script.created;
  must(cenote_resize(place.manager, 2, 4, &place.error), &place.error);
  must(cenote_flush(place.manager, &place.error), &place.error);
  pause_ms(50);
  assert_int_equal(place.script.created, created);
  place_close(&place);
}

/* The last release and the close of the manager at the same moment: neither may meet freed memory. */
static void a_release_may_race_with_close(void **state)
{
  (void)state;
  enum { ROUNDS = 60, HOLDERS = 3 };
  for (int i = 0; i < ROUNDS; i++) {
    struct place place;
    struct call holders[HOLDERS];
    pthread_t threads[HOLDERS];
    place_init(&place);
    place_open_with(&place, "0", "3");
    for (int j = 0; j < HOLDERS; j++) {
      holders[j] = (struct call){.lease = must_acquire(place.manager, "racer"), .sql = "set dirty"};
      if (i % 2 == 0) {
        must_run(holders[j].lease, "set dirty"); /* the release goes the long way */
      }
    }
    for (int j = 0; j < HOLDERS; j++) {
      threads[j] = start_thread(release_later, &holders[j]);
    }
    place_close(&place);
    for (int j = 0; j < HOLDERS; j++) {
      pthread_join(threads[j], NULL);
      assert_int_equal(holders[j].status, CENOTE_OK);
    }
  }
}

static void *use_until_stale(void *context)
{
  struct call *call = context;
  cenote_status status;
  cenote_lease_info info = CENOTE_LEASE_INFO_INIT;
  do {
    status = run_sql(call->lease, "SELECT 1", NULL);
    /* whatever they answer, nothing may break */
    (void)!cenote_lease_stats(call->lease, &info);
    (void)!cenote_lease_extend(call->lease, 1000, NULL);
  } while (status == CENOTE_OK);
  call->status = status;
  for (int i = 0; i < 200; i++) {
    (void)run_sql(call->lease, "SELECT 1", NULL);
    (void)cenote_release(call->lease);
    cenote_status other = cenote_lease_stats(call->lease, &info);
    (void)other;
  }
  return NULL;
}

static void late_holders_may_call_while_and_after_the_manager_is_closed(void **state)
{
  (void)state;
  enum { ROUNDS = 20, HOLDERS = 3 };
  for (int i = 0; i < ROUNDS; i++) {
    struct place place;
    struct call holders[HOLDERS];
    pthread_t threads[HOLDERS];
    place_init(&place);
    place_set(&place, "shutdown_timeout_ms", "5");
    place_open_with(&place, "0", "3");
    for (int j = 0; j < HOLDERS; j++) {
      holders[j] = (struct call){.lease = must_acquire(place.manager, "late")};
    }
    for (int j = 0; j < HOLDERS; j++) {
      threads[j] = start_thread(use_until_stale, &holders[j]);
    }
    place_close(&place);
    for (int j = 0; j < HOLDERS; j++) {
      pthread_join(threads[j], NULL);
      assert_true(holders[j].status == CENOTE_STALE || holders[j].status == CENOTE_SHUTTING_DOWN);
      assert_int_equal(run_sql(holders[j].lease, "SELECT 1", NULL), CENOTE_STALE);
    }
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      TEST(an_idle_manager_drains_at_once),
      TEST(new_work_is_refused_and_never_called_a_timeout),
      TEST(a_shutdown_forces_what_is_left_and_names_it),
      TEST(a_second_shutdown_waits_for_the_first_and_answers_the_same),
      TEST(shutdown_settles_waiters_at_once),
      TEST(close_during_connect_destroys_the_connection),
      TEST(close_takes_a_leaked_lease_back_and_names_it),
      TEST(close_waits_for_a_holder_that_releases_in_time),
      TEST(a_close_that_hangs_is_cut_short),
      TEST(nothing_runs_after_a_shutdown),
      TEST(a_release_may_race_with_close),
      TEST(late_holders_may_call_while_and_after_the_manager_is_closed),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
