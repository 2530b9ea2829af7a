/* names.h - a list of names out of a setting ("app.total, slugify"), for look-ups. Made once,
 * then read by any thread. */
#ifndef CEN_NAMES_H
#define CEN_NAMES_H

#include <cenote/cenote.h>

struct cen_names {
  char *text;
  const char **names; /* sorted by bytes */
  size_t count;
};

/* Commas and blanks part the names; outside "double quotes" they are put in lower case, as the
 * database does. NULL: none. */
cenote_status cen_names_init(struct cen_names *names, const char *list, cenote_error *error);
void cen_names_free(struct cen_names *names);
bool cen_names_have(const struct cen_names *names, const char *name, size_t size);

#endif
