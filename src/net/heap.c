/* heap.c - see heap.h. timer->place is its index + 1, so that a zeroed timer is in no heap. */
#include "net/heap.h"

#include <stdlib.h>

static void place(struct cen_heap *heap, size_t at, struct cen_timer *timer)
{
  heap->timers[at] = timer;
  timer->place = at + 1;
}

static void sift_up(struct cen_heap *heap, size_t at)
{
  struct cen_timer *timer = heap->timers[at];
  while (at > 0) {
    size_t parent = (at - 1) / 2;
    if (heap->timers[parent]->deadline_ns <= timer->deadline_ns) {
      break;
    }
    place(heap, at, heap->timers[parent]);
    at = parent;
  }
  place(heap, at, timer);
}

static void sift_down(struct cen_heap *heap, size_t at)
{
  struct cen_timer *timer = heap->timers[at];
  for (;;) {
    size_t child = 2 * at + 1;
    if (child >= heap->count) {
      break;
    }
    if (child + 1 < heap->count &&
        heap->timers[child + 1]->deadline_ns < heap->timers[child]->deadline_ns) {
      child++;
    }
    if (timer->deadline_ns <= heap->timers[child]->deadline_ns) {
      break;
    }
    place(heap, at, heap->timers[child]);
    at = child;
  }
  place(heap, at, timer);
}

void cen_heap_deinit(struct cen_heap *heap)
{
  for (size_t i = 0; i < heap->count; i++) {
    heap->timers[i]->place = 0;
    heap->timers[i]->loop = NULL;
  }
  free(heap->timers);
  *heap = (struct cen_heap){0};
}

bool cen_heap_put(struct cen_heap *heap, struct cen_timer *timer, int64_t deadline_ns)
{
  if (timer->place == 0) {
    if (heap->count == heap->capacity) {
      size_t capacity = heap->capacity == 0 ? 16 : heap->capacity * 2;
      struct cen_timer **timers = realloc(heap->timers, capacity * sizeof(struct cen_timer *));
      if (timers == NULL) {
        return false;
      }
      heap->timers = timers;
      heap->capacity = capacity;
    }
    place(heap, heap->count++, timer);
  }
  timer->deadline_ns = deadline_ns;
  sift_up(heap, timer->place - 1);
  sift_down(heap, timer->place - 1);
  return true;
}

void cen_heap_remove(struct cen_heap *heap, struct cen_timer *timer)
{
  if (timer->place == 0) {
    return;
  }
  size_t at = timer->place - 1;
  timer->place = 0;
  struct cen_timer *last = heap->timers[--heap->count];
  if (last != timer) {
    place(heap, at, last);
    sift_up(heap, at);
    sift_down(heap, last->place - 1);
  }
}
