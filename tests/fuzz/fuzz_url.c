/* fuzz_url.c - any bytes as the URL and as a value of the environment: accepted or refused with
 * words, and a password in a URL of the usual shape is never in the settings that are shown. */
#include "base/text.h"
#include "manager/settings_table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool fact)
{
  if (!fact) {
    abort();
  }
}

struct surroundings {
  const char *variable;
  const char *value;
};

static const char *fuzz_getenv(void *context, const char *name)
{
  const struct surroundings *around = context;
  return strcmp(name, around->variable) == 0 ? around->value : NULL;
}

static void load(const char *url, const char *variable, const char *value, const char *secret)
{
  struct surroundings around = {variable, value};
  struct cen_settings settings;
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_status status = cen_settings_load(&settings, url, NULL, fuzz_getenv, &around, &error);
  require(status == error.status);
  if (status != CENOTE_OK) {
    require(error.message[0] != '\0');
    require(secret == NULL || strstr(error.message, secret) == NULL);
    return;
  }
  char *json = cen_settings_json(&settings);
  require(json != NULL);
  require(secret == NULL || strstr(json, secret) == NULL);
  free(json);
  cen_settings_deinit(&settings);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  static const char *const variables[] = {
      "CENOTE_URL",     "DATABASE_URL",           "TURSO_DATABASE_URL", "TURSO_AUTH_TOKEN",
      "CENOTE_PROFILE", "CENOTE_MAX_CONNECTIONS", "CENOTE_AUTH_TOKEN",  "CENOTE_MAX_RESULT_BYTES"};
  if (size == 0) {
    return 0;
  }
  const char *variable = variables[data[0] % (sizeof(variables) / sizeof(variables[0]))];
  char *text = cen_text_copy_n((const char *)data + 1, size - 1);
  char *url = malloc(size + 64);
  require(text != NULL && url != NULL);
  load(text, variable, text, NULL);
  load(NULL, variable, text, NULL);
  /* whatever stands around it, this password must not come out */
  if (strstr(text, "Xq7PwZk9") == NULL) {
    snprintf(url, size + 64, "postgres://user:Xq7PwZk9@host/%s", text);
    load(url, variable, text, "Xq7PwZk9");
  }
  free(url);
  free(text);
  return 0;
}
