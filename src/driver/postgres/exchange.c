/*
 * exchange.c - one command to the server and back. libpq is asked under the guard, since it may
 * close the socket that abort() would shut; rows are handed on outside it.
 */
#include "base/error.h"
#include "driver/postgres/postgres.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

void pg_set_fd(cenote_connection *c, int fd)
{
  pthread_mutex_lock(&c->guard);
  c->fd = fd;
  pthread_mutex_unlock(&c->guard);
}

/* ---------------------------------------------------------------------------- lost */

/* What is surely not done may be tried again; what may be done, not. A read may hide a write (a
 * view that calls a function): whoever reads is told CONNECTION_LOST, and session() says that it
 * was sent. */
cenote_status pg_lost_status(cenote_connection *c)
{
  if (!c->sent) {
    return CENOTE_CONNECTION_LOST;
  }
  if (c->request->kind == CENOTE_REQUEST_COMMIT) {
    return CENOTE_OUTCOME_UNKNOWN;
  }
  const struct pg_statement *statement = c->statement;
  if (!statement || c->request->kind != CENOTE_REQUEST_EXECUTE) {
    return CENOTE_CONNECTION_LOST;
  }
  switch (statement->verb) {
  case CEN_VERB_BEGIN:
  case CEN_VERB_ROLLBACK:
  case CEN_VERB_SAVEPOINT:
    return CENOTE_CONNECTION_LOST;
  case CEN_VERB_UNKNOWN: /* a procedure may commit by itself */
  case CEN_VERB_COMMIT:
    return CENOTE_OUTCOME_UNKNOWN;
  case CEN_VERB_READ:
    if (!statement->may_dirty && !statement->has_effect) {
      c->unsure = !c->in_block;
      return CENOTE_CONNECTION_LOST;
    }
    break; /* a function may write */
  default:
    break;
  }
  /* What is still inside a transaction, the server rolls back. */
  return c->in_block ? CENOTE_CONNECTION_LOST : CENOTE_OUTCOME_UNKNOWN;
}

void pg_lost_words(cenote_connection *c, cenote_status status, cenote_error *error)
{
  char said[300];
  /* Where libpq did not see the end, its words are of a statement before, which may have been somebody
   * else's. */
  const bool seen = c->conn && !c->wire && PQstatus(c->conn) != CONNECTION_OK;
  const char *words = c->goodbye[0] ? c->goodbye : seen ? PQerrorMessage(c->conn) : "";
  pg_tidy_message(words, said, sizeof(said));
  (void)cenote_error_set(error, status, "%s%s%s", cenote_status_text(status), said[0] ? ": " : "",
                         said);
  cen_error_sqlstate(error, c->goodbye_state);
}

cenote_step pg_lost(cenote_connection *c, cenote_error *error)
{
  atomic_store(&c->broken, true);
  cenote_status status = pg_lost_status(c);
  cenote_error *failure = pg_failure(c, status);
  if (failure) {
    pg_lost_words(c, status, failure);
  }
  return pg_finish(c, error);
}

/* One look at the socket: 0.2 µs that tell a session which died while it rested from one that
 * dies under a statement. */
bool pg_still_there(cenote_connection *c)
{
  for (int looks = 0; looks < 3; looks++) {
    char byte;
    ssize_t got = recv(PQsocket(c->conn), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (got < 0) {
      return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
    }
    if (got == 0) {
      return false;
    }
    /* Notifications, changed settings, or the server's goodbye. */
    pthread_mutex_lock(&c->guard);
    bool read = PQconsumeInput(c->conn) == 1;
    (void)PQisBusy(c->conn);
    pthread_mutex_unlock(&c->guard);
    if (!read || atomic_load(&c->broken) || PQstatus(c->conn) != CONNECTION_OK) {
      return false;
    }
  }
  return true;
}

/* --------------------------------------------------------------------------- sending */

static bool flush(cenote_connection *c)
{
  pthread_mutex_lock(&c->guard);
  int left = PQflush(c->conn);
  pthread_mutex_unlock(&c->guard);
  c->flushing = left > 0;
  if (left == 0 && (c->state == PG_RUNNING || c->state == PG_COMMANDING)) {
    c->sent = true;
  }
  return left >= 0;
}

cenote_step pg_sent(cenote_connection *c, int ok, enum pg_state state, cenote_error *error)
{
  c->state = state;
  if (ok && flush(c)) {
    return CENOTE_STEP_AGAIN;
  }
  if (PQstatus(c->conn) != CONNECTION_OK) {
    return pg_lost(c, error);
  }
  char said[300];
  pg_tidy_message(PQerrorMessage(c->conn), said, sizeof(said));
  atomic_store(&c->broken, true); /* half a message may be on its way */
  pg_fail(c, CENOTE_INTERNAL, "the statement could not be sent: %s", said);
  return pg_finish(c, error);
}

cenote_step pg_send_command(cenote_connection *c, const char *sql, enum pg_state state,
                            cenote_error *error)
{
  pthread_mutex_lock(&c->guard);
  int ok = PQsendQuery(c->conn, sql);
  pthread_mutex_unlock(&c->guard);
  return pg_sent(c, ok, state, error);
}

/* --------------------------------------------------------------------------- results */

/* COPY needs the bytes of a stream that a statement does not have: it is ended at once. */
static void refuse_copy(cenote_connection *c, ExecStatusType status)
{
  pg_fail(c, CENOTE_UNSUPPORTED,
          "COPY from or to the client is not supported; use INSERT or SELECT, or libpq's own calls "
          "on the lease's resource");
  if (status == PGRES_COPY_IN) {
    pthread_mutex_lock(&c->guard);
    (void)PQputCopyEnd(c->conn, "not supported by this client");
    pthread_mutex_unlock(&c->guard);
    c->flushing = true;
    return;
  }
  if (status == PGRES_COPY_OUT) {
    c->copying_out = true;
    pg_cancel(c);
    return;
  }
  atomic_store(&c->broken, true); /* replication has no way back */
}

/* false: more of it will come. */
static bool drain_copy(cenote_connection *c)
{
  for (;;) {
    char *bytes = NULL;
    pthread_mutex_lock(&c->guard);
    int got = PQgetCopyData(c->conn, &bytes, 1);
    pthread_mutex_unlock(&c->guard);
    PQfreemem(bytes);
    if (got == 0) {
      return false;
    }
    if (got < 0) {
      c->copying_out = false;
      return true;
    }
  }
}

/* A native statement with another number of arguments than it has parameters: the session has lost
 * nothing by it. */
static bool is_about_arguments(const struct pg_said *said)
{
  return strcmp(pg_said(said, PG_DIAG_SQLSTATE), "08P01") == 0 &&
         strcmp(pg_said(said, PG_DIAG_SEVERITY_NONLOCALIZED), "ERROR") == 0 &&
         strcmp(pg_said(said, PG_DIAG_SOURCE_FUNCTION), "exec_bind_message") == 0;
}

bool pg_on_standby(const cenote_connection *c)
{
  const char *standby = PQparameterStatus(c->conn, "in_hot_standby");
  return !c->promoted && standby && strcmp(standby, "on") == 0;
}

void pg_note_error(cenote_connection *c, const struct pg_said *said)
{
  const char *severity = pg_said(said, PG_DIAG_SEVERITY_NONLOCALIZED);
  const char *sqlstate = pg_said(said, PG_DIAG_SQLSTATE);
  if (!*sqlstate) {
    return; /* libpq's own; the connection's status tells */
  }
  if (pg_error_poisons(sqlstate, severity) && !is_about_arguments(said)) {
    atomic_store(&c->broken, true);
    if (severity[0] != 'E') { /* FATAL, PANIC: this session is over */
      cenote_error *failure = pg_failure(c, c->pipe ? CENOTE_CONNECTION_LOST : pg_lost_status(c));
      if (failure) {
        pg_error_said(said, c->failed, failure);
      }
    }
  }
  /* The primary became a standby: what asked for a primary must look for the new one. */
  const char *wanted = pg_shared_value(c->shared, "target_session_attrs");
  if (strcmp(sqlstate, "25006") == 0 && pg_on_standby(c) && wanted &&
      (strcmp(wanted, "read-write") == 0 || strcmp(wanted, "primary") == 0)) {
    atomic_store(&c->broken, true);
  }
}

static void prepare_result(cenote_connection *c, const PGresult *result)
{
  if (PQresultStatus(result) == PGRES_COMMAND_OK) {
    c->statement->prepared = true;
    return;
  }
  pg_execute_error(c, result);
}

static void dispatch(cenote_connection *c, PGresult *result)
{
  ExecStatusType status = PQresultStatus(result);
  if (status == PGRES_COPY_IN || status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH) {
    refuse_copy(c, status);
    return;
  }
  if (status == PGRES_FATAL_ERROR) {
    pg_note_error(c, &(struct pg_said){.result = result});
    if (PQstatus(c->conn) != CONNECTION_OK && !*pg_field(result, PG_DIAG_SQLSTATE)) {
      return; /* libpq's words for a lost connection; pg_lost has them too */
    }
  }
  switch (c->state) {
  case PG_PREPARING:
    prepare_result(c, result);
    break;
  case PG_RUNNING:
    pg_execute_result(c, result);
    break;
  case PG_COMMANDING:
    pg_session_result(c, result);
    break;
  case PG_PROBING:
    pg_open_probed(c, result);
    break;
  default: /* what could not be deallocated is gone already */
    break;
  }
}

static cenote_step idle(cenote_connection *c, cenote_error *error)
{
  if (PQstatus(c->conn) != CONNECTION_OK) {
    return pg_lost(c, error);
  }
  PGnotify *notify;
  while ((notify = PQnotifies(c->conn)) != NULL) {
    PQfreemem(notify); /* nobody to tell */
  }
  return c->request->kind == CENOTE_REQUEST_EXECUTE ? pg_execute_idle(c, error)
                                                    : pg_session_idle(c, error);
}

static cenote_step read_results(cenote_connection *c, cenote_error *error)
{
  for (int count = 0; count < PG_ROWS_A_STEP; count++) {
    if (c->copying_out && !drain_copy(c)) {
      return PQstatus(c->conn) == CONNECTION_OK ? CENOTE_STEP_AGAIN : pg_lost(c, error);
    }
    pthread_mutex_lock(&c->guard);
    bool busy = PQisBusy(c->conn);
    PGresult *result = busy ? NULL : PQgetResult(c->conn);
    pthread_mutex_unlock(&c->guard);
    if (busy) {
      return PQstatus(c->conn) == CONNECTION_OK ? CENOTE_STEP_AGAIN : pg_lost(c, error);
    }
    if (!result) {
      return idle(c, error);
    }
    dispatch(c, result);
    PQclear(result);
    if (c->flushing && !flush(c)) {
      return pg_lost(c, error);
    }
    if (PQstatus(c->conn) != CONNECTION_OK && c->copying_out) {
      return pg_lost(c, error);
    }
  }
  c->more = true;
  return CENOTE_STEP_AGAIN;
}

cenote_step pg_exchange_advance(cenote_connection *c, short revents, cenote_error *error)
{
  if (atomic_load(&c->aborted)) {
    return pg_lost(c, error);
  }
  if (c->flushing && !flush(c)) {
    return pg_lost(c, error);
  }
  bool was_more = c->more;
  c->more = false;
  if (revents & (POLLIN | POLLHUP | POLLERR)) {
    pthread_mutex_lock(&c->guard);
    (void)PQconsumeInput(c->conn); /* what failed shows in the status, after what did arrive */
    pthread_mutex_unlock(&c->guard);
  } else if (!was_more) {
    return CENOTE_STEP_AGAIN;
  }
  return read_results(c, error);
}
