/* core_force.c - taking every lease back: who is told first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/pool.h"

#include <string.h>

enum { SECOND = 1000 * 1000 * 1000, LEASES = 4 };

static const int64_t now = 1000 * (int64_t)SECOND;

static struct pool_grant lease(struct pool *pool)
{
  static char connection;
  struct pool_waiter waiter;
  struct pool_wakes wakes = {0};
  struct pool_grant grant;
  struct pool_action action;
  const struct pool_ask ask = {.operation = "", .now_ns = now, .lease_ns = 30 * (int64_t)SECOND};
  pool_waiter_init(&waiter, false);
  assert_false(pool_wait(pool, &waiter, now, &wakes));
  pool_tick(pool, now, &wakes);
  while (pool_next_action(pool, &action)) {
    assert_int_equal(action.kind, POOL_ACT_OPEN);
    pool_set_resource(pool, action.slot, &connection);
    pool_opened(pool, action.slot, now, &wakes);
  }
  assert_int_equal(waiter.status, CENOTE_OK);
  pool_accept(pool, &waiter, &ask, &grant);
  return grant;
}

/* The others may wait for what an idle holder's session has locked: when it goes, they must have
 * been told to stop. */
static void who_is_inside_a_call_is_told_before_any_session_goes(void **state)
{
  (void)state;
  const struct pool_limits limits = {.maximum = LEASES,
                                     .max_opening = LEASES,
                                     .max_waiters = LEASES,
                                     .lease_ns = 30 * (int64_t)SECOND,
                                     .heartbeat_ns = SECOND,
                                     .cancel_ns = SECOND};
  struct pool pool;
  struct pool_wakes wakes = {0};
  struct pool_grant grants[LEASES];
  memset(&pool, 0, sizeof pool);
  assert_int_equal(pool_init(&pool, &limits, 1, now), CENOTE_OK);
  for (int i = 0; i < LEASES; i++) {
    grants[i] = lease(&pool);
  }
  for (int i = 1; i < LEASES; i += 2) {
    void *resource;
    assert_int_equal(pool_enter(&pool, grants[i].slot, grants[i].generation, &resource), POOL_OK);
  }
  pool_drain(&pool, now, &wakes);
  assert_int_equal(pool_force(&pool, now, &wakes), LEASES);
  for (int i = 0; i < LEASES; i++) {
    struct pool_action action;
    assert_true(pool_next_action(&pool, &action));
    assert_int_equal(action.kind, i < LEASES / 2 ? POOL_ACT_CANCEL : POOL_ACT_CLOSE);
    if (action.kind == POOL_ACT_CLOSE) {
      pool_closed(&pool, action.slot, now, &wakes);
    }
  }
  for (int i = 1; i < LEASES; i += 2) {
    struct pool_action action;
    assert_int_not_equal(
        pool_leave(&pool, grants[i].slot, grants[i].generation, 0, false, now, &wakes), POOL_OK);
    assert_true(pool_next_action(&pool, &action));
    assert_int_equal(action.kind, POOL_ACT_CLOSE);
    pool_closed(&pool, action.slot, now, &wakes);
  }
  assert_true(pool_finished(&pool));
  pool_deinit(&pool);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(who_is_inside_a_call_is_told_before_any_session_goes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
