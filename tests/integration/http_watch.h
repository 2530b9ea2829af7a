/*
 * http_watch.h - what the tests of managers over HTTP share: a statement that must work, the figures,
 * and a log and an audit that are kept as text. The parts that hear may be called from any thread.
 */
#ifndef TEST_HTTP_WATCH_H
#define TEST_HTTP_WATCH_H

#include <cenote/cenote.h>

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static inline cenote_statistics look(cenote_manager *manager)
{
  cenote_statistics now = CENOTE_STATISTICS_INIT;
  assert_int_equal(cenote_pool_statistics(manager, &now), CENOTE_OK);
  return now;
}

/* `options` may be NULL. */
static inline cenote_result *must_with(cenote_manager *manager, const char *sql,
                                       const cenote_query_options *options)
{
  cenote_result *result = NULL;
  cenote_error error = CENOTE_ERROR_INIT;
  if (cenote_query(manager, sql, NULL, 0, options, &result, &error) != CENOTE_OK) {
    fail_msg("%s: %s (%s) %s", sql, error.message, error.sqlstate, error.details);
  }
  return result;
}

static inline void must(cenote_manager *manager, const char *sql)
{
  cenote_result_free(must_with(manager, sql, NULL));
}

static inline int64_t number_with(cenote_manager *manager, const char *sql,
                                  const cenote_query_options *options)
{
  cenote_result *result = must_with(manager, sql, options);
  const int64_t value = cenote_result_integer(result, 0, 0);
  cenote_result_free(result);
  return value;
}

static inline int64_t number(cenote_manager *manager, const char *sql)
{
  return number_with(manager, sql, NULL);
}

static inline void nap_ms(int ms)
{
  const struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = (ms % 1000) * 1000000L};
  (void)nanosleep(&time, NULL);
}

/* What was said; of the audit, how a breaker moved. */
struct told {
  pthread_mutex_t lock;
  char log[1 << 15], audit[1 << 13];
};

static inline void told_put(char *to, size_t size, const char *text)
{
  const size_t used = strlen(to);
  (void)snprintf(to + used, size - used, "%s\n", text);
}

static inline void told_line(void *context, cenote_log_level level, const char *line)
{
  struct told *told = context;
  (void)level;
  pthread_mutex_lock(&told->lock);
  told_put(told->log, sizeof told->log, line);
  pthread_mutex_unlock(&told->lock);
}

static inline void told_event(void *context, const cenote_audit_event *event)
{
  struct told *told = context;
  if (event->kind == CENOTE_AUDIT_BREAKER_MOVED) {
    pthread_mutex_lock(&told->lock);
    told_put(told->audit, sizeof told->audit, event->reason);
    told_put(told->audit, sizeof told->audit, event->database);
    pthread_mutex_unlock(&told->lock);
  }
}

#endif
