/* The conformance suite on a real PostgreSQL server: the one of CENOTE_TEST_POSTGRES_URL, else
 * one that is started for the purpose. */
#include "driver/conformance.h"

#include "support/pg_fixture.h"

#include <stdlib.h>

extern const cenote_driver cen_driver_postgres;

static const char *postgres_url(void)
{
  return getenv("CENOTE_TEST_POSTGRES_URL");
}

static const struct subject subject = {
    .driver = &cen_driver_postgres,
    .has = HAS_TABLES | HAS_RAW_TEXT | HAS_BOOLEANS | HAS_READ_ONLY | HAS_QUESTION_MARKS,
    .url = postgres_url,
    .casts = {"::text", "::bigint", "::float8", "::text", "::bytea", "::boolean"},
    .rows_10000 = "SELECT generate_series(1, 10000)",
    .slow = "SELECT pg_sleep(30)",
    .brief = "SELECT pg_sleep(0.001)",
    .wrong = "SELEC 1",
    .fail_transaction = "SELECT 1 / 0",
    .literal_question = "SELECT ('{\"a\": 1}'::jsonb ?? 'a')::int",
    .dirt = {{"CREATE TEMP TABLE cenote_temp (a int)",
              "SELECT count(*) FROM pg_class WHERE relname = 'cenote_temp'"},
             {"SET lock_timeout = 777", "SELECT (current_setting('lock_timeout') = '777ms')::int"},
             {"SELECT set_config('lock_timeout', '778', false)",
              "SELECT (current_setting('lock_timeout') = '778ms')::int"},
             {"SELECT pg_advisory_lock(4711)", "SELECT count(*) FROM pg_locks WHERE locktype = "
                                               "'advisory' AND pid = pg_backend_pid()"},
             {"LISTEN cenote", "SELECT count(*) FROM pg_listening_channels()"},
             {NULL, NULL}},
};

int main(void)
{
  struct pg_fixture pg;
  bool ours = !postgres_url();
  int failed;
  if (ours && !pg_fixture_start(&pg, NULL)) {
    return pg_fixture_skip(&pg);
  }
  failed = conformance_run(&subject);
  if (ours) {
    pg_fixture_stop(&pg);
  }
  return failed;
}
