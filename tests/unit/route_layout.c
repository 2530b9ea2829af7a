/*
 * The grammar's thread-local variables lie where those of the program push them: at multiples of their
 * own alignment, and no better. Built twice, 8 bytes apart: one of the two dies where the code takes
 * more for granted, which only an optimised build does.
 */
#include "sql/verdict.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static _Thread_local void *volatile places[PLACES];

static void a_statement_is_judged_wherever_its_thread_keeps_its_variables(void **state)
{
  static const char sql[] = "select name from users where id = $1";
  for (size_t i = 0; i < PLACES; i++) {
    places[i] = state;
  }
  assert_true(cen_verdict_postgres(sql, strlen(sql), NULL).shareable);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_statement_is_judged_wherever_its_thread_keeps_its_variables),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
