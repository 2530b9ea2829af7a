/*
 * wire.h - a plaintext session that pipelines without libpq: one send for all that was pushed, and
 * rows that go from the receive buffer into the sink. The thread inside the connection only.
 *
 *   wire_io.c    entering and leaving, bytes out and in
 *   wire_send.c  what pipeline.c pushes becomes messages
 *   wire_read.c  messages become answers
 *   wire_rows.c  columns and rows go to the sink
 *
 * Between enter and leave libpq neither reads nor writes, so the descriptor stays what it is, and
 * abort() may shut it while we are in recv() or send().
 */
#ifndef CEN_POSTGRES_WIRE_H
#define CEN_POSTGRES_WIRE_H

#include "driver/postgres/pipe.h"

/* What the oldest flight's answer begins with now; see expected() in wire_read.c. */
enum wire_phase {
  WIRE_PARSE,
  WIRE_BIND,
  WIRE_DESCRIBE,
  WIRE_ROWS,
  WIRE_CLOSE,
  WIRE_SYNC /* all commands have ended */
};

struct pg_wire {
  int fd;
  struct cen_buf out; /* to be sent by wants() */
  size_t sent;        /* of it */
  char *in;
  size_t capacity, start, end; /* unread: start … end */
  bool filled;                 /* the last recv() left no room: there may be more */
  bool closed;                 /* nothing more will come */
  bool unwritable;             /* what the server said before it went may still come */
  bool unlike_libpq;           /* libpq missed a setting that a reset does not bring back */
  /* the oldest flight: */
  enum wire_phase phase;
  bool erred, has_columns;
  bool skipping;   /* another of its batch has failed: the server passes over it */
  uint32_t *types; /* of its columns; or WIRE_BINARY */
  size_t type_count, type_room;
  uint64_t binary; /* which of them come in binary, as we have asked */
  /* What of the session's text is known, so that values may as well come in binary: */
  bool reals; /* it has all digits of a real */
  bool times; /* its times are ISO 8601's */
};

/* A column that is not text though nobody asked for that; libpq's callers never get one either. */
#define WIRE_BINARY UINT32_MAX

/* wire_io.c. NULL: libpq is to pipeline. */
struct pg_wire *pg_wire_new(cenote_connection *c);
void pg_wire_free(struct pg_wire *wire);
/* False: libpq could not go on where we were. */
bool pg_wire_leave(cenote_connection *c);
void pg_wire_flush(cenote_connection *c);
void pg_wire_receive(cenote_connection *c, size_t whole);
void pg_wire_wants(cenote_connection *c, cenote_wants *wants);

/* wire_send.c. Room for a request and what comes in front of it; nothing after it fails then, unless
 * it is too large. False: no memory, and all is as before. The rest: False: too large. */
bool pg_wire_reserve(cenote_connection *c, const struct pg_statement *statement,
                     const struct pg_args *args, size_t count);
bool pg_wire_execute(cenote_connection *c, const struct pg_flight *flight, const char *name,
                     const char *sql, const struct pg_args *args, size_t count);
/* The columns that a flight asks for in binary: whose types the server has told for this very
 * preparation, so that the formats fit, and whose values then are what the text would have said. */
uint64_t pg_wire_binary(const cenote_connection *c, const struct pg_flight *flight);
bool pg_wire_close(cenote_connection *c, const char *name);
bool pg_wire_sync(cenote_connection *c);

/* wire_read.c. */
void pg_wire_head(struct pg_wire *wire, const struct pg_flight *head);
cenote_answer pg_wire_read(cenote_connection *c, short revents, cenote_error *error);
/* pg_still_there. */
bool pg_wire_still_there(cenote_connection *c);

/* wire_rows.c. False: the message is malformed. */
bool pg_wire_columns(cenote_connection *c, const struct cen_pg_message *message);
bool pg_wire_row(cenote_connection *c, const struct cen_pg_message *message);
int64_t pg_wire_affected(const struct pg_wire *wire, const char *tag);

#endif
