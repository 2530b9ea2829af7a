/*
 * neon_request.c - a request of POST /sql from its headers to its login, and every answer.
 *
 * Who fails to log in is always told the same, whatever the reason: an unknown host, database or
 * user cannot be told from a wrong password. The audit has the reason.
 */
#include "server/neon_inside.h"

#include "base/error.h"
#include "base/text.h"
#include "wire/json_put.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------------- calls */

static struct neon_call *call_take(struct neon_loop *loop, struct cen_http_request *request)
{
  struct neon_call *call = loop->spare;
  if (call != NULL) {
    loop->spare = call->spare;
    loop->spare_count--;
  } else if ((call = malloc(sizeof *call)) == NULL) {
    return NULL;
  }
  memset(call, 0, offsetof(struct neon_call, body));
  call->loop = loop;
  call->request = request;
  call->waiter.mailbox = &loop->mailbox;
  cen_link_init(&call->waiter.link);
  return call;
}

void neon_call_end(struct neon_call *call)
{
  struct neon_loop *loop = call->loop;
  if (call->pool != NULL) {
    neon_pool_leave(call->pool);
  }
  neon_outcome_free(call->waiter.outcome);
  cen_neon_url_deinit(&call->url);
  if (call->decoded) {
    cen_neon_request_deinit(&call->body);
  }
  cenote_result_free(call->result);
  cen_buf_deinit(&call->out);
  if (loop->spare_count == NEON_SPARE_CALLS) {
    free(call);
    return;
  }
  call->spare = loop->spare;
  loop->spare = call;
  loop->spare_count++;
}

/* ----------------------------------------------------------------------- answers */

enum { UUID_TEXT = 37 };

/* Version 4; for logs, not for secrets. */
static void uuid_make(struct cen_rng *rng, char out[UUID_TEXT])
{
  static const char digits[] = "0123456789abcdef";
  uint64_t halves[2] = {cen_rng_next(rng), cen_rng_next(rng)};
  halves[0] = (halves[0] & ~UINT64_C(0xf000)) | UINT64_C(0x4000);
  halves[1] = (halves[1] & ~(UINT64_C(3) << 62)) | UINT64_C(2) << 62;
  size_t at = 0;
  for (unsigned i = 0; i < 32; i++) {
    if (i == 8 || i == 12 || i == 16 || i == 20) {
      out[at++] = '-';
    }
    out[at++] = digits[halves[i / 16] >> (60 - 4 * (i % 16)) & 15];
  }
  out[at] = '\0';
}

/* A batch says what it ran under. */
static size_t echo(const struct neon_call *call, struct cen_http_pair *fields, size_t count)
{
  const char *isolation = cen_neon_isolation_name(call->headers.isolation);
  if (isolation != NULL) {
    fields[count++] = (struct cen_http_pair){"Neon-Batch-Isolation-Level", isolation};
  }
  if (call->headers.read_only) {
    fields[count++] = (struct cen_http_pair){"Neon-Batch-Read-Only", "true"};
  }
  if (call->headers.deferrable) {
    fields[count++] = (struct cen_http_pair){"Neon-Batch-Deferrable", "true"};
  }
  return count;
}

static void answer(struct neon_call *call, int status, const char *body, size_t size)
{
  struct cen_http_request *request = call->request;
  char uuid[UUID_TEXT];
  struct cen_http_pair fields[5] = {{"neon-request-id", uuid}};
  size_t count = 1;
  uuid_make(&call->loop->rng, uuid);
  if (status == 200 && call->decoded && call->body.batch) {
    count = echo(call, fields, count);
  }
  if (status == 429) {
    fields[count++] = (struct cen_http_pair){"Retry-After", "60"};
  }
  const struct cen_http_answer head = {
      .status = status, .type = "application/json", .fields = fields, .field_count = count};
  call->request = NULL;
  cen_http_hold(request, NULL, NULL); /* a client that is gone by now is no news */
  cen_http_respond(request, &head, body, size);
}

/* The one buffer of the loop, empty. */
static struct cen_buf *out_empty(struct neon_loop *loop)
{
  struct cen_buf *out = &loop->out;
  if (out->capacity > NEON_OUT_KEPT) {
    cen_buf_deinit(out);
  }
  out->size = 0;
  out->failed = out->full = false;
  out->ceiling = 1 << 20;
  return out;
}

void neon_answer_body(struct neon_call *call, int status, const struct cen_buf *body)
{
  static const char nothing[] = "{\"msg\":\"out of memory\"}";
  if (call->request != NULL && body->failed) {
    answer(call, 500, nothing, sizeof nothing - 1); /* not 503: the statement may have run */
  } else if (call->request != NULL) {
    answer(call, status, body->data, body->size);
  }
  neon_call_end(call);
}

static void answer_busy(struct neon_call *call, int status, const char *message)
{
  struct cen_buf *out = out_empty(call->loop);
  cen_neon_busy_put(out, message);
  neon_answer_body(call, status, out);
}

/* What the server said of a login, without where it is: its own words are put together again. */
static bool login_error_put(const struct neon_call *call, const cenote_error *error,
                            struct cen_buf *body)
{
  cenote_error said = CENOTE_ERROR_INIT;
  if (strcmp(error->sqlstate, "3D000") == 0) {
    (void)cenote_error_set(&said, CENOTE_DATABASE, "database \"%s\" does not exist",
                           call->choice.database);
  } else if (strcmp(error->sqlstate, "42501") == 0) {
    (void)cenote_error_set(&said, CENOTE_DATABASE, "permission denied for database \"%s\"",
                           call->choice.database);
  } else {
    return false;
  }
  cen_error_sqlstate(&said, error->sqlstate);
  cenote_error_add_field(&said, 'S', "FATAL");
  cen_neon_error_put(body, &said);
  return true;
}

/* What the server said, behind "53300: " in a text of ours; NULL: nothing. */
static const char *servers_words(const char *text, const char *sqlstate, int *size)
{
  const char *code = sqlstate[0] != '\0' ? strstr(text, sqlstate) : NULL;
  if (code == NULL || strncmp(code + 5, ": ", 2) != 0) {
    return NULL;
  }
  *size = (int)strcspn(code + 7, ";\n");
  return code + 7;
}

/* 500 with the SQLSTATE, where the server gave one. Of a connect that failed only the server's own
 * words: where it is, is no business of somebody who may not even have a login. */
static int broken_put(cenote_status status, const cenote_error *error, struct cen_buf *body)
{
  cenote_error said = CENOTE_ERROR_INIT;
  int size = 0;
  const char *words = servers_words(error->message, error->sqlstate, &size);
  if (words == NULL && status == CENOTE_TIMEOUT) {
    words = servers_words(error->details, error->sqlstate, &size);
  }
  cen_error_copy(&said, error);
  if ((status == CENOTE_CONNECT || status == CENOTE_TIMEOUT) && words != NULL) {
    (void)cenote_error_set(&said, status, "%.*s", size, words);
    cen_error_sqlstate(&said, error->sqlstate);
  } else if (status == CENOTE_CONNECT) {
    (void)cenote_error_set(&said, status, "cannot connect to the database server");
    cen_error_sqlstate(&said, error->sqlstate);
  }
  if (said.sqlstate[0] != '\0' && cenote_error_field(&said, 'S') == NULL) {
    cenote_error_add_field(&said, 'S', "FATAL");
  }
  cen_neon_error_put(body, &said);
  return 500;
}

int neon_error_body(const struct neon_call *call, cenote_status status, const cenote_error *error,
                    struct cen_buf *body)
{
  switch (status) {
  case CENOTE_AUTH:
    return 0;
  case CENOTE_TOO_LARGE:
    cen_neon_error_put(body, error);
    return call->decoded ? 507 : 413;
  case CENOTE_QUEUE_FULL:
    cen_neon_busy_put(body, error->message);
    return 429;
  case CENOTE_BREAKER_OPEN:
  case CENOTE_SHUTTING_DOWN:
  case CENOTE_CLOSED:
    cen_neon_busy_put(body, error->message);
    return 503;
  case CENOTE_TIMEOUT:
    if (error->sqlstate[0] == '\0' && strstr(error->message, "could be opened") == NULL &&
        strstr(error->message, "was open") == NULL) {
      cen_neon_busy_put(body, error->message); /* the database is there: too many want it */
      return 503;
    }
    return broken_put(status, error, body);
  case CENOTE_CONNECT:
    return login_error_put(call, error, body) ? 400 : broken_put(status, error, body);
  case CENOTE_NO_MEMORY:
  case CENOTE_CONNECTION_LOST:
  case CENOTE_OUTCOME_UNKNOWN:
  case CENOTE_IO:
  case CENOTE_INTERNAL:
    if (cenote_error_field(error, 'S') == NULL) {
      return broken_put(status, error, body);
    }
    break; /* the server's own last words */
  default:
    break;
  }
  cen_neon_error_put(body, error);
  return 400;
}

void neon_answer_error(struct neon_call *call, cenote_status status, const cenote_error *error)
{
  struct cen_buf *out = out_empty(call->loop);
  const int code = neon_error_body(call, status, error, out);
  if (code == 0) {
    neon_answer_login(call, "auth");
  } else {
    neon_answer_body(call, code, out);
  }
}

static void answer_invalid(struct neon_call *call, const char *message)
{
  cenote_error error = CENOTE_ERROR_INIT;
  neon_answer_error(call, cenote_error_set(&error, CENOTE_INVALID, "%s", message), &error);
}

void neon_answer_login(struct neon_call *call, const char *reason)
{
  cenote_error error = CENOTE_ERROR_INIT;
  struct cen_buf *out = out_empty(call->loop);
  if (call->request != NULL) {
    char peer[CEN_HTTP_PEER_TEXT];
    cen_http_peer(call->request, peer);
    cen_http_login_failed(call->request);
    const struct gateway_event event = {.event = "login_failed",
                                        .database = call->url.database,
                                        .user = call->url.user,
                                        .peer = peer,
                                        .reason = reason};
    gateway_audit_write(call->loop->neon->gateway, &event);
    (void)cenote_error_set(&error, CENOTE_DATABASE,
                           "password authentication failed for user \"%s\"", call->url.user);
    cen_error_sqlstate(&error, "28P01");
    cenote_error_add_field(&error, 'S', "FATAL");
    cen_neon_error_put(out, &error);
  }
  neon_answer_body(call, 400, out);
}

/* ----------------------------------------------------------------------- reading */

static bool is_ours(const char *name)
{
  return (name[0] | 0x20) == 'n' || ((name[0] | 0x20) == 'a' && (name[1] | 0x20) == 'u');
}

static cenote_status headers_read(struct neon_call *call, cenote_error *error)
{
  const char *name, *value;
  for (unsigned i = 0; cen_http_field_at(call->request, i, &name, &value); i++) {
    if (is_ours(name)) {
      const cenote_status status = cen_neon_header(&call->headers, name, value, error);
      if (status != CENOTE_OK) {
        return status;
      }
    }
  }
  return call->headers.connection_string != NULL
             ? CENOTE_OK
             : cenote_error_set(error, CENOTE_INVALID, "invalid header: neon-connection-string");
}

/* The secret stands in the request's buffer, which goes on to the next request. */
static cenote_status string_read(struct neon_call *call, cenote_error *error)
{
  const char *text = call->headers.connection_string;
  const size_t size = strlen(text);
  cenote_status status = cen_neon_url_parse(&call->url, text, size, error);
  cen_wipe((char *)(uintptr_t)text, size);
  call->headers.connection_string = NULL;
  if (status == CENOTE_OK && !call->url.has_password) {
    status = cenote_error_set(error, CENOTE_INVALID,
                              "missing authentication credentials: required password");
  }
  return status;
}

static void on_gone(struct cen_http_request *request, enum cen_http_gone why, void *context)
{
  struct neon_call *call = context;
  (void)request;
  (void)why;
  call->request = NULL;
  neon_call_gone(call);
}

static void login_ask(struct neon_call *call)
{
  struct neon_loop *loop = call->loop;
  const struct neon_login_key key = {call->choice.target, call->choice.database, call->url.user};
  if (!neon_hash(loop->hasher, &key, call->url.password, call->digest)) {
    answer_busy(call, 503, "out of memory");
    return;
  }
  switch (
      neon_login_ask(loop->neon->logins, &key, call->digest, cen_now_coarse_ns(), &call->waiter)) {
  case NEON_VERIFIED:
    neon_call_run(call);
    return;
  case NEON_REFUSED:
    neon_request_resume(call);
    return;
  case NEON_TRY:
    neon_prove(loop, &call->choice, call->url.user, call->url.password, call->waiter.attempt);
    return;
  case NEON_WAIT:
    return;
  case NEON_FULL:
    answer_busy(call, 503, "too many logins at the same time");
    return;
  case NEON_NO_MEMORY:
    answer_busy(call, 503, "out of memory");
    return;
  }
}

void neon_request_resume(struct neon_call *call)
{
  struct neon_outcome *outcome = call->waiter.outcome;
  if (call->waiter.verified) {
    neon_call_run(call);
  } else if (outcome != NULL && outcome->status == CENOTE_CANCELLED) {
    neon_outcome_free(outcome); /* all who had waited were gone, then we came */
    call->waiter.outcome = NULL;
    login_ask(call);
  } else if (outcome != NULL) {
    neon_answer_error(call, outcome->status, &outcome->error);
  } else {
    answer_busy(call, 503, "out of memory");
  }
}

void neon_request_begin(struct neon_loop *loop, struct cen_http_request *request)
{
  struct neon *neon = loop->neon;
  struct neon_call *call = call_take(loop, request);
  if (call == NULL) {
    cen_http_refuse(request, 503, "out of memory");
    return;
  }
  cen_http_hold(request, on_gone, call);
  cenote_error *error = &loop->error;
  cenote_status status = headers_read(call, error);
  if (status == CENOTE_OK) {
    status = string_read(call, error);
  }
  if (status != CENOTE_OK) {
    neon_answer_error(call, status, error);
  } else if (neon->database_count == 0 && neon->other_count == 0) {
    answer_invalid(call, "POST /sql serves PostgreSQL databases, and none is configured here; "
                         "SQLite databases are reached by Hrana: POST /v3/pipeline");
  } else if (cen_http_login_limited(request)) {
    answer_busy(call, 429, "too many failed logins");
  } else if (!neon_target_find(neon->targets, call->url.host, call->url.port, call->url.database,
                               &call->choice)) {
    neon_answer_login(call, "host");
  } else if (strlen(call->url.password) >= CEN_MAX_PASSWORD) {
    neon_answer_login(call, "auth");
  } else {
    login_ask(call);
  }
}
