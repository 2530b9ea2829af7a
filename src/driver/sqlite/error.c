/*
 * error.c - SQLite's result codes as a status, a SQLSTATE and error fields. Generic errors
 * (SQLITE_ERROR) are told apart by their text.
 */
#include "driver/sqlite/connection.h"

#include "base/error.h"
#include "base/sqlite_meaning.h"

#include <stdio.h>
#include <string.h>

/* A result code by its name; what that means is in base/sqlite_meaning.h. */
struct code_row {
  int code;
  const char *name;
  bool breaks; /* the handle is not to be trusted any more */
};

/* Extended codes first; what is not here falls back to its primary code. */
#define ROW(code, breaks)                  \
  {                                        \
    SQLITE_##code, "SQLITE_" #code, breaks \
  }
static const struct code_row rows[] = {
    ROW(CONSTRAINT_UNIQUE, false),
    ROW(CONSTRAINT_PRIMARYKEY, false),
    ROW(CONSTRAINT_ROWID, false),
    ROW(CONSTRAINT_NOTNULL, false),
    ROW(CONSTRAINT_FOREIGNKEY, false),
    ROW(CONSTRAINT_CHECK, false),
    ROW(CONSTRAINT_TRIGGER, false),
    ROW(CONSTRAINT_DATATYPE, false),
    ROW(CONSTRAINT_COMMITHOOK, false),
    ROW(CONSTRAINT, false),
    ROW(BUSY_SNAPSHOT, false),
    ROW(BUSY_RECOVERY, false),
    ROW(BUSY, false),
    ROW(LOCKED, false),
    ROW(PROTOCOL, false),
    ROW(READONLY_DBMOVED, true),
    ROW(READONLY, false),
    ROW(INTERRUPT, false),
    ROW(ABORT, false),
    ROW(ABORT_ROLLBACK, false),
    ROW(NOMEM, false),
    ROW(FULL, false),
    ROW(IOERR_NOMEM, false),
    ROW(IOERR, true),
    ROW(CORRUPT, true),
    ROW(NOTADB, true),
    ROW(CANTOPEN, true),
    ROW(TOOBIG, false),
    ROW(NOLFS, false),
    ROW(PERM, false),
    ROW(AUTH, false),
    ROW(MISMATCH, false),
    ROW(SCHEMA, false),
    ROW(RANGE, false),
    ROW(MISUSE, true),
    ROW(INTERNAL, true),
    ROW(NOTFOUND, false),
    ROW(ERROR, false),
};

static const struct code_row *find_row(int code)
{
  int wanted = code;
  for (;;) {
    size_t i;
    for (i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
      if (rows[i].code == wanted) {
        return &rows[i];
      }
    }
    if (wanted == SQLITE_ERROR) {
      return NULL;
    }
    wanted = wanted == (wanted & 0xff) ? SQLITE_ERROR : wanted & 0xff;
  }
}

const char *cen_sq_code_name(int extended_code)
{
  const struct code_row *row = find_row(extended_code);
  return row ? row->name : "SQLITE_ERROR";
}

static const struct cen_sqlite_meaning *meaning_of(const struct code_row *row)
{
  return cen_sqlite_meaning(row != NULL ? row->name : "SQLITE_ERROR", NULL);
}

static const char *sqlstate_of(const struct code_row *row)
{
  return row != NULL ? meaning_of(row)->sqlstate : "XX000";
}

/* Where in the text that was prepared last; negative: SQLite does not say. */
static int error_offset(sqlite3 *db)
{
#if SQLITE_VERSION_NUMBER >= 3038000
  return db ? sqlite3_error_offset(db) : -1;
#else
  (void)db;
  return -1;
#endif
}

/* The place of the error, counted in characters from 1, as PostgreSQL has it. */
static void add_position(sqlite3 *db, const struct cen_sq_statement *statement, cenote_error *error)
{
  int offset = error_offset(db);
  char text[24];
  size_t position = 1;
  size_t i;
  if (!statement || statement->rewritten || offset < 0 ||
      (size_t)offset + statement->begins > statement->size) {
    return;
  }
  for (i = 0; i < (size_t)offset + statement->begins; i++) {
    position += ((unsigned char)statement->sql[i] & 0xc0) != 0x80;
  }
  snprintf(text, sizeof(text), "%zu", position);
  cenote_error_add_field(error, 'P', text);
}

/* Words for the codes whose own text does not say what to do. */
static const char *remedy(int code)
{
  switch (code & 0xff) {
  case SQLITE_BUSY:
    return code == SQLITE_BUSY_SNAPSHOT
               ? "another writer was first since this transaction began to read; run it again, "
                 "or begin it with CENOTE_BATCH_WRITE"
               : "another process holds the lock of the database";
  case SQLITE_FULL:
    return "the disk, or the database's page limit, is full";
  case SQLITE_READONLY:
    return code == SQLITE_READONLY_DBMOVED
               ? "the file was moved or deleted under the connection"
               : "the file, its directory or the transaction is read-only";
  case SQLITE_NOTADB:
    return "the file is no SQLite database, or an encrypted one";
  case SQLITE_CORRUPT:
    return "the file is damaged; restore it from a backup, or try sqlite3's .recover";
  default:
    return NULL;
  }
}

/* To who speaks SQLite's codes, a lock that was not to be had in time is SQLITE_BUSY. */
cenote_status cen_sq_stop_error(cenote_connection *connection, enum cen_sq_reason reason,
                                const char *what, cenote_error *error)
{
  cenote_status status = CENOTE_CANCELLED;
  if (reason == CEN_SQ_ABORTED) {
    connection->broken = true;
    status = cenote_error_set(error, CENOTE_CONNECTION_LOST, "the connection was aborted while %s",
                              what);
  } else if (reason == CEN_SQ_DEADLINE) {
    status = cenote_error_set(error, CENOTE_STATEMENT_TIMEOUT, "statement timeout while %s", what);
  } else {
    status = cenote_error_set(error, CENOTE_CANCELLED, "cancelled while %s", what);
  }
  cen_error_sqlstate(error, connection->locked_out ? "55P03" : "57014");
  if (reason != CEN_SQ_ABORTED) {
    bool queued = connection->locked_out || connection->queued;
    cenote_error_add_field(
        error, 'X', reason == CEN_SQ_DEADLINE && queued ? "SQLITE_BUSY" : "SQLITE_INTERRUPT");
  }
  return status;
}

static cenote_status fill(int code, const struct code_row *row, const char *message,
                          const char *sqlstate, const char *name, cenote_error *error)
{
  const char *more = remedy(code);
  cenote_status status = meaning_of(row)->status;
  cenote_error_set(error, status, "%s%s%s%s", message, more ? " (" : "", more ? more : "",
                   more ? ")" : "");
  if (error && error->size > offsetof(cenote_error, retryable)) {
    error->retryable = meaning_of(row)->retryable;
  }
  cen_error_sqlstate(error, sqlstate);
  cen_error_details(error, "%s (%d)", row ? row->name : "SQLite result code", code);
  cenote_error_add_field(error, 'S', "ERROR");
  cenote_error_add_field(error, 'C', sqlstate);
  cenote_error_add_field(error, 'M', message);
  cenote_error_add_field(error, 'X', name);
  return status;
}

cenote_status cen_sq_code_error(int code, cenote_error *error)
{
  const struct code_row *row = find_row(code);
  return fill(code, row, sqlite3_errstr(code), sqlstate_of(row), row ? row->name : "SQLITE_ERROR",
              error);
}

/* What confine.c has refused: say what it was. */
static cenote_status refused_error(const struct cen_sq_handle *handle, cenote_error *error)
{
  char message[160];
  snprintf(message, sizeof(message), "%s is refused: the setting sqlite_confined is on",
           handle->refused);
  return fill(SQLITE_AUTH, find_row(SQLITE_AUTH), message, "42501", "SQLITE_AUTH", error);
}

/* A native text's author knows a text that is wrong from one that names what is not there. */
static const char *name_error(sqlite3 *db, int code, const struct code_row *row,
                              const struct cen_sq_statement *statement, const char *sqlstate)
{
  if (statement && statement->native && code == SQLITE_ERROR) {
    if (strcmp(sqlstate, "42601") == 0) {
      return "SQL_PARSE_ERROR";
    }
    if (error_offset(db) >= 0) {
      return "SQL_INPUT_ERROR";
    }
  }
  return row ? row->name : "SQLITE_ERROR";
}

cenote_status cen_sq_error(cenote_connection *connection, int code,
                           const struct cen_sq_statement *statement, cenote_error *error)
{
  const struct cen_sq_handle *handle = connection->handle;
  sqlite3 *db = handle ? handle->db : NULL;
  const struct code_row *row = find_row(code);
  const char *message = db ? sqlite3_errmsg(db) : sqlite3_errstr(code);
  const char *sqlstate = sqlstate_of(row);
  enum cen_sq_reason reason = cen_sq_stopped(connection);
  int primary = code & 0xff;
  cenote_status status;

  if (reason != CEN_SQ_GO &&
      (primary == SQLITE_INTERRUPT || primary == SQLITE_BUSY || primary == SQLITE_LOCKED)) {
    return cen_sq_stop_error(connection, reason,
                             primary == SQLITE_INTERRUPT
                                 ? "running the statement"
                                 : "another process held the lock of the database",
                             error);
  }
  if (handle && handle->refused[0] &&
      (primary == SQLITE_AUTH || (primary == SQLITE_ERROR && strstr(message, "not authorized")))) {
    return refused_error(handle, error);
  }
  if (primary == SQLITE_ERROR) {
    const char *said = cen_sqlite_text_state(message);
    sqlstate = said != NULL ? said : "42000";
  }
  if (row && row->breaks) {
    connection->broken = true;
  }
  status =
      fill(code, row, message, sqlstate, name_error(db, code, row, statement, sqlstate), error);
  if (primary == SQLITE_CONSTRAINT) {
    cen_sqlite_constraint_fields(message, error);
  }
  if (db) {
    add_position(db, statement, error);
  }
  return status;
}
