/*
 * neon_result.c - a result as the server writes it: fields, rows as text or typed, the command.
 *
 * Typed means by the column's type OID, out of PostgreSQL's text form. What looks different from
 * what its type promises is written as a string: whatever a server sends, the body is valid JSON.
 */
#include "wire/neon.h"

#include "wire/json_put.h"
#include "wire/pg_types.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ----------------------------------------------------------------- one cell */

static bool is_word(const char *text, size_t size, const char *word)
{
  return size == strlen(word) && memcmp(text, word, size) == 0;
}

/* Is it one whole JSON value? A copy of what is read is not needed: nothing is written. */
static bool is_json(const char *text, size_t size)
{
  static const struct cen_reader_limits limits = {SIZE_MAX, CEN_READER_MAX_DEPTH, UINT64_MAX};
  struct cen_reader r;
  cen_reader_init(&r, (char *)(uintptr_t)text, size, &limits);
  return cen_read_skip(&r) && cen_read_end(&r);
}

static bool is_number(const char *text, size_t size)
{
  return size > 0 && (text[0] == '-' || (text[0] >= '0' && text[0] <= '9')) && is_json(text, size);
}

/* A text by the rule of a type that is no array. */
static void scalar_put(struct cen_buf *buf, uint32_t oid, const char *text, size_t size)
{
  switch (oid) {
  case CEN_PG_BOOL:
    if (is_word(text, size, "t") || is_word(text, size, "f")) {
      cen_put_bool(buf, text[0] == 't');
      return;
    }
    break;
  case CEN_PG_INT2:
  case CEN_PG_INT4:
  case CEN_PG_FLOAT4:
  case CEN_PG_FLOAT8:
    if (is_number(text, size)) {
      cen_put_bytes(buf, text, size);
      return;
    }
    break; /* NaN and the infinities are strings */
  case CEN_PG_JSON:
  case CEN_PG_JSONB:
    if (is_json(text, size)) {
      cen_put_bytes(buf, text, size);
      return;
    }
    break;
  default:
    break;
  }
  (void)cen_put_string(buf, text, size);
}

/* ----------------------------------------------------------------- arrays */

struct array {
  struct cen_buf *buf;
  const char *at, *end;
  uint32_t element;
  char *scratch; /* as large as the whole text */
};

static void blanks_skip(struct array *a)
{
  while (a->at < a->end && strchr(" \t\n\r\v\f", *a->at) != NULL && *a->at != '\0') {
    a->at++;
  }
}

/* "[0:1][2:3]=" */
static void bounds_skip(struct array *a)
{
  if (a->at < a->end && *a->at == '[') {
    const char *sign = memchr(a->at, '=', (size_t)(a->end - a->at));
    a->at = sign == NULL ? a->at : sign + 1;
  }
}

static bool element_put(struct array *a)
{
  bool quoted = *a->at == '"';
  size_t size = 0;
  a->at += quoted;
  while (a->at < a->end) {
    char c = *a->at;
    if (quoted ? c == '"' : c == ',' || c == '}') {
      break;
    }
    if (c == '\\' && ++a->at == a->end) {
      return false;
    }
    if (c == '{' && !quoted) {
      return false;
    }
    a->scratch[size++] = *a->at++;
  }
  if (a->at == a->end || (!quoted && size == 0)) {
    return false;
  }
  a->at += quoted;
  if (!quoted && is_word(a->scratch, size, "NULL")) {
    CEN_PUT(a->buf, "null");
  } else {
    scalar_put(a->buf, a->element, a->scratch, size);
  }
  return true;
}

/* The whole array, nested or not; false where it is none, and then half of it is written. */
static bool array_put(struct array *a)
{
  unsigned depth = 0;
  bool wants_value = true; /* an element or an opening brace; else a comma or a closing one */
  bool may_end = false;    /* directly behind an opening brace */
  bounds_skip(a);
  do {
    blanks_skip(a);
    if (a->at == a->end) {
      return false;
    }
    char c = *a->at;
    if (c == '{' && wants_value && depth < CEN_NEON_DEPTH / 2) {
      CEN_PUT(a->buf, "[");
      a->at++;
      depth++;
      may_end = true;
      continue;
    }
    if (c == '}' && depth > 0 && (!wants_value || may_end)) {
      CEN_PUT(a->buf, "]");
      a->at++;
      depth--;
      wants_value = false;
    } else if (c == ',' && !wants_value) {
      CEN_PUT(a->buf, ",");
      a->at++;
      wants_value = true;
    } else if (wants_value && depth > 0 && c != '{' && c != '}' && element_put(a)) {
      wants_value = false;
    } else {
      return false;
    }
    may_end = false;
  } while (depth > 0);
  blanks_skip(a);
  return a->at == a->end;
}

static bool array_try(struct cen_buf *buf, uint32_t element, const char *text, size_t size)
{
  char small[512];
  struct array a = {buf, text, text + size, element, small};
  size_t before = buf->size;
  if (size > sizeof(small) && (a.scratch = malloc(size)) == NULL) {
    buf->failed = true;
    return true;
  }
  bool fine = array_put(&a);
  if (a.scratch != small) {
    free(a.scratch);
  }
  if (!fine) {
    cen_put_undo(buf, before);
  }
  return fine;
}

static uint32_t element_of(const struct cen_neon_writer *w, uint32_t oid)
{
  const struct cen_pg_type *type = cen_pg_type(oid);
  if (type != NULL) {
    return type->element;
  }
  return w->element_of == NULL || oid == 0 ? 0 : w->element_of(w->context, oid);
}

static void text_put(struct cen_neon_writer *w, uint32_t oid, const char *text, size_t size)
{
  if (w->raw_text || oid == CEN_PG_TEXT) {
    (void)cen_put_string(w->buf, text, size);
    return;
  }
  uint32_t element = element_of(w, oid);
  if (element == 0 || !array_try(w->buf, element, text, size)) {
    scalar_put(w->buf, oid, text, size);
  }
}

/* Values that a driver converted already, in their text form first. */
static void cell_put(struct cen_neon_writer *w, uint32_t oid, const cenote_value *value)
{
  struct cen_buf *buf = w->buf;
  char memory[64];
  struct cen_buf text = {.data = memory, .capacity = sizeof(memory), .ceiling = sizeof(memory) - 1};
  switch (value->type) {
  case CENOTE_NULL:
    CEN_PUT(buf, "null");
    return;
  case CENOTE_TEXT:
    text_put(w, oid, value->as.text, value->size);
    return;
  case CENOTE_BLOB:
    CEN_PUT(buf, "\"\\\\x");
    cen_put_hex(buf, value->as.blob, value->size);
    CEN_PUT(buf, "\"");
    return;
  case CENOTE_BOOLEAN:
    text_put(w, CEN_PG_BOOL, value->as.boolean ? "t" : "f", 1);
    return;
  case CENOTE_INTEGER:
    cen_put_int(&text, value->as.integer);
    break;
  case CENOTE_REAL:
    if (isfinite(value->as.real)) {
      cen_put_real(&text, value->as.real);
    } else {
      cen_buf_text(&text, isnan(value->as.real) ? "NaN"
                          : value->as.real > 0  ? "Infinity"
                                                : "-Infinity");
    }
    break;
  }
  text_put(w, oid, text.data, text.size);
}

/* ----------------------------------------------------------------- results */

static void field_put(struct cen_buf *buf, const cenote_column *column,
                      const struct cen_neon_column *fact)
{
  const struct cen_pg_type *type = fact == NULL ? cen_pg_type(column->oid) : NULL;
  CEN_PUT(buf, "{\"name\":");
  cen_put_text(buf, column->name == NULL ? "" : column->name);
  CEN_PUT(buf, ",\"dataTypeID\":");
  cen_put_int(buf, column->oid);
  CEN_PUT(buf, ",\"tableID\":");
  cen_put_int(buf, fact == NULL ? 0 : fact->table_oid);
  CEN_PUT(buf, ",\"columnID\":");
  cen_put_int(buf, fact == NULL ? 0 : fact->attribute);
  CEN_PUT(buf, ",\"dataTypeSize\":");
  cen_put_int(buf, fact != NULL ? fact->size : type != NULL ? type->size : -1);
  CEN_PUT(buf, ",\"dataTypeModifier\":");
  cen_put_int(buf, fact == NULL ? -1 : fact->modifier);
  CEN_PUT(buf, ",\"format\":\"text\"}");
}

void cen_neon_result_begin(struct cen_neon_writer *w, const cenote_column *columns,
                           const struct cen_neon_column *facts, size_t count)
{
  w->columns = columns;
  w->count = count;
  w->comma = false;
  if (w->comma_result) {
    CEN_PUT(w->buf, ",");
  }
  CEN_PUT(w->buf, "{\"fields\":[");
  for (size_t i = 0; i < count; i++) {
    if (i > 0) {
      CEN_PUT(w->buf, ",");
    }
    field_put(w->buf, &columns[i], facts == NULL ? NULL : &facts[i]);
  }
  CEN_PUT(w->buf, "],\"rows\":[");
}

void cen_neon_result_row(struct cen_neon_writer *w, const cenote_value *values)
{
  struct cen_buf *buf = w->buf;
  if (w->comma) {
    CEN_PUT(buf, ",");
  }
  w->comma = true;
  cen_put_bytes(buf, w->array_mode ? "[" : "{", 1);
  for (size_t i = 0; i < w->count; i++) {
    if (i > 0) {
      CEN_PUT(buf, ",");
    }
    if (!w->array_mode) {
      cen_put_text(buf, w->columns[i].name == NULL ? "" : w->columns[i].name);
      CEN_PUT(buf, ":");
    }
    cell_put(w, w->columns[i].oid, &values[i]);
  }
  cen_put_bytes(buf, w->array_mode ? "]" : "}", 1);
}

/* The last word, where the tag has several and it is a number: "INSERT 0 5". */
static const char *tag_count(const char *tag)
{
  const char *last = strrchr(tag, ' ');
  if (last == NULL || last[1] == '\0' || strspn(last + 1, "0123456789") != strlen(last + 1)) {
    return NULL;
  }
  last++;
  while (last[0] == '0' && last[1] != '\0') {
    last++; /* JSON's numbers have no leading zeros */
  }
  return last;
}

void cen_neon_result_end(struct cen_neon_writer *w, const char *tag)
{
  struct cen_buf *buf = w->buf;
  const char *words = tag == NULL ? "" : tag;
  const char *count = tag_count(words);
  CEN_PUT(buf, "],\"command\":");
  (void)cen_put_string(buf, words, strcspn(words, " "));
  CEN_PUT(buf, ",\"rowCount\":");
  cen_buf_text(buf, count == NULL ? "null" : count);
  CEN_PUT(buf, ",\"rowAsArray\":");
  cen_put_bool(buf, w->array_mode);
  CEN_PUT(buf, "}");
  w->columns = NULL;
  w->comma_result = w->in_batch;
}

void cen_neon_batch_begin(struct cen_neon_writer *w)
{
  CEN_PUT(w->buf, "{\"results\":[");
  w->in_batch = true;
  w->comma_result = false;
}

void cen_neon_batch_end(struct cen_neon_writer *w)
{
  CEN_PUT(w->buf, "]}");
  w->in_batch = w->comma_result = false;
}

bool cen_neon_result_put(struct cen_neon_writer *w, const cenote_result *result,
                         const struct cen_neon_column *facts)
{
  size_t count = cenote_result_columns(result);
  size_t rows = cenote_result_rows(result);
  cenote_column few[16];
  cenote_value values[16];
  cenote_column *columns = count <= 16 ? few : malloc(count * sizeof(*columns));
  cenote_value *row = count <= 16 ? values : malloc(count * sizeof(*row));
  bool fine = columns != NULL && row != NULL;
  for (size_t i = 0; fine && i < count; i++) {
    columns[i] = (cenote_column){.name = cenote_result_column_name(result, i),
                                 .oid = cenote_result_column_oid(result, i)};
  }
  if (fine) {
    cen_neon_result_begin(w, columns, facts, count);
  }
  for (size_t i = 0; fine && i < rows && !w->buf->failed; i++) {
    for (size_t j = 0; j < count; j++) {
      row[j] = cenote_result_value(result, i, j);
    }
    cen_neon_result_row(w, row);
  }
  if (fine) {
    cen_neon_result_end(w, cenote_result_command(result));
  }
  if (columns != few) {
    free(columns);
  }
  if (row != values) {
    free(row);
  }
  return fine;
}
