/* wire_io.c - a session that pipelines without libpq: taking it over and giving it back, bytes out
 * and in. See wire.h. */
#include "driver/postgres/wire.h"
#include "net/clock.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum {
  IN_ROOM = 64 << 10,  /* what is kept for reading; more while a row is larger */
  IN_SPARE = 16 << 10, /* with less room behind what is unread, that moves to the front */
  OUT_KEPT = 64 << 10, /* of a send buffer that had to grow */
  OUT_MOST = INT32_MAX
};

/*
 * The session is ours when libpq has nothing more to send and has looked at all that came. What it
 * does not tell is whether it holds the beginning of a message (a notice, a notification, a setting
 * that moved: nothing else comes between requests) whose end is still on its way. Its end would be
 * the first that we read, and would not pass for a message: of those three the last byte is a
 * NUL, which is no type; and if more is missing, text stands where the length of a message
 * should be, or what a length and a body make of the NULs and of the message behind them does not
 * end where it has to. So it is found at the first answer at the latest, and the connection is LOST.
 */
static bool libpq_is_through(cenote_connection *c)
{
  if (PQflush(c->conn) != 0 || !pg_still_there(c) || PQstatus(c->conn) != CONNECTION_OK) {
    return false;
  }
  pthread_mutex_lock(&c->guard);
  bool busy = PQisBusy(c->conn) != 0;
  pthread_mutex_unlock(&c->guard);
  return !busy && PQtransactionStatus(c->conn) == PQTRANS_IDLE;
}

/* Whoever reads times as text reads ISO 8601 only. Before 10 a server could have them as floats. */
static bool times_are_known(const PGconn *conn)
{
  const char *style = PQparameterStatus(conn, "DateStyle");
  const char *integer = PQparameterStatus(conn, "integer_datetimes");
  return style && strncmp(style, "ISO", 3) == 0 && integer && strcmp(integer, "on") == 0;
}

struct pg_wire *pg_wire_new(cenote_connection *c)
{
  if (!c->shared->wire || PQsslInUse(c->conn) || PQgssEncInUse(c->conn) ||
      PQprotocolVersion(c->conn) != 3 || PQsocket(c->conn) < 0 || !libpq_is_through(c)) {
    return NULL;
  }
  struct pg_wire *wire = calloc(1, sizeof(*wire));
  char *in = wire ? malloc(IN_ROOM) : NULL;
  if (!in) {
    free(wire);
    return NULL;
  }
  wire->fd = PQsocket(c->conn);
  wire->times = times_are_known(c->conn);
  wire->in = in;
  wire->capacity = IN_ROOM;
  cen_buf_init(&wire->out, OUT_MOST);
  return wire;
}

void pg_wire_free(struct pg_wire *wire)
{
  if (wire) {
    cen_buf_deinit(&wire->out);
    free(wire->in);
    free(wire->types);
    free(wire);
  }
}

/* Half a message that we read would be missing to libpq. */
bool pg_wire_leave(cenote_connection *c)
{
  const struct pg_wire *wire = c->wire;
  return !wire->closed && !wire->unwritable && !wire->unlike_libpq && wire->start == wire->end &&
         wire->out.size == 0 && !wire->out.failed;
}

/* --------------------------------------------------------------------------------- bytes */

static void sent_all(cenote_connection *c)
{
  struct pg_wire *wire = c->wire;
  c->flushing = false;
  wire->sent = 0;
  if (wire->out.capacity > OUT_KEPT) {
    cen_buf_deinit(&wire->out);
  }
  wire->out.size = 0;
}

/* Where the network never takes all of it, what it took must not pile up. */
static void forget_sent(struct pg_wire *wire)
{
  size_t left = wire->out.size - wire->sent;
  if (wire->sent >= OUT_KEPT && wire->sent >= left) {
    memmove(wire->out.data, wire->out.data + wire->sent, left);
    wire->out.size = left;
    wire->sent = 0;
  }
}

void pg_wire_flush(cenote_connection *c)
{
  struct pg_wire *wire = c->wire;
  while (wire->sent < wire->out.size) {
    ssize_t sent = send(wire->fd, wire->out.data + wire->sent, wire->out.size - wire->sent,
                        MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0) {
      wire->sent += (size_t)sent;
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      c->flushing = true;
      forget_sent(wire);
      return;
    } else if (errno != EINTR) {
      wire->unwritable = true;
      break;
    }
  }
  sent_all(c);
}

/* Room for more of a message that has `whole` bytes, or at least some. It grows with what did
 * arrive, not with what was announced. */
static bool make_room(struct pg_wire *wire, size_t whole)
{
  size_t unread = wire->end - wire->start;
  if (unread == 0) {
    wire->start = wire->end = 0;
  }
  if (unread == 0 && wire->capacity > IN_ROOM) { /* the large row is gone */
    char *smaller = realloc(wire->in, IN_ROOM);
    if (smaller) {
      wire->in = smaller;
      wire->capacity = IN_ROOM;
    }
  }
  if (wire->start > 0 && wire->capacity - wire->end < IN_SPARE) {
    memmove(wire->in, wire->in + wire->start, unread);
    wire->start = 0;
    wire->end = unread;
  }
  if (wire->end < wire->capacity) {
    return true;
  }
  size_t capacity = wire->capacity < IN_ROOM ? IN_ROOM : wire->capacity * 2;
  capacity = whole > wire->capacity && whole < capacity ? whole : capacity;
  char *larger = realloc(wire->in, capacity);
  if (larger) {
    wire->in = larger;
    wire->capacity = capacity;
  }
  return larger != NULL;
}

void pg_wire_receive(cenote_connection *c, size_t whole)
{
  struct pg_wire *wire = c->wire;
  ssize_t got;
  wire->filled = false;
  if (!make_room(wire, whole)) {
    pg_pipe_lose_sync(c, "out of memory for what the server sends");
    return;
  }
  size_t room = wire->capacity - wire->end;
  do {
    got = recv(wire->fd, wire->in + wire->end, room, MSG_DONTWAIT);
  } while (got < 0 && errno == EINTR);
  if (got > 0) {
    wire->end += (size_t)got;
    wire->filled = (size_t)got == room;
    c->pipe->answered_ns = cen_now_ns();
  } else if (got == 0 || (errno != EAGAIN && errno != EWOULDBLOCK)) {
    wire->closed = true;
  } else if (wire->unwritable) { /* it says nothing more */
    wire->closed = true;
  }
}

void pg_wire_wants(cenote_connection *c, cenote_wants *wants)
{
  struct pg_wire *wire = c->wire;
  if (wire->sent < wire->out.size && !c->flushing && !c->pipe->dead) {
    pg_wire_flush(c);
  }
  wants->fd = wire->fd;
  wants->events = (short)(POLLIN | (c->flushing ? POLLOUT : 0));
  if (c->more || c->pipe->dead || wire->closed || wire->unwritable) {
    wants->deadline_ns = 0;
  }
}
