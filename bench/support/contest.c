/* contest.c - see contest.h. */
#include "support/contest.h"

#include "support/bench.h"

#include <stdio.h>

static const bench_contender *const contenders[] = {
    [CONTEST_CENOTE] = &bench_cenote,
    [CONTEST_LIBZDB] = &bench_libzdb,
    [CONTEST_FIFO] = &bench_fifo,
};

static bool present[CONTEST_SIZE];

void contest_open(void)
{
  for (int i = 0; i < CONTEST_SIZE; i++) {
    const char *absent = contenders[i]->open(BENCH_CONNECTIONS);
    present[i] = absent == NULL;
    if (!present[i]) {
      bench_skip(contenders[i]->name, absent);
    }
  }
}

void contest_close(void)
{
  for (int i = 0; i < CONTEST_SIZE; i++) {
    if (present[i]) {
      contenders[i]->close();
    }
  }
}

static bench_load_result median_result(const bench_load_result *results, size_t count)
{
  bench_load_result median;
  double values[BENCH_ROUNDS_MAX];
#define MEDIAN_OF(field)                        \
  do {                                          \
    for (size_t i = 0; i < count; i++) {        \
      values[i] = results[i].field;             \
    }                                           \
    median.field = bench_median(values, count); \
  } while (0)
  MEDIAN_OF(per_second);
  MEDIAN_OF(p99_us);
  MEDIAN_OF(p999_us);
  MEDIAN_OF(max_us);
  MEDIAN_OF(fairness);
  MEDIAN_OF(cpu_us);
  MEDIAN_OF(sleeps);
#undef MEDIAN_OF
  return median;
}

void contest_run(bench_contest *contest, int rounds)
{
  static bench_load_result results[CONTEST_SIZE][BENCH_ROUNDS_MAX];
  for (int round = 0; round < rounds; round++) {
    for (int turn = 0; turn < CONTEST_SIZE; turn++) {
      int i = round % 2 == 0 ? turn : CONTEST_SIZE - 1 - turn;
      if (present[i]) {
        bench_load_run(contenders[i], &contest->load, &results[i][round]);
      }
    }
  }
  for (int i = 0; i < CONTEST_SIZE; i++) {
    contest->of[i] =
        present[i] ? median_result(results[i], (size_t)rounds) : (bench_load_result){0};
  }
}

void contest_report(const bench_contest *contest, const char *what, const char *unit, int peer,
                    double value, double peer_value, bool more_is_better)
{
  if (!present[peer]) {
    return;
  }
  char name[96];
  char hold[32] = "zero hold";
  if (contest->load.hold_us > 0) {
    snprintf(hold, sizeof hold, "%d us hold", contest->load.hold_us);
  }
  snprintf(name, sizeof name, "%s, %d threads on %d, %s", what, contest->load.threads,
           BENCH_CONNECTIONS, hold);
  bench_report(&(bench_figure){.name = name,
                               .unit = unit,
                               .value = value,
                               .peer = contenders[peer]->name,
                               .peer_value = peer_value,
                               .more_is_better = more_is_better});
}
