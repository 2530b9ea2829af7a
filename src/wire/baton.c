/* baton.c - see baton.h. */
#include "wire/baton.h"

#include "wire/base64.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <string.h>

enum { NUMBERS = 16, MAC = 32, WHOLE = NUMBERS + MAC };

static void number_write(unsigned char *out, uint64_t number)
{
  for (int i = 7; i >= 0; i--) {
    out[i] = (unsigned char)(number & 0xFF);
    number >>= 8;
  }
}

static uint64_t number_read(const unsigned char *from)
{
  uint64_t number = 0;
  for (int i = 0; i < 8; i++) {
    number = number << 8 | from[i];
  }
  return number;
}

static bool mac_make(unsigned char mac[MAC], const unsigned char *numbers,
                     const unsigned char key[CEN_BATON_KEY])
{
  unsigned size = MAC;
  return HMAC(EVP_sha256(), key, CEN_BATON_KEY, numbers, NUMBERS, mac, &size) != NULL &&
         size == MAC;
}

bool cen_baton_sign(char out[CEN_BATON_TEXT + 1], const struct cen_baton *baton,
                    const unsigned char key[CEN_BATON_KEY])
{
  unsigned char whole[WHOLE];
  out[0] = '\0';
  number_write(whole, baton->stream);
  number_write(whole + 8, baton->sequence);
  if (!mac_make(whole + NUMBERS, whole, key)) {
    return false;
  }
  return EVP_EncodeBlock((unsigned char *)out, whole, WHOLE) == CEN_BATON_TEXT;
}

bool cen_baton_verify(const char *text, size_t size, const unsigned char key[CEN_BATON_KEY],
                      struct cen_baton *baton)
{
  char whole[CEN_BATON_TEXT];
  unsigned char mac[MAC];
  *baton = (struct cen_baton){0};
  if (size != CEN_BATON_TEXT) {
    return false;
  }
  memcpy(whole, text, size);
  if (!cen_base64_decode(whole, &size) || size != WHOLE) {
    return false;
  }
  const unsigned char *bytes = (const unsigned char *)whole;
  if (!mac_make(mac, bytes, key) || CRYPTO_memcmp(mac, bytes + NUMBERS, MAC) != 0) {
    return false;
  }
  baton->stream = number_read(bytes);
  baton->sequence = number_read(bytes + 8);
  return true;
}
