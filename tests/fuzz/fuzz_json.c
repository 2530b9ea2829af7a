/*
 * fuzz_json.c - any bytes to the JSON reader: skipping and reading agree and skipping changes
 * nothing, a value made compact is the same value and stays as it is, and each string that is read
 * can be written and read again.
 */
#include "wire/json_put.h"
#include "wire/json_reader.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct cen_reader_limits limits = {1 << 16, 64, 10000};

static void require(bool truth)
{
  if (!truth) {
    abort();
  }
}

static char *copy_of(const void *data, size_t size)
{
  char *copy = malloc(size > 0 ? size : 1);
  require(copy != NULL);
  if (size > 0) {
    memcpy(copy, data, size);
  }
  return copy;
}

static bool is_whole(char *text, size_t size)
{
  struct cen_reader r;
  cen_reader_init(&r, text, size, &limits);
  return cen_read_skip(&r) && cen_read_end(&r);
}

static void string_survives(const struct cen_token *token)
{
  struct cen_buf buf;
  struct cen_reader r;
  struct cen_token again;
  cen_buf_init(&buf, 1 << 20);
  require(cen_put_string(&buf, token->text, token->size));
  cen_reader_init(&r, buf.data, buf.size, &limits);
  if (buf.size <= limits.bytes) {
    require(cen_read_value(&r, &again) && cen_read_end(&r));
    require(again.size == token->size && memcmp(again.text, token->text, again.size) == 0);
    require(again.has_nul == (memchr(again.text, '\0', again.size) != NULL));
  }
  cen_buf_deinit(&buf);
}

/* Reads everything; the depth is limited by the reader. */
static bool walk(struct cen_reader *r)
{
  struct cen_token token;
  int64_t integer;
  double real;
  if (!cen_read_value(r, &token)) {
    return false;
  }
  switch (token.kind) {
  case CEN_TOKEN_STRING:
    string_survives(&token);
    break;
  case CEN_TOKEN_NUMBER:
    (void)cen_token_int(&token, &integer);
    require(cen_token_real(&token, &real));
    break;
  case CEN_TOKEN_ARRAY:
    while (cen_read_element(r) && walk(r)) {
    }
    break;
  case CEN_TOKEN_OBJECT:
    while (cen_read_member(r, &token)) {
      string_survives(&token);
      if (!walk(r)) {
        break;
      }
    }
    break;
  case CEN_TOKEN_NULL:
  case CEN_TOKEN_FALSE:
  case CEN_TOKEN_TRUE:
    break;
  }
  return r->problem == NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  struct cen_reader r;
  struct cen_token token;
  char *text = copy_of(data, size);
  bool whole = is_whole(text, size);
  require(size == 0 || memcmp(text, data, size) == 0);
  cen_reader_init(&r, text, size, &limits);
  require((walk(&r) && cen_read_end(&r)) == whole);
  free(text);
  text = copy_of(data, size);
  cen_reader_init(&r, text, size, &limits);
  require((cen_read_compact(&r, &token) && cen_read_end(&r)) == whole);
  if (whole) {
    char *compact = copy_of(token.text, token.size);
    size_t length = token.size;
    require(is_whole(compact, length));
    cen_reader_init(&r, compact, length, &limits);
    require(cen_read_compact(&r, &token));
    require(token.size == length);
    free(compact);
  }
  free(text);
  return 0;
}
