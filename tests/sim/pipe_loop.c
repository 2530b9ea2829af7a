/* pipe_loop.c - the housekeeper's part: what the pool says, what nobody else drives, callbacks. Beside
 * it whatever disturbs: deaths, wishes of the pool, resizes, the end. */
#include "sim/pipe_world.h"

#include <string.h>

enum { MOST_TURNS = 2000 };

static void take_turn_of_pool(void)
{
  struct pipeline_did did;
  while (hand_granted(3u, &did)) {
    hand_run(&pipe_world->set.loop, &did, NULL);
  }
}

static void tell_wishes(void)
{
  for (int i = 0; i < PIPE_PIPES; i++) {
    struct pipe *pipe = &pipe_world->pipe[i];
    struct pipeline_wakes wakes;
    memset(&wakes, 0, sizeof wakes);
    if (!pipe->granted || pipe->wire == NULL) {
      continue;
    }
    if (pipe->condemned && !pipe->condemn_told) {
      pipe->condemn_told = true;
      pipeline_condemn(&pipe_world->set, &pipe->pipeline, pipe->serial, &wakes);
    } else if (lender_is_wanted(pipe)) {
      const bool fed = pipe->fed;
      const uint64_t serial = pipe->serial;
      pipeline_want(&pipe_world->set, &pipe->pipeline, serial, &wakes);
      if (fed && pipe->serial == serial && pipe->want_seq == 0) {
        pipe->want_seq = ++pipe_world->seq;
      }
    }
    pipe_deliver(&wakes);
  }
}

static int64_t watch_ready(struct pipe *pipe)
{
  int64_t ready_ns = hand_ready(pipe);
  const int64_t write_ns = hand_writable(pipe, &pipe->watch.wants);
  ready_ns = write_ns < ready_ns ? write_ns : ready_ns;
  ready_ns = pipe->nudged ? sim_now() : ready_ns;
  if (pipe->watch.wants.done_fd >= 0 && pipe->wire->quiet_ns < ready_ns) {
    ready_ns = pipe->wire->quiet_ns;
  }
  return pipe->watch.until_ns < ready_ns ? pipe->watch.until_ns : ready_ns;
}

static int64_t watches_ready(void)
{
  int64_t next = INT64_MAX;
  for (int i = 0; i < PIPE_PIPES; i++) {
    struct pipe *pipe = &pipe_world->pipe[i];
    if (pipe->watched && pipe->wire != NULL) {
      const int64_t ready_ns = watch_ready(pipe);
      next = ready_ns < next ? ready_ns : next;
    }
  }
  return next;
}

static void serve_watches(void)
{
  for (int i = 0; i < PIPE_PIPES; i++) {
    struct pipe *pipe = &pipe_world->pipe[i];
    if (!pipe->watched || pipe->wire == NULL || watch_ready(pipe) > sim_now()) {
      continue;
    }
    struct pipeline_did did;
    memset(&did, 0, sizeof did);
    did.what = PIPELINE_POLLED;
    did.pipeline = &pipe->pipeline;
    did.revents = (short)((hand_ready(pipe) <= sim_now() ? 1 : 0) |
                          (hand_writable(pipe, &pipe->watch.wants) <= sim_now() ? 4 : 0));
    did.more = pipe->watch.wants.done_fd >= 0 && pipe->wire->quiet_ns <= sim_now();
    pipe->nudged = false;
    pipe->watch.until_ns = INT64_MAX;
    hand_run(&pipe_world->set.loop, &did, NULL);
  }
}

static void tell_owners(void)
{
  struct pipeline_call *call;
  while ((call = pipeline_settled(&pipe_world->set)) != NULL) {
    client_told((struct caller *)call);
  }
}

static void sleep_until(uint64_t rings, uint32_t seen, int64_t until_ns)
{
  for (;;) {
    const int64_t ready_ns = watches_ready();
    if (pipe_world->rings != rings || sim_now() >= until_ns || ready_ns <= sim_now()) {
      return;
    }
    sim_park(&pipe_world->bell, seen, ready_ns < until_ns ? ready_ns : until_ns);
    sim_quiet(true);
    seen = atomic_load_explicit(&pipe_world->bell, memory_order_acquire);
    sim_quiet(false);
  }
}

/* It has nothing to do that often: something it watches stays ready, and is not what it does. */
static void notice_spinning(void)
{
  if (sim_now() - pipe_world->turns_since_ns > SIM_MS) {
    pipe_world->turns_since_ns = sim_now();
    pipe_world->turns = 0;
  }
  if (++pipe_world->turns > MOST_TURNS) {
    sim_fail("the loop spins: %u turns within a millisecond", pipe_world->turns);
  }
}

static bool is_finished(void)
{
  if (!pipe_world->drained || pipe_world->clients_left > 0 || pipe_world->total > 0) {
    return false;
  }
  struct pipeline_picture picture;
  pipeline_look(&pipe_world->set, &picture);
  return picture.live == 0;
}

void pipe_loop_body(void *unused)
{
  (void)unused;
  for (;;) {
    sim_quiet(true);
    const uint32_t seen = atomic_load_explicit(&pipe_world->bell, memory_order_acquire);
    const uint64_t rings = pipe_world->rings;
    sim_quiet(false);
    notice_spinning();
    int64_t until_ns = lender_turn();
    take_turn_of_pool();
    tell_wishes();
    serve_watches();
    struct pipeline_did nothing;
    memset(&nothing, 0, sizeof nothing);
    const int64_t turn_ns = hand_run(&pipe_world->set.loop, &nothing, NULL);
    tell_owners();
    if (is_finished()) {
      pipe_world->finished = true;
      return;
    }
    until_ns = turn_ns < until_ns ? turn_ns : until_ns;
    sleep_until(rings, seen, until_ns);
  }
}

/* ------------------------------------------------------------------ disturbances */

static struct pipe *any_pipe(void)
{
  struct pipe *pipe = &pipe_world->pipe[sim_random(4)];
  return pipe->granted && pipe->wire != NULL ? pipe : NULL;
}

static void disturb(unsigned fault)
{
  struct pipe *pipe = any_pipe();
  switch (fault) {
  case PIPE_FAULT_KILL:
    if (pipe != NULL) {
      wire_kill(pipe->wire, sim_chance(2) ? DEATH_CLEAN : DEATH_RESET);
    }
    break;
  case PIPE_FAULT_SILENT:
    if (pipe != NULL) {
      wire_kill(pipe->wire, DEATH_SILENT);
    }
    break;
  case PIPE_FAULT_SYNC:
    if (pipe != NULL) {
      wire_garble(pipe->wire);
    }
    break;
  case PIPE_FAULT_WANT:
    if (pipe != NULL) {
      lender_mark(pipe);
    }
    break;
  case PIPE_FAULT_CONDEMN:
    if (pipe != NULL) {
      sim_note("connection %u is taken away", pipe->wire->id);
      pipe->condemned = true;
      pipe_ring_loop();
    }
    break;
  case PIPE_FAULT_RESIZE:
    lender_resize(1 + (uint32_t)sim_random(pipe_world->largest));
    pipe_world->config.limits.most = pipe_world->config.maximum;
    pipeline_configure(&pipe_world->set, &pipe_world->config.limits);
    pipe_ring_loop(); /* as a change of settings does */
    break;
  default:
    break;
  }
  pipe_event();
}

void pipe_chaos_body(void *unused)
{
  static const unsigned kinds[] = {PIPE_FAULT_KILL, PIPE_FAULT_SILENT,  PIPE_FAULT_SYNC,
                                   PIPE_FAULT_WANT, PIPE_FAULT_CONDEMN, PIPE_FAULT_RESIZE};
  (void)unused;
  while (pipe_world->clients_left > 0 && !pipe_world->finished) {
    sim_sleep((int64_t)sim_random(4 * SIM_MS));
    const unsigned fault = kinds[sim_random(sizeof kinds / sizeof kinds[0])];
    if ((pipe_world->config.faults & fault) != 0) {
      disturb(fault);
    }
  }
}

void pipe_shutdown_body(void *unused)
{
  (void)unused;
  const int64_t after_ns = pipe_world->config.drain_after_ns;
  if (after_ns > 0) {
    sim_sleep(after_ns);
  }
  while (after_ns == 0 && pipe_world->clients_left > 0) {
    sim_sleep(SIM_MS);
  }
  struct pipeline_wakes wakes;
  memset(&wakes, 0, sizeof wakes);
  sim_note("drain");
  pipe_world->drain_begun = true;
  pipeline_drain(&pipe_world->set, sim_now(), &wakes);
  pipe_world->drained_seq = ++pipe_world->seq;
  pipe_world->drained = true;
  lender_drain();
  pipe_deliver(&wakes);
  const int64_t patience_ns = sim_now() + pipe_world->config.patience_ns;
  while (!pipe_world->finished) {
    sim_sleep(2 * SIM_MS);
    if (sim_now() < patience_ns || pipe_world->finished) {
      continue;
    }
    for (int i = 0; i < PIPE_PIPES; i++) {
      struct pipe *pipe = &pipe_world->pipe[i];
      if (pipe->granted && pipe->wire != NULL && !pipe->condemned) {
        sim_note("force connection %u", pipe->wire->id);
        pipe->condemned = true;
        pipe_ring_loop();
      }
    }
    pipe_world->forced = true;
  }
}
