/* pipeline_report.c - what a hand says it has done, before it is told what to do next: connections that
 * came or went, calls that were pushed or answered, input. */
#include "core/pipeline_inside.h"

#include <assert.h>

static void granted(struct pipeline_set *set, struct pipeline_hand *hand,
                    const struct pipeline_did *did, int64_t now_ns)
{
  struct pipeline *pipeline = did->pipeline;
  unsigned index = 0;
  while (set->pipeline[index] != NULL) {
    index++; /* may_ask: there is room */
  }
  *pipeline = (struct pipeline){
      .owner = pipeline->owner,
      .flight = pipeline->flight,
      .role = did->role,
      .index = index,
      .live = true,
      .wants = did->wants,
      .idle_since_ns = now_ns,
      .proven_ns = did->proven ? now_ns : 0,
      .fresh = did->proven,
      .serial = did->serial,
  };
  set->pipeline[index] = pipeline;
  set->top = index < set->top ? set->top : index + 1;
  set->live++;
  set->granted_ns[did->role] = now_ns;
  pipeline_enter(hand, pipeline);
}

static void asked(struct pipeline_set *set, struct pipeline_hand *hand,
                  const struct pipeline_did *did, int64_t now_ns, struct pipeline_wakes *wakes)
{
  const enum pipeline_role role = did->role;
  set->asking[role] = PIPELINE_ASK_NONE;
  if (did->pipeline != NULL) {
    granted(set, hand, did, now_ns);
    return;
  }
  if (did->status == CENOTE_OK) {
    set->asking[role] = PIPELINE_ASK_WAITING;
    return;
  }
  if (did->status == CENOTE_CANCELLED) {
    return;
  }
  const int64_t before_ns = set->ask_again_ns[role];
  set->ask_again_ns[role] = now_ns + set->limits.slow_ns;
  for (unsigned i = 0; i < set->top; i++) {
    const struct pipeline *pipeline = set->pipeline[i];
    if (pipeline != NULL && pipeline->role == role && !pipeline_must_return(set, pipeline)) {
      wakes->loop = true; /* they can wait for that one, and it comes back to ask */
      return;
    }
  }
  if (did->status == CENOTE_UNSUPPORTED) { /* no failure that passes: who comes next is told, too */
    set->ask_again_ns[role] = before_ns;
  }
  set->refusal[role] = *did->error;
  set->refusal[role].status = did->status;
  set->refusing[role] = true;
  pipeline_refuse(set, now_ns, wakes);
}

static void returned(struct pipeline_set *set, struct pipeline_hand *hand)
{
  struct pipeline *pipeline = hand->in;
  assert(pipeline->count == 0 && pipeline->poller == NULL && !pipeline->watched);
  pipeline->inside = NULL;
  pipeline->live = false;
  hand->in = NULL;
  set->pipeline[pipeline->index] = NULL;
  set->live--;
  while (set->top > 0 && set->pipeline[set->top - 1] == NULL) {
    set->top--;
  }
}

/* Input has come, or the time has. Whoever is inside goes on with it; nobody: this hand does. */
static void polled(struct pipeline_hand *hand, const struct pipeline_did *did)
{
  struct pipeline *pipeline = pipeline_is_loop(hand) ? did->pipeline : hand->polls;
  if (pipeline_is_loop(hand)) {
    if (!pipeline->live || !pipeline->watched ||
        (pipeline->poller != NULL && pipeline->poller != hand)) {
      return; /* it is somebody else's by now */
    }
    pipeline->poller = NULL;
  } else {
    hand->away = false;
    pipeline_drop_duty(hand);
  }
  if (!pipeline->dead) {
    pipeline->revents = (short)(pipeline->revents | did->revents);
    pipeline->more = pipeline->more || did->more;
  }
  if (pipeline->inside == NULL) {
    pipeline_enter(hand, pipeline);
  }
}

static void see(struct pipeline *pipeline, const struct pipeline_did *did)
{
  pipeline->wants = did->wants;
  pipeline->together = did->together;
  pipeline->cancelling = did->cancelling && !pipeline->dead;
  pipeline->draining = pipeline->draining || did->broken || (did->wanted && pipeline->served);
}

void pipeline_take_report(struct pipeline_set *set, struct pipeline_hand *hand,
                          const struct pipeline_did *did, int64_t now_ns,
                          struct pipeline_wakes *wakes)
{
  switch (did->what) {
  case PIPELINE_NOTHING:
    break;
  case PIPELINE_ASKED:
    asked(set, hand, did, now_ns, wakes);
    break;
  case PIPELINE_FED:
    see(hand->in, did);
    hand->in->more = did->more;
    pipeline_fed(set, hand->in, did, now_ns, wakes);
    break;
  case PIPELINE_READ_SOME:
    see(hand->in, did);
    hand->in->more = did->more;
    if (!did->more) {
      hand->in->looked_ns = hand->in->begun_ns; /* the process may have stood still since */
    }
    pipeline_answered(set, hand->in, did, now_ns, wakes);
    break;
  case PIPELINE_CANCELLED:
    see(hand->in, did);
    pipeline_cancelled(set, hand->in, now_ns);
    break;
  case PIPELINE_ABORTED:
    see(hand->in, did);
    set->counters.aborts++;
    pipeline_die(set, hand->in, did->error, now_ns, wakes);
    break;
  case PIPELINE_RETURNED:
    returned(set, hand);
    break;
  case PIPELINE_POLLED:
    polled(hand, did);
    break;
  }
}
