/* pipe_client.c - callers: those who block, those who are called back and cancel, and those who
 * want a connection of their own. A caller's memory is poisoned the moment it is settled. */
#include "sim/pipe_world.h"

#include <stdlib.h>
#include <string.h>

struct order *client_order(int client, bool write)
{
  const struct pipe_config *config = &pipe_world->config;
  struct order *order = calloc(1, sizeof *order);
  order->tag = ++pipe_world->tags;
  order->client = client;
  order->write = write;
  order->duration_ns =
      config->statement_ns / 2 + (int64_t)sim_random((uint64_t)config->statement_ns);
  order->deadline_ns = PIPELINE_NEVER;
  order->next = pipe_world->orders;
  pipe_world->orders = order;
  return order;
}

static struct caller *new_caller(struct order *order, enum pipeline_role role, bool asynchronous)
{
  struct caller *caller = malloc(sizeof *caller);
  memset(caller, 0x5a, sizeof *caller); /* what submit does not set is rubbish */
  caller->order = order;
  caller->pinned = caller->over = false;
  caller->next = NULL;
  memset(&caller->error, 0, sizeof caller->error);
  caller->error.size = sizeof caller->error;
  atomic_init(&caller->done, 0);
  caller->call.role = role;
  caller->call.asynchronous = asynchronous;
  caller->call.deadline_ns = order->deadline_ns;
  caller->call.patience_ns = order->patience_ns;
  caller->call.error = &caller->error;
  order->caller = caller;
  order->asynchronous = asynchronous;
  order->reads = role == PIPELINE_READER;
  order->submitted_ns = sim_now();
  sim_note("order %llu%s%s", (unsigned long long)order->tag, order->write ? ", writes" : "",
           asynchronous ? ", asynchronous" : "");
  return caller;
}

struct order *client_call(struct order *order, enum pipeline_role role)
{
  struct caller *caller = new_caller(order, role, false);
  hand_submit(caller, true);
  if (!caller->over) {
    sim_fail("order %llu: its caller goes, and it is not settled", (unsigned long long)order->tag);
  }
  ledger_settled(caller);
  ledger_gone(caller);
  return order;
}

struct caller *client_start(struct order *order, enum pipeline_role role, bool drive)
{
  struct caller *caller = new_caller(order, role, true);
  hand_submit(caller, drive);
  return caller;
}

/* By the loop. */
void client_told(struct caller *caller)
{
  pipe_world->loop_waits = true;
  while (caller->pinned) {
    sim_sleep(SIM_US); /* its owner is in a call on it */
  }
  pipe_world->loop_waits = false;
  ledger_settled(caller);
  caller->order->told = true;
  pipe_ring(&caller->done);
}

void client_stop(struct caller *caller)
{
  if (caller->order->told) {
    return;
  }
  struct pipeline_wakes wakes;
  memset(&wakes, 0, sizeof wakes);
  caller->pinned = true;
  caller->order->cancelled = true;
  caller->order->cancelled_ns = sim_now();
  sim_note("cancels order %llu", (unsigned long long)caller->order->tag);
  pipeline_cancel(&pipe_world->set, &caller->call, sim_now(), &wakes);
  caller->pinned = false;
  pipe_deliver(&wakes);
}

struct order *client_await(struct caller *caller)
{
  while (!caller->order->told) {
    sim_park(&caller->done, 0, INT64_MAX);
  }
  struct order *order = caller->order;
  ledger_gone(caller);
  return order;
}

/* ------------------------------------------------------------------------ random */

static struct order *random_order(int client)
{
  const struct pipe_config *config = &pipe_world->config;
  struct order *order = client_order(client, sim_random(100) < config->write_percent);
  if (pipe_allows(PIPE_FAULT_SLOW, 12)) {
    order->duration_ns = config->slow_ns / 2 + (int64_t)sim_random((uint64_t)config->slow_ns * 2);
  }
  if (pipe_allows(PIPE_FAULT_ERROR, 6)) {
    order->plan = (enum plan)(1 + sim_random(PLANS - 1));
    order->stale = 1 + (unsigned)sim_random(3);
  }
  if (sim_chance(8)) {
    order->deadline_ns = PIPELINE_NEVER;
    order->patience_ns = sim_chance(2) ? config->wait_ns : 0;
  } else {
    int64_t wait_ns = config->wait_ns + (int64_t)sim_random((uint64_t)config->wait_ns);
    if (pipe_allows(PIPE_FAULT_IMPATIENT, 3)) {
      wait_ns = (int64_t)sim_random((uint64_t)config->statement_ns * 8);
    }
    order->deadline_ns = sim_now() + wait_ns;
  }
  return order;
}

static enum pipeline_role role_of(const struct order *order)
{
  if (!order->write) {
    return sim_chance(20) ? PIPELINE_WRITER : PIPELINE_READER; /* a read that is no sure one */
  }
  return pipe_allows(PIPE_FAULT_LYING, 5) ? PIPELINE_READER : PIPELINE_WRITER;
}

static void call_asynchronously(int client)
{
  struct caller *callers[6];
  const bool loop_only = (pipe_world->config.faults & PIPE_FAULT_LOOP) != 0;
  const unsigned count = 1 + (unsigned)sim_random(6);
  for (unsigned i = 0; i < count; i++) {
    struct order *order = random_order(client);
    callers[i] = client_start(order, role_of(order), !loop_only);
  }
  for (unsigned i = 0; i < count; i++) {
    if (pipe_allows(PIPE_FAULT_CANCEL, 4)) {
      sim_sleep((int64_t)sim_random((uint64_t)pipe_world->config.statement_ns * 4));
      client_stop(callers[i]);
    }
  }
  for (unsigned i = 0; i < count; i++) {
    client_await(callers[i]);
  }
}

void exclusive_use(int client)
{
  struct wire *wire = lender_take_exclusive(client, sim_now() + pipe_world->config.wait_ns * 8);
  if (wire == NULL) {
    return;
  }
  wire_use(wire);
  if (wire->read_only || wire->entered) {
    sim_fail("an exclusive caller gets connection %u as the simple path left it", wire->id);
  }
  sim_sleep((int64_t)sim_random((uint64_t)pipe_world->config.statement_ns * 4));
  wire_done(wire);
  lender_release_exclusive(wire);
}

void pipe_client_body(void *number)
{
  const int client = (int)(intptr_t)number;
  for (unsigned i = 0; i < pipe_world->config.operations; i++) {
    if (pipe_allows(PIPE_FAULT_EXCLUSIVE, 6)) {
      exclusive_use(client);
    } else if ((pipe_world->config.faults & PIPE_FAULT_LOOP) != 0 ||
               pipe_allows(PIPE_FAULT_ASYNC, 3)) {
      call_asynchronously(client);
    } else {
      struct order *order = random_order(client);
      client_call(order, role_of(order));
      if (order->end == PIPELINE_SHUT && sim_chance(2)) {
        break;
      }
    }
    if (sim_chance(3)) {
      sim_sleep((int64_t)sim_random((uint64_t)pipe_world->config.statement_ns * 2));
    }
  }
  client_finished();
}

void client_finished(void)
{
  pipe_world->clients_left--;
  pipe_ring_loop();
}
