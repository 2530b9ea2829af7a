#include "driver/sqlite/cache.h"

#include "base/limits.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>

/* FNV-1a: texts are short and come from our own caller. */
static uint64_t hash_text(const char *text, size_t size)
{
  uint64_t hash = UINT64_C(14695981039346656037);
  size_t i;
  for (i = 0; i < size; i++) {
    hash = (hash ^ (unsigned char)text[i]) * UINT64_C(1099511628211);
  }
  return hash;
}

void cen_sq_cache_init(struct cen_sq_cache *cache)
{
  memset(cache->buckets, 0, sizeof(cache->buckets));
  cen_link_init(&cache->recent);
  cache->count = 0;
}

struct cen_sq_statement *cen_sq_cache_find(struct cen_sq_cache *cache, const char *sql, size_t size,
                                           bool native)
{
  uint64_t hash = hash_text(sql, size);
  struct cen_sq_statement *statement = cache->buckets[hash % CEN_SQ_BUCKETS];
  for (; statement; statement = statement->next_in_bucket) {
    if (statement->hash == hash && statement->size == size && statement->native == native &&
        memcmp(statement->sql, sql, size) == 0) {
      cen_list_remove(&statement->recent);
      cen_list_push_front(&cache->recent, &statement->recent);
      return statement;
    }
  }
  return NULL;
}

struct cen_sq_statement *cen_sq_statement_new(const char *sql, size_t size, bool native)
{
  struct cen_sq_statement *statement = calloc(1, sizeof(*statement));
  if (!statement) {
    return NULL;
  }
  cen_link_init(&statement->recent);
  statement->sql = cen_text_copy_n(sql, size);
  statement->size = size;
  statement->native = native;
  if (!statement->sql) {
    free(statement);
    return NULL;
  }
  return statement;
}

void cen_sq_statement_free(struct cen_sq_statement *statement)
{
  if (statement) {
    sqlite3_finalize(statement->stmt);
    free(statement->sql);
    free(statement);
  }
}

static void drop(struct cen_sq_cache *cache, struct cen_sq_statement *statement)
{
  struct cen_sq_statement **at = &cache->buckets[statement->hash % CEN_SQ_BUCKETS];
  while (*at != statement) {
    at = &(*at)->next_in_bucket;
  }
  *at = statement->next_in_bucket;
  cen_list_remove(&statement->recent);
  cache->count--;
  cen_sq_statement_free(statement);
}

void cen_sq_cache_keep(struct cen_sq_cache *cache, struct cen_sq_statement *statement)
{
  struct cen_sq_statement **bucket;
  if (cache->count >= CEN_STATEMENT_CACHE) {
    drop(cache, CEN_CONTAINER(cache->recent.prev, struct cen_sq_statement, recent));
  }
  statement->hash = hash_text(statement->sql, statement->size);
  bucket = &cache->buckets[statement->hash % CEN_SQ_BUCKETS];
  statement->next_in_bucket = *bucket;
  *bucket = statement;
  cen_list_push_front(&cache->recent, &statement->recent);
  statement->kept = true;
  cache->count++;
}

void cen_sq_cache_clear(struct cen_sq_cache *cache)
{
  while (!cen_list_empty(&cache->recent)) {
    drop(cache, CEN_CONTAINER(cache->recent.next, struct cen_sq_statement, recent));
  }
}
