/*
 * gateway_reload.c - what SIGHUP does. The settings are read again, whole; only when all of them
 * are well, and the keys and the certificate too, anything moves.
 */
#include "base/text.h"
#include "server/gateway_inside.h"

#include <cenote/driver.h>
#include <stdlib.h>
#include <string.h>

enum { NAMES_BYTES = 1024 };

struct change {
  struct gateway *gateway;
  struct cen_settings fresh;
  bool changed[CEN_SETTING_COUNT]; /* and may */
  struct cen_buf moved, stuck;     /* names, comma separated */
};

static void name_add(struct cen_buf *names, const char *name)
{
  if (names->size > 0) {
    cen_buf_text(names, ", ");
  }
  cen_buf_text(names, name);
}

static const char *names_of(const struct cen_buf *names)
{
  return names->data != NULL ? names->data : "";
}

/* They are files or texts that a reload reads anyway. */
static bool text_is_read_anew(cen_text_id id)
{
  switch (id) {
  case CEN_TEXT_ADMIN_TOKEN:
  case CEN_TEXT_ADMIN_TOKEN_FILE:
  case CEN_TEXT_SQL_TOKEN:
  case CEN_TEXT_SQL_TOKEN_FILE:
  case CEN_TEXT_JWT_KEY_FILE:
    return true;
  default:
    return false;
  }
}

static bool texts_differ(const char *a, const char *b)
{
  return (a == NULL) != (b == NULL) || (a != NULL && strcmp(a, b) != 0);
}

static void changes_find(struct change *change)
{
  const struct cen_settings *old = &change->gateway->settings, *fresh = &change->fresh;
  for (int id = 0; id < CEN_SETTING_COUNT; id++) {
    const cen_setting_id setting = (cen_setting_id)id;
    if (cen_setting(old, setting) == cen_setting(fresh, setting)) {
      continue;
    }
    change->changed[id] = cen_setting_reloadable(setting);
    name_add(change->changed[id] ? &change->moved : &change->stuck, cen_setting_name(setting));
  }
  for (int id = 0; id < CEN_TEXT_COUNT; id++) {
    const cen_text_id text = (cen_text_id)id;
    if (texts_differ(old->text[id], fresh->text[id]) && !text_is_read_anew(text)) {
      name_add(&change->stuck, cen_text_name(text));
    }
  }
  if (!gateway_databases_same(change->gateway, &change->fresh)) {
    name_add(&change->stuck, "the databases");
  }
}

static void pool_move(void *context, const struct gateway_database *database, const char *user,
                      cenote_manager *manager)
{
  const struct change *change = context;
  cenote_error error = CENOTE_ERROR_INIT;
  (void)user;
  const cenote_status status =
      manager_take_settings(manager, &change->gateway->settings, change->changed,
                            gateway_pool_maximum(change->gateway), &error);
  if (status != CENOTE_OK) {
    cen_log_write(&change->gateway->log, CENOTE_LOG_WARNING, "database %s: %s", database->name,
                  error.message);
  }
}

static void changes_apply(struct change *change)
{
  struct gateway *gateway = change->gateway;
  cenote_error error = CENOTE_ERROR_INIT;
  const cenote_status status =
      cen_settings_take(&gateway->settings, &change->fresh, change->changed, &error);
  if (status != CENOTE_OK) {
    cen_log_write(&gateway->log, CENOTE_LOG_WARNING, "reload: %s", error.message);
  }
  gateway_budget_resize(gateway);
  gateway_pools_visit(gateway, pool_move, change);
  for (unsigned i = 0; i < GATEWAY_PARTS; i++) {
    if (gateway_parts[i]->reload != NULL) {
      gateway_parts[i]->reload(gateway);
    }
  }
}

/* Keys, certificate and audit file: all are read before one is used. */
static cenote_status files_read(struct change *change, cenote_error *error)
{
  struct gateway *gateway = change->gateway;
  struct gateway_keys *keys = gateway_keys_new();
  if (keys == NULL) {
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory");
  }
  cenote_status status = gateway_keys_load(keys, &change->fresh, &gateway->log, error);
  if (status == CENOTE_OK) {
    status = gateway_rules_check(gateway, keys, error);
  }
  /* opening the same file anew changes nothing, so it is the one that may have happened alone */
  if (status == CENOTE_OK) {
    status = gateway_audit_reopen(gateway->audit, error);
  }
  if (status == CENOTE_OK) {
    status = cen_http_server_reload_tls(gateway->http, error);
  }
  if (status == CENOTE_OK) {
    gateway_keys_swap(gateway->house->keys, keys);
  }
  gateway_keys_free(keys);
  return status;
}

cenote_status gateway_reload(struct gateway *gateway, cenote_error *error)
{
  struct change change = {.gateway = gateway};
  cen_buf_init(&change.moved, NAMES_BYTES);
  cen_buf_init(&change.stuck, NAMES_BYTES);
  cenote_status status = gateway_settings_load(gateway, &change.fresh, error);
  if (status == CENOTE_OK) {
    status = files_read(&change, error);
    if (status == CENOTE_OK) {
      changes_find(&change);
      changes_apply(&change);
    }
    cen_settings_deinit(&change.fresh);
  }
  const struct gateway_event event = {.event = status == CENOTE_OK ? "settings_reloaded"
                                                                   : "reload_failed",
                                      .reason = names_of(&change.moved)};
  gateway_audit_put(gateway->audit, &event);
  if (status == CENOTE_OK) {
    cen_log_write(&gateway->log, CENOTE_LOG_INFO, "reloaded: %s",
                  change.moved.size > 0 ? change.moved.data : "no setting has moved");
  }
  if (change.stuck.size > 0) {
    cen_log_write(&gateway->log, CENOTE_LOG_WARNING,
                  "changed, but only a restart takes it over: %s", change.stuck.data);
  }
  cen_buf_deinit(&change.moved);
  cen_buf_deinit(&change.stuck);
  return status;
}
