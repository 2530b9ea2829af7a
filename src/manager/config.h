/* config.h - reading an INI file. A file is [sections] of `name = value` lines, `;` and `#`
 * comments, UTF-8 with or without a byte order mark, at most CEN_MAX_INI bytes. The caller says
 * what the names mean. Values may hold secrets: what was read is wiped. Any thread. */
#ifndef CEN_CONFIG_H
#define CEN_CONFIG_H

#include <cenote/cenote.h>

struct cen_config_entry {
  const char *file; /* as it was named, for messages */
  unsigned line;
  const char *section; /* "" before the first */
  const char *name;
  const char *value;
};

/* Anything but CENOTE_OK, with *error filled, ends the reading. */
typedef cenote_status (*cen_config_visit)(void *context, const struct cen_config_entry *entry,
                                          cenote_error *error);

/* CENOTE_CONFIG: cannot be read, too large, or a line that is no setting (the message has the file
 * and the line); else what `visit` answered. */
cenote_status cen_config_read(const char *file, cen_config_visit visit, void *context,
                              cenote_error *error);
/* The same from memory. */
cenote_status cen_config_read_text(const char *text, size_t size, const char *file,
                                   cen_config_visit visit, void *context, cenote_error *error);

/* "FILE line N: ", cut to fit. */
enum { CEN_WHERE_SIZE = 160 };
void cen_config_where(char out[CEN_WHERE_SIZE], const struct cen_config_entry *entry);

#endif
