/* The PostgreSQL driver's ways to connect: names, hosts, passwords, TLS, poolers, forks. */
#include "base/text.h"
#include "driver/postgres/postgres.h"
#include "integration/postgres_rig.h"
#include "net/clock.h"
#include "support/fault_proxy.h"
#include "support/pg_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
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

/* user, password, host part, query */
static const char *url_to(const char *hosts, const char *query)
{
  static char url[1024];
  snprintf(url, sizeof(url), "postgresql://app:%s@%s/cenote?%s", var("POSTGRES_PASSWORD"), hosts,
           query);
  return url;
}

static const char *here(void) /* the server's address and port */
{
  static char text[64];
  snprintf(text, sizeof(text), "127.0.0.1:%s", var("POSTGRES_PORT"));
  return text;
}

static cenote_status try_it(const char *url, cenote_error *error)
{
  return pg_rig_try(url, NULL, error);
}

/* ---------------------------------------------------------------------------- passwords */

static void a_scram_login_works_and_a_wrong_password_is_an_auth_error(void **state)
{
  (void)state;
  cenote_error error = CENOTE_ERROR_INIT;
  char url[256];
  assert_int_equal(try_it(var("POSTGRES_TCP_URL"), &error), CENOTE_OK);
  snprintf(url, sizeof(url), "postgresql://app:wrong-secret@%s/cenote", here());
  assert_int_equal(try_it(url, &error), CENOTE_AUTH);
  assert_string_equal(error.sqlstate, "28P01");
  assert_non_null(strstr(error.message, "127.0.0.1"));
  assert_null(strstr(error.message, "wrong-secret"));
  assert_null(strstr(error.message, "LOCATION"));
  assert_false(error.retryable);
  snprintf(url, sizeof(url), "postgresql://app@%s/cenote", here());
  assert_int_equal(try_it(url, &error), CENOTE_AUTH);
  assert_non_null(strstr(error.message, "PGPASSWORD"));
}

struct rotating {
  const char *password;
  int calls;
};

static bool rotate(void *context, const char *user, char *buffer, size_t size)
{
  struct rotating *rotating = context;
  rotating->calls++;
  assert_string_equal(user, "app");
  snprintf(buffer, size, "%s", rotating->password);
  return true;
}

static void the_password_callback_is_asked_for_every_connection(void **state)
{
  (void)state;
  char url[256];
  struct rotating rotating = {.password = "stale"};
  struct pg_rig pg = {.password = rotate, .password_context = &rotating};
  cenote_error error = CENOTE_ERROR_INIT;
  snprintf(url, sizeof(url), "postgresql://app@%s/cenote", here());
  assert_int_equal(pg_rig_open(&pg, url, &error), CENOTE_OK);
  assert_null(rig_connect(&pg.rig, &error));
  assert_int_equal(error.status, CENOTE_AUTH);
  rotating.password = var("POSTGRES_PASSWORD");
  cenote_connection *c = rig_connect(&pg.rig, &error);
  assert_non_null(c);
  assert_int_equal(rotating.calls, 2);
  pg_rig_end(&pg, c);
}

static void the_environment_and_the_password_file_are_read(void **state)
{
  (void)state;
  cenote_error error = CENOTE_ERROR_INIT;
  char url[256];
  char path[256];
  snprintf(url, sizeof(url), "postgresql://app@%s/cenote", here());
  setenv("PGPASSWORD", var("POSTGRES_PASSWORD"), 1);
  assert_int_equal(try_it(url, &error), CENOTE_OK);
  unsetenv("PGPASSWORD");
  snprintf(path, sizeof(path), "%s/../pgpass-%d", var("POSTGRES_SOCKET"), (int)getpid());
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  fprintf(file, "127.0.0.1:*:cenote:app:%s\n", var("POSTGRES_PASSWORD"));
  fclose(file);
  setenv("PGPASSFILE", path, 1);
  assert_int_equal(chmod(path, 0600), 0);
  assert_int_equal(try_it(url, &error), CENOTE_OK);
  unsetenv("PGPASSFILE");
  unlink(path);
}

/* ------------------------------------------------------------------------------ refusals */

static void a_refusal_names_the_host_and_the_sqlstate(void **state)
{
  (void)state;
  cenote_error error = CENOTE_ERROR_INIT;
  assert_int_equal(try_it("postgresql://app@127.0.0.1:1/cenote", &error), CENOTE_CONNECT);
  assert_non_null(strstr(error.message, "127.0.0.1"));
  assert_true(error.retryable);
  char url[256];
  snprintf(url, sizeof(url), "postgresql://trusted@%s/nowhere", here());
  assert_int_equal(try_it(url, &error), CENOTE_CONNECT);
  assert_string_equal(error.sqlstate, "3D000");
  assert_false(error.retryable);
  assert_int_equal(try_it("postgresql://app@no-such-host.invalid/cenote", &error), CENOTE_CONNECT);
  assert_non_null(strstr(error.message, "no-such-host.invalid"));
}

static void a_full_server_is_told_as_53300(void **state)
{
  (void)state;
  enum { MOST = 70 };
  cenote_connection *open[MOST] = {NULL};
  struct pg_rig pg = {0};
  cenote_error error = CENOTE_ERROR_INIT;
  assert_int_equal(pg_rig_open(&pg, var("POSTGRES_URL"), &error), CENOTE_OK);
  int count = 0;
  while (count < MOST && (open[count] = rig_connect(&pg.rig, &error)) != NULL) {
    count++;
  }
  assert_in_range(count, 10, MOST - 1);
  assert_int_equal(error.status, CENOTE_CONNECT);
  assert_string_equal(error.sqlstate, "53300");
  assert_true(error.retryable);
  while (count > 0) {
    rig_disconnect(&pg.rig, open[--count]);
  }
  pg_rig_close(&pg);
}

static void wrong_urls_are_refused_without_their_secrets(void **state)
{
  (void)state;
  cenote_error error = CENOTE_ERROR_INIT;
  static const char *const urls[] = {"postgresql://app:top%zzsecret@host/db",
                                     "postgresql://app:topsecret@[::1/db",
                                     "postgresql://app:topsecret@a,b/db?hostaddr=127.0.0.1",
                                     "postgresql://app:topsecret@localhost/db?sslmode=sometimes"};
  for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
    assert_int_equal(try_it(urls[i], &error), CENOTE_CONFIG);
    assert_null(strstr(error.message, "secret"));
  }
}

static void parameters_of_newer_clients_are_dropped_with_a_warning(void **state)
{
  (void)state;
  struct pg_rig pg = {0};
  cenote_connection *c = pg_rig_connect(
      &pg, url_to(here(), "sslnegotiation=direct&channel_binding=prefer&connection_limit=5"));
  assert_true(pg_rig_logged(&pg, "1 the PostgreSQL URL"));
  assert_true(pg_rig_logged(&pg, "sslnegotiation, connection_limit"));
  assert_false(pg_rig_logged(&pg, "channel_binding"));
  pg_rig_end(&pg, c);
}

/* ------------------------------------------------------------------------- several hosts */

static void hosts_are_tried_in_order(void **state)
{
  (void)state;
  cenote_error error = CENOTE_ERROR_INIT;
  char hosts[200];
  snprintf(hosts, sizeof(hosts), "127.0.0.1:1,no-such-host.invalid,%s", here());
  /* one host that is not local, and all are verified */
  const char *const settings[] = {"tls_ca_file", var("POSTGRES_CA"), NULL};
  assert_int_equal(pg_rig_try(url_to(hosts, ""), settings, &error), CENOTE_OK);
  snprintf(hosts, sizeof(hosts), "%s,%s", here(), here());
  assert_int_equal(try_it(url_to(hosts, "target_session_attrs=read-write"), &error), CENOTE_OK);
  assert_int_equal(try_it(url_to(hosts, "target_session_attrs=standby"), &error), CENOTE_CONNECT);
  snprintf(hosts, sizeof(hosts), "localhost:%s", var("POSTGRES_PORT"));
  assert_int_equal(try_it(url_to(hosts, ""), &error), CENOTE_OK);
}

static void a_silent_host_takes_only_its_share_of_the_time(void **state)
{
  (void)state;
  char hosts[100];
  struct fault_proxy *proxy = fault_proxy_start("127.0.0.1", port());
  assert_non_null(proxy);
  fault_proxy_silence(proxy);
  snprintf(hosts, sizeof(hosts), "127.0.0.1:%d,%s", fault_proxy_port(proxy), here());
  struct pg_rig pg = {0};
  cenote_error error = CENOTE_ERROR_INIT;
  assert_int_equal(pg_rig_open(&pg, url_to(hosts, "sslmode=disable"), &error), CENOTE_OK);
  cenote_connection *c = NULL;
  assert_int_equal(pg.rig.driver->create(&pg.rig.params, &c, &error), CENOTE_OK);
  cenote_request request = {.size = sizeof(request),
                            .kind = CENOTE_REQUEST_OPEN,
                            .deadline_ns = cen_deadline_ns(cen_now_ns(), 4000)};
  assert_int_equal(rig_run(&pg.rig, c, &request, &error), CENOTE_OK);
  assert_int_equal(rig_integer(&pg.rig, c, "SELECT 1"), 1);
  pg_rig_end(&pg, c);
  fault_proxy_stop(proxy);
}

static void a_blackhole_ends_at_the_deadline(void **state)
{
  (void)state;
  char hosts[100];
  struct fault_proxy *proxy = fault_proxy_start("127.0.0.1", port());
  assert_non_null(proxy);
  fault_proxy_silence(proxy);
  snprintf(hosts, sizeof(hosts), "127.0.0.1:%d", fault_proxy_port(proxy));
  struct pg_rig pg = {0};
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_connection *c = NULL;
  assert_int_equal(pg_rig_open(&pg, url_to(hosts, ""), &error), CENOTE_OK);
  assert_int_equal(pg.rig.driver->create(&pg.rig.params, &c, &error), CENOTE_OK);
  cenote_request request = {.size = sizeof(request),
                            .kind = CENOTE_REQUEST_OPEN,
                            .deadline_ns = cen_deadline_ns(cen_now_ns(), 300)};
  int64_t start = cen_now_ns();
  assert_int_equal(rig_run(&pg.rig, c, &request, &error), CENOTE_CONNECT);
  assert_true(cen_now_ns() - start < 10000 * CEN_NS_PER_MS); /* not TCP's minutes */
  assert_non_null(strstr(error.message, "127.0.0.1"));
  pg.rig.driver->destroy(c);
  pg_rig_close(&pg);
  fault_proxy_stop(proxy);
}

/* ---------------------------------------------------------------------------------- TLS */

static const char *tls_url(const char *host, const char *mode)
{
  char query[200];
  char hosts[100];
  snprintf(query, sizeof(query), "hostaddr=127.0.0.1&sslmode=%s", mode);
  snprintf(hosts, sizeof(hosts), "%s:%s", host, var("POSTGRES_PORT"));
  return url_to(hosts, query);
}

static bool ssl_in_use(const char *url, const char *const *settings)
{
  struct pg_rig pg = {.settings = settings};
  cenote_connection *c = pg_rig_connect(&pg, url);
  bool used = PQsslInUse(pg.rig.driver->resource(c)) == 1;
  pg_rig_end(&pg, c);
  return used;
}

static void our_own_ca_is_accepted(void **state)
{
  (void)state;
  const char *const settings[] = {"tls_ca_file", var("POSTGRES_CA"), NULL};
  assert_true(ssl_in_use(var("POSTGRES_TLS_URL"), NULL));
  assert_true(ssl_in_use(tls_url("db.cenote.test", "require"), settings));
  assert_true(ssl_in_use(tls_url("db.cenote.test", "prefer"), settings));
}

static void an_unknown_ca_is_refused_also_where_the_url_says_require(void **state)
{
  (void)state;
  cenote_error error = CENOTE_ERROR_INIT;
  static const char *const modes[] = {"require", "prefer", "allow", "verify-ca", "verify-full"};
  for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
    assert_int_equal(try_it(tls_url("db.cenote.test", modes[i]), &error), CENOTE_CONNECT);
    assert_non_null(strstr(error.message, "certificate"));
    assert_non_null(strstr(error.message, "tls_ca_file"));
  }
  const char *const settings[] = {"tls_ca_file", var("POSTGRES_STRANGER_CA"), NULL};
  assert_int_equal(pg_rig_try(tls_url("db.cenote.test", "require"), settings, &error),
                   CENOTE_CONNECT);
  assert_int_equal(try_it(tls_url("db.cenote.test", "disable"), &error), CENOTE_CONFIG);
  assert_non_null(strstr(error.message, "tls_verify"));
}

static void a_certificate_for_another_host_is_refused(void **state)
{
  (void)state;
  cenote_error error = CENOTE_ERROR_INIT;
  const char *const settings[] = {"tls_ca_file", var("POSTGRES_CA"), NULL};
  assert_int_equal(pg_rig_try(tls_url("other.cenote.test", "require"), settings, &error),
                   CENOTE_CONNECT);
  assert_non_null(strstr(error.message, "other.cenote.test"));
  /* a CA of one's own, without the name, is what verify-ca is for */
  assert_int_equal(pg_rig_try(tls_url("other.cenote.test", "verify-ca"), settings, &error),
                   CENOTE_OK);
}

/* Until the server has read its new certificate. */
static cenote_status try_until(const char *url, const char *const *settings, cenote_status status,
                               cenote_error *error)
{
  cenote_status last = CENOTE_INTERNAL;
  for (int i = 0; i < 100 && last != status; i++) {
    last = pg_rig_try(url, settings, error);
    usleep(last == status ? 0 : 50000);
  }
  return last;
}

static void wrong_and_expired_certificates_are_refused(void **state)
{
  (void)state;
  cenote_error error = CENOTE_ERROR_INIT;
  const char *const settings[] = {"tls_ca_file", var("POSTGRES_CA"), NULL};
  const char *url = tls_url("db.cenote.test", "require");
  assert_int_equal(pg_fixture_ctl(&server, "cert", "wrong"), 0);
  assert_int_equal(try_until(url, settings, CENOTE_CONNECT, &error), CENOTE_CONNECT);
  assert_non_null(strstr(error.message, "elsewhere.cenote.test"));
  assert_int_equal(pg_fixture_ctl(&server, "cert", "good"), 0);
  assert_int_equal(try_until(url, settings, CENOTE_OK, &error), CENOTE_OK);
  assert_int_equal(pg_fixture_ctl(&server, "cert", "expired"), 0);
  assert_int_equal(try_until(url, settings, CENOTE_CONNECT, &error), CENOTE_CONNECT);
  assert_int_equal(pg_fixture_ctl(&server, "cert", "good"), 0);
  assert_int_equal(try_until(url, settings, CENOTE_OK, &error), CENOTE_OK);
}

static void turning_verification_off_is_a_warning_once(void **state)
{
  (void)state;
  const char *const off[] = {"tls_verify", "off", NULL};
  struct pg_rig pg = {.settings = off};
  cenote_error error = CENOTE_ERROR_INIT;
  assert_int_equal(pg_rig_open(&pg, tls_url("other.cenote.test", "require"), &error), CENOTE_OK);
  for (int i = 0; i < 2; i++) {
    cenote_connection *c = rig_connect(&pg.rig, &error);
    assert_non_null(c);
    assert_true(PQsslInUse(pg.rig.driver->resource(c)) == 1);
    rig_disconnect(&pg.rig, c);
  }
  char *first = strstr(pg.log, "1 tls_verify is off");
  assert_non_null(first);
  assert_null(strstr(first + 4, "tls_verify is off"));
  pg_rig_close(&pg);
  assert_int_equal(pg_rig_try(tls_url("other.cenote.test", "disable"), off, &error), CENOTE_OK);
  assert_true(ssl_in_use(tls_url("other.cenote.test", ""), off));
}

static void the_tls_policy_is_a_table(void **state)
{
  (void)state;
  static const struct {
    bool local, verify;
    const char *mode, *root, *setting;
    cenote_status status;
    const char *out_mode, *out_ca; /* "?": the system's bundle, or none on this machine */
  } rows[] = {
      {true, true, NULL, NULL, NULL, CENOTE_OK, NULL, NULL},
      {true, true, "disable", NULL, NULL, CENOTE_OK, "disable", NULL},
      {true, true, "require", NULL, NULL, CENOTE_OK, "require", NULL},
      {true, true, "verify-full", "/ca", NULL, CENOTE_OK, "verify-full", "/ca"},
      {true, true, "verify-full", NULL, NULL, CENOTE_OK, "verify-full", "?"},
      {false, true, NULL, NULL, NULL, CENOTE_OK, "verify-full", "?"},
      {false, true, "require", NULL, NULL, CENOTE_OK, "verify-full", "?"},
      {false, true, "require", "system", NULL, CENOTE_OK, "verify-full", "?"},
      {false, true, "require", "/ca", NULL, CENOTE_OK, "verify-full", "/ca"},
      {false, true, "require", "/ca", "/mine", CENOTE_OK, "verify-full", "/mine"},
      {false, true, "verify-ca", NULL, NULL, CENOTE_OK, "verify-full", "?"},
      {false, true, "verify-ca", "/ca", NULL, CENOTE_OK, "verify-ca", "/ca"},
      {false, true, "disable", NULL, NULL, CENOTE_CONFIG, NULL, NULL},
      {false, false, NULL, NULL, NULL, CENOTE_OK, "require", NULL},
      {false, false, "disable", NULL, NULL, CENOTE_OK, "disable", NULL},
      {false, false, "verify-full", "/ca", NULL, CENOTE_OK, "verify-full", "/ca"},
  };
  for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
    struct pg_tls_question question = {.local = rows[i].local,
                                       .verify = rows[i].verify,
                                       .sslmode = rows[i].mode,
                                       .sslrootcert = rows[i].root,
                                       .ca_setting = rows[i].setting};
    struct pg_tls_answer answer;
    assert_int_equal(pg_tls_decide(&question, &answer, NULL), rows[i].status);
    if (rows[i].status != CENOTE_OK) {
      continue;
    }
    assert_string_equal(answer.sslmode ? answer.sslmode : "-",
                        rows[i].out_mode ? rows[i].out_mode : "-");
    if (!rows[i].out_ca || strcmp(rows[i].out_ca, "?") != 0) {
      assert_string_equal(answer.ca_file ? answer.ca_file : "-",
                          rows[i].out_ca ? rows[i].out_ca : "-");
    }
  }
  static const char *const local[] = {
      "", "/run", "@x", "localhost", "127.8.9.1", "::1", "::ffff:127.0.0.1", "a.localhost"};
  static const char *const remote[] = {"db",        "10.0.0.1", "localhost.example.org",
                                       "128.0.0.1", "fe80::1",  "127.0.0.1.example.org"};
  for (size_t i = 0; i < sizeof(local) / sizeof(local[0]); i++) {
    assert_true(pg_host_is_local(local[i]));
  }
  for (size_t i = 0; i < sizeof(remote) / sizeof(remote[0]); i++) {
    assert_false(pg_host_is_local(remote[i]));
  }
}

static void the_urls_filter_keeps_what_libpq_knows(void **state)
{
  (void)state;
  static const struct {
    const char *in, *out, *dropped;
    bool pooler;
  } rows[] = {
      {"postgres://h/db", "postgres://h/db", "", false},
      {"postgres://h/db?sslmode=require", "postgres://h/db?sslmode=require", "", false},
      {"postgres://h/db?x=1", "postgres://h/db", "x", false},
      {"postgres://h/db?x=1&user=u&y&port=7", "postgres://h/db?user=u&port=7", "x, y", false},
      {"postgres://u:p?q=1@h/db?pgbouncer=true", "postgres://u:p?q=1@h/db", "pgbouncer", true},
      {"postgres://h/db?ssl=true", "postgres://h/db?ssl=true", "", false},
      {"postgres://h?", "postgres://h", "", false},
  };
  for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
    char dropped[64];
    bool pooler;
    char *out = pg_url_filter(rows[i].in, dropped, sizeof(dropped), &pooler);
    assert_string_equal(out, rows[i].out);
    assert_string_equal(dropped, rows[i].dropped);
    assert_int_equal(pooler, rows[i].pooler);
    free(out);
  }
}

/* --------------------------------------------------------------------------- the session */

static void sessions_are_set_so_that_the_server_reaps_what_froze(void **state)
{
  (void)state;
  const char *const settings[] = {"statement_timeout_ms",
                                  "30000",
                                  "idle_timeout_ms",
                                  "30000",
                                  "health_check_interval_ms",
                                  "60000",
                                  "lease_timeout_ms",
                                  "30000",
                                  "lease_extend_max_ms",
                                  "300000",
                                  "application_name",
                                  "orders",
                                  NULL};
  struct pg_rig pg = {.settings = settings};
  cenote_connection *c = pg_rig_connect(&pg, url_to(here(), "options=-c%20work_mem%3D5MB"));
  static const char *const wanted[][2] = {{"statement_timeout", "40s"},
                                          {"idle_in_transaction_session_timeout", "6min"},
                                          {"idle_session_timeout", "6min"},
                                          {"tcp_keepalives_idle", "60"},
                                          {"client_connection_check_interval", "10s"},
                                          {"application_name", "orders"},
                                          {"client_encoding", "UTF8"},
                                          {"work_mem", "5MB"}};
  for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
    char sql[80];
    snprintf(sql, sizeof(sql), "SHOW %s", wanted[i][0]);
    assert_string_equal(pg_rig_text(&pg, c, sql), wanted[i][1]);
  }
  pg_rig_end(&pg, c);
}

static void a_server_that_knows_less_is_asked_for_less(void **state)
{
  (void)state;
  const char *const settings[] = {
      "idle_timeout_ms", "30000", "lease_timeout_ms", "30000", "health_check_interval_ms",
      "60000",           NULL};
  struct pg_rig pg = {.settings = settings};
  cenote_error error = CENOTE_ERROR_INIT;
  struct pg_shared *shared;
  assert_int_equal(pg_rig_open(&pg, var("POSTGRES_URL"), &error), CENOTE_OK);
  shared = pg.rig.shared;
  /* what an older server answers to idle_session_timeout, provoked by another unknown name */
  free(shared->startup[PG_LEVEL_FULL]);
  shared->startup[PG_LEVEL_FULL] = cen_text_copy("-c not_yet_invented=1");
  cenote_connection *c = rig_connect(&pg.rig, &error);
  assert_non_null(c);
  assert_int_equal(shared->level, PG_LEVEL_OLD);
  assert_string_equal(pg_rig_text(&pg, c, "SHOW idle_session_timeout"), "0");
  assert_string_equal(pg_rig_text(&pg, c, "SHOW idle_in_transaction_session_timeout"), "90s");
  pg_rig_end(&pg, c);
  assert_int_equal(try_it(url_to(here(), "options=-c%20not_yet_invented%3D1"), &error),
                   CENOTE_CONNECT);
  assert_string_equal(error.sqlstate, "42704");
  assert_false(error.retryable);
}

static void behind_pgbouncer_in_transaction_mode(bool told, const char *argument)
{
  int started = pg_fixture_ctl(&server, "bouncer-start", argument);
  if (started == 77) {
    skip();
  }
  assert_int_equal(started, 0);
  const char *const settings[] = {"transaction_pooler", "on", "statement_timeout_ms", "30000",
                                  NULL};
  struct pg_rig pg = {.settings = told ? settings : NULL};
  cenote_error error = CENOTE_ERROR_INIT;
  assert_int_equal(pg_rig_open(&pg, var("PGBOUNCER_URL"), &error), CENOTE_OK);
  enum { CLIENTS = 6 };
  cenote_connection *c[CLIENTS];
  for (int i = 0; i < CLIENTS; i++) {
    c[i] = rig_connect(&pg.rig, &error);
    if (!c[i]) {
      fail_msg("%s", error.message);
    }
  }
  assert_int_equal(pg_rig_logged(&pg, "pooler"), !told);
  for (int round = 0; round < 60; round++) {
    cenote_connection *one = c[round % CLIENTS];
    cenote_value arg = cenote_integer(round);
    cenote_result *r;
    assert_int_equal(rig_execute(&pg.rig, one, "SELECT ?::int", &arg, 1, 20000, &r, &error),
                     CENOTE_OK);
    assert_int_equal(cenote_result_integer(r, 0, 0), round);
    cenote_result_free(r);
  }
  /* six clients share two sessions: a transaction holds one of them, the rest goes on */
  assert_int_equal(rig_begin(&pg.rig, c[0], CENOTE_BATCH_DEFERRED, NULL), CENOTE_OK);
  assert_int_equal(rig_integer(&pg.rig, c[0], "SELECT 5"), 5);
  assert_int_equal(rig_integer(&pg.rig, c[1], "SELECT 6"), 6);
  assert_int_equal(rig_integer(&pg.rig, c[2], "SELECT count(*) FROM pg_prepared_statements"), 0);
  assert_int_equal(rig_kind(&pg.rig, c[0], CENOTE_REQUEST_RESET, NULL), CENOTE_OK);
  cenote_result *r;
  assert_int_equal(rig_execute(&pg.rig, c[3], "SELECT pg_sleep(30)", NULL, 0, 200, &r, &error),
                   CENOTE_STATEMENT_TIMEOUT);
  for (int i = 0; i < CLIENTS; i++) {
    assert_int_equal(rig_integer(&pg.rig, c[i], "SELECT 7"), 7);
    assert_int_equal(rig_kind(&pg.rig, c[i], CENOTE_REQUEST_CHECK, NULL), CENOTE_OK);
    rig_disconnect(&pg.rig, c[i]);
  }
  pg_rig_close(&pg);
  assert_int_equal(pg_fixture_ctl(&server, "bouncer-stop", NULL), 0);
}

static void behind_a_transaction_pooler(void **state)
{
  (void)state;
  behind_pgbouncer_in_transaction_mode(true, NULL);
}

static void a_pooler_is_recognised_by_its_refusal(void **state)
{
  (void)state;
  behind_pgbouncer_in_transaction_mode(false, "verbose = 0");
}

/* It accepts the start-up settings and ignores them: only the prepared statements tell, and then
 * each new session asks whose it is. */
static void a_pooler_that_hides_never_runs_somebody_elses_statement(void **state)
{
  (void)state;
  int started = pg_fixture_ctl(&server, "bouncer-start",
                               "ignore_startup_parameters = options\nserver_round_robin = 1");
  if (started == 77) {
    skip();
  }
  assert_int_equal(started, 0);
  struct pg_rig pg = {0};
  cenote_error error = CENOTE_ERROR_INIT;
  enum { CLIENTS = 4 };
  cenote_connection *c[CLIENTS];
  assert_int_equal(pg_rig_open(&pg, var("PGBOUNCER_URL"), &error), CENOTE_OK);
  for (int i = 0; i < CLIENTS; i++) {
    c[i] = rig_connect(&pg.rig, &error);
    assert_non_null(c[i]);
  }
  for (int round = 0; round < 80; round++) {
    /* now and then one of the two sessions is taken, so that the others change theirs */
    cenote_connection *holder = c[(round / 2) % CLIENTS];
    cenote_connection *other = c[(round / 2 + 1 + round % 2) % CLIENTS];
    char sql[40];
    int64_t tag = round % 3 + 100 * (other == c[0]);
    snprintf(sql, sizeof(sql), "SELECT %lld", (long long)tag);
    assert_int_equal(rig_begin(&pg.rig, holder, CENOTE_BATCH_DEFERRED, NULL), CENOTE_OK);
    assert_int_equal(rig_integer(&pg.rig, other, sql), tag);
    assert_int_equal(rig_kind(&pg.rig, holder, CENOTE_REQUEST_ROLLBACK, NULL), CENOTE_OK);
  }
  unsigned doubtful = 0;
  for (int i = 0; i < CLIENTS; i++) {
    assert_int_equal(rig_kind(&pg.rig, c[i], CENOTE_REQUEST_RESET, NULL), CENOTE_OK);
    doubtful += pg_rig_session(&pg, c[i]) == CENOTE_SESSION_BROKEN;
    rig_disconnect(&pg.rig, c[i]);
  }
  assert_true(doubtful > 0);
  assert_false(pg_rig_logged(&pg, "not ours alone"));
  cenote_connection *next = rig_connect(&pg.rig, &error);
  assert_non_null(next);
  assert_true(pg_rig_logged(&pg, "not ours alone"));
  for (int i = 0; i < 5; i++) {
    assert_int_equal(rig_integer(&pg.rig, next, "SELECT 5"), 5);
  }
  assert_int_equal(rig_integer(&pg.rig, next,
                               "SELECT count(*) FROM pg_prepared_statements WHERE "
                               "NOT from_sql AND statement = 'SELECT 5'"),
                   0);
  rig_disconnect(&pg.rig, next);
  pg_rig_close(&pg);
  assert_int_equal(pg_fixture_ctl(&server, "bouncer-stop", NULL), 0);
}

static void a_pooler_is_recognised_by_its_name(void **state)
{
  (void)state;
  struct pg_rig pg = {0};
  cenote_error error = CENOTE_ERROR_INIT;
  assert_int_equal(
      pg_rig_open(&pg, "postgresql://u@ep-x-pooler.eu.example.org/db?channel_binding=require",
                  &error),
      CENOTE_OK);
  assert_int_equal(((struct pg_shared *)pg.rig.shared)->level, PG_LEVEL_POOLER);
  pg_rig_close(&pg);
}

/* --------------------------------------------------------------------------------- fork */

static void in_child(struct pg_rig *pg, cenote_connection *c)
{
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_request request = {
      .size = sizeof(request), .kind = CENOTE_REQUEST_CHECK, .deadline_ns = INT64_MAX};
  bool refused = pg->rig.driver->start(c, &request, &error) == CENOTE_STEP_FAILED &&
                 error.status == CENOTE_FORKED;
  pg->rig.driver->destroy(c);
  _exit(refused ? 0 : 1);
}

static void a_childs_destroy_leaves_the_parents_session_alone(void **state)
{
  (void)state;
  const char *const urls[] = {var("POSTGRES_URL"), var("POSTGRES_TLS_URL")};
  for (size_t i = 0; i < 2; i++) {
    struct pg_rig pg = {0};
    cenote_connection *c = pg_rig_connect(&pg, urls[i]);
    int64_t pid = rig_integer(&pg.rig, c, "SELECT pg_backend_pid()");
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
      in_child(&pg, c);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_true(pid > 0 && rig_integer(&pg.rig, c, "SELECT pg_backend_pid()") == pid);
    pg_rig_end(&pg, c);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_scram_login_works_and_a_wrong_password_is_an_auth_error),
      cmocka_unit_test(the_password_callback_is_asked_for_every_connection),
      cmocka_unit_test(the_environment_and_the_password_file_are_read),
      cmocka_unit_test(a_refusal_names_the_host_and_the_sqlstate),
      cmocka_unit_test(a_full_server_is_told_as_53300),
      cmocka_unit_test(wrong_urls_are_refused_without_their_secrets),
      cmocka_unit_test(parameters_of_newer_clients_are_dropped_with_a_warning),
      cmocka_unit_test(hosts_are_tried_in_order),
      cmocka_unit_test(a_silent_host_takes_only_its_share_of_the_time),
      cmocka_unit_test(a_blackhole_ends_at_the_deadline),
      cmocka_unit_test(our_own_ca_is_accepted),
      cmocka_unit_test(an_unknown_ca_is_refused_also_where_the_url_says_require),
      cmocka_unit_test(a_certificate_for_another_host_is_refused),
      cmocka_unit_test(wrong_and_expired_certificates_are_refused),
      cmocka_unit_test(turning_verification_off_is_a_warning_once),
      cmocka_unit_test(the_tls_policy_is_a_table),
      cmocka_unit_test(the_urls_filter_keeps_what_libpq_knows),
      cmocka_unit_test(sessions_are_set_so_that_the_server_reaps_what_froze),
      cmocka_unit_test(a_server_that_knows_less_is_asked_for_less),
      cmocka_unit_test(behind_a_transaction_pooler),
      cmocka_unit_test(a_pooler_is_recognised_by_its_refusal),
      cmocka_unit_test(a_pooler_that_hides_never_runs_somebody_elses_statement),
      cmocka_unit_test(a_pooler_is_recognised_by_its_name),
      cmocka_unit_test(a_childs_destroy_leaves_the_parents_session_alone),
  };
  return pg_rig_main(&server, "20", tests, sizeof(tests) / sizeof(tests[0]));
}
