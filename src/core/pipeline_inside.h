/* pipeline_inside.h - between the .c files of the pipeline; everything here expects the lock. */
#ifndef CEN_PIPELINE_INSIDE_H
#define CEN_PIPELINE_INSIDE_H

#include "core/pipeline.h"

#include <assert.h>

/* ----------------------------------------------- hands (pipeline.c, pipeline_report.c) */

/* From here on nobody else is inside. */
static inline void pipeline_enter(struct pipeline_hand *hand, struct pipeline *pipeline)
{
  assert(pipeline->inside == NULL && hand->in == NULL);
  pipeline->inside = hand;
  hand->in = pipeline;
}

/* It waits for no input any longer. */
static inline void pipeline_drop_duty(struct pipeline_hand *hand)
{
  if (hand->polls != NULL) {
    assert(hand->polls->poller == hand);
    hand->polls->poller = NULL;
    hand->polls = NULL;
  }
}

static inline int64_t pipeline_idle_ns(const struct pipeline_set *set)
{
  return set->limits.idle_ns > 0 ? set->limits.idle_ns : PIPELINE_IDLE_NS;
}

/* What the hand did since it was told. */
void pipeline_take_report(struct pipeline_set *set, struct pipeline_hand *hand,
                          const struct pipeline_did *did, int64_t now_ns,
                          struct pipeline_wakes *wakes);

/* ------------------------------------------------------------- pipeline_call.c */

/* It sleeps: it is to look. */
void pipeline_rouse(struct pipeline_call *call, struct pipeline_wakes *wakes);
/* Over: it is in no queue and no flight any more. */
void pipeline_settle(struct pipeline_set *set, struct pipeline_call *call, enum pipeline_end end,
                     int64_t now_ns, struct pipeline_wakes *wakes);
void pipeline_enqueue(struct pipeline_set *set, struct pipeline_call *call, int64_t now_ns);
/* To the front: it was there before. Settles it where nothing is sent any more. */
void pipeline_requeue(struct pipeline_set *set, struct pipeline_call *call, int64_t now_ns,
                      struct pipeline_wakes *wakes);
void pipeline_dequeue(struct pipeline_set *set, struct pipeline_call *call);
/* Its deadline has passed, or it was cancelled. */
void pipeline_mind_call(struct pipeline_set *set, struct pipeline_call *call, int64_t now_ns,
                        struct pipeline_wakes *wakes);
/* When its owner has to look at it again by itself. */
int64_t pipeline_call_until(const struct pipeline_set *set, const struct pipeline_call *call,
                            int64_t now_ns);
/* The same for all asynchronous ones. */
void pipeline_mind_calls(struct pipeline_set *set, int64_t now_ns, struct pipeline_wakes *wakes);
/* Refuses what is queued, as far as the wakes reach. */
void pipeline_refuse(struct pipeline_set *set, int64_t now_ns, struct pipeline_wakes *wakes);

/* ------------------------------------------------------------- pipeline_flow.c */

static inline uint32_t pipeline_in_flight(const struct pipeline *pipeline)
{
  return pipeline->count - pipeline->taken;
}

static inline struct pipeline_flight *pipeline_head(const struct pipeline *pipeline)
{
  return pipeline_flight_at(pipeline, pipeline->first);
}

/* Somebody is to wait for its input. */
static inline bool pipeline_is_busy(const struct pipeline *pipeline)
{
  return !pipeline->dead && (pipeline_in_flight(pipeline) > 0 || pipeline->cancelling);
}

/* It could take more when there is room. */
bool pipeline_is_usable(const struct pipeline *pipeline);
/* It can take more now. */
bool pipeline_is_open(const struct pipeline_set *set, const struct pipeline *pipeline);
/* When something has to be done about its oldest flight. */
int64_t pipeline_due(const struct pipeline_set *set, const struct pipeline *pipeline);
/* What time has brought: an oldest flight that is slow, or to be stopped, or does not stop. */
void pipeline_mind(struct pipeline_set *set, struct pipeline *pipeline, int64_t now_ns,
                   struct pipeline_wakes *wakes);
bool pipeline_feed(struct pipeline_set *set, struct pipeline *pipeline, int64_t now_ns,
                   struct pipeline_todo *todo, struct pipeline_wakes *wakes);
void pipeline_fed(struct pipeline_set *set, struct pipeline *pipeline,
                  const struct pipeline_did *did, int64_t now_ns, struct pipeline_wakes *wakes);
void pipeline_answered(struct pipeline_set *set, struct pipeline *pipeline,
                       const struct pipeline_did *did, int64_t now_ns,
                       struct pipeline_wakes *wakes);
void pipeline_cancelled(struct pipeline_set *set, struct pipeline *pipeline, int64_t now_ns);
/* Everything in flight ends. `error` may be NULL. */
void pipeline_die(struct pipeline_set *set, struct pipeline *pipeline, const cenote_error *error,
                  int64_t now_ns, struct pipeline_wakes *wakes);

/* ----------------------------------------------------------- pipeline_choose.c */

static inline bool pipeline_is_loop(const struct pipeline_hand *hand)
{
  return hand->call == NULL;
}

/* When its time is over, where it is now. */
static inline int64_t pipeline_call_deadline(const struct pipeline_call *call)
{
  if (call->place != PIPELINE_QUEUED || call->patience_ns <= 0 ||
      call->deadline_ns - call->queued_ns < call->patience_ns) {
    return call->deadline_ns;
  }
  return call->queued_ns + call->patience_ns;
}

static inline bool pipeline_is_blocking(const struct pipeline_hand *hand)
{
  return hand->call != NULL && !hand->call->asynchronous;
}

/* The fullest that can take more: one deep pipeline answers more with each read than several
 * shallow ones. NULL: none, or somebody is inside it who will do it. */
struct pipeline *pipeline_choose(const struct pipeline_set *set, enum pipeline_role role);
/* Nothing on it, nobody at it: its connection can be taken off. */
bool pipeline_can_return(const struct pipeline *pipeline, const struct pipeline_hand *hand);
bool pipeline_must_return(const struct pipeline_set *set, const struct pipeline *pipeline);
bool pipeline_is_idle(const struct pipeline_set *set, const struct pipeline *pipeline,
                      int64_t now_ns);
/* Nobody is inside, and there is something that this hand can do there, beside feeding. */
bool pipeline_is_due(const struct pipeline_set *set, const struct pipeline *pipeline,
                     const struct pipeline_hand *hand, int64_t now_ns);
/* What is queued needs one more connection, and there may be one more. */
bool pipeline_may_ask(const struct pipeline_set *set, enum pipeline_role role, int64_t now_ns);
/* All connections there may be are the other role's: one of them has to go. */
bool pipeline_make_way(struct pipeline_set *set, enum pipeline_role role, int64_t now_ns);

#endif
