/*
 * Statements of many callers on few shared connections, on a real server, when single ones of them
 * hang, fail, are cancelled or lose their connection. A table that another session has locked makes
 * a statement wait for exactly as long as a test wants.
 */
#include "fault/pool_rig.h"

#include <inttypes.h>
#include <libpq-fe.h>

static struct rig rig;

/* --------------------------------------------------------------------- the other session */

static PGconn *blocker;

static void blocker_run(const char *sql)
{
  PGresult *result = PQexec(blocker, sql);
  const ExecStatusType status = PQresultStatus(result);
  if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
    fail_msg("%s: %s", sql, PQerrorMessage(blocker));
  }
  PQclear(result);
}

static void block(const char *table)
{
  char sql[128];
  snprintf(sql, sizeof sql, "begin; lock table %s in access exclusive mode", table);
  blocker_run(sql);
}

static void unblock(void)
{
  blocker_run("rollback");
}

/* After each test, so that one that failed does not hang the next. */
static int let_go(void **state)
{
  (void)state;
  PQclear(PQexec(blocker, "rollback"));
  return 0;
}

/* Sessions of the pool that wait for a lock. */
static void wait_for_blocked(int64_t count)
{
  assert_true(admin_becomes("select count(*) from pg_stat_activity where application_name = "
                            "'simple' and wait_event_type = 'Lock'",
                            count));
}

/* --------------------------------------------------------------------------- the callers */

struct caller {
  pthread_t thread;
  const char *sql;
  int64_t argument;
  int64_t timeout_ms;
  cenote_hint hint;
  _Atomic bool started;
  _Atomic bool done;
  cenote_status status;
  int64_t answer;
  cenote_error error;
};

static void *call(void *context)
{
  struct caller *c = context;
  cenote_query_options options = CENOTE_QUERY_OPTIONS_INIT;
  options.operation_id = c->sql;
  options.timeout_ms = c->timeout_ms;
  options.hint = c->hint;
  const cenote_value args[] = {cenote_integer(c->argument)};
  cenote_result *result;
  c->error = (cenote_error)CENOTE_ERROR_INIT;
  atomic_store(&c->started, true);
  const size_t count = strchr(c->sql, '$') ? 1 : 0;
  c->status = cenote_query(rig.manager, c->sql, args, count, &options, &result, &c->error);
  c->answer = cenote_result_rows(result) > 0 ? cenote_result_integer(result, 0, 0) : -1;
  cenote_result_free(result);
  atomic_store(&c->done, true);
  return NULL;
}

static void start_call(struct caller *c)
{
  assert_int_equal(pthread_create(&c->thread, NULL, call, c), 0);
}

static void start_calls(struct caller *callers, size_t count)
{
  for (size_t i = 0; i < count; i++) {
    start_call(&callers[i]);
  }
}

static void join_call(struct caller *c)
{
  assert_int_equal(pthread_join(c->thread, NULL), 0);
}

/* Own rows, and only those. */
static void join_answered(struct caller *callers, size_t count)
{
  for (size_t i = 0; i < count; i++) {
    join_call(&callers[i]);
    if (callers[i].status != CENOTE_OK) {
      fail_msg("caller %zu: %s", i, callers[i].error.message);
    }
    assert_int_equal(callers[i].answer, callers[i].argument);
  }
}

static cenote_status ask(const char *sql, int64_t *answer, cenote_error *error)
{
  cenote_result *result;
  *error = (cenote_error)CENOTE_ERROR_INIT;
  const cenote_status status = cenote_query(rig.manager, sql, NULL, 0, NULL, &result, error);
  *answer = cenote_result_rows(result) > 0 ? cenote_result_integer(result, 0, 0) : -1;
  cenote_result_free(result);
  return status;
}

static int64_t must_answer(const char *sql)
{
  int64_t answer;
  cenote_error error;
  if (ask(sql, &answer, &error) != CENOTE_OK) {
    fail_msg("%s: %s", sql, error.message);
  }
  return answer;
}

static void wait_in_flight(int64_t count)
{
  const int64_t until = cen_deadline_ns(cen_now_ns(), RIG_PATIENCE_MS);
  while (rig_statistics(rig.manager).in_flight != count) {
    if (cen_now_ns() > until) {
      fail_msg("%" PRId64 " in flight instead of %" PRId64, rig_statistics(rig.manager).in_flight,
               count);
    }
    rig_nap_ms(2);
  }
}

/* Everybody is in flight before the hasty one, who waits for a lock, runs out of time? */
static bool all_in_flight(struct caller *hasty, struct caller *others, size_t count)
{
  static const char blocked[] = "select count(*) from pg_stat_activity where application_name = "
                                "'simple' and wait_event_type = 'Lock'";
  start_call(hasty);
  while (!atomic_load(&hasty->done) && admin_integer(blocked) != 1) {
    rig_nap_ms(2);
  }
  start_calls(others, count);
  while (!atomic_load(&hasty->done)) {
    if (rig_statistics(rig.manager).in_flight == 1 + (int64_t)count) {
      return true;
    }
    rig_nap_ms(2);
  }
  return false;
}

/* One shared connection for reads, however slow its head is. */
static void open_narrow(const char *slow_ms, const char *connections)
{
  rig.options = (cenote_options)CENOTE_OPTIONS_INIT;
  rig_open(&rig, rig_var("POSTGRES_URL"), "max_connections", "6", "min_connections", "0",
           "application_name", "simple", "simple_slow_ms", slow_ms, "simple_connections",
           connections, "retry_delay_ms", "20", NULL);
}

enum { NEIGHBOURS = 6 };

static void prepare_neighbours(struct caller *neighbours)
{
  for (int64_t i = 0; i < NEIGHBOURS; i++) {
    neighbours[i] = (struct caller){.sql = "select $1::int8", .argument = 100 + i};
  }
}

/* ----------------------------------------------------------------------------- cancels */

/* More and more, should the machine stand still for as long. */
static const int64_t hasty_ms[] = {400, 2000, 20000};
enum { HASTY_TRIES = sizeof hasty_ms / sizeof hasty_ms[0] };

static bool spares_the_neighbour(int64_t timeout_ms)
{
  open_narrow("60000", "1");
  struct caller head = {.sql = "select count(*) from blocked_a", .timeout_ms = timeout_ms};
  struct caller neighbours[NEIGHBOURS];
  prepare_neighbours(neighbours);
  block("blocked_a");
  const bool in_time = all_in_flight(&head, neighbours, NEIGHBOURS);
  join_call(&head);
  join_answered(neighbours, NEIGHBOURS);
  unblock();
  if (in_time) {
    assert_int_equal(head.status, CENOTE_STATEMENT_TIMEOUT);
    assert_int_equal(rig_statistics(rig.manager).connections_created, 1);
    assert_int_equal(rig_statistics(rig.manager).statement_errors, 1);
  }
  rig_close(&rig);
  return in_time;
}

static void cancel_spares_the_neighbour(void **state)
{
  (void)state;
  int tried = 0;
  while (!spares_the_neighbour(hasty_ms[tried])) {
    assert_true(++tried < HASTY_TRIES);
  }
}

struct answered {
  pthread_mutex_t lock;
  pthread_cond_t changed;
  unsigned count;
  cenote_status status;
};

static void on_answer(void *context, cenote_status status, cenote_result *result,
                      const cenote_error *error)
{
  struct answered *answered = context;
  (void)error;
  cenote_result_free(result);
  pthread_mutex_lock(&answered->lock);
  answered->count++;
  answered->status = status;
  pthread_cond_signal(&answered->changed);
  pthread_mutex_unlock(&answered->lock);
}

static void cancelled_call_affects_that_caller_only(void **state)
{
  (void)state;
  open_narrow("60000", "1");
  struct answered answered = {.lock = PTHREAD_MUTEX_INITIALIZER,
                              .changed = PTHREAD_COND_INITIALIZER};
  struct caller neighbours[NEIGHBOURS];
  cenote_ticket ticket;
  prepare_neighbours(neighbours);
  block("blocked_a");
  assert_int_equal(cenote_query_async(rig.manager, "select count(*) from blocked_a", NULL, 0, NULL,
                                      on_answer, &answered, &ticket, NULL),
                   CENOTE_OK);
  wait_for_blocked(1);
  start_calls(neighbours, NEIGHBOURS);
  wait_in_flight(1 + NEIGHBOURS);
  assert_int_equal(cenote_cancel_query(ticket), CENOTE_OK);
  join_answered(neighbours, NEIGHBOURS);
  pthread_mutex_lock(&answered.lock);
  while (answered.count == 0) {
    pthread_cond_wait(&answered.changed, &answered.lock);
  }
  pthread_mutex_unlock(&answered.lock);
  assert_int_equal(answered.status, CENOTE_CANCELLED);
  assert_int_equal(cenote_cancel_query(ticket), CENOTE_STALE);
  unblock();
  rig_close(&rig);
  assert_int_equal(answered.count, 1);
}

/* ------------------------------------------------------------------------------ leaders */

/* The first caller drives for the others; it leaves at its time-out. */
static bool leaves_at_its_timeout(int64_t timeout_ms)
{
  open_narrow("60000", "1");
  struct caller leader = {.sql = "select count(*) from blocked_a", .timeout_ms = timeout_ms};
  struct caller followers[2] = {{.sql = "select count(*) from blocked_b", .argument = 0},
                                {.sql = "select $1::int8", .argument = 7}};
  block("blocked_a, blocked_b");
  const bool in_time = all_in_flight(&leader, followers, 2);
  join_call(&leader);
  rig_nap_ms(50); /* the next one hangs as well, and somebody must be listening */
  unblock();
  join_answered(followers, 2);
  if (in_time) {
    assert_int_equal(leader.status, CENOTE_STATEMENT_TIMEOUT);
  }
  rig_close(&rig);
  return in_time;
}

static void leader_leaves_at_its_timeout(void **state)
{
  (void)state;
  int tried = 0;
  while (!leaves_at_its_timeout(hasty_ms[tried])) {
    assert_true(++tried < HASTY_TRIES);
  }
}

/* It leaves with its own answer while others still wait for theirs. */
static void leader_leaves_with_its_answer(void **state)
{
  (void)state;
  open_narrow("60000", "1");
  struct caller leader = {.sql = "select count(*) from blocked_a"};
  struct caller followers[3] = {{.sql = "select count(*) from blocked_b"},
                                {.sql = "select $1::int8", .argument = 8},
                                {.sql = "select $1::int8", .argument = 9}};
  PGconn *second = PQconnectdb(rig_var("POSTGRES_ADMIN_URL"));
  assert_int_equal(PQstatus(second), CONNECTION_OK);
  PQclear(PQexec(second, "begin; lock table blocked_b in access exclusive mode"));
  block("blocked_a");
  start_call(&leader);
  wait_for_blocked(1);
  start_calls(followers, 3);
  wait_in_flight(4);
  unblock();
  join_call(&leader);
  assert_int_equal(leader.status, CENOTE_OK);
  wait_for_blocked(1);
  PQfinish(second);
  join_answered(followers, 3);
  rig_close(&rig);
}

/* A statement that nobody waits for any more still stands in the way of those behind it. */
static void nobody_waits_and_the_answers_are_read(void **state)
{
  (void)state;
  open_narrow("60000", "1");
  struct caller head = {.sql = "select count(*) from blocked_a", .timeout_ms = 20000};
  struct caller impatient = {.sql = "select $1::int8", .argument = 1, .timeout_ms = 100};
  block("blocked_a");
  start_call(&head);
  wait_for_blocked(1);
  start_call(&impatient);
  join_call(&impatient);
  assert_true(impatient.status == CENOTE_TIMEOUT || impatient.status == CENOTE_STATEMENT_TIMEOUT);
  assert_false(atomic_load(&head.done));
  unblock();
  join_call(&head);
  assert_int_equal(head.status, CENOTE_OK);
  assert_int_equal(must_answer("select 5"), 5);
  rig_close(&rig);
}

/* --------------------------------------------------------------------------- slow heads */

static void slow_statements_do_not_block_others(void **state)
{
  (void)state;
  open_narrow("5", "3");
  struct caller slow[2] = {{.sql = "select count(*) from blocked_a"},
                           {.sql = "select 0 * count(*) from blocked_a"}};
  block("blocked_a");
  start_calls(slow, 1);
  wait_for_blocked(1);
  rig_nap_ms(20);
  for (int64_t i = 0; i < 20; i++) { /* past the slow one, on another connection */
    char sql[32];
    snprintf(sql, sizeof sql, "select %" PRId64, i);
    assert_int_equal(must_answer(sql), i);
  }
  start_calls(&slow[1], 1);
  wait_for_blocked(2);
  rig_nap_ms(20);
  assert_int_equal(must_answer("select 77"), 77);
  assert_false(atomic_load(&slow[0].done) || atomic_load(&slow[1].done));
  unblock();
  join_answered(slow, 2);
  rig_close(&rig);
}

/* ---------------------------------------------------------------------------- lost ones */

static void end_sessions(void)
{
  admin_run("select pg_terminate_backend(pid, 5000) from pg_stat_activity "
            "where application_name = 'simple'");
}

static void flushed_write_never_repeated(void **state)
{
  (void)state;
  open_narrow("60000", "2");
  admin_run("truncate written");
  struct caller write = {.sql = "insert into written values ($1) returning number", .argument = 1};
  struct caller behind = {.sql = "insert into written values ($1) returning number", .argument = 2};
  block("written");
  start_call(&write);
  wait_for_blocked(1);
  start_call(&behind);
  wait_in_flight(2);
  end_sessions();
  join_call(&write);
  join_call(&behind);
  unblock();
  assert_int_equal(write.status, CENOTE_OUTCOME_UNKNOWN);
  assert_int_equal(behind.status, CENOTE_OUTCOME_UNKNOWN);
  assert_false(write.error.retryable);
  assert_int_equal(rig_statistics(rig.manager).retries, 0);
  rig_nap_ms(100);
  assert_int_equal(admin_integer("select count(*) from written"), 0);
  rig_close(&rig);
}

static void reads_run_again_when_their_connection_dies(void **state)
{
  (void)state;
  open_narrow("60000", "1");
  struct caller head = {.sql = "select count(*) from blocked_a"};
  struct caller neighbours[NEIGHBOURS];
  prepare_neighbours(neighbours);
  block("blocked_a");
  start_call(&head);
  wait_for_blocked(1);
  start_calls(neighbours, NEIGHBOURS);
  wait_in_flight(1 + NEIGHBOURS);
  end_sessions();
  wait_for_blocked(1);
  unblock();
  join_answered(&head, 1);
  join_answered(neighbours, NEIGHBOURS);
  assert_true(rig_statistics(rig.manager).retries >= 1);
  rig_close(&rig);
}

/* A session that died while nobody used it costs a caller nothing, not even for a write. */
static void writes_survive_a_session_that_died_at_rest(void **state)
{
  (void)state;
  open_narrow("10", "2");
  admin_run("truncate written");
  assert_int_equal(must_answer("insert into written values (10) returning number"), 10);
  end_sessions();
  rig_nap_ms(50);
  assert_int_equal(must_answer("insert into written values (11) returning number"), 11);
  end_sessions();
  rig_nap_ms(700); /* longer than check_after_ms */
  assert_int_equal(must_answer("insert into written values (12) returning number"), 12);
  assert_int_equal(admin_integer("select count(*) from written"), 3);
  rig_close(&rig);
}

/* ------------------------------------------------------------------------------- state */

static void hidden_session_state(void **state)
{
  (void)state;
  open_narrow("10", "2");
  static const char *const leaving[] = {
      "select set_config('simple.secret', 'x', false)",
      "select pg_advisory_lock(77)",
      "select sets_state()",
      "set simple.secret = 'y'",
      "listen simple_channel",
      "prepare mine as select 1",
      "create temporary table mine (a int)",
      "declare c cursor with hold for select 1",
      "begin",
      "select * from (select pg_advisory_lock(78)) x",
      "with a as (select set_config('simple.secret', 'z', false)) select * from a",
  };
  for (size_t i = 0; i < sizeof leaving / sizeof leaving[0]; i++) {
    int64_t answer;
    cenote_error error;
    for (int again = 0; again < 3; again++) {
      (void)ask(leaving[i], &answer, &error);
      for (int look = 0; look < 4; look++) {
        if (must_answer(
                "select count(*) from pg_settings where name like 'simple.%' and setting <> ''") !=
                0 ||
            must_answer(
                "select (coalesce(current_setting('simple.secret', true), '') <> '')::int") != 0 ||
            must_answer("select count(*) from pg_listening_channels()") != 0) {
          fail_msg("%s left something behind", leaving[i]);
        }
      }
    }
  }
  assert_true(admin_becomes("select count(*) from pg_locks where locktype = 'advisory'", 0));
  rig_close(&rig);
}

static void read_only_fallback(void **state)
{
  (void)state;
  open_narrow("60000", "2");
  admin_run("truncate written");
  struct caller neighbours[NEIGHBOURS];
  struct caller head = {.sql = "select count(*) from blocked_a"};
  prepare_neighbours(neighbours);
  block("blocked_a");
  start_call(&head);
  wait_for_blocked(1);
  struct caller hidden = {.sql = "select number from writes_when_read"}; /* a view that writes */
  start_call(&hidden);
  start_calls(neighbours, NEIGHBOURS);
  unblock();
  join_call(&head);
  join_call(&hidden);
  join_answered(neighbours, NEIGHBOURS);
  if (hidden.status != CENOTE_OK) {
    fail_msg("%s", hidden.error.message);
  }
  assert_int_equal(head.status, CENOTE_OK);
  assert_int_equal(rig_statistics(rig.manager).fallbacks, 1);
  assert_int_equal(admin_integer("select count(*) from written"), 1);
  /* Known now. */
  (void)must_answer("select number from writes_when_read");
  assert_int_equal(rig_statistics(rig.manager).fallbacks, 1);
  assert_int_equal(admin_integer("select count(*) from written"), 2);
  rig_close(&rig);
}

static void failing_statement_poisons_nobody(void **state)
{
  (void)state;
  open_narrow("60000", "1");
  struct caller head = {.sql = "select count(*) from blocked_a"};
  struct caller crowd[30];
  block("blocked_a");
  start_call(&head);
  wait_for_blocked(1);
  for (int64_t i = 0; i < 30; i++) {
    crowd[i] =
        (struct caller){.sql = i % 3 == 0   ? "select 1 / ($1::int8 - $1::int8)"
                               : i % 3 == 1 ? "select nonsense from nowhere where $1::int8 = 1"
                                            : "select $1::int8",
                        .argument = i};
    start_call(&crowd[i]);
  }
  wait_in_flight(31);
  unblock();
  join_call(&head);
  assert_int_equal(head.status, CENOTE_OK);
  for (int64_t i = 0; i < 30; i++) {
    join_call(&crowd[i]);
    if (i % 3 == 2) {
      assert_int_equal(crowd[i].status, CENOTE_OK);
      assert_int_equal(crowd[i].answer, i);
    } else {
      assert_int_equal(crowd[i].status, CENOTE_DATABASE);
      assert_string_equal(crowd[i].error.sqlstate, i % 3 == 0 ? "22012" : "42P01");
    }
  }
  rig_close(&rig);
}

/* -------------------------------------------------------------------- beside the leases */

struct worker {
  pthread_t thread;
  int kind;
  unsigned done;
};

static void *take_turns(void *context)
{
  struct worker *worker = context;
  for (int64_t i = 0; i < 20; i++) {
    int64_t answer = -1;
    cenote_error error = CENOTE_ERROR_INIT;
    if (worker->kind == 0) {
      (void)ask("select 3", &answer, &error);
    } else if (worker->kind == 1) {
      (void)ask("insert into written values (3) returning number", &answer, &error);
    } else {
      cenote_lease lease;
      if (cenote_acquire(rig.manager, "exclusive", 20000, &lease, &error) == CENOTE_OK) {
        answer = rig_run(lease, "select 3", &error) == CENOTE_OK ? 3 : -1;
        rig_nap_ms(1);
        (void)cenote_release(lease);
      }
    }
    if (answer == 3) {
      worker->done++;
    }
  }
  return NULL;
}

static void all_paths_share_one_connection(void **state)
{
  (void)state;
  rig.options = (cenote_options)CENOTE_OPTIONS_INIT;
  rig_open(&rig, rig_var("POSTGRES_URL"), "max_connections", "1", "min_connections", "0",
           "acquire_timeout_ms", "20000", "application_name", "simple", NULL);
  struct worker workers[9];
  for (int i = 0; i < 9; i++) {
    workers[i] = (struct worker){.kind = i % 3};
    assert_int_equal(pthread_create(&workers[i].thread, NULL, take_turns, &workers[i]), 0);
  }
  for (int i = 0; i < 9; i++) {
    assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
    assert_int_equal(workers[i].done, 20);
  }
  assert_true(rig_statistics(rig.manager).total_connections <= 1);
  rig_close(&rig);
}

static void shared_connections_are_nobodys_lease(void **state)
{
  (void)state;
  open_narrow("10", "2");
  assert_int_equal(must_answer("select 4"), 4);
  const cenote_statistics now = rig_statistics(rig.manager);
  size_t count = 1;
  assert_int_equal(cenote_pool_leases(rig.manager, NULL, 0, &count), CENOTE_OK);
  assert_int_equal(count, 0);
  assert_int_equal(now.active_leases, 0);
  assert_int_equal(now.leases_granted, now.leases_released);
  assert_int_equal(now.pipelines, 1);
  assert_int_equal(now.simple.statements, 1);
  rig_close(&rig);
}

static void shutdown_ends_what_hangs(void **state)
{
  (void)state;
  open_narrow("60000", "1");
  struct caller callers[2] = {{.sql = "select count(*) from blocked_a"},
                              {.sql = "select $1::int8", .argument = 2}};
  block("blocked_a");
  start_call(&callers[0]);
  wait_for_blocked(1);
  start_call(&callers[1]);
  wait_in_flight(2);
  cenote_error error = CENOTE_ERROR_INIT;
  assert_int_equal(cenote_shutdown(rig.manager, 200, &error), CENOTE_TIMEOUT);
  for (int i = 0; i < 2; i++) {
    join_call(&callers[i]);
    assert_int_equal(callers[i].status, CENOTE_SHUTTING_DOWN);
    assert_non_null(strstr(callers[i].error.message, "shutting down"));
  }
  unblock();
  cenote_close(rig.manager);
}

static void unblock_later(void *context)
{
  (void)context;
  unblock();
}

/* Connections that merely rest on the simple path are nobody's: nobody is forced. */
static void shutdown_at_once_forces_nobody(void **state)
{
  (void)state;
  open_narrow("10", "2");
  assert_int_equal(must_answer("select 6"), 6);
  assert_int_equal(rig_statistics(rig.manager).pipelines, 1);
  cenote_error error = CENOTE_ERROR_INIT;
  if (cenote_shutdown(rig.manager, 0, &error) != CENOTE_OK) {
    fail_msg("%s: %s", error.message, error.details);
  }
  cenote_close(rig.manager);
}

static void shutdown_lets_finish_what_runs(void **state)
{
  (void)state;
  open_narrow("60000", "1");
  struct caller running = {.sql = "select count(*) from blocked_a"};
  block("blocked_a");
  start_call(&running);
  wait_for_blocked(1);
  struct rig_thread release;
  rig_thread_start(&release, 200, unblock_later, NULL);
  cenote_error error = CENOTE_ERROR_INIT;
  assert_int_equal(cenote_shutdown(rig.manager, 10000, &error), CENOTE_OK);
  rig_thread_join(&release);
  join_answered(&running, 1);
  cenote_close(rig.manager);
}

int main(void)
{
  if (!pg_fixture_start(&rig_server, NULL)) {
    return pg_fixture_skip(&rig_server);
  }
  admin_run("create table blocked_a (a int); create table blocked_b (a int);"
            "create table written (number int8);"
            "create function sets_state() returns text language plpgsql as "
            "$$ begin perform set_config('simple.secret', 'f', false); return 'f'; end $$;"
            "create function writes() returns int8 language sql volatile as "
            "$$ insert into written values (99) returning number $$;"
            "create view writes_when_read as select writes() as number;"
            "grant all on all tables in schema public to app");
  blocker = PQconnectdb(rig_var("POSTGRES_ADMIN_URL"));
  if (PQstatus(blocker) != CONNECTION_OK) {
    fprintf(stderr, "no second session: %s\n", PQerrorMessage(blocker));
    return 1;
  }
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_teardown(cancel_spares_the_neighbour, let_go),
      cmocka_unit_test_teardown(cancelled_call_affects_that_caller_only, let_go),
      cmocka_unit_test_teardown(leader_leaves_at_its_timeout, let_go),
      cmocka_unit_test_teardown(leader_leaves_with_its_answer, let_go),
      cmocka_unit_test_teardown(nobody_waits_and_the_answers_are_read, let_go),
      cmocka_unit_test_teardown(slow_statements_do_not_block_others, let_go),
      cmocka_unit_test_teardown(flushed_write_never_repeated, let_go),
      cmocka_unit_test_teardown(reads_run_again_when_their_connection_dies, let_go),
      cmocka_unit_test_teardown(writes_survive_a_session_that_died_at_rest, let_go),
      cmocka_unit_test_teardown(hidden_session_state, let_go),
      cmocka_unit_test_teardown(read_only_fallback, let_go),
      cmocka_unit_test_teardown(failing_statement_poisons_nobody, let_go),
      cmocka_unit_test_teardown(all_paths_share_one_connection, let_go),
      cmocka_unit_test_teardown(shared_connections_are_nobodys_lease, let_go),
      cmocka_unit_test_teardown(shutdown_ends_what_hangs, let_go),
      cmocka_unit_test_teardown(shutdown_at_once_forces_nobody, let_go),
      cmocka_unit_test_teardown(shutdown_lets_finish_what_runs, let_go),
  };
  int failed = cmocka_run_group_tests_name("pool_simple", tests, NULL, NULL);
  PQfinish(blocker);
  pg_fixture_stop(&rig_server);
  return failed;
}
