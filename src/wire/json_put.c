/* json_put.c - see json_put.h. */
#include "wire/json_put.h"

#include "base/text.h"
#include "wire/json_bytes.h"

#include <string.h>

static const char hex_digits[] = "0123456789abcdef";

static void byte_escape(struct cen_buf *buf, unsigned char byte)
{
  static const char letters[] = "btn\0fr"; /* 8 … 13; JSON has no \v */
  char out[6] = {'\\', (char)byte};
  size_t size = 2;
  if (byte >= 8 && byte <= 13 && byte != 11) {
    out[1] = letters[byte - 8];
  } else if (byte != '"' && byte != '\\') {
    memcpy(out + 1, "u00", 3);
    out[4] = hex_digits[byte >> 4];
    out[5] = hex_digits[byte & 15];
    size = 6;
  }
  cen_put_bytes(buf, out, size);
}

bool cen_put_string(struct cen_buf *buf, const char *text, size_t size)
{
  bool valid = true;
  text = text == NULL ? "" : text; /* then there are no bytes either */
  size_t plain = 0;                /* [plain, at) needs no change and is added in one piece */
  size_t at = 0;
  CEN_PUT(buf, "\"");
  while (at < size) {
    if (size - at >= 8 && !cen_eight_are_special(text + at)) {
      at += 8;
      continue;
    }
    unsigned char byte = (unsigned char)text[at];
    if (byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\') {
      at++;
      continue;
    }
    size_t bytes = byte < 0x80 ? 0 : cen_utf8_next(text + at, size - at);
    if (bytes > 0) {
      at += bytes;
      continue;
    }
    cen_put_bytes(buf, text + plain, at - plain);
    if (byte < 0x80) {
      byte_escape(buf, byte);
    } else {
      CEN_PUT(buf, "\xEF\xBF\xBD");
      valid = false;
    }
    plain = ++at;
  }
  cen_put_bytes(buf, text + plain, size - plain);
  CEN_PUT(buf, "\"");
  return valid;
}

void cen_put_text(struct cen_buf *buf, const char *text)
{
  if (text == NULL) {
    CEN_PUT(buf, "null");
  } else {
    (void)cen_put_string(buf, text, strlen(text));
  }
}

void cen_put_int(struct cen_buf *buf, int64_t value)
{
  char digits[24];
  size_t at = sizeof(digits);
  uint64_t left = value < 0 ? UINT64_C(0) - (uint64_t)value : (uint64_t)value;
  do {
    digits[--at] = (char)('0' + left % 10);
    left /= 10;
  } while (left > 0);
  if (value < 0) {
    digits[--at] = '-';
  }
  cen_put_bytes(buf, digits + at, sizeof(digits) - at);
}

void cen_put_bool(struct cen_buf *buf, bool value)
{
  if (value) {
    CEN_PUT(buf, "true");
  } else {
    CEN_PUT(buf, "false");
  }
}

void cen_put_real(struct cen_buf *buf, double value)
{
  char text[CEN_REAL_TEXT];
  cen_text_from_real(text, value);
  cen_buf_text(buf, text);
}

void cen_put_hex(struct cen_buf *buf, const void *bytes, size_t size)
{
  const unsigned char *from = bytes;
  char out[256];
  size_t used = 0;
  for (size_t i = 0; i < size; i++) {
    out[used++] = hex_digits[from[i] >> 4];
    out[used++] = hex_digits[from[i] & 15];
    if (used == sizeof(out)) {
      cen_buf_add(buf, out, used);
      used = 0;
    }
  }
  cen_buf_add(buf, out, used);
}

void cen_put_undo(struct cen_buf *buf, size_t size)
{
  if (buf->data != NULL && size <= buf->size) {
    buf->size = size;
    buf->data[size] = '\0';
  }
}
