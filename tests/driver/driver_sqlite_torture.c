/* Every allocation of the SQLite driver, and of SQLite itself, fails once. */
#include "driver/rig.h"
#include "driver/scratch.h"
#include "support/alloc_torture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <sqlite3.h>

extern const cenote_driver cen_driver_sqlite;

static sqlite3_mem_methods system_memory;

static void *failing_malloc(int size)
{
  return alloc_torture_strikes() ? NULL : system_memory.xMalloc(size);
}

static void *failing_realloc(void *memory, int size)
{
  return alloc_torture_strikes() ? NULL : system_memory.xRealloc(memory, size);
}

/* SQLite's own allocations are on the rack too; it must be told before it starts. */
static bool hook_sqlite(void)
{
  sqlite3_mem_methods methods;
  if (sqlite3_config(SQLITE_CONFIG_GETMALLOC, &system_memory) != SQLITE_OK) {
    return false;
  }
  methods = system_memory;
  methods.xMalloc = failing_malloc;
  methods.xRealloc = failing_realloc;
  return sqlite3_config(SQLITE_CONFIG_MALLOC, &methods) == SQLITE_OK &&
         sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 0, 0) == SQLITE_OK;
}

static void fine_or_no_memory(cenote_status status, const cenote_error *error)
{
  if (status != CENOTE_OK && status != CENOTE_NO_MEMORY) {
    fail_msg("%s %s: %s (%s)", cenote_status_name(status), error->sqlstate, error->message,
             error->details);
  }
}

static void work(struct rig *rig, cenote_connection *connection)
{
  static const char *const statements[] = {
      "SELECT ?, $2", /* refused */
      "SELECT $1, $2",
      "INSERT INTO t (a) VALUES (?) RETURNING a, ?",
      "SELECT a, count(*) FROM t WHERE a <> ? GROUP BY a HAVING a <> ?",
  };
  const cenote_value args[] = {cenote_text("text"), cenote_blob("blob", 4)};
  cenote_error error = CENOTE_ERROR_INIT;
  fine_or_no_memory(rig_begin(rig, connection, CENOTE_BATCH_WRITE, &error), &error);
  for (size_t i = 0; i < sizeof(statements) / sizeof(*statements); i++) {
    cenote_result *result;
    cenote_status status =
        rig_execute(rig, connection, statements[i], args, 2, 20000, &result, &error);
    if (status != CENOTE_INVALID && strcmp(error.sqlstate, "25P02") != 0) {
      fine_or_no_memory(status, &error);
    }
    cenote_result_free(result);
  }
  (void)rig_kind(rig, connection, CENOTE_REQUEST_COMMIT, &error);
  cen_driver_sqlite.taint(connection);
  fine_or_no_memory(rig_kind(rig, connection, CENOTE_REQUEST_RESET, &error), &error);
}

static void ask(struct rig *rig, cenote_connection *connection, cenote_request_kind kind,
                unsigned flags, const char *sql, const cenote_value *args, size_t count)
{
  struct cenote_sink sink;
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_request request = {.size = sizeof(request),
                            .kind = kind,
                            .flags = flags,
                            .sql = sql,
                            .args = args,
                            .count = count,
                            .sink = &sink,
                            .deadline_ns = INT64_MAX};
  if (cen_sink_init_result(&sink, 0, 0, &error) == CENOTE_OK) {
    cenote_status status = rig_run(rig, connection, &request, &error);
    if (strcmp(error.sqlstate, "25P02") != 0) {
      fine_or_no_memory(status, &error);
    }
    cen_sink_deinit(&sink);
  }
}

/* Native texts, a description, a script: what is refused for lack of memory leaves no half. */
static void work_natively(struct rig *rig, cenote_connection *connection)
{
  const cenote_value args[] = {{.type = CENOTE_INTEGER, .as.integer = 1, .name = "a"},
                               {.type = CENOTE_TEXT, .as.text = "x", .size = 1, .name = "@b"}};
  cenote_error error = CENOTE_ERROR_INIT;
  ask(rig, connection, CENOTE_REQUEST_EXECUTE, CENOTE_REQUEST_NATIVE, "SELECT :a, @b", args, 2);
  ask(rig, connection, CENOTE_REQUEST_DESCRIBE, CENOTE_REQUEST_NATIVE,
      "INSERT INTO t VALUES (:a), (?5) RETURNING a, 1 AS n", NULL, 0);
  ask(rig, connection, CENOTE_REQUEST_EXECUTE, CENOTE_REQUEST_SCRIPT,
      "BEGIN; INSERT INTO t VALUES (1); SELECT * FROM t; ROLLBACK", NULL, 0);
  fine_or_no_memory(rig_kind(rig, connection, CENOTE_REQUEST_RESET, &error), &error);
}

static void open_work_close(void *context)
{
  struct rig rig;
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_status status = rig_open(&rig, &cen_driver_sqlite, context, NULL, &error);
  fine_or_no_memory(status, &error);
  if (status) {
    return;
  }
  cenote_connection *connection = rig_connect(&rig, &error);
  if (connection) {
    work(&rig, connection);
    if (!(cen_driver_sqlite.session(connection) & CENOTE_SESSION_BROKEN)) {
      work_natively(&rig, connection);
    }
    rig_disconnect(&rig, connection);
  } else {
    fine_or_no_memory(error.status, &error);
  }
  rig_close(&rig);
}

static void torture(const char *url, const char *table)
{
  struct rig rig;
  assert_int_equal(rig_open(&rig, &cen_driver_sqlite, url, NULL, NULL), CENOTE_OK);
  cenote_connection *connection = rig_connect(&rig, NULL);
  assert_non_null(connection);
  assert_int_equal(rig_do(&rig, connection, table), CENOTE_OK);
  rig_disconnect(&rig, connection);
  rig_close(&rig);
  assert_true(alloc_torture(open_work_close, (void *)(uintptr_t)url, ALLOC_TORTURE_BALANCED) > 50);
}

static void every_allocation_may_fail(void **state)
{
  char url[400];
  (void)state;
  snprintf(url, sizeof(url), "%s?synchronous=off", scratch_url());
  torture(url, "CREATE TABLE t (a)");
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(every_allocation_may_fail)};
  int failed;
  if (!hook_sqlite() || !scratch_open()) {
    return 1;
  }
  failed = cmocka_run_group_tests(tests, NULL, NULL);
  scratch_close();
  return failed;
}
