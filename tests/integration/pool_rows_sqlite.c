/* Every caller only ever gets its own rows: on SQLite, readers beside writers. */
#include "driver/scratch.h"
#include "integration/rows_sqlite.h"

static void run_on_sqlite(bool routed)
{
  const struct rows_subject subject = rows_of_sqlite(scratch_url(), routed);
  rows_run_on_sqlite(&subject);
}

static void other_rows_never_returned(void **state)
{
  (void)state;
  run_on_sqlite(false);
}

static void other_rows_never_returned_from_routed_statements(void **state)
{
  (void)state;
  run_on_sqlite(true);
}

int main(void)
{
  if (!scratch_open()) {
    return 1;
  }
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(other_rows_never_returned),
      cmocka_unit_test(other_rows_never_returned_from_routed_statements),
  };
  int failed = cmocka_run_group_tests_name("pool_rows_sqlite", tests, NULL, NULL);
  scratch_close();
  return failed;
}
