/* transaction.c - transactions on a lease, savepoints inside them, and batches: all or nothing. */
#include "manager/transact.h"

#include "base/error.h"
#include "base/result.h"
#include "sql/scan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

static cenote_status control(struct entry *entry, cenote_request_kind kind, cenote_batch_mode mode,
                             cenote_error *error)
{
  cenote_request request = {.size = sizeof request, .kind = kind, .mode = mode};
  const cenote_status status = call_run(entry->session, &request, statement_deadline(entry), error);
  entry->asked = true;
  return status;
}

static cenote_status run_own(struct entry *entry, const char *sql, cenote_sink *sink,
                             cenote_error *error)
{
  cenote_request request = {
      .size = sizeof request, .kind = CENOTE_REQUEST_EXECUTE, .sql = sql, .sink = sink};
  return call_run(entry->session, &request, statement_deadline(entry), error);
}

static cenote_status savepoint(struct entry *entry, const char *verb, unsigned number,
                               cenote_error *error)
{
  char sql[64];
  snprintf(sql, sizeof sql, "%s cenote_%u", verb, number);
  return run_own(entry, sql, NULL, error);
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

cenote_status transaction_begin(struct entry *entry, cenote_batch_mode mode, cenote_error *error)
{
  struct session *session = entry->session;
  const unsigned depth = transaction_depth(session);
  if (depth >= CEN_MAX_SAVEPOINTS) {
    return cenote_error_set(error, CENOTE_TOO_LARGE, "transactions nested deeper than %d",
                            CEN_MAX_SAVEPOINTS);
  }
  const cenote_status status = depth == 0 ? control(entry, CENOTE_REQUEST_BEGIN, mode, error)
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
    status = control(entry, CENOTE_REQUEST_ROLLBACK, CENOTE_BATCH_DEFERRED, error);
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
static void roll_back_to(struct entry *entry, unsigned depth)
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
    roll_back_to(entry, depth);
    cenote_error_set(error, CENOTE_DATABASE,
                     "the transaction was rolled back, not committed: a statement in it failed");
    cen_error_sqlstate(error, "25P02");
    return CENOTE_DATABASE;
  }
  const cenote_status status =
      depth == 1 ? control(entry, CENOTE_REQUEST_COMMIT, CENOTE_BATCH_DEFERRED, error)
                 : savepoint(entry, "RELEASE SAVEPOINT", depth - 1, error);
  if (status == CENOTE_OK) {
    set_depth(session, depth - 1);
  } else {
    roll_back_to(entry, depth); /* a refused COMMIT may leave it open */
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
  struct entry entry;
  cenote_status status = lease_enter(lease, &entry, error);
  if (status == CENOTE_OK) {
    status = transaction_begin(&entry, CENOTE_BATCH_WRITE, error);
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
    roll_back_to(entry, whole && inside ? transaction->depth : late->depth);
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
      roll_back_to(&entry, transaction->depth); /* an inner one failed */
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
      roll_back_to(&entry, transaction->depth);
    }
    (void)lease_leave(&entry, CENOTE_OK, NULL);
  }
  free(transaction);
  return status == CENOTE_FORKED ? status : CENOTE_OK;
}

/* ------------------------------------------------------------------------ batches */

static cenote_status run_all(struct entry *entry, const cenote_statement *statements, size_t n,
                             cenote_result **results, cenote_error *error)
{
  for (size_t i = 0; i < n; i++) {
    const cenote_status status = statement_collect(entry, &statements[i], &results[i], error);
    if (status != CENOTE_OK) {
      cen_error_statement(error, (int64_t)i);
      return status;
    }
  }
  return CENOTE_OK;
}

/* SQLite: does its transaction refuse to write already? */
static cenote_status read_query_only(struct entry *entry, bool *on, cenote_error *error)
{
  cenote_sink sink;
  cenote_status status = statement_sink(entry->manager, &sink, error);
  if (status != CENOTE_OK) {
    return status;
  }
  status = run_own(entry, "PRAGMA query_only", &sink, error);
  cenote_result *result = cen_sink_take(&sink);
  *on = cenote_result_integer(result, 0, 0) != 0;
  cenote_result_free(result);
  cen_sink_deinit(&sink);
  return status;
}

/* A savepoint that refuses to write. On PostgreSQL that ends with it; *undo: on SQLite it does not. A
 * driver of the caller's own knows it for whole transactions only. */
static cenote_status refuse_writes(struct entry *entry, bool *undo, cenote_error *error)
{
  const char *name = entry->manager->driver->name;
  bool on = false;
  if (strcmp(name, "postgres") == 0) {
    return run_own(entry, "SET TRANSACTION READ ONLY", NULL, error);
  }
  if (strcmp(name, "sqlite") != 0) {
    return CENOTE_OK;
  }
  cenote_status status = read_query_only(entry, &on, error);
  if (status == CENOTE_OK && !on) {
    status = run_own(entry, "PRAGMA query_only=1", NULL, error);
    *undo = true; /* also when that failed: nobody knows how far it came */
  }
  return status;
}

/* The savepoint has ended, or the whole transaction with it; then the driver has seen to it. */
static void allow_writes(struct entry *entry)
{
  if (run_own(entry, "PRAGMA query_only=0", NULL, NULL) != CENOTE_OK) {
    entry->manager->driver->abort(entry->session->connection);
  }
}

static cenote_status run_batch(struct entry *entry, const cenote_statement *statements, size_t n,
                               cenote_batch_mode mode, cenote_result **results, cenote_error *error)
{
  cenote_status status = transaction_begin(entry, mode, error);
  if (status != CENOTE_OK) {
    return status;
  }
  const unsigned depth = entry->session->depth;
  bool undo = false;
  if (mode == CENOTE_BATCH_READ && depth > 1) {
    status = refuse_writes(entry, &undo, error);
  }
  if (status == CENOTE_OK) {
    status = run_all(entry, statements, n, results, error);
  }
  if (status == CENOTE_OK) {
    status = transaction_commit(entry, error);
  } else {
    roll_back_to(entry, depth);
  }
  if (undo) {
    allow_writes(entry);
  }
  return status;
}

/* All sinks, one request: how a driver sends a batch that has no transactions otherwise, or less
 * round trips this way. */
static cenote_status send_whole(struct entry *entry, const cenote_statement *statements, size_t n,
                                cenote_batch_mode mode, cenote_sink *sinks, cenote_sink **list,
                                cenote_error *error)
{
  for (size_t i = 0; i < n; i++) {
    const cenote_status status = statement_sink(entry->manager, &sinks[i], error);
    if (status != CENOTE_OK) {
      return status;
    }
    list[i] = &sinks[i];
  }
  cenote_request request = {.size = sizeof request,
                            .kind = CENOTE_REQUEST_BATCH,
                            .mode = mode,
                            .statements = statements,
                            .statement_count = n,
                            .sinks = list};
  const int64_t start = cen_now_ns();
  const cenote_status status = call_run(entry->session, &request, statement_deadline(entry), error);
  entry->asked = true;
  statement_note(entry->manager, &(struct statement_outcome){.path = CEN_PATH_EXCLUSIVE,
                                                             .sql = statements[0].sql,
                                                             .lease = entry->lease,
                                                             .status = status,
                                                             .error = error,
                                                             .cut_off = entry->session->cut_off,
                                                             .took_ns = cen_now_ns() - start});
  return status;
}

static cenote_status run_whole(struct entry *entry, const cenote_statement *statements, size_t n,
                               cenote_batch_mode mode, cenote_result **results, cenote_error *error)
{
  cenote_sink *sinks = calloc(n, sizeof *sinks + sizeof(cenote_sink *));
  if (sinks == NULL) {
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory: a batch of %zu", n);
  }
  const cenote_status status =
      send_whole(entry, statements, n, mode, sinks, (cenote_sink **)(void *)(sinks + n), error);
  for (size_t i = 0; i < n; i++) {
    if (status == CENOTE_OK) {
      results[i] = cen_sink_take(&sinks[i]);
    }
    cen_sink_deinit(&sinks[i]);
  }
  free(sinks);
  return status;
}

static bool goes_whole(const struct entry *entry)
{
  return (entry->manager->driver->flags & CENOTE_DRIVER_BATCHES) != 0 &&
         !transaction_is_open(entry->session);
}

/* Its own BEGIN or COMMIT would end the one transaction that makes it all or nothing. */
static bool ends_transaction(const char *sql)
{
  const size_t size = strlen(sql);
  const char *statement;
  size_t statement_size, offset = 0;
  bool ends = false;
  while (!ends && cen_next_statement(sql, size, CEN_DIALECT_POSTGRES, &offset, &statement,
                                     &statement_size)) {
    const enum cen_verb verb = cen_statement_verb(statement, statement_size, CEN_DIALECT_POSTGRES);
    ends = verb == CEN_VERB_BEGIN || verb == CEN_VERB_COMMIT || verb == CEN_VERB_ROLLBACK;
  }
  return ends;
}

static cenote_status batch_check(const cenote_statement *statements, size_t n,
                                 cenote_batch_mode mode, cenote_result ***results,
                                 cenote_error *error)
{
  if (mode != CENOTE_BATCH_DEFERRED && mode != CENOTE_BATCH_WRITE && mode != CENOTE_BATCH_READ) {
    return cenote_error_set(error, CENOTE_INVALID, "batch: there is no mode %d", (int)mode);
  }
  if (results == NULL || n == 0 || n > CEN_MAX_BATCH || statements == NULL) {
    return cenote_error_set(error, CENOTE_INVALID,
                            "batch of %zu statements: from 1 to %d, and nothing may be NULL", n,
                            CEN_MAX_BATCH);
  }
  for (size_t i = 0; i < n; i++) {
    cenote_status status =
        statement_check(statements[i].sql, statements[i].args, statements[i].count, error);
    if (status == CENOTE_OK && ends_transaction(statements[i].sql)) {
      status = cenote_error_set(error, CENOTE_INVALID,
                                "a batch is one transaction: BEGIN, COMMIT and ROLLBACK are not "
                                "for the statements in it");
    }
    if (status != CENOTE_OK) {
      cen_error_statement(error, (int64_t)i);
      return status;
    }
  }
  return CENOTE_OK;
}

cenote_status cenote_batch(cenote_lease lease, const cenote_statement *statements, size_t n,
                           cenote_batch_mode mode, cenote_result ***results, cenote_error *error)
{
  if (results != NULL) {
    *results = NULL;
  }
  cenote_status status = batch_check(statements, n, mode, results, error);
  if (status != CENOTE_OK) {
    return status;
  }
  cenote_result **collected = calloc(n, sizeof(cenote_result *));
  if (collected == NULL) {
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory: a batch of %zu", n);
  }
  struct entry entry;
  status = lease_enter(lease, &entry, error);
  if (status != CENOTE_OK) {
    goto done;
  }
  status = goes_whole(&entry) ? run_whole(&entry, statements, n, mode, collected, error)
                              : run_batch(&entry, statements, n, mode, collected, error);
  status = lease_leave(&entry, status, error);

done:
  if (status == CENOTE_OK) {
    *results = collected;
  } else {
    cenote_results_free(collected, n);
  }
  return status;
}
