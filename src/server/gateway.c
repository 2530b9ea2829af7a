/* gateway.c - the gateway's life, from its settings to its end. */
#include "server/gateway_inside.h"

#include "base/text.h"
#include "manager/config.h"

#include <cenote/driver.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

static cenote_status no_memory(cenote_error *error)
{
  return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory");
}

/* ------------------------------------------------------------------- what was asked for */

static void house_free(struct gateway_house *house)
{
  if (house == NULL) {
    return;
  }
  for (size_t i = 0; house->settings != NULL && i < house->setting_count; i++) {
    char *value = (char *)(uintptr_t)house->settings[i].value;
    if (value != NULL) {
      cen_wipe(value, strlen(value));
    }
    free(value);
    free((char *)(uintptr_t)house->settings[i].name);
  }
  free(house->settings);
  if (house->url != NULL) {
    cen_wipe(house->url, strlen(house->url));
  }
  free(house->url);
  free(house->config_file);
  gateway_keys_free(house->keys);
  if (house->listen_fd >= 0) {
    (void)close(house->listen_fd);
  }
  free(house);
}

static struct gateway_house *house_new(const char *url, const cenote_options *options)
{
  struct gateway_house *house = calloc(1, sizeof *house);
  if (house == NULL) {
    return NULL;
  }
  bool good = true;
  house->listen_fd = -1;
  const size_t count = options != NULL ? options->settings_count : 0;
  house->settings = calloc(count + 1, sizeof *house->settings);
  for (size_t i = 0; house->settings != NULL && i < count; i++) {
    house->settings[i].name = cen_text_copy(options->settings[i].name);
    house->settings[i].value = cen_text_copy(options->settings[i].value);
    house->setting_count++;
    good = good && house->settings[i].name != NULL && house->settings[i].value != NULL;
  }
  house->url = cen_text_copy(url);
  house->config_file = options != NULL ? cen_text_copy(options->config_file) : NULL;
  good = good && house->settings != NULL && (url == NULL || house->url != NULL) &&
         (options == NULL || options->config_file == NULL || house->config_file != NULL);
  if (!good) {
    house_free(house);
    return NULL;
  }
  if (options != NULL) {
    house->log = options->log;
    house->log_context = options->log_context;
  }
  return house;
}

/* --------------------------------------------------------------------------- its life */

/* Of [cenote] in the INI file. */
static cenote_status find_profile(void *context, const struct cen_config_entry *entry,
                                  cenote_error *error)
{
  bool *found = context;
  (void)error;
  *found =
      *found || (strcmp(entry->section, "cenote") == 0 && strcasecmp(entry->name, "profile") == 0);
  return CENOTE_OK;
}

static bool profile_is_named(const struct gateway_house *house)
{
  const char *variable = getenv("CENOTE_PROFILE");
  bool found = variable != NULL && variable[0] != '\0';
  for (size_t i = 0; i < house->setting_count; i++) {
    found = found || strcmp(house->settings[i].name, "profile") == 0;
  }
  if (!found && house->config_file != NULL) {
    /* what is wrong with the file is told when it is read for its settings */
    const cenote_status ignored = cen_config_read(house->config_file, find_profile, &found, NULL);
    (void)ignored;
  }
  return found;
}

cenote_status gateway_settings_load(const struct gateway *gateway, struct cen_settings *settings,
                                    cenote_error *error)
{
  const struct gateway_house *house = gateway->house;
  cenote_options options = CENOTE_OPTIONS_INIT;
  cenote_setting *all = calloc(house->setting_count + 1, sizeof *all);
  if (all == NULL) {
    return no_memory(error);
  }
  if (!profile_is_named(house)) {
    all[options.settings_count++] = (cenote_setting){"profile", "server"};
  }
  for (size_t i = 0; i < house->setting_count; i++) {
    all[options.settings_count++] = house->settings[i];
  }
  options.settings = all;
  options.config_file = house->config_file;
  options.log = house->log;
  options.log_context = house->log_context;
  const cenote_status status = cen_settings_load(settings, house->url, &options, NULL, NULL, error);
  free(all);
  return status;
}

int64_t gateway_pool_maximum(const struct gateway *gateway)
{
  const int64_t most = cen_setting(&gateway->settings, CEN_SET_MAX_CONNECTIONS);
  const int64_t per_pool = cen_setting(&gateway->settings, CEN_SET_POOL_CONNECTIONS);
  return per_pool > 0 && per_pool < most ? per_pool : most;
}

static cenote_status gateway_init(struct gateway *gateway, cenote_error *error)
{
  const struct gateway_house *house = gateway->house;
  cenote_status status = gateway_settings_load(gateway, &gateway->settings, error);
  if (status != CENOTE_OK) {
    return status;
  }
  cen_log_init(&gateway->log, house->log, house->log_context);
  cen_log_set_level(&gateway->log, gateway->settings.text[CEN_TEXT_LOG]);
  gateway->pools = gateway_pools_new();
  gateway->budget = cen_budget_new(cen_setting(&gateway->settings, CEN_SET_MAX_CONNECTIONS),
                                   gateway_pool_maximum(gateway));
  if (gateway->pools == NULL || gateway->budget == NULL) {
    return no_memory(error);
  }
  status = gateway_databases_load(gateway, error);
  if (status == CENOTE_OK) {
    status = gateway_audit_new(gateway->settings.text[CEN_TEXT_AUDIT_LOG], &gateway->log,
                               &gateway->audit, error);
  }
  if (status == CENOTE_OK) {
    status = gateway_listen(gateway, error);
  }
  return status;
}

cenote_status gateway_new(const char *url, const cenote_options *options, struct gateway **out,
                          cenote_error *error)
{
  *out = NULL;
  struct gateway *gateway = calloc(1, sizeof *gateway);
  if (gateway == NULL) {
    return no_memory(error);
  }
  gateway->born_ns = cen_now_ns();
  gateway->born_unix_ms = cen_wall_ms();
  gateway->house = house_new(url, options);
  const cenote_status status =
      gateway->house != NULL ? gateway_init(gateway, error) : no_memory(error);
  if (status != CENOTE_OK) {
    gateway_free(gateway);
    return status;
  }
  *out = gateway;
  return CENOTE_OK;
}

cenote_status gateway_start(struct gateway *gateway, cenote_error *error)
{
  cenote_status status = gateway_databases_open(gateway, error);
  for (unsigned i = 0; i < GATEWAY_PARTS && status == CENOTE_OK; i++) {
    if (gateway_parts[i]->start != NULL) {
      status = gateway_parts[i]->start(gateway, error);
    }
    gateway->house->parts_started[i] = status == CENOTE_OK;
  }
  if (status == CENOTE_OK) {
    status = cen_http_server_start(gateway->http, error);
  }
  return status == CENOTE_OK ? gateway_loops_wait(gateway, error) : status;
}

void gateway_announce(struct gateway *gateway)
{
  static const struct gateway_event event = {.event = "shutdown"};
  if (!atomic_exchange(&gateway->draining, true)) {
    gateway_audit_put(gateway->audit, &event);
  }
}

void gateway_drain(struct gateway *gateway)
{
  gateway_announce(gateway);
  for (unsigned i = 0; i < GATEWAY_PARTS; i++) {
    if (gateway->house->parts_started[i] && gateway_parts[i]->drain != NULL) {
      gateway_parts[i]->drain(gateway);
    }
  }
  cen_http_server_drain(gateway->http);
}

bool gateway_wait(struct gateway *gateway, int64_t timeout_ms)
{
  return cen_http_server_wait(gateway->http, timeout_ms);
}

/* Tasks that a manager's thread posts to a loop may come until the managers are closed, so the
 * loops end first and their memory goes last. */
void gateway_free(struct gateway *gateway)
{
  if (gateway == NULL) {
    return;
  }
  if (gateway->http != NULL) {
    cen_http_server_stop(gateway->http);
  }
  gateway_databases_stop(gateway);
  for (unsigned i = GATEWAY_PARTS; i > 0; i--) {
    if (gateway->house != NULL && gateway->house->parts_started[i - 1] &&
        gateway_parts[i - 1]->stop != NULL) {
      gateway_parts[i - 1]->stop(gateway);
    }
  }
  gateway_databases_free(gateway);
  cen_http_server_free(gateway->http);
  gateway_pools_free(gateway->pools);
  if (gateway->budget != NULL) {
    cen_budget_free(gateway->budget);
  }
  gateway_audit_free(gateway->audit);
  free(gateway->loops);
  cen_settings_deinit(&gateway->settings);
  house_free(gateway->house);
  free(gateway);
}
