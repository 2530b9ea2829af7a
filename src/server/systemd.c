/* systemd.c - see systemd.h. sd_notify(3) and sd_listen_fds(3) say what is sent. */
#include "server/systemd.h"

#include "base/text.h"
#include "net/clock.h"

#include <cenote/driver.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { FIRST_FD = 3 };

bool gateway_systemd_notify(const char *state)
{
  const char *path = getenv("NOTIFY_SOCKET");
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (path == NULL || (path[0] != '/' && path[0] != '@') ||
      strlen(path) >= sizeof address.sun_path) {
    return false;
  }
  memcpy(address.sun_path, path, strlen(path) + 1);
  if (path[0] == '@') {
    address.sun_path[0] = '\0'; /* of the abstract namespace: no file */
  }
  const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) {
    return false;
  }
  const socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
  const ssize_t sent = sendto(fd, state, strlen(state), MSG_NOSIGNAL | MSG_DONTWAIT,
                              (const struct sockaddr *)&address, size);
  (void)close(fd);
  return sent == (ssize_t)strlen(state);
}

bool gateway_systemd_reloading(void)
{
  char state[80];
  (void)snprintf(state, sizeof state, "RELOADING=1\nMONOTONIC_USEC=%" PRId64, cen_now_ns() / 1000);
  return gateway_systemd_notify(state);
}

/* A variable that names this process, or no process. */
static bool is_for_us(const char *variable)
{
  const char *text = getenv(variable);
  int64_t pid = 0;
  return text == NULL || (cen_text_to_int(text, &pid) && pid == (int64_t)getpid());
}

int64_t gateway_systemd_watchdog_ms(void)
{
  const char *text = getenv("WATCHDOG_USEC");
  int64_t us = 0;
  if (text == NULL || !is_for_us("WATCHDOG_PID") || !cen_text_to_int(text, &us) || us <= 0) {
    return 0;
  }
  const int64_t half = us / 2000; /* twice as often as it must come */
  return half > 0 ? half : 1;
}

cenote_status gateway_systemd_listen(int *fd, cenote_error *error)
{
  const char *text = getenv("LISTEN_FDS");
  int64_t count = 0;
  int listens = 0;
  socklen_t size = sizeof listens;
  *fd = -1;
  const bool ours = text != NULL && getenv("LISTEN_PID") != NULL && is_for_us("LISTEN_PID") &&
                    cen_text_to_int(text, &count) && count > 0;
  if (!ours) {
    return CENOTE_OK;
  }
  if (count > 1) {
    return cenote_error_set(error, CENOTE_CONFIG,
                            "%" PRId64 " sockets were handed over (LISTEN_FDS): the gateway "
                            "listens on one; its .socket unit has to have one ListenStream",
                            count);
  }
  if (getsockopt(FIRST_FD, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) != 0 || listens == 0) {
    return cenote_error_set(error, CENOTE_CONFIG,
                            "descriptor 3 was handed over (LISTEN_FDS), but it does not listen: "
                            "the .socket unit has to have ListenStream and Accept=no");
  }
  (void)fcntl(FIRST_FD, F_SETFD, FD_CLOEXEC);
  *fd = FIRST_FD;
  return CENOTE_OK;
}
