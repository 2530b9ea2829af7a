/*
 * rows.c - a result on its way to JavaScript; lib/decode.cjs is the other half. Behind slot and code:
 *
 *   end, piece, at                  where the next record begins, in numbers and in texts
 *   layout, fresh                   what is known of its columns, by number; `fresh`: it is told now:
 *     columns, {command}, ({name}, {type}, oid, table, attribute, size, modifier, kind)…
 *   rows, affected, number, {last id}    `number`: what the command's tag ends with, or -1
 *   blocks: rows, way, piece, at, …      the texts of a block begin there
 *
 * {…} tells its own type (text.c). Most blocks are PLAIN: each row is its nulls, 32 columns a number,
 * and one number a column, which is read as the column's kind says: a text is where it ends. So rows
 * are read by generated code without looking at anything. A row that does not fit that (another type
 * than the column's usual one, a long text, a large integer) is in a block of cells that tell their
 * own types.
 */
#include "addon.h"

#include <stdlib.h>
#include <string.h>

enum { LAYOUTS = 256, LAYOUT_COLUMNS = 256, COMMAND_TEXT = 64, RELEARNED_MOST = 8 };
enum kind { KIND_UNKNOWN, KIND_INTEGER, KIND_REAL, KIND_TEXT, KIND_BOOLEAN, KIND_BLOB, KIND_DATE };
enum { BLOCK_PLAIN, BLOCK_TOLD, BLOCK_HEAD = 4 };
enum { OID_TIMESTAMPTZ = 1184 };

/* The columns of a statement, as they were told to JavaScript. */
struct layout {
  uint64_t hash;
  unsigned flags;
  size_t columns;
  char command[COMMAND_TEXT]; /* the tag without the number it ends with */
  cenote_column *column;      /* all in one allocation with it */
  uint8_t *kind;
  unsigned relearned; /* how often a kind was wrong */
};

struct layouts {
  struct layout *known[LAYOUTS];
  struct layout *last; /* too wide to be remembered */
};

void layouts_free(struct layouts *layouts)
{
  if (layouts != NULL) {
    for (size_t i = 0; i < LAYOUTS; i++) {
      free(layouts->known[i]);
    }
    free(layouts->last);
    free(layouts);
  }
}

/* --------------------------------------------------------------------- layouts */

static uint64_t mix(uint64_t hash, uint64_t value)
{
  hash = (hash ^ value) * UINT64_C(0x9e3779b97f4a7c15);
  return hash ^ hash >> 29;
}

static uint64_t mix_text(uint64_t hash, const char *text)
{
  size_t size = text != NULL ? strlen(text) : 0;
  uint64_t eight = 0;
  for (; size >= sizeof eight; text += sizeof eight, size -= sizeof eight) {
    memcpy(&eight, text, sizeof eight);
    hash = mix(hash, eight);
  }
  eight = 0;
  if (size > 0) {
    memcpy(&eight, text, size);
  }
  return mix(hash, eight << 8 | size);
}

static bool is_text(const char *a, const char *b)
{
  return strcmp(a != NULL ? a : "", b != NULL ? b : "") == 0;
}

static uint64_t hash_of(const cenote_result *result, size_t columns, const char *command,
                        unsigned flags)
{
  uint64_t hash = mix_text(mix(flags, columns), command);
  for (size_t i = 0; i < columns; i++) {
    cenote_column column;
    const bool there = cenote_result_column(result, i, &column);
    (void)there; /* i < columns */
    hash = mix_text(mix(hash, (uint64_t)column.table_oid << 32 | column.oid), column.name);
  }
  return hash;
}

static bool is_same(const struct layout *layout, const cenote_result *result, size_t columns,
                    const char *command, unsigned flags)
{
  if (layout->flags != flags || layout->columns != columns ||
      strcmp(layout->command, command) != 0) {
    return false;
  }
  for (size_t i = 0; i < columns; i++) {
    cenote_column now;
    const cenote_column *was = &layout->column[i];
    if (!cenote_result_column(result, i, &now) || now.oid != was->oid ||
        now.table_oid != was->table_oid || now.attribute != was->attribute ||
        now.type_size != was->type_size || now.modifier != was->modifier ||
        !is_text(now.name, was->name) || !is_text(now.type, was->type)) {
      return false;
    }
  }
  return true;
}

static const char *copy_text(char **room, const char *text)
{
  const size_t size = text != NULL ? strlen(text) + 1 : 1;
  char *copy = *room;
  memcpy(copy, text != NULL ? text : "", size);
  *room += size;
  return copy;
}

static struct layout *layout_new(const cenote_result *result, size_t columns, const char *command,
                                 unsigned flags, uint64_t hash)
{
  size_t texts = 0;
  cenote_column column;
  for (size_t i = 0; i < columns && cenote_result_column(result, i, &column); i++) {
    texts += (column.name != NULL ? strlen(column.name) : 0) + 1;
    texts += (column.type != NULL ? strlen(column.type) : 0) + 1;
  }
  struct layout *layout =
      calloc(1, sizeof *layout + columns * (sizeof column + sizeof(uint8_t)) + texts);
  if (layout == NULL) {
    return NULL;
  }
  layout->hash = hash;
  layout->flags = flags;
  layout->columns = columns;
  layout->column = (cenote_column *)(layout + 1);
  layout->kind = (uint8_t *)(layout->column + columns);
  char *room = (char *)layout->kind + columns;
  memcpy(layout->command, command, strlen(command) + 1);
  for (size_t i = 0; i < columns && cenote_result_column(result, i, &column); i++) {
    layout->column[i] = column;
    layout->column[i].name = copy_text(&room, column.name);
    layout->column[i].type = copy_text(&room, column.type);
  }
  return layout;
}

static struct layout **layout_at(struct encoder *to, const cenote_result *result, size_t columns,
                                 const char *command, unsigned flags, double *index, bool *fresh)
{
  struct node_manager *owner = to->owner;
  if (owner->layouts == NULL) {
    owner->layouts = calloc(1, sizeof *owner->layouts);
    if (owner->layouts == NULL) {
      return NULL;
    }
  }
  const uint64_t hash = hash_of(result, columns, command, flags);
  const size_t place = hash % LAYOUTS;
  const bool small = columns <= LAYOUT_COLUMNS;
  struct layout **at = small ? &owner->layouts->known[place] : &owner->layouts->last;
  *index = small ? (double)place : -1;
  *fresh = !small || *at == NULL || (*at)->hash != hash ||
           !is_same(*at, result, columns, command, flags);
  if (*fresh) {
    free(*at);
    *at = layout_new(result, columns, command, flags, hash);
  }
  return *at != NULL ? at : NULL;
}

/* ----------------------------------------------------------------------- kinds */

static bool read_digits(const char **at, unsigned count, int *number)
{
  *number = 0;
  for (unsigned i = 0; i < count; i++, ++*at) {
    if (**at < '0' || **at > '9') {
      return false;
    }
    *number = *number * 10 + (**at - '0');
  }
  return true;
}

static bool read_mark(const char **at, char mark)
{
  if (**at != mark) {
    return false;
  }
  ++*at;
  return true;
}

static bool read_zone(const char **at, int *seconds)
{
  int hours = 0, minutes = 0, more = 0;
  const bool west = **at == '-';
  if (!west && **at != '+') {
    return false;
  }
  ++*at;
  if (!read_digits(at, 2, &hours) || (read_mark(at, ':') && !read_digits(at, 2, &minutes)) ||
      (read_mark(at, ':') && !read_digits(at, 2, &more))) {
    return false;
  }
  *seconds = (hours * 60 + minutes) * 60 + more;
  *seconds = west ? -*seconds : *seconds;
  return **at == '\0';
}

/* A time of PostgreSQL's with its zone, as milliseconds since 1970; years of four digits. */
static bool read_date(const char *at, double *number)
{
  int year, month, day, hour, minute, second, zone;
  if (!read_digits(&at, 4, &year) || !read_mark(&at, '-') || !read_digits(&at, 2, &month) ||
      !read_mark(&at, '-') || !read_digits(&at, 2, &day) || !read_mark(&at, ' ') ||
      !read_digits(&at, 2, &hour) || !read_mark(&at, ':') || !read_digits(&at, 2, &minute) ||
      !read_mark(&at, ':') || !read_digits(&at, 2, &second) || year < 100) {
    return false;
  }
  int ms = 0;
  if (read_mark(&at, '.')) {
    for (int weight = 100; *at >= '0' && *at <= '9'; at++, weight /= 10) {
      ms += (*at - '0') * weight;
    }
  }
  if (!read_zone(&at, &zone)) {
    return false;
  }
  /* Days since 1970 of the proleptic Gregorian calendar; the year begins in March. */
  const int shifted = month <= 2 ? year - 1 : year;
  const int era = shifted / 400;
  const int of_era = shifted - era * 400;
  const int of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
  const int days = era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
  *number = ((double)days * 86400 + hour * 3600 + minute * 60 + second - zone) * 1000 + ms;
  return true;
}

/* A time as the library counts it (CENOTE_QUERY_TIMES), as read_date has it of its text: down to the
 * millisecond. */
static double ms_of(int64_t time)
{
  const int64_t ms = time / 1000 - (time % 1000 < 0);
  return (double)ms + 946684800000.0;
}

/* Is it a number where the column's text would be a date? */
static bool is_time(const struct layout *layout, size_t column)
{
  return (layout->flags & LAYOUT_DATES) != 0 && layout->column[column].oid == OID_TIMESTAMPTZ;
}

static enum kind kind_of(const struct layout *layout, size_t column, const cenote_value *value)
{
  double number;
  switch (value->type) {
  case CENOTE_INTEGER:
    return is_time(layout, column) ? KIND_DATE : KIND_INTEGER;
  case CENOTE_REAL:
    return KIND_REAL;
  case CENOTE_BOOLEAN:
    return KIND_BOOLEAN;
  case CENOTE_BLOB:
    return KIND_BLOB;
  case CENOTE_TEXT:
    return (layout->flags & LAYOUT_DATES) != 0 && (layout->flags & LAYOUT_RAW) == 0 &&
                   layout->column[column].oid == OID_TIMESTAMPTZ &&
                   read_date(value->as.text, &number)
               ? KIND_DATE
               : KIND_TEXT;
  case CENOTE_NULL:
  default:
    return KIND_UNKNOWN;
  }
}

/* The first value that is there tells a column's kind; where it was another before, the new one
 * counts, but not for ever. Answers whether something has changed. */
static bool learn(struct layout *layout, const cenote_result *result, size_t rows)
{
  bool changed = false;
  if (rows == 0) {
    return false;
  }
  for (size_t i = 0; i < layout->columns; i++) {
    enum kind kind = KIND_UNKNOWN;
    for (size_t row = 0; row < (layout->kind[i] == KIND_UNKNOWN ? rows : 1); row++) {
      const cenote_value value = cenote_result_value(result, row, i);
      kind = kind_of(layout, i, &value);
      if (kind != KIND_UNKNOWN) {
        break;
      }
    }
    if (kind != KIND_UNKNOWN && kind != layout->kind[i] &&
        (layout->kind[i] == KIND_UNKNOWN || layout->relearned < RELEARNED_MOST)) {
      layout->relearned += layout->kind[i] != KIND_UNKNOWN;
      layout->kind[i] = (uint8_t)kind;
      changed = true;
    }
  }
  return changed;
}

/* ------------------------------------------------------------------------ rows */

static enum text_fit plain_cell(enum kind kind, const cenote_value *value, double *number)
{
  static const double limit = 9007199254740991.0;
  switch (kind) {
  case KIND_INTEGER:
    *number = (double)value->as.integer;
    return value->type == CENOTE_INTEGER && *number >= -limit && *number <= limit ? TEXT_FITS
                                                                                  : TEXT_ALONE;
  case KIND_REAL:
    *number = value->as.real;
    return value->type == CENOTE_REAL ? TEXT_FITS : TEXT_ALONE;
  case KIND_BOOLEAN:
    *number = value->as.boolean;
    return value->type == CENOTE_BOOLEAN ? TEXT_FITS : TEXT_ALONE;
  case KIND_DATE:
    if (value->type == CENOTE_INTEGER) {
      *number = ms_of(value->as.integer);
      return TEXT_FITS;
    }
    return value->type == CENOTE_TEXT && read_date(value->as.text, number) ? TEXT_FITS : TEXT_ALONE;
  case KIND_TEXT:
  case KIND_BLOB:
  case KIND_UNKNOWN:
  default:
    return TEXT_ALONE; /* a blob is an object of its own anyhow */
  }
}

/* Most texts are plain ASCII, and there is room. `filled` is the encoder's: what is copied might be
 * anything of it, as far as the compiler knows. */
static enum text_fit plain_text(struct encoder *to, const cenote_value *value, size_t *filled)
{
  const size_t size = value->size;
  if (value->type != CENOTE_TEXT) {
    return TEXT_ALONE;
  }
  if (!to->wide && size <= PIECE_SIZE - *filled &&
      copy_ascii(to->narrow_text + *filled, value->as.text, size)) {
    *filled += size;
    return TEXT_FITS;
  }
  to->filled = *filled;
  const enum text_fit fit = piece_text(to, value->as.text, size);
  *filled = to->filled;
  return fit;
}

/* One row of a plain block, or nothing of it. */
static enum text_fit plain_row(struct encoder *to, const struct layout *layout,
                               const cenote_value *values)
{
  const size_t columns = layout->columns, before = to->filled;
  const uint8_t *kinds = layout->kind;
  double *masks = to->numbers + to->used;
  double *cells = masks + (columns + 31) / 32;
  size_t filled = before;
  uint32_t mask = 0;
  for (size_t i = 0; i < columns; i++) {
    enum text_fit fit = TEXT_FITS;
    if (values[i].type == CENOTE_NULL) {
      cells[i] = 0;
      mask |= UINT32_C(1) << (i & 31);
    } else if (kinds[i] == KIND_TEXT) {
      fit = plain_text(to, &values[i], &filled);
      cells[i] = (double)filled;
    } else {
      fit = plain_cell((enum kind)kinds[i], &values[i], &cells[i]);
    }
    if (fit != TEXT_FITS) {
      to->filled = before;
      return fit;
    }
    if ((i & 31) == 31 || i + 1 == columns) {
      *masks++ = (double)(int32_t)mask;
      mask = 0;
    }
  }
  to->filled = filled;
  to->used = (size_t)(cells + columns - to->numbers);
  return TEXT_FITS;
}

struct block {
  size_t head; /* where it begins in numbers; SIZE_MAX: none is open */
  size_t rows;
};

static void block_end(struct encoder *to, struct block *block)
{
  if (block->head != SIZE_MAX && block->rows == 0) {
    to->used = block->head;
  } else if (block->head != SIZE_MAX) {
    to->numbers[block->head] = (double)block->rows;
  }
  block->head = SIZE_MAX;
}

static void block_begin(struct encoder *to, struct block *block, int way)
{
  block_end(to, block);
  *block = (struct block){.head = to->used};
  put(to, 0);
  put(to, way);
  put(to, to->piece_count);
  put(to, (double)to->filled);
}

static enum text_fit plain_row_somewhere(struct encoder *to, struct block *block,
                                         const struct layout *layout, const cenote_value *values)
{
  if (to->filled >= PIECE_SOFT) {
    block_end(to, block);
    piece_end(to);
  }
  for (;;) {
    if (block->head == SIZE_MAX) {
      block_begin(to, block, BLOCK_PLAIN);
    }
    const enum text_fit fit = plain_row(to, layout, values);
    if (fit == TEXT_FITS) {
      block->rows++;
    }
    if (fit == TEXT_FITS || fit == TEXT_ALONE || (fit == TEXT_FULL && to->filled == 0)) {
      return fit;
    }
    block_end(to, block);
    piece_end(to);
    to->wide = fit == TEXT_WIDE;
  }
}

static bool put_rows(struct encoder *to, const struct layout *layout, const cenote_result *result,
                     size_t rows)
{
  struct block block = {.head = SIZE_MAX};
  const size_t columns = layout->columns;
  struct node_home *home = to->owner->home;
  if (rows > 0 && (columns > SIZE_MAX / 64 || !values_room(home, columns))) {
    return false;
  }
  for (size_t row = 0; row < rows; row++) {
    const cenote_value *values = home->values;
    if (!numbers_room(to, 3 * BLOCK_HEAD + 3 * columns + 1) ||
        cenote_result_row(result, row, home->values, columns) != columns) {
      return false;
    }
    if (plain_row_somewhere(to, &block, layout, values) == TEXT_FITS) {
      continue;
    }
    block_begin(to, &block, BLOCK_TOLD);
    for (size_t i = 0; i < columns; i++) {
      if (values[i].type == CENOTE_INTEGER && is_time(layout, i)) {
        put_date(to, ms_of(values[i].as.integer));
      } else {
        put_value(to, &values[i]);
      }
    }
    block.rows = 1;
    block_end(to, &block);
  }
  block_end(to, &block);
  return true;
}

/* --------------------------------------------------------------------- results */

/* "INSERT 0 1" is "INSERT 0 " and 1. */
static double split_command(const char *tag, char command[COMMAND_TEXT])
{
  size_t size = strnlen(tag, COMMAND_TEXT - 1);
  size_t start = size;
  double number = 0;
  memcpy(command, tag, size);
  command[size] = '\0';
  while (start > 0 && command[start - 1] >= '0' && command[start - 1] <= '9') {
    start--;
  }
  if (start == size || start == 0 || size - start > 15 || command[start - 1] != ' ') {
    return -1;
  }
  for (size_t i = start; i < size; i++) {
    number = number * 10 + (command[i] - '0');
  }
  command[start] = '\0';
  return number;
}

static bool put_layout(struct encoder *to, const struct layout *layout)
{
  if (!numbers_room(to, 16 + 10 * layout->columns)) {
    return false;
  }
  put(to, (double)layout->columns);
  put_word(to, layout->command);
  for (size_t i = 0; i < layout->columns; i++) {
    const cenote_column *column = &layout->column[i];
    put_word(to, column->name);
    put_word(to, column->type);
    put(to, column->oid);
    put(to, column->table_oid);
    put(to, column->attribute);
    put(to, column->type_size);
    put(to, column->modifier);
    put(to, layout->kind[i]);
  }
  return true;
}

static bool put_rest(struct encoder *to, const struct layout *layout, bool fresh,
                     const cenote_result *result, double number)
{
  const size_t rows = cenote_result_rows(result);
  if ((fresh && !put_layout(to, layout)) || !numbers_room(to, 16)) {
    return false;
  }
  const cenote_value last = cenote_integer(cenote_result_last_insert_id(result));
  put(to, (double)rows);
  put(to, (double)cenote_result_affected_rows(result));
  put(to, number);
  put_value(to, &last);
  return layout->columns == 0 || put_rows(to, layout, result, rows);
}

bool put_result(struct encoder *to, const cenote_result *result, unsigned flags)
{
  char command[COMMAND_TEXT];
  const double number = split_command(cenote_result_command(result), command);
  const size_t columns = cenote_result_columns(result);
  const size_t rows = cenote_result_rows(result);
  const size_t head = to->used;
  double index;
  bool fresh;
  struct layout **at = layout_at(to, result, columns, command, flags, &index, &fresh);
  if (at == NULL || !numbers_room(to, 16)) {
    return false;
  }
  fresh = learn(*at, result, rows) || fresh;
  to->used += 3; /* the end, written at the end */
  put(to, index);
  put(to, fresh);
  if (!put_rest(to, *at, fresh, result, number)) {
    free(*at); /* JavaScript does not know it */
    *at = NULL;
    return false;
  }
  to->numbers[head] = (double)to->used;
  to->numbers[head + 1] = to->piece_count;
  to->numbers[head + 2] = (double)to->filled;
  return true;
}
