/*
 * flow.h - libpq's pipeline mode by hand: the least that many statements over one connection can
 * cost in a C program. Prepared statements, a sync point after each one (so that each succeeds or
 * fails for itself), one thread. Where libpq (17 and later) has a sync that does not flush, that is
 * used; older ones send at each sync. Ends the program on any error. One thread at a time.
 */
#ifndef BENCH_FLOW_H
#define BENCH_FLOW_H

#include "support/customers.h"

#include <libpq-fe.h>
#include <stddef.h>

enum { BENCH_FLOW_MOST = 256 }; /* in flight on one flow */

typedef struct bench_flow {
  PGconn *connection;
  int64_t keys[BENCH_FLOW_MOST]; /* of what is in flight, a ring */
  /* ever; the differences are in flight. A statement is over when its sync point is answered: until
   * then it may still fail, for PostgreSQL commits there. */
  unsigned pushed, answered, syncs_pushed, syncs_answered;
} bench_flow;

void bench_flow_open(bench_flow *flow, const char *url);
void bench_flow_close(bench_flow *flow);

/* One statement and its sync point. */
void bench_flow_push(bench_flow *flow, const bench_ask *ask);
unsigned bench_flow_in_flight(const bench_flow *flow);
/* Waits until something has arrived, and answers how many statements are over; it may be none. */
int bench_flow_wait(bench_flow *flow);

/* Keeps `depth` statements in flight until `until_ns`, then waits for the rest: how many. */
int64_t bench_flow_keep(bench_flow *flow, unsigned depth, int64_t until_ns);

/* All of `asks`, dealt out over the flows, in flight at once; returns when all are answered. With
 * `sync_each` false there is one sync point a flow: cheaper, but one error would take the
 * statements behind it along. */
void bench_flow_burst(bench_flow *flows, size_t flow_count, const bench_ask *asks, size_t count,
                      bool sync_each);

#endif
