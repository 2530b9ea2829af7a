/*
 * calls.c - the calls of a lease and the statements without one. Each names its operation by a slot
 * of JavaScript's, answers undefined when it has begun, or at once what went wrong, and ends in
 * deliver. A lease is three numbers: manager, slot, generation.
 */
#include "addon.h"

#include <cenote/driver.h>
#include <stdlib.h>
#include <string.h>

struct node_op *op_new(struct node_manager *owner, enum op_kind kind, uint32_t slot)
{
  struct node_op *op = calloc(1, sizeof *op);
  if (op != NULL) {
    op->owner = owner;
    op->kind = kind;
    op->slot = slot;
  }
  return op;
}

void op_free(struct node_op *op)
{
  cenote_result_free(op->result);
  free(op->error);
  free(op);
}

void op_fail(struct node_op *op, cenote_status status, const cenote_error *error)
{
  op->status = status;
  if (status != CENOTE_OK && error != NULL) {
    op->error = malloc(sizeof *op->error);
    if (op->error != NULL) {
      *op->error = *error;
    }
  }
}

static void on_lease(void *context, cenote_status status, cenote_lease lease,
                     const cenote_error *error)
{
  struct node_op *op = context;
  op_fail(op, status, error);
  op->lease = lease;
  manager_done(op);
}

static void on_result(void *context, cenote_status status, cenote_result *result,
                      const cenote_error *error)
{
  struct node_op *op = context;
  op_fail(op, status, error);
  op->result = result;
  manager_done(op);
}

napi_value refusal(napi_env env, cenote_status status, const char *message)
{
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_error_set(&error, status, "%s", message);
  return encode_error(env, &error);
}

napi_value refusal_closed(napi_env env)
{
  return refusal(env, CENOTE_SHUTTING_DOWN, "the pool manager is shutting down: it is closed");
}

static bool is_given(napi_env env, napi_value value)
{
  napi_valuetype type = napi_undefined;
  return napi_typeof(env, value, &type) == napi_ok && type != napi_undefined && type != napi_null;
}

const char *operation_of(struct node_home *home, napi_value value)
{
  size_t offset, size;
  if (!is_given(home->env, value) || !arena_text(home, value, &offset, &size)) {
    return NULL;
  }
  return home->arena + offset;
}

/* Flags of JavaScript's that concern delivery alone; the others are cenote.h's. */
enum { FLAG_DATES = 1 << 16 };

unsigned flags_of(napi_env env, napi_value value, struct node_op *op)
{
  const unsigned flags = (unsigned)number_of(env, value, 0);
  op->number = ((flags & CENOTE_QUERY_RAW_TEXT) != 0 ? LAYOUT_RAW : 0) |
               ((flags & FLAG_DATES) != 0 ? LAYOUT_DATES : 0);
  return (flags & ~(unsigned)FLAG_DATES) |
         ((flags & FLAG_DATES) != 0 ? (unsigned)CENOTE_QUERY_TIMES : 0u);
}

cenote_lease lease_at(napi_env env, const napi_value *values)
{
  return (cenote_lease){.manager = (uint32_t)number_of(env, values[0], 0),
                        .slot = (uint32_t)number_of(env, values[1], 0),
                        .generation = (uint64_t)number_of(env, values[2], 0)};
}

/* ------------------------------------------------------------------- leases */

/* acquire(handle, slot, operation | undefined, ms) */
static napi_value js_acquire(napi_env env, napi_callback_info info)
{
  napi_value args[4];
  struct node_manager *owner = argument(env, info, 4, args) ? manager_of(env, args[0]) : NULL;
  if (owner == NULL) {
    return refusal_closed(env);
  }
  struct node_op *op = op_new(owner, OP_ACQUIRE, (uint32_t)number_of(env, args[1], 0));
  if (op == NULL) {
    return refusal(env, CENOTE_NO_MEMORY, "out of memory: acquire");
  }
  arena_reset(owner->home);
  const char *operation = operation_of(owner->home, args[2]);
  cenote_error error = CENOTE_ERROR_INIT;
  if (cenote_acquire_async(owner->manager, operation, (int64_t)number_of(env, args[3], -1),
                           on_lease, op, &op->ticket, &error) != CENOTE_OK) {
    op_free(op);
    return encode_error(env, &error);
  }
  manager_pending(owner, op);
  return undefined_of(env);
}

/* intern(operation): a number for it that take knows; undefined where it has to be the text */
static napi_value js_intern(napi_env env, napi_callback_info info)
{
  napi_value args[1], number;
  struct node_home *home = home_of(env);
  size_t size = 0;
  char *room = home->operations[home->operation_count % OPERATIONS];
  if (home->operation_count == OPERATIONS || !argument(env, info, 1, args) ||
      napi_get_value_string_utf8(env, args[0], room, OPERATION_ROOM, &size) != napi_ok ||
      size >= OPERATION_ROOM - 4 || /* it may be cut */
      napi_create_uint32(env, home->operation_count, &number) != napi_ok) {
    return undefined_of(env);
  }
  home->operation_count++;
  return number;
}

/* take(handle, operation, its number, or undefined): true when a connection was free; its lease is in exports.lease */
static napi_value js_take(napi_env env, napi_callback_info info)
{
  napi_value args[2], answer;
  struct node_manager *owner = argument(env, info, 2, args) ? manager_of(env, args[0]) : NULL;
  cenote_lease lease;
  bool taken = false;
  if (owner != NULL && owner->home->lease != NULL) {
    uint32_t number;
    const char *operation;
    if (napi_get_value_uint32(env, args[1], &number) == napi_ok && number < OPERATIONS) {
      operation = owner->home->operations[number];
    } else {
      arena_reset(owner->home);
      operation = operation_of(owner->home, args[1]);
    }
    taken = cenote_acquire_now(owner->manager, operation, &lease);
  }
  if (taken) {
    double *numbers = owner->home->lease;
    numbers[0] = lease.manager;
    numbers[1] = lease.slot;
    numbers[2] = (double)lease.generation;
  }
  napi_get_boolean(env, taken, &answer);
  return answer;
}

static napi_value status_of(napi_env env, cenote_status status)
{
  napi_value value;
  return napi_create_int32(env, (int32_t)status, &value) == napi_ok ? value : undefined_of(env);
}

/* release(manager, slot, generation): a status */
static napi_value js_release(napi_env env, napi_callback_info info)
{
  napi_value args[3];
  argument(env, info, 3, args);
  return status_of(env, cenote_release(lease_at(env, args)));
}

/* discard(manager, slot, generation): a status */
static napi_value js_discard(napi_env env, napi_callback_info info)
{
  napi_value args[3];
  argument(env, info, 3, args);
  return status_of(env, cenote_discard(lease_at(env, args)));
}

/* connectionOf(manager, slot, generation): its number, 0 when it is not held */
static napi_value js_connection_of(napi_env env, napi_callback_info info)
{
  napi_value args[3], number;
  argument(env, info, 3, args);
  const uint64_t connection = cenote_lease_connection(lease_at(env, args));
  return napi_create_double(env, (double)connection, &number) == napi_ok ? number
                                                                         : undefined_of(env);
}

static napi_value js_revoke(napi_env env, napi_callback_info info)
{
  napi_value args[3];
  argument(env, info, 3, args);
  return status_of(env, cenote_revoke(lease_at(env, args)));
}

/* extend(manager, slot, generation, ms) */
static napi_value js_extend(napi_env env, napi_callback_info info)
{
  napi_value args[4];
  cenote_error error = CENOTE_ERROR_INIT;
  argument(env, info, 4, args);
  if (cenote_lease_extend(lease_at(env, args), (int64_t)number_of(env, args[3], 0), &error) !=
      CENOTE_OK) {
    return encode_error(env, &error);
  }
  return undefined_of(env);
}

/* look(manager, slot, generation, Float64Array(4)): created, age, idle, remaining; false: over */
static napi_value js_look(napi_env env, napi_callback_info info)
{
  napi_value args[4], answer;
  cenote_lease_info about = CENOTE_LEASE_INFO_INIT;
  size_t length = 0;
  void *data = NULL;
  argument(env, info, 4, args);
  const bool good =
      cenote_lease_stats(lease_at(env, args), &about) == CENOTE_OK &&
      napi_get_typedarray_info(env, args[3], NULL, &length, &data, NULL, NULL) == napi_ok &&
      length >= 4;
  if (good) {
    double *numbers = data;
    numbers[0] = (double)about.created_unix_ms;
    numbers[1] = (double)about.age_ms;
    numbers[2] = (double)about.idle_ms;
    numbers[3] = (double)about.remaining_ms;
  }
  napi_get_boolean(env, good, &answer);
  return answer;
}

/* inTransaction(manager, slot, generation): undefined when that cannot be said */
static napi_value js_in_transaction(napi_env env, napi_callback_info info)
{
  napi_value args[3], answer;
  bool open = false;
  argument(env, info, 3, args);
  if (cenote_in_transaction(lease_at(env, args), &open) != CENOTE_OK ||
      napi_get_boolean(env, open, &answer) != napi_ok) {
    return undefined_of(env);
  }
  return answer;
}

/* --------------------------------------------------------------- statements */

napi_value read_statement(struct node_home *home, napi_value sql, napi_value args, napi_value names,
                          struct spoken *to)
{
  size_t offset, size;
  arena_reset(home);
  if (!arena_text(home, sql, &offset, &size)) {
    return refusal(home->env, CENOTE_INVALID, "the statement is no text");
  }
  if (strlen(home->arena + offset) != size) {
    return refusal(home->env, CENOTE_INVALID, "the statement holds a NUL character");
  }
  if (!values_read(home, args, names, &to->count)) {
    return undefined_of(home->env); /* an exception is pending */
  }
  to->sql = home->arena + offset;
  return NULL;
}

napi_value execute_start(struct node_manager *owner, napi_value slot, const napi_value *told,
                         cenote_transaction *transaction, cenote_lease lease)
{
  napi_env env = owner->home->env;
  struct spoken spoken;
  napi_value wrong = read_statement(owner->home, told[0], told[1], told[2], &spoken);
  if (wrong != NULL) {
    return wrong;
  }
  struct node_op *op = op_new(owner, OP_RESULT, (uint32_t)number_of(env, slot, 0));
  if (op == NULL) {
    return refusal(env, CENOTE_NO_MEMORY, "out of memory: statement");
  }
  cenote_execute_options options = CENOTE_EXECUTE_OPTIONS_INIT;
  options.flags = flags_of(env, told[3], op);
  options.timeout_ms = (int64_t)number_of(env, told[4], 0);
  const cenote_value *values = owner->home->values;
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_status status =
      transaction != NULL
          ? cenote_tx_execute_async_with(transaction, spoken.sql, values, spoken.count, &options,
                                         on_result, op, &op->ticket, &error)
          : cenote_execute_async_with(lease, spoken.sql, values, spoken.count, &options, on_result,
                                      op, &op->ticket, &error);
  if (status != CENOTE_OK) {
    op_free(op);
    return encode_error(env, &error);
  }
  manager_pending(owner, op);
  return undefined_of(env);
}

enum {
  EXECUTE_HANDLE,
  EXECUTE_SLOT,
  EXECUTE_SQL,
  EXECUTE_LEASE = EXECUTE_SQL + EXECUTE_TOLD,
  EXECUTE_COUNT = EXECUTE_LEASE + 3
};

/* execute(handle, slot, sql, args, names, flags, ms, …lease) */
static napi_value js_execute(napi_env env, napi_callback_info info)
{
  napi_value args[EXECUTE_COUNT];
  struct node_manager *owner =
      argument(env, info, EXECUTE_COUNT, args) ? manager_of(env, args[EXECUTE_HANDLE]) : NULL;
  if (owner == NULL) {
    return refusal_closed(env);
  }
  return execute_start(owner, args[EXECUTE_SLOT], args + EXECUTE_SQL, NULL,
                       lease_at(env, args + EXECUTE_LEASE));
}

enum {
  QUERY_HANDLE,
  QUERY_SLOT,
  QUERY_SQL,
  QUERY_ARGS,
  QUERY_NAMES,
  QUERY_FLAGS,
  QUERY_TIMEOUT,
  QUERY_OPERATION,
  QUERY_HINT,
  QUERY_RETRIES,
  QUERY_REMAINING,
  QUERY_COUNT
};

/* query(handle, slot, sql, args, names, flags, ms, operation, hint, retries, remaining ms) */
static napi_value js_query(napi_env env, napi_callback_info info)
{
  napi_value args[QUERY_COUNT];
  struct spoken spoken;
  struct node_manager *owner =
      argument(env, info, QUERY_COUNT, args) ? manager_of(env, args[QUERY_HANDLE]) : NULL;
  if (owner == NULL) {
    return refusal_closed(env);
  }
  char operation[4 * 129];
  size_t written = 0;
  const bool named = is_given(env, args[QUERY_OPERATION]) &&
                     napi_get_value_string_utf8(env, args[QUERY_OPERATION], operation,
                                                sizeof operation, &written) == napi_ok;
  napi_value wrong =
      read_statement(owner->home, args[QUERY_SQL], args[QUERY_ARGS], args[QUERY_NAMES], &spoken);
  if (wrong != NULL) {
    return wrong;
  }
  struct node_op *op = op_new(owner, OP_RESULT, (uint32_t)number_of(env, args[QUERY_SLOT], 0));
  if (op == NULL) {
    return refusal(env, CENOTE_NO_MEMORY, "out of memory: statement");
  }
  cenote_query_options options = CENOTE_QUERY_OPTIONS_INIT;
  options.operation_id = named ? operation : NULL;
  options.flags = flags_of(env, args[QUERY_FLAGS], op);
  options.timeout_ms = (int64_t)number_of(env, args[QUERY_TIMEOUT], 0);
  options.hint = (cenote_hint)number_of(env, args[QUERY_HINT], 0);
  options.retries = (int64_t)number_of(env, args[QUERY_RETRIES], -1);
  options.remaining_ms = (int64_t)number_of(env, args[QUERY_REMAINING], 0);
  cenote_error error = CENOTE_ERROR_INIT;
  if (cenote_query_async(owner->manager, spoken.sql, owner->home->values, spoken.count, &options,
                         on_result, op, &op->ticket, &error) != CENOTE_OK) {
    op_free(op);
    return encode_error(env, &error);
  }
  manager_pending(owner, op);
  return undefined_of(env);
}

/* cancel(handle, slot) */
static napi_value js_cancel(napi_env env, napi_callback_info info)
{
  napi_value args[2];
  struct node_manager *owner = argument(env, info, 2, args) ? manager_of(env, args[0]) : NULL;
  const double slot = number_of(env, args[1], -1);
  if (owner == NULL || slot < 0 || slot >= owner->ops_size) {
    return undefined_of(env);
  }
  const struct node_op *op = owner->ops[(uint32_t)slot];
  if (op != NULL && op->kind == OP_ACQUIRE) {
    cenote_cancel_acquire(op->ticket);
  } else if (op != NULL) {
    cenote_cancel_query(op->ticket);
  }
  return undefined_of(env);
}

/* Where take tells of its lease; as long as the environment lives. */
static void export_lease(napi_env env, napi_value exports)
{
  struct node_home *home = home_of(env);
  napi_value buffer, view;
  napi_ref ref;
  void *bytes;
  if (napi_create_arraybuffer(env, 3 * sizeof(double), &bytes, &buffer) == napi_ok &&
      napi_create_typedarray(env, napi_float64_array, 3, buffer, 0, &view) == napi_ok &&
      napi_create_reference(env, view, 1, &ref) == napi_ok &&
      napi_set_named_property(env, exports, "lease", view) == napi_ok) {
    home->lease = bytes;
  }
}

void calls_exports(napi_env env, napi_value exports)
{
  export_lease(env, exports);
  export_function(env, exports, "acquire", js_acquire);
  export_function(env, exports, "intern", js_intern);
  export_function(env, exports, "take", js_take);
  export_function(env, exports, "release", js_release);
  export_function(env, exports, "revoke", js_revoke);
  export_function(env, exports, "discard", js_discard);
  export_function(env, exports, "connectionOf", js_connection_of);
  export_function(env, exports, "extend", js_extend);
  export_function(env, exports, "look", js_look);
  export_function(env, exports, "inTransaction", js_in_transaction);
  export_function(env, exports, "execute", js_execute);
  export_function(env, exports, "query", js_query);
  export_function(env, exports, "cancel", js_cancel);
}
