/* metadata.c - see metadata.h. */
#include "cli/metadata.h"

#include <cenote/cenote.h>

#include <stdlib.h>
#include <string.h>

static json_t *document;
static bool tried;
static const char *profile;

/* What is wrong with the environment is told when the command opens its own manager. */
static void nothing_log(void *context, cenote_log_level level, const char *line)
{
  (void)context;
  (void)level;
  (void)line;
}

/* With a host's loop that nobody drives, a manager opens no connection and starts no thread. */
static json_t *document_load(void)
{
  cenote_options options = CENOTE_OPTIONS_INIT;
  options.external_loop = true;
  options.log = nothing_log;
  const cenote_setting setting = {"profile", profile};
  options.settings = &setting;
  options.settings_count = profile ? 1 : 0;
  cenote_manager *manager = NULL;
  char *text = NULL;
  json_t *loaded = NULL;
  if (cenote_open("sqlite::memory:", &options, &manager, NULL) == CENOTE_OK &&
      cenote_config_json(manager, &text, NULL) == CENOTE_OK) {
    loaded = json_loads(text, 0, NULL);
  }
  cenote_string_free(text);
  cenote_close(manager);
  return loaded;
}

const json_t *cli_metadata(void)
{
  if (!tried) {
    tried = true;
    document = document_load();
  }
  return document ? json_object_get(document, "settings") : NULL;
}

int cli_metadata_has(const char *name)
{
  const json_t *settings = cli_metadata();
  if (!settings) {
    return -1;
  }
  if (strcmp(name, "profile") == 0) {
    return 1; /* not in the table, since it decides what the table's defaults are */
  }
  size_t i;
  json_t *setting;
  json_array_foreach(settings, i, setting)
  {
    const char *known = json_string_value(json_object_get(setting, "name"));
    if (known && strcmp(known, name) == 0) {
      return 1;
    }
  }
  return 0;
}

/* Levenshtein's distance of two short names. */
static size_t distance(const char *a, const char *b)
{
  size_t row[65], width = strlen(b);
  if (width >= sizeof row / sizeof row[0]) {
    return SIZE_MAX;
  }
  for (size_t j = 0; j <= width; j++) {
    row[j] = j;
  }
  for (size_t i = 1; a[i - 1]; i++) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= width; j++) {
      size_t change = diagonal + (a[i - 1] != b[j - 1]);
      size_t step = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
      diagonal = row[j];
      row[j] = change < step ? change : step;
    }
  }
  return row[width];
}

const char *cli_metadata_near(const char *name)
{
  const char *best = NULL;
  size_t best_distance = strlen(name) / 2 + 1; /* further away is another word */
  best_distance = best_distance < 4 ? best_distance : 4;
  size_t i;
  json_t *setting;
  json_array_foreach(cli_metadata(), i, setting)
  {
    const char *known = json_string_value(json_object_get(setting, "name"));
    size_t far = known ? distance(name, known) : SIZE_MAX;
    if (far < best_distance) {
      best = known;
      best_distance = far;
    }
  }
  return best;
}

/* "--max-connections N" */
static void option_spelling(char *out, size_t size, const char *name, const char *unit)
{
  const char *argument = unit && strcmp(unit, "ms") == 0 ? "TIME" : "VALUE";
  snprintf(out, size, "--%s %s", name, argument);
  for (char *c = out; *c && *c != ' '; c++) {
    *c = *c == '_' ? '-' : *c;
  }
}

static void setting_print(FILE *file, const json_t *setting)
{
  const char *name = json_string_value(json_object_get(setting, "name"));
  const char *help = json_string_value(json_object_get(setting, "help"));
  const json_t *value = json_object_get(setting, "default");
  const json_t *minimum = json_object_get(setting, "minimum");
  const json_t *maximum = json_object_get(setting, "maximum");
  if (!name) {
    return;
  }
  char option[96];
  option_spelling(option, sizeof option, name, json_string_value(json_object_get(setting, "unit")));
  fprintf(file, "  %-34s %s", option, help ? help : "");
  if (json_is_integer(value) && json_is_integer(minimum) && json_is_integer(maximum)) {
    fprintf(file, " [%lld; %lld to %lld]", (long long)json_integer_value(value),
            (long long)json_integer_value(minimum), (long long)json_integer_value(maximum));
  } else if (json_is_boolean(value)) {
    fprintf(file, " [%s]", json_is_true(value) ? "true" : "false");
  }
  fputc('\n', file);
}

void cli_metadata_print(FILE *file, const char *group)
{
  const json_t *settings = cli_metadata();
  if (!settings) {
    fputs("  (not listed: a setting in the environment is wrong; see `cenote config`)\n", file);
    return;
  }
  if (strcmp(group, "pool") == 0) {
    fprintf(file, "  %-34s %s\n", "--profile VALUE",
            "which defaults: vercel, netlify, lambda, local or server [recognised]");
  }
  size_t i;
  json_t *setting;
  json_array_foreach(settings, i, setting)
  {
    const char *its = json_string_value(json_object_get(setting, "group"));
    if (its && strcmp(its, group) == 0) {
      setting_print(file, setting);
    }
  }
}

void cli_metadata_profile(const char *name)
{
  cli_metadata_free();
  profile = name;
}

void cli_metadata_free(void)
{
  json_decref(document);
  document = NULL;
  tried = false;
}
