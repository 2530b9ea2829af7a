/* query_simple.c - routed statements where the database pipelines: what shares a connection, what
 * moves to one of its own, and that both give way to each other. */
#include "query_help.h"

#include "manager/manager.h"
#include "manager/simple.h"

static void shared_place(struct place *place, const char *maximum)
{
  static cenote_driver shared;
  routed_place(place, maximum);
  shared = fake_driver;
  shared.name = "postgres";
  place->options.driver = &shared;
}

static cenote_status query(struct place *place, const char *sql,
                           const cenote_query_options *options)
{
  return cenote_query(place->manager, sql, NULL, 0, options, NULL, &place->error);
}

static void single_statements_share_and_the_rest_has_its_own(void **state)
{
  (void)state;
  static const struct {
    const char *sql;
    cenote_hint hint;
    bool shared;
  } cases[] = {
      {"SELECT 1", CENOTE_HINT_NONE, true},
      {"SELECT 1", CENOTE_HINT_SIMPLE, true},
      {"SELECT 1", CENOTE_HINT_QUERY, true},
      {"INSERT INTO t VALUES (1)", CENOTE_HINT_NONE, true},
      {"SELECT 1", CENOTE_HINT_POOL, false},
      {"SELECT 1", CENOTE_HINT_COMPLEX, false},
      {"SELECT 1", CENOTE_HINT_TRANSACTION, false},
      {"begin", CENOTE_HINT_SIMPLE, false}, /* a hint makes nothing safe */
      {"set x = 1", CENOTE_HINT_SIMPLE, false},
      {"rows 3", CENOTE_HINT_SIMPLE, false}, /* not understood */
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct place place;
    struct answer answer = {0};
    cenote_query_options options = CENOTE_QUERY_OPTIONS_INIT;
    options.hint = cases[i].hint;
    shared_place(&place, "3");
    place_open(&place);
    must(query(&place, cases[i].sql, &options), &place.error);
    ask(place.manager, cases[i].sql, &options, &answer);
    wait_for(&answer);
    has_status(&answer, CENOTE_OK);
    const cenote_statistics now = statistics_of(place.manager);
    assert_int_equal(now.simple.statements, cases[i].shared ? 2 : 0);
    assert_int_equal(now.exclusive.statements, cases[i].shared ? 0 : 2);
    assert_int_equal(now.statements, 2);
    assert_int_equal(now.active_leases, 0);
    place_close(&place);
  }
}

static void without_shared_connections_all_have_their_own(void **state)
{
  (void)state;
  struct place place;
  shared_place(&place, "2");
  place_set(&place, "simple_connections", "0");
  place_open(&place);
  assert_int_equal(must_query(place.manager, "SELECT 3"), 3);
  assert_int_equal(statistics_of(place.manager).exclusive.statements, 1);
  place_close(&place);
}

/* As behind a pooler: sessions that refuse to write cannot be had. */
static void what_cannot_be_shared_is_tried_once_and_remembered(void **state)
{
  (void)state;
  struct place place;
  struct answer answer = {0};
  shared_place(&place, "3");
  place_open(&place);
  atomic_store(&place.script.enter_read_only_status, CENOTE_UNSUPPORTED);
  for (int i = 0; i < 20; i++) {
    assert_int_equal(must_query(place.manager, "SELECT 3"), 3);
  }
  ask(place.manager, "SELECT 1", NULL, &answer);
  wait_for(&answer);
  has_status(&answer, CENOTE_OK);
  must(query(&place, "INSERT INTO t VALUES (1)", NULL), &place.error);
  const cenote_statistics now = statistics_of(place.manager);
  assert_int_equal(now.fallbacks, 1);
  assert_int_equal(now.exclusive.statements, 21);
  assert_int_equal(now.simple.statements, 1);
  place_close(&place);
}

/* What does not heed a cancel, on a database that is well. */
static void a_stubborn_statement_opens_no_breaker(void **state)
{
  (void)state;
  const cenote_hint hints[] = {CENOTE_HINT_SIMPLE, CENOTE_HINT_POOL};
  const char *const texts[] = {"SELECT 1", "INSERT INTO t VALUES (1)"};
  for (int i = 0; i < 6; i++) {
    struct place place;
    cenote_query_options options = CENOTE_QUERY_OPTIONS_INIT;
    const bool asynchronous = i >= 4;
    shared_place(&place, "2");
    place_set(&place, "breaker_failures", "1");
    place_set(&place, "statement_timeout_ms", "20");
    place_set(&place, "cancel_timeout_ms", "20");
    place_set(&place, "retries", "0");
    options.hint = hints[i % 2];
    place_open(&place);
    place.script.delay_ns[CENOTE_REQUEST_EXECUTE] = 60 * 1000 * CEN_NS_PER_MS;
    atomic_store(&place.script.deaf, true);
    for (int k = 0; k < 4; k++) {
      if (asynchronous) {
        struct answer answer = {0};
        ask(place.manager, texts[k % 2], &options, &answer);
        wait_for(&answer);
        assert_int_not_equal(answer.status, CENOTE_OK);
      } else {
        assert_int_not_equal(query(&place, texts[i / 2], &options), CENOTE_OK);
      }
    }
    place.script.delay_ns[CENOTE_REQUEST_EXECUTE] = 0;
    atomic_store(&place.script.deaf, false);
    place_change(&place, "statement_timeout_ms", "60000");
    assert_int_equal(statistics_of(place.manager).breaker, CENOTE_BREAKER_CLOSED);
    assert_int_equal(must_query(place.manager, "SELECT 3"), 3);
    place_close(&place);
  }
}

/* A try is no wait, but what rests on the simple path is as good as free: within the 50 ms that it is
 * given to come, which a busy machine may let pass. */
static void a_try_gets_the_connection_that_rests_on_the_simple_path(void **state)
{
  enum { RESTING_MS = 50, ROUNDS = 200, ENOUGH = 8 };
  (void)state;
  struct place place;
  int in_time = 0;
  shared_place(&place, "1");
  place.script.delay_ns[CENOTE_REQUEST_RESET] = 5 * CEN_NS_PER_MS; /* a round trip */
  place_open(&place);
  for (int i = 0; i < ROUNDS && in_time < ENOUGH; i++) {
    cenote_lease lease, other;
    must_query(place.manager, i % 2 == 0 ? "SELECT 3" : "INSERT INTO t VALUES (1)");
    const int64_t start = now_ms();
    const cenote_status status = cenote_acquire(place.manager, "try", 0, &lease, &place.error);
    if (status == CENOTE_TIMEOUT && now_ms() - start >= RESTING_MS) {
      continue;
    }
    must(status, &place.error);
    assert_int_equal(cenote_acquire(place.manager, "try", 0, &other, &place.error), CENOTE_TIMEOUT);
    assert_non_null(strstr(place.error.message, "1 of at most 1 leased, 0 shared"));
    assert_int_equal(cenote_release(lease), CENOTE_OK);
    in_time++;
  }
  assert_int_equal(in_time, ENOUGH);
  place_close(&place);
}

static void the_managers_own_leases_are_in_no_figure(void **state)
{
  (void)state;
  struct place place;
  cenote_lease lease;
  shared_place(&place, "2");
  place_open(&place);
  must(cenote_acquire(place.manager, "", -1, &lease, &place.error), &place.error);
  assert_int_equal(cenote_release(lease), CENOTE_OK);
  for (int i = 0; i < 5; i++) {
    must_query(place.manager, "SELECT 3");
    must_query(place.manager, "INSERT INTO t VALUES (1)");
    (void)simple_yield(place.manager);
    wait_until(statistics_of(place.manager).pipelines == 0);
  }
  atomic_store(&place.script.enter_status, CENOTE_UNSUPPORTED);
  must_query(place.manager, "SELECT 3"); /* a lease that nothing comes of, and one that serves */
  const cenote_statistics now = statistics_of(place.manager);
  assert_int_equal(now.leases_granted, 2);
  assert_int_equal(now.leases_released, 2);
  assert_int_equal(now.active_leases, 0);
  assert_int_equal(now.waiters, 0);
  assert_int_equal(now.acquire_cancelled, 0);
  assert_int_equal(now.acquire_refused, 0);
  assert_true(now.hold.count <= 2);
  assert_true(now.acquire_wait.count <= 2);
  place_close(&place);
}

static void a_statement_refused_as_a_read_moves_and_is_remembered(void **state)
{
  (void)state;
  for (int asynchronous = 0; asynchronous < 2; asynchronous++) {
    struct place place;
    struct answer answer = {0};
    shared_place(&place, "3");
    place_open(&place);
    place.script.fail_sqlstate[CENOTE_REQUEST_EXECUTE] = "25006";
    fake_fail(&place.script, CENOTE_REQUEST_EXECUTE, CENOTE_DATABASE, 1);
    if (asynchronous != 0) {
      ask(place.manager, "SELECT 5", NULL, &answer);
      wait_for(&answer);
      has_status(&answer, CENOTE_OK);
    } else {
      assert_int_equal(must_query(place.manager, "SELECT 5"), 5);
    }
    cenote_statistics now = statistics_of(place.manager);
    assert_int_equal(now.fallbacks, 1);
    assert_int_equal(now.retries, 0);
    assert_int_equal(now.exclusive.statements, 1);
    assert_int_equal(place.script.read_only_enters, 1);
    assert_int_equal(must_query(place.manager, "SELECT 5"), 5); /* a write from now on */
    now = statistics_of(place.manager);
    assert_int_equal(now.fallbacks, 1);
    assert_int_equal(now.simple.statements, 2);
    assert_int_equal(place.script.read_only_enters, 1);
    assert_true(place.script.enters >= 2);
    place_close(&place);
  }
}

static void a_write_that_may_have_run_is_never_repeated(void **state)
{
  (void)state;
  struct place place;
  struct answer write = {0};
  shared_place(&place, "2");
  place_open(&place);
  must(query(&place, "INSERT INTO t VALUES (1)", NULL), &place.error);
  const uint64_t pushed = place.script.pushes;
  place.script.lose_before_answer = 1;
  expect(CENOTE_OUTCOME_UNKNOWN, query(&place, "INSERT INTO t VALUES (1)", NULL), &place.error);
  assert_int_equal(place.script.pushes, pushed + 1);
  must(query(&place, "INSERT INTO t VALUES (1)", NULL), &place.error);
  const uint64_t before = place.script.pushes;
  place.script.lose_before_answer = 1;
  ask(place.manager, "INSERT INTO t VALUES (1)", NULL, &write);
  wait_for(&write);
  has_status(&write, CENOTE_OUTCOME_UNKNOWN);
  assert_int_equal(place.script.pushes, before + 1);
  assert_int_equal(statistics_of(place.manager).retries, 0);
  place_close(&place);
}

static void a_read_whose_connection_died_runs_again(void **state)
{
  (void)state;
  struct place place;
  struct answer read = {0};
  shared_place(&place, "2");
  place_open(&place);
  place.script.lose_before_answer = 1;
  assert_int_equal(must_query(place.manager, "SELECT 4"), 4);
  place.script.lose_before_answer = 1;
  ask(place.manager, "SELECT 4", NULL, &read);
  wait_for(&read);
  has_status(&read, CENOTE_OK);
  assert_int_equal(statistics_of(place.manager).retries, 2);
  place_close(&place);
}

static void one_deadline_covers_all_of_it(void **state)
{
  (void)state;
  struct place place;
  struct answer answer = {0};
  cenote_query_options options = CENOTE_QUERY_OPTIONS_INIT;
  options.timeout_ms = 600000;
  options.remaining_ms = 80;
  shared_place(&place, "2");
  place_open(&place);
  place.script.hang[CENOTE_REQUEST_EXECUTE] = true;
  expect(CENOTE_STATEMENT_TIMEOUT, query_late(&place, "SELECT 1", &options, &options.remaining_ms),
         &place.error);
  options.remaining_ms = 80;
  ask_late(&place, "SELECT 1", &options, &options.remaining_ms, &answer);
  has_status(&answer, CENOTE_STATEMENT_TIMEOUT);
  place_close(&place);
}

static void waiting_for_a_shared_connection_takes_no_longer_than_an_acquire(void **state)
{
  (void)state;
  struct place place;
  struct answer answer = {0};
  shared_place(&place, "1");
  place_set(&place, "acquire_timeout_ms", "80");
  place_set(&place, "statement_timeout_ms", "600000");
  place_open(&place);
  place.script.hang[CENOTE_REQUEST_OPEN] = true;
  expect(CENOTE_TIMEOUT, query(&place, "SELECT 1", NULL), &place.error);
  has_text(place.error.message, "timeout");
  ask(place.manager, "SELECT 1", NULL, &answer);
  wait_for(&answer);
  has_status(&answer, CENOTE_TIMEOUT);
  place.script.hang[CENOTE_REQUEST_OPEN] = false;
  place_close(&place);
  /* Once it is sent, it has the time of a statement. */
  shared_place(&place, "1");
  place_open(&place);
  assert_int_equal(must_query(place.manager, "SELECT 5"), 5); /* the connection is there */
  place_change(&place, "acquire_timeout_ms", "150");
  place.script.delay_ns[CENOTE_REQUEST_EXECUTE] = INT64_C(400000000);
  assert_int_equal(must_query(place.manager, "SELECT 6"), 6);
  place_close(&place);
}

static void a_query_on_a_shared_connection_is_cancelled_by_its_ticket(void **state)
{
  (void)state;
  struct place place;
  struct answer answer = {0};
  shared_place(&place, "2");
  place_open(&place);
  place.script.hang[CENOTE_REQUEST_EXECUTE] = true;
  ask(place.manager, "SELECT 1", NULL, &answer);
  wait_until(place.script.pushes == 1);
  assert_int_equal(cenote_cancel_query(answer.ticket), CENOTE_OK);
  wait_for(&answer);
  has_status(&answer, CENOTE_CANCELLED);
  place_close(&place);
}

static void a_shutdown_settles_shared_ones_once(void **state)
{
  (void)state;
  enum { ASKS = 40 };
  struct place place;
  struct answer answers[ASKS] = {0};
  shared_place(&place, "2");
  place_set(&place, "simple_depth", "4");
  place_set(&place, "cancel_timeout_ms", "50");
  place_open(&place);
  place.script.hang[CENOTE_REQUEST_EXECUTE] = true;
  for (int i = 0; i < ASKS; i++) {
    ask(place.manager, "SELECT 1", NULL, &answers[i]);
  }
  wait_until(place.script.pushes > 0);
  (void)!cenote_shutdown(place.manager, 30, &place.error);
  place_close(&place);
  for (int i = 0; i < ASKS; i++) {
    has_status(&answers[i], CENOTE_SHUTTING_DOWN);
  }
}

static void a_close_right_after_asking_answers_all(void **state)
{
  (void)state;
  enum { ROUNDS = 30, ASKS = 10 };
  for (int i = 0; i < ROUNDS; i++) {
    struct place place;
    struct answer answers[ASKS] = {0};
    shared_place(&place, "2");
    place_open(&place);
    for (int k = 0; k < ASKS; k++) {
      ask(place.manager, "SELECT 1", NULL, &answers[k]);
    }
    place_close(&place);
    for (int k = 0; k < ASKS; k++) {
      assert_int_equal(answers[k].calls, 1);
      assert_true(answers[k].status == CENOTE_OK || answers[k].status == CENOTE_SHUTTING_DOWN);
    }
  }
}

static void ask_again(struct answer *answer)
{
  struct place *place = answer->context;
  if (atomic_load(&answer->calls) < 5) {
    ask(place->manager, "SELECT 1", NULL, answer);
  }
}

static void a_callback_that_asks_again_while_it_closes_is_answered(void **state)
{
  (void)state;
  for (int i = 0; i < 20; i++) {
    struct place place;
    struct answer answer = {.then = ask_again, .context = &place};
    shared_place(&place, "1");
    place_open(&place);
    ask(place.manager, "SELECT 1", NULL, &answer);
    place_close(&place);
    assert_int_equal(answer.calls, 6);
  }
}

static void on_a_host_loop_everything_happens_inside_dispatch(void **state)
{
  (void)state;
  struct place place;
  struct answer read = {0}, write = {0}, own = {0};
  shared_place(&place, "2");
  place.options.external_loop = true;
  place_open(&place);
  ask(place.manager, "SELECT 4", NULL, &read);
  ask(place.manager, "INSERT INTO t VALUES (1)", NULL, &write);
  ask(place.manager, "who", NULL, &own);
  assert_int_equal(read.calls + write.calls + own.calls, 0);
  drive_until(place.manager, read.calls + write.calls + own.calls == 3);
  has_status(&read, CENOTE_OK);
  has_status(&write, CENOTE_OK);
  has_status(&own, CENOTE_OK);
  assert_true(pthread_equal(read.thread, pthread_self()));
  place_close(&place);
}

/* --------------------------------------------------------------------- both at once */

enum { CROWD = 6, ROUNDS = 120 };

struct member {
  struct place *place;
  int64_t number;
};

static void *work(void *context)
{
  struct member *member = context;
  cenote_query_options pool = CENOTE_QUERY_OPTIONS_INIT;
  pool.hint = CENOTE_HINT_POOL;
  for (int i = 0; i < ROUNDS; i++) {
    const int64_t wanted = member->number * 100000 + i;
    const cenote_value args[] = {cenote_integer(wanted)};
    cenote_error error = CENOTE_ERROR_INIT;
    cenote_result *result = NULL;
    struct answer answer = {0};
    if (i % 7 == 3) {
      must(cenote_query_async(member->place->manager, "SELECT $1", args, 1, NULL, on_answer,
                              &answer, NULL, &error),
           &error);
      wait_for(&answer);
      assert_int_equal(answer.value, wanted);
      continue;
    }
    must(cenote_query(member->place->manager, "SELECT $1", args, 1, i % 5 == 0 ? &pool : NULL,
                      &result, &error),
         &error);
    assert_int_equal(cenote_result_integer(result, 0, 0), wanted);
    cenote_result_free(result);
  }
  return NULL;
}

static void both_paths_take_turns_however_few_connections_there_are(void **state)
{
  (void)state;
  const char *const maximum[] = {"1", "2", "4"};
  for (size_t k = 0; k < sizeof maximum / sizeof *maximum; k++) {
    struct place place;
    struct member members[CROWD];
    pthread_t threads[CROWD];
    shared_place(&place, maximum[k]);
    place_open(&place);
    for (int i = 0; i < CROWD; i++) {
      members[i] = (struct member){&place, i + 1};
      threads[i] = start_thread(work, &members[i]);
    }
    for (int i = 0; i < CROWD; i++) {
      pthread_join(threads[i], NULL);
    }
    assert_int_equal(statistics_of(place.manager).statements, CROWD * ROUNDS);
    assert_true(place.script.open_most <= strtoll(maximum[k], NULL, 10));
    place_close(&place);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      TEST(single_statements_share_and_the_rest_has_its_own),
      TEST(without_shared_connections_all_have_their_own),
      TEST(what_cannot_be_shared_is_tried_once_and_remembered),
      TEST(a_stubborn_statement_opens_no_breaker),
      TEST(a_try_gets_the_connection_that_rests_on_the_simple_path),
      TEST(the_managers_own_leases_are_in_no_figure),
      TEST(a_statement_refused_as_a_read_moves_and_is_remembered),
      TEST(a_write_that_may_have_run_is_never_repeated),
      TEST(a_read_whose_connection_died_runs_again),
      TEST(one_deadline_covers_all_of_it),
      TEST(waiting_for_a_shared_connection_takes_no_longer_than_an_acquire),
      TEST(a_query_on_a_shared_connection_is_cancelled_by_its_ticket),
      TEST(a_shutdown_settles_shared_ones_once),
      TEST(a_close_right_after_asking_answers_all),
      TEST(a_callback_that_asks_again_while_it_closes_is_answered),
      TEST(on_a_host_loop_everything_happens_inside_dispatch),
      TEST(both_paths_take_turns_however_few_connections_there_are),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
