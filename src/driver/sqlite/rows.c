/*
 * rows.c - arguments in, columns and rows out.
 */
#include "driver/sqlite/connection.h"

#include "base/limits.h"

#include <stdlib.h>
#include <string.h>

static int bind_value(sqlite3_stmt *stmt, int index, const cenote_value *value)
{
  /* borrowed until the request ends, and the bindings are cleared before: nothing is copied */
  switch (value->type) {
  case CENOTE_NULL:
    return sqlite3_bind_null(stmt, index);
  case CENOTE_INTEGER:
    return sqlite3_bind_int64(stmt, index, value->as.integer);
  case CENOTE_BOOLEAN:
    return sqlite3_bind_int64(stmt, index, value->as.boolean ? 1 : 0);
  case CENOTE_REAL:
    return sqlite3_bind_double(stmt, index, value->as.real);
  case CENOTE_TEXT:
    return sqlite3_bind_text64(stmt, index, value->size ? value->as.text : "", value->size,
                               SQLITE_STATIC, SQLITE_UTF8);
  case CENOTE_BLOB:
    return sqlite3_bind_blob64(stmt, index, value->size ? value->as.blob : "", value->size,
                               SQLITE_STATIC);
  }
  return SQLITE_MISUSE;
}

static cenote_status bind_error(int code, size_t position, cenote_error *error)
{
  if (code == SQLITE_NOMEM) {
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory while binding arguments");
  }
  if (code == SQLITE_TOOBIG) {
    return cenote_error_set(error, CENOTE_TOO_LARGE, "argument %zu is too large for SQLite",
                            position);
  }
  return cenote_error_set(error, CENOTE_INVALID, "argument %zu has no valid type", position);
}

/* Parameters of that name; a statement may have :x, @x and $x. Answers how many it bound. */
static cenote_status bind_named(sqlite3_stmt *stmt, const cenote_value *value, size_t position,
                                int *bound, cenote_error *error)
{
  static const char signs[] = ":@$";
  char name[256];
  size_t size = strlen(value->name);
  size_t i;
  *bound = 0;
  if (size + 2 > sizeof(name)) {
    return cenote_error_set(error, CENOTE_INVALID, "the name of argument %zu is too long",
                            position);
  }
  memcpy(name + 1, value->name, size + 1);
  for (i = 0; signs[i]; i++) {
    int index;
    name[0] = signs[i];
    index = sqlite3_bind_parameter_index(stmt, name);
    if (index > 0) {
      int code = bind_value(stmt, index, value);
      if (code != SQLITE_OK) {
        return bind_error(code, position, error);
      }
      (*bound)++;
    }
  }
  if (*bound == 0) {
    return cenote_error_set(error, CENOTE_INVALID,
                            "the statement has no parameter :%.60s, @%.60s or $%.60s", value->name,
                            value->name, value->name);
  }
  return CENOTE_OK;
}

cenote_status cen_sq_bind(const struct cen_sq_statement *statement, const cenote_value *args,
                          size_t count, cenote_error *error)
{
  sqlite3_stmt *stmt = statement->stmt;
  size_t expected = (size_t)sqlite3_bind_parameter_count(stmt);
  size_t positional = 0;
  size_t bound = 0;
  size_t i;
  if (count > CEN_MAX_ARGS) {
    return cenote_error_set(error, CENOTE_INVALID, "%zu arguments; at most %d are allowed", count,
                            CEN_MAX_ARGS);
  }
  for (i = 0; i < count; i++) {
    if (args[i].name) {
      int names;
      cenote_status status = bind_named(stmt, &args[i], i + 1, &names, error);
      if (status) {
        return status;
      }
      bound += (size_t)names;
    } else if (++positional <= expected) {
      int code = bind_value(stmt, (int)positional, &args[i]);
      if (code != SQLITE_OK) {
        return bind_error(code, i + 1, error);
      }
      bound++;
    } else {
      bound++;
    }
  }
  if (bound != expected) {
    return cenote_error_set(error, CENOTE_INVALID,
                            "the statement has %zu parameter%s, but %zu argument%s given", expected,
                            expected == 1 ? "" : "s", count, count == 1 ? " was" : "s were");
  }
  return CENOTE_OK;
}

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
