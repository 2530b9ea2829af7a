/* The PostgreSQL driver on a healthy server: values, prepared statements, sessions, streaming. */
#include "base/sanitized.h"
#include "driver/postgres/postgres.h"
#include "integration/postgres_rig.h"
#include "support/pg_fixture.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

enum { PEAK_KIB = CEN_SANITIZED ? 1000000 : 20000 };

static struct pg_fixture server;

struct state {
  struct pg_rig pg;
  cenote_connection *c;
};

static int connect_one(void **state)
{
  struct state *s = calloc(1, sizeof(*s));
  assert_non_null(s);
  s->c = pg_rig_connect(&s->pg, pg_fixture_get(&server, "POSTGRES_URL"));
  *state = s;
  return 0;
}

static int disconnect_one(void **state)
{
  struct state *s = *state;
  pg_rig_end(&s->pg, s->c);
  free(s);
  return 0;
}

static cenote_status run(struct state *s, const char *sql, const cenote_value *args, size_t count,
                         cenote_result **result, cenote_error *error)
{
  return rig_execute(&s->pg.rig, s->c, sql, args, count, 20000, result, error);
}

/* Succeeds, without looking at the result. */
static void do_ok(struct state *s, const char *sql)
{
  cenote_result *result;
  cenote_error error = CENOTE_ERROR_INIT;
  if (run(s, sql, NULL, 0, &result, &error) != CENOTE_OK) {
    fail_msg("%s: %s", sql, error.message);
  }
  cenote_result_free(result);
}

static int64_t integer(struct state *s, const char *sql)
{
  return rig_integer(&s->pg.rig, s->c, sql);
}

static void reset(struct state *s)
{
  assert_int_equal(rig_kind(&s->pg.rig, s->c, CENOTE_REQUEST_RESET, NULL), CENOTE_OK);
  assert_int_equal(pg_rig_session(&s->pg, s->c), 0);
}

/* ------------------------------------------------------------------------------- values */

static void values_come_out_with_their_types(void **state)
{
  struct state *s = *state;
  cenote_result *r;
  assert_int_equal(
      run(s,
          "SELECT 1::int2, (-2)::int4, 9223372036854775807::int8, 1.5::float4, 'Infinity'::float8,"
          " true, '\\x00ff41'::bytea, 12.50::numeric, 'héllo'::text, NULL::int, 26::oid,"
          " '2024-02-29'::date, '\\x'::bytea, ''::text",
          NULL, 0, &r, NULL),
      CENOTE_OK);
  static const cenote_type types[] = {CENOTE_INTEGER, CENOTE_INTEGER, CENOTE_INTEGER, CENOTE_REAL,
                                      CENOTE_REAL,    CENOTE_BOOLEAN, CENOTE_BLOB,    CENOTE_TEXT,
                                      CENOTE_TEXT,    CENOTE_NULL,    CENOTE_INTEGER, CENOTE_TEXT,
                                      CENOTE_BLOB,    CENOTE_TEXT};
  for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
    assert_int_equal(cenote_result_value(r, 0, i).type, types[i]);
  }
  assert_int_equal(cenote_result_integer(r, 0, 1), -2);
  assert_true(cenote_result_integer(r, 0, 2) == INT64_MAX);
  assert_true(cenote_result_real(r, 0, 3) == 1.5);
  assert_true(isinf(cenote_result_real(r, 0, 4)));
  cenote_value blob = cenote_result_value(r, 0, 6);
  assert_int_equal(blob.size, 3);
  assert_memory_equal(blob.as.blob, "\x00\xff\x41", 3);
  assert_string_equal(cenote_result_text(r, 0, 7), "12.50");
  assert_string_equal(cenote_result_text(r, 0, 8), "héllo");
  assert_string_equal(cenote_result_column_type(r, 0), "smallint");
  assert_int_equal(cenote_result_column_oid(r, 7), 1700);
  assert_string_equal(cenote_result_column_type(r, 11), "date");
  cenote_result_free(r);
}

static void blobs_in_the_old_notation_are_read_too(void **state)
{
  struct state *s = *state;
  cenote_result *r;
  do_ok(s, "SET bytea_output = escape");
  assert_int_equal(run(s, "SELECT '\\x00ff41'::bytea, '\\x5c'::bytea", NULL, 0, &r, NULL),
                   CENOTE_OK);
  assert_int_equal(cenote_result_value(r, 0, 0).size, 3);
  assert_memory_equal(cenote_result_value(r, 0, 0).as.blob, "\x00\xff\x41", 3);
  assert_memory_equal(cenote_result_value(r, 0, 1).as.blob, "\\", 1);
  cenote_result_free(r);
}

static void arguments_arrive_as_they_were(void **state)
{
  struct state *s = *state;
  do_ok(s, "CREATE TABLE args (i bigint, r float8, t text, b bytea, f boolean, n int, d date)");
  for (int round = 0; round < 4; round++) { /* unprepared, being prepared, prepared */
    cenote_result *r;
    cenote_error error = CENOTE_ERROR_INIT;
    const cenote_value args[] = {cenote_integer(INT64_MIN),    cenote_real(0.1),
                                 cenote_text_n("text|cut", 4), cenote_blob("\0\1\2", 3),
                                 cenote_boolean(true),         cenote_null(),
                                 cenote_text("2024-02-29")};
    cenote_status status =
        run(s, "INSERT INTO args VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING *", args, 7, &r, &error);
    if (status != CENOTE_OK) {
      fail_msg("%s", error.message);
    }
    assert_true(cenote_result_integer(r, 0, 0) == INT64_MIN);
    assert_true(cenote_result_real(r, 0, 1) == 0.1);
    assert_string_equal(cenote_result_text(r, 0, 2), "text");
    assert_memory_equal(cenote_result_value(r, 0, 3).as.blob, "\0\1\2", 3);
    assert_true(cenote_result_value(r, 0, 4).as.boolean);
    assert_int_equal(cenote_result_value(r, 0, 5).type, CENOTE_NULL);
    assert_string_equal(cenote_result_text(r, 0, 6), "2024-02-29");
    assert_int_equal(cenote_result_affected_rows(r), 1);
    cenote_result_free(r);
  }
}

static void a_blob_may_stand_where_text_stood_before(void **state)
{
  struct state *s = *state;
  do_ok(s, "CREATE TEMP TABLE blobs (b bytea)");
  for (int round = 0; round < 6; round++) {
    cenote_result *r;
    cenote_value arg = round % 2 ? cenote_blob("\xff\x00", 2) : cenote_null();
    assert_int_equal(run(s, "INSERT INTO blobs VALUES ($1) RETURNING b", &arg, 1, &r, NULL),
                     CENOTE_OK);
    assert_int_equal(cenote_result_value(r, 0, 0).size, round % 2 ? 2 : 0);
    cenote_result_free(r);
  }
}

static void raw_text_leaves_values_alone(void **state)
{
  struct state *s = *state;
  struct cenote_sink sink;
  assert_int_equal(cen_sink_init_result(&sink, 0, 0, NULL), CENOTE_OK);
  cenote_request request = {.size = sizeof(request),
                            .kind = CENOTE_REQUEST_EXECUTE,
                            .flags = CENOTE_REQUEST_RAW_TEXT,
                            .sql = "SELECT true, 7, '\\x41'::bytea, NULL",
                            .sink = &sink,
                            .deadline_ns = INT64_MAX};
  assert_int_equal(rig_run(&s->pg.rig, s->c, &request, NULL), CENOTE_OK);
  cenote_result *r = cen_sink_take(&sink);
  assert_string_equal(cenote_result_text(r, 0, 0), "t");
  assert_int_equal(cenote_result_value(r, 0, 1).type, CENOTE_TEXT);
  assert_string_equal(cenote_result_text(r, 0, 2), "\\x41");
  assert_int_equal(cenote_result_value(r, 0, 3).type, CENOTE_NULL);
  cenote_result_free(r);
  cen_sink_deinit(&sink);
}

/* --------------------------------------------------------------------------- mistakes */

static void mistakes_are_named_and_harmless(void **state)
{
  struct state *s = *state;
  static const struct {
    const char *sql;
    size_t count;
    cenote_status status;
    const char *message;
  } cases[] = {
      {"", 0, CENOTE_INVALID, "empty"},
      {" ; -- nothing", 0, CENOTE_INVALID, "empty"},
      {"SELECT 1; SELECT 2", 0, CENOTE_INVALID, "2 statements"},
      {"SELECT $1, $2", 1, CENOTE_INVALID, "2 arguments, 1 given"},
      {"SELECT 1", 1, CENOTE_INVALID, "0 arguments, 1 given"},
      {"SELEKT 1", 0, CENOTE_DATABASE, "syntax error"},
      {"SELECT 1/0", 0, CENOTE_DATABASE, "division by zero"},
      {"COPY (SELECT generate_series(1, 100000)) TO STDOUT", 0, CENOTE_UNSUPPORTED, "COPY"},
  };
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    cenote_error error = CENOTE_ERROR_INIT;
    cenote_value arg = cenote_integer(1);
    cenote_result *r;
    assert_int_equal(run(s, cases[i].sql, &arg, cases[i].count, &r, &error), cases[i].status);
    assert_non_null(strstr(error.message, cases[i].message));
    assert_null(r);
    assert_int_equal(integer(s, "SELECT 42"), 42);
  }
  do_ok(s, "CREATE TEMP TABLE copied (x int)");
  assert_int_equal(rig_do(&s->pg.rig, s->c, "COPY copied FROM STDIN"), CENOTE_UNSUPPORTED);
  assert_int_equal(integer(s, "SELECT count(*) FROM copied"), 0);
}

static void bad_arguments_are_refused_before_they_are_sent(void **state)
{
  struct state *s = *state;
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_result *r;
  cenote_value named = cenote_integer(1);
  named.name = "x";
  assert_int_equal(run(s, "SELECT $1", &named, 1, &r, &error), CENOTE_INVALID);
  assert_non_null(strstr(error.message, "named"));
  cenote_value nul = cenote_text_n("a\0b", 3);
  assert_int_equal(run(s, "SELECT $1", &nul, 1, &r, &error), CENOTE_INVALID);
  assert_non_null(strstr(error.message, "NUL"));
}

static void the_servers_error_fields_come_through(void **state)
{
  struct state *s = *state;
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_result *r;
  do_ok(s, "CREATE TABLE fields (id int CONSTRAINT fields_key PRIMARY KEY)");
  do_ok(s, "INSERT INTO fields VALUES (1)");
  assert_int_equal(run(s, "INSERT INTO fields VALUES (1)", NULL, 0, &r, &error), CENOTE_DATABASE);
  assert_string_equal(error.sqlstate, "23505");
  assert_string_equal(cenote_error_field(&error, 'n'), "fields_key");
  assert_string_equal(cenote_error_field(&error, 't'), "fields");
  assert_string_equal(cenote_error_field(&error, 'S'), "ERROR");
  assert_false(error.retryable);
}

static void a_context_that_hides_the_argument_is_passed_on(void **state)
{
  struct state *s = *state;
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_result *r;
  const cenote_value args[] = {cenote_text("x")};
  assert_int_equal(run(s, "SELECT $1::int", args, 1, &r, &error), CENOTE_DATABASE);
  assert_string_equal(cenote_error_field(&error, 'W'), "unnamed portal parameter $1 = '...'");
}

static void arguments_never_reach_an_error(void **state)
{
  struct state *s = *state;
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_result *r;
  struct pg_rig admin = {0};
  cenote_connection *c = pg_rig_connect(&admin, pg_fixture_get(&server, "POSTGRES_ADMIN_URL"));
  assert_int_equal(
      rig_do(&admin.rig, c, "ALTER DATABASE cenote SET log_parameter_max_length_on_error = -1"),
      CENOTE_OK);
  struct pg_rig fresh = {0};
  cenote_connection *f = pg_rig_connect(&fresh, pg_fixture_get(&server, "POSTGRES_URL"));
  const cenote_value args[] = {cenote_text("hunter2secret"), cenote_integer(0)};
  assert_int_equal(
      rig_execute(&fresh.rig, f, "SELECT length($1::text) / $2::int", args, 2, 9000, &r, &error),
      CENOTE_DATABASE);
  assert_null(strstr(error.message, "hunter2"));
  assert_null(strstr(error.details, "hunter2"));
  const char *context = cenote_error_field(&error, 'W');
  assert_true(!context || !strstr(context, "hunter2"));
  pg_rig_end(&fresh, f);
  assert_int_equal(
      rig_do(&admin.rig, c, "ALTER DATABASE cenote RESET log_parameter_max_length_on_error"),
      CENOTE_OK);
  pg_rig_end(&admin, c);
  assert_int_equal(integer(s, "SELECT 1"), 1);
}

/* --------------------------------------------------------------------------- prepared */

static const char prepared_count[] = "SELECT count(*) /* x */ FROM pg_prepared_statements";

static void statements_are_prepared_once_after_the_second_use(void **state)
{
  struct state *s = *state;
  assert_int_equal(integer(s, "SELECT 42"), 42);
  assert_int_equal(integer(s, prepared_count), 0);
  for (int i = 0; i < 5; i++) {
    assert_int_equal(integer(s, "SELECT 42"), 42);
  }
  /* that one, and since its second use the count itself */
  assert_int_equal(integer(s, prepared_count), 2);
  assert_int_equal(integer(s, "SELECT count(*) FROM pg_prepared_statements WHERE from_sql"), 0);
  assert_int_equal(integer(s, "SELECT generic_plans + custom_plans FROM pg_prepared_statements "
                              "WHERE statement = 'SELECT 42'"),
                   5);
}

static void statements_that_fall_out_of_the_cache_are_deallocated(void **state)
{
  struct state *s = *state;
  char sql[64];
  for (int i = 0; i < CEN_STATEMENT_CACHE + 40; i++) {
    snprintf(sql, sizeof(sql), "SELECT %d + 0", i);
    for (int use = 0; use < 2; use++) {
      assert_int_equal(integer(s, sql), i);
    }
  }
  assert_in_range(integer(s, prepared_count), CEN_STATEMENT_CACHE - 2, CEN_STATEMENT_CACHE + 1);
  s->pg.rig.driver->shrink(s->c);
  assert_int_equal(rig_kind(&s->pg.rig, s->c, CENOTE_REQUEST_CHECK, NULL), CENOTE_OK);
  assert_int_equal(integer(s, prepared_count), 0);
}

static void a_plan_whose_columns_changed_is_prepared_anew(void **state)
{
  struct state *s = *state;
  do_ok(s, "CREATE TABLE altered (a int)");
  do_ok(s, "INSERT INTO altered VALUES (1)");
  for (int round = 0; round < 4; round++) {
    for (int i = 0; i < 4; i++) {
      cenote_result *r;
      assert_int_equal(run(s, "SELECT * FROM altered", NULL, 0, &r, NULL), CENOTE_OK);
      assert_int_equal(cenote_result_columns(r), (size_t)round + 1);
      assert_int_equal(cenote_result_rows(r), 1);
      cenote_result_free(r);
    }
    char sql[64];
    snprintf(sql, sizeof(sql), "ALTER TABLE altered ADD COLUMN b%d int", round);
    do_ok(s, sql);
  }
}

static void a_stale_plan_inside_a_transaction_is_an_error_once(void **state)
{
  struct state *s = *state;
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_result *r;
  do_ok(s, "CREATE TABLE altered_in_tx (a int)");
  for (int i = 0; i < 3; i++) {
    do_ok(s, "SELECT * FROM altered_in_tx");
  }
  do_ok(s, "ALTER TABLE altered_in_tx ADD COLUMN b int");
  assert_int_equal(rig_begin(&s->pg.rig, s->c, CENOTE_BATCH_DEFERRED, NULL), CENOTE_OK);
  assert_int_equal(run(s, "SELECT * FROM altered_in_tx", NULL, 0, &r, &error), CENOTE_DATABASE);
  assert_string_equal(error.sqlstate, "0A000");
  assert_int_equal(rig_kind(&s->pg.rig, s->c, CENOTE_REQUEST_ROLLBACK, NULL), CENOTE_OK);
  assert_int_equal(rig_begin(&s->pg.rig, s->c, CENOTE_BATCH_DEFERRED, NULL), CENOTE_OK);
  do_ok(s, "SELECT * FROM altered_in_tx");
  assert_int_equal(rig_kind(&s->pg.rig, s->c, CENOTE_REQUEST_COMMIT, NULL), CENOTE_OK);
}

static void statements_deallocated_behind_our_back_are_prepared_anew(void **state)
{
  struct state *s = *state;
  do_ok(s, "CREATE FUNCTION forget() RETURNS void LANGUAGE plpgsql AS "
           "$$ BEGIN EXECUTE 'DEALLOCATE ALL'; END $$");
  for (int round = 0; round < 3; round++) {
    for (int i = 0; i < 4; i++) {
      assert_int_equal(integer(s, "SELECT 43"), 43);
    }
    do_ok(s, round == 0 ? "DEALLOCATE ALL" : round == 1 ? "DISCARD ALL" : "SELECT forget()");
  }
  assert_int_equal(integer(s, "SELECT 43"), 43);
}

/* Too often for a session that is ours alone: it is replaced, and what was set in it goes with it.
 * The next one knows that it is ours, so nothing is held against it. */
static void a_session_whose_statements_vanish_is_replaced_and_never_handed_on(void **state)
{
  struct state *s = *state;
  do_ok(s, "CREATE OR REPLACE FUNCTION lose_all() RETURNS void LANGUAGE plpgsql AS "
           "$$ BEGIN EXECUTE 'DEALLOCATE ALL'; END $$");
  for (int session = 0; session < 2; session++) {
    for (int round = 0; round < 5; round++) {
      for (int i = 0; i < 3; i++) {
        assert_int_equal(integer(s, "SELECT 44"), 44);
      }
      do_ok(s, "SELECT lose_all()");
      assert_int_equal(integer(s, "SELECT 44"), 44);
      assert_int_equal(pg_rig_session(&s->pg, s->c) & CENOTE_SESSION_BROKEN, 0); /* its holder's */
    }
    do_ok(s, "SET work_mem = '77MB'");
    assert_int_equal(rig_kind(&s->pg.rig, s->c, CENOTE_REQUEST_RESET, NULL), CENOTE_OK);
    if (session == 0) {
      assert_int_equal(pg_rig_session(&s->pg, s->c), CENOTE_SESSION_BROKEN);
      rig_disconnect(&s->pg.rig, s->c);
      s->c = rig_connect(&s->pg.rig, NULL);
      assert_non_null(s->c);
    }
  }
  assert_int_equal(pg_rig_session(&s->pg, s->c), 0);
  assert_string_not_equal(pg_rig_text(&s->pg, s->c, "SHOW work_mem"), "77MB");
  for (int i = 0; i < 3; i++) {
    assert_int_equal(integer(s, "SELECT 44"), 44);
  }
  assert_true(integer(s, "SELECT count(*) FROM pg_prepared_statements WHERE NOT from_sql") > 0);
  assert_false(pg_rig_logged(&s->pg, "pooler"));
}

/* ---------------------------------------------------------------------------- sessions */

static void a_plain_statement_leaves_the_session_clean(void **state)
{
  struct state *s = *state;
  do_ok(s, "CREATE TABLE plain (a int)");
  do_ok(s, "INSERT INTO plain VALUES (1)");
  do_ok(s, "SELECT count(*), max(a) FROM plain");
  assert_int_equal(pg_rig_session(&s->pg, s->c), 0);
}

static void a_dirty_session_is_as_new_after_a_reset(void **state)
{
  struct state *s = *state;
  char lock[80];
  do_ok(s, "CREATE FUNCTION hidden() RETURNS void LANGUAGE plpgsql AS "
           "$$ BEGIN PERFORM set_config('cenote.hidden', 'here', false);"
           "   PERFORM pg_advisory_lock(77); EXECUTE 'PREPARE theirs AS SELECT 1';"
           "   EXECUTE 'CREATE TEMP TABLE mine (a int)'; END $$");
  for (int i = 0; i < 3; i++) {
    assert_int_equal(integer(s, "SELECT 42"), 42);
  }
  static const char *const dirt[] = {"SET search_path = pg_catalog",
                                     "SET TIME ZONE 'Asia/Tokyo'",
                                     "SELECT hidden()",
                                     "LISTEN channel",
                                     "SET ROLE app",
                                     "DECLARE held CURSOR WITH HOLD FOR SELECT 1"};
  do_ok(s, "SET search_path = public");
  for (size_t i = 0; i < sizeof(dirt) / sizeof(dirt[0]); i++) {
    if (i == 2) {
      do_ok(s, "SET search_path = public");
    }
    do_ok(s, dirt[i]);
    assert_int_equal(pg_rig_session(&s->pg, s->c), CENOTE_SESSION_DIRTY);
  }
  reset(s);
  assert_string_equal(pg_rig_text(&s->pg, s->c, "SHOW search_path"), "\"$user\", public");
  assert_string_equal(pg_rig_text(&s->pg, s->c, "SELECT current_setting('cenote.hidden', true)"),
                      "");
  snprintf(lock, sizeof(lock), "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'");
  assert_int_equal(integer(s, lock), 0);
  assert_int_equal(integer(s, "SELECT count(*) FROM pg_listening_channels()"), 0);
  assert_int_equal(integer(s, "SELECT count(*) FROM pg_cursors WHERE name = 'held'"), 0);
  assert_int_equal(integer(s, "SELECT count(*) FROM pg_prepared_statements WHERE from_sql"), 0);
  assert_int_equal(integer(s, "SELECT count(*) FROM pg_class WHERE relname = 'mine'"), 0);
  assert_int_equal(integer(s, "SELECT 42"), 42);
}

static void a_reset_keeps_our_prepared_statements(void **state)
{
  struct state *s = *state;
  for (int i = 0; i < 3; i++) {
    assert_int_equal(integer(s, "SELECT 44"), 44);
  }
  do_ok(s, "SET work_mem = '5MB'");
  reset(s);
  assert_int_equal(integer(s, "SELECT count(*) FROM pg_prepared_statements"), 1);
  assert_int_equal(integer(s, "SELECT 44"), 44);
}

static void what_a_trigger_does_to_the_session_is_noticed(void **state)
{
  struct state *s = *state;
  do_ok(s, "CREATE TABLE sly (a int)");
  do_ok(s, "CREATE FUNCTION sly() RETURNS trigger LANGUAGE plpgsql AS "
           "$$ BEGIN SET TIME ZONE 'Asia/Tokyo'; RETURN new; END $$");
  do_ok(s, "CREATE TRIGGER sly BEFORE INSERT ON sly FOR EACH ROW EXECUTE FUNCTION sly()");
  reset(s);
  do_ok(s, "INSERT INTO sly VALUES (1)");
  assert_int_equal(pg_rig_session(&s->pg, s->c), CENOTE_SESSION_DIRTY);
  reset(s);
}

static void a_reset_rolls_back_and_releases(void **state)
{
  struct state *s = *state;
  do_ok(s, "CREATE TABLE rolled (a int)");
  assert_int_equal(rig_begin(&s->pg.rig, s->c, CENOTE_BATCH_WRITE, NULL), CENOTE_OK);
  do_ok(s, "INSERT INTO rolled VALUES (1)");
  assert_int_equal(pg_rig_session(&s->pg, s->c), CENOTE_SESSION_IN_TRANSACTION);
  assert_int_equal(rig_do(&s->pg.rig, s->c, "SELECT 1/0"), CENOTE_DATABASE);
  assert_int_equal(pg_rig_session(&s->pg, s->c),
                   CENOTE_SESSION_IN_TRANSACTION | CENOTE_SESSION_FAILED);
  reset(s);
  assert_int_equal(integer(s, "SELECT count(*) FROM rolled"), 0);
}

static void transactions_say_what_became_of_them(void **state)
{
  struct state *s = *state;
  cenote_error error = CENOTE_ERROR_INIT;
  struct rig *rig = &s->pg.rig;
  do_ok(s, "CREATE TABLE tx (a int)");
  assert_int_equal(rig_begin(rig, s->c, CENOTE_BATCH_DEFERRED, NULL), CENOTE_OK);
  assert_int_equal(rig_begin(rig, s->c, CENOTE_BATCH_DEFERRED, &error), CENOTE_DATABASE);
  assert_string_equal(error.sqlstate, "25001");
  do_ok(s, "INSERT INTO tx VALUES (1)");
  assert_int_equal(rig_kind(rig, s->c, CENOTE_REQUEST_COMMIT, NULL), CENOTE_OK);
  assert_int_equal(integer(s, "SELECT count(*) FROM tx"), 1);

  assert_int_equal(rig_begin(rig, s->c, CENOTE_BATCH_DEFERRED, NULL), CENOTE_OK);
  do_ok(s, "INSERT INTO tx VALUES (2)");
  assert_int_equal(rig_do(rig, s->c, "SELECT 1/0"), CENOTE_DATABASE);
  assert_int_equal(rig_kind(rig, s->c, CENOTE_REQUEST_COMMIT, &error), CENOTE_DATABASE);
  assert_string_equal(error.sqlstate, "25P02");
  assert_int_equal(pg_rig_session(&s->pg, s->c), 0);
  assert_int_equal(integer(s, "SELECT count(*) FROM tx"), 1);

  assert_int_equal(rig_kind(rig, s->c, CENOTE_REQUEST_COMMIT, &error), CENOTE_DATABASE);
  assert_int_equal(rig_kind(rig, s->c, CENOTE_REQUEST_ROLLBACK, &error), CENOTE_OK);

  assert_int_equal(rig_begin(rig, s->c, CENOTE_BATCH_READ, NULL), CENOTE_OK);
  assert_int_equal(rig_do(rig, s->c, "INSERT INTO tx VALUES (3)"), CENOTE_DATABASE);
  assert_int_equal(rig_kind(rig, s->c, CENOTE_REQUEST_ROLLBACK, NULL), CENOTE_OK);
}

static void a_handed_out_pgconn_makes_the_session_dirty(void **state)
{
  struct state *s = *state;
  for (int i = 0; i < 3; i++) {
    assert_int_equal(integer(s, "SELECT 45"), 45);
  }
  PGconn *conn = s->pg.rig.driver->resource(s->c);
  s->pg.rig.driver->taint(s->c);
  PQclear(PQprepare(conn, "theirs", "SELECT 1", 0, NULL));
  PQclear(PQexec(conn, "SET work_mem = '5MB'; LISTEN x"));
  assert_int_equal(pg_rig_session(&s->pg, s->c), CENOTE_SESSION_DIRTY);
  reset(s);
  assert_int_equal(integer(s, "SELECT count(*) FROM pg_prepared_statements"), 0);
  assert_string_equal(pg_rig_text(&s->pg, s->c, "SHOW work_mem"), "4MB");
  assert_int_equal(integer(s, "SELECT 45"), 45);
}

static void notices_go_to_the_debug_log(void **state)
{
  struct state *s = *state;
  do_ok(s, "DO $$ BEGIN RAISE NOTICE 'look here'; END $$");
  assert_true(pg_rig_logged(&s->pg, "3 postgres says: NOTICE 00000: look here"));
}

static void notifications_do_not_disturb(void **state)
{
  struct state *s = *state;
  do_ok(s, "LISTEN news");
  for (int i = 0; i < 20; i++) {
    do_ok(s, "NOTIFY news, 'payload'");
    assert_int_equal(integer(s, "SELECT 46"), 46);
  }
}

/* --------------------------------------------------------------------------- streaming */

struct counted {
  int64_t rows, sum, stop_at;
};

static bool count_row(void *context, const char *const *names, const cenote_value *values,
                      size_t columns)
{
  struct counted *counted = context;
  assert_int_equal(columns, 2);
  assert_string_equal(names[0], "g");
  counted->rows++;
  counted->sum += values[0].as.integer;
  return counted->rows != counted->stop_at;
}

static cenote_status stream(struct state *s, const char *sql, struct counted *counted,
                            cenote_error *error)
{
  struct cenote_sink sink;
  cen_sink_init_stream(&sink, count_row, counted);
  cenote_request request = {.size = sizeof(request),
                            .kind = CENOTE_REQUEST_EXECUTE,
                            .flags = CENOTE_REQUEST_STREAM,
                            .sql = sql,
                            .sink = &sink,
                            .deadline_ns = INT64_MAX};
  cenote_status status = rig_run(&s->pg.rig, s->c, &request, error);
  cen_sink_deinit(&sink);
  return status;
}

static void a_large_result_streams_in_flat_memory(void **state)
{
  struct state *s = *state;
  struct rusage before, after;
  struct counted counted = {0};
  assert_int_equal(
      stream(s, "SELECT g, repeat('x', 900) FROM generate_series(1, 1000) g", &counted, NULL),
      CENOTE_OK);
  counted = (struct counted){0};
  assert_int_equal(getrusage(RUSAGE_SELF, &before), 0);
  assert_int_equal(
      stream(s, "SELECT g, repeat('x', 900) FROM generate_series(1, 100000) g", &counted, NULL),
      CENOTE_OK);
  assert_int_equal(getrusage(RUSAGE_SELF, &after), 0);
  assert_int_equal(counted.rows, 100000);
  assert_true(counted.sum == INT64_C(100000) * 100001 / 2);
  /* 90 MB went through. A sanitizer keeps freed blocks for a while, so the bound is wide. */
  assert_true(after.ru_maxrss - before.ru_maxrss < PEAK_KIB);
}

static void a_stream_that_is_stopped_leaves_a_usable_connection(void **state)
{
  struct state *s = *state;
  for (int i = 0; i < 20; i++) {
    struct counted counted = {.stop_at = 10 + i};
    cenote_error error = CENOTE_ERROR_INIT;
    assert_int_equal(stream(s, "SELECT generate_series(1, 100000000) AS g, 'x'", &counted, &error),
                     CENOTE_CANCELLED);
    assert_int_equal(counted.rows, 10 + i);
    assert_int_equal(integer(s, "SELECT 47"), 47);
  }
}

static void a_result_above_the_ceiling_is_refused_and_cancelled(void **state)
{
  struct state *s = *state;
  struct cenote_sink sink;
  cenote_error error = CENOTE_ERROR_INIT;
  assert_int_equal(cen_sink_init_result(&sink, 100, 0, NULL), CENOTE_OK);
  cenote_request request = {.size = sizeof(request),
                            .kind = CENOTE_REQUEST_EXECUTE,
                            .sql = "SELECT generate_series(1, 100000000) AS g",
                            .sink = &sink,
                            .deadline_ns = INT64_MAX};
  assert_int_equal(rig_run(&s->pg.rig, s->c, &request, &error), CENOTE_TOO_LARGE);
  cen_sink_deinit(&sink);
  assert_int_equal(integer(s, "SELECT 48"), 48);
}

static void a_failure_after_some_rows_is_a_failure(void **state)
{
  struct state *s = *state;
  struct counted counted = {0};
  cenote_error error = CENOTE_ERROR_INIT;
  assert_int_equal(stream(s, "SELECT g, (1 / (5000 - g))::text FROM generate_series(1, 9000) g",
                          &counted, &error),
                   CENOTE_DATABASE);
  assert_string_equal(error.sqlstate, "22012");
  assert_true(counted.rows > 0 && counted.rows < 5000);
  assert_int_equal(integer(s, "SELECT 49"), 49);
}

#define WITH_CONNECTION(test) cmocka_unit_test_setup_teardown(test, connect_one, disconnect_one)

int main(void)
{
  const struct CMUnitTest tests[] = {
      WITH_CONNECTION(values_come_out_with_their_types),
      WITH_CONNECTION(blobs_in_the_old_notation_are_read_too),
      WITH_CONNECTION(arguments_arrive_as_they_were),
      WITH_CONNECTION(a_blob_may_stand_where_text_stood_before),
      WITH_CONNECTION(raw_text_leaves_values_alone),
      WITH_CONNECTION(mistakes_are_named_and_harmless),
      WITH_CONNECTION(bad_arguments_are_refused_before_they_are_sent),
      WITH_CONNECTION(the_servers_error_fields_come_through),
      WITH_CONNECTION(a_context_that_hides_the_argument_is_passed_on),
      WITH_CONNECTION(arguments_never_reach_an_error),
      WITH_CONNECTION(statements_are_prepared_once_after_the_second_use),
      WITH_CONNECTION(statements_that_fall_out_of_the_cache_are_deallocated),
      WITH_CONNECTION(a_plan_whose_columns_changed_is_prepared_anew),
      WITH_CONNECTION(a_stale_plan_inside_a_transaction_is_an_error_once),
      WITH_CONNECTION(statements_deallocated_behind_our_back_are_prepared_anew),
      WITH_CONNECTION(a_session_whose_statements_vanish_is_replaced_and_never_handed_on),
      WITH_CONNECTION(a_plain_statement_leaves_the_session_clean),
      WITH_CONNECTION(a_dirty_session_is_as_new_after_a_reset),
      WITH_CONNECTION(a_reset_keeps_our_prepared_statements),
      WITH_CONNECTION(what_a_trigger_does_to_the_session_is_noticed),
      WITH_CONNECTION(a_reset_rolls_back_and_releases),
      WITH_CONNECTION(transactions_say_what_became_of_them),
      WITH_CONNECTION(a_handed_out_pgconn_makes_the_session_dirty),
      WITH_CONNECTION(notices_go_to_the_debug_log),
      WITH_CONNECTION(notifications_do_not_disturb),
      WITH_CONNECTION(a_large_result_streams_in_flat_memory),
      WITH_CONNECTION(a_stream_that_is_stopped_leaves_a_usable_connection),
      WITH_CONNECTION(a_result_above_the_ceiling_is_refused_and_cancelled),
      WITH_CONNECTION(a_failure_after_some_rows_is_a_failure),
  };
  return pg_rig_main(&server, NULL, tests, sizeof(tests) / sizeof(tests[0]));
}
