/* settings_help.h - what the tests of settings share: an environment of one's own, and INI files. */
#ifndef SETTINGS_HELP_H
#define SETTINGS_HELP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "manager/settings.h"
#include "manager/settings_table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct fake_variable {
  const char *name;
  const char *value;
};

/* `context` is an array that ends with {NULL, NULL}. */
static inline const char *fake_getenv(void *context, const char *name)
{
  for (const struct fake_variable *variable = context; variable->name != NULL; variable++) {
    if (strcmp(variable->name, name) == 0) {
      return variable->value;
    }
  }
  return NULL;
}

#define ENVIRONMENT(...)   \
  (struct fake_variable[]) \
  {                        \
    __VA_ARGS__            \
    {                      \
      NULL, NULL           \
    }                      \
  }
#define OPTIONS(...) ((const cenote_setting[]){__VA_ARGS__})

/* What one test loads; the URL keeps serverless profiles content. */
struct fixture {
  struct cen_settings settings;
  cenote_error error;
};

static inline cenote_status load_with(struct fixture *fixture, const char *url, const char *file,
                                      struct fake_variable *environment,
                                      const cenote_setting *options, size_t count)
{
  cenote_options all = CENOTE_OPTIONS_INIT;
  all.settings = options;
  all.settings_count = count;
  all.config_file = file;
  fixture->error = (cenote_error)CENOTE_ERROR_INIT;
  return cen_settings_load(&fixture->settings, url, &all, fake_getenv, environment,
                           &fixture->error);
}

static inline void assert_said(const struct fixture *fixture, const char *part)
{
  if (strstr(fixture->error.message, part) == NULL) {
    fail_msg("\"%s\" is not in: %s", part, fixture->error.message);
  }
}

/* A file with this text; remove it with drop_file. */
static inline void write_file(char path[64], const char *text, size_t size)
{
  snprintf(path, 64, "/tmp/cenote-settings-XXXXXX");
  int fd = mkstemp(path);
  assert_true(fd >= 0);
  assert_true(write(fd, text, size) == (ssize_t)size);
  close(fd);
}

static inline void drop_file(const char *path)
{
  assert_int_equal(unlink(path), 0);
}

#endif
