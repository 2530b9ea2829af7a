/* What the drivers over HTTP do without encryption or verification: only where it was asked for, and
 * it is said once. */
#include <cenote/driver.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

extern const cenote_driver cen_driver_libsql;
extern const cenote_driver cen_driver_neon;

struct notes {
  int warnings;
  char last[512];
};

static void note(void *context, cenote_log_level level, const char *line)
{
  struct notes *notes = context;
  notes->warnings += level == CENOTE_LOG_WARNING;
  snprintf(notes->last, sizeof notes->last, "%s", line);
}

static const char *setting_is_on(const void *settings, const char *name)
{
  const char *const *pair = settings;
  return pair && strcmp(pair[0], name) == 0 ? pair[1] : NULL;
}

static const struct subject {
  const cenote_driver *driver;
  const char *secure, *plain;
} subjects[] = {
    {&cen_driver_neon, "neon://u:hunter2@h.x/d?endpoint=https://q.x/sql",
     "neon://u:hunter2@h.x/d?endpoint=http://q.x/sql"},
    {&cen_driver_libsql, "libsql://q.x?authToken=hunter2", "http://q.x?authToken=hunter2"},
};

/* Opens what is shared, and three connections of it: none of them asks anybody anything. */
static cenote_status open_some(const struct subject *subject, const char *url,
                               const char *const *settings, struct notes *notes)
{
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_driver_params params = {.size = sizeof params,
                                 .url = url,
                                 .setting = setting_is_on,
                                 .settings = settings,
                                 .log = note,
                                 .log_context = notes};
  *notes = (struct notes){0};
  const cenote_status status = subject->driver->shared_new(&params, &params.shared, &error);
  assert_null(strstr(error.message, "hunter2"));
  for (int i = 0; status == CENOTE_OK && i < 3; i++) {
    cenote_connection *connection;
    assert_int_equal(subject->driver->create(&params, &connection, &error), CENOTE_OK);
    subject->driver->destroy(connection);
  }
  subject->driver->shared_free(params.shared);
  assert_null(strstr(notes->last, "hunter2"));
  return status;
}

static void turning_verification_off_is_a_warning_once(void **state)
{
  static const char *const off[] = {"tls_verify", "0"};
  struct notes notes;
  (void)state;
  for (size_t i = 0; i < sizeof subjects / sizeof subjects[0]; i++) {
    assert_int_equal(open_some(&subjects[i], subjects[i].secure, NULL, &notes), CENOTE_OK);
    assert_int_equal(notes.warnings, 0);
    assert_int_equal(open_some(&subjects[i], subjects[i].secure, off, &notes), CENOTE_OK);
    assert_int_equal(notes.warnings, 1);
    assert_non_null(strstr(notes.last, "tls_verify"));
  }
}

static void plain_http_to_another_machine_is_refused_or_a_warning_once(void **state)
{
  static const char *const on[] = {"http_insecure", "1"};
  struct notes notes;
  (void)state;
  for (size_t i = 0; i < sizeof subjects / sizeof subjects[0]; i++) {
    assert_int_equal(open_some(&subjects[i], subjects[i].plain, NULL, &notes), CENOTE_CONFIG);
    assert_int_equal(open_some(&subjects[i], subjects[i].plain, on, &notes), CENOTE_OK);
    assert_int_equal(notes.warnings, 1);
    assert_non_null(strstr(notes.last, "http_insecure"));
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(turning_verification_off_is_a_warning_once),
      cmocka_unit_test(plain_http_to_another_machine_is_refused_or_a_warning_once),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
