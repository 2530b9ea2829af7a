/* scenarios_life.c - the pool shuts down, is resized, flushed, opened again. */
#include "sim/scenarios.h"
#include "sim/scenarios_list.h"

#include <string.h>

static void one_slot(struct world_config *config)
{
  config->maximum = config->limits.maximum = 1;
}

static int64_t drained_ns(void)
{
  return world->config.sim.start_ns + world->config.drain_after_ns;
}

/* ----------------------------------------------------------- close_with_waiters */

static void waiters_set(struct world_config *config)
{
  one_slot(config);
  config->drain_after_ns = 10 * SIM_MS;
}

static void waiters_holder(void *argument)
{
  struct lease *lease = scenario_acquire(scenario_number(argument), 50 * SIM_MS);
  sim_sleep(30 * SIM_MS);
  EXPECT(client_release(lease) == POOL_OK);
  client_done();
}

static void waiters_refused(void *argument)
{
  struct lease *lease;
  sim_sleep(3 * SIM_MS);
  EXPECT(client_acquire(scenario_number(argument), INT64_C(10000) * SIM_MS, SIM_MS, &lease) ==
         CENOTE_SHUTTING_DOWN);
  EXPECT(sim_now() - drained_ns() < SIM_MS); /* at once, and not when the holder is done */
  EXPECT(client_acquire(scenario_number(argument), SIM_MS, SIM_MS, &lease) == CENOTE_SHUTTING_DOWN);
  client_done();
}

/* Whoever drains may be stopped before it has refused them all: the pool is not finished then. */
static void waiters_slowly(void *argument)
{
  struct lease *lease;
  EXPECT(client_acquire(scenario_number(argument), INT64_C(10000) * SIM_MS, SIM_MS, &lease) ==
         CENOTE_SHUTTING_DOWN);
  client_done();
}

static void waiters_slowly_set(struct world_config *config)
{
  config->connect_ns = INT64_C(100000) * SIM_MS;
  config->drain_after_ns = 10 * SIM_MS;
}

void close_with_waiters(void **state)
{
  (void)state;
  scenario_play(&(struct scenario){.name = __func__,
                                   .set = waiters_set,
                                   .body = {waiters_holder, waiters_refused},
                                   .copies = 30, /* more than one call can wake */
                                   .prompt = true});
  scenario_play(&(struct scenario){
      .name = __func__, .set = waiters_slowly_set, .body = {waiters_slowly}, .copies = 30});
}

/* --------------------------------------------------------- close_during_connect */

static void connect_set(struct world_config *config)
{
  config->connect_ns = INT64_C(1000) * SIM_MS;
  config->drain_after_ns = 10 * SIM_MS;
}

static void connect_refused(void *argument)
{
  struct lease *lease;
  EXPECT(client_acquire(scenario_number(argument), INT64_C(5000) * SIM_MS, SIM_MS, &lease) ==
         CENOTE_SHUTTING_DOWN);
  client_done();
}

static void connect_after(void)
{
  if (sim_now() - drained_ns() > 20 * SIM_MS || scenario_counters()->created != 0) {
    sim_fail("the close waited for the connect");
  }
}

void close_during_connect(void **state)
{
  (void)state;
  scenario_play(&(struct scenario){.name = __func__,
                                   .set = connect_set,
                                   .body = {connect_refused},
                                   .copies = 2,
                                   .after = connect_after,
                                   .prompt = true});
}

/* ------------------------------------------------------- close_with_leaked_lease */

static struct lease *leaked;

static void leak_set(struct world_config *config)
{
  config->lease_ns = INT64_C(100000) * SIM_MS;
  config->drain_after_ns = 10 * SIM_MS;
  config->patience_ns = 50 * SIM_MS;
}

static void leaking(void *argument)
{
  leaked = scenario_acquire(scenario_number(argument), 50 * SIM_MS);
  client_done(); /* and is never seen again */
}

static void leak_watcher(void *argument)
{
  (void)argument;
  struct pool_lease_view view;
  sim_sleep(40 * SIM_MS);
  EXPECT(pool_views(&world->pool, &view, 1) == 1); /* it is waited for, and has a name */
  EXPECT(strcmp(view.operation, "operation") == 0);
  client_done();
}

static void leak_after(void)
{
  struct slot_obituary obituary;
  if (!pool_was_taken(&world->pool, leaked->slot, leaked->generation, &obituary) ||
      obituary.reason != POOL_REASON_SHUTDOWN || scenario_counters()->forced != 1 ||
      scenario_counters()->expired != 0) {
    sim_fail("the leaked lease was not forced");
  }
  if (sim_now() - drained_ns() < 50 * SIM_MS) {
    sim_fail("the leaked lease was not waited for");
  }
}

void close_with_leaked_lease(void **state)
{
  (void)state;
  scenario_play(&(struct scenario){.name = __func__,
                                   .set = leak_set,
                                   .body = {leaking, leak_watcher},
                                   .after = leak_after,
                                   .prompt = true});
}

/* The holder is inside a call when its lease is forced: it is cancelled, and leaves by itself. */
static void inside(void *argument)
{
  struct lease *lease = scenario_acquire(scenario_number(argument), 50 * SIM_MS);
  EXPECT(!client_statement(lease, INT64_C(10000) * SIM_MS, 0, scenario_number(argument) == 1));
  client_done();
}

static void inside_after(void)
{
  if (scenario_counters()->forced != 2 || sim_now() - drained_ns() > 100 * SIM_MS) {
    sim_fail("%llu were forced", (unsigned long long)scenario_counters()->forced);
  }
}

void close_while_inside_a_call(void **state)
{
  (void)state;
  scenario_play(&(struct scenario){.name = __func__,
                                   .set = leak_set,
                                   .body = {inside},
                                   .copies = 2,
                                   .after = inside_after,
                                   .prompt = true});
}

/* ------------------------------------------------------- force_takes_every_lease */

/* Holders that go in and out of calls all the time: one call of force is enough. */
static void busy(void *argument)
{
  struct lease *lease = scenario_acquire(scenario_number(argument), 50 * SIM_MS);
  while (client_statement(lease, 2 * SIM_US, 0, false)) {
  }
  client_done();
}

static void forcing(void *argument)
{
  (void)argument;
  struct pool_wakes wakes = {0};
  sim_sleep(8 * SIM_MS);
  pool_drain(&world->pool, sim_now(), &wakes);
  world_refuse_rest(&wakes);
  memset(&wakes, 0, sizeof wakes);
  world->forced = true;
  EXPECT(pool_force(&world->pool, sim_now(), &wakes) == 2);
  world_deliver(&wakes);
  client_done();
}

static void force_set(struct world_config *config)
{
  config->lease_ns = INT64_C(100000) * SIM_MS;
  config->statement_ns = 2 * SIM_US;
  config->limits.minimum = 2;
}

void force_takes_every_lease(void **state)
{
  (void)state;
  scenario_play(&(struct scenario){
      .name = __func__, .set = force_set, .body = {forcing, busy}, .copies = 2, .prompt = true});
}

/* --------------------------------------------- reopened_pool_rejects_old_handles */

static void reopen_refused(void *argument)
{
  struct lease *lease;
  client_acquire(scenario_number(argument), INT64_C(5000) * SIM_MS, SIM_MS, &lease);
  if (lease != NULL) {
    leaked = lease;
    client_release(lease);
  }
  client_done();
}

/* The struct is used again, as the manager's table does it: handles from before stay dead, and
 * nothing of the old life (a queued action, a waiter) is left in the lists. */
static void reopen_after(void)
{
  struct pool *pool = &world->pool;
  struct pool_wakes wakes = {0};
  struct pool_action action;
  sim_quiet(true);
  struct pool_limits limits = world->config.limits;
  limits.minimum = limits.maximum;
  bool good = pool_init(pool, &limits, 7, sim_now()) == CENOTE_OK;
  pool_tick(pool, sim_now(), &wakes);
  uint32_t opens = 0;
  while (pool_next_action(pool, &action)) {
    good = good && action.kind == POOL_ACT_OPEN && pool_set_resource(pool, action.slot, world);
    pool_opened(pool, action.slot, sim_now(), &wakes);
    opens++;
  }
  good = good && opens == limits.maximum && pool_check(pool) == NULL;
  if (leaked != NULL) {
    struct pool_ask ask = {.now_ns = sim_now(), .lease_ns = 50 * SIM_MS, .operation = ""};
    struct pool_grant grant;
    void *resource;
    good = good && pool_take(pool, leaked->slot, &ask, &grant) &&
           pool_release(pool, leaked->slot, leaked->generation) == POOL_STALE &&
           pool_enter(pool, leaked->slot, leaked->generation, &resource) == POOL_STALE &&
           pool_release(pool, grant.slot, grant.generation) != POOL_STALE;
  }
  sim_quiet(false);
  if (!good) {
    sim_fail("the second life is haunted by the first: %u opens", opens);
  }
}

static void reopen_set(struct world_config *config)
{
  leaked = NULL;
  config->maximum = config->limits.maximum = 4;
  config->connect_ns = 9 * SIM_MS; /* about when the drain comes: some are cancelled */
  config->drain_after_ns = 10 * SIM_MS;
}

void reopened_pool_rejects_old_handles(void **state)
{
  (void)state;
  scenario_play(&(struct scenario){.name = __func__,
                                   .set = reopen_set,
                                   .body = {reopen_refused},
                                   .copies = 6,
                                   .after = reopen_after,
                                   .runs = 400});
}

/* ---------------------------------------------------------- resize_below_leased */

static void set_maximum(uint32_t maximum)
{
  struct pool_limits limits = world->config.limits;
  struct pool_wakes wakes = {0};
  limits.maximum = maximum;
  pool_configure(&world->pool, &limits, sim_now(), &wakes);
  world_deliver(&wakes);
}

static void resizing(void *argument)
{
  (void)argument;
  sim_sleep(15 * SIM_MS);
  EXPECT(world->pool.live == 6);
  set_maximum(2);
  sim_sleep(5 * SIM_MS);
  EXPECT(world->pool.live == 6); /* nobody's lease is broken */
  sim_sleep(30 * SIM_MS);
  EXPECT(world->pool.live == 2);
  client_done();
}

static void resized_holder(void *argument)
{
  struct lease *lease = scenario_acquire(scenario_number(argument), 50 * SIM_MS);
  sim_sleep_until(world->config.sim.start_ns + 30 * SIM_MS);
  EXPECT(client_statement(lease, 100 * SIM_US, 0, false));
  EXPECT(client_release(lease) == POOL_OK);
  client_done();
}

static void resize_set(struct world_config *config)
{
  config->maximum = config->limits.maximum = 6;
  config->limits.minimum = 2;
}

void resize_below_leased(void **state)
{
  (void)state;
  scenario_play(&(struct scenario){.name = __func__,
                                   .set = resize_set,
                                   .body = {resizing, resized_holder},
                                   .copies = 6,
                                   .prompt = true});
}

/* ------------------------------------------- flush_survives_a_shrink_and_a_grow */

static void flushing(void *argument)
{
  (void)argument;
  struct pool_wakes wakes = {0};
  sim_sleep(15 * SIM_MS);
  set_maximum(1);
  pool_flush(&world->pool, sim_now(), POOL_REASON_FLUSH, &wakes);
  world_deliver(&wakes);
  set_maximum(4);
  sim_sleep(40 * SIM_MS);
  struct lease *lease = scenario_acquire(0, 50 * SIM_MS);
  EXPECT(lease->conn->id > 4); /* none of the old ones is left */
  client_release(lease);
  EXPECT(scenario_counters()->closed_by[POOL_REASON_FLUSH] == 4);
  client_done();
}

static void flush_set(struct world_config *config)
{
  config->maximum = config->limits.maximum = 4;
}

void flush_survives_a_shrink_and_a_grow(void **state)
{
  (void)state;
  scenario_play(&(struct scenario){.name = __func__,
                                   .set = flush_set,
                                   .body = {flushing, resized_holder},
                                   .copies = 4,
                                   .prompt = true});
}

/* ------------------------------------------------------------- password_rotates */

/* The old password stops working while a connect with it is under way and somebody waits; a
 * flush comes with the new one. The waiter gets a connection, or the truth: never an empty grant. */
static void rotating(void *argument)
{
  (void)argument;
  struct pool_wakes wakes = {0};
  sim_sleep(SIM_MS);
  world->auth_until = sim_now() + 30 * SIM_MS;
  sim_sleep(SIM_MS);
  pool_flush(&world->pool, sim_now(), POOL_REASON_FLUSH, &wakes);
  world_deliver(&wakes);
  client_done();
}

static void rotating_waiter(void *argument)
{
  struct lease *lease;
  const cenote_status status =
      client_acquire(scenario_number(argument), 500 * SIM_MS, 50 * SIM_MS, &lease);
  EXPECT(status == CENOTE_OK || status == CENOTE_AUTH);
  if (lease != NULL) {
    EXPECT(client_statement(lease, 100 * SIM_US, 0, false));
    client_release(lease);
  }
  client_done();
}

static void rotate_set(struct world_config *config)
{
  config->connect_ns = 5 * SIM_MS;
}

void password_rotates(void **state)
{
  (void)state;
  scenario_play(&(struct scenario){.name = __func__,
                                   .set = rotate_set,
                                   .body = {rotating, rotating_waiter},
                                   .copies = 4,
                                   .prompt = true});
}
