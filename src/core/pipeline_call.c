/* pipeline_call.c - a call's way into the queue, its deadline, its end. */
#include "core/pipeline_inside.h"

#include <assert.h>

static const int64_t SOON_NS = 1000 * 1000; /* somebody else is about to do it: look again */

void pipeline_rouse(struct pipeline_call *call, struct pipeline_wakes *wakes)
{
  if (atomic_load_explicit(&call->signal, memory_order_relaxed) == PIPELINE_PARKED) {
    assert(wakes->count < PIPELINE_WAKES);
    wakes->id[wakes->count] = call->id;
    wakes->word[wakes->count++] = &call->signal;
    POOL_STEP();
    atomic_store_explicit(&call->signal, PIPELINE_AWAKE, memory_order_release);
  }
}

/* Its owner learns it from the signal alone if it has nothing else to give back; one that is
 * inside a pipeline, or has the duty to poll, must come through pipeline_step. */
static void tell(struct pipeline_call *call, struct pipeline_wakes *wakes)
{
  const struct pipeline_hand *hand = &call->hand;
  if (hand->in != NULL || hand->polls != NULL) {
    if (hand->away) {
      wakes->nudge = hand->polls;
    }
    return;
  }
  if (atomic_load_explicit(&call->signal, memory_order_relaxed) == PIPELINE_PARKED) {
    assert(wakes->count < PIPELINE_WAKES);
    wakes->id[wakes->count] = call->id;
    wakes->word[wakes->count++] = &call->signal;
  }
  POOL_STEP();
  atomic_store_explicit(&call->signal, PIPELINE_OVER, memory_order_release);
}

void pipeline_settle(struct pipeline_set *set, struct pipeline_call *call, enum pipeline_end end,
                     int64_t now_ns, struct pipeline_wakes *wakes)
{
  call->place = PIPELINE_NOWHERE;
  call->pipeline = NULL;
  call->end = end;
  call->settled_ns = now_ns;
  if (!call->asynchronous) {
    tell(call, wakes);
  } else if (!call->starting) {
    cen_list_push_back(&set->settled, &call->link);
    wakes->loop = true;
  }
}

/* ----------------------------------------------------------------------- queue */

void pipeline_enqueue(struct pipeline_set *set, struct pipeline_call *call, int64_t now_ns)
{
  call->place = PIPELINE_QUEUED;
  call->queued_ns = now_ns;
  cen_list_push_back(&set->queue[call->role], &call->link);
  set->queued[call->role]++;
}

void pipeline_dequeue(struct pipeline_set *set, struct pipeline_call *call)
{
  cen_list_remove(&call->link);
  set->queued[call->role]--;
  call->place = PIPELINE_NOWHERE;
}

void pipeline_requeue(struct pipeline_set *set, struct pipeline_call *call, int64_t now_ns,
                      struct pipeline_wakes *wakes)
{
  call->pipeline = NULL;
  if (set->shut) {
    pipeline_settle(set, call, PIPELINE_SHUT, now_ns, wakes);
    return;
  }
  call->place = PIPELINE_QUEUED;
  call->queued_ns = now_ns;
  cen_list_push_front(&set->queue[call->role], &call->link);
  set->queued[call->role]++;
  const int64_t until_ns = pipeline_call_deadline(call);
  if (call->asynchronous && until_ns < set->minded_ns) { /* it has patience again */
    set->minded_ns = until_ns;
    wakes->loop = wakes->loop || until_ns < set->loop_until_ns;
  }
}

static void refuse_one(struct pipeline_set *set, struct pipeline_call *call, int64_t now_ns,
                       struct pipeline_wakes *wakes)
{
  pipeline_dequeue(set, call);
  if (set->shut) {
    pipeline_settle(set, call, PIPELINE_SHUT, now_ns, wakes);
  } else {
    call->status = set->refusal[call->role].status;
    *call->error = set->refusal[call->role];
    pipeline_settle(set, call, PIPELINE_NO_CONNECTION, now_ns, wakes);
  }
}

void pipeline_refuse(struct pipeline_set *set, int64_t now_ns, struct pipeline_wakes *wakes)
{
  wakes->more = false;
  for (unsigned role = 0; role < PIPELINE_ROLES; role++) {
    while (set->refusing[role] && !cen_list_empty(&set->queue[role])) {
      if (wakes->count >= PIPELINE_REFUSALS) {
        wakes->more = true;
        break;
      }
      refuse_one(set, CEN_CONTAINER(set->queue[role].next, struct pipeline_call, link), now_ns,
                 wakes);
    }
    set->refusing[role] = set->refusing[role] && !cen_list_empty(&set->queue[role]);
  }
}

/* ------------------------------------------------------------------------ time */

static enum pipeline_end end_of(const struct pipeline_call *call)
{
  return call->stopped ? PIPELINE_STOPPED : PIPELINE_TIMEOUT;
}

/* The owner leaves; its flight goes on alone. */
static void leave_behind(struct pipeline_set *set, struct pipeline_call *call,
                         enum pipeline_end end, int64_t now_ns, struct pipeline_wakes *wakes)
{
  pipeline_flight_at(call->pipeline, call->flight)->call = NULL;
  set->counters.ghosts++;
  call->cut_off = true;
  pipeline_settle(set, call, end, now_ns, wakes);
}

static void mind_sent(struct pipeline_set *set, struct pipeline_call *call, int64_t now_ns,
                      struct pipeline_wakes *wakes)
{
  struct pipeline_flight *flight = pipeline_flight_at(call->pipeline, call->flight);
  const bool is_head = call->flight == call->pipeline->first;
  if (call->gave_up_ns == 0) {
    call->gave_up_ns = now_ns;
  }
  if (!is_head && call->role == PIPELINE_READER) {
    leave_behind(set, call, end_of(call), now_ns, wakes);
    return;
  }
  if (flight->stop == PIPELINE_STOP_NONE) {
    flight->stop = call->stopped ? PIPELINE_STOP_CALLER : PIPELINE_STOP_DEADLINE;
  }
  if (!is_head && now_ns - call->gave_up_ns >= set->limits.cancel_ns) {
    leave_behind(set, call, PIPELINE_UNKNOWN, now_ns, wakes);
  }
}

void pipeline_mind_call(struct pipeline_set *set, struct pipeline_call *call, int64_t now_ns,
                        struct pipeline_wakes *wakes)
{
  if (now_ns < pipeline_call_deadline(call) && !call->stopped) {
    return;
  }
  if (call->place == PIPELINE_QUEUED) {
    pipeline_dequeue(set, call);
    pipeline_settle(set, call, end_of(call), now_ns, wakes);
  } else if (call->place == PIPELINE_SENT) {
    mind_sent(set, call, now_ns, wakes);
  } /* TAKEN: it is being pushed, and looked at again after that */
}

int64_t pipeline_call_until(const struct pipeline_set *set, const struct pipeline_call *call,
                            int64_t now_ns)
{
  if (now_ns < pipeline_call_deadline(call) && !call->stopped) {
    return pipeline_call_deadline(call);
  }
  int64_t until = now_ns + SOON_NS;
  if (call->place == PIPELINE_SENT) {
    const struct pipeline *pipeline = call->pipeline;
    if (call->flight != pipeline->first) {
      until = call->gave_up_ns + set->limits.cancel_ns;
    } else if (pipeline_head(pipeline)->cancelled || pipeline->cancelling) {
      until = pipeline->cancelled_ns + set->limits.cancel_ns;
    }
  }
  return until > now_ns + SOON_NS ? until : now_ns + SOON_NS;
}

static void mind_one(struct pipeline_set *set, struct pipeline_call *call, int64_t now_ns,
                     struct pipeline_wakes *wakes)
{
  if (!call->asynchronous) {
    return;
  }
  pipeline_mind_call(set, call, now_ns, wakes);
  if (call->place != PIPELINE_NOWHERE) {
    const int64_t until = pipeline_call_until(set, call, now_ns);
    set->minded_ns = until < set->minded_ns ? until : set->minded_ns;
  }
}

void pipeline_mind_calls(struct pipeline_set *set, int64_t now_ns, struct pipeline_wakes *wakes)
{
  if (now_ns < set->minded_ns) {
    return;
  }
  set->minded_ns = PIPELINE_NEVER;
  for (unsigned role = 0; role < PIPELINE_ROLES; role++) {
    struct cen_link *next;
    for (struct cen_link *at = set->queue[role].next; at != &set->queue[role]; at = next) {
      next = at->next; /* settled, it is in another list */
      mind_one(set, CEN_CONTAINER(at, struct pipeline_call, link), now_ns, wakes);
    }
  }
  for (unsigned i = 0; i < set->top; i++) {
    struct pipeline *pipeline = set->pipeline[i];
    for (uint32_t at = 0; pipeline != NULL && at < pipeline->count; at++) {
      struct pipeline_call *call = pipeline_flight_at(pipeline, pipeline->first + at)->call;
      if (call != NULL) {
        mind_one(set, call, now_ns, wakes);
      }
    }
  }
}
