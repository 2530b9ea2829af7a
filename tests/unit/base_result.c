/* base_result.c - building, bounding, reading and streaming results. */
#include "base/error.h"
#include "base/limits.h"
#include "base/result.h"
#include "base/rng.h"

#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct cenote_sink sink;
static cenote_error error;

static const cenote_column three[] = {{.name = "id", .type = "integer", .oid = 23},
                                      {.name = "name", .oid = 25},
                                      {.name = NULL, .type = "bytea", .oid = 17}};

static int begin(void **state)
{
  (void)state;
  error = (cenote_error)CENOTE_ERROR_INIT;
  return cen_sink_init_result(&sink, 0, 0, &error) == CENOTE_OK ? 0 : -1;
}

static int end(void **state)
{
  (void)state;
  cen_sink_deinit(&sink);
  return 0;
}

static void bound(uint64_t max_rows, uint64_t max_bytes)
{
  cen_sink_deinit(&sink);
  assert_int_equal(cen_sink_init_result(&sink, max_rows, max_bytes, &error), CENOTE_OK);
}

static void columns_keep_their_names_types_and_numbers(void **state)
{
  (void)state;
  char name[] = "copied";
  cenote_column column = {.name = name, .oid = 1};
  assert_int_equal(cenote_sink_columns(&sink, &column, 1, &error), CENOTE_OK);
  name[0] = 'X';
  assert_string_equal(cenote_result_column_name(sink.result, 0), "copied");
  assert_int_equal(cenote_sink_columns(&sink, three, 3, &error), CENOTE_OK); /* before a row */
  assert_int_equal(cenote_result_columns(sink.result), 3);
  assert_string_equal(cenote_result_column_name(sink.result, 1), "name");
  assert_string_equal(cenote_result_column_name(sink.result, 2), "");
  assert_null(cenote_result_column_type(sink.result, 1));
  assert_string_equal(cenote_result_column_type(sink.result, 2), "bytea");
  assert_int_equal(cenote_result_column_oid(sink.result, 0), 23);
}

static void the_same_columns_again_change_nothing_others_are_refused(void **state)
{
  (void)state;
  cenote_value row[3] = {cenote_integer(1), cenote_text("a"), cenote_null()};
  assert_int_equal(cenote_sink_columns(&sink, three, 3, &error), CENOTE_OK);
  assert_int_equal(cenote_sink_row(&sink, row, 3, &error), CENOTE_OK);
  assert_int_equal(cenote_sink_columns(&sink, three, 3, &error), CENOTE_OK);
  assert_int_equal(cenote_sink_row(&sink, row, 3, &error), CENOTE_OK);
  assert_int_equal(cenote_result_rows(sink.result), 2);
  assert_int_equal(cenote_sink_columns(&sink, three, 2, &error), CENOTE_INTERNAL);
  cenote_column other[] = {three[0], three[1], {.name = "", .type = "text", .oid = 17}};
  assert_int_equal(cenote_sink_columns(&sink, other, 3, &error), CENOTE_INTERNAL);
  other[2] = (cenote_column){.name = "", .type = "bytea", .oid = 18};
  assert_int_equal(cenote_sink_columns(&sink, other, 3, &error), CENOTE_INTERNAL);
  assert_string_equal(cenote_result_text(sink.result, 1, 1), "a");
}

static void a_row_is_read_at_once(void **state)
{
  (void)state;
  const cenote_value row[3] = {cenote_integer(1), cenote_text("a"), cenote_null()};
  cenote_value read[4];
  assert_int_equal(cenote_sink_columns(&sink, three, 3, &error), CENOTE_OK);
  assert_int_equal(cenote_sink_row(&sink, row, 3, &error), CENOTE_OK);
  assert_int_equal(cenote_result_row(sink.result, 0, read, 4), 3);
  assert_int_equal(read[0].as.integer, 1);
  assert_string_equal(read[1].as.text, "a");
  assert_int_equal(read[2].type, CENOTE_NULL);
  read[1] = cenote_integer(7);
  assert_int_equal(cenote_result_row(sink.result, 0, read, 1), 1);
  assert_int_equal(read[1].as.integer, 7);
  assert_int_equal(cenote_result_row(sink.result, 1, read, 4), 0);
  assert_int_equal(cenote_result_row(NULL, 0, read, 4), 0);
}

static void columns_have_a_ceiling(void **state)
{
  (void)state;
  static cenote_column columns[CEN_MAX_COLUMNS + 1];
  static cenote_value values[CEN_MAX_COLUMNS];
  for (size_t i = 0; i <= CEN_MAX_COLUMNS; i++) {
    columns[i].name = "c";
  }
  for (size_t i = 0; i < CEN_MAX_COLUMNS; i++) {
    values[i] = cenote_integer((int64_t)i);
  }
  assert_int_equal(cenote_sink_columns(&sink, columns, CEN_MAX_COLUMNS + 1, &error),
                   CENOTE_TOO_LARGE);
  assert_non_null(strstr(error.message, "4096"));
  assert_int_equal(cenote_sink_columns(&sink, columns, CEN_MAX_COLUMNS, &error), CENOTE_OK);
  for (int i = 0; i < 5; i++) {
    assert_int_equal(cenote_sink_row(&sink, values, CEN_MAX_COLUMNS, &error), CENOTE_OK);
  }
  assert_int_equal(cenote_result_integer(sink.result, 4, CEN_MAX_COLUMNS - 1), CEN_MAX_COLUMNS - 1);
}

static void rows_one_past_the_ceiling_are_refused_by_name(void **state)
{
  (void)state;
  cenote_value row[1] = {cenote_integer(1)};
  bound(3, 0);
  assert_int_equal(cenote_sink_columns(&sink, three, 1, &error), CENOTE_OK);
  for (int i = 0; i < 3; i++) {
    assert_int_equal(cenote_sink_row(&sink, row, 1, &error), CENOTE_OK);
  }
  assert_int_equal(cenote_sink_row(&sink, row, 1, &error), CENOTE_TOO_LARGE);
  assert_non_null(strstr(error.message, "max_result_rows=3"));
  assert_false(error.retryable);
  assert_int_equal(cen_sink_rows(&sink), 3);
}

static void bytes_one_past_the_ceiling_are_refused_by_name(void **state)
{
  (void)state;
  /* "id" and "integer" are 9; a row is 16 and its text 10 with the NUL */
  cenote_value row[1] = {cenote_text("123456789")};
  bound(0, 9 + 2 * 26);
  assert_int_equal(cenote_sink_columns(&sink, three, 1, &error), CENOTE_OK);
  assert_int_equal(cenote_sink_row(&sink, row, 1, &error), CENOTE_OK);
  assert_int_equal(cenote_sink_row(&sink, row, 1, &error), CENOTE_OK);
  row[0] = cenote_null();
  assert_int_equal(cenote_sink_row(&sink, row, 1, &error), CENOTE_TOO_LARGE);
  assert_non_null(strstr(error.message, "max_result_bytes=61"));
  bound(0, 9 + 2 * 26 - 1);
  row[0] = cenote_blob("123456789", 9);
  assert_int_equal(cenote_sink_columns(&sink, three, 1, &error), CENOTE_OK);
  assert_int_equal(cenote_sink_row(&sink, row, 1, &error), CENOTE_OK);
  assert_int_equal(cenote_sink_row(&sink, row, 1, &error), CENOTE_TOO_LARGE);
  /* a huge size is refused before a byte is read or allocated */
  row[0].size = UINT32_MAX;
  assert_int_equal(cenote_sink_row(&sink, row, 1, &error), CENOTE_TOO_LARGE);
}

static void rows_that_do_not_fit_the_columns_are_refused(void **state)
{
  (void)state;
  cenote_value row[3] = {cenote_integer(1), cenote_text("a"), cenote_null()};
  assert_int_equal(cenote_sink_row(&sink, row, 1, &error), CENOTE_INTERNAL);
  assert_int_equal(cenote_sink_columns(&sink, three, 3, &error), CENOTE_OK);
  assert_int_equal(cenote_sink_row(&sink, row, 2, &error), CENOTE_INTERNAL);
  row[1].type = (cenote_type)6;
  assert_int_equal(cenote_sink_row(&sink, row, 3, &error), CENOTE_INTERNAL);
  assert_int_equal(cen_sink_rows(&sink), 0);
  cenote_result_free(cen_sink_take(&sink));
  row[1] = cenote_null();
  assert_int_equal(cenote_sink_row(&sink, row, 3, &error), CENOTE_INTERNAL);
  assert_int_equal(cenote_sink_columns(&sink, three, 3, &error), CENOTE_INTERNAL);
  assert_null(cen_sink_take(&sink));
  assert_int_equal(cenote_sink_columns(NULL, three, 3, &error), CENOTE_OK);
  assert_int_equal(cenote_sink_row(NULL, row, 3, &error), CENOTE_OK);
  cenote_sink_complete(NULL, 1, 1, "X");
  cenote_sink_complete(&sink, 1, 1, "X");
}

/* What the row and column of a random result hold, without keeping it anywhere. */
static cenote_value model_value(uint64_t seed, size_t row, size_t column, char text[64])
{
  struct cen_rng rng;
  cen_rng_seed(&rng, seed ^ (row << 20) ^ column);
  uint64_t bits = cen_rng_next(&rng);
  size_t size = cen_rng_below(&rng, 60);
  memset(text, 'a' + (int)(bits % 26), 64);
  switch (cen_rng_below(&rng, 6)) {
  case 0:
    return cenote_null();
  case 1:
    return cenote_integer((int64_t)bits);
  case 2:
    return cenote_real((double)bits);
  case 3:
    return cenote_boolean((bits & 1) != 0);
  case 4:
    return cenote_text_n(text, size);
  default:
    return cenote_blob(text, size);
  }
}

static void check_value(cenote_value found, cenote_value expected)
{
  assert_int_equal(found.type, expected.type);
  assert_int_equal(found.size, expected.size);
  assert_null(found.name);
  switch (expected.type) {
  case CENOTE_NULL:
    break;
  case CENOTE_INTEGER:
    assert_true(found.as.integer == expected.as.integer);
    break;
  case CENOTE_REAL:
    assert_true(found.as.real == expected.as.real);
    break;
  case CENOTE_BOOLEAN:
    assert_true(found.as.boolean == expected.as.boolean);
    break;
  case CENOTE_TEXT:
    assert_int_equal(found.as.text[found.size], '\0');
    assert_memory_equal(found.as.text, expected.as.text, expected.size);
    break;
  case CENOTE_BLOB:
    assert_non_null(found.as.blob);
    assert_memory_equal(found.as.blob, expected.as.blob, expected.size);
    break;
  }
}

static void every_cell_comes_back_whatever_the_shape(void **state)
{
  (void)state;
  static const size_t shapes[][2] = {{1, 1},   {1, 5000}, {2, 17},  {3, 1000},
                                     {7, 333}, {33, 65},  {100, 9}, {1000, 3}};
  for (size_t shape = 0; shape < sizeof(shapes) / sizeof(shapes[0]); shape++) {
    size_t columns = shapes[shape][0], rows = shapes[shape][1];
    cenote_column *names = calloc(columns, sizeof(*names));
    cenote_value *values = calloc(columns, sizeof(*values));
    char(*texts)[64] = calloc(columns, sizeof(*texts));
    bound(0, 0);
    assert_int_equal(cenote_sink_columns(&sink, names, columns, &error), CENOTE_OK);
    for (size_t row = 0; row < rows; row++) {
      for (size_t column = 0; column < columns; column++) {
        values[column] = model_value(shape, row, column, texts[column]);
        values[column].name = "not kept";
      }
      assert_int_equal(cenote_sink_row(&sink, values, columns, &error), CENOTE_OK);
    }
    cenote_result *result = cen_sink_take(&sink);
    assert_int_equal(cenote_result_rows(result), rows);
    for (size_t row = 0; row < rows; row++) {
      for (size_t column = 0; column < columns; column++) {
        char text[64];
        check_value(cenote_result_value(result, row, column),
                    model_value(shape, row, column, text));
      }
    }
    cenote_result_free(result);
    free(names);
    free(values);
    free(texts);
  }
}

static void large_values_lie_beside_small_ones(void **state)
{
  (void)state;
  enum { LARGE = 3 << 20 };
  char *large = malloc(LARGE);
  memset(large, 'L', LARGE);
  cenote_value row[2] = {cenote_text_n(large, LARGE), cenote_text("small")};
  assert_int_equal(cenote_sink_columns(&sink, three, 2, &error), CENOTE_OK);
  for (int i = 0; i < 4; i++) {
    assert_int_equal(cenote_sink_row(&sink, row, 2, &error), CENOTE_OK);
  }
  free(large);
  for (size_t i = 0; i < 4; i++) {
    cenote_value value = cenote_result_value(sink.result, i, 0);
    assert_int_equal(value.size, LARGE);
    assert_int_equal(value.as.text[LARGE - 1], 'L');
    assert_int_equal(value.as.text[LARGE], '\0');
    assert_string_equal(cenote_result_text(sink.result, i, 1), "small");
  }
}

static void a_result_without_columns_may_have_rows(void **state)
{
  (void)state;
  bound(2, 0);
  assert_int_equal(cenote_sink_columns(&sink, NULL, 0, &error), CENOTE_OK);
  assert_int_equal(cenote_sink_row(&sink, NULL, 0, &error), CENOTE_OK);
  assert_int_equal(cenote_sink_row(&sink, NULL, 0, &error), CENOTE_OK);
  assert_int_equal(cenote_sink_row(&sink, NULL, 0, &error), CENOTE_TOO_LARGE);
  assert_int_equal(cenote_result_rows(sink.result), 2);
  assert_int_equal(cenote_result_value(sink.result, 0, 0).type, CENOTE_NULL);
}

static void check_nothing_there(const cenote_result *result, size_t row, size_t column)
{
  assert_int_equal(cenote_result_value(result, row, column).type, CENOTE_NULL);
  assert_int_equal(cenote_result_integer(result, row, column), 0);
  assert_true(cenote_result_real(result, row, column) == 0);
  assert_null(cenote_result_text(result, row, column));
}

static void every_question_has_an_answer(void **state)
{
  (void)state;
  cenote_value row[3] = {cenote_integer(1), cenote_text("a"), cenote_null()};
  assert_int_equal(cenote_sink_columns(&sink, three, 3, &error), CENOTE_OK);
  check_nothing_there(sink.result, 0, 0);
  assert_int_equal(cenote_sink_row(&sink, row, 3, &error), CENOTE_OK);
  check_nothing_there(sink.result, 0, 3);
  check_nothing_there(sink.result, 1, 0);
  check_nothing_there(sink.result, SIZE_MAX, SIZE_MAX);
  check_nothing_there(NULL, 0, 0);
  assert_null(cenote_result_column_name(sink.result, 3));
  assert_null(cenote_result_column_type(sink.result, 3));
  assert_int_equal(cenote_result_column_oid(sink.result, 3), 0);
  assert_int_equal(cenote_result_columns(NULL), 0);
  assert_int_equal(cenote_result_rows(NULL), 0);
  assert_null(cenote_result_column_name(NULL, 0));
  assert_null(cenote_result_column_type(NULL, 0));
  assert_int_equal(cenote_result_column_oid(NULL, 0), 0);
  assert_int_equal(cenote_result_affected_rows(NULL), 0);
  assert_int_equal(cenote_result_last_insert_id(NULL), 0);
  assert_string_equal(cenote_result_command(NULL), "");
  cenote_result_free(NULL);
  cenote_results_free(NULL, 3);
  cenote_string_free(NULL);
}

static void text_that_is_a_number_reads_as_one(void **state)
{
  (void)state;
  static const struct {
    const char *text;
    int64_t integer;
    double real;
  } rows[] = {
      {"42", 42, 42},
      {"-9223372036854775808", INT64_MIN, -9223372036854775808.0},
      {"12.75", 12, 12.75},
      {"1e3", 1000, 1000},
      {"9223372036854775808", 0, 9223372036854775808.0},
      {"1e400", 0, 0},
      {"12 apples", 0, 0},
      {"", 0, 0},
      {"0x10", 0, 0},
      {"true", 0, 0},
  };
  assert_int_equal(cenote_sink_columns(&sink, three, 1, &error), CENOTE_OK);
  for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
    cenote_value value = cenote_text(rows[i].text);
    assert_int_equal(cenote_sink_row(&sink, &value, 1, &error), CENOTE_OK);
    assert_true(cenote_result_integer(sink.result, i, 0) == rows[i].integer);
    assert_true(cenote_result_real(sink.result, i, 0) == rows[i].real);
  }
  cenote_value hidden = cenote_text_n("12\0"
                                      "34",
                                      5);
  assert_int_equal(cenote_sink_row(&sink, &hidden, 1, &error), CENOTE_OK);
  assert_int_equal(cenote_result_integer(sink.result, cenote_result_rows(sink.result) - 1, 0), 0);
}

static void numbers_read_as_each_other_and_as_text(void **state)
{
  (void)state;
  const struct {
    cenote_value value;
    int64_t integer;
    double real;
    const char *text;
  } rows[] = {
      {cenote_integer(INT64_MIN), INT64_MIN, -9223372036854775808.0, "-9223372036854775808"},
      {cenote_real(2.9), 2, 2.9, "2.9"},
      {cenote_real(-2.9), -2, -2.9, "-2.9"},
      {cenote_real(9223372036854775808.0), 0, 9223372036854775808.0, "9.22337203685478e+18"},
      {cenote_real(-9223372036854775808.0), INT64_MIN, -9223372036854775808.0,
       "-9.22337203685478e+18"},
      {cenote_boolean(true), 1, 1, "true"},
      {cenote_boolean(false), 0, 0, "false"},
      {cenote_null(), 0, 0, NULL},
      {cenote_blob("12", 2), 0, 0, NULL},
  };
  size_t count = sizeof(rows) / sizeof(rows[0]);
  assert_int_equal(cenote_sink_columns(&sink, three, 1, &error), CENOTE_OK);
  for (size_t i = 0; i < count; i++) {
    assert_int_equal(cenote_sink_row(&sink, &rows[i].value, 1, &error), CENOTE_OK);
  }
  for (size_t i = 0; i < count; i++) {
    assert_true(cenote_result_integer(sink.result, i, 0) == rows[i].integer);
    assert_true(cenote_result_real(sink.result, i, 0) == rows[i].real);
    const char *text = cenote_result_text(sink.result, i, 0);
    if (rows[i].text == NULL) {
      assert_null(text);
    } else if (rows[i].value.type == CENOTE_REAL) {
      assert_true(strtod(text, NULL) == rows[i].real);
    } else {
      assert_string_equal(text, rows[i].text);
    }
    assert_ptr_equal(cenote_result_text(sink.result, i, 0), text); /* the same for life */
  }
}

static void what_is_no_number_reads_as_integer_zero(void **state)
{
  (void)state;
  cenote_value values[3] = {cenote_real(NAN), cenote_real(INFINITY), cenote_real(-INFINITY)};
  assert_int_equal(cenote_sink_columns(&sink, three, 3, &error), CENOTE_OK);
  assert_int_equal(cenote_sink_row(&sink, values, 3, &error), CENOTE_OK);
  for (size_t i = 0; i < 3; i++) {
    assert_int_equal(cenote_result_integer(sink.result, 0, i), 0);
  }
  assert_true(isinf(cenote_result_real(sink.result, 0, 1)));
}

static void *read_as_text(void *argument)
{
  const cenote_result *result = argument;
  for (size_t i = 0; i < cenote_result_rows(result); i++) {
    char expected[24];
    snprintf(expected, sizeof(expected), "%zu", i);
    const char *text = cenote_result_text(result, i, 0);
    if (text == NULL || strcmp(text, expected) != 0) {
      return argument;
    }
  }
  return NULL;
}

static void several_threads_read_one_result(void **state)
{
  (void)state;
  assert_int_equal(cenote_sink_columns(&sink, three, 1, &error), CENOTE_OK);
  for (int64_t i = 0; i < 2000; i++) {
    cenote_value value = cenote_integer(i);
    assert_int_equal(cenote_sink_row(&sink, &value, 1, &error), CENOTE_OK);
  }
  cenote_result *result = cen_sink_take(&sink);
  pthread_t threads[4];
  for (int i = 0; i < 4; i++) {
    assert_int_equal(pthread_create(&threads[i], NULL, read_as_text, result), 0);
  }
  for (int i = 0; i < 4; i++) {
    void *answer;
    pthread_join(threads[i], &answer);
    assert_null(answer);
  }
  cenote_result_free(result);
}

static void completion_is_kept_and_a_restart_forgets_it(void **state)
{
  (void)state;
  cenote_value row[1] = {cenote_integer(1)};
  for (int round = 0; round < 3; round++) {
    assert_int_equal(cenote_sink_columns(&sink, three, 1, &error), CENOTE_OK);
    for (int i = 0; i < 100; i++) {
      assert_int_equal(cenote_sink_row(&sink, row, 1, &error), CENOTE_OK);
    }
    cenote_sink_complete(&sink, 5, 7, "INSERT 0 5");
    assert_int_equal(cenote_result_affected_rows(sink.result), 5);
    assert_int_equal(cenote_result_last_insert_id(sink.result), 7);
    assert_string_equal(cenote_result_command(sink.result), "INSERT 0 5");
    assert_string_equal(cenote_result_text(sink.result, 99, 0), "1");
    assert_int_equal(cenote_result_rows(sink.result), 100);
    assert_int_equal(cen_sink_restart(&sink, &error), CENOTE_OK);
    assert_int_equal(cenote_result_rows(sink.result), 0);
    assert_int_equal(cenote_result_columns(sink.result), 0);
    assert_int_equal(cenote_result_affected_rows(sink.result), 0);
    assert_string_equal(cenote_result_command(sink.result), "");
    /* after it the columns may be others */
    assert_int_equal(cenote_sink_columns(&sink, three, 3, &error), CENOTE_OK);
    assert_int_equal(cen_sink_restart(&sink, &error), CENOTE_OK);
  }
  char longer[200];
  memset(longer, 'C', sizeof(longer) - 1);
  longer[sizeof(longer) - 1] = '\0';
  cenote_sink_complete(&sink, 0, 0, longer);
  assert_int_equal(strlen(cenote_result_command(sink.result)), 63);
  cenote_sink_complete(&sink, 0, 0, NULL);
  assert_string_equal(cenote_result_command(sink.result), "");
}

/* One row into a result of its own; the first is there already. */
static cenote_status add_result(int64_t value, bool first)
{
  cenote_value row[1] = {cenote_integer(value)};
  cenote_status status = first ? CENOTE_OK : cenote_sink_next(&sink, &error);
  if (status == CENOTE_OK) {
    status = cenote_sink_columns(&sink, three, 1, &error);
  }
  if (status == CENOTE_OK) {
    status = cenote_sink_row(&sink, row, 1, &error);
  }
  cenote_sink_complete(&sink, value, 0, "SELECT 1");
  return status;
}

static void results_of_a_script_are_a_chain_that_a_restart_forgets(void **state)
{
  (void)state;
  for (int round = 0; round < 2; round++) {
    for (int i = 0; i < 3; i++) {
      assert_int_equal(add_result(i, i == 0), CENOTE_OK);
    }
    assert_int_equal(cen_sink_rows(&sink), 3);
    if (round == 0) {
      assert_int_equal(cen_sink_restart(&sink, &error), CENOTE_OK);
      assert_int_equal(cen_sink_rows(&sink), 0);
    }
  }
  cenote_result *first = cen_sink_take(&sink);
  const cenote_result *at = first;
  for (int i = 0; i < 3; i++, at = cenote_result_next(at)) {
    assert_int_equal(cenote_result_integer(at, 0, 0), i);
    assert_int_equal(cenote_result_affected_rows(at), i);
  }
  assert_null(at);
  assert_null(cenote_result_next(NULL));
  cenote_result_free(first);
}

static void the_ceilings_hold_for_a_scripts_results_together(void **state)
{
  (void)state;
  sink.max_rows = 2;
  assert_int_equal(add_result(0, true), CENOTE_OK);
  assert_int_equal(add_result(1, false), CENOTE_OK);
  assert_int_equal(add_result(2, false), CENOTE_TOO_LARGE);
  assert_non_null(strstr(error.message, "max_result_rows"));
  cen_sink_deinit(&sink);
  assert_int_equal(cen_sink_init_result(&sink, 0, 10000, &error), CENOTE_OK);
  int count = 1;
  assert_int_equal(add_result(0, true), CENOTE_OK);
  while (count < 100 && cenote_sink_next(&sink, &error) == CENOTE_OK) {
    count++; /* a result without rows counts as well */
  }
  assert_int_equal(count, 5);
  assert_non_null(strstr(error.message, "max_result_bytes"));
  cen_sink_deinit(&sink);
  cen_sink_init_stream(&sink, NULL, NULL);
  assert_int_equal(cenote_sink_next(&sink, &error), CENOTE_UNSUPPORTED);
}

/* --------------------------------------------------------------- streaming */

struct seen {
  int rows, stop_after;
  char last[64];
};

static bool see_row(void *context, const char *const *names, const cenote_value *values,
                    size_t columns)
{
  struct seen *seen = context;
  assert_int_equal(columns, 3);
  assert_string_equal(names[0], "id");
  assert_string_equal(names[2], "");
  assert_int_equal(values[0].as.integer, seen->rows);
  assert_int_equal(values[1].as.text[values[1].size], '\0');
  assert_null(values[1].name);
  memcpy(seen->last, values[1].as.text, values[1].size + 1);
  seen->rows++;
  return seen->rows != seen->stop_after;
}

static cenote_status stream_row(int number)
{
  char text[8] = "abcdefg";
  text[7] = '!'; /* what follows the text is no NUL */
  cenote_value row[3] = {cenote_integer(number), cenote_text_n(text, (size_t)number % 8),
                         cenote_blob(NULL, 0)};
  row[1].name = "not handed on";
  return cenote_sink_row(&sink, row, 3, &error);
}

static void streamed_rows_are_seen_and_not_kept(void **state)
{
  (void)state;
  struct seen seen = {0};
  cen_sink_deinit(&sink);
  cen_sink_init_stream(&sink, see_row, &seen);
  assert_int_equal(cen_sink_restart(&sink, &error), CENOTE_OK);
  assert_int_equal(cenote_sink_columns(&sink, three, 3, &error), CENOTE_OK);
  assert_int_equal(cen_sink_restart(&sink, &error), CENOTE_OK);
  assert_int_equal(cenote_sink_columns(&sink, three, 3, &error), CENOTE_OK);
  for (int i = 0; i < 100; i++) {
    assert_int_equal(stream_row(i), CENOTE_OK);
  }
  cenote_sink_complete(&sink, 100, 0, "SELECT 100");
  assert_int_equal(seen.rows, 100);
  assert_string_equal(seen.last, "abc");
  assert_int_equal(cen_sink_rows(&sink), 100);
  /* what was delivered cannot be delivered again */
  assert_int_equal(cen_sink_restart(&sink, &error), CENOTE_INVALID);
  /* what remains are columns and counts */
  cenote_result *summary = cen_sink_take(&sink);
  assert_int_equal(cenote_result_columns(summary), 3);
  assert_int_equal(cenote_result_rows(summary), 0);
  assert_int_equal(cenote_result_affected_rows(summary), 100);
  assert_int_equal(cenote_result_value(summary, 0, 0).type, CENOTE_NULL);
  cenote_result_free(summary);
  assert_null(cen_sink_take(&sink));
}

static void a_callback_that_answers_false_is_not_called_again(void **state)
{
  (void)state;
  struct seen seen = {.stop_after = 3};
  cen_sink_deinit(&sink);
  cen_sink_init_stream(&sink, see_row, &seen);
  assert_int_equal(stream_row(0), CENOTE_INTERNAL); /* no columns yet */
  assert_int_equal(cenote_sink_columns(&sink, three, 3, &error), CENOTE_OK);
  assert_int_equal(stream_row(0), CENOTE_OK);
  assert_int_equal(stream_row(1), CENOTE_OK);
  assert_int_equal(stream_row(2), CENOTE_CANCELLED);
  assert_int_equal(error.status, CENOTE_CANCELLED);
  assert_int_equal(stream_row(3), CENOTE_CANCELLED);
  assert_int_equal(seen.rows, 3);
  assert_true(sink.stopped);
}

static void a_column_keeps_all_that_was_told_of_it(void **state)
{
  (void)state;
  const cenote_column told[] = {{.name = "id",
                                 .type = "integer",
                                 .oid = 23,
                                 .table_oid = 4000000000u,
                                 .attribute = 7,
                                 .type_size = 4,
                                 .modifier = 0},
                                {.name = "t", .oid = 1043, .type_size = -1, .modifier = 24},
                                {.name = "of SQLite", .type = "TEXT"}};
  cenote_column column = told[0];
  assert_int_equal(cenote_sink_columns(&sink, told, 3, &error), CENOTE_OK);
  cenote_result *result = cen_sink_take(&sink);
  assert_true(cenote_result_column(result, 0, &column));
  assert_string_equal(column.name, "id");
  assert_string_equal(column.type, "integer");
  assert_int_equal(column.oid, 23);
  assert_int_equal(column.table_oid, 4000000000u);
  assert_int_equal(column.attribute, 7);
  assert_int_equal(column.type_size, 4);
  assert_int_equal(column.modifier, 0);
  assert_true(cenote_result_column(result, 1, &column));
  assert_null(column.type);
  assert_int_equal(column.table_oid, 0);
  assert_int_equal(column.type_size, -1);
  assert_int_equal(column.modifier, 24);
  assert_true(cenote_result_column(result, 2, &column));
  assert_int_equal(column.oid, 0);
  assert_int_equal(column.modifier, -1);
  assert_false(cenote_result_column(result, 3, &column));
  assert_null(column.name);
  assert_false(cenote_result_column(NULL, 0, &column));
  cenote_result_free(result);
}

static void other_facts_are_other_columns(void **state)
{
  (void)state;
  cenote_column column = {.name = "a", .oid = 1043, .modifier = 24};
  cenote_value row[1] = {cenote_text("x")};
  assert_int_equal(cenote_sink_columns(&sink, &column, 1, &error), CENOTE_OK);
  assert_int_equal(cenote_sink_row(&sink, row, 1, &error), CENOTE_OK);
  assert_int_equal(cenote_sink_columns(&sink, &column, 1, &error), CENOTE_OK);
  column.modifier = 25;
  assert_int_equal(cenote_sink_columns(&sink, &column, 1, &error), CENOTE_INTERNAL);
}

struct told {
  int columns, rows, at_row;
  bool stop;
};

static bool see_columns(void *context, const cenote_result *columns)
{
  struct told *told = context;
  assert_int_equal(cenote_result_columns(columns), 3);
  assert_int_equal(cenote_result_rows(columns), 0);
  assert_string_equal(cenote_result_column_name(columns, 0), three[0].name);
  assert_int_equal(cenote_result_value(columns, 0, 0).type, CENOTE_NULL);
  told->columns++;
  told->at_row = told->rows;
  return !told->stop;
}

static bool count_told(void *context, const char *const *names, const cenote_value *values,
                       size_t columns)
{
  (void)names;
  (void)values;
  (void)columns;
  return ++((struct told *)context)->rows > 0;
}

static void stream_to(struct told *told)
{
  cen_sink_deinit(&sink);
  cen_sink_init_stream(&sink, count_told, told);
  sink.columns = see_columns;
}

static void a_streams_columns_are_told_once_before_its_rows(void **state)
{
  (void)state;
  struct told told = {0};
  const cenote_column other[] = {{.name = "other"}};
  stream_to(&told);
  assert_int_equal(cenote_sink_columns(&sink, other, 1, &error), CENOTE_OK); /* prepared again */
  assert_int_equal(cenote_sink_columns(&sink, three, 3, &error), CENOTE_OK);
  assert_int_equal(told.columns, 0);
  assert_int_equal(stream_row(1), CENOTE_OK);
  assert_int_equal(stream_row(2), CENOTE_OK);
  cenote_sink_complete(&sink, 0, 0, "SELECT 2");
  assert_int_equal(told.columns, 1);
  assert_int_equal(told.at_row, 0);
  assert_int_equal(told.rows, 2);
}

static void without_rows_they_are_told_at_the_end(void **state)
{
  (void)state;
  struct told told = {.stop = true};
  stream_to(&told);
  assert_int_equal(cenote_sink_columns(&sink, three, 3, &error), CENOTE_OK);
  cenote_sink_complete(&sink, 0, 0, "SELECT 0");
  assert_int_equal(told.columns, 1);
  struct told none = {0};
  stream_to(&none);
  cenote_sink_complete(&sink, 1, 0, "INSERT 0 1");
  assert_int_equal(none.columns, 0);
  cenote_result *summary = cen_sink_take(&sink);
  assert_int_equal(cenote_result_affected_rows(summary), 1);
  cenote_result_free(summary);
}

static void who_does_not_like_the_columns_gets_no_row(void **state)
{
  (void)state;
  struct told told = {.stop = true};
  stream_to(&told);
  assert_int_equal(cenote_sink_columns(&sink, three, 3, &error), CENOTE_OK);
  assert_int_equal(stream_row(1), CENOTE_CANCELLED);
  assert_int_equal(stream_row(2), CENOTE_CANCELLED);
  assert_int_equal(told.columns, 1);
  assert_int_equal(told.rows, 0);
}

static void values_are_made_as_they_read(void **state)
{
  (void)state;
  assert_int_equal(cenote_text(NULL).type, CENOTE_NULL);
  assert_int_equal(cenote_text_n(NULL, 5).type, CENOTE_NULL);
  assert_int_equal(cenote_text("abc").size, 3);
  assert_int_equal(cenote_blob(NULL, 0).type, CENOTE_BLOB);
  assert_non_null(cenote_blob(NULL, 0).as.blob);
  assert_int_equal(cenote_blob(NULL, 1).type, CENOTE_NULL);
  assert_int_equal(cenote_text_n("", UINT32_MAX).type, CENOTE_TEXT);
  /* too long for a value: nothing shorter is made of it, and no call takes it */
  assert_true(cenote_text_n("", (size_t)UINT32_MAX + 1).type > CENOTE_BOOLEAN);
  assert_true(cenote_blob("", (size_t)UINT32_MAX + 1).type > CENOTE_BOOLEAN);
}

#define WITH_SINK(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
  const struct CMUnitTest tests[] = {
      WITH_SINK(columns_keep_their_names_types_and_numbers),
      WITH_SINK(the_same_columns_again_change_nothing_others_are_refused),
      WITH_SINK(a_row_is_read_at_once),
      WITH_SINK(columns_have_a_ceiling),
      WITH_SINK(rows_one_past_the_ceiling_are_refused_by_name),
      WITH_SINK(bytes_one_past_the_ceiling_are_refused_by_name),
      WITH_SINK(rows_that_do_not_fit_the_columns_are_refused),
      WITH_SINK(every_cell_comes_back_whatever_the_shape),
      WITH_SINK(large_values_lie_beside_small_ones),
      WITH_SINK(a_result_without_columns_may_have_rows),
      WITH_SINK(every_question_has_an_answer),
      WITH_SINK(text_that_is_a_number_reads_as_one),
      WITH_SINK(numbers_read_as_each_other_and_as_text),
      WITH_SINK(what_is_no_number_reads_as_integer_zero),
      WITH_SINK(several_threads_read_one_result),
      WITH_SINK(completion_is_kept_and_a_restart_forgets_it),
      WITH_SINK(results_of_a_script_are_a_chain_that_a_restart_forgets),
      WITH_SINK(the_ceilings_hold_for_a_scripts_results_together),
      WITH_SINK(streamed_rows_are_seen_and_not_kept),
      WITH_SINK(a_callback_that_answers_false_is_not_called_again),
      WITH_SINK(a_column_keeps_all_that_was_told_of_it),
      WITH_SINK(other_facts_are_other_columns),
      WITH_SINK(a_streams_columns_are_told_once_before_its_rows),
      WITH_SINK(without_rows_they_are_told_at_the_end),
      WITH_SINK(who_does_not_like_the_columns_gets_no_row),
      cmocka_unit_test(values_are_made_as_they_read),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
