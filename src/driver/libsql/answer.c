/*
 * answer.c - what came back, or did not.
 *
 * The question behind every failure is what remains of the request. Nothing, where it never left
 * whole, where it only read, where it was part of a transaction that went with its stream; otherwise nobody
 * knows, and CENOTE_OUTCOME_UNKNOWN says so.
 */
#include "driver/libsql/libsql.h"

#include "base/error.h"
#include "base/text.h"
#include "wire/hrana.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---------------------------------------------------------------- the stream */

void ls_stream_drop(cenote_connection *c)
{
  free(c->baton);
  free(c->base);
  c->baton = c->base = NULL;
}

void ls_stream_lose(cenote_connection *c, bool cancelled)
{
  ls_stream_drop(c);
  if (c->in_transaction) {
    c->failed = true;
  }
  c->broken = c->broken || c->holds != 0 || (c->in_transaction && !cancelled);
}

static bool base_is_fine(const cenote_connection *c, const char *base)
{
  struct cen_http_place from;
  struct cen_http_place to;
  return cen_http_place_read(c->shared->url.base, &from) && cen_http_place_read(base, &to) &&
         strpbrk(base, "?#") == NULL && (to.secure || !from.secure || c->shared->insecure);
}

static char *base_copy(const char *base)
{
  size_t size = strlen(base);
  while (size > 0 && base[size - 1] == '/') {
    size--;
  }
  return cen_text_copy_n(base, size);
}

cenote_status ls_stream_note(cenote_connection *c, const char *baton, const char *base,
                             cenote_error *error)
{
  char *next = cen_text_copy(baton);
  if (baton == NULL) {
    ls_stream_drop(c);
    return CENOTE_OK;
  }
  char *moved = next != NULL && base != NULL ? base_copy(base) : NULL;
  const bool fine = base == NULL || base_is_fine(c, base);
  if (next == NULL || (base != NULL && moved == NULL) || !fine) {
    free(next);
    free(moved);
    ls_stream_lose(c, false);
    return fine ? cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory for an answer")
                : cenote_error_set(error, CENOTE_IO,
                                   "the server names a base_url that is none, or is not encrypted");
  }
  free(c->baton);
  c->baton = next;
  if (moved != NULL) {
    free(c->base);
    c->base = moved;
  }
  return CENOTE_OK;
}

/* ---------------------------------------------------------------- failures */

bool ls_may_write(const cenote_connection *c)
{
  const cenote_request *request = c->request;
  if (request->kind == CENOTE_REQUEST_COMMIT) {
    return true;
  }
  const enum ls_verb verb = c->text.verb;
  if (request->kind == CENOTE_REQUEST_BATCH) {
    return verb == LS_WRITE || verb == LS_OTHER;
  }
  if (request->kind != CENOTE_REQUEST_EXECUTE) {
    return false;
  }
  if (verb == LS_COMMIT || verb == LS_OTHER || c->text.controls ||
      (verb == LS_SAVEPOINT && c->by_savepoint)) {
    return true;
  }
  return verb == LS_WRITE && !c->in_transaction; /* inside a transaction all goes with it */
}

static cenote_status unknown(cenote_connection *c, const char *what, cenote_error *error)
{
  cenote_error before = *error;
  const cenote_status status =
      cenote_error_set(error, CENOTE_OUTCOME_UNKNOWN,
                       "%s after the statement was sent: whether it has run is unknown", what);
  cen_error_details(error, "%s%s%s", before.message, before.details[0] != '\0' ? ": " : "",
                    before.details);
  (void)c;
  return status;
}

static cenote_status cancelled(cenote_connection *c, bool sent, cenote_error *error)
{
  if (atomic_load(&c->stop.aborted)) {
    c->broken = true;
    (void)cenote_error_set(error, CENOTE_CONNECTION_LOST, "the connection was aborted");
    return sent && ls_may_write(c) ? unknown(c, "aborted", error) : CENOTE_CONNECTION_LOST;
  }
  if (sent && ls_may_write(c)) {
    return unknown(c, "cancelled", error);
  }
  cen_error_sqlstate(error, "57014");
  cenote_error_add_field(error, 'X', "SQLITE_INTERRUPT");
  return CENOTE_CANCELLED;
}

/* The promise of CENOTE_CONNECTION_LOST holds: nothing of it remains. */
static cenote_status lost(cenote_status status, cenote_error *error)
{
  if (status == CENOTE_CONNECT && error->retryable) {
    error->status = CENOTE_CONNECTION_LOST;
    return CENOTE_CONNECTION_LOST;
  }
  return status;
}

cenote_status ls_take_failure(cenote_connection *c, cenote_error *error)
{
  const struct cen_http_reply *reply = cen_http_call_reply(c->call);
  const bool opens = c->request->kind == CENOTE_REQUEST_OPEN;
  const bool was_cancelled = reply->failure == CEN_HTTP_CANCELLED;
  const bool may_write = ls_may_write(c);
  cenote_status status = cen_http_call_error(c->call, error);
  if (!was_cancelled) {
    atomic_store(&c->shared->proven, false);
  }
  if (reply->sent) {
    const bool commits = may_write && c->in_transaction;
    ls_stream_lose(c, was_cancelled || reply->failure == CEN_HTTP_TOO_LARGE);
    if (commits) {
      c->in_transaction = c->failed = false; /* one way or the other */
    }
  }
  if (was_cancelled) {
    return cancelled(c, reply->sent, error);
  }
  if (reply->failure == CEN_HTTP_TOO_LARGE) {
    return status; /* says by itself that it may have run */
  }
  c->broken = true;
  if (reply->sent && may_write) {
    return unknown(c, "the connection was lost", error);
  }
  return opens ? status : lost(status, error);
}

/* The server has ended the stream of a request, which it refused unread. */
static cenote_status expired(const cenote_connection *c, cenote_error *error)
{
  static const struct {
    unsigned holds;
    const char *what;
  } names[] = {{LS_HOLDS_TEMPORARY, "temporary tables, views or triggers"},
               {LS_HOLDS_PRAGMA, "what PRAGMA had set"},
               {LS_HOLDS_ATTACHED, "what was attached or detached"},
               {LS_HOLDS_OTHER, "what statements that Cenote does not know may have set"}};
  char said[sizeof error->message];
  struct cen_buf lost;
  cen_buf_init(&lost, sizeof said);
  memcpy(said, error->message, sizeof said);
  if (c->in_transaction) {
    cen_buf_text(&lost, "the transaction, of which nothing remains");
  }
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    if ((c->was_holding & names[i].holds) != 0) {
      cen_buf_text(&lost, lost.size > 0 ? ", " : "");
      cen_buf_text(&lost, names[i].what);
    }
  }
  error->status = CENOTE_CONNECTION_LOST;
  error->retryable = true;
  (void)snprintf(error->message, sizeof error->message,
                 "the server has let the session expire; lost with it: %s",
                 lost.failed || lost.size == 0 ? "what it held" : lost.data);
  cen_error_details(error, "\n%s", said);
  if (cenote_error_field(error, 'X') == NULL) { /* a server that has forgotten even that */
    cenote_error_add_field(error, 'X', "STREAM_EXPIRED");
  }
  cen_buf_deinit(&lost);
  return CENOTE_CONNECTION_LOST;
}

/* The protocol's own "not now": {"error": …} in JSON. Proxies have JSON of their own, also for a
 * server that hung up, or took too long, when they had passed the request on. */
static bool is_not_now(const cenote_connection *c, int http)
{
  static const char member[] = "\"error\"";
  size_t size;
  const char *type = cen_http_call_reply(c->call)->type;
  const char *body = cen_http_call_body(c->call, &size);
  if (c->trouble.size > 0) { /* of a cursor */
    body = c->trouble.data;
    size = c->trouble.size;
  }
  return http == 503 && strncasecmp(type, "application/json", 16) == 0 &&
         memmem(body, size, member, sizeof member - 1) != NULL;
}

cenote_status ls_take_refusal(cenote_connection *c, int http, cenote_status status,
                              cenote_error *error)
{
  const bool may_write = ls_may_write(c);
  /* any other failure of a server, or of one in front of it, may come when the work is done */
  const bool not_run = http < 500 || is_not_now(c, http);
  ls_stream_lose(c, false);
  if (may_write && !not_run) {
    return unknown(c, "the server failed", error);
  }
  if (c->with_baton && http == 400 && (status == CENOTE_IO || status == CENOTE_CONNECTION_LOST)) {
    status = expired(c, error);
  }
  return c->request->kind == CENOTE_REQUEST_OPEN ? status : lost(status, error);
}

/* ---------------------------------------------------------------- a pipeline's answer */

cenote_status ls_verdict(const cenote_connection *c, cenote_status status, cenote_error *error)
{
  status = ls_error_refine(status, error);
  if (status == CENOTE_CANCELLED && ls_error_is(error, "SQLITE_INTERRUPT") &&
      atomic_load(&c->stop.cancelled) < c->stop.serial) {
    status = error->status = CENOTE_STATEMENT_TIMEOUT; /* not by us: the server's time was over */
  }
  return status;
}

static cenote_status describe(struct cen_hrana_answer *answer, cenote_sink *sink,
                              cenote_error *error)
{
  struct cen_hrana_description description = {0};
  cenote_status status = cen_hrana_answer_next(answer, CEN_HRANA_DESCRIBE, NULL, NULL, error);
  if (status == CENOTE_OK) {
    status = cen_hrana_answer_describe(answer, &description, error);
  }
  if (status == CENOTE_OK && description.column_count > 0) {
    status = cenote_sink_columns(sink, description.columns, description.column_count, error);
  }
  if (status == CENOTE_OK) {
    status = cenote_sink_parameters(sink, description.params, description.param_count,
                                    description.is_readonly, description.is_explain, error);
  }
  return status;
}

static cenote_status guarded(struct cen_hrana_answer *answer, cenote_sink *sink, bool *bad,
                             cenote_error *error)
{
  enum cen_hrana_outcome first;
  enum cen_hrana_outcome second = CEN_HRANA_SKIPPED;
  cenote_error ignored = CENOTE_ERROR_INIT;
  cenote_status status = cen_hrana_answer_next(answer, CEN_HRANA_BATCH, NULL, NULL, error);
  if (status != CENOTE_OK) {
    return status; /* the whole batch: it could not even be read */
  }
  status = cen_hrana_answer_step(answer, sink, &first, error);
  if (status == CENOTE_OK && first == CEN_HRANA_SKIPPED) {
    return cenote_error_set(error, CENOTE_IO,
                            "the answer of the server: the statement was skipped");
  }
  if (status != CENOTE_OK || first == CEN_HRANA_SUCCEEDED) {
    return status;
  }
  status = error->status;
  if (cen_hrana_answer_step(answer, NULL, &second, &ignored) == CENOTE_OK) {
    *bad = second == CEN_HRANA_FAILED;
  }
  return status;
}

static cenote_status asked(cenote_connection *c, struct cen_hrana_answer *answer, cenote_sink *sink,
                           bool *bad, cenote_error *error)
{
  switch (c->plan.what) {
  case LS_EXECUTE:
    return c->plan.guard ? guarded(answer, sink, bad, error)
                         : cen_hrana_answer_next(answer, CEN_HRANA_EXECUTE, sink, NULL, error);
  case LS_DESCRIBE:
    return describe(answer, sink, error);
  case LS_BATCH:
    return ls_batch_take(c, answer, error);
  case LS_SEQUENCE: {
    const cenote_status status =
        cen_hrana_answer_next(answer, CEN_HRANA_SEQUENCE, NULL, NULL, error);
    if (status == CENOTE_OK && sink != NULL) {
      cenote_sink_complete(sink, 0, 0, "");
    }
    return status;
  }
  case LS_NOTHING:
    break;
  }
  return CENOTE_OK;
}

static void state(struct cen_hrana_answer *answer, int version, struct ls_outcome *outcome)
{
  enum cen_hrana_outcome began = CEN_HRANA_SKIPPED;
  if (version >= 3) {
    outcome->autocommit_known = cen_hrana_answer_next(answer, CEN_HRANA_GET_AUTOCOMMIT, NULL,
                                                      &outcome->autocommit, NULL) == CENOTE_OK;
    return;
  }
  outcome->autocommit_known =
      cen_hrana_answer_next(answer, CEN_HRANA_BATCH, NULL, NULL, NULL) == CENOTE_OK &&
      cen_hrana_answer_step(answer, NULL, &began, NULL) == CENOTE_OK && began != CEN_HRANA_SKIPPED;
  outcome->autocommit = began == CEN_HRANA_SUCCEEDED;
}

static cenote_status into_sink(cenote_connection *c, struct cen_hrana_answer *answer, bool *bad,
                               cenote_error *error)
{
  cenote_sink *sink = c->request->sink;
  const bool raw = sink != NULL && c->plan.what == LS_EXECUTE &&
                   (c->request->flags & CENOTE_REQUEST_RAW_TEXT) != 0;
  if (!raw) {
    return asked(c, answer, sink, bad, error);
  }
  struct ls_raw *between = ls_raw_new(sink);
  if (between == NULL) {
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory for an answer");
  }
  const cenote_status status = asked(c, answer, ls_raw_sink(between), bad, error);
  const cenote_status told = ls_raw_status(between, status, error);
  ls_raw_free(between);
  return told;
}

cenote_status ls_misread(cenote_connection *c, cenote_status status, cenote_error *error)
{
  const bool may_write = ls_may_write(c);
  ls_stream_lose(c, false);
  return may_write ? unknown(c, "the server's answer was not understood", error) : status;
}

void ls_take_pipeline(cenote_connection *c, struct ls_outcome *outcome, cenote_error *error)
{
  const size_t expected =
      (c->plan.what != LS_NOTHING) + (size_t)c->plan.watch + (size_t)c->plan.close;
  const struct cen_http_reply *reply = cen_http_call_reply(c->call);
  struct cen_hrana_answer answer;
  size_t size;
  *outcome = (struct ls_outcome){.status = CENOTE_OK};
  if (reply->failure != CEN_HTTP_FINE) {
    outcome->status = ls_take_failure(c, error);
    return;
  }
  char *body = cen_http_call_body(c->call, &size);
  outcome->status = cen_hrana_answer_open(&answer, reply->status, body, size, c->shared->max_answer,
                                          expected, error);
  if (reply->status < 200 || reply->status > 299) {
    outcome->status = ls_take_refusal(c, reply->status, outcome->status, error);
    return;
  }
  if (outcome->status == CENOTE_OK) {
    outcome->status = ls_stream_note(c, answer.baton, answer.base_url, error);
  }
  if (outcome->status != CENOTE_OK) {
    outcome->status = ls_misread(c, outcome->status, error);
    cen_hrana_answer_close(&answer);
    return;
  }
  atomic_store(&c->shared->proven, true);
  outcome->answered = true;
  outcome->status = into_sink(c, &answer, &outcome->bad, error);
  if (c->plan.watch && outcome->status != CENOTE_IO) {
    state(&answer, atomic_load(&c->shared->version), outcome);
  }
  if (outcome->status == CENOTE_IO) {
    outcome->answered = false;
    outcome->status = ls_misread(c, outcome->status, error);
  }
  cen_hrana_answer_close(&answer);
  outcome->status = ls_verdict(c, outcome->status, error);
}
