/*
 * query_help.h - what the tests of routed and asynchronous statements share: a fake database that
 * is routed like PostgreSQL (without pipelining: every statement has a connection of its own), and
 * what an asynchronous statement answered.
 */
#ifndef QUERY_HELP_H
#define QUERY_HELP_H

#include "manager_help.h"

#include <cenote/loop.h>

#include <poll.h>

/* The fake database under the name of one whose statements are understood. */
static inline const cenote_driver *routed_driver(const cenote_driver *driver)
{
  static cenote_driver routed;
  routed = *driver;
  routed.name = "postgres";
  routed.pipelining = NULL;
  return &routed;
}

static inline void routed_place(struct place *place, const char *maximum)
{
  place_init(place);
  place->options.driver = routed_driver(&fake_driver);
  place_set(place, "retry_delay_ms", "20");
  place_set(place, "breaker_failures", "0");
  place_set(place, "min_connections", "0");
  place_set(place, "max_connections", maximum);
}

/* --- what one asynchronous statement answered, and how often */
struct answer {
  _Atomic int calls;
  cenote_status status;
  int64_t value; /* the first of the first row */
  int64_t affected;
  pthread_t thread;
  char message[512];
  cenote_ticket ticket;
  void (*then)(struct answer *answer); /* in the callback */
  void *context;
};

static inline void on_answer(void *context, cenote_status status, cenote_result *result,
                             const cenote_error *error)
{
  struct answer *answer = context;
  assert_true((status == CENOTE_OK) == (result != NULL));
  assert_non_null(error);
  answer->status = status;
  answer->value = cenote_result_integer(result, 0, 0);
  answer->affected = cenote_result_affected_rows(result);
  answer->thread = pthread_self();
  snprintf(answer->message, sizeof answer->message, "%s", error->message);
  cenote_result_free(result);
  if (answer->then != NULL) {
    answer->then(answer);
  }
  atomic_fetch_add(&answer->calls, 1);
}

static inline void ask(cenote_manager *manager, const char *sql,
                       const cenote_query_options *options, struct answer *answer)
{
  cenote_error error = CENOTE_ERROR_INIT;
  must(cenote_query_async(manager, sql, NULL, 0, options, on_answer, answer, &answer->ticket,
                          &error),
       &error);
}

static inline void execute_async(cenote_lease lease, const char *sql, struct answer *answer)
{
  cenote_error error = CENOTE_ERROR_INIT;
  must(cenote_execute_async(lease, sql, NULL, 0, on_answer, answer, &answer->ticket, &error),
       &error);
}

#define wait_for(answer) wait_until(atomic_load(&(answer)->calls) > 0)

static inline void has_status(const struct answer *answer, cenote_status status)
{
  if (answer->status != status || answer->calls != 1) {
    fail_msg("%s (%d times) instead of %s: %s", cenote_status_name(answer->status), answer->calls,
             cenote_status_name(status), answer->message);
  }
}

/* Runs the host's loop until the condition holds. */
#define drive_until(manager, condition)                                         \
  do {                                                                          \
    const int64_t drive_end = now_ms() + PATIENCE_MS;                           \
    while (!(condition)) {                                                      \
      struct pollfd watched = {.fd = cenote_pollfd(manager), .events = POLLIN}; \
      int64_t drive_wait = cenote_next_deadline(manager);                       \
      drive_wait = drive_wait < 0 || drive_wait > 1000 ? 1000 : drive_wait;     \
      (void)poll(&watched, 1, (int)drive_wait);                                 \
      assert_int_equal(cenote_dispatch(manager, NULL), CENOTE_OK);              \
      if (now_ms() > drive_end) {                                               \
        fail_msg("never: %s", #condition);                                      \
      }                                                                         \
    }                                                                           \
  } while (0)

/* "hang" without a lease, with so little time that it runs out: again and with twice the time, where
 * a machine that stood still let it pass before the database was asked. */
static inline cenote_status query_late(struct place *place, const char *sql,
                                       cenote_query_options *options, int64_t *ms)
{
  cenote_status status;
  uint64_t before;
  do {
    before = started(place, CENOTE_REQUEST_EXECUTE);
    place->error = (cenote_error)CENOTE_ERROR_INIT;
    status = cenote_query(place->manager, sql, NULL, 0, options, NULL, &place->error);
    *ms *= 2;
  } while (started(place, CENOTE_REQUEST_EXECUTE) == before && *ms < PATIENCE_MS);
  return status;
}

/* The same with a callback; the last of them is in `answer`. Where the loop is the test's, it is
 * driven. */
static inline void ask_late(struct place *place, const char *sql, cenote_query_options *options,
                            int64_t *ms, struct answer *answer)
{
  uint64_t before;
  do {
    before = started(place, CENOTE_REQUEST_EXECUTE);
    *answer = (struct answer){0};
    ask(place->manager, sql, options, answer);
    if (place->options.external_loop) {
      drive_until(place->manager, answer->calls == 1);
    } else {
      wait_for(answer);
    }
    *ms *= 2;
  } while (started(place, CENOTE_REQUEST_EXECUTE) == before && *ms < PATIENCE_MS);
}

/* The first value of a statement without a lease. */
static inline int64_t must_query(cenote_manager *manager, const char *sql)
{
  cenote_result *result;
  cenote_error error = CENOTE_ERROR_INIT;
  must(cenote_query(manager, sql, NULL, 0, NULL, &result, &error), &error);
  const int64_t value = cenote_result_integer(result, 0, 0);
  cenote_result_free(result);
  return value;
}

#endif
