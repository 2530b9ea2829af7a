/*
 * Reads of many callers that share a sync point (simple_batch), on a real server: when one of them
 * hangs, fails, is cancelled or loses its connection, the others get their own answers, and soon.
 * The manager is driven by the test's own loop, so that what is asked for in one go is sent in one.
 */
#include "fault/pool_rig.h"

#include <cenote/loop.h>

#include <libpq-fe.h>
#include <poll.h>

enum { SIX = 6 };

static struct rig rig;
static PGconn *blocker;

struct caller {
  unsigned called;
  cenote_status status;
  int64_t answer;
  char sqlstate[6];
  char began[64]; /* its transaction */
  cenote_ticket ticket;
};

/* A transaction is known by its start and its session: two sessions may well begin one in the same
 * microsecond. */
#define TRANSACTION "transaction_timestamp()::text || ' ' || pg_backend_pid()"

static const char quick[] = "select $1::int8, " TRANSACTION;
/* 7; fails when fickle.a is 0, waits while fickle is locked. */
static const char fickle[] = "select 7 / a, " TRANSACTION " from fickle";

static void blocker_run(const char *sql)
{
  PGresult *result = PQexec(blocker, sql);
  const ExecStatusType status = PQresultStatus(result);
  if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
    fail_msg("%s: %s", sql, PQerrorMessage(blocker));
  }
  PQclear(result);
}

static int let_go(void **state)
{
  (void)state;
  if (PQtransactionStatus(blocker) != PQTRANS_IDLE) {
    PQclear(PQexec(blocker, "rollback"));
  }
  PQclear(PQexec(blocker, "update fickle set a = 1"));
  return 0;
}

static void turn(void)
{
  cenote_error error = CENOTE_ERROR_INIT;
  struct pollfd slot = {.fd = cenote_pollfd(rig.manager), .events = POLLIN};
  const int64_t due = cenote_next_deadline(rig.manager);
  (void)poll(&slot, 1, due < 0 || due > 20 ? 20 : (int)due);
  assert_int_equal(cenote_dispatch(rig.manager, &error), CENOTE_OK);
}

static void open_batches(const char *url, const char *slow_ms)
{
  rig.options = (cenote_options)CENOTE_OPTIONS_INIT;
  rig.options.external_loop = true;
  rig_open(&rig, url, "max_connections", "6", "min_connections", "0", "application_name", "batch",
           "simple_batch", "8", "simple_slow_ms", slow_ms, "simple_connections", "4",
           "retry_delay_ms", "20", NULL);
}

static void done(void *context, cenote_status status, cenote_result *result,
                 const cenote_error *error)
{
  struct caller *caller = context;
  caller->called++;
  caller->status = status;
  caller->sqlstate[0] = caller->began[0] = '\0';
  caller->answer = -1;
  if (status != CENOTE_OK) {
    snprintf(caller->sqlstate, sizeof caller->sqlstate, "%s", error->sqlstate);
  } else if (cenote_result_rows(result) == 1) {
    caller->answer = cenote_result_integer(result, 0, 0);
    snprintf(caller->began, sizeof caller->began, "%s", cenote_result_text(result, 0, 1));
  }
  cenote_result_free(result);
}

/* Six in one go; the one at `at` is the fickle one. */
static void ask_all(struct caller *callers, size_t at)
{
  for (size_t i = 0; i < SIX; i++) {
    const cenote_value value = cenote_integer((int64_t)i);
    callers[i] = (struct caller){0};
    assert_int_equal(cenote_query_async(rig.manager, i == at ? fickle : quick, &value, i != at,
                                        NULL, done, &callers[i], &callers[i].ticket, NULL),
                     CENOTE_OK);
  }
}

static void turn_until_called(const struct caller *caller)
{
  const int64_t end = cen_deadline_ns(cen_now_ns(), RIG_PATIENCE_MS);
  while (caller->called == 0) {
    assert_true(cen_now_ns() < end);
    turn();
  }
}

/* All but the one at `but` (SIX: all). */
static void turn_until_answered(const struct caller *callers, size_t but)
{
  for (size_t i = 0; i < SIX; i++) {
    if (i != but) {
      turn_until_called(&callers[i]);
    }
  }
}

static void expect_answer(const struct caller *caller, size_t number, size_t at)
{
  assert_int_equal(caller->called, 1);
  assert_int_equal(caller->status, CENOTE_OK);
  assert_int_equal(caller->answer, number == at ? 7 : (int64_t)number);
}

static void expect_all(const struct caller *callers, size_t at, size_t but)
{
  for (size_t i = 0; i < SIX; i++) {
    if (i != but) {
      expect_answer(&callers[i], i, at);
    }
  }
}

/* Until all six were one transaction: from then on they very likely are. On a busy machine that takes a
 * while: a statement that was slow once is alone for the next 32 times. */
static void warm(size_t at)
{
  struct caller callers[SIX];
  const int64_t end = cen_deadline_ns(cen_now_ns(), RIG_PATIENCE_MS);
  while (cen_now_ns() < end) {
    ask_all(callers, at);
    turn_until_answered(callers, SIX);
    expect_all(callers, at, SIX);
    bool one = true;
    for (size_t i = 1; i < SIX; i++) {
      one = one && strcmp(callers[i].began, callers[0].began) == 0;
    }
    if (one) {
      return;
    }
  }
  fail_msg("they never shared a sync point");
}

static void turn_until_stuck(void)
{
  const int64_t end = cen_deadline_ns(cen_now_ns(), RIG_PATIENCE_MS);
  while (admin_integer("select count(*) from pg_stat_activity where application_name = 'batch' "
                       "and wait_event_type = 'Lock'") == 0) {
    assert_true(cen_now_ns() < end);
    turn();
  }
}

static void close_batches(void)
{
  cenote_error error = CENOTE_ERROR_INIT;
  const int64_t end = cen_deadline_ns(cen_now_ns(), RIG_PATIENCE_MS);
  (void)!cenote_shutdown(rig.manager, 0, &error);
  while (rig_statistics(rig.manager).in_flight > 0) {
    assert_true(cen_now_ns() < end);
    turn();
  }
  rig_close(&rig);
}

/* ---------------------------------------------------------------------------- the tests */

static void a_read_waits_for_no_slow_one_in_its_batch(void **state)
{
  (void)state;
  struct caller callers[SIX];
  open_batches(rig_var("POSTGRES_URL"), "20");
  for (size_t at = 0; at < SIX; at++) {
    warm(at);
    blocker_run("begin; lock table fickle in access exclusive mode");
    ask_all(callers, at);
    turn_until_answered(callers, at); /* the slow one still hangs */
    expect_all(callers, at, at);
    assert_int_equal(callers[at].called, 0);
    blocker_run("rollback");
    turn_until_answered(callers, SIX);
    expect_answer(&callers[at], at, at);
  }
  close_batches();
}

/* They hang one behind the other, on each connection that the quick ones are moved to. */
static void a_read_waits_for_none_of_several_slow_ones(void **state)
{
  (void)state;
  enum { SLOW = 3 };
  static const char hangs[] = "select 7 / a, " TRANSACTION " from fickle where a <= $1 + 1";
  struct caller callers[SIX];
  open_batches(rig_var("POSTGRES_URL"), "20");
  for (int round = 0; round < 2; round++) {
    warm(SIX);
    blocker_run("begin; lock table fickle in access exclusive mode");
    for (size_t i = 0; i < SIX; i++) {
      const cenote_value value = cenote_integer((int64_t)i);
      callers[i] = (struct caller){0};
      assert_int_equal(cenote_query_async(rig.manager, i < SLOW ? hangs : quick, &value, 1, NULL,
                                          done, &callers[i], &callers[i].ticket, NULL),
                       CENOTE_OK);
    }
    for (size_t i = SLOW; i < SIX; i++) {
      turn_until_called(&callers[i]);
      expect_answer(&callers[i], i, SIX);
    }
    for (size_t i = 0; i < SLOW; i++) {
      assert_int_equal(callers[i].called, 0);
    }
    blocker_run("rollback");
    turn_until_answered(callers, SIX);
    for (size_t i = 0; i < SLOW; i++) {
      expect_answer(&callers[i], 7, SIX);
    }
  }
  close_batches();
}

static void an_error_is_only_the_one_callers(void **state)
{
  (void)state;
  struct caller callers[SIX];
  open_batches(rig_var("POSTGRES_URL"), "1000");
  for (size_t at = 0; at < SIX; at++) {
    warm(at);
    admin_run("update fickle set a = 0");
    for (int round = 0; round < 5; round++) {
      ask_all(callers, at);
      turn_until_answered(callers, SIX);
      expect_all(callers, at, at);
      assert_int_equal(callers[at].called, 1);
      assert_string_equal(callers[at].sqlstate, "22012");
    }
    admin_run("update fickle set a = 1");
  }
  close_batches();
}

static void a_cancel_stops_the_one_call_only(void **state)
{
  (void)state;
  struct caller callers[SIX];
  open_batches(rig_var("POSTGRES_URL"), "60000");
  for (size_t at = 0; at < SIX; at++) {
    warm(at);
    blocker_run("begin; lock table fickle in access exclusive mode");
    ask_all(callers, at);
    turn_until_stuck();
    assert_int_equal(cenote_cancel_query(callers[at].ticket), CENOTE_OK);
    while (callers[at].called == 0) {
      turn();
    }
    blocker_run("rollback");
    turn_until_answered(callers, SIX);
    expect_all(callers, at, at);
    assert_int_equal(callers[at].called, 1);
    assert_int_equal(callers[at].status, CENOTE_CANCELLED);
  }
  close_batches();
}

/* Its answer is held back, so what it may stop is somebody else's, who must not notice. */
static void a_cancel_of_the_first_harms_no_one_behind_it(void **state)
{
  (void)state;
  struct caller callers[SIX];
  open_batches(rig_var("POSTGRES_URL"), "60000");
  for (size_t at = 1; at < SIX; at++) {
    warm(at);
    blocker_run("begin; lock table fickle in access exclusive mode");
    ask_all(callers, at);
    turn_until_stuck();
    assert_int_equal(cenote_cancel_query(callers[0].ticket), CENOTE_OK);
    while (callers[0].called == 0) {
      turn();
    }
    blocker_run("rollback");
    turn_until_answered(callers, SIX);
    expect_all(&callers[0], at, 0);
    assert_int_equal(callers[0].called, 1);
    assert_true(callers[0].status == CENOTE_CANCELLED || callers[0].answer == 0);
  }
  close_batches();
}

static void all_run_again_when_their_connection_dies(void **state)
{
  (void)state;
  struct caller callers[SIX];
  open_batches(rig_var("POSTGRES_URL"), "60000");
  for (size_t at = 0; at < SIX; at++) {
    warm(at);
    blocker_run("begin; lock table fickle in access exclusive mode");
    ask_all(callers, at);
    turn_until_stuck();
    admin_run("select pg_terminate_backend(pid) from pg_stat_activity where "
              "application_name = 'batch'");
    blocker_run("rollback");
    turn_until_answered(callers, SIX);
    expect_all(callers, at, SIX);
  }
  close_batches();
}

/* Sessions are not made read-only there, so nothing shares a sync point. */
static void behind_a_pooler_nothing_is_shared(void **state)
{
  (void)state;
  struct caller callers[SIX];
  const int started = pg_fixture_ctl(&rig_server, "bouncer-start", "default_pool_size = 6");
  if (started == 77) {
    skip();
  }
  assert_int_equal(started, 0);
  open_batches(rig_var("PGBOUNCER_URL"), "1000");
  for (int round = 0; round < 20; round++) {
    ask_all(callers, 2);
    turn_until_answered(callers, SIX);
    expect_all(callers, 2, SIX);
    for (size_t i = 1; i < SIX; i++) {
      assert_string_not_equal(callers[i].began, callers[0].began);
    }
  }
  close_batches();
  assert_int_equal(pg_fixture_ctl(&rig_server, "bouncer-stop", NULL), 0);
}

int main(void)
{
  if (!pg_fixture_start(&rig_server, NULL)) {
    return pg_fixture_skip(&rig_server);
  }
  admin_run("create table fickle (a int); insert into fickle values (1); grant all on fickle to "
            "public");
  blocker = PQconnectdb(rig_var("POSTGRES_ADMIN_URL"));
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_teardown(a_read_waits_for_no_slow_one_in_its_batch, let_go),
      cmocka_unit_test_teardown(a_read_waits_for_none_of_several_slow_ones, let_go),
      cmocka_unit_test_teardown(an_error_is_only_the_one_callers, let_go),
      cmocka_unit_test_teardown(a_cancel_stops_the_one_call_only, let_go),
      cmocka_unit_test_teardown(a_cancel_of_the_first_harms_no_one_behind_it, let_go),
      cmocka_unit_test_teardown(all_run_again_when_their_connection_dies, let_go),
      cmocka_unit_test_teardown(behind_a_pooler_nothing_is_shared, let_go),
  };
  int failed = cmocka_run_group_tests_name("pool_batch", tests, NULL, NULL);
  PQfinish(blocker);
  pg_fixture_stop(&rig_server);
  return failed;
}
