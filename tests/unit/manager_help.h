/*
 * manager_help.h - what the tests of the manager share: a manager on the fake driver with settings
 * of the test's own, everything it says noted down, and small steps that must succeed.
 */
#ifndef MANAGER_HELP_H
#define MANAGER_HELP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "driver/fake_driver.h"
#include "manager/manager.h"

#include <cenote/cenote.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { PATIENCE_MS = 20000 }; /* for what will happen, sooner or later, on a slow machine */

/* --- everything that came out: log lines, audit events, hooks */
struct notes {
  pthread_mutex_t lock;
  char text
      [1 << 16]; /* one line each: "log: …", "audit: kind reason operation", "hook: kind reason" */
  size_t size;
};

static inline void notes_init(struct notes *notes)
{
  memset(notes, 0, sizeof *notes);
  pthread_mutex_init(&notes->lock, NULL);
}

static inline void notes_deinit(struct notes *notes)
{
  pthread_mutex_destroy(&notes->lock);
}

static inline void note(struct notes *notes, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static inline void note(struct notes *notes, const char *format, ...)
{
  va_list args;
  pthread_mutex_lock(&notes->lock);
  const size_t room = sizeof notes->text - notes->size;
  va_start(args, format);
  const int size = vsnprintf(notes->text + notes->size, room, format, args);
  va_end(args);
  notes->size += size > 0 && (size_t)size < room ? (size_t)size : 0;
  pthread_mutex_unlock(&notes->lock);
}

/* How often `part` was noted. */
static inline int noted(struct notes *notes, const char *part)
{
  int count = 0;
  pthread_mutex_lock(&notes->lock);
  for (const char *at = notes->text; (at = strstr(at, part)) != NULL; at += strlen(part)) {
    count++;
  }
  pthread_mutex_unlock(&notes->lock);
  return count;
}

static inline void note_log(void *context, cenote_log_level level, const char *line)
{
  note(context, "log%d: %s\n", (int)level, line);
}

static inline void note_audit(void *context, const cenote_audit_event *event)
{
  static const char *const kinds[] = {"opened",  "closed",   "expired", "login_failed",
                                      "breaker", "settings", "shutdown"};
  note(context, "audit: %s %s '%s' %s #%d\n", kinds[event->kind], event->reason,
       event->operation_id, event->database, (int)event->connection);
}

/* --- a place: one fake database and a manager */
struct place {
  struct fake_script script;
  struct notes notes;
  cenote_options options;
  cenote_setting settings[24];
  cenote_manager *manager;
  cenote_error error;
};

/* Before place_open: what shall be different. */
static inline void place_init(struct place *place)
{
  memset(place, 0, sizeof *place);
  fake_script_init(&place->script);
  notes_init(&place->notes);
  place->error = (cenote_error)CENOTE_ERROR_INIT;
  place->options = (cenote_options)CENOTE_OPTIONS_INIT;
  place->options.settings = place->settings;
  place->options.driver = &fake_driver;
  place->options.driver_context = &place->script;
  place->options.log = note_log;
  place->options.log_context = &place->notes;
  place->options.audit = note_audit;
  place->options.audit_context = &place->notes;
}

static inline void place_set(struct place *place, const char *name, const char *value)
{
  assert_true(place->options.settings_count < sizeof place->settings / sizeof *place->settings);
  place->settings[place->options.settings_count++] = (cenote_setting){name, value};
}

static inline void must(cenote_status status, const cenote_error *error)
{
  if (status != CENOTE_OK) {
    fail_msg("%s: %s (%s)", cenote_status_name(status), error != NULL ? error->message : "",
             error != NULL ? error->details : "");
  }
}

static inline void expect(cenote_status wanted, cenote_status status, const cenote_error *error)
{
  if (status != wanted) {
    fail_msg("%s instead of %s: %s", cenote_status_name(status), cenote_status_name(wanted),
             error != NULL ? error->message : "");
  }
}

static inline void has_text(const char *text, const char *part)
{
  if (text == NULL || strstr(text, part) == NULL) {
    fail_msg("\"%s\" is not in: %s", part, text != NULL ? text : "NULL");
  }
}

static inline void has_no_text(const char *text, const char *part)
{
  if (text == NULL || strstr(text, part) != NULL) {
    fail_msg("\"%s\" is in: %s", part, text != NULL ? text : "NULL");
  }
}

static inline bool place_has_set(const struct place *place, const char *name)
{
  for (size_t i = 0; i < place->options.settings_count; i++) {
    if (strcmp(place->settings[i].name, name) == 0) {
      return true;
    }
  }
  return false;
}

/* A connection that rests because the machine stands still is not checked for that: the tests count
 * what is sent. Those about checks have the setting. */
static inline void place_open(struct place *place)
{
  if (!place_has_set(place, "check_after_ms")) {
    place_set(place, "check_after_ms", "600000");
  }
  must(cenote_open("fake://place", &place->options, &place->manager, &place->error), &place->error);
  assert_non_null(place->manager);
}

/* The default: no connection kept in the background, so that what happens is what the test did. */
static inline void place_open_with(struct place *place, const char *minimum, const char *maximum)
{
  place_set(place, "min_connections", minimum);
  place_set(place, "max_connections", maximum);
  place_open(place);
}

/* A setting from here on. So a test has a time that must run out only where it does. */
static inline void place_change(struct place *place, const char *name, const char *value)
{
  cenote_manager *manager = place->manager;
  const bool none[CEN_SETTING_COUNT] = {false};
  must(cen_settings_set(&manager->settings, name, value, &place->error), &place->error);
  must(manager_take_settings(manager, &manager->settings, none,
                             cen_setting(&manager->settings, CEN_SET_MAX_CONNECTIONS),
                             &place->error),
       &place->error);
}

/* Closes, and what the manager took is given back. */
static inline void place_close(struct place *place)
{
  cenote_close(place->manager);
  place->manager = NULL;
  assert_int_equal(place->script.created, place->script.destroyed);
  assert_int_equal(place->script.open_now, 0);
  fake_script_deinit(&place->script);
  notes_deinit(&place->notes);
}

static inline cenote_lease must_acquire(cenote_manager *manager, const char *operation)
{
  cenote_lease lease;
  cenote_error error = CENOTE_ERROR_INIT;
  must(cenote_acquire(manager, operation, PATIENCE_MS, &lease, &error), &error);
  return lease;
}

static inline cenote_lease must_acquire_for(cenote_manager *manager, const char *operation,
                                            int64_t lease_ms)
{
  cenote_lease lease;
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_acquire_options options = CENOTE_ACQUIRE_OPTIONS_INIT;
  options.timeout_ms = PATIENCE_MS;
  options.lease_ms = lease_ms;
  must(cenote_acquire_with(manager, operation, &options, &lease, &error), &error);
  return lease;
}

/* It ends in a moment, whatever it had. */
static inline void let_expire(cenote_lease lease)
{
  cenote_error error = CENOTE_ERROR_INIT;
  must(cenote_lease_extend(lease, 20, &error), &error);
}

static inline void must_release(cenote_lease lease)
{
  assert_int_equal(cenote_release(lease), CENOTE_OK);
}

static inline cenote_status run_sql(cenote_lease lease, const char *sql, cenote_error *error)
{
  return cenote_execute(lease, sql, NULL, 0, NULL, error);
}

static inline void must_run(cenote_lease lease, const char *sql)
{
  cenote_error error = CENOTE_ERROR_INIT;
  must(run_sql(lease, sql, &error), &error);
}

/* The first value of the first row. */
static inline int64_t must_read(cenote_lease lease, const char *sql)
{
  cenote_result *result;
  cenote_error error = CENOTE_ERROR_INIT;
  must(cenote_execute(lease, sql, NULL, 0, &result, &error), &error);
  const int64_t value = cenote_result_integer(result, 0, 0);
  cenote_result_free(result);
  return value;
}

static inline void pause_ms(int64_t ms)
{
  const struct timespec time = {.tv_sec = (time_t)(ms / 1000),
                                .tv_nsec = (long)(ms % 1000) * 1000000};
  nanosleep(&time, NULL);
}

static inline int64_t now_ms(void)
{
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static inline cenote_statistics statistics_of(cenote_manager *manager)
{
  cenote_statistics statistics = CENOTE_STATISTICS_INIT;
  assert_int_equal(cenote_pool_statistics(manager, &statistics), CENOTE_OK);
  return statistics;
}

/* Waits until `condition` holds; fails the test when it never does. */
#define wait_until(condition)                        \
  do {                                               \
    const int64_t wait_end = now_ms() + PATIENCE_MS; \
    while (!(condition)) {                           \
      if (now_ms() > wait_end) {                     \
        fail_msg("never: %s", #condition);           \
      }                                              \
      pause_ms(2);                                   \
    }                                                \
  } while (0)

static inline uint64_t started(struct place *place, cenote_request_kind kind)
{
  return atomic_load(&place->script.started[kind]);
}

/* A thread that does one thing. */
static inline pthread_t start_thread(void *(*work)(void *), void *context)
{
  pthread_t thread;
  assert_int_equal(pthread_create(&thread, NULL, work, context), 0);
  return thread;
}

#define TEST(name) cmocka_unit_test(name)

#endif
