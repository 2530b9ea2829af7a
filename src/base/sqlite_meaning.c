#include "base/sqlite_meaning.h"

#include <cenote/driver.h>
#include <string.h>

#define ROW(name, sqlstate, status, retryable)            \
  {                                                       \
    "SQLITE_" #name, sqlstate, CENOTE_##status, retryable \
  }
static const struct cen_sqlite_meaning rows[] = {
    ROW(CONSTRAINT_UNIQUE, "23505", DATABASE, false),
    ROW(CONSTRAINT_PRIMARYKEY, "23505", DATABASE, false),
    ROW(CONSTRAINT_ROWID, "23505", DATABASE, false),
    ROW(CONSTRAINT_NOTNULL, "23502", DATABASE, false),
    ROW(CONSTRAINT_FOREIGNKEY, "23503", DATABASE, false),
    ROW(CONSTRAINT_CHECK, "23514", DATABASE, false),
    ROW(CONSTRAINT_TRIGGER, "P0001", DATABASE, false),
    ROW(CONSTRAINT_DATATYPE, "22000", DATABASE, false),
    ROW(CONSTRAINT_COMMITHOOK, "40002", DATABASE, false),
    ROW(CONSTRAINT, "23000", DATABASE, false),
    ROW(BUSY_SNAPSHOT, "40001", DATABASE, true),
    ROW(BUSY_RECOVERY, "55P03", DATABASE, true),
    ROW(BUSY, "55P03", DATABASE, true),
    ROW(LOCKED, "55P03", DATABASE, true),
    ROW(PROTOCOL, "55P03", DATABASE, true),
    ROW(READONLY_DBMOVED, "58P01", DATABASE, false),
    ROW(READONLY, "25006", DATABASE, false),
    ROW(INTERRUPT, "57014", CANCELLED, false),
    ROW(ABORT_ROLLBACK, "25P02", DATABASE, false),
    ROW(ABORT, "57014", CANCELLED, false),
    ROW(NOMEM, "53200", NO_MEMORY, true),
    ROW(FULL, "53100", DATABASE, true),
    ROW(IOERR_NOMEM, "53200", NO_MEMORY, true),
    ROW(IOERR, "58030", IO, true),
    ROW(CORRUPT, "XX001", DATABASE, false),
    ROW(NOTADB, "XX001", DATABASE, false),
    ROW(CANTOPEN, "58P01", CONNECT, true),
    ROW(TOOBIG, "54000", TOO_LARGE, false),
    ROW(NOLFS, "54000", TOO_LARGE, false),
    ROW(PERM, "42501", DATABASE, false),
    ROW(AUTH, "42501", DATABASE, false),
    ROW(MISMATCH, "42804", DATABASE, false),
    ROW(SCHEMA, "40001", DATABASE, true),
    ROW(RANGE, "07009", INVALID, false),
    ROW(MISUSE, "XX000", INTERNAL, false),
    ROW(INTERNAL, "XX000", INTERNAL, false),
    ROW(NOTFOUND, "0A000", DATABASE, false),
    ROW(ERROR, "42000", DATABASE, false),
};

/* The first that fits. */
static const struct {
  const char *text, *sqlstate;
} texts[] = {
    {"syntax error", "42601"},
    {"incomplete input", "42601"},
    {"unrecognized token", "42601"},
    {"values for", "42601"},
    {"no such table", "42P01"},
    {"no such view", "42P01"},
    {"no such column", "42703"},
    {"has no column named", "42703"},
    {"no such function", "42883"},
    {"wrong number of arguments to function", "42883"},
    {"no such index", "42704"},
    {"no such trigger", "42704"},
    {"no such collation", "42704"},
    {"already exists", "42P07"},
    {"ambiguous column name", "42702"},
    {"duplicate column name", "42701"},
    {"misuse of aggregate", "42803"},
    {"within a transaction", "25001"},
    {"no transaction is active", "25P01"},
    {"no such savepoint", "3B001"},
    {"an error has rolled the transaction back", "25P02"}, /* of Cenote's own, from its gateway */
    {"too many", "54000"},
    {"integer overflow", "22003"},
    {"malformed JSON", "22032"},
};

static const struct cen_sqlite_meaning *row_of(const char *name, size_t size)
{
  for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
    if (strlen(rows[i].name) == size && memcmp(rows[i].name, name, size) == 0) {
      return &rows[i];
    }
  }
  return NULL;
}

/* Servers tell of the primary code alone. */
static const char *constraint_name(const char *message)
{
  static const struct {
    const char *text, *name;
  } kinds[] = {{"UNIQUE constraint failed", "SQLITE_CONSTRAINT_UNIQUE"},
               {"NOT NULL constraint failed", "SQLITE_CONSTRAINT_NOTNULL"},
               {"FOREIGN KEY constraint failed", "SQLITE_CONSTRAINT_FOREIGNKEY"},
               {"CHECK constraint failed", "SQLITE_CONSTRAINT_CHECK"}};
  for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
    if (strstr(message, kinds[i].text) != NULL) {
      return kinds[i].name;
    }
  }
  return "SQLITE_CONSTRAINT";
}

const struct cen_sqlite_meaning *cen_sqlite_meaning(const char *name, const char *message)
{
  static const char prefix[] = "SQLITE_";
  if (strncmp(name, prefix, sizeof(prefix) - 1) != 0) {
    return NULL;
  }
  if (message != NULL && strcmp(name, "SQLITE_CONSTRAINT") == 0) {
    name = constraint_name(message);
  }
  for (size_t size = strlen(name); size >= sizeof(prefix); size--) {
    if (name[size] == '\0' || name[size] == '_') {
      const struct cen_sqlite_meaning *row = row_of(name, size);
      if (row != NULL) {
        return row;
      }
    }
  }
  return NULL;
}

const char *cen_sqlite_text_state(const char *message)
{
  for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
    if (strstr(message, texts[i].text) != NULL) {
      return texts[i].sqlstate;
    }
  }
  return NULL;
}

void cen_sqlite_constraint_fields(const char *message, cenote_error *error)
{
  static const char begin[] = "constraint failed: ";
  const char *at = strstr(message, begin);
  char name[128];
  if (at == NULL) {
    return;
  }
  at += sizeof(begin) - 1;
  if (strstr(message, "CHECK constraint") != NULL) {
    cenote_error_add_field(error, 'n', at);
    return;
  }
  const char *point = strchr(at, '.');
  if (point == NULL || (size_t)(point - at) >= sizeof(name)) {
    return;
  }
  memcpy(name, at, (size_t)(point - at));
  name[point - at] = '\0';
  cenote_error_add_field(error, 't', name);
  const size_t size = strcspn(point + 1, ", \n");
  if (size < sizeof(name)) {
    memcpy(name, point + 1, size);
    name[size] = '\0';
    cenote_error_add_field(error, 'c', name);
  }
}
