/* wire_rows.c - columns and rows, out of the receive buffer into the sink. See wire.h. */
#include "driver/postgres/wire.h"
#include "wire/pg_types.h"

#include <stdlib.h>
#include <string.h>

enum { FEW_COLUMNS = 16 };

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

bool pg_wire_columns(cenote_connection *c, const struct cen_pg_message *message)
{
  struct pg_wire *wire = c->wire;
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
      wire->types[i] = column.format == 0 ? column.type : WIRE_BINARY;
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

bool pg_wire_row(cenote_connection *c, const struct cen_pg_message *message)
{
  const struct pg_wire *wire = c->wire;
  struct cen_pg_reader reader;
  if (!cen_pg_cells(message, &reader) || reader.left != wire->type_count) {
    return false;
  }
  if (c->failed || !c->request->sink) {
    return true; /* nobody looks at it */
  }
  if (!pg_cells_reserve(c, wire->type_count)) {
    no_memory(c, "while reading a row");
    return true;
  }
  bool raw = (c->request->flags & CENOTE_REQUEST_RAW_TEXT) != 0;
  for (size_t i = 0; i < wire->type_count; i++) {
    char *text;
    size_t size;
    if (!cen_pg_cell_next(&reader, &text, &size)) {
      return false;
    }
    if (!text) {
      c->cells[i] = cenote_null();
    } else if (raw || wire->types[i] == WIRE_BINARY ||
               !cen_pg_value(wire->types[i], text, size, &c->cells[i])) {
      c->cells[i] = cenote_text_n(text, size);
    }
  }
  if (!cen_pg_is_read(&reader)) {
    return false;
  }
  cenote_error why; /* as above */
  why.size = sizeof(why);
  cenote_status status = cenote_sink_row(c->request->sink, c->cells, wire->type_count, &why);
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
