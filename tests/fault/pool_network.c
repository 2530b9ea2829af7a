/*
 * Between the pool and its database: a network that delays, falls silent, resets and cuts; a
 * pooler in transaction mode; TLS.
 */
#include "fault/pool_rig.h"
#include "support/fault_proxy.h"

#include <inttypes.h>
#include <libpq-fe.h>

static struct rig rig;
static struct fault_proxy *proxy;
static char proxy_url[128];

static void open_behind_proxy(const char *statement_ms, const char *cancel_ms)
{
  rig.options = (cenote_options)CENOTE_OPTIONS_INIT;
  rig_open(&rig, proxy_url, "max_connections", "2", "min_connections", "0", "statement_timeout_ms",
           statement_ms, "cancel_timeout_ms", cancel_ms, "connect_timeout_ms", "5000",
           "connect_backoff_max_ms", "200", "application_name", "network", NULL);
}

static int proxy_up(void **state)
{
  (void)state;
  proxy = fault_proxy_start("127.0.0.1", (int)strtol(rig_var("POSTGRES_PORT"), NULL, 10));
  if (!proxy) {
    return -1;
  }
  snprintf(proxy_url, sizeof proxy_url, "postgresql://trusted@127.0.0.1:%d/cenote?sslmode=disable",
           fault_proxy_port(proxy));
  return 0;
}

static int proxy_down(void **state)
{
  (void)state;
  fault_proxy_stop(proxy);
  proxy = NULL;
  return 0;
}

/* The pool still works, or works again. */
static void expect_service(void)
{
  const cenote_lease lease = rig_acquire(rig.manager, "after");
  assert_int_equal(rig_integer(lease, "select 42"), 42);
  rig_release(lease);
}

static void reset_now(void *context)
{
  fault_proxy_reset(context);
}

static void reset_what_waits(void *context)
{
  if (!admin_becomes("select count(*) from pg_stat_activity where application_name = 'network' "
                     "and wait_event_type = 'Lock'",
                     1)) {
    fprintf(stderr, "nothing waits for the lock\n");
  }
  reset_now(context);
}

/* Runs it and has the network reset every connection meanwhile: it waits for the table `gate`, which
 * is unlocked then. */
static cenote_status run_and_reset(cenote_lease lease, const char *sql, cenote_error *error)
{
  struct rig_thread thread;
  PGconn *blocker = PQconnectdb(rig_var("POSTGRES_ADMIN_URL"));
  PQclear(PQexec(blocker, "begin"));
  PGresult *locked = PQexec(blocker, "lock table gate in access exclusive mode");
  const bool is_locked = PQresultStatus(locked) == PGRES_COMMAND_OK;
  PQclear(locked);
  rig_thread_start(&thread, 0, reset_what_waits, proxy);
  const cenote_status status = rig_run(lease, sql, error);
  rig_thread_join(&thread);
  PQfinish(blocker);
  assert_true(is_locked);
  return status;
}

/* --------------------------------------------------------------------- the network */

static void slow_network_serves(void **state)
{
  (void)state;
  fault_proxy_delay(proxy, 60);
  open_behind_proxy("30000", "2000");
  expect_service();
  rig_close(&rig);
}

static void silent_network_ends_at_the_time_out(void **state)
{
  (void)state;
  cenote_error error = CENOTE_ERROR_INIT;
  open_behind_proxy("30000", "300");
  const cenote_lease lease = rig_acquire(rig.manager, "silent");
  rig_must_run(lease, "select 1");
  fault_proxy_silence(proxy);
  const cenote_status status = rig_run_for(lease, "select 1", 300, &error);
  fault_proxy_heal(proxy);
  assert_true(status == CENOTE_CONNECTION_LOST || status == CENOTE_STATEMENT_TIMEOUT);
  rig_release(lease);
  expect_service();
  rig_close(&rig);
}

static void lost_read_may_be_tried_again(void **state)
{
  (void)state;
  cenote_error error = CENOTE_ERROR_INIT;
  open_behind_proxy("30000", "2000");
  const cenote_lease lease = rig_acquire(rig.manager, "read");
  assert_int_equal(run_and_reset(lease, "select count(*) from gate", &error),
                   CENOTE_CONNECTION_LOST);
  assert_true(error.retryable);
  rig_release(lease);
  expect_service();
  rig_close(&rig);
}

/* The server runs what it received, also when the client is gone: the caller is told that nobody
 * knows, and the pool does not run it again. */
static void flushed_write_never_repeated(void **state)
{
  (void)state;
  cenote_error error = CENOTE_ERROR_INIT;
  admin_run("delete from once");
  open_behind_proxy("30000", "2000");
  cenote_lease lease = rig_acquire(rig.manager, "write");
  assert_int_equal(run_and_reset(lease, "insert into once select count(*) from gate", &error),
                   CENOTE_OUTCOME_UNKNOWN);
  assert_false(error.retryable);
  rig_release(lease);
  expect_service();
  assert_true(admin_becomes("select count(*) from once", 1));
  rig_close(&rig);
  assert_int_equal(admin_integer("select count(*) from once"), 1);
}

static void lost_transaction_leaves_nothing(void **state)
{
  (void)state;
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_transaction *tx;
  admin_run("delete from once");
  open_behind_proxy("30000", "2000");
  const cenote_lease lease = rig_acquire(rig.manager, "transaction");
  assert_int_equal(cenote_begin(lease, 0, &tx, &error), CENOTE_OK);
  assert_int_equal(cenote_tx_execute(tx, "insert into once values (2)", NULL, 0, NULL, &error),
                   CENOTE_OK);
  assert_int_equal(run_and_reset(lease, "insert into once select count(*) from gate", &error),
                   CENOTE_CONNECTION_LOST);
  error = (cenote_error)CENOTE_ERROR_INIT;
  assert_int_equal(cenote_tx_execute(tx, "select 1", NULL, 0, NULL, &error),
                   CENOTE_CONNECTION_LOST);
  assert_int_equal(cenote_rollback(tx, &error), CENOTE_OK);
  rig_release(lease);
  expect_service();
  assert_true(admin_becomes("select count(*) from pg_stat_activity where application_name = "
                            "'network' and state <> 'idle'",
                            0));
  assert_int_equal(admin_integer("select count(*) from once"), 0);
  rig_close(&rig);
}

/* The answer to COMMIT is lost: it may have happened. */
static void lost_commit_has_an_unknown_outcome(void **state)
{
  (void)state;
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_transaction *tx;
  admin_run("delete from once");
  open_behind_proxy("30000", "2000");
  const cenote_lease lease = rig_acquire(rig.manager, "commit");
  assert_int_equal(cenote_begin(lease, 0, &tx, &error), CENOTE_OK);
  assert_int_equal(cenote_tx_execute(tx, "insert into once values (4)", NULL, 0, NULL, &error),
                   CENOTE_OK);
  fault_proxy_cut_after(proxy, FAULT_TO_CLIENT, 3, true);
  assert_int_equal(cenote_commit(tx, &error), CENOTE_OUTCOME_UNKNOWN);
  assert_false(error.retryable);
  fault_proxy_heal(proxy);
  rig_release(lease);
  expect_service();
  assert_int_equal(admin_integer("select count(*) from once"), 1);
  rig_close(&rig);
}

/* The statement has run, and its connection ends when the answer comes. */
static cenote_status query_cut_in_its_answer(const char *sql, cenote_hint hint)
{
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_query_options options = CENOTE_QUERY_OPTIONS_INIT;
  options.hint = hint;
  assert_int_equal(cenote_query(rig.manager, "select 1", NULL, 0, &options, NULL, &error),
                   CENOTE_OK);
  fault_proxy_cut_after(proxy, FAULT_TO_CLIENT, 3, true);
  const cenote_status status = cenote_query(rig.manager, sql, NULL, 0, &options, NULL, &error);
  fault_proxy_heal(proxy);
  return status;
}

/* Nothing in the text of the first one tells that it writes. */
static void what_writes_behind_a_read_runs_once(void **state)
{
  (void)state;
  admin_run("create or replace function hide() returns int language plpgsql security definer as "
            "$$ begin insert into once values (7); return 7; end $$");
  admin_run("create or replace view hidden as select hide() as h");
  admin_run("grant select on hidden to public");
  for (int simple = 0; simple < 2; simple++) {
    admin_run("delete from once");
    rig.options = (cenote_options)CENOTE_OPTIONS_INIT;
    rig_open(&rig, proxy_url, "max_connections", "2", "min_connections", "0", "simple_connections",
             simple ? "2" : "0", "retry_delay_ms", "10", "breaker_failures", "0", NULL);
    const cenote_hint hint = simple ? CENOTE_HINT_POOL : CENOTE_HINT_NONE;
    assert_int_equal(query_cut_in_its_answer("select h from hidden", hint), CENOTE_CONNECTION_LOST);
    assert_int_equal(admin_integer("select count(*) from once"), 1);
    assert_int_equal(query_cut_in_its_answer("select pg_notify('c', 'x')", hint),
                     CENOTE_OUTCOME_UNKNOWN);
    assert_int_equal(rig_statistics(rig.manager).retries, 0);
    expect_service();
    rig_close(&rig);
  }
  admin_run("drop view hidden");
}

static bool count_row(void *context, const char *const *names, const cenote_value *values,
                      size_t columns)
{
  (void)names;
  (void)values;
  *(size_t *)context += columns;
  return true;
}

static void result_cut_in_the_middle_is_no_result(void **state)
{
  (void)state;
  static const char rows[] = "select i, repeat('x', 100) from generate_series(1, 5000) i";
  open_behind_proxy("30000", "2000");
  for (int reset = 0; reset < 2; reset++) {
    cenote_error error = CENOTE_ERROR_INIT;
    cenote_result *result;
    cenote_lease lease = rig_acquire(rig.manager, "cut");
    rig_must_run(lease, "select 1");
    fault_proxy_cut_after(proxy, FAULT_TO_CLIENT, 100000, reset != 0);
    assert_int_equal(cenote_execute(lease, rows, NULL, 0, &result, &error), CENOTE_CONNECTION_LOST);
    assert_null(result);
    fault_proxy_heal(proxy);
    rig_release(lease);

    size_t cells = 0;
    lease = rig_acquire(rig.manager, "cut stream");
    fault_proxy_cut_after(proxy, FAULT_TO_CLIENT, 100000, reset != 0);
    assert_int_equal(cenote_execute_stream(lease, rows, NULL, 0, count_row, &cells, NULL, &error),
                     CENOTE_CONNECTION_LOST);
    assert_true(cells > 0 && cells < 10000);
    fault_proxy_heal(proxy);
    rig_release(lease);
  }
  expect_service();
  rig_close(&rig);
}

/* A new connection that hangs in the login keeps nobody who can be served. */
static void login_that_hangs_is_given_up(void **state)
{
  (void)state;
  cenote_lease lease;
  cenote_error error = CENOTE_ERROR_INIT;
  rig.options = (cenote_options)CENOTE_OPTIONS_INIT;
  rig_open(&rig, proxy_url, "max_connections", "2", "min_connections", "0", "connect_timeout_ms",
           "300", "connect_backoff_max_ms", "100", "breaker_failures", "0", NULL);
  fault_proxy_silence(proxy);
  assert_int_equal(cenote_acquire(rig.manager, "hangs", 1500, &lease, &error), CENOTE_TIMEOUT);
  assert_non_null(strstr(error.details, "connect"));
  const uint64_t attempts = rig_statistics(rig.manager).connection_errors;
  assert_true(attempts >= 1 && attempts <= 20);
  fault_proxy_heal(proxy);
  expect_service();
  rig_close(&rig);
}

/* The connection that comes too late for who asked is there for the next one. */
static void timeout_then_connect_completes(void **state)
{
  (void)state;
  cenote_lease lease;
  cenote_error error = CENOTE_ERROR_INIT;
  fault_proxy_delay(proxy, 300);
  open_behind_proxy("30000", "2000");
  assert_int_equal(cenote_acquire(rig.manager, "hasty", 50, &lease, &error), CENOTE_TIMEOUT);
  assert_non_null(strstr(error.details, "connecting for"));
  rig_wait_idle(rig.manager, 1);
  fault_proxy_heal(proxy);
  /* it took long to open, and is checked first */
  assert_int_equal(cenote_acquire(rig.manager, "next", RIG_PATIENCE_MS, &lease, &error), CENOTE_OK);
  rig_release(lease);
  assert_int_equal(rig_statistics(rig.manager).connections_created, 1);
  rig_close(&rig);
}

struct waiter {
  cenote_status status;
  cenote_error error;
};

static void wait_for_a_lease(void *context)
{
  struct waiter *waiter = context;
  cenote_lease lease;
  waiter->status = cenote_acquire(rig.manager, "waiter", RIG_PATIENCE_MS, &lease, &waiter->error);
}

/* Shut down while logins hang: waiters learn it at once, and nothing is left of the connects. */
static void close_during_connect(void **state)
{
  (void)state;
  enum { WAITERS = 5 };
  struct rig_thread threads[WAITERS];
  static struct waiter waiters[WAITERS];
  cenote_error error = CENOTE_ERROR_INIT;
  rig.options = (cenote_options)CENOTE_OPTIONS_INIT;
  rig_open(&rig, proxy_url, "max_connections", "2", "min_connections", "2", "connect_timeout_ms",
           "600000", "application_name", "network", NULL);
  fault_proxy_silence(proxy);
  assert_int_equal(cenote_flush(rig.manager, &error), CENOTE_OK);
  for (int i = 0; i < WAITERS; i++) {
    waiters[i].error = (cenote_error)CENOTE_ERROR_INIT;
    rig_thread_start(&threads[i], 0, wait_for_a_lease, &waiters[i]);
  }
  const int64_t end = cen_deadline_ns(cen_now_ns(), RIG_PATIENCE_MS);
  while (rig_statistics(rig.manager).waiters < WAITERS) {
    assert_true(cen_now_ns() < end);
    rig_nap_ms(5);
  }
  assert_int_equal(cenote_shutdown(rig.manager, RIG_PATIENCE_MS, &error), CENOTE_OK);
  assert_true(cen_now_ns() < end); /* long before the connect time-out */
  for (int i = 0; i < WAITERS; i++) {
    rig_thread_join(&threads[i]);
    assert_int_equal(waiters[i].status, CENOTE_SHUTTING_DOWN);
    assert_non_null(strstr(waiters[i].error.message, "shutting down"));
    assert_null(strstr(waiters[i].error.message, "timeout"));
  }
  rig_close(&rig);
  fault_proxy_heal(proxy);
}

/* ------------------------------------------------------------------------- a pooler */

struct passenger {
  unsigned number;
  unsigned wrong;
};

/* Without a lease: on shared connections, as far as a pooler lets any be shared. Reads cannot be kept
 * from writing there, for the session is not ours. */
static void ride_without_lease(struct passenger *p, int i)
{
  char tag[64];
  cenote_result *result;
  cenote_query_options options = CENOTE_QUERY_OPTIONS_INIT;
  cenote_error error = CENOTE_ERROR_INIT;
  snprintf(tag, sizeof tag, "simple %u/%d", p->number, i);
  const cenote_value args[] = {cenote_text(tag), cenote_integer(i)};
  cenote_status status =
      cenote_query(rig.manager, "select $1::text, $2::int + 1", args, 2, NULL, &result, &error);
  p->wrong += status != CENOTE_OK || strcmp(cenote_result_text(result, 0, 0), tag) != 0 ||
              cenote_result_integer(result, 0, 1) != i + 1;
  cenote_result_free(result);
  status = cenote_query(rig.manager, "insert into simple_rides (tag, n) values ($1, $2)", args, 2,
                        NULL, NULL, &error);
  p->wrong += status != CENOTE_OK;
  if (p->number == 1 && i % 20 == 19) { /* its time-out is nobody else's */
    options.timeout_ms = 200;
    status = cenote_query(rig.manager, "select pg_sleep(30)", NULL, 0, &options, NULL, &error);
    p->wrong += status != CENOTE_STATEMENT_TIMEOUT && status != CENOTE_TIMEOUT; /* not sent yet */
  }
}

static void ride(void *context)
{
  struct passenger *p = context;
  for (int i = 0; i < 40; i++) {
    char tag[64];
    cenote_lease lease;
    cenote_result *result;
    cenote_transaction *tx;
    cenote_error error = CENOTE_ERROR_INIT;
    snprintf(tag, sizeof tag, "%u/%d", p->number, i);
    const cenote_value args[] = {cenote_text(tag), cenote_integer(i)};
    if (cenote_acquire(rig.manager, tag, RIG_PATIENCE_MS, &lease, &error) != CENOTE_OK) {
      p->wrong++;
      continue;
    }
    /* One of them runs out of time: a cancel through the pooler must hit nobody else. */
    if (p->number == 0 && i % 20 == 19) {
      p->wrong +=
          rig_run_for(lease, "select pg_sleep(30)", 300, &error) != CENOTE_STATEMENT_TIMEOUT;
    }
    cenote_status status =
        cenote_execute(lease, "select $1::text, $2::int + 1", args, 2, &result, &error);
    p->wrong += status != CENOTE_OK || strcmp(cenote_result_text(result, 0, 0), tag) != 0 ||
                cenote_result_integer(result, 0, 1) != i + 1;
    cenote_result_free(result);
    status = cenote_begin(lease, 0, &tx, &error);
    if (status == CENOTE_OK) {
      const cenote_status wrote =
          cenote_tx_execute(tx, "insert into rides (tag, n) values (?, ?)", args, 2, NULL, &error);
      status = i % 2 ? cenote_commit(tx, &error) : cenote_rollback(tx, &error);
      p->wrong += wrote != CENOTE_OK;
    }
    p->wrong += status != CENOTE_OK;
    p->wrong += cenote_release(lease) != CENOTE_OK;
    ride_without_lease(p, i);
  }
}

static void ride_behind(const char *pooler)
{
  enum { PASSENGERS = 8 };
  struct rig_thread threads[PASSENGERS];
  struct passenger passengers[PASSENGERS];
  admin_run("delete from rides; delete from simple_rides");
  rig.options = (cenote_options)CENOTE_OPTIONS_INIT;
  rig_open(&rig, rig_var("PGBOUNCER_URL"), "max_connections", "5", "transaction_pooler", pooler,
           "statement_timeout_ms", "20000", NULL);
  for (unsigned i = 0; i < PASSENGERS; i++) {
    passengers[i] = (struct passenger){.number = i};
    rig_thread_start(&threads[i], 0, ride, &passengers[i]);
  }
  for (unsigned i = 0; i < PASSENGERS; i++) {
    rig_thread_join(&threads[i]);
    assert_int_equal(passengers[i].wrong, 0);
  }
  assert_int_equal(admin_integer("select count(*) from rides"), PASSENGERS * 20);
  assert_int_equal(admin_integer("select count(distinct tag) from simple_rides"), PASSENGERS * 40);
  assert_int_equal(admin_integer("select count(*) from simple_rides"), PASSENGERS * 40);
  assert_true(rig_statistics(rig.manager).simple.statements > 0);
  rig_close(&rig);
}

static void behind_a_transaction_pooler(void **state)
{
  (void)state;
  const int started = pg_fixture_ctl(&rig_server, "bouncer-start", NULL);
  if (started == 77) {
    skip();
  }
  assert_int_equal(started, 0);
  ride_behind("true");
  ride_behind("false"); /* noticed by itself */
  assert_int_equal(pg_fixture_ctl(&rig_server, "bouncer-stop", NULL), 0);
}

/* ---------------------------------------------------------------------------- TLS */

static void tls_and_scram_end_to_end(void **state)
{
  (void)state;
  rig.options = (cenote_options)CENOTE_OPTIONS_INIT;
  rig_open(&rig, rig_var("POSTGRES_TLS_URL"), "max_connections", "2", NULL);
  const cenote_lease lease = rig_acquire(rig.manager, "tls");
  assert_string_equal(rig_text(lease, "select ssl::text || ' ' || version from pg_stat_ssl where "
                                      "pid = pg_backend_pid()"),
                      "true TLSv1.3");
  rig_release(lease);
  assert_int_equal(rig_logged(&rig, rig_var("POSTGRES_PASSWORD")), 0);
  rig_close(&rig);
}

/* A certificate for another name: no session, and the reason is told to who waits. */
static void wrong_certificate_is_refused(void **state)
{
  (void)state;
  cenote_lease none;
  cenote_error error = CENOTE_ERROR_INIT;
  assert_int_equal(pg_fixture_ctl(&rig_server, "cert", "wrong"), 0);
  rig.options = (cenote_options)CENOTE_OPTIONS_INIT;
  rig_open(&rig, rig_var("POSTGRES_TLS_URL"), "max_connections", "2", "connect_backoff_max_ms",
           "100", NULL);
  bool refused = false;
  const int64_t until = cen_deadline_ns(cen_now_ns(), RIG_PATIENCE_MS);
  while (!refused && cen_now_ns() < until) { /* the server takes a moment to reload */
    error = (cenote_error)CENOTE_ERROR_INIT;
    const cenote_status status = cenote_acquire(rig.manager, "tls", 400, &none, &error);
    if (status == CENOTE_OK) {
      rig_release(none);
      assert_int_equal(cenote_flush(rig.manager, &error), CENOTE_OK);
      rig_nap_ms(20);
      continue;
    }
    refused = strstr(error.details, "certificate") || strstr(error.message, "certificate");
  }
  assert_int_equal(pg_fixture_ctl(&rig_server, "cert", "good"), 0);
  assert_true(refused);
  assert_null(strstr(error.details, rig_var("POSTGRES_PASSWORD")));
  /* who waits is told of a connect that began before him, with the old certificate */
  cenote_status status = CENOTE_CONNECT;
  while (status == CENOTE_CONNECT && cen_now_ns() < until) {
    status = cenote_acquire(rig.manager, "good again", RIG_PATIENCE_MS, &none, &error);
  }
  assert_int_equal(status, CENOTE_OK);
  rig_release(none);
  expect_service();
  rig_close(&rig);
}

int main(void)
{
  if (!pg_fixture_start(&rig_server, NULL)) {
    return pg_fixture_skip(&rig_server);
  }
  admin_run("create table once (n int); grant all on once to app;"
            "create table gate (n int); grant all on gate to app;"
            "create table rides (tag text, n int); grant all on rides to app;"
            "create table simple_rides (tag text, n int); grant all on simple_rides to app");
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(slow_network_serves, proxy_up, proxy_down),
      cmocka_unit_test_setup_teardown(silent_network_ends_at_the_time_out, proxy_up, proxy_down),
      cmocka_unit_test_setup_teardown(lost_read_may_be_tried_again, proxy_up, proxy_down),
      cmocka_unit_test_setup_teardown(flushed_write_never_repeated, proxy_up, proxy_down),
      cmocka_unit_test_setup_teardown(lost_transaction_leaves_nothing, proxy_up, proxy_down),
      cmocka_unit_test_setup_teardown(lost_commit_has_an_unknown_outcome, proxy_up, proxy_down),
      cmocka_unit_test_setup_teardown(what_writes_behind_a_read_runs_once, proxy_up, proxy_down),
      cmocka_unit_test_setup_teardown(result_cut_in_the_middle_is_no_result, proxy_up, proxy_down),
      cmocka_unit_test_setup_teardown(login_that_hangs_is_given_up, proxy_up, proxy_down),
      cmocka_unit_test_setup_teardown(timeout_then_connect_completes, proxy_up, proxy_down),
      cmocka_unit_test_setup_teardown(close_during_connect, proxy_up, proxy_down),
      cmocka_unit_test(behind_a_transaction_pooler),
      cmocka_unit_test(tls_and_scram_end_to_end),
      cmocka_unit_test(wrong_certificate_is_refused),
  };
  int failed = cmocka_run_group_tests_name("pool_network", tests, NULL, NULL);
  pg_fixture_stop(&rig_server);
  return failed;
}
