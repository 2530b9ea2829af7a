/* reload.c - settings of a running manager, moved by the gateway when it reads its own anew. */
#include "manager/manager.h"
#include "manager/settings_table.h"

#include <cenote/driver.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Two that must agree may have to move in the other order: again, until nothing moves. */
cenote_status cen_settings_take(struct cen_settings *settings, const struct cen_settings *from,
                                const bool wanted[CEN_SETTING_COUNT], cenote_error *error)
{
  bool left[CEN_SETTING_COUNT];
  bool moved = true, more = true;
  cenote_status status = CENOTE_OK;
  memcpy(left, wanted, sizeof left);
  while (moved && more) {
    moved = more = false;
    for (int id = 0; id < CEN_SETTING_COUNT; id++) {
      char text[24];
      if (!left[id]) {
        continue;
      }
      (void)snprintf(text, sizeof text, "%" PRId64, cen_setting(from, (cen_setting_id)id));
      const cenote_status tried =
          cen_settings_set(settings, cen_setting_rows[id].name, text, error);
      left[id] = tried != CENOTE_OK;
      moved = moved || !left[id];
      more = more || left[id];
      status = tried != CENOTE_OK ? tried : status;
    }
  }
  return more ? status : CENOTE_OK;
}

cenote_status manager_take_settings(cenote_manager *manager, const struct cen_settings *from,
                                    const bool changed[CEN_SETTING_COUNT], int64_t maximum,
                                    cenote_error *error)
{
  struct pool_wakes wakes = {0};
  bool wanted[CEN_SETTING_COUNT];
  cenote_error why = CENOTE_ERROR_INIT;
  for (int id = 0; id < CEN_SETTING_COUNT; id++) {
    wanted[id] = changed[id] && !cen_setting_is_gateway((cen_setting_id)id);
  }
  wanted[CEN_SET_MIN_CONNECTIONS] = wanted[CEN_SET_MAX_CONNECTIONS] = false;
  pthread_mutex_lock(&manager->life_lock); /* who changes settings takes turns */
  struct cen_settings *settings = &manager->settings;
  cenote_status status = cen_settings_take(settings, from, wanted, &why);
  /* on a host's loop pools are for one user each, and keep nothing open that nobody uses */
  int64_t minimum = cen_setting(settings, CEN_SET_MIN_CONNECTIONS);
  if (!manager->external && changed[CEN_SET_MIN_CONNECTIONS]) {
    minimum = cen_setting(from, CEN_SET_MIN_CONNECTIONS);
  }
  if (status == CENOTE_OK) {
    status =
        cen_settings_set_bounds(settings, minimum < maximum ? minimum : maximum, maximum, &why);
  }
  const struct pool_limits limits = manager_limits(manager);
  pool_configure(&manager->pool, &limits, cen_now_ns(), &wakes);
  pthread_mutex_unlock(&manager->life_lock);
  manager_wake(manager, &wakes);
  breaking_configure(manager);
  housekeeper_kick(manager);
  return status == CENOTE_OK ? CENOTE_OK : cenote_error_set(error, status, "%s", why.message);
}
