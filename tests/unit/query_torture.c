/*
 * query_torture.c - every allocation fails once, while statements run without a lease and without
 * anybody waiting: each call either succeeds or says that memory is short, each callback comes once,
 * nothing leaks, and with memory back the same manager works.
 */
#include "query_help.h"

#include "driver/scratch.h"
#include "net/workers.h"
#include "support/alloc_torture.h"

static const cenote_setting settings[] = {
    {"min_connections", "0"}, {"max_connections", "2"},        {"connect_backoff_ms", "1"},
    {"retry_delay_ms", "1"},  {"connect_backoff_max_ms", "2"}, {"memory_pressure", "false"},
    {"breaker_failures", "0"}};

static void silent(void *context, cenote_log_level level, const char *line)
{
  (void)context;
  (void)level;
  (void)line;
}

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

/* Lost: where a session could not be cleaned without memory it had to go. */
static void settle(cenote_status status, const char *message)
{
  const bool expected = status == CENOTE_NO_MEMORY || status == CENOTE_CONNECTION_LOST;
  if (status != CENOTE_OK && (!expected || !alloc_torture_struck())) {
    fail_msg("%s: %s", cenote_status_name(status), message);
  }
}

static void close_all(cenote_manager *manager)
{
  cenote_close(manager);
  cen_workers_stop();
}

static void drive(cenote_manager *manager, const struct answer *answer)
{
  for (int i = 0; atomic_load(&answer->calls) == 0 && i < 5000; i++) {
    struct pollfd watched = {.fd = cenote_pollfd(manager), .events = POLLIN};
    (void)poll(&watched, 1, 1);
    assert_int_equal(cenote_dispatch(manager, NULL), CENOTE_OK);
  }
  assert_int_equal(answer->calls, 1);
  settle(answer->status, answer->message);
}

static const char *const texts[] = {"INSERT INTO t VALUES (?)", "SELECT count(*), ? FROM t",
                                    "CREATE TEMP TABLE u AS SELECT ? AS x"};
enum { TEXTS = sizeof texts / sizeof *texts };

static void ask_all(cenote_manager *manager)
{
  cenote_error error = CENOTE_ERROR_INIT;
  for (int i = 0; i < TEXTS; i++) {
    struct answer answer = {0};
    const cenote_value args[] = {cenote_text("an argument that is copied")};
    const cenote_status status =
        cenote_query_async(manager, texts[i], args, 1, NULL, on_answer, &answer,
                           i == 1 ? NULL : &answer.ticket, &error);
    settle(status, error.message);
    if (status == CENOTE_OK) {
      drive(manager, &answer);
    } else {
      assert_int_equal(answer.ticket.number, 0);
    }
  }
}

static void on_lease(void *context, cenote_status status, cenote_lease lease,
                     const cenote_error *error)
{
  (void)error;
  if (status == CENOTE_OK) {
    *(cenote_lease *)context = lease;
  }
}

static void execute_on_lease(cenote_manager *manager)
{
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_lease lease = {0};
  struct answer answer = {0};
  cenote_status status =
      cenote_acquire_async(manager, "torture", 5000, on_lease, &lease, NULL, &error);
  settle(status, error.message);
  for (int i = 0; status == CENOTE_OK && lease.generation == 0 && i < 5000; i++) {
    struct pollfd watched = {.fd = cenote_pollfd(manager), .events = POLLIN};
    (void)poll(&watched, 1, 1);
    assert_int_equal(cenote_dispatch(manager, NULL), CENOTE_OK);
  }
  if (lease.generation == 0) {
    return;
  }
  status =
      cenote_execute_async(lease, "SELECT 1", NULL, 0, on_answer, &answer, &answer.ticket, &error);
  settle(status, error.message);
  if (status == CENOTE_OK) {
    drive(manager, &answer);
  }
  assert_int_equal(cenote_release(lease), CENOTE_OK);
}

static void on_a_host_loop(void *context)
{
  cenote_manager *manager;
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_status status = open_quietly(context, true, &manager, &error);
  settle(status, error.message);
  if (status != CENOTE_OK) {
    return;
  }
  ask_all(manager);
  execute_on_lease(manager);
  alloc_torture_pause(); /* with memory back it works; a worker thread may only now be without */
  struct answer answer = {0}, again = {0};
  ask(manager, "SELECT 5", NULL, &answer);
  drive(manager, &answer);
  ask(manager, "SELECT 5", NULL, &again);
  drive(manager, &again);
  assert_true(answer.value == 5 || again.value == 5);
  alloc_torture_resume();
  close_all(manager);
}

static void with_a_thread(void *context)
{
  cenote_manager *manager;
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_status status = open_quietly(context, false, &manager, &error);
  settle(status, error.message);
  if (status != CENOTE_OK) {
    return;
  }
  for (int i = 0; i < TEXTS; i++) {
    cenote_result *result;
    const cenote_value args[] = {cenote_integer(i)};
    status = cenote_query(manager, texts[i], args, 1, NULL, &result, &error);
    settle(status, error.message);
    assert_true((status == CENOTE_OK) == (result != NULL));
    cenote_result_free(result);
  }
  close_all(manager);
}

/* A file with a table t, whose URL is answered. */
static const char *base(void)
{
  static char url[400];
  cenote_manager *manager;
  cenote_error error = CENOTE_ERROR_INIT;
  snprintf(url, sizeof url, "%s", scratch_url());
  must(open_quietly(url, false, &manager, &error), &error);
  must(cenote_query(manager, "CREATE TABLE t (a)", NULL, 0, NULL, NULL, &error), &error);
  close_all(manager);
  return url;
}

static void statements_that_nobody_waits_for_survive_it(void **state)
{
  (void)state;
  assert_true(alloc_torture(on_a_host_loop, (void *)(uintptr_t)base(), ALLOC_TORTURE_BALANCED) >
              60);
}

static void statements_without_a_lease_survive_it(void **state)
{
  (void)state;
  assert_true(alloc_torture(with_a_thread, (void *)(uintptr_t)base(), ALLOC_TORTURE_BALANCED) > 40);
}

/* ----------------------------------------------------- a driver that does not block, retried */

static void retried(void *context)
{
  struct place *place = context;
  cenote_error error = CENOTE_ERROR_INIT;
  struct answer answer = {0};
  place->manager = NULL;
  fake_fail(&place->script, CENOTE_REQUEST_EXECUTE, CENOTE_CONNECTION_LOST, 2);
  cenote_status status = cenote_open("fake://place", &place->options, &place->manager, &error);
  settle(status, error.message);
  if (status != CENOTE_OK) {
    return;
  }
  status = cenote_query_async(place->manager, "SELECT 1", NULL, 0, NULL, on_answer, &answer, NULL,
                              &error);
  settle(status, error.message);
  if (status == CENOTE_OK) {
    drive(place->manager, &answer);
  }
  cenote_close(place->manager);
}

static void repetitions_survive_it(void **state)
{
  (void)state;
  struct place place;
  routed_place(&place, "1");
  place.settings[0].value = "1"; /* retry_delay_ms */
  place_set(&place, "connect_backoff_ms", "1");
  place_set(&place, "memory_pressure", "false");
  place.options.external_loop = true;
  place.options.log = silent;
  place.options.audit = NULL;
  assert_true(alloc_torture(retried, &place, 0) > 20);
  place.manager = NULL;
  fake_script_deinit(&place.script);
  notes_deinit(&place.notes);
}

static int open_scratch(void **state)
{
  (void)state;
  return scratch_open() ? 0 : 1;
}

static int close_scratch(void **state)
{
  (void)state;
  alloc_torture_disarm();
  scratch_close();
  return 0;
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      TEST(statements_that_nobody_waits_for_survive_it),
      TEST(statements_without_a_lease_survive_it),
      TEST(repetitions_survive_it),
  };
  return cmocka_run_group_tests(tests, open_scratch, close_scratch);
}
