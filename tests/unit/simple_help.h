/* simple_help.h - what the tests of the simple path share: a place (manager_help.h), and statements
 * that go straight to the shared connections. */
#ifndef SIMPLE_HELP_H
#define SIMPLE_HELP_H

#include "unit/manager_help.h"

#include "manager/manager.h"
#include "manager/simple.h"
#include "manager/simple_inside.h"

/* What became of one statement. */
struct told {
  cenote_status status;
  struct simple_outcome outcome;
  cenote_error error;
  bool has_value;
  int64_t value; /* of the first column of the first row */
};

static inline struct simple_request request_for(const char *sql, bool read_only, int64_t ms)
{
  return (struct simple_request){.sql = sql,
                                 .sql_size = strlen(sql),
                                 .read_only = read_only,
                                 .deadline_ns = cen_deadline_ns(cen_now_ns(), ms)};
}

static inline void note_result(struct told *told, cenote_result *result)
{
  told->has_value = result != NULL && cenote_result_rows(result) > 0;
  told->value = told->has_value ? cenote_result_integer(result, 0, 0) : 0;
  cenote_result_free(result);
}

static inline struct told ask(cenote_manager *manager, const char *sql, bool read_only, int64_t ms)
{
  struct told told = {.error = CENOTE_ERROR_INIT};
  const struct simple_request request = request_for(sql, read_only, ms);
  cenote_result *result;
  told.status = simple_query(manager, &request, &result, &told.outcome, &told.error);
  note_result(&told, result);
  return told;
}

static inline struct told read_for(cenote_manager *manager, const char *sql)
{
  return ask(manager, sql, true, PATIENCE_MS);
}

static inline struct told write_for(cenote_manager *manager, const char *sql)
{
  return ask(manager, sql, false, PATIENCE_MS);
}

static inline void must_say(cenote_manager *manager, bool read_only, int64_t number)
{
  char sql[64];
  snprintf(sql, sizeof sql, "SELECT %lld", (long long)number);
  const struct told told = ask(manager, sql, read_only, PATIENCE_MS);
  must(told.status, &told.error);
  assert_true(told.has_value);
  assert_int_equal(told.value, number);
}

/* A statement on a thread of its own. */
struct asker {
  cenote_manager *manager;
  const char *sql;
  bool read_only;
  int64_t ms;
  struct told told;
  pthread_t thread;
  _Atomic bool over;
};

static inline void *ask_alone(void *context)
{
  struct asker *asker = context;
  asker->told = ask(asker->manager, asker->sql, asker->read_only, asker->ms);
  atomic_store(&asker->over, true);
  return NULL;
}

static inline void asker_start(struct asker *asker, cenote_manager *manager, const char *sql,
                               bool read_only, int64_t ms)
{
  memset(asker, 0, sizeof *asker);
  asker->manager = manager;
  asker->sql = sql;
  asker->read_only = read_only;
  asker->ms = ms;
  asker->thread = start_thread(ask_alone, asker);
}

static inline struct told *asker_end(struct asker *asker)
{
  assert_int_equal(pthread_join(asker->thread, NULL), 0);
  return &asker->told;
}

static inline struct pipeline_picture picture_of(cenote_manager *manager)
{
  struct pipeline_picture picture;
  pipeline_look(&manager->simple->set, &picture);
  return picture;
}

static inline void books_agree(cenote_manager *manager)
{
  const char *wrong = pipeline_check(&manager->simple->set);
  if (wrong != NULL) {
    fail_msg("%s", wrong);
  }
}

#endif
