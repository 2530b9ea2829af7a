/* manager_open.c - opening: what is refused and how it is said, what happens before the first
 * caller comes, and the default manager. */
#include "manager_help.h"

#include "base/limits.h"

#include <unistd.h>

/* The whole struct is filled with rubbish first: outputs must be cleared by the library. */
static void refused(const char *url, const cenote_options *options, cenote_status status,
                    const char *part)
{
  cenote_manager *manager = (cenote_manager *)(uintptr_t)1;
  cenote_error error = CENOTE_ERROR_INIT;
  expect(status, cenote_open(url, options, &manager, &error), &error);
  assert_null(manager);
  assert_int_equal(error.status, status);
  has_text(error.message, part);
}

static void refused_setting_as(cenote_status status, const char *name, const char *value,
                               const char *part)
{
  const cenote_setting setting = {name, value};
  cenote_options options = CENOTE_OPTIONS_INIT;
  options.settings = &setting;
  options.settings_count = 1;
  refused("sqlite::memory:", &options, status, part);
}

static void refused_setting(const char *name, const char *value, const char *part)
{
  refused_setting_as(CENOTE_CONFIG, name, value, part);
}

static void a_url_of_no_known_database_is_refused(void **state)
{
  (void)state;
  refused("mongodb://secret:hunter2@host/db", NULL, CENOTE_CONFIG, "mongodb");
  cenote_manager *manager;
  cenote_error error = CENOTE_ERROR_INIT;
  expect(CENOTE_CONFIG, cenote_open("mongodb://u:hunter2@host/db", NULL, &manager, &error), &error);
  has_no_text(error.message, "hunter2");
  has_no_text(error.details, "hunter2");
  refused("", NULL, CENOTE_CONFIG, "");
  refused("no scheme at all", NULL, CENOTE_CONFIG, "");
}

static void a_wrong_setting_is_named_with_its_range(void **state)
{
  (void)state;
  refused_setting("max_conections", "5", "max_conections");
  refused_setting("max_connections", "0", "max_connections");
  refused_setting("max_connections", "0", "10000");
  refused_setting("max_connections", "ten", "ten");
  refused_setting("max_connections", "-1", "-1");
  refused_setting("lease_timeout_ms", "99999999999999999999", "lease_timeout_ms");
  refused_setting_as(CENOTE_INVALID, NULL, "5", "settings[0]");
  refused_setting_as(CENOTE_INVALID, "max_connections", NULL, "settings[0]");
  const cenote_setting both[] = {{"min_connections", "6"}, {"max_connections", "5"}};
  cenote_options options = CENOTE_OPTIONS_INIT;
  options.settings = both;
  options.settings_count = 2;
  refused("sqlite::memory:", &options, CENOTE_CONFIG, "min_connections");
}

static void null_pointers_and_short_structs_are_invalid(void **state)
{
  (void)state;
  cenote_error error = CENOTE_ERROR_INIT;
  expect(CENOTE_INVALID, cenote_open("sqlite::memory:", NULL, NULL, &error), &error);
  cenote_options options = CENOTE_OPTIONS_INIT;
  options.size = sizeof options - 1;
  refused("sqlite::memory:", &options, CENOTE_INVALID, "size");
  options.size = 0;
  refused("sqlite::memory:", &options, CENOTE_INVALID, "CENOTE_OPTIONS_INIT");
  options = (cenote_options)CENOTE_OPTIONS_INIT;
  options.settings_count = 3;
  refused("sqlite::memory:", &options, CENOTE_INVALID, "settings");
  cenote_driver driver = fake_driver;
  options = (cenote_options)CENOTE_OPTIONS_INIT;
  options.driver = &driver;
  driver.advance = NULL;
  refused("fake://", &options, CENOTE_INVALID, "driver");
  driver = fake_driver;
  driver.size = 8;
  refused("fake://", &options, CENOTE_INVALID, "driver");
}

static void an_error_that_was_not_initialised_is_left_alone(void **state)
{
  (void)state;
  cenote_manager *manager;
  cenote_error error;
  memset(&error, 0, sizeof error);
  assert_int_equal(cenote_open("mongodb://x", NULL, &manager, &error), CENOTE_CONFIG);
  assert_int_equal(error.message[0], 0);
  assert_int_equal(cenote_open("mongodb://x", NULL, &manager, NULL), CENOTE_CONFIG);
}

static void every_call_survives_null(void **state)
{
  (void)state;
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_lease lease = {1, 2, 3};
  cenote_ticket ticket = {1, 2, 3};
  char *json = NULL;
  size_t count = 7;
  cenote_health_status health;
  cenote_statistics statistics = CENOTE_STATISTICS_INIT;
  cenote_transaction *tx = (cenote_transaction *)(uintptr_t)1;
  cenote_result **results = (cenote_result **)(uintptr_t)1;
  assert_int_equal(cenote_acquire(NULL, "x", 0, &lease, &error), CENOTE_INVALID);
  assert_int_equal(cenote_acquire_with(NULL, "x", NULL, &lease, &error), CENOTE_INVALID);
  assert_int_equal(cenote_acquire_async(NULL, "x", 0, NULL, NULL, &ticket, &error), CENOTE_INVALID);
  assert_true(ticket.number == 0);
  assert_int_equal(cenote_cancel_acquire((cenote_ticket){0}), CENOTE_STALE);
  assert_int_equal(cenote_release((cenote_lease){0}), CENOTE_STALE);
  assert_null(cenote_lease_resource((cenote_lease){0}));
  assert_int_equal(cenote_lease_stats((cenote_lease){0}, NULL), CENOTE_INVALID);
  expect(CENOTE_STALE, cenote_lease_extend((cenote_lease){0}, 5, &error), &error);
  expect(CENOTE_STALE, cenote_begin((cenote_lease){0}, 0, &tx, &error), &error);
  assert_null(tx);
  expect(CENOTE_INVALID, cenote_begin((cenote_lease){0}, 0, NULL, &error), &error);
  expect(CENOTE_INVALID,
         cenote_batch((cenote_lease){0}, NULL, 1, CENOTE_BATCH_READ, &results, &error), &error);
  assert_null(results);
  expect(CENOTE_INVALID, cenote_commit(NULL, &error), &error);
  assert_int_equal(cenote_rollback(NULL, &error), CENOTE_OK);
  assert_int_equal(cenote_tx_execute(NULL, "x", NULL, 0, NULL, &error), CENOTE_INVALID);
  assert_int_equal(cenote_pool_statistics(NULL, &statistics), CENOTE_INVALID);
  assert_int_equal(cenote_pool_leases(NULL, NULL, 0, &count), CENOTE_INVALID);
  assert_int_equal(cenote_health(NULL, false, &health, &error), CENOTE_INVALID);
  assert_int_equal(cenote_health_json(NULL, false, &json, &error), CENOTE_INVALID);
  assert_int_equal(cenote_pool_statistics_json(NULL, &json, &error), CENOTE_INVALID);
  assert_int_equal(cenote_config_json(NULL, &json, &error), CENOTE_INVALID);
  assert_int_equal(cenote_resize(NULL, 1, 2, &error), CENOTE_INVALID);
  assert_int_equal(cenote_flush(NULL, &error), CENOTE_INVALID);
  assert_int_equal(cenote_shutdown(NULL, 0, &error), CENOTE_INVALID);
  assert_int_equal(cenote_default_manager(NULL, &error), CENOTE_INVALID);
  cenote_close(NULL);
  cenote_result_free(NULL);
  cenote_results_free(NULL, 3);
  cenote_string_free(NULL);
}

static void opening_connects_to_nothing_without_a_minimum(void **state)
{
  (void)state;
  struct place place;
  place_init(&place);
  place_open_with(&place, "0", "5");
  pause_ms(100);
  assert_int_equal(place.script.created, 0);
  cenote_statistics now = statistics_of(place.manager);
  assert_int_equal(now.state, CENOTE_STATE_IDLE);
  assert_int_equal(now.total_connections, 0);
  cenote_health_status health = CENOTE_UNHEALTHY;
  must(cenote_health(place.manager, false, &health, &place.error), &place.error);
  assert_int_equal(health, CENOTE_HEALTHY);
  place_close(&place);
}

static void the_minimum_is_filled_in_the_background(void **state)
{
  (void)state;
  struct place place;
  place_init(&place);
  place_open_with(&place, "3", "5");
  wait_until(statistics_of(place.manager).idle_connections == 3);
  pause_ms(50);
  assert_int_equal(place.script.opened, 3);
  fake_kill_all(&place.script); /* one dies in use: it is replaced without anybody asking */
  cenote_lease lease = must_acquire(place.manager, "finder");
  assert_int_not_equal(run_sql(lease, "who", &place.error), CENOTE_OK);
  must_release(lease);
  wait_until(statistics_of(place.manager).total_connections >= 3 && place.script.opened >= 4);
  place_close(&place);
}

static void opens_at_once_are_bounded_and_the_maximum_holds(void **state)
{
  (void)state;
  struct place place;
  place_init(&place);
  place.script.delay_ns[CENOTE_REQUEST_OPEN] = 50 * 1000000;
  place.script.gate[CENOTE_REQUEST_OPEN] = 1;
  place_set(&place, "max_opening", "2");
  place_open_with(&place, "6", "6");
  wait_until(started(&place, CENOTE_REQUEST_OPEN) == 2);
  pause_ms(50);
  assert_int_equal(started(&place, CENOTE_REQUEST_OPEN), 2);
  int64_t most = statistics_of(place.manager).opening;
  place.script.gate[CENOTE_REQUEST_OPEN] = 0;
  fake_let_go(&place.script, 1);
  while (statistics_of(place.manager).idle_connections < 6) {
    const cenote_statistics now = statistics_of(place.manager);
    most = now.opening > most ? now.opening : most;
    pause_ms(1);
  }
  assert_int_equal(most, 2);
  assert_int_equal(place.script.open_most, 6);
  place_close(&place);
}

static void a_managers_settings_are_its_own_after_open(void **state)
{
  (void)state;
  struct place place;
  char name[] = "max_connections";
  char value[] = "3";
  place_init(&place);
  place_set(&place, name, value);
  place_set(&place, "min_connections", "0");
  place_open(&place);
  memset(name, 'x', sizeof name - 1);
  memset(value, '9', sizeof value - 1);
  assert_int_equal(statistics_of(place.manager).max_connections, 3);
  char *json;
  must(cenote_config_json(place.manager, &json, &place.error), &place.error);
  has_text(json, "\"max_connections\"");
  cenote_string_free(json);
  place_close(&place);
}

static void a_driver_that_refuses_the_url_fails_the_open(void **state)
{
  (void)state;
  cenote_manager *manager;
  cenote_error error = CENOTE_ERROR_INIT;
  const cenote_status status = cenote_open("sqlite:", NULL, &manager, &error);
  if (status == CENOTE_OK) { /* an empty path is SQLite's own temporary database */
    cenote_close(manager);
  } else {
    assert_null(manager);
    assert_int_not_equal(error.message[0], 0);
  }
}

static void many_managers_come_and_go(void **state)
{
  (void)state;
  enum { ROUNDS = 40 };
  for (int i = 0; i < ROUNDS; i++) {
    struct place place;
    place_init(&place);
    place_open_with(&place, "1", "2");
    if (i % 2 == 0) {
      must_release(must_acquire(place.manager, "one"));
    }
    place_close(&place);
  }
}

static void the_ceiling_of_managers_is_an_error_not_a_crash(void **state)
{
  (void)state;
  static cenote_manager *managers[CEN_MAX_MANAGERS + 2];
  struct place place;
  int count = 0;
  place_init(&place);
  place_set(&place, "min_connections", "0");
  place.options.external_loop = true; /* no thread each */
  cenote_status status = CENOTE_OK;
  while (status == CENOTE_OK && count <= CEN_MAX_MANAGERS) {
    status = cenote_open("fake://", &place.options, &managers[count], &place.error);
    count += status == CENOTE_OK;
  }
  assert_int_not_equal(status, CENOTE_OK); /* managers, or this process's descriptors */
  assert_null(managers[count]);
  assert_true(count > 10);
  while (count-- > 0) {
    cenote_close(managers[count]);
  }
  place_open(&place);
  place_close(&place);
}

static void the_default_manager_is_one_until_it_is_reset(void **state)
{
  (void)state;
  cenote_manager *first, *second;
  cenote_error error = CENOTE_ERROR_INIT;
  setenv("CENOTE_URL", "sqlite::memory:", 1);
  must(cenote_default_manager(&first, &error), &error);
  must(cenote_default_manager(&second, &error), &error);
  assert_ptr_equal(first, second);
  cenote_lease lease = must_acquire(first, "default");
  assert_int_equal(must_read(lease, "SELECT 41 + 1"), 42);
  must_release(lease);
  cenote_reset_default_manager();
  cenote_reset_default_manager();
  assert_int_equal(cenote_release(lease), CENOTE_STALE);
  setenv("CENOTE_URL", "mongodb://", 1);
  assert_int_equal(cenote_default_manager(&first, &error), CENOTE_CONFIG);
  assert_null(first);
  setenv("CENOTE_URL", "sqlite::memory:", 1);
  must(cenote_default_manager(&first, &error), &error); /* a failure is not remembered */
  cenote_reset_default_manager();
  unsetenv("CENOTE_URL");
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      TEST(a_url_of_no_known_database_is_refused),
      TEST(a_wrong_setting_is_named_with_its_range),
      TEST(null_pointers_and_short_structs_are_invalid),
      TEST(an_error_that_was_not_initialised_is_left_alone),
      TEST(every_call_survives_null),
      TEST(opening_connects_to_nothing_without_a_minimum),
      TEST(the_minimum_is_filled_in_the_background),
      TEST(opens_at_once_are_bounded_and_the_maximum_holds),
      TEST(a_managers_settings_are_its_own_after_open),
      TEST(a_driver_that_refuses_the_url_fails_the_open),
      TEST(many_managers_come_and_go),
      TEST(the_ceiling_of_managers_is_an_error_not_a_crash),
      TEST(the_default_manager_is_one_until_it_is_reset),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
