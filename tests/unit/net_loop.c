/* net_loop.c - the event loop: what callbacks may do to it, and what threads may. */
#include "net/clock.h"
#include "net/fork.h"
#include "net/loop.h"

#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
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
  int others_calls; /* how often the other had been called when this one acted */
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
  probe->others_calls = other->calls;
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
    run_now();
    /* it may have been called for its old descriptor before, never after */
    int calls_before = active->others_calls;
    assert_int_equal(other->calls, calls_before);
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

static void a_parked_descriptor_is_taken_up_by_its_owner_alone(void **state)
{
  (void)state;
  struct probe first = {.watch.ready = probe_ready}, second = {.watch.ready = probe_ready};
  int ends[2];
  pair_open(ends);
  assert_int_equal(cen_watch_resume(loop, &first.watch, ends[0], POLLIN, 7), CENOTE_OK);
  cen_watch_park(&first.watch, 7);
  assert_int_equal(first.watch.fd, -1);
  assert_int_equal(cen_watch_resume(loop, &second.watch, ends[0], POLLIN, 7), CENOTE_OK);
  byte_send(ends[1]);
  run_now();
  assert_int_equal(first.calls, 0);
  assert_int_equal(second.calls, 1);
  cen_watch_park(&second.watch, 7);
  assert_int_equal(cen_watch_resume(loop, &first.watch, ends[0], POLLIN, 8), CENOTE_OK);
  run_now();
  assert_int_equal(first.calls, 1);
  cen_watch_park(&first.watch, 8);
  assert_int_equal(cen_watch_resume(loop, &first.watch, ends[0], POLLIN | POLLOUT, 8), CENOTE_OK);
  run_now();
  assert_int_equal(first.revents, POLLIN | POLLOUT);
  cen_watch_stop(&first.watch);
  pair_close(ends);
}

static bool loop_is_readable(void)
{
  struct pollfd slot = {.fd = cen_loop_fd(loop), .events = POLLIN};
  return poll(&slot, 1, 0) == 1;
}

static void what_comes_while_nobody_looks_ends_the_parking(void **state)
{
  (void)state;
  struct probe probe = {.watch.ready = probe_ready};
  int ends[2], again[2];
  pair_open(ends);
  assert_int_equal(cen_watch_set(loop, &probe.watch, ends[0], POLLIN), CENOTE_OK);
  cen_watch_park(&probe.watch, 7);
  byte_send(ends[1]);
  assert_true(loop_is_readable());
  run_now();
  assert_int_equal(probe.calls, 0);
  assert_false(loop_is_readable()); /* else a host's loop would spin */
  assert_int_equal(cen_watch_resume(loop, &probe.watch, ends[0], POLLIN, 7), CENOTE_OK);
  run_now();
  assert_int_equal(probe.calls, 1);
  /* Closed while it was parked, and the number is another's by now. */
  cen_watch_park(&probe.watch, 7);
  pair_close(ends);
  pair_open(again);
  assert_int_equal(again[0], ends[0]);
  assert_int_equal(cen_watch_set(loop, &probe.watch, again[0], POLLIN), CENOTE_OK);
  byte_send(again[1]);
  run_now();
  assert_int_equal(probe.calls, 2);
  cen_watch_stop(&probe.watch);
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

static int errands;

static void errand_run(struct cen_task *task)
{
  (void)task;
  errands++;
}

static void child_uses_the_loop(struct probe *probe)
{
  struct cen_task task;
  cen_task_init(&task, errand_run);
  cen_loop_post(loop, &task);
  cen_loop_wake(loop);
  cen_loop_run(loop, 0);
  if (errands != 0 || probe->calls != 0) {
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

static void alarm_fire(struct cen_timer *timer)
{
  (void)timer;
  errands++;
}

static void freeing_a_loop_stops_its_watches_and_timers(void **state)
{
  (void)state;
  int ends[2];
  pair_open(ends);
  struct probe probe = {.watch.ready = probe_ready};
  struct cen_timer timer = {.fire = alarm_fire};
  assert_int_equal(cen_watch_set(loop, &probe.watch, ends[0], POLLIN), CENOTE_OK);
  assert_int_equal(cen_timer_set(loop, &timer, 1), CENOTE_OK);
  cen_loop_free(loop);
  cen_watch_stop(&probe.watch);
  cen_timer_stop(&timer);
  assert_int_equal(probe.calls + errands, 0);
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
      WITH_LOOP(a_parked_descriptor_is_taken_up_by_its_owner_alone),
      WITH_LOOP(what_comes_while_nobody_looks_ends_the_parking),
      WITH_LOOP(more_descriptors_than_one_round_takes_are_all_served),
      WITH_LOOP(a_forked_child_leaves_the_parents_loop_alone),
      WITH_LOOP(freeing_a_loop_stops_its_watches_and_timers),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
