/* scenarios_server.c - the database server, the network and the machine misbehave. */
#include "sim/scenarios.h"
#include "sim/scenarios_list.h"

#include <string.h>

/* ------------------------------------------------------------ restart_all_stale */

static void fill_set(struct world_config *config)
{
  config->maximum = config->limits.maximum = 6;
  config->limits.minimum = 6;
}

static void after_restart(void *argument)
{
  sim_sleep(30 * SIM_MS); /* the minimum is open */
  EXPECT(world->pool.live == 6);
  struct pool_wakes wakes = {0};
  struct pool_limits limits = world->config.limits;
  limits.minimum = 0; /* so that only what the caller needs is opened */
  pool_configure(&world->pool, &limits, sim_now(), &wakes);
  world_deliver(&wakes);
  sim_sleep(600 * SIM_MS);
  server_kill_all();
  const uint64_t before = world->ids;
  struct lease *lease = scenario_acquire(scenario_number(argument), 500 * SIM_MS);
  EXPECT(world->ids - before <= 1);
  EXPECT(client_statement(lease, 100 * SIM_US, 0, false));
  client_release(lease);
  EXPECT(scenario_counters()->discarded == 1); /* the caller itself met only one dead one */
  client_done();
}

void restart_all_stale(void **state)
{
  (void)state;
  scenario_play(&(struct scenario){
      .name = __func__, .set = fill_set, .body = {after_restart}, .prompt = true});
}

/* -------------------------------------------------------- database_down_then_up */

static void down_set(struct world_config *config)
{
  config->limits.minimum = 1;
}

static void waits_out(void *argument)
{
  world->down_until = world->config.sim.start_ns + 300 * SIM_MS;
  struct lease *lease = scenario_acquire(scenario_number(argument), INT64_C(2000) * SIM_MS);
  /* Up again: one back-off (with its jitter) and one connect later at the latest. */
  EXPECT(sim_now() < world->down_until + 100 * SIM_MS + 12 * SIM_MS + 10 * SIM_MS);
  EXPECT(world->ids <= 14);    /* bounded attempts: doubling from 5 ms to 80 ms */
  EXPECT(world->rounds < 400); /* and no busy loop */
  client_release(lease);
  client_done();
}

void database_down_then_up(void **state)
{
  (void)state;
  scenario_play(&(struct scenario){
      .name = __func__, .set = down_set, .body = {waits_out}, .copies = 2, .prompt = true});
}

/* ------------------------------------------------------------ connect_blackhole */

static unsigned served;

static void hole_set(struct world_config *config)
{
  config->maximum = config->limits.maximum = 3;
  served = 0;
}

static void hole_user(void *argument)
{
  const int client = scenario_number(argument);
  if (client == 0) {
    client_release(scenario_acquire(client, 50 * SIM_MS));
    world->dark_until = sim_now() + 200 * SIM_MS;
  } else {
    sim_sleep(20 * SIM_MS);
  }
  for (int i = 0; i < 20; i++) {
    struct lease *lease = scenario_acquire(client, 100 * SIM_MS);
    sim_sleep(500 * SIM_US);
    served += sim_now() < world->dark_until;
    client_release(lease);
  }
  client_done();
}

static void hole_after(void)
{
  if (served != 80) {
    sim_fail("only %u were served while the connects hung", served);
  }
}

void connect_blackhole(void **state)
{
  (void)state;
  scenario_play(&(struct scenario){.name = __func__,
                                   .set = hole_set,
                                   .body = {hole_user},
                                   .copies = 4,
                                   .after = hole_after,
                                   .prompt = true});
}

/* --------------------------------------------------------- server_refuses_53300 */

static void full_set(struct world_config *config)
{
  config->maximum = config->limits.maximum = 6;
}

static void full_user(void *argument)
{
  world->server_limit = 2;
  world->full_until = world->config.sim.start_ns + 300 * SIM_MS;
  for (int i = 0; i < 80; i++) {
    struct lease *lease = scenario_acquire(scenario_number(argument), 200 * SIM_MS);
    sim_sleep(2 * SIM_MS);
    client_release(lease);
  }
  client_done();
}

/* Served from what is there, few attempts, and grown again once the server has room. */
static void full_after(void)
{
  if (world->ids > 24 || scenario_counters()->created < 3 ||
      scenario_counters()->acquire_timeouts > 0) {
    sim_fail("%llu connects, %llu of them good", (unsigned long long)world->ids,
             (unsigned long long)scenario_counters()->created);
  }
}

void server_refuses_53300(void **state)
{
  (void)state;
  scenario_play(&(struct scenario){.name = __func__,
                                   .set = full_set,
                                   .body = {full_user},
                                   .copies = 6,
                                   .after = full_after,
                                   .runs = 40,
                                   .prompt = true});
}

/* ------------------------------------------------------------------ freeze_thaw */

static const int64_t HOUR_NS = INT64_C(3600) * 1000 * SIM_MS;

static void frozen_holder(void *argument)
{
  struct lease *lease = scenario_acquire(scenario_number(argument), 50 * SIM_MS);
  while (sim_now() < HOUR_NS) {
    sim_sleep(SIM_MS);
  }
  sim_sleep(INT64_C(3000) * SIM_MS);                       /* well past the time of grace */
  EXPECT(client_statement(lease, 100 * SIM_US, 0, false)); /* and still its own */
  EXPECT(client_release(lease) == POOL_OK);
  client_done();
}

static void frozen_sleeper(void *argument)
{
  sim_sleep(30 * SIM_MS);
  sim_jump(HOUR_NS);
  for (int i = 0; i < 3; i++) { /* before and after the janitor has noticed: checked each */
    struct pool_ask ask = {.now_ns = sim_coarse(), .lease_ns = 50 * SIM_MS, .operation = ""};
    struct pool_grant grant;
    if (pool_take(&world->pool, (uint32_t)(3 + i), &ask, &grant)) {
      EXPECT(grant.must_check);
      client_release(ledger_granted(scenario_number(argument), &grant, &ask));
    }
    sim_sleep(2 * SIM_MS);
  }
  client_done();
}

static void frozen_after(void)
{
  if (scenario_counters()->expired != 0 || scenario_counters()->thaws != 1) {
    sim_fail("%llu leases expired, %llu thaws", (unsigned long long)scenario_counters()->expired,
             (unsigned long long)scenario_counters()->thaws);
  }
}

static void frozen_set(struct world_config *config)
{
  fill_set(config);
  config->lease_ns = INT64_C(10000) * SIM_MS;
}

void freeze_thaw(void **state)
{
  (void)state;
  scenario_play(&(struct scenario){.name = __func__,
                                   .set = frozen_set,
                                   .body = {frozen_sleeper, frozen_holder},
                                   .copies = 3,
                                   .after = frozen_after,
                                   .prompt = true});
}

/* ------------------------------------------------------------------ clock_steps */

static int64_t clock_start;
static uint64_t clock_steps_taken[2], clock_events[2];
static unsigned clock_turn;

static void clock_set(struct world_config *config)
{
  config->sim.start_ns = clock_start;
  config->operations = 20;
  config->hold_ns = SIM_MS;
  config->lease_ns = 5 * SIM_MS;
  config->faults = FAULT_HOG | FAULT_STALE | FAULT_DIRTY | FAULT_ASYNC | FAULT_LONG_CALL;
}

static void clock_after(void)
{
  clock_steps_taken[clock_turn] += sim_steps();
  clock_events[clock_turn] += world->events;
}

/* The core only sees one monotonic clock, as an argument: wherever it starts, the same happens.
 * (The wall clock appears nowhere; the manager reads it for logs only.) */
void clock_steps(void **state)
{
  (void)state;
  const int64_t starts[] = {8 * SIM_MS, INT64_C(100) * 365 * 24 * HOUR_NS / 1000};
  memset(clock_steps_taken, 0, sizeof clock_steps_taken);
  memset(clock_events, 0, sizeof clock_events);
  for (clock_turn = 0; clock_turn < 2; clock_turn++) {
    clock_start = starts[clock_turn] / (4 * SIM_MS) * (4 * SIM_MS);
    scenario_play(&(struct scenario){.name = __func__,
                                     .set = clock_set,
                                     .body = {client_body},
                                     .copies = 4,
                                     .after = clock_after});
  }
  if (clock_steps_taken[0] != clock_steps_taken[1] || clock_events[0] != clock_events[1]) {
    sim_fail("another start, another course");
  }
}

/* -------------------------------------- memory_pressure_gives_idle_connections_back */

static void pressed(void *argument)
{
  struct pool_wakes wakes = {0};
  struct pool_limits limits = world->config.limits;
  sim_sleep(30 * SIM_MS);
  struct lease *lease = scenario_acquire(scenario_number(argument), 50 * SIM_MS);
  EXPECT(world->pool.live == 6);
  limits.minimum = 2;
  pool_configure(&world->pool, &limits, sim_now(), &wakes);
  pool_relieve(&world->pool, sim_now(), &wakes);
  world_deliver(&wakes);
  sim_sleep(5 * SIM_MS);
  EXPECT(world->pool.live == 2);
  EXPECT(client_statement(lease, 100 * SIM_US, 0, false));
  EXPECT(client_release(lease) == POOL_OK);
  EXPECT(scenario_counters()->pressure_events == 1);
  EXPECT(scenario_counters()->closed_by[POOL_REASON_PRESSURE] == 4);
  client_done();
}

void memory_pressure_gives_idle_connections_back(void **state)
{
  (void)state;
  scenario_play(
      &(struct scenario){.name = __func__, .set = fill_set, .body = {pressed}, .prompt = true});
}
