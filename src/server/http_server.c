/* http_server.c - the server as a whole: settings, listeners, threads, its end. */
#include "base/text.h"
#include "server/http_inside.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HTTP_BACKLOG = 1024, HTTP_THREADS_MOST = 256 };

void cen_http_config_init(struct cen_http_config *config)
{
  *config = (struct cen_http_config){
      .listen_fd = -1,
      .host = "127.0.0.1",
      .port = 3000,
      .threads = 1,
      .max_connections = 10000,
      .max_body = 10 << 20,
      .max_bodies = 256 << 20,
      .max_pending = 1 << 20,
      .head_ms = 10000,
      .body_ms = 30000,
      .idle_ms = 60000,
      .write_ms = 30000,
      .linger_ms = 2000,
      .min_rate = 16384,
      .login_failures = 10,
  };
}

static char *text_copy(const char *text, bool *failed)
{
  char *copy = text != NULL ? strdup(text) : NULL;
  *failed = *failed || (text != NULL && copy == NULL);
  return copy;
}

static char **texts_copy(const char *const *texts, size_t count, bool *failed)
{
  char **copies = texts != NULL ? calloc(count + 1, sizeof *copies) : NULL;
  *failed = *failed || (texts != NULL && copies == NULL);
  for (size_t i = 0; copies != NULL && i < count; i++) {
    copies[i] = text_copy(texts[i], failed);
  }
  return copies;
}

static void texts_free(char **texts, size_t count)
{
  for (size_t i = 0; texts != NULL && i < count; i++) {
    free(texts[i]);
  }
  free(texts);
}

static bool config_copy(struct cen_http_server *server, const struct cen_http_config *config)
{
  bool failed = false;
  struct cen_http_config *own = &server->config;
  *own = *config;
  own->host = text_copy(config->host, &failed);
  own->tls_cert = own->tls_key = NULL; /* http_tls.c has its own */
  server->names = texts_copy(config->names, config->name_count, &failed);
  server->origins = texts_copy(config->origins, config->origin_count, &failed);
  own->names = (const char *const *)server->names;
  own->origins = (const char *const *)server->origins;
  for (unsigned i = 0; i < CEN_HTTP_SCOPES; i++) {
    own->tokens[i] = text_copy(config->tokens[i], &failed);
  }
  return !failed;
}

static int listener_open(const struct addrinfo *address, bool shared)
{
  int one = 1;
  int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) {
    return -1;
  }
  (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (address->ai_family == AF_INET6) {
    (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
  }
  if ((shared && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one) != 0) ||
      bind(fd, address->ai_addr, address->ai_addrlen) != 0 || listen(fd, HTTP_BACKLOG) != 0) {
    int kept = errno;
    (void)close(fd);
    errno = kept;
    return -1;
  }
  return fd;
}

static uint16_t port_of(int fd)
{
  struct sockaddr_storage address = {.ss_family = AF_UNSPEC};
  socklen_t size = sizeof address;
  if (getsockname(fd, (struct sockaddr *)&address, &size) != 0) {
    return 0;
  }
  if (address.ss_family == AF_INET6) {
    struct sockaddr_in6 in6;
    memcpy(&in6, &address, sizeof in6);
    return ntohs(in6.sin6_port);
  }
  struct sockaddr_in in;
  memcpy(&in, &address, sizeof in);
  return address.ss_family == AF_INET ? ntohs(in.sin_port) : 0;
}

static void port_set(struct addrinfo *address, uint16_t port)
{
  if (address->ai_family == AF_INET6) {
    ((struct sockaddr_in6 *)(void *)address->ai_addr)->sin6_port = htons(port);
  } else {
    ((struct sockaddr_in *)(void *)address->ai_addr)->sin_port = htons(port);
  }
}

static cenote_status listen_all(struct cen_http_server *server, cenote_error *error)
{
  const struct cen_http_config *config = &server->config;
  if (config->listen_fd >= 0) {
    for (unsigned i = 0; i < config->threads; i++) {
      server->loops[i].listen_fd = config->listen_fd;
    }
    server->port = port_of(config->listen_fd);
    return evutil_make_socket_nonblocking(config->listen_fd) == 0
               ? CENOTE_OK
               : cenote_error_set(error, CENOTE_INVALID, "the descriptor handed over is no socket");
  }
  struct addrinfo hints = {
      .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
  struct addrinfo *found = NULL;
  char port[8];
  (void)snprintf(port, sizeof port, "%u", (unsigned)config->port);
  int failed = getaddrinfo(config->host, port, &hints, &found);
  if (failed != 0) {
    return cenote_error_set(error, CENOTE_INVALID, "cannot listen on %s: %s",
                            config->host != NULL ? config->host : "any", gai_strerror(failed));
  }
  cenote_status status = CENOTE_OK;
  /* with SO_REUSEPORT a second server would be let in, and half of the clients get it: ask first */
  int probe = config->threads > 1 && config->port != 0 ? listener_open(found, false) : -1;
  bool taken = probe < 0 && config->threads > 1 && config->port != 0;
  if (probe >= 0) {
    (void)close(probe);
  }
  for (unsigned i = 0; i < config->threads && status == CENOTE_OK; i++) {
    int fd = taken ? -1 : listener_open(found, config->threads > 1);
    if (fd < 0) {
      char reason[128];
      status = cenote_error_set(error, CENOTE_IO, "cannot listen on %s port %s: %s",
                                config->host != NULL ? config->host : "any", port,
                                strerror_r(errno, reason, sizeof reason));
      break;
    }
    server->loops[i].listen_fd = fd;
    server->loops[i].own_listener = true;
    if (i == 0) {
      server->port = port_of(fd);
      port_set(found, server->port); /* the others share what "any" became */
    }
  }
  freeaddrinfo(found);
  return status;
}

static cenote_status server_init(struct cen_http_server *server,
                                 const struct cen_http_config *config, cenote_error *error)
{
  cenote_status status = CENOTE_OK;
  server->loops = calloc(config->threads, sizeof *server->loops);
  for (unsigned i = 0; server->loops != NULL && i < config->threads; i++) {
    server->loops[i].listen_fd = server->loops[i].wake_fd = -1;
  }
  server->failures = http_failures_new(config->login_failures);
  if (!config_copy(server, config) || server->loops == NULL || server->failures == NULL) {
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory");
  }
  if (config->tls_cert != NULL && config->tls_key != NULL) {
    status = http_tls_new(config->tls_cert, config->tls_key, &server->tls, error);
  }
  if (status == CENOTE_OK) {
    status = listen_all(server, error);
  }
  for (unsigned i = 0; i < config->threads && status == CENOTE_OK; i++) {
    status = http_loop_init(&server->loops[i], server, i, error);
  }
  return status;
}

cenote_status cen_http_server_new(const struct cen_http_config *config,
                                  struct cen_http_server **out, cenote_error *error)
{
  *out = NULL;
  cen_error_clear(error);
  if (config->threads == 0 || config->threads > HTTP_THREADS_MOST ||
      (config->tls_cert == NULL) != (config->tls_key == NULL)) {
    return cenote_error_set(error, CENOTE_INVALID,
                            "1 to 256 threads; a certificate and its key, or neither");
  }
  struct cen_http_server *server = calloc(1, sizeof *server);
  if (server == NULL) {
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory");
  }
  pthread_condattr_t clock;
  (void)pthread_condattr_init(&clock);
  (void)pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
  (void)pthread_mutex_init(&server->lock, NULL);
  (void)pthread_cond_init(&server->ended, &clock);
  (void)pthread_condattr_destroy(&clock);
  cenote_status status = server_init(server, config, error);
  if (status != CENOTE_OK) {
    cen_http_server_free(server);
    return status;
  }
  *out = server;
  return CENOTE_OK;
}

cenote_status cen_http_server_start(struct cen_http_server *server, cenote_error *error)
{
  for (unsigned i = 0; i < server->config.threads; i++) {
    server->loops[i].answers = calloc(server->route_count + 1, sizeof *server->loops[i].answers);
    if (server->loops[i].answers == NULL) {
      return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory");
    }
  }
  for (unsigned i = 0; i < server->config.threads; i++) {
    cenote_status status = http_loop_start(&server->loops[i], error);
    if (status != CENOTE_OK) {
      return status;
    }
  }
  return CENOTE_OK;
}

uint16_t cen_http_server_port(const struct cen_http_server *server)
{
  return server->port;
}

cenote_status cen_http_server_reload_tls(struct cen_http_server *server, cenote_error *error)
{
  cen_error_clear(error);
  return server->tls != NULL ? http_tls_reload(server->tls, error) : CENOTE_OK;
}

static void server_end(struct cen_http_server *server, int how)
{
  if (atomic_load(&server->ending) < how) {
    atomic_store(&server->ending, how);
  }
  for (unsigned i = 0; i < server->config.threads; i++) {
    if (server->loops[i].wake_fd >= 0) {
      http_loop_wake(&server->loops[i]);
    }
  }
}

void cen_http_server_drain(struct cen_http_server *server)
{
  server_end(server, HTTP_DRAINING);
}

bool cen_http_server_draining(const struct cen_http_server *server)
{
  return atomic_load(&server->ending) != HTTP_RUNNING;
}

bool cen_http_server_wait(struct cen_http_server *server, int64_t timeout_ms)
{
  int64_t deadline = cen_deadline_ns(cen_now_ns(), timeout_ms);
  struct timespec until = {(time_t)(deadline / 1000000000), (long)(deadline % 1000000000)};
  (void)pthread_mutex_lock(&server->lock);
  int failed = 0;
  while (server->running > 0 && failed == 0) {
    failed = pthread_cond_timedwait(&server->ended, &server->lock, &until);
  }
  bool ended = server->running == 0;
  (void)pthread_mutex_unlock(&server->lock);
  return ended;
}

void cen_http_server_stop(struct cen_http_server *server)
{
  if (server->loops == NULL) {
    return;
  }
  server_end(server, HTTP_FORCED);
  for (unsigned i = 0; i < server->config.threads; i++) {
    if (server->loops[i].started) {
      (void)pthread_join(server->loops[i].thread, NULL);
      server->loops[i].started = false;
    }
  }
}

void cen_http_server_free(struct cen_http_server *server)
{
  if (server == NULL) {
    return;
  }
  cen_http_server_stop(server);
  if (server->loops != NULL) {
    for (unsigned i = 0; i < server->config.threads; i++) {
      free(server->loops[i].answers);
      http_loop_deinit(&server->loops[i]);
    }
  }
  for (unsigned i = 0; i < CEN_HTTP_SCOPES; i++) {
    char *token = (char *)(uintptr_t)server->config.tokens[i];
    if (token != NULL) {
      cen_wipe(token, strlen(token));
    }
    free(token);
  }
  free((char *)(uintptr_t)server->config.host);
  texts_free(server->names, server->config.name_count);
  texts_free(server->origins, server->config.origin_count);
  http_tls_free(server->tls);
  http_failures_free(server->failures);
  (void)pthread_cond_destroy(&server->ended);
  (void)pthread_mutex_destroy(&server->lock);
  free(server->loops);
  free(server->routes);
  free(server);
}

bool cen_http_server_endpoint(struct cen_http_server *server, size_t index,
                              struct cen_http_endpoint *endpoint)
{
  if (index > server->route_count) {
    return false;
  }
  if (index < server->route_count) {
    endpoint->path = server->routes[index].path;
    endpoint->method = server->routes[index].method;
  }
  for (unsigned i = 0; i < server->config.threads; i++) {
    struct http_answers *answers = server->loops[i].answers;
    for (unsigned digit = 0; answers != NULL && digit < 6; digit++) {
      endpoint->by_class[digit] +=
          atomic_load_explicit(&answers[index].by_class[digit], memory_order_relaxed);
    }
    if (answers != NULL) {
      cen_hist_add(&endpoint->seconds, &answers[index].seconds);
    }
  }
  return true;
}

void cen_http_server_figures(struct cen_http_server *server, struct cen_http_figures *figures)
{
  *figures = (struct cen_http_figures){0};
  for (unsigned i = 0; i < server->config.threads; i++) {
    struct cen_http_loop *loop = &server->loops[i];
    figures->connections += atomic_load_explicit(&loop->count_connections, memory_order_relaxed);
    figures->accepted += atomic_load_explicit(&loop->count_accepted, memory_order_relaxed);
    figures->requests += atomic_load_explicit(&loop->count_requests, memory_order_relaxed);
    figures->refused += atomic_load_explicit(&loop->count_refused, memory_order_relaxed);
    figures->timed_out += atomic_load_explicit(&loop->count_timed_out, memory_order_relaxed);
    figures->gone += atomic_load_explicit(&loop->count_gone, memory_order_relaxed);
  }
}
