/* neon_put.c - the client's request, and the server's error bodies. */
#include "wire/neon.h"

#include "base/text.h"
#include "wire/json_put.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ----------------------------------------------------------------- requests */

static bool text_put(struct cen_buf *buf, const char *text, size_t size)
{
  return (size == 0 || memchr(text, '\0', size) == NULL) &&
         cen_put_string(buf, size == 0 ? "" : text, size);
}

static void real_put(struct cen_buf *buf, double real)
{
  if (isnan(real)) {
    CEN_PUT(buf, "\"NaN\"");
  } else if (isinf(real)) {
    cen_buf_text(buf, real > 0 ? "\"Infinity\"" : "\"-Infinity\"");
  } else {
    CEN_PUT(buf, "\"");
    cen_put_real(buf, real);
    CEN_PUT(buf, "\"");
  }
}

static bool arg_put(struct cen_buf *buf, const cenote_value *arg)
{
  switch (arg->type) {
  case CENOTE_NULL:
    CEN_PUT(buf, "null");
    return true;
  case CENOTE_INTEGER:
    CEN_PUT(buf, "\"");
    cen_put_int(buf, arg->as.integer);
    CEN_PUT(buf, "\"");
    return true;
  case CENOTE_REAL:
    real_put(buf, arg->as.real);
    return true;
  case CENOTE_TEXT:
    return text_put(buf, arg->as.text, arg->size);
  case CENOTE_BLOB:
    CEN_PUT(buf, "\"\\\\x");
    cen_put_hex(buf, arg->as.blob, arg->size);
    CEN_PUT(buf, "\"");
    return true;
  case CENOTE_BOOLEAN:
    cen_buf_text(buf, arg->as.boolean ? "\"true\"" : "\"false\"");
    return true;
  }
  return false;
}

static bool query_put(struct cen_buf *buf, const struct cen_neon_query *query)
{
  CEN_PUT(buf, "{\"query\":");
  if (!text_put(buf, query->sql, query->sql_size)) {
    return false;
  }
  CEN_PUT(buf, ",\"params\":[");
  for (size_t i = 0; i < query->count; i++) {
    if (i > 0) {
      CEN_PUT(buf, ",");
    }
    if (!arg_put(buf, &query->args[i])) {
      return false;
    }
  }
  CEN_PUT(buf, "]");
  if (query->array_mode >= 0) {
    CEN_PUT(buf, ",\"arrayMode\":");
    cen_put_bool(buf, query->array_mode > 0);
  }
  CEN_PUT(buf, "}");
  return true;
}

cenote_status cen_neon_request_put(struct cen_buf *buf, const struct cen_neon_query *queries,
                                   size_t count, bool batch, cenote_error *error)
{
  if (!batch && count != 1) {
    return cenote_error_set(error, CENOTE_INVALID, "a request is one query, or a batch");
  }
  if (batch) {
    CEN_PUT(buf, "{\"queries\":[");
  }
  for (size_t i = 0; i < count; i++) {
    if (i > 0) {
      CEN_PUT(buf, ",");
    }
    if (!query_put(buf, &queries[i])) {
      return cenote_error_set(error, CENOTE_INVALID,
                              "a statement or an argument is not UTF-8, or has a NUL in it");
    }
  }
  if (batch) {
    CEN_PUT(buf, "]}");
  }
  if (!buf->failed) {
    return CENOTE_OK;
  }
  return buf->full ? cenote_error_set(error, CENOTE_TOO_LARGE,
                                      "the request is larger than %zu bytes", buf->ceiling)
                   : cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory for a request");
}

/* ----------------------------------------------------------------- errors */

void cen_neon_error_put(struct cen_buf *buf, const cenote_error *error)
{
  static const struct {
    const char *name;
    char code;
  } members[] = {
      {"detail", 'D'},        {"hint", 'H'},     {"position", 'P'}, {"internalPosition", 'p'},
      {"internalQuery", 'q'}, {"severity", 'S'}, {"where", 'W'},    {"table", 't'},
      {"column", 'c'},        {"schema", 's'},   {"dataType", 'd'}, {"constraint", 'n'},
      {"file", 'F'},          {"line", 'L'},     {"routine", 'R'}};
  bool ours = error->sqlstate[0] == '\0';
  const char *whole = ours ? NULL : cenote_error_field(error, 'M'); /* a long message, uncut */
  CEN_PUT(buf, "{\"message\":");
  cen_put_text(buf, whole != NULL ? whole : error->message);
  CEN_PUT(buf, ",\"code\":");
  cen_put_text(buf, error->sqlstate);
  for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
    const char *text = ours ? NULL : cenote_error_field(error, members[i].code);
    CEN_PUT(buf, ",\"");
    cen_buf_text(buf, members[i].name);
    CEN_PUT(buf, "\":");
    cen_put_text(buf, text == NULL && members[i].code == 'S' ? "" : text);
  }
  CEN_PUT(buf, "}");
}

void cen_neon_cancelled_put(struct cen_buf *buf)
{
  CEN_PUT(buf, "{\"message\":\"query cancelled\",\"code\":\"08P01\"}");
}

void cen_neon_busy_put(struct cen_buf *buf, const char *message)
{
  CEN_PUT(buf, "{\"msg\":");
  cen_put_text(buf, message);
  CEN_PUT(buf, "}");
}
