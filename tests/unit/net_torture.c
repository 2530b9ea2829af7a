/* net_torture.c - the loop, the workers and the resolver without memory. */
#include "net/clock.h"
#include "net/loop.h"
#include "net/resolver.h"
#include "net/workers.h"
#include "support/alloc_torture.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { TIMERS = 40 };

static int fired;

static void fire(struct cen_timer *timer)
{
  (void)timer;
  fired++;
}

static void ready(struct cen_watch *watch, short revents)
{
  assert_true((revents & POLLIN) != 0);
  cen_watch_stop(watch);
}

static void use_a_loop(void *context)
{
  (void)context;
  struct cen_loop *loop;
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_status status = cen_loop_new(&loop, &error);
  if (status != CENOTE_OK) {
    assert_null(loop);
    assert_int_equal(status, CENOTE_NO_MEMORY);
    assert_true(alloc_torture_struck());
    return;
  }
  int ends[2];
  assert_int_equal(pipe(ends), 0);
  assert_int_equal(write(ends[1], "x", 1), 1);
  struct cen_watch watch = {.ready = ready};
  status = cen_watch_set(loop, &watch, ends[0], POLLIN);
  assert_true(status == CENOTE_OK || alloc_torture_struck());
  assert_int_equal(watch.fd, status == CENOTE_OK ? ends[0] : -1);

  struct cen_timer timers[TIMERS];
  memset(timers, 0, sizeof(timers));
  int set = 0;
  fired = 0;
  for (int i = 0; i < TIMERS; i++) {
    timers[i].fire = fire;
    status = cen_timer_set(loop, &timers[i], i + 1);
    assert_true(status == CENOTE_OK || (status == CENOTE_NO_MEMORY && alloc_torture_struck()));
    if (status == CENOTE_OK) {
      /* moving one that is set never fails */
      assert_int_equal(cen_timer_set(loop, &timers[i], TIMERS - i), CENOTE_OK);
      set++;
    }
  }
  cen_loop_run(loop, 0);
  assert_int_equal(fired, set);
  assert_int_equal(watch.fd, -1);
  cen_loop_free(loop);
  close(ends[0]);
  close(ends[1]);
}

static void a_loop_without_memory_refuses_and_goes_on(void **state)
{
  (void)state;
  assert_true(alloc_torture(use_a_loop, NULL, ALLOC_TORTURE_BALANCED) >= 4);
  assert_true(alloc_torture(use_a_loop, NULL, ALLOC_TORTURE_ONWARD) >= 4);
}

static _Atomic int threads_refused;

int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*body)(void *), void *argument);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*body)(void *), void *argument);

/* A thread is memory too. */
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*body)(void *), void *argument)
{
  if (alloc_torture_strikes()) {
    atomic_fetch_add(&threads_refused, 1);
    return EAGAIN;
  }
  return __real_pthread_create(thread, attributes, body, argument);
}

static void resolve_a_name(void *context)
{
  (void)context;
  struct cen_resolve *query;
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_status status = cen_resolve_start("localhost", &query, &error);
  if (status != CENOTE_OK) {
    assert_null(query);
    assert_true(status == CENOTE_NO_MEMORY || status == CENOTE_IO);
    assert_int_equal(error.status, status);
    assert_true(error.retryable);
    assert_true(alloc_torture_struck());
  } else {
    if (cen_resolve_fd(query) >= 0) {
      struct pollfd fd = {.fd = cen_resolve_fd(query), .events = POLLIN};
      assert_int_equal(poll(&fd, 1, 60000), 1);
    }
    assert_true(cen_resolve_done(query));
    cen_resolve_free(query);
  }
  cen_workers_stop(); /* so that the next one needs a thread of its own */
}

static void a_resolver_without_memory_or_threads_refuses(void **state)
{
  (void)state;
  atomic_store(&threads_refused, 0);
  assert_true(
      alloc_torture(resolve_a_name, NULL, ALLOC_TORTURE_THIS_THREAD | ALLOC_TORTURE_BALANCED) >= 3);
  assert_true(atomic_load(&threads_refused) > 0);
}

static int disarm(void **state)
{
  (void)state;
  alloc_torture_disarm();
  return 0;
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_teardown(a_loop_without_memory_refuses_and_goes_on, disarm),
      cmocka_unit_test_teardown(a_resolver_without_memory_or_threads_refuses, disarm),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
