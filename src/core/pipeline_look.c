/* pipeline_look.c - the set's life, what comes from outside the steps, and whether its books agree. */
#include "core/pipeline_inside.h"

#include <string.h>

cenote_status pipeline_set_init(struct pipeline_set *set, const struct pipeline_limits *limits)
{
  memset(set, 0, sizeof *set);
  if (pool_lock_init(&set->lock) != 0) {
    return CENOTE_NO_MEMORY;
  }
  set->limits = *limits;
  set->minded_ns = PIPELINE_NEVER;
  cen_link_init(&set->settled);
  for (unsigned role = 0; role < PIPELINE_ROLES; role++) {
    cen_link_init(&set->queue[role]);
  }
  return CENOTE_OK;
}

void pipeline_set_deinit(struct pipeline_set *set)
{
  pool_lock_deinit(&set->lock);
}

void pipeline_configure(struct pipeline_set *set, const struct pipeline_limits *limits)
{
  pool_lock_take(&set->lock);
  set->limits = *limits;
  pool_lock_give(&set->lock);
}

void pipeline_cancel(struct pipeline_set *set, struct pipeline_call *call, int64_t now_ns,
                     struct pipeline_wakes *wakes)
{
  pool_lock_take(&set->lock);
  if (call->place != PIPELINE_NOWHERE && !call->stopped) {
    call->stopped = true;
    set->minded_ns = now_ns;
    wakes->loop = true;
  }
  pool_lock_give(&set->lock);
}

struct pipeline_call *pipeline_settled(struct pipeline_set *set)
{
  pool_lock_take(&set->lock);
  struct cen_link *link = cen_list_pop(&set->settled);
  pool_lock_give(&set->lock);
  return link != NULL ? CEN_CONTAINER(link, struct pipeline_call, link) : NULL;
}

bool pipeline_is_waiting(struct pipeline_set *set, enum pipeline_role role)
{
  pool_lock_take(&set->lock);
  const bool waiting = set->asking[role] == PIPELINE_ASK_WAITING;
  pool_lock_give(&set->lock);
  return waiting;
}

void pipeline_want(struct pipeline_set *set, struct pipeline *pipeline, uint64_t serial,
                   struct pipeline_wakes *wakes)
{
  pool_lock_take(&set->lock);
  if (pipeline->live && pipeline->serial == serial && !pipeline->draining &&
      (pipeline->served || set->queued[pipeline->role] == 0)) {
    pipeline->draining = true;
    wakes->loop = true;
  }
  pool_lock_give(&set->lock);
}

bool pipeline_yield(struct pipeline_set *set, struct pipeline_wakes *wakes)
{
  bool any = false;
  pool_lock_take(&set->lock);
  for (unsigned i = 0; i < set->top; i++) {
    struct pipeline *pipeline = set->pipeline[i];
    if (pipeline != NULL && pipeline->count == 0 && pipeline->inside == NULL) {
      pipeline->draining = true;
      wakes->loop = true;
      any = true;
    }
  }
  pool_lock_give(&set->lock);
  return any;
}

static uint32_t count_resting(const struct pipeline_set *set)
{
  uint32_t count = 0;
  for (unsigned i = 0; i < set->top; i++) {
    const struct pipeline *pipeline = set->pipeline[i];
    count += pipeline != NULL && pipeline->count == 0 && pipeline->inside == NULL &&
             set->queued[pipeline->role] == 0;
  }
  return count;
}

uint32_t pipeline_resting(struct pipeline_set *set)
{
  pool_lock_take(&set->lock);
  const uint32_t count = count_resting(set);
  pool_lock_give(&set->lock);
  return count;
}

uint32_t pipeline_leaving(struct pipeline_set *set)
{
  uint32_t count = 0;
  pool_lock_take(&set->lock);
  for (unsigned i = 0; i < set->top; i++) {
    count += set->pipeline[i] != NULL && set->pipeline[i]->draining;
  }
  pool_lock_give(&set->lock);
  return count;
}

void pipeline_condemn(struct pipeline_set *set, struct pipeline *pipeline, uint64_t serial,
                      struct pipeline_wakes *wakes)
{
  pool_lock_take(&set->lock);
  if (pipeline->live && pipeline->serial == serial && !pipeline->dead && !pipeline->condemned) {
    pipeline->condemned = true;
    pipeline->draining = true;
    wakes->loop = true;
  }
  pool_lock_give(&set->lock);
}

void pipeline_drain(struct pipeline_set *set, int64_t now_ns, struct pipeline_wakes *wakes)
{
  pool_lock_take(&set->lock);
  set->shut = true;
  for (unsigned role = 0; role < PIPELINE_ROLES; role++) {
    set->refusing[role] = true;
  }
  pipeline_refuse(set, now_ns, wakes);
  wakes->loop = true;
  pool_lock_give(&set->lock);
}

void pipeline_refuse_more(struct pipeline_set *set, int64_t now_ns, struct pipeline_wakes *wakes)
{
  pool_lock_take(&set->lock);
  pipeline_refuse(set, now_ns, wakes);
  pool_lock_give(&set->lock);
}

void pipeline_look(struct pipeline_set *set, struct pipeline_picture *picture)
{
  memset(picture, 0, sizeof *picture);
  pool_lock_take(&set->lock);
  picture->live = set->live;
  picture->resting = count_resting(set);
  for (unsigned role = 0; role < PIPELINE_ROLES; role++) {
    picture->queued += set->queued[role];
    picture->waiting += set->asking[role] == PIPELINE_ASK_WAITING;
  }
  for (unsigned i = 0; i < set->top; i++) {
    const struct pipeline *pipeline = set->pipeline[i];
    picture->in_flight += pipeline != NULL ? pipeline_in_flight(pipeline) : 0;
  }
  picture->counters = set->counters;
  pool_lock_give(&set->lock);
}

/* ------------------------------------------------------------------ invariants */

static const char *check_flights(const struct pipeline *pipeline)
{
  for (uint32_t i = 0; i < pipeline->count; i++) {
    const uint32_t at = pipeline->first + i;
    const struct pipeline_flight *flight = pipeline_flight_at(pipeline, at);
    const struct pipeline_call *call = flight->call;
    const bool taken = i >= pipeline_in_flight(pipeline);
    if (taken != (flight->sent_ns == 0)) {
      return "a flight's time and its place disagree";
    }
    if (call == NULL) {
      continue;
    }
    if (call->pipeline != pipeline || call->flight != at) {
      return "a flight and its call do not know each other";
    }
    if (call->place != (taken ? PIPELINE_TAKEN : PIPELINE_SENT)) {
      return "a call in flight is in the wrong place";
    }
    if (call->role != pipeline->role) {
      return "a call flies on a pipeline of the other role";
    }
  }
  return NULL;
}

static const char *check_poller(const struct pipeline_set *set, const struct pipeline *pipeline)
{
  const struct pipeline_hand *poller = pipeline->poller;
  if (poller != NULL && poller != &set->loop && poller->polls != pipeline) {
    return "a poller does not know its duty";
  }
  if (pipeline_is_busy(pipeline) && pipeline->inside == NULL && poller == NULL) {
    return "nobody waits for the answers of a pipeline";
  }
  return NULL;
}

static const char *check_pipeline(const struct pipeline_set *set, const struct pipeline *pipeline,
                                  uint32_t index)
{
  if (!pipeline->live || pipeline->index != index) {
    return "a pipeline has forgotten where it is";
  }
  if (pipeline->taken > pipeline->count || pipeline->count > PIPELINE_RING) {
    return "a count of flights is wrong";
  }
  if (pipeline->inside != NULL && pipeline->inside->in != pipeline) {
    return "somebody inside does not know it";
  }
  if (pipeline->taken > 0 && pipeline->inside == NULL) {
    return "flights are being pushed by nobody";
  }
  if (pipeline->inside == NULL && !pipeline->dead && (pipeline->revents != 0 || pipeline->more)) {
    return "input was announced to nobody";
  }
  if (pipeline->dead && pipeline->count > 0) {
    return "something flies on a dead connection";
  }
  const char *wrong = check_poller(set, pipeline);
  return wrong != NULL ? wrong : check_flights(pipeline);
}

static const char *check_queue(const struct pipeline_set *set, enum pipeline_role role)
{
  uint32_t count = 0;
  for (const struct cen_link *at = set->queue[role].next; at != &set->queue[role]; at = at->next) {
    const struct pipeline_call *call = CEN_CONTAINER(at, const struct pipeline_call, link);
    count++;
    if (call->place != PIPELINE_QUEUED || call->role != role || call->pipeline != NULL) {
      return "a queued call is in the wrong place";
    }
    if (atomic_load_explicit(&call->signal, memory_order_relaxed) == PIPELINE_OVER) {
      return "a settled call is still queued";
    }
  }
  if (count != set->queued[role]) {
    return "a count of queued calls is wrong";
  }
  if (count > 0 && set->shut && !set->refusing[role]) {
    return "somebody waits for what is shut down";
  }
  return NULL;
}

const char *pipeline_check(struct pipeline_set *set)
{
  const char *wrong = NULL;
  uint32_t live = 0;
  pool_lock_take(&set->lock);
  for (uint32_t i = 0; wrong == NULL && i < PIPELINE_MOST; i++) {
    if (set->pipeline[i] != NULL) {
      live++;
      wrong = i < set->top ? check_pipeline(set, set->pipeline[i], i) : "one is above the top";
    }
  }
  if (wrong == NULL && live != set->live) {
    wrong = "a count of pipelines is wrong";
  }
  for (enum pipeline_role role = 0; wrong == NULL && role < PIPELINE_ROLES; role++) {
    wrong = check_queue(set, role);
  }
  pool_lock_give(&set->lock);
  return wrong;
}
