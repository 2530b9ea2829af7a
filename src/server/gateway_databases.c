/*
 * gateway_databases.c - which databases there are: the one of --url or the environment, whose name
 * is "default", or the lines of [databases] in the INI file.
 */
#include "base/text.h"
#include "manager/config.h"
#include "server/gateway_inside.h"

#include <cenote/driver.h>
#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool starts(const char *text, const char *with)
{
  return strncasecmp(text, with, strlen(with)) == 0;
}

static bool kind_of(const char *url, enum gateway_kind *kind)
{
  if (starts(url, "sqlite:") || starts(url, "file:")) {
    *kind = GATEWAY_SQLITE;
    return true;
  }
  *kind = GATEWAY_POSTGRES;
  return starts(url, "postgres://") || starts(url, "postgresql://");
}

/* Nothing connects before somebody comes with a password, but what can be wrong with the URL alone
 * is wrong now. libpq takes a port that is none until it connects. */
static cenote_status postgres_check(const char *url, const char *where, const char *shown,
                                    cenote_error *error)
{
  char *why = NULL;
  cenote_status status = CENOTE_OK;
  PQconninfoOption *options = PQconninfoParse(url, &why);
  if (options == NULL) {
    const char *line = why != NULL ? why : "out of memory";
    /* it may quote the URL's secrets */
    const bool names_a_parameter = strstr(line, "parameter") != NULL && strchr(url, '@') == NULL;
    status = cenote_error_set(error, CENOTE_CONFIG, "%s%s is no URL that libpq can read%s%.*s",
                              where, shown, names_a_parameter ? ": " : "",
                              names_a_parameter ? (int)strcspn(line, "\n") : 0, line);
  }
  for (const PQconninfoOption *at = options; at != NULL && at->keyword != NULL; at++) {
    if (at->val != NULL && strcmp(at->keyword, "port") == 0 &&
        strspn(at->val, "0123456789,") < strlen(at->val)) {
      status = cenote_error_set(error, CENOTE_CONFIG, "%s%s: the port is no number", where, shown);
    }
  }
  PQconninfoFree(options);
  PQfreemem(why);
  return status;
}

static cenote_status database_add(struct gateway *gateway, const char *name, const char *url,
                                  const char *where, cenote_error *error)
{
  enum gateway_kind kind;
  char shown[512];
  cen_url_redact(shown, sizeof shown, url);
  if (!kind_of(url, &kind)) {
    return cenote_error_set(error, CENOTE_CONFIG,
                            "%sthe gateway serves sqlite:, file:, postgres:// and postgresql:// "
                            "databases, not %s",
                            where, shown);
  }
  if (kind == GATEWAY_POSTGRES) {
    const cenote_status status = postgres_check(url, where, shown, error);
    if (status != CENOTE_OK) {
      return status;
    }
  } else if (strcmp(strchr(url, ':'), ":") == 0) {
    return cenote_error_set(error, CENOTE_CONFIG,
                            "%s%s names no file: wanted is sqlite:PATH, or sqlite::memory: for one "
                            "that is gone afterwards",
                            where, shown);
  }
  struct gateway_database *grown =
      realloc(gateway->databases, (gateway->database_count + 1) * sizeof *grown);
  if (grown == NULL) {
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory");
  }
  gateway->databases = grown;
  struct gateway_database *database = &grown[gateway->database_count];
  *database = (struct gateway_database){.kind = kind};
  database->name = cen_text_copy(name);
  database->url = cen_text_copy(url);
  memcpy(database->shown, shown, sizeof shown);
  gateway->database_count++;
  return database->name != NULL && database->url != NULL
             ? CENOTE_OK
             : cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory");
}

static cenote_status visit(void *context, const struct cen_config_entry *entry, cenote_error *error)
{
  char where[CEN_WHERE_SIZE];
  struct gateway *gateway = context;
  if (strcmp(entry->section, "databases") != 0) {
    return CENOTE_OK;
  }
  cen_config_where(where, entry);
  for (size_t i = 0; i < gateway->database_count; i++) {
    if (strcmp(gateway->databases[i].name, entry->name) == 0) {
      return cenote_error_set(error, CENOTE_CONFIG, "%sthe database %s is named twice", where,
                              entry->name);
    }
  }
  return database_add(gateway, entry->name, entry->value, where, error);
}

cenote_status gateway_databases_load(struct gateway *gateway, cenote_error *error)
{
  const struct gateway_house *house = gateway->house;
  const char *from = gateway->settings.url_from;
  /* what was meant for a gateway goes before what was meant for any program */
  const bool chosen = strcmp(from, "option") == 0 || strcmp(from, "CENOTE_URL") == 0;
  if (house->config_file != NULL && !chosen) {
    cenote_status status = cen_config_read(house->config_file, visit, gateway, error);
    if (status != CENOTE_OK || gateway->database_count > 0) {
      return status;
    }
  }
  return database_add(gateway, "default", gateway->settings.url, "", error);
}

cenote_status gateway_open(struct gateway *gateway, const char *group, const char *url,
                           const cenote_options *options, cenote_manager **manager,
                           cenote_error *error)
{
  return cen_budget_open(gateway->budget, group, url, options, manager, error);
}

void gateway_budget_resize(struct gateway *gateway)
{
  cen_budget_resize(gateway->budget, cen_setting(&gateway->settings, CEN_SET_MAX_CONNECTIONS),
                    gateway_pool_maximum(gateway));
}

bool gateway_databases_same(const struct gateway *gateway, const struct cen_settings *fresh)
{
  /* read into a gateway of their own, and compared */
  struct gateway other = {.house = gateway->house, .log = gateway->log};
  other.settings.url = fresh->url;
  other.settings.url_from = fresh->url_from;
  bool same = gateway_databases_load(&other, NULL) == CENOTE_OK &&
              other.database_count == gateway->database_count;
  for (size_t i = 0; same && i < other.database_count; i++) {
    same = strcmp(other.databases[i].name, gateway->databases[i].name) == 0 &&
           strcmp(other.databases[i].url, gateway->databases[i].url) == 0;
  }
  gateway_databases_free(&other);
  return same;
}

static cenote_status database_open(struct gateway *gateway, struct gateway_database *database,
                                   cenote_error *error)
{
  /* strangers send the SQL: it stays inside its file */
  static const cenote_setting confined[] = {{"sqlite_confined", "true"}, {NULL, NULL}};
  struct gateway_options *options = gateway_options_new(gateway, confined);
  if (options == NULL) {
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory");
  }
  cenote_status status = gateway_open(gateway, database->name, database->url,
                                      gateway_options_of(options), &database->manager, error);
  gateway_options_free(options);
  if (status == CENOTE_OK) {
    status = gateway_pools_add(gateway, database, "", database->manager);
  }
  return status;
}

cenote_status gateway_databases_open(struct gateway *gateway, cenote_error *error)
{
  cenote_status status = CENOTE_OK;
  for (size_t i = 0; i < gateway->database_count && status == CENOTE_OK; i++) {
    if (gateway->databases[i].kind == GATEWAY_SQLITE) {
      status = database_open(gateway, &gateway->databases[i], error);
    }
  }
  return status;
}

void gateway_databases_stop(struct gateway *gateway)
{
  for (size_t i = 0; i < gateway->database_count; i++) {
    if (gateway->databases[i].manager != NULL) {
      cenote_error error = CENOTE_ERROR_INIT;
      cenote_status forced = cenote_shutdown(gateway->databases[i].manager, 0, &error);
      if (forced != CENOTE_OK) {
        cen_log_write(&gateway->log, CENOTE_LOG_WARNING, "database %s: %s",
                      gateway->databases[i].name, error.message);
      }
    }
  }
}

void gateway_databases_free(struct gateway *gateway)
{
  for (size_t i = 0; i < gateway->database_count; i++) {
    struct gateway_database *database = &gateway->databases[i];
    char *url = (char *)(uintptr_t)database->url;
    if (database->manager != NULL) {
      gateway_pools_remove(gateway, database->manager);
      cenote_close(database->manager);
    }
    if (url != NULL) {
      cen_wipe(url, strlen(url));
    }
    free(url);
    free((char *)(uintptr_t)database->name);
  }
  free(gateway->databases);
  gateway->databases = NULL;
  gateway->database_count = 0;
}

struct gateway_database *gateway_find(const struct gateway *gateway, enum gateway_kind kind,
                                      const char *name)
{
  struct gateway_database *found = NULL;
  for (size_t i = 0; i < gateway->database_count; i++) {
    struct gateway_database *database = &gateway->databases[i];
    if (database->kind != kind || (name != NULL && strcmp(database->name, name) != 0)) {
      continue;
    }
    if (found != NULL) {
      return NULL; /* several: it has to be named */
    }
    found = database;
  }
  return found;
}
