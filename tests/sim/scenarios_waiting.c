/* scenarios_waiting.c - those who found nothing free. */
#include "sim/scenarios.h"
#include "sim/scenarios_list.h"

static void one_slot(struct world_config *config)
{
  config->maximum = config->limits.maximum = 1;
}

/* -------------------------------------------------------- cancel_during_handoff */

static void handoff_set(struct world_config *config)
{
  one_slot(config);
  config->operations = 30;
  config->hold_ns = 60 * SIM_US;
  config->wait_ns = 300 * SIM_US; /* about as long as a turn: time-outs meet hand-overs */
  config->faults = FAULT_ASYNC;   /* a part of them cancelled */
  config->limits.check_after_ns = INT64_C(100000) * SIM_MS;
}

static uint64_t handed, gave_up;

static void handoff_after(void)
{
  handed += scenario_counters()->handed;
  gave_up += scenario_counters()->acquire_cancelled + scenario_counters()->acquire_timeouts;
}

/* Exactly one owner, nothing lost: the ledger and the balance at the end say so. */
void cancel_during_handoff(void **state)
{
  (void)state;
  handed = gave_up = 0;
  scenario_play(&(struct scenario){.name = __func__,
                                   .set = handoff_set,
                                   .body = {client_body},
                                   .copies = 4,
                                   .after = handoff_after});
  if (handed < 100 || gave_up < 100) {
    sim_fail("this test no longer tests anything");
  }
}

/* --------------------------------------------------------- expired_head_waiters */

static unsigned gone;

static void head_holder(void *argument)
{
  struct lease *lease = scenario_acquire(scenario_number(argument), 50 * SIM_MS);
  sim_sleep(20 * SIM_MS);
  EXPECT(world->pool.waiters == 1); /* those that gave up are not in the queue any more */
  EXPECT(client_release(lease) == POOL_OK);
  client_done();
}

static void head_last(void *argument)
{
  sim_sleep(10 * SIM_MS);
  const int64_t before = sim_now();
  struct lease *lease = scenario_acquire(scenario_number(argument), 40 * SIM_MS);
  EXPECT(sim_now() - before < 15 * SIM_MS); /* the holder's time, and no stall */
  client_release(lease);
  client_done();
}

static void head_expired(void *argument)
{
  struct lease *lease;
  sim_sleep(2 * SIM_MS);
  const int64_t wait_ns = SIM_MS + (int64_t)sim_random(5 * SIM_MS);
  EXPECT(client_acquire(scenario_number(argument), wait_ns, SIM_MS, &lease) == CENOTE_TIMEOUT);
  gone++;
  client_done();
}

static void head_set(struct world_config *config)
{
  one_slot(config);
  gone = 0;
}

static void head_after(void)
{
  if (gone != 25) {
    sim_fail("%u gave up", gone);
  }
}

void expired_head_waiters(void **state)
{
  (void)state;
  scenario_play(&(struct scenario){.name = __func__,
                                   .set = head_set,
                                   .body = {head_holder, head_last, head_expired},
                                   .copies = 25,
                                   .after = head_after,
                                   .prompt = true});
}

/* ------------------------------------------------------------- starvation_bound */

enum { BARGE_CLIENTS = 6, BARGE_TURNS = 150 };
static int64_t longest;

static void barge(void *argument, int64_t hold_ns)
{
  const int client = scenario_number(argument);
  for (int i = 0; i < BARGE_TURNS; i++) {
    const int64_t before = sim_now();
    struct lease *lease = scenario_acquire(client, INT64_C(10000) * SIM_MS);
    const int64_t waited = sim_now() - before;
    longest = waited > longest ? waited : longest;
    if (hold_ns > 0) {
      sim_sleep(hold_ns / 2 + (int64_t)sim_random((uint64_t)hold_ns));
    }
    client_release(lease); /* and straight back for the next: nobody stands aside */
  }
  client_done();
}

static void barge_holding(void *argument)
{
  barge(argument, 50 * SIM_US);
}

static void barge_set(struct world_config *config)
{
  longest = 0;
  config->limits.max_waiters = 1000;
}

/* Six of them share two slots: a fair turn is three holds, the bound adds 2 ms to it. */
static void barge_after(void)
{
  if (longest > 4 * SIM_MS) {
    sim_fail("somebody waited for %lld us", (long long)longest / SIM_US);
  }
}

void starvation_bound(void **state)
{
  (void)state;
  scenario_play(&(struct scenario){.name = __func__,
                                   .set = barge_set,
                                   .body = {barge_holding},
                                   .copies = BARGE_CLIENTS,
                                   .after = barge_after,
                                   .runs = 24,
                                   .prompt = true});
}

/* ------------------------------------------------- timeout_then_connect_completes */

static void late_connect(void *argument)
{
  struct lease *lease;
  EXPECT(client_acquire(scenario_number(argument), 5 * SIM_MS, SIM_MS, &lease) == CENOTE_TIMEOUT);
  sim_sleep(600 * SIM_MS);
  EXPECT(world_state(0) == SLOT_FREE); /* it joined the idle set */
  world->config.faults = 0;
  struct pool_ask ask = {.now_ns = sim_now(), .lease_ns = 50 * SIM_MS, .operation = "late"};
  struct pool_grant grant;
  EXPECT(pool_take(&world->pool, 0, &ask, &grant));
  client_release(ledger_granted(scenario_number(argument), &grant, &ask));
  EXPECT(world->ids == 1);
  client_done();
}

static void late_set(struct world_config *config)
{
  one_slot(config);
  config->connect_ns = 30 * SIM_MS;
}

void timeout_then_connect_completes(void **state)
{
  (void)state;
  scenario_play(&(struct scenario){
      .name = __func__, .set = late_set, .body = {late_connect}, .prompt = true});
}

/* -------------------------------------------------------------- thundering_herd */

static void herd(void *argument)
{
  struct lease *lease = scenario_acquire(scenario_number(argument), INT64_C(5000) * SIM_MS);
  sim_sleep(SIM_MS);
  client_release(lease);
  client_done();
}

static void herd_set(struct world_config *config)
{
  config->maximum = config->limits.maximum = 5;
  config->connect_ns = 50 * SIM_MS;
  config->limits.max_opening = 3;
}

/* server_connect fails the run when the maximum, or the bound on connects, is exceeded. */
static void herd_after(void)
{
  if (world->ids > 5) {
    sim_fail("%llu connects for at most 5 connections", (unsigned long long)world->ids);
  }
}

void thundering_herd(void **state)
{
  (void)state;
  scenario_play(&(struct scenario){.name = __func__,
                                   .set = herd_set,
                                   .body = {herd},
                                   .copies = 32,
                                   .after = herd_after,
                                   .runs = 40,
                                   .prompt = true});
}
