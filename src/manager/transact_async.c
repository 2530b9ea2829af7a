/*
 * transact_async.c - routed transactions that nobody waits for, as seen by their callers: each call
 * and each cancel, from any thread, leaves a note and posts; transact_turn.c does what it says.
 */
#include "manager/transact_routed.h"

#include "base/error.h"

#include <stdlib.h>
#include <string.h>

static cenote_status cancel_all(struct cenote_manager *manager, struct ticket *ticket,
                                struct pool_wakes *wakes)
{
  struct routed *routed = CEN_CONTAINER(ticket, struct routed, ticket);
  (void)manager;
  (void)wakes;
  routed_lock(routed);
  routed->cancel = true;
  routed_post_locked(routed);
  routed_unlock(routed);
  return CENOTE_OK;
}

static cenote_status cancel_statement(struct cenote_manager *manager, struct ticket *ticket,
                                      struct pool_wakes *wakes)
{
  struct routed *routed = CEN_CONTAINER(ticket, struct routed, statement_ticket);
  (void)manager;
  (void)wakes;
  routed_lock(routed);
  routed->cancel_statement = true;
  routed_post_locked(routed);
  routed_unlock(routed);
  return CENOTE_OK;
}

static struct routed *routed_of(cenote_transaction *transaction)
{
  struct transact *transact = transaction != NULL ? transaction->routed : NULL;
  return transact != NULL && transact->asynchronous
             ? CEN_CONTAINER(transact, struct routed, transact)
             : NULL;
}

static cenote_status not_ours(cenote_error *error)
{
  return cenote_error_set(error, CENOTE_INVALID,
                          "transaction: NULL, or not one of cenote_transact_async");
}

/* The body's turn becomes `next`, or why not. */
static cenote_status take_turn_locked(struct routed *routed, enum body_turn next,
                                      cenote_error *error)
{
  if (routed->turn == TURN_FINISHED) {
    return cenote_error_set(error, CENOTE_INVALID, "the transaction was finished already");
  }
  if (routed->turn != TURN_BODY) {
    return cenote_error_set(error, CENOTE_BUSY,
                            "a statement of this transaction is still running; one at a time");
  }
  routed->turn = next;
  return CENOTE_OK;
}

static cenote_status check_statement(const struct routed *routed, const cenote_statement *statement,
                                     const cenote_execute_options *options,
                                     cenote_query_callback callback, cenote_error *error)
{
  if (routed == NULL) {
    return not_ours(error);
  }
  if (manager_is_foreign(routed_manager(routed))) {
    return manager_foreign_error(error);
  }
  if (callback == NULL) {
    return cenote_error_set(error, CENOTE_INVALID, "callback: NULL");
  }
  const cenote_status status =
      statement_check(statement->sql, statement->args, statement->count, error);
  return status == CENOTE_OK ? statement_options_check(options, statement->count, error) : status;
}

cenote_status cenote_tx_execute_async_with(cenote_transaction *transaction, const char *sql,
                                           const cenote_value *args, size_t count,
                                           const cenote_execute_options *options,
                                           cenote_query_callback callback, void *context,
                                           cenote_ticket *ticket, cenote_error *error)
{
  static const cenote_execute_options none = CENOTE_EXECUTE_OPTIONS_INIT;
  const cenote_statement statement = {.sql = sql, .args = args, .count = count};
  struct routed *routed = routed_of(transaction);
  if (ticket != NULL) {
    *ticket = (cenote_ticket){0};
  }
  options = options != NULL ? options : &none;
  cenote_status status = check_statement(routed, &statement, options, callback, error);
  if (status != CENOTE_OK) {
    return status;
  }
  cenote_statement *copy = run_copy(sql, args, count);
  if (copy == NULL) {
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory: statement");
  }
  struct cenote_manager *manager = routed_manager(routed);
  pthread_mutex_lock(&manager->async_lock); /* before ours, as where a ticket is cancelled */
  routed_lock(routed);
  status = take_turn_locked(routed, TURN_ASKED, error);
  if (status == CENOTE_OK) {
    routed->statement = copy;
    routed->options = *options;
    routed->statement_until_ns = statement_until(options);
    routed->callback = callback;
    routed->callback_context = context;
    routed->cancel_statement = false;
    if (ticket != NULL) {
      ticket_issue_locked(manager, &routed->statement_ticket, ticket);
    }
    routed_post_locked(routed);
  }
  routed_unlock(routed);
  pthread_mutex_unlock(&manager->async_lock);
  if (status != CENOTE_OK) {
    free(copy);
  }
  return status;
}

cenote_status cenote_tx_execute_async(cenote_transaction *transaction, const char *sql,
                                      const cenote_value *args, size_t count,
                                      cenote_query_callback callback, void *context,
                                      cenote_ticket *ticket, cenote_error *error)
{
  return cenote_tx_execute_async_with(transaction, sql, args, count, NULL, callback, context,
                                      ticket, error);
}

cenote_status cenote_tx_finish(cenote_transaction *transaction, cenote_status outcome,
                               const cenote_error *error)
{
  struct routed *routed = routed_of(transaction);
  if (routed == NULL) {
    return CENOTE_INVALID;
  }
  if (manager_is_foreign(routed_manager(routed))) {
    return CENOTE_FORKED;
  }
  routed_lock(routed);
  const cenote_status status = take_turn_locked(routed, TURN_FINISHED, NULL);
  if (status == CENOTE_OK) {
    routed->answer = outcome;
    cen_error_clear(&routed->transact.error);
    if (outcome != CENOTE_OK && error != NULL) {
      cen_error_copy(&routed->transact.error, error);
    }
    routed_post_locked(routed);
  }
  routed_unlock(routed);
  return status;
}

/* ------------------------------------------------------------------ the public call */

cenote_status cenote_transact_async(cenote_manager *manager, const cenote_transact_options *options,
                                    cenote_transact_begin begin, cenote_transact_done done,
                                    void *context, cenote_ticket *ticket, cenote_error *error)
{
  if (ticket != NULL) {
    *ticket = (cenote_ticket){0};
  }
  if (begin == NULL || done == NULL) {
    return cenote_error_set(error, CENOTE_INVALID, "callback: NULL");
  }
  const cenote_status status = transact_check(manager, options, error);
  if (status != CENOTE_OK) {
    return status;
  }
  struct routed *fresh = calloc(1, sizeof *fresh);
  if (fresh == NULL) {
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory: transaction");
  }
  transact_init(&fresh->transact, manager, options, cen_now_ns());
  fresh->transact.asynchronous = true;
  fresh->begin = begin;
  fresh->done = done;
  fresh->context = context;
  fresh->ticket.kind = fresh->statement_ticket.kind = TICKET_QUERY;
  fresh->ticket.cancel = cancel_all;
  fresh->statement_ticket.cancel = cancel_statement;
  if (options != NULL && options->operation_id != NULL) {
    memcpy(fresh->operation, options->operation_id,
           strnlen(options->operation_id, CEN_MAX_OPERATION_ID));
  }
  if (ticket != NULL) {
    ticket_issue(manager, &fresh->ticket, ticket);
  }
  routed_lock(fresh);
  cen_list_push_back(&manager->transacts->all, &fresh->link);
  routed_post_locked(fresh);
  pthread_mutex_unlock(&manager->transacts->lock);
  return CENOTE_OK;
}
