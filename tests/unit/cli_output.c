/* What `cenote` prints: tables, CSV, JSON; and outputs that fail. */
#include "cli/cli.h"
#include "cli/rows.h"
#include "cli/table.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* An output into memory. */
struct paper {
  char *text;
  size_t size;
  FILE *file;
  struct cli_output output;
};

static void paper_init(struct paper *paper)
{
  *paper = (struct paper){0};
  paper->file = open_memstream(&paper->text, &paper->size);
  assert_non_null(paper->file);
  cli_output_init(&paper->output, paper->file);
}

static void paper_expect(struct paper *paper, const char *expected)
{
  assert_int_equal(cli_output_finish(&paper->output, CLI_OK), CLI_OK);
  fclose(paper->file);
  assert_string_equal(paper->text, expected);
  free(paper->text);
}

/* --------------------------------------------------------------------- table */

static void cell_copy(void *context, size_t row, size_t column, struct cen_buf *buf)
{
  const char *const *cells = context;
  cen_buf_text(buf, cells[row * 2 + column]);
}

static void table_expect(const char *const *cells, size_t rows, const char *expected)
{
  static const char *const headers[] = {"name", "n"};
  static const bool right[] = {false, true};
  struct cli_table table = {.columns = 2,
                            .rows = rows,
                            .headers = headers,
                            .right = right,
                            .cell = cell_copy,
                            .context = (void *)(uintptr_t)cells};
  struct paper paper;
  paper_init(&paper);
  assert_true(cli_table_print(&table, &paper.output));
  paper_expect(&paper, expected);
}

static void columns_are_as_wide_as_their_widest_cell(void **state)
{
  (void)state;
  const char *const cells[] = {"Ana", "7", "Bartholomew", "1234"};
  table_expect(cells, 2,
               "name            n\n"
               "-----------  ----\n"
               "Ana             7\n"
               "Bartholomew  1234\n");
}

static void width_is_counted_as_a_terminal_does(void **state)
{
  (void)state;
  const char *const cells[] = {"Zoë", "1", "東京", "2", "e\xCC\x81", "3"};
  table_expect(cells, 3,
               "name  n\n"
               "----  -\n"
               "Zoë   1\n"
               "東京  2\n"
               "e\xCC\x81     3\n");
}

static void no_control_sequence_reaches_the_terminal(void **state)
{
  (void)state;
  const char *const cells[] = {"\x1b[31mred\n",   "1", "a\tb\x7f",  "2", "\xC2\x9Bx", "3",
                               "\xE2\x80\xAEvil", "4", "\xFFz\xC3", "5"};
  table_expect(cells, 5,
               "name           n\n"
               "-------------  -\n"
               "\\x1b[31mred\\n  1\n"
               "a\\tb\\x7f       2\n"
               "\\x9bx          3\n"
               "\\u202evil      4\n"
               "\\xffz\\xc3      5\n");
}

static void a_table_without_rows_has_a_header(void **state)
{
  (void)state;
  table_expect(NULL, 0, "name  n\n----  -\n");
}

/* ----------------------------------------------------------------------- CSV */

static const char *const names[] = {"a", "b,c"};

static void rows_expect(enum cli_format format, const char *null_text, const cenote_value *values,
                        size_t count, const char *expected)
{
  struct paper paper;
  struct cli_rows rows;
  paper_init(&paper);
  cli_rows_init(&rows, &paper.output, format, null_text);
  for (size_t i = 0; i < count; i++) {
    assert_true(cli_rows_add(&rows, names, values + 2 * i, 2));
  }
  assert_true(cli_rows_end(&rows, NULL));
  cli_rows_deinit(&rows);
  paper_expect(&paper, expected);
}

static void csv_tells_null_from_empty_text(void **state)
{
  (void)state;
  const cenote_value values[] = {cenote_null(), cenote_text("")};
  rows_expect(CLI_CSV, NULL, values, 1, "a,\"b,c\"\n,\"\"\n");
}

static void csv_quotes_what_needs_it(void **state)
{
  (void)state;
  const cenote_value values[] = {cenote_text("say \"hi\""), cenote_text("two\nlines"),
                                 cenote_text(" x"), cenote_text("a,b")};
  rows_expect(CLI_CSV, NULL, values, 2,
              "a,\"b,c\"\n\"say \"\"hi\"\"\",\"two\nlines\"\n\" x\",\"a,b\"\n");
}

static void csv_text_that_reads_like_the_word_for_null_is_quoted(void **state)
{
  (void)state;
  const cenote_value values[] = {cenote_null(), cenote_text("nil")};
  rows_expect(CLI_CSV, "nil", values, 1, "a,\"b,c\"\nnil,\"nil\"\n");
}

static void values_are_exact_text(void **state)
{
  (void)state;
  const cenote_value values[] = {cenote_real(0.1),           cenote_real(1.0 / 3),
                                 cenote_integer(INT64_MIN),  cenote_boolean(true),
                                 cenote_blob("\x00\xff", 2), cenote_real((double)INFINITY)};
  rows_expect(CLI_CSV, NULL, values, 3,
              "a,\"b,c\"\n0.1,0.3333333333333333\n-9223372036854775808,true\n\\x00ff,Infinity\n");
}

/* ---------------------------------------------------------------------- JSON */

static void json_rows_are_objects(void **state)
{
  (void)state;
  const cenote_value values[] = {cenote_integer(1), cenote_text("x\"y"), cenote_null(),
                                 cenote_blob("\x01", 1)};
  rows_expect(CLI_JSON, NULL, values, 2,
              "{\"rows\":[{\"a\":1,\"b,c\":\"x\\\"y\"},{\"a\":null,\"b,c\":\"\\\\x01\"}],"
              "\"row_count\":2,\"columns\":[\"a\",\"b,c\"]}\n");
}

static void json_without_rows_is_whole(void **state)
{
  (void)state;
  rows_expect(CLI_JSON, NULL, NULL, 0, "{\"rows\":[],\"row_count\":0,\"columns\":[]}\n");
}

static void json_reals_that_are_no_numbers_are_texts(void **state)
{
  (void)state;
  const cenote_value values[] = {cenote_real((double)NAN), cenote_real(-(double)INFINITY)};
  rows_expect(CLI_JSON, NULL, values, 1,
              "{\"rows\":[{\"a\":\"NaN\",\"b,c\":\"-Infinity\"}],"
              "\"row_count\":1,\"columns\":[\"a\",\"b,c\"]}\n");
}

static void a_column_name_that_comes_twice_gets_a_number(void **state)
{
  (void)state;
  static const char *const same[] = {"a", "a", "a_2", "a"};
  const cenote_value values[] = {cenote_integer(1), cenote_integer(2), cenote_integer(3),
                                 cenote_integer(4)};
  struct paper paper;
  struct cli_rows rows;
  paper_init(&paper);
  cli_rows_init(&rows, &paper.output, CLI_JSON, NULL);
  assert_true(cli_rows_add(&rows, same, values, 4));
  assert_true(cli_rows_end(&rows, NULL));
  cli_rows_deinit(&rows);
  paper_expect(&paper, "{\"rows\":[{\"a\":1,\"a_2\":2,\"a_2_2\":3,\"a_3\":4}],\"row_count\":1,"
                       "\"columns\":[\"a\",\"a_2\",\"a_2_2\",\"a_3\"]}\n");
}

/* -------------------------------------------------------------------- output */

static void a_reader_that_went_away_is_no_error_to_talk_about(void **state)
{
  (void)state;
  int ends[2];
  assert_int_equal(pipe(ends), 0);
  close(ends[0]);
  FILE *file = fdopen(ends[1], "w");
  struct cli_output output;
  cli_output_init(&output, file);
  cli_output_text(&output, "x");
  assert_int_equal(cli_output_finish(&output, CLI_OK), CLI_SIGNALLED + SIGPIPE);
  fclose(file);
}

static void a_full_disk_is_a_failure(void **state)
{
  (void)state;
  FILE *file = fopen("/dev/full", "w");
  if (!file) {
    skip();
  }
  struct cli_output output;
  cli_output_init(&output, file);
  cli_output_text(&output, "x");
  assert_int_equal(cli_output_finish(&output, CLI_OK), CLI_FAILED);
  fclose(file);
}

int main(void)
{
  signal(SIGPIPE, SIG_IGN);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(columns_are_as_wide_as_their_widest_cell),
      cmocka_unit_test(width_is_counted_as_a_terminal_does),
      cmocka_unit_test(no_control_sequence_reaches_the_terminal),
      cmocka_unit_test(a_table_without_rows_has_a_header),
      cmocka_unit_test(csv_tells_null_from_empty_text),
      cmocka_unit_test(csv_quotes_what_needs_it),
      cmocka_unit_test(csv_text_that_reads_like_the_word_for_null_is_quoted),
      cmocka_unit_test(values_are_exact_text),
      cmocka_unit_test(json_rows_are_objects),
      cmocka_unit_test(json_without_rows_is_whole),
      cmocka_unit_test(json_reals_that_are_no_numbers_are_texts),
      cmocka_unit_test(a_column_name_that_comes_twice_gets_a_number),
      cmocka_unit_test(a_reader_that_went_away_is_no_error_to_talk_about),
      cmocka_unit_test(a_full_disk_is_a_failure),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
