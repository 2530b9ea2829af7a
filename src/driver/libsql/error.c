/* error.c - what SQLite's own message says beyond the code that came with it, as the driver over
 * SQLite has it: SQLSTATE, table, column, place. */
#include "driver/libsql/libsql.h"

#include "base/error.h"

#include <stdlib.h>
#include <string.h>

static const struct {
  const char *text, *sqlstate;
} texts[] = {
    {"no such table", "42P01"},
    {"no such view", "42P01"},
    {"no such column", "42703"},
    {"has no column named", "42703"},
    {"no such function", "42883"},
    {"wrong number of arguments to function", "42883"},
    {"no such index", "42704"},
    {"no such trigger", "42704"},
    {"no such collation", "42704"},
    {"already exists", "42P07"},
    {"ambiguous column name", "42702"},
    {"duplicate column name", "42701"},
    {"misuse of aggregate", "42803"},
    {"within a transaction", "25001"},
    {"no transaction is active", "25P01"},
    {"no such savepoint", "3B001"},
    {"an error has rolled the transaction back", "25P02"},
    {"syntax error", "42601"},
    {"incomplete input", "42601"},
    {"unrecognized token", "42601"},
    {"values for", "42601"},
    {"integer overflow", "22003"},
    {"malformed JSON", "22032"},
};

bool ls_error_is(const cenote_error *error, const char *code)
{
  const char *field = cenote_error_field(error, 'X');
  return field != NULL && strcmp(field, code) == 0;
}

static bool is_general(const cenote_error *error)
{
  return ls_error_is(error, "SQLITE_ERROR") || ls_error_is(error, "SQLITE_UNKNOWN") ||
         ls_error_is(error, "SQL_INPUT_ERROR") || ls_error_is(error, "SQL_PARSE_ERROR") ||
         cenote_error_field(error, 'X') == NULL;
}

static const char *general_state(const char *message)
{
  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
    if (strstr(message, texts[i].text) != NULL) {
      return texts[i].sqlstate;
    }
  }
  return NULL;
}

/* "UNIQUE constraint failed: users.email, users.name": table, first column. A CHECK names the
 * constraint instead. */
static void add_constraint(const char *message, cenote_error *error)
{
  const char *at = strstr(message, "constraint failed: ");
  char name[128];
  if (at == NULL) {
    return;
  }
  const bool check = strstr(message, "CHECK constraint") != NULL;
  at += strlen("constraint failed: ");
  const char *point = strchr(at, '.');
  if (check || point == NULL || (size_t)(point - at) >= sizeof name) {
    if (check) {
      cenote_error_add_field(error, 'n', at);
    }
    return;
  }
  memcpy(name, at, (size_t)(point - at));
  name[point - at] = '\0';
  cenote_error_add_field(error, 't', name);
  const size_t size = strcspn(point + 1, ", \n");
  if (size < sizeof name) {
    memcpy(name, point + 1, size);
    name[size] = '\0';
    cenote_error_add_field(error, 'c', name);
  }
}

/* The driver's promise: wrong arguments and texts that are not one statement are the caller's. */
static bool is_invalid(const cenote_error *error)
{
  static const char *const codes[] = {"ARGS_INVALID", "ARGS_BOTH_POSITIONAL_AND_NAMED",
                                      "SQL_NO_STATEMENT", "SQL_MANY_STATEMENTS"};
  for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
    if (ls_error_is(error, codes[i])) {
      return true;
    }
  }
  return false;
}

cenote_status ls_error_refine(cenote_status status, cenote_error *error)
{
  if (error == NULL || status != CENOTE_DATABASE) {
    return status;
  }
  const char *said = cenote_error_field(error, 'M');
  const char *message = said != NULL ? said : error->message;
  if (is_invalid(error)) {
    error->status = CENOTE_INVALID;
    error->retryable = false;
    cen_error_sqlstate(error, "");
    return CENOTE_INVALID;
  }
  if (ls_error_is(error, "BLOCKED")) { /* the token may only read, or the database is locked */
    cen_error_sqlstate(error, "25006");
  }
  const char *state = is_general(error) ? general_state(message) : NULL;
  if (state != NULL) {
    cen_error_sqlstate(error, state);
  }
  add_constraint(message, error);
  return status;
}
