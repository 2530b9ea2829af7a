/*
 * bounded.c - functions that take time for the product of their arguments' lengths. Nothing interrupts a
 * call of a function: with texts of some MiB, SQLite's own would hold a connection for hours, past
 * every deadline and past the end of the process. In sessions of strangers these stand in their
 * place. They answer the same, in time for the sum of the lengths; where there is no such way, what
 * would take long is refused.
 */
#include "driver/sqlite/connection.h"

#include <string.h>

enum {
  MOST_TRIMMED = 1000,   /* bytes that trim() may take away: as behind LIKE */
  MOST_PATCH = 140 << 10 /* json_patch(): as two texts of this length, one shorter and one longer */
};

static bool is_continuation(char byte)
{
  return ((unsigned char)byte & 0xc0) == 0x80;
}

/* ---------------------------------------------------------------------------------- instr */

/* 1 for the first; 0: it is not there. In a text a match begins where a character does. */
static sqlite3_int64 place_of(const char *hay, size_t hay_size, const char *needle,
                              size_t needle_size, bool text)
{
  const char *found;
  sqlite3_int64 place = 1;
  if (needle_size > hay_size) {
    return 0;
  }
  if (text && is_continuation(needle[0])) { /* no character: only the text's own beginning has it */
    return memcmp(hay, needle, needle_size) == 0;
  }
  found = memmem(hay, hay_size, needle, needle_size);
  if (!found) {
    return 0;
  }
  if (!text) {
    return found - hay + 1;
  }
  while (found > hay) {
    place += !is_continuation(*found--);
  }
  return place;
}

/* A blob and something else are compared as texts; the copy leaves the argument as it is. */
static void instr_copies(sqlite3_context *context, sqlite3_value **arguments)
{
  sqlite3_value *hay = sqlite3_value_dup(arguments[0]);
  sqlite3_value *needle = sqlite3_value_dup(arguments[1]);
  const char *hay_text = hay ? (const char *)sqlite3_value_text(hay) : NULL;
  const char *needle_text = needle ? (const char *)sqlite3_value_text(needle) : NULL;
  if (!needle_text || (!hay_text && sqlite3_value_bytes(arguments[0]) > 0)) {
    sqlite3_result_error_nomem(context);
  } else {
    sqlite3_result_int64(context,
                         place_of(hay_text ? hay_text : "", (size_t)sqlite3_value_bytes(hay),
                                  needle_text, (size_t)sqlite3_value_bytes(needle), true));
  }
  sqlite3_value_free(hay);
  sqlite3_value_free(needle);
}

static void instr(sqlite3_context *context, int count, sqlite3_value **arguments)
{
  int types[2] = {sqlite3_value_type(arguments[0]), sqlite3_value_type(arguments[1])};
  bool blobs = types[0] == SQLITE_BLOB && types[1] == SQLITE_BLOB;
  const char *hay, *needle;
  size_t hay_size, needle_size;
  (void)count;
  if (types[0] == SQLITE_NULL || types[1] == SQLITE_NULL) {
    return;
  }
  if (sqlite3_value_bytes(arguments[1]) == 0) {
    sqlite3_result_int(context, 1);
    return;
  }
  if (!blobs && (types[0] == SQLITE_BLOB || types[1] == SQLITE_BLOB)) {
    instr_copies(context, arguments);
    return;
  }
  hay = blobs ? sqlite3_value_blob(arguments[0]) : (const char *)sqlite3_value_text(arguments[0]);
  hay_size = (size_t)sqlite3_value_bytes(arguments[0]);
  needle =
      blobs ? sqlite3_value_blob(arguments[1]) : (const char *)sqlite3_value_text(arguments[1]);
  needle_size = (size_t)sqlite3_value_bytes(arguments[1]);
  if (!needle || (!hay && hay_size > 0)) {
    sqlite3_result_error_nomem(context);
    return;
  }
  sqlite3_result_int64(context, place_of(hay ? hay : "", hay_size, needle, needle_size, !blobs));
}

/* -------------------------------------------------------------------------------- replace */

struct piece {
  const char *text;
  size_t size;
};

/* NULL: it is NULL, or no memory (then the context says so already). */
static bool piece_of(sqlite3_value *value, struct piece *piece)
{
  piece->text = (const char *)sqlite3_value_text(value);
  piece->size = (size_t)sqlite3_value_bytes(value);
  return piece->text != NULL;
}

static size_t count_of(const struct piece *in, const struct piece *what)
{
  size_t count = 0, at = 0;
  const char *found;
  while ((found = memmem(in->text + at, in->size - at, what->text, what->size)) != NULL) {
    at = (size_t)(found - in->text) + what->size;
    count++;
  }
  return count;
}

static void replace(sqlite3_context *context, int argument_count, sqlite3_value **arguments)
{
  struct piece in, what, with;
  size_t at = 0, wrote = 0;
  sqlite3_uint64 size;
  const char *found;
  char *out;
  (void)argument_count;
  if (!piece_of(arguments[0], &in) || !piece_of(arguments[1], &what)) {
    return;
  }
  if (what.text[0] == '\0') {
    sqlite3_result_value(context, arguments[0]);
    return;
  }
  if (!piece_of(arguments[2], &with)) {
    return;
  }
  size = in.size + (sqlite3_uint64)count_of(&in, &what) * with.size;
  size -= count_of(&in, &what) * what.size;
  if (size >
      (sqlite3_uint64)sqlite3_limit(sqlite3_context_db_handle(context), SQLITE_LIMIT_LENGTH, -1)) {
    sqlite3_result_error_toobig(context);
    return;
  }
  out = sqlite3_malloc64(size + 1);
  if (!out) {
    sqlite3_result_error_nomem(context);
    return;
  }
  while ((found = memmem(in.text + at, in.size - at, what.text, what.size)) != NULL) {
    size_t before = (size_t)(found - in.text) - at;
    memcpy(out + wrote, in.text + at, before);
    memcpy(out + wrote + before, with.text, with.size);
    wrote += before + with.size;
    at += before + what.size;
  }
  memcpy(out + wrote, in.text + at, in.size - at);
  wrote += in.size - at;
  out[wrote] = '\0';
  sqlite3_result_text64(context, out, wrote, sqlite3_free, SQLITE_UTF8);
}

/* ----------------------------------------------------------------------------------- trim */

enum side { LEFT = 1, RIGHT = 2 };

static size_t character(const char *text)
{
  size_t size = 1;
  if ((unsigned char)text[0] >= 0xc0) {
    while (is_continuation(text[size])) {
      size++;
    }
  }
  return size;
}

/* The size of the first of the characters that stands at that end; 0: none. */
static size_t trimmed(const struct piece *in, const char *characters, enum side side)
{
  size_t size;
  for (; *characters != '\0'; characters += size) {
    size = character(characters);
    if (size <= in->size &&
        memcmp(side == LEFT ? in->text : in->text + in->size - size, characters, size) == 0) {
      return size;
    }
  }
  return 0;
}

static void trim(sqlite3_context *context, int count, sqlite3_value **arguments)
{
  const enum side sides = *(const enum side *)sqlite3_user_data(context);
  struct piece in, characters = {" ", 1};
  size_t size;
  if (sqlite3_value_type(arguments[0]) == SQLITE_NULL || !piece_of(arguments[0], &in) ||
      (count == 2 && !piece_of(arguments[1], &characters))) {
    return;
  }
  if (characters.size > MOST_TRIMMED) {
    sqlite3_result_error(context, "the second argument of trim() has more than 1000 bytes", -1);
    return;
  }
  while ((sides & LEFT) && in.size > 0 && (size = trimmed(&in, characters.text, LEFT)) > 0) {
    in.text += size;
    in.size -= size;
  }
  while ((sides & RIGHT) && in.size > 0 && (size = trimmed(&in, characters.text, RIGHT)) > 0) {
    in.size -= size;
  }
  sqlite3_result_text64(context, in.text, in.size, SQLITE_TRANSIENT, SQLITE_UTF8);
}

/* ----------------------------------------------------------------------------- json_patch */

/* SQLite's own does it, in a database of its own: here its name is taken. */
static void patch(sqlite3_context *context, int count, sqlite3_value **arguments)
{
  sqlite3_uint64 product = (sqlite3_uint64)sqlite3_value_bytes(arguments[0]) *
                           (sqlite3_uint64)sqlite3_value_bytes(arguments[1]);
  sqlite3 *db = NULL;
  sqlite3_stmt *stmt = NULL;
  int code;
  (void)count;
  if (product > (sqlite3_uint64)MOST_PATCH * MOST_PATCH) {
    sqlite3_result_error(context, "the arguments of json_patch() are too long", -1);
    return;
  }
  code = sqlite3_open_v2(":memory:", &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
  if (code == SQLITE_OK) {
    code = sqlite3_prepare_v2(db, "SELECT json_patch(?1, ?2)", -1, &stmt, NULL);
  }
  if (code == SQLITE_OK) {
    sqlite3_bind_value(stmt, 1, arguments[0]);
    sqlite3_bind_value(stmt, 2, arguments[1]);
    code = sqlite3_step(stmt);
  }
  if (code == SQLITE_ROW) {
    sqlite3_result_value(context, sqlite3_column_value(stmt, 0));
    sqlite3_result_subtype(context, 'J');
  } else if (code == SQLITE_NOMEM || !db) {
    sqlite3_result_error_nomem(context);
  } else {
    sqlite3_result_error(context, sqlite3_errmsg(db), -1);
  }
  sqlite3_finalize(stmt);
  sqlite3_close(db);
}

int cen_sq_bound(sqlite3 *db)
{
  static const enum side left = LEFT, right = RIGHT, both = LEFT | RIGHT;
  static const struct {
    const char *name;
    int arguments;
    void (*call)(sqlite3_context *context, int count, sqlite3_value **arguments);
    const void *data;
  } functions[] = {
      {"instr", 2, instr, NULL},  {"replace", 3, replace, NULL}, {"ltrim", 2, trim, &left},
      {"rtrim", 2, trim, &right}, {"trim", 2, trim, &both},      {"json_patch", 2, patch, NULL},
  };
  enum { KIND = SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_INNOCUOUS };
  int code = SQLITE_OK;
  size_t i;
  for (i = 0; code == SQLITE_OK && i < sizeof(functions) / sizeof(*functions); i++) {
    code = sqlite3_create_function_v2(db, functions[i].name, functions[i].arguments, KIND,
                                      (void *)(uintptr_t)functions[i].data, functions[i].call, NULL,
                                      NULL, NULL);
  }
  return code;
}
