/*
 * The server goes away, hangs, refuses, or changes its password, and the pool lives on. A server
 * of few connections, so that it can say that it has none left.
 */
#include "fault/pool_rig.h"
#include "support/fault_proxy.h"

#include <inttypes.h>
#include <libpq-fe.h>
#include <signal.h>

/* Of the server: two are the superuser's, eight are left. */
#define SERVER_CONNECTIONS "10"
enum { USABLE = 8 };

static struct rig rig;

static void open_named(const char *url, const char *maximum, const char *minimum)
{
  rig_open(&rig, url, "max_connections", maximum, "min_connections", minimum, "connect_backoff_ms",
           "50", "connect_backoff_max_ms", "400", "application_name", "server_test", NULL);
}

static void open_pool(const char *maximum, const char *minimum)
{
  rig.options = (cenote_options)CENOTE_OPTIONS_INIT;
  open_named(rig_var("POSTGRES_URL"), maximum, minimum);
}

/* The pool opens that many and has them all idle. */
static void warm_up(unsigned count)
{
  cenote_lease leases[USABLE];
  for (unsigned i = 0; i < count; i++) {
    leases[i] = rig_acquire(rig.manager, "warm up");
  }
  for (unsigned i = 0; i < count; i++) {
    rig_must_run(leases[i], "select 1");
    rig_release(leases[i]);
  }
  assert_int_equal(rig_statistics(rig.manager).idle_connections, count);
}

static void end_all_sessions(void)
{
  admin_run("select pg_terminate_backend(pid, 5000) from pg_stat_activity "
            "where application_name = 'server_test'");
}

static pid_t postmaster(void)
{
  char path[600];
  char line[32] = "";
  snprintf(path, sizeof path, "%s/postmaster.pid", rig_var("POSTGRES_DATA"));
  FILE *file = fopen(path, "r");
  assert_non_null(file);
  assert_non_null(fgets(line, sizeof line, file));
  fclose(file);
  const long pid = strtol(line, NULL, 10);
  assert_true(pid > 1);
  return (pid_t)pid;
}

/* ------------------------------------------------------------------------ dead sessions */

/* Rested long enough to be checked before use: the caller pays for one connect, sees no error. */
static void restart_all_stale(void **state)
{
  (void)state;
  open_pool("6", "0");
  warm_up(6);
  const uint64_t created = rig_statistics(rig.manager).connections_created;
  assert_int_equal(created, 6);
  assert_true(pg_fixture_shutdown(&rig_server));
  assert_true(pg_fixture_restart(&rig_server));
  rig_nap_ms(600); /* longer than check_after_ms */
  const cenote_lease lease = rig_acquire(rig.manager, "first");
  assert_int_equal(rig_statistics(rig.manager).connections_created, created + 1);
  assert_int_equal(rig_integer(lease, "select 42"), 42);
  rig_release(lease);
  rig_settle(rig.manager);
  /* The others were found out meanwhile: nobody else pays. */
  assert_int_equal(rig_statistics(rig.manager).total_connections, 1);
  rig_close(&rig);
}

/* Used just before, so not checked: a statement may fail, but not one on each dead session. */
static void restart_just_after_use_fails_once(void **state)
{
  (void)state;
  rig.options = (cenote_options)CENOTE_OPTIONS_INIT;
  rig_open(&rig, rig_var("POSTGRES_URL"), "max_connections", "6", "min_connections", "0",
           "check_after_ms", "60000", "application_name", "server_test", NULL);
  warm_up(6);
  end_all_sessions();
  unsigned failures = 0;
  for (int i = 0; i < 12; i++) {
    cenote_error error = CENOTE_ERROR_INIT;
    const cenote_lease lease = rig_acquire(rig.manager, "again");
    const cenote_status status = rig_run(lease, "insert into survivors values (1)", &error);
    if (status != CENOTE_OK) { /* nothing was sent: it may be tried again */
      assert_int_equal(status, CENOTE_CONNECTION_LOST);
      assert_true(error.retryable);
      failures++;
    }
    rig_release(lease);
    rig_settle(rig.manager);
  }
  assert_int_equal(failures, 1);
  assert_int_equal(admin_integer("select count(*) from survivors"), 11);
  assert_int_equal(rig_statistics(rig.manager).breaker_opened, 0); /* sessions died, no server */
  rig_close(&rig);
}

struct knocking {
  _Atomic bool stop;
  _Atomic unsigned good, bad, odd;
};

static void knock(void *context)
{
  struct knocking *k = context;
  while (!atomic_load(&k->stop)) {
    cenote_lease lease;
    cenote_error error = CENOTE_ERROR_INIT;
    cenote_status status = cenote_acquire(rig.manager, "knock", 250, &lease, &error);
    if (status == CENOTE_OK) {
      status = rig_run(lease, "select 1", &error);
      (void)cenote_release(lease);
      atomic_fetch_add(status == CENOTE_OK ? &k->good : &k->bad, 1);
      rig_nap_ms(5);
    } else if (status == CENOTE_TIMEOUT || status == CENOTE_CONNECT) {
      atomic_fetch_add(&k->bad, 1);
    } else if (status == CENOTE_BREAKER_OPEN) { /* at once: who comes back at once would spin */
      atomic_fetch_add(&k->bad, 1);
      rig_nap_ms(5);
    } else {
      atomic_fetch_add(&k->odd, 1);
    }
  }
}

static bool grows(_Atomic unsigned *count)
{
  const unsigned before = atomic_load(count);
  const int64_t end = cen_deadline_ns(cen_now_ns(), RIG_PATIENCE_MS);
  while (atomic_load(count) < before + 3 && cen_now_ns() < end) {
    rig_nap_ms(10);
  }
  return atomic_load(count) >= before + 3;
}

static void database_down_then_up(void **state)
{
  enum { DOWN_MS = 2000, THREADS = 4 };
  struct rig_thread threads[THREADS];
  struct knocking k = {0};
  (void)state;
  open_pool("4", "2");
  for (int i = 0; i < THREADS; i++) {
    rig_thread_start(&threads[i], 0, knock, &k);
  }
  assert_true(grows(&k.good));
  assert_true(pg_fixture_kill(&rig_server));
  rig_nap_ms(300);
  const uint64_t errors = rig_statistics(rig.manager).connection_errors;
  const int64_t cpu = rig_cpu_ms();
  rig_nap_ms(DOWN_MS);
  const uint64_t attempts = rig_statistics(rig.manager).connection_errors - errors;
  const int64_t burnt = rig_cpu_ms() - cpu;
  print_message("# down for %d ms: %" PRIu64 " attempts, %" PRId64 " ms of CPU\n", DOWN_MS,
                attempts, burnt);
  assert_true(attempts >= 1 && attempts <= 40);
  assert_true(burnt < DOWN_MS / 2);
  cenote_lease none;
  cenote_error error = CENOTE_ERROR_INIT;
  assert_int_not_equal(cenote_acquire(rig.manager, "why", 200, &none, &error), CENOTE_OK);
  switch (error.status) { /* as the moment has it: between attempts, or during one that fails */
  case CENOTE_BREAKER_OPEN:
    assert_non_null(strstr(error.message, "next attempt"));
    break;
  case CENOTE_CONNECT:
    assert_non_null(strstr(error.details, "the circuit breaker has opened"));
    break;
  default:
    assert_non_null(strstr(error.details, "last connect failed"));
  }
  assert_true(pg_fixture_restart(&rig_server));
  assert_true(grows(&k.good));
  atomic_store(&k.stop, true);
  for (int i = 0; i < THREADS; i++) {
    rig_thread_join(&threads[i]);
  }
  assert_int_equal(atomic_load(&k.odd), 0);
  rig_close(&rig);
}

/* -------------------------------------------------------------------------- hanging */

struct waiting {
  cenote_lease lease;
  cenote_status status;
};

static void wait_for_one(void *context)
{
  struct waiting *waiting = context;
  waiting->status = cenote_acquire(rig.manager, "waiting", RIG_PATIENCE_MS, &waiting->lease, NULL);
}

static bool is_opening(void)
{
  const int64_t end = cen_deadline_ns(cen_now_ns(), RIG_PATIENCE_MS);
  struct pool_picture picture;
  do {
    rig_nap_ms(10);
    pool_look(&rig.manager->pool, cen_now_ns(), &picture);
  } while (picture.by_state[SLOT_OPENING] == 0 && cen_now_ns() < end);
  return picture.by_state[SLOT_OPENING] > 0;
}

/* The postmaster hangs: new connections are accepted by the kernel and never answered. Who waits
 * gets what is open, as soon as it is free. */
static void connect_blackhole(void **state)
{
  (void)state;
  struct rig_thread thread;
  struct waiting waiting = {.status = CENOTE_INTERNAL};
  rig.options = (cenote_options)CENOTE_OPTIONS_INIT;
  rig_open(&rig, rig_var("POSTGRES_URL"), "max_connections", "3", "min_connections", "0",
           "connect_timeout_ms", "60000", "application_name", "server_test", NULL);
  const cenote_lease held = rig_acquire(rig.manager, "holder");
  const int64_t pid = rig_integer(held, "select pg_backend_pid()");
  const pid_t master = postmaster();
  assert_int_equal(kill(master, SIGSTOP), 0);
  rig_thread_start(&thread, 0, wait_for_one, &waiting);
  const bool opening = is_opening();
  cenote_lease none;
  cenote_error error = CENOTE_ERROR_INIT;
  const cenote_status refused = cenote_acquire(rig.manager, "why", 50, &none, &error);
  const bool told = strstr(error.details, "connecting for") != NULL &&
                    strstr(error.details, "held by 'holder'") != NULL;
  const cenote_status released = cenote_release(held);
  rig_thread_join(&thread);
  const int64_t same =
      waiting.status == CENOTE_OK ? rig_integer(waiting.lease, "select pg_backend_pid()") : 0;
  assert_int_equal(kill(master, SIGCONT), 0);
  assert_true(opening);
  assert_int_equal(refused, CENOTE_TIMEOUT);
  assert_true(told);
  assert_int_equal(released, CENOTE_OK);
  assert_int_equal(waiting.status, CENOTE_OK);
  assert_int_equal(same, pid);
  rig_release(waiting.lease);
  rig_close(&rig);
}

/* Everything of the server's stands still: statements end at their time-out, acquires at theirs,
 * and so does a shutdown. */
static void stopped_server_holds_nobody(void **state)
{
  (void)state;
  rig.options = (cenote_options)CENOTE_OPTIONS_INIT;
  rig_open(&rig, rig_var("POSTGRES_URL"), "max_connections", "3", "min_connections", "0",
           "statement_timeout_ms", "300", "cancel_timeout_ms", "300", "connect_timeout_ms", "5000",
           "check_after_ms", "1", "application_name", "server_test", NULL);
  warm_up(3);
  const cenote_lease lease = rig_acquire(rig.manager, "statement");
  assert_true(pg_fixture_pause(&rig_server));
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_lease none;
  int64_t start = cen_now_ns();
  cenote_status statement = rig_run(lease, "select 1", &error);
  for (int i = 0; i < 100 && statement == CENOTE_OK; i++) { /* the signal takes a moment */
    rig_nap_ms(10);
    start = cen_now_ns();
    statement = rig_run(lease, "select 1", &error);
  }
  const int64_t statement_ms = (cen_now_ns() - start) / CEN_NS_PER_MS;
  start = cen_now_ns();
  rig_nap_ms(20);
  const cenote_status acquired = cenote_acquire(rig.manager, "acquire", 300, &none, &error);
  const int64_t acquire_ms = (cen_now_ns() - start) / CEN_NS_PER_MS;
  start = cen_now_ns();
  const cenote_status ended = cenote_shutdown(rig.manager, 300, &error);
  const int64_t shutdown_ms = (cen_now_ns() - start) / CEN_NS_PER_MS;
  (void)cenote_release(lease);
  assert_true(pg_fixture_resume(&rig_server));
  print_message("# statement %s after %" PRId64 " ms, acquire %s after %" PRId64
                " ms, shutdown %s after %" PRId64 " ms\n",
                cenote_status_name(statement), statement_ms, cenote_status_name(acquired),
                acquire_ms, cenote_status_name(ended), shutdown_ms);
  assert_true(statement == CENOTE_CONNECTION_LOST || statement == CENOTE_STATEMENT_TIMEOUT);
  assert_true(acquired == CENOTE_TIMEOUT || acquired == CENOTE_CONNECT);
  assert_int_equal(ended, CENOTE_TIMEOUT); /* a lease was forced */
  assert_true(statement_ms < 15000 && acquire_ms < 15000 && shutdown_ms < 15000);
  rig_close(&rig);
  assert_true(admin_becomes(
      "select count(*) from pg_stat_activity where application_name = 'server_test'", 0));
}

/* A check before a hand-over is nobody's statement: it gets the acquire's time and no more. */
static void acquire_on_a_stopped_server_keeps_its_time(void **state)
{
  (void)state;
  rig.options = (cenote_options)CENOTE_OPTIONS_INIT;
  rig_open(&rig, rig_var("POSTGRES_URL"), "max_connections", "1", "min_connections", "0",
           "cancel_timeout_ms", "60000", "connect_timeout_ms", "60000", "check_after_ms", "1",
           "application_name", "server_test", NULL);
  warm_up(1);
  rig_nap_ms(50);
  assert_true(pg_fixture_pause(&rig_server));
  cenote_lease none;
  cenote_error error = CENOTE_ERROR_INIT;
  const int64_t start = cen_now_ns();
  const cenote_status status = cenote_acquire(rig.manager, "acquire", 200, &none, &error);
  const int64_t took_ms = (cen_now_ns() - start) / CEN_NS_PER_MS;
  assert_true(pg_fixture_resume(&rig_server));
  assert_int_equal(status, CENOTE_TIMEOUT);
  assert_non_null(strstr(error.message, "timeout"));
  assert_true(took_ms < 10000);
  rig_close(&rig);
}

static void thundering_herd(void **state)
{
  enum { HERD = 50 };
  struct rig_thread threads[HERD];
  struct waiting waiting[HERD];
  (void)state;
  struct fault_proxy *proxy =
      fault_proxy_start("127.0.0.1", (int)strtol(rig_var("POSTGRES_PORT"), NULL, 10));
  char url[128];
  assert_non_null(proxy);
  fault_proxy_delay(proxy, 150);
  snprintf(url, sizeof url, "postgresql://trusted@127.0.0.1:%d/cenote?sslmode=disable",
           fault_proxy_port(proxy));
  rig.options = (cenote_options)CENOTE_OPTIONS_INIT;
  rig_open(&rig, url, "max_connections", "4", "min_connections", "0", "max_opening", "4", NULL);
  for (int i = 0; i < HERD; i++) {
    waiting[i].status = CENOTE_INTERNAL;
    rig_thread_start(&threads[i], 0, wait_for_one, &waiting[i]);
  }
  for (int done = 0; done < HERD;) {
    cenote_lease_info live[8];
    size_t count = 0;
    for (size_t i = 0; i < 8; i++) {
      live[i] = (cenote_lease_info)CENOTE_LEASE_INFO_INIT;
    }
    assert_int_equal(cenote_pool_leases(rig.manager, live, 8, &count), CENOTE_OK);
    assert_true(count <= 4);
    for (size_t i = 0; i < count; i++) {
      done += cenote_release(live[i].lease) == CENOTE_OK;
    }
    assert_true(fault_proxy_accepted(proxy) <= 4);
    assert_true(rig_statistics(rig.manager).total_connections <= 4);
    rig_nap_ms(1);
  }
  for (int i = 0; i < HERD; i++) {
    rig_thread_join(&threads[i]);
    assert_int_equal(waiting[i].status, CENOTE_OK);
  }
  assert_true(rig_statistics(rig.manager).connections_created <= 4);
  rig_close(&rig);
  fault_proxy_stop(proxy);
}

/* ------------------------------------------------------------------------- refusing */

struct crowd {
  _Atomic unsigned good, bad;
};

static void crowd_round(void *context)
{
  struct crowd *crowd = context;
  for (int i = 0; i < 20; i++) {
    cenote_lease lease;
    cenote_error error = CENOTE_ERROR_INIT;
    cenote_status status = cenote_acquire(rig.manager, "crowd", RIG_PATIENCE_MS, &lease, &error);
    if (status == CENOTE_OK) {
      status = rig_run(lease, "select pg_sleep(0.01)", &error);
      (void)cenote_release(lease);
    }
    atomic_fetch_add(status == CENOTE_OK ? &crowd->good : &crowd->bad, 1);
  }
}

static void server_refuses_53300(void **state)
{
  enum { STRANGERS = 5, CROWD = 16 };
  PGconn *strangers[STRANGERS];
  struct rig_thread threads[CROWD];
  struct crowd crowd = {0};
  (void)state;
  for (int i = 0; i < STRANGERS; i++) {
    strangers[i] = PQconnectdb(rig_var("POSTGRES_URL"));
    assert_int_equal(PQstatus(strangers[i]), CONNECTION_OK);
  }
  open_pool("20", "0");
  for (int i = 0; i < CROWD; i++) {
    rig_thread_start(&threads[i], 0, crowd_round, &crowd);
  }
  for (int i = 0; i < CROWD; i++) {
    rig_thread_join(&threads[i]);
  }
  cenote_statistics statistics = rig_statistics(rig.manager);
  print_message("# %" PRId64 " connections, %" PRIu64 " refused\n", statistics.total_connections,
                statistics.connection_errors);
  assert_int_equal(atomic_load(&crowd.bad), 0);
  assert_true(statistics.total_connections <= USABLE - STRANGERS);
  assert_true(statistics.connection_errors >= 1 && statistics.connection_errors <= 60);
  assert_int_equal(statistics.breaker_opened, 0); /* those that are open work */

  /* The strangers go: the pool grows again. */
  for (int i = 0; i < STRANGERS; i++) {
    PQfinish(strangers[i]);
  }
  cenote_lease leases[USABLE];
  for (int i = 0; i < USABLE - 1; i++) { /* a stranger's slot may take a moment to come free */
    leases[i] = rig_acquire(rig.manager, "grown");
  }
  for (int i = 0; i < USABLE - 1; i++) {
    rig_must_run(leases[i], "select 1");
    rig_release(leases[i]);
  }
  rig_close(&rig);
}

static void expect_no_secret(const cenote_error *error)
{
  assert_null(strstr(error->message, "seventeen"));
  assert_null(strstr(error->details, "seventeen"));
  assert_int_equal(rig_logged(&rig, "seventeen"), 0);
}

static void password_rotates(void **state)
{
  (void)state;
  static struct rig_secret secret = {PTHREAD_MUTEX_INITIALIZER, "old-seventeen"};
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_lease none;
  char url[160];
  snprintf(url, sizeof url, "postgresql://rotating@127.0.0.1:%s/cenote", rig_var("POSTGRES_PORT"));
  admin_run("create role rotating login password 'old-seventeen'");
  rig.options = (cenote_options)CENOTE_OPTIONS_INIT;
  rig.options.password = rig_tell_password;
  rig.options.password_context = &secret;
  open_named(url, "3", "0");
  const cenote_lease old = rig_acquire(rig.manager, "old");
  const int64_t pid = rig_integer(old, "select pg_backend_pid()");
  admin_run("alter role rotating password 'new-seventeen'");
  rig_must_run(old, "select 1"); /* a session that is in stays in */
  rig_release(old);
  assert_int_equal(cenote_flush(rig.manager, &error), CENOTE_OK);

  /* Only the new secret helps; who waits learns it without waiting for his time-out. */
  const int64_t start = cen_now_ns();
  assert_int_equal(cenote_acquire(rig.manager, "refused", 60000, &none, &error), CENOTE_AUTH);
  assert_true(cen_now_ns() - start < 30000 * CEN_NS_PER_MS);
  assert_string_equal(error.sqlstate, "28P01");
  expect_no_secret(&error);
  assert_true(rig_statistics(rig.manager).login_failures >= 1);

  rig_change_secret(&secret, "new-seventeen");
  cenote_lease lease;
  cenote_status status;
  const int64_t end = cen_deadline_ns(cen_now_ns(), RIG_PATIENCE_MS);
  while ((status = cenote_acquire(rig.manager, "new", 5000, &lease, &error)) == CENOTE_AUTH &&
         cen_now_ns() < end) {
    rig_nap_ms(10);
  }
  assert_int_equal(status, CENOTE_OK);
  assert_int_not_equal(rig_integer(lease, "select pg_backend_pid()"), pid);
  rig_release(lease);
  expect_no_secret(&error);
  rig_close(&rig);
}

int main(void)
{
  if (!pg_fixture_start(&rig_server, SERVER_CONNECTIONS)) {
    return pg_fixture_skip(&rig_server);
  }
  admin_run("create table survivors (n int); grant all on survivors to app");
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(restart_all_stale),
      cmocka_unit_test(restart_just_after_use_fails_once),
      cmocka_unit_test(database_down_then_up),
      cmocka_unit_test(connect_blackhole),
      cmocka_unit_test(stopped_server_holds_nobody),
      cmocka_unit_test(acquire_on_a_stopped_server_keeps_its_time),
      cmocka_unit_test(thundering_herd),
      cmocka_unit_test(server_refuses_53300),
      cmocka_unit_test(password_rotates),
  };
  int failed = cmocka_run_group_tests_name("pool_server", tests, NULL, NULL);
  pg_fixture_stop(&rig_server);
  return failed;
}
