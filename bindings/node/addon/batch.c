/*
 * batch.c - several statements on a lease as one, all or nothing: one request where the driver takes
 * them whole (Hrana, Neon's SQL over HTTP). The library's call blocks, so a thread of libuv's pool
 * makes it. Each statement's result is delivered by a slot of its own; the promise says when, or
 * what went wrong with all of them.
 */
#include "addon.h"

#include <stdlib.h>
#include <string.h>

struct batch {
  struct node_manager *owner;
  napi_async_work work;
  napi_deferred deferred;
  napi_ref handle; /* the manager's memory stays until the thread is back */
  cenote_lease lease;
  size_t count;
  struct node_op **ops;
  cenote_statement *statements; /* each in a block of its own, which its args begin */
  cenote_batch_options options;
  cenote_result **results;
  cenote_status status;
  cenote_error error;
};

static void batch_free(struct batch *batch)
{
  for (size_t i = 0; i < batch->count; i++) {
    if (batch->statements != NULL) {
      free((void *)batch->statements[i].args);
    }
    if (batch->ops != NULL && batch->ops[i] != NULL) {
      op_free(batch->ops[i]);
    }
  }
  free(batch->statements);
  free(batch->ops);
  free(batch);
}

/* ------------------------------------------------------------------- statements */

static bool has_bytes(const cenote_value *value)
{
  return value->type == CENOTE_TEXT || value->type == CENOTE_BLOB;
}

static char *keep(char *room, const void *bytes, size_t size)
{
  if (size > 0) {
    memcpy(room, bytes, size);
  }
  room[size] = '\0';
  return room + size + 1;
}

/* What was spoken, in one block: the arguments, their bytes and names, the text. */
static bool copy_statement(const struct node_home *home, const struct spoken *spoken,
                           cenote_statement *to)
{
  const cenote_value *values = home->values;
  size_t size = spoken->count * sizeof *values + strlen(spoken->sql) + 1;
  for (size_t i = 0; i < spoken->count; i++) {
    size += has_bytes(&values[i]) ? (size_t)values[i].size + 1 : 0;
    size += values[i].name != NULL ? strlen(values[i].name) + 1 : 0;
  }
  cenote_value *args = malloc(size);
  if (args == NULL) {
    return false;
  }
  char *room = (char *)(args + spoken->count);
  for (size_t i = 0; i < spoken->count; i++) {
    args[i] = values[i];
    if (has_bytes(&values[i])) {
      const void *from = values[i].type == CENOTE_TEXT ? values[i].as.text : values[i].as.blob;
      if (values[i].type == CENOTE_TEXT) {
        args[i].as.text = room;
      } else {
        args[i].as.blob = room;
      }
      room = keep(room, from, values[i].size);
    }
    if (values[i].name != NULL) {
      args[i].name = room;
      room = keep(room, values[i].name, strlen(values[i].name));
    }
  }
  *to = (cenote_statement){.sql = room, .args = args, .count = spoken->count};
  keep(room, spoken->sql, strlen(spoken->sql));
  return true;
}

enum {
  BATCH_HANDLE,
  BATCH_LEASE,
  BATCH_SLOTS = BATCH_LEASE + 3,
  BATCH_SQLS,
  BATCH_ARGS,
  BATCH_NAMES,
  BATCH_FLAGS,
  BATCH_MODE,
  BATCH_ISOLATION,
  BATCH_DEFERRABLE,
  BATCH_TIMEOUT,
  BATCH_ARGUMENTS
};

static napi_value element(napi_env env, napi_value list, size_t i)
{
  napi_value value;
  return napi_get_element(env, list, (uint32_t)i, &value) == napi_ok ? value : undefined_of(env);
}

/* An answer only when something is wrong. */
static napi_value read_one(struct batch *batch, const napi_value *args, size_t i)
{
  struct node_home *home = batch->owner->home;
  napi_env env = home->env;
  struct spoken spoken;
  napi_value wrong =
      read_statement(home, element(env, args[BATCH_SQLS], i), element(env, args[BATCH_ARGS], i),
                     element(env, args[BATCH_NAMES], i), &spoken);
  if (wrong != NULL) {
    return wrong;
  }
  struct node_op *op = op_new(batch->owner, OP_RESULT,
                              (uint32_t)number_of(env, element(env, args[BATCH_SLOTS], i), 0));
  batch->ops[i] = op;
  if (op == NULL || !copy_statement(home, &spoken, &batch->statements[i])) {
    return refusal(env, CENOTE_NO_MEMORY, "out of memory: batch");
  }
  const unsigned flags = flags_of(env, element(env, args[BATCH_FLAGS], i), op);
  if (i > 0 && flags != batch->options.flags) {
    return refusal(env, CENOTE_INVALID, "all statements of a batch have the same flags");
  }
  batch->options.flags = flags;
  return NULL;
}

static napi_value read_all(struct batch *batch, const napi_value *args)
{
  napi_env env = batch->owner->home->env;
  const cenote_batch_options fresh = CENOTE_BATCH_OPTIONS_INIT;
  batch->options = fresh;
  batch->options.mode = (cenote_batch_mode)number_of(env, args[BATCH_MODE], CENOTE_BATCH_WRITE);
  batch->options.isolation = (cenote_isolation)number_of(env, args[BATCH_ISOLATION], 0);
  batch->options.deferrable = number_of(env, args[BATCH_DEFERRABLE], 0) != 0;
  batch->options.timeout_ms = (int64_t)number_of(env, args[BATCH_TIMEOUT], 0);
  batch->lease = (cenote_lease){.manager = (uint32_t)number_of(env, args[BATCH_LEASE], 0),
                                .slot = (uint32_t)number_of(env, args[BATCH_LEASE + 1], 0),
                                .generation = (uint64_t)number_of(env, args[BATCH_LEASE + 2], 0)};
  for (size_t i = 0; i < batch->count; i++) {
    napi_value wrong = read_one(batch, args, i);
    if (wrong != NULL) {
      return wrong;
    }
  }
  return NULL;
}

/* ---------------------------------------------------------------------- the run */

/* On a thread of the pool. */
static void batch_work(napi_env env, void *data)
{
  struct batch *batch = data;
  (void)env;
  batch->status = cenote_batch_with(batch->lease, batch->statements, batch->count, &batch->options,
                                    &batch->results, &batch->error);
}

/* JavaScript waits for it no more. */
static void drop_op(struct batch *batch, size_t i)
{
  manager_settled(batch->owner, batch->ops[i]);
  op_free(batch->ops[i]);
  batch->ops[i] = NULL;
}

static void batch_done(napi_env env, napi_status status, void *data)
{
  struct batch *batch = data;
  struct node_manager *owner = batch->owner;
  napi_value outcome = undefined_of(env);
  (void)status;
  const bool good = batch->status == CENOTE_OK && !owner->gone && !owner->home->ending;
  if (!good && batch->status == CENOTE_OK) {
    cenote_error_set(&batch->error, CENOTE_SHUTTING_DOWN,
                     "the pool manager is shutting down: it is closed");
  }
  for (size_t i = 0; i < batch->count; i++) {
    if (good) {
      batch->ops[i]->result = batch->results[i];
      batch->results[i] = NULL;
      manager_done(batch->ops[i]);
      batch->ops[i] = NULL;
    } else {
      drop_op(batch, i);
    }
  }
  cenote_results_free(batch->results, batch->count);
  if (good) {
    napi_resolve_deferred(env, batch->deferred, outcome);
  } else {
    napi_reject_deferred(env, batch->deferred, encode_error(env, &batch->error));
  }
  napi_delete_reference(env, batch->handle);
  napi_delete_async_work(env, batch->work);
  batch_free(batch);
}

static napi_value batch_start(struct batch *batch, napi_value handle)
{
  struct node_manager *owner = batch->owner;
  napi_env env = owner->home->env;
  napi_value promise, name = text_of(env, "cenote batch");
  if (napi_create_promise(env, &batch->deferred, &promise) != napi_ok ||
      napi_create_reference(env, handle, 1, &batch->handle) != napi_ok) {
    return refusal(env, CENOTE_NO_MEMORY, "out of memory: batch");
  }
  if (napi_create_async_work(env, NULL, name, batch_work, batch_done, batch, &batch->work) !=
      napi_ok) {
    napi_delete_reference(env, batch->handle);
    return refusal(env, CENOTE_NO_MEMORY, "out of memory: batch");
  }
  for (size_t i = 0; i < batch->count; i++) {
    manager_pending(owner, batch->ops[i]);
  }
  napi_queue_async_work(env, batch->work);
  return promise;
}

/* batch(handle, …lease, slots, statements, arguments, names, flags, mode, isolation, deferrable, ms): a
 * promise, or what went wrong */
static napi_value js_batch(napi_env env, napi_callback_info info)
{
  napi_value args[BATCH_ARGUMENTS];
  struct node_manager *owner =
      argument(env, info, BATCH_ARGUMENTS, args) ? manager_of(env, args[BATCH_HANDLE]) : NULL;
  uint32_t count = 0;
  if (owner == NULL) {
    return refusal_closed(env);
  }
  if (napi_get_array_length(env, args[BATCH_SLOTS], &count) != napi_ok) {
    return refusal(env, CENOTE_INVALID, "the batch is no list");
  }
  struct batch *batch = calloc(1, sizeof *batch);
  const cenote_error fresh = CENOTE_ERROR_INIT;
  if (batch == NULL) {
    return refusal(env, CENOTE_NO_MEMORY, "out of memory: batch");
  }
  batch->owner = owner;
  batch->error = fresh;
  batch->count = count;
  batch->ops = calloc(count + 1u, sizeof(struct node_op *));
  batch->statements = calloc(count + 1u, sizeof *batch->statements);
  napi_value answer = batch->ops == NULL || batch->statements == NULL
                          ? refusal(env, CENOTE_NO_MEMORY, "out of memory: batch")
                          : read_all(batch, args);
  if (answer == NULL) {
    answer = batch_start(batch, args[BATCH_HANDLE]);
    if (batch->work != NULL) {
      return answer;
    }
  }
  batch_free(batch);
  return answer;
}

void batch_exports(napi_env env, napi_value exports)
{
  export_function(env, exports, "batch", js_batch);
}
