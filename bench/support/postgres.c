/* postgres.c - see postgres.h. */
#include "support/postgres.h"

#include "support/bench.h"

#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { STATUS_SKIPPED = 77 };

const char *bench_postgres_url(bench_postgres_kind kind)
{
  static char in_clear[1024];
  const char *url = NULL;
  switch (kind) {
  case BENCH_POSTGRES_TRUST:
    return getenv("CENOTE_TEST_POSTGRES_URL");
  case BENCH_POSTGRES_TLS:
    return getenv("CENOTE_TEST_POSTGRES_TLS_URL");
  case BENCH_POSTGRES_SCRAM:
    /* Left alone, libpq would choose TLS here too. */
    url = getenv("CENOTE_TEST_POSTGRES_TCP_URL");
    if (url != NULL) {
      snprintf(in_clear, sizeof in_clear, "%s%csslmode=disable", url,
               strchr(url, '?') == NULL ? '?' : '&');
    }
    return url != NULL ? in_clear : NULL;
  }
  return NULL;
}

const char *bench_postgres_need(bench_postgres_kind kind)
{
  const char *url = bench_postgres_url(kind);
  if (url == NULL) {
    bench_skip("everything here", "needs a server: run it under tests/support/with_postgres");
    exit(STATUS_SKIPPED);
  }
  return url;
}

PGconn *bench_postgres_connect(const char *url)
{
  PGconn *connection = PQconnectdb(url);
  if (PQstatus(connection) != CONNECTION_OK) {
    bench_die("libpq: %s", PQerrorMessage(connection));
  }
  return connection;
}

void bench_postgres_run(PGconn *connection, const char *sql)
{
  PGresult *result = PQexec(connection, sql);
  ExecStatusType status = PQresultStatus(result);
  if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
    bench_die("libpq: %s", PQerrorMessage(connection));
  }
  PQclear(result);
}

/* What /proc/PID/stat says, in clock ticks. */
struct usage {
  int parent;
  long long own;    /* user and system */
  long long waited; /* the same of the children that have ended */
};

static bool read_usage(const char *pid, struct usage *usage)
{
  char path[64];
  char line[1024];
  snprintf(path, sizeof path, "/proc/%.20s/stat", pid);
  FILE *file = fopen(path, "re");
  if (file == NULL) {
    return false;
  }
  bool readable = fgets(line, sizeof line, file) != NULL;
  fclose(file);
  /* The program's name stands in brackets and may hold anything. */
  const char *rest = readable ? strrchr(line, ')') : NULL;
  long long user = 0;
  long long system = 0;
  long long waited_user = 0;
  long long waited_system = 0;
  if (rest == NULL ||
      sscanf(rest, ") %*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lld %lld %lld %lld",
             &usage->parent, &user, &system, &waited_user, &waited_system) != 5) {
    return false;
  }
  usage->own = user + system;
  usage->waited = waited_user + waited_system;
  return true;
}

/* Calls `each` for the server's processes but the first; false: they cannot be seen. */
static bool children_each(void (*each)(int pid, const struct usage *usage, void *context),
                          void *context)
{
  const char *postmaster = getenv("CENOTE_TEST_POSTGRES_PID");
  DIR *processes = postmaster != NULL ? opendir("/proc") : NULL;
  if (processes == NULL) {
    return false;
  }
  struct usage usage;
  int parent = (int)strtol(postmaster, NULL, 10);
  for (struct dirent *entry = readdir(processes); entry != NULL; entry = readdir(processes)) {
    if (isdigit((unsigned char)entry->d_name[0]) && read_usage(entry->d_name, &usage) &&
        usage.parent == parent) {
      each((int)strtol(entry->d_name, NULL, 10), &usage, context);
    }
  }
  closedir(processes);
  return true;
}

static void child_add(int pid, const struct usage *usage, void *context)
{
  (void)pid;
  *(long long *)context += usage->own + usage->waited;
}

int64_t bench_postgres_cpu_ns(void)
{
  const char *postmaster = getenv("CENOTE_TEST_POSTGRES_PID");
  struct usage usage;
  if (postmaster == NULL || !read_usage(postmaster, &usage)) {
    return 0;
  }
  long long ticks = usage.own + usage.waited;
  if (!children_each(child_add, &ticks)) {
    return 0;
  }
  return ticks * (1000000000 / sysconf(_SC_CLK_TCK));
}

int64_t bench_both_cpu_begin_ns(void)
{
  int64_t server = bench_postgres_cpu_ns();
  return server + bench_process_cpu_ns();
}

int64_t bench_both_cpu_end_ns(void)
{
  int64_t own = bench_process_cpu_ns();
  return own + bench_postgres_cpu_ns();
}

static void child_pin(int pid, const struct usage *usage, void *context)
{
  (void)usage;
  (void)context;
  bench_pin_process_here(pid);
}

void bench_postgres_pin_here(void)
{
  if (!children_each(child_pin, NULL)) {
    bench_skip("pinning the server's sessions", "they cannot be seen; the figures vary more");
  }
}
