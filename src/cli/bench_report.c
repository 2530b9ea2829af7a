/* bench_report.c - what the load test came to: a table and a few sentences. */
#include "cli/bench_compare.h"
#include "cli/table.h"

#include "base/limits.h"
#include "base/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REPORT_CEILING = 1 << 20 };

/* ---------------------------------------------------------------------- table */

enum {
  NAME,
  CLIENTS,
  SIDE,
  TOTAL,
  MEAN,
  P50,
  P95,
  P99,
  MAX,
  OPENED,
  REUSE,
  ERRORS,
  CPU,
  MEMORY,
  COLUMNS,
  /* where there is SQL over HTTP */
  BY_HTTP = COLUMNS,
  BY_POOL,
  OPENED_HTTP,
  COLUMNS_HTTP
};

/* A scenario: each side, and its gain over the first. */
enum line { LINE_BEFORE, LINE_AFTER, LINE_AFTER_GAIN, LINE_SHARED, LINE_SHARED_GAIN, LINES };

struct lines {
  const struct bench_row *rows[BENCH_SCENARIOS * LINES];
  enum line which[BENCH_SCENARIOS * LINES];
  size_t count;
};

static void ms_add(struct cen_buf *buf, double ms)
{
  if (ms < 0) {
    cen_buf_char(buf, '-');
  } else {
    cen_buf_format(buf, ms < 1 ? "%.3f" : ms < 100 ? "%.2f" : "%.0f", ms);
  }
}

static void bytes_add(struct cen_buf *buf, double bytes)
{
  if (bytes < 0) {
    cen_buf_char(buf, '-');
  } else if (bytes < 1048576) {
    cen_buf_format(buf, "%.0f KiB", bytes / 1024);
  } else {
    cen_buf_format(buf, "%.1f MiB", bytes / 1048576);
  }
}

static void side_cell(struct cen_buf *buf, const struct bench_figures *figures, size_t column)
{
  const double ms[] = {
      [TOTAL] = figures->total_ms, [MEAN] = figures->mean_ms, [P50] = figures->p50_ms,
      [P95] = figures->p95_ms,     [P99] = figures->p99_ms,   [MAX] = figures->max_ms};
  switch (column) {
  case OPENED:
    cen_buf_format(buf, "%" PRIu64, figures->opened);
    break;
  case OPENED_HTTP:
    cen_buf_format(buf, "%" PRIu64, figures->opened_http);
    break;
  case BY_HTTP:
    cen_buf_format(buf, "%" PRIu64, figures->over_http);
    break;
  case BY_POOL:
    cen_buf_format(buf, "%" PRIu64, by_pool(figures));
    break;
  case REUSE:
    cen_buf_format(buf, "%.1f %%", reuse_percent(figures));
    break;
  case ERRORS:
    cen_buf_format(buf, "%.1f %%", error_percent(figures));
    break;
  case CPU:
    ms_add(buf, cpu_ms(figures));
    break;
  case MEMORY:
    bytes_add(buf, figures->memory);
    break;
  default:
    ms_add(buf, ms[column]);
    break;
  }
}

static void less_add(struct cen_buf *buf, double before, double after)
{
  if (before > 0 && after >= 0) {
    cen_buf_format(buf, "%+.0f %%", -less_percent(before, after));
  }
}

static void times_add(struct cen_buf *buf, double before, double after)
{
  double factor = times(before, after);
  if (factor > 0) {
    cen_buf_format(buf, factor < 10 ? "%.1fx" : "%.0fx", factor);
  }
}

static void gain_cell(struct cen_buf *buf, const struct bench_row *row, enum bench_side side,
                      size_t column)
{
  const struct bench_figures *before = &row->side[BENCH_BEFORE], *after = &row->side[side];
  switch (column) {
  case TOTAL:
    times_add(buf, before->total_ms, after->total_ms);
    break;
  case MEAN:
    times_add(buf, before->mean_ms, after->mean_ms);
    break;
  case P50:
    times_add(buf, before->p50_ms, after->p50_ms);
    break;
  case P95:
    times_add(buf, before->p95_ms, after->p95_ms);
    break;
  case P99:
    times_add(buf, before->p99_ms, after->p99_ms);
    break;
  case MAX:
    times_add(buf, before->max_ms, after->max_ms);
    break;
  case CPU:
    less_add(buf, cpu_ms(before), cpu_ms(after));
    break;
  case MEMORY:
    less_add(buf, before->memory, after->memory);
    break;
  default:
    break;
  }
}

static void cell(void *context, size_t line, size_t column, struct cen_buf *buf)
{
  static const char *const names[LINES] = {"before", "after", "gain", "shared", "gain"};
  static const enum bench_side sides[LINES] = {BENCH_BEFORE, BENCH_AFTER, BENCH_AFTER, BENCH_SHARED,
                                               BENCH_SHARED};
  const struct lines *lines = context;
  const struct bench_row *row = lines->rows[line];
  enum line which = lines->which[line];
  if (column == SIDE) {
    cen_buf_text(buf, names[which]);
  } else if (column == NAME) {
    cen_buf_text(buf, which == LINE_BEFORE ? row->scenario->name : "");
  } else if (column == CLIENTS) {
    if (which == LINE_BEFORE) {
      cen_buf_format(buf, "%u", row->scenario->clients);
    }
  } else if (which == LINE_AFTER_GAIN || which == LINE_SHARED_GAIN) {
    gain_cell(buf, row, sides[which], column);
  } else {
    side_cell(buf, &row->side[sides[which]], column);
  }
}

static void lines_add(struct lines *lines, const struct bench_row *row)
{
  enum line end = row->shares ? LINES : LINE_SHARED;
  for (enum line which = LINE_BEFORE; which < end; which++) {
    lines->rows[lines->count] = row;
    lines->which[lines->count++] = which;
  }
}

static void rows_print(const struct bench *bench, struct cli_output *output)
{
  static const char *const headers[COLUMNS_HTTP] = {
      "scenario", "clients", "side",    "total ms", "mean ms",    "p50",
      "p95",      "p99",     "max",     "opened",   "reuse",      "errors",
      "CPU ms",   "memory",  "by http", "by pool",  "http opened"};
  bool right[COLUMNS_HTTP];
  for (size_t i = 0; i < COLUMNS_HTTP; i++) {
    right[i] = i != NAME && i != SIDE;
  }
  struct lines lines = {0};
  for (size_t i = 0; i < BENCH_SCENARIOS; i++) {
    if (measured(&bench->rows[i])) {
      lines_add(&lines, &bench->rows[i]);
    }
  }
  struct cli_table table = {.columns = bench->target.http ? COLUMNS_HTTP : COLUMNS,
                            .rows = lines.count,
                            .headers = headers,
                            .right = right,
                            .cell = cell,
                            .context = &lines};
  if (lines.count > 0) {
    cli_table_print(&table, output);
  }
}

/* ------------------------------------------------------------------ sentences */

static void change_add(struct cen_buf *buf, const char *what, double less)
{
  cen_buf_format(buf, "; %s %.0f %% %s", what, less < 0 ? -less : less, less < 0 ? "more" : "less");
}

/* What the requirements promise, beside what was measured over all scenarios without a limit that
 * have that side. */
static void promises_add(const struct bench *bench, enum bench_side after, const char *what,
                         struct cen_buf *buf)
{
  double mean = 0, cpu[BENCH_SIDES] = {0}, memory[BENCH_SIDES] = {0};
  unsigned count = 0;
  bool memory_known = true;
  for (size_t i = 0; i < BENCH_SCENARIOS; i++) {
    const struct bench_row *row = &bench->rows[i];
    if (!measured(row) || row->scenario->limit > 0 || (after == BENCH_SHARED && !row->shares)) {
      continue;
    }
    count++;
    mean += row->side[after].mean_ms;
    for (size_t side = 0; side < BENCH_SIDES; side++) {
      cpu[side] += cpu_ms(&row->side[side]);
      memory[side] += row->side[side].memory;
      memory_known = memory_known && (row->side[side].memory >= 0 || side > after);
    }
  }
  if (count == 0) {
    return;
  }
  cen_buf_format(buf, "\n%s: mean per query %.2f ms, waiting for a connection included", what,
                 mean / count);
  change_add(buf, "CPU", less_percent(cpu[BENCH_BEFORE], cpu[after]));
  if (memory_known) {
    change_add(buf, "memory of the connections", less_percent(memory[BENCH_BEFORE], memory[after]));
  }
}

static void exhaustion_add(const struct bench *bench, const struct bench_row *row,
                           struct cen_buf *buf)
{
  const struct bench_figures *before = &row->side[BENCH_BEFORE], *after = &row->side[BENCH_AFTER];
  bool sqlite = bench->target.kind == BENCH_SQLITE;
  cen_buf_format(buf, "\n%s: %u clients meet %s\n", row->scenario->name, row->scenario->clients,
                 sqlite ? "SQLite's one write lock (it has no limit of connections)"
                        : "a login with 20 connections");
  cen_buf_format(buf, "  before: %" PRIu64 " of %" PRIu64 " failed", before->errors,
                 before->queries);
  if (before->errors > 0) {
    cen_buf_text(buf, ", the first with: ");
    cli_text_safe(buf, before->error, strlen(before->error));
  }
  cen_buf_format(buf, "\n  after:  %" PRIu64 " of %" PRIu64 " failed; nobody waited longer than ",
                 after->errors, after->queries);
  ms_add(buf, after->max_ms);
  cen_buf_text(buf, " ms\n");
}

static void errors_add(const struct bench_row *row, struct cen_buf *buf)
{
  static const char *const names[BENCH_SIDES] = {"before", "after", "shared"};
  for (size_t i = 0; i < BENCH_SIDES; i++) {
    const struct bench_figures *side = &row->side[i];
    if (side->errors > 0) {
      cen_buf_format(buf, "\n%s, %s: %" PRIu64 " of %" PRIu64 " failed, the first with: ",
                     row->scenario->name, names[i], side->errors, side->queries);
      cli_text_line(buf, side->error, strlen(side->error));
      cen_buf_char(buf, '\n');
    }
  }
}

/* How the shared connections were used; nothing where the database has none. */
static void sharing_add(const struct bench_row *row, struct cen_buf *buf)
{
  const cenote_statistics *s = &row->shared;
  if (!row->shares || s->simple.statements == 0) {
    return;
  }
  cen_buf_format(buf,
                 "\n%s, shared: %" PRIu64 " statements on shared connections (%" PRId64
                 " at the end), %" PRIu64 " moved to one of their own\n"
                 "  in flight when one was added: p50 %" PRIu64 ", max %" PRIu64
                 "; answered by one read: p50 %" PRIu64 ", max %" PRIu64 "\n",
                 row->scenario->name, s->simple.statements, s->pipelines, s->fallbacks,
                 s->depth.p50_us, s->depth.max_us, s->batch.p50_us, s->batch.max_us);
}

static void remarks_add(const struct bench *bench, struct cen_buf *buf)
{
  for (size_t i = 0; i < BENCH_SCENARIOS; i++) {
    const struct bench_row *row = &bench->rows[i];
    if (!row->scenario) {
      continue;
    }
    if (row->skipped[0]) {
      cen_buf_format(buf, "\n%s: not measured: ", row->scenario->name);
      cli_text_safe(buf, row->skipped, strlen(row->skipped));
      cen_buf_char(buf, '\n');
    } else if (measured(row) && row->scenario->limit > 0) {
      exhaustion_add(bench, row, buf);
    } else if (measured(row)) {
      errors_add(row, buf);
      sharing_add(row, buf);
    }
  }
}

static void statistics_add(const cenote_statistics *s, struct cen_buf *buf)
{
  cen_buf_format(buf,
                 "\nthe pool: %s; %" PRId64 " of %" PRId64 " connections open, %" PRIu64
                 " created, %" PRIu64 " closed, %" PRIu64 " errors\n",
                 cenote_state_name(s->state), s->total_connections, s->max_connections,
                 s->connections_created, s->connections_closed, s->connection_errors);
  cen_buf_format(buf,
                 "  leases: %" PRIu64 " granted, %" PRIu64 " released, %" PRIu64
                 " expired; acquires: %" PRIu64 " timed out\n",
                 s->leases_granted, s->leases_released, s->lease_timeouts, s->acquire_timeouts);
  const struct {
    const char *what;
    const cenote_percentiles *of;
  } times_of[] = {{"wait for a connection", &s->acquire_wait},
                  {"lease held", &s->hold},
                  {"statement", &s->statement},
                  {"connect", &s->connect}};
  for (size_t i = 0; i < sizeof times_of / sizeof times_of[0]; i++) {
    const cenote_percentiles *p = times_of[i].of;
    cen_buf_format(buf,
                   "  %-22s p50 %" PRIu64 " us, p95 %" PRIu64 " us, p99 %" PRIu64
                   " us, max %" PRIu64 " us\n",
                   times_of[i].what, p->p50_us, p->p95_us, p->p99_us, p->max_us);
  }
}

static void paths_add(const cenote_statistics *s, struct cen_buf *buf)
{
  static const char *const names[] = {"http", "shared", "leases"};
  const uint64_t *const why[] = {s->http_why, s->simple_why, s->exclusive_why};
  const uint64_t statements[] = {s->http.statements, s->simple.statements, s->exclusive.statements};
  for (size_t path = 0; path < sizeof names / sizeof names[0]; path++) {
    cen_buf_format(buf, "  statements, %-10s %" PRIu64, names[path], statements[path]);
    const char *before = ": ";
    for (int reason = 0; reason < CENOTE_WHYS; reason++) {
      if (why[path][reason] > 0) {
        cen_buf_format(buf, "%s%s %" PRIu64, before, cenote_why_name((cenote_why)reason),
                       why[path][reason]);
        before = ", ";
      }
    }
    cen_buf_char(buf, '\n');
  }
}

static void redacted_url(const struct bench *bench, char *out, size_t size)
{
  cen_url_redact(out, size, bench->target.url);
}

static const char *after_says(const struct bench_target *target)
{
  return !target->http ? "after: leased from the pool,\nshared: single queries without a lease"
         : bench_is_http(target)
             ? "after: over HTTP connections\nthat are kept; a transaction is a batch"
             : "after: single queries over HTTP\nconnections that are kept, transactions over the pool";
}

int bench_report_table(const struct bench *bench)
{
  struct cli_output output;
  struct cen_buf buf;
  char url[CEN_MAX_URL + 64];
  cli_output_init(&output, stdout);
  cen_buf_init(&buf, REPORT_CEILING);
  redacted_url(bench, url, sizeof url);
  cen_buf_text(&buf, "database ");
  cli_text_safe(&buf, url, strlen(url));
  cen_buf_format(&buf,
                 "\n%u rounds after a warm-up; before: a new connection for each query, %s\n\n",
                 bench->rounds, after_says(&bench->target));
  cli_output_drain(&output, &buf);
  rows_print(bench, &output);
  cen_buf_format(&buf,
                 "\ntotal: a round's wall time (median); CPU ms: of a round, %s\n"
                 "memory: the most that connections took at once, %s\n",
                 bench->server.postmaster ? "client and server" : "this process",
                 bench->server.embedded     ? "what SQLite allocated"
                 : bench->server.postmaster ? "client's heap and server's private pages"
                                            : "this process's heap");
  promises_add(bench, BENCH_AFTER, "after", &buf);
  promises_add(bench, BENCH_SHARED, "shared", &buf);
  cen_buf_char(&buf, '\n');
  remarks_add(bench, &buf);
  statistics_add(&bench->statistics, &buf);
  if (bench->target.http) {
    paths_add(&bench->statistics, &buf);
  }
  if (atomic_load(&bench->stop)) {
    cen_buf_text(&buf, "\ninterrupted: not every round was run\n");
  }
  cli_output_drain(&output, &buf);
  cen_buf_deinit(&buf);
  return cli_output_finish(&output, CLI_OK);
}
