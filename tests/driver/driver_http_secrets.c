/* Tokens and passwords of the drivers over HTTP: whatever goes wrong, and whatever the server says
 * of what it was sent, they are in no error, log line, audit event, statistic or health report. */
#include "support/http_script.h"

#include <cenote/cenote.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SECRET "mArKeR-tHaT-nObOdY-mAy-SeE" /* with nothing in it that is encoded */

enum { PATIENCE_MS = 100 };

/* How the server answers what is no probe of a healthy one. */
enum trouble {
  FINE,
  ECHO_LOGIN,    /* 401: a page with the request's head in it */
  ECHO_PAGE,     /* 502: the same */
  ECHO_REQUEST,  /* 400: the same */
  ECHO_ERROR,    /* the database's own error, with the head in each of its fields */
  ECHO_GARBAGE,  /* 200: what nobody understands */
  ECHO_REDIRECT, /* 307, to a place that has it in its name */
  HANGS,
  RESETS,
  TROUBLES
};

struct scene {
  enum trouble trouble;
  char seen[1 << 20]; /* all that came out */
  size_t size;
  pthread_mutex_t lock;
  int leaks_sent; /* answers that had the secret in them */
};

static void say(struct scene *scene, const char *text)
{
  pthread_mutex_lock(&scene->lock);
  const int size = snprintf(scene->seen + scene->size, sizeof scene->seen - scene->size, "%s\n",
                            text != NULL ? text : "");
  scene->size += size > 0 && (size_t)size < sizeof scene->seen - scene->size ? (size_t)size : 0;
  pthread_mutex_unlock(&scene->lock);
}

static void on_log(void *context, cenote_log_level level, const char *line)
{
  (void)level;
  say(context, line);
}

static void on_audit(void *context, const cenote_audit_event *event)
{
  say(context, event->database);
  say(context, event->reason);
}

static void say_error(struct scene *scene, const cenote_error *error)
{
  say(scene, error->message);
  say(scene, error->details);
  for (size_t at = 0; at < sizeof error->fields && error->fields[at] != '\0';) {
    say(scene, error->fields + at);
    at += strlen(error->fields + at) + 1;
  }
}

/* ---------------------------------------------------------------- the server */

#define NEON_ROW                                                                                \
  "{\"fields\":[{\"name\":\"n\",\"dataTypeID\":23}],\"rows\":[[\"1\"]],\"command\":\"SELECT\"," \
  "\"rowCount\":1,\"rowAsArray\":true}"
#define CLOSE_OK "{\"type\":\"ok\",\"response\":{\"type\":\"close\"}}"

static void answer_fine(const struct script_request *request, struct script_answer *out)
{
  if (strcmp(request->path, "/sql") == 0) {
    script_say(out, 200, "application/json", NEON_ROW);
  } else {
    script_say(out, 200, "application/json", "{\"baton\":null,\"results\":[" CLOSE_OK "]}");
  }
}

/* The line with the secret, for JSON. */
static void secret_line(const struct script_request *request, char *line, size_t size)
{
  const char *at = strstr(request->head, SECRET);
  const char *from = at;
  while (from != NULL && from > request->head && from[-1] != '\n') {
    from--;
  }
  (void)snprintf(line, size, "%.*s", from != NULL ? (int)strcspn(from, "\r\n") : 0,
                 from != NULL ? from : "");
}

static void answer(void *context, const struct script_request *request, struct script_answer *out)
{
  struct scene *scene = context;
  char line[1024];
  char text[8192];
  secret_line(request, line, sizeof line);
  scene->leaks_sent += line[0] != '\0';
  (void)snprintf(text, sizeof text, "<html>%s %s</html>", line, SECRET);
  switch (scene->trouble) {
  case FINE:
    answer_fine(request, out);
    break;
  case ECHO_LOGIN:
    script_say(out, 401, "text/html", text);
    break;
  case ECHO_PAGE:
    script_say(out, 502, "text/html", text);
    break;
  case ECHO_REQUEST:
    script_say(out, 400, "text/html", text);
    break;
  case ECHO_GARBAGE:
    script_say(out, 200, "text/html", text);
    break;
  case ECHO_ERROR:
    if (strcmp(request->path, "/sql") == 0) {
      (void)snprintf(text, sizeof text,
                     "{\"message\":\"%s\",\"code\":\"42601\",\"detail\":\"%s\",\"hint\":\"%s\"}",
                     line, line, SECRET);
      script_say(out, 400, "application/json", text);
    } else {
      (void)snprintf(
          text, sizeof text,
          "{\"baton\":null,\"results\":[{\"type\":\"error\",\"error\":{\"message\":\"%s\","
          "\"code\":\"%s\"}}," CLOSE_OK "]}",
          line, SECRET);
      script_say(out, 200, "application/json", text);
    }
    break;
  case ECHO_REDIRECT:
    (void)snprintf(
        text, sizeof text,
        "HTTP/1.1 307 There\r\nLocation: http://127.0.0.1:1/%s\r\nContent-Length: 0\r\n\r\n",
        SECRET);
    script_bytes(out, text, strlen(text));
    break;
  case HANGS:
    out->then = SCRIPT_HANG;
    break;
  default:
    out->then = SCRIPT_RESET;
    break;
  }
}

/* ---------------------------------------------------------------- a manager in trouble */

static void say_json(struct scene *scene, cenote_manager *manager)
{
  char *texts[3] = {NULL, NULL, NULL};
  cenote_error error = CENOTE_ERROR_INIT;
  const cenote_status statuses[3] = {cenote_pool_statistics_json(manager, &texts[0], &error),
                                     cenote_health_json(manager, false, &texts[1], &error),
                                     cenote_config_json(manager, &texts[2], &error)};
  for (int i = 0; i < 3; i++) {
    assert_int_equal(statuses[i], CENOTE_OK);
    say(scene, texts[i]);
    cenote_string_free(texts[i]);
  }
}

static bool password(void *context, const char *user, char *buffer, size_t size)
{
  (void)context;
  (void)user;
  (void)snprintf(buffer, size, "%s", SECRET);
  return true;
}

/* Each way to ask: routed, on a lease, as a batch, in a transaction. */
static void use(struct scene *scene, cenote_manager *manager)
{
  static const char *const texts[] = {"SELECT a FROM t", "INSERT INTO t VALUES (1)"};
  const cenote_statement statements[] = {{"INSERT INTO t VALUES (1)", NULL, 0},
                                         {"SELECT 1", NULL, 0}};
  cenote_query_options options = CENOTE_QUERY_OPTIONS_INIT;
  cenote_transaction *tx = NULL;
  cenote_lease lease;
  options.timeout_ms = PATIENCE_MS;
  options.retries = 0;
  for (size_t i = 0; i < 2; i++) {
    cenote_error error = CENOTE_ERROR_INIT;
    cenote_result *result = NULL;
    (void)!cenote_query(manager, texts[i], NULL, 0, &options, &result, &error);
    say_error(scene, &error);
    cenote_result_free(result);
  }
  cenote_error error = CENOTE_ERROR_INIT;
  if (cenote_acquire(manager, "secret", PATIENCE_MS, &lease, &error) == CENOTE_OK) {
    cenote_batch_options batch = CENOTE_BATCH_OPTIONS_INIT;
    cenote_result **results = NULL;
    batch.timeout_ms = PATIENCE_MS;
    if (cenote_batch_with(lease, statements, 2, &batch, &results, &error) == CENOTE_OK) {
      cenote_results_free(results, 2);
    }
    say_error(scene, &error);
    (void)!cenote_begin(lease, PATIENCE_MS, &tx, &error);
    say_error(scene, &error);
    (void)cenote_rollback(tx, &error);
    (void)cenote_release(lease);
  }
  say_error(scene, &error);
  say_json(scene, manager);
}

struct way {
  const char *url_format; /* %s: the server's URL */
  bool token, callback;
};

static const struct way ways[] = {
    {"%s?authToken=" SECRET, false, false},
    {"%s", true, false},
    {"neon://us:" SECRET "@ep-1.example/d?endpoint=%s/sql", false, false},
    {"neon://us@ep-1.example/d?endpoint=%s/sql", false, true},
    {"neon://us@ep-1.example/d?endpoint=%s/sql", true, false},
};

static cenote_manager *open_way(struct scene *scene, const struct way *way, const char *server)
{
  char url[512];
  cenote_setting settings[] = {{"min_connections", "0"},        {"max_connections", "2"},
                               {"connect_timeout_ms", "300"},   {"connect_backoff_ms", "10"},
                               {"statement_timeout_ms", "100"}, {"auth_token", SECRET}};
  cenote_options options = CENOTE_OPTIONS_INIT;
  cenote_manager *manager = NULL;
  cenote_error error = CENOTE_ERROR_INIT;
  options.settings = settings;
  options.settings_count = way->token ? 6 : 5;
  options.log = on_log;
  options.log_context = scene;
  options.audit = on_audit;
  options.audit_context = scene;
  options.password = way->callback ? password : NULL;
  const char *sign = strstr(way->url_format, "%s");
  (void)snprintf(url, sizeof url, "%.*s%s%s", (int)(sign - way->url_format), way->url_format,
                 server, sign + 2);
  if (cenote_open(url, &options, &manager, &error) != CENOTE_OK) {
    fail_msg("%s: %s", url, error.message);
  }
  return manager;
}

static void must_not_show(const struct scene *scene, const struct way *way, int trouble)
{
  /* half of it would be too much */
  char half[sizeof SECRET / 2 + 1];
  (void)snprintf(half, sizeof half, "%.*s", (int)(sizeof half - 1), SECRET);
  const char *at = strstr(scene->seen, half);
  if (at != NULL) {
    fail_msg("%s, trouble %d: … %.200s", way->url_format, trouble,
             at - 60 > scene->seen ? at - 60 : scene->seen);
  }
}

static void no_trouble_shows_a_secret(void **state)
{
  static struct scene scene;
  (void)state;
  pthread_mutex_init(&scene.lock, NULL);
  setenv("CENOTE_LOG", "debug", 1);
  for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
    struct http_script *script = http_script_start(answer, &scene, SCRIPT_PLAIN);
    assert_non_null(script);
    for (int trouble = FINE + 1; trouble < TROUBLES; trouble++) {
      /* from the beginning; and when connections are open already */
      for (int open = trouble > ECHO_PAGE; open < 2; open++) {
        scene.size = 0;
        scene.seen[0] = '\0';
        scene.leaks_sent = 0;
        scene.trouble = open ? FINE : (enum trouble)trouble;
        cenote_manager *manager = open_way(&scene, &ways[i], http_script_url(script));
        cenote_lease lease;
        if (open && cenote_acquire(manager, "first", 5000, &lease, NULL) == CENOTE_OK) {
          assert_int_equal(cenote_release(lease), CENOTE_OK);
        }
        scene.trouble = (enum trouble)trouble;
        use(&scene, manager);
        cenote_close(manager);
        assert_true(scene.size > 200);
        assert_true(scene.leaks_sent > 0);
        must_not_show(&scene, &ways[i], trouble);
      }
    }
    http_script_stop(script);
  }
  pthread_mutex_destroy(&scene.lock);
}

/* Refused, and a certificate of nobody's. */
static void no_server_that_cannot_be_reached_shows_one(void **state)
{
  static struct scene scene;
  (void)state;
  pthread_mutex_init(&scene.lock, NULL);
  setenv("CENOTE_LOG", "debug", 1);
  for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
    struct http_script *script = http_script_start(answer, &scene, SCRIPT_GOOD);
    assert_non_null(script);
    const char *const servers[] = {"http://127.0.0.1:1", http_script_url(script)};
    for (size_t at = 0; at < 2; at++) {
      scene.size = 0;
      scene.seen[0] = '\0';
      cenote_manager *manager = open_way(&scene, &ways[i], servers[at]);
      use(&scene, manager);
      cenote_close(manager);
      assert_non_null(strstr(scene.seen, at == 0 ? "connect" : "certificate"));
      must_not_show(&scene, &ways[i], (int)at);
    }
    http_script_stop(script);
  }
  pthread_mutex_destroy(&scene.lock);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(no_trouble_shows_a_secret),
      cmocka_unit_test(no_server_that_cannot_be_reached_shows_one),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
