/* clock.h - the only place that asks the system for the time. Any thread. */
#ifndef CEN_CLOCK_H
#define CEN_CLOCK_H

#include <stdint.h>
#include <time.h>

#define CEN_NS_PER_MS INT64_C(1000000)
#define CEN_NEVER INT64_MAX

int64_t cen_now_ns(void);   /* CLOCK_MONOTONIC */
int64_t cen_slept_ns(void); /* how long the machine was suspended since it was booted */
int64_t cen_wall_ms(void);  /* Unix time, for people and logs only */

/* CLOCK_MONOTONIC_COARSE: about 4 ns a read, moves in steps of some ms. Never ahead of cen_now_ns. */
static inline int64_t cen_now_coarse_ns(void)
{
  struct timespec ts;
  clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
  return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* now + ms, saturating at CEN_NEVER; negative ms: CEN_NEVER. */
int64_t cen_deadline_ns(int64_t now_ns, int64_t ms);
/* For poll(): milliseconds from now until the deadline, rounded up, 0 … INT_MAX; -1 for CEN_NEVER. */
int cen_poll_timeout_ms(int64_t now_ns, int64_t deadline_ns);

#endif
