/* The PostgreSQL driver with many requests in flight, on a real server: what is particular to it.
 * What every driver owes is in tests/driver/conformance_pipeline.c. */
#include "base/sanitized.h"
#include "driver/postgres/postgres.h"
#include "integration/postgres_bed.h"
#include "net/clock.h"
#include "support/pg_fixture.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

enum { PEAK_KIB = CEN_SANITIZED ? 300 << 10 : 32 << 10 };

static struct pg_fixture server;

static const char *var(const char *name)
{
  return pg_fixture_get(&server, name);
}

/* ------------------------------------------------------------------------- each for itself */

static void each_request_is_a_transaction_of_its_own(void **state)
{
  (void)state;
  struct pg_bed bed;
  struct rig_flight flights[5];
  pg_bed_open(&bed, var("POSTGRES_URL"), false);
  pg_bed_elsewhere(&bed, "CREATE TABLE single (a int PRIMARY KEY)");
  for (int round = 0; round < 3; round++) { /* the second time and the third they are prepared */
    pg_bed_elsewhere(&bed, "TRUNCATE single");
    pg_bed_push(&bed, &flights[0], "INSERT INTO single VALUES (1)");
    pg_bed_push(&bed, &flights[1], "INSERT INTO single VALUES (1)");
    pg_bed_push(&bed, &flights[2], "INSERT INTO single SELECT 5 / (1 - a) FROM single");
    pg_bed_push(&bed, &flights[3], "INSERT INTO single VALUES (2) RETURNING a");
    pg_bed_push(&bed, &flights[4], "SELECT count(*) FROM single");
    pg_bed_expect(&bed, &flights[0], CENOTE_ANSWER_DONE);
    assert_int_equal(cenote_result_affected_rows(flights[0].result), 1);
    rig_flight_free(&flights[0]);
    pg_bed_expect_state(&bed, &flights[1], "23505");
    pg_bed_expect_state(&bed, &flights[2], "22012");
    pg_bed_expect_integer(&bed, &flights[3], 2);
    pg_bed_expect_integer(&bed, &flights[4], 2);
  }
  pg_bed_close(&bed);
}

static void what_fails_at_its_sync_point_has_failed(void **state)
{
  (void)state;
  struct pg_bed bed;
  struct rig_flight flights[3];
  pg_bed_open(&bed, var("POSTGRES_URL"), false);
  pg_bed_elsewhere(
      &bed, "CREATE TABLE later (a int CONSTRAINT later_a UNIQUE DEFERRABLE INITIALLY DEFERRED)");
  pg_bed_elsewhere(&bed, "INSERT INTO later VALUES (1)");
  for (int round = 0; round < 3; round++) {
    pg_bed_push(&bed, &flights[0], "SELECT 1");
    pg_bed_push(&bed, &flights[1], "INSERT INTO later VALUES (1) RETURNING a");
    pg_bed_push(&bed, &flights[2], "SELECT count(*) FROM later");
    pg_bed_expect_integer(&bed, &flights[0], 1);
    pg_bed_expect_state(&bed, &flights[1], "23505"); /* its row had come, its commit did not */
    pg_bed_expect_integer(&bed, &flights[2], 1);
  }
  pg_bed_close(&bed);
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
  struct pg_bed bed;
  struct rig_flight flight;
  pg_bed_open(&bed, var("POSTGRES_URL"), false);
  for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
    assert_int_equal(rig_pipe_push(&bed.pipe, &flight, refused[i], NULL, 0, 0), CENOTE_UNSUPPORTED);
  }
  cenote_error error = CENOTE_ERROR_INIT;
  assert_int_equal(rig_do(&bed.pg.rig, bed.c, "SELECT 1"), CENOTE_INVALID); /* not request mode */
  assert_int_equal(bed.pg.rig.driver->pipelining->enter(bed.c, false, &error), CENOTE_INVALID);
  pg_bed_push(&bed, &flight, "SELECT 8");
  pg_bed_expect_integer(&bed, &flight, 8);
  pg_bed_close(&bed);
}

static void the_servers_own_time_out_is_told_apart(void **state)
{
  (void)state;
  struct pg_bed bed;
  struct rig_flight flights[2];
  char url[600];
  snprintf(url, sizeof(url), "%s%coptions=-c%%20statement_timeout%%3D100", var("POSTGRES_URL"),
           strchr(var("POSTGRES_URL"), '?') ? '&' : '?');
  pg_bed_open(&bed, url, false);
  pg_bed_push(&bed, &flights[0], "SELECT pg_sleep(20)");
  pg_bed_push(&bed, &flights[1], "SELECT 9");
  pg_bed_expect(&bed, &flights[0], CENOTE_ANSWER_FAILED);
  assert_int_equal(flights[0].error.status, CENOTE_STATEMENT_TIMEOUT);
  assert_string_equal(flights[0].error.sqlstate, "57014");
  rig_flight_free(&flights[0]);
  pg_bed_expect_integer(&bed, &flights[1], 9);
  pg_bed_close(&bed);
}

static void raw_text_is_left_alone(void **state)
{
  (void)state;
  struct pg_bed bed;
  struct rig_flight flights[2];
  memset(flights, 0, sizeof(flights));
  pg_bed_open(&bed, var("POSTGRES_URL"), false);
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
  pg_bed_expect(&bed, &flights[0], CENOTE_ANSWER_DONE);
  assert_string_equal(cenote_result_text(flights[0].result, 0, 0), "t");
  assert_string_equal(cenote_result_text(flights[0].result, 0, 1), "\\x4142");
  pg_bed_expect(&bed, &flights[1], CENOTE_ANSWER_DONE);
  assert_int_equal(cenote_result_value(flights[1].result, 0, 0).type, CENOTE_BOOLEAN);
  assert_int_equal(cenote_result_value(flights[1].result, 0, 1).size, 2);
  rig_flight_free(&flights[0]);
  rig_flight_free(&flights[1]);
  pg_bed_close(&bed);
}

/* ------------------------------------------------------------------------ prepared statements */

static void statements_are_prepared_once_though_many_are_in_flight(void **state)
{
  (void)state;
  struct pg_bed bed;
  struct rig_flight flights[12];
  pg_bed_open(&bed, var("POSTGRES_URL"), false);
  for (int i = 0; i < 11; i++) {
    pg_bed_push(&bed, &flights[i], "SELECT 4711");
  }
  pg_bed_push(&bed, &flights[11],
              "SELECT count(*) FROM pg_prepared_statements WHERE statement = 'SELECT 4711'");
  for (int i = 0; i < 11; i++) {
    pg_bed_expect_integer(&bed, &flights[i], 4711);
  }
  pg_bed_expect_integer(&bed, &flights[11], 1);
  pg_bed_close(&bed);
}

/* Pushes it again as long as it is to be repeated; how often that was. */
static int push_until_settled(struct pg_bed *bed, struct rig_flight *flight, const char *sql)
{
  int repeats = 0;
  pg_bed_push(bed, flight, sql);
  assert_ptr_equal(rig_pipe_next(&bed->pipe), flight);
  while (flight->answer == CENOTE_ANSWER_REPEAT) {
    assert_true(++repeats <= 2);
    pg_bed_push(bed, flight, sql);
    assert_ptr_equal(rig_pipe_next(&bed->pipe), flight);
  }
  return repeats;
}

static void a_stale_plan_is_to_be_repeated_by_all_that_had_it(void **state)
{
  (void)state;
  static const char sql[] = "SELECT * FROM stale";
  struct pg_bed bed;
  struct rig_flight flights[8];
  pg_bed_open(&bed, var("POSTGRES_URL"), false);
  pg_bed_elsewhere(&bed, "CREATE TABLE stale (a int)");
  pg_bed_elsewhere(&bed, "INSERT INTO stale VALUES (7)");
  for (int round = 0; round < 4; round++) {
    for (int i = 0; i < 3; i++) {
      assert_int_equal(push_until_settled(&bed, &flights[0], sql), 0);
      assert_int_equal(flights[0].answer, CENOTE_ANSWER_DONE);
      rig_flight_free(&flights[0]);
    }
    char alter[64];
    snprintf(alter, sizeof(alter), "ALTER TABLE stale ADD COLUMN more%d int", round);
    if (round % 2 == 0) {
      pg_bed_elsewhere(&bed, alter);
    }
    for (int i = 0; i < 8; i++) {
      pg_bed_push(&bed, &flights[i], round % 2 == 1 && i == 3 ? alter : sql);
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
  pg_bed_close(&bed);
}

static void statements_deallocated_behind_our_back_are_to_be_repeated(void **state)
{
  (void)state;
  struct pg_bed bed;
  struct rig_flight flights[6];
  pg_bed_open(&bed, var("POSTGRES_URL"), false);
  pg_bed_elsewhere(&bed, "CREATE FUNCTION forget_all() RETURNS void LANGUAGE plpgsql AS "
                         "$$ BEGIN EXECUTE 'DEALLOCATE ALL'; END $$");
  for (int round = 0; round < 2; round++) {
    assert_int_equal(pg_rig_session(&bed.pg, bed.c) & CENOTE_SESSION_BROKEN, 0);
    for (int i = 0; i < 3; i++) {
      (void)push_until_settled(&bed, &flights[0], "SELECT 51");
      rig_flight_free(&flights[0]);
    }
    pg_bed_push(&bed, &flights[0], "SELECT forget_all()");
    for (int i = 1; i < 6; i++) {
      pg_bed_push(&bed, &flights[i], "SELECT 51");
    }
    pg_bed_expect(&bed, &flights[0], CENOTE_ANSWER_DONE);
    rig_flight_free(&flights[0]);
    for (int i = 1; i < 6; i++) {
      pg_bed_expect(&bed, &flights[i], CENOTE_ANSWER_REPEAT);
      rig_flight_free(&flights[i]);
    }
    assert_int_equal(push_until_settled(&bed, &flights[0], "SELECT 51"), 0);
    assert_int_equal(flights[0].answer, CENOTE_ANSWER_DONE);
    rig_flight_free(&flights[0]);
  }
  /* Five that were gone with one preparation count once. With the third the session is to be
   * replaced, and still answers; that alone says nothing about a pooler. */
  assert_int_equal(pg_rig_session(&bed.pg, bed.c) & CENOTE_SESSION_BROKEN, 0);
  assert_true(push_until_settled(&bed, &flights[0], "SELECT forget_all()") > 0);
  rig_flight_free(&flights[0]);
  assert_int_equal(push_until_settled(&bed, &flights[0], "SELECT 51"), 0);
  assert_int_equal(flights[0].answer, CENOTE_ANSWER_DONE);
  rig_flight_free(&flights[0]);
  assert_int_equal(pg_rig_session(&bed.pg, bed.c) & CENOTE_SESSION_BROKEN, CENOTE_SESSION_BROKEN);
  assert_false(pg_rig_logged(&bed.pg, "pooler"));
  pg_bed_close(&bed);
}

static void a_statement_that_cannot_be_prepared_fails_for_all_with_its_own_error(void **state)
{
  (void)state;
  static const char sql[] = "SELECT * FROM nowhere_to_be_found";
  struct pg_bed bed;
  struct rig_flight flights[9];
  pg_bed_open(&bed, var("POSTGRES_URL"), false);
  for (int i = 0; i < 9; i++) {
    pg_bed_push(&bed, &flights[i], sql);
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
  pg_bed_elsewhere(&bed, "CREATE TABLE nowhere_to_be_found (a int)");
  for (int i = 0; i < 60; i++) {
    assert_int_equal(push_until_settled(&bed, &flights[0], sql), 0);
    assert_int_equal(flights[0].answer, CENOTE_ANSWER_DONE);
    rig_flight_free(&flights[0]);
  }
  assert_false(pg_rig_logged(&bed.pg, "pooler"));
  pg_bed_close(&bed);
}

static void statements_that_fall_out_of_the_cache_are_deallocated(void **state)
{
  (void)state;
  struct pg_bed bed;
  struct rig_flight flights[16];
  pg_bed_open(&bed, var("POSTGRES_URL"), false);
  for (int i = 0; i < 600; i++) {
    char sql[40];
    snprintf(sql, sizeof(sql), "SELECT %d", i);
    for (int k = 0; k < 4; k++) {
      pg_bed_push(&bed, &flights[k], sql);
    }
    if (i == 300) {
      bed.pg.rig.driver->shrink(bed.c); /* with four in flight that know it */
    }
    for (int k = 0; k < 4; k++) {
      pg_bed_expect_integer(&bed, &flights[k], i);
    }
  }
  pg_bed_push(&bed, &flights[0], "SELECT count(*) FROM pg_prepared_statements");
  pg_bed_expect(&bed, &flights[0], CENOTE_ANSWER_DONE);
  int64_t held = cenote_result_integer(flights[0].result, 0, 0);
  rig_flight_free(&flights[0]);
  assert_true(held >= 64 && held <= CEN_STATEMENT_CACHE + 16);
  bed.pg.rig.driver->shrink(bed.c);
  for (int i = 0; i < 40; i++) { /* a check buries some */
    assert_int_equal(rig_pipe_check(&bed.pipe, &flights[0]), CENOTE_OK);
    pg_bed_expect(&bed, &flights[0], CENOTE_ANSWER_DONE);
  }
  pg_bed_push(&bed, &flights[0], "SELECT count(*) FROM pg_prepared_statements");
  pg_bed_expect_integer(&bed, &flights[0], 0);
  pg_bed_close(&bed);
}

/* ----------------------------------------------------------------------------- read-only */

static void a_read_only_session_reads_and_is_as_new_after_its_reset(void **state)
{
  (void)state;
  struct pg_bed bed;
  struct rig_flight flights[4];
  pg_bed_open(&bed, var("POSTGRES_URL"), true);
  pg_bed_elsewhere(&bed, "CREATE TABLE guarded (a int)");
  pg_bed_elsewhere(&bed, "CREATE FUNCTION sneak() RETURNS int LANGUAGE plpgsql AS "
                         "$$ BEGIN INSERT INTO guarded VALUES (1); RETURN 1; END $$");
  for (int round = 0; round < 3; round++) {
    pg_bed_push(&bed, &flights[0], "SELECT count(*) FROM guarded");
    pg_bed_push(&bed, &flights[1], "INSERT INTO guarded VALUES (1)");
    pg_bed_push(&bed, &flights[2], "SELECT sneak()");
    pg_bed_push(&bed, &flights[3], "SELECT 3");
    pg_bed_expect_integer(&bed, &flights[0], 0);
    pg_bed_expect_state(&bed, &flights[1], "25006");
    pg_bed_expect_state(&bed, &flights[2], "25006");
    pg_bed_expect_integer(&bed, &flights[3], 3);
    assert_int_equal(pg_rig_session(&bed.pg, bed.c), CENOTE_SESSION_DIRTY);
  }
  rig_pipe_end(&bed.pipe);
  assert_int_equal(pg_rig_session(&bed.pg, bed.c), CENOTE_SESSION_DIRTY);
  assert_int_equal(rig_kind(&bed.pg.rig, bed.c, CENOTE_REQUEST_RESET, NULL), CENOTE_OK);
  assert_int_equal(pg_rig_session(&bed.pg, bed.c), 0);
  assert_int_equal(rig_do(&bed.pg.rig, bed.c, "INSERT INTO guarded VALUES (2)"), CENOTE_OK);
  pg_bed_close(&bed);
}

static void a_session_that_was_touched_is_dirty_after_leaving(void **state)
{
  (void)state;
  struct pg_bed bed;
  struct rig_flight flight;
  pg_bed_open(&bed, var("POSTGRES_URL"), false);
  pg_bed_elsewhere(&bed, "CREATE TABLE touched (a int)");
  pg_bed_elsewhere(&bed, "CREATE FUNCTION touch_it() RETURNS trigger LANGUAGE plpgsql AS "
                         "$$ BEGIN SET TIME ZONE 'Asia/Tokyo'; RETURN new; END $$");
  pg_bed_elsewhere(&bed, "CREATE TRIGGER touch_it BEFORE INSERT ON touched FOR EACH ROW "
                         "EXECUTE FUNCTION touch_it()");
  pg_bed_push(&bed, &flight, "SELECT 1");
  pg_bed_expect_integer(&bed, &flight, 1);
  assert_int_equal(pg_rig_session(&bed.pg, bed.c), 0);
  pg_bed_push(&bed, &flight, "INSERT INTO touched VALUES (1)");
  pg_bed_expect(&bed, &flight, CENOTE_ANSWER_DONE);
  rig_flight_free(&flight);
  rig_pipe_end(&bed.pipe);
  assert_int_equal(pg_rig_session(&bed.pg, bed.c), CENOTE_SESSION_DIRTY);
  assert_int_equal(rig_kind(&bed.pg.rig, bed.c, CENOTE_REQUEST_RESET, NULL), CENOTE_OK);
  assert_int_equal(pg_rig_session(&bed.pg, bed.c), 0);
  pg_bed_close(&bed);
}

/* -------------------------------------------------------------------------- much of it */

static void when_both_sides_buffers_are_full_nobody_hangs(void **state)
{
  enum { COUNT = 120, SIZE = 300000 };
  (void)state;
  struct pg_bed bed;
  struct rig_flight *flights = calloc(COUNT, sizeof(*flights));
  char *text = malloc(SIZE + 1);
  cenote_wants wants;
  bool saw_full = false;
  assert_non_null(flights);
  assert_non_null(text);
  pg_bed_open(&bed, var("POSTGRES_URL"), false);
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
    pg_bed_expect(&bed, &flights[i], CENOTE_ANSWER_DONE);
    const char *got = cenote_result_text(flights[i].result, 0, 0);
    assert_int_equal(got[0], 'a' + i % 26);
    assert_int_equal(strlen(got), SIZE);
    rig_flight_free(&flights[i]);
  }
  free(text);
  free(flights);
  pg_bed_close(&bed);
}

static void a_result_that_is_not_wanted_needs_no_memory(void **state)
{
  (void)state;
  struct pg_bed bed;
  struct rig_flight much, after;
  struct rusage before, done;
  pg_bed_open(&bed, var("POSTGRES_URL"), false);
  assert_int_equal(getrusage(RUSAGE_SELF, &before), 0);
  for (int round = 0; round < 2; round++) {
    assert_int_equal(rig_pipe_push(&bed.pipe, &much,
                                   "SELECT g, repeat('x', 900) FROM generate_series(1, 100000) g",
                                   NULL, 0, 50),
                     CENOTE_OK);
    pg_bed_push(&bed, &after, "SELECT 1");
    pg_bed_expect(&bed, &much, CENOTE_ANSWER_ENOUGH);
    pg_bed_expect(&bed, &much, CENOTE_ANSWER_FAILED);
    assert_int_equal(much.error.status, CENOTE_TOO_LARGE);
    rig_flight_free(&much);
    pg_bed_expect_integer(&bed, &after, 1);
  }
  assert_int_equal(getrusage(RUSAGE_SELF, &done), 0);
  /* 180 MB went through */
  assert_true(done.ru_maxrss - before.ru_maxrss < PEAK_KIB);
  /* cancelled, it ends long before its time */
  assert_int_equal(
      rig_pipe_push(&bed.pipe, &much, "SELECT generate_series(1, 2000000000)", NULL, 0, 50),
      CENOTE_OK);
  pg_bed_expect(&bed, &much, CENOTE_ANSWER_ENOUGH);
  bed.pg.rig.driver->cancel(bed.c);
  pg_bed_expect(&bed, &much, CENOTE_ANSWER_FAILED);
  assert_int_equal(much.error.status, CENOTE_TOO_LARGE);
  rig_flight_free(&much);
  pg_bed_close(&bed);
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
  };
  return pg_rig_main(&server, NULL, tests, sizeof(tests) / sizeof(tests[0]));
}
