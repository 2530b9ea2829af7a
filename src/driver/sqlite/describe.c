/*
 * describe.c - what a statement takes and gives, without running it.
 */
#include "driver/sqlite/connection.h"

#include <stdlib.h>

static cenote_status tell_parameters(sqlite3_stmt *stmt, cenote_sink *sink, cenote_error *error)
{
  size_t count = (size_t)sqlite3_bind_parameter_count(stmt);
  const char **names = calloc(count + 1, sizeof(*names));
  cenote_status status;
  size_t i;
  if (!names) {
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory for %zu parameters", count);
  }
  for (i = 0; i < count; i++) {
    names[i] = sqlite3_bind_parameter_name(stmt, (int)i + 1);
  }
  status = cenote_sink_parameters(sink, names, count, sqlite3_stmt_readonly(stmt) != 0,
                                  sqlite3_stmt_isexplain(stmt) != 0, error);
  free(names);
  return status;
}

/* Prepared anew: a kept statement may have the columns of a schema that is gone. */
static cenote_status prepare_and_tell(cenote_connection *connection, const cenote_request *request,
                                      cenote_error *error)
{
  struct cen_sq_statement *statement;
  enum cen_sq_reason reason = cen_sq_stopped(connection);
  cenote_status status;
  if (reason != CEN_SQ_GO) {
    return cen_sq_stop_error(connection, reason, "the statement was not prepared", error);
  }
  status = cen_sq_prepare(connection, request->sql, (request->flags & CENOTE_REQUEST_NATIVE) != 0,
                          &statement, error);
  if (status) {
    return status;
  }
  status = cen_sq_columns(statement->stmt, request->sink, error);
  if (status == CENOTE_OK && request->sink) {
    status = tell_parameters(statement->stmt, request->sink, error);
  }
  cen_sq_statement_free(statement);
  return status;
}

cenote_status cen_sq_describe(cenote_connection *connection, const cenote_request *request,
                              cenote_error *error)
{
  bool memory = connection->shared->url.memory;
  bool was_open;
  cenote_status status = cen_sq_check_text(request, error);
  /* SQLite notices that another connection changed the schema when a statement reads. Inside a
   * transaction none is run for it: the first read is what the transaction sees. */
  if (status == CENOTE_OK && !memory && !connection->failed &&
      sqlite3_get_autocommit(connection->handle->db)) {
    status = cen_sq_run(connection, "SELECT 1 FROM sqlite_master LIMIT 1", error);
  }
  if (status == CENOTE_OK && memory) {
    status = cen_sq_enter(connection, error);
  }
  if (status) {
    return status;
  }
  connection->handle->user = connection;
  was_open = !sqlite3_get_autocommit(connection->handle->db);
  status = prepare_and_tell(connection, request, error);
  connection->handle->user = NULL;
  cen_sq_settle(connection, was_open, true);
  return status;
}
