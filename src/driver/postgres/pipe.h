/*
 * pipe.h - a session that pipelines, for pipeline.c (entering, pushing, waiting) and answers.c
 * (reading). Private to the two; the thread inside the connection only.
 */
#ifndef CEN_POSTGRES_PIPE_H
#define CEN_POSTGRES_PIPE_H

#include "driver/postgres/postgres.h"

#include <openssl/ssl.h>

enum flight_kind { FLIGHT_EXECUTE, FLIGHT_CHECK, FLIGHT_READ_ONLY, FLIGHT_BURY };

struct pg_flight {
  struct pg_statement *statement; /* pinned; NULL for all but EXECUTE */
  cenote_sink *sink;
  unsigned flags;
  uint32_t number;  /* that the statement's name had */
  uint8_t kind;     /* enum flight_kind */
  uint8_t commands; /* before the sync */
  bool prepares;    /* the first one prepares … */
  bool prepared;    /* … or somebody before did */
};

struct pg_pipe {
  cenote_connection *owner; /* wants() and cancelling() are const */
  struct pg_flight *ring;
  size_t room, first, count; /* room: a power of two */
  size_t visible;            /* of count: not hidden */
  bool make_read_only;       /* in front of the next request */
  bool dead, unflushed;
  SSL *tls;
  int64_t answered_ns; /* the last time that something came */
  /* the oldest flight: */
  cenote_request request; /* what execute.c sees of it */
  unsigned ended;         /* commands whose results are all read */
  unsigned nulls;         /* in a row: two mean that libpq and we disagree */
  bool told_enough, fatal;
  bool is_read_only; /* FLIGHT_READ_ONLY: the session said so */
};

static inline struct pg_flight *pg_flight_at(const struct pg_pipe *pipe, size_t index)
{
  return &pipe->ring[(pipe->first + index) & (pipe->room - 1)];
}

static inline bool pg_flight_is_hidden(const struct pg_flight *flight)
{
  return flight->kind == FLIGHT_READ_ONLY || flight->kind == FLIGHT_BURY;
}

/* The oldest flight changes: what is known of its answer begins anew (under guard). */
void pg_pipe_head(cenote_connection *c);
void pg_pipe_drop_failure(cenote_connection *c);
void pg_pipe_drop_flights(cenote_connection *c);
/* The driver's read(). */
cenote_answer pg_pipe_read(cenote_connection *c, short revents, cenote_error *error);

#endif
