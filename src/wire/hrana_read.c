/*
 * hrana_read.c - a pipeline's answer as the client reads it.
 *
 * The body is walked once without writing, so that a broken one delivers nothing; then each result
 * is read where it stands, its columns before its rows in whatever order they came.
 */
#include "wire/answer_error.h"
#include "wire/hrana_value.h"

#include <stdlib.h>
#include <string.h>

/* ----------------------------------------------------------------- opening */

/* {"message","code"} of an expired stream, {"error"} of a refusal. */
static bool http_texts(char *text, size_t size, size_t max_bytes, const char *texts[3])
{
  static const char *const names[] = {"message", "code", "error"};
  const struct cen_reader_limits limits = {max_bytes, CEN_HRANA_DEPTH, CEN_HRANA_ITEMS};
  uint64_t seen = 0;
  struct cen_reader r;
  cen_reader_init(&r, text, size, &limits);
  if (!cen_read_object(&r)) {
    return false;
  }
  for (int i; (i = cen_read_known(&r, names, 3, &seen)) >= 0;) {
    if (!cen_hrana_text_read(&r, &texts[i])) {
      return false;
    }
  }
  return cen_read_end(&r);
}

static cenote_status http_error(int http, const char *text, size_t size, size_t max_bytes,
                                cenote_error *error)
{
  const char *texts[3] = {NULL, NULL, NULL};
  char *copy = malloc(size + 1); /* decoding writes, and a body that is not JSON is quoted */
  cenote_status status;
  if (copy == NULL) {
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory for an answer");
  }
  if (size > 0) {
    memcpy(copy, text, size);
  }
  if (!http_texts(copy, size, max_bytes, texts)) {
    status = cen_http_error(http, text, size, error);
  } else if (texts[0] != NULL && texts[1] != NULL) {
    cen_hrana_error_fill(texts[0], texts[1], error, &status);
  } else if (texts[0] != NULL || texts[2] != NULL) {
    status = cenote_error_set(error, cen_http_status(http), "HTTP status %d: %s", http,
                              texts[0] != NULL ? texts[0] : texts[2]);
    if (error != NULL) {
      error->retryable = cen_http_retryable(http);
    }
  } else {
    status = cen_http_error(http, text, size, error);
  }
  free(copy);
  return status;
}

static cenote_status misread(const struct cen_reader *r, cenote_error *error)
{
  return cen_hrana_misread(r, false, error);
}

cenote_status cen_hrana_answer_open(struct cen_hrana_answer *answer, int status, char *text,
                                    size_t size, size_t max_bytes, size_t expected,
                                    cenote_error *error)
{
  enum { BATON, BASE_URL, RESULTS, MEMBERS };
  static const char *const names[MEMBERS] = {"baton", "base_url", "results"};
  const struct cen_reader_limits limits = {max_bytes, CEN_HRANA_DEPTH, CEN_HRANA_ITEMS};
  struct cen_reader *r = &answer->reader;
  struct cen_reader whole;
  struct cen_reader results;
  uint64_t seen = 0;
  *answer = (struct cen_hrana_answer){0};
  if (status < 200 || status > 299) {
    return http_error(status, text, size, max_bytes, error);
  }
  cen_reader_init(&whole, text, size, &limits);
  *r = results = whole;
  if (!cen_read_skip(r) || !cen_read_end(r)) {
    return misread(r, error);
  }
  *r = whole;
  bool fine = cen_read_object(r);
  for (int i; fine && (i = cen_read_known(r, names, MEMBERS, &seen)) >= 0;) {
    if (i == RESULTS) {
      results = *r;
      fine = cen_read_skip(r);
    } else {
      fine = cen_hrana_text_read(r, i == BATON ? &answer->baton : &answer->base_url);
    }
  }
  if (!fine || r->problem != NULL) {
    return misread(r, error);
  }
  if ((seen & 1u << RESULTS) == 0) {
    cen_reader_problem(r, "no results");
    return misread(r, error);
  }
  *r = results;
  if (!cen_read_array(r)) {
    return misread(r, error);
  }
  struct cen_reader counting = *r;
  while (cen_read_element(&counting) && cen_read_skip(&counting)) {
    answer->left++;
  }
  if (answer->left != expected) {
    size_t got = answer->left;
    answer->left = 0;
    return cenote_error_set(
        error, CENOTE_IO, "the answer of the server: %zu results for %zu requests", got, expected);
  }
  return CENOTE_OK;
}

void cen_hrana_answer_close(struct cen_hrana_answer *answer)
{
  free(answer->params);
  cen_hrana_table_deinit(&answer->table);
  *answer = (struct cen_hrana_answer){0};
}

/* ----------------------------------------------------------------- statements */

static cenote_status rows_read(struct cen_hrana_answer *answer, struct cen_reader *r,
                               cenote_sink *sink, cenote_error *error)
{
  if (!cen_read_array(r)) {
    return misread(r, error);
  }
  while (cen_read_element(r) && cen_hrana_row_read(r, &answer->table)) {
    cenote_status status = cenote_sink_row(sink, answer->table.row, answer->table.count, error);
    if (status != CENOTE_OK) {
      return status;
    }
  }
  return r->problem == NULL ? CENOTE_OK : misread(r, error);
}

static cenote_status result_read(struct cen_hrana_answer *answer, struct cen_reader *r,
                                 cenote_sink *sink, cenote_error *error)
{
  enum { COLS, ROWS, AFFECTED, ROWID, MEMBERS };
  static const char *const names[MEMBERS] = {"cols", "rows", "affected_row_count",
                                             "last_insert_rowid"};
  struct cen_reader at[MEMBERS];
  uint64_t seen = 0;
  int64_t affected = 0;
  int64_t rowid = 0;
  bool no_memory = false;
  bool null;
  if (!cen_read_object(r)) {
    return misread(r, error);
  }
  for (int i; (i = cen_read_known(r, names, MEMBERS, &seen)) >= 0;) {
    at[i] = *r;
    bool fine = i == AFFECTED ? cen_read_int(r, &affected, &null)
                : i == ROWID  ? cen_hrana_rowid_read(r, &rowid)
                              : cen_read_skip(r);
    if (!fine) {
      return misread(r, error);
    }
  }
  if (r->problem != NULL || (seen & 1u << COLS) == 0) {
    cen_reader_problem(r, "a result without cols");
    return misread(r, error);
  }
  if (!cen_hrana_columns_read(&at[COLS], &answer->table, &no_memory)) {
    return cen_hrana_misread(&at[COLS], no_memory, error);
  }
  cenote_status status =
      cenote_sink_columns(sink, answer->table.columns, answer->table.count, error);
  if (status == CENOTE_OK && (seen & 1u << ROWS) != 0) {
    status = rows_read(answer, &at[ROWS], sink, error);
  }
  if (status == CENOTE_OK) {
    cenote_sink_complete(sink, affected, rowid, "");
  }
  return status;
}

/* ----------------------------------------------------------------- responses */

static cenote_status batch_open(struct cen_hrana_answer *answer, struct cen_reader *r,
                                cenote_error *error)
{
  static const char *const names[] = {"step_results", "step_errors"};
  struct cen_reader *const at[] = {&answer->steps, &answer->errors};
  uint64_t seen = 0;
  if (!cen_read_object(r)) {
    return misread(r, error);
  }
  for (int i; (i = cen_read_known(r, names, 2, &seen)) >= 0;) {
    *at[i] = *r;
    if (!cen_read_array(at[i]) || !cen_read_skip(r)) {
      return misread(at[i]->problem != NULL ? at[i] : r, error);
    }
  }
  if (r->problem != NULL || seen != 3) {
    cen_reader_problem(r, "a batch without its steps");
    return misread(r, error);
  }
  return CENOTE_OK;
}

static cenote_status response_read(struct cen_hrana_answer *answer, struct cen_reader *r,
                                   enum cen_hrana_kind kind, cenote_sink *sink, bool *flag,
                                   cenote_error *error)
{
  enum { TYPE, RESULT, AUTOCOMMIT, MEMBERS };
  static const char *const names[MEMBERS] = {"type", "result", "is_autocommit"};
  const char *type = NULL;
  uint64_t seen = 0;
  bool is_autocommit = true;
  bool fine = cen_read_object(r);
  for (int i; fine && (i = cen_read_known(r, names, MEMBERS, &seen)) >= 0;) {
    if (i == TYPE) {
      fine = cen_hrana_text_read(r, &type);
    } else if (i == AUTOCOMMIT) {
      fine = cen_read_bool(r, &is_autocommit, NULL);
    } else {
      answer->result = *r;
      fine = cen_read_skip(r);
    }
  }
  if (!fine || r->problem != NULL) {
    return misread(r, error);
  }
  if (type == NULL || strcmp(type, cen_hrana_kind_name(kind)) != 0) {
    cen_reader_problem(r, "a response to another request");
    return misread(r, error);
  }
  bool wants_result =
      kind == CEN_HRANA_EXECUTE || kind == CEN_HRANA_BATCH || kind == CEN_HRANA_DESCRIBE;
  if ((wants_result && (seen & 1u << RESULT) == 0) ||
      (kind == CEN_HRANA_GET_AUTOCOMMIT && (seen & 1u << AUTOCOMMIT) == 0)) {
    cen_reader_problem(r, "a response without its result");
    return misread(r, error);
  }
  if (flag != NULL) {
    *flag = is_autocommit;
  }
  if (kind == CEN_HRANA_EXECUTE) {
    return result_read(answer, &answer->result, sink, error);
  }
  return kind == CEN_HRANA_BATCH ? batch_open(answer, &answer->result, error) : CENOTE_OK;
}

cenote_status cen_hrana_answer_next(struct cen_hrana_answer *answer, enum cen_hrana_kind kind,
                                    cenote_sink *sink, bool *flag, cenote_error *error)
{
  enum { TYPE, RESPONSE, ERROR, MEMBERS };
  static const char *const names[MEMBERS] = {"type", "response", "error"};
  struct cen_reader *r = &answer->reader;
  struct cen_reader at[MEMBERS];
  const char *type = NULL;
  uint64_t seen = 0;
  cenote_status status = CENOTE_OK;
  if (answer->left == 0) {
    return cenote_error_set(error, CENOTE_INVALID, "the answer has no further result");
  }
  answer->left--;
  memset(&answer->steps, 0, sizeof(answer->steps));
  memset(&answer->errors, 0, sizeof(answer->errors));
  bool fine = cen_read_element(r) && cen_read_object(r);
  for (int i; fine && (i = cen_read_known(r, names, MEMBERS, &seen)) >= 0;) {
    at[i] = *r;
    fine = i == TYPE ? cen_hrana_text_read(r, &type) : cen_read_skip(r);
  }
  if (!fine || r->problem != NULL) {
    return misread(r, error);
  }
  if (type != NULL && strcmp(type, "ok") == 0 && (seen & 1u << RESPONSE) != 0) {
    return response_read(answer, &at[RESPONSE], kind, sink, flag, error);
  }
  if (type != NULL && strcmp(type, "error") == 0 && (seen & 1u << ERROR) != 0) {
    return cen_hrana_error_read(&at[ERROR], error, &status) ? status : misread(&at[ERROR], error);
  }
  cen_reader_problem(r, "neither ok nor error");
  return misread(r, error);
}

/* Is there another element? *null: it is null, and read. */
static bool step_begins(struct cen_reader *r, bool *null)
{
  *null = true;
  if (r->start == NULL || !cen_read_element(r)) {
    return false;
  }
  struct cen_reader before = *r;
  struct cen_token token;
  *null = cen_read_value(r, &token) && token.kind == CEN_TOKEN_NULL;
  if (!*null) {
    *r = before;
  }
  return true;
}

cenote_status cen_hrana_answer_step(struct cen_hrana_answer *answer, cenote_sink *sink,
                                    enum cen_hrana_outcome *outcome, cenote_error *error)
{
  bool no_result;
  bool no_error;
  cenote_status status;
  *outcome = CEN_HRANA_SKIPPED;
  bool more = step_begins(&answer->steps, &no_result);
  more = step_begins(&answer->errors, &no_error) || more;
  if (!more) {
    return cenote_error_set(error, CENOTE_IO, "the answer of the server: too few steps");
  }
  if (!no_result && !no_error) {
    cen_reader_problem(&answer->steps, "a step with a result and an error");
    return misread(&answer->steps, error);
  }
  if (!no_error) {
    *outcome = CEN_HRANA_FAILED;
    return cen_hrana_error_read(&answer->errors, error, &status) ? CENOTE_OK
                                                                 : misread(&answer->errors, error);
  }
  if (no_result) {
    return CENOTE_OK;
  }
  *outcome = CEN_HRANA_SUCCEEDED;
  return result_read(answer, &answer->steps, sink, error);
}

/* ----------------------------------------------------------------- describe */

static bool params_read(struct cen_hrana_answer *answer, struct cen_reader *r,
                        struct cen_hrana_description *description, bool *no_memory)
{
  static const char *const names[] = {"name"};
  size_t count = 0;
  if (!cen_read_array(r)) {
    return false;
  }
  struct cen_reader counting = *r;
  while (cen_read_element(&counting) && cen_read_skip(&counting)) {
    count++;
  }
  free(answer->params);
  answer->params = malloc((count + 1) * sizeof(*answer->params));
  if (answer->params == NULL) {
    *no_memory = true;
    return cen_reader_problem(r, "out of memory");
  }
  for (size_t i = 0; i < count && cen_read_element(r); i++) {
    uint64_t seen = 0;
    answer->params[i] = NULL;
    if (!cen_read_object(r)) {
      return false;
    }
    while (cen_read_known(r, names, 1, &seen) >= 0) {
      if (!cen_hrana_text_read(r, &answer->params[i])) {
        return false;
      }
    }
  }
  description->params = answer->params;
  description->param_count = count;
  return !cen_read_element(r) && r->problem == NULL;
}

cenote_status cen_hrana_answer_describe(struct cen_hrana_answer *answer,
                                        struct cen_hrana_description *description,
                                        cenote_error *error)
{
  enum { PARAMS, COLS, EXPLAIN, READONLY, MEMBERS };
  static const char *const names[MEMBERS] = {"params", "cols", "is_explain", "is_readonly"};
  struct cen_reader *r = &answer->result;
  uint64_t seen = 0;
  bool no_memory = false;
  bool fine = r->start != NULL && cen_read_object(r);
  *description = (struct cen_hrana_description){0};
  for (int i; fine && (i = cen_read_known(r, names, MEMBERS, &seen)) >= 0;) {
    switch (i) {
    case PARAMS:
      fine = params_read(answer, r, description, &no_memory);
      break;
    case COLS:
      fine = cen_hrana_columns_read(r, &answer->table, &no_memory);
      description->columns = answer->table.columns;
      description->column_count = answer->table.count;
      break;
    case EXPLAIN:
      fine = cen_read_bool(r, &description->is_explain, NULL);
      break;
    default:
      fine = cen_read_bool(r, &description->is_readonly, NULL);
      break;
    }
  }
  if (fine && r->problem == NULL) {
    return CENOTE_OK;
  }
  *description = (struct cen_hrana_description){0};
  return cen_hrana_misread(r, no_memory, error);
}
