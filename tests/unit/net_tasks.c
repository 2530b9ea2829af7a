/* net_tasks.c - the event loop: timers, and tasks posted from other threads. */
#include "base/rng.h"
#include "net/clock.h"
#include "net/loop.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static struct cen_loop *loop;

static int open_descriptors(void)
{
  int count = 0;
  for (int fd = 0; fd < 256; fd++) {
    count += fcntl(fd, F_GETFD) >= 0;
  }
  return count;
}

static int descriptors_before;

static int begin(void **state)
{
  (void)state;
  descriptors_before = open_descriptors();
  return cen_loop_new(&loop, NULL) == CENOTE_OK ? 0 : -1;
}

static int end(void **state)
{
  (void)state;
  cen_loop_free(loop);
  return open_descriptors() == descriptors_before ? 0 : -1;
}

/* A watch that counts. */
struct probe {
  struct cen_watch watch;
  int calls;
};

static void probe_ready(struct cen_watch *watch, short revents)
{
  assert_int_equal(revents, POLLOUT);
  CEN_CONTAINER(watch, struct probe, watch)->calls++;
}

static void pair_open(int ends[2])
{
  assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
}

static void pair_close(int ends[2])
{
  close(ends[0]);
  close(ends[1]);
}

static void run_now(void)
{
  cen_loop_run(loop, 0);
}

/* ------------------------------------------------------------------ timers */

struct alarm {
  struct cen_timer timer;
  int fired;
  int64_t again_ns; /* > 0: sets itself so */
  struct alarm *other;
};

static int64_t last_fired_ns;

static void alarm_fire(struct cen_timer *timer)
{
  struct alarm *alarm = CEN_CONTAINER(timer, struct alarm, timer);
  assert_true(timer->deadline_ns <= cen_now_ns());
  assert_true(timer->deadline_ns >= last_fired_ns);
  last_fired_ns = timer->deadline_ns;
  alarm->fired++;
  if (alarm->again_ns > 0) {
    assert_int_equal(cen_timer_set(loop, timer, alarm->again_ns), CENOTE_OK);
  }
  if (alarm->other != NULL) {
    cen_timer_stop(&alarm->other->timer);
    free(alarm->other);
    alarm->other = NULL;
  }
}

static void timers_fire_in_order_and_once(void **state)
{
  (void)state;
  enum { ALARMS = 200 };
  static struct alarm alarms[ALARMS];
  struct cen_rng rng;
  cen_rng_seed(&rng, 10);
  memset(alarms, 0, sizeof(alarms));
  last_fired_ns = 0;
  int64_t now = cen_now_ns();
  for (int i = 0; i < ALARMS; i++) {
    alarms[i].timer.fire = alarm_fire;
    assert_int_equal(
        cen_timer_set(loop, &alarms[i].timer, now - 1 - (int64_t)cen_rng_below(&rng, 1000)),
        CENOTE_OK);
  }
  run_now();
  assert_true(cen_loop_next_deadline(loop) == CEN_NEVER);
  run_now();
  for (int i = 0; i < ALARMS; i++) {
    assert_int_equal(alarms[i].fired, 1);
    assert_null(alarms[i].timer.loop);
  }
}

static void the_next_deadline_is_the_least_of_all(void **state)
{
  (void)state;
  enum { ALARMS = 40 };
  static struct alarm alarms[ALARMS];
  int64_t model[ALARMS] = {0};
  struct cen_rng rng;
  cen_rng_seed(&rng, 11);
  memset(alarms, 0, sizeof(alarms));
  int64_t base = cen_now_ns() + 3600000 * CEN_NS_PER_MS; /* none is due */
  for (int step = 0; step < 20000; step++) {
    size_t i = cen_rng_below(&rng, ALARMS);
    alarms[i].timer.fire = alarm_fire;
    if (cen_rng_below(&rng, 3) == 0) {
      cen_timer_stop(&alarms[i].timer);
      model[i] = 0;
    } else {
      model[i] = base + (int64_t)cen_rng_below(&rng, 1000);
      assert_int_equal(cen_timer_set(loop, &alarms[i].timer, model[i]), CENOTE_OK);
    }
    int64_t least = CEN_NEVER;
    for (int j = 0; j < ALARMS; j++) {
      least = model[j] != 0 && model[j] < least ? model[j] : least;
    }
    assert_true(cen_loop_next_deadline(loop) == least);
  }
  run_now();
  for (int i = 0; i < ALARMS; i++) {
    assert_int_equal(alarms[i].fired, 0);
    assert_int_equal(cen_timer_set(loop, &alarms[i].timer, CEN_NEVER), CENOTE_OK);
  }
  assert_true(cen_loop_next_deadline(loop) == CEN_NEVER);
}

static void a_timer_wakes_the_loop_at_its_time(void **state)
{
  (void)state;
  struct alarm alarm = {.timer.fire = alarm_fire};
  last_fired_ns = 0;
  int64_t deadline = cen_now_ns() + 5 * CEN_NS_PER_MS;
  assert_int_equal(cen_timer_set(loop, &alarm.timer, deadline), CENOTE_OK);
  while (alarm.fired == 0) {
    cen_loop_run(loop, CEN_NEVER);
  }
  assert_true(cen_now_ns() >= deadline);
  /* and the loop's own deadline ends a wait in which nothing happens */
  deadline = cen_now_ns() + 5 * CEN_NS_PER_MS;
  cen_loop_run(loop, deadline);
  assert_true(cen_now_ns() >= deadline);
}

static void a_timer_that_is_always_due_does_not_starve_the_rest(void **state)
{
  (void)state;
  int ends[2];
  pair_open(ends);
  struct probe probe = {.watch.ready = probe_ready};
  struct alarm greedy = {.timer.fire = alarm_fire, .again_ns = 1};
  last_fired_ns = 0;
  assert_int_equal(cen_watch_set(loop, &probe.watch, ends[0], POLLOUT), CENOTE_OK);
  assert_int_equal(cen_timer_set(loop, &greedy.timer, 1), CENOTE_OK);
  for (int i = 0; i < 3; i++) {
    run_now();
  }
  assert_int_equal(greedy.fired, 3);
  assert_int_equal(probe.calls, 3);
  cen_timer_stop(&greedy.timer);
  cen_watch_stop(&probe.watch);
  pair_close(ends);
}

static void a_timer_may_free_another_that_is_due(void **state)
{
  (void)state;
  struct alarm first = {.timer.fire = alarm_fire};
  last_fired_ns = 0;
  first.other = calloc(1, sizeof(struct alarm));
  first.other->timer.fire = alarm_fire;
  assert_int_equal(cen_timer_set(loop, &first.timer, 1), CENOTE_OK);
  assert_int_equal(cen_timer_set(loop, &first.other->timer, 2), CENOTE_OK);
  run_now();
  assert_int_equal(first.fired, 1);
  assert_true(cen_loop_next_deadline(loop) == CEN_NEVER);
}

/* ------------------------------------------------------------------- tasks */

struct errand {
  struct cen_task task;
  int runs;
  int again; /* posts itself so many times more */
};

static void errand_run(struct cen_task *task)
{
  struct errand *errand = CEN_CONTAINER(task, struct errand, task);
  errand->runs++;
  if (errand->again > 0) {
    errand->again--;
    cen_loop_post(loop, task);
  }
}

static void a_task_posted_twice_runs_once(void **state)
{
  (void)state;
  struct errand errand = {0};
  cen_task_init(&errand.task, errand_run);
  cen_loop_post(loop, &errand.task);
  cen_loop_post(loop, &errand.task);
  assert_int_equal(cen_loop_next_deadline(loop), 0);
  cen_loop_run(loop, CEN_NEVER);
  assert_int_equal(errand.runs, 1);
  assert_true(cen_loop_next_deadline(loop) == CEN_NEVER);
  cen_loop_post(loop, &errand.task);
  cen_loop_run(loop, CEN_NEVER);
  assert_int_equal(errand.runs, 2);
}

static void a_task_that_posts_itself_runs_once_a_round(void **state)
{
  (void)state;
  struct errand errand = {.again = 5};
  cen_task_init(&errand.task, errand_run);
  cen_loop_post(loop, &errand.task);
  for (int i = 1; i <= 6; i++) {
    assert_int_equal(cen_loop_next_deadline(loop), 0); /* a host would dispatch again */
    cen_loop_run(loop, CEN_NEVER);
    assert_int_equal(errand.runs, i);
  }
  assert_true(cen_loop_next_deadline(loop) == CEN_NEVER);
}

static void a_hosts_poll_sees_posts_and_wakes(void **state)
{
  (void)state;
  struct pollfd fd = {.fd = cen_loop_fd(loop), .events = POLLIN};
  struct errand errand = {0};
  cen_task_init(&errand.task, errand_run);
  run_now();
  assert_int_equal(poll(&fd, 1, 0), 0);
  cen_loop_wake(loop);
  cen_loop_wake(loop);
  assert_int_equal(poll(&fd, 1, 0), 1);
  run_now();
  assert_int_equal(poll(&fd, 1, 0), 0);
  cen_loop_post(loop, &errand.task);
  assert_int_equal(poll(&fd, 1, 0), 1);
  run_now();
  assert_int_equal(poll(&fd, 1, 0), 0);
  assert_int_equal(errand.runs, 1);
}

struct host {
  int soon;
  struct errand *errand;
};

static void host_soon(void *context)
{
  struct host *host = context;
  host->soon++;
  cen_loop_post(loop, &host->errand->task); /* no lock of the loop's is held; queued already */
}

static void *post_once(void *argument)
{
  struct errand *errand = argument;
  cen_loop_post(loop, &errand->task);
  return NULL;
}

static void a_host_that_promised_to_look_is_told_instead_of_woken(void **state)
{
  (void)state;
  struct pollfd fd = {.fd = cen_loop_fd(loop), .events = POLLIN};
  struct errand own = {0}, others = {0};
  struct host host = {.errand = &own};
  cen_task_init(&own.task, errand_run);
  cen_task_init(&others.task, errand_run);
  cen_loop_host(loop, host_soon, &host);
  cen_loop_post(loop, &own.task);
  cen_loop_post(loop, &own.task);
  assert_int_equal(host.soon, 1);
  assert_int_equal(poll(&fd, 1, 0), 0);
  assert_true(cen_loop_next_deadline(loop) == 0);
  pthread_t thread;
  assert_int_equal(pthread_create(&thread, NULL, post_once, &others), 0);
  pthread_join(thread, NULL);
  assert_int_equal(host.soon, 1); /* another thread's post wakes as ever */
  assert_int_equal(poll(&fd, 1, 0), 1);
  run_now();
  assert_int_equal(own.runs, 1);
  assert_int_equal(others.runs, 1);
  run_now(); /* a round for a task of the host's own does not ask the kernel, but the next does */
  assert_int_equal(poll(&fd, 1, 0), 0);
  cen_loop_host(loop, NULL, NULL);
  cen_loop_post(loop, &own.task);
  assert_int_equal(host.soon, 1);
  assert_int_equal(poll(&fd, 1, 0), 1);
  run_now();
  assert_int_equal(own.runs, 2);
}

static void tasks_left_when_the_loop_ends_are_not_queued_any_longer(void **state)
{
  (void)state;
  struct errand errand = {0};
  cen_task_init(&errand.task, errand_run);
  cen_loop_post(loop, &errand.task);
  cen_loop_free(loop);
  assert_int_equal(cen_loop_new(&loop, NULL), CENOTE_OK);
  assert_false(errand.task.queued);
  cen_loop_post(loop, &errand.task);
  run_now();
  assert_int_equal(errand.runs, 1);
}

enum { POSTERS = 3, POSTS = 400 };

struct poster {
  struct cen_task task;
  _Atomic int pending; /* 1: posted and not yet run */
  int runs;
};

static void poster_run(struct cen_task *task)
{
  struct poster *poster = CEN_CONTAINER(task, struct poster, task);
  poster->runs++;
  atomic_store(&poster->pending, 0);
}

static void *post_many(void *argument)
{
  struct poster *poster = argument;
  for (int i = 0; i < POSTS; i++) {
    while (atomic_load(&poster->pending) != 0) {
      usleep(10);
    }
    atomic_store(&poster->pending, 1);
    cen_loop_post(loop, &poster->task);
  }
  return NULL;
}

static void no_post_of_another_thread_is_lost(void **state)
{
  (void)state;
  static struct poster posters[POSTERS];
  memset(posters, 0, sizeof(posters));
  pthread_t threads[POSTERS];
  for (int i = 0; i < POSTERS; i++) {
    cen_task_init(&posters[i].task, poster_run);
    assert_int_equal(pthread_create(&threads[i], NULL, post_many, &posters[i]), 0);
  }
  int64_t deadline = cen_now_ns() + 50000 * CEN_NS_PER_MS;
  int runs = 0;
  while (runs < POSTERS * POSTS && cen_now_ns() < deadline) {
    cen_loop_run(loop, deadline); /* a lost wake sleeps here until the end */
    runs = 0;
    for (int i = 0; i < POSTERS; i++) {
      runs += posters[i].runs;
    }
  }
  assert_int_equal(runs, POSTERS * POSTS);
  for (int i = 0; i < POSTERS; i++) {
    pthread_join(threads[i], NULL);
  }
}

#define WITH_LOOP(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
  const struct CMUnitTest tests[] = {
      WITH_LOOP(timers_fire_in_order_and_once),
      WITH_LOOP(the_next_deadline_is_the_least_of_all),
      WITH_LOOP(a_timer_wakes_the_loop_at_its_time),
      WITH_LOOP(a_timer_that_is_always_due_does_not_starve_the_rest),
      WITH_LOOP(a_timer_may_free_another_that_is_due),
      WITH_LOOP(a_task_posted_twice_runs_once),
      WITH_LOOP(a_task_that_posts_itself_runs_once_a_round),
      WITH_LOOP(a_hosts_poll_sees_posts_and_wakes),
      WITH_LOOP(a_host_that_promised_to_look_is_told_instead_of_woken),
      WITH_LOOP(tasks_left_when_the_loop_ends_are_not_queued_any_longer),
      WITH_LOOP(no_post_of_another_thread_is_lost),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
