/* hrana_sql.c - see hrana_sql.h. */
#include "server/hrana_sql.h"

#include "sql/scan.h"

bool hrana_sql_is_plain(const char *sql, size_t size)
{
  const enum cen_verb verb = cen_statement_verb(sql, size, CEN_DIALECT_SQLITE);
  return verb == CEN_VERB_READ || verb == CEN_VERB_WRITE || verb == CEN_VERB_DDL;
}

enum hrana_begin hrana_sql_begins(const char *sql, size_t size)
{
  struct cen_scanner scanner;
  struct cen_token token;
  enum cen_token_kind kind;
  enum hrana_begin begin = HRANA_NO_BEGIN;
  cen_scan_init(&scanner, sql, size, CEN_DIALECT_SQLITE);
  while ((kind = cen_scan_next(&scanner, &token)) != CEN_TOKEN_END) {
    if (kind == CEN_TOKEN_SPACE || kind == CEN_TOKEN_COMMENT || kind == CEN_TOKEN_SEMICOLON) {
      continue;
    }
    if (begin == HRANA_NO_BEGIN && !cen_token_is(&token, "begin")) {
      return HRANA_NO_BEGIN;
    }
    begin = HRANA_BEGINS_TO_WRITE;
    if (cen_token_is(&token, "readonly")) {
      return HRANA_BEGINS_TO_READ;
    }
  }
  return begin;
}

bool hrana_sql_may_dirty(const char *sql, size_t size)
{
  return cen_statement_may_dirty(sql, size, CEN_DIALECT_SQLITE);
}

bool hrana_sql_next(const char *sql, size_t size, size_t *offset, const char **part,
                    size_t *part_size)
{
  return cen_next_statement(sql, size, CEN_DIALECT_SQLITE, offset, part, part_size);
}
