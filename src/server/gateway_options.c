/* gateway_options.c - the options of a manager of the gateway: its settings, its log, its audit. */
#include "server/gateway_inside.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* One more would be found by the compiler: the arrays below have the table's size. */
#define ONE(...) +1
enum { HANDED_DOWN = 1 CEN_POOL_SETTINGS(ONE) CEN_POOL_TEXTS(ONE) }; /* and the profile */
#undef ONE

struct gateway_options {
  cenote_options options;
  char most[24], least[24]; /* bounds of one pool */
  cenote_setting settings[];
};

/* Texts of the gateway's settings live as long as the gateway, also after a reload. */
static size_t settings_hand_down(const struct gateway *gateway, cenote_setting *out)
{
#define NAME(id, name, ...) name,
  static const char *const names[] = {CEN_POOL_SETTINGS(NAME) CEN_POOL_TEXTS(NAME)};
#undef NAME
  size_t count = 0;
  out[count++] = (cenote_setting){"profile", cen_profile_name(gateway->settings.profile)};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    const char *text = cen_settings_text(&gateway->settings, names[i]);
    if (text != NULL) {
      out[count++] = (cenote_setting){names[i], text};
    }
  }
  return count;
}

struct gateway_options *gateway_options_new(struct gateway *gateway, const cenote_setting *extra)
{
  size_t extra_count = 0;
  while (extra != NULL && extra[extra_count].name != NULL) {
    extra_count++;
  }
  struct gateway_options *made =
      calloc(1, sizeof *made + (HANDED_DOWN + 2 + extra_count) * sizeof(cenote_setting));
  if (made == NULL) {
    return NULL;
  }
  size_t count = settings_hand_down(gateway, made->settings);
  const int64_t per_pool = gateway_pool_maximum(gateway);
  const int64_t most = cen_setting(&gateway->settings, CEN_SET_MAX_CONNECTIONS);
  const int64_t least = cen_setting(&gateway->settings, CEN_SET_MIN_CONNECTIONS);
  if (per_pool < most) {
    (void)snprintf(made->most, sizeof made->most, "%" PRId64, per_pool);
    (void)snprintf(made->least, sizeof made->least, "%" PRId64,
                   least < per_pool ? least : per_pool);
    made->settings[count++] = (cenote_setting){"max_connections", made->most};
    made->settings[count++] = (cenote_setting){"min_connections", made->least};
  }
  for (size_t i = 0; i < extra_count; i++) {
    made->settings[count++] = extra[i];
  }
  made->options = (cenote_options)CENOTE_OPTIONS_INIT;
  made->options.settings = made->settings;
  made->options.settings_count = count;
  made->options.log = gateway->log.callback;
  made->options.log_context = gateway->log.context;
  made->options.audit = gateway_audit_manager;
  made->options.audit_context = gateway;
  return made;
}

const cenote_options *gateway_options_of(struct gateway_options *options)
{
  return &options->options;
}

cenote_options *gateway_options_edit(struct gateway_options *options)
{
  return &options->options;
}

void gateway_options_free(struct gateway_options *options)
{
  free(options);
}
