/* settings_url.c - which database is meant, and where that was said. */
#include "settings_help.h"

#include "base/limits.h"

#include <cenote/driver.h>

static void assert_url(const char *url, struct fake_variable *environment, const char *expected,
                       const char *from)
{
  struct fixture fixture;
  if (load_with(&fixture, url, NULL, environment, NULL, 0) != CENOTE_OK) {
    fail_msg("%s", fixture.error.message);
  }
  assert_string_equal(fixture.settings.url, expected);
  assert_string_equal(fixture.settings.url_from, from);
  cen_settings_deinit(&fixture.settings);
}

static void url_is_looked_for_in_order(void **state)
{
  (void)state;
  assert_url("sqlite:a", ENVIRONMENT({"CENOTE_URL", "sqlite:b"}, {"DATABASE_URL", "sqlite:c"}, ),
             "sqlite:a", "option");
  assert_url(NULL,
             ENVIRONMENT({"CENOTE_URL", "sqlite:b"}, {"DATABASE_URL", "sqlite:c"},
                         {"TURSO_DATABASE_URL", "libsql://d"}, ),
             "sqlite:b", "CENOTE_URL");
  assert_url(NULL,
             ENVIRONMENT({"CENOTE_URL", ""}, {"DATABASE_URL", "sqlite:c"},
                         {"TURSO_DATABASE_URL", "libsql://d"}, ),
             "sqlite:c", "DATABASE_URL");
  assert_url(NULL, ENVIRONMENT({"TURSO_DATABASE_URL", "libsql://d"}, ), "libsql://d",
             "TURSO_DATABASE_URL");
  assert_url(NULL, ENVIRONMENT(), "sqlite:cenote.db", "default");
  assert_url(NULL, ENVIRONMENT({"CENOTE_PROFILE", "server"}, ), "sqlite:cenote.db", "default");
}

static void missing_url_on_a_serverless_profile_is_an_error(void **state)
{
  (void)state;
  static const char *const profiles[] = {"vercel", "netlify", "lambda"};
  for (size_t i = 0; i < 3; i++) {
    struct fixture fixture;
    assert_int_equal(
        load_with(&fixture, NULL, NULL, ENVIRONMENT({"CENOTE_PROFILE", profiles[i]}, ), NULL, 0),
        CENOTE_CONFIG);
    assert_said(&fixture, profiles[i]);
    assert_said(&fixture, "CENOTE_URL, DATABASE_URL or TURSO_DATABASE_URL");
    assert_url(NULL, ENVIRONMENT({"CENOTE_PROFILE", profiles[i]}, {"DATABASE_URL", "sqlite:c"}, ),
               "sqlite:c", "DATABASE_URL");
  }
}

static void empty_url_is_an_error_and_never_a_silent_file(void **state)
{
  (void)state;
  struct fixture fixture;
  assert_int_equal(
      load_with(&fixture, "", NULL, ENVIRONMENT({"DATABASE_URL", "sqlite:c"}, ), NULL, 0),
      CENOTE_CONFIG);
  assert_said(&fixture, "the database URL (option) is empty");
}

static void url_has_a_ceiling_and_no_control_characters(void **state)
{
  (void)state;
  static char url[CEN_MAX_URL + 2];
  struct fixture fixture;
  memset(url, 'x', CEN_MAX_URL);
  memcpy(url, "sqlite:", 7);
  url[CEN_MAX_URL] = '\0';
  assert_url(url, ENVIRONMENT(), url, "option");
  url[CEN_MAX_URL] = 'x';
  assert_int_equal(load_with(&fixture, url, NULL, ENVIRONMENT(), NULL, 0), CENOTE_CONFIG);
  assert_said(&fixture, "8193 bytes long: allowed are 1 to 8192");
  assert_int_equal(load_with(&fixture, NULL, NULL,
                             ENVIRONMENT({"DATABASE_URL", "postgres://u:hunter2@h/d\n"}, ), NULL,
                             0),
                   CENOTE_CONFIG);
  assert_said(&fixture, "(DATABASE_URL)");
  assert_said(&fixture, "line end");
  assert_null(strstr(fixture.error.message, "hunter2"));
}

static void turso_token_goes_with_a_turso_url_only(void **state)
{
  (void)state;
  static struct {
    const char *url;
    struct fake_variable environment[4];
    const char *token;
  } cases[] = {
      {NULL, {{"TURSO_DATABASE_URL", "https://d"}, {"TURSO_AUTH_TOKEN", "t"}, {NULL, NULL}}, "t"},
      {"libsql://d", {{"TURSO_AUTH_TOKEN", "t"}, {NULL, NULL}}, "t"},
      {"https://elsewhere", {{"TURSO_AUTH_TOKEN", "t"}, {NULL, NULL}}, NULL},
      {"postgres://h/d", {{"TURSO_AUTH_TOKEN", "t"}, {NULL, NULL}}, NULL},
      {"libsql://d", {{"TURSO_AUTH_TOKEN", "t"}, {"CENOTE_AUTH_TOKEN", "c"}, {NULL, NULL}}, "c"},
      {"libsql://d", {{"TURSO_AUTH_TOKEN", ""}, {NULL, NULL}}, NULL},
  };
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    struct fixture fixture;
    assert_int_equal(load_with(&fixture, cases[i].url, NULL, cases[i].environment, NULL, 0),
                     CENOTE_OK);
    const char *token = fixture.settings.text[CEN_TEXT_AUTH_TOKEN];
    assert_true((token == NULL) == (cases[i].token == NULL));
    if (token != NULL) {
      assert_string_equal(token, cases[i].token);
    }
    cen_settings_deinit(&fixture.settings);
  }
  struct fixture fixture;
  assert_int_equal(load_with(&fixture, "libsql://d", NULL,
                             ENVIRONMENT({"TURSO_AUTH_TOKEN", "s3cr3t\n"}, ), NULL, 0),
                   CENOTE_CONFIG);
  assert_said(&fixture, "TURSO_AUTH_TOKEN: auth_token");
  assert_null(strstr(fixture.error.message, "s3cr3t"));
}

/* A driver of the caller's own: its URL is its business, and the environment's is not meant. */
static void own_driver_needs_no_url(void **state)
{
  (void)state;
  static const cenote_driver driver = {.size = sizeof(driver), .name = "own"};
  cenote_options options = CENOTE_OPTIONS_INIT;
  cenote_error error = CENOTE_ERROR_INIT;
  struct cen_settings settings;
  options.driver = &driver;
  assert_int_equal(cen_settings_load(&settings, NULL, &options, fake_getenv,
                                     ENVIRONMENT({"DATABASE_URL", "sqlite:c"}, {"VERCEL", "1"}, ),
                                     &error),
                   CENOTE_OK);
  assert_string_equal(settings.url, "");
  assert_string_equal(settings.url_from, "driver");
  cen_settings_deinit(&settings);
  assert_int_equal(cen_settings_load(&settings, "", &options, fake_getenv, ENVIRONMENT(), &error),
                   CENOTE_OK);
  cen_settings_deinit(&settings);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(url_is_looked_for_in_order),
      cmocka_unit_test(missing_url_on_a_serverless_profile_is_an_error),
      cmocka_unit_test(empty_url_is_an_error_and_never_a_silent_file),
      cmocka_unit_test(url_has_a_ceiling_and_no_control_characters),
      cmocka_unit_test(turso_token_goes_with_a_turso_url_only),
      cmocka_unit_test(own_driver_needs_no_url),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
