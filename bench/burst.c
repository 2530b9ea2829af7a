/*
 * burst.c - the load-test scenarios: 50 or 100 statements at once, without leases. Warm, beside the
 * least that libpq can do (one thread, four connections, each pipelined by hand), and cold, with no
 * connection open, beside one connect. The bar is on the asynchronous form: like the floor it is one
 * thread that wants all the answers. With a blocking caller for each statement, waking so many
 * threads is most of the time; what they take where nothing is asked stands beside them.
 */
#include "support/asking.h"
#include "support/bench.h"
#include "support/cenote_pool.h"
#include "support/crowd.h"
#include "support/flow.h"
#include "support/postgres.h"

#include <stdio.h>

enum { MOST = 100, FLOWS = 4, CONNECTIONS = 20 };
enum { ROUNDS = 31, BURSTS = 16, COLD_ROUNDS = 21 };

typedef struct bench_state {
  cenote_manager *manager; /* of the simple path */
  cenote_manager *loop;    /* the same, driven by this thread */
  cenote_manager *leases;
  bench_flow flows[FLOWS];
  bench_crowd *crowd;
  bench_ask asks[MOST];
  size_t count;
} bench_state;

static const struct scenario {
  const char *name;
  size_t count;
  bool mixed; /* every second one writes */
} scenarios[] = {
    {"50 statements", 50, false},
    {"50 mixed statements", 50, true},
    {"100 statements", 100, false},
};

/* ------------------------------------------------------------------------ warm */

static void task_query(void *context, int number, int64_t turn)
{
  bench_state *state = context;
  (void)turn;
  bench_ask_query(state->manager, &state->asks[number]);
}

static void task_leased(void *context, int number, int64_t turn)
{
  bench_state *state = context;
  (void)turn;
  bench_ask_leased(state->leases, &state->asks[number]);
}

static void task_nothing(void *context, int number, int64_t turn)
{
  (void)context;
  (void)number;
  (void)turn;
}

static int64_t since(int64_t start)
{
  return bench_wall_ns() - start;
}

static int64_t burst_async(bench_state *state)
{
  int64_t start = bench_wall_ns();
  bench_ask_all(state->manager, state->asks, state->count);
  return since(start);
}

static int64_t burst_loop(bench_state *state)
{
  int64_t start = bench_wall_ns();
  bench_ask_all(state->loop, state->asks, state->count);
  return since(start);
}

static int64_t burst_query(bench_state *state)
{
  return bench_crowd_once(state->crowd, task_query, state);
}

static int64_t burst_leased(bench_state *state)
{
  return bench_crowd_once(state->crowd, task_leased, state);
}

static int64_t burst_nothing(bench_state *state)
{
  return bench_crowd_once(state->crowd, task_nothing, state);
}

static int64_t burst_flows(bench_state *state)
{
  int64_t start = bench_wall_ns();
  bench_flow_burst(state->flows, FLOWS, state->asks, state->count, true);
  return since(start);
}

static int64_t burst_one_sync(bench_state *state)
{
  int64_t start = bench_wall_ns();
  bench_flow_burst(state->flows, FLOWS, state->asks, state->count, false);
  return since(start);
}

enum { ASYNC, LOOP, QUERY, LEASED, NOTHING, FLOW, ONE_SYNC, WAYS };

static const struct way {
  const char *name;
  int64_t (*burst)(bench_state *state); /* answers its wall time */
} ways[WAYS] = {
    [ASYNC] = {"asynchronous", burst_async},
    [LOOP] = {"own loop", burst_loop},
    [QUERY] = {"blocking threads", burst_query},
    [LEASED] = {"threads with a lease each", burst_leased},
    [NOTHING] = {"the threads alone", burst_nothing},
    [FLOW] = {"libpq, 4 connections", burst_flows},
    [ONE_SYNC] = {"libpq, one sync for all", burst_one_sync},
};

struct times {
  double wall_us[BENCH_ROUNDS_MAX]; /* of a burst: the median of the round's */
  double cpu_us;                    /* of a burst, the mean of all */
};

static struct times times[WAYS];

static void way_run(int way, bench_state *state, int round, int rounds)
{
  double wall_us[BURSTS];
  int bursts = bench_scaled(BURSTS, 2);
  ways[way].burst(state); /* the others' work is out of the caches */
  int64_t cpu = bench_both_cpu_begin_ns();
  for (int i = 0; i < bursts; i++) {
    wall_us[i] = (double)ways[way].burst(state) / 1000;
  }
  cpu = bench_both_cpu_end_ns() - cpu;
  if (round >= 0) {
    times[way].wall_us[round] = bench_median(wall_us, (size_t)bursts);
    times[way].cpu_us += (double)cpu / 1000 / bursts / rounds;
  }
}

static void warm_report(const char *scenario, int own, int peer, double own_us, double peer_us)
{
  char name[96];
  snprintf(name, sizeof name, "%s, warm, %s", scenario, ways[own].name);
  bench_report(&(bench_figure){
      .name = name, .unit = "us", .value = own_us, .peer = ways[peer].name, .peer_value = peer_us});
  snprintf(name, sizeof name, "CPU of %s, warm, %s", scenario, ways[own].name);
  bench_report(&(bench_figure){.name = name,
                               .unit = "us CPU",
                               .value = times[own].cpu_us,
                               .peer = ways[peer].name,
                               .peer_value = times[peer].cpu_us});
}

static void measure_warm(bench_state *state, const struct scenario *scenario)
{
  static const int pairs[][2] = {{ASYNC, FLOW},   {ASYNC, ONE_SYNC}, {LOOP, FLOW},
                                 {QUERY, LEASED}, {QUERY, NOTHING},  {QUERY, FLOW}};
  state->count = scenario->count;
  state->crowd = bench_crowd_new((int)scenario->count);
  for (size_t i = 0; i < scenario->count; i++) {
    state->asks[i] =
        (bench_ask){.key = bench_customer_key((int64_t)i), .write = scenario->mixed && i % 2 == 1};
  }
  int rounds = bench_scaled(ROUNDS, 1);
  for (int way = 0; way < WAYS; way++) {
    times[way] = (struct times){0};
  }
  for (int round = -1; round < rounds; round++) { /* round -1 warms up */
    for (int turn = 0; turn < WAYS; turn++) {
      way_run(round % 2 == 0 ? turn : WAYS - 1 - turn, state, round, rounds);
    }
  }
  double medians[WAYS];
  for (int way = 0; way < WAYS; way++) {
    medians[way] = bench_median(times[way].wall_us, (size_t)rounds);
  }
  for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
    warm_report(scenario->name, pairs[i][0], pairs[i][1], medians[pairs[i][0]],
                medians[pairs[i][1]]);
  }
  bench_crowd_free(state->crowd);
}

/* ------------------------------------------------------------------------ cold */

static double connect_us(const char *url)
{
  int64_t start = bench_wall_ns();
  PGconn *connection = bench_postgres_connect(url);
  int64_t took = since(start);
  PQfinish(connection);
  return (double)took / 1000;
}

/* From the first submission to the last answer, and from cenote_open on. */
static void cold_us(bench_state *state, const char *url, double *asked, double *opened)
{
  int64_t start = bench_wall_ns();
  cenote_manager *manager = bench_open_url(url, 0, CONNECTIONS);
  int64_t open = bench_wall_ns();
  bench_ask_all(manager, state->asks, state->count);
  *asked = (double)since(open) / 1000;
  *opened = (double)since(start) / 1000;
  cenote_close(manager);
}

static void cold_report(size_t count, const char *what, const char *login, double own, double peer)
{
  char name[96];
  snprintf(name, sizeof name, "%zu statements, %s, %s", count, what, login);
  bench_report(&(bench_figure){
      .name = name, .unit = "us", .value = own, .peer = "libpq, one connect", .peer_value = peer});
}

static void measure_cold(bench_state *state, const char *login, bench_postgres_kind kind)
{
  double asked[BENCH_ROUNDS_MAX];
  double opened[BENCH_ROUNDS_MAX];
  double connected[BENCH_ROUNDS_MAX];
  const char *url = bench_postgres_need(kind);
  int rounds = bench_scaled(COLD_ROUNDS, 1);
  for (size_t i = 0; i < MOST; i++) {
    state->asks[i] = (bench_ask){.key = bench_customer_key((int64_t)i)};
  }
  state->count = MOST;
  for (int round = 0; round < rounds; round++) {
    if (round % 2 == 0) {
      connected[round] = connect_us(url);
    }
    bench_pause_ms(20); /* the last session is still ending in the server */
    cold_us(state, url, &asked[round], &opened[round]);
    bench_pause_ms(20);
    if (round % 2 == 1) {
      connected[round] = connect_us(url);
      bench_pause_ms(20);
    }
  }
  double connect = bench_median(connected, (size_t)rounds);
  cold_report(MOST, "cold", login, bench_median(asked, (size_t)rounds), connect);
  cold_report(MOST, "cold with cenote_open", login, bench_median(opened, (size_t)rounds), connect);
}

int main(int argc, char **argv)
{
  bench_start(argc, argv, "The load-test scenarios without leases, warm and cold.");
  const char *url = bench_postgres_need(BENCH_POSTGRES_TRUST);
  bench_customers_make(url);
  bench_state state = {.manager = bench_open_url(url, 0, CONNECTIONS),
                       .loop = bench_open_loop(url, 0, CONNECTIONS),
                       .leases = bench_open_url(url, CONNECTIONS, CONNECTIONS)};
  bench_fill(state.leases, CONNECTIONS);
  for (size_t i = 0; i < FLOWS; i++) {
    bench_flow_open(&state.flows[i], url);
  }
  for (size_t i = 0; i < sizeof scenarios / sizeof scenarios[0]; i++) {
    measure_warm(&state, &scenarios[i]);
  }
  for (size_t i = 0; i < FLOWS; i++) {
    bench_flow_close(&state.flows[i]);
  }
  cenote_close(state.leases);
  cenote_close(state.loop);
  cenote_close(state.manager);
  measure_cold(&state, "socket, trust", BENCH_POSTGRES_TRUST);
  measure_cold(&state, "TCP, SCRAM", BENCH_POSTGRES_SCRAM);
  measure_cold(&state, "TCP, SCRAM and TLS", BENCH_POSTGRES_TLS);
  bench_customers_drop(url);
  return 0;
}
