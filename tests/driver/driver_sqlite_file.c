/* The conformance suite on an SQLite file. */
#include "driver/conformance.h"
#include "driver/scratch.h"

extern const cenote_driver cen_driver_sqlite;

static const struct subject subject = {
    .driver = &cen_driver_sqlite,
    .has = HAS_TABLES | HAS_RAW_TEXT | HAS_NAMED_ARGUMENTS | HAS_READ_ONLY | HAS_QUESTION_MARKS,
    .url = scratch_url,
    .casts = {"", "", "", "", "", ""},
    .rows_10000 = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 10000) "
                  "SELECT x FROM c",
    .slow = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT max(x) FROM c",
    .brief = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 3000) "
             "SELECT max(x) FROM c",
    .wrong = "SELEC 1",
    .fail_prepare = "CREATE TABLE cenote_fail (a integer NOT NULL)",
    .fail_transaction = "INSERT OR ROLLBACK INTO cenote_fail VALUES (NULL)",
    .literal_question = "SELECT '?"
                        "?' = '?' || '?'" /* no trigraph */,
    .dirt = {{"CREATE TEMP TABLE cenote_temp (a)", "SELECT count(*) FROM temp.sqlite_schema"},
             {"PRAGMA cache_size = 123", "PRAGMA cache_size"},
             {"PRAGMA foreign_keys = 0", "PRAGMA foreign_keys"},
             {"ATTACH ':memory:' AS other", "SELECT count(*) FROM pragma_database_list"},
             {NULL, NULL}},
};

int main(void)
{
  int failed;
  if (!scratch_open()) {
    return 1;
  }
  failed = conformance_run(&subject);
  scratch_close();
  return failed;
}
