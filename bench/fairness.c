/*
 * fairness.c - many threads that sleep for 100 us while they hold one of eight connections: who
 * waits must be served in turn, soon, and without waste. The strict FIFO queue beside it is ideal
 * for this load; libzdb's callers yield and try again.
 */
#include "support/bench.h"
#include "support/contest.h"

enum { ROUNDS = 7 };

static void measure(int threads)
{
  bench_contest contest = {
      .load = {
          .threads = threads, .hold_us = 100, .run_ms = bench_scaled(3000, 50), .sample_every = 1}};
  contest_run(&contest, bench_scaled(ROUNDS, 1));
  const bench_load_result *own = &contest.of[CONTEST_CENOTE];
  for (int i = CONTEST_LIBZDB; i < CONTEST_SIZE; i++) {
    const bench_load_result *peer = &contest.of[i];
    contest_report(&contest, "p99 of acquire", "us", i, own->p99_us, peer->p99_us, false);
    contest_report(&contest, "longest acquire", "us", i, own->max_us, peer->max_us, false);
    contest_report(&contest, "slowest/fastest thread", "share", i, own->fairness, peer->fairness,
                   true);
    contest_report(&contest, "CPU of a cycle", "us CPU", i, own->cpu_us, peer->cpu_us, false);
    contest_report(&contest, "throughput", "cycles/s", i, own->per_second, peer->per_second, true);
  }
}

int main(int argc, char **argv)
{
  bench_start(argc, argv, "Many threads on eight connections that hold for 100 us.");
  contest_open();
  measure(32);
  contest_close();
  return 0;
}
