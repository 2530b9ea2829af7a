/* route_torture.c - every allocation of the router fails once, the parser's too: the verdict is
 * "unknown" then, nothing leaks, the process lives, and the next time it is known. */
#include "manager/route.h"
#include "support/alloc_torture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const char *const statements[] = {
    "select a, lower(b), c::int from t join u using (x) where d = ? and e in (1, 2, 3) order by 1",
    "with x as (insert into t values (now()) returning *) select * from x where a like 'b' escape 'c'",
    "select from where", /* the parser makes an error */
    "select 'a\\b', E'a\\'b' from \"a name that is longer than the sixty-three bytes that a name may have at most\"",
};

static void route_each(void *context)
{
  struct cen_route *route;
  cenote_status status = cen_route_new(CEN_ROUTE_POSTGRES, "app.slug, mood", &route, NULL);
  (void)context;
  if (status != CENOTE_OK) {
    assert_int_equal(status, CENOTE_NO_MEMORY);
    assert_true(alloc_torture_struck());
    assert_null(route);
    return;
  }
  for (size_t i = 0; i < sizeof(statements) / sizeof(*statements); i++) {
    size_t size = strlen(statements[i]);
    bool before = alloc_torture_struck();
    struct cen_verdict verdict = cen_route_judge(route, statements[i], size);
    assert_non_null(verdict.why);
    if (verdict.shareable != (i != 2)) {
      assert_true(alloc_torture_struck() && !before);
      assert_false(verdict.shareable);
      assert_false(verdict.read_only);
      assert_string_equal(verdict.why, "no memory to judge it");
    }
    if (alloc_torture_struck()) { /* was not remembered */
      assert_int_equal(cen_route_judge(route, statements[i], size).shareable, i != 2);
    }
    cen_route_not_read_only(route, statements[i], size);
  }
  cen_route_free(route);
}

static void no_allocation_that_fails_does_harm(void **state)
{
  (void)state;
  assert_true(alloc_torture(route_each, NULL, ALLOC_TORTURE_BALANCED) > 20);
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(no_allocation_that_fails_does_harm)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
