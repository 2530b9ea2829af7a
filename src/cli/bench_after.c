/* bench_after.c - the same work as bench_before.c through the pool: acquire, execute, release; and
 * single statements without a lease, over shared connections where the database has them. */
#include "cli/bench.h"

#include <stdio.h>
#include <string.h>

static bool fail(char error[BENCH_ERROR], const cenote_error *cause)
{
  snprintf(error, BENCH_ERROR, "%.*s", BENCH_ERROR - 1,
           cause->message[0] ? cause->message : cenote_status_text(cause->status));
  return false;
}

/* The first cell must be the key, so that a row of another caller is noticed. */
static bool row_is_ours(const cenote_result *result, int64_t key, char error[BENCH_ERROR])
{
  if (cenote_result_rows(result) == 1 && cenote_result_integer(result, 0, 0) == key) {
    return true;
  }
  snprintf(error, BENCH_ERROR, "a row of somebody else came back");
  return false;
}

static bool query_run(cenote_lease lease, const char *sql, int64_t key, char error[BENCH_ERROR])
{
  cenote_error cause = CENOTE_ERROR_INIT;
  cenote_result *result = NULL;
  cenote_value value = cenote_integer(key);
  cause.status = cenote_execute(lease, sql, &value, key > 0, &result, &cause);
  bool ok =
      cause.status == CENOTE_OK ? key == 0 || row_is_ours(result, key, error) : fail(error, &cause);
  cenote_result_free(result);
  return ok;
}

static bool transaction_run(cenote_lease lease, const struct bench_target *target, int64_t key,
                            char error[BENCH_ERROR])
{
  cenote_error cause = CENOTE_ERROR_INIT;
  cenote_transaction *transaction = NULL;
  cenote_result *result = NULL;
  cenote_value value = cenote_integer(key);
  cause.status = cenote_begin(lease, 0, &transaction, &cause);
  if (cause.status != CENOTE_OK) {
    return fail(error, &cause);
  }
  cause.status = cenote_tx_execute(transaction, target->update, &value, 1, &result, &cause);
  cenote_result_free(result);
  result = NULL;
  if (cause.status == CENOTE_OK) {
    cause.status = cenote_tx_execute(transaction, target->read, &value, 1, &result, &cause);
  }
  bool ok = cause.status == CENOTE_OK ? row_is_ours(result, key, error) : fail(error, &cause);
  cenote_result_free(result);
  if (!ok) {
    cenote_rollback(transaction, NULL);
    return false;
  }
  cause.status = cenote_commit(transaction, &cause);
  return cause.status == CENOTE_OK || fail(error, &cause);
}

bool bench_after_run(cenote_manager *manager, const struct bench_target *target, enum bench_op op,
                     unsigned number, char error[BENCH_ERROR])
{
  cenote_error cause = CENOTE_ERROR_INIT;
  cenote_lease lease = {0};
  cause.status = cenote_acquire(manager, "cenote bench", -1, &lease, &cause);
  if (cause.status != CENOTE_OK) {
    return fail(error, &cause);
  }
  int64_t key = (int64_t)number + 1;
  bool ok;
  if (op == BENCH_SIMPLE) {
    ok = query_run(lease, target->simple, key, error);
  } else if (op == BENCH_HOLD && target->kind == BENCH_POSTGRES) {
    ok = query_run(lease, "SELECT pg_sleep(0.05)", 0, error);
  } else {
    ok = transaction_run(lease, target, key, error);
  }
  cenote_release(lease);
  return ok;
}

/* The transaction as one request. */
static bool batch_run(cenote_lease lease, const struct bench_target *target, int64_t key,
                      char error[BENCH_ERROR])
{
  cenote_error cause = CENOTE_ERROR_INIT;
  cenote_result **results = NULL;
  const cenote_value value = cenote_integer(key);
  const cenote_statement statements[] = {{.sql = target->update, .args = &value, .count = 1},
                                         {.sql = target->read, .args = &value, .count = 1}};
  cause.status = cenote_batch(lease, statements, 2, CENOTE_BATCH_WRITE, &results, &cause);
  if (cause.status != CENOTE_OK) {
    return fail(error, &cause);
  }
  const bool ok = row_is_ours(results[1], key, error);
  cenote_results_free(results, 2);
  return ok;
}

bool bench_dual_run(cenote_manager *manager, const struct bench_target *target, enum bench_op op,
                    unsigned number, char error[BENCH_ERROR])
{
  if (op == BENCH_SIMPLE || !bench_is_http(target)) {
    return bench_shared_run(manager, target, op, number, error);
  }
  cenote_error cause = CENOTE_ERROR_INIT;
  cenote_lease lease = {0};
  cause.status = cenote_acquire(manager, "cenote bench", -1, &lease, &cause);
  if (cause.status != CENOTE_OK) {
    return fail(error, &cause);
  }
  bool ok = batch_run(lease, target, (int64_t)number + 1, error);
  cenote_release(lease);
  return ok;
}

bool bench_shared_run(cenote_manager *manager, const struct bench_target *target, enum bench_op op,
                      unsigned number, char error[BENCH_ERROR])
{
  if (op != BENCH_SIMPLE) {
    return bench_after_run(manager, target, op, number, error);
  }
  cenote_error cause = CENOTE_ERROR_INIT;
  cenote_result *result = NULL;
  int64_t key = (int64_t)number + 1;
  cenote_value value = cenote_integer(key);
  cenote_query_options options = CENOTE_QUERY_OPTIONS_INIT;
  options.operation_id = "cenote bench";
  cause.status = cenote_query(manager, target->simple, &value, 1, &options, &result, &cause);
  bool ok = cause.status == CENOTE_OK ? row_is_ours(result, key, error) : fail(error, &cause);
  cenote_result_free(result);
  return ok;
}
