/*
 * pg_fixture.h - a real PostgreSQL server for one test program, by way of the script
 * with_postgres: private socket, free loopback port, SCRAM, TLS. It ends with pg_fixture_stop,
 * or when the test program ends however it ends. For the test's main thread.
 *
 *   int main(void)
 *   {
 *     if (!pg_fixture_start(&pg, NULL)) {
 *       return pg_fixture_skip(&pg);
 *     }
 *     int failed = cmocka_run_group_tests(tests, NULL, NULL);
 *     pg_fixture_stop(&pg);
 *     return failed;
 *   }
 */
#ifndef TEST_PG_FIXTURE_H
#define TEST_PG_FIXTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct pg_fixture {
  pid_t script;
  int leash;       /* the server stops when this closes */
  bool missing;    /* there is no PostgreSQL on this machine: skip, do not fail */
  char vars[8192]; /* NAME=VALUE, each NUL-terminated, ended by an empty one */
};

/* `max_connections` NULL: the script's default. The variables are also put into the
 * environment, where driver conformance and commands find them. */
bool pg_fixture_start(struct pg_fixture *pg, const char *max_connections);
void pg_fixture_stop(struct pg_fixture *pg);
/* After a failed start: prints TAP's "skip all" or fails; the exit status for main. */
int pg_fixture_skip(const struct pg_fixture *pg);

/* By the name after CENOTE_TEST_: "POSTGRES_URL", "PGBOUNCER_URL", …; "" when unknown. */
const char *pg_fixture_get(const struct pg_fixture *pg, const char *name);

/* Runs the control program, up to two words ("cert", "wrong"); its exit status. */
int pg_fixture_ctl(const struct pg_fixture *pg, const char *verb, const char *argument);

/* The verbs: stop cleanly; SIGKILL to the postmaster and every backend; start again; SIGSTOP and
 * SIGCONT to all of them. */
bool pg_fixture_shutdown(const struct pg_fixture *pg);
bool pg_fixture_kill(const struct pg_fixture *pg);
bool pg_fixture_restart(const struct pg_fixture *pg);
bool pg_fixture_pause(const struct pg_fixture *pg);
bool pg_fixture_resume(const struct pg_fixture *pg);

#endif
