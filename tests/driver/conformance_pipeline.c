/* Many requests in flight on one connection: answers in order, to each its own. For drivers whose
 * `pipelining` is not NULL. */
#include "driver/conformance.h"
#include "driver/rig_pipe.h"

#include "base/rng.h"
#include "net/clock.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void begin(struct rig_pipe *pipe, struct bench *bench, bool read_only)
{
  cenote_error error = CENOTE_ERROR_INIT;
  if (rig_pipe_begin(pipe, &bench->rig, bench->connection, read_only, &error)) {
    fail_msg("enter: %s", error.message);
  }
}

static void push(struct rig_pipe *pipe, struct rig_flight *flight, const char *sql)
{
  if (rig_pipe_push(pipe, flight, sql, NULL, 0, 0)) {
    fail_msg("%s: %s", sql, flight->error.message);
  }
}

/* "SELECT ?" with a number, so that an answer shows whose it is. */
static void push_tag(struct rig_pipe *pipe, struct bench *bench, struct rig_flight *flight,
                     int64_t tag)
{
  cenote_value value = cenote_integer(tag);
  char sql[64];
  bench_select(bench, &value, 1, sql, sizeof(sql));
  if (rig_pipe_push(pipe, flight, sql, &value, 1, 0)) {
    fail_msg("%s: %s", sql, flight->error.message);
  }
}

static void expect_tag(struct rig_pipe *pipe, struct rig_flight *flight, int64_t tag)
{
  struct rig_flight *next = rig_pipe_next(pipe);
  assert_ptr_equal(next, flight);
  if (next->answer != CENOTE_ANSWER_DONE) {
    fail_msg("answer %d: %s", (int)next->answer, next->error.message);
  }
  assert_int_equal(cenote_result_rows(next->result), 1);
  assert_int_equal(cenote_result_integer(next->result, 0, 0), tag);
  rig_flight_free(next);
}

static void nap(int64_t ns)
{
  struct timespec ts = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
  nanosleep(&ts, NULL);
}

/* Until no cancel is under way. */
static void outlast_cancel(struct rig_pipe *pipe)
{
  int fd;
  int64_t until = cen_deadline_ns(cen_now_ns(), 20000);
  while (pipe->rig->driver->pipelining->cancelling(pipe->connection, &fd)) {
    assert_true(cen_now_ns() < until);
    nap(CEN_NS_PER_MS);
  }
}

static void answers_come_in_the_order_of_the_requests(void **state)
{
  enum { DEPTH = 40 };
  struct bench *bench = bench_of(state);
  struct rig_pipe pipe;
  struct rig_flight flights[DEPTH];
  begin(&pipe, bench, false);
  for (int round = 0; round < 5; round++) {
    for (int i = 0; i < DEPTH; i++) {
      push_tag(&pipe, bench, &flights[i], round * 1000 + i);
    }
    for (int i = 0; i < DEPTH; i++) {
      expect_tag(&pipe, &flights[i], round * 1000 + i);
    }
  }
  rig_pipe_end(&pipe);
  bench_still_works(bench);
}

static void an_error_in_the_middle_spares_its_neighbours(void **state)
{
  struct bench *bench = bench_of(state);
  struct rig_pipe pipe;
  struct rig_flight flights[9];
  begin(&pipe, bench, false);
  for (int round = 0; round < 4; round++) { /* prepared, from the second use on, and not */
    for (int i = 0; i < 9; i++) {
      if (i % 3 == 1) {
        push(&pipe, &flights[i], i == 4 ? bench->subject->fail_transaction : bench->subject->wrong);
      } else {
        push_tag(&pipe, bench, &flights[i], i);
      }
    }
    for (int i = 0; i < 9; i++) {
      if (i % 3 == 1) {
        struct rig_flight *next = rig_pipe_next(&pipe);
        assert_ptr_equal(next, &flights[i]);
        assert_int_equal(next->answer, CENOTE_ANSWER_FAILED);
        assert_int_equal(next->error.status, CENOTE_DATABASE);
        assert_int_equal(strlen(next->error.sqlstate), 5);
        if (i != 4) {
          assert_string_equal(next->error.sqlstate, "42601");
        }
      } else {
        expect_tag(&pipe, &flights[i], i);
      }
    }
  }
  rig_pipe_end(&pipe);
  bench_still_works(bench);
}

static void a_request_that_is_wrong_is_refused_and_disturbs_nobody(void **state)
{
  struct bench *bench = bench_of(state);
  struct rig_pipe pipe;
  struct rig_flight good[2];
  struct rig_flight bad;
  cenote_value value = cenote_integer(1);
  begin(&pipe, bench, false);
  push_tag(&pipe, bench, &good[0], 1);
  assert_int_equal(rig_pipe_push(&pipe, &bad, "SELECT 1", &value, 1, 0), CENOTE_INVALID);
  assert_int_equal(rig_pipe_push(&pipe, &bad, "", NULL, 0, 0), CENOTE_INVALID);
  assert_int_equal(rig_pipe_push(&pipe, &bad, "SELECT 1; SELECT 2", NULL, 0, 0), CENOTE_INVALID);
  cenote_request begins = {.size = sizeof(begins), .kind = CENOTE_REQUEST_BEGIN};
  assert_int_equal(bench->rig.driver->pipelining->push(bench->connection, &begins, NULL),
                   CENOTE_UNSUPPORTED);
  push_tag(&pipe, bench, &good[1], 2);
  expect_tag(&pipe, &good[0], 1);
  expect_tag(&pipe, &good[1], 2);
  rig_pipe_end(&pipe);
  bench_still_works(bench);
}

static void a_check_is_answered_in_its_turn(void **state)
{
  struct bench *bench = bench_of(state);
  struct rig_pipe pipe;
  struct rig_flight flights[3];
  begin(&pipe, bench, false);
  assert_int_equal(rig_pipe_check(&pipe, &flights[0]), CENOTE_OK);
  push_tag(&pipe, bench, &flights[1], 77);
  assert_int_equal(rig_pipe_check(&pipe, &flights[2]), CENOTE_OK);
  for (int i = 0; i < 3; i++) {
    if (i == 1) {
      expect_tag(&pipe, &flights[1], 77);
    } else {
      assert_ptr_equal(rig_pipe_next(&pipe), &flights[i]);
      assert_int_equal(flights[i].answer, CENOTE_ANSWER_DONE);
      rig_flight_free(&flights[i]);
    }
  }
  rig_pipe_end(&pipe);
}

static void large_results_stand_between_small_ones(void **state)
{
  struct bench *bench = bench_of(state);
  struct rig_pipe pipe;
  struct rig_flight flights[12];
  begin(&pipe, bench, false);
  for (int round = 0; round < 3; round++) {
    for (int i = 0; i < 12; i++) {
      if (i % 4 == 2) {
        push(&pipe, &flights[i], bench->subject->rows_10000);
      } else {
        push_tag(&pipe, bench, &flights[i], i);
      }
    }
    for (int i = 0; i < 12; i++) {
      if (i % 4 == 2) {
        assert_ptr_equal(rig_pipe_next(&pipe), &flights[i]);
        assert_int_equal(flights[i].answer, CENOTE_ANSWER_DONE);
        assert_int_equal(cenote_result_rows(flights[i].result), 10000);
        assert_int_equal(cenote_result_integer(flights[i].result, 9999, 0), 10000);
        rig_flight_free(&flights[i]);
      } else {
        expect_tag(&pipe, &flights[i], i);
      }
    }
  }
  rig_pipe_end(&pipe);
  bench_still_works(bench);
}

static void a_sink_that_has_enough_fails_alone(void **state)
{
  struct bench *bench = bench_of(state);
  struct rig_pipe pipe;
  struct rig_flight before, much, after;
  begin(&pipe, bench, false);
  for (int round = 0; round < 3; round++) {
    push_tag(&pipe, bench, &before, 1);
    assert_int_equal(rig_pipe_push(&pipe, &much, bench->subject->rows_10000, NULL, 0, 100),
                     CENOTE_OK);
    push_tag(&pipe, bench, &after, 2);
    expect_tag(&pipe, &before, 1);
    assert_ptr_equal(rig_pipe_next(&pipe), &much);
    assert_int_equal(much.answer, CENOTE_ANSWER_ENOUGH);
    assert_ptr_equal(rig_pipe_next(&pipe), &much); /* nobody cancels it: it comes to its end */
    assert_int_equal(much.answer, CENOTE_ANSWER_FAILED);
    assert_int_equal(much.error.status, CENOTE_TOO_LARGE);
    rig_flight_free(&much);
    expect_tag(&pipe, &after, 2);
  }
  rig_pipe_end(&pipe);
  bench_still_works(bench);
}

static void a_cancel_ends_the_oldest_and_the_rest_goes_on(void **state)
{
  struct bench *bench = bench_of(state);
  for (int round = 0; round < 3; round++) {
    struct rig_pipe pipe;
    struct rig_flight slow;
    struct rig_flight behind[3];
    begin(&pipe, bench, false);
    push(&pipe, &slow, bench->subject->slow);
    for (int i = 0; i < 3; i++) {
      push_tag(&pipe, bench, &behind[i], i);
    }
    rig_pipe_send(&pipe);
    nap(50 * CEN_NS_PER_MS);
    int tries = 0;
    do { /* again, where the machine stood still and the server had not begun */
      bench->rig.driver->cancel(bench->connection);
    } while (!rig_pipe_wait(&pipe, 3000) && ++tries < 5);
    assert_ptr_equal(rig_pipe_next(&pipe), &slow);
    assert_int_equal(slow.answer, CENOTE_ANSWER_FAILED);
    assert_int_equal(slow.error.status, CENOTE_CANCELLED);
    assert_string_equal(slow.error.sqlstate, "57014");
    rig_flight_free(&slow);
    for (int i = 0; i < 3; i++) { /* spared, or hit by our cancel and told apart */
      struct rig_flight *next = rig_pipe_next(&pipe);
      assert_ptr_equal(next, &behind[i]);
      if (next->answer == CENOTE_ANSWER_FAILED) {
        assert_int_equal(next->error.status, CENOTE_DATABASE);
        assert_string_equal(next->error.sqlstate, "57014");
      } else {
        assert_int_equal(next->answer, CENOTE_ANSWER_DONE);
        assert_int_equal(cenote_result_integer(next->result, 0, 0), i);
      }
      rig_flight_free(next);
    }
    outlast_cancel(&pipe);
    push_tag(&pipe, bench, &slow, 5);
    expect_tag(&pipe, &slow, 5);
    rig_pipe_end(&pipe);
    assert_int_equal(bench_session(bench), 0);
    bench_still_works(bench);
  }
}

static void a_cancel_with_nothing_in_flight_does_nothing(void **state)
{
  struct bench *bench = bench_of(state);
  struct rig_pipe pipe;
  struct rig_flight flight;
  int fd;
  begin(&pipe, bench, false);
  for (int i = 0; i < 50; i++) {
    bench->rig.driver->cancel(bench->connection);
    assert_false(bench->rig.driver->pipelining->cancelling(bench->connection, &fd));
    push_tag(&pipe, bench, &flight, i);
    expect_tag(&pipe, &flight, i);
  }
  rig_pipe_end(&pipe);
  bench_still_works(bench);
}

struct canceller {
  const cenote_driver *driver;
  cenote_connection *connection;
  int64_t after_ns;
};

static void *cancel_later(void *context)
{
  struct canceller *canceller = context;
  nap(canceller->after_ns);
  canceller->driver->cancel(canceller->connection);
  return NULL;
}

/* Each answer is either right, or 57014: on whichever request the cancel fell. */
static void cancels_at_any_moment_never_cross_answers(void **state)
{
  enum { ROUNDS = 60, DEPTH = 4 };
  struct bench *bench = bench_of(state);
  struct rig_pipe pipe;
  struct cen_rng rng;
  int cancelled = 0;
  cen_rng_seed(&rng, 4242);
  begin(&pipe, bench, false);
  for (int round = 0; round < ROUNDS; round++) {
    struct rig_flight flights[DEPTH];
    for (int i = 0; i < DEPTH; i++) {
      if (i % 2 == 0) {
        push(&pipe, &flights[i], bench->subject->brief);
      } else {
        push_tag(&pipe, bench, &flights[i], round * DEPTH + i);
      }
    }
    struct canceller canceller = {.driver = bench->rig.driver,
                                  .connection = bench->connection,
                                  .after_ns = (int64_t)cen_rng_below(&rng, 2000000)};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, cancel_later, &canceller), 0);
    for (int i = 0; i < DEPTH; i++) {
      struct rig_flight *next = rig_pipe_next(&pipe);
      assert_ptr_equal(next, &flights[i]);
      if (next->answer == CENOTE_ANSWER_DONE) {
        assert_true(i % 2 == 0 || cenote_result_integer(next->result, 0, 0) == round * DEPTH + i);
      } else {
        assert_int_equal(next->answer, CENOTE_ANSWER_FAILED);
        assert_string_equal(next->error.sqlstate, "57014");
        cancelled++;
      }
      rig_flight_free(next);
    }
    pthread_join(thread, NULL);
    outlast_cancel(&pipe);
    for (int i = 0; i < DEPTH; i++) { /* from here on it must not hit anything */
      push_tag(&pipe, bench, &flights[i], -i);
    }
    for (int i = 0; i < DEPTH; i++) {
      expect_tag(&pipe, &flights[i], -i);
    }
  }
  rig_pipe_end(&pipe);
  print_message("# %d statements were cancelled in time\n", cancelled);
  bench_still_works(bench);
}

static void an_abort_loses_all_that_is_in_flight(void **state)
{
  struct bench *bench = bench_of(state);
  struct rig_pipe pipe;
  struct rig_flight slow, behind, late;
  begin(&pipe, bench, false);
  push(&pipe, &slow, bench->subject->slow);
  push_tag(&pipe, bench, &behind, 1);
  rig_pipe_send(&pipe);
  nap(20 * CEN_NS_PER_MS);
  bench->rig.driver->abort(bench->connection);
  assert_ptr_equal(rig_pipe_next(&pipe), &slow);
  assert_int_equal(slow.answer, CENOTE_ANSWER_LOST);
  assert_int_equal(behind.answer, CENOTE_ANSWER_LOST);
  rig_flight_free(&slow);
  rig_flight_free(&behind);
  assert_true(bench_session(bench) & CENOTE_SESSION_BROKEN);
  assert_int_equal(rig_pipe_push(&pipe, &late, "SELECT 1", NULL, 0, 0), CENOTE_CONNECTION_LOST);
  rig_pipe_end(&pipe);
  assert_true(bench_session(bench) & CENOTE_SESSION_BROKEN);
}

static void a_read_only_session_refuses_to_write_until_its_reset(void **state)
{
  struct bench *bench = bench_of(state);
  struct rig_pipe pipe;
  struct rig_flight flight;
  (void)rig_do(&bench->rig, bench->connection, "DROP TABLE IF EXISTS cenote_conformance");
  assert_int_equal(rig_do(&bench->rig, bench->connection,
                          "CREATE TABLE cenote_conformance (id integer PRIMARY KEY)"),
                   CENOTE_OK);
  begin(&pipe, bench, true);
  assert_true(bench_session(bench) & CENOTE_SESSION_DIRTY);
  push(&pipe, &flight, "INSERT INTO cenote_conformance VALUES (1)");
  assert_ptr_equal(rig_pipe_next(&pipe), &flight);
  assert_int_equal(flight.answer, CENOTE_ANSWER_FAILED);
  assert_string_equal(flight.error.sqlstate, "25006");
  rig_flight_free(&flight);
  push(&pipe, &flight, "SELECT count(*) FROM cenote_conformance");
  expect_tag(&pipe, &flight, 0);
  rig_pipe_end(&pipe);
  assert_int_equal(bench_session(bench), CENOTE_SESSION_DIRTY);
  assert_int_equal(rig_kind(&bench->rig, bench->connection, CENOTE_REQUEST_RESET, NULL), CENOTE_OK);
  assert_int_equal(bench_session(bench), 0);
  assert_int_equal(
      rig_do(&bench->rig, bench->connection, "INSERT INTO cenote_conformance VALUES (1)"),
      CENOTE_OK);
}

static void after_leaving_the_session_does_everything(void **state)
{
  struct bench *bench = bench_of(state);
  for (int round = 0; round < 5; round++) {
    struct rig_pipe pipe;
    struct rig_flight flight;
    begin(&pipe, bench, false);
    for (int i = 0; i < round; i++) { /* also without a single request */
      push_tag(&pipe, bench, &flight, i);
      expect_tag(&pipe, &flight, i);
    }
    assert_int_equal(bench_session(bench), 0);
    rig_pipe_end(&pipe);
    assert_int_equal(bench_session(bench), 0);
    assert_int_equal(rig_begin(&bench->rig, bench->connection, CENOTE_BATCH_WRITE, NULL),
                     CENOTE_OK);
    bench_still_works(bench);
    assert_int_equal(rig_kind(&bench->rig, bench->connection, CENOTE_REQUEST_ROLLBACK, NULL),
                     CENOTE_OK);
    assert_int_equal(rig_kind(&bench->rig, bench->connection, CENOTE_REQUEST_RESET, NULL),
                     CENOTE_OK);
    assert_int_equal(rig_kind(&bench->rig, bench->connection, CENOTE_REQUEST_CHECK, NULL),
                     CENOTE_OK);
  }
}

static void a_pipeline_may_be_destroyed_with_everything_in_flight(void **state)
{
  struct bench *bench = bench_of(state);
  for (int round = 0; round < 3; round++) {
    struct rig_pipe pipe;
    struct rig_flight flights[6];
    cenote_connection *raw = rig_connect(&bench->rig, NULL);
    assert_non_null(raw);
    assert_int_equal(rig_pipe_begin(&pipe, &bench->rig, raw, false, NULL), CENOTE_OK);
    for (int i = 0; i < 6; i++) {
      push(&pipe, &flights[i], i % 2 == 0 ? bench->subject->brief : "SELECT 7");
    }
    if (round == 1) {
      assert_non_null(rig_pipe_next(&pipe));
    } else if (round == 2) {
      bench->rig.driver->cancel(raw);
    }
    bench->rig.driver->destroy(raw);
    for (int i = 0; i < 6; i++) {
      rig_flight_free(&flights[i]);
    }
  }
  bench_still_works(bench);
}

static void ten_thousand_statements_of_many_texts_go_through(void **state)
{
  enum { ALL = 10000, DEPTH = 16 };
  struct bench *bench = bench_of(state);
  struct rig_pipe pipe;
  struct rig_flight *flights = calloc(DEPTH, sizeof(*flights));
  assert_non_null(flights);
  begin(&pipe, bench, false);
  for (int pushed = 0, answered = 0; answered < ALL;) {
    while (pushed < ALL && pushed - answered < DEPTH) {
      char sql[64]; /* more of them than a cache holds; runs of the same one */
      snprintf(sql, sizeof(sql), "SELECT %d", pushed / 7 % 311);
      push(&pipe, &flights[pushed % DEPTH], sql);
      pushed++;
    }
    struct rig_flight *flight = &flights[answered % DEPTH];
    expect_tag(&pipe, flight, answered / 7 % 311);
    answered++;
    if (answered % 3000 == 0) {
      bench->rig.driver->shrink(bench->connection);
    }
  }
  free(flights);
  rig_pipe_end(&pipe);
  assert_int_equal(bench_session(bench), 0);
  bench_still_works(bench);
}

const struct bench_test pipeline_tests[] = {
    BENCH_TEST(answers_come_in_the_order_of_the_requests, HAS_PIPELINING),
    BENCH_TEST(an_error_in_the_middle_spares_its_neighbours, HAS_PIPELINING),
    BENCH_TEST(a_request_that_is_wrong_is_refused_and_disturbs_nobody, HAS_PIPELINING),
    BENCH_TEST(a_check_is_answered_in_its_turn, HAS_PIPELINING),
    BENCH_TEST(large_results_stand_between_small_ones, HAS_PIPELINING),
    BENCH_TEST(a_sink_that_has_enough_fails_alone, HAS_PIPELINING),
    BENCH_TEST(a_cancel_ends_the_oldest_and_the_rest_goes_on, HAS_PIPELINING),
    BENCH_TEST(a_cancel_with_nothing_in_flight_does_nothing, HAS_PIPELINING),
    BENCH_TEST(cancels_at_any_moment_never_cross_answers, HAS_PIPELINING),
    BENCH_TEST(an_abort_loses_all_that_is_in_flight, HAS_PIPELINING),
    BENCH_TEST(a_read_only_session_refuses_to_write_until_its_reset,
               HAS_PIPELINING | HAS_TABLES | HAS_READ_ONLY),
    BENCH_TEST(after_leaving_the_session_does_everything, HAS_PIPELINING),
    BENCH_TEST(a_pipeline_may_be_destroyed_with_everything_in_flight, HAS_PIPELINING),
    BENCH_TEST(ten_thousand_statements_of_many_texts_go_through, HAS_PIPELINING),
};
const size_t pipeline_tests_count = sizeof(pipeline_tests) / sizeof(*pipeline_tests);
