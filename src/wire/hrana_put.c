/* hrana_put.c - what a client of Hrana sends, encoded. Blobs are padded: not every server reads them
 * without. */
#include "wire/hrana.h"

#include "wire/json_put.h"

#include <math.h>
#include <string.h>

static bool sql_put(struct cen_buf *buf, const struct cen_hrana_sql *sql)
{
  bool valid = true;
  if (sql->text != NULL) {
    CEN_PUT(buf, "\"sql\":");
    valid = memchr(sql->text, '\0', sql->size) == NULL && cen_put_string(buf, sql->text, sql->size);
  }
  if (sql->has_id) {
    if (sql->text != NULL) {
      CEN_PUT(buf, ",");
    }
    CEN_PUT(buf, "\"sql_id\":");
    cen_put_int(buf, sql->id);
  }
  return valid && (sql->text != NULL || sql->has_id);
}

static bool arg_put(struct cen_buf *buf, const cenote_value *value)
{
  return cen_hrana_value_put(buf, value, true) &&
         !(value->type == CENOTE_REAL && isinf(value->as.real));
}

static bool stmt_put(struct cen_buf *buf, const struct cen_hrana_stmt *stmt)
{
  CEN_PUT(buf, "{");
  bool valid = sql_put(buf, &stmt->sql);
  if (stmt->count > 0) {
    CEN_PUT(buf, ",\"args\":[");
    for (size_t i = 0; i < stmt->count && valid; i++) {
      if (i > 0) {
        CEN_PUT(buf, ",");
      }
      valid = arg_put(buf, &stmt->args[i]);
    }
    CEN_PUT(buf, "]");
  }
  if (stmt->named_count > 0) {
    CEN_PUT(buf, ",\"named_args\":[");
    for (size_t i = 0; i < stmt->named_count && valid; i++) {
      const char *name = stmt->named[i].name;
      if (i > 0) {
        CEN_PUT(buf, ",");
      }
      CEN_PUT(buf, "{\"name\":");
      valid = name != NULL && cen_put_string(buf, name, strlen(name));
      CEN_PUT(buf, ",\"value\":");
      valid = valid && arg_put(buf, &stmt->named[i]);
      CEN_PUT(buf, "}");
    }
    CEN_PUT(buf, "]");
  }
  CEN_PUT(buf, ",\"want_rows\":");
  cen_put_bool(buf, stmt->want_rows);
  CEN_PUT(buf, "}");
  return valid;
}

static bool condition_put(struct cen_buf *buf, const struct cen_hrana_condition *condition,
                          unsigned depth)
{
  static const char *const types[] = {"ok", "error", "not", "and", "or", "is_autocommit"};
  bool valid = depth > 0;
  if (!valid) {
    return false;
  }
  CEN_PUT(buf, "{\"type\":\"");
  cen_buf_text(buf, types[condition->kind]);
  CEN_PUT(buf, "\"");
  switch (condition->kind) {
  case CEN_HRANA_OK:
  case CEN_HRANA_ERROR:
    CEN_PUT(buf, ",\"step\":");
    cen_put_int(buf, condition->step);
    break;
  case CEN_HRANA_NOT:
    CEN_PUT(buf, ",\"cond\":");
    valid = condition_put(buf, condition->below, depth - 1);
    break;
  case CEN_HRANA_AND:
  case CEN_HRANA_OR:
    CEN_PUT(buf, ",\"conds\":[");
    for (size_t i = 0; i < condition->count && valid; i++) {
      if (i > 0) {
        CEN_PUT(buf, ",");
      }
      valid = condition_put(buf, &condition->below[i], depth - 1);
    }
    CEN_PUT(buf, "]");
    break;
  case CEN_HRANA_IS_AUTOCOMMIT:
    break;
  }
  CEN_PUT(buf, "}");
  return valid;
}

static bool batch_put(struct cen_buf *buf, const struct cen_hrana_step *steps, size_t count)
{
  bool valid = true;
  CEN_PUT(buf, "{\"steps\":[");
  for (size_t i = 0; i < count && valid; i++) {
    if (i > 0) {
      CEN_PUT(buf, ",");
    }
    CEN_PUT(buf, "{\"stmt\":");
    valid = stmt_put(buf, &steps[i].stmt);
    if (steps[i].condition != NULL) {
      CEN_PUT(buf, ",\"condition\":");
      valid = valid && condition_put(buf, steps[i].condition, CEN_HRANA_CONDITION_DEPTH);
    }
    CEN_PUT(buf, "}");
  }
  CEN_PUT(buf, "]}");
  return valid;
}

static bool request_put(struct cen_buf *buf, const struct cen_hrana_request *request)
{
  bool valid = true;
  CEN_PUT(buf, "{\"type\":\"");
  cen_buf_text(buf, cen_hrana_kind_name(request->kind));
  CEN_PUT(buf, "\"");
  switch (request->kind) {
  case CEN_HRANA_EXECUTE:
    CEN_PUT(buf, ",\"stmt\":");
    valid = stmt_put(buf, &request->as.stmt);
    break;
  case CEN_HRANA_BATCH:
    CEN_PUT(buf, ",\"batch\":");
    valid = batch_put(buf, request->as.batch.steps, request->as.batch.count);
    break;
  case CEN_HRANA_SEQUENCE:
  case CEN_HRANA_DESCRIBE:
  case CEN_HRANA_STORE_SQL:
  case CEN_HRANA_CLOSE_SQL:
    CEN_PUT(buf, ",");
    valid = sql_put(buf, &request->as.sql);
    break;
  case CEN_HRANA_GET_AUTOCOMMIT:
  case CEN_HRANA_CLOSE:
  case CEN_HRANA_KINDS:
    break;
  }
  CEN_PUT(buf, "}");
  return valid;
}

static cenote_status ended(const struct cen_buf *buf, bool valid, cenote_error *error)
{
  if (!valid) {
    return cenote_error_set(error, CENOTE_INVALID,
                            "a statement or an argument cannot be sent: a text that is not UTF-8, "
                            "or an infinite number");
  }
  if (!buf->failed) {
    return CENOTE_OK;
  }
  return buf->full ? cenote_error_set(error, CENOTE_TOO_LARGE,
                                      "the request is larger than %zu bytes", buf->ceiling)
                   : cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory for a request");
}

cenote_status cen_hrana_pipeline_put(struct cen_buf *buf, const char *baton,
                                     const struct cen_hrana_request *requests, size_t count,
                                     cenote_error *error)
{
  bool valid = true;
  CEN_PUT(buf, "{\"baton\":");
  cen_put_text(buf, baton);
  CEN_PUT(buf, ",\"requests\":[");
  for (size_t i = 0; i < count && valid; i++) {
    if (i > 0) {
      CEN_PUT(buf, ",");
    }
    valid = request_put(buf, &requests[i]);
  }
  CEN_PUT(buf, "]}");
  return ended(buf, valid, error);
}

cenote_status cen_hrana_cursor_put(struct cen_buf *buf, const char *baton,
                                   const struct cen_hrana_step *steps, size_t count,
                                   cenote_error *error)
{
  CEN_PUT(buf, "{\"baton\":");
  cen_put_text(buf, baton);
  CEN_PUT(buf, ",\"batch\":");
  bool valid = batch_put(buf, steps, count);
  CEN_PUT(buf, "}");
  return ended(buf, valid, error);
}
