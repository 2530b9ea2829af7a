/*
 * pipeline.c - many requests in flight on one session, with libpq's pipeline mode or without libpq
 * (wire.h); answers.c and wire_read.c read what comes back.
 *
 *   a flight on the wire:   [prepare]  execute  sync      commands  = 2 or 1
 *                           sync                          commands  = 0: CHECK
 *   what comes back:        results… NULL  results… NULL  SYNC
 *
 * Each flight is a transaction of its own: its sync commits it, so it has succeeded only when the
 * sync's answer is there; for reads see batch.c. Flights stand in a ring in the order of the wire. What is known of the
 * oldest one's answer stands in the connection, where execute.c has it for a request that runs
 * alone. Hidden flights are the driver's own: one that makes the session read-only, and DEALLOCATE.
 *
 * A statement counts as prepared when its preparation is on its way: what comes later on the wire
 * finds it. If the preparation fails, those that followed fail with 26000 and are to be repeated.
 */
#include "base/error.h"
#include "driver/postgres/wire.h"
#include "net/clock.h"
#include "net/fork.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

enum {
  FIRST_ROOM = 16,   /* flights; doubled when it is not enough */
  BURY_FROM = 8,     /* dead statements that are worth deallocating … */
  BURY_AT_ONCE = 8,  /* … and how many in front of one request */
  FRESH_NS = 5000000 /* an answer so recent proves that the session is there */
};

bool pg_pipe_busy(const cenote_connection *c)
{
  return c->pipe && c->pipe->count > 0;
}

void pg_pipe_dead(cenote_connection *c)
{
  if (c->pipe) {
    c->pipe->dead = true;
  }
}

void pg_pipe_ends(cenote_connection *c)
{
  struct pg_pipe *pipe = c->pipe;
  if (pipe) {
    pipe->ending = !c->wire && pipe->count > 0;
    pipe->dead = pipe->dead || !pipe->ending;
  }
}

/* ------------------------------------------------------------------- entering and leaving */

void pg_pipe_free(cenote_connection *c)
{
  struct pg_pipe *pipe = c->pipe;
  if (pipe) {
    pg_pipe_drop_flights(c);
    pg_pipe_drop_failure(c);
    c->pipe = NULL;
    pg_wire_free(c->wire);
    c->wire = NULL;
    free(pipe->ring);
    free(pipe);
  }
}

/* A pooler in transaction mode hands the session to others between two transactions: what is set
 * there stays with whoever comes next. */
static cenote_status enter_refused(const cenote_connection *c, bool read_only, cenote_error *error)
{
  if (c->fork_count != cen_fork_count) {
    return cenote_error_set(error, CENOTE_FORKED, "the connection belongs to the parent process");
  }
  if (c->pipe || c->state != PG_RESTING || c->request) {
    return cenote_error_set(error, CENOTE_INVALID, "the connection is in the middle of something");
  }
  if (!c->conn || atomic_load(&c->broken) || PQstatus(c->conn) != CONNECTION_OK) {
    return cenote_error_set(error, CENOTE_CONNECTION_LOST, "the connection is broken");
  }
  if (PQtransactionStatus(c->conn) != PQTRANS_IDLE) {
    return cenote_error_set(error, CENOTE_INVALID, "the session is in a transaction");
  }
  bool pooler = c->level == PG_LEVEL_POOLER || atomic_load(&c->shared->level) == PG_LEVEL_POOLER;
  if (read_only && pooler) {
    return cenote_error_set(error, CENOTE_UNSUPPORTED,
                            "a pooler in transaction mode is in between: the session is not ours");
  }
  if (read_only && atomic_load(&c->shared->not_read_only)) {
    return cenote_error_set(error, CENOTE_UNSUPPORTED,
                            "the session cannot be made read-only for us alone");
  }
  return CENOTE_OK;
}

struct pg_pipe *pg_pipe_new(cenote_connection *c)
{
  struct pg_pipe *pipe = calloc(1, sizeof(*pipe));
  struct pg_flight *ring = pipe ? calloc(FIRST_ROOM, sizeof(*ring)) : NULL;
  if (!ring) {
    free(pipe);
    return NULL;
  }
  pipe->owner = c;
  pipe->ring = ring;
  pipe->room = FIRST_ROOM;
  pipe->batch = 1;
  return pipe;
}

static cenote_status pipe_enter(cenote_connection *c, bool read_only, cenote_error *error)
{
  cenote_status status = enter_refused(c, read_only, error);
  if (status != CENOTE_OK) {
    return status;
  }
  struct pg_pipe *pipe = pg_pipe_new(c);
  if (!pipe) {
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory for a pipeline");
  }
  c->wire = pg_wire_new(c);
  if (!c->wire && PQenterPipelineMode(c->conn) != 1) {
    free(pipe->ring);
    free(pipe);
    return cenote_error_set(error, CENOTE_INTERNAL, "libpq refused to pipeline");
  }
  pipe->make_read_only = read_only;
  pipe->tls = PQsslInUse(c->conn) != 0;
  c->pipe = pipe;
  c->dirty = c->dirty || read_only;
  c->flushing = c->more = c->sent = c->cancel_arrived = false;
  c->in_block = c->retry = c->retried = c->copying_out = false;
  pg_pipe_drop_failure(c);
  pthread_mutex_lock(&c->guard);
  c->running = false;
  c->cancelled = false;
  c->fd = PQsocket(c->conn);
  pthread_mutex_unlock(&c->guard);
  return CENOTE_OK;
}

static void pipe_leave(cenote_connection *c)
{
  if (!c->pipe) {
    return;
  }
  /* A cancel that is under way would hit what the session's next holder runs. */
  if (c->pipe->count > 0 || pg_cancel_going_on(c)) {
    atomic_store(&c->broken, true);
  }
  pg_cancel_drop(c);
  pthread_mutex_lock(&c->guard);
  c->running = c->cancelled = c->shielded = false;
  c->fd = -1;
  bool left = c->wire ? pg_wire_leave(c) : PQexitPipelineMode(c->conn) == 1;
  pthread_mutex_unlock(&c->guard);
  if (!left || c->pipe->dead) {
    atomic_store(&c->broken, true);
  }
  pg_pipe_free(c);
  pg_args_trim(c);
  pg_session_idled(c);
}

/* ------------------------------------------------------------------------------ pushing */

static bool make_room(struct pg_pipe *pipe, size_t more)
{
  size_t room = pipe->room;
  while (room < pipe->count + more) {
    room *= 2;
  }
  if (room == pipe->room) {
    return true;
  }
  struct pg_flight *ring = calloc(room, sizeof(*ring));
  for (size_t i = 0; ring && i < pipe->count; i++) {
    ring[i] = *pg_flight_at(pipe, i);
  }
  if (ring) {
    free(pipe->ring);
    pipe->ring = ring;
    pipe->room = room;
    pipe->first = 0;
  }
  return ring != NULL;
}

/* The server has gone. When libpq finds that out it forgets whose the answers are that have come and
 * were not looked at yet. Sending may make it look: so it is not asked to. Without libpq it is known
 * once something could not be sent. */
static bool has_hung_up(const cenote_connection *c)
{
  if (c->wire) {
    return c->wire->unwritable || c->wire->closed;
  }
  struct pollfd end = {.fd = PQsocket(c->conn), .events = POLLRDHUP};
  return poll(&end, 1, 0) > 0;
}

void pg_pipe_sync(cenote_connection *c)
{
  struct pg_pipe *pipe = c->pipe;
  if (pipe->unsynced == 0) {
    return;
  }
  bool sent;
  if (c->wire) {
    sent = pg_wire_sync(c);
  } else {
#ifdef LIBPQ_HAS_SEND_PIPELINE_SYNC
    sent = PQsendPipelineSync(c->conn) == 1; /* wants() flushes, once for many */
    pipe->unflushed = true;
#else
    sent = PQpipelineSync(c->conn) == 1; /* flushes */
    c->flushing = sent && PQflush(c->conn) > 0;
#endif
  }
  pipe->dead = pipe->dead || !sent;
  pipe->unsynced = 0;
  pg_flight_at(pipe, pipe->count - 1)->synced = true;
}

void pg_pipe_sync_all(cenote_connection *c)
{
  if (c->pipe->unsynced > 0 && !c->pipe->dead && !has_hung_up(c)) {
    pthread_mutex_lock(&c->guard);
    pg_pipe_sync(c);
    pthread_mutex_unlock(&c->guard);
  }
}

/* After the commands of a flight: its sync point, unless it shares one. From here on the server may
 * have it. */
static void add_flight(cenote_connection *c, struct pg_flight flight)
{
  struct pg_pipe *pipe = c->pipe;
  *pg_flight_at(pipe, pipe->count++) = flight;
  pipe->unsynced++;
  if (!flight.shares || pipe->unsynced >= pipe->batch) {
    pg_pipe_sync(c);
  }
  if (!pg_flight_is_hidden(&flight)) {
    pipe->visible++;
    c->running = true;
  }
  if (pipe->count == 1) {
    pipe->since_ns = pipe->batch > 1 ? cen_now_ns() : 0;
    pg_pipe_head(c);
  }
}

/* `sql` of a burial without libpq: the statement's name. */
static bool send_hidden(cenote_connection *c, enum flight_kind kind, const char *sql)
{
  const struct pg_flight flight = {.kind = (uint8_t)kind, .commands = 1};
  bool sent;
  if (!c->wire) {
    sent = PQsendQueryParams(c->conn, sql, 0, NULL, NULL, NULL, NULL, 0) == 1;
  } else if (kind == FLIGHT_BURY) {
    sent = pg_wire_close(c, sql);
  } else {
    sent = pg_wire_execute(c, &flight, "", sql, &(struct pg_args){0}, 0);
  }
  if (!sent) {
    return false;
  }
  add_flight(c, flight);
  return true;
}

/* What has to come before a request. Where the backend is not the one that we logged in to, a
 * pooler hands sessions around, and nothing is set: see read_only_answered in answers.c. */
static bool send_before(cenote_connection *c, bool bury)
{
  struct pg_pipe *pipe = c->pipe;
  char sql[320];
  bool sent = true;
  if (pipe->make_read_only) {
    snprintf(sql, sizeof(sql),
             "SELECT pg_catalog.set_config('default_transaction_read_only', 'on', false)%s%s "
             "WHERE pg_catalog.pg_backend_pid() OPERATOR(pg_catalog.=) %d",
             c->wire ? ", pg_catalog.current_setting('extra_float_digits')" : "",
             c->shared->batch > 1 ? ", pg_catalog.current_setting('transaction_isolation')" : "",
             PQbackendPID(c->conn));
    sent = send_hidden(c, FLIGHT_READ_ONLY, sql);
    pipe->make_read_only = false;
  }
  char name[PG_NAME];
  for (int i = 0; bury && sent && i < BURY_AT_ONCE && pg_statements_bury_one(c->statements, name);
       i++) {
    snprintf(sql, sizeof(sql), "DEALLOCATE %s", name);
    sent = send_hidden(c, FLIGHT_BURY, c->wire ? name : sql);
  }
  return sent;
}

static bool copies(const struct pg_statement *statement)
{
  struct cen_scanner scanner;
  struct cen_token token;
  cen_scan_init(&scanner, statement->sql, statement->sql_size, CEN_DIALECT_POSTGRES);
  do {
    (void)cen_scan_next(&scanner, &token);
  } while (token.kind == CEN_TOKEN_SPACE || token.kind == CEN_TOKEN_COMMENT);
  return cen_token_is(&token, "copy");
}

/* What would not end with its own sync point. */
static cenote_status refuse(const struct pg_statement *statement, cenote_error *error)
{
  switch (statement->verb) {
  case CEN_VERB_BEGIN:
  case CEN_VERB_COMMIT:
  case CEN_VERB_ROLLBACK:
  case CEN_VERB_SAVEPOINT:
    return cenote_error_set(error, CENOTE_UNSUPPORTED, "a transaction cannot be pipelined");
  case CEN_VERB_UNKNOWN:
    return copies(statement)
               ? cenote_error_set(error, CENOTE_UNSUPPORTED, "COPY cannot be pipelined")
               : CENOTE_OK;
  default:
    return CENOTE_OK;
  }
}

/* Decides between prepared, preparing and plain, and hands all of it to libpq. */
static bool send_execute(cenote_connection *c, struct pg_statement *statement,
                         const cenote_request *request, const struct pg_args *args, bool shares)
{
  bool exact;
  int count = (int)request->count;
  uint64_t mask = pg_args_blobs(request, &exact);
  struct pg_flight flight = {.statement = statement,
                             .sink = request->sink,
                             .flags = request->flags,
                             .kind = FLIGHT_EXECUTE,
                             .commands = 1,
                             .shares = shares};
  flight.prepared =
      statement->prepared && c->level != PG_LEVEL_POOLER && exact && mask == statement->blob_mask;
  flight.prepares = !statement->prepared && exact && pg_should_prepare(c, statement);
  const char *name = pg_statement_name(c->statements, statement);
  flight.number = statement->number;
  flight.binary = c->wire ? pg_wire_binary(c, &flight) : 0;
  bool sent;
  const char *sql = pg_statement_text(statement);
  if (flight.prepares) {
    flight.commands = 2;
  }
  if (c->wire) {
    sent = pg_wire_execute(c, &flight, name, sql, args, request->count);
  } else {
    sent = !flight.prepares || PQsendPrepare(c->conn, name, sql, count, args->types) == 1;
    sent = sent && (flight.prepares || flight.prepared
                        ? PQsendQueryPrepared(c->conn, name, count, args->values, args->lengths,
                                              args->formats, 0)
                        : PQsendQueryParams(c->conn, sql, count, args->types, args->values,
                                            args->lengths, args->formats, 0)) == 1;
  }
  if (sent) {
    statement->prepared = statement->prepared || flight.prepares;
    statement->blob_mask = flight.prepares ? mask : statement->blob_mask;
    statement->told = flight.prepares ? 0 : statement->told;
    statement->pins++;
    add_flight(c, flight);
  }
  return sent;
}

/* Half a request may be in libpq's buffer. Without its sync nothing of it lasts. */
static cenote_status give_up(cenote_connection *c, cenote_error *error)
{
  /* What has come from a server that has gone is still read; then the end is. */
  c->pipe->dead = c->pipe->dead || c->pipe->count == 0 || !has_hung_up(c);
  atomic_store(&c->broken, true);
  pg_lost_words(c, CENOTE_CONNECTION_LOST, error);
  return CENOTE_CONNECTION_LOST;
}

/* A session that rested may have died meanwhile. With nothing in flight a look at the socket tells;
 * it is saved where an answer just came, unless the request writes: then it is worth its cost. */
static bool is_there(cenote_connection *c, bool writes)
{
  struct pg_pipe *pipe = c->pipe;
  if (pipe->dead || pipe->ending || atomic_load(&c->aborted) ||
      PQstatus(c->conn) != CONNECTION_OK) {
    return false;
  }
  if (pipe->count > 0) {
    return !has_hung_up(c);
  }
  if (!writes && cen_now_ns() - pipe->answered_ns < FRESH_NS) {
    return true;
  }
  return (c->wire ? pg_wire_still_there(c) : pg_still_there(c)) && !pipe->dead;
}

cenote_status pg_pipe_push(cenote_connection *c, const cenote_request *request,
                           struct pg_statement *statement, cenote_error *error)
{
  struct pg_pipe *pipe = c->pipe;
  struct pg_args args;
  cenote_status status = refuse(statement, error);
  if (status == CENOTE_OK &&
      !(make_room(pipe, 2 + BURY_AT_ONCE) && pg_args_build(c, request, &args) &&
        (!c->wire || pg_wire_reserve(c, statement, &args, request->count)))) {
    status = cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory for the arguments");
  }
  if (status == CENOTE_OK && !is_there(c, statement->verb != CEN_VERB_READ)) {
    status = give_up(c, error);
  }
  if (status == CENOTE_OK) {
    bool bury = c->statements->dead_count >= BURY_FROM && !statement->prepared;
    bool shares = pipe->batch > 1 && pg_batch_takes(c, statement, request->flags);
    pthread_mutex_lock(&c->guard);
    if (!shares) {
      pg_pipe_sync(c); /* of those in front of it */
    }
    bool sent = send_before(c, bury) && send_execute(c, statement, request, &args, shares);
    pthread_mutex_unlock(&c->guard);
    c->dirty = c->dirty || statement->may_dirty;
    if (!sent) {
      status = give_up(c, error);
    }
  }
  pg_args_trim(c);
  return status;
}

static cenote_status push_execute(cenote_connection *c, const cenote_request *request,
                                  cenote_error *error)
{
  struct pg_statement *statement = NULL;
  cenote_status status = pg_statement_for(c, request, &statement, error);
  if (status == CENOTE_OK) {
    status = pg_pipe_push(c, request, statement, error);
  }
  if (status != CENOTE_OK) {
    pg_statement_done(statement);
  }
  return status;
}

/* The cheapest round trip there is: a sync point alone. */
static cenote_status push_check(cenote_connection *c, cenote_error *error)
{
  if (!make_room(c->pipe, 2 + BURY_AT_ONCE) || (c->wire && !pg_wire_reserve(c, NULL, NULL, 0))) {
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory for a check");
  }
  if (!is_there(c, true)) {
    return give_up(c, error);
  }
  pthread_mutex_lock(&c->guard);
  pg_pipe_sync(c);
  bool sent = send_before(c, c->statements && c->statements->dead_count > 0);
  if (sent) {
    add_flight(c, (struct pg_flight){.kind = FLIGHT_CHECK});
  }
  pthread_mutex_unlock(&c->guard);
  return sent ? CENOTE_OK : give_up(c, error);
}

static cenote_status pipe_push(cenote_connection *c, const cenote_request *request,
                               cenote_error *error)
{
  if (!c->pipe) {
    return cenote_error_set(error, CENOTE_INVALID, "the connection does not pipeline");
  }
  if (c->fork_count != cen_fork_count) {
    return cenote_error_set(error, CENOTE_FORKED, "the connection belongs to the parent process");
  }
  switch (request->kind) {
  case CENOTE_REQUEST_EXECUTE:
    return push_execute(c, request, error);
  case CENOTE_REQUEST_CHECK:
    return push_check(c, error);
  default:
    return cenote_error_set(error, CENOTE_UNSUPPORTED, "this request cannot be pipelined");
  }
}

/* -------------------------------------------------------------------------- waiting */

static void pipe_wants(const cenote_connection *c, cenote_wants *wants)
{
  struct pg_pipe *pipe = c->pipe;
  *wants = (cenote_wants){.fd = -1, .deadline_ns = CEN_NEVER};
  if (!pipe) {
    return;
  }
  pg_pipe_sync_all(pipe->owner);
  wants->together = pipe->count > 0 && !pg_flight_at(pipe, 0)->synced;
  if (c->wire) {
    pg_wire_wants(pipe->owner, wants);
    return;
  }
  if (pipe->unflushed && !pipe->dead && !has_hung_up(c)) {
    cenote_connection *mine = pipe->owner;
    pthread_mutex_lock(&mine->guard);
    mine->flushing = PQflush(mine->conn) > 0;
    pthread_mutex_unlock(&mine->guard);
    pipe->unflushed = false;
  }
  wants->fd = PQsocket(c->conn);
  wants->events = (short)(POLLIN | (c->flushing ? POLLOUT : 0));
  if (c->more || pipe->dead || wants->fd < 0 || pg_pipe_pending(c)) {
    wants->deadline_ns = 0;
  }
}

static bool pipe_cancelling(const cenote_connection *c, int *done_fd)
{
  bool going_on = c->pipe && pg_cancel_going_on(c->pipe->owner);
  *done_fd = going_on ? pg_cancel_fd(c) : -1;
  return going_on;
}

const cenote_pipelining cen_postgres_pipelining = {
    .size = sizeof(cenote_pipelining),
    .enter = pipe_enter,
    .push = pipe_push,
    .wants = pipe_wants,
    .read = pg_pipe_read,
    .cancelling = pipe_cancelling,
    .leave = pipe_leave,
};
