/* base_json.c - the growing buffer and the JSON writer, checked by another JSON library. */
#include "base/json.h"
#include "base/rng.h"
#include "base/text.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include <cmocka.h>

static void an_empty_buffer_gives_an_empty_text(void **state)
{
  (void)state;
  struct cen_buf buf;
  cen_buf_init(&buf, 0);
  cen_buf_text(&buf, "");
  cen_buf_add(&buf, NULL, 0);
  char *text = cen_buf_take(&buf);
  assert_string_equal(text, "");
  free(text);
}

static void a_buffer_holds_its_ceiling_and_not_a_byte_more(void **state)
{
  (void)state;
  for (size_t ceiling = 0; ceiling < 200; ceiling++) {
    struct cen_buf buf;
    cen_buf_init(&buf, ceiling);
    for (size_t i = 0; i < ceiling; i++) {
      cen_buf_char(&buf, 'a');
    }
    assert_false(buf.failed);
    assert_int_equal(buf.size, ceiling);
    cen_buf_char(&buf, 'b');
    assert_true(buf.failed);
    assert_int_equal(buf.size, ceiling);
    cen_buf_text(&buf, "");
    assert_null(cen_buf_take(&buf));
    /* usable again, with the same ceiling */
    cen_buf_format(&buf, "%*s", (int)ceiling, "");
    assert_false(buf.failed);
    cen_buf_format(&buf, "%d", 1);
    assert_true(buf.failed);
    cen_buf_deinit(&buf);
  }
}

static void a_failed_piece_leaves_what_was_before_it(void **state)
{
  (void)state;
  struct cen_buf buf;
  cen_buf_init(&buf, 8);
  cen_buf_text(&buf, "12345");
  cen_buf_format(&buf, "%s", "too long");
  assert_true(buf.failed);
  assert_string_equal(buf.data, "12345");
  cen_buf_text(&buf, "6");
  assert_string_equal(buf.data, "12345");
  cen_buf_deinit(&buf);
}

static void a_buffer_grows_like_one_long_text(void **state)
{
  (void)state;
  enum { MOST = 20000 };
  struct cen_rng rng;
  cen_rng_seed(&rng, 4);
  char *model = malloc(MOST + 300);
  size_t size = 0;
  struct cen_buf buf;
  cen_buf_init(&buf, SIZE_MAX);
  while (size < MOST) {
    char piece[256];
    size_t length = cen_rng_below(&rng, sizeof(piece));
    for (size_t i = 0; i < length; i++) {
      piece[i] = (char)('a' + (int)cen_rng_below(&rng, 26));
    }
    piece[length] = '\0';
    memcpy(model + size, piece, length);
    size += length;
    if (cen_rng_below(&rng, 2) == 0) {
      cen_buf_add(&buf, piece, length);
    } else {
      cen_buf_format(&buf, "%s", piece);
    }
    assert_int_equal(buf.size, size);
  }
  model[size] = '\0';
  char *text = cen_buf_take(&buf);
  assert_string_equal(text, model);
  free(text);
  free(model);
}

static void commas_stand_between_and_nowhere_else(void **state)
{
  (void)state;
  struct cen_buf buf;
  struct cen_json json;
  cen_buf_init(&buf, 1000);
  cen_json_init(&json, &buf);
  cen_json_object(&json);
  cen_json_key(&json, "a");
  cen_json_array(&json);
  cen_json_array_end(&json);
  cen_json_key(&json, "b");
  cen_json_array(&json);
  cen_json_int(&json, -1);
  cen_json_object(&json);
  cen_json_object_end(&json);
  cen_json_null(&json);
  cen_json_bool(&json, true);
  cen_json_array_end(&json);
  cen_json_key(&json, "c");
  cen_json_string(&json, NULL);
  cen_json_object_end(&json);
  char *text = cen_buf_take(&buf);
  assert_string_equal(text, "{\"a\":[],\"b\":[-1,{},null,true],\"c\":null}");
  free(text);
}

static char *string_written(const char *text, size_t size)
{
  struct cen_buf buf;
  struct cen_json json;
  cen_buf_init(&buf, 10000);
  cen_json_init(&json, &buf);
  cen_json_string_n(&json, text, size);
  return cen_buf_take(&buf);
}

static void control_characters_are_escaped(void **state)
{
  (void)state;
  char *text = string_written("\b\t\n\v\f\r\"\\\0\x1F\x7F/", 12);
  assert_string_equal(text, "\"\\b\\t\\n\\u000b\\f\\r\\\"\\\\\\u0000\\u001f\x7F/\"");
  free(text);
}

static void bytes_that_are_not_utf8_are_replaced(void **state)
{
  (void)state;
  char *text = string_written("a\xFFz\xE2\x82", 5);
  assert_string_equal(text, "\"a\xEF\xBF\xBDz\xEF\xBF\xBD\xEF\xBF\xBD\"");
  free(text);
}

/* What the reader should find: the input with each byte that is not UTF-8 replaced. */
static size_t model_clean(const char *text, size_t size, char *out)
{
  size_t used = 0;
  for (size_t at = 0; at < size;) {
    size_t bytes = cen_utf8_next(text + at, size - at);
    memcpy(out + used, bytes > 0 ? text + at : "\xEF\xBF\xBD", bytes > 0 ? bytes : 3);
    used += bytes > 0 ? bytes : 3;
    at += bytes > 0 ? bytes : 1;
  }
  return used;
}

static void any_bytes_come_back_from_another_reader(void **state)
{
  (void)state;
  struct cen_rng rng;
  cen_rng_seed(&rng, 5);
  for (int round = 0; round < 3000; round++) {
    char bytes[64], clean[200];
    size_t size = cen_rng_below(&rng, sizeof(bytes));
    for (size_t i = 0; i < size; i++) {
      /* half of them letters, so that runs of plain text occur */
      bytes[i] = (char)(cen_rng_below(&rng, 2) == 0 ? cen_rng_below(&rng, 256)
                                                    : 'a' + cen_rng_below(&rng, 26));
    }
    size_t expected = model_clean(bytes, size, clean);
    char *text = string_written(bytes, size);
    json_error_t error;
    json_t *value = json_loads(text, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
    assert_non_null(value);
    assert_int_equal(json_string_length(value), expected);
    assert_memory_equal(json_string_value(value), clean, expected);
    json_decref(value);
    free(text);
  }
}

static void numbers_come_back_from_another_reader(void **state)
{
  (void)state;
  static const double reals[] = {0.1, -1e300, 5e-324, 3.0, 1.0 / 3};
  struct cen_buf buf;
  struct cen_json json;
  cen_buf_init(&buf, 10000);
  cen_json_init(&json, &buf);
  cen_json_array(&json);
  cen_json_int(&json, INT64_MIN);
  cen_json_int(&json, INT64_MAX);
  cen_json_uint(&json, INT64_MAX);
  cen_json_real(&json, NAN);
  cen_json_real(&json, INFINITY);
  for (size_t i = 0; i < 5; i++) {
    cen_json_real(&json, reals[i]);
  }
  cen_json_array_end(&json);
  char *text = cen_buf_take(&buf);
  json_error_t error;
  json_t *array = json_loads(text, 0, &error);
  assert_non_null(array);
  assert_true(json_integer_value(json_array_get(array, 0)) == INT64_MIN);
  assert_true(json_integer_value(json_array_get(array, 1)) == INT64_MAX);
  assert_true(json_integer_value(json_array_get(array, 2)) == INT64_MAX);
  assert_true(json_is_null(json_array_get(array, 3)));
  assert_true(json_is_null(json_array_get(array, 4)));
  for (size_t i = 0; i < 5; i++) {
    assert_true(json_number_value(json_array_get(array, i + 5)) == reals[i]);
  }
  json_decref(array);
  free(text);
  cen_json_init(&json, &buf);
  cen_json_uint(&json, UINT64_MAX);
  text = cen_buf_take(&buf);
  assert_string_equal(text, "18446744073709551615");
  free(text);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(an_empty_buffer_gives_an_empty_text),
      cmocka_unit_test(a_buffer_holds_its_ceiling_and_not_a_byte_more),
      cmocka_unit_test(a_failed_piece_leaves_what_was_before_it),
      cmocka_unit_test(a_buffer_grows_like_one_long_text),
      cmocka_unit_test(commas_stand_between_and_nowhere_else),
      cmocka_unit_test(control_characters_are_escaped),
      cmocka_unit_test(bytes_that_are_not_utf8_are_replaced),
      cmocka_unit_test(any_bytes_come_back_from_another_reader),
      cmocka_unit_test(numbers_come_back_from_another_reader),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
