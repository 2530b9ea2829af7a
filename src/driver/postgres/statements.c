/* statements.c - the statements of one connection: what the scanner said of each, and which of
 * them the server holds prepared. The least recently used one leaves; what the server holds of it
 * waits among the dead until the session is outside a transaction. */
#include "base/buf.h"
#include "driver/postgres/postgres.h"
#include "net/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* Eight bytes at a time; the texts themselves are compared too. */
static uint64_t hash_text(const char *text, size_t size)
{
  uint64_t hash = UINT64_C(0x9e3779b97f4a7c15) ^ size;
  while (size > 0) {
    uint64_t piece = 0;
    size_t step = size < sizeof(piece) ? size : sizeof(piece);
    memcpy(&piece, text, step);
    hash = (hash ^ piece) * UINT64_C(0xff51afd7ed558ccd);
    hash ^= hash >> 32;
    text += step;
    size -= step;
  }
  return hash;
}

static struct pg_statement **bucket_of(struct pg_statements *statements, uint64_t hash)
{
  size_t buckets = sizeof(statements->bucket) / sizeof(statements->bucket[0]);
  return &statements->bucket[hash % buckets];
}

static struct pg_statement *find(struct pg_statements *statements, const char *sql, size_t size,
                                 bool native, uint64_t hash)
{
  struct pg_statement *at = *bucket_of(statements, hash);
  while (at && !(at->hash == hash && at->sql_size == size && at->native == native &&
                 memcmp(at->sql, sql, size) == 0)) {
    at = at->chain;
  }
  return at;
}

static void statement_free(struct pg_statement *statement)
{
  if (statement) {
    free(statement->rewritten);
    free(statement);
  }
}

/* Everything that text alone tells; done once for a remembered statement. */
static void look(struct pg_statement *statement)
{
  const char *sql = statement->sql;
  size_t size = statement->sql_size;
  statement->verb = cen_statement_verb(sql, size, CEN_DIALECT_POSTGRES);
  statement->may_dirty = cen_statement_may_dirty(sql, size, CEN_DIALECT_POSTGRES);
  statement->has_effect = statement->verb == CEN_VERB_READ && cen_statement_names_writer(sql, size);
}

static cenote_status scan(struct pg_statement *statement, cenote_error *error)
{
  const char *sql = statement->sql;
  size_t size = statement->sql_size;
  size_t parts = cen_count_statements(sql, size, CEN_DIALECT_POSTGRES);
  if (statement->native) {
    look(statement);
    statement->verb = parts == 1 ? statement->verb : CEN_VERB_UNKNOWN;
    return CENOTE_OK;
  }
  if (parts == 0) {
    return cenote_error_set(error, CENOTE_INVALID, "empty statement");
  }
  if (parts > 1) {
    return cenote_error_set(error, CENOTE_INVALID,
                            "%zu statements in one text; execute them one by one or as a batch",
                            parts);
  }
  cenote_status status = cen_placeholders(sql, size, CEN_DIALECT_POSTGRES, &statement->rewritten,
                                          &statement->highest, error);
  if (status != CENOTE_OK) {
    return status;
  }
  look(statement);
  return CENOTE_OK;
}

static void unlink_statement(struct pg_statements *statements, struct pg_statement *statement)
{
  struct pg_statement **at = bucket_of(statements, statement->hash);
  while (*at != statement) {
    at = &(*at)->chain;
  }
  *at = statement->chain;
  cen_list_remove(&statement->link);
  statement->cached = false;
  statements->count--;
}

/* Nobody knows it any more. */
static void let_go(struct pg_statement *statement)
{
  if (statement->pins == 0 && !statement->cached && !statement->dead) {
    statement_free(statement);
  }
}

/* Out of the cache. What the server holds stays on a list until it can be told. */
static void evict(struct pg_statements *statements, struct pg_statement *statement)
{
  unlink_statement(statements, statement);
  if (statement->prepared) {
    statement->dead = true;
    cen_list_push_back(&statements->dead, &statement->link);
    statements->dead_count++;
  }
  let_go(statement);
}

static void remember(struct pg_statements *statements, struct pg_statement *statement)
{
  if (statements->count >= CEN_STATEMENT_CACHE) {
    evict(statements, CEN_CONTAINER(statements->used.prev, struct pg_statement, link));
  }
  struct pg_statement **bucket = bucket_of(statements, statement->hash);
  statement->chain = *bucket;
  *bucket = statement;
  statement->cached = true;
  statement->number = ++statements->last_number;
  cen_list_push_front(&statements->used, &statement->link);
  statements->count++;
}

static struct pg_statements *statements_new(void)
{
  struct pg_statements *statements = calloc(1, sizeof(*statements));
  if (statements) {
    if (getrandom(&statements->mark, sizeof(statements->mark), GRND_NONBLOCK) < 0) {
      statements->mark = (uint32_t)cen_now_ns();
    }
    cen_link_init(&statements->used);
    cen_link_init(&statements->dead);
  }
  return statements;
}

static struct pg_statement *statement_new(const char *sql, size_t size, bool native, uint64_t hash)
{
  struct pg_statement *made = calloc(1, sizeof(*made) + size + 1);
  if (made) {
    memcpy(made->sql, sql, size + 1);
    made->sql_size = size;
    made->native = native;
    made->hash = hash;
    made->uses = 1;
    cen_link_init(&made->link);
  }
  return made;
}

cenote_status pg_statement_get(struct pg_statements **statements, const char *sql, bool native,
                               struct pg_statement **statement, cenote_error *error)
{
  *statement = NULL;
  size_t size = strlen(sql);
  if (size > CEN_MAX_SQL) {
    return cenote_error_set(error, CENOTE_TOO_LARGE, "the statement has %zu bytes, %d are allowed",
                            size, CEN_MAX_SQL);
  }
  if (!*statements) {
    *statements = statements_new();
    if (!*statements) {
      return cenote_error_set(error, CENOTE_NO_MEMORY, "no memory for the statements");
    }
  }
  uint64_t hash = hash_text(sql, size);
  struct pg_statement *found = find(*statements, sql, size, native, hash);
  if (found) {
    cen_list_remove(&found->link);
    cen_list_push_front(&(*statements)->used, &found->link);
    found->uses += found->uses < UINT32_MAX;
    *statement = found;
    return CENOTE_OK;
  }
  found = statement_new(sql, size, native, hash);
  if (!found) {
    return cenote_error_set(error, CENOTE_NO_MEMORY, "no memory for the statement");
  }
  cenote_status status = scan(found, error);
  if (status != CENOTE_OK) {
    statement_free(found);
    return status;
  }
  if (size <= PG_CACHED_SQL) {
    remember(*statements, found);
  }
  *statement = found;
  return CENOTE_OK;
}

void pg_statement_done(struct pg_statement *statement)
{
  if (statement) {
    let_go(statement);
  }
}

void pg_statement_unpin(struct pg_statement *statement)
{
  if (statement) {
    statement->pins--;
    let_go(statement);
  }
}

void pg_statement_unprepare(struct pg_statements *statements, struct pg_statement *statement,
                            bool on_server)
{
  if (!statement->prepared) {
    return;
  }
  /* A small stand-in with the old name goes to the dead. Without memory for it, the server keeps
   * one statement too many until the session ends. */
  struct pg_statement *dead = on_server ? calloc(1, sizeof(*dead) + 1) : NULL;
  if (dead) {
    dead->number = statement->number;
    dead->prepared = dead->dead = true;
    cen_list_push_back(&statements->dead, &dead->link);
    statements->dead_count++;
  }
  statement->prepared = false;
  statement->number = ++statements->last_number;
}

static void free_dead(struct pg_statements *statements)
{
  struct cen_link *link;
  while ((link = cen_list_pop(&statements->dead)) != NULL) {
    struct pg_statement *statement = CEN_CONTAINER(link, struct pg_statement, link);
    statement->dead = statement->prepared = false;
    let_go(statement);
  }
  statements->dead_count = 0;
}

void pg_statements_forget_prepared(struct pg_statements *statements)
{
  if (!statements) {
    return;
  }
  struct cen_link *link = statements->used.next;
  for (; link != &statements->used; link = link->next) {
    struct pg_statement *statement = CEN_CONTAINER(link, struct pg_statement, link);
    statement->prepared = false;
    statement->told = 0; /* its name stays, and may be given to other columns */
  }
  free_dead(statements);
}

void pg_statements_shrink(struct pg_statements *statements)
{
  while (statements && !cen_list_empty(&statements->used)) {
    evict(statements, CEN_CONTAINER(statements->used.prev, struct pg_statement, link));
  }
}

void pg_statements_free(struct pg_statements *statements)
{
  if (statements) {
    pg_statements_shrink(statements);
    free_dead(statements);
    free(statements);
  }
}

const char *pg_statement_name(const struct pg_statements *statements,
                              struct pg_statement *statement)
{
  if (statement->named != statement->number) {
    snprintf(statement->name, sizeof(statement->name), "cenote_%08x_%u", statements->mark,
             statement->number);
    statement->named = statement->number;
  }
  return statement->name;
}

char *pg_statements_bury(struct pg_statements *statements)
{
  struct cen_buf text;
  cen_buf_init(&text, 64 << 10);
  struct cen_link *link = statements->dead.next;
  for (; link != &statements->dead; link = link->next) {
    struct pg_statement *statement = CEN_CONTAINER(link, struct pg_statement, link);
    cen_buf_format(&text, "DEALLOCATE %s;", pg_statement_name(statements, statement));
  }
  char *taken = cen_buf_take(&text);
  cen_buf_deinit(&text);
  if (taken) {
    free_dead(statements);
  }
  return taken;
}

bool pg_statements_bury_one(struct pg_statements *statements, char name[PG_NAME])
{
  struct cen_link *link = cen_list_pop(&statements->dead);
  if (!link) {
    return false;
  }
  struct pg_statement *statement = CEN_CONTAINER(link, struct pg_statement, link);
  snprintf(name, PG_NAME, "%s", pg_statement_name(statements, statement));
  statement->dead = statement->prepared = false;
  statements->dead_count--;
  let_go(statement);
  return true;
}
