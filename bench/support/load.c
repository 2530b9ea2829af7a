/* load.c - see load.h. */
#include "support/load.h"

#include "support/bench.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

/* A worker that has taken this many samples takes no more. */
enum { SAMPLES_MAX = 1 << 20 };

/* On cache lines of its own: workers share nothing but the pool. */
struct worker {
  _Alignas(128) pthread_t thread;
  const bench_contender *contender;
  const bench_load *load;
  pthread_mutex_t *gate; /* locked until all may start */
  _Atomic bool *stop;
  int64_t cycles;
  uint32_t *samples;
  size_t sample_count;
};

static void acquire_timed(struct worker *worker, bench_held *held)
{
  int64_t before = bench_wall_ns();
  worker->contender->acquire(held);
  int64_t waited = bench_wall_ns() - before;
  if (worker->sample_count < SAMPLES_MAX) {
    worker->samples[worker->sample_count++] = waited < UINT32_MAX ? (uint32_t)waited : UINT32_MAX;
  }
}

static void *worker_main(void *argument)
{
  struct worker *worker = argument;
  const bench_contender *contender = worker->contender;
  struct timespec hold = {.tv_nsec = worker->load->hold_us * 1000L};
  int sample_every = worker->load->sample_every;
  int until_sample = sample_every;
  int64_t cycles = 0;
  pthread_mutex_lock(worker->gate);
  pthread_mutex_unlock(worker->gate);
  while (!atomic_load_explicit(worker->stop, memory_order_relaxed)) {
    bench_held held;
    if (--until_sample == 0) {
      until_sample = sample_every;
      acquire_timed(worker, &held);
    } else {
      contender->acquire(&held);
    }
    if (hold.tv_nsec > 0) {
      nanosleep(&hold, NULL);
    }
    contender->release(&held);
    cycles++;
  }
  worker->cycles = cycles;
  return NULL;
}

static long voluntary_switches(void)
{
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_nvcsw;
}

static void summarize(const struct worker *workers, int count, double seconds,
                      bench_load_result *result)
{
  size_t sampled = 0;
  int64_t total = 0;
  int64_t least = INT64_MAX;
  int64_t most = 0;
  for (int i = 0; i < count; i++) {
    total += workers[i].cycles;
    least = workers[i].cycles < least ? workers[i].cycles : least;
    most = workers[i].cycles > most ? workers[i].cycles : most;
    sampled += workers[i].sample_count;
  }
  uint32_t *all = malloc((sampled + 1) * sizeof *all);
  if (all == NULL || total == 0) {
    bench_die("%s: nothing was measured", workers[0].contender->name);
  }
  size_t used = 0;
  for (int i = 0; i < count; i++) {
    memcpy(all + used, workers[i].samples, workers[i].sample_count * sizeof *all);
    used += workers[i].sample_count;
  }
  bench_sort(all, used);
  result->p99_us = bench_percentile(all, used, 0.99) / 1000;
  result->p999_us = bench_percentile(all, used, 0.999) / 1000;
  result->max_us = bench_percentile(all, used, 1) / 1000;
  result->per_second = (double)total / seconds;
  result->fairness = (double)least / (double)(most > 0 ? most : 1);
  result->cpu_us /= (double)total;
  result->sleeps /= (double)total;
  free(all);
}

void bench_load_run(const bench_contender *contender, const bench_load *load,
                    bench_load_result *result)
{
  pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
  _Atomic bool stop = false;
  size_t count = (size_t)load->threads;
  struct worker *workers = aligned_alloc(_Alignof(struct worker), count * sizeof *workers);
  if (workers == NULL) {
    bench_die("out of memory");
  }
  pthread_mutex_lock(&gate);
  for (size_t i = 0; i < count; i++) {
    workers[i] =
        (struct worker){.contender = contender, .load = load, .gate = &gate, .stop = &stop};
    workers[i].samples = malloc(SAMPLES_MAX * sizeof *workers[i].samples); /* touched as needed */
    if (workers[i].samples == NULL ||
        pthread_create(&workers[i].thread, NULL, worker_main, &workers[i]) != 0) {
      bench_die("no thread");
    }
  }
  /* The clocks are read first: once the gate is open, this thread may wait for its turn. */
  long switches = voluntary_switches();
  int64_t cpu = bench_process_cpu_ns();
  int64_t wall = bench_wall_ns();
  pthread_mutex_unlock(&gate);
  nanosleep(
      &(struct timespec){.tv_sec = load->run_ms / 1000, .tv_nsec = load->run_ms % 1000 * 1000000L},
      NULL);
  atomic_store(&stop, true);
  double seconds = (double)(bench_wall_ns() - wall) / 1e9;
  result->cpu_us = (double)(bench_process_cpu_ns() - cpu) / 1000;
  result->sleeps = (double)(voluntary_switches() - switches);
  for (size_t i = 0; i < count; i++) {
    pthread_join(workers[i].thread, NULL);
  }
  summarize(workers, load->threads, seconds, result);
  for (size_t i = 0; i < count; i++) {
    free(workers[i].samples);
  }
  free(workers);
}
