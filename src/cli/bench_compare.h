/*
 * bench_compare.h - what the table and the JSON of a load test compute alike. Pure functions, any
 * thread.
 */
#ifndef CEN_CLI_BENCH_COMPARE_H
#define CEN_CLI_BENCH_COMPARE_H

#include "cli/bench.h"

/* The share of operations that needed no new connection. Those that got none do not count. */
static inline double reuse_percent(const struct bench_figures *figures)
{
  double opened = (double)(figures->opened + figures->opened_http);
  double done = (double)(figures->queries - figures->errors);
  return opened < done ? 100.0 * (1 - opened / done) : 0;
}

static inline double error_percent(const struct bench_figures *figures)
{
  return figures->queries == 0 ? 0 : 100.0 * (double)figures->errors / (double)figures->queries;
}

/* Of what succeeded, what the database's own protocol answered. */
static inline uint64_t by_pool(const struct bench_figures *figures)
{
  const uint64_t done = figures->queries - figures->errors;
  return done > figures->over_http ? done - figures->over_http : 0;
}

/* CPU of a round, the server's with it where it is known. */
static inline double cpu_ms(const struct bench_figures *figures)
{
  return figures->cpu_ms + (figures->server_cpu_ms > 0 ? figures->server_cpu_ms : 0);
}

/* By how many percent less; below zero: more. */
static inline double less_percent(double before, double after)
{
  return before > 0 && after >= 0 ? 100.0 * (1 - after / before) : 0;
}

static inline double times(double before, double after)
{
  return before > 0 && after > 0 ? before / after : -1;
}

static inline bool measured(const struct bench_row *row)
{
  return row->scenario && row->skipped[0] == '\0' && row->side[BENCH_AFTER].rounds > 0 &&
         row->side[BENCH_BEFORE].rounds > 0;
}

#endif
