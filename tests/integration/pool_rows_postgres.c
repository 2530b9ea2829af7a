/* Every caller only ever gets its own rows: on PostgreSQL, while sessions are killed. */
#include "fault/pool_rig.h"
#include "integration/pool_rows.h"
#include "support/fault_proxy.h"

/* As another client would: one of the sessions ends, whatever it does. */
static void kill_a_session(void *context, uint64_t chance)
{
  (void)context;
  if (chance % 3 == 0) {
    admin_run("select pg_terminate_backend(pid) from pg_stat_activity where application_name = "
              "'rows' order by random() limit 1");
  }
}

static const struct rows_subject postgres = {
    .one = "select $1::text, pg_backend_pid()",
    .many = "select $1::text, i from generate_series(1, $2::int) i",
    .slow = "select $1::text, pg_sleep($2::int / 1000.0)",
    .wrong = "select $1::text, 1 / (length($1::text) - length($1::text))",
    .insert = "insert into ledger (tag, thread, number) values ($1, $2, $3)",
    .look = "select tag from ledger where tag = $1",
    .session = "select pg_backend_pid()",
    .leave = "select set_config('rows.tag', $1, false)",
    .found = "select current_setting('rows.tag', true)",
};

static void run_on(const struct rows_subject *subject, int64_t seconds)
{
  admin_run("truncate ledger");
  rows_run(subject, seconds);
  /* No session stays behind on the server. */
  assert_true(
      admin_becomes("select count(*) from pg_stat_activity where application_name = 'rows'", 0));
}

static void run_disturbed(bool routed, int64_t seconds)
{
  struct rows_subject subject = postgres;
  subject.url = rig_var("POSTGRES_URL");
  subject.disturb = kill_a_session;
  subject.routed = routed;
  run_on(&subject, seconds);
}

/* Where every caller has a connection of his own, then also where they share some. */
static void other_rows_never_returned(void **state)
{
  (void)state;
  run_disturbed(false, 12);
  run_disturbed(true, 6);
}

static void other_rows_never_returned_on_shared_connections(void **state)
{
  (void)state;
  run_disturbed(true, 12);
}

static void other_rows_never_returned_in_batches(void **state)
{
  (void)state;
  struct rows_subject subject = postgres;
  subject.url = rig_var("POSTGRES_URL");
  subject.disturb = kill_a_session;
  subject.routed = true;
  const bool given = getenv("CENOTE_SIMPLE_BATCH") != NULL;
  assert_int_equal(setenv("CENOTE_SIMPLE_BATCH", "8", 0), 0);
  run_on(&subject, 5);
  if (!given) {
    (void)unsetenv("CENOTE_SIMPLE_BATCH");
  }
}

static void cancels_on_shared_connections_hit_nobody_else(void **state)
{
  (void)state;
  struct rows_subject subject = postgres;
  subject.url = rig_var("POSTGRES_URL");
  subject.routed = true;
  run_on(&subject, 5);
}

/* Cuts come anywhere: in the login, in a statement, in its answer, in a COMMIT's. */
static void cut_the_network(void *context, uint64_t chance)
{
  const enum fault_direction direction = chance & 1 ? FAULT_TO_SERVER : FAULT_TO_CLIENT;
  if (chance % 5 == 0) {
    fault_proxy_reset(context);
  } else if (chance % 5 < 3) {
    fault_proxy_cut_after(context, direction, (size_t)(chance >> 16) % 3000, (chance & 2) != 0);
  }
}

static void heal_the_network(void *context)
{
  fault_proxy_heal(context);
}

static void bad_network(bool routed)
{
  char url[128];
  struct rows_subject subject = postgres;
  subject.routed = routed;
  struct fault_proxy *proxy =
      fault_proxy_start("127.0.0.1", (int)strtol(rig_var("POSTGRES_PORT"), NULL, 10));
  assert_non_null(proxy);
  snprintf(url, sizeof url, "postgresql://trusted@127.0.0.1:%d/cenote?sslmode=disable",
           fault_proxy_port(proxy));
  subject.url = url;
  subject.disturb = cut_the_network;
  subject.calm = heal_the_network;
  subject.context = proxy;
  run_on(&subject, 6);
  fault_proxy_stop(proxy);
}

static void other_rows_never_returned_on_a_bad_network(void **state)
{
  (void)state;
  bad_network(false);
}

static void shared_connections_on_a_bad_network(void **state)
{
  (void)state;
  bad_network(true);
}

/* Sessions are shared with everybody there, and keep no state of anybody's. */
static void other_rows_never_returned_behind_a_pooler(void **state)
{
  (void)state;
  struct rows_subject subject = postgres;
  const int started = pg_fixture_ctl(&rig_server, "bouncer-start", "default_pool_size = 6");
  if (started == 77) {
    skip();
  }
  assert_int_equal(started, 0);
  subject.url = rig_var("PGBOUNCER_URL");
  subject.pooler = true;
  subject.session = NULL;
  subject.leave = subject.found = NULL;
  admin_run("truncate ledger");
  rows_run(&subject, 5);
  assert_int_equal(pg_fixture_ctl(&rig_server, "bouncer-stop", NULL), 0);
}

int main(void)
{
  if (!pg_fixture_start(&rig_server, NULL)) {
    return pg_fixture_skip(&rig_server);
  }
  admin_run("create table ledger (tag text primary key, thread int not null, number int not null);"
            "grant all on ledger to app");
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(other_rows_never_returned),
      cmocka_unit_test(other_rows_never_returned_on_shared_connections),
      cmocka_unit_test(other_rows_never_returned_in_batches),
      cmocka_unit_test(cancels_on_shared_connections_hit_nobody_else),
      cmocka_unit_test(other_rows_never_returned_on_a_bad_network),
      cmocka_unit_test(shared_connections_on_a_bad_network),
      cmocka_unit_test(other_rows_never_returned_behind_a_pooler),
  };
  int failed = cmocka_run_group_tests_name("pool_rows_postgres", tests, NULL, NULL);
  pg_fixture_stop(&rig_server);
  return failed;
}
