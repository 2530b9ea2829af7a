/*
 * bench_before.c - a program without a pool: connect, query, disconnect. It goes straight to libpq
 * and sqlite3, so that no work of ours is charged to it.
 */
#include "cli/bench.h"

#include "net/clock.h"

#include <libpq-fe.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { GATHERING_MS = 20000 };

static bool fail(char error[BENCH_ERROR], const char *text)
{
  snprintf(error, BENCH_ERROR, "%.*s", BENCH_ERROR - 1, text ? text : "unknown error");
  error[strcspn(error, "\n")] = '\0';
  return false;
}

static void opened_count(struct bench_before *before)
{
  atomic_fetch_add_explicit(&before->opened, 1, memory_order_relaxed);
  int64_t open = atomic_fetch_add(&before->open, 1) + 1;
  int64_t peak = atomic_load(&before->peak);
  while (open > peak && !atomic_compare_exchange_weak(&before->peak, &peak, open)) {
  }
}

/* All clients are there at the same time: that is what a limit of connections is about. One that
 * was refused has come, too. */
static void gathering_join(struct bench_before *before, bool connected)
{
  int64_t patience = cen_now_ns() + GATHERING_MS * CEN_NS_PER_MS;
  atomic_fetch_add(&before->arrived, 1);
  while (connected && atomic_load(&before->arrived) < before->gather && cen_now_ns() < patience) {
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
  }
}

/* ----------------------------------------------------------------- PostgreSQL */

struct pg_conn *bench_postgres_open(const struct bench_target *target)
{
  const char *const keywords[] = {"dbname", "gssencmode", "connect_timeout", NULL};
  const char *const values[] = {target->url, "disable", "10", NULL};
  return PQconnectdbParams(keywords, values, 1);
}

/* `key` NULL: no argument. `row`: the first cell must be the key, so that a wrong row is noticed. */
static bool postgres_run(PGconn *connection, const char *sql, const char *key, bool row,
                         char error[BENCH_ERROR])
{
  PGresult *result =
      key ? PQexecParams(connection, sql, 1, NULL, &key, NULL, NULL, 0) : PQexec(connection, sql);
  ExecStatusType status = PQresultStatus(result);
  bool ok = status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
  if (!ok) {
    fail(error, PQerrorMessage(connection));
  } else if (row && (PQntuples(result) != 1 || strcmp(PQgetvalue(result, 0, 0), key) != 0)) {
    ok = fail(error, "a row of somebody else came back");
  }
  PQclear(result);
  return ok;
}

static bool postgres_op(PGconn *connection, const struct bench_target *target, enum bench_op op,
                        const char *key, char error[BENCH_ERROR])
{
  switch (op) {
  case BENCH_SIMPLE:
    return postgres_run(connection, target->simple, key, true, error);
  case BENCH_TRANSACTION:
    return postgres_run(connection, "BEGIN", NULL, false, error) &&
           postgres_run(connection, target->update, key, false, error) &&
           postgres_run(connection, target->read, key, true, error) &&
           postgres_run(connection, "COMMIT", NULL, false, error);
  case BENCH_HOLD:
    return postgres_run(connection, "SELECT pg_sleep(0.05)", NULL, false, error);
  }
  return false;
}

static bool postgres_before(struct bench_before *before, enum bench_op op, const char *key,
                            char error[BENCH_ERROR])
{
  PGconn *connection = bench_postgres_open(before->target);
  bool ok = PQstatus(connection) == CONNECTION_OK;
  if (before->gather > 0) {
    gathering_join(before, ok);
  }
  if (ok) {
    opened_count(before);
    ok = postgres_op(connection, before->target, op, key, error);
    atomic_fetch_sub(&before->open, 1);
  } else {
    fail(error, PQerrorMessage(connection));
  }
  PQfinish(connection);
  return ok;
}

/* --------------------------------------------------------------------- SQLite */

static bool sqlite_run(sqlite3 *database, const char *sql, int64_t key, bool row,
                       char error[BENCH_ERROR])
{
  sqlite3_stmt *statement = NULL;
  int code = sqlite3_prepare_v2(database, sql, -1, &statement, NULL);
  if (code == SQLITE_OK && key > 0) {
    code = sqlite3_bind_int64(statement, 1, key);
  }
  if (code == SQLITE_OK) {
    code = sqlite3_step(statement);
  }
  bool ok = code == SQLITE_DONE || code == SQLITE_ROW;
  if (!ok) {
    fail(error, sqlite3_errmsg(database));
  } else if (row && (code != SQLITE_ROW || sqlite3_column_int64(statement, 0) != key)) {
    ok = fail(error, "a row of somebody else came back");
  }
  sqlite3_finalize(statement);
  return ok;
}

static bool sqlite_op(sqlite3 *database, const struct bench_target *target, enum bench_op op,
                      int64_t key, char error[BENCH_ERROR])
{
  if (op == BENCH_SIMPLE) {
    return sqlite_run(database, target->simple, key, true, error);
  }
  return sqlite_run(database, "BEGIN IMMEDIATE", 0, false, error) &&
         sqlite_run(database, target->update, key, false, error) &&
         sqlite_run(database, target->read, key, true, error) &&
         sqlite_run(database, "COMMIT", 0, false, error);
}

static bool sqlite_before(struct bench_before *before, enum bench_op op, int64_t key,
                          char error[BENCH_ERROR])
{
  sqlite3 *database = NULL;
  int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_URI;
  bool ok = sqlite3_open_v2(before->target->file, &database, flags, NULL) == SQLITE_OK;
  if (before->gather > 0) {
    gathering_join(before, ok);
  }
  if (ok) {
    opened_count(before);
    if (!before->impatient) {
      sqlite3_busy_timeout(database, 10000);
    }
    /* The same durability as the pool's connections; the journal is the file's own (WAL). */
    ok = sqlite_run(database, "PRAGMA synchronous=NORMAL", 0, false, error);
    ok = ok && sqlite_op(database, before->target, op, key, error);
    atomic_fetch_sub(&before->open, 1);
  } else {
    fail(error, database ? sqlite3_errmsg(database) : "out of memory");
  }
  sqlite3_close(database);
  return ok;
}

/* A transaction belongs to a session, where there are sessions. */
static bool goes_over_http(const struct bench_target *target, enum bench_op op)
{
  return target->http && (op == BENCH_SIMPLE || bench_is_http(target));
}

bool bench_before_run(struct bench_before *before, enum bench_op op, unsigned number,
                      char error[BENCH_ERROR])
{
  if (goes_over_http(before->target, op)) {
    uint64_t opened = 0;
    const bool ok = bench_http_run(before->target, op, number, &opened, error);
    atomic_fetch_add(&before->opened_http, opened);
    atomic_fetch_add(&before->over_http, ok);
    return ok;
  }
  if (before->target->kind == BENCH_SQLITE) {
    return sqlite_before(before, op, (int64_t)number + 1, error);
  }
  char key[16];
  snprintf(key, sizeof key, "%u", number + 1);
  return postgres_before(before, op, key, error);
}
