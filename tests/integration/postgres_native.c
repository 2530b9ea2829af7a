/* The PostgreSQL driver with texts that are sent as they are, and what it says of columns: alone and
 * pipelined, prepared and not, on a real server. */
#include "driver/postgres/postgres.h"
#include "integration/postgres_bed.h"
#include "net/clock.h"
#include "support/pg_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct pg_fixture server;

enum { ROUNDS = 4 }; /* from the second on it is prepared */

struct asked {
  cenote_status status;
  cenote_result *result;
  cenote_error error;
};

static void ask_alone(struct pg_bed *bed, unsigned flags, const char *sql, const cenote_value *args,
                      size_t count, struct asked *asked)
{
  struct cenote_sink sink;
  assert_int_equal(cen_sink_init_result(&sink, 0, 0, &asked->error), CENOTE_OK);
  const cenote_request request = {.size = sizeof(request),
                                  .kind = CENOTE_REQUEST_EXECUTE,
                                  .flags = flags,
                                  .sql = sql,
                                  .args = args,
                                  .count = count,
                                  .sink = &sink,
                                  .deadline_ns = cen_deadline_ns(cen_now_ns(), 20000)};
  asked->status = rig_run(&bed->pg.rig, bed->other, &request, &asked->error);
  asked->result = asked->status == CENOTE_OK ? cen_sink_take(&sink) : NULL;
  cen_sink_deinit(&sink);
}

static void ask_pipelined(struct pg_bed *bed, unsigned flags, const char *sql,
                          const cenote_value *args, size_t count, struct asked *asked)
{
  struct rig_flight flight;
  bed->pipe.flags = flags;
  asked->status = rig_pipe_push(&bed->pipe, &flight, sql, args, count, 0);
  if (asked->status == CENOTE_OK) {
    assert_ptr_equal(rig_pipe_next(&bed->pipe), &flight);
    assert_true(flight.answer == CENOTE_ANSWER_DONE || flight.answer == CENOTE_ANSWER_FAILED);
    asked->status = flight.answer == CENOTE_ANSWER_DONE ? CENOTE_OK : flight.error.status;
    asked->result = flight.result;
    flight.result = NULL;
  }
  asked->error = flight.error;
  rig_flight_free(&flight);
}

static void ask(struct pg_bed *bed, bool pipelined, unsigned flags, const char *sql,
                const cenote_value *args, size_t count, struct asked *asked)
{
  *asked = (struct asked){.error = CENOTE_ERROR_INIT};
  (pipelined ? ask_pipelined : ask_alone)(bed, flags, sql, args, count, asked);
}

static void expect_number(struct pg_bed *bed, bool pipelined, unsigned flags, const char *sql,
                          const cenote_value *args, size_t count, int64_t value)
{
  struct asked asked;
  ask(bed, pipelined, flags, sql, args, count, &asked);
  if (asked.status != CENOTE_OK) {
    fail_msg("%s: %s %s", sql, asked.error.sqlstate, asked.error.message);
  }
  assert_int_equal(cenote_result_integer(asked.result, 0, 0), value);
  cenote_result_free(asked.result);
}

static void expect_failure(struct pg_bed *bed, bool pipelined, unsigned flags, const char *sql,
                           const cenote_value *args, size_t count, cenote_status status,
                           const char *words)
{
  struct asked asked;
  ask(bed, pipelined, flags, sql, args, count, &asked);
  assert_null(asked.result);
  assert_int_equal(asked.status, status);
  char all[600];
  snprintf(all, sizeof(all), "%s %s", asked.error.sqlstate, asked.error.message);
  if (!strstr(all, words)) {
    fail_msg("%s: \"%s\" is not in: %s", sql, words, all);
  }
}

static const char *url(void)
{
  return pg_fixture_get(&server, "POSTGRES_URL");
}

/* In both ways, often enough that it is prepared. */
static void both_ways(void (*test)(struct pg_bed *bed, bool pipelined))
{
  struct pg_bed bed;
  pg_bed_open(&bed, url(), false);
  for (int i = 0; i < 2 * ROUNDS; i++) {
    test(&bed, i % 2 == 0);
  }
  assert_int_equal(pg_rig_session(&bed.pg, bed.c) & CENOTE_SESSION_BROKEN, 0);
  assert_int_equal(pg_rig_session(&bed.pg, bed.other) & CENOTE_SESSION_BROKEN, 0);
  pg_bed_close(&bed);
}

/* ------------------------------------------------------------------------ native texts */

static void operators(struct pg_bed *bed, bool pipelined)
{
  static const char two_ways[] = "SELECT count(*) FROM (SELECT 1) o WHERE '{\"k\":1}'::jsonb ? 'k'";
  const cenote_value arg = cenote_text("k");
  const cenote_value one = cenote_integer(1);
  expect_number(
      bed, pipelined, CENOTE_REQUEST_NATIVE,
      "SELECT ('{\"k\":1}'::jsonb ? $1)::int + ('{\"k\":1}'::jsonb ?| ARRAY['a','k'])::int", &arg,
      1, 2);
  /* the same text: once there is an argument to give, once there is none */
  expect_number(bed, pipelined, CENOTE_REQUEST_NATIVE, two_ways, NULL, 0, 1);
  expect_failure(bed, pipelined, 0, two_ways, NULL, 0, CENOTE_INVALID, "takes 1 argument");
  expect_number(bed, pipelined, CENOTE_REQUEST_NATIVE, "SELECT $1::int + 1", &one, 1, 2);
  expect_number(bed, pipelined, 0, "SELECT $1::int + 1", &one, 1, 2);
  expect_number(bed, pipelined, 0, "SELECT ?::int + 1", &one, 1, 2);
  expect_failure(bed, pipelined, CENOTE_REQUEST_NATIVE, "SELECT ?::int + 1", &one, 1,
                 CENOTE_DATABASE, "42601");
}

static void a_question_mark_is_an_operator(void **state)
{
  (void)state;
  both_ways(operators);
}

static void inferred(struct pg_bed *bed, bool pipelined)
{
  const cenote_value args[] = {cenote_text("42"), cenote_integer(42), cenote_null()};
  const cenote_value blob = cenote_blob("\0\1\2", 3);
  struct asked asked;
  for (size_t i = 0; i < 3; i++) {
    ask(bed, pipelined, CENOTE_REQUEST_NATIVE | CENOTE_REQUEST_RAW_TEXT, "SELECT $1", &args[i], 1,
        &asked);
    assert_int_equal(asked.status, CENOTE_OK);
    assert_int_equal(cenote_result_column_oid(asked.result, 0), 25);
    assert_int_equal(cenote_result_value(asked.result, 0, 0).type,
                     i == 2 ? CENOTE_NULL : CENOTE_TEXT);
    cenote_result_free(asked.result);
  }
  expect_number(bed, pipelined, CENOTE_REQUEST_NATIVE, "SELECT $1 + 1", &args[1], 1, 43);
  expect_number(bed, pipelined, CENOTE_REQUEST_NATIVE, "SELECT octet_length($1)", &blob, 1, 3);
}

static void the_server_infers_what_arguments_are(void **state)
{
  (void)state;
  both_ways(inferred);
}

static void judged(struct pg_bed *bed, bool pipelined)
{
  const cenote_value two[] = {cenote_text("1"), cenote_text("2")};
  const unsigned native = CENOTE_REQUEST_NATIVE;
  expect_failure(bed, pipelined, native, "SELECT 1; SELECT 2", NULL, 0, CENOTE_DATABASE,
                 "42601 cannot insert multiple commands into a prepared statement");
  expect_failure(bed, pipelined, native, "SELECT $1::int", NULL, 0, CENOTE_DATABASE,
                 "08P01 bind message supplies 0 parameters, but prepared statement");
  expect_failure(bed, pipelined, native, "SELECT $1::int", two, 2, CENOTE_DATABASE,
                 "08P01 bind message supplies 2 parameters, but prepared statement");
  expect_number(bed, pipelined, native, "SELECT $1::int", two, 1, 1);
  expect_failure(bed, pipelined, 0, "SELECT $1::int", NULL, 0, CENOTE_INVALID, "takes 1 argument");
  expect_failure(bed, pipelined, 0, "SELECT 1; SELECT 2", NULL, 0, CENOTE_INVALID, "2 statements");
}

static void form_and_number_are_the_servers_business(void **state)
{
  (void)state;
  both_ways(judged);
}

static void empty(struct pg_bed *bed, bool pipelined)
{
  static const char *const texts[] = {"", "  ", "-- nothing", ";", "/* nothing */ ;"};
  for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
    struct asked asked;
    ask(bed, pipelined, CENOTE_REQUEST_NATIVE, texts[i], NULL, 0, &asked);
    if (asked.status != CENOTE_OK) {
      fail_msg("\"%s\": %s %s", texts[i], asked.error.sqlstate, asked.error.message);
    }
    assert_string_equal(cenote_result_command(asked.result), "");
    assert_int_equal(cenote_result_columns(asked.result), 0);
    cenote_result_free(asked.result);
    expect_failure(bed, pipelined, 0, texts[i], NULL, 0, CENOTE_INVALID, "empty statement");
  }
}

static void an_empty_text_succeeds_with_an_empty_command(void **state)
{
  (void)state;
  both_ways(empty);
}

static void unkept(struct pg_bed *bed, bool pipelined)
{
  expect_failure(bed, pipelined, CENOTE_REQUEST_REFUSE, "SELECT 1", NULL, 0, CENOTE_UNSUPPORTED,
                 "read-only transaction");
  if (pipelined) {
    expect_failure(bed, true, CENOTE_REQUEST_SCRIPT, "SELECT 1; SELECT 2", NULL, 0,
                   CENOTE_UNSUPPORTED, "several statements");
    expect_failure(bed, true, CENOTE_REQUEST_NATIVE, "BEGIN", NULL, 0, CENOTE_UNSUPPORTED,
                   "cannot be pipelined");
    expect_failure(bed, true, CENOTE_REQUEST_NATIVE, "COPY pg_class TO STDOUT", NULL, 0,
                   CENOTE_UNSUPPORTED, "COPY");
  }
  expect_number(bed, pipelined, CENOTE_REQUEST_NATIVE, "SELECT 3", NULL, 0, 3);
}

static void what_cannot_be_kept_is_refused_unsent(void **state)
{
  (void)state;
  both_ways(unkept);
}

static void a_native_statement_works_inside_a_transaction(void **state)
{
  (void)state;
  struct pg_bed bed;
  pg_bed_open(&bed, url(), false);
  const cenote_value arg = cenote_text("7");
  expect_number(&bed, false, CENOTE_REQUEST_NATIVE, "BEGIN", NULL, 0, 0);
  expect_number(&bed, false, CENOTE_REQUEST_NATIVE, "SELECT $1::int", &arg, 1, 7);
  expect_failure(&bed, false, CENOTE_REQUEST_NATIVE, "SELECT $1::int", NULL, 0, CENOTE_DATABASE,
                 "08P01");
  const unsigned failed = CENOTE_SESSION_IN_TRANSACTION | CENOTE_SESSION_FAILED;
  assert_int_equal(pg_rig_session(&bed.pg, bed.other) & failed, failed);
  expect_number(&bed, false, CENOTE_REQUEST_NATIVE, "ROLLBACK", NULL, 0, 0);
  pg_bed_close(&bed);
}

/* --------------------------------------------------------------------------- columns */

static void columns(struct pg_bed *bed, bool pipelined)
{
  static const struct {
    uint32_t oid;
    int attribute, size, modifier;
  } told[] = {{23, 1, 4, -1},
              {1043, 2, -1, 20 + 4},
              {1114, 3, 8, 0},
              {1700, 5, -1, (10 << 16 | 2) + 4},
              {23, 0, 4, -1}};
  const int64_t table = pg_bed_number(bed, "SELECT 'facts'::regclass::oid");
  struct asked asked;
  ask(bed, pipelined, CENOTE_REQUEST_NATIVE, "SELECT id, name, at, n, 1 + 1 AS two FROM facts",
      NULL, 0, &asked);
  assert_int_equal(asked.status, CENOTE_OK);
  assert_int_equal(cenote_result_rows(asked.result), 0);
  for (size_t i = 0; i < 5; i++) {
    cenote_column column;
    assert_true(cenote_result_column(asked.result, i, &column));
    assert_int_equal(column.oid, told[i].oid);
    assert_int_equal(column.attribute, told[i].attribute);
    assert_int_equal(column.type_size, told[i].size);
    assert_int_equal(column.modifier, told[i].modifier);
    assert_int_equal(column.table_oid, told[i].attribute ? table : 0);
  }
  cenote_result_free(asked.result);
}

static void what_the_server_says_of_columns_is_kept(void **state)
{
  (void)state;
  struct pg_bed bed;
  pg_bed_open(&bed, url(), false);
  pg_bed_elsewhere(&bed, "DROP TABLE IF EXISTS facts");
  pg_bed_elsewhere(&bed, "CREATE TABLE facts (id int, name varchar(20), at timestamp(0), gone int,"
                         " n numeric(10,2))");
  pg_bed_elsewhere(&bed, "ALTER TABLE facts DROP COLUMN gone");
  pg_bed_close(&bed);
  both_ways(columns);
}

/* ---------------------------------------------------------------------------- errors */

/* All that an ErrorResponse can have, but for what only the server's own code says. */
static void every_field(struct pg_bed *bed, bool pipelined)
{
  static const char sql[] =
      "DO $$ BEGIN RAISE EXCEPTION USING MESSAGE = repeat('m', 1200), DETAIL = repeat('d', 900), HINT = "
      "'the hint', ERRCODE = 'P0009', TABLE = 'the table', COLUMN = 'the column', DATATYPE = "
      "'the type', CONSTRAINT = 'the constraint', SCHEMA = 'the schema'; END $$";
  static const struct {
    char code;
    const char *text;
  } fields[] = {{'S', "ERROR"},     {'V', "ERROR"},          {'C', "P0009"},
                {'H', "the hint"},  {'t', "the table"},      {'c', "the column"},
                {'d', "the type"},  {'n', "the constraint"}, {'s', "the schema"},
                {'F', "pl_exec.c"}, {'R', "exec_stmt_raise"}};
  struct asked asked;
  ask(bed, pipelined, CENOTE_REQUEST_NATIVE, sql, NULL, 0, &asked);
  assert_int_equal(asked.status, CENOTE_DATABASE);
  for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++) {
    assert_non_null(cenote_error_field(&asked.error, fields[i].code));
    assert_string_equal(cenote_error_field(&asked.error, fields[i].code), fields[i].text);
  }
  assert_non_null(cenote_error_field(&asked.error, 'L'));
  assert_non_null(cenote_error_field(&asked.error, 'W'));
  assert_int_equal(strlen(asked.error.message), sizeof(asked.error.message) - 1);
  assert_int_equal(strlen(cenote_error_field(&asked.error, 'M')), 1200);
  assert_int_equal(strlen(cenote_error_field(&asked.error, 'D')), 900);
  ask(bed, pipelined, CENOTE_REQUEST_NATIVE, "SELECT 1 +", NULL, 0, &asked);
  assert_string_equal(cenote_error_field(&asked.error, 'P'), "11");
  assert_null(cenote_error_field(&asked.error, 'M')); /* `message` has it all */
  ask(bed, pipelined, CENOTE_REQUEST_NATIVE, "SELECT inside()", NULL, 0, &asked);
  assert_string_equal(cenote_error_field(&asked.error, 'p'), "8");
  assert_string_equal(cenote_error_field(&asked.error, 'q'), "SELECT nowhere");
}

static void every_field_of_an_error_survives(void **state)
{
  (void)state;
  struct pg_bed bed;
  pg_bed_open(&bed, url(), false);
  pg_bed_elsewhere(&bed, "CREATE OR REPLACE FUNCTION inside() RETURNS int LANGUAGE plpgsql AS "
                         "$$ BEGIN EXECUTE 'SELECT nowhere'; RETURN 1; END $$");
  pg_bed_close(&bed);
  both_ways(every_field);
}

/* -------------------------------------------------------------------------- scripts */

static void script(struct pg_bed *bed, const char *sql, struct asked *asked)
{
  ask(bed, false, CENOTE_REQUEST_SCRIPT | CENOTE_REQUEST_NATIVE, sql, NULL, 0, asked);
}

static void a_script_has_a_result_for_each_statement(void **state)
{
  (void)state;
  struct pg_bed bed;
  struct asked asked;
  pg_bed_open(&bed, url(), false);
  script(&bed,
         "SELECT 1 AS a; CREATE TEMP TABLE s (n int, t text); INSERT INTO s VALUES (1, ';'), (2, "
         "'b'); SELECT t, n FROM s ORDER BY n; SELECT FROM s; DO $$ BEGIN PERFORM 1; END $$;",
         &asked);
  assert_int_equal(asked.status, CENOTE_OK);
  static const struct {
    const char *command;
    size_t columns, rows;
    int64_t affected;
  } wanted[] = {{"SELECT 1", 1, 1, 0}, {"CREATE TABLE", 0, 0, 0}, {"INSERT 0 2", 0, 0, 2},
                {"SELECT 2", 2, 2, 0}, {"SELECT 2", 0, 2, 2},     {"DO", 0, 0, 0}};
  const cenote_result *result = asked.result;
  for (size_t i = 0; i < sizeof(wanted) / sizeof(*wanted); i++) {
    assert_non_null(result);
    assert_string_equal(cenote_result_command(result), wanted[i].command);
    assert_int_equal(cenote_result_columns(result), wanted[i].columns);
    assert_int_equal(cenote_result_rows(result), wanted[i].rows);
    assert_int_equal(cenote_result_affected_rows(result), wanted[i].affected);
    if (i == 3) {
      assert_string_equal(cenote_result_text(result, 0, 0), ";");
      assert_int_equal(cenote_result_integer(result, 1, 1), 2);
    }
    result = cenote_result_next(result);
  }
  assert_null(result);
  cenote_result_free(asked.result);
  pg_bed_close(&bed);
}

static void a_script_is_one_transaction_unless_it_says_otherwise(void **state)
{
  (void)state;
  struct pg_bed bed;
  struct asked asked;
  pg_bed_open(&bed, url(), false);
  script(&bed, "CREATE TEMP TABLE s (n int)", &asked);
  assert_int_equal(asked.status, CENOTE_OK);
  assert_null(cenote_result_next(asked.result));
  cenote_result_free(asked.result);
  script(&bed, "INSERT INTO s VALUES (1); SELECT 1/0; INSERT INTO s VALUES (2)", &asked);
  assert_int_equal(asked.status, CENOTE_DATABASE);
  assert_string_equal(asked.error.sqlstate, "22012");
  expect_number(&bed, false, 0, "SELECT count(*) FROM s", NULL, 0, 0);
  script(&bed, "BEGIN; INSERT INTO s VALUES (1); COMMIT; INSERT INTO s VALUES (2); SELECT 1/0",
         &asked);
  assert_int_equal(asked.status, CENOTE_DATABASE);
  expect_number(&bed, false, 0, "SELECT count(*) FROM s", NULL, 0, 1);
  script(&bed, "SELECT 1; COPY s TO STDOUT; SELECT 2", &asked);
  assert_int_equal(asked.status, CENOTE_UNSUPPORTED);
  script(&bed, "SELECT 1; SELEC 2", &asked);
  assert_string_equal(asked.error.sqlstate, "42601");
  assert_string_equal(cenote_error_field(&asked.error, 'P'), "11");
  expect_number(&bed, false, 0, "SELECT 7", NULL, 0, 7);
  pg_bed_close(&bed);
}

/* ---------------------------------------------------------------------------- BEGIN */

static void every_isolation_is_asked_for_by_its_name(void **state)
{
  (void)state;
  static const struct {
    cenote_isolation isolation;
    const char *shown;
  } levels[] = {{CENOTE_ISOLATION_DEFAULT, "read committed"},
                {CENOTE_READ_UNCOMMITTED, "read uncommitted"},
                {CENOTE_READ_COMMITTED, "read committed"},
                {CENOTE_REPEATABLE_READ, "repeatable read"},
                {CENOTE_SERIALIZABLE, "serializable"}};
  struct pg_bed bed;
  cenote_error error = CENOTE_ERROR_INIT;
  pg_bed_open(&bed, url(), false);
  for (size_t i = 0; i < sizeof(levels) / sizeof(*levels); i++) {
    const cenote_request begin = {.size = sizeof(begin),
                                  .kind = CENOTE_REQUEST_BEGIN,
                                  .isolation = levels[i].isolation,
                                  .deadline_ns = CEN_NEVER};
    assert_int_equal(rig_run(&bed.pg.rig, bed.other, &begin, &error), CENOTE_OK);
    assert_string_equal(pg_rig_text(&bed.pg, bed.other, "SHOW transaction_isolation"),
                        levels[i].shown);
    assert_int_equal(rig_kind(&bed.pg.rig, bed.other, CENOTE_REQUEST_ROLLBACK, &error), CENOTE_OK);
  }
  pg_bed_close(&bed);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_question_mark_is_an_operator),
      cmocka_unit_test(the_server_infers_what_arguments_are),
      cmocka_unit_test(form_and_number_are_the_servers_business),
      cmocka_unit_test(an_empty_text_succeeds_with_an_empty_command),
      cmocka_unit_test(what_cannot_be_kept_is_refused_unsent),
      cmocka_unit_test(a_native_statement_works_inside_a_transaction),
      cmocka_unit_test(what_the_server_says_of_columns_is_kept),
      cmocka_unit_test(every_field_of_an_error_survives),
      cmocka_unit_test(a_script_has_a_result_for_each_statement),
      cmocka_unit_test(a_script_is_one_transaction_unless_it_says_otherwise),
      cmocka_unit_test(every_isolation_is_asked_for_by_its_name),
  };
  return pg_rig_main(&server, NULL, tests, sizeof(tests) / sizeof(tests[0]));
}
