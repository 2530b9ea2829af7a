/* history.c - makes a history out of a seed. Each property is drawn from a stream of its own, so
 * that changing one (to shrink a failure) leaves the others as they were. */
#include "sim/history.h"

#include "base/rng.h"

static uint64_t draw(const struct world_config *config, uint64_t property, uint64_t bound)
{
  struct cen_rng rng;
  cen_rng_seed(&rng, config->seed * 64 + property);
  return cen_rng_below(&rng, bound);
}

enum {
  DRAW_SIZE,
  DRAW_SLOTS,
  DRAW_CLIENTS,
  DRAW_OPERATIONS,
  DRAW_FAULTS,
  DRAW_FAULT_KIND,
  DRAW_STRATEGY,
  DRAW_SWITCH,
  DRAW_DELAY,
  DRAW_MINIMUM,
  DRAW_OPENING,
  DRAW_WAITERS,
  DRAW_LEASE,
  DRAW_HOLD,
  DRAW_WAIT,
  DRAW_CONNECT,
  DRAW_CHECK,
  DRAW_START,
  DRAW_END,
  DRAW_PATIENCE
};

static unsigned draw_faults(const struct world_config *config)
{
  const unsigned any = (unsigned)draw(config, DRAW_FAULTS, FAULT_ALL + 1);
  switch (draw(config, DRAW_FAULT_KIND, 8)) {
  case 0:
    return 0;
  case 1:
    return FAULT_HOG | FAULT_LONG_CALL | FAULT_STALE | FAULT_DIRTY | FAULT_EXTEND | FAULT_REVOKE;
  case 2:
    return FAULT_ALL;
  case 3:
    return FAULT_ASYNC;
  case 4:
    return any & (FAULT_ALL & ~(FAULT_KILL | FAULT_DOWN | FAULT_BLACKHOLE | FAULT_FREEZE));
  case 5:
    return FAULT_QUOTA | (any & (FAULT_ASYNC | FAULT_RESIZE | FAULT_REVOKE | FAULT_HOG));
  default:
    return any;
  }
}

static void draw_size(struct world_config *config)
{
  const uint64_t size = draw(config, DRAW_SIZE, 10);
  if (size < 4) { /* tiny */
    config->maximum = 1 + (uint32_t)draw(config, DRAW_SLOTS, 2);
    config->clients = 2 + (unsigned)draw(config, DRAW_CLIENTS, 3);
  } else if (size < 9) {
    config->maximum = 2 + (uint32_t)draw(config, DRAW_SLOTS, 6);
    config->clients = 3 + (unsigned)draw(config, DRAW_CLIENTS, 10);
  } else { /* several chunks of slots, more waiters than one call can wake */
    config->maximum = 30 + (uint32_t)draw(config, DRAW_SLOTS, 40);
    config->clients = 20 + (unsigned)draw(config, DRAW_CLIENTS, 10);
  }
  config->operations = 5 + (unsigned)draw(config, DRAW_OPERATIONS, 40);
  config->minimum = (uint32_t)draw(config, DRAW_MINIMUM, config->maximum + 1);
}

void history_draw(struct world_config *config)
{
  static const unsigned switches[] = {1, 2, 4, 10, 40};
  static const unsigned delays[] = {0, 0, 40, 300, 3000};
  static const int64_t holds[] = {0, 5 * SIM_US, 100 * SIM_US, 5 * SIM_MS};

  draw_size(config);
  config->faults = draw_faults(config);
  config->sim.strategy = (enum sim_strategy)draw(config, DRAW_STRATEGY, SIM_STRATEGIES);
  config->sim.switch_every = switches[draw(config, DRAW_SWITCH, 5)];
  config->sim.delay_every = delays[draw(config, DRAW_DELAY, 5)];
  config->lease_ns = (1 + (int64_t)draw(config, DRAW_LEASE, 60)) * SIM_MS;
  config->hold_ns = holds[draw(config, DRAW_HOLD, 4)];
  config->wait_ns = draw(config, DRAW_WAIT, 3) == 0 ? 2 * SIM_MS : 200 * SIM_MS;
  config->connect_ns = (int64_t)(1 + draw(config, DRAW_CONNECT, 40)) * SIM_MS / 4;
  config->statement_ns = 100 * SIM_US;
  config->slow_one_in = 20;
}

void history_finish(struct world_config *config)
{
  config->sim.seed = config->seed * 1000003 + config->schedule;
  config->sim.start_ns = INT64_C(1000) * SIM_MS + (int64_t)draw(config, DRAW_START, 10 * SIM_MS);
  config->drain_after_ns =
      (config->faults & FAULT_EARLY) != 0 ? 1 + (int64_t)draw(config, DRAW_END, 200 * SIM_MS) : 0;
  config->patience_ns = (int64_t)draw(config, DRAW_PATIENCE, 100 * SIM_MS);
  config->minimum = config->minimum > config->maximum ? config->maximum : config->minimum;
  config->limits = (struct pool_limits){
      .minimum = config->minimum,
      .maximum = config->maximum,
      .max_opening = 1 + (uint32_t)draw(config, DRAW_OPENING, 4),
      .max_waiters = draw(config, DRAW_WAITERS, 4) == 0 ? 3 : 1000,
      .idle_ns = 40 * SIM_MS,
      .age_ns = 150 * SIM_MS,
      .check_interval_ns = 30 * SIM_MS,
      .check_after_ns = draw(config, DRAW_CHECK, 3) == 0 ? SIM_MS : 20 * SIM_MS,
      .backoff_ns = 5 * SIM_MS,
      .backoff_max_ns = 80 * SIM_MS,
      .heartbeat_ns = 10 * SIM_MS,
      .cancel_ns = 5 * SIM_MS,
  };
}

bool history_run(const struct world_config *config, uint64_t *events, char *failure, size_t size)
{
  static const char *const names[WORLD_CLIENTS] = {
      "client0",  "client1",  "client2",  "client3",  "client4",  "client5",  "client6",
      "client7",  "client8",  "client9",  "client10", "client11", "client12", "client13",
      "client14", "client15", "client16", "client17", "client18", "client19", "client20",
      "client21", "client22", "client23", "client24", "client25", "client26", "client27",
      "client28", "client29", "client30", "client31"};
  world_begin(config);
  sim_spawn("housekeeper", housekeeper_body, NULL);
  sim_spawn("shutdown", shutdown_body, NULL);
  if ((config->faults & ((FAULT_HOG - 1) | FAULT_QUOTA | FAULT_BREAKER) & ~(unsigned)FAULT_EARLY) !=
      0) {
    sim_spawn("chaos", chaos_body, NULL);
  }
  for (unsigned i = 0; i < config->clients; i++) {
    sim_spawn(names[i], client_body, (void *)(intptr_t)i);
  }
  const bool good = world_run();
  *events += world->events;
  if (!good) {
    snprintf(failure, size, "%s", sim_failure());
  }
  world_end();
  return good;
}
