/*
 * text.c - what can be said of a statement before it is sent: is it one, does it write, does it leave
 * something in its session, do its arguments fit. The server would say most of that too, but each
 * server in other words, and some only after it has run a part.
 */
#include "driver/libsql/libsql.h"

#include "base/error.h"
#include "base/limits.h"
#include "sql/scan.h"

#include <stdlib.h>
#include <string.h>

static cenote_status invalid(cenote_error *error, const char *code)
{
  cenote_error_add_field(error, 'X', code);
  return CENOTE_INVALID;
}

static enum ls_verb verb_of(const char *sql, size_t size)
{
  switch (cen_statement_verb(sql, size, CEN_DIALECT_SQLITE)) {
  case CEN_VERB_READ:
    return LS_READ;
  case CEN_VERB_WRITE:
  case CEN_VERB_DDL:
    return LS_WRITE;
  case CEN_VERB_BEGIN:
    return LS_BEGIN;
  case CEN_VERB_COMMIT:
    return LS_COMMIT;
  case CEN_VERB_ROLLBACK:
    return LS_ROLLBACK;
  case CEN_VERB_SAVEPOINT:
    return LS_SAVEPOINT;
  case CEN_VERB_SESSION:
    return LS_SESSION;
  case CEN_VERB_UNKNOWN:
    break;
  }
  return LS_OTHER;
}

/* By its first word: what may be left of it in a session. */
static unsigned holds_of(const char *sql, size_t size)
{
  static const struct {
    const char *word;
    unsigned holds;
  } words[] = {{"create", LS_HOLDS_TEMPORARY},
               {"pragma", LS_HOLDS_PRAGMA},
               {"attach", LS_HOLDS_ATTACHED},
               {"detach", LS_HOLDS_ATTACHED}};
  struct cen_scanner scanner;
  struct cen_token token;
  cen_scan_init(&scanner, sql, size, CEN_DIALECT_SQLITE);
  do {
    cen_scan_next(&scanner, &token);
  } while (token.kind == CEN_TOKEN_SPACE || token.kind == CEN_TOKEN_COMMENT);
  for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
    if (cen_token_is(&token, words[i].word)) {
      return words[i].holds;
    }
  }
  return LS_HOLDS_OTHER;
}

static void session_note(struct ls_text *text)
{
  const char *part;
  size_t size;
  size_t offset = 0;
  while (cen_next_statement(text->sql, text->size, CEN_DIALECT_SQLITE, &offset, &part, &size)) {
    if (cen_statement_may_dirty(part, size, CEN_DIALECT_SQLITE)) {
      text->dirty = true;
      text->holds |= holds_of(part, size);
    }
  }
}

/* ---------------------------------------------------------------- arguments */

static bool same_name(const char *name, const struct cen_token *token)
{
  const bool sign = strchr(":@$", *name) != NULL;
  const char *from = sign ? token->start : token->start + 1;
  const size_t size = sign ? token->size : token->size - 1;
  return strlen(name) == size && memcmp(name, from, size) == 0;
}

static bool is_name(const struct cen_token *token)
{
  const char sign = *token->start;
  return token->kind == CEN_TOKEN_PLACEHOLDER && token->size > 1 && sign != '?' &&
         !(sign == '$' && token->start[1] >= '0' && token->start[1] <= '9');
}

static cenote_status missing(const struct cen_token *token, cenote_error *error)
{
  const int size = token->size < 60 ? (int)token->size : 60;
  cenote_error_set(error, CENOTE_INVALID, "no argument was given for %.*s", size, token->start);
  return invalid(error, "ARGS_INVALID");
}

static bool has_names(const char *sql, size_t size)
{
  struct cen_scanner scanner;
  struct cen_token token;
  cen_scan_init(&scanner, sql, size, CEN_DIALECT_SQLITE);
  while (cen_scan_next(&scanner, &token) != CEN_TOKEN_END) {
    if (is_name(&token)) {
      return true;
    }
  }
  return false;
}

/* Every argument has a name in the text. */
static cenote_status check_given(const char *sql, size_t size, const cenote_request *request,
                                 cenote_error *error)
{
  for (size_t i = 0; i < request->count; i++) {
    const char *name = request->args[i].name;
    bool found = false;
    struct cen_scanner scanner;
    struct cen_token token;
    cen_scan_init(&scanner, sql, size, CEN_DIALECT_SQLITE);
    while (!found && cen_scan_next(&scanner, &token) != CEN_TOKEN_END) {
      found = is_name(&token) && same_name(name, &token);
    }
    if (!found) {
      cenote_error_set(error, CENOTE_INVALID, "the statement has no parameter :%.60s", name);
      return invalid(error, "ARGS_INVALID");
    }
  }
  return CENOTE_OK;
}

/* … and every name of the text an argument. */
static cenote_status check_names(const char *sql, size_t size, const cenote_request *request,
                                 cenote_error *error)
{
  struct cen_scanner scanner;
  struct cen_token token;
  cen_scan_init(&scanner, sql, size, CEN_DIALECT_SQLITE);
  while (cen_scan_next(&scanner, &token) != CEN_TOKEN_END) {
    bool found = !is_name(&token);
    for (size_t i = 0; !found && i < request->count; i++) {
      found = same_name(request->args[i].name, &token);
    }
    if (!found) {
      return missing(&token, error);
    }
  }
  return CENOTE_OK;
}

static cenote_status check_count(size_t expected, size_t given, cenote_error *error)
{
  if (expected == given) {
    return CENOTE_OK;
  }
  cenote_error_set(error, CENOTE_INVALID,
                   "the statement has %zu parameter%s, but %zu argument%s given", expected,
                   expected == 1 ? "" : "s", given, given == 1 ? " was" : "s were");
  return invalid(error, "ARGS_INVALID");
}

/* One kind of arguments: Hrana's servers refuse both at once. */
static cenote_status check_kinds(const cenote_request *request, size_t *named, cenote_error *error)
{
  *named = 0;
  if (request->count > CEN_MAX_ARGS) {
    cenote_error_set(error, CENOTE_INVALID, "%zu arguments; at most %d are allowed", request->count,
                     CEN_MAX_ARGS);
    return invalid(error, "ARGS_INVALID");
  }
  for (size_t i = 0; i < request->count; i++) {
    *named += request->args[i].name != NULL;
    if (request->args[i].name != NULL && request->args[i].name[0] == '\0') {
      cenote_error_set(error, CENOTE_INVALID, "the name of argument %zu is empty", i + 1);
      return invalid(error, "ARGS_INVALID");
    }
  }
  if (*named > 0 && *named < request->count) {
    cenote_error_set(error, CENOTE_INVALID, "arguments with and without names; give one kind");
    return invalid(error, "ARGS_BOTH_POSITIONAL_AND_NAMED");
  }
  return CENOTE_OK;
}

/* ---------------------------------------------------------------- texts */

static cenote_status wrong_count(size_t statements, cenote_error *error)
{
  cenote_error_set(error, CENOTE_INVALID,
                   statements == 0
                       ? "the statement is empty"
                       : "the text holds several statements; run them one by one, or as a batch");
  return invalid(error, statements == 0 ? "SQL_NO_STATEMENT" : "SQL_MANY_STATEMENTS");
}

/* Where positions meet names the server counts. */
static cenote_status check_arguments(const cenote_request *request, size_t size, size_t highest,
                                     size_t named, cenote_error *error)
{
  if (named == 0) {
    return has_names(request->sql, size) ? CENOTE_OK : check_count(highest, request->count, error);
  }
  cenote_status status = check_given(request->sql, size, request, error);
  if (status == CENOTE_OK) {
    status = check_names(request->sql, size, request, error);
  }
  return status == CENOTE_OK ? check_count(highest, 0, error) : status;
}

static cenote_status read_script(const cenote_request *request, struct ls_text *text,
                                 cenote_error *error)
{
  const char *part;
  size_t size;
  size_t offset = 0;
  if (request->count > 0) {
    cenote_error_set(error, CENOTE_INVALID, "a script of several statements takes no arguments");
    return invalid(error, "ARGS_INVALID");
  }
  text->verb = LS_READ;
  while (cen_next_statement(text->sql, text->size, CEN_DIALECT_SQLITE, &offset, &part, &size)) {
    const enum ls_verb verb = verb_of(part, size);
    text->controls = text->controls || (verb != LS_READ && verb != LS_WRITE && verb != LS_SESSION);
    text->verb = verb == LS_READ ? text->verb : LS_WRITE;
  }
  return CENOTE_OK;
}

/* Without what is behind it: some servers count an empty rest as a second statement. */
static cenote_status read_one(const cenote_request *request, struct ls_text *text,
                              cenote_error *error)
{
  const char *sql = request->sql;
  const size_t size = strlen(sql);
  const size_t statements = cen_count_statements(sql, size, CEN_DIALECT_SQLITE);
  size_t highest = 0;
  size_t named;
  size_t offset = 0;
  if (statements != 1) {
    return wrong_count(statements, error);
  }
  cenote_status status = check_kinds(request, &named, error);
  if (status != CENOTE_OK || (request->flags & CENOTE_REQUEST_NATIVE) != 0) {
    return status;
  }
  status = cen_placeholders(sql, size, CEN_DIALECT_SQLITE, &text->rewritten, &highest, error);
  if (status == CENOTE_OK && request->kind == CENOTE_REQUEST_EXECUTE) {
    status = check_arguments(request, size, highest, named, error);
  }
  if (text->rewritten != NULL) {
    text->sql = text->rewritten;
    text->size = strlen(text->rewritten);
  }
  if (status == CENOTE_OK) {
    (void)cen_next_statement(text->sql, text->size, CEN_DIALECT_SQLITE, &offset, &text->sql,
                             &text->size);
  }
  return status;
}

cenote_status ls_text_read(const cenote_request *request, struct ls_text *text, cenote_error *error)
{
  *text = (struct ls_text){.sql = request->sql};
  if (request->sql == NULL || (request->count > 0 && request->args == NULL)) {
    return cenote_error_set(error, CENOTE_INVALID, "no statement, or no arguments, were given");
  }
  text->size = strnlen(request->sql, (size_t)CEN_MAX_SQL + 1);
  if (text->size > CEN_MAX_SQL) {
    return cenote_error_set(error, CENOTE_TOO_LARGE, "the statement's text is longer than %d bytes",
                            CEN_MAX_SQL);
  }
  text->verb = verb_of(text->sql, text->size);
  session_note(text);
  const cenote_status status = (request->flags & CENOTE_REQUEST_SCRIPT) != 0
                                   ? read_script(request, text, error)
                                   : read_one(request, text, error);
  if (status != CENOTE_OK) {
    ls_text_deinit(text);
  }
  return status;
}

/* What is known least of decides. */
static enum ls_verb verb_together(enum ls_verb one, enum ls_verb other)
{
  static const enum ls_verb order[] = {LS_OTHER, LS_WRITE, LS_SESSION};
  for (size_t i = 0; i < sizeof order / sizeof order[0]; i++) {
    if (one == order[i] || other == order[i]) {
      return order[i];
    }
  }
  return LS_READ;
}

/* One of a batch, which has its transaction around it. */
static cenote_status read_part(const cenote_request *request, const cenote_statement *statement,
                               struct ls_text *text, struct ls_text *whole, cenote_error *error)
{
  const cenote_request part = {.size = sizeof part,
                               .kind = CENOTE_REQUEST_EXECUTE,
                               .flags = request->flags,
                               .sql = statement->sql,
                               .args = statement->args,
                               .count = statement->count};
  const cenote_status status = ls_text_read(&part, text, error);
  if (status != CENOTE_OK) {
    return status;
  }
  if (text->verb == LS_BEGIN || text->verb == LS_COMMIT || text->verb == LS_ROLLBACK) {
    return cenote_error_set(error, CENOTE_INVALID, "a batch is one transaction of its own");
  }
  whole->verb = verb_together(whole->verb, text->verb == LS_SAVEPOINT ? LS_SESSION : text->verb);
  whole->dirty = whole->dirty || text->dirty;
  whole->holds |= text->holds;
  return CENOTE_OK;
}

cenote_status ls_texts_read(const cenote_request *request, struct ls_text **out,
                            struct ls_text *whole, cenote_error *error)
{
  const size_t count = request->statement_count;
  struct ls_text *texts = calloc(count, sizeof *texts);
  *whole = (struct ls_text){.verb = LS_READ};
  *out = texts;
  if (texts == NULL) {
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory: a batch of %zu", count);
  }
  for (size_t i = 0; i < count; i++) {
    const cenote_status status =
        read_part(request, &request->statements[i], &texts[i], whole, error);
    if (status != CENOTE_OK) {
      cen_error_statement(error, (int64_t)i);
      ls_texts_free(texts, count);
      *out = NULL;
      return status;
    }
  }
  return CENOTE_OK;
}

void ls_text_plain(struct ls_text *text, const char *sql, enum ls_verb verb)
{
  *text = (struct ls_text){.sql = sql, .size = strlen(sql), .verb = verb};
}

void ls_text_deinit(struct ls_text *text)
{
  free(text->rewritten);
  *text = (struct ls_text){0};
}

void ls_texts_free(struct ls_text *texts, size_t count)
{
  for (size_t i = 0; texts != NULL && i < count; i++) {
    ls_text_deinit(&texts[i]);
  }
  free(texts);
}
