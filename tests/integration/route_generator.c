/* route_generator.c - see route_generator.h. */
#include "integration/route_generator.h"

#include "base/buf.h"
#include "base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MOST_ARGUMENTS = 6, DEEPEST = 4 };

struct function {
  char *name; /* as it is written */
  char *result;
  char *arguments[MOST_ARGUMENTS];
  size_t count;
  char kind;   /* of pg_proc: f, a, w */
  bool random; /* may be called with random arguments */
};

struct generator {
  struct cen_rng rng;
  struct cen_buf text;
  struct function *functions;
  size_t count;
  size_t next; /* of generator_call: function and set of arguments */
};

const char generator_tables[] =
    "create table ta (id int primary key, a int, b text, c timestamptz, d jsonb, e numeric, f boolean);"
    "create table tb (id int primary key, a int, b text, c timestamptz, d jsonb, e numeric, f boolean);"
    "create view va as select * from ta where a is not null;"
    "create sequence sa;"
    "insert into ta select i, i, 'b' || i, now(), jsonb_build_object('k', i), i, i % 2 = 0 from generate_series(1, 20) i;"
    "insert into tb select * from ta;";

/* Two values of each type. */
static const struct {
  const char *type, *values[2];
} literals[] = {
    {"int4", {"1", "2"}},
    {"int8", {"2::int8", "1::int8"}},
    {"int2", {"1::int2", "2::int2"}},
    {"float8", {"0.5::float8", "1::float8"}},
    {"float4", {"0.5::float4", "1::float4"}},
    {"numeric", {"1.5", "2.0"}},
    {"bool", {"true", "false"}},
    {"text", {"'ta'", "'{\"a\": 1}'"}},
    {"varchar", {"'a'::varchar", "'b'::varchar"}},
    {"bpchar", {"'a'::bpchar", "'b'::bpchar"}},
    {"char", {"'a'::\"char\"", "'r'::\"char\""}},
    {"name", {"'ta'::name", "'sa'::name"}},
    {"cstring", {"'1'::cstring", "'a'::cstring"}},
    {"bytea", {"'abc'::bytea", "'\\x00ff'::bytea"}},
    {"oid", {"1::oid", "'ta'::regclass::oid"}},
    {"regclass", {"'ta'::regclass", "'sa'::regclass"}},
    {"regconfig", {"'english'::regconfig", "'simple'::regconfig"}},
    {"regdictionary", {"'simple'::regdictionary", "'english_stem'::regdictionary"}},
    {"regprocedure", {"'now()'::regprocedure", "'pi()'::regprocedure"}},
    {"timestamptz", {"now()", "'2020-01-01'::timestamptz"}},
    {"timestamp", {"'2020-01-01'::timestamp", "'2021-01-01'::timestamp"}},
    {"date", {"'2020-01-01'::date", "'2021-01-01'::date"}},
    {"time", {"'10:00'::time", "'11:00'::time"}},
    {"timetz", {"'10:00'::timetz", "'11:00'::timetz"}},
    {"interval", {"'1 ms'::interval", "'2 ms'::interval"}},
    {"json", {"'{\"a\": [1]}'::json", "'[1, 2]'::json"}},
    {"jsonb", {"'{\"a\": [1]}'::jsonb", "'[1, 2]'::jsonb"}},
    {"jsonpath", {"'$.a'::jsonpath", "'$[*] ? (@ > 1)'::jsonpath"}},
    {"uuid", {"'00000000-0000-0000-0000-000000000001'::uuid", "gen_random_uuid()"}},
    {"inet", {"'127.0.0.1'::inet", "'10.0.0.0/8'::inet"}},
    {"cidr", {"'10.0.0.0/8'::cidr", "'127.0.0.1/32'::cidr"}},
    {"macaddr", {"'08:00:2b:01:02:03'::macaddr", "null::macaddr"}},
    {"macaddr8", {"'08:00:2b:01:02:03:04:05'::macaddr8", "null::macaddr8"}},
    {"money", {"'1'::money", "'2'::money"}},
    {"bit", {"b'1'", "b'0'"}},
    {"varbit", {"b'10'::varbit", "b'0'::varbit"}},
    {"xml", {"'<a/>'::xml", "'<a>b</a>'::xml"}},
    {"tsvector", {"'a:1 b:2'::tsvector", "to_tsvector('a')"}},
    {"tsquery", {"'a & b'::tsquery", "'c'::tsquery"}},
    {"xid", {"'3'::xid", "'700'::xid"}},
    {"xid8", {"'3'::xid8", "pg_current_xact_id()"}},
    {"pg_lsn", {"'0/1'::pg_lsn", "pg_current_wal_lsn()"}},
    {"pg_snapshot", {"pg_current_snapshot()", "'1:2:'::pg_snapshot"}},
    {"txid_snapshot", {"txid_current_snapshot()", "'1:2:'::txid_snapshot"}},
    {"point", {"'(1,2)'::point", "'(0,0)'::point"}},
    {"box", {"'((0,0),(1,1))'::box", "'((0,0),(2,2))'::box"}},
    {"circle", {"'<(0,0),1>'::circle", "'<(1,1),2>'::circle"}},
    {"lseg", {"'[(0,0),(1,1)]'::lseg", "'[(0,1),(1,0)]'::lseg"}},
    {"line", {"'{1,2,3}'::line", "'{1,0,0}'::line"}},
    {"path", {"'[(0,0),(1,1)]'::path", "'((0,0),(1,1),(2,0))'::path"}},
    {"polygon", {"'((0,0),(1,1),(2,0))'::polygon", "'((0,0),(1,1))'::polygon"}},
    {"int4range", {"'[1,2)'::int4range", "'[1,5)'::int4range"}},
    {"int8range", {"'[1,2)'::int8range", "'empty'::int8range"}},
    {"numrange", {"'[1,2)'::numrange", "'empty'::numrange"}},
    {"daterange", {"'[2020-01-01,2020-01-02)'::daterange", "'empty'::daterange"}},
    {"tstzrange", {"'[2020-01-01,2020-01-02)'::tstzrange", "'empty'::tstzrange"}},
    {"anyelement", {"1", "'a'::text"}},
    {"anynonarray", {"1", "'a'::text"}},
    {"anycompatible", {"1", "'a'::text"}},
    {"anycompatiblenonarray", {"1", "'a'::text"}},
    {"any", {"1", "'a'::text"}},
    {"anyarray", {"array[1, 2]", "array['a', 'b']"}},
    {"anycompatiblearray", {"array[1, 2]", "array['a', 'b']"}},
    {"anyrange", {"'[1,2)'::int4range", "'[1,3)'::int4range"}},
    {"anymultirange", {"'{[1,2)}'::int4multirange", "'{}'::int4multirange"}},
    {"record", {"row(1, 2)", "row('a')"}},
    {"_text", {"array['a', 'b']", "array['k']"}},
    {"_int4", {"array[1, 2]", "array[3]"}},
};

static void clear(struct generator *generator)
{
  generator->text.size = 0;
}

static const char *written(struct generator *generator)
{
  assert_false(generator->text.failed);
  return generator->text.data;
}

/* A value of a type that has none above: NULL of it, which strict functions do not even look at. */
static void write_literal(struct generator *generator, const char *type, size_t set)
{
  for (size_t i = 0; i < sizeof(literals) / sizeof(*literals); i++) {
    if (strcmp(literals[i].type, type) == 0) {
      cen_buf_format(&generator->text, "%s", literals[i].values[set % 2]);
      return;
    }
  }
  cen_buf_format(&generator->text, "null::pg_catalog.\"%s\"", type);
}

/* What would take long, or much memory, whatever its verdict. */
static bool takes_long(const char *name)
{
  static const char *const names[] = {
      "repeat",   "lpad",         "rpad",           "generate_series", "array_fill",
      "pg_sleep", "pg_sleep_for", "pg_sleep_until", "factorial",       "gcd",
      NULL};
  for (size_t i = 0; names[i]; i++) {
    if (strcmp(names[i], name) == 0) {
      return true;
    }
  }
  return false;
}

static void read_function(struct function *function, PGresult *rows, int row)
{
  char *at = PQgetvalue(rows, row, 3);
  function->name = strdup(PQgetvalue(rows, row, 0));
  function->kind = *PQgetvalue(rows, row, 1);
  function->result = strdup(PQgetvalue(rows, row, 2));
  function->random =
      !takes_long(function->name) && function->kind == 'f' && *PQgetvalue(rows, row, 4) == 'f';
  while (*at && function->count < MOST_ARGUMENTS) {
    size_t size = strcspn(at, " ");
    function->arguments[function->count++] = strndup(at, size);
    at += size + (at[size] == ' ');
  }
}

struct generator *generator_new(PGconn *connection, uint64_t seed)
{
  struct generator *generator = calloc(1, sizeof(*generator));
  PGresult *rows = PQexec(
      connection,
      "select quote_ident(proname), prokind, (select typname from pg_type where oid = prorettype), "
      "coalesce((select string_agg(typname, ' ' order by ord) from unnest(proargtypes) with ordinality u (t, ord) "
      "join pg_type on pg_type.oid = t), ''), proretset from pg_proc p where pronamespace = "
      "'pg_catalog'::regnamespace and prokind in ('f', 'a', 'w') and pronargs <= 6 and not exists (select from "
      "unnest(proargtypes) t where t in ('internal'::regtype, 'trigger'::regtype, 'event_trigger'::regtype)) and "
      "prorettype not in ('internal'::regtype, 'trigger'::regtype, 'event_trigger'::regtype, "
      "'language_handler'::regtype, 'fdw_handler'::regtype, 'index_am_handler'::regtype, "
      "'table_am_handler'::regtype, 'tsm_handler'::regtype) order by proname, proargtypes::text");
  assert_non_null(generator);
  if (PQresultStatus(rows) != PGRES_TUPLES_OK) {
    fail_msg("%s", PQerrorMessage(connection));
  }
  cen_rng_seed(&generator->rng, seed);
  cen_buf_init(&generator->text, 1 << 20);
  generator->count = (size_t)PQntuples(rows);
  generator->functions = calloc(generator->count, sizeof(*generator->functions));
  assert_non_null(generator->functions);
  for (size_t i = 0; i < generator->count; i++) {
    read_function(&generator->functions[i], rows, (int)i);
  }
  PQclear(rows);
  return generator;
}

void generator_free(struct generator *generator)
{
  for (size_t i = 0; i < generator->count; i++) {
    struct function *function = &generator->functions[i];
    for (size_t j = 0; j < function->count; j++) {
      free(function->arguments[j]);
    }
    free(function->name);
    free(function->result);
  }
  free(generator->functions);
  cen_buf_deinit(&generator->text);
  free(generator);
}

/* ------------------------------------------------------------------ every function */

const char *generator_call(struct generator *generator)
{
  size_t at = generator->next++;
  struct function *function;
  if (at >= 2 * generator->count) {
    return NULL;
  }
  function = &generator->functions[at / 2];
  clear(generator);
  cen_buf_format(&generator->text, "select %s(", function->name);
  for (size_t i = 0; i < function->count; i++) {
    cen_buf_format(&generator->text, "%s", i ? ", " : "");
    write_literal(generator, function->arguments[i], at + i / 2);
  }
  cen_buf_format(&generator->text, function->kind == 'w' ? ") over ()" : ")");
  return written(generator);
}

/* ------------------------------------------------------------------ random statements */

static const char *const types[] = {"int4", "text", "bool", "timestamptz", "jsonb", "numeric"};

static bool chance(struct generator *generator, uint64_t percent)
{
  return cen_rng_below(&generator->rng, 100) < percent;
}

static const char *pick(struct generator *generator, const char *const *from, size_t count)
{
  return from[cen_rng_below(&generator->rng, count)];
}

static bool is_type(const char *type)
{
  for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++) {
    if (strcmp(types[i], type) == 0) {
      return true;
    }
  }
  return false;
}

static bool fits(const struct function *function, const char *type)
{
  bool fit = function->random && strcmp(function->result, type) == 0;
  for (size_t i = 0; fit && i < function->count; i++) {
    fit = is_type(function->arguments[i]);
  }
  return fit;
}

static void write_query(struct generator *generator, size_t depth, bool nested);

/* A column of ta or tb that has the type. */
static void write_column(struct generator *generator, const char *type)
{
  static const char *const columns[] = {"a", "b", "f", "c", "d", "e"};
  for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++) {
    if (strcmp(types[i], type) == 0) {
      cen_buf_format(&generator->text, "x.%s", columns[i]);
    }
  }
}

static void write_expression(struct generator *generator, const char *type, size_t depth);

static void write_function(struct generator *generator, const char *type, size_t depth)
{
  size_t start = cen_rng_below(&generator->rng, generator->count);
  for (size_t i = 0; i < generator->count; i++) {
    const struct function *function = &generator->functions[(start + i) % generator->count];
    if (fits(function, type)) {
      cen_buf_format(&generator->text, "%s%s(", chance(generator, 10) ? "pg_catalog." : "",
                     function->name);
      for (size_t j = 0; j < function->count; j++) {
        cen_buf_format(&generator->text, "%s", j ? ", " : "");
        write_expression(generator, function->arguments[j], depth + 1);
      }
      cen_buf_format(&generator->text, ")");
      return;
    }
  }
  write_literal(generator, type, 0);
}

/* % in a form: an expression of the left type, then of the right one. */
static void write_operation(struct generator *generator, const char *type, size_t depth)
{
  static const struct {
    const char *result, *form, *left, *right;
  } forms[] = {
      {"int4", "(%) + (%)", "int4", "int4"},
      {"int4", "case when % then % else 3 end", "bool", "int4"},
      {"text", "(%) || (%)", "text", "text"},
      {"text", "(%) ->> (%)", "jsonb", "text"},
      {"bool", "(%) = (%)", "int4", "int4"},
      {"bool", "(%) like (%)", "text", "text"},
      {"bool", "(%) and (%)", "bool", "bool"},
      {"bool", "(%) @> (%)", "jsonb", "jsonb"},
      {"bool", "not % is distinct from %", "numeric", "numeric"},
      {"bool", "(%) in ((%), 3)", "int4", "int4"},
      {"numeric", "(%) * (%)", "numeric", "numeric"},
      {"numeric", "extract(epoch from %) + (%)", "timestamptz", "numeric"},
      {"timestamptz", "(%) + '1 day'::interval * (%)", "timestamptz", "int4"},
      {"text", "substring(% from %)", "text", "int4"},
      {"text", "trim(both % from %)", "text", "text"},
      {"text", "(%)::text || overlay(% placing 'x' from 1)", "jsonb", "text"},
      {"jsonb", "jsonb_build_object('k', %, 'l', %)", "int4", "text"},
      {"jsonb", "(%) || (%)", "jsonb", "jsonb"},
      {"int4", "coalesce(%, greatest(%, 3))", "int4", "int4"},
      {"int4", "(array[%, %])[1]", "int4", "int4"},
      {"text", "(%)::text collate \"C\" || %", "numeric", "text"},
      {"text", "current_user || % || %", "text", "text"},
  };
  size_t i = cen_rng_below(&generator->rng, sizeof(forms) / sizeof(*forms));
  size_t tried = 0;
  const char *argument;
  while (strcmp(forms[i].result, type) != 0) {
    i = (i + 1) % (sizeof(forms) / sizeof(*forms));
    if (++tried > sizeof(forms) / sizeof(*forms)) {
      write_literal(generator, type, 1);
      return;
    }
  }
  argument = forms[i].left;
  for (const char *at = forms[i].form; *at; at++) {
    if (*at == '%') {
      write_expression(generator, argument, depth + 1);
      argument = forms[i].right;
    } else {
      cen_buf_char(&generator->text, *at);
    }
  }
}

static void write_expression(struct generator *generator, const char *type, size_t depth)
{
  uint64_t kind = cen_rng_below(&generator->rng, 100);
  if (depth >= DEEPEST || kind < 20) {
    write_literal(generator, type, kind);
  } else if (kind < 45) {
    write_column(generator, type);
  } else if (kind < 70) {
    write_function(generator, type, depth);
  } else if (kind < 95) {
    write_operation(generator, type, depth);
  } else {
    cen_buf_format(&generator->text, "(select ");
    write_expression(generator, type, depth + 1);
    cen_buf_format(&generator->text, " from tb x limit 1)");
  }
}

static void write_any(struct generator *generator, size_t depth)
{
  write_expression(generator, pick(generator, types, sizeof(types) / sizeof(*types)), depth);
}

static void write_query(struct generator *generator, size_t depth, bool nested)
{
  static const char *const from[] = {"ta x",
                                     "va x",
                                     "ta x join tb y on x.id = y.id",
                                     "ta x tablesample system (50) repeatable (1)",
                                     "(select * from tb) x",
                                     "ta x cross join lateral generate_series(1, 2) g",
                                     "only tb x",
                                     "pg_catalog.pg_class z, ta x"};
  static const char *const locks[] = {"for update", "for share of x",
                                      "for no key update skip locked"};
  struct cen_buf *text = &generator->text;
  cen_buf_format(text, "select ");
  write_any(generator, depth);
  cen_buf_format(text, " from %s", pick(generator, from, sizeof(from) / sizeof(*from)));
  if (chance(generator, 50)) {
    cen_buf_format(text, " where ");
    write_expression(generator, "bool", depth);
  }
  if (chance(generator, 20)) {
    cen_buf_format(text, " order by ");
    write_any(generator, depth);
  }
  cen_buf_format(text, " limit 5");
  if (!nested && chance(generator, 10)) {
    cen_buf_format(text, " %s", pick(generator, locks, sizeof(locks) / sizeof(*locks)));
  }
}

static void write_change(struct generator *generator, bool returning)
{
  struct cen_buf *text = &generator->text;
  switch (cen_rng_below(&generator->rng, 4)) {
  case 0:
    cen_buf_format(text, "insert into tb as x (id, a, b) values (%d, ",
                   (int)cen_rng_below(&generator->rng, 30));
    write_expression(generator, "int4", DEEPEST);
    cen_buf_format(text, ", 'n') on conflict (id) do update set a = ");
    write_expression(generator, "int4", 1);
    break;
  case 1:
    cen_buf_format(text, "update tb x set a = ");
    write_expression(generator, "int4", 1);
    cen_buf_format(text, " where x.id = %d", (int)cen_rng_below(&generator->rng, 30));
    break;
  case 2:
    cen_buf_format(text, "delete from tb x where x.id > 20 and ");
    write_expression(generator, "bool", 1);
    break;
  default:
    cen_buf_format(text, "insert into tb (id, a) select x.id + 100, ");
    write_expression(generator, "int4", 1);
    cen_buf_format(text, " from ta x where x.id = 1 on conflict do nothing");
    returning = false;
  }
  if (returning || chance(generator, 30)) {
    cen_buf_format(text, " returning 1");
  }
}

/* What takes the session, dressed as something else where that is possible. Most must be
 * unknown. */
static void write_trap(struct generator *generator)
{
  static const char *const traps[] = {
      "select set_config('work_mem', '1MB', false)",
      "select pg_advisory_lock(7)",
      "select U&\"pg_try_adv\\0069sory_lock\"(7)",
      "select ('sa'::regclass).nextval",
      "select x.a from ta x where pg_catalog.nextval('sa') > 0",
      "with x as (select 1 as a) select * into temp tt from x",
      "select 1 into temporary tt",
      "create temp table tt as select 1",
      "update pg_settings set setting = '1MB' where name = 'work_mem'",
      "with x as (select set_config(name, '1MB', false) from pg_settings where name = 'work_mem') select * from x",
      "set work_mem = '1MB'",
      "set session characteristics as transaction read only",
      "listen l",
      "prepare p as select 1",
      "declare c cursor with hold for select 1",
      "begin",
      "explain analyze select set_config('work_mem', '1MB', false)",
      "do 'begin perform set_config(''work_mem'', ''1MB'', false); end'",
      "select 1; listen l",
      "select * from query_to_xml('select set_config(''work_mem'', ''1MB'', false)', true, true, '')",
      "select * from ta x order by set_config('work_mem', '1MB', false)",
      "select * from ta x limit setval('sa', 5)",
      "select count(*) filter (where pg_try_advisory_lock(8)) from ta",
      "select lo_create(0)",
      "table tb",
      "values (1), (2)",
  };
  cen_buf_format(&generator->text, "%s", pick(generator, traps, sizeof(traps) / sizeof(*traps)));
}

const char *generator_statement(struct generator *generator)
{
  uint64_t kind = cen_rng_below(&generator->rng, 100);
  clear(generator);
  if (kind < 60) {
    write_query(generator, 1, false);
  } else if (kind < 70) {
    cen_buf_format(&generator->text, "(");
    write_query(generator, 2, true);
    cen_buf_format(&generator->text, ") union all (");
    write_query(generator, 2, true);
    cen_buf_format(&generator->text, ")");
  } else if (kind < 80) {
    write_change(generator, false);
  } else if (kind < 90) {
    cen_buf_format(&generator->text, "with w as (");
    if (chance(generator, 50)) {
      write_query(generator, 2, true);
    } else {
      write_change(generator, true);
    }
    cen_buf_format(&generator->text, ") ");
    write_query(generator, 2, false);
  } else {
    write_trap(generator);
  }
  return written(generator);
}
