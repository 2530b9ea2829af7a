/* log.c - see log.h. */
#include "cli/log.h"

#include "base/text.h"

#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
  pthread_mutex_t lock;
  bool asked; /* somebody chose a level: then everything is shown that comes */
  bool quiet;
  char last[512];
} state = {.lock = PTHREAD_MUTEX_INITIALIZER};

static bool debug_in_environment(void)
{
  const char *level = getenv("CENOTE_LOG");
  bool debug = false;
  return (level && *level) || (cen_text_to_bool(getenv("DEBUG"), &debug) && debug);
}

static bool is_wanted(cenote_log_level level, const char *line)
{
  if (state.asked || debug_in_environment()) {
    return true;
  }
  if (state.quiet || level > CENOTE_LOG_WARNING ||
      strncmp(state.last, line, sizeof state.last - 1) == 0) {
    return false;
  }
  snprintf(state.last, sizeof state.last, "%s", line);
  return true;
}

void cli_log(void *context, cenote_log_level level, const char *line)
{
  static const char *const names[] = {"error", "warning", "info", "debug"};
  (void)context;
  pthread_mutex_lock(&state.lock);
  if (is_wanted(level, line)) {
    fprintf(stderr, "cenote: %s: %s\n", names[level], line);
  }
  pthread_mutex_unlock(&state.lock);
}

void cli_log_settle(cenote_manager *manager)
{
  char *text = NULL;
  json_t *document = NULL;
  bool asked = false;
  if (cenote_config_json(manager, &text, NULL) == CENOTE_OK) {
    document = json_loads(text, 0, NULL);
  }
  size_t i;
  json_t *setting;
  json_array_foreach(json_object_get(document, "settings"), i, setting)
  {
    const char *name = json_string_value(json_object_get(setting, "name"));
    if (name && strcmp(name, "log") == 0) {
      asked = json_is_string(json_object_get(setting, "value"));
    }
  }
  json_decref(document);
  cenote_string_free(text);
  pthread_mutex_lock(&state.lock);
  state.asked = asked;
  pthread_mutex_unlock(&state.lock);
}

void cli_log_quiet(void)
{
  pthread_mutex_lock(&state.lock);
  state.quiet = true;
  pthread_mutex_unlock(&state.lock);
}
