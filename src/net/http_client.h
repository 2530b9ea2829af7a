/*
 * http_client.h - HTTP and HTTPS requests over libcurl, many at once.
 *
 * A client is one thread with one multi handle, so that its calls share connections and, over
 * HTTPS, multiplex on one by HTTP/2. The thread begins with the first call and ends after a minute
 * without one. A call is made once and used for one request after the other:
 *
 *     start ──► wait until `fd` is readable ──► done? ──► reply, error, take ──► start …
 *
 * so a blocking caller polls the descriptor, and a loop watches it.
 *
 * Nothing is sent twice: libcurl would repeat by itself what it sent on a kept-alive connection
 * that closes without an answer; here that fails, and `sent` says whether the request may have
 * been carried out. Redirects are not followed.
 *
 * Threads: a client from any; a call belongs to one thread at a time, but for cancel (any thread).
 * In a forked child start answers CENOTE_FORKED, and freeing leaves the parent's sockets alone.
 */
#ifndef CEN_HTTP_CLIENT_H
#define CEN_HTTP_CLIENT_H

#include <cenote/cenote.h>
#include <stdatomic.h>

struct cen_http_client;
struct cen_http_call;

enum {
  CEN_HTTP_HEADERS = 256 << 10, /* bytes of an answer's headers, at most */
  CEN_HTTP_PIPE = 256 << 10     /* of a streamed body that wait for their reader; then it pauses */
};

struct cen_http_options {
  bool verify;                /* certificates; without it anybody in between can read and change */
  const char *ca_file;        /* instead of the system's; or NULL */
  int64_t connections;        /* at most, but for urgent calls'; 0: as many as calls want */
  int64_t connect_timeout_ms; /* 0: none of its own */
};

/* Connections that the clients of this process have opened. */
extern _Atomic uint64_t cen_http_opened;

/* Copies what it keeps. No I/O, no thread yet. */
cenote_status cen_http_client_new(const struct cen_http_options *options,
                                  struct cen_http_client **client, cenote_error *error);
/* After all its calls were freed or left. What was left is cut off. NULL is fine. */
void cen_http_client_free(struct cen_http_client *client);
/* Calls that start from here on use no connection that is open now. Any thread. */
void cen_http_client_flush(struct cen_http_client *client);

/* An `http:` or `https:` URL as far as it concerns us. */
struct cen_http_place {
  bool secure;
  bool loopback;  /* localhost, 127.0.0.0/8, ::1 */
  char host[256]; /* with the port where there is one; for messages */
};
/* false: not such a URL, no host, or a user name or password in it. */
bool cen_http_place_read(const char *url, struct cen_http_place *place);

struct cen_http_line {
  const char *name, *value;
};

struct cen_http_ask {
  const char *url; /* http: or https: */
  char *body;      /* malloc'ed; the call's from here on, also on failure. NULL: GET, else POST */
  size_t body_size;
  const struct cen_http_line *lines; /* copied; wiped with the call's next start */
  size_t line_count;
  int64_t deadline_ns; /* CEN_NEVER: none but the caller's cancel */
  size_t ceiling;      /* of the whole body, or of all that a stream brings */
  bool stream;         /* pieces as they arrive: cen_http_call_read */
  bool fresh;          /* on a new connection */
  bool urgent;         /* waits for no connection: others may be waiting for what it does */
  uint64_t tag;        /* for the cancel; not 0 */
};

enum cen_http_failure {
  CEN_HTTP_FINE,
  CEN_HTTP_NO_MEMORY,
  CEN_HTTP_CANCELLED,
  CEN_HTTP_DEADLINE,
  CEN_HTTP_TOO_LARGE,
  /* before anything was sent */
  CEN_HTTP_RESOLVE,
  CEN_HTTP_REFUSED, /* no connection: refused, unreachable */
  CEN_HTTP_CONNECT_TIMEOUT,
  CEN_HTTP_TLS,    /* the handshake */
  CEN_HTTP_TLS_CA, /* nobody we trust has signed the certificate */
  CEN_HTTP_TLS_NAME /* it is another host's */,
  CEN_HTTP_TLS_TIME, /* it has expired, or is not valid yet */
  CEN_HTTP_TLS_FILE, /* the file of CA certificates cannot be read */
  CEN_HTTP_PROXY,
  /* afterwards */
  CEN_HTTP_BROKEN, /* the connection broke off */
  CEN_HTTP_GARBLED /* what came is no HTTP */
};

struct cen_http_reply {
  enum cen_http_failure failure; /* CEN_HTTP_FINE: the whole answer is there */
  bool sent;                     /* the request has left as a whole: it may have been carried out */
  bool answered;                 /* a status line came */
  int status;                    /* of HTTP; 0: none came */
  const char *type;              /* the content type, or "" */
  bool reused;                   /* on a connection that an earlier call had opened */
  long version;                  /* 10, 11 or 20 */
};

cenote_status cen_http_call_new(struct cen_http_client *client, struct cen_http_call **call,
                                cenote_error *error);
/* Whatever runs is cut off; waits for nothing. NULL is fine. */
void cen_http_call_free(struct cen_http_call *call);
/* The same, but what runs may come to its end, unheard. */
void cen_http_call_leave(struct cen_http_call *call);

/* CENOTE_OK: it runs, and `fd` will be readable. Nothing was sent where it answers anything else. */
cenote_status cen_http_call_start(struct cen_http_call *call, const struct cen_http_ask *ask,
                                  cenote_error *error);
/* Readable when the call is over; of a stream also when there is something to read. */
int cen_http_call_fd(const struct cen_http_call *call);
bool cen_http_call_done(struct cen_http_call *call);
/* Of a stream: *pieces is what came since the last time (malloc'ed, the caller's; NULL: nothing),
 * *status HTTP's (0: not yet). True: the body has ended, or the call has failed; nothing will follow. */
bool cen_http_call_read(struct cen_http_call *call, char **pieces, size_t *size, int *status);

/* After `done`, until the next start. */
const struct cen_http_reply *cen_http_call_reply(const struct cen_http_call *call);
/* The whole body, terminated, to be decoded where it stands; the call's. */
char *cen_http_call_body(struct cen_http_call *call, size_t *size);
/* Its failure: CENOTE_CONNECT (nothing was sent), CENOTE_CONNECTION_LOST, CENOTE_TOO_LARGE,
 * CENOTE_STATEMENT_TIMEOUT, CENOTE_CANCELLED, CENOTE_NO_MEMORY. Without secrets. */
cenote_status cen_http_call_error(const struct cen_http_call *call, cenote_error *error);

/* The request of that tag, if it still runs (0: whichever), ends soon. Any thread; returns at once. */
void cen_http_call_cancel(struct cen_http_call *call, uint64_t tag);

#endif
