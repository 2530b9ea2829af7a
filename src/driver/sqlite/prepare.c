/*
 * prepare.c - from a text to a prepared statement, out of the handle's cache where it is there.
 * A native text goes to SQLite as it is; in another one the placeholders are Cenote's.
 */
#include "driver/sqlite/connection.h"

#include "base/error.h"
#include "base/limits.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

cenote_status cen_sq_check_text(const cenote_request *request, cenote_error *error)
{
  if (!request->sql || (request->count && !request->args)) {
    return cenote_error_set(error, CENOTE_INVALID, "no statement, or no arguments, were given");
  }
  if (strnlen(request->sql, (size_t)CEN_MAX_SQL + 1) > CEN_MAX_SQL) {
    cenote_error_set(error, CENOTE_TOO_LARGE, "the statement's text is longer than %d bytes",
                     CEN_MAX_SQL);
    cenote_error_add_field(error, 'X', "SQLITE_TOOBIG");
    return CENOTE_TOO_LARGE;
  }
  return CENOTE_OK;
}

static cenote_status wrong_count(const char *code, const char *message, cenote_error *error)
{
  cenote_error_set(error, CENOTE_INVALID, "%s", message);
  cenote_error_add_field(error, 'X', code);
  return CENOTE_INVALID;
}

/* INSERT, REPLACE, also behind WITH: the first word outside parentheses that names an action. */
static bool is_insert(const char *sql, size_t size)
{
  struct cen_scanner scanner;
  struct cen_token token;
  size_t depth = 0;
  cen_scan_init(&scanner, sql, size, CEN_DIALECT_SQLITE);
  while (cen_scan_next(&scanner, &token) != CEN_TOKEN_END) {
    if (token.kind == CEN_TOKEN_SYMBOL && *token.start == '(') {
      depth++;
    } else if (token.kind == CEN_TOKEN_SYMBOL && *token.start == ')' && depth) {
      depth--;
    } else if (depth == 0 && (cen_token_is(&token, "insert") || cen_token_is(&token, "replace"))) {
      return true;
    } else if (depth == 0 && (cen_token_is(&token, "select") || cen_token_is(&token, "update") ||
                              cen_token_is(&token, "delete"))) {
      return false;
    }
  }
  return false;
}

static bool begins_with(const char *sql, size_t size, const char *word)
{
  struct cen_scanner scanner;
  struct cen_token token;
  cen_scan_init(&scanner, sql, size, CEN_DIALECT_SQLITE);
  while (cen_scan_next(&scanner, &token) != CEN_TOKEN_END) {
    if (token.kind != CEN_TOKEN_SPACE && token.kind != CEN_TOKEN_COMMENT &&
        token.kind != CEN_TOKEN_SEMICOLON) {
      return cen_token_is(&token, word);
    }
  }
  return false;
}

/* PRAGMA optimize runs ANALYZE where that is due, and sqlite3_stmt_readonly does not know. However the
 * name is quoted; another PRAGMA that has the word in it waits for its turn, that is all. */
static bool is_optimize(const char *sql, size_t size)
{
  static const char word[] = "optimize";
  size_t i;
  if (!begins_with(sql, size, "pragma")) {
    return false;
  }
  for (i = 0; i + sizeof(word) - 1 <= size; i++) {
    if (strncasecmp(sql + i, word, sizeof(word) - 1) == 0) {
      return true;
    }
  }
  return false;
}

/* What the statement's own text, of `size` bytes at `sql`, says of it. */
static void classify(struct cen_sq_statement *statement, const char *sql, size_t size)
{
  statement->verb = cen_statement_verb(sql, size, CEN_DIALECT_SQLITE);
  statement->may_dirty = cen_statement_may_dirty(sql, size, CEN_DIALECT_SQLITE);
  statement->inserts = statement->verb == CEN_VERB_WRITE && is_insert(sql, size);
  statement->vacuums = begins_with(sql, size, "vacuum");
  /* EXPLAIN of a write only tells of it */
  statement->writes =
      (!sqlite3_stmt_readonly(statement->stmt) && !sqlite3_stmt_isexplain(statement->stmt)) ||
      is_optimize(sql, size);
}

cenote_status cen_sq_prepare_next(cenote_connection *connection, const char *text, size_t size,
                                  const char **tail, struct cen_sq_statement *statement,
                                  cenote_error *error)
{
  const char *end = text + size;
  unsigned flags = statement->script ? 0 : SQLITE_PREPARE_PERSISTENT;
  connection->handle->refused[0] = '\0';
  while (!statement->stmt && *tail < end) {
    const char *at = *tail;
    int code = sqlite3_prepare_v3(connection->handle->db, at, (int)(end - at) + 1, flags,
                                  &statement->stmt, tail);
    if (code != SQLITE_OK) {
      return cen_sq_error(connection, code, statement, error);
    }
    if (statement->stmt) {
      classify(statement, at, (size_t)(*tail - at));
    }
  }
  return CENOTE_OK;
}

/* Prepares the first statement of the text; there must be no second one. */
static cenote_status prepare_text(cenote_connection *connection, const char *text,
                                  struct cen_sq_statement *statement, cenote_error *error)
{
  const char *tail = text;
  size_t size = strlen(text);
  cenote_status status = cen_sq_prepare_next(connection, text, size, &tail, statement, error);
  if (status) {
    return status;
  }
  if (!statement->stmt) {
    return wrong_count("SQL_NO_STATEMENT", "the statement is empty", error);
  }
  if (cen_count_statements(tail, size - (size_t)(tail - text), CEN_DIALECT_SQLITE) > 0) {
    return wrong_count("SQL_MANY_STATEMENTS",
                       "the text holds several statements; run them one by one, or as a batch",
                       error);
  }
  return CENOTE_OK;
}

cenote_status cen_sq_prepare(cenote_connection *connection, const char *sql, bool native,
                             struct cen_sq_statement **out, cenote_error *error)
{
  struct cen_sq_statement *statement = NULL;
  char *rewritten = NULL;
  size_t size = strlen(sql);
  size_t highest;
  cenote_status status = CENOTE_OK;
  *out = NULL;
  if (!native) {
    status = cen_placeholders(sql, size, CEN_DIALECT_SQLITE, &rewritten, &highest, error);
  }
  if (status) {
    return status;
  }
  statement = cen_sq_statement_new(sql, size, native);
  if (!statement) {
    free(rewritten);
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory while preparing");
  }
  statement->rewritten = rewritten != NULL;
  status = prepare_text(connection, rewritten ? rewritten : sql, statement, error);
  free(rewritten);
  if (status) {
    cen_sq_statement_free(statement);
    return status;
  }
  *out = statement;
  return CENOTE_OK;
}

/* What changes the schema or the session rarely comes twice. */
static bool worth_keeping(const struct cen_sq_statement *statement)
{
  return statement->size <= CEN_SQ_CACHED_TEXT && !statement->may_dirty &&
         statement->verb != CEN_VERB_DDL && statement->verb != CEN_VERB_UNKNOWN;
}

cenote_status cen_sq_find(cenote_connection *connection, const char *sql, bool native,
                          struct cen_sq_statement **statement, cenote_error *error)
{
  cenote_status status;
  connection->handle->refused[0] = '\0';
  *statement = cen_sq_cache_find(&connection->handle->cache, sql, strlen(sql), native);
  if (*statement) {
    return CENOTE_OK;
  }
  status = cen_sq_prepare(connection, sql, native, statement, error);
  if (status == CENOTE_OK && worth_keeping(*statement)) {
    cen_sq_cache_keep(&connection->handle->cache, *statement);
  }
  return status;
}

void cen_sq_put_back(struct cen_sq_statement *statement)
{
  if (statement->kept) {
    sqlite3_reset(statement->stmt);
    sqlite3_clear_bindings(statement->stmt);
  } else {
    cen_sq_statement_free(statement);
  }
}
