/* wire_baton.c - base64 and the batons made of it. */
#include "wire/base64.h"
#include "wire/baton.h"

#include "base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static bool decodes(const char *text, const char *bytes, size_t size)
{
  char copy[64];
  size_t length = strlen(text);
  memcpy(copy, text, length);
  return cen_base64_decode(copy, &length) && length == size && memcmp(copy, bytes, size) == 0;
}

static void both_paddings_are_read(void **state)
{
  (void)state;
  assert_true(decodes("", "", 0));
  assert_true(decodes("Zg==", "f", 1));
  assert_true(decodes("Zg", "f", 1));
  assert_true(decodes("Zm8=", "fo", 2));
  assert_true(decodes("Zm8", "fo", 2));
  assert_true(decodes("Zm9v", "foo", 3));
  assert_true(decodes("AP8Q", "\x00\xFF\x10", 3));
  assert_true(decodes("+/+/", "\xFB\xFF\xBF", 3));
}

static void nothing_else_is_read(void **state)
{
  (void)state;
  static const char *const texts[] = {
      "Z",   "Zg=",    "Zg===", "=",    "==",       "====",  "Zm9v=", "Zh==", "Zh",
      "Zm9", "Zg==\n", " Zg=",  "Zm-_", "Zg==Zg==", "Zm8=v", "Z===",  "Zm9vZ"};
  for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
    char copy[64];
    size_t length = strlen(texts[i]);
    memcpy(copy, texts[i], length);
    assert_false(cen_base64_decode(copy, &length));
  }
}

static void bytes_survive_the_way_there_and_back(void **state)
{
  (void)state;
  struct cen_rng rng;
  cen_rng_seed(&rng, 20);
  for (int run = 0; run < 300; run++) {
    unsigned char bytes[5000];
    size_t size = (size_t)(cen_rng_next(&rng) % (run < 250 ? 20 : sizeof(bytes)));
    for (size_t i = 0; i < size; i++) {
      bytes[i] = (unsigned char)cen_rng_next(&rng);
    }
    struct cen_buf buf;
    cen_buf_init(&buf, 10000);
    cen_base64_put(&buf, bytes, size, run % 2 == 0);
    size_t length = buf.size;
    assert_int_equal(length, run % 2 == 0 ? (size + 2) / 3 * 4 : (size * 4 + 2) / 3);
    if (size > 0) {
      assert_true(cen_base64_decode(buf.data, &length));
      assert_int_equal(length, size);
      assert_memory_equal(buf.data, bytes, size);
    }
    cen_buf_deinit(&buf);
  }
}

static void a_baton_reads_back_with_its_key_alone(void **state)
{
  (void)state;
  unsigned char key[CEN_BATON_KEY] = {1, 2, 3};
  unsigned char other[CEN_BATON_KEY] = {1, 2, 4};
  struct cen_baton baton = {UINT64_C(0x0102030405060708), UINT64_MAX};
  struct cen_baton got;
  char text[CEN_BATON_TEXT + 1];
  assert_true(cen_baton_sign(text, &baton, key));
  assert_int_equal(strlen(text), CEN_BATON_TEXT);
  assert_memory_equal(text, "AQIDBAUGBwj//////////", 21);
  assert_true(cen_baton_verify(text, CEN_BATON_TEXT, key, &got));
  assert_true(got.stream == baton.stream && got.sequence == baton.sequence);
  assert_false(cen_baton_verify(text, CEN_BATON_TEXT, other, &got));
  assert_true(got.stream == 0 && got.sequence == 0);
}

static void a_baton_is_a_mac_over_its_numbers(void **state)
{
  (void)state;
  /* HMAC-SHA256 of sixteen zero bytes under a key of zeros, by another program */
  unsigned char key[CEN_BATON_KEY] = {0};
  struct cen_baton zero = {0, 0};
  char text[CEN_BATON_TEXT + 1];
  assert_true(cen_baton_sign(text, &zero, key));
  assert_string_equal(text, "AAAAAAAAAAAAAAAAAAAAAIU8dAOTfYtiOVabGE63mT/F91Gu/Ooo8shjhY4tKcUL");
}

static void a_changed_baton_is_refused(void **state)
{
  (void)state;
  unsigned char key[CEN_BATON_KEY] = {7};
  struct cen_baton baton = {5, 6};
  struct cen_baton got;
  char text[CEN_BATON_TEXT + 1];
  assert_true(cen_baton_sign(text, &baton, key));
  for (size_t i = 0; i < CEN_BATON_TEXT; i++) {
    char kept = text[i];
    text[i] = kept == 'A' ? 'B' : 'A';
    assert_false(cen_baton_verify(text, CEN_BATON_TEXT, key, &got));
    text[i] = kept;
  }
  assert_true(cen_baton_verify(text, CEN_BATON_TEXT, key, &got));
  assert_false(cen_baton_verify(text, CEN_BATON_TEXT - 1, key, &got));
  assert_false(cen_baton_verify("", 0, key, &got));
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(both_paddings_are_read),
      cmocka_unit_test(nothing_else_is_read),
      cmocka_unit_test(bytes_survive_the_way_there_and_back),
      cmocka_unit_test(a_baton_reads_back_with_its_key_alone),
      cmocka_unit_test(a_baton_is_a_mac_over_its_numbers),
      cmocka_unit_test(a_changed_baton_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
