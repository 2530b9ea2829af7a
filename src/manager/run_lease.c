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

cenote_status cenote_execute_async(cenote_lease lease, const char *sql, const cenote_value *args,
                                   size_t count, cenote_query_callback callback, void *context,
                                   cenote_ticket *ticket, cenote_error *error)
{
  if (ticket != NULL) {
    *ticket = (cenote_ticket){0};
  }
  if (callback == NULL) {
    return cenote_error_set(error, CENOTE_INVALID, "callback: NULL");
  }
  cenote_status status = statement_check(sql, args, count, error);
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
  execution->statement = *copy;
  execution->done = call_done;
  if (ticket != NULL) {
    ticket_issue(execution->run.entry.manager, &call->ticket, ticket);
  }
  execution_start(execution);
  return CENOTE_OK;
}

cenote_status cenote_cancel_query(cenote_ticket ticket)
{
  return ticket_cancel(ticket, TICKET_QUERY);
}
