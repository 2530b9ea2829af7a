#include "driver/conformance.h"

#include <stdio.h>
#include <stdlib.h>

static const struct subject *subject_at_hand;

int bench_setup(void **state)
{
  struct bench *bench = calloc(1, sizeof(*bench));
  cenote_error error = CENOTE_ERROR_INIT;
  *state = bench;
  if (!bench) {
    return -1;
  }
  bench->subject = subject_at_hand;
  if (rig_open(&bench->rig, bench->subject->driver, bench->subject->url(), bench->subject->context,
               &error) == CENOTE_OK) {
    bench->connection = rig_connect(&bench->rig, &error);
  }
  if (!bench->connection) {
    print_error("cannot set up: %s\n", error.message);
    rig_close(&bench->rig);
    free(bench);
    *state = NULL;
    return -1;
  }
  return 0;
}

int bench_teardown(void **state)
{
  struct bench *bench = *state;
  if (bench) {
    rig_disconnect(&bench->rig, bench->connection);
    rig_close(&bench->rig);
    free(bench);
  }
  return 0;
}

struct bench *bench_of(void **state)
{
  return *state;
}

void bench_select(const struct bench *bench, const cenote_value *values, size_t count, char *sql,
                  size_t capacity)
{
  size_t used = (size_t)snprintf(sql, capacity, "SELECT ");
  for (size_t i = 0; i < count; i++) {
    used += (size_t)snprintf(sql + used, capacity - used, "%s?%s", i ? ", " : "",
                             bench->subject->casts[values[i].type]);
    assert_true(used < capacity);
  }
}

unsigned bench_session(const struct bench *bench)
{
  return bench->subject->driver->session(bench->connection);
}

void bench_still_works(struct bench *bench)
{
  cenote_value value = cenote_integer(4711);
  char sql[64];
  cenote_result *result;
  cenote_error error = CENOTE_ERROR_INIT;
  bench_select(bench, &value, 1, sql, sizeof(sql));
  if (rig_execute(&bench->rig, bench->connection, sql, &value, 1, 20000, &result, &error)) {
    fail_msg("the connection does not work any more: %s", error.message);
  }
  assert_int_equal(cenote_result_integer(result, 0, 0), 4711);
  cenote_result_free(result);
}

/* The tests that the subject can be asked. */
static size_t choose(struct CMUnitTest *out, const struct bench_test *tests, size_t count,
                     unsigned has)
{
  size_t chosen = 0;
  for (size_t i = 0; i < count; i++) {
    if ((tests[i].needs & ~has) == 0) {
      out[chosen++] = tests[i].test;
    }
  }
  return chosen;
}

int conformance_run(const struct subject *subject)
{
  size_t all = value_tests_count + session_tests_count + stop_tests_count + pipeline_tests_count;
  const bool batches = (subject->driver->flags & CENOTE_DRIVER_BATCHES) != 0;
  unsigned has = (subject->has | HAS_SESSION | (subject->driver->pipelining ? HAS_PIPELINING : 0u) |
                  (batches ? HAS_BATCHES : 0u)) &
                 ~subject->lacks;
  struct CMUnitTest *tests = calloc(all, sizeof(*tests));
  size_t count;
  int failed;
  if (!tests) {
    return 1;
  }
  count = choose(tests, value_tests, value_tests_count, has);
  count += choose(tests + count, session_tests, session_tests_count, has);
  count += choose(tests + count, stop_tests, stop_tests_count, has);
  count += choose(tests + count, pipeline_tests, pipeline_tests_count, has);
  subject_at_hand = subject;
  /* cmocka's macro wants an array; this is what it calls */
  failed = _cmocka_run_group_tests(subject->driver->name, tests, count, NULL, NULL);
  free(tests);
  return failed;
}
