/*
 * cache.h - prepared statements of one SQLite handle, found by their text, least recently used
 * ones dropped. One thread at a time: whoever is inside the handle.
 */
#ifndef CEN_SQLITE_CACHE_H
#define CEN_SQLITE_CACHE_H

#include "base/list.h"
#include "sql/scan.h"

#include <sqlite3.h>
#include <stdint.h>

enum { CEN_SQ_BUCKETS = 256, CEN_SQ_CACHED_TEXT = 64 << 10 /* longer texts are not kept */ };

struct cen_sq_statement {
  struct cen_link recent; /* in cache->recent; alone when it is not kept */
  struct cen_sq_statement *next_in_bucket;
  uint64_t hash;
  char *sql; /* as the caller wrote it */
  size_t size;
  sqlite3_stmt *stmt;
  enum cen_verb verb;
  bool writes;    /* needs the writer's turn */
  bool inserts;   /* makes rows, so that the last row id is its own */
  bool may_dirty; /* leaves session state behind */
  bool rewritten; /* positions in the text are not the caller's */
  bool native;    /* no placeholder of it is Cenote's */
  bool vacuums;
  bool script;   /* one of a script: `sql` is the whole of it, and borrowed */
  size_t begins; /* of a script: where in the text SQLite was to begin */
  bool kept;
};

struct cen_sq_cache {
  struct cen_sq_statement *buckets[CEN_SQ_BUCKETS];
  struct cen_link recent; /* most recent in front */
  size_t count;
};

void cen_sq_cache_init(struct cen_sq_cache *cache);
/* The statement for this text, or NULL. The same text may mean another one where it is native. */
struct cen_sq_statement *cen_sq_cache_find(struct cen_sq_cache *cache, const char *sql, size_t size,
                                           bool native);
/* A new entry with a copy of the text and nothing prepared yet; NULL: no memory. */
struct cen_sq_statement *cen_sq_statement_new(const char *sql, size_t size, bool native);
void cen_sq_statement_free(struct cen_sq_statement *statement);
/* Keeps it, and drops the one used longest ago when there are too many. */
void cen_sq_cache_keep(struct cen_sq_cache *cache, struct cen_sq_statement *statement);
void cen_sq_cache_clear(struct cen_sq_cache *cache); /* finalises all */

#endif
