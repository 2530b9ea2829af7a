/* wire_neon_answer.c - answers of Neon's protocol: written by a server byte by byte, read by a
 * client however they come. */
#include "base/error.h"
#include "base/result.h"
#include "wire/neon.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cenote/driver.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct cen_buf buf;

static int fresh(void **state)
{
  (void)state;
  cen_buf_init(&buf, 1 << 20);
  return 0;
}

static int clean(void **state)
{
  (void)state;
  cen_buf_deinit(&buf);
  return 0;
}

/* ----------------------------------------------------------------- server */

static void a_result_is_written_as_the_notes_show(void **state)
{
  (void)state;
  const cenote_column column = {.name = "n", .type = "integer", .oid = 23};
  const struct cen_neon_column fact = {0, 0, 4, -1};
  cenote_value value = cenote_text("42");
  struct cen_neon_writer w = {.buf = &buf, .raw_text = true, .array_mode = true};
  cen_neon_result_begin(&w, &column, &fact, 1);
  cen_neon_result_row(&w, &value);
  cen_neon_result_end(&w, "SELECT 1");
  assert_string_equal(buf.data,
                      "{\"fields\":[{\"name\":\"n\",\"dataTypeID\":23,\"tableID\":0,\"columnID\":0,"
                      "\"dataTypeSize\":4,\"dataTypeModifier\":-1,\"format\":\"text\"}],"
                      "\"rows\":[[\"42\"]],\"command\":\"SELECT\",\"rowCount\":1,"
                      "\"rowAsArray\":true}");
}

static void the_facts_of_a_column_are_copied(void **state)
{
  (void)state;
  const cenote_column columns[] = {{.name = "a\"", .oid = 1043}, {.name = "b", .oid = 4000000000u}};
  const struct cen_neon_column facts[] = {{16384, 3, -1, 14}, {4294967295u, -1, -2, INT32_MIN}};
  struct cen_neon_writer w = {.buf = &buf};
  cen_neon_result_begin(&w, columns, facts, 2);
  cen_neon_result_end(&w, "INSERT 0 12");
  assert_string_equal(
      buf.data,
      "{\"fields\":[{\"name\":\"a\\\"\",\"dataTypeID\":1043,\"tableID\":16384,\"columnID\":3,"
      "\"dataTypeSize\":-1,\"dataTypeModifier\":14,\"format\":\"text\"},"
      "{\"name\":\"b\",\"dataTypeID\":4000000000,\"tableID\":4294967295,\"columnID\":-1,"
      "\"dataTypeSize\":-2,\"dataTypeModifier\":-2147483648,\"format\":\"text\"}],\"rows\":[],"
      "\"command\":\"INSERT\",\"rowCount\":12,\"rowAsArray\":false}");
}

static void end_is(const char *tag, const char *expected)
{
  struct cen_neon_writer w = {.buf = &buf};
  cen_neon_result_begin(&w, NULL, NULL, 0);
  cen_neon_result_end(&w, tag);
  char whole[300];
  snprintf(whole, sizeof(whole), "{\"fields\":[],\"rows\":[],%s,\"rowAsArray\":false}", expected);
  assert_string_equal(buf.data, whole);
  cen_buf_deinit(&buf);
}

static void a_tag_is_a_command_and_maybe_a_count(void **state)
{
  (void)state;
  end_is("SELECT 0", "\"command\":\"SELECT\",\"rowCount\":0");
  end_is("INSERT 0 5", "\"command\":\"INSERT\",\"rowCount\":5");
  end_is("INSERT 16390 1", "\"command\":\"INSERT\",\"rowCount\":1");
  end_is("UPDATE 18446744073709551615", "\"command\":\"UPDATE\",\"rowCount\":18446744073709551615");
  end_is("CREATE TABLE", "\"command\":\"CREATE\",\"rowCount\":null");
  end_is("BEGIN", "\"command\":\"BEGIN\",\"rowCount\":null");
  end_is("", "\"command\":\"\",\"rowCount\":null");
  end_is(NULL, "\"command\":\"\",\"rowCount\":null");
  end_is("MOVE 007", "\"command\":\"MOVE\",\"rowCount\":7");
}

static void a_batch_holds_results(void **state)
{
  (void)state;
  struct cen_neon_writer w = {.buf = &buf, .array_mode = true};
  cen_neon_batch_begin(&w);
  cen_neon_batch_end(&w);
  assert_string_equal(buf.data, "{\"results\":[]}");
  cen_buf_deinit(&buf);
  static const char one[] = "{\"fields\":[],\"rows\":[],\"command\":\"BEGIN\",\"rowCount\":null,"
                            "\"rowAsArray\":true}";
  char whole[400];
  snprintf(whole, sizeof(whole), "{\"results\":[%s,%s]}", one, one);
  cen_neon_batch_begin(&w);
  for (int i = 0; i < 2; i++) {
    cen_neon_result_begin(&w, NULL, NULL, 0);
    cen_neon_result_end(&w, "BEGIN");
  }
  cen_neon_batch_end(&w);
  assert_string_equal(buf.data, whole);
}

static uint32_t enum_element(void *context, uint32_t oid)
{
  (void)context;
  return oid == 50001 ? 50000 : 0;
}

/* One cell, as it stands in its row. */
static void cell_is(bool raw, uint32_t oid, const char *text, const char *expected)
{
  const cenote_column column = {.name = "c", .oid = oid};
  cenote_value value = cenote_text(text);
  struct cen_neon_writer w = {
      .buf = &buf, .raw_text = raw, .array_mode = true, .element_of = enum_element};
  cen_neon_result_begin(&w, &column, NULL, 1);
  size_t begins = buf.size;
  cen_neon_result_row(&w, &value);
  char whole[300];
  snprintf(whole, sizeof(whole), "[%s]", expected);
  assert_string_equal(buf.data + begins, whole);
  cen_buf_deinit(&buf);
}

static void typed_values_follow_their_type(void **state)
{
  (void)state;
  cell_is(false, 16, "t", "true");
  cell_is(false, 16, "f", "false");
  cell_is(false, 21, "-3", "-3");
  cell_is(false, 23, "2147483647", "2147483647");
  cell_is(false, 20, "42", "\"42\"");
  cell_is(false, 1700, "1.50", "\"1.50\"");
  cell_is(false, 26, "16384", "\"16384\"");
  cell_is(false, 790, "$1.00", "\"$1.00\"");
  cell_is(false, 1082, "2026-01-02", "\"2026-01-02\"");
  cell_is(false, 17, "\\x00ff", "\"\\\\x00ff\"");
  cell_is(false, 25, "42", "\"42\"");
  cell_is(false, 50000, "mood", "\"mood\"");
  cell_is(false, 2278, "", "\"\"");
  cell_is(false, 700, "1.5", "1.5");
  cell_is(false, 701, "1e+20", "1e+20");
  cell_is(false, 701, "-0", "-0");
  cell_is(false, 701, "NaN", "\"NaN\"");
  cell_is(false, 701, "Infinity", "\"Infinity\"");
  cell_is(false, 700, "-Infinity", "\"-Infinity\"");
  cell_is(false, 114, "{ \"a\": [1, \"\\u0000\"] }", "{ \"a\": [1, \"\\u0000\"] }");
  cell_is(false, 3802, "null", "null");
  cell_is(false, 114, "{bad", "\"{bad\""); /* never: but the body stays JSON */
  cell_is(false, 23, "12x", "\"12x\"");
}

static void typed_arrays_nest(void **state)
{
  (void)state;
  cell_is(false, 1007, "{1,NULL,-3}", "[1,null,-3]");
  cell_is(false, 1007, "{}", "[]");
  cell_is(false, 1007, "{{1,2},{3,4}}", "[[1,2],[3,4]]");
  cell_is(false, 1007, "[0:1]={5,6}", "[5,6]");
  cell_is(false, 1007, "[1:1][-2:-1]={{5,6}}", "[[5,6]]");
  cell_is(false, 1009, "{a,\"b,c\",\"\",\"NULL\",null,NULL}",
          "[\"a\",\"b,c\",\"\",\"NULL\",\"null\",null]");
  cell_is(false, 1009, "{\"q\\\"b\\\\s\",\"{}\"}", "[\"q\\\"b\\\\s\",\"{}\"]");
  cell_is(false, 1000, "{t,f,NULL}", "[true,false,null]");
  cell_is(false, 1022, "{1.5,NaN,Infinity}", "[1.5,\"NaN\",\"Infinity\"]");
  cell_is(false, 1016, "{42}", "[\"42\"]");
  cell_is(false, 199, "{\"{\\\"a\\\":1}\",null,NULL}", "[{\"a\":1},null,null]");
  cell_is(false, 50001, "{sad,happy}", "[\"sad\",\"happy\"]");
  cell_is(false, 50002, "{sad,happy}", "\"{sad,happy}\"");
}

static void what_is_no_array_stays_text(void **state)
{
  (void)state;
  static const char *const texts[] = {"",     "{",    "{1",     "1",      "{1,}",
                                      "{,1}", "{1}}", "{1}x",   "{{1},2", "{1 {2}}",
                                      "[0:1", "{{}",  "{1{2}}", "}",      "{1,,2}"};
  for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
    char expected[40];
    snprintf(expected, sizeof(expected), "\"%s\"", texts[i]);
    cell_is(false, 1007, texts[i], expected);
  }
  cell_is(false, 1009, "{\"a", "\"{\\\"a\"");
  cell_is(false, 1009, "{\"a\\", "\"{\\\"a\\\\\"");
}

static void raw_text_is_a_string_whatever_the_type(void **state)
{
  (void)state;
  cell_is(true, 16, "t", "\"t\"");
  cell_is(true, 23, "42", "\"42\"");
  cell_is(true, 114, "{\"a\":1}", "\"{\\\"a\\\":1}\"");
  cell_is(true, 1007, "{1,2}", "\"{1,2}\"");
}

static void values_that_are_typed_already_are_written_too(void **state)
{
  (void)state;
  const cenote_column columns[] = {{.name = "i", .oid = 23},  {.name = "i", .oid = 20},
                                   {.name = "r", .oid = 701}, {.name = "r", .oid = 701},
                                   {.name = "b", .oid = 16},  {.name = "x", .oid = 17},
                                   {.name = "n", .oid = 25}};
  const cenote_value values[] = {cenote_integer(-1), cenote_integer(7),    cenote_real(2.5),
                                 cenote_real(NAN),   cenote_boolean(true), cenote_blob("\1", 1),
                                 cenote_null()};
  struct cen_neon_writer w = {.buf = &buf};
  cen_neon_result_begin(&w, columns, NULL, 7);
  size_t begins = buf.size;
  cen_neon_result_row(&w, values);
  cen_neon_result_row(&w, values);
  assert_string_equal(buf.data + begins,
                      "{\"i\":-1,\"i\":\"7\",\"r\":2.5,\"r\":\"NaN\",\"b\":true,\"x\":\"\\\\x01\","
                      "\"n\":null},"
                      "{\"i\":-1,\"i\":\"7\",\"r\":2.5,\"r\":\"NaN\",\"b\":true,\"x\":\"\\\\x01\","
                      "\"n\":null}");
  w.raw_text = w.array_mode = true;
  w.comma = false;
  begins = buf.size;
  cen_neon_result_row(&w, values);
  assert_string_equal(buf.data + begins, "[\"-1\",\"7\",\"2.5\",\"NaN\",\"t\",\"\\\\x01\",null]");
}

static void an_error_of_the_database_has_all_members(void **state)
{
  (void)state;
  cenote_error error = CENOTE_ERROR_INIT;
  (void)cenote_error_set(&error, CENOTE_DATABASE, "relation \"nope\" does not exist");
  cen_error_sqlstate(&error, "42P01");
  cenote_error_add_field(&error, 'S', "ERROR");
  cenote_error_add_field(&error, 'P', "15");
  cenote_error_add_field(&error, 'F', "parse_relation.c");
  cenote_error_add_field(&error, 'L', "1395");
  cenote_error_add_field(&error, 'R', "parserOpenTable");
  cen_neon_error_put(&buf, &error);
  assert_string_equal(
      buf.data,
      "{\"message\":\"relation \\\"nope\\\" does not exist\",\"code\":\"42P01\",\"detail\":null,"
      "\"hint\":null,\"position\":\"15\",\"internalPosition\":null,\"internalQuery\":null,"
      "\"severity\":\"ERROR\",\"where\":null,\"table\":null,\"column\":null,\"schema\":null,"
      "\"dataType\":null,\"constraint\":null,\"file\":\"parse_relation.c\",\"line\":\"1395\","
      "\"routine\":\"parserOpenTable\"}");
}

static void an_error_of_ours_has_empty_code_and_severity(void **state)
{
  (void)state;
  cenote_error error = CENOTE_ERROR_INIT;
  (void)cenote_error_set(&error, CENOTE_INVALID, "invalid isolation level");
  cen_neon_error_put(&buf, &error);
  assert_string_equal(
      buf.data,
      "{\"message\":\"invalid isolation level\",\"code\":\"\",\"detail\":null,\"hint\":null,"
      "\"position\":null,\"internalPosition\":null,\"internalQuery\":null,\"severity\":\"\","
      "\"where\":null,\"table\":null,\"column\":null,\"schema\":null,\"dataType\":null,"
      "\"constraint\":null,\"file\":null,\"line\":null,\"routine\":null}");
  cen_buf_deinit(&buf);
  cen_neon_cancelled_put(&buf);
  assert_string_equal(buf.data, "{\"message\":\"query cancelled\",\"code\":\"08P01\"}");
  cen_buf_deinit(&buf);
  cen_neon_busy_put(&buf, "too many requests");
  assert_string_equal(buf.data, "{\"msg\":\"too many requests\"}");
}

/* ----------------------------------------------------------------- client */

static struct cen_neon_answer answer;
static struct cenote_sink sink;
static char *text_memory;

static cenote_status open_text(int status, const char *text, cenote_error *error)
{
  size_t size = strlen(text);
  free(text_memory);
  text_memory = malloc(size > 0 ? size : 1);
  assert_non_null(text_memory);
  memcpy(text_memory, text, size);
  return cen_neon_answer_open(&answer, status, text_memory, size, 1 << 20, error);
}

/* The first result, or what went wrong. */
static cenote_status read_text(const char *text, bool raw, cenote_result **result,
                               cenote_error *error)
{
  *result = NULL;
  cenote_status status = open_text(200, text, error);
  assert_int_equal(cen_sink_init_result(&sink, 0, 0, NULL), CENOTE_OK);
  if (status == CENOTE_OK) {
    status = cen_neon_answer_next(&answer, raw, &sink, error);
  }
  if (status == CENOTE_OK) {
    *result = cen_sink_take(&sink);
  }
  cen_sink_deinit(&sink);
  cen_neon_answer_close(&answer);
  free(text_memory);
  text_memory = NULL;
  return status;
}

static void a_client_reads_values_by_type(void **state)
{
  (void)state;
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_result *result;
  static const char text[] =
      "{\"rowCount\":1,\"rows\":[[\"42\",\"-7\",\"2.5\",\"NaN\",\"t\",\"\\\\x00ff\",\"a\\u00e9\","
      "null,\"a\\\\001\\\\\\\\\"]],\"command\":\"SELECT\",\"new\":{},\"fields\":["
      "{\"name\":\"a\",\"dataTypeID\":23},{\"name\":\"b\",\"dataTypeID\":20,\"tableID\":5,"
      "\"columnID\":-2,\"dataTypeSize\":8,\"dataTypeModifier\":24,\"format\":\"text\"},"
      "{\"dataTypeID\":701},{\"name\":null,\"dataTypeID\":700},{\"name\":\"e\",\"dataTypeID\":16},"
      "{\"name\":\"f\",\"dataTypeID\":17},{\"name\":\"g\"},{\"name\":\"h\",\"dataTypeID\":null},"
      "{\"name\":\"i\",\"dataTypeID\":17}]}";
  assert_int_equal(read_text(text, false, &result, &error), CENOTE_OK);
  assert_int_equal(cenote_result_columns(result), 9);
  assert_string_equal(cenote_result_column_name(result, 0), "a");
  assert_string_equal(cenote_result_column_type(result, 0), "integer");
  assert_int_equal(cenote_result_column_oid(result, 1), 20);
  assert_string_equal(cenote_result_column_name(result, 2), "");
  cenote_column column;
  assert_true(cenote_result_column(result, 1, &column));
  assert_int_equal(column.table_oid, 5);
  assert_int_equal(column.attribute, -2);
  assert_int_equal(column.type_size, 8);
  assert_int_equal(column.modifier, 24);
  assert_true(cenote_result_column(result, 0, &column));
  assert_int_equal(column.table_oid, 0);
  assert_int_equal(column.modifier, -1);
  assert_int_equal(cenote_result_rows(result), 1);
  assert_int_equal(cenote_result_value(result, 0, 0).as.integer, 42);
  assert_int_equal(cenote_result_value(result, 0, 1).as.integer, -7);
  assert_true(cenote_result_value(result, 0, 2).as.real == 2.5);
  assert_true(isnan(cenote_result_value(result, 0, 3).as.real));
  assert_true(cenote_result_value(result, 0, 4).as.boolean);
  assert_int_equal(cenote_result_value(result, 0, 5).type, CENOTE_BLOB);
  assert_memory_equal(cenote_result_value(result, 0, 5).as.blob, "\0\xFF", 2);
  assert_string_equal(cenote_result_text(result, 0, 6), "a\xC3\xA9");
  assert_int_equal(cenote_result_value(result, 0, 7).type, CENOTE_NULL);
  assert_int_equal(cenote_result_value(result, 0, 8).size, 3);
  assert_memory_equal(cenote_result_value(result, 0, 8).as.blob, "a\1\\", 3);
  assert_string_equal(cenote_result_command(result), "SELECT 1");
  assert_int_equal(cenote_result_affected_rows(result), 0);
  cenote_result_free(result);
  assert_int_equal(read_text(text, true, &result, &error), CENOTE_OK);
  assert_string_equal(cenote_result_text(result, 0, 4), "t");
  assert_int_equal(cenote_result_value(result, 0, 0).type, CENOTE_TEXT);
  cenote_result_free(result);
}

static void a_client_takes_typed_rows_too(void **state)
{
  (void)state;
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_result *result;
  assert_int_equal(read_text("{\"fields\":[{\"name\":\"a\",\"dataTypeID\":23},{\"dataTypeID\":16},"
                             "{\"dataTypeID\":1007},{\"dataTypeID\":3802}],"
                             "\"rows\":[[42,true,[1, 2],{\"a\" : 1}]]}",
                             false, &result, &error),
                   CENOTE_OK);
  assert_int_equal(cenote_result_value(result, 0, 0).as.integer, 42);
  assert_true(cenote_result_value(result, 0, 1).as.boolean);
  assert_string_equal(cenote_result_text(result, 0, 2), "[1,2]");
  assert_string_equal(cenote_result_text(result, 0, 3), "{\"a\":1}");
  assert_string_equal(cenote_result_command(result), "");
  cenote_result_free(result);
}

static void a_client_counts_what_changed(void **state)
{
  (void)state;
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_result *result;
  assert_int_equal(read_text("{\"fields\":[],\"rows\":[],\"command\":\"INSERT\",\"rowCount\":3}",
                             false, &result, &error),
                   CENOTE_OK);
  assert_int_equal(cenote_result_affected_rows(result), 3);
  assert_string_equal(cenote_result_command(result), "INSERT 0 3");
  cenote_result_free(result);
  assert_int_equal(read_text("{\"command\":\"CREATE\",\"rowCount\":null}", false, &result, &error),
                   CENOTE_OK);
  assert_string_equal(cenote_result_command(result), "CREATE");
  cenote_result_free(result);
}

static void a_client_reads_batches_in_order(void **state)
{
  (void)state;
  cenote_error error = CENOTE_ERROR_INIT;
  assert_int_equal(open_text(200,
                             "{\"results\":[{\"command\":\"A\"},{\"fields\":[{\"name\":\"x\"}],"
                             "\"rows\":[[\"1\"],[null]]}]}",
                             &error),
                   CENOTE_OK);
  assert_true(answer.batch);
  assert_int_equal(answer.count, 2);
  for (int i = 0; i < 2; i++) {
    assert_int_equal(cen_sink_init_result(&sink, 0, 0, NULL), CENOTE_OK);
    assert_int_equal(cen_neon_answer_next(&answer, false, &sink, &error), CENOTE_OK);
    cenote_result *result = cen_sink_take(&sink);
    assert_int_equal(cenote_result_rows(result), i == 0 ? 0 : 2);
    cenote_result_free(result);
    cen_sink_deinit(&sink);
  }
  assert_int_equal(cen_neon_answer_next(&answer, false, NULL, &error), CENOTE_INVALID);
  cen_neon_answer_close(&answer);
  assert_int_equal(open_text(200, "{\"results\":[]}", &error), CENOTE_OK);
  assert_int_equal(answer.count, 0);
  cen_neon_answer_close(&answer);
  free(text_memory);
  text_memory = NULL;
}

static void a_client_refuses_what_it_does_not_understand(void **state)
{
  (void)state;
  static const char *const texts[] = {
      "",
      "<html>",
      "[]",
      "{}",
      "null",
      "{\"fields\":{},\"rows\":[]}",
      "{\"fields\":[1],\"rows\":[]}",
      "{\"fields\":[{\"name\":1}],\"rows\":[]}",
      "{\"fields\":[{\"dataTypeID\":\"23\"}]}",
      "{\"fields\":[{\"dataTypeID\":-1}]}",
      "{\"fields\":[{\"dataTypeID\":4294967296}]}",
      "{\"fields\":[{\"dataTypeID\":1e400}]}",
      "{\"fields\":[{\"name\":\"a\"}],\"rows\":{}}",
      "{\"fields\":[{\"name\":\"a\"}],\"rows\":[{\"a\":1}]}",
      "{\"fields\":[{\"name\":\"a\"}],\"rows\":[[1,2]]}",
      "{\"fields\":[{\"name\":\"a\"}],\"rows\":[[]]}",
      "{\"rows\":[[1]]}",
      "{\"fields\":[{\"name\":\"a\",\"dataTypeID\":23}],\"rows\":[[\"x\"]]}",
      "{\"fields\":[{\"name\":\"a\",\"dataTypeID\":23}],\"rows\":[[\"99999999999999999999\"]]}",
      "{\"fields\":[{\"name\":\"a\",\"dataTypeID\":16}],\"rows\":[[\"true\"]]}",
      "{\"fields\":[{\"name\":\"a\",\"dataTypeID\":17}],\"rows\":[[\"\\\\x0\"]]}",
      "{\"fields\":[],\"rows\":[],\"command\":1}",
      "{\"fields\":[],\"rows\":[],\"rowCount\":\"1\"}",
      "{\"fields\":[],\"rows\":[],\"rowCount\":1e9}",
      "{\"fields\":[],\"fields\":[]}",
      "{\"results\":1}",
      "{\"results\":[1]}",
      "{\"results\":[{}]}",
      "{\"fields\":[],\"rows\":[]",
      "{\"fields\":[],\"rows\":[\"\xE2\x82\"]}",
  };
  for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
    cenote_error error = CENOTE_ERROR_INIT;
    cenote_result *result;
    assert_int_equal(read_text(texts[i], false, &result, &error), CENOTE_IO);
    assert_true(strlen(error.message) > 0);
  }
}

static void error_of(int http, const char *text, cenote_status expected, cenote_error *error)
{
  *error = (cenote_error)CENOTE_ERROR_INIT;
  assert_int_equal(open_text(http, text, error), expected);
  assert_int_equal(error->status, expected);
  cen_neon_answer_close(&answer);
  free(text_memory);
  text_memory = NULL;
}

static void a_client_learns_every_field_of_an_error(void **state)
{
  (void)state;
  cenote_error sent = CENOTE_ERROR_INIT;
  cenote_error got;
  static const char codes[] = "DHPpqSWtcsdnFLR";
  (void)cenote_error_set(&sent, CENOTE_DATABASE, "no \"such\" thing");
  cen_error_sqlstate(&sent, "23505");
  for (const char *code = codes; *code != '\0'; code++) {
    char text[] = {'<', *code, '>', '\0'};
    cenote_error_add_field(&sent, *code, text);
  }
  cen_neon_error_put(&buf, &sent);
  error_of(400, buf.data, CENOTE_DATABASE, &got);
  assert_string_equal(got.message, sent.message);
  assert_string_equal(got.sqlstate, "23505");
  assert_string_equal(cenote_error_field(&got, 'C'), "23505");
  assert_false(got.retryable);
  for (const char *code = codes; *code != '\0'; code++) {
    assert_string_equal(cenote_error_field(&got, *code), cenote_error_field(&sent, *code));
  }
}

static void a_client_survives_any_body_of_an_error(void **state)
{
  (void)state;
  cenote_error error;
  error_of(400, "{\"message\":\"m\",\"code\":\"40001\",\"position\":12,\"where\":null,\"x\":[1]}",
           CENOTE_DATABASE, &error);
  assert_true(error.retryable);
  error_of(400, "{\"message\":\"m\"}", CENOTE_DATABASE, &error);
  assert_string_equal(error.sqlstate, "");
  error_of(400, "{\"message\":\"password authentication failed for user 'x'\",\"code\":\"\"}",
           CENOTE_AUTH, &error);
  /* a login; and a trigger that raises the same */
  error_of(400, "{\"message\":\"no\",\"code\":\"28P01\",\"severity\":\"FATAL\"}", CENOTE_AUTH,
           &error);
  error_of(400, "{\"message\":\"no\",\"code\":\"28000\",\"severity\":\"ERROR\"}", CENOTE_DATABASE,
           &error);
  error_of(500, "{\"message\":\"too many connections\",\"code\":\"53300\"}", CENOTE_DATABASE,
           &error);
  assert_true(error.retryable);
  error_of(413, "{\"message\":\"large\",\"code\":\"\"}", CENOTE_TOO_LARGE, &error);
  error_of(507, "", CENOTE_TOO_LARGE, &error);
  error_of(503, "{\"msg\":\"busy\"}", CENOTE_CONNECT, &error);
  assert_string_equal(error.message, "the server answered HTTP status 503");
  assert_non_null(strstr(error.details, "busy"));
  error_of(502, "<html>\x1b[2J</html>", CENOTE_CONNECT, &error);
  assert_null(strchr(error.details, '\x1b'));
  error_of(404, "\"query is not supported\"", CENOTE_IO, &error);
  error_of(400, "{\"message\":17}", CENOTE_IO, &error);
  error_of(400, "{\"message\":\"m\"", CENOTE_IO, &error);
  error_of(401, "no", CENOTE_AUTH, &error);
  error_of(302, "", CENOTE_IO, &error);
  assert_false(error.retryable);
  error_of(429, "", CENOTE_CONNECT, &error);
  assert_true(error.retryable);
  error_of(500, "no", CENOTE_CONNECT, &error);
  assert_true(error.retryable);
}

/* ----------------------------------------------------------------- both */

static void what_a_server_writes_the_client_reads(void **state)
{
  (void)state;
  static const char *const texts[] = {"", "a", "\"\\", "\n\x01", "\xC3\xA9\xF0\x9F\x98\x80", "{1}"};
  const cenote_column columns[] = {
      {.name = "a", .oid = 25}, {.name = "a", .oid = 1043}, {.name = "\""}};
  cenote_error error = CENOTE_ERROR_INIT;
  struct cen_neon_writer w = {.buf = &buf, .raw_text = true, .array_mode = true};
  cenote_result *first;
  cenote_result *second;
  cen_neon_result_begin(&w, columns, NULL, 3);
  for (size_t i = 0; i < 600; i++) {
    cenote_value row[3];
    for (size_t j = 0; j < 3; j++) {
      size_t which = (i * 7 + j * 5) % 8;
      row[j] = which < 6 ? cenote_text(texts[which]) : cenote_null();
    }
    cen_neon_result_row(&w, row);
  }
  cen_neon_result_end(&w, "SELECT 600");
  assert_int_equal(read_text(buf.data, false, &first, &error), CENOTE_OK);
  cen_buf_deinit(&buf);
  assert_true(cen_neon_result_put(&w, first, NULL));
  assert_int_equal(read_text(buf.data, false, &second, &error), CENOTE_OK);
  assert_int_equal(cenote_result_rows(second), 600);
  assert_string_equal(cenote_result_command(second), "SELECT 600");
  for (size_t i = 0; i < 600; i++) {
    for (size_t j = 0; j < 3; j++) {
      size_t which = (i * 7 + j * 5) % 8;
      const char *text = cenote_result_text(second, i, j);
      if (which < 6) {
        assert_string_equal(text, texts[which]);
      } else {
        assert_null(text);
      }
    }
  }
  cenote_result_free(first);
  cenote_result_free(second);
}

#define SERVER(test) cmocka_unit_test_setup_teardown(test, fresh, clean)

int main(void)
{
  const struct CMUnitTest tests[] = {
      SERVER(a_result_is_written_as_the_notes_show),
      SERVER(the_facts_of_a_column_are_copied),
      SERVER(a_tag_is_a_command_and_maybe_a_count),
      SERVER(a_batch_holds_results),
      SERVER(typed_values_follow_their_type),
      SERVER(typed_arrays_nest),
      SERVER(what_is_no_array_stays_text),
      SERVER(raw_text_is_a_string_whatever_the_type),
      SERVER(values_that_are_typed_already_are_written_too),
      SERVER(an_error_of_the_database_has_all_members),
      SERVER(an_error_of_ours_has_empty_code_and_severity),
      cmocka_unit_test(a_client_reads_values_by_type),
      cmocka_unit_test(a_client_takes_typed_rows_too),
      cmocka_unit_test(a_client_counts_what_changed),
      cmocka_unit_test(a_client_reads_batches_in_order),
      cmocka_unit_test(a_client_refuses_what_it_does_not_understand),
      SERVER(a_client_learns_every_field_of_an_error),
      cmocka_unit_test(a_client_survives_any_body_of_an_error),
      SERVER(what_a_server_writes_the_client_reads),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
