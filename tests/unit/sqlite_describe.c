/* sqlite_describe.c - cenote_describe and cenote_in_transaction on a lease; SQL of strangers. */
#include "sqlite_base.h"

static void a_statement_is_described_on_a_lease(void **state)
{
  struct base base;
  cenote_result *result;
  (void)state;
  base_open(&base);
  cenote_lease lease = must_acquire(base.manager, "describe");
  must(cenote_describe(lease, "INSERT INTO t VALUES (?, :b) RETURNING a", CENOTE_QUERY_NATIVE,
                       &result, &base.error),
       &base.error);
  assert_int_equal(cenote_result_rows(result), 0);
  assert_string_equal(cenote_result_column_name(result, 0), "a");
  assert_string_equal(cenote_result_column_type(result, 0), "INTEGER");
  assert_int_equal(cenote_result_parameters(result), 2);
  assert_null(cenote_result_parameter_name(result, 0));
  assert_string_equal(cenote_result_parameter_name(result, 1), ":b");
  assert_false(cenote_result_is_readonly(result));
  cenote_result_free(result);
  must(cenote_describe(lease, "SELECT $2, $1", 0, &result, &base.error), &base.error);
  assert_int_equal(cenote_result_parameters(result), 2);
  assert_string_equal(cenote_result_parameter_name(result, 0), "?1");
  cenote_result_free(result);
  must(cenote_describe(lease, "SELECT 1", 0, NULL, &base.error), &base.error); /* is it fine? */
  must_release(lease);
  assert_int_equal(rows_in(base.manager), 0);
  base_close(&base);
}

static void a_wrong_description_answers_nothing(void **state)
{
  struct base base;
  cenote_result *result = (cenote_result *)&base;
  (void)state;
  base_open(&base);
  cenote_lease lease = must_acquire(base.manager, "describe");
  expect(CENOTE_DATABASE, cenote_describe(lease, "SELEC", 0, &result, &base.error), &base.error);
  assert_null(result);
  expect(CENOTE_INVALID, cenote_describe(lease, NULL, 0, &result, &base.error), &base.error);
  expect(CENOTE_INVALID,
         cenote_describe(lease, "SELECT 1", CENOTE_QUERY_SCRIPT, &result, &base.error),
         &base.error);
  must_release(lease);
  expect(CENOTE_STALE, cenote_describe(lease, "SELECT 1", 0, &result, &base.error), &base.error);
  assert_null(result);
  base_close(&base);
}

static void a_transaction_is_seen_whoever_began_it(void **state)
{
  struct base base;
  cenote_transaction *transaction;
  bool open = true;
  (void)state;
  base_open(&base);
  cenote_lease lease = must_acquire(base.manager, "look");
  must(cenote_in_transaction(lease, &open), NULL);
  assert_false(open);
  must_run(lease, "BEGIN IMMEDIATE");
  must(cenote_in_transaction(lease, &open), NULL);
  assert_true(open);
  must_run(lease, "COMMIT");
  must(cenote_in_transaction(lease, &open), NULL);
  assert_false(open);
  must(cenote_begin(lease, 0, &transaction, &base.error), &base.error);
  must(cenote_in_transaction(lease, &open), NULL);
  assert_true(open);
  must(cenote_rollback(transaction, &base.error), &base.error);
  assert_int_equal(cenote_in_transaction(lease, NULL), CENOTE_INVALID);
  must_release(lease);
  open = true;
  assert_int_equal(cenote_in_transaction(lease, &open), CENOTE_STALE);
  assert_false(open);
  base_close(&base);
}

/* Another lease has the database in memory to itself: the description waits until its deadline. */
static void a_description_keeps_to_the_statements_deadline(void **state)
{
  const cenote_setting settings[] = {{"max_connections", "2"}};
  cenote_options options = CENOTE_OPTIONS_INIT;
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_manager *manager;
  cenote_result *result;
  struct notes notes;
  (void)state;
  notes_init(&notes);
  options.settings = settings;
  options.settings_count = 1;
  options.log = note_log;
  options.log_context = &notes;
  must(cenote_open("sqlite::memory:", &options, &manager, &error), &error);
  cenote_lease holder = must_acquire(manager, "holder");
  cenote_lease lease = must_acquire(manager, "describe");
  must_run(holder, "BEGIN");
  must(cen_settings_set(&manager->settings, "statement_timeout_ms", "150", &error), &error);
  expect(CENOTE_STATEMENT_TIMEOUT, cenote_describe(lease, "SELECT 1", 0, &result, &error), &error);
  must(cen_settings_set(&manager->settings, "statement_timeout_ms", "60000", &error), &error);
  must_run(holder, "COMMIT");
  must(cenote_describe(lease, "SELECT 1", 0, &result, &error), &error);
  cenote_result_free(result);
  must_release(holder);
  must_release(lease);
  cenote_close(manager);
  notes_deinit(&notes);
}

static void a_manager_confines_sql_of_strangers_when_it_is_told_to(void **state)
{
  (void)state;
  for (int on = 0; on < 2; on++) {
    const cenote_setting settings[] = {{"sqlite_confined", on ? "on" : "off"}};
    cenote_options options = CENOTE_OPTIONS_INIT;
    cenote_error error = CENOTE_ERROR_INIT;
    cenote_manager *manager;
    options.settings = settings;
    options.settings_count = 1;
    must(cenote_open(scratch_url(), &options, &manager, &error), &error);
    cenote_lease lease = must_acquire(manager, "stranger");
    expect(on ? CENOTE_DATABASE : CENOTE_OK, run_sql(lease, "ATTACH ':memory:' AS other", &error),
           &error);
    if (on) {
      assert_string_equal(cenote_error_field(&error, 'X'), "SQLITE_AUTH");
      has_text(error.message, "sqlite_confined");
    }
    must_release(lease);
    cenote_close(manager);
  }
}

static void a_driver_that_cannot_tell_says_so(void **state)
{
  struct place place;
  cenote_result *result;
  (void)state;
  place_init(&place);
  place_open(&place);
  cenote_lease lease = must_acquire(place.manager, "describe");
  expect(CENOTE_UNSUPPORTED, cenote_describe(lease, "SELECT 1", 0, &result, &place.error),
         &place.error);
  assert_null(result);
  must_release(lease);
  place_close(&place);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_statement_is_described_on_a_lease),
      cmocka_unit_test(a_wrong_description_answers_nothing),
      cmocka_unit_test(a_transaction_is_seen_whoever_began_it),
      cmocka_unit_test(a_description_keeps_to_the_statements_deadline),
      cmocka_unit_test(a_manager_confines_sql_of_strangers_when_it_is_told_to),
      cmocka_unit_test(a_driver_that_cannot_tell_says_so),
  };
  return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
