/* The libSQL driver against a server that answers as other servers do, and as none should. */
#include "driver/libsql_place.h"

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
      /* a proxy's, whose server took too long */
      {{"/v3/pipeline", NULL, 503, "{\"message\":\"Service Unavailable\"}", NULL, 0},
       CENOTE_CONNECTION_LOST,
       CENOTE_OUTCOME_UNKNOWN},
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
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
