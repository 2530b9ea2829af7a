/*
 * rows.c - columns and rows out.
 */
#include "driver/sqlite/connection.h"

#include <stdlib.h>

cenote_status cen_sq_columns(sqlite3_stmt *stmt, cenote_sink *sink, cenote_error *error)
{
  size_t count = (size_t)sqlite3_column_count(stmt);
  cenote_column *columns;
  cenote_status status;
  size_t i;
  if (!sink || count == 0) {
    return CENOTE_OK;
  }
  columns = calloc(count, sizeof(*columns));
  if (!columns) {
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory for %zu columns", count);
  }
  for (i = 0; i < count; i++) {
    columns[i].name = sqlite3_column_name(stmt, (int)i);
    columns[i].type = sqlite3_column_decltype(stmt, (int)i);
    if (!columns[i].name) {
      columns[i].name = "";
    }
  }
  status = cenote_sink_columns(sink, columns, count, error);
  free(columns);
  return status;
}

static bool take_text(sqlite3_stmt *stmt, int column, cenote_value *value)
{
  const unsigned char *text = sqlite3_column_text(stmt, column);
  value->type = CENOTE_TEXT;
  value->as.text = (const char *)text;
  value->size = (uint32_t)sqlite3_column_bytes(stmt, column);
  return text != NULL;
}

/* false: out of memory */
static bool take_value(sqlite3_stmt *stmt, int column, bool raw_text, cenote_value *value)
{
  *value = (cenote_value){.type = CENOTE_NULL};
  switch (sqlite3_column_type(stmt, column)) {
  case SQLITE_INTEGER:
    if (raw_text) {
      return take_text(stmt, column, value);
    }
    value->type = CENOTE_INTEGER;
    value->as.integer = sqlite3_column_int64(stmt, column);
    return true;
  case SQLITE_FLOAT:
    if (raw_text) {
      return take_text(stmt, column, value);
    }
    value->type = CENOTE_REAL;
    value->as.real = sqlite3_column_double(stmt, column);
    return true;
  case SQLITE_TEXT:
    return take_text(stmt, column, value);
  case SQLITE_BLOB:
    value->type = CENOTE_BLOB;
    value->as.blob = sqlite3_column_blob(stmt, column);
    value->size = (uint32_t)sqlite3_column_bytes(stmt, column);
    if (!value->as.blob) {
      value->as.blob = "";
      return value->size == 0;
    }
    return true;
  default:
    return true;
  }
}

cenote_status cen_sq_row(cenote_connection *connection, sqlite3_stmt *stmt,
                         const cenote_request *request, cenote_error *error)
{
  size_t count = (size_t)sqlite3_data_count(stmt);
  size_t i;
  if (!request->sink) {
    return CENOTE_OK;
  }
  if (count > connection->values_capacity) {
    cenote_value *values = realloc(connection->values, count * sizeof(*values));
    if (!values) {
      return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory for a row of %zu columns",
                              count);
    }
    connection->values = values;
    connection->values_capacity = count;
  }
  for (i = 0; i < count; i++) {
    if (!take_value(stmt, (int)i, (request->flags & CENOTE_REQUEST_RAW_TEXT) != 0,
                    &connection->values[i])) {
      return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory while reading a row");
    }
  }
  return cenote_sink_row(request->sink, connection->values, count, error);
}
