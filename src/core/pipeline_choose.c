/* pipeline_choose.c - which pipeline, whether one more, and which one has to go. */
#include "core/pipeline_inside.h"

/* The fullest that can take more: one deep pipeline answers more with each read than several
 * shallow ones. NULL: none, or somebody is inside it who will do it. */
struct pipeline *pipeline_choose(const struct pipeline_set *set, enum pipeline_role role)
{
  struct pipeline *best = NULL;
  for (unsigned i = 0; set->queued[role] > 0 && i < set->top; i++) {
    struct pipeline *pipeline = set->pipeline[i];
    if (pipeline != NULL && pipeline->role == role && pipeline_is_open(set, pipeline) &&
        (best == NULL || pipeline->count > best->count)) {
      best = pipeline;
    }
  }
  return best != NULL && best->inside == NULL ? best : NULL;
}

/* Nothing on it, nobody at it: its connection can be taken off. */
bool pipeline_can_return(const struct pipeline *pipeline, const struct pipeline_hand *hand)
{
  return pipeline->count == 0 && !pipeline->cancelling &&
         (pipeline->poller == NULL || pipeline->poller == hand) &&
         (!pipeline->watched || pipeline_is_loop(hand));
}

bool pipeline_must_return(const struct pipeline_set *set, const struct pipeline *pipeline)
{
  return pipeline->dead || pipeline->draining || set->shut;
}

bool pipeline_is_idle(const struct pipeline_set *set, const struct pipeline *pipeline,
                      int64_t now_ns)
{
  return pipeline->count == 0 && set->queued[pipeline->role] == 0 &&
         now_ns - pipeline->idle_since_ns >= pipeline_idle_ns(set);
}

/* Is there something to do inside that this hand can do? */
bool pipeline_is_due(const struct pipeline_set *set, const struct pipeline *pipeline,
                     const struct pipeline_hand *hand, int64_t now_ns)
{
  if (pipeline->inside != NULL) {
    return false;
  }
  if (pipeline_must_return(set, pipeline) && pipeline_can_return(pipeline, hand)) {
    return true;
  }
  return !pipeline->dead &&
         (pipeline->revents != 0 || pipeline->more || pipeline_due(set, pipeline) <= now_ns);
}

/* ------------------------------------------------------------------- asking */

static uint32_t asks(const struct pipeline_set *set)
{
  uint32_t count = 0;
  for (unsigned role = 0; role < PIPELINE_ROLES; role++) {
    count += set->asking[role] != PIPELINE_ASK_NONE;
  }
  return count;
}

static bool has_usable(const struct pipeline_set *set, enum pipeline_role role)
{
  for (unsigned i = 0; i < set->top; i++) {
    const struct pipeline *pipeline = set->pipeline[i];
    if (pipeline != NULL && pipeline->role == role && pipeline_is_usable(pipeline)) {
      return true;
    }
  }
  return false;
}

/* What is queued needs another connection: nothing can be fed, or it takes too long. */
static bool needs_more(const struct pipeline_set *set, enum pipeline_role role, int64_t now_ns)
{
  if (set->queued[role] == 0 || set->shut || set->asking[role] != PIPELINE_ASK_NONE ||
      now_ns < set->ask_again_ns[role]) {
    return false;
  }
  const struct pipeline_call *first =
      CEN_CONTAINER(set->queue[role].next, struct pipeline_call, link);
  const int64_t granted = set->granted_ns[role];
  const int64_t since = first->queued_ns > granted ? first->queued_ns : granted;
  return now_ns - since >= set->limits.slow_ns || !has_usable(set, role);
}

static enum pipeline_role other_than(enum pipeline_role role)
{
  return role == PIPELINE_READER ? PIPELINE_WRITER : PIPELINE_READER;
}

/* Its first call has come earlier than the other role's. */
static bool is_first(const struct pipeline_set *set, enum pipeline_role role)
{
  const enum pipeline_role other = other_than(role);
  if (set->queued[role] == 0 || set->queued[other] == 0) {
    return set->queued[role] > 0;
  }
  const struct pipeline_call *mine =
      CEN_CONTAINER(set->queue[role].next, struct pipeline_call, link);
  const struct pipeline_call *theirs =
      CEN_CONTAINER(set->queue[other].next, struct pipeline_call, link);
  return mine->submitted_ns < theirs->submitted_ns;
}

/* The last place there is belongs to the role whose first call came earlier: whoever has just
 * given a connection back would take it for his own role again. */
static bool is_others_turn(const struct pipeline_set *set, enum pipeline_role role, int64_t now_ns)
{
  const enum pipeline_role other = other_than(role);
  return set->live + asks(set) + 1 >= set->limits.most && needs_more(set, other, now_ns) &&
         !has_usable(set, other) && is_first(set, other);
}

bool pipeline_may_ask(const struct pipeline_set *set, enum pipeline_role role, int64_t now_ns)
{
  return needs_more(set, role, now_ns) && set->live + asks(set) < set->limits.most &&
         !is_others_turn(set, role, now_ns);
}

/* What it has to wait for before it is idle. */
static uint32_t load_of(const struct pipeline *pipeline)
{
  return pipeline->count + pipeline->cancelling;
}

/* All connections there may be are the other role's: one of them has to go. */
bool pipeline_make_way(struct pipeline_set *set, enum pipeline_role role, int64_t now_ns)
{
  struct pipeline *victim = NULL;
  bool one_goes = false; /* when it has done what it has */
  if (!needs_more(set, role, now_ns) || set->live + asks(set) < set->limits.most) {
    return false;
  }
  for (unsigned i = 0; i < set->top; i++) {
    struct pipeline *pipeline = set->pipeline[i];
    if (pipeline == NULL) {
      continue;
    }
    const bool goes = pipeline_must_return(set, pipeline);
    if (goes ? load_of(pipeline) == 0 : pipeline->role == role) {
      return false; /* one is on its way already; or what the role has must do */
    }
    one_goes = one_goes || goes;
    const bool needed =
        set->queued[pipeline->role] > 0 && (!pipeline->served || is_first(set, pipeline->role));
    if (!goes && !needed && (victim == NULL || load_of(pipeline) < load_of(victim))) {
      victim = pipeline;
    }
  }
  if (victim == NULL || (one_goes && load_of(victim) > 0)) {
    return false;
  }
  victim->draining = true;
  return true;
}
