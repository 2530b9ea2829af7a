/* query_options.c - what can be said beside a statement: flags, a time-out, callbacks for its rows;
 * cenote_execute_with, cenote_execute_async_with, and the flags of cenote_query. */
#include "query_help.h"

#include <unistd.h>

static struct place place;
static cenote_lease lease;

static int begin(void **state)
{
  (void)state;
  place_init(&place);
  place_open_with(&place, "0", "1");
  lease = must_acquire(place.manager, "x");
  return 0;
}

static int end(void **state)
{
  (void)state;
  must_release(lease);
  place_close(&place);
  return 0;
}

static cenote_execute_options with_flags(unsigned flags)
{
  return (cenote_execute_options){.size = sizeof(cenote_execute_options), .flags = flags};
}

static unsigned asked(void)
{
  return atomic_load(&place.script.flags);
}

/* ------------------------------------------------------------------------ flags */

static void flags_reach_the_driver(void **state)
{
  (void)state;
  static const struct {
    unsigned query, request;
  } pairs[] = {{0, 0},
               {CENOTE_QUERY_RAW_TEXT, CENOTE_REQUEST_RAW_TEXT},
               {CENOTE_QUERY_NATIVE, CENOTE_REQUEST_NATIVE},
               {CENOTE_QUERY_READ_ONLY, CENOTE_REQUEST_REFUSE},
               {CENOTE_QUERY_TIMES, CENOTE_REQUEST_TIMES},
               {CENOTE_QUERY_RAW_TEXT | CENOTE_QUERY_NATIVE,
                CENOTE_REQUEST_RAW_TEXT | CENOTE_REQUEST_NATIVE}};
  for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
    const cenote_execute_options options = with_flags(pairs[i].query);
    struct answer answer = {0};
    cenote_result *result;
    must(cenote_execute_with(lease, "SELECT 7", NULL, 0, &options, &result, &place.error),
         &place.error);
    assert_int_equal(cenote_result_integer(result, 0, 0), 7);
    assert_int_equal(asked(), pairs[i].request);
    cenote_result_free(result);
    atomic_store(&place.script.flags, 0xffff);
    must(cenote_execute_async_with(lease, "SELECT 8", NULL, 0, &options, on_answer, &answer, NULL,
                                   &place.error),
         &place.error);
    wait_for(&answer);
    has_status(&answer, CENOTE_OK);
    assert_int_equal(answer.value, 8);
    assert_int_equal(asked(), pairs[i].request);
  }
}

static void a_write_is_refused_where_only_reads_are_wanted(void **state)
{
  (void)state;
  const cenote_execute_options options = with_flags(CENOTE_QUERY_READ_ONLY);
  expect(CENOTE_DATABASE,
         cenote_execute_with(lease, "insert", NULL, 0, &options, NULL, &place.error), &place.error);
  assert_string_equal(place.error.sqlstate, "25006");
  must(cenote_execute_with(lease, "insert", NULL, 0, NULL, NULL, &place.error), &place.error);
}

static void a_script_takes_no_arguments_and_is_told_where_there_are_none(void **state)
{
  (void)state;
  const cenote_execute_options options = with_flags(CENOTE_QUERY_SCRIPT);
  const cenote_value one = cenote_integer(1);
  expect(CENOTE_UNSUPPORTED,
         cenote_execute_with(lease, "insert; insert", NULL, 0, &options, NULL, &place.error),
         &place.error);
  expect(CENOTE_INVALID,
         cenote_execute_with(lease, "SELECT $1", &one, 1, &options, NULL, &place.error),
         &place.error);
  expect(CENOTE_INVALID,
         cenote_execute_async_with(lease, "SELECT $1", &one, 1, &options, on_answer, NULL, NULL,
                                   &place.error),
         &place.error);
}

static bool any_columns(void *context, const cenote_result *columns)
{
  (void)context;
  (void)columns;
  return true;
}

static void wrong_options_are_refused_before_anything_runs(void **state)
{
  (void)state;
  const cenote_execute_options wrong[] = {{.size = 8},
                                          {.size = sizeof wrong[0], .flags = 1u << 5},
                                          {.size = sizeof wrong[0], .columns = any_columns}};
  const uint64_t before = started(&place, CENOTE_REQUEST_EXECUTE);
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    cenote_result *result = (cenote_result *)&place;
    cenote_ticket ticket = {1, 1, 1};
    expect(CENOTE_INVALID,
           cenote_execute_with(lease, "SELECT 1", NULL, 0, &wrong[i], &result, &place.error),
           &place.error);
    assert_null(result);
    expect(CENOTE_INVALID,
           cenote_execute_async_with(lease, "SELECT 1", NULL, 0, &wrong[i], on_answer, NULL,
                                     &ticket, &place.error),
           &place.error);
    assert_int_equal(ticket.number, 0);
  }
  assert_int_equal(started(&place, CENOTE_REQUEST_EXECUTE), before);
}

/* --------------------------------------------------------------------- time-outs */

static void a_statement_may_have_less_time_than_the_setting(void **state)
{
  (void)state;
  cenote_execute_options options = with_flags(0);
  struct answer answer = {0};
  options.timeout_ms = 30;
  expect(CENOTE_STATEMENT_TIMEOUT,
         cenote_execute_with(lease, "hang", NULL, 0, &options, NULL, &place.error), &place.error);
  must(cenote_execute_async_with(lease, "hang", NULL, 0, &options, on_answer, &answer, NULL,
                                 &place.error),
       &place.error);
  wait_for(&answer);
  has_status(&answer, CENOTE_STATEMENT_TIMEOUT);
  /* it was for that statement alone */
  assert_int_equal(must_read(lease, "sleep 100"), 0);
}

/* ------------------------------------------------------------------------ streams */

struct stream {
  int columns, rows, early; /* early: rows before the columns */
  int64_t sum;
  int stop_at; /* this row; -1: at the columns */
  pthread_t thread;
};

static bool take_columns(void *context, const cenote_result *columns)
{
  struct stream *stream = context;
  stream->thread = pthread_self();
  stream->early = stream->rows;
  stream->columns += (int)cenote_result_columns(columns);
  assert_string_equal(cenote_result_column_name(columns, 0), "c1");
  return stream->stop_at >= 0;
}

static bool take_row(void *context, const char *const *names, const cenote_value *values,
                     size_t columns)
{
  struct stream *stream = context;
  assert_int_equal(columns, 1);
  assert_string_equal(names[0], "c1");
  assert_true(pthread_equal(stream->thread, pthread_self()));
  stream->sum += values[0].as.integer;
  return ++stream->rows != stream->stop_at;
}

static cenote_execute_options streaming(struct stream *stream)
{
  return (cenote_execute_options){.size = sizeof(cenote_execute_options),
                                  .columns = take_columns,
                                  .row = take_row,
                                  .context = stream};
}

static void columns_come_before_rows_and_the_result_is_the_summary(void **state)
{
  (void)state;
  struct stream stream = {0}, none = {0};
  cenote_execute_options options = streaming(&stream);
  cenote_result *result;
  must(cenote_execute_with(lease, "rows 10", NULL, 0, &options, &result, &place.error),
       &place.error);
  assert_int_equal(stream.columns, 1);
  assert_int_equal(stream.early, 0);
  assert_int_equal(stream.rows, 10);
  assert_int_equal(stream.sum, 55);
  assert_true(pthread_equal(stream.thread, pthread_self()));
  assert_int_equal(cenote_result_columns(result), 1);
  assert_int_equal(cenote_result_rows(result), 0);
  assert_int_equal(asked(), CENOTE_REQUEST_STREAM);
  cenote_result_free(result);
  options = streaming(&none);
  must(cenote_execute_with(lease, "rows 0", NULL, 0, &options, NULL, &place.error), &place.error);
  assert_int_equal(none.columns, 1);
  must(cenote_execute_with(lease, "insert", NULL, 0, &options, &result, &place.error),
       &place.error);
  assert_int_equal(none.columns, 1); /* it has none */
  assert_int_equal(cenote_result_affected_rows(result), 1);
  cenote_result_free(result);
}

static void false_stops_a_stream_at_any_point(void **state)
{
  (void)state;
  for (int at = -1; at <= 3; at += 2) {
    struct stream stream = {.stop_at = at}, other = {.stop_at = at};
    cenote_execute_options options = streaming(&stream);
    cenote_result *result;
    struct answer answer = {0};
    expect(CENOTE_CANCELLED,
           cenote_execute_with(lease, "rows 10", NULL, 0, &options, &result, &place.error),
           &place.error);
    assert_null(result);
    assert_int_equal(stream.rows, at < 0 ? 0 : at);
    options = streaming(&other);
    must(cenote_execute_async_with(lease, "rows 10", NULL, 0, &options, on_answer, &answer, NULL,
                                   &place.error),
         &place.error);
    wait_for(&answer);
    has_status(&answer, CENOTE_CANCELLED);
    assert_int_equal(other.rows, at < 0 ? 0 : at);
  }
  assert_int_equal(must_read(lease, "SELECT 5"), 5);
}

static void the_asynchronous_form_streams_on_a_thread_of_the_managers(void **state)
{
  (void)state;
  const cenote_driver *drivers[] = {&fake_driver, &fake_driver_blocking};
  for (size_t i = 0; i < 2; i++) {
    struct place own;
    struct stream stream = {0};
    struct answer answer = {0};
    const cenote_execute_options options = streaming(&stream);
    place_init(&own);
    own.options.driver = drivers[i];
    place_open_with(&own, "0", "1");
    cenote_lease mine = must_acquire(own.manager, "x");
    must(cenote_execute_async_with(mine, "rows 1000", NULL, 0, &options, on_answer, &answer,
                                   &answer.ticket, &own.error),
         &own.error);
    wait_for(&answer);
    has_status(&answer, CENOTE_OK);
    assert_int_equal(stream.columns, 1);
    assert_int_equal(stream.rows, 1000);
    assert_int_equal(stream.sum, 500500);
    assert_false(pthread_equal(stream.thread, pthread_self()));
    must_release(mine);
    place_close(&own);
  }
}

/* --------------------------------------------------------------- routed statements */

static void routed_statements_take_flags_on_both_paths(void **state)
{
  (void)state;
  cenote_driver pipelined = fake_driver;
  pipelined.name = "postgres";
  const cenote_driver *drivers[] = {routed_driver(&fake_driver), &pipelined};
  for (size_t i = 0; i < 2; i++) {
    struct place own;
    struct answer answer = {0};
    cenote_result *result;
    cenote_query_options options = CENOTE_QUERY_OPTIONS_INIT;
    place_init(&own);
    own.options.driver = drivers[i];
    place_set(&own, "min_connections", "0");
    place_set(&own, "max_connections", "2");
    place_open(&own);
    options.flags = CENOTE_QUERY_RAW_TEXT | CENOTE_QUERY_NATIVE;
    must(cenote_query(own.manager, "SELECT 3", NULL, 0, &options, &result, &own.error), &own.error);
    assert_int_equal(cenote_result_integer(result, 0, 0), 3);
    cenote_result_free(result);
    const unsigned wanted = CENOTE_REQUEST_RAW_TEXT | CENOTE_REQUEST_NATIVE;
    assert_int_equal(atomic_load(&own.script.flags) & wanted, wanted);
    assert_int_equal(atomic_load(&own.script.pushes) > 0, i == 1);
    atomic_store(&own.script.flags, 0);
    ask(own.manager, "SELECT 4", &options, &answer);
    wait_for(&answer);
    has_status(&answer, CENOTE_OK);
    assert_int_equal(atomic_load(&own.script.flags) & wanted, wanted);
    options.flags = CENOTE_QUERY_READ_ONLY;
    expect(CENOTE_DATABASE,
           cenote_query(own.manager, "insert", NULL, 0, &options, NULL, &own.error), &own.error);
    assert_string_equal(own.error.sqlstate, "25006");
    options.flags = CENOTE_QUERY_SCRIPT;
    expect(CENOTE_INVALID, cenote_query(own.manager, "insert", NULL, 0, &options, NULL, &own.error),
           &own.error);
    place_close(&own);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(flags_reach_the_driver, begin, end),
      cmocka_unit_test_setup_teardown(a_write_is_refused_where_only_reads_are_wanted, begin, end),
      cmocka_unit_test_setup_teardown(a_script_takes_no_arguments_and_is_told_where_there_are_none,
                                      begin, end),
      cmocka_unit_test_setup_teardown(wrong_options_are_refused_before_anything_runs, begin, end),
      cmocka_unit_test_setup_teardown(a_statement_may_have_less_time_than_the_setting, begin, end),
      cmocka_unit_test_setup_teardown(columns_come_before_rows_and_the_result_is_the_summary, begin,
                                      end),
      cmocka_unit_test_setup_teardown(false_stops_a_stream_at_any_point, begin, end),
      cmocka_unit_test(the_asynchronous_form_streams_on_a_thread_of_the_managers),
      cmocka_unit_test(routed_statements_take_flags_on_both_paths),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
