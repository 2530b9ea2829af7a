/* clock.c - see clock.h. */
#include "net/clock.h"

#include <limits.h>

static int64_t read_ns(clockid_t clock)
{
  struct timespec ts;
  clock_gettime(clock, &ts);
  return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

int64_t cen_now_ns(void)
{
  return read_ns(CLOCK_MONOTONIC);
}

/* The monotonic clock stands still while the machine sleeps, the boot clock does not. */
int64_t cen_slept_ns(void)
{
  struct timespec boot, monotonic;
  clock_gettime(CLOCK_BOOTTIME, &boot);
  clock_gettime(CLOCK_MONOTONIC, &monotonic);
  return (int64_t)(boot.tv_sec - monotonic.tv_sec) * 1000000000 + boot.tv_nsec - monotonic.tv_nsec;
}

int64_t cen_wall_ms(void)
{
  return read_ns(CLOCK_REALTIME) / CEN_NS_PER_MS;
}

int64_t cen_deadline_ns(int64_t now_ns, int64_t ms)
{
  if (ms < 0 || ms > CEN_NEVER / CEN_NS_PER_MS) {
    return CEN_NEVER;
  }
  int64_t ns = ms * CEN_NS_PER_MS;
  return now_ns > CEN_NEVER - ns ? CEN_NEVER : now_ns + ns;
}

int cen_poll_timeout_ms(int64_t now_ns, int64_t deadline_ns)
{
  if (deadline_ns == CEN_NEVER) {
    return -1;
  }
  if (deadline_ns <= now_ns) {
    return 0;
  }
  /* Unsigned: the two may lie further apart than an int64_t can say. */
  uint64_t left = (uint64_t)deadline_ns - (uint64_t)now_ns;
  uint64_t ms = (left - 1) / (uint64_t)CEN_NS_PER_MS + 1;
  return ms < INT_MAX ? (int)ms : INT_MAX;
}
