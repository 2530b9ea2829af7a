/* pipeline.c - the steps: what a hand that comes is told to do. */
#include "core/pipeline_inside.h"

#include <assert.h>
#include <string.h>

/* ------------------------------------------------------------------ inside */

static void give_duty(struct pipeline_hand *hand, struct pipeline *pipeline)
{
  pipeline->poller = hand;
  hand->polls = pipeline;
}

/* The loop has to watch other descriptors, or for other events, than it does. */
static bool is_watched_wrong(const struct pipeline *pipeline)
{
  return !pipeline->watched || pipeline->watch.fd != pipeline->wants.fd ||
         pipeline->watch.done_fd != pipeline->wants.done_fd ||
         pipeline->watch.events != pipeline->wants.events;
}

static void give_to_loop(struct pipeline_set *set, struct pipeline *pipeline,
                         struct pipeline_wakes *wakes)
{
  pipeline->poller = &set->loop;
  if (is_watched_wrong(pipeline) || pipeline_due(set, pipeline) < set->loop_until_ns) {
    wakes->loop = true;
  }
}

/* Somebody has to wait for its input: the caller who was sent last has to stay longest. */
static void appoint(struct pipeline_set *set, struct pipeline *pipeline,
                    struct pipeline_wakes *wakes)
{
  for (uint32_t i = pipeline_in_flight(pipeline); i-- > 0;) {
    struct pipeline_call *call = pipeline_flight_at(pipeline, pipeline->first + i)->call;
    if (call != NULL && !call->asynchronous && call->hand.polls == NULL &&
        atomic_load_explicit(&call->signal, memory_order_relaxed) == PIPELINE_PARKED) {
      give_duty(&call->hand, pipeline);
      pipeline_rouse(call, wakes);
      return;
    }
  }
  give_to_loop(set, pipeline, wakes);
}

static bool waits_in(const struct pipeline_hand *hand, const struct pipeline *pipeline)
{
  return pipeline_is_blocking(hand) && hand->call->place == PIPELINE_SENT &&
         hand->call->pipeline == pipeline;
}

/* Nobody is inside: sees to it that somebody polls, if there is something to wait for. */
static void care(struct pipeline_set *set, struct pipeline *pipeline, struct pipeline_hand *hand,
                 struct pipeline_wakes *wakes)
{
  if (!pipeline_is_busy(pipeline)) {
    if (pipeline->poller == &set->loop) {
      pipeline->poller = NULL;
    }
    const int64_t end = pipeline->idle_since_ns + pipeline_idle_ns(set);
    if (!pipeline_is_loop(hand) &&
        (pipeline_must_return(set, pipeline) || end < set->loop_until_ns)) {
      wakes->loop = true;
    }
  } else if (pipeline->poller == NULL || pipeline->poller == &set->loop) {
    if (waits_in(hand, pipeline)) {
      give_duty(hand, pipeline);
    } else if (pipeline_is_loop(hand)) {
      appoint(set, pipeline, wakes);
    } else if (pipeline->poller == NULL) {
      appoint(set, pipeline, wakes);
    } else {
      give_to_loop(set, pipeline, wakes); /* it may have to come sooner */
    }
  }
}

static void leave(struct pipeline_set *set, struct pipeline_hand *hand,
                  struct pipeline_wakes *wakes)
{
  struct pipeline *pipeline = hand->in;
  assert(pipeline->inside == hand && pipeline->taken == 0);
  pipeline->inside = NULL;
  hand->in = NULL;
  care(set, pipeline, hand, wakes);
}

/* What is due in the pipeline the hand is inside of. false: nothing. */
static bool work(struct pipeline_set *set, struct pipeline_hand *hand, int64_t now_ns,
                 struct pipeline_todo *todo, struct pipeline_wakes *wakes)
{
  struct pipeline *pipeline = hand->in;
  todo->pipeline = pipeline;
  pipeline_mind(set, pipeline, now_ns, wakes);
  /* Before anything is held against the oldest one: its answer may have come. */
  const int64_t due = pipeline_due(set, pipeline);
  const bool look = due <= now_ns && pipeline->looked_ns < due;
  if (!pipeline->dead &&
      (pipeline->revents != 0 || pipeline->more || look || pipeline->wants.deadline_ns <= now_ns)) {
    todo->kind = PIPELINE_READ;
    pipeline->begun_ns = now_ns;
    todo->revents = pipeline->revents;
    todo->look = look && pipeline->revents == 0;
    pipeline->revents = 0;
    pipeline->more = false;
    return true;
  }
  if (!pipeline->dead && pipeline->condemned) {
    todo->kind = PIPELINE_ABORT;
    return true;
  }
  if (!pipeline->dead && pipeline->count > 0 && !pipeline->cancelling) {
    const struct pipeline_flight *head = pipeline_head(pipeline);
    if (head->stop != PIPELINE_STOP_NONE && !head->cancelled) {
      todo->kind = PIPELINE_CANCEL;
      return true;
    }
  }
  if (pipeline_feed(set, pipeline, now_ns, todo, wakes)) {
    return true;
  }
  if ((pipeline_must_return(set, pipeline) ||
       (pipeline_is_loop(hand) && pipeline_is_idle(set, pipeline, now_ns))) &&
      pipeline_can_return(pipeline, hand)) {
    if (pipeline->poller == hand) {
      pipeline->poller = NULL;
      hand->polls = NULL;
    }
    todo->kind = pipeline->watched ? PIPELINE_FORGET : PIPELINE_RETURN;
    pipeline->watched = false;
    return true;
  }
  return false;
}

/* --------------------------------------------------------------- a hand goes on */

/* Where a caller's own hand, or a submitter's, may be of use next. */
static struct pipeline *next_for_caller(struct pipeline_set *set, struct pipeline_hand *hand,
                                        int64_t now_ns, struct pipeline_wakes *wakes)
{
  const struct pipeline_call *call = hand->call;
  if (call->place == PIPELINE_SENT && pipeline_is_due(set, call->pipeline, hand, now_ns)) {
    return call->pipeline;
  }
  if (call->place != PIPELINE_QUEUED) {
    return NULL;
  }
  struct pipeline *pipeline = pipeline_choose(set, call->role);
  const bool one_goes = pipeline_make_way(set, call->role, now_ns);
  for (unsigned i = 0; pipeline == NULL && i < set->top; i++) {
    struct pipeline *other = set->pipeline[i];
    if (other != NULL && other->inside == NULL && pipeline_must_return(set, other) &&
        pipeline_can_return(other, hand)) {
      pipeline = other; /* its connection may be ours next */
    }
  }
  if (one_goes && pipeline == NULL) {
    wakes->loop = true; /* which watches it, and alone can take it back */
  }
  return pipeline;
}

static struct pipeline *next_for_loop(struct pipeline_set *set, struct pipeline *after,
                                      int64_t now_ns)
{
  for (unsigned i = after != NULL ? after->index + 1 : 0; i < set->top; i++) {
    struct pipeline *pipeline = set->pipeline[i];
    if (pipeline == NULL || pipeline->inside != NULL) {
      continue;
    }
    if (pipeline_is_due(set, pipeline, &set->loop, now_ns) ||
        (set->queued[pipeline->role] > 0 && pipeline_is_open(set, pipeline)) ||
        (pipeline_is_idle(set, pipeline, now_ns) && pipeline_can_return(pipeline, &set->loop))) {
      return pipeline;
    }
  }
  return NULL;
}

static void ask(struct pipeline_set *set, enum pipeline_role role, struct pipeline_todo *todo)
{
  set->asking[role] = PIPELINE_ASK_BUSY;
  todo->kind = PIPELINE_ASK;
  todo->role = role;
}

/* Is there anything that nobody will come to by himself? */
static void alert_loop(struct pipeline_set *set, int64_t now_ns, struct pipeline_wakes *wakes)
{
  for (enum pipeline_role role = 0; role < PIPELINE_ROLES && !wakes->loop; role++) {
    if (set->queued[role] > 0) {
      const int64_t again = set->ask_again_ns[role];
      wakes->loop = (again > now_ns && again < set->loop_until_ns) ||
                    pipeline_choose(set, role) != NULL || pipeline_may_ask(set, role, now_ns) ||
                    pipeline_make_way(set, role, now_ns);
    }
  }
}

static void park(struct pipeline_call *call, int64_t until_ns, struct pipeline_todo *todo)
{
  atomic_store_explicit(&call->signal, PIPELINE_PARKED, memory_order_relaxed);
  todo->kind = PIPELINE_PARK;
  todo->until_ns = until_ns;
}

static void wait_for_input(const struct pipeline_set *set, struct pipeline_call *call,
                           int64_t until_ns, struct pipeline_todo *todo)
{
  struct pipeline *pipeline = call->pipeline;
  const int64_t due = pipeline_due(set, pipeline);
  call->hand.away = true;
  todo->kind = PIPELINE_POLL;
  todo->pipeline = pipeline;
  todo->depth = pipeline_in_flight(pipeline);
  todo->wants = pipeline->wants;
  todo->until_ns = until_ns < due ? until_ns : due;
}

/* It is outside, and nothing is due that it could do: it waits, or it is over. */
static void rest_caller(struct pipeline_set *set, struct pipeline_hand *hand, int64_t now_ns,
                        struct pipeline_todo *todo, struct pipeline_wakes *wakes)
{
  struct pipeline_call *call = hand->call;
  alert_loop(set, now_ns, wakes);
  if (call->asynchronous) {
    call->starting = false;
    if (call->place == PIPELINE_NOWHERE) {
      cen_list_push_back(&set->settled, &call->link);
      wakes->loop = true;
    } else if (pipeline_call_deadline(call) < set->minded_ns || call->stopped) {
      set->minded_ns = call->stopped ? 0 : pipeline_call_deadline(call);
      wakes->loop = wakes->loop || set->minded_ns < set->loop_until_ns;
    }
    todo->kind = PIPELINE_REST;
    return;
  }
  if (call->place == PIPELINE_NOWHERE) {
    todo->kind = PIPELINE_SETTLE;
    return;
  }
  const int64_t until = pipeline_call_until(set, call, now_ns);
  if (call->place == PIPELINE_SENT && call->pipeline->poller == hand) {
    wait_for_input(set, call, until, todo);
  } else {
    park(call, until, todo);
  }
}

static void step_caller(struct pipeline_set *set, struct pipeline_hand *hand, int64_t now_ns,
                        struct pipeline_todo *todo, struct pipeline_wakes *wakes)
{
  struct pipeline_call *call = hand->call;
  struct pipeline *been = NULL;
  for (;;) {
    if (pipeline_is_blocking(hand)) {
      pipeline_mind_call(set, call, now_ns, wakes);
    }
    if (hand->in != NULL) {
      if (work(set, hand, now_ns, todo, wakes)) {
        return;
      }
      been = hand->in;
      leave(set, hand, wakes);
    }
    struct pipeline *duty = hand->polls;
    if (duty != NULL && !waits_in(hand, duty)) {
      pipeline_drop_duty(hand); /* its call is over, or elsewhere: somebody else is to wait */
      if (duty->inside == NULL) {
        if (pipeline_is_due(set, duty, hand, now_ns)) {
          pipeline_enter(hand, duty);
          continue;
        }
        care(set, duty, hand, wakes);
      }
    }
    struct pipeline *next = next_for_caller(set, hand, now_ns, wakes);
    if (next == NULL || next == been) {
      break;
    }
    pipeline_enter(hand, next);
  }
  if (call->place == PIPELINE_QUEUED && pipeline_may_ask(set, call->role, now_ns)) {
    ask(set, call->role, todo);
    return;
  }
  if (waits_in(hand, call->pipeline) && call->pipeline->inside == NULL) {
    care(set, call->pipeline, hand, wakes); /* also takes over from the loop */
  }
  rest_caller(set, hand, now_ns, todo, wakes);
}

/* -------------------------------------------------------------------- the loop */

/* Watches that are wanted and not there, or there and not wanted. */
static bool arrange_watches(struct pipeline_set *set, struct pipeline_todo *todo)
{
  for (unsigned i = 0; i < set->top; i++) {
    struct pipeline *pipeline = set->pipeline[i];
    if (pipeline == NULL) {
      continue;
    }
    todo->pipeline = pipeline;
    if (pipeline->watched &&
        (pipeline->revents != 0 || (pipeline->poller != NULL && pipeline->poller != &set->loop))) {
      pipeline->watched = false;
      todo->kind = PIPELINE_FORGET;
      return true;
    }
    const bool ours = pipeline->poller == &set->loop ||
                      (pipeline->watched && pipeline->poller == NULL); /* idle, still watched */
    if (ours && pipeline->inside == NULL && is_watched_wrong(pipeline)) {
      pipeline->watched = true;
      pipeline->watch = pipeline->wants;
      todo->kind = PIPELINE_WATCH;
      todo->wants = pipeline->wants;
      return true;
    }
  }
  return false;
}

static void rest_loop(struct pipeline_set *set, int64_t now_ns, struct pipeline_todo *todo)
{
  int64_t until = set->minded_ns;
  for (unsigned i = 0; i < set->top; i++) {
    const struct pipeline *pipeline = set->pipeline[i];
    if (pipeline == NULL) {
      continue;
    }
    /* While it is busy, too: it will be idle, and nobody shall have to tell the loop each time. */
    const bool idle = pipeline->inside == NULL && pipeline_can_return(pipeline, &set->loop);
    int64_t due = (idle ? pipeline->idle_since_ns : now_ns) + pipeline_idle_ns(set);
    /* Whoever is inside does what is due, or calls the loop. */
    if (pipeline->poller == &set->loop && pipeline->inside == NULL) {
      const int64_t head = pipeline_due(set, pipeline);
      due = head < due ? head : due;
    }
    until = due < until ? due : until;
  }
  for (unsigned role = 0; role < PIPELINE_ROLES; role++) {
    if (set->queued[role] > 0 && set->ask_again_ns[role] > now_ns &&
        set->ask_again_ns[role] < until) {
      until = set->ask_again_ns[role];
    }
  }
  set->loop_until_ns = until;
  todo->kind = PIPELINE_REST;
  todo->until_ns = until;
}

static void step_loop(struct pipeline_set *set, int64_t now_ns, struct pipeline_todo *todo,
                      struct pipeline_wakes *wakes)
{
  struct pipeline_hand *hand = &set->loop;
  struct pipeline *last = NULL; /* each once, in their order */
  pipeline_mind_calls(set, now_ns, wakes);
  for (;;) {
    if (hand->in != NULL) {
      if (work(set, hand, now_ns, todo, wakes)) {
        if (todo->kind == PIPELINE_FORGET) { /* and then it is met again, and returned */
          hand->in->inside = NULL;
          hand->in = NULL;
        }
        return;
      }
      leave(set, hand, wakes);
    }
    for (enum pipeline_role role = 0; role < PIPELINE_ROLES; role++) {
      if (pipeline_make_way(set, role, now_ns)) {
        last = NULL; /* it may be one that was met already */
      }
    }
    last = next_for_loop(set, last, now_ns);
    if (last == NULL) {
      break;
    }
    pipeline_enter(hand, last);
  }
  if (arrange_watches(set, todo)) {
    return;
  }
  for (enum pipeline_role role = 0; role < PIPELINE_ROLES; role++) {
    if (set->asking[role] == PIPELINE_ASK_WAITING && set->queued[role] == 0) {
      set->asking[role] = PIPELINE_ASK_BUSY;
      todo->kind = PIPELINE_WITHDRAW;
      todo->role = role;
      return;
    }
    if (pipeline_may_ask(set, role, now_ns)) {
      ask(set, role, todo);
      return;
    }
  }
  rest_loop(set, now_ns, todo);
}

/* ------------------------------------------------------------------- the steps */

void pipeline_step(struct pipeline_set *set, struct pipeline_hand *hand,
                   const struct pipeline_did *did, int64_t now_ns, struct pipeline_todo *todo,
                   struct pipeline_wakes *wakes)
{
  memset(todo, 0, sizeof *todo);
  pool_lock_take(&set->lock);
  if (pipeline_is_blocking(hand) && hand->call->place != PIPELINE_NOWHERE) {
    atomic_store_explicit(&hand->call->signal, PIPELINE_AWAKE, memory_order_relaxed);
  }
  pipeline_take_report(set, hand, did, now_ns, wakes);
  if (pipeline_is_loop(hand)) {
    step_loop(set, now_ns, todo, wakes);
  } else {
    step_caller(set, hand, now_ns, todo, wakes);
  }
  pool_lock_give(&set->lock);
}

void pipeline_submit(struct pipeline_set *set, struct pipeline_call *call, bool drive,
                     int64_t now_ns, struct pipeline_todo *todo, struct pipeline_wakes *wakes)
{
  memset(todo, 0, sizeof *todo);
  atomic_init(&call->signal, PIPELINE_AWAKE);
  call->hand = (struct pipeline_hand){.call = call};
  cen_link_init(&call->link);
  call->pipeline = NULL;
  call->gave_up_ns = call->sent_ns = 0;
  call->repeats = call->moves = 0;
  call->stopped = call->alone = call->sent = call->answered = false;
  call->cut_off = false;
  call->starting = call->asynchronous;
  call->status = CENOTE_OK;
  call->result = NULL;
  call->submitted_ns = now_ns;
  pool_lock_take(&set->lock);
  call->id = set->ids++;
  const uint32_t most = set->limits.queue > 0 ? set->limits.queue : 1;
  const uint32_t queued = set->queued[PIPELINE_READER] + set->queued[PIPELINE_WRITER];
  if (set->shut) {
    pipeline_settle(set, call, PIPELINE_SHUT, now_ns, wakes);
  } else if (queued >= most) {
    pipeline_settle(set, call, PIPELINE_FULL, now_ns, wakes);
  } else {
    pipeline_enqueue(set, call, now_ns);
  }
  if (drive) {
    step_caller(set, &call->hand, now_ns, todo, wakes);
  } else {
    rest_caller(set, &call->hand, now_ns, todo, wakes);
    wakes->loop = true;
  }
  pool_lock_give(&set->lock);
}
