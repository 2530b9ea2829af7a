/* json_reader.c - see json_reader.h. */
#include "wire/json_reader.h"

#include "base/text.h"
#include "wire/json_bytes.h"

#include <cenote/driver.h>

#include <locale.h>
#include <stdlib.h>
#include <string.h>

void cen_reader_init(struct cen_reader *r, char *body, size_t size,
                     const struct cen_reader_limits *limits)
{
  static char nothing[1];
  body = body == NULL ? nothing : body;
  *r = (struct cen_reader){.start = body, .at = body, .end = body + size, .limits = *limits};
  if (r->limits.depth > CEN_READER_MAX_DEPTH) {
    r->limits.depth = CEN_READER_MAX_DEPTH;
  }
  if (size > limits->bytes) {
    r->too_large = true;
    r->problem = "too many bytes";
  }
}

bool cen_reader_problem(struct cen_reader *r, const char *problem)
{
  if (r->problem == NULL) {
    r->problem = problem;
  }
  return false;
}

static bool ceiling_hit(struct cen_reader *r, const char *problem)
{
  if (r->problem == NULL) {
    r->too_large = true;
  }
  return cen_reader_problem(r, problem);
}

cenote_status cen_reader_error(const struct cen_reader *r, cenote_status status, const char *what,
                               cenote_error *error)
{
  return cenote_error_set(error, r->too_large ? CENOTE_TOO_LARGE : status, "%s: %s at byte %zu",
                          what, r->problem != NULL ? r->problem : "not understood",
                          (size_t)(r->at - r->start));
}

static void blanks_skip(struct cen_reader *r)
{
  while (r->at < r->end && (*r->at == ' ' || *r->at == '\n' || *r->at == '\r' || *r->at == '\t')) {
    r->at++;
  }
}

/* ----------------------------------------------------------------- strings */

/* The end of what needs no decoding, or NULL when it is not UTF-8. */
static char *plain_end(char *at, const char *end)
{
  while (at < end) {
    if (end - at >= 8 && !cen_eight_are_special(at)) {
      at += 8;
      continue;
    }
    unsigned char byte = (unsigned char)*at;
    if (byte < 0x20 || byte == '"' || byte == '\\') {
      break;
    }
    size_t bytes = byte < 0x80 ? 1 : cen_utf8_next(at, (size_t)(end - at));
    if (bytes == 0) {
      return NULL;
    }
    at += bytes;
  }
  return at;
}

static int hex_value(char c)
{
  if (c >= '0' && c <= '9') {
    return c - '0';
  }
  char low = (char)(c | 0x20);
  return low >= 'a' && low <= 'f' ? low - 'a' + 10 : -1;
}

/* Four hexadecimal digits, or -1. */
static int32_t hex4(const char *at, const char *end)
{
  int32_t value = 0;
  if (end - at < 4) {
    return -1;
  }
  for (int i = 0; i < 4; i++) {
    int digit = hex_value(at[i]);
    if (digit < 0) {
      return -1;
    }
    value = value * 16 + digit;
  }
  return value;
}

static size_t utf8_write(char out[4], uint32_t c)
{
  if (c < 0x80) {
    out[0] = (char)c;
    return 1;
  }
  if (c < 0x800) {
    out[0] = (char)(0xC0 | c >> 6);
    out[1] = (char)(0x80 | (c & 0x3F));
    return 2;
  }
  if (c < 0x10000) {
    out[0] = (char)(0xE0 | c >> 12);
    out[1] = (char)(0x80 | (c >> 6 & 0x3F));
    out[2] = (char)(0x80 | (c & 0x3F));
    return 3;
  }
  out[0] = (char)(0xF0 | c >> 18);
  out[1] = (char)(0x80 | (c >> 12 & 0x3F));
  out[2] = (char)(0x80 | (c >> 6 & 0x3F));
  out[3] = (char)(0x80 | (c & 0x3F));
  return 4;
}

/* \uXXXX at `at`, which moves behind it; a pair of surrogates is one character. */
static bool unicode_read(struct cen_reader *r, char **at, uint32_t *c)
{
  int32_t first = hex4(*at + 2, r->end);
  if (first < 0) {
    return cen_reader_problem(r, "\\u without four hexadecimal digits");
  }
  *at += 6;
  *c = (uint32_t)first;
  if (first < 0xD800 || first > 0xDFFF) {
    return true;
  }
  if (first > 0xDBFF || r->end - *at < 2 || (*at)[0] != '\\' || (*at)[1] != 'u') {
    return cen_reader_problem(r, "a lone surrogate");
  }
  int32_t second = hex4(*at + 2, r->end);
  if (second < 0xDC00 || second > 0xDFFF) {
    return cen_reader_problem(r, "a lone surrogate");
  }
  *at += 6;
  *c = 0x10000 + ((uint32_t)(first - 0xD800) << 10) + (uint32_t)(second - 0xDC00);
  return true;
}

static bool escape_read(struct cen_reader *r, char **at, char out[4], size_t *size, bool *has_nul)
{
  static const char letters[] = "\"\\/bfnrt";
  static const char meant[] = "\"\\/\b\f\n\r\t";
  if (r->end - *at < 2) {
    return cen_reader_problem(r, "a string that does not end");
  }
  if ((*at)[1] == 'u') {
    uint32_t c;
    if (!unicode_read(r, at, &c)) {
      return false;
    }
    *has_nul = *has_nul || c == 0;
    *size = utf8_write(out, c);
    return true;
  }
  const char *letter = (*at)[1] == '\0' ? NULL : strchr(letters, (*at)[1]);
  if (letter == NULL) {
    return cen_reader_problem(r, "an unknown escape");
  }
  out[0] = meant[letter - letters];
  *size = 1;
  *at += 2;
  return true;
}

/* Behind the opening quote. Without a token nothing is written. */
static bool string_read(struct cen_reader *r, struct cen_token *token)
{
  char *to = r->at;
  char *const begin = to;
  bool has_nul = false;
  for (char *at = to;;) {
    char *run = at;
    at = plain_end(run, r->end);
    if (at == NULL) {
      r->at = run;
      return cen_reader_problem(r, "invalid UTF-8");
    }
    size_t plain = (size_t)(at - run);
    if (token != NULL && to != run && plain > 0) {
      memmove(to, run, plain);
    }
    to += plain;
    r->at = at;
    if (at == r->end) {
      return cen_reader_problem(r, "a string that does not end");
    }
    if (*at == '"') {
      r->at++;
      break;
    }
    if (*at != '\\') {
      return cen_reader_problem(r, "a control character in a string");
    }
    char out[4];
    size_t size = 0;
    if (!escape_read(r, &at, out, &size, &has_nul)) {
      return false;
    }
    if (token != NULL) {
      memcpy(to, out, size);
    }
    to += size;
  }
  if (token != NULL) {
    *to = '\0'; /* at the latest where the closing quote stood */
    *token = (struct cen_token){
        .kind = CEN_TOKEN_STRING, .has_nul = has_nul, .text = begin, .size = (size_t)(to - begin)};
  }
  return true;
}

/* ----------------------------------------------------------------- values */

static char *digits_end(char *at, const char *end)
{
  while (at < end && *at >= '0' && *at <= '9') {
    at++;
  }
  return at;
}

static bool number_read(struct cen_reader *r, struct cen_token *token)
{
  char *const begin = r->at;
  char *at = begin + (*begin == '-');
  char *whole = at;
  at = digits_end(at, r->end);
  bool fine = at > whole && (*whole != '0' || at == whole + 1);
  if (fine && at < r->end && *at == '.') {
    char *fraction = ++at;
    at = digits_end(at, r->end);
    fine = at > fraction;
  }
  if (fine && at < r->end && (*at == 'e' || *at == 'E')) {
    at++;
    at += at < r->end && (*at == '+' || *at == '-');
    char *exponent = at;
    at = digits_end(at, r->end);
    fine = at > exponent;
  }
  if (!fine) {
    return cen_reader_problem(r, "not a number");
  }
  r->at = at;
  *token =
      (struct cen_token){.kind = CEN_TOKEN_NUMBER, .text = begin, .size = (size_t)(at - begin)};
  return true;
}

static bool word_read(struct cen_reader *r, const char *word, size_t size)
{
  if ((size_t)(r->end - r->at) < size || memcmp(r->at, word, size) != 0) {
    return cen_reader_problem(r, "not a value");
  }
  r->at += size;
  return true;
}

static bool container_enter(struct cen_reader *r)
{
  if (r->depth >= r->limits.depth) {
    return ceiling_hit(r, "too deep");
  }
  r->depth++;
  r->at++;
  r->first = true;
  return true;
}

static bool value_read(struct cen_reader *r, struct cen_token *token, bool decode)
{
  *token = (struct cen_token){.kind = CEN_TOKEN_NULL};
  if (r->problem != NULL) {
    return false;
  }
  blanks_skip(r);
  if (r->at == r->end) {
    return cen_reader_problem(r, "it ends too early");
  }
  switch (*r->at) {
  case '"':
    r->at++;
    token->kind = CEN_TOKEN_STRING;
    return string_read(r, decode ? token : NULL);
  case '{':
    token->kind = CEN_TOKEN_OBJECT;
    return container_enter(r);
  case '[':
    token->kind = CEN_TOKEN_ARRAY;
    return container_enter(r);
  case 'n':
    return word_read(r, "null", 4);
  case 't':
    token->kind = CEN_TOKEN_TRUE;
    return word_read(r, "true", 4);
  case 'f':
    token->kind = CEN_TOKEN_FALSE;
    return word_read(r, "false", 5);
  default:
    return number_read(r, token);
  }
}

bool cen_read_value(struct cen_reader *r, struct cen_token *token)
{
  return value_read(r, token, true);
}

/* Inside a container: past the comma, in front of what comes next; false where it ended. */
static bool item_begins(struct cen_reader *r, char closing)
{
  if (r->problem != NULL) {
    return false;
  }
  blanks_skip(r);
  if (r->at == r->end) {
    return cen_reader_problem(r, "it ends too early");
  }
  if (*r->at == closing) {
    r->at++;
    r->depth--;
    r->first = false;
    return false;
  }
  if (!r->first) {
    if (*r->at != ',') {
      return cen_reader_problem(r, "no comma");
    }
    r->at++;
  }
  r->first = false;
  if (r->items >= r->limits.items) {
    return ceiling_hit(r, "too many members");
  }
  r->items++;
  return true;
}

bool cen_read_element(struct cen_reader *r)
{
  return item_begins(r, ']');
}

static bool name_read(struct cen_reader *r, struct cen_token *name)
{
  blanks_skip(r);
  if (r->at == r->end || *r->at != '"') {
    return cen_reader_problem(r, "no member name");
  }
  r->at++;
  if (!string_read(r, name)) {
    return false;
  }
  blanks_skip(r);
  if (r->at == r->end || *r->at != ':') {
    return cen_reader_problem(r, "no colon");
  }
  r->at++;
  return true;
}

bool cen_read_member(struct cen_reader *r, struct cen_token *name)
{
  *name = (struct cen_token){.kind = CEN_TOKEN_NULL};
  return item_begins(r, '}') && name_read(r, name);
}

static int name_find(const struct cen_token *name, const char *const names[], unsigned count)
{
  for (unsigned i = 0; i < count; i++) {
    if (strlen(names[i]) == name->size && memcmp(names[i], name->text, name->size) == 0) {
      return (int)i;
    }
  }
  return -1;
}

int cen_read_known(struct cen_reader *r, const char *const names[], unsigned count, uint64_t *seen)
{
  struct cen_token name;
  while (cen_read_member(r, &name)) {
    int index = name_find(&name, names, count);
    if (index < 0) {
      if (!cen_read_skip(r)) {
        return -1;
      }
      continue;
    }
    uint64_t bit = UINT64_C(1) << index;
    if ((*seen & bit) != 0) {
      cen_reader_problem(r, "a member comes twice");
      return -1;
    }
    *seen |= bit;
    return index;
  }
  return -1;
}

bool cen_read_skip(struct cen_reader *r)
{
  uint64_t objects[CEN_READER_MAX_DEPTH / 64] = {0}; /* a bit a level: object, or array */
  unsigned const outside = r->depth;
  struct cen_token token;
  if (!value_read(r, &token, false)) {
    return false;
  }
  while (r->depth > outside) {
    if (r->first) {
      unsigned level = r->depth - 1;
      uint64_t bit = UINT64_C(1) << (level % 64);
      bool object = token.kind == CEN_TOKEN_OBJECT;
      objects[level / 64] = object ? objects[level / 64] | bit : objects[level / 64] & ~bit;
    }
    unsigned level = r->depth - 1;
    bool object = (objects[level / 64] >> (level % 64) & 1) != 0;
    if (!item_begins(r, object ? '}' : ']')) {
      if (r->problem != NULL) {
        return false;
      }
      continue; /* one level up */
    }
    if ((object && !name_read(r, NULL)) || !value_read(r, &token, false)) {
      return false;
    }
  }
  return true;
}

bool cen_read_compact(struct cen_reader *r, struct cen_token *token)
{
  if (r->problem == NULL) {
    blanks_skip(r);
  }
  char *const begin = r->at;
  if (!cen_read_skip(r)) {
    return false;
  }
  char *to = begin;
  bool quoted = false;
  for (char *at = begin; at < r->at; at++) {
    char c = *at;
    if (!quoted && (c == ' ' || c == '\n' || c == '\r' || c == '\t')) {
      continue;
    }
    *to++ = c;
    if (c == '"') {
      quoted = !quoted;
    } else if (c == '\\') {
      *to++ = *++at; /* only in strings, and never their last byte */
    }
  }
  token->text = begin;
  token->size = (size_t)(to - begin);
  token->has_nul = false;
  return true;
}

bool cen_read_end(struct cen_reader *r)
{
  if (r->problem != NULL) {
    return false;
  }
  blanks_skip(r);
  return r->at == r->end || cen_reader_problem(r, "something follows");
}

/* ----------------------------------------------------------------- one kind */

static bool kind_read(struct cen_reader *r, struct cen_token *token, enum cen_token_kind kind,
                      bool *null, const char *problem)
{
  if (null != NULL) {
    *null = false;
  }
  if (!cen_read_value(r, token)) {
    return false;
  }
  if (null != NULL && token->kind == CEN_TOKEN_NULL) {
    *null = true;
    return true;
  }
  return token->kind == kind || cen_reader_problem(r, problem);
}

bool cen_read_object(struct cen_reader *r)
{
  struct cen_token token;
  return kind_read(r, &token, CEN_TOKEN_OBJECT, NULL, "not an object");
}

bool cen_read_array(struct cen_reader *r)
{
  struct cen_token token;
  return kind_read(r, &token, CEN_TOKEN_ARRAY, NULL, "not an array");
}

bool cen_read_string(struct cen_reader *r, struct cen_token *token, bool *null)
{
  return kind_read(r, token, CEN_TOKEN_STRING, null, "not a string");
}

bool cen_read_bool(struct cen_reader *r, bool *value, bool *null)
{
  struct cen_token token;
  if (null != NULL) {
    *null = false;
  }
  if (!cen_read_value(r, &token)) {
    return false;
  }
  if (null != NULL && token.kind == CEN_TOKEN_NULL) {
    *null = true;
    return true;
  }
  *value = token.kind == CEN_TOKEN_TRUE;
  return *value || token.kind == CEN_TOKEN_FALSE || cen_reader_problem(r, "not true or false");
}

bool cen_read_int(struct cen_reader *r, int64_t *value, bool *null)
{
  struct cen_token token;
  if (!kind_read(r, &token, CEN_TOKEN_NUMBER, null, "not a number")) {
    return false;
  }
  if (token.kind == CEN_TOKEN_NULL) {
    return true;
  }
  return cen_token_int(&token, value) || cen_reader_problem(r, "not a whole number in range");
}

bool cen_token_int(const struct cen_token *token, int64_t *value)
{
  const char *at = token->text;
  const char *end = at + token->size;
  bool negative = at < end && *at == '-';
  uint64_t number = 0;
  uint64_t most = negative ? UINT64_C(1) << 63 : INT64_MAX;
  at += negative;
  if (at == end) {
    return false;
  }
  for (; at < end; at++) {
    unsigned digit = (unsigned)(unsigned char)*at - '0';
    if (digit > 9 || number > (most - digit) / 10) {
      return false;
    }
    number = number * 10 + digit;
  }
  *value = negative ? (int64_t)(UINT64_C(0) - number) : (int64_t)number;
  return true;
}

bool cen_token_real(const struct cen_token *token, double *value)
{
  char small[128];
  char *text = small;
  const char *at = token->text + (token->size > 0 && token->text[0] == '-');
  if (token->size == 0 || at == token->text + token->size || *at < '0' || *at > '9') {
    return false; /* strtod would take blanks, "inf", "nan" and more */
  }
  for (size_t i = 0; i < token->size; i++) {
    char c = token->text[i];
    if ((c < '0' || c > '9') && c != '-' && c != '+' && c != '.' && c != 'e' && c != 'E') {
      return false;
    }
  }
  if (token->size >= sizeof(small) && (text = malloc(token->size + 1)) == NULL) {
    return false;
  }
  memcpy(text, token->text, token->size);
  text[token->size] = '\0';
  char *end;
  locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0); /* a static object in glibc and musl */
  *value = strtod_l(text, &end, plain);
  freelocale(plain);
  bool fine = *end == '\0';
  if (text != small) {
    free(text);
  }
  return fine;
}
