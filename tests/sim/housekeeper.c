/* housekeeper.c - the manager's loop: performs the core's actions, completes asynchronous
 * acquires, and calls the janitor when it is due. Beside it whatever disturbs: restarts, black
 * holes, resizes, freezes, the shutdown. */
#include "sim/world.h"

#include <stdio.h>
#include <string.h>

/* ------------------------------------------------------------------ actions */

static void start(enum pool_action_kind kind, uint32_t slot, struct conn *conn, int64_t usual_ns)
{
  for (int i = 0; i < WORLD_DOING; i++) {
    struct doing *doing = &world->doing[i];
    if (!doing->active) {
      *doing = (struct doing){.active = true,
                              .kind = kind,
                              .slot = slot,
                              .conn = conn,
                              .until_ns = sim_now() + server_latency(usual_ns)};
      return;
    }
  }
  sim_fail("too many actions under way");
}

static void start_open(const struct pool_action *action)
{
  struct conn *conn = server_connect();
  sim_note("open slot %u as connection %llu", action->slot, (unsigned long long)conn->id);
  if (pool_set_resource(&world->pool, action->slot, conn)) {
    start(POOL_ACT_OPEN, action->slot, conn, world->config.connect_ns);
    return;
  }
  cenote_error why = CENOTE_ERROR_INIT;
  struct pool_wakes wakes = {0};
  why.status = CENOTE_CANCELLED;
  conn->closed = true;
  world->connections--;
  world->opening--;
  pool_open_failed(&world->pool, action->slot, &why, false, sim_now(), &wakes);
  world_refuse_rest(&wakes);
}

/* Cancels and aborts are over before the next action is asked for. */
static void cancel(const struct pool_action *action)
{
  struct conn *conn = action->resource;
  sim_note("%s slot %u", action->kind == POOL_ACT_ABORT ? "abort" : "cancel", action->slot);
  for (int i = 0; i < WORLD_DOING; i++) {
    struct doing *doing = &world->doing[i];
    if (doing->active && doing->kind == POOL_ACT_OPEN && doing->slot == action->slot) {
      conn->cancel = true;
      doing->until_ns = sim_now();
      return;
    }
  }
  world->cancelling = true;
  sim_sleep((int64_t)sim_random(SIM_MS));
  world->cancelling = false;
  if (conn->closed) {
    sim_fail("a cancel for slot %u reaches a connection that was closed", action->slot);
  }
  if (conn->user != NULL && conn->user->generation != action->generation) {
    sim_fail("a cancel for slot %u hits the next holder", action->slot);
  }
  if (conn->users > 0 && conn->user == NULL) {
    sim_fail("a cancel for slot %u hits the clean-up", action->slot);
  }
  conn->cancel = conn->user != NULL;
  conn->dead = conn->dead || action->kind == POOL_ACT_ABORT;
  world_ring(&conn->bell);
}

static void perform(const struct pool_action *action)
{
  switch (action->kind) {
  case POOL_ACT_OPEN:
    start_open(action);
    return;
  case POOL_ACT_CANCEL:
  case POOL_ACT_ABORT:
    cancel(action);
    return;
  default:
    break;
  }
  static const char *const names[] = {"?", "open", "check", "clean", "close", "cancel", "abort"};
  sim_note("%s slot %u (%s)", names[action->kind], action->slot, pool_reason_text(action->reason));
  conn_use(action->resource, NULL);
  start(action->kind, action->slot, action->resource, world->config.statement_ns);
}

static void finish_open(const struct doing *doing, struct pool_wakes *wakes)
{
  cenote_error why = CENOTE_ERROR_INIT;
  bool permanent;
  world->opening--;
  if (server_connect_result(doing->conn, &why, &permanent)) {
    sim_note("slot %u is open", doing->slot);
    doing->conn->proven_ns = sim_now();
    world->tally.opened++;
    pool_opened(&world->pool, doing->slot, sim_now(), wakes);
    return;
  }
  sim_note("slot %u did not open: %s", doing->slot, cenote_status_name(why.status));
  doing->conn->closed = true;
  world->connections--;
  pool_open_failed(&world->pool, doing->slot, &why, permanent, sim_now(), wakes);
}

static void finish(const struct doing *doing)
{
  struct pool_wakes wakes = {0};
  struct conn *conn = doing->conn;
  bool good = !conn->dead && !server_is_dark();
  if (doing->kind != POOL_ACT_OPEN) {
    conn_leave(conn);
  }
  switch (doing->kind) {
  case POOL_ACT_OPEN:
    finish_open(doing, &wakes);
    break;
  case POOL_ACT_CHECK:
    conn->proven_ns = good ? sim_now() : conn->proven_ns;
    pool_checked(&world->pool, doing->slot, good, sim_now(), &wakes);
    break;
  case POOL_ACT_CLEAN:
    good = good && !((world->config.faults & FAULT_DIRTY) != 0 && sim_chance(20));
    if (good) {
      conn->dirty_of = 0;
      conn->cleanings++;
      conn->proven_ns = sim_now();
    }
    pool_cleaned(&world->pool, doing->slot, good, sim_now(), &wakes);
    break;
  default:
    conn->closed = true;
    world->connections--;
    pool_closed(&world->pool, doing->slot, sim_now(), &wakes);
  }
  world_event();
  world_refuse_rest(&wakes);
}

static int64_t finish_due(void)
{
  int64_t next = INT64_MAX;
  for (int i = 0; i < WORLD_DOING; i++) {
    struct doing *doing = &world->doing[i];
    if (doing->active && doing->until_ns <= sim_now()) {
      const struct doing copy = *doing;
      doing->active = false;
      finish(&copy);
    }
  }
  for (int i = 0; i < WORLD_DOING; i++) {
    if (world->doing[i].active && world->doing[i].until_ns < next) {
      next = world->doing[i].until_ns;
    }
  }
  return next;
}

/* -------------------------------------------------------- asynchronous waiters */

static void complete(struct request *request)
{
  struct pool_waiter *waiter = &request->waiter;
  request->status = waiter->status;
  if (request->status == CENOTE_OK) {
    request->ask.now_ns = sim_now();
    pool_accept(&world->pool, waiter, &request->ask, &request->grant);
  }
  request->active = false;
  world_ring(&request->done);
}

static int64_t serve_requests(void)
{
  int64_t next = INT64_MAX;
  for (int i = 0; i < WORLD_CLIENTS; i++) {
    struct request *request = &world->request[i];
    if (!request->active || request->pinned) {
      continue;
    }
    struct pool_wakes wakes = {0};
    uint32_t signal = atomic_load_explicit(&request->waiter.signal, memory_order_acquire);
    if (signal == POOL_WOKEN) {
      pool_rescan(&world->pool, &request->waiter, sim_now(), &wakes);
      world_event();
      world_deliver(&wakes);
    } else if (signal == POOL_PARKED && sim_now() >= request->deadline_ns) {
      pool_give_up(&world->pool, &request->waiter, CENOTE_TIMEOUT, sim_now(), &wakes);
      world_deliver(&wakes);
    }
    signal = atomic_load_explicit(&request->waiter.signal, memory_order_acquire);
    if (signal == POOL_SETTLED) {
      complete(request);
    } else if (signal == POOL_WOKEN) {
      world_ring(&world->loop_bell);
    } else if (request->deadline_ns < next) {
      next = request->deadline_ns;
    }
  }
  return next;
}

/* -------------------------------------------------------------------- the loop */

/* As the manager does for a budget; what it has and needs is known in each round. */
static void set_quota(void)
{
  struct pool_wakes wakes = {0};
  struct pool_need need;
  const uint32_t quota = world->quota;
  if (quota == POOL_NO_QUOTA && world->promise == POOL_NO_QUOTA) {
    return;
  }
  world->promise = quota > world->promise ? quota : world->promise;
  pool_set_quota(&world->pool, quota, world->pressed, sim_now(), &wakes, &need);
  world->promise = quota > need.live ? quota : need.live;
  if (need.open > need.staying || need.staying > need.live || need.wanted > world->allowed ||
      (need.over > 0) != (need.staying > quota)) {
    sim_fail("the need makes no sense: %u live, %u staying, %u open, %u wanted, %u over", need.live,
             need.staying, need.open, need.wanted, need.over);
  }
  world_event();
  world_refuse_rest(&wakes);
}

void housekeeper_body(void *unused)
{
  (void)unused;
  for (;;) {
    world->rounds++;
    sim_quiet(true);
    const uint32_t seen = atomic_load_explicit(&world->loop_bell, memory_order_acquire);
    sim_quiet(false);
    struct pool_action action;
    while (pool_next_action(&world->pool, &action)) {
      world_event();
      perform(&action);
    }
    const int64_t done = finish_due();
    const int64_t served = serve_requests();
    struct pool_wakes wakes = {0};
    int64_t next = pool_tick(&world->pool, sim_now(), &wakes);
    world_refuse_rest(&wakes);
    set_quota();
    if (pool_finished(&world->pool)) {
      world->finished = true;
    }
    if (world->finished && world->clients_left == 0) {
      return;
    }
    next = done < next ? done : next;
    next = served < next ? served : next;
    sim_park(&world->loop_bell, seen, next);
  }
}

/* ------------------------------------------------------------------ disturbances */

static void resize(void)
{
  struct pool_limits limits = world->config.limits;
  struct pool_wakes wakes = {0};
  limits.maximum = 1 + (uint32_t)sim_random(world->config.maximum);
  limits.minimum = (uint32_t)sim_random(limits.maximum + 1);
  /* An open that was decided before a shrink may still come; none may exceed the largest. */
  sim_note("resize to %u", limits.maximum);
  pool_configure(&world->pool, &limits, sim_now(), &wakes);
  world_refuse_rest(&wakes);
}

/* Only what is surely idle before and after counts as suspect: the core may look in between. */
static void freeze(void)
{
  const int64_t gap = INT64_C(1000) * SIM_MS * (int64_t)(6 + sim_random(3600));
  sim_note("frozen for %lld s", (long long)gap / SIM_MS / 1000);
  sim_jump(gap);
}

/* As a circuit breaker does it. */
static void hold(void)
{
  struct pool_wakes wakes = {0};
  sim_note("held");
  pool_hold(&world->pool, true, sim_now(), &wakes);
  world_refuse_rest(&wakes);
  for (unsigned probes = (unsigned)sim_random(4); probes > 0; probes--) {
    sim_sleep((int64_t)sim_random(20 * SIM_MS));
    wakes = (struct pool_wakes){0};
    const bool asks = pool_probe(&world->pool, sim_now(), &wakes);
    sim_note(asks ? "a probe" : "no probe");
    world_refuse_rest(&wakes);
  }
  sim_note("let go");
  wakes = (struct pool_wakes){0};
  pool_hold(&world->pool, false, sim_now(), &wakes);
  world_refuse_rest(&wakes);
}

static void disturb(unsigned fault)
{
  struct pool_wakes wakes = {0};
  const int64_t until = sim_now() + (int64_t)sim_random(100 * SIM_MS);
  switch (fault) {
  case FAULT_KILL:
    sim_note("all connections die");
    server_kill_all();
    break;
  case FAULT_DOWN:
    sim_note("the server is down");
    world->down_until = until;
    server_kill_all();
    break;
  case FAULT_FULL:
    world->full_until = until;
    world->server_limit = (uint32_t)sim_random(world->config.maximum + 1);
    sim_note("the server allows only %u", world->server_limit);
    break;
  case FAULT_AUTH:
    sim_note("the password is wrong");
    world->auth_until = until;
    break;
  case FAULT_BLACKHOLE:
    sim_note("the network is a black hole");
    world->dark_until = until;
    break;
  case FAULT_RESIZE:
    resize();
    break;
  case FAULT_FLUSH:
    sim_note("flush");
    pool_flush(&world->pool, sim_now(), POOL_REASON_FLUSH, &wakes);
    break;
  case FAULT_RELIEVE:
    pool_relieve(&world->pool, sim_now(), &wakes);
    break;
  case FAULT_FREEZE:
    freeze();
    break;
  case FAULT_BREAKER:
    hold();
    break;
  case FAULT_QUOTA:
    world->quota = sim_chance(3) ? POOL_NO_QUOTA : (uint32_t)sim_random(world->config.maximum + 1);
    world->pressed = sim_chance(2);
    sim_note("the quota is %d%s", (int)world->quota, world->pressed ? ", others need it" : "");
    world_ring(&world->loop_bell);
    break;
  default:
    break;
  }
  world_event();
  world_refuse_rest(&wakes);
}

void chaos_body(void *unused)
{
  (void)unused;
  while (world->clients_left > 0 && !world->finished) {
    sim_sleep((int64_t)sim_random(20 * SIM_MS));
    const unsigned fault = sim_chance(5)   ? FAULT_QUOTA
                           : sim_chance(8) ? FAULT_BREAKER
                                           : 1u << sim_random(9);
    if ((world->config.faults & fault) != 0) {
      disturb(fault);
    }
  }
}

/* Drains once the clients are done (or earlier), waits, then takes leases by force. */
void shutdown_body(void *unused)
{
  (void)unused;
  const int64_t after = world->config.drain_after_ns;
  if (after > 0) {
    sim_sleep(after);
  }
  while (after == 0 && world->clients_left > 0) {
    sim_sleep(5 * SIM_MS);
  }
  struct pool_wakes wakes = {0};
  sim_note("drain");
  pool_drain(&world->pool, sim_now(), &wakes);
  world_refuse_rest(&wakes);
  const int64_t patience = sim_now() + world->config.patience_ns;
  while (!world->finished) {
    sim_sleep(5 * SIM_MS);
    if (sim_now() >= patience && !world->finished) {
      memset(&wakes, 0, sizeof wakes);
      world->forced = true;
      sim_note("force");
      pool_force(&world->pool, sim_now(), &wakes);
      world_deliver(&wakes);
    }
  }
}
