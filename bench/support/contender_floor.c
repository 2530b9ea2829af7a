/*
 * contender_floor.c - the least that a lease with a deadline can cost: a look at the cheapest
 * clock, one atomic exchange that takes the slot and puts the deadline into its word, and one that
 * gives it back if it is still this lease. The cache line is the thread's own. Two functions, as
 * in any library: written into one loop, the processor would overlap one cycle with the next.
 */
#include "support/bench.h"
#include "support/contender.h"

#include <stdatomic.h>
#include <time.h>

enum { DEADLINE_SHIFT = 22, GENERATION_BITS = 40 };
#define GENERATION_MASK ((UINT64_C(1) << GENERATION_BITS) - 1)

static _Alignas(64) _Atomic uint64_t slot_word; /* {deadline in steps of 4 ms, generation} */

__attribute__((noinline)) static uint64_t take(void)
{
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  uint64_t deadline = (uint64_t)(now.tv_sec * 1000000000 + now.tv_nsec) >> DEADLINE_SHIFT;
  uint64_t word = atomic_load_explicit(&slot_word, memory_order_relaxed);
  uint64_t held = deadline << GENERATION_BITS | ((word + 1) & GENERATION_MASK);
  atomic_compare_exchange_strong(&slot_word, &word, held);
  return held;
}

__attribute__((noinline)) static void give_back(uint64_t held)
{
  atomic_compare_exchange_strong(&slot_word, &held, (held + 1) & GENERATION_MASK);
}

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
    give_back(take());
  }
  return (double)(bench_thread_cpu_ns() - start) / (double)count;
}

const bench_contender bench_floor = {
    .name = "floor",
    .open = open_nothing,
    .close = close_nothing,
    .cycle = cycle,
};
