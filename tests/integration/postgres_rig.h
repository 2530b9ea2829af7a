/*
 * postgres_rig.h - the PostgreSQL driver driven by hand (tests/driver/rig.h), with settings and a
 * log that can be looked at. For the integration tests of the driver; one thread each.
 */
#ifndef TEST_POSTGRES_RIG_H
#define TEST_POSTGRES_RIG_H

#include "driver/rig.h"
#include "support/pg_fixture.h"

#include <pthread.h>

struct CMUnitTest;

struct pg_rig {
  struct rig rig;
  const char *const *settings; /* name, value, …, NULL; or NULL */
  cenote_password_callback password;
  void *password_context;
  pthread_mutex_t lock;
  char log[8192]; /* every line, under the lock */
};

/* Set `settings` and `password` before; the rest may be zero. */
cenote_status pg_rig_open(struct pg_rig *pg, const char *url, cenote_error *error);
void pg_rig_close(struct pg_rig *pg);

/* Opens, connects; fails the test when that fails. */
cenote_connection *pg_rig_connect(struct pg_rig *pg, const char *url);
/* Opens, tries to connect, closes: the status, CENOTE_OK too. */
cenote_status pg_rig_try(const char *url, const char *const *settings, cenote_error *error);
/* Disconnects and closes. */
void pg_rig_end(struct pg_rig *pg, cenote_connection *connection);

bool pg_rig_logged(struct pg_rig *pg, const char *text);
unsigned pg_rig_session(struct pg_rig *pg, cenote_connection *connection);
/* The first value as text, in memory that the next call overwrites; "(failed)" on failure. */
const char *pg_rig_text(struct pg_rig *pg, cenote_connection *connection, const char *sql);

/* The end of main: starts the server (`max_connections` as pg_fixture_start has it), runs the
 * `count` tests, stops the driver's threads and the server; the exit status. */
int pg_rig_main(struct pg_fixture *server, const char *max_connections,
                const struct CMUnitTest *tests, size_t count);

#endif
