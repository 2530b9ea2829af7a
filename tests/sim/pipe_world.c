/* pipe_world.c - a life: begins, runs, ends. */
#include "sim/pipe_world.h"

#include <stdlib.h>
#include <string.h>

struct pipe_world *pipe_world;

void pipe_ring(_Atomic uint32_t *bell)
{
  sim_quiet(true);
  const uint32_t rung = atomic_load_explicit(bell, memory_order_relaxed);
  atomic_store_explicit(bell, rung + 1, memory_order_release);
  sim_quiet(false);
  sim_unpark(bell);
}

void pipe_ring_loop(void)
{
  pipe_world->rings++;
  pipe_ring(&pipe_world->bell);
}

void pipe_wire_changed(struct wire *wire)
{
  pipe_ring(&wire->bell);
  for (int i = 0; i < PIPE_PIPES; i++) {
    if (pipe_world->pipe[i].watched && pipe_world->pipe[i].wire == wire) {
      pipe_ring(&pipe_world->bell); /* it looks whether something can be read */
    }
  }
}

bool pipe_allows(unsigned fault, unsigned one_in)
{
  return (pipe_world->config.faults & fault) != 0 && sim_chance(one_in);
}

void pipe_event(void)
{
  pipe_world->events++;
  if (!sim_lock_is_free()) {
    return; /* somebody is in the middle of it */
  }
  sim_quiet(true);
  const char *wrong = pipeline_check(&pipe_world->set);
  sim_quiet(false);
  if (wrong != NULL) {
    sim_fail("pipeline_check: %s", wrong);
  }
}

static void deliver_once(const struct pipeline_wakes *wakes)
{
  for (unsigned i = 0; i < wakes->count; i++) {
    sim_unpark(wakes->word[i]);
  }
  if (wakes->nudge != NULL) {
    struct pipe *pipe = (struct pipe *)wakes->nudge;
    pipe->nudged = true;
    if (pipe->wire != NULL) {
      pipe_wire_changed(pipe->wire);
    }
  }
  if (wakes->loop) {
    pipe_ring_loop();
  }
  pipe_event();
}

void pipe_deliver(struct pipeline_wakes *wakes)
{
  deliver_once(wakes);
  while (wakes->more) {
    memset(wakes, 0, sizeof *wakes);
    pipeline_refuse_more(&pipe_world->set, sim_now(), wakes);
    deliver_once(wakes);
  }
}

void pipe_begin(const struct pipe_config *config)
{
  pipe_world = aligned_alloc(64, (sizeof *pipe_world + 63) / 64 * 64);
  memset(pipe_world, 0, sizeof *pipe_world);
  pipe_world->config = *config;
  pipe_world->clients_left = config->clients;
  pipe_world->largest = config->maximum;
  pipe_world->most =
      (config->faults & PIPE_FAULT_RESIZE) != 0 ? config->maximum : config->limits.most;
  sim_begin(&config->sim);
  for (int i = 0; i < PIPE_PIPES; i++) {
    struct pipe *pipe = &pipe_world->pipe[i];
    pipe->pipeline.owner = pipe;
    pipe->pipeline.flight = pipe->flight;
  }
  if (pipeline_set_init(&pipe_world->set, &config->limits) != CENOTE_OK) {
    sim_fail("pipeline_set_init");
  }
}

bool pipe_run(void)
{
  if (!sim_run(pipe_quiet)) {
    return false;
  }
  ledger_end();
  return sim_failure() == NULL;
}

void pipe_quiet(void)
{
  sim_quiet(true);
  ledger_look_around();
  sim_quiet(false);
}

void pipe_end(void)
{
  while (pipe_world->wires != NULL) {
    struct wire *next = pipe_world->wires->next;
    free(pipe_world->wires);
    pipe_world->wires = next;
  }
  while (pipe_world->orders != NULL) {
    struct order *next = pipe_world->orders->next;
    free(pipe_world->orders);
    pipe_world->orders = next;
  }
  while (pipe_world->gone != NULL) {
    struct caller *next = pipe_world->gone->next;
    free(pipe_world->gone);
    pipe_world->gone = next;
  }
  pipeline_set_deinit(&pipe_world->set);
  free(pipe_world);
  pipe_world = NULL;
}
