/* sim_pipeline.c - random histories of the simple path; the options stand in runner.h. --slots is
 * the number of connections. */
#include "sim/pipe_world.h"
#include "sim/runner.h"

#include <string.h>

static void configure(struct pipe_config *config, const struct wish *wish)
{
  memset(config, 0, sizeof *config);
  config->seed = wish->seed;
  config->schedule = wish->schedule;
  pipe_history_draw(config);
  config->clients = wish->clients >= 0 ? (unsigned)wish->clients : config->clients;
  config->operations = wish->operations >= 0 ? (unsigned)wish->operations : config->operations;
  config->maximum = wish->slots >= 0 ? (uint32_t)wish->slots : config->maximum;
  config->faults = wish->faults >= 0 ? (unsigned)wish->faults : config->faults;
  config->sim.trace = wish->trace;
  config->sim.steps = wish->steps;
  pipe_history_finish(config);
}

static bool run(const struct wish *wish, uint64_t *events, char *failure, size_t size)
{
  struct pipe_config config;
  configure(&config, wish);
  return pipe_history_run(&config, events, failure, size);
}

static void draw(struct wish *wish)
{
  struct pipe_config config;
  configure(&config, wish);
  wish->clients = (long)config.clients;
  wish->operations = (long)config.operations;
  wish->slots = (long)config.maximum;
  wish->faults = (long)config.faults;
}

int main(int count, char **words)
{
  static const struct runner pipeline = {.program = "sim_pipeline",
                                         .claim = "random_histories_of_the_simple_path",
                                         .events = 2000000,
                                         .fault_all = PIPE_FAULT_ALL,
                                         .run = run,
                                         .draw = draw};
  return runner_main(&pipeline, count, words);
}
