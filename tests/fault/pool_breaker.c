/*
 * The circuit breakers on a real server: it goes away and comes back, it refuses the login, and
 * nobody but the manager itself has to notice.
 */
#include "fault/pool_rig.h"
#include "support/fault_proxy.h"

#include <inttypes.h>

static struct rig rig;

/* What the audit sink was told, as "reason\n". */
static struct {
  pthread_mutex_t lock;
  char text[1 << 16];
  size_t size;
} audit = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void note_audit(void *context, const cenote_audit_event *event)
{
  (void)context;
  if (event->kind != CENOTE_AUDIT_BREAKER_MOVED) {
    return;
  }
  pthread_mutex_lock(&audit.lock);
  const size_t room = sizeof audit.text - audit.size;
  const int wrote = snprintf(audit.text + audit.size, room, "%s\n", event->reason);
  audit.size += wrote > 0 && (size_t)wrote < room ? (size_t)wrote : 0;
  pthread_mutex_unlock(&audit.lock);
}

static bool was_told(const char *text)
{
  pthread_mutex_lock(&audit.lock);
  const bool told = strstr(audit.text, text) != NULL;
  pthread_mutex_unlock(&audit.lock);
  return told;
}

static void begin(void)
{
  rig.options = (cenote_options)CENOTE_OPTIONS_INIT;
  rig.options.audit = note_audit;
  pthread_mutex_lock(&audit.lock);
  memset(audit.text, 0, sizeof audit.text);
  audit.size = 0;
  pthread_mutex_unlock(&audit.lock);
}

static void wait_breaker(cenote_breaker_state wanted)
{
  const int64_t end = cen_deadline_ns(cen_now_ns(), RIG_PATIENCE_MS);
  while (rig_statistics(rig.manager).breaker != wanted) {
    if (cen_now_ns() > end) {
      fail_msg("the breaker is not %s", cenote_breaker_name(wanted));
    }
    rig_nap_ms(5);
  }
}

static unsigned failed_probes(void)
{
  struct cen_breaker *breaker = &rig.manager->breaker;
  pthread_mutex_lock(&breaker->lock);
  const unsigned failed = breaker->failed_probes;
  pthread_mutex_unlock(&breaker->lock);
  return failed;
}

/* As callers meet it: their connection is dead, and none comes. */
static void ask_until_open(void)
{
  const int64_t end = cen_deadline_ns(cen_now_ns(), RIG_PATIENCE_MS);
  while (rig_statistics(rig.manager).breaker_opened == 0) {
    cenote_lease lease;
    assert_true(cen_now_ns() < end);
    if (cenote_acquire(rig.manager, "asks", 100, &lease, NULL) == CENOTE_OK) {
      (void)rig_run(lease, "select 1", NULL);
      (void)cenote_release(lease);
    }
    rig_nap_ms(5);
  }
}

static void server_stops_and_comes_back(const char *minimum)
{
  begin();
  rig_open(&rig, rig_var("POSTGRES_URL"), "max_connections", "4", "min_connections", minimum,
           "breaker_open_max_ms", "2000", NULL);
  rig_release(rig_acquire(rig.manager, "before"));
  assert_true(pg_fixture_kill(&rig_server));
  ask_until_open();
  wait_breaker(CENOTE_BREAKER_IS_OPEN);

  cenote_error error = CENOTE_ERROR_INIT;
  cenote_lease none;
  const int64_t start = cen_now_ns();
  cenote_status status = CENOTE_BREAKER_OPEN;
  for (int refused = 0; refused < 10; refused += status == CENOTE_BREAKER_OPEN) {
    status = cenote_acquire(rig.manager, "refused", 600000, &none, &error);
    /* or it waits for a probe, which fails */
    assert_true(status == CENOTE_BREAKER_OPEN || status == CENOTE_CONNECT);
    assert_true(cen_now_ns() - start < RIG_PATIENCE_MS * CEN_NS_PER_MS);
  }
  assert_non_null(strstr(error.message, "circuit breaker is open since"));
  assert_non_null(strstr(error.message, "connection to server"));
  assert_true(rig_statistics(rig.manager).breaker_rejections >= 10);
  cenote_health_status health;
  assert_int_equal(cenote_health(rig.manager, false, &health, &error), CENOTE_OK);
  assert_int_equal(health, CENOTE_UNHEALTHY);

  assert_true(pg_fixture_restart(&rig_server));
  wait_breaker(CENOTE_BREAKER_CLOSED); /* nobody asks */
  const cenote_lease lease = rig_acquire(rig.manager, "after");
  assert_int_equal(rig_integer(lease, "select 42"), 42);
  rig_release(lease);
  assert_true(was_told("open: connection to server"));
  assert_true(was_told("half-open\n"));
  assert_true(was_told("closed\n"));
  assert_true(rig_logged(&rig, "closed after") >= 1);
  rig_close(&rig);
}

static void a_server_that_comes_back_is_noticed_without_callers(void **state)
{
  (void)state;
  server_stops_and_comes_back("2");
}

static void nor_does_it_need_a_minimum_of_connections(void **state)
{
  (void)state;
  server_stops_and_comes_back("0");
}

static void a_failing_probe_doubles_the_time_to_the_next(void **state)
{
  (void)state;
  begin();
  rig_open(&rig, rig_var("POSTGRES_URL"), "max_connections", "4", "min_connections", "2",
           "breaker_window_ms", "1000", "breaker_open_ms", "50", "breaker_open_max_ms", "60000",
           NULL);
  rig_release(rig_acquire(rig.manager, "before"));
  assert_true(pg_fixture_kill(&rig_server));
  ask_until_open();
  const unsigned already = failed_probes();
  const uint64_t before = rig_statistics(rig.manager).connection_errors;
  const int64_t end = cen_deadline_ns(cen_now_ns(), RIG_PATIENCE_MS);
  while (failed_probes() < 5) {
    assert_true(cen_now_ns() < end);
    rig_nap_ms(5);
  }
  struct cen_breaker_view view;
  cen_breaker_look(&rig.manager->breaker, &view);
  /* 50, 100, 200, 400, 800 ms, each less a quarter at least: one connect each, whatever the pool's
   * own back-off and its minimum would like. */
  assert_true(cen_now_ns() - view.opened_ns > 1100 * CEN_NS_PER_MS);
  const uint64_t attempts = rig_statistics(rig.manager).connection_errors - before;
  print_message("# %" PRIu64 " attempts, %u failed before\n", attempts, already);
  assert_true(attempts + already + 1 >= 5 && attempts <= 7);
  assert_true(pg_fixture_restart(&rig_server));
  wait_breaker(CENOTE_BREAKER_CLOSED);
  assert_int_equal(failed_probes(), 0);
  rig_close(&rig);
}

static void a_shutdown_does_not_wait_for_an_open_breaker(void **state)
{
  (void)state;
  begin();
  rig_open(&rig, rig_var("POSTGRES_URL"), "max_connections", "2", "min_connections", "1",
           "breaker_open_ms", "600000", "breaker_open_max_ms", "600000", NULL);
  rig_release(rig_acquire(rig.manager, "before"));
  assert_true(pg_fixture_kill(&rig_server));
  ask_until_open();
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_lease none;
  const cenote_status ended = cenote_shutdown(rig.manager, RIG_PATIENCE_MS, &error);
  assert_true(pg_fixture_restart(&rig_server));
  assert_int_equal(ended, CENOTE_OK);
  assert_int_equal(cenote_acquire(rig.manager, "late", 0, &none, &error), CENOTE_SHUTTING_DOWN);
  rig_close(&rig);
}

/* Many callers with a wrong password: the server sees three logins, and then one a pause. */
static void a_wrong_password_does_not_lock_the_account(void **state)
{
  (void)state;
  static struct rig_secret secret = {PTHREAD_MUTEX_INITIALIZER, "wrong-seventeen"};
  struct fault_proxy *proxy =
      fault_proxy_start("127.0.0.1", (int)strtol(rig_var("POSTGRES_PORT"), NULL, 10));
  char url[128];
  assert_non_null(proxy);
  admin_run("create role guarded login password 'right-seventeen'");
  snprintf(url, sizeof url, "postgresql://guarded@127.0.0.1:%d/cenote?sslmode=disable",
           fault_proxy_port(proxy));
  begin();
  rig.options.password = rig_tell_password;
  rig.options.password_context = &secret;
  rig_open(&rig, url, "max_connections", "8", "min_connections", "4", "connect_backoff_ms", "1",
           "connect_backoff_max_ms", "10", "breaker_open_ms", "1000", "breaker_open_max_ms", "1000",
           NULL);
  const int64_t start = cen_now_ns();
  uint64_t refused = 0;
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_lease lease;
  while (cen_now_ns() - start < 4000 * CEN_NS_PER_MS) {
    const cenote_status status = cenote_acquire(rig.manager, "impatient", 50, &lease, &error);
    assert_int_not_equal(status, CENOTE_OK);
    if (status == CENOTE_BREAKER_OPEN) {
      refused++;
      assert_non_null(strstr(error.message, "login circuit breaker"));
      assert_string_equal(error.sqlstate, "28P01");
      assert_null(strstr(error.message, "seventeen"));
    }
    rig_nap_ms(2);
  }
  const int64_t seconds = (cen_now_ns() - start) / (1000 * CEN_NS_PER_MS) + 1;
  const int logins = (int)fault_proxy_accepted(proxy);
  print_message("# %d logins in %" PRId64 " s, %" PRIu64 " callers refused\n", logins, seconds,
                refused);
  assert_true(refused > 10);
  assert_true(logins >= 3);
  /* Three open it, up to three more may have been under way, then one in three quarters of a
   * second. */
  assert_true(logins <= 6 + seconds * 4 / 3 + 1);
  assert_int_equal(rig_statistics(rig.manager).breaker_opened > 0, true);
  assert_int_equal(rig_statistics(rig.manager).breaker, CENOTE_BREAKER_CLOSED);
  assert_true(was_told("login open: "));

  rig_change_secret(&secret, "right-seventeen");
  rig_wait_idle(rig.manager, 4); /* by the next probe; nobody asks, but the minimum is missing */
  assert_int_equal(rig_statistics(rig.manager).login_breaker, CENOTE_BREAKER_CLOSED);
  rig_release(rig_acquire(rig.manager, "in"));
  assert_int_equal(rig_logged(&rig, "seventeen"), 0);
  rig_close(&rig);
  fault_proxy_stop(proxy);
}

/* A function raises what it likes, or says what dblink said of another server. */
static void what_a_function_raises_opens_nothing(void **state)
{
  (void)state;
  begin();
  rig_open(&rig, rig_var("POSTGRES_URL"), "breaker_failures", "2", "breaker_window_ms", "1000",
           NULL);
  for (int i = 0; i < 30; i++) {
    cenote_error error = CENOTE_ERROR_INIT;
    assert_int_equal(
        cenote_query(rig.manager,
                     "do $$ begin raise exception 'elsewhere' using errcode = '08001'; "
                     "end $$",
                     NULL, 0, NULL, NULL, &error),
        CENOTE_DATABASE);
    assert_string_equal(error.sqlstate, "08001");
    rig_nap_ms(50);
  }
  const cenote_statistics now = rig_statistics(rig.manager);
  assert_int_equal(now.breaker_opened, 0);
  assert_int_equal(now.retries, 0);
  rig_close(&rig);
}

int main(void)
{
  if (!pg_fixture_start(&rig_server, NULL)) {
    return pg_fixture_skip(&rig_server);
  }
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_server_that_comes_back_is_noticed_without_callers),
      cmocka_unit_test(nor_does_it_need_a_minimum_of_connections),
      cmocka_unit_test(a_failing_probe_doubles_the_time_to_the_next),
      cmocka_unit_test(a_shutdown_does_not_wait_for_an_open_breaker),
      cmocka_unit_test(a_wrong_password_does_not_lock_the_account),
      cmocka_unit_test(what_a_function_raises_opens_nothing),
  };
  const int failed = cmocka_run_group_tests_name("pool_breaker", tests, NULL, NULL);
  pg_fixture_stop(&rig_server);
  return failed;
}
