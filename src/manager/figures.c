/* figures.c - what is computed from the measured figures: the recent past, rates and shares. */
#include "manager/observe.h"

const char *cenote_state_name(cenote_state state)
{
  static const char *const names[] = {
      [CENOTE_STATE_IDLE] = "IDLE",
      [CENOTE_STATE_ACTIVE] = "ACTIVE",
      [CENOTE_STATE_DRAINING] = "DRAINING",
      [CENOTE_STATE_SHUTDOWN] = "SHUTDOWN",
  };
  return (size_t)state < sizeof(names) / sizeof(names[0]) ? names[state] : "UNKNOWN";
}

const char *cenote_why_name(cenote_why why)
{
  static const char *const names[CENOTE_WHYS] = {
      [CENOTE_WHY_LEASE] = "lease",         [CENOTE_WHY_TRANSACTION] = "transaction",
      [CENOTE_WHY_SHAREABLE] = "shareable", [CENOTE_WHY_SESSION_STATE] = "session_state",
      [CENOTE_WHY_HINT] = "hint",           [CENOTE_WHY_BREAKER_OPEN] = "breaker_open",
      [CENOTE_WHY_FALLBACK] = "fallback",   [CENOTE_WHY_NOT_SHARED] = "not_shared",
  };
  return (size_t)why < CENOTE_WHYS ? names[why] : "unknown";
}

void cen_recent_init(struct cen_recent_windows *windows, int64_t now_ns)
{
#define INIT(name, object, json, recent, metric) cen_window_init(&windows->name, now_ns);
  CEN_COUNTERS_LATELY(INIT)
#undef INIT
  for (int reason = 0; reason < POOL_REASON_COUNT; reason++) {
    cen_window_init(&windows->closed_by[reason], now_ns);
  }
}

void cen_recent_track(struct cen_recent_windows *windows, int64_t now_ns,
                      const cenote_statistics *statistics,
                      const uint64_t closed_by[POOL_REASON_COUNT])
{
#define TRACK(name, object, json, recent, metric) \
  cen_window_track(&windows->name, now_ns, statistics->name);
  CEN_COUNTERS_LATELY(TRACK)
#undef TRACK
  for (int reason = 0; reason < POOL_REASON_COUNT; reason++) {
    cen_window_track(&windows->closed_by[reason], now_ns, closed_by[reason]);
  }
}

void cen_recent_read(struct cen_recent_windows *windows, int64_t now_ns, struct cen_recent *minute,
                     struct cen_recent *quarter)
{
#define READ(name, object, json, recent, metric)                 \
  minute->name = cen_window_last_minute(&windows->name, now_ns); \
  quarter->name = cen_window_last_quarter(&windows->name, now_ns);
  CEN_COUNTERS_LATELY(READ)
#undef READ
  for (int reason = 0; reason < POOL_REASON_COUNT; reason++) {
    struct cen_window *window = &windows->closed_by[reason];
    minute->closed_by[reason] = cen_window_last_minute(window, now_ns);
    quarter->closed_by[reason] = cen_window_last_quarter(window, now_ns);
  }
}

void cen_figures_settings(struct cen_figures *figures, const struct cen_settings *settings)
{
  for (int id = 0; id < CEN_SETTING_COUNT; id++) {
    figures->setting[id] = cen_setting(settings, (cen_setting_id)id);
  }
}

/* part of whole in percent, within 0 … 100; `empty` where there is no whole. */
static double share(double part, double whole, double empty)
{
  if (whole <= 0) {
    return empty;
  }
  double percent = 100.0 * part / whole;
  return percent < 0 ? 0 : percent > 100 ? 100 : percent;
}

static double average_age(const struct cen_figures *figures)
{
  double sum = 0;
  for (size_t i = 0; i < figures->lease_count; i++) {
    sum += (double)figures->leases[i].age_ms;
  }
  return figures->lease_count > 0 ? sum / (double)figures->lease_count : 0;
}

void cen_figures_derive(const struct cen_figures *figures, struct cen_derived *derived)
{
  const cenote_statistics *all = &figures->statistics;
  const struct cen_recent *minute = &figures->minute, *quarter = &figures->quarter;
  double granted = (double)quarter->leases_granted, lost = (double)quarter->lease_timeouts;
  double failed = (double)quarter->acquire_timeouts + (double)quarter->acquire_refused;
  double released = (double)quarter->leases_released;
  derived->utilization = share((double)all->active_leases, (double)all->max_connections, 0);
  /* a lease may expire that was granted before the window began */
  derived->success_rate = share(granted - lost, granted + failed, lost > 0 ? 0 : 100);
  derived->average_lease_ms = average_age(figures);
  derived->efficiency = share(released, released + lost, 100);
  derived->reuse_rate = share((double)all->leases_granted - (double)all->connections_created,
                              (double)all->leases_granted, 100);
  double seconds = figures->uptime_ms < 60000 ? (double)figures->uptime_ms / 1000.0 : 60.0;
  seconds = seconds < 1 ? 1 : seconds;
  derived->acquires_per_second = (double)minute->leases_granted / seconds;
  derived->statements_per_second = (double)minute->statements / seconds;
  derived->error_rate = share((double)minute->statement_errors, (double)minute->statements, 0);
}
