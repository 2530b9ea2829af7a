/* buf.h - a growing text with a ceiling in bytes (the final NUL not counted). The first failure
 * (memory, ceiling) sticks: later appends do nothing, and cen_buf_take answers NULL. So callers
 * check once, at the end. What is appended must not lie in the buffer itself. One owner. */
#ifndef CEN_BUF_H
#define CEN_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

struct cen_buf {
  char *data; /* NUL-terminated, or NULL while empty */
  size_t size;
  size_t capacity;
  size_t ceiling;
  bool failed;
  bool full; /* it failed because of the ceiling, not of memory */
};

void cen_buf_init(struct cen_buf *buf, size_t ceiling);
void cen_buf_deinit(struct cen_buf *buf);
void cen_buf_add(struct cen_buf *buf, const void *bytes, size_t size);
/* So many more bytes, counted already, for the caller to fill before anything else is added. NULL
 * after a failure. */
char *cen_buf_room(struct cen_buf *buf, size_t size);
void cen_buf_text(struct cen_buf *buf, const char *text);
void cen_buf_char(struct cen_buf *buf, char byte);
void cen_buf_format(struct cen_buf *buf, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The text, now the caller's (free), or NULL after a failure. An empty buffer gives "". The
 * buffer is empty and without a failure afterwards, with the same ceiling. */
char *cen_buf_take(struct cen_buf *buf);

#endif
