/*
 * What one holder leaves behind must never reach the next one: cancels, transactions, session
 * state; and what becomes of leases that are held too long. On a real PostgreSQL, with a pool of
 * one connection, so that the next holder gets the very same session.
 */
#include "fault/pool_rig.h"

#include "base/rng.h"

#include <inttypes.h>

static struct rig rig;

static void open_single(const char *statement_ms)
{
  rig.options = (cenote_options)CENOTE_OPTIONS_INIT;
  rig_open(&rig, rig_var("POSTGRES_URL"), "max_connections", "1", "min_connections", "1",
           "statement_timeout_ms", statement_ms, "application_name", "leases", NULL);
  rig_wait_idle(rig.manager, 1);
}

/* Nothing of anybody is on this session: what DISCARD ALL would leave, apart from our own. */
static const char clean_sql[] =
    "select concat_ws(', ',"
    " case when coalesce(current_setting('hidden.state', true), '') <> '' then 'a setting' end,"
    " case when current_setting('application_name') <> 'leases' then 'its name' end,"
    " case when current_setting('search_path') <> '\"$user\", public' then 'search_path' end,"
    " case when current_user <> session_user then 'a role' end,"
    " case when pg_my_temp_schema() <> 0 and exists (select from pg_class where relnamespace ="
    "  pg_my_temp_schema()) then 'a temporary table' end,"
    " case when (select count(*) from pg_listening_channels()) > 0 then 'a listener' end,"
    " case when (select count(*) from pg_cursors where is_holdable) > 0 then 'a cursor' end,"
    " case when (select count(*) from pg_prepared_statements where from_sql) > 0"
    "  then 'a prepared statement' end,"
    " case when (select count(*) from pg_locks where pid = pg_backend_pid() and locktype ="
    "  'advisory') > 0 then 'an advisory lock' end,"
    " case when pg_current_xact_id_if_assigned() is not null then 'a transaction' end)";

static void expect_clean(const char *after, int64_t pid)
{
  const cenote_lease lease = rig_acquire(rig.manager, "next");
  char found[1024];
  snprintf(found, sizeof found, "%s", rig_text(lease, clean_sql));
  if (found[0]) {
    fail_msg("after %s the next holder finds %s", after, found);
  }
  if (pid != 0) { /* cleaned, not merely replaced */
    assert_int_equal(rig_integer(lease, "select pg_backend_pid()"), pid);
  }
  rig_release(lease);
}

/* ------------------------------------------------------------------------ cancels */

/* A statement that ends about when its time does, so that the cancel often comes too late; the
 * next holder's statements must not feel it. */
static void late_cancel_never_hits_the_next_lease(void **state)
{
  enum { STATEMENT_MS = 25, ROUNDS = 150 };
  struct cen_rng rng;
  unsigned timed_out = 0;
  (void)state;
  cen_rng_seed(&rng, 7);
  open_single("25");
  for (int round = 0; round < ROUNDS; round++) {
    char sql[64];
    cenote_error error = CENOTE_ERROR_INIT;
    cenote_lease lease = rig_acquire(rig.manager, "slow");
    snprintf(sql, sizeof sql, "select pg_sleep(%.6f)",
             (double)(23500 + (int64_t)cen_rng_below(&rng, 4000)) / 1e6);
    const cenote_status status = rig_run(lease, sql, &error);
    assert_true(status == CENOTE_OK || status == CENOTE_STATEMENT_TIMEOUT);
    timed_out += status == CENOTE_STATEMENT_TIMEOUT;
    rig_release(lease);
    lease = rig_acquire(rig.manager, "next");
    for (int i = 0; i < 4; i++) {
      const int64_t start = cen_now_ns();
      error = (cenote_error)CENOTE_ERROR_INIT;
      if (rig_run(lease, "select 1", &error) != CENOTE_OK &&
          cen_now_ns() - start < STATEMENT_MS * CEN_NS_PER_MS) {
        fail_msg("round %d, statement %d of the next holder: %s (%s)", round, i, error.message,
                 error.sqlstate);
      }
    }
    rig_release(lease);
  }
  print_message("# %u of %d timed out\n", timed_out, ROUNDS);
  assert_true(timed_out > 0);
  rig_close(&rig);
}

struct late_holder {
  cenote_lease lease;
  const char *sql;
  cenote_status status;
  cenote_error error;
};

static void hold_a_statement(void *context)
{
  struct late_holder *holder = context;
  holder->error = (cenote_error)CENOTE_ERROR_INIT;
  holder->status = rig_run(holder->lease, holder->sql, &holder->error);
}

static cenote_lease acquire_for(const char *operation, int64_t lease_ms)
{
  cenote_acquire_options options = CENOTE_ACQUIRE_OPTIONS_INIT;
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_lease lease;
  options.timeout_ms = RIG_PATIENCE_MS;
  options.lease_ms = lease_ms;
  if (cenote_acquire_with(rig.manager, operation, &options, &lease, &error) != CENOTE_OK) {
    fail_msg("acquire for %s: %s", operation, error.message);
  }
  return lease;
}

/* Its time comes as soon as it may, whatever its holder has needed so far. */
static void let_expire(cenote_lease lease)
{
  cenote_error error = CENOTE_ERROR_INIT;
  assert_int_equal(cenote_lease_extend(lease, 50, &error), CENOTE_OK);
}

static void expect_expired(cenote_status status, const cenote_error *error, const char *operation)
{
  assert_int_equal(status, CENOTE_LEASE_EXPIRED);
  assert_non_null(strstr(error->message, operation));
  assert_non_null(strstr(error->message, " ms"));
}

static void lease_expires_mid_statement(void **state)
{
  (void)state;
  admin_run("create table expiring (n int); grant all on expiring to app");
  open_single("0");
  cenote_error error = CENOTE_ERROR_INIT;
  struct rig_thread thread;
  struct late_holder holder = {.sql = "select 'expiring', pg_sleep(60)"};
  holder.lease = acquire_for("too-long-17", RIG_PATIENCE_MS);
  const int64_t pid = rig_integer(holder.lease, "select pg_backend_pid()");
  rig_must_run(holder.lease, "begin");
  rig_must_run(holder.lease, "insert into expiring values (1)");
  rig_thread_start(&thread, 0, hold_a_statement, &holder);
  assert_true(admin_becomes("select count(*) from pg_stat_activity where application_name = "
                            "'leases' and wait_event = 'PgSleep'",
                            1));
  let_expire(holder.lease);

  /* The next holder waits already. */
  const cenote_lease next = rig_acquire(rig.manager, "next");
  rig_thread_join(&thread);
  expect_expired(holder.status, &holder.error, "too-long-17");
  expect_expired(rig_run(holder.lease, "select 1", &error), &error, "too-long-17");
  assert_int_equal(cenote_release(holder.lease), CENOTE_LEASE_EXPIRED);

  assert_int_equal(rig_integer(next, "select pg_backend_pid()"), pid);
  assert_int_equal(rig_integer(next, "select count(*) from expiring"), 0);
  assert_string_equal(rig_text(next, clean_sql), "");
  rig_release(next);
  assert_int_equal(admin_integer("select count(*) from pg_stat_activity where state = 'active' and "
                                 "query like '%expiring%' and pid <> pg_backend_pid()"),
                   0);
  const cenote_statistics statistics = rig_statistics(rig.manager);
  assert_int_equal(statistics.lease_timeouts, 1);
  assert_true(statistics.resets >= 1);
  assert_int_equal(rig_logged(&rig, "too-long-17"), 1);
  rig_close(&rig);
}

/* Also the holder who just sits on an open transaction, and comes back late. */
static void idle_lease_expires_inside_a_transaction(void **state)
{
  (void)state;
  open_single("0");
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_transaction *tx;
  const cenote_lease lease = acquire_for("sleeper", RIG_PATIENCE_MS);
  assert_int_equal(cenote_begin(lease, 0, &tx, &error), CENOTE_OK);
  assert_int_equal(cenote_tx_execute(tx, "insert into expiring values (2)", NULL, 0, NULL, &error),
                   CENOTE_OK);
  let_expire(lease);
  expect_clean("an expiry", 0);
  assert_int_equal(admin_integer("select count(*) from expiring"), 0);
  error = (cenote_error)CENOTE_ERROR_INIT;
  expect_expired(cenote_tx_execute(tx, "select 1", NULL, 0, NULL, &error), &error, "sleeper");
  assert_int_equal(cenote_rollback(tx, &error), CENOTE_OK);
  rig_close(&rig);
}

static void double_release_stale_lease(void **state)
{
  (void)state;
  open_single("0");
  cenote_error error = CENOTE_ERROR_INIT;
  const cenote_lease first = rig_acquire(rig.manager, "first");
  rig_release(first);
  const cenote_lease second = rig_acquire(rig.manager, "second");
  assert_int_equal(cenote_release(first), CENOTE_STALE);
  assert_int_equal(rig_run(first, "select 1", &error), CENOTE_STALE);
  rig_must_run(second, "select 1");
  assert_int_equal(rig_statistics(rig.manager).active_leases, 1);
  rig_release(second);
  rig_close(&rig);
  assert_int_equal(cenote_release(second), CENOTE_STALE);
}

/* ------------------------------------------------------------------ what is left behind */

static void release_inside_transaction(void **state)
{
  (void)state;
  static const char *const work[] = {"insert into expiring values (3)", "lock table expiring",
                                     "select * from no_such_table", "savepoint a",
                                     "set local search_path = pg_catalog"};
  open_single("0");
  for (size_t i = 0; i < sizeof work / sizeof work[0]; i++) {
    cenote_error error = CENOTE_ERROR_INIT;
    cenote_transaction *tx;
    const cenote_lease lease = rig_acquire(rig.manager, "leaver");
    const int64_t pid = rig_integer(lease, "select pg_backend_pid()");
    assert_int_equal(cenote_begin(lease, 0, &tx, &error), CENOTE_OK);
    const cenote_status status = cenote_tx_execute(tx, work[i], NULL, 0, NULL, &error);
    assert_true(status == CENOTE_OK || status == CENOTE_DATABASE);
    rig_release(lease);
    expect_clean(work[i], pid);
    assert_int_equal(cenote_commit(tx, &error), CENOTE_STALE);
  }
  assert_int_equal(admin_integer("select count(*) from expiring"), 0);
  assert_int_equal(
      admin_integer("select count(*) from pg_locks where relation = 'expiring'::regclass"), 0);
  rig_close(&rig);
}

static void hidden_session_state(void **state)
{
  (void)state;
  static const char *const dirt[] = {
      "select set_config('hidden.state', 'left', false)",
      "select set_config('application_name', 'somebody', false)",
      "set search_path = pg_catalog",
      "set session hidden.state = 'left'",
      "select pg_advisory_lock(42)",
      "select pg_try_advisory_lock_shared(43)",
      "create temp table leak (n int)",
      "select 1 as n into temp leak",
      "listen leak",
      "prepare leak as select 1",
      "declare leak cursor with hold for select 1",
      "set role pg_monitor",
      "do $$ begin perform set_config('hidden.state', 'left', false); end $$",
      "select hidden_lock()",
      "select * from hidden_lock()",
      "select (select 1 where hidden_lock() is null)",
      "update hidden_row set n = n + 1 where hidden_lock() is null",
      "with x as (select pg_advisory_lock(45)) select * from x",
      "call hidden_call()",
      "select \"set_config\"('hidden.state', 'left', false)",
      "select pg_catalog . set_config ('hidden.state', 'left', false)",
      "explain analyze select set_config('hidden.state', 'left', false)",
      "/* ? */ begin; select pg_advisory_lock(46); commit",
  };
  admin_run("create function hidden_lock() returns void language plpgsql as $$ begin perform"
            " pg_advisory_lock(44); perform set_config('hidden.state', 'left', false); end $$;"
            "create procedure hidden_call() language plpgsql as $$ begin perform"
            " set_config('hidden.state', 'left', false); end $$;"
            "create table hidden_row (n int); insert into hidden_row values (1);"
            "grant all on hidden_row to app; grant pg_monitor to app");
  open_single("0");
  for (size_t i = 0; i < sizeof dirt / sizeof dirt[0]; i++) {
    cenote_error error = CENOTE_ERROR_INIT;
    const cenote_lease lease = rig_acquire(rig.manager, "dirty");
    const int64_t pid = rig_integer(lease, "select pg_backend_pid()");
    (void)rig_run(lease, dirt[i], &error);
    rig_release(lease);
    expect_clean(dirt[i], pid);
  }
  assert_int_equal(rig_statistics(rig.manager).reset_failures, 0);
  rig_close(&rig);
}

/* What the session ran last says whether anybody spoke to it after the holder. */
static void clean_release_costs_no_round_trip(void **state)
{
  (void)state;
  char sql[256];
  cenote_error error = CENOTE_ERROR_INIT;
  open_single("0");
  const cenote_value args[] = {cenote_integer(4), cenote_text("x")};
  for (int i = 0; i < 20; i++) {
    cenote_transaction *tx;
    cenote_result *result;
    const cenote_lease lease = rig_acquire(rig.manager, "clean");
    assert_int_equal(cenote_begin(lease, 0, &tx, &error), CENOTE_OK);
    assert_int_equal(
        cenote_tx_execute(tx, "insert into expiring values (4)", NULL, 0, NULL, &error), CENOTE_OK);
    assert_int_equal(cenote_tx_execute(tx, "delete from expiring", NULL, 0, NULL, &error),
                     CENOTE_OK);
    assert_int_equal(cenote_commit(tx, &error), CENOTE_OK);
    assert_int_equal(cenote_execute(lease,
                                    "select 'the last', n, lower($2), count(*) from expiring "
                                    "where n = $1 group by n",
                                    args, 2, &result, &error),
                     CENOTE_OK);
    cenote_result_free(result);
    const int64_t pid = i == 0 ? rig_integer(lease, "select pg_backend_pid()") : 0;
    if (i == 0) {
      snprintf(sql, sizeof sql,
               "select count(*) from pg_stat_activity where pid = %" PRId64
               " and state = 'idle' and query like 'select ''the last''%%'",
               pid);
    }
    rig_release(lease);
  }
  rig_settle(rig.manager);
  assert_int_equal(admin_integer(sql), 1);
  assert_int_equal(rig_statistics(rig.manager).resets, 0);
  rig_close(&rig);
}

/* ------------------------------------------------------------------------ shutting down */

static void close_with_leaked_lease(void **state)
{
  (void)state;
  cenote_error error = CENOTE_ERROR_INIT;
  struct rig_thread thread;
  struct late_holder holder = {.sql = "select pg_sleep(60)"};
  rig.options = (cenote_options)CENOTE_OPTIONS_INIT;
  rig_open(&rig, rig_var("POSTGRES_URL"), "max_connections", "3", "application_name", "leases",
           "statement_timeout_ms", "0", NULL);
  const cenote_lease leaked = rig_acquire(rig.manager, "leaker-23");
  rig_must_run(leaked, "begin");
  rig_must_run(leaked, "insert into expiring values (5)");
  holder.lease = rig_acquire(rig.manager, "sleeper-24");
  rig_thread_start(&thread, 0, hold_a_statement, &holder);
  assert_true(admin_becomes("select count(*) from pg_stat_activity where application_name = "
                            "'leases' and state = 'active'",
                            1));
  assert_int_equal(cenote_shutdown(rig.manager, 200, &error), CENOTE_TIMEOUT);
  rig_thread_join(&thread);
  assert_non_null(strstr(error.details, "leaker-23"));
  assert_non_null(strstr(error.details, "sleeper-24"));
  assert_int_equal(holder.status, CENOTE_SHUTTING_DOWN);
  error = (cenote_error)CENOTE_ERROR_INIT;
  assert_int_equal(rig_run(leaked, "select 1", &error), CENOTE_SHUTTING_DOWN);
  assert_non_null(strstr(error.message, "shutting down"));
  assert_null(strstr(error.message, "timeout"));
  assert_int_not_equal(cenote_release(leaked), CENOTE_OK);
  cenote_lease none;
  assert_int_equal(cenote_acquire(rig.manager, "late", 0, &none, &error), CENOTE_SHUTTING_DOWN);
  assert_int_equal(rig_statistics(rig.manager).total_connections, 0);
  rig_close(&rig);
  assert_true(admin_becomes("select count(*) from pg_stat_activity where application_name = "
                            "'leases'",
                            0));
  assert_int_equal(admin_integer("select count(*) from expiring"), 0);
}

/* Fewer than are leased: nobody's lease breaks, and the pool gets there as they come back. */
static void resize_below_leased(void **state)
{
  enum { LEASED = 5 };
  cenote_lease leases[LEASED];
  cenote_error error = CENOTE_ERROR_INIT;
  (void)state;
  rig.options = (cenote_options)CENOTE_OPTIONS_INIT;
  rig_open(&rig, rig_var("POSTGRES_URL"), "max_connections", "5", "min_connections", "0",
           "application_name", "leases", NULL);
  for (int i = 0; i < LEASED; i++) {
    leases[i] = rig_acquire(rig.manager, "leased");
  }
  assert_int_equal(cenote_resize(rig.manager, 0, 2, &error), CENOTE_OK);
  for (int i = 0; i < LEASED; i++) {
    rig_must_run(leases[i], "select 1");
    rig_release(leases[i]);
  }
  rig_settle(rig.manager);
  assert_int_equal(rig_statistics(rig.manager).total_connections, 2);
  assert_true(admin_becomes("select count(*) from pg_stat_activity where application_name = "
                            "'leases'",
                            2));
  rig_close(&rig);
}

/* ---------------------------------------------------------------------- time-outs */

static void statement_timeout_leaves_the_lease_usable(void **state)
{
  (void)state;
  cenote_error error = CENOTE_ERROR_INIT;
  open_single("2000");
  const cenote_lease lease = rig_acquire(rig.manager, "slow");
  const int64_t pid = rig_integer(lease, "select pg_backend_pid()");
  assert_int_equal(rig_run_for(lease, "select pg_sleep(60)", 150, &error),
                   CENOTE_STATEMENT_TIMEOUT);
  assert_non_null(strstr(error.message, "timeout"));
  assert_int_equal(rig_integer(lease, "select pg_backend_pid()"), pid);

  cenote_transaction *tx;
  assert_int_equal(cenote_begin(lease, 0, &tx, &error), CENOTE_OK);
  assert_int_equal(cenote_tx_execute(tx, "insert into expiring values (6)", NULL, 0, NULL, &error),
                   CENOTE_OK);
  assert_int_equal(cenote_tx_execute(tx, "select pg_sleep(60)", NULL, 0, NULL, &error),
                   CENOTE_STATEMENT_TIMEOUT);
  assert_int_equal(cenote_commit(tx, &error), CENOTE_DATABASE); /* it can only be rolled back */
  assert_int_equal(rig_integer(lease, "select count(*) from expiring"), 0);
  rig_release(lease);
  expect_clean("a statement timeout", pid);
  rig_close(&rig);
}

static void sessions_tell_the_server_when_to_reap_them(void **state)
{
  (void)state;
  static const char *const names[] = {"idle_session_timeout", "idle_in_transaction_session_timeout",
                                      "tcp_keepalives_idle", "statement_timeout"};
  rig.options = (cenote_options)CENOTE_OPTIONS_INIT;
  rig_open(&rig, rig_var("POSTGRES_TRUST_URL"), "max_connections", "1", NULL);
  const cenote_lease lease = rig_acquire(rig.manager, "settings");
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    char sql[128];
    snprintf(sql, sizeof sql, "select setting from pg_settings where name = '%s'", names[i]);
    if (rig_integer(lease, sql) <= 0) {
      fail_msg("%s is not set", names[i]);
    }
  }
  rig_release(lease);
  rig_close(&rig);
}

int main(void)
{
  if (!pg_fixture_start(&rig_server, NULL)) {
    return pg_fixture_skip(&rig_server);
  }
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(late_cancel_never_hits_the_next_lease),
      cmocka_unit_test(lease_expires_mid_statement),
      cmocka_unit_test(idle_lease_expires_inside_a_transaction),
      cmocka_unit_test(double_release_stale_lease),
      cmocka_unit_test(release_inside_transaction),
      cmocka_unit_test(hidden_session_state),
      cmocka_unit_test(clean_release_costs_no_round_trip),
      cmocka_unit_test(close_with_leaked_lease),
      cmocka_unit_test(resize_below_leased),
      cmocka_unit_test(statement_timeout_leaves_the_lease_usable),
      cmocka_unit_test(sessions_tell_the_server_when_to_reap_them),
  };
  int failed = cmocka_run_group_tests_name("pool_leases", tests, NULL, NULL);
  pg_fixture_stop(&rig_server);
  return failed;
}
