/* transact_text.c - is a statement one that begins or ends a transaction, and on what terms? */
#include "manager/transact.h"

#include "sql/tokens.h"

#include <string.h>

/* The word, if it is the next one. */
static bool take(struct cen_scanner *scanner, const char *word)
{
  struct cen_scanner ahead = *scanner;
  struct cen_token token;
  cen_scan_word(&ahead, &token);
  if (!cen_token_is(&token, word)) {
    return false;
  }
  *scanner = ahead;
  return true;
}

static bool take_comma(struct cen_scanner *scanner)
{
  struct cen_scanner ahead = *scanner;
  struct cen_token token;
  cen_scan_word(&ahead, &token);
  if (!cen_token_symbol(&token, ',')) {
    return false;
  }
  *scanner = ahead;
  return true;
}

static bool at_end(struct cen_scanner scanner)
{
  struct cen_token token;
  return cen_scan_word(&scanner, &token) == CEN_TOKEN_END;
}

/* PostgreSQL gives READ COMMITTED where READ UNCOMMITTED is asked for. */
static bool take_level(struct cen_scanner *scanner, cenote_isolation *level)
{
  if (take(scanner, "serializable")) {
    *level = CENOTE_SERIALIZABLE;
    return true;
  }
  if (take(scanner, "repeatable")) {
    *level = CENOTE_REPEATABLE_READ;
    return take(scanner, "read");
  }
  *level = CENOTE_READ_COMMITTED;
  return take(scanner, "read") && (take(scanner, "committed") || take(scanner, "uncommitted"));
}

/* One of PostgreSQL's transaction modes. */
static bool take_mode(struct cen_scanner *scanner, struct transact_terms *terms)
{
  if (take(scanner, "isolation")) {
    return take(scanner, "level") && take_level(scanner, &terms->isolation);
  }
  if (take(scanner, "read")) {
    terms->mode = CENOTE_BATCH_READ;
    if (take(scanner, "only")) {
      return true;
    }
    terms->mode = CENOTE_BATCH_WRITE;
    return take(scanner, "write");
  }
  terms->deferrable = !take(scanner, "not");
  return take(scanner, "deferrable");
}

/* Both databases' words are understood on both: what they mean can be given on both. */
static bool read_begin(struct cen_scanner *scanner, struct transact_terms *terms)
{
  const bool start = take(scanner, "start");
  bool good = start ? take(scanner, "transaction") : take(scanner, "begin");
  if (good && !start) {
    if (take(scanner, "immediate") || take(scanner, "exclusive")) {
      terms->mode = CENOTE_BATCH_WRITE;
    } else {
      (void)take(scanner, "deferred");
    }
    (void)(take(scanner, "transaction") || take(scanner, "work"));
  }
  for (bool first = true; good && !at_end(*scanner); first = false) {
    if (!first) {
      (void)take_comma(scanner); /* PostgreSQL takes it or leaves it */
    }
    good = take_mode(scanner, terms);
  }
  return good;
}

/* Anything that is not exactly this is left to the database. */
static enum transact_text read_end(struct cen_scanner *scanner, enum transact_text text)
{
  struct cen_token verb;
  cen_scan_word(scanner, &verb);
  (void)(take(scanner, "work") || take(scanner, "transaction"));
  bool chain = false;
  if (take(scanner, "and")) {
    chain = !take(scanner, "no");
    if (!take(scanner, "chain")) {
      return TRANSACT_TEXT_PLAIN;
    }
  }
  if (!at_end(*scanner)) {
    return TRANSACT_TEXT_PLAIN;
  }
  return chain ? TRANSACT_TEXT_CHAIN : text;
}

/* Most statements are none of these; that is seen at their first word. */
static bool may_concern(const char *sql, size_t size, enum cen_dialect dialect)
{
  static const char *const words[] = {"begin", "start", "commit", "end", "rollback", "abort", NULL};
  struct cen_scanner scanner;
  struct cen_token token;
  cen_scan_init(&scanner, sql, size, dialect);
  do {
    cen_scan_word(&scanner, &token);
  } while (token.kind == CEN_TOKEN_SEMICOLON);
  return cen_token_in(&token, words);
}

enum transact_text transact_read_text(const char *sql, enum cen_dialect dialect,
                                      struct transact_terms *terms)
{
  const size_t size = strlen(sql);
  if (!may_concern(sql, size, dialect)) {
    return TRANSACT_TEXT_PLAIN;
  }
  enum cen_verb verb = cen_statement_verb(sql, size, dialect);
  if (verb == CEN_VERB_UNKNOWN) { /* START TRANSACTION and ABORT, which SQLite does not have */
    dialect = CEN_DIALECT_POSTGRES;
    verb = cen_statement_verb(sql, size, dialect);
  }
  const bool begins = verb == CEN_VERB_BEGIN;
  if (!begins && verb != CEN_VERB_COMMIT && verb != CEN_VERB_ROLLBACK) {
    return TRANSACT_TEXT_PLAIN;
  }
  const char *statement;
  size_t statement_size, offset = 0;
  if (!cen_next_statement(sql, size, dialect, &offset, &statement, &statement_size)) {
    return TRANSACT_TEXT_PLAIN;
  }
  struct cen_scanner scanner;
  cen_scan_init(&scanner, statement, statement_size, dialect);
  if (begins) {
    struct transact_terms read = *terms;
    if (!read_begin(&scanner, &read)) {
      return TRANSACT_TEXT_WRONG;
    }
    *terms = read;
    return TRANSACT_TEXT_BEGIN;
  }
  return read_end(&scanner,
                  verb == CEN_VERB_COMMIT ? TRANSACT_TEXT_COMMIT : TRANSACT_TEXT_ROLLBACK);
}
