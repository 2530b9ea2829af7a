/*
 * builtin.c - the names of PostgreSQL's own operators and types, and which of the functions in
 * stateless.c write. An operator or a type outside these sets is somebody's own, and what stands
 * behind it can be anything.
 */
#include "sql/builtin.h"

#include <string.h>

/* Of PostgreSQL 15's catalogue, each sorted by bytes. `!=` is written so and becomes `<>`. */
static const char *const operators[] = {
    "!!",  "!=",  "!~",  "!~*",  "!~~", "!~~*", "#",    "##",  "#-",  "#>",  "#>>", "%",   "&",
    "&&",  "&<",  "&<|", "&>",   "*",   "*<",   "*<=",  "*<>", "*=",  "*>",  "*>=", "+",   "-",
    "->",  "->>", "-|-", "/",    "<",   "<->",  "<<",   "<<=", "<<|", "<=",  "<>",  "<@",  "<^",
    "=",   ">",   ">=",  ">>",   ">>=", ">^",   "?",    "?#",  "?&",  "?-",  "?-|", "?|",  "?||",
    "@",   "@-@", "@>",  "@?",   "@@",  "@@@",  "^",    "^@",  "|",   "|&>", "|/",  "|>>", "||",
    "||/", "~",   "~*",  "~<=~", "~<~", "~=",   "~>=~", "~>~", "~~",  "~~*",
};

static const char *const types[] = {
    "aclitem",
    "bit",
    "bool",
    "box",
    "bpchar",
    "bytea",
    "char",
    "cid",
    "cidr",
    "circle",
    "date",
    "datemultirange",
    "daterange",
    "float4",
    "float8",
    "gtsvector",
    "inet",
    "int2",
    "int2vector",
    "int4",
    "int4multirange",
    "int4range",
    "int8",
    "int8multirange",
    "int8range",
    "interval",
    "json",
    "jsonb",
    "jsonpath",
    "line",
    "lseg",
    "macaddr",
    "macaddr8",
    "money",
    "name",
    "numeric",
    "nummultirange",
    "numrange",
    "oid",
    "oidvector",
    "path",
    "pg_lsn",
    "pg_snapshot",
    "point",
    "polygon",
    "record",
    "refcursor",
    "regclass",
    "regcollation",
    "regconfig",
    "regdictionary",
    "regnamespace",
    "regoper",
    "regoperator",
    "regproc",
    "regprocedure",
    "regrole",
    "regtype",
    "text",
    "tid",
    "time",
    "timestamp",
    "timestamptz",
    "timetz",
    "tsmultirange",
    "tsquery",
    "tsrange",
    "tstzmultirange",
    "tstzrange",
    "tsvector",
    "txid_snapshot",
    "uuid",
    "varbit",
    "varchar",
    "xid",
    "xid8",
    "xml",
};

/* They keep no session state, but a second call is not the same as none. */
static const char *const writers[] = {
    "pg_notify",
};

/* `table` is sorted by bytes. */
bool cen_name_in(const char *name, size_t size, const char *const *table, size_t count)
{
  size_t low = 0;
  size_t high = count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    size_t entry_size = strlen(table[middle]);
    int order = memcmp(name, table[middle], size < entry_size ? size : entry_size);
    if (order == 0) {
      order = (size > entry_size) - (size < entry_size);
    }
    if (order == 0) {
      return true;
    }
    if (order < 0) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return false;
}

bool cen_operator_builtin(const char *name, size_t size)
{
  return cen_name_in(name, size, operators, sizeof(operators) / sizeof(*operators));
}

bool cen_type_builtin(const char *name, size_t size)
{
  return cen_name_in(name, size, types, sizeof(types) / sizeof(*types));
}

bool cen_function_writes(const char *name, size_t size)
{
  return cen_name_in(name, size, writers, sizeof(writers) / sizeof(*writers));
}
