/*
 * fuzz_scan.c - any bytes as statement text, in both dialects: tokens cover the text, placeholders
 * are rewritten once and for all, statements lie inside the text, verbs and state are decided.
 */
#include "sql/tokens.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool truth)
{
  if (!truth) {
    abort();
  }
}

static void tokens_cover(const char *sql, size_t size, enum cen_dialect dialect)
{
  struct cen_scanner scanner;
  struct cen_token token;
  const char *at = sql;
  cen_scan_init(&scanner, sql, size, dialect);
  while (cen_scan_next(&scanner, &token) != CEN_TOKEN_END) {
    require(token.start == at && token.size > 0);
    at += token.size;
  }
  require(at == sql + size);
}

/* Rewritten text needs no second rewriting: as many arguments, and no foreign placeholder. */
static void placeholders_settle(const char *sql, size_t size, enum cen_dialect dialect)
{
  char foreign = dialect == CEN_DIALECT_POSTGRES ? '?' : '$';
  struct cen_scanner scanner;
  struct cen_token token;
  size_t literal = 0;
  size_t highest;
  char *out;
  cenote_status status = cen_placeholders(sql, size, dialect, &out, &highest, NULL);
  require(status == CENOTE_OK || (out == NULL && highest == 0));
  if (!out) {
    return;
  }
  cen_scan_init(&scanner, sql, size, dialect);
  while (cen_scan_next(&scanner, &token) != CEN_TOKEN_END) {
    literal += token.kind == CEN_TOKEN_QUESTION;
  }
  cen_scan_init(&scanner, out, strlen(out), dialect);
  while (literal == 0 && memchr(sql, 0, size) == NULL &&
         cen_scan_next(&scanner, &token) != CEN_TOKEN_END) {
    bool digits = token.size > 1 && strspn(token.start + 1, "0123456789") >= token.size - 1;
    require(token.kind != CEN_TOKEN_PLACEHOLDER || *token.start != foreign || !digits);
  }
  free(out);
}

static void statements_lie_inside(const char *sql, size_t size, enum cen_dialect dialect)
{
  const char *statement;
  size_t statement_size;
  size_t offset = 0;
  size_t before = 0;
  size_t count = 0;
  while (cen_next_statement(sql, size, dialect, &offset, &statement, &statement_size)) {
    require(statement >= sql + before && statement + statement_size <= sql + offset);
    require(statement_size > 0 && offset > before);
    before = offset;
    count++;
  }
  require(count == cen_count_statements(sql, size, dialect));
  (void)cen_statement_verb(sql, size, dialect);
  (void)cen_statement_may_dirty(sql, size, dialect);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  static const enum cen_dialect dialects[] = {CEN_DIALECT_POSTGRES, CEN_DIALECT_SQLITE};
  const char *sql = size ? (const char *)data : "";
  for (size_t i = 0; i < 2; i++) {
    tokens_cover(sql, size, dialects[i]);
    placeholders_settle(sql, size, dialects[i]);
    statements_lie_inside(sql, size, dialects[i]);
  }
  return 0;
}
