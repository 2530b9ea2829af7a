#include "driver/torture_place.h"

#include "base/result.h"
#include "net/clock.h"

#include <curl/curl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct torture *the;
static char url[256];
static pid_t server = -1;

/* ---------------------------------------------------------------- the server */

static int server_start(void **state)
{
  int ends[2];
  char from[64];
  (void)state;
  if (pipe(ends) != 0 || (server = fork()) < 0) {
    return -1;
  }
  if (server == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    struct http_script *script = http_script_start(the->answer, NULL, SCRIPT_PLAIN);
    const char *own = script ? http_script_url(script) : "";
    const ssize_t wrote = write(ends[1], own, strlen(own) + 1);
    (void)wrote;
    for (;;) {
      pause();
    }
  }
  close(ends[1]);
  const ssize_t got = read(ends[0], from, sizeof from - 1);
  close(ends[0]);
  if (got <= 8) {
    return -1;
  }
  from[got] = '\0';
  const char *sign = strstr(the->url_format, "%s");
  (void)snprintf(url, sizeof url, "%.*s%s%s", (int)(sign - the->url_format), the->url_format, from,
                 sign + 2);
  return 0;
}

static int server_stop(void **state)
{
  (void)state;
  alloc_torture_disarm();
  kill(server, SIGKILL);
  return waitpid(server, NULL, 0) == server ? 0 : -1;
}

/* ---------------------------------------------------------------- requests */

void torture_check(cenote_status status, cenote_connection *connection, const cenote_error *error)
{
  if (status != CENOTE_OK && !the->is_fine(status, the->driver->session(connection), error)) {
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

void torture_ask(struct rig *rig, cenote_connection *connection, unsigned flags, const char *sql)
{
  const cenote_value args[] = {cenote_text("text"), cenote_blob("blob", 4)};
  struct cenote_sink sink;
  cenote_error error = CENOTE_ERROR_INIT;
  const bool takes = strchr(sql, '?') != NULL || strchr(sql, '$') != NULL;
  cenote_request request = {.size = sizeof request,
                            .kind = CENOTE_REQUEST_EXECUTE,
                            .flags = flags,
                            .sql = sql,
                            .args = args,
                            .count = takes ? 2 : 0,
                            .sink = &sink,
                            .deadline_ns = cen_deadline_ns(cen_now_ns(), 20000)};
  if ((flags & CENOTE_REQUEST_STREAM) != 0) {
    cen_sink_init_stream(&sink, on_row, NULL);
  } else if (cen_sink_init_result(&sink, 0, 0, &error) != CENOTE_OK) {
    return;
  }
  torture_check(rig_run(rig, connection, &request, &error), connection, &error);
  cen_sink_deinit(&sink);
}

void torture_ask_batch(struct rig *rig, cenote_connection *connection, const cenote_request *terms)
{
  const cenote_value arg = cenote_text("text");
  const cenote_statement statements[] = {
      {.sql = "INSERT INTO t VALUES (?)", .args = &arg, .count = 1}, {.sql = "SELECT 2"}};
  struct cenote_sink sinks[2] = {0};
  cenote_sink *list[] = {&sinks[0], &sinks[1]};
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_request request = *terms;
  request.size = sizeof request;
  request.kind = CENOTE_REQUEST_BATCH;
  request.statements = statements;
  request.statement_count = 2;
  request.sinks = list;
  request.deadline_ns = cen_deadline_ns(cen_now_ns(), 20000);
  if (cen_sink_init_result(&sinks[0], 0, 0, &error) == CENOTE_OK &&
      cen_sink_init_result(&sinks[1], 0, 0, &error) == CENOTE_OK) {
    torture_check(rig_run(rig, connection, &request, &error), connection, &error);
  }
  cen_sink_deinit(&sinks[0]);
  cen_sink_deinit(&sinks[1]);
}

/* ---------------------------------------------------------------- the rack */

static void whole_life(void *context)
{
  struct rig rig;
  cenote_error error = CENOTE_ERROR_INIT;
  (void)context;
  if (rig_open(&rig, the->driver, url, NULL, &error) == CENOTE_OK) {
    cenote_connection *connection = rig_connect(&rig, &error);
    if (connection) {
      the->work(&rig, connection);
    }
    rig_disconnect(&rig, connection);
  }
  if (error.status != CENOTE_OK && !alloc_torture_struck()) {
    alloc_torture_disarm();
    fail_msg("%s (%s)", error.message, error.details);
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

int torture_run(const struct torture *torture)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_allocation_may_fail),
      cmocka_unit_test(all_that_follow_may_fail),
  };
  the = torture;
  /* the linker makes these the torture's, so libcurl's own allocations are on the rack too */
  if (curl_global_init_mem(CURL_GLOBAL_DEFAULT, malloc, free, realloc, strdup, calloc) !=
      CURLE_OK) {
    return 1;
  }
  return cmocka_run_group_tests(tests, server_start, server_stop);
}
