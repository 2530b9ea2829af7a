/* http_load.c - see http_load.h. */
#include "support/http_load.h"

#include "support/bench.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ANSWER_MOST = 64 * 1024, SAMPLES_MOST = 4 << 20 };

struct line {
  int fd;
  size_t size;
  int64_t sent_ns;
  char answer[ANSWER_MOST];
};

int bench_http_connect(uint16_t port)
{
  const struct sockaddr_in address = {
      .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
    bench_die("cannot connect to the server: %s", strerror(errno));
  }
  const int yes = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  return fd;
}

size_t bench_http_request(char *out, size_t size, const char *path, const char *fields,
                          const char *body)
{
  const int made =
      snprintf(out, size, "POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\n%sContent-Length: %zu\r\n\r\n%s",
               path, fields, strlen(body), body);
  if (made < 0 || (size_t)made >= size) {
    bench_die("the request does not fit");
  }
  return (size_t)made;
}

/* 0: not whole yet. */
static size_t answer_size(const struct line *line, const char **body)
{
  const char *end = strstr(line->answer, "\r\n\r\n");
  if (end == NULL) {
    return 0;
  }
  *body = end + 4;
  for (const char *at = line->answer; at < end; at = strstr(at, "\r\n") + 2) {
    if (strncasecmp(at, "content-length:", 15) == 0) {
      return (size_t)(*body - line->answer) + strtoul(at + 15, NULL, 10);
    }
  }
  bench_die("an answer without a length:\n%.500s", line->answer);
}

static void ask(struct line *line, const bench_http_load *load)
{
  line->size = 0;
  line->sent_ns = bench_wall_ns();
  if (send(line->fd, load->request, load->request_size, MSG_NOSIGNAL) !=
      (ssize_t)load->request_size) {
    bench_die("the request was not taken: %s", strerror(errno));
  }
}

static bool hear(struct line *line, const bench_http_load *load)
{
  const ssize_t got = recv(line->fd, line->answer + line->size, ANSWER_MOST - 1 - line->size, 0);
  if (got <= 0) {
    bench_die("the server hung up");
  }
  line->size += (size_t)got;
  line->answer[line->size] = '\0';
  const char *body;
  const size_t whole = answer_size(line, &body);
  if (whole == 0 || line->size < whole) {
    return false;
  }
  if (strncmp(line->answer, "HTTP/1.1 200", 12) != 0 || strstr(body, load->expected) == NULL) {
    bench_die("a wrong answer:\n%.1000s", line->answer);
  }
  return true;
}

static void judge(uint32_t *samples, size_t count, bench_http_result *result)
{
  bench_sort(samples, count);
  result->p50_us = bench_percentile(samples, count, 0.5) / 1000;
  result->p99_us = bench_percentile(samples, count, 0.99) / 1000;
}

void bench_http_run(const bench_http_load *load, int64_t run_ms, bench_http_result *result)
{
  struct line *lines = calloc((size_t)load->connections, sizeof *lines);
  uint32_t *samples = malloc(SAMPLES_MOST * sizeof *samples);
  const int epoll = epoll_create1(EPOLL_CLOEXEC);
  if (lines == NULL || samples == NULL || epoll < 0) {
    bench_die("no memory for the load");
  }
  size_t count = 0;
  int busy = load->connections;
  *result = (bench_http_result){0};
  for (int i = 0; i < load->connections; i++) {
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &lines[i]};
    lines[i].fd = bench_http_connect(load->port);
    epoll_ctl(epoll, EPOLL_CTL_ADD, lines[i].fd, &event);
  }
  const int64_t begin = bench_wall_ns();
  const int64_t until = begin + run_ms * 1000000;
  for (int i = 0; i < load->connections; i++) {
    ask(&lines[i], load);
  }
  while (busy > 0) {
    struct epoll_event events[64];
    const int ready = epoll_wait(epoll, events, 64, 20000);
    if (ready == 0) {
      bench_die("the server does not answer");
    }
    for (int i = 0; i < ready; i++) {
      struct line *line = events[i].data.ptr;
      if (!hear(line, load)) {
        continue;
      }
      const int64_t now = bench_wall_ns();
      const int64_t took = now - line->sent_ns;
      if (count < SAMPLES_MOST) {
        samples[count++] = took > UINT32_MAX ? UINT32_MAX : (uint32_t)took;
      }
      result->answers++;
      if (now < until) {
        ask(line, load);
      } else {
        busy--;
      }
    }
  }
  result->wall_ns = bench_wall_ns() - begin;
  judge(samples, count, result);
  for (int i = 0; i < load->connections; i++) {
    close(lines[i].fd);
  }
  close(epoll);
  free(samples);
  free(lines);
}
