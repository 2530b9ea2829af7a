/* gateway_jwt.c - which JSON Web Tokens open the door, and what they allow. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/buf.h"
#include "server/jwt.h"
#include "wire/base64.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NOW = 1790000000 };

static EVP_PKEY *private_key, *stranger;
static struct gateway_jwt_key *key;

static void url_put(struct cen_buf *buf, const void *bytes, size_t size)
{
  const size_t from = buf->size;
  cen_base64_put(buf, bytes, size, false);
  for (size_t i = from; i < buf->size; i++) {
    buf->data[i] = buf->data[i] == '+' ? '-' : buf->data[i] == '/' ? '_' : buf->data[i];
  }
}

/* The caller frees it. */
static char *token_sign(EVP_PKEY *with, const char *header, const char *claims)
{
  struct cen_buf buf;
  unsigned char signature[64];
  size_t size = sizeof signature;
  cen_buf_init(&buf, 1 << 16);
  url_put(&buf, header, strlen(header));
  cen_buf_char(&buf, '.');
  url_put(&buf, claims, strlen(claims));
  EVP_MD_CTX *context = EVP_MD_CTX_new();
  assert_int_equal(EVP_DigestSignInit(context, NULL, NULL, NULL, with), 1);
  assert_int_equal(
      EVP_DigestSign(context, signature, &size, (const unsigned char *)buf.data, buf.size), 1);
  EVP_MD_CTX_free(context);
  cen_buf_char(&buf, '.');
  url_put(&buf, signature, size);
  char *token = cen_buf_take(&buf);
  cen_buf_deinit(&buf);
  assert_non_null(token);
  return token;
}

static enum gateway_jwt check(const char *header, const char *claims)
{
  char *token = token_sign(private_key, header, claims);
  const enum gateway_jwt verdict = gateway_jwt_check(key, token, NOW);
  free(token);
  return verdict;
}

#define HEADER "{\"alg\":\"EdDSA\",\"typ\":\"JWT\"}"

static void claims_decide_what_is_allowed(void **state)
{
  static const struct {
    const char *claims;
    enum gateway_jwt verdict;
  } cases[] = {
      {"{}", GATEWAY_JWT_WRITES},
      {"{\"a\":\"rw\"}", GATEWAY_JWT_WRITES},
      {"{\"a\":\"ro\"}", GATEWAY_JWT_READS},
      {"{\"a\":\"\\u0072o\"}", GATEWAY_JWT_READS},
      {"{\"a\":\"admin\"}", GATEWAY_JWT_REFUSED},
      {"{\"a\":null}", GATEWAY_JWT_REFUSED},
      {"{\"a\":\"rw\\u0000\"}", GATEWAY_JWT_REFUSED},
      {"{\"a\":\"ro\",\"a\":\"rw\"}", GATEWAY_JWT_REFUSED},
      {"{\"sub\":\"someone\",\"x\":[1,{\"y\":2}]}", GATEWAY_JWT_WRITES},
      {"{\"p\":{\"ro\":{\"ns\":[\"a\"]}}}", GATEWAY_JWT_REFUSED},
      {"{\"id\":\"one-of-several\"}", GATEWAY_JWT_REFUSED},
      {"{\"exp\":1790000001}", GATEWAY_JWT_WRITES},
      {"{\"exp\":1789999941}", GATEWAY_JWT_WRITES}, /* 59 s ago */
      {"{\"exp\":1789999940}", GATEWAY_JWT_REFUSED},
      {"{\"exp\":1789999940.5}", GATEWAY_JWT_WRITES},
      {"{\"exp\":\"1790000001\"}", GATEWAY_JWT_REFUSED},
      {"{\"exp\":-1}", GATEWAY_JWT_REFUSED},
      {"{\"exp\":1e300}", GATEWAY_JWT_WRITES},
      {"{\"nbf\":1790000060}", GATEWAY_JWT_WRITES},
      {"{\"nbf\":1790000061}", GATEWAY_JWT_REFUSED},
      {"{\"nbf\":true}", GATEWAY_JWT_REFUSED},
      {"[]", GATEWAY_JWT_REFUSED},
      {"{} ", GATEWAY_JWT_WRITES},
      {"{}x", GATEWAY_JWT_REFUSED},
      {"", GATEWAY_JWT_REFUSED},
  };
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    if (check(HEADER, cases[i].claims) != cases[i].verdict) {
      fail_msg("claims %s", cases[i].claims);
    }
  }
}

static void the_header_cannot_choose_its_algorithm(void **state)
{
  static const char *const good[] = {HEADER, "{\"alg\":\"EdDSA\"}",
                                     "{\"typ\":\"jwt\",\"alg\":\"EdDSA\",\"kid\":\"1\"}"};
  static const char *const evil[] = {
      "{}",
      "{\"alg\":\"none\"}",
      "{\"alg\":\"HS256\"}",
      "{\"alg\":\"eddsa\"}",
      "{\"alg\":\"ES256\",\"typ\":\"JWT\"}",
      "{\"alg\":\"EdDSA\",\"alg\":\"none\"}",
      "{\"alg\":\"EdDSA\",\"typ\":\"JWE\"}",
      "{\"alg\":\"EdDSA\",\"crit\":[\"exp\"]}",
      "{\"alg\":[\"EdDSA\"]}",
      "null",
  };
  (void)state;
  for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
    assert_int_equal(check(good[i], "{}"), GATEWAY_JWT_WRITES);
  }
  for (size_t i = 0; i < sizeof evil / sizeof evil[0]; i++) {
    if (check(evil[i], "{}") != GATEWAY_JWT_REFUSED) {
      fail_msg("header %s", evil[i]);
    }
  }
}

static void no_byte_of_a_token_may_change(void **state)
{
  (void)state;
  char *token = token_sign(private_key, HEADER, "{\"a\":\"ro\",\"exp\":1790000100}");
  assert_int_equal(gateway_jwt_check(key, token, NOW), GATEWAY_JWT_READS);
  const size_t size = strlen(token);
  for (size_t i = 0; i < size; i++) {
    const char was = token[i];
    token[i] = was == 'A' ? 'B' : 'A';
    if (gateway_jwt_check(key, token, NOW) != GATEWAY_JWT_REFUSED) {
      fail_msg("byte %zu", i);
    }
    token[i] = was;
  }
  for (size_t i = 0; i < size; i++) {
    const char was = token[i];
    token[i] = '\0';
    assert_int_equal(gateway_jwt_check(key, token, NOW), GATEWAY_JWT_REFUSED);
    token[i] = was;
  }
  free(token);
}

static void a_signature_of_somebody_else_opens_nothing(void **state)
{
  static const char *const texts[] = {"",      ".",        "..",      "...",      "a.b.c",
                                      "=.=.=", "e30.e30.", "e30.e30", "e30..e30", "\xff.\xff.\xff"};
  (void)state;
  char *token = token_sign(stranger, HEADER, "{}");
  assert_int_equal(gateway_jwt_check(key, token, NOW), GATEWAY_JWT_REFUSED);
  free(token);
  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
    assert_int_equal(gateway_jwt_check(key, texts[i], NOW), GATEWAY_JWT_REFUSED);
  }
}

static void a_token_has_a_ceiling(void **state)
{
  char claims[GATEWAY_JWT_BYTES];
  (void)state;
  size_t fits = 0;
  for (size_t size = 5900; size < 6100; size++) {
    memset(claims, ' ', size);
    claims[0] = '{';
    claims[size - 1] = '}';
    claims[size] = '\0';
    char *token = token_sign(private_key, HEADER, claims);
    const bool good = gateway_jwt_check(key, token, NOW) == GATEWAY_JWT_WRITES;
    assert_int_equal(good, strlen(token) <= GATEWAY_JWT_BYTES);
    fits += good;
    free(token);
  }
  assert_in_range(fits, 1, 199);
}

static void keys_of_other_kinds_are_refused(void **state)
{
  static const char *const evil[] = {"", "x", "AAAA",
                                     "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
                                     "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}; /* 33 bytes */
  struct gateway_jwt_key *made = NULL;
  cenote_error error = CENOTE_ERROR_INIT;
  (void)state;
  for (size_t i = 0; i < sizeof evil / sizeof evil[0]; i++) {
    assert_int_equal(gateway_jwt_key_parse(evil[i], strlen(evil[i]), &made, &error), CENOTE_CONFIG);
    assert_null(made);
  }
  BIO *bio = BIO_new(BIO_s_mem());
  EVP_PKEY *other = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
  char *text = NULL;
  assert_int_equal(PEM_write_bio_PUBKEY(bio, other), 1);
  const long size = BIO_get_mem_data(bio, &text);
  assert_int_equal(gateway_jwt_key_parse(text, (size_t)size, &made, &error), CENOTE_CONFIG);
  assert_null(made);
  EVP_PKEY_free(other);
  BIO_free(bio);
}

static void a_key_is_taken_as_pem_too(void **state)
{
  BIO *bio = BIO_new(BIO_s_mem());
  struct gateway_jwt_key *made = NULL;
  char *text = NULL;
  (void)state;
  assert_int_equal(PEM_write_bio_PUBKEY(bio, private_key), 1);
  const long size = BIO_get_mem_data(bio, &text);
  assert_int_equal(gateway_jwt_key_parse(text, (size_t)size, &made, NULL), CENOTE_OK);
  char *token = token_sign(private_key, HEADER, "{}");
  assert_int_equal(gateway_jwt_check(made, token, NOW), GATEWAY_JWT_WRITES);
  free(token);
  gateway_jwt_key_free(made);
  BIO_free(bio);
}

static int keys_make(void **state)
{
  unsigned char raw[32];
  size_t size = sizeof raw;
  struct cen_buf text;
  (void)state;
  private_key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
  stranger = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
  cen_buf_init(&text, 4096);
  if (private_key == NULL || stranger == NULL ||
      EVP_PKEY_get_raw_public_key(private_key, raw, &size) != 1) {
    return -1;
  }
  url_put(&text, raw, size);
  cen_buf_text(&text, "\n");
  const cenote_status status = gateway_jwt_key_parse(text.data, text.size, &key, NULL);
  cen_buf_deinit(&text);
  return status == CENOTE_OK ? 0 : -1;
}

static int keys_free(void **state)
{
  (void)state;
  gateway_jwt_key_free(key);
  EVP_PKEY_free(private_key);
  EVP_PKEY_free(stranger);
  return 0;
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(claims_decide_what_is_allowed),
      cmocka_unit_test(the_header_cannot_choose_its_algorithm),
      cmocka_unit_test(no_byte_of_a_token_may_change),
      cmocka_unit_test(a_signature_of_somebody_else_opens_nothing),
      cmocka_unit_test(a_token_has_a_ceiling),
      cmocka_unit_test(keys_of_other_kinds_are_refused),
      cmocka_unit_test(a_key_is_taken_as_pem_too),
  };
  return cmocka_run_group_tests(tests, keys_make, keys_free);
}
