/* transact_sqlite.c - routed transactions on SQLite: what is kept, what is not, and what a body may
 * send. */
#include "sqlite_base.h"
#include "transact_flow.h"
#include "transact_help.h"

static void what_the_body_did_is_committed(void **state)
{
  (void)state;
  struct base base;
  base_open(&base);
  struct body body = {.sql = {"INSERT INTO t VALUES (1, 1)", "SELECT count(*) FROM t"}};
  must(cenote_transact(base.manager, body_run, &body, &base.error), &base.error);
  assert_int_equal(body.calls, 1);
  assert_int_equal(body.value[1], 1);
  assert_int_equal(rows_in(base.manager), 1);
  const cenote_statistics now = statistics_of(base.manager);
  assert_int_equal(now.active_leases, 0);
  base_close(&base);
}

static void the_bodys_error_rolls_back_and_is_the_answer(void **state)
{
  (void)state;
  struct base base;
  base_open(&base);
  struct body body = {.sql = {"INSERT INTO t VALUES (1, 1)", "INSERT INTO nowhere VALUES (1)"}};
  transact_fails(base.manager, NULL, &body, CENOTE_DATABASE, "42P01");
  assert_int_equal(rows_in(base.manager), 0);
  body = (struct body){.sql = {"INSERT INTO t VALUES (1, 1)"}, .answer = CENOTE_CANCELLED};
  expect(CENOTE_CANCELLED, transact(base.manager, NULL, &body, &base.error), NULL);
  assert_int_equal(base.error.status, CENOTE_CANCELLED); /* the body left it empty */
  assert_string_equal(base.error.message, cenote_status_text(CENOTE_CANCELLED));
  assert_int_equal(rows_in(base.manager), 0);
  base_close(&base);
}

static cenote_status own_words(void *context, cenote_transaction *transaction, cenote_error *error)
{
  (void)context;
  (void)transaction;
  return cenote_error_set(error, CENOTE_TOO_LARGE, "the basket is full");
}

static void an_error_of_the_bodys_own_surfaces_in_its_words(void **state)
{
  (void)state;
  struct base base;
  base_open(&base);
  expect(CENOTE_TOO_LARGE, cenote_transact(base.manager, own_words, NULL, &base.error), NULL);
  assert_string_equal(base.error.message, "the basket is full");
  expect(CENOTE_TOO_LARGE, cenote_transact(base.manager, own_words, NULL, NULL), NULL);
  base_close(&base);
}

static void a_begin_inside_does_nothing_but_warn_once(void **state)
{
  (void)state;
  struct base base;
  base_open(&base);
  struct body body = {.sql = {"BEGIN", "INSERT INTO t VALUES (1, 1)",
                              " /* again */ start transaction isolation level serializable;",
                              "BEGIN IMMEDIATE", "BEGIN EXCLUSIVE TRANSACTION", "BEGIN DEFERRED"}};
  must_transact(base.manager, NULL, &body);
  for (int i = 0; i < 6; i++) {
    assert_string_equal(body.command[i], i == 1 ? "" : "BEGIN");
  }
  must_transact(base.manager, NULL,
                &(struct body){.sql = {"BEGIN", "INSERT INTO t VALUES (2, 2)"}});
  assert_int_equal(rows_in(base.manager), 2);
  assert_int_equal(noted(&base.notes, "a BEGIN was sent"), 1);
  base_close(&base);
}

static void a_begin_that_says_read_only_before_anything_ran_is_heeded(void **state)
{
  (void)state;
  struct base base;
  base_open(&base);
  struct body body = {.sql = {"BEGIN READ ONLY", "INSERT INTO t VALUES (1, 1)"}};
  transact_fails(base.manager, NULL, &body, CENOTE_DATABASE, "25006");
  body = (struct body){.sql = {"SELECT 1", "BEGIN READ ONLY"}};
  transact_fails(base.manager, NULL, &body, CENOTE_DATABASE, "25001");
  cenote_transact_options reader = CENOTE_TRANSACT_OPTIONS_INIT;
  reader.mode = CENOTE_BATCH_READ;
  body = (struct body){.sql = {"BEGIN IMMEDIATE"}};
  transact_fails(base.manager, &reader, &body, CENOTE_DATABASE, "25001");
  body = (struct body){.sql = {"BEGIN", "SELECT 7"}};
  must_transact(base.manager, &reader, &body);
  assert_int_equal(body.value[1], 7);
  must_transact(base.manager, NULL, &(struct body){.sql = {"INSERT INTO t VALUES (9, 9)"}});
  assert_int_equal(rows_in(base.manager), 1); /* no mode stayed behind */
  base_close(&base);
}

/* Deferred, it would meet the other writer only at its own first write. */
static void a_begin_immediate_takes_the_write_lock(void **state)
{
  (void)state;
  struct base base;
  base_open(&base);
  cenote_transact_options options = CENOTE_TRANSACT_OPTIONS_INIT;
  cenote_lease writer = must_acquire(base.manager, "writer");
  must_run(writer, "BEGIN IMMEDIATE");
  struct body body = {.sql = {"SELECT 1"}};
  must_transact(base.manager, &options, &body);
  body = (struct body){.sql = {"BEGIN IMMEDIATE", "SELECT 1"}};
  options.timeout_ms = 300;
  cenote_error error;
  assert_int_not_equal(transact(base.manager, &options, &body, &error), CENOTE_OK);
  must_run(writer, "COMMIT");
  must_release(writer);
  options.timeout_ms = 0;
  must_transact(base.manager, &options, &body);
  base_close(&base);
}

static void a_commit_inside_ends_it_and_nothing_runs_after_it(void **state)
{
  (void)state;
  static const char *const commits[] = {"COMMIT", "end", " commit transaction ;",
                                        "COMMIT AND NO CHAIN"};
  struct base base;
  base_open(&base);
  for (size_t i = 0; i < 4; i++) {
    struct body body = {.stubborn = true,
                        .sql = {"INSERT INTO t (b) VALUES (1)", commits[i],
                                "INSERT INTO t (b) VALUES (2)", "BEGIN", "ROLLBACK", "COMMIT"}};
    must_transact(base.manager, NULL, &body);
    assert_string_equal(body.command[1], "COMMIT");
    for (int after = 2; after < 6; after++) {
      expect(CENOTE_DATABASE, body.status[after], NULL);
      assert_string_equal(body.error[after].sqlstate, "25P01");
      has_text(body.error[after].message, "COMMIT");
    }
    assert_int_equal(rows_in(base.manager), (int64_t)i + 1);
  }
  struct body body = {.sql = {"INSERT INTO t (b) VALUES (1)", "COMMIT"}, .answer = CENOTE_IO};
  expect(CENOTE_IO, transact(base.manager, NULL, &body, &base.error), NULL);
  has_text(base.error.details, "had been committed");
  assert_int_equal(rows_in(base.manager), 5);
  base_close(&base);
}

static void a_rollback_inside_ends_it_as_the_caller_wished(void **state)
{
  (void)state;
  struct base base;
  base_open(&base);
  struct body body = {.stubborn = true,
                      .sql = {"INSERT INTO t VALUES (1, 1)", "ROLLBACK", "SELECT 1", "ROLLBACK"}};
  must_transact(base.manager, NULL, &body);
  assert_string_equal(body.command[1], "ROLLBACK");
  assert_string_equal(body.error[2].sqlstate, "25P01");
  assert_int_equal(body.status[3], CENOTE_OK); /* nothing remains: true */
  assert_int_equal(rows_in(base.manager), 0);
  base_close(&base);
}

static void savepoints_of_the_body_end_nothing(void **state)
{
  (void)state;
  struct base base;
  base_open(&base);
  struct body body = {.sql = {"SAVEPOINT a", "INSERT INTO t VALUES (1, 1)", "ROLLBACK TO a",
                              "ROLLBACK TO SAVEPOINT a", "INSERT INTO t VALUES (2, 2)", "RELEASE a",
                              "INSERT INTO t VALUES (3, 3)"}};
  must_transact(base.manager, NULL, &body);
  assert_int_equal(rows_in(base.manager), 2);
  base_close(&base);
}

static void chains_and_unknown_modes_are_refused_and_change_nothing(void **state)
{
  (void)state;
  struct base base;
  base_open(&base);
  struct body body = {.stubborn = true,
                      .sql = {"INSERT INTO t VALUES (1, 1)", "COMMIT AND CHAIN",
                              "ROLLBACK WORK AND CHAIN", "BEGIN SIDEWAYS", "START TRANSACTION READ",
                              "INSERT INTO t VALUES (2, 2)"}};
  must_transact(base.manager, NULL, &body);
  assert_string_equal(body.error[1].sqlstate, "0A000");
  assert_string_equal(body.error[2].sqlstate, "0A000");
  assert_string_equal(body.error[3].sqlstate, "42601");
  assert_string_equal(body.error[4].sqlstate, "42601");
  assert_int_equal(rows_in(base.manager), 2);
  base_close(&base);
}

static void end_it_by_the_handle(struct body *body, cenote_transaction *transaction, int done)
{
  cenote_error error = CENOTE_ERROR_INIT;
  (void)body;
  (void)done;
  expect(CENOTE_INVALID, cenote_commit(transaction, &error), &error);
  has_text(error.message, "cenote_transact");
  expect(CENOTE_INVALID, cenote_rollback(transaction, &error), &error);
}

static void commit_and_rollback_on_the_handle_of_a_body_do_nothing(void **state)
{
  (void)state;
  struct base base;
  base_open(&base);
  struct body body = {.sql = {"INSERT INTO t VALUES (1, 1)", "INSERT INTO t VALUES (2, 2)"},
                      .between = end_it_by_the_handle};
  must_transact(base.manager, NULL, &body);
  assert_int_equal(rows_in(base.manager), 2);
  base_close(&base);
}

static cenote_lease only_lease(cenote_manager *manager)
{
  cenote_lease_info info = CENOTE_LEASE_INFO_INIT;
  size_t count;
  assert_int_equal(cenote_pool_leases(manager, &info, 1, &count), CENOTE_OK);
  assert_int_equal(count, 1);
  return info.lease;
}

/* A lease that the body got hold of somewhere: whatever it does there, what is open is closed. */
static void nest(struct body *body, cenote_transaction *transaction, int done)
{
  struct base *base = body->context;
  cenote_transaction *inner;
  (void)transaction;
  (void)done;
  must(cenote_begin(only_lease(base->manager), 0, &inner, &base->error), &base->error);
  must(cenote_tx_execute(inner, "INSERT INTO t VALUES (5, 5)", NULL, 0, NULL, &base->error),
       &base->error);
  must(cenote_commit(inner, &base->error), &base->error);
}

static void commit_it(struct body *body, cenote_transaction *transaction, int done)
{
  struct base *base = body->context;
  (void)transaction;
  if (done == 1) {
    must_run(only_lease(base->manager), "COMMIT");
  }
}

static void release_it(struct body *body, cenote_transaction *transaction, int done)
{
  struct base *base = body->context;
  (void)transaction;
  if (done == 1) {
    must_release(only_lease(base->manager));
  }
}

static void meddling_with_the_lease_of_a_body_does_no_harm(void **state)
{
  (void)state;
  struct base base;
  base_open(&base);
  struct body body = {.sql = {"INSERT INTO t VALUES (1, 1)"}, .between = nest, .context = &base};
  must_transact(base.manager, NULL, &body);
  assert_int_equal(rows_in(base.manager), 2);
  body = (struct body){.sql = {"INSERT INTO t VALUES (11, 11)", "SELECT 1", "SELECT 2"},
                       .stubborn = true,
                       .between = commit_it,
                       .context = &base};
  must_transact(base.manager, NULL, &body);
  assert_string_equal(body.error[2].sqlstate, "25P01");
  assert_int_equal(rows_in(base.manager), 3);
  body = (struct body){.sql = {"INSERT INTO t VALUES (21, 21)", "SELECT 1"},
                       .between = release_it,
                       .context = &base};
  transact_fails(base.manager, NULL, &body, CENOTE_STALE, "");
  assert_int_equal(rows_in(base.manager), 3);
  base_close(&base);
}

/* Between the first read of the body, which fixes what it sees, and its write. */
static void write_in_between(struct body *body, cenote_transaction *transaction, int done)
{
  struct base *base = body->context;
  (void)transaction;
  if (done == 1 && body->calls <= 2) {
    cenote_lease lease = must_acquire(base->manager, "the other one");
    must_run(lease, "INSERT INTO t (b) VALUES ('other')");
    must_release(lease);
  }
}

static void a_conflict_runs_the_body_again_where_that_is_allowed(void **state)
{
  (void)state;
  struct base base;
  base_open(&base);
  cenote_transact_options options = CENOTE_TRANSACT_OPTIONS_INIT;
  struct body body = {.sql = {"SELECT count(*) FROM t", "INSERT INTO t (b) VALUES ('mine')"},
                      .between = write_in_between,
                      .context = &base};
  transact_fails(base.manager, &options, &body, CENOTE_DATABASE, "40001");
  assert_int_equal(body.calls, 1);
  assert_int_equal(rows_in(base.manager), 1);
  options.retries = 5;
  must_transact(base.manager, &options, &body);
  assert_int_equal(body.calls, 3);
  assert_int_equal(body.value[0], 3); /* the last run saw what the others had done */
  assert_int_equal(rows_in(base.manager), 4);
  assert_int_equal(statistics_of(base.manager).transaction_retries, 2);
  base_close(&base);
}

/* Its statements run on worker threads; those that would block are other transactions' writes. */
static void asynchronous_ones_take_turns_to_write(void **state)
{
  (void)state;
  enum { FLOWS = 6 };
  struct base base;
  base_open(&base);
  struct flow flows[FLOWS];
  cenote_transact_options options = CENOTE_TRANSACT_OPTIONS_INIT;
  options.mode = CENOTE_BATCH_WRITE;
  for (int i = 0; i < FLOWS; i++) {
    flows[i] = (struct flow){.manager = base.manager,
                             .sql = {"SELECT count(*) FROM t", "INSERT INTO t (b) VALUES (1)",
                                     "BEGIN ISOLATION LEVEL READ COMMITTED",
                                     "INSERT INTO t (b) SELECT count(*) FROM t"}};
    flow_start(&flows[i], &options);
  }
  for (int i = 0; i < FLOWS; i++) {
    drive_until(base.manager, flows[i].done > 0);
    must(flows[i].outcome, &flows[i].error);
    assert_string_equal(flows[i].command[2], "BEGIN");
  }
  assert_int_equal(rows_in(base.manager), 2 * FLOWS);
  struct flow flow = {.manager = base.manager,
                      .sql = {"INSERT INTO t (b) VALUES (1)", "INSERT INTO nowhere VALUES (1)"}};
  flow_fails(&flow, NULL, CENOTE_DATABASE, "42P01");
  assert_int_equal(rows_in(base.manager), 2 * FLOWS);
  base_close(&base);
}

static void wrong_arguments_are_told(void **state)
{
  (void)state;
  struct base base;
  base_open(&base);
  struct body body = {.sql = {"SELECT 1"}};
  cenote_transact_options options = CENOTE_TRANSACT_OPTIONS_INIT;
  expect(CENOTE_INVALID, cenote_transact(NULL, body_run, &body, &base.error), NULL);
  expect(CENOTE_INVALID, cenote_transact(base.manager, NULL, &body, &base.error), NULL);
  options.size = 4;
  expect(CENOTE_INVALID, transact(base.manager, &options, &body, &base.error), NULL);
  options = (cenote_transact_options)CENOTE_TRANSACT_OPTIONS_INIT;
  options.mode = (cenote_batch_mode)7;
  expect(CENOTE_INVALID, transact(base.manager, &options, &body, &base.error), NULL);
  options.mode = CENOTE_BATCH_READ;
  options.isolation = (cenote_isolation)-1;
  expect(CENOTE_INVALID, transact(base.manager, &options, &body, &base.error), NULL);
  assert_int_equal(body.calls, 0);
  base_close(&base);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      TEST(what_the_body_did_is_committed),
      TEST(the_bodys_error_rolls_back_and_is_the_answer),
      TEST(an_error_of_the_bodys_own_surfaces_in_its_words),
      TEST(a_begin_inside_does_nothing_but_warn_once),
      TEST(a_begin_that_says_read_only_before_anything_ran_is_heeded),
      TEST(a_begin_immediate_takes_the_write_lock),
      TEST(a_commit_inside_ends_it_and_nothing_runs_after_it),
      TEST(a_rollback_inside_ends_it_as_the_caller_wished),
      TEST(savepoints_of_the_body_end_nothing),
      TEST(chains_and_unknown_modes_are_refused_and_change_nothing),
      TEST(commit_and_rollback_on_the_handle_of_a_body_do_nothing),
      TEST(meddling_with_the_lease_of_a_body_does_no_harm),
      TEST(a_conflict_runs_the_body_again_where_that_is_allowed),
      TEST(asynchronous_ones_take_turns_to_write),
      TEST(wrong_arguments_are_told),
  };
  if (!scratch_open()) {
    return 1;
  }
  const int failed = cmocka_run_group_tests(tests, NULL, NULL);
  scratch_close();
  return failed;
}
