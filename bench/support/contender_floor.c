/*
 * contender_floor.c - the least that a lease with a deadline can cost: one atomic exchange to take
 * it, one to give it back, and one look at the cheapest clock. The cache line is the thread's own.
 */
#include "support/bench.h"
#include "support/contender.h"

#include <stdatomic.h>
#include <time.h>

static _Alignas(64) _Atomic uint64_t slot_word;
static _Atomic int64_t deadline_seen; /* keeps the clock read from being thrown away */

static const char *open_nothing(int connections)
{
  (void)connections;
  return NULL;
}

static void close_nothing(void)
{
}

static double cycle(int64_t count)
{
  int64_t start = bench_thread_cpu_ns();
  for (int64_t i = 0; i < count; i++) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    atomic_store_explicit(&deadline_seen, now.tv_sec * 1000000000 + now.tv_nsec,
                          memory_order_relaxed);
    uint64_t expected = atomic_load_explicit(&slot_word, memory_order_relaxed);
    atomic_compare_exchange_strong(&slot_word, &expected, expected + 1);
    expected = expected + 1;
    atomic_compare_exchange_strong(&slot_word, &expected, expected + 1);
  }
  return (double)(bench_thread_cpu_ns() - start) / (double)count;
}

const bench_contender bench_floor = {
    .name = "floor",
    .open = open_nothing,
    .close = close_nothing,
    .cycle = cycle,
};
