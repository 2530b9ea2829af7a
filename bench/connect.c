/*
 * connect.c - a query on a connection that is already there, against a connection of its own for
 * the query: what a pool is for. PostgreSQL, three ways to log in. Both sides run the same
 * statement; the pooled side goes through acquire, execute and release, the other through libpq's
 * connect, execute and finish, with nothing of Cenote's.
 */
#include "support/bench.h"
#include "support/cenote_pool.h"
#include "support/postgres.h"

#include <stdio.h>
#include <time.h>

enum { ROUNDS = 9, POOLED = 2000, CONNECTED = 40 };

static const char statement[] = "SELECT 1";

/* One side's time; the processor's is summed, for the server's moves in steps of 10 ms. */
struct side {
  double wall_us[BENCH_ROUNDS_MAX];
  int64_t cpu_ns;
  int64_t queries;
};

static void query_pooled(cenote_manager *manager)
{
  cenote_lease lease;
  cenote_result *result = NULL;
  cenote_error error = CENOTE_ERROR_INIT;
  if (cenote_acquire(manager, "get-user-profile", -1, &lease, &error) != CENOTE_OK ||
      cenote_execute(lease, statement, NULL, 0, &result, &error) != CENOTE_OK ||
      cenote_release(lease) != CENOTE_OK) {
    bench_die("cenote: %s", error.message);
  }
  if (cenote_result_integer(result, 0, 0) != 1) {
    bench_die("cenote: a wrong answer");
  }
  cenote_result_free(result);
}

static void query_connected(const char *url)
{
  PGconn *connection = bench_postgres_connect(url);
  bench_postgres_run(connection, statement);
  PQfinish(connection);
}

static int64_t cpu_ns(void)
{
  return bench_process_cpu_ns() + bench_postgres_cpu_ns();
}

static void run(struct side *side, int round, cenote_manager *manager, const char *url, int count)
{
  int64_t cpu = cpu_ns();
  int64_t wall = bench_wall_ns();
  for (int i = 0; i < count; i++) {
    if (manager != NULL) {
      query_pooled(manager);
    } else {
      query_connected(url);
    }
  }
  wall = bench_wall_ns() - wall;
  /* The last session is still ending in the server. */
  nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
  side->wall_us[round] = (double)wall / 1000 / count;
  side->cpu_ns += cpu_ns() - cpu;
  side->queries += count;
}

static void report(const char *figure, const char *login, const char *unit, double own, double peer)
{
  char name[96];
  snprintf(name, sizeof name, "%s, %s", figure, login);
  bench_report(&(bench_figure){.name = name,
                               .unit = unit,
                               .value = own,
                               .peer = "libpq, a connection a query",
                               .peer_value = peer});
}

static void measure(const char *login, bench_postgres_kind kind)
{
  const char *url = bench_postgres_need(kind);
  cenote_manager *manager = bench_open_url(url, 1, 1);
  query_pooled(manager);
  query_connected(url);

  struct side pooled = {0};
  struct side connected = {0};
  int rounds = bench_scaled(ROUNDS, 1);
  for (int round = 0; round < rounds; round++) {
    for (int turn = 0; turn < 2; turn++) {
      if (turn == round % 2) {
        run(&pooled, round, manager, NULL, bench_scaled(POOLED, 20));
      } else {
        run(&connected, round, NULL, url, bench_scaled(CONNECTED, 2));
      }
    }
  }
  cenote_close(manager);
  report("query", login, "us", bench_median(pooled.wall_us, (size_t)rounds),
         bench_median(connected.wall_us, (size_t)rounds));
  report("CPU of a query, both sides", login, "us CPU",
         (double)pooled.cpu_ns / 1000 / (double)pooled.queries,
         (double)connected.cpu_ns / 1000 / (double)connected.queries);
}

int main(int argc, char **argv)
{
  bench_start(argc, argv, "A query on a pooled connection against a connection a query.");
  measure("socket, trust", BENCH_POSTGRES_TRUST);
  measure("TCP, SCRAM", BENCH_POSTGRES_SCRAM);
  measure("TCP, SCRAM and TLS", BENCH_POSTGRES_TLS);
  return 0;
}
