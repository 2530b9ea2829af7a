/* http_inside.h - what the server's files share. A loop and all that hangs on it belong to the
 * loop's thread; what others may touch says so. */
#ifndef CEN_SERVER_HTTP_INSIDE_H
#define CEN_SERVER_HTTP_INSIDE_H

#include "base/error.h"
#include "base/list.h"
#include "net/clock.h"
#include "server/http_server.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>

enum {
  HTTP_IN_BYTES = CEN_HTTP_HEAD_BYTES + 4096, /* what a request is read into */
  HTTP_OUT_BYTES = 16384,                     /* what small answers are collected in */
  HTTP_SPARE = 64,                            /* of each that a loop keeps for the next */
  HTTP_TICK_MS = 200,
  HTTP_ACCEPTS = 32, /* connections accepted in one turn of the loop */
  HTTP_READS = 8     /* reads of one connection in one turn */
};

/* What a connection waits for, each with its own deadline (HTTP_RUN: none, the handler's affair) */
enum http_phase { HTTP_HEAD, HTTP_BODY, HTTP_IDLE, HTTP_RUN, HTTP_LINGER, HTTP_PHASES };

enum http_stage {
  STAGE_HEAD,    /* reading */
  STAGE_BODY,    /* reading */
  STAGE_HANDLER, /* asked, not answered */
  STAGE_STREAM,  /* answered in part */
  STAGE_ENDED
};

struct http_conn;

/* What a loop has answered on one route. */
struct http_answers {
  _Atomic uint64_t by_class[6];
  struct cen_hist seconds;
};

struct cen_http_request {
  struct http_conn *conn;
  const struct cen_http_route *route; /* NULL: none matched */
  enum http_stage stage;
  int64_t begun_ns;                                       /* the handler; 0: none was asked */
  bool held, close_after, no_body, read_only, raw_stream; /* raw: until the close, without chunks */
  cen_http_gone_callback on_gone;
  cen_http_ready_callback on_ready;
  void *gone_context;
  const char *cors; /* the origin that may read the answer, or NULL */
  /* the body: inside `in`, or here */
  char *body;
  size_t body_size, body_room;
  size_t next;   /* where in `in` the next request begins */
  size_t filled; /* bytes of `in` */
  struct cen_http_request *spare;
  struct cen_http_parser parser;
  char in[HTTP_IN_BYTES];
};

/* Bytes on their way to the client. */
struct http_out {
  char *data;
  size_t start, end, room;
};

struct http_conn {
  struct cen_link link;    /* in loop->phases[phase] */
  struct cen_link writing; /* in loop->writers while bytes wait */
  struct cen_http_loop *loop;
  SSL *ssl;
  struct cen_http_request *request; /* NULL while idle: an idle connection owns no buffer */
  struct http_out out;
  int64_t since;       /* when the phase began */
  int64_t write_since; /* when bytes began to wait */
  uint64_t written;    /* since then */
  struct event event;
  int fd;
  unsigned depth; /* of our functions inside it: freed when the last one leaves */
  uint8_t phase;
  short events;
  bool dead, processing, closing, paused;
  bool blocked;    /* a pipelined request waits until answers before it are read */
  bool reread;     /* TLS: there is more, though the socket is empty */
  bool want_write; /* TLS: reading waits for writing */
  uint8_t peer[16];
  bool peer_known;
};

enum http_io { HTTP_IO_OK, HTTP_IO_AGAIN, HTTP_IO_END, HTTP_IO_BROKEN };

struct http_tls;

struct cen_http_loop {
  struct cen_http_server *server;
  unsigned index;
  unsigned max_connections;
  void *user;
  struct event_base *base;
  struct event *wake, *listen, *tick;
  int wake_fd, listen_fd;
  bool own_listener, accepting, ticking;
  pthread_t thread;
  bool started;
  bool has_ended; /* guarded by lock */
  pthread_mutex_t lock;
  struct cen_link tasks; /* guarded by lock */
  struct cen_link phases[HTTP_PHASES];
  struct cen_link writers;
  unsigned connections;
  uint64_t bodies; /* bytes of bodies that are not in `in` */
  struct cen_http_request *spare_requests;
  char *spare_outs;
  unsigned spare_request_count, spare_out_count;
  int64_t date_second;
  char date[32];
  _Atomic uint64_t count_connections, count_accepted, count_requests, count_refused,
      count_timed_out, count_gone;
  struct http_answers *answers; /* for each route, and one more for none */
};

enum { HTTP_RUNNING, HTTP_DRAINING, HTTP_FORCED };

struct http_failures;

struct cen_http_server {
  struct cen_http_config config; /* with copies of all texts */
  char **names, **origins;
  struct cen_http_route *routes;
  size_t route_count;
  struct http_tls *tls;
  struct http_failures *failures;
  struct cen_http_loop *loops;
  uint16_t port;
  _Atomic int ending;
  pthread_mutex_t lock;
  pthread_cond_t ended;
  unsigned running; /* loops; guarded by lock */
};

/* http_tls.c: the certificate in use; any thread */
cenote_status http_tls_new(const char *cert, const char *key, struct http_tls **tls,
                           cenote_error *error);
void http_tls_free(struct http_tls *tls);
cenote_status http_tls_reload(struct http_tls *tls, cenote_error *error);
SSL *http_tls_session(struct http_tls *tls, int fd);

/* http_io.c: reading and writing, plain or TLS. *size: wanted in, done out. */
enum http_io http_io_read(struct http_conn *conn, char *data, size_t *size);
enum http_io http_io_write(struct http_conn *conn, const char *data, size_t *size);
void http_io_end(struct http_conn *conn); /* says that nothing more will be written */

/* http_conn.c: a connection's life */
void http_conn_new(struct cen_http_loop *loop, int fd, const uint8_t peer[16], bool peer_known);
void http_conn_enter(struct http_conn *conn);
void http_conn_leave(struct http_conn *conn); /* may free it */
void http_conn_close(struct http_conn *conn, enum cen_http_gone why);
void http_conn_phase(struct http_conn *conn, enum http_phase phase);
void http_conn_watch(struct http_conn *conn);
void http_conn_last_answer(struct http_conn *conn); /* nothing more is read, then lingering */
void http_conn_continue(struct http_conn *conn);    /* an answer ended outside the handler */
/* A deadline with what min_rate grants for `bytes`. */
int64_t http_deadline(const struct cen_http_loop *loop, int64_t since, int64_t ms, uint64_t bytes);

/* http_request.c: from bytes to handlers */
struct cen_http_request *http_request_take(struct cen_http_loop *loop);
void http_request_give(struct cen_http_loop *loop, struct cen_http_request *request);
void http_request_reset(struct cen_http_request *request, struct http_conn *conn);
void http_process(struct http_conn *conn); /* what has been read, as far as it goes */

/* http_out.c: bytes out */
bool http_out_add(struct http_conn *conn, const void *data, size_t size);
size_t http_out_pending(const struct http_conn *conn);
void http_out_free(struct http_conn *conn);
void http_out_flush(struct http_conn *conn); /* may close the connection */
/* Written at once as far as it goes when nothing waits; the rest is copied. */
bool http_out_large(struct http_conn *conn, const void *data, size_t size);

/* http_respond.c */
const char *http_date(struct cen_http_loop *loop);

/* http_guard.c: may this request come in? 0, or the status that refuses it */
int http_guard_host(const struct cen_http_request *request);
int http_guard_origin(struct cen_http_request *request); /* fills cors */
int http_guard_token(struct cen_http_request *request);  /* fills read_only */

/* http_route.c */
const struct cen_http_route *http_route_find(const struct cen_http_server *server,
                                             enum cen_http_method method, const char *path,
                                             size_t size);
/* The methods of a path, "" when there is none. */
void http_route_allow(const struct cen_http_server *server, const char *path, size_t size,
                      char *out, size_t out_size);

/* http_failures.c: rejected logins by address; any thread */
struct http_failures *http_failures_new(unsigned limit);
void http_failures_free(struct http_failures *failures);
bool http_failures_limited(struct http_failures *failures, const uint8_t peer[16], int64_t now_ns);
void http_failures_add(struct http_failures *failures, const uint8_t peer[16], int64_t now_ns);

/* http_loop.c */
cenote_status http_loop_init(struct cen_http_loop *loop, struct cen_http_server *server,
                             unsigned index, cenote_error *error);
cenote_status http_loop_start(struct cen_http_loop *loop, cenote_error *error);
void http_loop_deinit(struct cen_http_loop *loop);
void http_loop_wake(struct cen_http_loop *loop); /* any thread */
void http_loop_connection_ended(struct cen_http_loop *loop);
void http_loop_tick_on(struct cen_http_loop *loop);

static inline struct cen_http_server *http_server_of(const struct http_conn *conn)
{
  return conn->loop->server;
}

static inline struct http_answers *http_answers_of(const struct cen_http_request *request)
{
  const struct cen_http_server *server = request->conn->loop->server;
  const size_t index =
      request->route != NULL ? (size_t)(request->route - server->routes) : server->route_count;
  return &request->conn->loop->answers[index];
}

static inline void http_count(_Atomic uint64_t *figure)
{
  /* one writer: no locked instruction */
  atomic_store_explicit(figure, atomic_load_explicit(figure, memory_order_relaxed) + 1,
                        memory_order_relaxed);
}

#endif
