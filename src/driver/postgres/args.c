/* args.c - arguments as libpq takes them: text, but for blobs. */
#include "driver/postgres/postgres.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { OID_BYTEA = 17, MASKED_ARGS = 64 };

cenote_status pg_args_check(const struct pg_statement *statement, const cenote_request *request,
                            cenote_error *error)
{
  if (request->count != statement->highest && !statement->native) {
    return cenote_error_set(error, CENOTE_INVALID, "the statement takes %zu argument%s, %zu given",
                            statement->highest, statement->highest == 1 ? "" : "s", request->count);
  }
  if (request->count > CEN_MAX_ARGS) {
    return cenote_error_set(error, CENOTE_TOO_LARGE, "%zu arguments, PostgreSQL takes %d at most",
                            request->count, CEN_MAX_ARGS);
  }
  for (size_t i = 0; i < request->count; i++) {
    const cenote_value *arg = &request->args[i];
    if (arg->name) {
      return cenote_error_set(error, CENOTE_INVALID,
                              "PostgreSQL has no named arguments; use ? or $1");
    }
    if (arg->type == CENOTE_TEXT && arg->size > 0 && memchr(arg->as.text, '\0', arg->size)) {
      return cenote_error_set(
          error, CENOTE_INVALID,
          "argument %zu is text with a NUL byte, which PostgreSQL cannot hold; pass a blob", i + 1);
    }
    if ((arg->type == CENOTE_TEXT || arg->type == CENOTE_BLOB) && arg->size > INT32_MAX) {
      return cenote_error_set(error, CENOTE_TOO_LARGE,
                              "argument %zu is larger than PostgreSQL takes", i + 1);
    }
  }
  return CENOTE_OK;
}

/* Which arguments are blobs. They alone carry a type: the rest is text whose type the server
 * infers from where it stands, as it does for a literal. *exact: none lies beyond the mask. */
uint64_t pg_args_blobs(const cenote_request *request, bool *exact)
{
  uint64_t mask = 0;
  *exact = true;
  for (size_t i = 0; i < request->count; i++) {
    if (request->args[i].type == CENOTE_BLOB) {
      *exact = *exact && i < MASKED_ARGS;
      mask |= i < MASKED_ARGS ? UINT64_C(1) << i : 0;
    }
  }
  return mask;
}

static bool scratch_reserve(cenote_connection *c, size_t size)
{
  if (size <= c->scratch_size) {
    return true;
  }
  char *larger = realloc(c->scratch, size);
  if (larger) {
    c->scratch = larger;
    c->scratch_size = size;
  }
  return larger != NULL;
}

/* The server takes the number of types for that of the parameters: where the caller's number may be
 * wrong, it is better not told. */
static bool is_untyped(const cenote_request *request)
{
  bool exact;
  return (request->flags & CENOTE_REQUEST_NATIVE) != 0 && pg_args_blobs(request, &exact) == 0 &&
         exact;
}

/* libpq copies what it is given, so that one buffer serves all statements of a connection. */
bool pg_args_build(cenote_connection *c, const cenote_request *request, struct pg_args *args)
{
  size_t count = request->count;
  size_t arrays = count * (sizeof(char *) + 2 * sizeof(int) + sizeof(Oid));
  size_t texts = 0;
  *args = (struct pg_args){0};
  if (count == 0) {
    return true;
  }
  for (size_t i = 0; i < count; i++) {
    texts += pg_arg_size(&request->args[i]);
  }
  if (!scratch_reserve(c, arrays + texts)) {
    return false;
  }
  args->values = (const char **)(void *)c->scratch;
  args->lengths = (int *)(void *)(c->scratch + count * sizeof(char *));
  args->formats = args->lengths + count;
  args->types = (Oid *)(void *)(args->formats + count);
  char *text = c->scratch + arrays;
  for (size_t i = 0; i < count; i++) {
    const cenote_value *arg = &request->args[i];
    bool blob = arg->type == CENOTE_BLOB;
    args->formats[i] = blob;
    args->types[i] = blob ? OID_BYTEA : 0;
    args->lengths[i] = blob ? (int)arg->size : 0; /* of text, libpq looks itself */
    if (blob) {
      args->values[i] = arg->size > 0 ? arg->as.blob : "";
    } else if (arg->type == CENOTE_NULL) {
      args->values[i] = NULL;
    } else {
      args->values[i] = text;
      args->lengths[i] = (int)pg_arg_text(arg, text);
      text += args->lengths[i] + 1;
    }
  }
  if (is_untyped(request)) {
    args->types = NULL;
  }
  return true;
}

void pg_args_trim(cenote_connection *c)
{
  if (c->scratch_size > PG_SCRATCH_KEPT) {
    free(c->scratch);
    c->scratch = NULL;
    c->scratch_size = 0;
  }
}
