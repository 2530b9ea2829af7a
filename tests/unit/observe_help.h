/* observe_help.h - figures of a manager that is well, for tests to spoil one at a time. */
#ifndef OBSERVE_HELP_H
#define OBSERVE_HELP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "manager/observe.h"
#include "manager/settings_table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The server profile, connected, used a little, nothing wrong. */
static inline struct cen_figures good_figures(void)
{
  struct cen_figures figures = {.unix_ms = INT64_C(1705314600000),
                                .uptime_ms = 3600000,
                                .profile = "server",
                                .driver = "postgres",
                                .database = "postgres://user:***@db/app"};
  for (int id = 0; id < CEN_SETTING_COUNT; id++) {
    figures.setting[id] = cen_setting_default((cen_setting_id)id, CEN_PROFILE_SERVER);
  }
  figures.statistics = (cenote_statistics)CENOTE_STATISTICS_INIT;
  figures.statistics.state = CENOTE_STATE_ACTIVE;
  figures.statistics.min_connections = 2;
  figures.statistics.max_connections = 20;
  figures.statistics.total_connections = 4;
  figures.statistics.idle_connections = 3;
  figures.statistics.active_leases = 1;
  figures.statistics.connections_created = 5;
  figures.statistics.leases_granted = 1000;
  figures.statistics.leases_released = 999;
  figures.quarter.leases_granted = 500;
  figures.quarter.leases_released = 500;
  figures.minute.leases_granted = 60;
  figures.minute.leases_released = 60;
  return figures;
}

static inline bool has_issue(const struct cen_figures *figures, enum cen_issue issue)
{
  struct cen_health health;
  cen_health_judge(figures, &health);
  return health.has[issue];
}

static inline cenote_health_status status_of(const struct cen_figures *figures)
{
  struct cen_health health;
  cen_health_judge(figures, &health);
  return health.status;
}

/* Is there an advice of this type and priority whose message holds `part`? */
static inline bool advises(const struct cen_figures *figures, const char *type,
                           enum cen_priority priority, const char *part)
{
  struct cen_health health;
  struct cen_advice advice;
  cen_health_judge(figures, &health);
  cen_advise(figures, &health, &advice);
  for (size_t i = 0; i < advice.count; i++) {
    if (strcmp(advice.of[i].type, type) == 0 && advice.of[i].priority == priority &&
        strstr(advice.of[i].message, part) != NULL && strlen(advice.of[i].suggestion) > 10) {
      return true;
    }
  }
  return false;
}

#endif
