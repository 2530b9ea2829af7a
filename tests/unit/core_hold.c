/* core_hold.c - a pool that is held, as the circuit breakers do it: who waits is told when nothing
 * will come for him, and goes on waiting where something may. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/error.h"
#include "core/pool.h"

#include <string.h>

enum { SECOND = 1000 * 1000 * 1000, MANY = 3 * POOL_WAKES };

static char connection;

static void pool_begin(struct pool *pool, uint32_t maximum)
{
  const struct pool_limits limits = {.maximum = maximum,
                                     .max_opening = 4,
                                     .max_waiters = MANY,
                                     .idle_ns = 300 * (int64_t)SECOND,
                                     .check_after_ns = SECOND / 2,
                                     .lease_ns = 30 * (int64_t)SECOND,
                                     .heartbeat_ns = SECOND,
                                     .cancel_ns = SECOND};
  memset(pool, 0, sizeof *pool);
  assert_int_equal(pool_init(pool, &limits, 1, SECOND), CENOTE_OK);
}

static void queue_up(struct pool *pool, struct pool_waiter *waiter)
{
  struct pool_wakes wakes = {0};
  pool_waiter_init(waiter, true);
  assert_false(pool_wait(pool, waiter, SECOND, &wakes));
}

static bool is_settled(const struct pool_waiter *waiter)
{
  return atomic_load(&waiter->signal) == POOL_SETTLED;
}

static uint32_t opening(struct pool *pool)
{
  struct pool_action action;
  assert_true(pool_next_action(pool, &action));
  assert_int_equal(action.kind, POOL_ACT_OPEN);
  assert_true(pool_set_resource(pool, action.slot, &connection));
  return action.slot;
}

static void open_fails(struct pool *pool, uint32_t slot, struct pool_wakes *wakes)
{
  cenote_error error;
  cen_error_begin(&error);
  (void)!cenote_error_set(&error, CENOTE_CONNECT, "nobody listens");
  pool_open_failed(pool, slot, &error, false, 2 * (int64_t)SECOND, wakes);
  assert_null(pool_check(pool));
}

static void refused(struct pool *pool, const struct pool_waiter *waiter)
{
  struct pool_picture picture;
  pool_look(pool, 2 * (int64_t)SECOND, &picture);
  assert_true(is_settled(waiter));
  assert_int_equal(waiter->status, CENOTE_CONNECT);
  assert_string_equal(picture.failure.message, "nobody listens");
  assert_false(picture.failure.permanent);
  assert_int_equal(picture.waiters, 0);
  assert_int_equal(picture.counters.acquire_refused, 1);
}

static void when_it_is_held_after_a_failure_who_waits_is_told(void **state)
{
  struct pool pool;
  struct pool_waiter waiter;
  struct pool_wakes wakes = {0};
  (void)state;
  pool_begin(&pool, 2);
  queue_up(&pool, &waiter);
  open_fails(&pool, opening(&pool), &wakes);
  assert_false(is_settled(&waiter)); /* it will be tried again */
  pool_hold(&pool, true, 2 * (int64_t)SECOND, &wakes);
  refused(&pool, &waiter);
  pool_deinit(&pool);
}

static void what_is_on_its_way_when_it_is_held_is_waited_for(void **state)
{
  struct pool pool;
  struct pool_waiter waiter;
  struct pool_wakes wakes = {0};
  (void)state;
  pool_begin(&pool, 2);
  queue_up(&pool, &waiter);
  const uint32_t slot = opening(&pool);
  pool_hold(&pool, true, SECOND, &wakes);
  assert_false(is_settled(&waiter));
  open_fails(&pool, slot, &wakes);
  refused(&pool, &waiter);
  pool_deinit(&pool);
}

static void a_probe_serves_who_waits_or_tells_him(void **state)
{
  (void)state;
  for (int good = 0; good < 2; good++) {
    struct pool pool;
    struct pool_waiter waiter;
    struct pool_wakes wakes = {0};
    pool_begin(&pool, 2);
    pool_hold(&pool, true, SECOND, &wakes);
    queue_up(&pool, &waiter);
    assert_true(pool_probe(&pool, SECOND, &wakes));
    const uint32_t slot = opening(&pool);
    assert_false(is_settled(&waiter));
    if (good) {
      pool_opened(&pool, slot, SECOND, &wakes);
      assert_true(is_settled(&waiter) || pool_rescan(&pool, &waiter, SECOND, &wakes));
      assert_int_equal(waiter.status, CENOTE_OK);
    } else {
      open_fails(&pool, slot, &wakes);
      refused(&pool, &waiter);
    }
    pool_deinit(&pool);
  }
}

static void who_may_get_what_is_leased_goes_on_waiting(void **state)
{
  struct pool pool;
  struct pool_waiter holder, waiter;
  struct pool_wakes wakes = {0};
  struct pool_grant grant;
  struct pool_action action;
  const struct pool_ask ask = {.operation = "", .now_ns = SECOND, .lease_ns = 30 * (int64_t)SECOND};
  (void)state;
  pool_begin(&pool, 2);
  queue_up(&pool, &holder);
  pool_opened(&pool, opening(&pool), SECOND, &wakes);
  assert_true(is_settled(&holder) || pool_rescan(&pool, &holder, SECOND, &wakes));
  pool_accept(&pool, &holder, &ask, &grant);
  queue_up(&pool, &waiter);
  open_fails(&pool, opening(&pool), &wakes);
  pool_hold(&pool, true, 2 * (int64_t)SECOND, &wakes);
  assert_false(is_settled(&waiter));
  /* that one dies, too: now nothing will come */
  pool_discard(&pool, grant.slot, grant.generation, POOL_REASON_BROKEN, 2 * (int64_t)SECOND,
               &wakes);
  assert_false(is_settled(&waiter));
  while (pool_next_action(&pool, &action)) {
    assert_int_equal(action.kind, POOL_ACT_CLOSE);
    pool_closed(&pool, action.slot, 2 * (int64_t)SECOND, &wakes);
  }
  refused(&pool, &waiter);
  pool_deinit(&pool);
}

static void however_many_wait_all_are_told(void **state)
{
  static struct pool_waiter waiters[MANY];
  struct pool pool;
  struct pool_wakes wakes = {0};
  (void)state;
  pool_begin(&pool, 1);
  for (int i = 0; i < MANY; i++) {
    pool_waiter_init(&waiters[i], false);
    assert_false(pool_wait(&pool, &waiters[i], SECOND, &wakes));
  }
  open_fails(&pool, opening(&pool), &wakes);
  wakes = (struct pool_wakes){0};
  pool_hold(&pool, true, 2 * (int64_t)SECOND, &wakes);
  assert_int_equal(wakes.count, POOL_WAKES);
  while (wakes.more) {
    wakes = (struct pool_wakes){0};
    pool_refuse_more(&pool, &wakes);
  }
  for (int i = 0; i < MANY; i++) {
    assert_true(is_settled(&waiters[i]));
    assert_int_equal(waiters[i].status, CENOTE_CONNECT);
  }
  pool_deinit(&pool);
}

static void who_is_not_told_yet_when_a_connection_is_opened_again_waits_for_it(void **state)
{
  static struct pool_waiter waiters[MANY];
  struct pool pool;
  struct pool_wakes wakes = {0};
  struct pool_wakes ignored = {0};
  (void)state;
  pool_begin(&pool, 1);
  for (int i = 0; i < MANY; i++) {
    pool_waiter_init(&waiters[i], false);
    assert_false(pool_wait(&pool, &waiters[i], SECOND, &ignored));
  }
  open_fails(&pool, opening(&pool), &ignored);
  pool_hold(&pool, true, 2 * (int64_t)SECOND, &wakes);
  assert_true(wakes.more);
  pool_hold(&pool, false, 3 * (int64_t)SECOND, &ignored); /* before the others are told */
  const uint32_t slot = opening(&pool);
  wakes = (struct pool_wakes){0};
  pool_refuse_more(&pool, &wakes);
  assert_false(wakes.more);
  assert_int_equal(wakes.count, 0);
  pool_opened(&pool, slot, 3 * (int64_t)SECOND, &wakes);
  assert_true(is_settled(&waiters[POOL_WAKES]));
  assert_int_equal(waiters[POOL_WAKES].status, CENOTE_OK);
  assert_false(is_settled(&waiters[POOL_WAKES + 1]));
  assert_null(pool_check(&pool));
  pool_deinit(&pool);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(when_it_is_held_after_a_failure_who_waits_is_told),
      cmocka_unit_test(what_is_on_its_way_when_it_is_held_is_waited_for),
      cmocka_unit_test(a_probe_serves_who_waits_or_tells_him),
      cmocka_unit_test(who_may_get_what_is_leased_goes_on_waiting),
      cmocka_unit_test(however_many_wait_all_are_told),
      cmocka_unit_test(who_is_not_told_yet_when_a_connection_is_opened_again_waits_for_it),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
