/*
 * neon_read.c - answers as a client reads them.
 *
 * The body is walked once without writing, so that a broken one delivers nothing; then each result
 * is read where it stands, its fields before its rows in whatever order they came.
 */
#include "wire/neon.h"

#include "base/error.h"
#include "base/limits.h"
#include "base/text.h"
#include "wire/answer_error.h"
#include "wire/pg_types.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char what[] = "the answer of the server";

static cenote_status no_memory(cenote_error *error)
{
  return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory for an answer");
}

/* ----------------------------------------------------------------- errors */

static const struct {
  const char *name;
  char code;
} error_members[] = {{"message", 'M'},       {"code", 'C'},       {"detail", 'D'},
                     {"hint", 'H'},          {"position", 'P'},   {"internalPosition", 'p'},
                     {"internalQuery", 'q'}, {"severity", 'S'},   {"where", 'W'},
                     {"table", 't'},         {"column", 'c'},     {"schema", 's'},
                     {"dataType", 'd'},      {"constraint", 'n'}, {"file", 'F'},
                     {"line", 'L'},          {"routine", 'R'}};

enum { ERROR_MEMBERS = sizeof(error_members) / sizeof(error_members[0]) };

/* The members that are texts (numbers count as such); false: no object, or no message. */
static bool error_read(char *body, size_t size, size_t max_bytes, char *texts[ERROR_MEMBERS])
{
  const struct cen_reader_limits limits = {max_bytes, CEN_NEON_DEPTH, CEN_NEON_ITEMS};
  struct cen_reader r;
  struct cen_token name;
  struct cen_token value;
  cen_reader_init(&r, body, size, &limits);
  if (!cen_read_skip(&r) || !cen_read_end(&r)) {
    return false;
  }
  cen_reader_init(&r, body, size, &limits);
  if (!cen_read_object(&r)) {
    return false;
  }
  while (cen_read_member(&r, &name)) {
    struct cen_reader before = r;
    if (!cen_read_value(&r, &value)) {
      return false;
    }
    if (value.kind != CEN_TOKEN_STRING) {
      r = before;
      if (!cen_read_skip(&r)) {
        return false;
      }
      continue;
    }
    for (size_t i = 0; i < ERROR_MEMBERS; i++) {
      if (strcmp(name.text, error_members[i].name) == 0) {
        texts[i] = value.text;
      }
    }
  }
  return r.problem == NULL && texts[0] != NULL;
}

/* A login that is refused is FATAL. A function or a trigger may raise 28000, too: as an ERROR of a
 * session that lives on, which is an answer. */
static cenote_status status_of(int http, const char *code, const char *severity,
                               const char *message)
{
  const bool login = strncmp(code, "28", 2) == 0 && strcmp(severity, "ERROR") != 0;
  if (login || http == 401 || http == 403 ||
      (code[0] == '\0' && strstr(message, "password authentication failed") != NULL)) {
    return CENOTE_AUTH;
  }
  if (code[0] != '\0') {
    return strcmp(code, "57014") == 0 ? CENOTE_CANCELLED : CENOTE_DATABASE;
  }
  return http == 400 ? CENOTE_DATABASE : cen_http_status(http);
}

static cenote_status error_take(int http, char *body, size_t size, size_t max_bytes,
                                cenote_error *error)
{
  char *texts[ERROR_MEMBERS] = {NULL};
  char *copy = malloc(size + 1); /* decoding writes, and a body that is not JSON is quoted */
  if (copy == NULL) {
    return no_memory(error);
  }
  memcpy(copy, body, size);
  if (size > max_bytes || !error_read(copy, size, max_bytes, texts)) {
    free(copy);
    return cen_http_error(http, body, size, error);
  }
  const char *code = texts[1] == NULL ? "" : texts[1];
  const char *severity = texts[7] == NULL ? "" : texts[7];
  cenote_status status =
      cenote_error_set(error, status_of(http, code, severity, texts[0]), "%s", texts[0]);
  cen_error_sqlstate(error, code);
  if (error != NULL && status == CENOTE_DATABASE) {
    error->retryable = cen_sqlstate_retryable(code);
  }
  for (size_t i = 0; i < ERROR_MEMBERS; i++) {
    if (texts[i] != NULL && texts[i][0] != '\0') {
      cenote_error_add_field(error, error_members[i].code, texts[i]);
    }
  }
  if (texts[3] != NULL) {
    cen_error_details(error, "hint: %s", texts[3]);
  }
  free(copy);
  return status;
}

/* ----------------------------------------------------------------- opening */

enum member { FIELDS, ROWS, COMMAND, ROW_COUNT, RESULTS, MEMBERS };

static const char *const member_names[MEMBERS] = {"fields", "rows", "command", "rowCount",
                                                  "results"};

/* Where the members of the result are whose object is next. */
static bool members_find(struct cen_neon_answer *answer, struct cen_reader *r)
{
  answer->seen = 0;
  if (!cen_read_object(r)) {
    return false;
  }
  for (int i; (i = cen_read_known(r, member_names, MEMBERS, &answer->seen)) >= 0;) {
    answer->member[i] = *r;
    if (!cen_read_skip(r)) {
      return false;
    }
  }
  return r->problem == NULL;
}

static bool has(const struct cen_neon_answer *answer, enum member member)
{
  return (answer->seen & 1u << member) != 0;
}

cenote_status cen_neon_answer_open(struct cen_neon_answer *answer, int status, char *body,
                                   size_t size, size_t max_bytes, cenote_error *error)
{
  const struct cen_reader_limits limits = {max_bytes, CEN_NEON_DEPTH, CEN_NEON_ITEMS};
  *answer = (struct cen_neon_answer){.count = 1};
  if (status < 200 || status > 299) {
    return error_take(status, body, size, max_bytes, error);
  }
  struct cen_reader *r = &answer->reader;
  struct cen_reader whole;
  cen_reader_init(&whole, body, size, &limits);
  *r = whole;
  if (!cen_read_skip(r) || !cen_read_end(r)) {
    return cen_reader_error(r, CENOTE_IO, what, error);
  }
  *r = whole;
  if (!members_find(answer, r)) {
    return cen_reader_error(r, CENOTE_IO, what, error);
  }
  if (!has(answer, RESULTS)) {
    return CENOTE_OK;
  }
  *r = answer->member[RESULTS];
  if (!cen_read_array(r)) {
    return cen_reader_error(r, CENOTE_IO, what, error);
  }
  struct cen_reader counting = *r;
  answer->batch = true;
  answer->count = 0;
  while (cen_read_element(&counting) && cen_read_skip(&counting)) {
    answer->count++;
  }
  return CENOTE_OK;
}

void cen_neon_answer_close(struct cen_neon_answer *answer)
{
  free(answer->columns);
  *answer = (struct cen_neon_answer){0};
}

/* ----------------------------------------------------------------- fields */

/* Room for `count` columns, and the values of a row behind them. */
static bool columns_reserve(struct cen_neon_answer *answer, size_t count)
{
  if (count <= answer->room) {
    return true;
  }
  size_t room = count < 16 ? 16 : count;
  cenote_column *columns = malloc(room * (sizeof(*columns) + sizeof(cenote_value)));
  if (columns == NULL) {
    return false;
  }
  free(answer->columns);
  answer->columns = columns;
  answer->row = (cenote_value *)(void *)(columns + room);
  answer->room = room;
  return true;
}

enum {
  FIELD_NAME,
  FIELD_OID,
  FIELD_TABLE,
  FIELD_ATTRIBUTE,
  FIELD_SIZE,
  FIELD_MODIFIER,
  FIELD_MEMBERS
};

/* A number that its place in the protocol cannot hold is none: only the type counts for us. */
static void field_fact(cenote_column *column, int member, int64_t number)
{
  switch (member) {
  case FIELD_TABLE:
    column->table_oid = number >= 0 && number <= UINT32_MAX ? (uint32_t)number : 0;
    break;
  case FIELD_ATTRIBUTE:
    column->attribute = number >= INT16_MIN && number <= INT16_MAX ? (int16_t)number : 0;
    break;
  case FIELD_SIZE:
    column->type_size = number >= INT16_MIN && number <= INT16_MAX ? (int16_t)number : 0;
    break;
  case FIELD_MODIFIER:
    column->modifier = number >= INT32_MIN && number <= INT32_MAX ? (int32_t)number : -1;
    break;
  default:
    break;
  }
}

static bool field_read(struct cen_reader *r, cenote_column *column)
{
  static const char *const names[FIELD_MEMBERS] = {"name",     "dataTypeID",   "tableID",
                                                   "columnID", "dataTypeSize", "dataTypeModifier"};
  uint64_t seen = 0;
  struct cen_token token;
  int64_t oid = 0;
  bool null;
  *column = (cenote_column){.name = "", .modifier = -1};
  if (!cen_read_object(r)) {
    return false;
  }
  for (int i; (i = cen_read_known(r, names, FIELD_MEMBERS, &seen)) >= 0;) {
    int64_t number = 0;
    if (i == FIELD_NAME) {
      if (!cen_read_string(r, &token, &null)) {
        return false;
      }
      column->name = null || token.has_nul ? "" : token.text;
    } else if (!cen_read_int(r, &number, &null)) {
      return false;
    } else if (i == FIELD_OID) {
      oid = number;
    } else if (!null) {
      field_fact(column, i, number);
    }
  }
  if (oid < 0 || oid > UINT32_MAX) {
    return cen_reader_problem(r, "no type OID");
  }
  column->oid = (uint32_t)oid;
  const struct cen_pg_type *type = cen_pg_type(column->oid);
  column->type = type == NULL ? NULL : type->name;
  return r->problem == NULL;
}

static cenote_status fields_read(struct cen_neon_answer *answer, cenote_error *error)
{
  answer->column_count = 0;
  if (!has(answer, FIELDS)) {
    return CENOTE_OK;
  }
  struct cen_reader r = answer->member[FIELDS];
  struct cen_reader counting = r;
  size_t count = 0;
  if (!cen_read_array(&r)) {
    return cen_reader_error(&r, CENOTE_IO, what, error);
  }
  counting = r;
  while (cen_read_element(&counting) && cen_read_skip(&counting)) {
    count++;
  }
  if (count > CEN_MAX_COLUMNS) {
    return cenote_error_set(error, CENOTE_TOO_LARGE, "the result has %zu columns, more than %d",
                            count, (int)CEN_MAX_COLUMNS);
  }
  if (!columns_reserve(answer, count)) {
    return no_memory(error);
  }
  while (cen_read_element(&r)) {
    if (!field_read(&r, &answer->columns[answer->column_count])) {
      break;
    }
    answer->column_count++;
  }
  return r.problem == NULL ? CENOTE_OK : cen_reader_error(&r, CENOTE_IO, what, error);
}

/* ----------------------------------------------------------------- rows */

static bool cell_read(struct cen_reader *r, uint32_t oid, bool raw_text, cenote_value *value)
{
  struct cen_reader before = *r;
  struct cen_token token;
  *value = cenote_null();
  if (!cen_read_value(r, &token)) {
    return false;
  }
  switch (token.kind) {
  case CEN_TOKEN_NULL:
    return true;
  case CEN_TOKEN_STRING:
    if (token.size > UINT32_MAX) {
      return cen_reader_problem(r, "a value of more than 4 GiB");
    }
    if (raw_text) {
      *value = cenote_text_n(token.text, token.size);
      return true;
    }
    return cen_pg_value(oid, token.text, token.size, value) ||
           cen_reader_problem(r, "a value that is not of its type");
  /* What a server sends that does not know the header for text. */
  case CEN_TOKEN_FALSE:
  case CEN_TOKEN_TRUE:
    *value = raw_text ? cenote_text_n(token.kind == CEN_TOKEN_TRUE ? "t" : "f", 1)
                      : cenote_boolean(token.kind == CEN_TOKEN_TRUE);
    return true;
  case CEN_TOKEN_NUMBER:
    return raw_text || !cen_pg_value(oid, token.text, token.size, value)
               ? (*value = cenote_text_n(token.text, token.size), true)
               : true;
  case CEN_TOKEN_ARRAY:
  case CEN_TOKEN_OBJECT:
    *r = before;
    if (!cen_read_compact(r, &token)) {
      return false;
    }
    *value = cenote_text_n(token.text, token.size);
    return true;
  }
  return false;
}

static bool row_read(struct cen_neon_answer *answer, struct cen_reader *r, bool raw_text)
{
  size_t count = 0;
  if (!cen_read_array(r)) {
    return false;
  }
  while (cen_read_element(r)) {
    if (count == answer->column_count) {
      return cen_reader_problem(r, "a row with more values than columns");
    }
    if (!cell_read(r, answer->columns[count].oid, raw_text, &answer->row[count])) {
      return false;
    }
    count++;
  }
  if (r->problem == NULL && count < answer->column_count) {
    return cen_reader_problem(r, "a row with fewer values than columns");
  }
  return r->problem == NULL;
}

static cenote_status rows_read(struct cen_neon_answer *answer, bool raw_text, cenote_sink *sink,
                               cenote_error *error)
{
  if (!has(answer, ROWS)) {
    return CENOTE_OK;
  }
  struct cen_reader r = answer->member[ROWS];
  if (cen_read_array(&r)) {
    while (cen_read_element(&r) && row_read(answer, &r, raw_text)) {
      cenote_status status = cenote_sink_row(sink, answer->row, answer->column_count, error);
      if (status != CENOTE_OK) {
        return status;
      }
    }
  }
  return r.problem == NULL ? CENOTE_OK : cen_reader_error(&r, CENOTE_IO, what, error);
}

/* ----------------------------------------------------------------- the end */

/* The tag as PostgreSQL writes it, put together again from its first word and its number. */
static cenote_status complete(struct cen_neon_answer *answer, cenote_sink *sink,
                              cenote_error *error)
{
  struct cen_token command = {.text = (char[1]){0}};
  int64_t rows = 0;
  bool no_command = !has(answer, COMMAND);
  bool no_rows = !has(answer, ROW_COUNT);
  struct cen_reader *r = &answer->member[COMMAND];
  if (!no_command && !cen_read_string(r, &command, &no_command)) {
    return cen_reader_error(r, CENOTE_IO, what, error);
  }
  r = &answer->member[ROW_COUNT];
  if (!no_rows && !cen_read_int(r, &rows, &no_rows)) {
    return cen_reader_error(r, CENOTE_IO, what, error);
  }
  char tag[64];
  const char *verb = no_command ? "" : command.text;
  bool insert = strcmp(verb, "INSERT") == 0;
  if (no_rows) {
    (void)snprintf(tag, sizeof(tag), "%.60s", verb);
  } else {
    (void)snprintf(tag, sizeof(tag), "%.36s %s%lld", verb, insert ? "0 " : "", (long long)rows);
  }
  bool selects = strcmp(verb, "SELECT") == 0 && answer->column_count > 0;
  cenote_sink_complete(sink, selects || no_rows ? 0 : rows, 0, tag);
  return CENOTE_OK;
}

cenote_status cen_neon_answer_next(struct cen_neon_answer *answer, bool raw_text, cenote_sink *sink,
                                   cenote_error *error)
{
  if (answer->count == 0) {
    return cenote_error_set(error, CENOTE_INVALID, "the answer has no further result");
  }
  answer->count--;
  if (answer->batch &&
      (!cen_read_element(&answer->reader) || !members_find(answer, &answer->reader))) {
    return cen_reader_error(&answer->reader, CENOTE_IO, what, error);
  }
  if (!has(answer, FIELDS) && !has(answer, ROWS) && !has(answer, COMMAND)) {
    return cenote_error_set(error, CENOTE_IO, "%s: not a result", what);
  }
  cenote_status status = fields_read(answer, error);
  if (status == CENOTE_OK) {
    status = cenote_sink_columns(sink, answer->columns, answer->column_count, error);
  }
  if (status == CENOTE_OK) {
    status = rows_read(answer, raw_text, sink, error);
  }
  return status == CENOTE_OK ? complete(answer, sink, error) : status;
}
