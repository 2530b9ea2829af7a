/*
 * contention.c - many threads that release at once what they acquired, on eight connections: what
 * the pool itself can bear. A pool that hands each connection to the next in line makes a convoy
 * (a hand-over and a sleep for each cycle); the strict FIFO queue beside it shows one.
 */
#include "support/bench.h"
#include "support/contest.h"

enum { ROUNDS = 7 };

static void measure(int threads)
{
  bench_contest contest = {
      .load = {.threads = threads, .run_ms = bench_scaled(1000, 20), .sample_every = 256}};
  contest_run(&contest, bench_scaled(ROUNDS, 1));
  const bench_load_result *own = &contest.of[CONTEST_CENOTE];
  for (int i = CONTEST_LIBZDB; i < CONTEST_SIZE; i++) {
    const bench_load_result *peer = &contest.of[i];
    contest_report(&contest, "throughput", "cycles/s", i, own->per_second, peer->per_second, true);
    contest_report(&contest, "CPU of a cycle", "ns CPU", i, own->cpu_us * 1000, peer->cpu_us * 1000,
                   false);
    contest_report(&contest, "p999 of acquire", "us", i, own->p999_us, peer->p999_us, false);
    contest_report(&contest, "longest acquire", "us", i, own->max_us, peer->max_us, false);
    contest_report(&contest, "sleeps a thousand cycles", "sleeps", i, own->sleeps * 1000,
                   peer->sleeps * 1000, false);
  }
}

int main(int argc, char **argv)
{
  bench_start(argc, argv, "Many threads on eight connections that release at once.");
  contest_open();
  measure(32);
  measure(64);
  contest_close();
  return 0;
}
