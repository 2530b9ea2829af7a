/*
 * bench.h - what the benchmark programs share: their options, clocks, medians, and how a figure
 * reaches the reader. A program measures Cenote and its peers in turn in one process, so that both
 * meet the same machine, and reports medians. For the main thread only, but for the clocks.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BENCH_ROUNDS_MAX = 64 };

/* How many connections every pool of a benchmark has unless it says otherwise. */
enum { BENCH_CONNECTIONS = 8 };

typedef struct bench_options {
  bool smoke; /* proves that the program works; its figures mean nothing */
  bool json;  /* a JSON object a line, for bench/run; else text for people */
} bench_options;

/* Reads --smoke, --json and --help; anything else ends the program with status 2. */
void bench_start(int argc, char **argv, const char *purpose);
bench_options bench_given(void);
/* The first in a full run, the second in a smoke run. */
int bench_scaled(int full, int smoke);

int64_t bench_wall_ns(void);
int64_t bench_thread_cpu_ns(void);
int64_t bench_process_cpu_ns(void);

void bench_pause_ms(int ms);

/* Keeps the calling thread on the processor it is on, so that no migration lands in a figure; and
 * another process on the same one. The figures vary more where the system refuses. */
void bench_pin_thread(void);
void bench_pin_process_here(int process);

/* Sorts `values`. 0 when there are none. */
double bench_median(double *values, size_t count);
/* Nearest rank of an ascending array; `share` is 0 … 1. */
double bench_percentile(const uint32_t *ascending, size_t count, double share);
void bench_sort(uint32_t *values, size_t count);

typedef struct bench_figure {
  const char *name;
  const char *unit;
  double value;
  const char *peer; /* NULL: nothing to compare with */
  double peer_value;
  bool more_is_better;
} bench_figure;

void bench_report(const bench_figure *figure);
/* Says on standard error which comparison does not take place, and why. */
void bench_skip(const char *what, const char *why);

/* A benchmark that cannot measure ends with status 1 and a reason. */
__attribute__((noreturn, format(printf, 1, 2))) /* cppcheck does not know _Noreturn */
void bench_die(const char *format, ...);

#endif
