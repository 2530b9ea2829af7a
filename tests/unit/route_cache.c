/* route_cache.c - verdicts are remembered by text, within a ceiling, and corrections for good;
 * many threads at once. */
#include "manager/route.h"
#include "sql/verdict.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct cen_route *route_new(enum cen_route_database database)
{
  struct cen_route *route;
  assert_int_equal(cen_route_new(database, NULL, &route, NULL), CENOTE_OK);
  return route;
}

static struct cen_verdict judge(struct cen_route *route, const char *sql)
{
  return cen_route_judge(route, sql, strlen(sql));
}

static void a_remembered_verdict_is_the_same(void **state)
{
  static const char *const statements[] = {"select 1",   "insert into t values (1)",
                                           "begin",      "selec",
                                           "select f()", "select * from t where id = ?"};
  struct cen_route *route = route_new(CEN_ROUTE_POSTGRES);
  (void)state;
  for (size_t i = 0; i < sizeof(statements) / sizeof(*statements); i++) {
    struct cen_verdict first = judge(route, statements[i]);
    struct cen_verdict again = judge(route, statements[i]);
    assert_int_equal(first.shareable, again.shareable);
    assert_int_equal(first.read_only, again.read_only);
    assert_ptr_equal(first.why, again.why);
  }
  cen_route_free(route);
}

/* Texts that are alike in their first bytes, their last bytes, or their length. */
static void texts_are_not_mistaken_for_each_other(void **state)
{
  struct cen_route *route = route_new(CEN_ROUTE_POSTGRES);
  char sql[300];
  (void)state;
  for (int round = 0; round < 2; round++) {
    for (size_t size = 0; size < 200; size++) {
      snprintf(sql, sizeof(sql), "select %*d", (int)size + 1, 7);
      assert_true(judge(route, sql).read_only);
      snprintf(sql, sizeof(sql), "select %*s()", (int)size + 1, "f");
      assert_false(judge(route, sql).shareable);
      snprintf(sql, sizeof(sql), "delete from %*s", (int)size + 1, "f");
      assert_true(judge(route, sql).shareable);
      assert_false(judge(route, sql).read_only);
    }
  }
  cen_route_free(route);
}

static void more_texts_than_there_is_room_for_are_judged_all_the_same(void **state)
{
  struct cen_route *route = route_new(CEN_ROUTE_POSTGRES);
  char sql[100];
  (void)state;
  for (int i = 0; i < 12000; i++) {
    snprintf(sql, sizeof(sql), i % 2 ? "select %d" : "insert into t values (%d)", i);
    assert_int_equal(judge(route, sql).read_only, i % 2);
    assert_true(judge(route, "select 1").read_only); /* stays: it is asked for all the time */
  }
  cen_route_free(route);
}

static void large_texts_push_out_small_ones_and_each_other(void **state)
{
  struct cen_route *route = route_new(CEN_ROUTE_SQLITE);
  static char sql[CEN_VERDICT_TEXT + 100];
  (void)state;
  for (int i = 0; i < 400; i++) {
    int at = snprintf(sql, sizeof(sql), "select %d, '", i);
    memset(sql + at, 'x', (size_t)(CEN_VERDICT_TEXT - at - 1));
    sql[CEN_VERDICT_TEXT - 1] = '\'';
    assert_true(cen_route_judge(route, sql, CEN_VERDICT_TEXT).read_only);
  }
  cen_route_free(route);
}

/* Too long for PostgreSQL's grammar; SQLite's are judged, though not remembered. */
static void texts_too_long_to_be_remembered_are_judged_by_the_scanner_alone(void **state)
{
  struct cen_route *postgres = route_new(CEN_ROUTE_POSTGRES);
  struct cen_route *sqlite = route_new(CEN_ROUTE_SQLITE);
  static char sql[CEN_VERDICT_TEXT + 1];
  (void)state;
  memset(sql, ' ', sizeof(sql));
  memcpy(sql, "select 1", 8);
  assert_true(cen_route_judge(postgres, sql, CEN_VERDICT_TEXT).read_only);
  assert_false(cen_route_judge(postgres, sql, CEN_VERDICT_TEXT + 1).shareable);
  assert_true(cen_route_judge(sqlite, sql, CEN_VERDICT_TEXT + 1).read_only);
  cen_route_not_read_only(sqlite, sql, CEN_VERDICT_TEXT + 1);
  assert_false(cen_route_judge(sqlite, sql, CEN_VERDICT_TEXT + 1).read_only);
  assert_true(cen_route_judge(sqlite, sql, CEN_VERDICT_TEXT + 1).shareable);
  cen_route_free(postgres);
  cen_route_free(sqlite);
}

static void a_correction_is_for_good(void **state)
{
  static const char hidden[] = "select * from a_view_that_writes";
  struct cen_route *route = route_new(CEN_ROUTE_POSTGRES);
  struct cen_verdict verdict;
  char sql[100];
  (void)state;
  assert_true(judge(route, hidden).read_only);
  cen_route_not_read_only(route, hidden, strlen(hidden));
  for (int i = 0; i < 6000; i++) {
    if (i % 500 == 0) { /* remembered, then pushed out and judged anew */
      verdict = judge(route, hidden);
      assert_false(verdict.read_only);
      assert_true(verdict.shareable);
      assert_string_equal(verdict.why, "the database refused it as a read");
    }
    snprintf(sql, sizeof(sql), "select %d", i);
    assert_true(judge(route, sql).read_only);
  }
  cen_route_not_read_only(route, "select 'never seen'", 19);
  assert_false(judge(route, "select 'never seen'").read_only);
  cen_route_not_read_only(route, "begin", 5);
  assert_string_equal(judge(route, "begin").why, "transaction control");
  cen_route_free(route);
}

/* `?` is a placeholder in the one and an operator in the other. */
static void a_text_sent_as_it_is_has_a_verdict_of_its_own(void **state)
{
  static const char mark[] = "select a ? from t";
  static const char plain[] = "select a from t where b = $1";
  (void)state;
  for (int first = 0; first < 2; first++) {
    struct cen_route *route = route_new(CEN_ROUTE_POSTGRES);
    struct cen_route *sqlite = route_new(CEN_ROUTE_SQLITE);
    for (int i = 0; i < 4; i++) {
      bool native = (i + first) % 2 != 0;
      assert_int_equal(
          cen_route_judge_as(route, "select a from t where b = ?", 27, native).shareable, !native);
      assert_true(cen_route_judge_as(route, plain, strlen(plain), native).read_only);
      assert_false(cen_route_judge_as(route, mark, strlen(mark), native).shareable);
      assert_true(cen_route_judge_as(sqlite, "select ?", 8, native).read_only);
    }
    /* and so has a correction, where they differ */
    cen_route_not_read_only_as(route, plain, strlen(plain), true);
    cen_route_not_read_only_as(sqlite, "select ?", 8, true);
    assert_false(cen_route_judge_as(route, plain, strlen(plain), true).read_only);
    assert_true(cen_route_judge_as(route, plain, strlen(plain), false).read_only);
    assert_false(cen_route_judge_as(sqlite, "select ?", 8, false).read_only);
    assert_false(cen_route_judge_as(route, "select 1; select 2", 18, true).shareable);
    assert_false(cen_route_judge_as(route, " ", 1, true).shareable);
    assert_false(cen_route_judge_as(route, "", 0, true).shareable);
    cen_route_free(route);
    cen_route_free(sqlite);
  }
}

static void hints_only_make_things_safer(void **state)
{
  static const cenote_hint own[] = {CENOTE_HINT_TRANSACTION, CENOTE_HINT_COMPLEX, CENOTE_HINT_POOL};
  static const cenote_hint text[] = {CENOTE_HINT_NONE, CENOTE_HINT_QUERY, CENOTE_HINT_SIMPLE};
  struct cen_verdict plain = {.shareable = true, .read_only = true, .why = "a plain SELECT"};
  struct cen_verdict unknown = {.why = "SET"};
  (void)state;
  for (size_t i = 0; i < 3; i++) {
    struct cen_verdict hinted = cen_route_apply_hint(plain, own[i]);
    assert_false(hinted.shareable);
    assert_true(hinted.read_only);
    assert_string_equal(hinted.why, "the caller's hint");
    hinted = cen_route_apply_hint(unknown, own[i]);
    assert_false(hinted.shareable);
    assert_false(hinted.read_only);
    assert_string_equal(hinted.why, "SET");
    hinted = cen_route_apply_hint(plain, text[i]);
    assert_true(hinted.shareable);
    assert_true(hinted.read_only);
    assert_false(cen_route_apply_hint(unknown, text[i]).shareable);
  }
  assert_false(cen_route_apply_hint(plain, (cenote_hint)99).shareable);
}

static void an_unknown_database_has_no_verdicts(void **state)
{
  struct cen_route *route = route_new(CEN_ROUTE_UNKNOWN);
  (void)state;
  assert_false(judge(route, "select 1").shareable);
  assert_false(judge(route, "select 1").read_only);
  cen_route_not_read_only(route, "select 1", 8);
  cen_route_free(route);
  cen_route_free(NULL);
}

enum { THREADS = 8, ROUNDS = 1500 };

struct crowd {
  struct cen_route *route;
  atomic_int next;
  atomic_int wrong;
};

static void *join_crowd(void *context)
{
  struct crowd *crowd = context;
  int self = atomic_fetch_add(&crowd->next, 1);
  char sql[100];
  for (int i = 0; i < ROUNDS; i++) {
    int kind = (i + self) % 4;
    snprintf(sql, sizeof(sql), kind == 3 ? "insert into t values (%d)" : "select %d",
             kind == 0 ? 1 : i * THREADS + self);
    struct cen_verdict verdict = judge(crowd->route, sql);
    if (!verdict.shareable || verdict.read_only != (kind != 3)) {
      atomic_fetch_add(&crowd->wrong, 1);
    }
    if (kind == 2 && i % 64 == 0) {
      snprintf(sql, sizeof(sql), "select 'corrected %d'", i % 256);
      cen_route_not_read_only(crowd->route, sql, strlen(sql));
      if (judge(crowd->route, sql).read_only) {
        atomic_fetch_add(&crowd->wrong, 1);
      }
    }
  }
  return NULL;
}

static void a_crowd_of_threads_gets_the_right_verdicts(void **state)
{
  struct crowd crowd = {.route = route_new(CEN_ROUTE_POSTGRES)};
  pthread_t threads[THREADS];
  (void)state;
  for (size_t i = 0; i < THREADS; i++) {
    assert_int_equal(pthread_create(&threads[i], NULL, join_crowd, &crowd), 0);
  }
  for (size_t i = 0; i < THREADS; i++) {
    pthread_join(threads[i], NULL);
  }
  assert_int_equal(crowd.wrong, 0);
  cen_route_free(crowd.route);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_remembered_verdict_is_the_same),
      cmocka_unit_test(texts_are_not_mistaken_for_each_other),
      cmocka_unit_test(a_text_sent_as_it_is_has_a_verdict_of_its_own),
      cmocka_unit_test(more_texts_than_there_is_room_for_are_judged_all_the_same),
      cmocka_unit_test(large_texts_push_out_small_ones_and_each_other),
      cmocka_unit_test(texts_too_long_to_be_remembered_are_judged_by_the_scanner_alone),
      cmocka_unit_test(a_correction_is_for_good),
      cmocka_unit_test(hints_only_make_things_safer),
      cmocka_unit_test(an_unknown_database_has_no_verdicts),
      cmocka_unit_test(a_crowd_of_threads_gets_the_right_verdicts),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
