/* The libSQL driver's batches against a server whose answers are written byte by byte: one request
 * each, all or nothing, and what is known when something goes wrong. */
#include "driver/libsql_place.h"

#define END_OF_TURNS             \
  {                              \
    NULL, NULL, 0, NULL, NULL, 0 \
  }
#define STEP_FINE "{\"cols\":[],\"rows\":[],\"affected_row_count\":1,\"last_insert_rowid\":\"9\"}"
#define STEP_ROWS                                                                               \
  "{\"cols\":[{\"name\":\"a\"}],\"rows\":[[{\"type\":\"integer\",\"value\":\"7\"}],[{\"type\":" \
  "\"integer\",\"value\":\"8\"}]],\"affected_row_count\":0,\"last_insert_rowid\":null}"
#define STEPS(results, errors)                                                               \
  "{\"type\":\"ok\",\"response\":{\"type\":\"batch\",\"result\":{\"step_results\":[" results \
  "],\"step_errors\":[" errors "]}}}"
#define CLOSED_WITH(result) "{\"baton\":null,\"results\":[" result "," CLOSE_OK "]}"
#define NULLS5 "null,null,null,null,null"
#define FINE CLOSED_WITH(STEPS(STEP_FINE "," STEP_FINE "," STEP_ROWS "," STEP_FINE ",null", NULLS5))

static const cenote_value one = {.type = CENOTE_INTEGER, .as = {.integer = 1}};
static const cenote_statement both[] = {{"INSERT INTO t VALUES (?)", &one, 1},
                                        {"SELECT a FROM t", NULL, 0}};
static const cenote_statement reads[] = {{"SELECT 1", NULL, 0}, {"SELECT a FROM t", NULL, 0}};

struct asked {
  int64_t timeout_ms; /* 0: much */
  cenote_batch_mode mode;
  unsigned flags;
  uint64_t max_rows;
};

/* The second one's result is kept in place->result. */
static cenote_status batch(struct place *place, const cenote_statement statements[2],
                           struct asked asked)
{
  struct cenote_sink sinks[2];
  cenote_sink *list[2] = {&sinks[0], &sinks[1]};
  const cenote_request request = {
      .size = sizeof request,
      .kind = CENOTE_REQUEST_BATCH,
      .flags = asked.flags,
      .mode = asked.mode,
      .statements = statements,
      .statement_count = 2,
      .sinks = list,
      .deadline_ns = cen_deadline_ns(cen_now_ns(), asked.timeout_ms ? asked.timeout_ms : 20000)};
  cenote_result_free(place->result);
  place->result = NULL;
  for (int i = 0; i < 2; i++) {
    assert_int_equal(cen_sink_init_result(&sinks[i], asked.max_rows, 0, NULL), CENOTE_OK);
  }
  const cenote_status status = rig_run(&place->rig, place->connection, &request, &place->error);
  if (status == CENOTE_OK) {
    place->result = cen_sink_take(&sinks[1]);
  }
  cen_sink_deinit(&sinks[0]);
  cen_sink_deinit(&sinks[1]);
  return status;
}

static void fails(struct place *place, const cenote_statement statements[2], struct asked asked,
                  cenote_status status, const char *says)
{
  const cenote_status got = batch(place, statements, asked);
  if (got != status ||
      (!strstr(place->error.message, says) && !strstr(place->error.details, says))) {
    fail_msg("%s, %s (%s) %s", cenote_status_name(got), place->error.message, place->error.details,
             place->wrong);
  }
}

static void a_batch_is_one_request_whose_steps_depend_on_each_other(void **state)
{
  static const char body[] =
      "{\"baton\":null,\"requests\":[{\"type\":\"batch\",\"batch\":{\"steps\":["
      "{\"stmt\":{\"sql\":\"BEGIN\",\"want_rows\":false}},"
      "{\"stmt\":{\"sql\":\"INSERT INTO t VALUES (?)\",\"args\":[{\"type\":\"integer\",\"value\":"
      "\"1\"}],\"want_rows\":true},\"condition\":{\"type\":\"ok\",\"step\":0}},"
      "{\"stmt\":{\"sql\":\"SELECT a FROM t\",\"want_rows\":true},\"condition\":{\"type\":\"ok\","
      "\"step\":1}},"
      "{\"stmt\":{\"sql\":\"COMMIT\",\"want_rows\":false},\"condition\":{\"type\":\"ok\",\"step\":"
      "2}},"
      "{\"stmt\":{\"sql\":\"ROLLBACK\",\"want_rows\":false},\"condition\":{\"type\":\"and\","
      "\"conds\":[{\"type\":\"ok\",\"step\":0},{\"type\":\"not\",\"cond\":{\"type\":\"ok\","
      "\"step\":3}}]}}]}},{\"type\":\"close\"}]}";
  static const struct turn turns[] = {
      LOGIN,
      {"/v3/pipeline", body, 200, FINE, NULL, 0},
      {"/v3/pipeline", "\"BEGIN IMMEDIATE\"", 200, FINE, NULL, 0},
      {"/v3/pipeline", "\"BEGIN TRANSACTION READONLY\"", 200, FINE, NULL, 0},
      END_OF_TURNS};
  struct place place;
  (void)state;
  place_open(&place, turns);
  for (int i = 0; i < 3; i++) {
    const struct asked asked = {.mode = (cenote_batch_mode)i,
                                .flags = i == 1 ? CENOTE_REQUEST_RAW_TEXT : 0u};
    if (batch(&place, i == 2 ? reads : both, asked) != CENOTE_OK) {
      fail_msg("%s (%s) %s", place.error.message, place.error.details, place.wrong);
    }
    assert_int_equal(cenote_result_rows(place.result), 2);
    assert_int_equal(cenote_result_value(place.result, 1, 0).type,
                     i == 1 ? CENOTE_TEXT : CENOTE_INTEGER);
    assert_int_equal(session(&place), 0);
  }
  place_close(&place);
}

#define LOCKED "{\"message\":\"database is locked\",\"code\":\"SQLITE_BUSY\"}"
#define UNIQUE "{\"message\":\"UNIQUE constraint failed: t.a\",\"code\":\"SQLITE_CONSTRAINT\"}"

static void what_fails_is_named_and_nothing_of_it_remains(void **state)
{
  static const struct turn turns[] = {
      LOGIN,
      /* BEGIN; the first statement; the second; COMMIT */
      {"/v3/pipeline", NULL, 200, CLOSED_WITH(STEPS(NULLS5, LOCKED ",null,null,null,null")), NULL,
       0},
      {"/v3/pipeline", NULL, 200,
       CLOSED_WITH(STEPS(STEP_FINE ",null,null,null," STEP_FINE, "null," UNIQUE ",null,null,null")),
       NULL, 0},
      {"/v3/pipeline", NULL, 200,
       CLOSED_WITH(STEPS(STEP_FINE "," STEP_FINE ",null,null," STEP_FINE,
                         "null,null," UNIQUE ",null,null")),
       NULL, 0},
      {"/v3/pipeline", NULL, 200,
       CLOSED_WITH(STEPS(STEP_FINE "," STEP_FINE "," STEP_ROWS ",null," STEP_FINE,
                         "null,null,null," UNIQUE ",null")),
       NULL, 0},
      /* all of it could not even be read */
      {"/v3/pipeline", NULL, 200,
       CLOSED_WITH(
           "{\"type\":\"error\",\"error\":{\"message\":\"near SELEC: syntax error\",\"code\":"
           "\"SQL_PARSE_ERROR\"}}"),
       NULL, 0},
      END_OF_TURNS};
  static const int64_t statements[] = {-1, 0, 1, -1};
  struct place place;
  (void)state;
  place_open(&place, turns);
  for (int i = 0; i < 4; i++) {
    fails(&place, both, (struct asked){.mode = CENOTE_BATCH_WRITE}, CENOTE_DATABASE,
          i == 0 ? "locked" : "UNIQUE");
    assert_string_equal(place.error.sqlstate, i == 0 ? "55P03" : "23505");
    assert_int_equal(place.error.statement, statements[i]);
    assert_int_equal(session(&place), 0);
  }
  fails(&place, both, (struct asked){.mode = CENOTE_BATCH_WRITE}, CENOTE_DATABASE, "syntax error");
  assert_string_equal(place.error.sqlstate, "42601");
  place_close(&place);
}

static void a_batch_that_may_have_been_committed_is_unknown(void **state)
{
  static const struct turn cases[] = {
      {"/v3/pipeline", NULL, 0, NULL, NULL, SCRIPT_CLOSE},
      {"/v3/pipeline", NULL, 502, "<html>Bad gateway</html>", "text/html", 0},
      {"/v3/pipeline", NULL, 200, "{\"results\":[", NULL, 0},
      {"/v3/pipeline", NULL, 200, CLOSED_WITH(STEPS("null", "null")), NULL, 0},
      {"/v3/pipeline", NULL, 200, CLOSED_WITH(STEPS(NULLS5, NULLS5)), NULL, 0},
      {"/v3/pipeline", NULL, 200,
       CLOSED_WITH(STEPS(STEP_FINE "," STEP_FINE "," STEP_FINE ",null,null", NULLS5)), NULL, 0},
      {"/v3/pipeline", NULL, 200,
       CLOSED_WITH(STEPS(STEP_FINE ",null," STEP_FINE "," STEP_FINE ",null",
                         "null," UNIQUE ",null,null,null")),
       NULL, 0},
      {"/v3/pipeline", NULL, 200,
       CLOSED_WITH(STEPS(STEP_FINE "," STEP_FINE "," STEP_FINE "," STEP_FINE ",null",
                         "null," UNIQUE ",null,null,null")),
       NULL, 0},
  };
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    const struct turn turns[] = {LOGIN, cases[i], END_OF_TURNS};
    struct place place;
    place_open(&place, turns);
    fails(&place, both, (struct asked){.mode = CENOTE_BATCH_WRITE}, CENOTE_OUTCOME_UNKNOWN, "");
    place_close(&place);
  }
}

static void a_batch_that_only_reads_is_asked_once_more(void **state)
{
  static const struct turn turns[] = {LOGIN,
                                      {"/v3/pipeline", "BEGIN", 0, NULL, NULL, SCRIPT_CLOSE},
                                      {"/v3/pipeline", "BEGIN", 200, FINE, NULL, 0},
                                      {"/v3/pipeline", NULL, 503, "{\"error\":\"busy\"}", NULL, 0},
                                      END_OF_TURNS};
  struct place place;
  (void)state;
  place_open(&place, turns);
  assert_int_equal(batch(&place, reads, (struct asked){.mode = CENOTE_BATCH_READ}), CENOTE_OK);
  fails(&place, both, (struct asked){.mode = CENOTE_BATCH_WRITE}, CENOTE_CONNECTION_LOST, "busy");
  place_close(&place);
}

/* With more time, where the machine stood still and it was over before anything was sent. */
static void is_cut_off(struct place *place, const cenote_statement statements[2],
                       cenote_status status, const char *says)
{
  const int before = http_script_requests(place->script);
  int64_t ms = 150;
  cenote_status got;
  do {
    got = batch(place, statements, (struct asked){.timeout_ms = ms});
    ms *= 2;
  } while (got != status && http_script_requests(place->script) == before && ms < 20000);
  assert_int_equal(got, status);
  assert_true(strstr(place->error.message, says) || strstr(place->error.details, says));
}

static void a_batch_whose_time_is_over_is_cut_off(void **state)
{
  static const struct turn turns[] = {LOGIN,
                                      {"/v3/pipeline", "INSERT", 0, NULL, NULL, SCRIPT_HANG},
                                      {"/v3/pipeline", "SELECT 1", 0, NULL, NULL, SCRIPT_HANG},
                                      {"/v3/pipeline", "INSERT", 200, FINE, NULL, 0},
                                      END_OF_TURNS};
  struct place place;
  (void)state;
  place_open(&place, turns);
  is_cut_off(&place, both, CENOTE_OUTCOME_UNKNOWN, "cancelled");
  const int before = http_script_requests(place.script);
  for (int64_t ms = 150; http_script_requests(place.script) == before && ms < 20000; ms *= 2) {
    fails(&place, reads, (struct asked){.timeout_ms = ms}, CENOTE_STATEMENT_TIMEOUT, "");
  }
  assert_int_equal(session(&place), 0);
  assert_int_equal(batch(&place, both, (struct asked){.timeout_ms = 0}), CENOTE_OK);
  expect_gone(&place, 2);
  place_close(&place);
}

static void what_cannot_be_in_a_batch_is_not_sent(void **state)
{
  static const struct {
    cenote_statement statements[2];
    cenote_status status;
    const char *says, *sqlstate;
  } cases[] = {
      {{{"SELECT 1", NULL, 0}, {"INSERT INTO t VALUES (1)", NULL, 0}},
       CENOTE_DATABASE,
       "read-only",
       "25006"},
      {{{"SELECT 1", NULL, 0}, {"COMMIT", NULL, 0}}, CENOTE_INVALID, "one transaction", ""},
      {{{"SELECT 1", NULL, 0}, {"SELECT ?", NULL, 0}}, CENOTE_INVALID, "1 parameter", ""},
      {{{"SELECT 1", NULL, 0}, {"SELECT 1; SELECT 2", NULL, 0}}, CENOTE_INVALID, "several", ""},
  };
  static const struct turn turns[] = {LOGIN, END_OF_TURNS};
  struct place place;
  (void)state;
  place_open(&place, turns);
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    fails(&place, cases[i].statements, (struct asked){.mode = CENOTE_BATCH_READ}, cases[i].status,
          cases[i].says);
    assert_string_equal(place.error.sqlstate, cases[i].sqlstate);
    assert_int_equal(place.error.statement, 1);
    assert_int_equal(session(&place), 0);
  }
  place_close(&place);
}

#define KEPT(state)                                                         \
  "{\"baton\":\"b2\",\"results\":[" STEPS(STEP_FINE ",null,null,null,null", \
                                          "null," UNIQUE ",null,null,null") "," state "]}"

static void in_a_session_that_is_kept_nothing_stays_open(void **state)
{
  static const struct turn turns[] = {
      LOGIN,
      {"/v3/pipeline", "TEMP", 200,
       "{\"baton\":\"b1\",\"results\":[" EXECUTED("[]") "," STATE("true") "]}", NULL, 0},
      {"/v3/pipeline", "\"baton\":\"b1\"", 200, KEPT(STATE("true")), NULL, 0},
      /* this one did not run the ROLLBACK */
      {"/v3/pipeline", "get_autocommit", 200, KEPT(STATE("false")), NULL, 0},
      {"/v3/pipeline", "\"sql\":\"ROLLBACK\"", 200,
       "{\"baton\":\"b3\",\"results\":[" EXECUTED("[]") "]}", NULL, 0},
      {"/v3/pipeline", "\"baton\":\"b3\"", 200, CLOSED, NULL, 0},
      END_OF_TURNS};
  struct place place;
  (void)state;
  place_open(&place, turns);
  assert_int_equal(run(&place, "CREATE TEMP TABLE x (a)"), CENOTE_OK);
  for (int i = 0; i < 2; i++) {
    fails(&place, both, (struct asked){.mode = CENOTE_BATCH_WRITE}, CENOTE_DATABASE, "UNIQUE");
    assert_int_equal(session(&place), CENOTE_SESSION_DIRTY);
  }
  assert_int_equal(rig_kind(&place.rig, place.connection, CENOTE_REQUEST_RESET, NULL), CENOTE_OK);
  assert_int_equal(session(&place), 0);
  place_close(&place);
}

/* One past the ceiling: the sink refuses, and what the server did is told all the same. */
static void a_result_beyond_the_ceiling_does_not_hide_what_became_of_the_batch(void **state)
{
  static const struct turn turns[] = {
      LOGIN,
      {"/v3/pipeline", NULL, 200, FINE, NULL, 0},
      {"/v3/pipeline", NULL, 200, FINE, NULL, 0},
      {"/v3/pipeline", NULL, 200, FINE, NULL, 0},
      {"/v3/pipeline", NULL, 200,
       CLOSED_WITH(STEPS(STEP_FINE "," STEP_FINE "," STEP_ROWS ",null," STEP_FINE,
                         "null,null,null," UNIQUE ",null")),
       NULL, 0},
      END_OF_TURNS};
  struct place place;
  (void)state;
  place_open(&place, turns);
  assert_int_equal(batch(&place, both, (struct asked){.max_rows = 2}), CENOTE_OK);
  for (unsigned raw = 0; raw < 2; raw++) {
    fails(&place, both, (struct asked){.max_rows = 1, .flags = raw ? CENOTE_REQUEST_RAW_TEXT : 0u},
          CENOTE_TOO_LARGE, "was executed");
    assert_int_equal(place.error.statement, 1);
    assert_int_equal(session(&place), 0);
  }
  fails(&place, both, (struct asked){.max_rows = 1}, CENOTE_DATABASE, "UNIQUE");
  assert_int_equal(place.error.statement, -1);
  place_close(&place);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_batch_is_one_request_whose_steps_depend_on_each_other),
      cmocka_unit_test(what_fails_is_named_and_nothing_of_it_remains),
      cmocka_unit_test(a_batch_that_may_have_been_committed_is_unknown),
      cmocka_unit_test(a_batch_that_only_reads_is_asked_once_more),
      cmocka_unit_test(a_batch_whose_time_is_over_is_cut_off),
      cmocka_unit_test(what_cannot_be_in_a_batch_is_not_sent),
      cmocka_unit_test(in_a_session_that_is_kept_nothing_stays_open),
      cmocka_unit_test(a_result_beyond_the_ceiling_does_not_hide_what_became_of_the_batch),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
