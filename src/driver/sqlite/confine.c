/*
 * confine.c - SQL of strangers (the setting sqlite_confined): it stays inside its own file, and
 * leaves alone what belongs to all who use it. What is refused is listed in docs/sqlite.md.
 */
#include "driver/sqlite/connection.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum rule {
  READ,        /* without a value; what stands in the file, or in the session */
  ANY,         /* with a value too: it is the session's, or the data's own */
  IGNORED,     /* with a value it does nothing: our deadlines take its place */
  JOURNAL,     /* the mode that the file has already */
  SYNCHRONOUS, /* not less than the URL says */
  CACHE        /* up to MOST_CACHE_KIB, or as many pages of 4 KiB */
};

enum {
  MOST_CACHE_KIB = 64 << 10,
  MOST_LENGTH = 16 << 20, /* a text, a blob, a row */
  MOST_SQL = 16 << 20,
  MOST_DEPTH = 500, /* of an expression */
  MOST_COMPOUND = 200,
  MOST_OPCODES = 2500000,
  MOST_PATTERN = 1000, /* bytes behind LIKE: nothing interrupts a comparison */
  MOST_TRIGGERS = 100,
  MOST_ATTACHED = 1 /* VACUUM's own */
};

/* A name that is not here is refused. */
static const struct {
  const char *name;
  enum rule rule;
} pragmas[] = {
    {"analysis_limit", ANY},
    {"application_id", ANY},
    {"auto_vacuum", READ},
    {"automatic_index", ANY},
    {"busy_timeout", IGNORED},
    {"cache_size", CACHE},
    {"cache_spill", READ},
    {"case_sensitive_like", ANY},
    {"cell_size_check", ANY},
    {"collation_list", READ},
    {"compile_options", READ},
    {"data_version", READ},
    {"database_list", READ},
    {"defer_foreign_keys", ANY},
    {"encoding", READ},
    {"foreign_key_check", ANY},
    {"foreign_key_list", ANY},
    {"foreign_keys", ANY},
    {"freelist_count", READ},
    {"function_list", READ},
    {"ignore_check_constraints", ANY},
    {"incremental_vacuum", ANY},
    {"index_info", ANY},
    {"index_list", ANY},
    {"index_xinfo", ANY},
    {"integrity_check", ANY},
    {"journal_mode", JOURNAL},
    {"journal_size_limit", READ},
    {"legacy_alter_table", ANY},
    {"locking_mode", READ},
    {"max_page_count", READ},
    {"mmap_size", READ},
    {"module_list", READ},
    {"optimize", ANY},
    {"page_count", READ},
    {"page_size", READ},
    {"pragma_list", READ},
    {"query_only", READ},
    {"quick_check", ANY},
    {"read_uncommitted", ANY},
    {"recursive_triggers", ANY},
    {"reverse_unordered_selects", ANY},
    {"schema_version", READ},
    {"secure_delete", ANY},
    {"shrink_memory", ANY},
    {"synchronous", SYNCHRONOUS},
    {"table_info", ANY},
    {"table_list", ANY},
    {"table_xinfo", ANY},
    {"temp_store", READ},
    {"trusted_schema", READ},
    {"user_version", ANY},
    {"wal_autocheckpoint", READ},
    {"wal_checkpoint", ANY},
};

static int refuse(struct cen_sq_handle *handle, const char *what, const char *name)
{
  snprintf(handle->refused, sizeof(handle->refused), "%s%.48s", what, name);
  return SQLITE_DENY;
}

/* -1: none of SQLite's words */
static int synchronous_level(const char *text)
{
  static const char *const words[] = {"off", "normal", "full", "extra"};
  int i;
  for (i = 0; i < 4; i++) {
    if (strcasecmp(text, words[i]) == 0 || (text[0] == '0' + i && !text[1])) {
      return i;
    }
  }
  return -1;
}

static bool small_cache(const char *text)
{
  char *end;
  long size = strtol(text, &end, 10);
  return end != text && !*end &&
         (size < 0 ? size >= -(long)MOST_CACHE_KIB : size <= MOST_CACHE_KIB / 4);
}

static int judge_value(const struct cen_sq_url *url, enum rule rule, const char *value)
{
  bool fine = false;
  switch (rule) {
  case IGNORED:
    return SQLITE_IGNORE;
  case ANY:
    fine = true;
    break;
  case READ:
    break;
  case JOURNAL:
    fine = strcasecmp(value, url->memory ? "memory" : url->journal) == 0;
    break;
  case SYNCHRONOUS:
    fine = synchronous_level(value) >= synchronous_level(url->synchronous);
    break;
  case CACHE:
    fine = small_cache(value);
    break;
  }
  return fine ? SQLITE_OK : SQLITE_DENY;
}

static int judge_pragma(struct cen_sq_handle *handle, const char *name, const char *value)
{
  size_t i;
  for (i = 0; i < sizeof(pragmas) / sizeof(*pragmas); i++) {
    if (strcasecmp(pragmas[i].name, name) == 0) {
      int verdict = value ? judge_value(handle->url, pragmas[i].rule, value) : SQLITE_OK;
      return verdict == SQLITE_DENY ? refuse(handle, "a new value for PRAGMA ", name) : verdict;
    }
  }
  return refuse(handle, "PRAGMA ", name);
}

static int judge_function(struct cen_sq_handle *handle, const char *name)
{
  static const char *const functions[] = {"load_extension", "fts3_tokenizer",
                                          "optimize" /* of FTS3 and 4: a SELECT that writes */};
  size_t i;
  for (i = 0; i < sizeof(functions) / sizeof(*functions); i++) {
    if (strcasecmp(functions[i], name) == 0) {
      return refuse(handle, "the function ", functions[i]);
    }
  }
  return SQLITE_OK;
}

/* The statements that this connection has prepared are other people's too, as they wrote them. And a
 * SELECT that runs ANALYZE looks like one that reads. */
static int judge_table(struct cen_sq_handle *handle, const char *name)
{
  static const char *const tables[] = {"sqlite_stmt", "pragma_optimize"};
  size_t i;
  for (i = 0; i < sizeof(tables) / sizeof(*tables); i++) {
    if (strcasecmp(tables[i], name) == 0) {
      return refuse(handle, "the table ", tables[i]);
    }
  }
  return SQLITE_OK;
}

/* SQLite asks while it prepares. The statements that VACUUM makes come here too. */
static int authorize(void *context, int action, const char *first, const char *second,
                     const char *schema, const char *trigger)
{
  struct cen_sq_handle *handle = context;
  (void)schema;
  (void)trigger;
  if (handle->ours) {
    return SQLITE_OK;
  }
  switch (action) {
  case SQLITE_ATTACH:
    if (handle->vacuuming) {
      return first && !*first ? SQLITE_OK : refuse(handle, "VACUUM INTO", "");
    }
    return refuse(handle, "ATTACH", "");
  case SQLITE_PRAGMA:
    return judge_pragma(handle, first ? first : "", second);
  case SQLITE_FUNCTION:
    return judge_function(handle, second ? second : "");
  case SQLITE_READ:
    return judge_table(handle, first ? first : "");
  default:
    return SQLITE_OK;
  }
}

int cen_sq_confine(struct cen_sq_handle *handle)
{
  static const struct {
    int which;
    int most;
  } limits[] = {
      {SQLITE_LIMIT_LENGTH, MOST_LENGTH},
      {SQLITE_LIMIT_SQL_LENGTH, MOST_SQL},
      {SQLITE_LIMIT_EXPR_DEPTH, MOST_DEPTH},
      {SQLITE_LIMIT_COMPOUND_SELECT, MOST_COMPOUND},
      {SQLITE_LIMIT_VDBE_OP, MOST_OPCODES},
      {SQLITE_LIMIT_LIKE_PATTERN_LENGTH, MOST_PATTERN},
      {SQLITE_LIMIT_TRIGGER_DEPTH, MOST_TRIGGERS},
      {SQLITE_LIMIT_ATTACHED, MOST_ATTACHED},
      {SQLITE_LIMIT_WORKER_THREADS, 0},
  };
  size_t i;
  int code;
  for (i = 0; i < sizeof(limits) / sizeof(*limits); i++) {
    sqlite3_limit(handle->db, limits[i].which, limits[i].most);
  }
  code = sqlite3_db_config(handle->db, SQLITE_DBCONFIG_ENABLE_FTS3_TOKENIZER, 0, NULL);
  if (code == SQLITE_OK) {
    code = cen_sq_bound(handle->db);
  }
  return code == SQLITE_OK ? sqlite3_set_authorizer(handle->db, authorize, handle) : code;
}
