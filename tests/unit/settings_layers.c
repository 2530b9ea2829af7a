/* settings_layers.c - where a value comes from: names, precedence, profiles, settings that must
 * agree, and changes while running. */
#include "settings_help.h"

#include <jansson.h>

static const char *const url = "postgres://user:hunter2@db.example/app";

static int64_t value_of(struct fixture *fixture, cen_setting_id id)
{
  return cen_setting(&fixture->settings, id);
}

/* ------------------------------------------------------------------- names */

static void one_name_has_three_spellings(void **state)
{
  (void)state;
  static const char *const names[] = {"acquire_timeout_ms", "acquireTimeoutMs", "acquireTimeout"};
  struct fixture fixture;
  for (size_t i = 0; i < 3; i++) {
    assert_int_equal(load_with(&fixture, url, NULL, ENVIRONMENT(), OPTIONS({names[i], "77"}), 1),
                     CENOTE_OK);
    assert_int_equal(value_of(&fixture, CEN_SET_ACQUIRE_TIMEOUT), 77);
    cen_settings_deinit(&fixture.settings);
  }
  assert_int_equal(
      load_with(&fixture, url, NULL, ENVIRONMENT({"CENOTE_ACQUIRE_TIMEOUT_MS", "78"}, ), NULL, 0),
      CENOTE_OK);
  assert_int_equal(value_of(&fixture, CEN_SET_ACQUIRE_TIMEOUT), 78);
  cen_settings_deinit(&fixture.settings);
}

static void every_name_is_found_in_every_spelling(void **state)
{
  (void)state;
  for (int id = 0; id < CEN_SETTING_COUNT; id++) {
    char camel[CEN_NAME_SIZE];
    cen_name_camel(camel, cen_setting_rows[id].name);
    assert_int_equal(cen_name_find(cen_setting_rows[id].name).id, id);
    assert_int_equal(cen_name_find(camel).id, id);
    assert_int_equal(cen_name_find(camel).kind, CEN_NAME_NUMBER);
  }
  for (int id = 0; id < CEN_TEXT_COUNT; id++) {
    char camel[CEN_NAME_SIZE];
    cen_name_camel(camel, cen_text_rows[id].name);
    assert_int_equal(cen_name_find(camel).kind, CEN_NAME_TEXT);
    assert_int_equal(cen_name_find(camel).id, id);
  }
}

static void unknown_name_is_an_error_with_a_suggestion(void **state)
{
  (void)state;
  static const struct {
    const char *name, *said;
  } cases[] = {
      {"max_conections", "did you mean max_connections?"},
      {"maxConnection", "did you mean max_connections?"},
      {"MAX_CONNECTIONS", "did you mean max_connections?"},
      {"max-connections", "did you mean max_connections?"},
      {"acquire_timeout", "did you mean acquire_timeout_ms?"},
      {"aquireTimeout", "did you mean acquire_timeout_ms?"},
      {"lgo", "did you mean log?"},
      {"profil", "did you mean profile?"},
      {"url", "pass it to cenote_open"},
      {"colour", "lists all of them"},
      {"", "unknown setting \"\""},
  };
  struct fixture fixture;
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    assert_int_equal(
        load_with(&fixture, url, NULL, ENVIRONMENT(), OPTIONS({cases[i].name, "1"}), 1),
        CENOTE_CONFIG);
    assert_said(&fixture, cases[i].name);
    assert_said(&fixture, cases[i].said);
  }
}

struct heard {
  int lines;
  char last[256];
};

static void hear(void *context, const char *line)
{
  struct heard *heard = context;
  heard->lines++;
  snprintf(heard->last, sizeof(heard->last), "%s", line);
}

static void misspelt_variable_is_warned_about(void **state)
{
  (void)state;
  const char *const fine[] = {"CENOTE_MAX_CONNECTIONS=5",
                              "CENOTE_URL=x",
                              "CENOTE_PROFILE=server",
                              "CENOTE_LOG=debug",
                              "CENOTE_HTTP_ENDPOINT=x",
                              "CENOTE_TEST_MAX_CONNECTION=1",
                              "CENOTE_BENCH_LOGS=1",
                              "CENOTE_SOMETHING_ELSE=1",
                              "CENOTE_",
                              "CENOTE_=",
                              "PATH=/bin",
                              NULL};
  struct heard heard = {0};
  cen_name_check_environment(fine, hear, &heard);
  assert_int_equal(heard.lines, 0);
  const char *const slips[] = {"CENOTE_MAX_CONECTIONS=5", "CENOTE_ACQUIRE_TIMEOUT=5", NULL};
  cen_name_check_environment(slips, hear, &heard);
  assert_int_equal(heard.lines, 2);
  assert_string_equal(heard.last, "CENOTE_ACQUIRE_TIMEOUT is not a setting: did you mean "
                                  "CENOTE_ACQUIRE_TIMEOUT_MS?");
}

static void settings_without_name_or_value_are_refused(void **state)
{
  (void)state;
  struct fixture fixture;
  assert_int_equal(load_with(&fixture, url, NULL, ENVIRONMENT(), OPTIONS({NULL, "1"}), 1),
                   CENOTE_INVALID);
  assert_int_equal(load_with(&fixture, url, NULL, ENVIRONMENT(), OPTIONS({"retries", NULL}), 1),
                   CENOTE_INVALID);
}

/* -------------------------------------------------------------- precedence */

static void option_beats_environment_beats_ini_beats_profile(void **state)
{
  (void)state;
  static const char ini[] = "[cenote]\nmax_connections = 7\nretries = 8\nmax_waiters = 9\n"
                            "application_name = ini\n";
  struct fixture fixture;
  char path[64];
  write_file(path, ini, sizeof(ini) - 1);
  cenote_status status =
      load_with(&fixture, url, path,
                ENVIRONMENT({"CENOTE_RETRIES", "18"}, {"CENOTE_MAX_WAITERS", "19"},
                            {"CENOTE_APPLICATION_NAME", "environment"}, ),
                OPTIONS({"max_waiters", "29"}), 1);
  drop_file(path);
  assert_int_equal(status, CENOTE_OK);
  assert_int_equal(value_of(&fixture, CEN_SET_MIN_CONNECTIONS), 1);
  assert_int_equal(value_of(&fixture, CEN_SET_MAX_CONNECTIONS), 7);
  assert_int_equal(value_of(&fixture, CEN_SET_RETRIES), 18);
  assert_int_equal(value_of(&fixture, CEN_SET_MAX_WAITERS), 29);
  assert_string_equal(fixture.settings.text[CEN_TEXT_APPLICATION_NAME], "environment");
  assert_int_equal(fixture.settings.origin[CEN_SET_MIN_CONNECTIONS], CEN_FROM_DEFAULT);
  assert_int_equal(fixture.settings.origin[CEN_SET_MAX_CONNECTIONS], CEN_FROM_INI);
  assert_int_equal(fixture.settings.origin[CEN_SET_RETRIES], CEN_FROM_ENV);
  assert_int_equal(fixture.settings.origin[CEN_SET_MAX_WAITERS], CEN_FROM_OPTION);
  cen_settings_deinit(&fixture.settings);
}

static void wrong_value_of_a_lower_layer_is_still_an_error(void **state)
{
  (void)state;
  struct fixture fixture;
  assert_int_equal(load_with(&fixture, url, NULL, ENVIRONMENT({"CENOTE_RETRIES", "many"}, ),
                             OPTIONS({"retries", "1"}), 1),
                   CENOTE_CONFIG);
  assert_said(&fixture, "CENOTE_RETRIES: retries = \"many\"");
}

static void empty_variable_counts_as_not_set(void **state)
{
  (void)state;
  struct fixture fixture;
  assert_int_equal(load_with(&fixture, url, NULL,
                             ENVIRONMENT({"CENOTE_RETRIES", ""}, {"CENOTE_PROFILE", ""}, ), NULL,
                             0),
                   CENOTE_OK);
  assert_int_equal(value_of(&fixture, CEN_SET_RETRIES), 3);
  cen_settings_deinit(&fixture.settings);
}

static void empty_text_takes_back_what_a_lower_layer_said(void **state)
{
  (void)state;
  struct fixture fixture;
  assert_int_equal(load_with(&fixture, url, NULL, ENVIRONMENT({"CENOTE_APPLICATION_NAME", "x"}, ),
                             OPTIONS({"applicationName", ""}), 1),
                   CENOTE_OK);
  assert_null(fixture.settings.text[CEN_TEXT_APPLICATION_NAME]);
  cen_settings_deinit(&fixture.settings);
}

/* ---------------------------------------------------------------- profiles */

static void profile_is_recognised_and_decides_the_defaults(void **state)
{
  (void)state;
  static struct {
    struct fake_variable environment[4];
    cen_profile profile;
    int64_t max, min, acquire, idle;
  } cases[] = {
      {{{NULL, NULL}}, CEN_PROFILE_LOCAL, 5, 1, 10000, 300000},
      {{{"VERCEL", "1"}, {NULL, NULL}}, CEN_PROFILE_VERCEL, 2, 1, 5000, 30000},
      {{{"VERCEL", "0"}, {NULL, NULL}}, CEN_PROFILE_LOCAL, 5, 1, 10000, 300000},
      {{{"NETLIFY", "true"}, {NULL, NULL}}, CEN_PROFILE_NETLIFY, 2, 1, 5000, 30000},
      {{{"NETLIFY", "false"}, {NULL, NULL}}, CEN_PROFILE_LOCAL, 5, 1, 10000, 300000},
      {{{"AWS_LAMBDA_FUNCTION_NAME", "f"}, {NULL, NULL}}, CEN_PROFILE_LAMBDA, 2, 1, 5000, 30000},
      {{{"AWS_LAMBDA_FUNCTION_NAME", "f"}, {"VERCEL", "1"}, {NULL, NULL}},
       CEN_PROFILE_VERCEL,
       2,
       1,
       5000,
       30000},
      {{{"CENOTE_PROFILE", "server"}, {"VERCEL", "1"}, {NULL, NULL}},
       CEN_PROFILE_SERVER,
       20,
       2,
       5000,
       30000},
      {{{"CENOTE_PROFILE", "local"}, {"NETLIFY", "true"}, {NULL, NULL}},
       CEN_PROFILE_LOCAL,
       5,
       1,
       10000,
       300000},
  };
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    struct fixture fixture;
    assert_int_equal(load_with(&fixture, url, NULL, cases[i].environment, NULL, 0), CENOTE_OK);
    assert_int_equal(fixture.settings.profile, cases[i].profile);
    assert_int_equal(
        fixture.settings.profile_origin,
        cases[i].profile == CEN_PROFILE_LOCAL &&
                strcmp(cases[i].environment[0].name ? cases[i].environment[0].name : "",
                       "CENOTE_PROFILE") != 0
            ? CEN_FROM_DEFAULT
            : CEN_FROM_ENV);
    assert_int_equal(value_of(&fixture, CEN_SET_MAX_CONNECTIONS), cases[i].max);
    assert_int_equal(value_of(&fixture, CEN_SET_MIN_CONNECTIONS), cases[i].min);
    assert_int_equal(value_of(&fixture, CEN_SET_ACQUIRE_TIMEOUT), cases[i].acquire);
    assert_int_equal(value_of(&fixture, CEN_SET_IDLE_TIMEOUT), cases[i].idle);
    cen_settings_deinit(&fixture.settings);
  }
}

/* The table of interface.md, where the profiles do not differ. */
static void defaults_are_the_documented_ones(void **state)
{
  (void)state;
  static const struct {
    cen_setting_id id;
    int64_t value;
  } expected[] = {
      {CEN_SET_LEASE_TIMEOUT, 30000},
      {CEN_SET_SHUTDOWN_TIMEOUT, 15000},
      {CEN_SET_HEALTH_CHECK_INTERVAL, 60000},
      {CEN_SET_MAX_AGE, 3600000},
      {CEN_SET_CONNECT_TIMEOUT, 5000},
      {CEN_SET_STATEMENT_TIMEOUT, 30000},
      {CEN_SET_RETRIES, 3},
      {CEN_SET_RETRY_DELAY, 1000},
  };
  static const char *const profiles[] = {"vercel", "netlify", "lambda", "local", "server"};
  for (size_t i = 0; i < sizeof(profiles) / sizeof(profiles[0]); i++) {
    struct fixture fixture;
    assert_int_equal(
        load_with(&fixture, url, NULL, ENVIRONMENT(), OPTIONS({"profile", profiles[i]}), 1),
        CENOTE_OK);
    assert_string_equal(cen_profile_name(fixture.settings.profile), profiles[i]);
    assert_int_equal(fixture.settings.profile_origin, CEN_FROM_OPTION);
    for (size_t j = 0; j < sizeof(expected) / sizeof(expected[0]); j++) {
      assert_int_equal(value_of(&fixture, expected[j].id), expected[j].value);
    }
    cen_settings_deinit(&fixture.settings);
  }
}

static void unknown_profile_is_an_error_that_lists_the_names(void **state)
{
  (void)state;
  struct fixture fixture;
  assert_int_equal(
      load_with(&fixture, url, NULL, ENVIRONMENT({"CENOTE_PROFILE", "heroku"}, ), NULL, 0),
      CENOTE_CONFIG);
  assert_said(&fixture, "CENOTE_PROFILE: profile = \"heroku\"");
  assert_said(&fixture, "vercel, netlify, lambda, local and server");
}

static void serverless_minimum_may_be_zero(void **state)
{
  (void)state;
  struct fixture fixture;
  assert_int_equal(load_with(&fixture, url, NULL, ENVIRONMENT({"VERCEL", "1"}, ),
                             OPTIONS({"minConnections", "0"}), 1),
                   CENOTE_OK);
  assert_int_equal(value_of(&fixture, CEN_SET_MIN_CONNECTIONS), 0);
  cen_settings_deinit(&fixture.settings);
}

/* --------------------------------------------------------------- agreement */

static void default_minimum_follows_a_smaller_maximum(void **state)
{
  (void)state;
  struct fixture fixture;
  assert_int_equal(load_with(&fixture, url, NULL, ENVIRONMENT({"CENOTE_PROFILE", "server"}, ),
                             OPTIONS({"max_connections", "1"}), 1),
                   CENOTE_OK);
  assert_int_equal(value_of(&fixture, CEN_SET_MIN_CONNECTIONS), 1);
  assert_string_equal(cen_settings_text(&fixture.settings, "min_connections"), "1");
  cen_settings_deinit(&fixture.settings);
}

static void explicit_minimum_above_the_maximum_is_an_error(void **state)
{
  (void)state;
  struct fixture fixture;
  assert_int_equal(load_with(&fixture, url, NULL, ENVIRONMENT({"CENOTE_MIN_CONNECTIONS", "4"}, ),
                             OPTIONS({"max_connections", "3"}), 1),
                   CENOTE_CONFIG);
  assert_said(&fixture, "min_connections = \"4\" is above max_connections = \"3\"");
  assert_int_equal(
      load_with(&fixture, url, NULL, ENVIRONMENT(), OPTIONS({"min_connections", "6"}), 1),
      CENOTE_CONFIG);
  assert_said(&fixture, "allowed are 0 to 5");
  assert_int_equal(
      load_with(&fixture, url, NULL, ENVIRONMENT(), OPTIONS({"min_connections", "5"}), 1),
      CENOTE_OK);
  cen_settings_deinit(&fixture.settings);
}

static void other_bounds_agree_too(void **state)
{
  (void)state;
  struct fixture fixture;
  assert_int_equal(load_with(&fixture, url, NULL, ENVIRONMENT(),
                             OPTIONS({"lease_timeout_ms", "24h"}, {"connect_backoff_ms", "9s"}), 2),
                   CENOTE_OK);
  assert_int_equal(value_of(&fixture, CEN_SET_LEASE_EXTEND_MAX), 86400000);
  assert_int_equal(value_of(&fixture, CEN_SET_CONNECT_BACKOFF_MAX), 9000);
  cen_settings_deinit(&fixture.settings);
  assert_int_equal(
      load_with(&fixture, url, NULL, ENVIRONMENT(), OPTIONS({"connect_backoff_max_ms", "10"}), 1),
      CENOTE_OK);
  assert_int_equal(value_of(&fixture, CEN_SET_CONNECT_BACKOFF), 10);
  cen_settings_deinit(&fixture.settings);
  assert_int_equal(
      load_with(&fixture, url, NULL, ENVIRONMENT(),
                OPTIONS({"connect_backoff_ms", "11"}, {"connect_backoff_max_ms", "10"}), 2),
      CENOTE_CONFIG);
}

/* ----------------------------------------------------------- while running */

static void running_change_checks_range_name_and_partner(void **state)
{
  (void)state;
  struct fixture fixture;
  struct cen_settings *settings = &fixture.settings;
  assert_int_equal(load_with(&fixture, url, NULL, ENVIRONMENT(), NULL, 0), CENOTE_OK);
  const char *before = cen_settings_text(settings, "max_connections");
  assert_int_equal(cen_settings_set(settings, "maxConnections", "9", &fixture.error), CENOTE_OK);
  assert_int_equal(value_of(&fixture, CEN_SET_MAX_CONNECTIONS), 9);
  assert_int_equal(settings->origin[CEN_SET_MAX_CONNECTIONS], CEN_FROM_OPTION);
  assert_string_equal(cen_settings_text(settings, "max_connections"), "9");
  assert_string_equal(before, "5"); /* what a driver holds stays valid */
  assert_int_equal(cen_settings_set(settings, "max_connections", "0", &fixture.error),
                   CENOTE_CONFIG);
  assert_said(&fixture, "from 1 to 10000");
  assert_int_equal(cen_settings_set(settings, "tls_verify", "off", &fixture.error), CENOTE_CONFIG);
  assert_said(&fixture, "while the manager runs");
  assert_int_equal(cen_settings_set(settings, "auth_token", "x", &fixture.error), CENOTE_CONFIG);
  assert_int_equal(cen_settings_set(settings, "profile", "server", &fixture.error), CENOTE_CONFIG);
  assert_int_equal(cen_settings_set(settings, "max_conections", "3", &fixture.error),
                   CENOTE_CONFIG);
  assert_said(&fixture, "did you mean max_connections?");
  assert_int_equal(cen_settings_set(settings, "min_connections", "10", &fixture.error),
                   CENOTE_CONFIG);
  assert_said(&fixture, "max_connections is \"9\"");
  assert_int_equal(cen_settings_set(settings, "min_connections", "4", &fixture.error), CENOTE_OK);
  assert_int_equal(cen_settings_set(settings, "max_connections", "3", &fixture.error),
                   CENOTE_CONFIG);
  assert_int_equal(value_of(&fixture, CEN_SET_MAX_CONNECTIONS), 9);
  cen_settings_deinit(settings);
}

static void running_default_minimum_follows(void **state)
{
  (void)state;
  struct fixture fixture;
  assert_int_equal(
      load_with(&fixture, url, NULL, ENVIRONMENT({"CENOTE_PROFILE", "server"}, ), NULL, 0),
      CENOTE_OK);
  assert_int_equal(cen_settings_set(&fixture.settings, "max_connections", "1", &fixture.error),
                   CENOTE_OK);
  assert_int_equal(value_of(&fixture, CEN_SET_MIN_CONNECTIONS), 1);
  cen_settings_deinit(&fixture.settings);
}

static void bounds_change_together_or_not_at_all(void **state)
{
  (void)state;
  struct fixture fixture;
  struct cen_settings *settings = &fixture.settings;
  assert_int_equal(load_with(&fixture, url, NULL, ENVIRONMENT(), NULL, 0), CENOTE_OK);
  assert_int_equal(cen_settings_set_bounds(settings, 10, 20, &fixture.error), CENOTE_OK);
  assert_int_equal(cen_settings_set_bounds(settings, 0, 1, &fixture.error), CENOTE_OK);
  assert_int_equal(cen_settings_set_bounds(settings, 2, 1, &fixture.error), CENOTE_CONFIG);
  assert_said(&fixture, "min_connections = \"2\" is above max_connections = \"1\"");
  assert_int_equal(cen_settings_set_bounds(settings, -1, 5, &fixture.error), CENOTE_CONFIG);
  assert_int_equal(cen_settings_set_bounds(settings, 0, 10001, &fixture.error), CENOTE_CONFIG);
  assert_int_equal(value_of(&fixture, CEN_SET_MIN_CONNECTIONS), 0);
  assert_int_equal(value_of(&fixture, CEN_SET_MAX_CONNECTIONS), 1);
  assert_string_equal(cen_settings_text(settings, "max_connections"), "1");
  cen_settings_deinit(settings);
}

/* -------------------------------------------------------------------- JSON */

static void json_shows_everything_but_secrets(void **state)
{
  (void)state;
  struct fixture fixture;
  assert_int_equal(load_with(&fixture, url, NULL,
                             ENVIRONMENT({"CENOTE_AUTH_TOKEN", "tok3n"}, {"CENOTE_RETRIES", "5"}, ),
                             OPTIONS({"application_name", "a\"b"}), 1),
                   CENOTE_OK);
  char *text = cen_settings_json(&fixture.settings);
  assert_non_null(text);
  assert_null(strstr(text, "tok3n"));
  assert_null(strstr(text, "hunter2"));
  json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
  assert_non_null(root);
  const char *profile = NULL, *from = NULL, *shown = NULL;
  json_t *list = NULL;
  assert_int_equal(json_unpack(root, "{s:s, s:s, s:s, s:o}", "profile", &profile, "urlFrom", &from,
                               "url", &shown, "settings", &list),
                   0);
  assert_string_equal(profile, "local");
  assert_string_equal(from, "option");
  assert_non_null(strstr(shown, "db.example"));
  assert_int_equal(json_array_size(list), CEN_SETTING_COUNT + CEN_TEXT_COUNT);
  json_t *retries = json_array_get(list, CEN_SET_RETRIES);
  json_int_t value = 0, def = 0, minimum = -1, maximum = -1;
  const char *name = NULL, *origin = NULL;
  int reloadable = 0;
  assert_int_equal(json_unpack(retries, "{s:s, s:I, s:I, s:I, s:I, s:b, s:s}", "name", &name,
                               "value", &value, "default", &def, "minimum", &minimum, "maximum",
                               &maximum, "reloadable", &reloadable, "origin", &origin),
                   0);
  assert_string_equal(name, "retries");
  assert_int_equal(value, 5);
  assert_int_equal(def, 3);
  assert_int_equal(minimum, 0);
  assert_int_equal(maximum, 100);
  assert_string_equal(origin, "environment");
  json_t *token = json_array_get(list, (size_t)CEN_SETTING_COUNT + CEN_TEXT_AUTH_TOKEN);
  assert_string_equal(json_string_value(json_object_get(token, "value")), "***");
  json_t *file = json_array_get(list, (size_t)CEN_SETTING_COUNT + CEN_TEXT_TLS_CA_FILE);
  assert_true(json_is_null(json_object_get(file, "value")));
  json_decref(root);
  free(text);
  cen_settings_deinit(&fixture.settings);
}

static void text_of_an_unknown_setting_is_null(void **state)
{
  (void)state;
  struct fixture fixture;
  assert_int_equal(load_with(&fixture, url, NULL, ENVIRONMENT(), NULL, 0), CENOTE_OK);
  assert_null(cen_settings_text(&fixture.settings, "nothing"));
  assert_null(cen_settings_text(&fixture.settings, "tls_ca_file"));
  assert_string_equal(cen_settings_text(&fixture.settings, "tls_verify"), "1");
  cen_settings_deinit(&fixture.settings);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(one_name_has_three_spellings),
      cmocka_unit_test(every_name_is_found_in_every_spelling),
      cmocka_unit_test(unknown_name_is_an_error_with_a_suggestion),
      cmocka_unit_test(misspelt_variable_is_warned_about),
      cmocka_unit_test(settings_without_name_or_value_are_refused),
      cmocka_unit_test(option_beats_environment_beats_ini_beats_profile),
      cmocka_unit_test(wrong_value_of_a_lower_layer_is_still_an_error),
      cmocka_unit_test(empty_variable_counts_as_not_set),
      cmocka_unit_test(empty_text_takes_back_what_a_lower_layer_said),
      cmocka_unit_test(profile_is_recognised_and_decides_the_defaults),
      cmocka_unit_test(defaults_are_the_documented_ones),
      cmocka_unit_test(unknown_profile_is_an_error_that_lists_the_names),
      cmocka_unit_test(serverless_minimum_may_be_zero),
      cmocka_unit_test(default_minimum_follows_a_smaller_maximum),
      cmocka_unit_test(explicit_minimum_above_the_maximum_is_an_error),
      cmocka_unit_test(other_bounds_agree_too),
      cmocka_unit_test(running_change_checks_range_name_and_partner),
      cmocka_unit_test(running_default_minimum_follows),
      cmocka_unit_test(bounds_change_together_or_not_at_all),
      cmocka_unit_test(json_shows_everything_but_secrets),
      cmocka_unit_test(text_of_an_unknown_setting_is_null),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
