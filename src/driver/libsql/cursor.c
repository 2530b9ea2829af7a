/*
 * cursor.c - rows as they come (Hrana 3). A cursor's three steps: the statement; whether anything
 * still goes when it has failed; whether a transaction is open.
 *
 * A stream outlives its cursor, so one that nothing keeps is closed by a request of its own
 * afterwards. Who wants no more rows hangs up, which ends the stream; within a transaction the rest is read first, if
 * it is not much.
 */
#include "driver/libsql/libsql.h"

#include "base/error.h"
#include "wire/hrana.h"

#include <stdlib.h>

enum { STATEMENT, GUARD, STATE };

bool ls_cursor_wanted(const cenote_connection *c)
{
  return (c->request->flags & CENOTE_REQUEST_STREAM) != 0 && c->request->sink != NULL &&
         atomic_load(&c->shared->version) >= 3;
}

void ls_cursor_end(cenote_connection *c)
{
  if (c->cursor != NULL) {
    cen_hrana_cursor_deinit(c->cursor);
    free(c->cursor);
    c->cursor = NULL;
  }
  cen_buf_deinit(&c->trouble);
  ls_raw_free(c->raw);
  c->raw = NULL;
}

cenote_status ls_cursor_begin(cenote_connection *c, cenote_error *error)
{
  const bool raw = (c->request->flags & CENOTE_REQUEST_RAW_TEXT) != 0;
  c->cursor = calloc(1, sizeof *c->cursor);
  c->raw = raw ? ls_raw_new(c->request->sink) : NULL;
  if (c->cursor == NULL || (raw && c->raw == NULL)) {
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory for a cursor");
  }
  cen_hrana_cursor_init(c->cursor, c->shared->max_answer);
  cen_buf_init(&c->trouble, c->shared->max_answer);
  c->drained = 0;
  c->any_rows = c->unwanted = c->saw_step = c->saw_autocommit = c->saw_bad = false;
  c->cursor_status = CENOTE_OK;
  return ls_send_cursor(c, error);
}

static cenote_sink *sink_of(const cenote_connection *c)
{
  return c->raw != NULL ? ls_raw_sink(c->raw) : c->request->sink;
}

/* The sink has had enough. */
static void refused(cenote_connection *c, cenote_status status)
{
  if (status != CENOTE_OK && c->cursor_status == CENOTE_OK) {
    c->cursor_status = status;
    c->unwanted = true;
    if (!c->in_transaction) {
      cen_http_call_cancel(c->call, c->stop.serial);
    }
  }
}

static void entry_take(cenote_connection *c, const struct cen_hrana_entry *entry,
                       cenote_error *error)
{
  const bool wanted = entry->step == STATEMENT && !c->unwanted;
  switch (entry->kind) {
  case CEN_HRANA_ENTRY_BATON:
    c->cursor_status = ls_stream_note(c, entry->baton, entry->base_url, error);
    break;
  case CEN_HRANA_ENTRY_STEP_BEGIN:
    c->saw_autocommit = c->saw_autocommit || entry->step == STATE;
    if (wanted) {
      refused(c, cenote_sink_columns(sink_of(c), entry->columns, entry->count, error));
    }
    break;
  case CEN_HRANA_ENTRY_ROW:
    if (wanted) {
      c->any_rows = true;
      refused(c, cenote_sink_row(sink_of(c), entry->values, entry->count, error));
    }
    break;
  case CEN_HRANA_ENTRY_STEP_END:
    c->saw_step = c->saw_step || entry->step == STATEMENT;
    if (wanted) {
      cenote_sink_complete(sink_of(c), entry->affected, entry->last_rowid, "");
    }
    break;
  case CEN_HRANA_ENTRY_STEP_ERROR:
    c->saw_bad = c->saw_bad || entry->step == GUARD;
    if (entry->step == STATEMENT) {
      c->saw_step = true;
      c->cursor_status = c->unwanted ? c->cursor_status : error->status;
    }
    break;
  case CEN_HRANA_ENTRY_ERROR:
    c->saw_step = true;
    c->cursor_status = c->cursor_status != CENOTE_OK ? c->cursor_status : error->status;
    break;
  }
}

/* CENOTE_OK, or what makes the rest worthless. */
static cenote_status lines_take(cenote_connection *c, const char *pieces, size_t size,
                                cenote_error *error)
{
  cenote_error ignored = CENOTE_ERROR_INIT;
  struct cen_hrana_entry entry;
  bool has = true;
  cenote_status status = cen_hrana_cursor_feed(c->cursor, pieces, size, error);
  while (status == CENOTE_OK && has) {
    /* the first error is the one to tell */
    cenote_error *into = c->cursor_status == CENOTE_OK ? error : &ignored;
    status = cen_hrana_cursor_next(c->cursor, &has, &entry, into);
    if (status == CENOTE_OK && has) {
      entry_take(c, &entry, into);
    }
  }
  return status;
}

static void pieces_take(cenote_connection *c, const char *pieces, size_t size, int http,
                        cenote_error *error)
{
  if (http < 200 || http > 299) {
    cen_buf_add(&c->trouble, pieces, size);
    return;
  }
  if (c->unwanted && (c->drained += size) > LS_DRAIN_BYTES) {
    cen_http_call_cancel(c->call, c->stop.serial);
  }
  if (c->garbled == CENOTE_OK) {
    cenote_error why = CENOTE_ERROR_INIT;
    c->garbled = lines_take(c, pieces, size, c->cursor_status == CENOTE_OK ? error : &why);
    if (c->garbled != CENOTE_OK) {
      cen_http_call_cancel(c->call, c->stop.serial);
    }
  }
}

static void trouble_take(cenote_connection *c, int http, struct ls_outcome *outcome,
                         cenote_error *error)
{
  static char none[1] = "";
  struct cen_hrana_answer answer;
  const cenote_status status =
      cen_hrana_answer_open(&answer, http, c->trouble.data != NULL ? c->trouble.data : none,
                            c->trouble.size, c->shared->max_answer, 0, error);
  cen_hrana_answer_close(&answer);
  outcome->status = ls_take_refusal(c, http, status, error);
}

static void conclude(cenote_connection *c, struct ls_outcome *outcome, cenote_error *error)
{
  const struct cen_http_reply *reply = cen_http_call_reply(c->call);
  cenote_status status = c->garbled;
  if (status == CENOTE_OK && reply->failure == CEN_HTTP_FINE) {
    status = cen_hrana_cursor_end(c->cursor, error);
    if (status == CENOTE_OK && !c->saw_step && c->cursor_status == CENOTE_OK) {
      status = cenote_error_set(error, CENOTE_IO, "the answer of the server: no result");
    }
  }
  if (c->unwanted && reply->failure != CEN_HTTP_FINE) { /* we hung up */
    ls_stream_lose(c, true);
    outcome->status = c->cursor_status;
  } else if (status != CENOTE_OK) {
    outcome->status = ls_misread(c, status, error);
  } else if (reply->failure != CEN_HTTP_FINE) {
    outcome->status = ls_take_failure(c, error);
  } else {
    atomic_store(&c->shared->proven, true);
    *outcome = (struct ls_outcome){.status = c->cursor_status,
                                   .answered = true,
                                   .autocommit_known = true,
                                   .autocommit = c->saw_autocommit,
                                   .bad = c->saw_bad};
    outcome->status = ls_verdict(c, outcome->status, error);
  }
}

cenote_step ls_cursor_pump(cenote_connection *c, struct ls_outcome *outcome, cenote_error *error)
{
  char *pieces;
  size_t size;
  int http;
  const bool done = cen_http_call_read(c->call, &pieces, &size, &http);
  if (pieces != NULL) {
    pieces_take(c, pieces, size, http, error);
    free(pieces);
  }
  if (!done) {
    return CENOTE_STEP_AGAIN;
  }
  *outcome = (struct ls_outcome){.status = CENOTE_OK};
  const bool fine = cen_http_call_reply(c->call)->failure == CEN_HTTP_FINE;
  if (fine && (http < 200 || http > 299)) {
    trouble_take(c, http, outcome, error);
  } else {
    conclude(c, outcome, error);
  }
  if (c->raw != NULL) {
    outcome->status = ls_raw_status(c->raw, outcome->status, error);
  }
  ls_cursor_end(c);
  return CENOTE_STEP_DONE;
}
