/* The PostgreSQL driver with many requests in flight, on a real server: what is particular to it.
 * What every driver owes is in tests/driver/conformance_pipeline.c. */
#include "base/text.h"
#include "driver/postgres/postgres.h"
#include "driver/rig_pipe.h"
#include "integration/postgres_rig.h"
#include "net/clock.h"
#include "net/workers.h"
#include "support/fault_proxy.h"
#include "support/pg_fixture.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include <cmocka.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define PEAK_KIB (300 << 10)
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define PEAK_KIB (300 << 10)
#endif
#endif
#ifndef PEAK_KIB
#define PEAK_KIB (32 << 10)
#endif

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

/* One connection that pipelines, and another one beside it. */
struct bed {
  struct pg_rig pg;
  cenote_connection *c, *other;
  struct rig_pipe pipe;
};

static void bed_open(struct bed *bed, const char *url, bool read_only)
{
  cenote_error error = CENOTE_ERROR_INIT;
  memset(bed, 0, sizeof(*bed));
  bed->c = pg_rig_connect(&bed->pg, url);
  bed->other = rig_connect(&bed->pg.rig, &error);
  if (!bed->other || rig_pipe_begin(&bed->pipe, &bed->pg.rig, bed->c, read_only, &error)) {
    fail_msg("%s", error.message);
  }
}

static void bed_close(struct bed *bed)
{
  rig_pipe_end(&bed->pipe);
  rig_disconnect(&bed->pg.rig, bed->other);
  pg_rig_end(&bed->pg, bed->c);
}

static void elsewhere(struct bed *bed, const char *sql)
{
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_result *result = NULL;
  if (rig_execute(&bed->pg.rig, bed->other, sql, NULL, 0, 20000, &result, &error)) {
    fail_msg("%s: %s", sql, error.message);
  }
  cenote_result_free(result);
}

static int64_t number(struct bed *bed, const char *sql)
{
  return rig_integer(&bed->pg.rig, bed->other, sql);
}

static void push(struct bed *bed, struct rig_flight *flight, const char *sql)
{
  if (rig_pipe_push(&bed->pipe, flight, sql, NULL, 0, 0)) {
    fail_msg("%s: %s", sql, flight->error.message);
  }
}

static void expect(struct bed *bed, struct rig_flight *flight, cenote_answer answer)
{
  struct rig_flight *next = rig_pipe_next(&bed->pipe);
  assert_ptr_equal(next, flight);
  if (next->answer != answer) {
    fail_msg("answer %d instead of %d: %s %s", (int)next->answer, (int)answer, next->error.sqlstate,
             next->error.message);
  }
}

static void expect_integer(struct bed *bed, struct rig_flight *flight, int64_t value)
{
  expect(bed, flight, CENOTE_ANSWER_DONE);
  assert_int_equal(cenote_result_integer(flight->result, 0, 0), value);
  rig_flight_free(flight);
}

static void expect_state(struct bed *bed, struct rig_flight *flight, const char *sqlstate)
{
  expect(bed, flight, CENOTE_ANSWER_FAILED);
  assert_string_equal(flight->error.sqlstate, sqlstate);
  rig_flight_free(flight);
}

/* ------------------------------------------------------------------------- each for itself */

static void each_request_is_a_transaction_of_its_own(void **state)
{
  (void)state;
  struct bed bed;
  struct rig_flight flights[5];
  bed_open(&bed, var("POSTGRES_URL"), false);
  elsewhere(&bed, "CREATE TABLE single (a int PRIMARY KEY)");
  for (int round = 0; round < 3; round++) { /* the second time and the third they are prepared */
    elsewhere(&bed, "TRUNCATE single");
    push(&bed, &flights[0], "INSERT INTO single VALUES (1)");
    push(&bed, &flights[1], "INSERT INTO single VALUES (1)");
    push(&bed, &flights[2], "INSERT INTO single SELECT 5 / (1 - a) FROM single");
    push(&bed, &flights[3], "INSERT INTO single VALUES (2) RETURNING a");
    push(&bed, &flights[4], "SELECT count(*) FROM single");
    expect(&bed, &flights[0], CENOTE_ANSWER_DONE);
    assert_int_equal(cenote_result_affected_rows(flights[0].result), 1);
    rig_flight_free(&flights[0]);
    expect_state(&bed, &flights[1], "23505");
    expect_state(&bed, &flights[2], "22012");
    expect_integer(&bed, &flights[3], 2);
    expect_integer(&bed, &flights[4], 2);
  }
  bed_close(&bed);
}

static void what_fails_at_its_sync_point_has_failed(void **state)
{
  (void)state;
  struct bed bed;
  struct rig_flight flights[3];
  bed_open(&bed, var("POSTGRES_URL"), false);
  elsewhere(&bed,
            "CREATE TABLE later (a int CONSTRAINT later_a UNIQUE DEFERRABLE INITIALLY DEFERRED)");
  elsewhere(&bed, "INSERT INTO later VALUES (1)");
  for (int round = 0; round < 3; round++) {
    push(&bed, &flights[0], "SELECT 1");
    push(&bed, &flights[1], "INSERT INTO later VALUES (1) RETURNING a");
    push(&bed, &flights[2], "SELECT count(*) FROM later");
    expect_integer(&bed, &flights[0], 1);
    expect_state(&bed, &flights[1], "23505"); /* its row had come, its commit did not */
    expect_integer(&bed, &flights[2], 1);
  }
  bed_close(&bed);
}

static void what_has_no_place_in_a_pipeline_is_refused(void **state)
{
  (void)state;
  static const char *const refused[] = {"BEGIN",
                                        "COMMIT",
                                        "ROLLBACK",
                                        "SAVEPOINT a",
                                        "COPY pg_class TO STDOUT",
                                        "/* x */ copy t FROM STDIN"};
  struct bed bed;
  struct rig_flight flight;
  bed_open(&bed, var("POSTGRES_URL"), false);
  for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
    assert_int_equal(rig_pipe_push(&bed.pipe, &flight, refused[i], NULL, 0, 0), CENOTE_UNSUPPORTED);
  }
  cenote_error error = CENOTE_ERROR_INIT;
  assert_int_equal(rig_do(&bed.pg.rig, bed.c, "SELECT 1"), CENOTE_INVALID); /* not request mode */
  assert_int_equal(bed.pg.rig.driver->pipelining->enter(bed.c, false, &error), CENOTE_INVALID);
  push(&bed, &flight, "SELECT 8");
  expect_integer(&bed, &flight, 8);
  bed_close(&bed);
}

static void the_servers_own_time_out_is_told_apart(void **state)
{
  (void)state;
  struct bed bed;
  struct rig_flight flights[2];
  char url[600];
  snprintf(url, sizeof(url), "%s%coptions=-c%%20statement_timeout%%3D100", var("POSTGRES_URL"),
           strchr(var("POSTGRES_URL"), '?') ? '&' : '?');
  bed_open(&bed, url, false);
  push(&bed, &flights[0], "SELECT pg_sleep(20)");
  push(&bed, &flights[1], "SELECT 9");
  expect(&bed, &flights[0], CENOTE_ANSWER_FAILED);
  assert_int_equal(flights[0].error.status, CENOTE_STATEMENT_TIMEOUT);
  assert_string_equal(flights[0].error.sqlstate, "57014");
  rig_flight_free(&flights[0]);
  expect_integer(&bed, &flights[1], 9);
  bed_close(&bed);
}

static void raw_text_is_left_alone(void **state)
{
  (void)state;
  struct bed bed;
  struct rig_flight flights[2];
  bed_open(&bed, var("POSTGRES_URL"), false);
  for (int i = 0; i < 2; i++) {
    cenote_request request = {.size = sizeof(request),
                              .kind = CENOTE_REQUEST_EXECUTE,
                              .flags = i == 0 ? CENOTE_REQUEST_RAW_TEXT : 0,
                              .sql = "SELECT true, '\\x4142'::bytea",
                              .sink = &flights[i].sink,
                              .deadline_ns = CEN_NEVER};
    flights[i] = (struct rig_flight){.error = CENOTE_ERROR_INIT};
    assert_int_equal(cen_sink_init_result(&flights[i].sink, 0, 0, NULL), CENOTE_OK);
    assert_int_equal(bed.pg.rig.driver->pipelining->push(bed.c, &request, NULL), CENOTE_OK);
    bed.pipe.flights[bed.pipe.count++] = &flights[i];
  }
  expect(&bed, &flights[0], CENOTE_ANSWER_DONE);
  assert_string_equal(cenote_result_text(flights[0].result, 0, 0), "t");
  assert_string_equal(cenote_result_text(flights[0].result, 0, 1), "\\x4142");
  expect(&bed, &flights[1], CENOTE_ANSWER_DONE);
  assert_int_equal(cenote_result_value(flights[1].result, 0, 0).type, CENOTE_BOOLEAN);
  assert_int_equal(cenote_result_value(flights[1].result, 0, 1).size, 2);
  rig_flight_free(&flights[0]);
  rig_flight_free(&flights[1]);
  bed_close(&bed);
}

/* ------------------------------------------------------------------------ prepared statements */

static void statements_are_prepared_once_though_many_are_in_flight(void **state)
{
  (void)state;
  struct bed bed;
  struct rig_flight flights[12];
  bed_open(&bed, var("POSTGRES_URL"), false);
  for (int i = 0; i < 11; i++) {
    push(&bed, &flights[i], "SELECT 4711");
  }
  push(&bed, &flights[11],
       "SELECT count(*) FROM pg_prepared_statements WHERE statement = 'SELECT 4711'");
  for (int i = 0; i < 11; i++) {
    expect_integer(&bed, &flights[i], 4711);
  }
  expect_integer(&bed, &flights[11], 1);
  bed_close(&bed);
}

/* Pushes it again as long as it is to be repeated; how often that was. */
static int push_until_settled(struct bed *bed, struct rig_flight *flight, const char *sql)
{
  int repeats = 0;
  push(bed, flight, sql);
  assert_ptr_equal(rig_pipe_next(&bed->pipe), flight);
  while (flight->answer == CENOTE_ANSWER_REPEAT) {
    assert_true(++repeats <= 2);
    push(bed, flight, sql);
    assert_ptr_equal(rig_pipe_next(&bed->pipe), flight);
  }
  return repeats;
}

static void a_stale_plan_is_to_be_repeated_by_all_that_had_it(void **state)
{
  (void)state;
  static const char sql[] = "SELECT * FROM stale";
  struct bed bed;
  struct rig_flight flights[8];
  bed_open(&bed, var("POSTGRES_URL"), false);
  elsewhere(&bed, "CREATE TABLE stale (a int)");
  elsewhere(&bed, "INSERT INTO stale VALUES (7)");
  for (int round = 0; round < 4; round++) {
    for (int i = 0; i < 3; i++) {
      assert_int_equal(push_until_settled(&bed, &flights[0], sql), 0);
      assert_int_equal(flights[0].answer, CENOTE_ANSWER_DONE);
      rig_flight_free(&flights[0]);
    }
    char alter[64];
    snprintf(alter, sizeof(alter), "ALTER TABLE stale ADD COLUMN more%d int", round);
    if (round % 2 == 0) {
      elsewhere(&bed, alter);
    }
    for (int i = 0; i < 8; i++) {
      push(&bed, &flights[i], round % 2 == 1 && i == 3 ? alter : sql);
    }
    int repeats = 0;
    for (int i = 0; i < 8; i++) {
      assert_ptr_equal(rig_pipe_next(&bed.pipe), &flights[i]);
      repeats += flights[i].answer == CENOTE_ANSWER_REPEAT;
      assert_true(flights[i].answer == CENOTE_ANSWER_DONE ||
                  flights[i].answer == CENOTE_ANSWER_REPEAT);
    }
    assert_int_equal(repeats, round % 2 == 0 ? 8 : 4);
    for (int i = 0; i < 8; i++) {
      rig_flight_free(&flights[i]);
    }
    assert_int_equal(push_until_settled(&bed, &flights[0], sql), 0);
    assert_int_equal(flights[0].answer, CENOTE_ANSWER_DONE);
    assert_int_equal(cenote_result_columns(flights[0].result), (size_t)(round + 2));
    rig_flight_free(&flights[0]);
  }
  bed_close(&bed);
}

static void statements_deallocated_behind_our_back_are_to_be_repeated(void **state)
{
  (void)state;
  struct bed bed;
  struct rig_flight flights[6];
  bed_open(&bed, var("POSTGRES_URL"), false);
  elsewhere(&bed, "CREATE FUNCTION forget_all() RETURNS void LANGUAGE plpgsql AS "
                  "$$ BEGIN EXECUTE 'DEALLOCATE ALL'; END $$");
  for (int round = 0; round < 2; round++) {
    for (int i = 0; i < 3; i++) {
      (void)push_until_settled(&bed, &flights[0], "SELECT 51");
      rig_flight_free(&flights[0]);
    }
    push(&bed, &flights[0], "SELECT forget_all()");
    for (int i = 1; i < 6; i++) {
      push(&bed, &flights[i], "SELECT 51");
    }
    expect(&bed, &flights[0], CENOTE_ANSWER_DONE);
    rig_flight_free(&flights[0]);
    for (int i = 1; i < 6; i++) {
      expect(&bed, &flights[i], CENOTE_ANSWER_REPEAT);
      rig_flight_free(&flights[i]);
    }
    assert_int_equal(push_until_settled(&bed, &flights[0], "SELECT 51"), 0);
    assert_int_equal(flights[0].answer, CENOTE_ANSWER_DONE);
    rig_flight_free(&flights[0]);
  }
  /* five that were gone with one preparation count once: this is no pooler */
  assert_false(pg_rig_logged(&bed.pg, "pooler"));
  bed_close(&bed);
}

static void a_statement_that_cannot_be_prepared_fails_for_all_with_its_own_error(void **state)
{
  (void)state;
  static const char sql[] = "SELECT * FROM nowhere_to_be_found";
  struct bed bed;
  struct rig_flight flights[9];
  bed_open(&bed, var("POSTGRES_URL"), false);
  for (int i = 0; i < 9; i++) {
    push(&bed, &flights[i], sql);
  }
  bool again[9] = {false};
  for (int i = 0; i < 9; i++) {
    assert_ptr_equal(rig_pipe_next(&bed.pipe), &flights[i]);
    again[i] = flights[i].answer == CENOTE_ANSWER_REPEAT;
    if (!again[i]) {
      assert_int_equal(flights[i].answer, CENOTE_ANSWER_FAILED);
      assert_string_equal(flights[i].error.sqlstate, "42P01");
    }
    rig_flight_free(&flights[i]);
  }
  assert_false(again[0] || again[1]); /* plain, and the one that was to prepare */
  for (int i = 0; i < 9; i++) {
    if (again[i]) {
      assert_int_equal(push_until_settled(&bed, &flights[i], sql), 0);
      assert_string_equal(flights[i].error.sqlstate, "42P01");
      rig_flight_free(&flights[i]);
    }
  }
  elsewhere(&bed, "CREATE TABLE nowhere_to_be_found (a int)");
  for (int i = 0; i < 60; i++) {
    assert_int_equal(push_until_settled(&bed, &flights[0], sql), 0);
    assert_int_equal(flights[0].answer, CENOTE_ANSWER_DONE);
    rig_flight_free(&flights[0]);
  }
  assert_false(pg_rig_logged(&bed.pg, "pooler"));
  bed_close(&bed);
}

static void statements_that_fall_out_of_the_cache_are_deallocated(void **state)
{
  (void)state;
  struct bed bed;
  struct rig_flight flights[16];
  bed_open(&bed, var("POSTGRES_URL"), false);
  for (int i = 0; i < 600; i++) {
    char sql[40];
    snprintf(sql, sizeof(sql), "SELECT %d", i);
    for (int k = 0; k < 4; k++) {
      push(&bed, &flights[k], sql);
    }
    if (i == 300) {
      bed.pg.rig.driver->shrink(bed.c); /* with four in flight that know it */
    }
    for (int k = 0; k < 4; k++) {
      expect_integer(&bed, &flights[k], i);
    }
  }
  push(&bed, &flights[0], "SELECT count(*) FROM pg_prepared_statements");
  expect(&bed, &flights[0], CENOTE_ANSWER_DONE);
  int64_t held = cenote_result_integer(flights[0].result, 0, 0);
  rig_flight_free(&flights[0]);
  assert_true(held >= 64 && held <= CEN_STATEMENT_CACHE + 16);
  bed.pg.rig.driver->shrink(bed.c);
  for (int i = 0; i < 40; i++) { /* a check buries some */
    assert_int_equal(rig_pipe_check(&bed.pipe, &flights[0]), CENOTE_OK);
    expect(&bed, &flights[0], CENOTE_ANSWER_DONE);
  }
  push(&bed, &flights[0], "SELECT count(*) FROM pg_prepared_statements");
  expect_integer(&bed, &flights[0], 0);
  bed_close(&bed);
}

/* ----------------------------------------------------------------------------- read-only */

static void a_read_only_session_reads_and_is_as_new_after_its_reset(void **state)
{
  (void)state;
  struct bed bed;
  struct rig_flight flights[4];
  bed_open(&bed, var("POSTGRES_URL"), true);
  elsewhere(&bed, "CREATE TABLE guarded (a int)");
  elsewhere(&bed, "CREATE FUNCTION sneak() RETURNS int LANGUAGE plpgsql AS "
                  "$$ BEGIN INSERT INTO guarded VALUES (1); RETURN 1; END $$");
  for (int round = 0; round < 3; round++) {
    push(&bed, &flights[0], "SELECT count(*) FROM guarded");
    push(&bed, &flights[1], "INSERT INTO guarded VALUES (1)");
    push(&bed, &flights[2], "SELECT sneak()");
    push(&bed, &flights[3], "SELECT 3");
    expect_integer(&bed, &flights[0], 0);
    expect_state(&bed, &flights[1], "25006");
    expect_state(&bed, &flights[2], "25006");
    expect_integer(&bed, &flights[3], 3);
    assert_int_equal(pg_rig_session(&bed.pg, bed.c), CENOTE_SESSION_DIRTY);
  }
  rig_pipe_end(&bed.pipe);
  assert_int_equal(pg_rig_session(&bed.pg, bed.c), CENOTE_SESSION_DIRTY);
  assert_int_equal(rig_kind(&bed.pg.rig, bed.c, CENOTE_REQUEST_RESET, NULL), CENOTE_OK);
  assert_int_equal(pg_rig_session(&bed.pg, bed.c), 0);
  assert_int_equal(rig_do(&bed.pg.rig, bed.c, "INSERT INTO guarded VALUES (2)"), CENOTE_OK);
  bed_close(&bed);
}

static void a_session_that_was_touched_is_dirty_after_leaving(void **state)
{
  (void)state;
  struct bed bed;
  struct rig_flight flight;
  bed_open(&bed, var("POSTGRES_URL"), false);
  elsewhere(&bed, "CREATE TABLE touched (a int)");
  elsewhere(&bed, "CREATE FUNCTION touch_it() RETURNS trigger LANGUAGE plpgsql AS "
                  "$$ BEGIN SET TIME ZONE 'Asia/Tokyo'; RETURN new; END $$");
  elsewhere(&bed, "CREATE TRIGGER touch_it BEFORE INSERT ON touched FOR EACH ROW "
                  "EXECUTE FUNCTION touch_it()");
  push(&bed, &flight, "SELECT 1");
  expect_integer(&bed, &flight, 1);
  assert_int_equal(pg_rig_session(&bed.pg, bed.c), 0);
  push(&bed, &flight, "INSERT INTO touched VALUES (1)");
  expect(&bed, &flight, CENOTE_ANSWER_DONE);
  rig_flight_free(&flight);
  rig_pipe_end(&bed.pipe);
  assert_int_equal(pg_rig_session(&bed.pg, bed.c), CENOTE_SESSION_DIRTY);
  assert_int_equal(rig_kind(&bed.pg.rig, bed.c, CENOTE_REQUEST_RESET, NULL), CENOTE_OK);
  assert_int_equal(pg_rig_session(&bed.pg, bed.c), 0);
  bed_close(&bed);
}

/* -------------------------------------------------------------------------- much of it */

static void when_both_sides_buffers_are_full_nobody_hangs(void **state)
{
  enum { COUNT = 120, SIZE = 300000 };
  (void)state;
  struct bed bed;
  struct rig_flight *flights = calloc(COUNT, sizeof(*flights));
  char *text = malloc(SIZE + 1);
  cenote_wants wants;
  bool saw_full = false;
  assert_non_null(flights);
  assert_non_null(text);
  bed_open(&bed, var("POSTGRES_URL"), false);
  memset(text, 'x', SIZE);
  text[SIZE] = '\0';
  for (int i = 0; i < COUNT; i++) { /* nothing is read meanwhile */
    text[0] = (char)('a' + i % 26);
    cenote_value arg = cenote_text_n(text, SIZE);
    if (rig_pipe_push(&bed.pipe, &flights[i], "SELECT ?::text", &arg, 1, 0)) {
      fail_msg("%s", flights[i].error.message);
    }
    bed.pg.rig.driver->pipelining->wants(bed.c, &wants);
    saw_full = saw_full || (wants.events & POLLOUT);
  }
  assert_true(saw_full);
  for (int i = 0; i < COUNT; i++) {
    expect(&bed, &flights[i], CENOTE_ANSWER_DONE);
    const char *got = cenote_result_text(flights[i].result, 0, 0);
    assert_int_equal(got[0], 'a' + i % 26);
    assert_int_equal(strlen(got), SIZE);
    rig_flight_free(&flights[i]);
  }
  free(text);
  free(flights);
  bed_close(&bed);
}

static void a_result_that_is_not_wanted_needs_no_memory(void **state)
{
  (void)state;
  struct bed bed;
  struct rig_flight much, after;
  struct rusage before, done;
  bed_open(&bed, var("POSTGRES_URL"), false);
  assert_int_equal(getrusage(RUSAGE_SELF, &before), 0);
  for (int round = 0; round < 2; round++) {
    assert_int_equal(rig_pipe_push(&bed.pipe, &much,
                                   "SELECT g, repeat('x', 900) FROM generate_series(1, 100000) g",
                                   NULL, 0, 50),
                     CENOTE_OK);
    push(&bed, &after, "SELECT 1");
    expect(&bed, &much, CENOTE_ANSWER_ENOUGH);
    expect(&bed, &much, CENOTE_ANSWER_FAILED);
    assert_int_equal(much.error.status, CENOTE_TOO_LARGE);
    rig_flight_free(&much);
    expect_integer(&bed, &after, 1);
  }
  assert_int_equal(getrusage(RUSAGE_SELF, &done), 0);
  /* 180 MB went through */
  assert_true(done.ru_maxrss - before.ru_maxrss < PEAK_KIB);
  /* cancelled, it ends long before its time */
  assert_int_equal(
      rig_pipe_push(&bed.pipe, &much, "SELECT generate_series(1, 2000000000)", NULL, 0, 50),
      CENOTE_OK);
  expect(&bed, &much, CENOTE_ANSWER_ENOUGH);
  bed.pg.rig.driver->cancel(bed.c);
  expect(&bed, &much, CENOTE_ANSWER_FAILED);
  assert_int_equal(much.error.status, CENOTE_TOO_LARGE);
  rig_flight_free(&much);
  bed_close(&bed);
}

/* ------------------------------------------------------------------------------ cancels */

static void outlast_cancel(struct bed *bed)
{
  int fd;
  int64_t until = cen_deadline_ns(cen_now_ns(), 20000);
  while (bed->pg.rig.driver->pipelining->cancelling(bed->c, &fd)) {
    struct pollfd done = {.fd = fd, .events = POLLIN};
    (void)poll(&done, fd >= 0 ? 1 : 0, 20);
    assert_true(cen_now_ns() < until);
  }
}

static void a_second_one_can_be_cancelled_while_the_first_cancel_is_under_way(void **state)
{
  (void)state;
  struct bed bed;
  struct rig_flight flights[3];
  bed_open(&bed, var("POSTGRES_URL"), false);
  for (int round = 0; round < 3; round++) {
    push(&bed, &flights[0], "SELECT pg_sleep(30)");
    push(&bed, &flights[1], "SELECT pg_sleep(30)");
    push(&bed, &flights[2], "SELECT 6");
    nap_ms(20);
    bed.pg.rig.driver->cancel(bed.c);
    expect(&bed, &flights[0], CENOTE_ANSWER_FAILED);
    assert_int_equal(flights[0].error.status, CENOTE_CANCELLED);
    bed.pg.rig.driver->cancel(bed.c);
    outlast_cancel(&bed); /* starts the second, if it had to wait for the first */
    expect(&bed, &flights[1], CENOTE_ANSWER_FAILED);
    assert_int_equal(flights[1].error.status, CENOTE_CANCELLED);
    assert_ptr_equal(rig_pipe_next(&bed.pipe), &flights[2]);
    for (int i = 0; i < 3; i++) {
      rig_flight_free(&flights[i]);
    }
    outlast_cancel(&bed);
  }
  assert_int_equal(pg_rig_session(&bed.pg, bed.c), 0); /* a local socket: none goes astray */
  bed_close(&bed);
}

static void over_a_network_a_cancel_that_did_not_arrive_breaks_the_session(void **state)
{
  (void)state;
  struct bed bed;
  struct rig_flight flights[2];
  bed_open(&bed, var("POSTGRES_TRUST_URL"), false);
  push(&bed, &flights[0], "SELECT pg_sleep(20)");
  nap_ms(20);
  bed.pg.rig.driver->cancel(bed.c);
  expect(&bed, &flights[0], CENOTE_ANSWER_FAILED);
  rig_flight_free(&flights[0]);
  outlast_cancel(&bed);
  bool clean = pg_rig_session(&bed.pg, bed.c) == 0; /* one went out, one arrived: the usual case */
  push(&bed, &flights[0], "SELECT 1");
  push(&bed, &flights[1], "SELECT 2");
  nap_ms(100);
  bed.pg.rig.driver->cancel(bed.c); /* all is answered already, but we have not looked */
  nap_ms(100);
  expect_integer(&bed, &flights[0], 1);
  expect_integer(&bed, &flights[1], 2);
  outlast_cancel(&bed);
  assert_int_equal(pg_rig_session(&bed.pg, bed.c), CENOTE_SESSION_BROKEN);
  print_message("# %s\n", clean ? "the first cancel arrived" : "the first cancel was repeated");
  bed_close(&bed);
}

/* --------------------------------------------------------------------------------- death */

static void a_backend_that_dies_at_any_point_loses_what_comes_after(void **state)
{
  enum { DEPTH = 6 };
  (void)state;
  for (int at = 0; at < DEPTH; at++) {
    struct bed bed;
    struct rig_flight flights[DEPTH];
    struct rig_flight late;
    bed_open(&bed, var("POSTGRES_ADMIN_URL"), false);
    for (int i = 0; i < DEPTH; i++) {
      push(&bed, &flights[i],
           i == at ? "SELECT pg_terminate_backend(pg_backend_pid())" : "SELECT 12");
    }
    for (int i = 0; i < at; i++) {
      expect_integer(&bed, &flights[i], 12);
    }
    expect(&bed, &flights[at], CENOTE_ANSWER_LOST);
    for (int i = at; i < DEPTH; i++) {
      assert_int_equal(flights[i].answer, CENOTE_ANSWER_LOST);
      assert_int_equal(flights[i].error.status, CENOTE_CONNECTION_LOST);
      assert_string_equal(flights[i].error.sqlstate, "57P01");
      assert_non_null(strstr(flights[i].error.message, "administrator"));
      rig_flight_free(&flights[i]);
    }
    assert_int_equal(pg_rig_session(&bed.pg, bed.c), CENOTE_SESSION_BROKEN);
    assert_int_equal(rig_pipe_push(&bed.pipe, &late, "SELECT 1", NULL, 0, 0),
                     CENOTE_CONNECTION_LOST);
    bed_close(&bed);
  }
}

static void a_session_that_died_at_rest_is_lost_before_anything_is_sent(void **state)
{
  (void)state;
  for (int round = 0; round < 2; round++) {
    struct bed bed;
    struct rig_flight flight;
    char sql[96];
    bed_open(&bed, var("POSTGRES_URL"), false);
    push(&bed, &flight, "SELECT pg_backend_pid()");
    expect(&bed, &flight, CENOTE_ANSWER_DONE);
    snprintf(sql, sizeof(sql), "SELECT pg_terminate_backend(%lld)::int",
             (long long)cenote_result_integer(flight.result, 0, 0));
    rig_flight_free(&flight);
    assert_int_equal(number(&bed, sql), 1);
    nap_ms(100);
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
    bed_close(&bed);
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
    struct bed bed;
    struct rig_flight flights[DEPTH];
    bed_open(&bed, url, cut % 3 == 0);
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
    bed_close(&bed);
  }
  assert_true(whole > 0 && lost > 0);
  fault_proxy_stop(proxy);
}

static void a_killed_server_loses_all_that_is_in_flight(void **state)
{
  (void)state;
  struct bed bed;
  struct rig_flight flights[3];
  bed_open(&bed, var("POSTGRES_URL"), true);
  push(&bed, &flights[0], "SELECT 1");
  push(&bed, &flights[1], "SELECT pg_sleep(30)");
  push(&bed, &flights[2], "SELECT 2");
  expect_integer(&bed, &flights[0], 1);
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
  bed_close(&bed);
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
    c[k] = rig_connect(&pg.rig, &error);
    assert_non_null(c[k]);
    assert_int_equal(rig_pipe_begin(&pipes[k], &pg.rig, c[k], false, &error), CENOTE_OK);
  }
  for (int round = 0; round < 100; round++) {
    pipeline_round(pipes, flights, round);
  }
  for (int k = 0; k < CLIENTS; k++) {
    rig_pipe_end(&pipes[k]);
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
  struct bed bed;
  struct rig_flight flights[3];
  bed_open(&bed, var("PGBOUNCER_URL"), true);
  for (int i = 0; i < 3; i++) {
    push(&bed, &flights[i], "SELECT 1");
  }
  expect(&bed, &flights[0], CENOTE_ANSWER_LOST);
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
  bed_close(&bed);
  assert_int_equal(pg_fixture_ctl(&server, "bouncer-stop", NULL), 0);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(each_request_is_a_transaction_of_its_own),
      cmocka_unit_test(what_fails_at_its_sync_point_has_failed),
      cmocka_unit_test(what_has_no_place_in_a_pipeline_is_refused),
      cmocka_unit_test(the_servers_own_time_out_is_told_apart),
      cmocka_unit_test(raw_text_is_left_alone),
      cmocka_unit_test(statements_are_prepared_once_though_many_are_in_flight),
      cmocka_unit_test(a_stale_plan_is_to_be_repeated_by_all_that_had_it),
      cmocka_unit_test(statements_deallocated_behind_our_back_are_to_be_repeated),
      cmocka_unit_test(a_statement_that_cannot_be_prepared_fails_for_all_with_its_own_error),
      cmocka_unit_test(statements_that_fall_out_of_the_cache_are_deallocated),
      cmocka_unit_test(a_read_only_session_reads_and_is_as_new_after_its_reset),
      cmocka_unit_test(a_session_that_was_touched_is_dirty_after_leaving),
      cmocka_unit_test(when_both_sides_buffers_are_full_nobody_hangs),
      cmocka_unit_test(a_result_that_is_not_wanted_needs_no_memory),
      cmocka_unit_test(a_second_one_can_be_cancelled_while_the_first_cancel_is_under_way),
      cmocka_unit_test(over_a_network_a_cancel_that_did_not_arrive_breaks_the_session),
      cmocka_unit_test(a_backend_that_dies_at_any_point_loses_what_comes_after),
      cmocka_unit_test(a_session_that_died_at_rest_is_lost_before_anything_is_sent),
      cmocka_unit_test(answers_cut_anywhere_are_whole_or_lost),
      cmocka_unit_test(a_killed_server_loses_all_that_is_in_flight),
      cmocka_unit_test(behind_a_pooler_pipelines_work_and_sessions_are_not_made_read_only),
      cmocka_unit_test(behind_a_pooler_that_hides_they_do_too),
      cmocka_unit_test(a_pooler_that_hides_never_gets_a_read_only_session),
  };
  if (!pg_fixture_start(&server, NULL)) {
    return pg_fixture_skip(&server);
  }
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  cen_workers_stop();
  pg_fixture_stop(&server);
  return failed;
}
