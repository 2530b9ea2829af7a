/* monitor_torture.c - every allocation of the monitor's texts fails in turn: there is no text, or a
 * whole one; nothing leaks. */
#include "server/gateway_inside.h"
#include "server/monitor_inside.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/alloc_torture.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

static struct gateway_database bases[] = {{.name = "a", .kind = GATEWAY_POSTGRES}};
static struct gateway gateway;
static cenote_manager *manager, *second;
static struct cen_sum total;

struct texts {
  struct status_draft status;
  struct metrics_draft *metrics;
};

static void on_group(void *context, const struct pools_group *group, struct cen_sum *sum)
{
  struct texts *texts = context;
  struct cen_health health;
  cen_health_judge(&sum->figures, &health);
  status_pool(&texts->status, group, sum, &health);
  if (texts->metrics != NULL) {
    metrics_pool(texts->metrics, group, sum);
  }
  cen_figures_merge(&total, sum);
}

/* Counts live leases too, as one is held all the time. */
static void write_all(void)
{
  struct texts texts = {.metrics = metrics_begin(&gateway)};
  struct cen_health health;
  status_begin(&texts.status);
  cen_sum_empty(&total);
  pools_collect(&gateway, on_group, &texts);
  cen_health_judge(&total.figures, &health);
  struct monitor_text *status = status_end(&texts.status, &gateway, &total, &health, 0);
  struct monitor_text *metrics = metrics_end(texts.metrics, health.status, 0);
  metrics_free(texts.metrics);
  if (status != NULL) {
    assert_int_equal(status->size, strlen(status->data));
    assert_int_equal(status->data[status->size - 1], '}');
  }
  if (metrics != NULL) {
    assert_non_null(strstr(metrics->data, "process_max_fds "));
    assert_non_null(strstr(metrics->data, "cenote_pool_managers{database=\"a\",user=\"u\"}"));
  }
  assert_true((status != NULL && metrics != NULL) || alloc_torture_struck());
  monitor_text_free(status);
  monitor_text_free(metrics);
  cen_sum_deinit(&total);
}

static void body(void *context)
{
  (void)context;
  gateway.pools = gateway_pools_new();
  if (gateway.pools == NULL) {
    assert_true(alloc_torture_struck());
    return;
  }
  const bool one = gateway_pools_add(&gateway, &bases[0], "u", manager) == CENOTE_OK;
  const bool two = gateway_pools_add(&gateway, &bases[0], "nobody", second) == CENOTE_OK;
  assert_true((one && two) || alloc_torture_struck());
  if (two) {
    gateway_pools_remove(&gateway, second); /* folded into the others */
  }
  if (one) {
    write_all();
    gateway_pools_remove(&gateway, manager);
  }
  gateway_pools_free(gateway.pools);
  gateway.pools = NULL;
}

static cenote_manager *manager_make(void)
{
  cenote_manager *made = NULL;
  const cenote_setting settings[] = {{"min_connections", "0"}, {"health_check_interval_ms", "0"}};
  cenote_options options = CENOTE_OPTIONS_INIT;
  cenote_error error = CENOTE_ERROR_INIT;
  options.settings = settings;
  options.settings_count = 2;
  assert_int_equal(cenote_open("sqlite::memory:", &options, &made, &error), CENOTE_OK);
  return made;
}

static void no_memory_leaves_a_text_out_and_none_half_written(void **state)
{
  struct cen_http_config config;
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_lease lease;
  (void)state;
  cen_http_config_init(&config);
  config.port = 0;
  assert_int_equal(cen_http_server_new(&config, &gateway.http, &error), CENOTE_OK);
  gateway.databases = bases;
  gateway.database_count = 1;
  manager = manager_make();
  second = manager_make();
  assert_int_equal(cenote_acquire(manager, "held", 5000, &lease, &error), CENOTE_OK);
  (void)poll(NULL, 0, 200); /* the threads that opened it put their tools away */
  assert_true(alloc_torture(body, NULL, ALLOC_TORTURE_BALANCED | ALLOC_TORTURE_THIS_THREAD) > 50);
  assert_int_equal(cenote_release(lease), CENOTE_OK);
  cenote_close(manager);
  cenote_close(second);
  cen_http_server_free(gateway.http);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(no_memory_leaves_a_text_out_and_none_half_written),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
