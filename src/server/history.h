/*
 * history.h - the last fifteen minutes in steps of five seconds. Each point says what happened in
 * its step alone, from the difference of two sums. Pure: time is an argument; the owner's lock
 * guards it.
 */
#ifndef CEN_SERVER_HISTORY_H
#define CEN_SERVER_HISTORY_H

#include "manager/observe.h"

enum { HISTORY_STEP_MS = 5000, HISTORY_POINTS = 15 * 60 * 1000 / HISTORY_STEP_MS };

struct history_times {
  bool any; /* false: no sample in this step */
  double p50_ms, p95_ms, p99_ms;
};

struct history_point {
  int64_t unix_ms;
  double utilization; /* percent */
  int64_t leases, connections, idle, waiters;
  double acquires, simple, exclusive, errors, timeouts; /* a second */
  struct history_times wait, statement;
};

struct history {
  struct history_point point[HISTORY_POINTS]; /* a ring */
  uint64_t count;                             /* points ever */
};

/* What the sampler keeps between two steps; large. All zeros is the beginning. */
struct history_last {
  int64_t at_ns; /* 0: nothing yet */
  uint64_t granted, simple, exclusive, errors, timeouts;
  struct cen_hist wait, statement;
};

/* The point from `last` to this sum (not settled), and `last` moves on. The first call gives none:
 * false. */
bool history_sample(struct history_last *last, const struct cen_sum *sum, int64_t now_ns,
                    int64_t unix_ms, struct history_point *point);
void history_add(struct history *history, const struct history_point *point);
/* The newest but `ago`; NULL: not that many. */
const struct history_point *history_at(const struct history *history, uint64_t ago);
/* {"t":…}, and {"stepMs":5000,"points":[…]}, the oldest first */
void history_write_point(struct cen_json *json, const struct history_point *point);
void history_write(struct cen_json *json, const struct history *history);

#endif
