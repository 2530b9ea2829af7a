/*
 * monitor_inside.h - what the monitoring files share. One thread of the monitor's own looks at the
 * pools and writes the texts; the loops only hand them out, so that looking never holds up who
 * works. It sleeps while nobody asks, but for a point of history every five seconds.
 *
 *     a request ──► monitor_answer ──► is the text fresh? ── yes ──► answered
 *                                         └ no: it waits ──► the thread collects ──► posted back
 */
#ifndef CEN_SERVER_MONITOR_INSIDE_H
#define CEN_SERVER_MONITOR_INSIDE_H

#include "base/list.h"
#include "manager/observe.h"
#include "server/gateway.h"
#include "server/history.h"
#include "server/pools.h"

#include <pthread.h>

enum {
  MONITOR_FRESH_MS = 250,  /* a text is given out again for so long */
  MONITOR_STEP_MS = 1000,  /* between two states while somebody listens */
  MONITOR_WAITERS = 256,   /* requests of one loop that wait for a text */
  MONITOR_POOLS = 100,     /* in `pools` of the status: of them … */
  MONITOR_QUIET_POOLS = 50 /* … so many in which nothing happens */
};

enum monitor_kind { MONITOR_VERDICT, MONITOR_STATUS, MONITOR_METRICS, MONITOR_KINDS };

/* A text that several answers share; any thread. */
struct monitor_text {
  _Atomic unsigned refs;
  size_t size;
  char *data;
};
struct monitor_text *monitor_text_new(struct cen_buf *buf); /* takes its bytes; NULL: no memory */
void monitor_text_free(struct monitor_text *text);          /* one reference; NULL is fine */

struct monitor_made {
  int64_t at_ns;             /* 0: never; nothing in it is older */
  struct monitor_text *text; /* NULL: memory was short */
  cenote_health_status health;
};

/* Of one loop; the loop's thread, but for the task, which the monitor's thread posts. */
struct monitor_loop {
  struct gateway_loop *loop;
  struct cen_task task;
  struct cen_link waiting; /* of monitor_waiter */
  unsigned waiters;
};

struct monitor {
  struct gateway *gateway;
  pthread_t thread;
  bool running;
  pthread_mutex_t lock;
  pthread_cond_t wake;
  /* guarded by lock */
  bool stop;
  unsigned wanted; /* 1 << kind */
  struct monitor_made made[MONITOR_KINDS];
  struct history history;
  unsigned listeners;
  struct monitor_loop **loops; /* NULL: has ended; one for each loop of the gateway */
};

static inline struct monitor *monitor_of(const struct gateway *gateway)
{
  return gateway->part[GATEWAY_MONITOR];
}

/* monitor_collect.c: the thread. */
cenote_status monitor_start_thread(struct monitor *monitor, cenote_error *error);
void monitor_stop_thread(struct monitor *monitor);
/* The latest of a kind, with a reference to its text; asks for a new one when it is older than
 * MONITOR_FRESH_MS. Any thread. */
void monitor_look(struct monitor *monitor, enum monitor_kind kind, struct monitor_made *made);

/* Answers now or when the text is there. On the request's loop. */
typedef void (*monitor_writer)(struct cen_http_request *request, const struct monitor_made *made);
void monitor_answer(struct cen_http_request *request, enum monitor_kind kind, monitor_writer write);

/* live.c */
void live_arrived(struct gateway_loop *loop); /* there is something new to see */

/* monitor_status.c: the status endpoint's text, pool by pool. The collector's thread. */
struct status_draft {
  struct cen_buf buf;   /* `pools`, as it grows */
  struct cen_json json; /* on it */
  size_t shown, quiet, left_out;
};
void status_begin(struct status_draft *draft);
void status_pool(struct status_draft *draft, const struct pools_group *group,
                 const struct cen_sum *sum, const struct cen_health *health);
struct monitor_text *status_end(struct status_draft *draft, struct gateway *gateway,
                                const struct cen_sum *total, const struct cen_health *health,
                                unsigned listeners);

/* metrics.c: the text of /metrics, likewise. */
struct metrics_draft;
struct metrics_draft *metrics_begin(struct gateway *gateway); /* NULL: no memory */
void metrics_pool(struct metrics_draft *draft, const struct pools_group *group,
                  const struct cen_sum *sum);
struct monitor_text *metrics_end(struct metrics_draft *draft, cenote_health_status health,
                                 unsigned listeners);
void metrics_free(struct metrics_draft *draft); /* after an end too; NULL is fine */

#endif
