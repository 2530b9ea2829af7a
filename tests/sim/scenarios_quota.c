/* scenarios_quota.c - leases that are revoked; a quota that moves. */
#include "sim/scenarios.h"
#include "sim/scenarios_list.h"

#include <string.h>

static struct lease *shared_lease;
static int stage;
static int won;

static void await_stage(int which)
{
  while (stage < which) {
    sim_sleep(100 * SIM_US);
  }
}

static void one_slot(struct world_config *config)
{
  config->maximum = config->limits.maximum = 1;
  stage = 0;
  won = 0;
  shared_lease = NULL;
}

static void revoked_once(void)
{
  const struct pool_counters *counters = scenario_counters();
  if (counters->revoked != 1 || counters->expired != 0 || counters->forced != 0) {
    sim_fail("%llu revoked, %llu expired, %llu forced", (unsigned long long)counters->revoked,
             (unsigned long long)counters->expired, (unsigned long long)counters->forced);
  }
}

/* ------------------------------------------------------ revoked_inside_a_statement */

static void statement_holder(void *argument)
{
  struct slot_obituary obituary;
  shared_lease = scenario_acquire(scenario_number(argument), 50 * SIM_MS);
  stage = 1;
  const int64_t before = sim_now();
  EXPECT(!client_statement(shared_lease, INT64_C(1000) * SIM_MS, SLOT_SESSION_DIRTY, false));
  EXPECT(sim_now() - before < 40 * SIM_MS); /* it was cancelled, long before it would expire */
  EXPECT(pool_was_taken(&world->pool, shared_lease->slot, shared_lease->generation, &obituary));
  EXPECT(obituary.reason == POOL_REASON_REVOKED);
  EXPECT(strcmp(obituary.operation, "operation") == 0);
  EXPECT(client_release(shared_lease) == POOL_STALE);
  client_done();
}

static void statement_revoker(void *argument)
{
  (void)argument;
  await_stage(1);
  sim_sleep(5 * SIM_MS);
  EXPECT(client_revoke(shared_lease));
  EXPECT(!client_revoke(shared_lease));
  stage = 2;
  client_done();
}

static void statement_next(void *argument)
{
  await_stage(2);
  struct lease *lease = scenario_acquire(scenario_number(argument), 500 * SIM_MS);
  EXPECT(lease->conn->dirty_of == 0 && lease->conn->cleanings == 1);
  EXPECT(client_release(lease) == POOL_OK);
  client_done();
}

void revoked_inside_a_statement(void **state)
{
  (void)state;
  scenario_play(&(struct scenario){.name = __func__,
                                   .set = one_slot,
                                   .body = {statement_holder, statement_revoker, statement_next},
                                   .after = revoked_once,
                                   .prompt = true});
}

/* -------------------------------------------------------------- deaf_and_revoked */

static void deaf_holder(void *argument)
{
  shared_lease = scenario_acquire(scenario_number(argument), 50 * SIM_MS);
  stage = 1;
  const int64_t before = sim_now();
  EXPECT(!client_statement(shared_lease, INT64_C(1000) * SIM_MS, 0, true));
  EXPECT(sim_now() - before < 60 * SIM_MS); /* the cancel became an abort */
  EXPECT(shared_lease->conn->dead);
  client_done();
}

static void deaf_revoker(void *argument)
{
  (void)argument;
  await_stage(1);
  sim_sleep(2 * SIM_MS);
  EXPECT(client_revoke(shared_lease));
  client_done();
}

void revoked_and_deaf_is_cut_off(void **state)
{
  (void)state;
  scenario_play(&(struct scenario){.name = __func__,
                                   .set = one_slot,
                                   .body = {deaf_holder, deaf_revoker},
                                   .after = revoked_once,
                                   .prompt = true});
}

/* -------------------------------------------------------- revoke_meets_a_release */

/* Who is stopped for long may not even get one in time. */
static const int64_t EVER_NS = INT64_C(100000) * SIM_MS;

static void meeting_holder(void *argument)
{
  EXPECT(client_acquire(scenario_number(argument), EVER_NS, EVER_NS, &shared_lease) == CENOTE_OK);
  (void)client_statement(shared_lease, 50 * SIM_US, 0, false);
  stage = 1;
  sim_sleep((int64_t)sim_random(250 * SIM_US));
  won += client_release(shared_lease) == POOL_OK;
  client_done();
}

static void meeting_revoker(void *argument)
{
  (void)argument;
  await_stage(1);
  won += client_revoke(shared_lease);
  client_done();
}

static void one_won(void)
{
  if (won != 1 || scenario_counters()->revoked > 1) {
    sim_fail("%d of them ended the lease", won);
  }
}

void revoke_meets_a_release(void **state)
{
  (void)state;
  scenario_play(&(struct scenario){.name = __func__,
                                   .set = one_slot,
                                   .body = {meeting_holder, meeting_revoker, meeting_revoker},
                                   .after = one_won});
}

/* ----------------------------------------------------------- revoke_meets_a_call */

static void calling_holder(void *argument)
{
  EXPECT(client_acquire(scenario_number(argument), EVER_NS, EVER_NS, &shared_lease) == CENOTE_OK);
  stage = 1;
  while (client_statement(shared_lease, 0, 0, false)) { /* in and out, and nothing else */
  }
  EXPECT(client_release(shared_lease) == POOL_STALE);
  client_done();
}

static void calling_revoker(void *argument)
{
  (void)argument;
  await_stage(1);
  sim_sleep((int64_t)sim_random(100 * SIM_US));
  EXPECT(client_revoke(shared_lease)); /* nobody else has ended it */
  client_done();
}

void revoke_meets_a_call(void **state)
{
  (void)state;
  scenario_play(&(struct scenario){.name = __func__,
                                   .set = one_slot,
                                   .body = {calling_holder, calling_revoker},
                                   .after = revoked_once});
}

/* --------------------------------------------------------- revoke_meets_an_expiry */

static void expiry_holder(void *argument)
{
  EXPECT(client_acquire(scenario_number(argument), EVER_NS, 5 * SIM_MS, &shared_lease) ==
         CENOTE_OK);
  stage = 1;
  while (client_statement(shared_lease, 100 * SIM_US, SLOT_SESSION_DIRTY, false)) {
  }
  EXPECT(client_release(shared_lease) == POOL_STALE);
  client_done();
}

static void expiry_revoker(void *argument)
{
  (void)argument;
  await_stage(1);
  const int64_t left = shared_lease->deadline_ns - sim_now(); /* the heartbeat is 10 ms */
  sim_sleep((left > 0 ? left : 0) + (int64_t)sim_random(12 * SIM_MS));
  won += client_revoke(shared_lease);
  client_done();
}

static void taken_once(void)
{
  const struct pool_counters *counters = scenario_counters();
  if (counters->revoked + counters->expired != 1 || counters->revoked != (uint64_t)won) {
    sim_fail("%llu revoked, %llu expired, %d were told", (unsigned long long)counters->revoked,
             (unsigned long long)counters->expired, won);
  }
}

void revoke_meets_an_expiry(void **state)
{
  (void)state;
  scenario_play(&(struct scenario){.name = __func__,
                                   .set = one_slot,
                                   .body = {expiry_holder, expiry_revoker},
                                   .after = taken_once});
}

/* -------------------------------------------------------- revoke_meets_a_shutdown */

static void shutdown_set(struct world_config *config)
{
  one_slot(config);
  config->drain_after_ns = 10 * SIM_MS;
  config->patience_ns = 5 * SIM_MS;
  config->lease_ns = INT64_C(100000) * SIM_MS;
}

static void shutdown_holder(void *argument)
{
  struct lease *lease;
  if (client_acquire(scenario_number(argument), EVER_NS, EVER_NS, &lease) == CENOTE_OK) {
    shared_lease = lease;
    stage = 1;
    while (client_statement(lease, 300 * SIM_US, 0, false)) {
      sim_sleep((int64_t)sim_random(300 * SIM_US));
    }
  }
  stage = 1;
  client_done();
}

static void shutdown_revoker(void *argument)
{
  (void)argument;
  await_stage(1);
  sim_sleep(5 * SIM_MS + (int64_t)sim_random(20 * SIM_MS));
  won += shared_lease != NULL && client_revoke(shared_lease);
  client_done();
}

static void ended_once(void)
{
  const struct pool_counters *counters = scenario_counters();
  const uint64_t leases = shared_lease != NULL;
  if (counters->revoked + counters->forced != leases || counters->revoked != (uint64_t)won) {
    sim_fail("%llu revoked, %llu forced, %d were told", (unsigned long long)counters->revoked,
             (unsigned long long)counters->forced, won);
  }
}

void revoke_meets_a_shutdown(void **state)
{
  (void)state;
  scenario_play(&(struct scenario){.name = __func__,
                                   .set = shutdown_set,
                                   .body = {shutdown_holder, shutdown_revoker},
                                   .after = ended_once});
}

/* ------------------------------------------------- quota_closes_whoever_comes_first */

static void set_quota(uint32_t quota)
{
  world->quota = quota;
  world_ring(&world->loop_bell);
}

static void plain_quota(struct world_config *config)
{
  (void)config;
  stage = 0;
}

static void long_holder(void *argument)
{
  struct lease *lease = scenario_acquire(scenario_number(argument), 50 * SIM_MS);
  stage++;
  await_stage(4);
  EXPECT(world->connections == 1); /* it was the other one that went */
  EXPECT(client_statement(lease, 100 * SIM_US, 0, false));
  EXPECT(client_release(lease) == POOL_OK);
  client_done();
}

static void short_holder(void *argument)
{
  struct lease *lease = scenario_acquire(scenario_number(argument), 50 * SIM_MS);
  stage++;
  await_stage(3);
  EXPECT(client_release(lease) == POOL_OK);
  while (world->connections > 1) {
    sim_sleep(100 * SIM_US);
  }
  stage = 4;
  client_done();
}

static void lowering(void *argument)
{
  (void)argument;
  await_stage(2);
  set_quota(1);
  while (world->pool.quota != 1) {
    sim_sleep(100 * SIM_US);
  }
  EXPECT(world->pool.live == 2); /* nobody is disturbed */
  stage = 3;
  client_done();
}

static void one_by_quota(void)
{
  if (scenario_counters()->closed_by[POOL_REASON_QUOTA] != 1) {
    sim_fail("%llu were closed because of the quota",
             (unsigned long long)scenario_counters()->closed_by[POOL_REASON_QUOTA]);
  }
}

void quota_closes_whoever_comes_back_first(void **state)
{
  (void)state;
  scenario_play(&(struct scenario){.name = __func__,
                                   .set = plain_quota,
                                   .body = {long_holder, short_holder, lowering},
                                   .after = one_by_quota,
                                   .prompt = true});
}

/* --------------------------------------------------------- quota_closes_idle_at_once */

static void leaves_idle(void *argument)
{
  (void)argument;
  struct lease *one = scenario_acquire(0, 50 * SIM_MS);
  struct lease *two = scenario_acquire(1, 50 * SIM_MS);
  EXPECT(client_release(one) == POOL_OK && client_release(two) == POOL_OK);
  set_quota(0);
  const int64_t before = sim_now();
  while (world->connections > 0) {
    sim_sleep(100 * SIM_US);
  }
  EXPECT(sim_now() - before < 20 * SIM_MS);
  stage = 1;
  client_done();
}

/* Waits at a quota of 0 until it is raised; the loop hears of it. */
static void waits_for_quota(void *argument)
{
  await_stage(1);
  stage++;
  struct lease *lease = scenario_acquire(scenario_number(argument), 900 * SIM_MS);
  EXPECT(world->quota == 1);
  EXPECT(client_release(lease) == POOL_OK);
  client_done();
}

static void raising(void *argument)
{
  (void)argument;
  await_stage(4);
  sim_sleep(30 * SIM_MS);
  EXPECT(world->pool.waiters == 3 && world->connections == 0 && world->pool.told == 3);
  set_quota(1);
  client_done();
}

void quota_of_nothing_makes_everybody_wait(void **state)
{
  (void)state;
  scenario_play(&(struct scenario){.name = __func__,
                                   .set = plain_quota,
                                   .body = {leaves_idle, raising, waits_for_quota},
                                   .copies = 3,
                                   .prompt = true});
}
