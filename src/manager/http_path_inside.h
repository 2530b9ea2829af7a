/*
 * http_path_inside.h - what the files of the HTTP path share: http_path.c runs statements,
 * http_well.c knows whether the path is well, makes and ends it. See http_path.h.
 */
#ifndef CEN_HTTP_PATH_INSIDE_H
#define CEN_HTTP_PATH_INSIDE_H

#include "base/result.h"
#include "manager/http_path.h"
#include "manager/manager.h"

enum {
  PLACES = 512,    /* statements at once, at most; the pool serves the others */
  PLACES_KEPT = 64 /* that rest */
};

/* What the connections of a time have in common: the driver's sockets. A flush makes another one; the
 * old one goes with the last place that uses it. */
struct http_client {
  cenote_driver_params params; /* with `shared`: the driver's, ours to free */
  int64_t places;              /* under the lock */
};

struct place {
  struct http_path *path;
  struct http_client *client;
  struct cen_link link; /* resting, or running; under the lock */
  cenote_connection *connection;
  /* of the statement that runs */
  cenote_request request;
  cenote_sink sink;
  int64_t start_ns, limit_ns;
  bool overdue, starved; /* cancelled by us: out of time, out of memory */
  /* asynchronous ones, and probes: the housekeeper's, but for what is posted */
  struct cen_link posting; /* under the lock */
  bool posted, cancelled;  /* under the lock */
  bool started;
  struct simple_async *async; /* NULL: a probe */
  struct cen_watch watch;
  struct cen_timer timer;
};

struct http_path { /* one in a manager */
  struct cenote_manager *manager;
  const cenote_driver *driver;
  struct http_client *client; /* for what begins now; under the lock */
  struct cen_breaker breaker;
  bool has_breaker;
  pthread_mutex_t lock;
  struct cen_link resting, running, posted;
  int64_t rests, runs;
  bool draining;
  struct cen_task task;
};

void http_place_free(struct place *place);
/* One place less; the last one frees it, unless new ones will use it. */
void http_client_leave(struct http_path *path, struct http_client *client);
/* A place among the running. CENOTE_QUEUE_FULL, CENOTE_SHUTTING_DOWN, CENOTE_NO_MEMORY. */
cenote_status http_place_take(struct http_path *path, struct place **out, cenote_error *error);
/* It asks for a sign of life; then, or with a statement, it is the housekeeper's to run. */
void http_place_check(struct place *place);
void http_place_begin(struct place *place, struct simple_async *async);
void http_path_posted(struct cen_task *task);

#endif
