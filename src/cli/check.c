/* check.c - `cenote check`: does the database answer, and how is the pool. */
#include "base/text.h"
#include "cli/cli.h"
#include "cli/interrupt.h"
#include "cli/log.h"
#include "cli/report.h"
#include "cli/table.h"

#include <inttypes.h>
#include <jansson.h>
#include <string.h>

struct check {
  cenote_manager *manager;
  char *json;
  cenote_status status;
  cenote_error error;
};

/* -------------------------------------------------------------------- output */

/* REASON: only where a row has one. */
enum { PATH, STATUS, STATE, BREAKER, OPEN, USED, MAXIMUM, REASON, COLUMNS };
enum { POOL, SHARED, OVER_HTTP, ROWS };

struct rows { /* which of them there are */
  const json_t *document;
  size_t count, of[ROWS];
};

static const json_t *inside(const json_t *object, const char *first, const char *second)
{
  return json_object_get(json_object_get(object, first), second);
}

static json_int_t whole(const json_t *object, const char *member)
{
  return json_integer_value(json_object_get(object, member));
}

static void text_add(struct cen_buf *buf, const json_t *object, const char *member)
{
  const char *text = json_string_value(json_object_get(object, member));
  cen_buf_text(buf, text ? text : "-");
}

static void count_add(struct cen_buf *buf, json_int_t count)
{
  cen_buf_format(buf, "%" JSON_INTEGER_FORMAT, count);
}

static json_int_t shared_maximum(const json_t *statistics)
{
  const json_t *config = json_object_get(statistics, "config");
  const json_int_t shared = whole(config, "simpleConnections");
  const json_int_t all = whole(config, "maxConnections");
  return shared < all ? shared : all;
}

/* Of the pool connections and leases, of the shared ones connections and statements. */
static void number_add(struct cen_buf *buf, const json_t *statistics, size_t row, size_t column)
{
  const json_t *pool = json_object_get(statistics, "pool");
  const json_t *simple = inside(statistics, "paths", "simple");
  if (row == OVER_HTTP) { /* its sockets are the client's; how many there are it does not tell */
    if (column == USED) {
      count_add(buf, whole(inside(statistics, "paths", "http"), "inFlight"));
    } else {
      cen_buf_text(buf, "-");
    }
    return;
  }
  switch (column) {
  case OPEN:
    count_add(buf, row == POOL ? whole(pool, "totalConnections") : whole(simple, "connections"));
    break;
  case USED:
    count_add(buf, row == POOL ? whole(pool, "activeLeases") : whole(simple, "inFlight"));
    break;
  default:
    count_add(buf, row == POOL ? whole(pool, "maxConnections") : shared_maximum(statistics));
    break;
  }
}

/* What is wrong and not HTTP's, or NULL: the last issue, since a probe that failed comes last. */
static const char *pool_issue(const json_t *document)
{
  static const char https[] = "SQL over HTTP ";
  const char *last = NULL;
  size_t i;
  json_t *issue;
  json_array_foreach(json_object_get(document, "issues"), i, issue)
  {
    const char *text = json_string_value(issue);
    if (text != NULL && strncmp(text, https, sizeof https - 1) != 0) {
      last = text;
    }
  }
  return last;
}

/* A row's verdict; why it is not "healthy", else NULL. Where there are two paths each row has a
 * verdict of its own: the whole is degraded when only HTTP is away, and neither of them is. */
static const char *row_status(const json_t *document, size_t row, const char **reason)
{
  const json_t *own = json_object_get(document, row == OVER_HTTP ? "neon" : "pgPool");
  const char *status = json_string_value(json_object_get(document, "status"));
  *reason = row != OVER_HTTP ? pool_issue(document) : NULL;
  if (own != NULL && !json_is_true(json_object_get(own, "healthy"))) {
    const char *error = json_string_value(json_object_get(own, "error"));
    *reason = error != NULL ? error : *reason;
    status = "unhealthy";
  } else if (own != NULL) {
    status = *reason != NULL ? "degraded" : "healthy";
  } else if (status == NULL) {
    status = "-";
  }
  if (strcmp(status, "healthy") == 0) {
    *reason = NULL;
  }
  return status;
}

static void line_add(struct cen_buf *buf, const char *before, const char *text)
{
  cen_buf_text(buf, before);
  if (text) {
    cli_text_line(buf, text, strlen(text));
  }
}

/* The whole of it stands among the issues. */
static void reason_add(struct cen_buf *buf, const char *reason)
{
  enum { MOST = 72 };
  const size_t size = reason != NULL ? strlen(reason) : 0;
  if (size <= MOST) {
    cen_buf_text(buf, reason != NULL ? reason : "-");
  } else {
    cen_buf_add(buf, reason, cen_utf8_cut(reason, MOST));
    cen_buf_text(buf, "…");
  }
}

/* One row for each path to the database. */
static void cell(void *context, size_t at, size_t column, struct cen_buf *buf)
{
  const struct rows *rows = context;
  const json_t *document = rows->document;
  const size_t row = rows->of[at];
  const json_t *statistics = json_object_get(document, "poolStatistics");
  const char *reason;
  const char *status = row_status(document, row, &reason);
  switch (column) {
  case PATH:
    cen_buf_text(buf, row == POOL ? "pool" : row == SHARED ? "shared" : "http");
    break;
  case STATUS:
    cen_buf_text(buf, status);
    break;
  case REASON:
    reason_add(buf, reason);
    break;
  case STATE:
    text_add(buf, document, "state");
    break;
  case BREAKER:
    text_add(buf, inside(statistics, "breakers", row == OVER_HTTP ? "http" : "endpoint"), "state");
    break;
  default:
    number_add(buf, statistics, row, column);
    break;
  }
}

static void remarks_print(struct cli_output *output, const json_t *document)
{
  struct cen_buf buf;
  cen_buf_init(&buf, 1 << 20);
  size_t i;
  json_t *item;
  const json_t *issues = json_object_get(document, "issues");
  cen_buf_text(&buf, json_array_size(issues) > 0 ? "\nissues\n" : "");
  json_array_foreach(issues, i, item)
  {
    line_add(&buf, "  - ", json_string_value(item));
    cen_buf_char(&buf, '\n');
  }
  const json_t *advice = json_object_get(document, "recommendations");
  cen_buf_text(&buf, json_array_size(advice) > 0 ? "\nrecommendations\n" : "");
  json_array_foreach(advice, i, item)
  {
    line_add(&buf, "  - ", json_string_value(json_object_get(item, "priority")));
    line_add(&buf, ": ", json_string_value(json_object_get(item, "message")));
    line_add(&buf, " ", json_string_value(json_object_get(item, "suggestion")));
    cen_buf_char(&buf, '\n');
  }
  cli_output_drain(output, &buf);
  cen_buf_deinit(&buf);
}

static void table_print(struct cli_output *output, json_t *document)
{
  static const char *const headers[COLUMNS] = {"path", "status", "state",   "breaker",
                                               "open", "in use", "maximum", "reason"};
  static const bool right[COLUMNS] = {[OPEN] = true, [USED] = true, [MAXIMUM] = true};
  const json_t *statistics = json_object_get(document, "poolStatistics");
  struct rows rows = {.document = document, .count = 1, .of = {POOL}};
  if (json_is_true(json_object_get(inside(statistics, "paths", "simple"), "available"))) {
    rows.of[rows.count++] = SHARED;
  }
  if (inside(statistics, "paths", "http") != NULL) {
    rows.of[rows.count++] = OVER_HTTP;
  }
  const char *reason = NULL;
  for (size_t i = 0; i < rows.count && reason == NULL; i++) {
    (void)row_status(document, rows.of[i], &reason);
  }
  struct cli_table table = {.columns = reason != NULL ? COLUMNS : REASON,
                            .rows = rows.count,
                            .headers = headers,
                            .right = right,
                            .cell = cell,
                            .context = &rows};
  cli_table_print(&table, output);
  remarks_print(output, document);
}

/* ----------------------------------------------------------------------- run */

static void work_run(void *context)
{
  struct check *check = context;
  check->status = cenote_health_json(check->manager, true, &check->json, &check->error);
}

static void work_stop(void *context, int signal)
{
  struct check *check = context;
  (void)signal;
  cli_log_quiet();
  fputs("cenote: interrupted\n", stderr);
  cenote_status forced = cenote_shutdown(check->manager, 0, NULL);
  (void)forced;
}

static void issues_said(const json_t *document)
{
  size_t i;
  json_t *issue;
  json_array_foreach(json_object_get(document, "issues"), i, issue)
  {
    const char *text = json_string_value(issue);
    cli_log_said(text != NULL ? text : "");
  }
}

static int answer_print(const struct check *check, bool as_json)
{
  struct cli_output output;
  cli_output_init(&output, stdout);
  json_t *document = json_loads(check->json, 0, NULL);
  const char *status = json_string_value(json_object_get(document, "status"));
  int exit_status = status && strcmp(status, "unhealthy") != 0 ? CLI_OK : CLI_FAILED;
  issues_said(document);
  if (!document) {
    fputs("cenote: the library's health is no JSON\n", stderr);
  } else if (as_json) {
    cli_output_text(&output, check->json);
    cli_output_text(&output, "\n");
  } else {
    table_print(&output, document);
  }
  json_decref(document);
  return cli_output_finish(&output, exit_status);
}

static int run(const struct cli_args *args)
{
  struct check check = {.error = CENOTE_ERROR_INIT};
  int status = cli_open(args, args->url, CLI_CONNECTS, NULL, &check.manager);
  if (status != CLI_OK) {
    return status;
  }
  struct cli_work work = {.run = work_run, .stop = work_stop, .context = &check};
  int signal = cli_work_run(&work);
  if (signal != 0) {
    status = cli_work_status(signal, CLI_OK);
  } else if (check.status != CENOTE_OK) {
    check.error.status = check.status;
    cli_report(&check.error);
    status = cli_exit_status(check.status);
  } else {
    status = answer_print(&check, args->json);
  }
  cenote_string_free(check.json);
  cenote_close(check.manager);
  return status;
}

const struct cli_command cli_check = {
    .name = "check",
    .operands = "",
    .summary = "health of every path to the database",
    .help =
        "Connects, asks the database for a sign of life and prints how the pool is: healthy, degraded\n"
        "or unhealthy, with issues and recommendations. Exit status 1 when it is unhealthy.\n"
        "Where single statements may share connections these have a row of their own, and so has\n"
        "SQL over HTTP where there is an endpoint for it; a row that is not healthy says why.\n"
        "With HTTP beside a pool --json has also \"neon\", \"pgPool\" (each {\"healthy\", \"error\"})\n"
        "and \"stats\".\n"
        "--connect-timeout-ms bounds the wait. It speaks of a pool of its own: what another process\n"
        "does with its pool is not seen here.\n\n"
        "--json prints {\"status\", \"state\", \"poolStatistics\", \"issues\", \"recommendations\",\n"
        "\"timestamp\"}.",
    .examples = "  cenote check --url postgresql://app@db.example.com/shop\n"
                "  cenote check --json | jq -r .status\n"
                "  until cenote check --connect-timeout-ms 500 >/dev/null; do sleep 1; done\n",
    .operands_min = 0,
    .operands_max = 0,
    .run = run,
};
