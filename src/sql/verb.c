/*
 * verb.c - what a statement is, as far as its text can tell. Its first word decides mostly; the
 * exceptions each have a function. Where two answers are possible the more careful one is given:
 * UNKNOWN before WRITE before READ.
 */
#include "sql/tokens.h"

#include <stdint.h>

enum { IN_POSTGRES = 1, IN_SQLITE = 2, IN_BOTH = 3 };

static const struct {
  const char *word;
  int dialects;
  enum cen_verb verb;
} verbs[] = {
    {"insert", IN_BOTH, CEN_VERB_WRITE},
    {"update", IN_BOTH, CEN_VERB_WRITE},
    {"delete", IN_BOTH, CEN_VERB_WRITE},
    {"merge", IN_POSTGRES, CEN_VERB_WRITE},
    {"replace", IN_SQLITE, CEN_VERB_WRITE},
    {"notify", IN_POSTGRES, CEN_VERB_WRITE},
    {"lock", IN_POSTGRES, CEN_VERB_WRITE},
    {"show", IN_POSTGRES, CEN_VERB_READ},
    {"begin", IN_BOTH, CEN_VERB_BEGIN},
    {"savepoint", IN_BOTH, CEN_VERB_SAVEPOINT},
    {"release", IN_BOTH, CEN_VERB_SAVEPOINT},
    {"end", IN_BOTH, CEN_VERB_COMMIT},
    {"set", IN_POSTGRES, CEN_VERB_SESSION},
    {"reset", IN_POSTGRES, CEN_VERB_SESSION},
    {"listen", IN_POSTGRES, CEN_VERB_SESSION},
    {"unlisten", IN_POSTGRES, CEN_VERB_SESSION},
    {"deallocate", IN_POSTGRES, CEN_VERB_SESSION},
    {"declare", IN_POSTGRES, CEN_VERB_SESSION},
    {"load", IN_POSTGRES, CEN_VERB_SESSION},
    {"discard", IN_POSTGRES, CEN_VERB_SESSION},
    {"attach", IN_SQLITE, CEN_VERB_SESSION},
    {"detach", IN_SQLITE, CEN_VERB_SESSION},
    {"alter", IN_BOTH, CEN_VERB_DDL},
    {"drop", IN_BOTH, CEN_VERB_DDL},
    {"truncate", IN_POSTGRES, CEN_VERB_DDL},
    {"comment", IN_POSTGRES, CEN_VERB_DDL},
    {"grant", IN_POSTGRES, CEN_VERB_DDL},
    {"revoke", IN_POSTGRES, CEN_VERB_DDL},
    {"analyze", IN_BOTH, CEN_VERB_DDL},
    {"analyse", IN_POSTGRES, CEN_VERB_DDL},
    {"vacuum", IN_BOTH, CEN_VERB_DDL},
    {"reindex", IN_BOTH, CEN_VERB_DDL},
    {"cluster", IN_POSTGRES, CEN_VERB_DDL},
    {"refresh", IN_POSTGRES, CEN_VERB_DDL},
    {"reassign", IN_POSTGRES, CEN_VERB_DDL},
    {"security", IN_POSTGRES, CEN_VERB_DDL},
    {"import", IN_POSTGRES, CEN_VERB_DDL},
    {"checkpoint", IN_POSTGRES, CEN_VERB_DDL},
};

/* SELECT … INTO makes a table; only a temporary one is the session's. */
static enum cen_verb into_verb(struct cen_scanner scanner)
{
  static const char *const temporary[] = {"temp", "temporary", "pg_temp", NULL};
  struct cen_token token;
  cen_scan_word(&scanner, &token);
  if (cen_token_is(&token, "local") || cen_token_is(&token, "global")) {
    cen_scan_word(&scanner, &token);
  }
  return cen_token_in(&token, temporary) ? CEN_VERB_SESSION : CEN_VERB_DDL;
}

/*
 * The rest of SELECT, VALUES, TABLE, WITH or "(": a read, unless a word that writes stands where a
 * statement may begin (behind "(" or, after WITH, outside parentheses) or rows are locked.
 */
static enum cen_verb query_verb(struct cen_scanner scanner, const struct cen_token *first)
{
  static const char *const writes[] = {"insert", "update", "delete", "merge", NULL};
  static const char *const locks[] = {"update", "share", "no", "key", NULL};
  bool with = cen_token_is(first, "with");
  bool opened = cen_token_symbol(first, '(');
  bool after_for = false;
  size_t depth = opened ? 1 : 0;
  enum cen_verb verb = CEN_VERB_READ;
  struct cen_token token;
  while (cen_scan_word(&scanner, &token) != CEN_TOKEN_END) {
    bool starts = opened || (with && depth == 0);
    if (starts && cen_token_in(&token, writes)) {
      verb = CEN_VERB_WRITE;
    } else if (with && depth == 0 && cen_token_is(&token, "replace")) {
      verb = CEN_VERB_WRITE;
    } else if (after_for && cen_token_in(&token, locks)) {
      verb = CEN_VERB_WRITE;
    } else if (verb == CEN_VERB_READ && depth == 0 && cen_token_is(&token, "into") &&
               scanner.dialect == CEN_DIALECT_POSTGRES) {
      return into_verb(scanner);
    } else if (opened && cen_token_is(&token, "with")) {
      with = true;
    }
    opened = cen_token_symbol(&token, '(');
    after_for = scanner.dialect == CEN_DIALECT_POSTGRES && cen_token_is(&token, "for");
    if (opened) {
      depth++;
    } else if (cen_token_symbol(&token, ')') && depth) {
      depth--;
    }
  }
  return verb;
}

/* CREATE: temporary objects belong to the session, everything else is schema. */
static enum cen_verb create_verb(struct cen_scanner scanner)
{
  static const char *const temporary[] = {"temp", "temporary", NULL};
  static const char *const modifiers[] = {
      "or", "replace", "local", "global", "unlogged", "recursive", "unique", "materialized", NULL};
  static const char *const kinds[] = {"table",    "view",      "sequence", "index", "trigger",
                                      "function", "procedure", "type",     NULL};
  static const char *const existence[] = {"if", "not", "exists", NULL};
  struct cen_token token;
  do {
    cen_scan_word(&scanner, &token);
    if (cen_token_in(&token, temporary)) {
      return CEN_VERB_SESSION;
    }
  } while (cen_token_in(&token, modifiers));
  if (!cen_token_in(&token, kinds)) {
    return CEN_VERB_DDL;
  }
  do {
    cen_scan_word(&scanner, &token);
  } while (cen_token_in(&token, existence));
  if (cen_token_is(&token, "pg_temp") || cen_token_is(&token, "temp") ||
      token.kind == CEN_TOKEN_QUOTED_NAME) {
    /* a schema: pg_temp.x, temp.x; a quoted one might be it */
    bool quoted = token.kind == CEN_TOKEN_QUOTED_NAME;
    bool ours = !quoted || token.size == 6 || token.size == 9;
    cen_scan_word(&scanner, &token);
    return ours && cen_token_symbol(&token, '.') ? CEN_VERB_SESSION : CEN_VERB_DDL;
  }
  return CEN_VERB_DDL;
}

/* EXPLAIN runs its statement only with ANALYZE. */
static enum cen_verb explain_verb(struct cen_scanner scanner)
{
  static const char *const analyze[] = {"analyze", "analyse", NULL};
  struct cen_token token;
  if (scanner.dialect == CEN_DIALECT_SQLITE) {
    return CEN_VERB_READ;
  }
  while (cen_scan_word(&scanner, &token) != CEN_TOKEN_END) {
    if (cen_token_in(&token, analyze)) {
      return CEN_VERB_UNKNOWN;
    }
  }
  return CEN_VERB_READ;
}

/* PRAGMA name: reads; PRAGMA name = x and name(x): only those on the list read. */
static enum cen_verb pragma_verb(struct cen_scanner scanner)
{
  static const char *const reads[] = {
      "table_info",  "table_xinfo",    "table_list",       "index_list",        "index_info",
      "index_xinfo", "database_list",  "foreign_key_list", "foreign_key_check", "integrity_check",
      "quick_check", "collation_list", "function_list",    "module_list",       "pragma_list",
      "page_count",  "freelist_count", "data_version",     "compile_options",   NULL};
  static const char *const writes[] = {"optimize",     "wal_checkpoint", "incremental_vacuum",
                                       "user_version", "application_id", NULL};
  struct cen_token name;
  struct cen_token next;
  bool argument;
  cen_scan_word(&scanner, &name);
  cen_scan_word(&scanner, &next);
  if (cen_token_symbol(&next, '.')) { /* schema.name */
    cen_scan_word(&scanner, &name);
    cen_scan_word(&scanner, &next);
  }
  argument = cen_token_symbol(&next, '=') || cen_token_symbol(&next, '(');
  if (cen_token_in(&name, reads)) {
    return CEN_VERB_READ;
  }
  if (cen_token_in(&name, writes)) {
    bool value = cen_token_is(&name, "user_version") || cen_token_is(&name, "application_id");
    return value && !argument ? CEN_VERB_READ : CEN_VERB_WRITE;
  }
  if (name.kind != CEN_TOKEN_WORD || argument) {
    return CEN_VERB_SESSION;
  }
  /* case_sensitive_like and its like act without an argument too; nothing else does */
  return cen_token_is(&name, "case_sensitive_like") ? CEN_VERB_SESSION : CEN_VERB_READ;
}

/* ROLLBACK [WORK|TRANSACTION] TO: a savepoint. ROLLBACK PREPARED, COMMIT PREPARED: another's. */
static enum cen_verb end_verb(struct cen_scanner scanner, enum cen_verb verb)
{
  static const char *const noise[] = {"work", "transaction", NULL};
  struct cen_token token;
  cen_scan_word(&scanner, &token);
  if (cen_token_in(&token, noise)) {
    cen_scan_word(&scanner, &token);
  }
  if (cen_token_is(&token, "to")) {
    return CEN_VERB_SAVEPOINT;
  }
  return cen_token_is(&token, "prepared") ? CEN_VERB_UNKNOWN : verb;
}

static enum cen_verb table_verb(const struct cen_token *token, enum cen_dialect dialect)
{
  int mask = dialect == CEN_DIALECT_POSTGRES ? IN_POSTGRES : IN_SQLITE;
  size_t i;
  for (i = 0; i < sizeof(verbs) / sizeof(*verbs); i++) {
    if ((verbs[i].dialects & mask) && cen_token_is(token, verbs[i].word)) {
      return verbs[i].verb;
    }
  }
  return CEN_VERB_UNKNOWN;
}

enum cen_verb cen_statement_verb(const char *sql, size_t size, enum cen_dialect dialect)
{
  static const char *const queries[] = {"select", "values", "with", NULL};
  bool postgres = dialect == CEN_DIALECT_POSTGRES;
  struct cen_scanner scanner;
  struct cen_token token;
  size_t offset = 0;
  const char *statement;
  size_t statement_size;

  if (!cen_next_statement(sql, size, dialect, &offset, &statement, &statement_size) ||
      cen_count_statements(sql + offset, size - offset, dialect) > 0) {
    return CEN_VERB_UNKNOWN;
  }
  cen_scan_init(&scanner, statement, statement_size, dialect);
  cen_scan_word(&scanner, &token);
  if (cen_token_in(&token, queries) || cen_token_symbol(&token, '(') ||
      (postgres && cen_token_is(&token, "table"))) {
    return query_verb(scanner, &token);
  }
  if (cen_token_is(&token, "create")) {
    return create_verb(scanner);
  }
  if (cen_token_is(&token, "explain")) {
    return explain_verb(scanner);
  }
  if (!postgres && cen_token_is(&token, "pragma")) {
    return pragma_verb(scanner);
  }
  if (cen_token_is(&token, "rollback") || (postgres && cen_token_is(&token, "abort"))) {
    return end_verb(scanner, CEN_VERB_ROLLBACK);
  }
  if (cen_token_is(&token, "commit")) {
    return end_verb(scanner, CEN_VERB_COMMIT);
  }
  if (postgres && cen_token_is(&token, "prepare")) {
    cen_scan_word(&scanner, &token);
    return cen_token_is(&token, "transaction") ? CEN_VERB_UNKNOWN : CEN_VERB_SESSION;
  }
  if (postgres && cen_token_is(&token, "start")) {
    cen_scan_word(&scanner, &token);
    return cen_token_is(&token, "transaction") ? CEN_VERB_BEGIN : CEN_VERB_UNKNOWN;
  }
  return table_verb(&token, dialect);
}
