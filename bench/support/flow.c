/* flow.c - see flow.h. */
#include "support/flow.h"

#include "support/bench.h"
#include "support/postgres.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

enum { FLOWS_MOST = 16 };

static _Noreturn void flow_die(const bench_flow *flow)
{
  bench_die("libpq: %s", PQerrorMessage(flow->connection));
}

static void flow_prepare(bench_flow *flow, const char *name, const char *sql)
{
  PGresult *result = PQprepare(flow->connection, name, sql, 1, NULL);
  if (PQresultStatus(result) != PGRES_COMMAND_OK) {
    flow_die(flow);
  }
  PQclear(result);
}

void bench_flow_open(bench_flow *flow, const char *url)
{
  *flow = (bench_flow){.connection = bench_postgres_connect(url)};
  flow_prepare(flow, "read", bench_customer_read);
  flow_prepare(flow, "write", bench_customer_write);
  if (PQsetnonblocking(flow->connection, 1) != 0 || PQenterPipelineMode(flow->connection) != 1) {
    flow_die(flow);
  }
}

void bench_flow_close(bench_flow *flow)
{
  PQfinish(flow->connection);
}

unsigned bench_flow_in_flight(const bench_flow *flow)
{
  return flow->syncs_pushed - flow->syncs_answered;
}

static void flow_sync(bench_flow *flow)
{
#ifdef LIBPQ_HAS_SEND_PIPELINE_SYNC
  int synced = PQsendPipelineSync(flow->connection);
#else
  int synced = PQpipelineSync(flow->connection);
#endif
  if (synced != 1) {
    flow_die(flow);
  }
  flow->syncs_pushed++;
}

static void flow_send(bench_flow *flow, const bench_ask *ask)
{
  char key[24];
  snprintf(key, sizeof key, "%" PRId64, ask->key);
  const char *values[] = {key};
  if (PQsendQueryPrepared(flow->connection, ask->write ? "write" : "read", 1, values, NULL, NULL,
                          0) != 1) {
    flow_die(flow);
  }
  flow->keys[flow->pushed++ % BENCH_FLOW_MOST] = ask->key;
}

/* What has not gone out yet goes out now. true: the rest has to wait. */
static bool flow_flush(bench_flow *flow)
{
  int left = PQflush(flow->connection);
  if (left < 0) {
    flow_die(flow);
  }
  return left > 0;
}

static void answer_check(bench_flow *flow, const PGresult *result)
{
  int64_t key = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
  if (key != flow->keys[flow->answered++ % BENCH_FLOW_MOST]) {
    bench_die("libpq: a wrong answer");
  }
}

/* Takes what has arrived: how many sync points were answered. */
static int flow_answers(bench_flow *flow)
{
  int syncs = 0;
  while (bench_flow_in_flight(flow) > 0 && !PQisBusy(flow->connection)) {
    PGresult *result = PQgetResult(flow->connection);
    if (result == NULL) {
      continue; /* stands between a statement's result and its sync point */
    }
    ExecStatusType status = PQresultStatus(result);
    if (status == PGRES_TUPLES_OK) {
      answer_check(flow, result);
    } else if (status == PGRES_PIPELINE_SYNC) {
      flow->syncs_answered++;
      syncs++;
    } else {
      flow_die(flow);
    }
    PQclear(result);
  }
  return syncs;
}

/* Waits until something can be read from (or written to) one of the flows, and reads it. */
static void flows_wait(bench_flow *flows, size_t count)
{
  struct pollfd polled[FLOWS_MOST];
  for (size_t i = 0; i < count; i++) {
    polled[i] = (struct pollfd){.fd = PQsocket(flows[i].connection), .events = POLLIN};
    polled[i].events |= flow_flush(&flows[i]) ? POLLOUT : 0;
  }
  if (poll(polled, count, -1) < 0 && errno != EINTR) {
    bench_die("poll failed");
  }
  for (size_t i = 0; i < count; i++) {
    if ((polled[i].revents & ~POLLOUT) != 0 && PQconsumeInput(flows[i].connection) != 1) {
      flow_die(&flows[i]);
    }
  }
}

void bench_flow_push(bench_flow *flow, const bench_ask *ask)
{
  flow_send(flow, ask);
  flow_sync(flow);
}

int bench_flow_wait(bench_flow *flow)
{
  flows_wait(flow, 1);
  return flow_answers(flow);
}

int64_t bench_flow_keep(bench_flow *flow, unsigned depth, int64_t until_ns)
{
  int64_t done = 0;
  bool going = true;
  while (going || bench_flow_in_flight(flow) > 0) {
    while (going && bench_flow_in_flight(flow) < depth) {
      bench_ask ask = {.key = bench_customer_key(flow->pushed)};
      bench_flow_push(flow, &ask);
    }
    done += bench_flow_wait(flow);
    going = bench_wall_ns() < until_ns;
  }
  return done;
}

void bench_flow_burst(bench_flow *flows, size_t flow_count, const bench_ask *asks, size_t count,
                      bool sync_each)
{
  for (size_t i = 0; i < count; i++) {
    flow_send(&flows[i % flow_count], &asks[i]);
    if (sync_each) {
      flow_sync(&flows[i % flow_count]);
    }
  }
  for (size_t i = 0; i < flow_count && !sync_each; i++) {
    flow_sync(&flows[i]);
  }
  for (int left = sync_each ? (int)count : (int)flow_count; left > 0;) {
    flows_wait(flows, flow_count);
    for (size_t i = 0; i < flow_count; i++) {
      left -= flow_answers(&flows[i]);
    }
  }
}
