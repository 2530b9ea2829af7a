/* pipeline_flow.c - one pipeline's flights: pushed, answered, stopped, lost. */
#include "core/pipeline_inside.h"

#include <assert.h>

bool pipeline_is_usable(const struct pipeline *pipeline)
{
  return pipeline->live && !pipeline->dead && !pipeline->condemned && !pipeline->draining &&
         !pipeline->cancelling && !pipeline->aged;
}

bool pipeline_is_open(const struct pipeline_set *set, const struct pipeline *pipeline)
{
  return pipeline->count < set->limits.depth && !pipeline->proving && pipeline_is_usable(pipeline);
}

/* -------------------------------------------------------------------- pushing */

/* A write on a connection that died unnoticed would be of unknown outcome. */
static bool needs_check(const struct pipeline_set *set, const struct pipeline *pipeline,
                        int64_t now_ns)
{
  return pipeline->role == PIPELINE_WRITER && pipeline->count == 0 && !pipeline->fresh &&
         now_ns - pipeline->proven_ns > set->limits.check_after_ns;
}

static struct pipeline_flight *add_flight(struct pipeline *pipeline, struct pipeline_call *call)
{
  const uint32_t at = pipeline->first + pipeline->count;
  struct pipeline_flight *flight = pipeline_flight_at(pipeline, at);
  assert(pipeline->count < PIPELINE_RING);
  *flight = (struct pipeline_flight){.call = call, .role = pipeline->role};
  pipeline->count++;
  pipeline->taken++;
  if (call != NULL) {
    call->place = PIPELINE_TAKEN;
    call->pipeline = pipeline;
    call->flight = at;
  }
  return flight;
}

bool pipeline_feed(struct pipeline_set *set, struct pipeline *pipeline, int64_t now_ns,
                   struct pipeline_todo *todo, struct pipeline_wakes *wakes)
{
  struct cen_link *queue = &set->queue[pipeline->role];
  assert(pipeline->taken == 0);
  if (cen_list_empty(queue) || !pipeline_is_open(set, pipeline)) {
    return false;
  }
  const uint32_t depth = pipeline->count;
  if (needs_check(set, pipeline, now_ns)) {
    add_flight(pipeline, NULL)->check = true;
    pipeline->proving = true;
  } else {
    while (pipeline->count < set->limits.depth && pipeline->taken < PIPELINE_BATCH &&
           !cen_list_empty(queue)) {
      struct pipeline_call *call = CEN_CONTAINER(queue->next, struct pipeline_call, link);
      if (now_ns >= pipeline_call_deadline(call) && wakes->count < PIPELINE_WAKES / 2) {
        pipeline_mind_call(set, call, now_ns, wakes);
      } else {
        pipeline_dequeue(set, call);
        add_flight(pipeline, call);
      }
    }
  }
  if (pipeline->taken == 0) {
    return false;
  }
  todo->kind = PIPELINE_FEED;
  todo->pipeline = pipeline;
  todo->first = pipeline->first + depth;
  todo->count = pipeline->taken;
  todo->depth = depth;
  return true;
}

static void mark_sent(struct pipeline_set *set, struct pipeline *pipeline, int64_t now_ns)
{
  const uint32_t at = pipeline->first + pipeline_in_flight(pipeline);
  struct pipeline_flight *flight = pipeline_flight_at(pipeline, at);
  if (at == pipeline->first) {
    pipeline->head_since_ns = now_ns;
    pipeline->aged = false;
  }
  pipeline->taken--;
  flight->sent_ns = now_ns;
  if (flight->call != NULL) {
    pipeline->served = true;
    flight->call->place = PIPELINE_SENT;
    flight->call->sent = true;
    flight->call->sent_ns = now_ns;
    set->counters.sent++;
  }
}

/* What was not pushed goes back to where it was. */
static void untake(struct pipeline_set *set, struct pipeline *pipeline, int64_t now_ns,
                   struct pipeline_wakes *wakes)
{
  while (pipeline->taken > 0) {
    pipeline->taken--;
    pipeline->count--;
    const uint32_t at = pipeline->first + pipeline->count;
    struct pipeline_call *call = pipeline_flight_at(pipeline, at)->call;
    if (call != NULL) {
      pipeline_requeue(set, call, now_ns, wakes);
    } else {
      pipeline->proving = false;
    }
  }
}

/* The request itself was wrong: its owner is told, it was never in flight. */
static void refuse_next(struct pipeline_set *set, struct pipeline *pipeline,
                        const struct pipeline_did *did, int64_t now_ns,
                        struct pipeline_wakes *wakes)
{
  const uint32_t at = pipeline->first + pipeline_in_flight(pipeline);
  struct pipeline_call *call = pipeline_flight_at(pipeline, at)->call;
  if (call == NULL) {
    pipeline->condemned = true; /* not even a check can be sent */
    untake(set, pipeline, now_ns, wakes);
    return;
  }
  pipeline_flight_at(pipeline, at)->call = NULL;
  untake(set, pipeline, now_ns, wakes); /* with the refused one's place */
  call->status = did->status;
  *call->error = *did->error;
  pipeline_settle(set, call, PIPELINE_REFUSED, now_ns, wakes);
}

void pipeline_fed(struct pipeline_set *set, struct pipeline *pipeline,
                  const struct pipeline_did *did, int64_t now_ns, struct pipeline_wakes *wakes)
{
  assert(did->pushed <= pipeline->taken);
  for (uint32_t i = 0; i < did->pushed; i++) {
    mark_sent(set, pipeline, now_ns);
  }
  pipeline->fresh = pipeline->fresh && did->pushed == 0;
  if (did->status == CENOTE_CONNECTION_LOST) {
    untake(set, pipeline, now_ns, wakes);
    if (pipeline->count > 0) { /* what came before the end is still read: that finds it, too */
      pipeline->draining = pipeline->more = true;
    } else {
      pipeline_die(set, pipeline, did->error, now_ns, wakes);
    }
  } else if (did->status != CENOTE_OK && pipeline->taken > 0) {
    refuse_next(set, pipeline, did, now_ns, wakes);
  }
  assert(pipeline->taken == 0);
}

/* -------------------------------------------------------------------- answers */

static enum pipeline_end stopped_end(enum pipeline_stop stop)
{
  switch (stop) {
  case PIPELINE_STOP_DEADLINE:
    return PIPELINE_TIMEOUT;
  case PIPELINE_STOP_STATEMENT:
    return PIPELINE_SLOW;
  case PIPELINE_STOP_CALLER:
    return PIPELINE_STOPPED;
  default:
    return PIPELINE_FAILED;
  }
}

/* Nothing of it remains: it runs again, before those who came later. */
static void rerun(struct pipeline_set *set, struct pipeline_call *call, int64_t now_ns,
                  struct pipeline_wakes *wakes)
{
  call->sent = false;
  set->counters.reruns++;
  pipeline_requeue(set, call, now_ns, wakes);
}

/* `answered`: by the server, so that nothing of it remains. */
static void fail(struct pipeline_set *set, struct pipeline_call *call,
                 const struct pipeline_answer *answer, enum pipeline_end end, bool answered,
                 int64_t now_ns, struct pipeline_wakes *wakes)
{
  call->answered = answered;
  if (answer->error != NULL) {
    *call->error = *answer->error;
  }
  pipeline_settle(set, call, end, now_ns, wakes);
}

static void conclude(struct pipeline_set *set, const struct pipeline_flight *flight,
                     struct pipeline_answer *answer, int64_t now_ns, struct pipeline_wakes *wakes)
{
  struct pipeline_call *call = flight->call;
  switch (answer->verdict) {
  case PIPELINE_SUCCEEDED:
    call->answered = true;
    call->result = answer->result;
    answer->result = NULL;
    pipeline_settle(set, call, PIPELINE_DONE, now_ns, wakes);
    break;
  case PIPELINE_STALE:
    if (answer->passed_over && !call->alone) {
      call->alone = true; /* from now on nobody's error is its own */
      rerun(set, call, now_ns, wakes);
    } else if (call->repeats++ < PIPELINE_REPEATS) {
      rerun(set, call, now_ns, wakes);
    } else {
      fail(set, call, answer, PIPELINE_FAILED, true, now_ns, wakes);
    }
    break;
  case PIPELINE_ASKED_TO_STOP:
    if (flight->stop != PIPELINE_STOP_NONE) {
      fail(set, call, answer, stopped_end(flight->stop), true, now_ns, wakes);
    } else if (flight->exposed) {
      call->alone = true;
      rerun(set, call, now_ns, wakes); /* it was hit by a cancel that was meant for another */
    } else {
      fail(set, call, answer, set->shut ? PIPELINE_SHUT : PIPELINE_FAILED, true, now_ns, wakes);
    }
    break;
  default: /* where our own sink refused its rows, it may have come to its end all the same */
    fail(set, call, answer, PIPELINE_FAILED, !answer->ours && flight->stop != PIPELINE_STOP_ENOUGH,
         now_ns, wakes);
  }
}

static void check_answered(struct pipeline *pipeline, enum pipeline_verdict verdict)
{
  pipeline->proving = false;
  if (verdict == PIPELINE_SUCCEEDED) {
    pipeline->fresh = true;
  } else {
    pipeline->condemned = true;
  }
}

static void answer_one(struct pipeline_set *set, struct pipeline *pipeline,
                       struct pipeline_answer *answer, int64_t now_ns, struct pipeline_wakes *wakes)
{
  struct pipeline_flight *head = pipeline_head(pipeline);
  assert(pipeline_in_flight(pipeline) > 0);
  if (answer->verdict == PIPELINE_ENOUGH) {
    head->stop = head->stop == PIPELINE_STOP_NONE ? PIPELINE_STOP_ENOUGH : head->stop;
    return;
  }
  const struct pipeline_flight flight = *head;
  head->call = NULL;
  pipeline->first++;
  pipeline->count--;
  pipeline->head_since_ns = now_ns;
  pipeline->idle_since_ns = now_ns;
  pipeline->proven_ns = now_ns;
  pipeline->aged = false;
  if (flight.check) {
    check_answered(pipeline, answer->verdict);
  } else {
    set->counters.answered++;
    if (flight.call != NULL) {
      conclude(set, &flight, answer, now_ns, wakes);
    }
  }
}

void pipeline_answered(struct pipeline_set *set, struct pipeline *pipeline,
                       const struct pipeline_did *did, int64_t now_ns, struct pipeline_wakes *wakes)
{
  for (uint32_t i = 0; i < did->count; i++) {
    answer_one(set, pipeline, &did->answers[i], now_ns, wakes);
  }
  if (did->status != CENOTE_OK) {
    pipeline_die(set, pipeline, did->error, now_ns, wakes);
  }
}

/* -------------------------------------------------------------- stopping, dying */

void pipeline_cancelled(struct pipeline_set *set, struct pipeline *pipeline, int64_t now_ns)
{
  set->counters.cancels++;
  pipeline->cancelled_ns = now_ns;
  pipeline_head(pipeline)->cancelled = true;
  for (uint32_t i = 0; i < pipeline->count; i++) {
    pipeline_flight_at(pipeline, pipeline->first + i)->exposed = true;
  }
}

static void lose(struct pipeline_set *set, const struct pipeline *pipeline,
                 const struct pipeline_flight *flight, const cenote_error *error, int64_t now_ns,
                 struct pipeline_wakes *wakes)
{
  struct pipeline_call *call = flight->call;
  enum pipeline_end end = stopped_end(flight->stop);
  if (call->role == PIPELINE_WRITER) {
    end = PIPELINE_UNKNOWN;
  } else if (end == PIPELINE_FAILED) {
    end = set->shut && pipeline->condemned ? PIPELINE_SHUT : PIPELINE_LOST;
  }
  call->cut_off = pipeline->condemned;
  call->status = error != NULL ? error->status : CENOTE_OK; /* OK: there is no error to tell */
  if (error != NULL) {
    *call->error = *error;
  }
  pipeline_settle(set, call, end, now_ns, wakes);
}

void pipeline_die(struct pipeline_set *set, struct pipeline *pipeline, const cenote_error *error,
                  int64_t now_ns, struct pipeline_wakes *wakes)
{
  untake(set, pipeline, now_ns, wakes);
  set->counters.lost++;
  pipeline->dead = true;
  pipeline->cancelling = pipeline->proving = pipeline->more = false;
  pipeline->revents = 0;
  if (pipeline->poller != NULL && pipeline->poller->away) {
    wakes->nudge = pipeline; /* the descriptor it waits for is not worth waiting for */
  }
  while (pipeline->count > 0) {
    const struct pipeline_flight flight = *pipeline_head(pipeline);
    pipeline_head(pipeline)->call = NULL;
    pipeline->first++;
    pipeline->count--;
    if (flight.call != NULL) {
      lose(set, pipeline, &flight, error, now_ns, wakes);
    }
  }
}

/* ------------------------------------------------------------------------ time */

/* For its own, or for an earlier one that may hit it as well. */
static bool waits_for_cancel(const struct pipeline *pipeline, const struct pipeline_flight *head)
{
  return head->cancelled || (head->stop != PIPELINE_STOP_NONE && pipeline->cancelling);
}

int64_t pipeline_due(const struct pipeline_set *set, const struct pipeline *pipeline)
{
  const struct pipeline_limits *limits = &set->limits;
  if (pipeline->dead || pipeline->condemned) {
    return 0;
  }
  int64_t next = PIPELINE_NEVER;
  int64_t due = pipeline->wants.deadline_ns;
  if (pipeline_in_flight(pipeline) == 0) {
    next = pipeline->cancelling ? pipeline->cancelled_ns + limits->cancel_ns : next;
    return next < due ? next : due;
  }
  const struct pipeline_flight *head = pipeline_head(pipeline);
  const int64_t old =
      pipeline->aged ? pipeline->rescue_ns : pipeline->head_since_ns + limits->slow_ns;
  due = due < old ? due : old;
  if (waits_for_cancel(pipeline, head)) {
    next = pipeline->cancelled_ns + limits->cancel_ns;
  } else if (head->check) {
    next = pipeline->head_since_ns + limits->check_ns;
  } else if (head->stop != PIPELINE_STOP_NONE) {
    next = 0;
  } else if (limits->statement_ns > 0) {
    next = pipeline->head_since_ns + limits->statement_ns;
  }
  return next < due ? next : due;
}

/* Might a call of this role run on another connection? */
static bool is_room_elsewhere(const struct pipeline_set *set, const struct pipeline *pipeline)
{
  if (set->live < set->limits.most) {
    return true;
  }
  for (unsigned i = 0; i < set->top; i++) {
    const struct pipeline *other = set->pipeline[i];
    if (other != NULL && other != pipeline && other->role == pipeline->role &&
        pipeline_is_open(set, other)) {
      return true;
    }
  }
  return false;
}

/* Each time it has to wait twice as long, or a server that is slow as a whole would get ever more of
 * the same reads. */
static int64_t patience_of(const struct pipeline_set *set, const struct pipeline_call *call)
{
  const unsigned doublings = call->moves < PIPELINE_DOUBLINGS ? call->moves : PIPELINE_DOUBLINGS;
  return set->limits.slow_ns << doublings;
}

/* Reads behind a slow one are queued again; what was sent of them goes on for nobody. The oldest too,
 * where it may be one behind it that is slow. One that is just waiting for this pipeline's input
 * stays: it looks by itself. True: some stay whose turn may come. */
static bool rescue(struct pipeline_set *set, struct pipeline *pipeline, int64_t now_ns,
                   struct pipeline_wakes *wakes)
{
  if (pipeline->role != PIPELINE_READER) {
    return false;
  }
  const bool room = is_room_elsewhere(set, pipeline);
  const int64_t age = pipeline->looked_ns - pipeline->head_since_ns;
  const uint32_t spared = pipeline->together ? 0 : 1;
  bool some_stay = false;
  for (uint32_t i = pipeline_in_flight(pipeline); i-- > spared;) {
    struct pipeline_flight *flight = pipeline_flight_at(pipeline, pipeline->first + i);
    struct pipeline_call *call = flight->call;
    if (call == NULL || call->gave_up_ns != 0) {
      continue;
    }
    if (!room || call->hand.away || age < patience_of(set, call)) {
      some_stay = true;
      continue;
    }
    flight->call = NULL;
    if (pipeline->together && !call->alone) {
      call->alone = true; /* the slow one may be moved with it, in front of it: not counted */
    } else {
      call->moves++;
    }
    set->counters.ghosts++;
    set->counters.rescues++;
    set->counters.reruns++;
    pipeline_requeue(set, call, now_ns, wakes);
  }
  return some_stay;
}

/* The oldest is slow, still. When it is twice as old, those who stay are looked at again. */
static void mind_age(struct pipeline_set *set, struct pipeline *pipeline, int64_t now_ns,
                     struct pipeline_wakes *wakes)
{
  const int64_t age = pipeline->looked_ns - pipeline->head_since_ns;
  if (pipeline->aged ? pipeline->looked_ns < pipeline->rescue_ns : age < set->limits.slow_ns) {
    return;
  }
  const int64_t most = set->limits.slow_ns << PIPELINE_DOUBLINGS;
  pipeline->aged = true;
  pipeline->rescue_ns = rescue(set, pipeline, now_ns, wakes)
                            ? pipeline->looked_ns + (age < most ? age : most)
                            : PIPELINE_NEVER;
}

static void mind_head(struct pipeline_set *set, struct pipeline *pipeline)
{
  struct pipeline_flight *head = pipeline_head(pipeline);
  const int64_t age = pipeline->looked_ns - pipeline->head_since_ns;
  if (waits_for_cancel(pipeline, head)) {
    if (pipeline->looked_ns - pipeline->cancelled_ns >= set->limits.cancel_ns) {
      pipeline->condemned = true;
    }
  } else if (head->check) {
    pipeline->condemned = pipeline->condemned || age >= set->limits.check_ns;
  } else if (head->stop == PIPELINE_STOP_NONE && set->limits.statement_ns > 0 &&
             age >= set->limits.statement_ns) {
    head->stop = PIPELINE_STOP_STATEMENT;
  } else if (head->stop == PIPELINE_STOP_NONE && head->call == NULL && pipeline->aged) {
    head->stop = PIPELINE_STOP_GHOST;
  }
}

void pipeline_mind(struct pipeline_set *set, struct pipeline *pipeline, int64_t now_ns,
                   struct pipeline_wakes *wakes)
{
  if (pipeline->dead) {
    return;
  }
  if (pipeline_in_flight(pipeline) == 0) {
    if (pipeline->cancelling && now_ns - pipeline->cancelled_ns >= set->limits.cancel_ns) {
      pipeline->condemned = true; /* nobody knows when that cancel arrives */
    }
    return;
  }
  mind_age(set, pipeline, now_ns, wakes);
  mind_head(set, pipeline);
}
