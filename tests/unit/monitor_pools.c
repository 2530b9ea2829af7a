/* monitor_pools.c - the directory of pools: who comes, who goes, and sums that never fall. */
#include "observe_help.h"

#include "server/gateway_inside.h"
#include "server/pools.h"

#include <pthread.h>
#include <stdatomic.h>

static struct gateway_database bases[] = {
    {.name = "a", .kind = GATEWAY_SQLITE},
    {.name = "b", .kind = GATEWAY_POSTGRES},
};

static struct gateway *gateway_make(void)
{
  struct gateway *gateway = calloc(1, sizeof *gateway);
  assert_non_null(gateway);
  gateway->databases = bases;
  gateway->database_count = 2;
  gateway->pools = gateway_pools_new();
  assert_non_null(gateway->pools);
  return gateway;
}

static void gateway_end(struct gateway *gateway)
{
  gateway_pools_free(gateway->pools);
  free(gateway);
}

static cenote_manager *manager_make(void)
{
  cenote_manager *manager = NULL;
  cenote_setting settings[] = {{"min_connections", "0"}, {"health_check_interval_ms", "0"}};
  cenote_options options = CENOTE_OPTIONS_INIT;
  cenote_error error = CENOTE_ERROR_INIT;
  options.settings = settings;
  options.settings_count = 2;
  if (cenote_open("sqlite::memory:", &options, &manager, &error) != CENOTE_OK) {
    fail_msg("%s", error.message);
  }
  return manager;
}

static void use_once(cenote_manager *manager)
{
  cenote_lease lease;
  cenote_error error = CENOTE_ERROR_INIT;
  assert_int_equal(cenote_acquire(manager, "test", 20000, &lease, &error), CENOTE_OK);
  assert_int_equal(cenote_release(lease), CENOTE_OK);
}

static void leave(struct gateway *gateway, cenote_manager *manager)
{
  gateway_pools_remove(gateway, manager);
  cenote_close(manager);
}

struct view {
  size_t groups, managers, apart;
  uint64_t granted, others_granted;
};

static void look(void *context, const struct pools_group *group, struct cen_sum *sum)
{
  struct view *view = context;
  view->groups++;
  view->managers += group->managers;
  view->apart += group->apart;
  view->granted += sum->figures.statistics.leases_granted;
  if (strcmp(group->user, POOLS_OTHERS) == 0) {
    view->others_granted += sum->figures.statistics.leases_granted;
  }
}

static struct view view_of(struct gateway *gateway)
{
  struct view view = {0};
  pools_collect(gateway, look, &view);
  return view;
}

static void count_one(void *context, const struct gateway_database *database, const char *user,
                      cenote_manager *manager)
{
  assert_non_null(manager);
  assert_true(database == &bases[0] || strcmp(user, "u") == 0);
  ++*(int *)context;
}

static void managers_of_one_user_are_one_pool_and_are_visited(void **state)
{
  (void)state;
  struct gateway *gateway = gateway_make();
  cenote_manager *one = manager_make(), *two = manager_make(), *three = manager_make();
  assert_int_equal(gateway_pools_add(gateway, &bases[0], "", one), CENOTE_OK);
  assert_int_equal(gateway_pools_add(gateway, &bases[1], "u", two), CENOTE_OK);
  assert_int_equal(gateway_pools_add(gateway, &bases[1], "u", three), CENOTE_OK);
  use_once(two);
  use_once(three);
  struct view view = view_of(gateway);
  assert_int_equal(view.groups, 2);
  assert_int_equal(view.managers, 3);
  assert_int_equal(view.granted, 2);
  int visited = 0;
  gateway_pools_visit(gateway, count_one, &visited);
  assert_int_equal(visited, 3);
  leave(gateway, one);
  leave(gateway, two);
  leave(gateway, three);
  visited = 0;
  gateway_pools_visit(gateway, count_one, &visited);
  assert_int_equal(visited, 0);
  gateway_end(gateway);
}

static void what_a_manager_counted_stays_when_it_goes(void **state)
{
  (void)state;
  struct gateway *gateway = gateway_make();
  for (int i = 1; i <= 3; i++) {
    cenote_manager *manager = manager_make();
    assert_int_equal(gateway_pools_add(gateway, &bases[1], "u", manager), CENOTE_OK);
    use_once(manager);
    leave(gateway, manager);
    struct view view = view_of(gateway);
    assert_int_equal(view.granted, i);
    assert_int_equal(view.groups, 1);
    assert_int_equal(view.managers, 0);
  }
  gateway_end(gateway);
}

static void names_that_never_got_in_take_no_place(void **state)
{
  (void)state;
  struct gateway *gateway = gateway_make();
  for (int i = 0; i < 20; i++) {
    char name[32];
    cenote_manager *manager = manager_make();
    snprintf(name, sizeof name, "nobody%d", i);
    assert_int_equal(gateway_pools_add(gateway, &bases[1], name, manager), CENOTE_OK);
    leave(gateway, manager);
  }
  struct view view = view_of(gateway);
  assert_int_equal(view.groups, 1); /* the others */
  assert_int_equal(view.apart, 0);
  gateway_end(gateway);
}

static void beyond_the_ceiling_who_left_first_joins_the_others(void **state)
{
  (void)state;
  struct gateway *gateway = gateway_make();
  for (int i = 0; i < POOLS_GROUPS + 5; i++) {
    char name[32];
    cenote_manager *manager = manager_make();
    snprintf(name, sizeof name, "user%d", i);
    assert_int_equal(gateway_pools_add(gateway, &bases[1], name, manager), CENOTE_OK);
    use_once(manager);
    leave(gateway, manager);
  }
  struct view view = view_of(gateway);
  assert_int_equal(view.granted, POOLS_GROUPS + 5);
  assert_int_equal(view.apart, POOLS_GROUPS - 1); /* a place is free for the next */
  assert_int_equal(view.groups, POOLS_GROUPS);
  assert_int_equal(view.others_granted, 6);
  gateway_end(gateway);
}

static void a_long_name_is_cut_and_still_one(void **state)
{
  (void)state;
  char name[2 * POOLS_USER_SIZE];
  struct gateway *gateway = gateway_make();
  cenote_manager *one = manager_make(), *two = manager_make();
  memset(name, 'x', sizeof name - 1);
  name[sizeof name - 1] = '\0';
  assert_int_equal(gateway_pools_add(gateway, &bases[1], name, one), CENOTE_OK);
  assert_int_equal(gateway_pools_add(gateway, &bases[1], name, two), CENOTE_OK);
  assert_int_equal(view_of(gateway).groups, 1);
  leave(gateway, one);
  leave(gateway, two);
  gateway_end(gateway);
}

/* ------------------------------------------------------------------------- threads */

static struct gateway *busy;
static _Atomic bool done;

static void *come_and_go(void *context)
{
  for (int i = 0; i < 40; i++) {
    char name[32];
    cenote_manager *manager = manager_make();
    snprintf(name, sizeof name, "%s%d", (const char *)context, i % 3);
    const cenote_status added = gateway_pools_add(busy, &bases[1], name, manager);
    use_once(manager);
    gateway_pools_remove(busy, manager);
    cenote_close(manager);
    if (added != CENOTE_OK) {
      return busy;
    }
  }
  return NULL;
}

static void *watch(void *context)
{
  uint64_t before = 0;
  (void)context;
  while (!atomic_load(&done)) {
    const uint64_t now = view_of(busy).granted;
    if (now < before) {
      return busy;
    }
    before = now;
  }
  return NULL;
}

static void no_sum_falls_while_managers_come_and_go(void **state)
{
  (void)state;
  pthread_t threads[3];
  void *wrong;
  busy = gateway_make();
  atomic_store(&done, false);
  assert_int_equal(pthread_create(&threads[0], NULL, watch, NULL), 0);
  assert_int_equal(pthread_create(&threads[1], NULL, come_and_go, (void *)(uintptr_t) "a"), 0);
  assert_int_equal(pthread_create(&threads[2], NULL, come_and_go, (void *)(uintptr_t) "b"), 0);
  for (int i = 2; i >= 0; i--) {
    assert_int_equal(pthread_join(threads[i], &wrong), 0);
    assert_null(wrong);
    atomic_store(&done, i == 1);
  }
  assert_int_equal(view_of(busy).granted, 80);
  gateway_end(busy);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(managers_of_one_user_are_one_pool_and_are_visited),
      cmocka_unit_test(what_a_manager_counted_stays_when_it_goes),
      cmocka_unit_test(names_that_never_got_in_take_no_place),
      cmocka_unit_test(beyond_the_ceiling_who_left_first_joins_the_others),
      cmocka_unit_test(a_long_name_is_cut_and_still_one),
      cmocka_unit_test(no_sum_falls_while_managers_come_and_go),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
