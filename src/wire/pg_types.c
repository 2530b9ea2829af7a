/* pg_types.c - see pg_types.h. */
#include "wire/pg_types.h"

#include "wire/json_reader.h"

#include <math.h>
#include <string.h>

/* pg_type's own numbers, which never change; in their order. box[] has another delimiter. */
static const struct cen_pg_type types[] = {
    {16, 1, 0, "boolean"},
    {17, -1, 0, "bytea"},
    {18, 1, 0, "\"char\""},
    {19, 64, 0, "name"},
    {20, 8, 0, "bigint"},
    {21, 2, 0, "smallint"},
    {23, 4, 0, "integer"},
    {24, 4, 0, "regproc"},
    {25, -1, 0, "text"},
    {26, 4, 0, "oid"},
    {27, 6, 0, "tid"},
    {28, 4, 0, "xid"},
    {29, 4, 0, "cid"},
    {114, -1, 0, "json"},
    {142, -1, 0, "xml"},
    {143, -1, 142, "xml[]"},
    {199, -1, 114, "json[]"},
    {600, 16, 0, "point"},
    {601, 32, 0, "lseg"},
    {602, -1, 0, "path"},
    {603, 32, 0, "box"},
    {604, -1, 0, "polygon"},
    {628, 24, 0, "line"},
    {650, -1, 0, "cidr"},
    {651, -1, 650, "cidr[]"},
    {700, 4, 0, "real"},
    {701, 8, 0, "double precision"},
    {705, -2, 0, "unknown"},
    {718, 24, 0, "circle"},
    {774, 8, 0, "macaddr8"},
    {775, -1, 774, "macaddr8[]"},
    {790, 8, 0, "money"},
    {791, -1, 790, "money[]"},
    {829, 6, 0, "macaddr"},
    {869, -1, 0, "inet"},
    {1000, -1, 16, "boolean[]"},
    {1001, -1, 17, "bytea[]"},
    {1002, -1, 18, "\"char\"[]"},
    {1003, -1, 19, "name[]"},
    {1005, -1, 21, "smallint[]"},
    {1007, -1, 23, "integer[]"},
    {1009, -1, 25, "text[]"},
    {1014, -1, 1042, "character[]"},
    {1015, -1, 1043, "character varying[]"},
    {1016, -1, 20, "bigint[]"},
    {1017, -1, 600, "point[]"},
    {1021, -1, 700, "real[]"},
    {1022, -1, 701, "double precision[]"},
    {1028, -1, 26, "oid[]"},
    {1040, -1, 829, "macaddr[]"},
    {1041, -1, 869, "inet[]"},
    {1042, -1, 0, "character"},
    {1043, -1, 0, "character varying"},
    {1082, 4, 0, "date"},
    {1083, 8, 0, "time"},
    {1114, 8, 0, "timestamp"},
    {1115, -1, 1114, "timestamp[]"},
    {1182, -1, 1082, "date[]"},
    {1183, -1, 1083, "time[]"},
    {1184, 8, 0, "timestamp with time zone"},
    {1185, -1, 1184, "timestamp with time zone[]"},
    {1186, 16, 0, "interval"},
    {1187, -1, 1186, "interval[]"},
    {1231, -1, 1700, "numeric[]"},
    {1266, 12, 0, "time with time zone"},
    {1270, -1, 1266, "time with time zone[]"},
    {1560, -1, 0, "bit"},
    {1561, -1, 1560, "bit[]"},
    {1562, -1, 0, "bit varying"},
    {1563, -1, 1562, "bit varying[]"},
    {1700, -1, 0, "numeric"},
    {2205, 4, 0, "regclass"},
    {2206, 4, 0, "regtype"},
    {2210, -1, 2205, "regclass[]"},
    {2249, -1, 0, "record"},
    {2278, 4, 0, "void"},
    {2287, -1, 2249, "record[]"},
    {2950, 16, 0, "uuid"},
    {2951, -1, 2950, "uuid[]"},
    {3220, 8, 0, "pg_lsn"},
    {3614, -1, 0, "tsvector"},
    {3615, -1, 0, "tsquery"},
    {3643, -1, 3614, "tsvector[]"},
    {3645, -1, 3615, "tsquery[]"},
    {3802, -1, 0, "jsonb"},
    {3807, -1, 3802, "jsonb[]"},
    {3904, -1, 0, "int4range"},
    {3905, -1, 3904, "int4range[]"},
    {3906, -1, 0, "numrange"},
    {3907, -1, 3906, "numrange[]"},
    {3908, -1, 0, "tsrange"},
    {3909, -1, 3908, "tsrange[]"},
    {3910, -1, 0, "tstzrange"},
    {3911, -1, 3910, "tstzrange[]"},
    {3912, -1, 0, "daterange"},
    {3913, -1, 3912, "daterange[]"},
    {3926, -1, 0, "int8range"},
    {3927, -1, 3926, "int8range[]"},
};

const struct cen_pg_type *cen_pg_type(uint32_t oid)
{
  size_t low = 0;
  size_t high = sizeof(types) / sizeof(types[0]);
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (types[middle].oid == oid) {
      return &types[middle];
    }
    if (types[middle].oid < oid) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return NULL;
}

static int hex_value(char c)
{
  if (c >= '0' && c <= '9') {
    return c - '0';
  }
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool hex_decode(char *text, size_t size, size_t *decoded)
{
  size_t count = 0;
  if (size % 2 != 0) {
    return false;
  }
  for (size_t i = 2; i < size; i += 2) {
    int high = hex_value(text[i]);
    int low = hex_value(text[i + 1]);
    if (high < 0 || low < 0) {
      return false;
    }
    text[count++] = (char)(high * 16 + low);
  }
  *decoded = count;
  return true;
}

static bool is_octal(const char *at)
{
  return at[0] >= '0' && at[0] <= '3' && at[1] >= '0' && at[1] <= '7' && at[2] >= '0' &&
         at[2] <= '7';
}

/* bytea_output=escape: \\ is a backslash, \ooo a byte. */
static bool escape_decode(char *text, size_t size, size_t *decoded)
{
  size_t count = 0;
  for (size_t i = 0; i < size; i++) {
    if (text[i] != '\\') {
      text[count++] = text[i];
    } else if (size - i >= 2 && text[i + 1] == '\\') {
      text[count++] = '\\';
      i++;
    } else if (size - i >= 4 && is_octal(text + i + 1)) {
      text[count++] =
          (char)((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
      i += 3;
    } else {
      return false;
    }
  }
  *decoded = count;
  return true;
}

/* The digits of a number that is not too long for what is done with it: most are short. */
static bool digits_read(const char *text, size_t size, size_t most, int64_t *number)
{
  int64_t value = 0;
  if (size == 0 || size > most) {
    return false;
  }
  for (size_t i = 0; i < size; i++) {
    const unsigned digit = (unsigned)(unsigned char)text[i] - '0';
    if (digit > 9) {
      return false;
    }
    value = value * 10 + digit;
  }
  *number = value;
  return true;
}

static bool short_integer(const char *text, size_t size, int64_t *integer)
{
  const bool negative = size > 1 && text[0] == '-';
  if (!digits_read(text + negative, size - negative, 18, integer)) {
    return false;
  }
  *integer = negative ? -*integer : *integer;
  return true;
}

/* "-12.5": with 15 digits at most both parts of the quotient are exact, so it is rounded once, as by
 * strtod. */
static bool short_real(const char *text, size_t size, double *real)
{
  enum { MOST = 15 };
  static const double powers[MOST + 1] = {1e0, 1e1, 1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                          1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
  const bool negative = size > 1 && text[0] == '-';
  char digits[MOST];
  size_t count = 0, behind = 0;
  bool point = false;
  for (size_t i = negative; i < size; i++) {
    if (text[i] == '.' && !point && count > 0) {
      point = true;
    } else if (count == MOST) {
      return false;
    } else {
      digits[count++] = text[i];
      behind += point;
    }
  }
  int64_t number;
  if ((point && behind == 0) || !digits_read(digits, count, MOST, &number)) {
    return false;
  }
  const double value = (double)number / powers[behind];
  *real = negative ? -value : value;
  return true;
}

static bool real_read(const char *text, size_t size, double *real)
{
  if (short_real(text, size, real)) {
    return true;
  }
  static const struct {
    const char *text;
    double real;
  } words[] = {{"NaN", NAN}, {"Infinity", INFINITY}, {"-Infinity", -INFINITY}};
  for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
    if (size == strlen(words[i].text) && memcmp(text, words[i].text, size) == 0) {
      *real = words[i].real;
      return true;
    }
  }
  struct cen_token token = {.text = (char *)(uintptr_t)text, .size = size};
  return size < 400 && cen_token_real(&token, real);
}

static bool integer_read(char *text, size_t size, int64_t *integer)
{
  struct cen_token token = {.text = text, .size = size};
  return short_integer(text, size, integer) || cen_token_int(&token, integer);
}

bool cen_pg_value(uint32_t oid, char *text, size_t size, cenote_value *value)
{
  value->size = 0;
  value->name = NULL;
  switch (oid) {
  case CEN_PG_BOOL:
    if (size != 1 || (text[0] != 't' && text[0] != 'f')) {
      *value = cenote_null();
      return false;
    }
    *value = cenote_boolean(text[0] == 't');
    return true;
  case CEN_PG_INT2:
  case CEN_PG_INT4:
  case CEN_PG_INT8:
  case CEN_PG_OID:
    value->type = CENOTE_INTEGER;
    if (!integer_read(text, size, &value->as.integer)) {
      *value = cenote_null();
      return false;
    }
    return true;
  case CEN_PG_FLOAT4:
  case CEN_PG_FLOAT8:
    value->type = CENOTE_REAL;
    if (!real_read(text, size, &value->as.real)) {
      *value = cenote_null();
      return false;
    }
    return true;
  case CEN_PG_BYTEA: {
    bool hex = size >= 2 && text[0] == '\\' && text[1] == 'x';
    if (hex ? !hex_decode(text, size, &size) : !escape_decode(text, size, &size)) {
      *value = cenote_null();
      return false;
    }
    *value = cenote_blob(text, size);
    return true;
  }
  default: /* most cells: nothing is made whole and then copied */
    value->type = CENOTE_TEXT;
    value->size = (uint32_t)size; /* of a message, whose ceiling is lower */
    value->as.text = text;
    return true;
  }
}
