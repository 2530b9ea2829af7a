/*
 * pipe_server.h - the other end of shared connections: backends that execute what was sent to them
 * in its order, and answer in that order. They die at any moment, go silent, are hit by cancels
 * that come late, refuse to write. What they really did is written into the order (a caller's
 * statement), where only the ledger reads it.
 *
 * A wire is the client's end and its backend in one. Time passes for a backend when somebody looks.
 */
#ifndef SIM_PIPE_SERVER_H
#define SIM_PIPE_SERVER_H

#include "sim/sim.h"

#include <cenote/driver.h>

enum { WIRE_SENT = 64, WIRE_CANCELS = 8 };

struct caller;

/* What a statement comes to when nothing disturbs it. */
enum plan {
  PLAN_GOOD,
  PLAN_ERROR,   /* the database says no: rolled back */
  PLAN_STALE,   /* a cached plan was stale: nothing ran (as often as order.stale says) */
  PLAN_TIMEOUT, /* the server's own statement_timeout: 57014, rolled back */
  PLAN_ENOUGH,  /* its sink wants no more */
  PLAN_INVALID, /* cannot even be sent */
  PLANS
};

/* One caller's statement, and what became of it. The pipeline knows nothing of this struct. */
struct order {
  uint64_t tag;
  int client;
  bool write; /* what it really does */
  bool reads; /* what its caller says: only reads */
  bool asynchronous;
  enum plan plan;
  unsigned stale; /* so many times, then it is good */
  int64_t duration_ns;
  int64_t submitted_ns, deadline_ns;
  int64_t patience_ns; /* queued for so long, its time is over, too; 0: no */
  /* the truth, by the server */
  unsigned pushed;       /* so often it was sent (or may have been) */
  unsigned executed;     /* committed */
  unsigned stopped;      /* rolled back by a cancel */
  unsigned passed;       /* turns in a row of the other role, for later ones, while it was queued */
  struct caller *caller; /* until it is settled */
  /* what the caller was told */
  bool settled;
  int end; /* enum pipeline_end */
  bool sent, answered;
  bool told;      /* asynchronous: the loop has */
  bool cancelled; /* its caller asked for it */
  int64_t cancelled_ns;
  uint64_t again_seq; /* since when the core has known that it must be sent again; 0: need not */
  bool undone;        /* its caller may believe that it did nothing */
  int64_t settled_ns;
  int64_t overdue_ns; /* first seen to be late; 0: is not */
  struct order *next;
};

/* What a sent statement has come to. */
enum outcome {
  OUTCOME_DONE,
  OUTCOME_ERROR,     /* 23505, say */
  OUTCOME_STALE,     /* REPEAT */
  OUTCOME_TIMEOUT,   /* 57014, "due to statement timeout" */
  OUTCOME_CANCELLED, /* 57014, "due to user request" */
  OUTCOME_READ_ONLY, /* 25006 */
  OUTCOME_ENOUGH     /* the sink's own error */
};

struct sent {
  struct order *order; /* NULL: a check */
  void *flight;        /* the pipeline's */
  int64_t arrives_ns, duration_ns;
  bool finished, enough_told;
  int64_t answer_ns; /* when the answer can be read */
  enum outcome outcome;
};

enum death {
  DEATH_CLEAN,  /* what it answered arrives, then the end */
  DEATH_RESET,  /* what was not read is lost, too */
  DEATH_SILENT, /* nothing arrives any more, not even the end, for long */
  DEATHS
};

struct wire {
  unsigned id;
  bool read_only; /* the session refuses to write */
  bool entered;   /* in pipeline mode */
  struct sent sent[WIRE_SENT];
  unsigned count;
  int64_t free_ns; /* the backend has finished what came before */
  bool dead;       /* the backend is */
  bool unread_lost;
  bool garbled;    /* what comes makes no sense: the driver hangs up when it reads */
  int64_t end_ns;  /* when the client can see the end; INT64_MAX: it cannot */
  bool lost;       /* it has seen it (or has hung up itself) */
  int64_t stop_ns; /* the client hung up: the backend goes on until here */
  int64_t cancel_ns[WIRE_CANCELS]; /* cancels under way: when each one arrives */
  unsigned cancels;
  int64_t quiet_ns; /* until then the driver says that a cancel is under way */
  bool broken;      /* a cancel may be astray: not to be used again */
  int users;        /* inside: never more than one */
  int pollers;      /* wait for its input: never more than one */
  uint64_t answers; /* that were read, of the backend's whole life */
  _Atomic uint32_t bell;
  bool closed;
  int64_t stuck_ns; /* the socket is full until then: what is pushed stays here; 0: is not */
  int64_t
      mute_ns; /* the driver wants to be read again then, whatever the descriptor shows; 0: no */
  struct wire *next;
};

/* Called by the server when an order is committed; see pipe_ledger.c. */
void ledger_executed(struct order *order);

struct wire *wire_new(unsigned id);
/* In: at most one at a time. */
void wire_use(struct wire *wire);
void wire_done(struct wire *wire);
/* The driver's functions. */
cenote_status wire_push(struct wire *wire, struct order *order, void *flight);
cenote_answer wire_read(struct wire *wire, struct sent *answer);
bool wire_is_unsent(const struct wire *wire); /* wants to be told when it can write */
int64_t wire_ready(struct wire *wire); /* when there is something to read; INT64_MAX: unknown */
bool wire_cancelling(const struct wire *wire);
void wire_cancel(struct wire *wire);
void wire_abort(struct wire *wire);
/* Fate. */
void wire_kill(struct wire *wire, enum death how);
void wire_garble(struct wire *wire);
void wire_catch_up(struct wire *wire); /* the backend does what it has had the time for */

#endif
