/* The PostgreSQL driver with many requests in flight when things go wrong: cancels, dead backends,
 * bad networks, poolers that hide. */
#include "base/text.h"
#include "driver/postgres/postgres.h"
#include "integration/postgres_bed.h"
#include "net/clock.h"
#include "support/fault_proxy.h"
#include "support/pg_fixture.h"

#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static struct pg_fixture server;

static const char *var(const char *name)
{
  return pg_fixture_get(&server, name);
}

static void nap_ms(int ms)
{
  struct timespec ts = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};
  nanosleep(&ts, NULL);
}

/* ------------------------------------------------------------------------------ cancels */

static void a_second_one_can_be_cancelled_while_the_first_cancel_is_under_way(void **state)
{
  (void)state;
  struct pg_bed bed;
  struct rig_flight flights[3];
  pg_bed_open(&bed, var("POSTGRES_URL"), false);
  for (int round = 0; round < 3; round++) {
    pg_bed_push(&bed, &flights[0], "SELECT pg_sleep(30)");
    pg_bed_push(&bed, &flights[1], "SELECT pg_sleep(30)");
    pg_bed_push(&bed, &flights[2], "SELECT 6");
    rig_pipe_send(&bed.pipe);
    nap_ms(20);
    bed.pg.rig.driver->cancel(bed.c);
    pg_bed_expect(&bed, &flights[0], CENOTE_ANSWER_FAILED);
    assert_int_equal(flights[0].error.status, CENOTE_CANCELLED);
    bed.pg.rig.driver->cancel(bed.c);
    pg_bed_outlast_cancel(&bed); /* starts the second, if it had to wait for the first */
    pg_bed_expect(&bed, &flights[1], CENOTE_ANSWER_FAILED);
    assert_int_equal(flights[1].error.status, CENOTE_CANCELLED);
    assert_ptr_equal(rig_pipe_next(&bed.pipe), &flights[2]);
    for (int i = 0; i < 3; i++) {
      rig_flight_free(&flights[i]);
    }
    pg_bed_outlast_cancel(&bed);
  }
  assert_int_equal(pg_rig_session(&bed.pg, bed.c), 0); /* a local socket: none goes astray */
  pg_bed_close(&bed);
}

/* The server has run all up to this one. */
static void wait_for_rest(struct pg_bed *bed, const char *last)
{
  const int64_t until = cen_deadline_ns(cen_now_ns(), 20000);
  char sql[160];
  snprintf(
      sql, sizeof(sql),
      "SELECT count(*) FROM pg_stat_activity WHERE pid = %d AND state = 'idle' AND query = '%s'",
      PQbackendPID(bed->c->conn), last);
  while (pg_bed_number(bed, sql) != 1) {
    assert_true(cen_now_ns() < until);
    nap_ms(5);
  }
}

static void over_a_network_a_cancel_that_did_not_arrive_breaks_the_session(void **state)
{
  (void)state;
  struct pg_bed bed;
  struct rig_flight flights[2];
  pg_bed_open(&bed, var("POSTGRES_TRUST_URL"), false);
  pg_bed_push(&bed, &flights[0], "SELECT pg_sleep(20)");
  rig_pipe_send(&bed.pipe);
  nap_ms(20);
  bed.pg.rig.driver->cancel(bed.c);
  pg_bed_expect(&bed, &flights[0], CENOTE_ANSWER_FAILED);
  rig_flight_free(&flights[0]);
  pg_bed_outlast_cancel(&bed);
  bool clean = pg_rig_session(&bed.pg, bed.c) == 0; /* one went out, one arrived: the usual case */
  pg_bed_push(&bed, &flights[0], "SELECT 1");
  pg_bed_push(&bed, &flights[1], "SELECT 2");
  rig_pipe_send(&bed.pipe);
  wait_for_rest(&bed, "SELECT 2");
  bed.pg.rig.driver->cancel(bed.c); /* all is answered already, but we have not looked */
  nap_ms(100);
  pg_bed_expect_integer(&bed, &flights[0], 1);
  pg_bed_expect_integer(&bed, &flights[1], 2);
  pg_bed_outlast_cancel(&bed);
  assert_int_equal(pg_rig_session(&bed.pg, bed.c), CENOTE_SESSION_BROKEN);
  print_message("# %s\n", clean ? "the first cancel arrived" : "the first cancel was repeated");
  pg_bed_close(&bed);
}

/* --------------------------------------------------------------------------------- death */

enum { DEATH_DEPTH = 6 };

/* Its process is gone, and with that all it had to say has arrived. */
static void wait_for_the_end(const struct pg_bed *bed)
{
  const int64_t until = cen_deadline_ns(cen_now_ns(), 20000);
  while (kill(PQbackendPID(bed->c->conn), 0) == 0) {
    assert_true(cen_now_ns() < until);
    nap_ms(1);
  }
}

/* `slowly`: what comes behind the deadly one is pushed when the server has gone. How many could be. */
static int push_around(struct pg_bed *bed, struct rig_flight *flights, int deadly, bool slowly)
{
  for (int i = 0; i < DEATH_DEPTH; i++) {
    const char *sql = i == deadly ? "SELECT pg_terminate_backend(pg_backend_pid())" : "SELECT 12";
    const cenote_status status = rig_pipe_push(&bed->pipe, &flights[i], sql, NULL, 0, 0);
    if (status != CENOTE_OK) { /* libpq sends each by itself, and the server was faster */
      assert_int_equal(status, CENOTE_CONNECTION_LOST);
      assert_null(bed->c->wire);
      assert_true(i > deadly);
      return i;
    }
    if (i == deadly && slowly) {
      rig_pipe_send(&bed->pipe);
      wait_for_the_end(bed);
    }
  }
  return DEATH_DEPTH;
}

static void a_backend_that_dies_at_any_point_loses_what_comes_after(void **state)
{
  static const char *const urls[] = {"POSTGRES_ADMIN_URL", "POSTGRES_TRUST_URL",
                                     "POSTGRES_TLS_URL"};
  (void)state;
  for (int round = 0; round < 2 * DEATH_DEPTH; round++) {
    struct pg_bed bed;
    struct rig_flight flights[DEATH_DEPTH];
    struct rig_flight late;
    const int at = round / 2;
    pg_bed_open(&bed, var(urls[at % 3]), false);
    const int pushed = push_around(&bed, flights, at, round % 2 == 1);
    for (int i = 0; i < at; i++) {
      pg_bed_expect_integer(&bed, &flights[i], 12);
    }
    pg_bed_expect(&bed, &flights[at], CENOTE_ANSWER_LOST);
    for (int i = at; i < pushed; i++) {
      assert_int_equal(flights[i].answer, CENOTE_ANSWER_LOST);
      assert_int_equal(flights[i].error.status, CENOTE_CONNECTION_LOST);
      assert_string_equal(flights[i].error.sqlstate, "57P01");
      assert_non_null(strstr(flights[i].error.message, "administrator"));
      rig_flight_free(&flights[i]);
    }
    assert_int_equal(pg_rig_session(&bed.pg, bed.c), CENOTE_SESSION_BROKEN);
    assert_int_equal(rig_pipe_push(&bed.pipe, &late, "SELECT 1", NULL, 0, 0),
                     CENOTE_CONNECTION_LOST);
    pg_bed_close(&bed);
  }
}

/* Others may have seen on the descriptor that there is something, too. */
static void what_came_before_the_end_is_answered_though_each_read_sees_the_end(void **state)
{
  static const char *const urls[] = {"POSTGRES_ADMIN_URL", "POSTGRES_TRUST_URL",
                                     "POSTGRES_TLS_URL"};
  (void)state;
  for (int round = 0; round < 3; round++) {
    struct pg_bed bed;
    struct rig_flight flights[DEATH_DEPTH];
    const int deadly = DEATH_DEPTH - 1;
    pg_bed_open(&bed, var(urls[round]), false);
    assert_int_equal(push_around(&bed, flights, deadly, true), DEATH_DEPTH);
    for (int i = 0; i < deadly; i++) {
      bed.pipe.revents = POLLIN | POLLHUP;
      pg_bed_expect_integer(&bed, &flights[i], 12);
    }
    bed.pipe.revents = POLLIN | POLLHUP;
    pg_bed_expect(&bed, &flights[deadly], CENOTE_ANSWER_LOST);
    assert_string_equal(flights[deadly].error.sqlstate, "57P01");
    rig_flight_free(&flights[deadly]);
    pg_bed_close(&bed);
  }
}

/* Whoever pushed it knows that it has not run, and may push it elsewhere. */
static void what_comes_behind_one_that_could_not_be_sent_is_refused(void **state)
{
  enum { LARGE = 100000 };
  static char text[LARGE];
  (void)state;
  struct pg_bed bed;
  struct rig_flight flights[2];
  struct rig_flight late;
  char sql[96];
  cenote_value arg = cenote_text_n(text, LARGE);
  memset(text, 'x', LARGE);
  pg_bed_open(&bed, var("POSTGRES_URL"), false);
  pg_bed_push(&bed, &flights[0], "SELECT pg_backend_pid()");
  assert_true(rig_pipe_wait(&bed.pipe, 20000)); /* its answer has come, nobody has looked */
  snprintf(sql, sizeof(sql), "SELECT pg_terminate_backend(%d, 20000)::int",
           PQbackendPID(bed.c->conn));
  assert_int_equal(pg_bed_number(&bed, sql), 1);
  const bool one = rig_pipe_push(&bed.pipe, &flights[1], "SELECT ?", &arg, 1, 0) == CENOTE_OK;
  assert_true(one == (bed.c->wire != NULL)); /* so large that it is sent at once */
  assert_int_equal(rig_pipe_push(&bed.pipe, &late, "SELECT 1", NULL, 0, 0), CENOTE_CONNECTION_LOST);
  pg_bed_expect_integer(&bed, &flights[0], PQbackendPID(bed.c->conn));
  cenote_error error = CENOTE_ERROR_INIT;
  assert_int_equal(bed.pg.rig.driver->pipelining->read(bed.c, POLLIN, &error), CENOTE_ANSWER_LOST);
  if (one) {
    rig_flight_free(&flights[1]);
  }
  pg_bed_close(&bed);
}

static void a_session_that_died_at_rest_is_lost_before_anything_is_sent(void **state)
{
  (void)state;
  for (int round = 0; round < 2; round++) {
    struct pg_bed bed;
    struct rig_flight flight;
    char sql[96];
    pg_bed_open(&bed, var("POSTGRES_URL"), false);
    pg_bed_push(&bed, &flight, "SELECT pg_backend_pid()");
    pg_bed_expect(&bed, &flight, CENOTE_ANSWER_DONE);
    snprintf(sql, sizeof(sql), "SELECT pg_terminate_backend(%lld, 20000)::int", /* waits for it */
             (long long)cenote_result_integer(flight.result, 0, 0));
    rig_flight_free(&flight);
    assert_int_equal(pg_bed_number(&bed, sql), 1);
    if (round == 0) {
      assert_int_equal(
          rig_pipe_push(&bed.pipe, &flight, "CREATE TABLE never_made (a int)", NULL, 0, 0),
          CENOTE_CONNECTION_LOST);
      assert_string_equal(flight.error.sqlstate, "57P01");
    } else { /* or whoever watches the descriptor finds out */
      cenote_error error = CENOTE_ERROR_INIT;
      assert_int_equal(bed.pg.rig.driver->pipelining->read(bed.c, POLLIN, &error),
                       CENOTE_ANSWER_LOST);
      assert_string_equal(error.sqlstate, "57P01");
    }
    assert_int_equal(pg_rig_session(&bed.pg, bed.c), CENOTE_SESSION_BROKEN);
    pg_bed_close(&bed);
  }
}

static void answers_cut_anywhere_are_whole_or_lost(void **state)
{
  enum { DEPTH = 5 };
  (void)state;
  int64_t port = 0;
  assert_true(cen_text_to_int(var("POSTGRES_PORT"), &port));
  struct fault_proxy *proxy = fault_proxy_start("127.0.0.1", (int)port);
  char url[256];
  int whole = 0;
  int lost = 0;
  assert_non_null(proxy);
  snprintf(url, sizeof(url), "postgresql://trusted@127.0.0.1:%d/cenote?sslmode=disable",
           fault_proxy_port(proxy));
  for (size_t cut = 1; cut < 1400; cut += 41) {
    struct pg_bed bed;
    struct rig_flight flights[DEPTH];
    pg_bed_open(&bed, url, cut % 3 == 0);
    fault_proxy_cut_after(proxy, FAULT_TO_CLIENT, cut, cut % 2 == 0);
    for (int i = 0; i < DEPTH; i++) {
      cenote_status status =
          rig_pipe_push(&bed.pipe, &flights[i],
                        "SELECT g, repeat('x', 20) FROM generate_series(1, 4) g", NULL, 0, 0);
      if (status != CENOTE_OK) { /* it ended so soon */
        assert_int_equal(status, CENOTE_CONNECTION_LOST);
        flights[i].answer = CENOTE_ANSWER_LOST;
      }
    }
    assert_true(rig_pipe_drain(&bed.pipe));
    for (int i = 0; i < DEPTH; i++) {
      if (flights[i].answer == CENOTE_ANSWER_DONE) {
        assert_int_equal(cenote_result_rows(flights[i].result), 4);
        assert_int_equal(cenote_result_integer(flights[i].result, 3, 0), 4);
        whole++;
      } else {
        assert_int_equal(flights[i].answer, CENOTE_ANSWER_LOST);
        lost++;
      }
      rig_flight_free(&flights[i]);
    }
    fault_proxy_heal(proxy);
    pg_bed_close(&bed);
  }
  assert_true(whole > 0 && lost > 0);
  fault_proxy_stop(proxy);
}

static void a_killed_server_loses_all_that_is_in_flight(void **state)
{
  (void)state;
  struct pg_bed bed;
  struct rig_flight flights[3];
  pg_bed_open(&bed, var("POSTGRES_URL"), true);
  pg_bed_push(&bed, &flights[0], "SELECT 1");
  pg_bed_push(&bed, &flights[1], "SELECT pg_sleep(30)");
  pg_bed_push(&bed, &flights[2], "SELECT 2");
  pg_bed_expect_integer(&bed, &flights[0], 1);
  bool killed = pg_fixture_kill(&server);
  struct rig_flight *next = rig_pipe_next(&bed.pipe);
  bool restarted = pg_fixture_restart(&server); /* before anything is asserted: others need it */
  assert_true(killed && restarted);
  assert_ptr_equal(next, &flights[1]);
  for (int i = 1; i < 3; i++) {
    assert_int_equal(flights[i].answer, CENOTE_ANSWER_LOST);
    assert_int_equal(flights[i].error.status, CENOTE_CONNECTION_LOST);
    rig_flight_free(&flights[i]);
  }
  pg_bed_close(&bed);
}

/* ------------------------------------------------------------------------------ poolers */

enum { CLIENTS = 4, DEPTH = 8 };

static void pipeline_round(struct rig_pipe *pipes, struct rig_flight (*flights)[DEPTH], int round)
{
  for (int i = 0; i < DEPTH; i++) {
    for (int k = 0; k < CLIENTS; k++) {
      cenote_value arg = cenote_integer(round * 100000 + k * 1000 + i);
      const char *sql = i % 3 == 2 ? "SELECT 1 / (?::int - ?::int)" : "SELECT ?::int";
      cenote_value args[2] = {arg, arg};
      assert_int_equal(rig_pipe_push(&pipes[k], &flights[k][i], sql, args, i % 3 == 2 ? 2 : 1, 0),
                       CENOTE_OK);
    }
  }
  for (int k = 0; k < CLIENTS; k++) {
    for (int i = 0; i < DEPTH; i++) {
      struct rig_flight *flight = &flights[k][i];
      assert_ptr_equal(rig_pipe_next(&pipes[k]), flight);
      if (flight->answer == CENOTE_ANSWER_FAILED) {
        assert_int_equal(i % 3, 2);
        assert_string_equal(flight->error.sqlstate, "22012");
      } else if (flight->answer == CENOTE_ANSWER_DONE) {
        assert_int_equal(cenote_result_integer(flight->result, 0, 0),
                         round * 100000 + k * 1000 + i);
      } else {
        assert_int_equal(flight->answer, CENOTE_ANSWER_REPEAT);
      }
      rig_flight_free(flight);
    }
  }
}

static cenote_connection *connect_again(struct pg_rig *pg, cenote_error *error)
{
  cenote_connection *c = rig_connect(&pg->rig, error);
  if (!c) {
    fail_msg("%s: %s; %s", error->sqlstate, error->message, error->details);
  }
  return c;
}

static void behind_pgbouncer(bool told)
{
  int started = pg_fixture_ctl(&server, "bouncer-start",
                               "ignore_startup_parameters = options\nserver_round_robin = 1");
  if (started == 77) {
    skip();
  }
  assert_int_equal(started, 0);
  const char *const settings[] = {"transaction_pooler", "on", NULL};
  struct pg_rig pg = {.settings = told ? settings : NULL};
  cenote_connection *c[CLIENTS];
  struct rig_pipe pipes[CLIENTS];
  static struct rig_flight flights[CLIENTS][DEPTH];
  cenote_error error = CENOTE_ERROR_INIT;
  assert_int_equal(pg_rig_open(&pg, var("PGBOUNCER_URL"), &error), CENOTE_OK);
  for (int k = 0; k < CLIENTS; k++) {
    c[k] = connect_again(&pg, &error);
    assert_int_equal(rig_pipe_begin(&pipes[k], &pg.rig, c[k], false, &error), CENOTE_OK);
  }
  for (int round = 0; round < 100; round++) {
    pipeline_round(pipes, flights, round);
  }
  for (int k = 0; k < CLIENTS; k++) {
    rig_pipe_end(&pipes[k]);
    rig_disconnect(&pg.rig, c[k]); /* those whose statements vanished are broken */
    c[k] = connect_again(&pg, &error);
  }
  /* read-only would be read-only for everybody */
  cenote_status status = rig_pipe_begin(&pipes[0], &pg.rig, c[0], true, &error);
  if (status == CENOTE_OK) {
    assert_false(told);
    assert_int_equal(rig_pipe_push(&pipes[0], &flights[0][0], "SELECT 1", NULL, 0, 0), CENOTE_OK);
    assert_ptr_equal(rig_pipe_next(&pipes[0]), &flights[0][0]);
    assert_int_equal(flights[0][0].answer, CENOTE_ANSWER_LOST);
    rig_flight_free(&flights[0][0]);
    rig_pipe_end(&pipes[0]);
    assert_int_equal(rig_pipe_begin(&pipes[1], &pg.rig, c[1], true, &error), CENOTE_UNSUPPORTED);
  } else {
    assert_int_equal(status, CENOTE_UNSUPPORTED);
  }
  for (int k = 1; k < CLIENTS; k++) {
    assert_string_equal(pg_rig_text(&pg, c[k], "SHOW default_transaction_read_only"), "off");
  }
  for (int k = 0; k < CLIENTS; k++) {
    rig_disconnect(&pg.rig, c[k]);
  }
  pg_rig_close(&pg);
  assert_int_equal(pg_fixture_ctl(&server, "bouncer-stop", NULL), 0);
}

static void behind_a_pooler_pipelines_work_and_sessions_are_not_made_read_only(void **state)
{
  (void)state;
  behind_pgbouncer(true);
}

static void behind_a_pooler_that_hides_they_do_too(void **state)
{
  (void)state;
  behind_pgbouncer(false);
}

/* Nothing tells that it is there before the first request: it is found out by that one. */
static void a_pooler_that_hides_never_gets_a_read_only_session(void **state)
{
  (void)state;
  int started = pg_fixture_ctl(&server, "bouncer-start", "ignore_startup_parameters = options");
  if (started == 77) {
    skip();
  }
  assert_int_equal(started, 0);
  struct pg_bed bed;
  struct rig_flight flights[3];
  pg_bed_open(&bed, var("PGBOUNCER_URL"), true);
  for (int i = 0; i < 3; i++) {
    pg_bed_push(&bed, &flights[i], "SELECT 1");
  }
  pg_bed_expect(&bed, &flights[0], CENOTE_ANSWER_LOST);
  for (int i = 0; i < 3; i++) {
    rig_flight_free(&flights[i]);
  }
  assert_true(pg_rig_logged(&bed.pg, "read-only"));
  cenote_error error = CENOTE_ERROR_INIT;
  assert_int_equal(bed.pg.rig.driver->pipelining->enter(bed.other, true, &error),
                   CENOTE_UNSUPPORTED);
  for (int i = 0; i < 5; i++) {
    assert_string_equal(pg_rig_text(&bed.pg, bed.other, "SHOW default_transaction_read_only"),
                        "off");
  }
  pg_bed_close(&bed);
  assert_int_equal(pg_fixture_ctl(&server, "bouncer-stop", NULL), 0);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_second_one_can_be_cancelled_while_the_first_cancel_is_under_way),
      cmocka_unit_test(over_a_network_a_cancel_that_did_not_arrive_breaks_the_session),
      cmocka_unit_test(a_backend_that_dies_at_any_point_loses_what_comes_after),
      cmocka_unit_test(what_came_before_the_end_is_answered_though_each_read_sees_the_end),
      cmocka_unit_test(what_comes_behind_one_that_could_not_be_sent_is_refused),
      cmocka_unit_test(a_session_that_died_at_rest_is_lost_before_anything_is_sent),
      cmocka_unit_test(answers_cut_anywhere_are_whole_or_lost),
      cmocka_unit_test(a_killed_server_loses_all_that_is_in_flight),
      cmocka_unit_test(behind_a_pooler_pipelines_work_and_sessions_are_not_made_read_only),
      cmocka_unit_test(behind_a_pooler_that_hides_they_do_too),
      cmocka_unit_test(a_pooler_that_hides_never_gets_a_read_only_session),
  };
  return pg_rig_main(&server, NULL, tests, sizeof(tests) / sizeof(tests[0]));
}
