/* base_torture.c - every allocation of base fails once: nothing leaks, nothing is half done. */
#include "base/error.h"
#include "base/json.h"
#include "base/result.h"
#include "support/alloc_torture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void three_allocations(void *context)
{
  (*(int *)context)++;
  for (int i = 0; i < 3; i++) {
    free(malloc(10));
  }
}

static void each_allocation_fails_in_its_turn(void **state)
{
  (void)state;
  int runs = 0;
  assert_int_equal(alloc_torture(three_allocations, &runs, ALLOC_TORTURE_BALANCED), 3);
  assert_int_equal(runs, 5); /* one before, three that fail, one that does not */
}

static void stop_at_the_first(void *context)
{
  size_t *failures = context;
  *failures = 0;
  for (int i = 0; i < 4; i++) {
    char *text = strdup("a text");
    *failures += text == NULL;
    free(text);
    alloc_torture_pause();
    assert_non_null(text = realloc(NULL, 3));
    alloc_torture_resume();
    free(text);
  }
  assert_int_equal(alloc_torture_struck(), *failures > 0);
}

static void all_that_follow_fail_too_when_asked(void **state)
{
  (void)state;
  size_t failures = 0;
  assert_int_equal(alloc_torture(stop_at_the_first, &failures, ALLOC_TORTURE_ONWARD), 4);
  assert_int_equal(failures, 0);
  assert_int_equal(alloc_torture(stop_at_the_first, &failures, 0), 4);
}

static void fill_a_buffer(void *context)
{
  (void)context;
  struct cen_buf buf;
  struct cen_json json;
  cen_buf_init(&buf, 100000);
  cen_json_init(&json, &buf);
  cen_json_array(&json);
  for (int i = 0; i < 500; i++) {
    cen_json_string(&json, "some text\n");
    cen_json_real(&json, i / 3.0);
  }
  cen_json_array_end(&json);
  assert_int_equal(buf.failed, alloc_torture_struck());
  char *text = cen_buf_take(&buf);
  assert_int_equal(text == NULL, alloc_torture_struck());
  if (text != NULL) {
    assert_int_equal(text[strlen(text) - 1], ']');
  }
  free(text);
}

static void a_buffer_without_memory_gives_no_text(void **state)
{
  (void)state;
  assert_true(alloc_torture(fill_a_buffer, NULL, ALLOC_TORTURE_BALANCED) > 5);
  assert_true(alloc_torture(fill_a_buffer, NULL, ALLOC_TORTURE_ONWARD) > 5);
}

static cenote_status fill(struct cenote_sink *sink, cenote_error *error)
{
  static char large[20000];
  static const cenote_column columns[] = {{.name = "id", .type = "integer", .oid = 23},
                                          {.name = "name", .type = "text", .oid = 25}};
  cenote_status status = cenote_sink_columns(sink, columns, 2, error);
  memset(large, 'x', sizeof(large));
  for (int i = 0; status == CENOTE_OK && i < 500; i++) {
    cenote_value row[2] = {cenote_integer(i), cenote_text_n(large, i % 50 == 0 ? 20000 : 20)};
    status = cenote_sink_row(sink, row, 2, error);
  }
  cenote_sink_complete(sink, 1, 2, "SELECT");
  return status;
}

static void build_a_result(void *context)
{
  (void)context;
  struct cenote_sink sink;
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_status status = cen_sink_init_result(&sink, 0, 0, &error);
  if (status == CENOTE_OK) {
    status = fill(&sink, &error);
  }
  if (status == CENOTE_OK) {
    status = cenote_sink_next(&sink, &error);
  }
  if (status == CENOTE_OK) {
    status = fill(&sink, &error);
  }
  if (status != CENOTE_OK) {
    assert_int_equal(status, CENOTE_NO_MEMORY);
    assert_int_equal(error.status, CENOTE_NO_MEMORY);
    assert_true(error.retryable);
    assert_true(alloc_torture_struck());
    cen_sink_deinit(&sink);
    return;
  }
  cenote_result *result = cen_sink_take(&sink);
  assert_int_equal(cenote_result_rows(result), 500);
  for (size_t i = 0; i < 500; i += 99) {
    const char *text = cenote_result_text(result, i, 0);
    assert_true(text != NULL || alloc_torture_struck());
  }
  cenote_result_free(result);
  cen_sink_deinit(&sink);
}

static void a_result_without_memory_is_refused(void **state)
{
  (void)state;
  assert_true(alloc_torture(build_a_result, NULL, ALLOC_TORTURE_BALANCED) > 10);
  assert_true(alloc_torture(build_a_result, NULL, ALLOC_TORTURE_ONWARD) > 10);
}

static bool take_row(void *context, const char *const *names, const cenote_value *values,
                     size_t columns)
{
  (void)names, (void)values, (void)columns;
  (*(int *)context)++;
  return true;
}

static void stream_rows(void *context)
{
  (void)context;
  int rows = 0;
  struct cenote_sink sink;
  cenote_error error = CENOTE_ERROR_INIT;
  cen_sink_init_stream(&sink, take_row, &rows);
  cenote_status status = fill(&sink, &error);
  assert_int_equal(status, alloc_torture_struck() ? CENOTE_NO_MEMORY : CENOTE_OK);
  assert_true(rows == 500 || status == CENOTE_NO_MEMORY);
  assert_int_equal(cen_sink_rows(&sink), rows);
  cen_sink_deinit(&sink);
}

static void a_stream_without_memory_stops(void **state)
{
  (void)state;
  assert_true(alloc_torture(stream_rows, NULL, ALLOC_TORTURE_BALANCED) >= 2);
}

static int disarm(void **state)
{
  (void)state;
  alloc_torture_disarm();
  return 0;
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_teardown(each_allocation_fails_in_its_turn, disarm),
      cmocka_unit_test_teardown(all_that_follow_fail_too_when_asked, disarm),
      cmocka_unit_test_teardown(a_buffer_without_memory_gives_no_text, disarm),
      cmocka_unit_test_teardown(a_result_without_memory_is_refused, disarm),
      cmocka_unit_test_teardown(a_stream_without_memory_stops, disarm),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
