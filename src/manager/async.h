/*
 * async.h - an acquire that nobody waits for: the housekeeper settles it and calls back. Behind
 * cenote_acquire_async, and for statements and transactions that run without a caller.
 */
#ifndef CEN_ASYNC_H
#define CEN_ASYNC_H

#include "base/limits.h"
#include "manager/manager.h"

/* Embedded in the owner's struct; zero-initialised. */
struct acquisition {
  /* --- the owner's, set before acquisition_start */
  struct cenote_manager *manager;
  char operation[CEN_MAX_OPERATION_ID + 1];
  int64_t deadline_ns;  /* waits until then */
  int64_t lease_ns;     /* 0: the setting */
  int64_t lease_end_ns; /* the lease ends then at the latest; 0: not given */
  /* Exactly once, on the housekeeper, never under a lock, never from within acquisition_start; it
   * is the owner's again. *error is filled when it failed. */
  void (*done)(struct acquisition *acquisition, cenote_status status, cenote_lease lease,
               cenote_error *error);
  struct ticket ticket; /* issued with it, ended before `done` */

  /* --- private */
  struct pool_waiter waiter;
  struct cen_link link; /* in manager->asking, guarded by async_lock */
  int64_t start_ns;
  bool checking; /* a connection is being checked for it */
};

/* Any thread. `handle` NULL: no ticket. */
void acquisition_start(struct acquisition *acquisition, cenote_ticket *handle);
/* Under async_lock, before `done`: it ends with CENOTE_CANCELLED, unless it was granted first (then
 * CENOTE_STALE). The housekeeper must be kicked afterwards. */
cenote_status acquisition_cancel_locked(struct acquisition *acquisition, struct pool_wakes *wakes);

#endif
