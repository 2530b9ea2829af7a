/* transact_faults.c - routed transactions on a database that fails as the test wishes: conflicts,
 * lost connections at each point, time that runs out. */
#include "transact_help.h"

#include "net/clock.h"

static cenote_transact_options repeating(int64_t retries)
{
  cenote_transact_options options = CENOTE_TRANSACT_OPTIONS_INIT;
  options.retries = retries;
  return options;
}

static void place_begin(struct place *place)
{
  place_init(place);
  place_set(place, "retry_delay_ms", "5");
  place_open_with(place, "0", "1");
}

/* ------------------------------------------------------------------------ conflicts */

static void heal(struct body *body, cenote_transaction *transaction, int done)
{
  (void)transaction;
  (void)done;
  body->sql[1] = body->calls >= 3 ? "SELECT 1" : body->sql[1];
}

static void serialization_failures_and_deadlocks_repeat_the_body(void **state)
{
  (void)state;
  static const char *const conflicts[] = {"error 40001", "error 40P01"};
  for (size_t i = 0; i < 2; i++) {
    struct place place;
    place_begin(&place);
    const cenote_transact_options options = repeating(4);
    struct body body = {.sql = {"insert", conflicts[i]}, .between = heal};
    must_transact(place.manager, &options, &body);
    assert_int_equal(body.calls, 3);
    assert_int_equal(statistics_of(place.manager).transaction_retries, 2);
    assert_int_equal(place.script.rollbacks_of_open_transactions, 2);
    assert_int_equal(statistics_of(place.manager).leases_granted, 1); /* one lease for all */
    place_close(&place);
  }
}

static void repetitions_end_with_the_last_allowed_one(void **state)
{
  (void)state;
  struct place place;
  place_begin(&place);
  struct body body = {.sql = {"error 40001"}};
  cenote_transact_options options = repeating(2);
  transact_fails(place.manager, &options, &body, CENOTE_DATABASE, "40001");
  assert_int_equal(body.calls, 3);
  options = repeating(0);
  transact_fails(place.manager, &options, &body, CENOTE_DATABASE, "40001");
  assert_int_equal(body.calls, 1);
  options = repeating(-3);
  transact_fails(place.manager, &options, &body, CENOTE_DATABASE, "40001");
  assert_int_equal(body.calls, 1);
  place_close(&place);
}

static void other_failures_are_not_repeated(void **state)
{
  (void)state;
  struct place place;
  place_begin(&place);
  const cenote_transact_options options = repeating(9);
  struct body body = {.sql = {"error 23505"}};
  transact_fails(place.manager, &options, &body, CENOTE_DATABASE, "23505");
  assert_int_equal(body.calls, 1);
  body = (struct body){.sql = {"insert"}, .answer = CENOTE_DATABASE};
  transact_fails(place.manager, &options, &body, CENOTE_DATABASE, "");
  assert_int_equal(body.calls, 1);
  /* the conflict was the body's answer in other words */
  body = (struct body){.sql = {"error 40001"}, .stubborn = true, .answer = CENOTE_DATABASE};
  transact_fails(place.manager, &options, &body, CENOTE_DATABASE, "");
  assert_int_equal(body.calls, 10);
  /* it was not: the body gave up for a reason of its own */
  body = (struct body){.sql = {"error 40001"}, .stubborn = true, .answer = CENOTE_CANCELLED};
  transact_fails(place.manager, &options, &body, CENOTE_CANCELLED, "");
  assert_int_equal(body.calls, 1);
  place_close(&place);
}

static void a_conflict_that_the_body_overlooked_repeats_it_too(void **state)
{
  (void)state;
  struct place place;
  place_begin(&place);
  const cenote_transact_options options = repeating(1);
  struct body body = {.sql = {"insert", "error 40001"}, .stubborn = true};
  transact_fails(place.manager, &options, &body, CENOTE_DATABASE, "25P02");
  assert_int_equal(body.calls, 2);
  assert_int_equal(started(&place, CENOTE_REQUEST_COMMIT), 0);
  body = (struct body){.sql = {"insert", "error 23505"}, .stubborn = true};
  transact_fails(place.manager, &options, &body, CENOTE_DATABASE, "25P02");
  assert_int_equal(body.calls, 1);
  place_close(&place);
}

static void a_conflict_at_commit_repeats_the_body(void **state)
{
  (void)state;
  struct place place;
  place_begin(&place);
  const cenote_transact_options options = repeating(3);
  struct body body = {.sql = {"insert"}};
  place.script.fail_sqlstate[CENOTE_REQUEST_COMMIT] = "40001";
  fake_fail(&place.script, CENOTE_REQUEST_COMMIT, CENOTE_DATABASE, 2);
  must_transact(place.manager, &options, &body);
  assert_int_equal(body.calls, 3);
  assert_int_equal(place.script.rollbacks_of_open_transactions, 2);
  place.script.fail_sqlstate[CENOTE_REQUEST_COMMIT] = "23503"; /* a deferred constraint */
  fake_fail(&place.script, CENOTE_REQUEST_COMMIT, CENOTE_DATABASE, 1);
  transact_fails(place.manager, &options, &body, CENOTE_DATABASE, "23503");
  assert_int_equal(body.calls, 1);
  place_close(&place);
}

static void nothing_is_repeated_after_an_end_of_the_bodys_own(void **state)
{
  (void)state;
  struct place place;
  place_begin(&place);
  const cenote_transact_options options = repeating(3);
  struct body body = {
      .sql = {"insert", "error 40001", "ROLLBACK"}, .stubborn = true, .answer = CENOTE_DATABASE};
  transact_fails(place.manager, &options, &body, CENOTE_DATABASE, "");
  assert_int_equal(body.calls, 1);
  place.script.fail_sqlstate[CENOTE_REQUEST_COMMIT] = "40001";
  fake_fail(&place.script, CENOTE_REQUEST_COMMIT, CENOTE_DATABASE, 1);
  body = (struct body){.sql = {"insert", "COMMIT"}};
  transact_fails(place.manager, &options, &body, CENOTE_DATABASE, "40001");
  assert_int_equal(body.calls, 1);
  fake_fail(&place.script, CENOTE_REQUEST_COMMIT, CENOTE_DATABASE, 1);
  body = (struct body){.sql = {"insert", "COMMIT", "ROLLBACK"}, .stubborn = true};
  transact_fails(place.manager, &options, &body, CENOTE_DATABASE, "40001"); /* it did not work */
  assert_int_equal(body.calls, 1);
  assert_int_equal(body.status[2], CENOTE_OK);
  body = (struct body){.sql = {"insert", "error 23505", "COMMIT"}, .stubborn = true};
  transact_fails(place.manager, &options, &body, CENOTE_DATABASE, "25P02");
  assert_string_equal(body.error[2].sqlstate, "25P02");
  assert_int_equal(place.script.rollbacks_of_open_transactions, 4);
  place_close(&place);
}

/* ------------------------------------------------------------------------------- terms */

static void options_reach_the_database_and_so_does_a_begin_inside(void **state)
{
  (void)state;
  struct place place;
  place_begin(&place);
  cenote_transact_options options = CENOTE_TRANSACT_OPTIONS_INIT;
  struct body body = {.sql = {"SELECT 1"}};
  options.isolation = CENOTE_SERIALIZABLE;
  options.mode = CENOTE_BATCH_READ;
  options.deferrable = true;
  must_transact(place.manager, &options, &body);
  assert_int_equal(place.script.begun_mode, CENOTE_BATCH_READ);
  assert_int_equal(place.script.begun_isolation, CENOTE_SERIALIZABLE);
  assert_true(place.script.begun_deferrable);
  assert_int_equal(started(&place, CENOTE_REQUEST_BEGIN), 1);
  must_transact(place.manager, NULL, &body);
  assert_int_equal(place.script.begun_mode, CENOTE_BATCH_WRITE);
  assert_int_equal(place.script.begun_isolation, CENOTE_ISOLATION_DEFAULT);
  body.sql[0] = "START TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY NOT DEFERRABLE";
  body.sql[1] = "begin work isolation level repeatable read"; /* as it is already */
  body.sql[2] = "SELECT 1";
  body.sql[3] = "BEGIN READ ONLY";
  must_transact(place.manager, NULL, &body);
  assert_int_equal(place.script.begun_mode, CENOTE_BATCH_READ);
  assert_int_equal(place.script.begun_isolation, CENOTE_REPEATABLE_READ);
  assert_int_equal(started(&place, CENOTE_REQUEST_BEGIN), 4); /* once anew */
  body.sql[4] = "BEGIN ISOLATION LEVEL SERIALIZABLE";
  transact_fails(place.manager, NULL, &body, CENOTE_DATABASE, "25001");
  place_close(&place);
}

static void a_begin_that_cannot_begin_anew_ends_the_transaction(void **state)
{
  (void)state;
  struct place place;
  place_begin(&place);
  fake_fail(&place.script, CENOTE_REQUEST_ROLLBACK, CENOTE_DATABASE, 1);
  place.script.fail_sqlstate[CENOTE_REQUEST_ROLLBACK] = "XX001";
  struct body body = {.stubborn = true,
                      .sql = {"BEGIN ISOLATION LEVEL SERIALIZABLE", "insert", "ROLLBACK"}};
  transact_fails(place.manager, NULL, &body, CENOTE_DATABASE, "XX001");
  assert_string_equal(body.error[1].sqlstate, "25P01");
  has_text(body.error[1].message, "BEGIN");
  assert_int_equal(body.status[2], CENOTE_OK);
  assert_int_equal(started(&place, CENOTE_REQUEST_EXECUTE), 0);
  place_close(&place);
}

static void the_terms_of_a_begin_inside_are_forgotten_by_a_repetition(void **state)
{
  (void)state;
  struct place place;
  place_begin(&place);
  const cenote_transact_options options = repeating(1);
  struct body body = {.sql = {"BEGIN ISOLATION LEVEL SERIALIZABLE", "error 40001"}};
  transact_fails(place.manager, &options, &body, CENOTE_DATABASE, "40001");
  assert_int_equal(body.calls, 2);
  assert_string_equal(body.command[0], "BEGIN"); /* it came first again: nothing had run yet */
  assert_int_equal(started(&place, CENOTE_REQUEST_BEGIN), 4);
  place_close(&place);
}

/* ------------------------------------------------------------------- lost connections */

static void a_connection_lost_before_the_body_is_replaced(void **state)
{
  (void)state;
  struct place place;
  place_begin(&place);
  fake_fail(&place.script, CENOTE_REQUEST_BEGIN, CENOTE_CONNECTION_LOST, 2);
  atomic_store(&place.script.break_on_failure, true);
  struct body body = {.sql = {"insert"}};
  must_transact(place.manager, NULL, &body);
  assert_int_equal(body.calls, 1);
  const cenote_statistics now = statistics_of(place.manager);
  assert_int_equal(now.retries, 2);
  assert_int_equal(now.transaction_retries, 0);
  place_close(&place);
}

static void the_setting_bounds_those_retries(void **state)
{
  (void)state;
  struct place place;
  place_init(&place);
  place_set(&place, "retries", "1");
  place_set(&place, "retry_delay_ms", "5");
  place_open_with(&place, "0", "1");
  fake_fail(&place.script, CENOTE_REQUEST_BEGIN, CENOTE_CONNECTION_LOST, 2);
  atomic_store(&place.script.break_on_failure, true);
  struct body body = {.sql = {"insert"}};
  transact_fails(place.manager, NULL, &body, CENOTE_CONNECTION_LOST, "");
  assert_int_equal(body.calls, 0);
  place_close(&place);
}

static void a_connection_lost_in_the_body_is_its_error_and_not_repeated(void **state)
{
  (void)state;
  struct place place;
  place_begin(&place);
  const cenote_transact_options options = repeating(5);
  struct body body = {.sql = {"insert", "lose"}};
  transact_fails(place.manager, &options, &body, CENOTE_CONNECTION_LOST, "");
  assert_int_equal(body.calls, 1);
  body = (struct body){.sql = {"insert", "lose", "insert"}, .stubborn = true};
  transact_fails(place.manager, &options, &body, CENOTE_CONNECTION_LOST, ""); /* at the commit */
  assert_int_equal(body.calls, 1);
  body = (struct body){.sql = {"insert", "lose", "ROLLBACK"}, .stubborn = true};
  must_transact(place.manager, &options, &body); /* nothing remains, as it wished */
  place_close(&place);
}

static void a_commit_whose_connection_died_has_an_unknown_outcome_and_is_never_repeated(
    void **state)
{
  (void)state;
  struct place place;
  place_begin(&place);
  const cenote_transact_options options = repeating(5);
  fake_fail(&place.script, CENOTE_REQUEST_COMMIT, CENOTE_OUTCOME_UNKNOWN, 1);
  struct body body = {.sql = {"insert"}};
  transact_fails(place.manager, &options, &body, CENOTE_OUTCOME_UNKNOWN, "");
  assert_int_equal(body.calls, 1);
  fake_fail(&place.script, CENOTE_REQUEST_COMMIT, CENOTE_OUTCOME_UNKNOWN, 1);
  body = (struct body){.sql = {"insert", "COMMIT", "ROLLBACK"}, .stubborn = true};
  transact_fails(place.manager, &options, &body, CENOTE_OUTCOME_UNKNOWN, "");
  assert_int_equal(body.calls, 1);
  assert_int_equal(body.status[1], CENOTE_OUTCOME_UNKNOWN);
  assert_string_equal(body.error[2].sqlstate, "25P01"); /* nobody knows that nothing remains */
  place_close(&place);
}

static void a_rollback_that_fails_costs_the_connection_and_the_bodys_error_stays(void **state)
{
  (void)state;
  struct place place;
  place_begin(&place);
  atomic_store(&place.script.break_on_failure, true);
  fake_fail(&place.script, CENOTE_REQUEST_ROLLBACK, CENOTE_CONNECTION_LOST, 1);
  const cenote_transact_options options = repeating(5);
  struct body body = {.sql = {"insert", "error 40001"}};
  transact_fails(place.manager, &options, &body, CENOTE_DATABASE, "40001");
  assert_int_equal(body.calls, 1);
  struct body next = {.sql = {"who"}};
  must_transact(place.manager, NULL, &next);
  assert_int_equal(next.value[0], 2);
  place_close(&place);
}

/* ------------------------------------------------------------------------------- time */

static void one_deadline_covers_statements_and_commit(void **state)
{
  (void)state;
  struct place place;
  place_begin(&place);
  cenote_transact_options options = repeating(1000000);
  must_transact(place.manager, NULL, &(struct body){.sql = {"SELECT 1"}}); /* connects */
  options.timeout_ms = 100;
  struct body body = {.sql = {"insert", "hang", "insert", "SELECT 1"}, .stubborn = true};
  transact_fails(place.manager, &options, &body, CENOTE_STATEMENT_TIMEOUT, "");
  assert_int_equal(body.calls, 1);
  expect(CENOTE_STATEMENT_TIMEOUT, body.status[1], &body.error[1]);
  has_text(body.error[2].message, "transaction timeout");
  assert_int_equal(place.script.rollbacks_of_open_transactions, 1);
  body = (struct body){.sql = {"insert"}};
  options.timeout_ms = 0;
  options.remaining_ms = 80;
  place.script.hang[CENOTE_REQUEST_COMMIT] = true;
  transact_fails(place.manager, &options, &body, CENOTE_STATEMENT_TIMEOUT, "");
  place.script.hang[CENOTE_REQUEST_COMMIT] = false;
  assert_int_equal(place.script.rollbacks_of_open_transactions, 2);
  must_transact(place.manager, NULL, &body);
  place_close(&place);
}

static void the_deadline_ends_the_repetitions_and_the_waiting_for_a_connection(void **state)
{
  (void)state;
  struct place place;
  place_begin(&place);
  cenote_transact_options options = repeating(1000000);
  struct body body = {.sql = {"error 40001"}};
  cenote_error error;
  cenote_status status;
  options.timeout_ms = 30;
  do { /* a machine that stands still may let it pass before the second, or inside a statement */
    options.timeout_ms *= 2;
    status = transact(place.manager, &options, &body, &error);
  } while ((status != CENOTE_DATABASE || body.calls < 2) && options.timeout_ms < PATIENCE_MS);
  expect(CENOTE_DATABASE, status, &error);
  assert_string_equal(error.sqlstate, "40001");
  assert_in_range(body.calls, 2, 60); /* the pauses grow */
  options.timeout_ms = 60;
  cenote_lease lease = must_acquire(place.manager, "the only one");
  expect(CENOTE_TIMEOUT, transact(place.manager, &options, &body, &error), &error);
  assert_int_equal(body.calls, 0);
  must_release(lease);
  place_close(&place);
}

static void think(struct body *body, cenote_transaction *transaction, int done)
{
  struct place *place = body->context;
  (void)transaction;
  if (done == 1) {
    wait_until(statistics_of(place->manager).lease_timeouts == 1);
  }
}

static void a_body_that_thinks_too_long_loses_its_lease(void **state)
{
  (void)state;
  struct place place;
  place_init(&place);
  place_set(&place, "cancel_timeout_ms", "40");
  place_open_with(&place, "0", "1");
  cenote_transact_options options = repeating(3);
  must_transact(place.manager, NULL, &(struct body){.sql = {"SELECT 1"}}); /* connects */
  options.timeout_ms = 200;
  options.operation_id = "thinker";
  struct body body = {.sql = {"insert"}, .between = think, .context = &place};
  transact_fails(place.manager, &options, &body, CENOTE_STATEMENT_TIMEOUT, "");
  assert_int_equal(body.calls, 1);
  wait_until(place.script.rollbacks_of_open_transactions == 1); /* by the housekeeper */
  wait_until(noted(&place.notes, "'thinker'") >= 1);
  place_close(&place);
}

static void shut_down(struct body *body, cenote_transaction *transaction, int done)
{
  struct place *place = body->context;
  (void)transaction;
  if (done == 1) {
    expect(CENOTE_TIMEOUT, cenote_shutdown(place->manager, 20, &place->error), &place->error);
  }
}

static void a_shutdown_takes_back_what_does_not_end(void **state)
{
  (void)state;
  struct place place;
  place_begin(&place);
  const cenote_transact_options options = repeating(3);
  struct body body = {.sql = {"insert", "insert"}, .between = shut_down, .context = &place};
  transact_fails(place.manager, &options, &body, CENOTE_SHUTTING_DOWN, "");
  transact_fails(place.manager, &options, &body, CENOTE_SHUTTING_DOWN, "");
  assert_int_equal(body.calls, 0);
  place_close(&place);
}

/* --------------------------------------------------------------------------- misuse */

struct second {
  cenote_transaction *transaction;
  cenote_status status;
};

static void *second_thread(void *context)
{
  struct second *second = context;
  second->status = cenote_tx_execute(second->transaction, "wait 1", NULL, 0, NULL, NULL);
  return NULL;
}

static cenote_status two_threads(void *context, cenote_transaction *transaction,
                                 cenote_error *error)
{
  struct place *place = context;
  struct second second = {.transaction = transaction};
  pthread_t thread = start_thread(second_thread, &second);
  wait_until(started(place, CENOTE_REQUEST_EXECUTE) == 1);
  const cenote_status status = cenote_tx_execute(transaction, "insert", NULL, 0, NULL, error);
  fake_let_go(&place->script, 1);
  pthread_join(thread, NULL);
  assert_int_equal(second.status, CENOTE_OK);
  return status;
}

static void a_second_thread_inside_is_refused(void **state)
{
  (void)state;
  struct place place;
  place_begin(&place);
  expect(CENOTE_BUSY, cenote_transact(place.manager, two_threads, &place, &place.error), NULL);
  assert_int_equal(place.script.rollbacks_of_open_transactions, 1);
  place_close(&place);
}

static void a_loop_must_not_be_blocked(void **state)
{
  (void)state;
  struct place place;
  place_init(&place);
  place.options.external_loop = true;
  place_open_with(&place, "0", "1");
  struct body body = {.sql = {"insert"}};
  expect(CENOTE_INVALID, transact(place.manager, NULL, &body, &place.error), &place.error);
  has_text(place.error.message, "cenote_transact_async");
  place_close(&place);
}

static cenote_status inner_transact(void *context, cenote_transaction *transaction,
                                    cenote_error *error)
{
  struct body body = {.sql = {"who"}};
  (void)transaction;
  const cenote_status status = cenote_transact(context, body_run, &body, error);
  assert_int_equal(body.value[0], 2);
  return status;
}

static void a_transaction_inside_a_body_is_one_of_its_own(void **state)
{
  (void)state;
  struct place place;
  place_init(&place);
  place_open_with(&place, "0", "2");
  must(cenote_transact(place.manager, inner_transact, place.manager, &place.error), &place.error);
  assert_int_equal(started(&place, CENOTE_REQUEST_COMMIT), 2);
  place_close(&place);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      TEST(serialization_failures_and_deadlocks_repeat_the_body),
      TEST(repetitions_end_with_the_last_allowed_one),
      TEST(other_failures_are_not_repeated),
      TEST(a_conflict_that_the_body_overlooked_repeats_it_too),
      TEST(a_conflict_at_commit_repeats_the_body),
      TEST(nothing_is_repeated_after_an_end_of_the_bodys_own),
      TEST(options_reach_the_database_and_so_does_a_begin_inside),
      TEST(a_begin_that_cannot_begin_anew_ends_the_transaction),
      TEST(the_terms_of_a_begin_inside_are_forgotten_by_a_repetition),
      TEST(a_connection_lost_before_the_body_is_replaced),
      TEST(the_setting_bounds_those_retries),
      TEST(a_connection_lost_in_the_body_is_its_error_and_not_repeated),
      TEST(a_commit_whose_connection_died_has_an_unknown_outcome_and_is_never_repeated),
      TEST(a_rollback_that_fails_costs_the_connection_and_the_bodys_error_stays),
      TEST(one_deadline_covers_statements_and_commit),
      TEST(the_deadline_ends_the_repetitions_and_the_waiting_for_a_connection),
      TEST(a_body_that_thinks_too_long_loses_its_lease),
      TEST(a_shutdown_takes_back_what_does_not_end),
      TEST(a_second_thread_inside_is_refused),
      TEST(a_loop_must_not_be_blocked),
      TEST(a_transaction_inside_a_body_is_one_of_its_own),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
