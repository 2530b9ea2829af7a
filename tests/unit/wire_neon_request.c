/* wire_neon_request.c - what a server reads of Neon's protocol: headers, URL, body; and the client's
 * body read back. */
#include "base/limits.h"
#include "base/rng.h"
#include "wire/neon.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ----------------------------------------------------------------- headers */

static void booleans_are_on_for_true_alone(void **state)
{
  (void)state;
  static const char *const off[] = {"True", "1", "", " true", "false", "on"};
  cenote_error error = CENOTE_ERROR_INIT;
  struct cen_neon_headers h = {0};
  assert_int_equal(cen_neon_header(&h, "NEON-Raw-Text-Output", "true", &error), CENOTE_OK);
  assert_int_equal(cen_neon_header(&h, "Neon-Array-Mode", "true", &error), CENOTE_OK);
  assert_int_equal(cen_neon_header(&h, "neon-pool-opt-in", "true", &error), CENOTE_OK);
  assert_int_equal(cen_neon_header(&h, "Neon-Batch-Read-Only", "true", &error), CENOTE_OK);
  assert_int_equal(cen_neon_header(&h, "Neon-Batch-Deferrable", "true", &error), CENOTE_OK);
  assert_int_equal(cen_neon_header(&h, "X-Neon-Query-ID", "7", &error), CENOTE_OK);
  assert_true(h.raw_text && h.array_mode && h.pool_opt_in && h.read_only && h.deferrable);
  for (size_t i = 0; i < sizeof(off) / sizeof(off[0]); i++) {
    struct cen_neon_headers none = {0};
    assert_int_equal(cen_neon_header(&none, "Neon-Array-Mode", off[i], &error), CENOTE_OK);
    assert_false(none.array_mode);
  }
}

static void isolation_has_one_spelling(void **state)
{
  (void)state;
  static const char *const names[] = {"ReadUncommitted", "ReadCommitted", "RepeatableRead",
                                      "Serializable"};
  static const char *const wrong[] = {"serializable", "Read Committed", "", "READ COMMITTED"};
  cenote_error error = CENOTE_ERROR_INIT;
  for (unsigned i = 0; i < 4; i++) {
    struct cen_neon_headers h = {0};
    assert_int_equal(cen_neon_header(&h, "Neon-Batch-Isolation-Level", names[i], &error),
                     CENOTE_OK);
    assert_int_equal(h.isolation, i + 1);
    assert_string_equal(cen_neon_isolation_name(h.isolation), names[i]);
  }
  for (size_t i = 0; i < 4; i++) {
    struct cen_neon_headers h = {0};
    assert_int_equal(cen_neon_header(&h, "neon-batch-isolation-level", wrong[i], &error),
                     CENOTE_INVALID);
    assert_string_equal(error.message, "invalid isolation level");
  }
  assert_null(cen_neon_isolation_name(CEN_NEON_NO_ISOLATION));
}

static void strings_come_as_they_are_and_once(void **state)
{
  (void)state;
  cenote_error error = CENOTE_ERROR_INIT;
  struct cen_neon_headers h = {0};
  assert_int_equal(cen_neon_header(&h, "Neon-Connection-String", "postgres://x", &error), 0);
  assert_string_equal(h.connection_string, "postgres://x");
  assert_int_equal(cen_neon_header(&h, "authorization", "bearer  abc.d", &error), CENOTE_OK);
  assert_string_equal(h.bearer, "abc.d");
  assert_int_equal(cen_neon_header(&h, "Neon-connection-string", "postgres://y", &error),
                   CENOTE_INVALID);
  assert_string_equal(error.message, "invalid header: neon-connection-string");
  struct cen_neon_headers basic = {0};
  assert_int_equal(cen_neon_header(&basic, "Authorization", "Basic abc", &error), CENOTE_OK);
  assert_null(basic.bearer);
}

/* ----------------------------------------------------------------- URLs */

static void parse(struct cen_neon_url *url, const char *text)
{
  cenote_error error = CENOTE_ERROR_INIT;
  char *exact = malloc(strlen(text));
  assert_non_null(exact);
  memcpy(exact, text, strlen(text));
  assert_int_equal(cen_neon_url_parse(url, exact, strlen(text), &error), CENOTE_OK);
  free(exact);
}

static void a_url_is_taken_apart_and_decoded(void **state)
{
  (void)state;
  struct cen_neon_url url;
  char value[64];
  parse(&url, "postgresql://us%40er:p%3A%2F%25w@ep-cool-1.aws.neon.tech:5433/my%20db/more"
              "?sslmode=require&channel_binding=require&application_name=pkg%3Anpm&x#frag");
  assert_string_equal(url.user, "us@er");
  assert_string_equal(url.password, "p:/%w");
  assert_true(url.has_password);
  assert_string_equal(url.host, "ep-cool-1.aws.neon.tech");
  assert_int_equal(url.port, 5433);
  assert_string_equal(url.database, "my db");
  assert_true(cen_neon_url_param(&url, "application_name", value, sizeof(value)));
  assert_string_equal(value, "pkg:npm");
  assert_true(cen_neon_url_param(&url, "x", value, sizeof(value)));
  assert_string_equal(value, "");
  assert_false(cen_neon_url_param(&url, "application", value, sizeof(value)));
  assert_false(cen_neon_url_param(&url, "sslmode", value, 7));
  assert_true(cen_neon_url_param(&url, "sslmode", value, 8));
  cen_neon_url_deinit(&url);
  assert_null(url.text);
}

static void parts_may_be_missing_or_odd(void **state)
{
  (void)state;
  struct cen_neon_url url;
  parse(&url, "POSTGRES://u@h/d");
  assert_false(url.has_password);
  assert_string_equal(url.password, "");
  assert_int_equal(url.port, 0);
  cen_neon_url_deinit(&url);
  parse(&url, "postgres://u:@h:/d?");
  assert_false(url.has_password);
  assert_int_equal(url.port, 0);
  cen_neon_url_deinit(&url);
  parse(&url, "postgres://u:a:b@c@[::1]:1/d%zz%4");
  assert_string_equal(url.password, "a:b@c");
  assert_string_equal(url.host, "[::1]");
  assert_int_equal(url.port, 1);
  assert_string_equal(url.database, "d%zz%4");
  cen_neon_url_deinit(&url);
  parse(&url, "postgres://u:p@10.0.0.1/d?options=endpoint%3Dx&nonsense==&&=");
  assert_string_equal(url.host, "10.0.0.1");
  cen_neon_url_deinit(&url);
}

static void wrong_urls_have_neons_messages(void **state)
{
  (void)state;
  static const struct {
    const char *text, *message;
  } cases[] = {
      {"", "invalid connection string: not a URL"},
      {"secret", "invalid connection string: not a URL"},
      {"postgres:/u@h/d", "invalid connection string: not a URL"},
      {"mysql://u@h/d", "incorrect scheme"},
      {"postgresq://u@h/d", "incorrect scheme"},
      {"postgres://u:p@h", "missing database name"},
      {"postgres://u:p@h/", "missing database name"},
      {"postgres://u:p@h//d", "missing database name"},
      {"postgres://h/d", "missing username"},
      {"postgres://:p@h/d", "missing username"},
      {"postgres://@h/d", "missing username"},
      {"postgres://u:p@/d", "missing hostname"},
      {"postgres://u:p@:5432/d", "missing hostname"},
      {"postgres://u:p@h:65536/d", "invalid connection string: not a URL"},
      {"postgres://u:p@h:x/d", "invalid connection string: not a URL"},
      {"postgres://u:p@[::1/d", "invalid connection string: not a URL"},
      {"postgres://u%00:p@h/d", "invalid connection string: not a URL"},
      {"postgres://u:%ff@h/d", "invalid connection string: not a URL"},
      {"postgres://u:p@h h/d", "invalid connection string: not a URL"},
      {"postgres://u:p\n@h/d", "invalid connection string: a control character"},
  };
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    struct cen_neon_url url;
    cenote_error error = CENOTE_ERROR_INIT;
    assert_int_equal(cen_neon_url_parse(&url, cases[i].text, strlen(cases[i].text), &error),
                     CENOTE_INVALID);
    assert_string_equal(error.message, cases[i].message);
    assert_null(url.text);
  }
  char *text = malloc(CEN_MAX_URL + 1);
  assert_non_null(text);
  memset(text, 'x', CEN_MAX_URL + 1);
  memcpy(text, "postgres://u@h/", 15);
  struct cen_neon_url url;
  assert_int_equal(cen_neon_url_parse(&url, text, CEN_MAX_URL, NULL), CENOTE_OK);
  cen_neon_url_deinit(&url);
  assert_int_equal(cen_neon_url_parse(&url, text, CEN_MAX_URL + 1, NULL), CENOTE_INVALID);
  free(text);
}

/* ----------------------------------------------------------------- bodies */

static struct cen_neon_request request;
static char *body_memory;

static cenote_status decode(const char *text, size_t max_bytes, cenote_error *error)
{
  size_t size = strlen(text);
  free(body_memory);
  body_memory = malloc(size > 0 ? size : 1);
  assert_non_null(body_memory);
  memcpy(body_memory, text, size);
  return cen_neon_request_decode(&request, body_memory, size, max_bytes, error);
}

static int forget(void **state)
{
  (void)state;
  cen_neon_request_deinit(&request);
  free(body_memory);
  body_memory = NULL;
  return 0;
}

static void fine(const char *text)
{
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_status status = decode(text, 10 << 20, &error);
  if (status != CENOTE_OK) {
    print_message("%s: %s\n", text, error.message);
  }
  assert_int_equal(status, CENOTE_OK);
}

static void arg_is(size_t query, size_t i, const char *text)
{
  assert_true(i < request.queries[query].count);
  const cenote_value *arg = &request.queries[query].args[i];
  if (text == NULL) {
    assert_int_equal(arg->type, CENOTE_NULL);
    return;
  }
  assert_int_equal(arg->type, CENOTE_TEXT);
  assert_int_equal(arg->size, strlen(text));
  assert_memory_equal(arg->as.text, text, arg->size);
}

static void a_single_query_is_read(void **state)
{
  (void)state;
  fine("{\"query\":\"select $1::int + 1 as n\",\"params\":[\"41\"]}");
  assert_false(request.batch);
  assert_int_equal(request.count, 1);
  assert_string_equal(request.queries[0].sql, "select $1::int + 1 as n");
  assert_int_equal(request.queries[0].sql_size, 23);
  assert_int_equal(request.queries[0].array_mode, -1);
  arg_is(0, 0, "41");
  forget(NULL);
  fine("{\"arrayMode\":false,\"other\":[{}],\"query\":\"\",\"params\":null}");
  assert_int_equal(request.queries[0].array_mode, 0);
  assert_int_equal(request.queries[0].count, 0);
  assert_string_equal(request.queries[0].sql, "");
  forget(NULL);
  fine("{\"queries\":17,\"query\":\"a\",\"arrayMode\":null}");
  assert_false(request.batch);
  assert_int_equal(request.queries[0].array_mode, -1);
}

static void a_batch_is_read(void **state)
{
  (void)state;
  fine("{\"queries\":[{\"query\":\"a\"},{\"query\":\"b\",\"params\":[null,\"x\"],"
       "\"arrayMode\":true,\"queries\":1}],\"query2\":1}");
  assert_true(request.batch);
  assert_int_equal(request.count, 2);
  assert_string_equal(request.queries[1].sql, "b");
  assert_int_equal(request.queries[1].array_mode, 1);
  arg_is(1, 0, NULL);
  arg_is(1, 1, "x");
  forget(NULL);
  fine("{\"queries\":[]}");
  assert_true(request.batch);
  assert_int_equal(request.count, 0);
}

static void each_kind_of_param_has_its_text(void **state)
{
  (void)state;
  fine("{\"query\":\"q\",\"params\":[null,\"a\\u00e9\\n\",42,1.50,-1e+5,true,false,"
       "{ \"a\" : [ 1 , \"x y\" ] },{},[]]}");
  arg_is(0, 0, NULL);
  arg_is(0, 1, "a\xC3\xA9\n");
  arg_is(0, 2, "42");
  arg_is(0, 3, "1.50");
  arg_is(0, 4, "-1e+5");
  arg_is(0, 5, "true");
  arg_is(0, 6, "false");
  arg_is(0, 7, "{\"a\":[1,\"x y\"]}");
  arg_is(0, 8, "{}");
  arg_is(0, 9, "{}");
  assert_int_equal(request.queries[0].count, 10);
}

static void arrays_become_literals(void **state)
{
  (void)state;
  fine("{\"query\":\"q\",\"params\":[[1,null,true,false,-2.5],[\"a\",\"\",\"NULL\"],"
       "[\"q\\\"b\\\\s\",\"new\\nline\",\"\\u00e9\"],[[1,2],[3,4]],[[]],"
       "[{\"a\": \"x\\\"y\"},{}],[ [ null ] , [ \"{}\" ] ]]}");
  arg_is(0, 0, "{1,NULL,true,false,-2.5}");
  arg_is(0, 1, "{\"a\",\"\",\"NULL\"}");
  arg_is(0, 2, "{\"q\\\"b\\\\s\",\"new\nline\",\"\xC3\xA9\"}");
  arg_is(0, 3, "{{1,2},{3,4}}");
  arg_is(0, 4, "{{}}");
  arg_is(0, 5, "{\"{\\\"a\\\":\\\"x\\\\\\\"y\\\"}\",\"{}\"}");
  arg_is(0, 6, "{{NULL},{\"{}\"}}");
}

static void wrong_bodies_are_refused(void **state)
{
  (void)state;
  static const char *const texts[] = {
      "",
      "select 1",
      "[]",
      "null",
      "{}",
      "{\"params\":[]}",
      "{\"query\":null}",
      "{\"query\":1}",
      "{\"query\":\"a\"",
      "{\"query\":\"a\"} x",
      "{\"query\":\"a\",\"query\":\"b\"}",
      "{\"query\":\"a\\u0000\"}",
      "{\"query\":\"a\",\"params\":{}}",
      "{\"query\":\"a\",\"params\":\"x\"}",
      "{\"query\":\"a\",\"params\":[\"\\u0000\"]}",
      "{\"query\":\"a\",\"params\":[[\"\\u0000\"]]}",
      "{\"query\":\"a\",\"params\":[1,]}",
      "{\"query\":\"a\",\"arrayMode\":1}",
      "{\"query\":\"a\",\"arrayMode\":\"true\"}",
      "{\"query\":\"\\ud800\"}",
      "{\"queries\":{}}",
      "{\"queries\":null}",
      "{\"queries\":[1]}",
      "{\"queries\":[{}]}",
      "{\"queries\":[{\"query\":\"a\"},{\"params\":[]}]}",
      "{\"queries\":[],\"queries\":[]}",
  };
  for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
    cenote_error error = CENOTE_ERROR_INIT;
    assert_int_equal(decode(texts[i], 1000, &error), CENOTE_INVALID);
    assert_memory_equal(error.message, "invalid request body: ", 22);
    assert_int_equal(request.count, 0);
  }
}

/* {"query":"q","params":[1,1,…]} */
static char *many_params(size_t count)
{
  char *text = malloc(2 * count + 64);
  assert_non_null(text);
  size_t used = (size_t)snprintf(text, 64, "{\"query\":\"q\",\"params\":[1");
  for (size_t i = 1; i < count; i++) {
    memcpy(text + used, ",1", 2);
    used += 2;
  }
  memcpy(text + used, "]}", 3);
  return text;
}

static void ceilings_hold_exactly(void **state)
{
  (void)state;
  cenote_error error = CENOTE_ERROR_INIT;
  char *text = many_params(CEN_MAX_ARGS);
  assert_int_equal(decode(text, strlen(text), &error), CENOTE_OK);
  assert_int_equal(request.queries[0].count, CEN_MAX_ARGS);
  forget(NULL);
  assert_int_equal(decode(text, strlen(text) - 1, &error), CENOTE_TOO_LARGE);
  free(text);
  text = many_params(CEN_MAX_ARGS + 1);
  assert_int_equal(decode(text, strlen(text), &error), CENOTE_TOO_LARGE);
  free(text);
  char deep[400] = "{\"query\":\"q\",\"params\":[";
  size_t used = strlen(deep);
  memset(deep + used, '[', 127);
  memset(deep + used + 127, ']', 127);
  memcpy(deep + used + 254, "]}", 3);
  assert_int_equal(decode(deep, 1000, &error), CENOTE_TOO_LARGE);
  memset(deep + used, '[', 126);
  memset(deep + used + 126, ']', 126);
  memcpy(deep + used + 252, "]}", 3);
  assert_int_equal(decode(deep, 1000, &error), CENOTE_OK);
  assert_int_equal(request.queries[0].args[0].size, 252);
}

/* ----------------------------------------------------------------- the client's */

static void a_client_writes_text_and_null(void **state)
{
  (void)state;
  struct cen_buf buf;
  cenote_error error = CENOTE_ERROR_INIT;
  const cenote_value args[] = {cenote_null(),
                               cenote_integer(INT64_MIN),
                               cenote_real(0.1),
                               cenote_real(NAN),
                               cenote_real(-INFINITY),
                               cenote_text("a\"\n"),
                               cenote_blob("\0\xFF", 2),
                               cenote_boolean(true),
                               cenote_boolean(false),
                               cenote_blob(NULL, 0)};
  struct cen_neon_query queries[2] = {{"select 1", 8, args, 10, -1}, {"b", 1, NULL, 0, 1}};
  cen_buf_init(&buf, 10000);
  assert_int_equal(cen_neon_request_put(&buf, queries, 1, false, &error), CENOTE_OK);
  assert_string_equal(buf.data,
                      "{\"query\":\"select 1\",\"params\":[null,\"-9223372036854775808\",\"0.1\","
                      "\"NaN\",\"-Infinity\",\"a\\\"\\n\",\"\\\\x00ff\",\"true\",\"false\","
                      "\"\\\\x\"]}");
  cen_buf_deinit(&buf);
  assert_int_equal(cen_neon_request_put(&buf, queries + 1, 1, true, &error), CENOTE_OK);
  assert_string_equal(buf.data,
                      "{\"queries\":[{\"query\":\"b\",\"params\":[],\"arrayMode\":true}]}");
  cen_buf_deinit(&buf);
  assert_int_equal(cen_neon_request_put(&buf, queries, 0, true, &error), CENOTE_OK);
  assert_string_equal(buf.data, "{\"queries\":[]}");
  cen_buf_deinit(&buf);
}

static void a_client_refuses_what_postgres_cannot_hold(void **state)
{
  (void)state;
  struct cen_buf buf;
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_value args[] = {cenote_text_n("a\0b", 3), cenote_text("\xFF")};
  struct cen_neon_query queries[] = {
      {"q", 1, args, 1, -1}, {"q", 1, args + 1, 1, -1}, {"\xFF", 1, NULL, 0, -1}};
  for (size_t i = 0; i < 3; i++) {
    cen_buf_init(&buf, 10000);
    assert_int_equal(cen_neon_request_put(&buf, &queries[i], 1, false, &error), CENOTE_INVALID);
    cen_buf_deinit(&buf);
  }
  cen_buf_init(&buf, 20);
  queries[0].args = NULL;
  queries[0].count = 0;
  assert_int_equal(cen_neon_request_put(&buf, queries, 1, false, &error), CENOTE_TOO_LARGE);
  cen_buf_deinit(&buf);
}

static size_t random_text(struct cen_rng *rng, char *out, size_t most)
{
  static const char *const pieces[] = {
      "a", "\"", "\\", "\n",          "\xC3\xA9", "\xF0\x9F\x98\x80",
      "{", "}",  ",",  "plain text ", "\x01",     "\x7F"};
  size_t used = 0;
  for (uint64_t i = cen_rng_below(rng, 12); i > 0 && used + 12 < most; i--) {
    const char *piece = pieces[cen_rng_below(rng, 12)];
    memcpy(out + used, piece, strlen(piece));
    used += strlen(piece);
  }
  out[used] = '\0';
  return used;
}

static void what_a_client_writes_the_server_reads(void **state)
{
  (void)state;
  struct cen_rng rng;
  cen_rng_seed(&rng, 5);
  for (int run = 0; run < 500; run++) {
    char texts[8][200];
    cenote_value args[8];
    struct cen_neon_query queries[8];
    size_t count = (size_t)cen_rng_below(&rng, 9);
    bool batch = count != 1 || cen_rng_below(&rng, 2) == 0;
    for (size_t i = 0; i < 8; i++) {
      size_t size = random_text(&rng, texts[i], sizeof(texts[i]));
      args[i] = cen_rng_below(&rng, 4) == 0 ? cenote_null() : cenote_text_n(texts[i], size);
      queries[i] = (struct cen_neon_query){texts[i], size, args, (size_t)cen_rng_below(&rng, i + 1),
                                           (signed char)((int)cen_rng_below(&rng, 3) - 1)};
    }
    struct cen_buf buf;
    cen_buf_init(&buf, 1 << 20);
    assert_int_equal(cen_neon_request_put(&buf, queries, count, batch, NULL), CENOTE_OK);
    assert_int_equal(cen_neon_request_decode(&request, buf.data, buf.size, 1 << 20, NULL), 0);
    assert_int_equal(request.batch, batch);
    assert_int_equal(request.count, count);
    for (size_t i = 0; i < count; i++) {
      assert_string_equal(request.queries[i].sql, queries[i].sql);
      assert_int_equal(request.queries[i].count, queries[i].count);
      assert_int_equal(request.queries[i].array_mode, queries[i].array_mode);
      for (size_t j = 0; j < queries[i].count; j++) {
        arg_is(i, j, args[j].type == CENOTE_NULL ? NULL : texts[j]);
      }
    }
    cen_neon_request_deinit(&request);
    cen_buf_deinit(&buf);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(booleans_are_on_for_true_alone),
      cmocka_unit_test(isolation_has_one_spelling),
      cmocka_unit_test(strings_come_as_they_are_and_once),
      cmocka_unit_test(a_url_is_taken_apart_and_decoded),
      cmocka_unit_test(parts_may_be_missing_or_odd),
      cmocka_unit_test(wrong_urls_have_neons_messages),
      cmocka_unit_test_teardown(a_single_query_is_read, forget),
      cmocka_unit_test_teardown(a_batch_is_read, forget),
      cmocka_unit_test_teardown(each_kind_of_param_has_its_text, forget),
      cmocka_unit_test_teardown(arrays_become_literals, forget),
      cmocka_unit_test_teardown(wrong_bodies_are_refused, forget),
      cmocka_unit_test_teardown(ceilings_hold_exactly, forget),
      cmocka_unit_test(a_client_writes_text_and_null),
      cmocka_unit_test(a_client_refuses_what_postgres_cannot_hold),
      cmocka_unit_test(what_a_client_writes_the_server_reads),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
