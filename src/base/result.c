/* result.c - reading a result. Every question has an answer: a NULL result has no rows, an index
 * out of range finds a NULL value. */
#include "base/result.h"
#include "base/result_data.h"
#include "base/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct cenote_result *cen_result_new(void)
{
  struct cenote_result *result = malloc(CEN_RESULT_MEMORY);
  if (result == NULL) {
    return NULL;
  }
  memset(result, 0, sizeof(*result));
  cen_arena_init(&result->arena, result->first,
                 CEN_RESULT_MEMORY - offsetof(struct cenote_result, first));
  result->shared_texts = &result->texts;
  atomic_init(&result->texts.table, NULL);
  return result;
}

static void texts_free(struct cenote_result *result)
{
  _Atomic(char *) *table = atomic_load(&result->texts.table);
  if (table == NULL) {
    return;
  }
  for (size_t i = 0; i < result->rows * result->columns; i++) {
    free(atomic_load_explicit(&table[i], memory_order_relaxed));
  }
  free(table);
  atomic_store(&result->texts.table, NULL);
}

/* As new, but for the scratch memory, which is kept. */
void cen_result_clear(struct cenote_result *result)
{
  texts_free(result);
  cen_arena_deinit(&result->arena);
  result->columns = result->rows = result->room = 0;
  result->names = result->types = NULL;
  result->facts = NULL;
  result->row = NULL;
  result->bytes = 0;
  result->blocks = 0;
  result->affected_rows = result->last_insert_id = 0;
  result->command[0] = '\0';
  result->parameters = 0;
  result->parameter_names = NULL;
  result->is_readonly = result->is_explain = false;
}

void cenote_result_free(cenote_result *result)
{
  while (result != NULL) {
    struct cenote_result *next = result->next;
    cen_result_clear(result);
    free(result->scratch);
    free(result);
    result = next;
  }
}

void cenote_results_free(cenote_result **results, size_t n)
{
  if (results == NULL) {
    return;
  }
  for (size_t i = 0; i < n; i++) {
    cenote_result_free(results[i]);
  }
  free(results);
}

static bool has_column(const cenote_result *result, size_t column)
{
  return result != NULL && column < result->columns;
}

static bool has_cell(const cenote_result *result, size_t row, size_t column)
{
  return has_column(result, column) && row < result->rows;
}

const cenote_result *cenote_result_next(const cenote_result *result)
{
  return result == NULL ? NULL : result->next;
}

size_t cenote_result_columns(const cenote_result *result)
{
  return result == NULL ? 0 : result->columns;
}

const char *cenote_result_column_name(const cenote_result *result, size_t column)
{
  return has_column(result, column) ? result->names[column] : NULL;
}

const char *cenote_result_column_type(const cenote_result *result, size_t column)
{
  return has_column(result, column) ? result->types[column] : NULL;
}

uint32_t cenote_result_column_oid(const cenote_result *result, size_t column)
{
  return has_column(result, column) ? result->facts[column].oid : 0;
}

bool cenote_result_column(const cenote_result *result, size_t column, cenote_column *out)
{
  *out = (cenote_column){.modifier = -1};
  if (!has_column(result, column)) {
    return false;
  }
  const struct cen_column_facts *facts = &result->facts[column];
  *out = (cenote_column){.name = result->names[column],
                         .type = result->types[column],
                         .oid = facts->oid,
                         .table_oid = facts->table_oid,
                         .attribute = facts->attribute,
                         .type_size = facts->type_size,
                         .modifier = facts->modifier};
  return true;
}

size_t cenote_result_rows(const cenote_result *result)
{
  return result == NULL ? 0 : result->rows;
}

/* Field by field where it is to be: a value that is made whole and copied waits, each time, for
 * its parts to reach memory. */
static void read_cell(const struct cen_cell *cell, cenote_value *value)
{
  value->type = (cenote_type)cell->type;
  value->size = cell->size;
  value->name = NULL;
  value->as.integer = cell->as.integer; /* or the eight bytes of a real, or of an address: */
  switch (value->type) {
  case CENOTE_REAL:
    value->as.real = cell->as.real;
    break;
  case CENOTE_BOOLEAN:
    value->as.boolean = cell->as.integer != 0;
    break;
  case CENOTE_TEXT:
  case CENOTE_BLOB:
    value->as.text = cell->as.text;
    break;
  case CENOTE_INTEGER:
  case CENOTE_NULL:
    break;
  }
}

cenote_value cenote_result_value(const cenote_result *result, size_t row, size_t column)
{
  cenote_value value = {.type = CENOTE_NULL};
  if (has_cell(result, row, column)) {
    read_cell(cen_result_cell(result, row, column), &value);
  }
  return value;
}

size_t cenote_result_row(const cenote_result *result, size_t row, cenote_value *values,
                         size_t count)
{
  if (!has_cell(result, row, 0)) {
    return 0;
  }
  const struct cen_cell *cells = cen_result_cell(result, row, 0);
  const size_t known = result->columns < count ? result->columns : count;
  for (size_t i = 0; i < known; i++) {
    read_cell(&cells[i], &values[i]);
  }
  return known;
}

static bool is_whole_text(const struct cen_cell *cell)
{
  return cell->type == CENOTE_TEXT && memchr(cell->as.text, '\0', cell->size) == NULL;
}

static int64_t real_to_integer(double real)
{
  /* 2^63 itself is a double, INT64_MAX is not; NaN fails both comparisons */
  return real >= -0x1p63 && real < 0x1p63 ? (int64_t)real : 0;
}

int64_t cenote_result_integer(const cenote_result *result, size_t row, size_t column)
{
  if (!has_cell(result, row, column)) {
    return 0;
  }
  const struct cen_cell *cell = cen_result_cell(result, row, column);
  int64_t integer = 0;
  double real = 0;
  if (cell->type == CENOTE_INTEGER || cell->type == CENOTE_BOOLEAN) {
    return cell->as.integer;
  }
  if (cell->type == CENOTE_REAL) {
    return real_to_integer(cell->as.real);
  }
  if (is_whole_text(cell) && !cen_text_to_int(cell->as.text, &integer) &&
      cen_text_to_real(cell->as.text, &real)) {
    return real_to_integer(real);
  }
  return integer;
}

double cenote_result_real(const cenote_result *result, size_t row, size_t column)
{
  if (!has_cell(result, row, column)) {
    return 0;
  }
  const struct cen_cell *cell = cen_result_cell(result, row, column);
  double real = 0;
  if (cell->type == CENOTE_REAL) {
    return cell->as.real;
  }
  if (cell->type == CENOTE_INTEGER || cell->type == CENOTE_BOOLEAN) {
    return (double)cell->as.integer;
  }
  return is_whole_text(cell) && cen_text_to_real(cell->as.text, &real) ? real : 0;
}

/* The place where the text of a number is kept, or NULL when there is no memory. */
static _Atomic(char *) *texts_place(const cenote_result *result, size_t row, size_t column)
{
  struct cen_texts *texts = result->shared_texts;
  _Atomic(char *) *table = atomic_load(&texts->table);
  if (table == NULL) {
    _Atomic(char *) *fresh = calloc(result->rows, result->columns * sizeof(*fresh));
    if (fresh == NULL) {
      return NULL;
    }
    if (atomic_compare_exchange_strong(&texts->table, &table, fresh)) {
      table = fresh;
    } else {
      free(fresh); /* another reader was faster; `table` is its table now */
    }
  }
  return &table[row * result->columns + column];
}

static const char *number_text(const cenote_result *result, const struct cen_cell *cell, size_t row,
                               size_t column)
{
  _Atomic(char *) *place = texts_place(result, row, column);
  if (place == NULL) {
    return NULL;
  }
  char *text = atomic_load(place);
  if (text != NULL) {
    return text;
  }
  char number[CEN_REAL_TEXT];
  if (cell->type == CENOTE_REAL) {
    cen_text_from_real(number, cell->as.real);
  } else {
    snprintf(number, sizeof(number), "%" PRId64, cell->as.integer);
  }
  char *fresh = cen_text_copy(number);
  if (fresh != NULL && !atomic_compare_exchange_strong(place, &text, fresh)) {
    free(fresh);
    return text;
  }
  return fresh;
}

const char *cenote_result_text(const cenote_result *result, size_t row, size_t column)
{
  if (!has_cell(result, row, column)) {
    return NULL;
  }
  const struct cen_cell *cell = cen_result_cell(result, row, column);
  switch ((cenote_type)cell->type) {
  case CENOTE_TEXT:
    return cell->as.text;
  case CENOTE_BOOLEAN:
    return cell->as.integer != 0 ? "true" : "false";
  case CENOTE_INTEGER:
  case CENOTE_REAL:
    return number_text(result, cell, row, column);
  case CENOTE_NULL:
  case CENOTE_BLOB:
    break;
  }
  return NULL;
}

int64_t cenote_result_affected_rows(const cenote_result *result)
{
  return result == NULL ? 0 : result->affected_rows;
}

int64_t cenote_result_last_insert_id(const cenote_result *result)
{
  return result == NULL ? 0 : result->last_insert_id;
}

const char *cenote_result_command(const cenote_result *result)
{
  return result == NULL ? "" : result->command;
}
