/* text.c - numbers and texts on their way to JavaScript, see addon.h. */
#include "addon.h"

#include <stdio.h>
#include <string.h>

enum { FIRST_NUMBERS = 4096, KEPT_NUMBERS = 1 << 18 };
enum {
  TAG_NULL,
  TAG_REAL,
  TAG_TEXT,
  TAG_PIECE,
  TAG_BOOLEAN,
  TAG_BIG,
  TAG_BLOB,
  TAG_INTEGER,
  TAG_DATE
};

/* --------------------------------------------------------------------- numbers */

static bool numbers_make(struct node_manager *owner, size_t size, double **data)
{
  napi_env env = owner->home->env;
  napi_value buffer, view;
  void *bytes;
  napi_ref ref;
  if (napi_create_arraybuffer(env, size * sizeof(double), &bytes, &buffer) != napi_ok ||
      napi_create_typedarray(env, napi_float64_array, size, buffer, 0, &view) != napi_ok ||
      napi_create_reference(env, view, 1, &ref) != napi_ok) {
    return false;
  }
  if (owner->numbers != NULL) {
    napi_delete_reference(env, owner->numbers);
  }
  owner->numbers = ref;
  owner->numbers_size = size;
  *data = bytes;
  return true;
}

bool numbers_open(struct encoder *to)
{
  struct node_manager *owner = to->owner;
  if (owner->numbers == NULL || owner->numbers_size > KEPT_NUMBERS) {
    return numbers_make(owner, FIRST_NUMBERS, &to->numbers);
  }
  napi_value view;
  void *bytes;
  if (napi_get_reference_value(to->env, owner->numbers, &view) != napi_ok ||
      napi_get_typedarray_info(to->env, view, NULL, NULL, &bytes, NULL, NULL) != napi_ok) {
    return false;
  }
  to->numbers = bytes;
  return true;
}

void numbers_forget(struct node_manager *owner)
{
  if (owner->numbers != NULL) {
    napi_delete_reference(owner->home->env, owner->numbers);
  }
  if (owner->spare != NULL) {
    napi_delete_reference(owner->home->env, owner->spare);
  }
}

bool numbers_room(struct encoder *to, size_t more)
{
  if (to->owner->numbers_size - to->used >= more) {
    return true;
  }
  size_t size = to->owner->numbers_size;
  while (size - to->used < more) {
    if (size > SIZE_MAX / 32) {
      return false;
    }
    size *= 2;
  }
  /* The old one stays where it is until the handle scope ends. */
  const double *old = to->numbers;
  double *larger;
  if (!numbers_make(to->owner, size, &larger)) {
    return false;
  }
  memcpy(larger, old, to->used * sizeof *larger);
  to->numbers = larger;
  return true;
}

/* ----------------------------------------------------------------------- texts */

static void piece_add(struct encoder *to, napi_value piece)
{
  napi_set_element(to->env, to->pieces, to->piece_count++, piece);
}

void piece_end(struct encoder *to)
{
  napi_value piece;
  if (to->filled > 0) {
    const napi_status status =
        to->wide ? napi_create_string_utf16(to->env, to->wide_text, to->filled, &piece)
                 : napi_create_string_latin1(to->env, to->narrow_text, to->filled, &piece);
    if (status == napi_ok) {
      piece_add(to, piece);
    }
    to->filled = 0;
  }
  to->wide = false;
}

/* One character of UTF-8, and how many bytes it has; 0: none that UTF-8 allows. */
static unsigned read_character(const unsigned char *at, size_t left, uint32_t *character)
{
  static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
  const unsigned size = at[0] < 0x80                     ? 1
                        : at[0] >= 0xc2 && at[0] < 0xe0  ? 2
                        : at[0] >= 0xe0 && at[0] < 0xf0  ? 3
                        : at[0] >= 0xf0 && at[0] <= 0xf4 ? 4
                                                         : 0;
  if (size == 0 || size > left) {
    return 0;
  }
  uint32_t value = size == 1 ? at[0] : at[0] & (0x7fu >> size);
  for (unsigned i = 1; i < size; i++) {
    if ((at[i] & 0xc0) != 0x80) {
      return 0;
    }
    value = value << 6 | (at[i] & 0x3fu);
  }
  if (value < least[size] || value > 0x10ffff || (value >= 0xd800 && value < 0xe000)) {
    return 0;
  }
  *character = value;
  return size;
}

/* UTF-8 that is no ASCII; it needs no more characters than bytes. */
static enum text_fit transcode(struct encoder *to, const char *text, size_t size)
{
  const unsigned char *at = (const unsigned char *)text;
  size_t filled = to->filled;
  for (size_t i = 0; i < size;) {
    uint32_t character = 0;
    const unsigned bytes = read_character(at + i, size - i, &character);
    if (bytes == 0) {
      return TEXT_ALONE; /* V8 knows what to put in its place */
    }
    i += bytes;
    if (!to->wide) {
      if (character > 0xff) {
        return TEXT_WIDE;
      }
      to->narrow_text[filled++] = (char)character;
    } else if (character < 0x10000) {
      to->wide_text[filled++] = (char16_t)character;
    } else {
      to->wide_text[filled++] = (char16_t)(0xd7c0 + (character >> 10));
      to->wide_text[filled++] = (char16_t)(0xdc00 + (character & 0x3ff));
    }
  }
  to->filled = filled;
  return TEXT_FITS;
}

enum text_fit piece_text(struct encoder *to, const char *text, size_t size)
{
  if (size > PIECE_SIZE - to->filled) {
    return size > PIECE_SIZE / 2 ? TEXT_ALONE : TEXT_FULL;
  }
  if (!to->wide && copy_ascii(to->narrow_text + to->filled, text, size)) {
    to->filled += size;
    return TEXT_FITS;
  }
  return transcode(to, text, size);
}

/* A text that has a piece of its own. */
static void put_piece(struct encoder *to, const char *text, size_t size)
{
  napi_value piece;
  piece_end(to);
  if (napi_create_string_utf8(to->env, text, size, &piece) != napi_ok) {
    put(to, TAG_NULL); /* longer than a JavaScript string can be */
    put(to, 0);
    return;
  }
  piece_add(to, piece);
  put(to, TAG_PIECE);
  put(to, 0);
}

void put_text(struct encoder *to, double tag, const char *text, size_t size)
{
  if (to->filled >= PIECE_SOFT) {
    piece_end(to);
  }
  size_t before = to->filled;
  enum text_fit fit = piece_text(to, text, size);
  if (fit == TEXT_FULL || fit == TEXT_WIDE) {
    piece_end(to);
    to->wide = fit == TEXT_WIDE;
    before = 0;
    fit = piece_text(to, text, size);
    if (fit == TEXT_WIDE) {
      to->wide = true;
      fit = piece_text(to, text, size);
    }
  }
  if (fit != TEXT_FITS) {
    put_piece(to, text, size);
    return;
  }
  put(to, tag);
  put(to, (double)(to->filled - before));
}

void put_word(struct encoder *to, const char *text)
{
  text = text != NULL ? text : "";
  put_text(to, TAG_TEXT, text, strlen(text));
}

/* ----------------------------------------------------------------------- cells */

uint32_t put_other(struct encoder *to, napi_value value)
{
  napi_set_element(to->env, to->others, to->other_count, value);
  return to->other_count++;
}

static void put_integer(struct encoder *to, int64_t number)
{
  if (number >= -9007199254740991 && number <= 9007199254740991) {
    put(to, TAG_INTEGER);
    put(to, (double)number);
    return;
  }
  char text[24];
  const int size = snprintf(text, sizeof text, "%lld", (long long)number);
  put_text(to, TAG_BIG, text, (size_t)size);
}

static void put_blob(struct encoder *to, const void *bytes, size_t size)
{
  void *copy;
  napi_value buffer;
  if (napi_create_arraybuffer(to->env, size, &copy, &buffer) != napi_ok) {
    put(to, TAG_NULL);
    put(to, 0);
    return;
  }
  if (size > 0) {
    memcpy(copy, bytes, size);
  }
  put(to, TAG_BLOB);
  put(to, put_other(to, buffer));
}

void put_date(struct encoder *to, double ms)
{
  put(to, TAG_DATE);
  put(to, ms);
}

void put_value(struct encoder *to, const cenote_value *value)
{
  switch (value->type) {
  case CENOTE_INTEGER:
    put_integer(to, value->as.integer);
    return;
  case CENOTE_REAL:
    put(to, TAG_REAL);
    put(to, value->as.real);
    return;
  case CENOTE_BOOLEAN:
    put(to, TAG_BOOLEAN);
    put(to, value->as.boolean);
    return;
  case CENOTE_TEXT:
    put_text(to, TAG_TEXT, value->as.text, value->size);
    return;
  case CENOTE_BLOB:
    put_blob(to, value->as.blob, value->size);
    return;
  case CENOTE_NULL:
  default:
    put(to, TAG_NULL);
    put(to, 0);
  }
}
