/*
 * breaker.h - a circuit breaker: after many failures callers are refused at once instead of waiting
 * for what will not come, until a probe has succeeded.
 *
 *              failures fill the window                  its time is over
 *   CLOSED ───────────────────────────────► OPEN ───────────────────────────► HALF_OPEN
 *      ▲                                      ▲      a probe fails (longer)       │
 *      │                                      └───────────────────────────────────┤
 *      └──────────────────────────────────────────────────────────────────────────┘
 *                                  a probe succeeds
 *
 * When it opens: within the window there were `failures` of them and they were at least half of all
 * outcomes. The window starts with the first failure after a time without any: before that nothing
 * is counted, so that what goes well costs nothing. It is cut into ten parts. A part weighs at most
 * `most_at_once` failures (its successes shrink in the same proportion): twenty connections that
 * die in the same moment are one event, and the next connect may well succeed; a database that is
 * down fails for longer than that.
 *
 * No clock, no lock of the caller's: time is an argument, any thread may call. While it is closed
 * and nothing has failed within the window, a call costs one relaxed load.
 */
#ifndef CEN_BREAKER_H
#define CEN_BREAKER_H

#include "base/rng.h"

#include <cenote/cenote.h>
#include <pthread.h>
#include <stdatomic.h>

struct cen_breaker_limits {
  uint32_t failures; /* so many within the window, and at least half of all outcomes; 0: never */
  uint32_t most_at_once; /* of one part of the window; 0: all */
  int64_t window_ns;
  int64_t open_ns; /* the first time; doubles with each failed probe, with jitter */
  int64_t open_max_ns;
  int64_t probe_ns; /* a probe that was not reported for so long is lost: another may go */
};

enum { CEN_BREAKER_BUCKETS = 10 };

/* Closed is one of two: QUIET (nothing failed within the window) and ALERT (outcomes are counted). */
enum cen_breaker_mode {
  CEN_BREAKER_QUIET,
  CEN_BREAKER_ALERT,
  CEN_BREAKER_REFUSES,
  CEN_BREAKER_PROBES
};

struct cen_breaker {
  _Atomic int mode;        /* enum cen_breaker_mode; written under the lock */
  _Atomic uint32_t goods;  /* of ALERT, not yet in a bucket */
  _Atomic int64_t turn_ns; /* when the next good one has to look at the window */
  pthread_mutex_t lock;
  /* under the lock */
  struct cen_breaker_limits limits;
  struct {
    int64_t part; /* since start_ns, counted in parts of the window */
    uint32_t good, bad;
  } bucket[CEN_BREAKER_BUCKETS];
  int64_t start_ns;  /* the window's first failure */
  int64_t since_ns;  /* of this state */
  int64_t opened_ns; /* when it was closed last; tells nothing while it is */
  int64_t next_ns;   /* OPEN: when the next probe may be */
  int64_t probe_ns;  /* HALF_OPEN: when the last probe went out */
  unsigned failed_probes;
  uint64_t opened, rejected;
  char why[256]; /* the last failure */
  char sqlstate[6];
  struct cen_rng rng;
};

struct cen_breaker_view {
  cenote_breaker_state state;
  int64_t since_ns;  /* of this state */
  int64_t opened_ns; /* OPEN, HALF_OPEN: since when it is not closed */
  /* OPEN: when the next probe may be; HALF_OPEN: when one that is out counts as lost; CLOSED:
   * INT64_MAX */
  int64_t next_ns;
  uint64_t opened, rejected;
  char why[256];
  char sqlstate[6];
};

enum cen_breaker_pass { CEN_BREAKER_PASS, CEN_BREAKER_PROBE, CEN_BREAKER_REFUSED };

/* What a call moved, for log and audit; written outside the lock by whoever called. */
struct cen_breaker_move {
  bool moved;
  cenote_breaker_state from, to;
};

cenote_status cen_breaker_init(struct cen_breaker *breaker, const struct cen_breaker_limits *limits,
                               uint64_t seed, int64_t now_ns);
void cen_breaker_deinit(struct cen_breaker *breaker);
/* With `failures` 0 it closes. */
void cen_breaker_configure(struct cen_breaker *breaker, const struct cen_breaker_limits *limits,
                           int64_t now_ns, struct cen_breaker_move *move);
/* For callers: must this one be refused? Changes no state: when the time for a probe has come they
 * are let through, to wait for its outcome. */
bool cen_breaker_refuses(struct cen_breaker *breaker, int64_t now_ns);
/* For callers who have another way: true unless it is closed. None of them waits for a probe. */
bool cen_breaker_turns_away(struct cen_breaker *breaker);
/* For whoever probes: CEN_BREAKER_PROBE once when its time has come; then something must be asked
 * of the database. */
enum cen_breaker_pass cen_breaker_admit(struct cen_breaker *breaker, int64_t now_ns,
                                        struct cen_breaker_move *move);
void cen_breaker_good(struct cen_breaker *breaker, int64_t now_ns, struct cen_breaker_move *move);
void cen_breaker_bad(struct cen_breaker *breaker, const cenote_error *why, int64_t now_ns,
                     struct cen_breaker_move *move);
void cen_breaker_look(struct cen_breaker *breaker, struct cen_breaker_view *view);

static inline enum cen_breaker_mode cen_breaker_mode(const struct cen_breaker *breaker)
{
  return (enum cen_breaker_mode)atomic_load_explicit(&breaker->mode, memory_order_relaxed);
}

static inline bool cen_breaker_is_closed(const struct cen_breaker *breaker)
{
  return cen_breaker_mode(breaker) <= CEN_BREAKER_ALERT;
}

#endif
