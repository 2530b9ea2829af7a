/* pipe_lender.c - a pool in a few lines: first come, first served; opens what is missing; marks the
 * shared connections when somebody waits, as the real one marks slots. Nobody is switched inside. */
#include "sim/pipe_world.h"

#include <string.h>

static const int64_t BACK_OFF_NS = 3 * SIM_MS;

static struct ask *first_ask(void)
{
  struct ask *first = NULL;
  for (int i = 0; i < PIPE_ASKS; i++) {
    struct ask *ask = &pipe_world->ask[i];
    if (ask->active && ask->wire == NULL && ask->status == CENOTE_OK &&
        (first == NULL || ask->number < first->number)) {
      first = ask;
    }
  }
  return first;
}

static struct ask *new_ask(bool exclusive, enum pipeline_role role)
{
  for (int i = 0; i < PIPE_ASKS; i++) {
    struct ask *ask = &pipe_world->ask[i];
    if (!ask->active) {
      memset(ask, 0, sizeof *ask);
      ask->active = true;
      ask->exclusive = exclusive;
      ask->role = role;
      ask->number = ++pipe_world->asks;
      ask->since_ns = sim_now();
      return ask;
    }
  }
  sim_fail("too many ask for a connection");
  return NULL;
}

static struct idle *place(struct wire *wire, int64_t ready_ns, bool opening)
{
  for (size_t i = 0; i < sizeof pipe_world->idle / sizeof pipe_world->idle[0]; i++) {
    struct idle *idle = &pipe_world->idle[i];
    if (idle->wire == NULL) {
      *idle = (struct idle){.wire = wire, .ready_ns = ready_ns, .opening = opening};
      return idle;
    }
  }
  sim_fail("too many connections in the pool");
  return NULL;
}

static void close_wire(struct wire *wire)
{
  wire->closed = true;
  wire->stop_ns = wire->stop_ns < sim_now() ? wire->stop_ns : sim_now();
  pipe_world->total--;
}

static struct wire *take_idle(void)
{
  for (size_t i = 0; i < sizeof pipe_world->idle / sizeof pipe_world->idle[0]; i++) {
    struct idle *idle = &pipe_world->idle[i];
    if (idle->wire == NULL || idle->opening || idle->ready_ns > sim_now()) {
      continue;
    }
    struct wire *wire = idle->wire;
    idle->wire = NULL;
    if (pipe_world->total > pipe_world->config.maximum) {
      close_wire(wire);
      continue;
    }
    return wire;
  }
  return NULL;
}

static void open_one(void)
{
  struct wire *wire = wire_new(++pipe_world->wire_ids);
  wire->next = pipe_world->wires;
  pipe_world->wires = wire;
  pipe_world->total++;
  if (pipe_world->total > pipe_world->largest) {
    sim_fail("%u connections, %u are allowed", pipe_world->total, pipe_world->largest);
  }
  place(wire,
        sim_now() + pipe_world->config.connect_ns / 2 +
            (int64_t)sim_random((uint64_t)pipe_world->config.connect_ns),
        true);
  sim_note("open connection %u", wire->id);
}

static unsigned opening(void)
{
  unsigned count = 0;
  for (size_t i = 0; i < sizeof pipe_world->idle / sizeof pipe_world->idle[0]; i++) {
    count += pipe_world->idle[i].wire != NULL;
  }
  return count;
}

static unsigned waiting(void)
{
  unsigned count = 0;
  for (int i = 0; i < PIPE_ASKS; i++) {
    const struct ask *ask = &pipe_world->ask[i];
    count += ask->active && ask->wire == NULL && ask->status == CENOTE_OK;
  }
  return count;
}

/* ------------------------------------------------------------------------ shared */

static struct pipe *lend(struct wire *wire, enum pipeline_role role)
{
  unsigned shared = 1;
  for (int i = 0; i < PIPE_PIPES; i++) {
    shared += pipe_world->pipe[i].wire != NULL;
  }
  if (shared > pipe_world->most) {
    sim_fail("%u connections are shared, %u are allowed", shared, pipe_world->most);
  }
  for (int i = 0; i < PIPE_PIPES; i++) {
    struct pipe *pipe = &pipe_world->pipe[i];
    if (pipe->wire != NULL || pipe->granted) {
      continue;
    }
    pipe->wire = wire;
    pipe->granted = true;
    pipe->serial = ++pipe_world->serials;
    pipe->watched = pipe->nudged = pipe->condemned = pipe->wanted = false;
    pipe->condemn_told = pipe->feeding = pipe->fed = false;
    pipe->broken_seq = 0;
    pipe->want_seq = 0;
    pipe->taken_in_ns = pipe->head_since_ns = pipe->looked_ns = pipe->stopped_ns = 0;
    wire->entered = true;
    wire->read_only = role == PIPELINE_READER;
    pipe->wanted = waiting() > opening(); /* somebody else goes on waiting */
    sim_note("connection %u is shared, for %s", wire->id, wire->read_only ? "reads" : "writes");
    return pipe;
  }
  sim_fail("more than %d pipelines", PIPE_PIPES);
  return NULL;
}

struct pipe *lender_ask_shared(enum pipeline_role role, cenote_status *status)
{
  *status = CENOTE_OK;
  if (pipe_world->lender_shut) {
    *status = CENOTE_SHUTTING_DOWN;
    return NULL;
  }
  if (pipe_allows(PIPE_FAULT_REFUSE, 10)) {
    *status = CENOTE_NO_MEMORY;
    return NULL;
  }
  struct wire *wire = first_ask() == NULL || sim_chance(4) ? take_idle() : NULL;
  if (wire != NULL) {
    return lend(wire, role);
  }
  for (int i = 0; i < PIPE_ASKS; i++) {
    const struct ask *ask = &pipe_world->ask[i];
    if (ask->active && !ask->exclusive && ask->role == role) {
      sim_fail("a second connection is asked for while one is waited for");
    }
  }
  new_ask(false, role);
  sim_note("wait for a connection for %s", role == PIPELINE_READER ? "reads" : "writes");
  pipe_ring_loop();
  return NULL;
}

bool lender_answered(unsigned roles, struct pipe **pipe, enum pipeline_role *role,
                     cenote_status *status)
{
  for (int i = 0; i < PIPE_ASKS; i++) {
    struct ask *ask = &pipe_world->ask[i];
    if (ask->active && !ask->exclusive && (roles >> ask->role & 1u) != 0 &&
        (ask->wire != NULL || ask->status != CENOTE_OK)) {
      *role = ask->role;
      *status = ask->status;
      *pipe = ask->wire != NULL ? lend(ask->wire, ask->role) : NULL;
      ask->active = false;
      return true;
    }
  }
  return false;
}

bool lender_withdraw(enum pipeline_role role)
{
  for (int i = 0; i < PIPE_ASKS; i++) {
    struct ask *ask = &pipe_world->ask[i];
    if (ask->active && !ask->exclusive && ask->role == role) {
      if (ask->wire != NULL || ask->status != CENOTE_OK) {
        return false;
      }
      ask->active = false;
      return true;
    }
  }
  sim_fail("nobody waits for the connection that is withdrawn");
  return false;
}

static void take_back(struct wire *wire, bool healthy)
{
  wire_catch_up(wire);
  wire->entered = false;
  if (!healthy || pipe_world->lender_shut || pipe_world->total > pipe_world->config.maximum) {
    close_wire(wire);
  } else {
    /* A reset, when the session is not as new. */
    place(wire, sim_now() + (wire->read_only ? pipe_world->config.latency_ns * 2 : 0), false);
    wire->read_only = false;
  }
  pipe_ring_loop();
}

void lender_give_back(struct pipe *pipe)
{
  struct wire *wire = pipe->wire;
  wire_catch_up(wire);
  if (wire->count > 0 && !wire->lost) {
    sim_fail("connection %u goes back with %u in flight", wire->id, wire->count);
  }
  sim_note("connection %u goes back", wire->id);
  take_back(wire, !wire->lost && !wire->garbled && !wire->broken && !pipe->condemned);
  pipe->wire = NULL;
  pipe->wanted = false;
}

bool lender_is_wanted(const struct pipe *pipe)
{
  return pipe->wanted || pipe->condemned;
}

void lender_mark(struct pipe *pipe)
{
  if (pipe->wire != NULL && !pipe->wanted) {
    pipe->wanted = true;
    sim_note("connection %u is wanted back", pipe->wire->id);
    pipe_ring_loop();
  }
}

static void mark_all(void)
{
  for (int i = 0; i < PIPE_PIPES; i++) {
    if (pipe_world->pipe[i].granted) {
      lender_mark(&pipe_world->pipe[i]);
    }
  }
}

/* --------------------------------------------------------------------- exclusive */

struct wire *lender_take_exclusive(int client, int64_t deadline_ns)
{
  if (pipe_world->lender_shut) {
    return NULL;
  }
  struct wire *wire = first_ask() == NULL ? take_idle() : NULL;
  if (wire != NULL) {
    return wire;
  }
  struct ask *ask = new_ask(true, PIPELINE_ROLES);
  ask->client = client;
  pipe_ring_loop();
  struct pipeline_wakes wakes;
  memset(&wakes, 0, sizeof wakes);
  pipeline_yield(&pipe_world->set, &wakes);
  pipe_deliver(&wakes);
  while (ask->wire == NULL && ask->status == CENOTE_OK && sim_now() < deadline_ns) {
    sim_park(&ask->bell, 0, deadline_ns);
  }
  wire = ask->wire;
  ask->active = false;
  return wire;
}

void lender_release_exclusive(struct wire *wire)
{
  take_back(wire, !wire->dead && !wire->garbled && !wire->broken);
}

/* -------------------------------------------------------------------------- turn */

static void refuse_all(cenote_status status)
{
  for (int i = 0; i < PIPE_ASKS; i++) {
    struct ask *ask = &pipe_world->ask[i];
    if (ask->active && ask->wire == NULL && ask->status == CENOTE_OK) {
      ask->status = status;
      pipe_ring(&ask->bell);
    }
  }
}

static int64_t finish_opens(void)
{
  int64_t next = INT64_MAX;
  for (size_t i = 0; i < sizeof pipe_world->idle / sizeof pipe_world->idle[0]; i++) {
    struct idle *idle = &pipe_world->idle[i];
    if (idle->wire == NULL) {
      continue;
    }
    if (idle->ready_ns > sim_now()) {
      next = idle->ready_ns < next ? idle->ready_ns : next;
      continue;
    }
    if (idle->opening && pipe_allows(PIPE_FAULT_REFUSE, 4)) {
      sim_note("connection %u does not open", idle->wire->id);
      close_wire(idle->wire);
      idle->wire = NULL;
      pipe_world->back_off_ns = sim_now() + BACK_OFF_NS;
      if (sim_chance(2)) {
        refuse_all(CENOTE_AUTH);
      }
      continue;
    }
    idle->opening = false;
    if (pipe_world->lender_shut || idle->wire->dead || idle->wire->garbled) {
      close_wire(idle->wire);
      idle->wire = NULL;
    }
  }
  return next;
}

int64_t lender_turn(void)
{
  int64_t next = finish_opens();
  for (struct ask *ask = first_ask(); ask != NULL; ask = first_ask()) {
    struct wire *wire = take_idle();
    if (wire == NULL) {
      break;
    }
    ask->wire = wire;
    pipe_ring(&ask->bell);
  }
  while (!pipe_world->lender_shut && waiting() > opening() &&
         pipe_world->total < pipe_world->config.maximum) {
    if (sim_now() < pipe_world->back_off_ns) {
      next = pipe_world->back_off_ns < next ? pipe_world->back_off_ns : next;
      break;
    }
    open_one();
    next = sim_now() < next ? sim_now() + SIM_US : next;
  }
  if (waiting() > opening()) {
    mark_all();
  }
  return next;
}

void lender_resize(uint32_t maximum)
{
  struct pipe_world *world = pipe_world;
  sim_note("resize to %u", maximum);
  world->config.maximum = maximum;
  if (maximum > world->largest) {
    sim_fail("larger than the largest");
  }
  unsigned surplus = world->total > maximum ? world->total - maximum : 0;
  for (int i = 0; i < PIPE_PIPES && surplus > 0; i++, surplus--) {
    if (world->pipe[i].granted) {
      lender_mark(&world->pipe[i]);
    }
  }
  pipe_ring(&world->bell);
}

void lender_drain(void)
{
  pipe_world->lender_shut = true;
  refuse_all(CENOTE_SHUTTING_DOWN);
  mark_all();
  for (size_t i = 0; i < sizeof pipe_world->idle / sizeof pipe_world->idle[0]; i++) {
    struct idle *idle = &pipe_world->idle[i];
    if (idle->wire != NULL && !idle->opening) {
      close_wire(idle->wire);
      idle->wire = NULL;
    }
  }
  pipe_ring_loop();
}
