/* batch.c - several statements as one: all of them, or none. In one request where the driver takes
 * a batch whole, else as a transaction; inside a transaction as a savepoint of it. */
#include "manager/transact.h"

#include "base/error.h"
#include "base/result.h"
#include "sql/scan.h"

#include <stdlib.h>
#include <string.h>

/* All that was asked for, borrowed. */
struct batch {
  const cenote_statement *statements;
  size_t count;
  struct transact_terms terms;
  unsigned flags; /* as a request has them */
};

/* ------------------------------------------------------------------------ one by one */

static cenote_status run_all(struct entry *entry, const struct batch *batch, unsigned flags,
                             cenote_result **results, cenote_error *error)
{
  for (size_t i = 0; i < batch->count; i++) {
    const cenote_status status =
        statement_collect(entry, &batch->statements[i], flags, &results[i], error);
    if (status != CENOTE_OK) {
      cen_error_statement(error, (int64_t)i);
      return status;
    }
  }
  return CENOTE_OK;
}

/* A savepoint that refuses to write: PostgreSQL has it, and it ends with the savepoint. Elsewhere
 * each statement is refused by itself. */
static cenote_status refuse_writes(struct entry *entry, unsigned *flags, cenote_error *error)
{
  if (strcmp(entry->manager->driver->name, "postgres") == 0) {
    return transaction_run_own(entry, "SET TRANSACTION READ ONLY", error);
  }
  *flags |= CENOTE_REQUEST_REFUSE;
  return CENOTE_OK;
}

static cenote_status run_apart(struct entry *entry, const struct batch *batch,
                               cenote_result **results, cenote_error *error)
{
  unsigned flags = batch->flags;
  cenote_status status = transaction_begin(entry, &batch->terms, error);
  if (status != CENOTE_OK) {
    return status;
  }
  const unsigned depth = entry->session->depth;
  if (batch->terms.mode == CENOTE_BATCH_READ && depth > 1) {
    status = refuse_writes(entry, &flags, error);
  }
  if (status == CENOTE_OK) {
    status = run_all(entry, batch, flags, results, error);
  }
  if (status == CENOTE_OK) {
    return transaction_commit(entry, error);
  }
  entry->until_ns = 0; /* its time may be over: all the more reason */
  transaction_roll_back_to(entry, depth);
  return status;
}

/* ------------------------------------------------------------------------ in one request */

static cenote_status send_whole(struct entry *entry, const struct batch *batch, cenote_sink *sinks,
                                cenote_sink **list, cenote_error *error)
{
  for (size_t i = 0; i < batch->count; i++) {
    const cenote_status status = statement_sink(entry->manager, &sinks[i], error);
    if (status != CENOTE_OK) {
      return status;
    }
    list[i] = &sinks[i];
  }
  cenote_request request = {.size = sizeof request,
                            .kind = CENOTE_REQUEST_BATCH,
                            .flags = batch->flags,
                            .mode = batch->terms.mode,
                            .isolation = batch->terms.isolation,
                            .deferrable = batch->terms.deferrable,
                            .statements = batch->statements,
                            .statement_count = batch->count,
                            .sinks = list};
  const int64_t start = cen_now_ns();
  const cenote_status status = call_run(entry->session, &request, statement_deadline(entry), error);
  entry->asked = true;
  statement_note_call(entry, CENOTE_WHY_TRANSACTION, batch->statements[0].sql, status, error,
                      cen_now_ns() - start);
  return status;
}

static cenote_status run_whole(struct entry *entry, const struct batch *batch,
                               cenote_result **results, cenote_error *error)
{
  const size_t n = batch->count;
  cenote_sink *sinks = calloc(n, sizeof *sinks + sizeof(cenote_sink *));
  if (sinks == NULL) {
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory: a batch of %zu", n);
  }
  const cenote_status status =
      send_whole(entry, batch, sinks, (cenote_sink **)(void *)(sinks + n), error);
  for (size_t i = 0; i < n; i++) {
    if (status == CENOTE_OK) {
      results[i] = cen_sink_take(&sinks[i]);
    }
    cen_sink_deinit(&sinks[i]);
  }
  free(sinks);
  return status;
}

/* What a transaction that is open has, it has for the batch too. */
static cenote_status run_inside(struct entry *entry, const struct batch *batch,
                                cenote_result **results, cenote_error *error)
{
  const bool isolation = batch->terms.isolation != CENOTE_ISOLATION_DEFAULT;
  if (isolation || batch->terms.deferrable) {
    return cenote_error_set(error, CENOTE_INVALID,
                            "options: %s is for a batch of its own; inside a transaction it is "
                            "the transaction's",
                            isolation ? "isolation" : "deferrable");
  }
  return run_apart(entry, batch, results, error);
}

static cenote_status run_entered(struct entry *entry, const struct batch *batch,
                                 cenote_result **results, cenote_error *error)
{
  if (transaction_is_open(entry->session)) {
    return run_inside(entry, batch, results, error);
  }
  return (entry->manager->driver->flags & CENOTE_DRIVER_BATCHES) != 0
             ? run_whole(entry, batch, results, error)
             : run_apart(entry, batch, results, error);
}

/* ------------------------------------------------------------------------ the public calls */

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

static cenote_status check_options(const cenote_batch_options *options, cenote_error *error)
{
  if (options->size < sizeof *options) {
    return cenote_error_set(error, CENOTE_INVALID,
                            "options: size %zu; start with CENOTE_BATCH_OPTIONS_INIT",
                            options->size);
  }
  if ((unsigned)options->mode > CENOTE_BATCH_READ) {
    return cenote_error_set(error, CENOTE_INVALID, "options: there is no mode %d",
                            (int)options->mode);
  }
  if ((unsigned)options->isolation > CENOTE_READ_UNCOMMITTED) {
    return cenote_error_set(error, CENOTE_INVALID, "options: there is no isolation %d",
                            (int)options->isolation);
  }
  return statement_flags_check(
      options->flags, CENOTE_QUERY_RAW_TEXT | CENOTE_QUERY_NATIVE | CENOTE_QUERY_TIMES, error);
}

static cenote_status check_statements(const cenote_statement *statements, size_t n,
                                      cenote_result ***results, cenote_error *error)
{
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

cenote_status cenote_batch_with(cenote_lease lease, const cenote_statement *statements, size_t n,
                                const cenote_batch_options *options, cenote_result ***results,
                                cenote_error *error)
{
  static const cenote_batch_options usual = CENOTE_BATCH_OPTIONS_INIT;
  if (results != NULL) {
    *results = NULL;
  }
  options = options != NULL ? options : &usual;
  cenote_status status = check_options(options, error);
  if (status == CENOTE_OK) {
    status = check_statements(statements, n, results, error);
  }
  if (status != CENOTE_OK) {
    return status;
  }
  cenote_result **collected = calloc(n, sizeof(cenote_result *));
  if (collected == NULL) {
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory: a batch of %zu", n);
  }
  const struct batch batch = {.statements = statements,
                              .count = n,
                              .terms = {options->mode, options->isolation, options->deferrable},
                              .flags = statement_request_flags(options->flags)};
  struct entry entry;
  status = lease_enter(lease, &entry, error);
  if (status == CENOTE_OK) {
    entry.until_ns =
        options->timeout_ms > 0 ? cen_deadline_ns(cen_now_ns(), options->timeout_ms) : 0;
    status = run_entered(&entry, &batch, collected, error);
    status = lease_leave(&entry, status, error);
  }
  if (status == CENOTE_OK) {
    *results = collected;
  } else {
    cenote_results_free(collected, n);
  }
  return status;
}

cenote_status cenote_batch(cenote_lease lease, const cenote_statement *statements, size_t n,
                           cenote_batch_mode mode, cenote_result ***results, cenote_error *error)
{
  const cenote_batch_options options = {.size = sizeof options, .mode = mode};
  return cenote_batch_with(lease, statements, n, &options, results, error);
}
