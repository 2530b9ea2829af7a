/* manager_life.c - what happens to connections while a manager runs: resized, flushed, grown idle
 * or old, short of memory; and the figures that go with it. */
#include "manager_help.h"

#include "manager/manager.h"
#include "manager/pressure.h"

#include <cenote/loop.h>

#include <sys/stat.h>
#include <unistd.h>

static void lease_many(struct place *place, cenote_lease *leases, int count)
{
  for (int i = 0; i < count; i++) {
    leases[i] = must_acquire(place->manager, "many");
  }
}

static void release_many(const cenote_lease *leases, int count)
{
  for (int i = 0; i < count; i++) {
    must_release(leases[i]);
  }
}

static void a_shrink_below_what_is_leased_breaks_no_lease(void **state)
{
  (void)state;
  struct place place;
  cenote_lease leases[5];
  cenote_lease none;
  place_init(&place);
  place_open_with(&place, "0", "5");
  lease_many(&place, leases, 5);
  must(cenote_resize(place.manager, 0, 2, &place.error), &place.error);
  for (int i = 0; i < 5; i++) {
    assert_int_equal(must_read(leases[i], "SELECT 1"), 1);
  }
  expect(CENOTE_TIMEOUT, cenote_acquire(place.manager, "x", 20, &none, &place.error), &place.error);
  release_many(leases, 5);
  wait_until(statistics_of(place.manager).total_connections == 2);
  assert_int_equal(noted(&place.notes, "audit: closed resize"), 3);
  assert_int_equal(noted(&place.notes, "audit: settings resize"), 1);
  assert_int_equal(statistics_of(place.manager).max_connections, 2);
  must(cenote_resize(place.manager, 4, 6, &place.error), &place.error); /* and back */
  wait_until(statistics_of(place.manager).idle_connections == 4);
  lease_many(&place, leases, 5);
  release_many(leases, 5);
  place_close(&place);
}

static void a_shrink_taken_back_in_time_costs_nothing(void **state)
{
  (void)state;
  struct place place;
  cenote_lease leases[4];
  place_init(&place);
  place_open_with(&place, "0", "4");
  lease_many(&place, leases, 4);
  must(cenote_resize(place.manager, 0, 1, &place.error), &place.error);
  must(cenote_resize(place.manager, 0, 4, &place.error), &place.error);
  release_many(leases, 4);
  pause_ms(50);
  assert_int_equal(statistics_of(place.manager).total_connections, 4);
  assert_int_equal(place.script.opened, 4);
  place_close(&place);
}

static void a_wrong_resize_changes_nothing(void **state)
{
  (void)state;
  struct place place;
  place_init(&place);
  place_open_with(&place, "1", "3");
  const int64_t wrong[][2] = {{-1, 50}, {2, 1}, {0, 0}, {0, 10001}, {INT64_MIN, 3}, {3, INT64_MAX}};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    expect(CENOTE_CONFIG, cenote_resize(place.manager, wrong[i][0], wrong[i][1], &place.error),
           &place.error);
    const cenote_statistics now = statistics_of(place.manager);
    assert_true(now.min_connections == 1 && now.max_connections == 3);
    char *json;
    must(cenote_config_json(place.manager, &json, &place.error), &place.error);
    has_text(json, "\"name\":\"max_connections\",\"value\":3,");
    cenote_string_free(json);
  }
  assert_int_equal(noted(&place.notes, "audit: settings"), 0);
  place_close(&place);
}

static void waiters_profit_from_a_larger_maximum(void **state)
{
  (void)state;
  struct place place;
  cenote_lease lease;
  place_init(&place);
  place_open_with(&place, "0", "1");
  cenote_lease held = must_acquire(place.manager, "holder");
  expect(CENOTE_TIMEOUT, cenote_acquire(place.manager, "x", 0, &lease, &place.error), NULL);
  must(cenote_resize(place.manager, 0, 2, &place.error), &place.error);
  lease = must_acquire(place.manager, "second");
  must_release(lease);
  must_release(held);
  place_close(&place);
}

static void a_flush_replaces_idle_ones_now_and_leased_ones_later(void **state)
{
  (void)state;
  struct place place;
  cenote_lease leases[3];
  place_init(&place);
  place_open_with(&place, "0", "3");
  lease_many(&place, leases, 3);
  must_release(leases[2]);
  must(cenote_flush(place.manager, &place.error), &place.error);
  wait_until(statistics_of(place.manager).connections_closed == 1);
  assert_int_equal(must_read(leases[0], "SELECT 1"), 1);
  assert_int_equal(must_read(leases[1], "SELECT 1"), 1);
  must_release(leases[0]);
  must_release(leases[1]);
  wait_until(statistics_of(place.manager).connections_closed == 3);
  assert_int_equal(noted(&place.notes, "audit: closed flush"), 3);
  cenote_lease fresh = must_acquire(place.manager, "fresh");
  assert_int_equal(must_read(fresh, "who"), 4);
  must_release(fresh);
  place_close(&place);
}

static void a_flush_also_meets_what_is_just_opening(void **state)
{
  (void)state;
  struct place place;
  place_init(&place);
  place.script.gate[CENOTE_REQUEST_OPEN] = 1;
  place_open_with(&place, "1", "1");
  wait_until(statistics_of(place.manager).opening == 1);
  must(cenote_flush(place.manager, &place.error), &place.error);
  fake_let_go(&place.script, 1);
  cenote_lease lease = must_acquire(place.manager, "fresh");
  assert_int_equal(must_read(lease, "who"), 2);
  must_release(lease);
  place_close(&place);
}

static void idle_connections_above_the_minimum_end(void **state)
{
  (void)state;
  struct place place;
  cenote_lease leases[4];
  place_init(&place);
  place_set(&place, "idle_timeout_ms", "100");
  place_set(&place, "lease_timeout_ms", "400"); /* a quick heartbeat */
  place_open_with(&place, "1", "4");
  place_change(&place, "lease_timeout_ms", "60000");
  lease_many(&place, leases, 4);
  release_many(leases, 4);
  wait_until(statistics_of(place.manager).total_connections == 1);
  pause_ms(200);
  assert_int_equal(statistics_of(place.manager).total_connections, 1);
  assert_int_equal(noted(&place.notes, "audit: closed idle"), 3);
  place_close(&place);
}

static void an_old_connection_is_replaced(void **state)
{
  (void)state;
  struct place place;
  place_init(&place);
  place_set(&place, "max_connection_age_ms", "200");
  place_set(&place, "lease_timeout_ms", "30000");
  place_open_with(&place, "1", "1");
  cenote_lease lease = must_acquire(place.manager, "old");
  const int64_t number = must_read(lease, "who"); /* others may have grown old before */
  pause_ms(300);
  assert_int_equal(must_read(lease, "who"), number); /* never under its holder */
  pause_ms(1300);                                    /* a heartbeat: it is marked by now */
  assert_int_equal(must_read(lease, "who"), number);
  assert_int_equal(place.script.closed, (uint64_t)number - 1);
  must_release(lease);
  wait_until(noted(&place.notes, "audit: closed age") >= number);
  wait_until(place.script.opened >= (uint64_t)number + 1);
  place_close(&place);
}

static void idle_connections_are_checked_at_the_interval(void **state)
{
  (void)state;
  struct place place;
  place_init(&place);
  place_set(&place, "health_check_interval_ms", "100");
  place_set(&place, "lease_timeout_ms", "400");
  place_open_with(&place, "2", "2");
  wait_until(statistics_of(place.manager).checks >= 4);
  fake_kill_all(&place.script);
  wait_until(statistics_of(place.manager).check_failures >= 2);
  wait_until(statistics_of(place.manager).idle_connections == 2 && place.script.opened >= 4);
  assert_true(noted(&place.notes, "audit: closed check_failed") >= 2);
  place_close(&place);
}

/* ---------------------------------------------------------------------- memory pressure */

static void write_text(const char *path, const char *text)
{
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  fputs(text, file);
  fclose(file);
}

static void short_memory_closes_what_is_spare_and_shrinks_the_rest(void **state)
{
  (void)state;
  struct place place;
  char root[] = "/tmp/cenote-pressure-XXXXXX";
  char path[128];
  cenote_lease leases[4];
  assert_non_null(mkdtemp(root));
  snprintf(path, sizeof path, "%s/proc", root);
  assert_int_equal(mkdir(path, 0700), 0);
  snprintf(path, sizeof path, "%s/proc/pressure", root);
  assert_int_equal(mkdir(path, 0700), 0);
  snprintf(path, sizeof path, "%s/proc/pressure/memory", root);
  write_text(path, "some avg10=55.00 avg60=5.00 avg300=0.00 total=1\n"
                   "full avg10=0.00 avg60=0.00 avg300=0.00 total=0\n");
  place_init(&place);
  place.options.external_loop = true; /* nobody else looks while we put in our own tree */
  place_set(&place, "memory_pressure", "false");
  place_set(&place, "lease_timeout_ms", "60000");
  place_open_with(&place, "1", "4");
  for (int i = 0; i < 4; i++) {
    const int64_t end = now_ms() + PATIENCE_MS;
    while (cenote_acquire(place.manager, "m", 0, &leases[i], NULL) != CENOTE_OK) {
      must(cenote_dispatch(place.manager, &place.error), &place.error);
      assert_true(now_ms() < end);
    }
  }
  release_many(leases, 4);
  cen_pressure_free(place.manager->pressure);
  place.manager->pressure = cen_pressure_new(root);
  assert_string_equal(cen_pressure_source(place.manager->pressure), "machine");
  must(cen_settings_set(&place.manager->settings, "memory_pressure", "true", &place.error),
       &place.error);
  const int64_t end = now_ms() + PATIENCE_MS;
  while (statistics_of(place.manager).total_connections > 1 && now_ms() < end) {
    housekeeper_kick(place.manager);
    must(cenote_dispatch(place.manager, &place.error), &place.error);
    pause_ms(2);
  }
  const cenote_statistics now = statistics_of(place.manager);
  assert_int_equal(now.total_connections, 1);
  assert_int_equal(now.memory_pressure_events, 1);
  assert_int_equal(noted(&place.notes, "audit: closed pressure"), 3);
  assert_int_equal(noted(&place.notes, "memory pressure"), 1);
  must(cenote_acquire(place.manager, "next", 0, &leases[0], &place.error), &place.error);
  must_run(leases[0], "SELECT 1");
  assert_int_equal(place.script.shrinks, 1); /* at its next use */
  must_release(leases[0]);
  place_close(&place);
  unlink(path);
  snprintf(path, sizeof path, "%s/proc/pressure", root);
  rmdir(path);
  snprintf(path, sizeof path, "%s/proc", root);
  rmdir(path);
  rmdir(root);
}

/* ------------------------------------------------------------------------------ figures */

static void the_counters_balance(void **state)
{
  (void)state;
  struct place place;
  cenote_lease lease;
  place_init(&place);
  place_open_with(&place, "0", "2");
  for (int i = 0; i < 200; i++) {
    lease = must_acquire(place.manager, "x");
    if (i % 3 == 0) {
      must_run(lease, "SELECT 1");
    }
    if (i % 20 == 0) {
      assert_int_not_equal(run_sql(lease, "error 22012", NULL), CENOTE_OK);
    }
    if (i % 50 == 0) {
      must_run(lease, "sleep 20");
    }
    must_release(lease);
  }
  const cenote_statistics now = statistics_of(place.manager);
  assert_int_equal(now.leases_granted, 200);
  assert_int_equal(now.leases_released, 200);
  assert_int_equal(now.statements, 67 + 10 + 4);
  assert_int_equal(now.statement_errors, 10);
  assert_int_equal(now.statement.count, now.statements);
  assert_int_equal(now.acquire_wait.count, 200);
  assert_int_equal(now.active_leases, 0);
  assert_int_equal(now.connections_created - now.connections_closed,
                   (uint64_t)now.total_connections);
  assert_true(now.statement.max_us >= 19000);
  assert_true(now.statement.p50_us <= now.statement.p95_us &&
              now.statement.p95_us <= now.statement.p99_us &&
              now.statement.p99_us <= now.statement.max_us + now.statement.max_us / 10);
  assert_true(now.hold.count >= 1 && now.hold.count <= 200);
  assert_true(now.connect.count == now.connections_created);
  assert_true(now.acquire_wait.p50_us <= now.acquire_wait.p99_us);
  cenote_statistics small = {.size = 8};
  assert_int_equal(cenote_pool_statistics(place.manager, &small), CENOTE_INVALID);
  place_close(&place);
}

static void the_wait_of_those_who_waited_is_measured(void **state)
{
  (void)state;
  struct place place;
  place_init(&place);
  place.script.delay_ns[CENOTE_REQUEST_OPEN] = 60 * 1000000;
  place_open_with(&place, "0", "1");
  must_release(must_acquire(place.manager, "first"));
  const cenote_statistics now = statistics_of(place.manager);
  assert_int_equal(now.acquire_wait.count, 1);
  assert_true(now.acquire_wait.max_us >= 50000);
  assert_true(now.acquire_wait.p50_us >= 45000);
  assert_true(now.connect.max_us >= 50000);
  place_close(&place);
}

static void health_follows_what_happens(void **state)
{
  (void)state;
  struct place place;
  cenote_health_status health;
  char *json;
  place_init(&place);
  place_set(&place, "connect_backoff_ms", "20");
  place_set(&place, "acquire_timeout_ms", "50");
  place_open_with(&place, "0", "1");
  must(cenote_health(place.manager, false, &health, &place.error), &place.error);
  assert_int_equal(health, CENOTE_HEALTHY); /* before the first connect */
  fake_fail(&place.script, CENOTE_REQUEST_OPEN, CENOTE_CONNECT, -1);
  cenote_lease lease;
  (void)!cenote_acquire(place.manager, "x", 200, &lease, &place.error);
  wait_until(statistics_of(place.manager).connection_errors > 0);
  must(cenote_health(place.manager, true, &health, &place.error), &place.error);
  assert_int_equal(health, CENOTE_UNHEALTHY);
  must(cenote_health_json(place.manager, false, &json, &place.error), &place.error);
  has_text(json, "unhealthy");
  has_text(json, "scripted failure");
  cenote_string_free(json);
  fake_fail(&place.script, CENOTE_REQUEST_OPEN, CENOTE_CONNECT, 0);
  /* It was down for long enough. */
  wait_until(statistics_of(place.manager).breaker == CENOTE_BREAKER_CLOSED);
  lease = must_acquire(place.manager, "healed");
  must_release(lease);
  must(cenote_health(place.manager, true, &health, &place.error), &place.error);
  assert_int_not_equal(health, CENOTE_UNHEALTHY);
  assert_int_equal(cenote_health(place.manager, false, NULL, &place.error), CENOTE_INVALID);
  place_close(&place);
}

static void a_full_pool_is_not_an_unanswering_database(void **state)
{
  (void)state;
  struct place place;
  cenote_health_status health;
  place_init(&place);
  place_set(&place, "connect_timeout_ms", "50");
  place_open_with(&place, "0", "1");
  cenote_lease lease = must_acquire(place.manager, "busy");
  must(cenote_health(place.manager, true, &health, &place.error), &place.error);
  assert_int_not_equal(health, CENOTE_UNHEALTHY);
  must_release(lease);
  place_close(&place);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      TEST(a_shrink_below_what_is_leased_breaks_no_lease),
      TEST(a_shrink_taken_back_in_time_costs_nothing),
      TEST(a_wrong_resize_changes_nothing),
      TEST(waiters_profit_from_a_larger_maximum),
      TEST(a_flush_replaces_idle_ones_now_and_leased_ones_later),
      TEST(a_flush_also_meets_what_is_just_opening),
      TEST(idle_connections_above_the_minimum_end),
      TEST(an_old_connection_is_replaced),
      TEST(idle_connections_are_checked_at_the_interval),
      TEST(short_memory_closes_what_is_spare_and_shrinks_the_rest),
      TEST(the_counters_balance),
      TEST(the_wait_of_those_who_waited_is_measured),
      TEST(health_follows_what_happens),
      TEST(a_full_pool_is_not_an_unanswering_database),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
