/* pipe_history.c - makes a history of the simple path out of a seed; each property from a stream of
 * its own, so that changing one (to shrink a failure) leaves the others as they were. */
#include "sim/pipe_world.h"

#include "base/rng.h"

#include <stdio.h>

static uint64_t draw(const struct pipe_config *config, uint64_t property, uint64_t bound)
{
  struct cen_rng rng;
  cen_rng_seed(&rng, config->seed * 64 + property);
  return cen_rng_below(&rng, bound);
}

enum {
  DRAW_SIZE,
  DRAW_MAXIMUM,
  DRAW_CLIENTS,
  DRAW_OPERATIONS,
  DRAW_FAULTS,
  DRAW_FAULT_KIND,
  DRAW_STRATEGY,
  DRAW_SWITCH,
  DRAW_DELAY,
  DRAW_MOST,
  DRAW_DEPTH,
  DRAW_QUEUE,
  DRAW_STATEMENT,
  DRAW_CONNECT,
  DRAW_CHECK,
  DRAW_START,
  DRAW_END,
  DRAW_PATIENCE,
  DRAW_WRITES,
  DRAW_WAIT,
  DRAW_CANCEL
};

static unsigned draw_faults(const struct pipe_config *config)
{
  const unsigned any = (unsigned)draw(config, DRAW_FAULTS, PIPE_FAULT_ALL + 1);
  const unsigned other = (unsigned)draw(config, DRAW_FAULTS + 32, PIPE_FAULT_ALL + 1);
  switch (draw(config, DRAW_FAULT_KIND, 9)) {
  case 0:
    return 0;
  case 1:
    return PIPE_FAULT_SLOW | PIPE_FAULT_IMPATIENT | PIPE_FAULT_CANCEL | PIPE_FAULT_ASYNC |
           (any & PIPE_FAULT_ASTRAY);
  case 2:
    return PIPE_FAULT_EXCLUSIVE | PIPE_FAULT_RESIZE | PIPE_FAULT_WANT | (any & PIPE_FAULT_ASYNC);
  case 3:
    return PIPE_FAULT_KILL | PIPE_FAULT_SILENT | PIPE_FAULT_SYNC | PIPE_FAULT_IMPATIENT |
           (any & PIPE_FAULT_ASYNC);
  case 4:
    return PIPE_FAULT_ASYNC | PIPE_FAULT_CANCEL | PIPE_FAULT_LOOP | (any & other);
  case 5:
    return PIPE_FAULT_ALL & ~(unsigned)PIPE_FAULT_LOOP;
  case 6:
    return any & ~(unsigned)PIPE_FAULT_LOOP;
  default:
    return any & other;
  }
}

void pipe_history_draw(struct pipe_config *config)
{
  static const unsigned switches[] = {1, 1, 2, 4, 10};
  static const unsigned delays[] = {0, 0, 0, 100, 600, 4000};
  const uint64_t size = draw(config, DRAW_SIZE, 10);
  if (size < 4) { /* tiny */
    config->maximum = 1 + (uint32_t)draw(config, DRAW_MAXIMUM, 2);
    config->clients = 1 + (unsigned)draw(config, DRAW_CLIENTS, 4);
  } else if (size < 9) {
    config->maximum = 1 + (uint32_t)draw(config, DRAW_MAXIMUM, 4);
    config->clients = 3 + (unsigned)draw(config, DRAW_CLIENTS, 8);
  } else { /* more callers than a step can wake, or a batch can feed */
    config->maximum = 1 + (uint32_t)draw(config, DRAW_MAXIMUM, 6);
    config->clients = 20 + (unsigned)draw(config, DRAW_CLIENTS, 14);
  }
  config->operations = 3 + (unsigned)draw(config, DRAW_OPERATIONS, 20);
  config->faults = draw_faults(config);
  config->sim.strategy = (enum sim_strategy)draw(config, DRAW_STRATEGY, SIM_STRATEGIES);
  config->sim.switch_every = switches[draw(config, DRAW_SWITCH, 5)];
  config->sim.delay_every = delays[draw(config, DRAW_DELAY, 6)];
}

void pipe_history_finish(struct pipe_config *config)
{
  static const uint32_t depths[] = {1, 2, 3, 4, 8, 40};
  static const int64_t statements[] = {5 * SIM_US, 50 * SIM_US, 500 * SIM_US};
  config->sim.seed = config->seed * 1000003 + config->schedule;
  config->sim.start_ns = INT64_C(1000) * SIM_MS + (int64_t)draw(config, DRAW_START, 10 * SIM_MS);
  config->drain_after_ns = (config->faults & PIPE_FAULT_EARLY) != 0
                               ? 1 + (int64_t)draw(config, DRAW_END, 30 * SIM_MS)
                               : 0;
  config->patience_ns = (int64_t)draw(config, DRAW_PATIENCE, 100 * SIM_MS);
  config->latency_ns = 20 * SIM_US;
  config->statement_ns = statements[draw(config, DRAW_STATEMENT, 3)];
  config->slow_ns = 15 * SIM_MS;
  config->connect_ns = (int64_t)(1 + draw(config, DRAW_CONNECT, 20)) * SIM_MS / 4;
  config->cancel_way_ns = 1 + (int64_t)draw(config, DRAW_CANCEL, 4) * SIM_MS;
  config->wait_ns = draw(config, DRAW_WAIT, 3) == 0 ? 8 * SIM_MS : 100 * SIM_MS;
  config->write_percent = 20 * (unsigned)draw(config, DRAW_WRITES, 6);
  const uint32_t most = 1 + (uint32_t)draw(config, DRAW_MOST, 4);
  config->limits = (struct pipeline_limits){
      .most = most < config->maximum ? most : config->maximum,
      .depth = depths[draw(config, DRAW_DEPTH, 6)],
      .queue = (config->faults & PIPE_FAULT_QUEUE) != 0 ? 3 : 1000,
      .slow_ns = 4 * SIM_MS,
      .statement_ns = draw(config, DRAW_CHECK + 32, 2) == 0 ? 0 : 10 * SIM_MS,
      .cancel_ns = 5 * SIM_MS,
      .check_after_ns = draw(config, DRAW_CHECK, 3) == 0 ? SIM_MS : 50 * SIM_MS,
      .check_ns = 10 * SIM_MS};
}

bool pipe_history_run(const struct pipe_config *config, uint64_t *events, char *failure,
                      size_t size)
{
  static char names[PIPE_CLIENTS][12];
  pipe_begin(config);
  sim_spawn("loop", pipe_loop_body, NULL);
  sim_spawn("shutdown", pipe_shutdown_body, NULL);
  sim_spawn("chaos", pipe_chaos_body, NULL);
  for (unsigned i = 0; i < config->clients && i < PIPE_CLIENTS; i++) {
    snprintf(names[i], sizeof names[i], "client%u", i);
    sim_spawn(names[i], pipe_client_body, (void *)(intptr_t)i);
  }
  const bool good = pipe_run();
  *events += pipe_world->events;
  if (!good) {
    snprintf(failure, size, "%s", sim_failure());
  }
  pipe_end();
  return good;
}
