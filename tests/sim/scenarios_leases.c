/* scenarios_leases.c - leases that are released twice, kept too long, lost. */
#include "sim/scenarios.h"
#include "sim/scenarios_list.h"

#include <string.h>

static void one_slot(struct world_config *config)
{
  config->maximum = config->limits.maximum = 1;
}

static struct lease *shared_lease;
static int stage;

static void await_stage(int which)
{
  while (stage < which) {
    sim_sleep(100 * SIM_US);
  }
}

static void first_set(struct world_config *config)
{
  one_slot(config);
  stage = 0;
  shared_lease = NULL;
}

/* --------------------------------------------------- double_release_stale_lease */

static void double_first(void *argument)
{
  shared_lease = scenario_acquire(scenario_number(argument), 50 * SIM_MS);
  EXPECT(client_release(shared_lease) == POOL_OK);
  stage = 1;
  for (int i = 0; i < 50; i++) {
    EXPECT(client_release(shared_lease) == POOL_STALE);
    sim_sleep((int64_t)sim_random(50 * SIM_US));
  }
  client_done();
}

static void double_second(void *argument)
{
  await_stage(1);
  struct lease *lease = scenario_acquire(scenario_number(argument), 50 * SIM_MS);
  for (int i = 0; i < 5; i++) {
    EXPECT(client_statement(lease, 200 * SIM_US, 0, false)); /* unharmed */
  }
  EXPECT(client_release(lease) == POOL_OK);
  client_done();
}

void double_release_stale_lease(void **state)
{
  (void)state;
  scenario_play(&(struct scenario){
      .name = __func__, .set = first_set, .body = {double_first, double_second}, .prompt = true});
}

/* --------------------------------------------------- release_inside_transaction */

static void dirty_first(void *argument)
{
  struct lease *lease = scenario_acquire(scenario_number(argument), 50 * SIM_MS);
  stage = 1;
  client_statement(lease, 100 * SIM_US, SLOT_SESSION_DIRTY, false);
  EXPECT(client_release(lease) == POOL_OK);
  client_done();
}

static void dirty_second(void *argument)
{
  await_stage(1);
  struct lease *lease = scenario_acquire(scenario_number(argument), 50 * SIM_MS);
  EXPECT(lease->conn->dirty_of == 0 && lease->conn->cleanings == 1);
  EXPECT(client_statement(lease, 100 * SIM_US, 0, false));
  EXPECT(client_release(lease) == POOL_OK); /* clean: costs no reset */
  client_done();
}

static void dirty_after(void)
{
  if (scenario_counters()->resets != 1) {
    sim_fail("%llu resets", (unsigned long long)scenario_counters()->resets);
  }
}

void release_inside_transaction(void **state)
{
  (void)state;
  scenario_play(&(struct scenario){.name = __func__,
                                   .set = first_set,
                                   .body = {dirty_first, dirty_second},
                                   .after = dirty_after,
                                   .prompt = true});
}

/* -------------------------------------------------- lease_expires_mid_statement */

static void expiring(void *argument)
{
  struct lease *lease;
  struct slot_obituary obituary;
  EXPECT(client_acquire(scenario_number(argument), 50 * SIM_MS, 5 * SIM_MS, &lease) == CENOTE_OK);
  stage = 1;
  const int64_t before = sim_now();
  EXPECT(!client_statement(lease, INT64_C(1000) * SIM_MS, SLOT_SESSION_DIRTY, false));
  EXPECT(sim_now() - before < 40 * SIM_MS); /* it was cancelled */
  EXPECT(pool_was_taken(&world->pool, lease->slot, lease->generation, &obituary));
  EXPECT(obituary.reason == POOL_REASON_EXPIRED && obituary.age_ns >= 5 * SIM_MS);
  EXPECT(strcmp(obituary.operation, "operation") == 0);
  EXPECT(client_release(lease) == POOL_STALE);
  client_done();
}

static void expiring_next(void *argument)
{
  await_stage(1);
  struct lease *lease = scenario_acquire(scenario_number(argument), 500 * SIM_MS);
  EXPECT(lease->conn->dirty_of == 0 && lease->conn->cleanings == 1);
  client_release(lease);
  client_done();
}

static void expired_once(void)
{
  if (scenario_counters()->expired != 1) {
    sim_fail("%llu expired", (unsigned long long)scenario_counters()->expired);
  }
}

void lease_expires_mid_statement(void **state)
{
  (void)state;
  scenario_play(&(struct scenario){.name = __func__,
                                   .set = first_set,
                                   .body = {expiring, expiring_next},
                                   .after = expired_once,
                                   .prompt = true});
}

/* -------------------------------------------------------- revoked_inside_a_call */

/* Deaf to cancels: only the abort ends it, and nobody else is inside meanwhile (the ledger). */
static void deaf(void *argument)
{
  struct lease *lease;
  EXPECT(client_acquire(scenario_number(argument), 50 * SIM_MS, 5 * SIM_MS, &lease) == CENOTE_OK);
  stage = 1;
  EXPECT(!client_statement(lease, INT64_C(1000) * SIM_MS, 0, true));
  EXPECT(lease->conn->dead);
  client_done();
}

static void deaf_next(void *argument)
{
  await_stage(1);
  struct lease *lease = scenario_acquire(scenario_number(argument), 500 * SIM_MS);
  EXPECT(lease->conn->id == 2); /* the aborted one was closed */
  EXPECT(client_statement(lease, 100 * SIM_US, 0, false));
  client_release(lease);
  client_done();
}

void revoked_inside_a_call(void **state)
{
  (void)state;
  scenario_play(&(struct scenario){.name = __func__,
                                   .set = first_set,
                                   .body = {deaf, deaf_next},
                                   .after = expired_once,
                                   .prompt = true});
}

/* ------------------------------------------ late_cancel_never_hits_the_next_lease */

/* Statements end about when their lease does: some by themselves while the cancel is on its way.
 * The manager's cancel fails the run if it meets anybody but the one it was meant for. */
static void close_call(void *argument)
{
  for (int i = 0; i < 12; i++) {
    struct lease *lease;
    client_acquire(scenario_number(argument), 200 * SIM_MS, 3 * SIM_MS, &lease);
    if (lease != NULL) {
      client_statement(lease, 2 * SIM_MS + (int64_t)sim_random(20 * SIM_MS), 0, sim_chance(3));
      client_release(lease);
    }
  }
  client_done();
}

void late_cancel_never_hits_the_next_lease(void **state)
{
  (void)state;
  scenario_play(
      &(struct scenario){.name = __func__, .set = first_set, .body = {close_call}, .copies = 3});
}

/* -------------------------------------------- broken_connection_is_never_handed_on */

static void breaking(void *argument)
{
  struct lease *lease;
  EXPECT(client_acquire(scenario_number(argument), 50 * SIM_MS, 5 * SIM_MS, &lease) == CENOTE_OK);
  stage = 1;
  client_statement(lease, 100 * SIM_US, SLOT_SESSION_BROKEN, false);
  sim_sleep(40 * SIM_MS); /* keeps it until it expires */
  client_release(lease);
  client_done();
}

static void breaking_next(void *argument)
{
  await_stage(1);
  struct lease *lease = scenario_acquire(scenario_number(argument), 500 * SIM_MS);
  EXPECT(lease->conn->id == 2);
  client_release(lease);
  client_done();
}

void broken_connection_is_never_handed_on(void **state)
{
  (void)state;
  scenario_play(&(struct scenario){
      .name = __func__, .set = first_set, .body = {breaking, breaking_next}, .prompt = true});
}

/* ------------------------------------------------ extended_lease_keeps_its_promise */

/* Extends in the last moment, again and again: whenever the core says yes, it must hold. */
static void extending(void *argument)
{
  for (int i = 0; i < 8; i++) {
    struct lease *lease;
    client_acquire(scenario_number(argument), 200 * SIM_MS, 5 * SIM_MS, &lease);
    if (lease == NULL) {
      continue;
    }
    for (int turn = 0; turn < 6; turn++) {
      int64_t granted;
      sim_sleep_until(lease->deadline_ns - 100 * SIM_US + (int64_t)sim_random(11 * SIM_MS));
      if (!pool_extend(&world->pool, lease->slot, lease->generation, sim_now() + 5 * SIM_MS,
                       INT64_C(10000) * SIM_MS, &granted)) {
        break;
      }
      lease->deadline_ns = granted;
    }
    client_release(lease); /* the ledger: STALE only when the promised deadline has passed */
  }
  client_done();
}

void extended_lease_keeps_its_promise(void **state)
{
  (void)state;
  scenario_play(
      &(struct scenario){.name = __func__, .set = first_set, .body = {extending}, .copies = 3});
}

/* -------------------------------------- expired_lease_never_shares_its_connection */

/* Releases in the very moment in which the janitor looks: one of them wins, and whoever comes
 * next has its whole time. */
static void punctual(void *argument)
{
  for (int i = 0; i < 25; i++) {
    struct lease *lease;
    client_acquire(scenario_number(argument), 200 * SIM_MS, 300 * SIM_US, &lease);
    if (lease == NULL) {
      continue;
    }
    sim_sleep_until(lease->deadline_ns - 300 + (int64_t)sim_random(600));
    client_release(lease);
  }
  client_done();
}

static void punctual_set(struct world_config *config)
{
  first_set(config);
  config->statement_ns = 5 * SIM_US;
}

void expired_lease_never_shares_its_connection(void **state)
{
  (void)state;
  scenario_play(&(struct scenario){
      .name = __func__, .set = punctual_set, .body = {punctual}, .copies = 3, .runs = 240});
}

/* ------------------------------------------ late_extension_spares_the_next_holder */

/* A second thread extends a lease that its holder just releases. Both go the fast way, without the
 * lock: so it is one thread that releases and takes again, and nobody waits. */
static void extender(void *argument)
{
  (void)argument;
  while (stage == 0) {
    struct lease *lease = shared_lease;
    int64_t granted;
    if (lease != NULL) {
      pool_extend(&world->pool, lease->slot, lease->generation, sim_now() + SIM_US,
                  INT64_C(1000) * SIM_MS, &granted);
    }
    sim_sleep((int64_t)sim_random(200));
  }
  client_done();
}

/* The next holder, who shares its lease with nobody: its whole time is written on the slot. */
static void own_time(const struct lease *lease)
{
  struct pool_lease_view view;
  do {
    sim_sleep(2 * SIM_US);
  } while (!sim_lock_is_free()); /* an extension under way may have to be put back */
  sim_quiet(true);
  const bool seen = pool_view(&world->pool, lease->slot, lease->generation, &view);
  sim_quiet(false);
  EXPECT(seen);
  EXPECT(view.deadline_ns >= lease->deadline_ns);
}

static void extended(void *argument)
{
  stage = 0;
  for (int i = 0; i < 60; i++) {
    struct lease *lease;
    /* Some have the very deadline of the one before, for the clock is coarse. */
    client_acquire(scenario_number(argument), 200 * SIM_MS,
                   50 * SIM_MS + (i / 2 % 2 == 0 ? 0 : i * SIM_US), &lease);
    if (lease == NULL) {
      continue;
    }
    if (i % 2 == 0) {
      lease->foreign = true; /* its time is not its own any more */
      shared_lease = lease;
      sim_sleep((int64_t)sim_random(400));
    } else {
      own_time(lease);
    }
    client_release(lease); /* the ledger: one that was not shared has its whole time */
  }
  stage = 1;
  client_done();
}

void late_extension_spares_the_next_holder(void **state)
{
  (void)state;
  scenario_play(&(struct scenario){.name = __func__,
                                   .set = punctual_set,
                                   .body = {extender, extended},
                                   .runs = 240,
                                   .prompt = true});
}
