/*
 * contender_libzdb.c - Debian's libzdb, the pool that C programs use today. On a PostgreSQL URL it
 * looks at its connection's state when it hands it out and sends no ping, so what is measured is
 * the pool. It answers NULL when all are taken; its callers then yield and try again.
 */
#include "support/bench.h"
#include "support/contender.h"
#include "support/postgres.h"

#ifdef BENCH_HAVE_LIBZDB

#include "support/libzdb_pool.h"

#include <sched.h>
#include <zdb.h>

static ConnectionPool_T pool;

static const char *open_pool(int connections)
{
  const char *url = bench_postgres_url(BENCH_POSTGRES_TRUST);
  if (url == NULL) {
    return "needs a PostgreSQL server: run it under tests/support/with_postgres";
  }
  pool = bench_libzdb_open(url, connections, connections);
  return pool != NULL ? NULL : "its pool does not start";
}

static void close_pool(void)
{
  bench_libzdb_close(pool);
  pool = NULL;
}

static void acquire(bench_held *held)
{
  while ((held->connection = ConnectionPool_getConnection(pool)) == NULL) {
    sched_yield();
  }
}

static void release(bench_held *held)
{
  ConnectionPool_returnConnection(pool, held->connection);
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

#define CYCLE cycle
#define ACQUIRE acquire
#define RELEASE release

#else

static const char *open_pool(int connections)
{
  (void)connections;
  return "libzdb-dev was not there when this was built";
}

static void close_pool(void)
{
}

#define CYCLE NULL
#define ACQUIRE NULL
#define RELEASE NULL

#endif

const bench_contender bench_libzdb = {
    .name = "libzdb",
    .open = open_pool,
    .close = close_pool,
    .cycle = CYCLE,
    .acquire = ACQUIRE,
    .release = RELEASE,
};
