/* wire_hrana_request.c - what clients of Hrana send: each kind of request, value and condition, read
 * by a server; and the client's own bodies read back. */
#include "base/limits.h"
#include "base/rng.h"
#include "wire/hrana.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct cen_hrana_body body;
static char *memory;

static cenote_status decode(unsigned version, const char *text, size_t max_bytes,
                            cenote_error *error)
{
  size_t size = strlen(text);
  free(memory);
  memory = malloc(size > 0 ? size : 1);
  assert_non_null(memory);
  memcpy(memory, text, size);
  return version == 0 ? cen_hrana_cursor_decode(&body, memory, size, max_bytes, error)
                      : cen_hrana_pipeline_decode(&body, version, memory, size, max_bytes, error);
}

static int forget(void **state)
{
  (void)state;
  cen_hrana_body_deinit(&body);
  free(memory);
  memory = NULL;
  return 0;
}

static void fine(unsigned version, const char *text)
{
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_status status = decode(version, text, 10 << 20, &error);
  if (status != CENOTE_OK) {
    print_message("%s: %s\n", text, error.message);
  }
  assert_int_equal(status, CENOTE_OK);
}

static void refused(unsigned version, const char *text, const char *why)
{
  cenote_error error = CENOTE_ERROR_INIT;
  assert_int_equal(decode(version, text, 10 << 20, &error), CENOTE_INVALID);
  if (strstr(error.message, why) == NULL) {
    print_message("%s: %s\n", text, error.message);
  }
  assert_non_null(strstr(error.message, why));
  assert_int_equal(body.count, 0);
}

static void a_pipeline_may_be_empty_and_new(void **state)
{
  (void)state;
  fine(2, "{\"requests\":[]}");
  assert_null(body.baton);
  assert_int_equal(body.count, 0);
  forget(NULL);
  fine(3, "{\"baton\":null,\"requests\":[],\"extra\":{}}");
  assert_null(body.baton);
  forget(NULL);
  fine(2, "{\"requests\":[],\"baton\":\"b0\"}");
  assert_string_equal(body.baton, "b0");
  assert_int_equal(body.baton_size, 2);
}

static void every_kind_of_request_is_read(void **state)
{
  (void)state;
  fine(3, "{\"requests\":[{\"type\":\"execute\",\"stmt\":{\"sql\":\"select 1\"}},"
          "{\"batch\":{\"steps\":[]},\"type\":\"batch\"},"
          "{\"type\":\"sequence\",\"sql\":\"a; b\",\"sql_id\":null},"
          "{\"type\":\"describe\",\"sql_id\":7},"
          "{\"sql_id\":-2147483648,\"sql\":\"c\",\"type\":\"store_sql\"},"
          "{\"type\":\"close_sql\",\"sql_id\":2147483647},"
          "{\"type\":\"get_autocommit\",\"stmt\":5},"
          "{\"type\":\"close\"}]}");
  assert_int_equal(body.count, 8);
  for (unsigned i = 0; i < 8; i++) {
    assert_int_equal(body.requests[i].kind, i);
  }
  assert_string_equal(body.requests[0].as.stmt.sql.text, "select 1");
  assert_true(body.requests[0].as.stmt.want_rows);
  assert_int_equal(body.requests[1].as.batch.count, 0);
  assert_string_equal(body.requests[2].as.sql.text, "a; b");
  assert_false(body.requests[2].as.sql.has_id);
  assert_null(body.requests[3].as.sql.text);
  assert_true(body.requests[3].as.sql.has_id && body.requests[3].as.sql.id == 7);
  assert_int_equal(body.requests[4].as.sql.id, INT32_MIN);
  assert_string_equal(body.requests[4].as.sql.text, "c");
  assert_int_equal(body.requests[5].as.sql.id, INT32_MAX);
}

static void version_two_knows_less(void **state)
{
  (void)state;
  refused(2, "{\"requests\":[{\"type\":\"get_autocommit\"}]}", "version 2");
  static const char batch[] =
      "{\"requests\":[{\"type\":\"batch\",\"batch\":{\"steps\":[{\"stmt\":{\"sql\":\"a\"},"
      "\"condition\":{\"type\":\"not\",\"cond\":{\"type\":\"is_autocommit\"}}}]}}]}";
  refused(2, batch, "version 2");
  fine(3, batch);
}

static void a_statement_has_all_its_members(void **state)
{
  (void)state;
  fine(2,
       "{\"requests\":[{\"type\":\"execute\",\"stmt\":{\"sql_id\":null,\"replication_index\":null,"
       "\"args\":[{\"type\":\"null\"},{\"type\":\"integer\",\"value\":\"-9223372036854775808\"},"
       "{\"value\":7,\"type\":\"integer\"},{\"type\":\"float\",\"value\":2.5},"
       "{\"type\":\"float\",\"value\":42},{\"type\":\"float\",\"value\":-1e999},"
       "{\"type\":\"text\",\"value\":\"a\\u0000\\u00e9\"},{\"type\":\"blob\",\"base64\":\"AP8Q\"},"
       "{\"type\":\"blob\",\"base64\":\"Zg\"},{\"type\":\"blob\",\"base64\":\"Zg==\"},"
       "{\"type\":\"blob\",\"base64\":\"\"},{\"type\":\"text\",\"value\":\"\",\"base64\":null}],"
       "\"named_args\":[{\"name\":\":a\",\"value\":{\"type\":\"null\"}},"
       "{\"value\":{\"type\":\"text\",\"value\":\"x\"},\"name\":\"b\"}],"
       "\"want_rows\":false,\"sql\":\"s\"}}]}");
  const struct cen_hrana_stmt *stmt = &body.requests[0].as.stmt;
  assert_false(stmt->want_rows);
  assert_int_equal(stmt->count, 12);
  assert_int_equal(stmt->args[0].type, CENOTE_NULL);
  assert_true(stmt->args[1].as.integer == INT64_MIN);
  assert_int_equal(stmt->args[2].as.integer, 7);
  assert_true(stmt->args[3].as.real == 2.5);
  assert_int_equal(stmt->args[4].type, CENOTE_REAL);
  assert_true(stmt->args[5].as.real == -INFINITY);
  assert_int_equal(stmt->args[6].size, 4);
  assert_memory_equal(stmt->args[6].as.text, "a\0\xC3\xA9", 4);
  assert_memory_equal(stmt->args[7].as.blob, "\0\xFF\x10", 3);
  assert_int_equal(stmt->args[8].size, 1);
  assert_int_equal(stmt->args[9].size, 1);
  assert_int_equal(stmt->args[10].type, CENOTE_BLOB);
  assert_int_equal(stmt->args[10].size, 0);
  assert_int_equal(stmt->args[11].type, CENOTE_TEXT);
  assert_int_equal(stmt->named_count, 2);
  assert_string_equal(stmt->named[0].name, ":a");
  assert_string_equal(stmt->named[1].name, "b");
  assert_memory_equal(stmt->named[1].as.text, "x", 1);
}

static void nulls_count_as_absent(void **state)
{
  (void)state;
  fine(3, "{\"requests\":[{\"type\":\"execute\",\"stmt\":{\"sql\":null,\"sql_id\":1,\"args\":null,"
          "\"named_args\":null,\"want_rows\":null}},{\"type\":\"batch\",\"batch\":{\"steps\":["
          "{\"stmt\":{\"sql\":\"a\"},\"condition\":null}]}}]}");
  assert_true(body.requests[0].as.stmt.want_rows);
  assert_int_equal(body.requests[0].as.stmt.sql.id, 1);
  assert_null(body.requests[1].as.batch.steps[0].condition);
}

static void conditions_are_read_and_judged(void **state)
{
  (void)state;
  fine(
      0,
      "{\"baton\":\"b\",\"batch\":{\"steps\":[{\"stmt\":{\"sql\":\"a\"}},{\"stmt\":{\"sql\":\"b\"},"
      "\"condition\":{\"type\":\"ok\",\"step\":0}},{\"condition\":{\"conds\":[{\"type\":\"not\","
      "\"cond\":{\"type\":\"error\",\"step\":1}},{\"type\":\"or\",\"conds\":[{\"type\":\"ok\","
      "\"step\":0},{\"type\":\"is_autocommit\"}]}],\"type\":\"and\"},\"stmt\":{\"sql\":\"c\"}},"
      "{\"stmt\":{\"sql\":\"d\"},\"condition\":{\"type\":\"and\",\"conds\":[]}},"
      "{\"stmt\":{\"sql\":\"e\"},\"condition\":{\"type\":\"or\",\"conds\":[]}}]}}");
  assert_int_equal(body.count, 1);
  assert_int_equal(body.requests[0].kind, CEN_HRANA_BATCH);
  assert_int_equal(body.requests[0].as.batch.count, 5);
  const struct cen_hrana_step *steps = body.requests[0].as.batch.steps;
  enum cen_hrana_outcome ok[] = {CEN_HRANA_SUCCEEDED, CEN_HRANA_SUCCEEDED};
  enum cen_hrana_outcome failed[] = {CEN_HRANA_FAILED, CEN_HRANA_FAILED};
  enum cen_hrana_outcome skipped[] = {CEN_HRANA_SKIPPED, CEN_HRANA_SKIPPED};
  assert_true(cen_hrana_condition_holds(steps[0].condition, ok, false));
  assert_true(cen_hrana_condition_holds(steps[1].condition, ok, false));
  assert_false(cen_hrana_condition_holds(steps[1].condition, failed, false));
  assert_false(cen_hrana_condition_holds(steps[1].condition, skipped, false));
  assert_true(cen_hrana_condition_holds(steps[2].condition, ok, false));
  assert_false(cen_hrana_condition_holds(steps[2].condition, failed, true));
  assert_true(cen_hrana_condition_holds(steps[2].condition, skipped, true));
  assert_false(cen_hrana_condition_holds(steps[2].condition, skipped, false));
  assert_true(cen_hrana_condition_holds(steps[3].condition, ok, false));
  assert_false(cen_hrana_condition_holds(steps[4].condition, ok, false));
}

#define EXECUTE(stmt) "{\"requests\":[{\"type\":\"execute\",\"stmt\":" stmt "}]}"
#define ARG(value) EXECUTE("{\"sql\":\"s\",\"args\":[" value "]}")
#define CONDITION(condition)                                                                             \
  "{\"batch\":{\"steps\":[{\"stmt\":{\"sql\":\"a\"}},{\"stmt\":{\"sql\":\"b\"},\"condition\":" condition \
  "}]}}"

static void violations_of_the_protocol_are_refused(void **state)
{
  (void)state;
  refused(2, "", "too early");
  refused(2, "[]", "not an object");
  refused(2, "{}", "no requests");
  refused(2, "{\"requests\":null}", "not an array");
  refused(2, "{\"requests\":[]}x", "something follows");
  refused(2, "{\"requests\":[],\"baton\":1}", "not a string");
  refused(2, "{\"requests\":[],\"baton\":\"\\u0000\"}", "u0000");
  refused(2, "{\"requests\":[{}]}", "without a type");
  refused(2, "{\"requests\":[{\"type\":\"dance\"}]}", "unknown type");
  refused(2, "{\"requests\":[{\"type\":\"execute\"}]}", "without a stmt");
  refused(2, "{\"requests\":[{\"type\":\"batch\"}]}", "without a batch");
  refused(2, "{\"requests\":[{\"type\":\"batch\",\"batch\":{}}]}", "without steps");
  refused(2, "{\"requests\":[{\"type\":\"sequence\"}]}", "neither sql nor sql_id");
  refused(2, "{\"requests\":[{\"type\":\"describe\",\"sql\":\"a\",\"sql_id\":1}]}", "both");
  refused(2, "{\"requests\":[{\"type\":\"store_sql\",\"sql\":\"a\"}]}", "store_sql without");
  refused(2, "{\"requests\":[{\"type\":\"store_sql\",\"sql_id\":1}]}", "store_sql without");
  refused(2, "{\"requests\":[{\"type\":\"close_sql\"}]}", "close_sql without");
  refused(2, "{\"requests\":[{\"type\":\"close_sql\",\"sql_id\":2147483648}]}", "32 bits");
  refused(2, "{\"requests\":[{\"type\":\"close_sql\",\"sql_id\":1.5}]}", "whole number");
  refused(2, "{\"requests\":[{\"type\":\"close\"},{\"type\":\"close\"}]}", "after close");
  refused(2, "{\"requests\":[{\"type\":\"close\",\"type\":\"close\"}]}", "twice");
  refused(2, EXECUTE("{}"), "neither sql nor sql_id");
  refused(2, EXECUTE("{\"sql\":\"a\",\"sql_id\":1}"), "both sql and sql_id");
  refused(2, EXECUTE("{\"sql\":\"a\\u0000\"}"), "u0000");
  refused(2, EXECUTE("{\"sql\":\"a\",\"args\":{}}"), "no array");
  refused(2, EXECUTE("{\"sql\":\"a\",\"want_rows\":1}"), "not true or false");
  refused(2, EXECUTE("{\"sql\":\"a\",\"named_args\":[{\"name\":\"x\"}]}"), "without a name");
  refused(2, EXECUTE("{\"sql\":\"a\",\"named_args\":[{\"value\":{\"type\":\"null\"}}]}"),
          "without");
  refused(2, ARG("1"), "not an object");
  refused(2, ARG("{}"), "unknown type");
  refused(2, ARG("{\"type\":\"date\",\"value\":1}"), "unknown type");
  refused(2, ARG("{\"type\":null}"), "unknown type");
  refused(2, ARG("{\"type\":\"integer\"}"), "without a value");
  refused(2, ARG("{\"type\":\"integer\",\"value\":\"9223372036854775808\"}"), "64 bits");
  refused(2, ARG("{\"type\":\"integer\",\"value\":\"1x\"}"), "64 bits");
  refused(2, ARG("{\"type\":\"integer\",\"value\":1.5}"), "64 bits");
  refused(2, ARG("{\"type\":\"integer\",\"value\":null}"), "64 bits");
  refused(2, ARG("{\"type\":\"float\",\"value\":\"1\"}"), "no number");
  refused(2, ARG("{\"type\":\"text\",\"value\":1}"), "no string");
  refused(2, ARG("{\"type\":\"text\",\"value\":[]}"), "array or object");
  refused(2, ARG("{\"type\":\"text\",\"value\":\"\\ud800\"}"), "surrogate");
  refused(2, ARG("{\"type\":\"blob\",\"value\":\"AA==\"}"), "without a value");
  refused(2, ARG("{\"type\":\"blob\",\"base64\":\"A\"}"), "not base64");
  refused(2, ARG("{\"type\":\"blob\",\"base64\":\"-_-_\"}"), "not base64");
  refused(0, "{}", "no batch");
  refused(0, "{\"batch\":{\"steps\":[{}]}}", "without a stmt");
  refused(0, CONDITION("1"), "no object");
  refused(0, CONDITION("{}"), "not whole");
  refused(0, CONDITION("{\"type\":\"ok\"}"), "not whole");
  refused(0, CONDITION("{\"type\":\"not\"}"), "not whole");
  refused(0, CONDITION("{\"type\":\"and\"}"), "not whole");
  refused(0, CONDITION("{\"type\":\"maybe\"}"), "unknown type");
  refused(0, CONDITION("{\"type\":\"ok\",\"step\":1}"), "does not come before");
  refused(0, CONDITION("{\"type\":\"error\",\"step\":-1}"), "does not come before");
  refused(0, CONDITION("{\"type\":\"ok\",\"step\":4294967296}"), "does not come before");
}

static cenote_status nested(unsigned depth, const char *open, const char *close)
{
  char text[4000] = "{\"batch\":{\"steps\":[{\"stmt\":{\"sql\":\"b\"},\"condition\":";
  size_t used = strlen(text);
  for (unsigned i = 1; i < depth; i++) {
    used += (size_t)snprintf(text + used, sizeof(text) - used, "%s", open);
  }
  used += (size_t)snprintf(text + used, sizeof(text) - used, "{\"type\":\"is_autocommit\"}");
  for (unsigned i = 1; i < depth; i++) {
    used += (size_t)snprintf(text + used, sizeof(text) - used, "%s", close);
  }
  (void)snprintf(text + used, sizeof(text) - used, "}]}}");
  return decode(0, text, sizeof(text), NULL);
}

static void ceilings_hold_exactly(void **state)
{
  (void)state;
  cenote_error error = CENOTE_ERROR_INIT;
  static const char not_open[] = "{\"type\":\"not\",\"cond\":";
  static const char and_open[] = "{\"type\":\"and\",\"conds\":[";
  assert_int_equal(nested(CEN_HRANA_CONDITION_DEPTH, not_open, "}"), CENOTE_OK);
  forget(NULL);
  assert_int_equal(nested(CEN_HRANA_CONDITION_DEPTH + 1, not_open, "}"), CENOTE_TOO_LARGE);
  assert_int_equal(nested(CEN_HRANA_CONDITION_DEPTH, and_open, "]}"), CENOTE_OK);
  forget(NULL);
  assert_int_equal(nested(CEN_HRANA_CONDITION_DEPTH + 1, and_open, "]}"), CENOTE_TOO_LARGE);
  static const char text[] = "{\"requests\":[]}";
  assert_int_equal(decode(2, text, sizeof(text) - 1, &error), CENOTE_OK);
  forget(NULL);
  assert_int_equal(decode(2, text, sizeof(text) - 2, &error), CENOTE_TOO_LARGE);
}

/* ----------------------------------------------------------------- the client's */

static void a_client_writes_what_the_notes_show(void **state)
{
  (void)state;
  struct cen_buf buf;
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_value named = cenote_real(2.5);
  named.name = ":x";
  const cenote_value args[] = {cenote_null(),
                               cenote_integer(-5),
                               cenote_real(2.5),
                               cenote_text("\xC3\xA9"),
                               cenote_blob("\0\xFF\x10\x20", 4),
                               cenote_boolean(true),
                               cenote_real(NAN)};
  struct cen_hrana_request requests[] = {
      {.kind = CEN_HRANA_EXECUTE,
       .as.stmt = {.sql = {"s", 1, 0, false},
                   .args = args,
                   .count = 7,
                   .named = &named,
                   .named_count = 1}},
      {.kind = CEN_HRANA_STORE_SQL, .as.sql = {"t", 1, -3, true}},
      {.kind = CEN_HRANA_CLOSE}};
  cen_buf_init(&buf, 10000);
  assert_int_equal(cen_hrana_pipeline_put(&buf, "b0", requests, 3, &error), CENOTE_OK);
  assert_string_equal(
      buf.data,
      "{\"baton\":\"b0\",\"requests\":[{\"type\":\"execute\",\"stmt\":{\"sql\":\"s\",\"args\":["
      "{\"type\":\"null\"},{\"type\":\"integer\",\"value\":\"-5\"},{\"type\":\"float\",\"value\":2.5},"
      "{\"type\":\"text\",\"value\":\"\xC3\xA9\"},{\"type\":\"blob\",\"base64\":\"AP8QIA==\"},"
      "{\"type\":\"integer\",\"value\":\"1\"},{\"type\":\"null\"}],\"named_args\":[{\"name\":\":x\","
      "\"value\":{\"type\":\"float\",\"value\":2.5}}],\"want_rows\":false}},"
      "{\"type\":\"store_sql\",\"sql\":\"t\",\"sql_id\":-3},{\"type\":\"close\"}]}");
  cen_buf_deinit(&buf);
  assert_int_equal(cen_hrana_pipeline_put(&buf, NULL, NULL, 0, &error), CENOTE_OK);
  assert_string_equal(buf.data, "{\"baton\":null,\"requests\":[]}");
  cen_buf_deinit(&buf);
  struct cen_hrana_condition low = {.kind = CEN_HRANA_OK, .step = 0};
  struct cen_hrana_condition high = {.kind = CEN_HRANA_NOT, .below = &low, .count = 1};
  const struct cen_hrana_step steps[] = {{requests[0].as.stmt, NULL},
                                         {{.sql = {NULL, 0, 4, true}, .want_rows = true}, &high}};
  assert_int_equal(cen_hrana_cursor_put(&buf, NULL, steps + 1, 1, &error), CENOTE_OK);
  assert_string_equal(
      buf.data, "{\"baton\":null,\"batch\":{\"steps\":[{\"stmt\":{\"sql_id\":4,\"want_rows\":"
                "true},\"condition\":{\"type\":\"not\",\"cond\":{\"type\":\"ok\",\"step\":0}}}]}}");
  cen_buf_deinit(&buf);
}

static void a_client_refuses_what_cannot_be_sent(void **state)
{
  (void)state;
  struct cen_buf buf;
  cenote_value wrong[] = {cenote_text("\xFF"), cenote_real(INFINITY)};
  for (int i = 0; i < 2; i++) {
    struct cen_hrana_request request = {
        .as.stmt = {.sql = {"s", 1, 0, false}, .args = &wrong[i], .count = 1}};
    cen_buf_init(&buf, 1000);
    assert_int_equal(cen_hrana_pipeline_put(&buf, NULL, &request, 1, NULL), CENOTE_INVALID);
    cen_buf_deinit(&buf);
  }
  struct cen_hrana_request nothing = {.kind = CEN_HRANA_DESCRIBE};
  cen_buf_init(&buf, 1000);
  assert_int_equal(cen_hrana_pipeline_put(&buf, NULL, &nothing, 1, NULL), CENOTE_INVALID);
  cen_buf_deinit(&buf);
  cen_buf_init(&buf, 20);
  assert_int_equal(cen_hrana_pipeline_put(&buf, NULL, NULL, 0, NULL), CENOTE_TOO_LARGE);
  cen_buf_deinit(&buf);
}

/* ----------------------------------------------------------------- both */

struct made {
  struct cen_rng rng;
  char text[4096];
  size_t used;
  struct cen_hrana_condition conditions[64];
  size_t condition_count;
};

static const char *text_make(struct made *m, size_t *size)
{
  static const char *const pieces[] = {"a", "\"", "\\", "\n", "\xC3\xA9", "\xF0\x9F\x98\x80"};
  char *begin = m->text + m->used;
  for (uint64_t i = cen_rng_below(&m->rng, 6); i > 0 && m->used + 8 < sizeof(m->text); i--) {
    const char *piece = pieces[cen_rng_below(&m->rng, 6)];
    memcpy(m->text + m->used, piece, strlen(piece));
    m->used += strlen(piece);
  }
  *size = (size_t)(m->text + m->used - begin);
  m->text[m->used++] = '\0';
  return begin;
}

static cenote_value value_make(struct made *m)
{
  size_t size;
  const char *text;
  switch (cen_rng_below(&m->rng, 5)) {
  case 0:
    return cenote_null();
  case 1:
    return cenote_integer((int64_t)cen_rng_next(&m->rng));
  case 2:
    return cenote_real((double)(int64_t)cen_rng_next(&m->rng) / 1048576.0);
  case 3:
    text = text_make(m, &size);
    return cenote_text_n(text, size);
  default:
    text = text_make(m, &size);
    return cenote_blob(text, size);
  }
}

static void condition_make(struct made *m, struct cen_hrana_condition *c, size_t step, int depth)
{
  uint64_t kind = cen_rng_below(&m->rng, 6);
  *c = (struct cen_hrana_condition){.kind = (enum cen_hrana_condition_kind)kind};
  if (kind <= CEN_HRANA_ERROR) {
    c->step = (int32_t)cen_rng_below(&m->rng, step);
  } else if (kind != CEN_HRANA_IS_AUTOCOMMIT) {
    c->count = kind == CEN_HRANA_NOT ? 1 : (size_t)cen_rng_below(&m->rng, 3);
    if (depth == 0 || m->condition_count + c->count > 64) {
      *c = (struct cen_hrana_condition){.kind = CEN_HRANA_IS_AUTOCOMMIT};
      return;
    }
    c->below = &m->conditions[m->condition_count];
    m->condition_count += c->count;
    for (size_t i = 0; i < c->count; i++) {
      condition_make(m, &c->below[i], step, depth - 1);
    }
  }
}

static void values_equal(const cenote_value *a, const cenote_value *b, size_t count)
{
  for (size_t i = 0; i < count; i++) {
    assert_int_equal(a[i].type, b[i].type);
    assert_int_equal(a[i].size, b[i].size);
    if (a[i].type == CENOTE_TEXT || a[i].type == CENOTE_BLOB) {
      assert_memory_equal(a[i].as.text, b[i].as.text, a[i].size);
    } else if (a[i].type != CENOTE_NULL) {
      assert_true(a[i].as.integer == b[i].as.integer);
    }
    if (b[i].name != NULL) {
      assert_string_equal(a[i].name, b[i].name);
    }
  }
}

static void conditions_equal(const struct cen_hrana_condition *a,
                             const struct cen_hrana_condition *b)
{
  assert_int_equal(a->kind, b->kind);
  assert_int_equal(a->step, b->step);
  assert_int_equal(a->count, b->count);
  for (size_t i = 0; i < a->count; i++) {
    conditions_equal(&a->below[i], &b->below[i]);
  }
}

static void what_a_client_writes_the_server_reads(void **state)
{
  (void)state;
  static struct made m;
  cen_rng_seed(&m.rng, 9);
  for (int run = 0; run < 500; run++) {
    struct cen_hrana_step steps[5];
    struct cen_hrana_condition top[5];
    cenote_value args[4];
    cenote_value named[2];
    struct cen_buf buf;
    size_t size;
    m.used = m.condition_count = 0;
    for (int i = 0; i < 4; i++) {
      args[i] = value_make(&m);
    }
    for (int i = 0; i < 2; i++) {
      named[i] = value_make(&m);
      named[i].name = text_make(&m, &size);
    }
    for (size_t i = 0; i < 5; i++) {
      bool by_id = cen_rng_below(&m.rng, 3) == 0;
      steps[i] = (struct cen_hrana_step){.stmt = {.args = args,
                                                  .count = (size_t)cen_rng_below(&m.rng, 5),
                                                  .named = named,
                                                  .named_count = (size_t)cen_rng_below(&m.rng, 3),
                                                  .want_rows = cen_rng_below(&m.rng, 2) == 0}};
      if (by_id) {
        steps[i].stmt.sql.id = (int32_t)cen_rng_next(&m.rng);
        steps[i].stmt.sql.has_id = true;
      } else {
        steps[i].stmt.sql.text = text_make(&m, &steps[i].stmt.sql.size);
      }
      if (i > 0 && cen_rng_below(&m.rng, 3) > 0) {
        condition_make(&m, &top[i], i, 4);
        steps[i].condition = &top[i];
      }
    }
    cen_buf_init(&buf, 1 << 20);
    assert_int_equal(cen_hrana_cursor_put(&buf, "baton", steps, 5, NULL), CENOTE_OK);
    assert_int_equal(cen_hrana_cursor_decode(&body, buf.data, buf.size, 1 << 20, NULL), CENOTE_OK);
    assert_string_equal(body.baton, "baton");
    for (size_t i = 0; i < 5; i++) {
      const struct cen_hrana_step *got = &body.requests[0].as.batch.steps[i];
      assert_int_equal(got->stmt.sql.has_id, steps[i].stmt.sql.has_id);
      assert_int_equal(got->stmt.sql.id, steps[i].stmt.sql.id);
      if (!got->stmt.sql.has_id) {
        assert_string_equal(got->stmt.sql.text, steps[i].stmt.sql.text);
      }
      assert_int_equal(got->stmt.want_rows, steps[i].stmt.want_rows);
      assert_int_equal(got->stmt.count, steps[i].stmt.count);
      assert_int_equal(got->stmt.named_count, steps[i].stmt.named_count);
      values_equal(got->stmt.args, args, got->stmt.count);
      values_equal(got->stmt.named, named, got->stmt.named_count);
      assert_int_equal(got->condition == NULL, steps[i].condition == NULL);
      if (got->condition != NULL) {
        conditions_equal(got->condition, steps[i].condition);
      }
    }
    cen_hrana_body_deinit(&body);
    cen_buf_deinit(&buf);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_teardown(a_pipeline_may_be_empty_and_new, forget),
      cmocka_unit_test_teardown(every_kind_of_request_is_read, forget),
      cmocka_unit_test_teardown(version_two_knows_less, forget),
      cmocka_unit_test_teardown(a_statement_has_all_its_members, forget),
      cmocka_unit_test_teardown(nulls_count_as_absent, forget),
      cmocka_unit_test_teardown(conditions_are_read_and_judged, forget),
      cmocka_unit_test_teardown(violations_of_the_protocol_are_refused, forget),
      cmocka_unit_test_teardown(ceilings_hold_exactly, forget),
      cmocka_unit_test(a_client_writes_what_the_notes_show),
      cmocka_unit_test(a_client_refuses_what_cannot_be_sent),
      cmocka_unit_test(what_a_client_writes_the_server_reads),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
