/* SQL of strangers: what sqlite_confined refuses, and what still works. */
#include "base/buf.h"
#include "driver/place.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <sqlite3.h>

static const struct {
  const char *sql;
  const char *word; /* of the message */
} refused[] = {
    {"ATTACH 'other.db' AS o", "ATTACH is refused"},
    {"ATTACH ':memory:' AS o", "ATTACH is refused"},
    {"ATTACH '' AS o", "ATTACH is refused"},
    {"ATTACH lower('O') AS o", "ATTACH is refused"},
    {"EXPLAIN ATTACH 'other.db' AS o", "ATTACH is refused"},
    {"VACUUM INTO 'copy.db'", "VACUUM INTO is refused"},
    {"/* */ VACUUM main INTO 'cop' || 'y.db'", "VACUUM INTO is refused"},
    {"SELECT load_extension('x')", "load_extension"},
    {"SELECT LOAD_EXTENSION('x', 'y')", "load_extension"},
    {"SELECT fts3_tokenizer('simple')", "fts3_tokenizer"},
    {"SELECT fts3_tokenizer('simple', x'00')", "fts3_tokenizer"},
    {"CREATE VIEW v AS SELECT fts3_tokenizer('simple'); ", NULL}, /* only when it is used */
    {"SELECT sql FROM sqlite_stmt", "the table sqlite_stmt"}, /* of all who use the connection */
    {"SELECT count(*) FROM main.SQLITE_STMT AS s", "the table sqlite_stmt"},
    {"SELECT * FROM pragma_optimize", "the table pragma_optimize"},
    {"SELECT optimize(w) FROM words AS w", "the function optimize"},
    {"PRAGMA journal_mode = delete", "PRAGMA journal_mode"},
    {"PRAGMA main.journal_mode(off)", "PRAGMA journal_mode"},
    {"PRAGMA locking_mode = exclusive", "PRAGMA locking_mode"},
    {"PRAGMA mmap_size = 1000000000", "PRAGMA mmap_size"},
    {"PRAGMA cache_size = 100000", "PRAGMA cache_size"},
    {"PRAGMA cache_size = -65537", "PRAGMA cache_size"},
    {"PRAGMA cache_size = 16385", "PRAGMA cache_size"},
    {"PRAGMA cache_size = many", "PRAGMA cache_size"},
    {"PRAGMA synchronous = off", "PRAGMA synchronous"},
    {"PRAGMA synchronous = 0", "PRAGMA synchronous"},
    {"PRAGMA synchronous = unheard", "PRAGMA synchronous"},
    {"PRAGMA temp_store_directory = '/tmp'", "PRAGMA temp_store_directory"},
    {"PRAGMA temp_store_directory", "PRAGMA temp_store_directory"},
    {"PRAGMA data_store_directory = '/tmp'", "PRAGMA data_store_directory"},
    {"PRAGMA temp_store = memory", "PRAGMA temp_store"},
    {"PRAGMA soft_heap_limit = 1", "PRAGMA soft_heap_limit"},
    {"PRAGMA hard_heap_limit = 1", "PRAGMA hard_heap_limit"},
    {"PRAGMA threads = 9", "PRAGMA threads"},
    {"PRAGMA writable_schema = on", "PRAGMA writable_schema"},
    {"PRAGMA schema_version = 9", "PRAGMA schema_version"},
    {"PRAGMA trusted_schema = on", "PRAGMA trusted_schema"},
    {"PRAGMA query_only = off", "PRAGMA query_only"},
    {"PRAGMA page_size = 512", "PRAGMA page_size"},
    {"PRAGMA auto_vacuum = full", "PRAGMA auto_vacuum"},
    {"PRAGMA max_page_count = 5", "PRAGMA max_page_count"},
    {"PRAGMA journal_size_limit = -1", "PRAGMA journal_size_limit"},
    {"PRAGMA wal_autocheckpoint = 0", "PRAGMA wal_autocheckpoint"},
    {"PRAGMA encoding = 'UTF-16'", "PRAGMA encoding"},
    {"PRAGMA key = 'x'", "PRAGMA key"},
    {"PRAGMA unheard_of", "PRAGMA unheard_of"},
    {"EXPLAIN PRAGMA mmap_size = 5", "PRAGMA mmap_size"},
};

static void what_reaches_out_of_the_file_is_refused(void **state)
{
  struct place place;
  (void)state;
  place_open(&place, scratch_url());
  place_must(&place, "CREATE TABLE t (a)");
  place_must(&place, "CREATE VIRTUAL TABLE words USING fts4 (a)");
  for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); i++) {
    if (!refused[i].word) {
      place_must(&place, refused[i].sql);
      continue;
    }
    assert_int_not_equal(place_native(&place, refused[i].sql, NULL, 0), CENOTE_OK);
    place_expect(&place, refused[i].sql, CENOTE_DATABASE, "SQLITE_AUTH");
    assert_string_equal(place.error.sqlstate, "42501");
    if (!strstr(place.error.message, refused[i].word) ||
        !strstr(place.error.message, "sqlite_confined")) {
      fail_msg("%s: %s", refused[i].sql, place.error.message);
    }
    assert_int_equal(place_script(&place, refused[i].sql), CENOTE_DATABASE);
    place_expect(&place, refused[i].sql, CENOTE_DATABASE, "SQLITE_AUTH");
  }
  assert_int_not_equal(place_native(&place, "SELECT * FROM v", NULL, 0), CENOTE_OK);
  assert_int_equal(place_ask(&place, place.connection, CENOTE_REQUEST_DESCRIBE, 0,
                             "ATTACH 'other.db' AS o", NULL, 0),
                   CENOTE_DATABASE);
  place_expect(&place, "describe", CENOTE_DATABASE, "SQLITE_AUTH");
  assert_int_not_equal(access("other.db", F_OK), 0);
  assert_int_not_equal(access("copy.db", F_OK), 0);
  assert_int_equal(place_number(&place, "SELECT count(*) FROM pragma_database_list"), 1);
  place_close(&place);
}

/* A refusal does not stay behind for the next error. */
static void an_error_of_its_own_is_told_as_such(void **state)
{
  struct place place;
  (void)state;
  place_open(&place, scratch_url());
  assert_int_equal(place_native(&place, "ATTACH 'x' AS x", NULL, 0), CENOTE_DATABASE);
  place_expect(&place, "ATTACH", CENOTE_DATABASE, "SQLITE_AUTH");
  assert_int_equal(place_native(&place, "SELECT 1 FROM \"not authorized\"", NULL, 0),
                   CENOTE_DATABASE);
  place_expect(&place, "SELECT", CENOTE_DATABASE, "SQLITE_ERROR");
  place_close(&place);
}

static const char *const allowed[] = {
    "CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT)",
    "INSERT INTO t (b) VALUES ('x'), ('y')",
    "CREATE TEMP TABLE u AS SELECT * FROM t",
    "CREATE VIRTUAL TABLE f USING fts5 (x)",
    "INSERT INTO f VALUES ('some words')",
    "SELECT * FROM f WHERE f MATCH 'words'",
    "VACUUM",
    "ANALYZE",
    "REINDEX",
    "PRAGMA journal_mode",
    "PRAGMA journal_mode = WAL", /* as it is: what many programs begin with */
    "PRAGMA synchronous = normal",
    "PRAGMA synchronous = 2",
    "PRAGMA synchronous",
    "PRAGMA cache_size = -65536",
    "PRAGMA cache_size = 2000",
    "PRAGMA busy_timeout = 5000",
    "PRAGMA foreign_keys = off",
    "PRAGMA foreign_keys = on",
    "PRAGMA defer_foreign_keys = on",
    "PRAGMA wal_checkpoint(TRUNCATE)",
    "PRAGMA user_version = 3",
    "PRAGMA table_info(t)",
    "SELECT * FROM pragma_table_xinfo('t')",
    "PRAGMA index_list('t')",
    "PRAGMA foreign_key_check",
    "PRAGMA integrity_check",
    "PRAGMA optimize",
    "PRAGMA mmap_size",
    "PRAGMA Table_List",
    "SELECT json_group_array(value), sum(value) FROM json_each('[1, 2, 3]')",
    "SELECT date('now'), hex(randomblob(9)), printf('%d', 5), substr('abc', 2)",
};

static void what_stays_inside_works(void **state)
{
  struct place place;
  (void)state;
  place_open(&place, scratch_url());
  for (size_t i = 0; i < sizeof(allowed) / sizeof(*allowed); i++) {
    if (place_native(&place, allowed[i], NULL, 0)) {
      fail_msg("%s: %s", allowed[i], place.error.message);
    }
  }
  assert_int_equal(place_number(&place, "PRAGMA busy_timeout"), 0); /* ours stays */
  assert_int_equal(place_number(&place, "PRAGMA user_version"), 3);
  assert_int_equal(rig_kind(&place.rig, place.connection, CENOTE_REQUEST_CHECK, NULL), CENOTE_OK);
  assert_int_equal(rig_kind(&place.rig, place.connection, CENOTE_REQUEST_RESET, NULL), CENOTE_OK);
  /* a reset opens anew, confined again */
  assert_int_equal(place_native(&place, "ATTACH 'x' AS x", NULL, 0), CENOTE_DATABASE);
  place_expect(&place, "ATTACH", CENOTE_DATABASE, "SQLITE_AUTH");
  place_close(&place);
}

static void a_read_only_transaction_stays_one(void **state)
{
  struct place place;
  (void)state;
  place_open(&place, scratch_url());
  place_must(&place, "CREATE TABLE t (a)");
  assert_int_equal(rig_begin(&place.rig, place.connection, CENOTE_BATCH_READ, NULL), CENOTE_OK);
  assert_int_equal(place_native(&place, "PRAGMA query_only = 0", NULL, 0), CENOTE_DATABASE);
  assert_int_equal(place_native(&place, "INSERT INTO t VALUES (1)", NULL, 0), CENOTE_DATABASE);
  assert_string_equal(place.error.sqlstate, "25006");
  place_must(&place, "COMMIT");
  place_must(&place, "INSERT INTO t VALUES (1)");
  place_close(&place);
}

static void a_database_in_memory_is_confined_too(void **state)
{
  struct place place;
  (void)state;
  place_open(&place, "sqlite::memory:");
  place_must(&place, "CREATE TEMP TABLE x (a)");
  assert_int_equal(place_native(&place, "ATTACH 'x' AS x", NULL, 0), CENOTE_DATABASE);
  place_expect(&place, "ATTACH", CENOTE_DATABASE, "SQLITE_AUTH");
  assert_int_equal(place_native(&place, "PRAGMA journal_mode = off", NULL, 0), CENOTE_DATABASE);
  place_must(&place, "PRAGMA journal_mode = memory");
  assert_int_equal(rig_kind(&place.rig, place.connection, CENOTE_REQUEST_RESET, NULL), CENOTE_OK);
  assert_int_equal(place_number(&place, "SELECT count(*) FROM temp.sqlite_schema"), 0);
  assert_int_equal(place_native(&place, "VACUUM INTO 'x'", NULL, 0), CENOTE_DATABASE);
  place_close(&place);
}

/* One past each ceiling. */
static void statements_have_smaller_ceilings(void **state)
{
  static const struct {
    const char *fine, *too_much;
  } sizes[] = {
      {"SELECT length(zeroblob(16777216))", "SELECT length(zeroblob(16777217))"},
      {"SELECT 'x' LIKE printf('%1000s', '')", "SELECT 'x' LIKE printf('%1001s', '')"},
  };
  struct place place;
  cenote_value *args = calloc(32766, sizeof(*args));
  char sql[8192] = "SELECT 1";
  (void)state;
  assert_non_null(args);
  place_open(&place, scratch_url());
  for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
    place_must(&place, sizes[i].fine);
    assert_int_not_equal(place_native(&place, sizes[i].too_much, NULL, 0), CENOTE_OK);
  }
  assert_int_equal(place_native(&place, "SELECT ?32766", args, 32766), CENOTE_OK);
  for (int i = 1; i < 200; i++) {
    strncat(sql, " UNION ALL SELECT 1", sizeof(sql) - strlen(sql) - 1);
  }
  place_must(&place, sql);
  strncat(sql, " UNION ALL SELECT 1", sizeof(sql) - strlen(sql) - 1);
  assert_int_not_equal(place_native(&place, sql, NULL, 0), CENOTE_OK);
  memcpy(sql, "SELECT 1", 9);
  for (int i = 1; i < 500; i++) {
    strncat(sql, "+1", sizeof(sql) - strlen(sql) - 1);
  }
  place_must(&place, sql);
  strncat(sql, "+1", sizeof(sql) - strlen(sql) - 1);
  assert_int_not_equal(place_native(&place, sql, NULL, 0), CENOTE_OK);
  free(args);
  place_close(&place);
}

/* Ours and SQLite's own. Texts that are not UTF-8 too. */
static void functions_in_the_place_of_sqlites_answer_the_same(void **state)
{
  static const char *const values[] = {"NULL",
                                       "''",
                                       "'a'",
                                       "'aa'",
                                       "'abcabc'",
                                       "'äöä'",
                                       "'ö'",
                                       "x''",
                                       "x'61'",
                                       "x'c3b6'",
                                       "x'b6'",
                                       "CAST(x'b6' AS TEXT)",
                                       "CAST(x'80808080' AS TEXT)",
                                       "CAST(x'610062' AS TEXT)",
                                       "5",
                                       "5.5",
                                       "' a '",
                                       "CAST(x'ff61' AS TEXT)",
                                       "'{\"a\":1}'",
                                       "'{\"a\":null,\"b\":[2]}'",
                                       "'{'"};
  static const char *const calls[] = {
      "instr(a, b)",
      "replace(a, b, c)",
      "trim(a, b)",
      "ltrim(a, b)",
      "rtrim(a, b)",
      "CASE WHEN json_valid(a) AND json_valid(b) THEN json_array(json_patch(a, b)) END"};
  struct place place;
  sqlite3 *db = NULL;
  sqlite3_stmt *stmt = NULL;
  (void)state;
  struct cen_buf sql;
  place_open(&place, scratch_url());
  assert_int_equal(sqlite3_open(":memory:", &db), SQLITE_OK);
  for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++) {
    cen_buf_init(&sql, 1 << 16);
    cen_buf_text(&sql, "WITH v(a) AS (VALUES (NULL)");
    for (size_t j = 0; j < sizeof(values) / sizeof(*values); j++) {
      cen_buf_format(&sql, ", (%s)", values[j]);
    }
    cen_buf_format(&sql,
                   "), w AS (SELECT v.a, x.a AS b, y.a AS c FROM v, v AS x, v AS y) "
                   "SELECT group_concat(typeof(r) || hex(r)) FROM (SELECT %s AS r FROM w)",
                   calls[i]);
    assert_false(sql.failed);
    place_must(&place, sql.data);
    assert_int_equal(sqlite3_prepare_v2(db, sql.data, -1, &stmt, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    assert_string_equal(cenote_result_text(place.result, 0, 0),
                        (const char *)sqlite3_column_text(stmt, 0));
    sqlite3_finalize(stmt);
    cen_buf_deinit(&sql);
  }
  sqlite3_close(db);
  place_close(&place);
}

/* Each of these would take SQLite's own between half an hour and some days; the time that a request has
 * is not asked while a function runs. */
static void no_call_of_a_function_takes_hours(void **state)
{
  static const char *const quick[] = {
      "SELECT instr(zeroblob(8000000), zeroblob(7000000) || x'01')",
      "SELECT instr(hex(zeroblob(4000000)), hex(zeroblob(3000000)) || '1')",
      "SELECT length(replace(hex(zeroblob(4000000)), hex(zeroblob(3000000)) || '1', 'x'))",
  };
  static const char *const refused_calls[] = {
      "SELECT trim(hex(zeroblob(4000000)), hex(zeroblob(3000000)) || '1')",
      "SELECT ltrim('x', printf('%1001s', ''))",
      "SELECT rtrim('x', printf('%1001s', ''))",
      "SELECT json_patch(printf('\"%200000s\"', ''), printf('\"%200000s\"', ''))",
      "SELECT replace(hex(zeroblob(500)), '00', hex(zeroblob(40000)))", /* above what a text may have */
  };
  struct place place;
  (void)state;
  place_open(&place, scratch_url());
  for (size_t i = 0; i < sizeof(quick) / sizeof(*quick); i++) {
    place_must(&place, quick[i]);
  }
  for (size_t i = 0; i < sizeof(refused_calls) / sizeof(*refused_calls); i++) {
    assert_int_not_equal(place_native(&place, refused_calls[i], NULL, 0), CENOTE_OK);
  }
  place_must(&place, "SELECT rtrim('x', printf('%1000s', ''))");
  place_must(&place,
             "CREATE TABLE own (a, b AS (replace(a, 'x', 'y')), CHECK (instr(a, 'z') = 0))");
  place_must(&place, "CREATE INDEX own_a ON own (trim(a, ' '))");
  place_must(&place, "INSERT INTO own (a) VALUES (' x ')");
  assert_int_equal(place_number(&place, "SELECT count(*) FROM own WHERE trim(a, ' ') = 'x'"), 1);
  place_close(&place);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_reaches_out_of_the_file_is_refused),
      cmocka_unit_test(an_error_of_its_own_is_told_as_such),
      cmocka_unit_test(what_stays_inside_works),
      cmocka_unit_test(a_read_only_transaction_stays_one),
      cmocka_unit_test(a_database_in_memory_is_confined_too),
      cmocka_unit_test(statements_have_smaller_ceilings),
      cmocka_unit_test(functions_in_the_place_of_sqlites_answer_the_same),
      cmocka_unit_test(no_call_of_a_function_takes_hours),
  };
  return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
