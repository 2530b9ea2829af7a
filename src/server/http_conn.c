/*
 * http_conn.c - a connection's life: reading, phases, closing.
 *
 *   accept → HEAD → BODY → RUN → IDLE → HEAD … → LINGER → closed
 *
 * A phase is a list of the loop's, in the order in which its members came, and a deadline; a tick
 * looks at the lists' fronts. That costs two pointers a phase instead of a timer a request.
 *
 * While a request runs, reading goes on (into what is left of its buffer): that is how a hang-up is
 * seen without a system call a request. When the buffer is full, the kernel is asked for the
 * hang-up alone (EV_CLOSED).
 *
 * Functions that may end a connection do so between enter and leave; the last leave frees it.
 */
#include "server/http_inside.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void conn_event(evutil_socket_t fd, short what, void *context);

int64_t http_deadline(const struct cen_http_loop *loop, int64_t since, int64_t ms, uint64_t bytes)
{
  uint32_t rate = loop->server->config.min_rate;
  uint64_t grant = rate > 0 ? bytes * 1000 / rate : 0;
  return cen_deadline_ns(since, ms + (int64_t)grant);
}

void http_conn_phase(struct http_conn *conn, enum http_phase phase)
{
  cen_list_remove(&conn->link);
  cen_list_push_back(&conn->loop->phases[phase], &conn->link);
  conn->phase = (uint8_t)phase;
  conn->since = cen_now_coarse_ns();
}

/* Asks the kernel for what the connection waits for; nothing to do on the usual way. */
void http_conn_watch(struct http_conn *conn)
{
  short events = EV_PERSIST;
  bool asked = conn->request != NULL &&
               (conn->request->stage == STAGE_HANDLER || conn->request->stage == STAGE_STREAM);
  if (!conn->paused && (!conn->closing || conn->phase == HTTP_LINGER)) {
    events |= EV_READ;
  } else if (asked) {
    events |= EV_CLOSED;
  }
  if (http_out_pending(conn) > 0 || conn->want_write) {
    events |= EV_WRITE;
  }
  if (conn->dead || events == conn->events) {
    return;
  }
  if (conn->events != 0) {
    (void)event_del(&conn->event);
  }
  conn->events = events;
  if (event_assign(&conn->event, conn->loop->base, conn->fd, events, conn_event, conn) != 0 ||
      event_add(&conn->event, NULL) != 0) {
    conn->events = 0;
    http_conn_close(conn, CEN_HTTP_GONE_CLIENT);
  }
}

void http_conn_enter(struct http_conn *conn)
{
  conn->depth++;
}

void http_conn_leave(struct http_conn *conn)
{
  if (conn->depth == 1 && !conn->dead) {
    http_conn_watch(conn);
    if (conn->reread && !conn->dead) {
      conn->reread = false;
      event_active(&conn->event, EV_READ, 0); /* decrypted already: the socket will not say so */
    }
  }
  if (--conn->depth == 0 && conn->dead) {
    free(conn);
  }
}

void http_conn_close(struct http_conn *conn, enum cen_http_gone why)
{
  if (conn->dead) {
    return;
  }
  conn->dead = true;
  struct cen_http_loop *loop = conn->loop;
  if (conn->events != 0) {
    (void)event_del(&conn->event);
  }
  http_out_free(conn);
  cen_list_remove(&conn->link);
  if (conn->ssl != NULL) {
    SSL_free(conn->ssl);
    conn->ssl = NULL;
  }
  (void)close(conn->fd);
  conn->fd = -1;
  struct cen_http_request *request = conn->request;
  if (request != NULL) {
    bool asked = request->stage == STAGE_HANDLER || request->stage == STAGE_STREAM;
    if (asked) {
      http_count(&loop->count_gone);
    }
    if (asked && request->on_gone != NULL) {
      request->on_gone(request, why, request->gone_context);
    }
    request->stage = STAGE_ENDED;
    conn->request = NULL;
    /* inside its handler, or inside a call of its own, the memory is still looked at */
    http_request_give(loop, request);
  }
  http_loop_connection_ended(loop);
}

void http_conn_last_answer(struct http_conn *conn)
{
  conn->closing = true;
  http_out_flush(conn);
  if (conn->dead || http_out_pending(conn) > 0 || conn->phase == HTTP_LINGER) {
    return; /* the flush that empties it comes back here */
  }
  http_io_end(conn);
  http_conn_phase(conn, HTTP_LINGER);
  http_loop_tick_on(conn->loop);
  conn->paused = false;
  if (conn->request != NULL && conn->request->stage == STAGE_ENDED && !conn->processing) {
    http_request_give(conn->loop, conn->request);
    conn->request = NULL;
  }
}

/* Closing while bytes that were never read lie in the socket would send a reset, and the client
 * might lose an answer that it has not read yet: so what comes is read and dropped. */
static void linger_read(struct http_conn *conn)
{
  char waste[16384];
  for (unsigned i = 0; i < HTTP_READS; i++) {
    ssize_t done = recv(conn->fd, waste, sizeof waste, 0);
    if (done == 0 || (done < 0 && errno != EAGAIN && errno != EINTR)) {
      http_conn_close(conn, CEN_HTTP_GONE_CLIENT);
      return;
    }
    if (done < 0) {
      return;
    }
  }
}

/* The client will send no more. Whoever asks and then closes its half while its request is held
 * cannot be told from one that has gone; it is taken for gone, as other servers do. */
static void conn_end_of_input(struct http_conn *conn)
{
  if (http_out_pending(conn) > 0 &&
      (conn->request == NULL || conn->request->stage < STAGE_HANDLER)) {
    conn->closing = true;
    conn->paused = true;
    return;
  }
  http_conn_close(conn, CEN_HTTP_GONE_CLIENT);
}

static void conn_read(struct http_conn *conn)
{
  for (unsigned i = 0; i < HTTP_READS && !conn->dead; i++) {
    if (conn->closing && conn->phase != HTTP_LINGER) {
      return;
    }
    if (conn->phase == HTTP_LINGER) {
      linger_read(conn);
      return;
    }
    struct cen_http_request *request = conn->request;
    if (request == NULL) {
      request = http_request_take(conn->loop);
      if (request == NULL) {
        http_conn_close(conn, CEN_HTTP_GONE_CLIENT);
        return;
      }
      http_request_reset(request, conn);
      conn->request = request;
    }
    size_t room = sizeof request->in - request->filled;
    if (room == 0) {
      conn->paused = true;
      return;
    }
    size_t size = room;
    enum http_io io = http_io_read(conn, request->in + request->filled, &size);
    request->filled += size;
    if (io == HTTP_IO_OK) {
      if (conn->phase == HTTP_IDLE) {
        http_conn_phase(conn, HTTP_HEAD);
      }
      http_process(conn);
      if (size < room && (conn->ssl == NULL || SSL_has_pending(conn->ssl) == 0)) {
        return;
      }
      continue;
    }
    if (request->filled == 0 && request->stage == STAGE_HEAD) {
      conn->request = NULL;
      http_request_give(conn->loop, request);
    }
    if (io == HTTP_IO_END) {
      conn_end_of_input(conn);
    } else if (io == HTTP_IO_BROKEN) {
      http_conn_close(conn, CEN_HTTP_GONE_CLIENT);
    }
    return;
  }
  /* enough for one turn */
  conn->reread = conn->ssl != NULL && SSL_has_pending(conn->ssl) != 0;
}

/* Room again: what was held back goes on. */
static void conn_written(struct http_conn *conn)
{
  if (conn->dead || http_out_pending(conn) > 0) {
    return;
  }
  if (conn->closing) {
    http_conn_last_answer(conn);
    return;
  }
  struct cen_http_request *request = conn->request;
  if (request != NULL && request->stage == STAGE_STREAM) {
    if (request->on_ready != NULL) {
      cen_http_ready_callback on_ready = request->on_ready;
      request->on_ready = NULL;
      on_ready(request, request->gone_context);
    }
    return;
  }
  http_conn_continue(conn);
}

/* Does anybody wait for the answers to have left? Usually not. */
static bool conn_is_waited_for(const struct http_conn *conn)
{
  return !conn->dead &&
         (conn->blocked || (conn->request != NULL && conn->request->on_ready != NULL));
}

static void conn_event(evutil_socket_t fd, short what, void *context)
{
  struct http_conn *conn = context;
  (void)fd;
  http_conn_enter(conn);
  if ((what & EV_WRITE) != 0 && http_out_pending(conn) > 0) {
    http_out_flush(conn);
    conn_written(conn);
  }
  if (!conn->dead && (what & EV_CLOSED) != 0 && conn->paused) {
    http_conn_close(conn, CEN_HTTP_GONE_CLIENT);
  }
  if (!conn->dead && !conn->paused && ((what & EV_READ) != 0 || conn->want_write)) {
    conn_read(conn);
  }
  if (!conn->dead && http_out_pending(conn) > 0) {
    http_out_flush(conn);
    if (conn_is_waited_for(conn)) {
      conn_written(conn);
    }
  }
  if (!conn->dead && conn->closing && conn->phase != HTTP_LINGER) {
    http_conn_last_answer(conn);
  }
  http_conn_leave(conn);
}

void http_conn_continue(struct http_conn *conn)
{
  if (conn->dead || conn->processing) {
    return;
  }
  do {
    http_process(conn);
    if (!conn->dead && !conn->closing && conn->paused &&
        (conn->request == NULL || conn->request->filled < sizeof conn->request->in)) {
      conn->paused = false;
    }
    http_out_flush(conn);
  } while (!conn->dead && conn->blocked && http_out_pending(conn) == 0);
  if (conn->dead) {
    return;
  }
  if (conn->closing && conn->phase != HTTP_LINGER) {
    http_conn_last_answer(conn);
  } else if (conn->ssl != NULL && !conn->paused && SSL_has_pending(conn->ssl) != 0) {
    conn->reread = true;
  }
}

void http_conn_new(struct cen_http_loop *loop, int fd, const uint8_t peer[16], bool peer_known)
{
  struct http_conn *conn = calloc(1, sizeof *conn);
  if (conn == NULL) {
    (void)close(fd);
    return;
  }
  cen_link_init(&conn->link);
  cen_link_init(&conn->writing);
  conn->loop = loop;
  conn->fd = fd;
  conn->peer_known = peer_known;
  memcpy(conn->peer, peer, sizeof conn->peer);
  if (loop->server->tls != NULL) {
    conn->ssl = http_tls_session(loop->server->tls, fd);
    if (conn->ssl == NULL) {
      (void)close(fd);
      free(conn);
      return;
    }
  }
  loop->connections++;
  atomic_store_explicit(&loop->count_connections, loop->connections, memory_order_relaxed);
  http_count(&loop->count_accepted);
  http_conn_enter(conn);
  http_conn_phase(conn, HTTP_HEAD);
  http_loop_tick_on(loop);
  http_conn_leave(conn);
}
