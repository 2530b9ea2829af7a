/*
 * scan.c - the scanner: one token a call, from the left, never looking back. PostgreSQL's manual
 * 4.1 gives its rules; SQLite's differ in a few places (flat comments, [name], `name`, :name),
 * and each difference is one test of the dialect below.
 */
#include "sql/scan.h"

#include <string.h>
#include <strings.h>

static bool is_space(char c)
{
  return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_digit(char c)
{
  return c >= '0' && c <= '9';
}

static bool is_word_start(char c)
{
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (unsigned char)c >= 0x80;
}

static bool is_word(char c)
{
  return is_word_start(c) || is_digit(c) || c == '$';
}

static char peek(const char *at, const char *end, size_t ahead)
{
  return (size_t)(end - at) > ahead ? at[ahead] : '\0';
}

void cen_scan_init(struct cen_scanner *scanner, const char *sql, size_t size,
                   enum cen_dialect dialect)
{
  scanner->at = sql;
  scanner->end = size ? sql + size : sql;
  scanner->dialect = dialect;
}

bool cen_token_is(const struct cen_token *token, const char *word)
{
  return token->kind == CEN_TOKEN_WORD && strlen(word) == token->size &&
         strncasecmp(token->start, word, token->size) == 0;
}

static const char *line_end(const char *at, const char *end)
{
  while (at < end && *at != '\n' && *at != '\r') {
    at++;
  }
  return at;
}

/* `at` stands on the opening slash. PostgreSQL's block comments nest, SQLite's do not. */
static const char *comment_end(const char *at, const char *end, bool nests, bool *unterminated)
{
  size_t depth = 1;
  at += 2;
  while (at < end) {
    if (nests && *at == '/' && peek(at, end, 1) == '*') {
      depth++;
      at += 2;
    } else if (*at == '*' && peek(at, end, 1) == '/') {
      at += 2;
      if (--depth == 0) {
        return at;
      }
    } else {
      at++;
    }
  }
  *unterminated = true;
  return end;
}

/* `at` stands behind the opening quote; a doubled closing quote is one of the text. */
static const char *quote_end(const char *at, const char *end, char quote, bool backslash,
                             bool *unterminated)
{
  while (at < end) {
    if (backslash && *at == '\\' && end - at > 1) {
      at += 2;
    } else if (*at == quote) {
      if (quote == ']' || peek(at, end, 1) != quote) {
        return at + 1;
      }
      at += 2;
    } else {
      at++;
    }
  }
  *unterminated = true;
  return end;
}

/*
 * Strings that only white space with a line break separates are one string (manual 4.1.2.1). For
 * an escape string that matters here: its continuation keeps the backslash rules. Answers the
 * continuation's opening quote or NULL.
 */
static const char *string_continues(const char *at, const char *end)
{
  bool line_break = false;
  while (at < end) {
    if (is_space(*at)) {
      line_break = line_break || *at == '\n' || *at == '\r';
      at++;
    } else if (*at == '-' && peek(at, end, 1) == '-') {
      at = line_end(at, end);
    } else {
      break;
    }
  }
  return line_break && at < end && *at == '\'' ? at : NULL;
}

static const char *escape_string_end(const char *at, const char *end, bool *unterminated)
{
  for (;;) {
    const char *more;
    at = quote_end(at, end, '\'', true, unterminated);
    more = *unterminated ? NULL : string_continues(at, end);
    if (!more) {
      return at;
    }
    at = more + 1;
  }
}

/* `at` stands on a dollar sign. NULL: it opens no dollar quote. */
static const char *dollar_quote_end(const char *at, const char *end, bool *unterminated)
{
  const char *tag_end = at + 1;
  const char *found;
  size_t tag_size;
  if (tag_end < end && is_word_start(*tag_end)) {
    while (tag_end < end && *tag_end != '$' && is_word(*tag_end)) {
      tag_end++;
    }
  }
  if (tag_end == end || *tag_end != '$') {
    return NULL;
  }
  tag_size = (size_t)(tag_end + 1 - at);
  found = memmem(tag_end + 1, (size_t)(end - tag_end - 1), at, tag_size);
  if (!found) {
    *unterminated = true;
    return end;
  }
  return found + tag_size;
}

static const char *number_end(const char *at, const char *end)
{
  const char *exponent;
  if (*at == '0' && (peek(at, end, 1) == 'x' || peek(at, end, 1) == 'X')) {
    const char *hex = at + 2;
    while (hex < end && (is_digit(*hex) || (*hex >= 'a' && *hex <= 'f') ||
                         (*hex >= 'A' && *hex <= 'F') || *hex == '_')) {
      hex++;
    }
    return hex > at + 2 ? hex : at + 1;
  }
  while (at < end && is_digit(*at)) {
    at++;
  }
  /* two points are PL/pgSQL's range, not a fraction */
  if (peek(at, end, 0) == '.' && peek(at, end, 1) != '.') {
    at++;
    while (at < end && is_digit(*at)) {
      at++;
    }
  }
  exponent = at;
  if (peek(at, end, 0) == 'e' || peek(at, end, 0) == 'E') {
    exponent++;
    if (peek(exponent, end, 0) == '+' || peek(exponent, end, 0) == '-') {
      exponent++;
    }
    if (exponent < end && is_digit(*exponent)) {
      while (exponent < end && is_digit(*exponent)) {
        exponent++;
      }
      return exponent;
    }
  }
  return at;
}

/* SQLite's :name, @name, $name; Tcl's ::part and (suffix) may follow as SQLite has it. */
static const char *variable_end(const char *at, const char *end)
{
  const char *from = ++at;
  while (at < end) {
    if (is_word(*at)) {
      at++;
    } else if (*at == '(' && at > from) {
      const char *close = at + 1;
      while (close < end && *close != ')' && !is_space(*close)) {
        close++;
      }
      return close < end && *close == ')' ? close + 1 : at;
    } else if (*at == ':' && peek(at, end, 1) == ':' && at > from) {
      at += 2;
    } else {
      break;
    }
  }
  return at > from ? at : NULL;
}

static enum cen_token_kind scan_word(struct cen_scanner *scanner, struct cen_token *token)
{
  const char *at = scanner->at;
  const char *end = scanner->end;
  bool postgres = scanner->dialect == CEN_DIALECT_POSTGRES;
  char quote = peek(at, end, 1);
  if (quote == '\'' && (*at == 'x' || *at == 'X' || (postgres && strchr("bBnN", *at)))) {
    scanner->at = quote_end(at + 2, end, '\'', false, &token->unterminated);
    return CEN_TOKEN_STRING;
  }
  if (postgres && quote == '\'' && (*at == 'e' || *at == 'E')) {
    scanner->at = escape_string_end(at + 2, end, &token->unterminated);
    return CEN_TOKEN_STRING;
  }
  if (postgres && (*at == 'u' || *at == 'U') && quote == '&') {
    char opening = peek(at, end, 2);
    if (opening == '\'' || opening == '"') {
      scanner->at = quote_end(at + 3, end, opening, false, &token->unterminated);
      return opening == '"' ? CEN_TOKEN_QUOTED_NAME : CEN_TOKEN_STRING;
    }
  }
  while (at < end && is_word(*at)) {
    at++;
  }
  scanner->at = at;
  return CEN_TOKEN_WORD;
}

static enum cen_token_kind scan_question(struct cen_scanner *scanner)
{
  const char *at = scanner->at + 1;
  if (peek(at, scanner->end, 0) == '?') {
    scanner->at = at + 1;
    return CEN_TOKEN_QUESTION;
  }
  while (at < scanner->end && is_digit(*at)) {
    at++;
  }
  scanner->at = at;
  return CEN_TOKEN_PLACEHOLDER;
}

static enum cen_token_kind scan_dollar(struct cen_scanner *scanner, struct cen_token *token)
{
  const char *at = scanner->at;
  const char *end = scanner->end;
  if (scanner->dialect == CEN_DIALECT_SQLITE) {
    const char *variable = variable_end(at, end);
    scanner->at = variable ? variable : at + 1;
    return variable ? CEN_TOKEN_PLACEHOLDER : CEN_TOKEN_SYMBOL;
  }
  if (is_digit(peek(at, end, 1))) {
    for (at++; at < end && is_digit(*at); at++) {
    }
    scanner->at = at;
    return CEN_TOKEN_PLACEHOLDER;
  }
  at = dollar_quote_end(at, end, &token->unterminated);
  scanner->at = at ? at : scanner->at + 1;
  return at ? CEN_TOKEN_STRING : CEN_TOKEN_SYMBOL;
}

static enum cen_token_kind scan_symbol(struct cen_scanner *scanner)
{
  const char *at = scanner->at;
  if (scanner->dialect == CEN_DIALECT_SQLITE && (*at == ':' || *at == '@' || *at == '#')) {
    const char *variable = *at == '#' ? NULL : variable_end(at, scanner->end);
    if (variable) {
      scanner->at = variable;
      return CEN_TOKEN_PLACEHOLDER;
    }
  }
  if (scanner->dialect == CEN_DIALECT_POSTGRES && *at == ':' && peek(at, scanner->end, 1) == ':') {
    scanner->at = at + 2;
    return CEN_TOKEN_SYMBOL;
  }
  scanner->at = at + 1;
  return *at == ';' ? CEN_TOKEN_SEMICOLON : CEN_TOKEN_SYMBOL;
}

static enum cen_token_kind scan_quoted_name(struct cen_scanner *scanner, struct cen_token *token,
                                            char close)
{
  scanner->at = quote_end(scanner->at + 1, scanner->end, close, false, &token->unterminated);
  return CEN_TOKEN_QUOTED_NAME;
}

static enum cen_token_kind scan_any(struct cen_scanner *scanner, struct cen_token *token)
{
  const char *at = scanner->at;
  const char *end = scanner->end;
  bool sqlite = scanner->dialect == CEN_DIALECT_SQLITE;
  char next = peek(at, end, 1);
  if (is_space(*at)) {
    while (scanner->at < end && is_space(*scanner->at)) {
      scanner->at++;
    }
    return CEN_TOKEN_SPACE;
  }
  if (*at == '-' && next == '-') {
    scanner->at = line_end(at, end);
    return CEN_TOKEN_COMMENT;
  }
  if (*at == '/' && next == '*') {
    scanner->at = comment_end(at, end, !sqlite, &token->unterminated);
    return CEN_TOKEN_COMMENT;
  }
  if (is_word_start(*at)) {
    return scan_word(scanner, token);
  }
  if (is_digit(*at) || (*at == '.' && is_digit(next))) {
    scanner->at = number_end(at, end);
    return CEN_TOKEN_NUMBER;
  }
  switch (*at) {
  case '\'':
    scanner->at = quote_end(at + 1, end, '\'', false, &token->unterminated);
    return CEN_TOKEN_STRING;
  case '"':
    return scan_quoted_name(scanner, token, '"');
  case '`':
    return sqlite ? scan_quoted_name(scanner, token, '`') : scan_symbol(scanner);
  case '[':
    return sqlite ? scan_quoted_name(scanner, token, ']') : scan_symbol(scanner);
  case '?':
    return scan_question(scanner);
  case '$':
    return scan_dollar(scanner, token);
  default:
    return scan_symbol(scanner);
  }
}

enum cen_token_kind cen_scan_next(struct cen_scanner *scanner, struct cen_token *token)
{
  token->start = scanner->at;
  token->unterminated = false;
  token->kind = CEN_TOKEN_END;
  if (scanner->at < scanner->end) {
    token->kind = scan_any(scanner, token);
  }
  token->size = (size_t)(scanner->at - token->start);
  return token->kind;
}
