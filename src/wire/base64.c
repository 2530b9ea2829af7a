/* base64.c - see base64.h. */
#include "wire/base64.h"

#include <openssl/evp.h>

enum { PIECE = 3 * 512 };

void cen_base64_put(struct cen_buf *buf, const void *bytes, size_t size, bool padded)
{
  const unsigned char *from = bytes;
  unsigned char out[PIECE / 3 * 4 + 1];
  while (size > 0) {
    size_t piece = size < PIECE ? size : PIECE;
    size_t wrote = (size_t)EVP_EncodeBlock(out, from, (int)piece);
    while (!padded && wrote > 0 && out[wrote - 1] == '=') {
      wrote--;
    }
    cen_buf_add(buf, out, wrote);
    from += piece;
    size -= piece;
  }
}

static int digit_of(char c)
{
  if (c >= 'A' && c <= 'Z') {
    return c - 'A';
  }
  if (c >= 'a' && c <= 'z') {
    return c - 'a' + 26;
  }
  if (c >= '0' && c <= '9') {
    return c - '0' + 52;
  }
  return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool cen_base64_decode(char *text, size_t *size)
{
  size_t left = *size;
  if (left % 4 == 0) {
    for (int i = 0; i < 2 && left > 0 && text[left - 1] == '='; i++) {
      left--;
    }
  }
  if (left % 4 == 1) {
    return false;
  }
  size_t wrote = 0;
  unsigned bits = 0;
  unsigned count = 0; /* of bits that are not written yet */
  for (size_t i = 0; i < left; i++) {
    int digit = digit_of(text[i]);
    if (digit < 0) {
      return false;
    }
    bits = (bits << 6 | (unsigned)digit) & 0xFFFF;
    count += 6;
    if (count >= 8) {
      count -= 8;
      text[wrote++] = (char)(bits >> count & 0xFF);
    }
  }
  if ((bits & ((1u << count) - 1)) != 0) {
    return false;
  }
  *size = wrote;
  return true;
}
