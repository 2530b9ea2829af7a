/*
 * simple.c - statements without a lease (the simple path), all the time. 64 callers at once, who
 * block or who do not, beside the same callers with a lease for each statement, and beside the least
 * that libpq can do: one loop over one connection that keeps 16 statements in flight, and such a loop
 * that serves 64 sleeping threads, for waking them costs as much as the statements. Then one
 * caller alone, beside a loop of PQexecPrepared; client and sessions share one processor there,
 * since waking another costs more than the statement and differs from round to round.
 */
#include "support/asking.h"
#include "support/bench.h"
#include "support/cenote_pool.h"
#include "support/crowd.h"
#include "support/desk.h"
#include "support/flow.h"
#include "support/postgres.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { CALLERS = 64, LEASES = 20, DEPTH = 16 };
enum { CROWD_ROUNDS = 15, CROWD_MS = 250, ALONE_ROUNDS = 61, ALONE_STATEMENTS = 1000 };

typedef struct bench_state {
  cenote_manager *manager; /* of the simple path */
  cenote_manager *leases;
  bench_flow flow;
  bench_desk *desk;
  bench_crowd *crowd;
  PGconn *connection;
  int64_t asked;
} bench_state;

/* One side: `run` answers how many statements it came to, in the time or the number given. */
struct side {
  const char *name;
  int64_t (*run)(bench_state *state, int64_t until_ns);
  double wall_us[BENCH_ROUNDS_MAX]; /* a statement */
  int64_t cpu_ns, statements;       /* of all rounds: the server's clock moves in steps of 10 ms */
};

static void side_run(struct side *side, bench_state *state, int round, int64_t run_ms)
{
  int64_t cpu = bench_both_cpu_begin_ns();
  int64_t wall = bench_wall_ns();
  int64_t statements = side->run(state, wall + run_ms * 1000000);
  wall = bench_wall_ns() - wall;
  cpu = bench_both_cpu_end_ns() - cpu;
  if (round >= 0) {
    side->wall_us[round] = (double)wall / 1000 / (double)statements;
    side->cpu_ns += cpu;
    side->statements += statements;
  }
}

/* In turn, forwards, then backwards. Round -1 warms up. */
static void sides_run(struct side *sides, int count, bench_state *state, int rounds, int64_t run_ms)
{
  for (int round = -1; round < rounds; round++) {
    for (int turn = 0; turn < count; turn++) {
      int i = round % 2 == 0 ? turn : count - 1 - turn;
      side_run(&sides[i], state, round, run_ms);
    }
  }
}

static double cpu_us(const struct side *side)
{
  return (double)side->cpu_ns / 1000 / (double)side->statements;
}

static void cpu_report(const char *what, const struct side *own, const struct side *peer)
{
  char name[96];
  snprintf(name, sizeof name, "CPU of a statement, %s, both sides", what);
  bench_report(&(bench_figure){.name = name,
                               .unit = "us CPU",
                               .value = cpu_us(own),
                               .peer = peer->name,
                               .peer_value = cpu_us(peer)});
}

/* ------------------------------------------------------------------ 64 callers */

static bench_ask ask_of(int number, int64_t turn)
{
  return (bench_ask){.key = bench_customer_key(turn * CALLERS + number)};
}

static void task_query(void *context, int number, int64_t turn)
{
  bench_ask ask = ask_of(number, turn);
  bench_ask_query(context, &ask);
}

static void task_leased(void *context, int number, int64_t turn)
{
  bench_ask ask = ask_of(number, turn);
  bench_ask_leased(context, &ask);
}

static void task_desk(void *context, int number, int64_t turn)
{
  bench_ask ask = ask_of(number, turn);
  bench_desk_ask(context, &ask);
}

static int64_t crowd_query(bench_state *state, int64_t until_ns)
{
  return bench_crowd_keep(state->crowd, task_query, state->manager, until_ns);
}

static int64_t crowd_leased(bench_state *state, int64_t until_ns)
{
  return bench_crowd_keep(state->crowd, task_leased, state->leases, until_ns);
}

static int64_t crowd_desk(bench_state *state, int64_t until_ns)
{
  return bench_crowd_keep(state->crowd, task_desk, state->desk, until_ns);
}

static int64_t crowd_async(bench_state *state, int64_t until_ns)
{
  return bench_ask_keep(state->manager, CALLERS, until_ns);
}

static int64_t flow_loop(bench_state *state, int64_t until_ns)
{
  return bench_flow_keep(&state->flow, DEPTH, until_ns);
}

static void crowd_report(const char *what, struct side *own, struct side *peer, size_t rounds)
{
  bench_report(&(bench_figure){.name = what,
                               .unit = "statements/s",
                               .value = 1e6 / bench_median(own->wall_us, rounds),
                               .peer = peer->name,
                               .peer_value = 1e6 / bench_median(peer->wall_us, rounds),
                               .more_is_better = true});
  cpu_report(what, own, peer);
}

static void measure_crowd(bench_state *state, const char *url)
{
  enum { QUERY, ASYNC, LEASED, FLOW, DESK, SIDES };
  static struct side sides[SIDES] = {
      [QUERY] = {.name = "cenote_query", .run = crowd_query},
      [ASYNC] = {.name = "cenote_query_async", .run = crowd_async},
      [LEASED] = {.name = "a lease each, 20 connections", .run = crowd_leased},
      [FLOW] = {.name = "libpq, 16 in flight", .run = flow_loop},
      [DESK] = {.name = "libpq, a loop for 64 threads", .run = crowd_desk},
  };
  state->crowd = bench_crowd_new(CALLERS);
  state->leases = bench_open_url(url, LEASES, LEASES);
  bench_fill(state->leases, LEASES);
  bench_flow_open(&state->flow, url);
  state->desk = bench_desk_new(url);
  int rounds = bench_scaled(CROWD_ROUNDS, 1);
  sides_run(sides, SIDES, state, rounds, bench_scaled(CROWD_MS, 20));
  for (int peer = LEASED; peer <= FLOW; peer++) {
    crowd_report("64 callers, blocking", &sides[QUERY], &sides[peer], (size_t)rounds);
    crowd_report("64 callers, asynchronous", &sides[ASYNC], &sides[peer], (size_t)rounds);
  }
  crowd_report("64 callers, blocking", &sides[QUERY], &sides[DESK], (size_t)rounds);
  bench_desk_free(state->desk);
  bench_flow_close(&state->flow);
  cenote_close(state->leases);
  bench_crowd_free(state->crowd);
}

/* ------------------------------------------------------------------- one caller */

static int64_t alone_query(bench_state *state, int64_t until_ns)
{
  (void)until_ns;
  int statements = bench_scaled(ALONE_STATEMENTS, 20);
  for (int i = 0; i < statements; i++) {
    bench_ask ask = {.key = bench_customer_key(state->asked++)};
    bench_ask_query(state->manager, &ask);
  }
  return statements;
}

static int64_t alone_libpq(bench_state *state, int64_t until_ns)
{
  (void)until_ns;
  int statements = bench_scaled(ALONE_STATEMENTS, 20);
  for (int i = 0; i < statements; i++) {
    char text[24];
    const char *values[] = {text};
    int64_t key = bench_customer_key(state->asked++);
    snprintf(text, sizeof text, "%" PRId64, key);
    PGresult *result = PQexecPrepared(state->connection, "bench", 1, values, NULL, NULL, 0);
    if (PQresultStatus(result) != PGRES_TUPLES_OK) {
      bench_die("libpq: %s", PQerrorMessage(state->connection));
    }
    if (strtoll(PQgetvalue(result, 0, 0), NULL, 10) != key) {
      bench_die("libpq: a wrong answer");
    }
    PQclear(result);
  }
  return statements;
}

static void measure_alone(bench_state *state, const char *url)
{
  static struct side sides[] = {
      {.name = "cenote_query", .run = alone_query},
      {.name = "libpq, PQexecPrepared", .run = alone_libpq},
  };
  state->connection = bench_postgres_connect(url);
  PQclear(PQprepare(state->connection, "bench", bench_customer_read, 1, NULL));
  alone_query(state, 0); /* whatever it opens is open */
  bench_pin_thread();
  bench_postgres_pin_here();
  int rounds = bench_scaled(ALONE_ROUNDS, 1);
  sides_run(sides, 2, state, rounds, 0);
  bench_report(&(bench_figure){.name = "one caller",
                               .unit = "us",
                               .value = bench_median(sides[0].wall_us, (size_t)rounds),
                               .peer = sides[1].name,
                               .peer_value = bench_median(sides[1].wall_us, (size_t)rounds)});
  cpu_report("one caller", &sides[0], &sides[1]);
  PQfinish(state->connection);
}

int main(int argc, char **argv)
{
  bench_start(argc, argv, "Statements without a lease, against leases and against libpq.");
  const char *url = bench_postgres_need(BENCH_POSTGRES_TRUST);
  bench_customers_make(url);
  bench_state state = {.manager = bench_open_url(url, 0, LEASES)};
  measure_crowd(&state, url);
  measure_alone(&state, url);
  cenote_close(state.manager);
  bench_customers_drop(url);
  return 0;
}
