/* wire_send.c - requests as messages, into the buffer that wants() sends. See wire.h. */
#include "driver/postgres/wire.h"

enum {
  SEND_AT = 64 << 10, /* so much is not held back any longer */
  OVERHEAD = 4 << 10  /* more than a request has beside text and arguments, with what is hidden
                         in front of it */
};

/* What was begun and has no room left is taken out again. */
static bool added(struct pg_wire *wire, size_t before)
{
  if (wire->out.failed) {
    wire->out.size = before;
    return false;
  }
  return true;
}

bool pg_wire_reserve(cenote_connection *c, const struct pg_statement *statement,
                     const struct pg_args *args, size_t count)
{
  struct cen_buf *out = &c->wire->out;
  size_t size = OVERHEAD;
  if (statement) {
    size += statement->sql_size + count * 24; /* `?` becomes `$1` … */
  }
  for (size_t i = 0; i < count; i++) {
    size += (size_t)args->lengths[i];
  }
  size_t before = out->size;
  bool room = cen_buf_room(out, size) != NULL;
  out->size = before;
  out->failed = false;
  return room;
}

uint64_t pg_wire_binary(const cenote_connection *c, const struct pg_flight *flight)
{
  const struct pg_statement *statement = flight->statement;
  if (!flight->prepared || statement->told != flight->number ||
      (flight->flags & CENOTE_REQUEST_RAW_TEXT)) {
    return 0;
  }
  const bool times = (flight->flags & CENOTE_REQUEST_TIMES) && c->wire->times;
  return statement->binary | (c->wire->reals ? statement->binary_reals : 0) |
         (times ? statement->binary_times : 0);
}

bool pg_wire_execute(cenote_connection *c, const struct pg_flight *flight, const char *name,
                     const char *sql, const struct pg_args *args, size_t count)
{
  struct pg_wire *wire = c->wire;
  size_t before = wire->out.size;
  bool named = flight->prepares || flight->prepared;
  const struct cen_pg_args all = {.count = count,
                                  .values = args->values,
                                  .sizes = args->lengths,
                                  .formats = args->formats,
                                  .types = args->types,
                                  .columns = flight->binary ? flight->statement->columns : 0,
                                  .binary = flight->binary};
  if (!flight->prepared) {
    cen_pg_put_parse(&wire->out, named ? name : "", sql, &all);
  }
  cen_pg_put_bind(&wire->out, named ? name : "", &all);
  cen_pg_put_describe(&wire->out);
  cen_pg_put_execute(&wire->out);
  return added(wire, before);
}

bool pg_wire_close(cenote_connection *c, const char *name)
{
  size_t before = c->wire->out.size;
  cen_pg_put_close(&c->wire->out, name);
  return added(c->wire, before);
}

bool pg_wire_sync(cenote_connection *c)
{
  struct pg_wire *wire = c->wire;
  size_t before = wire->out.size;
  cen_pg_put_sync(&wire->out);
  if (!added(wire, before)) {
    return false;
  }
  if (wire->out.size - wire->sent >= SEND_AT && !c->flushing) {
    pg_wire_flush(c);
  }
  return true;
}
