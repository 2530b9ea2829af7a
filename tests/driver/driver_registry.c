/* Which driver serves a URL, and what is said when none does. */
#include "driver/registry.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void a_scheme_finds_its_driver_in_any_case(void **state)
{
  static const struct {
    const char *url, *name;
  } known[] = {
      {"sqlite:a.db", "sqlite"},      {"SQLite::memory:", "sqlite"}, {"file:a.db", "sqlite"},
      {"postgres://h/d", "postgres"}, {"PostgreSQL://", "postgres"}, {"libsql://h", "libsql"},
      {"http://h:8080/d", "libsql"},  {"https://h", "libsql"},
  };
  (void)state;
  for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++) {
    cenote_error error = CENOTE_ERROR_INIT;
    const cenote_driver *driver = cen_driver_for_url(known[i].url, &error);
    assert_non_null(driver);
    assert_string_equal(driver->name, known[i].name);
  }
}

static void an_unknown_scheme_is_named_and_the_known_ones_listed(void **state)
{
  static const char *const unknown[] = {"mysql://user:hunter2@h/d", "wss://h", "sqlit:a"};
  (void)state;
  for (size_t i = 0; i < sizeof(unknown) / sizeof(*unknown); i++) {
    cenote_error error = CENOTE_ERROR_INIT;
    char scheme[16] = "";
    assert_null(cen_driver_for_url(unknown[i], &error));
    assert_int_equal(error.status, CENOTE_CONFIG);
    memcpy(scheme, unknown[i], strcspn(unknown[i], ":"));
    assert_non_null(strstr(error.message, scheme));
    assert_non_null(strstr(error.message, "sqlite:, file:, postgres:, postgresql:"));
    assert_null(strstr(error.message, "hunter2"));
  }
}

static void a_text_without_a_scheme_is_not_shown(void **state)
{
  static const char *const wrong[] = {"",           "hunter2",
                                      "/hunter2:x", "1hunter2:x",
                                      ":x",         "hunter2hunter2hunter2hunter2hunter2hunter2:x"};
  (void)state;
  for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
    cenote_error error = CENOTE_ERROR_INIT;
    assert_null(cen_driver_for_url(wrong[i], &error));
    assert_int_equal(error.status, CENOTE_CONFIG);
    assert_non_null(strstr(error.message, "no scheme"));
    assert_null(strstr(error.message, "hunter2"));
  }
  assert_null(cen_driver_for_url(NULL, NULL));
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_scheme_finds_its_driver_in_any_case),
      cmocka_unit_test(an_unknown_scheme_is_named_and_the_known_ones_listed),
      cmocka_unit_test(a_text_without_a_scheme_is_not_shown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
