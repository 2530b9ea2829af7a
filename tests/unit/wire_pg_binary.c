/* Cells in PostgreSQL's binary form: each value is the one of its text, and nothing else passes. */
#include "wire/pg_types.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define BYTES(text) text, sizeof(text) - 1

static const struct {
  uint32_t oid;
  const char *bytes;
  size_t size;
  const char *text;
} same[] = {
    {CEN_PG_BOOL, BYTES("\0"), "f"},
    {CEN_PG_BOOL, BYTES("\1"), "t"},
    {CEN_PG_INT2, BYTES("\0\7"), "7"},
    {CEN_PG_INT2, BYTES("\x80\0"), "-32768"},
    {CEN_PG_INT4, BYTES("\xff\xff\xff\xff"), "-1"},
    {CEN_PG_INT4, BYTES("\x7f\xff\xff\xff"), "2147483647"},
    {CEN_PG_OID, BYTES("\xff\xff\xff\xff"), "4294967295"},
    {CEN_PG_INT8, BYTES("\x80\0\0\0\0\0\0\0"), "-9223372036854775808"},
    {CEN_PG_INT8, BYTES("\0\x20\0\0\0\0\0\1"), "9007199254740993"},
    {CEN_PG_FLOAT8, BYTES("\x3f\xb9\x99\x99\x99\x99\x99\x9a"), "0.1"},
    {CEN_PG_FLOAT8, BYTES("\x80\0\0\0\0\0\0\0"), "-0"},
    {CEN_PG_FLOAT8, BYTES("\0\0\0\0\0\0\0\1"), "5e-324"},
    {CEN_PG_FLOAT8, BYTES("\xff\xf0\0\0\0\0\0\0"), "-Infinity"},
    {CEN_PG_FLOAT8, BYTES("\x7f\xf8\0\0\0\0\0\0"), "NaN"},
    {CEN_PG_FLOAT8, BYTES("\xff\xf8\0\0\0\0\0\1"), "NaN"},
    {CEN_PG_BYTEA, BYTES(""), "\\x"},
    {CEN_PG_BYTEA, BYTES("\0\\x\xff"), "\\x005c78ff"},
};

static void binary_and_text_are_the_same_value(void **state)
{
  (void)state;
  for (size_t i = 0; i < sizeof(same) / sizeof(*same); i++) {
    char text[64];
    cenote_value a;
    cenote_value b;
    snprintf(text, sizeof(text), "%s", same[i].text);
    assert_int_not_equal(cen_pg_binary(same[i].oid), CEN_PG_NO_BINARY);
    assert_true(cen_pg_value(same[i].oid, text, strlen(text), &a));
    assert_true(cen_pg_binary_value(same[i].oid, same[i].bytes, same[i].size, &b));
    assert_int_equal(a.type, b.type);
    assert_int_equal(a.size, b.size);
    assert_null(b.name);
    if (a.type == CENOTE_BLOB) {
      assert_memory_equal(a.as.blob, b.as.blob, a.size);
    } else if (a.type == CENOTE_BOOLEAN) {
      assert_int_equal(a.as.boolean, b.as.boolean);
    } else {
      assert_memory_equal(&a.as, &b.as, sizeof(int64_t));
    }
  }
}

static void times_count_from_2000_and_infinity_is_a_word(void **state)
{
  (void)state;
  cenote_value value;
  assert_true(
      cen_pg_binary_value(CEN_PG_TIMESTAMPTZ, BYTES("\xff\xff\xff\xff\xff\xff\xff\xff"), &value));
  assert_int_equal(value.type, CENOTE_INTEGER);
  assert_int_equal(value.as.integer, -1);
  assert_true(
      cen_pg_binary_value(CEN_PG_TIMESTAMPTZ, BYTES("\x7f\xff\xff\xff\xff\xff\xff\xff"), &value));
  assert_int_equal(value.type, CENOTE_TEXT);
  assert_int_equal(value.size, 8);
  assert_memory_equal(value.as.text, "infinity", 8);
  assert_true(cen_pg_binary_value(CEN_PG_TIMESTAMPTZ, BYTES("\x80\0\0\0\0\0\0\0"), &value));
  assert_int_equal(value.size, 9);
  assert_memory_equal(value.as.text, "-infinity", 9);
}

static void bytes_of_another_size_are_refused(void **state)
{
  (void)state;
  static const uint32_t sized[] = {CEN_PG_BOOL, CEN_PG_INT2,   CEN_PG_INT4,       CEN_PG_OID,
                                   CEN_PG_INT8, CEN_PG_FLOAT8, CEN_PG_TIMESTAMPTZ};
  for (size_t i = 0; i < sizeof(sized) / sizeof(*sized); i++) {
    const size_t right = (size_t)cen_pg_type(sized[i])->size;
    for (size_t size = 0; size <= 20; size++) {
      char *bytes = calloc(1, size + (size == 0)); /* so that a sanitizer sees one read too many */
      cenote_value value;
      assert_non_null(bytes);
      assert_int_equal(cen_pg_binary_value(sized[i], bytes, size, &value), size == right);
      free(bytes);
    }
  }
  cenote_value value;
  assert_false(cen_pg_binary_value(CEN_PG_BOOL, BYTES("\2"), &value));
  assert_false(cen_pg_binary_value(CEN_PG_TEXT, BYTES("text"), &value));
  assert_false(cen_pg_binary_value(CEN_PG_FLOAT4, BYTES("\0\0\0\0"), &value));
}

static void what_text_says_otherwise_or_as_well_is_not_asked_for(void **state)
{
  (void)state;
  static const uint32_t text[] = {CEN_PG_FLOAT4, CEN_PG_TEXT, CEN_PG_JSON, CEN_PG_JSONB,
                                  1043,          1700,        1114,        1082,
                                  2950,          1007,        0,           UINT32_MAX};
  for (size_t i = 0; i < sizeof(text) / sizeof(*text); i++) {
    assert_int_equal(cen_pg_binary(text[i]), CEN_PG_NO_BINARY);
  }
  assert_int_equal(cen_pg_binary(CEN_PG_FLOAT8), CEN_PG_BINARY_REAL);
  assert_int_equal(cen_pg_binary(CEN_PG_TIMESTAMPTZ), CEN_PG_BINARY_TIME);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(binary_and_text_are_the_same_value),
      cmocka_unit_test(times_count_from_2000_and_infinity_is_a_word),
      cmocka_unit_test(bytes_of_another_size_are_refused),
      cmocka_unit_test(what_text_says_otherwise_or_as_well_is_not_asked_for),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
