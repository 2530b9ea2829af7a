/*
 * open.c - opening, configuring, checking and renewing a handle.
 *
 * What every session is given: WAL (readers and the writer do not wait for each other) with
 * synchronous=NORMAL (safe against a crash of the program; a power cut may take the last
 * commits, never the database), foreign keys on, extensions and double meanings of the schema
 * off. docs/sqlite.md lists them with the URL's parameters that change them.
 */
#include "driver/sqlite/connection.h"

#include "base/limits.h"
#include "base/error.h"
#include "net/clock.h"
#include "net/fork.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PROGRESS_EVERY = 1000, JOURNAL_LIMIT = 64 << 20 };

/*
 * Handles that a forked child inherited: they are the parent's. Closing one would drop locks and
 * may touch the WAL file, so a child only keeps them where a leak checker sees them.
 */
static struct {
  pthread_mutex_t lock;
  struct cen_sq_handle *first;
} abandoned = {.lock = PTHREAD_MUTEX_INITIALIZER};

void cen_sq_handle_free(struct cen_sq_handle *handle)
{
  if (!handle) {
    return;
  }
  if (handle->fork_count != cen_fork_count) {
    pthread_mutex_lock(&abandoned.lock);
    handle->abandoned_next = abandoned.first;
    abandoned.first = handle;
    pthread_mutex_unlock(&abandoned.lock);
    return;
  }
  cen_sq_cache_clear(&handle->cache);
  /* v2: a statement that the caller prepared on the lent handle and forgot does not keep us */
  sqlite3_close_v2(handle->db);
  free(handle);
}

/* Only a human can mend it: nobody should wait for the next attempt. */
static void mark_lasting(cenote_error *error)
{
  if (error && error->size > offsetof(cenote_error, retryable)) {
    error->retryable = false;
  }
}

/* Says why a file could not be opened, as far as the file system can tell. */
static cenote_status explain_cantopen(const struct cen_sq_url *url, int code, int system_error,
                                      cenote_error *error)
{
  const char *slash = strrchr(url->path, '/');
  struct stat info;
  bool lasting = true;
  char parent[1024] = ".";
  if (slash && (size_t)(slash - url->path) < sizeof(parent)) {
    size_t size = slash == url->path ? 1 : (size_t)(slash - url->path);
    memcpy(parent, url->path, size);
    parent[size] = '\0';
  }
  const bool missing = stat(url->path, &info) != 0 && errno == ENOENT;
  if (missing && stat(parent, &info) != 0 && errno == ENOENT) {
    cenote_error_set(error, CENOTE_CONNECT,
                     "cannot open %.150s: the directory %.150s does not exist; create it, "
                     "or correct the path in the URL",
                     url->path, parent);
  } else if (!missing && S_ISDIR(info.st_mode)) {
    cenote_error_set(error, CENOTE_CONNECT,
                     "cannot open %.300s: it is a directory; the URL must name a file", url->path);
  } else if (missing && url->must_exist) {
    cenote_error_set(error, CENOTE_CONNECT,
                     "cannot open %.300s: it does not exist, and the URL's mode does not "
                     "allow to create it",
                     url->path);
  } else if (missing && access(parent, W_OK | X_OK) != 0) {
    cenote_error_set(error, CENOTE_CONNECT,
                     "cannot create %.150s: this user may not write to the directory %.150s; "
                     "allow it, or name another place in the URL",
                     url->path, parent);
  } else {
    lasting = system_error == EACCES || system_error == ENOTDIR;
    cenote_error_set(error, CENOTE_CONNECT, "cannot open %.200s: %s%s%s", url->path,
                     sqlite3_errstr(code), system_error ? ": " : "",
                     system_error ? strerror(system_error) : "");
  }
  cen_error_sqlstate(error, "58P01");
  if (lasting) {
    mark_lasting(error);
  }
  return CENOTE_CONNECT;
}

/* An error while a session is being made is a failure to connect, whatever SQLite calls it. */
static cenote_status open_error(cenote_connection *connection, struct cen_sq_handle *handle,
                                int code, cenote_error *error)
{
  const struct cen_sq_url *url = &connection->shared->url;
  enum cen_sq_reason reason = cen_sq_stopped(connection);
  if (reason != CEN_SQ_GO) {
    return cen_sq_stop_error(connection, reason, "opening the database", error);
  }
  if (code == SQLITE_NOMEM || code == SQLITE_IOERR_NOMEM || !handle->db) {
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory while opening %.300s",
                            url->path);
  }
  if ((code & 0xff) == SQLITE_CANTOPEN) {
    return explain_cantopen(url, code, sqlite3_system_errno(handle->db), error);
  }
  const int primary = code & 0xff;
  cenote_error_set(
      error, CENOTE_CONNECT, "cannot open %.300s: %s%s", url->path, sqlite3_errmsg(handle->db),
      primary == SQLITE_READONLY ? "; let this user write the file and its directory, or add "
                                   "?immutable=1 to the URL where nobody writes"
                                 : "");
  cen_error_sqlstate(error,
                     primary == SQLITE_NOTADB || primary == SQLITE_CORRUPT ? "XX001" : "08001");
  cen_error_details(error, "%s (%d)", cen_sq_code_name(code), code);
  if (primary == SQLITE_READONLY || primary == SQLITE_NOTADB) {
    mark_lasting(error);
  }
  return CENOTE_CONNECT;
}

int cen_sq_own(cenote_connection *connection, const char *sql)
{
  struct cen_sq_handle *handle = connection->handle;
  bool before = handle->ours;
  int code;
  handle->ours = true;
  code = sqlite3_exec(handle->db, sql, NULL, NULL, NULL);
  handle->ours = before;
  return code;
}

static int harden(sqlite3 *db)
{
  int code = sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
  if (code == SQLITE_OK) {
    code = sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
  }
  if (code == SQLITE_OK) {
    code = sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0, NULL);
  }
  sqlite3_limit(db, SQLITE_LIMIT_SQL_LENGTH, CEN_MAX_SQL);
  sqlite3_limit(db, SQLITE_LIMIT_VARIABLE_NUMBER, CEN_MAX_ARGS);
  return code;
}

struct mode_text {
  char text[16];
};

static int keep_text(void *context, int columns, char **values, char **names)
{
  struct mode_text *mode = context;
  (void)names;
  if (columns > 0 && values[0]) {
    snprintf(mode->text, sizeof(mode->text), "%s", values[0]);
  }
  return 0;
}

/*
 * The journal mode is the file's: the first connection changes it, others find it so. The change
 * needs the file alone, hence the writer's turn.
 */
static int set_journal(cenote_connection *connection, sqlite3 *db, cenote_error *error,
                       cenote_status *status)
{
  const struct cen_sq_url *url = &connection->shared->url;
  struct mode_text mode = {""};
  char sql[48];
  bool held = connection->holds_gate;
  int code = sqlite3_exec(db, "PRAGMA journal_mode", keep_text, &mode, NULL);
  atomic_store(&connection->shared->wal, strcmp(mode.text, "wal") == 0);
  if (code || url->memory || url->read_only || strcmp(mode.text, url->journal) == 0) {
    return code;
  }
  *status = cen_sq_enter(connection, error);
  if (*status) {
    return SQLITE_OK;
  }
  snprintf(sql, sizeof(sql), "PRAGMA journal_mode=%s", url->journal);
  do { /* SQLite does not always ask the busy handler here */
    code = sqlite3_exec(db, sql, keep_text, &mode, NULL);
  } while ((code & 0xff) == SQLITE_BUSY && cen_sq_on_busy(connection->handle, 5));
  if (!held) {
    cen_sq_leave(connection);
  }
  atomic_store(&connection->shared->wal, strcmp(mode.text, "wal") == 0);
  if (code == SQLITE_OK && strcmp(mode.text, url->journal) != 0 && connection->params->log) {
    char line[96];
    snprintf(line, sizeof(line), "sqlite: journal mode is \"%s\"; \"%s\" is not possible here",
             mode.text, url->journal);
    connection->params->log(connection->params->log_context, CENOTE_LOG_WARNING, line);
  }
  return code;
}

static cenote_status configure(cenote_connection *connection, struct cen_sq_handle *handle,
                               cenote_error *error)
{
  const struct cen_sq_url *url = &connection->shared->url;
  cenote_status status = CENOTE_OK;
  char sql[160];
  int code = harden(handle->db);
  if (code == SQLITE_OK) {
    sqlite3_busy_handler(handle->db, cen_sq_on_busy, handle);
    sqlite3_progress_handler(handle->db, PROGRESS_EVERY, cen_sq_on_progress, handle);
    code = set_journal(connection, handle->db, error, &status);
  }
  if (code == SQLITE_OK && status == CENOTE_OK && connection->shared->confined) {
    code = cen_sq_confine(handle);
  }
  if (code == SQLITE_OK && status == CENOTE_OK) {
    snprintf(sql, sizeof(sql),
             "PRAGMA synchronous=%s; PRAGMA foreign_keys=%d; PRAGMA journal_size_limit=%d",
             url->synchronous, url->foreign_keys, JOURNAL_LIMIT);
    code = cen_sq_own(connection, sql);
  }
  return code == SQLITE_OK ? status : open_error(connection, handle, code, error);
}

static cenote_status open_handle(cenote_connection *connection, struct cen_sq_handle **out,
                                 cenote_error *error)
{
  const struct cen_sq_url *url = &connection->shared->url;
  int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
  struct cen_sq_handle *handle = calloc(1, sizeof(*handle));
  cenote_status status;
  int code;
  *out = NULL;
  if (!handle) {
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory while opening a connection");
  }
  cen_sq_cache_init(&handle->cache);
  handle->fork_count = cen_fork_count;
  handle->user = connection;
  handle->url = url;
  connection->handle = handle;
  /* one thread at a time is inside, so SQLite's own mutexes are for nothing; but the handle of
   * a database in memory may be lent to several callers at once */
  flags |= url->memory ? SQLITE_OPEN_FULLMUTEX : SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_URI;
  code = sqlite3_open_v2(url->uri, &handle->db, flags, NULL);
  if (handle->db) {
    sqlite3_extended_result_codes(handle->db, 1);
  }
  status = code == SQLITE_OK ? configure(connection, handle, error)
                             : open_error(connection, handle, code, error);
  connection->handle = NULL;
  handle->user = NULL;
  if (status) {
    cen_sq_handle_free(handle);
    return status;
  }
  *out = handle;
  return CENOTE_OK;
}

/* The one handle of a database in memory: the first connection makes it. */
static cenote_status open_memory(cenote_connection *connection, cenote_error *error)
{
  struct cen_sq_shared *shared = connection->shared;
  struct cen_sq_handle *handle = atomic_load(&shared->memory);
  cenote_status status = CENOTE_OK;
  if (!handle) {
    status = cen_sq_enter(connection, error);
    handle = atomic_load(&shared->memory);
    if (status == CENOTE_OK && !handle) {
      status = open_handle(connection, &handle, error);
      atomic_store(&shared->memory, handle);
    }
    cen_sq_leave(connection);
  }
  connection->handle = status == CENOTE_OK ? handle : NULL;
  return status;
}

cenote_status cen_sq_open(cenote_connection *connection, cenote_error *error)
{
  enum cen_sq_reason reason = cen_sq_stopped(connection);
  if (reason != CEN_SQ_GO) {
    return cen_sq_stop_error(connection, reason, "opening the database", error);
  }
  if (connection->shared->url.memory) {
    return open_memory(connection, error);
  }
  return open_handle(connection, &connection->handle, error);
}

/* What is left of a transaction goes; the shared handle of a database in memory stays. */
void cen_sq_close(cenote_connection *connection)
{
  struct cen_sq_handle *handle = connection->handle;
  bool ours = handle && handle->fork_count == cen_fork_count;
  connection->handle = NULL;
  if (connection->shared->url.memory) {
    if (ours && connection->holds_gate && !sqlite3_get_autocommit(handle->db)) {
      sqlite3_exec(handle->db, "ROLLBACK", NULL, NULL, NULL);
    }
  } else {
    cen_sq_handle_free(handle);
  }
  if (ours || !handle) {
    cen_sq_leave(connection);
  }
}

/* The database answers, and the file is still the one that its path names. */
cenote_status cen_sq_check(cenote_connection *connection, cenote_error *error)
{
  int moved = 0;
  if (connection->shared->url.memory) {
    return CENOTE_OK; /* nothing can have happened to it, and another lease may be inside */
  }
  if (sqlite3_file_control(connection->handle->db, NULL, SQLITE_FCNTL_HAS_MOVED, &moved) ==
          SQLITE_OK &&
      moved) {
    connection->broken = true;
    return cenote_error_set(error, CENOTE_CONNECTION_LOST,
                            "%.300s was deleted or replaced by another file",
                            connection->shared->url.path);
  }
  return cen_sq_run(connection, "PRAGMA schema_version", error);
}

/* A database in memory cannot be opened anew: what a session may have left is undone by hand. */
static cenote_status renew_memory(cenote_connection *connection, cenote_error *error)
{
  static const char find[] =
      "SELECT printf('DETACH \"%w\"', name), 0 FROM pragma_database_list WHERE seq > 1 "
      "UNION ALL SELECT printf('DROP %s IF EXISTS temp.\"%w\"', type, name), "
      "CASE type WHEN 'trigger' THEN 1 WHEN 'view' THEN 2 ELSE 3 END "
      "FROM temp.sqlite_schema WHERE type IN ('table', 'view', 'trigger') "
      "AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY 2 LIMIT 1";
  sqlite3 *db = connection->handle->db;
  int code;
  cen_sq_cache_clear(&connection->handle->cache);
  sqlite3_exec(db, "PRAGMA query_only=0; PRAGMA foreign_keys=0", NULL, NULL, NULL);
  do { /* one by one: each changes what is to be listed */
    sqlite3_stmt *stmt = NULL;
    char *sql = NULL;
    code = sqlite3_prepare_v2(db, find, -1, &stmt, NULL);
    if (code == SQLITE_OK && sqlite3_step(stmt) == SQLITE_ROW) {
      sql = sqlite3_mprintf("%s", sqlite3_column_text(stmt, 0));
    }
    sqlite3_finalize(stmt);
    if (!sql) {
      break;
    }
    code = sqlite3_exec(db, sql, NULL, NULL, NULL);
    sqlite3_free(sql);
  } while (code == SQLITE_OK);
  return code == SQLITE_OK ? configure(connection, connection->handle, error)
                           : cen_sq_error(connection, code, NULL, error);
}

cenote_status cen_sq_renew(cenote_connection *connection, cenote_error *error)
{
  cenote_status status;
  if (connection->shared->url.memory) {
    status = cen_sq_enter(connection, error);
    if (status == CENOTE_OK) {
      connection->handle->user = connection;
      connection->handle->ours = true;
      status = renew_memory(connection, error);
      connection->handle->ours = false;
      connection->handle->user = NULL;
    }
    cen_sq_leave(connection);
  } else {
    /* opening costs a tenth of a millisecond and leaves nothing behind */
    cen_sq_close(connection);
    status = open_handle(connection, &connection->handle, error);
  }
  connection->broken = connection->broken || status != CENOTE_OK;
  return status;
}
