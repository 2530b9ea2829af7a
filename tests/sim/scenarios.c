/* scenarios.c - plays a script under many schedules. */
#include "sim/scenarios.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { RUNS = 120 };

void scenario_plain(struct world_config *config)
{
  memset(config, 0, sizeof *config);
  config->maximum = 2;
  config->lease_ns = 50 * SIM_MS;
  config->wait_ns = 20 * SIM_MS;
  config->connect_ns = SIM_MS;
  config->statement_ns = 100 * SIM_US;
  config->patience_ns = INT64_C(1000) * SIM_MS;
  config->sim.start_ns = INT64_C(1000) * SIM_MS;
  config->limits = (struct pool_limits){.maximum = 2,
                                        .max_opening = 4,
                                        .max_waiters = 1000,
                                        .idle_ns = INT64_C(100000) * SIM_MS,
                                        .check_after_ns = INT64_C(500) * SIM_MS,
                                        .backoff_ns = 5 * SIM_MS,
                                        .backoff_max_ns = 80 * SIM_MS,
                                        .heartbeat_ns = 10 * SIM_MS,
                                        .cancel_ns = 5 * SIM_MS};
}

static void vary(struct world_config *config, unsigned run, bool prompt)
{
  static const unsigned switches[] = {1, 3, 20};
  static const unsigned delays[] = {0, 60, 500};
  config->sim.seed = run + 1;
  config->sim.strategy = (enum sim_strategy)(run % SIM_STRATEGIES);
  config->sim.switch_every = switches[run / 4 % 3];
  config->sim.delay_every = prompt ? 0 : delays[run / 12 % 3];
}

static void play_once(const struct scenario *scenario, const struct world_config *config)
{
  world_begin(config);
  sim_spawn("housekeeper", housekeeper_body, NULL);
  intptr_t number = 0;
  for (int i = 0; i < 8 && scenario->body[i] != NULL; i++) {
    const bool last = i == 7 || scenario->body[i + 1] == NULL;
    const unsigned copies = last && scenario->copies > 0 ? scenario->copies : 1;
    for (unsigned copy = 0; copy < copies; copy++) {
      sim_spawn(last ? "last" : i == 0 ? "first" : "other", scenario->body[i], (void *)number++);
    }
  }
  world->clients_left = (unsigned)number;
  sim_spawn("shutdown", shutdown_body, NULL);
  const bool good = world_run();
  if (good && scenario->after != NULL) {
    scenario->after();
  }
}

void scenario_play(const struct scenario *scenario)
{
  const unsigned runs = scenario->runs > 0 ? scenario->runs : RUNS;
  for (unsigned run = 0; run < runs; run++) {
    struct world_config config;
    scenario_plain(&config);
    if (scenario->set != NULL) {
      scenario->set(&config);
    }
    vary(&config, run, scenario->prompt);
    play_once(scenario, &config);
    char failure[512];
    const bool failed = sim_failure() != NULL;
    snprintf(failure, sizeof failure, "%s", failed ? sim_failure() : "");
    world_end();
    if (failed) {
      fail_msg("%s, run %u: %s", scenario->name, run, failure);
    }
  }
}

struct lease *scenario_acquire(int client, int64_t wait_ns)
{
  struct lease *lease;
  const cenote_status status = client_acquire(client, wait_ns, world->config.lease_ns, &lease);
  if (lease == NULL) {
    sim_fail("client%d got nothing: %s", client, cenote_status_name(status));
  }
  return lease;
}

struct pool_counters *scenario_counters(void)
{
  return &world->pool.counters;
}

int scenario_number(void *argument)
{
  return (int)(intptr_t)argument;
}
