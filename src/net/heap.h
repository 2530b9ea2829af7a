/* heap.h - a binary heap of timers, the earliest first. The loop's; one thread. */
#ifndef CEN_HEAP_H
#define CEN_HEAP_H

#include "net/loop.h"

struct cen_heap {
  struct cen_timer **timers;
  size_t count, capacity;
};

void cen_heap_deinit(struct cen_heap *heap); /* every timer is as if it had been stopped */
/* false: no memory, and nothing has changed. A timer that is in it is never refused. */
bool cen_heap_put(struct cen_heap *heap, struct cen_timer *timer, int64_t deadline_ns);
void cen_heap_remove(struct cen_heap *heap, struct cen_timer *timer);

#endif
