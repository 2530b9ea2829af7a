/* hrana_value.c - Hrana's values, there and back. */
#include "wire/hrana_value.h"

#include "wire/base64.h"
#include "wire/json_put.h"

#include <math.h>
#include <string.h>

/*
 * NaN is NULL in SQLite. The infinities have no encoding in the protocol; 1e999 is a JSON number by
 * its grammar, which JavaScript and our own client read as what was meant, whereas the null that
 * sqld writes makes clients fail that want a number.
 */
static void real_put(struct cen_buf *buf, double real)
{
  if (isnan(real)) {
    CEN_PUT(buf, "{\"type\":\"null\"}");
    return;
  }
  CEN_PUT(buf, "{\"type\":\"float\",\"value\":");
  if (isinf(real)) {
    cen_buf_text(buf, real > 0 ? "1e999" : "-1e999");
  } else {
    cen_put_real(buf, real);
  }
  CEN_PUT(buf, "}");
}

static void integer_put(struct cen_buf *buf, int64_t integer)
{
  CEN_PUT(buf, "{\"type\":\"integer\",\"value\":\"");
  cen_put_int(buf, integer);
  CEN_PUT(buf, "\"}");
}

bool cen_hrana_value_put(struct cen_buf *buf, const cenote_value *value, bool padded)
{
  bool valid = true;
  switch (value->type) {
  case CENOTE_NULL:
    CEN_PUT(buf, "{\"type\":\"null\"}");
    return true;
  case CENOTE_INTEGER:
    integer_put(buf, value->as.integer);
    return true;
  case CENOTE_BOOLEAN:
    integer_put(buf, value->as.boolean);
    return true;
  case CENOTE_REAL:
    real_put(buf, value->as.real);
    return true;
  case CENOTE_TEXT:
    CEN_PUT(buf, "{\"type\":\"text\",\"value\":");
    valid = cen_put_string(buf, value->as.text, value->size);
    CEN_PUT(buf, "}");
    return valid;
  case CENOTE_BLOB:
    CEN_PUT(buf, "{\"type\":\"blob\",\"base64\":\"");
    cen_base64_put(buf, value->as.blob, value->size, padded);
    CEN_PUT(buf, "\"}");
    return true;
  }
  return false;
}

enum type { TYPE_NULL, TYPE_INTEGER, TYPE_FLOAT, TYPE_TEXT, TYPE_BLOB, TYPES };

static const char *const type_names[TYPES] = {"null", "integer", "float", "text", "blob"};

static bool value_make(struct cen_reader *r, enum type type, const struct cen_token *token,
                       cenote_value *value)
{
  bool number = token->kind == CEN_TOKEN_NUMBER;
  bool string = token->kind == CEN_TOKEN_STRING;
  int64_t integer;
  double real;
  size_t size = token->size;
  if (size > UINT32_MAX) {
    return cen_reader_problem(r, "a value of more than 4 GiB");
  }
  switch (type) {
  case TYPE_INTEGER:
    if (!(number || string) || !cen_token_int(token, &integer)) {
      return cen_reader_problem(r, "no integer of 64 bits");
    }
    *value = cenote_integer(integer);
    return true;
  case TYPE_FLOAT:
    if (token->kind == CEN_TOKEN_NULL) {
      return true;
    }
    if (!number || !cen_token_real(token, &real)) {
      return cen_reader_problem(r, "a float that is no number");
    }
    *value = cenote_real(real);
    return true;
  case TYPE_TEXT:
    if (!string) {
      return cen_reader_problem(r, "a text that is no string");
    }
    *value = cenote_text_n(token->text, size);
    return true;
  case TYPE_BLOB:
    if (!string || !cen_base64_decode(token->text, &size)) {
      return cen_reader_problem(r, "a blob that is not base64");
    }
    *value = cenote_blob(token->text, size);
    return true;
  case TYPE_NULL:
  case TYPES:
    return true;
  }
  return false;
}

bool cen_hrana_value_read(struct cen_reader *r, cenote_value *value)
{
  static const char *const names[] = {"type", "value", "base64"};
  struct cen_token tokens[3] = {{.kind = CEN_TOKEN_NULL}};
  uint64_t seen = 0;
  *value = cenote_null();
  if (!cen_read_object(r)) {
    return false;
  }
  for (int i; (i = cen_read_known(r, names, 3, &seen)) >= 0;) {
    if (!cen_read_value(r, &tokens[i])) {
      return false;
    }
    if (tokens[i].kind == CEN_TOKEN_ARRAY || tokens[i].kind == CEN_TOKEN_OBJECT) {
      return cen_reader_problem(r, "an array or object inside a value");
    }
  }
  if (r->problem != NULL) {
    return false;
  }
  enum type type = TYPES;
  for (unsigned i = 0; (seen & 1) != 0 && tokens[0].kind == CEN_TOKEN_STRING && i < TYPES; i++) {
    if (strcmp(tokens[0].text, type_names[i]) == 0) {
      type = (enum type)i;
    }
  }
  if (type == TYPES) {
    return cen_reader_problem(r, "a value of an unknown type");
  }
  unsigned member = type == TYPE_BLOB ? 2 : 1;
  if (type != TYPE_NULL && (seen & 1u << member) == 0) {
    return cen_reader_problem(r, "a value without a value");
  }
  return type == TYPE_NULL || value_make(r, type, &tokens[member], value);
}
