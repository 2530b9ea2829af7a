/* The libSQL driver against a server that answers as other servers do, and as none should. */
#include "base/error.h"
#include "driver/libsql/libsql.h"
#include "driver/rig.h"
#include "net/clock.h"
#include "support/http_script.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

extern const cenote_driver cen_driver_libsql;

/* ---------------------------------------------------------------- the server's lines */

/* What must come next, and what is answered. */
struct turn {
  const char *path; /* NULL: the end of the list */
  const char
      *wants; /* in the body or the head; a '!' in front: must not be there. NULL: whatever */
  int status; /* 0: no answer at all */
  const char *body;
  const char *type; /* NULL: application/json */
  enum script_then then;
};

struct place {
  struct http_script *script;
  const struct turn *turns;
  int at;
  char wrong[512];
  struct rig rig;
  cenote_connection *connection;
  cenote_error error;
  cenote_result *result;
};

#define LOGIN                                                   \
  {                                                             \
    "/v3/pipeline", "\"close\"", 200, CLOSED, NULL, SCRIPT_KEEP \
  }
#define CLOSED                                      \
  "{\"baton\":null,\"base_url\":null,\"results\":[" \
  "{\"type\":\"ok\",\"response\":{\"type\":\"close\"}}]}"
#define EXECUTED(rest)                                                                         \
  "{\"type\":\"ok\",\"response\":{\"type\":\"execute\",\"result\":{\"cols\":[{\"name\":\"a\"," \
  "\"decltype\":null}],\"rows\":" rest ",\"affected_row_count\":0,\"last_insert_rowid\":null}}}"
#define CLOSE_OK "{\"type\":\"ok\",\"response\":{\"type\":\"close\"}}"
#define ONE_ROW                             \
  "{\"baton\":null,\"results\":[" EXECUTED( \
      "[[{\"type\":\"integer\",\"value\":\"7\"}]]") "," CLOSE_OK "]}"
#define STATE(autocommit) \
  "{\"type\":\"ok\",\"response\":{\"type\":\"get_autocommit\",\"is_autocommit\":" autocommit "}}"
#define BEGUN "{\"baton\":\"b1\",\"results\":[" EXECUTED("[]") "]}"
#define STEP(rest)                                                                                \
  "{\"type\":\"ok\",\"response\":{\"type\":\"batch\",\"result\":{\"step_results\":[{\"cols\":[]," \
  "\"rows\":[],\"affected_row_count\":1,\"last_insert_rowid\":\"1\"},null],\"step_errors\":["     \
  "null,null]}}}" rest
#define EXPIRED \
  "{\"message\":\"The stream has expired due to inactivity\",\"code\":\"STREAM_EXPIRED\"}"

static void answer(void *context, const struct script_request *request,
                   struct script_answer *answer)
{
  struct place *place = context;
  const struct turn *turn = &place->turns[place->at];
  const bool negated = turn->wants && turn->wants[0] == '!';
  const char *wants = turn->wants ? turn->wants + negated : "";
  const bool there = strstr(request->body, wants) || strstr(request->head, wants);
  if (!turn->path || strcmp(turn->path, request->path) != 0 || there == negated) {
    if (!place->wrong[0]) {
      snprintf(place->wrong, sizeof place->wrong, "turn %d: %.100s %.300s", place->at,
               request->path, request->body);
    }
    script_say(answer, 500, "text/plain", "not in the script");
    return;
  }
  place->at++;
  answer->then = turn->then;
  if (turn->status) {
    script_say(answer, turn->status, turn->type ? turn->type : "application/json", turn->body);
  }
}

static void place_start(struct place *place, const struct turn *turns)
{
  *place = (struct place){.turns = turns, .error = CENOTE_ERROR_INIT};
  place->script = http_script_start(answer, place, SCRIPT_PLAIN);
  assert_non_null(place->script);
  assert_int_equal(rig_open(&place->rig, &cen_driver_libsql, http_script_url(place->script), NULL,
                            &place->error),
                   CENOTE_OK);
}

static void place_open(struct place *place, const struct turn *turns)
{
  place_start(place, turns);
  place->connection = rig_connect(&place->rig, &place->error);
  if (!place->connection) {
    fail_msg("%s (%s) %s", place->error.message, place->error.details, place->wrong);
  }
}

static void place_close(struct place *place)
{
  cenote_result_free(place->result);
  rig_disconnect(&place->rig, place->connection);
  rig_close(&place->rig);
  http_script_stop(place->script);
  if (place->wrong[0]) {
    fail_msg("not in the script: %s", place->wrong);
  }
  if (place->turns[place->at].path) {
    fail_msg("turn %d never came", place->at);
  }
}

static cenote_status run(struct place *place, const char *sql)
{
  cenote_result_free(place->result);
  return rig_execute(&place->rig, place->connection, sql, NULL, 0, 20000, &place->result,
                     &place->error);
}

static void expect(struct place *place, const char *sql, cenote_status status, const char *says)
{
  const cenote_status got = run(place, sql);
  if (got != status || !strstr(place->error.message, says)) {
    fail_msg("%s: %s, %s (%s) %s", sql, cenote_status_name(got), place->error.message,
             place->error.details, place->wrong);
  }
}

static unsigned session(const struct place *place)
{
  return cen_driver_libsql.session(place->connection);
}

/* ---------------------------------------------------------------- URLs and tokens */

static void urls_become_the_endpoint_they_mean(void **state)
{
  static const struct {
    const char *url, *base, *token;
  } urls[] = {
      {"libsql://db-me.turso.io", "https://db-me.turso.io", NULL},
      {"libsql://h:8080?tls=0", "http://h:8080", NULL},
      {"LibSQL://h?tls=1", "https://h", NULL},
      {"libsql://h/?authToken=a.b-c_d", "https://h", "a.b-c_d"},
      {"https://h/db1/?authToken=a%2Eb&tls=1", "https://h/db1", "a.b"},
      {"http://127.0.0.1:80/a/b", "http://127.0.0.1:80/a/b", NULL},
      {"http://[::1]:80?tls=0", "http://[::1]:80", NULL},
  };
  static const char *const wrong[] = {
      "libsql://h?tls=0",
      "libsql://",
      "libsql://u:secret@h",
      "libsql://h?tls=2",
      "libsql://h?secret=1",
      "libsql://h#secret",
      "https://h?tls=0",
      "http://h?tls=1",
      "libsql://h?authToken=a%0",
      "libsql://h?authToken=a%0Ab",
      "libsql:h",
      "libsql://h?authToken=a&authToken=b",
      "wss://h",
      "libsql://[::1]?tls=0",
  };
  (void)state;
  for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
    struct ls_url url;
    cenote_error error = CENOTE_ERROR_INIT;
    if (ls_url_parse(urls[i].url, &url, &error)) {
      fail_msg("%s: %s", urls[i].url, error.message);
    }
    assert_string_equal(url.base, urls[i].base);
    if (urls[i].token) {
      assert_string_equal(url.token, urls[i].token);
    } else {
      assert_null(url.token);
    }
    ls_url_deinit(&url);
  }
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
    struct ls_url url;
    cenote_error error = CENOTE_ERROR_INIT;
    if (ls_url_parse(wrong[i], &url, &error) != CENOTE_CONFIG) {
      fail_msg("%s was taken", wrong[i]);
    }
    assert_null(strstr(error.message, "secret"));
    assert_null(url.base);
    assert_null(url.token);
  }
}

static const char *insecure(const void *settings, const char *name)
{
  const char *wanted = settings;
  return strcmp(name, "auth_token") == 0       ? "from.the.setting"
         : wanted && strcmp(name, wanted) == 0 ? "on"
                                               : NULL;
}

static void a_token_does_not_go_over_plain_http_unless_allowed(void **state)
{
  static const struct {
    const char *url, *setting;
    cenote_status status;
  } cases[] = {
      {"http://far.example:80", NULL, CENOTE_CONFIG},
      {"libsql://far.example:80?tls=0", NULL, CENOTE_CONFIG},
      {"http://far.example:80", "http_insecure", CENOTE_OK},
      {"http://localhost:80", NULL, CENOTE_OK},
      {"https://far.example", NULL, CENOTE_OK},
  };
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    const cenote_driver_params params = {.size = sizeof params,
                                         .url = cases[i].url,
                                         .setting = insecure,
                                         .settings = cases[i].setting};
    void *shared;
    cenote_error error = CENOTE_ERROR_INIT;
    assert_int_equal(cen_driver_libsql.shared_new(&params, &shared, &error), cases[i].status);
    assert_true(cases[i].status == CENOTE_OK || strstr(error.message, "in clear"));
    assert_null(strstr(error.message, "from.the"));
    cen_driver_libsql.shared_free(shared);
  }
}

static void the_token_goes_with_requests_and_not_with_probes(void **state)
{
  static const struct turn turns[] = {
      {"/p/v3/pipeline", "Authorization: Bearer a.b.c\r\n", 404, "{\"error\":\"no\"}", NULL, 0},
      {"/p/v2", "!Authorization", 200, "", "text/plain", 0},
      {"/p/v2/pipeline", "Authorization: Bearer a.b.c\r\n", 200, CLOSED, NULL, 0},
      {NULL, NULL, 0, NULL, NULL, 0},
  };
  struct place place;
  char url[128];
  (void)state;
  place_start(&place, turns);
  rig_close(&place.rig);
  snprintf(url, sizeof url, "%s/p?authToken=a.b.c", http_script_url(place.script));
  assert_int_equal(rig_open(&place.rig, &cen_driver_libsql, url, NULL, NULL), CENOTE_OK);
  place.connection = rig_connect(&place.rig, &place.error);
  assert_non_null(place.connection);
  place_close(&place);
}

/* ---------------------------------------------------------------- versions */

static void version_two_is_found_once_and_remembered(void **state)
{
  static const struct turn turns[] = {
      {"/v3/pipeline", NULL, 404, "Not found", "text/plain", 0},
      {"/v2", NULL, 200, "Hello", "text/plain", 0},
      {"/v2/pipeline", "\"close\"", 200, CLOSED, NULL, 0},
      {"/v2/pipeline", "SELECT 7", 200, ONE_ROW, NULL, 0},
      {NULL, NULL, 0, NULL, NULL, 0},
  };
  struct place place;
  (void)state;
  place_open(&place, turns);
  cenote_connection *second = rig_connect(&place.rig, &place.error);
  assert_non_null(second);
  rig_disconnect(&place.rig, second);
  assert_int_equal(run(&place, "SELECT 7"), CENOTE_OK);
  assert_int_equal(cenote_result_integer(place.result, 0, 0), 7);
  place_close(&place);
}

static void a_server_that_speaks_neither_is_named_as_such(void **state)
{
  static const struct {
    struct turn turns[3];
    cenote_status status;
    const char *says, *details;
  } cases[] = {
      {{{"/v3/pipeline", NULL, 404, "<html>nginx</html>", "text/html", 0},
        {"/v2", NULL, 404, "<html>", "text/html", 0}},
       CENOTE_IO,
       "HTTP status 404",
       "nothing there speaks Hrana"},
      {{{"/v3/pipeline", NULL, 401, "{\"error\":\"Unauthorized: token\"}", NULL, 0}},
       CENOTE_AUTH,
       "Unauthorized",
       ""},
      {{{"/v3/pipeline", NULL, 503, "<html>busy</html>", "text/html", 0}},
       CENOTE_CONNECT,
       "HTTP status 503",
       "busy"},
      {{{"/v3/pipeline", NULL, 200, "<html>welcome</html>", "text/html", 0}},
       CENOTE_IO,
       "answer",
       ""},
      {{{"/v3/pipeline", NULL, 307, "", "text/html", 0}}, CENOTE_IO, "HTTP status 307", ""},
  };
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct place place;
    place_start(&place, cases[i].turns);
    assert_null(rig_connect(&place.rig, &place.error));
    if (place.error.status != cases[i].status || !strstr(place.error.message, cases[i].says) ||
        !strstr(place.error.details, cases[i].details)) {
      fail_msg("%zu: %s %s (%s)", i, cenote_status_name(place.error.status), place.error.message,
               place.error.details);
    }
    place_close(&place);
  }
}

/* ---------------------------------------------------------------- odd answers */

#define ODD                                                                                    \
  "{\"extra\":{\"deep\":[1,2]},\"results\":[{\"response\":{\"result\":{\"rows_read\":1,"       \
  "\"query_duration_ms\":0.5,\"rows\":[[{\"type\":\"blob\",\"base64\":\"AP8Q\"},{\"type\":"    \
  "\"blob\",\"base64\":\"AP8\"},{\"type\":\"blob\",\"base64\":\"AP8=\"},{\"value\":"           \
  "9223372036854775807,\"type\":\"integer\"},{\"type\":\"integer\",\"value\":"                 \
  "\"-9223372036854775808\"},{\"type\":\"null\"},{\"type\":\"float\",\"value\":2},{\"type\":"  \
  "\"text\",\"value\":\"\\u00e9\"}]],\"cols\":[{\"name\":\"a\"},{\"name\":null},{\"name\":"    \
  "\"c\",\"decltype\":\"X\"},{},{\"name\":\"e\"},{\"name\":\"f\"},{\"name\":\"g\"},{\"name\":" \
  "\"h\"}],\"replication_index\":null,\"affected_row_count\":3,\"last_insert_rowid\":12},"     \
  "\"type\":\"execute\"},\"type\":\"ok\"}," CLOSE_OK "]}"

static void odd_but_lawful_answers_are_understood(void **state)
{
  static const struct turn turns[] = {
      LOGIN, {"/v3/pipeline", NULL, 200, ODD, NULL, 0}, {NULL, NULL, 0, NULL, NULL, 0}};
  struct place place;
  (void)state;
  place_open(&place, turns);
  assert_int_equal(run(&place, "SELECT everything FROM odd"), CENOTE_OK);
  assert_int_equal(cenote_result_value(place.result, 0, 0).size, 3);
  assert_int_equal(cenote_result_value(place.result, 0, 1).size, 2);
  assert_int_equal(cenote_result_value(place.result, 0, 2).size, 2);
  assert_true(cenote_result_integer(place.result, 0, 3) == INT64_MAX);
  assert_true(cenote_result_integer(place.result, 0, 4) == INT64_MIN);
  assert_int_equal(cenote_result_value(place.result, 0, 5).type, CENOTE_NULL);
  assert_int_equal(cenote_result_value(place.result, 0, 6).type, CENOTE_REAL);
  assert_string_equal(cenote_result_text(place.result, 0, 7), "\xc3\xa9");
  assert_int_equal(cenote_result_last_insert_id(place.result), 12);
  assert_int_equal(cenote_result_affected_rows(place.result), 3);
  place_close(&place);
}

#define FAILED(error) \
  "{\"baton\":null,\"results\":[{\"type\":\"error\",\"error\":" error "}," CLOSE_OK "]}"

static void errors_without_a_code_or_with_a_strange_one_are_errors_of_the_database(void **state)
{
  static const struct turn turns[] = {
      LOGIN,
      {"/v3/pipeline", NULL, 200, FAILED("{\"message\":\"no such table: q\"}"), NULL, 0},
      {"/v3/pipeline", NULL, 200,
       FAILED("{\"message\":\"SQLite error: UNIQUE constraint failed: u.e, u.f\","
              "\"code\":\"SQLITE_CONSTRAINT\"}"),
       NULL, 0},
      {"/v3/pipeline", NULL, 200, FAILED("{\"message\":\"odd\",\"code\":\"WHAT_IS_THIS\"}"), NULL,
       0},
      {"/v3/pipeline", NULL, 200,
       FAILED("{\"message\":\"query was interrupted\",\"code\":\"SQLITE_INTERRUPT\"}"), NULL, 0},
      {"/v3/pipeline", NULL, 200, FAILED("{\"message\":\"blocked\",\"code\":\"BLOCKED\"}"), NULL,
       0},
      {NULL, NULL, 0, NULL, NULL, 0}};
  struct place place;
  (void)state;
  place_open(&place, turns);
  expect(&place, "SELECT * FROM q", CENOTE_DATABASE, "no such table: q");
  assert_string_equal(place.error.sqlstate, "42P01");
  expect(&place, "INSERT INTO u VALUES (1)", CENOTE_DATABASE, "UNIQUE");
  assert_string_equal(place.error.sqlstate, "23505");
  assert_string_equal(cenote_error_field(&place.error, 't'), "u");
  assert_string_equal(cenote_error_field(&place.error, 'c'), "e");
  expect(&place, "SELECT 1", CENOTE_DATABASE, "odd");
  assert_string_equal(cenote_error_field(&place.error, 'X'), "WHAT_IS_THIS");
  expect(&place, "SELECT 1", CENOTE_STATEMENT_TIMEOUT, "interrupted");
  expect(&place, "INSERT INTO u VALUES (1)", CENOTE_DATABASE, "blocked");
  assert_string_equal(place.error.sqlstate, "25006");
  assert_int_equal(session(&place), 0);
  place_close(&place);
}

/* What is not understood: of a read an error, of a write nobody knows. */
static void broken_answers_leave_a_write_unknown(void **state)
{
  static const struct {
    struct turn turn;
    cenote_status read, write;
  } cases[] = {
      {{"/v3/pipeline", NULL, 200, "{\"baton\":null,\"results\":[", NULL, 0},
       CENOTE_IO,
       CENOTE_OUTCOME_UNKNOWN},
      {{"/v3/pipeline", NULL, 200, "{\"baton\":null,\"results\":[]}", NULL, 0},
       CENOTE_IO,
       CENOTE_OUTCOME_UNKNOWN},
      {{"/v3/pipeline", NULL, 200, "{\"baton\":7,\"results\":[" CLOSE_OK "," CLOSE_OK "]}", NULL,
        0},
       CENOTE_IO,
       CENOTE_OUTCOME_UNKNOWN},
      {{"/v3/pipeline", NULL, 200, "{\"results\":[" CLOSE_OK "," CLOSE_OK "]}", NULL, 0},
       CENOTE_IO,
       CENOTE_OUTCOME_UNKNOWN},
      {{"/v3/pipeline", NULL, 200,
        "{\"results\":[" EXECUTED(
            "[[{\"type\":\"integer\",\"value\":\"99999999999999999999\"}]]") "," CLOSE_OK "]}",
        NULL, 0},
       CENOTE_IO,
       CENOTE_OUTCOME_UNKNOWN},
      {{"/v3/pipeline", NULL, 200,
        "{\"results\":[" EXECUTED("[[{\"type\":\"text\",\"value\":\"\xc3\"}]]") "," CLOSE_OK "]}",
        NULL, 0},
       CENOTE_IO,
       CENOTE_OUTCOME_UNKNOWN},
      {{"/v3/pipeline", NULL, 200, "{\"results\":[" EXECUTED("[[],[]]") "," CLOSE_OK "]}", NULL, 0},
       CENOTE_IO,
       CENOTE_OUTCOME_UNKNOWN},
      {{"/v3/pipeline", NULL, 502, "<html>Bad gateway</html>", "text/html", 0},
       CENOTE_CONNECTION_LOST,
       CENOTE_OUTCOME_UNKNOWN},
      {{"/v3/pipeline", NULL, 500, "{\"error\":\"internal\"}", NULL, 0},
       CENOTE_CONNECTION_LOST,
       CENOTE_OUTCOME_UNKNOWN},
      {{"/v3/pipeline", NULL, 503, "{\"error\":\"no connection\"}", NULL, 0},
       CENOTE_CONNECTION_LOST,
       CENOTE_CONNECTION_LOST},
      {{"/v3/pipeline", NULL, 429, "slow down", "text/plain", 0},
       CENOTE_CONNECTION_LOST,
       CENOTE_CONNECTION_LOST},
      {{"/v3/pipeline", NULL, 413, "{\"error\":\"too large\"}", NULL, 0},
       CENOTE_TOO_LARGE,
       CENOTE_TOO_LARGE},
      {{"/v3/pipeline", NULL, 401, "{\"error\":\"expired\"}", NULL, 0}, CENOTE_AUTH, CENOTE_AUTH},
  };
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    const struct turn turns[] = {
        LOGIN, cases[i].turn, cases[i].turn, {NULL, NULL, 0, NULL, NULL, 0}};
    struct place place;
    place_open(&place, turns);
    if (run(&place, "SELECT 1") != cases[i].read) {
      fail_msg("%zu: %s, %s", i, cenote_status_name(place.error.status), place.error.message);
    }
    assert_int_equal(session(&place) & CENOTE_SESSION_SENT, 0);
    if (run(&place, "INSERT INTO t VALUES (1)") != cases[i].write) {
      fail_msg("%zu: %s, %s", i, cenote_status_name(place.error.status), place.error.message);
    }
    place_close(&place);
  }
}

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
           i ? "HTTP status 400" : "expired");
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
      /* what was set is a session's, and lost with it */
      {"/v3/pipeline", "TEMP", 200,
       "{\"baton\":\"b1\",\"results\":[" EXECUTED("[]") "," STATE("true") "]}", NULL, 0},
      {"/v3/pipeline", "\"baton\":\"b1\"", 400, EXPIRED, NULL, 0},
      {NULL, NULL, 0, NULL, NULL, 0},
  };
  struct place place;
  (void)state;
  place_open(&place, turns);
  assert_int_equal(run(&place, "SELECT 7"), CENOTE_OK);
  assert_int_equal(run(&place, "INSERT INTO t VALUES (1)"), CENOTE_OK);
  assert_int_equal(session(&place), 0);
  assert_int_equal(run(&place, "CREATE TEMP TABLE x (a)"), CENOTE_OK);
  assert_int_equal(session(&place), CENOTE_SESSION_DIRTY);
  expect(&place, "SELECT 7", CENOTE_CONNECTION_LOST, "expired");
  assert_true(session(&place) & CENOTE_SESSION_BROKEN);
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
  strcpy(moved, BEGUN);
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
  assert_int_equal(http_script_gone(place.script), 2);
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

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(urls_become_the_endpoint_they_mean),
      cmocka_unit_test(a_token_does_not_go_over_plain_http_unless_allowed),
      cmocka_unit_test(the_token_goes_with_requests_and_not_with_probes),
      cmocka_unit_test(version_two_is_found_once_and_remembered),
      cmocka_unit_test(a_server_that_speaks_neither_is_named_as_such),
      cmocka_unit_test(odd_but_lawful_answers_are_understood),
      cmocka_unit_test(errors_without_a_code_or_with_a_strange_one_are_errors_of_the_database),
      cmocka_unit_test(broken_answers_leave_a_write_unknown),
      cmocka_unit_test(a_write_whose_connection_broke_off_is_unknown_and_never_sent_again),
      cmocka_unit_test(a_read_is_asked_once_more_and_then_lost),
      cmocka_unit_test(a_transaction_goes_with_its_connection),
      cmocka_unit_test(an_expired_stream_ends_its_transaction),
      cmocka_unit_test(outside_a_transaction_nothing_is_kept_so_nothing_expires),
      cmocka_unit_test(a_base_url_is_followed_for_its_stream_and_forgotten_with_it),
      cmocka_unit_test(a_base_url_that_is_none_is_refused),
      cmocka_unit_test(a_transaction_that_the_server_rolled_back_can_only_be_rolled_back),
      cmocka_unit_test(a_cancelled_write_is_unknown_and_a_cancelled_read_is_not),
      cmocka_unit_test(cursors_are_read_with_all_that_servers_put_in),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
