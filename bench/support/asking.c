/* asking.c - see asking.h. */
#include "support/asking.h"

#include "support/bench.h"

#include <cenote/loop.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <semaphore.h>
#include <stdlib.h>

static const char operation[] = "get-user-profile";

/* Begun once, as a thread of a program does that runs many statements. */
static _Thread_local cenote_error error = CENOTE_ERROR_INIT;

static void answer_check(cenote_status status, const cenote_error *cause,
                         const cenote_result *result, int64_t key)
{
  if (status != CENOTE_OK) {
    bench_die("cenote: %s\n%s", cause->message, cause->details);
  }
  if (cenote_result_integer(result, 0, 0) != key) {
    bench_die("cenote: a wrong answer");
  }
}

void bench_ask_leased(cenote_manager *manager, const bench_ask *ask)
{
  cenote_lease lease;
  cenote_result *result = NULL;
  cenote_value argument = cenote_integer(ask->key);
  cenote_status status = cenote_acquire(manager, operation, -1, &lease, &error);
  if (status == CENOTE_OK) {
    status = cenote_execute(lease, bench_ask_sql(ask), &argument, 1, &result, &error);
  }
  answer_check(status, &error, result, ask->key);
  if (cenote_release(lease) != CENOTE_OK) {
    bench_die("cenote: a release failed");
  }
  cenote_result_free(result);
}

void bench_ask_query(cenote_manager *manager, const bench_ask *ask)
{
  cenote_result *result = NULL;
  cenote_value argument = cenote_integer(ask->key);
  cenote_query_options options = CENOTE_QUERY_OPTIONS_INIT;
  options.operation_id = operation;
  cenote_status status =
      cenote_query(manager, bench_ask_sql(ask), &argument, 1, &options, &result, &error);
  answer_check(status, &error, result, ask->key);
  cenote_result_free(result);
}

/* ------------------------------------------------------------- without waiting */

struct flock;

struct caller {
  struct flock *flock;
  bench_ask ask;
  int64_t turn, step;
};

/* Used by one thread at a time: who submits first, then who calls back. */
struct flock {
  cenote_manager *manager;
  int64_t until_ns; /* 0: each caller asks once */
  bool stays;       /* each asks for the same row again */
  _Atomic int64_t running;
  int64_t answered;
  sem_t ended;
  struct caller *callers;
};

static void caller_answered(void *context, cenote_status status, cenote_result *result,
                            const cenote_error *cause);

static void caller_ask(struct caller *caller)
{
  cenote_value argument = cenote_integer(caller->ask.key);
  cenote_query_options options = CENOTE_QUERY_OPTIONS_INIT;
  options.operation_id = operation;
  if (cenote_query_async(caller->flock->manager, bench_ask_sql(&caller->ask), &argument, 1,
                         &options, caller_answered, caller, NULL, &error) != CENOTE_OK) {
    bench_die("cenote: %s", error.message);
  }
}

static void caller_answered(void *context, cenote_status status, cenote_result *result,
                            const cenote_error *cause)
{
  struct caller *caller = context;
  struct flock *flock = caller->flock;
  answer_check(status, cause, result, caller->ask.key);
  cenote_result_free(result);
  flock->answered++;
  if (flock->until_ns > 0 && bench_wall_ns() < flock->until_ns) {
    if (!flock->stays) {
      caller->turn += caller->step;
      caller->ask.key = bench_customer_key(caller->turn);
    }
    caller_ask(caller);
  } else if (--flock->running == 0) {
    sem_post(&flock->ended);
  }
}

static void loop_turn(cenote_manager *manager)
{
  struct pollfd polled = {.fd = cenote_pollfd(manager), .events = POLLIN};
  int64_t patience = cenote_next_deadline(manager);
  int patience_ms = patience < 0 || patience > INT_MAX ? -1 : (int)patience;
  if (poll(&polled, 1, patience_ms) < 0 && errno != EINTR) {
    bench_die("poll failed");
  }
  if (cenote_dispatch(manager, &error) != CENOTE_OK) {
    bench_die("cenote: %s", error.message);
  }
}

static void flock_wait(struct flock *flock)
{
  if (cenote_pollfd(flock->manager) < 0) {
    while (sem_wait(&flock->ended) != 0) { /* a signal */
    }
    return;
  }
  while (flock->running > 0) {
    loop_turn(flock->manager);
  }
}

static void flock_run(struct flock *flock, size_t count)
{
  flock->running = (int64_t)count;
  if (sem_init(&flock->ended, 0, 0) != 0) {
    bench_die("no semaphore");
  }
  for (size_t i = 0; i < count; i++) {
    flock->callers[i].flock = flock;
    caller_ask(&flock->callers[i]);
  }
  flock_wait(flock);
  sem_destroy(&flock->ended);
}

static struct caller *callers_new(size_t count)
{
  struct caller *callers = calloc(count, sizeof *callers);
  if (callers == NULL) {
    bench_die("out of memory");
  }
  return callers;
}

int64_t bench_ask_keep_at(cenote_manager *manager, const bench_ask *asks, size_t count,
                          int64_t until_ns)
{
  struct flock flock = {
      .manager = manager, .until_ns = until_ns, .stays = true, .callers = callers_new(count)};
  for (size_t i = 0; i < count; i++) {
    flock.callers[i].ask = asks[i];
  }
  flock_run(&flock, count);
  free(flock.callers);
  return flock.answered;
}

void bench_ask_all(cenote_manager *manager, const bench_ask *asks, size_t count)
{
  (void)bench_ask_keep_at(manager, asks, count, 0);
}

int64_t bench_ask_keep(cenote_manager *manager, int callers, int64_t until_ns)
{
  size_t count = (size_t)callers;
  struct flock flock = {.manager = manager, .until_ns = until_ns, .callers = callers_new(count)};
  for (size_t i = 0; i < count; i++) {
    flock.callers[i].turn = (int64_t)i;
    flock.callers[i].step = callers;
    flock.callers[i].ask.key = bench_customer_key((int64_t)i);
  }
  flock_run(&flock, count);
  free(flock.callers);
  return flock.answered;
}
