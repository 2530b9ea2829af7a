/* gateway_view.c - see gateway_view.h. */
#include "cli/gateway_view.h"

#include "cli/table.h"

#include <string.h>

enum { SOON_MS = 5000, SOON_SHARE = 5, KEY = 64 };

const json_t *view_at(const json_t *object, const char *path)
{
  while (object != NULL && *path != '\0') {
    char key[KEY];
    const size_t size = strcspn(path, ".");
    if (size >= sizeof key) {
      return NULL;
    }
    memcpy(key, path, size);
    key[size] = '\0';
    object = json_object_get(object, key);
    path += size + (path[size] == '.');
  }
  return object;
}

double view_number(const json_t *object, const char *path)
{
  return json_number_value(view_at(object, path));
}

const char *view_text(const json_t *object, const char *path)
{
  const char *text = json_string_value(view_at(object, path));
  return text != NULL && text[0] != '\0' ? text : "-";
}

void view_text_put(struct cen_buf *buf, const json_t *object, const char *path)
{
  const char *text = view_text(object, path);
  cli_text_line(buf, text, strlen(text));
}

void view_duration_put(struct cen_buf *buf, double ms)
{
  const double most = 1e15;
  const char *sign = ms < 0 ? "-" : "";
  ms = ms < 0 ? -ms : ms;
  const int64_t seconds = (int64_t)((ms < most ? ms : most) / 1000);
  const int64_t minutes = seconds / 60, hours = minutes / 60, days = hours / 24;
  if (seconds < 1) {
    cen_buf_format(buf, "%s%.0fms", sign, ms);
  } else if (minutes < 1) {
    cen_buf_format(buf, "%s%.1fs", sign, ms / 1000);
  } else if (hours < 1) {
    cen_buf_format(buf, "%s%dm%02ds", sign, (int)minutes, (int)(seconds % 60));
  } else if (days < 1) {
    cen_buf_format(buf, "%s%dh%02dm", sign, (int)hours, (int)(minutes % 60));
  } else {
    cen_buf_format(buf, "%s%dd%02dh", sign, (int)days, (int)(hours % 24));
  }
}

void view_counts_read(struct view_counts *counts, const json_t *status)
{
  const json_t *statistics = view_at(status, "connectionPool.statistics");
  *counts = (struct view_counts){
      .uptime_ms = view_number(status, "server.uptimeMs"),
      .statements = view_number(statistics, "paths.simple.statements") +
                    view_number(statistics, "paths.exclusive.statements"),
      .errors = view_number(statistics, "paths.simple.errors") +
                view_number(statistics, "paths.exclusive.errors"),
      .acquires = view_number(statistics, "metrics.totalLeasesGranted"),
      .requests = view_number(status, "server.requests"),
  };
}

void view_rates_read(struct view_rates *rates, const struct view_counts *before,
                     const struct view_counts *now, const json_t *status)
{
  const double seconds = (now->uptime_ms - before->uptime_ms) / 1000;
  /* Pools come and go with their counters; a gateway that was started anew counts from 0. */
  if (before->uptime_ms > 0 && seconds > 0 && now->statements >= before->statements &&
      now->errors >= before->errors && now->acquires >= before->acquires &&
      now->requests >= before->requests) {
    *rates = (struct view_rates){.statements = (now->statements - before->statements) / seconds,
                                 .errors = (now->errors - before->errors) / seconds,
                                 .acquires = (now->acquires - before->acquires) / seconds,
                                 .requests = (now->requests - before->requests) / seconds,
                                 .since_last = true};
    return;
  }
  const json_t *pool = view_at(status, "connectionPool");
  *rates = (struct view_rates){
      .statements = view_number(pool, "derivedMetrics.statementsPerSecond"),
      .errors = view_number(pool, "statistics.lastMinute.statementErrors") / 60,
      .acquires = view_number(pool, "derivedMetrics.acquiresPerSecond"),
  };
}

enum view_lease view_lease_state(const json_t *lease)
{
  const json_t *member = json_object_get(lease, "remainingMs");
  const double left = json_number_value(member), age = view_number(lease, "ageMs");
  if (!json_is_number(member)) {
    return VIEW_FINE;
  }
  if (left <= 0) {
    return VIEW_OVERDUE;
  }
  return left < SOON_MS || left * SOON_SHARE < left + age ? VIEW_SOON : VIEW_FINE;
}
