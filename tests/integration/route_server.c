/*
 * route_server.c - the router's verdicts on a real server. A statement that is called shareable
 * leaves settings, locks, cursors, prepared statements, temporary objects, listeners and the last
 * sequence value of its session as they were. One that is called read-only succeeds in a session
 * that refuses to write wherever it succeeds in one that does not. Every function of the catalogue,
 * and random statements: SEED and SECONDS in the environment.
 */
#include "base/text.h"
#include "integration/route_generator.h"
#include "sql/verdict.h"
#include "support/pg_fixture.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static struct pg_fixture fixture;

/* Two sessions of a superuser, so that no right that is missing hides what a function does. */
struct bench {
  PGconn *free;      /* may write */
  PGconn *reader;    /* may not */
  char before[8192]; /* the state of `free` */
  char complaint[8192 * 3];
  struct generator *generator;
  size_t shareable;
  size_t reads;
  size_t succeeded;
};

static PGconn *connect_with(const char *options)
{
  const char *const keys[] = {"dbname", "options", NULL};
  const char *const values[] = {pg_fixture_get(&fixture, "POSTGRES_ADMIN_URL"), options, NULL};
  PGconn *connection = PQconnectdbParams(keys, values, 1);
  if (PQstatus(connection) != CONNECTION_OK) {
    fail_msg("%s", PQerrorMessage(connection));
  }
  return connection;
}

static void say_nothing(void *context, const char *message)
{
  (void)context;
  (void)message;
}

static void must(PGconn *connection, const char *sql)
{
  PGresult *result = PQexec(connection, sql);
  ExecStatusType status = PQresultStatus(result);
  PQclear(result);
  if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
    fail_msg("%s: %s", sql, PQerrorMessage(connection));
  }
}

/* Whatever it was that held the machine up for so long: the server's time-out is for statements that
 * are tried. */
static PGresult *see(PGconn *connection, const char *sql)
{
  PGresult *result = PQexec(connection, sql);
  for (int i = 0; i < 40; i++) {
    const char *code = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    if (!code || strcmp(code, "57014") != 0) {
      break;
    }
    PQclear(result);
    result = PQexec(connection, sql);
  }
  return result;
}

/* The session's state as a text. The snapshot must not change it, so lastval() is asked for
 * alone. */
static void look(PGconn *connection, char *state, size_t size)
{
  static const char sql[] =
      "select md5((select string_agg(name || '=' || coalesce(setting, ''), ',' order by name) from pg_settings)), "
      "(select string_agg(locktype || mode, ',') from pg_locks where pid = pg_backend_pid() and locktype <> "
      "'virtualxid' and not (locktype = 'relation' and relation < 16384)), "
      "(select string_agg(name, ',') from pg_prepared_statements), (select string_agg(name, ',') from pg_cursors), "
      "(select count(*) from pg_class where relpersistence = 't'), pg_my_temp_schema(), "
      "(select string_agg(c, ',') from pg_listening_channels() c), current_user, session_user, current_schemas(true)";
  PGresult *result = see(connection, sql);
  size_t used = 0;
  if (PQresultStatus(result) != PGRES_TUPLES_OK) {
    snprintf(state, size, "cannot be seen: %s", PQerrorMessage(connection));
    PQclear(result);
    return;
  }
  for (int i = 0; i < PQnfields(result); i++) {
    used += (size_t)snprintf(state + used, size - used, "%s;", PQgetvalue(result, 0, i));
    used = used < size ? used : size - 1;
  }
  PQclear(result);
  result = see(connection, "select lastval()");
  snprintf(state + used, size - used, "lastval %s, transaction %d",
           PQresultStatus(result) == PGRES_TUPLES_OK ? PQgetvalue(result, 0, 0) : "none",
           (int)PQtransactionStatus(connection));
  PQclear(result);
}

static void bench_connect(struct bench *bench)
{
  static const char common[] =
      "-c statement_timeout=500 -c lock_timeout=200 -c client_min_messages=error";
  char options[400];
  bench->free = connect_with(common);
  snprintf(options, sizeof(options), "%s -c default_transaction_read_only=on", common);
  bench->reader = connect_with(options);
  PQsetNoticeProcessor(bench->free, say_nothing, NULL);
  PQsetNoticeProcessor(bench->reader, say_nothing, NULL);
  look(bench->free, bench->before, sizeof(bench->before));
}

static void bench_disconnect(struct bench *bench)
{
  PQfinish(bench->free);
  PQfinish(bench->reader);
}

/* "" or the SQLSTATE; "ended" when the connection is gone. */
static void run(PGconn *connection, const char *sql, char state[8])
{
  PGresult *result = PQexec(connection, sql);
  ExecStatusType status = PQresultStatus(result);
  const char *code = PQresultErrorField(result, PG_DIAG_SQLSTATE);
  bool good =
      status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK || status == PGRES_EMPTY_QUERY;
  snprintf(state, 8, "%s", good ? "" : code ? code : "ended");
  PQclear(result);
}

/* Runs a statement under a verdict: false, with bench->complaint, when it was wrong. */
static bool holds(struct bench *bench, const char *sql, bool shareable, bool read_only)
{
  char after[sizeof(bench->before)];
  char first[8];
  char second[8];
  run(bench->free, sql, first);
  bench->succeeded += !*first;
  if (shareable) {
    look(bench->free, after, sizeof(after));
    if (strcmp(after, bench->before) != 0) {
      snprintf(bench->complaint, sizeof(bench->complaint), "left a trace:\n%s\n%s", bench->before,
               after);
      return false;
    }
  }
  for (int i = 0; read_only && !*first; i++) {
    run(bench->reader, sql, second);
    if (!*second || strcmp(second, "57014") == 0 || strcmp(second, "55P03") == 0) {
      break;
    }
    if (i == 5) { /* what samples or draws lots may fail now and then */
      snprintf(bench->complaint, sizeof(bench->complaint), "refused as a read: %s", second);
      return false;
    }
    run(bench->free, sql, first);
  }
  return true;
}

static void try_statement(struct bench *bench, const char *sql)
{
  struct cen_sql_verdict verdict = cen_verdict_postgres(sql, strlen(sql), NULL);
  bench->shareable += verdict.shareable;
  bench->reads += verdict.read_only;
  assert_true(verdict.shareable || !verdict.read_only);
  if (verdict.shareable && !holds(bench, sql, true, verdict.read_only)) {
    fail_msg("%s\n(%s) %s", sql, verdict.why, bench->complaint);
  }
}

static int64_t number(const char *name, int64_t otherwise)
{
  int64_t value = otherwise;
  (void)cen_text_to_int(getenv(name), &value);
  return value;
}

static int64_t now_ms(void)
{
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int open_bench(void **state)
{
  static struct bench bench;
  int64_t seed = number("SEED", time(NULL));
  print_message("# SEED=%" PRId64 "\n", seed);
  memset(&bench, 0, sizeof(bench));
  bench_connect(&bench);
  must(bench.free, "set statement_timeout = '60s'"); /* the catalogue is long, the machine busy */
  must(bench.free, generator_tables);
  bench.generator = generator_new(bench.free, (uint64_t)seed);
  must(bench.free, "reset statement_timeout");
  *state = &bench;
  return 0;
}

static int close_bench(void **state)
{
  struct bench *bench = *state;
  generator_free(bench->generator);
  must(bench->free, "drop view va; drop table ta, tb; drop sequence sa");
  bench_disconnect(bench);
  return 0;
}

/* The check itself: would it see a verdict that is wrong? */
static void every_kind_of_trace_is_seen(void **state)
{
  static const char *const traces[] = {
      "select set_config('work_mem', '1MB', false)",
      "set application_name = 'x'",
      "select pg_advisory_lock(7)",
      "select ('sa'::regclass).nextval",
      "create temp table tt (a int)",
      "listen l",
      "prepare p as select 1",
      "declare c cursor with hold for select 1",
      "begin",
      "set role app",
      "set search_path = pg_catalog",
      "do 'begin perform set_config(''work_mem'', ''1MB'', false); end'",
      "select query_to_xml('select set_config(''work_mem'', ''1MB'', false)', true, true, '')",
      "update pg_settings set setting = '1MB' where name = 'work_mem'",
      "select pg_terminate_backend(pg_backend_pid())",
  };
  static const char *const writes[] = {
      "insert into tb (id) values (-1) on conflict do nothing",
      "select * from ta for update",
      "with w as (delete from tb where id = -1 returning *) select * from w",
      "select setval('sa', 5)",
      "comment on table tb is 'x'",
  };
  struct bench *bench = *state;
  for (size_t i = 0; i < sizeof(traces) / sizeof(*traces); i++) {
    if (holds(bench, traces[i], true, false)) {
      fail_msg("no trace seen of %s", traces[i]);
    }
    bench_disconnect(bench);
    bench_connect(bench);
  }
  for (size_t i = 0; i < sizeof(writes) / sizeof(*writes); i++) {
    if (holds(bench, writes[i], false, true)) {
      fail_msg("not refused: %s", writes[i]);
    }
  }
  bench_disconnect(bench);
  bench_connect(bench);
}

static void every_function_keeps_its_verdict(void **state)
{
  struct bench *bench = *state;
  const char *sql;
  for (sql = generator_call(bench->generator); sql; sql = generator_call(bench->generator)) {
    try_statement(bench, sql);
  }
  print_message("# calls: %zu shareable, %zu reads, %zu succeeded\n", bench->shareable,
                bench->reads, bench->succeeded);
  assert_true(bench->succeeded > 1000);
}

static void random_statements_keep_their_verdicts(void **state)
{
  struct bench *bench = *state;
  int64_t until = now_ms() + number("SECONDS", 5) * 1000;
  size_t count = 0;
  bench->shareable = bench->reads = bench->succeeded = 0;
  for (; now_ms() < until; count++) {
    try_statement(bench, generator_statement(bench->generator));
  }
  print_message("# statements: %zu, %zu shareable, %zu reads, %zu succeeded\n", count,
                bench->shareable, bench->reads, bench->succeeded);
  assert_true(bench->reads > 100 && bench->succeeded > 50);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_kind_of_trace_is_seen),
      cmocka_unit_test(every_function_keeps_its_verdict),
      cmocka_unit_test(random_statements_keep_their_verdicts),
  };
  if (!pg_fixture_start(&fixture, NULL)) {
    return pg_fixture_skip(&fixture);
  }
  int failed = cmocka_run_group_tests(tests, open_bench, close_bench);
  pg_fixture_stop(&fixture);
  return failed;
}
