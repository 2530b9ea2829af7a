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

void cen_recent_init(struct cen_recent_windows *windows, int64_t now_ns)
{
#define INIT(name) cen_window_init(&windows->name, now_ns);
  CEN_RECENT(INIT)
#undef INIT
}

void cen_recent_track(struct cen_recent_windows *windows, int64_t now_ns,
                      const cenote_statistics *statistics)
{
#define TRACK(name) cen_window_track(&windows->name, now_ns, statistics->name);
  CEN_RECENT(TRACK)
#undef TRACK
}

void cen_recent_read(struct cen_recent_windows *windows, int64_t now_ns, struct cen_recent *minute,
                     struct cen_recent *quarter)
{
#define READ(name)                                               \
  minute->name = cen_window_last_minute(&windows->name, now_ns); \
  quarter->name = cen_window_last_quarter(&windows->name, now_ns);
  CEN_RECENT(READ)
#undef READ
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
