/* hrana_cursor.c - a cursor's lines as the client reads them, in whatever pieces they arrive. */
#include "wire/hrana_value.h"

#include <stdlib.h>
#include <string.h>

void cen_hrana_cursor_init(struct cen_hrana_cursor *cursor, size_t max_line)
{
  *cursor = (struct cen_hrana_cursor){.max_line = max_line, .step = -1};
}

void cen_hrana_cursor_deinit(struct cen_hrana_cursor *cursor)
{
  free(cursor->text);
  cen_hrana_table_deinit(&cursor->table);
  cen_hrana_cursor_init(cursor, cursor->max_line);
}

static bool room_make(struct cen_hrana_cursor *cursor, size_t size)
{
  if (cursor->begin > 0) {
    memmove(cursor->text, cursor->text + cursor->begin, cursor->size - cursor->begin);
    cursor->size -= cursor->begin;
    cursor->searched -= cursor->begin;
    cursor->begin = 0;
  }
  if (size > SIZE_MAX / 4 - cursor->size) {
    return false;
  }
  size_t needed = cursor->size + size;
  if (needed <= cursor->capacity) {
    return true;
  }
  size_t capacity = needed < 2 * cursor->capacity ? 2 * cursor->capacity : needed;
  char *text = realloc(cursor->text, capacity);
  if (text == NULL) {
    return false;
  }
  cursor->text = text;
  cursor->capacity = capacity;
  return true;
}

cenote_status cen_hrana_cursor_feed(struct cen_hrana_cursor *cursor, const char *bytes, size_t size,
                                    cenote_error *error)
{
  if (cursor->over || size == 0) {
    return CENOTE_OK;
  }
  if (!room_make(cursor, size)) {
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory for an answer");
  }
  memcpy(cursor->text + cursor->size, bytes, size);
  cursor->size += size;
  return CENOTE_OK;
}

/* ----------------------------------------------------------------- one line */

enum member { TYPE, STEP, COLS, ROW, AFFECTED, ROWID, ERROR, BATON, BASE_URL, MEMBERS };

static const char *const member_names[MEMBERS] = {
    "type",  "step",  "cols",    "row", "affected_row_count", "last_insert_rowid",
    "error", "baton", "base_url"};

struct line {
  struct cen_reader reader;
  struct cen_reader at[MEMBERS];
  uint64_t seen;
  bool no_memory;
};

static bool members_find(struct line *line)
{
  if (!cen_read_object(&line->reader)) {
    return false;
  }
  for (int i; (i = cen_read_known(&line->reader, member_names, MEMBERS, &line->seen)) >= 0;) {
    line->at[i] = line->reader;
    if (!cen_read_skip(&line->reader)) {
      return false;
    }
  }
  return cen_read_end(&line->reader);
}

/* The reader before the member's value, or NULL: it is not there. */
static struct cen_reader *member(struct line *line, enum member which)
{
  return (line->seen & 1u << which) != 0 ? &line->at[which] : NULL;
}

/* The problem is the line's. */
static bool passed(struct line *line, const struct cen_reader *r, bool fine)
{
  if (!fine) {
    line->reader = *r;
    cen_reader_problem(&line->reader, "not understood");
  }
  return fine;
}

static bool needed(struct line *line, enum member which)
{
  return member(line, which) != NULL ||
         cen_reader_problem(&line->reader, "an entry that is not whole");
}

static bool out_of_order(struct line *line)
{
  return cen_reader_problem(&line->reader, "an entry out of order");
}

static bool step_read(struct line *line, int64_t *step)
{
  struct cen_reader *r = &line->at[STEP];
  return needed(line, STEP) && passed(line, r, cen_read_int(r, step, NULL));
}

static bool step_begin(struct cen_hrana_cursor *cursor, struct line *line,
                       struct cen_hrana_entry *entry)
{
  int64_t step = -1;
  struct cen_reader *r = &line->at[COLS];
  if (!step_read(line, &step) || !needed(line, COLS)) {
    return false;
  }
  if (cursor->in_step || step <= cursor->step) {
    return out_of_order(line);
  }
  if (!passed(line, r, cen_hrana_columns_read(r, &cursor->table, &line->no_memory))) {
    return false;
  }
  cursor->in_step = true;
  cursor->step = step;
  entry->columns = cursor->table.columns;
  entry->count = cursor->table.count;
  return true;
}

static bool row(struct cen_hrana_cursor *cursor, struct line *line, struct cen_hrana_entry *entry)
{
  struct cen_reader *r = &line->at[ROW];
  if (!needed(line, ROW)) {
    return false;
  }
  if (!cursor->in_step) {
    return out_of_order(line);
  }
  entry->values = cursor->table.row;
  entry->count = cursor->table.count;
  return passed(line, r, cen_hrana_row_read(r, &cursor->table));
}

static bool step_end(struct cen_hrana_cursor *cursor, struct line *line,
                     struct cen_hrana_entry *entry)
{
  bool null;
  struct cen_reader *r = member(line, AFFECTED);
  if (!cursor->in_step) {
    return out_of_order(line);
  }
  cursor->in_step = false;
  if (r != NULL && !passed(line, r, cen_read_int(r, &entry->affected, &null))) {
    return false;
  }
  r = member(line, ROWID);
  return r == NULL || passed(line, r, cen_hrana_rowid_read(r, &entry->last_rowid));
}

static bool failure(struct line *line, cenote_error *error)
{
  struct cen_reader *r = &line->at[ERROR];
  cenote_status status;
  return needed(line, ERROR) && passed(line, r, cen_hrana_error_read(r, error, &status));
}

static bool step_error(struct cen_hrana_cursor *cursor, struct line *line, cenote_error *error)
{
  int64_t step = -1;
  if (!step_read(line, &step)) {
    return false;
  }
  if (cursor->in_step ? step != cursor->step : step <= cursor->step) {
    return out_of_order(line);
  }
  cursor->in_step = false;
  cursor->step = step;
  return failure(line, error);
}

static bool baton(struct cen_hrana_cursor *cursor, struct line *line, struct cen_hrana_entry *entry)
{
  struct cen_reader *r = member(line, BATON);
  entry->kind = CEN_HRANA_ENTRY_BATON;
  cursor->has_baton = true;
  if (r != NULL && !passed(line, r, cen_hrana_text_read(r, &entry->baton))) {
    return false;
  }
  r = member(line, BASE_URL);
  return r == NULL || passed(line, r, cen_hrana_text_read(r, &entry->base_url));
}

/* False with a problem, or without one where the entry is unknown. */
static bool entry_read(struct cen_hrana_cursor *cursor, struct line *line,
                       struct cen_hrana_entry *entry, cenote_error *error)
{
  static const char *const types[] = {"", "step_begin", "row", "step_end", "step_error", "error"};
  const char *type = NULL;
  unsigned kind = 1;
  if (!members_find(line)) {
    return false;
  }
  if (!cursor->has_baton) {
    return baton(cursor, line, entry);
  }
  struct cen_reader *r = &line->at[TYPE];
  if (!needed(line, TYPE) || !passed(line, r, cen_hrana_text_read(r, &type))) {
    return false;
  }
  while (kind <= CEN_HRANA_ENTRY_ERROR && strcmp(type == NULL ? "" : type, types[kind]) != 0) {
    kind++;
  }
  entry->kind = (enum cen_hrana_entry_kind)kind;
  bool fine = false;
  switch (entry->kind) {
  case CEN_HRANA_ENTRY_STEP_BEGIN:
    fine = step_begin(cursor, line, entry);
    break;
  case CEN_HRANA_ENTRY_ROW:
    fine = row(cursor, line, entry);
    break;
  case CEN_HRANA_ENTRY_STEP_END:
    fine = step_end(cursor, line, entry);
    break;
  case CEN_HRANA_ENTRY_STEP_ERROR:
    fine = step_error(cursor, line, error);
    break;
  case CEN_HRANA_ENTRY_ERROR:
    fine = failure(line, error);
    cursor->over = true;
    cursor->in_step = false;
    break;
  case CEN_HRANA_ENTRY_BATON:
    break;
  }
  entry->step = cursor->step < 0 ? 0 : (size_t)cursor->step;
  return fine;
}

static cenote_status too_long(struct cen_hrana_cursor *cursor, cenote_error *error)
{
  cursor->over = true;
  return cenote_error_set(error, CENOTE_TOO_LARGE,
                          "the answer of the server: a line of more than %zu bytes",
                          cursor->max_line);
}

cenote_status cen_hrana_cursor_next(struct cen_hrana_cursor *cursor, bool *has,
                                    struct cen_hrana_entry *entry, cenote_error *error)
{
  const struct cen_reader_limits limits = {cursor->max_line, CEN_HRANA_DEPTH, CEN_HRANA_ITEMS};
  *has = false;
  while (!cursor->over && cursor->searched < cursor->size) {
    char *begin = cursor->text + cursor->begin;
    char *end = memchr(cursor->text + cursor->searched, '\n', cursor->size - cursor->searched);
    size_t length = end == NULL ? cursor->size - cursor->begin : (size_t)(end - begin);
    if (length > cursor->max_line) {
      return too_long(cursor, error);
    }
    if (end == NULL) {
      cursor->searched = cursor->size;
      return CENOTE_OK;
    }
    cursor->begin = cursor->searched = (size_t)(end - cursor->text) + 1;
    struct line line = {.seen = 0};
    cen_reader_init(&line.reader, begin, length, &limits);
    *entry = (struct cen_hrana_entry){0};
    if (entry_read(cursor, &line, entry, error)) {
      *has = true;
      return CENOTE_OK;
    }
    if (line.reader.problem != NULL) {
      cursor->over = true;
      return cen_hrana_misread(&line.reader, line.no_memory, error);
    }
  }
  return CENOTE_OK;
}

cenote_status cen_hrana_cursor_end(const struct cen_hrana_cursor *cursor, cenote_error *error)
{
  if (!cursor->over && (!cursor->has_baton || cursor->in_step || cursor->begin < cursor->size)) {
    return cenote_error_set(error, CENOTE_IO, "the answer of the server: it ends too early");
  }
  return CENOTE_OK;
}
