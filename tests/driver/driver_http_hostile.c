/*
 * The drivers over HTTP and a server that means ill, or does not know better. Each answer below goes
 * to a read and to a write: a read gets an error or, where the answer makes sense, its rows; a write
 * whose answer is not understood is CENOTE_OUTCOME_UNKNOWN; nothing hangs, nothing is harmed, and
 * a new connection works.
 *
 * The odd things that protocols and servers are known for, and where they are tested:
 *
 *   endless body, endless head, endless line of a cursor   here
 *   lengths that are wrong, doubled, no numbers; chunks     here
 *   no HTTP at all                                          here
 *   one past each ceiling: body, depth, rows, request       here
 *   huge numbers, wrong types, doubled and missing members  here
 *   truncated, overlong and lone UTF-8 and UTF-16           here
 *   broken base64                                           here
 *   padded and unpadded base64, null and absent members     driver_libsql (odd_but_lawful_…)
 *   row ids as numbers and as strings, unknown members      driver_libsql
 *   unknown cursor entries                                  driver_libsql_streams (cursors_…)
 *   HTML for errors, errors without a code                  driver_libsql, driver_neon (odd)
 *   500 for what breaks the protocol                        here (in a stream), driver_neon (odd)
 *   base_url: followed, refused, away                       driver_libsql_streams
 *   batons reused, expired, forgotten                       driver_libsql_streams
 *   every field of an error, 413, 429, 503, 507             driver_libsql, driver_neon
 *   bodies that repeat what was sent                        driver_http_secrets
 *   late, silent, cut off                                   driver_http_network
 *   any bytes at all                                        fuzz_hrana_answer, fuzz_neon_answer
 */
#include "driver/http_front.h"

#define READ "SELECT 'odd' FROM t"
#define WRITE "INSERT INTO odd VALUES (1)"

/* A body in an answer that is fine otherwise. */
static size_t answer_of(char *out, size_t room, int status, const char *body)
{
  const int size = snprintf(out, room,
                            "HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: "
                            "%zu\r\n\r\n%s",
                            status, strlen(body), body);
  assert_true(size > 0 && (size_t)size < room);
  return (size_t)size;
}

static void ask(struct front *front, const char *sql, cenote_status status, const char *what)
{
  const int64_t before = cen_now_ns();
  const cenote_status got = front_run(front, sql, 20000);
  if (got != status) {
    fail_msg("%s, %s, %.400s: %s, %s (%s)", front_name(front), sql, what, cenote_status_name(got),
             front->error.message, front->error.details);
  }
  assert_true(cen_now_ns() - before < INT64_C(15000000000)); /* it did not wait for its time */
}

/* Not understood: of Neon's a read is asked again first, where it cannot write. */
static cenote_status misread(const struct front *front)
{
  return front->kind == FRONT_LIBSQL ? CENOTE_IO : CENOTE_CONNECTION_LOST;
}

/* ---------------------------------------------------------------- bodies */

#define RESULT(cols, rows, more)                                                                  \
  "{\"baton\":null,\"results\":[{\"type\":\"ok\",\"response\":{\"type\":\"execute\",\"result\":{" \
  "\"cols\":" cols ",\"rows\":" rows more "}}}," FRONT_CLOSE "]}"
#define COUNTS ",\"affected_row_count\":0,\"last_insert_rowid\":null"
#define VALUE(value) RESULT("[{\"name\":\"a\"}]", "[[" value "]]", COUNTS)
#define NEON(fields, rows, more) "{\"fields\":" fields ",\"rows\":" rows more "}"
#define FIELDS "[{\"name\":\"a\",\"dataTypeID\":25}]"
#define CELL(cell) NEON(FIELDS, "[[" cell "]]", ",\"command\":\"SELECT\",\"rowCount\":1")
#define TEXT(text) VALUE("{\"type\":\"text\",\"value\":\"" text "\"}")
#define LONG_NUMBER                                                                          \
  "1234567890123456789012345678901234567890123456789012345678901234567890123456789012345678" \
  "90"

static const char *const garbage[FRONTS][40] = {
    [FRONT_LIBSQL] =
        {
            "",
            "null",
            "[]",
            "\xef\xbb\xbf{}",
            "{\"baton\":null}",
            "{\"baton\":null,\"results\":{}}",
            "{\"baton\":null,\"results\":[" FRONT_CLOSE "," FRONT_CLOSE "," FRONT_CLOSE "]}",
            "{\"baton\":[],\"results\":[" FRONT_CLOSE "," FRONT_CLOSE "]}",
            "{\"base_url\":7,\"results\":[" FRONT_CLOSE "," FRONT_CLOSE "]}",
            FRONT_ROW "}",
            "{\"baton\":null," FRONT_ROW,
            "{\"results\":[{\"type\":\"maybe\"}," FRONT_CLOSE "]}",
            "{\"results\":[{\"type\":\"ok\"}," FRONT_CLOSE "]}",
            "{\"results\":[{\"type\":\"error\"}," FRONT_CLOSE "]}",
            "{\"results\":[{\"type\":\"error\",\"error\":\"no\"}," FRONT_CLOSE "]}",
            RESULT("{}", "[]", COUNTS),
            RESULT("[7]", "[[]]", COUNTS),
            RESULT("[]", "{}", COUNTS),
            RESULT("[{\"name\":\"a\"}]", "[{}]", COUNTS),
            RESULT("[{\"name\":\"a\"}]", "[[]]", COUNTS),
            RESULT("[]", "[[{\"type\":\"null\"}]]", COUNTS),
            RESULT("[]", "[]", ",\"affected_row_count\":\"many\""),
            RESULT("[]", "[]", ",\"affected_row_count\":1e400"),
            RESULT("[]", "[]", ",\"last_insert_rowid\":\"99999999999999999999\""),
            RESULT("[]", "[]", ",\"last_insert_rowid\":true"),
            VALUE("7"),
            VALUE("{}"),
            VALUE("{\"type\":\"money\",\"value\":\"1\"}"),
            VALUE("{\"type\":\"integer\",\"value\":\"1.5\"}"),
            VALUE("{\"type\":\"integer\",\"value\":\"" LONG_NUMBER "\"}"),
            VALUE("{\"type\":\"integer\",\"value\":\"\"}"),
            VALUE("{\"type\":\"text\",\"value\":7}"),
            VALUE("{\"type\":\"text\"}"),
            VALUE("{\"type\":\"blob\",\"base64\":\"A*==\"}"),
            VALUE("{\"type\":\"blob\",\"base64\":\"A\"}"),
            TEXT("\xe2\x82"),
            TEXT("\xc0\xaf"),
            TEXT("\xed\xa0\x80"),
            TEXT("\\ud800"),
        },
    [FRONT_NEON] =
        {
            "",
            "null",
            "[]",
            "{}",
            "\xef\xbb\xbf{}",
            "\"query is not supported\"",
            "{\"results\":[]}",
            "{\"results\":{}}",
            FRONT_NEON_ROW "]",
            FRONT_NEON_ROW FRONT_NEON_ROW,
            NEON("{}", "[]", ""),
            NEON("[7]", "[[null]]", ""),
            NEON("[{\"name\":7,\"dataTypeID\":25}]", "[]", ""),
            NEON("[{\"name\":\"a\",\"dataTypeID\":\"text\"}]", "[]", ""),
            NEON("[{\"name\":\"a\",\"dataTypeID\":1e30}]", "[]", ""),
            NEON(FIELDS, "{}", ""),
            NEON(FIELDS, "[7]", ""),
            NEON(FIELDS, "[[]]", ""),
            NEON(FIELDS, "[[null,null]]", ""),
            NEON(FIELDS, "[]", ",\"rowCount\":\"many\""),
            NEON(FIELDS, "[]", ",\"rowCount\":1e400"),
            NEON(FIELDS, "[]", ",\"command\":7"),
            CELL("\"\xe2\x82\""),
            CELL("\"\xc0\xaf\""),
            CELL("\"\xed\xa0\x80\""),
            CELL("\"\\ud800\""),
        },
};

static void bodies_that_make_no_sense_are_not_understood(void **state)
{
  static char bytes[8192];
  (void)state;
  for (int kind = 0; kind < FRONTS; kind++) {
    struct front front;
    front_serve(&front, kind);
    front_open(&front, NULL);
    for (size_t i = 0; i < 40 && garbage[kind][i]; i++) {
      front.bytes = bytes;
      front.size = answer_of(bytes, sizeof bytes, 200, garbage[kind][i]);
      ask(&front, READ, misread(&front), garbage[kind][i]);
      ask(&front, WRITE, CENOTE_OUTCOME_UNKNOWN, garbage[kind][i]);
      front_still_works(&front);
    }
    front_end(&front);
  }
}

/* ---------------------------------------------------------------- HTTP itself */

static const char *const heads[] = {
    "hello\r\n",
    "HTTP/1.1 abc\r\n\r\n",
    "HTTP/9.9 200 OK\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{}",
    "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n{}",
    "HTTP/1.1 200 OK\r\nContent-Length: abc\r\n\r\n{}",
    "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 900\r\n\r\n{}",
    "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999999\r\n\r\n{}",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffffff\r\n{}",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"re",
    "HTTP/1.1 100 Continue\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08z",
    "",
};

static void answers_that_are_no_http_are_not_believed(void **state)
{
  (void)state;
  for (int kind = 0; kind < FRONTS; kind++) {
    struct front front;
    front_serve(&front, kind);
    front_open(&front, NULL);
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
      front.bytes = heads[i];
      front.size = strlen(heads[i]);
      front.then = SCRIPT_CLOSE;
      const cenote_status status = front_run(&front, READ, 20000);
      if (status != CENOTE_IO && status != CENOTE_CONNECTION_LOST && status != CENOTE_TOO_LARGE) {
        fail_msg("%s, %s: %s", front_name(&front), heads[i], cenote_status_name(status));
      }
      front_still_works(&front);
      const cenote_status wrote = front_run(&front, WRITE, 20000);
      if (wrote != CENOTE_OUTCOME_UNKNOWN && wrote != CENOTE_TOO_LARGE) {
        fail_msg("%s, %s: %s", front_name(&front), heads[i], cenote_status_name(wrote));
      }
      front_still_works(&front);
    }
    front_end(&front);
  }
}

#define ENDLESS_CHUNK                                                                              \
  "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nfffffff" \
  "\r\n"

/* The server never ends; we do. */
static void what_never_ends_is_cut_off(void **state)
{
  enum { MUCH = 4 << 20 };
  static const char *const begins[] = {
      "HTTP/1.1 200 OK\r\nX: ",
      "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{\"baton\":\"",
      ENDLESS_CHUNK,
      "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99999999999\r\n\r\n[",
  };
  char *bytes = malloc(MUCH);
  (void)state;
  assert_non_null(bytes);
  for (int kind = 0; kind < FRONTS; kind++) {
    struct front front;
    front_serve(&front, kind);
    front.max_result_bytes = "1"; /* 1 MiB and two bytes of JSON */
    front_open(&front, NULL);
    for (size_t i = 0; i < sizeof begins / sizeof begins[0]; i++) {
      memset(bytes, ' ', MUCH);
      memcpy(bytes, begins[i], strlen(begins[i]));
      front.bytes = bytes;
      front.size = MUCH;
      front.then = SCRIPT_HANG;
      for (int write = 0; write < 2; write++) {
        const cenote_status status = front_run(&front, write ? WRITE : READ, 20000);
        /* for a line of the head that is too long libcurl says that it has no memory */
        const bool fine =
            status == CENOTE_TOO_LARGE ||
            (i == 0 && (write ? status == CENOTE_OUTCOME_UNKNOWN
                              : status == CENOTE_CONNECTION_LOST || status == CENOTE_NO_MEMORY));
        if (!fine) {
          fail_msg("%s, %zu: %s, %s", front_name(&front), i, cenote_status_name(status),
                   front.error.message);
        }
        front_still_works(&front);
      }
    }
    front_end(&front);
  }
  free(bytes);
}

/* Neon's driver would know by a result that the statement was executed: these are none. */
static void what_never_ends_and_is_no_result_says_nothing_of_the_statement(void **state)
{
  static const char *const pieces[] = {"HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n", " "};
  enum { MUCH = 4 << 20 };
  char *bytes = malloc(MUCH + 64);
  (void)state;
  assert_non_null(bytes);
  for (size_t i = 0; i < 2; i++) {
    static const char page[] = "HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\n\r\n";
    const size_t piece = strlen(pieces[i]);
    size_t size = i == 1 ? sizeof page - 1 : 0;
    memcpy(bytes, page, size);
    for (; size < MUCH; size += piece) {
      memcpy(bytes + size, pieces[i], piece);
    }
    for (int kind = 0; kind < FRONTS; kind++) {
      struct front front;
      front_serve(&front, kind);
      front.max_result_bytes = "1";
      front_open(&front, NULL);
      front.bytes = bytes;
      front.size = size;
      front.then = SCRIPT_HANG;
      const bool neon = strcmp(front_name(&front), "neon") == 0;
      assert_int_equal(front_run(&front, WRITE, 20000),
                       neon ? CENOTE_OUTCOME_UNKNOWN : CENOTE_TOO_LARGE);
      assert_null(strstr(front.error.details, "it was executed"));
      assert_int_equal(front_run(&front, READ, 20000),
                       neon ? CENOTE_CONNECTION_LOST : CENOTE_TOO_LARGE);
      front_still_works(&front);
      front_end(&front);
    }
  }
  free(bytes);
}

/* ---------------------------------------------------------------- ceilings, and one past each */

static void a_body_may_be_as_large_as_the_ceiling(void **state)
{
  enum { CEILING = 2 + (1 << 20), ROOM = CEILING + 4096 };
  char *body = malloc(ROOM);
  char *bytes = malloc(ROOM);
  (void)state;
  assert_true(body != NULL && bytes != NULL);
  for (int kind = 0; kind < FRONTS; kind++) {
    struct front front;
    front_serve(&front, kind);
    front.max_result_bytes = "1";
    front_open(&front, NULL);
    for (size_t past = 0; past < 2; past++) {
      const char *fine = kind == FRONT_LIBSQL ? FRONT_ROW : FRONT_NEON_ROW;
      memset(body, ' ', ROOM);
      memcpy(body, fine, strlen(fine));
      body[CEILING + past] = '\0';
      front.bytes = bytes;
      front.size = answer_of(bytes, ROOM, 200, body);
      ask(&front, WRITE, past ? CENOTE_TOO_LARGE : CENOTE_OK, "a large body");
      front_still_works(&front);
    }
    front_end(&front);
  }
  free(body);
  free(bytes);
}

/* An unknown member that is nested so deep, inside the object itself. */
static void nest(char *out, size_t room, const char *fine, size_t depth)
{
  size_t used = (size_t)snprintf(out, room, "{\"unknown\":");
  memset(out + used, '[', depth - 1);
  used += depth - 1;
  memset(out + used, ']', depth - 1);
  used += depth - 1;
  (void)snprintf(out + used, room - used, ",%s", fine + 1);
}

static void a_body_may_be_as_deep_as_the_ceiling(void **state)
{
  enum { CEILING = 128 };
  static char body[4096];
  static char bytes[8192];
  (void)state;
  for (int kind = 0; kind < FRONTS; kind++) {
    struct front front;
    front_serve(&front, kind);
    front_open(&front, NULL);
    for (size_t past = 0; past < 2; past++) {
      nest(body, sizeof body, kind == FRONT_LIBSQL ? FRONT_ROW : FRONT_NEON_ROW, CEILING + past);
      front.bytes = bytes;
      front.size = answer_of(bytes, sizeof bytes, 200, body);
      const cenote_status status = front_run(&front, WRITE, 20000);
      const bool fine = past ? status == CENOTE_OUTCOME_UNKNOWN || status == CENOTE_TOO_LARGE
                             : status == CENOTE_OK;
      if (!fine) {
        fail_msg("%s, %zu past: %s, %s (%s)", front_name(&front), past, cenote_status_name(status),
                 front.error.message, front.error.details);
      }
    }
    front_end(&front);
  }
}

static void a_result_may_have_as_many_rows_as_the_ceiling(void **state)
{
  static const char *const bodies[FRONTS] = {
      RESULT("[{\"name\":\"a\"}]", "[[{\"type\":\"null\"}],[{\"type\":\"null\"}]]", COUNTS),
      NEON(FIELDS, "[[null],[null]]", ",\"command\":\"SELECT\",\"rowCount\":2")};
  static char bytes[4096];
  (void)state;
  for (int kind = 0; kind < FRONTS; kind++) {
    struct front front;
    front_serve(&front, kind);
    front_open(&front, NULL);
    front.bytes = bytes;
    front.size = answer_of(bytes, sizeof bytes, 200, bodies[kind]);
    for (uint64_t most = 1; most <= 2; most++) {
      struct cenote_sink sink;
      const cenote_request request = {.size = sizeof request,
                                      .kind = CENOTE_REQUEST_EXECUTE,
                                      .sql = READ,
                                      .sink = &sink,
                                      .deadline_ns = cen_deadline_ns(cen_now_ns(), 20000)};
      assert_int_equal(cen_sink_init_result(&sink, most, 0, NULL), CENOTE_OK);
      assert_int_equal(rig_run(&front.rig, front.connection, &request, &front.error),
                       most == 2 ? CENOTE_OK : CENOTE_TOO_LARGE);
      cen_sink_deinit(&sink);
      assert_int_equal(front.rig.driver->session(front.connection), 0);
    }
    front_end(&front);
  }
}

/* 256 MiB of JSON, and what little is around the arguments. The pages are nobody's: zeros. */
static void a_request_beyond_its_ceiling_is_not_sent(void **state)
{
  const size_t size = (size_t)64 << 20;
  char *zeros = calloc(1, size);
  (void)state;
  assert_non_null(zeros);
  for (int kind = 0; kind < FRONTS; kind++) {
    const cenote_value args[] = {cenote_blob(zeros, size), cenote_blob(zeros, size),
                                 cenote_blob(zeros, size)};
    /* base64 makes four bytes of three, hexadecimal digits two of one */
    const size_t count = kind == FRONT_LIBSQL ? 3 : 2;
    struct front front;
    cenote_result *result;
    front_serve(&front, kind);
    front_open(&front, NULL);
    assert_int_equal(rig_execute(&front.rig, front.connection,
                                 count == 3 ? "SELECT 'odd', ?, ?, ?" : "SELECT 'odd', ?, ?", args,
                                 count, 60000, &result, &front.error),
                     CENOTE_TOO_LARGE);
    assert_int_equal(front.asked, 0);
    front_still_works(&front);
    front_end(&front);
  }
  free(zeros);
}

/* ---------------------------------------------------------------- streams */

/* The first page of a cursor is fine; its line never ends. And a server that calls a violation of
 * the protocol its own failure. */
static void a_line_of_a_cursor_has_a_ceiling(void **state)
{
  enum { MUCH = 4 << 20 };
  static const char begin[] =
      "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
      "fffffff\r\n{\"baton\":null}\n{\"type\":\"step_begin\",\"step\":0,\"cols\":[{\"name\":\"a\"}]}\n"
      "{\"type\":\"row\",\"row\":[{\"type\":\"text\",\"value\":\"";
  char *bytes = malloc(MUCH);
  struct front front;
  struct cenote_sink sink;
  (void)state;
  assert_non_null(bytes);
  memset(bytes, 'x', MUCH);
  memcpy(bytes, begin, sizeof begin - 1);
  front_serve(&front, FRONT_LIBSQL);
  front.max_result_bytes = "1";
  front_open(&front, NULL);
  front.bytes = bytes;
  front.size = MUCH;
  front.then = SCRIPT_HANG;
  const cenote_request request = {.size = sizeof request,
                                  .kind = CENOTE_REQUEST_EXECUTE,
                                  .flags = CENOTE_REQUEST_STREAM,
                                  .sql = READ,
                                  .sink = &sink,
                                  .deadline_ns = cen_deadline_ns(cen_now_ns(), 20000)};
  assert_int_equal(cen_sink_init_result(&sink, 0, 0, NULL), CENOTE_OK);
  assert_int_equal(rig_run(&front.rig, front.connection, &request, &front.error), CENOTE_TOO_LARGE);
  cen_sink_deinit(&sink);
  front_still_works(&front);
  front_end(&front);
  free(bytes);
}

static void a_500_in_a_transaction_is_its_end(void **state)
{
  static char bytes[1024];
  struct front front;
  (void)state;
  front_serve(&front, FRONT_LIBSQL);
  front_open(&front, NULL);
  for (int write = 0; write < 2; write++) {
    front.bytes = bytes;
    front.size = answer_of(bytes, sizeof bytes, 200,
                           "{\"baton\":\"b\",\"results\":[{\"type\":\"ok\",\"response\":{\"type\":"
                           "\"execute\",\"result\":{\"cols\":[],\"rows\":[]" COUNTS "}}},{\"type\":"
                           "\"ok\",\"response\":{\"type\":\"get_autocommit\",\"is_autocommit\":"
                           "false}}]}");
    assert_int_equal(front_run(&front, "BEGIN /* odd */", 20000), CENOTE_OK);
    assert_int_equal(front.rig.driver->session(front.connection), CENOTE_SESSION_IN_TRANSACTION);
    front.size = answer_of(bytes, sizeof bytes, 500, "Internal Server Error");
    ask(&front, write ? WRITE : READ, CENOTE_CONNECTION_LOST, "500");
    assert_true(front.rig.driver->session(front.connection) & CENOTE_SESSION_BROKEN);
    front_still_works(&front);
  }
  front_end(&front);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(bodies_that_make_no_sense_are_not_understood),
      cmocka_unit_test(answers_that_are_no_http_are_not_believed),
      cmocka_unit_test(what_never_ends_is_cut_off),
      cmocka_unit_test(what_never_ends_and_is_no_result_says_nothing_of_the_statement),
      cmocka_unit_test(a_body_may_be_as_large_as_the_ceiling),
      cmocka_unit_test(a_body_may_be_as_deep_as_the_ceiling),
      cmocka_unit_test(a_result_may_have_as_many_rows_as_the_ceiling),
      cmocka_unit_test(a_request_beyond_its_ceiling_is_not_sent),
      cmocka_unit_test(a_line_of_a_cursor_has_a_ceiling),
      cmocka_unit_test(a_500_in_a_transaction_is_its_end),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
