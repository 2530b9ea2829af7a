/* types.c - values to and from PostgreSQL's text format, and the names of its types. */
#include "driver/postgres/postgres.h"

#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  OID_BOOL = 16,
  OID_BYTEA = 17,
  OID_INT8 = 20,
  OID_INT2 = 21,
  OID_INT4 = 23,
  OID_OID = 26,
  OID_FLOAT4 = 700,
  OID_FLOAT8 = 701
};

/* pg_type's own numbers, which never change. In the order of the numbers. */
static const struct {
  Oid oid;
  const char *name;
} type_names[] = {
    {16, "boolean"},
    {17, "bytea"},
    {18, "\"char\""},
    {19, "name"},
    {20, "bigint"},
    {21, "smallint"},
    {23, "integer"},
    {24, "regproc"},
    {25, "text"},
    {26, "oid"},
    {27, "tid"},
    {28, "xid"},
    {29, "cid"},
    {114, "json"},
    {142, "xml"},
    {600, "point"},
    {601, "lseg"},
    {602, "path"},
    {603, "box"},
    {604, "polygon"},
    {628, "line"},
    {650, "cidr"},
    {700, "real"},
    {701, "double precision"},
    {705, "unknown"},
    {718, "circle"},
    {774, "macaddr8"},
    {790, "money"},
    {829, "macaddr"},
    {869, "inet"},
    {1000, "boolean[]"},
    {1001, "bytea[]"},
    {1005, "smallint[]"},
    {1007, "integer[]"},
    {1009, "text[]"},
    {1014, "character[]"},
    {1015, "character varying[]"},
    {1016, "bigint[]"},
    {1021, "real[]"},
    {1022, "double precision[]"},
    {1042, "character"},
    {1043, "character varying"},
    {1082, "date"},
    {1083, "time"},
    {1114, "timestamp"},
    {1115, "timestamp[]"},
    {1182, "date[]"},
    {1184, "timestamp with time zone"},
    {1185, "timestamp with time zone[]"},
    {1186, "interval"},
    {1231, "numeric[]"},
    {1266, "time with time zone"},
    {1560, "bit"},
    {1562, "bit varying"},
    {1700, "numeric"},
    {2205, "regclass"},
    {2249, "record"},
    {2278, "void"},
    {2950, "uuid"},
    {2951, "uuid[]"},
    {3220, "pg_lsn"},
    {3614, "tsvector"},
    {3615, "tsquery"},
    {3802, "jsonb"},
    {3807, "jsonb[]"},
    {3904, "int4range"},
    {3906, "numrange"},
    {3908, "tsrange"},
    {3910, "tstzrange"},
    {3912, "daterange"},
    {3926, "int8range"},
};

const char *pg_type_name(Oid oid)
{
  size_t low = 0;
  size_t high = sizeof(type_names) / sizeof(type_names[0]);
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (type_names[middle].oid == oid) {
      return type_names[middle].name;
    }
    if (type_names[middle].oid < oid) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return NULL;
}

void pg_column_of(const PGresult *result, int column, cenote_column *out)
{
  const Oid oid = PQftype(result, column);
  *out = (cenote_column){.name = PQfname(result, column),
                         .type = pg_type_name(oid),
                         .oid = oid,
                         .table_oid = PQftable(result, column),
                         .attribute = (int16_t)PQftablecol(result, column),
                         .type_size = (int16_t)PQfsize(result, column),
                         .modifier = PQfmod(result, column)};
}

/* ---------------------------------------------------------------------------- numbers */

/* The host program may have set a locale with another decimal point. */
static locale_t plain;
static pthread_once_t plain_once = PTHREAD_ONCE_INIT;

static void plain_make(void)
{
  plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
}

static double read_real(const char *text)
{
  (void)pthread_once(&plain_once, plain_make);
  return plain ? strtod_l(text, NULL, plain) : strtod(text, NULL);
}

/* The shortest text that reads back as the same number. */
static int write_real(double value, char *out, size_t size)
{
  if (isnan(value)) {
    return snprintf(out, size, "NaN");
  }
  if (isinf(value)) {
    return snprintf(out, size, value > 0 ? "Infinity" : "-Infinity");
  }
  int wrote = 0;
  for (int digits = 15; digits <= 17; digits++) {
    wrote = snprintf(out, size, "%.*g", digits, value);
    for (char *at = out; *at; at++) {
      if (!strchr("0123456789+-eE", *at)) {
        *at = '.';
      }
    }
    if (digits == 17 || read_real(out) == value) {
      break;
    }
  }
  return wrote;
}

/* -------------------------------------------------------------------------- coming out */

static int hex_digit(char byte)
{
  if (byte >= '0' && byte <= '9') {
    return byte - '0';
  }
  if (byte >= 'a' && byte <= 'f') {
    return byte - 'a' + 10;
  }
  return -1;
}

/* "\x6869" becomes "hi" where it stands: it only gets shorter. */
static bool decode_hex(char *text, size_t size, size_t *decoded)
{
  if (size < 2 || text[0] != '\\' || text[1] != 'x' || size % 2 != 0) {
    return false;
  }
  size_t count = 0;
  for (size_t i = 2; i < size; i += 2) {
    int high = hex_digit(text[i]);
    int low = hex_digit(text[i + 1]);
    if (high < 0 || low < 0) {
      return false;
    }
    text[count++] = (char)(high * 16 + low);
  }
  *decoded = count;
  return true;
}

/* bytea_output=escape in the session gives the old form. */
static bool decode_blob(char *text, size_t size, cenote_value *value, void **kept)
{
  size_t decoded;
  if (decode_hex(text, size, &decoded)) {
    *value = cenote_blob(text, decoded);
    return true;
  }
  unsigned char *bytes = PQunescapeBytea((const unsigned char *)text, &decoded);
  *kept = bytes;
  *value = cenote_blob(bytes, bytes ? decoded : 0);
  return bytes != NULL;
}

bool pg_cell(const PGresult *result, int row, int column, bool raw, cenote_value *value,
             void **kept)
{
  *kept = NULL;
  if (PQgetisnull(result, row, column)) {
    *value = cenote_null();
    return true;
  }
  char *text = PQgetvalue(result, row, column);
  size_t size = (size_t)PQgetlength(result, row, column);
  if (raw || PQfformat(result, column) != 0) {
    *value = cenote_text_n(text, size);
    return true;
  }
  switch (PQftype(result, column)) {
  case OID_INT2:
  case OID_INT4:
  case OID_INT8:
  case OID_OID:
    *value = cenote_integer(strtoll(text, NULL, 10));
    return true;
  case OID_FLOAT4:
  case OID_FLOAT8:
    *value = cenote_real(read_real(text));
    return true;
  case OID_BOOL:
    *value = cenote_boolean(text[0] == 't');
    return true;
  case OID_BYTEA:
    return decode_blob(text, size, value, kept);
  default:
    *value = cenote_text_n(text, size);
    return true;
  }
}

/* ---------------------------------------------------------------------------- going in */

enum { NUMBER_ROOM = 40 };

size_t pg_arg_size(const cenote_value *arg)
{
  switch (arg->type) {
  case CENOTE_TEXT:
    return (size_t)arg->size + 1;
  case CENOTE_INTEGER:
  case CENOTE_REAL:
  case CENOTE_BOOLEAN:
    return NUMBER_ROOM;
  default:
    return 0; /* a blob is sent from where it is */
  }
}

/* snprintf costs ten times as much, and nearly every statement has a number. */
static int write_integer(int64_t value, char *out)
{
  char digits[NUMBER_ROOM];
  int count = 0;
  int wrote = 0;
  uint64_t left = value < 0 ? UINT64_C(0) - (uint64_t)value : (uint64_t)value;
  do {
    digits[count++] = (char)('0' + left % 10);
    left /= 10;
  } while (left > 0);
  if (value < 0) {
    out[wrote++] = '-';
  }
  while (count > 0) {
    out[wrote++] = digits[--count];
  }
  out[wrote] = '\0';
  return wrote;
}

size_t pg_arg_text(const cenote_value *arg, char *out)
{
  int wrote = 0;
  switch (arg->type) {
  case CENOTE_TEXT:
    if (arg->size > 0) {
      memcpy(out, arg->as.text, arg->size);
    }
    out[arg->size] = '\0';
    return arg->size;
  case CENOTE_INTEGER:
    wrote = write_integer(arg->as.integer, out);
    break;
  case CENOTE_REAL:
    wrote = write_real(arg->as.real, out, NUMBER_ROOM);
    break;
  case CENOTE_BOOLEAN:
    wrote = snprintf(out, NUMBER_ROOM, arg->as.boolean ? "true" : "false");
    break;
  default:
    break;
  }
  return wrote > 0 ? (size_t)wrote : 0;
}
