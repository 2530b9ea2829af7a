/* hrana_result.c - what a client's decoders of answers and of cursors share. */
#include "wire/hrana_value.h"

#include "base/error.h"
#include "base/limits.h"
#include "base/sqlite_meaning.h"

#include <stdlib.h>
#include <string.h>

/* ----------------------------------------------------------------- columns, rows */

static bool table_reserve(struct cen_hrana_table *table, size_t count)
{
  if (count <= table->room) {
    return true;
  }
  size_t room = count < 16 ? 16 : count;
  cenote_column *columns = malloc(room * (sizeof(*columns) + sizeof(cenote_value)));
  if (columns == NULL) {
    return false;
  }
  free(table->columns);
  table->columns = columns;
  table->row = (cenote_value *)(void *)(columns + room);
  table->room = room;
  return true;
}

void cen_hrana_table_deinit(struct cen_hrana_table *table)
{
  free(table->columns);
  *table = (struct cen_hrana_table){0};
}

bool cen_hrana_text_read(struct cen_reader *r, const char **text)
{
  struct cen_token token;
  bool null;
  *text = NULL;
  if (!cen_read_string(r, &token, &null)) {
    return false;
  }
  if (!null && token.has_nul) {
    return cen_reader_problem(r, "\\u0000 where none can be");
  }
  *text = null ? NULL : token.text;
  return true;
}

static bool column_read(struct cen_reader *r, cenote_column *column)
{
  static const char *const names[] = {"name", "decltype"};
  uint64_t seen = 0;
  *column = (cenote_column){.name = NULL};
  if (!cen_read_object(r)) {
    return false;
  }
  for (int i; (i = cen_read_known(r, names, 2, &seen)) >= 0;) {
    if (!cen_hrana_text_read(r, i == 0 ? &column->name : &column->type)) {
      return false;
    }
  }
  if (column->name == NULL) {
    column->name = "";
  }
  return r->problem == NULL;
}

bool cen_hrana_columns_read(struct cen_reader *r, struct cen_hrana_table *table, bool *no_memory)
{
  size_t count = 0;
  table->count = 0;
  if (!cen_read_array(r)) {
    return false;
  }
  struct cen_reader counting = *r;
  while (cen_read_element(&counting) && cen_read_skip(&counting)) {
    count++;
  }
  if (count > CEN_MAX_COLUMNS) {
    r->too_large = true;
    return cen_reader_problem(r, "too many columns");
  }
  if (!table_reserve(table, count)) {
    *no_memory = true;
    return cen_reader_problem(r, "out of memory");
  }
  while (table->count < count && cen_read_element(r)) {
    if (!column_read(r, &table->columns[table->count])) {
      return false;
    }
    table->count++;
  }
  return !cen_read_element(r) && r->problem == NULL;
}

bool cen_hrana_row_read(struct cen_reader *r, struct cen_hrana_table *table)
{
  size_t count = 0;
  if (!cen_read_array(r)) {
    return false;
  }
  while (cen_read_element(r)) {
    if (count == table->count) {
      return cen_reader_problem(r, "a row with more values than columns");
    }
    if (!cen_hrana_value_read(r, &table->row[count])) {
      return false;
    }
    count++;
  }
  if (r->problem == NULL && count < table->count) {
    return cen_reader_problem(r, "a row with fewer values than columns");
  }
  return r->problem == NULL;
}

bool cen_hrana_rowid_read(struct cen_reader *r, int64_t *rowid)
{
  struct cen_token token;
  *rowid = 0;
  if (!cen_read_value(r, &token)) {
    return false;
  }
  if (token.kind == CEN_TOKEN_NULL) {
    return true;
  }
  return ((token.kind == CEN_TOKEN_NUMBER || token.kind == CEN_TOKEN_STRING) &&
          cen_token_int(&token, rowid)) ||
         cen_reader_problem(r, "a row id that is no integer of 64 bits");
}

/* ----------------------------------------------------------------- errors */

/* The codes of Hrana's servers; those of SQLite: base/sqlite_meaning.h. */
static const struct {
  const char *code;
  const char *sqlstate;
  cenote_status status;
  bool retryable;
} meanings[] = {
    {"SQL_PARSE_ERROR", "42601", CENOTE_DATABASE, false},
    {"SQL_INPUT_ERROR", "42601", CENOTE_DATABASE, false},
    {"SQL_NO_STATEMENT", "42601", CENOTE_DATABASE, false},
    {"SQL_MANY_STATEMENTS", "42601", CENOTE_DATABASE, false},
    {"ARGS_INVALID", "07001", CENOTE_DATABASE, false},
    {"ARGS_BOTH_POSITIONAL_AND_NAMED", "07001", CENOTE_DATABASE, false},
    {"TRANSACTION_BUSY", "55P03", CENOTE_DATABASE, true},
    {"RESPONSE_TOO_LARGE", "54000", CENOTE_TOO_LARGE, false},
    {"STREAM_EXPIRED", "08003", CENOTE_CONNECTION_LOST, true},
    {"TRANSACTION_TIMEOUT", "25P03", CENOTE_DATABASE, false},
};

/* A server's trouble with memory or files is none of ours: that is the database's word then. */
static bool is_taken(const char *code, cenote_status status)
{
  return status == CENOTE_TOO_LARGE ||
         (status == CENOTE_CANCELLED && strcmp(code, "SQLITE_INTERRUPT") == 0);
}

static const char *meaning_of(const char *message, const char *code, cenote_status *status,
                              bool *retryable)
{
  for (size_t i = 0; i < sizeof(meanings) / sizeof(meanings[0]); i++) {
    if (strcmp(meanings[i].code, code) == 0) {
      *retryable = meanings[i].retryable;
      *status = meanings[i].status;
      return meanings[i].sqlstate;
    }
  }
  const struct cen_sqlite_meaning *meaning = cen_sqlite_meaning(code, message);
  const char *said = strcmp(code, "SQLITE_ERROR") == 0 ? cen_sqlite_text_state(message) : NULL;
  *status = meaning != NULL && is_taken(code, meaning->status) ? meaning->status : CENOTE_DATABASE;
  *retryable = meaning != NULL && meaning->status == *status && meaning->retryable;
  return said != NULL ? said : meaning != NULL ? meaning->sqlstate : "42000";
}

void cen_hrana_error_fill(const char *message, const char *code, cenote_error *error,
                          cenote_status *status)
{
  bool retryable;
  const char *sqlstate = meaning_of(message, code, status, &retryable);
  (void)cenote_error_set(error, *status, "%s", message);
  if (error == NULL) {
    return;
  }
  error->retryable = retryable;
  cen_error_sqlstate(error, sqlstate);
  cenote_error_add_field(error, 'S', "ERROR");
  cenote_error_add_field(error, 'C', sqlstate);
  cenote_error_add_field(error, 'M', message);
  if (code[0] != '\0') {
    cenote_error_add_field(error, 'X', code);
  }
}

bool cen_hrana_error_read(struct cen_reader *r, cenote_error *error, cenote_status *status)
{
  static const char *const names[] = {"message", "code"};
  const char *texts[2] = {NULL, NULL};
  uint64_t seen = 0;
  if (!cen_read_object(r)) {
    return false;
  }
  for (int i; (i = cen_read_known(r, names, 2, &seen)) >= 0;) {
    if (!cen_hrana_text_read(r, &texts[i])) {
      return false;
    }
  }
  if (r->problem != NULL) {
    return false;
  }
  if (texts[0] == NULL) {
    return cen_reader_problem(r, "an error without a message");
  }
  cen_hrana_error_fill(texts[0], texts[1] == NULL ? "" : texts[1], error, status);
  return true;
}

cenote_status cen_hrana_misread(const struct cen_reader *r, bool no_memory, cenote_error *error)
{
  return no_memory ? cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory for an answer")
                   : cen_reader_error(r, CENOTE_IO, "the answer of the server", error);
}
