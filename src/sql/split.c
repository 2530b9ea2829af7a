/*
 * split.c - where one statement ends and the next begins. A semicolon ends a statement unless it
 * stands in a body: SQLite's CREATE TRIGGER … BEGIN …; END, PostgreSQL's BEGIN ATOMIC …; END in a
 * CREATE FUNCTION or PROCEDURE, or PostgreSQL's parentheses (CREATE RULE … DO (…; …)).
 */
#include "sql/tokens.h"

#include <string.h>
#include <strings.h>

enum cen_token_kind cen_scan_word(struct cen_scanner *scanner, struct cen_token *token)
{
  enum cen_token_kind kind;
  do {
    kind = cen_scan_next(scanner, token);
  } while (kind == CEN_TOKEN_SPACE || kind == CEN_TOKEN_COMMENT);
  return kind;
}

bool cen_token_in(const struct cen_token *token, const char *const *words)
{
  for (; token->kind == CEN_TOKEN_WORD && *words; words++) {
    if (cen_token_is(token, *words)) {
      return true;
    }
  }
  return false;
}

enum body { BODY_NONE, BODY_TRIGGER, BODY_FUNCTION };

struct splitter {
  enum cen_dialect dialect;
  size_t words; /* how many tokens the statement has so far */
  bool create;  /* it begins with CREATE, and its kind is not known yet */
  enum body body;
  size_t parens;  /* PostgreSQL: open parentheses */
  size_t blocks;  /* PostgreSQL: open BEGIN ATOMIC and CASE */
  bool begin;     /* the token before was BEGIN */
  bool semicolon; /* trigger: the token before was a semicolon … */
  bool end;       /* … and this one is END */
};

/* CREATE [OR REPLACE] [TEMP] … TRIGGER | FUNCTION | PROCEDURE */
static void learn_kind(struct splitter *splitter, const struct cen_token *token)
{
  static const char *const modifiers[] = {"or", "replace", "temp", "temporary", NULL};
  static const char *const explain[] = {"explain", "query", "plan", NULL};
  if (splitter->words == 0 || (splitter->dialect == CEN_DIALECT_SQLITE && !splitter->create)) {
    /* SQLite: EXPLAIN [QUERY PLAN] may stand before */
    if (cen_token_is(token, "create")) {
      splitter->create = true;
    } else if (!cen_token_in(token, explain)) {
      splitter->words = 1000; /* not a CREATE: look no further */
    }
    return;
  }
  if (cen_token_in(token, modifiers)) {
    return;
  }
  splitter->create = false;
  splitter->words = 1000;
  if (splitter->dialect == CEN_DIALECT_SQLITE && cen_token_is(token, "trigger")) {
    splitter->body = BODY_TRIGGER;
  } else if (splitter->dialect == CEN_DIALECT_POSTGRES &&
             (cen_token_is(token, "function") || cen_token_is(token, "procedure"))) {
    splitter->body = BODY_FUNCTION;
  }
}

/* Inside BEGIN ATOMIC only END closes, and CASE … END nests. */
static void count_blocks(struct splitter *splitter, const struct cen_token *token)
{
  if (splitter->begin && cen_token_is(token, "atomic")) {
    splitter->blocks++;
  } else if (splitter->blocks && cen_token_is(token, "case")) {
    splitter->blocks++;
  } else if (splitter->blocks && cen_token_is(token, "end")) {
    splitter->blocks--;
  }
  splitter->begin = cen_token_is(token, "begin");
}

static void count_parens(struct splitter *splitter, const struct cen_token *token)
{
  if (splitter->dialect != CEN_DIALECT_POSTGRES) {
    return;
  }
  if (cen_token_symbol(token, '(')) {
    splitter->parens++;
  } else if (cen_token_symbol(token, ')') && splitter->parens) {
    splitter->parens--;
  }
}

/* Takes in a token; true: it is the semicolon that ends the statement. */
static bool step(struct splitter *splitter, const struct cen_token *token)
{
  if (token->kind == CEN_TOKEN_SEMICOLON) {
    bool ends = splitter->parens == 0 && splitter->blocks == 0 &&
                (splitter->body != BODY_TRIGGER || splitter->end);
    splitter->semicolon = true;
    splitter->end = false;
    return ends;
  }
  if (splitter->words < 16) {
    learn_kind(splitter, token);
    splitter->words++;
  }
  count_parens(splitter, token);
  if (splitter->body == BODY_FUNCTION) {
    count_blocks(splitter, token);
  }
  splitter->end = splitter->semicolon && cen_token_is(token, "end");
  splitter->semicolon = false;
  return false;
}

bool cen_next_statement(const char *sql, size_t size, enum cen_dialect dialect, size_t *offset,
                        const char **statement, size_t *statement_size)
{
  struct cen_scanner scanner;
  struct cen_token token;
  struct splitter splitter = {.dialect = dialect};
  const char *first = NULL; /* where the statement begins: comments before it belong to it */
  const char *last = NULL;  /* behind its last token */
  bool found = false;

  *statement = NULL;
  *statement_size = 0;
  if (*offset >= size) {
    return false;
  }
  cen_scan_init(&scanner, sql + *offset, size - *offset, dialect);
  while (cen_scan_next(&scanner, &token) != CEN_TOKEN_END) {
    if (token.kind == CEN_TOKEN_SPACE) {
      continue;
    }
    if (token.kind == CEN_TOKEN_COMMENT) {
      first = first ? first : token.start;
      last = scanner.at;
      continue;
    }
    if (step(&splitter, &token)) {
      if (found) {
        break;
      }
      first = NULL; /* an empty statement: only comments before the semicolon */
      splitter = (struct splitter){.dialect = dialect};
      continue;
    }
    first = first ? first : token.start;
    last = scanner.at;
    found = true;
  }
  *offset = (size_t)(scanner.at - sql);
  if (!found) {
    return false;
  }
  *statement = first;
  *statement_size = (size_t)(last - first);
  return true;
}

size_t cen_count_statements(const char *sql, size_t size, enum cen_dialect dialect)
{
  size_t count = 0;
  size_t offset = 0;
  const char *statement;
  size_t statement_size;
  while (cen_next_statement(sql, size, dialect, &offset, &statement, &statement_size)) {
    count++;
  }
  return count;
}
