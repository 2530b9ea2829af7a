/*
 * cancel.c - cancelling and aborting, from any thread.
 *
 * libpq's PQcancel opens a connection of its own and blocks (on a stopped postmaster for ever),
 * so a worker runs it. A cancel that reaches the server before the statement does is lost: the
 * worker repeats it twice, a little later, unless the request is over by then; not for longer,
 * since others want to cancel too. A request is over only when its last
 * answer was read *and* the worker has returned: the server closes a cancel's connection after
 * the signal was sent, and a session reads the next statement after it took its signals. So a
 * cancel never hits the next statement.
 */
#include "driver/postgres/postgres.h"
#include "net/clock.h"
#include "net/fork.h"
#include "net/park.h"

#include <stdlib.h>
#include <sys/socket.h>

/* The address and key of one session; shared with workers that may outlive the connection. */
struct pg_canceller {
  _Atomic unsigned references;
  PGcancel *handle;
};

struct pg_cancel_job {
  struct cen_job job; /* first */
  struct pg_canceller *canceller;
  _Atomic uint32_t over; /* the request needs no further cancel; parked on */
  _Atomic uint32_t sent; /* how many went out */
};

static void canceller_drop(struct pg_canceller *canceller)
{
  if (canceller && atomic_fetch_sub(&canceller->references, 1) == 1) {
    PQfreeCancel(canceller->handle);
    free(canceller);
  }
}

bool pg_cancel_new(cenote_connection *c)
{
  struct pg_canceller *canceller = calloc(1, sizeof(*canceller));
  PGcancel *handle = canceller ? PQgetCancel(c->conn) : NULL;
  if (!handle) {
    free(canceller);
    return false;
  }
  canceller->handle = handle;
  atomic_init(&canceller->references, 1);
  pthread_mutex_lock(&c->guard);
  c->canceller = canceller;
  pthread_mutex_unlock(&c->guard);
  return true;
}

void pg_cancel_free(cenote_connection *c)
{
  if (c->fork_count == cen_fork_count) {
    pg_cancel_drop(c);
  }
  canceller_drop(c->canceller);
  c->canceller = NULL;
}

static void work(struct cen_job *job)
{
  struct pg_cancel_job *mine = (struct pg_cancel_job *)job;
  static const int64_t pauses_ms[] = {50, 200, 0};
  for (size_t i = 0; i < sizeof(pauses_ms) / sizeof(pauses_ms[0]); i++) {
    char ignored[256];
    if (atomic_load(&mine->over)) {
      return;
    }
    atomic_fetch_add(&mine->sent, 1);
    (void)PQcancel(mine->canceller->handle, ignored, sizeof(ignored));
    int64_t until = cen_deadline_ns(cen_now_ns(), pauses_ms[i]);
    while (!atomic_load(&mine->over) && cen_now_ns() < until) {
      (void)cen_park(&mine->over, 0, until);
    }
  }
}

static void dispose(struct cen_job *job)
{
  struct pg_cancel_job *mine = (struct pg_cancel_job *)job;
  canceller_drop(mine->canceller);
  free(mine);
}

/* Without memory, a thread or a place in the queue nothing happens: the runner's patience with a
 * cancelled statement ends, and it aborts. */
static void job_begin(cenote_connection *c)
{
  struct pg_cancel_job *mine = calloc(1, sizeof(*mine));
  if (!mine) {
    return;
  }
  mine->job.set = CEN_WORKERS_CANCEL;
  mine->job.work = work;
  mine->job.dispose = dispose;
  mine->job.done_fd = -1;
  mine->canceller = c->canceller;
  atomic_init(&mine->over, 0);
  atomic_init(&mine->sent, 0);
  atomic_fetch_add(&c->canceller->references, 1);
  if (cen_job_start(&mine->job, NULL) == CENOTE_OK) {
    c->job = mine;
  } else {
    dispose(&mine->job);
  }
}

void pg_cancel(cenote_connection *c)
{
  pthread_mutex_lock(&c->guard);
  if (c->running && !c->cancelled) {
    c->cancelled = true; /* with a job of the one before: pg_cancel_going_on starts the next */
    if (c->canceller && !c->job && !c->shielded) {
      job_begin(c);
    } else if (!c->canceller && c->fd >= 0) {
      (void)shutdown(c->fd, SHUT_RDWR); /* still connecting */
    }
  }
  pthread_mutex_unlock(&c->guard);
}

void pg_abort(cenote_connection *c)
{
  pthread_mutex_lock(&c->guard);
  atomic_store(&c->aborted, true);
  atomic_store(&c->broken, true);
  if (c->running && c->fd >= 0) {
    (void)shutdown(c->fd, SHUT_RDWR);
  }
  if (c->job) {
    atomic_store(&c->job->over, 1);
    cen_unpark(&c->job->over);
  }
  pthread_mutex_unlock(&c->guard);
}

bool pg_cancel_pending(cenote_connection *c)
{
  if (!c->job) {
    return false;
  }
  atomic_store(&c->job->over, 1);
  cen_unpark(&c->job->over);
  return !cen_job_done(&c->job->job);
}

void pg_cancel_shield(cenote_connection *c, bool shielded)
{
  c->shielded = shielded;
  if (!shielded && c->cancelled && c->canceller && !c->job) {
    job_begin(c);
  }
}

void pg_cancel_over(cenote_connection *c)
{
  c->cancelled = false;
  if (c->job) {
    atomic_store(&c->job->over, 1);
    cen_unpark(&c->job->over);
  } else {
    c->cancel_arrived = false;
  }
}

bool pg_cancel_going_on(cenote_connection *c)
{
  struct pg_cancel_job *done = NULL;
  pthread_mutex_lock(&c->guard);
  bool going_on = c->job != NULL || (c->shielded && c->cancelled);
  if (c->job && cen_job_done(&c->job->job)) {
    going_on = false; /* nothing of it is on its way */
    if (atomic_load(&c->job->over)) {
      if (pg_cancel_astray(c)) {
        atomic_store(&c->broken, true);
      }
      done = c->job;
      c->job = NULL;
      c->cancel_arrived = false;
      if (c->cancelled && c->running &&
          !c->shielded) { /* asked for while the one before was under way */
        job_begin(c);
        going_on = c->job != NULL;
      }
    }
  }
  pthread_mutex_unlock(&c->guard);
  if (done) {
    cen_job_drop(&done->job);
  }
  return going_on;
}

/* PQcancel returns when the cancel's connection was closed. If the server did that, the signal was
 * sent before; but what stands in between (a proxy, a firewall) may close it and still carry the
 * cancel, and libpq does not tell. So over a network a session is only used again when each
 * cancel that went out was seen to arrive. A pooler in transaction mode closes it after it passed
 * the cancel on. */
bool pg_cancel_astray(const cenote_connection *c)
{
  if (c->level == PG_LEVEL_POOLER) {
    return false;
  }
  const char *host = c->conn ? PQhost(c->conn) : NULL;
  if (!c->job || !host || host[0] == '/' || host[0] == '@') {
    return false;
  }
  return atomic_load(&c->job->sent) > (c->cancel_arrived ? 1u : 0u);
}

int pg_cancel_fd(const cenote_connection *c)
{
  return c->job ? c->job->job.done_fd : -1;
}

void pg_cancel_drop(cenote_connection *c)
{
  pthread_mutex_lock(&c->guard);
  struct pg_cancel_job *job = c->job;
  c->job = NULL;
  if (job) {
    atomic_store(&job->over, 1);
    cen_unpark(&job->over);
  }
  pthread_mutex_unlock(&c->guard);
  if (job) {
    cen_job_drop(&job->job);
  }
}
