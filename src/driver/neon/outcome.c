/*
 * outcome.c - what became of a request.
 *
 * What is certain: nothing was sent, the server answered, or the endpoint refused it unread. All
 * else may have been executed. A write is then CENOTE_OUTCOME_UNKNOWN. A read by its text, with no
 * function in it that could do more than a transaction undoes, is sent once more in a transaction
 * that refuses to write: did it only read, the answer is as good as the first; does it hide a write
 * (in a view, a rule), the server refuses (25006) and nothing has run twice.
 */
#include "driver/neon/neon.h"

#include "base/error.h"
#include "net/clock.h"

#include <string.h>
#include <strings.h>

static bool is_statement(const cenote_connection *c)
{
  return c->request->kind == CENOTE_REQUEST_EXECUTE || c->request->kind == CENOTE_REQUEST_BATCH;
}

/* ---------------------------------------------------------------- what is not known */

/* *error says what happened. */
static enum neon_end unknown(cenote_connection *c, cenote_error *error)
{
  if (!is_statement(c)) {
    return NEON_FAILED;
  }
  if (c->queries.repeatable && !c->repeated && !neon_is_cancelled(c)) {
    return NEON_REPEAT;
  }
  cenote_error why;
  cen_error_begin(&why);
  cen_error_copy(&why, error);
  if (c->queries.reads) {
    c->sent = true;
    (void)!cenote_error_set(error, CENOTE_CONNECTION_LOST, "%s", why.message);
  } else {
    (void)!cenote_error_set(error, CENOTE_OUTCOME_UNKNOWN, "%s: it may have been executed",
                            why.message);
  }
  if (why.details[0] != '\0') {
    cen_error_details(error, "%s", why.details);
  }
  return NEON_FAILED;
}

/* Nothing of it remains, unless this was the repetition. A failure that passes by itself may be
 * tried again. */
static enum neon_end not_run(cenote_connection *c, cenote_error *error)
{
  if (c->repeated) {
    return unknown(c, error);
  }
  if (is_statement(c) && error != NULL && error->status == CENOTE_CONNECT && error->retryable) {
    error->status = CENOTE_CONNECTION_LOST;
  }
  return NEON_FAILED;
}

static enum neon_end cancelled(cenote_connection *c, bool sent, cenote_error *error)
{
  if (atomic_load(&c->broken)) {
    (void)!cenote_error_set(error, CENOTE_CONNECTION_LOST, "the request was cut off");
    return sent || c->repeated ? unknown(c, error) : NEON_FAILED;
  }
  if (sent && is_statement(c) && !c->queries.reads) {
    (void)!cenote_error_set(error, CENOTE_OUTCOME_UNKNOWN,
                            "cancelled while it ran: it may have been executed");
    return NEON_FAILED;
  }
  (void)!cenote_error_set(error, CENOTE_CANCELLED, "cancelled");
  cen_error_sqlstate(error, "57014");
  return NEON_FAILED;
}

static enum neon_end broken_off(cenote_connection *c, const struct cen_http_reply *reply,
                                cenote_error *error)
{
  (void)!cen_http_call_error(c->call, error);
  atomic_store(&c->shared->proven_ns, 0);
  switch (reply->failure) {
  case CEN_HTTP_CANCELLED:
    return cancelled(c, reply->sent, error);
  case CEN_HTTP_TOO_LARGE:
    if (reply->status < 200 || reply->status > 299) {
      break; /* no result: a proxy's endless page, or interim answers without number */
    }
    cen_error_details(error, "it was executed; its result has more bytes than are taken\n");
    return NEON_FAILED;
  default:
    break;
  }
  if (!reply->sent) {
    return not_run(c, error);
  }
  return unknown(c, error);
}

/* ---------------------------------------------------------------- what the server says */

/* Its own "not now" (the protocol's {"msg": …}). A proxy says 503 also for a connection that died
 * when it had passed the request on. */
static bool refused_unread(const cenote_connection *c, int http)
{
  size_t size;
  const char *type = cen_http_call_reply(c->call)->type;
  const char *body = cen_http_call_body(c->call, &size);
  return http == 429 || (http == 503 && strncasecmp(type, "application/json", 16) == 0 &&
                         strstr(body, "\"msg\"") != NULL);
}

/* The endpoint's own errors: was the statement passed on? */
static enum neon_end refused(cenote_connection *c, int http, cenote_error *error)
{
  switch (error->status) {
  case CENOTE_CANCELLED: /* not by us, then the call would have failed: the server's own limit */
    error->status = CENOTE_STATEMENT_TIMEOUT;
    return NEON_FAILED;
  case CENOTE_AUTH:
    /* The callback may have a newer password by the next connection. */
    atomic_store(&c->broken, c->params->password != NULL || atomic_load(&c->broken));
    atomic_store(&c->shared->proven_ns, 0);
    return NEON_FAILED;
  case CENOTE_CONNECT:
    atomic_store(&c->shared->proven_ns, 0);
    return refused_unread(c, http) ? not_run(c, error) : unknown(c, error);
  case CENOTE_IO: /* not Neon's: below 500 the request was refused for what it is */
    return http >= 200 && http <= 299 ? unknown(c, error) : NEON_FAILED;
  case CENOTE_NO_MEMORY:
    return http >= 200 && http <= 299 ? unknown(c, error) : NEON_FAILED;
  case CENOTE_TOO_LARGE:
    if (http == 507) {
      cen_error_details(error,
                        "it was executed; its result has more bytes than the server sends\n");
    }
    return NEON_FAILED;
  case CENOTE_DATABASE:
    if (c->request->kind == CENOTE_REQUEST_OPEN) { /* no such database, no connection left, … */
      error->status = CENOTE_CONNECT;
    }
    return NEON_FAILED;
  default:
    return NEON_FAILED;
  }
}

/* Whom a repeated read was refused for writing: nobody knows what the first one did. */
static bool hides_a_write(const cenote_connection *c, const cenote_error *error)
{
  return c->repeated && strcmp(error->sqlstate, "25006") == 0;
}

static cenote_status deliver(const cenote_connection *c, struct cen_neon_answer *answer,
                             cenote_error *error)
{
  const cenote_request *request = c->request;
  const bool raw = (request->flags & CENOTE_REQUEST_RAW_TEXT) != 0;
  const bool batch = request->kind == CENOTE_REQUEST_BATCH;
  const size_t count = c->queries.count;
  if (answer->batch != neon_in_transaction(c) || answer->count != count) {
    return cenote_error_set(error, CENOTE_IO,
                            "the answer of the server has not as many results as "
                            "there were statements");
  }
  for (size_t i = 0; i < count; i++) {
    cenote_sink *sink = batch ? request->sinks[i] : request->sink;
    const cenote_status status = cen_neon_answer_next(answer, raw, sink, error);
    if (status != CENOTE_OK) {
      if (batch && error != NULL) {
        error->statement = (int64_t)i;
      }
      return status;
    }
  }
  return CENOTE_OK;
}

enum neon_end neon_outcome(cenote_connection *c, cenote_error *error)
{
  const struct cen_http_reply *reply = cen_http_call_reply(c->call);
  if (reply->failure != CEN_HTTP_FINE) {
    return broken_off(c, reply, error);
  }
  struct cen_neon_answer answer;
  size_t size;
  char *body = cen_http_call_body(c->call, &size);
  cenote_status status = cen_neon_answer_open(&answer, reply->status, body, size, size, error);
  const bool open = status == CENOTE_OK;
  if (open) {
    const int64_t until = cen_deadline_ns(cen_now_ns(), NEON_PROVEN_MS);
    atomic_store(&c->shared->proven_ns, until);
    status = deliver(c, &answer, error);
  }
  cen_neon_answer_close(&answer);
  if (status == CENOTE_OK) {
    return NEON_DONE;
  }
  if (hides_a_write(c, error)) {
    (void)!cenote_error_set(error, CENOTE_CONNECTION_LOST,
                            "the connection was lost, and the statement may have been executed: it "
                            "cannot be repeated, since it writes");
    c->sent = true;
    return NEON_FAILED;
  }
  if (open && status != CENOTE_IO) { /* the sink's own: it has been told enough */
    if (c->request->kind == CENOTE_REQUEST_BATCH) {
      cen_error_details(error, "\nthe batch was executed; its results are not complete");
    }
    return NEON_FAILED;
  }
  return refused(c, reply->status, error);
}
