/* PostgreSQL's messages: what we send byte for byte, and what comes back however it is cut, or
 * forged. */
#include "wire/postgres.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define BYTES(text) text, sizeof(text) - 1

static void assert_sent(const struct cen_buf *out, const char *bytes, size_t size)
{
  assert_false(out->failed);
  assert_int_equal(out->size, size);
  assert_memory_equal(out->data, bytes, size);
}

/* ---------------------------------------------------------------------------- what we send */

static void a_statement_is_parsed_bound_described_executed_and_synced(void **state)
{
  (void)state;
  static const char *const values[] = {"42", NULL, "a\0b"};
  static const int sizes[] = {2, 0, 3};
  static const int formats[] = {0, 0, 1};
  static const uint32_t types[] = {0, 0, 17};
  const struct cen_pg_args args = {
      .count = 3, .values = values, .sizes = sizes, .formats = formats, .types = types};
  struct cen_buf out;
  cen_buf_init(&out, 1 << 20);
  cen_pg_put_parse(&out, "n1", "SELECT $1", &args);
  cen_pg_put_bind(&out, "n1", &args);
  cen_pg_put_describe(&out);
  cen_pg_put_execute(&out);
  cen_pg_put_sync(&out);
  assert_sent(&out, BYTES("P\0\0\0\x1f"
                          "n1\0SELECT $1\0\0\3\0\0\0\0\0\0\0\0\0\0\0\x11"
                          "B\0\0\0\x25\0n1\0\0\3\0\0\0\0\0\1\0\3\0\0\0\2"
                          "42\xff\xff\xff\xff\0\0\0\3"
                          "a\0b\0\0"
                          "D\0\0\0\6P\0"
                          "E\0\0\0\x09\0\0\0\0\0"
                          "S\0\0\0\4"));
  cen_buf_deinit(&out);
}

static void without_arguments_nothing_is_told_of_them(void **state)
{
  (void)state;
  const struct cen_pg_args none = {0};
  struct cen_buf out;
  cen_buf_init(&out, 1 << 20);
  cen_pg_put_parse(&out, "", "SELECT 1", &none);
  cen_pg_put_bind(&out, "", &none);
  cen_pg_put_close(&out, "old");
  assert_sent(&out, BYTES("P\0\0\0\x10\0SELECT 1\0\0\0"
                          "B\0\0\0\x0c\0\0\0\0\0\0\0\0"
                          "C\0\0\0\x09Sold\0"));
  cen_buf_deinit(&out);
}

static void text_alone_needs_no_formats(void **state)
{
  (void)state;
  static const char *const values[] = {"x", ""};
  static const int sizes[] = {1, 0};
  static const int formats[] = {0, 0};
  const struct cen_pg_args args = {
      .count = 2, .values = values, .sizes = sizes, .formats = formats};
  struct cen_buf out;
  cen_buf_init(&out, 1 << 20);
  cen_pg_put_bind(&out, "s", &args);
  assert_sent(&out, BYTES("B\0\0\0\x16\0s\0\0\0\0\2\0\0\0\1x\0\0\0\0\0\0"));
  cen_buf_deinit(&out);
}

static void columns_that_are_to_be_binary_are_told_one_by_one(void **state)
{
  (void)state;
  struct cen_pg_args args = {.columns = 3, .binary = 5};
  struct cen_buf out;
  cen_buf_init(&out, 1 << 20);
  cen_pg_put_bind(&out, "s", &args);
  assert_sent(&out, BYTES("B\0\0\0\x13\0s\0\0\0\0\0\0\3\0\1\0\0\0\1"));
  out.size = 0;
  args.binary = 0; /* all are text: nothing has to be told */
  cen_pg_put_bind(&out, "s", &args);
  assert_sent(&out, BYTES("B\0\0\0\x0d\0s\0\0\0\0\0\0\0"));
  args = (struct cen_pg_args){.columns = 65, .binary = 1};
  out.size = 0;
  cen_pg_put_bind(&out, "s", &args);
  assert_true(out.failed);
  cen_buf_deinit(&out);
}

static void what_no_message_can_hold_makes_the_buffer_fail(void **state)
{
  (void)state;
  static const char *const values[] = {"x", "y", "z"};
  static const int sizes[] = {INT32_MAX, 1, 1};
  static const int negative[] = {-1, 1, 1};
  static const int formats[] = {1, 1, 1};
  struct cen_buf out;
  for (int i = 0; i < 5; i++) {
    struct cen_pg_args args = {
        .count = 2, .values = values, .sizes = i == 0 ? negative : sizes, .formats = formats};
    args.count = i == 2 ? CEN_PG_LARGEST_COUNT + 1 : args.count;
    cen_buf_init(&out, i == 4 ? 10 : 1 << 20);
    if (i < 2) {
      cen_pg_put_bind(&out, "s", &args); /* refused before a value is looked at */
    } else if (i == 2) {
      static const uint32_t types[1];
      args.types = types;
      cen_pg_put_parse(&out, "", "", &args);
    } else {
      cen_pg_put_close(&out, "a name");
      cen_pg_put_sync(&out);
      assert_int_equal(out.failed, i == 4);
      cen_buf_deinit(&out);
      continue;
    }
    assert_true(out.failed);
    assert_int_equal(out.size, 0);
    cen_buf_deinit(&out);
  }
}

/* ------------------------------------------------------------------------ what comes back */

/* In exactly as many bytes as there are, so that a sanitizer sees a read past the end. */
static enum cen_pg_step take(const char *bytes, size_t size, struct cen_pg_message *message,
                             size_t *whole, char **copy)
{
  *copy = malloc(size > 0 ? size : 1);
  assert_non_null(*copy);
  memcpy(*copy, bytes, size);
  return cen_pg_take(*copy, size, message, whole);
}

static void a_message_is_there_with_its_last_byte_and_not_before(void **state)
{
  (void)state;
  static const char bytes[] = "D\0\0\0\x12\0\2\0\0\0\4four\xff\xff\xff\xffZ";
  const size_t size = 19;
  struct cen_pg_message message;
  size_t whole;
  char *copy;
  for (size_t i = 0; i < size; i++) {
    assert_int_equal(take(bytes, i, &message, &whole, &copy), CEN_PG_MORE);
    assert_int_equal(whole, i < 5 ? 0 : size);
    free(copy);
  }
  for (size_t more = 0; more < 2; more++) {
    assert_int_equal(take(bytes, size + more, &message, &whole, &copy), CEN_PG_MESSAGE);
    assert_int_equal(whole, size);
    assert_int_equal(message.type, 'D');
    assert_int_equal(message.size, 14);
    free(copy);
  }
}

static void unknown_types_and_impossible_lengths_are_no_messages(void **state)
{
  (void)state;
  static const struct {
    const char *bytes;
    size_t size;
    enum cen_pg_step step;
  } cases[] = {
      {BYTES("\0"), CEN_PG_BAD},
      {BYTES("R"), CEN_PG_BAD}, /* nobody logs in here */
      {BYTES("K\0\0\0\x0c"), CEN_PG_BAD},
      {BYTES("B"), CEN_PG_BAD},
      {BYTES("\xff"), CEN_PG_BAD},
      {BYTES("Z\0\0\0\3"), CEN_PG_BAD},
      {BYTES("Z\0\0\0\0"), CEN_PG_BAD},
      {BYTES("D\xff\xff\xff\xff"), CEN_PG_BAD},
      {BYTES("D\x80\0\0\0"), CEN_PG_BAD},
      {BYTES("D\x40\0\0\5"), CEN_PG_BAD},
      {BYTES("D\x40\0\0\4"), CEN_PG_MORE}, /* 1 GiB */
      {BYTES("C\0\0\x75\x34"), CEN_PG_MORE},
      {BYTES("C\0\0\x75\x35"), CEN_PG_BAD},
      {BYTES("S\0\1\0\0"), CEN_PG_BAD},
      {BYTES("1\0\0\0\4"), CEN_PG_MESSAGE},
  };
  for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
    struct cen_pg_message message;
    size_t whole;
    char *copy;
    assert_int_equal(take(cases[i].bytes, cases[i].size, &message, &whole, &copy), cases[i].step);
    free(copy);
  }
}

/* A message around `body`, in exact memory that the caller frees. */
static struct cen_pg_message body_of(const char *body, size_t size)
{
  struct cen_pg_message message = {.body = malloc(size > 0 ? size : 1), .size = size};
  assert_non_null(message.body);
  memcpy(message.body, body, size);
  return message;
}

static void small_bodies_have_not_a_byte_too_much_or_too_few(void **state)
{
  (void)state;
  static const struct {
    const char *bytes;
    size_t size;
    int empty, ready, tag, parameter, notification, fields;
  } cases[] = {
      {BYTES(""), 1, 0, 0, 0, 0, 0},
      {BYTES("\0"), 0, 1, 1, 0, 0, 1},
      {BYTES("I"), 0, 1, 0, 0, 0, 0},
      {BYTES("IT"), 0, 0, 0, 0, 0, 0},
      {BYTES("SELECT 1\0"), 0, 0, 1, 0, 0, 0},
      {BYTES("SELECT 1"), 0, 0, 0, 0, 0, 0},
      {BYTES("TimeZone\0UTC\0"), 0, 0, 0, 1, 1, 0},
      {BYTES("TimeZone\0UTC"), 0, 0, 0, 0, 0, 0},
      {BYTES("TimeZone\0UTC\0\0"), 0, 0, 0, 0, 0, 1},
      {BYTES("\0\0\0\1c\0p\0"), 0, 0, 0, 0, 1, 0},
      {BYTES("\0\0\0\1c\0p"), 0, 0, 0, 0, 0, 0},
      {BYTES("\0\0\0"), 0, 0, 0, 0, 0, 0},
      {BYTES("\0\0\0\1c\0p\0\0"), 0, 0, 0, 0, 0, 0},
      {BYTES("SERROR\0C42601\0\0"), 0, 0, 0, 0, 0, 1},
      {BYTES("SERROR\0C42601\0"), 0, 0, 0, 1, 1, 0},
      {BYTES("SERROR\0C42601\0\0x"), 0, 0, 0, 0, 0, 0},
      {BYTES("SERROR\0C"), 0, 0, 0, 0, 0, 0},
      {BYTES("SERROR"), 0, 0, 0, 0, 0, 0},
  };
  for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
    struct cen_pg_message message = body_of(cases[i].bytes, cases[i].size);
    const char *text;
    const char *value;
    char status;
    assert_int_equal(cen_pg_is_empty(&message), cases[i].empty);
    assert_int_equal(cen_pg_ready(&message, &status), cases[i].ready);
    assert_int_equal(cen_pg_tag(&message, &text), cases[i].tag);
    assert_int_equal(cen_pg_parameter(&message, &text, &value), cases[i].parameter);
    assert_int_equal(cen_pg_notification(&message), cases[i].notification);
    assert_int_equal(cen_pg_is_fields(&message), cases[i].fields);
    free(message.body);
  }
}

static void fields_are_found_by_their_codes(void **state)
{
  (void)state;
  struct cen_pg_message message = body_of(BYTES("SERROR\0C42601\0M\0Mlater\0\0"));
  assert_true(cen_pg_is_fields(&message));
  assert_string_equal(cen_pg_field(&message, 'S'), "ERROR");
  assert_string_equal(cen_pg_field(&message, 'C'), "42601");
  assert_string_equal(cen_pg_field(&message, 'M'), ""); /* the first */
  assert_null(cen_pg_field(&message, 'D'));
  assert_null(cen_pg_field(&message, 'E')); /* a letter inside a text is none */
  free(message.body);
}

static void columns_are_read_one_by_one(void **state)
{
  (void)state;
  static const char body[] = "\0\2"
                             "id\0\0\0\x40\0\0\1\0\0\0\x17\0\4\xff\xff\xff\xff\0\0"
                             "\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\0\0\1\3\0\1";
  const size_t size = sizeof(body) - 1;
  struct cen_pg_reader reader;
  struct cen_pg_column column;
  for (size_t cut = 0; cut <= size; cut++) {
    struct cen_pg_message message = body_of(body, cut);
    bool fine = cen_pg_columns(&message, &reader) && cen_pg_column_next(&reader, &column) &&
                cen_pg_column_next(&reader, &column) && cen_pg_is_read(&reader);
    assert_int_equal(fine, cut == size);
    free(message.body);
  }
  struct cen_pg_message message = body_of(body, size);
  assert_true(cen_pg_columns(&message, &reader));
  assert_int_equal(reader.left, 2);
  assert_true(cen_pg_column_next(&reader, &column));
  assert_string_equal(column.name, "id");
  assert_int_equal(column.table, 0x4000);
  assert_int_equal(column.attribute, 1);
  assert_int_equal(column.type, 23);
  assert_int_equal(column.type_size, 4);
  assert_int_equal(column.modifier, -1);
  assert_int_equal(column.format, 0);
  assert_false(cen_pg_is_read(&reader));
  assert_true(cen_pg_column_next(&reader, &column));
  assert_string_equal(column.name, "");
  assert_int_equal(column.table, 0);
  assert_int_equal(column.attribute, 0);
  assert_int_equal(column.type, 25);
  assert_int_equal(column.type_size, -1);
  assert_int_equal(column.modifier, 259);
  assert_int_equal(column.format, 1);
  assert_true(cen_pg_is_read(&reader));
  assert_false(cen_pg_column_next(&reader, &column));
  free(message.body);
}

static void cells_are_read_one_by_one(void **state)
{
  (void)state;
  static const char body[] = "\0\3\0\0\0\2"
                             "42\xff\xff\xff\xff\0\0\0\0";
  const size_t size = sizeof(body) - 1;
  struct cen_pg_reader reader;
  char *text;
  size_t length;
  for (size_t cut = 0; cut <= size; cut++) {
    struct cen_pg_message message = body_of(body, cut);
    bool fine = cen_pg_cells(&message, &reader);
    for (int i = 0; i < 3 && fine; i++) {
      fine = cen_pg_cell_next(&reader, &text, &length);
    }
    assert_int_equal(fine && cen_pg_is_read(&reader), cut == size);
    free(message.body);
  }
  struct cen_pg_message message = body_of(body, size);
  assert_true(cen_pg_cells(&message, &reader));
  assert_true(cen_pg_cell_next(&reader, &text, &length));
  assert_int_equal(length, 2);
  assert_memory_equal(text, "42", 2);
  assert_true(cen_pg_cell_next(&reader, &text, &length));
  assert_null(text);
  assert_true(cen_pg_cell_next(&reader, &text, &length));
  assert_non_null(text);
  assert_int_equal(length, 0);
  assert_true(cen_pg_is_read(&reader));
  assert_false(cen_pg_cell_next(&reader, &text, &length));
  free(message.body);
}

static void more_than_is_there_cannot_be_promised(void **state)
{
  (void)state;
  static const struct {
    const char *bytes;
    size_t size;
  } cases[] = {{BYTES("\xff\xff")},
               {BYTES("\0\2\0\0\0\0")},
               {BYTES("\0\1\0\0\0\1")},
               {BYTES("\0\1\x7f\xff\xff\xff")},
               {BYTES("\0\1\xff\xff\xff\xfe")},
               {BYTES("\0\1\x80\0\0\0")},
               {BYTES("\0")}};
  for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
    struct cen_pg_message message = body_of(cases[i].bytes, cases[i].size);
    struct cen_pg_reader reader;
    struct cen_pg_column column;
    char *text;
    size_t size;
    assert_false(cen_pg_columns(&message, &reader) && cen_pg_column_next(&reader, &column));
    assert_false(cen_pg_cells(&message, &reader) && cen_pg_cell_next(&reader, &text, &size));
    free(message.body);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_statement_is_parsed_bound_described_executed_and_synced),
      cmocka_unit_test(without_arguments_nothing_is_told_of_them),
      cmocka_unit_test(text_alone_needs_no_formats),
      cmocka_unit_test(columns_that_are_to_be_binary_are_told_one_by_one),
      cmocka_unit_test(what_no_message_can_hold_makes_the_buffer_fail),
      cmocka_unit_test(a_message_is_there_with_its_last_byte_and_not_before),
      cmocka_unit_test(unknown_types_and_impossible_lengths_are_no_messages),
      cmocka_unit_test(small_bodies_have_not_a_byte_too_much_or_too_few),
      cmocka_unit_test(fields_are_found_by_their_codes),
      cmocka_unit_test(columns_are_read_one_by_one),
      cmocka_unit_test(cells_are_read_one_by_one),
      cmocka_unit_test(more_than_is_there_cannot_be_promised),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
