/* query.c - statements as they are sent: one, or a batch. */
#include "driver/neon/neon.h"

#include "base/limits.h"
#include "driver/neon/text.h"

#include <stdlib.h>
#include <string.h>

static cenote_status check_args(const cenote_statement *statement, size_t highest, bool native,
                                cenote_error *error)
{
  if (statement->count != highest && !native) {
    return cenote_error_set(error, CENOTE_INVALID, "the statement takes %zu argument%s, %zu given",
                            highest, highest == 1 ? "" : "s", statement->count);
  }
  if (statement->count > CEN_MAX_ARGS) {
    return cenote_error_set(error, CENOTE_TOO_LARGE, "%zu arguments, PostgreSQL takes %d at most",
                            statement->count, CEN_MAX_ARGS);
  }
  for (size_t i = 0; i < statement->count; i++) {
    if (statement->args[i].name != NULL) {
      return cenote_error_set(error, CENOTE_INVALID,
                              "PostgreSQL has no named arguments; use ? or $1");
    }
  }
  return CENOTE_OK;
}

static cenote_status one_make(struct neon_queries *queries, size_t at,
                              const cenote_statement *statement, const cenote_request *request,
                              cenote_error *error)
{
  const bool native = (request->flags & CENOTE_REQUEST_NATIVE) != 0;
  struct neon_text text;
  cenote_status status =
      neon_text_take(&text, statement->sql, native, request->kind == CENOTE_REQUEST_EXECUTE, error);
  if (status != CENOTE_OK) {
    return status;
  }
  const char *sent = text.rewritten != NULL ? text.rewritten : statement->sql;
  queries->rewritten[at] = text.rewritten;
  queries->reads = queries->reads && text.reads;
  queries->repeatable = queries->repeatable && text.repeatable;
  queries->list[at] = (struct cen_neon_query){.sql = sent,
                                              .sql_size = strlen(sent),
                                              .args = statement->args,
                                              .count = statement->count,
                                              .array_mode = -1};
  return check_args(statement, text.highest, native, error);
}

cenote_status neon_queries_make(struct neon_queries *queries, const cenote_request *request,
                                cenote_error *error)
{
  const cenote_statement one = {
      .sql = request->sql, .args = request->args, .count = request->count};
  const bool batch = request->kind == CENOTE_REQUEST_BATCH;
  const cenote_statement *statements = batch ? request->statements : &one;
  const size_t count = batch ? request->statement_count : 1;
  *queries = (struct neon_queries){.count = count, .reads = true, .repeatable = true};
  queries->list = calloc(count, sizeof *queries->list);
  queries->rewritten = calloc(count, sizeof *queries->rewritten);
  cenote_status status =
      queries->list != NULL && queries->rewritten != NULL
          ? CENOTE_OK
          : cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory for a statement");
  for (size_t i = 0; status == CENOTE_OK && i < count; i++) {
    status = one_make(queries, i, &statements[i], request, error);
    if (status != CENOTE_OK && batch && error != NULL) {
      error->statement = (int64_t)i;
    }
  }
  if (status != CENOTE_OK) {
    neon_queries_free(queries);
  }
  return status;
}

void neon_queries_free(struct neon_queries *queries)
{
  for (size_t i = 0; queries->rewritten != NULL && i < queries->count; i++) {
    free(queries->rewritten[i]);
  }
  free(queries->rewritten);
  free(queries->list);
  *queries = (struct neon_queries){0};
}
