/*
 * alone.c - a statement of a lease on a plaintext session, without libpq: a pipeline with one request
 * in flight. libpq takes a `poll`, a PGresult and a dozen allocations for each; here the rows go from
 * the receive buffer into the sink, a preparation travels with the execution that it is for, and all of
 * it is one send.
 *
 * Between two statements the session is libpq's again: it has read all that came, and so have we. So it
 * is for sessions whose state libpq need not follow: not in a transaction, nothing set, no LISTEN. What
 * is neither a plain read nor a plain write, a script, or a session that is dirty, libpq runs.
 */
#include "base/error.h"
#include "driver/postgres/wire.h"

#include <stdlib.h>
#include <string.h>

struct pg_alone {
  struct pg_pipe *pipe; /* the connection's while a statement runs, as is the wire */
  struct pg_wire *wire; /* NULL: libpq runs all of them */
  const cenote_request *request;
  struct pg_statement *statement; /* pinned as long */
};

static struct pg_alone *alone_new(cenote_connection *c)
{
  struct pg_alone *alone = calloc(1, sizeof(*alone));
  if (alone) {
    alone->wire = pg_wire_new(c);
    alone->pipe = alone->wire ? pg_pipe_new(c) : NULL;
    if (!alone->pipe) {
      pg_wire_free(alone->wire);
      alone->wire = NULL;
    }
  }
  return alone;
}

/* The request is as it was before the pipeline had it. */
static void restore(cenote_connection *c)
{
  struct pg_alone *alone = c->alone;
  alone->statement->pins--; /* pg_finish lets go of it */
  c->request = alone->request;
  c->statement = alone->statement;
  alone->request = NULL;
  alone->statement = NULL;
  c->pipe = NULL;
  c->wire = NULL;
}

void pg_alone_free(cenote_connection *c)
{
  struct pg_alone *alone = c->alone;
  if (!alone) {
    return;
  }
  if (alone->request) { /* destroyed in the middle of a statement */
    pg_pipe_drop_flights(c);
    restore(c);
  }
  if (alone->pipe) {
    free(alone->pipe->ring);
    free(alone->pipe);
  }
  pg_wire_free(alone->wire);
  free(alone);
  c->alone = NULL;
}

bool pg_alone_takes(cenote_connection *c)
{
  const struct pg_statement *statement = c->statement;
  if ((statement->verb != CEN_VERB_READ && statement->verb != CEN_VERB_WRITE) ||
      statement->may_dirty || c->dirty || c->tainted || c->doubtful ||
      (c->request->flags & CENOTE_REQUEST_SCRIPT) != 0 ||
      PQtransactionStatus(c->conn) != PQTRANS_IDLE) {
    return false;
  }
  if (!c->alone) {
    c->alone = alone_new(c);
  }
  if (!c->alone || !c->alone->wire) {
    return false;
  }
  pthread_mutex_lock(&c->guard);
  bool busy = PQisBusy(c->conn) != 0; /* looks at what came behind its last answer */
  pthread_mutex_unlock(&c->guard);
  return !busy && !atomic_load(&c->broken);
}

cenote_step pg_alone_start(cenote_connection *c, cenote_error *error)
{
  struct pg_alone *alone = c->alone;
  cenote_error why; /* filled on failure only */
  why.size = sizeof(why);
  alone->request = c->request;
  alone->statement = c->statement;
  alone->statement->pins++;
  alone->pipe->dead = alone->pipe->fatal = false;
  c->pipe = alone->pipe;
  c->wire = alone->wire;
  cenote_status status = pg_pipe_push(c, alone->request, alone->statement, &why);
  if (status == CENOTE_OK) {
    c->state = PG_ALONE;
    return CENOTE_STEP_AGAIN;
  }
  pg_pipe_drop_failure(c);
  pg_pipe_drop_flights(c);
  restore(c);
  cenote_error *failure = pg_failure(c, status);
  cen_error_copy(failure, &why);
  return pg_finish(c, error);
}

/* Nothing of ours may be missing to libpq. */
static void give_back(cenote_connection *c)
{
  struct pg_wire *wire = c->wire;
  if (wire->unlike_libpq) { /* promoted: that alone is not for a reset to undo */
    c->promoted = true;
    wire->unlike_libpq = false;
  }
  if (wire->start != wire->end && !pg_wire_still_there(c)) {
    atomic_store(&c->broken, true);
  }
  if (!pg_wire_leave(c)) {
    atomic_store(&c->broken, true);
  }
}

static cenote_step lost(cenote_connection *c, const cenote_error *why, cenote_error *error)
{
  bool said = c->pipe->fatal;
  /* Without its end, the sync point, nothing of it was committed. */
  c->sent = !c->wire->unwritable && !c->flushing;
  c->flushing = c->more = false;
  restore(c);
  cenote_status status = pg_lost_status(c);
  cenote_error *failure = pg_failure(c, status);
  if (failure && said) {
    cen_error_copy(failure, why);
    failure->status = status;
    failure->retryable = cen_status_retryable(status);
  } else if (failure) {
    pg_lost_words(c, status, failure);
  }
  return pg_finish(c, error);
}

/* Its plan was stale: libpq runs it, unprepared. */
static cenote_step again(cenote_connection *c, cenote_error *error)
{
  pthread_mutex_lock(&c->guard);
  bool cancelled = c->job != NULL || c->cancelled;
  c->running = true;
  pthread_mutex_unlock(&c->guard);
  if (cancelled) {
    pg_fail(c, CENOTE_CANCELLED, "cancelled");
    return pg_finish(c, error);
  }
  c->retry = c->sent = false;
  c->retried = true;
  return pg_execute_again(c, error);
}

static cenote_step failed(cenote_connection *c, const cenote_error *why, cenote_error *error)
{
  cenote_error *failure = pg_failure(c, why->status);
  cen_error_copy(failure, why);
  memcpy(c->failed_state, why->sqlstate, sizeof(c->failed_state));
  return pg_finish(c, error);
}

cenote_step pg_alone_advance(cenote_connection *c, short revents, cenote_error *error)
{
  cenote_error why; /* filled on failure only */
  why.size = sizeof(why);
  cenote_answer answer = pg_pipe_read(c, revents, &why);
  if (answer == CENOTE_ANSWER_ENOUGH) {
    pg_cancel(c);
    answer = pg_pipe_read(c, 0, &why);
  }
  switch (answer) {
  case CENOTE_ANSWER_NONE:
  case CENOTE_ANSWER_ENOUGH: /* told once */
    return CENOTE_STEP_AGAIN;
  case CENOTE_ANSWER_LOST:
    return lost(c, &why, error);
  default:
    break;
  }
  give_back(c);
  restore(c);
  if (answer == CENOTE_ANSWER_DONE) {
    return pg_finish(c, error);
  }
  return answer == CENOTE_ANSWER_REPEAT ? again(c, error) : failed(c, &why, error);
}
