/*
 * query.h - routed statements: what the blocking form (query.c) and the asynchronous one
 * (query_async.c) share. The plan decides, without I/O and without waiting: which path, until when,
 * and, when a try has failed, whether there is another one.
 *
 *     query_plan_init ──► try: SIMPLE, or [turn to write] EXCLUSIVE ──► query_plan_judge ──┐
 *                          ▲                                                │              │
 *                          └────────── AGAIN, or WAIT until wait_ns ◄───────┘         OVER ▼
 */
#ifndef CEN_QUERY_H
#define CEN_QUERY_H

#include "base/rng.h"
#include "manager/manager.h"
#include "manager/retry.h"
#include "manager/route.h"
#include "manager/simple.h"

struct query_plan {
  struct cenote_manager *manager;
  cenote_statement statement; /* borrowed */
  size_t sql_size;
  const char *operation; /* borrowed, never NULL */
  unsigned flags;        /* CENOTE_QUERY_ */
  struct cen_verdict verdict;
  bool simple; /* the path of the next try … */
  bool http;   /* … and over HTTP rather than on a shared connection */
  bool unsure; /* a try may have been executed: from here on only where writes are refused */
  cenote_why why;
  bool turn; /* the next try takes its turn to write (SQLite) */
  bool named_deadline;
  int64_t start_ns, deadline_ns; /* for all of it; CEN_NEVER: none */
  int64_t ends_ns;               /* of the invocation; CEN_NEVER: not given */
  int64_t wait_ns;               /* WAIT: until then */
  unsigned retries, attempt;
};

/* Checks everything the caller said. One thread at a time. */
cenote_status query_plan_init(struct query_plan *plan, cenote_manager *manager,
                              const cenote_statement *statement,
                              const cenote_query_options *options, cenote_error *error);
/* Until when the next try may wait for a connection. */
int64_t query_plan_patience(const struct query_plan *plan, int64_t now_ns);
/* How long its lease may last: as long as it needs, so that only its own deadline ends it. */
int64_t query_plan_lease_ns(const struct query_plan *plan, int64_t now_ns);
/* CENOTE_REQUEST_ flags on a connection of its own. */
unsigned query_plan_request_flags(const struct query_plan *plan);
struct simple_request query_plan_simple(const struct query_plan *plan);

/* How far a try on a connection of its own got; `entry` has left its lease. */
enum cen_fate query_fate(cenote_status status, const struct entry *entry);

enum query_next { QUERY_OVER, QUERY_AGAIN, QUERY_WAIT };
/* A try has ended. `refused`: simple_outcome.read_only_refused. *error is the try's, never NULL; it and
 * *status may become others, where an earlier try is what the caller has to know of. */
enum query_next query_plan_judge(struct query_plan *plan, cenote_status *status, enum cen_fate fate,
                                 bool refused, cenote_error *error);
/* A try on the simple path that was sent has ended: into the figures. */
void query_note_simple(const struct query_plan *plan, cenote_status status,
                       const struct simple_outcome *outcome, const cenote_error *error);

/* ------------------------------------------------------- the turn to write (query_turn.c) */

/* Simple writes on SQLite, one after the other: those that wait hold no connection. First come,
 * first served. */
struct query_turn {
  struct cen_link link; /* guarded by queries.lock */
  enum { TURN_NONE, TURN_WAITING, TURN_MINE } state;
  _Atomic uint32_t word; /* a blocking one parks here: 1 when it is its turn */
  /* Or: called by whoever gives, under queries.lock; it may only put itself among the posted. */
  void (*granted)(struct query_turn *turn);
};
/* CENOTE_OK: it is ours (*mine), or will be. */
cenote_status query_turn_ask(struct cenote_manager *manager, struct query_turn *turn, bool *mine);
/* Waits no longer. false: it is ours already. */
bool query_turn_give_up(struct cenote_manager *manager, struct query_turn *turn);
void query_turn_give(struct cenote_manager *manager, struct query_turn *turn);
cenote_status query_turn_error(struct cenote_manager *manager, cenote_status why, int64_t waited_ms,
                               cenote_error *error);

/* -------------------------------------- where the rest of the manager calls it (query_async.c) */

struct queries { /* one in each manager */
  struct cenote_manager *manager;
  struct cen_route *route;
  bool takes_turns; /* SQLite; its sessions also refuse CENOTE_REQUEST_READ what writes */
  pthread_mutex_t lock;
  /* under the lock */
  struct cen_link turns; /* who waits, first come first */
  bool turn_taken;
  int64_t turns_waiting;
  struct cen_link posted; /* of query: started, granted, cancelled */
  _Atomic bool draining;
  /* the housekeeper's */
  struct cen_task task;
  struct cen_link resting; /* those that wait for a turn or a pause */
};
cenote_status query_new(struct cenote_manager *manager, cenote_error *error);
void query_free(struct cenote_manager *manager);
/* A shutdown begins: nobody pauses any longer. Any thread. */
void query_drain(struct cenote_manager *manager);
/* Goes through what was posted, when the loop has ended. false: nothing was. */
bool query_settle(struct cenote_manager *manager);

#endif
