/* connects.c - see connects.h. libcurl's calls come here, as a program's own symbols go first. The
 * system's header declares connect() with a type that only it may use, so it stays out. */
#include "support/connects.h"

#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { FAMILY_INET = 2 };

static _Atomic int connects;

int connect(int fd, const unsigned short *family, unsigned size);

int connect(int fd, const unsigned short *family, unsigned size)
{
  if (*family == FAMILY_INET) {
    atomic_fetch_add(&connects, 1);
  }
  return (int)syscall(SYS_connect, fd, family, size);
}

int bench_connects(void)
{
  return atomic_load(&connects);
}
