/*
 * verdict.c - see verdict.h. The parse tree comes as JSON; it is walked once, with a stack of our
 * own. Every node must be one that is known here; a list of names that stands where a function, an
 * operator or a type is meant must be known to be harmless. Anything else makes the verdict
 * "unknown".
 */
#include "sql/verdict.h"

#include "base/text.h"

#include "sql/builtin.h"
#include "sql/grammar.h"
#include "sql/tokens.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* What a list of names in the tree means. */
enum role { ROLE_NONE, ROLE_FUNCTION, ROLE_OPERATOR, ROLE_TYPE, ROLE_FIELD };

enum { PATH_SIZE = 256, DEEPEST = 8 << 10 };

/* An object or an array of the JSON that is not yet closed. */
struct frame {
  bool array;
  bool field_of_expression; /* the object is an A_Indirection */
  unsigned char role;
};

struct walk {
  const char *at;
  const struct cen_names *stateless;
  struct frame *frames;
  size_t depth;
  char path[PATH_SIZE]; /* the names of the list at hand, with points between them */
  size_t path_size;
  size_t parts;
  bool path_lost; /* it did not fit */
  size_t statements;
  const char *top;     /* "a SELECT" …, NULL: not a plain statement */
  bool top_reads;      /* it is a SELECT */
  const char *unknown; /* why */
  const char *writes;  /* why it is no read */
  bool settings;       /* names the view pg_settings, through which settings can be written */
};

/* The nodes of plain statements. */
static const char *const plain_nodes[] = {
    "A_ArrayExpr",      "A_Const",         "A_Expr",          "A_Indices",
    "A_Indirection",    "A_Star",          "Alias",           "BitString",
    "BoolExpr",         "Boolean",         "BooleanTest",     "CaseExpr",
    "CaseWhen",         "CoalesceExpr",    "CollateClause",   "ColumnDef",
    "ColumnRef",        "CommonTableExpr", "DeleteStmt",      "Float",
    "FuncCall",         "GroupingFunc",    "GroupingSet",     "IndexElem",
    "InsertStmt",       "Integer",         "JoinExpr",        "List",
    "LockingClause",    "MergeStmt",       "MergeWhenClause", "MinMaxExpr",
    "MultiAssignRef",   "NamedArgExpr",    "NullTest",        "ParamRef",
    "RangeFunction",    "RangeSubselect",  "RangeTableFunc",  "RangeTableFuncCol",
    "RangeTableSample", "RangeVar",        "ResTarget",       "RowExpr",
    "SQLValueFunction", "SelectStmt",      "SetToDefault",    "SortBy",
    "String",           "SubLink",         "TypeCast",        "TypeName",
    "UpdateStmt",       "WindowDef",       "XmlExpr",         "XmlSerialize",
};

static const struct {
  const char *node;
  const char *why;
  bool plain;
} statements[] = {
    {"SelectStmt", "a plain SELECT", true},
    {"InsertStmt", "a plain INSERT", true},
    {"UpdateStmt", "a plain UPDATE", true},
    {"DeleteStmt", "a plain DELETE", true},
    {"MergeStmt", "a plain MERGE", true},
    {"TransactionStmt", "transaction control", false},
    {"VariableSetStmt", "SET", false},
    {"VariableShowStmt", "SHOW", false},
    {"ListenStmt", "LISTEN", false},
    {"UnlistenStmt", "UNLISTEN", false},
    {"NotifyStmt", "NOTIFY", false},
    {"PrepareStmt", "PREPARE", false},
    {"ExecuteStmt", "EXECUTE", false},
    {"DeallocateStmt", "DEALLOCATE", false},
    {"DeclareCursorStmt", "a cursor", false},
    {"FetchStmt", "a cursor", false},
    {"ClosePortalStmt", "a cursor", false},
    {"LockStmt", "LOCK", false},
    {"CopyStmt", "COPY", false},
    {"ExplainStmt", "EXPLAIN", false},
    {"DoStmt", "DO", false},
    {"CallStmt", "CALL", false},
    {"DiscardStmt", "DISCARD", false},
    {"LoadStmt", "LOAD", false},
    {"VacuumStmt", "VACUUM or ANALYZE", false},
};

static bool same(const char *text, size_t size, const char *word)
{
  return strlen(word) == size && memcmp(text, word, size) == 0;
}

static void object(struct walk *walk, const char *why)
{
  walk->unknown = walk->unknown ? walk->unknown : why;
}

/* ------------------------------------------------------------------ names */

static void path_clear(struct walk *walk)
{
  walk->path_size = 0;
  walk->parts = 0;
  walk->path_lost = false;
}

/* One character behind a backslash: ASCII only; anything else is lost. */
static char unescape(const char **at, const char *end, bool *lost)
{
  static const char plain[] = "\"\\/";
  int code = 0;
  if (*at < end && memchr(plain, **at, sizeof(plain) - 1)) {
    return *(*at)++;
  }
  if (end - *at < 5 || **at != 'u') {
    *lost = true;
    *at = end;
    return 0;
  }
  for (int i = 1; i < 5; i++) {
    int digit = cen_hex_digit((*at)[i]);
    code = digit < 0 ? 0x100 : code * 16 + digit;
  }
  *at += 5;
  *lost = *lost || code <= 0 || code >= 0x80;
  return (char)(code & 0x7f);
}

static void path_add(struct walk *walk, const char *text, size_t size)
{
  const char *end = text + size;
  if (walk->parts++ > 0 && walk->path_size < PATH_SIZE) {
    walk->path[walk->path_size++] = '.';
  }
  while (text < end) {
    char c = *text++;
    if (c == '\\') {
      c = unescape(&text, end, &walk->path_lost);
    }
    walk->path_lost =
        walk->path_lost || (c == '.' && walk->frames[walk->depth - 1].role != ROLE_OPERATOR);
    if (walk->path_size == PATH_SIZE) {
      walk->path_lost = true;
      return;
    }
    walk->path[walk->path_size++] = c;
  }
}

/* BETWEEN stands in the tree where an operator's name does. */
static bool is_between(const char *name, size_t size)
{
  return size >= 7 && (memcmp(name, "BETWEEN", 7) == 0 || memcmp(name, "NOT BET", 7) == 0);
}

static void judge_function(struct walk *walk, const char *name, size_t size, bool own, bool field)
{
  bool listed = cen_names_have(walk->stateless, walk->path, walk->path_size);
  if (!own && cen_function_stateless(name, size)) {
    if (cen_function_writes(name, size)) {
      walk->writes = "a function that writes";
    }
  } else if (listed) {
    walk->writes = walk->writes ? walk->writes : "a function of your own";
  } else {
    object(walk, field ? "a field of an expression, which may be a function"
                       : "a function not known to keep no session state");
  }
}

/* The list is complete. */
static void path_end(struct walk *walk, enum role role)
{
  static const char catalog[] = "pg_catalog.";
  const size_t prefix = sizeof(catalog) - 1;
  const char *name = walk->path;
  size_t size = walk->path_size;
  bool own = walk->parts != 1; /* not one of PostgreSQL's */
  if (walk->parts == 2 && size > prefix && memcmp(name, catalog, prefix) == 0) {
    name += prefix;
    size -= prefix;
    own = false;
  }
  if (walk->path_lost || walk->parts == 0) {
    object(walk, "a name that is not understood");
  } else if (role == ROLE_FUNCTION || role == ROLE_FIELD) {
    judge_function(walk, name, size, own, role == ROLE_FIELD);
  } else if (role == ROLE_OPERATOR) {
    if ((own || (!cen_operator_builtin(name, size) && !is_between(name, size))) &&
        !cen_names_have(walk->stateless, walk->path, walk->path_size)) {
      object(walk, "an operator that is not PostgreSQL's own");
    }
  } else if ((own || !cen_type_builtin(name, size)) &&
             !cen_names_have(walk->stateless, walk->path, walk->path_size)) {
    object(walk, "a type that is not PostgreSQL's own");
  }
  path_clear(walk);
}

/* ------------------------------------------------------------------ nodes */

static void enter_statement(struct walk *walk, const char *node, size_t size)
{
  for (size_t i = 0; i < sizeof(statements) / sizeof(*statements); i++) {
    if (same(node, size, statements[i].node)) {
      if (statements[i].plain) {
        walk->top = statements[i].why;
        walk->top_reads = i == 0;
      } else {
        object(walk, statements[i].why);
      }
      return;
    }
  }
  object(walk, "neither SELECT, INSERT, UPDATE, DELETE nor MERGE");
}

enum { STATEMENT_DEPTH = 4 }; /* { stmts: [ { stmt: { here */

static void enter_node(struct walk *walk, const char *node, size_t size)
{
  if (walk->depth == STATEMENT_DEPTH) {
    enter_statement(walk, node, size);
  }
  if (same(node, size, "CurrentOfExpr")) {
    object(walk, "a cursor");
  } else if (!cen_name_in(node, size, plain_nodes, sizeof(plain_nodes) / sizeof(*plain_nodes))) {
    object(walk, "neither SELECT, INSERT, UPDATE, DELETE nor MERGE");
  } else if (size > 4 && memcmp(node + size - 4, "Stmt", 4) == 0 &&
             !same(node, size, "SelectStmt")) {
    walk->writes = walk->writes ? walk->writes : "it writes";
  } else if (same(node, size, "LockingClause")) {
    walk->writes = walk->writes ? walk->writes : "it locks rows";
  }
}

/* What the value of a key is; `array` and the like come from its first character. */
static enum role role_of(const struct frame *frame, const char *key, size_t size)
{
  static const struct {
    const char *key;
    enum role role;
  } roles[] = {
      {"funcname", ROLE_FUNCTION}, {"method", ROLE_FUNCTION},   {"name", ROLE_OPERATOR},
      {"useOp", ROLE_OPERATOR},    {"operName", ROLE_OPERATOR}, {"names", ROLE_TYPE},
  };
  for (size_t i = 0; i < sizeof(roles) / sizeof(*roles); i++) {
    if (same(key, size, roles[i].key)) {
      return roles[i].role;
    }
  }
  return frame->field_of_expression && same(key, size, "indirection") ? ROLE_FIELD : ROLE_NONE;
}

static void judge_text(struct walk *walk, const char *key, size_t key_size, const char *text,
                       size_t size)
{
  struct frame *frame = &walk->frames[walk->depth - 1];
  if (frame->role != ROLE_NONE && same(key, key_size, "sval")) {
    path_add(walk, text, size);
    if (frame->role == ROLE_FIELD) {
      path_end(walk, ROLE_FIELD);
    }
  } else if (same(key, key_size, "schemaname")) {
    if (size >= 7 && memcmp(text, "pg_temp", 7) == 0) {
      object(walk, "a temporary table");
    }
  } else if (same(key, key_size, "relname")) {
    walk->settings = walk->settings || same(text, size, "pg_settings");
  }
}

/* ------------------------------------------------------------------ JSON */

static const char *skip_string(const char *at)
{
  for (at++; *at && *at != '"'; at++) {
    at += *at == '\\' && at[1];
  }
  return at;
}

/* Opens what starts at walk->at; false: too deep. `key` may be NULL (in an array). */
static bool open_frame(struct walk *walk, const char *key, size_t size)
{
  struct frame frame = {.array = *walk->at == '['};
  if (walk->depth == DEEPEST) {
    return false;
  }
  if (walk->depth > 0) {
    const struct frame *parent = &walk->frames[walk->depth - 1];
    if (frame.array) {
      frame.role = (unsigned char)(key ? role_of(parent, key, size) : ROLE_NONE);
      if (frame.role != ROLE_NONE) {
        path_clear(walk);
      }
    } else if (!key || same(key, size, "String")) {
      frame.role = parent->role;
    } else {
      frame.field_of_expression = same(key, size, "A_Indirection");
    }
  }
  walk->frames[walk->depth++] = frame;
  walk->at++;
  return true;
}

static void close_frame(struct walk *walk)
{
  struct frame frame = walk->frames[--walk->depth];
  if (frame.array && frame.role != ROLE_NONE && frame.role != ROLE_FIELD) {
    path_end(walk, frame.role);
  }
  walk->at++;
}

static void judge_key(struct walk *walk, const char *key, size_t size)
{
  if (*key >= 'A' && *key <= 'Z') {
    enter_node(walk, key, size);
  } else if (walk->depth == STATEMENT_DEPTH - 1 && same(key, size, "stmt")) {
    walk->statements++;
  } else if (same(key, size, "intoClause")) {
    object(walk, "SELECT INTO");
  }
}

/* A key and the colon behind it, or a string in an array. false: the tree is not as expected. */
static bool read_string(struct walk *walk, const char **key, size_t *key_size)
{
  const char *text = walk->at + 1;
  const char *end = skip_string(walk->at);
  if (*end != '"' || walk->depth == 0) {
    return false;
  }
  walk->at = end + 1;
  if (*key) {
    judge_text(walk, *key, *key_size, text, (size_t)(end - text));
    *key = NULL;
  } else if (*walk->at == ':') {
    walk->at++;
    *key = text;
    *key_size = (size_t)(end - text);
    judge_key(walk, text, *key_size);
  }
  return true;
}

static bool walk_tree(struct walk *walk)
{
  const char *key = NULL;
  size_t key_size = 0;
  while (*walk->at) {
    switch (*walk->at) {
    case '{':
    case '[':
      if (!open_frame(walk, key, key_size)) {
        return false;
      }
      key = NULL;
      break;
    case '}':
    case ']':
      if (walk->depth == 0) {
        return false;
      }
      close_frame(walk);
      key = NULL;
      break;
    case '"':
      if (!read_string(walk, &key, &key_size)) {
        return false;
      }
      break;
    case ',':
      key = NULL;
      walk->at++;
      break;
    default: /* numbers, true, false, null */
      walk->at++;
    }
  }
  return walk->depth == 0;
}

/* ------------------------------------------------------------------ verdicts */

static struct cen_sql_verdict unknown(const char *why)
{
  return (struct cen_sql_verdict){.why = why};
}

static struct cen_sql_verdict no_memory(void)
{
  return (struct cen_sql_verdict){.passing = true, .why = "no memory to judge it"};
}

static struct cen_sql_verdict judge_tree(const char *tree, const struct cen_names *stateless)
{
  struct walk walk = {.at = tree, .stateless = stateless};
  bool walked;
  walk.frames = malloc(DEEPEST * sizeof(*walk.frames));
  if (!walk.frames) {
    return no_memory();
  }
  walked = walk_tree(&walk);
  free(walk.frames);
  if (!walked) {
    return unknown("too deep to be judged");
  }
  if (walk.statements != 1) {
    return unknown(walk.statements == 0 ? "no statement" : "several statements");
  }
  if (walk.settings && walk.writes) {
    object(&walk, "it may change settings through pg_settings");
  }
  if (walk.unknown || !walk.top) {
    return unknown(walk.unknown ? walk.unknown : "not understood");
  }
  return (struct cen_sql_verdict){
      .shareable = true,
      .read_only = !walk.writes,
      .why = walk.writes && walk.top_reads ? walk.writes : walk.top,
  };
}

static struct cen_sql_verdict judge_text_for_postgres(const char *sql, size_t size,
                                                      const struct cen_names *stateless)
{
  struct cen_sql_verdict verdict;
  struct cen_grammar grammar;
  switch (cen_grammar_open(&grammar, sql, size)) {
  case CEN_GRAMMAR_PARSED:
    verdict = judge_tree(grammar.tree, stateless);
    break;
  case CEN_GRAMMAR_SYNTAX:
    verdict = unknown("not parsed");
    break;
  case CEN_GRAMMAR_TOO_LONG:
    verdict = unknown("too long or too deep to be parsed");
    break;
  default:
    verdict = no_memory();
  }
  cen_grammar_close(&grammar);
  return verdict;
}

static bool has_no_length_to_judge(size_t size, struct cen_sql_verdict *verdict)
{
  if (size == 0) {
    *verdict = unknown("no statement");
  } else if (size > CEN_VERDICT_TEXT) {
    *verdict = unknown("too long or too deep to be parsed");
  }
  return size == 0 || size > CEN_VERDICT_TEXT;
}

struct cen_sql_verdict cen_verdict_postgres_native(const char *sql, size_t size,
                                                   const struct cen_names *stateless)
{
  struct cen_sql_verdict verdict;
  return has_no_length_to_judge(size, &verdict) ? verdict
                                                : judge_text_for_postgres(sql, size, stateless);
}

struct cen_sql_verdict cen_verdict_postgres(const char *sql, size_t size,
                                            const struct cen_names *stateless)
{
  struct cen_sql_verdict verdict;
  cenote_status status;
  char *rewritten;
  size_t highest;
  if (has_no_length_to_judge(size, &verdict)) {
    return verdict;
  }
  status = cen_placeholders(sql, size, CEN_DIALECT_POSTGRES, &rewritten, &highest, NULL);
  if (status) {
    return status == CENOTE_NO_MEMORY ? no_memory()
                                      : unknown("its placeholders are not understood");
  }
  verdict = rewritten ? judge_text_for_postgres(rewritten, strlen(rewritten), stateless)
                      : judge_text_for_postgres(sql, size, stateless);
  free(rewritten);
  return verdict;
}

/* A word, or a quoted name as the word that is in it. */
static struct cen_token bare_name(struct cen_token token)
{
  if (token.kind == CEN_TOKEN_QUOTED_NAME && token.size > 2) {
    token = (struct cen_token){
        .kind = CEN_TOKEN_WORD, .start = token.start + 1, .size = token.size - 2};
  }
  return token;
}

/* Functions of SQLite that belong to a connection, and its own schema of temporary tables. */
static bool belongs_to_connection(const char *sql, size_t size)
{
  static const char *const functions[] = {"last_insert_rowid", "changes", "total_changes",
                                          "load_extension", NULL};
  static const char *const tables[] = {"sqlite_temp_master", "sqlite_temp_schema", NULL};
  struct cen_scanner scanner;
  struct cen_token token;
  struct cen_token name = {.kind = CEN_TOKEN_END};
  cen_scan_init(&scanner, sql, size, CEN_DIALECT_SQLITE);
  while (cen_scan_word(&scanner, &token) != CEN_TOKEN_END) {
    if ((cen_token_symbol(&token, '(') && cen_token_in(&name, functions)) ||
        (cen_token_symbol(&token, '.') && cen_token_is(&name, "temp")) ||
        cen_token_in(&name, tables)) {
      return true;
    }
    name = bare_name(token);
  }
  return cen_token_in(&name, tables);
}

struct cen_sql_verdict cen_verdict_sqlite(const char *sql, size_t size)
{
  enum cen_verb verb = cen_statement_verb(sql, size, CEN_DIALECT_SQLITE);
  if (verb != CEN_VERB_READ && verb != CEN_VERB_WRITE) {
    return unknown(verb == CEN_VERB_UNKNOWN ? "not understood"
                                            : "neither a read nor a plain write");
  }
  if (belongs_to_connection(sql, size)) {
    return unknown("it asks for what belongs to a connection");
  }
  return (struct cen_sql_verdict){.shareable = true,
                                  .read_only = verb == CEN_VERB_READ,
                                  .why = verb == CEN_VERB_READ ? "a read" : "a plain write"};
}
