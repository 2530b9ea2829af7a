#include "support/low_port.h"

#include <arpa/inet.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

static bool is_free(int port)
{
  const struct sockaddr_in address = {.sin_family = AF_INET,
                                      .sin_port = htons((uint16_t)port),
                                      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const bool fine = fd >= 0 && bind(fd, (const struct sockaddr *)&address, sizeof address) == 0;
  if (fd >= 0) {
    close(fd);
  }
  return fine;
}

/* Programs that run at the same time begin far from each other. */
int low_port(void)
{
  enum { LOWEST = 20000, COUNT = 12000, PRIME = 7919 };
  static unsigned tries;
  int port = 0;
  do {
    port = LOWEST + (int)(((unsigned)getpid() * PRIME + tries++) % COUNT);
  } while (!is_free(port) && tries < COUNT);
  return port;
}
