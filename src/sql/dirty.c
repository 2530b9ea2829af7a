/*
 * dirty.c - may a statement leave session state behind? For SQLite its verb decides: no function
 * of SQLite's keeps state. For PostgreSQL every name before a parenthesis must be a keyword, a
 * type, the name of a table or column list, or a function that is known to be stateless. A
 * mistake on the careful side costs a reset; views, triggers and a search_path that hides
 * pg_catalog's functions are beyond what text can tell (docs/sql.md).
 */
#include "sql/builtin.h"
#include "sql/tokens.h"

#include <string.h>

/* Words that may stand before a parenthesis without being called: keywords and types. */
static const char *const keywords[] = {
    "all",         "and",     "any",        "array",        "as",        "asc",
    "between",     "bigint",  "bit",        "boolean",      "by",        "case",
    "cast",        "char",    "character",  "check",        "columns",   "conflict",
    "cube",        "dec",     "decimal",    "default",      "desc",      "distinct",
    "else",        "end",     "escape",     "except",       "exclude",   "exists",
    "fetch",       "filter",  "first",      "float",        "from",      "full",
    "generated",   "group",   "having",     "ilike",        "in",        "include",
    "inner",       "insert",  "int",        "integer",      "intersect", "interval",
    "into",        "is",      "isnull",     "join",         "key",       "lateral",
    "left",        "like",    "limit",      "materialized", "natural",   "next",
    "not",         "notnull", "nchar",      "of",           "offset",    "on",
    "only",        "or",      "order",      "over",         "partition", "precision",
    "range",       "real",    "references", "returning",    "right",     "rollup",
    "row",         "rows",    "select",     "set",          "sets",      "similar",
    "smallint",    "some",    "table",      "then",         "time",      "timestamp",
    "timestamptz", "timetz",  "to",         "union",        "unique",    "update",
    "using",       "values",  "varchar",    "varying",      "when",      "where",
    "window",      "with",    "within",     "zone",         NULL};

/* A name behind one of these is a table, a list of columns or a definition, never a call. */
static const char *const introduces_name[] = {"into",      "table",     "exists",    "references",
                                              "as",        "with",      "recursive", "function",
                                              "procedure", "aggregate", "view",      NULL};

struct call_reader {
  struct cen_token name;      /* the name before the token at hand, or kind END */
  struct cen_token qualifier; /* what stood before its point, or kind END */
  struct cen_token before;    /* the word before the whole path, or kind END */
  struct cen_token word;      /* the token before, when it is a word */
  bool point;                 /* the token before was a point behind a name */
  bool index;                 /* the statement makes an index: ON introduces its table */
};

/* The name as the catalogue has it: unquoted words in lower case. false: too long, or U&"…". */
static bool fold(const struct cen_token *token, char *out, size_t capacity, size_t *size)
{
  const char *from = token->start;
  size_t length = token->size;
  size_t i;
  if (token->kind == CEN_TOKEN_QUOTED_NAME) {
    if (*from != '"' || length < 2) {
      return false;
    }
    from++;
    length -= 2;
  }
  if (length > capacity) {
    return false;
  }
  for (i = 0; i < length; i++) {
    bool upper = from[i] >= 'A' && from[i] <= 'Z' && token->kind == CEN_TOKEN_WORD;
    out[i] = (char)(upper ? from[i] - 'A' + 'a' : from[i]);
  }
  *size = length;
  return true;
}

static bool call_is_clean(const struct call_reader *reader)
{
  char name[64];
  size_t size;
  if (cen_token_in(&reader->before, introduces_name) ||
      (reader->index && cen_token_is(&reader->before, "on"))) {
    return true;
  }
  if (reader->index && cen_token_is(&reader->before, "using")) {
    return true; /* the access method */
  }
  if (reader->qualifier.kind == CEN_TOKEN_END && cen_token_in(&reader->name, keywords)) {
    return true;
  }
  if (reader->qualifier.kind != CEN_TOKEN_END) {
    if (!fold(&reader->qualifier, name, sizeof(name), &size) || size != 10 ||
        memcmp(name, "pg_catalog", 10) != 0) {
      return false;
    }
  }
  return fold(&reader->name, name, sizeof(name), &size) && cen_function_stateless(name, size);
}

/* Takes in a token; false: it opens a call that may leave something behind. */
static bool read_call(struct call_reader *reader, const struct cen_token *token)
{
  static const struct cen_token none = {.kind = CEN_TOKEN_END};
  if (token->kind == CEN_TOKEN_WORD || token->kind == CEN_TOKEN_QUOTED_NAME) {
    if (reader->point) {
      reader->qualifier = reader->name;
    } else {
      reader->qualifier = none;
      reader->before = reader->word;
    }
    reader->name = *token;
    reader->word = *token;
    reader->point = false;
    return true;
  }
  if (cen_token_symbol(token, '.') && reader->name.kind != CEN_TOKEN_END) {
    reader->point = true;
    return true;
  }
  if (cen_token_symbol(token, '(') && reader->name.kind != CEN_TOKEN_END &&
      !call_is_clean(reader)) {
    return false;
  }
  reader->name = none;
  reader->word = none;
  reader->point = false;
  return true;
}

static bool makes_index(struct cen_scanner scanner)
{
  struct cen_token token;
  cen_scan_word(&scanner, &token);
  if (!cen_token_is(&token, "create")) {
    return false;
  }
  cen_scan_word(&scanner, &token);
  if (cen_token_is(&token, "unique")) {
    cen_scan_word(&scanner, &token);
  }
  return cen_token_is(&token, "index");
}

static bool calls_are_clean(const char *sql, size_t size)
{
  struct call_reader reader = {.name = {.kind = CEN_TOKEN_END},
                               .qualifier = {.kind = CEN_TOKEN_END},
                               .before = {.kind = CEN_TOKEN_END},
                               .word = {.kind = CEN_TOKEN_END}};
  struct cen_scanner scanner;
  struct cen_token token;
  cen_scan_init(&scanner, sql, size, CEN_DIALECT_POSTGRES);
  reader.index = makes_index(scanner);
  while (cen_scan_word(&scanner, &token) != CEN_TOKEN_END) {
    if (!read_call(&reader, &token)) {
      return false;
    }
  }
  return true;
}

/* SET LOCAL, SET TRANSACTION and SET CONSTRAINTS end with the transaction. */
static bool is_local_set(const char *sql, size_t size)
{
  static const char *const local[] = {"local", "transaction", "constraints", NULL};
  struct cen_scanner scanner;
  struct cen_token token;
  cen_scan_init(&scanner, sql, size, CEN_DIALECT_POSTGRES);
  cen_scan_word(&scanner, &token);
  if (!cen_token_is(&token, "set")) {
    return false;
  }
  cen_scan_word(&scanner, &token);
  return cen_token_in(&token, local);
}

static bool one_may_dirty(const char *sql, size_t size, enum cen_dialect dialect)
{
  switch (cen_statement_verb(sql, size, dialect)) {
  case CEN_VERB_READ:
  case CEN_VERB_WRITE:
  case CEN_VERB_DDL:
    return dialect == CEN_DIALECT_POSTGRES && !calls_are_clean(sql, size);
  case CEN_VERB_BEGIN:
  case CEN_VERB_COMMIT:
  case CEN_VERB_ROLLBACK:
  case CEN_VERB_SAVEPOINT:
    return false;
  case CEN_VERB_SESSION:
    return dialect != CEN_DIALECT_POSTGRES || !is_local_set(sql, size);
  case CEN_VERB_UNKNOWN:
    break;
  }
  return true;
}

bool cen_statement_may_dirty(const char *sql, size_t size, enum cen_dialect dialect)
{
  size_t offset = 0;
  const char *statement;
  size_t statement_size;
  while (cen_next_statement(sql, size, dialect, &offset, &statement, &statement_size)) {
    if (one_may_dirty(statement, statement_size, dialect)) {
      return true;
    }
  }
  return false;
}

/* Any mention counts, also as a column's name: it only makes callers careful. */
bool cen_statement_names_writer(const char *sql, size_t size)
{
  struct cen_scanner scanner;
  struct cen_token token;
  cen_scan_init(&scanner, sql, size, CEN_DIALECT_POSTGRES);
  while (cen_scan_next(&scanner, &token) != CEN_TOKEN_END) {
    char name[64];
    size_t length;
    const bool is_name = token.kind == CEN_TOKEN_WORD || token.kind == CEN_TOKEN_QUOTED_NAME;
    if (is_name && fold(&token, name, sizeof(name), &length) && cen_function_writes(name, length)) {
      return true;
    }
  }
  return false;
}
