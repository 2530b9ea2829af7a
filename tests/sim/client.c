/* client.c - a caller: acquires as manager/acquire.c does, runs statements, releases; and, when
 * the history allows it, keeps leases too long, releases twice, releases other callers' leases. */
#include "sim/world.h"

#include "core/fast.h"

#include <stdlib.h>
#include <string.h>

static struct pool_ask ask_now(int64_t now_ns, int64_t lease_ns)
{
  return (struct pool_ask){
      .operation = "operation", .operation_size = 9, .now_ns = now_ns, .lease_ns = lease_ns};
}

static void count_refusal(cenote_status status)
{
  switch (status) {
  case CENOTE_OK:
    break;
  case CENOTE_TIMEOUT:
    world->tally.timeouts++;
    break;
  case CENOTE_CANCELLED:
    world->tally.cancelled++;
    break;
  case CENOTE_SHUTTING_DOWN:
  case CENOTE_QUEUE_FULL:
  case CENOTE_AUTH:
  case CENOTE_CONNECT:
    world->tally.refused++;
    break;
  default:
    sim_fail("a waiter was refused with %s", cenote_status_name(status));
  }
}

/* -------------------------------------------------------------------- waiting */

static cenote_status wait_blocking(int64_t asked_ns, int64_t deadline_ns, int64_t lease_ns,
                                   struct pool_ask *ask, struct pool_grant *grant)
{
  struct pool_waiter *waiter = malloc(sizeof *waiter); /* freed at once: ASan sees late touches */
  struct pool_wakes wakes = {0};
  pool_waiter_init(waiter, false);
  waiter->asked_ns = asked_ns;
  bool settled = pool_wait(&world->pool, waiter, sim_now(), &wakes);
  world_deliver(&wakes);
  world_event();
  while (!settled) {
    memset(&wakes, 0, sizeof wakes);
    const uint32_t signal = atomic_load_explicit(&waiter->signal, memory_order_acquire);
    if (signal == POOL_SETTLED) {
      break;
    }
    if (signal == POOL_WOKEN) {
      settled = pool_rescan(&world->pool, waiter, sim_now(), &wakes);
      world_deliver(&wakes);
    } else if (sim_now() >= deadline_ns) {
      pool_give_up(&world->pool, waiter, CENOTE_TIMEOUT, sim_now(), &wakes);
      world_deliver(&wakes);
      if (atomic_load_explicit(&waiter->signal, memory_order_acquire) != POOL_SETTLED) {
        sim_fail("a waiter gave up and is not settled");
      }
    } else {
      sim_park(&waiter->signal, POOL_PARKED, deadline_ns);
    }
  }
  const cenote_status status = waiter->status;
  if (status == CENOTE_OK) {
    *ask = ask_now(sim_now(), lease_ns);
    pool_accept(&world->pool, waiter, ask, grant);
  }
  free(waiter);
  return status;
}

static cenote_status wait_asynchronous(int client, int64_t asked_ns, int64_t deadline_ns,
                                       struct pool_ask *ask, struct pool_grant *grant)
{
  struct request *request = &world->request[client];
  struct pool_wakes wakes = {0};
  pool_waiter_init(&request->waiter, true);
  request->waiter.asked_ns = asked_ns;
  request->ask = *ask;
  request->deadline_ns = deadline_ns;
  atomic_init(&request->done, 0);
  pool_wait(&world->pool, &request->waiter, sim_now(), &wakes);
  request->active = true; /* settled or not, the loop completes it */
  world_deliver(&wakes);
  world_ring(&world->loop_bell);
  if (sim_chance(4)) {
    /* Cancelled from this thread: a grant that came first wins and is delivered all the same. */
    sim_sleep((int64_t)sim_random(2 * SIM_MS));
    if (request->active) {
      memset(&wakes, 0, sizeof wakes);
      request->pinned = true;
      pool_give_up(&world->pool, &request->waiter, CENOTE_CANCELLED, sim_now(), &wakes);
      request->pinned = false;
      world_deliver(&wakes);
      world_ring(&world->loop_bell);
    }
  }
  while (request->active) {
    sim_park(&request->done, 0, INT64_MAX);
  }
  memset(&request->waiter, 0xa5, sizeof request->waiter); /* the frame is gone */
  *ask = request->ask;
  *grant = request->grant;
  return request->status;
}

/* -------------------------------------------------------------------- the calls */

/* The thread's last slot once more, as cenote_acquire does it: what is usual about the slot is
 * known after its word was seen and before the word is moved. */
static bool take_last(const struct pool_ask *ask, uint32_t last, struct pool_grant *grant)
{
  struct pool *pool = &world->pool;
  if (atomic_load_explicit(&pool->gate, memory_order_acquire) != 0 ||
      last >= atomic_load_explicit(&pool->span, memory_order_acquire)) {
    return false;
  }
  struct slot *slot = pool_slot(pool, last);
  uint64_t word = slot_word(slot);
  const bool usual = slot_is_usual(pool, slot, ask->now_ns);
  const uint64_t generation = word_generation(word) + 1;
  if (!usual || !slot_take(slot, &word, 0)) {
    return false;
  }
  slot_stamp(slot, generation, ask->operation, ask->operation_size, ask->now_ns, ask->lease_ns);
  *grant = (struct pool_grant){.slot = last, .generation = generation, .resource = slot->resource};
  return true;
}

static struct lease *grant_lease(int client, const struct pool_grant *grant,
                                 const struct pool_ask *ask)
{
  struct lease *lease = ledger_granted(client, grant, ask);
  sim_note("has slot %u generation %llu%s", grant->slot, (unsigned long long)grant->generation,
           grant->must_check ? ", must check" : "");
  world_event();
  return lease;
}

static bool check_before_use(struct lease *lease)
{
  void *resource;
  struct pool_wakes wakes = {0};
  const bool taken_before = lease->taken;
  const enum pool_answer answer =
      pool_enter(&world->pool, lease->slot, lease->generation, &resource);
  if (answer != POOL_OK) {
    if (answer == POOL_STALE) {
      ledger_lost(lease, "the check");
    }
    return false;
  }
  ledger_enter(lease, resource, taken_before);
  const bool good = conn_await(lease->conn, world->config.statement_ns, false);
  lease->conn->proven_ns = good ? sim_now() : lease->conn->proven_ns;
  ledger_leave(lease);
  if (pool_leave(&world->pool, lease->slot, lease->generation, 0, good, sim_now(), &wakes) ==
      POOL_REVOKED) {
    ledger_lost(lease, "leaving the check");
    world_deliver(&wakes);
    return false;
  }
  world_deliver(&wakes);
  if (good) {
    return true;
  }
  sim_note("slot %u is dead: discard", lease->slot);
  memset(&wakes, 0, sizeof wakes);
  lease->state = LEASE_ENDING;
  pool_discard(&world->pool, lease->slot, lease->generation, POOL_REASON_CHECK_FAILED, sim_now(),
               &wakes);
  lease->state = LEASE_DISCARDED;
  world_deliver(&wakes);
  return false;
}

cenote_status client_acquire(int client, int64_t wait_ns, int64_t lease_ns, struct lease **lease)
{
  const int64_t start_ns = sim_now();
  const int64_t deadline_ns = start_ns + wait_ns;
  *lease = NULL;
  for (int tries = 0; tries < 8; tries++) {
    struct pool_ask ask = ask_now(sim_coarse(), lease_ns);
    struct pool_grant grant;
    memset(&grant, 0, sizeof grant);
    if (!take_last(&ask, world->last_slot[client], &grant) &&
        !pool_take(&world->pool, (uint32_t)client, &ask, &grant)) {
      const bool asynchronous = (world->config.faults & FAULT_ASYNC) != 0 && sim_chance(3);
      sim_note("waits%s", asynchronous ? " asynchronously" : "");
      const int64_t asked_ns = tries > 0 ? start_ns : 0;
      const cenote_status status =
          asynchronous ? wait_asynchronous(client, asked_ns, deadline_ns, &ask, &grant)
                       : wait_blocking(asked_ns, deadline_ns, lease_ns, &ask, &grant);
      count_refusal(status);
      if (status != CENOTE_OK) {
        sim_note("gets nothing: %s", cenote_status_name(status));
        return status;
      }
    }
    struct lease *got = grant_lease(client, &grant, &ask);
    world->last_slot[client] = grant.slot;
    if (grant.sampled && sim_chance(2)) {
      pool_restamp(&world->pool, &grant, sim_now());
    }
    if (!grant.must_check || check_before_use(got)) {
      *lease = got;
      return CENOTE_OK;
    }
    if (sim_now() >= deadline_ns) {
      break;
    }
  }
  return CENOTE_CONNECTION_LOST;
}

bool client_statement(struct lease *lease, int64_t duration_ns, unsigned session, bool deaf)
{
  void *resource;
  struct pool_wakes wakes = {0};
  const bool taken_before = lease->taken || lease->revoked;
  const enum pool_answer answer =
      pool_enter(&world->pool, lease->slot, lease->generation, &resource);
  world_event();
  if (answer == POOL_STALE) {
    ledger_lost(lease, "entering");
    return false;
  }
  if (answer != POOL_OK) {
    sim_fail("client%d cannot enter slot %u: answer %d", lease->client, lease->slot, (int)answer);
  }
  ledger_enter(lease, resource, taken_before);
  struct conn *conn = lease->conn;
  if (conn->dirty_of != 0 && conn->dirty_of != lease->generation) {
    sim_fail("client%d sees the session of generation %llu", lease->client,
             (unsigned long long)conn->dirty_of);
  }
  conn->dirty_of = session != 0 ? lease->generation : 0;
  conn->broken = conn->broken || (session & SLOT_SESSION_BROKEN) != 0;
  const bool good = conn_await(conn, duration_ns, deaf);
  conn->proven_ns = good ? sim_now() : conn->proven_ns;
  conn->broken = conn->broken || conn->dead;
  session |= conn->broken ? SLOT_SESSION_BROKEN : 0; /* nothing heals it */
  ledger_leave(lease);
  world_event();
  const enum pool_answer left =
      pool_leave(&world->pool, lease->slot, lease->generation, session, good, sim_now(), &wakes);
  world_deliver(&wakes);
  if (left == POOL_REVOKED) {
    sim_note("lost slot %u inside a call", lease->slot);
    ledger_lost(lease, "leaving");
  } else if (left != POOL_OK) {
    sim_fail("client%d cannot leave slot %u: answer %d", lease->client, lease->slot, (int)left);
  }
  return left == POOL_OK;
}

enum pool_answer client_release(struct lease *lease)
{
  struct pool_wakes wakes = {0};
  const bool over = lease->taken || lease->revoked || lease->state != LEASE_HELD;
  if (!over) {
    lease->state = LEASE_ENDING;
  }
  enum pool_answer answer = POOL_OK;
  if (!slot_give(pool_slot(&world->pool, lease->slot), lease->generation)) {
    answer = pool_release(&world->pool, lease->slot, lease->generation);
  }
  if (answer == POOL_SLOW) {
    answer = pool_release_slow(&world->pool, lease->slot, lease->generation, sim_now(), &wakes);
    world_deliver(&wakes);
  }
  world_event();
  sim_note("releases slot %u generation %llu: %d", lease->slot,
           (unsigned long long)lease->generation, (int)answer);
  if (answer == POOL_OK) {
    if (over && !lease->foreign) {
      sim_fail("client%d releases slot %u a second time, and it counts", lease->client,
               lease->slot);
    }
    lease->state = LEASE_RELEASED;
    world->tally.released++;
  } else if (answer == POOL_STALE && !over) {
    ledger_lost(lease, "the release");
  } else if (answer == POOL_IN_CALL) {
    if (!lease->inside && !lease->foreign) {
      sim_fail("slot %u: in a call, says the release", lease->slot);
    }
    lease->state = over ? lease->state : LEASE_HELD;
  }
  return answer;
}

bool client_revoke(struct lease *lease)
{
  struct pool_wakes wakes = {0};
  const bool over = lease->taken || lease->revoked || lease->state == LEASE_RELEASED;
  lease->wanted = true;
  const enum pool_answer answer =
      pool_revoke(&world->pool, lease->slot, lease->generation, sim_now(), &wakes);
  world_deliver(&wakes);
  sim_note("revokes slot %u generation %llu of client%d: %d", lease->slot,
           (unsigned long long)lease->generation, lease->client, (int)answer);
  if (answer == POOL_OK) {
    if (over) {
      sim_fail("client%d's lease of slot %u is over, and is revoked", lease->client, lease->slot);
    }
    lease->revoked = true;
    world->tally.revoked++;
  } else if (answer != POOL_STALE) {
    sim_fail("a revoke is answered with %d", (int)answer);
  }
  world_event();
  return answer == POOL_OK;
}

/* ------------------------------------------------------------------- misbehaving */

/* Of anybody, in whatever state it is. */
static void revoke_any(void)
{
  struct lease *lease = world->latest[sim_random(world->config.maximum)];
  if (lease != NULL) {
    client_revoke(lease);
    if (sim_chance(3)) {
      client_revoke(lease);
    }
  }
}

/* A lease of somebody else that looks alive: any thread may release it, at any moment. */
static void release_foreign(int client)
{
  struct lease *lease = world->latest[sim_random(world->config.maximum)];
  if (lease != NULL && lease->client != client && lease->state == LEASE_HELD) {
    lease->foreign = true;
    sim_note("releases client%d's lease", lease->client);
    client_release(lease);
  }
}

static void release_rubbish(const struct lease *lease)
{
  struct pool_wakes wakes = {0};
  void *resource;
  struct pool *pool = &world->pool;
  const uint64_t generation = lease->generation + 1 + sim_random(3) * 1000;
  if (pool_release(pool, 100000 + lease->slot, lease->generation) != POOL_STALE ||
      pool_release_slow(pool, lease->slot, generation + 5000, sim_now(), &wakes) != POOL_STALE ||
      pool_revoke(pool, 100000 + lease->slot, 1, sim_now(), &wakes) != POOL_STALE ||
      pool_revoke(pool, lease->slot, generation + 5000, sim_now(), &wakes) != POOL_STALE ||
      pool_enter(pool, 9999, 1, &resource) != POOL_STALE || resource != NULL) {
    sim_fail("a handle that never was is accepted");
  }
  world_deliver(&wakes);
}

static void extend(struct lease *lease)
{
  int64_t granted = 0;
  const bool over = lease->taken;
  if (pool_extend(&world->pool, lease->slot, lease->generation,
                  lease->deadline_ns + (int64_t)sim_random((uint64_t)world->config.lease_ns),
                  3 * world->config.lease_ns, &granted)) {
    if (over) {
      sim_fail("a lease that was handed on is extended");
    }
    /* True means: it was ours when the deadline moved. */
    lease->deadline_ns = granted;
  }
}

static bool allows(unsigned fault, unsigned one_in)
{
  return (world->config.faults & fault) != 0 && sim_chance(one_in);
}

static void use(struct lease *lease)
{
  const struct world_config *config = &world->config;
  const unsigned statements = (unsigned)sim_random(3);
  bool mine = true;
  for (unsigned i = 0; i < statements && mine; i++) {
    unsigned session = allows(FAULT_DIRTY, 4) ? SLOT_SESSION_DIRTY : 0;
    session |= allows(FAULT_DIRTY, 40) ? SLOT_SESSION_BROKEN : 0;
    const bool longer = allows(FAULT_LONG_CALL, 10);
    mine = client_statement(lease, longer ? 2 * config->lease_ns : config->statement_ns, session,
                            longer && sim_chance(2));
    if (mine && allows(FAULT_EXTEND, 6)) {
      extend(lease);
    }
  }
  if (allows(FAULT_HOG, 12)) {
    sim_sleep(2 * config->lease_ns);
  } else if (config->hold_ns > 0 && sim_chance(2)) {
    sim_sleep((int64_t)sim_random((uint64_t)config->hold_ns));
  }
}

void client_done(void)
{
  world->clients_left--;
  world_ring(&world->loop_bell);
}

void client_body(void *number)
{
  const int client = (int)(intptr_t)number;
  struct lease *old = NULL;
  for (unsigned i = 0; i < world->config.operations; i++) {
    struct lease *lease;
    const cenote_status status =
        client_acquire(client, (int64_t)sim_random((uint64_t)world->config.wait_ns) + SIM_US,
                       world->config.lease_ns, &lease);
    if (status == CENOTE_SHUTTING_DOWN && sim_chance(2)) {
      break;
    }
    if (lease == NULL) {
      sim_sleep((int64_t)sim_random(SIM_MS));
      continue;
    }
    use(lease);
    if (allows(FAULT_STALE, 6)) {
      release_foreign(client);
    }
    if (allows(FAULT_REVOKE, 6)) {
      revoke_any();
    }
    client_release(lease);
    if (allows(FAULT_STALE, 4)) {
      client_release(lease);
      release_rubbish(lease);
    }
    if (old != NULL && allows(FAULT_STALE, 4)) {
      client_release(old);
    }
    old = lease;
    if (sim_chance(4)) {
      sim_sleep((int64_t)sim_random((uint64_t)world->config.hold_ns + 1));
    }
  }
  client_done();
}
