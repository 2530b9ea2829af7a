/*
 * prepared.c - what the automatic prepared statements save. The same statement text, which Cenote
 * prepares by itself, against texts that are never the same (a comment with a number in front), so
 * that Cenote cannot: PostgreSQL parses and plans each one. libpq stands beside both, to show that
 * neither side is slowed down: PQexecPrepared by hand, and PQexecParams. Client and sessions share
 * one processor: waking another one costs 50 us, more than either way takes, and says nothing
 * about statements.
 */
#include "support/bench.h"
#include "support/cenote_pool.h"
#include "support/postgres.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { ROUNDS = 31, QUERIES = 1000, ROWS = 10000 };

static const char make_tables[] =
    "DROP SCHEMA IF EXISTS cenote_bench CASCADE; CREATE SCHEMA cenote_bench;"
    "CREATE TABLE cenote_bench.customer (id bigint PRIMARY KEY, name text NOT NULL);"
    "CREATE TABLE cenote_bench.product (id bigint PRIMARY KEY, title text NOT NULL);"
    "CREATE TABLE cenote_bench.orders (id bigint PRIMARY KEY, customer bigint NOT NULL,"
    " product bigint NOT NULL);"
    "INSERT INTO cenote_bench.customer SELECT i, 'name ' || i FROM generate_series(1, 10000) i;"
    "INSERT INTO cenote_bench.product SELECT i, 'title ' || i FROM generate_series(1, 10000) i;"
    "INSERT INTO cenote_bench.orders SELECT i, 1 + i * 7 % 10000, 1 + i * 13 % 10000"
    " FROM generate_series(1, 10000) i;"
    "ANALYZE cenote_bench.customer; ANALYZE cenote_bench.product; ANALYZE cenote_bench.orders";

static const char by_key[] = "SELECT id, name FROM cenote_bench.customer WHERE id = $1";
static const char join_by_key[] =
    "SELECT o.id, c.name, p.title FROM cenote_bench.orders o"
    " JOIN cenote_bench.customer c ON c.id = o.customer"
    " JOIN cenote_bench.product p ON p.id = o.product WHERE o.id = $1";

typedef struct run_state {
  cenote_manager *manager;
  PGconn *connection;
  const char *sql;
  int64_t number; /* of the query, for keys and for texts that differ */
} run_state;

static int64_t next_key(run_state *state)
{
  state->number++;
  return 1 + state->number * 7919 % ROWS;
}

static void execute(run_state *state, const char *sql, int64_t key)
{
  cenote_lease lease;
  cenote_result *result = NULL;
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_value argument = cenote_integer(key);
  if (cenote_acquire(state->manager, "get-order", -1, &lease, &error) != CENOTE_OK ||
      cenote_execute(lease, sql, &argument, 1, &result, &error) != CENOTE_OK ||
      cenote_release(lease) != CENOTE_OK) {
    bench_die("cenote: %s", error.message);
  }
  if (cenote_result_integer(result, 0, 0) != key) {
    bench_die("cenote: a wrong answer");
  }
  cenote_result_free(result);
}

static void cenote_prepared(run_state *state)
{
  execute(state, state->sql, next_key(state));
}

static void cenote_unprepared(run_state *state)
{
  char text[512];
  snprintf(text, sizeof text, "/* %" PRId64 " */ %s", state->number, state->sql);
  execute(state, text, next_key(state));
}

static void check_answer(run_state *state, PGresult *result, int64_t key)
{
  if (PQresultStatus(result) != PGRES_TUPLES_OK) {
    bench_die("libpq: %s", PQerrorMessage(state->connection));
  }
  if (strtoll(PQgetvalue(result, 0, 0), NULL, 10) != key) {
    bench_die("libpq: a wrong answer");
  }
  PQclear(result);
}

static void libpq_prepared(run_state *state)
{
  char key[24];
  int64_t number = next_key(state);
  snprintf(key, sizeof key, "%" PRId64, number);
  const char *values[] = {key};
  check_answer(state, PQexecPrepared(state->connection, "bench", 1, values, NULL, NULL, 0), number);
}

static void libpq_unprepared(run_state *state)
{
  char key[24];
  int64_t number = next_key(state);
  snprintf(key, sizeof key, "%" PRId64, number);
  const char *values[] = {key};
  check_answer(state, PQexecParams(state->connection, state->sql, 1, NULL, values, NULL, NULL, 0),
               number);
}

static const struct way {
  const char *name;
  void (*query)(run_state *state);
} ways[] = {
    {"cenote, prepared", cenote_prepared},
    {"cenote, unprepared", cenote_unprepared},
    {"libpq, unprepared", libpq_unprepared},
    {"libpq, prepared by hand", libpq_prepared},
};
enum { WAYS = sizeof ways / sizeof ways[0] };

static double wall_us[WAYS][BENCH_ROUNDS_MAX];

static int64_t cpu_ns(void)
{
  return bench_process_cpu_ns() + bench_postgres_cpu_ns();
}

static void pin_all_to_one(run_state *state)
{
  cenote_lease lease;
  cenote_result *result = NULL;
  cenote_error error = CENOTE_ERROR_INIT;
  if (cenote_acquire(state->manager, "pin", -1, &lease, &error) != CENOTE_OK ||
      cenote_execute(lease, "SELECT pg_backend_pid()", NULL, 0, &result, &error) != CENOTE_OK ||
      cenote_release(lease) != CENOTE_OK) {
    bench_die("cenote: %s", error.message);
  }
  bench_pin_thread();
  bench_pin_process_here((int)cenote_result_integer(result, 0, 0));
  bench_pin_process_here(PQbackendPID(state->connection));
  cenote_result_free(result);
}

static void report(const char *figure, const char *what, const char *unit, const double *values)
{
  char name[96];
  snprintf(name, sizeof name, "%s, %s", figure, what);
  for (int i = 1; i < WAYS; i++) {
    bench_report(&(bench_figure){.name = name,
                                 .unit = unit,
                                 .value = values[0],
                                 .peer = ways[i].name,
                                 .peer_value = values[i]});
  }
}

static void measure(const char *what, run_state *state, const char *sql)
{
  state->sql = sql;
  bench_postgres_run(state->connection, "DEALLOCATE ALL");
  PQclear(PQprepare(state->connection, "bench", sql, 1, NULL));
  int rounds = bench_scaled(ROUNDS, 1);
  int queries = bench_scaled(QUERIES, 20);
  double cpu_us[WAYS] = {0};
  for (int round = -1; round < rounds; round++) { /* round -1 warms up */
    for (int turn = 0; turn < WAYS; turn++) {
      int way = round % 2 == 0 ? turn : WAYS - 1 - turn;
      int64_t cpu = cpu_ns();
      int64_t wall = bench_wall_ns();
      for (int i = 0; i < queries; i++) {
        ways[way].query(state);
      }
      if (round >= 0) {
        wall_us[way][round] = (double)(bench_wall_ns() - wall) / 1000 / queries;
        cpu_us[way] += (double)(cpu_ns() - cpu) / 1000 / queries / rounds;
      }
    }
  }
  double medians[WAYS];
  for (int way = 0; way < WAYS; way++) {
    medians[way] = bench_median(wall_us[way], (size_t)rounds);
  }
  report("query", what, "us", medians);
  report("CPU of a query, both sides", what, "us CPU", cpu_us);
}

int main(int argc, char **argv)
{
  bench_start(argc, argv, "Statements that Cenote prepares by itself against unprepared ones.");
  const char *url = bench_postgres_need(BENCH_POSTGRES_TRUST);
  run_state state = {.connection = bench_postgres_connect(url)};
  bench_postgres_run(state.connection, "SET client_min_messages = warning");
  bench_postgres_run(state.connection, make_tables);
  state.manager = bench_open_url(url, 1, 1);
  pin_all_to_one(&state);
  measure("by key", &state, by_key);
  measure("join of three by key", &state, join_by_key);
  cenote_close(state.manager);
  bench_postgres_run(state.connection, "DROP SCHEMA cenote_bench CASCADE");
  PQfinish(state.connection);
  return 0;
}
