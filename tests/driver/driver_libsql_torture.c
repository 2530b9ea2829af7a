/* The HTTP client and the libSQL driver without memory: each allocation of ours, and of libcurl's,
 * fails once. The server is another process, whose memory is its own. */
#include "driver/rig.h"
#include "support/alloc_torture.h"
#include "support/http_script.h"

#include "base/result.h"
#include "net/clock.h"

#include <curl/curl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

extern const cenote_driver cen_driver_libsql;

#define CLOSE_OK "{\"type\":\"ok\",\"response\":{\"type\":\"close\"}}"
#define RESULT                                                                           \
  "{\"cols\":[{\"name\":\"a\",\"decltype\":\"INTEGER\"}],\"rows\":[[{\"type\":\"text\"," \
  "\"value\":\"some text\"}]],\"affected_row_count\":0,\"last_insert_rowid\":null}"
#define EXECUTED "{\"type\":\"ok\",\"response\":{\"type\":\"execute\",\"result\":" RESULT "}}"
#define BATCH                                                                               \
  "{\"type\":\"ok\",\"response\":{\"type\":\"batch\",\"result\":{\"step_results\":[" RESULT \
  ",null],"                                                                                 \
  "\"step_errors\":[null,null]}}}"
#define STATE "{\"type\":\"ok\",\"response\":{\"type\":\"get_autocommit\",\"is_autocommit\":false}}"
#define CURSOR                                                                                   \
  "{\"baton\":null}\n{\"type\":\"step_begin\",\"step\":0,\"cols\":[{\"name\":\"a\"}]}\n"         \
  "{\"type\":\"row\",\"row\":[{\"type\":\"integer\",\"value\":\"3\"}]}\n{\"type\":\"step_end\"," \
  "\"affected_row_count\":0,\"last_insert_rowid\":null}\n"

/* One result for each request of the pipeline, in the order in which the driver asks. */
static void answer(void *context, const struct script_request *request,
                   struct script_answer *answer)
{
  char body[2048];
  const bool batch = strstr(request->body, "\"type\":\"batch\"") != NULL;
  const bool execute = strstr(request->body, "\"type\":\"execute\"") != NULL;
  const bool state = strstr(request->body, "get_autocommit") != NULL;
  const bool closes = strstr(request->body, "\"type\":\"close\"") != NULL;
  (void)context;
  if (strcmp(request->path, "/v3/cursor") == 0) {
    script_say(answer, 200, "text/plain", CURSOR);
    return;
  }
  snprintf(body, sizeof body, "{\"baton\":%s,\"results\":[%s%s%s%s]}",
           closes ? "null" : "\"baton\"",
           batch     ? BATCH
           : execute ? EXECUTED
                     : "",
           state ? "," STATE : "", closes && (batch || execute) ? "," : "", closes ? CLOSE_OK : "");
  script_say(answer, 200, "application/json", body);
}

static char url[64];
static pid_t server = -1;

static int server_start(void **state)
{
  int ends[2];
  (void)state;
  if (pipe(ends) != 0 || (server = fork()) < 0) {
    return -1;
  }
  if (server == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    struct http_script *script = http_script_start(answer, NULL, SCRIPT_PLAIN);
    const char *own = script ? http_script_url(script) : "";
    const ssize_t wrote = write(ends[1], own, strlen(own) + 1);
    (void)wrote;
    for (;;) {
      pause();
    }
  }
  close(ends[1]);
  const bool fine = read(ends[0], url, sizeof url) > 8;
  close(ends[0]);
  return fine ? 0 : -1;
}

static int server_stop(void **state)
{
  (void)state;
  alloc_torture_disarm();
  kill(server, SIGKILL);
  return waitpid(server, NULL, 0) == server ? 0 : -1;
}

/* A write that was sent and whose answer found no memory has an unknown outcome. */
static bool is_fine(cenote_status status, bool broken)
{
  return status == CENOTE_OK || status == CENOTE_NO_MEMORY || status == CENOTE_OUTCOME_UNKNOWN ||
         (broken && (status == CENOTE_CONNECTION_LOST || status == CENOTE_DATABASE));
}

static void check(cenote_status status, cenote_connection *connection, const cenote_error *error)
{
  const bool broken = cen_driver_libsql.session(connection) != 0;
  if (!is_fine(status, broken)) {
    alloc_torture_disarm();
    fail_msg("%s: %s (%s)", cenote_status_name(status), error->message, error->details);
  }
}

static bool on_row(void *context, const char *const *names, const cenote_value *values,
                   size_t columns)
{
  (void)context;
  (void)names;
  (void)values;
  (void)columns;
  return true;
}

static void ask(struct rig *rig, cenote_connection *connection, unsigned flags, const char *sql)
{
  const cenote_value args[] = {cenote_text("text"), cenote_blob("blob", 4)};
  struct cenote_sink sink;
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_request request = {.size = sizeof request,
                            .kind = CENOTE_REQUEST_EXECUTE,
                            .flags = flags,
                            .sql = sql,
                            .args = args,
                            .count = 2,
                            .sink = &sink,
                            .deadline_ns = cen_deadline_ns(cen_now_ns(), 20000)};
  if ((flags & CENOTE_REQUEST_STREAM) != 0) {
    cen_sink_init_stream(&sink, on_row, NULL);
  } else if (cen_sink_init_result(&sink, 0, 0, &error) != CENOTE_OK) {
    return;
  }
  check(rig_run(rig, connection, &request, &error), connection, &error);
  cen_sink_deinit(&sink);
}

static void work(struct rig *rig, cenote_connection *connection)
{
  cenote_error error = CENOTE_ERROR_INIT;
  ask(rig, connection, 0, "SELECT $1, $2");
  ask(rig, connection, CENOTE_REQUEST_RAW_TEXT, "INSERT INTO t VALUES (?, ?)");
  ask(rig, connection, CENOTE_REQUEST_STREAM, "SELECT $1, $2");
  check(rig_begin(rig, connection, CENOTE_BATCH_WRITE, &error), connection, &error);
  if ((cen_driver_libsql.session(connection) & CENOTE_SESSION_IN_TRANSACTION) != 0) {
    ask(rig, connection, 0, "INSERT INTO t VALUES (?, ?)");
    (void)rig_kind(rig, connection, CENOTE_REQUEST_COMMIT, &error);
  }
  cen_driver_libsql.taint(connection);
  (void)rig_kind(rig, connection, CENOTE_REQUEST_RESET, &error);
}

static void whole_life(void *context)
{
  struct rig rig;
  cenote_error error = CENOTE_ERROR_INIT;
  (void)context;
  if (rig_open(&rig, &cen_driver_libsql, url, NULL, &error) == CENOTE_OK) {
    cenote_connection *connection = rig_connect(&rig, &error);
    if (connection) {
      work(&rig, connection);
    }
    rig_disconnect(&rig, connection);
  }
  if (error.status != CENOTE_OK && error.status != CENOTE_NO_MEMORY && !alloc_torture_struck()) {
    alloc_torture_disarm();
    fail_msg("%s", error.message);
  }
  rig_close(&rig);
}

static void every_allocation_may_fail(void **state)
{
  (void)state;
  assert_true(alloc_torture_sample(whole_life, NULL, 0, 400, 7) > 0);
}

static void all_that_follow_may_fail(void **state)
{
  (void)state;
  assert_true(alloc_torture_sample(whole_life, NULL, ALLOC_TORTURE_ONWARD, 120, 8) > 0);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_allocation_may_fail),
      cmocka_unit_test(all_that_follow_may_fail),
  };
  /* the linker makes these the torture's, so libcurl's own allocations are on the rack too */
  if (curl_global_init_mem(CURL_GLOBAL_DEFAULT, malloc, free, realloc, strdup, calloc) !=
      CURLE_OK) {
    return 1;
  }
  return cmocka_run_group_tests(tests, server_start, server_stop);
}
