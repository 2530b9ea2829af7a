/* manager_breaker.c - the circuit breakers in the manager: who is refused, who is not, who probes,
 * and that it ends. */
#include "manager_help.h"

#include "manager/manager.h"

#include <cenote/loop.h>
#include <poll.h>

/* Opens after a tenth of a second of failures; the pause is the test's. */
static void set_quick(struct place *place, const char *open_ms, const char *open_max_ms)
{
  place_init(place);
  place_set(place, "connect_backoff_ms", "5");
  place_set(place, "connect_backoff_max_ms", "40");
  place_set(place, "breaker_window_ms", "1000");
  place_set(place, "breaker_open_ms", open_ms);
  place_set(place, "breaker_open_max_ms", open_max_ms);
}

static bool is_open(struct place *place)
{
  return statistics_of(place->manager).breaker == CENOTE_BREAKER_IS_OPEN;
}

static bool is_closed(struct place *place)
{
  const cenote_statistics now = statistics_of(place->manager);
  return now.breaker == CENOTE_BREAKER_CLOSED && now.login_breaker == CENOTE_BREAKER_CLOSED;
}

static cenote_status try_acquire(struct place *place, int64_t timeout_ms)
{
  cenote_lease lease;
  const cenote_status status =
      cenote_acquire(place->manager, "caller", timeout_ms, &lease, &place->error);
  if (status == CENOTE_OK) {
    must_release(lease);
  }
  return status;
}

/* The minimum's own connects fail until it opens. */
static void open_with_database_down(struct place *place, const char *minimum)
{
  fake_fail(&place->script, CENOTE_REQUEST_OPEN, CENOTE_CONNECT, -1);
  place_open_with(place, minimum, "4");
  while (statistics_of(place->manager).breaker_opened == 0) {
    (void)try_acquire(place, 20);
  }
}

static void while_it_is_open_callers_fail_at_once_and_are_told_why(void **state)
{
  (void)state;
  struct place place;
  set_quick(&place, "600000", "600000");
  open_with_database_down(&place, "1");
  const uint64_t refused = statistics_of(place.manager).breaker_rejections;
  for (int i = 0; i < 3; i++) {
    const int64_t start = now_ms();
    expect(CENOTE_BREAKER_OPEN, try_acquire(&place, 600000), &place.error);
    assert_true(now_ms() - start < PATIENCE_MS);
    has_text(place.error.message, "circuit breaker is open since");
    has_text(place.error.message, "the acquire timeout is not waited for");
    has_text(place.error.message, "next attempt in");
    has_text(place.error.message, "scripted failure");
    assert_true(place.error.retryable);
  }
  assert_int_equal(statistics_of(place.manager).breaker_rejections, refused + 3);
  assert_int_equal(statistics_of(place.manager).breaker_opened, 1);
  assert_int_equal(noted(&place.notes, "circuit breaker for fake://place open"), 1);
  assert_int_equal(noted(&place.notes, "audit: breaker open: scripted failure"), 1);
  const uint64_t attempts = started(&place, CENOTE_REQUEST_OPEN);
  pause_ms(100);
  assert_int_equal(started(&place, CENOTE_REQUEST_OPEN), attempts); /* nor does the pool try */
  place_close(&place); /* does not wait for the next attempt */
}

static void recovery_is_noticed_without_any_caller(void **state)
{
  (void)state;
  static const char *const minimums[] = {"1", "0"};
  for (size_t i = 0; i < 2; i++) {
    struct place place;
    set_quick(&place, "50", "100");
    open_with_database_down(&place, minimums[i]);
    wait_until(statistics_of(place.manager).breaker_opened >= 4); /* probes fail */
    fake_fail(&place.script, CENOTE_REQUEST_OPEN, CENOTE_CONNECT, 0);
    wait_until(is_closed(&place));
    expect(CENOTE_OK, try_acquire(&place, PATIENCE_MS), &place.error);
    assert_true(noted(&place.notes, "circuit breaker for fake://place closed after") == 1);
    assert_true(noted(&place.notes, "audit: breaker half-open") >= 4);
    assert_int_equal(noted(&place.notes, "audit: breaker closed"), 1);
    assert_int_equal(atomic_load(&place.manager->pool.gate), 0); /* the fast path is back */
    place_close(&place);
  }
}

static void probes_grow_rare(void **state)
{
  (void)state;
  struct place place;
  set_quick(&place, "20", "600000");
  open_with_database_down(&place, "2");
  wait_until(statistics_of(place.manager).breaker_opened >= 5);
  /* Each failed probe doubles: 20, 40, 80, 160 ms; each one is one connect. */
  struct cen_breaker_view view;
  cen_breaker_look(&place.manager->breaker, &view);
  assert_true(view.state != CENOTE_BREAKER_IS_OPEN ||
              view.next_ns - view.since_ns >= 200 * CEN_NS_PER_MS);
  place_close(&place);
}

static void who_waits_already_learns_what_the_server_said_when_it_opens(void **state)
{
  (void)state;
  struct place place;
  set_quick(&place, "600000", "600000");
  fake_fail(&place.script, CENOTE_REQUEST_OPEN, CENOTE_CONNECT, -1);
  place_open_with(&place, "0", "1");
  expect(CENOTE_CONNECT, try_acquire(&place, PATIENCE_MS), &place.error);
  has_text(place.error.message, "scripted failure");
  has_text(place.error.message, "into the acquire timeout)");
  has_text(place.error.details, "the circuit breaker has opened");
  assert_true(place.error.retryable);
  assert_int_equal(statistics_of(place.manager).breaker_opened, 1);
  assert_int_equal(statistics_of(place.manager).acquire_refused, 1);
  expect(CENOTE_BREAKER_OPEN, try_acquire(&place, PATIENCE_MS), &place.error);
  place_close(&place);
}

static void so_does_a_query_and_it_is_not_tried_again(void **state)
{
  (void)state;
  struct place place;
  set_quick(&place, "600000", "600000");
  fake_fail(&place.script, CENOTE_REQUEST_OPEN, CENOTE_CONNECT, -1);
  place_open_with(&place, "0", "1");
  expect(CENOTE_CONNECT, cenote_query(place.manager, "select 1", NULL, 0, NULL, NULL, &place.error),
         &place.error);
  has_text(place.error.message, "scripted failure");
  assert_int_equal(statistics_of(place.manager).retries, 0);
  place_close(&place);
}

static void nap_ms(int ms)
{
  const int none = poll(NULL, 0, ms);
  (void)none;
}

static void *waits(void *context)
{
  struct place *place = context;
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_lease lease;
  const cenote_status status = cenote_acquire(place->manager, "waits", PATIENCE_MS, &lease, &error);
  if (status == CENOTE_OK) {
    must_release(lease);
  }
  return (void *)(intptr_t)status;
}

static void who_may_get_what_somebody_holds_goes_on_waiting(void **state)
{
  (void)state;
  struct place place;
  pthread_t thread;
  void *status;
  set_quick(&place, "600000", "600000");
  place_open_with(&place, "0", "2");
  const cenote_lease held = must_acquire(place.manager, "holds");
  fake_fail(&place.script, CENOTE_REQUEST_OPEN, CENOTE_CONNECT, -1);
  assert_int_equal(pthread_create(&thread, NULL, waits, &place), 0);
  while (statistics_of(place.manager).breaker_opened == 0) {
    nap_ms(5);
  }
  nap_ms(50);
  assert_int_equal(statistics_of(place.manager).waiters, 1);
  must_release(held);
  pthread_join(thread, &status);
  assert_int_equal((intptr_t)status, CENOTE_OK);
  place_close(&place);
}

struct told {
  _Atomic int status; /* -1: not yet */
  char message[512];
  cenote_lease lease;
};

static void note_outcome(void *context, cenote_status status, cenote_lease lease,
                         const cenote_error *error)
{
  struct told *told = context;
  memcpy(told->message, error->message, sizeof told->message);
  told->lease = lease;
  atomic_store(&told->status, (int)status);
}

static void an_asynchronous_acquire_is_refused_too(void **state)
{
  (void)state;
  struct place place;
  struct told told = {.status = -1};
  set_quick(&place, "600000", "600000");
  open_with_database_down(&place, "1");
  must(
      cenote_acquire_async(place.manager, "later", 600000, note_outcome, &told, NULL, &place.error),
      &place.error);
  wait_until(atomic_load(&told.status) >= 0);
  assert_int_equal(atomic_load(&told.status), CENOTE_BREAKER_OPEN);
  has_text(told.message, "circuit breaker is open since");
  place_close(&place);
}

static void a_host_s_loop_sends_the_probe(void **state)
{
  (void)state;
  struct place place;
  struct told told = {.status = -1};
  set_quick(&place, "50", "100");
  place.options.external_loop = true;
  fake_fail(&place.script, CENOTE_REQUEST_OPEN, CENOTE_CONNECT, -1);
  place_open_with(&place, "1", "2");
  const int64_t end = now_ms() + PATIENCE_MS;
  bool was_open = false;
  while (now_ms() < end && !(was_open && is_closed(&place))) {
    struct pollfd slot = {.fd = cenote_pollfd(place.manager), .events = POLLIN};
    const int64_t due = cenote_next_deadline(place.manager);
    assert_true(due >= 0); /* with a breaker open there is always something to come back for */
    (void)poll(&slot, 1, due > 1000 ? 1000 : (int)due);
    must(cenote_dispatch(place.manager, &place.error), &place.error);
    if (!was_open && statistics_of(place.manager).breaker_opened >= 3) {
      was_open = true;
      fake_fail(&place.script, CENOTE_REQUEST_OPEN, CENOTE_CONNECT, 0);
    }
  }
  assert_true(was_open && is_closed(&place));
  must(cenote_acquire_async(place.manager, "now", PATIENCE_MS, note_outcome, &told, NULL,
                            &place.error),
       &place.error);
  while (atomic_load(&told.status) < 0) {
    must(cenote_dispatch(place.manager, &place.error), &place.error);
  }
  assert_int_equal(atomic_load(&told.status), CENOTE_OK);
  must_release(told.lease);
  place_close(&place);
}

/* ----------------------------------------------------------- what is no failure */

static void connections_that_work_are_not_cut_off_by_connects_that_fail(void **state)
{
  (void)state;
  struct place place;
  set_quick(&place, "600000", "600000");
  place.settings[2].value = "4000"; /* breaker_window_ms: the test may stand still for a while */
  place_open_with(&place, "1", "4");
  const cenote_lease lease = must_acquire(place.manager, "works");
  for (int i = 0; i < 100; i++) { /* whoever comes first after this */
    must_run(lease, "SELECT 1");
  }
  fake_fail(&place.script, CENOTE_REQUEST_OPEN, CENOTE_CONNECT, -1);
  const int64_t end = now_ms() + 700;
  struct told told = {.status = -1}; /* somebody who needs another one */
  must(
      cenote_acquire_async(place.manager, "waits", 600000, note_outcome, &told, NULL, &place.error),
      &place.error);
  while (now_ms() < end ||
         (statistics_of(place.manager).connection_errors < 5 && now_ms() < end + PATIENCE_MS)) {
    must_run(lease, "SELECT 1");
  }
  assert_true(statistics_of(place.manager).connection_errors >= 5);
  assert_int_equal(statistics_of(place.manager).breaker_opened, 0);
  must_release(lease);
  wait_until(atomic_load(&told.status) >= 0);
  assert_int_equal(atomic_load(&told.status), CENOTE_OK);
  must_release(told.lease);
  place_close(&place);
}

static void errors_of_the_database_are_answers(void **state)
{
  (void)state;
  struct place place;
  set_quick(&place, "600000", "600000");
  place_open_with(&place, "1", "1");
  const cenote_lease lease = must_acquire(place.manager, "wrong");
  for (int i = 0; i < 100; i++) {
    expect(CENOTE_DATABASE, run_sql(lease, "error 23505", &place.error), &place.error);
    pause_ms(3);
  }
  assert_int_equal(statistics_of(place.manager).breaker_opened, 0);
  must_release(lease);
  place_close(&place);
}

static void a_pooler_that_answers_for_a_dead_server_opens_it(void **state)
{
  (void)state;
  struct place place;
  set_quick(&place, "600000", "600000");
  place_open_with(&place, "1", "1");
  const cenote_lease lease = must_acquire(place.manager, "behind a pooler");
  for (int i = 0; i < 1000 && !is_open(&place); i++) {
    (void)run_sql(lease, "error 08006", &place.error);
    pause_ms(5);
  }
  assert_true(is_open(&place));
  must_run(lease, "SELECT 1"); /* a lease that is held goes on */
  assert_true(is_open(&place));
  must_release(lease);
  expect(CENOTE_BREAKER_OPEN, try_acquire(&place, 100), &place.error);
  assert_string_equal(place.error.sqlstate, "08006");
  place_close(&place);
}

static void connections_that_die_together_are_one_event(void **state)
{
  (void)state;
  enum { MANY = 20 };
  struct place place;
  cenote_lease leases[MANY];
  place_init(&place);
  place_set(&place, "breaker_window_ms", "600000"); /* a tenth of it is no moment */
  place_open_with(&place, "0", "20");
  for (int i = 0; i < MANY; i++) {
    leases[i] = must_acquire(place.manager, "together");
  }
  for (int i = 0; i < MANY; i++) {
    assert_int_not_equal(run_sql(leases[i], "lose", &place.error), CENOTE_OK);
    must_release(leases[i]);
  }
  assert_int_equal(statistics_of(place.manager).breaker_opened, 0);
  expect(CENOTE_OK, try_acquire(&place, PATIENCE_MS), &place.error);
  place_close(&place);
}

static void what_we_cut_off_ourselves_is_no_failure(void **state)
{
  (void)state;
  struct place place;
  set_quick(&place, "600000", "600000");
  place_set(&place, "cancel_timeout_ms", "1");
  place_open_with(&place, "1", "1");
  atomic_store(&place.script.deaf, true); /* only an abort helps */
  for (int i = 0; i < 8; i++) {
    const cenote_lease lease = must_acquire_for(place.manager, "held too long", 20);
    assert_int_not_equal(run_sql(lease, "hang", &place.error), CENOTE_OK);
    (void)cenote_release(lease);
  }
  assert_int_equal(statistics_of(place.manager).lease_timeouts, 8);
  assert_int_equal(statistics_of(place.manager).breaker_opened, 0);
  place_close(&place);
}

static void with_limits_of_nought_nobody_is_ever_refused(void **state)
{
  (void)state;
  struct place place;
  set_quick(&place, "600000", "600000");
  place_set(&place, "breaker_failures", "0");
  place_set(&place, "login_breaker_failures", "0");
  fake_fail(&place.script, CENOTE_REQUEST_OPEN, CENOTE_CONNECT, -1);
  place_open_with(&place, "1", "1");
  wait_until(statistics_of(place.manager).connection_errors >= 15);
  assert_int_equal(statistics_of(place.manager).breaker_opened, 0);
  expect(CENOTE_TIMEOUT, try_acquire(&place, 20), &place.error);
  fake_fail(&place.script, CENOTE_REQUEST_OPEN, CENOTE_AUTH, -1);
  const uint64_t before = statistics_of(place.manager).login_failures;
  wait_until(statistics_of(place.manager).login_failures >= before + 5);
  assert_int_equal(statistics_of(place.manager).breaker_opened, 0);
  place_close(&place);
}

/* ------------------------------------------------------------------------ logins */

static void refused_logins_are_not_repeated_until_a_probe_is_due(void **state)
{
  (void)state;
  struct place place;
  set_quick(&place, "600000", "600000");
  fake_fail(&place.script, CENOTE_REQUEST_OPEN, CENOTE_AUTH, -1);
  place_open_with(&place, "1", "4");
  wait_until(statistics_of(place.manager).login_breaker == CENOTE_BREAKER_IS_OPEN);
  for (int i = 0; i < 20; i++) {
    expect(CENOTE_BREAKER_OPEN, try_acquire(&place, 600000), &place.error);
    has_text(place.error.message, "login circuit breaker is open since");
    pause_ms(5);
  }
  assert_int_equal(statistics_of(place.manager).login_failures, 3);
  assert_int_equal(started(&place, CENOTE_REQUEST_OPEN), 3);
  assert_int_equal(statistics_of(place.manager).breaker, CENOTE_BREAKER_CLOSED); /* it answers */
  assert_int_equal(noted(&place.notes, "audit: breaker login open: scripted failure"), 1);
  place_close(&place);
}

static void a_changed_password_helps_at_the_next_probe(void **state)
{
  (void)state;
  static const char *const minimums[] = {"1", "0"};
  for (size_t i = 0; i < 2; i++) {
    struct place place;
    set_quick(&place, "50", "50");
    fake_fail(&place.script, CENOTE_REQUEST_OPEN, CENOTE_AUTH, -1);
    place_open_with(&place, minimums[i], "4");
    while (statistics_of(place.manager).login_breaker == CENOTE_BREAKER_CLOSED) {
      (void)try_acquire(&place, 10);
    }
    fake_fail(&place.script, CENOTE_REQUEST_OPEN, CENOTE_AUTH, 0);
    wait_until(try_acquire(&place, 1000) == CENOTE_OK);
    assert_true(is_closed(&place));
    place_close(&place);
  }
}

/* Nobody needs a connection: then the account is left alone. */
static void without_demand_no_login_is_tried(void **state)
{
  (void)state;
  struct place place;
  set_quick(&place, "1", "1");
  place_set(&place, "login_breaker_failures", "1");
  fake_fail(&place.script, CENOTE_REQUEST_OPEN, CENOTE_AUTH, 1);
  place_open_with(&place, "0", "4");
  assert_int_not_equal(try_acquire(&place, 1000), CENOTE_OK);
  wait_until(statistics_of(place.manager).login_breaker != CENOTE_BREAKER_CLOSED);
  pause_ms(100);
  assert_int_equal(started(&place, CENOTE_REQUEST_OPEN), 1);
  expect(CENOTE_OK, try_acquire(&place, PATIENCE_MS), &place.error); /* who asks is the probe's */
  assert_true(is_closed(&place));
  place_close(&place);
}

static void sessions_that_are_in_stay_in(void **state)
{
  (void)state;
  struct place place;
  set_quick(&place, "600000", "600000");
  place_open_with(&place, "1", "2");
  const cenote_lease one = must_acquire(place.manager, "in");
  fake_fail(&place.script, CENOTE_REQUEST_OPEN, CENOTE_AUTH, -1);
  struct told told = {.status = -1};
  must(
      cenote_acquire_async(place.manager, "waits", 600000, note_outcome, &told, NULL, &place.error),
      &place.error);
  wait_until(statistics_of(place.manager).login_breaker == CENOTE_BREAKER_IS_OPEN);
  must_run(one, "SELECT 1");
  must_release(one); /* goes to the one who waits, though nobody can log in */
  wait_until(atomic_load(&told.status) >= 0);
  assert_int_equal(atomic_load(&told.status), CENOTE_OK);
  must_release(told.lease);
  expect(CENOTE_OK, try_acquire(&place, PATIENCE_MS), &place.error);
  place_close(&place);
}

/* --------------------------------------------------------------------- together */

static void a_reload_moves_their_limits(void **state)
{
  (void)state;
  struct place place;
  struct cen_settings from;
  bool changed[CEN_SETTING_COUNT] = {[CEN_SET_BREAKER_FAILURES] = true};
  const cenote_setting never = {"breaker_failures", "0"}, usual = {"breaker_failures", "3"};
  cenote_options options = CENOTE_OPTIONS_INIT;
  options.settings_count = 1;
  set_quick(&place, "600000", "600000");
  open_with_database_down(&place, "1");
  const uint64_t opened = statistics_of(place.manager).breaker_opened;
  options.settings = &never;
  assert_int_equal(cen_settings_load(&from, "sqlite:x", &options, NULL, NULL, NULL), CENOTE_OK);
  assert_int_equal(manager_take_settings(place.manager, &from, changed, 4, NULL), CENOTE_OK);
  cen_settings_deinit(&from);
  assert_true(is_closed(&place));
  for (int i = 0; i < 10; i++) {
    (void)try_acquire(&place, 20);
  }
  assert_true(is_closed(&place));
  options.settings = &usual;
  assert_int_equal(cen_settings_load(&from, "sqlite:x", &options, NULL, NULL, NULL), CENOTE_OK);
  assert_int_equal(manager_take_settings(place.manager, &from, changed, 4, NULL), CENOTE_OK);
  cen_settings_deinit(&from);
  while (statistics_of(place.manager).breaker_opened == opened) {
    (void)try_acquire(&place, 20);
  }
  place_close(&place);
}

static void *knock(void *context)
{
  struct place *place = context;
  for (int i = 0; i < 300; i++) {
    cenote_lease lease;
    cenote_error error = CENOTE_ERROR_INIT;
    const cenote_status status = cenote_acquire(place->manager, "knock", 50, &lease, &error);
    if (status == CENOTE_OK) {
      (void)run_sql(lease, "SELECT 1", &error);
      (void)cenote_release(lease);
    } else if (status != CENOTE_TIMEOUT && status != CENOTE_CONNECT &&
               status != CENOTE_BREAKER_OPEN) {
      note(&place->notes, "odd: %s\n", error.message);
    }
    pause_ms(1);
  }
  return NULL;
}

static void it_opens_and_closes_under_many_threads(void **state)
{
  (void)state;
  struct place place;
  pthread_t threads[4];
  set_quick(&place, "10", "40");
  place_set(&place, "check_after_ms", "0");
  place_open_with(&place, "1", "3");
  for (int i = 0; i < 4; i++) {
    threads[i] = start_thread(knock, &place);
  }
  for (int i = 0; i < 3; i++) {
    fake_fail(&place.script, CENOTE_REQUEST_OPEN, CENOTE_CONNECT, -1);
    fake_kill_all(&place.script);
    pause_ms(250);
    fake_fail(&place.script, CENOTE_REQUEST_OPEN, CENOTE_CONNECT, 0);
    pause_ms(150);
  }
  for (int i = 0; i < 4; i++) {
    pthread_join(threads[i], NULL);
  }
  wait_until(is_closed(&place));
  wait_until(try_acquire(&place, 1000) == CENOTE_OK);
  assert_int_equal(noted(&place.notes, "odd: "), 0);
  assert_int_equal(atomic_load(&place.manager->pool.gate), 0);
  assert_null(pool_check(&place.manager->pool));
  place_close(&place);
}

int main(void)
{
#define TEST(name) cmocka_unit_test(name)
  const struct CMUnitTest tests[] = {
      TEST(while_it_is_open_callers_fail_at_once_and_are_told_why),
      TEST(recovery_is_noticed_without_any_caller),
      TEST(probes_grow_rare),
      TEST(who_waits_already_learns_what_the_server_said_when_it_opens),
      TEST(so_does_a_query_and_it_is_not_tried_again),
      TEST(who_may_get_what_somebody_holds_goes_on_waiting),
      TEST(an_asynchronous_acquire_is_refused_too),
      TEST(a_host_s_loop_sends_the_probe),
      TEST(connections_that_work_are_not_cut_off_by_connects_that_fail),
      TEST(errors_of_the_database_are_answers),
      TEST(a_pooler_that_answers_for_a_dead_server_opens_it),
      TEST(connections_that_die_together_are_one_event),
      TEST(what_we_cut_off_ourselves_is_no_failure),
      TEST(with_limits_of_nought_nobody_is_ever_refused),
      TEST(refused_logins_are_not_repeated_until_a_probe_is_due),
      TEST(a_changed_password_helps_at_the_next_probe),
      TEST(without_demand_no_login_is_tried),
      TEST(sessions_that_are_in_stay_in),
      TEST(a_reload_moves_their_limits),
      TEST(it_opens_and_closes_under_many_threads),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
