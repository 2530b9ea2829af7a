/* sim_scenarios.c - each named scenario, under many schedules. */
#include "sim/scenarios_list.h"
#include "sim/sim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

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
  const struct CMUnitTest tests[] = {SCENARIOS(SCENARIO_TEST)};
#undef SCENARIO_TEST
  return cmocka_run_group_tests(tests, NULL, stop);
}
