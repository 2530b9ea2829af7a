/* sim_pipeline_scenarios.c - each named scenario of the simple path, under many schedules.
 * SCENARIO=name plays one of them, RUN=number one of its schedules, with a trace. */
#include "sim/pipe_scenarios.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static int stop(void **state)
{
  (void)state;
  sim_end();
  return 0;
}

int main(void)
{
#define SCENARIO_TEST(name) cmocka_unit_test(name),
  const struct CMUnitTest tests[] = {PIPE_SCENARIOS(SCENARIO_TEST)};
#undef SCENARIO_TEST
  cmocka_set_test_filter(getenv("SCENARIO"));
  return cmocka_run_group_tests(tests, NULL, stop);
}
