/*
 * sink.c - where a driver's rows go: into a result, or to a callback.
 *
 * Building counts bytes as the caller pays for them (16 a value, the texts and their NULs) and
 * stops before a ceiling is crossed, so a result never holds more than it may.
 */
#include "base/error.h"
#include "base/limits.h"
#include "base/result.h"
#include "base/result_data.h"
#include "base/text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_BLOCK_BYTES = 512 };

static cenote_status no_memory(cenote_error *error)
{
  return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory while reading a result");
}

static cenote_status too_large(cenote_error *error, const char *what, const char *setting,
                               uint64_t ceiling)
{
  return cenote_error_set(error, CENOTE_TOO_LARGE,
                          "the result has more %s than %s=%" PRIu64
                          ": raise the setting, add a LIMIT, or stream the rows",
                          what, setting, ceiling);
}

cenote_status cen_sink_init_result(struct cenote_sink *sink, uint64_t max_rows, uint64_t max_bytes,
                                   cenote_error *error)
{
  *sink = (struct cenote_sink){.max_rows = max_rows, .max_bytes = max_bytes};
  sink->result = cen_result_new();
  return sink->result != NULL ? CENOTE_OK : no_memory(error);
}

void cen_sink_init_stream(struct cenote_sink *sink, cenote_row_callback callback, void *context)
{
  *sink = (struct cenote_sink){.callback = callback, .context = context};
}

struct cenote_result *cen_sink_take(struct cenote_sink *sink)
{
  struct cenote_result *result = sink->first != NULL ? sink->first : sink->result;
  if (result == NULL && sink->header != NULL) {
    result = sink->header; /* a stream's: its columns and counts, none of its rows */
    result->rows = 0;
    sink->header = NULL;
  }
  sink->result = sink->first = NULL;
  return result;
}

void cen_sink_deinit(struct cenote_sink *sink)
{
  cenote_result_free(sink->first != NULL ? sink->first : sink->result);
  cenote_result_free(sink->header);
  *sink = (struct cenote_sink){0};
}

uint64_t cen_sink_rows(const struct cenote_sink *sink)
{
  const struct cenote_result *into = sink->result != NULL ? sink->result : sink->header;
  return into == NULL ? 0 : sink->rows_before + into->rows;
}

cenote_status cen_sink_restart(struct cenote_sink *sink, cenote_error *error)
{
  if (sink->result == NULL && cen_sink_rows(sink) > 0) {
    return cenote_error_set(error, CENOTE_INVALID,
                            "rows were delivered already: the statement cannot run again");
  }
  if (sink->first != NULL) { /* the chain but for its first, which is used again */
    cenote_result_free(sink->first->next);
    sink->first->next = NULL;
    sink->result = sink->first;
    sink->first = NULL;
    sink->rows_before = sink->bytes_before = 0;
  }
  struct cenote_result *into = sink->result != NULL ? sink->result : sink->header;
  if (into != NULL) {
    cen_result_clear(into);
  }
  sink->stopped = false;
  return CENOTE_OK;
}

cenote_status cenote_sink_next(cenote_sink *sink, cenote_error *error)
{
  if (sink == NULL) {
    return CENOTE_OK;
  }
  struct cenote_result *last = sink->result;
  if (last == NULL) {
    return cenote_error_set(error, CENOTE_UNSUPPORTED, "several results in one stream");
  }
  const uint64_t bytes = sink->bytes_before + last->bytes + CEN_RESULT_MEMORY;
  if (sink->max_bytes > 0 && bytes > sink->max_bytes) {
    return too_large(error, "bytes", "max_result_bytes", sink->max_bytes);
  }
  struct cenote_result *next = cen_result_new();
  if (next == NULL) {
    return no_memory(error);
  }
  sink->first = sink->first != NULL ? sink->first : last;
  sink->rows_before += last->rows;
  sink->bytes_before = bytes;
  last->next = next;
  sink->result = next;
  return CENOTE_OK;
}

/* ----------------------------------------------------------------- columns */

static bool same_text(const char *a, const char *b)
{
  return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

/* Who knows of no type OIDs says nothing of the rest: 0 would be a modifier. */
static struct cen_column_facts facts_of(const cenote_column *column)
{
  return (struct cen_column_facts){.oid = column->oid,
                                   .table_oid = column->table_oid,
                                   .modifier = column->oid != 0 ? column->modifier : -1,
                                   .attribute = column->attribute,
                                   .type_size = column->type_size};
}

static bool columns_same(const struct cenote_result *result, const cenote_column *columns,
                         size_t count)
{
  if (result->columns != count || (count > 0 && result->names == NULL)) {
    return false;
  }
  for (size_t i = 0; i < count; i++) {
    const char *name = columns[i].name != NULL ? columns[i].name : "";
    const struct cen_column_facts facts = facts_of(&columns[i]); /* it has no padding */
    if (strcmp(result->names[i], name) != 0 || !same_text(result->types[i], columns[i].type) ||
        memcmp(&result->facts[i], &facts, sizeof(facts)) != 0) {
      return false;
    }
  }
  return true;
}

static const char *arena_text(struct cen_arena *arena, const char *text, size_t size)
{
  char *copy = cen_arena_get(arena, size + 1, 1);
  if (copy != NULL) {
    memcpy(copy, text, size);
    copy[size] = '\0';
  }
  return copy;
}

static bool columns_copy(struct cenote_result *result, const cenote_column *columns, size_t count)
{
  struct cen_arena *arena = &result->arena;
  result->names = cen_arena_get(arena, count * sizeof(*result->names), sizeof(void *));
  result->types = cen_arena_get(arena, count * sizeof(*result->types), sizeof(void *));
  result->facts = cen_arena_get(arena, count * sizeof(*result->facts), sizeof(uint32_t));
  if (result->names == NULL || result->types == NULL || result->facts == NULL) {
    return false;
  }
  for (size_t i = 0; i < count; i++) {
    const char *name = columns[i].name != NULL ? columns[i].name : "";
    const char *type = columns[i].type;
    size_t name_size = strlen(name);
    size_t type_size = type == NULL ? 0 : strlen(type);
    result->names[i] = arena_text(arena, name, name_size);
    result->types[i] = type == NULL ? NULL : arena_text(arena, type, type_size);
    result->facts[i] = facts_of(&columns[i]);
    if (result->names[i] == NULL || (type != NULL && result->types[i] == NULL)) {
      return false;
    }
    result->bytes += name_size + type_size;
  }
  return true;
}

static unsigned first_block_bits(size_t columns)
{
  unsigned bits = 0;
  while (columns > 0 && (columns * sizeof(struct cen_cell) << (bits + 1)) <= FIRST_BLOCK_BYTES) {
    bits++;
  }
  return bits;
}

cenote_status cenote_sink_columns(cenote_sink *sink, const cenote_column *columns, size_t count,
                                  cenote_error *error)
{
  if (sink == NULL) {
    return CENOTE_OK;
  }
  if (count > CEN_MAX_COLUMNS) {
    return cenote_error_set(error, CENOTE_TOO_LARGE,
                            "the result has %zu columns, more than the ceiling of %d", count,
                            (int)CEN_MAX_COLUMNS);
  }
  if (sink->result == NULL && sink->callback == NULL) {
    return cenote_error_set(error, CENOTE_INTERNAL, "columns came after the result was taken");
  }
  if (sink->result == NULL && sink->header == NULL) {
    sink->header = cen_result_new();
    if (sink->header == NULL) {
      return no_memory(error);
    }
  }
  struct cenote_result *into = sink->result != NULL ? sink->result : sink->header;
  if (columns_same(into, columns, count)) {
    return CENOTE_OK;
  }
  if (into->rows > 0) {
    return cenote_error_set(error, CENOTE_INTERNAL, "the columns changed between two rows");
  }
  cen_result_clear(into);
  bool fine = columns_copy(into, columns, count);
  if (fine && sink->result == NULL && count > 0) {
    into->row = cen_arena_get(&into->arena, count * sizeof(*into->row), sizeof(int64_t));
    fine = into->row != NULL;
  }
  if (!fine) {
    cen_result_clear(into);
    return no_memory(error);
  }
  into->columns = count;
  into->first_bits = first_block_bits(count);
  return CENOTE_OK;
}

/* -------------------------------------------------------------------- rows */

static bool has_bytes(const cenote_value *value)
{
  return (value->type == CENOTE_TEXT || value->type == CENOTE_BLOB) &&
         (value->as.text != NULL || value->size == 0); /* else it is a NULL */
}

/* Bytes of the texts and blobs, with a NUL each. False: a value of a type that does not exist. */
static bool measure(const cenote_value *values, size_t count, uint64_t *bytes)
{
  uint64_t texts = 0;
  bool exist = true;
  for (size_t i = 0; i < count; i++) {
    texts += has_bytes(&values[i]) ? (uint64_t)values[i].size + 1 : 0;
    exist = exist && (unsigned)values[i].type <= CENOTE_BOOLEAN;
  }
  *bytes = texts;
  return exist;
}

/* The same of the texts alone. */
static uint64_t text_bytes(const cenote_value *values, size_t count)
{
  uint64_t bytes = 0;
  for (size_t i = 0; i < count; i++) {
    bytes += values[i].type == CENOTE_TEXT ? (uint64_t)values[i].size + 1 : 0;
  }
  return bytes;
}

static bool block_add(struct cenote_result *result)
{
  size_t rows = result->blocks == 0 ? (size_t)1 << result->first_bits : result->room;
  size_t row_bytes = result->columns * sizeof(struct cen_cell);
  if (result->blocks == CEN_RESULT_BLOCKS || rows > SIZE_MAX / 2 / (row_bytes + 1)) {
    return false;
  }
  struct cen_cell *block =
      cen_arena_get(&result->arena, rows * row_bytes, _Alignof(struct cen_cell));
  if (block == NULL) {
    return false;
  }
  result->block[result->blocks++] = block;
  result->room += rows;
  return true;
}

/* One cell; its text goes to `text`. Answers where the next one goes. */
static char *cell_set(struct cen_cell *cell, const cenote_value *value, char *text)
{
  cell->type = (uint32_t)value->type;
  cell->size = 0;
  switch (value->type) {
  case CENOTE_TEXT:
  case CENOTE_BLOB:
    if (!has_bytes(value)) {
      cell->type = CENOTE_NULL;
      cell->as.integer = 0;
      return text;
    }
    cell->size = value->size;
    cell->as.text = text;
    if (value->size > 0) {
      memcpy(text, value->as.text, value->size);
    }
    text[value->size] = '\0';
    return text + value->size + 1;
  case CENOTE_REAL:
    cell->as.real = value->as.real;
    return text;
  case CENOTE_BOOLEAN:
    cell->as.integer = value->as.boolean;
    return text;
  case CENOTE_INTEGER:
    cell->as.integer = value->as.integer;
    return text;
  case CENOTE_NULL:
    cell->as.integer = 0;
    return text;
  }
  return text;
}

/* `texts`: as measured. The texts of a row lie side by side. */
static cenote_status row_collect(cenote_sink *sink, const cenote_value *values, size_t count,
                                 uint64_t texts, cenote_error *error)
{
  struct cenote_result *result = sink->result;
  if (sink->max_rows > 0 && sink->rows_before + result->rows >= sink->max_rows) {
    return too_large(error, "rows", "max_result_rows", sink->max_rows);
  }
  uint64_t bytes = result->bytes + count * sizeof(struct cen_cell) + texts;
  if (sink->max_bytes > 0 && sink->bytes_before + bytes > sink->max_bytes) {
    return too_large(error, "bytes", "max_result_bytes", sink->max_bytes);
  }
  if (count > 0) {
    if (result->rows == result->room && !block_add(result)) {
      return no_memory(error);
    }
    char *text = texts <= SIZE_MAX ? cen_arena_get(&result->arena, (size_t)texts, 1) : NULL;
    if (text == NULL) {
      return no_memory(error);
    }
    unsigned last = result->blocks - 1;
    size_t before = last == 0 ? 0 : result->room / 2;
    struct cen_cell *cells = result->block[last] + (result->rows - before) * count;
    for (size_t i = 0; i < count; i++) {
      text = cell_set(&cells[i], &values[i], text);
    }
  }
  result->bytes = bytes;
  result->rows++;
  return CENOTE_OK;
}

/* A driver's text need not end with a NUL, but what a callback gets does: texts are copied. */
static bool scratch_reserve(struct cenote_result *header, uint64_t bytes)
{
  if (bytes <= header->scratch_size) {
    return true;
  }
  size_t size = bytes < SIZE_MAX / 2 ? (size_t)(bytes + bytes / 2) : 0;
  char *scratch = size > 0 ? malloc(size) : NULL;
  if (scratch == NULL) {
    return false;
  }
  free(header->scratch); /* the row it held is over: nothing to keep */
  header->scratch = scratch;
  header->scratch_size = size;
  return true;
}

/* Not before it is certain that they stay: a statement that is prepared again may have others. */
static bool deliver_columns(cenote_sink *sink)
{
  if (sink->columns == NULL || sink->told_columns || sink->header->columns == 0) {
    return true;
  }
  sink->told_columns = true;
  return sink->columns(sink->context, sink->header);
}

static cenote_status row_deliver(cenote_sink *sink, const cenote_value *values, size_t count,
                                 cenote_error *error)
{
  struct cenote_result *header = sink->header;
  if (!deliver_columns(sink)) {
    sink->stopped = true;
    return cenote_error_set(error, CENOTE_CANCELLED, "cancelled by the columns callback");
  }
  if (!scratch_reserve(header, text_bytes(values, count))) {
    return no_memory(error);
  }
  char *next = header->scratch;
  for (size_t i = 0; i < count; i++) {
    cenote_value *value = &header->row[i];
    *value = values[i];
    value->name = NULL;
    if (value->type != CENOTE_TEXT && value->type != CENOTE_BLOB) {
      value->size = 0;
    } else if (value->size == 0) {
      value->as.text = "";
    } else if (value->as.text == NULL) {
      *value = (cenote_value){.type = CENOTE_NULL};
    } else if (value->type == CENOTE_TEXT) {
      memcpy(next, value->as.text, value->size);
      next[value->size] = '\0';
      value->as.text = next;
      next += (size_t)value->size + 1;
    }
  }
  header->rows++;
  if (!sink->callback(sink->context, header->names, header->row, count)) {
    sink->stopped = true;
    return cenote_error_set(error, CENOTE_CANCELLED, "cancelled by the row callback");
  }
  return CENOTE_OK;
}

cenote_status cenote_sink_row(cenote_sink *sink, const cenote_value *values, size_t count,
                              cenote_error *error)
{
  if (sink == NULL) {
    return CENOTE_OK;
  }
  if (sink->stopped) {
    return cenote_error_set(error, CENOTE_CANCELLED, "cancelled by its callback");
  }
  const struct cenote_result *into = sink->result != NULL ? sink->result : sink->header;
  if (into == NULL || into->columns != count) {
    return cenote_error_set(error, CENOTE_INTERNAL, "a row of %zu values for %zu columns", count,
                            into == NULL ? (size_t)0 : into->columns);
  }
  uint64_t texts;
  if (!measure(values, count, &texts)) {
    return cenote_error_set(error, CENOTE_INTERNAL, "a value of a type that does not exist");
  }
  return sink->result != NULL ? row_collect(sink, values, count, texts, error)
                              : row_deliver(sink, values, count, error);
}

void cenote_sink_complete(cenote_sink *sink, int64_t affected_rows, int64_t last_insert_id,
                          const char *command)
{
  if (sink == NULL) {
    return;
  }
  if (sink->result == NULL && sink->header == NULL && sink->callback != NULL) {
    sink->header = cen_result_new(); /* a stream without columns still has counts */
  }
  struct cenote_result *result = sink->result != NULL ? sink->result : sink->header;
  if (result == NULL) {
    return;
  }
  result->affected_rows = affected_rows;
  result->last_insert_id = last_insert_id;
  size_t size = command == NULL ? 0 : strlen(command);
  if (size >= sizeof(result->command)) {
    size = cen_utf8_cut(command, sizeof(result->command) - 1);
  }
  memcpy(result->command, command == NULL ? "" : command, size);
  result->command[size] = '\0';
  if (sink->result == NULL && sink->columns != NULL) {
    (void)deliver_columns(sink); /* there were no rows */
  }
}
