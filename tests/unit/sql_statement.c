/* Splitting, verbs, and whether a statement may leave session state behind. */
#include "sql/tokens.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define PG CEN_DIALECT_POSTGRES
#define LITE CEN_DIALECT_SQLITE

static const struct {
  enum cen_dialect dialect;
  const char *sql;
  size_t count;
} counts[] = {
    {PG, "", 0},
    {PG, " ;; -- nothing\n ; /* ; */", 0},
    {PG, "SELECT 1", 1},
    {PG, "SELECT 1;", 1},
    {PG, "SELECT 1; -- end", 1},
    {PG, "SELECT 1; SELECT 2", 2},
    {PG, "SELECT ';'; SELECT $$;$$; SELECT \";\"", 3},
    {PG, "CREATE RULE r AS ON INSERT TO t DO ALSO (DELETE FROM a; DELETE FROM b); SELECT 1", 2},
    {PG,
     "CREATE FUNCTION f() RETURNS int LANGUAGE SQL BEGIN ATOMIC SELECT 1; SELECT CASE WHEN true "
     "THEN 1 END; END; SELECT 2",
     2},
    {PG, "CREATE OR REPLACE PROCEDURE p() BEGIN ATOMIC INSERT INTO t VALUES (1); END", 1},
    {PG, "CREATE TRIGGER x BEFORE INSERT ON t EXECUTE FUNCTION f(); SELECT 1", 2},
    {PG, "BEGIN; SELECT 1; END; SELECT 2", 4},
    {LITE,
     "CREATE TRIGGER x AFTER INSERT ON t BEGIN UPDATE t SET a=1; DELETE FROM u; END; SELECT 1", 2},
    {LITE, "CREATE TEMP TRIGGER x AFTER INSERT ON t BEGIN SELECT CASE WHEN 1 THEN 2 END; END", 1},
    {LITE,
     "EXPLAIN QUERY PLAN CREATE TEMPORARY TRIGGER x AFTER INSERT ON t BEGIN SELECT 1; END; "
     "SELECT 2",
     2},
    {LITE, "BEGIN; SELECT 1; END; SELECT 2", 4},
    {LITE, "SELECT (1; SELECT 2", 2},
    {LITE, "CREATE TABLE t(a); INSERT INTO t VALUES (';')", 2},
};

static void statements_are_split_outside_bodies_and_strings(void **state)
{
  (void)state;
  for (size_t i = 0; i < sizeof(counts) / sizeof(*counts); i++) {
    size_t count = cen_count_statements(counts[i].sql, strlen(counts[i].sql), counts[i].dialect);
    if (count != counts[i].count) {
      fail_msg("\"%s\": %zu instead of %zu", counts[i].sql, count, counts[i].count);
    }
  }
}

static void a_statement_comes_without_its_semicolon_and_space(void **state)
{
  const char sql[] = "  SELECT 1 ;; /* two */ SELECT 2 -- end\n ; ";
  const char *statement;
  size_t size;
  size_t offset = 0;
  (void)state;
  assert_true(cen_next_statement(sql, strlen(sql), PG, &offset, &statement, &size));
  assert_int_equal(size, 8);
  assert_memory_equal(statement, "SELECT 1", 8);
  assert_true(cen_next_statement(sql, strlen(sql), PG, &offset, &statement, &size));
  assert_memory_equal(statement, "/* two */ SELECT 2", 18);
  assert_false(cen_next_statement(sql, strlen(sql), PG, &offset, &statement, &size));
  assert_null(statement);
}

static const struct {
  enum cen_dialect dialect;
  enum cen_verb verb;
  const char *sql;
} verb_cases[] = {
    {PG, CEN_VERB_UNKNOWN, ""},
    {PG, CEN_VERB_UNKNOWN, "SELECT 1; SELECT 2"},
    {PG, CEN_VERB_UNKNOWN, "CALL f()"},
    {PG, CEN_VERB_UNKNOWN, "DO $$ $$"},
    {PG, CEN_VERB_UNKNOWN, "COPY t FROM STDIN"},
    {PG, CEN_VERB_READ, "SELECT 1"},
    {PG, CEN_VERB_READ, " -- c\n /* d */ select 1;"},
    {PG, CEN_VERB_READ, "(SELECT 1) UNION (SELECT 2)"},
    {PG, CEN_VERB_READ, "VALUES (1)"},
    {PG, CEN_VERB_READ, "TABLE t"},
    {PG, CEN_VERB_READ, "SHOW search_path"},
    {PG, CEN_VERB_READ, "WITH a AS (SELECT 1) SELECT * FROM a"},
    {PG, CEN_VERB_READ, "SELECT replace('a', 'b', 'c')"},
    {PG, CEN_VERB_READ, "SELECT substring(a FROM 1 FOR 2)"},
    {PG, CEN_VERB_READ, "SELECT 'INSERT INTO t'"},
    {PG, CEN_VERB_READ, "EXPLAIN DELETE FROM t"},
    {PG, CEN_VERB_UNKNOWN, "EXPLAIN (ANALYZE, BUFFERS) SELECT 1"},
    {PG, CEN_VERB_WRITE, "INSERT INTO t VALUES (1)"},
    {PG, CEN_VERB_WRITE, "update t set a = 1"},
    {PG, CEN_VERB_WRITE, "WITH a AS (DELETE FROM t RETURNING *) SELECT * FROM a"},
    {PG, CEN_VERB_WRITE, "WITH a AS (SELECT 1) INSERT INTO t SELECT * FROM a"},
    {PG, CEN_VERB_WRITE, "MERGE INTO t USING s ON true WHEN MATCHED THEN DELETE"},
    {PG, CEN_VERB_WRITE, "SELECT 1 FROM t FOR UPDATE"},
    {PG, CEN_VERB_WRITE, "SELECT 1 FROM t FOR NO KEY UPDATE SKIP LOCKED"},
    {PG, CEN_VERB_DDL, "SELECT 1 INTO t"},
    {PG, CEN_VERB_SESSION, "SELECT 1 INTO TEMP t"},
    {PG, CEN_VERB_BEGIN, "BEGIN"},
    {PG, CEN_VERB_BEGIN, "START TRANSACTION ISOLATION LEVEL SERIALIZABLE"},
    {PG, CEN_VERB_COMMIT, "COMMIT"},
    {PG, CEN_VERB_COMMIT, "END"},
    {PG, CEN_VERB_UNKNOWN, "COMMIT PREPARED 'x'"},
    {PG, CEN_VERB_UNKNOWN, "PREPARE TRANSACTION 'x'"},
    {PG, CEN_VERB_ROLLBACK, "ROLLBACK AND CHAIN"},
    {PG, CEN_VERB_ROLLBACK, "ABORT"},
    {LITE, CEN_VERB_UNKNOWN, "ABORT"},
    {PG, CEN_VERB_SAVEPOINT, "ROLLBACK TO a"},
    {PG, CEN_VERB_SAVEPOINT, "ROLLBACK WORK TO SAVEPOINT a"},
    {PG, CEN_VERB_SAVEPOINT, "RELEASE a"},
    {PG, CEN_VERB_SESSION, "SET a = 1"},
    {PG, CEN_VERB_SESSION, "PREPARE a AS SELECT 1"},
    {PG, CEN_VERB_SESSION, "LISTEN a"},
    {PG, CEN_VERB_SESSION, "CREATE TEMP TABLE a(b int)"},
    {PG, CEN_VERB_SESSION, "CREATE OR REPLACE LOCAL TEMPORARY VIEW a AS SELECT 1"},
    {PG, CEN_VERB_SESSION, "CREATE TABLE IF NOT EXISTS pg_temp.a(b int)"},
    {PG, CEN_VERB_DDL, "CREATE TABLE temp(b int)"},
    {PG, CEN_VERB_DDL, "CREATE TABLE a(b int)"},
    {PG, CEN_VERB_DDL, "TRUNCATE a"},
    {LITE, CEN_VERB_WRITE, "REPLACE INTO t VALUES (1)"},
    {LITE, CEN_VERB_SESSION, "ATTACH 'x' AS y"},
    {LITE, CEN_VERB_SESSION, "CREATE TABLE temp.a(b)"},
    {LITE, CEN_VERB_READ, "PRAGMA table_info(t)"},
    {LITE, CEN_VERB_READ, "PRAGMA main.table_info('t')"},
    {LITE, CEN_VERB_READ, "PRAGMA foreign_keys"},
    {LITE, CEN_VERB_SESSION, "PRAGMA foreign_keys = off"},
    {LITE, CEN_VERB_SESSION, "PRAGMA foreign_keys(0)"},
    {LITE, CEN_VERB_READ, "PRAGMA user_version"},
    {LITE, CEN_VERB_WRITE, "PRAGMA user_version = 3"},
    {LITE, CEN_VERB_READ, "EXPLAIN QUERY PLAN SELECT 1"},
};

static void verbs_are_told_and_doubt_is_unknown(void **state)
{
  (void)state;
  for (size_t i = 0; i < sizeof(verb_cases) / sizeof(*verb_cases); i++) {
    enum cen_verb verb =
        cen_statement_verb(verb_cases[i].sql, strlen(verb_cases[i].sql), verb_cases[i].dialect);
    if (verb != verb_cases[i].verb) {
      fail_msg("\"%s\": %d instead of %d", verb_cases[i].sql, (int)verb, (int)verb_cases[i].verb);
    }
  }
}

static const char *const clean[] = {
    "SELECT lower(a), count(*) FROM t WHERE b IN (1, 2) AND c->>'x' = $1 GROUP BY 1",
    "INSERT INTO s.t (a, b) VALUES (1, now()) ON CONFLICT (a) DO UPDATE SET (b) = (excluded.b)",
    "CREATE TABLE IF NOT EXISTS x (id serial PRIMARY KEY, n numeric(10,2) REFERENCES y(id))",
    "ALTER TABLE x ADD CHECK (n > 0), ADD UNIQUE (n), ADD FOREIGN KEY (a) REFERENCES y (b)",
    "CREATE UNIQUE INDEX CONCURRENTLY i ON s.t USING btree (lower(a))",
    "WITH RECURSIVE a(n) AS (SELECT 1) SELECT * FROM a",
    "SELECT pg_catalog.now(), \"lower\"('x'), PG_CATALOG.Upper('x')",
    "SELECT EXTRACT(year FROM now()), COALESCE(a, b), CAST(a AS varchar(3)), a::numeric(3,1)",
    "SELECT sum(a) FILTER (WHERE b) OVER (PARTITION BY c), ARRAY(SELECT 1), ROW(1, 2)",
    "SELECT * FROM generate_series(1, 3) AS g(n) JOIN u USING (id) WHERE EXISTS (SELECT 1)",
    "SET LOCAL a = 1",
    "SET TRANSACTION READ ONLY",
    "BEGIN ISOLATION LEVEL SERIALIZABLE",
    "COMMIT",
    "ROLLBACK TO a",
    "SELECT 'set_config(1)' -- set_config()\n",
    "SELECT random(), gen_random_uuid(), pg_sleep(1)",
    "DROP FUNCTION IF EXISTS f(int)",
};

static const char *const dirty[] = {
    "SELECT set_config('a', 'b', false)",
    "SELECT pg_catalog.set_config('a', 'b', false)",
    "SELECT \"set_config\" ('a', 'b', false)",
    "SELECT set_config /* c */ ('a', 'b', false)",
    "SELECT pg_advisory_lock(1)",
    "SELECT U&\"lower\"('a')",
    "SELECT \"LOWER\"('a')",
    "SELECT my.lower('a')",
    "SELECT a.b.now()",
    "SELECT nextval('s')",
    "SELECT setseed(1)",
    "SELECT query_to_xml('SELECT set_config(1)', true, true, '')",
    "INSERT INTO t (a) SELECT f(1)",
    "CREATE TABLE t AS SELECT * FROM a JOIN b ON f(1)",
    "SET a = 1",
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
    "PREPARE a AS SELECT 1",
    "CREATE TEMP TABLE a(b int)",
    "SELECT 1 INTO TEMP t",
    "CALL f()",
    "DO $$ $$",
    "DISCARD ALL",
    "SELECT 1; SET a = 1",
    "LISTEN a",
    "nonsense",
    "EXPLAIN ANALYZE SELECT 1",
};

static void only_what_is_surely_clean_counts_as_clean(void **state)
{
  (void)state;
  for (size_t i = 0; i < sizeof(clean) / sizeof(*clean); i++) {
    if (cen_statement_may_dirty(clean[i], strlen(clean[i]), PG)) {
      fail_msg("dirty: %s", clean[i]);
    }
  }
  for (size_t i = 0; i < sizeof(dirty) / sizeof(*dirty); i++) {
    if (!cen_statement_may_dirty(dirty[i], strlen(dirty[i]), PG)) {
      fail_msg("clean: %s", dirty[i]);
    }
  }
}

static void sqlite_keeps_state_only_by_verb(void **state)
{
  (void)state;
  assert_false(cen_statement_may_dirty("SELECT f(1)", 11, LITE));
  assert_true(cen_statement_may_dirty("PRAGMA cache_size=1", 19, LITE));
  assert_true(cen_statement_may_dirty("ATTACH 'a' AS b", 15, LITE));
  assert_false(cen_statement_may_dirty("CREATE TABLE a(b)", 17, LITE));
}

static void the_list_of_functions_is_found_from_end_to_end(void **state)
{
  static const char *const names[] = {
      "abs", "now", "lower", "xpath_exists", "width_bucket", "jsonb_build_object", "array_agg"};
  static const char *const not_listed[] = {"",        "a",       "zzz",     "set_config",
                                           "currval", "lastval", "setval",  "nextval",
                                           "lo_open", "dblink",  "ts_stat", "pg_try_advisory_lock",
                                           "ABS",     "abss",    "ab"};
  (void)state;
  for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
    assert_true(cen_function_stateless(names[i], strlen(names[i])));
  }
  for (size_t i = 0; i < sizeof(not_listed) / sizeof(*not_listed); i++) {
    assert_false(cen_function_stateless(not_listed[i], strlen(not_listed[i])));
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(statements_are_split_outside_bodies_and_strings),
      cmocka_unit_test(a_statement_comes_without_its_semicolon_and_space),
      cmocka_unit_test(verbs_are_told_and_doubt_is_unknown),
      cmocka_unit_test(only_what_is_surely_clean_counts_as_clean),
      cmocka_unit_test(sqlite_keeps_state_only_by_verb),
      cmocka_unit_test(the_list_of_functions_is_found_from_end_to_end),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
