/* manager_nested.c - transactions inside transactions: which handle means what, and for how long. */
#include "unit/manager_help.h"

struct nest {
  cenote_manager *manager;
  cenote_lease lease;
  cenote_error error;
};

static void open_nest(struct nest *nest)
{
  *nest = (struct nest){.error = CENOTE_ERROR_INIT};
  must(cenote_open("sqlite::memory:", NULL, &nest->manager, &nest->error), &nest->error);
  nest->lease = must_acquire(nest->manager, "nest");
  must_run(nest->lease, "create table t(n integer)");
}

static void close_nest(struct nest *nest)
{
  must_release(nest->lease);
  cenote_close(nest->manager);
}

static cenote_transaction *must_begin(struct nest *nest, int64_t timeout_ms)
{
  cenote_transaction *tx;
  must(cenote_begin(nest->lease, timeout_ms, &tx, &nest->error), &nest->error);
  return tx;
}

static void must_insert(struct nest *nest, cenote_transaction *tx, int64_t n)
{
  const cenote_value arg = cenote_integer(n);
  must(cenote_tx_execute(tx, "insert into t values(?)", &arg, 1, NULL, &nest->error), &nest->error);
}

static int64_t sum(struct nest *nest)
{
  return must_read(nest->lease, "select coalesce(sum(n), 0) from t");
}

static void a_handle_that_ended_never_touches_a_later_transaction(void **state)
{
  (void)state;
  struct nest nest;
  open_nest(&nest);
  cenote_transaction *first = must_begin(&nest, 0);
  cenote_transaction *left_open = must_begin(&nest, 0);
  must(cenote_commit(first, &nest.error), &nest.error);
  cenote_transaction *second = must_begin(&nest, 0);
  cenote_transaction *inner = must_begin(&nest, 0);
  must_insert(&nest, inner, 7);
  expect(CENOTE_INVALID, cenote_tx_execute(left_open, "select 1", NULL, 0, NULL, &nest.error),
         &nest.error);
  assert_int_equal(cenote_rollback(left_open, &nest.error), CENOTE_OK);
  must(cenote_commit(inner, &nest.error), &nest.error);
  must(cenote_commit(second, &nest.error), &nest.error);
  assert_int_equal(sum(&nest), 7);
  close_nest(&nest);
}

static void a_handle_does_not_commit_what_a_statement_began(void **state)
{
  (void)state;
  struct nest nest;
  open_nest(&nest);
  cenote_transaction *tx = must_begin(&nest, 60000);
  must_run(nest.lease, "commit");
  must_run(nest.lease, "begin");
  must_run(nest.lease, "insert into t values(1)");
  expect(CENOTE_INVALID, cenote_commit(tx, &nest.error), &nest.error);
  assert_int_equal(cenote_rollback(tx, &nest.error), CENOTE_OK);
  must_run(nest.lease, "commit");
  assert_int_equal(sum(&nest), 1);
  close_nest(&nest);
}

static void the_timeout_of_an_inner_one_ends_with_it(void **state)
{
  (void)state;
  struct nest nest;
  open_nest(&nest);
  cenote_transaction *outer = must_begin(&nest, 0);
  cenote_transaction *inner = must_begin(&nest, 2000);
  must_insert(&nest, inner, 1);
  must(cenote_commit(inner, &nest.error), &nest.error);
  pause_ms(2100);
  must_insert(&nest, outer, 2);
  must(cenote_commit(outer, &nest.error), &nest.error);
  assert_int_equal(sum(&nest), 3);
  close_nest(&nest);
}

static void the_timeout_of_an_inner_one_spares_the_outer(void **state)
{
  (void)state;
  struct nest nest;
  open_nest(&nest);
  cenote_transaction *outer = must_begin(&nest, 0);
  must_insert(&nest, outer, 1);
  cenote_transaction *inner = must_begin(&nest, 300);
  pause_ms(350);
  expect(CENOTE_STATEMENT_TIMEOUT,
         cenote_tx_execute(inner, "insert into t values(2)", NULL, 0, NULL, &nest.error),
         &nest.error);
  assert_int_equal(cenote_rollback(inner, &nest.error), CENOTE_OK);
  must_insert(&nest, outer, 4);
  must(cenote_commit(outer, &nest.error), &nest.error);
  assert_int_equal(sum(&nest), 5);
  close_nest(&nest);
}

static void a_commit_loses_no_inner_one_to_its_timeout(void **state)
{
  (void)state;
  struct nest nest;
  open_nest(&nest);
  cenote_transaction *outer = must_begin(&nest, 0);
  must_insert(&nest, outer, 1);
  cenote_transaction *inner = must_begin(&nest, 500);
  pause_ms(550);
  expect(CENOTE_STATEMENT_TIMEOUT, cenote_commit(outer, &nest.error), &nest.error);
  assert_int_equal(cenote_rollback(inner, &nest.error), CENOTE_OK);
  assert_int_equal(sum(&nest), 0);
  must_run(nest.lease, "begin"); /* nothing is open */
  must_run(nest.lease, "rollback");
  close_nest(&nest);
}

static void a_timeout_does_not_follow_the_connection(void **state)
{
  (void)state;
  struct nest nest;
  open_nest(&nest);
  cenote_transaction *tx = must_begin(&nest, 500);
  must_run(nest.lease, "commit");
  pause_ms(550);
  must_run(nest.lease, "begin"); /* one without a time-out */
  must_run(nest.lease, "insert into t values(1)");
  must_run(nest.lease, "commit");
  assert_int_equal(cenote_rollback(tx, &nest.error), CENOTE_OK);
  assert_int_equal(sum(&nest), 1);
  close_nest(&nest);
}

static void a_commit_that_fails_leaves_nothing_open(void **state)
{
  (void)state;
  struct nest nest;
  open_nest(&nest);
  must_run(nest.lease, "pragma foreign_keys=on");
  must_run(nest.lease, "create table parent(n integer primary key)");
  must_run(nest.lease, "create table child(n integer references parent(n) "
                       "deferrable initially deferred)");
  cenote_transaction *tx = must_begin(&nest, 0);
  must(cenote_tx_execute(tx, "insert into child values(1)", NULL, 0, NULL, &nest.error),
       &nest.error);
  expect(CENOTE_DATABASE, cenote_commit(tx, &nest.error), &nest.error);
  must_run(nest.lease, "begin");
  must_run(nest.lease, "rollback");
  assert_int_equal(must_read(nest.lease, "select count(*) from child"), 0);
  close_nest(&nest);
}

static void an_outer_rollback_takes_the_inner_ones_along(void **state)
{
  (void)state;
  struct nest nest;
  open_nest(&nest);
  cenote_transaction *outer = must_begin(&nest, 0);
  cenote_transaction *middle = must_begin(&nest, 0);
  cenote_transaction *inner = must_begin(&nest, 0);
  must_insert(&nest, inner, 1);
  assert_int_equal(cenote_rollback(middle, &nest.error), CENOTE_OK);
  expect(CENOTE_INVALID, cenote_commit(inner, &nest.error), &nest.error);
  assert_int_equal(cenote_rollback(inner, &nest.error), CENOTE_OK);
  must_insert(&nest, outer, 2);
  must(cenote_commit(outer, &nest.error), &nest.error);
  assert_int_equal(sum(&nest), 2);
  close_nest(&nest);
}

static void a_batch_takes_no_transaction_control(void **state)
{
  (void)state;
  struct nest nest;
  open_nest(&nest);
  cenote_result **results;
  const char *const texts[] = {"commit", " /* x */ ROLLBACK", "begin", "select 1; end"};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    const cenote_statement statements[] = {{.sql = "insert into t values(1)"}, {.sql = texts[i]}};
    expect(CENOTE_INVALID,
           cenote_batch(nest.lease, statements, 2, CENOTE_BATCH_WRITE, &results, &nest.error),
           &nest.error);
    assert_int_equal(nest.error.statement, 1);
    assert_null(results);
  }
  assert_int_equal(sum(&nest), 0);
  close_nest(&nest);
}

/* The housekeeper cleans one session of the database in memory while another's transaction keeps
 * everybody out: it is the housekeeper who must end that one. */
static void a_reset_that_waits_does_not_hold_up_an_expiry(void **state)
{
  (void)state;
  static const cenote_setting settings[] = {{"min_connections", "2"},
                                            {"lease_timeout_ms", "60000"},
                                            {"connect_timeout_ms", "60000"},
                                            {"check_after_ms", "60000"}};
  struct nest nest = {.error = CENOTE_ERROR_INIT};
  cenote_options options = CENOTE_OPTIONS_INIT;
  cenote_transaction *tx;
  cenote_lease_info info = CENOTE_LEASE_INFO_INIT;
  options.settings = settings;
  options.settings_count = sizeof settings / sizeof *settings;
  must(cenote_open("sqlite::memory:", &options, &nest.manager, &nest.error), &nest.error);
  cenote_lease dirty = must_acquire(nest.manager, "dirty");
  must_run(dirty, "create temp table x(n)");
  nest.lease = must_acquire(nest.manager, "holds everybody up");
  must(cenote_begin(nest.lease, 0, &tx, &nest.error), &nest.error);
  must_release(dirty);
  must(cenote_lease_extend(nest.lease, 200, &nest.error), &nest.error);
  wait_until(cenote_lease_stats(nest.lease, &info) == CENOTE_LEASE_EXPIRED);
  assert_int_equal(cenote_rollback(tx, &nest.error), CENOTE_OK);
  wait_until(statistics_of(nest.manager).resets == 2);
  assert_int_equal(statistics_of(nest.manager).reset_failures, 0);
  cenote_close(nest.manager);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_handle_that_ended_never_touches_a_later_transaction),
      cmocka_unit_test(a_handle_does_not_commit_what_a_statement_began),
      cmocka_unit_test(the_timeout_of_an_inner_one_ends_with_it),
      cmocka_unit_test(the_timeout_of_an_inner_one_spares_the_outer),
      cmocka_unit_test(a_commit_loses_no_inner_one_to_its_timeout),
      cmocka_unit_test(a_timeout_does_not_follow_the_connection),
      cmocka_unit_test(a_commit_that_fails_leaves_nothing_open),
      cmocka_unit_test(an_outer_rollback_takes_the_inner_ones_along),
      cmocka_unit_test(a_batch_takes_no_transaction_control),
      cmocka_unit_test(a_reset_that_waits_does_not_hold_up_an_expiry),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
