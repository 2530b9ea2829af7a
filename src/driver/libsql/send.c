/*
 * send.c - what goes to the server.
 *
 * A pipeline is what was asked, then (where it must be known) whether a transaction is open, then
 * `close` where nothing is to be kept. Version 2 cannot say whether a transaction is open; there a
 * batch finds out: BEGIN fails inside one, and where it does not it is rolled back at once.
 *
 * Inside a transaction a statement is a batch of two: the second asks, if the first has failed,
 * whether anything can still be done. SQLite rolls back whole transactions for some errors, and
 * servers tell that in different ways.
 */
#include "driver/libsql/libsql.h"

#include "net/clock.h"
#include "wire/hrana.h"

#include <stdlib.h>
#include <string.h>

enum { LINES = 2, MOST_REQUESTS = 3, MOST_STEPS = 3 };

/* ---------------------------------------------------------------- HTTP */

static const char *base_of(const cenote_connection *c)
{
  return c->base != NULL ? c->base : c->shared->url.base;
}

/* The token goes where it belongs, and nowhere where others read along. */
static cenote_status lines_of(const cenote_connection *c, const char *url,
                              struct cen_http_line lines[LINES], size_t *count, cenote_error *error)
{
  struct cen_http_place place;
  *count = 0;
  lines[(*count)++] = (struct cen_http_line){"Content-Type", "application/json"};
  if (c->shared->bearer == NULL) {
    return CENOTE_OK;
  }
  if (!cen_http_place_read(url, &place) ||
      !(place.secure || place.loopback || c->shared->insecure)) {
    return cenote_error_set(error, CENOTE_CONFIG,
                            "the token would go to %s in clear: use https, or set http_insecure",
                            place.host);
  }
  lines[(*count)++] = (struct cen_http_line){"Authorization", c->shared->bearer};
  return CENOTE_OK;
}

static cenote_status start(cenote_connection *c, const char *path, struct cen_buf *body,
                           bool stream, cenote_error *error)
{
  struct cen_http_line lines[LINES];
  size_t line_count = 0;
  struct cen_buf url;
  cen_buf_init(&url, SIZE_MAX / 4);
  cen_buf_text(&url, base_of(c));
  cen_buf_text(&url, path);
  if (url.failed) {
    cen_buf_deinit(&url);
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory for a request");
  }
  cenote_status status = lines_of(c, url.data, lines, &line_count, error);
  if (status == CENOTE_OK) {
    const size_t size = body != NULL ? body->size : 0;
    const struct cen_http_ask ask = {
        .url = url.data,
        .body = body != NULL ? cen_buf_take(body) : NULL,
        .body_size = size,
        .lines = lines,
        .line_count = body != NULL ? line_count : 0, /* a probe shows no token */
        .deadline_ns = CEN_NEVER,                    /* whoever drives minds it: with a cancel */
        .ceiling = stream ? SIZE_MAX / 4 : c->shared->max_answer,
        .stream = stream,
        .fresh = c->repeated,
        .urgent = stream || c->baton != NULL, /* a socket for long, or locks, are held with it */
        .tag = c->stop.serial,
    };
    status = cen_http_call_start(c->call, &ask, error);
  }
  cen_buf_deinit(&url);
  if (status == CENOTE_OK &&
      (atomic_load(&c->stop.cancelled) >= c->stop.serial || atomic_load(&c->stop.aborted))) {
    cen_http_call_cancel(c->call, c->stop.serial); /* it came before there was a call */
  }
  return status;
}

cenote_status ls_send_probe(cenote_connection *c, cenote_error *error)
{
  return start(c, "/v2", NULL, false, error);
}

/* ---------------------------------------------------------------- statements */

static struct cen_hrana_sql sql_of(const struct ls_text *text)
{
  return (struct cen_hrana_sql){.text = text->sql, .size = text->size};
}

static struct cen_hrana_stmt plain(const char *sql)
{
  return (struct cen_hrana_stmt){.sql = {.text = sql, .size = strlen(sql)}};
}

void ls_stmt_make(struct cen_hrana_stmt *stmt, const struct ls_text *text, const cenote_value *args,
                  size_t count, bool rows)
{
  *stmt = (struct cen_hrana_stmt){.sql = sql_of(text), .want_rows = rows};
  if (count > 0 && args[0].name != NULL) {
    stmt->named = args;
    stmt->named_count = count;
  } else {
    stmt->args = args;
    stmt->count = count;
  }
}

static struct cen_hrana_stmt stmt_of(const cenote_connection *c)
{
  const cenote_request *request = c->request;
  const bool statement = request->kind == CENOTE_REQUEST_EXECUTE;
  struct cen_hrana_stmt stmt;
  ls_stmt_make(&stmt, &c->text, statement ? request->args : NULL, statement ? request->count : 0,
               statement && request->sink != NULL);
  return stmt;
}

static const struct cen_hrana_condition first_failed = {.kind = CEN_HRANA_ERROR, .step = 0};
static const struct cen_hrana_condition first_fine = {.kind = CEN_HRANA_OK, .step = 0};
static const struct cen_hrana_condition no_transaction = {.kind = CEN_HRANA_IS_AUTOCOMMIT};

struct pieces {
  struct cen_hrana_request requests[MOST_REQUESTS];
  struct cen_hrana_step asked[2], state[2];
  struct cen_hrana_step *batch; /* malloc'ed, or NULL */
  size_t count;
};

static cenote_status add_batch(struct pieces *pieces, const cenote_connection *c,
                               cenote_error *error)
{
  struct cen_hrana_request *request = &pieces->requests[pieces->count++];
  request->kind = CEN_HRANA_BATCH;
  const cenote_status status = ls_batch_make(c, &pieces->batch, &request->as.batch.count, error);
  request->as.batch.steps = pieces->batch;
  return status;
}

static void add_asked(struct pieces *pieces, const cenote_connection *c)
{
  struct cen_hrana_request *request = &pieces->requests[pieces->count];
  switch (c->plan.what) {
  case LS_NOTHING:
  case LS_BATCH: /* add_batch */
    return;
  case LS_EXECUTE:
    request->kind = c->plan.guard ? CEN_HRANA_BATCH : CEN_HRANA_EXECUTE;
    if (c->plan.guard) {
      pieces->asked[0] = (struct cen_hrana_step){.stmt = stmt_of(c)};
      pieces->asked[1] =
          (struct cen_hrana_step){.stmt = plain("SELECT 1"), .condition = &first_failed};
      request->as.batch.steps = pieces->asked;
      request->as.batch.count = 2;
    } else {
      request->as.stmt = stmt_of(c);
    }
    break;
  case LS_SEQUENCE:
  case LS_DESCRIBE:
    request->kind = c->plan.what == LS_SEQUENCE ? CEN_HRANA_SEQUENCE : CEN_HRANA_DESCRIBE;
    request->as.sql = sql_of(&c->text);
    break;
  }
  pieces->count++;
}

static void add_state(struct pieces *pieces, int version)
{
  struct cen_hrana_request *request = &pieces->requests[pieces->count++];
  if (version >= 3) {
    request->kind = CEN_HRANA_GET_AUTOCOMMIT;
    return;
  }
  pieces->state[0] = (struct cen_hrana_step){.stmt = plain("BEGIN")};
  pieces->state[1] = (struct cen_hrana_step){.stmt = plain("ROLLBACK"), .condition = &first_fine};
  request->kind = CEN_HRANA_BATCH;
  request->as.batch.steps = pieces->state;
  request->as.batch.count = 2;
}

cenote_status ls_send_pipeline(cenote_connection *c, cenote_error *error)
{
  const int known = atomic_load(&c->shared->version);
  const int version = c->phase == LS_LOGIN && c->probed != 0 ? c->probed : known;
  struct pieces pieces = {.count = 0};
  struct cen_buf body;
  cenote_status status = CENOTE_OK;
  if (c->plan.what == LS_BATCH) {
    status = add_batch(&pieces, c, error);
  } else {
    add_asked(&pieces, c);
  }
  if (c->plan.watch) {
    add_state(&pieces, version);
  }
  if (c->plan.close) {
    pieces.requests[pieces.count++].kind = CEN_HRANA_CLOSE;
  }
  cen_buf_init(&body, LS_REQUEST_BYTES);
  if (status == CENOTE_OK) {
    status = cen_hrana_pipeline_put(&body, c->baton, pieces.requests, pieces.count, error);
  }
  free(pieces.batch);
  if (status == CENOTE_OK) {
    c->with_baton = c->baton != NULL;
    status = start(c, version >= 3 ? "/v3/pipeline" : "/v2/pipeline", &body, false, error);
  }
  cen_buf_deinit(&body);
  return status;
}

cenote_status ls_send_cursor(cenote_connection *c, cenote_error *error)
{
  struct cen_hrana_step steps[MOST_STEPS] = {
      {.stmt = stmt_of(c)},
      {.stmt = plain("SELECT 1"), .condition = &first_failed},
      {.stmt = plain("SELECT 1"), .condition = &no_transaction},
  };
  struct cen_buf body;
  cen_buf_init(&body, LS_REQUEST_BYTES);
  cenote_status status = cen_hrana_cursor_put(&body, c->baton, steps, MOST_STEPS, error);
  if (status == CENOTE_OK) {
    c->with_baton = c->baton != NULL;
    status = start(c, "/v3/cursor", &body, true, error);
  }
  cen_buf_deinit(&body);
  return status;
}
