/* query_sqlite.c - routed statements on SQLite: reads beside each other, writes in turn, and the
 * asynchronous ones on a bounded number of threads. */
#include "query_help.h"
#include "sqlite_base.h"

#include "manager/query.h"

#include <dirent.h>

/* A database with a table t (a INTEGER PRIMARY KEY, b), in write-ahead mode. */
static void open_base(struct base *base, const char *maximum, bool external)
{
  const cenote_setting settings[] = {{"min_connections", "0"}, {"max_connections", maximum}};
  cenote_options options = CENOTE_OPTIONS_INIT;
  const char *url = scratch_url();
  notes_init(&base->notes);
  options.settings = settings;
  options.settings_count = 2;
  options.log = note_log;
  options.log_context = &base->notes;
  base->error = (cenote_error)CENOTE_ERROR_INIT;
  must(cenote_open(url, &options, &base->manager, &base->error), &base->error);
  must(cenote_query(base->manager, "CREATE TABLE t (a INTEGER PRIMARY KEY, b)", NULL, 0, NULL, NULL,
                    &base->error),
       &base->error);
  if (external) {
    cenote_close(base->manager);
    options.external_loop = true;
    must(cenote_open(url, &options, &base->manager, &base->error), &base->error);
  }
}

static cenote_status query(struct base *base, const char *sql, int64_t timeout_ms)
{
  cenote_query_options options = CENOTE_QUERY_OPTIONS_INIT;
  options.timeout_ms = timeout_ms;
  return cenote_query(base->manager, sql, NULL, 0, &options, NULL, &base->error);
}

static void reads_and_writes_need_no_lease(void **state)
{
  (void)state;
  struct base base;
  struct answer answer = {0};
  cenote_result *result;
  open_base(&base, "3", false);
  must(cenote_query(base.manager, "INSERT INTO t(b) VALUES (5), (6)", NULL, 0, NULL, &result,
                    &base.error),
       &base.error);
  assert_int_equal(cenote_result_affected_rows(result), 2);
  assert_int_equal(cenote_result_last_insert_id(result), 2);
  cenote_result_free(result);
  assert_int_equal(must_query(base.manager, "SELECT sum(b) FROM t"), 11);
  ask(base.manager, "SELECT count(*) FROM t", NULL, &answer);
  wait_for(&answer);
  has_status(&answer, CENOTE_OK);
  assert_int_equal(answer.value, 2);
  base_close(&base);
}

static void a_transaction_begun_without_a_lease_is_rolled_back(void **state)
{
  (void)state;
  struct base base;
  open_base(&base, "1", false);
  must(query(&base, "BEGIN IMMEDIATE", 0), &base.error);
  must(query(&base, "INSERT INTO t(b) VALUES (1)", 5000), &base.error);
  assert_int_equal(must_query(base.manager, "SELECT count(*) FROM t"), 1); /* outside of it */
  base_close(&base);
}

struct writer {
  struct base *base;
  int rounds;
};

static void *write_rows(void *context)
{
  struct writer *writer = context;
  for (int i = 0; i < writer->rounds; i++) {
    cenote_error error = CENOTE_ERROR_INIT;
    must(cenote_query(writer->base->manager, "INSERT INTO t(b) VALUES (1)", NULL, 0, NULL, NULL,
                      &error),
         &error);
  }
  return NULL;
}

static void writers_that_wait_hold_no_connection(void **state)
{
  (void)state;
  enum { WRITERS = 6, ROUNDS = 20 };
  struct base base;
  pthread_t threads[WRITERS];
  struct writer writer = {&base, ROUNDS};
  open_base(&base, "3", false);
  /* Somebody else's transaction keeps the database from being written. */
  cenote_lease lease = must_acquire(base.manager, "holder");
  must_run(lease, "BEGIN IMMEDIATE");
  for (int i = 0; i < WRITERS; i++) {
    threads[i] = start_thread(write_rows, &writer);
  }
  wait_until(statistics_of(base.manager).active_leases == 2);
  for (int i = 0; i < 30; i++) { /* the third connection is for the readers */
    assert_int_equal(must_query(base.manager, "SELECT count(*) FROM t"), 0);
    assert_true(statistics_of(base.manager).active_leases <= 2);
    assert_int_equal(statistics_of(base.manager).waiters, 0);
    pause_ms(1);
  }
  must_run(lease, "COMMIT");
  must_release(lease);
  for (int i = 0; i < WRITERS; i++) {
    pthread_join(threads[i], NULL);
  }
  assert_int_equal(must_query(base.manager, "SELECT count(*) FROM t"), WRITERS * ROUNDS);
  base_close(&base);
}

static void a_turn_that_does_not_come_in_time_is_a_time_out(void **state)
{
  (void)state;
  struct base base;
  struct answer first = {0}, late = {0}, cancelled = {0}, behind = {0};
  cenote_query_options options = CENOTE_QUERY_OPTIONS_INIT;
  options.timeout_ms = 60;
  open_base(&base, "3", false);
  cenote_lease lease = must_acquire(base.manager, "holder");
  must_run(lease, "BEGIN IMMEDIATE");
  ask(base.manager, "INSERT INTO t(b) VALUES (1)", NULL, &first); /* has the turn */
  wait_until(statistics_of(base.manager).active_leases == 2);
  ask(base.manager, "INSERT INTO t(b) VALUES (2)", &options, &late);
  ask(base.manager, "INSERT INTO t(b) VALUES (3)", NULL, &cancelled);
  ask(base.manager, "INSERT INTO t(b) VALUES (4)", NULL, &behind);
  expect(CENOTE_TIMEOUT, query(&base, "INSERT INTO t(b) VALUES (5)", 60), &base.error);
  has_text(base.error.message, "timeout");
  wait_for(&late);
  has_status(&late, CENOTE_TIMEOUT);
  has_text(late.message, "timeout");
  assert_int_equal(cenote_cancel_query(cancelled.ticket), CENOTE_OK);
  wait_for(&cancelled);
  has_status(&cancelled, CENOTE_CANCELLED);
  must_run(lease, "COMMIT");
  must_release(lease);
  wait_for(&first);
  wait_for(&behind);
  has_status(&first, CENOTE_OK);
  has_status(&behind, CENOTE_OK);
  assert_int_equal(must_query(base.manager, "SELECT sum(b) FROM t"), 5);
  base_close(&base);
}

static void a_shutdown_refuses_who_waits_for_the_turn(void **state)
{
  (void)state;
  enum { WAITING = 10 };
  struct base base;
  struct answer answers[WAITING] = {0};
  open_base(&base, "3", false);
  cenote_lease lease = must_acquire(base.manager, "holder");
  must_run(lease, "BEGIN IMMEDIATE");
  for (int i = 0; i < WAITING; i++) {
    ask(base.manager, "INSERT INTO t(b) VALUES (1)", NULL, &answers[i]);
  }
  wait_until(statistics_of(base.manager).active_leases == 2);
  expect(CENOTE_TIMEOUT, cenote_shutdown(base.manager, 30, &base.error), &base.error);
  (void)cenote_release(lease);
  base_close(&base);
  for (int i = 0; i < WAITING; i++) {
    has_status(&answers[i], CENOTE_SHUTTING_DOWN);
  }
}

/* ------------------------------------------------------------------------ threads */

static void whoever_holds_the_writers_turn_gets_a_thread_though_all_wait_for_it(void **state)
{
  (void)state;
  enum { OTHERS = 12 };
  struct base base;
  struct answer answers[OTHERS] = {0}, insert = {0}, commit = {0};
  cenote_lease leases[OTHERS];
  open_base(&base, "13", false);
  cenote_lease lease = must_acquire(base.manager, "holder");
  must_run(lease, "BEGIN IMMEDIATE");
  for (int i = 0; i < OTHERS; i++) {
    leases[i] = must_acquire(base.manager, "other");
    execute_async(leases[i], "INSERT INTO t(b) VALUES (1)", &answers[i]);
  }
  pause_ms(50); /* all threads are taken by statements that wait */
  execute_async(lease, "INSERT INTO t(b) VALUES (1)", &insert);
  wait_for(&insert);
  has_status(&insert, CENOTE_OK);
  execute_async(lease, "COMMIT", &commit);
  wait_for(&commit);
  has_status(&commit, CENOTE_OK);
  must_release(lease);
  for (int i = 0; i < OTHERS; i++) {
    wait_for(&answers[i]);
    has_status(&answers[i], CENOTE_OK);
    must_release(leases[i]);
  }
  assert_int_equal(must_query(base.manager, "SELECT count(*) FROM t"), OTHERS + 1);
  base_close(&base);
}

static int count_threads(void)
{
  int count = 0;
  DIR *tasks = opendir("/proc/self/task");
  assert_non_null(tasks);
  for (struct dirent *entry; (entry = readdir(tasks)) != NULL;) {
    count += entry->d_name[0] != '.';
  }
  closedir(tasks);
  return count;
}

static const char SLOW[] = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n "
                           "WHERE i < 3000000000) SELECT count(*) FROM n";

static void asynchronous_statements_use_a_bounded_number_of_threads(void **state)
{
  (void)state;
  enum { ASKS = 16 };
  struct base base;
  struct answer answers[ASKS] = {0};
  open_base(&base, "16", false);
  for (int i = 0; i < ASKS; i++) {
    ask(base.manager, SLOW, NULL, &answers[i]);
  }
  wait_until(statistics_of(base.manager).active_leases == ASKS);
  assert_in_range(count_threads(), 3, 3 + 8 + 8); /* those for statements, those for opening */
  for (int i = 0; i < ASKS; i++) {
    assert_int_equal(cenote_cancel_query(answers[i].ticket), CENOTE_OK);
  }
  for (int i = 0; i < ASKS; i++) {
    wait_for(&answers[i]);
    has_status(&answers[i], CENOTE_CANCELLED);
  }
  base_close(&base);
}

static void a_slow_statement_ends_at_its_deadline(void **state)
{
  (void)state;
  struct base base;
  struct answer answer = {0};
  cenote_query_options options = CENOTE_QUERY_OPTIONS_INIT;
  options.timeout_ms = 80;
  open_base(&base, "1", false);
  do { /* until there was a connection in time: a machine that stands still may let it pass */
    answer = (struct answer){0};
    ask(base.manager, SLOW, &options, &answer);
    wait_for(&answer);
    options.timeout_ms *= 2;
  } while (answer.status == CENOTE_TIMEOUT && options.timeout_ms < PATIENCE_MS);
  has_status(&answer, CENOTE_STATEMENT_TIMEOUT);
  expect(CENOTE_STATEMENT_TIMEOUT, query(&base, SLOW, 300), &base.error);
  base_close(&base);
}

static void it_works_on_a_host_loop(void **state)
{
  (void)state;
  struct base base;
  struct answer write = {0}, read = {0};
  open_base(&base, "2", true);
  ask(base.manager, "INSERT INTO t(b) VALUES (8)", NULL, &write);
  drive_until(base.manager, write.calls == 1);
  has_status(&write, CENOTE_OK);
  ask(base.manager, "SELECT b FROM t", NULL, &read);
  drive_until(base.manager, read.calls == 1);
  has_status(&read, CENOTE_OK);
  assert_int_equal(read.value, 8);
  assert_true(pthread_equal(read.thread, pthread_self()));
  base_close(&base);
}

/* -------------------------------------------------------------------------- the verdict */

static void sqlite_has_the_last_word_on_what_is_a_read(void **state)
{
  (void)state;
  struct base base;
  open_base(&base, "2", false);
  /* Whatever the text was taken for: it is run once, and what it did is there. */
  const char *const texts[] = {
      "WITH x AS (SELECT 1) INSERT INTO t(b) SELECT * FROM x",
      "REPLACE INTO t(a, b) VALUES (1, 1)",
      "INSERT INTO t(b) VALUES (1) RETURNING a",
      "SELECT 1",
      "EXPLAIN INSERT INTO t(b) VALUES (1)",
      "PRAGMA user_version = 7",
  };
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    must(query(&base, texts[i], 5000), &base.error);
    must(query(&base, texts[i], 5000), &base.error);
  }
  assert_int_equal(must_query(base.manager, "PRAGMA user_version"), 7);
  base_close(&base);
}

static void what_is_sent_as_a_read_and_writes_is_refused_unrun(void **state)
{
  (void)state;
  struct base base;
  struct entry entry;
  open_base(&base, "1", false);
  cenote_lease lease = must_acquire(base.manager, "x");
  must(lease_enter(lease, &entry, &base.error), &base.error);
  expect(CENOTE_DATABASE,
         statement_run(&entry, "INSERT INTO t(b) VALUES (1)", NULL, 0, NULL, CENOTE_REQUEST_READ,
                       &base.error),
         &base.error);
  assert_string_equal(base.error.sqlstate, "25006");
  must(statement_run(&entry, "SELECT * FROM t", NULL, 0, NULL, CENOTE_REQUEST_READ, &base.error),
       &base.error);
  must(lease_leave(&entry, CENOTE_OK, &base.error), &base.error);
  assert_int_equal(must_read(lease, "SELECT count(*) FROM t"), 0);
  must_run(lease, "INSERT INTO t(b) VALUES (1)"); /* nobody's turn is left taken */
  must_release(lease);
  base_close(&base);
}

static void a_read_that_was_refused_takes_its_turn_and_is_remembered_as_a_write(void **state)
{
  (void)state;
  struct base base;
  struct query_plan plan;
  const cenote_statement statement = {.sql = "SELECT 1"};
  open_base(&base, "1", false);
  must(query_plan_init(&plan, base.manager, &statement, NULL, &base.error), &base.error);
  assert_true(plan.verdict.read_only && !plan.turn && !plan.simple);
  memcpy(base.error.sqlstate, "25006", 6);
  cenote_status told = CENOTE_DATABASE;
  assert_int_equal(query_plan_judge(&plan, &told, CEN_FATE_ANSWERED, false, &base.error),
                   QUERY_AGAIN);
  assert_true(plan.turn && !plan.verdict.read_only);
  assert_int_equal(query_plan_judge(&plan, &told, CEN_FATE_ANSWERED, false, &base.error),
                   QUERY_OVER); /* once */
  must(query_plan_init(&plan, base.manager, &statement, NULL, &base.error), &base.error);
  assert_true(!plan.verdict.read_only && plan.turn);
  assert_int_equal(must_query(base.manager, "SELECT 1"), 1);
  base_close(&base);
}

static int open_scratch(void **state)
{
  (void)state;
  return scratch_open() ? 0 : 1;
}

static int close_scratch(void **state)
{
  (void)state;
  scratch_close();
  return 0;
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      TEST(reads_and_writes_need_no_lease),
      TEST(a_transaction_begun_without_a_lease_is_rolled_back),
      TEST(writers_that_wait_hold_no_connection),
      TEST(a_turn_that_does_not_come_in_time_is_a_time_out),
      TEST(a_shutdown_refuses_who_waits_for_the_turn),
      TEST(whoever_holds_the_writers_turn_gets_a_thread_though_all_wait_for_it),
      TEST(asynchronous_statements_use_a_bounded_number_of_threads),
      TEST(a_slow_statement_ends_at_its_deadline),
      TEST(it_works_on_a_host_loop),
      TEST(sqlite_has_the_last_word_on_what_is_a_read),
      TEST(what_is_sent_as_a_read_and_writes_is_refused_unrun),
      TEST(a_read_that_was_refused_takes_its_turn_and_is_remembered_as_a_write),
  };
  return cmocka_run_group_tests(tests, open_scratch, close_scratch);
}
