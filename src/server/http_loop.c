/* http_loop.c - one loop thread: accepting, deadlines, tasks from elsewhere, its end. */
#include "server/http_inside.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

static void accepting_set(struct cen_http_loop *loop, bool on)
{
  if (loop->listen == NULL || loop->accepting == on) {
    return;
  }
  loop->accepting = on;
  if (on) {
    (void)event_add(loop->listen, NULL);
  } else {
    (void)event_del(loop->listen);
  }
}

void http_loop_tick_on(struct cen_http_loop *loop)
{
  if (!loop->ticking) {
    static const struct timeval every = {0, HTTP_TICK_MS * 1000};
    loop->ticking = event_add(loop->tick, &every) == 0;
  }
}

/* All has been said: the thread may go. */
static void loop_look_for_end(struct cen_http_loop *loop)
{
  if (loop->connections == 0 && atomic_load(&loop->server->ending) != HTTP_RUNNING) {
    (void)event_base_loopbreak(loop->base);
  }
}

void http_loop_connection_ended(struct cen_http_loop *loop)
{
  loop->connections--;
  atomic_store_explicit(&loop->count_connections, loop->connections, memory_order_relaxed);
  int ending = atomic_load_explicit(&loop->server->ending, memory_order_relaxed);
  if (ending == HTTP_RUNNING) {
    accepting_set(loop, true);
  } else {
    loop_look_for_end(loop);
  }
}

static void peer_of(const struct sockaddr_storage *address, uint8_t peer[16], bool *known)
{
  memset(peer, 0, 16);
  *known = true;
  if (address->ss_family == AF_INET) {
    struct sockaddr_in in;
    memcpy(&in, address, sizeof in);
    peer[10] = peer[11] = 0xff;
    memcpy(peer + 12, &in.sin_addr, 4);
  } else if (address->ss_family == AF_INET6) {
    struct sockaddr_in6 in6;
    memcpy(&in6, address, sizeof in6);
    memcpy(peer, &in6.sin6_addr, 16);
  } else {
    *known = false;
  }
}

/* Full: the one that has been idle longest makes room, if there is one. */
static bool room_make(struct cen_http_loop *loop)
{
  if (loop->connections < loop->max_connections) {
    return true;
  }
  struct cen_link *first = loop->phases[HTTP_IDLE].next;
  if (first == &loop->phases[HTTP_IDLE]) {
    return false;
  }
  struct http_conn *conn = CEN_CONTAINER(first, struct http_conn, link);
  http_conn_enter(conn);
  http_conn_close(conn, CEN_HTTP_GONE_ENDING);
  http_conn_leave(conn);
  return true;
}

static void listen_event(evutil_socket_t fd, short what, void *context)
{
  struct cen_http_loop *loop = context;
  (void)what;
  for (unsigned i = 0; i < HTTP_ACCEPTS; i++) {
    struct sockaddr_storage address = {.ss_family = AF_UNSPEC};
    socklen_t size = sizeof address;
    if (!room_make(loop)) {
      accepting_set(loop, false); /* the backlog keeps them until one of ours ends */
      return;
    }
    int client = accept4(fd, (struct sockaddr *)&address, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (client < 0) {
      if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        accepting_set(loop, false); /* until the next tick, or until one of ours ends */
        http_loop_tick_on(loop);
      }
      if (errno == EINTR || errno == ECONNABORTED) {
        continue;
      }
      return;
    }
    int one = 1;
    uint8_t peer[16];
    bool known;
    peer_of(&address, peer, &known);
    (void)setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    http_conn_new(loop, client, peer, known);
  }
}

/* Its time is over while it still sends: say so, if it has begun. */
static void conn_late(struct http_conn *conn)
{
  http_conn_enter(conn);
  http_count(&conn->loop->count_timed_out);
  struct cen_http_request *request = conn->request;
  bool begun = request != NULL && request->filled > 0 &&
               (request->stage == STAGE_HEAD || request->stage == STAGE_BODY);
  if (begun && http_out_pending(conn) == 0) {
    request->stage = STAGE_HANDLER;
    request->close_after = true;
    request->next = request->filled;
    cen_http_refuse(request, 408, "the request took too long");
  } else {
    http_conn_close(conn, CEN_HTTP_GONE_SLOW);
  }
  http_conn_leave(conn);
}

static void phase_expire(struct cen_http_loop *loop, enum http_phase phase, int64_t ms, int64_t now)
{
  struct cen_link *list = &loop->phases[phase];
  while (!cen_list_empty(list)) {
    struct http_conn *conn = CEN_CONTAINER(list->next, struct http_conn, link);
    if (now < cen_deadline_ns(conn->since, ms)) {
      return;
    }
    conn_late(conn); /* leaves the list */
    if (list->next == &conn->link) {
      return;
    }
  }
}

/* Not in the order of their deadlines, since who is quick is granted more: all are looked at. */
static void bodies_expire(struct cen_http_loop *loop, int64_t now)
{
  struct cen_link *list = &loop->phases[HTTP_BODY];
  struct cen_link *link = list->next;
  while (link != list) {
    struct http_conn *conn = CEN_CONTAINER(link, struct http_conn, link);
    link = link->next;
    const struct cen_http_request *request = conn->request;
    uint64_t got = request != NULL ? request->body_size + request->filled : 0;
    if (now >= http_deadline(loop, conn->since, loop->server->config.body_ms, got)) {
      conn_late(conn); /* no handler runs yet: nobody else's code is called */
    }
  }
}

static void writers_expire(struct cen_http_loop *loop, int64_t now)
{
  struct cen_link *link = loop->writers.next;
  while (link != &loop->writers) {
    struct http_conn *conn = CEN_CONTAINER(link, struct http_conn, writing);
    link = link->next;
    if (now >=
        http_deadline(loop, conn->write_since, loop->server->config.write_ms, conn->written)) {
      http_count(&loop->count_timed_out);
      http_conn_enter(conn);
      http_conn_close(conn, CEN_HTTP_GONE_SLOW); /* on_gone may end others too */
      http_conn_leave(conn);
      link = loop->writers.next;
    }
  }
}

static void tick_event(evutil_socket_t fd, short what, void *context)
{
  struct cen_http_loop *loop = context;
  const struct cen_http_config *config = &loop->server->config;
  (void)fd;
  (void)what;
  int64_t now = cen_now_coarse_ns();
  loop->ticking = false;
  phase_expire(loop, HTTP_HEAD, config->head_ms, now);
  phase_expire(loop, HTTP_IDLE, config->idle_ms, now);
  phase_expire(loop, HTTP_LINGER, config->linger_ms, now);
  bodies_expire(loop, now);
  writers_expire(loop, now);
  if (atomic_load_explicit(&loop->server->ending, memory_order_relaxed) == HTTP_RUNNING) {
    accepting_set(loop, true);
  }
  if (loop->connections > 0) {
    http_loop_tick_on(loop);
  }
}

static void close_list(struct cen_link *list)
{
  while (!cen_list_empty(list)) {
    struct http_conn *conn = CEN_CONTAINER(list->next, struct http_conn, link);
    http_conn_enter(conn);
    http_conn_close(conn, CEN_HTTP_GONE_ENDING);
    http_conn_leave(conn);
  }
}

/* Connected, but never a word: a browser's spare connection would hold up the end. From the list's
 * front to `last`. */
static void close_silent(struct cen_http_loop *loop, const struct cen_link *last)
{
  struct cen_link *list = &loop->phases[HTTP_HEAD];
  struct cen_link *link = list->next;
  bool more = last != list;
  while (more) {
    struct http_conn *conn = CEN_CONTAINER(link, struct http_conn, link);
    more = link != last;
    link = link->next;
    if (conn->request == NULL) {
      http_conn_enter(conn);
      http_conn_close(conn, CEN_HTTP_GONE_ENDING);
      http_conn_leave(conn);
    }
  }
}

static void listening_end(struct cen_http_loop *loop)
{
  if (loop->listen != NULL) {
    accepting_set(loop, false);
    event_free(loop->listen);
    loop->listen = NULL;
  }
  if (loop->own_listener && loop->listen_fd >= 0) {
    (void)close(loop->listen_fd);
    loop->listen_fd = -1;
  }
}

static void tasks_run(struct cen_http_loop *loop)
{
  for (;;) {
    (void)pthread_mutex_lock(&loop->lock);
    struct cen_link *link = cen_list_pop(&loop->tasks);
    struct cen_task *task = link != NULL ? CEN_CONTAINER(link, struct cen_task, link) : NULL;
    if (task != NULL) {
      task->queued = false;
    }
    (void)pthread_mutex_unlock(&loop->lock);
    if (task == NULL) {
      return;
    }
    task->run(task);
  }
}

static void wake_event(evutil_socket_t fd, short what, void *context)
{
  struct cen_http_loop *loop = context;
  uint64_t count;
  (void)what;
  (void)!read(fd, &count, sizeof count);
  tasks_run(loop);
  int ending = atomic_load(&loop->server->ending);
  if (ending == HTTP_RUNNING) {
    return;
  }
  const struct cen_link *last = loop->phases[HTTP_HEAD].prev;
  if (loop->listen != NULL && loop->accepting) {
    listen_event(loop->listen_fd, EV_READ, loop); /* the kernel would reset who waits there */
  }
  listening_end(loop);
  close_list(&loop->phases[HTTP_IDLE]);
  close_silent(loop, last);
  if (ending == HTTP_FORCED) {
    for (unsigned i = 0; i < HTTP_PHASES; i++) {
      close_list(&loop->phases[i]);
    }
  }
  loop_look_for_end(loop);
}

void http_loop_wake(struct cen_http_loop *loop)
{
  const uint64_t one = 1;
  (void)!write(loop->wake_fd, &one, sizeof one);
}

bool cen_http_loop_post(struct cen_http_loop *loop, struct cen_task *task)
{
  (void)pthread_mutex_lock(&loop->lock);
  bool taken = !loop->has_ended;
  if (taken && !task->queued) {
    task->queued = true;
    cen_list_push_back(&loop->tasks, &task->link);
  }
  (void)pthread_mutex_unlock(&loop->lock);
  if (taken) {
    http_loop_wake(loop);
  }
  return taken;
}

/* Signals are the host's affair and go to its threads. SIGPIPE has to be blocked here: OpenSSL
 * writes with write(), and a client that has gone must not end the process. */
static void signals_block(void)
{
  static const int ours[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS, SIGPROF};
  sigset_t all;
  (void)sigfillset(&all);
  for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++) {
    (void)sigdelset(&all, ours[i]);
  }
  (void)pthread_sigmask(SIG_BLOCK, &all, NULL);
}

static void *loop_main(void *context)
{
  signals_block();
  struct cen_http_loop *loop = context;
  struct cen_http_server *server = loop->server;
  const struct cen_http_config *config = &server->config;
  bool ready = config->loop_started == NULL || config->loop_started(loop, config->context);
  if (ready) {
    accepting_set(loop, true);
    (void)event_base_loop(loop->base, EVLOOP_NO_EXIT_ON_EMPTY);
  } else {
    if (config->log != NULL) {
      cen_log_write(config->log, CENOTE_LOG_ERROR, "a loop of the gateway could not start");
    }
  }
  listening_end(loop);
  (void)pthread_mutex_lock(&loop->lock);
  loop->has_ended = true; /* what was taken until here still runs */
  (void)pthread_mutex_unlock(&loop->lock);
  tasks_run(loop);
  if (ready && config->loop_ended != NULL) {
    config->loop_ended(loop, config->context);
  }
  (void)pthread_mutex_lock(&server->lock);
  server->running--;
  (void)pthread_cond_broadcast(&server->ended);
  (void)pthread_mutex_unlock(&server->lock);
  return NULL;
}

cenote_status http_loop_init(struct cen_http_loop *loop, struct cen_http_server *server,
                             unsigned index, cenote_error *error)
{
  loop->server = server;
  loop->index = index;
  unsigned share = server->config.max_connections / server->config.threads;
  loop->max_connections = share > 0 ? share : 1;
  (void)pthread_mutex_init(&loop->lock, NULL);
  cen_link_init(&loop->tasks);
  cen_link_init(&loop->writers);
  for (unsigned i = 0; i < HTTP_PHASES; i++) {
    cen_link_init(&loop->phases[i]);
  }
  loop->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (loop->wake_fd < 0) {
    return cenote_error_set(error, CENOTE_IO, "no descriptor is left");
  }
  struct event_config *config = event_config_new();
  if (config != NULL) {
    /* one thread each: no locks; hang-ups seen without reading */
    (void)event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_IGNORE_ENV);
    (void)event_config_require_features(config, EV_FEATURE_EARLY_CLOSE);
    loop->base = event_base_new_with_config(config);
    event_config_free(config);
  }
  if (loop->base == NULL) {
    return cenote_error_set(error, CENOTE_NO_MEMORY, "no event loop");
  }
  loop->wake = event_new(loop->base, loop->wake_fd, EV_READ | EV_PERSIST, wake_event, loop);
  loop->tick = event_new(loop->base, -1, 0, tick_event, loop);
  loop->listen = event_new(loop->base, loop->listen_fd, EV_READ | EV_PERSIST, listen_event, loop);
  if (loop->wake == NULL || loop->tick == NULL || loop->listen == NULL ||
      event_add(loop->wake, NULL) != 0) {
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory");
  }
  return CENOTE_OK;
}

cenote_status http_loop_start(struct cen_http_loop *loop, cenote_error *error)
{
  (void)pthread_mutex_lock(&loop->server->lock);
  loop->server->running++;
  (void)pthread_mutex_unlock(&loop->server->lock);
  if (pthread_create(&loop->thread, NULL, loop_main, loop) != 0) {
    (void)pthread_mutex_lock(&loop->server->lock);
    loop->server->running--;
    (void)pthread_mutex_unlock(&loop->server->lock);
    return cenote_error_set(error, CENOTE_IO, "no thread could be started");
  }
  loop->started = true;
  return CENOTE_OK;
}

void http_loop_deinit(struct cen_http_loop *loop)
{
  listening_end(loop);
  if (loop->server == NULL) {
    return; /* never made */
  }
  if (loop->wake != NULL) {
    event_free(loop->wake);
  }
  if (loop->tick != NULL) {
    event_free(loop->tick);
  }
  if (loop->base != NULL) {
    event_base_free(loop->base);
  }
  if (loop->wake_fd >= 0) {
    (void)close(loop->wake_fd);
  }
  while (loop->spare_requests != NULL) {
    struct cen_http_request *request = loop->spare_requests;
    loop->spare_requests = request->spare;
    free(request);
  }
  while (loop->spare_outs != NULL) {
    char *out = loop->spare_outs;
    memcpy(&loop->spare_outs, out, sizeof loop->spare_outs);
    free(out);
  }
  (void)pthread_mutex_destroy(&loop->lock);
}

struct event_base *cen_http_loop_base(struct cen_http_loop *loop)
{
  return loop->base;
}

unsigned cen_http_loop_index(const struct cen_http_loop *loop)
{
  return loop->index;
}

void cen_http_loop_set_user(struct cen_http_loop *loop, void *user)
{
  loop->user = user;
}

void *cen_http_loop_user(const struct cen_http_loop *loop)
{
  return loop->user;
}
