/* settings_range.c - every row of the table: its defaults, its bounds, one below, one past. */
#include "settings_help.h"

#include <inttypes.h>

static const char *const url = "sqlite::memory:";

static cenote_status load_one(struct fixture *fixture, const char *name, const char *value)
{
  return load_with(fixture, url, NULL, ENVIRONMENT(), OPTIONS({name, value}), 1);
}

static void defaults_are_in_range(void **state)
{
  (void)state;
  for (int id = 0; id < CEN_SETTING_COUNT; id++) {
    const struct cen_setting_row *row = &cen_setting_rows[id];
    const int64_t values[] = {row->serverless, row->local, row->server};
    for (size_t i = 0; i < 3; i++) {
      assert_true(values[i] >= row->minimum && values[i] <= row->maximum);
    }
    assert_true(strlen(row->name) + sizeof("CENOTE_") < CEN_NAME_SIZE);
  }
}

/* max_connections_at needs a partner that agrees: the minimum follows by default. */
static void both_bounds_are_accepted(void **state)
{
  (void)state;
  for (int id = 0; id < CEN_SETTING_COUNT; id++) {
    const struct cen_setting_row *row = &cen_setting_rows[id];
    const int64_t bounds[] = {row->minimum, row->maximum};
    for (size_t i = 0; i < 2; i++) {
      struct fixture fixture;
      char text[24];
      snprintf(text, sizeof(text), "%" PRId64, bounds[i]);
      cenote_status status = load_with(&fixture, url, NULL, ENVIRONMENT(),
                                       OPTIONS({row->name, text}, {"max_connections", "10000"}),
                                       id == CEN_SET_MIN_CONNECTIONS ? 2 : 1);
      if (status != CENOTE_OK) {
        fail_msg("%s = %s: %s", row->name, text, fixture.error.message);
      }
      assert_int_equal(cen_setting(&fixture.settings, (cen_setting_id)id), bounds[i]);
      assert_string_equal(cen_settings_text(&fixture.settings, row->name), text);
      cen_settings_deinit(&fixture.settings);
    }
  }
}

static void expect_range_error(const struct cen_setting_row *row, const char *text,
                               const char *shown)
{
  struct fixture fixture;
  char part[80];
  if (load_one(&fixture, row->name, text) != CENOTE_CONFIG) {
    fail_msg("%s = %s was accepted", row->name, text);
  }
  assert_int_equal(fixture.error.status, CENOTE_CONFIG);
  snprintf(part, sizeof(part), "%s = \"%s\"", row->name, shown);
  assert_said(&fixture, part);
  if (row->type == CEN_SETTING_BOOL) {
    assert_said(&fixture, "true and false");
    return;
  }
  snprintf(part, sizeof(part), "from %" PRId64 " to %" PRId64, row->minimum, row->maximum);
  assert_said(&fixture, part);
}

static void one_below_and_one_past_are_errors_with_the_range(void **state)
{
  (void)state;
  for (int id = 0; id < CEN_SETTING_COUNT; id++) {
    const struct cen_setting_row *row = &cen_setting_rows[id];
    char text[24];
    snprintf(text, sizeof(text), "%" PRId64, row->minimum - 1);
    expect_range_error(row, text, text);
    snprintf(text, sizeof(text), "%" PRId64, row->maximum + 1);
    expect_range_error(row, text, text);
  }
}

static void what_is_no_number_is_an_error_with_the_range(void **state)
{
  (void)state;
  static const char *const texts[] = {
      "",
      " ",
      "ten",
      "1.5",
      "1e3",
      "0x10",
      "--1",
      "-",
      "5 5",
      "5x",
      "NaN",
      "1,0",
      "1_0",
      "99999999999999999999",
      "-99999999999999999999999999999999999999999999999999",
      "9223372036854775807",
  };
  for (int id = 0; id < CEN_SETTING_COUNT; id++) {
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
      expect_range_error(&cen_setting_rows[id], texts[i], texts[i]);
    }
    expect_range_error(&cen_setting_rows[id], "5\n", "5\\x0a");
  }
}

static void long_values_are_cut_in_messages(void **state)
{
  (void)state;
  struct fixture fixture;
  char text[5001];
  memset(text, 'x', sizeof(text) - 1);
  text[sizeof(text) - 1] = '\0';
  assert_int_equal(load_one(&fixture, "retries", text), CENOTE_CONFIG);
  assert_said(&fixture, "retries = \"xxx");
  assert_said(&fixture, "from 0 to 100");
  assert_int_equal(load_one(&fixture, text, "1"), CENOTE_CONFIG);
  assert_said(&fixture, "unknown setting \"xxx");
}

static void units_are_understood(void **state)
{
  (void)state;
  static const struct {
    const char *name, *text;
    cen_setting_id id;
    int64_t value;
  } good[] = {
      {"acquire_timeout_ms", "250", CEN_SET_ACQUIRE_TIMEOUT, 250},
      {"acquire_timeout_ms", "250ms", CEN_SET_ACQUIRE_TIMEOUT, 250},
      {"acquire_timeout_ms", "10s", CEN_SET_ACQUIRE_TIMEOUT, 10000},
      {"acquire_timeout_ms", "10 s", CEN_SET_ACQUIRE_TIMEOUT, 10000},
      {"acquire_timeout_ms", "5m", CEN_SET_ACQUIRE_TIMEOUT, 300000},
      {"acquire_timeout_ms", "5MIN", CEN_SET_ACQUIRE_TIMEOUT, 300000},
      {"acquire_timeout_ms", "2h", CEN_SET_ACQUIRE_TIMEOUT, 7200000},
      {"acquire_timeout_ms", "1d", CEN_SET_ACQUIRE_TIMEOUT, 86400000},
      {"max_result_bytes", "100", CEN_SET_MAX_RESULT_BYTES, 100},
      {"max_result_bytes", "100B", CEN_SET_MAX_RESULT_BYTES, 100},
      {"max_result_bytes", "64kB", CEN_SET_MAX_RESULT_BYTES, 64000},
      {"max_result_bytes", "64KiB", CEN_SET_MAX_RESULT_BYTES, 65536},
      {"max_result_bytes", "2MB", CEN_SET_MAX_RESULT_BYTES, 2000000},
      {"max_result_bytes", "64MiB", CEN_SET_MAX_RESULT_BYTES, 67108864},
      {"max_result_bytes", "1 GiB", CEN_SET_MAX_RESULT_BYTES, 1073741824},
      {"max_result_bytes", "1TiB", CEN_SET_MAX_RESULT_BYTES, INT64_C(1099511627776)},
      {"max_result_rows", "0", CEN_SET_MAX_RESULT_ROWS, 0},
      {"memory_pressure", "off", CEN_SET_MEMORY_PRESSURE, 0},
      {"memory_pressure", "yes", CEN_SET_MEMORY_PRESSURE, 1},
  };
  static const struct {
    const char *name, *text;
  } bad[] = {
      {"acquire_timeout_ms", "25h"},     {"acquire_timeout_ms", "10 MB"},
      {"acquire_timeout_ms", "2 weeks"}, {"acquire_timeout_ms", "9223372036854775807d"},
      {"max_result_bytes", "5s"},        {"max_result_bytes", "2TiB"},
      {"max_result_rows", "5k"},         {"max_connections", "5s"},
      {"memory_pressure", "maybe"},
  };
  struct fixture fixture;
  for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
    if (load_one(&fixture, good[i].name, good[i].text) != CENOTE_OK) {
      fail_msg("%s = %s: %s", good[i].name, good[i].text, fixture.error.message);
    }
    assert_int_equal(cen_setting(&fixture.settings, good[i].id), good[i].value);
    cen_settings_deinit(&fixture.settings);
  }
  for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
    assert_int_equal(load_one(&fixture, bad[i].name, bad[i].text), CENOTE_CONFIG);
    assert_said(&fixture, bad[i].text);
  }
}

static void texts_have_ceilings_and_no_control_characters(void **state)
{
  (void)state;
  static const struct {
    const char *name;
    size_t ceiling;
  } texts[] = {{"application_name", CEN_MAX_APPLICATION_NAME},
               {"tls_ca_file", CEN_MAX_FILE_NAME},
               {"auth_token", CEN_MAX_TOKEN}};
  static char text[CEN_MAX_TOKEN + 2];
  struct fixture fixture;
  for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
    memset(text, 'q', texts[i].ceiling);
    text[texts[i].ceiling] = '\0';
    assert_int_equal(load_one(&fixture, texts[i].name, text), CENOTE_OK);
    assert_string_equal(cen_settings_text(&fixture.settings, texts[i].name), text);
    cen_settings_deinit(&fixture.settings);
    text[texts[i].ceiling] = 'q';
    text[texts[i].ceiling + 1] = '\0';
    assert_int_equal(load_one(&fixture, texts[i].name, text), CENOTE_CONFIG);
    assert_said(&fixture, texts[i].name);
    assert_null(strstr(fixture.error.message, "qqq"));
    assert_int_equal(load_one(&fixture, texts[i].name, "a\nb"), CENOTE_CONFIG);
    assert_said(&fixture, "control character");
  }
  assert_int_equal(load_one(&fixture, "log", "loud"), CENOTE_CONFIG);
  assert_said(&fixture, "log = \"loud\": allowed are error, warning, info and debug");
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(defaults_are_in_range),
      cmocka_unit_test(both_bounds_are_accepted),
      cmocka_unit_test(one_below_and_one_past_are_errors_with_the_range),
      cmocka_unit_test(what_is_no_number_is_an_error_with_the_range),
      cmocka_unit_test(long_values_are_cut_in_messages),
      cmocka_unit_test(units_are_understood),
      cmocka_unit_test(texts_have_ceilings_and_no_control_characters),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
