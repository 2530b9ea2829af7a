/* world.c - a life: begins, runs, ends. */
#include "sim/world.h"

#include <stdlib.h>
#include <string.h>

struct world *world;

void world_ring(_Atomic uint32_t *bell)
{
  sim_quiet(true);
  const uint32_t rung = atomic_load_explicit(bell, memory_order_relaxed);
  atomic_store_explicit(bell, rung + 1, memory_order_release);
  sim_quiet(false);
  sim_unpark(bell);
}

uint64_t world_word(uint32_t slot)
{
  sim_quiet(true);
  const uint64_t word = slot_word(pool_slot(&world->pool, slot));
  sim_quiet(false);
  return word;
}

enum slot_state world_state(uint32_t slot)
{
  return word_state(world_word(slot));
}

static void check(void)
{
  if (!sim_lock_is_free()) {
    return; /* somebody is in the middle of it */
  }
  sim_quiet(true);
  const char *wrong = pool_check(&world->pool);
  sim_quiet(false);
  if (wrong != NULL) {
    sim_fail("pool_check: %s", wrong);
  }
}

void world_event(void)
{
  world->events++;
  check();
}

void world_deliver(struct pool_wakes *wakes)
{
  for (unsigned i = 0; i < wakes->count; i++) {
    sim_unpark(wakes->word[i]);
  }
  if (wakes->loop) {
    world_ring(&world->loop_bell);
  }
  check();
}

void world_refuse_rest(struct pool_wakes *wakes)
{
  world_deliver(wakes);
  while (wakes->more) {
    memset(wakes, 0, sizeof *wakes);
    pool_refuse_more(&world->pool, wakes);
    world_deliver(wakes);
  }
}

void world_begin(const struct world_config *config)
{
  world = aligned_alloc(64, (sizeof *world + 63) / 64 * 64);
  memset(world, 0, sizeof *world);
  world->config = *config;
  world->allowed = config->maximum;
  world->quota = world->promise = POOL_NO_QUOTA;
  world->clients_left = config->clients;
  sim_begin(&config->sim);
  if (pool_init(&world->pool, &config->limits, config->seed, sim_now()) != CENOTE_OK) {
    sim_fail("pool_init");
  }
}

bool world_run(void)
{
  if (!sim_run(world_quiet)) {
    return false;
  }
  ledger_balance();
  return sim_failure() == NULL;
}

void world_end(void)
{
  while (world->conns != NULL) {
    struct conn *next = world->conns->next;
    free(world->conns);
    world->conns = next;
  }
  while (world->leases != NULL) {
    struct lease *next = world->leases->next;
    free(world->leases);
    world->leases = next;
  }
  pool_deinit(&world->pool);
  free(world);
  world = NULL;
}
