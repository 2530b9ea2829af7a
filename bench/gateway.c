/*
 * gateway.c - the gateway's price: POST /sql with a SELECT by key, 64 keep-alive connections, one
 * loop thread, beside a bare epoll server that answers a constant and a Node server with node-postgres
 * that does the same. The server has one processor, the load and PostgreSQL the other; what counts is
 * the processor time of the server's process for a request.
 */
#include "support/bare_server.h"
#include "support/bench.h"
#include "support/customers.h"
#include "support/http_load.h"
#include "support/postgres.h"
#include "support/served.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CONNECTIONS = 64, ROUNDS = 9, ROUND_MS = 1500, SIDES = 3 };

struct side {
  const char *name;
  bench_served served;
  bench_http_load load;
  char request[2048];
  double cpu_us[BENCH_ROUNDS_MAX], per_second[BENCH_ROUNDS_MAX], p99_us[BENCH_ROUNDS_MAX];
  bool there;
};

static void side_measure(struct side *side, int round, int64_t run_ms)
{
  bench_http_result result;
  const int64_t before = bench_served_cpu_ns(&side->served);
  bench_http_run(&side->load, run_ms, &result);
  const int64_t cpu = bench_served_cpu_ns(&side->served) - before;
  if (round >= 0) {
    side->cpu_us[round] = (double)cpu / 1000 / (double)result.answers;
    side->per_second[round] = (double)result.answers * 1e9 / (double)result.wall_ns;
    side->p99_us[round] = result.p99_us;
  }
}

static void load_prepare(struct side *side, const char *url, const char *expected)
{
  char fields[1024], body[512];
  snprintf(fields, sizeof fields,
           "Neon-Connection-String: %s\r\nNeon-Raw-Text-Output: true\r\nNeon-Array-Mode: true\r\n",
           url);
  snprintf(body, sizeof body, "{\"query\":\"%s\",\"params\":[\"42\"]}", bench_customer_read);
  side->load = (bench_http_load){
      .port = side->served.port,
      .connections = CONNECTIONS,
      .request = side->request,
      .request_size = bench_http_request(side->request, sizeof side->request, "/sql", fields, body),
      .expected = expected,
  };
  side->there = true;
}

static void report(struct side *sides, int rounds)
{
  const size_t count = (size_t)rounds;
  struct side *own = &sides[1];
  const double cpu = bench_median(own->cpu_us, count);
  const double rate = bench_median(own->per_second, count);
  const double late = bench_median(own->p99_us, count);
  for (int i = 0; i < SIDES; i++) {
    if (i == 1 || !sides[i].there) {
      continue;
    }
    bench_report(&(bench_figure){.name = "CPU of a request, POST /sql by key, 64 connections",
                                 .unit = "us CPU",
                                 .value = cpu,
                                 .peer = sides[i].name,
                                 .peer_value = bench_median(sides[i].cpu_us, count)});
    bench_report(&(bench_figure){.name = "requests a second, POST /sql by key, 64 connections",
                                 .unit = "requests/s",
                                 .value = rate,
                                 .peer = sides[i].name,
                                 .peer_value = bench_median(sides[i].per_second, count),
                                 .more_is_better = true});
    bench_report(&(bench_figure){.name = "p99 of a request, POST /sql by key, 64 connections",
                                 .unit = "us",
                                 .value = late,
                                 .peer = sides[i].name,
                                 .peer_value = bench_median(sides[i].p99_us, count)});
  }
}

int main(int argc, char **argv)
{
  bench_start(argc, argv, "what the gateway costs beside a bare server and a Node server");
  const char *trust = bench_postgres_need(BENCH_POSTGRES_TRUST);
  const char *scram = bench_postgres_url(BENCH_POSTGRES_SCRAM);
  bench_customers_make(trust);
  static struct side sides[SIDES] = {{.name = "bare epoll server, constant answer"},
                                     {.name = "cenote"},
                                     {.name = "Node with node-postgres"}};

  sides[0].served = bench_served_fork(bench_bare_server);
  load_prepare(&sides[0], scram, bench_bare_answer);
  const char *const own[] = {bench_command(), "serve", "--listen", "127.0.0.1:0",
                             "--url",         scram,   NULL};
  sides[1].served = bench_served_start(own);
  load_prepare(&sides[1], scram, "\"name 42\"");
  const char *packages = getenv("BENCH_NODE_PACKAGES");
  if (packages != NULL && packages[0] != '\0') {
    const char *const node[] = {"node", BENCH_SOURCE_DIR "/gateway_node.mjs", scram, NULL};
    sides[2].served = bench_served_start(node);
    load_prepare(&sides[2], scram, "name 42");
  } else {
    bench_skip("Node with node-postgres", "BENCH_NODE_PACKAGES names no folder with npm's pg");
  }

  bench_pin_to(0, BENCH_CPU_LOAD);
  const int rounds = bench_scaled(ROUNDS, 1);
  for (int round = -1; round < rounds; round++) {
    for (int turn = 0; turn < SIDES; turn++) {
      struct side *side = &sides[round % 2 == 0 ? turn : SIDES - 1 - turn];
      if (side->there) {
        side_measure(side, round, bench_scaled(ROUND_MS, 100));
        bench_postgres_pin_here();
      }
    }
  }
  report(sides, rounds);
  for (int i = 0; i < SIDES; i++) {
    bench_served_stop(&sides[i].served);
  }
  bench_customers_drop(trust);
  return EXIT_SUCCESS;
}
