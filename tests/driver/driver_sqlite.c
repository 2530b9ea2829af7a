/* What only SQLite has: its URLs, files that are missing, damaged or moved, half-done writes. */
#include "driver/rig.h"
#include "driver/scratch.h"
#include "driver/sqlite/url.h"

#include "net/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

extern const cenote_driver cen_driver_sqlite;

struct place {
  struct rig rig;
  cenote_connection *connection;
};

static void place_open(struct place *place, const char *url)
{
  cenote_error error = CENOTE_ERROR_INIT;
  if (rig_open(&place->rig, &cen_driver_sqlite, url, NULL, &error) ||
      !(place->connection = rig_connect(&place->rig, &error))) {
    fail_msg("%s: %s", url, error.message);
  }
}

static void place_close(struct place *place)
{
  rig_disconnect(&place->rig, place->connection);
  rig_close(&place->rig);
}

static cenote_status run(struct place *place, const char *sql, cenote_error *error)
{
  cenote_result *result;
  cenote_status status =
      rig_execute(&place->rig, place->connection, sql, NULL, 0, 20000, &result, error);
  cenote_result_free(result);
  return status;
}

static void must(struct place *place, const char *sql)
{
  cenote_error error = CENOTE_ERROR_INIT;
  if (run(place, sql, &error)) {
    fail_msg("%s: %s", sql, error.message);
  }
}

static int64_t number(struct place *place, const char *sql)
{
  return rig_integer(&place->rig, place->connection, sql);
}

/* path NULL: refused */
static const struct {
  const char *url, *path, *uri;
} urls[] = {
    {"sqlite:a.db", "a.db", "file:a.db"},
    {"sqlite:./a/b.db", "./a/b.db", "file:./a/b.db"},
    {"sqlite:/a/b.db", "/a/b.db", "file:///a/b.db"},
    {"sqlite://a.db", "a.db", "file:a.db"},
    {"sqlite:///a/b.db", "/a/b.db", "file:///a/b.db"},
    {"sqlite:////a/b.db", "//a/b.db", "file:////a/b.db"},
    {"SQLITE:a%20b%23.db", "a b#.db", "file:a%20b%23.db"},
    {"file:a.db?mode=ro&cache=private", "a.db", "file:a.db?mode=ro&cache=private"},
    {"file:///a.db", "/a.db", "file:///a.db"},
    {"file://localhost/a.db", "/a.db", "file:///a.db"},
    {"file:a.db?unknown=1", "a.db", "file:a.db?unknown=1"},
    {"sqlite::memory:", ":memory:", ":memory:"},
    {"sqlite://:memory:", ":memory:", ":memory:"},
    {"file::memory:?cache=shared", ":memory:", ":memory:"},
    {"sqlite:x?mode=memory", "x", ":memory:"},
    {"sqlite:", NULL, NULL},
    {"sqlite://", NULL, NULL},
    {"sqlite:a?mode=rx", NULL, NULL},
    {"sqlite:a?cache=shared", NULL, NULL},
    {"sqlite:a?unknown=1", NULL, NULL},
    {"sqlite:a?journal_mode=fast", NULL, NULL},
    {"sqlite:a?foreign_keys=maybe", NULL, NULL},
    {"sqlite:a#b", NULL, NULL},
    {"sqlite:a%2", NULL, NULL},
    {"sqlite:a%00b", NULL, NULL},
    {"file://elsewhere/a.db", NULL, NULL},
    {"postgres://a", NULL, NULL},
};

static void urls_name_what_they_seem_to_name(void **state)
{
  (void)state;
  for (size_t i = 0; i < sizeof(urls) / sizeof(*urls); i++) {
    struct cen_sq_url url;
    cenote_error error = CENOTE_ERROR_INIT;
    cenote_status status = cen_sq_url_parse(urls[i].url, &url, &error);
    assert_int_equal(status, urls[i].path ? CENOTE_OK : CENOTE_CONFIG);
    if (status == CENOTE_OK) {
      assert_string_equal(url.path, urls[i].path);
      assert_string_equal(url.uri, urls[i].uri);
      assert_int_equal(url.memory, strcmp(urls[i].uri, ":memory:") == 0);
      cen_sq_url_deinit(&url);
    } else {
      assert_true(strlen(error.message) > 10);
    }
  }
}

static void a_relative_path_survives_a_change_of_folder(void **state)
{
  struct place place;
  char here[512];
  char url[300];
  (void)state;
  assert_non_null(getcwd(here, sizeof(here)));
  snprintf(url, sizeof(url), "%s", scratch_path("a folder% with #"));
  assert_int_equal(mkdir(url, 0700), 0);
  assert_int_equal(chdir(url), 0);
  place_open(&place, "sqlite:x%20y.db?synchronous=off");
  must(&place, "CREATE TABLE t (a)");
  assert_int_equal(chdir("/"), 0);
  cen_driver_sqlite.taint(place.connection); /* the reset opens anew */
  assert_int_equal(rig_kind(&place.rig, place.connection, CENOTE_REQUEST_RESET, NULL), CENOTE_OK);
  assert_int_equal(number(&place, "SELECT count(*) FROM t"), 0);
  place_close(&place);
  assert_int_equal(chdir(url), 0);
  assert_int_equal(unlink("x y.db"), 0);
  assert_int_equal(chdir(here), 0);
  assert_int_equal(rmdir(url), 0);
}

static void sessions_are_set_up_as_documented(void **state)
{
  struct place place;
  char url[400];
  cenote_result *result;
  (void)state;
  snprintf(url, sizeof(url), "%s", scratch_url());
  place_open(&place, url);
  assert_int_equal(number(&place, "PRAGMA foreign_keys"), 1);
  assert_int_equal(number(&place, "PRAGMA synchronous"), 1);
  assert_int_equal(number(&place, "PRAGMA trusted_schema"), 0);
  assert_int_equal(rig_execute(&place.rig, place.connection, "PRAGMA journal_mode", NULL, 0, 20000,
                               &result, NULL),
                   CENOTE_OK);
  assert_string_equal(cenote_result_text(result, 0, 0), "wal");
  cenote_result_free(result);
  assert_int_equal(run(&place, "SELECT load_extension('x')", NULL), CENOTE_DATABASE);
  place_close(&place);

  strncat(url, "?foreign_keys=off&synchronous=full&journal_mode=delete",
          sizeof(url) - strlen(url) - 1);
  place_open(&place, url);
  assert_int_equal(number(&place, "PRAGMA foreign_keys"), 0);
  assert_int_equal(number(&place, "PRAGMA synchronous"), 2);
  must(&place, "CREATE TABLE t (a)");
  place_close(&place);
}

static void expect_connect_error(const char *url, const char *word)
{
  struct rig rig;
  cenote_error error = CENOTE_ERROR_INIT;
  assert_int_equal(rig_open(&rig, &cen_driver_sqlite, url, NULL, &error), CENOTE_OK);
  assert_null(rig_connect(&rig, &error));
  assert_int_equal(error.status, CENOTE_CONNECT);
  assert_false(error.retryable); /* nothing but a human's hand changes it */
  if (!strstr(error.message, word)) {
    fail_msg("\"%s\" does not say \"%s\"", error.message, word);
  }
  rig_close(&rig);
}

static void a_file_that_cannot_be_opened_is_explained(void **state)
{
  char url[400];
  (void)state;
  snprintf(url, sizeof(url), "sqlite:%s", scratch_path("missing/folder.db"));
  expect_connect_error(url, "missing does not exist; create it");
  snprintf(url, sizeof(url), "sqlite:%s?mode=rw", scratch_path("absent.db"));
  expect_connect_error(url, "does not allow to create it");
  expect_connect_error("sqlite:/tmp", "it is a directory");
  FILE *file = fopen(scratch_path("text.db"), "w");
  assert_non_null(file);
  for (int i = 0; i < 200; i++) {
    fputs("this is no database\n", file);
  }
  fclose(file);
  snprintf(url, sizeof(url), "sqlite:%s", scratch_path("text.db"));
  expect_connect_error(url, "not a database");
}

static void a_read_only_file_is_read(void **state)
{
  struct place place;
  char url[400];
  cenote_error error = CENOTE_ERROR_INIT;
  (void)state;
  snprintf(url, sizeof(url), "%s", scratch_url());
  place_open(&place, url);
  must(&place, "CREATE TABLE t (a)");
  place_close(&place);
  strncat(url, "?mode=ro", sizeof(url) - strlen(url) - 1);
  place_open(&place, url);
  assert_int_equal(number(&place, "SELECT count(*) FROM t"), 0);
  assert_int_equal(run(&place, "INSERT INTO t VALUES (1)", &error), CENOTE_DATABASE);
  assert_string_equal(error.sqlstate, "25006");
  place_close(&place);
}

static void a_check_notices_that_the_file_was_replaced(void **state)
{
  struct place place;
  cenote_error error = CENOTE_ERROR_INIT;
  char old[256];
  (void)state;
  place_open(&place, scratch_url());
  must(&place, "CREATE TABLE t (a)");
  assert_int_equal(rig_kind(&place.rig, place.connection, CENOTE_REQUEST_CHECK, NULL), CENOTE_OK);
  const char *path = sqlite3_db_filename(cen_driver_sqlite.resource(place.connection), "main");
  snprintf(old, sizeof(old), "%s.old", path);
  assert_int_equal(rename(path, old), 0);
  assert_int_equal(rig_kind(&place.rig, place.connection, CENOTE_REQUEST_CHECK, &error),
                   CENOTE_CONNECTION_LOST);
  assert_true(cen_driver_sqlite.session(place.connection) & CENOTE_SESSION_BROKEN);
  place_close(&place);
}

static void a_full_database_says_so(void **state)
{
  struct place place;
  cenote_error error = CENOTE_ERROR_INIT;
  (void)state;
  place_open(&place, scratch_url());
  must(&place, "CREATE TABLE t (a)");
  must(&place, "PRAGMA max_page_count = 4");
  assert_int_equal(run(&place, "INSERT INTO t VALUES (zeroblob(100000))", &error), CENOTE_DATABASE);
  assert_string_equal(error.sqlstate, "53100");
  place_close(&place);
}

static void a_write_cut_short_keeps_nothing_and_fails_the_transaction(void **state)
{
  struct place place;
  cenote_result *result;
  cenote_error error = CENOTE_ERROR_INIT;
  (void)state;
  place_open(&place, scratch_url());
  must(&place, "CREATE TABLE t (a)");
  must(&place, "BEGIN");
  must(&place, "INSERT INTO t VALUES (1)");
  assert_int_equal(rig_execute(&place.rig, place.connection,
                               "INSERT INTO t WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x "
                               "+ 1 FROM c) SELECT x FROM c",
                               NULL, 0, 150, &result, &error),
                   CENOTE_STATEMENT_TIMEOUT);
  /* SQLite has rolled the whole transaction back; nothing may slip into autocommit */
  assert_int_equal(run(&place, "INSERT INTO t VALUES (2)", &error), CENOTE_DATABASE);
  assert_string_equal(error.sqlstate, "25P02");
  assert_int_equal(run(&place, "COMMIT", &error), CENOTE_DATABASE);
  assert_string_equal(error.sqlstate, "25P02");
  assert_int_equal(cen_driver_sqlite.session(place.connection), 0);
  assert_int_equal(number(&place, "SELECT count(*) FROM t"), 0);
  place_close(&place);
}

static bool stop_at_first(void *context, const char *const *names, const cenote_value *values,
                          size_t columns)
{
  (void)context;
  (void)names;
  (void)values;
  (void)columns;
  return false;
}

static void a_write_whose_rows_are_refused_is_not_committed(void **state)
{
  struct place place;
  struct cenote_sink sink;
  cenote_request request = {.size = sizeof(request),
                            .kind = CENOTE_REQUEST_EXECUTE,
                            .sql = "INSERT INTO t VALUES (1), (2), (3) RETURNING a",
                            .sink = &sink,
                            .deadline_ns = CEN_NEVER};
  (void)state;
  place_open(&place, scratch_url());
  must(&place, "CREATE TABLE t (a)");
  cen_sink_init_stream(&sink, stop_at_first, NULL);
  assert_int_equal(rig_run(&place.rig, place.connection, &request, NULL), CENOTE_CANCELLED);
  cen_sink_deinit(&sink);
  assert_int_equal(number(&place, "SELECT count(*) FROM t"), 0);
  must(&place, "INSERT INTO t VALUES (4)");
  assert_int_equal(number(&place, "SELECT count(*) FROM t"), 1);
  place_close(&place);
}

static int cancel_at_commit(void *connection)
{
  cen_driver_sqlite.cancel(connection);
  return 0;
}

static void cancel_at_change(void *connection, int kind, const char *schema, const char *table,
                             sqlite3_int64 row)
{
  (void)kind;
  (void)schema;
  (void)table;
  (void)row;
  cen_driver_sqlite.cancel(connection);
}

/* SQLite asks whether to go on every so many instructions, sometimes behind the last one. */
static void what_is_done_is_never_called_cancelled(void **state)
{
  enum { TIMES = 2000 };
  struct place place;
  (void)state;
  place_open(&place, scratch_url());
  must(&place, "CREATE TABLE t (a)");
  sqlite3 *db = cen_driver_sqlite.resource(place.connection);
  sqlite3_commit_hook(db, cancel_at_commit, place.connection);
  for (int i = 0; i < TIMES; i++) {
    must(&place, "INSERT INTO t VALUES (1)");
    must(&place, "BEGIN");
    must(&place, "INSERT INTO t VALUES (2)");
    must(&place, "COMMIT");
  }
  sqlite3_commit_hook(db, NULL, NULL);
  sqlite3_update_hook(db, cancel_at_change, place.connection);
  must(&place, "BEGIN");
  for (int i = 0; i < TIMES; i++) {
    must(&place, "INSERT INTO t VALUES (3)");
  }
  sqlite3_update_hook(db, NULL, NULL);
  must(&place, "COMMIT");
  assert_int_equal(number(&place, "SELECT count(*) FROM t"), 3 * TIMES);
  place_close(&place);
}

static void inserted_ids_come_from_inserts_only(void **state)
{
  static const struct {
    const char *sql;
    int64_t id;
  } steps[] = {
      {"INSERT INTO t (a) VALUES ('x')", 1},
      {"WITH c(x) AS (VALUES ('y')) INSERT INTO t (a) SELECT x FROM c", 2},
      {"UPDATE t SET a = 'z'", 0},
      {"INSERT OR IGNORE INTO t VALUES (1, 'w')", 0},
      {"REPLACE INTO t VALUES (7, 'v')", 7},
      {"SELECT * FROM t", 0},
      {"DELETE FROM t", 0},
  };
  struct place place;
  (void)state;
  place_open(&place, scratch_url());
  must(&place, "CREATE TABLE t (id INTEGER PRIMARY KEY, a)");
  for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
    cenote_result *result;
    assert_int_equal(
        rig_execute(&place.rig, place.connection, steps[i].sql, NULL, 0, 20000, &result, NULL),
        CENOTE_OK);
    assert_int_equal(cenote_result_last_insert_id(result), steps[i].id);
    cenote_result_free(result);
  }
  place_close(&place);
}

static void what_is_done_with_the_lent_handle_is_seen_and_undone(void **state)
{
  struct place place;
  (void)state;
  place_open(&place, scratch_url());
  must(&place, "CREATE TABLE t (a)");
  cen_driver_sqlite.taint(place.connection);
  sqlite3 *db = cen_driver_sqlite.resource(place.connection);
  assert_int_equal(
      sqlite3_exec(db, "BEGIN; INSERT INTO t VALUES (1); PRAGMA cache_size=7", NULL, NULL, NULL),
      SQLITE_OK);
  assert_int_equal(cen_driver_sqlite.session(place.connection),
                   CENOTE_SESSION_IN_TRANSACTION | CENOTE_SESSION_DIRTY);
  assert_int_equal(rig_kind(&place.rig, place.connection, CENOTE_REQUEST_RESET, NULL), CENOTE_OK);
  assert_int_equal(cen_driver_sqlite.session(place.connection), 0);
  assert_int_equal(number(&place, "SELECT count(*) FROM t"), 0);
  assert_int_not_equal(number(&place, "PRAGMA cache_size"), 7);
  place_close(&place);
}

static void errors_carry_fields_and_sqlites_own_name(void **state)
{
  struct place place;
  cenote_error error = CENOTE_ERROR_INIT;
  (void)state;
  place_open(&place, scratch_url());
  must(&place, "CREATE TABLE t (a UNIQUE, b CONSTRAINT positive CHECK (b > 0))");
  must(&place, "CREATE TABLE u (a REFERENCES t(a))");
  must(&place, "INSERT INTO t VALUES (1, 1)");
  assert_int_equal(run(&place, "INSERT INTO t VALUES (1, 1)", &error), CENOTE_DATABASE);
  assert_string_equal(cenote_error_field(&error, 't'), "t");
  assert_string_equal(cenote_error_field(&error, 'c'), "a");
  assert_string_equal(cenote_error_field(&error, 'X'), "SQLITE_CONSTRAINT_UNIQUE");
  assert_int_equal(run(&place, "INSERT INTO t VALUES (2, 0)", &error), CENOTE_DATABASE);
  assert_string_equal(error.sqlstate, "23514");
  assert_string_equal(cenote_error_field(&error, 'n'), "positive");
  assert_int_equal(run(&place, "INSERT INTO u VALUES (9)", &error), CENOTE_DATABASE);
  assert_string_equal(error.sqlstate, "23503");
  assert_int_equal(run(&place, "SELECT 'caf\xc3\xa9', nope", &error), CENOTE_DATABASE);
  assert_string_equal(cenote_error_field(&error, 'P'), "16");
  place_close(&place);
}

static void a_forked_child_leaves_the_parents_session_alone(void **state)
{
  struct place place;
  int status = 0;
  (void)state;
  place_open(&place, scratch_url());
  must(&place, "CREATE TABLE t (a)");
  must(&place, "BEGIN IMMEDIATE");
  must(&place, "INSERT INTO t VALUES (1)");
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    bool refused =
        rig_do(&place.rig, place.connection, "INSERT INTO t VALUES (2)") == CENOTE_FORKED;
    rig_disconnect(&place.rig, place.connection);
    rig_close(&place.rig);
    _exit(refused ? 0 : 1);
  }
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_int_equal(status, 0);
  must(&place, "INSERT INTO t VALUES (3)");
  must(&place, "COMMIT");
  assert_int_equal(number(&place, "SELECT count(*) FROM t"), 2);
  place_close(&place);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(urls_name_what_they_seem_to_name),
      cmocka_unit_test(a_relative_path_survives_a_change_of_folder),
      cmocka_unit_test(sessions_are_set_up_as_documented),
      cmocka_unit_test(a_file_that_cannot_be_opened_is_explained),
      cmocka_unit_test(a_read_only_file_is_read),
      cmocka_unit_test(a_check_notices_that_the_file_was_replaced),
      cmocka_unit_test(a_full_database_says_so),
      cmocka_unit_test(a_write_cut_short_keeps_nothing_and_fails_the_transaction),
      cmocka_unit_test(a_write_whose_rows_are_refused_is_not_committed),
      cmocka_unit_test(what_is_done_is_never_called_cancelled),
      cmocka_unit_test(inserted_ids_come_from_inserts_only),
      cmocka_unit_test(what_is_done_with_the_lent_handle_is_seen_and_undone),
      cmocka_unit_test(errors_carry_fields_and_sqlites_own_name),
      cmocka_unit_test(a_forked_child_leaves_the_parents_session_alone),
  };
  return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
