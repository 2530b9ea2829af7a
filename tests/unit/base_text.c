/* base_text.c - UTF-8, numbers, escapes, against plain models. */
#include "base/rng.h"
#include "base/text.h"

#include <locale.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The model: decode by arithmetic, then ask whether this is how the number is written. */
static size_t model_next(const unsigned char *at, size_t size)
{
  size_t bytes = at[0] < 0x80             ? 1
                 : (at[0] & 0xE0) == 0xC0 ? 2
                 : (at[0] & 0xF0) == 0xE0 ? 3
                 : (at[0] & 0xF8) == 0xF0 ? 4
                                          : 0;
  if (bytes == 0 || bytes > size) {
    return 0;
  }
  static const unsigned char masks[] = {0, 0x7F, 0x1F, 0x0F, 0x07};
  static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
  uint32_t code = at[0] & masks[bytes];
  for (size_t i = 1; i < bytes; i++) {
    if ((at[i] & 0xC0) != 0x80) {
      return 0;
    }
    code = code << 6 | (at[i] & 0x3F);
  }
  bool fine = code >= least[bytes] && code <= 0x10FFFF && !(code >= 0xD800 && code <= 0xDFFF);
  return fine ? bytes : 0;
}

static void utf8_is_told_from_other_bytes(void **state)
{
  (void)state;
  static const unsigned char edges[] = {0x00, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0,
                                        0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xED,
                                        0xEE, 0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xFF};
  enum { N = sizeof(edges) };
  for (size_t i = 0; i < (size_t)N * N * N * N; i++) {
    size_t rest = i;
    unsigned char text[4];
    for (int j = 0; j < 4; j++, rest /= N) {
      text[j] = edges[rest % N];
    }
    size_t size = i % 4 + 1;
    if (cen_utf8_next((char *)text, size) != model_next(text, size)) {
      fail_msg("%02x %02x %02x %02x, %zu bytes", text[0], text[1], text[2], text[3], size);
    }
  }
}

static void a_cut_keeps_as_many_whole_characters_as_fit(void **state)
{
  (void)state;
  static const char *const characters[] = {"a", "\xC3\xA4", "\xE2\x82\xAC", "\xF0\x9F\x90\x9F"};
  struct cen_rng rng;
  cen_rng_seed(&rng, 1);
  for (int round = 0; round < 300; round++) {
    char text[256] = "";
    bool boundary[256] = {true};
    size_t size = 0;
    while (size < 100) {
      const char *character = characters[cen_rng_below(&rng, 4)];
      memcpy(text + size, character, strlen(character));
      size += strlen(character);
      boundary[size] = true;
    }
    for (size_t cut = 0; cut <= size; cut++) {
      size_t expected = cut;
      while (!boundary[expected]) {
        expected--;
      }
      assert_int_equal(cen_utf8_cut(text, cut), expected);
    }
  }
}

static void bytes_in_another_encoding_are_not_cut_away(void **state)
{
  (void)state;
  assert_int_equal(cen_utf8_cut("abc\x80\x80\x80\x80", 7), 7);
  assert_int_equal(cen_utf8_cut("\x80", 1), 1);
  assert_int_equal(cen_utf8_cut("", 0), 0);
}

static void integers_are_whole_or_refused(void **state)
{
  (void)state;
  static const struct {
    const char *text;
    bool fine;
    int64_t value;
  } rows[] = {
      {"0", true, 0},
      {"-1", true, -1},
      {"007", true, 7},
      {"9223372036854775807", true, INT64_MAX},
      {"9223372036854775808", false, 0},
      {"-9223372036854775808", true, INT64_MIN},
      {"-9223372036854775809", false, 0},
      {"", false, 0},
      {"-", false, 0},
      {"+1", false, 0},
      {" 1", false, 0},
      {"1 ", false, 0},
      {"1x", false, 0},
      {"0x10", false, 0},
      {"1.0", false, 0},
      {"--1", false, 0},
      {NULL, false, 0},
  };
  for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
    int64_t value = 4711;
    assert_int_equal(cen_text_to_int(rows[i].text, &value), rows[i].fine);
    assert_int_equal(value, rows[i].fine ? rows[i].value : 4711);
  }
}

static void reals_are_decimal_and_finite(void **state)
{
  (void)state;
  static const struct {
    const char *text;
    bool fine;
    double value;
  } rows[] = {
      {"1.5", true, 1.5}, {"-2e3", true, -2000},  {"+.5", true, 0.5},  {"12", true, 12},
      {"5.", true, 5},    {"1e308", true, 1e308}, {"1e309", false, 0}, {"nan", false, 0},
      {"inf", false, 0},  {"0x10", false, 0},     {"1,5", false, 0},   {"", false, 0},
      {".", false, 0},    {"e5", false, 0},       {"1e", false, 0},    {" 1", false, 0},
      {"1 ", false, 0},   {"1-2", false, 0},      {NULL, false, 0},    {"1e-400", true, 0},
  };
  for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
    double value = 4711;
    if (cen_text_to_real(rows[i].text, &value) != rows[i].fine ||
        value != (rows[i].fine ? rows[i].value : 4711)) {
      fail_msg("%s", rows[i].text);
    }
  }
}

static void check_real_round_trip(double value)
{
  char text[CEN_REAL_TEXT];
  double back;
  cen_text_from_real(text, value);
  assert_null(strchr(text, ','));
  assert_true(cen_text_to_real(text, &back));
  assert_memory_equal(&back, &value, sizeof(value));
}

static void reals_survive_being_text(void **state)
{
  (void)state;
  struct cen_rng rng;
  cen_rng_seed(&rng, 2);
  for (int i = 0; i < 20000; i++) {
    uint64_t bits = cen_rng_next(&rng);
    double value;
    memcpy(&value, &bits, sizeof(value));
    if (isfinite(value)) {
      check_real_round_trip(value);
    }
  }
  check_real_round_trip(5e-324);
  check_real_round_trip(1.7976931348623157e308);
  check_real_round_trip(-0.0);
  char text[CEN_REAL_TEXT];
  cen_text_from_real(text, 0.1);
  assert_string_equal(text, "0.1");
  cen_text_from_real(text, 0.1 + 0.2);
  assert_string_equal(text, "0.30000000000000004");
}

static void the_locale_does_not_change_a_number(void **state)
{
  (void)state;
  static const char *const with_comma[] = {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8",
                                           "nl_NL.UTF-8", "de_DE"};
  bool found = false;
  for (size_t i = 0; i < sizeof(with_comma) / sizeof(with_comma[0]) && !found; i++) {
    found = setlocale(LC_NUMERIC, with_comma[i]) != NULL;
  }
  if (!found) {
    skip();
  }
  check_real_round_trip(1234.5);
  char text[CEN_REAL_TEXT];
  cen_text_from_real(text, 1234.5);
  setlocale(LC_NUMERIC, "C");
  assert_string_equal(text, "1234.5");
}

static void booleans_have_four_spellings_each(void **state)
{
  (void)state;
  static const char *const yes[] = {"true", "YES", "On", "1"};
  static const char *const no[] = {"false", "No", "OFF", "0"};
  static const char *const neither[] = {"", "2", "truely", "tru", " true", "y"};
  bool value;
  for (size_t i = 0; i < 4; i++) {
    value = false;
    assert_true(cen_text_to_bool(yes[i], &value) && value);
    value = true;
    assert_true(cen_text_to_bool(no[i], &value) && !value);
  }
  for (size_t i = 0; i < sizeof(neither) / sizeof(neither[0]); i++) {
    assert_false(cen_text_to_bool(neither[i], &value));
  }
  assert_false(cen_text_to_bool(NULL, &value));
}

static void secrets_are_equal_only_byte_for_byte(void **state)
{
  (void)state;
  assert_true(cen_text_equal_secret("", ""));
  assert_true(cen_text_equal_secret("token", "token"));
  assert_false(cen_text_equal_secret("token", "tokeN"));
  assert_false(cen_text_equal_secret("Token", "token"));
  assert_false(cen_text_equal_secret("token", "toke"));
  assert_false(cen_text_equal_secret("toke", "token"));
  assert_false(cen_text_equal_secret(NULL, NULL));
  assert_false(cen_text_equal_secret("", NULL));
  /* differences that cancel out under a sum or an exclusive or */
  assert_false(cen_text_equal_secret("ab", "ba"));
  assert_false(cen_text_equal_secret("aa", "bb"));
}

static void what_harms_a_terminal_is_escaped(void **state)
{
  (void)state;
  static const char *const rows[][2] = {
      {"get-user", "get-user"},
      {"a\nb\x1B[2J", "a\\x0ab\\x1b[2J"},
      {"\"'\\", "\\x22\\x27\\x5c"},
      {"\x7F", "\\x7f"},
      {"\xC3\xA4\xE2\x82\xAC", "\xC3\xA4\xE2\x82\xAC"},
      {"\xC2\x9B", "\\xc2\\x9b"},
      {"\xE2\x80\xAE", "\\xe2\\x80\\xae"},
      {"\xFF"
       "a",
       "\\xffa"},
      {"\xE2\x82", "\\xe2\\x82"},
      {NULL, ""},
  };
  for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
    char out[64];
    cen_text_escape(out, sizeof(out), rows[i][0]);
    assert_string_equal(out, rows[i][1]);
  }
}

static void an_escaped_text_ends_before_what_does_not_fit(void **state)
{
  (void)state;
  const char *text = "a\n\xE2\x82\xAC\xFF";
  const char *full = "a\\x0a\xE2\x82\xAC\\xff";
  static const size_t fits[] = {0, 0, 1, 1, 1, 1, 5, 5, 5, 8, 8, 8, 8, 12, 12};
  for (size_t size = 1; size < sizeof(fits) / sizeof(fits[0]); size++) {
    char *out = malloc(size);
    cen_text_escape(out, size, text);
    assert_int_equal(strlen(out), fits[size]);
    assert_memory_equal(out, full, strlen(out));
    free(out);
  }
  char untouched = 'x';
  cen_text_escape(&untouched, 0, text);
  assert_int_equal(untouched, 'x');
}

static void copies_are_terminated(void **state)
{
  (void)state;
  char *copy = cen_text_copy_n("abcdef", 3);
  assert_string_equal(copy, "abc");
  free(copy);
  copy = cen_text_copy("");
  assert_string_equal(copy, "");
  cen_wipe(copy, 1);
  free(copy);
  assert_null(cen_text_copy(NULL));
  assert_null(cen_text_copy_n(NULL, 5));
  assert_null(cen_text_copy_n("a", SIZE_MAX));
  char secret[] = "secret";
  cen_wipe(secret, sizeof(secret));
  assert_memory_equal(secret, "\0\0\0\0\0\0\0", sizeof(secret));
  cen_wipe(NULL, 3);
}

static void percent_signs_are_decoded_or_told(void **state)
{
  static const struct {
    const char *text, *decoded; /* NULL: bad */
  } cases[] = {{"", ""},        {"a%20b", "a b"}, {"%41%4a%4F", "AJO"},  {"100%25", "100%"},
               {"%", NULL},     {"a%4", NULL},    {"%4g", NULL},         {"%g4", NULL},
               {"x%00y", NULL}, {"%2541", "%41"}, {"%c3%A4", "\xc3\xa4"}};
  bool bad;
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    char *decoded = cen_percent_decode(cases[i].text, strlen(cases[i].text), &bad);
    assert_int_equal(bad, cases[i].decoded == NULL);
    if (cases[i].decoded == NULL) {
      assert_null(decoded);
    } else {
      assert_string_equal(decoded, cases[i].decoded);
    }
    free(decoded);
  }
  assert_null(cen_percent_decode("%41", 2, &bad)); /* not beyond its size */
  assert_true(bad);
  for (int c = 1; c < 256; c++) {
    const char text[] = {(char)c, '\0'};
    const bool is_hex = strchr("0123456789abcdefABCDEF", c) != NULL;
    assert_int_equal(cen_hex_digit((char)c), is_hex ? strtol(text, NULL, 16) : -1);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(utf8_is_told_from_other_bytes),
      cmocka_unit_test(a_cut_keeps_as_many_whole_characters_as_fit),
      cmocka_unit_test(bytes_in_another_encoding_are_not_cut_away),
      cmocka_unit_test(integers_are_whole_or_refused),
      cmocka_unit_test(reals_are_decimal_and_finite),
      cmocka_unit_test(reals_survive_being_text),
      cmocka_unit_test(the_locale_does_not_change_a_number),
      cmocka_unit_test(booleans_have_four_spellings_each),
      cmocka_unit_test(secrets_are_equal_only_byte_for_byte),
      cmocka_unit_test(what_harms_a_terminal_is_escaped),
      cmocka_unit_test(an_escaped_text_ends_before_what_does_not_fit),
      cmocka_unit_test(copies_are_terminated),
      cmocka_unit_test(percent_signs_are_decoded_or_told),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
