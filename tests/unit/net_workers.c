/* net_workers.c - worker threads: bounded, quiet at the end, whole after a fork. */
#include "base/sanitized.h"
#include "net/clock.h"
#include "net/workers.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static _Atomic int disposed;
static _Atomic int working;      /* jobs inside work() */
static _Atomic int most_working; /* the most there were */
static atomic_bool gate_open;

/* A job that waits at the gate, then writes its result. */
struct chore {
  struct cen_job job;
  bool waits;
  int result;
  bool signals_blocked;
};

static void chore_work(struct cen_job *job)
{
  struct chore *chore = (struct chore *)job;
  int now = atomic_fetch_add(&working, 1) + 1;
  int most = atomic_load(&most_working);
  while (now > most && !atomic_compare_exchange_weak(&most_working, &most, now)) {
  }
  while (chore->waits && !atomic_load(&gate_open)) {
    usleep(500);
  }
  sigset_t mask;
  pthread_sigmask(SIG_SETMASK, NULL, &mask);
  chore->signals_blocked = sigismember(&mask, SIGTERM) == 1 && sigismember(&mask, SIGUSR1) == 1;
  chore->result = 42;
  atomic_fetch_sub(&working, 1);
}

static void chore_dispose(struct cen_job *job)
{
  atomic_fetch_add(&disposed, 1);
  free(job);
}

static struct chore *chore_new(bool waits)
{
  struct chore *chore = calloc(1, sizeof(*chore));
  chore->job.work = chore_work;
  chore->job.dispose = chore_dispose;
  chore->waits = waits;
  return chore;
}

static struct chore *chore_started(bool waits)
{
  struct chore *chore = chore_new(waits);
  assert_int_equal(cen_job_start(&chore->job, NULL), CENOTE_OK);
  return chore;
}

static void chore_await(struct chore *chore)
{
  struct pollfd fd = {.fd = chore->job.done_fd, .events = POLLIN};
  assert_int_equal(poll(&fd, 1, 60000), 1);
  assert_true(cen_job_done(&chore->job));
}

static void await_count(_Atomic int *counter, int expected)
{
  for (int i = 0; i < 60000 && atomic_load(counter) != expected; i++) {
    usleep(1000);
  }
  assert_int_equal(atomic_load(counter), expected);
}

static int begin(void **state)
{
  (void)state;
  atomic_store(&disposed, 0);
  atomic_store(&most_working, 0);
  atomic_store(&gate_open, false);
  return 0;
}

static int end(void **state)
{
  (void)state;
  atomic_store(&gate_open, true);
  cen_workers_stop();
  return 0;
}

static void a_job_runs_and_its_result_is_seen(void **state)
{
  (void)state;
  struct chore *chore = chore_started(false);
  assert_true(chore->job.done_fd >= 0);
  chore_await(chore);
  assert_int_equal(chore->result, 42);
  assert_true(chore->signals_blocked);
  assert_int_equal(atomic_load(&disposed), 0);
  cen_job_drop(&chore->job);
  await_count(&disposed, 1);
  sigset_t mask;
  pthread_sigmask(SIG_SETMASK, NULL, &mask);
  assert_int_equal(sigismember(&mask, SIGTERM), 0); /* ours is as it was */
}

static void a_job_dropped_while_it_runs_is_disposed_at_its_end(void **state)
{
  (void)state;
  struct chore *chore = chore_started(true);
  await_count(&working, 1);
  assert_false(cen_job_done(&chore->job));
  cen_job_drop(&chore->job);
  usleep(2000);
  assert_int_equal(atomic_load(&disposed), 0);
  atomic_store(&gate_open, true);
  await_count(&disposed, 1);
}

static void threads_have_a_ceiling_and_so_has_the_queue(void **state)
{
  (void)state;
  cenote_error error = CENOTE_ERROR_INIT;
  enum { ALL = CEN_WORKERS_THREADS + CEN_WORKERS_QUEUE };
  for (int i = 0; i < CEN_WORKERS_THREADS; i++) {
    cen_job_drop(&chore_started(true)->job);
  }
  await_count(&working, CEN_WORKERS_THREADS);
  for (int i = 0; i < CEN_WORKERS_QUEUE; i++) {
    cen_job_drop(&chore_started(true)->job);
  }
  struct chore *refused = chore_new(true);
  assert_int_equal(cen_job_start(&refused->job, &error), CENOTE_QUEUE_FULL);
  assert_non_null(strstr(error.message, "256"));
  assert_int_equal(refused->job.done_fd, -1);
  assert_false(cen_job_done(&refused->job));
  cen_job_drop(&refused->job); /* nothing to let go of */
  /* another set is not in the least concerned */
  refused->job.set = CEN_WORKERS_CANCEL;
  refused->waits = false;
  assert_int_equal(cen_job_start(&refused->job, &error), CENOTE_OK);
  chore_await(refused);
  cen_job_drop(&refused->job);
  await_count(&disposed, 1);
  atomic_store(&gate_open, true);
  await_count(&disposed, ALL + 1);
  assert_int_equal(atomic_load(&most_working), CEN_WORKERS_THREADS + 1);
}

static void a_set_that_does_not_exist_is_refused(void **state)
{
  (void)state;
  struct chore *chore = chore_new(false);
  chore->job.set = CEN_WORKER_SETS;
  assert_int_equal(cen_job_start(&chore->job, NULL), CENOTE_INVALID);
  free(chore);
}

static int worker_threads(void)
{
  int count = 0;
  DIR *folder = opendir("/proc/self/task");
  for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
    char name[300], text[32] = "";
    snprintf(name, sizeof(name), "/proc/self/task/%s/comm", entry->d_name);
    FILE *file = entry->d_name[0] != '.' ? fopen(name, "r") : NULL;
    if (file != NULL) {
      count += fgets(text, sizeof(text), file) != NULL && strcmp(text, "cenote-worker\n") == 0;
      fclose(file);
    }
  }
  closedir(folder);
  return count;
}

static void idle_threads_are_used_before_new_ones_start(void **state)
{
  (void)state;
  for (int i = 0; i < 50; i++) {
    struct chore *chore = chore_started(false);
    chore_await(chore);
    cen_job_drop(&chore->job);
    usleep(2000); /* time for the thread to become idle again */
  }
  await_count(&disposed, 50);
  assert_int_equal(atomic_load(&most_working), 1);
  /* one, and now and then another where the machine was busy, but not all there may be */
  assert_in_range(worker_threads(), 1, CEN_WORKERS_THREADS - 2);
}

static void *drop_many(void *argument)
{
  for (int i = 0; i < 60; i++) {
    struct chore *chore = chore_new(false);
    chore->job.set = (enum cen_worker_set)(i % CEN_WORKER_SETS);
    if (cen_job_start(&chore->job, NULL) != CENOTE_OK) {
      free(chore);
      return argument;
    }
    if (i % 3 == 0) {
      struct pollfd fd = {.fd = chore->job.done_fd, .events = POLLIN};
      poll(&fd, 1, 60000);
      if (!cen_job_done(&chore->job) || chore->result != 42) {
        return argument;
      }
    }
    cen_job_drop(&chore->job);
  }
  return NULL;
}

static void several_threads_hand_jobs_over(void **state)
{
  (void)state;
  pthread_t threads[3];
  for (int i = 0; i < 3; i++) {
    assert_int_equal(pthread_create(&threads[i], NULL, drop_many, &threads), 0);
  }
  for (int i = 0; i < 3; i++) {
    void *answer;
    pthread_join(threads[i], &answer);
    assert_null(answer);
  }
  await_count(&disposed, 180);
}

static void await_no_worker(void)
{
  for (int i = 0; i < 600 && worker_threads() > 0; i++) {
    usleep(100000);
  }
  assert_int_equal(worker_threads(), 0);
}

static void idle_threads_end_by_themselves(void **state)
{
  (void)state;
  await_no_worker();
  struct chore *chore = chore_started(false);
  chore_await(chore);
  cen_job_drop(&chore->job);
  assert_int_equal(worker_threads(), 1);
  await_no_worker();
  chore = chore_started(false); /* and new ones start */
  chore_await(chore);
  cen_job_drop(&chore->job);
}

/* In the child: what the parent had handed over never runs, and jobs of its own do. */
static int child_main(struct chore *running, struct chore *queued)
{
  int before = atomic_load(&disposed);
  if (cen_job_done(&running->job) || cen_job_done(&queued->job)) {
    return 1;
  }
  cen_job_drop(&queued->job);
  if (atomic_load(&disposed) != before + 1) {
    return 2;
  }
  cen_job_drop(&running->job); /* its thread may have left it half done: only forgotten */
  if (atomic_load(&disposed) != before + 1) {
    return 3;
  }
  for (int i = 0; i < 3; i++) {
    struct chore *chore = chore_new(false);
    if (cen_job_start(&chore->job, NULL) != CENOTE_OK) {
      return 4;
    }
    struct pollfd fd = {.fd = chore->job.done_fd, .events = POLLIN};
    if (poll(&fd, 1, 60000) != 1 || !cen_job_done(&chore->job) || chore->result != 42) {
      return 5;
    }
    cen_job_drop(&chore->job);
  }
  cen_workers_stop();
  return atomic_load(&disposed) == before + 4 ? 0 : 6;
}

static void a_forked_child_starts_afresh(void **state)
{
  (void)state;
  if (CEN_SANITIZED_THREAD) {
    skip(); /* it forbids threads in a forked child */
  }
  struct chore *running[CEN_WORKERS_THREADS];
  for (int i = 0; i < CEN_WORKERS_THREADS; i++) {
    running[i] = chore_started(true);
  }
  await_count(&working, CEN_WORKERS_THREADS);
  struct chore *queued = chore_started(true);
  struct chore *nobodys = chore_started(true);
  cen_job_drop(&nobodys->job);
  pid_t child = fork();
  if (child == 0) {
    _exit(child_main(running[0], queued));
  }
  int status = -1;
  waitpid(child, &status, 0);
  assert_true(WIFEXITED(status));
  assert_int_equal(WEXITSTATUS(status), 0);
  assert_false(cen_job_done(&queued->job)); /* the child changed nothing here */
  atomic_store(&gate_open, true);
  chore_await(queued);
  cen_job_drop(&queued->job);
  for (int i = 0; i < CEN_WORKERS_THREADS; i++) {
    chore_await(running[i]);
    cen_job_drop(&running[i]->job);
  }
  await_count(&disposed, CEN_WORKERS_THREADS + 2);
}

static atomic_bool keep_going;

static void *start_and_drop(void *argument)
{
  while (atomic_load(&keep_going)) {
    struct chore *chore = chore_new(false);
    if (cen_job_start(&chore->job, NULL) == CENOTE_OK) {
      struct pollfd fd = {.fd = chore->job.done_fd, .events = POLLIN};
      poll(&fd, 1, 60000);
      cen_job_drop(&chore->job);
    } else {
      free(chore);
    }
  }
  return argument;
}

/* The lock is busy all the time; a fork that did not take it first would leave some child with a
 * lock that nobody can give back. */
static void a_fork_in_the_middle_of_it_all_does_not_hang_the_child(void **state)
{
  (void)state;
  if (CEN_SANITIZED_THREAD) {
    skip(); /* it forbids threads in a forked child */
  }
  atomic_store(&keep_going, true);
  pthread_t threads[2];
  for (int i = 0; i < 2; i++) {
    assert_int_equal(pthread_create(&threads[i], NULL, start_and_drop, NULL), 0);
  }
  int failures = 0;
  for (int i = 0; i < 25; i++) {
    pid_t child = fork();
    if (child == 0) {
      alarm(60);
      struct chore *chore = chore_new(false);
      if (cen_job_start(&chore->job, NULL) != CENOTE_OK) {
        _exit(1);
      }
      struct pollfd fd = {.fd = chore->job.done_fd, .events = POLLIN};
      bool fine = poll(&fd, 1, 50000) == 1 && cen_job_done(&chore->job) && chore->result == 42;
      _exit(fine ? 0 : 2);
    }
    int status = -1;
    waitpid(child, &status, 0);
    failures += !WIFEXITED(status) || WEXITSTATUS(status) != 0;
  }
  atomic_store(&keep_going, false);
  for (int i = 0; i < 2; i++) {
    pthread_join(threads[i], NULL);
  }
  assert_int_equal(failures, 0);
}

#define WITH_WORKERS(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
  const struct CMUnitTest tests[] = {
      WITH_WORKERS(a_job_runs_and_its_result_is_seen),
      WITH_WORKERS(a_job_dropped_while_it_runs_is_disposed_at_its_end),
      WITH_WORKERS(threads_have_a_ceiling_and_so_has_the_queue),
      WITH_WORKERS(a_set_that_does_not_exist_is_refused),
      WITH_WORKERS(idle_threads_are_used_before_new_ones_start),
      WITH_WORKERS(several_threads_hand_jobs_over),
      WITH_WORKERS(idle_threads_end_by_themselves),
      WITH_WORKERS(a_forked_child_starts_afresh),
      WITH_WORKERS(a_fork_in_the_middle_of_it_all_does_not_hang_the_child),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
