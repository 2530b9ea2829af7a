/* fuzz_pg_wire.c - any bytes from a server to a session that pipelines without libpq: each request
 * has at most one answer, in order, and in the end the connection is lost; nothing else.
 *
 * The first byte says how many requests are in flight, six bits of each of the next bytes which;
 * then come pieces: a byte with the size, and so many bytes that arrive at once. */
#include "base/result.h"
#include "driver/postgres/wire.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FLIGHTS = 8, ROOM = 16 };

static void require(bool fact)
{
  if (!fact) {
    abort();
  }
}

struct place {
  struct pg_shared shared;
  cenote_driver_params params;
  struct cenote_connection c;
  struct pg_statement *statement;
  struct cenote_sink sinks[FLIGHTS];
  int server;
  bool is_hidden[FLIGHTS];
  size_t count, answered;
};

static void place_open(struct place *place)
{
  cenote_error error = CENOTE_ERROR_INIT;
  int pair[2];
  struct cenote_connection *c = &place->c;
  memset(place, 0, sizeof(*place));
  require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) == 0);
  place->server = pair[1];
  c->params = &place->params;
  c->shared = &place->shared;
  c->fd = pair[0];
  require(pthread_mutex_init(&c->guard, NULL) == 0);
  c->pipe = calloc(1, sizeof(*c->pipe));
  c->wire = calloc(1, sizeof(*c->wire));
  require(c->pipe && c->wire);
  c->pipe->owner = c;
  c->pipe->room = ROOM;
  c->pipe->batch = 1;
  c->pipe->ring = calloc(ROOM, sizeof(*c->pipe->ring));
  c->wire->fd = pair[0];
  c->wire->capacity = 64; /* so that it has to grow */
  c->wire->in = malloc(c->wire->capacity);
  cen_buf_init(&c->wire->out, 1 << 20);
  require(c->pipe->ring && c->wire->in);
  require(pg_statement_get(&c->statements, "SELECT 1", false, &place->statement, &error) ==
          CENOTE_OK);
}

static void add_flight(struct place *place, unsigned what)
{
  cenote_error error = CENOTE_ERROR_INIT;
  struct pg_pipe *pipe = place->c.pipe;
  size_t number = place->count++;
  struct pg_flight flight = {.kind = (uint8_t)(what & 3), .commands = 1, .synced = true};
  require(cen_sink_init_result(&place->sinks[number], 5, 4096, &error) == CENOTE_OK);
  if (flight.kind == FLIGHT_EXECUTE) {
    flight.sink = what & 8 ? NULL : &place->sinks[number];
    flight.statement = place->statement;
    flight.statement->pins++;
    flight.prepared = (what & 4) != 0;
    flight.prepares = !flight.prepared && (what & 8);
    flight.commands = flight.prepares ? 2 : 1;
    flight.number = flight.statement->number;
    flight.binary = what & 16 ? UINT64_MAX : 0;
    flight.flags = what & 32 ? CENOTE_REQUEST_TIMES : 0;
  } else if (flight.kind == FLIGHT_CHECK) {
    flight.commands = 0;
    flight.synced = true;
  }
  if (flight.kind == FLIGHT_EXECUTE && (what & 12) == 4 && number + 1 < FLIGHTS) {
    flight.shares = true;
    flight.synced = false; /* a batch: the next one is given its sync */
  }
  place->is_hidden[number] = pg_flight_is_hidden(&flight);
  *pg_flight_at(pipe, pipe->count++) = flight;
  pipe->visible += !place->is_hidden[number];
  place->c.running = pipe->visible > 0;
  if (pipe->count == 1) {
    pg_pipe_head(&place->c);
  }
}

/* All answers that there are now; false: LOST. */
static bool answers(struct place *place, short revents)
{
  size_t visible = place->c.pipe->visible;
  for (int i = 0; i < 1000; i++) {
    cenote_error error = CENOTE_ERROR_INIT;
    switch (pg_pipe_read(&place->c, revents, &error)) {
    case CENOTE_ANSWER_NONE:
      if (!place->c.more) {
        return true;
      }
      break;
    case CENOTE_ANSWER_LOST:
      require(error.status == CENOTE_CONNECTION_LOST);
      require(place->c.pipe->count == 0 && place->c.pipe->dead);
      return false;
    case CENOTE_ANSWER_DONE:
      require(error.status == CENOTE_OK && visible-- > 0);
      break;
    case CENOTE_ANSWER_ENOUGH:
      break;
    default:
      require(error.status != CENOTE_OK && visible-- > 0);
      break;
    }
    revents = 0;
    require(place->c.pipe->visible == visible);
  }
  abort();
}

static void place_close(struct place *place)
{
  struct cenote_connection *c = &place->c;
  close(place->server);
  close(c->wire->fd);
  pg_pipe_free(c);
  for (size_t i = 0; i < place->count; i++) {
    cen_sink_deinit(&place->sinks[i]);
  }
  pg_statement_done(place->statement);
  pg_statements_free(c->statements);
  free(c->failure);
  free(c->cells);
  pthread_mutex_destroy(&c->guard);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  static struct place place;
  if (size < 1 + FLIGHTS) {
    return 0;
  }
  place_open(&place);
  for (size_t i = 0; i < data[0] % (FLIGHTS + 1u); i++) {
    add_flight(&place, data[1 + i]);
  }
  if (place.count > 0) {
    pg_flight_at(place.c.pipe, place.count - 1)->synced = true;
  }
  data += 1 + FLIGHTS;
  size -= 1 + FLIGHTS;
  bool alive = true;
  while (alive && size > 1) {
    size_t piece = data[0] < size - 1 ? data[0] + 1u : size - 1;
    piece = piece < size - 1 ? piece : size - 1;
    require(send(place.server, data + 1, piece, MSG_NOSIGNAL) == (ssize_t)piece);
    data += 1 + piece;
    size -= 1 + piece;
    alive = answers(&place, POLLIN);
  }
  if (alive) {
    require(shutdown(place.server, SHUT_RDWR) == 0);
    require(!answers(&place, POLLIN | POLLHUP));
  }
  place_close(&place);
  return 0;
}
