/* sqlite_meaning.h - what SQLite's result codes and messages mean: for those who have SQLite itself,
 * and for those who only hear its words from a server. Pure functions; any thread. */
#ifndef CEN_SQLITE_MEANING_H
#define CEN_SQLITE_MEANING_H

#include <cenote/result.h>

struct cen_sqlite_meaning {
  const char *name; /* "SQLITE_BUSY"; extended ones too */
  const char *sqlstate;
  cenote_status status;
  bool retryable;
};

/* Of a name; one that is not known by itself counts as its primary one's. SQLITE_CONSTRAINT alone is
 * told apart by the message (or NULL). NULL: no name of SQLite's. */
const struct cen_sqlite_meaning *cen_sqlite_meaning(const char *name, const char *message);
/* SQLITE_ERROR says nothing; its text does, which SQLite keeps stable. NULL: not this one's. */
const char *cen_sqlite_text_state(const char *message);
/* "UNIQUE constraint failed: users.email, users.name": table and first column as the fields t and c.
 * A CHECK names the constraint instead (n). */
void cen_sqlite_constraint_fields(const char *message, cenote_error *error);

#endif
