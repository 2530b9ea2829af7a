/* open.c - a manager as the command line asks for it. */
#include "cli/cli.h"
#include "cli/log.h"
#include "cli/report.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* Does the environment say something about the setting? */
static bool environment_sets(const char *name)
{
  char variable[96] = "CENOTE_";
  size_t size = strlen(variable);
  for (; *name && size + 1 < sizeof variable; name++) {
    variable[size++] = (char)toupper((unsigned char)*name);
  }
  variable[size] = '\0';
  const char *value = getenv(variable);
  return value && *value;
}

/* The command's own defaults go first: of two with one name the library takes the last. */
static size_t settings_merge(const struct cli_args *args, const cenote_setting *defaults,
                             cenote_setting *merged)
{
  size_t count = 0;
  for (size_t i = 0; defaults && defaults[i].name; i++) {
    if (!args->config_file && !environment_sets(defaults[i].name) &&
        !cli_args_sets(args, defaults[i].name)) {
      merged[count++] = defaults[i];
    }
  }
  for (size_t i = 0; i < args->settings_count; i++) {
    merged[count++] = args->settings[i];
  }
  return count;
}

int cli_open(const struct cli_args *args, const char *url, enum cli_mode mode,
             const cenote_setting *defaults, cenote_manager **manager)
{
  *manager = NULL;
  size_t most = args->settings_count;
  for (size_t i = 0; defaults && defaults[i].name; i++) {
    most++;
  }
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_setting *merged = calloc(most ? most : 1, sizeof merged[0]);
  cenote_status status = CENOTE_NO_MEMORY;
  if (merged) {
    cenote_options options = CENOTE_OPTIONS_INIT;
    options.settings = merged;
    options.settings_count = settings_merge(args, defaults, merged);
    options.config_file = args->config_file;
    options.external_loop = mode == CLI_OFFLINE;
    options.log = cli_log;
    status = cenote_open(url, &options, manager, &error);
  }
  free(merged);
  if (status == CENOTE_OK) {
    cli_log_settle(*manager);
    return CLI_OK;
  }
  error.status = status;
  cli_report(&error);
  return cli_exit_status(status);
}
