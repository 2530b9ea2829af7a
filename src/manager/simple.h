/*
 * simple.h - the simple path as query.c sees it: one statement that was found shareable, over the
 * manager's shared connections. Retrying, fallbacks and routing are query.c's; see
 * docs/simple-path.md.
 */
#ifndef CEN_SIMPLE_H
#define CEN_SIMPLE_H

#include "manager/retry.h"

#include <cenote/cenote.h>

struct cenote_manager;

struct simple_request {
  const char *sql;
  size_t sql_size;
  const cenote_value *args;
  size_t count;
  bool read_only;      /* goes to a session that refuses to write */
  unsigned flags;      /* CENOTE_QUERY_ */
  int64_t deadline_ns; /* for all of it; the statement's own time-out comes on top */
  bool http;           /* over HTTP (http_path.h), not on a shared connection */
  int64_t patience_ns; /* how long it may wait until it is sent; 0: until the deadline */
  const char *operation_id;
};

struct simple_outcome {
  enum cen_fate fate;
  bool cut_off;           /* by our own patience, not by the database */
  bool read_only_refused; /* 25006 on a session of ours that refuses to write: it is no read */
  int64_t waited_ns;      /* until it was sent */
  int64_t took_ns;        /* from then on */
};

/* The path exists for such statements: the driver pipelines, simple_connections is not 0, and no
 * connection has said lately that it cannot be shared for them (reads behind a pooler). */
bool simple_is_there(const struct cenote_manager *manager, bool read_only);

/* Blocks; drives the shared connections itself (leader/follower). */
cenote_status simple_query(struct cenote_manager *manager, const struct simple_request *request,
                           cenote_result **result, struct simple_outcome *outcome,
                           cenote_error *error);

/* The same for one who must not wait: embedded in the owner's struct, which lives until `done`. The
 * request's memory too. `done` runs on the housekeeper (its thread, or inside cenote_dispatch), never
 * under a lock, never before simple_start returned; `result` is its to free. */
struct simple_call;
struct simple_async {
  struct simple_request request;
  void (*done)(struct simple_async *async, cenote_status status, cenote_result *result,
               const struct simple_outcome *outcome, const cenote_error *error);
  struct simple_call *call; /* private, as the next */
  struct place *place;
};
cenote_status simple_start(struct cenote_manager *manager, struct simple_async *async,
                           cenote_error *error);
/* Asks it to stop; `done` still comes. Any thread, as long as `done` has not been called. */
void simple_cancel(struct cenote_manager *manager, struct simple_async *async);

/* ------------------------------------------- where the rest of the manager calls it */

cenote_status simple_new(struct cenote_manager *manager); /* cenote_open */
/* The loop has ended: delivers what it did not come to. */
void simple_finish(struct cenote_manager *manager);
void simple_free(struct cenote_manager *manager); /* and after that */
/* The housekeeper's turn: gives back idle connections, serves what nobody drives, delivers
 * outcomes. Answers when to come back. */
int64_t simple_turn(struct cenote_manager *manager, int64_t now_ns);
/* Somebody waits for a connection of his own: shared ones that are idle come back now, busy ones
 * when they have answered. Any thread, cheap when there is nothing to give. true: one comes. */
bool simple_yield(struct cenote_manager *manager);
/* How many shared connections have nothing to do. */
uint32_t simple_resting(struct cenote_manager *manager);
/* Is this lease one of ours, and nobody's else? */
bool simple_holds(const struct cenote_manager *manager, uint32_t slot, uint64_t generation);
/* A shutdown begins: what was not sent is refused, what runs may finish. */
void simple_drain(struct cenote_manager *manager);

struct simple_figures {
  int64_t pipelines, resting, in_flight;
  uint32_t waiters;          /* of the pool's: ours */
  uint64_t grants, releases; /* of the pool's leases, ours: to be set aside in its figures */
  uint64_t reruns;
};
void simple_look(struct cenote_manager *manager, struct simple_figures *figures);

#endif
