/* route_verdict.c - the corners of the grammar: what hides a call, a name, a write or a second
 * statement. The plain cases stand in docs/routing.md and are read by route_table.c. */
#include "sql/grammar.h"
#include "sql/verdict.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct cen_sql_verdict judge(const char *sql)
{
  return cen_verdict_postgres(sql, strlen(sql), NULL);
}

static void assert_each(const char *const *statements, bool shareable, bool read_only)
{
  for (; *statements; statements++) {
    struct cen_sql_verdict verdict = judge(*statements);
    if (verdict.shareable != shareable || verdict.read_only != read_only) {
      fail_msg("%s: %sshareable, %sread-only: %s", *statements, verdict.shareable ? "" : "not ",
               verdict.read_only ? "" : "not ", verdict.why);
    }
  }
}

static void functions_behind_grammar_are_seen(void **state)
{
  static const char *const known[] = {
      "select extract(epoch from a), overlay(a placing b from 1), position(a in b), trim(leading 'x' from a)",
      "select a at time zone 'utc', collation for (a), normalize(a, nfc), a is nfc normalized",
      "select (a, b) overlaps (c, d), a like b escape 'x', a similar to b, a ilike b",
      "select substring(a from 1 for 2), substring(a similar 'x' escape 'y'), treat(a as int)",
      "select xmlelement(name a, xmlattributes(b as c)), xmlforest(a), xmlserialize(content a as text)",
      "select current_role, session_user, localtime, current_catalog, current_schema, user",
      "select count(*) filter (where a) over w, rank() within group (order by b) from t window w as (order by c)",
      "select * from t tablesample bernoulli (10) repeatable (1)",
      "select * from rows from (generate_series(1, 2), unnest(a)) with ordinality",
      "select * from xmltable('/a' passing x columns b int path 'c' default 1)",
      "select grouping(a), greatest(a, b) from t group by rollup (a), cube (b), grouping sets ((a))",
      "select nullif(a, b), array(select 1), case a when 1 then 2 else 3 end from t",
      NULL};
  static const char *const unknown[] = {
      "select * from t tablesample mine (10)",
      "select * from t tablesample system (f(1))",
      "select * from rows from (generate_series(1, 2), f(1))",
      "select * from lateral f(1)",
      "select treat(a as mine)",
      "select * from xmltable('/a' passing x columns b int path 'c' default f())",
      "select count(*) filter (where f())",
      "select count(*) over (order by f())",
      "select mine(a) over ()",
      "select string_agg(a, ',' order by f(a)) from t",
      "select * from t window w as (partition by f(a))",
      "select * from t order by a using operator(mine.<)",
      "select * from t order by f(a)",
      "select * from t limit f()",
      "select 1 from a join b on f(a)",
      "select distinct on (f(a)) a from t",
      "select a from t group by grouping sets ((f(a)))",
      "select a from t having f(a)",
      "select a[f(1):f(2)] from t",
      "select (select (select f()))",
      "select 1 union select f()",
      "with x as (select f()) select 1",
      "with recursive x as (select 1) cycle a set b to f() default 1 using d select 1",
      "values (f())",
      "insert into t values (f())",
      "insert into t select f()",
      "insert into t values (1) returning f()",
      "insert into t values (1) on conflict (f(a)) do nothing",
      "insert into t values (1) on conflict (a) do update set a = f()",
      "insert into t values (1) on conflict (a) where f() do update set a = 1 where f()",
      "insert into t (a[f()]) values (1)",
      "update t set a = f()",
      "update t set (a, b) = (select f(), 1)",
      "update t set a = 1 from f()",
      "update t set a = 1 where f()",
      "delete from t using f()",
      "delete from t where f() returning 1",
      "merge into t using f() s on true when matched then delete",
      "merge into t using s on f() when matched then delete",
      "merge into t using s on true when matched and f() then delete",
      "merge into t using s on true when matched then update set a = f()",
      "merge into t using s on true when not matched then insert values (f())",
      NULL};
  (void)state;
  assert_each(known, true, true);
  assert_each(unknown, false, false);
}

static void names_are_read_as_the_server_reads_them(void **state)
{
  static const char *const known[] = {"SELECT NOW()",
                                      "select \"now\"()",
                                      "select pg_catalog.now()",
                                      "select \"pg_catalog\".\"now\"()",
                                      "select PG_CATALOG.Now()",
                                      "select /* f() */ now() -- f()",
                                      "select 'f()', $$ f() $$, E'\\' f()'",
                                      "select U&\"no\\0077\"()",
                                      "select a operator(pg_catalog.+) b",
                                      "select a::pg_catalog.int4, b::\"int4\"[]",
                                      "select a <> b, a != b, @ a, a ~~* b, !! a",
                                      NULL};
  static const char *const unknown[] = {
      "select \"NOW\"()",
      "select \"pg_catalog.now\"()",
      "select \"now \"()",
      "select app.now()",
      "select postgres.pg_catalog.now()",
      "select pg_catalog.f()",
      "select \"n\xc3\xb6w\"()",
      "select U&\"pg_adv\\0069sory_lock\"(1)",
      "select \"a\\\"b\"()",
      "select a operator(mine.+) b",
      "select a operator(pg_catalog.<=>) b",
      "select a === b",
      "select a = any (select b), a operator(mine.=) any (select b)",
      "select a::mine, b::app.int4",
      "select cast(a as mine[])",
      "select mine '1'",
      "select \"INT4\" '1'",
      "select * from json_to_recordset(a) as x (b mine)",
      NULL};
  (void)state;
  assert_each(known, true, true);
  assert_each(unknown, false, false);
}

static void a_field_of_an_expression_may_be_a_call(void **state)
{
  static const char *const unknown[] = {"select ('s'::regclass).nextval", "select (a).b from t",
                                        "select (f).b.c from t",
                                        "select (array[a])[1].nextval from t", NULL};
  static const char *const known[] = {"select t.b from t",         "select s.t.b from s.t",
                                      "select (a)[1] from t",      "select t.* from t",
                                      "select ('x'::text).length", NULL};
  (void)state;
  assert_each(unknown, false, false);
  assert_each(known, true, true);
}

static void writes_and_locks_are_found_wherever_they_hide(void **state)
{
  static const char *const writes[] = {
      "with a as (with b as (insert into t values (1) returning *) select * from b) select * from a",
      "with a as (update t set x = 1 returning *) table a",
      "select * from (select * from t for share) x",
      "select * from t where a in (select a from u for key share skip locked)",
      "with a as (select * from t for no key update) select * from a",
      "(select 1 from t for update)",
      "insert into t select * from u",
      "insert into t default values",
      "select pg_notify('a', 'b') from t",
      NULL};
  (void)state;
  assert_each(writes, true, false);
}

static void the_session_s_own_is_unknown(void **state)
{
  static const char *const unknown[] = {
      "select * from pg_temp_3.t",
      "select * from \"pg_temp\".t",
      "insert into pg_temp.t values (1)",
      "select 1 into temp t",
      "select 1 into temporary table t",
      "with x as (select 1) select * into t from x",
      "(select 1 into t)",
      "select 1 union select 2 into t",
      "delete from t where current of c",
      "with x as (update pg_settings set setting = '1' returning *) select 1",
      "insert into t select 1 from pg_settings",
      NULL};
  (void)state;
  assert_each(unknown, false, false);
}

static void one_statement_is_one(void **state)
{
  static const char *const one[] = {"select 1;",  ";select 1",   "select 1; -- x",
                                    "select ';'", "select 1;;;", NULL};
  static const char *const other[] = {
      "select 1; select 2", "select 1; begin", "", ";", "-- x", "begin; select 1", NULL};
  (void)state;
  assert_each(one, true, true);
  assert_each(other, false, false);
  assert_string_equal(judge("select 1; select 2").why, "several statements");
  assert_string_equal(judge("/* */").why, "no statement");
}

static void bytes_that_are_no_text_are_unknown(void **state)
{
  static const char nul[] = "select 1\0, f()";
  static const char cut[] = "select '\xe2\x82";
  static const char latin[] = "select '\xe9'";
  (void)state;
  assert_false(cen_verdict_postgres(nul, sizeof(nul) - 1, NULL).shareable);
  assert_false(cen_verdict_postgres(cut, sizeof(cut) - 1, NULL).shareable);
  assert_false(cen_verdict_postgres(latin, sizeof(latin) - 1, NULL).shareable);
  assert_false(cen_verdict_postgres(NULL, 0, NULL).shareable);
  assert_true(judge("select '\xc3\xa9', \"\xe2\x82\xac\" from t").shareable);
}

/* The text need not end with a NUL, and what stands behind it is not read. */
static void only_the_given_bytes_are_read(void **state)
{
  (void)state;
  assert_true(cen_verdict_postgres("select 1; f()", 8, NULL).shareable);
  assert_true(cen_verdict_postgres("select now()x", 12, NULL).shareable);
}

/* MultiAssignRef repeats its source in the printed tree, so that nesting it doubles the tree
 * each time. */
static void a_tree_that_explodes_is_given_up(void **state)
{
  char sql[8192] = "";
  struct cen_sql_verdict verdict;
  size_t at = 0;
  (void)state;
  for (int i = 0; i < 24; i++) {
    at += (size_t)snprintf(sql + at, sizeof(sql) - at, "update t set (a,b,c,d,e,f) = (with x as (");
  }
  at += (size_t)snprintf(sql + at, sizeof(sql) - at, "select 1");
  for (int i = 0; i < 24; i++) {
    at += (size_t)snprintf(sql + at, sizeof(sql) - at, ") select 1)");
  }
  assert_true(cen_grammar_depth(sql, at) > CEN_GRAMMAR_DEPTH ||
              !cen_verdict_postgres(sql, at, NULL).shareable);
  at = 0;
  for (int i = 0; i < 10; i++) {
    at += (size_t)snprintf(sql + at, sizeof(sql) - at,
                           "update \"t\" set (a,b,c,d,e,f) = (with \"x\" as (");
  }
  at += (size_t)snprintf(sql + at, sizeof(sql) - at, "select 1");
  for (int i = 0; i < 10; i++) {
    at += (size_t)snprintf(sql + at, sizeof(sql) - at, ") select 1)");
  }
  assert_true(cen_grammar_depth(sql, at) <= CEN_GRAMMAR_DEPTH);
  verdict = cen_verdict_postgres(sql, at, NULL);
  assert_false(verdict.shareable);
  assert_true(judge("select 1").shareable); /* the parser is as good as new */
}

static void sqlite_s_connection_is_found_under_any_name(void **state)
{
  static const char *const unknown[] = {"select Last_Insert_Rowid ()",
                                        "select \"changes\"()",
                                        "select [total_changes] ( )",
                                        "insert into t values (`load_extension`('x'))",
                                        "select * from \"temp\".t",
                                        "select * from temp . t",
                                        "select * from sqlite_temp_master",
                                        "select 1 from [sqlite_temp_schema] where 1",
                                        "",
                                        "select 1; select 2",
                                        "pragma foreign_keys = on",
                                        NULL};
  static const char *const reads[] = {"select changes, temp from last_insert_rowid",
                                      "select 'changes()', temp from t", "pragma table_list",
                                      "explain delete from t", NULL};
  (void)state;
  for (size_t i = 0; unknown[i]; i++) {
    struct cen_sql_verdict verdict = cen_verdict_sqlite(unknown[i], strlen(unknown[i]));
    if (verdict.shareable || verdict.read_only) {
      fail_msg("%s: %s", unknown[i], verdict.why);
    }
  }
  for (size_t i = 0; reads[i]; i++) {
    struct cen_sql_verdict verdict = cen_verdict_sqlite(reads[i], strlen(reads[i]));
    if (!verdict.shareable || !verdict.read_only) {
      fail_msg("%s: %s", reads[i], verdict.why);
    }
  }
}

static void names_of_one_s_own_are_read_from_a_list(void **state)
{
  struct cen_names names;
  (void)state;
  assert_int_equal(cen_names_init(&names, " App.Slug,,\t\"Odd, Name\" ,vector,<=>  ", NULL),
                   CENOTE_OK);
  assert_int_equal(names.count, 4);
  assert_true(cen_names_have(&names, "app.slug", 8));
  assert_true(cen_names_have(&names, "Odd, Name", 9));
  assert_true(cen_names_have(&names, "<=>", 3));
  assert_false(cen_names_have(&names, "slug", 4));
  assert_false(cen_names_have(&names, "app.slu", 7));
  assert_true(cen_verdict_postgres("select app.SLUG(1)", 18, &names).shareable);
  assert_false(cen_verdict_postgres("select slug(1)", 14, &names).shareable);
  assert_false(cen_verdict_postgres("select other.slug(1)", 20, &names).shareable);
  assert_true(cen_verdict_postgres("select \"Odd, Name\"(1)", 21, &names).shareable);
  cen_names_free(&names);
  assert_int_equal(cen_names_init(&names, "", NULL), CENOTE_OK);
  assert_false(cen_names_have(&names, "", 0));
  cen_names_free(&names);
  assert_int_equal(cen_names_init(&names, ",", NULL), CENOTE_OK);
  assert_int_equal(names.count, 0);
  cen_names_free(&names);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(functions_behind_grammar_are_seen),
      cmocka_unit_test(names_are_read_as_the_server_reads_them),
      cmocka_unit_test(a_field_of_an_expression_may_be_a_call),
      cmocka_unit_test(writes_and_locks_are_found_wherever_they_hide),
      cmocka_unit_test(the_session_s_own_is_unknown),
      cmocka_unit_test(one_statement_is_one),
      cmocka_unit_test(bytes_that_are_no_text_are_unknown),
      cmocka_unit_test(only_the_given_bytes_are_read),
      cmocka_unit_test(a_tree_that_explodes_is_given_up),
      cmocka_unit_test(sqlite_s_connection_is_found_under_any_name),
      cmocka_unit_test(names_of_one_s_own_are_read_from_a_list),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
