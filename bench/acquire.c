/*
 * acquire.c - what a lease costs one thread when nobody is in the way: acquire and release of an
 * idle connection, CPU nanoseconds a cycle, against the floor and against other pools. The
 * contenders take turns in batches of some milliseconds, forwards and then backwards.
 */
#include "support/bench.h"
#include "support/contender.h"

enum { BATCH = 500000, BATCH_SMOKE = 1000, ROUNDS = 41, ROUNDS_SMOKE = 3 };

static const bench_contender *const contenders[] = {&bench_cenote, &bench_floor, &bench_libzdb,
                                                    &bench_hikari};
enum { CONTENDERS = sizeof contenders / sizeof contenders[0] };

static double costs[CONTENDERS][BENCH_ROUNDS_MAX];

int main(int argc, char **argv)
{
  bench_start(argc, argv, "Acquire and release on one thread, CPU ns a cycle.");
  bool present[CONTENDERS];
  for (size_t i = 0; i < CONTENDERS; i++) {
    const char *absent = contenders[i]->open(BENCH_CONNECTIONS);
    present[i] = absent == NULL;
    if (!present[i]) {
      bench_skip(contenders[i]->name, absent);
    }
  }
  bench_pin_thread();

  int rounds = bench_scaled(ROUNDS, ROUNDS_SMOKE);
  int batch = bench_scaled(BATCH, BATCH_SMOKE);
  for (int round = -1; round < rounds; round++) { /* round -1 warms up */
    for (size_t turn = 0; turn < CONTENDERS; turn++) {
      size_t i = round % 2 == 0 ? turn : CONTENDERS - 1 - turn;
      double cost = present[i] ? contenders[i]->cycle(batch) : 0;
      if (round >= 0) {
        costs[i][round] = cost;
      }
    }
  }

  double own = bench_median(costs[0], (size_t)rounds);
  for (size_t i = 0; i < CONTENDERS; i++) {
    if (i > 0 && present[i]) {
      bench_report(&(bench_figure){.name = "acquire+release, 1 thread",
                                   .unit = "ns CPU",
                                   .value = own,
                                   .peer = contenders[i]->name,
                                   .peer_value = bench_median(costs[i], (size_t)rounds)});
    }
    if (present[i]) {
      contenders[i]->close();
    }
  }
  return 0;
}
