/* manager_reenter.c - calls from inside the manager's own callbacks: what would wait for itself is
 * refused, at once, in both kinds of loops. */
#include "unit/manager_help.h"

#include <cenote/loop.h>

struct inside {
  struct place place;
  cenote_status shut;
  int64_t took_ms;
  char message[512];
  _Atomic int calls;
};

static void shut_down_inside(void *context, cenote_status status, cenote_lease lease,
                             const cenote_error *error)
{
  struct inside *inside = context;
  cenote_error told = CENOTE_ERROR_INIT;
  (void)error;
  const int64_t start = now_ms();
  inside->shut = cenote_shutdown(inside->place.manager, -1, &told);
  inside->took_ms = now_ms() - start;
  snprintf(inside->message, sizeof inside->message, "%s", told.message);
  if (status == CENOTE_OK) {
    (void)cenote_release(lease);
  }
  atomic_fetch_add(&inside->calls, 1);
}

static void ask(struct inside *inside)
{
  must(cenote_acquire_async(inside->place.manager, "inside", PATIENCE_MS, shut_down_inside, inside,
                            NULL, &inside->place.error),
       &inside->place.error);
}

static void end(struct inside *inside)
{
  expect(CENOTE_INVALID, inside->shut, NULL);
  has_text(inside->message, "callback");
  assert_true(inside->took_ms < 5000);
  cenote_lease lease; /* nothing was shut down */
  const int64_t patience = inside->place.options.external_loop ? 0 : PATIENCE_MS;
  must(cenote_acquire(inside->place.manager, "after", patience, &lease, &inside->place.error),
       &inside->place.error);
  must_release(lease);
  must(cenote_shutdown(inside->place.manager, PATIENCE_MS, &inside->place.error),
       &inside->place.error);
  place_close(&inside->place);
}

static void acquire_inside(void *context, cenote_status status, cenote_lease lease,
                           const cenote_error *error)
{
  struct inside *inside = context;
  cenote_error told = CENOTE_ERROR_INIT;
  cenote_lease second;
  (void)error;
  const int64_t start = now_ms();
  inside->shut = cenote_acquire(inside->place.manager, "second", PATIENCE_MS, &second, &told);
  inside->took_ms = now_ms() - start;
  snprintf(inside->message, sizeof inside->message, "%s", told.message);
  if (status == CENOTE_OK) {
    (void)cenote_release(lease);
  }
  atomic_fetch_add(&inside->calls, 1);
}

static void an_acquire_inside_a_callback_does_not_wait_for_itself(void **state)
{
  (void)state;
  struct inside *inside = calloc(1, sizeof *inside);
  place_init(&inside->place);
  place_open_with(&inside->place, "0", "1");
  must(cenote_acquire_async(inside->place.manager, "inside", PATIENCE_MS, acquire_inside, inside,
                            NULL, &inside->place.error),
       &inside->place.error);
  wait_until(atomic_load(&inside->calls) == 1);
  expect(CENOTE_INVALID, inside->shut, NULL);
  has_text(inside->message, "must not block");
  assert_true(inside->took_ms < 5000);
  place_close(&inside->place);
  free(inside);
}

static void on_a_hosts_loop_a_blocking_acquire_is_refused_also_when_one_is_free(void **state)
{
  (void)state;
  struct inside *inside = calloc(1, sizeof *inside);
  cenote_lease lease;
  place_init(&inside->place);
  inside->place.options.external_loop = true;
  place_set(&inside->place, "check_after_ms", "60000");
  place_open_with(&inside->place, "1", "1");
  cenote_manager *manager = inside->place.manager;
  while (statistics_of(manager).idle_connections == 0) {
    must(cenote_dispatch(manager, &inside->place.error), &inside->place.error);
  }
  for (int i = 0; i < 2; i++) { /* the second finds the thread's last one */
    expect(CENOTE_INVALID, cenote_acquire(manager, "blocks", 1000, &lease, &inside->place.error),
           &inside->place.error);
    must(cenote_acquire(manager, "does not", 0, &lease, &inside->place.error),
         &inside->place.error);
    must_release(lease);
  }
  place_close(&inside->place);
  free(inside);
}

static void a_shutdown_inside_a_callback_is_refused(void **state)
{
  (void)state;
  struct inside *inside = calloc(1, sizeof *inside);
  place_init(&inside->place);
  place_set(&inside->place, "check_after_ms", "60000");
  place_open_with(&inside->place, "0", "1");
  ask(inside);
  wait_until(atomic_load(&inside->calls) == 1);
  end(inside);
  free(inside);
}

static void a_shutdown_inside_a_dispatch_is_refused(void **state)
{
  (void)state;
  struct inside *inside = calloc(1, sizeof *inside);
  place_init(&inside->place);
  inside->place.options.external_loop = true;
  place_set(&inside->place, "check_after_ms", "60000");
  place_open_with(&inside->place, "0", "1");
  ask(inside);
  while (atomic_load(&inside->calls) == 0) {
    must(cenote_dispatch(inside->place.manager, &inside->place.error), &inside->place.error);
  }
  end(inside);
  free(inside);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_shutdown_inside_a_callback_is_refused),
      cmocka_unit_test(a_shutdown_inside_a_dispatch_is_refused),
      cmocka_unit_test(an_acquire_inside_a_callback_does_not_wait_for_itself),
      cmocka_unit_test(on_a_hosts_loop_a_blocking_acquire_is_refused_also_when_one_is_free),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
