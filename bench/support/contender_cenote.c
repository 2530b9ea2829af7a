/*
 * contender_cenote.c - Cenote as a program uses it: public calls only, every feature on that is on
 * by default (deadlines, operation ids, statistics, expiry, background checks).
 */
#include "support/bench.h"
#include "support/cenote_pool.h"
#include "support/contender.h"

static cenote_manager *manager;

/* Sixteen bytes, as long as a typical "what for" is. */
static const char operation_id[] = "get-user-profile";

static const char *open_pool(int connections)
{
  manager = bench_open_stub(connections, connections);
  bench_fill(manager, connections);
  return NULL;
}

static void close_pool(void)
{
  cenote_close(manager);
  manager = NULL;
}

static void acquire(bench_held *held)
{
  cenote_status status = cenote_acquire(manager, operation_id, -1, &held->lease, NULL);
  if (status != CENOTE_OK) {
    bench_die("cenote_acquire: %s", cenote_status_text(status));
  }
}

static void release(bench_held *held)
{
  cenote_status status = cenote_release(held->lease);
  if (status != CENOTE_OK) {
    bench_die("cenote_release: %s", cenote_status_text(status));
  }
}

static double cycle(int64_t count)
{
  bench_held held;
  int64_t start = bench_thread_cpu_ns();
  for (int64_t i = 0; i < count; i++) {
    acquire(&held);
    release(&held);
  }
  return (double)(bench_thread_cpu_ns() - start) / (double)count;
}

const bench_contender bench_cenote = {
    .name = "cenote",
    .open = open_pool,
    .close = close_pool,
    .cycle = cycle,
    .acquire = acquire,
    .release = release,
};
