/* pipe_server.c - backends, and the way to them. */
#include "sim/pipe_server.h"

#include "sim/pipe_world.h"

#include <stdlib.h>
#include <string.h>

#define NOT_SENT (INT64_MAX / 2)

static const int64_t HIDDEN_NS = 40 * SIM_MS; /* until a silent death is noticed by itself */

struct wire *wire_new(unsigned id)
{
  struct wire *wire = calloc(1, sizeof *wire);
  if (wire == NULL) {
    abort();
  }
  wire->id = id;
  wire->end_ns = INT64_MAX;
  wire->stop_ns = INT64_MAX;
  atomic_init(&wire->bell, 0);
  return wire;
}

void wire_use(struct wire *wire)
{
  if (wire->closed) {
    sim_fail("connection %u is used after it was given back", wire->id);
  }
  if (wire->users != 0) {
    sim_fail("two are inside connection %u", wire->id);
  }
  wire->users = 1;
}

void wire_done(struct wire *wire)
{
  if (wire->users != 1) {
    sim_fail("connection %u: somebody leaves who was not inside", wire->id);
  }
  wire->users = 0;
}

static void must_be_inside(const struct wire *wire, const char *what)
{
  if (wire->users != 1) {
    sim_fail("connection %u: %s, and nobody is inside", wire->id, what);
  }
}

/* ------------------------------------------------------------------- the backend */

static struct sent *running(struct wire *wire)
{
  for (unsigned i = 0; i < wire->count; i++) {
    if (!wire->sent[i].finished) {
      return &wire->sent[i];
    }
  }
  return NULL;
}

static enum outcome planned(const struct wire *wire, const struct sent *sent)
{
  struct order *order = sent->order;
  if (order == NULL) {
    return OUTCOME_DONE;
  }
  if (order->plan == PLAN_STALE && order->stale > 0) {
    order->stale--;
    return OUTCOME_STALE;
  }
  if (order->write && wire->read_only) {
    return OUTCOME_READ_ONLY;
  }
  switch (order->plan) {
  case PLAN_ERROR:
    return OUTCOME_ERROR;
  case PLAN_TIMEOUT:
    return OUTCOME_TIMEOUT;
  case PLAN_ENOUGH:
    return OUTCOME_ENOUGH;
  default:
    return OUTCOME_DONE;
  }
}

static void finish(struct wire *wire, struct sent *sent, enum outcome outcome, int64_t when_ns)
{
  sent->finished = true;
  sent->outcome = outcome;
  sent->answer_ns = when_ns + pipe_world->config.latency_ns;
  wire->free_ns = when_ns;
  if (sent->order == NULL) {
    return;
  }
  if (outcome == OUTCOME_CANCELLED) {
    sent->order->stopped++;
  } else if (outcome == OUTCOME_DONE || outcome == OUTCOME_ENOUGH) {
    ledger_executed(sent->order);
  }
}

static void drop_cancel(struct wire *wire, unsigned index)
{
  wire->cancels--;
  memmove(&wire->cancel_ns[index], &wire->cancel_ns[index + 1],
          (wire->cancels - index) * sizeof wire->cancel_ns[0]);
}

static unsigned first_cancel(const struct wire *wire)
{
  unsigned first = 0;
  for (unsigned i = 1; i < wire->cancels; i++) {
    first = wire->cancel_ns[i] < wire->cancel_ns[first] ? i : first;
  }
  return first;
}

/* Cancels and ends of statements, each at its time, up to then. */
static void run_until(struct wire *wire, int64_t until_ns)
{
  for (;;) {
    struct sent *sent = running(wire);
    const int64_t start_ns = sent == NULL || sent->arrives_ns > wire->free_ns
                                 ? (sent != NULL ? sent->arrives_ns : 0)
                                 : wire->free_ns;
    const int64_t end_ns = sent != NULL ? start_ns + sent->duration_ns : INT64_MAX;
    const unsigned index = first_cancel(wire);
    if (wire->cancels > 0 && wire->cancel_ns[index] <= until_ns &&
        wire->cancel_ns[index] < end_ns) {
      const int64_t hit_ns = wire->cancel_ns[index];
      drop_cancel(wire, index);
      if (sent != NULL && start_ns <= hit_ns) {
        finish(wire, sent, OUTCOME_CANCELLED, hit_ns);
      }
      continue;
    }
    if (sent == NULL || end_ns > until_ns) {
      return;
    }
    finish(wire, sent, planned(wire, sent), end_ns);
  }
}

void wire_catch_up(struct wire *wire)
{
  if (!wire->dead) {
    const int64_t now_ns = sim_now();
    run_until(wire, now_ns < wire->stop_ns ? now_ns : wire->stop_ns);
    wire->dead = now_ns >= wire->stop_ns;
  }
}

void wire_kill(struct wire *wire, enum death how)
{
  wire_catch_up(wire);
  if (wire->dead || wire->closed) {
    return;
  }
  sim_note("connection %u dies%s", wire->id,
           how == DEATH_SILENT  ? " silently"
           : how == DEATH_RESET ? " with what it answered"
                                : "");
  wire->dead = true;
  wire->unread_lost = how != DEATH_CLEAN;
  wire->end_ns = sim_now() + (how == DEATH_SILENT ? HIDDEN_NS : pipe_world->config.latency_ns);
  pipe_wire_changed(wire);
}

/* --------------------------------------------------------------------- the driver */

bool wire_is_unsent(const struct wire *wire)
{
  return wire->count > 0 && wire->sent[wire->count - 1].arrives_ns == NOT_SENT;
}

/* In a push or a read: what could not be written before. */
static void flush(struct wire *wire)
{
  if (sim_now() < wire->stuck_ns) {
    return;
  }
  wire->stuck_ns = 0;
  for (unsigned i = 0; i < wire->count; i++) {
    if (wire->sent[i].arrives_ns == NOT_SENT) {
      wire->sent[i].arrives_ns = sim_now() + pipe_world->config.latency_ns;
    }
  }
}

static bool sees_the_end(const struct wire *wire)
{
  return wire->lost || sim_now() >= wire->end_ns;
}

cenote_status wire_push(struct wire *wire, struct order *order, void *flight)
{
  must_be_inside(wire, "a push");
  wire_catch_up(wire);
  if (!wire->entered) {
    sim_fail("connection %u: a push outside pipeline mode", wire->id);
  }
  if (wire_cancelling(wire)) {
    sim_fail("connection %u: fed while a cancel is under way", wire->id);
  }
  if (sees_the_end(wire)) {
    wire->lost = wire->lost || wire->count == 0; /* else a read finds what came before */
    return CENOTE_CONNECTION_LOST;
  }
  if (order != NULL && order->plan == PLAN_INVALID) {
    return CENOTE_INVALID;
  }
  if (pipe_allows(PIPE_FAULT_SOCKET, 8)) {
    wire->stuck_ns = sim_now() + (int64_t)sim_random((uint64_t)pipe_world->config.statement_ns * 2);
  }
  if (wire->count == WIRE_SENT) {
    sim_fail("connection %u: more than %d in flight", wire->id, WIRE_SENT);
    return CENOTE_INVALID;
  }
  struct sent *sent = &wire->sent[wire->count++];
  memset(sent, 0, sizeof *sent);
  sent->order = order;
  sent->flight = flight;
  sent->arrives_ns = NOT_SENT;
  flush(wire);
  sent->duration_ns = order != NULL ? order->duration_ns : pipe_world->config.statement_ns / 4;
  if (order != NULL) {
    order->pushed++;
  }
  pipe_wire_changed(wire);
  return CENOTE_OK;
}

static bool is_there(const struct wire *wire, int64_t answer_ns)
{
  if (wire->dead && wire->unread_lost) {
    return false;
  }
  return answer_ns <= sim_now();
}

static bool has_enough(const struct sent *sent)
{
  return sent->order != NULL && sent->order->plan == PLAN_ENOUGH && !sent->enough_told &&
         !sent->finished && sim_now() >= sent->arrives_ns + sent->duration_ns / 2;
}

static cenote_answer take_answer(struct wire *wire, struct sent *answer)
{
  *answer = wire->sent[0];
  wire->count--;
  memmove(&wire->sent[0], &wire->sent[1], wire->count * sizeof wire->sent[0]);
  wire->answers++;
  switch (answer->outcome) {
  case OUTCOME_DONE:
    return CENOTE_ANSWER_DONE;
  case OUTCOME_STALE:
    return CENOTE_ANSWER_REPEAT;
  default:
    return CENOTE_ANSWER_FAILED;
  }
}

cenote_answer wire_read(struct wire *wire, struct sent *answer)
{
  must_be_inside(wire, "a read");
  wire_catch_up(wire);
  memset(answer, 0, sizeof *answer);
  flush(wire);
  if (wire->lost || wire->garbled) {
    wire->lost = true;
    return CENOTE_ANSWER_LOST;
  }
  if (sim_now() < wire->mute_ns) {
    return CENOTE_ANSWER_NONE;
  }
  wire->mute_ns = 0;
  if (wire->count > 0 && pipe_allows(PIPE_FAULT_SOCKET, 30)) {
    wire->mute_ns = sim_now() + (int64_t)sim_random(SIM_MS);
    return CENOTE_ANSWER_NONE;
  }
  if (wire->count > 0) {
    struct sent *head = &wire->sent[0];
    if (head->finished && is_there(wire, head->answer_ns)) {
      return take_answer(wire, answer);
    }
    if (has_enough(head) && !wire->dead) {
      head->enough_told = true;
      *answer = *head;
      return CENOTE_ANSWER_ENOUGH;
    }
  }
  if (sees_the_end(wire)) {
    wire->lost = true;
    return CENOTE_ANSWER_LOST;
  }
  return CENOTE_ANSWER_NONE;
}

int64_t wire_ready(struct wire *wire)
{
  wire_catch_up(wire);
  if (wire->lost || wire->garbled) {
    return sim_now();
  }
  if (wire->mute_ns != 0) {
    return INT64_MAX;
  }
  int64_t ready_ns = wire->end_ns;
  if (wire->count == 0 || (wire->dead && wire->unread_lost)) {
    return ready_ns;
  }
  const struct sent *head = &wire->sent[0];
  int64_t answer_ns = INT64_MAX;
  if (head->finished) {
    answer_ns = head->answer_ns;
  } else if (!wire->dead && head->arrives_ns != NOT_SENT) {
    const int64_t start_ns = head->arrives_ns > wire->free_ns ? head->arrives_ns : wire->free_ns;
    answer_ns = start_ns + head->duration_ns + pipe_world->config.latency_ns;
    const unsigned index = first_cancel(wire);
    if (wire->cancels > 0 && wire->cancel_ns[index] + pipe_world->config.latency_ns < answer_ns) {
      answer_ns = wire->cancel_ns[index] + pipe_world->config.latency_ns;
    }
    if (head->order != NULL && head->order->plan == PLAN_ENOUGH && !head->enough_told &&
        head->arrives_ns + head->duration_ns / 2 < answer_ns) {
      answer_ns = head->arrives_ns + head->duration_ns / 2;
    }
  }
  return answer_ns < ready_ns ? answer_ns : ready_ns;
}

bool wire_cancelling(const struct wire *wire)
{
  return sim_now() < wire->quiet_ns;
}

/* Thread-safe: nobody need be inside. It travels for a while, and hits what runs when it arrives. */
void wire_cancel(struct wire *wire)
{
  wire_catch_up(wire);
  if (wire->closed) {
    sim_fail("a cancel for connection %u, which was given back", wire->id);
  }
  if (wire->count == 0 && !wire->lost && !wire->dead) {
    sim_note("cancel on connection %u, where nothing is in flight", wire->id);
  }
  if (wire->cancels == WIRE_CANCELS || wire->dead || wire->lost) {
    return;
  }
  const int64_t arrives_ns =
      sim_now() + (int64_t)sim_random((uint64_t)pipe_world->config.cancel_way_ns);
  sim_note("cancel on connection %u", wire->id);
  wire->cancel_ns[wire->cancels++] = arrives_ns;
  const bool astray = (pipe_world->config.faults & PIPE_FAULT_ASTRAY) != 0 && sim_chance(6);
  if (astray) { /* the way ended somewhere: it may still come */
    wire->broken = true;
    wire->quiet_ns = sim_now();
  } else if (arrives_ns > wire->quiet_ns) {
    wire->quiet_ns = arrives_ns;
  }
  pipe_wire_changed(wire);
}

static void hang_up(struct wire *wire)
{
  wire_catch_up(wire);
  if (!wire->dead) {
    wire->stop_ns = sim_now() + (int64_t)sim_random(4 * (uint64_t)pipe_world->config.statement_ns);
  }
  pipe_wire_changed(wire);
}

/* The client hangs up. The backend has what it has, and goes on with it until it notices. */
void wire_abort(struct wire *wire)
{
  if (wire->closed) {
    sim_fail("an abort for connection %u, which was given back", wire->id);
  }
  sim_note("abort connection %u", wire->id);
  wire->lost = true;
  hang_up(wire);
}

void wire_garble(struct wire *wire)
{
  if (!wire->closed) {
    sim_note("connection %u answers rubbish", wire->id);
    wire->garbled = true;
    hang_up(wire);
  }
}
