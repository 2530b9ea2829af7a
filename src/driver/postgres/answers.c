/* answers.c - what comes back while requests are in flight: whose it is, and what it means. */
#include "base/error.h"
#include "driver/postgres/wire.h"
#include "net/clock.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  REFUSED_MOST = 1 << 12
}; /* uses of a statement that could not be prepared, until the next try */

/* ---------------------------------------------------------------------- the oldest flight */

void pg_pipe_drop_failure(cenote_connection *c)
{
  free(c->failure);
  c->failure = NULL;
  c->failed = CENOTE_OK;
}

void pg_pipe_drop_flights(cenote_connection *c)
{
  struct pg_pipe *pipe = c->pipe;
  for (; pipe->count > 0; pipe->count--) {
    pg_statement_unpin(pg_flight_at(pipe, 0)->statement);
    pipe->first++;
  }
  pipe->visible = 0;
  c->statement = NULL;
  c->request = NULL;
}

/* libpq takes the single-row mode only now, when the query is its current one and nothing of its
 * answer was looked at. */
void pg_pipe_head(cenote_connection *c)
{
  struct pg_pipe *pipe = c->pipe;
  const struct pg_flight *head = pg_flight_at(pipe, 0);
  pipe->ended = 0;
  pipe->nulls = 0;
  pipe->told_enough = pipe->is_read_only = false;
  pipe->request = (cenote_request){.size = sizeof(pipe->request),
                                   .kind = CENOTE_REQUEST_EXECUTE,
                                   .flags = head->flags,
                                   .sink = head->sink};
  c->request = &pipe->request;
  c->statement = head->statement;
  c->columns_told = c->retry = false;
  c->use_prepared = head->prepared;
  pg_cancel_shield(c, pg_flight_is_hidden(head));
  if (c->wire) {
    pg_wire_head(c->wire, head);
  } else if (head->commands == 1) {
    (void)PQsetSingleRowMode(c->conn);
  }
}

/* ---------------------------------------------------------------------------- what came */

cenote_answer pg_pipe_lose(cenote_connection *c, cenote_error *error)
{
  struct pg_pipe *pipe = c->pipe;
  pipe->dead = true;
  atomic_store(&c->broken, true);
  if (pipe->fatal && c->failure) {
    cen_error_copy(error, c->failure);
    if (error) {
      error->status = CENOTE_CONNECTION_LOST;
      error->retryable = cen_status_retryable(CENOTE_CONNECTION_LOST);
    }
    pg_tidy_message(c->failure->message, c->goodbye, sizeof(c->goodbye)); /* for those to come */
    snprintf(c->goodbye_state, sizeof(c->goodbye_state), "%s", c->failure->sqlstate);
  } else {
    pg_lost_words(c, CENOTE_CONNECTION_LOST, error);
  }
  pg_pipe_drop_failure(c);
  pg_pipe_drop_flights(c);
  pthread_mutex_lock(&c->guard);
  c->running = c->cancelled = c->shielded = false;
  pthread_mutex_unlock(&c->guard);
  pg_cancel_drop(c);
  return CENOTE_ANSWER_LOST;
}

/* libpq and we no longer agree on which answer is whose: nothing can be trusted. */
void pg_pipe_lose_sync(cenote_connection *c, const char *what)
{
  c->pipe->dead = true;
  if (!c->goodbye[0]) {
    snprintf(c->goodbye, sizeof(c->goodbye), "%s", what);
    snprintf(c->goodbye_state, sizeof(c->goodbye_state), "08P01");
  }
}

/* The prepared form is of no use any more; whoever comes first here has it prepared anew. */
static void forget_plan(cenote_connection *c, const struct pg_flight *head, bool on_server)
{
  struct pg_statement *statement = head->statement;
  if (statement->prepared && statement->number == head->number && !statement->dead) {
    pg_statement_unprepare(c->statements, statement, on_server);
    if (!on_server && !head->prepares) {
      pg_vanished(c);
    }
  }
}

/* It was not run, or what it read with others came to nothing. */
void pg_pipe_passed_over(cenote_connection *c)
{
  cenote_error *failure = pg_failure(c, CENOTE_DATABASE);
  (void)cenote_error_set(failure, CENOTE_DATABASE, "another statement of its batch failed");
  cen_error_sqlstate(failure, "25P02");
  snprintf(c->failed_state, sizeof(c->failed_state), "25P02");
  c->retry = true;
}

/* PostgreSQL says that a plan is stale before it looks at the formats. A pooler that prepares it anew
 * by itself hides that: then there are more columns, or fewer, than formats. */
static bool is_misbound(const cenote_connection *c, const struct pg_flight *head,
                        const struct pg_said *said)
{
  return head->binary && !c->columns_told &&
         strcmp(pg_said(said, PG_DIAG_SQLSTATE), "08P01") == 0 &&
         strcmp(pg_said(said, PG_DIAG_SOURCE_FUNCTION), "PortalSetResultFormat") == 0;
}

static void run_failed(cenote_connection *c, const struct pg_said *said)
{
  struct pg_pipe *pipe = c->pipe;
  const struct pg_flight *head = pg_flight_at(pipe, 0);
  pg_batch_failed(pipe);
  if (head->shares && pipe->ended >= head->commands) { /* at the sync point: whose fault is it? */
    pg_pipe_passed_over(c);
    return;
  }
  if (head->prepares && pipe->ended == 0) {
    struct pg_statement *statement = head->statement;
    statement->refused = statement->refused * 8 + 14;
    statement->refused = statement->refused < REFUSED_MOST ? statement->refused : REFUSED_MOST;
    statement->uses = 0;
    forget_plan(c, head, false);
  } else if (pg_is_stale(c, said) || is_misbound(c, head, said)) {
    forget_plan(c, head, strcmp(pg_said(said, PG_DIAG_SQLSTATE), "26000") != 0);
    c->retry = true;
  }
  pg_execute_said(c, said);
}

void pg_pipe_error(cenote_connection *c, const struct pg_said *said)
{
  struct pg_pipe *pipe = c->pipe;
  const char *sqlstate = pg_said(said, PG_DIAG_SQLSTATE);
  const char *severity = pg_said(said, PG_DIAG_SEVERITY_NONLOCALIZED);
  if (!*sqlstate && PQstatus(c->conn) != CONNECTION_OK) {
    pipe->dead = true; /* libpq's words for a lost connection */
    return;
  }
  if (*sqlstate && severity[0] != 'E') { /* FATAL, PANIC: whatever it was about, all is over */
    pg_pipe_drop_failure(c);
    pipe->dead = pipe->fatal = true;
  }
  pg_note_error(c, said);
  if (!pipe->dead) {
    run_failed(c, said);
  }
}

static void note_read_only(struct pg_pipe *pipe, const PGresult *result)
{
  if (PQntuples(result) > 0) {
    pipe->is_read_only = true;
    pipe->may_batch =
        PQnfields(result) > 1 && strcmp(PQgetvalue(result, 0, 1), "serializable") != 0;
  }
}

static void got_result(cenote_connection *c, PGresult *result)
{
  struct pg_pipe *pipe = c->pipe;
  const struct pg_flight *head = pg_flight_at(pipe, 0);
  switch (PQresultStatus(result)) {
  case PGRES_FATAL_ERROR:
    pg_pipe_error(c, &(struct pg_said){.result = result});
    break;
  case PGRES_PIPELINE_ABORTED:
    if (c->failed != CENOTE_OK) {
      break; /* its own preparation */
    }
    if (head->shares) {
      pg_pipe_passed_over(c);
    } else {
      pg_pipe_lose_sync(c, "the server did not run what it was sent");
    }
    break;
  case PGRES_COPY_IN:
  case PGRES_COPY_OUT:
  case PGRES_COPY_BOTH:
    pg_pipe_lose_sync(c, "COPY cannot be pipelined");
    break;
  default:
    if (head->kind == FLIGHT_READ_ONLY) {
      note_read_only(pipe, result);
    } else if (head->kind == FLIGHT_EXECUTE && !(head->prepares && pipe->ended == 0)) {
      pg_execute_result(c, result);
    }
    break;
  }
}

/* The results of one command are all read. */
static void command_ended(cenote_connection *c)
{
  struct pg_pipe *pipe = c->pipe;
  pipe->ended++;
  if (pipe->nulls++ > 0 || pipe->count == 0) {
    pg_pipe_lose_sync(c, "the connection is out of step with the server");
  } else if (pg_flight_at(pipe, 0)->prepares && pipe->ended == 1) {
    (void)PQsetSingleRowMode(c->conn);
  } else {
    const struct pg_flight *head = pg_flight_at(pipe, 0);
    pipe->over = !head->synced && pipe->ended == head->commands;
  }
}

static void read_only_answered(cenote_connection *c)
{
  if (c->failed) {
    c->pipe->fatal = c->pipe->dead = true;
    return;
  }
  if (!c->pipe->is_read_only && !atomic_exchange(&c->shared->not_read_only, true)) {
    pg_log(c, CENOTE_LOG_INFO,
           "something stands between us and PostgreSQL's sessions: no session is made read-only");
  }
  if (!c->pipe->is_read_only) {
    pg_pipe_lose_sync(c, "the session is not the one that we logged in to");
  } else if (c->pipe->may_batch) {
    c->pipe->batch = c->shared->batch;
  }
}

/* The sync's answer, or one of a batch has ended: the oldest flight is over. NONE: it was a hidden
 * one. */
cenote_answer pg_pipe_head_ended(cenote_connection *c, cenote_error *error)
{
  struct pg_pipe *pipe = c->pipe;
  struct pg_flight head = *pg_flight_at(pipe, 0);
  cenote_answer answer = CENOTE_ANSWER_DONE;
  if (pipe->ended < head.commands) {
    pg_pipe_lose_sync(c, "an answer of the server is missing");
  } else if (head.kind == FLIGHT_READ_ONLY) {
    read_only_answered(c);
  }
  if (pipe->dead) {
    return pg_pipe_lose(c, error);
  }
  if (c->failed && !pg_flight_is_hidden(&head)) {
    answer = c->retry ? CENOTE_ANSWER_REPEAT : CENOTE_ANSWER_FAILED;
    pg_tell_failure(c, c->failed, c->failure, error);
  }
  pg_pipe_drop_failure(c);
  if (pipe->batch > 1) {
    pg_batch_judge(pipe);
  }
  c->statement = NULL;
  c->request = NULL;
  pipe->first++;
  pipe->count--;
  pthread_mutex_lock(&c->guard);
  if (!pg_flight_is_hidden(&head)) { /* a cancel is meant for the first that is not hidden */
    pipe->visible--;
    const bool again = answer == CENOTE_ANSWER_REPEAT && c->state == PG_ALONE;
    c->running = pipe->visible > 0 || again; /* alone.c repeats it: a cancel must find it */
    pg_cancel_over(c);
  }
  if (pipe->count > 0) {
    pg_pipe_head(c);
  }
  pthread_mutex_unlock(&c->guard);
  pg_statement_unpin(head.statement);
  return pg_flight_is_hidden(&head) ? CENOTE_ANSWER_NONE : answer;
}

static bool enough(cenote_connection *c)
{
  struct pg_pipe *pipe = c->pipe;
  const struct pg_flight *head = pg_flight_at(pipe, 0);
  return !pipe->told_enough && head->kind == FLIGHT_EXECUTE;
}

/* The next result that tells something. NULL: nothing more now, or the connection is dead. */
static PGresult *next_result(cenote_connection *c)
{
  struct pg_pipe *pipe = c->pipe;
  PGresult *result = NULL;
  pthread_mutex_lock(&c->guard);
  /* Asked also with nothing in flight: it is what finds the server's goodbye. */
  while (!pipe->dead && !pipe->over && PQisBusy(c->conn) == 0 && pipe->count > 0) {
    result = PQgetResult(c->conn);
    if (result) {
      pipe->nulls = 0;
      break;
    }
    command_ended(c);
  }
  pthread_mutex_unlock(&c->guard);
  return result;
}

static cenote_answer read_results(cenote_connection *c, cenote_error *error)
{
  struct pg_pipe *pipe = c->pipe;
  PGresult *result;
  int rows = 0;
  while ((result = next_result(c)) != NULL || pipe->over) {
    if (pipe->over) { /* never a hidden one */
      pipe->over = false;
      return pg_pipe_head_ended(c, error);
    }
    ExecStatusType status = PQresultStatus(result);
    bool was_fine = c->failed == CENOTE_OK;
    if (status != PGRES_PIPELINE_SYNC) {
      got_result(c, result);
    } else if (!pg_flight_at(pipe, 0)->synced) {
      pg_pipe_lose_sync(c, "an answer of the server is missing");
    }
    PQclear(result);
    if (pipe->dead) {
      break;
    }
    if (status == PGRES_PIPELINE_SYNC) {
      cenote_answer answer = pg_pipe_head_ended(c, error);
      if (answer != CENOTE_ANSWER_NONE) {
        return answer;
      }
    } else if (was_fine && c->failed && !c->retry && status != PGRES_FATAL_ERROR && enough(c)) {
      pipe->told_enough = true;
      return CENOTE_ANSWER_ENOUGH;
    } else if (status == PGRES_SINGLE_TUPLE && ++rows >= PG_ROWS_A_STEP) {
      c->more = true; /* others get their turn on the same thread */
      return CENOTE_ANSWER_NONE;
    }
  }
  bool gone = pipe->dead || pipe->ending || PQstatus(c->conn) != CONNECTION_OK;
  return gone ? pg_pipe_lose(c, error) : CENOTE_ANSWER_NONE;
}

bool pg_pipe_pending(const cenote_connection *c)
{
  SSL *tls = c->pipe->tls ? PQsslStruct(c->conn, "OpenSSL") : NULL;
  return tls && SSL_pending(tls) > 0;
}

/* When libpq reads the end of the connection, it forgets whose the answers are that it has read before
 * and was not asked for: they are answered first, whatever else was seen on the descriptor meanwhile. */
static void take_in(cenote_connection *c)
{
  struct pg_pipe *pipe = c->pipe;
  const bool some = (pipe->revents & (POLLIN | POLLHUP | POLLERR)) != 0 || pg_pipe_pending(c);
  pthread_mutex_lock(&c->guard);
  if (some) {
    /* What failed shows in the status, after what did arrive. */
    (void)PQconsumeInput(c->conn);
    pipe->answered_ns = cen_now_ns();
  }
  if (c->flushing) {
    c->flushing = PQflush(c->conn) > 0;
  }
  pthread_mutex_unlock(&c->guard);
  pipe->revents = 0;
}

cenote_answer pg_pipe_read(cenote_connection *c, short revents, cenote_error *error)
{
  struct pg_pipe *pipe = c->pipe;
  if (!pipe) {
    (void)cenote_error_set(error, CENOTE_INVALID, "the connection does not pipeline");
    return CENOTE_ANSWER_LOST;
  }
  if (pipe->dead || atomic_load(&c->aborted)) {
    return pg_pipe_lose(c, error);
  }
  if (c->wire) {
    return pg_wire_read(c, revents, error);
  }
  c->more = false;
  pg_pipe_sync_all(c);
  pipe->revents = (short)(pipe->revents | revents);
  cenote_answer answer = read_results(c, error);
  if (answer == CENOTE_ANSWER_NONE && !c->more && (pipe->revents || pg_pipe_pending(c))) {
    take_in(c);
    answer = read_results(c, error);
  }
  if (answer == CENOTE_ANSWER_NONE && pipe->count == 0) {
    PGnotify *notify;
    while ((notify = PQnotifies(c->conn)) != NULL) {
      PQfreemem(notify); /* nobody to tell */
    }
  }
  return answer;
}
