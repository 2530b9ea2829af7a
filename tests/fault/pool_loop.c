/*
 * A manager that the host's own loop drives, one thread in all, on a real PostgreSQL: poll on the
 * manager's descriptor until its next deadline, dispatch, and nothing else.
 */
#include "fault/pool_rig.h"

#include <cenote/loop.h>

#include <poll.h>

enum { CALLERS = 40 };

static struct rig rig;

struct caller {
  int number;
  unsigned called;
  cenote_status status;
  cenote_lease lease;
  cenote_ticket ticket;
  bool keeps; /* does not use and release it in the callback */
};

static unsigned settled;

static void open_loop(const char *maximum)
{
  rig.options = (cenote_options)CENOTE_OPTIONS_INIT;
  rig.options.external_loop = true;
  rig_open(&rig, rig_var("POSTGRES_URL"), "max_connections", maximum, "min_connections", "1",
           "connect_backoff_max_ms", "200", "application_name", "loop", NULL);
}

static void turn(void)
{
  cenote_error error = CENOTE_ERROR_INIT;
  struct pollfd slot = {.fd = cenote_pollfd(rig.manager), .events = POLLIN};
  const int64_t due = cenote_next_deadline(rig.manager);
  assert_true(slot.fd >= 0);
  (void)poll(&slot, 1, due < 0 || due > 100 ? 100 : (int)due);
  assert_int_equal(cenote_dispatch(rig.manager, &error), CENOTE_OK);
}

static void turn_until_settled(unsigned count)
{
  const int64_t end = cen_deadline_ns(cen_now_ns(), RIG_PATIENCE_MS);
  while (settled < count) {
    assert_true(cen_now_ns() < end);
    turn();
    rig_check(rig.manager);
  }
}

static void turn_until_quiet(void)
{
  const int64_t end = cen_deadline_ns(cen_now_ns(), RIG_PATIENCE_MS);
  struct pool_picture picture;
  do {
    assert_true(cen_now_ns() < end);
    turn();
    pool_look(&rig.manager->pool, cen_now_ns(), &picture);
  } while (picture.by_state[SLOT_OPENING] + picture.by_state[SLOT_CLOSING] +
               picture.by_state[SLOT_CLEANING] + picture.by_state[SLOT_CHECKING] >
           0);
}

/* The breaker closes by itself, as long as the loop turns. */
static void turn_until_well(void)
{
  const int64_t end = cen_deadline_ns(cen_now_ns(), RIG_PATIENCE_MS);
  while (rig_statistics(rig.manager).breaker != CENOTE_BREAKER_CLOSED) {
    assert_true(cen_now_ns() < end);
    turn();
  }
}

static void on_lease(void *context, cenote_status status, cenote_lease lease,
                     const cenote_error *error)
{
  struct caller *caller = context;
  (void)error;
  caller->called++;
  caller->status = status;
  caller->lease = lease;
  settled++;
  if (status == CENOTE_OK && !caller->keeps) {
    char sql[64];
    snprintf(sql, sizeof sql, "select %d", caller->number);
    assert_int_equal(rig_integer(lease, sql), caller->number);
    rig_release(lease);
  }
}

static void ask(struct caller *caller, int64_t timeout_ms)
{
  cenote_error error = CENOTE_ERROR_INIT;
  const cenote_status status = cenote_acquire_async(rig.manager, "loop", timeout_ms, on_lease,
                                                    caller, &caller->ticket, &error);
  assert_int_equal(status, CENOTE_OK);
  assert_int_equal(caller->called, 0); /* never before it returns */
}

static void host_loop_serves_more_than_it_has(void **state)
{
  struct caller callers[CALLERS] = {{0}};
  (void)state;
  settled = 0;
  open_loop("3");
  for (int i = 0; i < CALLERS; i++) {
    callers[i].number = i;
    ask(&callers[i], RIG_PATIENCE_MS);
  }
  for (int i = 0; i < CALLERS; i += 8) {
    assert_int_equal(cenote_cancel_acquire(callers[i].ticket), CENOTE_OK);
  }
  turn_until_settled(CALLERS);
  for (int i = 0; i < CALLERS; i++) {
    assert_int_equal(callers[i].called, 1);
    assert_int_equal(callers[i].status, i % 8 == 0 ? CENOTE_CANCELLED : CENOTE_OK);
  }
  assert_true(rig_statistics(rig.manager).connections_created <= 3);
  turn_until_quiet();
  rig_close(&rig);
}

static void host_loop_survives_a_restart(void **state)
{
  struct caller before = {.number = 1}, during = {.number = 2}, after = {.number = 3};
  (void)state;
  settled = 0;
  open_loop("2");
  ask(&before, RIG_PATIENCE_MS);
  turn_until_settled(1);
  assert_int_equal(before.status, CENOTE_OK);
  assert_true(pg_fixture_kill(&rig_server));
  rig_nap_ms(600); /* long enough to be checked before use */
  const int64_t cpu = rig_cpu_ms();
  ask(&during, RIG_PATIENCE_MS);
  turn_until_settled(2);
  assert_int_equal(during.status, CENOTE_CONNECT); /* the breaker has opened: none will come */
  assert_true(rig_cpu_ms() - cpu < 750);           /* it waited, and did not spin */
  assert_true(pg_fixture_restart(&rig_server));
  turn_until_well();
  ask(&after, RIG_PATIENCE_MS);
  turn_until_settled(3);
  assert_int_equal(after.status, CENOTE_OK);
  turn_until_quiet();
  rig_close(&rig);
}

static void host_loop_takes_back_what_is_held_too_long(void **state)
{
  struct caller holder = {.number = 1, .keeps = true}, next = {.number = 2};
  cenote_error error = CENOTE_ERROR_INIT;
  (void)state;
  settled = 0;
  rig.options = (cenote_options)CENOTE_OPTIONS_INIT;
  rig.options.external_loop = true;
  rig_open(&rig, rig_var("POSTGRES_URL"), "max_connections", "1", NULL);
  ask(&holder, RIG_PATIENCE_MS);
  turn_until_settled(1);
  assert_int_equal(holder.status, CENOTE_OK);
  rig_must_run(holder.lease, "begin");
  ask(&next, RIG_PATIENCE_MS);
  assert_int_equal(cenote_lease_extend(holder.lease, 100, &error), CENOTE_OK);
  turn_until_settled(2);
  assert_int_equal(next.status, CENOTE_OK);
  assert_int_equal(rig_run(holder.lease, "select 1", &error), CENOTE_LEASE_EXPIRED);
  assert_int_equal(rig_statistics(rig.manager).lease_timeouts, 1);
  turn_until_quiet();
  rig_close(&rig);
}

/* The loop's thread ends it all: waiters are told, leases forced, sessions closed. */
static void host_loop_shuts_down(void **state)
{
  struct caller holder = {.number = 1, .keeps = true}, waiter = {.number = 2};
  cenote_error error = CENOTE_ERROR_INIT;
  (void)state;
  settled = 0;
  open_loop("1");
  ask(&holder, RIG_PATIENCE_MS);
  turn_until_settled(1);
  ask(&waiter, RIG_PATIENCE_MS);
  assert_int_equal(cenote_shutdown(rig.manager, 100, &error), CENOTE_TIMEOUT);
  assert_non_null(strstr(error.details, "loop"));
  while (settled < 2) {
    turn();
  }
  assert_int_equal(waiter.status, CENOTE_SHUTTING_DOWN);
  assert_int_equal(rig_run(holder.lease, "select 1", &error), CENOTE_SHUTTING_DOWN);
  rig_close(&rig);
  assert_true(
      admin_becomes("select count(*) from pg_stat_activity where application_name = 'loop'", 0));
}

int main(void)
{
  if (!pg_fixture_start(&rig_server, NULL)) {
    return pg_fixture_skip(&rig_server);
  }
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(host_loop_serves_more_than_it_has),
      cmocka_unit_test(host_loop_survives_a_restart),
      cmocka_unit_test(host_loop_takes_back_what_is_held_too_long),
      cmocka_unit_test(host_loop_shuts_down),
  };
  int failed = cmocka_run_group_tests_name("pool_loop", tests, NULL, NULL);
  pg_fixture_stop(&rig_server);
  return failed;
}
