/* Life of a connection, transactions, what a session keeps and what a reset takes away. */
#include "driver/conformance.h"

#include "net/clock.h"

#include <stdio.h>
#include <string.h>

static void must(struct bench *bench, const char *sql)
{
  cenote_result *result;
  cenote_error error = CENOTE_ERROR_INIT;
  if (rig_execute(&bench->rig, bench->connection, sql, NULL, 0, 20000, &result, &error)) {
    fail_msg("%s: %s", sql, error.message);
  }
  cenote_result_free(result);
}

static void kind(struct bench *bench, cenote_request_kind what)
{
  cenote_error error = CENOTE_ERROR_INIT;
  if (rig_kind(&bench->rig, bench->connection, what, &error)) {
    fail_msg("request %d: %s", (int)what, error.message);
  }
}

static void make_table(struct bench *bench)
{
  must(bench, "DROP TABLE IF EXISTS cenote_conformance");
  must(bench, "CREATE TABLE cenote_conformance (id integer PRIMARY KEY, name text NOT NULL)");
}

static int64_t count_rows(struct bench *bench)
{
  return rig_integer(&bench->rig, bench->connection, "SELECT count(*) FROM cenote_conformance");
}

static void a_new_session_is_clean_and_answers(void **state)
{
  struct bench *bench = bench_of(state);
  assert_int_equal(bench_session(bench), 0);
  kind(bench, CENOTE_REQUEST_CHECK);
  assert_non_null(bench->subject->driver->resource(bench->connection));
  assert_int_equal(bench_session(bench), 0);
  bench_still_works(bench);
}

static void nothing_runs_before_the_connection_is_open(void **state)
{
  struct bench *bench = bench_of(state);
  cenote_connection *raw = NULL;
  assert_int_equal(bench->rig.driver->create(&bench->rig.params, &raw, NULL), CENOTE_OK);
  assert_int_not_equal(rig_do(&bench->rig, raw, "SELECT 1"), CENOTE_OK);
  bench->rig.driver->destroy(raw);
}

static void a_connection_may_be_destroyed_at_any_time(void **state)
{
  struct bench *bench = bench_of(state);
  for (int i = 0; i < 4; i++) {
    cenote_connection *raw = NULL;
    assert_int_equal(bench->rig.driver->create(&bench->rig.params, &raw, NULL), CENOTE_OK);
    if (i > 0) {
      assert_int_equal(rig_kind(&bench->rig, raw, CENOTE_REQUEST_OPEN, NULL), CENOTE_OK);
    }
    if (i > 1) {
      assert_int_equal(rig_begin(&bench->rig, raw, CENOTE_BATCH_DEFERRED, NULL), CENOTE_OK);
    }
    if (i > 2) {
      assert_int_equal(rig_kind(&bench->rig, raw, CENOTE_REQUEST_CLOSE, NULL), CENOTE_OK);
    }
    bench->rig.driver->destroy(raw);
  }
  bench_still_works(bench);
}

static void the_session_tells_of_a_transaction(void **state)
{
  struct bench *bench = bench_of(state);
  const cenote_request_kind ends[] = {CENOTE_REQUEST_COMMIT, CENOTE_REQUEST_ROLLBACK,
                                      CENOTE_REQUEST_RESET};
  const cenote_batch_mode modes[] = {CENOTE_BATCH_DEFERRED, CENOTE_BATCH_WRITE, CENOTE_BATCH_READ};
  const unsigned may = CENOTE_SESSION_WRITING; /* where sessions take turns */
  for (size_t i = 0; i < 9; i++) {
    assert_int_equal(rig_begin(&bench->rig, bench->connection, modes[i / 3], NULL), CENOTE_OK);
    assert_int_equal(bench_session(bench) & ~may, CENOTE_SESSION_IN_TRANSACTION);
    bench_still_works(bench);
    kind(bench, ends[i % 3]);
    assert_int_equal(bench_session(bench), 0);
  }
  must(bench, "BEGIN");
  assert_int_equal(bench_session(bench) & ~may, CENOTE_SESSION_IN_TRANSACTION);
  must(bench, "ROLLBACK");
  assert_int_equal(bench_session(bench), 0);
}

static void a_rollback_without_a_transaction_is_fine(void **state)
{
  struct bench *bench = bench_of(state);
  kind(bench, CENOTE_REQUEST_ROLLBACK);
  kind(bench, CENOTE_REQUEST_RESET);
  kind(bench, CENOTE_REQUEST_RESET);
  bench_still_works(bench);
}

static void a_commit_keeps_and_everything_else_undoes(void **state)
{
  struct bench *bench = bench_of(state);
  make_table(bench);
  assert_int_equal(rig_begin(&bench->rig, bench->connection, CENOTE_BATCH_WRITE, NULL), CENOTE_OK);
  must(bench, "INSERT INTO cenote_conformance VALUES (1, 'kept')");
  kind(bench, CENOTE_REQUEST_COMMIT);
  assert_int_equal(rig_begin(&bench->rig, bench->connection, CENOTE_BATCH_DEFERRED, NULL),
                   CENOTE_OK);
  must(bench, "INSERT INTO cenote_conformance VALUES (2, 'rolled back')");
  kind(bench, CENOTE_REQUEST_ROLLBACK);
  must(bench, "BEGIN");
  must(bench, "INSERT INTO cenote_conformance VALUES (3, 'reset')");
  kind(bench, CENOTE_REQUEST_RESET);
  assert_int_equal(count_rows(bench), 1);
  must(bench, "BEGIN");
  must(bench, "INSERT INTO cenote_conformance VALUES (4, 'closed')");
  rig_disconnect(&bench->rig, bench->connection);
  bench->connection = rig_connect(&bench->rig, NULL);
  assert_non_null(bench->connection);
  assert_int_equal(count_rows(bench), 1);
}

static void a_failed_transaction_can_only_roll_back(void **state)
{
  struct bench *bench = bench_of(state);
  cenote_result *result;
  cenote_error error = CENOTE_ERROR_INIT;
  const unsigned failed = CENOTE_SESSION_IN_TRANSACTION | CENOTE_SESSION_FAILED;
  if (bench->subject->fail_prepare) {
    must(bench, bench->subject->fail_prepare);
  }
  for (int round = 0; round < 3; round++) {
    assert_int_equal(rig_begin(&bench->rig, bench->connection, CENOTE_BATCH_WRITE, NULL),
                     CENOTE_OK);
    assert_int_equal(rig_do(&bench->rig, bench->connection, bench->subject->fail_transaction),
                     CENOTE_DATABASE);
    assert_int_equal(bench_session(bench) & failed, failed);
    assert_int_equal(
        rig_execute(&bench->rig, bench->connection, "SELECT 1", NULL, 0, 20000, &result, &error),
        CENOTE_DATABASE);
    assert_string_equal(error.sqlstate, "25P02");
    if (round == 0) {
      kind(bench, CENOTE_REQUEST_ROLLBACK);
    } else if (round == 1) {
      must(bench, "ROLLBACK");
    } else {
      assert_int_equal(rig_kind(&bench->rig, bench->connection, CENOTE_REQUEST_COMMIT, &error),
                       CENOTE_DATABASE);
    }
    assert_int_equal(bench_session(bench) & failed, 0);
    bench_still_works(bench);
  }
}

static void a_reading_transaction_refuses_to_write(void **state)
{
  struct bench *bench = bench_of(state);
  cenote_result *result;
  cenote_error error = CENOTE_ERROR_INIT;
  make_table(bench);
  assert_int_equal(rig_begin(&bench->rig, bench->connection, CENOTE_BATCH_READ, NULL), CENOTE_OK);
  assert_int_equal(count_rows(bench), 0);
  assert_int_equal(rig_execute(&bench->rig, bench->connection,
                               "INSERT INTO cenote_conformance VALUES (1, 'x')", NULL, 0, 20000,
                               &result, &error),
                   CENOTE_DATABASE);
  assert_string_equal(error.sqlstate, "25006");
  kind(bench, CENOTE_REQUEST_ROLLBACK);
  must(bench, "INSERT INTO cenote_conformance VALUES (1, 'x')");
  assert_int_equal(count_rows(bench), 1);
}

static void a_reset_makes_the_session_as_new(void **state)
{
  struct bench *bench = bench_of(state);
  for (const struct dirt *dirt = bench->subject->dirt; dirt->change; dirt++) {
    int64_t before = dirt->probe ? rig_integer(&bench->rig, bench->connection, dirt->probe) : 0;
    must(bench, dirt->change);
    if (!(bench_session(bench) & CENOTE_SESSION_DIRTY)) {
      fail_msg("not dirty after %s", dirt->change);
    }
    if (dirt->probe) {
      assert_int_not_equal(rig_integer(&bench->rig, bench->connection, dirt->probe), before);
    }
    kind(bench, CENOTE_REQUEST_RESET);
    assert_int_equal(bench_session(bench), 0);
    if (dirt->probe && rig_integer(&bench->rig, bench->connection, dirt->probe) != before) {
      fail_msg("a reset did not undo %s", dirt->change);
    }
  }
  bench_still_works(bench);
}

static void dirt_inside_a_transaction_is_reset_too(void **state)
{
  struct bench *bench = bench_of(state);
  must(bench, "BEGIN");
  must(bench, bench->subject->dirt[0].change);
  kind(bench, CENOTE_REQUEST_RESET);
  assert_int_equal(bench_session(bench), 0);
  bench_still_works(bench);
}

static void a_lent_out_resource_makes_the_session_dirty(void **state)
{
  struct bench *bench = bench_of(state);
  bench->subject->driver->taint(bench->connection);
  assert_int_equal(bench_session(bench), CENOTE_SESSION_DIRTY);
  kind(bench, CENOTE_REQUEST_RESET);
  assert_int_equal(bench_session(bench), 0);
  bench_still_works(bench);
}

static void counts_and_ids_are_those_of_the_statement(void **state)
{
  struct bench *bench = bench_of(state);
  static const struct {
    const char *sql;
    int64_t affected;
  } steps[] = {
      {"INSERT INTO cenote_conformance VALUES (7, 'a'), (8, 'b')", 2},
      {"SELECT * FROM cenote_conformance", -1},
      {"UPDATE cenote_conformance SET name = 'c'", 2},
      {"UPDATE cenote_conformance SET name = 'd' WHERE id = 99", 0},
      {"INSERT INTO cenote_conformance VALUES (9, 'e') RETURNING id", 1},
      {"DELETE FROM cenote_conformance WHERE id > 7", 2},
      {"CREATE TABLE cenote_other (a integer)", 0},
      {"DROP TABLE cenote_other", 0},
  };
  make_table(bench);
  for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
    cenote_result *result;
    cenote_error error = CENOTE_ERROR_INIT;
    if (rig_execute(&bench->rig, bench->connection, steps[i].sql, NULL, 0, 20000, &result,
                    &error)) {
      fail_msg("%s: %s", steps[i].sql, error.message);
    }
    if (steps[i].affected >= 0) {
      assert_int_equal(cenote_result_affected_rows(result), steps[i].affected);
    }
    cenote_result_free(result);
  }
}

static void violations_have_their_sqlstate(void **state)
{
  struct bench *bench = bench_of(state);
  static const struct {
    const char *sql, *sqlstate;
  } wrong[] = {
      {"INSERT INTO cenote_conformance VALUES (1, 'b')", "23505"},
      {"INSERT INTO cenote_conformance VALUES (2, NULL)", "23502"},
      {"SELECT * FROM cenote_no_such_table", "42P01"},
      {"SELECT no_such_column FROM cenote_conformance", "42703"},
      {"SELECT no_such_function(1)", "42883"},
      {"CREATE TABLE cenote_conformance (a integer)", "42P07"},
  };
  make_table(bench);
  must(bench, "INSERT INTO cenote_conformance VALUES (1, 'a')");
  for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
    cenote_result *result;
    cenote_error error = CENOTE_ERROR_INIT;
    assert_int_equal(
        rig_execute(&bench->rig, bench->connection, wrong[i].sql, NULL, 0, 20000, &result, &error),
        CENOTE_DATABASE);
    assert_string_equal(error.sqlstate, wrong[i].sqlstate);
    assert_false(error.retryable);
    if (i < 2) {
      assert_string_equal(cenote_error_field(&error, 't'), "cenote_conformance");
    }
  }
  /* a text that nobody understood may count as dirty */
  assert_int_equal(bench_session(bench) & ~(unsigned)CENOTE_SESSION_DIRTY, 0);
}

static void a_changed_schema_is_seen_by_prepared_statements(void **state)
{
  struct bench *bench = bench_of(state);
  make_table(bench);
  must(bench, "INSERT INTO cenote_conformance VALUES (1, 'a')");
  for (size_t columns = 2; columns < 5; columns++) {
    for (int i = 0; i < 4; i++) {
      cenote_result *result;
      cenote_error error = CENOTE_ERROR_INIT;
      if (rig_execute(&bench->rig, bench->connection, "SELECT * FROM cenote_conformance", NULL, 0,
                      20000, &result, &error)) {
        fail_msg("%s", error.message);
      }
      assert_int_equal(cenote_result_columns(result), columns);
      assert_int_equal(cenote_result_rows(result), 1);
      cenote_result_free(result);
    }
    char sql[96];
    snprintf(sql, sizeof(sql), "ALTER TABLE cenote_conformance ADD COLUMN more%zu text", columns);
    must(bench, sql);
  }
}

/* A request of another kind, or with flags that not every driver knows. */
static cenote_status ask(struct bench *bench, cenote_request_kind what, unsigned flags,
                         const char *sql, cenote_error *error)
{
  cenote_request request = {.size = sizeof(request),
                            .kind = what,
                            .flags = flags,
                            .sql = sql,
                            .deadline_ns = cen_deadline_ns(cen_now_ns(), 20000)};
  return rig_run(&bench->rig, bench->connection, &request, error);
}

#define INSERT_ONE "INSERT INTO cenote_conformance VALUES (1, 'a')"

static void a_description_runs_nothing_or_is_unsupported(void **state)
{
  struct bench *bench = bench_of(state);
  cenote_error error = CENOTE_ERROR_INIT;
  make_table(bench);
  cenote_status status = ask(bench, CENOTE_REQUEST_DESCRIBE, 0, INSERT_ONE, &error);
  if (status != CENOTE_OK) {
    assert_int_equal(status, CENOTE_UNSUPPORTED);
    assert_true(strlen(error.message) > 10);
  }
  assert_int_equal(bench_session(bench), 0);
  assert_int_equal(count_rows(bench), 0);
  bench_still_works(bench);
}

static void a_script_runs_all_or_is_unsupported(void **state)
{
  struct bench *bench = bench_of(state);
  cenote_error error = CENOTE_ERROR_INIT;
  make_table(bench);
  cenote_status status =
      ask(bench, CENOTE_REQUEST_EXECUTE, CENOTE_REQUEST_SCRIPT,
          INSERT_ONE "; SELECT 1; DELETE FROM cenote_conformance; " INSERT_ONE, &error);
  assert_true(status == CENOTE_OK || status == CENOTE_UNSUPPORTED);
  assert_int_equal(count_rows(bench), status == CENOTE_OK ? 1 : 0);
  bench_still_works(bench);
}

static void a_refused_write_does_not_run(void **state)
{
  struct bench *bench = bench_of(state);
  cenote_error error = CENOTE_ERROR_INIT;
  make_table(bench);
  cenote_status status =
      ask(bench, CENOTE_REQUEST_EXECUTE, CENOTE_REQUEST_REFUSE, INSERT_ONE, &error);
  if (status != CENOTE_UNSUPPORTED) {
    assert_int_equal(status, CENOTE_DATABASE);
    assert_string_equal(error.sqlstate, "25006");
    assert_int_equal(ask(bench, CENOTE_REQUEST_EXECUTE, CENOTE_REQUEST_REFUSE, "SELECT 1", &error),
                     CENOTE_OK);
  }
  assert_int_equal(count_rows(bench), 0);
  bench_still_works(bench);
}

/* ---------------------------------------------------------------- batches */

enum { PARTS = 3 };

static cenote_status batch(struct bench *bench, const char *const texts[PARTS],
                           cenote_request *request, int64_t *number, cenote_error *error)
{
  struct cenote_sink sinks[PARTS];
  cenote_sink *list[PARTS];
  cenote_statement statements[PARTS];
  for (size_t i = 0; i < PARTS; i++) {
    statements[i] = (cenote_statement){.sql = texts[i]};
    list[i] = &sinks[i];
    assert_int_equal(cen_sink_init_result(&sinks[i], 0, 0, NULL), CENOTE_OK);
  }
  request->size = sizeof *request;
  request->kind = CENOTE_REQUEST_BATCH;
  request->statements = statements;
  request->statement_count = PARTS;
  request->sinks = list;
  request->deadline_ns = cen_deadline_ns(cen_now_ns(), 20000);
  const cenote_status status = rig_run(&bench->rig, bench->connection, request, error);
  cenote_result *last = status == CENOTE_OK ? cen_sink_take(&sinks[PARTS - 1]) : NULL;
  *number = cenote_result_integer(last, 0, 0);
  cenote_result_free(last);
  for (size_t i = 0; i < PARTS; i++) {
    cen_sink_deinit(&sinks[i]);
  }
  return status;
}

#define INSERT_TWO "INSERT INTO cenote_conformance VALUES (2, 'b')"
#define COUNT "SELECT count(*) FROM cenote_conformance"

/* Those that take none are given BEGIN, the statements and COMMIT. */
static void a_batch_is_all_or_nothing(void **state)
{
  struct bench *bench = bench_of(state);
  static const char *const fine[PARTS] = {INSERT_ONE, INSERT_TWO, COUNT};
  static const char *const wrong[PARTS] = {INSERT_TWO, INSERT_ONE, INSERT_ONE};
  static const char *const reads[PARTS] = {COUNT, COUNT, COUNT};
  cenote_error error = CENOTE_ERROR_INIT;
  int64_t number;
  for (int mode = CENOTE_BATCH_DEFERRED; mode <= CENOTE_BATCH_WRITE; mode++) {
    cenote_request request = {.mode = (cenote_batch_mode)mode};
    make_table(bench);
    assert_int_equal(batch(bench, wrong, &request, &number, &error), CENOTE_DATABASE);
    assert_string_equal(error.sqlstate, "23505");
    assert_true(error.statement == 2 || error.statement == -1);
    assert_int_equal(count_rows(bench), 0);
    if (batch(bench, fine, &request, &number, &error) != CENOTE_OK) {
      fail_msg("%s", error.message);
    }
    assert_int_equal(number, 2);
    assert_int_equal(bench_session(bench), 0);
  }
  cenote_request request = {.mode = CENOTE_BATCH_READ};
  assert_int_equal(batch(bench, wrong, &request, &number, &error), CENOTE_DATABASE);
  assert_string_equal(error.sqlstate, "25006");
  request = (cenote_request){
      .mode = CENOTE_BATCH_READ, .isolation = CENOTE_SERIALIZABLE, .deferrable = true};
  assert_int_equal(batch(bench, reads, &request, &number, &error), CENOTE_OK);
  assert_int_equal(number, 2);
  assert_int_equal(bench_session(bench), 0);
  bench_still_works(bench);
}

static void every_isolation_is_given_or_is_unsupported(void **state)
{
  struct bench *bench = bench_of(state);
  for (int level = CENOTE_ISOLATION_DEFAULT; level <= CENOTE_READ_UNCOMMITTED; level++) {
    for (int mode = CENOTE_BATCH_DEFERRED; mode <= CENOTE_BATCH_READ; mode++) {
      cenote_error error = CENOTE_ERROR_INIT;
      const cenote_request request = {.size = sizeof request,
                                      .kind = CENOTE_REQUEST_BEGIN,
                                      .mode = (cenote_batch_mode)mode,
                                      .isolation = (cenote_isolation)level,
                                      .deferrable = mode == CENOTE_BATCH_READ,
                                      .deadline_ns = cen_deadline_ns(cen_now_ns(), 20000)};
      const cenote_status status = rig_run(&bench->rig, bench->connection, &request, &error);
      if (status == CENOTE_OK) {
        bench_still_works(bench);
        kind(bench, CENOTE_REQUEST_COMMIT);
      } else {
        assert_int_equal(status, CENOTE_UNSUPPORTED);
        assert_true(strlen(error.message) > 10);
      }
      assert_int_equal(bench_session(bench), 0);
    }
  }
}

const struct bench_test session_tests[] = {
    BENCH_TEST(a_new_session_is_clean_and_answers, 0),
    BENCH_TEST(nothing_runs_before_the_connection_is_open, 0),
    BENCH_TEST(a_connection_may_be_destroyed_at_any_time, HAS_SESSION),
    BENCH_TEST(the_session_tells_of_a_transaction, HAS_SESSION),
    BENCH_TEST(a_rollback_without_a_transaction_is_fine, 0),
    BENCH_TEST(a_commit_keeps_and_everything_else_undoes, HAS_TABLES | HAS_SESSION),
    BENCH_TEST(a_failed_transaction_can_only_roll_back, HAS_SESSION),
    BENCH_TEST(a_reading_transaction_refuses_to_write, HAS_TABLES | HAS_READ_ONLY | HAS_SESSION),
    BENCH_TEST(a_reset_makes_the_session_as_new, HAS_SESSION),
    BENCH_TEST(dirt_inside_a_transaction_is_reset_too, HAS_SESSION),
    BENCH_TEST(a_lent_out_resource_makes_the_session_dirty, 0),
    BENCH_TEST(counts_and_ids_are_those_of_the_statement, HAS_TABLES),
    BENCH_TEST(violations_have_their_sqlstate, HAS_TABLES),
    BENCH_TEST(a_changed_schema_is_seen_by_prepared_statements, HAS_TABLES),
    BENCH_TEST(a_description_runs_nothing_or_is_unsupported, HAS_TABLES),
    BENCH_TEST(a_script_runs_all_or_is_unsupported, HAS_TABLES),
    BENCH_TEST(a_refused_write_does_not_run, HAS_TABLES),
    BENCH_TEST(a_batch_is_all_or_nothing, HAS_TABLES | HAS_BATCHES),
    BENCH_TEST(every_isolation_is_given_or_is_unsupported, HAS_SESSION),
};
const size_t session_tests_count = sizeof(session_tests) / sizeof(*session_tests);
