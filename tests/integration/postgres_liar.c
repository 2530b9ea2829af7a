#include "integration/postgres_liar.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static bool receive(int fd, void *bytes, size_t size)
{
  return recv(fd, bytes, size, MSG_WAITALL) == (ssize_t)size;
}

/* Answers to a request for TLS: no. */
static void log_in(int fd)
{
  static const char welcome[] = "R\0\0\0\x08\0\0\0\0"
                                "S\0\0\0\x19"
                                "client_encoding\0UTF8\0"
                                "K\0\0\0\x0c\0\0\0\7\0\0\0\x09"
                                "Z\0\0\0\5I";
  char packet[1024];
  for (;;) {
    uint32_t head[2];
    assert_true(receive(fd, head, sizeof(head)));
    uint32_t size = ntohl(head[0]);
    assert_true(size >= 8 && size < sizeof(packet));
    assert_true(size == 8 || receive(fd, packet, size - 8));
    if (ntohl(head[1]) == 3u << 16) {
      break;
    }
    assert_int_equal(send(fd, "N", 1, MSG_NOSIGNAL), 1);
  }
  assert_int_equal(send(fd, welcome, sizeof(welcome) - 1, MSG_NOSIGNAL), sizeof(welcome) - 1);
}

static void *lie(void *context)
{
  struct pg_liar *liar = context;
  char bytes[4096];
  int fd = accept(liar->listener, NULL, NULL);
  if (fd < 0) {
    return NULL;
  }
  log_in(fd);
  (void)!recv(fd, bytes, sizeof(bytes), 0);
  for (size_t at = 0; at < liar->size; at += liar->piece) {
    size_t piece = liar->size - at < liar->piece ? liar->size - at : liar->piece;
    if (send(fd, liar->script + at, piece, MSG_NOSIGNAL) < 0) {
      break;
    }
    if (liar->piece == 1) {
      usleep(200);
    }
  }
  if (liar->hangs_up) {
    (void)shutdown(fd, SHUT_WR);
  }
  while (recv(fd, bytes, sizeof(bytes), 0) > 0) {
  }
  close(fd);
  return NULL;
}

void pg_liar_start(struct pg_liar *liar, const char *script, size_t size, size_t piece,
                   bool hangs_up)
{
  struct sockaddr_in address = {.sin_family = AF_INET};
  socklen_t length = sizeof(address);
  *liar = (struct pg_liar){.script = script, .size = size, .piece = piece, .hangs_up = hangs_up};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  liar->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  assert_int_equal(bind(liar->listener, (struct sockaddr *)&address, sizeof(address)), 0);
  assert_int_equal(listen(liar->listener, 1), 0);
  assert_int_equal(getsockname(liar->listener, (struct sockaddr *)&address, &length), 0);
  snprintf(liar->url, sizeof(liar->url), "postgres://u@127.0.0.1:%d/d", ntohs(address.sin_port));
  assert_int_equal(pthread_create(&liar->thread, NULL, lie, liar), 0);
}

void pg_liar_stop(struct pg_liar *liar)
{
  pthread_join(liar->thread, NULL);
  close(liar->listener);
}
