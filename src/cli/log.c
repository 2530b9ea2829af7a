/* log.c - see log.h. */
#include "cli/log.h"

#include "base/buf.h"
#include "base/text.h"

#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_KEPT = 8, MOST_SAID = 1 << 16 };

static struct {
  pthread_mutex_t lock;
  bool asked; /* somebody chose a level: then everything is shown that comes */
  bool quiet;
  char last[512];
  size_t kept_count;
  struct {
    cenote_log_level level;
    char *line;
  } kept[MOST_KEPT];
  struct cen_buf said;
} state = {.lock = PTHREAD_MUTEX_INITIALIZER, .said = {.ceiling = MOST_SAID}};

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

static void show(cenote_log_level level, const char *line)
{
  static const char *const names[] = {"error", "warning", "info", "debug"};
  fprintf(stderr, "cenote: %s: %s\n", names[level], line);
}

/* Why no connection could be opened, if that is what the line is about; else NULL. */
static const char *reason_in(const char *line)
{
  static const struct {
    const char *begin, *before;
  } forms[] = {{"connect to ", " failed: "},
               {"circuit breaker for ", " ms: "},
               {"login circuit breaker for ", " ms: "}};
  for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
    if (strncmp(line, forms[i].begin, strlen(forms[i].begin)) == 0) {
      const char *before = strstr(line, forms[i].before);
      return before ? before + strlen(forms[i].before) : NULL;
    }
  }
  return NULL;
}

static bool keep(cenote_log_level level, const char *line)
{
  if (state.asked || debug_in_environment() || state.kept_count == MOST_KEPT || !reason_in(line)) {
    return false;
  }
  char *copy = strdup(line);
  if (copy) {
    state.kept[state.kept_count].level = level;
    state.kept[state.kept_count++].line = copy;
  }
  return copy != NULL;
}

void cli_log(void *context, cenote_log_level level, const char *line)
{
  (void)context;
  pthread_mutex_lock(&state.lock);
  if (is_wanted(level, line) && !keep(level, line)) {
    show(level, line);
  }
  pthread_mutex_unlock(&state.lock);
}

void cli_log_said(const char *text)
{
  pthread_mutex_lock(&state.lock);
  cen_buf_text(&state.said, text);
  cen_buf_char(&state.said, '\n');
  pthread_mutex_unlock(&state.lock);
}

static void flush_locked(void)
{
  for (size_t i = 0; i < state.kept_count; i++) {
    const char *reason = reason_in(state.kept[i].line);
    if (!state.said.data || !strstr(state.said.data, reason)) {
      show(state.kept[i].level, state.kept[i].line);
    }
    free(state.kept[i].line);
  }
  state.kept_count = 0;
}

void cli_log_flush(void)
{
  pthread_mutex_lock(&state.lock);
  flush_locked();
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
  flush_locked();
  state.quiet = true;
  pthread_mutex_unlock(&state.lock);
}
