/* crowd.c - see crowd.h. */
#include "support/crowd.h"

#include "support/bench.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

/* On cache lines of its own: members share nothing but what they measure. */
struct member {
  _Alignas(128) bench_crowd *crowd;
  pthread_t thread;
  int number;
  int64_t turns; /* ever */
  int64_t done, begin_ns, end_ns;
};

struct bench_crowd {
  pthread_barrier_t start, finish;
  /* written by the main thread before the start barrier */
  bench_crowd_task task;
  void *context;
  int64_t until_ns; /* 0: once */
  bool quit;
  int threads;
  struct member *members;
};

static void *member_main(void *argument)
{
  struct member *member = argument;
  bench_crowd *crowd = member->crowd;
  for (;;) {
    pthread_barrier_wait(&crowd->start);
    if (crowd->quit) {
      return NULL;
    }
    int64_t done = 0;
    member->begin_ns = bench_wall_ns();
    do {
      crowd->task(crowd->context, member->number, member->turns++);
      done++;
      member->end_ns = bench_wall_ns();
    } while (member->end_ns < crowd->until_ns);
    member->done = done;
    pthread_barrier_wait(&crowd->finish);
  }
}

bench_crowd *bench_crowd_new(int threads)
{
  bench_crowd *crowd = calloc(1, sizeof *crowd);
  size_t count = (size_t)threads;
  struct member *members = aligned_alloc(_Alignof(struct member), count * sizeof *members);
  if (crowd == NULL || members == NULL) {
    bench_die("out of memory");
  }
  crowd->threads = threads;
  crowd->members = members;
  unsigned waiters = (unsigned)threads + 1;
  if (pthread_barrier_init(&crowd->start, NULL, waiters) != 0 ||
      pthread_barrier_init(&crowd->finish, NULL, waiters) != 0) {
    bench_die("no barrier");
  }
  for (int i = 0; i < threads; i++) {
    members[i] = (struct member){.crowd = crowd, .number = i};
    if (pthread_create(&members[i].thread, NULL, member_main, &members[i]) != 0) {
      bench_die("no thread");
    }
  }
  return crowd;
}

static void crowd_run(bench_crowd *crowd, bench_crowd_task task, void *context, int64_t until_ns)
{
  crowd->task = task;
  crowd->context = context;
  crowd->until_ns = until_ns;
  pthread_barrier_wait(&crowd->start);
  pthread_barrier_wait(&crowd->finish);
}

int64_t bench_crowd_once(bench_crowd *crowd, bench_crowd_task task, void *context)
{
  int64_t first = INT64_MAX;
  int64_t last = 0;
  crowd_run(crowd, task, context, 0);
  for (int i = 0; i < crowd->threads; i++) {
    const struct member *member = &crowd->members[i];
    first = member->begin_ns < first ? member->begin_ns : first;
    last = member->end_ns > last ? member->end_ns : last;
  }
  return last - first;
}

int64_t bench_crowd_keep(bench_crowd *crowd, bench_crowd_task task, void *context, int64_t until_ns)
{
  int64_t done = 0;
  crowd_run(crowd, task, context, until_ns);
  for (int i = 0; i < crowd->threads; i++) {
    done += crowd->members[i].done;
  }
  return done;
}

void bench_crowd_free(bench_crowd *crowd)
{
  crowd->quit = true;
  pthread_barrier_wait(&crowd->start);
  for (int i = 0; i < crowd->threads; i++) {
    pthread_join(crowd->members[i].thread, NULL);
  }
  pthread_barrier_destroy(&crowd->start);
  pthread_barrier_destroy(&crowd->finish);
  free(crowd->members);
  free(crowd);
}
