/*
 * simple_torture.c - memory runs out on the simple path, on a real server: any allocation of the
 * library may fail, whichever thread makes it, while callers that block and callers that do not
 * read, write, run out of time, are cancelled and lose their connection. Each is told once; who is
 * told that it worked has its own row; with memory back the same manager works, its books are right,
 * nothing is left behind; and of the writes in the ledger none is there twice, none is missing that
 * was told to be done, and none is there that was told to be undone.
 *
 * There are too many allocations to fail each of them: SEED= chooses which, RUNS= how many. With
 * CENOTE_TEST_HTTP_PATH=1 the same with SQL over HTTP beside the pool, the gateway in front of the same
 * server.
 */
#include "fault/pool_rig.h"
#include "base/text.h"
#include "manager/simple_inside.h"
#include "net/workers.h"
#include "support/alloc_torture.h"
#include "support/serve_fixture.h"

#include <cenote/loop.h>

#include <dirent.h>
#include <inttypes.h>
#include <libpq-fe.h>
#include <poll.h>

static PGconn *outside; /* another session, of whose memory nothing is ours */
static int64_t seed;
static int64_t runs = 70;
static bool over_http;
static struct serve_fixture gateway; /* another process, whose memory is its own */

/* ---------------------------------------------------------------------- statements */

enum kind { READ, WRITE, OVERDUE, CANCELLED, HIDDEN_WRITE, KINDS };

static const char *const texts[KINDS] = {
    "select $1::int8, repeat('x', 3000)",           "insert into ledger values ($1) returning tag",
    "select $1::int8 from pg_sleep(0.2)",           "select $1::int8 from pg_sleep(0.2)",
    "select written from recording where tag = $1", /* a view that writes */
};

struct statement {
  enum kind kind;
  bool uneasy; /* its session may have been killed */
  int64_t tag;
  _Atomic int told;
  cenote_status status;
  int64_t answer;
  char message[2600];
  cenote_ticket ticket;
};

enum { STATEMENTS = 64 };

struct play {
  cenote_manager *manager;
  bool external;
  _Atomic unsigned count;
  struct statement statement[STATEMENTS];
};

static _Atomic int64_t tags; /* never the same twice in a run of the program */

static struct statement *make(struct play *play, enum kind kind)
{
  struct statement *fresh = &play->statement[atomic_fetch_add(&play->count, 1)];
  *fresh = (struct statement){.kind = kind, .tag = atomic_fetch_add(&tags, 1) + 1};
  return fresh;
}

static void note(struct statement *s, cenote_status status, cenote_result *result,
                 const cenote_error *error)
{
  s->status = status;
  s->answer = cenote_result_rows(result) == 1 ? cenote_result_integer(result, 0, 0) : -1;
  snprintf(s->message, sizeof s->message, "%s (%s) %s", error->message, error->sqlstate,
           error->details);
  cenote_result_free(result);
  atomic_fetch_add(&s->told, 1);
}

static cenote_query_options options_of(const struct statement *s)
{
  cenote_query_options options = CENOTE_QUERY_OPTIONS_INIT;
  options.operation_id = "torture";
  options.timeout_ms = s->kind == OVERDUE ? 15 : RIG_PATIENCE_MS;
  return options;
}

/* Any thread. */
static void ask(struct play *play, struct statement *s)
{
  const cenote_query_options options = options_of(s);
  const cenote_value args[] = {cenote_integer(s->tag)};
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_result *result;
  const cenote_status status =
      cenote_query(play->manager, texts[s->kind], args, 1, &options, &result, &error);
  note(s, status, result, &error);
}

static void on_answer(void *context, cenote_status status, cenote_result *result,
                      const cenote_error *error)
{
  note(context, status, result, error);
}

static void start(struct play *play, struct statement *s)
{
  const cenote_query_options options = options_of(s);
  const cenote_value args[] = {cenote_integer(s->tag)};
  cenote_error error = CENOTE_ERROR_INIT;
  const cenote_status status =
      cenote_query_async(play->manager, texts[s->kind], args, 1, &options, on_answer, s,
                         s->kind == CANCELLED ? &s->ticket : NULL, &error);
  if (status != CENOTE_OK) {
    note(s, status, NULL, &error);
  }
}

static void turn(struct play *play)
{
  if (play->external) {
    struct pollfd watched = {.fd = cenote_pollfd(play->manager), .events = POLLIN};
    (void)poll(&watched, 1, 1);
    const cenote_status status = cenote_dispatch(play->manager, NULL);
    assert_true(status == CENOTE_OK || (status == CENOTE_NO_MEMORY && alloc_torture_struck()));
  } else {
    rig_nap_ms(1);
  }
}

static void await(struct play *play)
{
  const int64_t end = cen_deadline_ns(cen_now_ns(), 3 * RIG_PATIENCE_MS);
  for (unsigned i = 0; i < atomic_load(&play->count); i++) {
    while (atomic_load(&play->statement[i].told) == 0) {
      if (cen_now_ns() > end) {
        fail_msg("%s: was never told", texts[play->statement[i].kind]);
      }
      turn(play);
    }
  }
}

/* -------------------------------------------------------------- what they were told */

static bool may_end_so(const struct statement *s)
{
  const bool writes = s->kind == WRITE || s->kind == HIDDEN_WRITE;
  switch (s->status) {
  case CENOTE_OK:
    return s->answer == s->tag;
  case CENOTE_STATEMENT_TIMEOUT:
  case CENOTE_TIMEOUT:
    return s->kind == OVERDUE;
  case CENOTE_CANCELLED:
    return s->kind == CANCELLED;
  case CENOTE_NO_MEMORY:
    return alloc_torture_struck();
  case CENOTE_CONNECTION_LOST: /* where it could not be cleaned, or watched */
    return alloc_torture_struck() || s->uneasy;
  case CENOTE_OUTCOME_UNKNOWN:
    return writes && (alloc_torture_struck() || s->uneasy);
  default:
    return false;
  }
}

static int64_t look(const char *sql)
{
  PGresult *result = PQexec(outside, sql);
  if (PQresultStatus(result) != PGRES_TUPLES_OK) {
    fail_msg("%s: %s", sql, PQerrorMessage(outside));
  }
  const int64_t first = PQntuples(result) > 0 ? strtoll(PQgetvalue(result, 0, 0), NULL, 10) : 0;
  PQclear(result);
  return first;
}

/* Rows of its own that found no room: it may have been executed. */
static void judge(const struct statement *s)
{
  if (atomic_load(&s->told) != 1 || !may_end_so(s)) {
    fail_msg("%s: told %d times: %s, %" PRId64 " instead of %" PRId64 ": %s", texts[s->kind],
             atomic_load(&s->told), cenote_status_name(s->status), s->answer, s->tag, s->message);
  }
  char sql[100];
  snprintf(sql, sizeof sql, "select count(*) from ledger where tag = %" PRId64, s->tag);
  const int64_t found = look(sql);
  const bool writes = s->kind == WRITE || s->kind == HIDDEN_WRITE;
  /* Over HTTP nothing refused it the first time; where it is lost, the second try is, and says so. */
  const bool lost = over_http && s->kind == HIDDEN_WRITE && s->status == CENOTE_CONNECTION_LOST;
  const bool unsure = lost || s->status == CENOTE_OUTCOME_UNKNOWN || s->status == CENOTE_NO_MEMORY;
  const int64_t least = writes && s->status == CENOTE_OK ? 1 : 0;
  const int64_t most = writes && (unsure || least == 1) ? 1 : 0;
  if (found < least || found > most) {
    fail_msg("%s: %" PRId64 " times in the ledger, and told %s: %s", texts[s->kind], found,
             cenote_status_name(s->status), s->message);
  }
}

/* ------------------------------------------------------------------- the manager */

static void silent(void *context, cenote_log_level level, const char *line)
{
  (void)context;
  (void)level;
  (void)line;
}

static bool open_quietly(struct play *play, bool external)
{
  char endpoint[96] = "";
  const cenote_setting settings[] = {
      {"http_endpoint", endpoint},     {"min_connections", "0"},
      {"max_connections", "4"},        {"simple_connections", "3"},
      {"connect_backoff_ms", "1"},     {"connect_backoff_max_ms", "2"},
      {"retry_delay_ms", "1"},         {"memory_pressure", "false"},
      {"breaker_failures", "0"},       {"cancel_timeout_ms", "300"},
      {"login_breaker_failures", "0"}, {"application_name", "torture"}};
  cenote_options options = CENOTE_OPTIONS_INIT;
  cenote_error error = CENOTE_ERROR_INIT;
  options.settings = settings;
  options.settings_count = sizeof settings / sizeof *settings;
  options.log = silent;
  options.external_loop = external;
  if (over_http) {
    (void)snprintf(endpoint, sizeof endpoint, "%s/sql", gateway.url);
  }
  *play = (struct play){.external = external};
  const cenote_status status = cenote_open(rig_var(over_http ? "POSTGRES_TCP_URL" : "POSTGRES_URL"),
                                           &options, &play->manager, &error);
  if (status != CENOTE_OK && (status != CENOTE_NO_MEMORY || !alloc_torture_struck())) {
    fail_msg("cenote_open: %s", error.message);
  }
  assert_true((status == CENOTE_OK) == (play->manager != NULL));
  return status == CENOTE_OK;
}

static void check_books(const struct play *play)
{
  const char *wrong = pipeline_check(&play->manager->simple->set);
  if (wrong != NULL) {
    fail_msg("the shared connections' books: %s", wrong);
  }
  rig_check(play->manager);
}

/* Ghosts, too, have been answered. */
static void settle(struct play *play)
{
  const int64_t end = cen_deadline_ns(cen_now_ns(), RIG_PATIENCE_MS);
  while (rig_statistics(play->manager).in_flight != 0 ||
         rig_statistics(play->manager).http_in_flight != 0) {
    assert_true(cen_now_ns() < end);
    check_books(play);
    turn(play);
  }
  check_books(play);
}

/* Whoever serves the callers now, they get what they ask for. */
static void works(struct play *play)
{
  const unsigned first = atomic_load(&play->count);
  for (int i = 0; i < 2; i++) {
    start(play, make(play, READ));
    start(play, make(play, WRITE));
    await(play);
    if (!play->external) {
      ask(play, make(play, READ));
      ask(play, make(play, WRITE));
    }
  }
  for (unsigned i = first; i < atomic_load(&play->count); i++) {
    const struct statement *s = &play->statement[i];
    if (s->status != CENOTE_OK) {
      fail_msg("memory is back, and %s: %s: %s", texts[s->kind], cenote_status_name(s->status),
               s->message);
    }
  }
}

static unsigned descriptors(void)
{
  unsigned count = 0;
  DIR *open = opendir("/proc/self/fd");
  assert_non_null(open);
  while (readdir(open) != NULL) {
    count++;
  }
  closedir(open);
  return count;
}

/* Memory is back. */
static void end(struct play *play)
{
  alloc_torture_disarm();
  settle(play);
  works(play);
  settle(play);
  const unsigned count = atomic_load(&play->count);
  assert_int_equal(rig_statistics(play->manager).http.statements > 0, over_http);
  cenote_close(play->manager);
  for (unsigned i = 0; i < count; i++) {
    judge(&play->statement[i]);
  }
}

/* Those that there are, not those that come in their place. The server's own way of waiting for it
 * takes a tenth of a second each. */
static void kill_sessions(void)
{
  char gone[400];
  PGresult *result =
      PQexec(outside, "select string_agg(pid || left(pg_terminate_backend(pid)::text, 0), ',') "
                      "from pg_stat_activity where application_name = 'torture'");
  assert_int_equal(PQresultStatus(result), PGRES_TUPLES_OK);
  snprintf(gone, sizeof gone, "select count(*) from pg_stat_activity where pid in (0%s%s)",
           PQgetisnull(result, 0, 0) ? "" : ",", PQgetvalue(result, 0, 0));
  PQclear(result);
  while (look(gone) > 0) {
    rig_nap_ms(1);
  }
}

static void cancel(const struct statement *s)
{
  if (s->ticket.number != 0) {
    (void)cenote_cancel_query(s->ticket);
  }
}

/* ----------------------------------------------------------------------- the plays */

static void *call(void *context)
{
  static const enum kind kinds[] = {READ, WRITE, HIDDEN_WRITE, OVERDUE, READ, WRITE};
  struct play *play = context;
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    ask(play, make(play, kinds[i]));
  }
  return NULL;
}

static void start_all(struct play *play)
{
  static const enum kind kinds[] = {READ, WRITE, CANCELLED, OVERDUE, HIDDEN_WRITE, READ, WRITE};
  struct statement *cancelled = NULL;
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    struct statement *s = make(play, kinds[i]);
    start(play, s);
    cancelled = s->kind == CANCELLED ? s : cancelled;
  }
  turn(play);
  turn(play);
  cancel(cancelled);
}

static void start_uneasy(struct play *play)
{
  static const enum kind kinds[] = {READ, WRITE, READ};
  struct statement *fresh[3];
  for (int i = 0; i < 3; i++) {
    fresh[i] = make(play, kinds[i]);
    fresh[i]->uneasy = true;
    start(play, fresh[i]);
  }
  kill_sessions();
  await(play);
}

static void with_threads(bool drought)
{
  enum { CALLERS = 2 };
  static struct play play;
  pthread_t callers[CALLERS];
  const unsigned before = descriptors();
  if (open_quietly(&play, false)) {
    for (int i = 0; i < CALLERS; i++) {
      assert_int_equal(pthread_create(&callers[i], NULL, call, &play), 0);
    }
    start_all(&play);
    if (drought) {
      rig_nap_ms(20);
      alloc_torture_disarm();
    }
    for (int i = 0; i < CALLERS; i++) {
      assert_int_equal(pthread_join(callers[i], NULL), 0);
    }
    await(&play);
    start_uneasy(&play);
    struct statement *after = make(&play, READ);
    ask(&play, after);
    end(&play);
  }
  cen_workers_stop();
  assert_int_equal(descriptors(), before);
}

static void once(void *unused)
{
  (void)unused;
  with_threads(false);
}

/* Not only one fails, but all that follow, until there is memory again. */
static void in_a_drought(void *unused)
{
  (void)unused;
  with_threads(true);
}

static void on_a_host_loop(void *unused)
{
  static struct play play;
  (void)unused;
  const unsigned before = descriptors();
  if (open_quietly(&play, true)) {
    start_all(&play);
    await(&play);
    start_uneasy(&play);
    start(&play, make(&play, READ));
    await(&play);
    end(&play);
  }
  cen_workers_stop();
  assert_int_equal(descriptors(), before);
}

/* What a manager leaves to the next: slots of a pool. Over HTTP it may come to need them only when
 * memory is short. */
static void warm_up(void)
{
  static struct play play;
  cenote_lease lease;
  assert_true(open_quietly(&play, false));
  assert_int_equal(cenote_acquire(play.manager, "warm-up", RIG_PATIENCE_MS, &lease, NULL),
                   CENOTE_OK);
  assert_int_equal(cenote_release(lease), CENOTE_OK);
  cenote_close(play.manager);
}

static void out_of_memory(void **state)
{
  (void)state;
  warm_up();
  const size_t met =
      alloc_torture_sample(once, NULL, ALLOC_TORTURE_BALANCED, (size_t)runs, (uint64_t)seed);
  assert_true((int64_t)met > runs / 2);
}

static void out_of_memory_on_a_host_loop(void **state)
{
  (void)state;
  const size_t met = alloc_torture_sample(on_a_host_loop, NULL, ALLOC_TORTURE_BALANCED,
                                          (size_t)runs, (uint64_t)seed);
  assert_true((int64_t)met > runs / 2);
}

static void out_of_memory_for_a_while(void **state)
{
  (void)state;
  const size_t met =
      alloc_torture_sample(in_a_drought, NULL, ALLOC_TORTURE_BALANCED | ALLOC_TORTURE_ONWARD,
                           (size_t)runs / 3, (uint64_t)seed);
  assert_true((int64_t)met > runs / 6);
}

static int disarm(void **state)
{
  (void)state;
  alloc_torture_disarm();
  return 0;
}

int main(void)
{
  seed = (int64_t)(cen_now_ns() / 1000 % 10000000);
  (void)cen_text_to_int(getenv("SEED"), &seed);
  (void)cen_text_to_int(getenv("RUNS"), &runs);
  print_message("# SEED=%" PRId64 "\n", seed);
  if (!pg_fixture_start(&rig_server, NULL)) {
    return pg_fixture_skip(&rig_server);
  }
  admin_run("create table ledger (tag int8);"
            "create table candidates (tag int8 primary key);"
            "insert into candidates select generate_series(1, 20000);"
            "create function write_it(int8) returns int8 language sql volatile as "
            "'insert into ledger values ($1) returning tag';"
            "create view recording as select tag, write_it(tag) as written from candidates;"
            "grant all on all tables in schema public to app");
  outside = PQconnectdb(rig_var("POSTGRES_ADMIN_URL"));
  over_http = getenv("CENOTE_TEST_HTTP_PATH") != NULL;
  if (over_http && !serve_fixture_start_at(&gateway, rig_var("POSTGRES_TCP_URL"), 0)) {
    return 1;
  }
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_teardown(out_of_memory, disarm),
      cmocka_unit_test_teardown(out_of_memory_on_a_host_loop, disarm),
      cmocka_unit_test_teardown(out_of_memory_for_a_while, disarm),
  };
  int failed = cmocka_run_group_tests_name("simple_torture", tests, NULL, NULL);
  failed += over_http && !serve_fixture_stop(&gateway);
  PQfinish(outside);
  pg_fixture_stop(&rig_server);
  return failed;
}
