/* log.h - one log of one manager: a level, a callback. Thread-safe. Callers never pass
 * a secret or a parameter's value, and never log under a lock. */
#ifndef CEN_LOG_H
#define CEN_LOG_H

#include <cenote/cenote.h>

struct cen_log {
  cenote_log_level level; /* lines above it are dropped */
  cenote_log_callback callback;
  void *context;
};

/* Without a callback: standard error, warnings and errors. With one: information too.
 * CENOTE_LOG=debug|info|warning|error or DEBUG=true in the environment move either level. */
void cen_log_init(struct cen_log *log, cenote_log_callback callback, void *context);
/* A level by its name; NULL or a name that is none changes nothing. */
void cen_log_set_level(struct cen_log *log, const char *name);
bool cen_log_on(const struct cen_log *log, cenote_log_level level);
/* One line: control characters become blanks, a long line is cut. Keeps errno. */
void cen_log_write(const struct cen_log *log, cenote_log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
