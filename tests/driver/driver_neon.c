/* The Neon driver against a server whose answers are written byte by byte: what it sends, and what
 * it makes of odd answers and of connections that die. */
#include "driver/rig.h"
#include "net/clock.h"
#include "support/http_script.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

extern const cenote_driver cen_driver_neon;

#define ONE_ROW                                                                                  \
  "{\"fields\":[{\"name\":\"n\",\"dataTypeID\":23}],\"rows\":[[\"42\"]],\"command\":\"SELECT\"," \
  "\"rowCount\":1,\"rowAsArray\":true}"

/* What the server says to each request in turn, but to those that open; the last is repeated. */
struct said {
  int status;
  const char *type, *body; /* body NULL: nothing, and then */
  enum script_then then;
};

struct scene {
  struct http_script *script;
  struct rig rig;
  cenote_connection *connection;
  const struct said *says;
  int count, asked, on; /* on: the connection that the last one came on */
  char head[4][2048];   /* of the requests that were no probes */
  char body[4][2048];
  char url[512];
};

static const char *settings[8][2];

static const char *setting(const void *context, const char *name)
{
  (void)context;
  for (size_t i = 0; i < 8 && settings[i][0]; i++) {
    if (strcmp(settings[i][0], name) == 0) {
      return settings[i][1];
    }
  }
  return NULL;
}

static void answer(void *context, const struct script_request *request, struct script_answer *out)
{
  struct scene *scene = context;
  scene->on = request->connection;
  if (strstr(request->body, "\"SELECT 1\"")) {
    script_say(out, 200, "application/json", ONE_ROW);
    return;
  }
  const int at = scene->asked++;
  const struct said *said = &scene->says[at < scene->count ? at : scene->count - 1];
  if (at < 4) {
    (void)snprintf(scene->head[at], sizeof scene->head[at], "%s", request->head);
    (void)snprintf(scene->body[at], sizeof scene->body[at], "%s", request->body);
  }
  if (said->body) {
    script_say(out, said->status, said->type ? said->type : "application/json", said->body);
  }
  out->then = said->then;
}

static cenote_status scene_open(struct scene *scene, const char *url, cenote_error *error)
{
  scene->rig = (struct rig){.driver = &cen_driver_neon,
                            .params = {.size = sizeof scene->rig.params, .url = url}};
  scene->rig.params.setting = setting;
  const cenote_status status =
      cen_driver_neon.shared_new(&scene->rig.params, &scene->rig.shared, error);
  scene->rig.params.shared = scene->rig.shared;
  return status;
}

static void scene_start(struct scene *scene, const struct said *says, int count)
{
  cenote_error error = CENOTE_ERROR_INIT;
  memset(scene, 0, sizeof *scene);
  scene->says = says;
  scene->count = count;
  scene->script = http_script_start(answer, scene, SCRIPT_PLAIN);
  assert_non_null(scene->script);
  (void)snprintf(
      scene->url, sizeof scene->url,
      "neon://us%%2Fer:hunter2%%40@ep-1.example/d%%20b?sslmode=require&endpoint=%s/sql&x=%%31",
      http_script_url(scene->script));
  assert_int_equal(scene_open(scene, scene->url, &error), CENOTE_OK);
  scene->connection = rig_connect(&scene->rig, &error);
  if (!scene->connection) {
    fail_msg("%s", error.message);
  }
}

static void scene_end(struct scene *scene)
{
  rig_disconnect(&scene->rig, scene->connection);
  rig_close(&scene->rig);
  http_script_stop(scene->script);
}

static cenote_status run(struct scene *scene, const char *sql, int64_t timeout_ms,
                         cenote_result **result, cenote_error *error)
{
  *error = (cenote_error)CENOTE_ERROR_INIT;
  const cenote_status status =
      rig_execute(&scene->rig, scene->connection, sql, NULL, 0, timeout_ms, result, error);
  assert_null(strstr(error->message, "hunter2"));
  assert_null(strstr(error->details, "hunter2"));
  return status;
}

static bool has(const char *text, const char *part)
{
  return strstr(text, part) != NULL;
}

/* ---------------------------------------------------------------- what is sent */

static void a_request_says_what_the_protocol_asks_for(void **state)
{
  static const struct said says[] = {{200, NULL, ONE_ROW, SCRIPT_KEEP}};
  struct scene scene;
  cenote_result *result;
  const cenote_value args[] = {cenote_integer(7), cenote_null(), cenote_text("a\"b"),
                               cenote_blob("\x01\xff", 2)};
  (void)state;
  scene_start(&scene, says, 1);
  assert_int_equal(
      rig_execute(&scene.rig, scene.connection, "SELECT ?, ?, ?, ?", args, 4, 20000, &result, NULL),
      CENOTE_OK);
  assert_int_equal(cenote_result_integer(result, 0, 0), 42);
  assert_int_equal(cenote_result_value(result, 0, 0).type, CENOTE_INTEGER);
  cenote_result_free(result);
  const char *head = scene.head[0];
  assert_true(has(head, "POST /sql HTTP/1.1\r\n"));
  assert_true(has(head, "\r\nContent-Type: application/json\r\n"));
  assert_true(has(head, "\r\nNeon-Raw-Text-Output: true\r\n"));
  assert_true(has(head, "\r\nNeon-Array-Mode: true\r\n"));
  assert_true(has(head,
                  "\r\nNeon-Connection-String: "
                  "postgresql://us%2Fer:hunter2%40@ep-1.example/d%20b?sslmode=require&x=%31\r\n"));
  assert_false(has(head, "Neon-Batch"));
  assert_string_equal(scene.body[0], "{\"query\":\"SELECT $1, $2, $3, $4\",\"params\":"
                                     "[\"7\",null,\"a\\\"b\",\"\\\\x01ff\"]}");
  scene_end(&scene);
}

static cenote_status run_batch(struct scene *scene, cenote_request *request,
                               cenote_result *results[2], cenote_error *error)
{
  static const cenote_statement statements[] = {{.sql = "SELECT 2"}, {.sql = "SELECT 3"}};
  struct cenote_sink sinks[2];
  cenote_sink *list[2] = {&sinks[0], &sinks[1]};
  request->size = sizeof *request;
  request->kind = CENOTE_REQUEST_BATCH;
  request->statements = statements;
  request->statement_count = 2;
  request->sinks = list;
  request->deadline_ns = cen_deadline_ns(cen_now_ns(), 20000);
  for (int i = 0; i < 2; i++) {
    assert_int_equal(cen_sink_init_result(&sinks[i], 0, 0, NULL), CENOTE_OK);
  }
  const cenote_status status = rig_run(&scene->rig, scene->connection, request, error);
  for (int i = 0; i < 2; i++) {
    results[i] = cen_sink_take(&sinks[i]);
    cen_sink_deinit(&sinks[i]);
  }
  return status;
}

static void a_batch_is_one_request_with_its_isolation(void **state)
{
  static const struct said says[] = {
      {200, NULL, "{\"results\":[" ONE_ROW "," ONE_ROW "]}", SCRIPT_KEEP},
      {200, NULL, "{\"results\":[" ONE_ROW "]}", SCRIPT_KEEP},
      {400, NULL, "{\"message\":\"no\",\"code\":\"40001\"}", SCRIPT_KEEP}};
  struct scene scene;
  cenote_result *results[2];
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_request request = {
      .mode = CENOTE_BATCH_READ, .isolation = CENOTE_SERIALIZABLE, .deferrable = true};
  (void)state;
  scene_start(&scene, says, 3);
  assert_int_equal(run_batch(&scene, &request, results, NULL), CENOTE_OK);
  assert_int_equal(cenote_result_integer(results[1], 0, 0), 42);
  cenote_result_free(results[0]);
  cenote_result_free(results[1]);
  assert_string_equal(scene.body[0], "{\"queries\":[{\"query\":\"SELECT 2\",\"params\":[]},"
                                     "{\"query\":\"SELECT 3\",\"params\":[]}]}");
  assert_true(has(scene.head[0], "\r\nNeon-Batch-Isolation-Level: Serializable\r\n"));
  assert_true(has(scene.head[0], "\r\nNeon-Batch-Read-Only: true\r\n"));
  assert_true(has(scene.head[0], "\r\nNeon-Batch-Deferrable: true\r\n"));
  /* an answer with too few results; then a failure of the database */
  request = (cenote_request){.mode = CENOTE_BATCH_WRITE};
  assert_int_not_equal(run_batch(&scene, &request, results, &error), CENOTE_OK);
  cenote_result_free(results[0]);
  cenote_result_free(results[1]);
  assert_false(has(scene.head[1], "Neon-Batch"));
  assert_int_equal(run_batch(&scene, &request, results, &error), CENOTE_DATABASE);
  assert_string_equal(error.sqlstate, "40001");
  assert_true(error.retryable);
  cenote_result_free(results[0]);
  cenote_result_free(results[1]);
  scene_end(&scene);
}

static void what_needs_a_session_is_refused_and_not_sent(void **state)
{
  static const char *const texts[] = {"BEGIN",
                                      "commit",
                                      "SAVEPOINT a",
                                      "SET search_path = app",
                                      "LISTEN x",
                                      "CREATE TEMP TABLE t (a int)",
                                      "PREPARE q AS SELECT 1",
                                      "SELECT pg_advisory_lock(1)"};
  static const struct said says[] = {{200, NULL, ONE_ROW, SCRIPT_KEEP}};
  struct scene scene;
  (void)state;
  scene_start(&scene, says, 1);
  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
    cenote_result *result;
    cenote_error error;
    assert_int_equal(run(&scene, texts[i], 20000, &result, &error), CENOTE_UNSUPPORTED);
    assert_true(has(error.message, "HTTP") && has(error.message, "postgres://"));
  }
  cenote_error error = CENOTE_ERROR_INIT;
  assert_int_equal(rig_begin(&scene.rig, scene.connection, CENOTE_BATCH_WRITE, &error),
                   CENOTE_UNSUPPORTED);
  assert_true(has(error.message, "cenote_batch"));
  assert_int_equal(scene.asked, 0);
  assert_int_equal(cen_driver_neon.session(scene.connection), 0);
  scene_end(&scene);
}

/* ---------------------------------------------------------------- odd answers */

static void every_field_of_an_error_comes_along(void **state)
{
  static const struct said says[] = {
      {400, NULL,
       "{\"message\":\"duplicate key\",\"code\":\"23505\",\"severity\":\"ERROR\",\"detail\":\"(1) is "
       "there\",\"hint\":\"another\",\"position\":\"3\",\"internalPosition\":\"4\","
       "\"internalQuery\":\"iq\",\"where\":\"w\",\"table\":\"t\",\"column\":\"c\",\"schema\":\"s\","
       "\"dataType\":\"d\",\"constraint\":\"n\",\"file\":\"f.c\",\"line\":\"5\",\"routine\":\"r\","
       "\"unheard\":[1,{}]}",
       SCRIPT_KEEP}};
  static const char fields[][2][16] = {{"S", "ERROR"},   {"D", "(1) is there"},
                                       {"H", "another"}, {"P", "3"},
                                       {"p", "4"},       {"q", "iq"},
                                       {"W", "w"},       {"t", "t"},
                                       {"c", "c"},       {"s", "s"},
                                       {"d", "d"},       {"n", "n"},
                                       {"F", "f.c"},     {"L", "5"},
                                       {"R", "r"}};
  struct scene scene;
  cenote_result *result;
  cenote_error error;
  (void)state;
  scene_start(&scene, says, 1);
  assert_int_equal(run(&scene, "INSERT INTO t VALUES (1)", 20000, &result, &error),
                   CENOTE_DATABASE);
  assert_string_equal(error.sqlstate, "23505");
  assert_string_equal(error.message, "duplicate key");
  for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
    assert_string_equal(cenote_error_field(&error, fields[i][0][0]), fields[i][1]);
  }
  scene_end(&scene);
}

static const struct {
  struct said said;
  cenote_status read, write;
} odd[] = {
    {{200, "text/plain", "{\"rows\":[],\"command\":\"DELETE\",\"new\":{}}", SCRIPT_KEEP},
     CENOTE_OK,
     CENOTE_OK},
    {{200, NULL, "{\"fields\":[{\"name\":\"n\",\"dataTypeID\":23}],\"rows\":[[42],[null]]}",
      SCRIPT_KEEP},
     CENOTE_OK,
     CENOTE_OK},
    /* below 500 it was refused for what it is */
    {{400, "text/html", "<html>", SCRIPT_KEEP}, CENOTE_IO, CENOTE_IO},
    {{404, "text/html", "<html>", SCRIPT_KEEP}, CENOTE_IO, CENOTE_IO},
    {{302, NULL, "", SCRIPT_KEEP}, CENOTE_IO, CENOTE_IO},
    {{401, NULL, "", SCRIPT_KEEP}, CENOTE_AUTH, CENOTE_AUTH},
    {{400, NULL, "{\"message\":\"password authentication failed for user 'u'\"}", SCRIPT_KEEP},
     CENOTE_AUTH,
     CENOTE_AUTH},
    {{413, NULL, "{\"message\":\"large\"}", SCRIPT_KEEP}, CENOTE_TOO_LARGE, CENOTE_TOO_LARGE},
    {{507, NULL, "{\"message\":\"large\"}", SCRIPT_KEEP}, CENOTE_TOO_LARGE, CENOTE_TOO_LARGE},
    {{400, NULL, "{\"message\":\"slow\",\"code\":\"57014\"}", SCRIPT_KEEP},
     CENOTE_STATEMENT_TIMEOUT,
     CENOTE_STATEMENT_TIMEOUT},
    /* refused unread: nothing remains */
    {{429, NULL, "{\"msg\":\"slow down\"}", SCRIPT_KEEP},
     CENOTE_CONNECTION_LOST,
     CENOTE_CONNECTION_LOST},
    {{503, NULL, "{\"msg\":\"overload\"}", SCRIPT_KEEP},
     CENOTE_CONNECTION_LOST,
     CENOTE_CONNECTION_LOST},
    /* nobody knows: proxies say it, too, when they have passed the request on */
    {{503, "text/plain", "upstream connect error or disconnect/reset before headers", SCRIPT_KEEP},
     CENOTE_CONNECTION_LOST,
     CENOTE_OUTCOME_UNKNOWN},
    {{503, NULL, "{\"message\":\"Service Unavailable\"}", SCRIPT_KEEP},
     CENOTE_CONNECTION_LOST,
     CENOTE_OUTCOME_UNKNOWN},
    {{502, "text/html",
      "<html>it was postgresql://us%2Fer:hunter2%40@ep-1.example and hunter2@</html>", SCRIPT_KEEP},
     CENOTE_CONNECTION_LOST,
     CENOTE_OUTCOME_UNKNOWN},
    {{502, "text/html", "<html>bad</html>", SCRIPT_KEEP},
     CENOTE_CONNECTION_LOST,
     CENOTE_OUTCOME_UNKNOWN},
    {{500, NULL, "{\"message\":\"backend\",\"code\":\"\"}", SCRIPT_KEEP},
     CENOTE_CONNECTION_LOST,
     CENOTE_OUTCOME_UNKNOWN},
    {{200, NULL, "", SCRIPT_KEEP}, CENOTE_CONNECTION_LOST, CENOTE_OUTCOME_UNKNOWN},
    {{200, NULL, "{\"rows\":[[", SCRIPT_KEEP}, CENOTE_CONNECTION_LOST, CENOTE_OUTCOME_UNKNOWN},
    {{200, NULL, "{\"results\":[]}", SCRIPT_KEEP}, CENOTE_CONNECTION_LOST, CENOTE_OUTCOME_UNKNOWN},
    {{200, NULL, "[]", SCRIPT_KEEP}, CENOTE_CONNECTION_LOST, CENOTE_OUTCOME_UNKNOWN},
    {{0, NULL, NULL, SCRIPT_CLOSE}, CENOTE_CONNECTION_LOST, CENOTE_OUTCOME_UNKNOWN},
    {{0, NULL, NULL, SCRIPT_RESET}, CENOTE_CONNECTION_LOST, CENOTE_OUTCOME_UNKNOWN},
};

static void odd_answers_are_told_for_what_is_known(void **state)
{
  (void)state;
  for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
    struct scene scene;
    cenote_result *result;
    cenote_error error;
    scene_start(&scene, &odd[i].said, 1);
    cenote_status status = run(&scene, "SELECT a FROM t", 20000, &result, &error);
    cenote_result_free(result);
    if (status != odd[i].read) {
      fail_msg("%d %s, a read: %d %s", odd[i].said.status, odd[i].said.body, status, error.message);
    }
    const bool unknown = odd[i].write == CENOTE_OUTCOME_UNKNOWN;
    assert_int_equal(cen_driver_neon.session(scene.connection), unknown ? CENOTE_SESSION_SENT : 0);
    const int before = scene.asked;
    assert_int_equal(before, unknown ? 2 : 1);
    status = run(&scene, "DELETE FROM t", 20000, &result, &error);
    cenote_result_free(result);
    if (status != odd[i].write) {
      fail_msg("%d %s, a write: %d %s", odd[i].said.status, odd[i].said.body, status,
               error.message);
    }
    assert_int_equal(scene.asked, before + 1); /* a write goes out once, whatever happens */
    assert_int_equal(cen_driver_neon.session(scene.connection), 0);
    scene_end(&scene);
  }
}

static void a_read_that_was_lost_is_repeated_where_it_cannot_write(void **state)
{
  static const struct said fine[] = {{0, NULL, NULL, SCRIPT_RESET},
                                     {200, NULL, "{\"results\":[" ONE_ROW "]}", SCRIPT_KEEP}};
  static const struct said hidden[] = {
      {0, NULL, NULL, SCRIPT_RESET},
      {400, NULL, "{\"message\":\"read-only\",\"code\":\"25006\",\"severity\":\"ERROR\"}",
       SCRIPT_KEEP}};
  static const struct said away[] = {{0, NULL, NULL, SCRIPT_RESET},
                                     {503, NULL, "{\"msg\":\"overload\"}", SCRIPT_KEEP}};
  struct scene scene;
  cenote_result *result;
  cenote_error error;
  (void)state;
  scene_start(&scene, fine, 2);
  assert_int_equal(run(&scene, "SELECT a FROM v", 20000, &result, &error), CENOTE_OK);
  assert_int_equal(cenote_result_integer(result, 0, 0), 42);
  cenote_result_free(result);
  assert_int_equal(scene.asked, 2);
  assert_false(has(scene.head[0], "Neon-Batch-Read-Only"));
  assert_true(has(scene.head[1], "\r\nNeon-Batch-Read-Only: true\r\n"));
  assert_string_equal(scene.body[1],
                      "{\"queries\":[{\"query\":\"SELECT a FROM v\",\"params\":[]}]}");
  scene_end(&scene);
  /* it hides a write: nothing ran twice, and nobody knows about the first */
  scene_start(&scene, hidden, 2);
  assert_int_equal(run(&scene, "SELECT a FROM v", 20000, &result, &error), CENOTE_CONNECTION_LOST);
  assert_int_equal(cen_driver_neon.session(scene.connection), CENOTE_SESSION_SENT);
  assert_int_equal(scene.asked, 2);
  scene_end(&scene);
  /* a function may do what no transaction undoes; pg_notify writes */
  scene_start(&scene, hidden, 1);
  assert_int_equal(run(&scene, "SELECT f()", 20000, &result, &error), CENOTE_CONNECTION_LOST);
  assert_int_equal(cen_driver_neon.session(scene.connection), CENOTE_SESSION_SENT);
  assert_int_equal(run(&scene, "SELECT pg_notify('a', 'b')", 20000, &result, &error),
                   CENOTE_OUTCOME_UNKNOWN);
  assert_int_equal(scene.asked, 2);
  scene_end(&scene);
  /* the repetition never leaves: the first may have run all the same */
  scene_start(&scene, away, 2);
  assert_int_equal(run(&scene, "SELECT a FROM v", 20000, &result, &error), CENOTE_CONNECTION_LOST);
  assert_int_equal(cen_driver_neon.session(scene.connection), CENOTE_SESSION_SENT);
  assert_int_equal(scene.asked, 2);
  scene_end(&scene);
}

static void a_write_that_was_cancelled_is_not_called_cancelled(void **state)
{
  static const struct said says[] = {{0, NULL, NULL, SCRIPT_HANG}};
  struct scene scene;
  cenote_result *result;
  cenote_error error;
  (void)state;
  scene_start(&scene, says, 1);
  assert_int_equal(run(&scene, "DELETE FROM t", 200, &result, &error), CENOTE_OUTCOME_UNKNOWN);
  assert_int_equal(run(&scene, "SELECT a FROM t", 200, &result, &error), CENOTE_STATEMENT_TIMEOUT);
  assert_int_equal(scene.asked, 2);
  scene_end(&scene);
}

static void a_server_that_is_away_has_not_run_anything(void **state)
{
  static const struct said says[] = {{200, NULL, ONE_ROW, SCRIPT_CLOSE}};
  struct scene scene;
  cenote_result *result;
  cenote_error error;
  (void)state;
  scene_start(&scene, says, 1);
  http_script_stop(scene.script);
  assert_int_equal(run(&scene, "DELETE FROM t", 20000, &result, &error), CENOTE_CONNECTION_LOST);
  assert_int_equal(cen_driver_neon.session(scene.connection), 0);
  /* who opens now is told */
  assert_null(rig_connect(&scene.rig, &error));
  assert_int_equal(error.status, CENOTE_CONNECT);
  rig_disconnect(&scene.rig, scene.connection);
  rig_close(&scene.rig);
}

static void a_flush_uses_no_socket_again_and_asks_whoever_opens(void **state)
{
  static const struct said says[] = {{200, NULL, ONE_ROW, SCRIPT_KEEP}};
  struct scene scene;
  cenote_result *result;
  cenote_error error = CENOTE_ERROR_INIT;
  (void)state;
  scene_start(&scene, says, 1);
  for (int i = 0; i < 2; i++) {
    assert_int_equal(run(&scene, "SELECT 2", 20000, &result, &error), CENOTE_OK);
    cenote_result_free(result);
    assert_int_equal(scene.on, 0);
  }
  cen_driver_neon.flush(scene.rig.shared);
  const int before = http_script_requests(scene.script);
  rig_disconnect(&scene.rig, scene.connection);
  scene.connection = rig_connect(&scene.rig, &error);
  assert_non_null(scene.connection);
  assert_int_equal(http_script_requests(scene.script), before + 1);
  assert_int_not_equal(scene.on, 0);
  assert_int_equal(run(&scene, "SELECT 2", 20000, &result, &error), CENOTE_OK);
  cenote_result_free(result);
  assert_int_not_equal(scene.on, 0);
  /* when that is a while ago sockets are used again, but for those from before */
  const struct timespec while_ago = {.tv_sec = 2, .tv_nsec = 100000000};
  (void)nanosleep(&while_ago, NULL);
  assert_int_equal(run(&scene, "SELECT 2", 20000, &result, &error), CENOTE_OK);
  cenote_result_free(result);
  const int used = scene.on;
  assert_int_not_equal(used, 0);
  assert_int_equal(run(&scene, "SELECT 2", 20000, &result, &error), CENOTE_OK);
  cenote_result_free(result);
  assert_int_equal(scene.on, used);
  scene_end(&scene);
}

/* ---------------------------------------------------------------- the endpoint */

static void the_endpoint_follows_from_the_host_unless_it_is_named(void **state)
{
  static const struct {
    const char *url, *name, *value, *endpoint; /* NULL: CENOTE_CONFIG */
  } rows[] = {
      {"neon://u:p@ep-1.eu.aws.neon.tech/d", NULL, NULL, "https://api.eu.aws.neon.tech/sql"},
      {"postgres://u:p@ep-1-pooler.eu.aws.neon.tech:5432/d", NULL, NULL,
       "https://api.eu.aws.neon.tech/sql"},
      {"neon://u@ep-1.eu.aws.neon.tech/d", "auth_token", "t",
       "https://apiauth.eu.aws.neon.tech/sql"},
      {"neon://u:p@ep-1.eu.aws.neon.tech/d", "auth_token", "t", "https://api.eu.aws.neon.tech/sql"},
      {"neon://u:p@localhost/d", NULL, NULL, "https://localhost/sql"},
      {"neon://u:p@h.x/d?endpoint=https%3A%2F%2Fq.x%2Fs", "http_endpoint", "https://r.x/s",
       "https://q.x/s"},
      {"neon://u:p@h.x/d", "http_endpoint", "http://127.0.0.1:1/s", "http://127.0.0.1:1/s"},
      {"neon://u:p@127.0.0.1/d", NULL, NULL, NULL},
      {"neon://u:p@[::1]/d", NULL, NULL, NULL},
      {"neon://u:p@h.x/d?endpoint=http://q.x/s", NULL, NULL, NULL},
      {"neon://u:p@h.x/d?endpoint=http://q.x/s", "http_insecure", "1", "http://q.x/s"},
      {"neon://u:p@h.x/d?endpoint=ftp://q.x/s", NULL, NULL, NULL},
      {"neon://u:p@h.x/d?endpoint=https://a:hunter2@q.x/s", NULL, NULL, NULL},
      {"neon://u:p@h.x", NULL, NULL, NULL},
      {"neon://:hunter2@h.x/d", NULL, NULL, NULL},
  };
  (void)state;
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    struct scene scene = {0};
    cenote_error error = CENOTE_ERROR_INIT;
    settings[0][0] = rows[i].name;
    settings[0][1] = rows[i].value;
    const cenote_status status = scene_open(&scene, rows[i].url, &error);
    if (rows[i].endpoint) {
      cenote_connection *connection;
      assert_int_equal(status, CENOTE_OK);
      assert_int_equal(cen_driver_neon.create(&scene.rig.params, &connection, &error), CENOTE_OK);
      assert_string_equal(cen_driver_neon.resource(connection), rows[i].endpoint);
      cen_driver_neon.destroy(connection);
    } else {
      assert_int_equal(status, CENOTE_CONFIG);
      assert_int_equal(error.status, CENOTE_CONFIG);
      assert_true(strlen(error.message) > 10 && !has(error.message, "hunter2"));
    }
    rig_close(&scene.rig);
  }
  settings[0][0] = NULL;
}

static void an_unknown_authority_is_told_and_not_tried_again(void **state)
{
  struct scene scene = {0};
  cenote_error error = CENOTE_ERROR_INIT;
  (void)state;
  scene.script = http_script_start(answer, &scene, SCRIPT_GOOD);
  assert_non_null(scene.script);
  (void)snprintf(scene.url, sizeof scene.url, "neon://u:hunter2@h.x/d?endpoint=%s/sql",
                 http_script_url(scene.script));
  assert_int_equal(scene_open(&scene, scene.url, &error), CENOTE_OK);
  assert_null(rig_connect(&scene.rig, &error));
  assert_int_equal(error.status, CENOTE_CONNECT);
  assert_false(error.retryable);
  assert_true(has(error.message, "tls_ca_file"));
  rig_close(&scene.rig);
  settings[0][0] = "tls_ca_file";
  settings[0][1] = http_script_ca(scene.script);
  assert_int_equal(scene_open(&scene, scene.url, &error), CENOTE_OK);
  scene.connection = rig_connect(&scene.rig, &error);
  assert_non_null(scene.connection);
  settings[0][0] = NULL;
  scene_end(&scene);
}

/* ---------------------------------------------------------------- passwords */

static bool newer_password(void *context, const char *user, char *buffer, size_t size)
{
  int *asked = context;
  assert_string_equal(user, "us/er");
  (void)snprintf(buffer, size, "new/%d", ++*asked);
  return true;
}

static void the_callbacks_password_goes_out_and_a_refused_one_is_not_kept(void **state)
{
  static const struct said says[] = {{200, NULL, ONE_ROW, SCRIPT_KEEP},
                                     {401, NULL, "", SCRIPT_KEEP}};
  struct scene scene;
  cenote_result *result;
  cenote_error error;
  int asked = 0;
  (void)state;
  scene_start(&scene, says, 2);
  rig_disconnect(&scene.rig, scene.connection);
  scene.rig.params.password = newer_password;
  scene.rig.params.password_context = &asked;
  scene.connection = rig_connect(&scene.rig, &error);
  assert_non_null(scene.connection);
  assert_int_equal(run(&scene, "SELECT 2", 20000, &result, &error), CENOTE_OK);
  cenote_result_free(result);
  assert_true(has(scene.head[0], "postgresql://us%2Fer:new%2F1@ep-1.example/"));
  assert_int_equal(run(&scene, "SELECT 2", 20000, &result, &error), CENOTE_AUTH);
  assert_int_equal(cen_driver_neon.session(scene.connection), CENOTE_SESSION_BROKEN);
  scene_end(&scene);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_request_says_what_the_protocol_asks_for),
      cmocka_unit_test(a_batch_is_one_request_with_its_isolation),
      cmocka_unit_test(what_needs_a_session_is_refused_and_not_sent),
      cmocka_unit_test(every_field_of_an_error_comes_along),
      cmocka_unit_test(odd_answers_are_told_for_what_is_known),
      cmocka_unit_test(a_read_that_was_lost_is_repeated_where_it_cannot_write),
      cmocka_unit_test(a_write_that_was_cancelled_is_not_called_cancelled),
      cmocka_unit_test(a_server_that_is_away_has_not_run_anything),
      cmocka_unit_test(a_flush_uses_no_socket_again_and_asks_whoever_opens),
      cmocka_unit_test(the_endpoint_follows_from_the_host_unless_it_is_named),
      cmocka_unit_test(an_unknown_authority_is_told_and_not_tried_again),
      cmocka_unit_test(the_callbacks_password_goes_out_and_a_refused_one_is_not_kept),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
