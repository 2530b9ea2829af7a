/*
 * route.c - what it costs to find out which path a statement takes: its text is remembered, so this
 * is a look-up; beside it, the text that comes for the first time and is parsed. The one benchmark
 * that calls a function from inside the library, since the public ones do far more.
 */
#include "support/bench.h"

#include "manager/route.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { ROUNDS = 31, CACHED = 100000, PARSED = 500, TEXTS = 64, SIZE = 100 };

static char texts[TEXTS][SIZE + 1];

/* Statements of exactly 100 bytes, each with a number of its own. */
static void texts_make(void)
{
  for (int i = 0; i < TEXTS; i++) {
    int size = snprintf(texts[i], sizeof texts[i],
                        "SELECT id, name, city, country, phone, email FROM customer"
                        " WHERE id = $1 AND region_%02d = $2 LIMIT 10",
                        i);
    if (size != SIZE) {
      bench_die("a text of %d bytes instead of %d", size, SIZE);
    }
  }
}

static void judge(struct cen_route *route, const char *sql, size_t size)
{
  struct cen_verdict verdict = cen_route_judge(route, sql, size);
  if (!verdict.shareable || !verdict.read_only) {
    bench_die("a plain SELECT was not found shareable: %s", verdict.why);
  }
}

static double cached_ns(struct cen_route *route, int different)
{
  int count = bench_scaled(CACHED, 1000);
  int64_t cpu = bench_thread_cpu_ns();
  for (int i = 0; i < count; i++) {
    judge(route, texts[i % different], SIZE);
  }
  return (double)(bench_thread_cpu_ns() - cpu) / count;
}

static double parsed_ns(struct cen_route *route, int64_t *number)
{
  int count = bench_scaled(PARSED, 10);
  char text[2 * SIZE];
  int64_t cpu = bench_thread_cpu_ns();
  for (int i = 0; i < count; i++) {
    snprintf(text, sizeof text,
             "SELECT id, name, city, country, phone, email FROM customer"
             " WHERE id = $1 AND region_%08" PRId64,
             (*number)++);
    judge(route, text, strlen(text));
  }
  return (double)(bench_thread_cpu_ns() - cpu) / count;
}

static void report(const char *name, double value, double peer_value)
{
  bench_report(&(bench_figure){.name = name,
                               .unit = "ns CPU",
                               .value = value,
                               .peer = "a text that is new",
                               .peer_value = peer_value});
}

int main(int argc, char **argv)
{
  bench_start(argc, argv, "Which path a statement takes: the decision alone.");
  struct cen_route *route = NULL;
  cenote_error error = CENOTE_ERROR_INIT;
  if (cen_route_new(CEN_ROUTE_POSTGRES, NULL, &route, &error) != CENOTE_OK) {
    bench_die("cen_route_new: %s", error.message);
  }
  bench_pin_thread();
  texts_make();
  double one[BENCH_ROUNDS_MAX];
  double many[BENCH_ROUNDS_MAX];
  double parsed[BENCH_ROUNDS_MAX];
  int64_t number = 0;
  int rounds = bench_scaled(ROUNDS, 1);
  for (int round = 0; round < rounds; round++) {
    parsed[round] = parsed_ns(route, &number);
    cached_ns(route, TEXTS); /* remembers them again, if the new ones pushed them out */
    one[round] = cached_ns(route, 1);
    many[round] = cached_ns(route, TEXTS);
  }
  double median = bench_median(parsed, (size_t)rounds);
  report("routing, 100 bytes, cached", bench_median(one, (size_t)rounds), median);
  report("routing, 64 texts in turn, cached", bench_median(many, (size_t)rounds), median);
  cen_route_free(route);
  return 0;
}
