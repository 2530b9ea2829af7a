/* gateway_life.c - a gateway from its beginning to its end; a manager on one of its loops; and what
 * happens when there is no memory. */
#include "server/gateway_inside.h"
#include "support/alloc_torture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static void quiet(void *context, cenote_log_level level, const char *line)
{
  (void)context;
  (void)level;
  (void)line;
}

static cenote_status gateway_make(const char *threads, struct gateway **gateway,
                                  cenote_error *error)
{
  const cenote_setting settings[] = {{"listen", "127.0.0.1:0"},
                                     {"threads", threads},
                                     {"host_names", "a.example, b.example"},
                                     {"origins", "https://app.example"},
                                     {"max_connections", "6"},
                                     {"max_connections_per_pool", "4"}};
  cenote_options options = CENOTE_OPTIONS_INIT;
  options.settings = settings;
  options.settings_count = sizeof settings / sizeof settings[0];
  options.log = quiet;
  return gateway_new("sqlite::memory:", &options, gateway, error);
}

static void moment_wait(void)
{
  const struct timespec moment = {0, 2000000};
  (void)nanosleep(&moment, NULL);
}

static void it_starts_listens_and_ends(void **state)
{
  struct gateway *gateway = NULL;
  cenote_error error = CENOTE_ERROR_INIT;
  char address[CEN_MAX_LISTEN + 32];
  (void)state;
  assert_int_equal(gateway_make("3", &gateway, &error), CENOTE_OK);
  assert_int_equal(gateway->settings.profile, CEN_PROFILE_SERVER);
  assert_int_equal(gateway_start(gateway, &error), CENOTE_OK);
  gateway_address(gateway, address, sizeof address);
  assert_int_equal(strncmp(address, "http://127.0.0.1:", 17), 0);
  assert_true(gateway_alive(gateway));
  assert_int_equal(gateway->loop_count, 3);
  struct gateway_database *database = gateway_find(gateway, GATEWAY_SQLITE, NULL);
  assert_non_null(database);
  assert_ptr_equal(gateway_find(gateway, GATEWAY_SQLITE, "default"), database);
  assert_null(gateway_find(gateway, GATEWAY_SQLITE, "other"));
  assert_null(gateway_find(gateway, GATEWAY_POSTGRES, NULL));
  cenote_statistics statistics = CENOTE_STATISTICS_INIT;
  assert_int_equal(cenote_pool_statistics(database->manager, &statistics), CENOTE_OK);
  assert_int_equal(statistics.max_connections, 4); /* what one pool may have */
  assert_int_equal(gateway_reload(gateway, &error), CENOTE_OK);
  gateway_drain(gateway);
  assert_true(gateway_wait(gateway, 60000));
  gateway_free(gateway);
}

static void it_may_be_given_up_at_any_point(void **state)
{
  struct gateway *gateway = NULL;
  (void)state;
  assert_int_equal(gateway_make("1", &gateway, NULL), CENOTE_OK);
  gateway_free(gateway); /* never started */
  assert_int_equal(gateway_make("2", &gateway, NULL), CENOTE_OK);
  assert_int_equal(gateway_start(gateway, NULL), CENOTE_OK);
  gateway_free(gateway); /* never drained */
  gateway_free(NULL);
}

/* ---------------------------------------------------------------- a manager on a loop */

struct driven {
  struct cen_task begin, finish;
  struct gateway_loop *loop;
  cenote_manager *manager;
  struct gateway_drive *drive;
  int64_t answer;
  _Atomic bool over;
};

static void driven_finish(struct cen_task *task)
{
  struct driven *driven = CEN_CONTAINER(task, struct driven, finish);
  cenote_close(driven->manager);
  atomic_store(&driven->over, true);
}

static void driven_answer(void *context, cenote_status status, cenote_result *result,
                          const cenote_error *error)
{
  struct driven *driven = context;
  (void)error;
  if (status == CENOTE_OK && cenote_result_rows(result) == 1) {
    driven->answer = cenote_result_integer(result, 0, 0);
  }
  cenote_result_free(result);
  gateway_drive_free(driven->drive); /* inside the dispatch that it stands in */
  cen_task_init(&driven->finish, driven_finish);
  (void)cen_http_loop_post(driven->loop->http, &driven->finish);
}

static void driven_begin(struct cen_task *task)
{
  struct driven *driven = CEN_CONTAINER(task, struct driven, begin);
  struct gateway *gateway = driven->loop->gateway;
  struct gateway_options *options = gateway_options_new(gateway, NULL);
  gateway_options_edit(options)->external_loop = true;
  cenote_status status = gateway_open(
      gateway, "test", "sqlite::memory:", gateway_options_of(options), &driven->manager, NULL);
  gateway_options_free(options);
  driven->drive = status == CENOTE_OK ? gateway_drive_new(driven->loop, driven->manager) : NULL;
  if (driven->drive != NULL) {
    status = cenote_query_async(driven->manager, "SELECT 42", NULL, 0, NULL, driven_answer, driven,
                                NULL, NULL);
  }
  if (driven->drive == NULL || status != CENOTE_OK) {
    atomic_store(&driven->over, true);
  }
}

static void a_loop_drives_a_manager_whose_callback_frees_the_drive(void **state)
{
  struct gateway *gateway = NULL;
  (void)state;
  assert_int_equal(gateway_make("1", &gateway, NULL), CENOTE_OK);
  assert_int_equal(gateway_start(gateway, NULL), CENOTE_OK);
  struct driven driven = {.loop = &gateway->loops[0]};
  cen_task_init(&driven.begin, driven_begin);
  assert_true(cen_http_loop_post(driven.loop->http, &driven.begin));
  while (!atomic_load(&driven.over)) {
    moment_wait();
  }
  assert_int_equal(driven.answer, 42);
  gateway_free(gateway);
}

/* ------------------------------------------------------------------------- no memory */

static void make_once(void *context)
{
  struct gateway *gateway = NULL;
  (void)context;
  const cenote_status status = gateway_make("2", &gateway, NULL);
  assert_true(status == CENOTE_OK || gateway == NULL);
  assert_true(status == CENOTE_OK || alloc_torture_struck());
  gateway_free(gateway);
}

static void without_memory_it_is_refused_and_nothing_leaks(void **state)
{
  (void)state;
  assert_true(alloc_torture(make_once, NULL, ALLOC_TORTURE_BALANCED) > 20);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(it_starts_listens_and_ends),
      cmocka_unit_test(it_may_be_given_up_at_any_point),
      cmocka_unit_test(a_loop_drives_a_manager_whose_callback_frees_the_drive),
      cmocka_unit_test(without_memory_it_is_refused_and_nothing_leaks),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
