/* Routed and asynchronous statements on a real server: what they leave behind, what is repeated
 * when sessions end, and that a cancel reaches the server. */
#include "fault/pool_rig.h"

#include <stdatomic.h>

static void must(cenote_status status, const cenote_error *error)
{
  if (status != CENOTE_OK) {
    fail_msg("%s: %s (%s) %s", cenote_status_name(status), error->message, error->sqlstate,
             error->details);
  }
}

static void expect(cenote_status wanted, cenote_status status, const cenote_error *error)
{
  if (status != wanted) {
    fail_msg("%s instead of %s: %s (%s)", cenote_status_name(status), cenote_status_name(wanted),
             error->message, error->sqlstate);
  }
}

static void open_rig(struct rig *rig, const char *connections)
{
  cenote_error error = CENOTE_ERROR_INIT;
  *rig = (struct rig){0};
  rig_open(rig, rig_var("POSTGRES_URL"), "min_connections", "0", "max_connections", connections,
           "retry_delay_ms", "10", "breaker_failures", "0", NULL);
  must(cenote_query(rig->manager, "drop table if exists q", NULL, 0, NULL, NULL, &error), &error);
  must(cenote_query(rig->manager, "create table q (id bigint, n int not null default 0)", NULL, 0,
                    NULL, NULL, &error),
       &error);
}

static cenote_status query(struct rig *rig, const char *sql, cenote_hint hint, cenote_error *error)
{
  cenote_query_options options = CENOTE_QUERY_OPTIONS_INIT;
  options.hint = hint;
  return cenote_query(rig->manager, sql, NULL, 0, &options, NULL, error);
}

static int64_t number(struct rig *rig, const char *sql)
{
  cenote_result *result;
  cenote_error error = CENOTE_ERROR_INIT;
  must(cenote_query(rig->manager, sql, NULL, 0, NULL, &result, &error), &error);
  const int64_t value = cenote_result_integer(result, 0, 0);
  cenote_result_free(result);
  return value;
}

/* --- what one asynchronous statement answered */
struct answer {
  _Atomic int calls;
  cenote_status status;
  int64_t value;
  char message[512];
  cenote_ticket ticket;
};

static void on_answer(void *context, cenote_status status, cenote_result *result,
                      const cenote_error *error)
{
  struct answer *answer = context;
  answer->status = status;
  answer->value = cenote_result_integer(result, 0, 0);
  snprintf(answer->message, sizeof answer->message, "%s", error->message);
  cenote_result_free(result);
  atomic_fetch_add(&answer->calls, 1);
}

static void wait_for(struct answer *answer)
{
  for (int i = 0; i < RIG_PATIENCE_MS && atomic_load(&answer->calls) == 0; i++) {
    rig_nap_ms(1);
  }
  assert_int_equal(answer->calls, 1);
}

static void ask(struct rig *rig, const char *sql, cenote_hint hint, struct answer *answer)
{
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_query_options options = CENOTE_QUERY_OPTIONS_INIT;
  options.hint = hint;
  must(cenote_query_async(rig->manager, sql, NULL, 0, &options, on_answer, answer, &answer->ticket,
                          &error),
       &error);
}

static void was(const struct answer *answer, cenote_status status)
{
  if (answer->status != status) {
    fail_msg("%s instead of %s: %s", cenote_status_name(answer->status), cenote_status_name(status),
             answer->message);
  }
}

/* ------------------------------------------------------------------- texts as they are */

static cenote_status native(struct rig *rig, const char *sql, const char *arg, cenote_hint hint,
                            cenote_result **result, cenote_error *error)
{
  const cenote_value value = cenote_text(arg);
  cenote_query_options options = CENOTE_QUERY_OPTIONS_INIT;
  options.flags = CENOTE_QUERY_NATIVE | CENOTE_QUERY_RAW_TEXT;
  options.hint = hint;
  return cenote_query(rig->manager, sql, &value, arg != NULL, &options, result, error);
}

static void fails_with(struct rig *rig, const char *sql, const char *arg, cenote_hint hint,
                       const char *sqlstate)
{
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_result *result;
  expect(CENOTE_DATABASE, native(rig, sql, arg, hint, &result, &error), &error);
  assert_null(result);
  assert_string_equal(error.sqlstate, sqlstate);
}

static void a_text_is_sent_as_it_is_on_either_path(void **state)
{
  (void)state;
  static const cenote_hint hints[] = {CENOTE_HINT_NONE, CENOTE_HINT_POOL};
  struct rig rig;
  open_rig(&rig, "4");
  for (size_t i = 0; i < 8; i++) {
    const cenote_hint hint = hints[i % 2];
    cenote_error error = CENOTE_ERROR_INIT;
    cenote_result *result;
    must(native(&rig, "select '{\"k\":1}'::jsonb ? $1", "k", hint, &result, &error), &error);
    assert_string_equal(cenote_result_text(result, 0, 0), "t");
    cenote_result_free(result);
    must(native(&rig, "", NULL, hint, &result, &error), &error);
    assert_string_equal(cenote_result_command(result), "");
    cenote_result_free(result);
    fails_with(&rig, "select $1::int", NULL, hint, "08P01");
    fails_with(&rig, "select id from q where id = $1 limit 1", NULL, hint, "08P01");
    fails_with(&rig, "select 1; select 2", NULL, hint, "42601");
    fails_with(&rig, "select ?", "1", hint, "42601");
    assert_int_equal(number(&rig, "select 5"), 5);
  }
  /* nothing of it was taken for the end of a session */
  cenote_statistics statistics = CENOTE_STATISTICS_INIT;
  assert_int_equal(cenote_pool_statistics(rig.manager, &statistics), CENOTE_OK);
  assert_int_equal(statistics.retries, 0);
  rig_close(&rig);
}

/* ---------------------------------------------------------------- what is left behind */

static void nothing_of_a_statement_stays_in_the_session_for_the_next(void **state)
{
  (void)state;
  static const struct {
    const char *sql, *look;
    int64_t answer;
  } cases[] = {
      {"begin", "select count(*) from pg_stat_activity where state like 'idle in transaction%'", 0},
      {"set search_path = pg_catalog",
       "select (current_setting('search_path') = 'pg_catalog')::int", 0},
      {"create temp table hidden (a int)",
       "select count(*) from pg_class where relname = 'hidden' and relpersistence = 't'", 0},
      {"select pg_advisory_lock(77)", "select count(*) from pg_locks where locktype = 'advisory'",
       0},
      {"listen something", "select count(*) from pg_listening_channels()", 0},
      {"prepare p as select 1", "select count(*) from pg_prepared_statements where name = 'p'", 0},
      {"select set_config('work_mem', '1234kB', false)",
       "select (current_setting('work_mem') = '1234kB')::int", 0},
  };
  struct rig rig;
  cenote_error error = CENOTE_ERROR_INIT;
  open_rig(&rig, "1");
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct answer answer = {0};
    must(query(&rig, cases[i].sql, CENOTE_HINT_SIMPLE, &error), &error);
    assert_int_equal(number(&rig, cases[i].look), cases[i].answer);
    ask(&rig, cases[i].sql, CENOTE_HINT_SIMPLE, &answer);
    wait_for(&answer);
    was(&answer, CENOTE_OK);
    assert_int_equal(number(&rig, cases[i].look), cases[i].answer);
  }
  rig_close(&rig);
}

/* No session is ours there: reads have connections of their own, without trying each time. */
static void behind_a_pooler_writes_share_and_reads_do_not(void **state)
{
  (void)state;
  struct rig rig;
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_statistics now = CENOTE_STATISTICS_INIT;
  const int started = pg_fixture_ctl(&rig_server, "bouncer-start", "default_pool_size = 6");
  if (started == 77) {
    skip();
  }
  assert_int_equal(started, 0);
  open_rig(&rig, "2");
  rig_close(&rig);
  rig = (struct rig){0};
  rig_open(&rig, rig_var("PGBOUNCER_URL"), "min_connections", "0", "max_connections", "2",
           "transaction_pooler", "true", NULL);
  for (int i = 0; i < 30; i++) {
    assert_int_equal(number(&rig, "select count(*) from q"), i);
    must(query(&rig, "insert into q values (1)", CENOTE_HINT_NONE, &error), &error);
  }
  must(cenote_pool_statistics(rig.manager, &now), &error);
  assert_int_equal(now.fallbacks, 1);
  assert_int_equal(now.exclusive.statements, 30);
  assert_int_equal(now.simple.statements, 30);
  rig_close(&rig);
  assert_int_equal(pg_fixture_ctl(&rig_server, "bouncer-stop", NULL), 0);
}

static void values_come_as_asked_for_on_both_paths(void **state)
{
  (void)state;
  struct rig rig;
  cenote_error error = CENOTE_ERROR_INIT;
  open_rig(&rig, "2");
  const cenote_hint hints[] = {CENOTE_HINT_NONE, CENOTE_HINT_POOL};
  for (size_t i = 0; i < 2; i++) {
    cenote_query_options options = CENOTE_QUERY_OPTIONS_INIT;
    cenote_result *result;
    const cenote_value args[] = {cenote_integer(7), cenote_text("x")};
    options.hint = hints[i];
    must(cenote_query(rig.manager, "select $1::int8, $2::text", args, 2, &options, &result, &error),
         &error);
    assert_int_equal(cenote_result_value(result, 0, 0).type, CENOTE_INTEGER);
    cenote_result_free(result);
    options.flags = CENOTE_QUERY_RAW_TEXT;
    must(cenote_query(rig.manager, "select $1::int8, $2::text", args, 2, &options, &result, &error),
         &error);
    assert_int_equal(cenote_result_value(result, 0, 0).type, CENOTE_TEXT);
    assert_string_equal(cenote_result_text(result, 0, 0), "7");
    cenote_result_free(result);
  }
  rig_close(&rig);
}

/* The finding behind it: after the third time the connection was taken for a pooler's, was no
 * longer reset, and stayed read-only for ever. */
static void a_function_that_deallocates_leaves_no_session_read_only(void **state)
{
  (void)state;
  struct rig rig;
  cenote_error error = CENOTE_ERROR_INIT;
  open_rig(&rig, "1");
  for (int round = 0; round < 5; round++) {
    for (int i = 0; i < 4; i++) {
      must(query(&rig, "select id from q", CENOTE_HINT_NONE, &error), &error);
    }
    must(query(&rig, "do $$ begin execute 'deallocate all'; end $$", CENOTE_HINT_NONE, &error),
         &error);
    must(query(&rig, "select id from q", CENOTE_HINT_NONE, &error), &error);
    must(query(&rig, "insert into q values (1)", CENOTE_HINT_NONE, &error), &error);
    cenote_lease lease = rig_acquire(rig.manager, "later");
    assert_string_equal(rig_text(lease, "show default_transaction_read_only"), "off");
    assert_string_not_equal(rig_text(lease, "show work_mem"), "77MB");
    rig_must_run(lease, "insert into q values (2)");
    rig_must_run(lease, "set work_mem = '77MB'");
    rig_release(lease);
  }
  assert_int_equal(number(&rig, "select count(*) from q"), 10);
  rig_close(&rig);
}

/* -------------------------------------------------------------------- ended sessions */

static void end_sessions(void)
{
  /* … and waits until they are gone: what is sent before that may have run */
  admin_run("select pg_terminate_backend(pid, 10000) from pg_stat_activity where backend_type = "
            "'client backend' and pid <> pg_backend_pid()");
}

static void sessions_that_ended_at_rest_are_replaced_without_a_word(void **state)
{
  (void)state;
  const cenote_hint hints[] = {CENOTE_HINT_NONE, CENOTE_HINT_POOL};
  for (size_t i = 0; i < 2; i++) {
    struct rig rig;
    cenote_error error = CENOTE_ERROR_INIT;
    open_rig(&rig, "3");
    for (int round = 0; round < 5; round++) {
      struct answer answer = {0};
      must(query(&rig, "insert into q values (1)", hints[i], &error), &error);
      end_sessions();
      if (round % 2 == 0) {
        must(query(&rig, "select * from q", hints[i], &error), &error);
      } else {
        ask(&rig, "select * from q", hints[i], &answer);
        wait_for(&answer);
        was(&answer, CENOTE_OK);
      }
    }
    assert_int_equal(admin_integer("select count(*) from q"), 5);
    rig_close(&rig);
  }
}

struct blocked {
  struct rig *rig;
  cenote_hint hint;
  cenote_status status;
};

static void *update(void *context)
{
  struct blocked *blocked = context;
  cenote_error error = CENOTE_ERROR_INIT;
  blocked->status =
      query(blocked->rig, "update q set n = n + 1 where id = 1", blocked->hint, &error);
  return NULL;
}

static void a_write_whose_session_ends_while_it_runs_is_not_repeated(void **state)
{
  (void)state;
  const cenote_hint hints[] = {CENOTE_HINT_NONE, CENOTE_HINT_POOL};
  for (size_t i = 0; i < 2; i++) {
    struct rig rig;
    struct answer answer = {0};
    struct blocked blocked = {.rig = &rig, .hint = hints[i]};
    cenote_error error = CENOTE_ERROR_INIT;
    pthread_t thread;
    open_rig(&rig, "4");
    must(query(&rig, "insert into q values (1, 0)", CENOTE_HINT_NONE, &error), &error);
    cenote_lease lease = rig_acquire(rig.manager, "blocker");
    rig_must_run(lease, "begin");
    rig_must_run(lease, "update q set n = 100 where id = 1");
    ask(&rig, "update q set n = n + 1 where id = 1", hints[i], &answer);
    assert_int_equal(pthread_create(&thread, NULL, update, &blocked), 0);
    assert_true(admin_becomes("select (count(*) > 0)::int from pg_stat_activity where "
                              "wait_event_type = 'Lock' and query like 'update q set n = n + 1%'",
                              1));
    rig_nap_ms(100);
    admin_run("select pg_terminate_backend(pid) from pg_stat_activity where query like "
              "'update q set n = n + 1%'");
    /* One of them may not have been sent yet: that one runs once the row is free. */
    rig_nap_ms(100);
    rig_must_run(lease, "rollback");
    rig_release(lease);
    pthread_join(thread, NULL);
    wait_for(&answer);
    const int fine = (blocked.status == CENOTE_OK) + (answer.status == CENOTE_OK);
    assert_int_equal(admin_integer("select n from q where id = 1"), fine);
    assert_true(fine < 2);
    rig_close(&rig);
  }
}

/* ------------------------------------------------------------------------- deadlines */

static void a_deadline_or_a_cancel_ends_it_on_the_server_too(void **state)
{
  (void)state;
  const cenote_hint hints[] = {CENOTE_HINT_NONE, CENOTE_HINT_POOL};
  static const char sleeping[] =
      "select count(*) from pg_stat_activity where query like 'select pg_sleep%' and state = "
      "'active' and pid <> pg_backend_pid()";
  for (size_t i = 0; i < 2; i++) {
    struct rig rig;
    struct answer answer = {0};
    cenote_error error = CENOTE_ERROR_INIT;
    cenote_query_options options = CENOTE_QUERY_OPTIONS_INIT;
    options.hint = hints[i];
    options.timeout_ms = 600000;
    open_rig(&rig, "2");
    cenote_status status = CENOTE_TIMEOUT; /* before it was sent: then with more time */
    for (options.remaining_ms = 300; status == CENOTE_TIMEOUT && options.remaining_ms <= 30000;
         options.remaining_ms *= 10) {
      status = cenote_query(rig.manager, "select pg_sleep(1000)", NULL, 0, &options, NULL, &error);
    }
    expect(CENOTE_STATEMENT_TIMEOUT, status, &error);
    assert_true(admin_becomes(sleeping, 0));
    ask(&rig, "select pg_sleep(1000)", hints[i], &answer);
    assert_true(admin_becomes(sleeping, 1));
    assert_int_equal(cenote_cancel_query(answer.ticket), CENOTE_OK);
    wait_for(&answer);
    was(&answer, CENOTE_CANCELLED);
    assert_true(admin_becomes(sleeping, 0));
    assert_int_equal(number(&rig, "select 5"), 5);
    rig_close(&rig);
  }
}

static void a_statement_on_a_lease_is_cancelled_and_the_session_goes_on(void **state)
{
  (void)state;
  struct rig rig;
  struct answer slow = {0}, next = {0}, in_transaction = {0};
  cenote_error error = CENOTE_ERROR_INIT;
  open_rig(&rig, "1");
  cenote_lease lease = rig_acquire(rig.manager, "x");
  const int64_t pid = rig_integer(lease, "select pg_backend_pid()");
  must(cenote_execute_async(lease, "select pg_sleep(1000)", NULL, 0, on_answer, &slow, &slow.ticket,
                            &error),
       &error);
  assert_true(
      admin_becomes("select count(*) from pg_stat_activity where wait_event = 'PgSleep'", 1));
  expect(CENOTE_BUSY, rig_run(lease, "select 1", &error), &error);
  assert_int_equal(cenote_cancel_query(slow.ticket), CENOTE_OK);
  wait_for(&slow);
  was(&slow, CENOTE_CANCELLED);
  must(cenote_execute_async(lease, "select pg_backend_pid()", NULL, 0, on_answer, &next, NULL,
                            &error),
       &error);
  wait_for(&next);
  was(&next, CENOTE_OK);
  assert_int_equal(next.value, pid);
  must(cenote_execute_async(lease, "begin", NULL, 0, on_answer, &in_transaction, NULL, &error),
       &error);
  wait_for(&in_transaction);
  rig_must_run(lease, "insert into q values (9)");
  rig_release(lease); /* open: rolled back before the next holder */
  assert_int_equal(number(&rig, "select count(*) from q"), 0);
  rig_close(&rig);
}

/* ----------------------------------------------------------------------- under load */

enum { CROWD = 4, ROUNDS = 60 };

struct member {
  struct rig *rig;
  int64_t number;
  int failed;
};

static void *work(void *context)
{
  struct member *member = context;
  for (int i = 0; i < ROUNDS; i++) {
    const int64_t wanted = member->number * 1000 + i;
    const cenote_value args[] = {cenote_integer(wanted)};
    cenote_error error = CENOTE_ERROR_INIT;
    cenote_query_options options = CENOTE_QUERY_OPTIONS_INIT;
    struct answer answer = {0};
    options.hint = i % 3 == 0 ? CENOTE_HINT_POOL : CENOTE_HINT_NONE;
    options.retries = 20;
    const bool alone = options.hint == CENOTE_HINT_POOL; /* once sent, it is not sent again */
    if (cenote_query_async(member->rig->manager, "select $1::int8", args, 1, &options, on_answer,
                           &answer, NULL, &error) != CENOTE_OK) {
      member->failed++;
      continue;
    }
    for (int k = 0; k < RIG_PATIENCE_MS && atomic_load(&answer.calls) == 0; k++) {
      rig_nap_ms(1);
    }
    const bool fine = answer.status == CENOTE_OK && answer.value == wanted;
    const bool lost = answer.status == CENOTE_CONNECTION_LOST && alone;
    member->failed += answer.calls != 1 || !(fine || lost);
  }
  return NULL;
}

static void reads_survive_the_end_of_their_sessions(void **state)
{
  (void)state;
  struct rig rig;
  struct member members[CROWD];
  pthread_t threads[CROWD];
  open_rig(&rig, "3");
  for (int i = 0; i < CROWD; i++) {
    members[i] = (struct member){.rig = &rig, .number = i + 1};
    assert_int_equal(pthread_create(&threads[i], NULL, work, &members[i]), 0);
  }
  for (int i = 0; i < 4; i++) {
    rig_nap_ms(60);
    end_sessions();
  }
  for (int i = 0; i < CROWD; i++) {
    pthread_join(threads[i], NULL);
    assert_int_equal(members[i].failed, 0);
  }
  rig_close(&rig);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_text_is_sent_as_it_is_on_either_path),
      cmocka_unit_test(nothing_of_a_statement_stays_in_the_session_for_the_next),
      cmocka_unit_test(behind_a_pooler_writes_share_and_reads_do_not),
      cmocka_unit_test(values_come_as_asked_for_on_both_paths),
      cmocka_unit_test(a_function_that_deallocates_leaves_no_session_read_only),
      cmocka_unit_test(sessions_that_ended_at_rest_are_replaced_without_a_word),
      cmocka_unit_test(a_write_whose_session_ends_while_it_runs_is_not_repeated),
      cmocka_unit_test(a_deadline_or_a_cancel_ends_it_on_the_server_too),
      cmocka_unit_test(a_statement_on_a_lease_is_cancelled_and_the_session_goes_on),
      cmocka_unit_test(reads_survive_the_end_of_their_sessions),
  };
  if (!pg_fixture_start(&rig_server, NULL)) {
    return pg_fixture_skip(&rig_server);
  }
  const int failed = cmocka_run_group_tests(tests, NULL, NULL);
  pg_fixture_stop(&rig_server);
  return failed;
}
