/* manager_batch.c - batches with options, on SQLite and on the fake driver. Without options:
 * manager_transaction.c. */
#include "sqlite_base.h"

#include "support/alloc_torture.h"

enum { PARTS = 2 };

static const cenote_statement insert_and_count[PARTS] = {{"INSERT INTO t VALUES (1, 1)", NULL, 0},
                                                         {"SELECT count(*) FROM t", NULL, 0}};

static cenote_status batch(cenote_lease lease, const cenote_statement *statements,
                           const cenote_batch_options *options, cenote_result ***results,
                           cenote_error *error)
{
  *results = (cenote_result **)(uintptr_t)1;
  *error = (cenote_error)CENOTE_ERROR_INIT;
  const cenote_status status = cenote_batch_with(lease, statements, PARTS, options, results, error);
  assert_true(status == CENOTE_OK ? *results != NULL : *results == NULL);
  return status;
}

static void the_transaction_has_what_the_options_say(void **state)
{
  static const cenote_statement statements[PARTS] = {{"SELECT 1", NULL, 0}, {"SELECT 2", NULL, 0}};
  struct place place;
  cenote_result **results;
  (void)state;
  place_init(&place);
  place_open_with(&place, "0", "1");
  cenote_lease lease = must_acquire(place.manager, "options");
  for (int level = CENOTE_ISOLATION_DEFAULT; level <= CENOTE_READ_UNCOMMITTED; level++) {
    const cenote_batch_options options = {.size = sizeof options,
                                          .mode = CENOTE_BATCH_READ,
                                          .isolation = (cenote_isolation)level,
                                          .deferrable = level == CENOTE_SERIALIZABLE,
                                          .flags = CENOTE_QUERY_RAW_TEXT | CENOTE_QUERY_NATIVE};
    must(batch(lease, statements, &options, &results, &place.error), &place.error);
    cenote_results_free(results, PARTS);
    assert_int_equal(place.script.begun_mode, CENOTE_BATCH_READ);
    assert_int_equal(place.script.begun_isolation, level);
    assert_int_equal(place.script.begun_deferrable, level == CENOTE_SERIALIZABLE);
    assert_int_equal(place.script.flags, CENOTE_REQUEST_RAW_TEXT | CENOTE_REQUEST_NATIVE);
  }
  must(batch(lease, statements, NULL, &results, &place.error), &place.error);
  cenote_results_free(results, PARTS);
  assert_int_equal(place.script.begun_mode, CENOTE_BATCH_DEFERRED);
  assert_int_equal(place.script.begun_isolation, CENOTE_ISOLATION_DEFAULT);
  assert_int_equal(place.script.flags, 0);
  must_release(lease);
  place_close(&place);
}

static void options_that_make_no_sense_are_named(void **state)
{
  static const struct {
    cenote_batch_options options;
    const char *names;
  } wrong[] = {
      {{.size = 8}, "CENOTE_BATCH_OPTIONS_INIT"},
      {{.size = sizeof(cenote_batch_options), .mode = (cenote_batch_mode)3}, "mode 3"},
      {{.size = sizeof(cenote_batch_options), .isolation = (cenote_isolation)5}, "isolation 5"},
      {{.size = sizeof(cenote_batch_options), .flags = CENOTE_QUERY_SCRIPT}, "0x8"},
      {{.size = sizeof(cenote_batch_options), .flags = CENOTE_QUERY_READ_ONLY}, "0x4"},
  };
  struct base base;
  cenote_result **results;
  (void)state;
  base_open(&base);
  cenote_lease lease = must_acquire(base.manager, "wrong");
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    expect(CENOTE_INVALID, batch(lease, insert_and_count, &wrong[i].options, &results, &base.error),
           &base.error);
    has_text(base.error.message, wrong[i].names);
  }
  must_release(lease);
  assert_int_equal(rows_in(base.manager), 0);
  base_close(&base);
}

static void inside_a_transaction_a_batch_has_its_terms(void **state)
{
  struct base base;
  cenote_result **results;
  cenote_transaction *tx;
  cenote_batch_options options = CENOTE_BATCH_OPTIONS_INIT;
  (void)state;
  base_open(&base);
  cenote_lease lease = must_acquire(base.manager, "inside");
  must(cenote_begin(lease, 0, &tx, &base.error), &base.error);
  options.isolation = CENOTE_SERIALIZABLE;
  expect(CENOTE_INVALID, batch(lease, insert_and_count, &options, &results, &base.error),
         &base.error);
  has_text(base.error.message, "isolation");
  options = (cenote_batch_options)CENOTE_BATCH_OPTIONS_INIT;
  options.deferrable = true;
  expect(CENOTE_INVALID, batch(lease, insert_and_count, &options, &results, &base.error),
         &base.error);
  has_text(base.error.message, "deferrable");
  options = (cenote_batch_options)CENOTE_BATCH_OPTIONS_INIT;
  options.mode = CENOTE_BATCH_READ;
  expect(CENOTE_DATABASE, batch(lease, insert_and_count, &options, &results, &base.error),
         &base.error);
  assert_string_equal(base.error.sqlstate, "25006");
  assert_int_equal(base.error.statement, 0);
  must(batch(lease, insert_and_count, NULL, &results, &base.error), &base.error);
  cenote_results_free(results, PARTS);
  must(cenote_commit(tx, &base.error), &base.error);
  must_release(lease);
  assert_int_equal(rows_in(base.manager), 1);
  base_close(&base);
}

static void sqlite_is_serializable_whatever_is_asked_for(void **state)
{
  struct base base;
  cenote_result **results;
  (void)state;
  base_open(&base);
  cenote_lease lease = must_acquire(base.manager, "levels");
  must_run(lease, "INSERT INTO t VALUES (5, 5)");
  for (int level = CENOTE_ISOLATION_DEFAULT; level <= CENOTE_READ_UNCOMMITTED; level++) {
    static const cenote_statement reads[PARTS] = {{"SELECT a FROM t", NULL, 0},
                                                  {"SELECT count(*) FROM t", NULL, 0}};
    const cenote_batch_options options = {.size = sizeof options,
                                          .mode = CENOTE_BATCH_READ,
                                          .isolation = (cenote_isolation)level,
                                          .deferrable = true,
                                          .flags = CENOTE_QUERY_RAW_TEXT};
    must(batch(lease, reads, &options, &results, &base.error), &base.error);
    assert_int_equal(cenote_result_value(results[0], 0, 0).type, CENOTE_TEXT);
    assert_string_equal(cenote_result_text(results[0], 0, 0), "5");
    cenote_results_free(results, PARTS);
  }
  must_release(lease);
  base_close(&base);
}

static void a_batch_whose_time_is_over_leaves_nothing_and_the_lease_goes_on(void **state)
{
  static const cenote_statement slow[PARTS] = {
      {"INSERT INTO t VALUES (1, 1)", NULL, 0},
      {"WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT max(x) FROM c", NULL,
       0}};
  struct base base;
  cenote_result **results;
  const cenote_batch_options options = {.size = sizeof options, .timeout_ms = 50};
  (void)state;
  base_open(&base);
  cenote_lease lease = must_acquire(base.manager, "late");
  for (int inside = 0; inside < 2; inside++) {
    int tries = 0;
    do { /* a machine that stands still may let the time pass in the first */
      cenote_transaction *tx = NULL;
      if (inside) {
        must(cenote_begin(lease, 0, &tx, &base.error), &base.error);
      }
      expect(CENOTE_STATEMENT_TIMEOUT, batch(lease, slow, &options, &results, &base.error),
             &base.error);
      assert_int_equal(cenote_rollback(tx, NULL), CENOTE_OK);
    } while (base.error.statement != 1 && ++tries < 20);
    assert_int_equal(base.error.statement, 1);
    must(batch(lease, insert_and_count, NULL, &results, &base.error), &base.error);
    assert_int_equal(cenote_result_integer(results[1], 0, 0), 1);
    cenote_results_free(results, PARTS);
    must_run(lease, "DELETE FROM t");
  }
  must_release(lease);
  base_close(&base);
}

/* ---------------------------------------------------------------- in one request */

/* The fake database, as one that takes batches whole. */
static struct {
  int asked;
  cenote_request last;
  cenote_status answer;
} seen;
static cenote_driver whole;

static cenote_step start_whole(cenote_connection *connection, const cenote_request *request,
                               cenote_error *error)
{
  if (request->kind != CENOTE_REQUEST_BATCH) {
    return fake_driver.start(connection, request, error);
  }
  seen.asked++;
  seen.last = *request;
  for (size_t i = 0; i < request->statement_count; i++) {
    const cenote_value value = cenote_integer((int64_t)i + 1);
    const cenote_column column = {.name = "n"};
    if (cenote_sink_columns(request->sinks[i], &column, 1, error) != CENOTE_OK ||
        cenote_sink_row(request->sinks[i], &value, 1, error) != CENOTE_OK) {
      return CENOTE_STEP_FAILED;
    }
    cenote_sink_complete(request->sinks[i], 0, 0, "");
  }
  if (seen.answer != CENOTE_OK) {
    (void)!cenote_error_set(error, seen.answer, "no");
    return CENOTE_STEP_FAILED;
  }
  return CENOTE_STEP_DONE;
}

static cenote_lease open_whole(struct place *place)
{
  whole = fake_driver;
  whole.flags |= CENOTE_DRIVER_BATCHES;
  whole.start = start_whole;
  memset(&seen, 0, sizeof seen);
  place_init(place);
  place->options.driver = &whole;
  place_open_with(place, "0", "1");
  return must_acquire(place->manager, "whole");
}

static void a_driver_that_takes_batches_gets_them_in_one_request(void **state)
{
  struct place place;
  cenote_result **results;
  const cenote_batch_options options = {.size = sizeof options,
                                        .mode = CENOTE_BATCH_READ,
                                        .isolation = CENOTE_REPEATABLE_READ,
                                        .deferrable = true,
                                        .flags = CENOTE_QUERY_RAW_TEXT,
                                        .timeout_ms = 5000};
  (void)state;
  cenote_lease lease = open_whole(&place);
  must(batch(lease, insert_and_count, &options, &results, &place.error), &place.error);
  assert_int_equal(cenote_result_integer(results[0], 0, 0), 1);
  assert_int_equal(cenote_result_integer(results[1], 0, 0), 2);
  cenote_results_free(results, PARTS);
  assert_int_equal(seen.asked, 1);
  assert_int_equal(seen.last.mode, CENOTE_BATCH_READ);
  assert_int_equal(seen.last.isolation, CENOTE_REPEATABLE_READ);
  assert_true(seen.last.deferrable);
  assert_int_equal(seen.last.flags, CENOTE_REQUEST_RAW_TEXT);
  assert_int_equal(seen.last.statement_count, PARTS);
  assert_int_equal(started(&place, CENOTE_REQUEST_BEGIN), 0);
  assert_int_equal(started(&place, CENOTE_REQUEST_EXECUTE), 0);
  seen.answer = CENOTE_DATABASE;
  expect(CENOTE_DATABASE, batch(lease, insert_and_count, NULL, &results, &place.error),
         &place.error);
  /* inside a transaction it goes statement by statement, and has none of its own */
  must_run(lease, "BEGIN");
  assert_int_equal(seen.asked, 2);
  expect(CENOTE_INVALID, batch(lease, insert_and_count, &options, &results, &place.error),
         &place.error);
  has_text(place.error.message, "isolation");
  assert_int_equal(seen.asked, 2);
  must_run(lease, "ROLLBACK");
  must_release(lease);
  place_close(&place);
}

static void one_batch(void *context)
{
  const cenote_lease *lease = context;
  cenote_result **results;
  cenote_error error;
  const cenote_status status = batch(*lease, insert_and_count, NULL, &results, &error);
  if (status == CENOTE_OK) {
    cenote_results_free(results, PARTS);
  } else if (status != CENOTE_NO_MEMORY || !alloc_torture_struck()) {
    alloc_torture_disarm();
    fail_msg("%s: %s", cenote_status_name(status), error.message);
  }
}

static void every_allocation_of_a_batch_may_fail(void **state)
{
  struct place place;
  (void)state;
  cenote_lease lease = open_whole(&place);
  assert_true(alloc_torture(one_batch, &lease, ALLOC_TORTURE_THIS_THREAD) > 3);
  must_release(lease);
  place_close(&place);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_driver_that_takes_batches_gets_them_in_one_request),
      cmocka_unit_test(every_allocation_of_a_batch_may_fail),
      cmocka_unit_test(the_transaction_has_what_the_options_say),
      cmocka_unit_test(options_that_make_no_sense_are_named),
      cmocka_unit_test(inside_a_transaction_a_batch_has_its_terms),
      cmocka_unit_test(sqlite_is_serializable_whatever_is_asked_for),
      cmocka_unit_test(a_batch_whose_time_is_over_leaves_nothing_and_the_lease_goes_on),
  };
  if (!scratch_open()) {
    return 1;
  }
  const int failed = cmocka_run_group_tests_name("manager_batch", tests, NULL, NULL);
  scratch_close();
  return failed;
}
