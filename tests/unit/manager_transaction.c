/* manager_transaction.c - transactions and batches on SQLite and on the fake driver: savepoints,
 * statements of the caller's own in between, time-outs, lost connections. */
#include "sqlite_base.h"

static cenote_transaction *must_begin(cenote_lease lease, int64_t timeout_ms)
{
  cenote_transaction *tx;
  cenote_error error = CENOTE_ERROR_INIT;
  must(cenote_begin(lease, timeout_ms, &tx, &error), &error);
  return tx;
}

static void must_tx(cenote_transaction *tx, const char *sql)
{
  cenote_error error = CENOTE_ERROR_INIT;
  must(cenote_tx_execute(tx, sql, NULL, 0, NULL, &error), &error);
}

static void must_commit(cenote_transaction *tx)
{
  cenote_error error = CENOTE_ERROR_INIT;
  must(cenote_commit(tx, &error), &error);
}

static void a_commit_keeps_and_a_rollback_forgets(void **state)
{
  (void)state;
  struct base base;
  base_open(&base);
  cenote_lease lease = must_acquire(base.manager, "tx");
  cenote_transaction *tx = must_begin(lease, 0);
  must_tx(tx, "INSERT INTO t VALUES (1, 'one')");
  must_commit(tx);
  tx = must_begin(lease, 0);
  must_tx(tx, "INSERT INTO t VALUES (2, 'two')");
  assert_int_equal(cenote_rollback(tx, &base.error), CENOTE_OK);
  must_release(lease);
  assert_int_equal(rows_in(base.manager), 1);
  base_close(&base);
}

static void a_nested_transaction_is_a_savepoint(void **state)
{
  (void)state;
  struct base base;
  base_open(&base);
  cenote_lease lease = must_acquire(base.manager, "nested");
  cenote_transaction *outer = must_begin(lease, 0);
  must_tx(outer, "INSERT INTO t VALUES (1, 1)");
  cenote_transaction *middle = must_begin(lease, 0);
  must_tx(middle, "INSERT INTO t VALUES (2, 2)");
  cenote_transaction *inner = must_begin(lease, 0);
  must_tx(inner, "INSERT INTO t VALUES (3, 3)");
  must_commit(inner);
  assert_int_equal(cenote_rollback(middle, &base.error), CENOTE_OK); /* inner goes with it */
  inner = must_begin(lease, 0);
  must_tx(inner, "INSERT INTO t VALUES (4, 4)");
  must_commit(inner);
  must_commit(outer);
  assert_int_equal(must_read(lease, "SELECT sum(a) FROM t"), 5);
  must_release(lease);
  base_close(&base);
}

static void committing_the_outer_one_commits_what_is_open_inside(void **state)
{
  (void)state;
  struct base base;
  base_open(&base);
  cenote_lease lease = must_acquire(base.manager, "outer first");
  cenote_transaction *outer = must_begin(lease, 0);
  cenote_transaction *inner = must_begin(lease, 0);
  must_tx(inner, "INSERT INTO t VALUES (1, 1)");
  must_commit(outer);
  expect(CENOTE_INVALID, cenote_tx_execute(inner, "SELECT 1", NULL, 0, NULL, &base.error),
         &base.error);
  expect(CENOTE_INVALID, cenote_commit(inner, &base.error), &base.error);
  assert_int_equal(cenote_rollback(inner, &base.error), CENOTE_OK);
  assert_int_equal(must_read(lease, "SELECT count(*) FROM t"), 1);
  must_release(lease);
  base_close(&base);
}

static void a_handle_whose_transaction_ended_never_touches_the_next_one(void **state)
{
  (void)state;
  struct base base;
  base_open(&base);
  cenote_lease lease = must_acquire(base.manager, "stale handle");
  cenote_transaction *old = must_begin(lease, 0);
  must_run(lease, "COMMIT");
  cenote_transaction *fresh = must_begin(lease, 0);
  must_tx(fresh, "INSERT INTO t VALUES (1, 1)");
  expect(CENOTE_INVALID, cenote_tx_execute(old, "SELECT 1", NULL, 0, NULL, &base.error),
         &base.error);
  expect(CENOTE_INVALID, cenote_commit(old, &base.error), &base.error);
  assert_int_equal(cenote_rollback(old, &base.error), CENOTE_OK);
  must_tx(fresh, "INSERT INTO t VALUES (2, 2)");
  must_commit(fresh);
  assert_int_equal(must_read(lease, "SELECT count(*) FROM t"), 2);
  must_release(lease);
  base_close(&base);
}

static void begin_and_commit_as_statements_mix_with_the_calls(void **state)
{
  (void)state;
  struct base base;
  base_open(&base);
  cenote_lease lease = must_acquire(base.manager, "mixed");
  must_run(lease, "BEGIN");
  must_run(lease, "INSERT INTO t VALUES (1, 1)");
  cenote_transaction *tx = must_begin(lease, 0); /* a savepoint in the caller's own */
  must_tx(tx, "INSERT INTO t VALUES (2, 2)");
  assert_int_equal(cenote_rollback(tx, &base.error), CENOTE_OK);
  must_run(lease, "COMMIT");
  assert_int_equal(must_read(lease, "SELECT count(*) FROM t"), 1);
  tx = must_begin(lease, 0);
  must_tx(tx, "INSERT INTO t VALUES (3, 3)");
  must_run(lease, "ROLLBACK");
  expect(CENOTE_INVALID, cenote_commit(tx, &base.error), &base.error);
  assert_int_equal(cenote_rollback(tx, &base.error), CENOTE_OK);
  must_release(lease);
  assert_int_equal(rows_in(base.manager), 1);
  base_close(&base);
}

static void a_failed_transaction_cannot_be_committed(void **state)
{
  (void)state;
  struct place place;
  place_init(&place);
  place_open_with(&place, "0", "1");
  cenote_lease lease = must_acquire(place.manager, "failing");
  cenote_transaction *tx = must_begin(lease, 0);
  expect(CENOTE_DATABASE, cenote_tx_execute(tx, "error 23505", NULL, 0, NULL, &place.error),
         &place.error);
  assert_string_equal(place.error.sqlstate, "23505");
  expect(CENOTE_DATABASE, cenote_commit(tx, &place.error), &place.error);
  has_text(place.error.message, "rolled back");
  assert_int_equal(started(&place, CENOTE_REQUEST_COMMIT), 0);
  assert_int_equal(place.script.rollbacks_of_open_transactions, 1);
  assert_int_equal(must_read(lease, "SELECT 3"), 3);
  must_release(lease);
  place_close(&place);
}

static void a_transaction_ends_at_its_time(void **state)
{
  (void)state;
  struct place place;
  place_init(&place);
  place_open_with(&place, "0", "1");
  cenote_lease lease = must_acquire(place.manager, "timed");
  cenote_transaction *tx = must_begin(lease, 80);
  expect(CENOTE_STATEMENT_TIMEOUT, cenote_tx_execute(tx, "hang", NULL, 0, NULL, &place.error),
         &place.error);
  expect(CENOTE_STATEMENT_TIMEOUT, cenote_tx_execute(tx, "SELECT 1", NULL, 0, NULL, &place.error),
         &place.error);
  has_text(place.error.message, "transaction timeout");
  assert_int_equal(place.script.rollbacks_of_open_transactions, 1);
  assert_int_equal(cenote_rollback(tx, &place.error), CENOTE_OK);
  assert_int_equal(must_read(lease, "SELECT 3"), 3); /* the lease is as good as before */
  tx = must_begin(lease, 50);
  pause_ms(80);
  expect(CENOTE_STATEMENT_TIMEOUT, cenote_commit(tx, &place.error), &place.error);
  must_release(lease);
  place_close(&place);
}

static void a_transactions_time_does_not_outlive_it(void **state)
{
  (void)state;
  struct place place;
  place_init(&place);
  place_open_with(&place, "0", "1");
  cenote_lease lease = must_acquire(place.manager, "first");
  cenote_transaction *tx = must_begin(lease, 500);
  must_run(lease, "commit"); /* ended behind the handle's back */
  must_run(lease, "begin");
  pause_ms(600);
  must_run(lease, "sleep 5"); /* the second transaction has no time-out */
  must_run(lease, "commit");
  assert_int_equal(cenote_rollback(tx, &place.error), CENOTE_OK);
  tx = must_begin(lease, 500);
  must_run(lease, "commit");
  assert_int_equal(cenote_rollback(tx, &place.error), CENOTE_OK);
  must_release(lease);
  lease = must_acquire(place.manager, "next holder");
  must_run(lease, "begin");
  pause_ms(600);
  must_run(lease, "sleep 5");
  must_run(lease, "commit");
  must_release(lease);
  place_close(&place);
}

static void an_inner_transactions_time_does_not_bind_the_outer_one(void **state)
{
  (void)state;
  struct base base;
  base_open(&base);
  cenote_lease lease = must_acquire(base.manager, "nested times");
  cenote_transaction *outer = must_begin(lease, 0);
  must_tx(outer, "INSERT INTO t VALUES (1, 1)");
  cenote_transaction *inner = must_begin(lease, 500);
  must_tx(inner, "INSERT INTO t VALUES (2, 2)");
  must_commit(inner);
  pause_ms(600);
  must_tx(outer, "INSERT INTO t VALUES (3, 3)");
  inner = must_begin(lease, 500);
  must_tx(inner, "INSERT INTO t VALUES (4, 4)");
  pause_ms(600);
  expect(CENOTE_STATEMENT_TIMEOUT, cenote_commit(inner, &base.error), &base.error);
  must_tx(outer, "INSERT INTO t VALUES (5, 5)");
  must_commit(outer);
  assert_int_equal(must_read(lease, "SELECT sum(a) FROM t"), 11);
  must_release(lease);
  base_close(&base);
}

static void a_rollback_succeeds_after_a_lost_connection(void **state)
{
  (void)state;
  struct place place;
  place_init(&place);
  place_open_with(&place, "0", "1");
  cenote_lease lease = must_acquire(place.manager, "unlucky");
  cenote_transaction *tx = must_begin(lease, 0);
  assert_int_equal(cenote_tx_execute(tx, "lose", NULL, 0, NULL, &place.error),
                   CENOTE_CONNECTION_LOST);
  assert_int_equal(cenote_rollback(tx, &place.error), CENOTE_OK);
  tx = (cenote_transaction *)(uintptr_t)1;
  assert_int_not_equal(cenote_begin(lease, 0, &tx, &place.error), CENOTE_OK);
  assert_null(tx);
  must_release(lease);
  place_close(&place);
}

/* cenote_rollback promises that nothing remains, so the connection has to go. */
static void a_rollback_that_the_database_refuses_leaves_nothing_behind(void **state)
{
  (void)state;
  struct place place;
  place_init(&place);
  place_open_with(&place, "0", "1");
  cenote_lease lease = must_acquire(place.manager, "refused");
  cenote_transaction *tx = must_begin(lease, 0);
  fake_fail(&place.script, CENOTE_REQUEST_ROLLBACK, CENOTE_DATABASE, 1);
  assert_int_equal(cenote_rollback(tx, &place.error), CENOTE_OK);
  assert_int_not_equal(run_sql(lease, "insert", &place.error), CENOTE_OK);
  must_release(lease);
  lease = must_acquire(place.manager, "next");
  assert_int_equal(must_read(lease, "who"), 2);
  must_release(lease);
  place_close(&place);
}

static void a_commit_on_a_lost_connection_says_so(void **state)
{
  (void)state;
  struct place place;
  place_init(&place);
  place_open_with(&place, "0", "1");
  cenote_lease lease = must_acquire(place.manager, "unlucky");
  cenote_transaction *tx = must_begin(lease, 0);
  fake_kill_all(&place.script);
  const cenote_status status = cenote_commit(tx, &place.error);
  assert_true(status == CENOTE_CONNECTION_LOST || status == CENOTE_OUTCOME_UNKNOWN);
  must_release(lease);
  place_close(&place);
}

static void a_transaction_outlived_by_its_handle_after_an_expiry(void **state)
{
  (void)state;
  struct base base;
  base_open(&base);
  cenote_lease lease = must_acquire(base.manager, "expiring");
  cenote_transaction *tx = must_begin(lease, 0);
  must_tx(tx, "INSERT INTO t VALUES (1, 1)");
  let_expire(lease);
  wait_until(statistics_of(base.manager).lease_timeouts == 1);
  expect(CENOTE_LEASE_EXPIRED,
         cenote_tx_execute(tx, "INSERT INTO t VALUES (2, 2)", NULL, 0, NULL, &base.error),
         &base.error);
  has_text(base.error.message, "expiring");
  expect(CENOTE_LEASE_EXPIRED, cenote_commit(tx, &base.error), &base.error);
  assert_int_equal(rows_in(base.manager), 0);
  lease = must_acquire(base.manager, "expiring");
  tx = must_begin(lease, 0);
  let_expire(lease);
  wait_until(statistics_of(base.manager).lease_timeouts == 2);
  assert_int_equal(cenote_rollback(tx, &base.error), CENOTE_OK);
  base_close(&base);
}

static void savepoints_have_a_ceiling(void **state)
{
  (void)state;
  enum { DEEP = 1100 };
  struct base base;
  static cenote_transaction *open[DEEP + 1];
  base_open(&base);
  cenote_lease lease = must_acquire(base.manager, "deep");
  int depth = 0;
  cenote_status status = CENOTE_OK;
  while (depth < DEEP && status == CENOTE_OK) {
    status = cenote_begin(lease, 0, &open[depth], &base.error);
    depth += status == CENOTE_OK;
  }
  expect(CENOTE_TOO_LARGE, status, &base.error);
  assert_null(open[depth]);
  while (depth-- > 0) {
    assert_int_equal(cenote_rollback(open[depth], &base.error), CENOTE_OK);
  }
  assert_int_equal(must_read(lease, "SELECT 1"), 1);
  must_release(lease);
  base_close(&base);
}

/* ------------------------------------------------------------------------ batches */

static void a_batch_answers_a_result_for_each_statement(void **state)
{
  (void)state;
  struct base base;
  cenote_result **results;
  base_open(&base);
  cenote_lease lease = must_acquire(base.manager, "batch");
  const cenote_value args[] = {cenote_integer(7), cenote_text("seven")};
  const cenote_statement statements[] = {
      {"INSERT INTO t VALUES (?, ?)", args, 2},
      {"INSERT INTO t VALUES ($1 + 1, $2)", args, 2},
      {"SELECT a, b FROM t ORDER BY a", NULL, 0},
  };
  must(cenote_batch(lease, statements, 3, CENOTE_BATCH_WRITE, &results, &base.error), &base.error);
  assert_int_equal(cenote_result_affected_rows(results[0]), 1);
  assert_int_equal(cenote_result_last_insert_id(results[1]), 8);
  must_release(lease);
  base_close(&base);
  assert_int_equal(cenote_result_rows(results[2]), 2); /* they are the caller's */
  assert_string_equal(cenote_result_text(results[2], 1, 1), "seven");
  cenote_results_free(results, 3);
}

static void a_batch_is_all_or_nothing_and_names_the_failing_one(void **state)
{
  (void)state;
  struct base base;
  cenote_result **results = (cenote_result **)(uintptr_t)1;
  base_open(&base);
  cenote_lease lease = must_acquire(base.manager, "batch");
  const cenote_statement statements[] = {
      {"INSERT INTO t VALUES (1, 1)", NULL, 0},
      {"INSERT INTO t VALUES (2, 2)", NULL, 0},
      {"INSERT INTO t VALUES (1, 'again')", NULL, 0},
      {"INSERT INTO t VALUES (3, 3)", NULL, 0},
  };
  expect(CENOTE_DATABASE,
         cenote_batch(lease, statements, 4, CENOTE_BATCH_DEFERRED, &results, &base.error),
         &base.error);
  assert_null(results);
  assert_int_equal(base.error.statement, 2);
  assert_int_equal(must_read(lease, "SELECT count(*) FROM t"), 0);
  must(cenote_batch(lease, statements, 2, CENOTE_BATCH_DEFERRED, &results, &base.error),
       &base.error);
  cenote_results_free(results, 2);
  must_release(lease);
  assert_int_equal(rows_in(base.manager), 2);
  base_close(&base);
}

static void a_batch_in_a_transaction_undoes_only_itself(void **state)
{
  (void)state;
  struct base base;
  cenote_result **results;
  base_open(&base);
  cenote_lease lease = must_acquire(base.manager, "batch");
  cenote_transaction *tx = must_begin(lease, 0);
  must_tx(tx, "INSERT INTO t VALUES (1, 1)");
  const cenote_statement statements[] = {{"INSERT INTO t VALUES (2, 2)", NULL, 0},
                                         {"INSERT INTO nowhere VALUES (2)", NULL, 0}};
  expect(CENOTE_DATABASE,
         cenote_batch(lease, statements, 2, CENOTE_BATCH_WRITE, &results, &base.error),
         &base.error);
  assert_int_equal(base.error.statement, 1);
  must_tx(tx, "INSERT INTO t VALUES (3, 3)");
  must_commit(tx);
  assert_int_equal(must_read(lease, "SELECT sum(a) FROM t"), 4);
  must_release(lease);
  base_close(&base);
}

static void a_batch_that_only_reads_refuses_to_write(void **state)
{
  (void)state;
  struct base base;
  cenote_result **results;
  base_open(&base);
  cenote_lease lease = must_acquire(base.manager, "reader");
  const cenote_statement write = {"INSERT INTO t VALUES (1, 1)", NULL, 0};
  const cenote_statement read = {"SELECT 5", NULL, 0};
  assert_int_not_equal(cenote_batch(lease, &write, 1, CENOTE_BATCH_READ, &results, &base.error),
                       CENOTE_OK);
  assert_null(results);
  must(cenote_batch(lease, &read, 1, CENOTE_BATCH_READ, &results, &base.error), &base.error);
  assert_int_equal(cenote_result_integer(results[0], 0, 0), 5);
  cenote_results_free(results, 1);
  must_run(lease, "INSERT INTO t VALUES (9, 9)"); /* the mode ended with the batch */
  must_release(lease);
  base_close(&base);
}

static void a_batch_that_only_reads_refuses_to_write_inside_a_transaction_too(void **state)
{
  (void)state;
  struct base base;
  cenote_result **results;
  base_open(&base);
  cenote_lease lease = must_acquire(base.manager, "reader");
  const cenote_statement write = {"INSERT INTO t VALUES (1, 1)", NULL, 0};
  const cenote_statement read = {"SELECT count(*) FROM t", NULL, 0};
  cenote_transaction *tx = must_begin(lease, 0);
  must_tx(tx, "INSERT INTO t VALUES (5, 5)");
  expect(CENOTE_DATABASE, cenote_batch(lease, &write, 1, CENOTE_BATCH_READ, &results, &base.error),
         &base.error);
  assert_string_equal(base.error.sqlstate, "25006");
  must(cenote_batch(lease, &read, 1, CENOTE_BATCH_READ, &results, &base.error), &base.error);
  assert_int_equal(cenote_result_integer(results[0], 0, 0), 1);
  cenote_results_free(results, 1);
  must_tx(tx, "INSERT INTO t VALUES (9, 9)"); /* the mode ended with the batch */
  must_commit(tx);
  must_run(lease, "INSERT INTO t VALUES (10, 10)");
  must_release(lease);
  assert_int_equal(rows_in(base.manager), 3);
  base_close(&base);
}

static void a_wrong_batch_changes_nothing(void **state)
{
  (void)state;
  struct base base;
  cenote_result **results = NULL;
  base_open(&base);
  cenote_lease lease = must_acquire(base.manager, "wrong");
  const cenote_statement good = {"INSERT INTO t VALUES (1, 1)", NULL, 0};
  const cenote_statement half[] = {{"INSERT INTO t VALUES (1, 1)", NULL, 0}, {NULL, NULL, 0}};
  const cenote_statement args[] = {{"SELECT 1", NULL, 0}, {"SELECT ?", NULL, 1}};
  expect(CENOTE_INVALID, cenote_batch(lease, NULL, 1, CENOTE_BATCH_WRITE, &results, &base.error),
         NULL);
  expect(CENOTE_INVALID, cenote_batch(lease, &good, 0, CENOTE_BATCH_WRITE, &results, &base.error),
         NULL);
  expect(CENOTE_INVALID, cenote_batch(lease, &good, SIZE_MAX, CENOTE_BATCH_WRITE, &results, NULL),
         NULL);
  expect(CENOTE_INVALID, cenote_batch(lease, &good, 1, CENOTE_BATCH_WRITE, NULL, &base.error),
         NULL);
  expect(CENOTE_INVALID, cenote_batch(lease, half, 2, CENOTE_BATCH_WRITE, &results, &base.error),
         NULL);
  assert_int_equal(base.error.statement, 1);
  expect(CENOTE_INVALID, cenote_batch(lease, args, 2, CENOTE_BATCH_WRITE, &results, &base.error),
         NULL);
  assert_int_equal(base.error.statement, 1);
  expect(CENOTE_INVALID,
         cenote_batch(lease, &good, 1, (cenote_batch_mode)99, &results, &base.error), &base.error);
  must_release(lease);
  assert_int_equal(rows_in(base.manager), 0);
  base_close(&base);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      TEST(a_commit_keeps_and_a_rollback_forgets),
      TEST(a_nested_transaction_is_a_savepoint),
      TEST(committing_the_outer_one_commits_what_is_open_inside),
      TEST(a_handle_whose_transaction_ended_never_touches_the_next_one),
      TEST(begin_and_commit_as_statements_mix_with_the_calls),
      TEST(a_failed_transaction_cannot_be_committed),
      TEST(a_transaction_ends_at_its_time),
      TEST(a_transactions_time_does_not_outlive_it),
      TEST(an_inner_transactions_time_does_not_bind_the_outer_one),
      TEST(a_rollback_succeeds_after_a_lost_connection),
      TEST(a_rollback_that_the_database_refuses_leaves_nothing_behind),
      TEST(a_commit_on_a_lost_connection_says_so),
      TEST(a_transaction_outlived_by_its_handle_after_an_expiry),
      TEST(savepoints_have_a_ceiling),
      TEST(a_batch_answers_a_result_for_each_statement),
      TEST(a_batch_is_all_or_nothing_and_names_the_failing_one),
      TEST(a_batch_in_a_transaction_undoes_only_itself),
      TEST(a_batch_that_only_reads_refuses_to_write),
      TEST(a_batch_that_only_reads_refuses_to_write_inside_a_transaction_too),
      TEST(a_wrong_batch_changes_nothing),
  };
  if (!scratch_open()) {
    return 1;
  }
  const int failed = cmocka_run_group_tests(tests, NULL, NULL);
  scratch_close();
  return failed;
}
