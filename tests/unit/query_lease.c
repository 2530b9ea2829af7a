/* query_lease.c - cenote_execute_async: one statement on a lease that nobody waits for. */
#include "query_help.h"

static void with(struct place *place, const cenote_driver *driver)
{
  place_init(place);
  place->options.driver = driver;
}

static void a_statement_answers_by_callback_on_the_managers_thread(void **state)
{
  (void)state;
  const cenote_driver *drivers[] = {&fake_driver, &fake_driver_blocking};
  for (size_t i = 0; i < 2; i++) {
    struct place place;
    struct answer answer = {0};
    with(&place, drivers[i]);
    place_open_with(&place, "0", "1");
    cenote_lease lease = must_acquire(place.manager, "x");
    execute_async(lease, "SELECT 7", &answer);
    wait_for(&answer);
    has_status(&answer, CENOTE_OK);
    assert_int_equal(answer.value, 7);
    assert_false(pthread_equal(answer.thread, pthread_self()));
    assert_int_equal(cenote_cancel_query(answer.ticket), CENOTE_STALE);
    assert_int_equal(must_read(lease, "SELECT 8"), 8);
    must_release(lease);
    assert_int_equal(statistics_of(place.manager).statements, 2);
    place_close(&place);
  }
}

static void sql_and_arguments_are_copied(void **state)
{
  (void)state;
  struct place place;
  struct answer answer = {0};
  char sql[] = "SELECT $1, $2, $3";
  char text[] = "12";
  place_init(&place);
  place.script.delay_ns[CENOTE_REQUEST_EXECUTE] = 20 * 1000000;
  place_open_with(&place, "0", "1");
  cenote_lease lease = must_acquire(place.manager, "x");
  cenote_value args[] = {cenote_text(text), cenote_null(), cenote_blob("", 0)};
  must(cenote_execute_async(lease, sql, args, 3, on_answer, &answer, NULL, &place.error),
       &place.error);
  memset(sql, 'x', sizeof sql - 1);
  memset(text, '9', sizeof text - 1);
  memset(args, 0xff, sizeof args);
  wait_for(&answer);
  has_status(&answer, CENOTE_OK);
  assert_int_equal(answer.value, 12);
  must_release(lease);
  place_close(&place);
}

static void during_the_call_the_lease_is_busy(void **state)
{
  (void)state;
  struct place place;
  struct answer answer = {0};
  place_init(&place);
  place_open_with(&place, "0", "1");
  cenote_lease lease = must_acquire(place.manager, "x");
  execute_async(lease, "hang", &answer);
  wait_until(started(&place, CENOTE_REQUEST_EXECUTE) == 1);
  expect(CENOTE_BUSY, run_sql(lease, "SELECT 1", &place.error), &place.error);
  expect(CENOTE_BUSY,
         cenote_execute_async(lease, "SELECT 1", NULL, 0, on_answer, NULL, NULL, &place.error),
         &place.error);
  assert_int_equal(cenote_release(lease), CENOTE_BUSY);
  assert_int_equal(cenote_cancel_query(answer.ticket), CENOTE_OK);
  wait_for(&answer);
  has_status(&answer, CENOTE_CANCELLED);
  assert_int_equal(must_read(lease, "SELECT 2"), 2);
  must_release(lease);
  place_close(&place);
}

static void wrong_arguments_are_refused_at_once(void **state)
{
  (void)state;
  struct place place;
  cenote_ticket ticket = {1, 1, 1};
  place_init(&place);
  place_open_with(&place, "0", "1");
  cenote_lease lease = must_acquire(place.manager, "x");
  expect(CENOTE_INVALID,
         cenote_execute_async(lease, NULL, NULL, 0, on_answer, NULL, &ticket, &place.error),
         &place.error);
  assert_int_equal(ticket.number, 0);
  expect(CENOTE_INVALID,
         cenote_execute_async(lease, "SELECT 1", NULL, 0, NULL, NULL, NULL, &place.error),
         &place.error);
  must_release(lease);
  expect(CENOTE_STALE,
         cenote_execute_async(lease, "SELECT 1", NULL, 0, on_answer, NULL, NULL, &place.error),
         &place.error);
  place_close(&place);
}

static void a_failure_is_told_like_the_blocking_call_tells_it(void **state)
{
  (void)state;
  struct place place;
  struct answer answer = {0}, lost = {0};
  place_init(&place);
  place_open_with(&place, "0", "1");
  cenote_lease lease = must_acquire(place.manager, "x");
  execute_async(lease, "error 23505", &answer);
  wait_for(&answer);
  has_status(&answer, CENOTE_DATABASE);
  execute_async(lease, "lose", &lost);
  wait_for(&lost);
  has_status(&lost, CENOTE_CONNECTION_LOST);
  must_release(lease);
  lease = must_acquire(place.manager, "y");
  assert_int_equal(must_read(lease, "who"), 2);
  must_release(lease);
  assert_int_equal(statistics_of(place.manager).statement_errors, 2);
  place_close(&place);
}

static void a_session_left_dirty_or_in_a_transaction_is_cleaned_for_the_next(void **state)
{
  (void)state;
  const char *const texts[] = {"set", "begin"};
  for (size_t i = 0; i < 2; i++) {
    struct place place;
    struct answer answer = {0};
    place_init(&place);
    place_open_with(&place, "0", "1");
    cenote_lease lease = must_acquire(place.manager, "x");
    execute_async(lease, texts[i], &answer);
    wait_for(&answer);
    must_release(lease);
    must_release(must_acquire(place.manager, "y"));
    assert_int_equal(started(&place, CENOTE_REQUEST_RESET), 1);
    place_close(&place);
  }
}

static void a_statement_that_is_too_slow_is_cancelled_then_aborted(void **state)
{
  (void)state;
  const cenote_driver *drivers[] = {&fake_driver, &fake_driver_blocking};
  for (int i = 0; i < 4; i++) {
    const bool deaf = i >= 2; /* who blocks minds its deadline by itself */
    struct place place;
    struct answer answer = {0};
    with(&place, drivers[i % 2]);
    place.script.deaf = deaf;
    place_set(&place, "statement_timeout_ms", "40");
    place_set(&place, "cancel_timeout_ms", deaf && drivers[i % 2] == &fake_driver ? "40" : "20000");
    place_open_with(&place, "0", "1");
    cenote_lease lease = must_acquire(place.manager, "x");
    execute_async(lease, "hang", &answer);
    wait_for(&answer);
    if (!deaf) {
      has_status(&answer, CENOTE_STATEMENT_TIMEOUT);
    }
    assert_int_not_equal(answer.status, CENOTE_OK);
    assert_true((place.script.aborts > 0) == (deaf && drivers[i % 2] == &fake_driver));
    must_release(lease);
    place_close(&place);
  }
}

static void a_cancel_of_a_deaf_database_ends_by_an_abort(void **state)
{
  (void)state;
  const cenote_driver *drivers[] = {&fake_driver, &fake_driver_blocking};
  for (size_t i = 0; i < 2; i++) {
    struct place place;
    struct answer answer = {0};
    with(&place, drivers[i]);
    place.script.deaf = true;
    place_set(&place, "cancel_timeout_ms", "40");
    place_open_with(&place, "0", "1");
    cenote_lease lease = must_acquire(place.manager, "x");
    execute_async(lease, "hang", &answer);
    wait_until(started(&place, CENOTE_REQUEST_EXECUTE) == 1);
    assert_int_equal(cenote_cancel_query(answer.ticket), CENOTE_OK);
    wait_for(&answer);
    assert_int_not_equal(answer.status, CENOTE_OK);
    assert_int_equal(answer.calls, 1);
    must_release(lease);
    place_close(&place);
  }
}

static void a_lease_that_expires_ends_its_statement(void **state)
{
  (void)state;
  const cenote_driver *drivers[] = {&fake_driver, &fake_driver_blocking};
  for (size_t i = 0; i < 2; i++) {
    struct place place;
    struct answer answer = {0};
    with(&place, drivers[i]);
    place_open_with(&place, "0", "1");
    cenote_lease lease = must_acquire(place.manager, "late");
    execute_async(lease, "hang", &answer);
    wait_until(started(&place, CENOTE_REQUEST_EXECUTE) == 1);
    let_expire(lease);
    wait_for(&answer);
    has_status(&answer, CENOTE_LEASE_EXPIRED);
    has_text(answer.message, "late");
    assert_int_equal(cenote_release(lease), CENOTE_LEASE_EXPIRED);
    lease = must_acquire(place.manager, "next");
    assert_int_equal(must_read(lease, "SELECT 3"), 3);
    must_release(lease);
    place_close(&place);
  }
}

static void a_shutdown_settles_what_runs_exactly_once(void **state)
{
  (void)state;
  enum { CALLS = 12 };
  const cenote_driver *drivers[] = {&fake_driver, &fake_driver_blocking};
  for (size_t i = 0; i < 2; i++) {
    struct place place;
    struct answer answers[CALLS] = {0};
    cenote_lease leases[CALLS];
    with(&place, drivers[i]);
    place_open_with(&place, "0", "12");
    for (int k = 0; k < CALLS; k++) {
      leases[k] = must_acquire(place.manager, "x");
    }
    for (int k = 0; k < CALLS; k++) { /* more than there are threads: some only wait for one */
      execute_async(leases[k], "hang", &answers[k]);
    }
    expect(CENOTE_TIMEOUT, cenote_shutdown(place.manager, 30, &place.error), &place.error);
    place_close(&place);
    for (int k = 0; k < CALLS; k++) {
      has_status(&answers[k], CENOTE_SHUTTING_DOWN);
    }
  }
}

static void release_it(struct answer *answer)
{
  must_release(*(cenote_lease *)answer->context);
}

static void a_shutdown_lets_a_short_statement_finish(void **state)
{
  (void)state;
  struct place place;
  struct answer answer = {.then = release_it};
  place_init(&place);
  place_open_with(&place, "0", "1");
  cenote_lease lease = must_acquire(place.manager, "x");
  answer.context = &lease;
  execute_async(lease, "sleep 50", &answer);
  must(cenote_shutdown(place.manager, PATIENCE_MS, &place.error), &place.error);
  has_status(&answer, CENOTE_OK);
  place_close(&place);
}

static void more_calls_than_threads_wait_in_order(void **state)
{
  (void)state;
  enum { CALLS = 20 };
  struct place place;
  struct answer answers[CALLS] = {0};
  cenote_lease leases[CALLS];
  with(&place, &fake_driver_blocking);
  place_open_with(&place, "0", "20");
  for (int i = 0; i < CALLS; i++) {
    leases[i] = must_acquire(place.manager, "x");
  }
  for (int i = 0; i < CALLS; i++) {
    execute_async(leases[i], i < 8 ? "hang" : "SELECT 5", &answers[i]);
  }
  wait_until(started(&place, CENOTE_REQUEST_EXECUTE) == 8);
  pause_ms(30);
  assert_int_equal(answers[8].calls + answers[CALLS - 1].calls, 0);
  assert_int_equal(cenote_cancel_query(answers[CALLS - 1].ticket), CENOTE_OK); /* while it waits */
  wait_for(&answers[CALLS - 1]);
  has_status(&answers[CALLS - 1], CENOTE_CANCELLED);
  assert_int_equal(cenote_cancel_query(answers[0].ticket), CENOTE_OK);
  for (int i = 8; i < CALLS - 1; i++) {
    wait_for(&answers[i]);
    has_status(&answers[i], CENOTE_OK);
  }
  for (int i = 0; i < 8; i++) {
    (void)cenote_cancel_query(answers[i].ticket);
    wait_for(&answers[i]);
    has_status(&answers[i], CENOTE_CANCELLED);
  }
  for (int i = 0; i < CALLS; i++) {
    must_release(leases[i]);
  }
  place_close(&place);
}

static void too_many_that_wait_for_a_thread_are_refused(void **state)
{
  (void)state;
  enum { CALLS = 11 };
  struct place place;
  struct answer answers[CALLS] = {0};
  cenote_lease leases[CALLS];
  with(&place, &fake_driver_blocking);
  place_set(&place, "max_waiters", "2");
  place_open_with(&place, "0", "11");
  for (int i = 0; i < CALLS; i++) {
    leases[i] = must_acquire(place.manager, "x");
  }
  for (int i = 0; i < CALLS; i++) {
    execute_async(leases[i], "hang", &answers[i]);
  }
  wait_for(&answers[CALLS - 1]);
  has_status(&answers[CALLS - 1], CENOTE_QUEUE_FULL);
  for (int i = 0; i < CALLS; i++) {
    (void)cenote_cancel_query(answers[i].ticket);
    wait_for(&answers[i]);
    must_release(leases[i]);
  }
  place_close(&place);
}

static void waiting_for_a_thread_ends_at_the_statements_deadline(void **state)
{
  (void)state;
  enum { CALLS = 9 };
  struct place place;
  struct answer answers[CALLS] = {0};
  cenote_lease leases[CALLS];
  with(&place, &fake_driver_blocking);
  place_set(&place, "statement_timeout_ms", "150");
  place_open_with(&place, "0", "9");
  for (int i = 0; i < CALLS; i++) {
    leases[i] = must_acquire(place.manager, "x");
  }
  for (int i = 0; i < CALLS; i++) {
    execute_async(leases[i], "hang", &answers[i]);
  }
  for (int i = 0; i < CALLS; i++) {
    wait_for(&answers[i]);
    has_status(&answers[i], CENOTE_STATEMENT_TIMEOUT);
    must_release(leases[i]);
  }
  place_close(&place);
}

/* ------------------------------------------------------------------ one after another */

struct chain {
  cenote_lease lease;
  int left;
  struct answer answer;
};

static void again(struct answer *answer)
{
  struct chain *chain = answer->context;
  if (answer->status == CENOTE_OK && --chain->left > 0) {
    execute_async(chain->lease, "SELECT 1", answer);
  }
}

static void a_callback_may_run_the_next_statement(void **state)
{
  (void)state;
  const cenote_driver *drivers[] = {&fake_driver, &fake_driver_blocking};
  for (size_t i = 0; i < 2; i++) {
    struct place place;
    struct chain chain = {.left = 40, .answer = {.then = again}};
    with(&place, drivers[i]);
    place_open_with(&place, "0", "1");
    chain.lease = must_acquire(place.manager, "x");
    chain.answer.context = &chain;
    execute_async(chain.lease, "SELECT 1", &chain.answer);
    wait_until(chain.answer.calls == 40);
    assert_int_equal(chain.left, 0);
    must_release(chain.lease);
    place_close(&place);
  }
}

static void on_a_host_loop_the_callback_comes_inside_dispatch(void **state)
{
  (void)state;
  const cenote_driver *drivers[] = {&fake_driver, &fake_driver_blocking};
  for (size_t i = 0; i < 2; i++) {
    struct place place;
    struct answer answer = {0}, hung = {0};
    cenote_lease lease = {0};
    with(&place, drivers[i]);
    place.options.external_loop = true;
    place_open_with(&place, "1", "1");
    drive_until(place.manager, statistics_of(place.manager).idle_connections == 1);
    must(cenote_acquire(place.manager, "x", 0, &lease, &place.error), &place.error);
    execute_async(lease, "SELECT 4", &answer);
    assert_int_equal(answer.calls, 0);
    drive_until(place.manager, answer.calls == 1);
    has_status(&answer, CENOTE_OK);
    assert_true(pthread_equal(answer.thread, pthread_self()));
    place_change(&place, "statement_timeout_ms", "100");
    execute_async(lease, "hang", &hung);
    drive_until(place.manager, hung.calls == 1);
    has_status(&hung, CENOTE_STATEMENT_TIMEOUT);
    must_release(lease);
    place_close(&place);
  }
}

/* --------------------------------------------------------------------- under load */

enum { CROWD = 4, ROUNDS = 150 };

struct member {
  struct place *place;
  unsigned seed;
  int cancelled;
};

static void *work(void *context)
{
  struct member *member = context;
  for (int i = 0; i < ROUNDS; i++) {
    struct answer answer = {0};
    cenote_lease lease = must_acquire(member->place->manager, "crowd");
    const unsigned dice = (member->seed = member->seed * 1103515245u + 12345u) >> 16;
    execute_async(lease, dice % 3 == 0 ? "sleep 2" : "SELECT 6", &answer);
    if (dice % 2 == 0) {
      (void)cenote_cancel_query(answer.ticket);
    }
    wait_for(&answer);
    assert_int_equal(answer.calls, 1);
    assert_true(answer.status == CENOTE_OK || answer.status == CENOTE_CANCELLED);
    member->cancelled += answer.status == CENOTE_CANCELLED;
    must_release(lease);
  }
  return NULL;
}

static void cancels_race_with_answers_and_each_call_is_told_once(void **state)
{
  (void)state;
  const cenote_driver *drivers[] = {&fake_driver, &fake_driver_blocking};
  for (size_t i = 0; i < 2; i++) {
    struct place place;
    struct member members[CROWD];
    pthread_t threads[CROWD];
    with(&place, drivers[i]);
    place_open_with(&place, "0", "3");
    for (unsigned k = 0; k < CROWD; k++) {
      members[k] = (struct member){.place = &place, .seed = k + 1};
      threads[k] = start_thread(work, &members[k]);
    }
    for (int k = 0; k < CROWD; k++) {
      pthread_join(threads[k], NULL);
    }
    place_close(&place);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      TEST(a_statement_answers_by_callback_on_the_managers_thread),
      TEST(sql_and_arguments_are_copied),
      TEST(during_the_call_the_lease_is_busy),
      TEST(wrong_arguments_are_refused_at_once),
      TEST(a_failure_is_told_like_the_blocking_call_tells_it),
      TEST(a_session_left_dirty_or_in_a_transaction_is_cleaned_for_the_next),
      TEST(a_statement_that_is_too_slow_is_cancelled_then_aborted),
      TEST(a_cancel_of_a_deaf_database_ends_by_an_abort),
      TEST(a_lease_that_expires_ends_its_statement),
      TEST(a_shutdown_settles_what_runs_exactly_once),
      TEST(a_shutdown_lets_a_short_statement_finish),
      TEST(more_calls_than_threads_wait_in_order),
      TEST(too_many_that_wait_for_a_thread_are_refused),
      TEST(waiting_for_a_thread_ends_at_the_statements_deadline),
      TEST(a_callback_may_run_the_next_statement),
      TEST(on_a_host_loop_the_callback_comes_inside_dispatch),
      TEST(cancels_race_with_answers_and_each_call_is_told_once),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
