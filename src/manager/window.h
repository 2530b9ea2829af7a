/* window.h - how often something happened lately: a counter that forgets. A ring of seconds
 * remembers the last minute exactly, a ring of minutes the last quarter of an hour to within a
 * minute. Time is an argument, monotonic; a clock that seems to step back counts as standing
 * still. Not thread-safe: the owner's lock guards it. Plain memory, nothing to free. */
#ifndef CEN_WINDOW_H
#define CEN_WINDOW_H

#include <stdint.h>

enum { CEN_WINDOW_SECONDS = 60, CEN_WINDOW_MINUTES = 15 };

struct cen_window {
  int64_t second; /* the newest second and minute that were written */
  int64_t minute;
  uint64_t total; /* as cen_window_track saw it last */
  uint32_t by_second[CEN_WINDOW_SECONDS];
  uint32_t by_minute[CEN_WINDOW_MINUTES];
};

void cen_window_init(struct cen_window *window, int64_t now_ns);
void cen_window_add(struct cen_window *window, int64_t now_ns, uint64_t count);
/* The same from a counter that only grows: what it grew by since the last call counts as
 * happening now. Costs the place that counts nothing; call it about once a second while
 * anything happens. */
void cen_window_track(struct cen_window *window, int64_t now_ns, uint64_t total);
uint64_t cen_window_last_minute(struct cen_window *window, int64_t now_ns);
uint64_t cen_window_last_quarter(struct cen_window *window, int64_t now_ns);

#endif
