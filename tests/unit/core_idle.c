/* core_idle.c - how long a connection has been idle, whatever is done to keep it proven. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/pool.h"

#include <string.h>

enum { SECOND = 1000 * 1000 * 1000 };

static int64_t at(int64_t seconds)
{
  return 1000 * (int64_t)SECOND + seconds * SECOND;
}

static void pool_begin(struct pool *pool, uint32_t minimum)
{
  const struct pool_limits limits = {.minimum = minimum,
                                     .maximum = 4,
                                     .max_opening = 4,
                                     .max_waiters = 4,
                                     .idle_ns = 300 * (int64_t)SECOND,
                                     .check_interval_ns = 60 * (int64_t)SECOND,
                                     .check_after_ns = SECOND / 2,
                                     .lease_ns = 30 * (int64_t)SECOND,
                                     .heartbeat_ns = SECOND,
                                     .cancel_ns = SECOND};
  memset(pool, 0, sizeof *pool);
  assert_int_equal(pool_init(pool, &limits, 1, at(0)), CENOTE_OK);
}

/* Does what the manager would do, at once; answers how many were closed. */
static unsigned work(struct pool *pool, int64_t now)
{
  static char connection;
  struct pool_wakes wakes = {0};
  struct pool_action action;
  unsigned closed = 0;
  pool_tick(pool, now, &wakes);
  while (pool_next_action(pool, &action)) {
    switch (action.kind) {
    case POOL_ACT_OPEN:
      pool_set_resource(pool, action.slot, &connection);
      pool_opened(pool, action.slot, now, &wakes);
      break;
    case POOL_ACT_CHECK:
      pool_checked(pool, action.slot, true, now, &wakes);
      break;
    case POOL_ACT_CLOSE:
      assert_int_equal(action.reason, POOL_REASON_IDLE);
      pool_closed(pool, action.slot, now, &wakes);
      closed++;
      break;
    default:
      fail();
    }
  }
  assert_null(pool_check(pool));
  return closed;
}

static void use_one(struct pool *pool, int64_t now)
{
  struct pool_waiter waiter;
  struct pool_wakes wakes = {0};
  struct pool_grant grant;
  const struct pool_ask ask = {.operation = "", .now_ns = now, .lease_ns = 30 * (int64_t)SECOND};
  pool_waiter_init(&waiter, false);
  if (!pool_wait(pool, &waiter, now, &wakes)) {
    assert_int_equal(work(pool, now), 0);
  }
  assert_int_equal(waiter.status, CENOTE_OK);
  pool_accept(pool, &waiter, &ask, &grant);
  assert_int_equal(pool_release_slow(pool, grant.slot, grant.generation, now, &wakes), POOL_OK);
}

static void checks_do_not_keep_an_idle_connection_alive(void **state)
{
  (void)state;
  struct pool pool;
  pool_begin(&pool, 0);
  use_one(&pool, at(0));
  for (int64_t second = 1; second < 300; second++) {
    assert_int_equal(work(&pool, at(second)), 0);
  }
  assert_true(pool.counters.checks > 3);
  assert_int_equal(work(&pool, at(301)), 1);
  pool_deinit(&pool);
}

static void use_between_checks_does(void **state)
{
  (void)state;
  struct pool pool;
  pool_begin(&pool, 0);
  use_one(&pool, at(0));
  for (int64_t second = 1; second < 1000; second++) {
    if (second % 200 == 0) {
      use_one(&pool, at(second));
    }
    assert_int_equal(work(&pool, at(second)), 0);
  }
  assert_int_equal(pool.counters.created, 1);
  pool_deinit(&pool);
}

/* The process was stopped while it logged in: the server may have ended that session since. */
static void one_that_took_long_to_open_is_checked_before_its_first_use(void **state)
{
  (void)state;
  for (int64_t took = 0; took < 2; took++) {
    struct pool pool;
    struct pool_wakes wakes = {0};
    struct pool_action action;
    struct pool_waiter waiter;
    struct pool_grant grant;
    static char connection;
    const struct pool_ask ask = {.operation = "", .now_ns = at(took), .lease_ns = SECOND};
    pool_begin(&pool, 1);
    pool_tick(&pool, at(0), &wakes);
    assert_true(pool_next_action(&pool, &action));
    assert_int_equal(action.kind, POOL_ACT_OPEN);
    pool_set_resource(&pool, action.slot, &connection);
    pool_opened(&pool, action.slot, at(took), &wakes);
    pool_waiter_init(&waiter, false);
    assert_true(pool_wait(&pool, &waiter, at(took), &wakes));
    pool_accept(&pool, &waiter, &ask, &grant);
    assert_int_equal(grant.must_check, took > 0);
    pool_deinit(&pool);
  }
}

static enum pool_action_kind work_one(struct pool *pool, int64_t now)
{
  static char connection;
  struct pool_wakes wakes = {0};
  struct pool_action action;
  assert_true(pool_next_action(pool, &action));
  if (action.kind == POOL_ACT_OPEN) {
    pool_set_resource(pool, action.slot, &connection);
    pool_opened(pool, action.slot, now, &wakes);
  } else {
    pool_closed(pool, action.slot, now, &wakes);
  }
  return action.kind;
}

/* What it was given is dead: it does not go behind those who came while that was found out. */
static void who_got_a_dead_connection_keeps_its_place(void **state)
{
  (void)state;
  for (int64_t keeps = 0; keeps < 2; keeps++) {
    struct pool pool;
    struct pool_wakes wakes = {0};
    struct pool_waiter first, others[3];
    pool_begin(&pool, 0);
    pool.limits.maximum = 1;
    pool_waiter_init(&first, true);
    assert_false(pool_wait(&pool, &first, at(10), &wakes));
    assert_int_equal(work_one(&pool, at(11)), POOL_ACT_OPEN);
    assert_int_equal(first.status, CENOTE_OK);
    for (int i = 0; i < 3; i++) {
      pool_waiter_init(&others[i], true);
      assert_false(pool_wait(&pool, &others[i], at(12 + i), &wakes));
    }
    pool_discard(&pool, first.slot, first.generation, POOL_REASON_CHECK_FAILED, at(20), &wakes);
    assert_int_equal(work_one(&pool, at(20)), POOL_ACT_CLOSE);
    pool_waiter_init(&first, true);
    first.asked_ns = keeps ? at(13) : 0; /* so it is the second, but for one who came with it */
    assert_false(pool_wait(&pool, &first, at(20), &wakes));
    assert_int_equal(first.enqueued_ns, keeps ? at(13) : at(20));
    const struct pool_waiter *const order[2][4] = {{&others[0], &others[1], &others[2], &first},
                                                   {&others[0], &others[1], &first, &others[2]}};
    for (int i = 0; i < 4; i++) {
      struct pool_grant grant;
      const struct pool_ask ask = {.operation = "", .now_ns = at(21 + i), .lease_ns = SECOND};
      assert_null(pool_check(&pool));
      if (i == 0) {
        assert_int_equal(work_one(&pool, at(21)), POOL_ACT_OPEN);
      }
      for (int j = 0; j < 4; j++) {
        assert_int_equal(order[keeps][j]->queued, j > i);
      }
      pool_accept(&pool, order[keeps][i], &ask, &grant);
      assert_int_equal(pool_release_slow(&pool, grant.slot, grant.generation, at(22 + i), &wakes),
                       POOL_OK);
    }
    pool_deinit(&pool);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(checks_do_not_keep_an_idle_connection_alive),
      cmocka_unit_test(use_between_checks_does),
      cmocka_unit_test(one_that_took_long_to_open_is_checked_before_its_first_use),
      cmocka_unit_test(who_got_a_dead_connection_keeps_its_place),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
