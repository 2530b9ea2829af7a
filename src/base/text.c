/* text.c - see text.h. */
#include "base/text.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool is_tail(unsigned char byte)
{
  return (byte & 0xC0u) == 0x80u;
}

size_t cen_utf8_next(const char *text, size_t size)
{
  const unsigned char *at = (const unsigned char *)text;
  if (at[0] < 0x80) {
    return 1;
  }
  if (at[0] < 0xC2 || at[0] > 0xF4) {
    return 0; /* a tail, an overlong form, or beyond U+10FFFF */
  }
  if (at[0] < 0xE0) {
    return size >= 2 && is_tail(at[1]) ? 2 : 0;
  }
  if (at[0] < 0xF0) {
    if (size < 3 || !is_tail(at[1]) || !is_tail(at[2])) {
      return 0;
    }
    bool overlong = at[0] == 0xE0 && at[1] < 0xA0;
    bool surrogate = at[0] == 0xED && at[1] > 0x9F;
    return overlong || surrogate ? 0 : 3;
  }
  if (size < 4 || !is_tail(at[1]) || !is_tail(at[2]) || !is_tail(at[3])) {
    return 0;
  }
  bool overlong = at[0] == 0xF0 && at[1] < 0x90;
  bool beyond = at[0] == 0xF4 && at[1] > 0x8F;
  return overlong || beyond ? 0 : 4;
}

size_t cen_utf8_cut(const char *text, size_t size)
{
  /* Only a character that is whole but for its end is cut off; other bytes are kept as they
   * are, so that text in another encoding does not vanish. */
  for (size_t back = 1; back <= 3 && back <= size; back++) {
    unsigned char byte = (unsigned char)text[size - back];
    if (is_tail(byte)) {
      continue;
    }
    size_t needs = byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : byte >= 0xC0 ? 2 : 1;
    return needs > back ? size - back : size;
  }
  return size;
}

bool cen_text_equal_secret(const char *a, const char *b)
{
  if (a == NULL || b == NULL) {
    return false;
  }
  size_t size = strlen(a);
  if (size != strlen(b)) {
    return false;
  }
  volatile unsigned char difference = 0;
  for (size_t i = 0; i < size; i++) {
    difference = (unsigned char)(difference | ((unsigned char)a[i] ^ (unsigned char)b[i]));
  }
  return difference == 0;
}

static bool is_digit(char c)
{
  return c >= '0' && c <= '9';
}

bool cen_text_to_int(const char *text, int64_t *value)
{
  if (text == NULL) {
    return false;
  }
  const char *at = text + (*text == '-');
  if (!is_digit(*at)) {
    return false; /* strtoll would skip blanks and take a plus */
  }
  char *end;
  int saved = errno;
  errno = 0;
  long long number = strtoll(text, &end, 10);
  bool fine = errno == 0 && *end == '\0';
  errno = saved;
  if (fine) {
    *value = number;
  }
  return fine;
}

static locale_t c_locale(void)
{
  /* glibc and musl answer a static object for "C": nothing is allocated. */
  return newlocale(LC_ALL_MASK, "C", (locale_t)0);
}

bool cen_text_to_real(const char *text, double *value)
{
  if (text == NULL) {
    return false;
  }
  const char *at = text + (*text == '-' || *text == '+');
  if (!is_digit(*at) && !(*at == '.' && is_digit(at[1]))) {
    return false;
  }
  if (strspn(at, "0123456789.eE+-") != strlen(at)) {
    return false;
  }
  char *end;
  int saved = errno;
  locale_t locale = c_locale();
  double number = strtod_l(text, &end, locale);
  freelocale(locale);
  errno = saved;
  if (*end != '\0' || !isfinite(number)) {
    return false;
  }
  *value = number;
  return true;
}

void cen_text_from_real(char out[CEN_REAL_TEXT], double value)
{
  for (int digits = 15; digits <= 17; digits++) {
    snprintf(out, CEN_REAL_TEXT, "%.*g", digits, value);
    if (digits == 17 || strtod(out, NULL) == value) {
      break;
    }
  }
  if (!isfinite(value)) {
    return;
  }
  /* Whatever the locale's decimal point is, it is the only thing that is no part of these. */
  char *point = out + strspn(out, "0123456789eE+-.");
  if (*point != '\0') {
    char *rest = point + strcspn(point, "0123456789eE+-");
    *point = '.';
    memmove(point + 1, rest, strlen(rest) + 1);
  }
}

bool cen_text_to_bool(const char *text, bool *value)
{
  static const char *const yes[] = {"true", "yes", "on", "1"};
  static const char *const no[] = {"false", "no", "off", "0"};
  if (text == NULL) {
    return false;
  }
  for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++) {
    if (strcasecmp(text, yes[i]) == 0) {
      *value = true;
      return true;
    }
    if (strcasecmp(text, no[i]) == 0) {
      *value = false;
      return true;
    }
  }
  return false;
}

/* Would it move the cursor, reorder the line, or end the quotes it stands in? */
static bool is_unsafe(const unsigned char *at, size_t bytes)
{
  if (bytes == 1) {
    return at[0] < 0x20 || at[0] == 0x7F || at[0] == '"' || at[0] == '\'' || at[0] == '\\';
  }
  if (bytes == 2) {
    return at[0] == 0xC2 && at[1] < 0xA0; /* C1 controls */
  }
  if (bytes == 3 && at[0] == 0xE2) { /* U+2028 … U+202E, U+2066 … U+2069 */
    return (at[1] == 0x80 && at[2] >= 0xA8 && at[2] <= 0xAE) ||
           (at[1] == 0x81 && at[2] >= 0xA6 && at[2] <= 0xA9);
  }
  return bytes == 0;
}

void cen_text_escape(char *out, size_t size, const char *text)
{
  static const char hex[] = "0123456789abcdef";
  if (size == 0) {
    return;
  }
  size_t used = 0;
  size_t left = text == NULL ? 0 : strlen(text);
  for (const char *at = text; left > 0;) {
    size_t bytes = cen_utf8_next(at, left);
    bool unsafe = is_unsafe((const unsigned char *)at, bytes);
    bytes += bytes == 0;
    if (used + (unsafe ? 4 * bytes : bytes) >= size) {
      break;
    }
    for (size_t i = 0; i < bytes; i++) {
      unsigned char byte = (unsigned char)at[i];
      if (unsafe) {
        out[used++] = '\\';
        out[used++] = 'x';
        out[used++] = hex[byte >> 4];
        out[used++] = hex[byte & 15];
      } else {
        out[used++] = (char)byte;
      }
    }
    at += bytes;
    left -= bytes;
  }
  out[used] = '\0';
}

void cen_wipe(void *memory, size_t size)
{
  if (memory != NULL && size > 0) {
    explicit_bzero(memory, size);
  }
}

char *cen_percent_decode(const char *text, size_t size, bool *bad)
{
  char *out = malloc(size + 1);
  size_t used = 0;
  *bad = false;
  for (size_t i = 0; out != NULL && i < size; i++) {
    char c = text[i];
    if (c == '%') {
      const int high = size - i > 2 ? cen_hex_digit(text[i + 1]) : -1;
      const int low = high >= 0 ? cen_hex_digit(text[i + 2]) : -1;
      if (low < 0 || (high == 0 && low == 0)) {
        *bad = true;
        cen_wipe(out, used); /* of a password, perhaps */
        free(out);
        return NULL;
      }
      c = (char)(high * 16 + low);
      i += 2;
    }
    out[used++] = c;
  }
  if (out != NULL) {
    out[used] = '\0';
  }
  return out;
}

char *cen_text_copy(const char *text)
{
  return text == NULL ? NULL : cen_text_copy_n(text, strlen(text));
}

char *cen_text_copy_n(const char *text, size_t size)
{
  if (text == NULL || size == SIZE_MAX) {
    return NULL;
  }
  char *copy = malloc(size + 1);
  if (copy != NULL) {
    memcpy(copy, text, size);
    copy[size] = '\0';
  }
  return copy;
}
