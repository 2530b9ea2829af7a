/* Every caller only ever gets its own rows: on PostgreSQL, while sessions are killed. */
#include "fault/pool_rig.h"
#include "integration/pool_rows.h"

/* As another client would: one of the sessions ends, whatever it does. */
static void kill_a_session(void *context, uint64_t chance)
{
  (void)context;
  if (chance % 3 == 0) {
    admin_run("select pg_terminate_backend(pid) from pg_stat_activity where application_name = "
              "'rows' order by random() limit 1");
  }
}

static void other_rows_never_returned(void **state)
{
  (void)state;
  const struct rows_subject subject = {
      .url = rig_var("POSTGRES_URL"),
      .one = "select $1::text, pg_backend_pid()",
      .many = "select $1::text, i from generate_series(1, $2::int) i",
      .slow = "select $1::text, pg_sleep($2::int / 1000.0)",
      .wrong = "select $1::text, 1 / (length($1::text) - length($1::text))",
      .insert = "insert into ledger (tag, thread, number) values ($1, $2, $3)",
      .look = "select tag from ledger where tag = $1",
      .session = "select pg_backend_pid()",
      .leave = "select set_config('rows.tag', $1, false)",
      .found = "select current_setting('rows.tag', true)",
      .disturb = kill_a_session,
  };
  rows_run(&subject, 15);
  /* No session stays behind on the server. */
  assert_true(
      admin_becomes("select count(*) from pg_stat_activity where application_name = 'rows'", 0));
}

int main(void)
{
  if (!pg_fixture_start(&rig_server, NULL)) {
    return pg_fixture_skip(&rig_server);
  }
  admin_run("create table ledger (tag text primary key, thread int not null, number int not null);"
            "grant all on ledger to app");
  const struct CMUnitTest tests[] = {cmocka_unit_test(other_rows_never_returned)};
  int failed = cmocka_run_group_tests_name("pool_rows_postgres", tests, NULL, NULL);
  pg_fixture_stop(&rig_server);
  return failed;
}
