/* Every caller only ever gets its own rows: over HTTP, from a gateway
 * of our own with a database of SQLite's. */
#include "driver/scratch.h"
#include "integration/rows_sqlite.h"
#include "support/fault_proxy.h"
#include "support/serve_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct serve_fixture serve;
static struct fault_proxy *proxy;
static char proxy_url[64];

static bool proxy_start(void)
{
  const char *port = strrchr(serve.url, ':');
  proxy = port != NULL ? fault_proxy_start("127.0.0.1", (int)strtol(port + 1, NULL, 10)) : NULL;
  if (proxy != NULL) {
    snprintf(proxy_url, sizeof proxy_url, "http://127.0.0.1:%d", fault_proxy_port(proxy));
  }
  return proxy != NULL;
}

/* A connection breaks off in the middle of whatever it carries. */
static void disturb(void *context, uint64_t chance)
{
  (void)context;
  fault_proxy_cut_after(proxy, chance % 2 == 0 ? FAULT_TO_CLIENT : FAULT_TO_SERVER,
                        (size_t)(chance >> 8) % 2000, chance % 4 < 2);
}

static void calm(void *context)
{
  (void)context;
  fault_proxy_heal(proxy);
}

static void run_over_http(bool routed)
{
  struct rows_subject subject = rows_of_sqlite(proxy_url, routed);
  subject.disturb = disturb;
  subject.calm = calm;
  rows_run_on_sqlite(&subject);
}

static void other_rows_never_returned(void **state)
{
  (void)state;
  run_over_http(false);
}

static void other_rows_never_returned_from_routed_statements(void **state)
{
  (void)state;
  run_over_http(true);
}

int main(void)
{
  if (!scratch_open()) {
    return 1;
  }
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(other_rows_never_returned),
      cmocka_unit_test(other_rows_never_returned_from_routed_statements),
  };
  const char *const args[] = {"--url", scratch_url(), NULL};
  /* an answer that is lost takes its baton along, and its transaction rests until then */
  setenv("CENOTE_STREAM_TIMEOUT_MS", "200", 1);
  int failed = 1;
  if (serve_fixture_start(&serve, args) && proxy_start()) {
    failed = cmocka_run_group_tests_name("libsql_rows", tests, NULL, NULL);
    fault_proxy_stop(proxy);
    failed = serve_fixture_stop(&serve) ? failed : 1;
  }
  scratch_close();
  return failed;
}
