/* wire_torture.c - every allocation of the message bodies fails once: CENOTE_NO_MEMORY, no leak, no
 * half-written body taken for a whole one. */
#include "base/result.h"
#include "support/alloc_torture.h"
#include "wire/hrana.h"
#include "wire/neon.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { BODY = 1 << 20 };
static char text[BODY];

/* Fine, or out of memory where memory was refused. */
static bool is_fine(cenote_status status)
{
  if (status != CENOTE_OK) {
    assert_int_equal(status, CENOTE_NO_MEMORY);
    assert_true(alloc_torture_struck());
  }
  return status == CENOTE_OK;
}

static size_t body_set(const struct cen_buf *buf)
{
  assert_true(buf->size < BODY);
  memcpy(text, buf->data, buf->size);
  return buf->size;
}

/* ----------------------------------------------------------------- Neon */

static void neon_request(void *context)
{
  (void)context;
  enum { ARGS = 200, QUERIES = 40 };
  static char large[300];
  cenote_value args[ARGS];
  struct cen_neon_query queries[QUERIES];
  struct cen_neon_request request;
  struct cen_buf buf;
  memset(large, 'x', sizeof(large));
  for (int i = 0; i < ARGS; i++) {
    args[i] = cenote_text_n(large, sizeof(large));
  }
  for (int i = 0; i < QUERIES; i++) {
    queries[i] = (struct cen_neon_query){"q", 1, args, i == 3 ? ARGS : 1, -1};
  }
  cen_buf_init(&buf, BODY - 1);
  if (is_fine(cen_neon_request_put(&buf, queries, QUERIES, true, NULL)) &&
      is_fine(cen_neon_request_decode(&request, text, body_set(&buf), BODY, NULL))) {
    assert_int_equal(request.count, QUERIES);
    assert_int_equal(request.queries[3].count, ARGS);
    cen_neon_request_deinit(&request);
  }
  cen_buf_deinit(&buf);
  size_t size = (size_t)snprintf(text, BODY, "{\"query\":\"q\",\"params\":[[");
  for (int i = 0; i < 1000; i++) {
    size += (size_t)snprintf(text + size, BODY - size, "%s\"element\"", i > 0 ? "," : "");
  }
  size += (size_t)snprintf(text + size, BODY - size, "]]}");
  if (is_fine(cen_neon_request_decode(&request, text, size, BODY, NULL))) {
    assert_int_equal(request.queries[0].args[0].size, 1000 * 10 + 1);
    cen_neon_request_deinit(&request);
  }
}

static void neon_url(void *context)
{
  (void)context;
  struct cen_neon_url url;
  static const char whole[] = "postgres://u:p@h/d";
  if (is_fine(cen_neon_url_parse(&url, whole, sizeof(whole) - 1, NULL))) {
    assert_string_equal(url.database, "d");
  }
  cen_neon_url_deinit(&url);
}

static void neon_answer(void *context)
{
  (void)context;
  enum { COLUMNS = 20 };
  cenote_column columns[COLUMNS];
  cenote_value row[COLUMNS];
  struct cen_buf buf;
  struct cenote_sink sink;
  struct cen_neon_answer answer;
  struct cen_neon_writer w = {.buf = &buf, .array_mode = true};
  for (int i = 0; i < COLUMNS; i++) {
    columns[i] = (cenote_column){.name = "a column", .oid = i % 2 == 0 ? 1009 : 25};
    row[i] = cenote_text("{\"some text that is long enough for a buffer of its own, and more\"}");
  }
  cen_buf_init(&buf, BODY - 1);
  cen_neon_result_begin(&w, columns, NULL, COLUMNS);
  for (int i = 0; i < 50; i++) {
    cen_neon_result_row(&w, row);
  }
  cen_neon_result_end(&w, "SELECT 50");
  if (buf.failed) {
    assert_true(alloc_torture_struck());
  } else if (is_fine(cen_sink_init_result(&sink, 0, 0, NULL))) {
    cenote_status status = cen_neon_answer_open(&answer, 200, text, body_set(&buf), BODY, NULL);
    if (is_fine(status) && is_fine(cen_neon_answer_next(&answer, false, &sink, NULL))) {
      cenote_result *result = cen_sink_take(&sink);
      assert_int_equal(cenote_result_rows(result), 50);
      buf.size = 0;
      assert_true(cen_neon_result_put(&w, result, NULL) || alloc_torture_struck());
      cenote_result_free(result);
    }
    cen_neon_answer_close(&answer);
    cen_sink_deinit(&sink);
  }
  cen_buf_deinit(&buf);
}

static void errors(void *context)
{
  (void)context;
  cenote_error error = CENOTE_ERROR_INIT;
  struct cen_neon_answer neon;
  struct cen_hrana_answer hrana;
  size_t size = (size_t)snprintf(text, BODY, "{\"message\":\"m\",\"code\":\"42601\"}");
  cenote_status status = cen_neon_answer_open(&neon, 400, text, size, BODY, &error);
  assert_true(status == CENOTE_DATABASE || !is_fine(status));
  cen_neon_answer_close(&neon);
  status = cen_hrana_answer_open(&hrana, 400, text, size, BODY, 1, &error);
  assert_true(status == CENOTE_DATABASE || !is_fine(status));
  cen_hrana_answer_close(&hrana);
}

/* ----------------------------------------------------------------- Hrana */

static void hrana_request(void *context)
{
  (void)context;
  enum { ARGS = 100, STEPS = 60 };
  cenote_value args[ARGS];
  struct cen_hrana_step steps[STEPS];
  struct cen_hrana_condition below[8];
  struct cen_hrana_condition condition = {.kind = CEN_HRANA_AND, .below = below, .count = 8};
  struct cen_hrana_body body;
  struct cen_buf buf;
  for (int i = 0; i < 8; i++) {
    below[i] = (struct cen_hrana_condition){.kind = CEN_HRANA_IS_AUTOCOMMIT};
  }
  for (int i = 0; i < ARGS; i++) {
    args[i] = cenote_blob("bytes", 5);
  }
  for (int i = 0; i < STEPS; i++) {
    steps[i] = (struct cen_hrana_step){
        .stmt = {.sql = {"s", 1, 0, false}, .args = args, .count = i == 5 ? ARGS : 1},
        .condition = &condition};
  }
  cen_buf_init(&buf, BODY - 1);
  if (is_fine(cen_hrana_cursor_put(&buf, "b", steps, STEPS, NULL)) &&
      is_fine(cen_hrana_cursor_decode(&body, text, body_set(&buf), BODY, NULL))) {
    assert_int_equal(body.requests[0].as.batch.count, STEPS);
    cen_hrana_body_deinit(&body);
  }
  cen_buf_deinit(&buf);
}

static void hrana_write(struct cen_hrana_writer *w)
{
  static const cenote_column columns[20] = {{.name = "a", .type = "TEXT"}};
  const char *const params[] = {":a", NULL};
  const struct cen_hrana_description description = {params, 2, columns, 20, false, true};
  cenote_value row[20];
  for (int i = 0; i < 20; i++) {
    row[i] = cenote_text("some text");
  }
  cen_hrana_pipeline_begin(w, "b", NULL);
  cen_hrana_ok_begin(w, CEN_HRANA_BATCH);
  cen_hrana_batch_begin(w);
  for (int i = 0; i < 40; i++) {
    cen_hrana_step_begin(w);
    cen_hrana_stmt_begin(w, columns, 20);
    (void)cen_hrana_stmt_row(w, row, 20);
    cen_hrana_stmt_end(w, 0, NULL);
    cen_hrana_step_error(w, "a message", "A_CODE");
  }
  cen_hrana_batch_end(w);
  cen_hrana_ok_end(w);
  cen_hrana_describe_put(w, &description);
  cen_hrana_pipeline_end(w);
}

static void hrana_answer(void *context)
{
  (void)context;
  struct cen_buf buf;
  struct cen_hrana_writer w = {.buf = &buf};
  struct cen_hrana_answer answer;
  struct cen_hrana_description description;
  enum cen_hrana_outcome outcome;
  cen_buf_init(&buf, BODY - 1);
  hrana_write(&w);
  if (buf.failed) {
    assert_true(alloc_torture_struck());
    cen_buf_deinit(&buf);
    return;
  }
  cenote_status status = cen_hrana_answer_open(&answer, 200, text, body_set(&buf), BODY, 2, NULL);
  bool fine =
      is_fine(status) && is_fine(cen_hrana_answer_next(&answer, CEN_HRANA_BATCH, NULL, NULL, NULL));
  for (int i = 0; fine && i < 40; i++) {
    fine = is_fine(cen_hrana_answer_step(&answer, NULL, &outcome, NULL));
    fine = fine && is_fine(cen_hrana_answer_step(&answer, NULL, &outcome, NULL));
  }
  if (fine && is_fine(cen_hrana_answer_next(&answer, CEN_HRANA_DESCRIBE, NULL, NULL, NULL)) &&
      is_fine(cen_hrana_answer_describe(&answer, &description, NULL))) {
    assert_int_equal(description.column_count, 20);
  }
  cen_hrana_answer_close(&answer);
  cen_buf_deinit(&buf);
}

static void hrana_cursor(void *context)
{
  (void)context;
  static const cenote_column columns[20] = {{.name = "a", .type = "TEXT"}};
  cenote_value row[20] = {{.type = CENOTE_NULL}};
  struct cen_buf buf;
  struct cen_hrana_cursor cursor;
  struct cen_hrana_entry entry;
  size_t entries = 0;
  cen_buf_init(&buf, BODY - 1);
  cen_hrana_cursor_baton(&buf, NULL, NULL);
  cen_hrana_cursor_step_begin(&buf, 0, columns, 20);
  for (int i = 0; i < 20; i++) {
    (void)cen_hrana_cursor_row(&buf, row, 20);
  }
  cen_hrana_cursor_step_end(&buf, 0, NULL);
  assert_true(!buf.failed || alloc_torture_struck());
  cen_hrana_cursor_init(&cursor, BODY);
  bool fine = !buf.failed;
  for (size_t at = 0; fine && at < buf.size; at += 100) {
    size_t now = buf.size - at < 100 ? buf.size - at : 100;
    bool has = true;
    fine = is_fine(cen_hrana_cursor_feed(&cursor, buf.data + at, now, NULL));
    while (fine && has) {
      fine = is_fine(cen_hrana_cursor_next(&cursor, &has, &entry, NULL));
      entries += has;
    }
  }
  assert_true(!fine || entries == 23);
  cen_hrana_cursor_deinit(&cursor);
  cen_buf_deinit(&buf);
}

static void each_allocation_may_fail(void **state)
{
  (void)state;
  static void (*const bodies[])(void *) = {neon_request,  neon_url,     neon_answer, errors,
                                           hrana_request, hrana_answer, hrana_cursor};
  for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
    assert_true(alloc_torture(bodies[i], NULL, ALLOC_TORTURE_BALANCED) > 0);
    assert_true(alloc_torture(bodies[i], NULL, ALLOC_TORTURE_ONWARD) > 0);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(each_allocation_may_fail),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
