/*
 * fuzz_jwt.c - any bytes as a key, as a JSON Web Token, and as the claims and the header of one that
 * is signed. Nothing crashes or leaks; what nobody signed lets nobody in. The first byte says which.
 */
#include "base/buf.h"
#include "server/jwt.h"
#include "wire/base64.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static EVP_PKEY *pair;
static struct gateway_jwt_key *key;

static void require(bool truth)
{
  if (!truth) {
    abort();
  }
}

static void pair_make(void)
{
  static const unsigned char seed[32] = "a seed for nothing but this test";
  unsigned char raw[32];
  size_t size = sizeof raw;
  struct cen_buf text;
  pair = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, sizeof seed);
  require(pair != NULL && EVP_PKEY_get_raw_public_key(pair, raw, &size) == 1);
  cen_buf_init(&text, 4096);
  cen_base64_put(&text, raw, size, false);
  require(gateway_jwt_key_parse(text.data, text.size, &key, NULL) == CENOTE_OK);
  cen_buf_deinit(&text);
}

static void url_put(struct cen_buf *buf, const void *bytes, size_t size)
{
  const size_t from = buf->size;
  cen_base64_put(buf, bytes, size, false);
  for (size_t i = from; i < buf->size; i++) {
    buf->data[i] = buf->data[i] == '+' ? '-' : buf->data[i] == '/' ? '_' : buf->data[i];
  }
}

static void signed_check(const void *header, size_t header_size, const void *claims,
                         size_t claims_size)
{
  struct cen_buf buf;
  unsigned char signature[64];
  size_t size = sizeof signature;
  cen_buf_init(&buf, 1 << 20);
  url_put(&buf, header, header_size);
  cen_buf_char(&buf, '.');
  url_put(&buf, claims, claims_size);
  EVP_MD_CTX *context = EVP_MD_CTX_new();
  require(EVP_DigestSignInit(context, NULL, NULL, NULL, pair) == 1);
  require(EVP_DigestSign(context, signature, &size, (const unsigned char *)buf.data, buf.size) ==
          1);
  EVP_MD_CTX_free(context);
  cen_buf_char(&buf, '.');
  url_put(&buf, signature, size);
  const enum gateway_jwt early = gateway_jwt_check(key, buf.data, 0);
  require(early <= GATEWAY_JWT_READS);
  (void)gateway_jwt_check(key, buf.data, 1790000000);
  cen_buf_deinit(&buf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  static const char header[] = "{\"alg\":\"EdDSA\"}", claims[] = "{\"a\":\"ro\"}";
  if (size == 0) {
    return 0;
  }
  if (key == NULL) {
    pair_make();
  }
  char *text = malloc(size);
  require(text != NULL);
  memcpy(text, data + 1, size - 1);
  text[size - 1] = '\0';
  struct gateway_jwt_key *other = NULL;
  switch (data[0] % 4) {
  case 0:
    require((gateway_jwt_key_parse(text, size - 1, &other, NULL) == CENOTE_OK) == (other != NULL));
    gateway_jwt_key_free(other);
    break;
  case 1:
    require(gateway_jwt_check(key, text, 1790000000) == GATEWAY_JWT_REFUSED);
    break;
  case 2:
    signed_check(header, sizeof header - 1, text, size - 1);
    break;
  default:
    signed_check(text, size - 1, claims, sizeof claims - 1);
  }
  free(text);
  return 0;
}
