/*
 * http_alone.c - managers whose every connection is HTTP (neon://, libsql://) are watched like any
 * other: breaker, health, log, audit and statistics when the endpoint goes away and comes back, and
 * what is tried again when a network in between loses an answer. Writes are counted at the server.
 */
#include "integration/http_watch.h"
#include "net/clock.h"
#include "support/fault_proxy.h"
#include "support/pg_fixture.h"
#include "support/serve_fixture.h"

#include <cenote/cenote.h>

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static struct pg_fixture pg;
static char folder[] = "/tmp/cenote-alone.XXXXXX";

/* One kind of endpoint: a gateway in front of a database, and how it is asked. */
struct endpoint {
  const char *name;
  char database[256]; /* the gateway's */
  struct serve_fixture gateway;
  char secret[128]; /* that nothing may show */
};

static struct endpoint endpoints[2];
enum { NEON, LIBSQL, ENDPOINTS };

static void url_of(const struct endpoint *endpoint, int port, char url[512])
{
  if (endpoint == &endpoints[NEON]) {
    (void)snprintf(url, 512, "neon://app:%s@127.0.0.1/cenote?endpoint=http://127.0.0.1:%d/sql",
                   endpoint->secret, port);
  } else {
    (void)snprintf(url, 512, "libsql://127.0.0.1:%d?tls=0&authToken=%s", port, endpoint->secret);
  }
}

static cenote_manager *open_at(const struct endpoint *endpoint, int port, struct told *told)
{
  const cenote_setting settings[] = {
      {"max_connections", "4"},      {"min_connections", "0"},    {"retry_delay_ms", "5"},
      {"breaker_failures", "2"},     {"breaker_open_ms", "50"},   {"breaker_open_max_ms", "50"},
      {"breaker_window_ms", "1000"}, {"connect_backoff_ms", "5"}, {"acquire_timeout_ms", "20000"}};
  char url[512];
  cenote_options options = {.size = sizeof options,
                            .settings = settings,
                            .settings_count = sizeof settings / sizeof settings[0],
                            .log = told != NULL ? told_line : NULL,
                            .log_context = told,
                            .audit = told != NULL ? told_event : NULL,
                            .audit_context = told};
  cenote_manager *manager = NULL;
  cenote_error error = CENOTE_ERROR_INIT;
  url_of(endpoint, port, url);
  if (cenote_open(url, &options, &manager, &error) != CENOTE_OK) {
    fail_msg("%s: %s", endpoint->name, error.message);
  }
  return manager;
}

static void wait_breaker(cenote_manager *manager, bool closed, bool asking)
{
  const int64_t end = cen_deadline_ns(cen_now_ns(), 30000);
  while ((look(manager).breaker == CENOTE_BREAKER_CLOSED) != closed) {
    assert_true(cen_now_ns() < end);
    if (asking) {
      const cenote_status status = cenote_query(manager, "select 1", NULL, 0, NULL, NULL, NULL);
      assert_int_not_equal(status, CENOTE_OK);
    }
    nap_ms(5);
  }
}

static cenote_health_status health_of(cenote_manager *manager)
{
  cenote_health_status health;
  assert_int_equal(cenote_health(manager, true, &health, NULL), CENOTE_OK);
  return health;
}

/* ---------------------------------------------------------------- away and back */

static void watch_one(struct endpoint *endpoint)
{
  static struct told told;
  const int port = endpoint->gateway.port;
  char *json = NULL;
  cenote_error error = CENOTE_ERROR_INIT;
  told = (struct told){.lock = PTHREAD_MUTEX_INITIALIZER};
  cenote_manager *manager = open_at(endpoint, port, &told);
  assert_int_equal(number(manager, "select 1"), 1);
  assert_int_equal(health_of(manager), CENOTE_HEALTHY);
  assert_int_equal(look(manager).exclusive_why[CENOTE_WHY_NOT_SHARED], 1);
  assert_int_equal(look(manager).exclusive.statements, 1);
  assert_int_equal(look(manager).http.statements, 0); /* there is no path beside it */
  assert_true(serve_fixture_stop(&endpoint->gateway));
  wait_breaker(manager, false, true);
  const cenote_status refused = cenote_query(manager, "select 1", NULL, 0, NULL, NULL, &error);
  assert_true(refused == CENOTE_BREAKER_OPEN || refused == CENOTE_CONNECT); /* a probe was due */
  assert_int_equal(health_of(manager), CENOTE_UNHEALTHY);
  assert_int_equal(cenote_health_json(manager, false, &json, NULL), CENOTE_OK);
  assert_true(serve_fixture_start_at(&endpoint->gateway, endpoint->database, port));
  wait_breaker(manager, true, false); /* by itself */
  assert_int_equal(number(manager, "select 2"), 2);
  assert_int_not_equal(health_of(manager), CENOTE_UNHEALTHY); /* errors of this minute stay */
  cenote_close(manager);
  assert_non_null(strstr(told.audit, "open: "));
  assert_non_null(strstr(told.audit, "half-open"));
  assert_non_null(strstr(told.audit, "closed"));
  assert_non_null(strstr(told.log, "circuit breaker"));
  assert_null(strstr(told.log, endpoint->secret));
  assert_null(strstr(told.audit, endpoint->secret));
  assert_null(strstr(json, endpoint->secret));
  assert_null(strstr(error.message, endpoint->secret));
  assert_null(strstr(error.details, endpoint->secret));
  cenote_string_free(json);
}

static void an_endpoint_that_goes_is_noticed_and_so_is_its_return(void **state)
{
  (void)state;
  for (int i = 0; i < ENDPOINTS; i++) {
    watch_one(&endpoints[i]);
  }
}

/* ---------------------------------------------------------------- answers that are lost */

static void lose_answers(struct endpoint *endpoint)
{
  struct fault_proxy *proxy = fault_proxy_start("127.0.0.1", endpoint->gateway.port);
  assert_non_null(proxy);
  cenote_manager *manager = open_at(endpoint, fault_proxy_port(proxy), NULL);
  cenote_manager *direct = open_at(endpoint, endpoint->gateway.port, NULL);
  (void)number(direct, "create table lost (id int, filler text)");
  for (int i = 0; i < 6; i++) {
    char sql[128], filler[1024];
    cenote_error error = CENOTE_ERROR_INIT;
    cenote_result *result = NULL;
    memset(filler, 'x', sizeof filler - 1);
    filler[sizeof filler - 1] = '\0';
    const cenote_value arg = cenote_text(filler);
    assert_int_equal(number(manager, "select 1"), 1); /* there is a connection, and it is kept */
    (void)snprintf(sql, sizeof sql, "insert into lost values (%d, ?) returning *", i);
    /* at once, or in the middle of the body; by a reset, or by an end that looks whole */
    fault_proxy_cut_after(proxy, FAULT_TO_CLIENT, i % 3 == 0 ? 1 : 200, i < 3);
    const cenote_status status = cenote_query(manager, sql, &arg, 1, NULL, NULL, &error);
    if (status != CENOTE_OUTCOME_UNKNOWN) {
      fail_msg("%s, %d: %s: %s", endpoint->name, i, cenote_status_name(status), error.message);
    }
    fault_proxy_heal(proxy);
    assert_int_equal(number(manager, "select 1"), 1);
    fault_proxy_cut_after(proxy, FAULT_TO_CLIENT, i % 3 == 0 ? 1 : 200, i < 3);
    const cenote_status read = cenote_query(manager, "select 7, ?", &arg, 1, NULL, &result, &error);
    assert_true(read == CENOTE_OK || read == CENOTE_CONNECTION_LOST);
    assert_true(read != CENOTE_OK || cenote_result_integer(result, 0, 0) == 7);
    cenote_result_free(result);
    fault_proxy_heal(proxy);
  }
  assert_int_equal(number(direct, "select count(*) from lost"), 6);
  assert_int_equal(number(direct, "select count(distinct id) from lost"), 6);
  (void)number(direct, "drop table lost");
  cenote_close(direct);
  cenote_close(manager);
  fault_proxy_stop(proxy);
}

static void a_write_whose_answer_is_lost_is_unknown_and_there_once(void **state)
{
  (void)state;
  for (int i = 0; i < ENDPOINTS; i++) {
    lose_answers(&endpoints[i]);
  }
}

/* ---------------------------------------------------------------- what stands around them */

static int start_all(void **state)
{
  (void)state;
  endpoints[NEON] = (struct endpoint){.name = "neon"};
  endpoints[LIBSQL] = (struct endpoint){.name = "libsql", .secret = "a-token-that-is-secret"};
  (void)snprintf(endpoints[NEON].secret, sizeof endpoints[NEON].secret, "%s",
                 pg_fixture_get(&pg, "POSTGRES_PASSWORD"));
  (void)snprintf(endpoints[NEON].database, sizeof endpoints[NEON].database, "%s",
                 pg_fixture_get(&pg, "POSTGRES_TCP_URL"));
  if (mkdtemp(folder) == NULL) {
    return -1;
  }
  (void)snprintf(endpoints[LIBSQL].database, sizeof endpoints[LIBSQL].database, "sqlite:%s/db",
                 folder);
  for (int i = 0; i < ENDPOINTS; i++) {
    if (!serve_fixture_start_at(&endpoints[i].gateway, endpoints[i].database, 0)) {
      return -1;
    }
  }
  return 0;
}

static int stop_all(void **state)
{
  static const char *const names[] = {"db", "db-wal", "db-shm"};
  bool fine = true;
  (void)state;
  for (int i = 0; i < ENDPOINTS; i++) {
    fine = serve_fixture_stop(&endpoints[i].gateway) && fine;
  }
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    char path[64];
    (void)snprintf(path, sizeof path, "%s/%s", folder, names[i]);
    (void)unlink(path);
  }
  return rmdir(folder) == 0 && fine ? 0 : -1;
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(an_endpoint_that_goes_is_noticed_and_so_is_its_return),
      cmocka_unit_test(a_write_whose_answer_is_lost_is_unknown_and_there_once),
  };
  if (!pg_fixture_start(&pg, NULL)) {
    return pg_fixture_skip(&pg);
  }
  const int failed = cmocka_run_group_tests(tests, start_all, stop_all);
  pg_fixture_stop(&pg);
  return failed;
}
