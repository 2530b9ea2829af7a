/* window.c - two rings, one slot a second and one a minute. Slots between the newest written and
 * now are emptied before anything is read or added, so a slot never holds an older round. */
#include "manager/window.h"

#include <string.h>

#define NS_PER_SECOND INT64_C(1000000000)

/* Empties the slots of a ring that time has passed over. */
static void ring_advance(uint32_t *ring, int64_t slots, int64_t *newest, int64_t now)
{
  if (now - *newest >= slots) {
    memset(ring, 0, (size_t)slots * sizeof(*ring));
    *newest = now;
  }
  while (*newest < now) {
    (*newest)++;
    ring[*newest % slots] = 0;
  }
}

static void window_advance(struct cen_window *window, int64_t now_ns)
{
  int64_t second = now_ns > 0 ? now_ns / NS_PER_SECOND : 0;
  ring_advance(window->by_second, CEN_WINDOW_SECONDS, &window->second, second);
  ring_advance(window->by_minute, CEN_WINDOW_MINUTES, &window->minute, second / 60);
}

static void slot_add(uint32_t *slot, uint64_t count)
{
  *slot = count > UINT32_MAX - *slot ? UINT32_MAX : (uint32_t)(*slot + count);
}

static uint64_t ring_sum(const uint32_t *ring, int64_t slots)
{
  uint64_t sum = 0;
  for (int64_t i = 0; i < slots; i++) {
    sum += ring[i];
  }
  return sum;
}

void cen_window_init(struct cen_window *window, int64_t now_ns)
{
  memset(window, 0, sizeof(*window));
  window_advance(window, now_ns);
}

void cen_window_add(struct cen_window *window, int64_t now_ns, uint64_t count)
{
  window_advance(window, now_ns);
  slot_add(&window->by_second[window->second % CEN_WINDOW_SECONDS], count);
  slot_add(&window->by_minute[window->minute % CEN_WINDOW_MINUTES], count);
}

void cen_window_track(struct cen_window *window, int64_t now_ns, uint64_t total)
{
  if (total > window->total) {
    cen_window_add(window, now_ns, total - window->total);
  }
  window->total = total;
}

uint64_t cen_window_last_minute(struct cen_window *window, int64_t now_ns)
{
  window_advance(window, now_ns);
  return ring_sum(window->by_second, CEN_WINDOW_SECONDS);
}

uint64_t cen_window_last_quarter(struct cen_window *window, int64_t now_ns)
{
  window_advance(window, now_ns);
  return ring_sum(window->by_minute, CEN_WINDOW_MINUTES);
}
