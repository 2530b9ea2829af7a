/* Every caller only ever gets its own rows: on SQLite, readers beside writers. */
#include "driver/scratch.h"
#include "fault/pool_rig.h"
#include "integration/pool_rows.h"

static void run_on_sqlite(bool routed)
{
  const struct rows_subject subject = {
      .routed = routed,
      .url = scratch_url(),
      .one = "select $1",
      .many = "with recursive c(i) as (select 1 union all select i + 1 from c where i < $2) "
              "select $1, i from c where i <= $2",
      .slow = "with recursive c(i) as (select 1 union all select i + 1 from c where i < $2 * 3000) "
              "select $1, max(i) from c",
      .wrong = "select $1, abs(-9223372036854775807 - 1)",
      .insert = "insert into ledger (tag, thread, number) values ($1, $2, $3)",
      .look = "select tag from ledger where tag = $1",
  };
  static struct rig rig;
  rig_open(&rig, subject.url, NULL);
  const cenote_lease lease = rig_acquire(rig.manager, "prepare");
  rig_must_run(
      lease,
      "create table if not exists ledger (tag text primary key, thread int not null, number int "
      "not null)");
  rig_must_run(lease, "delete from ledger");
  rig_release(lease);
  rig_close(&rig);
  rows_run(&subject, 4);
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
