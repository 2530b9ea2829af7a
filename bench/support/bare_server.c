/* bare_server.c - see bare_server.h. */
#include "support/bare_server.h"

#include "support/bench.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { REQUEST_MOST = 16 * 1024 };

/* As many bytes as the gateway answers to the same request. */
const char bench_bare_answer[] = "\"command\":\"SELECT\"";
static const char answer[] =
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 319\r\n\r\n"
    "{\"fields\":[{\"name\":\"id\",\"dataTypeID\":20,\"tableID\":16385,\"columnID\":1,"
    "\"dataTypeSize\":8,\"dataTypeModifier\":-1,\"format\":\"text\"},{\"name\":\"name\","
    "\"dataTypeID\":25,\"tableID\":16385,\"columnID\":2,\"dataTypeSize\":-1,"
    "\"dataTypeModifier\":-1,\"format\":\"text\"}],\"rows\":[[\"42\",\"name 42\"]],"
    "\"command\":\"SELECT\",\"rowCount\":1,\"rowAsArray\":true}";

struct guest {
  int fd;
  size_t size;
  char text[REQUEST_MOST];
};

/* Bytes of the first request, or 0: not whole yet. */
static size_t request_size(const struct guest *guest)
{
  const char *end = memmem(guest->text, guest->size, "\r\n\r\n", 4);
  if (end == NULL) {
    return 0;
  }
  const size_t head = (size_t)(end - guest->text) + 4;
  for (const char *at = guest->text; at < end;) {
    const char *next = memchr(at, '\n', (size_t)(end + 2 - at));
    if (strncasecmp(at, "content-length:", 15) == 0) {
      const size_t whole = head + strtoul(at + 15, NULL, 10);
      return whole <= guest->size ? whole : 0;
    }
    at = next != NULL ? next + 1 : end;
  }
  return head;
}

static void accept_one(int epoll, int listener)
{
  const int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd < 0) {
    return;
  }
  struct guest *guest = calloc(1, sizeof *guest);
  if (guest == NULL) {
    _exit(1);
  }
  const int yes = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  guest->fd = fd;
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = guest};
  epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

static void serve_one(struct guest *guest)
{
  const ssize_t got = recv(guest->fd, guest->text + guest->size, REQUEST_MOST - guest->size, 0);
  if (got <= 0) {
    close(guest->fd);
    free(guest);
    return;
  }
  guest->size += (size_t)got;
  if (request_size(guest) != 0) {
    guest->size = 0;
    if (send(guest->fd, answer, sizeof answer - 1, MSG_NOSIGNAL) != (ssize_t)sizeof answer - 1) {
      _exit(1);
    }
  }
}

void bench_bare_server(int listener)
{
  const int epoll = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event listening = {.events = EPOLLIN, .data.ptr = NULL};
  epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &listening);
  for (;;) {
    struct epoll_event events[64];
    const int ready = epoll_wait(epoll, events, 64, -1);
    for (int i = 0; i < ready; i++) {
      if (events[i].data.ptr == NULL) {
        accept_one(epoll, listener);
      } else {
        serve_one(events[i].data.ptr);
      }
    }
  }
}
