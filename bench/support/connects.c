/* connects.c - see connects.h. libcurl's calls come here, as a program's own symbols go first. The
 * system's header declares connect() with a type that only it may use, so it stays out. */
#include "support/connects.h"

#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { FAMILY_INET = 2, PORTS = 65536 };

/* As struct sockaddr_in begins. */
struct place {
  unsigned short family;
  unsigned char port[2]; /* the high byte first */
};

static _Atomic int connects[PORTS];

int connect(int fd, const struct place *place, unsigned size);

int connect(int fd, const struct place *place, unsigned size)
{
  if (place->family == FAMILY_INET) {
    atomic_fetch_add(&connects[place->port[0] << 8 | place->port[1]], 1);
  }
  return (int)syscall(SYS_connect, fd, place, size);
}

int bench_connects(uint16_t port)
{
  return atomic_load(&connects[port]);
}
