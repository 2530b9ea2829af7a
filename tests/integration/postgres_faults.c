/* The PostgreSQL driver when things go wrong: cancels, dead backends, dead servers, bad networks. */
#include "base/text.h"
#include "driver/postgres/postgres.h"
#include "integration/postgres_rig.h"
#include "net/clock.h"
#include "net/workers.h"
#include "support/fault_proxy.h"
#include "support/pg_fixture.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static struct pg_fixture server;

static const char *var(const char *name)
{
  return pg_fixture_get(&server, name);
}

static int port(void)
{
  int64_t number = 0;
  assert_true(cen_text_to_int(var("POSTGRES_PORT"), &number));
  return (int)number;
}

static void nap(int64_t ns)
{
  struct timespec ts = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
  nanosleep(&ts, NULL);
}

/* Something to be done by another thread a little later. */
struct later {
  pthread_t thread;
  int64_t delay_ns;
  void (*act)(void *context);
  void *context;
};

static void *later_run(void *context)
{
  struct later *later = context;
  nap(later->delay_ns);
  later->act(later->context);
  return NULL;
}

static void later_start(struct later *later, int64_t delay_ns, void (*act)(void *context),
                        void *context)
{
  *later = (struct later){.delay_ns = delay_ns, .act = act, .context = context};
  assert_int_equal(pthread_create(&later->thread, NULL, later_run, later), 0);
}

static void later_join(struct later *later)
{
  assert_int_equal(pthread_join(later->thread, NULL), 0);
}

static cenote_status execute(struct pg_rig *pg, cenote_connection *c, const char *sql,
                             int64_t timeout_ms, cenote_error *error)
{
  cenote_result *result;
  cenote_status status = rig_execute(&pg->rig, c, sql, NULL, 0, timeout_ms, &result, error);
  cenote_result_free(result);
  return status;
}

/* Some session of the server's waits so. From the thread that is to disturb it: not before. */
static void await_waiting(const char *where)
{
  struct pg_rig pg = {0};
  cenote_connection *c = pg_rig_connect(&pg, var("POSTGRES_ADMIN_URL"));
  char sql[128];
  snprintf(sql, sizeof(sql), "SELECT count(*) FROM pg_stat_activity WHERE %s", where);
  for (int i = 0; i < 2000 && rig_integer(&pg.rig, c, sql) <= 0; i++) {
    nap(10 * CEN_NS_PER_MS);
  }
  pg_rig_end(&pg, c);
}

static const char asleep[] = "wait_event = 'PgSleep'";
static const char held_up[] = "wait_event_type = 'Lock'";

static void cancel_it(void *context)
{
  cen_driver_postgres.cancel(context);
}

static void abort_it(void *context)
{
  cen_driver_postgres.abort(context);
}

static void cancel_the_sleeping(void *context)
{
  await_waiting(asleep);
  cancel_it(context);
}

static void abort_the_sleeping(void *context)
{
  await_waiting(asleep);
  abort_it(context);
}

/* ------------------------------------------------------------------------------ cancels */

static void a_cancel_ends_the_statement_and_not_the_session(void **state)
{
  (void)state;
  struct pg_rig pg = {0};
  cenote_connection *c = pg_rig_connect(&pg, var("POSTGRES_URL"));
  cenote_error error = CENOTE_ERROR_INIT;
  struct later later;
  later_start(&later, 0, cancel_the_sleeping, c);
  assert_int_equal(execute(&pg, c, "SELECT pg_sleep(60)", -1, &error), CENOTE_CANCELLED);
  assert_string_equal(error.sqlstate, "57014");
  later_join(&later);
  assert_int_equal(execute(&pg, c, "SELECT pg_sleep(60)", 50, &error), CENOTE_STATEMENT_TIMEOUT);
  assert_int_equal(rig_integer(&pg.rig, c, "SELECT 1"), 1);
  assert_false(pg_rig_session(&pg, c) & CENOTE_SESSION_BROKEN);
  pg_rig_end(&pg, c);
}

static void a_cancel_between_statements_touches_nothing(void **state)
{
  (void)state;
  struct pg_rig pg = {0};
  cenote_connection *c = pg_rig_connect(&pg, var("POSTGRES_URL"));
  for (int i = 0; i < 20; i++) {
    cancel_it(c);
    assert_int_equal(rig_integer(&pg.rig, c, "SELECT 2"), 2);
  }
  pg_rig_end(&pg, c);
}

static void late_cancel_never_hits_the_next_statement(void **state)
{
  (void)state;
  struct pg_rig pg = {0};
  cenote_connection *c = pg_rig_connect(&pg, var("POSTGRES_URL"));
  uint64_t seed = 12345;
  int hits = 0;
  int misses = 0;
  for (int round = 0; round < 150; round++) {
    /* However busy the machine is, the last two show both: a cancel that is early, one that is late. */
    const bool early = round == 148, late = round == 149;
    struct later later;
    cenote_error error = CENOTE_ERROR_INIT;
    seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
    const int64_t delay = early ? 100000000 : late ? 300000000 : (int64_t)((seed >> 33) % 4000000);
    later_start(&later, delay, cancel_it, c);
    const char *sql = early ? "SELECT pg_sleep(2)" : "SELECT pg_sleep(0.002)";
    cenote_status status = execute(&pg, c, sql, -1, &error);
    hits += status == CENOTE_CANCELLED;
    misses += status == CENOTE_OK;
    later_join(&later); /* cancel() has returned; its request may still be under way */
    for (int i = 0; i < 3; i++) {
      assert_int_equal(execute(&pg, c, "SELECT pg_sleep(0.0005)", -1, &error), CENOTE_OK);
    }
  }
  assert_int_equal(hits + misses, 150);
  assert_true(hits > 0 && misses > 0);
  pg_rig_end(&pg, c);
}

static void an_abort_fails_the_statement_and_breaks_the_connection(void **state)
{
  (void)state;
  struct pg_rig pg = {0};
  cenote_connection *c = pg_rig_connect(&pg, var("POSTGRES_URL"));
  cenote_error error = CENOTE_ERROR_INIT;
  struct later later;
  assert_int_equal(execute(&pg, c,
                           "INSERT INTO pg_class SELECT * FROM pg_class WHERE "
                           "pg_sleep(60) IS NULL",
                           -1, &error),
                   CENOTE_DATABASE);   /* not allowed: ends at once */
  later_start(&later, 0, abort_it, c); /* and finds it idle */
  later_join(&later);
  assert_true(pg_rig_session(&pg, c) & CENOTE_SESSION_BROKEN);
  pg_rig_end(&pg, c);

  c = pg_rig_connect(&pg, var("POSTGRES_URL"));
  later_start(&later, 0, abort_the_sleeping, c);
  cenote_status status = execute(&pg, c, "SELECT pg_sleep(60)", -1, &error);
  assert_true(status == CENOTE_CONNECTION_LOST || status == CENOTE_OUTCOME_UNKNOWN);
  later_join(&later);
  assert_true(pg_rig_session(&pg, c) & CENOTE_SESSION_BROKEN);
  assert_int_equal(execute(&pg, c, "SELECT 1", -1, &error), CENOTE_CONNECTION_LOST);
  pg_rig_end(&pg, c);
}

/* ------------------------------------------------------------------------- lost sessions */

/* A locked table holds statements up until something happens to them. */
struct locked {
  struct pg_rig pg, holder_pg;
  cenote_connection *c, *holder;
};

static void lock_up(struct locked *locked)
{
  memset(locked, 0, sizeof(*locked));
  locked->holder = pg_rig_connect(&locked->holder_pg, var("POSTGRES_URL"));
  locked->c = pg_rig_connect(&locked->pg, var("POSTGRES_URL"));
  struct rig *rig = &locked->holder_pg.rig;
  assert_int_equal(rig_do(rig, locked->holder, "CREATE TABLE IF NOT EXISTS held (a int)"),
                   CENOTE_OK);
  assert_int_equal(rig_begin(rig, locked->holder, CENOTE_BATCH_DEFERRED, NULL), CENOTE_OK);
  assert_int_equal(rig_do(rig, locked->holder, "LOCK TABLE held"), CENOTE_OK);
}

static void unlock(struct locked *locked)
{
  pg_rig_end(&locked->pg, locked->c);
  pg_rig_end(&locked->holder_pg, locked->holder);
}

static void terminate_the_waiting(void *context)
{
  (void)context;
  struct pg_rig pg = {0};
  cenote_connection *c = pg_rig_connect(&pg, var("POSTGRES_ADMIN_URL"));
  int64_t count = 0;
  for (int i = 0; i < 2000 && count <= 0; i++) {
    count = rig_integer(&pg.rig, c,
                        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                        " WHERE wait_event_type = 'Lock'");
    nap(10 * CEN_NS_PER_MS);
  }
  pg_rig_end(&pg, c);
}

static void a_terminated_backend_says_what_became_of_the_statement(void **state)
{
  (void)state;
  static const struct {
    const char *sql;
    bool in_block;
    cenote_status status;
  } cases[] = {{"SELECT count(*) FROM held", false, CENOTE_CONNECTION_LOST},
               {"INSERT INTO held VALUES (1)", false, CENOTE_OUTCOME_UNKNOWN},
               {"INSERT INTO held VALUES (1)", true, CENOTE_CONNECTION_LOST}};
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    struct locked locked;
    struct later later;
    cenote_error error = CENOTE_ERROR_INIT;
    lock_up(&locked);
    if (cases[i].in_block) {
      assert_int_equal(rig_begin(&locked.pg.rig, locked.c, CENOTE_BATCH_DEFERRED, NULL), CENOTE_OK);
    }
    later_start(&later, 0, terminate_the_waiting, NULL);
    assert_int_equal(execute(&locked.pg, locked.c, cases[i].sql, 30000, &error), cases[i].status);
    assert_string_equal(error.sqlstate, "57P01");
    later_join(&later);
    assert_true(pg_rig_session(&locked.pg, locked.c) & CENOTE_SESSION_BROKEN);
    unlock(&locked);
  }
}

static void kill_the_server(void *context)
{
  (void)context;
  await_waiting(held_up);
  (void)pg_fixture_kill(&server);
}

static void a_killed_server_says_what_became_of_the_statement(void **state)
{
  (void)state;
  static const struct {
    const char *sql;
    cenote_status status;
  } cases[] = {{"SELECT count(*) FROM held", CENOTE_CONNECTION_LOST},
               {"INSERT INTO held VALUES (1)", CENOTE_OUTCOME_UNKNOWN}};
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    struct locked locked;
    struct later later;
    cenote_error error = CENOTE_ERROR_INIT;
    lock_up(&locked);
    later_start(&later, 0, kill_the_server, NULL);
    assert_int_equal(execute(&locked.pg, locked.c, cases[i].sql, 30000, &error), cases[i].status);
    later_join(&later);
    assert_true(pg_rig_session(&locked.pg, locked.c) & CENOTE_SESSION_BROKEN);
    /* the holder rested: nothing of its next statement can have run */
    assert_int_equal(
        execute(&locked.holder_pg, locked.holder, "INSERT INTO held VALUES (2)", 30000, &error),
        CENOTE_CONNECTION_LOST);
    unlock(&locked);
    assert_int_equal(pg_rig_try(var("POSTGRES_URL"), NULL, &error), CENOTE_CONNECT);
    assert_true(pg_fixture_restart(&server));
    assert_int_equal(pg_rig_try(var("POSTGRES_URL"), NULL, &error), CENOTE_OK);
  }
}

static void a_session_that_died_at_rest_is_lost_before_anything_is_sent(void **state)
{
  (void)state;
  struct pg_rig pg = {0};
  cenote_connection *c = pg_rig_connect(&pg, var("POSTGRES_URL"));
  cenote_connection *other = NULL;
  cenote_error error = CENOTE_ERROR_INIT;
  other = rig_connect(&pg.rig, &error);
  assert_non_null(other);
  char sql[80];
  snprintf(sql, sizeof(sql), "SELECT pg_terminate_backend(%lld, 20000)::int", /* and waits for it */
           (long long)rig_integer(&pg.rig, c, "SELECT pg_backend_pid()"));
  assert_int_equal(rig_integer(&pg.rig, other, sql), 1);
  assert_int_equal(execute(&pg, c, "CREATE TABLE never (a int)", 5000, &error),
                   CENOTE_CONNECTION_LOST);
  assert_true(error.retryable);
  assert_string_equal(error.sqlstate, "57P01");
  assert_non_null(strstr(error.message, "administrator"));
  assert_true(pg_rig_session(&pg, c) & CENOTE_SESSION_BROKEN);
  rig_disconnect(&pg.rig, other);
  pg_rig_end(&pg, c);
}

static void a_stopped_server_costs_the_connection_and_no_more(void **state)
{
  (void)state;
  struct pg_rig pg = {0};
  cenote_connection *c = pg_rig_connect(&pg, var("POSTGRES_TCP_URL"));
  cenote_error error = CENOTE_ERROR_INIT;
  assert_true(pg_fixture_pause(&server));
  pg.rig.cancel_ms = 500; /* nothing will come of it */
  cenote_status status = execute(&pg, c, "SELECT 1", 100, &error);
  const unsigned session = pg_rig_session(&pg, c);
  pg.rig.cancel_ms = 0;
  rig_disconnect(&pg.rig, c);
  assert_true(pg_fixture_resume(&server)); /* before anything is asserted: others need it */
  assert_int_equal(status, CENOTE_CONNECTION_LOST);
  assert_true(session & CENOTE_SESSION_BROKEN);
  c = rig_connect(&pg.rig, &error);
  assert_non_null(c);
  assert_int_equal(rig_integer(&pg.rig, c, "SELECT 3"), 3);
  pg_rig_end(&pg, c);
}

/* -------------------------------------------------------------------------- the network */

struct network {
  struct fault_proxy *proxy;
  struct pg_rig pg;
  cenote_connection *c;
  char url[256];
};

static void network_up(struct network *net)
{
  memset(net, 0, sizeof(*net));
  net->proxy = fault_proxy_start("127.0.0.1", port());
  assert_non_null(net->proxy);
  snprintf(net->url, sizeof(net->url), "postgresql://trusted@127.0.0.1:%d/cenote?sslmode=disable",
           fault_proxy_port(net->proxy));
  net->c = pg_rig_connect(&net->pg, net->url);
}

static void network_down(struct network *net)
{
  pg_rig_end(&net->pg, net->c);
  fault_proxy_stop(net->proxy);
}

static void silence_it(void *context)
{
  fault_proxy_silence(context);
}

static void reset_it(void *context)
{
  fault_proxy_reset(context);
}

static void a_silent_network_ends_at_the_deadline(void **state)
{
  (void)state;
  struct network net;
  struct later later;
  cenote_error error = CENOTE_ERROR_INIT;
  network_up(&net);
  net.pg.rig.cancel_ms = 500;
  later_start(&later, 20 * CEN_NS_PER_MS, silence_it, net.proxy);
  cenote_status status = execute(&net.pg, net.c, "SELECT pg_sleep(60)", 2000, &error);
  assert_true(status == CENOTE_CONNECTION_LOST || status == CENOTE_OUTCOME_UNKNOWN);
  later_join(&later);
  assert_true(pg_rig_session(&net.pg, net.c) & CENOTE_SESSION_BROKEN);
  network_down(&net);
}

static void a_reset_network_ends_the_statement(void **state)
{
  (void)state;
  struct network net;
  struct later later;
  cenote_error error = CENOTE_ERROR_INIT;
  network_up(&net);
  later_start(&later, 50 * CEN_NS_PER_MS, reset_it, net.proxy);
  cenote_status status = execute(&net.pg, net.c, "SELECT pg_sleep(60)", 20000, &error);
  assert_true(status == CENOTE_CONNECTION_LOST || status == CENOTE_OUTCOME_UNKNOWN);
  later_join(&later);
  network_down(&net);
}

static void a_slow_network_is_only_slow(void **state)
{
  (void)state;
  struct network net;
  network_up(&net);
  fault_proxy_delay(net.proxy, 30);
  for (int i = 0; i < 3; i++) {
    assert_int_equal(rig_integer(&net.pg.rig, net.c, "SELECT 4"), 4);
  }
  network_down(&net);
}

static void an_answer_cut_anywhere_is_never_half_a_result(void **state)
{
  (void)state;
  struct network net;
  network_up(&net);
  for (size_t cut = 1; cut < 900; cut += 61) {
    cenote_error error = CENOTE_ERROR_INIT;
    cenote_result *r;
    fault_proxy_cut_after(net.proxy, FAULT_TO_CLIENT, cut, cut % 2 == 0);
    cenote_status status =
        rig_execute(&net.pg.rig, net.c, "SELECT g, repeat('x', 20) FROM generate_series(1, 20) g",
                    NULL, 0, 20000, &r, &error);
    if (status == CENOTE_OK) {
      assert_int_equal(cenote_result_rows(r), 20);
      cenote_result_free(r);
    } else {
      assert_null(r);
      assert_true(status == CENOTE_CONNECTION_LOST || status == CENOTE_OUTCOME_UNKNOWN);
    }
    fault_proxy_heal(net.proxy);
    rig_disconnect(&net.pg.rig, net.c);
    net.c = rig_connect(&net.pg.rig, &error);
    assert_non_null(net.c);
  }
  network_down(&net);
}

static void a_login_cut_anywhere_is_a_connect_error(void **state)
{
  (void)state;
  struct network net;
  network_up(&net);
  for (size_t cut = 1; cut < 420; cut += 37) {
    cenote_error error = CENOTE_ERROR_INIT;
    fault_proxy_cut_after(net.proxy, FAULT_TO_CLIENT, cut, cut % 2 == 0);
    cenote_connection *c = rig_connect(&net.pg.rig, &error);
    if (c) {
      rig_disconnect(&net.pg.rig, c);
    } else {
      assert_int_equal(error.status, CENOTE_CONNECT);
    }
    fault_proxy_heal(net.proxy);
  }
  fault_proxy_refuse(net.proxy);
  cenote_error error = CENOTE_ERROR_INIT;
  assert_null(rig_connect(&net.pg.rig, &error));
  assert_int_equal(error.status, CENOTE_CONNECT);
  network_down(&net);
}

struct opening {
  cenote_connection *c;
  void (*stop)(void *context);
  _Atomic bool over;
};

/* A cancel may come before it has begun, and is for nothing then. */
static void stop_it_until_it_is_over(void *context)
{
  struct opening *opening = context;
  do {
    nap(30 * CEN_NS_PER_MS);
    opening->stop(opening->c);
  } while (!atomic_load(&opening->over));
}

static void connecting_can_be_cancelled_and_aborted(void **state)
{
  (void)state;
  for (int round = 0; round < 4; round++) {
    struct network net;
    struct later later;
    cenote_error error = CENOTE_ERROR_INIT;
    struct opening opening = {.stop = round % 2 ? abort_it : cancel_it};
    network_up(&net);
    fault_proxy_silence(net.proxy);
    assert_int_equal(net.pg.rig.driver->create(&net.pg.rig.params, &opening.c, &error), CENOTE_OK);
    later_start(&later, 0, stop_it_until_it_is_over, &opening);
    const cenote_status status = rig_kind(&net.pg.rig, opening.c, CENOTE_REQUEST_OPEN, &error);
    atomic_store(&opening.over, true);
    later_join(&later);
    assert_int_equal(status, CENOTE_CANCELLED);
    net.pg.rig.driver->destroy(opening.c);
    network_down(&net);
  }
}

/* -------------------------------------------------------------------------------- leaks */

static size_t descriptors(void)
{
  size_t count = 0;
  DIR *dir = opendir("/proc/self/fd");
  assert_non_null(dir);
  while (readdir(dir)) {
    count++;
  }
  closedir(dir);
  return count;
}

static size_t descriptors_before;

static void nothing_is_left_open(void **state)
{
  (void)state;
  cen_workers_stop();
  assert_int_equal(descriptors(), descriptors_before);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_cancel_ends_the_statement_and_not_the_session),
      cmocka_unit_test(a_cancel_between_statements_touches_nothing),
      cmocka_unit_test(late_cancel_never_hits_the_next_statement),
      cmocka_unit_test(an_abort_fails_the_statement_and_breaks_the_connection),
      cmocka_unit_test(a_terminated_backend_says_what_became_of_the_statement),
      cmocka_unit_test(a_killed_server_says_what_became_of_the_statement),
      cmocka_unit_test(a_session_that_died_at_rest_is_lost_before_anything_is_sent),
      cmocka_unit_test(a_stopped_server_costs_the_connection_and_no_more),
      cmocka_unit_test(a_silent_network_ends_at_the_deadline),
      cmocka_unit_test(a_reset_network_ends_the_statement),
      cmocka_unit_test(a_slow_network_is_only_slow),
      cmocka_unit_test(an_answer_cut_anywhere_is_never_half_a_result),
      cmocka_unit_test(a_login_cut_anywhere_is_a_connect_error),
      cmocka_unit_test(connecting_can_be_cancelled_and_aborted),
      cmocka_unit_test(nothing_is_left_open),
  };
  if (!pg_fixture_start(&server, NULL)) {
    return pg_fixture_skip(&server);
  }
  descriptors_before = descriptors();
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  cen_workers_stop();
  pg_fixture_stop(&server);
  return failed;
}
