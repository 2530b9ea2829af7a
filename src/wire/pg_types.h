/* pg_types.h - what is known of PostgreSQL's built-in types without asking a server: name, size as
 * pg_type.typlen has it, and what an array is made of. Constant tables: any thread. */
#ifndef CEN_PG_TYPES_H
#define CEN_PG_TYPES_H

#include <cenote/cenote.h>

enum {
  CEN_PG_BOOL = 16,
  CEN_PG_BYTEA = 17,
  CEN_PG_INT8 = 20,
  CEN_PG_INT2 = 21,
  CEN_PG_INT4 = 23,
  CEN_PG_TEXT = 25,
  CEN_PG_OID = 26,
  CEN_PG_JSON = 114,
  CEN_PG_FLOAT4 = 700,
  CEN_PG_FLOAT8 = 701,
  CEN_PG_TIMESTAMPTZ = 1184,
  CEN_PG_JSONB = 3802
};

struct cen_pg_type {
  uint32_t oid;
  int16_t size;     /* negative: variable */
  uint32_t element; /* of an array whose delimiter is a comma; else 0 */
  const char *name;
};

const struct cen_pg_type *cen_pg_type(uint32_t oid); /* NULL: not built in, or rare */

/* A cell in PostgreSQL's text form as a value of its type: numbers, booleans, bytea (decoded where
 * it stands, in either of its forms) and text for everything else, as the driver over libpq answers
 * them. False: the text is not of that type. */
bool cen_pg_value(uint32_t oid, char *text, size_t size, cenote_value *value);

/* May a column be asked for in binary, so that its values are the very same as those of its text? */
enum cen_pg_binary {
  CEN_PG_NO_BINARY,   /* nothing is won, or the text says something else (real: 0.1 is 0.1) */
  CEN_PG_BINARY,      /* always */
  CEN_PG_BINARY_REAL, /* where the text would have all digits: extra_float_digits, PostgreSQL 12 */
  CEN_PG_BINARY_TIME  /* where it is taken as a number */
};
enum cen_pg_binary cen_pg_binary(uint32_t oid);

/* A cell in PostgreSQL's binary form, as cen_pg_value has it of the text; it borrows a blob's bytes.
 * A timestamptz is an integer, microseconds since 2000-01-01 00:00 UTC, or the text "infinity",
 * "-infinity". False: the bytes are not of that type, or it is none of those above. */
bool cen_pg_binary_value(uint32_t oid, const char *bytes, size_t size, cenote_value *value);

#endif
