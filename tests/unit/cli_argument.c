/* ARGs of `cenote query` as typed values. */
#include "cli/argument.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static cenote_value read_one(const char *text)
{
  cenote_value value;
  char message[128];
  assert_true(cli_arguments_read(&text, 1, NULL, NULL, &value, message, sizeof message));
  return value;
}

static void assert_text(const char *text)
{
  cenote_value value = read_one(text);
  assert_int_equal(value.type, CENOTE_TEXT);
  assert_int_equal(value.size, strlen(text));
  assert_string_equal(value.as.text, text);
}

static void integers_as_one_writes_them_are_integers(void **state)
{
  (void)state;
  assert_int_equal(read_one("42").as.integer, 42);
  assert_int_equal(read_one("0").type, CENOTE_INTEGER);
  assert_true(read_one("-9223372036854775808").as.integer == INT64_MIN);
  assert_true(read_one("9223372036854775807").as.integer == INT64_MAX);
}

static void reals_are_reals(void **state)
{
  (void)state;
  assert_int_equal(read_one("2.5").type, CENOTE_REAL);
  assert_true(fabs(read_one("2.5").as.real - 2.5) < 1e-9);
  assert_int_equal(read_one("-1e3").type, CENOTE_REAL);
  assert_int_equal(read_one("1.5E-3").type, CENOTE_REAL);
}

static void what_a_number_would_not_keep_is_text(void **state)
{
  (void)state;
  const char *const texts[] = {"",
                               "007",
                               "+1",
                               "0x10",
                               "nan",
                               "inf",
                               "1.",
                               ".5",
                               "-",
                               "--1",
                               "-0",
                               "1e",
                               "1 ",
                               " 1",
                               "1e400",
                               "9223372036854775808",
                               "0.12345678901234567890",
                               "2026-01-31"};
  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
    assert_text(texts[i]);
  }
}

static void the_last_type_counts_for_what_follows(void **state)
{
  (void)state;
  const char *texts[] = {"1", "2", "3", "4"};
  cenote_value values[4];
  char message[128];
  assert_true(
      cli_arguments_read(texts, 4, "auto,real,text", NULL, values, message, sizeof message));
  assert_int_equal(values[0].type, CENOTE_INTEGER);
  assert_int_equal(values[1].type, CENOTE_REAL);
  assert_int_equal(values[2].type, CENOTE_TEXT);
  assert_int_equal(values[3].type, CENOTE_TEXT);
}

static void booleans_and_blobs_are_read(void **state)
{
  (void)state;
  const char *texts[] = {"yes", "\\xDEadbeef", "00"};
  cenote_value values[3];
  char message[128];
  assert_true(cli_arguments_read(texts, 3, "boolean,blob", NULL, values, message, sizeof message));
  assert_true(values[0].as.boolean);
  assert_int_equal(values[1].size, 4);
  assert_memory_equal(values[1].as.blob, "\xDE\xAD\xBE\xEF", 4);
  assert_int_equal(values[2].size, 1);
  cli_arguments_free(values, 3);
}

static void the_word_for_null_is_null_whatever_the_type(void **state)
{
  (void)state;
  const char *texts[] = {"-", "x", "-"};
  cenote_value values[3];
  char message[128];
  assert_true(
      cli_arguments_read(texts, 3, "text,text,integer", "-", values, message, sizeof message));
  assert_int_equal(values[0].type, CENOTE_NULL);
  assert_int_equal(values[1].type, CENOTE_TEXT);
  assert_int_equal(values[2].type, CENOTE_NULL);
}

static void what_does_not_fit_is_named(void **state)
{
  (void)state;
  const char *texts[] = {"1", "two"};
  cenote_value values[2];
  char message[128];
  assert_false(cli_arguments_read(texts, 2, "integer", NULL, values, message, sizeof message));
  assert_string_equal(message, "argument 2 is no integer");
  assert_false(cli_arguments_read(texts, 2, "numbr", NULL, values, message, sizeof message));
  assert_non_null(strstr(message, "numbr"));
  const char *odd = "abc";
  assert_false(cli_arguments_read(&odd, 1, "blob", NULL, values, message, sizeof message));
  cli_arguments_free(values, 2);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(integers_as_one_writes_them_are_integers),
      cmocka_unit_test(reals_are_reals),
      cmocka_unit_test(what_a_number_would_not_keep_is_text),
      cmocka_unit_test(the_last_type_counts_for_what_follows),
      cmocka_unit_test(booleans_and_blobs_are_read),
      cmocka_unit_test(the_word_for_null_is_null_whatever_the_type),
      cmocka_unit_test(what_does_not_fit_is_named),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
