/* settings_torture.c - every allocation of settings, figures and JSON fails once: the caller is
 * told, nothing leaks, nothing is half done. */
#include "observe_help.h"
#include "settings_help.h"

#include "support/alloc_torture.h"

static void settle(cenote_status status)
{
  if (status != CENOTE_OK) {
    assert_int_equal(status, CENOTE_NO_MEMORY);
    assert_true(alloc_torture_struck());
  }
}

static void load_and_change(void *context)
{
  struct fixture fixture;
  cenote_status status =
      load_with(&fixture, NULL, context,
                ENVIRONMENT({"TURSO_DATABASE_URL", "libsql://d"}, {"TURSO_AUTH_TOKEN", "t"},
                            {"CENOTE_APPLICATION_NAME", "a"}, ),
                OPTIONS({"application_name", "b"}, {"max_connections", "3"}), 2);
  settle(status);
  if (status != CENOTE_OK) {
    assert_int_equal(fixture.error.status, CENOTE_NO_MEMORY);
    return;
  }
  status = cen_settings_set(&fixture.settings, "max_connections", "77", &fixture.error);
  settle(status);
  assert_string_equal(cen_settings_text(&fixture.settings, "max_connections"),
                      status == CENOTE_OK ? "77" : "3");
  status = cen_settings_set_bounds(&fixture.settings, 55, 66, &fixture.error);
  settle(status);
  assert_true((cen_setting(&fixture.settings, CEN_SET_MIN_CONNECTIONS) == 55) ==
              (cen_setting(&fixture.settings, CEN_SET_MAX_CONNECTIONS) == 66));
  char *json = cen_settings_json(&fixture.settings);
  settle(json != NULL ? CENOTE_OK : CENOTE_NO_MEMORY);
  free(json);
  cen_settings_deinit(&fixture.settings);
}

static void settings_without_memory_are_refused_whole(void **state)
{
  (void)state;
  static const char ini[] = "[cenote]\nretries = 2\nauth_token = x\n";
  char path[64];
  write_file(path, ini, sizeof(ini) - 1);
  assert_true(alloc_torture(load_and_change, path, ALLOC_TORTURE_BALANCED) > 20);
  drop_file(path);
}

static void write_all(void *context)
{
  typedef char *(*writer)(const struct cen_figures *);
  static const writer writers[] = {cen_statistics_json, cen_health_json, cen_stats_json,
                                   cen_status_json};
  for (size_t i = 0; i < sizeof(writers) / sizeof(writers[0]); i++) {
    char *text = writers[i](context);
    settle(text != NULL ? CENOTE_OK : CENOTE_NO_MEMORY);
    if (text != NULL) {
      assert_int_equal(text[strlen(text) - 1], '}');
    }
    free(text);
  }
}

static void json_without_memory_is_no_text(void **state)
{
  (void)state;
  struct cen_figures figures = good_figures();
  assert_true(alloc_torture(write_all, &figures, ALLOC_TORTURE_BALANCED) > 4);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(settings_without_memory_are_refused_whole),
      cmocka_unit_test(json_without_memory_is_no_text),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
