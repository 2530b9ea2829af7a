/*
 * bench_role.c - twenty connections and no more, on any PostgreSQL: a role of our own with
 * CONNECTION LIMIT, so that the server itself refuses, and nobody else's sessions are squeezed.
 * Needs a login that may create roles; the role is dropped at the end.
 */
#include "cli/bench.h"

#include "base/buf.h"
#include "base/limits.h"
#include "base/text.h"

#include <errno.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { SECRET = 40 };

static bool secret_make(char secret[SECRET + 1])
{
  unsigned char bytes[SECRET / 2];
  if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes) {
    return false;
  }
  for (size_t i = 0; i < sizeof bytes; i++) {
    snprintf(secret + 2 * i, 3, "%02x", bytes[i]);
  }
  cen_wipe(bytes, sizeof bytes);
  return true;
}

/* Only letters and digits go unescaped; the rest as %XX. */
static void percent_add(struct cen_buf *buf, const char *text)
{
  for (; *text; text++) {
    unsigned char c = (unsigned char)*text;
    bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    cen_buf_format(buf, plain ? "%c" : "%%%02X", c);
  }
}

/* The same URL with another user. libpq takes it apart; put together it is all parameters. */
static char *url_with_role(const char *url, const char *role, const char *secret)
{
  char *message = NULL;
  PQconninfoOption *parts = PQconninfoParse(url, &message);
  PQfreemem(message);
  if (!parts) {
    return NULL;
  }
  struct cen_buf buf;
  cen_buf_init(&buf, CEN_MAX_URL);
  cen_buf_format(&buf, "postgresql:///?user=%s&password=%s", role, secret);
  bool has_database = false;
  for (const PQconninfoOption *part = parts; part->keyword; part++) {
    bool ours = strcmp(part->keyword, "user") == 0 || strcmp(part->keyword, "password") == 0;
    if (!part->val || !*part->val || ours) {
      continue;
    }
    has_database = has_database || strcmp(part->keyword, "dbname") == 0;
    cen_buf_format(&buf, "&%s=", part->keyword);
    percent_add(&buf, part->val);
  }
  PQconninfoFree(parts);
  char *made = has_database ? cen_buf_take(&buf) : NULL;
  cen_buf_deinit(&buf);
  return made;
}

/* Runs one statement of our own over a connection of its own. */
static bool statement_run(PGconn *connection, const char *sql, char *why, size_t size)
{
  PGresult *result = PQstatus(connection) == CONNECTION_OK ? PQexec(connection, sql) : NULL;
  bool ok = result && PQresultStatus(result) == PGRES_COMMAND_OK;
  if (!ok) {
    snprintf(why, size, "%s", PQerrorMessage(connection));
    why[strcspn(why, "\n")] = '\0';
  }
  PQclear(result);
  return ok;
}

/* The password goes to the server as a SCRAM verifier: its log never sees the text. */
static bool role_create(const struct bench_target *target, const char *role, const char *secret,
                        unsigned limit, char *why, size_t size)
{
  char sql[512], cause[160] = "out of memory";
  PGconn *connection = bench_postgres_open(target);
  char *verifier =
      connection ? PQencryptPasswordConn(connection, secret, role, "scram-sha-256") : NULL;
  bool made = false;
  if (verifier) {
    snprintf(sql, sizeof sql, "CREATE ROLE %s LOGIN CONNECTION LIMIT %u PASSWORD '%s'", role, limit,
             verifier);
    made = statement_run(connection, sql, cause, sizeof cause);
  }
  if (!made) {
    snprintf(why, size, "needs a login that may create roles: %s", cause);
  }
  PQfreemem(verifier);
  PQfinish(connection);
  return made;
}

bool bench_role_make(const struct bench_target *target, unsigned limit,
                     struct bench_target *limited, char *why, size_t size)
{
  char secret[SECRET + 1] = "";
  char role[sizeof target->table + 8];
  *limited = *target;
  limited->folder[0] = '\0';
  limited->url = limited->file = NULL;
  limited->http = NULL;
  snprintf(role, sizeof role, "%s_role", target->table);
  if (!secret_make(secret)) {
    snprintf(why, size, "no random bytes: %s", strerror(errno));
    return false;
  }
  limited->url = url_with_role(target->url, role, secret);
  bool made = limited->url != NULL;
  if (!made) {
    snprintf(why, size, "the URL names no database for a role of our own to log in to");
  }
  made = made && role_create(target, role, secret, limit, why, size);
  cen_wipe(secret, sizeof secret);
  if (!made) {
    bench_target_deinit(limited);
  }
  return made;
}

void bench_role_drop(const struct bench_target *target)
{
  char sql[128], cause[160] = "out of memory";
  PGconn *connection = bench_postgres_open(target);
  snprintf(sql, sizeof sql, "DROP ROLE %s_role", target->table);
  if (!connection || !statement_run(connection, sql, cause, sizeof cause)) {
    fprintf(stderr, "cenote: the role %s_role is left behind: %s\n", target->table, cause);
  }
  PQfinish(connection);
}
