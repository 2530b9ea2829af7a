/* describe.c - what a lease's session can tell without running anything: what a statement takes
 * and gives, and whether a transaction is open. */
#include "manager/manager.h"

#include "base/result.h"

static cenote_status describe_entered(struct entry *entry, const char *sql, unsigned flags,
                                      cenote_sink *sink, cenote_error *error)
{
  cenote_request request = {.size = sizeof request,
                            .kind = CENOTE_REQUEST_DESCRIBE,
                            .flags = flags,
                            .sql = sql,
                            .sink = sink};
  const int64_t start = cen_now_ns();
  const cenote_status status = call_run(entry->session, &request, statement_deadline(entry), error);
  if (status == CENOTE_UNSUPPORTED) {
    return status; /* the database was not asked */
  }
  entry->asked = true;
  statement_note_call(entry, statement_why(entry), sql, status, error, cen_now_ns() - start);
  return status;
}

cenote_status cenote_describe(cenote_lease lease, const char *sql, unsigned flags,
                              cenote_result **result, cenote_error *error)
{
  if (result != NULL) {
    *result = NULL;
  }
  if ((flags & ~(unsigned)CENOTE_QUERY_NATIVE) != 0) {
    return cenote_error_set(error, CENOTE_INVALID,
                            "flags: a description knows none but CENOTE_QUERY_NATIVE");
  }
  cenote_status status = statement_check(sql, NULL, 0, error);
  struct entry entry;
  if (status == CENOTE_OK) {
    status = lease_enter(lease, &entry, error);
  }
  if (status != CENOTE_OK) {
    return status;
  }
  cenote_sink sink = {0};
  status = statement_sink(entry.manager, &sink, error);
  if (status == CENOTE_OK) {
    status = describe_entered(&entry, sql, flags != 0 ? CENOTE_REQUEST_NATIVE : 0, &sink, error);
  }
  return statement_leave(&entry, &sink, status, result, error);
}

cenote_status cenote_in_transaction(cenote_lease lease, bool *open)
{
  if (open == NULL) {
    return CENOTE_INVALID;
  }
  *open = false;
  struct entry entry;
  cenote_status status = lease_enter(lease, &entry, NULL);
  if (status != CENOTE_OK) {
    return status;
  }
  const unsigned flags = entry.manager->driver->session(entry.session->connection);
  status = lease_leave(&entry, CENOTE_OK, NULL);
  *open = status == CENOTE_OK && (flags & CENOTE_SESSION_IN_TRANSACTION) != 0;
  return status;
}
