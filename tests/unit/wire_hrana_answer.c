/* wire_hrana_answer.c - Hrana's answers and cursors: written by a server byte by byte, read by a
 * client however they come. */
#include "base/error.h"
#include "base/result.h"
#include "wire/hrana.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct cen_buf buf;

static int fresh(void **state)
{
  (void)state;
  cen_buf_init(&buf, 1 << 20);
  return 0;
}

static int clean(void **state)
{
  (void)state;
  cen_buf_deinit(&buf);
  return 0;
}

/* ----------------------------------------------------------------- server */

#define RESULT                                                                                \
  "{\"cols\":[{\"name\":\"id\",\"decltype\":\"INTEGER\"},{\"name\":null,\"decltype\":null}]," \
  "\"rows\":[[{\"type\":\"integer\",\"value\":\"1\"},{\"type\":\"null\"}]],"                  \
  "\"affected_row_count\":1,\"last_insert_rowid\":\"7\"}"

static void result_write(struct cen_hrana_writer *w)
{
  static const cenote_column columns[] = {{.name = "id", .type = "INTEGER"}, {.name = NULL}};
  const cenote_value row[] = {cenote_integer(1), cenote_null()};
  const int64_t rowid = 7;
  cen_hrana_stmt_begin(w, columns, 2);
  assert_true(cen_hrana_stmt_row(w, row, 2));
  cen_hrana_stmt_end(w, 1, &rowid);
}

static void every_answer_is_written_as_the_notes_show(void **state)
{
  (void)state;
  struct cen_hrana_writer w = {.buf = &buf};
  cen_hrana_pipeline_begin(&w, "b1", NULL);
  cen_hrana_ok_begin(&w, CEN_HRANA_EXECUTE);
  result_write(&w);
  cen_hrana_ok_end(&w);
  cen_hrana_error(&w, "no such table: q", "SQLITE_ERROR");
  cen_hrana_error(&w, "m", NULL);
  cen_hrana_ok(&w, CEN_HRANA_SEQUENCE);
  cen_hrana_ok(&w, CEN_HRANA_STORE_SQL);
  cen_hrana_ok(&w, CEN_HRANA_CLOSE_SQL);
  cen_hrana_autocommit(&w, true);
  cen_hrana_ok(&w, CEN_HRANA_CLOSE);
  cen_hrana_pipeline_end(&w);
  assert_string_equal(
      buf.data,
      "{\"baton\":\"b1\",\"base_url\":null,\"results\":["
      "{\"type\":\"ok\",\"response\":{\"type\":\"execute\",\"result\":" RESULT "}},"
      "{\"type\":\"error\",\"error\":{\"message\":\"no such table: q\",\"code\":\"SQLITE_ERROR\"}},"
      "{\"type\":\"error\",\"error\":{\"message\":\"m\",\"code\":\"UNKNOWN\"}},"
      "{\"type\":\"ok\",\"response\":{\"type\":\"sequence\"}},"
      "{\"type\":\"ok\",\"response\":{\"type\":\"store_sql\"}},"
      "{\"type\":\"ok\",\"response\":{\"type\":\"close_sql\"}},"
      "{\"type\":\"ok\",\"response\":{\"type\":\"get_autocommit\",\"is_autocommit\":true}},"
      "{\"type\":\"ok\",\"response\":{\"type\":\"close\"}}]}");
}

static void an_empty_pipeline_has_no_results(void **state)
{
  (void)state;
  struct cen_hrana_writer w = {.buf = &buf};
  cen_hrana_pipeline_begin(&w, NULL, "http://h/x");
  cen_hrana_pipeline_end(&w);
  assert_string_equal(buf.data, "{\"baton\":null,\"base_url\":\"http://h/x\",\"results\":[]}");
}

static void values_are_written_by_their_type(void **state)
{
  (void)state;
  const cenote_value row[] = {cenote_integer(INT64_MIN), cenote_real(2.5),
                              cenote_real(1e300),        cenote_real(NAN),
                              cenote_real(INFINITY),     cenote_real(-INFINITY),
                              cenote_text("\xC3\xA9\""), cenote_blob("\0\xFF\x10", 3),
                              cenote_blob("f", 1),       cenote_blob("", 0),
                              cenote_boolean(false),     cenote_text_n("a\0b", 3)};
  assert_true(cen_hrana_cursor_row(&buf, row, 12));
  assert_string_equal(
      buf.data,
      "{\"type\":\"row\",\"row\":[{\"type\":\"integer\",\"value\":\"-9223372036854775808\"},"
      "{\"type\":\"float\",\"value\":2.5},{\"type\":\"float\",\"value\":1e+300},{\"type\":\"null\"},"
      "{\"type\":\"float\",\"value\":1e999},{\"type\":\"float\",\"value\":-1e999},"
      "{\"type\":\"text\",\"value\":\"\xC3\xA9\\\"\"},{\"type\":\"blob\",\"base64\":\"AP8Q\"},"
      "{\"type\":\"blob\",\"base64\":\"Zg\"},{\"type\":\"blob\",\"base64\":\"\"},"
      "{\"type\":\"integer\",\"value\":\"0\"},{\"type\":\"text\",\"value\":\"a\\u0000b\"}]}\n");
  const cenote_value wrong[] = {cenote_text("\xFF"), cenote_integer(1)};
  assert_false(cen_hrana_cursor_row(&buf, wrong, 2));
}

static void a_batch_has_two_arrays_of_one_length(void **state)
{
  (void)state;
  struct cen_hrana_writer w = {.buf = &buf};
  static const cenote_column column = {.name = "n"};
  cen_hrana_batch_begin(&w);
  cen_hrana_step_begin(&w);
  result_write(&w);
  cen_hrana_step_error(&w, "early", "A");
  cen_hrana_step_skipped(&w);
  cen_hrana_step_begin(&w);
  cen_hrana_stmt_begin(&w, &column, 1);
  cen_hrana_step_error(&w, "midway", "B");
  cen_hrana_step_begin(&w);
  result_write(&w);
  cen_hrana_batch_end(&w);
  assert_string_equal(buf.data,
                      "{\"step_results\":[" RESULT ",null,null,null," RESULT
                      "],\"step_errors\":[null,{\"message\":\"early\",\"code\":\"A\"},null,"
                      "{\"message\":\"midway\",\"code\":\"B\"},null]}");
  cen_buf_deinit(&buf);
  cen_hrana_batch_begin(&w);
  cen_hrana_batch_end(&w);
  assert_string_equal(buf.data, "{\"step_results\":[],\"step_errors\":[]}");
  cen_buf_deinit(&buf);
  cen_hrana_batch_begin(&w);
  cen_hrana_step_begin(&w);
  cen_hrana_step_error(&w, "first", "C");
  cen_hrana_batch_end(&w);
  assert_string_equal(buf.data, "{\"step_results\":[null],\"step_errors\":[{\"message\":\"first\","
                                "\"code\":\"C\"}]}");
}

static void a_description_is_written(void **state)
{
  (void)state;
  struct cen_hrana_writer w = {.buf = &buf};
  const char *const params[] = {":a", NULL};
  static const cenote_column column = {.name = "x"};
  const struct cen_hrana_description description = {params, 2, &column, 1, false, true};
  cen_hrana_describe_put(&w, &description);
  assert_string_equal(
      buf.data, "{\"type\":\"ok\",\"response\":{\"type\":\"describe\",\"result\":{\"params\":["
                "{\"name\":\":a\"},{\"name\":null}],\"cols\":[{\"name\":\"x\",\"decltype\":null}],"
                "\"is_explain\":false,\"is_readonly\":true}}}");
}

static void a_cursor_is_lines(void **state)
{
  (void)state;
  static const cenote_column column = {.name = "n"};
  const cenote_value one = cenote_integer(1);
  const int64_t rowid = -2;
  cen_hrana_cursor_baton(&buf, "b1", NULL);
  cen_hrana_cursor_step_begin(&buf, 0, &column, 1);
  assert_true(cen_hrana_cursor_row(&buf, &one, 1));
  cen_hrana_cursor_step_end(&buf, 0, NULL);
  cen_hrana_cursor_step_error(&buf, 1, "no such table: q", "SQLITE_ERROR");
  cen_hrana_cursor_step_end(&buf, 3, &rowid);
  cen_hrana_cursor_error(&buf, "...", "X");
  assert_string_equal(
      buf.data,
      "{\"baton\":\"b1\",\"base_url\":null}\n"
      "{\"type\":\"step_begin\",\"step\":0,\"cols\":[{\"name\":\"n\",\"decltype\":null}]}\n"
      "{\"type\":\"row\",\"row\":[{\"type\":\"integer\",\"value\":\"1\"}]}\n"
      "{\"type\":\"step_end\",\"affected_row_count\":0,\"last_insert_rowid\":null}\n"
      "{\"type\":\"step_error\",\"step\":1,\"error\":{\"message\":\"no such table: q\","
      "\"code\":\"SQLITE_ERROR\"}}\n"
      "{\"type\":\"step_end\",\"affected_row_count\":3,\"last_insert_rowid\":\"-2\"}\n"
      "{\"type\":\"error\",\"error\":{\"message\":\"...\",\"code\":\"X\"}}\n");
}

static void errors_have_codes_and_shapes(void **state)
{
  (void)state;
  cenote_error error = CENOTE_ERROR_INIT;
  (void)cenote_error_set(&error, CENOTE_DATABASE, "x");
  assert_string_equal(cen_hrana_code(&error), "SQLITE_ERROR");
  cenote_error_add_field(&error, 'X', "SQLITE_CONSTRAINT_UNIQUE");
  assert_string_equal(cen_hrana_code(&error), "SQLITE_CONSTRAINT");
  (void)cenote_error_set(&error, CENOTE_DATABASE, "x");
  cenote_error_add_field(&error, 'X', "SQLITE_BUSY");
  assert_string_equal(cen_hrana_code(&error), "SQLITE_BUSY");
  for (int status = 1; status < CENOTE_STATUS_COUNT; status++) {
    (void)cenote_error_set(&error, (cenote_status)status, "x");
    assert_true(strlen(cen_hrana_code(&error)) > 0);
  }
  cen_hrana_expired_put(&buf);
  assert_string_equal(buf.data, "{\"message\":\"The stream has expired due to inactivity\","
                                "\"code\":\"STREAM_EXPIRED\"}");
  cen_buf_deinit(&buf);
  cen_hrana_refused_put(&buf, "no \"token\"");
  assert_string_equal(buf.data, "{\"error\":\"no \\\"token\\\"\"}");
}

/* ----------------------------------------------------------------- client */

static struct cen_hrana_answer answer;
static char *memory;

static cenote_status open_text(int status, const char *text, size_t expected, cenote_error *error)
{
  size_t size = strlen(text);
  free(memory);
  memory = malloc(size > 0 ? size : 1);
  assert_non_null(memory);
  memcpy(memory, text, size);
  return cen_hrana_answer_open(&answer, status, memory, size, 1 << 20, expected, error);
}

static int close_text(void **state)
{
  (void)state;
  cen_hrana_answer_close(&answer);
  free(memory);
  memory = NULL;
  return 0;
}

/* The only result, of an execute. */
static cenote_status execute_read(const char *text, cenote_result **result, cenote_error *error)
{
  struct cenote_sink sink;
  *result = NULL;
  assert_int_equal(cen_sink_init_result(&sink, 0, 0, NULL), CENOTE_OK);
  cenote_status status = open_text(200, text, 1, error);
  if (status == CENOTE_OK) {
    status = cen_hrana_answer_next(&answer, CEN_HRANA_EXECUTE, &sink, NULL, error);
  }
  if (status == CENOTE_OK) {
    *result = cen_sink_take(&sink);
  }
  cen_sink_deinit(&sink);
  close_text(NULL);
  return status;
}

#define OK(result) \
  "{\"results\":[{\"type\":\"ok\",\"response\":{\"type\":\"execute\",\"result\":" result "}}]}"

static void a_client_reads_whatever_order_and_extras(void **state)
{
  (void)state;
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_result *result;
  assert_int_equal(
      execute_read(OK("{\"rows\":[[{\"value\":\"x\",\"type\":\"text\"},{\"type\":\"blob\","
                      "\"base64\":\"Zg\"}],[{\"type\":\"float\",\"value\":null},{\"type\":\"blob\","
                      "\"base64\":\"Zg==\"}]],\"replication_index\":null,\"rows_read\":1,"
                      "\"query_duration_ms\":0.5,\"last_insert_rowid\":9007199254740993,"
                      "\"affected_row_count\":2,\"cols\":[{\"decltype\":\"TEXT\",\"name\":\"a\"},"
                      "{\"name\":null}]}"),
                   &result, &error),
      CENOTE_OK);
  assert_int_equal(cenote_result_rows(result), 2);
  assert_string_equal(cenote_result_column_type(result, 0), "TEXT");
  assert_string_equal(cenote_result_column_name(result, 1), "");
  assert_string_equal(cenote_result_text(result, 0, 0), "x");
  assert_int_equal(cenote_result_value(result, 1, 0).type, CENOTE_NULL);
  assert_int_equal(cenote_result_value(result, 0, 1).size, 1);
  assert_int_equal(cenote_result_value(result, 1, 1).size, 1);
  assert_int_equal(cenote_result_affected_rows(result), 2);
  assert_true(cenote_result_last_insert_id(result) == INT64_C(9007199254740993));
  cenote_result_free(result);
  assert_int_equal(execute_read(OK("{\"cols\":[]}"), &result, &error), CENOTE_OK);
  assert_int_equal(cenote_result_rows(result), 0);
  cenote_result_free(result);
}

static void a_client_refuses_what_it_does_not_understand(void **state)
{
  (void)state;
  static const char *const texts[] = {
      "",
      "<html>",
      "{}",
      "{\"results\":{}}",
      "{\"results\":[]}",
      "{\"results\":[1,2]}",
      "{\"results\":[null]}",
      "{\"results\":[{}]}",
      "{\"results\":[{\"type\":\"ok\"}]}",
      "{\"results\":[{\"type\":\"error\"}]}",
      "{\"results\":[{\"type\":\"error\",\"error\":{}}]}",
      "{\"results\":[{\"type\":\"fine\",\"response\":{\"type\":\"execute\"}}]}",
      "{\"results\":[{\"type\":\"ok\",\"response\":{\"type\":\"batch\",\"result\":{}}}]}",
      "{\"results\":[{\"type\":\"ok\",\"response\":{\"type\":\"execute\"}}]}",
      "{\"baton\":1,\"results\":[{}]}",
      OK("null"),
      OK("{}"),
      OK("{\"cols\":{}}"),
      OK("{\"cols\":[1]}"),
      OK("{\"cols\":[{\"name\":1}]}"),
      OK("{\"cols\":[],\"rows\":1}"),
      OK("{\"cols\":[],\"rows\":[[{\"type\":\"null\"}]]}"),
      OK("{\"cols\":[{\"name\":\"a\"}],\"rows\":[[]]}"),
      OK("{\"cols\":[{\"name\":\"a\"}],\"rows\":[[{\"type\":\"integer\",\"value\":\"1e5\"}]]}"),
      OK("{\"cols\":[{\"name\":\"a\"}],\"rows\":[[{\"type\":\"blob\",\"base64\":\"?\"}]]}"),
      OK("{\"cols\":[],\"affected_row_count\":\"1\"}"),
      OK("{\"cols\":[],\"affected_row_count\":1e300}"),
      OK("{\"cols\":[],\"last_insert_rowid\":\"99999999999999999999\"}"),
      OK("{\"cols\":[],\"last_insert_rowid\":true}"),
      OK("{\"cols\":[],\"rows\":[[\"\xE2\x82\"]]}"),
      OK("{\"cols\":[]}") "x",
  };
  for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
    cenote_error error = CENOTE_ERROR_INIT;
    cenote_result *result;
    assert_int_equal(execute_read(texts[i], &result, &error), CENOTE_IO);
    assert_true(strlen(error.message) > 0);
  }
}

static void a_client_reads_a_whole_pipeline(void **state)
{
  (void)state;
  cenote_error error = CENOTE_ERROR_INIT;
  struct cen_hrana_writer w = {.buf = &buf};
  const char *const params[] = {":a", NULL};
  static const cenote_column columns[] = {{.name = "x", .type = "INT"}, {.name = "y"}};
  const struct cen_hrana_description sent = {params, 2, columns, 2, false, true};
  struct cen_hrana_description got;
  enum cen_hrana_outcome outcome;
  bool flag = true;
  cen_hrana_pipeline_begin(&w, "b", "http://u");
  cen_hrana_ok(&w, CEN_HRANA_STORE_SQL);
  cen_hrana_error(&w, "UNIQUE constraint failed: t.a", "SQLITE_CONSTRAINT");
  cen_hrana_describe_put(&w, &sent);
  cen_hrana_autocommit(&w, false);
  cen_hrana_ok_begin(&w, CEN_HRANA_BATCH);
  cen_hrana_batch_begin(&w);
  cen_hrana_step_begin(&w);
  result_write(&w);
  cen_hrana_step_error(&w, "locked", "SQLITE_BUSY");
  cen_hrana_step_skipped(&w);
  cen_hrana_batch_end(&w);
  cen_hrana_ok_end(&w);
  cen_hrana_ok(&w, CEN_HRANA_CLOSE);
  cen_hrana_pipeline_end(&w);
  assert_int_equal(open_text(200, buf.data, 6, &error), CENOTE_OK);
  assert_string_equal(answer.baton, "b");
  assert_string_equal(answer.base_url, "http://u");
  assert_int_equal(cen_hrana_answer_next(&answer, CEN_HRANA_STORE_SQL, NULL, NULL, &error), 0);
  assert_int_equal(cen_hrana_answer_next(&answer, CEN_HRANA_EXECUTE, NULL, NULL, &error),
                   CENOTE_DATABASE);
  assert_string_equal(error.sqlstate, "23505");
  assert_string_equal(cenote_error_field(&error, 'X'), "SQLITE_CONSTRAINT");
  assert_int_equal(cen_hrana_answer_next(&answer, CEN_HRANA_DESCRIBE, NULL, NULL, &error), 0);
  assert_int_equal(cen_hrana_answer_describe(&answer, &got, &error), CENOTE_OK);
  assert_int_equal(got.param_count, 2);
  assert_string_equal(got.params[0], ":a");
  assert_null(got.params[1]);
  assert_int_equal(got.column_count, 2);
  assert_string_equal(got.columns[0].type, "INT");
  assert_true(got.is_readonly && !got.is_explain);
  assert_int_equal(cen_hrana_answer_next(&answer, CEN_HRANA_GET_AUTOCOMMIT, NULL, &flag, &error),
                   0);
  assert_false(flag);
  assert_int_equal(cen_hrana_answer_next(&answer, CEN_HRANA_BATCH, NULL, NULL, &error), CENOTE_OK);
  struct cenote_sink sink;
  assert_int_equal(cen_sink_init_result(&sink, 0, 0, NULL), CENOTE_OK);
  assert_int_equal(cen_hrana_answer_step(&answer, &sink, &outcome, &error), CENOTE_OK);
  assert_int_equal(outcome, CEN_HRANA_SUCCEEDED);
  assert_int_equal(cen_sink_rows(&sink), 1);
  cen_sink_deinit(&sink);
  assert_int_equal(cen_hrana_answer_step(&answer, NULL, &outcome, &error), CENOTE_OK);
  assert_int_equal(outcome, CEN_HRANA_FAILED);
  assert_string_equal(error.sqlstate, "55P03");
  assert_true(error.retryable);
  assert_int_equal(cen_hrana_answer_step(&answer, NULL, &outcome, &error), CENOTE_OK);
  assert_int_equal(outcome, CEN_HRANA_SKIPPED);
  assert_int_equal(cen_hrana_answer_step(&answer, NULL, &outcome, &error), CENOTE_IO);
  assert_int_equal(cen_hrana_answer_next(&answer, CEN_HRANA_CLOSE, NULL, NULL, &error), CENOTE_OK);
  assert_int_equal(cen_hrana_answer_next(&answer, CEN_HRANA_CLOSE, NULL, NULL, &error),
                   CENOTE_INVALID);
  close_text(NULL);
}

static void a_step_cannot_succeed_and_fail(void **state)
{
  (void)state;
  cenote_error error = CENOTE_ERROR_INIT;
  enum cen_hrana_outcome outcome;
  assert_int_equal(open_text(200,
                             "{\"results\":[{\"type\":\"ok\",\"response\":{\"type\":\"batch\","
                             "\"result\":{\"step_errors\":[{\"message\":\"m\"}],\"step_results\":["
                             "{\"cols\":[]}]}}}]}",
                             1, &error),
                   CENOTE_OK);
  assert_int_equal(cen_hrana_answer_next(&answer, CEN_HRANA_BATCH, NULL, NULL, &error), CENOTE_OK);
  assert_int_equal(cen_hrana_answer_step(&answer, NULL, &outcome, &error), CENOTE_IO);
  close_text(NULL);
}

static void http_error(int http, const char *text, cenote_status expected, const char *message)
{
  cenote_error error = CENOTE_ERROR_INIT;
  assert_int_equal(open_text(http, text, 1, &error), expected);
  assert_string_equal(error.message, message);
  close_text(NULL);
}

static void a_client_survives_any_body_of_an_error(void **state)
{
  (void)state;
  http_error(400,
             "{\"message\":\"The stream has expired due to inactivity\",\"code\":"
             "\"STREAM_EXPIRED\"}",
             CENOTE_CONNECTION_LOST, "The stream has expired due to inactivity");
  http_error(401, "{\"error\":\"no token\"}", CENOTE_AUTH, "HTTP status 401: no token");
  http_error(404, "{\"error\":\"Namespace `x` doesn't exist\"}", CENOTE_IO,
             "HTTP status 404: Namespace `x` doesn't exist");
  http_error(400, "Received an invalid baton", CENOTE_IO, "the server answered HTTP status 400");
  http_error(500, "<html>", CENOTE_CONNECT, "the server answered HTTP status 500");
  http_error(500, "{\"error\":{\"a\":1}}", CENOTE_CONNECT, "the server answered HTTP status 500");
  http_error(502, "", CENOTE_CONNECT, "the server answered HTTP status 502");
  http_error(500, "{}", CENOTE_CONNECT, "the server answered HTTP status 500");
  http_error(429, "[]", CENOTE_CONNECT, "the server answered HTTP status 429");
}

/* ----------------------------------------------------------------- cursors */

/* Each entry as a letter, fed in pieces of `piece` bytes; '!' and the status where it fails. */
static void cursor_is(const char *text, size_t piece, const char *expected)
{
  struct cen_hrana_cursor cursor;
  struct cen_hrana_entry entry;
  cenote_error error = CENOTE_ERROR_INIT;
  char letters[64] = "";
  size_t count = 0;
  bool has = false;
  size_t size = strlen(text);
  cenote_status status = CENOTE_OK;
  cen_hrana_cursor_init(&cursor, 4096);
  for (size_t at = 0; at < size && status == CENOTE_OK; at += piece) {
    size_t now = size - at < piece ? size - at : piece;
    assert_int_equal(cen_hrana_cursor_feed(&cursor, text + at, now, &error), CENOTE_OK);
    while ((status = cen_hrana_cursor_next(&cursor, &has, &entry, &error)) == CENOTE_OK && has) {
      letters[count++] = "bsreEX"[entry.kind];
    }
  }
  if (status == CENOTE_OK) {
    status = cen_hrana_cursor_end(&cursor, &error);
  }
  letters[count] = status == CENOTE_OK ? '\0' : '!';
  letters[count + 1] = '\0';
  assert_string_equal(letters, expected);
  cen_hrana_cursor_deinit(&cursor);
}

#define BATON "{\"baton\":\"b1\",\"base_url\":null}\n"
#define BEGIN0 \
  "{\"type\":\"step_begin\",\"step\":0,\"cols\":[{\"name\":\"n\",\"decltype\":null}]}\n"
#define ROW "{\"type\":\"row\",\"row\":[{\"type\":\"integer\",\"value\":\"1\"}]}\n"
#define END "{\"type\":\"step_end\",\"affected_row_count\":0,\"last_insert_rowid\":5}\n"
#define STEP_ERROR(n) "{\"type\":\"step_error\",\"step\":" #n ",\"error\":{\"message\":\"m\"}}\n"
#define FATAL "{\"type\":\"error\",\"error\":{\"message\":\"m\",\"code\":\"c\"}}\n"
#define UNKNOWN "{\"type\":\"replication_index\",\"replication_index\":7}\n"

static void a_cursor_is_read_in_any_pieces(void **state)
{
  (void)state;
  static const size_t pieces[] = {1, 2, 3, 7, 50, 1000};
  for (size_t i = 0; i < 6; i++) {
    cursor_is(BATON BEGIN0 ROW ROW END STEP_ERROR(1) STEP_ERROR(4) UNKNOWN, pieces[i], "bsrreEE");
    cursor_is(BATON BEGIN0 ROW STEP_ERROR(0) FATAL "rubbish", pieces[i], "bsrEX");
    cursor_is("{}\n", pieces[i], "b");
  }
}

static void a_cursor_must_be_whole_and_in_order(void **state)
{
  (void)state;
  cursor_is("", 10, "!");
  cursor_is("{\"baton\":null}", 10, "!");
  cursor_is("{\"baton\":1}\n", 10, "!");
  cursor_is("<html>\n", 10, "!");
  cursor_is(BATON "\n", 10, "b!");
  cursor_is(BATON "{}\n", 10, "b!");
  cursor_is(BATON ROW, 10, "b!");
  cursor_is(BATON END, 10, "b!");
  cursor_is(BATON BEGIN0, 10, "bs!");
  cursor_is(BATON BEGIN0 BEGIN0, 10, "bs!");
  cursor_is(BATON BEGIN0 END BEGIN0, 10, "bse!");
  cursor_is(BATON BEGIN0 END "{\"type", 10, "bse!");
  cursor_is(BATON BEGIN0 STEP_ERROR(1), 10, "bs!");
  cursor_is(BATON BEGIN0 END STEP_ERROR(0), 10, "bse!");
  cursor_is(BATON "{\"type\":\"step_begin\",\"step\":-1,\"cols\":[]}\n", 10, "b!");
  cursor_is(BATON "{\"type\":\"step_begin\",\"cols\":[]}\n", 10, "b!");
  cursor_is(BATON "{\"type\":\"step_begin\",\"step\":0}\n", 10, "b!");
  cursor_is(BATON BEGIN0 "{\"type\":\"row\",\"row\":[]}\n", 10, "bs!");
  cursor_is(BATON BEGIN0 "{\"type\":\"row\"}\n", 10, "bs!");
  cursor_is(BATON "{\"type\":\"error\"}\n", 10, "b!");
  cursor_is(BATON "{\"type\":\"error\",\"error\":{}}\n", 10, "b!");
}

static void an_entry_has_what_its_line_says(void **state)
{
  (void)state;
  struct cen_hrana_cursor cursor;
  struct cen_hrana_entry entry;
  cenote_error error = CENOTE_ERROR_INIT;
  bool has;
  static const char text[] = BATON BEGIN0 ROW END STEP_ERROR(3);
  cen_hrana_cursor_init(&cursor, 4096);
  assert_int_equal(cen_hrana_cursor_feed(&cursor, text, sizeof(text) - 1, &error), CENOTE_OK);
  assert_int_equal(cen_hrana_cursor_next(&cursor, &has, &entry, &error), CENOTE_OK);
  assert_string_equal(entry.baton, "b1");
  assert_null(entry.base_url);
  assert_int_equal(cen_hrana_cursor_next(&cursor, &has, &entry, &error), CENOTE_OK);
  assert_string_equal(entry.columns[0].name, "n");
  assert_int_equal(entry.count, 1);
  assert_int_equal(cen_hrana_cursor_next(&cursor, &has, &entry, &error), CENOTE_OK);
  assert_int_equal(entry.values[0].as.integer, 1);
  assert_int_equal(cen_hrana_cursor_next(&cursor, &has, &entry, &error), CENOTE_OK);
  assert_int_equal(entry.last_rowid, 5);
  assert_int_equal(cen_hrana_cursor_next(&cursor, &has, &entry, &error), CENOTE_OK);
  assert_int_equal(entry.step, 3);
  assert_string_equal(error.message, "m");
  assert_int_equal(error.status, CENOTE_DATABASE);
  cen_hrana_cursor_deinit(&cursor);
}

static void a_line_has_a_ceiling(void **state)
{
  (void)state;
  struct cen_hrana_cursor cursor;
  struct cen_hrana_entry entry;
  bool has;
  cen_hrana_cursor_init(&cursor, 14);
  assert_int_equal(
      cen_hrana_cursor_feed(&cursor, "{\"baton\":null}\n{\"type\":\"12345\"", 31, NULL), CENOTE_OK);
  assert_int_equal(cen_hrana_cursor_next(&cursor, &has, &entry, NULL), CENOTE_OK);
  assert_true(has);
  assert_int_equal(cen_hrana_cursor_next(&cursor, &has, &entry, NULL), CENOTE_TOO_LARGE);
  assert_int_equal(cen_hrana_cursor_next(&cursor, &has, &entry, NULL), CENOTE_OK);
  assert_false(has);
  cen_hrana_cursor_deinit(&cursor);
}

/* ----------------------------------------------------------------- both */

static void what_a_server_writes_the_client_reads(void **state)
{
  (void)state;
  static const cenote_column columns[] = {{.name = "a", .type = "T"}, {.name = "a"}};
  cenote_error error = CENOTE_ERROR_INIT;
  struct cen_hrana_writer w = {.buf = &buf};
  cenote_result *first;
  cenote_result *second;
  const cenote_value values[] = {cenote_null(),          cenote_integer(INT64_MAX),
                                 cenote_real(1e-300),    cenote_text("\"\\\n\xC3\xA9"),
                                 cenote_blob("\0\1", 2), cenote_real(-INFINITY),
                                 cenote_text("")};
  cen_hrana_pipeline_begin(&w, NULL, NULL);
  cen_hrana_ok_begin(&w, CEN_HRANA_EXECUTE);
  cen_hrana_stmt_begin(&w, columns, 2);
  for (size_t i = 0; i < 300; i++) {
    const cenote_value row[] = {values[i % 7], values[i % 5]};
    assert_true(cen_hrana_stmt_row(&w, row, 2));
  }
  cen_hrana_stmt_end(&w, 3, NULL);
  cen_hrana_ok_end(&w);
  cen_hrana_pipeline_end(&w);
  assert_int_equal(execute_read(buf.data, &first, &error), CENOTE_OK);
  cen_buf_deinit(&buf);
  cen_hrana_pipeline_begin(&w, NULL, NULL);
  cen_hrana_ok_begin(&w, CEN_HRANA_EXECUTE);
  assert_true(cen_hrana_stmt_put(&w, first, true));
  cen_hrana_ok_end(&w);
  cen_hrana_pipeline_end(&w);
  assert_int_equal(execute_read(buf.data, &second, &error), CENOTE_OK);
  assert_int_equal(cenote_result_rows(second), 300);
  for (size_t i = 0; i < 300; i++) {
    for (size_t j = 0; j < 2; j++) {
      cenote_value sent = values[j == 0 ? i % 7 : i % 5];
      cenote_value got = cenote_result_value(second, i, j);
      assert_int_equal(got.type, sent.type);
      assert_int_equal(got.size, sent.size);
      if (sent.type == CENOTE_TEXT || sent.type == CENOTE_BLOB) {
        assert_memory_equal(got.as.text, sent.as.text, sent.size);
      } else if (sent.type != CENOTE_NULL) {
        assert_true(got.as.integer == sent.as.integer);
      }
    }
  }
  cenote_result_free(first);
  cenote_result_free(second);
}

#define SERVER(test) cmocka_unit_test_setup_teardown(test, fresh, clean)

int main(void)
{
  const struct CMUnitTest tests[] = {
      SERVER(every_answer_is_written_as_the_notes_show),
      SERVER(an_empty_pipeline_has_no_results),
      SERVER(values_are_written_by_their_type),
      SERVER(a_batch_has_two_arrays_of_one_length),
      SERVER(a_description_is_written),
      SERVER(a_cursor_is_lines),
      SERVER(errors_have_codes_and_shapes),
      cmocka_unit_test(a_client_reads_whatever_order_and_extras),
      cmocka_unit_test(a_client_refuses_what_it_does_not_understand),
      SERVER(a_client_reads_a_whole_pipeline),
      cmocka_unit_test_teardown(a_step_cannot_succeed_and_fail, close_text),
      cmocka_unit_test(a_client_survives_any_body_of_an_error),
      cmocka_unit_test(a_cursor_is_read_in_any_pieces),
      cmocka_unit_test(a_cursor_must_be_whole_and_in_order),
      cmocka_unit_test(an_entry_has_what_its_line_says),
      cmocka_unit_test(a_line_has_a_ceiling),
      SERVER(what_a_server_writes_the_client_reads),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
