/*
 * placeholders.c - `?` and `$1` on every database. The text is scanned twice: the first pass says
 * whether anything must change (mostly not, and then nothing is copied), the second writes.
 */
#include "sql/tokens.h"

#include "base/buf.h"
#include "base/limits.h"

#include <cenote/driver.h>

#include <stdint.h>

struct survey {
  size_t bare;    /* how many `?` */
  size_t highest; /* the largest number of `?N` and `$N` */
  bool numbered;
  bool changes;
};

/* The number of ?N or $N; 0: bare `?`, or a name; SIZE_MAX: zero or above the ceiling. */
static size_t placeholder_number(const struct cen_token *token)
{
  size_t number = 0;
  size_t i;
  if (token->size == 1 || (*token->start != '?' && *token->start != '$')) {
    return 0;
  }
  for (i = 1; i < token->size; i++) {
    char c = token->start[i];
    if (c < '0' || c > '9') {
      return 0;
    }
    number = number > CEN_MAX_ARGS ? number : number * 10 + (size_t)(c - '0');
  }
  return number == 0 || number > CEN_MAX_ARGS ? SIZE_MAX : number;
}

static bool is_bare(const struct cen_token *token)
{
  return token->size == 1 && *token->start == '?';
}

static cenote_status survey_text(struct cen_scanner scanner, struct survey *survey,
                                 cenote_error *error)
{
  char native = scanner.dialect == CEN_DIALECT_POSTGRES ? '$' : '?';
  struct cen_token token;
  while (cen_scan_next(&scanner, &token) != CEN_TOKEN_END) {
    size_t number;
    if (token.kind == CEN_TOKEN_QUESTION) {
      survey->changes = true;
      continue;
    }
    if (token.kind != CEN_TOKEN_PLACEHOLDER) {
      continue;
    }
    number = placeholder_number(&token);
    if (number == SIZE_MAX) {
      return cenote_error_set(error, CENOTE_INVALID, "placeholder %.*s: numbers go from 1 to %d",
                              token.size < 20 ? (int)token.size : 20, token.start, CEN_MAX_ARGS);
    }
    if (is_bare(&token)) {
      survey->bare++;
      survey->changes = survey->changes || native == '$';
    } else if (number) {
      survey->numbered = true;
      survey->highest = number > survey->highest ? number : survey->highest;
      survey->changes = survey->changes || *token.start != native;
    }
  }
  if (survey->bare && survey->numbered) {
    return cenote_error_set(error, CENOTE_INVALID,
                            "the statement mixes ? with numbered placeholders: use one kind, and "
                            "write ?? for a question mark that is an operator");
  }
  if (survey->bare > CEN_MAX_ARGS) {
    return cenote_error_set(error, CENOTE_TOO_LARGE, "%zu placeholders; at most %d are allowed",
                            survey->bare, CEN_MAX_ARGS);
  }
  return CENOTE_OK;
}

static bool continues_word(char c)
{
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '$' || (unsigned char)c >= 0x80;
}

/* "LIMIT?" must not become the word "LIMIT$1", nor "?AND" the word "$1AND": a blank parts them. */
static void write_number(struct cen_buf *out, const struct cen_scanner *scanner, char sign,
                         size_t number)
{
  if (out->size && out->data && continues_word(out->data[out->size - 1])) {
    cen_buf_char(out, ' ');
  }
  cen_buf_format(out, "%c%zu", sign, number);
  if (scanner->at < scanner->end && continues_word(*scanner->at)) {
    cen_buf_char(out, ' ');
  }
}

static void write_text(struct cen_scanner scanner, struct cen_buf *out)
{
  char native = scanner.dialect == CEN_DIALECT_POSTGRES ? '$' : '?';
  size_t bare = 0;
  struct cen_token token;
  while (cen_scan_next(&scanner, &token) != CEN_TOKEN_END) {
    size_t number = token.kind == CEN_TOKEN_PLACEHOLDER ? placeholder_number(&token) : 0;
    if (token.kind == CEN_TOKEN_QUESTION) {
      cen_buf_char(out, '?');
    } else if (token.kind == CEN_TOKEN_PLACEHOLDER && is_bare(&token)) {
      write_number(out, &scanner, native, ++bare);
    } else if (number && *token.start != native) {
      write_number(out, &scanner, native, number);
    } else {
      cen_buf_add(out, token.start, token.size);
    }
  }
}

cenote_status cen_placeholders(const char *sql, size_t size, enum cen_dialect dialect,
                               char **rewritten, size_t *highest, cenote_error *error)
{
  struct survey survey = {0};
  struct cen_scanner scanner;
  struct cen_buf out;
  cenote_status status;

  *rewritten = NULL;
  *highest = 0;
  cen_scan_init(&scanner, sql, size, dialect);
  status = survey_text(scanner, &survey, error);
  if (status) {
    return status;
  }
  *highest = survey.numbered ? survey.highest : survey.bare;
  if (!survey.changes) {
    return CENOTE_OK;
  }
  /* `?` becomes at most " $65535 ", and what had a number already grows by two blanks */
  cen_buf_init(&out, 2 * size + 8 * (survey.bare + 1));
  write_text(scanner, &out);
  *rewritten = cen_buf_take(&out);
  if (!*rewritten) {
    *highest = 0;
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory while reading a statement");
  }
  return CENOTE_OK;
}
