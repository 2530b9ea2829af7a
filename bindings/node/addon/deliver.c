/*
 * deliver.c - a manager's queue: what is done, and what the library tells, until JavaScript hears of
 * it; and what JavaScript waits for, which keeps the loop alive.
 */
#include "addon.h"

#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------- the queue */

void manager_done(struct node_op *op)
{
  struct node_manager *owner = op->owner;
  op->next = NULL;
  pthread_mutex_lock(&owner->lock);
  if (owner->last != NULL) {
    owner->last->next = op;
  } else {
    owner->first = op;
  }
  owner->last = op;
  pthread_mutex_unlock(&owner->lock);
  if (!pthread_equal(pthread_self(), owner->home->thread) || !owner->dispatching) {
    uv_async_send(&owner->wake);
  }
}

static struct node_op *take_done(struct node_manager *owner)
{
  pthread_mutex_lock(&owner->lock);
  struct node_op *list = owner->first;
  owner->first = NULL;
  owner->last = NULL;
  pthread_mutex_unlock(&owner->lock);
  return list;
}

void manager_hold(struct node_manager *owner, bool hold)
{
  owner->pending += hold ? 1u : UINT32_MAX;
  if (owner->home->ending || owner->gone) {
    return;
  }
  if (hold && owner->pending == 1) {
    uv_ref((uv_handle_t *)&owner->poll);
    uv_ref((uv_handle_t *)&owner->wake);
  } else if (owner->pending == 0) {
    uv_unref((uv_handle_t *)&owner->poll);
    uv_unref((uv_handle_t *)&owner->wake);
  }
}

void manager_pending(struct node_manager *owner, struct node_op *op)
{
  if (op->slot >= owner->ops_size) {
    const uint32_t size = op->slot < 32 ? 64 : op->slot * 2;
    struct node_op **larger = realloc(owner->ops, size * sizeof(struct node_op *));
    if (larger != NULL) { /* else it cannot be cancelled */
      memset(larger + owner->ops_size, 0, (size - owner->ops_size) * sizeof(struct node_op *));
      owner->ops = larger;
      owner->ops_size = size;
    }
  }
  if (op->slot < owner->ops_size) {
    owner->ops[op->slot] = op;
  }
  manager_hold(owner, true);
}

void manager_settled(struct node_manager *owner, struct node_op *op)
{
  if (op->kind == OP_BEGIN) {
    transact_rest(owner, op);
    return;
  }
  if (op->kind != OP_ACQUIRE && op->kind != OP_RESULT && op->kind != OP_TRANSACT) {
    return;
  }
  if (op->slot < owner->ops_size) {
    owner->ops[op->slot] = NULL;
  }
  if (!op->resting) {
    manager_hold(owner, false);
  }
}

/* ----------------------------------------------------------------- the delivery */

void manager_deliver(struct node_manager *owner)
{
  struct node_op *list = take_done(owner);
  if (list == NULL) {
    return;
  }
  if (owner->home->ending) {
    while (list != NULL) {
      struct node_op *op = list;
      list = op->next;
      manager_settled(owner, op);
      op_free(op);
    }
    return;
  }
  encode_deliver(owner, list);
}

void manager_drop(struct node_manager *owner)
{
  struct node_op *list = take_done(owner);
  while (list != NULL) {
    struct node_op *op = list;
    list = op->next;
    op_free(op);
  }
}

/* --------------------------------------------------------------- what it tells */

static struct node_op *told_new(struct node_manager *owner, enum op_kind kind, const char *first,
                                const char *second)
{
  const size_t one = strlen(first) + 1;
  const size_t two = strlen(second) + 1;
  struct node_op *op = calloc(1, sizeof *op + one + two);
  if (op != NULL) {
    op->owner = owner;
    op->kind = kind;
    memcpy(op->text, first, one);
    memcpy(op->text + one, second, two);
  }
  return op;
}

void manager_ask_own(struct node_manager *owner, enum own_ask ask, double serial)
{
  struct node_op *op = told_new(owner, OP_OWN, "", "");
  if (op != NULL) { /* else it runs into its time-out */
    op->number = (int64_t)ask;
    op->when = (int64_t)serial;
    manager_done(op);
  }
}

void manager_tell_log(void *context, cenote_log_level level, const char *line)
{
  struct node_op *op = told_new(context, OP_LOG, line, "");
  if (op != NULL) {
    op->number = level;
    manager_done(op);
  }
}

void manager_tell_audit(void *context, const cenote_audit_event *event)
{
  struct node_op *op = told_new(context, OP_AUDIT, event->reason, event->operation_id);
  if (op != NULL) {
    op->status = (cenote_status)event->kind;
    op->number = (int64_t)event->connection;
    op->when = event->unix_ms;
    manager_done(op);
  }
}
