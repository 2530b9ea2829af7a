/*
 * desk.h - the least that many *blocking* callers can cost over one connection: they leave their
 * statement with one thread that keeps libpq's pipeline full, and sleep until it wakes them. No
 * time-outs, no cancelling, no second connection, no error that only one of them gets.
 */
#ifndef BENCH_DESK_H
#define BENCH_DESK_H

#include "support/customers.h"

typedef struct bench_desk bench_desk;

bench_desk *bench_desk_new(const char *url);
void bench_desk_free(bench_desk *desk); /* nobody may be waiting */
/* Returns when it is answered. Any thread. */
void bench_desk_ask(bench_desk *desk, const bench_ask *ask);

#endif
