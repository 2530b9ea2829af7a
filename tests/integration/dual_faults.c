/*
 * dual_faults.c - one manager, two ways to one PostgreSQL, and the network in front of HTTP fails:
 * connections are refused, reset, silent, slow, or end in the middle of an answer; in the clear and
 * over TLS. No row may be there twice, and none may be another caller's. SECONDS= for longer.
 */
#include "base/sanitized.h"
#include "base/text.h"
#include "integration/http_watch.h"
#include "net/clock.h"
#include "support/fault_proxy.h"
#include "support/pg_fixture.h"
#include "support/serve_fixture.h"
#include "support/test_cert.h"

#include <cenote/cenote.h>

#include <inttypes.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* Under the sanitizers the short run is enough: one stage has the long one. */
enum { SECONDS_USUAL = CEN_SANITIZED ? 5 : 15 };

static struct pg_fixture pg;
static struct serve_fixture gateway, secure; /* in the clear; over TLS */
static struct fault_proxy *proxy, *secure_proxy;
static char folder[] = "/tmp/cenote-dual.XXXXXX";
static char ca_file[64];

/* ---------------------------------------------------------------- the managers */

static cenote_manager *open_with(const char *endpoint, const char *ca, const char *patience_ms)
{
  const cenote_setting settings[] = {{"http_endpoint", endpoint},
                                     {"tls_ca_file", ca},
                                     {"max_connections", "4"},
                                     {"min_connections", "0"},
                                     {"retry_delay_ms", "20"},
                                     {"connect_timeout_ms", "2000"},
                                     {"statement_timeout_ms", patience_ms},
                                     {"breaker_failures", "3"},
                                     {"breaker_open_ms", "50"},
                                     {"breaker_open_max_ms", "50"},
                                     {"breaker_window_ms", "500"}};
  cenote_options options = {.size = sizeof options,
                            .settings = settings,
                            .settings_count = sizeof settings / sizeof settings[0]};
  cenote_manager *manager = NULL;
  cenote_error error = CENOTE_ERROR_INIT;
  if (cenote_open(pg_fixture_get(&pg, "POSTGRES_TCP_URL"), &options, &manager, &error)) {
    fail_msg("%s", error.message);
  }
  return manager;
}

static cenote_manager *open_behind(bool tls, const char *patience_ms)
{
  char endpoint[64];
  (void)snprintf(endpoint, sizeof endpoint, "http%s://127.0.0.1:%d/sql", tls ? "s" : "",
                 fault_proxy_port(tls ? secure_proxy : proxy));
  return open_with(endpoint, tls ? ca_file : "", patience_ms);
}

/* On a connection of its own: what HTTP does is not asked of HTTP. */
static int64_t count_rows(cenote_manager *manager, const char *sql)
{
  cenote_query_options options = CENOTE_QUERY_OPTIONS_INIT;
  options.hint = CENOTE_HINT_POOL;
  return number_with(manager, sql, &options);
}

/* HTTP serves again, and has a connection. */
static void heal(cenote_manager *manager, struct fault_proxy *where)
{
  const int64_t end = cen_deadline_ns(cen_now_ns(), 30000);
  fault_proxy_heal(where);
  for (uint64_t served = look(manager).http.statements; look(manager).http.statements == served;) {
    must(manager, "select 1");
    assert_true(cen_now_ns() < end);
    nap_ms(5);
  }
}

/* ---------------------------------------------------------------- sent, and no answer */

enum fault { RESET_AT_ONCE, RESET_MID_BODY, TRUNCATED, SILENT, FAULTS };

/* The request gets through; its answer does not. */
static void strike(struct fault_proxy *where, enum fault fault)
{
  switch (fault) {
  case RESET_AT_ONCE:
    fault_proxy_cut_after(where, FAULT_TO_CLIENT, 1, true);
    break;
  case RESET_MID_BODY:
    fault_proxy_cut_after(where, FAULT_TO_CLIENT, 150, true);
    break;
  case TRUNCATED:
    fault_proxy_cut_after(where, FAULT_TO_CLIENT, 150, false);
    break;
  default:
    break;
  }
}

/* Runs it while the fault strikes. */
static cenote_status run_under(cenote_manager *manager, struct fault_proxy *where, enum fault fault,
                               const char *sql, cenote_result **result, cenote_error *error)
{
  cenote_query_options options = CENOTE_QUERY_OPTIONS_INIT;
  options.timeout_ms = 20000;
  strike(where, fault);
  return cenote_query(manager, sql, NULL, 0, &options, result, error);
}

struct answered {
  _Atomic int calls;
  cenote_status status;
  char message[256];
};

static void tell(void *context, cenote_status status, cenote_result *result,
                 const cenote_error *error)
{
  struct answered *told = context;
  told->status = status;
  (void)snprintf(told->message, sizeof told->message, "%.255s",
                 error != NULL ? error->message : "");
  cenote_result_free(result);
  atomic_fetch_add(&told->calls, 1);
}

static bool becomes(cenote_manager *manager, const char *sql, int64_t wanted)
{
  const int64_t end = cen_deadline_ns(cen_now_ns(), 30000);
  while (count_rows(manager, sql) != wanted) {
    if (cen_now_ns() > end) {
      return false;
    }
    nap_ms(10);
  }
  return true;
}

/* The network falls silent while the statement waits on the server, at a gate that we hold shut. */
static void run_silent(cenote_manager *manager, struct fault_proxy *where, const char *sql,
                       struct answered *told)
{
  cenote_query_options options = CENOTE_QUERY_OPTIONS_INIT;
  cenote_lease keeper;
  options.timeout_ms = 2000;
  assert_int_equal(cenote_acquire(manager, "keeper", 20000, &keeper, NULL), CENOTE_OK);
  assert_int_equal(cenote_execute(keeper, "select pg_advisory_lock(77)", NULL, 0, NULL, NULL),
                   CENOTE_OK);
  assert_int_equal(cenote_query_async(manager, sql, NULL, 0, &options, tell, told, NULL, NULL),
                   CENOTE_OK);
  assert_true(becomes(
      manager, "select count(*) from pg_locks where locktype = 'advisory' and not granted", 1));
  fault_proxy_silence(where);
  assert_int_equal(cenote_execute(keeper, "select pg_advisory_unlock(77)", NULL, 0, NULL, NULL),
                   CENOTE_OK);
  assert_int_equal(cenote_release(keeper), CENOTE_OK);
  const int64_t end = cen_deadline_ns(cen_now_ns(), 30000);
  while (atomic_load(&told->calls) == 0) {
    assert_true(cen_now_ns() < end);
    nap_ms(10);
  }
}

static void a_write_whose_answer_is_lost_is_unknown_and_there_once(void **state)
{
  (void)state;
  for (int tls = 0; tls < 2; tls++) {
    struct fault_proxy *where = tls ? secure_proxy : proxy;
    cenote_manager *manager = open_behind(tls, "20000");
    must(manager, "truncate lost");
    for (enum fault fault = RESET_AT_ONCE; fault < FAULTS; fault++) {
      char sql[128];
      cenote_error error = CENOTE_ERROR_INIT;
      struct answered told = {.status = CENOTE_INTERNAL};
      (void)snprintf(sql, sizeof sql,
                     "insert into lost select %d, repeat('x', 2000) from gate returning *",
                     (int)fault);
      heal(manager, where);
      if (fault == SILENT) {
        run_silent(manager, where, sql, &told);
      } else {
        told.status = run_under(manager, where, fault, sql, NULL, &error);
      }
      if (told.status != CENOTE_OUTCOME_UNKNOWN) {
        fail_msg("fault %d: %s: %s%s", (int)fault, cenote_status_name(told.status), error.message,
                 told.message);
      }
      fault_proxy_heal(where);
    }
    assert_true(becomes(manager, "select count(*) from pg_locks where locktype = 'advisory'", 0));
    assert_int_equal(count_rows(manager, "select count(*) from lost"), FAULTS);
    assert_int_equal(count_rows(manager, "select count(distinct id) from lost"), FAULTS);
    cenote_close(manager);
  }
}

static void a_read_whose_answer_is_lost_goes_on_over_the_pool(void **state)
{
  (void)state;
  for (int tls = 0; tls < 2; tls++) {
    struct fault_proxy *where = tls ? secure_proxy : proxy;
    cenote_manager *manager = open_behind(tls, "20000");
    for (enum fault fault = RESET_AT_ONCE; fault < SILENT; fault++) {
      cenote_error error = CENOTE_ERROR_INIT;
      cenote_result *result = NULL;
      heal(manager, where);
      const uint64_t before = look(manager).http_fallbacks;
      fault_proxy_refuse(where); /* so that the driver's own second try meets nobody */
      const cenote_status status =
          run_under(manager, where, fault, "select 7, repeat('x', 2000)", &result, &error);
      if (status != CENOTE_OK) {
        fail_msg("fault %d: %s: %s", (int)fault, cenote_status_name(status), error.message);
      }
      assert_int_equal(cenote_result_integer(result, 0, 0), 7);
      cenote_result_free(result);
      assert_int_equal(look(manager).http_fallbacks, before + 1);
    }
    cenote_close(manager);
    fault_proxy_heal(where);
  }
}

/* The text says that it reads; a view of ours writes. */
static void a_write_that_hides_in_a_read_is_there_once(void **state)
{
  (void)state;
  cenote_manager *manager = open_behind(false, "20000");
  for (enum fault fault = RESET_AT_ONCE; fault < SILENT; fault++) {
    cenote_error error = CENOTE_ERROR_INIT;
    char sql[64];
    heal(manager, proxy);
    must(manager, "truncate lost");
    fault_proxy_refuse(proxy);
    (void)snprintf(sql, sizeof sql, "select *, %d from hidden", (int)fault); /* it is remembered */
    assert_int_equal(run_under(manager, proxy, fault, sql, NULL, &error), CENOTE_CONNECTION_LOST);
    assert_int_equal(error.status, CENOTE_CONNECTION_LOST);
    assert_non_null(strstr(error.message, "may have been executed"));
    assert_int_equal(count_rows(manager, "select count(*) from lost"), 1);
  }
  cenote_close(manager);
  fault_proxy_heal(proxy);
}

static void a_slow_network_costs_time_and_nothing_else(void **state)
{
  (void)state;
  cenote_manager *manager = open_behind(true, "20000");
  heal(manager, secure_proxy);
  const cenote_statistics before = look(manager);
  fault_proxy_delay(secure_proxy, 100);
  must(manager, "insert into lost values (99, 'slow')");
  assert_int_equal(count_rows(manager, "select count(*) from lost where id = 99"), 1);
  assert_int_equal(look(manager).http.statements, before.http.statements + 1);
  assert_int_equal(look(manager).http.errors, before.http.errors);
  cenote_close(manager);
  fault_proxy_heal(secure_proxy);
}

/* ---------------------------------------------------------------- TLS */

static void what_is_wrong_with_a_certificate_is_said_and_the_pool_serves(void **state)
{
  char endpoint[64], *json = NULL;
  (void)state;
  (void)snprintf(endpoint, sizeof endpoint, "https://127.0.0.1:%d/sql", secure.port);
  cenote_manager *manager = open_with(endpoint, "", "20000"); /* nobody told it of our authority */
  must(manager, "select 1");
  assert_true(look(manager).http_fallbacks > 0);
  assert_int_equal(look(manager).http.statements, 0);
  assert_int_equal(cenote_health_json(manager, true, &json, NULL), CENOTE_OK);
  assert_non_null(strstr(json, "\"neon\":{\"healthy\":false,\"error\":\""));
  assert_non_null(strstr(json, "\"pgPool\":{\"healthy\":true,\"error\":null}"));
  assert_non_null(strstr(json, "signed")); /* nobody we trust has … it */
  assert_null(strstr(json, pg_fixture_get(&pg, "POSTGRES_PASSWORD")));
  cenote_string_free(json);
  cenote_close(manager);
}

/* ---------------------------------------------------------------- tagged rows */

struct writer {
  cenote_manager *manager;
  int number;
  _Atomic bool *stop;
  int64_t fine, lost, unknown, other;
  char said[256]; /* of the first that is none of these */
};

enum { WRITERS = 24, EACH = 1000000 };

static void judge_write(struct writer *writer, int64_t id, cenote_status status,
                        const cenote_result *result, const cenote_error *error)
{
  const bool own = status != CENOTE_OK || cenote_result_integer(result, 0, 0) == id;
  writer->fine += status == CENOTE_OK && own;
  writer->unknown += status == CENOTE_OUTCOME_UNKNOWN;
  /* not executed, and it said so */
  const bool not_run = status == CENOTE_STATEMENT_TIMEOUT || status == CENOTE_TIMEOUT ||
                       status == CENOTE_CONNECTION_LOST || status == CENOTE_CONNECT;
  writer->lost += not_run;
  if (!own || (status != CENOTE_OK && status != CENOTE_OUTCOME_UNKNOWN && !not_run)) {
    writer->other++;
    if (writer->said[0] == '\0') {
      (void)snprintf(writer->said, sizeof writer->said, "%s: %.200s", cenote_status_name(status),
                     error->message);
    }
  }
}

static void *write_on(void *context)
{
  struct writer *writer = context;
  for (int64_t i = 0; !atomic_load(writer->stop); i++) {
    cenote_error error = CENOTE_ERROR_INIT;
    const cenote_value id = cenote_integer(writer->number * (int64_t)EACH + i);
    cenote_result *result = NULL;
    const cenote_status status =
        cenote_query(writer->manager, "insert into tagged values (?) returning id", &id, 1, NULL,
                     &result, &error);
    judge_write(writer, id.as.integer, status, result, &error);
    cenote_result_free(result);
    result = NULL;
    if (cenote_query(writer->manager, "select id from tagged where id = ?", &id, 1, NULL, &result,
                     &error) == CENOTE_OK) {
      writer->other += cenote_result_rows(result) > 1 ||
                       (cenote_result_rows(result) == 1 &&
                        cenote_result_integer(result, 0, 0) != id.as.integer) ||
                       (status == CENOTE_OK && cenote_result_rows(result) != 1);
    }
    cenote_result_free(result);
  }
  return NULL;
}

static void disturb(struct fault_proxy *where, unsigned round)
{
  switch (round % 8) {
  case 0:
    fault_proxy_reset(where);
    break;
  case 1:
    fault_proxy_cut_after(where, FAULT_TO_CLIENT, 700, true); /* mid-body */
    break;
  case 2:
    fault_proxy_cut_after(where, FAULT_TO_CLIENT, 900, false); /* truncated */
    break;
  case 3:
    fault_proxy_cut_after(where, FAULT_TO_SERVER, 300, false);
    break;
  case 4:
    fault_proxy_delay(where, 30);
    break;
  case 5:
    fault_proxy_silence(where);
    nap_ms(150);
    break;
  case 6:
    fault_proxy_refuse(where);
    fault_proxy_reset(where); /* all need a new one, and get none */
    nap_ms(100);
    break;
  default:
    fault_proxy_heal(where);
    nap_ms(150);
    break;
  }
  nap_ms(40);
}

static void crowd_under_faults(bool tls, int milliseconds)
{
  static struct writer writers[WRITERS];
  struct fault_proxy *where = tls ? secure_proxy : proxy;
  pthread_t threads[WRITERS];
  _Atomic bool stop = false;
  fault_proxy_heal(where);
  cenote_manager *manager = open_behind(tls, "500");
  cenote_manager *watcher = open_with("", "", "20000"); /* nothing of its own runs out of time */
  must(watcher, "truncate tagged");
  for (int i = 0; i < WRITERS; i++) {
    writers[i] = (struct writer){.manager = manager, .number = i, .stop = &stop};
    assert_int_equal(pthread_create(&threads[i], NULL, write_on, &writers[i]), 0);
  }
  const int64_t end = cen_deadline_ns(cen_now_ns(), milliseconds);
  for (unsigned round = 0; cen_now_ns() < end; round++) {
    disturb(where, round);
  }
  fault_proxy_heal(where);
  atomic_store(&stop, true);
  struct writer all = {0};
  for (int i = 0; i < WRITERS; i++) {
    pthread_join(threads[i], NULL);
    all.fine += writers[i].fine;
    all.lost += writers[i].lost;
    all.unknown += writers[i].unknown;
    all.other += writers[i].other;
    if (writers[i].other > 0) {
      print_message("# writer %d: %s\n", i, writers[i].said);
    }
  }
  const cenote_statistics now = look(manager);
  print_message("# %s: %" PRId64 " written, %" PRId64 " unknown, %" PRId64 " not; %" PRIu64
                " over HTTP, %" PRIu64 " went to the pool\n",
                tls ? "TLS" : "plain", all.fine, all.unknown, all.lost, now.http.statements,
                now.http_fallbacks);
  assert_int_equal(all.other, 0);
  assert_true(all.fine > 0 && now.http.statements > 0 && now.http_fallbacks > 0);
  nap_ms(600); /* longer than a statement may take: what nobody waits for has ended */
  assert_int_equal(
      count_rows(watcher,
                 "select count(*) from (select id from tagged group by id having count(*) > 1) d"),
      0);
  const int64_t rows = count_rows(watcher, "select count(*) from tagged");
  if (rows < all.fine || rows > all.fine + all.unknown) {
    fail_msg("%" PRId64 " rows", rows);
  }
  cenote_close(watcher);
  cenote_close(manager);
}

static void under_faults_no_write_runs_twice_and_every_row_is_its_callers(void **state)
{
  int64_t seconds = SECONDS_USUAL;
  (void)state;
  (void)cen_text_to_int(getenv("SECONDS"), &seconds);
  crowd_under_faults(false, (int)(seconds * 500));
  crowd_under_faults(true, (int)(seconds * 500));
}

/* ---------------------------------------------------------------- what stands around them */

static bool secure_start(void)
{
  struct test_cert cert;
  char cert_file[64], key_file[64];
  if (mkdtemp(folder) == NULL || !test_cert_make(&cert, TEST_CERT_GOOD)) {
    return false;
  }
  (void)snprintf(ca_file, sizeof ca_file, "%s/ca.pem", folder);
  (void)snprintf(cert_file, sizeof cert_file, "%s/cert.pem", folder);
  (void)snprintf(key_file, sizeof key_file, "%s/key.pem", folder);
  const bool written = test_cert_write(cert.authority, ca_file) &&
                       test_cert_write(cert.own, cert_file) &&
                       test_cert_write_key(cert.key, key_file);
  test_cert_free(&cert);
  const char *const args[] = {"--url",      pg_fixture_get(&pg, "POSTGRES_TCP_URL"),
                              "--tls-cert", cert_file,
                              "--tls-key",  key_file,
                              NULL};
  const bool up = written && serve_fixture_start(&secure, args);
  (void)unlink(cert_file);
  (void)unlink(key_file);
  secure_proxy = up ? fault_proxy_start("127.0.0.1", secure.port) : NULL;
  return secure_proxy != NULL;
}

static int start_all(void **state)
{
  (void)state;
  if (!serve_fixture_start_at(&gateway, pg_fixture_get(&pg, "POSTGRES_TCP_URL"), 0) ||
      !secure_start()) {
    return -1;
  }
  proxy = fault_proxy_start("127.0.0.1", gateway.port);
  if (proxy == NULL) {
    return -1;
  }
  cenote_manager *manager = open_with("", "", "20000");
  must(manager, "create table lost (id int, filler text)");
  must(manager, "create table tagged (id bigint)"); /* no key: a second row would be seen */
  must(manager, "create function lose() returns text language sql volatile as "
                "$$insert into lost values (0, 'hidden') returning repeat('x', 2000)$$");
  must(manager, "create view hidden as select lose() as said");
  must(manager, "create view gate as select pg_advisory_xact_lock_shared(77)::text as open");
  cenote_close(manager);
  return 0;
}

static int stop_all(void **state)
{
  (void)state;
  fault_proxy_stop(proxy);
  fault_proxy_stop(secure_proxy);
  const bool ended = serve_fixture_stop(&gateway);
  const bool ended_too = serve_fixture_stop(&secure);
  (void)unlink(ca_file);
  (void)rmdir(folder);
  return ended && ended_too ? 0 : -1;
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_write_whose_answer_is_lost_is_unknown_and_there_once),
      cmocka_unit_test(a_read_whose_answer_is_lost_goes_on_over_the_pool),
      cmocka_unit_test(a_write_that_hides_in_a_read_is_there_once),
      cmocka_unit_test(a_slow_network_costs_time_and_nothing_else),
      cmocka_unit_test(what_is_wrong_with_a_certificate_is_said_and_the_pool_serves),
      cmocka_unit_test(under_faults_no_write_runs_twice_and_every_row_is_its_callers),
  };
  if (!pg_fixture_start(&pg, NULL)) {
    return pg_fixture_skip(&pg);
  }
  const int failed = cmocka_run_group_tests(tests, start_all, stop_all);
  pg_fixture_stop(&pg);
  return failed;
}
