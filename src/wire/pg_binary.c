/* pg_binary.c - cells in PostgreSQL's binary form; see pg_types.h. */
#include "wire/pg_types.h"

#include <math.h>
#include <string.h>

enum cen_pg_binary cen_pg_binary(uint32_t oid)
{
  switch (oid) {
  case CEN_PG_BOOL:
  case CEN_PG_BYTEA:
  case CEN_PG_INT2:
  case CEN_PG_INT4:
  case CEN_PG_INT8:
  case CEN_PG_OID:
    return CEN_PG_BINARY;
  case CEN_PG_FLOAT8:
    return CEN_PG_BINARY_REAL;
  case CEN_PG_TIMESTAMPTZ:
    return CEN_PG_BINARY_TIME;
  default:
    return CEN_PG_NO_BINARY;
  }
}

static uint64_t read_number(const char *bytes, size_t size)
{
  uint64_t number = 0;
  for (size_t i = 0; i < size; i++) {
    number = number << 8 | (unsigned char)bytes[i];
  }
  return number;
}

static uint64_t read_64(const char *bytes)
{
  uint64_t number;
  memcpy(&number, bytes, sizeof(number));
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
  number = __builtin_bswap64(number);
#endif
  return number;
}

static void set_integer(cenote_value *value, int64_t integer)
{
  value->type = CENOTE_INTEGER;
  value->as.integer = integer;
}

/* A NaN is a NaN, whatever its bits: its text has none. */
static void set_real(cenote_value *value, uint64_t bits)
{
  value->type = CENOTE_REAL;
  memcpy(&value->as.real, &bits, sizeof(bits));
  if (isnan(value->as.real)) {
    value->as.real = NAN;
  }
}

static void set_time(cenote_value *value, int64_t time)
{
  static const char infinity[] = "-infinity";
  if (time == INT64_MIN) {
    *value = cenote_text_n(infinity, sizeof(infinity) - 1);
  } else if (time == INT64_MAX) {
    *value = cenote_text_n(infinity + 1, sizeof(infinity) - 2);
  } else {
    set_integer(value, time);
  }
}

bool cen_pg_binary_value(uint32_t oid, const char *bytes, size_t size, cenote_value *value)
{
  value->size = 0;
  value->name = NULL;
  switch (oid) {
  case CEN_PG_BOOL:
    if (size != 1 || (unsigned char)bytes[0] > 1) {
      return false;
    }
    value->type = CENOTE_BOOLEAN;
    value->as.boolean = bytes[0] == 1;
    return true;
  case CEN_PG_BYTEA:
    *value = cenote_blob(bytes, size);
    return true;
  case CEN_PG_INT2:
    set_integer(value, size == 2 ? (int16_t)read_number(bytes, 2) : 0);
    return size == 2;
  case CEN_PG_INT4:
    set_integer(value, size == 4 ? (int32_t)read_number(bytes, 4) : 0);
    return size == 4;
  case CEN_PG_OID:
    set_integer(value, size == 4 ? (int64_t)read_number(bytes, 4) : 0);
    return size == 4;
  case CEN_PG_INT8:
    set_integer(value, size == 8 ? (int64_t)read_64(bytes) : 0);
    return size == 8;
  case CEN_PG_FLOAT8:
    set_real(value, size == 8 ? read_64(bytes) : 0);
    return size == 8;
  case CEN_PG_TIMESTAMPTZ:
    set_time(value, size == 8 ? (int64_t)read_64(bytes) : 0);
    return size == 8;
  default:
    return false;
  }
}
