/* url.c - which database: the URL that was passed, else the environment's, else a SQLite file in
 * the working directory. On a serverless platform that file would vanish with the instance, so
 * there a missing URL is an error. */
#include "manager/settings_table.h"

#include "base/limits.h"
#include "base/text.h"

#include <cenote/driver.h>
#include <string.h>
#include <strings.h>

#define DEFAULT_URL "sqlite:cenote.db"

/* The text of a URL is never shown in these messages: it may hold a password. */
static cenote_status check_url(const char *url, const char *from, cenote_error *error)
{
  size_t size = strlen(url);
  if (size == 0) {
    return cenote_error_set(error, CENOTE_CONFIG,
                            "the database URL (%s) is empty: pass NULL to take it from the "
                            "environment",
                            from);
  }
  if (size > CEN_MAX_URL) {
    return cenote_error_set(error, CENOTE_CONFIG,
                            "the database URL (%s) is %zu bytes long: allowed are 1 to %d", from,
                            size, CEN_MAX_URL);
  }
  for (size_t i = 0; i < size; i++) {
    if ((unsigned char)url[i] < 0x20 || url[i] == 0x7f) {
      return cenote_error_set(error, CENOTE_CONFIG,
                              "the database URL (%s) holds a control character at byte %zu%s", from,
                              i + 1, i + 1 == size ? " (a line end at its end?)" : "");
    }
  }
  return CENOTE_OK;
}

static const char *find_url(const char *url, bool own_driver, bool serverless, cen_getenv getenv_fn,
                            void *context, const char **from)
{
  static const char *const variables[] = {"CENOTE_URL", "DATABASE_URL", "TURSO_DATABASE_URL"};
  if (url != NULL) {
    *from = "option";
    return url;
  }
  for (size_t i = 0; !own_driver && i < sizeof(variables) / sizeof(variables[0]); i++) {
    url = cen_environment(getenv_fn, context, variables[i]);
    if (url != NULL) {
      *from = variables[i];
      return url;
    }
  }
  *from = own_driver ? "driver" : "default";
  return own_driver ? "" : serverless ? NULL : DEFAULT_URL;
}

/* TURSO_AUTH_TOKEN goes with a Turso URL only: no other host must ever see it. */
static cenote_status take_turso_token(struct cen_settings *settings, cen_getenv getenv_fn,
                                      void *context, cenote_error *error)
{
  const char *token = cen_environment(getenv_fn, context, "TURSO_AUTH_TOKEN");
  bool turso = strcmp(settings->url_from, "TURSO_DATABASE_URL") == 0 ||
               strncasecmp(settings->url, "libsql:", 7) == 0;
  if (token == NULL || !turso || settings->text_origin[CEN_TEXT_AUTH_TOKEN] >= CEN_FROM_ENV) {
    return CENOTE_OK;
  }
  return cen_settings_apply(settings, "auth_token", token, CEN_FROM_ENV,
                            "TURSO_AUTH_TOKEN: ", error);
}

cenote_status cen_url_resolve(struct cen_settings *settings, const char *url, bool own_driver,
                              cen_getenv getenv_fn, void *getenv_context, cenote_error *error)
{
  const char *from = NULL;
  bool serverless = cen_profile_serverless(settings->profile);
  const char *found = find_url(url, own_driver, serverless, getenv_fn, getenv_context, &from);
  if (found == NULL) {
    return cenote_error_set(error, CENOTE_CONFIG,
                            "no database URL: on the profile %s one must be given; set "
                            "CENOTE_URL, DATABASE_URL or TURSO_DATABASE_URL",
                            cen_profile_name(settings->profile));
  }
  cenote_status status = own_driver && *found == '\0' ? CENOTE_OK : check_url(found, from, error);
  if (status != CENOTE_OK) {
    return status;
  }
  settings->url = cen_text_copy(found);
  settings->url_from = cen_text_copy(from);
  if (settings->url == NULL || settings->url_from == NULL) {
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory");
  }
  return take_turso_token(settings, getenv_fn, getenv_context, error);
}
