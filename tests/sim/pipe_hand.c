/* pipe_hand.c - a hand: is told what to do, does it, says so; as manager/simple.c does. */
#include "sim/pipe_world.h"

#include <stdlib.h>
#include <string.h>

enum { CAN_READ = 1, CAN_WRITE = 4 };

static struct pipe *pipe_of(struct pipeline *pipeline)
{
  struct pipe *pipe = (struct pipe *)pipeline;
  if (pipe == NULL || pipe->wire == NULL) {
    sim_fail("something is to be done on a pipeline that was given back");
  }
  return pipe;
}

/* How the connection is now, for the core. */
static void describe(struct pipe *pipe, struct pipeline_did *did)
{
  struct wire *wire = pipe->wire;
  did->wants = (struct pipeline_wants){.fd = -1, .done_fd = -1, .deadline_ns = PIPELINE_NEVER};
  if (wire->lost) {
    return;
  }
  /* Its answer may wait for those behind it, in one batch with it. */
  did->together = wire->read_only && wire->count > 1 && pipe_allows(PIPE_FAULT_BATCH, 4);
  did->cancelling = wire_cancelling(wire);
  did->broken = wire->broken;
  did->wanted = lender_is_wanted(pipe);
  did->wants =
      (struct pipeline_wants){.fd = (int)wire->id,
                              .done_fd = did->cancelling ? (int)wire->id : -1,
                              .events = wire_is_unsent(wire) ? CAN_READ | CAN_WRITE : CAN_READ,
                              .deadline_ns = wire->mute_ns != 0 ? wire->mute_ns : PIPELINE_NEVER};
}

/* ------------------------------------------------------------------- waiting for input */

/* When it can be written to again, for one who asked to be told. */
int64_t hand_writable(const struct pipe *pipe, const struct pipeline_wants *wants)
{
  const struct wire *wire = pipe->wire;
  if ((wants->events & CAN_WRITE) == 0) {
    return INT64_MAX;
  }
  return wire->stuck_ns > sim_now() ? wire->stuck_ns : sim_now();
}

/* When the descriptor shows something: what was read from it before does not count. */
int64_t hand_ready(struct pipe *pipe)
{
  struct wire *wire = pipe->wire;
  const int64_t ready_ns = wire_ready(wire);
  if (ready_ns > sim_now() || wire->lost || wire->garbled || sim_now() >= wire->end_ns) {
    return ready_ns;
  }
  for (unsigned i = 0; i < wire->count && wire->sent[i].finished; i++) {
    if (wire->sent[i].answer_ns > pipe->taken_in_ns) {
      return wire->sent[i].answer_ns;
    }
  }
  if (!wire->sent[0].finished) {
    return ready_ns; /* enough */
  }
  for (unsigned i = 0; i < wire->count; i++) { /* the next one that is on its way */
    if (!wire->sent[i].finished) {
      const int64_t soon_ns = sim_now() + pipe_world->config.latency_ns;
      return soon_ns < wire->end_ns ? soon_ns : wire->end_ns;
    }
  }
  return wire->end_ns;
}

static bool is_over(const struct pipeline_todo *todo, const struct wire *wire)
{
  return todo->wants.done_fd >= 0 && !wire_cancelling(wire);
}

static void poll_input(struct pipeline_todo *todo, struct pipeline_did *did)
{
  struct pipe *pipe = (struct pipe *)todo->pipeline;
  struct wire *wire = pipe->wire;
  did->what = PIPELINE_POLLED;
  if (wire == NULL) { /* gone meanwhile: as a descriptor that was closed under us */
    sim_fail("somebody polls a connection that was given back");
    return;
  }
  if (todo->wants.fd != (int)wire->id) {
    sim_fail("somebody polls descriptor %d, the connection is %u", todo->wants.fd, wire->id);
  }
  wire->pollers++;
  for (;;) {
    sim_quiet(true);
    const uint32_t seen = atomic_load_explicit(&wire->bell, memory_order_acquire);
    sim_quiet(false);
    if (pipe->nudged) {
      pipe->nudged = false;
      break;
    }
    if (wire->closed || pipe->wire != wire) {
      sim_fail("connection %u went back under its poller", wire->id);
      break;
    }
    int64_t until_ns = hand_ready(pipe);
    const int64_t write_ns = hand_writable(pipe, &todo->wants);
    did->revents =
        (short)((until_ns <= sim_now() ? CAN_READ : 0) | (write_ns <= sim_now() ? CAN_WRITE : 0));
    if (did->revents != 0) {
      break;
    }
    until_ns = write_ns < until_ns ? write_ns : until_ns;
    if (is_over(todo, wire)) {
      did->more = true;
      break;
    }
    if (sim_now() >= todo->until_ns) {
      break;
    }
    until_ns = until_ns < todo->until_ns ? until_ns : todo->until_ns;
    if (todo->wants.done_fd >= 0 && wire->quiet_ns < until_ns) {
      until_ns = wire->quiet_ns;
    }
    sim_park(&wire->bell, seen, until_ns);
  }
  wire->pollers--;
}

/* ----------------------------------------------------------------------- inside */

static void feed(const struct pipeline_todo *todo, struct pipeline_did *did, cenote_error *error)
{
  struct pipe *pipe = pipe_of(todo->pipeline);
  did->what = PIPELINE_FED;
  wire_use(pipe->wire);
  if (pipe->wire->count != todo->depth) {
    sim_fail("connection %u has %u in flight, the core says %u", pipe->wire->id, pipe->wire->count,
             todo->depth);
  }
  for (uint32_t i = 0; i < todo->count && did->status == CENOTE_OK; i++) {
    const struct pipeline_flight *flight = pipeline_flight_at(todo->pipeline, todo->first + i);
    struct caller *caller = (struct caller *)flight->call;
    if (caller == NULL && !flight->check) {
      sim_fail("a statement is to be sent that nobody waits for");
    }
    if (caller != NULL && caller->order->settled) {
      sim_fail("order %llu is sent after it was settled", (unsigned long long)caller->order->tag);
    }
    did->status = wire_push(pipe->wire, caller != NULL ? caller->order : NULL,
                            (void *)(uintptr_t)(todo->first + i + 1));
    if (did->status == CENOTE_OK) {
      did->pushed++;
      if (caller != NULL) {
        caller->order->again_seq = 0;
      }
      pipe->feeding = pipe->feeding || caller != NULL;
      sim_note("push order %llu on connection %u",
               (unsigned long long)(caller != NULL ? caller->order->tag : 0), pipe->wire->id);
    }
    sim_step();
    if ((struct caller *)flight->call != caller) {
      sim_fail("a statement is abandoned while it is sent");
    }
  }
  if (did->status != CENOTE_OK) {
    cenote_error_set(error, did->status, "not sent");
    did->error = error;
  }
  if (sim_chance(3)) { /* input was taken in while pushing */
    did->more = hand_ready(pipe) <= sim_now() || sim_chance(8);
    pipe->taken_in_ns = sim_now();
  }
  describe(pipe, did);
  wire_done(pipe->wire);
}

static enum pipeline_verdict verdict_of(cenote_answer answer, const struct sent *sent)
{
  switch (answer) {
  case CENOTE_ANSWER_DONE:
    return PIPELINE_SUCCEEDED;
  case CENOTE_ANSWER_REPEAT:
    return PIPELINE_STALE;
  case CENOTE_ANSWER_ENOUGH:
    return PIPELINE_ENOUGH;
  default:
    return sent->outcome == OUTCOME_CANCELLED && !sent->enough_told ? PIPELINE_ASKED_TO_STOP
                                                                    : PIPELINE_ERRED;
  }
}

static void tell_error(cenote_error *error, const struct sent *sent)
{
  memset(error, 0, sizeof *error);
  error->size = sizeof *error;
  error->status = CENOTE_DATABASE;
  if (sent->order != NULL) {
    cenote_error_set(error, CENOTE_DATABASE, "order %llu: outcome %d",
                     (unsigned long long)sent->order->tag, (int)sent->outcome);
  }
}

struct reading {
  struct pipeline_answer answers[PIPE_ANSWERS];
  cenote_error errors[PIPE_ANSWERS];
  struct order *orders[PIPE_ANSWERS];
  cenote_error lost;
};

static void read_answers(const struct pipeline_todo *todo, struct pipeline_did *did,
                         struct reading *reading)
{
  struct pipe *pipe = pipe_of(todo->pipeline);
  struct wire *wire = pipe->wire;
  did->what = PIPELINE_READ_SOME;
  did->answers = reading->answers;
  wire_use(wire);
  const uint32_t batch = 1 + (uint32_t)sim_random(PIPE_ANSWERS);
  uint32_t number = todo->pipeline->first;
  while (did->count < batch) {
    struct sent sent;
    const cenote_answer answer = wire_read(wire, &sent);
    pipe->taken_in_ns = sim_now();
    sim_step();
    if (answer == CENOTE_ANSWER_NONE) {
      break;
    }
    if (answer == CENOTE_ANSWER_LOST) {
      did->status = CENOTE_CONNECTION_LOST;
      cenote_error_set(&reading->lost, CENOTE_CONNECTION_LOST, "connection %u is lost", wire->id);
      did->error = &reading->lost;
      break;
    }
    if ((uint32_t)(uintptr_t)sent.flight != number + 1) {
      sim_fail("connection %u: the oldest is flight %u, the core thinks %u", wire->id,
               (uint32_t)(uintptr_t)sent.flight - 1, number);
    }
    struct pipeline_answer *said = &reading->answers[did->count];
    memset(said, 0, sizeof *said);
    said->verdict = verdict_of(answer, &sent);
    reading->orders[did->count] = sent.order;
    said->ours = sent.outcome == OUTCOME_ENOUGH;
    tell_error(&reading->errors[did->count], &sent);
    said->error = said->verdict == PIPELINE_SUCCEEDED ? NULL : &reading->errors[did->count];
    if (said->verdict == PIPELINE_SUCCEEDED && sent.order != NULL) {
      said->result = result_new(sent.order);
    }
    number += said->verdict != PIPELINE_ENOUGH;
    sim_note("read of connection %u: order %llu, verdict %d", wire->id,
             (unsigned long long)(sent.order != NULL ? sent.order->tag : 0), (int)said->verdict);
    did->count++;
  }
  did->more = did->count == batch;
  describe(pipe, did);
  wire_done(wire);
}

static void end_reading(struct pipeline_did *did)
{
  for (uint32_t i = 0; i < did->count; i++) {
    if (did->answers[i].result != NULL) { /* nobody's: a ghost's */
      result_free(did->answers[i].result);
    }
  }
}

static void give_back(const struct pipeline_todo *todo, struct pipeline_did *did)
{
  struct pipe *pipe = pipe_of(todo->pipeline);
  did->what = PIPELINE_RETURNED;
  wire_use(pipe->wire);
  wire_done(pipe->wire);
  if (pipe->wire->pollers > 0) {
    sim_fail("connection %u goes back, and somebody polls it", pipe->wire->id);
  }
  lender_give_back(pipe);
}

static void stop(const struct pipeline_todo *todo, struct pipeline_did *did)
{
  struct pipe *pipe = pipe_of(todo->pipeline);
  wire_use(pipe->wire);
  pipe->stopped_ns = sim_now();
  if (todo->kind == PIPELINE_CANCEL) {
    did->what = PIPELINE_CANCELLED;
    wire_cancel(pipe->wire);
  } else {
    did->what = PIPELINE_ABORTED;
    wire_abort(pipe->wire);
  }
  sim_step();
  describe(pipe, did);
  wire_done(pipe->wire);
}

/* ---------------------------------------------------------------------- outside */

static void granted(struct pipe *pipe, struct pipeline_did *did)
{
  ledger_granted(did->role);
  did->pipeline = &pipe->pipeline;
  did->serial = pipe->serial;
  did->proven = sim_chance(2);
  describe(pipe, did);
}

static bool take_answer(unsigned roles, struct pipeline_did *did)
{
  struct pipe *pipe;
  memset(did, 0, sizeof *did);
  did->what = PIPELINE_ASKED;
  if (!lender_answered(roles, &pipe, &did->role, &did->status)) {
    return false;
  }
  if (pipe != NULL) {
    granted(pipe, did);
  } else {
    static cenote_error why;
    cenote_error_set(&why, did->status, "no connection");
    did->error = &why;
  }
  return true;
}

bool hand_granted(unsigned roles, struct pipeline_did *did)
{
  for (enum pipeline_role role = 0; role < PIPELINE_ROLES; role++) {
    if ((roles >> role & 1u) != 0 && !pipeline_is_waiting(&pipe_world->set, role)) {
      roles &= ~(1u << role); /* its asker has not said yet that it waits */
    }
  }
  return take_answer(roles, did);
}

static void ask_for(const struct pipeline_todo *todo, struct pipeline_did *did, cenote_error *error)
{
  did->what = PIPELINE_ASKED;
  did->role = todo->role;
  struct pipe *pipe = lender_ask_shared(todo->role, &did->status);
  if (pipe != NULL) {
    granted(pipe, did);
  } else if (did->status != CENOTE_OK) {
    cenote_error_set(error, did->status, "no connection");
    did->error = error;
  }
}

static void withdraw(const struct pipeline_todo *todo, struct pipeline_did *did)
{
  did->what = PIPELINE_ASKED;
  did->role = todo->role;
  if (lender_withdraw(todo->role)) {
    did->status = CENOTE_CANCELLED;
    return;
  }
  take_answer(1u << todo->role, did); /* it came all the same */
}

/* ------------------------------------------------------------------------ steps */

/* What the core decides is judged by what it had been told before. */
static void judge(const struct pipeline_todo *todo, uint64_t seq)
{
  if (todo->kind != PIPELINE_FEED) {
    return;
  }
  const struct pipe *pipe = (const struct pipe *)todo->pipeline;
  const struct wire *wire = pipe->wire;
  bool statements = false;
  for (uint32_t i = 0; i < todo->count; i++) {
    statements = statements || !pipeline_flight_at(todo->pipeline, todo->first + i)->check;
  }
  if (todo->count == 0 || todo->count > PIPELINE_BATCH) {
    sim_fail("%u statements are to be sent at once", todo->count);
  }
  if (!statements) {
    return;
  }
  if (pipe->want_seq != 0 && pipe->want_seq <= seq) {
    sim_fail("connection %u is fed although it is wanted back", wire->id);
  }
  if (pipe->broken_seq != 0 && pipe->broken_seq <= seq) {
    sim_fail("connection %u is fed although a cancel may be astray", wire->id);
  }
  if (pipe_world->drained_seq != 0 && pipe_world->drained_seq <= seq) {
    sim_fail("connection %u is fed after the drain", wire->id);
  }
  if (todo->depth + todo->count > pipe_world->config.limits.depth + 1) {
    sim_fail("connection %u: %u in flight, %u are allowed", wire->id, todo->depth + todo->count,
             pipe_world->config.limits.depth);
  }
  /* Old is a head that was still there when somebody looked. */
  const int64_t age_ns = pipe->looked_ns - pipe->head_since_ns;
  if (todo->depth > 0 && age_ns > pipe_world->config.limits.slow_ns) {
    sim_fail("connection %u is fed behind a head that is %lld us old", wire->id,
             (long long)age_ns / SIM_US);
  }
}

/* Our own idea of since when the oldest is. Before the step: nobody else is inside. */
static void keep_head(const struct pipeline_did *did, struct pipeline *pipeline, int64_t now_ns)
{
  struct pipe *pipe = (struct pipe *)pipeline;
  if (did->what == PIPELINE_FED && pipe->wire->count == did->pushed) {
    pipe->head_since_ns = now_ns;
  }
  for (uint32_t i = 0; did->what == PIPELINE_READ_SOME && i < did->count; i++) {
    if (did->answers[i].verdict != PIPELINE_ENOUGH) {
      pipe->head_since_ns = now_ns;
    }
  }
  if (did->what == PIPELINE_READ_SOME && !did->more) {
    pipe->looked_ns = now_ns;
  }
}

static const char *const done_names[] = {"nothing",   "asked",   "fed",      "read",
                                         "cancelled", "aborted", "returned", "polled"};

static void note_step(const char *done, const struct pipeline_todo *todo)
{
  static const char *const to_do[] = {"rest",   "settle", "ask",     "feed", "read",
                                      "cancel", "abort",  "return",  "poll", "park",
                                      "watch",  "forget", "withdraw"};
  if (todo->until_ns > 0 && todo->until_ns < PIPELINE_NEVER) {
    sim_note("  %s -> %s, until %.3f", done, to_do[todo->kind], (double)todo->until_ns / SIM_MS);
  } else {
    sim_note("  %s -> %s", done, to_do[todo->kind]);
  }
}

/* Who was rolled back by a cancel that was not meant for it, or had a stale plan, goes first. */
static void mark_again(const struct pipeline_did *did, const struct reading *reading)
{
  for (uint32_t i = 0; i < did->count; i++) {
    struct order *order = reading->orders[i];
    if (order != NULL && (did->answers[i].verdict == PIPELINE_ASKED_TO_STOP ||
                          did->answers[i].verdict == PIPELINE_STALE)) {
      order->again_seq = ++pipe_world->seq;
    }
  }
}

static bool is_queued(const struct order *order)
{
  return !order->settled && order->caller->call.place == PIPELINE_QUEUED;
}

/* No newcomer is sent while somebody waits who had been sent before. */
static void judge_turn(const struct pipeline_todo *todo, uint64_t seq)
{
  for (uint32_t i = 0; i < todo->count; i++) {
    const struct pipeline_flight *flight = pipeline_flight_at(todo->pipeline, todo->first + i);
    if (flight->check || ((struct caller *)flight->call)->order->pushed > 0) {
      continue;
    }
    const struct order *newcomer = ((struct caller *)flight->call)->order;
    for (struct order *order = pipe_world->orders; order != NULL; order = order->next) {
      if (order->again_seq != 0 && order->again_seq <= seq && order->reads == newcomer->reads &&
          is_queued(order)) {
        sim_fail("order %llu is sent, and order %llu waits to be sent again",
                 (unsigned long long)newcomer->tag, (unsigned long long)order->tag);
      }
    }
  }
}

static void step(struct pipeline_hand *hand, struct pipeline_did *did, struct pipeline_todo *todo,
                 const struct reading *reading)
{
  struct pipeline_wakes wakes;
  memset(&wakes, 0, sizeof wakes);
  struct pipeline *in = did->what == PIPELINE_ASKED ? did->pipeline : todo->pipeline;
  const int64_t now_ns = sim_now();
  if (did->what == PIPELINE_FED || did->what == PIPELINE_READ_SOME) {
    keep_head(did, in, now_ns);
  }
  const uint64_t seq = pipe_world->seq;
  const bool told_wanted = did->wanted && in != NULL;
  const bool told_broken = did->broken && in != NULL;
  pipeline_step(&pipe_world->set, hand, did, now_ns, todo, &wakes);
  note_step(done_names[did->what], todo);
  if (told_wanted && ((struct pipe *)in)->fed && ((struct pipe *)in)->want_seq == 0) {
    ((struct pipe *)in)->want_seq = ++pipe_world->seq;
  }
  if (did->what == PIPELINE_FED) { /* from the next report on it heeds what the pool wants */
    ((struct pipe *)in)->fed = ((struct pipe *)in)->feeding;
  }
  if (told_broken && ((struct pipe *)in)->broken_seq == 0) {
    ((struct pipe *)in)->broken_seq = ++pipe_world->seq;
  }
  if (did->what == PIPELINE_ASKED && did->pipeline == NULL && did->status == CENOTE_OK &&
      hand->call != NULL) {
    pipe_ring_loop(); /* it looks after the wait from now on */
  }
  if (did->what == PIPELINE_READ_SOME) {
    mark_again(did, reading);
    end_reading(did);
  } else if (did->what == PIPELINE_RETURNED) {
    ((struct pipe *)in)->granted = false;
  }
  judge(todo, seq);
  if (todo->kind == PIPELINE_FEED) {
    judge_turn(todo, seq);
  }
  pipe_deliver(&wakes);
}

static bool perform(struct pipeline_todo *todo, struct pipeline_did *did, struct caller *caller,
                    struct reading *reading)
{
  memset(did, 0, sizeof *did);
  switch (todo->kind) {
  case PIPELINE_ASK:
    ask_for(todo, did, &reading->lost);
    break;
  case PIPELINE_FEED:
    feed(todo, did, &reading->lost);
    break;
  case PIPELINE_READ:
    read_answers(todo, did, reading);
    break;
  case PIPELINE_CANCEL:
  case PIPELINE_ABORT:
    stop(todo, did);
    break;
  case PIPELINE_RETURN:
    give_back(todo, did);
    break;
  case PIPELINE_POLL:
    poll_input(todo, did);
    break;
  case PIPELINE_PARK:
    sim_park(&caller->call.signal, PIPELINE_PARKED, todo->until_ns);
    caller->over =
        atomic_load_explicit(&caller->call.signal, memory_order_acquire) == PIPELINE_OVER;
    return !caller->over;
  case PIPELINE_WITHDRAW:
    withdraw(todo, did);
    break;
  case PIPELINE_WATCH:
    pipe_of(todo->pipeline)->watched = true;
    pipe_of(todo->pipeline)->watch = *todo;
    pipe_of(todo->pipeline)->watch.until_ns = todo->until_ns > 0 ? todo->until_ns : INT64_MAX;
    break;
  case PIPELINE_FORGET:
    ((struct pipe *)todo->pipeline)->watched = false;
    break;
  case PIPELINE_SETTLE:
    caller->over = true;
    return false;
  default: /* REST */
    return false;
  }
  return true;
}

static int64_t go_on(struct pipeline_hand *hand, struct pipeline_todo *todo, struct caller *caller)
{
  struct reading *reading = calloc(1, sizeof *reading);
  struct pipeline_did did;
  while (perform(todo, &did, caller, reading)) {
    step(hand, &did, todo, reading);
  }
  free(reading);
  return todo->until_ns;
}

int64_t hand_run(struct pipeline_hand *hand, struct pipeline_did *did, struct caller *caller)
{
  struct pipeline_todo todo;
  memset(&todo, 0, sizeof todo);
  step(hand, did, &todo, NULL);
  return go_on(hand, &todo, caller);
}

void hand_submit(struct caller *caller, bool drive)
{
  struct pipeline_todo todo;
  struct pipeline_wakes wakes;
  memset(&todo, 0, sizeof todo);
  memset(&wakes, 0, sizeof wakes);
  const uint64_t seq = pipe_world->seq;
  const int64_t now_ns = sim_now();
  struct pipeline_hand *hand = &caller->call.hand;
  pipeline_submit(&pipe_world->set, &caller->call, drive, now_ns, &todo, &wakes);
  note_step("submitted", &todo);
  judge(&todo, seq);
  if (todo.kind == PIPELINE_FEED) {
    judge_turn(&todo, seq);
  }
  pipe_deliver(&wakes);
  go_on(hand, &todo, caller);
}
