/* simple_inside.h - between the .c files of the simple path. */
#ifndef CEN_SIMPLE_INSIDE_H
#define CEN_SIMPLE_INSIDE_H

#include "base/result.h"
#include "core/pipeline.h"
#include "manager/manager.h"
#include "manager/simple.h"

/* A statement of a caller; on the stack of one that blocks, else on the heap. */
struct simple_call {
  struct pipeline_call core;
  const struct simple_request *request;
  struct simple_async *async; /* NULL: its caller blocks */
  cenote_error error;         /* filled by failures only; starts as rubbish */
};

/* A shared connection: a lease of the manager's own, entered for as long as it is one. The memory
 * is used again for the next, and freed with the manager. */
struct line {
  struct pipeline core;
  struct pipeline_flight flights[PIPELINE_RING];
  struct cenote_sink sinks[PIPELINE_RING]; /* of the flights, by their place */
  struct line *next;                       /* in simple->lines, for ever */
  struct line *next_free;
  struct simple *simple;

  /* whose lease it is, for those who look from outside: believed while `serial` stays the same */
  _Atomic uint64_t serial; /* 0: none */
  _Atomic uint32_t slot;
  _Atomic uint64_t generation;

  /* the hand's that is inside */
  struct session *session;
  cenote_connection *connection;
  uint32_t sunk_from, sunk_to; /* sinks that are in use */
  bool cancelled;              /* a cancel may be under way */
  bool cut;                    /* the connection is no good */

  int nudge_fd; /* makes its poller come back */
  /* the loop's */
  struct cen_watch watch, done_watch;
};

/* What parked callers sleep on: by the number of their call, so that those who came one after the
 * other, and are answered together, are woken by one system call. */
enum { BELLS = 8, BELL_BITS = 32 };

struct bell {
  _Alignas(64) _Atomic uint32_t rung; /* how often */
};

struct simple {
  struct bell bells[BELLS];
  struct cenote_manager *manager;
  struct pipeline_set set;
  _Atomic uint32_t open; /* lines that hold a connection, or are about to */
  _Atomic uint64_t serials, grants, releases;
  _Atomic int64_t away_until_ns[PIPELINE_ROLES]; /* the driver cannot share for them; 0: it can */
  pthread_mutex_t lock;                          /* the two lists */
  struct line *_Atomic lines;
  struct line *unused;
  /* A hand's that is told to ask, then the loop's while pipeline_is_waiting. */
  struct pool_waiter waiter[PIPELINE_ROLES];
  struct pipeline_limits limits; /* as last configured; the loop's */
  struct cen_timer timer;
  bool inside; /* the loop is at it: a callback must not begin again */
};

static inline struct line *line_of(struct pipeline *pipeline)
{
  return CEN_CONTAINER(pipeline, struct line, core);
}

static inline struct simple_call *simple_call_of(struct pipeline_call *call)
{
  return CEN_CONTAINER(call, struct simple_call, core);
}

static inline void wakes_begin(struct pipeline_wakes *wakes)
{
  wakes->count = 0;
  wakes->loop = wakes->more = false;
  wakes->nudge = NULL;
}

/* -------------------------------------------------------------- simple_drive.c */

/* After the lock was given back: wakes, nudges, kicks. `loop`: it is the loop itself. */
void simple_wake(struct simple *simple, struct pipeline_wakes *wakes, bool loop);
/* Does what the hand is told to until it is told to settle or to rest. Answers until when. `now_ns`:
 * when it was told. */
int64_t simple_drive(struct simple *simple, struct pipeline_hand *hand, struct pipeline_todo *todo,
                     struct pipeline_wakes *wakes, int64_t now_ns);

/* --------------------------------------------------------------- simple_pool.c */

cenote_status lines_new(struct simple *simple);
void lines_free(struct simple *simple);
/* ASK: takes a connection that is free, or begins to wait for one. Fills *did and *error. */
void simple_ask(struct simple *simple, enum pipeline_role role, struct pipeline_did *did,
                cenote_error *error);
/* The loop's: has the pool answered? true: *did is to be reported. */
bool simple_asked(struct simple *simple, enum pipeline_role role, struct pipeline_did *did,
                  cenote_error *error);
/* WITHDRAW. */
void simple_withdraw(struct simple *simple, enum pipeline_role role, struct pipeline_did *did,
                     cenote_error *error);
/* RETURN; after it was reported, line_put. */
void simple_give_back(struct simple *simple, struct line *line);
void line_put(struct simple *simple, struct line *line);
/* Does the pool want it back? Inside. */
bool line_is_wanted(const struct line *line);
/* The loop's: connections that were taken away or are wanted while nobody is inside. */
void simple_look_around(struct simple *simple);
/* How the connection is after what was just done with it. Inside. */
void line_report(struct line *line, struct pipeline_did *did);

/* --------------------------------------------------------------- simple_loop.c */

void simple_watch(struct simple *simple, struct line *line, const struct pipeline_wants *wants);
void simple_forget(struct line *line);

/* ------------------------------------------------------------------- simple.c */

/* Something may rest now that others wait for: the housekeeper is to look. */
void simple_note_rest(struct cenote_manager *manager);

/* ---------------------------------------------------------------- simple_end.c */

/* How a settled call ended, for its caller. */
cenote_status simple_end(struct simple *simple, struct simple_call *call, cenote_result **result,
                         struct simple_outcome *outcome, cenote_error *error);

#endif
