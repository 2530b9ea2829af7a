/*
 * neon.h - what the files of the Neon driver share. Private to this folder.
 *
 *   neon.c      the driver's table: create, start, advance, destroy, cancel
 *   endpoint.c  the URL and the settings: where requests go, and what they carry; once a manager
 *   query.c     statements as they are sent; text.c: which can be sent at all (text.h)
 *   outcome.c   what became of a request: rows into the sink, or the error that says what is known
 *
 * A connection here is a place for one request at a time: HTTP keeps no session, and the sockets
 * belong to the client that all connections of a manager share.
 *
 * Threads: at most one is inside a connection. cancel() and abort() come from any thread; they
 * touch the atomic members and the call's own cancel.
 */
#ifndef CEN_DRIVER_NEON_H
#define CEN_DRIVER_NEON_H

#include "net/http_client.h"
#include "wire/neon.h"

#include <cenote/driver.h>
#include <stdatomic.h>

enum {
  NEON_PROVEN_MS = 5000, /* for so long an answer speaks for the endpoint: opening asks nothing */
  NEON_REQUEST_BYTES = 256 << 20 /* ceiling of a request's body; the server's own is lower */
};

/* ---------------------------------------------------------------- once a manager: endpoint.c */

struct neon_shared {
  struct cen_http_client *http;
  char *endpoint;            /* whole URL; holds no secret */
  struct cen_neon_url url;   /* taken apart, with its password */
  char *parameters;          /* "?a=b" without what is ours, or "" */
  char *bearer;              /* "Bearer …", or NULL */
  size_t ceiling;            /* of an answer's body */
  _Atomic int64_t proven_ns; /* until then an answer of the database is fresh; 0: none is */
};

cenote_status neon_shared_new(const cenote_driver_params *params, void **shared,
                              cenote_error *error);
void neon_shared_free(void *shared);
/* The connection string with its password, the callback's before the URL's; malloc'ed, to be wiped.
 * NULL: no memory. */
char *neon_connection_string(const struct neon_shared *shared, const cenote_driver_params *params);
/* A server may say what it was sent: the password of that string, or the token. */
void neon_hide_secrets(const struct neon_shared *shared, const char *string, cenote_error *error);

/* ---------------------------------------------------------------- statements: query.c */

struct neon_queries {
  struct cen_neon_query *list; /* sql: the caller's, or rewritten */
  char **rewritten;            /* as many, NULL where nothing changed */
  size_t count;
  bool reads;      /* by their text: nothing among them writes */
  bool repeatable; /* … and a transaction that refuses to write keeps them from doing so */
};

/* Looks at what was asked: one statement, or a batch. CENOTE_UNSUPPORTED for what would need a
 * session. Nothing is left to free where it fails. */
cenote_status neon_queries_make(struct neon_queries *queries, const cenote_request *request,
                                cenote_error *error);
void neon_queries_free(struct neon_queries *queries);

/* ---------------------------------------------------------------- connections: neon.c */

struct cenote_connection {
  const cenote_driver_params *params;
  struct neon_shared *shared;
  struct cen_http_call *call;
  char *string; /* the connection string; NULL: not open */
  uint32_t fork_count;
  bool tainted;
  bool sent; /* CENOTE_SESSION_SENT */
  /* of the request that runs */
  const cenote_request *request; /* NULL: none */
  struct neon_queries queries;
  bool repeated; /* sent again, in a transaction that refuses to write */
  uint64_t serial;
  /* any thread */
  _Atomic uint64_t running;   /* the request's serial; 0: none */
  _Atomic uint64_t cancelled; /* of the last that was asked to stop */
  _Atomic bool broken;        /* aborted, closed, or its password is wrong */
};

/* Whether the statements of the request go as a batch, in one transaction of their own. */
bool neon_in_transaction(const cenote_connection *c);
/* Did somebody ask the request that runs to stop? */
static inline bool neon_is_cancelled(cenote_connection *c)
{
  return atomic_load(&c->cancelled) == c->serial;
}

/* ---------------------------------------------------------------- the end: outcome.c */

enum neon_end {
  NEON_DONE,
  NEON_FAILED,
  NEON_REPEAT /* it only read, and nobody knows what became of it: again, refusing to write */
};
/* The call is over. NEON_FAILED fills *error. */
enum neon_end neon_outcome(cenote_connection *c, cenote_error *error);

#endif
