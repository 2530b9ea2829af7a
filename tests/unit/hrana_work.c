/* hrana_work.c - the threads of Hrana's streams, and what its part reads from a statement's text. */
#include "server/hrana_sql.h"
#include "server/hrana_work.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t moved = PTHREAD_COND_INITIALIZER;
static unsigned arrived;

enum { TOGETHER = 20 };

/* Nobody goes on before all have come: each needs a thread of its own. */
static void meet(struct hrana_job *job)
{
  (void)job;
  pthread_mutex_lock(&lock);
  arrived++;
  pthread_cond_broadcast(&moved);
  while (arrived < TOGETHER) {
    pthread_cond_wait(&moved, &lock);
  }
  pthread_mutex_unlock(&lock);
}

static void a_job_never_waits_for_another(void **state)
{
  (void)state;
  struct hrana_job jobs[TOGETHER];
  struct hrana_work *work = hrana_work_new();
  assert_non_null(work);
  arrived = 0;
  for (size_t i = 0; i < TOGETHER; i++) {
    jobs[i].run = meet;
    assert_true(hrana_work_give(work, &jobs[i]));
  }
  hrana_work_free(work);
  assert_int_equal(arrived, TOGETHER);
  hrana_work_free(NULL);
}

struct counted {
  struct hrana_job job;
  _Atomic unsigned *count;
};

static void count(struct hrana_job *job)
{
  struct counted *counted = CEN_CONTAINER(job, struct counted, job);
  _Atomic unsigned *total = counted->count;
  free(counted);
  atomic_fetch_add(total, 1);
}

static void jobs_one_after_the_other_use_few_threads_and_all_run_before_the_end(void **state)
{
  (void)state;
  _Atomic unsigned total = 0;
  struct hrana_work *work = hrana_work_new();
  assert_non_null(work);
  for (unsigned i = 0; i < 2000; i++) {
    struct counted *counted = malloc(sizeof *counted);
    assert_non_null(counted);
    *counted = (struct counted){.job = {.run = count}, .count = &total};
    assert_true(hrana_work_give(work, &counted->job));
    while (i < 1000 && atomic_load(&total) < i + 1) {
      sched_yield();
    }
    if (i == 999) {
      assert_true(hrana_work_threads(work) <= 16); /* few; not one each, though some were slow */
    }
  }
  hrana_work_free(work);
  assert_int_equal(total, 2000);
}

static void texts_are_told_apart(void **state)
{
  (void)state;
  static const struct {
    const char *sql;
    bool plain;
    enum hrana_begin begin;
  } rows[] = {
      {"SELECT 1", true, HRANA_NO_BEGIN},
      {"insert into t values (1)", true, HRANA_NO_BEGIN},
      {"CREATE TABLE t (a)", true, HRANA_NO_BEGIN},
      {"", false, HRANA_NO_BEGIN},
      {"BEGIN", false, HRANA_BEGINS_TO_WRITE},
      {"BEGIN TRANSACTION READONLY", false, HRANA_BEGINS_TO_READ},
      {" /* a */ ; begin\nreadonly", false, HRANA_BEGINS_TO_READ},
      {"BEGIN /* readonly */ IMMEDIATE", false, HRANA_BEGINS_TO_WRITE},
      {"SELECT readonly", true, HRANA_NO_BEGIN},
      {"COMMIT", false, HRANA_NO_BEGIN},
      {"SAVEPOINT readonly", false, HRANA_NO_BEGIN},
      {"PRAGMA foreign_keys = off", false, HRANA_NO_BEGIN},
      {"ATTACH 'x' AS y", false, HRANA_NO_BEGIN},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    const char *sql = rows[i].sql;
    assert_int_equal(hrana_sql_is_plain(sql, strlen(sql)), rows[i].plain);
    assert_int_equal(hrana_sql_begins(sql, strlen(sql)), rows[i].begin);
  }
  assert_true(hrana_sql_may_dirty("CREATE TEMP TABLE t (a)", 23));
  assert_false(hrana_sql_may_dirty("SELECT 1", 8));
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_job_never_waits_for_another),
      cmocka_unit_test(jobs_one_after_the_other_use_few_threads_and_all_run_before_the_end),
      cmocka_unit_test(texts_are_told_apart),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
