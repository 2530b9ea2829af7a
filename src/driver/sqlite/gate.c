#include "driver/sqlite/gate.h"

#include "net/park.h"

void cen_sq_gate_init(struct cen_sq_gate *gate)
{
  pthread_mutex_init(&gate->lock, NULL);
  gate->held = false;
  gate->passed = 0;
  cen_link_init(&gate->waiters);
}

void cen_sq_gate_deinit(struct cen_sq_gate *gate)
{
  pthread_mutex_destroy(&gate->lock);
}

/* A newcomer takes the gate when it is free and the head has not been passed too often. */
static bool try_locked(struct cen_sq_gate *gate)
{
  bool empty = cen_list_empty(&gate->waiters);
  if (gate->held || (!empty && gate->passed >= CEN_SQ_GATE_PASSES)) {
    return false;
  }
  gate->held = true;
  gate->passed = empty ? 0 : gate->passed + 1;
  return true;
}

bool cen_sq_gate_try(struct cen_sq_gate *gate)
{
  bool entered;
  pthread_mutex_lock(&gate->lock);
  entered = try_locked(gate);
  pthread_mutex_unlock(&gate->lock);
  return entered;
}

/* The gate is free: the head shall look. Answers the word to wake, or NULL. */
static _Atomic uint32_t *nudge_head_locked(struct cen_sq_gate *gate)
{
  struct cen_sq_waiter *head;
  if (gate->held || cen_list_empty(&gate->waiters)) {
    return NULL;
  }
  head = CEN_CONTAINER(gate->waiters.next, struct cen_sq_waiter, link);
  atomic_store(&head->word, CEN_SQ_NUDGED);
  return &head->word;
}

/* A nudged waiter looks: true when it has the gate now. */
static bool look(struct cen_sq_gate *gate, struct cen_sq_waiter *waiter)
{
  bool entered;
  pthread_mutex_lock(&gate->lock);
  entered = atomic_load(&waiter->word) == CEN_SQ_GRANTED;
  if (!entered && !gate->held && gate->waiters.next == &waiter->link) {
    cen_list_remove(&waiter->link);
    gate->held = true;
    gate->passed = 0;
    entered = true;
  } else if (!entered) {
    atomic_store(&waiter->word, CEN_SQ_WAITING);
  }
  pthread_mutex_unlock(&gate->lock);
  return entered;
}

/* Leaves the queue; true: too late, the gate was granted in the meantime. */
static bool give_up(struct cen_sq_gate *gate, struct cen_sq_waiter *waiter)
{
  bool granted;
  _Atomic uint32_t *wake = NULL;
  pthread_mutex_lock(&gate->lock);
  granted = atomic_load(&waiter->word) == CEN_SQ_GRANTED;
  if (!granted) {
    cen_list_remove(&waiter->link);
    wake = nudge_head_locked(gate); /* the nudge may have been ours */
  }
  pthread_mutex_unlock(&gate->lock);
  if (wake) {
    cen_unpark(wake);
  }
  return granted;
}

bool cen_sq_gate_enter(struct cen_sq_gate *gate, struct cen_sq_waiter *waiter, int64_t deadline_ns,
                       bool (*stopped)(void *context), void *context)
{
  pthread_mutex_lock(&gate->lock);
  if (try_locked(gate)) {
    pthread_mutex_unlock(&gate->lock);
    return true;
  }
  atomic_store(&waiter->word, CEN_SQ_WAITING);
  cen_list_push_back(&gate->waiters, &waiter->link);
  pthread_mutex_unlock(&gate->lock);
  for (;;) {
    uint32_t word = atomic_load(&waiter->word);
    if (word == CEN_SQ_GRANTED) {
      return true;
    }
    if (stopped(context)) {
      return give_up(gate, waiter);
    }
    if (word == CEN_SQ_NUDGED) {
      if (look(gate, waiter)) {
        return true;
      }
    } else if (!cen_park(&waiter->word, CEN_SQ_WAITING, deadline_ns)) {
      return give_up(gate, waiter);
    }
  }
}

void cen_sq_gate_leave(struct cen_sq_gate *gate)
{
  _Atomic uint32_t *wake;
  pthread_mutex_lock(&gate->lock);
  if (gate->passed >= CEN_SQ_GATE_PASSES && !cen_list_empty(&gate->waiters)) {
    /* passed often enough: handed over, nobody comes between */
    struct cen_sq_waiter *head =
        CEN_CONTAINER(cen_list_pop(&gate->waiters), struct cen_sq_waiter, link);
    gate->passed = 0;
    atomic_store(&head->word, CEN_SQ_GRANTED);
    wake = &head->word;
  } else {
    gate->held = false;
    wake = nudge_head_locked(gate);
  }
  pthread_mutex_unlock(&gate->lock);
  if (wake) {
    cen_unpark(wake);
  }
}

void cen_sq_waiter_nudge(struct cen_sq_waiter *waiter)
{
  uint32_t waiting = CEN_SQ_WAITING;
  if (atomic_compare_exchange_strong(&waiter->word, &waiting, CEN_SQ_NUDGED)) {
    cen_unpark(&waiter->word);
  }
}
