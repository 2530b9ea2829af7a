/* bench_meter.c - CPU and memory of this process and, where it runs beside us, of the PostgreSQL
 * server; percentiles of the samples. */
#include "cli/bench.h"

#include <libpq-fe.h>
#include <malloc.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/* ----------------------------------------------------------------- the server */

struct process {
  char name[32];
  long parent;
  double own_ms, reaped_ms; /* CPU of its own, and of children that ended */
};

static bool process_read(long pid, struct process *process)
{
  char path[64], line[1024];
  snprintf(path, sizeof path, "/proc/%ld/stat", pid);
  FILE *file = fopen(path, "re");
  if (!file) {
    return false;
  }
  size_t size = fread(line, 1, sizeof line - 1, file);
  fclose(file);
  line[size] = '\0';
  char *open = strchr(line, '('), *close = strrchr(line, ')');
  if (!open || !close || close < open) {
    return false;
  }
  *close = '\0';
  snprintf(process->name, sizeof process->name, "%s", open + 1);
  unsigned long user, system;
  long reaped_user, reaped_system;
  if (sscanf(close + 1, " %*c %ld %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %ld %ld",
             &process->parent, &user, &system, &reaped_user, &reaped_system) != 5) {
    return false;
  }
  double tick_ms = 1000.0 / (double)sysconf(_SC_CLK_TCK);
  process->own_ms = (double)(user + system) * tick_ms;
  process->reaped_ms = (double)(reaped_user + reaped_system) * tick_ms;
  return true;
}

/* Calls `each` for every child; false when the kernel does not tell. */
static bool children_each(const struct bench_server *server, void (*each)(long pid, void *context),
                          void *context)
{
  char path[64];
  snprintf(path, sizeof path, "/proc/%ld/task/%ld/children", server->postmaster,
           server->postmaster);
  FILE *file = server->postmaster > 0 ? fopen(path, "re") : NULL;
  if (!file) {
    return false;
  }
  long pid;
  while (fscanf(file, "%ld", &pid) == 1) {
    each(pid, context);
  }
  fclose(file);
  return true;
}

static void child_count(long pid, void *context)
{
  (void)pid;
  ++*(unsigned *)context;
}

static void child_cpu(long pid, void *context)
{
  struct process process;
  if (process_read(pid, &process)) {
    *(double *)context += process.own_ms;
  }
}

/* What a server process has for itself: resident pages that it shares with nobody. */
static void child_memory(long pid, void *context)
{
  char path[64];
  snprintf(path, sizeof path, "/proc/%ld/statm", pid);
  FILE *file = fopen(path, "re");
  long resident, shared;
  if (!file) {
    return;
  }
  if (fscanf(file, "%*d %ld %ld", &resident, &shared) == 2) {
    *(double *)context += (double)(resident - shared) * (double)sysconf(_SC_PAGESIZE);
  }
  fclose(file);
}

/* The process id of a backend, when the server says that it is on this machine. */
static long backend_find(const struct bench_target *target)
{
  static const char sql[] =
      "SELECT 1 WHERE inet_server_addr() IS NULL"
      " OR inet_server_addr() <<= '127.0.0.0/8' OR inet_server_addr() = '::1'";
  PGconn *connection = bench_postgres_open(target);
  PGresult *result = PQexec(connection, sql);
  bool here = PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1;
  long pid = here ? PQbackendPID(connection) : 0;
  PQclear(result);
  struct process backend = {0}, postmaster = {0};
  bool seen = pid > 0 && process_read(pid, &backend) && strncmp(backend.name, "postgres", 8) == 0 &&
              process_read(backend.parent, &postmaster) &&
              strncmp(postmaster.name, "postgres", 8) == 0;
  PQfinish(connection);
  return seen ? backend.parent : 0;
}

void bench_server_find(struct bench_server *server, const struct bench_target *target)
{
  *server = (struct bench_server){.embedded = target->kind == BENCH_SQLITE};
  if (server->embedded || bench_is_http(target)) {
    return;
  }
  unsigned count = 0;
  server->postmaster = backend_find(target);
  if (!children_each(server, child_count, &count)) {
    server->postmaster = 0;
  }
  bench_server_settle(server, count > 0 ? count - 1 : 0);
}

unsigned bench_server_settle(const struct bench_server *server, unsigned least)
{
  unsigned count = 0;
  for (int try = 0; try < 100; try++) {
    count = 0;
    if (!children_each(server, child_count, &count) || count <= least) {
      break;
    }
    nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
  }
  return count;
}

/* ------------------------------------------------------------------- readings */

void bench_usage_read(const struct bench_server *server, struct bench_usage *usage)
{
  struct rusage own;
  getrusage(RUSAGE_SELF, &own);
  usage->cpu_ms = (double)(own.ru_utime.tv_sec + own.ru_stime.tv_sec) * 1e3 +
                  (double)(own.ru_utime.tv_usec + own.ru_stime.tv_usec) / 1e3;
  usage->server_cpu_ms = -1;
  struct process postmaster;
  double live_ms = 0;
  if (server->postmaster > 0 && process_read(server->postmaster, &postmaster) &&
      children_each(server, child_cpu, &live_ms)) {
    usage->server_cpu_ms = postmaster.own_ms + postmaster.reaped_ms + live_ms;
  }
}

double bench_memory_read(const struct bench_server *server)
{
  if (server->embedded) {
    return (double)sqlite3_memory_used();
  }
  struct mallinfo2 heap = mallinfo2();
  double bytes = (double)heap.uordblks + (double)heap.hblkhd;
  if (bytes <= 0) {
    return -1; /* another allocator: a sanitizer's */
  }
  children_each(server, child_memory, &bytes);
  return bytes;
}

/* -------------------------------------------------------------------- samples */

bool bench_pile_init(struct bench_pile *pile, unsigned clients, unsigned rounds)
{
  *pile = (struct bench_pile){.capacity = (size_t)clients * rounds, .rounds_capacity = rounds};
  pile->latency_ns = calloc(pile->capacity, sizeof pile->latency_ns[0]);
  pile->total_ms = calloc(rounds, sizeof pile->total_ms[0]);
  return pile->latency_ns && pile->total_ms;
}

void bench_pile_deinit(struct bench_pile *pile)
{
  free(pile->latency_ns);
  free(pile->total_ms);
  *pile = (struct bench_pile){0};
}

void bench_pile_add(struct bench_pile *pile, const struct bench_sample *samples, unsigned clients,
                    struct bench_figures *figures)
{
  int64_t first = INT64_MAX, last = 0;
  for (unsigned i = 0; i < clients; i++) {
    first = samples[i].start_ns < first ? samples[i].start_ns : first;
    last = samples[i].end_ns > last ? samples[i].end_ns : last;
    figures->queries++;
    figures->errors += !samples[i].ok;
    if (samples[i].ok && pile->count < pile->capacity) {
      pile->latency_ns[pile->count++] = samples[i].end_ns - samples[i].start_ns;
    }
  }
  if (pile->rounds < pile->rounds_capacity) {
    pile->total_ms[pile->rounds++] = (double)(last - first) / 1e6;
  }
}

static int compare_int64(const void *a, const void *b)
{
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

static int compare_double(const void *a, const void *b)
{
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* The smallest sample that at least `percent` of all do not exceed. */
static double percentile_ms(const struct bench_pile *pile, unsigned percent)
{
  size_t rank = (pile->count * percent + 99) / 100;
  return (double)pile->latency_ns[rank > 0 ? rank - 1 : 0] / 1e6;
}

void bench_pile_figure(struct bench_pile *pile, struct bench_figures *figures)
{
  figures->rounds = pile->rounds;
  figures->total_ms = figures->mean_ms = figures->p50_ms = figures->p95_ms = -1;
  figures->p99_ms = figures->max_ms = -1;
  if (pile->rounds > 0) {
    qsort(pile->total_ms, pile->rounds, sizeof pile->total_ms[0], compare_double);
    unsigned half = pile->rounds / 2;
    figures->total_ms = pile->rounds % 2 ? pile->total_ms[half]
                                         : (pile->total_ms[half - 1] + pile->total_ms[half]) / 2;
  }
  if (pile->count > 0) {
    qsort(pile->latency_ns, pile->count, sizeof pile->latency_ns[0], compare_int64);
    double sum = 0;
    for (size_t i = 0; i < pile->count; i++) {
      sum += (double)pile->latency_ns[i];
    }
    figures->mean_ms = sum / (double)pile->count / 1e6;
    figures->p50_ms = percentile_ms(pile, 50);
    figures->p95_ms = percentile_ms(pile, 95);
    figures->p99_ms = percentile_ms(pile, 99);
    figures->max_ms = (double)pile->latency_ns[pile->count - 1] / 1e6;
  }
}
