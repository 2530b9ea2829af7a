/* buf.c - see buf.h. */
#include "base/buf.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_CAPACITY = 64 };

void cen_buf_init(struct cen_buf *buf, size_t ceiling)
{
  *buf = (struct cen_buf){.ceiling = ceiling < SIZE_MAX ? ceiling : SIZE_MAX - 1};
}

void cen_buf_deinit(struct cen_buf *buf)
{
  free(buf->data);
  cen_buf_init(buf, buf->ceiling);
}

/* Makes room for `size` more bytes and the NUL. */
static bool buf_reserve(struct cen_buf *buf, size_t size)
{
  if (buf->failed) {
    return false;
  }
  if (size > buf->ceiling - buf->size) {
    buf->failed = buf->full = true;
    return false;
  }
  size_t needed = buf->size + size + 1;
  if (needed <= buf->capacity) {
    return true;
  }
  size_t capacity = buf->capacity == 0 ? FIRST_CAPACITY : buf->capacity;
  while (capacity < needed) {
    capacity = capacity <= SIZE_MAX / 2 ? capacity * 2 : needed;
  }
  if (capacity > buf->ceiling + 1) {
    capacity = buf->ceiling + 1;
  }
  char *data = realloc(buf->data, capacity);
  if (data == NULL) {
    buf->failed = true;
    return false;
  }
  buf->data = data;
  buf->capacity = capacity;
  return true;
}

void cen_buf_add(struct cen_buf *buf, const void *bytes, size_t size)
{
  if (size == 0 || !buf_reserve(buf, size)) {
    return;
  }
  memcpy(buf->data + buf->size, bytes, size);
  buf->size += size;
  buf->data[buf->size] = '\0';
}

char *cen_buf_room(struct cen_buf *buf, size_t size)
{
  if (!buf_reserve(buf, size)) {
    return NULL;
  }
  char *room = buf->data + buf->size;
  buf->size += size;
  buf->data[buf->size] = '\0';
  return room;
}

void cen_buf_text(struct cen_buf *buf, const char *text)
{
  cen_buf_add(buf, text, strlen(text));
}

void cen_buf_char(struct cen_buf *buf, char byte)
{
  cen_buf_add(buf, &byte, 1);
}

void cen_buf_format(struct cen_buf *buf, const char *format, ...)
{
  if (buf->failed) {
    return;
  }
  size_t room = buf->capacity - buf->size;
  va_list args;
  va_start(args, format);
  int length = vsnprintf(room > 0 ? buf->data + buf->size : NULL, room, format, args);
  va_end(args);
  if (length < 0) {
    buf->failed = true;
  } else if ((size_t)length >= room && buf_reserve(buf, (size_t)length)) {
    va_start(args, format);
    vsnprintf(buf->data + buf->size, (size_t)length + 1, format, args);
    va_end(args);
  }
  if (buf->failed) {
    if (buf->data != NULL) {
      buf->data[buf->size] = '\0'; /* no half-written piece */
    }
    return;
  }
  buf->size += (size_t)length;
}

char *cen_buf_take(struct cen_buf *buf)
{
  if (buf->data == NULL) {
    buf_reserve(buf, 0);
    if (buf->data != NULL) {
      buf->data[0] = '\0';
    }
  }
  char *data = buf->data;
  if (buf->failed) {
    free(data);
    data = NULL;
  }
  cen_buf_init(buf, buf->ceiling);
  return data;
}
