/* The Neon driver without memory: each allocation of ours, and of libcurl's,
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

extern const cenote_driver cen_driver_neon;

#define RESULT                                                                          \
  "{\"fields\":[{\"name\":\"a\",\"dataTypeID\":25}],\"rows\":[[\"some text\"],[null]]," \
  "\"command\":\"SELECT\",\"rowCount\":2}"

static void answer(void *context, const struct script_request *request,
                   struct script_answer *answer)
{
  (void)context;
  if (strstr(request->body, "nope")) {
    script_say(answer, 400, "application/json",
               "{\"message\":\"no table\",\"code\":\"42P01\",\"severity\":\"ERROR\"}");
  } else if (strstr(request->body, "\"queries\"")) {
    script_say(answer, 200, "application/json", "{\"results\":[" RESULT "," RESULT "]}");
  } else {
    script_say(answer, 200, "application/json", RESULT);
  }
}

static char url[128], from[64];
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
  const bool fine = read(ends[0], from, sizeof from) > 8;
  (void)snprintf(url, sizeof url, "neon://user:hunter2@h.x/d?endpoint=%.60s/sql", from);
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

/* A write that was sent and whose answer found no memory has an unknown outcome. libcurl calls some
 * of its failed allocations a bad argument (CENOTE_INTERNAL); then nothing is sent. */
static bool is_fine(cenote_status status, bool named)
{
  return status == CENOTE_OK || status == CENOTE_NO_MEMORY || status == CENOTE_INTERNAL ||
         status == CENOTE_OUTCOME_UNKNOWN || status == CENOTE_CONNECTION_LOST ||
         (named && status == CENOTE_DATABASE);
}

static void check(cenote_status status, const cenote_error *error)
{
  if (!is_fine(status, strcmp(error->sqlstate, "42P01") == 0)) {
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
  check(rig_run(rig, connection, &request, &error), &error);
  cen_sink_deinit(&sink);
}

static void ask_batch(struct rig *rig, cenote_connection *connection)
{
  const cenote_value arg = cenote_text("text");
  const cenote_statement statements[] = {
      {.sql = "INSERT INTO t VALUES (?)", .args = &arg, .count = 1}, {.sql = "SELECT 2"}};
  struct cenote_sink sinks[2] = {0};
  cenote_sink *list[] = {&sinks[0], &sinks[1]};
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_request request = {.size = sizeof request,
                            .kind = CENOTE_REQUEST_BATCH,
                            .isolation = CENOTE_SERIALIZABLE,
                            .statements = statements,
                            .statement_count = 2,
                            .sinks = list,
                            .deadline_ns = cen_deadline_ns(cen_now_ns(), 20000)};
  if (cen_sink_init_result(&sinks[0], 0, 0, &error) == CENOTE_OK &&
      cen_sink_init_result(&sinks[1], 0, 0, &error) == CENOTE_OK) {
    check(rig_run(rig, connection, &request, &error), &error);
  }
  cen_sink_deinit(&sinks[0]);
  cen_sink_deinit(&sinks[1]);
}

static void work(struct rig *rig, cenote_connection *connection)
{
  cenote_error error = CENOTE_ERROR_INIT;
  ask(rig, connection, 0, "SELECT ?, ?");
  ask(rig, connection, CENOTE_REQUEST_RAW_TEXT, "INSERT INTO t VALUES (?, ?)");
  ask(rig, connection, CENOTE_REQUEST_STREAM, "SELECT $1, $2");
  ask(rig, connection, 0, "INSERT INTO nope VALUES (?, ?)");
  ask_batch(rig, connection);
  cen_driver_neon.taint(connection);
  (void)rig_kind(rig, connection, CENOTE_REQUEST_RESET, &error);
}

static void whole_life(void *context)
{
  struct rig rig;
  cenote_error error = CENOTE_ERROR_INIT;
  (void)context;
  if (rig_open(&rig, &cen_driver_neon, url, NULL, &error) == CENOTE_OK) {
    cenote_connection *connection = rig_connect(&rig, &error);
    if (connection) {
      work(&rig, connection);
    }
    rig_disconnect(&rig, connection);
  }
  if (error.status != CENOTE_OK && !alloc_torture_struck()) {
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
