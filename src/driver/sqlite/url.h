/* url.h - what a URL of SQLite says. Pure; any thread. */
#ifndef CEN_SQLITE_URL_H
#define CEN_SQLITE_URL_H

#include <cenote/driver.h>

struct cen_sq_url {
  bool memory;         /* one database in memory for the whole manager */
  bool read_only;      /* mode=ro or immutable=1: the file's journal mode is left alone */
  bool must_exist;     /* mode=rw or ro */
  bool own_vfs;        /* vfs=…: its names need not be paths */
  bool foreign_keys;   /* default on */
  char *uri;           /* for sqlite3_open_v2 */
  char *path;          /* decoded, for people */
  char journal[12];    /* default "wal" */
  char synchronous[8]; /* default "normal" */
};

cenote_status cen_sq_url_parse(const char *text, struct cen_sq_url *url, cenote_error *error);
/* Makes a relative path absolute, so that a program may change its folder while it runs. */
cenote_status cen_sq_url_anchor(struct cen_sq_url *url, const char *folder, cenote_error *error);
void cen_sq_url_deinit(struct cen_sq_url *url);

#endif
