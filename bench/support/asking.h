/*
 * asking.h - the statements of customers.h through Cenote, in each of the ways there are: on a lease
 * of the caller's own, without a lease (the simple path), and without waiting. Every answer is
 * checked to be the caller's own. Ends the program on any error.
 */
#ifndef BENCH_ASKING_H
#define BENCH_ASKING_H

#include "support/customers.h"

#include <cenote/cenote.h>
#include <stddef.h>

/* Any thread. */
void bench_ask_leased(cenote_manager *manager, const bench_ask *ask);
void bench_ask_query(cenote_manager *manager, const bench_ask *ask);

/* All of `asks`, submitted by the calling thread, which then waits until the last is answered. The
 * manager's own thread, or (for one with an external loop) this one takes the answers. */
void bench_ask_all(cenote_manager *manager, const bench_ask *asks, size_t count);

/* `callers` of which each submits its next statement when the last was answered, until `until_ns`:
 * how many were answered. */
int64_t bench_ask_keep(cenote_manager *manager, int callers, int64_t until_ns);
/* A caller for each of `asks` that runs it again and again: how many were answered. */
int64_t bench_ask_keep_at(cenote_manager *manager, const bench_ask *asks, size_t count,
                          int64_t until_ns);

#endif
