/*
 * dashboard.h - the files of the page as the build embeds them: tools/embed.py writes the table out
 * of web/ and the charting library. Constant, any thread.
 */
#ifndef CEN_SERVER_DASHBOARD_H
#define CEN_SERVER_DASHBOARD_H

#include <stddef.h>

struct dashboard_file {
  const char *name; /* below /dashboard/; index.html is at / too */
  const char *type;
  const char *tag; /* entity tag, quoted */
  const unsigned char *data;
  size_t size;
};

extern const struct dashboard_file dashboard_files[];
extern const size_t dashboard_file_count;

#endif
