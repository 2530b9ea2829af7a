/*
 * manager_torture.c - every allocation of the manager fails once: each call either succeeds or says
 * that memory is short, nothing leaks, and with memory back the same manager works.
 *
 * The manager is driven by a loop of the test's own, so that a run is the same each time. SQLite's
 * own memory is tortured beside its driver (driver_sqlite_torture.c).
 */
#include "driver/scratch.h"
#include "net/workers.h"
#include "support/alloc_torture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <cenote/cenote.h>
#include <cenote/loop.h>

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* The threads that opened and closed SQLite's connections give their memory back a little later. */
static void close_all(cenote_manager *manager)
{
  cenote_close(manager);
  cen_workers_stop();
}

/* Lost: where a rollback found no memory the connection had to go, so that nothing remains. */
static void settle(cenote_status status, const cenote_error *error)
{
  const bool expected = status == CENOTE_NO_MEMORY || status == CENOTE_CONNECTION_LOST;
  if (status != CENOTE_OK && (!expected || !alloc_torture_struck())) {
    fail_msg("%s: %s (%s)", cenote_status_name(status), error->message, error->details);
  }
}

static void silent(void *context, cenote_log_level level, const char *line)
{
  (void)context;
  (void)level;
  (void)line;
}

static const cenote_setting settings[] = {{"min_connections", "0"},
                                          {"max_connections", "2"},
                                          {"connect_backoff_ms", "1"},
                                          {"connect_backoff_max_ms", "2"},
                                          {"memory_pressure", "false"}};

static cenote_status open_quietly(const char *url, bool external, cenote_manager **manager,
                                  cenote_error *error)
{
  cenote_options options = CENOTE_OPTIONS_INIT;
  options.settings = settings;
  options.settings_count = sizeof settings / sizeof *settings;
  options.log = silent;
  options.external_loop = external;
  return cenote_open(url, &options, manager, error);
}

/* The host's loop, until the lease is there or the patience ends. A connect that met no memory is
 * tried again by the pool itself. */
static cenote_status acquire(cenote_manager *manager, cenote_lease *lease, cenote_error *error)
{
  cenote_status status = CENOTE_TIMEOUT;
  for (int i = 0; i < 5000 && status == CENOTE_TIMEOUT; i++) {
    status = cenote_acquire(manager, "torture", 0, lease, error);
    if (status == CENOTE_TIMEOUT) {
      struct pollfd watched = {.fd = cenote_pollfd(manager), .events = POLLIN};
      (void)poll(&watched, 1, 1);
      settle(cenote_dispatch(manager, error), error);
    }
  }
  return status;
}

static void use_transaction(cenote_lease lease, cenote_error *error)
{
  cenote_transaction *tx, *inner;
  cenote_status status = cenote_begin(lease, 0, &tx, error);
  settle(status, error);
  if (status != CENOTE_OK) {
    assert_null(tx);
    return;
  }
  settle(cenote_tx_execute(tx, "INSERT INTO t VALUES (1)", NULL, 0, NULL, error), error);
  status = cenote_begin(lease, 0, &inner, error);
  settle(status, error);
  if (status == CENOTE_OK) {
    assert_int_equal(cenote_rollback(inner, error), CENOTE_OK);
  }
  assert_int_equal(cenote_rollback(tx, error), CENOTE_OK);
}

static void use_batch(cenote_lease lease, cenote_error *error)
{
  const cenote_value args[] = {cenote_text("a text that is copied"), cenote_integer(3)};
  const cenote_statement statements[] = {{"DELETE FROM t WHERE a = ?", args, 1},
                                         {"SELECT $1, $2", args, 2},
                                         {"SELECT a, ? FROM t", args, 1}};
  cenote_result **results;
  const cenote_status status =
      cenote_batch(lease, statements, 3, CENOTE_BATCH_DEFERRED, &results, error);
  settle(status, error);
  if (status == CENOTE_OK) {
    assert_string_equal(cenote_result_text(results[1], 0, 0), "a text that is copied");
    cenote_results_free(results, 3);
  } else {
    assert_null(results);
  }
}

static void use_statement(cenote_lease lease, cenote_error *error)
{
  const cenote_value args[] = {cenote_text("x"), cenote_real(0.5)};
  cenote_result *result;
  const cenote_status status = cenote_execute(lease, "SELECT ?, ?", args, 2, &result, error);
  settle(status, error);
  if (status == CENOTE_OK) {
    assert_int_equal(cenote_result_rows(result), 1);
    cenote_result_free(result);
  } else {
    assert_null(result);
  }
}

static void look(cenote_manager *manager, cenote_error *error)
{
  char *json = NULL;
  size_t count;
  cenote_health_status health;
  cenote_lease_info info = {.size = sizeof info};
  settle(cenote_pool_statistics_json(manager, &json, error), error);
  cenote_string_free(json);
  settle(cenote_health_json(manager, false, &json, error), error);
  cenote_string_free(json);
  settle(cenote_config_json(manager, &json, error), error);
  cenote_string_free(json);
  settle(cenote_health(manager, false, &health, error), error);
  settle(cenote_pool_leases(manager, &info, 1, &count), error);
  settle(cenote_resize(manager, 0, 2, error), error);
}

static void open_use_and_close(void *context)
{
  cenote_manager *manager;
  cenote_lease lease;
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_status status = open_quietly(context, true, &manager, &error);
  settle(status, &error);
  if (status != CENOTE_OK) {
    assert_null(manager);
    return;
  }
  status = acquire(manager, &lease, &error);
  settle(status, &error);
  if (status == CENOTE_OK) {
    use_statement(lease, &error);
    use_transaction(lease, &error);
    use_batch(lease, &error);
    look(manager, &error);
    assert_int_equal(cenote_release(lease), CENOTE_OK);
  }
  status = acquire(manager, &lease, &error); /* once more: with memory back it works */
  settle(status, &error);
  if (status == CENOTE_OK) {
    alloc_torture_pause();
    assert_int_equal(cenote_execute(lease, "SELECT 1", NULL, 0, NULL, &error), CENOTE_OK);
    alloc_torture_resume();
    /* Forced: the report about its holder needs memory as well. */
    assert_int_equal(cenote_shutdown(manager, 0, &error), CENOTE_TIMEOUT);
  } else {
    settle(cenote_shutdown(manager, 1000, &error), &error);
  }
  close_all(manager);
}

static void out_of_memory(void **state)
{
  (void)state;
  char url[400];
  snprintf(url, sizeof url, "%s", scratch_url());
  cenote_manager *manager;
  cenote_lease lease;
  cenote_error error = CENOTE_ERROR_INIT;
  assert_int_equal(open_quietly(url, true, &manager, &error), CENOTE_OK);
  assert_int_equal(acquire(manager, &lease, &error), CENOTE_OK);
  assert_int_equal(cenote_execute(lease, "CREATE TABLE t (a)", NULL, 0, NULL, &error), CENOTE_OK);
  assert_int_equal(cenote_release(lease), CENOTE_OK);
  close_all(manager);
  const size_t runs = alloc_torture(open_use_and_close, url, ALLOC_TORTURE_BALANCED);
  assert_true(runs > 60);
}

/* With a thread of the manager's, a run is not the same each time; what must hold is the same. */
static void with_thread(void *context)
{
  cenote_manager *manager;
  cenote_lease lease;
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_status status = open_quietly(context, false, &manager, &error);
  settle(status, &error);
  if (status != CENOTE_OK) {
    return;
  }
  status = cenote_acquire(manager, "torture", 20000, &lease, &error);
  settle(status, &error);
  if (status == CENOTE_OK) {
    use_statement(lease, &error);
    assert_int_equal(cenote_release(lease), CENOTE_OK);
  }
  settle(cenote_shutdown(manager, 20000, &error), &error);
  close_all(manager);
}

static void a_manager_with_a_thread_survives_it_too(void **state)
{
  (void)state;
  char url[400];
  snprintf(url, sizeof url, "%s", scratch_url());
  assert_true(alloc_torture(with_thread, url, ALLOC_TORTURE_BALANCED) > 30);
}

static void count_call(void *context, cenote_status status, cenote_lease lease,
                       const cenote_error *error)
{
  int *calls = context;
  (void)error;
  if (status == CENOTE_OK) {
    (void)cenote_release(lease);
  }
  ++*calls;
}

static void ask(void *context)
{
  cenote_manager *manager;
  cenote_ticket ticket;
  cenote_error error = CENOTE_ERROR_INIT;
  int calls = 0;
  cenote_status status = open_quietly(context, true, &manager, &error);
  settle(status, &error);
  if (status != CENOTE_OK) {
    return;
  }
  status = cenote_acquire_async(manager, "ask", 5000, count_call, &calls, &ticket, &error);
  settle(status, &error);
  for (int i = 0; status == CENOTE_OK && calls == 0 && i < 5000; i++) {
    struct pollfd watched = {.fd = cenote_pollfd(manager), .events = POLLIN};
    (void)poll(&watched, 1, 1);
    settle(cenote_dispatch(manager, &error), &error);
  }
  close_all(manager);
  assert_int_equal(calls, status == CENOTE_OK ? 1 : 0);
}

static void an_asynchronous_acquire_is_answered_once_without_memory(void **state)
{
  (void)state;
  char url[400];
  snprintf(url, sizeof url, "%s", scratch_url());
  assert_true(alloc_torture(ask, url, ALLOC_TORTURE_BALANCED) > 30);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(out_of_memory),
      cmocka_unit_test(a_manager_with_a_thread_survives_it_too),
      cmocka_unit_test(an_asynchronous_acquire_is_answered_once_without_memory),
  };
  if (!scratch_open()) {
    return 1;
  }
  const int failed = cmocka_run_group_tests(tests, NULL, NULL);
  scratch_close();
  return failed;
}
