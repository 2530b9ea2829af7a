/*
 * rows_sqlite.h - the subject of pool_rows.h for databases with SQLite's dialect: its texts, and the
 * table that its writers fill. Main thread.
 */
#ifndef TEST_ROWS_SQLITE_H
#define TEST_ROWS_SQLITE_H

#include "fault/pool_rig.h"
#include "integration/pool_rows.h"

static inline struct rows_subject rows_of_sqlite(const char *url, bool routed)
{
  return (struct rows_subject){
      .routed = routed,
      .url = url,
      .one = "select $1",
      .many = "with recursive c(i) as (select 1 union all select i + 1 from c where i < $2) "
              "select $1, i from c where i <= $2",
      .slow = "with recursive c(i) as (select 1 union all select i + 1 from c where i < $2 * 3000) "
              "select $1, max(i) from c",
      .wrong = "select $1, abs(-9223372036854775807 - 1)",
      .insert = "insert into ledger (tag, thread, number) values ($1, $2, $3)",
      .look = "select tag from ledger where tag = $1",
  };
}

/* An empty table, then the run. */
static inline void rows_run_on_sqlite(const struct rows_subject *subject)
{
  static struct rig rig;
  rig_open(&rig, subject->url, NULL);
  const cenote_lease lease = rig_acquire(rig.manager, "prepare");
  rig_must_run(
      lease,
      "create table if not exists ledger (tag text primary key, thread int not null, number int "
      "not null)");
  rig_must_run(lease, "delete from ledger");
  rig_release(lease);
  rig_close(&rig);
  rows_run(subject, 4);
}

#endif
