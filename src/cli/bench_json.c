/* bench_json.c - what the load test came to, as JSON. */
#include "cli/bench_compare.h"
#include "cli/output.h"

#include "base/json.h"
#include "base/limits.h"
#include "base/text.h"

#include <stdio.h>
#include <string.h>

enum { REPORT_CEILING = 1 << 20 };

static void number(struct cen_json *json, const char *key, double value)
{
  cen_json_key(json, key);
  if (value < 0) {
    cen_json_null(json);
  } else {
    cen_json_real(json, value);
  }
}

static void count(struct cen_json *json, const char *key, uint64_t value)
{
  cen_json_key(json, key);
  cen_json_uint(json, value);
}

static void figures_json(struct cen_json *json, const struct bench_figures *figures)
{
  cen_json_object(json);
  count(json, "rounds", figures->rounds);
  count(json, "operations", figures->queries);
  count(json, "errors", figures->errors);
  number(json, "errorRatePercent", error_percent(figures));
  count(json, "connectionsOpened", figures->opened);
  count(json, "httpConnectionsOpened", figures->opened_http);
  count(json, "answeredOverHttp", figures->over_http);
  count(json, "answeredByPool", by_pool(figures));
  number(json, "reuseRatePercent", reuse_percent(figures));
  count(json, "peakConnections", (uint64_t)(figures->peak > 0 ? figures->peak : 0));
  number(json, "totalMs", figures->total_ms);
  number(json, "meanMs", figures->mean_ms);
  number(json, "p50Ms", figures->p50_ms);
  number(json, "p95Ms", figures->p95_ms);
  number(json, "p99Ms", figures->p99_ms);
  number(json, "maxMs", figures->max_ms);
  number(json, "clientCpuMs", figures->cpu_ms);
  number(json, "serverCpuMs", figures->server_cpu_ms);
  number(json, "memoryBytes", figures->memory);
  cen_json_key(json, "firstError");
  cen_json_string(json, figures->error[0] ? figures->error : NULL);
  cen_json_object_end(json);
}

static void gain_json(struct cen_json *json, const struct bench_figures *before,
                      const struct bench_figures *after)
{
  cen_json_object(json);
  number(json, "timesFaster", times(before->total_ms, after->total_ms));
  cen_json_key(json, "cpuLessPercent");
  cen_json_real(json, less_percent(cpu_ms(before), cpu_ms(after)));
  cen_json_key(json, "clientCpuLessPercent");
  cen_json_real(json, less_percent(before->cpu_ms, after->cpu_ms));
  cen_json_key(json, "memoryLessPercent");
  if (before->memory > 0 && after->memory >= 0) {
    cen_json_real(json, less_percent(before->memory, after->memory));
  } else {
    cen_json_null(json);
  }
  cen_json_object_end(json);
}

static void shared_json(struct cen_json *json, const struct bench_row *row)
{
  const cenote_statistics *s = &row->shared;
  cen_json_key(json, "shared");
  figures_json(json, &row->side[BENCH_SHARED]);
  cen_json_key(json, "sharedGain");
  gain_json(json, &row->side[BENCH_BEFORE], &row->side[BENCH_SHARED]);
  cen_json_key(json, "sharing");
  cen_json_object(json);
  count(json, "statements", s->simple.statements);
  count(json, "connections", (uint64_t)(s->pipelines > 0 ? s->pipelines : 0));
  count(json, "fallbacks", s->fallbacks);
  count(json, "inFlightP50", s->depth.p50_us);
  count(json, "inFlightMax", s->depth.max_us);
  count(json, "answersOfOneReadP50", s->batch.p50_us);
  count(json, "answersOfOneReadMax", s->batch.max_us);
  cen_json_object_end(json);
}

static void row_json(struct cen_json *json, const struct bench_row *row)
{
  const struct bench_figures *before = &row->side[BENCH_BEFORE], *after = &row->side[BENCH_AFTER];
  cen_json_object(json);
  cen_json_key(json, "name");
  cen_json_string(json, row->scenario->name);
  cen_json_key(json, "what");
  cen_json_string(json, row->scenario->what);
  count(json, "clients", row->scenario->clients);
  cen_json_key(json, "skipped");
  cen_json_string(json, row->skipped[0] ? row->skipped : NULL);
  if (measured(row)) {
    cen_json_key(json, "before");
    figures_json(json, before);
    cen_json_key(json, "after");
    figures_json(json, after);
    cen_json_key(json, "gain");
    gain_json(json, before, after);
    if (row->shares) {
      shared_json(json, row);
    }
  }
  cen_json_object_end(json);
}

int bench_report_json(const struct bench *bench)
{
  struct cli_output output;
  struct cen_buf buf;
  struct cen_json json;
  char url[CEN_MAX_URL + 64];
  cli_output_init(&output, stdout);
  cen_buf_init(&buf, REPORT_CEILING);
  cen_json_init(&json, &buf);
  cen_url_redact(url, sizeof url, bench->target.url);
  cen_json_object(&json);
  cen_json_key(&json, "database");
  cen_json_string(&json, url);
  count(&json, "rounds", bench->rounds);
  cen_json_key(&json, "interrupted");
  cen_json_bool(&json, atomic_load(&bench->stop));
  cen_json_key(&json, "scenarios");
  cen_json_array(&json);
  for (size_t i = 0; i < BENCH_SCENARIOS; i++) {
    if (bench->rows[i].scenario) {
      row_json(&json, &bench->rows[i]);
    }
  }
  cen_json_array_end(&json);
  /* The library's own JSON, as it is. */
  cen_buf_text(&buf, ",\"pool\":");
  cen_buf_text(&buf, bench->statistics_json);
  cen_buf_text(&buf, "}\n");
  cli_output_drain(&output, &buf);
  cen_buf_deinit(&buf);
  return cli_output_finish(&output, CLI_OK);
}
