/*
 * bench.h - what the files of `cenote bench` share. *Before* is a program without a pool: a new
 * connection for each query, opened in the cheapest way there is (libpq or sqlite3 directly, no
 * layer of ours). *After* is the same work through the library, with a lease for each operation.
 * *Shared* is the same again, single statements without a lease (cenote_query), by a manager of its
 * own. All run in one process, on the same threads, in rounds that alternate.
 *
 * Threads: one coordinator (the worker of interrupt.h) owns everything here; a crew of client
 * threads runs the queries; the main thread only sets `stop`.
 */
#ifndef CEN_CLI_BENCH_H
#define CEN_CLI_BENCH_H

#include "cli/cli.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

struct pg_conn;

/* ------------------------------------------------------------------ scenarios */

enum bench_op {
  BENCH_SIMPLE,      /* one SELECT by key */
  BENCH_TRANSACTION, /* BEGIN, UPDATE, SELECT, COMMIT */
  BENCH_HOLD         /* PostgreSQL: a query that takes 50 ms; SQLite: a transaction */
};

struct bench_scenario {
  const char *name, *what;
  unsigned clients;
  enum bench_op even, odd; /* what a client does, by its number */
  unsigned limit;          /* connections there are; 0: as many as the settings say */
};

enum { BENCH_SCENARIOS = 5, BENCH_MAX_CLIENTS = 200, BENCH_ERROR = 256 };
extern const struct bench_scenario bench_scenarios[BENCH_SCENARIOS];

enum bench_side { BENCH_BEFORE, BENCH_AFTER, BENCH_SHARED, BENCH_SIDES };

struct bench_target;
/* Whether the scenario has that side there: without a single statement there is nothing to share,
 * where connections are the limit a statement of 50 ms is no example for it, and where there is SQL
 * over HTTP *after* takes both paths by itself. */
bool bench_has(const struct bench_target *target, const struct bench_scenario *scenario,
               enum bench_side side);

/* What one side of a scenario came to, over the measured rounds. Times in milliseconds; -1 where
 * it cannot be known. */
struct bench_figures {
  unsigned rounds;
  uint64_t queries, errors;
  uint64_t opened;      /* connections of the database's own protocol */
  uint64_t opened_http; /* and of HTTP */
  uint64_t over_http;   /* operations that HTTP answered, of those that succeeded */
  double total_ms;      /* wall time of a round, median */
  double mean_ms, p50_ms, p95_ms, p99_ms, max_ms;
  double cpu_ms, server_cpu_ms; /* of a round, mean */
  int64_t peak;                 /* connections open at once */
  double memory;                /* bytes that connections took at most, client and server */
  char error[BENCH_ERROR];      /* the first one */
};

struct bench_row {
  const struct bench_scenario *scenario;
  struct bench_figures side[BENCH_SIDES];
  bool shares;               /* it has the side "shared" */
  cenote_statistics shared;  /* of the manager of that side, at its end */
  char skipped[BENCH_ERROR]; /* why it was not measured; empty: it was */
};

/* --------------------------------------------------------------------- target */

/* The last two have SQL over HTTP alone; PostgreSQL may have it beside the pool. */
enum bench_kind { BENCH_SQLITE, BENCH_POSTGRES, BENCH_NEON, BENCH_LIBSQL };

struct bench_http;

struct bench_target {
  enum bench_kind kind;
  char *url;                                /* with its secrets */
  char *file;                               /* SQLite: what sqlite3_open_v2 takes */
  char folder[128];                         /* SQLite: the temporary folder, or empty */
  char table[64];                           /* ours alone; dropped at the end */
  char simple[128], update[128], read[128]; /* statements on it; $1 is the row's number */
  struct bench_http *http; /* where to ask over HTTP; NULL: there is no such path */
};

/* Is everything over HTTP there? */
static inline bool bench_is_http(const struct bench_target *target)
{
  return target->kind == BENCH_NEON || target->kind == BENCH_LIBSQL;
}

/* Finds the database: `url`, else the environment, else a file in a temporary folder. CLI_OK, or
 * the exit status after a report. */
int bench_target_init(struct bench_target *target, const char *url);
void bench_target_deinit(struct bench_target *target); /* removes the temporary folder */
/* The table with one row a client. false: *error says why. */
bool bench_table_make(const struct bench_target *target, cenote_manager *manager,
                      cenote_error *error);
bool bench_table_drop(const struct bench_target *target, cenote_manager *manager,
                      cenote_error *error);

struct bench;
/* Where SQL over HTTP is asked, from the settings of the manager that is open. false: reported. */
bool bench_http_find(struct bench *bench);
void bench_http_free(struct bench_http *http);

/* PostgreSQL: a role that may open `limit` connections and no more, and a target that logs in as
 * it. false: `why` is filled. */
bool bench_role_make(const struct bench_target *target, unsigned limit,
                     struct bench_target *limited, char *why, size_t size);
void bench_role_drop(const struct bench_target *target);

/* ---------------------------------------------------------------------- sides */

/* Counted by the clients of the side that opens connections itself. */
struct bench_before {
  const struct bench_target *target;
  bool impatient;  /* SQLite: the default busy time-out, which is none */
  unsigned gather; /* who has a connection waits until so many have come, with or without */
  _Atomic unsigned arrived; /* reset before each round */
  _Atomic int64_t open, peak;
  _Atomic uint64_t opened, opened_http, over_http;
};

/* A plain connection of libpq, with a time-out. Check PQstatus; PQfinish it. */
struct pg_conn *bench_postgres_open(const struct bench_target *target);

/* One operation over HTTP on a connection of its own; *opened: how many that took. */
bool bench_http_run(const struct bench_target *target, enum bench_op op, unsigned number,
                    uint64_t *opened, char error[BENCH_ERROR]);

/* One operation of client `number` (0 …). false: `error` is filled. Any thread. */
bool bench_before_run(struct bench_before *before, enum bench_op op, unsigned number,
                      char error[BENCH_ERROR]);
bool bench_after_run(cenote_manager *manager, const struct bench_target *target, enum bench_op op,
                     unsigned number, char error[BENCH_ERROR]);
/* Where there is HTTP: single statements as the manager routes them, transactions by a lease, or, over
 * HTTP alone, as a batch. */
bool bench_dual_run(cenote_manager *manager, const struct bench_target *target, enum bench_op op,
                    unsigned number, char error[BENCH_ERROR]);
bool bench_shared_run(cenote_manager *manager, const struct bench_target *target, enum bench_op op,
                      unsigned number, char error[BENCH_ERROR]);

/* ----------------------------------------------------------------------- crew */

/* Client threads that all begin at once. */
struct bench_crew;
typedef bool (*bench_task)(void *context, unsigned number, char error[BENCH_ERROR]);

struct bench_sample {
  int64_t start_ns, end_ns;
  bool ok;
};

struct bench_crew *bench_crew_new(unsigned clients); /* NULL: reported */
/* Each client runs the task once; *samples, one a client, is valid until the next round. `error`
 * is filled by the first failure only. */
const struct bench_sample *bench_crew_round(struct bench_crew *crew, bench_task task, void *context,
                                            char error[BENCH_ERROR]);
void bench_crew_free(struct bench_crew *crew);

/* -------------------------------------------------------------------- meter */

/* Where to read what the database uses. */
struct bench_server {
  bool embedded;   /* SQLite: it is in this process */
  long postmaster; /* PostgreSQL: process id, 0: not on this machine, or not to be seen */
};

struct bench_usage {
  double cpu_ms;        /* of this process */
  double server_cpu_ms; /* of the server and all its processes, or -1 */
};

void bench_server_find(struct bench_server *server, const struct bench_target *target);
void bench_usage_read(const struct bench_server *server, struct bench_usage *usage);
/* Bytes. SQLite: all that it has allocated. PostgreSQL: this process's heap plus the private memory
 * of the server's processes. -1: unknown. */
double bench_memory_read(const struct bench_server *server);
/* The most that bench_memory_read would have answered between start and stop. */
struct bench_watch {
  const struct bench_server *server;
  pthread_t thread;
  bool started;
  _Atomic bool stop;
  double base, most; /* `most` is the watcher's until it has been joined */
};
void bench_watch_start(struct bench_watch *watch, const struct bench_server *server);
double bench_watch_stop(
    struct bench_watch *watch); /* less what there was at the start; -1 unknown */

/* Waits, briefly, until the server has as few processes as `least`. Answers how many there are. */
unsigned bench_server_settle(const struct bench_server *server, unsigned least);

/* A growing pile of samples of one side. */
struct bench_pile {
  int64_t *latency_ns; /* of what succeeded */
  size_t count, capacity;
  double *total_ms; /* one a round */
  unsigned rounds, rounds_capacity;
};
bool bench_pile_init(struct bench_pile *pile, unsigned clients, unsigned rounds);
void bench_pile_add(struct bench_pile *pile, const struct bench_sample *samples, unsigned clients,
                    struct bench_figures *figures);
void bench_pile_figure(struct bench_pile *pile, struct bench_figures *figures);
void bench_pile_deinit(struct bench_pile *pile);

/* ---------------------------------------------------------------------- whole */

struct bench {
  const struct cli_args *args;
  struct bench_target target;
  unsigned rounds;
  bool chosen[BENCH_SCENARIOS];
  struct bench_row rows[BENCH_SCENARIOS];
  struct bench_server server;
  double memory_base;      /* before there was a pool */
  cenote_manager *manager; /* the pool that is measured; the shared side has one a scenario */
  cenote_statistics statistics;
  char *statistics_json;
  bool table_made;
  int status;
  _Atomic bool measuring; /* the table is made: there is something to finish */
  _Atomic bool stop;
};

/* Runs one scenario into its row. false: it broke, `status` is set and the error reported. */
bool bench_scenario_run(struct bench *bench, struct bench_row *row);
void bench_progress(const char *format, ...) __attribute__((format(printf, 1, 2)));

int bench_report_table(const struct bench *bench);
int bench_report_json(const struct bench *bench);

#endif
