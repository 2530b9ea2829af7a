/*
 * http_server.h - the gateway's HTTP/1.1 server: N loop threads, each with a listener of its own
 * (SO_REUSEPORT), its own connections and its own libevent base. A request is read whole, handed to
 * its handler on its loop's thread, and answered there, at once or later.
 *
 * Threads: cen_http_server_* may be called from any thread (but not two at once on new, start and
 * free); everything that takes a request, and cen_http_loop_base, only on that loop's thread;
 * cen_http_loop_post from any thread.
 *
 * A handler either answers before it returns, or sets on_gone with cen_http_hold and answers later;
 * one that does neither is answered for with 500. After the answer has ended (cen_http_respond,
 * cen_http_finish), after cen_http_abort, and after on_gone was called, the request is no more.
 */
#ifndef CEN_SERVER_HTTP_SERVER_H
#define CEN_SERVER_HTTP_SERVER_H

#include "base/hist.h"
#include "base/log.h"
#include "net/loop.h"
#include "server/http_parse.h"

struct cen_http_server;
struct cen_http_loop;
struct cen_http_request;
struct event_base;

/* Which token a route asks for. */
enum cen_http_scope { CEN_HTTP_PUBLIC, CEN_HTTP_ADMIN, CEN_HTTP_SQL, CEN_HTTP_SCOPES };

/* What a bearer token allows. */
enum cen_http_grant { CEN_HTTP_DENIED, CEN_HTTP_GRANTED, CEN_HTTP_GRANTED_READ };

enum cen_http_gone {
  CEN_HTTP_GONE_CLIENT, /* the client has hung up, or only its half of the connection */
  CEN_HTTP_GONE_SLOW,   /* it did not read its answer in time */
  CEN_HTTP_GONE_ENDING  /* the server ends and no longer waits */
};

typedef void (*cen_http_handler)(struct cen_http_request *request, void *context);

/* flags of a route */
enum {
  CEN_HTTP_ANY_HOST = 1,  /* answers under any name (probes) */
  CEN_HTTP_SAYS_ERROR = 2 /* refusals are {"error":…} (Hrana), not {"message":…} */
};

struct cen_http_route {
  enum cen_http_method method; /* GET answers HEAD too */
  const char *path;            /* exact, or a prefix when it ends with an asterisk */
  cen_http_handler handler;
  void *context;
  enum cen_http_scope scope;
  unsigned flags;
  uint64_t max_body; /* 0: the server's */
};

struct cen_http_config {
  /* where to listen: a descriptor that listens already (systemd's), or a host and a port (0: any) */
  int listen_fd; /* -1: none; stays the caller's */
  const char *host;
  uint16_t port;
  unsigned threads;
  unsigned max_connections; /* of all loops together */
  uint64_t max_body;        /* bytes of one request's body: 413 */
  uint64_t max_bodies;      /* bytes of bodies that one loop holds at a time: 503 */
  size_t max_pending;       /* bytes of an answer that a client has not read: see cen_http_write */
  /* milliseconds; absolute: a byte now and then moves none of them */
  int64_t head_ms;   /* from the first byte (or the connect) to the end of the head */
  int64_t body_ms;   /* from the head to the end of the body, plus what min_rate grants */
  int64_t idle_ms;   /* between two requests */
  int64_t write_ms;  /* for an answer to be read, plus what min_rate grants */
  int64_t linger_ms; /* after the last answer, for the client to close */
  uint32_t min_rate; /* bytes a second */
  /* TLS when both are given: PEM files, read at the start and by cen_http_server_reload_tls */
  const char *tls_cert, *tls_key;
  /* Host must be one of these ("*": anything; NULL: localhost and the loopback addresses) */
  const char *const *names;
  size_t name_count;
  /* foreign origins that may call, as a browser writes them ("https://app.example"; "*": any) */
  const char *const *origins;
  size_t origin_count;
  const char *tokens[CEN_HTTP_SCOPES]; /* NULL: nothing is asked for */
  /* Decides in place of `tokens`; `bearer` is what the client gave, NULL: nothing. Compares in
   * constant time. On loop threads, several at once; the context is `context` below. */
  enum cen_http_grant (*grant)(enum cen_http_scope scope, const char *bearer, void *context);
  /* a token was refused; on the request's loop */
  void (*refused)(const struct cen_http_request *request, enum cen_http_scope scope, void *context);
  unsigned login_failures;   /* of one address in a minute before 429; 0: no limit */
  const struct cen_log *log; /* may be NULL */
  /* on each loop's thread, before its first and after its last connection; may be NULL */
  bool (*loop_started)(struct cen_http_loop *loop, void *context);
  void (*loop_ended)(struct cen_http_loop *loop, void *context);
  void *context;
};

void cen_http_config_init(struct cen_http_config *config);

/* Copies what it is given, listens (so the port is known), does not yet accept. */
cenote_status cen_http_server_new(const struct cen_http_config *config,
                                  struct cen_http_server **server, cenote_error *error);
/* Before the start. The path and the context stay the caller's, and must outlive the server. */
cenote_status cen_http_server_route(struct cen_http_server *server,
                                    const struct cen_http_route *route);
cenote_status cen_http_server_start(struct cen_http_server *server, cenote_error *error);
uint16_t cen_http_server_port(const struct cen_http_server *server);
/* New connections get the new certificate; on failure the old one stays. */
cenote_status cen_http_server_reload_tls(struct cen_http_server *server, cenote_error *error);
/* Stops listening, closes idle connections, lets running requests end. Returns at once. */
void cen_http_server_drain(struct cen_http_server *server);
bool cen_http_server_draining(const struct cen_http_server *server);
/* Until every loop has ended. false: some still run. */
bool cen_http_server_wait(struct cen_http_server *server, int64_t timeout_ms);
/* Whoever still runs gets on_gone. Joins the threads; cen_http_loop_post answers false from here
 * on, so that those who post may end in their own time. */
void cen_http_server_stop(struct cen_http_server *server);
/* The same, and nobody posts any more. */
void cen_http_server_free(struct cen_http_server *server);

struct cen_http_figures {
  uint64_t connections; /* open now */
  uint64_t accepted, requests, refused, timed_out, gone;
};
void cen_http_server_figures(struct cen_http_server *server, struct cen_http_figures *figures);

/* Of one route, over all loops. The last of them stands for what matched none. */
struct cen_http_endpoint {
  const char *path; /* as it was given; NULL: none */
  enum cen_http_method method;
  uint64_t by_class[6];    /* answers by the first digit of their status */
  struct cen_hist seconds; /* from the whole request to the end of its answer */
};
/* Adds to `endpoint`, which the caller has emptied. false: there are not so many. */
bool cen_http_server_endpoint(struct cen_http_server *server, size_t index,
                              struct cen_http_endpoint *endpoint);

/* A loop. */
struct event_base *cen_http_loop_base(struct cen_http_loop *loop);
unsigned cen_http_loop_index(const struct cen_http_loop *loop);
void cen_http_loop_set_user(struct cen_http_loop *loop, void *user);
void *cen_http_loop_user(const struct cen_http_loop *loop);
/* Runs the task on the loop's thread. false: the loop has ended, it will not run. */
bool cen_http_loop_post(struct cen_http_loop *loop, struct cen_task *task);

/* What was asked. Texts live as long as the request. */
enum cen_http_method cen_http_method(const struct cen_http_request *request);
const char *cen_http_path(const struct cen_http_request *request);
const char *cen_http_query(const struct cen_http_request *request); /* without "?"; or "" */
const char *cen_http_header(const struct cen_http_request *request, const char *name); /* or NULL */
/* All fields in the order in which they came; false: no more. */
bool cen_http_field_at(const struct cen_http_request *request, unsigned index, const char **name,
                       const char **value);
const char *cen_http_body(const struct cen_http_request *request, size_t *size);
struct cen_http_loop *cen_http_loop_of(const struct cen_http_request *request);
/* Its token allows reading only. */
bool cen_http_read_only(const struct cen_http_request *request);
enum { CEN_HTTP_PEER_TEXT = 48 };
void cen_http_peer(const struct cen_http_request *request, char out[CEN_HTTP_PEER_TEXT]);
/* For logins that an endpoint checks itself (the token of a route is the server's business): has
 * this address failed too often in the last minute? Ask before comparing anything. */
bool cen_http_login_limited(const struct cen_http_request *request);
void cen_http_login_failed(const struct cen_http_request *request);

/* What is answered. Names and values without control characters (others are left out). */
struct cen_http_pair {
  const char *name, *value;
};
/* The whole answer, ends the request. Content-Length, Date, Connection, the CORS fields and
 * X-Content-Type-Options are written here. no_store for what must not be kept by anybody. */
struct cen_http_answer {
  int status;
  const char *type; /* NULL: no Content-Type */
  const struct cen_http_pair *fields;
  size_t field_count;
  bool no_store;
};
void cen_http_respond(struct cen_http_request *request, const struct cen_http_answer *answer,
                      const void *body, size_t size);
/* {"message":"…"} with that status, or {"error":"…"} where the route says so. */
void cen_http_refuse(struct cen_http_request *request, int status, const char *message);

typedef void (*cen_http_gone_callback)(struct cen_http_request *request, enum cen_http_gone why,
                                       void *context);
typedef void (*cen_http_ready_callback)(struct cen_http_request *request, void *context);
/* Keeps the request beyond the handler's return. on_gone must not be NULL. */
void cen_http_hold(struct cen_http_request *request, cen_http_gone_callback on_gone, void *context);
/* An answer in pieces (chunked; to HTTP/1.0 until the close), for server-sent events too. The
 * request must be held, or finished before the handler returns. */
void cen_http_begin(struct cen_http_request *request, const struct cen_http_answer *answer);
/* false: max_pending bytes or more wait for the client. Write no more until on_ready; what is
 * written all the same, up to twice as much, is kept, then the client is gone. on_ready is called
 * once. The client may be gone when this returns: then on_gone was called. */
bool cen_http_write(struct cen_http_request *request, const void *data, size_t size);
void cen_http_on_ready(struct cen_http_request *request, cen_http_ready_callback on_ready);
/* Bytes that wait for the client. */
size_t cen_http_pending(const struct cen_http_request *request);
void cen_http_finish(struct cen_http_request *request);
/* Ends the request without an answer, or in the middle of one: the client sees a broken
 * connection. */
void cen_http_abort(struct cen_http_request *request);

#endif
