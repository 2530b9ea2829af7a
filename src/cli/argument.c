/* argument.c - see argument.h. */
#include "cli/argument.h"

#include "base/text.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A number as people write it: -?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?  What has zeros in
 * front (a postal code, a telephone number) is text. */
static bool is_number(const char *text, bool *whole)
{
  const char *digits = text + (*text == '-');
  size_t count = strspn(digits, "0123456789");
  if (count == 0 || (count > 1 && digits[0] == '0')) {
    return false;
  }
  const char *rest = digits + count;
  *whole = *rest == '\0';
  if (*rest == '.') {
    count = strspn(rest + 1, "0123456789");
    if (count == 0) {
      return false;
    }
    rest += 1 + count;
  }
  if (*rest == 'e' || *rest == 'E') {
    rest += 1 + (rest[1] == '+' || rest[1] == '-');
    count = strspn(rest, "0123456789");
    if (count == 0) {
      return false;
    }
    rest += count;
  }
  return *rest == '\0';
}

static bool read_real(const char *text, double *real)
{
  char *end = NULL;
  errno = 0;
  *real = strtod(text, &end);
  return end != text && *end == '\0';
}

static cenote_value read_auto(const char *text)
{
  bool whole = false;
  int64_t integer = 0;
  double real = 0;
  if (!is_number(text, &whole)) {
    return cenote_text(text);
  }
  if (whole) {
    /* "-0" and what does not fit stay text, so that no digit is lost. */
    bool fits = cen_text_to_int(text, &integer) && strcmp(text, "-0") != 0;
    return fits ? cenote_integer(integer) : cenote_text(text);
  }
  if (read_real(text, &real) && isfinite(real) && strcspn(text, "eE") <= 17) {
    return cenote_real(real);
  }
  return cenote_text(text);
}

static bool read_blob(const char *text, cenote_value *value)
{
  text += strncmp(text, "\\x", 2) == 0 ? 2 : 0;
  size_t size = strlen(text);
  unsigned char *bytes = malloc(size / 2 + 1);
  if (!bytes || size % 2 != 0) {
    free(bytes);
    return false;
  }
  for (size_t i = 0; i < size / 2; i++) {
    int high = cen_hex_digit(text[2 * i]), low = cen_hex_digit(text[2 * i + 1]);
    if (high < 0 || low < 0) {
      free(bytes);
      return false;
    }
    bytes[i] = (unsigned char)(high << 4 | low);
  }
  *value = cenote_blob(bytes, size / 2);
  return true;
}

static bool is_word(const char *word, size_t size, const char *name)
{
  return strlen(name) == size && strncmp(word, name, size) == 0;
}

/* -1: no such type; 0: the text is not one; 1: read. */
static int read_as(const char *word, size_t size, const char *text, cenote_value *value)
{
  int64_t integer = 0;
  double real = 0;
  bool boolean = false;
  if (is_word(word, size, "auto")) {
    *value = read_auto(text);
    return 1;
  }
  if (is_word(word, size, "text")) {
    *value = cenote_text(text);
    return 1;
  }
  if (is_word(word, size, "integer")) {
    bool read = cen_text_to_int(text, &integer);
    *value = cenote_integer(integer);
    return read;
  }
  if (is_word(word, size, "real")) {
    bool read = read_real(text, &real);
    *value = cenote_real(real);
    return read;
  }
  if (is_word(word, size, "boolean")) {
    bool read = cen_text_to_bool(text, &boolean);
    *value = cenote_boolean(boolean);
    return read;
  }
  if (is_word(word, size, "blob")) {
    return read_blob(text, value);
  }
  return -1;
}

bool cli_arguments_read(const char *const *texts, size_t count, const char *types,
                        const char *null_text, cenote_value *values, char *message, size_t size)
{
  const char *word = types ? types : "auto";
  for (size_t i = 0; i < count; i++) {
    values[i] = cenote_null();
  }
  for (size_t i = 0; i < count; i++) {
    size_t length = strcspn(word, ",");
    bool is_null = null_text && strcmp(texts[i], null_text) == 0;
    int read = is_null ? 1 : read_as(word, length, texts[i], &values[i]);
    if (read <= 0) {
      values[i] = cenote_null();
      if (read < 0) {
        snprintf(message, size,
                 "--types: \"%.*s\" is none of auto, text, integer, real, boolean, blob",
                 (int)(length < 40 ? length : 40), word);
      } else {
        snprintf(message, size, "argument %zu is no %.*s", i + 1, (int)length, word);
      }
      return false;
    }
    word += word[length] == ',' ? length + 1 : 0;
  }
  return true;
}

void cli_arguments_free(cenote_value *values, size_t count)
{
  for (size_t i = 0; values && i < count; i++) {
    if (values[i].type == CENOTE_BLOB) {
      free((void *)(uintptr_t)values[i].as.blob);
      values[i] = cenote_null();
    }
  }
}
