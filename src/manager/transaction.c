/* transaction.c - transactions on a lease, and savepoints inside them. */
#include "manager/transact.h"

#include "base/error.h"

#include <stdio.h>
#include <stdlib.h>

bool transaction_is_open(const struct session *session)
{
  const cenote_driver *driver = session->manager->driver;
  return (driver->session(session->connection) & CENOTE_SESSION_IN_TRANSACTION) != 0;
}

/* Handles above the depth have ended, and their time-outs with them. */
static void set_depth(struct session *session, unsigned depth)
{
  session->depth = depth;
  while (session->innermost != NULL && session->innermost->depth > depth) {
    session->innermost = session->innermost->outer;
  }
  session->tx_deadline_ns =
      session->innermost != NULL ? session->innermost->deadline_ns : CEN_NEVER;
}

unsigned transaction_depth(struct session *session)
{
  if (!transaction_is_open(session)) {
    set_depth(session, 0);
  } else if (session->depth == 0) {
    session->depth = 1; /* begun by a statement of the caller's own */
  }
  return session->depth;
}

static bool is_among_open(struct session *session, const struct cenote_transaction *transaction)
{
  (void)transaction_depth(session);
  const struct cenote_transaction *at = session->innermost;
  while (at != NULL && at != transaction) {
    at = at->outer;
  }
  return at != NULL;
}

/* What a COMMIT or ROLLBACK carries. */
static const struct transact_terms usual = {.mode = CENOTE_BATCH_DEFERRED};

static cenote_status control(struct entry *entry, cenote_request_kind kind,
                             const struct transact_terms *terms, cenote_error *error)
{
  cenote_request request = {.size = sizeof request,
                            .kind = kind,
                            .mode = terms->mode,
                            .isolation = terms->isolation,
                            .deferrable = terms->deferrable};
  const cenote_status status = call_run(entry->session, &request, statement_deadline(entry), error);
  entry->asked = true;
  return status;
}

cenote_status transaction_run_own(struct entry *entry, const char *sql, cenote_error *error)
{
  cenote_request request = {.size = sizeof request, .kind = CENOTE_REQUEST_EXECUTE, .sql = sql};
  return call_run(entry->session, &request, statement_deadline(entry), error);
}

static cenote_status savepoint(struct entry *entry, const char *verb, unsigned number,
                               cenote_error *error)
{
  char sql[64];
  snprintf(sql, sizeof sql, "%s cenote_%u", verb, number);
  return transaction_run_own(entry, sql, error);
}

/* Less is open than the caller thinks: because the session died since, or by his own statement. */
static cenote_status ended_error(const struct session *session, cenote_error *error)
{
  const unsigned flags = session->manager->driver->session(session->connection);
  if ((flags & CENOTE_SESSION_BROKEN) != 0) {
    return cenote_error_set(error, CENOTE_CONNECTION_LOST,
                            "the connection was lost: nothing of the transaction remains");
  }
  return cenote_error_set(error, CENOTE_INVALID,
                          "the transaction has ended: its time was over, or it was committed or "
                          "rolled back by another handle, or by a statement");
}

cenote_status transaction_begin(struct entry *entry, const struct transact_terms *terms,
                                cenote_error *error)
{
  struct session *session = entry->session;
  const unsigned depth = transaction_depth(session);
  if (depth >= CEN_MAX_SAVEPOINTS) {
    return cenote_error_set(error, CENOTE_TOO_LARGE, "transactions nested deeper than %d",
                            CEN_MAX_SAVEPOINTS);
  }
  const cenote_status status = depth == 0 ? control(entry, CENOTE_REQUEST_BEGIN, terms, error)
                                          : savepoint(entry, "SAVEPOINT", depth, error);
  if (status == CENOTE_OK) {
    session->depth = depth + 1;
  }
  return status;
}

cenote_status transaction_rollback(struct entry *entry, cenote_error *error)
{
  struct session *session = entry->session;
  const unsigned depth = transaction_depth(session);
  if (depth == 0) {
    return CENOTE_OK;
  }
  session->tx_deadline_ns = CEN_NEVER; /* its time may be over: all the more reason */
  cenote_status status;
  if (depth == 1) {
    status = control(entry, CENOTE_REQUEST_ROLLBACK, &usual, error);
  } else {
    status = savepoint(entry, "ROLLBACK TO SAVEPOINT", depth - 1, error);
    if (status == CENOTE_OK) {
      status = savepoint(entry, "RELEASE SAVEPOINT", depth - 1, error);
    }
  }
  set_depth(session, depth - 1);
  return status;
}

/* From the innermost one down to `depth`; the outermost takes all savepoints with it. Where that
 * fails, the connection goes: nothing of the transaction may remain. */
void transaction_roll_back_to(struct entry *entry, unsigned depth)
{
  struct session *session = entry->session;
  cenote_status status = CENOTE_OK;
  if (depth == 1 && transaction_depth(session) > 1) {
    set_depth(session, 1);
  }
  for (unsigned at = transaction_depth(session); status == CENOTE_OK && at >= depth; at--) {
    status = transaction_rollback(entry, NULL);
  }
  if (status != CENOTE_OK) {
    entry->manager->driver->abort(session->connection);
  }
}

static bool has_failed(const struct session *session)
{
  const unsigned flags = session->manager->driver->session(session->connection);
  return (flags & CENOTE_SESSION_FAILED) != 0;
}

cenote_status transaction_commit(struct entry *entry, cenote_error *error)
{
  struct session *session = entry->session;
  const unsigned depth = transaction_depth(session);
  if (depth == 0) {
    return ended_error(session, error);
  }
  if (has_failed(session)) {
    transaction_roll_back_to(entry, depth);
    cenote_error_set(error, CENOTE_DATABASE,
                     "the transaction was rolled back, not committed: a statement in it failed");
    cen_error_sqlstate(error, "25P02");
    return CENOTE_DATABASE;
  }
  const cenote_status status = depth == 1 ? control(entry, CENOTE_REQUEST_COMMIT, &usual, error)
                                          : savepoint(entry, "RELEASE SAVEPOINT", depth - 1, error);
  if (status == CENOTE_OK) {
    set_depth(session, depth - 1);
  } else {
    transaction_roll_back_to(entry, depth); /* a refused COMMIT may leave it open */
  }
  return status;
}

/* ---------------------------------------------------------------- the public calls */

static void open_handle(struct session *session, struct cenote_transaction *fresh,
                        int64_t timeout_ms)
{
  const int64_t own = timeout_ms > 0 ? cen_deadline_ns(cen_now_ns(), timeout_ms) : CEN_NEVER;
  fresh->depth = session->depth;
  fresh->deadline_ns = own < session->tx_deadline_ns ? own : session->tx_deadline_ns;
  fresh->outer = session->innermost;
  session->innermost = fresh;
  session->tx_deadline_ns = fresh->deadline_ns;
}

cenote_status cenote_begin(cenote_lease lease, int64_t timeout_ms, cenote_transaction **transaction,
                           cenote_error *error)
{
  if (transaction == NULL) {
    return cenote_error_set(error, CENOTE_INVALID, "transaction: NULL");
  }
  *transaction = NULL;
  struct cenote_transaction *fresh = calloc(1, sizeof *fresh);
  if (fresh == NULL) {
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory: transaction");
  }
  static const struct transact_terms writing = {.mode = CENOTE_BATCH_WRITE};
  struct entry entry;
  cenote_status status = lease_enter(lease, &entry, error);
  if (status == CENOTE_OK) {
    status = transaction_begin(&entry, &writing, error);
    if (status == CENOTE_OK) {
      fresh->lease = lease;
      open_handle(entry.session, fresh, timeout_ms);
    }
    status = lease_leave(&entry, status, error);
  }
  if (status == CENOTE_OK) {
    *transaction = fresh;
  } else {
    free(fresh); /* taken back meanwhile: the session is made as new before anybody has it */
  }
  return status;
}

/* Is its time over, or that of one inside it? The outermost of those goes with all it contains,
 * and with `whole` the transaction itself in any case. */
static bool roll_back_overdue(struct entry *entry, const struct cenote_transaction *transaction,
                              bool whole)
{
  const int64_t now = cen_now_ns();
  const struct cenote_transaction *late = NULL;
  for (const struct cenote_transaction *at = entry->session->innermost;
       at != NULL && now >= at->deadline_ns; at = at->outer) {
    late = at;
  }
  if (late != NULL) {
    const bool inside = late->depth > transaction->depth;
    transaction_roll_back_to(entry, whole && inside ? transaction->depth : late->depth);
  }
  return late != NULL;
}

/* The body of a routed transaction must not end it by itself: nothing happens. */
static cenote_status routed_error(cenote_error *error)
{
  return cenote_error_set(error, CENOTE_INVALID,
                          "this transaction is cenote_transact's: the callback's answer commits it "
                          "or rolls it back");
}

/* Enters the lease of a transaction that is still open, and not overdue. `last`: it is to end with
 * this call in any case. */
static cenote_status enter(const struct cenote_transaction *transaction, bool last,
                           struct entry *entry, cenote_error *error)
{
  cenote_status status = lease_enter(transaction->lease, entry, error);
  if (status != CENOTE_OK) {
    return status;
  }
  if (!is_among_open(entry->session, transaction)) {
    return lease_leave(entry, ended_error(entry->session, error), error);
  }
  if (roll_back_overdue(entry, transaction, last)) {
    status = cenote_error_set(error, CENOTE_STATEMENT_TIMEOUT,
                              "transaction timeout: it was rolled back");
    return lease_leave(entry, status, error);
  }
  return CENOTE_OK;
}

cenote_status cenote_tx_execute(cenote_transaction *transaction, const char *sql,
                                const cenote_value *args, size_t count, cenote_result **result,
                                cenote_error *error)
{
  if (result != NULL) {
    *result = NULL;
  }
  if (transaction == NULL) {
    return cenote_error_set(error, CENOTE_INVALID, "transaction: NULL");
  }
  cenote_status status = statement_check(sql, args, count, error);
  if (status == CENOTE_OK && transaction->routed != NULL) {
    return transact_execute(transaction->routed, sql, args, count, result, error);
  }
  struct entry entry;
  if (status == CENOTE_OK) {
    status = enter(transaction, false, &entry, error);
  }
  if (status != CENOTE_OK) {
    return status;
  }
  const cenote_statement statement = {.sql = sql, .args = args, .count = count};
  return statement_finish(&entry, &statement, result, error);
}

cenote_status cenote_commit(cenote_transaction *transaction, cenote_error *error)
{
  if (transaction == NULL) {
    return cenote_error_set(error, CENOTE_INVALID, "transaction: NULL");
  }
  if (transaction->routed != NULL) {
    return routed_error(error);
  }
  struct entry entry;
  cenote_status status = enter(transaction, true, &entry, error);
  if (status == CENOTE_OK) {
    while (entry.session->depth > transaction->depth && status == CENOTE_OK) {
      status = transaction_commit(&entry, error); /* inner ones that were left open */
    }
    if (status == CENOTE_OK) {
      status = transaction_commit(&entry, error);
    }
    if (status != CENOTE_OK && is_among_open(entry.session, transaction)) {
      transaction_roll_back_to(&entry, transaction->depth); /* an inner one failed */
    }
    status = lease_leave(&entry, status, error);
  }
  if (status != CENOTE_BUSY && status != CENOTE_INVALID) { /* then it is cenote_rollback's */
    free(transaction);
  }
  return status;
}

cenote_status cenote_rollback(cenote_transaction *transaction, cenote_error *error)
{
  if (transaction == NULL) {
    return CENOTE_OK;
  }
  if (transaction->routed != NULL) {
    return routed_error(error);
  }
  struct entry entry;
  cenote_status status = lease_enter(transaction->lease, &entry, error);
  if (status == CENOTE_BUSY) {
    return status;
  }
  if (status == CENOTE_OK) {
    if (is_among_open(entry.session, transaction)) {
      transaction_roll_back_to(&entry, transaction->depth);
    }
    (void)lease_leave(&entry, CENOTE_OK, NULL);
  }
  free(transaction);
  return status == CENOTE_FORKED ? status : CENOTE_OK;
}
