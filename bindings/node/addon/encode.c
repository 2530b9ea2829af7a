/*
 * encode.c - what is done, to JavaScript, in one crossing for each wake of the loop:
 *
 *   deliver(numbers: Float64Array, count, pieces: string[], others: any[])
 *
 * A record begins with the slot and its code; what follows is below. A text is its length in
 * `numbers` and its characters in `pieces`: short texts of plain ASCII share a piece of up to PIECE
 * characters (longer ones would keep each other alive), any other has a piece of its own. lib/decode
 * is the other half.
 */
#include "addon.h"

#include <stdlib.h>
#include <string.h>

enum { CODE_LEASE, CODE_RESULT, CODE_ERROR, CODE_AUDIT, CODE_LOG, CODE_OWN, CODE_BEGIN, CODE_DONE };
enum { TAG_NULL, TAG_NUMBER, TAG_TEXT, TAG_PIECE, TAG_BOOLEAN, TAG_BIG, TAG_BLOB };
enum { PIECE = 4096, FIRST_NUMBERS = 4096, KEPT_NUMBERS = 1 << 18 };

struct encoder {
  napi_env env;
  struct node_manager *owner;
  double *numbers;
  size_t used;
  napi_value pieces, others;
  uint32_t piece_count, other_count;
  size_t filled;
  char piece[PIECE];
};

static bool numbers_make(struct node_manager *owner, size_t size, double **data)
{
  napi_env env = owner->home->env;
  napi_value buffer, view;
  void *bytes;
  napi_ref ref;
  if (napi_create_arraybuffer(env, size * sizeof(double), &bytes, &buffer) != napi_ok ||
      napi_create_typedarray(env, napi_float64_array, size, buffer, 0, &view) != napi_ok ||
      napi_create_reference(env, view, 1, &ref) != napi_ok) {
    return false;
  }
  if (owner->numbers != NULL) {
    napi_delete_reference(env, owner->numbers);
  }
  owner->numbers = ref;
  owner->numbers_size = size;
  *data = bytes;
  return true;
}

static bool numbers_open(struct encoder *to)
{
  struct node_manager *owner = to->owner;
  if (owner->numbers == NULL || owner->numbers_size > KEPT_NUMBERS) {
    return numbers_make(owner, FIRST_NUMBERS, &to->numbers);
  }
  napi_value view;
  void *bytes;
  if (napi_get_reference_value(to->env, owner->numbers, &view) != napi_ok ||
      napi_get_typedarray_info(to->env, view, NULL, NULL, &bytes, NULL, NULL) != napi_ok) {
    return false;
  }
  to->numbers = bytes;
  return true;
}

static bool numbers_room(struct encoder *to, size_t more)
{
  if (to->owner->numbers_size - to->used >= more) {
    return true;
  }
  size_t size = to->owner->numbers_size;
  while (size - to->used < more) {
    if (size > SIZE_MAX / 32) {
      return false;
    }
    size *= 2;
  }
  /* The old one stays where it is until the handle scope ends. */
  const double *old = to->numbers;
  double *larger;
  if (!numbers_make(to->owner, size, &larger)) {
    return false;
  }
  memcpy(larger, old, to->used * sizeof *larger);
  to->numbers = larger;
  return true;
}

static void put(struct encoder *to, double number)
{
  to->numbers[to->used++] = number;
}

static void piece_add(struct encoder *to, napi_value piece)
{
  napi_set_element(to->env, to->pieces, to->piece_count++, piece);
}

static void piece_end(struct encoder *to)
{
  napi_value piece;
  if (to->filled > 0) {
    if (napi_create_string_latin1(to->env, to->piece, to->filled, &piece) == napi_ok) {
      piece_add(to, piece);
    }
    to->filled = 0;
  }
}

static bool is_ascii(const char *text, size_t size)
{
  unsigned char all = 0;
  for (size_t i = 0; i < size; i++) {
    all |= (unsigned char)text[i];
  }
  return all < 0x80;
}

static void put_text(struct encoder *to, double tag, const char *text, size_t size)
{
  if (size <= PIECE && is_ascii(text, size)) {
    if (to->filled + size > PIECE) {
      piece_end(to);
    }
    memcpy(to->piece + to->filled, text, size);
    to->filled += size;
    put(to, tag);
    put(to, (double)size);
    return;
  }
  napi_value piece;
  piece_end(to);
  if (napi_create_string_utf8(to->env, text, size, &piece) != napi_ok) {
    put(to, TAG_NULL); /* longer than a JavaScript string can be */
    put(to, 0);
    return;
  }
  piece_add(to, piece);
  put(to, TAG_PIECE);
  put(to, 0);
}

static void put_integer(struct encoder *to, int64_t number)
{
  if (number >= -9007199254740991 && number <= 9007199254740991) {
    put(to, TAG_NUMBER);
    put(to, (double)number);
    return;
  }
  char text[24];
  const int size = snprintf(text, sizeof text, "%lld", (long long)number);
  put_text(to, TAG_BIG, text, (size_t)size);
}

static void put_blob(struct encoder *to, const void *bytes, size_t size)
{
  void *copy;
  napi_value buffer;
  if (napi_create_arraybuffer(to->env, size, &copy, &buffer) != napi_ok) {
    put(to, TAG_NULL);
    put(to, 0);
    return;
  }
  if (size > 0) {
    memcpy(copy, bytes, size);
  }
  put(to, TAG_BLOB);
  put(to, to->other_count);
  napi_set_element(to->env, to->others, to->other_count++, buffer);
}

static void put_value(struct encoder *to, const cenote_value *value)
{
  switch (value->type) {
  case CENOTE_INTEGER:
    put_integer(to, value->as.integer);
    return;
  case CENOTE_REAL:
    put(to, TAG_NUMBER);
    put(to, value->as.real);
    return;
  case CENOTE_BOOLEAN:
    put(to, TAG_BOOLEAN);
    put(to, value->as.boolean);
    return;
  case CENOTE_TEXT:
    put_text(to, TAG_TEXT, value->as.text, value->size);
    return;
  case CENOTE_BLOB:
    put_blob(to, value->as.blob, value->size);
    return;
  case CENOTE_NULL:
  default:
    put(to, TAG_NULL);
    put(to, 0);
  }
}

static void put_word(struct encoder *to, const char *text)
{
  text = text != NULL ? text : "";
  put_text(to, TAG_TEXT, text, strlen(text));
}

/* [slot, RESULT, columns, rows, affected, {last id}, {command}, ({name}, {type}, oid, table, attribute,
 * size, modifier)…, cells…] */
static bool put_result(struct encoder *to, uint32_t slot, const cenote_result *result)
{
  const size_t columns = cenote_result_columns(result);
  const size_t rows = cenote_result_rows(result);
  if (columns > 0 && rows > (SIZE_MAX / 64 - 16) / columns - 9) {
    return false;
  }
  if (!numbers_room(to, 16 + 9 * columns + 2 * columns * rows)) {
    return false;
  }
  put(to, slot);
  put(to, CODE_RESULT);
  put(to, (double)columns);
  put(to, (double)rows);
  put(to, (double)cenote_result_affected_rows(result));
  put_integer(to, cenote_result_last_insert_id(result));
  put_word(to, cenote_result_command(result));
  for (size_t i = 0; i < columns; i++) {
    cenote_column column;
    const bool there = cenote_result_column(result, i, &column);
    (void)there; /* i < columns */
    put_word(to, column.name);
    put_word(to, column.type);
    put(to, column.oid);
    put(to, column.table_oid);
    put(to, column.attribute);
    put(to, column.type_size);
    put(to, column.modifier);
  }
  for (size_t row = 0; row < rows; row++) {
    for (size_t i = 0; i < columns; i++) {
      const cenote_value value = cenote_result_value(result, row, i);
      put_value(to, &value);
    }
  }
  return true;
}

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
  put(to, to->other_count);
  napi_set_element(to->env, to->others, to->other_count++,
                   encode_error(to->env, op->error != NULL ? op->error : &bare));
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
    if (!put_result(to, op->slot, op->result)) {
      op->status = CENOTE_NO_MEMORY;
      return put_failure(to, op);
    }
    return true;
  }
}

static void call_deliver(struct encoder *to)
{
  napi_env env = to->env;
  napi_value function, global, count, numbers;
  if (napi_get_reference_value(env, to->owner->deliver, &function) != napi_ok ||
      napi_get_reference_value(env, to->owner->numbers, &numbers) != napi_ok ||
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

void encode_deliver(struct node_manager *owner, struct node_op *list)
{
  napi_handle_scope scope;
  struct encoder *to = calloc(1, sizeof *to);
  napi_env env = owner->home->env;
  if (napi_open_handle_scope(env, &scope) != napi_ok) {
    free(to);
    to = NULL;
  }
  bool good = to != NULL;
  if (good) {
    to->env = env;
    to->owner = owner;
    good = numbers_open(to) && napi_create_array(env, &to->pieces) == napi_ok &&
           napi_create_array(env, &to->others) == napi_ok;
  }
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
  free(to);
}
