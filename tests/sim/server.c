/* server.c - a database server that dies, refuses, fills up and goes silent. */
#include "sim/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const int64_t TIMEOUT_NS = 50 * SIM_MS; /* of a driver that hears nothing */

bool server_is_dark(void)
{
  return sim_now() < world->dark_until;
}

int64_t server_latency(int64_t usual_ns)
{
  if (server_is_dark()) {
    return TIMEOUT_NS;
  }
  return usual_ns / 2 + (int64_t)sim_random((uint64_t)usual_ns + 1) +
         (sim_chance(world->config.slow_one_in) ? 10 * usual_ns : 0);
}

struct conn *server_connect(void)
{
  struct conn *conn = calloc(1, sizeof *conn);
  conn->id = ++world->ids;
  atomic_init(&conn->bell, 0);
  conn->next = world->conns;
  world->conns = conn;
  world->connections++;
  world->opening++;
  if (world->connections > world->allowed) {
    sim_fail("%u connections at once, only %u are allowed", world->connections, world->allowed);
  }
  if (world->connections > world->promise) {
    sim_fail("%u connections at once, the quota allows %u", world->connections, world->promise);
  }
  if (world->opening > world->config.limits.max_opening) {
    sim_fail("%u connects at once, only %u are allowed", world->opening,
             world->config.limits.max_opening);
  }
  return conn;
}

bool server_connect_result(struct conn *conn, cenote_error *why, bool *permanent)
{
  why->status = CENOTE_OK;
  *permanent = false;
  if (conn->cancel) {
    why->status = CENOTE_CANCELLED;
  } else if (server_is_dark() || sim_now() < world->down_until) {
    why->status = CENOTE_CONNECT;
  } else if (sim_now() < world->auth_until) {
    why->status = CENOTE_AUTH;
    *permanent = true;
  } else if (sim_now() < world->full_until && world->connections > world->server_limit) {
    why->status = CENOTE_CONNECT;
    snprintf(why->sqlstate, sizeof why->sqlstate, "53300");
  }
  conn->opened = why->status == CENOTE_OK;
  return conn->opened;
}

void server_kill_all(void)
{
  for (struct conn *conn = world->conns; conn != NULL; conn = conn->next) {
    conn->dead = conn->dead || conn->opened;
    world_ring(&conn->bell);
  }
}

/* At most one is ever inside a connection: the ledger's first law. */
void conn_use(struct conn *conn, struct lease *user)
{
  if (conn->closed) {
    sim_fail("connection %llu is used after it was closed", (unsigned long long)conn->id);
  }
  if (conn->users != 0) {
    sim_fail("two are inside connection %llu: %s and %s", (unsigned long long)conn->id,
             conn->user != NULL ? "a holder" : "the manager",
             user != NULL ? "a holder" : "the manager");
  }
  conn->users = 1;
  conn->user = user;
  conn->cancel = false;
}

void conn_leave(struct conn *conn)
{
  if (conn->users != 1) {
    sim_fail("connection %llu: somebody leaves who was not inside", (unsigned long long)conn->id);
  }
  conn->users = 0;
  conn->user = NULL;
}

bool conn_await(struct conn *conn, int64_t usual_ns, bool deaf)
{
  const int64_t until = sim_now() + server_latency(usual_ns);
  conn->deaf = deaf;
  while (sim_now() < until && !conn->dead && !(conn->cancel && !deaf)) {
    sim_quiet(true);
    const uint32_t seen = atomic_load_explicit(&conn->bell, memory_order_relaxed);
    sim_quiet(false);
    sim_park(&conn->bell, seen, until);
  }
  return !conn->dead && (conn->cancel || !server_is_dark());
}
