/* pipe_scenarios.c - plays a script under many schedules. */
#include "sim/pipe_scenarios.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { RUNS = 240 };

static unsigned current_run;

unsigned pipe_scenario_run(void)
{
  return current_run;
}

static void plain(struct pipe_config *config)
{
  memset(config, 0, sizeof *config);
  config->maximum = 3;
  config->latency_ns = 20 * SIM_US;
  config->statement_ns = 50 * SIM_US;
  config->slow_ns = 15 * SIM_MS;
  config->connect_ns = 2 * SIM_MS;
  config->cancel_way_ns = SIM_MS;
  config->wait_ns = 100 * SIM_MS;
  config->patience_ns = INT64_C(1000) * SIM_MS;
  config->sim.start_ns = INT64_C(1000) * SIM_MS;
  config->limits = (struct pipeline_limits){.most = 2,
                                            .depth = 8,
                                            .queue = 1000,
                                            .slow_ns = 4 * SIM_MS,
                                            .statement_ns = 0,
                                            .cancel_ns = 5 * SIM_MS,
                                            .check_after_ns = 50 * SIM_MS,
                                            .check_ns = 10 * SIM_MS};
}

static void vary(struct pipe_config *config, unsigned run, bool prompt)
{
  static const unsigned switches[] = {1, 3, 20};
  static const unsigned delays[] = {0, 60, 500};
  config->seed = run + 1;
  config->sim.seed = run + 1;
  config->sim.strategy = (enum sim_strategy)(run % SIM_STRATEGIES);
  config->sim.switch_every = switches[run / 4 % 3];
  config->sim.delay_every = prompt ? 0 : delays[run / 12 % 3];
}

static void play_once(const struct pipe_scenario *scenario, const struct pipe_config *config)
{
  pipe_begin(config);
  sim_spawn("loop", pipe_loop_body, NULL);
  intptr_t number = 0;
  for (int i = 0; i < 6 && scenario->body[i] != NULL; i++) {
    const bool last = i == 5 || scenario->body[i + 1] == NULL;
    const unsigned copies = last && scenario->copies > 0 ? scenario->copies : 1;
    for (unsigned copy = 0; copy < copies; copy++) {
      sim_spawn(last ? "last" : i == 0 ? "first" : "other", scenario->body[i], (void *)number++);
    }
  }
  pipe_world->clients_left = (unsigned)number;
  sim_spawn("shutdown", pipe_shutdown_body, NULL);
  const bool good = pipe_run();
  if (good && scenario->after != NULL) {
    scenario->after();
  }
}

void pipe_scenario_play(const struct pipe_scenario *scenario)
{
  const unsigned runs = scenario->runs > 0 ? scenario->runs : RUNS;
  const char *traced = getenv("RUN"); /* SCENARIO=name RUN=number: with a trace */
  for (current_run = 0; current_run < runs; current_run++) {
    struct pipe_config config;
    plain(&config);
    vary(&config, current_run, scenario->prompt);
    if (traced != NULL && strtoul(traced, NULL, 10) != current_run) {
      continue;
    }
    config.sim.trace = traced != NULL;
    if (scenario->set != NULL) {
      scenario->set(&config);
    }
    play_once(scenario, &config);
    char failure[512];
    const bool failed = sim_failure() != NULL;
    snprintf(failure, sizeof failure, "%s", failed ? sim_failure() : "");
    pipe_end();
    if (failed) {
      fail_msg("%s, run %u: %s", scenario->name, current_run, failure);
    }
  }
}

static struct order *make(bool write, int64_t duration_ns, int64_t wait_ns)
{
  struct order *order = client_order(0, write);
  order->duration_ns = duration_ns;
  order->deadline_ns = wait_ns > 0 ? sim_now() + wait_ns : PIPELINE_NEVER;
  return order;
}

struct order *play_read(int64_t duration_ns, int64_t wait_ns)
{
  return client_call(make(false, duration_ns, wait_ns), PIPELINE_READER);
}

struct order *play_write(int64_t duration_ns, int64_t wait_ns)
{
  return client_call(make(true, duration_ns, wait_ns), PIPELINE_WRITER);
}

struct caller *play_start(bool write, int64_t duration_ns, int64_t wait_ns)
{
  const bool loop_only = (pipe_world->config.faults & PIPE_FAULT_LOOP) != 0;
  return client_start(make(write, duration_ns, wait_ns), write ? PIPELINE_WRITER : PIPELINE_READER,
                      !loop_only);
}

struct pipe *play_pipe(enum pipeline_role role)
{
  for (int i = 0; i < PIPE_PIPES; i++) {
    struct pipe *pipe = &pipe_world->pipe[i];
    if (pipe->granted && pipe->wire != NULL && pipe->wire->read_only == (role == PIPELINE_READER)) {
      return pipe;
    }
  }
  return NULL;
}

void play_await_sent(const struct order *order)
{
  while (order->pushed == 0 && !order->settled) {
    sim_sleep(SIM_US);
  }
}
