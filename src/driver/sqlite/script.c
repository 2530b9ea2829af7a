/*
 * script.c - several statements in one text, one after the other, each by itself: it takes and
 * gives the writer's turn, and what it commits stays when a later one fails. SQLite says where a
 * statement ends, so the body of a trigger is never cut.
 */
#include "driver/sqlite/connection.h"

#include <string.h>

static cenote_status run_next(cenote_connection *connection, const cenote_request *request,
                              size_t size, const char **tail, struct cen_sq_counts *counts,
                              cenote_error *error)
{
  /* its rows go nowhere */
  const cenote_request each = {
      .size = sizeof(each), .kind = request->kind, .flags = request->flags};
  struct cen_sq_statement statement = {.sql = (char *)(uintptr_t)request->sql,
                                       .size = size,
                                       .native = true,
                                       .script = true,
                                       .begins = (size_t)(*tail - request->sql)};
  const char *at = *tail;
  cenote_status status =
      cen_sq_prepare_next(connection, request->sql, size, tail, &statement, error);
  if (status == CENOTE_OK && statement.stmt && connection->failed) {
    status = cen_sq_refuse_failed(connection, at, (size_t)(*tail - at), error);
  } else if (status == CENOTE_OK && statement.stmt) {
    status = cen_sq_run_prepared(connection, &statement, &each, counts, error);
  }
  sqlite3_finalize(statement.stmt);
  return status;
}

cenote_status cen_sq_script(cenote_connection *connection, const cenote_request *request,
                            cenote_error *error)
{
  const char *tail = request->sql;
  size_t size = strlen(request->sql);
  int64_t affected = 0;
  cenote_status status = CENOTE_OK;
  if (request->count) {
    cenote_error_set(error, CENOTE_INVALID, "a script of several statements takes no arguments");
    cenote_error_add_field(error, 'X', "ARGS_INVALID");
    return CENOTE_INVALID;
  }
  while (status == CENOTE_OK && *tail) {
    struct cen_sq_counts counts = {0};
    bool was_open;
    if (connection->shared->url.memory) {
      status = cen_sq_enter(connection, error);
      if (status) {
        break;
      }
    }
    connection->handle->user = connection;
    was_open = !sqlite3_get_autocommit(connection->handle->db);
    status = run_next(connection, request, size, &tail, &counts, error);
    affected += counts.affected;
    connection->handle->user = NULL;
    cen_sq_settle(connection, was_open, status == CENOTE_OK);
  }
  if (status == CENOTE_OK && request->sink) {
    cenote_sink_complete(request->sink, affected, 0, "");
  }
  return status;
}
