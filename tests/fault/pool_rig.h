/*
 * pool_rig.h - a manager on a real database, looked at from inside and from outside: for the
 * end-to-end tests of the pool. Everything here fails the test when it does not go well, unless
 * it answers a status. Main thread, except where a function says otherwise.
 */
#ifndef TEST_POOL_RIG_H
#define TEST_POOL_RIG_H

#include "core/pool.h"
#include "manager/manager.h"
#include "net/clock.h"
#include "support/pg_fixture.h"

#include <cenote/cenote.h>

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Long enough for a loaded machine under a sanitizer: waiting for something that must come. */
enum { RIG_PATIENCE_MS = 20000, RIG_SETTINGS = 16 };

extern struct pg_fixture rig_server; /* the test program's server */

const char *rig_var(const char *name); /* pg_fixture_get of it */

/* A manager with what it logged; one at a time may be filled with rig_open. */
struct rig {
  cenote_manager *manager;
  cenote_options options; /* what is set before rig_open is kept */
  pthread_mutex_t lock;
  char log[1 << 16]; /* under the lock; every line, as long as there is room */
  size_t log_size;
};

/* Name, value, …, NULL. Fewer than RIG_SETTINGS pairs. */
void rig_open(struct rig *rig, const char *url, ...) __attribute__((sentinel));
/* Waits until nothing is leased or under way, checks the books, closes. */
void rig_close(struct rig *rig);
unsigned rig_logged(struct rig *rig, const char *text); /* how many lines hold it */

/* A password that changes: rig_tell_password with a struct rig_secret is options.password. */
struct rig_secret {
  pthread_mutex_t lock;
  char text[32];
};
bool rig_tell_password(void *context, const char *user, char *buffer, size_t size);
void rig_change_secret(struct rig_secret *secret, const char *text);

/* The pool's invariants; and the public counters, any thread. */
void rig_check(cenote_manager *manager);
cenote_statistics rig_statistics(cenote_manager *manager);
/* Nothing leased, waiting, opening, closing, checking or cleaning, within the patience. */
void rig_settle(cenote_manager *manager);
/* At least that many connections open and idle. */
void rig_wait_idle(cenote_manager *manager, int64_t count);

/* Any thread (they fail the test only on the main one: elsewhere use the status). */
cenote_lease rig_acquire(cenote_manager *manager, const char *operation);
void rig_release(cenote_lease lease);
cenote_status rig_run(cenote_lease lease, const char *sql, cenote_error *error);
cenote_status rig_run_for(cenote_lease lease, const char *sql, int64_t timeout_ms,
                          cenote_error *error);
void rig_must_run(cenote_lease lease, const char *sql);
int64_t rig_integer(cenote_lease lease, const char *sql);
/* The first value, in memory that the next call on this thread overwrites; "(null)". */
const char *rig_text(cenote_lease lease, const char *sql);

/* As the superuser, by plain libpq on a connection of its own each time. */
void admin_run(const char *sql);
int64_t admin_integer(const char *sql);
/* Until the query answers `wanted`; false when it does not within the patience. */
bool admin_becomes(const char *sql, int64_t wanted);

void rig_nap_ms(int64_t ms);
int64_t rig_cpu_ms(void); /* this process's, so far */

/* Something another thread does. */
struct rig_thread {
  pthread_t thread;
  void (*act)(void *context);
  void *context;
  int64_t delay_ms;
};
void rig_thread_start(struct rig_thread *thread, int64_t delay_ms, void (*act)(void *context),
                      void *context);
void rig_thread_join(struct rig_thread *thread);

#endif
