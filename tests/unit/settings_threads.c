/* settings_threads.c - settings are read by anyone, without a lock, while one thread changes them. */
#include "settings_help.h"

#include <pthread.h>

enum { CHANGES = 300, READERS = 3 };

struct shared {
  struct cen_settings settings;
  _Atomic bool stop;
};

/* A reader holds on to a text, as a driver does, and it never changes under its hands. */
static void *read_settings(void *context)
{
  struct shared *shared = context;
  size_t wrong = 0;
  while (!atomic_load(&shared->stop)) {
    const char *text = cen_settings_text(&shared->settings, "max_connections");
    char copy[24];
    snprintf(copy, sizeof(copy), "%s", text);
    int64_t minimum = cen_setting(&shared->settings, CEN_SET_MIN_CONNECTIONS);
    char *json = cen_settings_json(&shared->settings);
    wrong += json == NULL || minimum < 0 || minimum > 1 || strcmp(copy, text) != 0;
    free(json);
  }
  return wrong == 0 ? NULL : context;
}

static void readers_need_no_lock(void **state)
{
  (void)state;
  static struct shared shared;
  cenote_error error = CENOTE_ERROR_INIT;
  pthread_t readers[READERS];
  assert_int_equal(cen_settings_load(&shared.settings, "sqlite::memory:", NULL, fake_getenv,
                                     ENVIRONMENT(), &error),
                   CENOTE_OK);
  for (int i = 0; i < READERS; i++) {
    assert_int_equal(pthread_create(&readers[i], NULL, read_settings, &shared), 0);
  }
  for (int i = 0; i < CHANGES; i++) {
    char text[24];
    snprintf(text, sizeof(text), "%d", 1 + i % 50);
    assert_int_equal(cen_settings_set(&shared.settings, "max_connections", text, &error),
                     CENOTE_OK);
    assert_int_equal(cen_settings_set_bounds(&shared.settings, i % 2, 5, &error), CENOTE_OK);
  }
  atomic_store(&shared.stop, true);
  for (int i = 0; i < READERS; i++) {
    void *wrong = NULL;
    assert_int_equal(pthread_join(readers[i], &wrong), 0);
    assert_null(wrong);
  }
  cen_settings_deinit(&shared.settings);
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(readers_need_no_lock)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
