/* history.c - see history.h. */
#include "server/history.h"

#include <stdatomic.h>
#include <string.h>

static uint64_t load(const _Atomic uint64_t *from)
{
  return atomic_load_explicit(from, memory_order_relaxed);
}

static uint64_t grown(uint64_t now, uint64_t before)
{
  return now > before ? now - before : 0;
}

/* What `now` has more than `before`. Its greatest value is not known: that of all times bounds it. */
static void hist_difference(struct cen_hist *out, const struct cen_hist *now,
                            const struct cen_hist *before)
{
  for (unsigned i = 0; i < CEN_HIST_BUCKETS; i++) {
    atomic_store_explicit(&out->bucket[i], grown(load(&now->bucket[i]), load(&before->bucket[i])),
                          memory_order_relaxed);
  }
  atomic_store_explicit(&out->sum_ns, grown(load(&now->sum_ns), load(&before->sum_ns)),
                        memory_order_relaxed);
  atomic_store_explicit(&out->max_ns, load(&now->max_ns), memory_order_relaxed);
}

static struct history_times times_of(const cenote_percentiles *from)
{
  return (struct history_times){.any = from->count > 0,
                                .p50_ms = (double)from->p50_us / 1000,
                                .p95_ms = (double)from->p95_us / 1000,
                                .p99_ms = (double)from->p99_us / 1000};
}

static void point_fill(struct history_point *point, const struct history_last *last,
                       const struct history_last *now, const cenote_statistics *all)
{
  const double seconds = (double)(now->at_ns - last->at_ns) / 1e9;
  struct cen_hist step = {0};
  cenote_percentiles times;
  point->leases = all->active_leases;
  point->connections = all->total_connections;
  point->idle = all->idle_connections;
  point->waiters = all->waiters;
  point->utilization = all->max_connections > 0
                           ? 100.0 * (double)all->active_leases / (double)all->max_connections
                           : 0;
  const uint64_t granted = grown(now->granted, last->granted);
  point->acquires = (double)granted / seconds;
  point->simple = (double)grown(now->simple, last->simple) / seconds;
  point->exclusive = (double)grown(now->exclusive, last->exclusive) / seconds;
  point->errors = (double)grown(now->errors, last->errors) / seconds;
  point->timeouts = (double)grown(now->timeouts, last->timeouts) / seconds;
  hist_difference(&step, &now->wait, &last->wait);
  cen_waits_read(&step, granted, &times);
  point->wait = times_of(&times);
  hist_difference(&step, &now->statement, &last->statement);
  cen_hist_read(&step, &times);
  point->statement = times_of(&times);
}

bool history_sample(struct history_last *last, const struct cen_sum *sum, int64_t now_ns,
                    int64_t unix_ms, struct history_point *point)
{
  const cenote_statistics *all = &sum->figures.statistics;
  struct history_last now = {
      .at_ns = now_ns,
      .granted = all->leases_granted,
      .simple = all->simple.statements,
      .exclusive = all->exclusive.statements,
      .errors = all->statement_errors,
      .timeouts = all->acquire_timeouts + all->lease_timeouts,
  };
  cen_hist_add(&now.wait, &sum->times.wait);
  cen_hist_add(&now.statement, &sum->times.simple_statement);
  cen_hist_add(&now.statement, &sum->times.exclusive_statement);
  const bool whole = last->at_ns != 0 && now_ns > last->at_ns;
  memset(point, 0, sizeof *point);
  if (whole) {
    point->unix_ms = unix_ms;
    point_fill(point, last, &now, all);
  }
  memcpy(last, &now, sizeof now);
  return whole;
}

void history_add(struct history *history, const struct history_point *point)
{
  history->point[history->count % HISTORY_POINTS] = *point;
  history->count++;
}

const struct history_point *history_at(const struct history *history, uint64_t ago)
{
  return ago < history->count && ago < HISTORY_POINTS
             ? &history->point[(history->count - 1 - ago) % HISTORY_POINTS]
             : NULL;
}

/* -------------------------------------------------------------------------- JSON */

static void put_real(struct cen_json *json, const char *key, double value)
{
  cen_json_key(json, key);
  cen_json_real(json, value);
}

static void put_int(struct cen_json *json, const char *key, int64_t value)
{
  cen_json_key(json, key);
  cen_json_int(json, value);
}

static void put_time(struct cen_json *json, const char *key, bool any, double ms)
{
  cen_json_key(json, key);
  if (any) {
    cen_json_real(json, ms);
  } else {
    cen_json_null(json);
  }
}

void history_write_point(struct cen_json *json, const struct history_point *point)
{
  cen_json_object(json);
  put_int(json, "t", point->unix_ms);
  put_real(json, "utilization", point->utilization);
  put_int(json, "leases", point->leases);
  put_int(json, "connections", point->connections);
  put_int(json, "idle", point->idle);
  put_int(json, "waiters", point->waiters);
  put_real(json, "acquires", point->acquires);
  put_real(json, "simple", point->simple);
  put_real(json, "exclusive", point->exclusive);
  put_real(json, "errors", point->errors);
  put_real(json, "timeouts", point->timeouts);
  put_time(json, "waitP50", point->wait.any, point->wait.p50_ms);
  put_time(json, "waitP95", point->wait.any, point->wait.p95_ms);
  put_time(json, "waitP99", point->wait.any, point->wait.p99_ms);
  put_time(json, "statementP50", point->statement.any, point->statement.p50_ms);
  put_time(json, "statementP95", point->statement.any, point->statement.p95_ms);
  put_time(json, "statementP99", point->statement.any, point->statement.p99_ms);
  cen_json_object_end(json);
}

void history_write(struct cen_json *json, const struct history *history)
{
  cen_json_object(json);
  put_int(json, "stepMs", HISTORY_STEP_MS);
  cen_json_key(json, "points");
  cen_json_array(json);
  const uint64_t kept = history->count < HISTORY_POINTS ? history->count : HISTORY_POINTS;
  for (uint64_t ago = kept; ago > 0; ago--) {
    history_write_point(json, history_at(history, ago - 1));
  }
  cen_json_array_end(json);
  cen_json_object_end(json);
}
