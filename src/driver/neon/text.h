/* text.h - what the text of a statement says. Private to this folder; apart from neon.h, since the
 * scanner of SQL and the reader of JSON have tokens of the same name. No state: any thread. */
#ifndef CEN_DRIVER_NEON_TEXT_H
#define CEN_DRIVER_NEON_TEXT_H

#include <cenote/cenote.h>

struct neon_text {
  char *rewritten; /* with $1 for ?, malloc'ed; NULL: as it was */
  size_t highest;  /* arguments that it needs; not known of a native one */
  bool reads;      /* nothing in it writes, as far as the text tells */
  bool repeatable; /* … and it calls nothing but functions of PostgreSQL's that are known */
};

/* `alone`: it is no part of a batch. CENOTE_UNSUPPORTED where it would need a session that lasts. */
cenote_status neon_text_take(struct neon_text *text, const char *sql, bool native, bool alone,
                             cenote_error *error);

#endif
