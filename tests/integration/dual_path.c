/* One manager, two ways to one PostgreSQL: simple statements over HTTP (our own gateway), the rest
 * over the pool; either may fail. */
#include "base/error.h"
#include "integration/http_watch.h"
#include "manager/http_path.h"
#include "manager/manager.h"
#include "net/clock.h"
#include "support/fault_proxy.h"
#include "support/serve_fixture.h"
#include "support/pg_fixture.h"

#include <cenote/cenote.h>
#include <cenote/loop.h>
#include <cenote/observe.h>

#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct pg_fixture pg;
static struct serve_fixture gateway;

struct logged {
  _Atomic int away, back;
};

static void take_line(void *context, cenote_log_level level, const char *line)
{
  struct logged *logged = context;
  (void)level;
  assert_null(strstr(line, pg_fixture_get(&pg, "POSTGRES_PASSWORD")));
  atomic_fetch_add(&logged->away, strstr(line, "SQL over HTTP does not work") != NULL);
  atomic_fetch_add(&logged->back, strstr(line, "SQL over HTTP works again") != NULL);
}

static cenote_manager *open_at(const char *url, const char *endpoint, bool external,
                               struct logged *logged)
{
  const cenote_setting settings[] = {{"http_endpoint", endpoint},   {"max_connections", "4"},
                                     {"min_connections", "0"},      {"retry_delay_ms", "20"},
                                     {"breaker_failures", "2"},     {"breaker_open_ms", "50"},
                                     {"breaker_open_max_ms", "50"}, {"breaker_window_ms", "1000"}};
  cenote_options options = {.size = sizeof options,
                            .settings = settings,
                            .settings_count = sizeof settings / sizeof settings[0],
                            .external_loop = external,
                            .log = logged ? take_line : NULL,
                            .log_context = logged};
  cenote_manager *manager = NULL;
  cenote_error error = CENOTE_ERROR_INIT;
  if (cenote_open(url, &options, &manager, &error)) {
    fail_msg("%s", error.message);
  }
  return manager;
}

static cenote_manager *open_both(struct logged *logged)
{
  char endpoint[128];
  (void)snprintf(endpoint, sizeof endpoint, "%s/sql", gateway.url);
  return open_at(pg_fixture_get(&pg, "POSTGRES_TCP_URL"), endpoint, false, logged);
}

static bool soon(int64_t *until_ns)
{
  if (*until_ns == 0) {
    *until_ns = cen_deadline_ns(cen_now_ns(), 30000);
  }
  nap_ms(5);
  return cen_now_ns() < *until_ns;
}

static void *short_sleeper(void *context)
{
  const cenote_status status =
      cenote_query(context, "select pg_sleep(0.5)", NULL, 0, NULL, NULL, NULL);
  return (void *)(intptr_t)status;
}

/* ---------------------------------------------------------------- both are well */

static void simple_statements_go_over_http_and_the_rest_over_the_pool(void **state)
{
  cenote_manager *manager = open_both(NULL);
  cenote_transaction *transaction;
  cenote_lease lease;
  (void)state;
  must(manager, "drop table if exists dual");
  must(manager, "create table dual (id bigint primary key, n int)");
  cenote_statistics before = look(manager);
  assert_int_equal(before.http.statements, 0);
  must(manager, "insert into dual values (1, 1)");
  assert_int_equal(number(manager, "select n from dual where id = 1"), 1);
  const cenote_value args[] = {cenote_integer(7)};
  cenote_result *result;
  assert_int_equal(cenote_query(manager, "select ?::bigint + 1", args, 1, NULL, &result, NULL),
                   CENOTE_OK);
  assert_int_equal(cenote_result_integer(result, 0, 0), 8);
  cenote_result_free(result);
  cenote_error error = CENOTE_ERROR_INIT;
  assert_int_equal(
      cenote_query(manager, "insert into dual values (1, 1)", NULL, 0, NULL, NULL, &error),
      CENOTE_DATABASE);
  assert_string_equal(error.sqlstate, "23505");
  assert_string_equal(cenote_error_field(&error, 't'), "dual");
  cenote_statistics now = look(manager);
  assert_int_equal(now.http.statements, 4);
  assert_int_equal(now.http.errors, 1);
  assert_int_equal(now.simple.statements, 0);
  assert_int_equal(now.exclusive.statements, before.exclusive.statements);
  /* a transaction, a setting: the pool's */
  assert_int_equal(cenote_acquire(manager, "t", 20000, &lease, NULL), CENOTE_OK);
  assert_int_equal(cenote_begin(lease, 0, &transaction, NULL), CENOTE_OK);
  assert_int_equal(cenote_tx_execute(transaction, "update dual set n = 2", NULL, 0, NULL, NULL),
                   CENOTE_OK);
  assert_int_equal(cenote_commit(transaction, NULL), CENOTE_OK);
  assert_int_equal(cenote_release(lease), CENOTE_OK);
  must(manager, "set application_name = 'x'");
  cenote_query_options options = CENOTE_QUERY_OPTIONS_INIT;
  options.hint = CENOTE_HINT_POOL;
  assert_int_equal(cenote_query(manager, "select 1", NULL, 0, &options, NULL, NULL), CENOTE_OK);
  now = look(manager);
  assert_int_equal(now.http.statements, 4);
  assert_int_equal(now.http_fallbacks, 0);
  /* and why */
  assert_int_equal(now.http_why[CENOTE_WHY_SHAREABLE], 4);
  assert_int_equal(now.exclusive_why[CENOTE_WHY_TRANSACTION], 1);
  assert_int_equal(now.exclusive_why[CENOTE_WHY_SESSION_STATE], 3);
  assert_int_equal(now.exclusive_why[CENOTE_WHY_HINT], 1);
  assert_int_equal(now.exclusive.statements, 5);
  cenote_close(manager);
}

static void health_has_a_verdict_for_each_path(void **state)
{
  cenote_manager *manager = open_both(NULL);
  char *json;
  (void)state;
  assert_int_equal(cenote_health_json(manager, true, &json, NULL), CENOTE_OK);
  assert_non_null(strstr(json, "\"neon\":{\"healthy\":true,\"error\":null}"));
  assert_non_null(strstr(json, "\"pgPool\":{\"healthy\":true,\"error\":null}"));
  assert_non_null(strstr(json, "\"stats\":{\"totalConnections\":"));
  assert_non_null(strstr(json, "\"neonClient\":\"initialized\""));
  cenote_string_free(json);
  cenote_close(manager);
}

/* ---------------------------------------------------------------- one is not */

static void without_http_the_pool_serves_and_http_comes_back_by_itself(void **state)
{
  struct logged logged = {0};
  struct cen_breaker_view breaker;
  cenote_manager *manager = open_both(&logged);
  const int port = gateway.port;
  int64_t until = 0;
  char *json;
  (void)state;
  assert_int_equal(number(manager, "select 1"), 1);
  assert_true(serve_fixture_stop(&gateway));
  for (int i = 0; i < 200 && look(manager).http_breaker == CENOTE_BREAKER_CLOSED; i++) {
    assert_int_equal(number(manager, "select 2"), 2);
    nap_ms(20);
  }
  assert_int_not_equal(look(manager).http_breaker, CENOTE_BREAKER_CLOSED);
  const cenote_statistics away = look(manager);
  for (int i = 0; i < 10; i++) {
    assert_int_equal(number(manager, "select 3"), 3);
  }
  assert_int_equal(look(manager).http_fallbacks, away.http_fallbacks + 10);
  assert_int_equal(look(manager).simple_why[CENOTE_WHY_BREAKER_OPEN],
                   away.simple_why[CENOTE_WHY_BREAKER_OPEN] + 10);
  assert_true(away.simple_why[CENOTE_WHY_FALLBACK] > 0);
  assert_int_equal(look(manager).http.statements, away.http.statements);
  assert_int_equal(look(manager).breaker, CENOTE_BREAKER_CLOSED); /* the pool's own */
  cen_breaker_look(http_path_breaker(manager), &breaker);
  assert_int_equal(breaker.rejected, look(manager).simple_why[CENOTE_WHY_BREAKER_OPEN]);
  assert_int_equal(cenote_health_json(manager, true, &json, NULL), CENOTE_OK);
  assert_non_null(strstr(json, "\"status\":\"degraded\""));
  assert_non_null(strstr(json, "\"neon\":{\"healthy\":false,\"error\":\"cannot connect"));
  assert_non_null(strstr(json, "\"pgPool\":{\"healthy\":true,\"error\":null}"));
  cenote_string_free(json);
  assert_int_equal(atomic_load(&logged.away), 1);
  assert_int_equal(atomic_load(&logged.back), 0);
  assert_true(serve_fixture_start_at(&gateway, pg_fixture_get(&pg, "POSTGRES_TCP_URL"), port));
  while (look(manager).http_breaker != CENOTE_BREAKER_CLOSED && soon(&until)) {
  }
  const cenote_statistics back = look(manager);
  assert_int_equal(back.http_breaker, CENOTE_BREAKER_CLOSED);
  assert_int_equal(number(manager, "select 4"), 4);
  assert_int_equal(look(manager).http.statements, back.http.statements + 1);
  assert_int_equal(atomic_load(&logged.away), 1);
  assert_int_equal(atomic_load(&logged.back), 1);
  cenote_close(manager);
}

static void without_the_pool_simple_statements_still_work(void **state)
{
  char url[256], endpoint[128];
  cenote_lease lease;
  (void)state;
  /* nobody listens at the port of the pool; over HTTP the gateway's own database is meant */
  (void)snprintf(endpoint, sizeof endpoint, "%s/sql", gateway.url);
  (void)snprintf(url, sizeof url, "postgres://app:%s@localhost/cenote?hostaddr=127.0.0.1",
                 pg_fixture_get(&pg, "POSTGRES_PASSWORD"));
  assert_int_equal(setenv("PGPORT", "1", 1), 0);
  cenote_manager *manager = open_at(url, endpoint, false, NULL);
  assert_int_equal(number(manager, "select 1"), 1);
  assert_int_not_equal(cenote_acquire(manager, "t", 300, &lease, NULL), CENOTE_OK);
  for (int i = 0; i < 20; i++) {
    assert_int_equal(number(manager, "select 2"), 2);
  }
  assert_int_equal(look(manager).http.statements, 21);
  assert_int_equal(unsetenv("PGPORT"), 0);
  cenote_close(manager);
}

static void a_reload_moves_the_limits_of_its_breaker(void **state)
{
  const cenote_setting never = {"breaker_failures", "0"};
  bool changed[CEN_SETTING_COUNT] = {[CEN_SET_BREAKER_FAILURES] = true};
  cenote_options options = CENOTE_OPTIONS_INIT;
  struct cen_settings from;
  (void)state;
  /* nobody listens there */
  cenote_manager *manager =
      open_at(pg_fixture_get(&pg, "POSTGRES_TCP_URL"), "http://127.0.0.1:1/sql", false, NULL);
  int64_t until = 0;
  while (look(manager).http_breaker == CENOTE_BREAKER_CLOSED && soon(&until)) {
    assert_int_equal(number(manager, "select 1"), 1);
  }
  options.settings = &never;
  options.settings_count = 1;
  assert_int_equal(cen_settings_load(&from, "sqlite:x", &options, NULL, NULL, NULL), CENOTE_OK);
  assert_int_equal(manager_take_settings(manager, &from, changed, 4, NULL), CENOTE_OK);
  cen_settings_deinit(&from);
  for (int i = 0; i < 20; i++) {
    assert_int_equal(look(manager).http_breaker, CENOTE_BREAKER_CLOSED);
    assert_int_equal(number(manager, "select 2"), 2);
    nap_ms(10);
  }
  cenote_close(manager);
}

static void a_flush_drops_the_connections_that_http_keeps(void **state)
{
  struct fault_proxy *proxy = fault_proxy_start("127.0.0.1", gateway.port);
  char endpoint[128];
  pthread_t thread;
  void *answer;
  int64_t until = 0;
  (void)state;
  assert_non_null(proxy);
  (void)snprintf(endpoint, sizeof endpoint, "http://127.0.0.1:%d/sql", fault_proxy_port(proxy));
  cenote_manager *manager = open_at(pg_fixture_get(&pg, "POSTGRES_TCP_URL"), endpoint, false, NULL);
  for (int i = 0; i < 5; i++) {
    assert_int_equal(number(manager, "select 1"), 1);
  }
  const unsigned kept = fault_proxy_accepted(proxy);
  assert_int_equal(kept, 1);
  for (unsigned flushes = 1; flushes <= 3; flushes++) {
    assert_int_equal(cenote_flush(manager, NULL), CENOTE_OK);
    assert_int_equal(number(manager, "select 2"), 2);
    assert_int_equal(number(manager, "select 3"), 3);
    assert_int_equal(fault_proxy_accepted(proxy), kept + flushes);
  }
  /* what runs meanwhile comes to its end */
  assert_int_equal(pthread_create(&thread, NULL, short_sleeper, manager), 0);
  while (look(manager).http_in_flight == 0 && soon(&until)) {
  }
  assert_int_equal(cenote_flush(manager, NULL), CENOTE_OK);
  pthread_join(thread, &answer);
  assert_int_equal((intptr_t)answer, CENOTE_OK);
  assert_int_equal(look(manager).http_breaker, CENOTE_BREAKER_CLOSED);
  cenote_close(manager);
  fault_proxy_stop(proxy);
}

/* ---------------------------------------------------------------- what is said of it */

static void hide_names(void *context, const char *operation, char *out, size_t size)
{
  (void)context;
  (void)snprintf(out, size, "<%zu bytes>", strlen(operation));
}

static void log_audit_and_errors_speak_of_http_without_secrets(void **state)
{
  static struct told told = {.lock = PTHREAD_MUTEX_INITIALIZER};
  const char *const secrets[] = {pg_fixture_get(&pg, "POSTGRES_PASSWORD"), "wr0ng-s3cret",
                                 "jane@example.com", "a-secret-literal", "a-secret-argument"};
  char endpoint[128], url[256], *json = NULL;
  const cenote_setting settings[] = {{"http_endpoint", endpoint}, {"slow_statement_ms", "20"},
                                     {"min_connections", "0"},    {"breaker_failures", "2"},
                                     {"breaker_open_ms", "50"},   {"breaker_window_ms", "1000"},
                                     {"retry_delay_ms", "5"}};
  cenote_options options = {.size = sizeof options,
                            .settings = settings,
                            .settings_count = sizeof settings / sizeof settings[0],
                            .log = told_line,
                            .log_context = &told,
                            .audit = told_event,
                            .audit_context = &told,
                            .redact = hide_names};
  cenote_query_options how = CENOTE_QUERY_OPTIONS_INIT;
  cenote_manager *manager = NULL;
  cenote_error error = CENOTE_ERROR_INIT;
  const int port = gateway.port;
  int64_t until = 0;
  (void)state;
  (void)snprintf(endpoint, sizeof endpoint, "%s/sql", gateway.url);
  assert_int_equal(cenote_open(pg_fixture_get(&pg, "POSTGRES_TCP_URL"), &options, &manager, &error),
                   CENOTE_OK);
  /* a slow one, with an operation, a literal and an argument */
  const cenote_value arg = cenote_text("a-secret-argument");
  how.operation_id = "jane@example.com";
  assert_int_equal(cenote_query(manager, "select pg_sleep(0.05), 'a-secret-literal', ?::text", &arg,
                                1, &how, NULL, &error),
                   CENOTE_OK);
  assert_int_equal(look(manager).slow_statements, 1);
  assert_int_equal(look(manager).http.statements, 1);
  /* away and back */
  assert_true(serve_fixture_stop(&gateway));
  while (look(manager).http_breaker == CENOTE_BREAKER_CLOSED && soon(&until)) {
    assert_int_equal(number(manager, "select 1"), 1);
  }
  assert_true(serve_fixture_start_at(&gateway, pg_fixture_get(&pg, "POSTGRES_TCP_URL"), port));
  while (look(manager).http_breaker != CENOTE_BREAKER_CLOSED && soon(&until)) {
  }
  assert_int_equal(cenote_health_json(manager, true, &json, NULL), CENOTE_OK);
  cenote_close(manager);
  assert_non_null(strstr(told.log, "slow statement"));
  assert_non_null(strstr(told.log, "<16 bytes>"));
  assert_non_null(strstr(told.log, "SQL over HTTP does not work"));
  assert_non_null(strstr(told.log, "SQL over HTTP works again"));
  assert_non_null(strstr(told.audit, "http open: "));
  assert_non_null(strstr(told.audit, "http half-open"));
  assert_non_null(strstr(told.audit, "http closed"));
  /* a password that is wrong on both paths */
  (void)snprintf(url, sizeof url, "%s", pg_fixture_get(&pg, "POSTGRES_TCP_URL"));
  const char *at = strstr(url, secrets[0]);
  assert_non_null(at);
  (void)snprintf(url, sizeof url, "%.*swr0ng-s3cret%s", (int)(at - url),
                 pg_fixture_get(&pg, "POSTGRES_TCP_URL"),
                 strstr(pg_fixture_get(&pg, "POSTGRES_TCP_URL"), secrets[0]) + strlen(secrets[0]));
  assert_int_equal(cenote_open(url, &options, &manager, &error), CENOTE_OK);
  assert_int_equal(cenote_query(manager, "select 1", NULL, 0, NULL, NULL, &error), CENOTE_AUTH);
  cenote_close(manager);
  for (size_t i = 0; i < sizeof secrets / sizeof secrets[0]; i++) {
    assert_null(strstr(told.log, secrets[i]));
    assert_null(strstr(told.audit, secrets[i]));
    assert_null(strstr(json, secrets[i]));
    assert_null(strstr(error.message, secrets[i]));
    assert_null(strstr(error.details, secrets[i]));
  }
  cenote_string_free(json);
}

/* ---------------------------------------------------------------- HTTP alone */

static void a_batch_over_http_is_all_or_nothing(void **state)
{
  char url[256], endpoint[128];
  cenote_lease lease;
  cenote_transaction *transaction;
  cenote_result **results;
  cenote_error error = CENOTE_ERROR_INIT;
  const cenote_value one = cenote_integer(1);
  const cenote_statement fine[] = {
      {.sql = "insert into whole values (?)", .args = &one, .count = 1},
      {.sql = "select count(*) from whole"}};
  const cenote_statement wrong[] = {{.sql = "insert into whole values (2)"},
                                    {.sql = "insert into whole values (1)"}};
  (void)state;
  (void)snprintf(endpoint, sizeof endpoint, "%s/sql", gateway.url);
  (void)snprintf(url, sizeof url, "neon://app:%s@127.0.0.1/cenote",
                 pg_fixture_get(&pg, "POSTGRES_PASSWORD"));
  cenote_manager *manager = open_at(url, endpoint, false, NULL);
  must(manager, "drop table if exists whole");
  must(manager, "create table whole (id int primary key)");
  assert_int_equal(cenote_acquire(manager, "t", 20000, &lease, &error), CENOTE_OK);
  assert_int_equal(cenote_batch(lease, fine, 2, CENOTE_BATCH_WRITE, &results, &error), CENOTE_OK);
  assert_int_equal(cenote_result_integer(results[1], 0, 0), 1);
  cenote_results_free(results, 2);
  assert_int_equal(cenote_batch(lease, wrong, 2, CENOTE_BATCH_WRITE, &results, &error),
                   CENOTE_DATABASE);
  assert_string_equal(error.sqlstate, "23505");
  assert_null(results);
  assert_int_equal(cenote_batch(lease, wrong, 1, CENOTE_BATCH_READ, &results, &error),
                   CENOTE_DATABASE);
  assert_string_equal(error.sqlstate, "25006");
  const cenote_statement shows[] = {{.sql = "show transaction_isolation"},
                                    {.sql = "show transaction_deferrable"}};
  const cenote_batch_options options = {.size = sizeof options,
                                        .mode = CENOTE_BATCH_READ,
                                        .isolation = CENOTE_SERIALIZABLE,
                                        .deferrable = true};
  assert_int_equal(cenote_batch_with(lease, shows, 2, &options, &results, &error), CENOTE_OK);
  assert_string_equal(cenote_result_text(results[0], 0, 0), "serializable");
  assert_string_equal(cenote_result_text(results[1], 0, 0), "on");
  cenote_results_free(results, 2);
  assert_int_equal(cenote_begin(lease, 0, &transaction, &error), CENOTE_UNSUPPORTED);
  assert_non_null(strstr(error.message, "cenote_batch"));
  assert_int_equal(cenote_release(lease), CENOTE_OK);
  assert_int_equal(number(manager, "select count(*) from whole"), 1);
  assert_int_equal(look(manager).http.statements, 0); /* its leases are HTTP already */
  assert_int_equal(look(manager).exclusive_why[CENOTE_WHY_TRANSACTION], 4);
  cenote_close(manager);
}

static void a_host_of_neons_has_both_and_a_short_url_the_pool_alone(void **state)
{
  static const char *const urls[] = {"postgres://u:p@ep-1.eu.aws.neon.tech/d",
                                     "postgres://u:p@ep-1-pooler.eu.aws.neon.tech:5432/d?a=b@c",
                                     "postgres://u:p@ep-1.eu.aws.neon.tech",
                                     "postgres://u:p@neon.tech.example/d"};
  (void)state;
  for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
    cenote_manager *manager = open_at(urls[i], "", false, NULL);
    char *json;
    assert_int_equal(cenote_pool_statistics_json(manager, &json, NULL), CENOTE_OK);
    assert_int_equal(strstr(json, "\"http\":{\"available\":true") != NULL, i < 2);
    cenote_string_free(json);
    cenote_close(manager);
  }
  cenote_manager *manager;
  cenote_error error = CENOTE_ERROR_INIT;
  const cenote_setting endpoint = {"http_endpoint", "https://h.x/sql"};
  const cenote_options options = {
      .size = sizeof options, .settings = &endpoint, .settings_count = 1};
  assert_int_equal(cenote_open("postgres://u:p@h.x", &options, &manager, &error), CENOTE_CONFIG);
  assert_non_null(strstr(error.message, "SQL over HTTP: missing database"));
}

/* ---------------------------------------------------------------- nobody waits */

struct answer {
  _Atomic int calls;
  cenote_status status;
  int64_t value;
};

static void tell(void *context, cenote_status status, cenote_result *result,
                 const cenote_error *error)
{
  struct answer *answer = context;
  (void)error;
  answer->status = status;
  answer->value = result ? cenote_result_integer(result, 0, 0) : 0;
  cenote_result_free(result);
  atomic_fetch_add(&answer->calls, 1);
}

static void asynchronous_statements_go_over_http_and_can_be_cancelled(void **state)
{
  struct answer answers[20] = {0}, slow = {0};
  cenote_ticket ticket;
  int64_t until = 0;
  (void)state;
  for (int external = 0; external < 2; external++) {
    char endpoint[128];
    (void)snprintf(endpoint, sizeof endpoint, "%s/sql", gateway.url);
    cenote_manager *manager =
        open_at(pg_fixture_get(&pg, "POSTGRES_TCP_URL"), endpoint, external, NULL);
    memset(answers, 0, sizeof answers);
    memset(&slow, 0, sizeof slow);
    until = 0;
    for (int i = 0; i < 20; i++) {
      const cenote_value arg = cenote_integer(i);
      assert_int_equal(cenote_query_async(manager, "select ?::bigint", &arg, 1, NULL, tell,
                                          &answers[i], NULL, NULL),
                       CENOTE_OK);
    }
    assert_int_equal(cenote_query_async(manager, "select pg_sleep(30)", NULL, 0, NULL, tell, &slow,
                                        &ticket, NULL),
                     CENOTE_OK);
    bool asked = false;
    for (bool all = false; !all && soon(&until);) {
      if (external) {
        assert_int_equal(cenote_dispatch(manager, NULL), CENOTE_OK);
      }
      all = atomic_load(&slow.calls) == 1;
      int done = 0;
      for (int i = 0; i < 20; i++) {
        done += atomic_load(&answers[i].calls);
      }
      if (done == 20 && !asked) {
        asked = true;
        assert_int_equal(cenote_cancel_query(ticket), CENOTE_OK);
      }
      all = all && done == 20;
    }
    for (int i = 0; i < 20; i++) {
      assert_int_equal(atomic_load(&answers[i].calls), 1);
      assert_int_equal(answers[i].status, CENOTE_OK);
      assert_int_equal(answers[i].value, i);
    }
    assert_int_equal(slow.status, CENOTE_CANCELLED);
    assert_int_equal(look(manager).http.statements, 21);
    cenote_close(manager);
  }
}

/* ---------------------------------------------------------------- times and ends */

static void *sleeper(void *context)
{
  cenote_error error = CENOTE_ERROR_INIT;
  const cenote_status status =
      cenote_query(context, "select pg_sleep(30)", NULL, 0, NULL, NULL, &error);
  return (void *)(intptr_t)status;
}

static void a_deadline_and_a_shutdown_end_what_runs_over_http(void **state)
{
  cenote_manager *manager = open_both(NULL);
  cenote_query_options options = CENOTE_QUERY_OPTIONS_INIT;
  cenote_error error = CENOTE_ERROR_INIT;
  pthread_t thread;
  void *answer;
  int64_t until = 0;
  (void)state;
  cenote_status status = CENOTE_TIMEOUT; /* before it was sent: then with more time */
  for (options.timeout_ms = 200; status == CENOTE_TIMEOUT && options.timeout_ms <= 20000;
       options.timeout_ms *= 10) {
    status = cenote_query(manager, "select pg_sleep(30)", NULL, 0, &options, NULL, &error);
  }
  assert_int_equal(status, CENOTE_STATEMENT_TIMEOUT);
  assert_int_equal(look(manager).http_breaker, CENOTE_BREAKER_CLOSED);
  assert_int_equal(pthread_create(&thread, NULL, sleeper, manager), 0);
  while (look(manager).http_in_flight == 0 && soon(&until)) {
  }
  assert_int_equal(cenote_shutdown(manager, 50, &error), CENOTE_TIMEOUT);
  assert_non_null(strstr(error.message, "1 leases and statements were forced"));
  assert_null(strstr(error.message, "inside a call"));
  assert_null(strstr(error.message, "not closed yet"));
  assert_int_equal(look(manager).state, CENOTE_STATE_SHUTDOWN);
  pthread_join(thread, &answer);
  assert_int_not_equal((intptr_t)answer, CENOTE_OK);
  cenote_close(manager);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(simple_statements_go_over_http_and_the_rest_over_the_pool),
      cmocka_unit_test(health_has_a_verdict_for_each_path),
      cmocka_unit_test(without_http_the_pool_serves_and_http_comes_back_by_itself),
      cmocka_unit_test(without_the_pool_simple_statements_still_work),
      cmocka_unit_test(a_reload_moves_the_limits_of_its_breaker),
      cmocka_unit_test(a_flush_drops_the_connections_that_http_keeps),
      cmocka_unit_test(log_audit_and_errors_speak_of_http_without_secrets),
      cmocka_unit_test(a_batch_over_http_is_all_or_nothing),
      cmocka_unit_test(a_host_of_neons_has_both_and_a_short_url_the_pool_alone),
      cmocka_unit_test(asynchronous_statements_go_over_http_and_can_be_cancelled),
      cmocka_unit_test(a_deadline_and_a_shutdown_end_what_runs_over_http),
  };
  if (!pg_fixture_start(&pg, NULL)) {
    return pg_fixture_skip(&pg);
  }
  int failed = 1;
  if (serve_fixture_start_at(&gateway, pg_fixture_get(&pg, "POSTGRES_TCP_URL"), 0)) {
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    failed += !serve_fixture_stop(&gateway);
  }
  pg_fixture_stop(&pg);
  return failed;
}
