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
 * No clock, no lock of the caller's: time is an argument, any thread may call. While it is closed
 * and nothing fails, a call costs one relaxed load.
 */
#ifndef CEN_BREAKER_H
#define CEN_BREAKER_H

#include "base/rng.h"

#include <cenote/cenote.h>
#include <pthread.h>
#include <stdatomic.h>

struct cen_breaker_limits {
  uint32_t failures; /* so many within the window, and at least half of all outcomes; 0: never */
  int64_t window_ns;
  int64_t open_ns; /* the first time; doubles with each failed probe, with jitter */
  int64_t open_max_ns;
};

enum { CEN_BREAKER_BUCKETS = 10 };

struct cen_breaker {
  _Atomic int state; /* cenote_breaker_state */
  pthread_mutex_t lock;
  /* under the lock */
  struct cen_breaker_limits limits;
  struct {
    int64_t from_ns;
    uint32_t good, bad;
  } bucket[CEN_BREAKER_BUCKETS];
  int64_t since_ns; /* of this state */
  int64_t next_ns;  /* OPEN: when the next probe may be */
  int64_t probe_ns; /* HALF_OPEN: when the probe went out; 0: none is out */
  unsigned failed_probes;
  uint64_t opened, rejected;
  char why[256]; /* the last failure */
  char sqlstate[6];
  struct cen_rng rng;
};

struct cen_breaker_view {
  cenote_breaker_state state;
  int64_t since_ns, next_ns;
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
void cen_breaker_configure(struct cen_breaker *breaker, const struct cen_breaker_limits *limits);
/* May a caller go on? A probe that is never reported is taken for lost after open_ns. */
enum cen_breaker_pass cen_breaker_admit(struct cen_breaker *breaker, int64_t now_ns,
                                        struct cen_breaker_move *move);
void cen_breaker_good(struct cen_breaker *breaker, int64_t now_ns, struct cen_breaker_move *move);
void cen_breaker_bad(struct cen_breaker *breaker, const cenote_error *why, int64_t now_ns,
                     struct cen_breaker_move *move);
void cen_breaker_look(struct cen_breaker *breaker, struct cen_breaker_view *view);

#endif
