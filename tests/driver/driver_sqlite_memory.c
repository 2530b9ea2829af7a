/* The conformance suite on the one SQLite database in memory. */
#include "driver/conformance.h"

extern const cenote_driver cen_driver_sqlite;

static const char *memory_url(void)
{
  return "sqlite::memory:";
}

static const struct subject subject = {
    .driver = &cen_driver_sqlite,
    .has = HAS_TABLES | HAS_RAW_TEXT | HAS_NAMED_ARGUMENTS | HAS_READ_ONLY | HAS_QUESTION_MARKS,
    .url = memory_url,
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
             {"CREATE TEMP VIEW cenote_view AS SELECT 1",
              "SELECT count(*) FROM temp.sqlite_schema"},
             {"PRAGMA foreign_keys = 0", "PRAGMA foreign_keys"},
             {"ATTACH ':memory:' AS other", "SELECT count(*) FROM pragma_database_list"},
             {NULL, NULL}},
};

int main(void)
{
  return conformance_run(&subject);
}
