/* bench_crew.c - the clients of a load test: threads that wait at a barrier, begin together and
 * are awaited together. They live through all rounds, so that starting threads is not measured. */
#include "cli/bench.h"

#include "net/clock.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STACK = 1 << 20 }; /* libpq, TLS and the sanitizers fit */

struct member {
  struct bench_crew *crew;
  unsigned number;
  pthread_t thread;
};

struct bench_crew {
  unsigned clients;
  pthread_barrier_t start, finish;
  /* written by the coordinator before the start barrier */
  bench_task task;
  void *context;
  bool quit;
  /* each client writes its own; the coordinator reads after the finish barrier */
  struct bench_sample *samples;
  pthread_mutex_t error_lock;
  char error[BENCH_ERROR];
  struct member members[];
};

static void task_run(struct bench_crew *crew, unsigned number)
{
  char error[BENCH_ERROR] = "";
  struct bench_sample *sample = &crew->samples[number];
  sample->start_ns = cen_now_ns();
  sample->ok = crew->task(crew->context, number, error);
  sample->end_ns = cen_now_ns();
  if (!sample->ok) {
    pthread_mutex_lock(&crew->error_lock);
    if (crew->error[0] == '\0') {
      memcpy(crew->error, error, sizeof error);
    }
    pthread_mutex_unlock(&crew->error_lock);
  }
}

static void *client(void *argument)
{
  struct member *member = argument;
  struct bench_crew *crew = member->crew;
  for (;;) {
    pthread_barrier_wait(&crew->start);
    if (crew->quit) {
      return NULL;
    }
    task_run(crew, member->number);
    pthread_barrier_wait(&crew->finish);
  }
}

/* Barriers that wait for `clients` threads and the coordinator. */
static bool barriers_init(struct bench_crew *crew, unsigned clients)
{
  if (pthread_barrier_init(&crew->start, NULL, clients + 1) != 0) {
    return false;
  }
  if (pthread_barrier_init(&crew->finish, NULL, clients + 1) != 0) {
    pthread_barrier_destroy(&crew->start);
    return false;
  }
  pthread_mutex_init(&crew->error_lock, NULL);
  return true;
}

static void crew_destroy(struct bench_crew *crew)
{
  pthread_barrier_destroy(&crew->start);
  pthread_barrier_destroy(&crew->finish);
  pthread_mutex_destroy(&crew->error_lock);
  free(crew->samples);
  free(crew);
}

/* Some threads started and the rest could not: those wait at a barrier that never fills. The
 * process is about to say so and end; they and the memory they use are left alone. */
static struct bench_crew *crew_give_up(int failure, unsigned started)
{
  fprintf(stderr, "cenote: cannot start client thread %u: %s\n", started + 1, strerror(failure));
  return NULL;
}

struct bench_crew *bench_crew_new(unsigned clients)
{
  struct bench_crew *crew = calloc(1, sizeof *crew + clients * sizeof crew->members[0]);
  struct bench_sample *samples = calloc(clients, sizeof samples[0]);
  if (!crew || !samples || !barriers_init(crew, clients)) {
    fputs("cenote: out of memory\n", stderr);
    free(crew);
    free(samples);
    return NULL;
  }
  crew->samples = samples;
  crew->clients = clients;
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, STACK);
  int failure = 0;
  unsigned started = 0;
  while (failure == 0 && started < clients) {
    struct member *member = &crew->members[started];
    *member = (struct member){.crew = crew, .number = started};
    failure = pthread_create(&member->thread, &attributes, client, member);
    started += failure == 0;
  }
  pthread_attr_destroy(&attributes);
  return failure == 0 ? crew : crew_give_up(failure, started);
}

const struct bench_sample *bench_crew_round(struct bench_crew *crew, bench_task task, void *context,
                                            char error[BENCH_ERROR])
{
  crew->task = task;
  crew->context = context;
  crew->error[0] = '\0';
  pthread_barrier_wait(&crew->start);
  pthread_barrier_wait(&crew->finish);
  if (error[0] == '\0') {
    memcpy(error, crew->error, BENCH_ERROR);
  }
  return crew->samples;
}

void bench_crew_free(struct bench_crew *crew)
{
  if (!crew) {
    return;
  }
  crew->quit = true;
  pthread_barrier_wait(&crew->start);
  for (unsigned i = 0; i < crew->clients; i++) {
    pthread_join(crew->members[i].thread, NULL);
  }
  crew_destroy(crew);
}
