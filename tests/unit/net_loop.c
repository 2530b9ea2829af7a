/* net_loop.c - the event loop: what callbacks may do to it, and what threads may. */
#include "base/rng.h"
#include "net/clock.h"
#include "net/fork.h"
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
#include <sys/wait.h>
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

/* A watch that remembers, and does one of several things when called. */
struct probe {
  struct cen_watch watch;
  int calls;
  short revents;
  void (*then)(struct probe *probe);
  struct probe *other;
  int fd;
};

static void probe_ready(struct cen_watch *watch, short revents)
{
  struct probe *probe = CEN_CONTAINER(watch, struct probe, watch);
  probe->calls++;
  probe->revents = revents;
  if (probe->then != NULL) {
    probe->then(probe);
  }
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

static void byte_send(int fd)
{
  assert_int_equal(write(fd, "x", 1), 1);
}

static void run_now(void)
{
  cen_loop_run(loop, 0);
}

/* ----------------------------------------------------------------- watches */

static void a_watch_sees_what_it_asked_for(void **state)
{
  (void)state;
  int ends[2];
  pair_open(ends);
  struct probe probe = {.watch.ready = probe_ready};
  assert_int_equal(cen_watch_set(loop, &probe.watch, ends[0], POLLIN), CENOTE_OK);
  run_now();
  assert_int_equal(probe.calls, 0);
  byte_send(ends[1]);
  run_now();
  assert_int_equal(probe.revents, POLLIN);
  run_now();
  assert_int_equal(probe.calls, 2); /* as long as there is something to read */
  assert_int_equal(cen_watch_set(loop, &probe.watch, ends[0], POLLOUT), CENOTE_OK);
  run_now();
  assert_int_equal(probe.revents, POLLOUT);
  assert_int_equal(cen_watch_set(loop, &probe.watch, ends[0], POLLIN | POLLOUT), CENOTE_OK);
  run_now();
  assert_int_equal(probe.revents, POLLIN | POLLOUT);
  assert_int_equal(cen_watch_set(loop, &probe.watch, -1, 0), CENOTE_OK);
  run_now();
  assert_int_equal(probe.calls, 4);
  assert_null(probe.watch.loop);
  cen_watch_stop(&probe.watch); /* twice is fine */
  pair_close(ends);
}

static void a_hang_up_and_an_error_are_reported(void **state)
{
  (void)state;
  int ends[2];
  pair_open(ends);
  struct probe probe = {.watch.ready = probe_ready};
  assert_int_equal(cen_watch_set(loop, &probe.watch, ends[0], POLLIN), CENOTE_OK);
  close(ends[1]);
  run_now();
  assert_int_equal(probe.revents, POLLIN | POLLHUP);
  cen_watch_stop(&probe.watch);
  close(ends[0]);

  assert_int_equal(pipe(ends), 0);
  assert_int_equal(cen_watch_set(loop, &probe.watch, ends[1], 0), CENOTE_OK);
  close(ends[0]);
  run_now();
  assert_int_equal(probe.revents, POLLERR);
  cen_watch_stop(&probe.watch);
  close(ends[1]);
}

static void what_cannot_be_watched_is_an_error(void **state)
{
  (void)state;
  struct probe probe = {.watch.ready = probe_ready};
  char name[] = "/tmp/cenote-loop-XXXXXX";
  int file = mkstemp(name);
  unlink(name);
  assert_int_equal(cen_watch_set(loop, &probe.watch, file, POLLIN), CENOTE_INVALID);
  assert_int_equal(probe.watch.fd, -1);
  close(file);
  assert_int_equal(cen_watch_set(loop, &probe.watch, file, POLLIN), CENOTE_INVALID);
  /* and after a failure the watch works as before */
  int ends[2];
  pair_open(ends);
  assert_int_equal(cen_watch_set(loop, &probe.watch, ends[0], POLLOUT), CENOTE_OK);
  assert_int_equal(cen_watch_set(loop, &probe.watch, cen_loop_fd(loop), POLLIN), CENOTE_INVALID);
  run_now();
  assert_int_equal(probe.calls, 0);
  pair_close(ends);
}

static void stop_the_other(struct probe *probe)
{
  cen_watch_stop(&probe->other->watch);
}

static void free_the_other(struct probe *probe)
{
  if (probe->other != NULL) {
    cen_watch_stop(&probe->other->watch);
    memset(probe->other, 0xA5, sizeof(*probe->other));
    free(probe->other);
    probe->other = NULL;
  }
}

static void a_watch_stopped_by_another_is_not_called(void **state)
{
  (void)state;
  int ends[2][2];
  struct probe probes[2] = {{.watch.ready = probe_ready}, {.watch.ready = probe_ready}};
  for (int i = 0; i < 2; i++) {
    pair_open(ends[i]);
    probes[i].then = stop_the_other;
    probes[i].other = &probes[1 - i];
    assert_int_equal(cen_watch_set(loop, &probes[i].watch, ends[i][0], POLLOUT), CENOTE_OK);
  }
  run_now(); /* both are ready at once */
  assert_int_equal(probes[0].calls + probes[1].calls, 1);
  cen_watch_stop(&probes[0].watch);
  cen_watch_stop(&probes[1].watch);
  pair_close(ends[0]);
  pair_close(ends[1]);
}

static void a_watch_freed_by_another_is_not_touched(void **state)
{
  (void)state;
  enum { PROBES = 8 };
  int ends[PROBES][2];
  struct probe *probes[PROBES];
  for (int i = 0; i < PROBES; i++) {
    pair_open(ends[i]);
    probes[i] = calloc(1, sizeof(struct probe));
    probes[i]->watch.ready = probe_ready;
    probes[i]->then = free_the_other;
    assert_int_equal(cen_watch_set(loop, &probes[i]->watch, ends[i][0], POLLOUT), CENOTE_OK);
  }
  for (int i = 0; i < PROBES; i += 2) {
    probes[i]->other = probes[i + 1]; /* whoever of the two is first: 1 has no other */
  }
  run_now();
  for (int i = 0; i < PROBES; i += 2) {
    assert_int_equal(probes[i]->calls, 1);
    assert_null(probes[i]->other);
    cen_watch_stop(&probes[i]->watch);
    free(probes[i]);
  }
  for (int i = 0; i < PROBES; i++) {
    pair_close(ends[i]);
  }
}

static void free_itself(struct probe *probe)
{
  cen_watch_stop(&probe->watch);
  free(probe);
}

static void a_watch_may_free_itself(void **state)
{
  (void)state;
  int ends[2];
  pair_open(ends);
  struct probe *probe = calloc(1, sizeof(*probe));
  probe->watch.ready = probe_ready;
  probe->then = free_itself;
  assert_int_equal(cen_watch_set(loop, &probe->watch, ends[0], POLLOUT), CENOTE_OK);
  run_now();
  run_now();
  pair_close(ends);
}

/* Closes the other's descriptor, opens a new one under the same number, and gives it to a watch:
 * the event that is still in hand belongs to the past. */
static void replace_descriptor(struct probe *probe)
{
  if (probe->other == NULL) {
    return;
  }
  struct probe *other = probe->other;
  probe->other = NULL;
  int number = other->fd;
  int ends[2];
  pair_open(ends);
  assert_int_equal(dup2(ends[0], number), number);
  close(ends[0]);
  probe->fd = ends[1]; /* kept open by the test */
  assert_int_equal(cen_watch_set(loop, &other->watch, number, POLLIN), CENOTE_OK);
}

static void an_event_of_a_closed_descriptor_does_not_reach_its_successor(void **state)
{
  (void)state;
  for (int first = 0; first < 2; first++) {
    int ends[2][2];
    struct probe probes[2] = {{.watch.ready = probe_ready}, {.watch.ready = probe_ready}};
    for (int i = 0; i < 2; i++) {
      pair_open(ends[i]);
      probes[i].fd = ends[i][0];
      assert_int_equal(cen_watch_set(loop, &probes[i].watch, ends[i][0], POLLOUT), CENOTE_OK);
    }
    struct probe *active = &probes[first], *other = &probes[1 - first];
    active->then = replace_descriptor;
    active->other = other;
    int calls_before = 0;
    run_now();
    /* it was called for its old descriptor (before) or not at all, never for the new one */
    calls_before = other->calls;
    assert_true(calls_before == 0 || other->revents == POLLOUT);
    run_now();
    assert_int_equal(other->calls, calls_before);
    byte_send(active->fd);
    run_now();
    assert_int_equal(other->calls, calls_before + 1);
    assert_int_equal(other->revents, POLLIN);
    close(active->fd);
    cen_watch_stop(&probes[0].watch);
    cen_watch_stop(&probes[1].watch);
    pair_close(ends[0]);
    pair_close(ends[1]);
  }
}

static void a_descriptor_closed_and_reopened_is_watched_after_set(void **state)
{
  (void)state;
  int ends[2], again[2];
  pair_open(ends);
  struct probe probe = {.watch.ready = probe_ready}, late = {.watch.ready = probe_ready};
  assert_int_equal(cen_watch_set(loop, &probe.watch, ends[0], POLLIN), CENOTE_OK);
  int number = ends[0];
  pair_close(ends); /* behind the loop's back, as a library does */
  pair_open(again);
  assert_int_equal(again[0], number);
  assert_int_equal(cen_watch_set(loop, &probe.watch, again[0], POLLIN), CENOTE_OK);
  byte_send(again[1]);
  run_now();
  assert_int_equal(probe.calls, 1);
  /* the same number for another watch: the first one's stop must not take it away */
  pair_close(again);
  pair_open(again);
  assert_int_equal(cen_watch_set(loop, &late.watch, again[0], POLLIN), CENOTE_OK);
  cen_watch_stop(&probe.watch);
  byte_send(again[1]);
  run_now();
  assert_int_equal(late.calls, 1);
  assert_int_equal(probe.calls, 1);
  cen_watch_stop(&late.watch);
  pair_close(again);
}

static void more_descriptors_than_one_round_takes_are_all_served(void **state)
{
  (void)state;
  enum { PAIRS = 100 };
  static int ends[PAIRS][2];
  static struct probe probes[PAIRS];
  memset(probes, 0, sizeof(probes));
  for (int i = 0; i < PAIRS; i++) {
    pair_open(ends[i]);
    probes[i].watch.ready = probe_ready;
    assert_int_equal(cen_watch_set(loop, &probes[i].watch, ends[i][0], POLLOUT), CENOTE_OK);
  }
  run_now();
  run_now();
  for (int i = 0; i < PAIRS; i++) {
    assert_true(probes[i].calls > 0);
    cen_watch_stop(&probes[i].watch);
    pair_close(ends[i]);
  }
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

/* -------------------------------------------------------------------- fork */

static int child_of(void (*body)(struct probe *probe), struct probe *probe)
{
  pid_t child = fork();
  if (child == 0) {
    body(probe);
    _exit(0);
  }
  int status = -1;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

static void child_uses_the_loop(struct probe *probe)
{
  struct errand errand = {0};
  cen_task_init(&errand.task, errand_run);
  cen_loop_post(loop, &errand.task);
  cen_loop_wake(loop);
  cen_loop_run(loop, 0);
  if (errand.runs != 0 || probe->calls != 0) {
    _exit(1);
  }
  struct probe mine = {.watch.ready = probe_ready};
  if (cen_watch_set(loop, &mine.watch, probe->fd, POLLIN) != CENOTE_FORKED) {
    _exit(2);
  }
  cen_watch_stop(&probe->watch); /* must not take it out of the parent's set */
  if (probe->watch.fd != -1) {
    _exit(3);
  }
  cen_loop_free(loop);
}

static void child_frees_the_loop(struct probe *probe)
{
  cen_loop_free_child(loop);
  if (probe->watch.loop != NULL) {
    _exit(1);
  }
}

static void a_forked_child_leaves_the_parents_loop_alone(void **state)
{
  (void)state;
  int ends[2];
  pair_open(ends);
  struct probe probe = {.watch.ready = probe_ready, .fd = ends[0]};
  assert_int_equal(cen_watch_set(loop, &probe.watch, ends[0], POLLIN), CENOTE_OK);
  uint32_t count = cen_fork_count;
  assert_int_equal(child_of(child_uses_the_loop, &probe), 0);
  assert_int_equal(child_of(child_frees_the_loop, &probe), 0);
  assert_int_equal(cen_fork_count, count);
  struct pollfd fd = {.fd = cen_loop_fd(loop), .events = POLLIN};
  assert_int_equal(poll(&fd, 1, 0), 0); /* the child's post and wake woke nobody here */
  byte_send(ends[1]);
  run_now();
  assert_int_equal(probe.calls, 1);
  cen_watch_stop(&probe.watch);
  pair_close(ends);
}

static void freeing_a_loop_stops_its_watches_and_timers(void **state)
{
  (void)state;
  int ends[2];
  pair_open(ends);
  struct probe probe = {.watch.ready = probe_ready};
  struct alarm alarm = {.timer.fire = alarm_fire};
  assert_int_equal(cen_watch_set(loop, &probe.watch, ends[0], POLLIN), CENOTE_OK);
  assert_int_equal(cen_timer_set(loop, &alarm.timer, 1), CENOTE_OK);
  cen_loop_free(loop);
  cen_watch_stop(&probe.watch);
  cen_timer_stop(&alarm.timer);
  assert_int_equal(probe.calls + alarm.fired, 0);
  assert_int_equal(cen_loop_new(&loop, NULL), CENOTE_OK);
  pair_close(ends);
  cen_loop_free(NULL);
  cen_loop_free_child(NULL);
}

#define WITH_LOOP(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
  const struct CMUnitTest tests[] = {
      WITH_LOOP(a_watch_sees_what_it_asked_for),
      WITH_LOOP(a_hang_up_and_an_error_are_reported),
      WITH_LOOP(what_cannot_be_watched_is_an_error),
      WITH_LOOP(a_watch_stopped_by_another_is_not_called),
      WITH_LOOP(a_watch_freed_by_another_is_not_touched),
      WITH_LOOP(a_watch_may_free_itself),
      WITH_LOOP(an_event_of_a_closed_descriptor_does_not_reach_its_successor),
      WITH_LOOP(a_descriptor_closed_and_reopened_is_watched_after_set),
      WITH_LOOP(more_descriptors_than_one_round_takes_are_all_served),
      WITH_LOOP(timers_fire_in_order_and_once),
      WITH_LOOP(the_next_deadline_is_the_least_of_all),
      WITH_LOOP(a_timer_wakes_the_loop_at_its_time),
      WITH_LOOP(a_timer_that_is_always_due_does_not_starve_the_rest),
      WITH_LOOP(a_timer_may_free_another_that_is_due),
      WITH_LOOP(a_task_posted_twice_runs_once),
      WITH_LOOP(a_task_that_posts_itself_runs_once_a_round),
      WITH_LOOP(a_hosts_poll_sees_posts_and_wakes),
      WITH_LOOP(tasks_left_when_the_loop_ends_are_not_queued_any_longer),
      WITH_LOOP(no_post_of_another_thread_is_lost),
      WITH_LOOP(a_forked_child_leaves_the_parents_loop_alone),
      WITH_LOOP(freeing_a_loop_stops_its_watches_and_timers),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
