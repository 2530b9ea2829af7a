/*
 * pipeline.h - many callers' statements over a few shared connections: who sends what where, who
 * waits for input, who is told what. It decides and never waits.
 *
 * No I/O, no threads, no clock: time is an argument. There is one entry, pipeline_step: a hand
 * says what it has done, and is told what to do next. A hand is whoever may drive: the thread of
 * a caller that blocks, the thread that submits an asynchronous call, or the loop (the
 * housekeeper). Hands carry the decisions out without the lock and come back:
 *
 *     pipeline_submit(set, hand, …, &todo)
 *     for (;;)
 *       switch (todo.kind)              what the hand does            what it says then (did.what)
 *       ASK       get a connection for role: take one that is free,
 *                 else begin to wait for one                          ASKED
 *       FEED      push the requests of `count` flights, in order      FED
 *       READ      read answers until there are no more                READ
 *       CANCEL    ask the oldest flight to stop                       CANCELLED
 *       ABORT     cut the connection off                              ABORTED
 *       RETURN    out of pipeline mode, connection back to the pool   RETURNED
 *       POLL      wait for input on todo.wants, at most until `until` POLLED
 *       PARK      sleep while call->signal is PIPELINE_PARKED, until  NOTHING
 *       SETTLE    a caller's own call is over                         –
 *       REST      the loop, or a submitter: nothing to do now         –
 *       WATCH, FORGET, WITHDRAW: the loop only, see below
 *
 * FEED, READ, CANCEL, ABORT and RETURN are done *inside* the pipeline: at most one hand is, and
 * between its steps it stays inside. POLL is done outside: meanwhile a guest may come in, push
 * and go. Whoever is inside does what becomes due before it leaves, so nobody waits for another
 * to come out: a poller whose input has come while somebody is inside announces it and parks.
 * Whoever leaves a pipeline that still has something in flight sees to it that somebody polls.
 *
 *   call:    QUEUED ─► TAKEN ─► SENT ─► settled          (back to QUEUED: pushing failed, a stale
 *              ▲─────────┴───────┘                        plan, a neighbour's cancel, a rescue)
 *   flight:  an entry of a pipeline, in the order of the wire. It outlives its call where the
 *            caller left early (call NULL: a ghost); whose answer is dropped.
 *
 * Any thread may call anything. After SETTLED has been stored in call->signal nothing touches the
 * call again; a blocking caller that slept may believe the signal without the lock.
 */
#ifndef CEN_PIPELINE_H
#define CEN_PIPELINE_H

#include "base/limits.h"
#include "base/list.h"
#include "core/step.h"

#include <cenote/cenote.h>

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum {
  PIPELINE_MOST = 64,      /* pipelines of a set: the ceiling of simple_connections */
  PIPELINE_DEPTH = 256,    /* statements in flight: the ceiling of simple_depth */
  PIPELINE_RING = 512,     /* a power of two above it: a check may come on top */
  PIPELINE_BATCH = 32,     /* flights fed in one go */
  PIPELINE_WAKES = 352,    /* calls woken by one step: a full pipeline dies, or many are … */
  PIPELINE_REFUSALS = 288, /* … refused at once; and a leader is appointed for each pipeline */
  PIPELINE_REPEATS = 2,    /* of a statement whose plan was stale */
  PIPELINE_DOUBLINGS = 7,  /* of the time until a read is moved away from a slow head once more */
  PIPELINE_IDLE_NS = 1000000000 /* then the connection goes back to the pool, at the latest */
};

#define PIPELINE_NEVER INT64_MAX

enum pipeline_role { PIPELINE_READER, PIPELINE_WRITER, PIPELINE_ROLES };

/* Copied by pipeline_configure. */
struct pipeline_limits {
  uint32_t most;          /* pipelines, both roles together */
  uint32_t depth;         /* flights of a pipeline */
  uint32_t queue;         /* calls that may wait to be sent; one more is refused */
  int64_t slow_ns;        /* an oldest flight older than this gets no new ones behind it */
  int64_t statement_ns;   /* a statement's own time, from when it is the oldest; 0: none */
  int64_t cancel_ns;      /* how long a cancel may take before it becomes an abort */
  int64_t check_after_ns; /* not answered for longer: a check goes before writes */
  int64_t check_ns;       /* a check that takes longer has failed */
  int64_t idle_ns;        /* an idle connection goes back to the pool; 0: PIPELINE_IDLE_NS */
};

/* What a hand waits for, as the driver said when somebody was inside last. Only passed along. */
struct pipeline_wants {
  int fd;
  int done_fd; /* a cancel under way: readable when it is worth asking again; -1: none */
  short events;
  int64_t deadline_ns;
};

/* ------------------------------------------------------------------------- calls */

/* How a call ended. */
enum pipeline_end {
  PIPELINE_DONE,         /* answered: `result` is the owner's */
  PIPELINE_FAILED,       /* answered: *error says how */
  PIPELINE_REFUSED,      /* the request itself was wrong, *error says how; nothing was sent */
  PIPELINE_TIMEOUT,      /* its deadline passed; see `sent` and `answered` */
  PIPELINE_SLOW,         /* its own time (statement_ns) was over and it was stopped */
  PIPELINE_STOPPED,      /* pipeline_cancel */
  PIPELINE_LOST,         /* the connection died; it only reads. *error, where there is one */
  PIPELINE_UNKNOWN,      /* a write that was sent, and no answer came: it may have happened */
  PIPELINE_SHUT,         /* shutting down */
  PIPELINE_FULL,         /* too many wait already */
  PIPELINE_NO_CONNECTION /* *error and `status` say why there is none */
};

/* Values of call->signal. */
enum pipeline_signal {
  PIPELINE_AWAKE,  /* its hand is at work, or will look */
  PIPELINE_PARKED, /* its hand sleeps, or is about to */
  PIPELINE_OVER    /* settled: the call is its owner's again */
};

enum pipeline_place { PIPELINE_NOWHERE, PIPELINE_QUEUED, PIPELINE_TAKEN, PIPELINE_SENT };

struct pipeline;

/* One who may drive: embedded in a call, or the set's own for the loop. */
struct pipeline_hand {
  struct pipeline_call *call; /* NULL: the loop */
  struct pipeline *in;        /* what it is inside of */
  struct pipeline *polls;     /* whose input is its duty: it waits for it, or was woken to */
  bool away;                  /* in POLL */
};

/* One statement. The owner keeps it until it is settled. */
struct pipeline_call {
  /* the owner's, before pipeline_submit */
  enum pipeline_role role; /* a READER only reads: it may run again, and be left behind */
  bool asynchronous;       /* nobody blocks for it: the loop tells its owner (pipeline_settled) */
  int64_t deadline_ns;     /* PIPELINE_NEVER: none */
  int64_t patience_ns;     /* queued for so long, it is over too; 0: only at its deadline */
  cenote_error *error;     /* written where the end says so; not NULL */

  _Atomic uint32_t signal; /* the word to sleep on */
  uint32_t id;             /* in the order of submission */

  /* guarded by the set's lock */
  struct pipeline_hand hand;
  struct cen_link link; /* QUEUED: the queue; settled and asynchronous: pipeline_settled */
  enum pipeline_place place;
  struct pipeline *pipeline; /* TAKEN, SENT */
  uint32_t flight;           /* its place in that one's ring */
  int64_t queued_ns;
  int64_t gave_up_ns; /* when its deadline was noticed, or pipeline_cancel came; 0: not yet */
  unsigned repeats;
  unsigned moves; /* away from slow heads */
  bool starting;  /* asynchronous: its submitter is not out yet */
  bool stopped;   /* pipeline_cancel */
  bool alone;     /* others were in its way: it shares its sync point with nobody now */

  /* the owner's again, once settled */
  enum pipeline_end end;
  cenote_status status; /* NO_CONNECTION, REFUSED */
  bool sent;            /* the server may have had it, and what it did was not undone */
  bool answered;        /* the server has answered it */
  bool cut_off; /* it was us who would not wait any longer: that says nothing about the server */
  void *result; /* DONE */
  int64_t submitted_ns, sent_ns, settled_ns;
};

/* --------------------------------------------------------------------- pipelines */

/* Why a flight is to be stopped, or was. */
enum pipeline_stop {
  PIPELINE_STOP_NONE,
  PIPELINE_STOP_DEADLINE,  /* its caller's deadline */
  PIPELINE_STOP_STATEMENT, /* its own time */
  PIPELINE_STOP_CALLER,    /* pipeline_cancel */
  PIPELINE_STOP_ENOUGH,    /* its sink wants no more */
  PIPELINE_STOP_GHOST      /* nobody wants it, and it is slow */
};

struct pipeline_flight {
  struct pipeline_call *call; /* NULL: a ghost, or the check */
  int64_t sent_ns;            /* 0: TAKEN, not pushed yet */
  enum pipeline_role role;
  enum pipeline_stop stop; /* wanted; it is cancelled when it is the oldest */
  bool check;
  bool cancelled; /* it was the oldest when a cancel was asked for */
  bool exposed;   /* it was in flight when a cancel was asked for another */
};

/* A shared connection. Its memory is the manager's and lives as long as the set; the fields are
 * the set's (its lock), but for `flight`, which the hand inside may read for what it was told. */
struct pipeline {
  void *owner;                    /* the manager's */
  struct pipeline_flight *flight; /* of PIPELINE_RING; the manager's memory */

  enum pipeline_role role;
  uint32_t index; /* its place in set->pipeline */
  bool live;      /* between granted and RETURNED */

  struct pipeline_hand *inside; /* at most one */
  struct pipeline_hand *poller; /* who waits for input, or was woken to do so */
  bool watched;                 /* the loop watches it, as `watch` says */
  struct pipeline_wants watch;
  struct pipeline_wants wants; /* as they are now */
  short revents;               /* announced by a poller while somebody was inside */
  bool more;                   /* reading stopped early: go on */
  uint32_t first;              /* the ring: the oldest, counted for ever */
  uint32_t count;              /* in flight, TAKEN ones too */
  uint32_t taken;              /* of those: not pushed yet, at the end */
  int64_t head_since_ns;       /* since when the oldest one is */
  int64_t idle_since_ns;
  int64_t proven_ns; /* last answer */
  int64_t looked_ns; /* until then everything that had arrived was read */
  int64_t begun_ns;  /* when a hand was last told to read */
  int64_t rescue_ns; /* aged: when those who still wait behind it are looked at again */

  bool served;          /* a call was pushed since it was granted */
  bool proving;         /* a check is in flight: feed no more */
  bool fresh;           /* a check was answered, nothing was pushed since */
  bool together;        /* the oldest may be waiting for those behind it */
  bool aged;            /* the oldest is slow: feed no more */
  bool cancelling;      /* a cancel is under way: feed no more */
  bool draining;        /* goes back when empty: feed no more */
  bool condemned;       /* to be cut off */
  bool dead;            /* was cut off, or died */
  int64_t cancelled_ns; /* the last cancel */
  uint64_t serial;      /* of this grant */
};

/* Whom to wake after the lock was given back: words to unpark (their frames may be gone), and the
 * loop. `nudge`: its poller must come back from POLL, whatever it waits for. */
struct pipeline_wakes {
  unsigned count;
  bool loop;
  bool more; /* did not fit: see pipeline_refuse_more */
  struct pipeline *nudge;
  _Atomic uint32_t *word[PIPELINE_WAKES];
  uint32_t id[PIPELINE_WAKES]; /* of the calls whose words they are */
};

/* ------------------------------------------------------------------- steps */

enum pipeline_kind {
  PIPELINE_REST,
  PIPELINE_SETTLE,
  PIPELINE_ASK,
  PIPELINE_FEED,
  PIPELINE_READ,
  PIPELINE_CANCEL,
  PIPELINE_ABORT,
  PIPELINE_RETURN,
  PIPELINE_POLL,
  PIPELINE_PARK,
  PIPELINE_WATCH,   /* the loop: watch todo.wants for this pipeline, then step with NOTHING */
  PIPELINE_FORGET,  /* the loop: it is somebody else's now; stop watching, step with NOTHING */
  PIPELINE_WITHDRAW /* the loop: nobody wants the connection that is waited for; then ASKED with
                       CENOTE_CANCELLED, or with the pipeline when it came all the same */
};

struct pipeline_todo {
  enum pipeline_kind kind;
  struct pipeline *pipeline;
  enum pipeline_role role;     /* ASK, WITHDRAW */
  uint32_t first, count;       /* FEED: pipeline_flight_at(pipeline, first …) */
  uint32_t depth;              /* FEED: in flight before these; POLL: in flight */
  short revents;               /* READ: for the first call; 0: nothing new has arrived */
  bool look;                   /* READ: nobody waited for it, but there may be something */
  struct pipeline_wants wants; /* POLL, WATCH */
  int64_t until_ns;            /* POLL, WATCH, PARK, REST (the loop's next turn at the latest) */
};

/* What became of the oldest flight. */
enum pipeline_verdict {
  PIPELINE_SUCCEEDED,     /* `result` */
  PIPELINE_ERRED,         /* `error` */
  PIPELINE_ASKED_TO_STOP, /* the error is the one of a cancel */
  PIPELINE_STALE,         /* it has not run: push it again; `error` in case it will not be */
  PIPELINE_ENOUGH         /* it goes on, its sink wants no more; told once, no answer yet */
};

struct pipeline_answer {
  enum pipeline_verdict verdict;
  void *result;              /* taken (made NULL) when a call got it; else the hand's to free */
  const cenote_error *error; /* copied under the lock */
  bool ours;        /* ERRED: it was not the server that failed it, so it may have been executed */
  bool passed_over; /* STALE: because of one in front of it, which cannot happen when it is alone */
};

enum pipeline_what {
  PIPELINE_NOTHING, /* submitted, woken, its time came, the loop's turn */
  PIPELINE_ASKED,
  PIPELINE_FED,
  PIPELINE_READ_SOME,
  PIPELINE_CANCELLED,
  PIPELINE_ABORTED,
  PIPELINE_RETURNED,
  PIPELINE_POLLED
};

/* What a hand has done. All zeros is NOTHING. */
struct pipeline_did {
  enum pipeline_what what;
  struct pipeline *pipeline; /* ASKED: granted; POLLED by the loop: whose watch it was */
  enum pipeline_role role;   /* ASKED */
  cenote_status
      status; /* ASKED, no pipeline: OK: it is waited for, the loop will say how that went;
                           else there is none. FED: OK, or why the one after `pushed` was not:
                           CENOTE_CONNECTION_LOST: dead, once the answers that came before
                           are read; else it is refused. READ_SOME: OK, or
                           CENOTE_CONNECTION_LOST: dead, after the answers */
  const cenote_error *error;       /* to it */
  uint32_t pushed;                 /* FED: so many were */
  struct pipeline_answer *answers; /* READ_SOME: of the oldest flights, in order */
  uint32_t count;
  bool more;       /* READ_SOME: stopped early. FED: input may have been taken in while pushing.
                    POLLED: wants.done_fd is readable */
  short revents;   /* POLLED; 0: the time came, or a nudge */
  bool proven;     /* ASKED, granted: has answered lately */
  uint64_t serial; /* ASKED, granted: of this grant, never the same twice */
  /* while inside, and ASKED with a pipeline: how it is now */
  struct pipeline_wants wants;
  bool together;   /* the oldest one's answer may wait for those behind it */
  bool cancelling; /* a cancel may still reach the server */
  bool broken;     /* the connection may finish what it does, and is closed then */
  bool wanted;     /* the pool wants it back; heeded once something was pushed */
};

struct pipeline_counters {
  uint64_t reruns;  /* pushed again: a neighbour's cancel, a stale plan, a rescue */
  uint64_t rescues; /* of those */
  uint64_t cancels, aborts, lost;
  uint64_t sent, answered;
  uint64_t ghosts;
};

struct pipeline_set {
  _Alignas(64) struct pool_lock lock;
  /* all guarded by it */
  struct pipeline_limits limits;
  struct pipeline_hand loop;
  struct pipeline *pipeline[PIPELINE_MOST];
  uint32_t ids;
  uint32_t live; /* of pipelines */
  uint32_t top;  /* none at this index or above */
  struct cen_link queue[PIPELINE_ROLES];
  uint32_t queued[PIPELINE_ROLES];
  enum pipeline_asking {
    PIPELINE_ASK_NONE,
    PIPELINE_ASK_BUSY,   /* a hand is at it */
    PIPELINE_ASK_WAITING /* the pool will tell the loop */
  } asking[PIPELINE_ROLES];
  int64_t granted_ns[PIPELINE_ROLES];   /* the last one came */
  int64_t ask_again_ns[PIPELINE_ROLES]; /* not before: the last one failed */
  struct cen_link settled;              /* asynchronous ones, for their owners to be told */
  int64_t loop_until_ns;                /* when the loop promised to come back */
  int64_t minded_ns;                    /* no asynchronous call's time is over before this */
  bool shut;                            /* draining for good */
  bool refusing[PIPELINE_ROLES];        /* what is queued is being refused, with `refusal` */
  cenote_error refusal[PIPELINE_ROLES];
  struct pipeline_counters counters;
};

cenote_status pipeline_set_init(struct pipeline_set *set, const struct pipeline_limits *limits);
void pipeline_set_deinit(struct pipeline_set *set);
void pipeline_configure(struct pipeline_set *set, const struct pipeline_limits *limits);

/* Call once a call's fields are filled. A blocking caller's hand is call->hand; an asynchronous
 * one's too, until REST: only after that will the loop tell its owner. `drive` false: an
 * asynchronous one is only queued, the loop does the rest. */
void pipeline_submit(struct pipeline_set *set, struct pipeline_call *call, bool drive,
                     int64_t now_ns, struct pipeline_todo *todo, struct pipeline_wakes *wakes);
/* The one entry. `wakes` starts as zeros in its count and flags each time. */
void pipeline_step(struct pipeline_set *set, struct pipeline_hand *hand,
                   const struct pipeline_did *did, int64_t now_ns, struct pipeline_todo *todo,
                   struct pipeline_wakes *wakes);

/* An asynchronous call is to stop; it is settled soon, by the loop. Any thread. */
void pipeline_cancel(struct pipeline_set *set, struct pipeline_call *call, int64_t now_ns,
                     struct pipeline_wakes *wakes);
/* Does the pool still owe a connection for this role? Then the loop looks after it. */
bool pipeline_is_waiting(struct pipeline_set *set, enum pipeline_role role);
/* The next asynchronous call that is settled, out of the list; NULL: none. The loop's. */
struct pipeline_call *pipeline_settled(struct pipeline_set *set);

/* The pool wants this connection back (or it is no good any more). The loop's, when it looks. */
void pipeline_want(struct pipeline_set *set, struct pipeline *pipeline, uint64_t serial,
                   struct pipeline_wakes *wakes);
/* Idle ones go back now (the loop does it). false: there are none. */
bool pipeline_yield(struct pipeline_set *set, struct pipeline_wakes *wakes);
/* How many have nothing to do, and nobody who has anything for them. */
uint32_t pipeline_resting(struct pipeline_set *set);
/* How many are on their way back. */
uint32_t pipeline_leaving(struct pipeline_set *set);
/* The connection was taken away: cut it off. The loop's next step does it. */
void pipeline_condemn(struct pipeline_set *set, struct pipeline *pipeline, uint64_t serial,
                      struct pipeline_wakes *wakes);
/* No more: what is queued is refused (again while wakes->more, with pipeline_refuse_more), what was
 * sent may finish, connections go back. */
void pipeline_drain(struct pipeline_set *set, int64_t now_ns, struct pipeline_wakes *wakes);
void pipeline_refuse_more(struct pipeline_set *set, int64_t now_ns, struct pipeline_wakes *wakes);

static inline struct pipeline_flight *pipeline_flight_at(const struct pipeline *pipeline,
                                                         uint32_t number)
{
  return &pipeline->flight[number % PIPELINE_RING];
}

struct pipeline_picture {
  uint32_t live, in_flight, queued, ghosts;
  uint32_t resting; /* of those that live: with nothing to do */
  uint32_t waiting; /* for connections that the pool still owes */
  struct pipeline_counters counters;
};
void pipeline_look(struct pipeline_set *set, struct pipeline_picture *picture);
/* NULL, or what is wrong. Walks every list and compares every count. */
const char *pipeline_check(struct pipeline_set *set);

#endif
