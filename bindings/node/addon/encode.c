/*
 * encode.c - what is done, to JavaScript, in one crossing for each wake of the loop:
 *
 *   deliver(numbers: Float64Array, count, pieces: string[], others: any[])
 *
 * A record begins with the slot and its code; what follows is below, that of a result in rows.c, what
 * tells its own type in text.c. lib/decode.cjs is the other half.
 */
#include "addon.h"

#include <stdlib.h>
#include <string.h>

enum {
  CODE_LEASE,
  CODE_RESULT,
  CODE_ERROR,
  CODE_AUDIT,
  CODE_LOG,
  CODE_OWN,
  CODE_BEGIN,
  CODE_DONE,
  CODE_MORE
};
static void set_text(napi_env env, napi_value object, const char *name, const char *text)
{
  if (text != NULL && text[0] != '\0') {
    napi_set_named_property(env, object, name, text_of(env, text));
  }
}

napi_value encode_error(napi_env env, const cenote_error *error)
{
  static const char letters[] = "SVCMDHPpqWsctdnFLRX";
  napi_value object, fields, value;
  if (napi_create_object(env, &object) != napi_ok || napi_create_object(env, &fields) != napi_ok) {
    return undefined_of(env);
  }
  set_text(env, object, "message",
           error->message[0] != '\0' ? error->message : cenote_status_text(error->status));
  set_text(env, object, "status", cenote_status_name(error->status));
  set_text(env, object, "sqlstate", error->sqlstate);
  set_text(env, object, "details", error->details);
  if (napi_get_boolean(env, error->retryable, &value) == napi_ok) {
    napi_set_named_property(env, object, "retryable", value);
  }
  if (error->statement >= 0 && napi_create_int64(env, error->statement, &value) == napi_ok) {
    napi_set_named_property(env, object, "statement", value);
  }
  for (const char *letter = letters; *letter != '\0'; letter++) {
    const char name[2] = {*letter, '\0'};
    set_text(env, fields, name, cenote_error_field(error, *letter));
  }
  napi_set_named_property(env, object, "fields", fields);
  return object;
}

static bool put_failure(struct encoder *to, const struct node_op *op)
{
  cenote_error bare = CENOTE_ERROR_INIT;
  bare.status = op->status;
  if (!numbers_room(to, 3)) {
    return false;
  }
  put(to, op->slot);
  put(to, CODE_ERROR);
  put(to, put_other(to, encode_error(to->env, op->error != NULL ? op->error : &bare)));
  return true;
}

/* Of a script the results of all statements but the last come as MORE in front of it. */
static bool put_results(struct encoder *to, struct node_op *op)
{
  const cenote_result *result = op->result;
  while (result != NULL) {
    const cenote_result *next = cenote_result_next(result);
    const size_t used = to->used;
    if (!numbers_room(to, 16)) {
      return false;
    }
    put(to, op->slot);
    put(to, next != NULL ? CODE_MORE : CODE_RESULT);
    if (!put_result(to, result, (unsigned)op->number)) {
      /* Texts that were put stay; nothing speaks of them, so none may follow in their piece. */
      piece_end(to);
      to->used = used;
      op->status = CENOTE_NO_MEMORY;
      return put_failure(to, op);
    }
    result = next;
  }
  return true;
}

static bool put_op(struct encoder *to, struct node_op *op)
{
  if (!numbers_room(to, 16)) {
    return false;
  }
  switch (op->kind) {
  case OP_AUDIT:
    put(to, op->slot);
    put(to, CODE_AUDIT);
    put(to, (double)op->status);
    put(to, (double)op->number);
    put(to, (double)op->when);
    put_word(to, op->text);
    put_word(to, op->text + strlen(op->text) + 1);
    return true;
  case OP_OWN:
    put(to, op->slot);
    put(to, CODE_OWN);
    put(to, (double)op->number);
    put(to, (double)op->when);
    return true;
  case OP_LOG:
    put(to, op->slot);
    put(to, CODE_LOG);
    put(to, (double)op->number);
    put_word(to, op->text);
    return true;
  case OP_BEGIN:
    put(to, op->slot);
    put(to, CODE_BEGIN);
    return true;
  case OP_TRANSACT:
    if (op->status != CENOTE_OK) {
      return put_failure(to, op);
    }
    put(to, op->slot);
    put(to, CODE_DONE);
    return true;
  case OP_ACQUIRE:
    if (op->status == CENOTE_OK) {
      put(to, op->slot);
      put(to, CODE_LEASE);
      put(to, op->lease.manager);
      put(to, op->lease.slot);
      put(to, (double)op->lease.generation);
      return true;
    }
    return put_failure(to, op);
  case OP_RESULT:
  default:
    if (op->status != CENOTE_OK) {
      return put_failure(to, op);
    }
    return put_results(to, op);
  }
}

static void call_with(struct encoder *to, napi_value numbers)
{
  napi_env env = to->env;
  napi_value function, global, count;
  if (napi_get_reference_value(env, to->owner->deliver, &function) != napi_ok ||
      napi_get_global(env, &global) != napi_ok ||
      napi_create_double(env, (double)to->used, &count) != napi_ok) {
    return;
  }
  napi_value args[] = {numbers, count, to->pieces, to->others};
  if (to->owner->scripted) { /* called by JavaScript, whose exceptions are its own */
    napi_call_function(env, global, function, 4, args, NULL);
    return;
  }
  const napi_status status =
      napi_make_callback(env, to->owner->context, global, function, 4, args, NULL);
  if (status == napi_pending_exception) {
    napi_value error;
    if (napi_get_and_clear_last_exception(env, &error) == napi_ok) {
      napi_fatal_exception(env, error);
    }
  }
}

static void numbers_back(struct encoder *to, napi_ref ref, size_t size)
{
  struct node_manager *owner = to->owner;
  if (!owner->gone && owner->numbers == NULL) {
    owner->numbers = ref;
    owner->numbers_size = size;
  } else if (!owner->gone && owner->spare == NULL) {
    owner->spare = ref;
    owner->spare_size = size;
  } else {
    napi_delete_reference(to->env, ref);
  }
}

/* What is delivered may call back, and deliver more: the numbers are nobody else's meanwhile. */
static void call_deliver(struct encoder *to)
{
  struct node_manager *owner = to->owner;
  const napi_ref ref = owner->numbers;
  const size_t size = owner->numbers_size;
  napi_value numbers;
  if (napi_get_reference_value(to->env, ref, &numbers) != napi_ok) {
    return;
  }
  owner->numbers = owner->spare;
  owner->numbers_size = owner->spare_size;
  owner->spare = NULL;
  call_with(to, numbers);
  numbers_back(to, ref, size);
}

static bool encoder_open(struct encoder *to, struct node_manager *owner)
{
  to->env = owner->home->env;
  to->owner = owner;
  to->used = 0;
  to->filled = 0;
  to->wide = false;
  to->piece_count = 0;
  to->other_count = 0;
  return numbers_open(to) && napi_create_array(to->env, &to->pieces) == napi_ok &&
         napi_create_array(to->env, &to->others) == napi_ok;
}

void encode_deliver(struct node_manager *owner, struct node_op *list)
{
  napi_handle_scope scope;
  napi_env env = owner->home->env;
  /* Taken for as long as it is used: what is delivered may call back, and deliver more. */
  struct encoder *to = owner->encoder != NULL ? owner->encoder : malloc(sizeof *to);
  owner->encoder = NULL;
  if (to == NULL || napi_open_handle_scope(env, &scope) != napi_ok) {
    free(to);
    to = NULL;
  }
  bool good = to != NULL && encoder_open(to, owner);
  while (list != NULL) {
    struct node_op *op = list;
    list = op->next;
    good = good && put_op(to, op);
    manager_settled(owner, op);
    op_free(op);
  }
  if (to == NULL) {
    return;
  }
  if (good) {
    piece_end(to);
    call_deliver(to);
  }
  napi_close_handle_scope(env, scope);
  free(owner->encoder);
  owner->encoder = to;
}
