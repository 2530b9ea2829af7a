/*
 * hrana_inside.h - what the files of the Hrana part share.
 *
 *   hrana.c            the part: routes, which database, its second, its end
 *   hrana_exchange.c   one request from its body to its answer; the client that goes away
 *   hrana_simple.c     one statement outside any stream: cenote_query_async
 *   hrana_lease.c      a stream's lease: asked for, held longer, given up
 *   hrana_run.c        a pipeline on a worker thread
 *   hrana_statement.c  one statement on a lease; errors in Hrana's words
 *   hrana_cursor.c     a cursor: a worker that writes, a loop that sends
 *   hrana_streams.c, hrana_texts.c, hrana_work.c   see their headers
 *
 * An exchange belongs to its loop's thread, and to the worker between hrana_work_give and the task
 * that it posts; what both touch meanwhile is guarded by its lock.
 */
#ifndef CEN_HRANA_INSIDE_H
#define CEN_HRANA_INSIDE_H

#include "base/error.h"
#include "base/limits.h"
#include "net/clock.h"
#include "server/gateway.h"
#include "server/hrana_streams.h"
#include "server/hrana_work.h"
#include "wire/hrana.h"

#include <pthread.h>

enum {
  HRANA_HEAD = 160,       /* room in front of the results for `{"baton":"…","results":[` */
  HRANA_SMALL = 1024,     /* of an answer beyond its ceiling: what has no rows */
  HRANA_CHUNK = 16 << 10, /* of a cursor: sent when so much is there … */
  HRANA_CHUNK_MS = 20,    /* … or so long after the last one */
  HRANA_PIPE = 256 << 10, /* of a cursor: what waits for the loop */
  HRANA_LEND = 16         /* leases released at a time */
};

struct hrana;

struct hrana_route {
  struct hrana *hrana;
  unsigned version;
  bool cursor;
};

struct hrana {
  struct gateway *gateway;
  struct hrana_streams *streams;
  struct hrana_work *work;
  struct hrana_route pipeline2, pipeline3, cursor3;
  /* exchanges that live: the end waits for them */
  pthread_mutex_t lock;
  pthread_cond_t none;
  unsigned exchanges; /* guarded by lock */
};

enum hrana_stage {
  HRANA_BEGINS,
  HRANA_ASKS,
  HRANA_QUERIES,
  HRANA_WORKS,
  HRANA_SENDS /* a cursor's work is done: its stream goes on, whatever becomes of its client */
};

/* A cursor's lines between worker and loop. */
struct hrana_pipe {
  pthread_cond_t taken;
  struct cen_buf lines; /* guarded by the exchange's lock */
  struct cen_task end;  /* behind the last of the others: from here on the loop is alone */
  bool begun, paused, pumping, over; /* the loop's */
  bool failed;                       /* the worker's: nobody reads, or no memory */
  bool broken;                       /* … and so the body must not end as if it were whole */
  int64_t sent_ns;                   /* the worker's */
};

struct hrana_exchange {
  struct hrana *hrana;
  struct gateway_loop *loop;
  struct cen_http_request *request; /* the loop's; NULL: the client has gone */
  const struct gateway_database *database;
  struct hrana_stream *stream; /* NULL: none, or not yet */
  bool cursor, simple;
  bool closes; /* it ends with `close` */
  bool read_only;
  bool lost;              /* its stream must end */
  enum hrana_stage stage; /* guarded by lock, as `lease` */
  cenote_lease lease;     /* while it works: what is revoked when the client goes */
  pthread_mutex_t lock;
  _Atomic bool gone;
  cenote_ticket ticket;
  cenote_status refused; /* no lease, or the like: an HTTP error */
  cenote_result *result; /* of the simple path */
  cenote_error error;
  struct { /* the last statement's failure, in Hrana's words */
    const char *code;
    char message[640];
  } problem;
  size_t limit; /* bytes of `out` */
  struct cen_buf out;
  struct cen_hrana_writer writer;
  struct hrana_pipe pipe;
  struct cen_task task;
  struct hrana_job job;
  char operation[CEN_MAX_OPERATION_ID + 1];
  struct cen_hrana_body body;
  size_t text_size;
  char text[];
};

/* hrana.c */
/* NULL: none, and *problem says why. */
const struct gateway_database *hrana_database(const struct hrana *hrana, const char *name,
                                              const char *host, const char **problem);

/* hrana_exchange.c */
void hrana_on_post(struct cen_http_request *request, void *route);
/* To the loop's thread, or, where that has ended, at once. */
void hrana_post(struct hrana_exchange *x);
/* Settles the stream: at rest with a baton (true), or ended. The thread that has the exchange. */
bool hrana_settle(struct hrana_exchange *x, char baton[CEN_BATON_TEXT + 1]);
void hrana_exchange_free(struct hrana_exchange *x);
/* Answers with an HTTP error of Hrana's and frees; the stream is ended by the caller. */
void hrana_refuse(struct hrana_exchange *x, cenote_status status, const char *message);
/* 4xx as text, 5xx and 429 as {"error":…}; on the loop's thread. */
void hrana_respond_error(struct cen_http_request *request, int status, const char *message);
bool hrana_is_gone(const struct hrana_exchange *x);

/* hrana_simple.c: may it go without a stream? */
bool hrana_is_simple(const struct hrana_exchange *x);
void hrana_simple_start(struct hrana_exchange *x);
void hrana_simple_cancel(struct hrana_exchange *x);
void hrana_simple_results(struct hrana_exchange *x); /* as hrana_run_pipeline */

/* hrana_lease.c */
/* Gets the stream's lease, or another one, then gives x->job to a thread; or posts a refusal. */
void hrana_lease_start(struct hrana_exchange *x);
void hrana_lease_cancel(struct hrana_exchange *x);
/* Until its next request. false: it is lost. */
bool hrana_lease_rest(struct hrana_exchange *x);
void hrana_lease_release(struct hrana_stream *stream);
/* Each second: what rested too long; what others wait for. */
void hrana_lease_tick(struct hrana *hrana);
void hrana_lease_drain(struct hrana *hrana);

/* hrana_run.c: all requests into x->out, behind HRANA_HEAD bytes. `lease` {0}: none is needed. */
void hrana_run_pipeline(struct hrana_exchange *x);
void hrana_run_job(struct hrana_job *job);
/* Behind the work: what its stream keeps, or gives back at once. */
void hrana_run_end(struct hrana_exchange *x);

/* hrana_statement.c: on the thread that has the exchange */
struct hrana_target {
  bool (*columns)(void *context, const cenote_column *columns, size_t count);
  bool (*row)(void *context, const cenote_value *values, size_t count);
  void *context;
  bool not_utf8, full; /* why they said false */
};
/* NULL target: nothing is wanted. On failure x->problem says why. `columns` is called on success,
 * also where there are none. */
bool hrana_execute(struct hrana_exchange *x, const struct cen_hrana_stmt *stmt,
                   struct hrana_target *target, int64_t *affected, int64_t *last_rowid);
bool hrana_script(struct hrana_exchange *x, const struct cen_hrana_sql *sql);
bool hrana_describe(struct hrana_exchange *x, const struct cen_hrana_sql *sql,
                    struct cen_hrana_description *description, cenote_result **result);
bool hrana_autocommit(struct hrana_exchange *x);
/* x->problem from x->error; x->lost where the lease is no more. */
void hrana_problem(struct hrana_exchange *x, const char *sql);
void hrana_problem_is(struct hrana_exchange *x, const char *code, const char *message);
/* A statement has run, and its result finds no memory. No error of the statement's may say so, for it
 * would read as if nothing had happened: the whole request fails, and its stream ends. */
void hrana_no_memory(struct hrana_exchange *x);
/* The arguments as Cenote takes them: the one kind or the other. */
void hrana_args(struct hrana_exchange *x, const struct cen_hrana_stmt *stmt,
                const cenote_value **args, size_t *count);
/* A result's columns, of the exchange's memory; NULL: none there. */
const cenote_column *hrana_columns(struct hrana_exchange *x, const cenote_result *result);

/* hrana_cursor.c */
void hrana_cursor_job(struct hrana_job *job);
/* The loop's turn: sends what is there. It may be the end of the exchange. */
void hrana_cursor_pump(struct hrana_exchange *x);

#endif
