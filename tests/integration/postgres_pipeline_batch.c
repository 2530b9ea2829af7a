/* Reads that share a sync point, on a real server: each has its own outcome all the same. */
#include "integration/postgres_bed.h"
#include "net/clock.h"
#include "support/pg_fixture.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

enum { FIVE = 5, TRIES = 4000 };

static struct pg_fixture server;
static const char *const batch_of_8[] = {"simple_batch", "8", NULL};

/* Column 0: whose it is; column 1: the time at which its transaction began. */
static const char *const quick[FIVE] = {
    "SELECT 0, transaction_timestamp()::text", "SELECT 1, transaction_timestamp()::text",
    "SELECT 2, transaction_timestamp()::text", "SELECT 3, transaction_timestamp()::text",
    "SELECT 4, transaction_timestamp()::text"};
/* Fails when fickle.a is 0, waits while fickle is locked. */
static const char fickle[] = "SELECT 9 / a, transaction_timestamp()::text FROM fickle";

static const char *var(const char *name)
{
  return pg_fixture_get(&server, name);
}

static void nap_ms(int64_t ms)
{
  struct timespec ts = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
  nanosleep(&ts, NULL);
}

static void open_bed(struct pg_bed *bed)
{
  pg_bed_open_with(bed, var("POSTGRES_URL"), batch_of_8);
  pg_bed_elsewhere(bed, "DROP TABLE IF EXISTS fickle");
  pg_bed_elsewhere(bed, "CREATE TABLE fickle (a int)");
  pg_bed_elsewhere(bed, "INSERT INTO fickle VALUES (1)");
}

static void free_all(struct rig_flight *flights, size_t count)
{
  for (size_t i = 0; i < count; i++) {
    rig_flight_free(&flights[i]);
  }
}

static void push_all(struct pg_bed *bed, struct rig_flight *flights, const char *const *sql,
                     size_t count)
{
  for (size_t i = 0; i < count; i++) {
    pg_bed_push(bed, &flights[i], sql[i]);
  }
}

/* All in one go; how many transactions that were. Repeats some, as a caller would. */
static size_t transactions(struct pg_bed *bed, const char *const *sql, size_t count)
{
  struct rig_flight *flights = calloc(count, sizeof(*flights));
  char last[64] = "";
  size_t answer = 0;
  assert_non_null(flights);
  push_all(bed, flights, sql, count);
  for (size_t i = 0; i < count; i++) {
    pg_bed_expect(bed, &flights[i], CENOTE_ANSWER_DONE);
    const char *began = cenote_result_text(flights[i].result, 0, 1);
    answer += strcmp(began, last) != 0;
    snprintf(last, sizeof(last), "%s", began);
    rig_flight_free(&flights[i]);
  }
  free(flights);
  return answer;
}

/* Until they are prepared, and no mishap is remembered: then they are one batch. */
static void warm(struct pg_bed *bed, const char *const *sql, size_t count)
{
  for (int i = 0; i < TRIES; i++) {
    if (transactions(bed, sql, count) == 1) {
      return;
    }
  }
  fail_msg("they never shared a sync point");
}

/* A statement that took long for no reason of its own is alone for a while: the machine is busy.
 * Then an experiment says nothing. */
static void until_it_was_a_batch(bool (*experiment)(struct pg_bed *, size_t), struct pg_bed *bed,
                                 size_t at)
{
  for (int i = 0; i < 20; i++) {
    if (experiment(bed, at)) {
      return;
    }
  }
  fail_msg("they never shared a sync point");
}

static void with_fickle_at(const char *sql[FIVE], size_t at)
{
  for (size_t i = 0; i < FIVE; i++) {
    sql[i] = i == at ? fickle : quick[i];
  }
}

/* ------------------------------------------------------------------------------ sharing */

static void reads_pushed_together_are_one_transaction(void **state)
{
  (void)state;
  struct pg_bed bed;
  open_bed(&bed);
  assert_int_equal(transactions(&bed, quick, FIVE), FIVE); /* the first time: nobody knows them */
  warm(&bed, quick, FIVE);
  const char *many[20];
  for (size_t i = 0; i < 20; i++) {
    many[i] = quick[i % FIVE];
  }
  size_t count = 20;
  for (int i = 0; i < TRIES && count != 3; i++) {
    count = transactions(&bed, many, 20);
    assert_true(count >= 3);
  }
  assert_int_equal(count, 3);         /* of 8, 8 and 4 */
  for (size_t i = 0; i < FIVE; i++) { /* what is sent is no part of a later batch */
    assert_int_equal(transactions(&bed, &quick[i], 1), 1);
  }
  pg_bed_close(&bed);
}

static void without_the_setting_each_has_its_own(void **state)
{
  (void)state;
  static const char *const one[] = {"simple_batch", "1", NULL};
  for (int round = 0; round < 3; round++) {
    struct pg_bed bed;
    if (round == 0) {
      pg_bed_open(&bed, var("POSTGRES_URL"), true);
    } else {
      pg_bed_open_with(&bed, var("POSTGRES_URL"), round == 1 ? one : batch_of_8);
    }
    bed.pipe.flags = round == 2 ? CENOTE_REQUEST_ALONE : 0;
    for (int i = 0; i < 10; i++) {
      assert_int_equal(transactions(&bed, quick, FIVE), FIVE);
    }
    pg_bed_close(&bed);
  }
}

static void what_may_write_never_shares(void **state)
{
  (void)state;
  struct pg_bed bed;
  open_bed(&bed);
  rig_pipe_end(&bed.pipe);
  assert_int_equal(rig_kind(&bed.pg.rig, bed.c, CENOTE_REQUEST_RESET, NULL), CENOTE_OK);
  assert_int_equal(rig_pipe_begin(&bed.pipe, &bed.pg.rig, bed.c, false, NULL), CENOTE_OK);
  for (int i = 0; i < 10; i++) {
    assert_int_equal(transactions(&bed, quick, FIVE), FIVE);
  }
  pg_bed_close(&bed);
}

/* There only the commit says whether a read has read right. */
static void serializable_sessions_share_nothing(void **state)
{
  (void)state;
  struct pg_bed bed;
  char url[512];
  snprintf(url, sizeof(url), "%s%soptions=-cdefault_transaction_isolation%%3Dserializable",
           var("POSTGRES_URL"), strchr(var("POSTGRES_URL"), '?') ? "&" : "?");
  pg_bed_open_with(&bed, url, batch_of_8);
  for (int i = 0; i < 10; i++) {
    assert_int_equal(transactions(&bed, quick, FIVE), FIVE);
  }
  pg_bed_close(&bed);
}

static void a_slow_read_is_alone_the_next_time(void **state)
{
  (void)state;
  struct pg_bed bed;
  struct rig_flight flights[FIVE];
  open_bed(&bed);
  const char *sql[FIVE];
  with_fickle_at(sql, 2);
  warm(&bed, sql, FIVE);
  assert_int_equal(rig_begin(&bed.pg.rig, bed.other, CENOTE_BATCH_WRITE, NULL), CENOTE_OK);
  pg_bed_elsewhere(&bed, "LOCK TABLE fickle");
  push_all(&bed, flights, sql, FIVE);
  rig_pipe_send(&bed.pipe);
  nap_ms(30);
  assert_int_equal(rig_kind(&bed.pg.rig, bed.other, CENOTE_REQUEST_ROLLBACK, NULL), CENOTE_OK);
  for (int i = 0; i < FIVE; i++) {
    pg_bed_expect(&bed, &flights[i], CENOTE_ANSWER_DONE);
    rig_flight_free(&flights[i]);
  }
  assert_true(transactions(&bed, sql, FIVE) > 1);
  warm(&bed, sql, FIVE); /* it was quick many times: it may come back */
  pg_bed_close(&bed);
}

/* ------------------------------------------------------------------------------- failing */

static bool one_fails(struct pg_bed *bed, size_t at)
{
  struct rig_flight flights[FIVE];
  const char *sql[FIVE];
  with_fickle_at(sql, at);
  warm(bed, sql, FIVE);
  pg_bed_elsewhere(bed, "UPDATE fickle SET a = 0");
  bool batch = true;
  push_all(bed, flights, sql, FIVE);
  for (size_t i = 0; i < FIVE; i++) {
    assert_ptr_equal(rig_pipe_next(&bed->pipe), &flights[i]);
    if (i == at) {
      assert_int_equal(flights[i].answer, CENOTE_ANSWER_FAILED);
      assert_string_equal(flights[i].error.sqlstate, "22012");
    } else if (flights[i].answer == CENOTE_ANSWER_REPEAT) {
      assert_true(i > at);
      assert_string_equal(flights[i].error.sqlstate, "25P02");
    } else {
      assert_int_equal(flights[i].answer, CENOTE_ANSWER_DONE);
      assert_int_equal(cenote_result_integer(flights[i].result, 0, 0), (int64_t)i);
      batch = batch && i < at;
    }
  }
  free_all(flights, FIVE);
  assert_true(!batch || transactions(bed, quick, FIVE) == FIVE); /* careful for a while */
  pg_bed_elsewhere(bed, "UPDATE fickle SET a = 1");
  return batch;
}

static void an_error_passes_over_exactly_those_behind_it(void **state)
{
  (void)state;
  struct pg_bed bed;
  open_bed(&bed);
  for (size_t at = 0; at < FIVE; at++) {
    until_it_was_a_batch(one_fails, &bed, at);
  }
  pg_bed_close(&bed);
}

static void one_that_wants_to_be_alone_is_not_disturbed(void **state)
{
  (void)state;
  struct pg_bed bed;
  struct rig_flight flights[FIVE];
  open_bed(&bed);
  for (size_t at = 0; at < FIVE; at++) {
    const char *sql[FIVE];
    with_fickle_at(sql, at);
    warm(&bed, sql, FIVE);
    pg_bed_elsewhere(&bed, "UPDATE fickle SET a = 0");
    for (size_t i = 0; i < FIVE; i++) {
      bed.pipe.flags = i == at ? 0 : CENOTE_REQUEST_ALONE;
      pg_bed_push(&bed, &flights[i], sql[i]);
    }
    bed.pipe.flags = 0;
    for (size_t i = 0; i < FIVE; i++) {
      if (i == at) {
        pg_bed_expect_state(&bed, &flights[i], "22012");
      } else {
        pg_bed_expect_integer(&bed, &flights[i], (int64_t)i);
      }
    }
    pg_bed_elsewhere(&bed, "UPDATE fickle SET a = 1");
  }
  pg_bed_close(&bed);
}

/* A view hides a function that writes to a temporary table, whose constraint is looked at by the
 * commit: the only way for a read to fail there. */
static const char late[] = "SELECT i, transaction_timestamp()::text FROM late";

static bool the_sync_fails(struct pg_bed *bed, size_t at)
{
  struct rig_flight flights[FIVE];
  const char *sql[FIVE];
  memcpy(sql, quick, sizeof(sql));
  sql[at] = late;
  warm(bed, sql, FIVE);
  pg_bed_elsewhere(bed, "UPDATE fickle SET a = 0");
  push_all(bed, flights, sql, FIVE);
  bool batch = false;
  for (size_t i = 0; i < FIVE; i++) {
    assert_ptr_equal(rig_pipe_next(&bed->pipe), &flights[i]);
    if (flights[i].answer == CENOTE_ANSWER_REPEAT) {
      assert_int_equal(i, FIVE - 1);
      assert_string_equal(flights[i].error.sqlstate, "25P02");
      batch = true;
    } else if (flights[i].answer == CENOTE_ANSWER_FAILED) { /* alone: its own error */
      assert_int_equal(i, at);
      assert_string_equal(flights[i].error.sqlstate, "23505");
    } else {
      assert_int_equal(flights[i].answer, CENOTE_ANSWER_DONE);
    }
  }
  free_all(flights, FIVE);
  for (size_t i = 0; i < FIVE; i++) { /* repeated alone it is everybody's own */
    bed->pipe.flags = CENOTE_REQUEST_ALONE;
    pg_bed_push(bed, &flights[i], sql[i]);
    if (i == at) {
      pg_bed_expect_state(bed, &flights[i], "23505");
    } else {
      pg_bed_expect_integer(bed, &flights[i], (int64_t)i);
    }
  }
  bed->pipe.flags = 0;
  pg_bed_elsewhere(bed, "UPDATE fickle SET a = 1");
  return batch;
}

static void a_sync_point_that_fails_is_nobodys_success_by_mistake(void **state)
{
  (void)state;
  struct pg_bed bed;
  struct rig_flight flight;
  open_bed(&bed);
  rig_pipe_end(&bed.pipe);
  assert_int_equal(rig_kind(&bed.pg.rig, bed.c, CENOTE_REQUEST_RESET, NULL), CENOTE_OK);
  assert_int_equal(rig_do(&bed.pg.rig, bed.c,
                          "CREATE TEMPORARY TABLE twice (a int UNIQUE DEFERRABLE INITIALLY "
                          "DEFERRED)"),
                   CENOTE_OK);
  pg_bed_elsewhere(&bed, "CREATE FUNCTION write_late() RETURNS int LANGUAGE plpgsql AS $$ BEGIN "
                         "DELETE FROM pg_temp.twice; INSERT INTO pg_temp.twice VALUES (1); "
                         "INSERT INTO pg_temp.twice SELECT 1 FROM fickle WHERE a = 0; "
                         "RETURN 7; END $$");
  pg_bed_elsewhere(&bed, "CREATE VIEW late AS SELECT write_late() AS i");
  assert_int_equal(rig_pipe_begin(&bed.pipe, &bed.pg.rig, bed.c, true, NULL), CENOTE_OK);
  pg_bed_push(&bed, &flight, late);
  pg_bed_expect_integer(&bed, &flight, 7);
  until_it_was_a_batch(the_sync_fails, &bed, 1);
  until_it_was_a_batch(the_sync_fails, &bed, FIVE - 1);
  pg_bed_close(&bed);
}

/* -------------------------------------------------------------------- stopping and dying */

/* Pushes five of which one is stuck; gives them time to get there. */
static void get_stuck(struct pg_bed *bed, struct rig_flight *flights, size_t at)
{
  const char *sql[FIVE];
  with_fickle_at(sql, at);
  warm(bed, sql, FIVE);
  assert_int_equal(rig_begin(&bed->pg.rig, bed->other, CENOTE_BATCH_WRITE, NULL), CENOTE_OK);
  pg_bed_elsewhere(bed, "LOCK TABLE fickle");
  push_all(bed, flights, sql, FIVE);
  rig_pipe_send(&bed->pipe);
  int64_t waiting = 0;
  for (int i = 0; i < 2000 && waiting == 0; i++) {
    waiting = pg_bed_number(bed, "SELECT count(*) FROM pg_locks WHERE NOT granted");
    nap_ms(waiting == 0 ? 2 : 0);
  }
  assert_int_equal(waiting, 1);
}

static void get_loose(struct pg_bed *bed)
{
  assert_int_equal(rig_kind(&bed->pg.rig, bed->other, CENOTE_REQUEST_ROLLBACK, NULL), CENOTE_OK);
}

static bool cancelled_when_stuck(struct pg_bed *bed, size_t at)
{
  struct rig_flight flights[FIVE];
  bool batch = true;
  cenote_wants wants;
  get_stuck(bed, flights, at);
  bed->pg.rig.driver->pipelining->wants(bed->c, &wants);
  struct pollfd input = {.fd = wants.fd, .events = POLLIN};
  if (poll(&input, 1, 0) != 0) { /* the oldest is over already: it would be cancelled in vain */
    get_loose(bed);
    assert_true(rig_pipe_drain(&bed->pipe));
    free_all(flights, FIVE);
    return false;
  }
  bed->pg.rig.driver->cancel(bed->c);
  for (size_t i = 0; i < FIVE; i++) {
    assert_ptr_equal(rig_pipe_next(&bed->pipe), &flights[i]);
    if (i == at) {
      assert_int_equal(flights[i].answer, CENOTE_ANSWER_FAILED);
      assert_string_equal(flights[i].error.sqlstate, "57014");
      /* it was meant for the oldest, whose answer the server held back */
      assert_true(flights[i].error.status == CENOTE_CANCELLED || at > 0);
    } else if (flights[i].answer != CENOTE_ANSWER_DONE) {
      assert_true(i > at);
      assert_true(flights[i].answer == CENOTE_ANSWER_REPEAT ||
                  strcmp(flights[i].error.sqlstate, "57014") == 0);
    } else {
      batch = batch && i < at;
    }
  }
  free_all(flights, FIVE);
  get_loose(bed);
  pg_bed_outlast_cancel(bed);
  assert_int_equal(bed->pg.rig.driver->session(bed->c), CENOTE_SESSION_DIRTY);
  return batch;
}

static void a_cancel_ends_what_runs_and_passes_over_those_behind(void **state)
{
  (void)state;
  struct pg_bed bed;
  open_bed(&bed);
  for (size_t at = 0; at < FIVE; at++) {
    until_it_was_a_batch(cancelled_when_stuck, &bed, at);
  }
  pg_bed_close(&bed);
}

static bool told_while_stuck(struct pg_bed *bed, size_t at)
{
  struct rig_flight flights[FIVE];
  cenote_wants wants;
  get_stuck(bed, flights, at);
  bed->pg.rig.driver->pipelining->wants(bed->c, &wants);
  const bool together = wants.together;
  get_loose(bed);
  for (size_t i = 0; i < FIVE; i++) {
    pg_bed_expect(bed, &flights[i], CENOTE_ANSWER_DONE);
    rig_flight_free(&flights[i]);
  }
  bed->pg.rig.driver->pipelining->wants(bed->c, &wants);
  assert_false(wants.together);
  return together;
}

static void whoever_waits_is_told_that_others_may_be_in_the_way(void **state)
{
  (void)state;
  struct pg_bed bed;
  struct rig_flight flight;
  cenote_wants wants;
  open_bed(&bed);
  for (size_t at = 0; at < FIVE; at++) {
    until_it_was_a_batch(told_while_stuck, &bed, at);
  }
  pg_bed_push(&bed, &flight, "SELECT 1 WHERE true");
  bed.pg.rig.driver->pipelining->wants(bed.c, &wants);
  assert_false(wants.together);
  pg_bed_expect_integer(&bed, &flight, 1);
  pg_bed_close(&bed);
}

static void a_backend_that_dies_in_a_batch_loses_what_is_not_answered(void **state)
{
  (void)state;
  for (size_t at = 0; at < FIVE; at++) {
    struct pg_bed bed;
    struct rig_flight flights[FIVE];
    bool lost = false;
    open_bed(&bed);
    get_stuck(&bed, flights, at);
    pg_bed_elsewhere(&bed, "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE NOT granted");
    for (size_t i = 0; i < FIVE && !lost; i++) {
      assert_ptr_equal(rig_pipe_next(&bed.pipe), &flights[i]);
      lost = flights[i].answer == CENOTE_ANSWER_LOST;
      if (!lost) {
        assert_true(i < at);
        assert_int_equal(flights[i].answer, CENOTE_ANSWER_DONE);
        assert_int_equal(cenote_result_integer(flights[i].result, 0, 0), (int64_t)i);
      }
    }
    assert_true(lost);
    free_all(flights, FIVE);
    get_loose(&bed);
    assert_true(bed.pg.rig.driver->session(bed.c) & CENOTE_SESSION_BROKEN);
    pg_bed_close(&bed);
  }
}

/* Between pushing and asking what to wait for there is no sync point yet. */
static void a_batch_that_was_never_sent_harms_nobody(void **state)
{
  (void)state;
  struct pg_bed bed;
  struct rig_flight flights[FIVE];
  open_bed(&bed);
  warm(&bed, quick, FIVE);
  push_all(&bed, flights, quick, FIVE);
  cenote_error error = CENOTE_ERROR_INIT;
  (void)bed.pg.rig.driver->pipelining->read(bed.c, 0,
                                            &error); /* unasked: it is sent all the same */
  for (size_t i = 0; i < FIVE; i++) {
    pg_bed_expect_integer(&bed, &flights[i], (int64_t)i);
  }
  push_all(&bed, flights, quick, 3);
  rig_pipe_end(&bed.pipe); /* leaves with three in the air */
  assert_true(bed.pg.rig.driver->session(bed.c) & CENOTE_SESSION_BROKEN);
  free_all(flights, 3);
  pg_bed_close(&bed);
}

/* ------------------------------------------------------------------------------- results */

static const char rows[] =
    "SELECT i, transaction_timestamp()::text FROM generate_series(1, 20000) i";

static void large_results_stand_between_small_ones(void **state)
{
  (void)state;
  struct pg_bed bed;
  struct rig_flight flights[FIVE];
  const char *sql[FIVE];
  open_bed(&bed);
  memcpy(sql, quick, sizeof(sql));
  sql[1] = sql[3] = rows;
  for (int round = 0; round < 10; round++) {
    push_all(&bed, flights, sql, FIVE);
    for (size_t i = 0; i < FIVE; i++) {
      pg_bed_expect(&bed, &flights[i], CENOTE_ANSWER_DONE);
      const bool large = sql[i] == rows;
      assert_int_equal(cenote_result_rows(flights[i].result), large ? 20000 : 1);
      assert_int_equal(cenote_result_integer(flights[i].result, large ? 19999 : 0, 0),
                       large ? 20000 : (int64_t)i);
      rig_flight_free(&flights[i]);
    }
  }
  pg_bed_close(&bed);
}

static void a_sink_that_has_enough_fails_alone(void **state)
{
  (void)state;
  static const char *const some = "SELECT i, transaction_timestamp()::text FROM "
                                  "generate_series(1, 300) i";
  struct pg_bed bed;
  struct rig_flight flights[FIVE];
  open_bed(&bed);
  for (size_t round = 0; round < 20; round++) {
    const size_t at = round % FIVE;
    const bool cancel = round >= 10;
    for (size_t i = 0; i < FIVE; i++) {
      assert_int_equal(rig_pipe_push(&bed.pipe, &flights[i], i == at ? some : quick[i], NULL, 0,
                                     i == at ? 100 : 0),
                       CENOTE_OK);
    }
    for (size_t i = 0; i < FIVE; i++) {
      assert_ptr_equal(rig_pipe_next(&bed.pipe), &flights[i]);
      if (flights[i].answer == CENOTE_ANSWER_ENOUGH) {
        assert_int_equal(i, at);
        if (cancel) {
          bed.pg.rig.driver->cancel(bed.c);
        }
        assert_ptr_equal(rig_pipe_next(&bed.pipe), &flights[i]);
      }
      if (i == at) {
        assert_int_equal(flights[i].answer, CENOTE_ANSWER_FAILED);
        assert_int_equal(flights[i].error.status, CENOTE_TOO_LARGE);
      } else if (flights[i].answer != CENOTE_ANSWER_DONE) {
        assert_true(cancel && i > at);
      } else {
        assert_int_equal(cenote_result_integer(flights[i].result, 0, 0), (int64_t)i);
      }
    }
    free_all(flights, FIVE);
    pg_bed_outlast_cancel(&bed);
  }
  pg_bed_close(&bed);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(reads_pushed_together_are_one_transaction),
      cmocka_unit_test(without_the_setting_each_has_its_own),
      cmocka_unit_test(what_may_write_never_shares),
      cmocka_unit_test(serializable_sessions_share_nothing),
      cmocka_unit_test(a_slow_read_is_alone_the_next_time),
      cmocka_unit_test(an_error_passes_over_exactly_those_behind_it),
      cmocka_unit_test(one_that_wants_to_be_alone_is_not_disturbed),
      cmocka_unit_test(a_sync_point_that_fails_is_nobodys_success_by_mistake),
      cmocka_unit_test(a_cancel_ends_what_runs_and_passes_over_those_behind),
      cmocka_unit_test(whoever_waits_is_told_that_others_may_be_in_the_way),
      cmocka_unit_test(a_backend_that_dies_in_a_batch_loses_what_is_not_answered),
      cmocka_unit_test(a_batch_that_was_never_sent_harms_nobody),
      cmocka_unit_test(large_results_stand_between_small_ones),
      cmocka_unit_test(a_sink_that_has_enough_fails_alone),
  };
  return pg_rig_main(&server, NULL, tests, sizeof(tests) / sizeof(tests[0]));
}
