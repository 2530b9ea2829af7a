/* The PostgreSQL driver where it asks for results in binary: nobody sees that it does. */
#include "driver/postgres/wire.h"
#include "integration/postgres_bed.h"
#include "support/pg_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { ROUNDS = 5, BINARY_FROM = 2 /* the rounds: plain, preparing, prepared */ };

static struct pg_fixture server;

static const char *with_options(const char *options)
{
  static char url[512];
  const char *plain = pg_fixture_get(&server, "POSTGRES_URL");
  snprintf(url, sizeof(url), "%s%soptions=%s", plain, strchr(plain, '?') ? "&" : "?", options);
  return url;
}

/* ---------------------------------------------------------------------------- the same values */

static const char *const values_sql[] = {
    ("SELECT 0::int2, 1::int2, -1::int2, 32767::int2, -32768::int2, 0, -1, 2147483647, "
     "(-2147483648)::int4, 0::int8, -1::int8, 9007199254740993, 9223372036854775807, "
     "(-9223372036854775808)::int8, 0::oid, 4294967295::oid"),
    ("SELECT 0::float8, '-0'::float8, 0.1::float8, 1::float8 / 3, 1e15::float8, 123456789012345678::float8, "
     "1.7976931348623157e308::float8, 2.2250738585072014e-308::float8, 5e-324::float8, "
     "-5e-324::float8, 'NaN'::float8, '-NaN'::float8, 'Infinity'::float8, '-Infinity'::float8, "
     "0.30000000000000004::float8, 9007199254740993::float8"),
    ("SELECT 0.1::float4, 1.1754944e-38::float4, 3.4028235e38::float4, 1e-45::float4, 'NaN'::float4, "
     "'-Infinity'::float4, 16777217::float4"),
    "SELECT true, false, NULL::bool, NULL::int, NULL::float8, NULL::timestamptz, NULL::bytea",
    ("SELECT '\\x'::bytea, '\\x00'::bytea, '\\x5c7800ff10'::bytea, 'plain'::bytea, "
     "decode(repeat('00ff5c27', 20000), 'hex')"),
    ("SELECT 'a'::\"char\", 'name'::name, ''::text, 'caf\xc3\xa9'::varchar, 'b'::char(3), "
     "'{\"a\": 1}'::json, '{\"a\": 1}'::jsonb, '<a/>'::text"),
    ("SELECT 1.50::numeric, 1::money, '2020-01-02'::date, '2020-01-02 03:04:05.6'::timestamp, "
     "'03:04'::time, '03:04+02'::timetz, '1 day'::interval, '10.0.0.1'::inet, "
     "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid, '{1,2}'::int[], '{t}'::bool[], '[1,2)'::int4range, "
     "point(1, 2), B'101', 'int4'::regtype, '1'::xid, '0/1'::pg_lsn"),
    ("SELECT 'infinity'::timestamptz, '-infinity'::timestamptz, '2020-01-02 03:04:05.678901+00'::"
     "timestamptz, '1969-12-31 23:59:59.999999+00'::timestamptz, '0044-03-15 12:00:00+00 BC'::"
     "timestamptz, '4713-01-01 00:00:00+00 BC'::timestamptz, '0001-01-01 00:00:00+00'::timestamptz, "
     "'294276-12-31 23:59:59.999999+00'::timestamptz, '2000-01-01 00:00:00+00'::timestamptz"),
    "SELECT i, i / 7.0::float8, i % 2 = 0, 'row ' || i FROM generate_series(-300, 300) i",
    ("SELECT CASE WHEN i % 3 > 0 THEN i END, CASE WHEN i % 2 > 0 THEN i::float8 END FROM "
     "generate_series(1, 50) i"),
    "SELECT 1 AS a, 2 AS a WHERE false",
    "SELECT",
    "VALUES (1, 'a', 1.5::float8), (2, NULL, NULL)",
    "SHOW server_version_num",
    "EXPLAIN (COSTS off) SELECT 1",
    "SELECT 1, i / (i - 2) FROM generate_series(1, 3) i",
    "SELECT 1::float8 / 0",
};
enum { VALUES = sizeof(values_sql) / sizeof(*values_sql) };

static void assert_same_cell(const cenote_result *one, const cenote_result *other, uint64_t row,
                             size_t column)
{
  const cenote_value a = cenote_result_value(one, row, column);
  const cenote_value b = cenote_result_value(other, row, column);
  assert_int_equal(a.type, b.type);
  assert_int_equal(a.size, b.size);
  if (a.type == CENOTE_TEXT || a.type == CENOTE_BLOB) {
    assert_memory_equal(a.as.text, b.as.text, a.size);
  } else if (a.type == CENOTE_REAL) {
    assert_memory_equal(&a.as.real, &b.as.real, sizeof(double)); /* -0 is not 0, a NaN is one */
  } else if (a.type == CENOTE_BOOLEAN) {
    assert_int_equal(a.as.boolean, b.as.boolean);
  } else if (a.type == CENOTE_INTEGER) {
    assert_true(a.as.integer == b.as.integer);
  }
}

static void assert_same(const struct rig_flight *one, const struct rig_flight *other)
{
  const cenote_result *a = one->result;
  const cenote_result *b = other->result;
  assert_int_equal(one->answer, other->answer);
  assert_string_equal(one->error.message, other->error.message);
  assert_true(cenote_result_rows(a) == cenote_result_rows(b));
  assert_int_equal(cenote_result_columns(a), cenote_result_columns(b));
  assert_string_equal(cenote_result_command(a), cenote_result_command(b));
  for (size_t column = 0; column < cenote_result_columns(a); column++) {
    cenote_column x;
    cenote_column y;
    assert_true(cenote_result_column(a, column, &x) && cenote_result_column(b, column, &y));
    assert_string_equal(x.name, y.name);
    assert_int_equal(x.oid, y.oid);
    assert_int_equal(x.type_size, y.type_size);
    assert_int_equal(x.modifier, y.modifier);
    for (uint64_t row = 0; row < cenote_result_rows(a); row++) {
      assert_same_cell(a, b, row, column);
    }
  }
}

/* What the request just pushed has asked for. */
static uint64_t asked(const struct pg_bed *bed)
{
  return pg_flight_at(bed->c->pipe, bed->c->pipe->count - 1)->binary;
}

static void run(struct pg_bed *bed, struct rig_flight *flight, const char *sql)
{
  pg_bed_push(bed, flight, sql);
  assert_ptr_equal(rig_pipe_next(&bed->pipe), flight);
}

/* All statements, on a session that asks for binary and on one where libpq reads text. */
static void compare(const char *options, unsigned flags, uint64_t most, uint64_t least)
{
  static const char *const off[] = {"simple_wire", "0", NULL};
  struct pg_bed beds[2];
  struct rig_flight flights[2];
  uint64_t seen = 0;
  pg_bed_open(&beds[0], with_options(options), true);
  pg_bed_open_with(&beds[1], with_options(options), off);
  beds[0].pipe.flags = beds[1].pipe.flags = flags;
  assert_non_null(beds[0].c->wire);
  assert_null(beds[1].c->wire);
  for (int round = 0; round < ROUNDS; round++) {
    for (size_t i = 0; i < VALUES; i++) {
      for (int side = 0; side < 2; side++) {
        pg_bed_push(&beds[side], &flights[side], values_sql[i]);
        const uint64_t now = asked(&beds[side]);
        assert_true(now == 0 || (side == 0 && round >= BINARY_FROM));
        seen |= i == 1 ? now : now << 32;
        assert_ptr_equal(rig_pipe_next(&beds[side].pipe), &flights[side]);
      }
      assert_same(&flights[0], &flights[1]);
      rig_flight_free(&flights[0]);
      rig_flight_free(&flights[1]);
    }
  }
  assert_true((seen & ~most) == 0 && (seen & least) == least);
  pg_bed_close(&beds[0]);
  pg_bed_close(&beds[1]);
}

static const uint64_t reals_alone = 0xffff;
static const uint64_t first_rest = UINT64_C(1) << 32;

static void values_are_those_of_text_whichever_execution_it_is(void **state)
{
  (void)state;
  compare("-cextra_float_digits%3D1", 0, UINT64_MAX, reals_alone | first_rest);
  compare("-cextra_float_digits%3D3%20-cbytea_output%3Descape", 0, UINT64_MAX,
          reals_alone | first_rest);
}

static void reals_are_text_where_the_text_has_fewer_digits(void **state)
{
  (void)state;
  compare("-cextra_float_digits%3D0", 0, ~reals_alone, first_rest);
  compare("-cextra_float_digits%3D-5", 0, ~reals_alone, first_rest);
}

static void who_asks_for_the_text_gets_it(void **state)
{
  (void)state;
  compare("-cextra_float_digits%3D1", CENOTE_REQUEST_RAW_TEXT, 0, 0);
}

/* Where no pipeline is entered: a lease. */
static void run_alone(struct pg_bed *bed, struct rig_flight *flight, const char *sql)
{
  *flight = (struct rig_flight){.error = CENOTE_ERROR_INIT};
  cenote_status status =
      rig_execute(&bed->pg.rig, bed->c, sql, NULL, 0, 20000, &flight->result, &flight->error);
  flight->answer = status == CENOTE_OK ? CENOTE_ANSWER_DONE : CENOTE_ANSWER_FAILED;
}

static void a_lease_has_the_same_values(void **state)
{
  (void)state;
  static const char *const off[] = {"simple_wire", "0", NULL};
  struct pg_bed beds[2];
  struct rig_flight flights[2];
  pg_bed_open(&beds[0], with_options("-cextra_float_digits%3D1"), false);
  pg_bed_open_with(&beds[1], with_options("-cextra_float_digits%3D1"), off);
  rig_pipe_end(&beds[0].pipe);
  rig_pipe_end(&beds[1].pipe);
  for (int round = 0; round < ROUNDS; round++) {
    for (int side = 0; side < 2; side++) { /* SHOW has made it dirty, and then libpq runs all */
      assert_int_equal(rig_kind(&beds[side].pg.rig, beds[side].c, CENOTE_REQUEST_RESET, NULL),
                       CENOTE_OK);
    }
    for (size_t i = 0; i < VALUES; i++) {
      run_alone(&beds[0], &flights[0], values_sql[i]);
      run_alone(&beds[1], &flights[1], values_sql[i]);
      assert_same(&flights[0], &flights[1]);
      cenote_result_free(flights[0].result);
      cenote_result_free(flights[1].result);
    }
  }
  assert_non_null(beds[0].c->alone);
  assert_int_equal(rig_pipe_begin(&beds[0].pipe, &beds[0].pg.rig, beds[0].c, true, NULL),
                   CENOTE_OK);
  pg_bed_push(&beds[0], &flights[0], values_sql[3]); /* what a lease was told is known here */
  assert_true(asked(&beds[0]) == 0x4f);
  pg_bed_expect(&beds[0], &flights[0], CENOTE_ANSWER_DONE);
  rig_flight_free(&flights[0]);
  pg_bed_close(&beds[0]);
  assert_int_equal(rig_pipe_begin(&beds[1].pipe, &beds[1].pg.rig, beds[1].c, true, NULL),
                   CENOTE_OK);
  pg_bed_close(&beds[1]);
}

static void a_session_that_may_write_does_not_ask_and_has_reals_as_text(void **state)
{
  (void)state;
  struct pg_bed bed;
  struct rig_flight flight;
  pg_bed_open(&bed, with_options("-cextra_float_digits%3D1"), false);
  for (int round = 0; round < ROUNDS; round++) {
    pg_bed_push(&bed, &flight, "SELECT 0.1::float8, 7");
    assert_true(asked(&bed) == (round >= BINARY_FROM ? 2 : 0));
    pg_bed_expect(&bed, &flight, CENOTE_ANSWER_DONE);
    assert_true(cenote_result_value(flight.result, 0, 0).as.real == 0.1);
    rig_flight_free(&flight);
  }
  pg_bed_close(&bed);
}

/* --------------------------------------------------------------------------------- times */

static const char times_sql[] =
    "SELECT t, (extract(epoch FROM t) * 1000000 - 946684800000000)::int8, t::text FROM (VALUES "
    "('2020-01-02 03:04:05.678901+00'::timestamptz), ('1969-12-31 23:59:59.999999+00'), "
    "('0044-03-15 12:00:00+00 BC'), ('4713-01-01 00:00:00+00 BC'), ('0001-01-01 00:00:00+00'), "
    "('294276-12-31 23:59:59+00'), ('2000-01-01 00:00:00+00'), (NULL)) AS v(t)";

static void times_are_microseconds_for_who_can_use_them_and_infinity_is_text(void **state)
{
  (void)state;
  struct pg_bed bed;
  struct rig_flight flight;
  pg_bed_open(&bed, with_options("-cTimeZone%3DAsia/Kolkata"), true);
  bed.pipe.flags = CENOTE_REQUEST_TIMES;
  for (int round = 0; round < ROUNDS; round++) {
    run(&bed, &flight, times_sql);
    assert_int_equal(flight.answer, CENOTE_ANSWER_DONE);
    assert_int_equal(cenote_result_rows(flight.result), 8);
    for (uint64_t row = 0; row < 7; row++) {
      const cenote_value time = cenote_result_value(flight.result, row, 0);
      if (round < BINARY_FROM) {
        assert_string_equal(time.as.text, cenote_result_text(flight.result, row, 2));
      } else {
        assert_int_equal(time.type, CENOTE_INTEGER);
        assert_int_equal(time.as.integer, cenote_result_value(flight.result, row, 1).as.integer);
      }
    }
    assert_int_equal(cenote_result_value(flight.result, 7, 0).type, CENOTE_NULL);
    rig_flight_free(&flight);
    run(&bed, &flight, "SELECT 'infinity'::timestamptz, '-infinity'::timestamptz");
    assert_string_equal(cenote_result_value(flight.result, 0, 0).as.text, "infinity");
    assert_string_equal(cenote_result_value(flight.result, 0, 1).as.text, "-infinity");
    rig_flight_free(&flight);
  }
  bed.pipe.flags = 0; /* the same plan, for somebody else */
  run(&bed, &flight, times_sql);
  assert_string_equal(cenote_result_value(flight.result, 0, 0).as.text,
                      "2020-01-02 08:34:05.678901+05:30");
  rig_flight_free(&flight);
  pg_bed_close(&bed);
}

static void times_stay_text_in_another_style(void **state)
{
  (void)state;
  struct pg_bed bed;
  struct rig_flight flight;
  pg_bed_open(&bed, with_options("-cDateStyle%3DGerman%20-cTimeZone%3DUTC"), true);
  bed.pipe.flags = CENOTE_REQUEST_TIMES;
  for (int round = 0; round < ROUNDS; round++) {
    run(&bed, &flight, "SELECT '2020-01-02 03:04:05+00'::timestamptz");
    assert_string_equal(cenote_result_text(flight.result, 0, 0), "02.01.2020 03:04:05 UTC");
    rig_flight_free(&flight);
  }
  pg_bed_close(&bed);
}

static void a_style_that_moves_makes_times_text_again(void **state)
{
  (void)state;
  struct pg_bed bed;
  struct rig_flight flight;
  static const char sql[] = "SELECT '2020-01-02 03:04:05+00'::timestamptz";
  pg_bed_open(&bed, with_options("-cTimeZone%3DUTC"), true);
  /* the scanner cannot see what a view does */
  pg_bed_elsewhere(&bed, "CREATE OR REPLACE VIEW restyler AS SELECT set_config('DateStyle', "
                         "'German', false) AS style");
  bed.pipe.flags = CENOTE_REQUEST_TIMES;
  for (int round = 0; round < ROUNDS; round++) {
    run(&bed, &flight, sql);
    assert_int_equal(cenote_result_value(flight.result, 0, 0).type,
                     round < BINARY_FROM ? CENOTE_TEXT : CENOTE_INTEGER);
    rig_flight_free(&flight);
  }
  run(&bed, &flight, "SELECT * FROM restyler");
  rig_flight_free(&flight);
  run(&bed, &flight, sql);
  assert_string_equal(cenote_result_text(flight.result, 0, 0), "02.01.2020 03:04:05 UTC");
  rig_flight_free(&flight);
  pg_bed_elsewhere(&bed, "DROP VIEW restyler");
  pg_bed_close(&bed);
}

/* ------------------------------------------------------------------------- tables that change */

/* Once more where the plan was stale: as whoever pushes does. */
static void run_again(struct pg_bed *bed, struct rig_flight *flight, const char *sql)
{
  run(bed, flight, sql);
  if (flight->answer == CENOTE_ANSWER_REPEAT) {
    assert_string_equal(flight->error.sqlstate, "0A000");
    rig_flight_free(flight);
    run(bed, flight, sql);
  }
}

static void a_table_that_changes_is_read_as_it_is_now(void **state)
{
  (void)state;
  static const struct {
    const char *alter, *text;
    size_t columns;
    cenote_type type;
  } steps[] = {
      {"CREATE TABLE moving AS SELECT 41 AS a, 0.5::float8 AS b", "41", 2, CENOTE_INTEGER},
      {"ALTER TABLE moving ALTER a TYPE text USING a::text", "41", 2, CENOTE_TEXT},
      {"ALTER TABLE moving ALTER a TYPE int8 USING a::int8", "41", 2, CENOTE_INTEGER},
      {"ALTER TABLE moving ALTER a TYPE numeric", "41", 2, CENOTE_TEXT},
      {"ALTER TABLE moving ALTER a TYPE float8", "41", 2, CENOTE_REAL},
      {"ALTER TABLE moving ADD c int4 DEFAULT 9", "41", 3, CENOTE_REAL},
      {"ALTER TABLE moving DROP b", "41", 2, CENOTE_REAL},
      {"ALTER TABLE moving ALTER a TYPE bool USING a > 1", "true", 2, CENOTE_BOOLEAN},
      {"DROP TABLE moving; CREATE TABLE moving AS SELECT '\\x41'::bytea AS a", NULL, 1,
       CENOTE_BLOB},
  };
  struct pg_bed bed;
  struct rig_flight flight;
  pg_bed_open(&bed, with_options("-cextra_float_digits%3D1"), true);
  pg_bed_elsewhere(&bed, "DROP TABLE IF EXISTS moving");
  for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
    char alter[128];
    snprintf(alter, sizeof(alter), "%s", steps[i].alter);
    for (char *rest = NULL, *one = strtok_r(alter, ";", &rest); one;
         one = strtok_r(NULL, ";", &rest)) {
      pg_bed_elsewhere(&bed, one);
    }
    for (int round = 0; round < ROUNDS; round++) {
      run_again(&bed, &flight, "SELECT * FROM moving");
      assert_int_equal(flight.answer, CENOTE_ANSWER_DONE);
      assert_int_equal(cenote_result_columns(flight.result), steps[i].columns);
      assert_int_equal(cenote_result_value(flight.result, 0, 0).type, steps[i].type);
      if (steps[i].text) {
        assert_string_equal(cenote_result_text(flight.result, 0, 0), steps[i].text);
      } else {
        assert_memory_equal(cenote_result_value(flight.result, 0, 0).as.blob, "A", 1);
      }
      rig_flight_free(&flight);
    }
  }
  pg_bed_elsewhere(&bed, "DROP TABLE moving");
  pg_bed_close(&bed);
}

/* In a transaction libpq runs it, and prepares it anew. */
static void run_by_libpq(struct pg_bed *bed, const char *sql)
{
  assert_int_equal(rig_begin(&bed->pg.rig, bed->c, CENOTE_BATCH_WRITE, NULL), CENOTE_OK);
  assert_int_equal(rig_do(&bed->pg.rig, bed->c, sql), CENOTE_OK);
  assert_int_equal(rig_do(&bed->pg.rig, bed->c, sql), CENOTE_OK);
  assert_int_equal(rig_kind(&bed->pg.rig, bed->c, CENOTE_REQUEST_COMMIT, NULL), CENOTE_OK);
}

/* The name of a statement is the same before and after; its columns need not be. */
static void a_reset_forgets_what_was_told_of_the_columns(void **state)
{
  (void)state;
  struct pg_bed bed;
  struct rig_flight flights[6];
  char alter[128];
  pg_bed_open(&bed, with_options("-cextra_float_digits%3D1"), true);
  pg_bed_elsewhere(&bed, "CREATE TABLE IF NOT EXISTS moving (a int, b int)");
  for (int change = 0; change < 3; change++) {
    for (int i = 0; i < 4; i++) {
      run(&bed, &flights[0], "SELECT * FROM moving");
      assert_int_equal(flights[0].answer, CENOTE_ANSWER_DONE);
      rig_flight_free(&flights[0]);
    }
    rig_pipe_end(&bed.pipe);
    assert_int_equal(rig_do(&bed.pg.rig, bed.c, "PREPARE mine AS SELECT 1"), CENOTE_OK);
    assert_int_equal(rig_kind(&bed.pg.rig, bed.c, CENOTE_REQUEST_RESET, NULL), CENOTE_OK);
    snprintf(alter, sizeof(alter), "ALTER TABLE moving %s more%d float8",
             change == 1 ? "ADD more text, ADD" : "DROP IF EXISTS b, ADD", change);
    pg_bed_elsewhere(&bed, alter);
    if (change > 0) {
      run_by_libpq(&bed, "SELECT * FROM moving");
    }
    assert_int_equal(rig_pipe_begin(&bed.pipe, &bed.pg.rig, bed.c, true, NULL), CENOTE_OK);
    for (int i = 0; i < 6; i++) { /* before the first of them has said anything */
      pg_bed_push(&bed, &flights[i], "SELECT * FROM moving");
      assert_true(asked(&bed) == 0);
    }
    for (int i = 0; i < 6; i++) {
      pg_bed_expect(&bed, &flights[i], CENOTE_ANSWER_DONE);
      rig_flight_free(&flights[i]);
    }
  }
  pg_bed_elsewhere(&bed, "DROP TABLE moving");
  pg_bed_close(&bed);
}

/* As behind a pooler that prepares statements anew by itself: the server says nothing of a stale plan. */
static void formats_that_do_not_fit_are_told_from_arguments_that_do_not(void **state)
{
  (void)state;
  struct pg_bed bed;
  struct rig_flight flight;
  static const char sql[] = "SELECT 1, $1::int";
  const cenote_value one = cenote_integer(1);
  pg_bed_open(&bed, with_options("-cextra_float_digits%3D1"), true);
  bed.pipe.flags = CENOTE_REQUEST_NATIVE;
  for (int round = 0; round < 4; round++) {
    assert_int_equal(rig_pipe_push(&bed.pipe, &flight, sql, &one, 1, 0), CENOTE_OK);
    pg_bed_expect_integer(&bed, &flight, 1);
  }
  assert_int_equal(rig_pipe_push(&bed.pipe, &flight, sql, &one, 1, 0), CENOTE_OK);
  struct pg_statement *statement = pg_flight_at(bed.c->pipe, 0)->statement;
  pg_bed_expect_integer(&bed, &flight, 1);
  statement->columns = 3;
  assert_int_equal(rig_pipe_push(&bed.pipe, &flight, sql, &one, 1, 0), CENOTE_OK);
  assert_true(asked(&bed) == 3);
  pg_bed_expect(&bed, &flight, CENOTE_ANSWER_REPEAT);
  rig_flight_free(&flight);
  assert_int_equal(rig_pipe_push(&bed.pipe, &flight, sql, &one, 1, 0), CENOTE_OK);
  assert_true(asked(&bed) == 0);
  pg_bed_expect_integer(&bed, &flight, 1);
  assert_int_equal(rig_pipe_push(&bed.pipe, &flight, sql, &one, 1, 0), CENOTE_OK);
  assert_true(asked(&bed) == 3);
  pg_bed_expect_integer(&bed, &flight, 1);
  assert_int_equal(rig_pipe_push(&bed.pipe, &flight, sql, NULL, 0, 0), CENOTE_OK);
  assert_true(asked(&bed) == 3);
  pg_bed_expect(&bed, &flight, CENOTE_ANSWER_FAILED);
  assert_non_null(strstr(flight.error.message, "supplies 0 parameters"));
  rig_flight_free(&flight);
  pg_bed_close(&bed);
}

static void more_columns_than_are_counted_stay_text(void **state)
{
  (void)state;
  struct pg_bed bed;
  struct rig_flight flight;
  char sql[1024] = "SELECT 0";
  pg_bed_open(&bed, with_options("-cextra_float_digits%3D1"), true);
  for (int columns = 1; columns <= 66; columns++) {
    for (int round = 0; round < (columns >= 63 ? ROUNDS : 0); round++) {
      pg_bed_push(&bed, &flight, sql);
      const uint64_t all = columns == 64 ? UINT64_MAX : (UINT64_C(1) << (columns & 63)) - 1;
      assert_true(asked(&bed) == (round >= BINARY_FROM && columns <= 64 ? all : 0));
      pg_bed_expect(&bed, &flight, CENOTE_ANSWER_DONE);
      for (size_t i = 0; i < (size_t)columns; i++) {
        assert_int_equal(cenote_result_integer(flight.result, 0, i), i);
      }
      rig_flight_free(&flight);
    }
    snprintf(sql + strlen(sql), sizeof(sql) - strlen(sql), ", %d", columns);
  }
  pg_bed_close(&bed);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(values_are_those_of_text_whichever_execution_it_is),
      cmocka_unit_test(reals_are_text_where_the_text_has_fewer_digits),
      cmocka_unit_test(who_asks_for_the_text_gets_it),
      cmocka_unit_test(a_lease_has_the_same_values),
      cmocka_unit_test(a_session_that_may_write_does_not_ask_and_has_reals_as_text),
      cmocka_unit_test(times_are_microseconds_for_who_can_use_them_and_infinity_is_text),
      cmocka_unit_test(times_stay_text_in_another_style),
      cmocka_unit_test(a_style_that_moves_makes_times_text_again),
      cmocka_unit_test(a_table_that_changes_is_read_as_it_is_now),
      cmocka_unit_test(a_reset_forgets_what_was_told_of_the_columns),
      cmocka_unit_test(formats_that_do_not_fit_are_told_from_arguments_that_do_not),
      cmocka_unit_test(more_columns_than_are_counted_stay_text),
  };
  return pg_rig_main(&server, NULL, tests, sizeof(tests) / sizeof(tests[0]));
}
