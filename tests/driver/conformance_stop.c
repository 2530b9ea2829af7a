/* Cancel, abort and deadlines: what runs ends, and what comes next is not hit. */
#include "driver/conformance.h"

#include "base/rng.h"
#include "net/clock.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static void nap(int64_t ns)
{
  struct timespec ts = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
  nanosleep(&ts, NULL);
}

struct stopper {
  const cenote_driver *driver;
  cenote_connection *connection;
  int64_t after_ns;
  bool abort;
  _Atomic bool over;
};

/* Again, where the machine stood still and nothing ran yet. */
static void *stop_later(void *context)
{
  struct stopper *stopper = context;
  nap(stopper->after_ns);
  while (!atomic_load(&stopper->over)) {
    (stopper->abort ? stopper->driver->abort : stopper->driver->cancel)(stopper->connection);
    for (int i = 0; i < 1000 && !atomic_load(&stopper->over); i++) {
      nap(CEN_NS_PER_MS);
    }
  }
  return NULL;
}

/* The slow statement, stopped from another thread after a while. */
static cenote_status run_stopped(struct bench *bench, bool abort_it, cenote_error *error)
{
  struct stopper stopper = {.driver = bench->subject->driver,
                            .connection = bench->connection,
                            .after_ns = 150 * CEN_NS_PER_MS,
                            .abort = abort_it};
  pthread_t thread;
  cenote_result *result;
  assert_int_equal(pthread_create(&thread, NULL, stop_later, &stopper), 0);
  cenote_status status = rig_execute(&bench->rig, bench->connection, bench->subject->slow, NULL, 0,
                                     25000, &result, error);
  atomic_store(&stopper.over, true);
  assert_null(result);
  pthread_join(thread, NULL);
  return status;
}

static void a_cancel_ends_what_runs(void **state)
{
  struct bench *bench = bench_of(state);
  cenote_error error = CENOTE_ERROR_INIT;
  for (int i = 0; i < 2; i++) {
    assert_int_equal(run_stopped(bench, false, &error), CENOTE_CANCELLED);
    assert_string_equal(error.sqlstate, "57014");
    assert_int_equal(bench_session(bench), 0);
    bench_still_works(bench);
  }
}

static void a_cancel_inside_a_transaction_can_be_rolled_back(void **state)
{
  struct bench *bench = bench_of(state);
  assert_int_equal(rig_begin(&bench->rig, bench->connection, CENOTE_BATCH_WRITE, NULL), CENOTE_OK);
  assert_int_equal(run_stopped(bench, false, NULL), CENOTE_CANCELLED);
  assert_true(bench_session(bench) & CENOTE_SESSION_IN_TRANSACTION);
  assert_int_equal(rig_kind(&bench->rig, bench->connection, CENOTE_REQUEST_ROLLBACK, NULL),
                   CENOTE_OK);
  assert_int_equal(bench_session(bench), 0);
  bench_still_works(bench);
}

static void an_abort_breaks_the_connection_soon(void **state)
{
  struct bench *bench = bench_of(state);
  int64_t before = cen_now_ns();
  assert_int_not_equal(run_stopped(bench, true, NULL), CENOTE_OK);
  assert_true(cen_now_ns() - before < 15 * 1000 * CEN_NS_PER_MS);
  assert_true(bench_session(bench) & CENOTE_SESSION_BROKEN);
  assert_int_not_equal(rig_do(&bench->rig, bench->connection, "SELECT 1"), CENOTE_OK);
  rig_disconnect(&bench->rig, bench->connection);
  bench->connection = rig_connect(&bench->rig, NULL);
  assert_non_null(bench->connection);
  bench_still_works(bench);
}

static void a_deadline_ends_what_runs(void **state)
{
  struct bench *bench = bench_of(state);
  cenote_result *result;
  cenote_error error = CENOTE_ERROR_INIT;
  int64_t before = cen_now_ns();
  assert_int_equal(rig_execute(&bench->rig, bench->connection, bench->subject->slow, NULL, 0, 200,
                               &result, &error),
                   CENOTE_STATEMENT_TIMEOUT);
  assert_true(cen_now_ns() - before >= 150 * CEN_NS_PER_MS);
  assert_true(cen_now_ns() - before < 15 * 1000 * CEN_NS_PER_MS);
  bench_still_works(bench);
}

static void a_cancel_between_requests_does_nothing(void **state)
{
  struct bench *bench = bench_of(state);
  for (int i = 0; i < 200; i++) {
    bench->subject->driver->cancel(bench->connection);
    assert_int_equal(rig_integer(&bench->rig, bench->connection, "SELECT 7"), 7);
  }
}

/* One canceller beside many short statements; it says which round its cancel was for. */
struct racer {
  const cenote_driver *driver;
  cenote_connection *connection;
  _Atomic int round;    /* of the statement that runs; 0: end */
  _Atomic int answered; /* the canceller has returned from its cancel for that round */
};

static void *race(void *context)
{
  struct racer *racer = context;
  struct cen_rng rng;
  int seen = 0;
  cen_rng_seed(&rng, 99);
  for (;;) {
    int round = atomic_load(&racer->round);
    if (round == -1) {
      return NULL;
    }
    if (round == seen) {
      nap(10000);
      continue;
    }
    seen = round;
    nap((int64_t)cen_rng_below(&rng, 2000000));
    racer->driver->cancel(racer->connection);
    atomic_store(&racer->answered, round);
  }
}

static void a_late_cancel_never_hits_the_next_request(void **state)
{
  enum { ROUNDS = 300 };
  struct bench *bench = bench_of(state);
  struct racer racer = {.driver = bench->subject->driver, .connection = bench->connection};
  pthread_t thread;
  int cancelled = 0;
  assert_int_equal(pthread_create(&thread, NULL, race, &racer), 0);
  for (int i = 1; i <= ROUNDS; i++) {
    cenote_value tag = cenote_integer(i);
    cenote_result *result;
    char sql[64];
    bench_select(bench, &tag, 1, sql, sizeof(sql));
    atomic_store(&racer.round, i);
    cenote_status status = rig_execute(&bench->rig, bench->connection, bench->subject->brief, NULL,
                                       0, 20000, &result, NULL);
    cancelled += status == CENOTE_CANCELLED;
    assert_true(status == CENOTE_OK || status == CENOTE_CANCELLED);
    cenote_result_free(result);
    while (atomic_load(&racer.answered) != i) {
      nap(5000);
    }
    /* the cancel has been asked for; from here on it must not hit anything */
    tag = cenote_integer(-i);
    assert_int_equal(
        rig_execute(&bench->rig, bench->connection, sql, &tag, 1, 20000, &result, NULL), CENOTE_OK);
    assert_int_equal(cenote_result_integer(result, 0, 0), -i);
    cenote_result_free(result);
  }
  atomic_store(&racer.round, -1);
  pthread_join(thread, NULL);
  assert_int_equal(bench_session(bench), 0);
  print_message("# %d of %d were cancelled in time\n", cancelled, ROUNDS);
}

const struct bench_test stop_tests[] = {
    BENCH_TEST(a_cancel_ends_what_runs, 0),
    BENCH_TEST(a_cancel_inside_a_transaction_can_be_rolled_back, HAS_SESSION),
    BENCH_TEST(an_abort_breaks_the_connection_soon, 0),
    BENCH_TEST(a_deadline_ends_what_runs, 0),
    BENCH_TEST(a_cancel_between_requests_does_nothing, 0),
    BENCH_TEST(a_late_cancel_never_hits_the_next_request, 0),
};
const size_t stop_tests_count = sizeof(stop_tests) / sizeof(*stop_tests);
