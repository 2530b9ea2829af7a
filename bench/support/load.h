/*
 * load.h - threads that acquire, hold and release in a loop for a while, and what became of them.
 */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include "support/contender.h"

typedef struct bench_load {
  int threads;
  int hold_us; /* the holder sleeps that long; 0: it releases at once */
  int run_ms;
  int sample_every; /* each such acquire is timed, with the precise clock */
} bench_load;

typedef struct bench_load_result {
  double per_second;              /* cycles of all threads a second */
  double p99_us, p999_us, max_us; /* of the timed acquires */
  double fairness;                /* cycles of the slowest thread over those of the fastest */
  double cpu_us;                  /* CPU time of the process a cycle */
  double sleeps;                  /* voluntary context switches a cycle */
} bench_load_result;

/* Ends the program where no thread can be started. */
void bench_load_run(const bench_contender *contender, const bench_load *load,
                    bench_load_result *result);

#endif
