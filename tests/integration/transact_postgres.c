/* Routed transactions on a real server: levels and modes as it reports them, real conflicts, and
 * connections that end at each point. */
#include "fault/pool_rig.h"

#include <stdatomic.h>

static cenote_transact_options repeating(int64_t retries)
{
  cenote_transact_options options = CENOTE_TRANSACT_OPTIONS_INIT;
  options.retries = retries;
  options.timeout_ms = RIG_PATIENCE_MS;
  return options;
}

static void must(cenote_status status, const cenote_error *error)
{
  if (status != CENOTE_OK) {
    fail_msg("%s: %s (%s)", cenote_status_name(status), error->message, error->sqlstate);
  }
}

static void failed_with(cenote_status status, const cenote_error *error, const char *sqlstate)
{
  if (status != CENOTE_DATABASE || strcmp(error->sqlstate, sqlstate) != 0) {
    fail_msg("%s %s instead of %s: %s", cenote_status_name(status), error->sqlstate, sqlstate,
             error->message);
  }
}

static cenote_status run(cenote_transaction *transaction, const char *sql, cenote_error *error)
{
  return cenote_tx_execute(transaction, sql, NULL, 0, NULL, error);
}

static cenote_status ask(cenote_transaction *transaction, const char *sql, char *answer,
                         size_t size, cenote_error *error)
{
  cenote_result *result;
  const cenote_status status = cenote_tx_execute(transaction, sql, NULL, 0, &result, error);
  const char *text = cenote_result_text(result, 0, 0);
  snprintf(answer, size, "%s", text != NULL ? text : "");
  cenote_result_free(result);
  return status;
}

/* A body that is a list of statements, the last of them read. */
struct list {
  const char *sql[6];
  char answer[64];
  int calls;
};

static cenote_status run_list(void *context, cenote_transaction *transaction, cenote_error *error)
{
  struct list *list = context;
  cenote_status status = CENOTE_OK;
  list->calls++;
  for (int i = 0; list->sql[i] != NULL && status == CENOTE_OK; i++) {
    status = ask(transaction, list->sql[i], list->answer, sizeof list->answer, error);
  }
  return status;
}

static void open_rig(struct rig *rig)
{
  *rig = (struct rig){0};
  rig_open(rig, rig_var("POSTGRES_URL"), "min_connections", "0", "max_connections", "4",
           "retry_delay_ms", "10", NULL);
  cenote_lease lease = rig_acquire(rig->manager, "schema");
  rig_must_run(lease, "drop table if exists tx");
  rig_must_run(lease, "create table tx (id int primary key, n int not null)");
  rig_must_run(lease, "insert into tx values (1, 0), (2, 0)");
  rig_release(lease);
}

static int64_t read_one(struct rig *rig, const char *sql)
{
  cenote_lease lease = rig_acquire(rig->manager, "look");
  const int64_t value = rig_integer(lease, sql);
  rig_release(lease);
  return value;
}

/* ------------------------------------------------------------------------------ terms */

static void the_server_has_the_level_and_mode_of_the_options(void **state)
{
  (void)state;
  static const struct {
    cenote_transact_options options;
    const char *sql, *answer;
  } cases[] = {
      {{.isolation = CENOTE_ISOLATION_DEFAULT}, "show transaction_isolation", "read committed"},
      {{.isolation = CENOTE_READ_COMMITTED}, "show transaction_isolation", "read committed"},
      {{.isolation = CENOTE_REPEATABLE_READ}, "show transaction_isolation", "repeatable read"},
      {{.isolation = CENOTE_SERIALIZABLE}, "show transaction_isolation", "serializable"},
      {{.mode = CENOTE_BATCH_READ}, "show transaction_read_only", "on"},
      {{.mode = CENOTE_BATCH_WRITE}, "show transaction_read_only", "off"},
      {{.mode = CENOTE_BATCH_READ, .isolation = CENOTE_SERIALIZABLE, .deferrable = true},
       "show transaction_deferrable",
       "on"},
      {{.mode = CENOTE_BATCH_READ, .isolation = CENOTE_SERIALIZABLE, .deferrable = true},
       "select n from tx where id = 1",
       "0"},
  };
  struct rig rig;
  cenote_error error = CENOTE_ERROR_INIT;
  open_rig(&rig);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    cenote_transact_options options = cases[i].options;
    struct list list = {.sql = {cases[i].sql}};
    options.size = sizeof options;
    must(cenote_transact_with(rig.manager, &options, run_list, &list, &error), &error);
    assert_string_equal(list.answer, cases[i].answer);
  }
  rig_close(&rig);
}

/* As on a standby, where READ WRITE would be refused. */
static void a_role_that_only_reads_by_default_is_not_overruled(void **state)
{
  (void)state;
  char url[512];
  struct rig rig = {.options = CENOTE_OPTIONS_INIT};
  const char *base = rig_var("POSTGRES_URL");
  snprintf(url, sizeof url, "%s%soptions=-c%%20default_transaction_read_only%%3Don", base,
           strchr(base, '?') ? "&" : "?");
  rig_open(&rig, url, NULL);
  struct list list = {.sql = {"show transaction_read_only"}};
  cenote_error error = CENOTE_ERROR_INIT;
  must(cenote_transact(rig.manager, run_list, &list, &error), &error);
  assert_string_equal(list.answer, "on");
  rig_close(&rig);
}

static void a_begin_inside_sets_what_it_says(void **state)
{
  (void)state;
  static const struct list cases[] = {
      {{"BEGIN ISOLATION LEVEL SERIALIZABLE", "show transaction_isolation"}, "serializable", 0},
      {{"start transaction isolation level repeatable read, read only",
        "show transaction_isolation"},
       "repeatable read",
       0},
      {{"BEGIN READ ONLY", "BEGIN", "show transaction_read_only"}, "on", 0},
      {{"BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE", "show transaction_deferrable"},
       "on",
       0},
      {{"BEGIN", "show transaction_isolation"}, "read committed", 0},
  };
  struct rig rig;
  cenote_error error = CENOTE_ERROR_INIT;
  open_rig(&rig);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct list list = cases[i];
    must(cenote_transact(rig.manager, run_list, &list, &error), &error);
    assert_string_equal(list.answer, cases[i].answer);
  }
  struct list late = {.sql = {"select 1", "BEGIN ISOLATION LEVEL SERIALIZABLE"}};
  failed_with(cenote_transact(rig.manager, run_list, &late, &error), &error, "25001");
  struct list reader = {.sql = {"BEGIN READ ONLY", "update tx set n = 1"}};
  failed_with(cenote_transact(rig.manager, run_list, &reader, &error), &error, "25006");
  assert_int_equal(rig_logged(&rig, "a BEGIN was sent"), 1);
  assert_int_equal(read_one(&rig, "select sum(n)::int from tx"), 0);
  rig_close(&rig);
}

static void ends_sent_by_the_body_hold_on_the_server(void **state)
{
  (void)state;
  struct rig rig;
  cenote_error error = CENOTE_ERROR_INIT;
  open_rig(&rig);
  struct list list = {.sql = {"BEGIN", "update tx set n = 5 where id = 1", "COMMIT"}};
  must(cenote_transact(rig.manager, run_list, &list, &error), &error);
  assert_int_equal(read_one(&rig, "select n from tx where id = 1"), 5);
  list = (struct list){.sql = {"update tx set n = 6 where id = 1", "ABORT"}};
  must(cenote_transact(rig.manager, run_list, &list, &error), &error);
  list = (struct list){.sql = {"update tx set n = 6 where id = 1", "COMMIT", "select 1"}};
  failed_with(cenote_transact(rig.manager, run_list, &list, &error), &error, "25P01");
  assert_int_equal(read_one(&rig, "select n from tx where id = 1"), 6);
  list = (struct list){.sql = {"savepoint a", "update tx set n = 7", "rollback to a", "release a",
                               "update tx set n = 8 where id = 2"}};
  must(cenote_transact(rig.manager, run_list, &list, &error), &error);
  assert_int_equal(read_one(&rig, "select sum(n)::int from tx"), 14);
  assert_int_equal(rig_statistics(rig.manager).resets, 0); /* nothing was left to clean */
  rig_close(&rig);
}

static cenote_status fail_and_go_on(void *context, cenote_transaction *transaction,
                                    cenote_error *error)
{
  const char *end = context;
  cenote_error own = CENOTE_ERROR_INIT;
  (void)!run(transaction, "update tx set n = 9", &own);
  (void)!run(transaction, "select 1/0", &own);
  assert_string_equal(own.sqlstate, "22012");
  return end != NULL ? run(transaction, end, error) : CENOTE_OK;
}

static void a_failed_transaction_is_not_committed_by_anybody(void **state)
{
  (void)state;
  struct rig rig;
  cenote_error error = CENOTE_ERROR_INIT;
  open_rig(&rig);
  failed_with(cenote_transact(rig.manager, fail_and_go_on, NULL, &error), &error, "25P02");
  failed_with(cenote_transact(rig.manager, fail_and_go_on, (void *)(uintptr_t) "COMMIT", &error),
              &error, "25P02");
  must(cenote_transact(rig.manager, fail_and_go_on, (void *)(uintptr_t) "ROLLBACK", &error),
       &error);
  assert_int_equal(read_one(&rig, "select sum(n)::int from tx"), 0);
  rig_close(&rig);
}

static void a_batch_that_only_reads_does_so_inside_a_transaction_too(void **state)
{
  (void)state;
  struct rig rig;
  cenote_transaction *tx;
  cenote_result **results;
  cenote_error error = CENOTE_ERROR_INIT;
  const cenote_statement write = {"update tx set n = 4", NULL, 0};
  const cenote_statement read = {"select sum(n)::int from tx", NULL, 0};
  open_rig(&rig);
  cenote_lease lease = rig_acquire(rig.manager, "reader");
  must(cenote_begin(lease, 0, &tx, &error), &error);
  must(run(tx, "update tx set n = 1", &error), &error);
  failed_with(cenote_batch(lease, &write, 1, CENOTE_BATCH_READ, &results, &error), &error, "25006");
  must(cenote_batch(lease, &read, 1, CENOTE_BATCH_READ, &results, &error), &error);
  assert_int_equal(cenote_result_integer(results[0], 0, 0), 2);
  cenote_results_free(results, 1);
  must(run(tx, "update tx set n = n + 1", &error), &error);
  must(cenote_commit(tx, &error), &error);
  assert_int_equal(rig_integer(lease, "select sum(n)::int from tx"), 4);
  rig_must_run(lease, "update tx set n = 0");
  rig_release(lease);
  rig_close(&rig);
}

static void a_batch_has_the_level_and_mode_of_its_options(void **state)
{
  (void)state;
  static const struct {
    cenote_batch_options options;
    const char *sql, *answer;
  } cases[] = {
      {{.mode = CENOTE_BATCH_DEFERRED}, "show transaction_isolation", "read committed"},
      {{.isolation = CENOTE_READ_COMMITTED}, "show transaction_isolation", "read committed"},
      {{.isolation = CENOTE_READ_UNCOMMITTED}, "show transaction_isolation", "read uncommitted"},
      {{.isolation = CENOTE_REPEATABLE_READ}, "show transaction_isolation", "repeatable read"},
      {{.isolation = CENOTE_SERIALIZABLE}, "show transaction_isolation", "serializable"},
      {{.mode = CENOTE_BATCH_READ}, "show transaction_read_only", "on"},
      {{.mode = CENOTE_BATCH_WRITE}, "show transaction_read_only", "off"},
      {{.mode = CENOTE_BATCH_READ, .isolation = CENOTE_SERIALIZABLE, .deferrable = true},
       "show transaction_deferrable",
       "on"},
      {{.flags = CENOTE_QUERY_RAW_TEXT}, "select 1.50::float8", "1.5"},
      {{.flags = CENOTE_QUERY_NATIVE}, "select ('{\"a\":1}'::jsonb ? 'a')::text", "true"},
  };
  struct rig rig;
  cenote_error error = CENOTE_ERROR_INIT;
  open_rig(&rig);
  cenote_lease lease = rig_acquire(rig.manager, "batch");
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    cenote_batch_options options = cases[i].options;
    const cenote_statement statements[] = {{"select 1", NULL, 0}, {cases[i].sql, NULL, 0}};
    cenote_result **results;
    options.size = sizeof options;
    must(cenote_batch_with(lease, statements, 2, &options, &results, &error), &error);
    assert_string_equal(cenote_result_text(results[1], 0, 0), cases[i].answer);
    cenote_results_free(results, 2);
  }
  rig_release(lease);
  rig_close(&rig);
}

/* -------------------------------------------------------------------------- conflicts */

struct rival {
  struct rig *rig;
  const cenote_transact_options *options;
  const char *first, *second;
  int *arrivals; /* of both, in the first run */
  pthread_mutex_t *lock;
  pthread_cond_t *met;
  int calls;
  cenote_status status;
  cenote_error error;
};

/* In the first run both have done their first statement before either does its second. */
static void meet(struct rival *rival)
{
  pthread_mutex_lock(rival->lock);
  ++*rival->arrivals;
  pthread_cond_broadcast(rival->met);
  while (*rival->arrivals < 2) {
    pthread_cond_wait(rival->met, rival->lock);
  }
  pthread_mutex_unlock(rival->lock);
}

static cenote_status run_rival(void *context, cenote_transaction *transaction, cenote_error *error)
{
  struct rival *rival = context;
  cenote_status status = run(transaction, rival->first, error);
  if (rival->calls++ == 0) {
    meet(rival);
  }
  return status == CENOTE_OK ? run(transaction, rival->second, error) : status;
}

static void *rival_thread(void *context)
{
  struct rival *rival = context;
  rival->error = (cenote_error)CENOTE_ERROR_INIT;
  rival->status =
      cenote_transact_with(rival->rig->manager, rival->options, run_rival, rival, &rival->error);
  return NULL;
}

static void let_them_clash(struct rig *rig, const cenote_transact_options *options,
                           const char *const sql[4], struct rival rivals[2])
{
  pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
  pthread_cond_t met = PTHREAD_COND_INITIALIZER;
  pthread_t threads[2];
  int arrivals = 0;
  for (int i = 0; i < 2; i++) {
    rivals[i] = (struct rival){.rig = rig,
                               .options = options,
                               .first = sql[2 * i],
                               .second = sql[2 * i + 1],
                               .arrivals = &arrivals,
                               .lock = &lock,
                               .met = &met};
    assert_int_equal(pthread_create(&threads[i], NULL, rival_thread, &rivals[i]), 0);
  }
  for (int i = 0; i < 2; i++) {
    pthread_join(threads[i], NULL);
  }
}

static const char *const skew[4] = {"select sum(n) from tx", "update tx set n = n + 1 where id = 1",
                                    "select sum(n) from tx",
                                    "update tx set n = n + 1 where id = 2"};
static const char *const crossed[4] = {
    "update tx set n = n + 1 where id = 1", "update tx set n = n + 1 where id = 2",
    "update tx set n = n + 1 where id = 2", "update tx set n = n + 1 where id = 1"};

static void check_clash(const char *const sql[4], cenote_isolation isolation, const char *sqlstate,
                        int64_t sum)
{
  struct rig rig;
  struct rival rivals[2];
  open_rig(&rig);
  cenote_transact_options options = repeating(0);
  options.isolation = isolation;
  let_them_clash(&rig, &options, sql, rivals);
  const int loser = rivals[0].status == CENOTE_OK ? 1 : 0;
  must(rivals[1 - loser].status, &rivals[1 - loser].error);
  failed_with(rivals[loser].status, &rivals[loser].error, sqlstate);
  assert_int_equal(read_one(&rig, "select sum(n)::int from tx"), sum / 2);
  assert_int_equal(rig_statistics(rig.manager).transaction_retries, 0);

  options.retries = 10;
  let_them_clash(&rig, &options, sql, rivals);
  must(rivals[0].status, &rivals[0].error);
  must(rivals[1].status, &rivals[1].error);
  assert_int_equal(read_one(&rig, "select sum(n)::int from tx"), sum / 2 + sum);
  const uint64_t repeated = rig_statistics(rig.manager).transaction_retries;
  assert_int_equal(rivals[0].calls + rivals[1].calls, 2 + repeated);
  assert_true(repeated >= 1);
  rig_close(&rig);
}

static void a_serialization_failure_is_repeated_where_that_is_allowed(void **state)
{
  (void)state;
  check_clash(skew, CENOTE_SERIALIZABLE, "40001", 2);
}

static void a_deadlock_is_repeated_where_that_is_allowed(void **state)
{
  (void)state;
  check_clash(crossed, CENOTE_READ_COMMITTED, "40P01", 4);
}

/* ------------------------------------------------------------------- lost connections */

struct victim {
  int kill_before; /* the statement: 0 the first, 1 the second; 2: the commit */
  int calls;
};

static cenote_status die_somewhere(void *context, cenote_transaction *transaction,
                                   cenote_error *error)
{
  struct victim *victim = context;
  cenote_status status = CENOTE_OK;
  char pid[32], sql[96];
  victim->calls++;
  status = ask(transaction, "select pg_backend_pid()", pid, sizeof pid, error);
  for (int i = 0; i < 3 && status == CENOTE_OK; i++) {
    if (victim->kill_before == i) {
      snprintf(sql, sizeof sql, "select pg_terminate_backend(%s, 10000)", pid);
      admin_run(sql);
    }
    if (i < 2) {
      status =
          run(transaction, i == 0 ? "update tx set n = n + 1 where id = 1" : "select 1", error);
    }
  }
  return status;
}

static void a_connection_killed_in_the_body_or_before_the_commit_commits_nothing(void **state)
{
  (void)state;
  struct rig rig;
  cenote_error error = CENOTE_ERROR_INIT;
  open_rig(&rig);
  const cenote_transact_options options = repeating(5);
  for (int point = 0; point < 3; point++) {
    struct victim victim = {.kill_before = point};
    const cenote_status status =
        cenote_transact_with(rig.manager, &options, die_somewhere, &victim, &error);
    assert_true(status == CENOTE_CONNECTION_LOST ||
                (point == 2 && status == CENOTE_OUTCOME_UNKNOWN));
    assert_int_equal(victim.calls, 1);
    assert_int_equal(read_one(&rig, "select sum(n)::int from tx"), 0);
  }
  assert_int_equal(rig_statistics(rig.manager).transaction_retries, 0);
  rig_close(&rig);
}

static void a_connection_that_died_while_idle_is_replaced_before_the_body(void **state)
{
  (void)state;
  struct rig rig;
  cenote_error error = CENOTE_ERROR_INIT;
  open_rig(&rig);
  admin_run("select pg_terminate_backend(pid, 10000) from pg_stat_activity where usename = 'app'");
  struct list list = {.sql = {"update tx set n = 1 where id = 1"}};
  must(cenote_transact(rig.manager, run_list, &list, &error), &error);
  assert_int_equal(list.calls, 1);
  assert_int_equal(read_one(&rig, "select n from tx where id = 1"), 1);
  rig_close(&rig);
}

/* The COMMIT itself waits for a constraint that is checked then, and its backend ends meanwhile. */
static void kill_sleepers(void *context)
{
  (void)context;
  (void)!admin_becomes("select count(*) from pg_stat_activity where usename = 'app' and "
                       "query = 'COMMIT' and wait_event = 'PgSleep'",
                       1);
  admin_run("select pg_terminate_backend(pid, 10000) from pg_stat_activity where usename = 'app' "
            "and query = 'COMMIT'");
}

static void sleep_at_commit(struct rig *rig, const char *seconds)
{
  char sql[256];
  cenote_lease lease = rig_acquire(rig->manager, "trigger");
  snprintf(sql, sizeof sql,
           "create or replace function tx_sleep() returns trigger language plpgsql as $$ begin "
           "perform pg_sleep(%s); return null; end $$",
           seconds);
  rig_must_run(lease, sql);
  rig_must_run(lease, "create constraint trigger tx_slow after update on tx deferrable initially "
                      "deferred for each row execute function tx_sleep()");
  rig_release(lease);
}

static void a_connection_killed_in_the_commit_has_an_unknown_outcome_and_is_not_repeated(
    void **state)
{
  (void)state;
  struct rig rig;
  struct rig_thread killer;
  cenote_error error = CENOTE_ERROR_INIT;
  open_rig(&rig);
  sleep_at_commit(&rig, "20");
  const cenote_transact_options options = repeating(5);
  struct list list = {.sql = {"update tx set n = 1 where id = 1"}};
  rig_thread_start(&killer, 0, kill_sleepers, NULL);
  const cenote_status status = cenote_transact_with(rig.manager, &options, run_list, &list, &error);
  rig_thread_join(&killer);
  if (status != CENOTE_OUTCOME_UNKNOWN) {
    fail_msg("%s: %s", cenote_status_name(status), error.message);
  }
  assert_int_equal(list.calls, 1);
  rig_close(&rig);
}

/* ------------------------------------------------------------------------------- time */

/* If its time was over before it had a connection: once more, with more time. */
static cenote_status out_of_time(struct rig *rig, struct list *list)
{
  const struct list fresh = *list;
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_transact_options options = repeating(5);
  cenote_status status = CENOTE_TIMEOUT;
  for (options.timeout_ms = 300; status == CENOTE_TIMEOUT && options.timeout_ms <= 30000;
       options.timeout_ms *= 10) {
    *list = fresh;
    status = cenote_transact_with(rig->manager, &options, run_list, list, &error);
  }
  return status;
}

static void the_deadline_cancels_what_runs_and_rolls_back(void **state)
{
  (void)state;
  struct rig rig;
  open_rig(&rig);
  struct list list = {.sql = {"update tx set n = 1 where id = 1", "select pg_sleep(20)"}};
  assert_int_equal(out_of_time(&rig, &list), CENOTE_STATEMENT_TIMEOUT);
  assert_int_equal(read_one(&rig, "select n from tx where id = 1"), 0);
  sleep_at_commit(&rig, "20");
  list = (struct list){.sql = {"update tx set n = 1 where id = 1"}};
  assert_int_equal(out_of_time(&rig, &list), CENOTE_STATEMENT_TIMEOUT);
  assert_int_equal(list.calls, 1);
  assert_int_equal(read_one(&rig, "select n from tx where id = 1"), 0);
  rig_close(&rig);
}

/* ------------------------------------------------------------------ without a caller */

/* A list of statements that goes on from callback to callback. */
struct steps {
  struct rig *rig;
  const char *sql[6];
  cenote_transaction *transaction;
  cenote_ticket ticket;
  int next, kill_before; /* its connection, before statement `kill_before` (1 is the first) */
  char answer[64], pid[32];
  _Atomic int begun, told, done;
  cenote_status outcome;
  cenote_error error;
};

static void step_on(struct steps *steps);

static void step_told(void *context, cenote_status status, cenote_result *result,
                      const cenote_error *error)
{
  struct steps *steps = context;
  const char *text = cenote_result_text(result, 0, 0);
  snprintf(steps->answer, sizeof steps->answer, "%s", text != NULL ? text : "");
  cenote_result_free(result);
  atomic_fetch_add(&steps->told, 1);
  if (status == CENOTE_OK) {
    step_on(steps);
  } else {
    (void)!cenote_tx_finish(steps->transaction, status, error);
  }
}

static void step_on(struct steps *steps)
{
  const char *sql = steps->sql[steps->next++];
  cenote_error error = CENOTE_ERROR_INIT;
  char kill[96];
  if (steps->next == 2) {
    memcpy(steps->pid, steps->answer, sizeof steps->pid);
  }
  if (steps->kill_before != 0 && steps->next == steps->kill_before) {
    snprintf(kill, sizeof kill, "select pg_terminate_backend(%.31s, 10000)", steps->pid);
    admin_run(kill);
  }
  const cenote_status status = sql == NULL
                                   ? cenote_tx_finish(steps->transaction, CENOTE_OK, NULL)
                                   : cenote_tx_execute_async(steps->transaction, sql, NULL, 0,
                                                             step_told, steps, NULL, &error);
  if (status != CENOTE_OK) {
    (void)!cenote_tx_finish(steps->transaction, status, &error);
  }
}

static void step_begin(void *context, cenote_transaction *transaction)
{
  struct steps *steps = context;
  steps->transaction = transaction;
  steps->next = 0;
  atomic_fetch_add(&steps->begun, 1);
  step_on(steps);
}

static void step_done(void *context, cenote_status status, const cenote_error *error)
{
  struct steps *steps = context;
  steps->outcome = status;
  steps->error = *error;
  atomic_fetch_add(&steps->done, 1);
}

static void start_steps(struct steps *steps, const cenote_transact_options *options)
{
  cenote_error error = CENOTE_ERROR_INIT;
  must(cenote_transact_async(steps->rig->manager, options, step_begin, step_done, steps,
                             &steps->ticket, &error),
       &error);
}

static void wait_for(const _Atomic int *count, int wanted)
{
  const int64_t end = cen_deadline_ns(cen_now_ns(), RIG_PATIENCE_MS);
  while (atomic_load(count) < wanted) {
    if (cen_now_ns() > end) {
      fail_msg("never");
    }
    rig_nap_ms(2);
  }
}

static void run_steps(struct steps *steps, const cenote_transact_options *options)
{
  start_steps(steps, options);
  wait_for(&steps->done, 1);
}

static void nobody_waits_for_it_and_it_is_the_same(void **state)
{
  (void)state;
  struct rig rig;
  open_rig(&rig);
  const cenote_transact_options options = repeating(5);
  struct steps good = {.rig = &rig,
                       .sql = {"BEGIN ISOLATION LEVEL REPEATABLE READ",
                               "update tx set n = n + 1 where id = 1",
                               "show transaction_isolation"}};
  run_steps(&good, &options);
  must(good.outcome, &good.error);
  assert_string_equal(good.answer, "repeatable read");
  struct steps bad = {.rig = &rig, .sql = {"update tx set n = 9", "select 1/0"}};
  run_steps(&bad, &options);
  failed_with(bad.outcome, &bad.error, "22012");
  assert_int_equal(read_one(&rig, "select sum(n)::int from tx"), 1);
  for (int at = 2; at <= 4; at++) { /* 4: before the commit */
    struct steps dead = {.rig = &rig,
                         .sql = {"select pg_backend_pid()", "update tx set n = 7", "select 1"},
                         .kill_before = at};
    run_steps(&dead, &options);
    assert_true(dead.outcome == CENOTE_CONNECTION_LOST ||
                (at == 4 && dead.outcome == CENOTE_OUTCOME_UNKNOWN));
    assert_int_equal(dead.begun, 1);
  }
  assert_int_equal(read_one(&rig, "select sum(n)::int from tx"), 1);
  rig_close(&rig);
}

/* All of them read all of it and write a part: serializable, most of them have to come again. */
static void nobody_waits_and_conflicts_are_repeated(void **state)
{
  (void)state;
  enum { FLOWS = 4, ROUNDS = 5 };
  struct rig rig;
  open_rig(&rig);
  cenote_transact_options options = repeating(1000);
  options.isolation = CENOTE_SERIALIZABLE;
  for (int round = 0; round < ROUNDS; round++) {
    struct steps steps[FLOWS];
    for (int i = 0; i < FLOWS; i++) {
      steps[i] = (struct steps){
          .rig = &rig, .sql = {"select sum(n) from tx", "update tx set n = n + 1 where id = 1"}};
      start_steps(&steps[i], &options);
    }
    for (int i = 0; i < FLOWS; i++) {
      wait_for(&steps[i].done, 1);
      must(steps[i].outcome, &steps[i].error);
    }
  }
  assert_int_equal(read_one(&rig, "select n from tx where id = 1"), FLOWS * ROUNDS);
  rig_close(&rig);
}

static void a_cancel_stops_what_runs_on_the_server(void **state)
{
  (void)state;
  struct rig rig;
  open_rig(&rig);
  struct steps steps = {.rig = &rig, .sql = {"update tx set n = 3", "select pg_sleep(30)"}};
  start_steps(&steps, NULL);
  wait_for(&steps.told, 1);
  assert_true(
      admin_becomes("select count(*) from pg_stat_activity where wait_event = 'PgSleep'", 1));
  assert_int_equal(cenote_cancel_query(steps.ticket), CENOTE_OK);
  wait_for(&steps.done, 1);
  assert_int_equal(steps.outcome, CENOTE_CANCELLED);
  assert_true(
      admin_becomes("select count(*) from pg_stat_activity where wait_event = 'PgSleep'", 0));
  assert_int_equal(read_one(&rig, "select sum(n)::int from tx"), 0);
  rig_close(&rig);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_server_has_the_level_and_mode_of_the_options),
      cmocka_unit_test(a_role_that_only_reads_by_default_is_not_overruled),
      cmocka_unit_test(a_begin_inside_sets_what_it_says),
      cmocka_unit_test(ends_sent_by_the_body_hold_on_the_server),
      cmocka_unit_test(a_failed_transaction_is_not_committed_by_anybody),
      cmocka_unit_test(a_batch_that_only_reads_does_so_inside_a_transaction_too),
      cmocka_unit_test(a_batch_has_the_level_and_mode_of_its_options),
      cmocka_unit_test(a_serialization_failure_is_repeated_where_that_is_allowed),
      cmocka_unit_test(a_deadlock_is_repeated_where_that_is_allowed),
      cmocka_unit_test(a_connection_killed_in_the_body_or_before_the_commit_commits_nothing),
      cmocka_unit_test(a_connection_that_died_while_idle_is_replaced_before_the_body),
      cmocka_unit_test(
          a_connection_killed_in_the_commit_has_an_unknown_outcome_and_is_not_repeated),
      cmocka_unit_test(the_deadline_cancels_what_runs_and_rolls_back),
      cmocka_unit_test(nobody_waits_for_it_and_it_is_the_same),
      cmocka_unit_test(nobody_waits_and_conflicts_are_repeated),
      cmocka_unit_test(a_cancel_stops_what_runs_on_the_server),
  };
  if (!pg_fixture_start(&rig_server, NULL)) {
    return pg_fixture_skip(&rig_server);
  }
  const int failed = cmocka_run_group_tests(tests, NULL, NULL);
  pg_fixture_stop(&rig_server);
  return failed;
}
