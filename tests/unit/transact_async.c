/* transact_async.c - routed transactions that nobody waits for, on the fake database: bodies as
 * lists of statements that go on from callback to callback. */
#include "transact_flow.h"

/* Each test runs on three kinds of managers. */
enum kind { OWN_THREAD, HOSTS_LOOP, BLOCKING, KINDS };

static void place_begin(struct place *place, enum kind kind)
{
  place_init(place);
  place_set(place, "retry_delay_ms", "5");
  place->options.external_loop = kind == HOSTS_LOOP;
  place->options.driver = kind == BLOCKING ? &fake_driver_blocking : &fake_driver;
  place_open_with(place, "0", "1");
}

#define ON_EACH(place)                                          \
  for (int kind = 0; kind < KINDS; place_close(&place), kind++) \
    if (place_begin(&place, (enum kind)kind), true)

static void a_body_goes_on_from_callback_to_callback(void **state)
{
  (void)state;
  struct place place;
  ON_EACH(place)
  {
    struct flow flow = {.manager = place.manager, .sql = {"insert", "SELECT 7", "insert"}};
    flow_must(&flow, NULL);
    assert_int_equal(flow.told, 3);
    assert_int_equal(started(&place, CENOTE_REQUEST_COMMIT), 1);
    assert_int_equal(place.script.begun_mode, CENOTE_BATCH_WRITE);
    struct flow nothing = {.manager = place.manager};
    flow_must(&nothing, NULL);
    struct flow refused = {.manager = place.manager, .sql = {"insert", "error 23505", "insert"}};
    flow_fails(&refused, NULL, CENOTE_DATABASE, "23505");
    assert_int_equal(refused.told, 2);
    struct flow unhappy = {.manager = place.manager, .sql = {"insert"}, .answer = CENOTE_TOO_LARGE};
    flow_fails(&unhappy, NULL, CENOTE_TOO_LARGE, "");
    assert_string_equal(unhappy.error.message, cenote_status_text(CENOTE_TOO_LARGE));
    assert_int_equal(place.script.rollbacks_of_open_transactions, 2);
    assert_int_equal(statistics_of(place.manager).active_leases, 0);
  }
}

static void conflicts_repeat_it_as_often_as_allowed(void **state)
{
  (void)state;
  struct place place;
  ON_EACH(place)
  {
    const cenote_transact_options options = repeating(2);
    struct flow flow = {.manager = place.manager, .sql = {"insert", "error 40P01"}};
    flow_fails(&flow, &options, CENOTE_DATABASE, "40P01");
    assert_int_equal(flow.begun, 3);
    place.script.fail_sqlstate[CENOTE_REQUEST_COMMIT] = "40001";
    fake_fail(&place.script, CENOTE_REQUEST_COMMIT, CENOTE_DATABASE, 1);
    struct flow late = {.manager = place.manager, .sql = {"insert"}};
    flow_must(&late, &options);
    assert_int_equal(late.begun, 2);
    assert_int_equal(statistics_of(place.manager).transaction_retries, 3);
  }
}

static void a_statement_has_options_of_its_own(void **state)
{
  (void)state;
  struct place place;
  ON_EACH(place)
  {
    cenote_execute_options options = CENOTE_EXECUTE_OPTIONS_INIT;
    options.flags = CENOTE_QUERY_RAW_TEXT | CENOTE_QUERY_NATIVE;
    struct flow flow = {.manager = place.manager, .options = &options, .sql = {"SELECT 7"}};
    atomic_store(&place.script.flags, 0xffff);
    flow_must(&flow, NULL);
    assert_int_equal(atomic_load(&place.script.flags),
                     CENOTE_REQUEST_RAW_TEXT | CENOTE_REQUEST_NATIVE);
    options.flags = 0;
    options.timeout_ms = 20;
    struct flow late = {.manager = place.manager, .options = &options, .sql = {"hang"}};
    flow_run(&late, NULL);
    expect(CENOTE_STATEMENT_TIMEOUT, late.outcome, &late.error);
    options.flags = 1u << 20;
    cenote_error error = CENOTE_ERROR_INIT;
    struct flow wrong = {.manager = place.manager, .lazy = true};
    flow_start(&wrong, NULL);
    drive_until(wrong.manager, wrong.begun > 0);
    expect(CENOTE_INVALID,
           cenote_tx_execute_async_with(wrong.transaction, "SELECT 1", NULL, 0, &options,
                                        on_statement, &wrong, NULL, &error),
           &error);
    must(cenote_tx_finish(wrong.transaction, CENOTE_OK, NULL), NULL);
    drive_until(wrong.manager, wrong.done > 0);
  }
}

static void begins_and_ends_of_the_body_mean_the_same_here(void **state)
{
  (void)state;
  struct place place;
  ON_EACH(place)
  {
    struct flow flow = {.manager = place.manager,
                        .stubborn = true,
                        .sql = {"BEGIN ISOLATION LEVEL SERIALIZABLE", "insert", "BEGIN READ ONLY",
                                "COMMIT", "insert"}};
    flow_must(&flow, NULL);
    assert_string_equal(flow.command[0], "BEGIN");
    assert_int_equal(place.script.begun_isolation, CENOTE_SERIALIZABLE);
    assert_string_equal(flow.sqlstate[2], "25001");
    assert_string_equal(flow.command[3], "COMMIT");
    assert_string_equal(flow.sqlstate[4], "25P01");
    struct flow back = {
        .manager = place.manager, .stubborn = true, .sql = {"insert", "ROLLBACK", "insert"}};
    flow_must(&back, NULL);
    assert_string_equal(back.sqlstate[2], "25P01");
    assert_int_equal(started(&place, CENOTE_REQUEST_EXECUTE), 2);
    assert_int_equal(noted(&place.notes, "a BEGIN was sent"), 1);
  }
}

static void lost_connections_are_told_as_in_the_blocking_form(void **state)
{
  (void)state;
  struct place place;
  ON_EACH(place)
  {
    const cenote_transact_options options = repeating(5);
    struct flow flow = {.manager = place.manager, .sql = {"insert", "lose"}};
    flow_fails(&flow, &options, CENOTE_CONNECTION_LOST, "");
    assert_int_equal(flow.begun, 1);
    fake_fail(&place.script, CENOTE_REQUEST_COMMIT, CENOTE_OUTCOME_UNKNOWN, 1);
    struct flow unknown = {.manager = place.manager, .sql = {"insert"}};
    flow_fails(&unknown, &options, CENOTE_OUTCOME_UNKNOWN, "");
    assert_int_equal(unknown.begun, 1);
    atomic_store(&place.script.break_on_failure, true);
    fake_fail(&place.script, CENOTE_REQUEST_BEGIN, CENOTE_CONNECTION_LOST, 2);
    struct flow lucky = {.manager = place.manager, .sql = {"insert"}};
    flow_must(&lucky, &options);
    assert_int_equal(statistics_of(place.manager).retries, 2);
  }
}

static void one_deadline_covers_it(void **state)
{
  (void)state;
  struct place place;
  ON_EACH(place)
  {
    cenote_transact_options options = repeating(5);
    options.timeout_ms = 80;
    struct flow flow;
    do { /* until it began in time: a machine that stands still may let it pass */
      flow = (struct flow){.manager = place.manager, .sql = {"insert", "hang"}};
      flow_run(&flow, &options);
      options.timeout_ms *= 2;
    } while (flow.begun == 0 && options.timeout_ms < PATIENCE_MS);
    expect(CENOTE_STATEMENT_TIMEOUT, flow.outcome, &flow.error);
    assert_int_equal(flow.begun, 1);
    options.timeout_ms = 80;
    cenote_lease lease;
    drive_until(place.manager,
                cenote_acquire(place.manager, "only one", 0, &lease, NULL) == CENOTE_OK);
    struct flow waiting = {.manager = place.manager, .sql = {"insert"}};
    flow_fails(&waiting, &options, CENOTE_TIMEOUT, "");
    assert_int_equal(waiting.begun, 0);
    must_release(lease);
  }
}

/* ------------------------------------------------------------------------------ cancels */

static void cancel_it(struct flow *flow)
{
  assert_int_equal(cenote_cancel_query(flow->ticket), CENOTE_OK);
}

static void a_cancel_reaches_it_wherever_it_is(void **state)
{
  (void)state;
  struct place place;
  ON_EACH(place)
  {
    struct flow flow = {.manager = place.manager, .sql = {"insert", "hang", "insert"}};
    flow_start(&flow, NULL); /* before it began */
    cancel_it(&flow);
    drive_until(place.manager, flow.done > 0);
    expect(CENOTE_CANCELLED, flow.outcome, &flow.error);
    assert_int_equal(cenote_cancel_query(flow.ticket), CENOTE_STALE);

    flow = (struct flow){.manager = place.manager, .sql = {"insert", "hang", "insert"}};
    flow_start(&flow, NULL); /* in a statement */
    drive_until(place.manager, flow.told == 1 && started(&place, CENOTE_REQUEST_EXECUTE) >= 2);
    cancel_it(&flow);
    drive_until(place.manager, flow.done > 0);
    expect(CENOTE_CANCELLED, flow.outcome, &flow.error);
    expect(CENOTE_CANCELLED, flow.status[1], NULL);

    place.script.hang[CENOTE_REQUEST_COMMIT] = true;
    flow = (struct flow){.manager = place.manager, .sql = {"insert"}};
    flow_start(&flow, NULL); /* in the commit */
    drive_until(place.manager, started(&place, CENOTE_REQUEST_COMMIT) == 1);
    cancel_it(&flow);
    drive_until(place.manager, flow.done > 0);
    expect(CENOTE_CANCELLED, flow.outcome, &flow.error);
    place.script.hang[CENOTE_REQUEST_COMMIT] = false;

    place.script.hang[CENOTE_REQUEST_BEGIN] = true;
    flow = (struct flow){.manager = place.manager, .sql = {"insert"}};
    const uint64_t begins = started(&place, CENOTE_REQUEST_BEGIN);
    flow_start(&flow, NULL); /* in the BEGIN */
    drive_until(place.manager, started(&place, CENOTE_REQUEST_BEGIN) == begins + 1);
    cancel_it(&flow);
    drive_until(place.manager, flow.done > 0);
    expect(CENOTE_CANCELLED, flow.outcome, &flow.error);
    assert_int_equal(flow.begun, 0);
    place.script.hang[CENOTE_REQUEST_BEGIN] = false;
  }
}

static void a_cancel_while_it_waits_for_a_connection_or_for_its_next_try(void **state)
{
  (void)state;
  struct place place;
  ON_EACH(place)
  {
    cenote_lease lease;
    drive_until(place.manager,
                cenote_acquire(place.manager, "only one", 0, &lease, NULL) == CENOTE_OK);
    struct flow flow = {.manager = place.manager, .sql = {"insert"}};
    flow_start(&flow, NULL);
    for (int i = 0; i < 20; i++) {
      turn(place.manager);
    }
    assert_int_equal(flow.done, 0);
    cancel_it(&flow);
    drive_until(place.manager, flow.done > 0);
    expect(CENOTE_CANCELLED, flow.outcome, &flow.error);
    must_release(lease);

    const cenote_transact_options options = repeating(1000000);
    flow = (struct flow){.manager = place.manager, .sql = {"error 40001"}};
    flow_start(&flow, &options);
    drive_until(place.manager, flow.begun >= 5); /* by now it pauses mostly */
    cancel_it(&flow);
    drive_until(place.manager, flow.done > 0);
    expect(CENOTE_CANCELLED, flow.outcome, &flow.error);
  }
}

static void a_cancel_during_the_bodys_turn_rolls_back_at_once_and_waits_for_its_end(void **state)
{
  (void)state;
  struct place place;
  ON_EACH(place)
  {
    struct flow flow = {.manager = place.manager, .lazy = true, .sql = {"insert"}};
    flow_start(&flow, NULL);
    drive_until(place.manager, flow.begun == 1);
    cancel_it(&flow);
    drive_until(place.manager, place.script.rollbacks_of_open_transactions == 1);
    for (int i = 0; i < 5; i++) {
      turn(place.manager);
    }
    assert_int_equal(flow.done, 0); /* the body still has the handle */
    cenote_error error = CENOTE_ERROR_INIT;
    flow.sql[1] = NULL;
    must(cenote_tx_execute_async(flow.transaction, "insert", NULL, 0, on_statement, &flow, NULL,
                                 &error),
         &error);
    drive_until(place.manager, flow.done > 0);
    expect(CENOTE_CANCELLED, flow.status[0], NULL);
    expect(CENOTE_CANCELLED, flow.outcome, &flow.error);
    assert_int_equal(started(&place, CENOTE_REQUEST_EXECUTE), 0);
  }
}

static void a_body_that_ends_while_its_cancel_rolls_back_is_told(void **state)
{
  (void)state;
  struct place place;
  ON_EACH(place)
  {
    place.script.delay_ns[CENOTE_REQUEST_ROLLBACK] = 60 * 1000000;
    for (int statement = 0; statement < 2; statement++) {
      struct flow flow = {.manager = place.manager, .lazy = true};
      flow_start(&flow, NULL);
      drive_until(place.manager, flow.begun == 1);
      const uint64_t before = started(&place, CENOTE_REQUEST_ROLLBACK);
      cancel_it(&flow);
      drive_until(place.manager, started(&place, CENOTE_REQUEST_ROLLBACK) > before);
      if (statement != 0) {
        cenote_error error = CENOTE_ERROR_INIT;
        must(cenote_tx_execute_async(flow.transaction, "insert", NULL, 0, on_statement, &flow, NULL,
                                     &error),
             &error);
      } else {
        must(cenote_tx_finish(flow.transaction, CENOTE_OK, NULL), NULL);
      }
      drive_until(place.manager, flow.done > 0);
      expect(CENOTE_CANCELLED, flow.outcome, &flow.error);
      assert_int_equal(flow.told, statement);
    }
  }
}

static void a_statement_can_be_cancelled_alone(void **state)
{
  (void)state;
  struct place place;
  ON_EACH(place)
  {
    struct flow flow = {
        .manager = place.manager, .stubborn = true, .sql = {"insert", "hang", "ROLLBACK"}};
    flow_start(&flow, NULL);
    drive_until(place.manager, started(&place, CENOTE_REQUEST_EXECUTE) >= 2);
    assert_int_equal(cenote_cancel_query(flow.statement), CENOTE_OK);
    drive_until(place.manager, flow.done > 0);
    expect(CENOTE_CANCELLED, flow.status[1], NULL);
    assert_string_equal(flow.command[2], "ROLLBACK");
    must(flow.outcome, &flow.error);
    assert_int_equal(cenote_cancel_query(flow.statement), CENOTE_STALE);
  }
}

/* --------------------------------------------------------------------- how it may end */

static void only_lease_expires(cenote_manager *manager)
{
  cenote_lease_info info = CENOTE_LEASE_INFO_INIT;
  size_t count;
  assert_int_equal(cenote_pool_leases(manager, &info, 1, &count), CENOTE_OK);
  assert_int_equal(count, 1);
  let_expire(info.lease);
}

static void an_expired_lease_is_told_at_the_next_call(void **state)
{
  (void)state;
  struct place place;
  place_init(&place);
  place_open_with(&place, "0", "1");
  struct flow flow = {.manager = place.manager, .lazy = true};
  flow_start(&flow, NULL);
  wait_until(flow.begun == 1);
  only_lease_expires(place.manager);
  wait_until(statistics_of(place.manager).lease_timeouts == 1);
  assert_int_equal(flow.done, 0);
  must(cenote_tx_finish(flow.transaction, CENOTE_OK, NULL), NULL);
  wait_until(flow.done > 0);
  expect(CENOTE_LEASE_EXPIRED, flow.outcome, &flow.error);
  flow = (struct flow){.manager = place.manager, .sql = {"hang"}};
  flow_start(&flow, NULL);
  wait_until(started(&place, CENOTE_REQUEST_EXECUTE) == 1);
  only_lease_expires(place.manager);
  wait_until(flow.done > 0);
  expect(CENOTE_LEASE_EXPIRED, flow.status[0], NULL);
  expect(CENOTE_LEASE_EXPIRED, flow.outcome, &flow.error);
  place_close(&place);
}

static void a_body_that_never_ends_is_told_by_the_close(void **state)
{
  (void)state;
  enum { FLOWS = 4 };
  struct place place;
  ON_EACH(place)
  {
    struct flow flows[FLOWS] = {{0}};
    place.error = (cenote_error)CENOTE_ERROR_INIT;
    for (int i = 0; i < FLOWS; i++) { /* one has the connection, the others wait for it */
      flows[i] = (struct flow){.manager = place.manager, .lazy = true};
      flow_start(&flows[i], NULL);
    }
    drive_until(place.manager, flows[0].begun == 1);
    const cenote_status status = cenote_shutdown(place.manager, 50, &place.error);
    expect(CENOTE_TIMEOUT, status, &place.error);
    cenote_close(place.manager);
    place.manager = NULL;
    for (int i = 0; i < FLOWS; i++) {
      assert_int_equal(flows[i].done, 1);
      expect(CENOTE_SHUTTING_DOWN, flows[i].outcome, &flows[i].error);
    }
  }
}

static void what_was_begun_before_a_shutdown_may_finish(void **state)
{
  (void)state;
  struct place place;
  ON_EACH(place)
  {
    struct flow flow = {.manager = place.manager, .sql = {"insert", "sleep 150", "insert"}};
    flow_start(&flow, NULL);
    drive_until(place.manager, flow.told == 1);
    must(cenote_shutdown(place.manager, PATIENCE_MS, &place.error), &place.error);
    drive_until(place.manager, flow.done > 0);
    must(flow.outcome, &flow.error);
    struct flow late = {.manager = place.manager};
    flow_start(&late, NULL);
    drive_until(place.manager, late.done > 0);
    expect(CENOTE_SHUTTING_DOWN, late.outcome, &late.error);
  }
}

/* ----------------------------------------------------------------------------- misuse */

static cenote_status from_a_blocking_body(void *context, cenote_transaction *transaction,
                                          cenote_error *error)
{
  struct flow *flow = context;
  expect(CENOTE_INVALID, cenote_tx_finish(transaction, CENOTE_OK, NULL), NULL);
  expect(CENOTE_INVALID,
         cenote_tx_execute_async(transaction, "insert", NULL, 0, on_statement, flow, NULL, error),
         error);
  *error = (cenote_error)CENOTE_ERROR_INIT;
  return CENOTE_OK;
}

static void the_two_forms_do_not_mix(void **state)
{
  (void)state;
  struct place place;
  cenote_error error = CENOTE_ERROR_INIT;
  place_begin(&place, OWN_THREAD);
  struct flow flow = {.manager = place.manager, .lazy = true};
  must(cenote_transact(place.manager, from_a_blocking_body, &flow, &error), &error);
  flow_start(&flow, NULL);
  wait_until(flow.begun == 1);
  cenote_transaction *transaction = flow.transaction;
  expect(CENOTE_INVALID, cenote_tx_execute(transaction, "insert", NULL, 0, NULL, &error), &error);
  expect(CENOTE_INVALID, cenote_commit(transaction, &error), &error);
  expect(CENOTE_INVALID, cenote_rollback(transaction, &error), &error);
  expect(CENOTE_INVALID,
         cenote_tx_execute_async(transaction, NULL, NULL, 0, on_statement, &flow, NULL, &error),
         &error);
  expect(CENOTE_INVALID,
         cenote_tx_execute_async(transaction, "insert", NULL, 0, NULL, &flow, NULL, &error),
         &error);
  must(cenote_tx_finish(transaction, CENOTE_OK, NULL), NULL);
  wait_until(flow.done > 0);
  must(flow.outcome, &flow.error);
  expect(CENOTE_INVALID, cenote_tx_finish(NULL, CENOTE_OK, NULL), NULL);
  expect(CENOTE_INVALID,
         cenote_transact_async(place.manager, NULL, NULL, on_done, NULL, NULL, &error), &error);
  expect(CENOTE_INVALID, cenote_transact_async(NULL, NULL, on_begin, on_done, NULL, NULL, &error),
         &error);
  place_close(&place);
}

/* ------------------------------------------------------------------------------- crowd */

enum { STARTERS = 3, FLOWS_EACH = 60 };

struct crowd {
  struct place *place;
  struct flow flows[FLOWS_EACH];
  _Atomic int started;
};

static void *start_many(void *context)
{
  static const char *const bodies[][3] = {{"insert", "SELECT 1"},
                                          {"insert", "error 40001"},
                                          {"BEGIN READ ONLY", "COMMIT"},
                                          {"sleep 2", "ROLLBACK"},
                                          {"hang", NULL},
                                          {"error 23505", NULL}};
  struct crowd *crowd = context;
  cenote_transact_options options = repeating(2);
  options.timeout_ms = 2000;
  for (int i = 0; i < FLOWS_EACH; i++) {
    struct flow *flow = &crowd->flows[i];
    *flow = (struct flow){.manager = crowd->place->manager};
    memcpy(flow->sql, bodies[i % 6], sizeof bodies[0]);
    flow_start(flow, &options);
    atomic_fetch_add(&crowd->started, 1);
  }
  return NULL;
}

/* Everything that hangs ends by this; what does not is hit at any moment. */
static void *cancel_many(void *context)
{
  struct crowd *crowd = context;
  for (int i = 0; i < FLOWS_EACH; i++) {
    while (atomic_load(&crowd->started) <= i) {
      pause_ms(1);
    }
    if (i % 3 == 1) {
      (void)cenote_cancel_query(crowd->flows[i].ticket);
    }
  }
  return NULL;
}

static void each_is_told_exactly_once_while_others_cancel_and_sessions_die(void **state)
{
  (void)state;
  struct place place;
  place_init(&place);
  place_set(&place, "retry_delay_ms", "5");
  place_set(&place, "max_waiters", "1000");
  place_open_with(&place, "0", "4");
  struct crowd *crowds = calloc(STARTERS, sizeof *crowds);
  assert_non_null(crowds);
  pthread_t starters[STARTERS], cancellers[STARTERS];
  for (int i = 0; i < STARTERS; i++) {
    crowds[i].place = &place;
    starters[i] = start_thread(start_many, &crowds[i]);
    cancellers[i] = start_thread(cancel_many, &crowds[i]);
  }
  for (int i = 0; i < 10; i++) {
    pause_ms(10);
    fake_kill_all(&place.script);
  }
  for (int i = 0; i < STARTERS; i++) {
    pthread_join(starters[i], NULL);
    pthread_join(cancellers[i], NULL);
    for (int k = 0; k < FLOWS_EACH; k++) {
      wait_until(crowds[i].flows[k].done > 0);
    }
  }
  pause_ms(20);
  for (int i = 0; i < STARTERS * FLOWS_EACH; i++) {
    assert_int_equal(crowds[i / FLOWS_EACH].flows[i % FLOWS_EACH].done, 1);
  }
  place_close(&place);
  free(crowds);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      TEST(a_body_goes_on_from_callback_to_callback),
      TEST(conflicts_repeat_it_as_often_as_allowed),
      TEST(a_statement_has_options_of_its_own),
      TEST(begins_and_ends_of_the_body_mean_the_same_here),
      TEST(lost_connections_are_told_as_in_the_blocking_form),
      TEST(one_deadline_covers_it),
      TEST(a_cancel_reaches_it_wherever_it_is),
      TEST(a_cancel_while_it_waits_for_a_connection_or_for_its_next_try),
      TEST(a_cancel_during_the_bodys_turn_rolls_back_at_once_and_waits_for_its_end),
      TEST(a_body_that_ends_while_its_cancel_rolls_back_is_told),
      TEST(a_statement_can_be_cancelled_alone),
      TEST(an_expired_lease_is_told_at_the_next_call),
      TEST(a_body_that_never_ends_is_told_by_the_close),
      TEST(what_was_begun_before_a_shutdown_may_finish),
      TEST(the_two_forms_do_not_mix),
      TEST(each_is_told_exactly_once_while_others_cancel_and_sessions_die),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
