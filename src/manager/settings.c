/*
 * settings.c - the effective settings of one manager, in layers:
 *
 *     profile default  <  INI file  <  environment  <  explicit option
 *
 * Each layer is checked as it is read, also where a later one replaces it. What a layer does not
 * say keeps its default, and defaults give way to each other where they must agree (a maximum of
 * 1 brings a default minimum of 2 down with it); two explicit values that disagree are an error.
 */
#include "manager/settings_table.h"

#include "base/log.h"
#include "base/text.h"
#include "manager/config.h"

#include <cenote/driver.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROW(id, name, type, unit, serverless, local, server, min, max, reloadable, help) \
  {name, CEN_SETTING_##type, unit, serverless, local, server, min, max, reloadable, help},
const struct cen_setting_row cen_setting_rows[CEN_SETTING_COUNT] = {CEN_SETTINGS(ROW)};
#undef ROW

#define ROW(id, name, secret, help) {name, secret, help},
const struct cen_text_row cen_text_rows[CEN_TEXT_COUNT] = {CEN_TEXT_SETTINGS(ROW)};
#undef ROW

int64_t cen_setting_default(cen_setting_id id, cen_profile profile)
{
  const struct cen_setting_row *row = &cen_setting_rows[id];
  if (profile == CEN_PROFILE_SERVER) {
    return row->server;
  }
  return profile == CEN_PROFILE_LOCAL ? row->local : row->serverless;
}

#define ONE(...) +1
enum { POOL_SETTINGS = 0 CEN_POOL_SETTINGS(ONE), POOL_TEXTS = 0 CEN_POOL_TEXTS(ONE) };
#undef ONE

bool cen_setting_is_gateway(cen_setting_id id)
{
  return (int)id >= POOL_SETTINGS;
}

bool cen_text_is_gateway(cen_text_id id)
{
  return (int)id >= POOL_TEXTS;
}

const char *cen_setting_name(cen_setting_id id)
{
  return cen_setting_rows[id].name;
}

bool cen_setting_reloadable(cen_setting_id id)
{
  return cen_setting_rows[id].reloadable;
}

const char *cen_text_name(cen_text_id id)
{
  return cen_text_rows[id].name;
}

static cenote_status no_memory(cenote_error *error)
{
  return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory");
}

static cen_origin origin_of(const struct cen_settings *settings, cen_setting_id id)
{
  return atomic_load_explicit(&settings->origin[id], memory_order_relaxed);
}

static void store_value(struct cen_settings *settings, cen_setting_id id, int64_t value,
                        cen_origin origin)
{
  atomic_store_explicit(&settings->value[id], value, memory_order_relaxed);
  atomic_store_explicit(&settings->origin[id], origin, memory_order_relaxed);
}

/* The text of `value`, made once: a text that was handed out stays valid after the setting moved. */
static struct cen_rendered *render_value(struct cen_settings *settings, cen_setting_id id,
                                         int64_t value)
{
  char text[24];
  snprintf(text, sizeof(text), "%" PRId64, value);
  for (struct cen_rendered *old = settings->rendered_all[id]; old != NULL; old = old->next) {
    if (strcmp(old->text, text) == 0) {
      return old;
    }
  }
  struct cen_rendered *rendered = malloc(sizeof(*rendered));
  if (rendered != NULL) {
    memcpy(rendered->text, text, sizeof(text));
    rendered->next = settings->rendered_all[id];
    settings->rendered_all[id] = rendered;
  }
  return rendered;
}

/* ------------------------------------------------------------------ layers */

static void wipe_text(char *text)
{
  if (text != NULL) {
    cen_wipe(text, strlen(text));
    free(text);
  }
}

/* "" takes back what a lower layer said. */
static cenote_status apply_text(struct cen_settings *settings, cen_text_id id, const char *value,
                                cen_origin origin, const char *where, cenote_error *error)
{
  char *copy = NULL;
  cenote_status status = cen_value_check_text(id, value, where, error);
  if (status != CENOTE_OK || origin < settings->text_origin[id]) {
    return status;
  }
  if (*value != '\0') {
    copy = cen_text_copy(value);
    if (copy == NULL) {
      return no_memory(error);
    }
  }
  wipe_text(settings->text[id]);
  settings->text[id] = copy;
  settings->text_origin[id] = origin;
  return CENOTE_OK;
}

static cenote_status unknown_name(const char *name, const char *where, cenote_error *error)
{
  char shown[80];
  const char *meant = cen_name_suggest(name);
  cen_text_escape(shown, sizeof(shown), name);
  if (meant != NULL) {
    return cenote_error_set(error, CENOTE_CONFIG, "%sunknown setting \"%s\": did you mean %s?",
                            where, shown, meant);
  }
  if (strcmp(name, "url") == 0) {
    return cenote_error_set(error, CENOTE_CONFIG,
                            "%s\"url\" is not a setting: pass it to cenote_open or set CENOTE_URL",
                            where);
  }
  return cenote_error_set(error, CENOTE_CONFIG,
                          "%sunknown setting \"%s\": `cenote config` lists all of them", where,
                          shown);
}

cenote_status cen_settings_apply(struct cen_settings *settings, const char *name, const char *value,
                                 cen_origin origin, const char *where, cenote_error *error)
{
  struct cen_name found = cen_name_find(name);
  cen_profile profile = CEN_PROFILE_LOCAL;
  int64_t number = 0;
  cenote_status status = CENOTE_OK;
  switch (found.kind) {
  case CEN_NAME_TEXT:
    return apply_text(settings, (cen_text_id)found.id, value, origin, where, error);
  case CEN_NAME_NUMBER:
    status = cen_value_parse((cen_setting_id)found.id, value, where, &number, error);
    if (status == CENOTE_OK && origin >= origin_of(settings, (cen_setting_id)found.id)) {
      store_value(settings, (cen_setting_id)found.id, number, origin);
    }
    return status;
  case CEN_NAME_PROFILE:
    status = cen_profile_parse(value, where, &profile, error);
    if (status == CENOTE_OK && origin >= settings->profile_origin) {
      settings->profile = profile;
      settings->profile_origin = origin;
    }
    return status;
  case CEN_NAME_NONE:
    break;
  }
  return unknown_name(name, where, error);
}

bool cen_settings_given(const struct cen_settings *settings, struct cen_name name,
                        cen_origin origin)
{
  switch (name.kind) {
  case CEN_NAME_TEXT:
    return settings->text_origin[name.id] == origin;
  case CEN_NAME_NUMBER:
    return origin_of(settings, (cen_setting_id)name.id) == origin;
  case CEN_NAME_PROFILE:
    return settings->profile_origin == origin;
  case CEN_NAME_NONE:
    break;
  }
  return false;
}

static cenote_status visit_ini(void *context, const struct cen_config_entry *entry,
                               cenote_error *error)
{
  struct cen_settings *settings = context;
  char where[CEN_WHERE_SIZE], shown[80];
  cen_config_where(where, entry);
  cen_text_escape(shown, sizeof(shown), entry->section);
  if (strcmp(entry->section, "databases") == 0) {
    return CENOTE_OK; /* the gateway reads these */
  }
  if (entry->section[0] == '\0') {
    return cenote_error_set(error, CENOTE_CONFIG,
                            "%sa setting outside of a section: put it under [cenote]", where);
  }
  if (strcmp(entry->section, "cenote") != 0) {
    return cenote_error_set(error, CENOTE_CONFIG,
                            "%sunknown section [%s]: known are [cenote] and [databases]", where,
                            shown);
  }
  if (cen_settings_given(settings, cen_name_find(entry->name), CEN_FROM_INI)) {
    cen_text_escape(shown, sizeof(shown), entry->name);
    return cenote_error_set(error, CENOTE_CONFIG, "%s%s is set twice in this file", where, shown);
  }
  return cen_settings_apply(settings, entry->name, entry->value, CEN_FROM_INI, where, error);
}

static cenote_status apply_variable(struct cen_settings *settings, const char *name,
                                    cen_getenv getenv_fn, void *context, cenote_error *error)
{
  char variable[CEN_NAME_SIZE], where[CEN_NAME_SIZE + 3];
  cen_name_environment(variable, name);
  const char *value = cen_environment(getenv_fn, context, variable);
  if (value == NULL) {
    return CENOTE_OK;
  }
  snprintf(where, sizeof(where), "%s: ", variable);
  return cen_settings_apply(settings, name, value, CEN_FROM_ENV, where, error);
}

static cenote_status apply_environment(struct cen_settings *settings, cen_getenv getenv_fn,
                                       void *context, cenote_error *error)
{
  cenote_status status = apply_variable(settings, "profile", getenv_fn, context, error);
  for (int id = 0; status == CENOTE_OK && id < CEN_SETTING_COUNT; id++) {
    status = apply_variable(settings, cen_setting_rows[id].name, getenv_fn, context, error);
  }
  for (int id = 0; status == CENOTE_OK && id < CEN_TEXT_COUNT; id++) {
    status = apply_variable(settings, cen_text_rows[id].name, getenv_fn, context, error);
  }
  return status;
}

static cenote_status apply_options(struct cen_settings *settings, const cenote_options *options,
                                   cenote_error *error)
{
  cenote_status status = CENOTE_OK;
  for (size_t i = 0; status == CENOTE_OK && i < options->settings_count; i++) {
    const cenote_setting *setting = &options->settings[i];
    if (setting->name == NULL || setting->value == NULL) {
      return cenote_error_set(error, CENOTE_INVALID, "options.settings[%zu] has no name or value",
                              i);
    }
    status =
        cen_settings_apply(settings, setting->name, setting->value, CEN_FROM_OPTION, "", error);
  }
  return status;
}

/* --------------------------------------------------------------- agreement */

/* `low` may not be above `high`. A default gives way; of two that were given neither does. */
static cenote_status agree(struct cen_settings *settings, cen_setting_id low, cen_setting_id high,
                           cenote_error *error)
{
  int64_t low_value = cen_setting(settings, low), high_value = cen_setting(settings, high);
  if (low_value <= high_value) {
    return CENOTE_OK;
  }
  if (origin_of(settings, low) == CEN_FROM_DEFAULT) {
    store_value(settings, low, high_value, CEN_FROM_DEFAULT);
    return CENOTE_OK;
  }
  return cenote_error_set(error, CENOTE_CONFIG,
                          "%s = \"%" PRId64 "\" is above %s = \"%" PRId64 "\": allowed are %" PRId64
                          " to %" PRId64,
                          cen_setting_rows[low].name, low_value, cen_setting_rows[high].name,
                          high_value, cen_setting_rows[low].minimum, high_value);
}

/* A bound nobody gave goes up with the value that needs it; connections never do that. */
static void raise_default(struct cen_settings *settings, cen_setting_id low, cen_setting_id high)
{
  if (origin_of(settings, high) == CEN_FROM_DEFAULT &&
      cen_setting(settings, high) < cen_setting(settings, low)) {
    store_value(settings, high, cen_setting(settings, low), CEN_FROM_DEFAULT);
  }
}

static cenote_status finish_values(struct cen_settings *settings, cenote_error *error)
{
  for (int id = 0; id < CEN_SETTING_COUNT; id++) {
    if (origin_of(settings, (cen_setting_id)id) == CEN_FROM_DEFAULT) {
      store_value(settings, (cen_setting_id)id,
                  cen_setting_default((cen_setting_id)id, settings->profile), CEN_FROM_DEFAULT);
    }
  }
  raise_default(settings, CEN_SET_LEASE_TIMEOUT, CEN_SET_LEASE_EXTEND_MAX);
  if (origin_of(settings, CEN_SET_CONNECT_BACKOFF) != CEN_FROM_DEFAULT) {
    raise_default(settings, CEN_SET_CONNECT_BACKOFF, CEN_SET_CONNECT_BACKOFF_MAX);
  }
  if (origin_of(settings, CEN_SET_BREAKER_OPEN) != CEN_FROM_DEFAULT) {
    raise_default(settings, CEN_SET_BREAKER_OPEN, CEN_SET_BREAKER_OPEN_MAX);
  }
  cenote_status status = agree(settings, CEN_SET_MIN_CONNECTIONS, CEN_SET_MAX_CONNECTIONS, error);
  if (status == CENOTE_OK) {
    status = agree(settings, CEN_SET_CONNECT_BACKOFF, CEN_SET_CONNECT_BACKOFF_MAX, error);
  }
  if (status == CENOTE_OK) {
    status = agree(settings, CEN_SET_BREAKER_OPEN, CEN_SET_BREAKER_OPEN_MAX, error);
  }
  for (int id = 0; status == CENOTE_OK && id < CEN_SETTING_COUNT; id++) {
    struct cen_rendered *text =
        render_value(settings, (cen_setting_id)id, cen_setting(settings, (cen_setting_id)id));
    if (text == NULL) {
      return no_memory(error);
    }
    atomic_store_explicit(&settings->rendered[id], text, memory_order_release);
  }
  return status;
}

/* ----------------------------------------------------------- load and free */

static const char *process_getenv(void *context, const char *name)
{
  (void)context;
  return getenv(name);
}

static void log_warning(void *context, const char *line)
{
  cen_log_write(context, CENOTE_LOG_WARNING, "%s", line);
}

static void warn_about_environment(const cenote_options *options)
{
  struct cen_log log;
  cen_log_init(&log, options != NULL ? options->log : NULL,
               options != NULL ? options->log_context : NULL);
  cen_name_check_environment((const char *const *)environ, log_warning, &log);
}

static cenote_status load_layers(struct cen_settings *settings, const cenote_options *options,
                                 cen_getenv getenv_fn, void *context, cenote_error *error)
{
  cenote_status status = CENOTE_OK;
  if (options != NULL && options->config_file != NULL) {
    status = cen_config_read(options->config_file, visit_ini, settings, error);
  }
  if (status == CENOTE_OK) {
    status = apply_environment(settings, getenv_fn, context, error);
  }
  if (status == CENOTE_OK && options != NULL) {
    status = apply_options(settings, options, error);
  }
  return status;
}

cenote_status cen_settings_load(struct cen_settings *settings, const char *url,
                                const cenote_options *options, cen_getenv getenv_fn,
                                void *getenv_context, cenote_error *error)
{
  bool process = getenv_fn == NULL;
  bool own_driver = options != NULL && options->driver != NULL;
  cen_getenv get = process ? process_getenv : getenv_fn;
  memset(settings, 0, sizeof(*settings));
  cenote_status status = load_layers(settings, options, get, getenv_context, error);
  if (status == CENOTE_OK && settings->profile_origin == CEN_FROM_DEFAULT) {
    settings->profile = cen_profile_detect(get, getenv_context);
    settings->profile_origin =
        settings->profile == CEN_PROFILE_LOCAL ? CEN_FROM_DEFAULT : CEN_FROM_ENV;
  }
  if (status == CENOTE_OK) {
    status = finish_values(settings, error);
  }
  if (status == CENOTE_OK) {
    status = cen_url_resolve(settings, url, own_driver, get, getenv_context, error);
  }
  if (status != CENOTE_OK) {
    cen_settings_deinit(settings);
  } else if (process) {
    warn_about_environment(options);
  }
  return status;
}

void cen_settings_deinit(struct cen_settings *settings)
{
  for (int id = 0; id < CEN_TEXT_COUNT; id++) {
    wipe_text(settings->text[id]);
  }
  for (int id = 0; id < CEN_SETTING_COUNT; id++) {
    while (settings->rendered_all[id] != NULL) {
      struct cen_rendered *next = settings->rendered_all[id]->next;
      free(settings->rendered_all[id]);
      settings->rendered_all[id] = next;
    }
  }
  wipe_text(settings->url);
  free(settings->url_from);
  memset(settings, 0, sizeof(*settings));
}

/* ----------------------------------------------------------- while running */

static cenote_status change_value(struct cen_settings *settings, cen_setting_id id, int64_t value,
                                  cen_origin origin, cenote_error *error)
{
  struct cen_rendered *text = render_value(settings, id, value);
  if (text == NULL) {
    return no_memory(error);
  }
  store_value(settings, id, value, origin);
  atomic_store_explicit(&settings->rendered[id], text, memory_order_release);
  return CENOTE_OK;
}

cenote_status cen_settings_set_bounds(struct cen_settings *settings, int64_t min_connections,
                                      int64_t max_connections, cenote_error *error)
{
  cenote_status status = cen_value_check(CEN_SET_MIN_CONNECTIONS, min_connections, "", error);
  if (status == CENOTE_OK) {
    status = cen_value_check(CEN_SET_MAX_CONNECTIONS, max_connections, "", error);
  }
  if (status == CENOTE_OK && min_connections > max_connections) {
    status = cenote_error_set(error, CENOTE_CONFIG,
                              "min_connections = \"%" PRId64
                              "\" is above max_connections = \"%" PRId64 "\"",
                              min_connections, max_connections);
  }
  if (status != CENOTE_OK) {
    return status;
  }
  /* both texts first: after that nothing can fail, so it is both or neither */
  if (render_value(settings, CEN_SET_MIN_CONNECTIONS, min_connections) == NULL ||
      render_value(settings, CEN_SET_MAX_CONNECTIONS, max_connections) == NULL) {
    return no_memory(error);
  }
  status = change_value(settings, CEN_SET_MIN_CONNECTIONS, min_connections, CEN_FROM_OPTION, error);
  if (status == CENOTE_OK) {
    status =
        change_value(settings, CEN_SET_MAX_CONNECTIONS, max_connections, CEN_FROM_OPTION, error);
  }
  return status;
}

/* What the change of `id` to `value` asks of its partner; `partner` gets the partner's new value
 * where a default follows. */
static cenote_status check_change(const struct cen_settings *settings, cen_setting_id id,
                                  int64_t value, cen_setting_id low, cen_setting_id high,
                                  bool *follows, cenote_error *error)
{
  int64_t low_value = id == low ? value : cen_setting(settings, low);
  int64_t high_value = id == high ? value : cen_setting(settings, high);
  *follows = false;
  if ((id != low && id != high) || low_value <= high_value) {
    return CENOTE_OK;
  }
  if (id == high && origin_of(settings, low) == CEN_FROM_DEFAULT) {
    *follows = true;
    return CENOTE_OK;
  }
  return cenote_error_set(
      error, CENOTE_CONFIG,
      "%s = \"%" PRId64 "\": %s is \"%" PRId64 "\", and %s may not be above %s",
      cen_setting_rows[id].name, value, cen_setting_rows[id == low ? high : low].name,
      id == low ? high_value : low_value, cen_setting_rows[low].name, cen_setting_rows[high].name);
}

cenote_status cen_settings_set(struct cen_settings *settings, const char *name, const char *value,
                               cenote_error *error)
{
  struct cen_name found = cen_name_find(name);
  int64_t number = 0;
  bool min_follows = false, backoff_follows = false;
  if (found.kind == CEN_NAME_NONE) {
    return unknown_name(name, "", error);
  }
  cen_setting_id id = (cen_setting_id)found.id;
  if (found.kind != CEN_NAME_NUMBER || !cen_setting_rows[id].reloadable) {
    return cenote_error_set(error, CENOTE_CONFIG, "%s cannot be changed while the manager runs",
                            name);
  }
  cenote_status status = cen_value_parse(id, value, "", &number, error);
  if (status == CENOTE_OK) {
    status = check_change(settings, id, number, CEN_SET_MIN_CONNECTIONS, CEN_SET_MAX_CONNECTIONS,
                          &min_follows, error);
  }
  if (status == CENOTE_OK) {
    status = check_change(settings, id, number, CEN_SET_CONNECT_BACKOFF,
                          CEN_SET_CONNECT_BACKOFF_MAX, &backoff_follows, error);
  }
  if (status == CENOTE_OK && (min_follows || backoff_follows)) {
    status = change_value(settings, min_follows ? CEN_SET_MIN_CONNECTIONS : CEN_SET_CONNECT_BACKOFF,
                          number, CEN_FROM_DEFAULT, error);
  }
  if (status == CENOTE_OK) {
    status = change_value(settings, id, number, CEN_FROM_OPTION, error);
  }
  return status;
}

const char *cen_settings_text(const void *settings, const char *name)
{
  const struct cen_settings *all = settings;
  struct cen_name found = cen_name_find(name);
  if (found.kind == CEN_NAME_TEXT) {
    return all->text[found.id];
  }
  if (found.kind == CEN_NAME_NUMBER) {
    return atomic_load_explicit(&all->rendered[found.id], memory_order_acquire)->text;
  }
  return NULL;
}
