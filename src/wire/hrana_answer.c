/* hrana_answer.c - what a server of Hrana answers, encoded. Blobs are not padded, as sqld's. */
#include "wire/hrana.h"

#include "wire/json_put.h"

#include <stdlib.h>
#include <string.h>

/* ----------------------------------------------------------------- pieces */

static void comma_put(struct cen_buf *buf, bool *comma)
{
  if (*comma) {
    CEN_PUT(buf, ",");
  }
  *comma = true;
}

static void error_put(struct cen_buf *buf, const char *message, const char *code)
{
  CEN_PUT(buf, "{\"message\":");
  cen_put_text(buf, message == NULL ? "" : message);
  CEN_PUT(buf, ",\"code\":");
  cen_put_text(buf, code == NULL || code[0] == '\0' ? "UNKNOWN" : code);
  CEN_PUT(buf, "}");
}

static void columns_put(struct cen_buf *buf, const cenote_column *columns, size_t count)
{
  CEN_PUT(buf, "[");
  for (size_t i = 0; i < count; i++) {
    if (i > 0) {
      CEN_PUT(buf, ",");
    }
    CEN_PUT(buf, "{\"name\":");
    cen_put_text(buf, columns[i].name);
    CEN_PUT(buf, ",\"decltype\":");
    cen_put_text(buf, columns[i].type);
    CEN_PUT(buf, "}");
  }
  CEN_PUT(buf, "]");
}

static bool values_put(struct cen_buf *buf, const cenote_value *values, size_t count)
{
  bool valid = true;
  CEN_PUT(buf, "[");
  for (size_t i = 0; i < count; i++) {
    if (i > 0) {
      CEN_PUT(buf, ",");
    }
    valid = cen_hrana_value_put(buf, &values[i], false) && valid;
  }
  CEN_PUT(buf, "]");
  return valid;
}

static void counts_put(struct cen_buf *buf, int64_t affected, const int64_t *last_rowid)
{
  CEN_PUT(buf, "\"affected_row_count\":");
  cen_put_int(buf, affected);
  CEN_PUT(buf, ",\"last_insert_rowid\":");
  if (last_rowid == NULL) {
    CEN_PUT(buf, "null");
  } else {
    CEN_PUT(buf, "\"");
    cen_put_int(buf, *last_rowid);
    CEN_PUT(buf, "\"");
  }
}

static void stream_put(struct cen_buf *buf, const char *baton, const char *base_url)
{
  CEN_PUT(buf, "{\"baton\":");
  cen_put_text(buf, baton);
  CEN_PUT(buf, ",\"base_url\":");
  cen_put_text(buf, base_url);
}

/* ----------------------------------------------------------------- pipelines */

void cen_hrana_pipeline_begin(struct cen_hrana_writer *w, const char *baton, const char *base_url)
{
  w->comma = false;
  stream_put(w->buf, baton, base_url);
  CEN_PUT(w->buf, ",\"results\":[");
}

void cen_hrana_pipeline_end(struct cen_hrana_writer *w)
{
  CEN_PUT(w->buf, "]}");
}

static void response_begin(struct cen_hrana_writer *w, enum cen_hrana_kind kind)
{
  comma_put(w->buf, &w->comma);
  CEN_PUT(w->buf, "{\"type\":\"ok\",\"response\":{\"type\":\"");
  cen_buf_text(w->buf, cen_hrana_kind_name(kind));
  CEN_PUT(w->buf, "\"");
}

void cen_hrana_ok_begin(struct cen_hrana_writer *w, enum cen_hrana_kind kind)
{
  response_begin(w, kind);
  CEN_PUT(w->buf, ",\"result\":");
}

void cen_hrana_ok_end(struct cen_hrana_writer *w)
{
  CEN_PUT(w->buf, "}}");
}

void cen_hrana_ok(struct cen_hrana_writer *w, enum cen_hrana_kind kind)
{
  response_begin(w, kind);
  CEN_PUT(w->buf, "}}");
}

void cen_hrana_autocommit(struct cen_hrana_writer *w, bool is_autocommit)
{
  response_begin(w, CEN_HRANA_GET_AUTOCOMMIT);
  CEN_PUT(w->buf, ",\"is_autocommit\":");
  cen_put_bool(w->buf, is_autocommit);
  CEN_PUT(w->buf, "}}");
}

void cen_hrana_error(struct cen_hrana_writer *w, const char *message, const char *code)
{
  comma_put(w->buf, &w->comma);
  CEN_PUT(w->buf, "{\"type\":\"error\",\"error\":");
  error_put(w->buf, message, code);
  CEN_PUT(w->buf, "}");
}

/* "SQLITE_CONSTRAINT_UNIQUE" is SQLITE_CONSTRAINT to a client of Hrana. */
static const char *primary_name(const char *name)
{
  static const char *const primary[] = {
      "SQLITE_CONSTRAINT", "SQLITE_BUSY",     "SQLITE_IOERR",   "SQLITE_READONLY", "SQLITE_ABORT",
      "SQLITE_LOCKED",     "SQLITE_CANTOPEN", "SQLITE_CORRUPT", "SQLITE_ERROR",    "SQLITE_AUTH"};
  for (size_t i = 0; i < sizeof(primary) / sizeof(primary[0]); i++) {
    size_t size = strlen(primary[i]);
    if (strncmp(name, primary[i], size) == 0 && name[size] == '_') {
      return primary[i];
    }
  }
  return name;
}

const char *cen_hrana_code(const cenote_error *error)
{
  const char *name = cenote_error_field(error, 'X');
  if (name != NULL && name[0] != '\0') {
    return primary_name(name);
  }
  switch (error->status) {
  case CENOTE_LEASE_EXPIRED:
    return "STREAM_EXPIRED";
  case CENOTE_STATEMENT_TIMEOUT:
  case CENOTE_CANCELLED:
    return "SQLITE_INTERRUPT";
  case CENOTE_TOO_LARGE:
    return "RESPONSE_TOO_LARGE";
  case CENOTE_INVALID:
    return "ARGS_INVALID";
  case CENOTE_TIMEOUT:
  case CENOTE_QUEUE_FULL:
  case CENOTE_BUSY:
    return "TRANSACTION_BUSY";
  case CENOTE_DATABASE:
    return "SQLITE_ERROR";
  default:
    return "PROXY_ERROR";
  }
}

/* ----------------------------------------------------------------- statements */

void cen_hrana_stmt_begin(struct cen_hrana_writer *w, const cenote_column *columns, size_t count)
{
  w->comma_row = false;
  CEN_PUT(w->buf, "{\"cols\":");
  columns_put(w->buf, columns, count);
  CEN_PUT(w->buf, ",\"rows\":[");
}

bool cen_hrana_stmt_row(struct cen_hrana_writer *w, const cenote_value *values, size_t count)
{
  comma_put(w->buf, &w->comma_row);
  return values_put(w->buf, values, count);
}

void cen_hrana_stmt_end(struct cen_hrana_writer *w, int64_t affected, const int64_t *last_rowid)
{
  CEN_PUT(w->buf, "],");
  counts_put(w->buf, affected, last_rowid);
  CEN_PUT(w->buf, "}");
  w->step_open = false;
}

bool cen_hrana_stmt_put(struct cen_hrana_writer *w, const cenote_result *result, bool want_rows)
{
  size_t count = cenote_result_columns(result);
  size_t rows = want_rows ? cenote_result_rows(result) : 0;
  cenote_column *columns = malloc((count + 1) * sizeof(*columns));
  cenote_value *row = malloc((count + 1) * sizeof(*row));
  bool fine = columns != NULL && row != NULL;
  for (size_t i = 0; fine && i < count; i++) {
    columns[i] = (cenote_column){.name = cenote_result_column_name(result, i),
                                 .type = cenote_result_column_type(result, i)};
  }
  if (fine) {
    cen_hrana_stmt_begin(w, columns, count);
  } else {
    w->buf->failed = true;
  }
  for (size_t i = 0; fine && i < rows && !w->buf->failed; i++) {
    for (size_t j = 0; j < count; j++) {
      row[j] = cenote_result_value(result, i, j);
    }
    fine = cen_hrana_stmt_row(w, row, count);
  }
  if (fine) {
    int64_t last = cenote_result_last_insert_id(result);
    cen_hrana_stmt_end(w, cenote_result_affected_rows(result), last == 0 ? NULL : &last);
  }
  free(columns);
  free(row);
  return fine;
}

/* ----------------------------------------------------------------- batches */

void cen_hrana_batch_begin(struct cen_hrana_writer *w)
{
  cen_buf_init(&w->errors, w->buf->ceiling);
  CEN_PUT(w->buf, "{\"step_results\":[");
  w->step_open = false;
}

static void step_comma(struct cen_hrana_writer *w)
{
  if (w->errors.size > 0) {
    CEN_PUT(w->buf, ",");
    CEN_PUT(&w->errors, ",");
  }
}

void cen_hrana_step_begin(struct cen_hrana_writer *w)
{
  step_comma(w);
  w->step_begins = w->buf->size;
  w->step_open = true;
  CEN_PUT(&w->errors, "null");
}

void cen_hrana_step_error(struct cen_hrana_writer *w, const char *message, const char *code)
{
  if (w->step_open) {
    cen_put_undo(w->buf, w->step_begins);
    cen_put_undo(&w->errors, w->errors.size - 4);
    w->step_open = false;
  } else {
    step_comma(w);
  }
  CEN_PUT(w->buf, "null");
  error_put(&w->errors, message, code);
}

void cen_hrana_step_skipped(struct cen_hrana_writer *w)
{
  step_comma(w);
  CEN_PUT(w->buf, "null");
  CEN_PUT(&w->errors, "null");
}

void cen_hrana_batch_end(struct cen_hrana_writer *w)
{
  CEN_PUT(w->buf, "],\"step_errors\":[");
  if (w->errors.size > 0) {
    cen_buf_add(w->buf, w->errors.data, w->errors.size);
  }
  w->buf->failed = w->buf->failed || w->errors.failed;
  CEN_PUT(w->buf, "]}");
  cen_hrana_writer_deinit(w);
}

void cen_hrana_writer_deinit(struct cen_hrana_writer *w)
{
  cen_buf_deinit(&w->errors);
}

void cen_hrana_describe_put(struct cen_hrana_writer *w,
                            const struct cen_hrana_description *description)
{
  cen_hrana_ok_begin(w, CEN_HRANA_DESCRIBE);
  CEN_PUT(w->buf, "{\"params\":[");
  for (size_t i = 0; i < description->param_count; i++) {
    if (i > 0) {
      CEN_PUT(w->buf, ",");
    }
    CEN_PUT(w->buf, "{\"name\":");
    cen_put_text(w->buf, description->params[i]);
    CEN_PUT(w->buf, "}");
  }
  CEN_PUT(w->buf, "],\"cols\":");
  columns_put(w->buf, description->columns, description->column_count);
  CEN_PUT(w->buf, ",\"is_explain\":");
  cen_put_bool(w->buf, description->is_explain);
  CEN_PUT(w->buf, ",\"is_readonly\":");
  cen_put_bool(w->buf, description->is_readonly);
  CEN_PUT(w->buf, "}");
  cen_hrana_ok_end(w);
}

/* ----------------------------------------------------------------- cursors */

void cen_hrana_cursor_baton(struct cen_buf *buf, const char *baton, const char *base_url)
{
  stream_put(buf, baton, base_url);
  CEN_PUT(buf, "}\n");
}

void cen_hrana_cursor_step_begin(struct cen_buf *buf, size_t step, const cenote_column *columns,
                                 size_t count)
{
  CEN_PUT(buf, "{\"type\":\"step_begin\",\"step\":");
  cen_put_int(buf, (int64_t)step);
  CEN_PUT(buf, ",\"cols\":");
  columns_put(buf, columns, count);
  CEN_PUT(buf, "}\n");
}

bool cen_hrana_cursor_row(struct cen_buf *buf, const cenote_value *values, size_t count)
{
  CEN_PUT(buf, "{\"type\":\"row\",\"row\":");
  bool valid = values_put(buf, values, count);
  CEN_PUT(buf, "}\n");
  return valid;
}

void cen_hrana_cursor_step_end(struct cen_buf *buf, int64_t affected, const int64_t *last_rowid)
{
  CEN_PUT(buf, "{\"type\":\"step_end\",");
  counts_put(buf, affected, last_rowid);
  CEN_PUT(buf, "}\n");
}

void cen_hrana_cursor_step_error(struct cen_buf *buf, size_t step, const char *message,
                                 const char *code)
{
  CEN_PUT(buf, "{\"type\":\"step_error\",\"step\":");
  cen_put_int(buf, (int64_t)step);
  CEN_PUT(buf, ",\"error\":");
  error_put(buf, message, code);
  CEN_PUT(buf, "}\n");
}

void cen_hrana_cursor_error(struct cen_buf *buf, const char *message, const char *code)
{
  CEN_PUT(buf, "{\"type\":\"error\",\"error\":");
  error_put(buf, message, code);
  CEN_PUT(buf, "}\n");
}

/* ----------------------------------------------------------------- HTTP errors */

void cen_hrana_expired_put(struct cen_buf *buf)
{
  error_put(buf, "The stream has expired due to inactivity", "STREAM_EXPIRED");
}

void cen_hrana_refused_put(struct cen_buf *buf, const char *error)
{
  CEN_PUT(buf, "{\"error\":");
  cen_put_text(buf, error);
  CEN_PUT(buf, "}");
}
