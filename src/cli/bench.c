/* bench.c - `cenote bench`: the load-test scenarios, before (a connection for each query) against
 * after (pooled) and shared (single statements without a lease). */
#include "cli/bench.h"
#include "cli/interrupt.h"
#include "cli/log.h"
#include "cli/report.h"

#include "base/text.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SCENARIO, ROUNDS };
enum { DEFAULT_ROUNDS = 10, MAX_ROUNDS = 10000 };

static const struct cli_option options[] = {
    [SCENARIO] = {"scenario", "LIST", "concurrent,pooled,mixed,stress,exhaustion or all"},
    [ROUNDS] = {"rounds", "N", "rounds that are measured, after one to warm up [10]"},
};

/* ---------------------------------------------------------------- command line */

static bool scenario_choose(struct bench *bench, const char *name, size_t size)
{
  bool found = false;
  for (size_t i = 0; i < BENCH_SCENARIOS; i++) {
    const char *known = bench_scenarios[i].name;
    bool same = strlen(known) == size && strncmp(known, name, size) == 0;
    if (same || (size == 3 && strncmp(name, "all", 3) == 0)) {
      bench->chosen[i] = true;
      found = true;
    }
  }
  return found;
}

static int scenarios_read(struct bench *bench, const char *list)
{
  while (*list) {
    size_t size = strcspn(list, ",");
    if (!scenario_choose(bench, list, size)) {
      char message[160];
      snprintf(message, sizeof message,
               "--scenario: \"%.*s\" is none of concurrent, pooled, mixed, stress, exhaustion, all",
               (int)(size < 40 ? size : 40), list);
      return cli_report_usage(&cli_bench, message);
    }
    list += size + (list[size] == ',');
  }
  return CLI_OK;
}

static int arguments_read(struct bench *bench)
{
  const char *rounds = bench->args->values[ROUNDS];
  int64_t number = DEFAULT_ROUNDS;
  if (rounds && (!cen_text_to_int(rounds, &number) || number < 1 || number > MAX_ROUNDS)) {
    return cli_report_usage(&cli_bench, "--rounds wants a number from 1 to 10000");
  }
  bench->rounds = (unsigned)number;
  const char *list = bench->args->values[SCENARIO];
  return scenarios_read(bench, list ? list : "all");
}

/* ------------------------------------------------------------------------ work */

static void statistics_keep(struct bench *bench)
{
  bench->statistics = (cenote_statistics)CENOTE_STATISTICS_INIT;
  cenote_status status = cenote_pool_statistics(bench->manager, &bench->statistics);
  if (status == CENOTE_OK) {
    status = cenote_pool_statistics_json(bench->manager, &bench->statistics_json, NULL);
  }
  if (status != CENOTE_OK) {
    fprintf(stderr, "cenote: no statistics: %s\n", cenote_status_text(status));
    bench->status = CLI_FAILED;
  }
}

/* An error of the pooled side is a failure of ours; the other side is expected to have some. */
static void outcome_judge(struct bench *bench)
{
  for (size_t i = 0; i < BENCH_SCENARIOS * BENCH_SIDES; i++) {
    const struct bench_row *row = &bench->rows[i / BENCH_SIDES];
    const struct bench_figures *side = &row->side[i % BENCH_SIDES];
    if (i % BENCH_SIDES != BENCH_BEFORE && bench->status == CLI_OK && side->errors > 0) {
      fprintf(stderr, "cenote: %s: %llu of %llu %s operations failed: %s\n", row->scenario->name,
              (unsigned long long)side->errors, (unsigned long long)side->queries,
              i % BENCH_SIDES == BENCH_AFTER ? "pooled" : "shared", side->error);
      bench->status = CLI_FAILED;
    }
  }
}

static void work_run(void *context)
{
  struct bench *bench = context;
  cenote_error error = CENOTE_ERROR_INIT;
  bench_progress("making the table %s", bench->target.table);
  bench->table_made = bench_table_make(&bench->target, bench->manager, &error);
  if (!bench->table_made) {
    bench_progress("%s", "");
    if (!atomic_load(&bench->stop)) {
      cli_report(&error);
    }
    bench->status = cli_exit_status(error.status);
    return;
  }
  atomic_store(&bench->measuring, true);
  bool going = true;
  for (size_t i = 0; going && i < BENCH_SCENARIOS; i++) {
    if (bench->chosen[i] && !atomic_load(&bench->stop)) {
      bench->rows[i].scenario = &bench_scenarios[i];
      going = bench_scenario_run(bench, &bench->rows[i]);
    }
  }
  bench_progress("%s", "");
  statistics_keep(bench);
  outcome_judge(bench);
  if (!bench_table_drop(&bench->target, bench->manager, &error)) {
    fprintf(stderr, "cenote: the table %s is left behind\n", bench->target.table);
    cli_report(&error);
    bench->status = CLI_FAILED;
  }
}

static void work_stop(void *context, int signal)
{
  struct bench *bench = context;
  (void)signal;
  atomic_store(&bench->stop, true);
  if (!atomic_load(&bench->measuring)) {
    cli_log_quiet();
    fputs("\ncenote: interrupted\n", stderr);
    cenote_status forced = cenote_shutdown(bench->manager, 0, NULL);
    (void)forced;
    return;
  }
  fprintf(stderr,
          "\ncenote: stopping after this round (once more: at once, and the table %s stays)\n",
          bench->target.table);
}

/* ------------------------------------------------------------------------- run */

/* Is there SQL over HTTP, alone or beside the pool? The manager knows. */
static bool paths_find(struct bench *bench, bool *http)
{
  char *text = NULL;
  cenote_status status = cenote_pool_statistics_json(bench->manager, &text, NULL);
  json_t *document = status == CENOTE_OK ? json_loads(text, 0, NULL) : NULL;
  const json_t *paths = json_object_get(document, "paths");
  *http = bench_is_http(&bench->target) || json_object_get(paths, "http") != NULL;
  cenote_string_free(text);
  if (!document) {
    fputs("cenote: no statistics\n", stderr);
  }
  json_decref(document);
  return document != NULL;
}

static int bench_run(struct bench *bench)
{
  cli_signals_allow();
  bench_server_find(&bench->server, &bench->target);
  cli_signals_prepare();
  bench->memory_base = bench_memory_read(&bench->server);
  static const cenote_setting defaults[] = {{"slow_statement_ms", "0"}, {NULL, NULL}};
  int status = cli_open(bench->args, bench->target.url, CLI_CONNECTS, defaults, &bench->manager);
  if (status != CLI_OK) {
    return status;
  }
  bool http;
  if (!paths_find(bench, &http) || (http && !bench_http_find(bench))) {
    cenote_close(bench->manager);
    return CLI_FAILED;
  }
  struct cli_work work = {.run = work_run, .stop = work_stop, .context = bench};
  int signal = cli_work_run(&work);
  cenote_close(bench->manager);
  status = cli_work_status(signal < 0 ? signal : 0, bench->status);
  if (bench->table_made && bench->statistics_json) {
    int printed = bench->args->json ? bench_report_json(bench) : bench_report_table(bench);
    status = printed != CLI_OK ? printed : status;
  }
  cenote_string_free(bench->statistics_json);
  return signal > 0 ? cli_work_status(signal, status) : status;
}

static int run(const struct cli_args *args)
{
  struct bench *bench = calloc(1, sizeof *bench);
  if (!bench) {
    fputs("cenote: out of memory\n", stderr);
    return CLI_FAILED;
  }
  bench->args = args;
  int status = arguments_read(bench);
  if (status == CLI_OK) {
    status = bench_target_init(&bench->target, args->url);
    status = status == CLI_OK ? bench_run(bench) : status;
    bench_target_deinit(&bench->target);
  }
  free(bench);
  return status;
}

const struct cli_command cli_bench = {
    .name = "bench",
    .operands = "",
    .summary = "the load test: a connection for each query, against the pool",
    .help =
        "Runs each scenario in rounds that alternate: before, where every client opens a\n"
        "connection for its query and closes it (libpq or sqlite3 directly, nothing of ours in\n"
        "between), after, where it leases one from the pool, and shared, where single queries take\n"
        "no lease and share a few connections. Without --url and without a URL in the environment\n"
        "the database is a temporary SQLite file. In another database it makes a table of its own,\n"
        "cenote_bench_ and a number, and drops it at the end.\n\n"
        "  concurrent   50 clients at once, one query each\n"
        "  pooled       20 clients, a lease with a small transaction each\n"
        "  mixed        50 clients, half of them with a query, half with a transaction\n"
        "  stress       100 clients, one query each\n"
        "  exhaustion   200 clients at the same time meet 20 connections. PostgreSQL: a role of its\n"
        "               own with CONNECTION LIMIT 20 (skipped where the login may not create one).\n"
        "               SQLite has no such limit: there the clients meet its one write lock, without\n"
        "               a busy time-out, which is what a connection has that nobody configured\n\n"
        "Where SQL over HTTP is beside the pool (an endpoint, or a host of Neon's) single queries are\n"
        "measured over HTTP and transactions over the pool: before, each with a connection of its\n"
        "own, after, as Cenote routes them; the table says which path answered how many, and what\n"
        "each opened. With a neon://, libsql://, http:// or https:// URL all goes over HTTP, a\n"
        "transaction as a batch; exhaustion is left out there.\n\n"
        "The first half opens up to 200 connections at once: do not point it at a server that\n"
        "others need. CPU is this process's, and the server's where it runs on this machine.\n"
        "Memory is the most that connections took at once, client and server. Exit status 1\n"
        "when a pooled operation failed. Ctrl-C ends after the running round and prints what there\n"
        "is.",
    .examples = "  cenote bench\n"
                "  cenote bench --url postgresql://localhost/test --rounds 20\n"
                "  cenote bench --scenario stress,exhaustion --max-connections 10\n"
                "  cenote bench --url postgresql://… --http-endpoint https://host/sql\n"
                "  cenote bench --json | jq '.scenarios[] | {name, gain}'\n",
    .options = options,
    .options_count = sizeof options / sizeof options[0],
    .operands_min = 0,
    .operands_max = 0,
    .run = run,
};
