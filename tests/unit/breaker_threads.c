/* breaker_threads.c - many threads at one breaker: at most one of them is its probe, nothing that
 * is counted is lost, and it recovers. Also under the thread sanitizer. */
#include "manager/breaker.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { THREADS = 4, ROUNDS = 4000 };

#define MS INT64_C(1000000)

static struct cen_breaker breaker;
static _Atomic int64_t clock_ns;
static _Atomic bool database_is_up;
static _Atomic int probes_out, most_probes;
static _Atomic uint64_t refused, moves;

static const struct cen_breaker_limits limits = {
    .failures = 5,
    .most_at_once = 4,
    .window_ns = 100 * MS,
    .open_ns = 5 * MS,
    .open_max_ns = 50 * MS,
    .probe_ns = INT64_MAX / 4,
};

static void note_move(const struct cen_breaker_move *move)
{
  if (move->moved) {
    atomic_fetch_add(&moves, 1);
  }
}

static void *call_often(void *argument)
{
  (void)argument;
  for (int i = 0; i < ROUNDS; i++) {
    const int64_t now = atomic_fetch_add(&clock_ns, MS / 10);
    struct cen_breaker_move move;
    const enum cen_breaker_pass pass = cen_breaker_admit(&breaker, now, &move);
    note_move(&move);
    if (cen_breaker_refuses(&breaker, now)) {
      atomic_fetch_add(&refused, 1);
    }
    if (pass == CEN_BREAKER_REFUSED) {
      continue;
    }
    if (pass == CEN_BREAKER_PROBE) {
      const int out = atomic_fetch_add(&probes_out, 1) + 1;
      if (out > atomic_load(&most_probes)) {
        atomic_store(&most_probes, out);
      }
      atomic_fetch_sub(&probes_out, 1);
    }
    if (atomic_load(&database_is_up)) {
      cen_breaker_good(&breaker, now, &move);
    } else {
      cen_breaker_bad(&breaker, NULL, now, &move);
    }
    note_move(&move);
    struct cen_breaker_view view;
    cen_breaker_look(&breaker, &view);
  }
  return NULL;
}

static void run_threads(bool up)
{
  pthread_t threads[THREADS];
  atomic_store(&database_is_up, up);
  for (int i = 0; i < THREADS; i++) {
    assert_int_equal(pthread_create(&threads[i], NULL, call_often, NULL), 0);
  }
  for (int i = 0; i < THREADS; i++) {
    assert_int_equal(pthread_join(threads[i], NULL), 0);
  }
}

static void threads_that_fail_open_it_and_threads_that_succeed_close_it(void **state)
{
  (void)state;
  struct cen_breaker_view view;
  atomic_store(&clock_ns, 1000 * MS);
  assert_int_equal(cen_breaker_init(&breaker, &limits, 3, 1000 * MS), CENOTE_OK);
  run_threads(true);
  cen_breaker_look(&breaker, &view);
  assert_int_equal(view.state, CENOTE_BREAKER_CLOSED);
  assert_int_equal(atomic_load(&refused), 0);
  for (int i = 0; i < 3; i++) {
    run_threads(false);
    cen_breaker_look(&breaker, &view);
    assert_int_not_equal(view.state, CENOTE_BREAKER_CLOSED);
    assert_true(view.opened > 0);
    assert_int_equal(view.rejected, atomic_load(&refused));
    run_threads(true);
    cen_breaker_look(&breaker, &view);
    assert_int_equal(view.state, CENOTE_BREAKER_CLOSED);
  }
  assert_int_equal(atomic_load(&most_probes), 1);
  assert_true(atomic_load(&moves) >= 2 * view.opened); /* each one open was left again */
  cen_breaker_deinit(&breaker);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(threads_that_fail_open_it_and_threads_that_succeed_close_it),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
