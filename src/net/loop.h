/*
 * loop.h - a small event loop: one epoll descriptor, watches, timers, tasks posted from
 * other threads. One thread runs it (a thread of ours, or the host's); cen_loop_post and
 * cen_loop_wake alone may be called from any thread.
 */
#ifndef CEN_NET_LOOP_H
#define CEN_NET_LOOP_H

#include <cenote/cenote.h>

#include "base/list.h"

struct cen_loop;

cenote_status cen_loop_new(struct cen_loop **loop, cenote_error *error);
void cen_loop_free(struct cen_loop *loop); /* nothing is called back; closes the descriptors */
/* In a forked child: closes the child's copies of the descriptors without touching the epoll
 * set (it is shared with the parent), frees. */
void cen_loop_free_child(struct cen_loop *loop);

int cen_loop_fd(const struct cen_loop *loop);                /* the epoll descriptor */
int64_t cen_loop_next_deadline(const struct cen_loop *loop); /* ns, CEN_NEVER when none */

/* Waits up to the deadline (ns; 0: does not wait), then runs what is due. Never more than one
 * round, so that the caller can look around. */
void cen_loop_run(struct cen_loop *loop, int64_t deadline_ns);
/* Is the calling thread inside one of the loop's callbacks? Then it must neither wait for the loop
 * nor run it. Any thread. */
bool cen_loop_inside(const struct cen_loop *loop);

/* A host's thread runs the loop among other things. From here on, what that thread itself posts
 * calls `soon` instead of making the descriptor readable, which saves three system calls; in return the
 * host must call cen_loop_run before it waits again. Not called from within the loop's callbacks, nor
 * under a lock of the loop's. On the host's thread; NULL ends it. */
void cen_loop_host(struct cen_loop *loop, void (*soon)(void *context), void *context);

/* A watch on a descriptor: embedded in the owner's struct, zero-initialised. */
struct cen_watch {
  struct cen_loop *loop;
  int fd;
  short events;                                          /* POLLIN | POLLOUT */
  void (*ready)(struct cen_watch *watch, short revents); /* may stop or free the watch */
  uint64_t serial;                                       /* private */
};
/* Starts, changes (fd or events may differ) or, with fd -1, stops. Descriptors may be closed
 * and reused between calls: stop first, or set again after it. Several watches must not share
 * one descriptor. */
cenote_status cen_watch_set(struct cen_loop *loop, struct cen_watch *watch, int fd, short events);
void cen_watch_stop(struct cen_watch *watch);

/* Stops it, but epoll goes on knowing the descriptor, for `owner` (not 0), who mostly comes back and
 * then needs no system call: an event that comes meanwhile ends that. Only for a descriptor that is
 * not closed before the last time that `owner` comes back. */
void cen_watch_park(struct cen_watch *watch, uint64_t owner);
/* cen_watch_set, but takes up what the same owner has parked. */
cenote_status cen_watch_resume(struct cen_loop *loop, struct cen_watch *watch, int fd, short events,
                               uint64_t owner);

/* A timer: embedded, zero-initialised; in a binary heap. */
struct cen_timer {
  struct cen_loop *loop;
  int64_t deadline_ns;
  void (*fire)(struct cen_timer *timer); /* may set or free the timer */
  size_t place;                          /* private: index in the heap + 1, 0 while not set */
};
cenote_status cen_timer_set(struct cen_loop *loop, struct cen_timer *timer, int64_t deadline_ns);
void cen_timer_stop(struct cen_timer *timer);

/* A task for the loop's thread: embedded, run once for each post. Posting a task that is
 * still queued does nothing (it runs once). */
struct cen_task {
  struct cen_link link;
  bool queued; /* guarded by the loop's lock */
  void (*run)(struct cen_task *task);
};
void cen_task_init(struct cen_task *task, void (*run)(struct cen_task *task));
void cen_loop_post(struct cen_loop *loop, struct cen_task *task); /* any thread */
void cen_loop_wake(struct cen_loop *loop);                        /* any thread */

#endif
