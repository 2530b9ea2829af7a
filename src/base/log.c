/* log.c - see log.h. A line is put together on the stack, so logging needs no memory, and is
 * written with one call, so that lines of several threads do not mix. */
#include "base/log.h"

#include "base/text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum { LINE_TEXT = 2048 };

static const char *const level_names[] = {"error", "warning", "info", "debug"};

enum { LEVELS = sizeof(level_names) / sizeof(level_names[0]) };

static cenote_log_level level_from_environment(cenote_log_level otherwise)
{
  const char *text = getenv("CENOTE_LOG");
  for (size_t i = 0; text != NULL && i < LEVELS; i++) {
    if (strcasecmp(text, level_names[i]) == 0) {
      return (cenote_log_level)i;
    }
  }
  bool debug = false;
  if (cen_text_to_bool(getenv("DEBUG"), &debug) && debug) {
    return CENOTE_LOG_DEBUG;
  }
  return otherwise;
}

static void line_to_stderr(void *context, cenote_log_level level, const char *line)
{
  (void)context;
  char out[LINE_TEXT + 32];
  int size = snprintf(out, sizeof(out), "cenote: %s: %s\n", level_names[level], line);
  for (char *at = out; size > 0;) {
    ssize_t written = write(STDERR_FILENO, at, (size_t)size);
    if (written < 0 && errno != EINTR) {
      return; /* nowhere to complain */
    }
    at += written > 0 ? written : 0;
    size -= written > 0 ? (int)written : 0;
  }
}

void cen_log_init(struct cen_log *log, cenote_log_callback callback, void *context)
{
  log->callback = callback != NULL ? callback : line_to_stderr;
  log->context = context;
  log->level = level_from_environment(callback != NULL ? CENOTE_LOG_INFO : CENOTE_LOG_WARNING);
}

void cen_log_set_level(struct cen_log *log, const char *name)
{
  for (size_t i = 0; name != NULL && i < LEVELS; i++) {
    if (strcasecmp(name, level_names[i]) == 0) {
      log->level = (cenote_log_level)i;
    }
  }
}

bool cen_log_on(const struct cen_log *log, cenote_log_level level)
{
  return log != NULL && log->callback != NULL && (unsigned)level < LEVELS && level <= log->level;
}

void cen_log_write(const struct cen_log *log, cenote_log_level level, const char *format, ...)
{
  if (!cen_log_on(log, level)) {
    return;
  }
  int saved = errno;
  char line[LINE_TEXT];
  va_list args;
  va_start(args, format);
  int length = vsnprintf(line, sizeof(line), format, args);
  va_end(args);
  if (length >= (int)sizeof(line)) {
    line[cen_utf8_cut(line, sizeof(line) - 1)] = '\0';
  } else if (length < 0) {
    line[0] = '\0';
  }
  /* A server's message may hold newlines and escape sequences; a log line holds neither. */
  for (char *at = line; *at != '\0'; at++) {
    if ((unsigned char)*at < 0x20 || *at == 0x7F) {
      *at = ' ';
    }
  }
  log->callback(log->context, level, line);
  errno = saved;
}
