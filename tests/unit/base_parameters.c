/* base_parameters.c - what a description says of a statement. */
#include "base/limits.h"
#include "base/result.h"
#include "support/alloc_torture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static const cenote_column column = {.name = "x", .type = "integer"};

static cenote_status describe(struct cenote_sink *sink, cenote_error *error)
{
  static const char *const names[] = {":a", NULL, "?3"};
  cenote_status status = cen_sink_init_result(sink, 0, 0, error);
  if (status == CENOTE_OK) {
    status = cenote_sink_columns(sink, &column, 1, error);
  }
  return status == CENOTE_OK ? cenote_sink_parameters(sink, names, 3, true, false, error) : status;
}

static void a_description_has_parameters_and_what_it_would_do(void **state)
{
  struct cenote_sink sink;
  (void)state;
  assert_int_equal(describe(&sink, NULL), CENOTE_OK);
  const cenote_result *result = sink.result;
  assert_int_equal(cenote_result_columns(result), 1);
  assert_int_equal(cenote_result_parameters(result), 3);
  assert_string_equal(cenote_result_parameter_name(result, 0), ":a");
  assert_null(cenote_result_parameter_name(result, 1));
  assert_string_equal(cenote_result_parameter_name(result, 2), "?3");
  assert_null(cenote_result_parameter_name(result, 3));
  assert_true(cenote_result_is_readonly(result));
  assert_false(cenote_result_is_explain(result));
  assert_int_equal(cen_sink_restart(&sink, NULL), CENOTE_OK);
  assert_int_equal(cenote_result_parameters(result), 0);
  assert_null(cenote_result_parameter_name(result, 0));
  assert_false(cenote_result_is_readonly(result));
  cen_sink_deinit(&sink);
}

static void what_was_not_described_has_no_parameters(void **state)
{
  (void)state;
  assert_int_equal(cenote_result_parameters(NULL), 0);
  assert_null(cenote_result_parameter_name(NULL, 0));
  assert_false(cenote_result_is_readonly(NULL));
  assert_false(cenote_result_is_explain(NULL));
  assert_int_equal(cenote_sink_parameters(NULL, NULL, 3, false, false, NULL), CENOTE_OK);
}

static void parameters_have_a_ceiling_and_need_a_result(void **state)
{
  struct cenote_sink sink;
  cenote_error error = CENOTE_ERROR_INIT;
  const char **names = calloc(CEN_MAX_ARGS + 1, sizeof(*names));
  (void)state;
  assert_non_null(names);
  assert_int_equal(cen_sink_init_result(&sink, 0, 0, &error), CENOTE_OK);
  assert_int_equal(cenote_sink_parameters(&sink, names, CEN_MAX_ARGS, false, false, &error),
                   CENOTE_OK);
  assert_int_equal(cenote_sink_parameters(&sink, names, CEN_MAX_ARGS + 1, false, false, &error),
                   CENOTE_TOO_LARGE);
  cen_sink_deinit(&sink);
  cen_sink_init_stream(&sink, NULL, NULL);
  assert_int_equal(cenote_sink_parameters(&sink, names, 1, false, false, &error), CENOTE_INTERNAL);
  cen_sink_deinit(&sink);
  free(names);
}

static void describe_and_forget(void *context)
{
  struct cenote_sink sink;
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_status status = describe(&sink, &error);
  (void)context;
  assert_int_equal(status == CENOTE_NO_MEMORY, alloc_torture_struck());
  cen_sink_deinit(&sink);
}

static void every_allocation_of_a_description_may_fail(void **state)
{
  (void)state;
  assert_true(alloc_torture(describe_and_forget, NULL, ALLOC_TORTURE_BALANCED) > 0);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_description_has_parameters_and_what_it_would_do),
      cmocka_unit_test(what_was_not_described_has_no_parameters),
      cmocka_unit_test(parameters_have_a_ceiling_and_need_a_result),
      cmocka_unit_test(every_allocation_of_a_description_may_fail),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
