/*
 * transact.c - routed transactions: JavaScript's body between the library's BEGIN and COMMIT.
 *
 *   transact ──► … BEGIN … ──► CODE_BEGIN: the body's turn ──► txExecute …, txFinish ──► … COMMIT …
 *                                  ▲                                                        │
 *                                  └──────── again, where a conflict may be repeated ───────┤
 *                                                                  CODE_DONE or CODE_ERROR ◄┘
 *
 * In the body's turn nothing of it keeps the loop alive: nobody is asked for anything.
 */
#include "addon.h"

#include <stdlib.h>
#include <string.h>

/* Any thread. */
static void on_begin(void *context, cenote_transaction *transaction)
{
  struct node_op *op = context;
  struct node_op *told = op_new(op->owner, OP_BEGIN, op->slot);
  if (told == NULL) {
    const cenote_status status = cenote_tx_finish(transaction, CENOTE_NO_MEMORY, NULL);
    (void)status; /* it is the body's turn */
    return;
  }
  told->transaction = transaction;
  manager_done(told);
}

static void on_done(void *context, cenote_status status, const cenote_error *error)
{
  struct node_op *op = context;
  op_fail(op, status, error);
  manager_done(op);
}

/* The transaction that JavaScript calls `slot`, or NULL. */
static struct node_op *transact_at(struct node_manager *owner, double slot)
{
  if (owner == NULL || slot < 0 || slot >= owner->ops_size) {
    return NULL;
  }
  struct node_op *op = owner->ops[(uint32_t)slot];
  return op != NULL && op->kind == OP_TRANSACT && op->transaction != NULL ? op : NULL;
}

void transact_rest(struct node_manager *owner, const struct node_op *told)
{
  struct node_op *op = told->slot < owner->ops_size ? owner->ops[told->slot] : NULL;
  if (op != NULL && op->kind == OP_TRANSACT && !op->resting) {
    op->transaction = told->transaction;
    op->resting = true;
    manager_hold(owner, false);
  }
}

enum {
  TRANSACT_HANDLE,
  TRANSACT_SLOT,
  TRANSACT_OPERATION,
  TRANSACT_MODE,
  TRANSACT_ISOLATION,
  TRANSACT_DEFERRABLE,
  TRANSACT_TIMEOUT,
  TRANSACT_REMAINING,
  TRANSACT_RETRIES,
  TRANSACT_COUNT
};

/* transact(handle, slot, operation, mode, isolation, deferrable, ms, remaining ms, retries) */
static napi_value js_transact(napi_env env, napi_callback_info info)
{
  napi_value args[TRANSACT_COUNT];
  struct node_manager *owner =
      argument(env, info, TRANSACT_COUNT, args) ? manager_of(env, args[TRANSACT_HANDLE]) : NULL;
  if (owner == NULL) {
    return refusal_closed(env);
  }
  struct node_op *op = op_new(owner, OP_TRANSACT, (uint32_t)number_of(env, args[TRANSACT_SLOT], 0));
  if (op == NULL) {
    return refusal(env, CENOTE_NO_MEMORY, "out of memory: transaction");
  }
  arena_reset(owner->home);
  cenote_transact_options options = CENOTE_TRANSACT_OPTIONS_INIT;
  options.operation_id = operation_of(owner->home, args[TRANSACT_OPERATION]);
  options.mode = (cenote_batch_mode)number_of(env, args[TRANSACT_MODE], CENOTE_BATCH_WRITE);
  options.isolation = (cenote_isolation)number_of(env, args[TRANSACT_ISOLATION], 0);
  options.deferrable = number_of(env, args[TRANSACT_DEFERRABLE], 0) != 0;
  options.timeout_ms = (int64_t)number_of(env, args[TRANSACT_TIMEOUT], 0);
  options.remaining_ms = (int64_t)number_of(env, args[TRANSACT_REMAINING], 0);
  options.retries = (int64_t)number_of(env, args[TRANSACT_RETRIES], 0);
  manager_pending(owner, op); /* before it starts: its body finds it by the slot */
  cenote_error error = CENOTE_ERROR_INIT;
  if (op->slot >= owner->ops_size) {
    cenote_error_set(&error, CENOTE_NO_MEMORY, "out of memory: transaction");
  } else if (cenote_transact_async(owner->manager, &options, on_begin, on_done, op, &op->ticket,
                                   &error) == CENOTE_OK) {
    return undefined_of(env);
  }
  manager_settled(owner, op);
  op_free(op);
  return encode_error(env, &error);
}

enum {
  EXECUTE_HANDLE,
  EXECUTE_SLOT,
  EXECUTE_TRANSACTION,
  EXECUTE_SQL,
  EXECUTE_COUNT = EXECUTE_SQL + EXECUTE_TOLD
};

static napi_value refuse_over(napi_env env)
{
  return refusal(env, CENOTE_INVALID, "the transaction is over");
}

/* txExecute(handle, slot, the transaction's slot, sql, args, names, flags, ms) */
static napi_value js_execute(napi_env env, napi_callback_info info)
{
  napi_value args[EXECUTE_COUNT];
  struct node_manager *owner =
      argument(env, info, EXECUTE_COUNT, args) ? manager_of(env, args[EXECUTE_HANDLE]) : NULL;
  if (owner == NULL) {
    return refusal_closed(env);
  }
  struct node_op *transact = transact_at(owner, number_of(env, args[EXECUTE_TRANSACTION], -1));
  if (transact == NULL || !transact->resting) {
    return refuse_over(env);
  }
  return execute_start(owner, args[EXECUTE_SLOT], args + EXECUTE_SQL, transact->transaction,
                       (cenote_lease){0});
}

/* txFinish(handle, the transaction's slot, good, SQLSTATE): commit; else roll back, and again where the
 * state is that of a conflict */
static napi_value js_finish(napi_env env, napi_callback_info info)
{
  napi_value args[4];
  struct node_manager *owner = argument(env, info, 4, args) ? manager_of(env, args[0]) : NULL;
  if (owner == NULL) {
    return refusal_closed(env);
  }
  struct node_op *op = transact_at(owner, number_of(env, args[1], -1));
  if (op == NULL || !op->resting) {
    return refuse_over(env);
  }
  bool good = false;
  size_t written = 0;
  cenote_error error = CENOTE_ERROR_INIT;
  char state[8] = "";
  napi_get_value_bool(env, args[2], &good);
  napi_get_value_string_utf8(env, args[3], state, sizeof state, &written);
  cenote_status outcome = CENOTE_OK;
  if (!good) {
    outcome = written == 5 ? CENOTE_DATABASE : CENOTE_INVALID;
    cenote_error_set(&error, outcome, "the transaction's callback failed");
    memcpy(error.sqlstate, state, written == 5 ? 6 : 0);
  }
  const cenote_status status = cenote_tx_finish(op->transaction, outcome, &error);
  if (status != CENOTE_OK) {
    return refusal(env, status, "a statement of this transaction is still running");
  }
  op->resting = false;
  manager_hold(owner, true);
  return undefined_of(env);
}

void transact_exports(napi_env env, napi_value exports)
{
  export_function(env, exports, "transact", js_transact);
  export_function(env, exports, "txExecute", js_execute);
  export_function(env, exports, "txFinish", js_finish);
}
