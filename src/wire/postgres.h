/*
 * postgres.h - PostgreSQL's protocol 3.0 between login and goodbye: the messages that run prepared
 * and plain statements, and what a server answers. Bytes in, structs out; no sockets.
 *
 * Nothing that a server sends is believed: lengths have ceilings, strings end inside their message,
 * counts fit what is there, and a body has not a byte more than it needs. Any thread; a message
 * borrows from the bytes that it was found in.
 */
#ifndef CEN_WIRE_POSTGRES_H
#define CEN_WIRE_POSTGRES_H

#include "base/buf.h"

#include <stdint.h>

enum {
  CEN_PG_SHORT = 30000,  /* bytes that a message without rows or words may have */
  CEN_PG_LONG = 1 << 30, /* and any other */
  CEN_PG_LARGEST_COUNT = 65535
};

/* ---------------------------------------------------------------------------- what we send.
 * Each adds one message. What does not fit (memory, ceiling, 2 GiB) makes the buffer fail. */

struct cen_pg_args {
  size_t count;
  const char *const *values; /* NULL: a null */
  const int *sizes;
  const int *formats;    /* 1: binary */
  const uint32_t *types; /* 0: the server infers it; NULL: all of them */
  size_t columns;        /* of the result, where one is to be binary; at most 64 */
  uint64_t binary;       /* which ones: the first has the lowest bit; 0: all are text */
};

/* `name` "": the unnamed statement. */
void cen_pg_put_parse(struct cen_buf *out, const char *name, const char *sql,
                      const struct cen_pg_args *args);
/* To the unnamed portal. */
void cen_pg_put_bind(struct cen_buf *out, const char *name, const struct cen_pg_args *args);
void cen_pg_put_describe(struct cen_buf *out); /* the unnamed portal */
void cen_pg_put_execute(struct cen_buf *out);  /* all rows of it */
void cen_pg_put_close(struct cen_buf *out, const char *name);
void cen_pg_put_sync(struct cen_buf *out);

/* ------------------------------------------------------------------------- what comes back */

struct cen_pg_message {
  char type;
  char *body;
  size_t size;
};

enum cen_pg_step {
  CEN_PG_MORE,    /* not all of it is there */
  CEN_PG_MESSAGE, /* *message is the one in front */
  CEN_PG_BAD      /* no message that a server sends after login */
};

/* The message at the front of `bytes`. `whole`: its size with its head; 0 while that is not there. */
enum cen_pg_step cen_pg_take(char *bytes, size_t size, struct cen_pg_message *message,
                             size_t *whole);

/* The rest answer false when the body is not what the type promises. */
bool cen_pg_is_empty(const struct cen_pg_message *message);
bool cen_pg_ready(const struct cen_pg_message *message, char *status);
bool cen_pg_tag(const struct cen_pg_message *message, const char **tag);
bool cen_pg_parameter(const struct cen_pg_message *message, const char **name, const char **value);
bool cen_pg_notification(const struct cen_pg_message *message);
/* ErrorResponse, NoticeResponse: are its fields whole? Then one of them, or NULL. */
bool cen_pg_is_fields(const struct cen_pg_message *message);
const char *cen_pg_field(const struct cen_pg_message *message, char code);

/* A body that is read from its front. */
struct cen_pg_reader {
  char *at, *end;
  size_t left; /* columns or cells that are still to come */
};

struct cen_pg_column {
  const char *name;
  uint32_t table; /* 0: of none */
  uint32_t type;
  int32_t modifier;  /* -1: none */
  int16_t attribute; /* the column's number in the table, 0: none */
  int16_t type_size; /* negative: variable */
  uint16_t format;
};

/* Also checks that so many can be there. */
bool cen_pg_columns(const struct cen_pg_message *message, struct cen_pg_reader *reader);
bool cen_pg_column_next(struct cen_pg_reader *reader, struct cen_pg_column *column);
bool cen_pg_cells(const struct cen_pg_message *message, struct cen_pg_reader *reader);
/* *text NULL: a null. The text does not end with a NUL. Inline: there are many cells. */
static inline bool cen_pg_cell_next(struct cen_pg_reader *reader, char **text, size_t *size)
{
  char *at = reader->at;
  if (reader->left == 0 || reader->end - at < 4) {
    return false;
  }
  const unsigned char *head = (const unsigned char *)at;
  const uint32_t length =
      (uint32_t)head[0] << 24 | (uint32_t)head[1] << 16 | (uint32_t)head[2] << 8 | head[3];
  at += 4;
  reader->left--;
  if (length == UINT32_MAX) {
    *text = NULL;
    *size = 0;
    reader->at = at;
    return true;
  }
  if (length > (size_t)(reader->end - at)) {
    return false;
  }
  *text = at;
  *size = length;
  reader->at = at + length;
  return true;
}
/* All is read, and nothing is left over. */
bool cen_pg_is_read(const struct cen_pg_reader *reader);

#endif
