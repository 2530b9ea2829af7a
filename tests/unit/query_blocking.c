/* query_blocking.c - cenote_query: what is tried again, until when, and what is left behind. */
#include "query_help.h"

#include <sys/wait.h>
#include <unistd.h>

static cenote_status query(struct place *place, const char *sql,
                           const cenote_query_options *options)
{
  return cenote_query(place->manager, sql, NULL, 0, options, NULL, &place->error);
}

static void a_statement_needs_no_lease(void **state)
{
  (void)state;
  struct place place;
  routed_place(&place, "1");
  place_open(&place);
  assert_int_equal(must_query(place.manager, "SELECT 7"), 7);
  const cenote_value args[] = {cenote_integer(5)};
  cenote_result *result;
  must(cenote_query(place.manager, "SELECT $1", args, 1, NULL, &result, &place.error),
       &place.error);
  assert_int_equal(cenote_result_integer(result, 0, 0), 5);
  cenote_result_free(result);
  const cenote_statistics now = statistics_of(place.manager);
  assert_int_equal(now.active_leases, 0);
  assert_int_equal(now.statements, 2);
  place_close(&place);
}

static void wrong_arguments_are_refused(void **state)
{
  (void)state;
  struct place place;
  cenote_query_options small = CENOTE_QUERY_OPTIONS_INIT, hint = CENOTE_QUERY_OPTIONS_INIT,
                       flags = CENOTE_QUERY_OPTIONS_INIT;
  small.size--;
  hint.hint = (cenote_hint)77;
  flags.flags = 1u << 20;
  routed_place(&place, "1");
  place_open(&place);
  expect(CENOTE_INVALID, cenote_query(NULL, "x", NULL, 0, NULL, NULL, &place.error), &place.error);
  expect(CENOTE_INVALID, query(&place, NULL, NULL), &place.error);
  expect(CENOTE_INVALID, query(&place, "SELECT 1", &small), &place.error);
  expect(CENOTE_INVALID, query(&place, "SELECT 1", &hint), &place.error);
  expect(CENOTE_INVALID, query(&place, "SELECT 1", &flags), &place.error);
  assert_int_equal(cenote_query(place.manager, NULL, NULL, 0, NULL, NULL, NULL), CENOTE_INVALID);
  assert_int_equal(place.script.created, 0);
  place_close(&place);
}

static void what_a_statement_leaves_in_its_session_is_gone_for_the_next(void **state)
{
  (void)state;
  struct place place;
  routed_place(&place, "1");
  place_open(&place);
  must(query(&place, "begin", NULL), &place.error);
  must(query(&place, "insert", NULL), &place.error); /* not inside it */
  assert_int_equal(started(&place, CENOTE_REQUEST_RESET), 1);
  assert_int_equal(place.script.rollbacks_of_open_transactions, 1);
  must(query(&place, "set", NULL), &place.error);
  must(query(&place, "SELECT 1", NULL), &place.error);
  assert_int_equal(started(&place, CENOTE_REQUEST_RESET), 2);
  expect(CENOTE_DATABASE, query(&place, "commit", NULL), &place.error); /* there is none */
  place_close(&place);
}

/* ------------------------------------------------------------------ trying again */

static void a_lost_connection_is_tried_again_where_nothing_of_it_remains(void **state)
{
  (void)state;
  struct place place;
  routed_place(&place, "2");
  place_open(&place);
  fake_fail(&place.script, CENOTE_REQUEST_EXECUTE, CENOTE_CONNECTION_LOST, 3);
  must(query(&place, "INSERT INTO t VALUES (1)", NULL), &place.error);
  assert_int_equal(place.error.status, CENOTE_OK); /* nothing of the earlier tries */
  assert_int_equal(started(&place, CENOTE_REQUEST_EXECUTE), 4);
  assert_int_equal(statistics_of(place.manager).retries, 3);
  place_close(&place);
}

static void attempts_are_bounded_and_counted_in_the_error(void **state)
{
  (void)state;
  struct place place;
  cenote_query_options twice = CENOTE_QUERY_OPTIONS_INIT, never = CENOTE_QUERY_OPTIONS_INIT;
  twice.retries = 2;
  never.retries = 0;
  routed_place(&place, "2");
  place_set(&place, "retries", "1");
  place_open(&place);
  fake_fail(&place.script, CENOTE_REQUEST_EXECUTE, CENOTE_CONNECTION_LOST, -1);
  expect(CENOTE_CONNECTION_LOST, query(&place, "SELECT 1", &never), &place.error);
  assert_int_equal(started(&place, CENOTE_REQUEST_EXECUTE), 1);
  expect(CENOTE_CONNECTION_LOST, query(&place, "SELECT 1", &twice), &place.error);
  assert_int_equal(started(&place, CENOTE_REQUEST_EXECUTE), 4);
  has_text(place.error.details, "tried 3 times");
  expect(CENOTE_CONNECTION_LOST, query(&place, "SELECT 1", NULL), &place.error);
  assert_int_equal(started(&place, CENOTE_REQUEST_EXECUTE), 6);
  place_close(&place);
}

static void a_write_that_may_have_run_is_never_repeated(void **state)
{
  (void)state;
  const char *const texts[] = {"INSERT INTO t VALUES (1)", "insert", "SELECT nextval('s')"};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    struct place place;
    routed_place(&place, "2");
    place_open(&place);
    fake_fail(&place.script, CENOTE_REQUEST_EXECUTE, CENOTE_OUTCOME_UNKNOWN, 1);
    expect(CENOTE_OUTCOME_UNKNOWN, query(&place, texts[i], NULL), &place.error);
    assert_int_equal(started(&place, CENOTE_REQUEST_EXECUTE), 1);
    assert_int_equal(statistics_of(place.manager).retries, 0);
    place_close(&place);
  }
}

/* Its text only reads, but a view may call a function that writes, and on a connection of its own
 * the session does not refuse that. */
static void a_read_that_may_have_run_is_not_repeated_on_a_connection_of_its_own(void **state)
{
  (void)state;
  const char *const texts[] = {"SELECT 1", "SELECT pg_notify('a', 'b')"};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    struct place place;
    routed_place(&place, "2");
    place_open(&place);
    place.script.lose_sent = true;
    fake_fail(&place.script, CENOTE_REQUEST_EXECUTE, CENOTE_CONNECTION_LOST, 1);
    expect(CENOTE_CONNECTION_LOST, query(&place, texts[i], NULL), &place.error);
    assert_int_equal(started(&place, CENOTE_REQUEST_EXECUTE), 1);
    struct answer answer = {0};
    fake_fail(&place.script, CENOTE_REQUEST_EXECUTE, CENOTE_CONNECTION_LOST, 1);
    ask(place.manager, texts[i], NULL, &answer);
    wait_for(&answer);
    has_status(&answer, CENOTE_CONNECTION_LOST);
    assert_int_equal(started(&place, CENOTE_REQUEST_EXECUTE), 2);
    assert_int_equal(statistics_of(place.manager).retries, 0);
    place_close(&place);
  }
}

static void what_the_database_answered_is_not_tried_again(void **state)
{
  (void)state;
  static const struct {
    const char *sql, *sqlstate;
  } cases[] = {
      {"SELECT 1", "57P01"}, /* an answer is no proof: a pooler may have given it … */
      {"SELECT 1", "08P01"}, /* … and only a session that refuses to write may be asked twice */
      {"SELECT 1", "42P01"}, /* will not pass */
      {"SELECT 1", "40001"}, /* is cenote_transact's */
      {"INSERT INTO t VALUES (1)", "57P01"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct place place;
    routed_place(&place, "2");
    place_open(&place);
    place.script.fail_sqlstate[CENOTE_REQUEST_EXECUTE] = cases[i].sqlstate;
    fake_fail(&place.script, CENOTE_REQUEST_EXECUTE, CENOTE_DATABASE, 1);
    expect(CENOTE_DATABASE, query(&place, cases[i].sql, NULL), &place.error);
    assert_int_equal(started(&place, CENOTE_REQUEST_EXECUTE), 1);
    place_close(&place);
  }
}

static void a_time_out_or_an_error_of_ours_is_not_tried_again(void **state)
{
  (void)state;
  const cenote_status statuses[] = {CENOTE_STATEMENT_TIMEOUT, CENOTE_CANCELLED, CENOTE_TOO_LARGE,
                                    CENOTE_NO_MEMORY,         CENOTE_INVALID,   CENOTE_INTERNAL};
  for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
    struct place place;
    routed_place(&place, "1");
    place_open(&place);
    fake_fail(&place.script, CENOTE_REQUEST_EXECUTE, statuses[i], 1);
    expect(statuses[i], query(&place, "SELECT 1", NULL), &place.error);
    assert_int_equal(started(&place, CENOTE_REQUEST_EXECUTE), 1);
    place_close(&place);
  }
}

static void connecting_is_tried_until_the_deadline(void **state)
{
  (void)state;
  struct place place;
  routed_place(&place, "1");
  place_set(&place, "connect_backoff_ms", "5");
  place_open(&place);
  fake_fail(&place.script, CENOTE_REQUEST_OPEN, CENOTE_CONNECT, 3);
  assert_int_equal(must_query(place.manager, "SELECT 3"), 3);
  assert_int_equal(place.script.created, 4);
  place_close(&place);
}

static void a_wrong_password_is_told_at_once(void **state)
{
  (void)state;
  struct place place;
  routed_place(&place, "1");
  place_set(&place, "acquire_timeout_ms", "600000");
  place_open(&place);
  fake_fail(&place.script, CENOTE_REQUEST_OPEN, CENOTE_AUTH, -1);
  const int64_t start = now_ms();
  expect(CENOTE_AUTH, query(&place, "SELECT 1", NULL), &place.error);
  assert_true(now_ms() - start < PATIENCE_MS); /* not the acquire's ten minutes */
  place_close(&place);
}

/* ------------------------------------------------------------------------- deadlines */

static void one_deadline_covers_waiting_and_executing(void **state)
{
  (void)state;
  struct place place;
  cenote_query_options options = CENOTE_QUERY_OPTIONS_INIT;
  options.timeout_ms = 80;
  options.operation_id = "impatient";
  routed_place(&place, "1");
  place_open(&place);
  expect(CENOTE_STATEMENT_TIMEOUT, query_late(&place, "hang", &options, &options.timeout_ms),
         &place.error);
  has_text(place.error.message, "timeout");
  options.timeout_ms = 80;
  cenote_lease lease = must_acquire(place.manager, "holder");
  expect(CENOTE_TIMEOUT, query(&place, "SELECT 1", &options), &place.error);
  has_text(place.error.message, "timeout");
  has_text(place.error.details, "holder");
  must_release(lease);
  assert_int_equal(statistics_of(place.manager).lease_timeouts, 0);
  place_close(&place);
}

static void what_is_left_of_the_invocation_ends_it_too(void **state)
{
  (void)state;
  struct place place;
  cenote_query_options options = CENOTE_QUERY_OPTIONS_INIT;
  options.timeout_ms = 600000;
  options.remaining_ms = 80;
  routed_place(&place, "1");
  place_open(&place);
  const int64_t start = now_ms();
  expect(CENOTE_STATEMENT_TIMEOUT, query_late(&place, "hang", &options, &options.remaining_ms),
         &place.error);
  options.timeout_ms = 0;
  options.remaining_ms = 80;
  expect(CENOTE_STATEMENT_TIMEOUT, query_late(&place, "hang", &options, &options.remaining_ms),
         &place.error);
  assert_true(now_ms() - start < 5 * PATIENCE_MS);
  place_close(&place);
}

static void a_statement_may_run_longer_than_a_lease_when_its_deadline_allows_it(void **state)
{
  (void)state;
  struct place place;
  cenote_query_options options = CENOTE_QUERY_OPTIONS_INIT;
  options.timeout_ms = PATIENCE_MS;
  routed_place(&place, "1");
  place_set(&place, "lease_timeout_ms", "50");
  place_open(&place);
  must(query(&place, "sleep 250", &options), &place.error);
  assert_int_equal(statistics_of(place.manager).lease_timeouts, 0);
  place_close(&place);
}

static void no_pause_goes_beyond_the_deadline(void **state)
{
  (void)state;
  struct place place;
  cenote_query_options options = CENOTE_QUERY_OPTIONS_INIT;
  options.timeout_ms = PATIENCE_MS;
  options.retries = 100;
  routed_place(&place, "1");
  place.settings[0].value = "60000"; /* retry_delay_ms */
  place_open(&place);
  fake_fail(&place.script, CENOTE_REQUEST_EXECUTE, CENOTE_CONNECTION_LOST, -1);
  const int64_t start = now_ms();
  expect(CENOTE_CONNECTION_LOST, query(&place, "SELECT 1", &options), &place.error);
  assert_true(now_ms() - start < PATIENCE_MS);                  /* it does not wait in vain */
  assert_int_equal(started(&place, CENOTE_REQUEST_EXECUTE), 2); /* the first one is at once */
  place_close(&place);
}

/* ------------------------------------------------------------------------ the end */

static void *query_in_vain(void *context)
{
  struct place *place = context;
  cenote_query_options options = CENOTE_QUERY_OPTIONS_INIT;
  options.timeout_ms = 600000;
  return (void *)(intptr_t)query(place, "SELECT 1", &options);
}

/* A shutdown says that it begins before it has told the pool. */
static void begin_slowly(void *context, const cenote_audit_event *event)
{
  note_audit(context, event);
  pause_ms(event->kind == CENOTE_AUDIT_SHUTDOWN ? 200 : 0);
}

static void a_shutdown_ends_a_pause(void **state)
{
  (void)state;
  struct place place;
  void *status;
  routed_place(&place, "1");
  place.options.audit = begin_slowly;
  place.settings[0].value = "60000"; /* retry_delay_ms */
  place_open(&place);
  fake_fail(&place.script, CENOTE_REQUEST_EXECUTE, CENOTE_CONNECTION_LOST, -1);
  pthread_t thread = start_thread(query_in_vain, &place);
  wait_until(statistics_of(place.manager).retries == 2);
  cenote_error error = CENOTE_ERROR_INIT;
  must(cenote_shutdown(place.manager, PATIENCE_MS, &error), &error);
  pthread_join(thread, &status);
  assert_int_equal((intptr_t)status, CENOTE_SHUTTING_DOWN);
  has_text(place.error.message, "shutting down");
  place_close(&place);
}

static void a_shutdown_takes_a_running_statement_back(void **state)
{
  (void)state;
  struct place place;
  void *status;
  routed_place(&place, "1");
  place_open(&place);
  place.script.hang[CENOTE_REQUEST_EXECUTE] = true;
  pthread_t thread = start_thread(query_in_vain, &place);
  wait_until(started(&place, CENOTE_REQUEST_EXECUTE) == 1);
  cenote_error error = CENOTE_ERROR_INIT;
  expect(CENOTE_TIMEOUT, cenote_shutdown(place.manager, 20, &error), &error);
  has_text(error.details, "cenote_query"); /* the operation of who named none */
  pthread_join(thread, &status);
  assert_int_equal((intptr_t)status, CENOTE_SHUTTING_DOWN);
  expect(CENOTE_SHUTTING_DOWN, query(&place, "SELECT 1", NULL), &place.error);
  place_close(&place);
}

static void a_host_loop_must_not_be_blocked_by_a_query(void **state)
{
  (void)state;
  struct place place;
  routed_place(&place, "1");
  place.options.external_loop = true;
  place_open(&place);
  expect(CENOTE_INVALID, query(&place, "SELECT 1", NULL), &place.error);
  has_text(place.error.message, "cenote_query_async");
  place_close(&place);
}

static void a_forked_child_is_told_so(void **state)
{
  (void)state;
  struct place place;
  struct answer answer = {0};
  routed_place(&place, "1");
  place_open(&place);
  ask(place.manager, "hang", NULL, &answer);
  const pid_t child = fork();
  if (child == 0) {
    const bool told =
        cenote_query(place.manager, "SELECT 1", NULL, 0, NULL, NULL, NULL) == CENOTE_FORKED &&
        cenote_query_async(place.manager, "SELECT 1", NULL, 0, NULL, on_answer, NULL, NULL, NULL) ==
            CENOTE_FORKED &&
        cenote_cancel_query(answer.ticket) == CENOTE_FORKED;
    _exit(told ? 0 : 1);
  }
  int status;
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_int_equal(status, 0);
  assert_int_equal(answer.calls, 0);
  assert_int_equal(cenote_cancel_query(answer.ticket), CENOTE_OK);
  wait_for(&answer);
  place_close(&place);
}

/* -------------------------------------------------------------------- under load */

enum { CROWD = 6, ROUNDS = 100 };

static void *crowd(void *context)
{
  struct place *place = context;
  for (int i = 0; i < ROUNDS; i++) {
    const cenote_value args[] = {cenote_integer((int64_t)(intptr_t)&i + i)};
    cenote_result *result;
    cenote_error error = CENOTE_ERROR_INIT;
    must(cenote_query(place->manager, "SELECT $1", args, 1, NULL, &result, &error), &error);
    assert_int_equal(cenote_result_integer(result, 0, 0), args[0].as.integer);
    cenote_result_free(result);
  }
  return NULL;
}

static void many_callers_share_few_connections(void **state)
{
  (void)state;
  struct place place;
  pthread_t threads[CROWD];
  routed_place(&place, "2");
  place_open(&place);
  for (int i = 0; i < CROWD; i++) {
    threads[i] = start_thread(crowd, &place);
  }
  for (int i = 0; i < CROWD; i++) {
    pthread_join(threads[i], NULL);
  }
  assert_in_range(place.script.open_most, 1, 2);
  assert_int_equal(statistics_of(place.manager).statements, CROWD * ROUNDS);
  place_close(&place);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      TEST(a_statement_needs_no_lease),
      TEST(wrong_arguments_are_refused),
      TEST(what_a_statement_leaves_in_its_session_is_gone_for_the_next),
      TEST(a_lost_connection_is_tried_again_where_nothing_of_it_remains),
      TEST(attempts_are_bounded_and_counted_in_the_error),
      TEST(a_write_that_may_have_run_is_never_repeated),
      TEST(a_read_that_may_have_run_is_not_repeated_on_a_connection_of_its_own),
      TEST(what_the_database_answered_is_not_tried_again),
      TEST(a_time_out_or_an_error_of_ours_is_not_tried_again),
      TEST(connecting_is_tried_until_the_deadline),
      TEST(a_wrong_password_is_told_at_once),
      TEST(one_deadline_covers_waiting_and_executing),
      TEST(what_is_left_of_the_invocation_ends_it_too),
      TEST(a_statement_may_run_longer_than_a_lease_when_its_deadline_allows_it),
      TEST(no_pause_goes_beyond_the_deadline),
      TEST(a_shutdown_ends_a_pause),
      TEST(a_shutdown_takes_a_running_statement_back),
      TEST(a_host_loop_must_not_be_blocked_by_a_query),
      TEST(a_forked_child_is_told_so),
      TEST(many_callers_share_few_connections),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
