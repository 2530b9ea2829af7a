/* query_async.c - cenote_query_async: its callback comes once, whatever happens on the way. */
#include "query_help.h"

static void a_statement_answers_by_callback(void **state)
{
  (void)state;
  struct place place;
  struct answer read = {0}, write = {0};
  routed_place(&place, "2");
  place_open(&place);
  ask(place.manager, "SELECT 9", NULL, &read);
  ask(place.manager, "INSERT INTO t VALUES (1)", NULL, &write);
  wait_for(&read);
  wait_for(&write);
  has_status(&read, CENOTE_OK);
  has_status(&write, CENOTE_OK);
  assert_int_equal(read.value, 9);
  assert_int_equal(write.affected, 1);
  assert_false(pthread_equal(read.thread, pthread_self()));
  assert_true(read.ticket.number != 0);
  assert_int_equal(cenote_cancel_query(read.ticket), CENOTE_STALE);
  assert_int_equal(cenote_cancel_acquire(read.ticket), CENOTE_STALE);
  assert_int_equal(statistics_of(place.manager).active_leases, 0);
  place_close(&place);
}

static void sql_and_arguments_are_copied(void **state)
{
  (void)state;
  struct place place;
  struct answer answer = {0};
  char sql[] = "SELECT $1";
  char text[] = "31";
  char operation[] = "named";
  cenote_query_options options = CENOTE_QUERY_OPTIONS_INIT;
  options.operation_id = operation;
  routed_place(&place, "1");
  place_set(&place, "log", "debug");
  place_open(&place);
  cenote_value args[] = {cenote_text(text)};
  must(cenote_query_async(place.manager, sql, args, 1, &options, on_answer, &answer, NULL,
                          &place.error),
       &place.error);
  memset(sql, 'x', sizeof sql - 1);
  memset(text, '9', sizeof text - 1);
  memset(operation, 'x', sizeof operation - 1);
  memset(args, 0xff, sizeof args);
  wait_for(&answer);
  has_status(&answer, CENOTE_OK);
  assert_int_equal(answer.value, 31);
  assert_int_equal(noted(&place.notes, "'named': SELECT $1"), 1);
  place_close(&place);
}

static void wrong_arguments_are_refused_at_once(void **state)
{
  (void)state;
  struct place place;
  cenote_ticket ticket = {1, 1, 1};
  routed_place(&place, "1");
  place_open(&place);
  expect(CENOTE_INVALID,
         cenote_query_async(place.manager, NULL, NULL, 0, NULL, on_answer, NULL, &ticket,
                            &place.error),
         &place.error);
  assert_int_equal(ticket.number, 0);
  expect(
      CENOTE_INVALID,
      cenote_query_async(place.manager, "SELECT 1", NULL, 0, NULL, NULL, NULL, NULL, &place.error),
      &place.error);
  expect(CENOTE_INVALID,
         cenote_query_async(NULL, "SELECT 1", NULL, 0, NULL, on_answer, NULL, NULL, &place.error),
         &place.error);
  place_close(&place);
}

/* ------------------------------------------------------------------------ retrying */

static void a_lost_connection_is_tried_again(void **state)
{
  (void)state;
  struct place place;
  struct answer fine = {0}, failed = {0}, unknown = {0};
  routed_place(&place, "1");
  place_open(&place);
  fake_fail(&place.script, CENOTE_REQUEST_EXECUTE, CENOTE_CONNECTION_LOST, 3);
  ask(place.manager, "SELECT 1", NULL, &fine);
  wait_for(&fine);
  has_status(&fine, CENOTE_OK);
  assert_int_equal(started(&place, CENOTE_REQUEST_EXECUTE), 4);
  assert_int_equal(statistics_of(place.manager).retries, 3);
  fake_fail(&place.script, CENOTE_REQUEST_EXECUTE, CENOTE_CONNECTION_LOST, -1);
  ask(place.manager, "SELECT 1", NULL, &failed);
  wait_for(&failed);
  has_status(&failed, CENOTE_CONNECTION_LOST);
  assert_int_equal(started(&place, CENOTE_REQUEST_EXECUTE), 8);
  fake_fail(&place.script, CENOTE_REQUEST_EXECUTE, CENOTE_OUTCOME_UNKNOWN, 1);
  ask(place.manager, "INSERT INTO t VALUES (1)", NULL, &unknown);
  wait_for(&unknown);
  has_status(&unknown, CENOTE_OUTCOME_UNKNOWN);
  assert_int_equal(started(&place, CENOTE_REQUEST_EXECUTE), 9);
  place_close(&place);
}

/* ----------------------------------------------------------------------- deadlines */

static void one_deadline_covers_waiting_and_executing(void **state)
{
  (void)state;
  struct place place;
  struct answer slow = {0}, waiting = {0}, left = {0};
  cenote_query_options options = CENOTE_QUERY_OPTIONS_INIT, remaining = CENOTE_QUERY_OPTIONS_INIT;
  options.timeout_ms = 80;
  remaining.timeout_ms = 600000;
  remaining.remaining_ms = 80;
  routed_place(&place, "1");
  place_open(&place);
  ask_late(&place, "hang", &options, &options.timeout_ms, &slow);
  has_status(&slow, CENOTE_STATEMENT_TIMEOUT);
  ask_late(&place, "hang", &remaining, &remaining.remaining_ms, &left);
  has_status(&left, CENOTE_STATEMENT_TIMEOUT);
  options.timeout_ms = 80;
  cenote_lease lease = must_acquire(place.manager, "holder");
  ask(place.manager, "SELECT 1", &options, &waiting);
  wait_for(&waiting);
  has_status(&waiting, CENOTE_TIMEOUT);
  must_release(lease);
  place_close(&place);
}

/* --------------------------------------------------------------- cancelled at each stage */

static void a_cancel_while_it_waits_for_a_connection(void **state)
{
  (void)state;
  struct place place;
  struct answer answer = {0};
  routed_place(&place, "1");
  place_open(&place);
  cenote_lease lease = must_acquire(place.manager, "holder");
  ask(place.manager, "SELECT 1", NULL, &answer);
  pause_ms(20);
  assert_int_equal(cenote_cancel_acquire(answer.ticket), CENOTE_STALE); /* no acquire's ticket */
  assert_int_equal(cenote_cancel_query(answer.ticket), CENOTE_OK);
  wait_for(&answer);
  has_status(&answer, CENOTE_CANCELLED);
  must_release(lease);
  assert_int_equal(must_query(place.manager, "SELECT 1"), 1);
  place_close(&place);
}

static void a_cancel_while_it_connects(void **state)
{
  (void)state;
  struct place place;
  struct answer answer = {0};
  routed_place(&place, "1");
  place.script.hang[CENOTE_REQUEST_OPEN] = true;
  place_open(&place);
  ask(place.manager, "SELECT 1", NULL, &answer);
  wait_until(started(&place, CENOTE_REQUEST_OPEN) == 1);
  assert_int_equal(cenote_cancel_query(answer.ticket), CENOTE_OK);
  wait_for(&answer);
  has_status(&answer, CENOTE_CANCELLED);
  place_close(&place);
}

static void a_cancel_while_it_runs(void **state)
{
  (void)state;
  struct place place;
  struct answer answer = {0};
  routed_place(&place, "1");
  place_open(&place);
  ask(place.manager, "hang", NULL, &answer);
  wait_until(started(&place, CENOTE_REQUEST_EXECUTE) == 1);
  assert_int_equal(cenote_cancel_query(answer.ticket), CENOTE_OK);
  wait_for(&answer);
  has_status(&answer, CENOTE_CANCELLED);
  assert_int_equal(must_query(place.manager, "who"), 1); /* the session is as good as before */
  place_close(&place);
}

static void a_cancel_while_it_pauses(void **state)
{
  (void)state;
  struct place place;
  struct answer answer = {0};
  cenote_query_options options = CENOTE_QUERY_OPTIONS_INIT;
  options.timeout_ms = 600000;
  routed_place(&place, "1");
  place.settings[0].value = "60000"; /* retry_delay_ms */
  place_open(&place);
  fake_fail(&place.script, CENOTE_REQUEST_EXECUTE, CENOTE_CONNECTION_LOST, -1);
  ask(place.manager, "SELECT 1", &options, &answer);
  wait_until(statistics_of(place.manager).retries == 2);
  pause_ms(10);
  assert_int_equal(cenote_cancel_query(answer.ticket), CENOTE_OK);
  wait_for(&answer);
  has_status(&answer, CENOTE_CANCELLED);
  place_close(&place);
}

static void invented_tickets_cancel_nothing(void **state)
{
  (void)state;
  struct place place;
  struct answer answer = {0};
  routed_place(&place, "1");
  place_open(&place);
  ask(place.manager, "hang", NULL, &answer);
  for (uint64_t number = 0; number < 300; number++) {
    if (number != answer.ticket.number) {
      assert_int_equal(cenote_cancel_query((cenote_ticket){answer.ticket.manager, 0, number}),
                       CENOTE_STALE);
    }
  }
  assert_int_equal(cenote_cancel_query((cenote_ticket){0}), CENOTE_STALE);
  assert_int_equal(answer.calls, 0);
  assert_int_equal(cenote_cancel_query(answer.ticket), CENOTE_OK);
  wait_for(&answer);
  place_close(&place);
}

struct guesser {
  struct place *place;
  _Atomic bool stop;
  _Atomic uint64_t hits;
};

static void *guess(void *context)
{
  struct guesser *guesser = context;
  for (uint64_t number = 1; !atomic_load(&guesser->stop); number = number % 2000 + 1) {
    /* the first place of the table: this program's only manager */
    guesser->hits += cenote_cancel_query((cenote_ticket){1, 0, number}) == CENOTE_OK;
  }
  return NULL;
}

static void guessed_tickets_do_no_harm_to_what_is_just_being_asked(void **state)
{
  (void)state;
  enum { ASKS = 500 };
  struct place place;
  struct guesser guesser = {.place = &place};
  routed_place(&place, "2");
  place_open(&place);
  pthread_t thread = start_thread(guess, &guesser);
  for (int i = 0; i < ASKS; i++) {
    struct answer answer = {0};
    ask(place.manager, "SELECT 1", NULL, &answer);
    wait_for(&answer);
    assert_int_equal(answer.calls, 1);
    assert_true(answer.status == CENOTE_OK || answer.status == CENOTE_CANCELLED);
  }
  atomic_store(&guesser.stop, true);
  pthread_join(thread, NULL);
  place_close(&place);
}

/* ---------------------------------------------------------- a shutdown at each stage */

static void a_shutdown_settles_every_stage_once(void **state)
{
  (void)state;
  enum { STAGES = 4, WAITING = 20 };
  for (int stage = 0; stage < STAGES; stage++) {
    struct place place;
    struct answer answers[WAITING] = {0};
    cenote_lease lease = {0};
    cenote_query_options options = CENOTE_QUERY_OPTIONS_INIT;
    options.timeout_ms = 600000;
    routed_place(&place, "1");
    place.settings[0].value = "60000"; /* retry_delay_ms */
    place.script.hang[CENOTE_REQUEST_OPEN] = stage == 1;
    place_open(&place);
    if (stage == 0) {
      lease = must_acquire(place.manager, "holder");
    } else if (stage == 3) {
      fake_fail(&place.script, CENOTE_REQUEST_EXECUTE, CENOTE_CONNECTION_LOST, -1);
    }
    for (int i = 0; i < WAITING; i++) {
      ask(place.manager, stage == 2 ? "hang" : "SELECT 1", &options, &answers[i]);
    }
    if (stage == 2) {
      wait_until(started(&place, CENOTE_REQUEST_EXECUTE) == 1);
    } else if (stage == 3) {
      wait_until(statistics_of(place.manager).retries >= 2 * WAITING);
    }
    (void)!cenote_shutdown(place.manager, 30, &place.error);
    (void)cenote_release(lease);
    place_close(&place);
    for (int i = 0; i < WAITING; i++) {
      has_status(&answers[i], CENOTE_SHUTTING_DOWN);
    }
  }
}

static void a_query_after_the_shutdown_is_refused_by_its_callback(void **state)
{
  (void)state;
  struct place place;
  struct answer answer = {0};
  routed_place(&place, "1");
  place_open(&place);
  must(cenote_shutdown(place.manager, PATIENCE_MS, &place.error), &place.error);
  ask(place.manager, "SELECT 1", NULL, &answer);
  place_close(&place);
  has_status(&answer, CENOTE_SHUTTING_DOWN);
  has_text(answer.message, "shutting down");
}

static void a_close_right_after_asking_answers_all(void **state)
{
  (void)state;
  enum { ROUNDS = 30, ASKS = 10 };
  for (int i = 0; i < ROUNDS; i++) {
    struct place place;
    struct answer answers[ASKS] = {0};
    routed_place(&place, "2");
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

/* ------------------------------------------------------------------------- callbacks */

static void ask_again(struct answer *answer)
{
  struct place *place = answer->context;
  if (atomic_load(&answer->calls) < 49) {
    ask(place->manager, "SELECT 1", NULL, answer);
  }
}

static void a_callback_may_ask_again(void **state)
{
  (void)state;
  struct place place;
  struct answer answer = {.then = ask_again, .context = &place};
  routed_place(&place, "1");
  place_open(&place);
  ask(place.manager, "SELECT 1", NULL, &answer);
  wait_until(answer.calls == 50);
  place_close(&place);
}

static void many_statements_share_few_connections(void **state)
{
  (void)state;
  enum { ASKS = 800 };
  struct place place;
  static struct answer answers[ASKS];
  memset(answers, 0, sizeof answers);
  routed_place(&place, "3");
  place_open(&place);
  for (int i = 0; i < ASKS; i++) {
    const cenote_value args[] = {cenote_integer(i * 3)};
    must(cenote_query_async(place.manager, "SELECT $1", args, 1, NULL, on_answer, &answers[i],
                            &answers[i].ticket, &place.error),
         &place.error);
  }
  for (int i = 0; i < ASKS; i++) {
    wait_for(&answers[i]);
    has_status(&answers[i], CENOTE_OK);
    assert_int_equal(answers[i].value, i * 3);
  }
  assert_in_range(place.script.open_most, 1, 3);
  place_close(&place);
}

/* ----------------------------------------------------------------------- a host's loop */

static void on_a_host_loop_everything_happens_inside_dispatch(void **state)
{
  (void)state;
  struct place place;
  struct answer fine = {0}, retried = {0}, slow = {0}, cancelled = {0};
  cenote_query_options options = CENOTE_QUERY_OPTIONS_INIT;
  options.timeout_ms = 100;
  routed_place(&place, "1");
  place.options.external_loop = true;
  place_open(&place);
  ask(place.manager, "SELECT 4", NULL, &fine);
  assert_int_equal(fine.calls, 0);
  drive_until(place.manager, fine.calls == 1);
  has_status(&fine, CENOTE_OK);
  assert_true(pthread_equal(fine.thread, pthread_self()));
  fake_fail(&place.script, CENOTE_REQUEST_EXECUTE, CENOTE_CONNECTION_LOST, 2);
  ask(place.manager, "SELECT 4", NULL, &retried);
  drive_until(place.manager, retried.calls == 1);
  has_status(&retried, CENOTE_OK);
  ask(place.manager, "SELECT 1", NULL, &cancelled);
  assert_int_equal(cenote_cancel_query(cancelled.ticket), CENOTE_OK);
  ask_late(&place, "hang", &options, &options.timeout_ms, &slow);
  drive_until(place.manager, cancelled.calls == 1);
  has_status(&slow, CENOTE_STATEMENT_TIMEOUT);
  has_status(&cancelled, CENOTE_CANCELLED);
  place_close(&place);
}

/* ------------------------------------------------------------------------- under load */

enum { CROWD = 4, ROUNDS = 150 };

struct member {
  struct place *place;
  unsigned seed;
};

static void *work(void *context)
{
  struct member *member = context;
  for (int i = 0; i < ROUNDS; i++) {
    struct answer answer = {0};
    const unsigned dice = (member->seed = member->seed * 1103515245u + 12345u) >> 16;
    ask(member->place->manager,
        dice % 5 == 0   ? "lose"
        : dice % 3 == 0 ? "sleep 1"
                        : "SELECT 6",
        NULL, &answer);
    if (dice % 4 == 0) {
      pause_ms(dice % 2);
    }
    if (dice % 2 == 0) {
      (void)cenote_cancel_query(answer.ticket);
    }
    wait_for(&answer);
    assert_int_equal(answer.calls, 1);
  }
  return NULL;
}

static void cancels_race_with_answers_and_each_query_is_told_once(void **state)
{
  (void)state;
  struct place place;
  struct member members[CROWD];
  pthread_t threads[CROWD];
  routed_place(&place, "2");
  place.settings[0].value = "2"; /* retry_delay_ms */
  place_open(&place);
  for (unsigned i = 0; i < CROWD; i++) {
    members[i] = (struct member){&place, i + 1};
    threads[i] = start_thread(work, &members[i]);
  }
  for (int i = 0; i < CROWD; i++) {
    pthread_join(threads[i], NULL);
  }
  place_close(&place);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      TEST(a_statement_answers_by_callback),
      TEST(sql_and_arguments_are_copied),
      TEST(wrong_arguments_are_refused_at_once),
      TEST(a_lost_connection_is_tried_again),
      TEST(one_deadline_covers_waiting_and_executing),
      TEST(a_cancel_while_it_waits_for_a_connection),
      TEST(a_cancel_while_it_connects),
      TEST(a_cancel_while_it_runs),
      TEST(a_cancel_while_it_pauses),
      TEST(invented_tickets_cancel_nothing),
      TEST(guessed_tickets_do_no_harm_to_what_is_just_being_asked),
      TEST(a_shutdown_settles_every_stage_once),
      TEST(a_query_after_the_shutdown_is_refused_by_its_callback),
      TEST(a_close_right_after_asking_answers_all),
      TEST(a_callback_may_ask_again),
      TEST(many_statements_share_few_connections),
      TEST(on_a_host_loop_everything_happens_inside_dispatch),
      TEST(cancels_race_with_answers_and_each_query_is_told_once),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
