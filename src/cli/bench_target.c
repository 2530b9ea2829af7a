/* bench_target.c - which database is measured, and the table in it that is ours for the while. */
#include "cli/bench.h"

#include "base/buf.h"
#include "base/limits.h"
#include "base/rng.h"
#include "base/text.h"
#include "net/clock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

static const char *environment_url(void)
{
  static const char *const names[] = {"CENOTE_URL", "DATABASE_URL", "TURSO_DATABASE_URL"};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    const char *url = getenv(names[i]);
    if (url && *url) {
      return url;
    }
  }
  return NULL;
}

static int complain(const char *text, int status)
{
  fprintf(stderr, "cenote: %s\n", text);
  return status;
}

/* A database file of our own, in a folder of our own. */
static int temporary_make(struct bench_target *target)
{
  const char *base = getenv("TMPDIR");
  int size = snprintf(target->folder, sizeof target->folder, "%s/cenote-bench.XXXXXX",
                      base && *base ? base : "/tmp");
  if (size < 0 || (size_t)size >= sizeof target->folder || !mkdtemp(target->folder)) {
    target->folder[0] = '\0';
    return complain("cannot make a temporary folder; is TMPDIR right?", CLI_FAILED);
  }
  char url[sizeof target->folder + 32];
  snprintf(url, sizeof url, "sqlite:%s/bench.db", target->folder);
  target->url = cen_text_copy(url);
  return target->url ? CLI_OK : complain("out of memory", CLI_FAILED);
}

/* sqlite:PATH as one of SQLite's own URIs, by the same rules as the library's (docs/sqlite.md);
 * parameters that SQLite does not know it ignores. */
static char *sqlite_uri(const char *url)
{
  bool ours = strncasecmp(url, "sqlite:", 7) == 0;
  const char *path = ours ? url + 7 : url;
  if (!ours) {
    return cen_text_copy(path);
  }
  path += strncmp(path, "//", 2) == 0 ? 2 : 0;
  struct cen_buf buf;
  cen_buf_init(&buf, CEN_MAX_URL + 16);
  cen_buf_text(&buf, *path == '/' ? "file://" : "file:");
  cen_buf_text(&buf, path);
  char *uri = cen_buf_take(&buf);
  cen_buf_deinit(&buf);
  return uri;
}

static int kind_find(struct bench_target *target)
{
  const char *url = target->url;
  if (strncasecmp(url, "postgres://", 11) == 0 || strncasecmp(url, "postgresql://", 13) == 0) {
    target->kind = BENCH_POSTGRES;
    return CLI_OK;
  }
  if (strncasecmp(url, "neon://", 7) == 0) {
    target->kind = BENCH_NEON;
    return CLI_OK;
  }
  if (strncasecmp(url, "libsql://", 9) == 0 || strncasecmp(url, "http://", 7) == 0 ||
      strncasecmp(url, "https://", 8) == 0) {
    target->kind = BENCH_LIBSQL;
    return CLI_OK;
  }
  bool sqlite = strncasecmp(url, "sqlite:", 7) == 0;
  if (!sqlite && strncasecmp(url, "file:", 5) != 0) {
    return complain("bench knows sqlite:, file:, postgres://, neon:// and libsql:// URLs",
                    CLI_USAGE);
  }
  target->kind = BENCH_SQLITE;
  if (strstr(url, ":memory:") || strstr(url, "mode=memory")) {
    return complain("bench needs a database that can be opened twice: a file, not :memory:",
                    CLI_USAGE);
  }
  target->file = sqlite_uri(url);
  return target->file ? CLI_OK : complain("out of memory", CLI_FAILED);
}

int bench_target_init(struct bench_target *target, const char *url)
{
  *target = (struct bench_target){0};
  const char *given = url ? url : environment_url();
  int status = CLI_OK;
  if (given) {
    target->url = cen_text_copy(given);
    status = target->url ? CLI_OK : complain("out of memory", CLI_FAILED);
  } else {
    status = temporary_make(target);
  }
  status = status == CLI_OK ? kind_find(target) : status;
  struct cen_rng rng;
  cen_rng_seed(&rng, (uint64_t)cen_now_ns() ^ ((uint64_t)getpid() << 32));
  snprintf(target->table, sizeof target->table, "cenote_bench_%08x",
           (unsigned)cen_rng_below(&rng, UINT64_C(1) << 32));
  const char *table = target->table;
  snprintf(target->simple, sizeof target->simple, "SELECT id, name FROM %s WHERE id = $1", table);
  snprintf(target->update, sizeof target->update, "UPDATE %s SET hits = hits + 1 WHERE id = $1",
           table);
  snprintf(target->read, sizeof target->read, "SELECT id, hits FROM %s WHERE id = $1", table);
  return status;
}

static void temporary_remove(const char *folder)
{
  static const char *const names[] = {"bench.db", "bench.db-wal", "bench.db-shm",
                                      "bench.db-journal"};
  char path[256];
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    snprintf(path, sizeof path, "%s/%s", folder, names[i]);
    (void)unlink(path);
  }
  if (rmdir(folder) != 0) {
    fprintf(stderr, "cenote: cannot remove %s: %s\n", folder, strerror(errno));
  }
}

void bench_target_deinit(struct bench_target *target)
{
  if (target->folder[0]) {
    temporary_remove(target->folder);
  }
  if (target->url) {
    cen_wipe(target->url, strlen(target->url));
  }
  free(target->url);
  free(target->file);
  bench_http_free(target->http);
  *target = (struct bench_target){0};
}

/* ---------------------------------------------------------------------- table */

/* `INSERT INTO t VALUES (1,'client 1',0),(2,…` */
static char *insert_text(const struct bench_target *target)
{
  struct cen_buf buf;
  cen_buf_init(&buf, 1 << 16);
  cen_buf_format(&buf, "INSERT INTO %s (id, name, hits) VALUES ", target->table);
  for (unsigned i = 1; i <= BENCH_MAX_CLIENTS; i++) {
    cen_buf_format(&buf, "%s(%u, 'client %u', 0)", i > 1 ? ", " : "", i, i);
  }
  char *text = cen_buf_take(&buf);
  cen_buf_deinit(&buf);
  return text;
}

static cenote_status statement_run(cenote_manager *manager, const char *sql, cenote_error *error)
{
  cenote_lease lease = {0};
  cenote_result *result = NULL;
  cenote_status status = cenote_acquire(manager, "cenote bench", -1, &lease, error);
  if (status == CENOTE_OK) {
    status = cenote_execute(lease, sql, NULL, 0, &result, error);
    cenote_result_free(result);
    cenote_release(lease);
  }
  error->status = status;
  return status;
}

bool bench_table_make(const struct bench_target *target, cenote_manager *manager,
                      cenote_error *error)
{
  char create[192];
  snprintf(create, sizeof create,
           "CREATE TABLE %s (id bigint PRIMARY KEY, name text NOT NULL, hits bigint NOT NULL)",
           target->table);
  char *insert = insert_text(target);
  error->status = CENOTE_NO_MEMORY;
  bool made = insert && statement_run(manager, create, error) == CENOTE_OK;
  if (made && statement_run(manager, insert, error) != CENOTE_OK) {
    cenote_error ignored = CENOTE_ERROR_INIT;
    bench_table_drop(target, manager, &ignored);
    made = false;
  }
  free(insert);
  return made;
}

bool bench_table_drop(const struct bench_target *target, cenote_manager *manager,
                      cenote_error *error)
{
  char drop[96];
  snprintf(drop, sizeof drop, "DROP TABLE %s", target->table);
  return statement_run(manager, drop, error) == CENOTE_OK;
}
