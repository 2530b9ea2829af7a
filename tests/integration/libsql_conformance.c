/* The conformance suite of all drivers on libSQL's, against a gateway of our own with a database of
 * SQLite's. CENOTE_TEST_HRANA=2: as if the server had never heard of version 3. */
#include "driver/conformance.h"
#include "driver/libsql/libsql.h"
#include "driver/scratch.h"
#include "support/serve_fixture.h"

#include <stdio.h>
#include <stdlib.h>

extern const cenote_driver cen_driver_libsql;

static struct serve_fixture serve;

static const char *gateway_url(void)
{
  return serve.url;
}

static cenote_status shared_new(const cenote_driver_params *params, void **shared,
                                cenote_error *error)
{
  const cenote_status status = cen_driver_libsql.shared_new(params, shared, error);
  if (status == CENOTE_OK && getenv("CENOTE_TEST_HRANA")) {
    atomic_store(&((struct ls_shared *)*shared)->version,
                 (int)strtol(getenv("CENOTE_TEST_HRANA"), NULL, 10));
  }
  return status;
}

int main(void)
{
  cenote_driver driver = cen_driver_libsql;
  const struct subject subject = {
      .driver = &driver,
      .has = HAS_TABLES | HAS_RAW_TEXT | HAS_NAMED_ARGUMENTS | HAS_READ_ONLY | HAS_QUESTION_MARKS,
      .url = gateway_url,
      .casts = {"", "", "", "", "", ""},
      .rows_10000 =
          "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 10000) "
          "SELECT x FROM c",
      .slow =
          "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT max(x) FROM c",
      .brief = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 3000) "
               "SELECT max(x) FROM c",
      .wrong = "SELEC 1",
      .fail_prepare = "CREATE TABLE IF NOT EXISTS cenote_fail (a integer NOT NULL)",
      .fail_transaction = "INSERT OR ROLLBACK INTO cenote_fail VALUES (NULL)",
      .literal_question = "SELECT '?"
                          "?' = '?' || '?'" /* no trigraph */,
      .dirt = {{"CREATE TEMP TABLE cenote_temp (a)", "SELECT count(*) FROM temp.sqlite_schema"},
               {"PRAGMA cache_size = 123", "PRAGMA cache_size"},
               {"PRAGMA foreign_keys = 0", "PRAGMA foreign_keys"},
               {NULL, NULL}},
  };
  if (!scratch_open()) {
    return 1;
  }
  const char *const args[] = {"--url", scratch_url(), NULL};
  driver.shared_new = shared_new;
  int failed = 1;
  if (serve_fixture_start(&serve, args)) {
    failed = conformance_run(&subject);
    if (!serve_fixture_stop(&serve)) {
      fprintf(stderr, "the gateway did not end well\n");
      failed = 1;
    }
  }
  scratch_close();
  return failed;
}
