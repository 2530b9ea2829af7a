/* run_lease.c - one statement on a caller's lease, asynchronously. */
#include "manager/run.h"

#include <stdlib.h>

struct lease_call {
  struct execution execution;
  struct ticket ticket;
  cenote_statement *copy;
  cenote_query_callback callback;
  void *context;
};

static void call_done(struct execution *execution, cenote_status status, cenote_result *result,
                      cenote_error *error)
{
  struct lease_call *call = CEN_CONTAINER(execution, struct lease_call, execution);
  struct entry *entry = &execution->run.entry;
  ticket_end(entry->manager, &call->ticket);
  status = lease_leave(entry, status, error);
  if (status != CENOTE_OK) {
    cenote_result_free(result);
    result = NULL;
  }
  call->callback(call->context, status, result, error);
  free(call->copy);
  free(call);
}

static cenote_status call_cancel(struct cenote_manager *manager, struct ticket *ticket,
                                 struct pool_wakes *wakes)
{
  (void)manager;
  (void)wakes;
  execution_cancel(&CEN_CONTAINER(ticket, struct lease_call, ticket)->execution);
  return CENOTE_OK;
}

static cenote_status call_check(const cenote_statement *statement,
                                const cenote_execute_options *options,
                                cenote_query_callback callback, cenote_error *error)
{
  if (callback == NULL) {
    return cenote_error_set(error, CENOTE_INVALID, "callback: NULL");
  }
  const cenote_status status =
      statement_check(statement->sql, statement->args, statement->count, error);
  return status == CENOTE_OK ? statement_options_check(options, statement->count, error) : status;
}

static void execution_set(struct execution *execution, const cenote_statement *copy,
                          const cenote_execute_options *options)
{
  execution->statement = *copy;
  execution->flags = statement_flags_for(options);
  execution->row = options->row;
  execution->columns = options->columns;
  execution->context = options->context;
  execution->run.entry.until_ns = statement_until(options);
  execution->done = call_done;
}

cenote_status cenote_execute_async_with(cenote_lease lease, const char *sql,
                                        const cenote_value *args, size_t count,
                                        const cenote_execute_options *options,
                                        cenote_query_callback callback, void *context,
                                        cenote_ticket *ticket, cenote_error *error)
{
  static const cenote_execute_options none = CENOTE_EXECUTE_OPTIONS_INIT;
  const cenote_statement statement = {.sql = sql, .args = args, .count = count};
  if (ticket != NULL) {
    *ticket = (cenote_ticket){0};
  }
  options = options != NULL ? options : &none;
  cenote_status status = call_check(&statement, options, callback, error);
  if (status != CENOTE_OK) {
    return status;
  }
  struct lease_call *call = calloc(1, sizeof *call);
  cenote_statement *copy = call != NULL ? run_copy(sql, args, count) : NULL;
  if (copy == NULL) {
    free(call);
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory: statement");
  }
  struct execution *execution = &call->execution;
  status = lease_enter(lease, &execution->run.entry, error);
  if (status != CENOTE_OK) {
    free(copy);
    free(call);
    return status;
  }
  call->copy = copy;
  call->callback = callback;
  call->context = context;
  call->ticket.kind = TICKET_QUERY;
  call->ticket.cancel = call_cancel;
  execution_set(execution, copy, options);
  if (ticket != NULL) {
    ticket_issue(execution->run.entry.manager, &call->ticket, ticket);
  }
  execution_start(execution);
  return CENOTE_OK;
}

cenote_status cenote_execute_async(cenote_lease lease, const char *sql, const cenote_value *args,
                                   size_t count, cenote_query_callback callback, void *context,
                                   cenote_ticket *ticket, cenote_error *error)
{
  return cenote_execute_async_with(lease, sql, args, count, NULL, callback, context, ticket, error);
}

cenote_status cenote_cancel_query(cenote_ticket ticket)
{
  return ticket_cancel(ticket, TICKET_QUERY);
}
