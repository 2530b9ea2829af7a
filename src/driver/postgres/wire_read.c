/*
 * wire_read.c - the server's messages become answers. See wire.h.
 *
 *   a flight's answer:   [1] 2 (T | n) D… C   Z      a statement, parsed or prepared before
 *                        3 Z                         a statement that is closed
 *                        Z                           a check
 *   E in place of any of them, then nothing but Z. A, N and S may come at any time.
 *
 * In a batch (batch.c) only the last one has a Z, and behind an E nothing comes until then.
 *
 * Whatever does not fit means that nobody knows any more whose answer is whose: the connection is
 * LOST, with all that is in flight.
 */
#include "base/error.h"
#include "driver/postgres/wire.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

enum { READS_A_STEP = 16 /* then others get their turn on the same thread */ };

static const char unasked[] = "the server sent something that nobody asked for";
static const char malformed[] = "the server sent a message that is malformed";

void pg_wire_head(struct pg_wire *wire, const struct pg_flight *head)
{
  wire->erred = wire->has_columns = false;
  wire->type_count = 0;
  wire->binary = 0;
  switch ((enum flight_kind)head->kind) {
  case FLIGHT_CHECK:
    wire->phase = WIRE_SYNC;
    break;
  case FLIGHT_BURY:
    wire->phase = WIRE_CLOSE;
    break;
  default:
    wire->phase = head->prepared ? WIRE_BIND : WIRE_PARSE;
    break;
  }
}

/* ------------------------------------------------------------------ what may come at any time */

/* Our own hidden statement moves one setting. What moved otherwise is for a reset to undo; libpq,
 * which did not see it, then sees what it saw last. */
static void parameter_moved(cenote_connection *c, const char *name)
{
  const struct pg_pipe *pipe = c->pipe;
  bool ours = pipe->count > 0 && pg_flight_at(pipe, 0)->kind == FLIGHT_READ_ONLY;
  if (strcmp(name, "DateStyle") == 0) {
    c->wire->times = false;
  }
  if (strcmp(name, "in_hot_standby") == 0) {
    c->wire->unlike_libpq = true; /* promoted: no reset brings that back */
  } else if (c->login_level != PG_LEVEL_POOLER &&
             !(ours && strcmp(name, "default_transaction_read_only") == 0)) {
    c->dirty = true;
  }
}

static bool is_fatal(const struct pg_said *said)
{
  return pg_said(said, PG_DIAG_SEVERITY_NONLOCALIZED)[0] != 'E';
}

static bool is_last(const struct pg_pipe *pipe)
{
  return pg_flight_at(pipe, 0)->synced;
}

static void got_error(cenote_connection *c, const struct cen_pg_message *message)
{
  struct pg_wire *wire = c->wire;
  const struct pg_said said = {.message = message};
  if (!cen_pg_is_fields(message)) {
    pg_pipe_lose_sync(c, malformed);
  } else if (c->pipe->count == 0) { /* a goodbye */
    pg_notice(c, &said);
    pg_pipe_lose_sync(c, unasked);
  } else if (wire->erred && !is_fatal(&said)) {
    pg_pipe_lose_sync(c, "the server told two errors of one statement");
  } else {
    pg_pipe_error(c, &said);
    wire->erred = true;
    wire->phase = WIRE_SYNC;
    c->pipe->ended = pg_flight_at(c->pipe, 0)->commands;
    wire->skipping = !is_last(c->pipe);
  }
}

/* False: it is about a request. */
static bool got_aside(cenote_connection *c, const struct cen_pg_message *message)
{
  const char *name;
  const char *value;
  bool fine = true;
  switch (message->type) {
  case 'A': /* nobody to tell */
    fine = cen_pg_notification(message);
    break;
  case 'N':
    fine = cen_pg_is_fields(message);
    if (fine) {
      pg_notice(c, &(struct pg_said){.message = message});
    }
    break;
  case 'S':
    fine = cen_pg_parameter(message, &name, &value);
    if (fine) {
      parameter_moved(c, name);
    }
    break;
  case 'E':
    got_error(c, message);
    break;
  default:
    return false;
  }
  if (!fine) {
    pg_pipe_lose_sync(c, malformed);
  }
  return true;
}

/* ------------------------------------------------------------------------- the oldest flight */

static bool expected(const struct pg_wire *wire, char type)
{
  switch (type) {
  case '1':
    return wire->phase == WIRE_PARSE;
  case '2':
    return wire->phase == WIRE_BIND;
  case '3':
    return wire->phase == WIRE_CLOSE;
  case 'T':
  case 'n':
    return wire->phase == WIRE_DESCRIBE;
  case 'D':
    return wire->phase == WIRE_ROWS && wire->has_columns;
  case 'C':
  case 'I':
    return wire->phase == WIRE_ROWS;
  case 'Z':
    return wire->phase == WIRE_SYNC;
  default:
    return false;
  }
}

static bool got_tag(cenote_connection *c, const struct cen_pg_message *message)
{
  const char *tag;
  if (!cen_pg_tag(message, &tag)) {
    return false;
  }
  if (pg_flight_at(c->pipe, 0)->kind == FLIGHT_EXECUTE) {
    pg_complete(c, tag, pg_wire_affected(c->wire, tag));
  }
  return true;
}

/* Each sync point ends its transaction; if it did not, the next one's answers would be of
 * something else. */
static bool got_ready(cenote_connection *c, const struct cen_pg_message *message)
{
  char status;
  if (!cen_pg_ready(message, &status)) {
    return false;
  }
  if (status != 'I') {
    pg_pipe_lose_sync(c, "a transaction is open where none can be");
  }
  return true;
}

/* 1 to 3: a real's text has all its digits, since PostgreSQL 12. */
static bool has_all_digits(const cenote_connection *c, const char *text, size_t size)
{
  return PQserverVersion(c->conn) >= 120000 && size == 1 && text[0] >= '1' && text[0] <= '3';
}

/* The driver's own statement: there is a row if the session is ours, in it extra_float_digits and
 * the isolation of transactions if that matters. */
static bool got_own(cenote_connection *c, const struct cen_pg_message *message)
{
  static const char serializable[] = "serializable";
  struct pg_pipe *pipe = c->pipe;
  struct cen_pg_reader reader;
  char *text;
  size_t size;
  if (message->type == 'T') {
    c->wire->has_columns = true;
    return cen_pg_columns(message, &reader);
  }
  pipe->is_read_only = true;
  if (!cen_pg_cells(message, &reader) || !cen_pg_cell_next(&reader, &text, &size)) {
    return false;
  }
  if (reader.left > 0) {
    bool fine = cen_pg_cell_next(&reader, &text, &size) && text;
    c->wire->reals = fine && has_all_digits(c, text, size);
  }
  if (reader.left > 0) {
    bool fine = cen_pg_cell_next(&reader, &text, &size) && text;
    pipe->may_batch =
        fine && !(size == sizeof(serializable) - 1 && memcmp(text, serializable, size) == 0);
  }
  return cen_pg_is_read(&reader);
}

static bool got_rows(cenote_connection *c, const struct cen_pg_message *message)
{
  if (pg_flight_at(c->pipe, 0)->kind == FLIGHT_READ_ONLY) {
    return got_own(c, message);
  }
  return message->type == 'T' ? pg_wire_columns(c, message) : pg_wire_row(c, message);
}

static void got_answer(cenote_connection *c, const struct cen_pg_message *message)
{
  struct pg_wire *wire = c->wire;
  struct pg_pipe *pipe = c->pipe;
  bool fine = true;
  if (message->type == 'G' || message->type == 'H' || message->type == 'W') {
    pg_pipe_lose_sync(c, "COPY cannot be pipelined");
    return;
  }
  if (pipe->count == 0 || !expected(wire, message->type)) {
    pg_pipe_lose_sync(c,
                      pipe->count == 0 ? unasked : "the connection is out of step with the server");
    return;
  }
  switch (message->type) {
  case '1':
    fine = cen_pg_is_empty(message);
    wire->phase = WIRE_BIND;
    pipe->ended += pg_flight_at(pipe, 0)->prepares;
    break;
  case '2':
    fine = cen_pg_is_empty(message);
    wire->phase = WIRE_DESCRIBE;
    break;
  case 'n':
    fine = cen_pg_is_empty(message);
    wire->phase = WIRE_ROWS;
    break;
  case 'T':
    wire->phase = WIRE_ROWS;
    fine = got_rows(c, message);
    break;
  case 'D':
    fine = got_rows(c, message);
    break;
  case 'Z':
    fine = got_ready(c, message);
    break;
  default: /* 'C', 'I', '3': the last command has ended */
    fine = message->type == 'C' ? got_tag(c, message) : cen_pg_is_empty(message);
    if (message->type == 'I') {
      pg_execute_empty(c);
    }
    wire->phase = WIRE_SYNC;
    pipe->ended = pg_flight_at(pipe, 0)->commands;
    break;
  }
  if (!fine) {
    pg_pipe_lose_sync(c, malformed);
  }
}

/* --------------------------------------------------------------------------------- reading */

/* The next message; false: nothing more now. */
static bool next_message(cenote_connection *c, struct cen_pg_message *message, int *reads)
{
  struct pg_wire *wire = c->wire;
  while (!c->pipe->dead) {
    size_t whole;
    enum cen_pg_step step =
        cen_pg_take(wire->in + wire->start, wire->end - wire->start, message, &whole);
    if (step == CEN_PG_MESSAGE) {
      wire->start += whole;
      return true;
    }
    if (step == CEN_PG_BAD) {
      pg_pipe_lose_sync(c, "the server sent what is no message of its protocol");
      return false;
    }
    if (!wire->filled || wire->closed) {
      return false;
    }
    if ((*reads)++ == READS_A_STEP) {
      c->more = true;
      return false;
    }
    pg_wire_receive(c, whole);
  }
  return false;
}

static bool enough(cenote_connection *c, const struct cen_pg_message *message, bool was_fine)
{
  struct pg_pipe *pipe = c->pipe;
  if (!was_fine || !c->failed || message->type == 'E' || c->retry || pipe->told_enough ||
      pg_flight_at(pipe, 0)->kind != FLIGHT_EXECUTE) {
    return false;
  }
  pipe->told_enough = true;
  return true;
}

/* The oldest is behind one that failed, in the same batch; true: it is over with that. */
static bool skipped(cenote_connection *c)
{
  struct pg_wire *wire = c->wire;
  if (!wire->skipping || wire->erred) {
    return false;
  }
  pg_pipe_passed_over(c);
  wire->erred = true;
  wire->phase = WIRE_SYNC;
  c->pipe->ended = pg_flight_at(c->pipe, 0)->commands;
  wire->skipping = !is_last(c->pipe);
  return wire->skipping;
}

/* Its answer is complete: with the sync point's, or before the last of its batch has it. */
static bool is_over(cenote_connection *c, const struct cen_pg_message *message)
{
  const char type = message->type; /* mostly a row */
  return type == 'Z' || ((type == 'C' || type == 'E') && !is_last(c->pipe));
}

static cenote_answer read_messages(cenote_connection *c, cenote_error *error)
{
  struct cen_pg_message message;
  int rows = 0;
  int reads = 0;
  if (skipped(c)) {
    return pg_pipe_head_ended(c, error);
  }
  while (next_message(c, &message, &reads)) {
    bool was_fine = c->failed == CENOTE_OK;
    if (!got_aside(c, &message)) {
      got_answer(c, &message);
    }
    if (c->pipe->dead) {
      break;
    }
    if (is_over(c, &message)) {
      cenote_answer answer = pg_pipe_head_ended(c, error);
      if (answer != CENOTE_ANSWER_NONE) {
        return answer;
      }
    } else if (enough(c, &message, was_fine)) {
      return CENOTE_ANSWER_ENOUGH;
    } else if (message.type == 'D' && ++rows >= PG_ROWS_A_STEP) {
      c->more = true; /* others get their turn on the same thread */
      return CENOTE_ANSWER_NONE;
    }
  }
  if (c->wire->closed && !c->pipe->dead && !c->more) {
    c->pipe->dead = true;
    if (!c->goodbye[0]) {
      snprintf(c->goodbye, sizeof(c->goodbye), "the server closed the connection unexpectedly");
    }
  }
  return c->pipe->dead ? pg_pipe_lose(c, error) : CENOTE_ANSWER_NONE;
}

cenote_answer pg_wire_read(cenote_connection *c, short revents, cenote_error *error)
{
  struct pg_wire *wire = c->wire;
  c->more = false;
  pg_pipe_sync_all(c);
  if (c->flushing && revents) {
    pg_wire_flush(c);
  }
  if ((revents & (POLLIN | POLLHUP | POLLERR) || wire->unwritable) && !wire->closed) {
    pg_wire_receive(c, 0);
  }
  return read_messages(c, error);
}

/* What came while nothing was in flight. */
bool pg_wire_still_there(cenote_connection *c)
{
  struct cen_pg_message message;
  int reads = 0;
  bool came = false;
  pg_wire_receive(c, 0);
  while (next_message(c, &message, &reads)) {
    if (!got_aside(c, &message)) {
      got_answer(c, &message);
    }
    came = true;
  }
  return !c->pipe->dead && !c->wire->closed && !(came && atomic_load(&c->broken));
}
