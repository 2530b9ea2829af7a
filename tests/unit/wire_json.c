/* wire_json.c - the strict JSON reader: what it takes, what it refuses, and where it stops. */
#include "wire/json_put.h"
#include "wire/json_reader.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct cen_reader_limits plenty = {1 << 20, 128, 1 << 20};

/* Exactly as large as the text, so that a sanitizer sees a read past its end. */
static char *exact(const char *text, size_t size)
{
  char *copy = malloc(size > 0 ? size : 1);
  assert_non_null(copy);
  memcpy(copy, text, size);
  return copy;
}

/* The problem of skipping and of reading, which must be the same; NULL: none. */
static const char *problem_of(const char *text, size_t size, const struct cen_reader_limits *limits)
{
  struct cen_reader r;
  struct cen_token token;
  char *copy = exact(text, size);
  cen_reader_init(&r, copy, size, limits);
  bool skipped = cen_read_skip(&r) && cen_read_end(&r);
  assert_int_equal(skipped, r.problem == NULL);
  assert_memory_equal(copy, text, size);
  const char *problem = r.problem;
  cen_reader_init(&r, copy, size, limits);
  if (cen_read_value(&r, &token) && token.kind < CEN_TOKEN_ARRAY) {
    assert_int_equal(cen_read_end(&r), skipped);
  }
  free(copy);
  return problem;
}

static void it_takes_what_the_standard_says(void **state)
{
  (void)state;
  static const char *const texts[] = {"null",
                                      "true",
                                      "false",
                                      "0",
                                      "-0",
                                      "12.5e+3",
                                      "1E5",
                                      "-0.1",
                                      "\"\"",
                                      "\"a\"",
                                      "[]",
                                      "{}",
                                      " [ 1 , 2 ] ",
                                      "[[],{}]",
                                      "{\"a\":{\"b\":[1,null]},\"a\":2}",
                                      "\t\r\n 1 \n",
                                      "\"\\u00e9\\uD83D\\ude00\"",
                                      "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"",
                                      "\"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\"",
                                      "\"\\u0000\"",
                                      "123456789012345678901234567890e-4000"};
  for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
    assert_null(problem_of(texts[i], strlen(texts[i]), &plenty));
  }
}

static void it_refuses_everything_else(void **state)
{
  (void)state;
  static const struct {
    const char *text, *problem;
  } cases[] = {
      {"", "it ends too early"},
      {" ", "it ends too early"},
      {"[", "it ends too early"},
      {"[1", "it ends too early"},
      {"{\"a\"", "no colon"},
      {"{\"a\":", "it ends too early"},
      {"{\"a\" 1}", "no colon"},
      {"{1:2}", "no member name"},
      {"{\"a\":1,}", "no member name"},
      {"[1,]", "not a number"},
      {"[,1]", "not a number"},
      {"[1 2]", "no comma"},
      {"[1}", "no comma"},
      {"{\"a\":1]", "no comma"},
      {"]", "not a number"},
      {"nul", "not a value"},
      {"nulL", "not a value"},
      {"True", "not a number"},
      {"01", "not a number"},
      {"-", "not a number"},
      {"1.", "not a number"},
      {".5", "not a number"},
      {"+1", "not a number"},
      {"1e", "not a number"},
      {"1e+", "not a number"},
      {"0x1", "something follows"},
      {"NaN", "not a number"},
      {"1 2", "something follows"},
      {"{} x", "something follows"},
      {"\"", "a string that does not end"},
      {"\"a", "a string that does not end"},
      {"\"a\\", "a string that does not end"},
      {"\"\\x\"", "an unknown escape"},
      {"\"\\'\"", "an unknown escape"},
      {"\"\\u12\"", "\\u without four hexadecimal digits"},
      {"\"\\u12g4\"", "\\u without four hexadecimal digits"},
      {"\"\\ud800\"", "a lone surrogate"},
      {"\"\\udc00\"", "a lone surrogate"},
      {"\"\\ud800\\u0041\"", "a lone surrogate"},
      {"\"\\ud800\\ud800\"", "a lone surrogate"},
      {"\"\\ud800x\"", "a lone surrogate"},
      {"\"\n\"", "a control character in a string"},
      {"\"\x1f\"", "a control character in a string"},
      {"\"\xff\"", "invalid UTF-8"},
      {"\"\xc0\xaf\"", "invalid UTF-8"},
      {"\"\xed\xa0\x80\"", "invalid UTF-8"},
      {"\"12345678\xf0\x9f\x98\"", "invalid UTF-8"},
      {"\"\xc3", "invalid UTF-8"},
      {"// x", "not a number"},
      {"\xEF\xBB\xBF"
       "1",
       "not a number"},
  };
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    const char *problem = problem_of(cases[i].text, strlen(cases[i].text), &plenty);
    assert_non_null(problem);
    assert_string_equal(problem, cases[i].problem);
  }
  assert_string_equal(problem_of("\"a\0b\"", 5, &plenty), "a control character in a string");
  assert_string_equal(problem_of("1\0", 2, &plenty), "something follows");
}

static void strings_are_decoded_where_they_stand(void **state)
{
  (void)state;
  char text[] =
      "[\"plain text of some length\", \"a\\n\\u00e9\\ud83d\\ude00z\", \"x\\u0000y\", -1.50]";
  struct cen_reader r;
  struct cen_token token;
  cen_reader_init(&r, text, sizeof(text) - 1, &plenty);
  assert_true(cen_read_array(&r));
  assert_true(cen_read_element(&r) && cen_read_value(&r, &token));
  assert_ptr_equal(token.text, text + 2);
  assert_string_equal(token.text, "plain text of some length");
  assert_int_equal(token.size, 25);
  assert_true(cen_read_element(&r) && cen_read_value(&r, &token));
  assert_string_equal(token.text, "a\n\xC3\xA9\xF0\x9F\x98\x80z");
  assert_int_equal(token.size, 9);
  assert_false(token.has_nul);
  assert_true(cen_read_element(&r) && cen_read_value(&r, &token));
  assert_memory_equal(token.text, "x\0y", 4);
  assert_int_equal(token.size, 3);
  assert_true(token.has_nul);
  assert_true(cen_read_element(&r) && cen_read_value(&r, &token));
  assert_int_equal(token.kind, CEN_TOKEN_NUMBER);
  assert_memory_equal(token.text, "-1.50", 5);
  assert_int_equal(token.size, 5);
  assert_false(cen_read_element(&r));
  assert_true(cen_read_end(&r));
}

static void known_members_are_found_and_others_skipped(void **state)
{
  (void)state;
  static const char *const names[] = {"a", "b", "c"};
  char text[] = "{\"x\":[{\"a\":9}],\"\\u0062\":2,\"aa\":0,\"a\":1,\"\":{}}";
  struct cen_reader r;
  uint64_t seen = 0;
  int64_t value;
  cen_reader_init(&r, text, sizeof(text) - 1, &plenty);
  assert_true(cen_read_object(&r));
  assert_int_equal(cen_read_known(&r, names, 3, &seen), 1);
  assert_true(cen_read_int(&r, &value, NULL));
  assert_int_equal(value, 2);
  assert_int_equal(cen_read_known(&r, names, 3, &seen), 0);
  assert_true(cen_read_int(&r, &value, NULL));
  assert_int_equal(value, 1);
  assert_int_equal(cen_read_known(&r, names, 3, &seen), -1);
  assert_true(cen_read_end(&r));
  assert_int_equal(seen, 3);
}

static void a_known_member_comes_once(void **state)
{
  (void)state;
  static const char *const names[] = {"a"};
  char text[] = "{\"b\":1,\"b\":2,\"a\":1,\"\\u0061\":2}";
  struct cen_reader r;
  uint64_t seen = 0;
  int64_t value;
  cen_reader_init(&r, text, sizeof(text) - 1, &plenty);
  assert_true(cen_read_object(&r));
  assert_int_equal(cen_read_known(&r, names, 1, &seen), 0);
  assert_true(cen_read_int(&r, &value, NULL));
  assert_int_equal(cen_read_known(&r, names, 1, &seen), -1);
  assert_string_equal(r.problem, "a member comes twice");
}

static void a_copy_reads_again_what_was_skipped(void **state)
{
  (void)state;
  char text[] = "[{\"a\\n\":\"b\\t\"},1]";
  struct cen_reader r;
  struct cen_token token;
  cen_reader_init(&r, text, sizeof(text) - 1, &plenty);
  assert_true(cen_read_array(&r) && cen_read_element(&r));
  struct cen_reader before = r;
  assert_true(cen_read_skip(&r));
  assert_true(cen_read_element(&r) && cen_read_value(&r, &token));
  assert_true(cen_read_object(&before) && cen_read_member(&before, &token));
  assert_string_equal(token.text, "a\n");
  assert_true(cen_read_value(&before, &token));
  assert_string_equal(token.text, "b\t");
  assert_false(cen_read_member(&before, &token));
  assert_null(before.problem);
}

static void values_are_made_compact_in_place(void **state)
{
  (void)state;
  char text[] = " { \"a b\" : [ 1 , \"c \\\" d\\\\\" , { } ] , \"e\" : null } ";
  struct cen_reader r;
  struct cen_token token;
  cen_reader_init(&r, text, sizeof(text) - 1, &plenty);
  assert_true(cen_read_compact(&r, &token));
  static const char compact[] = "{\"a b\":[1,\"c \\\" d\\\\\",{}],\"e\":null}";
  assert_int_equal(token.size, sizeof(compact) - 1);
  assert_memory_equal(token.text, compact, token.size);
  assert_true(cen_read_end(&r));
}

static void ceilings_hold_exactly(void **state)
{
  (void)state;
  struct cen_reader_limits limits = {12, 3, 5};
  assert_null(problem_of("[[[1,2]],3] ", 12, &limits));
  assert_string_equal(problem_of("[[[1,2]],3]  ", 13, &limits), "too many bytes");
  assert_string_equal(problem_of("[[[[]]]]", 8, &limits), "too deep");
  limits.bytes = 13;
  assert_string_equal(problem_of("[1,2,3,4,5,6]", 13, &limits), "too many members");
  assert_null(problem_of("[1,2,3,4,5]", 11, &limits));
  char deep[300];
  memset(deep, '[', 129);
  memset(deep + 129, ']', 129);
  struct cen_reader_limits endless = {SIZE_MAX, 1000, UINT64_MAX};
  assert_null(problem_of(deep + 1, 256, &endless));
  assert_string_equal(problem_of(deep, 258, &endless), "too deep");
}

static void an_error_says_what_and_where(void **state)
{
  (void)state;
  char text[] = "[1,x]";
  struct cen_reader_limits limits = {2, 3, 4};
  struct cen_reader r;
  cenote_error error = CENOTE_ERROR_INIT;
  cen_reader_init(&r, text, 5, &plenty);
  assert_false(cen_read_skip(&r));
  assert_int_equal(cen_reader_error(&r, CENOTE_INVALID, "bad body", &error), CENOTE_INVALID);
  assert_string_equal(error.message, "bad body: not a number at byte 3");
  cen_reader_init(&r, text, 5, &limits);
  assert_false(cen_read_skip(&r));
  assert_int_equal(cen_reader_error(&r, CENOTE_INVALID, "bad body", &error), CENOTE_TOO_LARGE);
}

static bool to_int(const char *text, int64_t *value)
{
  struct cen_token token = {.text = (char *)(uintptr_t)text, .size = strlen(text)};
  return cen_token_int(&token, value);
}

static void whole_numbers_have_their_range(void **state)
{
  (void)state;
  int64_t value;
  assert_true(to_int("9223372036854775807", &value) && value == INT64_MAX);
  assert_true(to_int("-9223372036854775808", &value) && value == INT64_MIN);
  assert_true(to_int("-0", &value) && value == 0);
  assert_true(to_int("007", &value) && value == 7);
  assert_false(to_int("9223372036854775808", &value));
  assert_false(to_int("-9223372036854775809", &value));
  assert_false(to_int("99999999999999999999999", &value));
  assert_false(to_int("", &value));
  assert_false(to_int("-", &value));
  assert_false(to_int("+1", &value));
  assert_false(to_int("1.0", &value));
  assert_false(to_int(" 1", &value));
}

static bool to_real(const char *text, double *value)
{
  struct cen_token token = {.text = (char *)(uintptr_t)text, .size = strlen(text)};
  return cen_token_real(&token, value);
}

static void reals_are_read_without_extras(void **state)
{
  (void)state;
  double value;
  char large[600];
  assert_true(to_real("-12.5e1", &value) && value == -125);
  assert_true(to_real("1e999", &value) && isinf(value));
  assert_true(to_real("1e-999", &value) && value == 0);
  assert_false(to_real("inf", &value));
  assert_false(to_real("nan", &value));
  assert_false(to_real("0x10", &value));
  assert_false(to_real(" 1", &value));
  assert_false(to_real("1e", &value));
  assert_false(to_real("", &value));
  assert_false(to_real("-", &value));
  memset(large, '9', sizeof(large));
  large[sizeof(large) - 1] = '\0';
  assert_true(to_real(large, &value) && isinf(value));
}

static void what_is_put_reads_back(void **state)
{
  (void)state;
  struct cen_buf buf;
  struct cen_reader r;
  struct cen_token token;
  char text[256];
  for (int i = 0; i < 128; i++) {
    text[i] = (char)i;
  }
  memcpy(text + 128, "\xC3\xA9\xF0\x9F\x98\x80", 6);
  cen_buf_init(&buf, 4096);
  assert_true(cen_put_string(&buf, text, 134));
  cen_reader_init(&r, buf.data, buf.size, &plenty);
  assert_true(cen_read_value(&r, &token) && cen_read_end(&r));
  assert_int_equal(token.size, 134);
  assert_memory_equal(token.text, text, 134);
  cen_buf_deinit(&buf);
  assert_false(cen_put_string(&buf, "a\xFFz\"\x01\n\v", 7));
  assert_string_equal(buf.data, "\"a\xEF\xBF\xBDz\\\"\\u0001\\n\\u000b\"");
  cen_buf_deinit(&buf);
  cen_put_int(&buf, INT64_MIN);
  CEN_PUT(&buf, ",");
  cen_put_int(&buf, 0);
  CEN_PUT(&buf, ",");
  cen_put_int(&buf, INT64_MAX);
  CEN_PUT(&buf, ",");
  cen_put_real(&buf, 0.1);
  CEN_PUT(&buf, ",");
  cen_put_hex(&buf, "\x00\xAB\xFF", 3);
  cen_put_undo(&buf, buf.size - 2);
  CEN_PUT(&buf, ",");
  cen_put_text(&buf, NULL);
  assert_string_equal(buf.data, "-9223372036854775808,0,9223372036854775807,0.1,00ab,null");
  cen_buf_deinit(&buf);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(it_takes_what_the_standard_says),
      cmocka_unit_test(it_refuses_everything_else),
      cmocka_unit_test(strings_are_decoded_where_they_stand),
      cmocka_unit_test(known_members_are_found_and_others_skipped),
      cmocka_unit_test(a_known_member_comes_once),
      cmocka_unit_test(a_copy_reads_again_what_was_skipped),
      cmocka_unit_test(values_are_made_compact_in_place),
      cmocka_unit_test(ceilings_hold_exactly),
      cmocka_unit_test(an_error_says_what_and_where),
      cmocka_unit_test(whole_numbers_have_their_range),
      cmocka_unit_test(reals_are_read_without_extras),
      cmocka_unit_test(what_is_put_reads_back),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
