/* error.c - what SQLite's own message says beyond the code that came with it, as the driver over
 * SQLite has it: SQLSTATE, table, column, place. */
#include "driver/libsql/libsql.h"

#include "base/error.h"
#include "base/sqlite_meaning.h"

#include <string.h>

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
  const char *state = is_general(error) ? cen_sqlite_text_state(message) : NULL;
  if (state != NULL) {
    cen_error_sqlstate(error, state);
  }
  cen_sqlite_constraint_fields(message, error);
  return status;
}
