/*
 * gate.h - the writer's turn: SQLite lets one connection write at a time, and its own busy
 * handler polls without an order. Connections of one manager queue here instead: first come,
 * first served, but while the head of the queue wakes up a thread that is running already may
 * pass, a bounded number of times, so that short writes do not each wait for a thread to wake.
 * Thread-safe.
 */
#ifndef CEN_SQLITE_GATE_H
#define CEN_SQLITE_GATE_H

#include "base/list.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

enum { CEN_SQ_GATE_PASSES = 8 }; /* how often the head of the queue may be passed */

struct cen_sq_gate {
  pthread_mutex_t lock;
  /* guarded by lock */
  bool held;
  unsigned passed;         /* how often the head was passed */
  struct cen_link waiters; /* first in front */
};

/* One of each connection, zero-initialised. `word` is also what the connection sleeps on while
 * another process holds the database's lock. */
struct cen_sq_waiter {
  struct cen_link link; /* guarded by the gate's lock */
  _Atomic uint32_t word;
};

enum { CEN_SQ_WAITING, CEN_SQ_GRANTED, CEN_SQ_NUDGED };

void cen_sq_gate_init(struct cen_sq_gate *gate);
void cen_sq_gate_deinit(struct cen_sq_gate *gate);
bool cen_sq_gate_try(struct cen_sq_gate *gate);
/* Waits until it is the caller's turn, the deadline, or `stopped` answers true (asked at first
 * and after each nudge). false: not entered. */
bool cen_sq_gate_enter(struct cen_sq_gate *gate, struct cen_sq_waiter *waiter, int64_t deadline_ns,
                       bool (*stopped)(void *context), void *context);
void cen_sq_gate_leave(struct cen_sq_gate *gate);
/* Wakes the waiter, to look around. Any thread, any time while the waiter's memory lives. */
void cen_sq_waiter_nudge(struct cen_sq_waiter *waiter);

#endif
