/* The libSQL driver's streams: connections that break off, expiry, base_url, cancels, cursors. */
#include "driver/libsql_place.h"

/* ---------------------------------------------------------------- connections that break off */

#define SILENT(path)                        \
  {                                         \
    path, NULL, 0, NULL, NULL, SCRIPT_CLOSE \
  }

static void a_write_whose_connection_broke_off_is_unknown_and_never_sent_again(void **state)
{
  static const struct turn turns[] = {
      LOGIN, SILENT("/v3/pipeline"), {NULL, NULL, 0, NULL, NULL, 0}};
  struct place place;
  (void)state;
  place_open(&place, turns);
  expect(&place, "INSERT INTO t VALUES (1)", CENOTE_OUTCOME_UNKNOWN, "unknown");
  assert_true(session(&place) & CENOTE_SESSION_BROKEN);
  place_close(&place);
}

static void a_read_is_asked_once_more_and_then_lost(void **state)
{
  static const struct turn turns[] = {
      LOGIN,
      SILENT("/v3/pipeline"),
      {"/v3/pipeline", "SELECT 7", 200, ONE_ROW, NULL, 0},
      SILENT("/v3/pipeline"),
      SILENT("/v3/pipeline"),
      {NULL, NULL, 0, NULL, NULL, 0},
  };
  struct place place;
  (void)state;
  place_open(&place, turns);
  assert_int_equal(run(&place, "SELECT 7"), CENOTE_OK);
  expect(&place, "SELECT 7", CENOTE_CONNECTION_LOST, "broke off");
  assert_int_equal(session(&place), CENOTE_SESSION_BROKEN); /* and not SENT: nothing remains */
  place_close(&place);
}

static void a_transaction_goes_with_its_connection(void **state)
{
  static const struct turn turns[] = {
      LOGIN,
      {"/v3/pipeline", "BEGIN IMMEDIATE", 200, BEGUN, NULL, 0},
      SILENT("/v3/pipeline"),
      {NULL, NULL, 0, NULL, NULL, 0},
  };
  static const struct turn committing[] = {
      LOGIN,
      {"/v3/pipeline", "BEGIN IMMEDIATE", 200, BEGUN, NULL, 0},
      SILENT("/v3/pipeline"),
      {NULL, NULL, 0, NULL, NULL, 0},
  };
  struct place place;
  (void)state;
  place_open(&place, turns);
  assert_int_equal(rig_begin(&place.rig, place.connection, CENOTE_BATCH_WRITE, NULL), CENOTE_OK);
  expect(&place, "INSERT INTO t VALUES (1)", CENOTE_CONNECTION_LOST, "broke off");
  assert_true(session(&place) & CENOTE_SESSION_BROKEN);
  place_close(&place);
  place_open(&place, committing);
  assert_int_equal(rig_begin(&place.rig, place.connection, CENOTE_BATCH_WRITE, NULL), CENOTE_OK);
  assert_int_equal(rig_kind(&place.rig, place.connection, CENOTE_REQUEST_COMMIT, &place.error),
                   CENOTE_OUTCOME_UNKNOWN);
  place_close(&place);
}

/* ---------------------------------------------------------------- streams */

static void an_expired_stream_ends_its_transaction(void **state)
{
  static const struct turn turns[] = {
      LOGIN,
      {"/v3/pipeline", "\"BEGIN\"", 200, BEGUN, NULL, 0},
      {"/v3/pipeline", "\"baton\":\"b1\"", 400, EXPIRED, NULL, 0},
      {NULL, NULL, 0, NULL, NULL, 0},
  };
  static const struct turn forgotten[] = {
      LOGIN,
      {"/v3/pipeline", "\"BEGIN\"", 200, BEGUN, NULL, 0},
      {"/v3/pipeline", "\"baton\":\"b1\"", 400, "Received an invalid baton", "text/plain", 0},
      {NULL, NULL, 0, NULL, NULL, 0},
  };
  static const struct turn rolled_back[] = {
      LOGIN,
      {"/v3/pipeline", "\"BEGIN\"", 200, BEGUN, NULL, 0},
      {"/v3/pipeline", "\"baton\":\"b1\"", 400, EXPIRED, NULL, 0},
      {"/v3/pipeline", "\"baton\":null", 200, ONE_ROW, NULL, 0},
      {NULL, NULL, 0, NULL, NULL, 0},
  };
  struct place place;
  (void)state;
  for (int i = 0; i < 2; i++) {
    place_open(&place, i ? forgotten : turns);
    assert_int_equal(rig_begin(&place.rig, place.connection, CENOTE_BATCH_DEFERRED, NULL),
                     CENOTE_OK);
    expect(&place, "INSERT INTO t VALUES (1)", CENOTE_CONNECTION_LOST,
           "expire; lost with it: the transaction, of which nothing remains");
    assert_non_null(strstr(place.error.details, i ? "invalid baton" : "due to inactivity"));
    assert_string_equal(cenote_error_field(&place.error, 'X'), "STREAM_EXPIRED");
    assert_true(session(&place) & CENOTE_SESSION_BROKEN);
    place_close(&place);
  }
  place_open(&place, rolled_back);
  assert_int_equal(rig_begin(&place.rig, place.connection, CENOTE_BATCH_DEFERRED, NULL), CENOTE_OK);
  assert_int_equal(rig_kind(&place.rig, place.connection, CENOTE_REQUEST_ROLLBACK, NULL),
                   CENOTE_OK);
  assert_int_equal(session(&place), 0);
  assert_int_equal(run(&place, "SELECT 7"), CENOTE_OK);
  place_close(&place);
}

static void outside_a_transaction_nothing_is_kept_so_nothing_expires(void **state)
{
  static const struct turn turns[] = {
      LOGIN,
      {"/v3/pipeline", "\"baton\":null", 200, ONE_ROW, NULL, 0},
      {"/v3/pipeline", "\"baton\":null", 200, ONE_ROW, NULL, 0},
      {NULL, NULL, 0, NULL, NULL, 0},
  };
  struct place place;
  (void)state;
  place_open(&place, turns);
  assert_int_equal(run(&place, "SELECT 7"), CENOTE_OK);
  assert_int_equal(run(&place, "INSERT INTO t VALUES (1)"), CENOTE_OK);
  assert_int_equal(session(&place), 0);
  place_close(&place);
}

#define KEPT(baton, more) "{\"baton\":\"" baton "\",\"results\":[" EXECUTED("[]") more "]}"

static void what_was_set_in_a_session_that_expired_is_named(void **state)
{
  static const struct turn turns[] = {
      LOGIN,
      {"/v3/pipeline", "TEMP", 200, KEPT("b1", "," STATE("true")), NULL, 0},
      {"/v3/pipeline", "\"baton\":\"b1\"", 200, KEPT("b2", "," STATE("true")), NULL, 0},
      /* one that fails leaves nothing */
      {"/v3/pipeline", "ATTACH", 200,
       "{\"baton\":\"b3\",\"results\":[{\"type\":\"error\",\"error\":{\"message\":\"no\",\"code\":"
       "\"SQLITE_AUTH\"}}," STATE("true") "]}",
       NULL, 0},
      {"/v3/pipeline", "\"baton\":\"b3\"", 400, EXPIRED, NULL, 0},
      {NULL, NULL, 0, NULL, NULL, 0},
  };
  struct place place;
  (void)state;
  place_open(&place, turns);
  assert_int_equal(run(&place, "CREATE TEMP TABLE x (a)"), CENOTE_OK);
  assert_int_equal(run(&place, "PRAGMA cache_size = 1"), CENOTE_OK);
  expect(&place, "ATTACH 'a' AS a", CENOTE_DATABASE, "no");
  assert_int_equal(session(&place), CENOTE_SESSION_DIRTY);
  expect(&place, "SELECT 7", CENOTE_CONNECTION_LOST,
         "lost with it: temporary tables, views or triggers, what PRAGMA had set");
  assert_null(strstr(place.error.message, "attached"));
  assert_string_equal(cenote_error_field(&place.error, 'X'), "STREAM_EXPIRED");
  assert_true(session(&place) & CENOTE_SESSION_BROKEN);
  place_close(&place);
}

/* The connection was lent out, so it has a stream of its own; but nothing is known to be in it. */
static void a_stream_that_held_nothing_is_opened_again_unseen(void **state)
{
  static const struct turn turns[] = {
      LOGIN,
      {"/v3/pipeline", "\"baton\":null", 200, KEPT("b1", ""), NULL, 0},
      {"/v3/pipeline", "\"baton\":\"b1\"", 400, EXPIRED, NULL, 0},
      {"/v3/pipeline", "\"baton\":null", 200, KEPT("b2", ""), NULL, 0},
      /* a write that was refused this way has not run */
      {"/v3/pipeline", "\"baton\":\"b2\"", 400, "Received an invalid baton", "text/plain", 0},
      {"/v3/pipeline", "\"baton\":null", 200, KEPT("b3", ""), NULL, 0},
      {"/v3/pipeline", "\"baton\":\"b3\"", 400, EXPIRED, NULL, 0},
      {"/v3/pipeline", "\"BEGIN\"", 200, KEPT("b4", ""), NULL, 0},
      {"/v3/pipeline", "\"baton\":\"b4\"", 400, EXPIRED, NULL, 0},
      {NULL, NULL, 0, NULL, NULL, 0},
  };
  static const struct turn again[] = {
      LOGIN,
      {"/v3/pipeline", "\"baton\":null", 200, KEPT("b1", ""), NULL, 0},
      {"/v3/pipeline", "\"baton\":\"b1\"", 400, EXPIRED, NULL, 0},
      {"/v3/pipeline", "\"baton\":null", 400, "what", "text/plain", 0}, /* once only */
      {"/v3/pipeline", "\"baton\":null", 200, KEPT("b2", ""), NULL, 0},
      {"/v3/pipeline", "\"baton\":\"b2\"", 400, EXPIRED, NULL, 0}, /* a check */
      {"/v3/pipeline", "\"close\"", 200, CLOSED, NULL, 0},
      {NULL, NULL, 0, NULL, NULL, 0},
  };
  struct place place;
  (void)state;
  place_open(&place, turns);
  cen_driver_libsql.taint(place.connection);
  assert_int_equal(run(&place, "SELECT 7"), CENOTE_OK);
  assert_int_equal(run(&place, "SELECT 7"), CENOTE_OK);
  assert_int_equal(run(&place, "INSERT INTO t VALUES (1)"), CENOTE_OK);
  assert_int_equal(rig_begin(&place.rig, place.connection, CENOTE_BATCH_DEFERRED, NULL), CENOTE_OK);
  expect(&place, "SELECT 7", CENOTE_CONNECTION_LOST, "the transaction");
  place_close(&place);
  place_open(&place, again);
  cen_driver_libsql.taint(place.connection);
  assert_int_equal(run(&place, "SELECT 7"), CENOTE_OK);
  expect(&place, "SELECT 7", CENOTE_IO, "HTTP status 400");
  assert_int_equal(session(&place), CENOTE_SESSION_DIRTY);
  assert_int_equal(run(&place, "SELECT 7"), CENOTE_OK);
  assert_int_equal(rig_kind(&place.rig, place.connection, CENOTE_REQUEST_CHECK, NULL), CENOTE_OK);
  place_close(&place);
}

static void a_place_that_a_stream_moved_to_and_that_is_away_costs_nothing(void **state)
{
  char moved[256];
  const struct turn turns[] = {
      LOGIN,
      {"/v3/pipeline", "\"baton\":null", 200, moved, NULL, 0},
      {"/v3/pipeline", "\"baton\":null", 200, KEPT("b2", ""), NULL, 0},
      {"/v3/pipeline", "\"baton\":\"b2\"", 200, CLOSED, NULL, 0},
      {NULL, NULL, 0, NULL, NULL, 0},
  };
  struct place place;
  (void)state;
  /* port 1 of this machine: nobody is there */
  snprintf(moved, sizeof moved,
           "{\"baton\":\"b1\",\"base_url\":\"http://127.0.0.1:1\",\"results\":[%s]}",
           EXECUTED("[]"));
  place_open(&place, turns);
  cen_driver_libsql.taint(place.connection);
  assert_int_equal(run(&place, "SELECT 7"), CENOTE_OK);
  assert_int_equal(run(&place, "SELECT 7"), CENOTE_OK);
  place_close(&place);
}

static void a_base_url_is_followed_for_its_stream_and_forgotten_with_it(void **state)
{
  char moved[256];
  struct turn turns[] = {
      LOGIN,
      {"/v3/pipeline", "\"BEGIN\"", 200, moved, NULL, 0},
      {"/other/v3/pipeline", "\"baton\":\"b1\"", 200,
       "{\"baton\":\"b2\",\"results\":[" STEP("") "," STATE("false") "]}", NULL, 0},
      {"/other/v3/pipeline", "\"baton\":\"b2\"", 200,
       "{\"baton\":null,\"base_url\":null,\"results\":[" EXECUTED("[]") "," CLOSE_OK "]}", NULL, 0},
      {"/v3/pipeline", "\"baton\":null", 200, ONE_ROW, NULL, 0},
      {NULL, NULL, 0, NULL, NULL, 0},
  };
  struct place place;
  (void)state;
  snprintf(moved, sizeof moved, "%s", BEGUN);
  place_open(&place, turns);
  snprintf(moved, sizeof moved, "{\"baton\":\"b1\",\"base_url\":\"%s/other/\",\"results\":[%s]}",
           http_script_url(place.script), EXECUTED("[]"));
  assert_int_equal(rig_begin(&place.rig, place.connection, CENOTE_BATCH_DEFERRED, NULL), CENOTE_OK);
  assert_int_equal(run(&place, "INSERT INTO t VALUES (1)"), CENOTE_OK);
  assert_int_equal(rig_kind(&place.rig, place.connection, CENOTE_REQUEST_COMMIT, &place.error),
                   CENOTE_OK);
  assert_int_equal(run(&place, "SELECT 7"), CENOTE_OK);
  place_close(&place);
}

static void a_base_url_that_is_none_is_refused(void **state)
{
  static const char *const bases[] = {"ftp://h/", "/v3", "http://u:p@h/", "http://h/?x", ""};
  (void)state;
  for (size_t i = 0; i < sizeof bases / sizeof bases[0]; i++) {
    char moved[256];
    const struct turn turns[] = {
        LOGIN, {"/v3/pipeline", "\"BEGIN\"", 200, moved, NULL, 0}, {NULL, NULL, 0, NULL, NULL, 0}};
    struct place place;
    snprintf(moved, sizeof moved, "{\"baton\":\"b1\",\"base_url\":\"%s\",\"results\":[%s]}",
             bases[i], EXECUTED("[]"));
    place_open(&place, turns);
    assert_int_equal(rig_begin(&place.rig, place.connection, CENOTE_BATCH_DEFERRED, &place.error),
                     CENOTE_IO);
    assert_non_null(strstr(place.error.message, "base_url"));
    place_close(&place);
  }
}

static void a_transaction_that_the_server_rolled_back_can_only_be_rolled_back(void **state)
{
#define GONE                                                                                        \
  "{\"type\":\"ok\",\"response\":{\"type\":\"batch\",\"result\":{\"step_results\":[null,{\"cols\":" \
  "[],\"rows\":[],\"affected_row_count\":0,\"last_insert_rowid\":null}],\"step_errors\":[{"         \
  "\"message\":\"constraint\",\"code\":\"SQLITE_CONSTRAINT\"},null]}}}"
  static const struct turn turns[] = {
      LOGIN,
      {"/v3/pipeline", "\"BEGIN\"", 200, BEGUN, NULL, 0},
      {"/v3/pipeline", "\"error\",\"step\":0", 200,
       "{\"baton\":\"b2\",\"results\":[" GONE "," STATE("true") "]}", NULL, 0},
      {"/v3/pipeline", "\"baton\":\"b2\"", 200, CLOSED, NULL, 0},
      {NULL, NULL, 0, NULL, NULL, 0},
  };
  const unsigned failed = CENOTE_SESSION_IN_TRANSACTION | CENOTE_SESSION_FAILED;
  struct place place;
  (void)state;
  place_open(&place, turns);
  assert_int_equal(rig_begin(&place.rig, place.connection, CENOTE_BATCH_DEFERRED, NULL), CENOTE_OK);
  expect(&place, "INSERT OR ROLLBACK INTO t VALUES (1)", CENOTE_DATABASE, "constraint");
  assert_int_equal(session(&place), failed);
  expect(&place, "SELECT 1", CENOTE_DATABASE, "rolled the transaction back");
  assert_string_equal(place.error.sqlstate, "25P02");
  assert_int_equal(rig_kind(&place.rig, place.connection, CENOTE_REQUEST_COMMIT, &place.error),
                   CENOTE_DATABASE);
  assert_int_equal(session(&place), 0);
  place_close(&place);
}

/* Whether its stream ends with it, or is kept for what was set there. */
static void a_commit_that_is_refused_ends_the_transaction(void **state)
{
#define BUSY                                                                                  \
  "{\"type\":\"error\",\"error\":{\"message\":\"SQLite error: database is locked\",\"code\":" \
  "\"SQLITE_BUSY\"}}"
  static const struct turn ending[] = {
      LOGIN,
      {"/v3/pipeline", "\"BEGIN\"", 200, BEGUN, NULL, 0},
      {"/v3/pipeline", "{\"type\":\"close\"}", 200,
       "{\"baton\":null,\"results\":[" BUSY "," CLOSE_OK "]}", NULL, 0},
      {NULL, NULL, 0, NULL, NULL, 0},
  };
  static const struct turn kept[] = {
      LOGIN,
      {"/v3/pipeline", "TEMP", 200, KEPT("b1", "," STATE("true")), NULL, 0},
      {"/v3/pipeline", "\"BEGIN\"", 200, KEPT("b2", ""), NULL, 0},
      {"/v3/pipeline", "\"COMMIT\"", 200,
       "{\"baton\":\"b3\",\"results\":[" BUSY "," STATE("false") "]}", NULL, 0},
      {"/v3/pipeline", "\"ROLLBACK\"", 200, KEPT("b4", ""), NULL, 0},
      {"/v3/pipeline", "\"baton\":\"b4\"", 200, CLOSED, NULL, 0},
      {NULL, NULL, 0, NULL, NULL, 0},
  };
  (void)state;
  for (int i = 0; i < 4; i++) {
    const bool keeps = i >= 2;
    struct place place;
    place_open(&place, keeps ? kept : ending);
    if (keeps) {
      assert_int_equal(run(&place, "CREATE TEMP TABLE x (a)"), CENOTE_OK);
    }
    assert_int_equal(rig_begin(&place.rig, place.connection, CENOTE_BATCH_DEFERRED, NULL),
                     CENOTE_OK);
    assert_int_equal(
        i % 2 ? run(&place, "COMMIT")
              : rig_kind(&place.rig, place.connection, CENOTE_REQUEST_COMMIT, &place.error),
        CENOTE_DATABASE);
    assert_string_equal(place.error.sqlstate, "55P03");
    assert_string_equal(cenote_error_field(&place.error, 'X'), "SQLITE_BUSY");
    assert_int_equal(session(&place), keeps ? CENOTE_SESSION_DIRTY : 0);
    place_close(&place);
  }
}

/* ---------------------------------------------------------------- cancels */

struct canceller {
  struct place *place;
  int requests;
};

static void *cancel_later(void *context)
{
  struct canceller *canceller = context;
  const struct timespec moment = {0, 5000000};
  while (http_script_requests(canceller->place->script) < canceller->requests) {
    nanosleep(&moment, NULL);
  }
  cen_driver_libsql.cancel(canceller->place->connection);
  return NULL;
}

static void a_cancelled_write_is_unknown_and_a_cancelled_read_is_not(void **state)
{
  static const struct turn turns[] = {
      LOGIN,
      {"/v3/pipeline", "SELECT", 0, NULL, NULL, SCRIPT_HANG},
      {"/v3/pipeline", "INSERT", 0, NULL, NULL, SCRIPT_HANG},
      {"/v3/pipeline", "SELECT 7", 200, ONE_ROW, NULL, 0},
      {NULL, NULL, 0, NULL, NULL, 0},
  };
  struct place place;
  (void)state;
  place_open(&place, turns);
  for (int i = 0; i < 2; i++) {
    struct canceller canceller = {&place, 2 + i};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, cancel_later, &canceller), 0);
    if (i == 0) {
      expect(&place, "SELECT 1", CENOTE_CANCELLED, "cancelled");
      assert_string_equal(place.error.sqlstate, "57014");
    } else {
      expect(&place, "INSERT INTO t VALUES (1)", CENOTE_OUTCOME_UNKNOWN, "cancelled");
    }
    pthread_join(thread, NULL);
    assert_int_equal(session(&place), 0);
  }
  assert_int_equal(run(&place, "SELECT 7"), CENOTE_OK);
  expect_gone(&place, 2);
  place_close(&place);
}

/* ---------------------------------------------------------------- cursors */

struct rows {
  int64_t sum;
  int count, stop_at;
};

static bool on_row(void *context, const char *const *names, const cenote_value *values,
                   size_t columns)
{
  struct rows *rows = context;
  (void)names;
  (void)columns;
  rows->count++;
  rows->sum += values[0].as.integer;
  return rows->count != rows->stop_at;
}

static cenote_status stream(struct place *place, const char *sql, struct rows *rows)
{
  struct cenote_sink sink;
  cenote_request request = {.size = sizeof request,
                            .kind = CENOTE_REQUEST_EXECUTE,
                            .flags = CENOTE_REQUEST_STREAM,
                            .sql = sql,
                            .sink = &sink,
                            .deadline_ns = cen_deadline_ns(cen_now_ns(), 20000)};
  cen_sink_init_stream(&sink, on_row, rows);
  const cenote_status status = rig_run(&place->rig, place->connection, &request, &place->error);
  cen_sink_deinit(&sink);
  return status;
}

#define LINE_BATON "{\"baton\":\"c1\",\"base_url\":null}\n"
#define LINE_BEGIN "{\"type\":\"step_begin\",\"step\":0,\"cols\":[{\"name\":\"n\"}]}\n"
#define LINE_ROW "{\"type\":\"row\",\"row\":[{\"type\":\"integer\",\"value\":\"3\"}]}\n"
#define LINE_END "{\"type\":\"step_end\",\"affected_row_count\":0,\"last_insert_rowid\":5}\n"
#define LINE_STATE                                     \
  "{\"type\":\"step_begin\",\"step\":2,\"cols\":[]}\n" \
  "{\"type\":\"step_end\",\"affected_row_count\":0,\"last_insert_rowid\":null}\n"
#define LINE_ODD "{\"type\":\"replication_index\",\"replication_index\":1}\n"
#define CLOSING                                              \
  {                                                          \
    "/v3/pipeline", "\"baton\":\"c1\"", 200, CLOSED, NULL, 0 \
  }

static void cursors_are_read_with_all_that_servers_put_in(void **state)
{
  static const struct {
    struct turn turns[4];
    cenote_status status;
    int rows;
    const char *says;
  } cases[] = {
      {{LOGIN,
        {"/v3/cursor", "is_autocommit", 200,
         LINE_BATON LINE_BEGIN LINE_ROW LINE_ROW LINE_END LINE_STATE LINE_ODD, "text/plain", 0},
        CLOSING},
       CENOTE_OK,
       2,
       ""},
      {{LOGIN,
        {"/v3/cursor", NULL, 200, "{\"baton\":null}\n" LINE_BEGIN LINE_END LINE_STATE, "text/plain",
         0}},
       CENOTE_OK,
       0,
       ""},
      {{LOGIN,
        {"/v3/cursor", NULL, 200,
         LINE_BATON LINE_BEGIN LINE_ROW
         "{\"type\":\"step_error\",\"step\":0,\"error\":{\"message\":\"boom\",\"code\":\"SQLITE_ERROR\"}}\n" LINE_STATE,
         "text/plain", 0},
        CLOSING},
       CENOTE_DATABASE,
       1,
       "boom"},
      {{LOGIN,
        {"/v3/cursor", NULL, 200,
         "{\"baton\":null}\n{\"type\":\"error\",\"error\":{\"message\":\"all of it\"}}\n",
         "text/plain", 0}},
       CENOTE_DATABASE,
       0,
       "all of it"},
      {{LOGIN, {"/v3/cursor", NULL, 200, LINE_BATON LINE_BEGIN LINE_ROW, "text/plain", 0}},
       CENOTE_IO,
       1,
       "too early"},
      {{LOGIN,
        {"/v3/cursor", NULL, 200, LINE_BATON LINE_BEGIN "{\"type\":\"row\",\"row\":[]}\n",
         "text/plain", 0}},
       CENOTE_IO,
       0,
       "fewer values"},
      {{LOGIN, {"/v3/cursor", NULL, 200, "<html>\n", "text/html", 0}}, CENOTE_IO, 0, ""},
      {{LOGIN, {"/v3/cursor", NULL, 401, "{\"error\":\"who are you\"}", NULL, 0}},
       CENOTE_AUTH,
       0,
       "who are you"},
      {{LOGIN, {"/v3/cursor", NULL, 502, "<html>bad gateway</html>", "text/html", 0}},
       CENOTE_CONNECTION_LOST,
       0,
       "502"},
      {{LOGIN, {"/v3/cursor", NULL, 200, "", "text/plain", 0}}, CENOTE_IO, 0, ""},
  };
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct place place;
    struct rows rows = {0, 0, 0};
    place_open(&place, cases[i].turns);
    const cenote_status status = stream(&place, "SELECT n FROM t", &rows);
    if (status != cases[i].status || rows.count != cases[i].rows ||
        !strstr(place.error.message, cases[i].says)) {
      fail_msg("%zu: %s, %d rows, %s %s", i, cenote_status_name(status), rows.count,
               place.error.message, place.wrong);
    }
    assert_int_equal(rows.sum, 3 * rows.count);
    place_close(&place);
  }
}

static void a_cursor_too_opens_a_stream_again_that_held_nothing(void **state)
{
  static const struct turn turns[] = {
      LOGIN,
      {"/v3/pipeline", "\"baton\":null", 200, KEPT("b1", ""), NULL, 0},
      {"/v3/cursor", "\"baton\":\"b1\"", 400, EXPIRED, NULL, 0},
      {"/v3/cursor", "\"baton\":null", 200, LINE_BATON LINE_BEGIN LINE_ROW LINE_END LINE_STATE,
       "text/plain", 0},
      {"/v3/pipeline", "TEMP", 200, KEPT("b2", "," STATE("true")), NULL, 0},
      {"/v3/cursor", "\"baton\":\"b2\"", 400, EXPIRED, NULL, 0},
      {NULL, NULL, 0, NULL, NULL, 0},
  };
  struct place place;
  struct rows rows = {0, 0, 0};
  (void)state;
  place_open(&place, turns);
  cen_driver_libsql.taint(place.connection);
  assert_int_equal(run(&place, "SELECT 7"), CENOTE_OK);
  assert_int_equal(stream(&place, "SELECT n FROM t", &rows), CENOTE_OK);
  assert_int_equal(rows.count, 1);
  assert_int_equal(run(&place, "CREATE TEMP TABLE x (a)"), CENOTE_OK);
  assert_int_equal(stream(&place, "SELECT n FROM t", &rows), CENOTE_CONNECTION_LOST);
  assert_non_null(strstr(place.error.message, "temporary tables"));
  place_close(&place);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_write_whose_connection_broke_off_is_unknown_and_never_sent_again),
      cmocka_unit_test(a_read_is_asked_once_more_and_then_lost),
      cmocka_unit_test(a_transaction_goes_with_its_connection),
      cmocka_unit_test(an_expired_stream_ends_its_transaction),
      cmocka_unit_test(outside_a_transaction_nothing_is_kept_so_nothing_expires),
      cmocka_unit_test(what_was_set_in_a_session_that_expired_is_named),
      cmocka_unit_test(a_stream_that_held_nothing_is_opened_again_unseen),
      cmocka_unit_test(a_place_that_a_stream_moved_to_and_that_is_away_costs_nothing),
      cmocka_unit_test(a_base_url_is_followed_for_its_stream_and_forgotten_with_it),
      cmocka_unit_test(a_base_url_that_is_none_is_refused),
      cmocka_unit_test(a_transaction_that_the_server_rolled_back_can_only_be_rolled_back),
      cmocka_unit_test(a_commit_that_is_refused_ends_the_transaction),
      cmocka_unit_test(a_cancelled_write_is_unknown_and_a_cancelled_read_is_not),
      cmocka_unit_test(cursors_are_read_with_all_that_servers_put_in),
      cmocka_unit_test(a_cursor_too_opens_a_stream_again_that_held_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
