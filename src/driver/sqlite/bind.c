/*
 * bind.c - arguments into a statement's parameters. Cenote's own way lets positions and names
 * stand side by side; a native text has one or the other, as SQLite counts and names them.
 */
#include "driver/sqlite/connection.h"

#include "base/limits.h"

#include <string.h>

enum { NAME_ROOM = 256, STOP_EVERY = 64 };

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

static cenote_status invalid(cenote_error *error)
{
  cenote_error_add_field(error, 'X', "ARGS_INVALID");
  return CENOTE_INVALID;
}

static cenote_status bind_error(int code, size_t position, cenote_error *error)
{
  if (code == SQLITE_NOMEM) {
    cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory while binding arguments");
    cenote_error_add_field(error, 'X', "SQLITE_NOMEM");
    return CENOTE_NO_MEMORY;
  }
  if (code == SQLITE_TOOBIG) {
    cenote_error_set(error, CENOTE_TOO_LARGE, "argument %zu is too large for SQLite", position);
    cenote_error_add_field(error, 'X', "SQLITE_TOOBIG");
    return CENOTE_TOO_LARGE;
  }
  cenote_error_set(error, CENOTE_INVALID, "argument %zu has no valid type", position);
  return invalid(error);
}

static cenote_status count_error(size_t expected, size_t count, cenote_error *error)
{
  cenote_error_set(error, CENOTE_INVALID,
                   "the statement has %zu parameter%s, but %zu argument%s given", expected,
                   expected == 1 ? "" : "s", count, count == 1 ? " was" : "s were");
  return invalid(error);
}

static cenote_status name_error(const char *name, cenote_error *error)
{
  if (strchr(":@$", *name)) {
    cenote_error_set(error, CENOTE_INVALID, "the statement has no parameter %.60s", name);
  } else {
    cenote_error_set(error, CENOTE_INVALID,
                     "the statement has no parameter :%.60s, @%.60s or $%.60s", name, name, name);
  }
  return invalid(error);
}

static cenote_status check_name(const cenote_value *value, size_t position, cenote_error *error)
{
  if (!*value->name || strlen(value->name) + 2 > NAME_ROOM) {
    cenote_error_set(error, CENOTE_INVALID, "the name of argument %zu is %s", position,
                     *value->name ? "too long" : "empty");
    return invalid(error);
  }
  return CENOTE_OK;
}

/* Parameters of that name; a statement may have :x, @x and $x. Answers how many it bound. */
static cenote_status bind_named(sqlite3_stmt *stmt, const cenote_value *value, size_t position,
                                int *bound, cenote_error *error)
{
  static const char signs[] = ":@$";
  char name[NAME_ROOM];
  size_t i;
  cenote_status status = check_name(value, position, error);
  *bound = 0;
  if (status) {
    return status;
  }
  memcpy(name + 1, value->name, strlen(value->name) + 1);
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
  return *bound == 0 ? name_error(value->name, error) : CENOTE_OK;
}

static cenote_status bind_mixed(sqlite3_stmt *stmt, const cenote_request *request,
                                cenote_error *error)
{
  const cenote_value *args = request->args;
  size_t expected = (size_t)sqlite3_bind_parameter_count(stmt);
  size_t positional = 0;
  size_t bound = 0;
  size_t i;
  for (i = 0; i < request->count; i++) {
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
  return bound == expected ? CENOTE_OK : count_error(expected, request->count, error);
}

/* ------------------------------------------------------------------------------ native texts */

static cenote_status bind_positions(sqlite3_stmt *stmt, const cenote_request *request,
                                    cenote_error *error)
{
  size_t expected = (size_t)sqlite3_bind_parameter_count(stmt);
  size_t i;
  if (request->count != expected) {
    return count_error(expected, request->count, error);
  }
  for (i = 0; i < expected; i++) {
    int code = bind_value(stmt, (int)i + 1, &request->args[i]);
    if (code != SQLITE_OK) {
      return bind_error(code, i + 1, error);
    }
  }
  return CENOTE_OK;
}

/* With its sign exactly that parameter, else the first of :name, @name, $name; 0: none. */
static int find_name(sqlite3_stmt *stmt, const char *given)
{
  static const char signs[] = ":@$";
  char name[NAME_ROOM];
  int index = 0;
  size_t i;
  if (strchr(signs, *given)) {
    return sqlite3_bind_parameter_index(stmt, given);
  }
  memcpy(name + 1, given, strlen(given) + 1);
  for (i = 0; signs[i] && index == 0; i++) {
    name[0] = signs[i];
    index = sqlite3_bind_parameter_index(stmt, name);
  }
  return index;
}

static cenote_status missing_error(sqlite3_stmt *stmt, int index, cenote_error *error)
{
  const char *name = sqlite3_bind_parameter_name(stmt, index);
  cenote_error_set(error, CENOTE_INVALID, "no argument was given for parameter %d%s%.60s", index,
                   name ? ", " : "", name ? name : "");
  return invalid(error);
}

static cenote_status bind_names(cenote_connection *connection, sqlite3_stmt *stmt,
                                const cenote_request *request, cenote_error *error)
{
  unsigned char bound[CEN_MAX_ARGS / 8 + 1] = {0};
  int expected = sqlite3_bind_parameter_count(stmt);
  int index;
  size_t i;
  for (i = 0; i < request->count; i++) {
    cenote_status status = check_name(&request->args[i], i + 1, error);
    int code;
    if (status) {
      return status;
    }
    /* SQLite searches a name from the first to the last */
    if (i % STOP_EVERY == 0 && cen_sq_stopped(connection) != CEN_SQ_GO) {
      return cen_sq_stop_error(connection, cen_sq_stopped(connection), "binding arguments", error);
    }
    index = find_name(stmt, request->args[i].name);
    if (index == 0) {
      return name_error(request->args[i].name, error);
    }
    code = bind_value(stmt, index, &request->args[i]);
    if (code != SQLITE_OK) {
      return bind_error(code, i + 1, error);
    }
    bound[index / 8] = (unsigned char)(bound[index / 8] | 1u << (index % 8));
  }
  for (index = 1; index <= expected; index++) {
    if ((bound[index / 8] & 1u << (index % 8)) == 0) {
      return missing_error(stmt, index, error);
    }
  }
  return CENOTE_OK;
}

static cenote_status bind_native(cenote_connection *connection, sqlite3_stmt *stmt,
                                 const cenote_request *request, cenote_error *error)
{
  size_t named = 0;
  size_t i;
  for (i = 0; i < request->count; i++) {
    named += request->args[i].name != NULL;
  }
  if (named == 0) {
    return bind_positions(stmt, request, error);
  }
  if (named < request->count) {
    cenote_error_set(error, CENOTE_INVALID, "arguments with and without names; give one kind");
    cenote_error_add_field(error, 'X', "ARGS_BOTH_POSITIONAL_AND_NAMED");
    return CENOTE_INVALID;
  }
  return bind_names(connection, stmt, request, error);
}

cenote_status cen_sq_bind(cenote_connection *connection, const struct cen_sq_statement *statement,
                          const cenote_request *request, cenote_error *error)
{
  if (request->count > CEN_MAX_ARGS) {
    cenote_error_set(error, CENOTE_INVALID, "%zu arguments; at most %d are allowed", request->count,
                     CEN_MAX_ARGS);
    return invalid(error);
  }
  return statement->native ? bind_native(connection, statement->stmt, request, error)
                           : bind_mixed(statement->stmt, request, error);
}
