/* wire_rows.c - columns and rows, out of the receive buffer into the sink. See wire.h. */
#include "driver/postgres/wire.h"
#include "wire/pg_types.h"

#include <stdlib.h>
#include <string.h>

enum { FEW_COLUMNS = 16, MOST_BINARY = 64 };

static bool types_reserve(struct pg_wire *wire, size_t count)
{
  if (count <= wire->type_room) {
    return true;
  }
  uint32_t *larger = realloc(wire->types, count * sizeof(*larger));
  if (larger) {
    wire->types = larger;
    wire->type_room = count;
  }
  return larger != NULL;
}

static void no_memory(cenote_connection *c, const char *what)
{
  cenote_error why; /* large: filled on failure only */
  why.size = sizeof(why);
  (void)cenote_error_set(&why, CENOTE_NO_MEMORY, "out of memory %s", what);
  pg_sink_failed(c, CENOTE_NO_MEMORY, &why);
}

static bool is_asked(uint64_t columns, size_t column)
{
  return column < MOST_BINARY && (columns >> column & 1);
}

/* Which columns may come in binary from now on: those of this preparation never change. */
static void note_columns(const struct pg_flight *flight, const uint32_t *types, size_t count)
{
  struct pg_statement *statement = flight->statement;
  if (!(flight->prepares || flight->prepared) || statement->number != flight->number ||
      statement->told == flight->number) {
    return;
  }
  statement->told = flight->number;
  statement->columns = (uint32_t)count;
  statement->binary = statement->binary_reals = statement->binary_times = 0;
  for (size_t i = 0; i < count && count <= MOST_BINARY; i++) {
    const enum cen_pg_binary how = cen_pg_binary(types[i]);
    statement->binary |= (uint64_t)(how == CEN_PG_BINARY) << i;
    statement->binary_reals |= (uint64_t)(how == CEN_PG_BINARY_REAL) << i;
    statement->binary_times |= (uint64_t)(how == CEN_PG_BINARY_TIME) << i;
  }
}

/* What the server says of a column counts, not what was asked for. Binary that was not asked for (a
 * binary cursor's) is passed on as it is. False: it is, and cannot be read. */
static bool note_format(struct pg_wire *wire, const struct pg_flight *flight, size_t i,
                        const struct cen_pg_column *column)
{
  wire->types[i] = column->type;
  if (column->format == 0) {
    return true;
  }
  if (!is_asked(flight->binary, i)) {
    wire->types[i] = WIRE_BINARY;
    return true;
  }
  const enum cen_pg_binary how = cen_pg_binary(column->type);
  wire->binary |= UINT64_C(1) << i;
  return how != CEN_PG_NO_BINARY &&
         (how != CEN_PG_BINARY_TIME || (flight->flags & CENOTE_REQUEST_TIMES));
}

bool pg_wire_columns(cenote_connection *c, const struct cen_pg_message *message)
{
  struct pg_wire *wire = c->wire;
  const struct pg_flight *flight = pg_flight_at(c->pipe, 0);
  struct cen_pg_reader reader;
  if (!cen_pg_columns(message, &reader)) {
    return false;
  }
  size_t count = reader.left;
  cenote_column few[FEW_COLUMNS];
  cenote_column *columns = count <= FEW_COLUMNS ? few : calloc(count, sizeof(*columns));
  bool memory = columns && types_reserve(wire, count);
  bool fine = true;
  for (size_t i = 0; i < count && fine; i++) {
    struct cen_pg_column column;
    fine = cen_pg_column_next(&reader, &column);
    if (fine && memory) {
      fine = note_format(wire, flight, i, &column);
      columns[i] = (cenote_column){.name = column.name,
                                   .type = pg_type_name(column.type),
                                   .oid = column.type,
                                   .table_oid = column.table,
                                   .attribute = column.attribute,
                                   .type_size = column.type_size,
                                   .modifier = column.modifier};
    }
  }
  fine = fine && cen_pg_is_read(&reader);
  wire->has_columns = true;
  wire->type_count = count;
  c->columns_told = true;
  if (fine && memory && flight->statement) {
    note_columns(flight, wire->types, count);
  }
  if (fine && !memory) {
    no_memory(c, "for the columns");
  } else if (fine && !c->failed && c->request->sink && count > 0) {
    cenote_error why; /* as above */
    why.size = sizeof(why);
    cenote_status status = cenote_sink_columns(c->request->sink, columns, count, &why);
    if (status != CENOTE_OK) {
      pg_sink_failed(c, status, &why);
    }
  }
  if (columns != few) {
    free(columns);
  }
  return fine;
}

/* One cell that is no NULL. False: its bytes are not of its type. */
static bool read_cell(const struct pg_wire *wire, size_t i, bool raw, char *bytes, size_t size,
                      cenote_value *value)
{
  const uint32_t type = wire->types[i];
  if (is_asked(wire->binary, i)) {
    return cen_pg_binary_value(type, bytes, size, value);
  }
  if (raw || type == WIRE_BINARY || !cen_pg_value(type, bytes, size, value)) {
    *value = cenote_text_n(bytes, size);
  }
  return true;
}

bool pg_wire_row(cenote_connection *c, const struct cen_pg_message *message)
{
  const struct pg_wire *wire = c->wire;
  const size_t count = wire->type_count;
  struct cen_pg_reader reader;
  if (!cen_pg_cells(message, &reader) || reader.left != count) {
    return false;
  }
  if (c->failed || !c->request->sink) {
    return true; /* nobody looks at it */
  }
  if (!pg_cells_reserve(c, count)) {
    no_memory(c, "while reading a row");
    return true;
  }
  const bool raw = (c->request->flags & CENOTE_REQUEST_RAW_TEXT) != 0;
  cenote_value *cells = c->cells;
  for (size_t i = 0; i < count; i++) {
    char *bytes;
    size_t size;
    if (!cen_pg_cell_next(&reader, &bytes, &size)) {
      return false;
    }
    if (!bytes) {
      cells[i].type = CENOTE_NULL;
      cells[i].size = 0;
      cells[i].name = NULL;
    } else if (!read_cell(wire, i, raw, bytes, size, &cells[i])) {
      return false;
    }
  }
  if (!cen_pg_is_read(&reader)) {
    return false;
  }
  cenote_error why; /* as above */
  why.size = sizeof(why);
  cenote_status status = cenote_sink_row(c->request->sink, cells, count, &why);
  if (status != CENOTE_OK) {
    pg_sink_failed(c, status, &why);
  }
  return true;
}

/* The number that ends a tag; SELECT's is the rows', except where it made a table. */
int64_t pg_wire_affected(const struct pg_wire *wire, const char *tag)
{
  static const char *const counting[] = {"SELECT ", "INSERT ", "UPDATE ", "DELETE ",
                                         "MERGE ",  "FETCH ",  "MOVE ",   "COPY "};
  bool counts = false;
  for (size_t i = 0; i < sizeof(counting) / sizeof(*counting) && !counts; i++) {
    counts = strncmp(tag, counting[i], strlen(counting[i])) == 0;
  }
  if (!counts || (wire->has_columns && wire->type_count > 0 && strncmp(tag, "SELECT", 6) == 0)) {
    return 0;
  }
  return strtoll(strrchr(tag, ' ') + 1, NULL, 10);
}
