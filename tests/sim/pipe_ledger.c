/* pipe_ledger.c - what every statement did and what its caller was told, known independently of the
 * core; and, while nobody can run, whether somebody was forgotten. */
#include "sim/pipe_world.h"

#include "base/sanitized.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if CEN_SANITIZED_ADDRESS
#include <sanitizer/asan_interface.h>
#endif

#define ULL(number) ((unsigned long long)(number))

enum { POISON = 0xa5, MOST_TURNS = 4 };

static const int64_t PATIENCE_NS = INT64_C(3000) * SIM_MS; /* of a caller without a deadline */
static const int64_t SLACK_NS = 2 * SIM_MS;

static const char *const end_names[] = {"DONE", "FAILED",  "REFUSED",      "TIMEOUT",
                                        "SLOW", "STOPPED", "LOST",         "UNKNOWN",
                                        "SHUT", "FULL",    "NO_CONNECTION"};

/* --------------------------------------------------------------------- results */

struct result *result_new(const struct order *order)
{
  struct result *result = malloc(sizeof *result);
  result->tag = order->tag;
  pipe_world->results++;
  return result;
}

void result_free(struct result *result)
{
  pipe_world->results--;
  free(result);
}

/* -------------------------------------------------------------------- the truth */

void ledger_executed(struct order *order)
{
  order->executed++;
  if (order->reads && order->write) {
    sim_fail("order %llu writes, on a session that must refuse it or as a rerun of a read",
             ULL(order->tag));
  }
  if (order->reads) {
    return;
  }
  if (order->executed > 1) {
    sim_fail("order %llu is executed a second time, and it may write", ULL(order->tag));
  }
  if (order->undone) {
    sim_fail("order %llu is executed, and its caller was told that it is not (%s)", ULL(order->tag),
             end_names[order->end]);
  }
}

/* ----------------------------------------------------------------- what was told */

static bool is_own_error(const struct caller *caller)
{
  char own[64];
  snprintf(own, sizeof own, "order %llu:", ULL(caller->order->tag));
  return strncmp(caller->error.message, own, strlen(own)) == 0;
}

static void check_done(struct caller *caller)
{
  struct order *order = caller->order;
  struct result *result = caller->call.result;
  if (result == NULL) {
    sim_fail("order %llu: DONE without a result", ULL(order->tag));
  } else if (result->tag != order->tag) {
    sim_fail("order %llu has the rows of order %llu", ULL(order->tag), ULL(result->tag));
  } else {
    result_free(result);
  }
  if (order->executed == 0) {
    sim_fail("order %llu: DONE, and the database has not done it", ULL(order->tag));
  }
  if (!order->sent || !order->answered) {
    sim_fail("order %llu: DONE, and not sent and answered", ULL(order->tag));
  }
}

/* Each end has its reason. */
static void check_reason(struct caller *caller)
{
  const struct order *order = caller->order;
  const unsigned faults = pipe_world->config.faults;
  bool good = true;
  switch (order->end) {
  case PIPELINE_FAILED:
    good = is_own_error(caller) && (order->plan != PLAN_GOOD || (order->write && order->reads));
    break;
  case PIPELINE_REFUSED:
    good = order->plan == PLAN_INVALID && order->pushed == 0;
    break;
  case PIPELINE_TIMEOUT:
    good = sim_now() >= order->deadline_ns ||
           (order->patience_ns > 0 && (order->reads || !order->sent) &&
            sim_now() - order->submitted_ns >= order->patience_ns);
    break;
  case PIPELINE_SLOW:
    good = pipe_world->config.limits.statement_ns > 0 &&
           sim_now() - order->submitted_ns >= pipe_world->config.limits.statement_ns;
    break;
  case PIPELINE_STOPPED:
    good = order->cancelled;
    break;
  case PIPELINE_LOST:
    good = order->reads && order->pushed > 0;
    break;
  case PIPELINE_UNKNOWN:
    good = !order->reads && order->pushed > 0;
    break;
  case PIPELINE_SHUT:
    good = pipe_world->drain_begun;
    break;
  case PIPELINE_FULL:
    good = (faults & PIPE_FAULT_QUEUE) != 0;
    break;
  case PIPELINE_NO_CONNECTION:
    good = (faults & PIPE_FAULT_REFUSE) != 0 || pipe_world->drain_begun;
    break;
  default:
    break;
  }
  if (!good) {
    sim_fail("order %llu ends as %s, and there is no reason for it (%s)", ULL(order->tag),
             end_names[order->end], order->end == PIPELINE_FAILED ? caller->error.message : "");
  }
}

/* A write is told the truth about whether it happened, or that nobody knows. */
static void check_write(struct order *order)
{
  if (order->end == PIPELINE_DONE || order->end == PIPELINE_UNKNOWN) {
    return;
  }
  if (order->sent && !order->answered) {
    if (order->end != PIPELINE_FAILED) {
      sim_fail("order %llu may write, was sent and not answered, and ends as %s", ULL(order->tag),
               end_names[order->end]);
    }
    return;
  }
  order->undone = true;
  if (order->executed > 0) {
    sim_fail("order %llu may write, was executed, and its caller is told that it was not (%s)",
             ULL(order->tag), end_names[order->end]);
  }
}

void ledger_settled(struct caller *caller)
{
  struct order *order = caller->order;
  const struct pipeline_call *call = &caller->call;
  if (order->settled) {
    sim_fail("order %llu is settled twice", ULL(order->tag));
  }
  order->settled = true;
  order->end = (int)call->end;
  order->sent = call->sent;
  order->answered = call->answered;
  order->settled_ns = sim_now();
  if (order->end < 0 || order->end > PIPELINE_NO_CONNECTION) {
    sim_fail("order %llu ends as %d", ULL(order->tag), order->end);
    return;
  }
  sim_note("order %llu is over: %s%s%s", ULL(order->tag), end_names[order->end],
           order->sent ? ", sent" : "", order->answered ? ", answered" : "");
  pipe_world->ends[order->end]++;
  if (order->sent && order->pushed == 0) {
    sim_fail("order %llu: said to be sent, and was not", ULL(order->tag));
  }
  if (order->end == PIPELINE_DONE) {
    check_done(caller);
  }
  check_reason(caller);
  if (!order->reads) {
    check_write(order);
  }
  pipe_world->events++;
}

/* The caller's frame is gone: whoever touches it now is found out. */
void ledger_gone(struct caller *caller)
{
  memset(&caller->call, POISON, sizeof caller->call);
  memset(&caller->error, POISON, sizeof caller->error);
#if CEN_SANITIZED_ADDRESS
  __asan_poison_memory_region(&caller->call, sizeof caller->call);
#endif
  caller->next = pipe_world->gone;
  pipe_world->gone = caller;
}

static void check_gone(struct caller *caller)
{
#if CEN_SANITIZED_ADDRESS
  __asan_unpoison_memory_region(&caller->call, sizeof caller->call);
#endif
  const unsigned char *bytes = (const unsigned char *)&caller->call;
  for (size_t i = 0; i < sizeof caller->call; i++) {
    if (bytes[i] != POISON) {
      sim_fail("order %llu: its memory was touched after it was settled (byte %zu)",
               ULL(caller->order->tag), i);
      return;
    }
  }
}

/* ------------------------------------------------------------------------ turns */

static bool has_one(enum pipeline_role role)
{
  for (int i = 0; i < PIPE_PIPES; i++) {
    const struct pipe *pipe = &pipe_world->pipe[i];
    if (pipe->granted && pipe->pipeline.live && pipe->pipeline.role == role) {
      return true;
    }
  }
  return false;
}

static bool is_queued(const struct order *order, enum pipeline_role role)
{
  return !order->settled && order->submitted_ns != 0 && order->caller != NULL &&
         order->caller->call.place == PIPELINE_QUEUED && order->caller->call.role == role;
}

/* Where both roles have to do with the same connections, neither waits for ever: several turns in a
 * row of those who came later are too many, but for a few that were on their way. */
void ledger_granted(enum pipeline_role role)
{
  const enum pipeline_role other = role == PIPELINE_READER ? PIPELINE_WRITER : PIPELINE_READER;
  int64_t oldest_ns = INT64_MAX;
  const struct pipeline_set *set = &pipe_world->set;
  if (has_one(other) || set->asking[other] != PIPELINE_ASK_NONE || /* its turn has begun */
      sim_now() < set->ask_again_ns[other]) {                      /* it was refused one */
    return;
  }
  for (struct order *order = pipe_world->orders; order != NULL; order = order->next) {
    if (is_queued(order, role)) {
      oldest_ns = order->submitted_ns < oldest_ns ? order->submitted_ns : oldest_ns;
      order->passed = 0;
    }
  }
  for (struct order *order = pipe_world->orders; order != NULL; order = order->next) {
    if (is_queued(order, other) && order->submitted_ns < oldest_ns &&
        ++order->passed > MOST_TURNS) {
      sim_fail("order %llu waits, and the other role has had %u turns in a row for later ones",
               ULL(order->tag), order->passed);
      return;
    }
  }
}

/* ----------------------------------------------------------- while nobody can run */

/* When its caller ought to be told; `patience`: or somewhat later. */
static int64_t due_of(const struct order *order, int64_t *patience)
{
  const struct pipeline_limits *limits = &pipe_world->config.limits;
  int64_t due_ns = order->deadline_ns;
  *patience = 2 * limits->cancel_ns + pipe_world->config.cancel_way_ns + SLACK_NS;
  if (order->cancelled && order->cancelled_ns < due_ns) {
    due_ns = order->cancelled_ns;
  }
  if (due_ns == PIPELINE_NEVER) {
    due_ns = order->submitted_ns;
    *patience = PATIENCE_NS;
  }
  if (pipe_world->config.sim.delay_every >
      0) { /* whoever could do it may be stopped, again and again */
    *patience = 10 * PATIENCE_NS;
  }
  return due_ns;
}

static void check_callers(void)
{
  for (struct order *order = pipe_world->orders; order != NULL; order = order->next) {
    if (order->settled || order->submitted_ns == 0) {
      continue;
    }
    int64_t patience_ns;
    const int64_t due_ns = due_of(order, &patience_ns);
    if (sim_now() < due_ns) {
      continue;
    }
    if (order->overdue_ns == 0) {
      order->overdue_ns = sim_now();
    } else if (sim_now() - order->overdue_ns > patience_ns) {
      sim_fail("order %llu is not settled, %lld us after its time", ULL(order->tag),
               (long long)(sim_now() - due_ns) / SIM_US);
    }
  }
}

/* A statement has its own time from when it is the oldest. */
static void check_head(const struct pipe *pipe)
{
  const struct wire *wire = pipe->wire;
  const int64_t statement_ns = pipe_world->config.limits.statement_ns;
  if (statement_ns == 0 || wire->count == 0 || wire->users > 0 || wire_cancelling(wire) ||
      pipe->stopped_ns >= pipe->head_since_ns) {
    return;
  }
  if (sim_now() > pipe->head_since_ns + statement_ns + SLACK_NS) {
    sim_fail("connection %u: the oldest has run for %lld us, and nobody cancels it", wire->id,
             (long long)(sim_now() - pipe->head_since_ns) / SIM_US);
  }
}

static void check_drivers(void)
{
  for (int i = 0; i < PIPE_PIPES; i++) {
    const struct pipe *pipe = &pipe_world->pipe[i];
    if (!pipe->granted || pipe->wire == NULL) {
      continue;
    }
    const struct wire *wire = pipe->wire;
    if (wire->count > 0 && wire->pollers == 0 && wire->users == 0 && !pipe->watched) {
      sim_fail("connection %u has %u in flight, and nobody waits for the answers", wire->id,
               wire->count);
    }
    if (wire->count > 0 && wire->sent[0].finished && !(wire->dead && wire->unread_lost) &&
        !wire->garbled && wire->mute_ns == 0 && wire->users == 0 &&
        sim_now() > wire->sent[0].answer_ns + SLACK_NS / 4) {
      sim_fail("connection %u: an answer has come %lld us ago, and nobody reads it", wire->id,
               (long long)(sim_now() - wire->sent[0].answer_ns) / SIM_US);
    }
    check_head(pipe);
    if (wire->pollers > 1) {
      sim_fail("connection %u: %d wait for its input", wire->id, wire->pollers);
    }
  }
}

/* It is to go back, nothing is in flight, and it stands there. */
static void check_returns(void)
{
  for (int i = 0; i < PIPE_PIPES; i++) {
    const struct pipe *pipe = &pipe_world->pipe[i];
    const struct pipeline *pipeline = &pipe->pipeline;
    if (!pipe->granted || pipe->wire == NULL || !pipeline->live || pipeline->inside != NULL ||
        pipe->wire->users > 0 || wire_cancelling(pipe->wire)) {
      continue;
    }
    const bool goes = pipeline->draining || pipeline->dead || pipe_world->set.shut;
    if (goes && (pipe->wire->count == 0 || pipe->wire->lost) && pipe->wire->pollers == 0) {
      sim_fail("connection %u is to go back, and nobody takes it there", pipe->wire->id);
    }
  }
}

static bool is_idle(const struct pipe *pipe, enum pipeline_role role)
{
  const struct pipeline *pipeline = &pipe->pipeline;
  return pipe->granted && pipe->wire != NULL && pipeline->live && pipeline->role == role &&
         pipeline->count == 0 && pipeline->inside == NULL && !pipeline->draining &&
         !pipeline->dead && !pipeline->condemned && !wire_cancelling(pipe->wire);
}

static void check_queue(enum pipeline_role role)
{
  const struct pipeline_set *set = &pipe_world->set;
  if (set->queued[role] == 0) {
    return;
  }
  if (set->shut) {
    sim_fail("%u are queued, and nothing is sent any more", set->queued[role]);
  }
  bool any = false, other_idle = false;
  for (int i = 0; i < PIPE_PIPES; i++) {
    const struct pipe *pipe = &pipe_world->pipe[i];
    any = any || (pipe->granted && pipe->pipeline.live && pipe->pipeline.role == role);
    other_idle = other_idle || (set->queued[1 - role] == 0 && is_idle(pipe, 1 - role));
    if (is_idle(pipe, role)) {
      sim_fail("%u are queued beside an idle connection %u", set->queued[role], pipe->wire->id);
    }
  }
  if (!any && other_idle && set->live >= set->limits.most &&
      set->asking[role] == PIPELINE_ASK_NONE && /* else the pool will want it back */
      sim_now() > set->ask_again_ns[role] + SLACK_NS) {
    sim_fail("%u are queued, and the other role keeps an idle connection", set->queued[role]);
  }
  const uint32_t other = set->asking[1 - role] != PIPELINE_ASK_NONE;
  if (!any && set->asking[role] == PIPELINE_ASK_NONE && set->live + other < set->limits.most &&
      sim_now() > set->ask_again_ns[role] + SLACK_NS) {
    sim_fail("%u are queued, and nobody asks for a connection", set->queued[role]);
  }
}

static void check_exclusive(void)
{
  for (int i = 0; i < PIPE_ASKS; i++) {
    struct ask *ask = &pipe_world->ask[i];
    if (!ask->active || ask->wire != NULL || ask->status != CENOTE_OK) {
      continue;
    }
    if (ask->overdue_ns == 0) {
      ask->overdue_ns = sim_now();
    } else if (sim_now() - ask->overdue_ns > 10 * PATIENCE_NS) {
      sim_fail("%s waits for a connection, for ever",
               ask->exclusive ? "an exclusive caller" : "the simple path");
    }
  }
}

void ledger_look_around(void)
{
  if (pipe_world->loop_waits) {
    return;
  }
  check_callers();
  check_drivers();
  check_returns();
  check_queue(PIPELINE_READER);
  check_queue(PIPELINE_WRITER);
  check_exclusive();
  if (!cen_list_empty(&pipe_world->set.settled)) {
    sim_fail("an asynchronous call is settled, and the loop does not know");
  }
}

/* ------------------------------------------------------------------------ the end */

void ledger_end(void)
{
  for (struct wire *wire = pipe_world->wires; wire != NULL; wire = wire->next) {
    if (!wire->closed) {
      sim_fail("connection %u is left", wire->id);
    }
  }
  sim_jump(INT64_C(10000) * SIM_MS); /* backends that were hung up on may still commit */
  for (struct wire *wire = pipe_world->wires; wire != NULL; wire = wire->next) {
    wire_catch_up(wire);
  }
  for (const struct order *order = pipe_world->orders; order != NULL; order = order->next) {
    if (!order->settled) {
      sim_fail("order %llu was never settled", ULL(order->tag));
    }
  }
  for (struct caller *caller = pipe_world->gone; caller != NULL; caller = caller->next) {
    check_gone(caller);
  }
  if (pipe_world->results != 0) {
    sim_fail("%u results are left", pipe_world->results);
  }
  struct pipeline_picture picture;
  sim_quiet(true);
  pipeline_look(&pipe_world->set, &picture);
  sim_quiet(false);
  if (picture.live != 0 || picture.in_flight != 0 || picture.queued != 0) {
    sim_fail("at the end: %u pipelines, %u in flight, %u queued", picture.live, picture.in_flight,
             picture.queued);
  }
}
