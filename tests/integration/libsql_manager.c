/* A manager on a libsql URL: streams that rest for too long, transactions by all their doors, and a
 * gateway that goes away and comes back. */
#include "driver/scratch.h"
#include "fault/pool_rig.h"
#include "support/fault_proxy.h"
#include "support/http_script.h"
#include "support/serve_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct serve_fixture serve;

static cenote_status run(cenote_lease lease, const char *sql, cenote_error *error)
{
  cenote_result *result = NULL;
  const cenote_status status = cenote_execute(lease, sql, NULL, 0, &result, error);
  cenote_result_free(result);
  return status;
}

static void outside_a_transaction_a_lease_may_rest_for_long(void **state)
{
  static struct rig rig;
  cenote_error error = CENOTE_ERROR_INIT;
  (void)state;
  rig_open(&rig, serve.url, NULL);
  const cenote_lease lease = rig_acquire(rig.manager, "rests");
  rig_must_run(lease, "CREATE TABLE IF NOT EXISTS t (a)");
  rig_nap_ms(1500);
  rig_must_run(lease, "INSERT INTO t VALUES (1)");
  rig_must_run(lease, "BEGIN");
  rig_must_run(lease, "INSERT INTO t VALUES (2)");
  rig_nap_ms(2500);
  assert_int_equal(run(lease, "INSERT INTO t VALUES (3)", &error), CENOTE_CONNECTION_LOST);
  assert_string_equal(cenote_error_field(&error, 'X'), "STREAM_EXPIRED");
  rig_release(lease);
  const cenote_lease again = rig_acquire(rig.manager, "looks");
  cenote_result *result = NULL;
  assert_int_equal(cenote_execute(again, "SELECT count(*) FROM t", NULL, 0, &result, &error),
                   CENOTE_OK);
  assert_int_equal(cenote_result_integer(result, 0, 0), 1);
  cenote_result_free(result);
  rig_release(again);
  rig_close(&rig);
}

static void batches_are_all_or_nothing_in_each_mode(void **state)
{
  static struct rig rig;
  static const cenote_batch_mode modes[] = {CENOTE_BATCH_DEFERRED, CENOTE_BATCH_WRITE,
                                            CENOTE_BATCH_READ};
  (void)state;
  rig_open(&rig, serve.url, NULL);
  const cenote_lease lease = rig_acquire(rig.manager, "batch");
  rig_must_run(lease, "CREATE TABLE IF NOT EXISTS u (a integer PRIMARY KEY)");
  rig_must_run(lease, "DELETE FROM u");
  for (size_t i = 0; i < 3; i++) {
    const cenote_value one = cenote_integer((int64_t)i + 10);
    const cenote_statement fine[] = {{"INSERT INTO u VALUES (?)", &one, 1},
                                     {"SELECT max(a) FROM u", NULL, 0}};
    const cenote_statement wrong[] = {{"INSERT INTO u VALUES (99)", NULL, 0},
                                      {"INSERT INTO u VALUES (?)", &one, 1},
                                      {"INSERT INTO u VALUES (?)", &one, 1}};
    cenote_result **results = NULL;
    cenote_error error = CENOTE_ERROR_INIT;
    const cenote_status status = cenote_batch(lease, fine, 2, modes[i], &results, &error);
    assert_int_equal(status, modes[i] == CENOTE_BATCH_READ ? CENOTE_DATABASE : CENOTE_OK);
    if (status == CENOTE_OK) {
      assert_int_equal(cenote_result_integer(results[1], 0, 0), (int64_t)i + 10);
    } else {
      assert_string_equal(error.sqlstate, "25006");
    }
    cenote_results_free(results, status == CENOTE_OK ? 2 : 0);
    assert_int_not_equal(cenote_batch(lease, wrong, 3, modes[i], &results, &error), CENOTE_OK);
  }
  cenote_result *result = NULL;
  assert_int_equal(cenote_execute(lease, "SELECT count(*) FROM u", NULL, 0, &result, NULL),
                   CENOTE_OK);
  assert_int_equal(cenote_result_integer(result, 0, 0), 2);
  cenote_result_free(result);
  rig_release(lease);
  rig_close(&rig);
}

/* Inside a transaction a batch is a savepoint of it, and each statement is looked at by itself. */
static void a_read_batch_refuses_to_write_inside_a_transaction_too(void **state)
{
  static struct rig rig;
  static const struct {
    const char *sql;
    cenote_status status;
  } cases[] = {{"INSERT INTO v VALUES (2)", CENOTE_DATABASE},
               {"DROP TABLE v", CENOTE_DATABASE},
               {"PRAGMA cache_size = 7", CENOTE_UNSUPPORTED}};
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_transaction *tx;
  cenote_result **results;
  (void)state;
  rig_open(&rig, serve.url, NULL);
  const cenote_lease lease = rig_acquire(rig.manager, "batch");
  rig_must_run(lease, "CREATE TABLE IF NOT EXISTS v (a)");
  assert_int_equal(cenote_begin(lease, 0, &tx, &error), CENOTE_OK);
  rig_must_run(lease, "INSERT INTO v VALUES (1)");
  for (size_t i = 0; i < 3; i++) {
    const cenote_statement statements[] = {{"SELECT 1", NULL, 0}, {cases[i].sql, NULL, 0}};
    assert_int_equal(cenote_batch(lease, statements, 2, CENOTE_BATCH_READ, &results, &error),
                     cases[i].status);
    assert_int_equal(error.statement, 1);
    assert_true(cases[i].status != CENOTE_DATABASE || strcmp(error.sqlstate, "25006") == 0);
  }
  const cenote_statement reads[] = {{"SELECT 1", NULL, 0}, {"SELECT count(*) FROM v", NULL, 0}};
  assert_int_equal(cenote_batch(lease, reads, 2, CENOTE_BATCH_READ, &results, &error), CENOTE_OK);
  assert_int_equal(cenote_result_integer(results[1], 0, 0), 1);
  cenote_results_free(results, 2);
  rig_must_run(lease, "INSERT INTO v VALUES (3)");
  assert_int_equal(cenote_rollback(tx, &error), CENOTE_OK);
  rig_release(lease);
  rig_close(&rig);
}

/* Holders who rest for too long say nothing about the server. */
static void streams_that_expire_open_no_breaker(void **state)
{
  static struct rig rig;
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_lease leases[3];
  (void)state;
  setenv("CENOTE_BREAKER_FAILURES", "1", 1);
  rig_open(&rig, serve.url, NULL);
  unsetenv("CENOTE_BREAKER_FAILURES");
  for (size_t i = 0; i < 3; i++) {
    leases[i] = rig_acquire(rig.manager, "rests");
    rig_must_run(leases[i], "BEGIN");
  }
  rig_nap_ms(2500);
  for (size_t i = 0; i < 3; i++) {
    assert_int_equal(run(leases[i], "SELECT 1", &error), CENOTE_CONNECTION_LOST);
    assert_string_equal(cenote_error_field(&error, 'X'), "STREAM_EXPIRED");
    rig_release(leases[i]);
  }
  cenote_statistics statistics = CENOTE_STATISTICS_INIT;
  assert_int_equal(cenote_pool_statistics(rig.manager, &statistics), CENOTE_OK);
  assert_int_equal(statistics.breaker, CENOTE_BREAKER_CLOSED);
  const cenote_lease again = rig_acquire(rig.manager, "goes on");
  rig_must_run(again, "SELECT 1");
  rig_release(again);
  rig_close(&rig);
}

/* To writes it says nothing, and so does a database that is well while somebody holds its lock. */
static void answer_no_write(void *context, const struct script_request *request,
                            struct script_answer *answer)
{
  _Atomic int *asked = context;
  if (strstr(request->body, "INSERT") == NULL) {
    script_say(answer, 200, "application/json",
               "{\"baton\":null,\"results\":[{\"type\":\"ok\",\"response\":{\"type\":"
               "\"close\"}}]}");
    return;
  }
  answer->then = SCRIPT_HANG;
  atomic_fetch_add(asked, 1);
}

struct heard {
  _Atomic bool over;
  cenote_status status;
};

static void on_write(void *context, cenote_status status, cenote_result *result,
                     const cenote_error *error)
{
  struct heard *heard = context;
  (void)error;
  cenote_result_free(result);
  heard->status = status;
  atomic_store(&heard->over, true);
}

/* Until its time is over. If it was over before it could be sent: once more, with more time. */
static void write_and_wait(cenote_manager *manager)
{
  cenote_query_options options = CENOTE_QUERY_OPTIONS_INIT;
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_status status = CENOTE_TIMEOUT;
  for (options.timeout_ms = 300; status == CENOTE_TIMEOUT && options.timeout_ms <= 30000;
       options.timeout_ms *= 10) {
    status = cenote_query(manager, "INSERT INTO t VALUES (1)", NULL, 0, &options, NULL, &error);
  }
  assert_int_equal(status, CENOTE_OUTCOME_UNKNOWN);
}

static void write_and_cancel(cenote_manager *manager, _Atomic int *asked)
{
  struct heard heard = {.over = false};
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_ticket ticket;
  const int before = atomic_load(asked);
  assert_int_equal(cenote_query_async(manager, "INSERT INTO t VALUES (1)", NULL, 0, NULL, on_write,
                                      &heard, &ticket, &error),
                   CENOTE_OK);
  for (int i = 0; i < 2000 && atomic_load(asked) == before; i++) {
    rig_nap_ms(10);
  }
  (void)!cenote_cancel_query(ticket);
  for (int i = 0; i < 2000 && !atomic_load(&heard.over); i++) {
    rig_nap_ms(10);
  }
  assert_true(atomic_load(&heard.over));
  assert_int_equal(heard.status, CENOTE_OUTCOME_UNKNOWN);
}

/* A write that its caller gives up is of unknown outcome; that says nothing about the server. */
static void writes_that_are_given_up_open_no_breaker(void **state)
{
  static struct rig rig;
  _Atomic int asked = 0;
  cenote_statistics statistics = CENOTE_STATISTICS_INIT;
  char endpoint[128];
  (void)state;
  struct http_script *script = http_script_start(answer_no_write, &asked, SCRIPT_PLAIN);
  assert_non_null(script);
  snprintf(endpoint, sizeof endpoint, "%s/sql", http_script_url(script));
  setenv("CENOTE_BREAKER_FAILURES", "1", 1);
  rig_open(&rig, http_script_url(script), NULL);
  write_and_wait(rig.manager);
  write_and_cancel(rig.manager, &asked);
  assert_int_equal(cenote_pool_statistics(rig.manager, &statistics), CENOTE_OK);
  assert_int_equal(statistics.breaker, CENOTE_BREAKER_CLOSED);
  rig_close(&rig);
  /* beside a pool, which it does not need */
  rig_open(&rig, "postgres://user:secret@127.0.0.1:1/db", "http_endpoint", endpoint, NULL);
  unsetenv("CENOTE_BREAKER_FAILURES");
  write_and_wait(rig.manager);
  write_and_cancel(rig.manager, &asked);
  assert_int_equal(cenote_pool_statistics(rig.manager, &statistics), CENOTE_OK);
  assert_int_equal(statistics.http_breaker, CENOTE_BREAKER_CLOSED);
  rig_close(&rig);
  assert_int_equal(atomic_load(&asked), 4);
  http_script_stop(script);
}

static void an_endpoint_that_comes_back_is_used_again(void **state)
{
  static struct rig rig;
  char url[64];
  struct fault_proxy *proxy =
      fault_proxy_start("127.0.0.1", (int)strtol(strrchr(serve.url, ':') + 1, NULL, 10));
  cenote_result *result = NULL;
  cenote_error error = CENOTE_ERROR_INIT;
  (void)state;
  assert_non_null(proxy);
  snprintf(url, sizeof url, "http://127.0.0.1:%d", fault_proxy_port(proxy));
  /* else it is the usual pauses between tries and probes, seconds of them, that are waited for */
  rig_open(&rig, url, "retry_delay_ms", "20", "breaker_open_ms", "50", "connect_backoff_ms", "5",
           NULL);
  assert_int_equal(cenote_query(rig.manager, "SELECT 1", NULL, 0, NULL, &result, &error),
                   CENOTE_OK);
  cenote_result_free(result);
  fault_proxy_refuse(proxy);
  fault_proxy_reset(proxy);
  assert_int_not_equal(cenote_query(rig.manager, "SELECT 2", NULL, 0, NULL, &result, &error),
                       CENOTE_OK);
  fault_proxy_heal(proxy);
  cenote_status status = CENOTE_IO;
  for (int i = 0; i < 600 && status != CENOTE_OK; i++) {
    status = cenote_query(rig.manager, "SELECT 3", NULL, 0, NULL, &result, &error);
    rig_nap_ms(status == CENOTE_OK ? 0 : 50);
  }
  assert_int_equal(status, CENOTE_OK);
  assert_int_equal(cenote_result_integer(result, 0, 0), 3);
  cenote_result_free(result);
  rig_close(&rig);
  fault_proxy_stop(proxy);
}

static void a_flush_leaves_no_socket_in_use(void **state)
{
  static struct rig rig;
  char url[64];
  struct fault_proxy *proxy =
      fault_proxy_start("127.0.0.1", (int)strtol(strrchr(serve.url, ':') + 1, NULL, 10));
  cenote_error error = CENOTE_ERROR_INIT;
  (void)state;
  assert_non_null(proxy);
  snprintf(url, sizeof url, "http://127.0.0.1:%d", fault_proxy_port(proxy));
  rig_open(&rig, url, NULL);
  const cenote_lease lease = rig_acquire(rig.manager, "flush");
  rig_must_run(lease, "BEGIN");
  const unsigned before = fault_proxy_accepted(proxy);
  rig_must_run(lease, "SELECT 1");
  assert_int_equal(fault_proxy_accepted(proxy), before);
  assert_int_equal(cenote_flush(rig.manager, &error), CENOTE_OK);
  rig_must_run(lease, "SELECT 2"); /* its stream lives on, over another socket */
  assert_int_equal(fault_proxy_accepted(proxy), before + 1);
  rig_must_run(lease, "COMMIT");
  rig_release(lease);
  rig_close(&rig);
  fault_proxy_stop(proxy);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(outside_a_transaction_a_lease_may_rest_for_long),
      cmocka_unit_test(batches_are_all_or_nothing_in_each_mode),
      cmocka_unit_test(a_read_batch_refuses_to_write_inside_a_transaction_too),
      cmocka_unit_test(streams_that_expire_open_no_breaker),
      cmocka_unit_test(writes_that_are_given_up_open_no_breaker),
      cmocka_unit_test(an_endpoint_that_comes_back_is_used_again),
      cmocka_unit_test(a_flush_leaves_no_socket_in_use),
  };
  int failed = 1;
  if (!scratch_open()) {
    return 1;
  }
  const char *const args[] = {"--url", scratch_url(), NULL};
  setenv("CENOTE_STREAM_TIMEOUT_MS", "1000", 1);
  if (serve_fixture_start(&serve, args)) {
    failed = cmocka_run_group_tests_name("libsql_manager", tests, NULL, NULL);
    failed = serve_fixture_stop(&serve) ? failed : 1;
  }
  scratch_close();
  return failed;
}
