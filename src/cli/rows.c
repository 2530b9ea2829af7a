/* rows.c - see rows.h. */
#include "cli/rows.h"

#include "base/text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void cli_rows_init(struct cli_rows *rows, struct cli_output *output, enum cli_format format,
                   const char *null_text)
{
  *rows = (struct cli_rows){.output = output, .format = format, .null_text = null_text};
  cen_buf_init(&rows->buf, CLI_CELL_CEILING);
  cen_json_init(&rows->json, &rows->buf);
}

void cli_rows_deinit(struct cli_rows *rows)
{
  for (size_t i = 0; i < rows->keys_count; i++) {
    free(rows->keys[i]);
  }
  free(rows->keys);
  rows->keys = NULL;
  rows->keys_count = 0;
  cen_buf_deinit(&rows->buf);
}

/* ----------------------------------------------------------------------- CSV */

/* Quoted where a reader could take it for something else; empty text is "", which is not NULL. */
static bool csv_needs_quotes(const char *text, size_t size)
{
  if (size == 0 || text[0] == ' ' || text[size - 1] == ' ' || text[0] == '\t' ||
      text[size - 1] == '\t') {
    return true;
  }
  for (size_t i = 0; i < size; i++) {
    if (text[i] == ',' || text[i] == '"' || text[i] == '\n' || text[i] == '\r') {
      return true;
    }
  }
  return false;
}

static void csv_field(struct cen_buf *buf, const char *text, size_t size)
{
  if (!csv_needs_quotes(text, size)) {
    cen_buf_add(buf, text, size);
    return;
  }
  cen_buf_char(buf, '"');
  for (size_t i = 0; i < size; i++) {
    if (text[i] == '"') {
      cen_buf_char(buf, '"');
    }
    cen_buf_char(buf, text[i]);
  }
  cen_buf_char(buf, '"');
}

static void csv_header(struct cen_buf *buf, const char *const *names, size_t columns)
{
  for (size_t i = 0; i < columns; i++) {
    cen_buf_text(buf, i > 0 ? "," : "");
    csv_field(buf, names[i] ? names[i] : "", names[i] ? strlen(names[i]) : 0);
  }
  cen_buf_char(buf, '\n');
}

static void csv_row(struct cli_rows *rows, const cenote_value *values, size_t columns)
{
  for (size_t i = 0; i < columns; i++) {
    cen_buf_text(&rows->buf, i > 0 ? "," : "");
    if (values[i].type == CENOTE_TEXT) {
      const char *text = values[i].as.text;
      /* Text that reads like the word for NULL is quoted. */
      if (rows->null_text && *rows->null_text && strlen(rows->null_text) == values[i].size &&
          memcmp(text, rows->null_text, values[i].size) == 0) {
        cen_buf_format(&rows->buf, "\"%s\"", rows->null_text);
      } else {
        csv_field(&rows->buf, text, values[i].size);
      }
    } else {
      cli_value_text(&rows->buf, &values[i], rows->null_text ? rows->null_text : "");
    }
  }
  cen_buf_char(&rows->buf, '\n');
}

/* ---------------------------------------------------------------------- JSON */

static bool key_taken(char *const *keys, size_t count, const char *key)
{
  for (size_t i = 0; i < count; i++) {
    if (strcmp(keys[i], key) == 0) {
      return true;
    }
  }
  return false;
}

/* `SELECT 1 AS a, 2 AS a` becomes {"a":1,"a_2":2}: an object cannot hold a name twice. */
static char *key_make(char *const *keys, size_t count, const char *name)
{
  if (!key_taken(keys, count, name)) {
    return cen_text_copy(name);
  }
  for (unsigned number = 2; number <= count + 2; number++) {
    char *key = NULL;
    struct cen_buf buf;
    cen_buf_init(&buf, 1 << 16);
    cen_buf_format(&buf, "%s_%u", name, number);
    key = cen_buf_take(&buf);
    cen_buf_deinit(&buf);
    if (!key || !key_taken(keys, count, key)) {
      return key;
    }
    free(key);
  }
  return NULL;
}

static bool json_begin(struct cli_rows *rows, const char *const *names, size_t columns)
{
  rows->keys = calloc(columns ? columns : 1, sizeof rows->keys[0]);
  for (size_t i = 0; rows->keys && i < columns; i++) {
    rows->keys[i] = key_make(rows->keys, i, names[i] ? names[i] : "");
    if (!rows->keys[i]) {
      rows->output->error = ENOMEM;
      return false;
    }
    rows->keys_count = i + 1;
  }
  if (!rows->keys) {
    rows->output->error = ENOMEM;
    return false;
  }
  cen_json_object(&rows->json);
  cen_json_key(&rows->json, "rows");
  cen_json_array(&rows->json);
  return true;
}

static void json_row(struct cli_rows *rows, const cenote_value *values, size_t columns)
{
  cen_json_object(&rows->json);
  for (size_t i = 0; i < columns && i < rows->keys_count; i++) {
    cen_json_key(&rows->json, rows->keys[i]);
    cli_value_json(&rows->json, &values[i]);
  }
  cen_json_object_end(&rows->json);
}

static void json_end(struct cli_rows *rows, const cenote_result *result)
{
  cen_json_array_end(&rows->json);
  cen_json_key(&rows->json, "row_count");
  cen_json_uint(&rows->json, rows->count);
  cen_json_key(&rows->json, "columns");
  cen_json_array(&rows->json);
  for (size_t i = 0; i < rows->keys_count; i++) {
    cen_json_string(&rows->json, rows->keys[i]);
  }
  cen_json_array_end(&rows->json);
  if (result && (rows->keys_count == 0 || cenote_result_affected_rows(result) > 0)) {
    cen_json_key(&rows->json, "affected_rows");
    cen_json_int(&rows->json, cenote_result_affected_rows(result));
    cen_json_key(&rows->json, "last_insert_id");
    cen_json_int(&rows->json, cenote_result_last_insert_id(result));
    cen_json_key(&rows->json, "command");
    cen_json_string(&rows->json, cenote_result_command(result));
  }
  cen_json_object_end(&rows->json);
  cen_buf_char(&rows->buf, '\n');
}

/* ---------------------------------------------------------------------- both */

bool cli_rows_begin(struct cli_rows *rows, const char *const *names, size_t columns)
{
  if (rows->begun) {
    return true;
  }
  rows->begun = true;
  if (rows->format == CLI_JSON) {
    return json_begin(rows, names, columns);
  }
  if (columns > 0) {
    csv_header(&rows->buf, names, columns);
  }
  return cli_output_drain(rows->output, &rows->buf);
}

bool cli_rows_add(void *context, const char *const *names, const cenote_value *values,
                  size_t columns)
{
  struct cli_rows *rows = context;
  if (!cli_rows_begin(rows, names, columns)) {
    return false;
  }
  rows->count++;
  if (rows->format == CLI_JSON) {
    json_row(rows, values, columns);
  } else {
    csv_row(rows, values, columns);
  }
  return cli_output_drain(rows->output, &rows->buf);
}

bool cli_rows_end(struct cli_rows *rows, const cenote_result *result)
{
  if (!cli_rows_begin(rows, NULL, 0)) {
    return false;
  }
  if (rows->format == CLI_JSON) {
    json_end(rows, result);
  }
  return cli_output_drain(rows->output, &rows->buf);
}
