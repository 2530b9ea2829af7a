#include "support/fault_proxy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { MAX_PAIRS = 256, PIECE = 16384 };

/* What came from one side and has not gone to the other yet. */
struct flow {
  char bytes[PIECE];
  size_t size, sent;
  int64_t due_ms;
  bool ended; /* the sender will send no more */
  bool told;  /* and the receiver knows */
};

struct pair {
  bool used;
  int fd[2]; /* [FAULT_TO_SERVER]: where bytes for the server come from: the client */
  struct flow flow[2];
};

struct fault_proxy {
  pthread_t thread;
  int listener, port, wake;
  struct sockaddr_storage target;
  socklen_t target_size;
  struct pair pairs[MAX_PAIRS]; /* the thread's alone */

  pthread_mutex_t lock;
  /* under the lock: */
  bool stop, silent, refuse, reset_all;
  int delay_ms;
  bool cutting[2], cut_resets[2];
  size_t cut_left[2];
  unsigned accepted;
};

/* The thread's own copy of what it was told, taken once a round. */
struct orders {
  bool silent, refuse;
  int delay_ms;
};

static int64_t now_ms(void)
{
  struct timespec ts;
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void close_pair(struct pair *pair, bool reset)
{
  struct linger linger = {.l_onoff = 1, .l_linger = 0};
  for (int i = 0; i < 2; i++) {
    if (reset) {
      (void)setsockopt(pair->fd[i], SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    }
    close(pair->fd[i]);
  }
  pair->used = false;
}

static void accept_one(struct fault_proxy *proxy, const struct orders *orders)
{
  int client = accept4(proxy->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (client < 0) {
    return;
  }
  pthread_mutex_lock(&proxy->lock);
  proxy->accepted++;
  pthread_mutex_unlock(&proxy->lock);
  struct pair *pair = proxy->pairs;
  while (pair < proxy->pairs + MAX_PAIRS && pair->used) {
    pair++;
  }
  int server = -1;
  if (pair < proxy->pairs + MAX_PAIRS && !orders->refuse) {
    server = socket(proxy->target.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  }
  if (server < 0 ||
      connect(server, (const struct sockaddr *)&proxy->target, proxy->target_size) != 0) {
    struct linger linger = {.l_onoff = 1, .l_linger = 0};
    (void)setsockopt(client, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    close(client);
    if (server >= 0) {
      close(server);
    }
    return;
  }
  int one = 1;
  (void)setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
  memset(pair, 0, sizeof(*pair));
  pair->used = true;
  pair->fd[FAULT_TO_SERVER] = client;
  pair->fd[FAULT_TO_CLIENT] = server;
}

/* How much of the piece may pass; *cut: the connection ends after it. */
static size_t allowance(struct fault_proxy *proxy, int direction, size_t size, bool *cut,
                        bool *reset)
{
  *cut = false;
  pthread_mutex_lock(&proxy->lock);
  if (proxy->cutting[direction]) {
    if (size >= proxy->cut_left[direction]) {
      size = proxy->cut_left[direction];
      *cut = true;
      *reset = proxy->cut_resets[direction];
      proxy->cutting[direction] = false;
    }
    proxy->cut_left[direction] -= size;
  }
  pthread_mutex_unlock(&proxy->lock);
  return size;
}

/* Carries one direction of a pair. false: the pair is gone. */
static bool carry(struct fault_proxy *proxy, struct pair *pair, int direction,
                  const struct orders *orders)
{
  struct flow *flow = &pair->flow[direction];
  int from = pair->fd[direction];
  int to = pair->fd[1 - direction];
  if (flow->size == 0 && !flow->ended) {
    ssize_t got = recv(from, flow->bytes, PIECE, MSG_DONTWAIT);
    if (got < 0 && errno != EAGAIN && errno != EINTR) {
      close_pair(pair, true);
      return false;
    }
    flow->ended = got == 0;
    flow->size = got > 0 ? (size_t)got : 0;
    flow->sent = 0;
    flow->due_ms = now_ms() + orders->delay_ms;
  }
  if (flow->size > 0 && now_ms() >= flow->due_ms) {
    bool cut;
    bool reset = false;
    size_t size = allowance(proxy, direction, flow->size - flow->sent, &cut, &reset);
    ssize_t put = send(to, flow->bytes + flow->sent, size, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (cut || (put < 0 && errno != EAGAIN && errno != EINTR)) {
      close_pair(pair, !cut || reset);
      return false;
    }
    flow->sent += put > 0 ? (size_t)put : 0;
    flow->size = flow->sent < flow->size ? flow->size : 0;
  }
  if (flow->ended && flow->size == 0 && !flow->told) {
    (void)shutdown(to, SHUT_WR);
    flow->told = true;
  }
  if (pair->flow[0].told && pair->flow[1].told) {
    close_pair(pair, false);
    return false;
  }
  return true;
}

static void take_orders(struct fault_proxy *proxy, struct orders *orders, bool *stop)
{
  pthread_mutex_lock(&proxy->lock);
  *orders = (struct orders){proxy->silent, proxy->refuse, proxy->delay_ms};
  *stop = proxy->stop;
  bool reset = proxy->reset_all;
  proxy->reset_all = false;
  pthread_mutex_unlock(&proxy->lock);
  for (size_t i = 0; i < MAX_PAIRS && (reset || *stop); i++) {
    if (proxy->pairs[i].used) {
      close_pair(&proxy->pairs[i], reset);
    }
  }
}

/* What to wait for; the time-out in ms. */
static int plan(struct fault_proxy *proxy, const struct orders *orders, struct pollfd *fds,
                nfds_t *count)
{
  int timeout = -1;
  *count = 0;
  fds[(*count)++] = (struct pollfd){.fd = proxy->wake, .events = POLLIN};
  fds[(*count)++] = (struct pollfd){.fd = proxy->listener, .events = POLLIN};
  for (size_t i = 0; i < MAX_PAIRS && !orders->silent; i++) {
    struct pair *pair = &proxy->pairs[i];
    for (int d = 0; pair->used && d < 2; d++) {
      const struct flow *flow = &pair->flow[d];
      if (flow->size > 0) {
        int64_t left = flow->due_ms - now_ms();
        if (left > 0) {
          timeout = timeout < 0 || left < timeout ? (int)left : timeout;
        } else {
          fds[(*count)++] = (struct pollfd){.fd = pair->fd[1 - d], .events = POLLOUT};
        }
      } else if (!flow->ended) {
        fds[(*count)++] = (struct pollfd){.fd = pair->fd[d], .events = POLLIN};
      }
    }
  }
  return timeout;
}

static void *run(void *context)
{
  struct fault_proxy *proxy = context;
  struct pollfd fds[2 + 4 * MAX_PAIRS];
  struct orders orders;
  bool stop;
  for (take_orders(proxy, &orders, &stop); !stop; take_orders(proxy, &orders, &stop)) {
    nfds_t count;
    int timeout = plan(proxy, &orders, fds, &count);
    (void)poll(fds, count, timeout);
    if (fds[0].revents) {
      uint64_t ignored;
      (void)!read(proxy->wake, &ignored, sizeof(ignored));
      continue; /* new orders first */
    }
    if (fds[1].revents) {
      accept_one(proxy, &orders);
    }
    for (size_t i = 0; i < MAX_PAIRS && !orders.silent; i++) {
      struct pair *pair = &proxy->pairs[i];
      if (pair->used && carry(proxy, pair, FAULT_TO_SERVER, &orders)) {
        (void)carry(proxy, pair, FAULT_TO_CLIENT, &orders);
      }
    }
  }
  return NULL;
}

static bool target_set(struct fault_proxy *proxy, const char *target, int port)
{
  if (target[0] == '/') {
    struct sockaddr_un *path = (struct sockaddr_un *)&proxy->target;
    path->sun_family = AF_UNIX;
    proxy->target_size = sizeof(*path);
    int wrote = snprintf(path->sun_path, sizeof(path->sun_path), "%s", target);
    return wrote > 0 && (size_t)wrote < sizeof(path->sun_path);
  }
  struct sockaddr_in *address = (struct sockaddr_in *)&proxy->target;
  address->sin_family = AF_INET;
  address->sin_port = htons((uint16_t)port);
  proxy->target_size = sizeof(*address);
  return inet_pton(AF_INET, target, &address->sin_addr) == 1;
}

static bool listen_on(struct fault_proxy *proxy)
{
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
  socklen_t size = sizeof(address);
  proxy->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (proxy->listener < 0 || bind(proxy->listener, (struct sockaddr *)&address, size) != 0 ||
      listen(proxy->listener, 128) != 0 ||
      getsockname(proxy->listener, (struct sockaddr *)&address, &size) != 0) {
    return false;
  }
  proxy->port = ntohs(address.sin_port);
  return true;
}

struct fault_proxy *fault_proxy_start(const char *target, int port)
{
  struct fault_proxy *proxy = calloc(1, sizeof(*proxy));
  if (!proxy) {
    return NULL;
  }
  proxy->listener = -1;
  proxy->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  (void)pthread_mutex_init(&proxy->lock, NULL);
  if (proxy->wake >= 0 && target_set(proxy, target, port) && listen_on(proxy) &&
      pthread_create(&proxy->thread, NULL, run, proxy) == 0) {
    return proxy;
  }
  if (proxy->listener >= 0) {
    close(proxy->listener);
  }
  if (proxy->wake >= 0) {
    close(proxy->wake);
  }
  pthread_mutex_destroy(&proxy->lock);
  free(proxy);
  return NULL;
}

static void release(struct fault_proxy *proxy)
{
  uint64_t one = 1;
  pthread_mutex_unlock(&proxy->lock);
  (void)!write(proxy->wake, &one, sizeof(one));
}

void fault_proxy_stop(struct fault_proxy *proxy)
{
  if (!proxy) {
    return;
  }
  pthread_mutex_lock(&proxy->lock);
  proxy->stop = true;
  release(proxy);
  pthread_join(proxy->thread, NULL);
  close(proxy->listener);
  close(proxy->wake);
  pthread_mutex_destroy(&proxy->lock);
  free(proxy);
}

int fault_proxy_port(const struct fault_proxy *proxy)
{
  return proxy->port;
}

unsigned fault_proxy_accepted(struct fault_proxy *proxy)
{
  pthread_mutex_lock(&proxy->lock);
  unsigned accepted = proxy->accepted;
  pthread_mutex_unlock(&proxy->lock);
  return accepted;
}

void fault_proxy_heal(struct fault_proxy *proxy)
{
  pthread_mutex_lock(&proxy->lock);
  proxy->silent = proxy->refuse = proxy->cutting[0] = proxy->cutting[1] = false;
  proxy->delay_ms = 0;
  release(proxy);
}

void fault_proxy_delay(struct fault_proxy *proxy, int milliseconds)
{
  pthread_mutex_lock(&proxy->lock);
  proxy->delay_ms = milliseconds;
  release(proxy);
}

void fault_proxy_silence(struct fault_proxy *proxy)
{
  pthread_mutex_lock(&proxy->lock);
  proxy->silent = true;
  release(proxy);
}

void fault_proxy_refuse(struct fault_proxy *proxy)
{
  pthread_mutex_lock(&proxy->lock);
  proxy->refuse = true;
  release(proxy);
}

void fault_proxy_reset(struct fault_proxy *proxy)
{
  pthread_mutex_lock(&proxy->lock);
  proxy->reset_all = true;
  release(proxy);
}

void fault_proxy_cut_after(struct fault_proxy *proxy, enum fault_direction direction, size_t bytes,
                           bool reset)
{
  pthread_mutex_lock(&proxy->lock);
  proxy->cutting[direction] = true;
  proxy->cut_left[direction] = bytes;
  proxy->cut_resets[direction] = reset;
  release(proxy);
}
