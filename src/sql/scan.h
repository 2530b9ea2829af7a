/*
 * scan.h - one scanner for statement text: where strings, quoted names, comments, dollar quotes
 * and placeholders begin and end. PostgreSQL's lexical rules (manual 4.1) with SQLite's extras
 * ([name], `name`) where the dialect says so. Pure functions of their arguments; any thread; no
 * input crashes them; text is bytes, UTF-8 passes through.
 */
#ifndef CEN_SCAN_H
#define CEN_SCAN_H

#include <cenote/cenote.h>

enum cen_dialect { CEN_DIALECT_POSTGRES, CEN_DIALECT_SQLITE };

enum cen_token_kind {
  CEN_TOKEN_END,
  CEN_TOKEN_SPACE,
  CEN_TOKEN_COMMENT,
  CEN_TOKEN_WORD,        /* identifier or keyword, unquoted */
  CEN_TOKEN_QUOTED_NAME, /* "…", and in SQLite […] and `…` */
  CEN_TOKEN_STRING,      /* '…', E'…', U&'…', B'…', X'…', $tag$…$tag$ */
  CEN_TOKEN_NUMBER,
  CEN_TOKEN_PLACEHOLDER, /* ?, ?NNN, $NNN, :name, @name, $name (the last three by dialect) */
  CEN_TOKEN_QUESTION,    /* ??: a literal question mark */
  CEN_TOKEN_SEMICOLON,
  CEN_TOKEN_SYMBOL /* one operator or punctuation character (PostgreSQL: `::` is one) */
};

struct cen_token {
  enum cen_token_kind kind;
  const char *start;
  size_t size;
  bool unterminated; /* a string, name or comment that the end of the text cut */
};

struct cen_scanner {
  const char *at, *end;
  enum cen_dialect dialect;
};

void cen_scan_init(struct cen_scanner *scanner, const char *sql, size_t size,
                   enum cen_dialect dialect);
enum cen_token_kind cen_scan_next(struct cen_scanner *scanner, struct cen_token *token);
bool cen_token_is(const struct cen_token *token, const char *word); /* a WORD, any case */

/*
 * Placeholders rewritten to what the database takes: `?` becomes $1, $2, … for PostgreSQL
 * (`?3` becomes $3) and ?N for SQLite (`$1` becomes ?1, `??` becomes `?`). Mixing bare `?` with
 * numbered ones is CENOTE_INVALID. :name and @name (and SQLite's $name) stay in SQLite; in
 * PostgreSQL they are not placeholders. When nothing changes *rewritten is NULL and the caller
 * uses its own text. *highest: how many positional arguments the text needs.
 */
cenote_status cen_placeholders(const char *sql, size_t size, enum cen_dialect dialect,
                               char **rewritten, size_t *highest, cenote_error *error);

/* How many statements (non-empty, split at semicolons outside strings and comments; bodies of
 * CREATE TRIGGER … BEGIN … END and BEGIN ATOMIC … END are one) the text holds. */
size_t cen_count_statements(const char *sql, size_t size, enum cen_dialect dialect);
/* The next one from *offset on, without its semicolon; false at the end. */
bool cen_next_statement(const char *sql, size_t size, enum cen_dialect dialect, size_t *offset,
                        const char **statement, size_t *statement_size);

/* What a statement is, as far as text alone can tell. Unknown is the safe answer. */
enum cen_verb {
  CEN_VERB_UNKNOWN,
  CEN_VERB_READ,   /* SELECT, VALUES, TABLE, WITH … SELECT: may still call functions that write */
  CEN_VERB_WRITE,  /* INSERT, UPDATE, DELETE, MERGE, REPLACE, and WITH around them */
  CEN_VERB_BEGIN,  /* BEGIN, START TRANSACTION */
  CEN_VERB_COMMIT, /* COMMIT, END */
  CEN_VERB_ROLLBACK,  /* ROLLBACK, ABORT */
  CEN_VERB_SAVEPOINT, /* SAVEPOINT, RELEASE, ROLLBACK TO */
  CEN_VERB_SESSION,   /* SET, RESET, LISTEN, UNLISTEN, PREPARE, DEALLOCATE, DECLARE, LOAD, DISCARD,
                         temporary tables, ATTACH, most PRAGMAs: leaves session state */
  CEN_VERB_DDL        /* other CREATE, ALTER, DROP, TRUNCATE, … */
};
enum cen_verb cen_statement_verb(const char *sql, size_t size, enum cen_dialect dialect);

/* May the statement leave session state behind (settings, advisory locks, temporary objects,
 * listeners, prepared statements)? True unless it is surely not so: a plain verb, and every
 * function it names is on the list of built-ins known to keep none. */
bool cen_statement_may_dirty(const char *sql, size_t size, enum cen_dialect dialect);
/* PostgreSQL: is one of its functions named in it that writes, or does what must not happen twice
 * (pg_notify)? Transactions that refuse to write let some of these through. */
bool cen_statement_names_writer(const char *sql, size_t size);

#endif
