/*
 * pipe.h - a session that pipelines, for pipeline.c (entering, pushing, waiting), answers.c
 * (reading) and wire_*.c (both without libpq). The thread inside the connection only.
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
  bool shares;      /* it may have others on its sync point */
  bool synced;      /* the sync point is right behind it; else behind a later one */
  uint64_t binary;  /* columns that were asked for in binary, without libpq */
};

struct pg_pipe {
  cenote_connection *owner; /* wants() and cancelling() are const */
  struct pg_flight *ring;
  size_t room, first, count; /* room: a power of two */
  size_t visible;            /* of count: not hidden */
  bool make_read_only;       /* in front of the next request */
  bool dead, unflushed;
  bool ending; /* libpq: what it has read is still answered, no more */
  bool tls;
  short revents;       /* libpq: what was seen on the descriptor and not looked at yet */
  unsigned batch;      /* reads that may share a sync point; 1: each has its own */
  unsigned unsynced;   /* flights behind the last sync point */
  unsigned careful;    /* so many more have one each: somebody failed */
  bool over;           /* the oldest has ended without a sync point's answer */
  int64_t since_ns;    /* since when the oldest is; with batches only */
  int64_t answered_ns; /* the last time that something came */
  /* the oldest flight: */
  cenote_request request; /* what execute.c sees of it */
  unsigned ended;         /* commands whose results are all read */
  unsigned nulls;         /* in a row: two mean that libpq and we disagree */
  bool told_enough, fatal;
  bool is_read_only; /* FLIGHT_READ_ONLY: the session said so … */
  bool may_batch;    /* … and that the end of a transaction cannot change what it read */
};

static inline struct pg_flight *pg_flight_at(const struct pg_pipe *pipe, size_t index)
{
  return &pipe->ring[(pipe->first + index) & (pipe->room - 1)];
}

static inline bool pg_flight_is_hidden(const struct pg_flight *flight)
{
  return flight->kind == FLIGHT_READ_ONLY || flight->kind == FLIGHT_BURY;
}

/* pipeline.c. For one request at a time, or many; NULL: no memory. */
struct pg_pipe *pg_pipe_new(cenote_connection *c);
/* Pushes an EXECUTE whose statement is known, and pins it. */
cenote_status pg_pipe_push(cenote_connection *c, const cenote_request *request,
                           struct pg_statement *statement, cenote_error *error);

/* batch.c. May this read share its sync point with others? */
bool pg_batch_takes(cenote_connection *c, struct pg_statement *statement, unsigned flags);
/* The oldest flight has ended: was it, or its batch, slow? */
void pg_batch_judge(struct pg_pipe *pipe);
/* The oldest has failed: those on its sync point too. */
void pg_batch_failed(struct pg_pipe *pipe);
/* The sync point of what has none yet (under guard). */
void pg_pipe_sync(cenote_connection *c);
/* The same, taking guard. */
void pg_pipe_sync_all(cenote_connection *c);

/* The oldest flight changes: what is known of its answer begins anew (under guard). */
void pg_pipe_head(cenote_connection *c);
void pg_pipe_drop_failure(cenote_connection *c);
void pg_pipe_drop_flights(cenote_connection *c);
/* The connection is dead: the answer for all that is in flight. */
cenote_answer pg_pipe_lose(cenote_connection *c, cenote_error *error);
/* It is as good as dead: nobody knows any more whose answer is whose. */
void pg_pipe_lose_sync(cenote_connection *c, const char *what);
/* The oldest flight was not run, or what it read with others came to nothing. */
void pg_pipe_passed_over(cenote_connection *c);
/* The oldest flight has failed so. */
void pg_pipe_error(cenote_connection *c, const struct pg_said *said);
/* It is over. NONE: it was a hidden one. */
cenote_answer pg_pipe_head_ended(cenote_connection *c, cenote_error *error);
/* Has TLS bytes that the descriptor does not show? Never once libpq has dropped the connection. */
bool pg_pipe_pending(const cenote_connection *c);
/* The driver's read(). */
cenote_answer pg_pipe_read(cenote_connection *c, short revents, cenote_error *error);

#endif
