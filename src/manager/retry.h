/*
 * retry.h - what may be tried again, and when. Pure: no clock, no state, any thread.
 */
#ifndef CEN_RETRY_H
#define CEN_RETRY_H

#include "base/rng.h"

#include <cenote/cenote.h>

/* How far a statement got before it failed. */
enum cen_fate {
  CEN_FATE_NOT_RUN, /* it has done nothing, surely */
  CEN_FATE_UNKNOWN, /* it was sent, and no answer came */
  CEN_FATE_ANSWERED /* the database said that it failed: it was rolled back */
};

enum {
  CEN_RETRY_DELAY_MAX_MS = 60000, /* doubling ends here */
  CEN_RETRY_JITTER = 50           /* percent: who failed together does not come back together */
};

/* Is the failure one that passes by itself: a lost or refused connection, a time-out while
 * connecting, 57P01, 57P02, 57P03, 53300, class 08? Not where the server says that it was a plain
 * ERROR: its session lives on, and a function raised it. An open breaker is not: who met it is told at
 * once. NULL is not. */
bool cen_failure_is_transient(const cenote_error *error);
/* May this statement be tried again after this failure? Only if the failure is transient, and the
 * statement has surely not run (NOT_RUN) or only reads. */
bool cen_may_retry(const cenote_error *error, enum cen_fate fate, bool read_only);
/* How long to wait before try `attempt` (1 is the first repetition): exponential, with jitter.
 * The first one after a lost connection is at once: another connection may be fine. */
int64_t cen_retry_delay_ns(int64_t base_ms, unsigned attempt, const cenote_error *error,
                           struct cen_rng *rng);

#endif
