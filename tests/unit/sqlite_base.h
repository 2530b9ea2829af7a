/*
 * sqlite_base.h - a manager on a SQLite database of the test's own, with one table. For tests that
 * want a real database where any will do; main calls scratch_open and scratch_close.
 */
#ifndef SQLITE_BASE_H
#define SQLITE_BASE_H

#include "manager_help.h"

#include "driver/scratch.h"

/* With a table t (a INTEGER PRIMARY KEY, b). */
struct base {
  struct notes notes;
  cenote_manager *manager;
  cenote_error error;
};

static inline void base_open(struct base *base)
{
  const cenote_setting settings[] = {{"min_connections", "0"}, {"max_connections", "3"}};
  cenote_options options = CENOTE_OPTIONS_INIT;
  notes_init(&base->notes);
  options.settings = settings;
  options.settings_count = 2;
  options.log = note_log;
  options.log_context = &base->notes;
  base->error = (cenote_error)CENOTE_ERROR_INIT;
  must(cenote_open(scratch_url(), &options, &base->manager, &base->error), &base->error);
  cenote_lease lease = must_acquire(base->manager, "schema");
  must_run(lease, "CREATE TABLE t (a INTEGER PRIMARY KEY, b)");
  must_release(lease);
}

static inline void base_close(struct base *base)
{
  cenote_close(base->manager);
  notes_deinit(&base->notes);
}

static inline int64_t rows_in(cenote_manager *manager)
{
  cenote_lease lease = must_acquire(manager, "count");
  const int64_t rows = must_read(lease, "SELECT count(*) FROM t");
  must_release(lease);
  return rows;
}

#endif
