/* Native texts, descriptions, scripts and refused writes: what only SQLite's driver takes. */
#include "driver/place.h"

#include "base/limits.h"

#include <stdio.h>
#include <stdlib.h>

#include <sqlite3.h>

#if SQLITE_VERSION_NUMBER >= 3038000
#define HAS_OFFSETS
#endif

static cenote_value named(const char *name, int64_t value)
{
  cenote_value argument = cenote_integer(value);
  argument.name = name;
  return argument;
}

/* ------------------------------------------------------------------------------ arguments */

static const struct {
  const char *sql;
  size_t count;
  cenote_value args[4];
  const char *text; /* first row, joined by commas; NULL: refused with `code` */
  const char *code;
} bindings[] = {
#define ONE                                 \
  {                                         \
    .type = CENOTE_INTEGER, .as.integer = 1 \
  }
#define TWO                                 \
  {                                         \
    .type = CENOTE_INTEGER, .as.integer = 2 \
  }
#define THREE                               \
  {                                         \
    .type = CENOTE_INTEGER, .as.integer = 3 \
  }
#define NAMED(n, v)                                        \
  {                                                        \
    .type = CENOTE_INTEGER, .as.integer = (v), .name = (n) \
  }
    {"SELECT ?, ?", 2, {ONE, TWO}, "1,2", NULL},
    {"SELECT ?2, ?1", 2, {ONE, TWO}, "2,1", NULL},
    {"SELECT ?3, ?1", 3, {ONE, TWO, THREE}, "3,1", NULL},
    {"SELECT ?3, ?1", 2, {ONE, TWO}, NULL, "ARGS_INVALID"},
    {"SELECT ?3, ?", 4, {ONE, TWO, THREE, ONE}, "3,1", NULL},
    {"SELECT :a, @b, $c", 3, {ONE, TWO, THREE}, "1,2,3", NULL},
    {"SELECT :a, :a", 1, {ONE}, "1,1", NULL},
    {"SELECT $2, $1", 2, {ONE, TWO}, "1,2", NULL}, /* names: in the order they come */
    {"SELECT $2, $1", 2, {NAMED("1", 1), NAMED("$2", 2)}, "2,1", NULL},
    {"SELECT '?', '?"
     "?'",
     0,
     {ONE},
     "?,?"
     "?",
     NULL},
    {"SELECT 1", 1, {ONE}, NULL, "ARGS_INVALID"},
    {"SELECT ?", 0, {ONE}, NULL, "ARGS_INVALID"},
    {"SELECT :a, @b, $c", 3, {NAMED("b", 2), NAMED("c", 3), NAMED("a", 1)}, "1,2,3", NULL},
    {"SELECT :a, @b, $c", 3, {NAMED("@b", 2), NAMED("$c", 3), NAMED(":a", 1)}, "1,2,3", NULL},
    {"SELECT :x, @x", 2, {NAMED("x", 1), NAMED("@x", 2)}, "1,2", NULL},
    {"SELECT @x, $x", 1, {NAMED("x", 1)}, NULL, "ARGS_INVALID"}, /* @x alone */
    {"SELECT :x, @x", 2, {NAMED("x", 1), NAMED(":x", 1)}, NULL, "ARGS_INVALID"},
    {"SELECT @x", 1, {NAMED(":x", 1)}, NULL, "ARGS_INVALID"},
    {"SELECT :x", 2, {NAMED("x", 1), NAMED("y", 1)}, NULL, "ARGS_INVALID"},
    {"SELECT :x", 1, {NAMED("", 1)}, NULL, "ARGS_INVALID"},
    {"SELECT ?1, :x", 1, {NAMED("x", 1)}, NULL, "ARGS_INVALID"},
    {"SELECT :x, ?", 2, {NAMED("x", 1), TWO}, NULL, "ARGS_BOTH_POSITIONAL_AND_NAMED"},
};

static void native_texts_bind_as_sqlite_counts_and_names(void **state)
{
  struct place place;
  (void)state;
  place_open(&place, scratch_url());
  for (size_t i = 0; i < sizeof(bindings) / sizeof(*bindings); i++) {
    for (int again = 0; again < 2; again++) { /* prepared, and out of the cache */
      char text[64] = "";
      cenote_status status =
          place_native(&place, bindings[i].sql, bindings[i].args, bindings[i].count);
      if (!bindings[i].text) {
        place_expect(&place, bindings[i].sql, CENOTE_INVALID, bindings[i].code);
        continue;
      }
      if (status) {
        fail_msg("%s: %s", bindings[i].sql, place.error.message);
      }
      for (size_t c = 0; c < cenote_result_columns(place.result); c++) {
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s", c ? "," : "",
                 cenote_result_text(place.result, 0, c));
      }
      assert_string_equal(text, bindings[i].text);
    }
  }
  place_close(&place);
}

static void a_native_text_and_another_one_are_not_mixed_up(void **state)
{
  const cenote_value args[] = {cenote_integer(1), cenote_integer(2)};
  struct place place;
  (void)state;
  place_open(&place, scratch_url());
  for (int i = 0; i < 4; i++) {
    assert_int_equal(place_ask(&place, place.connection, CENOTE_REQUEST_EXECUTE,
                               i % 2 ? CENOTE_REQUEST_NATIVE : 0, "SELECT $2", args, i % 2 ? 1 : 2),
                     CENOTE_OK);
    assert_int_equal(cenote_result_integer(place.result, 0, 0), i % 2 ? 1 : 2);
  }
  place_close(&place);
}

static void names_and_arguments_have_ceilings(void **state)
{
  struct place place;
  char sql[600];
  char name[300];
  (void)state;
  place_open(&place, scratch_url());
  memset(name, 'n', sizeof(name));
  name[254] = '\0';
  snprintf(sql, sizeof(sql), "SELECT :%s", name);
  cenote_value argument = named(name, 5);
  assert_int_equal(place_native(&place, sql, &argument, 1), CENOTE_OK);
  name[254] = 'n';
  name[255] = '\0';
  snprintf(sql, sizeof(sql), "SELECT :%s", name);
  assert_int_equal(place_native(&place, sql, &argument, 1), CENOTE_INVALID);
  place_expect(&place, "a long name", CENOTE_INVALID, "ARGS_INVALID");

  char *many = malloc(64 + 2 * CEN_MAX_ARGS);
  cenote_value *args = calloc(CEN_MAX_ARGS + 1, sizeof(*args));
  assert_non_null(many);
  assert_non_null(args);
  snprintf(many, 64, "SELECT ?%d", CEN_MAX_ARGS);
  assert_int_equal(place_native(&place, many, args, CEN_MAX_ARGS), CENOTE_OK);
  assert_int_equal(place_native(&place, many, args, CEN_MAX_ARGS + 1), CENOTE_INVALID);
  snprintf(many, 64, "SELECT ?%d", CEN_MAX_ARGS + 1);
  assert_int_equal(place_native(&place, many, args, CEN_MAX_ARGS), CENOTE_DATABASE);
  free(args);
  free(many);
  place_close(&place);
}

/* --------------------------------------------------------------------------------- errors */

static const struct {
  const char *sql;
  cenote_status status;
  const char *code, *sqlstate, *position;
} wrongs[] = {
    {"", CENOTE_INVALID, "SQL_NO_STATEMENT", "", NULL},
    {" ; -- nothing\n /* at all */ ;", CENOTE_INVALID, "SQL_NO_STATEMENT", "", NULL},
    {"SELECT 1; SELECT 2", CENOTE_INVALID, "SQL_MANY_STATEMENTS", "", NULL},
    {"SELECT 1; nonsense", CENOTE_INVALID, "SQL_MANY_STATEMENTS", "", NULL},
    {"SELEC 1", CENOTE_DATABASE, "SQL_PARSE_ERROR", "42601", "1"},
    {"SELECT 'é' FRM t", CENOTE_DATABASE, "SQL_PARSE_ERROR", "42601", "16"},
    {"SELECT (", CENOTE_DATABASE, "SQL_PARSE_ERROR", "42601", NULL},
    {"SELECT $", CENOTE_DATABASE, "SQL_PARSE_ERROR", "42601", "8"},
    {"SELECT 'open", CENOTE_DATABASE, "SQL_PARSE_ERROR", "42601", "8"},
    {"SELECT a, missing FROM t", CENOTE_DATABASE, "SQL_INPUT_ERROR", "42703", "11"},
    {"SELECT 1 FROM nowhere", CENOTE_DATABASE, "SQLITE_ERROR", "42P01", NULL},
    {"INSERT INTO t VALUES (1)", CENOTE_DATABASE, "SQLITE_CONSTRAINT_PRIMARYKEY", "23505", NULL},
    {"INSERT INTO t VALUES ('x')", CENOTE_DATABASE, "SQLITE_MISMATCH", "42804", NULL},
    {"SELECT abs(-9223372036854775808)", CENOTE_DATABASE, "SQLITE_ERROR", "22003", NULL},
    {"COMMIT", CENOTE_DATABASE, "SQLITE_ERROR", "25P01", NULL},
};

static void errors_tell_what_was_wrong_apart(void **state)
{
  struct place place;
  (void)state;
  place_open(&place, scratch_url());
  place_must(&place, "CREATE TABLE t (a INTEGER PRIMARY KEY)");
  place_must(&place, "INSERT INTO t VALUES (1)");
  for (size_t i = 0; i < sizeof(wrongs) / sizeof(*wrongs); i++) {
    assert_int_not_equal(place_native(&place, wrongs[i].sql, NULL, 0), CENOTE_OK);
    place_expect(&place, wrongs[i].sql, wrongs[i].status, wrongs[i].code);
    assert_string_equal(place.error.sqlstate, wrongs[i].sqlstate);
#if defined(HAS_OFFSETS)
    const char *position = cenote_error_field(&place.error, 'P');
    assert_string_equal(position ? position : "", wrongs[i].position ? wrongs[i].position : "");
#endif
  }
  /* blanks, comments and semicolons around one statement are fine */
  place_must(&place, " ;; /* x */ SELECT 1 ; -- end\n ;");
  /* without the flag SQLite's own name is what it was */
  assert_int_equal(place_ask(&place, place.connection, CENOTE_REQUEST_EXECUTE, 0, "SELEC", NULL, 0),
                   CENOTE_DATABASE);
  place_expect(&place, "SELEC", CENOTE_DATABASE, "SQLITE_ERROR");
  place_close(&place);
}

static void a_text_has_a_ceiling(void **state)
{
  struct place place;
  char *text = malloc((size_t)CEN_MAX_SQL + 2);
  (void)state;
  assert_non_null(text);
  memset(text, ' ', (size_t)CEN_MAX_SQL + 1);
  memcpy(text, "SELECT 1", 8);
  text[CEN_MAX_SQL + 1] = '\0';
  place_open(&place, scratch_url());
  assert_int_equal(place_native(&place, text, NULL, 0), CENOTE_TOO_LARGE);
  place_expect(&place, "a long text", CENOTE_TOO_LARGE, "SQLITE_TOOBIG");
  text[CEN_MAX_SQL] = '\0';
  assert_int_equal(place_native(&place, text, NULL, 0), CENOTE_OK);
  place_close(&place);
  free(text);
}

/* --------------------------------------------------------------------------- descriptions */

static cenote_status describe(struct place *place, const char *sql, unsigned flags)
{
  return place_ask(place, place->connection, CENOTE_REQUEST_DESCRIBE, flags, sql, NULL, 0);
}

static void a_description_runs_nothing(void **state)
{
  struct place place;
  (void)state;
  place_open(&place, scratch_url());
  place_must(&place, "CREATE TABLE t (a INTEGER PRIMARY KEY, b VARCHAR(9))");
  assert_int_equal(describe(&place, "INSERT INTO t VALUES (:a, ?5) RETURNING b, a + 1 AS n, *;",
                            CENOTE_REQUEST_NATIVE),
                   CENOTE_OK);
  assert_int_equal(cenote_result_rows(place.result), 0);
  assert_int_equal(cenote_result_columns(place.result), 4);
  assert_string_equal(cenote_result_column_name(place.result, 1), "n");
  assert_string_equal(cenote_result_column_type(place.result, 0), "VARCHAR(9)");
  assert_null(cenote_result_column_type(place.result, 1));
  assert_int_equal(cenote_result_parameters(place.result), 5);
  assert_string_equal(cenote_result_parameter_name(place.result, 0), ":a");
  assert_null(cenote_result_parameter_name(place.result, 1));
  assert_string_equal(cenote_result_parameter_name(place.result, 4), "?5");
  assert_false(cenote_result_is_readonly(place.result));
  assert_false(cenote_result_is_explain(place.result));
  assert_int_equal(place_number(&place, "SELECT count(*) FROM t"), 0);

  assert_int_equal(describe(&place, "SELECT ?, $x, @y", CENOTE_REQUEST_NATIVE), CENOTE_OK);
  assert_int_equal(cenote_result_parameters(place.result), 3);
  assert_null(cenote_result_parameter_name(place.result, 0));
  assert_string_equal(cenote_result_parameter_name(place.result, 1), "$x");
  assert_true(cenote_result_is_readonly(place.result));
  assert_int_equal(describe(&place, "EXPLAIN QUERY PLAN SELECT 1", 0), CENOTE_OK);
  assert_true(cenote_result_is_explain(place.result));
  assert_int_equal(describe(&place, "BEGIN", 0), CENOTE_OK);
  assert_int_equal(place_session(&place), 0);
  assert_int_equal(cenote_result_columns(place.result), 0);
  place_close(&place);
}

static void a_description_of_what_is_wrong_fails_as_the_statement_would(void **state)
{
  struct place place;
  (void)state;
  place_open(&place, scratch_url());
  assert_int_not_equal(describe(&place, "", CENOTE_REQUEST_NATIVE), CENOTE_OK);
  place_expect(&place, "", CENOTE_INVALID, "SQL_NO_STATEMENT");
  assert_int_not_equal(describe(&place, "SELECT 1; SELECT 2", CENOTE_REQUEST_NATIVE), CENOTE_OK);
  place_expect(&place, "two", CENOTE_INVALID, "SQL_MANY_STATEMENTS");
  assert_int_not_equal(describe(&place, "SELECT * FROM nowhere", CENOTE_REQUEST_NATIVE), CENOTE_OK);
  place_expect(&place, "nowhere", CENOTE_DATABASE, "SQLITE_ERROR");
  assert_int_equal(describe(&place, NULL, 0), CENOTE_INVALID);
  place_close(&place);
}

static void a_description_sees_what_another_connection_changed(void **state)
{
  struct place place;
  (void)state;
  place_open(&place, scratch_url());
  place_must(&place, "CREATE TABLE t (a)");
  cenote_connection *other = rig_connect(&place.rig, NULL);
  assert_non_null(other);
  place_must(&place, "SELECT * FROM t"); /* kept, with one column */
  assert_int_equal(rig_do(&place.rig, other, "ALTER TABLE t ADD COLUMN b"), CENOTE_OK);
  assert_int_equal(describe(&place, "SELECT * FROM t", CENOTE_REQUEST_NATIVE), CENOTE_OK);
  assert_int_equal(cenote_result_columns(place.result), 2);
  /* and takes no snapshot inside a transaction */
  place_must(&place, "BEGIN");
  assert_int_equal(describe(&place, "SELECT * FROM t", CENOTE_REQUEST_NATIVE), CENOTE_OK);
  assert_int_equal(rig_do(&place.rig, other, "INSERT INTO t VALUES (1, 2)"), CENOTE_OK);
  assert_int_equal(place_number(&place, "SELECT count(*) FROM t"), 1);
  place_must(&place, "COMMIT");
  rig_disconnect(&place.rig, other);
  place_close(&place);
}

/* -------------------------------------------------------------------------------- scripts */

static void a_script_runs_statement_by_statement(void **state)
{
  struct place place;
  (void)state;
  place_open(&place, scratch_url());
  assert_int_equal(
      place_script(&place,
                   "CREATE TABLE t (a); CREATE TABLE log (a);\n"
                   "CREATE TRIGGER tr AFTER INSERT ON t BEGIN\n"
                   "  INSERT INTO log VALUES (CASE new.a WHEN 1 THEN 'one; ' ELSE 'more' END);\n"
                   "  INSERT INTO log VALUES (';'); -- END;\n"
                   "END;\n"
                   "/* ; */ INSERT INTO t VALUES (1), (2) RETURNING a;;\n"
                   "SELECT * FROM t; -- the end"),
      CENOTE_OK);
  assert_int_equal(cenote_result_rows(place.result), 0);
  assert_int_equal(cenote_result_affected_rows(place.result), 2);
  assert_int_equal(place_number(&place, "SELECT count(*) FROM log"), 4);
  assert_int_equal(place_session(&place), 0);
  place_close(&place);
}

static void a_script_may_be_empty_and_takes_no_arguments(void **state)
{
  const cenote_value argument = cenote_integer(1);
  struct place place;
  (void)state;
  place_open(&place, scratch_url());
  assert_int_equal(place_script(&place, ""), CENOTE_OK);
  assert_int_equal(place_script(&place, " ;; -- nothing\n"), CENOTE_OK);
  assert_int_equal(place_ask(&place, place.connection, CENOTE_REQUEST_EXECUTE,
                             CENOTE_REQUEST_SCRIPT, "SELECT ?", &argument, 1),
                   CENOTE_INVALID);
  place_expect(&place, "arguments", CENOTE_INVALID, "ARGS_INVALID");
  assert_int_equal(place_script(&place, "SELECT 1; SELECT ?"), CENOTE_INVALID);
  place_expect(&place, "a parameter", CENOTE_INVALID, "ARGS_INVALID");
  place_close(&place);
}

static void a_script_stops_at_the_first_failure_and_keeps_what_was_before(void **state)
{
  struct place place;
  (void)state;
  place_open(&place, scratch_url());
  place_must(&place, "CREATE TABLE t (a UNIQUE)");
  assert_int_equal(place_script(&place, "INSERT INTO t VALUES (1); INSERT INTO t VALUES (1);"
                                        "INSERT INTO t VALUES (2)"),
                   CENOTE_DATABASE);
  place_expect(&place, "unique", CENOTE_DATABASE, "SQLITE_CONSTRAINT_UNIQUE");
  assert_int_equal(place_number(&place, "SELECT count(*) FROM t"), 1);
  assert_int_equal(place_script(&place, "INSERT INTO t VALUES (3); SELEC 1; nonsense"),
                   CENOTE_DATABASE);
  place_expect(&place, "syntax", CENOTE_DATABASE, "SQL_PARSE_ERROR");
#if defined(HAS_OFFSETS)
  assert_string_equal(cenote_error_field(&place.error, 'P'), "27");
#endif
  assert_int_equal(place_number(&place, "SELECT count(*) FROM t"), 2);
  place_close(&place);
}

static void a_script_may_leave_a_transaction_open(void **state)
{
  struct place place;
  (void)state;
  place_open(&place, scratch_url());
  place_must(&place, "CREATE TABLE t (a NOT NULL)");
  assert_int_equal(place_script(&place, "BEGIN; INSERT INTO t VALUES (1); SELECT 1"), CENOTE_OK);
  assert_int_equal(place_session(&place), CENOTE_SESSION_IN_TRANSACTION | CENOTE_SESSION_WRITING);
  assert_int_equal(place_script(&place, "ROLLBACK; BEGIN"), CENOTE_OK);
  assert_int_equal(place_session(&place), CENOTE_SESSION_IN_TRANSACTION);
  /* SQLite rolls back by itself: what follows is refused until a ROLLBACK, here in a script */
  assert_int_equal(place_script(&place, "INSERT OR ROLLBACK INTO t VALUES (NULL); SELECT 1"),
                   CENOTE_DATABASE);
  assert_int_equal(place_script(&place, "INSERT INTO t VALUES (2); ROLLBACK"), CENOTE_DATABASE);
  assert_string_equal(place.error.sqlstate, "25P02");
  assert_int_equal(place_script(&place, " ROLLBACK; INSERT INTO t VALUES (3)"), CENOTE_OK);
  assert_int_equal(place_session(&place), 0);
  assert_int_equal(place_number(&place, "SELECT sum(a) FROM t"), 3);
  assert_int_equal(place_script(&place, "CREATE TEMP TABLE x (a)"), CENOTE_OK);
  assert_int_equal(place_session(&place), CENOTE_SESSION_DIRTY);
  place_close(&place);
}

static void cancel_it(sqlite3_context *context, int count, sqlite3_value **values)
{
  (void)count;
  (void)values;
  cen_driver_sqlite.cancel(sqlite3_user_data(context));
}

static void a_script_is_cancelled_between_statements_and_keeps_to_its_deadline(void **state)
{
  struct place place;
  char sql[256];
  (void)state;
  place_open(&place, scratch_url());
  place_must(&place, "CREATE TABLE t (a)");
  assert_int_equal(sqlite3_create_function(cen_driver_sqlite.resource(place.connection),
                                           "cancel_it", 0, SQLITE_UTF8, place.connection, cancel_it,
                                           NULL, NULL),
                   SQLITE_OK);
  assert_int_equal(place_script(&place, "INSERT INTO t VALUES (1); SELECT cancel_it();"
                                        "INSERT INTO t VALUES (2)"),
                   CENOTE_CANCELLED);
  place_expect(&place, "cancel", CENOTE_CANCELLED, "SQLITE_INTERRUPT");
  assert_int_equal(place_number(&place, "SELECT count(*) FROM t"), 1);

  cenote_request request = {
      .size = sizeof(request),
      .kind = CENOTE_REQUEST_EXECUTE,
      .flags = CENOTE_REQUEST_SCRIPT,
      .sql = sql,
  };
  snprintf(sql, sizeof(sql),
           "INSERT INTO t VALUES (3); WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM "
           "c) SELECT max(x) FROM c; INSERT INTO t VALUES (4)");
  int64_t ms = 150;
  do { /* a machine that stands still may let it pass in the first statement */
    request.deadline_ns = cen_deadline_ns(cen_now_ns(), ms);
    assert_int_equal(rig_run(&place.rig, place.connection, &request, &place.error),
                     CENOTE_STATEMENT_TIMEOUT);
    ms *= 2;
  } while (place_number(&place, "SELECT count(*) FROM t") == 1 && ms < 20000);
  assert_int_equal(place_number(&place, "SELECT count(*) FROM t"), 2);
  place_close(&place);
}

/* --------------------------------------------------------------------------- refused writes */

static const struct {
  const char *sql;
  bool writes;
} statements[] = {
    {"SELECT * FROM t", false},
    {"INSERT INTO t VALUES (1)", true},
    {"WITH c(x) AS (VALUES (1)) INSERT INTO t SELECT x FROM c RETURNING a", true},
    {"CREATE TABLE u (a)", true},
    {"DELETE FROM t", true},
    {"EXPLAIN DELETE FROM t", false},
    {"BEGIN IMMEDIATE", true},
    {"BEGIN EXCLUSIVE", true},
    {"BEGIN", false},
    {"SAVEPOINT a", false},
    {"INSERT INTO t VALUES (2)", true},
    {"RELEASE a", false},
    {"COMMIT", false},
    {"BEGIN TRANSACTION READONLY", false},
    {"ROLLBACK", false},
    {"VACUUM", true},
    {"PRAGMA user_version = 4", true},
    {"PRAGMA user_version", false},
    {"PRAGMA journal_mode = delete", true},
    {"PRAGMA wal_checkpoint", true},
    {"PRAGMA incremental_vacuum", true},
    {"ANALYZE", true},
    {"REINDEX", true},
    {"PRAGMA optimize", true}, /* it may run ANALYZE */
    {"/* */ pragma main.\"Optimize\" (3)", true},
};

static void writes_are_refused_before_they_run(void **state)
{
  static const unsigned flags[] = {CENOTE_REQUEST_REFUSE | CENOTE_REQUEST_NATIVE,
                                   CENOTE_REQUEST_REFUSE | CENOTE_REQUEST_SCRIPT,
                                   CENOTE_REQUEST_READ};
  struct place place;
  (void)state;
  place_open(&place, scratch_url());
  place_must(&place, "CREATE TABLE t (a UNIQUE)");
  for (size_t f = 0; f < sizeof(flags) / sizeof(*flags); f++) {
    for (size_t i = 0; i < sizeof(statements) / sizeof(*statements); i++) {
      cenote_status status = place_ask(&place, place.connection, CENOTE_REQUEST_EXECUTE, flags[f],
                                       statements[i].sql, NULL, 0);
      if (statements[i].writes) {
        place_expect(&place, statements[i].sql, CENOTE_DATABASE, "SQLITE_READONLY");
        assert_string_equal(place.error.sqlstate, "25006");
      } else if (status) {
        fail_msg("%s: %s", statements[i].sql, place.error.message);
      }
      assert_int_equal(place_session(&place) & CENOTE_SESSION_WRITING, 0);
    }
    assert_int_equal(place_session(&place), 0);
  }
  assert_int_equal(place_number(&place, "SELECT count(*) FROM t"), 0);
  place_close(&place);
}

/* ------------------------------------------------------------------------ raw transactions */

static const struct {
  const char *sql;
  unsigned session;
} raw[] = {
    {"BEGIN IMMEDIATE", CENOTE_SESSION_IN_TRANSACTION | CENOTE_SESSION_WRITING},
    {"COMMIT", 0},
    {"BEGIN DEFERRED", CENOTE_SESSION_IN_TRANSACTION},
    {"SELECT * FROM t", CENOTE_SESSION_IN_TRANSACTION},
    {"INSERT INTO t VALUES (1)", CENOTE_SESSION_IN_TRANSACTION | CENOTE_SESSION_WRITING},
    {"END TRANSACTION", 0},
    {"BEGIN TRANSACTION READONLY", CENOTE_SESSION_IN_TRANSACTION}, /* a name to SQLite */
    {"INSERT INTO t VALUES (2)", CENOTE_SESSION_IN_TRANSACTION | CENOTE_SESSION_WRITING},
    {"ROLLBACK", 0},
    {"SAVEPOINT a", CENOTE_SESSION_IN_TRANSACTION},
    {"INSERT INTO t VALUES (3)", CENOTE_SESSION_IN_TRANSACTION | CENOTE_SESSION_WRITING},
    {"ROLLBACK TO a", CENOTE_SESSION_IN_TRANSACTION | CENOTE_SESSION_WRITING},
    {"RELEASE a", 0},
};

static void raw_transactions_show_in_the_session(void **state)
{
  struct place place;
  (void)state;
  place_open(&place, scratch_url());
  place_must(&place, "CREATE TABLE t (a)");
  for (size_t i = 0; i < sizeof(raw) / sizeof(*raw); i++) {
    place_must(&place, raw[i].sql);
    if (place_session(&place) != raw[i].session) {
      fail_msg("%s: %u", raw[i].sql, place_session(&place));
    }
  }
  assert_int_equal(place_number(&place, "SELECT count(*) FROM t"), 1);
  place_close(&place);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(native_texts_bind_as_sqlite_counts_and_names),
      cmocka_unit_test(a_native_text_and_another_one_are_not_mixed_up),
      cmocka_unit_test(names_and_arguments_have_ceilings),
      cmocka_unit_test(errors_tell_what_was_wrong_apart),
      cmocka_unit_test(a_text_has_a_ceiling),
      cmocka_unit_test(a_description_runs_nothing),
      cmocka_unit_test(a_description_of_what_is_wrong_fails_as_the_statement_would),
      cmocka_unit_test(a_description_sees_what_another_connection_changed),
      cmocka_unit_test(a_script_runs_statement_by_statement),
      cmocka_unit_test(a_script_may_be_empty_and_takes_no_arguments),
      cmocka_unit_test(a_script_stops_at_the_first_failure_and_keeps_what_was_before),
      cmocka_unit_test(a_script_may_leave_a_transaction_open),
      cmocka_unit_test(a_script_is_cancelled_between_statements_and_keeps_to_its_deadline),
      cmocka_unit_test(writes_are_refused_before_they_run),
      cmocka_unit_test(raw_transactions_show_in_the_session),
  };
  return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
