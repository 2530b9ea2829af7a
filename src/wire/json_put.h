/* json_put.h - the pieces of a JSON body, written straight into a cen_buf. The callers know the
 * shape and write brackets and names as literals, which costs a memcpy; only texts and numbers need
 * work. Never valid JSON by itself: that is the callers' business. One owner. */
#ifndef CEN_JSON_PUT_H
#define CEN_JSON_PUT_H

#include "base/buf.h"

#include <stdint.h>
#include <string.h>

/* cen_buf_add, with the usual case (there is room) in the caller: a literal is then one move. */
static inline void cen_put_bytes(struct cen_buf *buf, const char *bytes, size_t size)
{
  if (buf->failed || size >= buf->capacity - buf->size) {
    cen_buf_add(buf, bytes, size);
    return;
  }
  memcpy(buf->data + buf->size, bytes, size);
  buf->size += size;
  buf->data[buf->size] = '\0';
}

#define CEN_PUT(buf, literal) cen_put_bytes((buf), "" literal, sizeof(literal) - 1)

/* With quotes and escapes. Bytes that are not UTF-8 become U+FFFD, and the answer is false. */
bool cen_put_string(struct cen_buf *buf, const char *text, size_t size);
void cen_put_text(struct cen_buf *buf, const char *text); /* the same; NULL: null */
void cen_put_int(struct cen_buf *buf, int64_t value);
void cen_put_bool(struct cen_buf *buf, bool value);
/* Finite numbers only. */
void cen_put_real(struct cen_buf *buf, double value);
/* Two digits a byte. */
void cen_put_hex(struct cen_buf *buf, const void *bytes, size_t size);
/* Takes back what was added after the buffer had `size` bytes. */
void cen_put_undo(struct cen_buf *buf, size_t size);

#endif
