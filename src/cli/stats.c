/* stats.c - `cenote stats`: what a running gateway says about itself, once or again and again. */
#include "cli/cli.h"
#include "cli/gateway_client.h"
#include "cli/gateway_view.h"
#include "cli/interrupt.h"
#include "cli/report.h"
#include "cli/table.h"

#include "net/clock.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WATCH = GATEWAY_OPTIONS, OPTIONS };
enum { HEAD_EVERY = 20, LEASES_SHOWN = 20, CEILING = 1 << 20 };

struct stats {
  const struct cli_args *args;
  struct gateway_client *client;
  struct cli_output output;
  int64_t interval_ms; /* 0: once */
  unsigned lines;
  bool lost; /* the last answer did not come */
  struct view_counts before;
  int status;
  _Atomic bool stop;
};

/* ------------------------------------------------------------------------------- tables */

/* A table whose cells are members of the rows of an array. */
struct member {
  const char *header, *path;
  bool right;
};

struct rows {
  const json_t *array;
  const struct member *members;
};

static void member_put(struct cen_buf *buf, const json_t *row, const char *path)
{
  const json_t *value = view_at(row, path);
  const size_t size = strlen(path);
  if (size > 2 && strcmp(path + size - 2, "Ms") == 0 && strncmp(path, "derived", 7) != 0) {
    view_duration_put(buf, json_number_value(value));
  } else if (json_is_integer(value)) {
    cen_buf_format(buf, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
  } else if (json_is_real(value)) {
    cen_buf_format(buf, "%.2f", json_real_value(value));
  } else if (json_is_boolean(value)) {
    cen_buf_text(buf, json_is_true(value) ? "yes" : "");
  } else {
    cen_buf_text(buf, view_text(row, path));
  }
}

static void cell(void *context, size_t row, size_t column, struct cen_buf *buf)
{
  const struct rows *rows = context;
  member_put(buf, json_array_get(rows->array, row), rows->members[column].path);
}

enum { MOST_MEMBERS = 10 };

static void table_put(struct stats *stats, const char *title, const json_t *array, size_t most,
                      const struct member *members, size_t count)
{
  const char *headers[MOST_MEMBERS];
  bool right[MOST_MEMBERS];
  const size_t all = json_array_size(array);
  if (all == 0) {
    return;
  }
  for (size_t i = 0; i < count; i++) {
    headers[i] = members[i].header;
    right[i] = members[i].right;
  }
  struct rows rows = {.array = array, .members = members};
  const struct cli_table table = {.columns = count,
                                  .rows = all < most ? all : most,
                                  .headers = headers,
                                  .right = right,
                                  .cell = cell,
                                  .context = &rows};
  cli_output_text(&stats->output, title);
  cli_table_print(&table, &stats->output);
  if (all > most) {
    fprintf(stats->output.file, "… and %zu more\n", all - most);
  }
}

enum { TIMES_OF, COUNT, MEAN, P50, P95, P99, MOST, TIME_COLUMNS };

static void time_cell(void *context, size_t row, size_t column, struct cen_buf *buf)
{
  static const struct {
    const char *name, *path;
  } rows[] = {{"wait for a connection", "derivedMetrics.acquireWait"},
              {"lease", "derivedMetrics.hold"},
              {"statement", "derivedMetrics.statement"},
              {"connect", "statistics.latency.connect"}};
  static const char *const members[] = {"", "count", "meanMs", "p50Ms", "p95Ms", "p99Ms", "maxMs"};
  const json_t *figures = view_at(context, rows[row].path);
  if (column == TIMES_OF) {
    cen_buf_text(buf, rows[row].name);
  } else {
    cen_buf_format(buf, column == COUNT ? "%.0f" : "%.2f", view_number(figures, members[column]));
  }
}

static void times_put(struct stats *stats, const json_t *pool)
{
  static const char *const headers[] = {
      "ms since the start", "count", "mean", "p50", "p95", "p99", "max"};
  static const bool right[] = {false, true, true, true, true, true, true};
  const struct cli_table table = {.columns = TIME_COLUMNS,
                                  .rows = 4,
                                  .headers = headers,
                                  .right = right,
                                  .cell = time_cell,
                                  .context = (void *)(uintptr_t)pool};
  cli_output_text(&stats->output, "\n");
  cli_table_print(&table, &stats->output);
}

static void head_put(struct cen_buf *buf, const struct stats *stats, const json_t *status)
{
  const json_t *pool = view_at(status, "connectionPool");
  cen_buf_format(buf, "%s: ", gateway_client_name(stats->client));
  view_text_put(buf, status, "status");
  cen_buf_text(buf, json_is_true(view_at(status, "server.draining")) ? ", draining" : "");
  cen_buf_text(buf, ", up ");
  view_duration_put(buf, view_number(status, "server.uptimeMs"));
  cen_buf_text(buf, ", version ");
  view_text_put(buf, status, "server.version");
  cen_buf_format(buf, "\n%.0f of %.0f connections open, %.0f leased (%.1f %%), %.0f callers wait",
                 view_number(pool, "statistics.pool.totalConnections"),
                 view_number(pool, "statistics.pool.maxConnections"),
                 view_number(pool, "statistics.pool.activeLeases"),
                 view_number(pool, "derivedMetrics.utilizationPercentage"),
                 view_number(pool, "statistics.pool.waitingClients"));
  cen_buf_format(buf,
                 "\nlast minute: %.1f acquires and %.1f statements a second, %.2f %% failed; "
                 "%.1f %% of acquires succeeded in 15 minutes\n\n",
                 view_number(pool, "derivedMetrics.acquiresPerSecond"),
                 view_number(pool, "derivedMetrics.statementsPerSecond"),
                 view_number(pool, "derivedMetrics.statementErrorRate"),
                 view_number(pool, "derivedMetrics.successRate"));
}

static void remarks_put(struct cen_buf *buf, const json_t *pool)
{
  size_t i;
  json_t *item;
  const json_t *issues = view_at(pool, "issues"), *advice = view_at(pool, "recommendations");
  cen_buf_text(buf, json_array_size(issues) > 0 ? "\nissues\n" : "");
  json_array_foreach(issues, i, item)
  {
    cen_buf_text(buf, "  - ");
    view_text_put(buf, item, "");
    cen_buf_char(buf, '\n');
  }
  cen_buf_text(buf, json_array_size(advice) > 0 ? "\nrecommendations\n" : "");
  json_array_foreach(advice, i, item)
  {
    cen_buf_text(buf, "  - ");
    view_text_put(buf, item, "priority");
    cen_buf_text(buf, ": ");
    view_text_put(buf, item, "message");
    cen_buf_char(buf, ' ');
    view_text_put(buf, item, "suggestion");
    cen_buf_char(buf, '\n');
  }
}

static void report_put(struct stats *stats)
{
  static const struct member pools[] = {
      {"pool", "database", false},
      {"user", "user", false},
      {"kind", "kind", false},
      {"status", "status", false},
      {"open", "statistics.pool.totalConnections", true},
      {"leased", "statistics.pool.activeLeases", true},
      {"waiting", "statistics.pool.waitingClients", true},
      {"maximum", "statistics.pool.maxConnections", true},
      {"breaker", "statistics.breakers.endpoint.state", false},
      {"statements/s", "derivedMetrics.statementsPerSecond", true}};
  static const struct member leases[] = {{"lease", "operationId", false},
                                         {"age", "ageMs", true},
                                         {"left", "remainingMs", true},
                                         {"rests", "idleMs", true},
                                         {"in a call", "inCall", false}};
  const json_t *status = gateway_client_status(stats->client);
  const json_t *pool = view_at(status, "connectionPool");
  struct cen_buf buf;
  cen_buf_init(&buf, CEILING);
  head_put(&buf, stats, status);
  cli_output_drain(&stats->output, &buf);
  table_put(stats, "", view_at(status, "pools"), SIZE_MAX, pools, sizeof pools / sizeof pools[0]);
  times_put(stats, pool);
  table_put(stats, "\n", view_at(pool, "statistics.activeLeases"), LEASES_SHOWN, leases,
            sizeof leases / sizeof leases[0]);
  remarks_put(&buf, pool);
  cli_output_drain(&stats->output, &buf);
  cen_buf_deinit(&buf);
}

/* ------------------------------------------------------------------------------- watching */

static void line_put(struct stats *stats)
{
  const json_t *status = gateway_client_status(stats->client);
  const json_t *pool = view_at(status, "connectionPool");
  struct view_counts now;
  struct view_rates rates;
  struct cen_buf buf, health;
  view_counts_read(&now, status);
  view_rates_read(&rates, &stats->before, &now, status);
  stats->before = now;
  cen_buf_init(&buf, CEILING);
  cen_buf_init(&health, CEILING);
  if (stats->lines % HEAD_EVERY == 0 && (stats->lines == 0 || isatty(STDOUT_FILENO))) {
    cen_buf_text(&buf, "health      util% leased  open  wait    acq/s   stmt/s    err/s "
                       "wait99 ms  stmt50  stmt99\n");
  }
  view_text_put(&health, status, "status");
  cen_buf_format(&buf, "%-10.20s  %5.1f %6.0f %5.0f %5.0f %8.1f %8.1f %8.1f ",
                 health.data != NULL ? health.data : "",
                 view_number(pool, "derivedMetrics.utilizationPercentage"),
                 view_number(pool, "statistics.pool.activeLeases"),
                 view_number(pool, "statistics.pool.totalConnections"),
                 view_number(pool, "statistics.pool.waitingClients"), rates.acquires,
                 rates.statements, rates.errors);
  cen_buf_format(&buf, "%9.2f %7.2f %7.2f\n", view_number(pool, "derivedMetrics.acquireWait.p99Ms"),
                 view_number(pool, "derivedMetrics.statement.p50Ms"),
                 view_number(pool, "derivedMetrics.statement.p99Ms"));
  stats->lines++;
  cli_output_drain(&stats->output, &buf);
  cen_buf_deinit(&health);
  cen_buf_deinit(&buf);
}

/* The body as it came; on a terminal without anything that it would act on. */
static void json_put(struct stats *stats)
{
  size_t size;
  const char *body = gateway_client_body(stats->client, &size);
  char *plain = NULL;
  if (isatty(STDOUT_FILENO)) {
    plain = json_dumps(gateway_client_status(stats->client), JSON_ENSURE_ASCII | JSON_COMPACT);
  }
  cli_output_write(&stats->output, plain != NULL ? plain : body,
                   plain != NULL ? strlen(plain) : size);
  cli_output_text(&stats->output, "\n");
  free(plain);
}

static void answer_put(struct stats *stats)
{
  stats->lost = false;
  if (stats->args->json) {
    json_put(stats);
  } else if (stats->interval_ms > 0) {
    line_put(stats);
  } else {
    report_put(stats);
  }
  if (stats->output.error == 0) {
    (void)fflush(stats->output.file);
  }
}

/* The first answer must come; one that does not come later is said, and asked for again. */
static bool failure_bear(struct stats *stats)
{
  if (stats->interval_ms == 0 || stats->status != CLI_OK) {
    gateway_client_report(stats->client);
    return false;
  }
  if (!stats->lost) {
    fprintf(stderr, "cenote: %s\n", gateway_client_problem(stats->client));
  }
  stats->lost = true;
  return true;
}

static void work_run(void *context)
{
  struct stats *stats = context;
  int64_t next = cen_now_ns();
  bool asking = false;
  stats->status = CLI_FAILED; /* until the first answer */
  while (!atomic_load(&stats->stop) && stats->output.error == 0) {
    const int64_t now = cen_now_ns();
    if (!asking && now >= next) {
      gateway_client_ask(stats->client);
      asking = true;
      next = now + stats->interval_ms * CEN_NS_PER_MS;
    }
    const int64_t patience = asking ? 1000 : (next - now) / CEN_NS_PER_MS + 1;
    const enum gateway_news news = gateway_client_wait(stats->client, patience, -1);
    if (news == GATEWAY_ANSWERED) {
      stats->status = CLI_OK;
      answer_put(stats);
    } else if (news == GATEWAY_FAILED && !failure_bear(stats)) {
      return;
    }
    asking = news == GATEWAY_PENDING;
    if (stats->interval_ms == 0 && !asking) {
      return;
    }
  }
}

static void work_stop(void *context, int signal)
{
  struct stats *stats = context;
  (void)signal;
  atomic_store(&stats->stop, true);
  gateway_client_wake(stats->client);
}

static int interval_read(struct stats *stats)
{
  const struct cli_args *args = stats->args;
  if (args->values[WATCH] != NULL) {
    stats->interval_ms = 1000;
  }
  if (args->operands_count > 0 && args->values[WATCH] == NULL) {
    return cli_report_usage(args->command, "SECONDS is for --watch");
  }
  return gateway_interval_read(args, &stats->interval_ms);
}

static int run(const struct cli_args *args)
{
  struct stats stats = {.args = args};
  int status = interval_read(&stats);
  if (status == CLI_OK) {
    status = gateway_client_open(args, &stats.client);
  }
  if (status != CLI_OK) {
    return status;
  }
  cli_output_init(&stats.output, stdout);
  const struct cli_work work = {.run = work_run, .stop = work_stop, .context = &stats};
  const int signal = cli_work_run(&work);
  status = cli_work_status(signal, cli_output_finish(&stats.output, stats.status));
  gateway_client_close(stats.client);
  return status;
}

static const struct cli_option options[OPTIONS] = {
    GATEWAY_CLIENT_OPTIONS,
    [WATCH] = {"watch", NULL, "a line each SECONDS (1) until Ctrl-C"},
};

const struct cli_command cli_stats = {
    .name = "stats",
    .operands = "[SECONDS]",
    .summary = "statistics of a running gateway",
    .help =
        "Asks a gateway (`cenote serve`) how it is and prints its pools, times since its start, the\n"
        "oldest leases, issues and recommendations. A process sees only its own pool: what programs\n"
        "do with pools of their own is not seen here, nor in any gateway.\n\n"
        "--json prints the gateway's own answer; with --watch one line of it each time.\n"
        "With --watch, rates are those between two answers; a gateway that goes away is said once\n"
        "and asked again. The token never travels unless TLS protects it or the address is this\n"
        "machine's own.",
    .examples = "  cenote stats\n"
                "  cenote stats --watch 5\n"
                "  cenote stats --gateway https://sql.example.com --token-file admin.token\n"
                "  cenote stats --json | jq .connectionPool.derivedMetrics\n",
    .options = options,
    .options_count = OPTIONS,
    .operands_min = 0,
    .operands_max = 1,
    .remote = true,
    .run = run,
};
