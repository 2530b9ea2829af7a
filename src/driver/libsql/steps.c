/*
 * steps.c - what each request asks of the server, and what the answer means for the session.
 *
 *   OPEN ──► LOGIN ──► (404: PROBE ──► LOGIN) ──► open
 *   EXECUTE … ──► PIPELINE or CURSOR ──► (a stream that nothing keeps: CLOSE_STREAM) ──► settled
 *
 * The session is remembered here: a transaction is open, or can only be rolled back, or something
 * was set. The stream itself is only where one of these is so.
 */
#include "driver/libsql/steps.h"

#include "base/error.h"

#include <string.h>

cenote_step ls_settle(cenote_connection *c, cenote_status status)
{
  c->phase = LS_REST;
  atomic_store(&c->stop.running, 0);
  ls_text_deinit(&c->text);
  ls_texts_free(c->texts, c->text_count);
  c->texts = NULL;
  c->text_count = 0;
  ls_cursor_end(c);
  c->request = NULL;
  return status == CENOTE_OK ? CENOTE_STEP_DONE : CENOTE_STEP_FAILED;
}

cenote_step ls_go(cenote_connection *c, enum ls_phase phase, struct ls_plan plan)
{
  c->phase = phase;
  c->plan = plan;
  const cenote_status status = ls_send_pipeline(c, c->why);
  return status == CENOTE_OK ? CENOTE_STEP_AGAIN : ls_settle(c, status);
}

/* Something between us and the server, when what was asked is settled as `outcome`. */
static cenote_step tidy_up(cenote_connection *c, struct ls_plan plan, cenote_status outcome)
{
  cenote_error ignored = CENOTE_ERROR_INIT;
  c->outcome = outcome;
  c->phase = LS_CLOSE_STREAM;
  c->plan = plan;
  if (ls_send_pipeline(c, &ignored) == CENOTE_OK) {
    return CENOTE_STEP_AGAIN;
  }
  c->broken = c->broken || c->holds != 0;
  ls_stream_drop(c); /* it expires by itself */
  return ls_settle(c, outcome);
}

static cenote_status database_error(cenote_connection *c, const char *sqlstate, const char *message)
{
  const cenote_status status = cenote_error_set(c->why, CENOTE_DATABASE, "%s", message);
  cen_error_sqlstate(c->why, sqlstate);
  if (strcmp(sqlstate, "25006") == 0) {
    cenote_error_add_field(c->why, 'X', "SQLITE_READONLY");
  }
  return status;
}

static void forget_transaction(cenote_connection *c)
{
  c->in_transaction = c->failed = c->read_only = c->by_savepoint = false;
}

/* ---------------------------------------------------------------- statements */

static bool ends(const struct ls_text *text)
{
  return text->verb == LS_COMMIT || text->verb == LS_ROLLBACK;
}

/* In a transaction that has failed. ROLLBACK and COMMIT end it, the rest is refused. */
static cenote_step execute_failed(cenote_connection *c)
{
  const enum ls_verb verb = c->text.verb;
  if ((c->request->flags & CENOTE_REQUEST_SCRIPT) != 0 || !ends(&c->text)) {
    return ls_settle(c, database_error(c, "25P02",
                                       "an error has rolled the transaction back; end it with "
                                       "ROLLBACK"));
  }
  const cenote_status outcome =
      verb == LS_ROLLBACK
          ? CENOTE_OK
          : database_error(c, "25P02",
                           "nothing was committed: an error had rolled the transaction back");
  forget_transaction(c);
  if (outcome == CENOTE_OK && c->request->sink != NULL) {
    cenote_sink_complete(c->request->sink, 0, 0, "");
  }
  if (c->baton == NULL) {
    return ls_settle(c, outcome);
  }
  ls_text_deinit(&c->text);
  ls_text_plain(&c->text, "ROLLBACK", LS_ROLLBACK);
  const struct ls_plan plan = {.what = c->dirty ? LS_EXECUTE : LS_NOTHING, .close = !c->dirty};
  return tidy_up(c, plan, outcome);
}

/* Not refused: what only reads, and what begins and ends transactions that do not write yet. */
static cenote_status may_run(cenote_connection *c)
{
  const enum ls_verb verb = c->text.verb;
  if (c->read_only && verb == LS_WRITE) {
    return database_error(c, "25006", "the statement writes, but the transaction is read-only");
  }
  if ((c->request->flags & CENOTE_REQUEST_REFUSE) == 0 || verb == LS_READ || ends(&c->text) ||
      verb == LS_SAVEPOINT) {
    return CENOTE_OK;
  }
  if (verb == LS_WRITE) {
    return database_error(c, "25006", "the statement writes, and only reads are allowed here");
  }
  return cenote_error_set(c->why, CENOTE_UNSUPPORTED,
                          "over HTTP nobody can tell whether this statement writes; use a "
                          "read-only transaction");
}

static bool keeps_stream(const cenote_connection *c)
{
  const struct ls_text *text = &c->text;
  return c->in_transaction || c->dirty || text->dirty || text->controls || text->verb == LS_BEGIN ||
         text->verb == LS_SAVEPOINT || text->verb == LS_OTHER;
}

static struct ls_plan plan_of(const cenote_connection *c)
{
  const bool script = (c->request->flags & CENOTE_REQUEST_SCRIPT) != 0;
  const bool reaches = c->in_transaction || (c->text.verb != LS_READ && c->text.verb != LS_WRITE) ||
                       c->text.controls;
  struct ls_plan plan = {.what = script ? LS_SEQUENCE : LS_EXECUTE};
  if (!keeps_stream(c)) {
    plan.close = true;
    return plan;
  }
  /* the session ends with its transaction where nothing else was set: one request for both */
  plan.close = !script && ends(&c->text) && c->in_transaction && !c->dirty;
  plan.watch = !plan.close && reaches;
  plan.guard = !script && c->in_transaction && !ends(&c->text);
  return plan;
}

static cenote_step execute_send(cenote_connection *c)
{
  if (ls_cursor_wanted(c) && !ends(&c->text) && (c->request->flags & CENOTE_REQUEST_SCRIPT) == 0) {
    c->phase = LS_CURSOR;
    c->plan = (struct ls_plan){.what = LS_EXECUTE, .watch = true};
    c->garbled = CENOTE_OK;
    const cenote_status status = ls_cursor_begin(c, c->why);
    return status == CENOTE_OK ? CENOTE_STEP_AGAIN : ls_settle(c, status);
  }
  return ls_go(c, LS_PIPELINE, plan_of(c));
}

/* What the statement may leave in the session it has left there, until it is known to have failed. */
static void session_expect(cenote_connection *c)
{
  c->dirty = c->dirty || c->text.dirty;
  c->holds |= c->text.holds;
}

static cenote_step execute_begin(cenote_connection *c)
{
  cenote_status status = ls_text_read(c->request, &c->text, c->why);
  if (status == CENOTE_OK && c->failed) {
    return execute_failed(c);
  }
  status = status == CENOTE_OK ? may_run(c) : status;
  if (status != CENOTE_OK) {
    return ls_settle(c, status);
  }
  session_expect(c);
  return execute_send(c);
}

static cenote_step batch_send(cenote_connection *c)
{
  const bool keeps = c->dirty;
  return ls_go(c, LS_PIPELINE, (struct ls_plan){.what = LS_BATCH, .watch = keeps, .close = !keeps});
}

/* All of it in one request. The statements of one that only reads are looked at here too: not every
 * server knows of transactions that refuse to write. */
static cenote_step batch_begin(cenote_connection *c)
{
  const cenote_request *request = c->request;
  if (c->in_transaction || c->failed) {
    return ls_settle(c, database_error(c, "25001", "a transaction is open already"));
  }
  const cenote_status status = ls_texts_read(request, &c->texts, &c->text, c->why);
  if (status != CENOTE_OK) {
    return ls_settle(c, status);
  }
  c->text_count = request->statement_count;
  for (size_t i = 0; request->mode == CENOTE_BATCH_READ && i < c->text_count; i++) {
    if (c->texts[i].verb == LS_WRITE) {
      const cenote_status refused =
          database_error(c, "25006", "the statement writes, but the batch is read-only");
      cen_error_statement(c->why, (int64_t)i);
      return ls_settle(c, refused);
    }
  }
  session_expect(c);
  return batch_send(c);
}

static cenote_step describe_begin(cenote_connection *c)
{
  const cenote_status status = ls_text_read(c->request, &c->text, c->why);
  const bool keeps = c->in_transaction || c->dirty;
  if (status != CENOTE_OK) {
    return ls_settle(c, status);
  }
  if (c->failed) {
    return ls_settle(c,
                     database_error(c, "25P02", "the transaction has failed; roll it back first"));
  }
  return ls_go(c, LS_PIPELINE, (struct ls_plan){.what = LS_DESCRIBE, .close = !keeps});
}

/* ---------------------------------------------------------------- transactions */

static cenote_step transaction_begin(cenote_connection *c)
{
  if (c->in_transaction) {
    return ls_settle(c, database_error(c, "25001", "a transaction is open already"));
  }
  ls_text_plain(&c->text, ls_begin_text(c->request->mode), LS_BEGIN);
  return ls_go(c, LS_PIPELINE, (struct ls_plan){.what = LS_EXECUTE});
}

static cenote_step commit_begin(cenote_connection *c)
{
  ls_text_plain(&c->text, "COMMIT", LS_COMMIT);
  if (c->failed) {
    return execute_failed(c);
  }
  if (!c->in_transaction) {
    return ls_settle(c, database_error(c, "25P01", "no transaction is open"));
  }
  return ls_go(c, LS_PIPELINE,
               (struct ls_plan){.what = LS_EXECUTE, .watch = c->dirty, .close = !c->dirty});
}

/* Whatever the server says to it: afterwards no transaction is open. */
static cenote_step rollback_begin(cenote_connection *c, bool reset)
{
  const bool keeps = c->dirty && !reset;
  const bool open = c->in_transaction || c->failed;
  forget_transaction(c);
  c->dirty = keeps;
  c->holds = keeps ? c->holds : 0;
  if (c->baton == NULL || (keeps && !open)) {
    return ls_settle(c, CENOTE_OK);
  }
  ls_text_plain(&c->text, "ROLLBACK", LS_ROLLBACK);
  const struct ls_plan plan = {
      .what = keeps ? LS_EXECUTE : LS_NOTHING, .watch = keeps, .close = !keeps};
  return ls_go(c, LS_PIPELINE, plan);
}

static cenote_step close_begin(cenote_connection *c)
{
  c->opened = false;
  if (c->baton == NULL) {
    return ls_settle(c, CENOTE_OK);
  }
  return ls_go(c, LS_GOODBYE, (struct ls_plan){.close = true});
}

bool ls_say_goodbye(cenote_connection *c)
{
  cenote_error ignored = CENOTE_ERROR_INIT;
  c->plan = (struct ls_plan){.close = true};
  c->stop.serial++;
  return ls_send_pipeline(c, &ignored) == CENOTE_OK; /* which asks for nothing of a request */
}

cenote_step ls_begin(cenote_connection *c)
{
  c->was_dirty = c->dirty;
  c->was_holding = c->holds;
  switch (c->request->kind) {
  case CENOTE_REQUEST_OPEN:
    return ls_open_begin(c);
  case CENOTE_REQUEST_CHECK:
    return ls_check_begin(c);
  case CENOTE_REQUEST_EXECUTE:
    return execute_begin(c);
  case CENOTE_REQUEST_BEGIN:
    return transaction_begin(c);
  case CENOTE_REQUEST_COMMIT:
    return commit_begin(c);
  case CENOTE_REQUEST_ROLLBACK:
    return rollback_begin(c, false);
  case CENOTE_REQUEST_RESET:
    return rollback_begin(c, true);
  case CENOTE_REQUEST_CLOSE:
    return close_begin(c);
  case CENOTE_REQUEST_DESCRIBE:
    return describe_begin(c);
  case CENOTE_REQUEST_BATCH:
    return batch_begin(c);
  default:
    break;
  }
  return ls_settle(c, cenote_error_set(c->why, CENOTE_UNSUPPORTED, "unknown kind of request"));
}

/* ---------------------------------------------------------------- what an answer means */

/* The server has closed the stream, or we have. */
static void note_closed(cenote_connection *c)
{
  if (c->plan.close) {
    forget_transaction(c);
    return;
  }
  c->broken = c->broken || c->holds != 0; /* what was set is gone */
  c->failed = c->in_transaction;
}

static void note_session(cenote_connection *c, const struct ls_outcome *outcome)
{
  if (c->baton == NULL) {
    note_closed(c);
    return;
  }
  if (outcome->bad) {
    c->failed = true;
  }
  if (!outcome->autocommit_known) {
    return;
  }
  const bool by_itself = outcome->status != CENOTE_OK && !ends(&c->text) && !c->text.controls;
  if (c->in_transaction && outcome->autocommit && by_itself) {
    c->failed = true; /* SQLite rolled it back */
  } else if (!c->failed || outcome->autocommit) {
    c->by_savepoint =
        !outcome->autocommit && (c->in_transaction ? c->by_savepoint : c->text.verb != LS_BEGIN);
    c->in_transaction = !outcome->autocommit;
    c->read_only = c->read_only && c->in_transaction;
  }
}

/* Nothing of it is needed, so the server need not keep it. */
static cenote_step conclude(cenote_connection *c, cenote_status status)
{
  if (c->baton == NULL || c->in_transaction || c->failed || c->dirty || c->broken) {
    return ls_settle(c, status);
  }
  return tidy_up(c, (struct ls_plan){.close = true}, status);
}

/* One statement that has failed leaves nothing behind in its session; of several one may have. */
static bool set_nothing(const cenote_connection *c, cenote_status status)
{
  return (status == CENOTE_DATABASE || status == CENOTE_INVALID) &&
         c->request->kind == CENOTE_REQUEST_EXECUTE &&
         (c->request->flags & CENOTE_REQUEST_SCRIPT) == 0;
}

/* A batch or a COMMIT has failed on a stream that goes on, and the server did not end the
 * transaction. Where the stream ends, the transaction does in the same request. */
static bool left_open(const cenote_connection *c, const struct ls_outcome *outcome)
{
  const bool script = (c->request->flags & CENOTE_REQUEST_SCRIPT) != 0;
  const bool commits = c->text.verb == LS_COMMIT && !script && outcome->status != CENOTE_OK;
  return (c->request->kind == CENOTE_REQUEST_BATCH || commits) && c->baton != NULL &&
         outcome->autocommit_known && !outcome->autocommit;
}

static cenote_step undo(cenote_connection *c, cenote_status outcome)
{
  ls_text_deinit(&c->text);
  ls_text_plain(&c->text, "ROLLBACK", LS_ROLLBACK);
  forget_transaction(c);
  return tidy_up(c, (struct ls_plan){.what = LS_EXECUTE}, outcome);
}

static cenote_step request_end(cenote_connection *c, const struct ls_outcome *outcome)
{
  const cenote_request *request = c->request;
  cenote_status status = outcome->status;
  switch (request->kind) {
  case CENOTE_REQUEST_BEGIN:
    if (status == CENOTE_OK && c->baton == NULL) {
      status = cenote_error_set(c->why, CENOTE_CONNECTION_LOST,
                                "the server has closed the stream of the transaction at once");
    }
    c->in_transaction = status == CENOTE_OK;
    c->read_only = c->in_transaction && request->mode == CENOTE_BATCH_READ;
    break;
  case CENOTE_REQUEST_ROLLBACK:
  case CENOTE_REQUEST_RESET:
    /* an answer of any kind: the stream is gone, or its transaction is */
    if (cen_http_call_reply(c->call)->failure == CEN_HTTP_FINE) {
      forget_transaction(c);
      status = CENOTE_OK;
    }
    c->broken = c->broken || status != CENOTE_OK;
    break;
  case CENOTE_REQUEST_CHECK:
    c->broken = c->broken || status != CENOTE_OK;
    break;
  default:
    if (outcome->answered && status == CENOTE_CONNECTION_LOST) {
      ls_stream_lose(c, false); /* the stream expired while it worked */
    } else if (outcome->answered) {
      if (set_nothing(c, status)) {
        c->dirty = c->was_dirty;
        c->holds = c->was_holding;
      }
      note_session(c, outcome);
      if (left_open(c, outcome)) {
        return undo(c, status);
      }
    }
    break;
  }
  return conclude(c, status);
}

/* A connection that broke off. Nothing was asked, or what was asked leaves no trace. */
bool ls_may_repeat(const cenote_connection *c)
{
  const struct cen_http_reply *reply = cen_http_call_reply(c->call);
  const bool reads = (c->plan.what == LS_EXECUTE || c->plan.what == LS_BATCH) &&
                     c->request->kind != CENOTE_REQUEST_BEGIN && c->text.verb == LS_READ;
  const bool traceless =
      (c->request->kind == CENOTE_REQUEST_DESCRIBE || reads) && !c->with_baton && !c->text.dirty;
  return !c->repeated && reply->failure == CEN_HTTP_BROKEN && (!reply->sent || traceless) &&
         atomic_load(&c->stop.cancelled) < c->stop.serial && !atomic_load(&c->stop.aborted);
}

cenote_step ls_repeat(cenote_connection *c)
{
  c->repeated = true;
  cen_error_begin(c->why);
  return ls_go(c, c->phase, c->plan);
}

/* The server has let the stream expire, or the place that it moved to is away: nothing of the request
 * ran, and where the stream held nothing a new one is as good. */
static bool may_reopen(const cenote_connection *c)
{
  const struct cen_http_reply *reply = cen_http_call_reply(c->call);
  const bool gone = reply->failure == CEN_HTTP_FINE
                        ? reply->status == 400
                        : !reply->sent && c->base != NULL && reply->failure != CEN_HTTP_CANCELLED;
  const bool asks = c->request->kind != CENOTE_REQUEST_ROLLBACK &&
                    c->request->kind != CENOTE_REQUEST_RESET &&
                    c->request->kind != CENOTE_REQUEST_COMMIT;
  return gone && asks && c->with_baton && !c->in_transaction && !c->failed && !c->broken &&
         c->was_holding == 0 && atomic_load(&c->stop.cancelled) < c->stop.serial &&
         !atomic_load(&c->stop.aborted);
}

static cenote_step reopen(cenote_connection *c)
{
  ls_stream_drop(c);
  cen_error_begin(c->why);
  switch (c->request->kind) {
  case CENOTE_REQUEST_CHECK:
    return ls_check_begin(c);
  case CENOTE_REQUEST_EXECUTE:
    return execute_send(c);
  default:
    return ls_go(c, LS_PIPELINE, c->plan);
  }
}

static cenote_step pipeline_end(cenote_connection *c)
{
  struct ls_outcome outcome;
  if (may_reopen(c)) {
    return reopen(c);
  }
  if (ls_may_repeat(c)) {
    return ls_repeat(c);
  }
  ls_take_pipeline(c, &outcome, c->why);
  return request_end(c, &outcome);
}

static cenote_step cursor_step(cenote_connection *c)
{
  struct ls_outcome outcome;
  const cenote_step step = ls_cursor_pump(c, &outcome, c->why);
  if (step == CENOTE_STEP_AGAIN) {
    return step;
  }
  return may_reopen(c) ? reopen(c) : request_end(c, &outcome);
}

/* What was asked is settled already; this is between us and the server. */
static cenote_step stream_closed(cenote_connection *c)
{
  cenote_error ignored = CENOTE_ERROR_INIT;
  struct ls_outcome outcome;
  const bool broken = c->broken;
  ls_take_pipeline(c, &outcome, &ignored);
  if (c->plan.close) {
    ls_stream_drop(c);
    c->broken = broken; /* it expires by itself */
  }
  return ls_settle(c, c->outcome);
}

cenote_step ls_advance(cenote_connection *c)
{
  if (c->phase == LS_CURSOR) {
    return cursor_step(c);
  }
  if (!cen_http_call_done(c->call)) {
    return CENOTE_STEP_AGAIN;
  }
  switch (c->phase) {
  case LS_LOGIN:
    return ls_login_end(c);
  case LS_PROBE:
    return ls_probe_end(c);
  case LS_CLOSE_STREAM:
    return stream_closed(c);
  case LS_GOODBYE:
    ls_stream_drop(c);
    return ls_settle(c, CENOTE_OK);
  default:
    return pipeline_end(c);
  }
}
