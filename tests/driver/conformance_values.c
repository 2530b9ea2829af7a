/* Values in and out, placeholders, text of statements, ceilings and streams. */
#include "driver/conformance.h"

#include "base/limits.h"
#include "net/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* To the last bit: a real that went through text must be the same one. */
static uint64_t bits_of(double real)
{
  uint64_t bits;
  memcpy(&bits, &real, sizeof(bits));
  return bits;
}

/* Sends values out and compares what comes back. */
static void round_trip(struct bench *bench, const cenote_value *values, size_t count)
{
  cenote_result *result;
  cenote_error error = CENOTE_ERROR_INIT;
  size_t capacity = count * 24 + 64;
  char *sql = malloc(capacity);
  assert_non_null(sql);
  bench_select(bench, values, count, sql, capacity);
  if (rig_execute(&bench->rig, bench->connection, sql, values, count, 20000, &result, &error)) {
    fail_msg("%s: %s", sql, error.message);
  }
  free(sql);
  assert_int_equal(cenote_result_rows(result), 1);
  assert_int_equal(cenote_result_columns(result), count);
  for (size_t i = 0; i < count; i++) {
    cenote_value got = cenote_result_value(result, 0, i);
    cenote_type type = values[i].type;
    if (type == CENOTE_BOOLEAN && got.type == CENOTE_INTEGER) {
      assert_false(bench->subject->has & HAS_BOOLEANS);
      assert_int_equal(got.as.integer, values[i].as.boolean);
      continue;
    }
    assert_int_equal(got.type, type);
    switch (type) {
    case CENOTE_NULL:
      break;
    case CENOTE_INTEGER:
      assert_true(got.as.integer == values[i].as.integer);
      break;
    case CENOTE_REAL:
      assert_true(bits_of(got.as.real) == bits_of(values[i].as.real));
      break;
    case CENOTE_BOOLEAN:
      assert_int_equal(got.as.boolean, values[i].as.boolean);
      break;
    case CENOTE_TEXT:
    case CENOTE_BLOB:
      assert_int_equal(got.size, values[i].size);
      assert_memory_equal(got.as.blob, values[i].as.blob, got.size);
      assert_true(type == CENOTE_BLOB || got.as.text[got.size] == '\0');
      break;
    }
  }
  cenote_result_free(result);
}

static void values_of_every_type_come_back_as_they_went(void **state)
{
  struct bench *bench = bench_of(state);
  unsigned char bytes[256];
  for (size_t i = 0; i < sizeof(bytes); i++) {
    bytes[i] = (unsigned char)i;
  }
  const cenote_value values[] = {
      cenote_null(),
      cenote_integer(0),
      cenote_integer(-1),
      cenote_integer(INT64_MAX),
      cenote_integer(INT64_MIN),
      cenote_real(0.1),
      cenote_real(-1.7976931348623157e308),
      cenote_real(2.2250738585072014e-308),
      cenote_boolean(true),
      cenote_boolean(false),
      cenote_text(""),
      cenote_text("it's \"quoted\" \\ $1 ? ??"),
      cenote_text("caf\xc3\xa9 \xe6\xb0\xb4 \xf0\x9f\x92\xa7\n\t"),
      cenote_blob("", 0),
      cenote_blob(bytes, sizeof(bytes)),
  };
  round_trip(bench, values, sizeof(values) / sizeof(*values));
}

static void a_megabyte_of_text_and_bytes_comes_back(void **state)
{
  enum { SIZE = 1 << 20 };
  struct bench *bench = bench_of(state);
  char *text = malloc(SIZE);
  assert_non_null(text);
  for (size_t i = 0; i < SIZE; i++) {
    text[i] = (char)('a' + i % 26);
  }
  const cenote_value values[] = {cenote_text_n(text, SIZE), cenote_blob(text, SIZE)};
  round_trip(bench, values, 2);
  free(text);
}

static void two_hundred_columns_come_back(void **state)
{
  enum { COLUMNS = 200 };
  cenote_value values[COLUMNS];
  for (size_t i = 0; i < COLUMNS; i++) {
    values[i] = cenote_integer((int64_t)i);
  }
  round_trip(bench_of(state), values, COLUMNS);
}

static void both_kinds_of_placeholder_work(void **state)
{
  struct bench *bench = bench_of(state);
  const char *cast = bench->subject->casts[CENOTE_INTEGER];
  const cenote_value args[] = {cenote_integer(1), cenote_integer(2)};
  static const char *const forms[][2] = {{"?", "?"}, {"$1", "$2"}, {"?1", "?2"}};
  for (size_t i = 0; i < 3; i++) {
    char sql[96];
    cenote_result *result;
    snprintf(sql, sizeof(sql), "SELECT %s%s, %s%s -- ? $3", forms[i][0], cast, forms[i][1], cast);
    assert_int_equal(
        rig_execute(&bench->rig, bench->connection, sql, args, 2, 20000, &result, NULL), CENOTE_OK);
    assert_int_equal(cenote_result_integer(result, 0, 0), 1);
    assert_int_equal(cenote_result_integer(result, 0, 1), 2);
    cenote_result_free(result);
  }
}

static void mixed_placeholders_are_refused(void **state)
{
  struct bench *bench = bench_of(state);
  const cenote_value args[] = {cenote_integer(1), cenote_integer(2)};
  cenote_result *result;
  cenote_error error = CENOTE_ERROR_INIT;
  assert_int_equal(
      rig_execute(&bench->rig, bench->connection, "SELECT ?, $2", args, 2, 20000, &result, &error),
      CENOTE_INVALID);
  assert_null(result);
  bench_still_works(bench);
}

static void a_doubled_question_mark_is_one(void **state)
{
  struct bench *bench = bench_of(state);
  assert_int_equal(rig_integer(&bench->rig, bench->connection, bench->subject->literal_question),
                   1);
}

static void a_wrong_number_of_arguments_is_refused_with_both_numbers(void **state)
{
  struct bench *bench = bench_of(state);
  const cenote_value args[] = {cenote_integer(1), cenote_integer(2), cenote_integer(3)};
  char sql[64];
  bench_select(bench, args, 2, sql, sizeof(sql));
  for (size_t count = 0; count <= 3; count++) {
    cenote_result *result;
    cenote_error error = CENOTE_ERROR_INIT;
    cenote_status status =
        rig_execute(&bench->rig, bench->connection, sql, args, count, 20000, &result, &error);
    cenote_result_free(result);
    if (count == 2) {
      assert_int_equal(status, CENOTE_OK);
      continue;
    }
    char given[8];
    snprintf(given, sizeof(given), "%zu", count);
    assert_int_equal(status, CENOTE_INVALID);
    assert_non_null(strstr(error.message, "2"));
    assert_non_null(strstr(error.message, given));
  }
  bench_still_works(bench);
}

static void named_arguments_find_their_places(void **state)
{
  struct bench *bench = bench_of(state);
  cenote_value args[] = {cenote_integer(1), cenote_integer(2), cenote_integer(3)};
  cenote_result *result;
  cenote_error error = CENOTE_ERROR_INIT;
  args[0].name = "c";
  args[1].name = "b";
  args[2].name = "a";
  assert_int_equal(rig_execute(&bench->rig, bench->connection, "SELECT :a, @b, $c, :a", args, 3,
                               20000, &result, &error),
                   CENOTE_OK);
  assert_int_equal(cenote_result_integer(result, 0, 0), 3);
  assert_int_equal(cenote_result_integer(result, 0, 1), 2);
  assert_int_equal(cenote_result_integer(result, 0, 2), 1);
  assert_int_equal(cenote_result_integer(result, 0, 3), 3);
  cenote_result_free(result);
  args[2].name = "nobody";
  assert_int_equal(rig_execute(&bench->rig, bench->connection, "SELECT :a, @b, $c", args, 3, 20000,
                               &result, &error),
                   CENOTE_INVALID);
  assert_non_null(strstr(error.message, "nobody"));
}

static void an_error_leaves_the_connection_usable(void **state)
{
  struct bench *bench = bench_of(state);
  for (int i = 0; i < 3; i++) {
    cenote_result *result;
    cenote_error error = CENOTE_ERROR_INIT;
    assert_int_equal(rig_execute(&bench->rig, bench->connection, bench->subject->wrong, NULL, 0,
                                 20000, &result, &error),
                     CENOTE_DATABASE);
    assert_null(result);
    assert_string_equal(error.sqlstate, "42601");
    assert_true(error.message[0] != '\0');
    bench_still_works(bench);
  }
  assert_int_equal(bench_session(bench) & ~(unsigned)CENOTE_SESSION_DIRTY, 0);
}

static void an_empty_statement_is_refused(void **state)
{
  static const char *const texts[] = {"", "  \n", "-- nothing", ";", "/* ; */ ;"};
  struct bench *bench = bench_of(state);
  for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
    assert_int_equal(rig_do(&bench->rig, bench->connection, texts[i]), CENOTE_INVALID);
  }
  bench_still_works(bench);
}

static void one_request_is_one_statement(void **state)
{
  struct bench *bench = bench_of(state);
  assert_int_equal(rig_do(&bench->rig, bench->connection, "SELECT 1; SELECT 2"), CENOTE_INVALID);
  assert_int_equal(rig_do(&bench->rig, bench->connection, "SELECT 1; -- 2"), CENOTE_OK);
  assert_int_equal(rig_do(&bench->rig, bench->connection, " SELECT 1 ; ;"), CENOTE_OK);
  bench_still_works(bench);
}

static void a_ceiling_stops_the_statement_and_not_the_connection(void **state)
{
  struct bench *bench = bench_of(state);
  const uint64_t ceilings[][2] = {{10, 0}, {0, 1000}};
  for (size_t i = 0; i < 2; i++) {
    struct cenote_sink sink;
    cenote_error error = CENOTE_ERROR_INIT;
    cenote_request request = {.size = sizeof(request),
                              .kind = CENOTE_REQUEST_EXECUTE,
                              .sql = bench->subject->rows_10000,
                              .sink = &sink,
                              .deadline_ns = CEN_NEVER};
    assert_int_equal(cen_sink_init_result(&sink, ceilings[i][0], ceilings[i][1], NULL), CENOTE_OK);
    assert_int_equal(rig_run(&bench->rig, bench->connection, &request, &error), CENOTE_TOO_LARGE);
    cen_sink_deinit(&sink);
    bench_still_works(bench);
  }
}

struct stream {
  int64_t rows;
  int64_t stop_at;
  bool in_order;
};

static bool take_row(void *context, const char *const *names, const cenote_value *values,
                     size_t columns)
{
  struct stream *stream = context;
  stream->rows++;
  stream->in_order = stream->in_order && columns == 1 && names[0] &&
                     values[0].type == CENOTE_INTEGER && values[0].as.integer == stream->rows;
  return stream->rows != stream->stop_at;
}

static cenote_status run_stream(struct bench *bench, struct stream *stream)
{
  struct cenote_sink sink;
  cenote_request request = {.size = sizeof(request),
                            .kind = CENOTE_REQUEST_EXECUTE,
                            .flags = CENOTE_REQUEST_STREAM,
                            .sql = bench->subject->rows_10000,
                            .sink = &sink,
                            .deadline_ns = CEN_NEVER};
  cen_sink_init_stream(&sink, take_row, stream);
  cenote_status status = rig_run(&bench->rig, bench->connection, &request, NULL);
  cen_sink_deinit(&sink);
  return status;
}

static void rows_stream_in_order_until_the_callback_stops(void **state)
{
  struct bench *bench = bench_of(state);
  struct stream all = {.in_order = true};
  struct stream five = {.in_order = true, .stop_at = 5};
  assert_int_equal(run_stream(bench, &all), CENOTE_OK);
  assert_int_equal(all.rows, 10000);
  assert_true(all.in_order);
  assert_int_equal(run_stream(bench, &five), CENOTE_CANCELLED);
  assert_int_equal(five.rows, 5);
  bench_still_works(bench);
}

static void raw_text_is_the_databases_own(void **state)
{
  struct bench *bench = bench_of(state);
  struct cenote_sink sink;
  cenote_request request = {.size = sizeof(request),
                            .kind = CENOTE_REQUEST_EXECUTE,
                            .flags = CENOTE_REQUEST_RAW_TEXT,
                            .sql = "SELECT 42, 'x', NULL",
                            .sink = &sink,
                            .deadline_ns = CEN_NEVER};
  assert_int_equal(cen_sink_init_result(&sink, 0, 0, NULL), CENOTE_OK);
  assert_int_equal(rig_run(&bench->rig, bench->connection, &request, NULL), CENOTE_OK);
  cenote_value value = cenote_result_value(sink.result, 0, 0);
  assert_int_equal(value.type, CENOTE_TEXT);
  assert_string_equal(value.as.text, "42");
  assert_int_equal(cenote_result_value(sink.result, 0, 2).type, CENOTE_NULL);
  cen_sink_deinit(&sink);
}

static void more_statements_than_the_cache_holds_all_work(void **state)
{
  struct bench *bench = bench_of(state);
  for (int round = 0; round < 3; round++) {
    for (int i = 0; i < CEN_STATEMENT_CACHE + 40; i++) {
      char sql[64];
      snprintf(sql, sizeof(sql), "SELECT %d", i);
      assert_int_equal(rig_integer(&bench->rig, bench->connection, sql), i);
    }
    if (bench->subject->driver->shrink) {
      bench->subject->driver->shrink(bench->connection);
    }
  }
}

const struct bench_test value_tests[] = {
    BENCH_TEST(values_of_every_type_come_back_as_they_went, 0),
    BENCH_TEST(a_megabyte_of_text_and_bytes_comes_back, 0),
    BENCH_TEST(two_hundred_columns_come_back, 0),
    BENCH_TEST(both_kinds_of_placeholder_work, 0),
    BENCH_TEST(mixed_placeholders_are_refused, 0),
    BENCH_TEST(a_doubled_question_mark_is_one, HAS_QUESTION_MARKS),
    BENCH_TEST(a_wrong_number_of_arguments_is_refused_with_both_numbers, 0),
    BENCH_TEST(named_arguments_find_their_places, HAS_NAMED_ARGUMENTS),
    BENCH_TEST(an_error_leaves_the_connection_usable, 0),
    BENCH_TEST(an_empty_statement_is_refused, 0),
    BENCH_TEST(one_request_is_one_statement, 0),
    BENCH_TEST(a_ceiling_stops_the_statement_and_not_the_connection, 0),
    BENCH_TEST(rows_stream_in_order_until_the_callback_stops, 0),
    BENCH_TEST(raw_text_is_the_databases_own, HAS_RAW_TEXT),
    BENCH_TEST(more_statements_than_the_cache_holds_all_work, 0),
};
const size_t value_tests_count = sizeof(value_tests) / sizeof(*value_tests);
