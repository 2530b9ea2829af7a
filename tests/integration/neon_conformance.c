/* The conformance suite over SQL over HTTP: our own gateway in front of a real PostgreSQL. */
#include "driver/conformance.h"

#include "support/serve_fixture.h"
#include "support/pg_fixture.h"

#include <stdio.h>

extern const cenote_driver cen_driver_neon;

static struct pg_fixture pg;
static struct serve_fixture gateway;

static const char *neon_url(void)
{
  static char url[512];
  (void)snprintf(url, sizeof url, "neon://app:%s@127.0.0.1/cenote?endpoint=%s/sql",
                 pg_fixture_get(&pg, "POSTGRES_PASSWORD"), gateway.url);
  return url;
}

static const struct subject subject = {
    .driver = &cen_driver_neon,
    .has = HAS_TABLES | HAS_RAW_TEXT | HAS_BOOLEANS | HAS_READ_ONLY | HAS_QUESTION_MARKS,
    .lacks = HAS_SESSION,
    .url = neon_url,
    .casts = {"::text", "::bigint", "::float8", "::text", "::bytea", "::boolean"},
    .rows_10000 = "SELECT generate_series(1, 10000)",
    .slow = "SELECT pg_sleep(30)",
    .brief = "SELECT pg_sleep(0.001)",
    .wrong = "SELEC 1",
    .fail_transaction = "SELECT 1 / 0",
    .literal_question = "SELECT ('{\"a\": 1}'::jsonb ?? 'a')::int",
};

int main(void)
{
  if (!pg_fixture_start(&pg, NULL)) {
    return pg_fixture_skip(&pg);
  }
  int failed = 1;
  if (serve_fixture_start_at(&gateway, pg_fixture_get(&pg, "POSTGRES_TCP_URL"), 0)) {
    failed = conformance_run(&subject);
    failed += !serve_fixture_stop(&gateway);
  }
  pg_fixture_stop(&pg);
  return failed;
}
