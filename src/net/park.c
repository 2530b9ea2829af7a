/* park.c - see park.h. */
#include "net/park.h"

#include "net/clock.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

bool cen_park(_Atomic uint32_t *word, uint32_t expected, int64_t deadline_ns)
{
  return cen_park_bits(word, expected, FUTEX_BITSET_MATCH_ANY, deadline_ns);
}

bool cen_park_bits(_Atomic uint32_t *word, uint32_t expected, uint32_t bits, int64_t deadline_ns)
{
  struct timespec until = {0};
  if (deadline_ns > 0) {
    until.tv_sec = (time_t)(deadline_ns / 1000000000);
    until.tv_nsec = (long)(deadline_ns % 1000000000);
  }
  int saved = errno;
  /* WAIT_BITSET takes the deadline as a point in time: nothing is lost where a wake was spurious
   * and the caller parks again. */
  long answer = syscall(SYS_futex, word, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, expected,
                        deadline_ns == CEN_NEVER ? NULL : &until, NULL, bits);
  bool timed_out = answer != 0 && errno == ETIMEDOUT;
  errno = saved;
  return !timed_out;
}

void cen_unpark(_Atomic uint32_t *word)
{
  int saved = errno;
  /* The word may be gone by now (EFAULT): the sleeper saw what it waited for and went on. */
  syscall(SYS_futex, word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1, NULL, NULL, 0);
  errno = saved;
}

void cen_unpark_bits(_Atomic uint32_t *word, uint32_t bits)
{
  int saved = errno;
  syscall(SYS_futex, word, FUTEX_WAKE_BITSET | FUTEX_PRIVATE_FLAG, INT_MAX, NULL, NULL, bits);
  errno = saved;
}
