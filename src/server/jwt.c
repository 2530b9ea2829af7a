/*
 * jwt.c - see jwt.h. The format is three base64url texts: a header, claims, a signature over both.
 * OpenSSL knows Ed25519, the strict JSON reader of the wire reads the rest; of the libraries that
 * Debian has, libjwt 1 knows no EdDSA, and librhonabwy brings GnuTLS beside our OpenSSL.
 */
#include "server/jwt.h"

#include "base/text.h"
#include "wire/base64.h"
#include "wire/json_reader.h"

#include <cenote/driver.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { KEY_BYTES = 32, SIGNATURE_BYTES = 64, KEY_TEXT = 4096 };

struct gateway_jwt_key {
  EVP_PKEY *key;
};

/* ------------------------------------------------------------------------- the key */

/* The alphabet of URLs becomes the ordinary one, which then must not stand there. */
static bool base64url_decode(char *text, size_t *size)
{
  for (size_t i = 0; i < *size; i++) {
    if (text[i] == '+' || text[i] == '/' || text[i] == '=') {
      return false;
    }
    text[i] = text[i] == '-' ? '+' : text[i] == '_' ? '/' : text[i];
  }
  return cen_base64_decode(text, size);
}

static EVP_PKEY *key_from_pem(const char *text, size_t size)
{
  BIO *bio = BIO_new_mem_buf(text, (int)size);
  EVP_PKEY *key = bio != NULL ? PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL) : NULL;
  BIO_free(bio);
  if (key != NULL && EVP_PKEY_get_id(key) != EVP_PKEY_ED25519) {
    EVP_PKEY_free(key);
    key = NULL;
  }
  return key;
}

static EVP_PKEY *key_from_bytes(const char *text, size_t size)
{
  char copy[64];
  size_t bytes = 0;
  while (size > 0 && strchr(" \t\r\n", text[size - 1]) != NULL) {
    size--;
  }
  if (size > sizeof copy) {
    return NULL;
  }
  for (; bytes < size; bytes++) {
    copy[bytes] = text[bytes] == '-' ? '+' : text[bytes] == '_' ? '/' : text[bytes];
  }
  if (!cen_base64_decode(copy, &bytes) || bytes != KEY_BYTES) {
    return NULL;
  }
  return EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, (unsigned char *)copy, bytes);
}

cenote_status gateway_jwt_key_parse(const char *text, size_t size, struct gateway_jwt_key **out,
                                    cenote_error *error)
{
  *out = NULL;
  struct gateway_jwt_key *made = calloc(1, sizeof *made);
  if (made == NULL) {
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory");
  }
  if (size <= KEY_TEXT) {
    const bool pem = size >= 10 && memcmp(text, "-----BEGIN", 10) == 0;
    made->key = pem ? key_from_pem(text, size) : key_from_bytes(text, size);
  }
  ERR_clear_error();
  if (made->key == NULL) {
    free(made);
    return cenote_error_set(error, CENOTE_CONFIG,
                            "no Ed25519 public key: wanted is PEM (-----BEGIN PUBLIC KEY-----) or "
                            "its 32 bytes in base64url");
  }
  *out = made;
  return CENOTE_OK;
}

void gateway_jwt_key_free(struct gateway_jwt_key *key)
{
  if (key != NULL) {
    EVP_PKEY_free(key->key);
    free(key);
  }
}

/* ----------------------------------------------------------------------- the token */

static const struct cen_reader_limits limits = {
    .bytes = GATEWAY_JWT_BYTES, .depth = 8, .items = 64};

/* {"alg":"EdDSA","typ":"JWT"}; what must be understood ("crit") is not. */
static bool header_fits(char *text, size_t size)
{
  static const char *const names[] = {"alg", "typ", "crit"};
  enum { ALG, TYP, CRIT };
  struct cen_reader reader;
  struct cen_token token;
  uint64_t seen = 0;
  int member = -1;
  bool fits = true;
  cen_reader_init(&reader, text, size, &limits);
  if (!cen_read_object(&reader)) {
    return false;
  }
  while ((member = cen_read_known(&reader, names, 3, &seen)) >= 0) {
    if (member == CRIT || !cen_read_string(&reader, &token, NULL) || token.has_nul) {
      return false;
    }
    fits = fits &&
           (member == ALG ? strcmp(token.text, "EdDSA") == 0 : strcasecmp(token.text, "JWT") == 0);
  }
  return fits && (seen & (1u << ALG)) != 0 && cen_read_end(&reader);
}

/* A NumericDate may have a fraction. */
static bool date_read(struct cen_reader *reader, double *date)
{
  struct cen_token token;
  return cen_read_value(reader, &token) && token.kind == CEN_TOKEN_NUMBER &&
         cen_token_real(&token, date);
}

static enum gateway_jwt claims_allow(char *text, size_t size, int64_t now_unix_s)
{
  static const char *const names[] = {"exp", "nbf", "a", "p", "id"};
  enum { EXP, NBF, A, P, ID };
  struct cen_reader reader;
  struct cen_token token;
  uint64_t seen = 0;
  int member = -1;
  double date = 0;
  const double now = (double)now_unix_s;
  enum gateway_jwt allowed = GATEWAY_JWT_WRITES;
  bool fine = true;
  cen_reader_init(&reader, text, size, &limits);
  if (!cen_read_object(&reader)) {
    return GATEWAY_JWT_REFUSED;
  }
  while (fine && (member = cen_read_known(&reader, names, 5, &seen)) >= 0) {
    switch (member) {
    case EXP:
      fine = date_read(&reader, &date) && date + GATEWAY_JWT_LEEWAY_S > now;
      break;
    case NBF:
      fine = date_read(&reader, &date) && date - GATEWAY_JWT_LEEWAY_S <= now;
      break;
    case A:
      fine = cen_read_string(&reader, &token, NULL) && !token.has_nul &&
             (strcmp(token.text, "ro") == 0 || strcmp(token.text, "rw") == 0);
      allowed = fine && token.text[1] == 'o' ? GATEWAY_JWT_READS : allowed;
      break;
    default: /* P, ID */
      fine = false;
    }
  }
  return fine && cen_read_end(&reader) ? allowed : GATEWAY_JWT_REFUSED;
}

static bool signature_fits(const struct gateway_jwt_key *key, const char *text, size_t size,
                           const char *signature)
{
  EVP_MD_CTX *context = EVP_MD_CTX_new();
  bool fits = context != NULL && EVP_DigestVerifyInit(context, NULL, NULL, NULL, key->key) == 1 &&
              EVP_DigestVerify(context, (const unsigned char *)signature, SIGNATURE_BYTES,
                               (const unsigned char *)text, size) == 1;
  EVP_MD_CTX_free(context);
  ERR_clear_error();
  return fits;
}

enum gateway_jwt gateway_jwt_check(const struct gateway_jwt_key *key, const char *token,
                                   int64_t now_unix_s)
{
  const size_t size = strnlen(token, GATEWAY_JWT_BYTES + 1);
  const char *first = memchr(token, '.', size);
  const char *second =
      first != NULL ? memchr(first + 1, '.', size - (size_t)(first + 1 - token)) : NULL;
  char signature[SIGNATURE_BYTES * 2];
  if (size > GATEWAY_JWT_BYTES || second == NULL) {
    return GATEWAY_JWT_REFUSED;
  }
  size_t header_size = (size_t)(first - token), claims_size = (size_t)(second - first - 1);
  size_t signature_size = size - (size_t)(second + 1 - token);
  if (signature_size > sizeof signature) {
    return GATEWAY_JWT_REFUSED;
  }
  memcpy(signature, second + 1, signature_size); /* a third dot is not of the alphabet */
  char *copy = cen_text_copy_n(token, size);
  enum gateway_jwt allowed = GATEWAY_JWT_REFUSED;
  if (copy != NULL && base64url_decode(signature, &signature_size) &&
      signature_size == SIGNATURE_BYTES && base64url_decode(copy, &header_size) &&
      header_fits(copy, header_size) &&
      signature_fits(key, token, (size_t)(second - token), signature)) {
    char *claims = copy + (first + 1 - token);
    if (base64url_decode(claims, &claims_size)) {
      allowed = claims_allow(claims, claims_size, now_unix_s);
    }
  }
  if (copy != NULL) {
    cen_wipe(copy, size);
  }
  free(copy);
  return allowed;
}
