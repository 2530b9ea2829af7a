/*
 * idle.c - what a pool costs while nobody uses it: memory of a manager and of each idle
 * connection, and the processor time of its background work. Each measurement runs in a process of
 * its own, after one that is thrown away, so that libraries' first-time memory is not counted.
 */
#include "support/bench.h"
#include "support/cenote_pool.h"
#include "support/postgres.h"
#ifdef BENCH_HAVE_LIBZDB
#include "support/libzdb_pool.h"
#endif

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { CONNECTIONS = 40, IDLE_MS = 3000 };

struct memory {
  double heap;     /* bytes in use in the allocator, of all threads */
  double resident; /* bytes of the process in RAM */
};

/* A pool under measurement: opened with so many connections, all idle. */
struct subject {
  void *(*open)(int connections);
  void (*close)(void *pool, int connections);
};

static struct memory memory_now(void)
{
  struct mallinfo2 info = mallinfo2();
  struct memory now = {.heap = (double)(info.uordblks + info.hblkhd)};
  long pages = 0;
  FILE *file = fopen("/proc/self/statm", "re");
  if (file != NULL && fscanf(file, "%*d %ld", &pages) == 1) {
    now.resident = (double)pages * (double)sysconf(_SC_PAGESIZE);
  }
  if (file != NULL) {
    fclose(file);
  }
  return now;
}

static struct memory measure_here(const struct subject *subject, int connections)
{
  int few = connections > 0 ? 1 : 0; /* so that little freed memory is there to be used again */
  subject->close(subject->open(few), few);
  struct memory before = memory_now();
  void *pool = subject->open(connections);
  struct memory after = memory_now();
  subject->close(pool, connections);
  return (struct memory){.heap = after.heap - before.heap,
                         .resident = after.resident - before.resident};
}

/* In a child, so that nobody's freed memory is used again. */
static struct memory measure(const struct subject *subject, int connections)
{
  int ends[2];
  struct memory used = {0};
  if (pipe(ends) != 0) {
    bench_die("no pipe");
  }
  pid_t child = fork();
  if (child == 0) {
    used = measure_here(subject, connections);
    _exit(write(ends[1], &used, sizeof used) == (ssize_t)sizeof used ? 0 : 1);
  }
  close(ends[1]);
  bool complete = child > 0 && read(ends[0], &used, sizeof used) == (ssize_t)sizeof used;
  close(ends[0]);
  int status = 0;
  if (!complete || waitpid(child, &status, 0) != child || status != 0) {
    bench_die("a measurement failed");
  }
  return used;
}

static void *open_stub(int connections)
{
  cenote_manager *manager = bench_open_stub(connections, connections > 0 ? connections : 20);
  bench_fill(manager, connections);
  return manager;
}

static void *open_cenote(int connections)
{
  cenote_manager *manager =
      bench_open_url(bench_postgres_url(BENCH_POSTGRES_TRUST), connections, connections);
  bench_fill(manager, connections);
  return manager;
}

static void close_cenote(void *pool, int connections)
{
  (void)connections;
  cenote_close(pool);
}

static void *open_libpq(int connections)
{
  PGconn **all = calloc((size_t)connections, sizeof(PGconn *));
  for (int i = 0; all != NULL && i < connections; i++) {
    all[i] = bench_postgres_connect(bench_postgres_url(BENCH_POSTGRES_TRUST));
  }
  return all;
}

static void close_libpq(void *pool, int connections)
{
  PGconn **all = pool;
  for (int i = 0; all != NULL && i < connections; i++) {
    PQfinish(all[i]);
  }
  free(all);
}

#ifdef BENCH_HAVE_LIBZDB
static void *open_libzdb(int connections)
{
  return bench_libzdb_open(bench_postgres_url(BENCH_POSTGRES_TRUST), connections, connections);
}

static void close_libzdb(void *pool, int connections)
{
  (void)connections;
  bench_libzdb_close(pool);
}
#endif

/* What one more idle connection takes, out of a pool with one and a pool with many. */
static struct memory each_connection(const struct subject *subject)
{
  struct memory one = measure(subject, 1);
  struct memory many = measure(subject, CONNECTIONS + 1);
  return (struct memory){.heap = (many.heap - one.heap) / CONNECTIONS,
                         .resident = (many.resident - one.resident) / CONNECTIONS};
}

static void report(const char *name, double value, const char *peer, double peer_value)
{
  bench_report(&(bench_figure){
      .name = name, .unit = "bytes", .value = value, .peer = peer, .peer_value = peer_value});
}

static void measure_connections(void)
{
  if (bench_postgres_url(BENCH_POSTGRES_TRUST) == NULL) {
    bench_skip("memory of a connection to PostgreSQL", "run it under tests/support/with_postgres");
    return;
  }
  struct memory own = each_connection(&(struct subject){open_cenote, close_cenote});
  struct memory libpq = each_connection(&(struct subject){open_libpq, close_libpq});
  report("heap of an idle connection, PostgreSQL", own.heap, "libpq alone", libpq.heap);
#ifdef BENCH_HAVE_LIBZDB
  struct memory libzdb = each_connection(&(struct subject){open_libzdb, close_libzdb});
  report("heap of an idle connection, PostgreSQL", own.heap, "libzdb", libzdb.heap);
#endif
  report("resident memory of an idle connection, PostgreSQL", own.resident, "libpq alone",
         libpq.resident);
}

static void measure_idle_cpu(void)
{
  cenote_manager *manager = bench_open_stub(BENCH_CONNECTIONS, BENCH_CONNECTIONS);
  bench_fill(manager, BENCH_CONNECTIONS);
  int milliseconds = bench_scaled(IDLE_MS, 50);
  int64_t cpu = bench_process_cpu_ns();
  nanosleep(
      &(struct timespec){.tv_sec = milliseconds / 1000, .tv_nsec = milliseconds % 1000 * 1000000L},
      NULL);
  double used_us = (double)(bench_process_cpu_ns() - cpu) / 1000;
  cenote_close(manager);
  bench_report(&(bench_figure){.name = "CPU of an idle manager",
                               .unit = "us CPU/s",
                               .value = used_us * 1000 / milliseconds});
}

int main(int argc, char **argv)
{
  bench_start(argc, argv, "Memory and processor time of a pool that nobody uses.");
  const struct subject stub = {open_stub, close_cenote};
  struct memory manager = measure(&stub, 0);
  struct memory connection = each_connection(&stub);
  report("heap of an idle manager", manager.heap, NULL, 0);
  report("resident memory of an idle manager", manager.resident, NULL, 0);
  report("heap of an idle connection, stub driver", connection.heap, NULL, 0);
  measure_connections();
  measure_idle_cpu();
  return 0;
}
