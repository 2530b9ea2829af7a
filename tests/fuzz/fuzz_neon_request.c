/*
 * fuzz_neon_request.c - any bytes to the decoder of Neon's requests: nothing crashes or leaks, every
 * statement is terminated text and every parameter is UTF-8 without a NUL, and what was read can be
 * written by the client's side and reads the same again.
 */
#include "base/text.h"
#include "wire/neon.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MOST = 1 << 20 };

static void require(bool truth)
{
  if (!truth) {
    abort();
  }
}

static void is_text(const char *text, size_t size)
{
  for (size_t at = 0; at < size;) {
    size_t bytes = cen_utf8_next(text + at, size - at);
    require(bytes > 0 && text[at] != '\0');
    at += bytes;
  }
}

static void queries_are_sound(const struct cen_neon_request *request)
{
  require(request->batch || request->count == 1);
  for (size_t i = 0; i < request->count; i++) {
    const struct cen_neon_query *query = &request->queries[i];
    require(strlen(query->sql) == query->sql_size);
    is_text(query->sql, query->sql_size);
    require(query->array_mode >= -1 && query->array_mode <= 1);
    for (size_t j = 0; j < query->count; j++) {
      require(query->args[j].type == CENOTE_NULL || query->args[j].type == CENOTE_TEXT);
      if (query->args[j].type == CENOTE_TEXT) {
        is_text(query->args[j].as.text, query->args[j].size);
      }
    }
  }
}

static void queries_are_equal(const struct cen_neon_request *a, const struct cen_neon_request *b)
{
  require(a->batch == b->batch && a->count == b->count);
  for (size_t i = 0; i < a->count; i++) {
    const struct cen_neon_query *x = &a->queries[i];
    const struct cen_neon_query *y = &b->queries[i];
    require(strcmp(x->sql, y->sql) == 0 && x->count == y->count && x->array_mode == y->array_mode);
    for (size_t j = 0; j < x->count; j++) {
      require(x->args[j].type == y->args[j].type && x->args[j].size == y->args[j].size);
      require(x->args[j].size == 0 ||
              memcmp(x->args[j].as.text, y->args[j].as.text, x->args[j].size) == 0);
    }
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  struct cen_neon_request request;
  struct cen_neon_request again;
  cenote_error error = CENOTE_ERROR_INIT;
  char *body = malloc(size > 0 ? size : 1);
  require(body != NULL);
  if (size > 0) {
    memcpy(body, data, size);
  }
  if (cen_neon_request_decode(&request, body, size, MOST, &error) == CENOTE_OK) {
    struct cen_buf buf;
    cen_buf_init(&buf, MOST);
    queries_are_sound(&request);
    require(cen_neon_request_put(&buf, request.queries, request.count, request.batch, &error) ==
            CENOTE_OK);
    require(cen_neon_request_decode(&again, buf.data, buf.size, MOST, &error) == CENOTE_OK);
    queries_are_equal(&request, &again);
    cen_neon_request_deinit(&again);
    cen_neon_request_deinit(&request);
    cen_buf_deinit(&buf);
  } else {
    require(error.status != CENOTE_OK && error.message[0] != '\0');
  }
  free(body);
  return 0;
}
