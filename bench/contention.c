/*
 * contention.c - many threads, eight connections. With no hold a pool must not make a convoy (a
 * hand-over and a sleep for each cycle); with a hold of 100 us, in which the thread sleeps, it
 * must be fair and waste nothing. Peers: libzdb, and a strict FIFO queue, which is ideal for the
 * second load and hopeless for the first.
 */
#include "support/bench.h"
#include "support/contender.h"
#include "support/load.h"

#include <stdio.h>
#include <string.h>

enum { ROUNDS = 7, ROUNDS_SMOKE = 1 };

static const bench_contender *const contenders[] = {&bench_cenote, &bench_libzdb, &bench_fifo};
enum { CENOTE, LIBZDB, FIFO, CONTENDERS };

static bool present[CONTENDERS];

/* The medians over all rounds of one load. */
struct outcome {
  double per_second, p99_us, p999_us, max_us, fairness, cpu_us, sleeps;
};

static struct outcome median_outcome(const bench_load_result *results, size_t count)
{
  struct outcome outcome;
  double values[BENCH_ROUNDS_MAX];
#define MEDIAN_OF(field)                         \
  do {                                           \
    for (size_t i = 0; i < count; i++) {         \
      values[i] = results[i].field;              \
    }                                            \
    outcome.field = bench_median(values, count); \
  } while (0)
  MEDIAN_OF(per_second);
  MEDIAN_OF(p99_us);
  MEDIAN_OF(p999_us);
  MEDIAN_OF(max_us);
  MEDIAN_OF(fairness);
  MEDIAN_OF(cpu_us);
  MEDIAN_OF(sleeps);
#undef MEDIAN_OF
  return outcome;
}

static void measure(const bench_load *load, struct outcome outcomes[CONTENDERS])
{
  static bench_load_result results[CONTENDERS][BENCH_ROUNDS_MAX];
  int rounds = bench_scaled(ROUNDS, ROUNDS_SMOKE);
  for (int round = 0; round < rounds; round++) {
    for (size_t turn = 0; turn < CONTENDERS; turn++) {
      size_t i = round % 2 == 0 ? turn : CONTENDERS - 1 - turn;
      if (present[i]) {
        bench_load_run(contenders[i], load, &results[i][round]);
      }
    }
  }
  for (size_t i = 0; i < CONTENDERS; i++) {
    outcomes[i] = present[i] ? median_outcome(results[i], (size_t)rounds) : (struct outcome){0};
  }
}

static void report(const char *what, const bench_load *load, const char *unit, double value,
                   int peer, double peer_value, bool more_is_better)
{
  if (peer >= 0 && !present[peer]) {
    return;
  }
  char name[96];
  char hold[32] = "zero hold";
  if (load->hold_us > 0) {
    snprintf(hold, sizeof hold, "%d us hold", load->hold_us);
  }
  snprintf(name, sizeof name, "%s, %d threads on %d, %s", what, load->threads, BENCH_CONNECTIONS,
           hold);
  bench_report(&(bench_figure){.name = name,
                               .unit = unit,
                               .value = value,
                               .peer = peer >= 0 ? contenders[peer]->name : NULL,
                               .peer_value = peer_value,
                               .more_is_better = more_is_better});
}

static void measure_zero_hold(int threads)
{
  bench_load load = {.threads = threads, .run_ms = bench_scaled(1000, 20), .sample_every = 256};
  struct outcome of[CONTENDERS];
  measure(&load, of);
  const struct outcome *own = &of[CENOTE];
  for (int peer = LIBZDB; peer < CONTENDERS; peer++) {
    report("throughput", &load, "cycles/s", own->per_second, peer, of[peer].per_second, true);
    report("p999 of acquire", &load, "us", own->p999_us, peer, of[peer].p999_us, false);
  }
  report("sleeps a thousand cycles", &load, "sleeps", own->sleeps * 1000, FIFO,
         of[FIFO].sleeps * 1000, false);
  report("longest acquire", &load, "us", own->max_us, FIFO, of[FIFO].max_us, false);
}

static void measure_sleeping_hold(int threads)
{
  bench_load load = {
      .threads = threads, .hold_us = 100, .run_ms = bench_scaled(3000, 50), .sample_every = 1};
  struct outcome of[CONTENDERS];
  measure(&load, of);
  const struct outcome *own = &of[CENOTE];
  for (int peer = LIBZDB; peer < CONTENDERS; peer++) {
    report("p99 of acquire", &load, "us", own->p99_us, peer, of[peer].p99_us, false);
    report("slowest/fastest thread", &load, "share", own->fairness, peer, of[peer].fairness, true);
    report("CPU of a cycle", &load, "us CPU", own->cpu_us, peer, of[peer].cpu_us, false);
    report("throughput", &load, "cycles/s", own->per_second, peer, of[peer].per_second, true);
  }
}

int main(int argc, char **argv)
{
  bench_start(argc, argv, "Many threads on eight connections, with and without a hold.");
  for (size_t i = 0; i < CONTENDERS; i++) {
    const char *absent = contenders[i]->open(BENCH_CONNECTIONS);
    present[i] = absent == NULL;
    if (!present[i]) {
      bench_skip(contenders[i]->name, absent);
    }
  }
  measure_zero_hold(32);
  measure_zero_hold(64);
  measure_sleeping_hold(32);
  for (size_t i = 0; i < CONTENDERS; i++) {
    if (present[i]) {
      contenders[i]->close();
    }
  }
  return 0;
}
