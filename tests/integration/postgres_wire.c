/* The PostgreSQL driver where it pipelines without libpq: what it does on a real server beside what
 * libpq does, and what it makes of servers that lie. What both owe: postgres_pipeline*.c. */
#include "driver/postgres/wire.h"
#include "integration/postgres_bed.h"
#include "integration/postgres_liar.h"
#include "net/clock.h"
#include "support/pg_fixture.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct pg_fixture server;

static const char *var(const char *name)
{
  return pg_fixture_get(&server, name);
}

/* ------------------------------------------------------------------------- who may, and when */

static void only_plaintext_sessions_do_without_libpq(void **state)
{
  (void)state;
  static const char *const urls[] = {"POSTGRES_URL", "POSTGRES_TRUST_URL", "POSTGRES_TLS_URL"};
  for (size_t i = 0; i < 3; i++) {
    struct pg_bed bed;
    struct rig_flight flight;
    pg_bed_open(&bed, var(urls[i]), true);
    assert_int_equal(bed.c->wire != NULL, i < 2);
    pg_bed_push(&bed, &flight, "SELECT 1");
    pg_bed_expect_integer(&bed, &flight, 1);
    pg_bed_close(&bed);
  }
}

static void where_the_setting_is_off_libpq_pipelines(void **state)
{
  (void)state;
  static const char *const off[] = {"simple_wire", "0", NULL};
  struct pg_bed bed;
  struct rig_flight flight;
  pg_bed_open_with(&bed, var("POSTGRES_URL"), off);
  assert_null(bed.c->wire);
  pg_bed_push(&bed, &flight, "SELECT 1");
  pg_bed_expect_integer(&bed, &flight, 1);
  pg_bed_close(&bed);
}

static void what_is_pushed_is_sent_when_it_is_asked_what_to_wait_for(void **state)
{
  (void)state;
  struct pg_bed bed;
  struct rig_flight flights[10];
  pg_bed_open(&bed, var("POSTGRES_URL"), false);
  for (int i = 0; i < 10; i++) {
    size_t before = bed.c->wire->out.size;
    pg_bed_push(&bed, &flights[i], "SELECT 7");
    assert_true(bed.c->wire->out.size > before);
  }
  rig_pipe_send(&bed.pipe);
  assert_int_equal(bed.c->wire->out.size, 0);
  for (int i = 0; i < 10; i++) {
    pg_bed_expect_integer(&bed, &flights[i], 7);
  }
  pg_bed_close(&bed);
}

/* ---------------------------------------------------------------------------- the same values */

static const char *const values_sql[] = {
    "CREATE TEMP TABLE IF NOT EXISTS twin (a int)",
    ("SELECT 1::int2, -32768::int2, 2147483647, (-2147483648)::int4, 9223372036854775807, "
     "(-9223372036854775808)::int8, 4294967295::oid, 0"),
    ("SELECT 0.1::float8, 1e300::float8, 1e-307::float8, 'NaN'::float8, 'Infinity'::float8, "
     "'-Infinity'::float8, -0.0::float8, 1.5::float4, 3.4e38::float4, 1e15::float8, 12345678::float4"),
    "SELECT true, false, NULL::bool, NULL::int, ''::text, 'text'::text, NULL::text, 1.50::numeric",
    "SELECT '\\x'::bytea, '\\x00ff10'::bytea, NULL::bytea, '{1,2}'::int[], '{\"a\": 1}'::jsonb",
    "SELECT now() IS NOT NULL AS x, 'a'::\"char\", 'b'::char(3), '2020-01-02'::date, 1::money",
    "SELECT",
    "SELECT WHERE false",
    "SELECT 1 AS one, 2 AS one WHERE false",
    "VALUES (1, 'a'), (2, NULL), (3, 'c')",
    "SHOW server_version_num",
    "EXPLAIN (COSTS off) SELECT 1",
    "SELECT repeat('x', 100000), repeat('y', 70000)",
    "SELECT i, i::text FROM generate_series(1, 3000) i",
    "INSERT INTO twin VALUES (1), (2)",
    "INSERT INTO twin VALUES (3) RETURNING a, a::text",
    "UPDATE twin SET a = a WHERE a < 3",
    "WITH gone AS (DELETE FROM twin RETURNING a) SELECT count(*) FROM gone",
    "DELETE FROM twin",
    "SELECT 1 AS a INTO TEMP made",
    "DROP TABLE made",
    "DO $$BEGIN END$$",
    "SELECT 1 / 0",
    "SELECT nothing",
    "SELECT 'x'::int",
    "SELECT i / (i - 2) FROM generate_series(1, 3) i",
    "INSERT INTO twin VALUES ('x')",
};

static void assert_same_cell(const cenote_result *one, const cenote_result *other, uint64_t row,
                             size_t column)
{
  cenote_value a = cenote_result_value(one, row, column);
  cenote_value b = cenote_result_value(other, row, column);
  assert_int_equal(a.type, b.type);
  if (a.type == CENOTE_TEXT || a.type == CENOTE_BLOB) {
    assert_int_equal(a.size, b.size);
    assert_memory_equal(a.type == CENOTE_TEXT ? (const void *)a.as.text : a.as.blob,
                        b.type == CENOTE_TEXT ? (const void *)b.as.text : b.as.blob, a.size);
  } else if (a.type == CENOTE_REAL) {
    assert_memory_equal(&a.as.real, &b.as.real, sizeof(double));
  } else if (a.type == CENOTE_BOOLEAN) {
    assert_int_equal(a.as.boolean, b.as.boolean);
  } else if (a.type == CENOTE_INTEGER) {
    assert_true(a.as.integer == b.as.integer);
  }
}

static void assert_same(const struct rig_flight *one, const struct rig_flight *other)
{
  assert_int_equal(one->answer, other->answer);
  if (one->answer != CENOTE_ANSWER_DONE) {
    assert_memory_equal(&one->error, &other->error, sizeof(one->error));
    return;
  }
  const cenote_result *a = one->result;
  const cenote_result *b = other->result;
  assert_true(cenote_result_rows(a) == cenote_result_rows(b));
  assert_int_equal(cenote_result_columns(a), cenote_result_columns(b));
  assert_true(cenote_result_affected_rows(a) == cenote_result_affected_rows(b));
  assert_string_equal(cenote_result_command(a), cenote_result_command(b));
  for (size_t column = 0; column < cenote_result_columns(a); column++) {
    assert_string_equal(cenote_result_column_name(a, column), cenote_result_column_name(b, column));
    for (uint64_t row = 0; row < cenote_result_rows(a); row++) {
      assert_same_cell(a, b, row, column);
    }
  }
}

static void values_commands_and_errors_are_those_of_libpq(void **state)
{
  (void)state;
  static const char *const off[] = {"simple_wire", "0", NULL};
  struct pg_bed beds[2];
  pg_bed_open(&beds[0], var("POSTGRES_URL"), false);
  pg_bed_open_with(&beds[1], var("POSTGRES_URL"), off);
  rig_pipe_end(&beds[1].pipe); /* that is read-only */
  assert_int_equal(rig_kind(&beds[1].pg.rig, beds[1].c, CENOTE_REQUEST_RESET, NULL), CENOTE_OK);
  assert_int_equal(rig_pipe_begin(&beds[1].pipe, &beds[1].pg.rig, beds[1].c, false, NULL),
                   CENOTE_OK);
  assert_non_null(beds[0].c->wire);
  assert_null(beds[1].c->wire);
  for (int escaped = 0; escaped < 2; escaped++) {
    for (int round = 0; round < 3; round++) { /* plain, preparing, prepared */
      for (size_t i = 0; i < sizeof(values_sql) / sizeof(*values_sql); i++) {
        struct rig_flight flights[2];
        for (int side = 0; side < 2; side++) {
          pg_bed_push(&beds[side], &flights[side], values_sql[i]);
          assert_ptr_equal(rig_pipe_next(&beds[side].pipe), &flights[side]);
        }
        assert_same(&flights[0], &flights[1]);
        rig_flight_free(&flights[0]);
        rig_flight_free(&flights[1]);
      }
    }
    for (int side = 0; side < 2; side++) {
      struct rig_flight flight;
      pg_bed_push(&beds[side], &flight, "SET bytea_output = escape");
      pg_bed_expect(&beds[side], &flight, CENOTE_ANSWER_DONE);
      rig_flight_free(&flight);
    }
  }
  pg_bed_close(&beds[0]);
  pg_bed_close(&beds[1]);
}

static void arguments_of_every_type_arrive(void **state)
{
  (void)state;
  struct pg_bed bed;
  static const char blob[] = "\0\1\xff";
  const cenote_value args[] = {cenote_integer(INT64_MIN), cenote_real(-1.5e-300),
                               cenote_boolean(true),      cenote_text("caf\xc3\xa9"),
                               cenote_blob(blob, 3),      cenote_null(),
                               cenote_text(""),           cenote_blob(NULL, 0)};
  pg_bed_open(&bed, var("POSTGRES_URL"), false);
  for (int round = 0; round < 4; round++) {
    struct rig_flight flight;
    assert_int_equal(rig_pipe_push(&bed.pipe, &flight,
                                   "SELECT $1::int8, $2::float8, $3::bool, $4::text, $5::bytea, "
                                   "$6::text, $7::text, $8::bytea",
                                   args, 8, 0),
                     CENOTE_OK);
    pg_bed_expect(&bed, &flight, CENOTE_ANSWER_DONE);
    assert_true(cenote_result_integer(flight.result, 0, 0) == INT64_MIN);
    assert_true(cenote_result_value(flight.result, 0, 1).as.real == -1.5e-300);
    assert_true(cenote_result_value(flight.result, 0, 2).as.boolean);
    assert_memory_equal(cenote_result_value(flight.result, 0, 3).as.text, "caf\xc3\xa9", 5);
    assert_memory_equal(cenote_result_value(flight.result, 0, 4).as.blob, blob, 3);
    assert_int_equal(cenote_result_value(flight.result, 0, 5).type, CENOTE_NULL);
    assert_int_equal(cenote_result_value(flight.result, 0, 6).type, CENOTE_TEXT);
    assert_int_equal(cenote_result_value(flight.result, 0, 6).size, 0);
    assert_int_equal(cenote_result_value(flight.result, 0, 7).type, CENOTE_BLOB);
    rig_flight_free(&flight);
  }
  pg_bed_close(&bed);
}

static void much_goes_both_ways_at_once_and_the_memory_is_given_back(void **state)
{
  enum { MANY = 24, SIZE = 1 << 20 };
  (void)state;
  struct pg_bed bed;
  struct rig_flight flights[MANY];
  char *text = malloc(SIZE);
  assert_non_null(text);
  memset(text, 'm', SIZE);
  const cenote_value arg = cenote_text_n(text, SIZE);
  pg_bed_open(&bed, var("POSTGRES_URL"), false);
  for (int round = 0; round < 2; round++) {
    for (int i = 0; i < MANY; i++) {
      assert_int_equal(rig_pipe_push(&bed.pipe, &flights[i], "SELECT ?::text", &arg, 1, 0),
                       CENOTE_OK);
    }
    for (int i = 0; i < MANY; i++) {
      pg_bed_expect(&bed, &flights[i], CENOTE_ANSWER_DONE);
      assert_int_equal(cenote_result_value(flights[i].result, 0, 0).size, SIZE);
      rig_flight_free(&flights[i]);
    }
    pg_bed_push(&bed, &flights[0], "SELECT 3");
    pg_bed_expect_integer(&bed, &flights[0], 3);
    assert_true(bed.c->wire->capacity <= 64 << 10);
    assert_true(bed.c->wire->out.capacity <= 128 << 10);
  }
  pg_bed_close(&bed);
  free(text);
}

/* ------------------------------------------------------------------------- libpq goes on */

static void settings_that_moved_make_the_session_dirty_and_a_reset_brings_them_back(void **state)
{
  (void)state;
  struct pg_bed bed;
  struct rig_flight flight;
  static char zone[64];
  pg_bed_open(&bed, var("POSTGRES_URL"), false);
  rig_pipe_end(&bed.pipe);
  snprintf(zone, sizeof(zone), "%s", pg_rig_text(&bed.pg, bed.c, "SHOW TimeZone"));
  /* the scanner cannot see what a view does */
  pg_bed_elsewhere(&bed, "CREATE OR REPLACE VIEW mover AS SELECT set_config('TimeZone', "
                         "'Asia/Tokyo', false) AS zone");
  assert_int_equal(rig_pipe_begin(&bed.pipe, &bed.pg.rig, bed.c, false, NULL), CENOTE_OK);
  assert_int_equal(pg_rig_session(&bed.pg, bed.c), 0);
  pg_bed_push(&bed, &flight, "SELECT * FROM mover");
  pg_bed_expect(&bed, &flight, CENOTE_ANSWER_DONE);
  rig_flight_free(&flight);
  rig_pipe_end(&bed.pipe);
  assert_int_equal(pg_rig_session(&bed.pg, bed.c), CENOTE_SESSION_DIRTY);
  assert_string_equal(pg_rig_text(&bed.pg, bed.c, "SHOW TimeZone"), "Asia/Tokyo");
  assert_int_equal(rig_kind(&bed.pg.rig, bed.c, CENOTE_REQUEST_RESET, NULL), CENOTE_OK);
  assert_int_equal(pg_rig_session(&bed.pg, bed.c), 0);
  assert_string_equal(pg_rig_text(&bed.pg, bed.c, "SHOW TimeZone"), zone);
  pg_bed_elsewhere(&bed, "DROP VIEW mover");
  assert_int_equal(rig_pipe_begin(&bed.pipe, &bed.pg.rig, bed.c, false, NULL), CENOTE_OK);
  pg_bed_close(&bed);
}

static void notifications_disturb_neither_of_the_two(void **state)
{
  (void)state;
  struct pg_bed bed;
  struct rig_flight flight;
  pg_bed_open(&bed, var("POSTGRES_URL"), false);
  rig_pipe_end(&bed.pipe);
  assert_int_equal(rig_do(&bed.pg.rig, bed.c, "LISTEN wire"), CENOTE_OK);
  for (int round = 0; round < 10; round++) {
    pg_bed_elsewhere(&bed, "NOTIFY wire, 'before'");
    assert_int_equal(rig_pipe_begin(&bed.pipe, &bed.pg.rig, bed.c, round % 2 == 0, NULL),
                     CENOTE_OK);
    assert_non_null(bed.c->wire);
    for (int i = 0; i < 5; i++) {
      pg_bed_elsewhere(&bed, "SELECT pg_notify('wire', repeat('x', 7000))");
      pg_bed_push(&bed, &flight, i % 2 ? "SELECT 8" : "SELECT 8 FROM pg_sleep(0.01)");
      pg_bed_expect_integer(&bed, &flight, 8);
    }
    rig_pipe_end(&bed.pipe);
    pg_bed_elsewhere(&bed, "NOTIFY wire, 'after'");
    assert_int_equal(
        rig_integer(&bed.pg.rig, bed.c, "SELECT count(*) FROM pg_listening_channels()"), 1);
    assert_int_equal(PQtransactionStatus(bed.c->conn), PQTRANS_IDLE);
  }
  assert_int_equal(rig_kind(&bed.pg.rig, bed.c, CENOTE_REQUEST_RESET, NULL), CENOTE_OK);
  assert_int_equal(rig_integer(&bed.pg.rig, bed.c, "SELECT count(*) FROM pg_listening_channels()"),
                   0);
  assert_int_equal(rig_pipe_begin(&bed.pipe, &bed.pg.rig, bed.c, false, NULL), CENOTE_OK);
  pg_bed_close(&bed);
}

static void statements_prepared_by_one_serve_the_other(void **state)
{
  (void)state;
  struct pg_bed bed;
  struct rig_flight flight;
  static const char sql[] = "SELECT 5 + 6";
  pg_bed_open(&bed, var("POSTGRES_URL"), false);
  for (int round = 0; round < 4; round++) {
    for (int i = 0; i < 3; i++) {
      pg_bed_push(&bed, &flight, sql);
      pg_bed_expect_integer(&bed, &flight, 11);
    }
    rig_pipe_end(&bed.pipe);
    for (int i = 0; i < 3; i++) {
      assert_int_equal(rig_integer(&bed.pg.rig, bed.c, sql), 11);
    }
    assert_int_equal(rig_integer(&bed.pg.rig, bed.c,
                                 "SELECT count(*) FROM pg_prepared_statements WHERE statement = "
                                 "'SELECT 5 + 6' AND NOT from_sql"),
                     1);
    assert_int_equal(rig_begin(&bed.pg.rig, bed.c, CENOTE_BATCH_WRITE, NULL), CENOTE_OK);
    assert_int_equal(PQtransactionStatus(bed.c->conn), PQTRANS_INTRANS);
    assert_int_equal(rig_kind(&bed.pg.rig, bed.c, CENOTE_REQUEST_ROLLBACK, NULL), CENOTE_OK);
    assert_int_equal(rig_pipe_begin(&bed.pipe, &bed.pg.rig, bed.c, false, NULL), CENOTE_OK);
    assert_non_null(bed.c->wire);
  }
  pg_bed_close(&bed);
}

/* --------------------------------------------------------------------- servers that lie */

#define BINARY(type)            \
  "T\0\0\0\x1a\0\1"             \
  "a\0\0\0\0\0\0\0" type "\0\4" \
  "\xff\xff\xff\xff\0\1"
#define BOOL "\0\0\0\x10"
#define INT4 "\0\0\0\x17"
#define NUMERIC "\0\0\x06\xa4"
#define TIMESTAMPTZ "\0\0\x04\xa0"
#define BINARY_42 "D\0\0\0\x0e\0\1\0\0\0\4\0\0\0\x2a"
#define GOOD_BINARY         \
  PARSED BOUND BINARY(INT4) \
  BINARY_42 SELECT_1 READY

/* Two requests are in flight. `answers`: of the first and of the second; D done, F failed, L lost. */
static const struct lie {
  const char *script;
  size_t size;
  const char *answers;
  const char *words; /* of the LOST one */
} lies[] = {
    {BYTES(GOOD GOOD), "DD", ""},
    {BYTES(PARSED BOUND BINARY(INT4) ROW_42 SELECT_1 READY GOOD), "DD", ""}, /* not asked for */
    {BYTES(GOOD), "DL", "closed the connection"},
    {BYTES(""), "LL", "closed the connection"},
    {BYTES(GOOD GOOD "?"), "DD", ""},
    {BYTES(GOOD PARSED BOUND), "DL", "closed the connection"},
    {BYTES("?"), "LL", "no message of its protocol"},
    {BYTES(GOOD "X\0\0\0\4"), "DL", "no message of its protocol"},
    {BYTES(GOOD "1\0\0\0\0"), "DL", "no message of its protocol"},
    {BYTES(GOOD "1\xff\xff\xff\xff"), "DL", "no message of its protocol"},
    {BYTES(GOOD "D\x7f\xff\xff\xff"), "DL", "no message of its protocol"},
    {BYTES(GOOD "1\0\0\0\5x"), "DL", "malformed"},
    {BYTES(GOOD READY), "DL", "out of step"},
    {BYTES(BOUND), "LL", "out of step"},
    {BYTES(PARSED PARSED), "LL", "out of step"},
    {BYTES(PARSED BOUND SELECT_1), "LL", "out of step"},
    {BYTES(PARSED BOUND NONE ROW_42), "LL", "out of step"},
    {BYTES(PARSED BOUND NONE READY), "LL", "out of step"},
    {BYTES(PARSED BOUND NONE SELECT_1 SELECT_1), "LL", "out of step"},
    {BYTES(PARSED BOUND NONE "s\0\0\0\4"), "LL", "out of step"},
    {BYTES(PARSED BOUND "t\0\0\0\6\0\0"), "LL", "out of step"},
    {BYTES(PARSED BOUND ONE_COLUMN "D\0\0\0\6\0\0"), "LL", "malformed"},
    {BYTES(PARSED BOUND ONE_COLUMN "D\0\0\0\6\xff\xff"), "LL", "malformed"},
    {BYTES(PARSED BOUND ONE_COLUMN "D\0\0\0\x0a\0\1\x7f\xff\xff\xff"), "LL", "malformed"},
    {BYTES(PARSED BOUND ONE_COLUMN "D\0\0\0\x0a\0\1\xff\xff\xff\xfe"), "LL", "malformed"},
    {BYTES(PARSED BOUND ONE_COLUMN "D\0\0\0\x0b\0\1\0\0\0\0x"), "LL", "malformed"},
    {BYTES(PARSED BOUND "T\0\0\0\6\xff\xff"), "LL", "malformed"},
    {BYTES(PARSED BOUND "T\0\0\0\5x"), "LL", "malformed"},
    {BYTES(PARSED BOUND NONE "C\0\0\0\7abc"), "LL", "malformed"},
    {BYTES(PARSED BOUND NONE SELECT_1 "Z\0\0\0\5T"), "LL", "a transaction is open"},
    {BYTES(PARSED BOUND NONE SELECT_1 "Z\0\0\0\4"), "LL", "malformed"},
    {BYTES(PARSED BOUND "G\0\0\0\7\0\0\0"), "LL", "COPY"},
    {BYTES(PARSED BOUND "H\0\0\0\7\0\0\0"), "LL", "COPY"},
    {BYTES(PARSED BOUND "W\0\0\0\7\0\0\0"), "LL", "COPY"},
    {BYTES("E\0\0\0\x13VERROR\0C42601\0\0" READY GOOD), "FD", ""},
    {BYTES("E\0\0\0\x13VERROR\0C42601\0\0"
           "E\0\0\0\x13VERROR\0C42601\0\0"),
     "LL", "two errors"},
    {BYTES("E\0\0\0\x13VERROR\0C42601\0\0" PARSED), "LL", "out of step"},
    {BYTES("E\0\0\0\x0b"
           "VERROR\0"),
     "LL", "malformed"},
    {BYTES(GOOD "E\0\0\0\x18"
                "VFATAL\0C57P01\0Mbye\0\0"),
     "DL", "bye"},
    {BYTES("N\0\0\0\x0b"
           "VDEBUG\0" GOOD),
     "LL", "malformed"},
    {BYTES("S\0\0\0\x06"
           "a\0" GOOD),
     "LL", "malformed"},
    {BYTES("A\0\0\0\x08\0\0\0\1" GOOD), "LL", "malformed"},
    {BYTES("S\0\0\0\x08"
           "a\0b\0"
           "N\0\0\0\x15VNOTICE\0C00000\0\0\0" GOOD GOOD),
     "LL", "malformed"},
    {BYTES("S\0\0\0\x08"
           "a\0b\0"
           "N\0\0\0\x14VNOTICE\0C00000\0\0"
           "A\0\0\0\x0c\0\0\0\1c\0p\0" GOOD GOOD),
     "DD", ""},
};

/* The same, where the columns were asked for in binary. */
static const struct lie binary_lies[] = {
    {BYTES(GOOD_BINARY GOOD_BINARY), "DD", ""},
    {BYTES(GOOD GOOD_BINARY), "DD", ""},
    {BYTES(GOOD_BINARY PARSED BOUND BINARY(INT4) ROW_42), "DL", "malformed"},
    {BYTES(PARSED BOUND BINARY(INT4) "D\0\0\0\x0a\0\1\0\0\0\0"), "LL", "malformed"},
    {BYTES(PARSED BOUND BINARY(BOOL) BINARY_42), "LL", "malformed"},
    {BYTES(PARSED BOUND BINARY(NUMERIC) BINARY_42), "LL", "malformed"},
    {BYTES(PARSED BOUND BINARY(TIMESTAMPTZ)), "LL", "malformed"},
};

static void assert_answered(const struct rig_flight *flight, char answer, const char *words)
{
  if (answer == 'D') {
    if (flight->answer != CENOTE_ANSWER_DONE) {
      fail_msg("%s", flight->error.message);
    }
    assert_int_equal(cenote_result_integer(flight->result, 0, 0), 42);
  } else if (answer == 'F') {
    assert_int_equal(flight->answer, CENOTE_ANSWER_FAILED);
    assert_string_equal(flight->error.sqlstate, "42601");
  } else {
    assert_int_equal(flight->answer, CENOTE_ANSWER_LOST);
    assert_int_equal(flight->error.status, CENOTE_CONNECTION_LOST);
    if (!strstr(flight->error.message, words)) {
      fail_msg("'%s' is not in '%s'", words, flight->error.message);
    }
  }
}

static void be_lied_to(const struct lie *lie, size_t piece, uint64_t binary)
{
  struct pg_liar liar;
  struct pg_rig pg = {.settings = NULL};
  struct rig_pipe pipe;
  struct rig_flight flights[2];
  struct rig_flight late;
  bool lost = strchr(lie->answers, 'L') != NULL;
  pg_liar_start(&liar, lie->script, lie->size, piece, strstr(lie->words, "closed") != NULL);
  cenote_connection *c = pg_rig_connect(&pg, liar.url);
  assert_int_equal(rig_pipe_begin(&pipe, &pg.rig, c, false, NULL), CENOTE_OK);
  assert_non_null(c->wire);
  for (int i = 0; i < 2; i++) {
    assert_int_equal(rig_pipe_push(&pipe, &flights[i], i ? "SELECT 43" : "SELECT 42", NULL, 0, 0),
                     CENOTE_OK);
    pg_flight_at(c->pipe, (size_t)i)->binary = binary;
  }
  while (pipe.count > 0) {
    assert_non_null(rig_pipe_next(&pipe));
  }
  for (int i = 0; i < 2; i++) {
    assert_answered(&flights[i], lie->answers[i], lie->words);
    rig_flight_free(&flights[i]);
  }
  assert_int_equal((pg_rig_session(&pg, c) & CENOTE_SESSION_BROKEN) != 0, lost);
  if (lost) {
    assert_int_equal(rig_pipe_push(&pipe, &late, "SELECT 1", NULL, 0, 0), CENOTE_CONNECTION_LOST);
  }
  rig_pipe_end(&pipe);
  assert_true(!lost || (pg_rig_session(&pg, c) & CENOTE_SESSION_BROKEN));
  pg_rig_end(&pg, c);
  pg_liar_stop(&liar);
}

static void what_does_not_fit_loses_the_connection_and_nothing_else(void **state)
{
  (void)state;
  for (size_t i = 0; i < sizeof(lies) / sizeof(*lies); i++) {
    print_message("# lie %zu\n", i);
    be_lied_to(&lies[i], 1 << 20, 0);
    be_lied_to(&lies[i], 1, 0);
  }
  for (size_t i = 0; i < sizeof(binary_lies) / sizeof(*binary_lies); i++) {
    print_message("# binary lie %zu\n", i);
    be_lied_to(&binary_lies[i], 1 << 20, 1);
    be_lied_to(&binary_lies[i], 1, 1);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(only_plaintext_sessions_do_without_libpq),
      cmocka_unit_test(where_the_setting_is_off_libpq_pipelines),
      cmocka_unit_test(what_is_pushed_is_sent_when_it_is_asked_what_to_wait_for),
      cmocka_unit_test(values_commands_and_errors_are_those_of_libpq),
      cmocka_unit_test(arguments_of_every_type_arrive),
      cmocka_unit_test(much_goes_both_ways_at_once_and_the_memory_is_given_back),
      cmocka_unit_test(settings_that_moved_make_the_session_dirty_and_a_reset_brings_them_back),
      cmocka_unit_test(notifications_disturb_neither_of_the_two),
      cmocka_unit_test(statements_prepared_by_one_serve_the_other),
      cmocka_unit_test(what_does_not_fit_loses_the_connection_and_nothing_else),
  };
  return pg_rig_main(&server, NULL, tests, sizeof(tests) / sizeof(tests[0]));
}
