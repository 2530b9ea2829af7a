/* ledger.c - who may use which connection, known independently of the core. */
#include "sim/world.h"

#include <stdlib.h>

#define ULL(number) ((unsigned long long)(number))

/* May the lease have been taken from its holder by now? */
static bool may_be_taken(const struct lease *lease)
{
  return sim_now() >= lease->deadline_ns || world->forced || lease->foreign || lease->wanted;
}

static void check_previous(struct lease *previous, const struct lease *next)
{
  if (previous->inside) {
    sim_fail("slot %u was granted (generation %llu) while client%d is inside with %llu", next->slot,
             ULL(next->generation), previous->client, ULL(previous->generation));
  }
  if (previous->state != LEASE_HELD) {
    return;
  }
  if (!may_be_taken(previous)) {
    sim_fail("slot %u was taken from client%d before its deadline", next->slot, previous->client);
  }
  previous->taken = true;
  if (!previous->foreign && !previous->late && previous->conn == next->conn &&
      next->conn->cleanings == previous->cleanings) {
    sim_fail("slot %u was taken from client%d and handed on without being cleaned", next->slot,
             previous->client);
  }
}

/* The rest can only be said while the lease is surely still the caller's. */
static void check_connection(const struct lease *lease, const struct pool_grant *grant,
                             const struct pool_ask *ask)
{
  const struct conn *conn = lease->conn;
  if (conn == NULL || conn->closed || !conn->opened) {
    sim_fail("slot %u was granted without a connection", lease->slot);
    return;
  }
  if (conn->users != 0) {
    sim_fail("connection %llu was granted while somebody is inside", ULL(conn->id));
  }
  if (conn->broken) {
    sim_fail("connection %llu was granted although it is known to be broken", ULL(conn->id));
  }
  if (conn->dirty_of != 0) {
    sim_fail("connection %llu was granted with the session of generation %llu", ULL(conn->id),
             ULL(conn->dirty_of));
  }
  /* Who looked at the clock before the machine slept may be taken for one who came before. */
  const bool slept = sim_now() - ask->now_ns > INT64_C(5000) * SIM_MS;
  if (!grant->must_check && !slept &&
      ask->now_ns - conn->proven_ns > world->config.limits.check_after_ns) {
    sim_fail("connection %llu has not answered for %lld us and is not checked", ULL(conn->id),
             (long long)(ask->now_ns - conn->proven_ns) / SIM_US);
  }
}

struct lease *ledger_granted(int client, const struct pool_grant *grant, const struct pool_ask *ask)
{
  struct lease *lease = calloc(1, sizeof *lease);
  lease->slot = grant->slot;
  lease->generation = grant->generation;
  lease->conn = grant->resource;
  lease->client = client;
  lease->deadline_ns = ask->now_ns + ask->lease_ns;
  lease->cleanings = lease->conn != NULL ? lease->conn->cleanings : 0;
  lease->next = world->leases;
  world->leases = lease;
  world->tally.granted++;

  struct lease *previous = world->latest[grant->slot];
  if (previous != NULL && previous->generation >= grant->generation) {
    if (previous->generation == grant->generation) {
      sim_fail("slot %u generation %llu was granted twice", grant->slot, ULL(grant->generation));
    }
    if (!may_be_taken(lease)) {
      sim_fail("slot %u was taken from client%d before it even had it", grant->slot, client);
    }
    lease->taken = true; /* so slow to come back with it that it expired */
    return lease;
  }
  if (previous != NULL) {
    check_previous(previous, lease);
  }
  const uint64_t word = world_word(grant->slot);
  if (word_generation(word) == grant->generation && word_state(word) == SLOT_HELD) {
    check_connection(lease, grant, ask);
  } else {
    lease->late = true;
  }
  world->latest[grant->slot] = lease;
  return lease;
}

void ledger_enter(struct lease *lease, void *resource, bool taken_before)
{
  if (taken_before) {
    sim_fail("client%d enters slot %u with generation %llu, which was handed on", lease->client,
             lease->slot, ULL(lease->generation));
  }
  if (lease->state != LEASE_HELD && !lease->foreign) {
    sim_fail("client%d enters slot %u with a lease that is over", lease->client, lease->slot);
  }
  if (resource != lease->conn) {
    sim_fail("client%d was granted another connection than it enters", lease->client);
  }
  conn_use(lease->conn, lease);
  lease->inside = true;
}

void ledger_leave(struct lease *lease)
{
  lease->inside = false;
  conn_leave(lease->conn);
}

void ledger_lost(struct lease *lease, const char *how)
{
  if (lease->state != LEASE_HELD && lease->state != LEASE_ENDING) {
    return;
  }
  if (!may_be_taken(lease)) {
    sim_fail("client%d learns from %s that slot %u is not its own, %lld us before the deadline",
             lease->client, how, lease->slot, (long long)(lease->deadline_ns - sim_now()) / SIM_US);
  }
  lease->state = LEASE_LOST;
}

static void compare(const char *what, uint64_t core, uint64_t ours)
{
  if (core != ours) {
    sim_fail("%s: the core counts %llu, the ledger %llu", what, ULL(core), ULL(ours));
  }
}

void ledger_balance(void)
{
  struct pool_picture picture;
  sim_quiet(true);
  pool_look(&world->pool, sim_now(), &picture);
  sim_quiet(false);
  const struct pool_counters *core = &picture.counters;
  const struct tally *ours = &world->tally;
  compare("connections created", core->created, ours->opened);
  compare("connections closed", core->closed, ours->opened);
  compare("connections that are left", world->connections, 0);
  compare("grants", picture.grants + core->discarded, ours->granted);
  /* Each lease ends once: what was not released was discarded or taken away. */
  compare("leases expired, revoked, forced, discarded",
          core->expired + core->revoked + core->forced + core->discarded,
          ours->granted - ours->released);
  compare("leases revoked", core->revoked, ours->revoked);
  compare("releases", picture.releases, ours->released);
  compare("acquire time-outs", core->acquire_timeouts, ours->timeouts);
  compare("acquires cancelled", core->acquire_cancelled, ours->cancelled);
  compare("acquires refused", core->acquire_refused, ours->refused);
  if (picture.state != CENOTE_STATE_SHUTDOWN) {
    sim_fail("the pool is not shut down at the end");
  }
  uint64_t reasons = 0;
  for (int i = 0; i < POOL_REASON_COUNT; i++) {
    reasons += core->closed_by[i];
  }
  compare("reasons of closing", reasons, core->closed);
}
