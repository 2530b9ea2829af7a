/* libzdb_pool.c - see libzdb_pool.h. */
#include "support/libzdb_pool.h"

#include "support/bench.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Noreturn void abort_handler(const char *error)
{
  bench_die("libzdb: %s", error);
}

/* libzdb has a dialect of its own: user, password and port are required, a socket's directory is
 * a parameter. libpq takes our URL apart, with all of its own rules. */
static bool libzdb_url(const char *url, char *text, size_t size)
{
  PQconninfoOption *options = PQconninfoParse(url, NULL);
  if (options == NULL) {
    return false;
  }
  const char *host = "";
  const char *port = "5432";
  const char *user = "postgres";
  const char *password = "none";
  const char *database = "postgres";
  for (PQconninfoOption *option = options; option->keyword != NULL; option++) {
    if (option->val == NULL) {
      continue;
    }
    if (strcmp(option->keyword, "host") == 0) {
      host = option->val;
    } else if (strcmp(option->keyword, "port") == 0) {
      port = option->val;
    } else if (strcmp(option->keyword, "user") == 0) {
      user = option->val;
    } else if (strcmp(option->keyword, "password") == 0) {
      password = option->val;
    } else if (strcmp(option->keyword, "dbname") == 0) {
      database = option->val;
    }
  }
  bool is_socket = host[0] == '/';
  /* On a socket it passes no port on; libpq then looks here. */
  setenv("PGPORT", port, 1);
  int length = snprintf(text, size, "postgresql://%s:%s@%s:%s/%s?connect-timeout=5%s%s", user,
                        password, is_socket ? "localhost" : host, port, database,
                        is_socket ? "&unix-socket=" : "", is_socket ? host : "");
  PQconninfoFree(options);
  return length > 0 && (size_t)length < size;
}

ConnectionPool_T bench_libzdb_open(const char *url, int initial, int maximum)
{
  char text[1024];
  if (!libzdb_url(url, text, sizeof text)) {
    return NULL;
  }
  URL_T parsed = URL_new(text);
  if (parsed == NULL) {
    return NULL;
  }
  ConnectionPool_T pool = ConnectionPool_new(parsed);
  ConnectionPool_setAbortHandler(pool, abort_handler);
  ConnectionPool_setInitialConnections(pool, initial);
  ConnectionPool_setMaxConnections(pool, maximum);
  ConnectionPool_start(pool);
  return pool;
}

void bench_libzdb_close(ConnectionPool_T pool)
{
  URL_T url = ConnectionPool_getURL(pool);
  ConnectionPool_free(&pool);
  URL_free(&url);
}
