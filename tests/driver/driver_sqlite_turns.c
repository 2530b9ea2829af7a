/* One writer at a time, in turn; other processes' locks; the one database in memory. */
#include "driver/rig.h"
#include "driver/scratch.h"
#include "driver/sqlite/gate.h"

#include "net/clock.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

extern const cenote_driver cen_driver_sqlite;

enum { MOST = 4 };

struct place {
  struct rig rig;
  cenote_connection *connections[MOST];
};

static void nap_ms(int64_t ms)
{
  struct timespec ts = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
  nanosleep(&ts, NULL);
}

static void place_open(struct place *place, const char *url, int connections)
{
  cenote_error error = CENOTE_ERROR_INIT;
  memset(place, 0, sizeof(*place));
  assert_int_equal(rig_open(&place->rig, &cen_driver_sqlite, url, NULL, &error), CENOTE_OK);
  for (int i = 0; i < connections; i++) {
    place->connections[i] = rig_connect(&place->rig, &error);
    if (!place->connections[i]) {
      fail_msg("%s", error.message);
    }
  }
}

static void place_close(struct place *place)
{
  for (int i = 0; i < MOST; i++) {
    rig_disconnect(&place->rig, place->connections[i]);
  }
  rig_close(&place->rig);
}

static cenote_status run(struct place *place, int which, const char *sql, int64_t timeout_ms,
                         cenote_error *error)
{
  cenote_result *result;
  cenote_status status =
      rig_execute(&place->rig, place->connections[which], sql, NULL, 0, timeout_ms, &result, error);
  cenote_result_free(result);
  return status;
}

static void must(struct place *place, int which, const char *sql)
{
  cenote_error error = CENOTE_ERROR_INIT;
  if (run(place, which, sql, 20000, &error)) {
    fail_msg("%s: %s", sql, error.message);
  }
}

static void a_writer_waits_for_its_turn_until_its_deadline(void **state)
{
  struct place place;
  cenote_error error = CENOTE_ERROR_INIT;
  (void)state;
  place_open(&place, scratch_url(), 2);
  must(&place, 0, "CREATE TABLE t (a)");
  must(&place, 0, "BEGIN");
  must(&place, 0, "SELECT * FROM t"); /* reading takes no turn … */
  must(&place, 1, "INSERT INTO t VALUES (0)");
  must(&place, 0, "COMMIT");
  must(&place, 0, "BEGIN");
  must(&place, 0, "INSERT INTO t VALUES (1)"); /* … the first write does */
  assert_int_equal(run(&place, 1, "INSERT INTO t VALUES (2)", 150, &error),
                   CENOTE_STATEMENT_TIMEOUT);
  assert_non_null(strstr(error.message, "turn to write"));
  assert_int_equal(rig_integer(&place.rig, place.connections[1], "SELECT count(*) FROM t"), 1);
  must(&place, 0, "COMMIT");
  must(&place, 1, "INSERT INTO t VALUES (2)");
  assert_int_equal(rig_integer(&place.rig, place.connections[0], "SELECT count(*) FROM t"), 3);
  place_close(&place);
}

static bool writes(const struct place *place, int which)
{
  return cen_driver_sqlite.session(place->connections[which]) & CENOTE_SESSION_WRITING;
}

static void a_session_tells_while_it_has_the_turn(void **state)
{
  struct place place;
  (void)state;
  place_open(&place, scratch_url(), 2);
  must(&place, 0, "CREATE TABLE t (a)");
  assert_false(writes(&place, 0));
  must(&place, 0, "BEGIN");
  must(&place, 0, "SELECT * FROM t");
  assert_false(writes(&place, 0));
  must(&place, 0, "INSERT INTO t VALUES (1)");
  assert_true(writes(&place, 0));
  assert_false(writes(&place, 1));
  must(&place, 0, "ROLLBACK");
  assert_false(writes(&place, 0));
  place_close(&place);
}

struct canceller {
  cenote_connection *connection;
  _Atomic bool over;
};

/* Again, where the machine stood still and nothing ran yet. */
static void *cancel_later(void *context)
{
  struct canceller *canceller = context;
  nap_ms(150);
  while (!atomic_load(&canceller->over)) {
    cen_driver_sqlite.cancel(canceller->connection);
    nap_ms(5);
  }
  return NULL;
}

static void is_cancelled(struct place *place, int which, const char *sql)
{
  struct canceller canceller = {.connection = place->connections[which]};
  pthread_t thread;
  assert_int_equal(pthread_create(&thread, NULL, cancel_later, &canceller), 0);
  const cenote_status status = run(place, which, sql, 20000, NULL);
  atomic_store(&canceller.over, true);
  pthread_join(thread, NULL);
  assert_int_equal(status, CENOTE_CANCELLED);
}

static void a_waiting_writer_can_be_cancelled(void **state)
{
  struct place place;
  (void)state;
  place_open(&place, scratch_url(), 2);
  must(&place, 0, "CREATE TABLE t (a)");
  must(&place, 0, "BEGIN IMMEDIATE");
  is_cancelled(&place, 1, "INSERT INTO t VALUES (2)");
  must(&place, 0, "ROLLBACK");
  must(&place, 1, "INSERT INTO t VALUES (2)");
  place_close(&place);
}

static void a_destroyed_writer_gives_up_its_turn(void **state)
{
  struct place place;
  (void)state;
  place_open(&place, scratch_url(), 2);
  must(&place, 0, "CREATE TABLE t (a)");
  must(&place, 0, "BEGIN IMMEDIATE");
  cen_driver_sqlite.destroy(place.connections[0]);
  place.connections[0] = NULL;
  must(&place, 1, "INSERT INTO t VALUES (2)");
  place_close(&place);
}

/* Another manager stands for another process: it has a gate of its own. */
static void another_processs_lock_is_waited_for_until_the_deadline(void **state)
{
  struct place here;
  struct place there;
  char url[400];
  cenote_error error = CENOTE_ERROR_INIT;
  (void)state;
  snprintf(url, sizeof(url), "%s", scratch_url());
  place_open(&here, url, 1);
  place_open(&there, url, 1);
  must(&here, 0, "CREATE TABLE t (a)");
  must(&there, 0, "BEGIN IMMEDIATE");
  assert_int_equal(run(&here, 0, "INSERT INTO t VALUES (1)", 150, &error),
                   CENOTE_STATEMENT_TIMEOUT);
  assert_string_equal(error.sqlstate, "55P03");
  is_cancelled(&here, 0, "INSERT INTO t VALUES (1)");
  must(&there, 0, "COMMIT");
  must(&here, 0, "INSERT INTO t VALUES (1)");
  place_close(&there);
  place_close(&here);
}

static void an_overtaken_reader_that_writes_must_run_again(void **state)
{
  struct place place;
  cenote_error error = CENOTE_ERROR_INIT;
  (void)state;
  place_open(&place, scratch_url(), 2);
  must(&place, 0, "CREATE TABLE t (a)");
  must(&place, 0, "BEGIN");
  must(&place, 0, "SELECT * FROM t");
  must(&place, 1, "INSERT INTO t VALUES (1)");
  assert_int_equal(run(&place, 0, "INSERT INTO t VALUES (2)", 20000, &error), CENOTE_DATABASE);
  assert_string_equal(error.sqlstate, "40001");
  assert_true(error.retryable);
  must(&place, 0, "ROLLBACK");
  must(&place, 0, "INSERT INTO t VALUES (2)");
  place_close(&place);
}

/* One thread alone: whoever waited for the other connection would wait until its deadline. */
static void expect(struct place *place, int which, const char *sql, int64_t timeout_ms,
                   cenote_status status, const char *code)
{
  cenote_error error = CENOTE_ERROR_INIT;
  assert_int_equal(run(place, which, sql, timeout_ms, &error), status);
  assert_string_equal(cenote_error_field(&error, 'X'), code);
}

static void a_stale_snapshot_is_told_at_once_while_another_has_the_turn(void **state)
{
  struct place place;
  (void)state;
  place_open(&place, scratch_url(), 2);
  must(&place, 0, "CREATE TABLE t (a)");
  must(&place, 0, "BEGIN DEFERRED");
  must(&place, 0, "SELECT * FROM t");
  must(&place, 1, "INSERT INTO t VALUES (1)"); /* the snapshot is stale from here on */
  must(&place, 1, "BEGIN IMMEDIATE");
  expect(&place, 0, "INSERT INTO t VALUES (2)", 20000, CENOTE_DATABASE, "SQLITE_BUSY_SNAPSHOT");
  assert_int_equal(cen_driver_sqlite.session(place.connections[0]), CENOTE_SESSION_IN_TRANSACTION);
  must(&place, 1, "COMMIT");
  must(&place, 0, "ROLLBACK");
  must(&place, 0, "INSERT INTO t VALUES (2)");
  place_close(&place);
}

static void a_snapshot_that_is_not_stale_waits_for_its_turn(void **state)
{
  struct place place;
  (void)state;
  place_open(&place, scratch_url(), 2);
  must(&place, 0, "CREATE TABLE t (a UNIQUE, b REFERENCES t (a) DEFERRABLE INITIALLY DEFERRED)");
  must(&place, 0, "BEGIN");
  must(&place, 0, "SELECT * FROM t");
  must(&place, 1, "BEGIN IMMEDIATE");
  must(&place, 1, "INSERT INTO t VALUES (5, 6)");
  expect(&place, 0, "INSERT INTO t (a) VALUES (1)", 150, CENOTE_STATEMENT_TIMEOUT, "SQLITE_BUSY");
  /* neither a commit that fails nor a rollback makes it stale */
  expect(&place, 1, "COMMIT", 20000, CENOTE_DATABASE, "SQLITE_CONSTRAINT_FOREIGNKEY");
  expect(&place, 0, "INSERT INTO t (a) VALUES (1)", 150, CENOTE_STATEMENT_TIMEOUT, "SQLITE_BUSY");
  must(&place, 1, "ROLLBACK");
  must(&place, 0, "INSERT INTO t (a) VALUES (1)");
  assert_true(writes(&place, 0));
  must(&place, 0, "COMMIT");
  place_close(&place);
}

static void a_turn_that_cannot_be_used_is_given_back(void **state)
{
  struct place place;
  (void)state;
  place_open(&place, scratch_url(), 2);
  must(&place, 0, "CREATE TABLE t (a)");
  must(&place, 0, "BEGIN");
  must(&place, 0, "SELECT * FROM t");
  must(&place, 1, "INSERT INTO t VALUES (1)");
  expect(&place, 0, "INSERT INTO t VALUES (2)", 20000, CENOTE_DATABASE, "SQLITE_BUSY_SNAPSHOT");
  assert_false(writes(&place, 0));
  must(&place, 1, "INSERT INTO t VALUES (3)"); /* while the other transaction is still open */
  must(&place, 0, "COMMIT");
  place_close(&place);
}

/* Without a write-ahead log the other one could not commit while we read. */
static void two_that_would_wait_for_each_other_do_not(void **state)
{
  struct place place;
  char url[400];
  (void)state;
  snprintf(url, sizeof(url), "%s?journal_mode=delete", scratch_url());
  place_open(&place, url, 2);
  must(&place, 0, "CREATE TABLE t (a)");
  must(&place, 0, "BEGIN");
  must(&place, 0, "SELECT * FROM t");
  must(&place, 1, "BEGIN IMMEDIATE");
  must(&place, 1, "INSERT INTO t VALUES (1)");
  expect(&place, 0, "INSERT INTO t VALUES (2)", 20000, CENOTE_DATABASE, "SQLITE_BUSY");
  must(&place, 0, "ROLLBACK");
  must(&place, 1, "COMMIT");
  place_close(&place);
}

static void a_database_in_memory_is_one_for_all(void **state)
{
  struct place place;
  cenote_error error = CENOTE_ERROR_INIT;
  (void)state;
  place_open(&place, "sqlite::memory:", 3);
  must(&place, 0, "CREATE TABLE t (a)");
  must(&place, 1, "INSERT INTO t VALUES (1)");
  must(&place, 0, "BEGIN");
  must(&place, 0, "INSERT INTO t VALUES (2)");
  assert_int_equal(run(&place, 1, "SELECT count(*) FROM t", 150, &error), CENOTE_STATEMENT_TIMEOUT);
  assert_non_null(strstr(error.message, "another lease's transaction"));
  assert_int_equal(cen_driver_sqlite.session(place.connections[1]), 0);
  assert_int_equal(rig_kind(&place.rig, place.connections[1], CENOTE_REQUEST_CHECK, NULL),
                   CENOTE_OK);
  place.connections[3] = rig_connect(&place.rig, &error); /* opening waits for nobody */
  assert_non_null(place.connections[3]);
  rig_disconnect(&place.rig, place.connections[0]); /* rolls back, frees the turn */
  place.connections[0] = NULL;
  assert_int_equal(rig_integer(&place.rig, place.connections[2], "SELECT count(*) FROM t"), 1);
  rig_disconnect(&place.rig, place.connections[1]);
  rig_disconnect(&place.rig, place.connections[2]);
  rig_disconnect(&place.rig, place.connections[3]);
  place.connections[1] = place.connections[2] = place.connections[3] = NULL;
  place.connections[0] = rig_connect(&place.rig, NULL); /* the manager keeps it */
  assert_int_equal(rig_integer(&place.rig, place.connections[0], "SELECT count(*) FROM t"), 1);
  place_close(&place);
}

/* ------------------------------------------------------------------ many threads */

struct writer {
  struct rig *rig;
  int rounds;
  int failed;
  unsigned seed;
};

/* Writes in transactions and without, reads, and stops some statements short. */
static void *write_much(void *context)
{
  struct writer *writer = context;
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_connection *connection = rig_connect(writer->rig, &error);
  if (!connection) {
    writer->failed = 1;
    return NULL;
  }
  for (int i = 0; i < writer->rounds; i++) {
    writer->failed += rig_do(writer->rig, connection, "UPDATE t SET a = a + 1") != CENOTE_OK;
    writer->failed += rig_begin(writer->rig, connection, CENOTE_BATCH_WRITE, NULL) != CENOTE_OK;
    int64_t a = rig_integer(writer->rig, connection, "SELECT a FROM t");
    writer->failed += rig_do(writer->rig, connection, "UPDATE t SET a = a + 1") != CENOTE_OK;
    writer->failed += rig_integer(writer->rig, connection, "SELECT a FROM t") != a + 1;
    writer->failed += rig_kind(writer->rig, connection, CENOTE_REQUEST_COMMIT, NULL) != CENOTE_OK;
    cenote_result *result = NULL; /* may or may not find its turn in time */
    (void)rig_execute(writer->rig, connection, "UPDATE u SET a = a + 1", NULL, 0,
                      (int64_t)((writer->seed + (unsigned)i) % 3), &result, NULL);
    cenote_result_free(result);
  }
  rig_disconnect(writer->rig, connection);
  return NULL;
}

static void many_writers(const char *url, int threads, int rounds)
{
  struct place place;
  struct writer *writers = calloc((size_t)threads, sizeof(*writers));
  pthread_t *handles = calloc((size_t)threads, sizeof(*handles));
  assert_non_null(writers);
  assert_non_null(handles);
  place_open(&place, url, 1);
  must(&place, 0, "CREATE TABLE t (a)");
  must(&place, 0, "CREATE TABLE u (a)");
  must(&place, 0, "INSERT INTO t VALUES (0)");
  must(&place, 0, "INSERT INTO u VALUES (0)");
  for (int i = 0; i < threads; i++) {
    writers[i] = (struct writer){.rig = &place.rig, .rounds = rounds, .seed = (unsigned)i};
    assert_int_equal(pthread_create(&handles[i], NULL, write_much, &writers[i]), 0);
  }
  for (int i = 0; i < threads; i++) {
    pthread_join(handles[i], NULL);
    assert_int_equal(writers[i].failed, 0);
  }
  assert_int_equal(rig_integer(&place.rig, place.connections[0], "SELECT a FROM t"),
                   2 * threads * rounds);
  place_close(&place);
  free(writers);
  free(handles);
}

static void sixty_four_threads_write_and_no_update_is_lost(void **state)
{
  (void)state;
  many_writers(scratch_url(), 64, 20);
}

static void sixteen_threads_share_the_database_in_memory(void **state)
{
  (void)state;
  many_writers("sqlite::memory:", 16, 10);
}

/* -------------------------------------------------------------------- the gate */

struct sleeper {
  struct cen_sq_gate *gate;
  struct cen_sq_waiter waiter;
  _Atomic int asked; /* how often it was asked whether it is stopped */
  _Atomic int awake; /* until then it is slow to wake up */
  bool entered;
};

static bool wake_up_slowly(void *context)
{
  struct sleeper *sleeper = context;
  if (atomic_fetch_add(&sleeper->asked, 1) > 0) {
    while (!atomic_load(&sleeper->awake)) {
      nap_ms(1);
    }
  }
  return false;
}

static void *queue_up(void *context)
{
  struct sleeper *sleeper = context;
  sleeper->entered =
      cen_sq_gate_enter(sleeper->gate, &sleeper->waiter, CEN_NEVER, wake_up_slowly, sleeper);
  return NULL;
}

static void newcomers_pass_a_slow_waiter_only_so_often(void **state)
{
  struct cen_sq_gate gate;
  struct sleeper sleeper = {.gate = &gate};
  pthread_t thread;
  int passed = 0;
  (void)state;
  cen_sq_gate_init(&gate);
  cen_link_init(&sleeper.waiter.link);
  assert_true(cen_sq_gate_try(&gate));
  assert_int_equal(pthread_create(&thread, NULL, queue_up, &sleeper), 0);
  while (atomic_load(&sleeper.asked) == 0) {
    nap_ms(1);
  }
  for (;;) {
    cen_sq_gate_leave(&gate);
    if (!cen_sq_gate_try(&gate)) {
      break;
    }
    passed++;
    assert_true(passed <= CEN_SQ_GATE_PASSES);
  }
  assert_int_equal(passed, CEN_SQ_GATE_PASSES);
  atomic_store(&sleeper.awake, 1);
  pthread_join(thread, NULL);
  assert_true(sleeper.entered);
  assert_false(cen_sq_gate_try(&gate));
  cen_sq_gate_leave(&gate);
  assert_true(cen_sq_gate_try(&gate));
  cen_sq_gate_leave(&gate);
  cen_sq_gate_deinit(&gate);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_writer_waits_for_its_turn_until_its_deadline),
      cmocka_unit_test(a_session_tells_while_it_has_the_turn),
      cmocka_unit_test(a_waiting_writer_can_be_cancelled),
      cmocka_unit_test(a_destroyed_writer_gives_up_its_turn),
      cmocka_unit_test(another_processs_lock_is_waited_for_until_the_deadline),
      cmocka_unit_test(an_overtaken_reader_that_writes_must_run_again),
      cmocka_unit_test(a_stale_snapshot_is_told_at_once_while_another_has_the_turn),
      cmocka_unit_test(a_snapshot_that_is_not_stale_waits_for_its_turn),
      cmocka_unit_test(a_turn_that_cannot_be_used_is_given_back),
      cmocka_unit_test(two_that_would_wait_for_each_other_do_not),
      cmocka_unit_test(a_database_in_memory_is_one_for_all),
      cmocka_unit_test(sixty_four_threads_write_and_no_update_is_lost),
      cmocka_unit_test(sixteen_threads_share_the_database_in_memory),
      cmocka_unit_test(newcomers_pass_a_slow_waiter_only_so_often),
  };
  return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
