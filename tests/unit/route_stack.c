/* route_stack.c - the deepest statements that are parsed need no more than 64 KiB of stack;
 * deeper ones are refused before the parser sees them, whatever makes them deep. */
#include "base/sanitized.h"
#include "sql/grammar.h"
#include "sql/verdict.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { STACK = 512 << 10, PROMISED = 64 << 10, PATTERN = 0xa5 };

/* prefix, n times `open`, middle, n times `close` */
struct form {
  const char *prefix, *open, *middle, *close;
};

static const struct form forms[] = {
    {"select 1", "+1", "", ""},
    {"select 1", "::\"t\"", "", ""},
    {"select ", "not ", "\"a\"", ""},
    {"select ", "- ", "1", ""},
    {"select ", "@ ", "1", ""},
    {"select \"a\"", " isnull", "", ""},
    {"select \"a\"", " is null", "", ""},
    {"select \"a\"", " is not distinct from 1", "", ""},
    {"select \"a\"", " between 1 and 2 isnull", "", ""},
    {"select \"a\"", " collate \"c\"", "", ""},
    {"select \"a\"", " at time zone 'u'", "", ""},
    {"select \"a\"", " like 'u'", "", ""},
    {"select \"a\"", " operator(\"x\".+) 1", "", ""},
    {"select 1", "^1", "", ""},
    {"select ", "(", "1", ")"},
    {"select ", "((", "1", ")+1)"},
    {"", "(select ", "1", ")"},
    {"select ", "(select ", "1", ")"},
    {"select ", "(values(", "1", "))"},
    {"select ", "(table \"x\" union select ", "1", ")"},
    {"select 1", " union select 1", "", ""},
    {"select 1,1", " union select 1,1", "", ""},
    {"table \"a\"", " except table \"a\"", "", ""},
    {"select 1", " union (select 1", "", ")"},
    {"select 1 from a", " natural join \"b\"", "", ""},
    {"select 1 from a", " join \"b\" using (\"x\")", "", ""},
    {"select 1 from a", " cross join (\"a\"", " cross join b", ")"},
    {"select 1 from ", "(", "a", " natural join b)"},
    {"select ", "\"f\"(", "1", ")"},
    {"select ", "case \"a\" when ", "1", " then 1 end"},
    {"select ", "case when ", "1", " then 1 end"},
    {"select ", "(", "\"a\"", ").\"b\""},
    {"select ", "\"a\"[", "1", "]"},
    {"select \"a\"", "[1]", "", ""},
    {"select ", "array[", "1", "]"},
    {"select array", "[", "1", "]"},
    {"select ", "array(select ", "1", ")"},
    {"select ", "(1,", "1", ")"},
    {"select ", "row(", "1", ")"},
    {"select ", "1 in (", "1", ")"},
    {"select ", "1 = any(select ", "1", ")"},
    {"select ", "1 = any(", "1", ")"},
    {"select ", "exists(select ", "1", ")"},
    {"select * from ", "(select * from ", "\"a\"", ") \"x\""},
    {"select * from ", "(table ", "\"a\"", ") \"x\""},
    {"", "with \"x\" as (", "select 1", ") select 1"},
    {"", "with \"x\" as (", "select 1", ") table \"x\""},
    {"select ", "\"f\"() over (order by ", "1", ")"},
    {"select ", "\"f\"() filter (where ", "1", ")"},
    {"select ", "\"f\"(\"a\" => ", "1", ")"},
    {"select ", "xmlelement(name \"a\", ", "1", ")"},
    {"select ", "coalesce(", "1", ")"},
    {"select ", "greatest(", "1", ")"},
    {"select ", "cast(", "1", " as \"t\")"},
    {"select ", "interval(", "1", ") '1'"},
    {"select 1 group by ", "grouping sets (", "1", ")"},
    {"select 1 group by ", "rollup(", "1", ")"},
    {"select 1 from ", "\"f\"(", "1", ")"},
    {"select 1 from ", "lateral (select ", "1", ") \"x\""},
    {"update a set ", "b = (select ", "1", ")"},
    {"select 1", " or 1", "", ""},
    {"select 1", " and not 1 or 1", "", ""},
    {"select 1 limit ", "(select 1 limit ", "1", ")"},
    {"select 1 order by ", "(select 1 order by ", "1", ")"},
    {"select 1 where ", "1 in (select 1 where ", "true", ")"},
    {"explain ", "(", "select 1", ")"},
};

static char *write_form(const struct form *form, size_t n)
{
  size_t size = strlen(form->prefix) + n * (strlen(form->open) + strlen(form->close)) +
                strlen(form->middle) + 1;
  char *text = malloc(size);
  char *at = text;
  assert_non_null(text);
  at += snprintf(at, size, "%s", form->prefix);
  for (size_t i = 0; i < n; i++) {
    at += snprintf(at, size - (size_t)(at - text), "%s", form->open);
  }
  at += snprintf(at, size - (size_t)(at - text), "%s", form->middle);
  for (size_t i = 0; i < n; i++) {
    at += snprintf(at, size - (size_t)(at - text), "%s", form->close);
  }
  return text;
}

/* The most repetitions that are still parsed; `most` when there is no end. */
static size_t deepest(const struct form *form, size_t most)
{
  size_t low = 1;
  size_t high = most;
  while (low < high) {
    size_t n = low + (high - low + 1) / 2;
    char *text = write_form(form, n);
    size_t size = strlen(text);
    if (size <= CEN_VERDICT_TEXT && cen_grammar_depth(text, size) <= CEN_GRAMMAR_DEPTH) {
      low = n;
    } else {
      high = n - 1;
    }
    free(text);
  }
  return low;
}

static void *judge(void *text)
{
  (void)cen_verdict_postgres(text, strlen(text), NULL);
  return NULL;
}

/* How much of a stack the verdict touches. */
static size_t stack_of(char *text)
{
  unsigned char *stack = aligned_alloc(4096, STACK);
  pthread_attr_t attributes;
  pthread_t thread;
  size_t untouched = 0;
  assert_non_null(stack);
  memset(stack, PATTERN, STACK);
  pthread_attr_init(&attributes);
  assert_int_equal(pthread_attr_setstack(&attributes, stack, STACK), 0);
  assert_int_equal(pthread_create(&thread, &attributes, judge, text), 0);
  pthread_join(thread, NULL);
  pthread_attr_destroy(&attributes);
  while (untouched < STACK && stack[untouched] == PATTERN) {
    untouched++;
  }
  free(stack);
  return STACK - untouched;
}

static void the_deepest_statements_fit_into_64_kib_of_stack(void **state)
{
  size_t most = 0;
  (void)state;
  for (size_t i = 0; i < sizeof(forms) / sizeof(*forms); i++) {
    size_t n = deepest(&forms[i], 20000);
    char *text = write_form(&forms[i], n);
    size_t used = stack_of(text);
    if (getenv("VERBOSE")) {
      print_message("# %6zu bytes, %5zu times: %.60s\n", used, n, text);
    }
    if (!CEN_SANITIZED && used > PROMISED) {
      fail_msg("%zu bytes of stack for %zu times %s", used, n, forms[i].open);
    }
    most = used > most ? used : most;
    free(text);
  }
  assert_true(most > 8 << 10); /* the measurement sees something */
}

static void absurdly_deep_statements_are_unknown(void **state)
{
  (void)state;
  for (size_t i = 0; i < sizeof(forms) / sizeof(*forms); i++) {
    char *text = write_form(&forms[i], 16000 / (strlen(forms[i].open) + strlen(forms[i].close)));
    struct cen_sql_verdict verdict = cen_verdict_postgres(text, strlen(text), NULL);
    if (cen_grammar_depth(text, strlen(text)) > CEN_GRAMMAR_DEPTH) {
      assert_false(verdict.shareable);
      assert_false(verdict.read_only);
      assert_string_equal(verdict.why, "too long or too deep to be parsed");
    }
    free(text);
  }
}

static void wide_statements_are_parsed(void **state)
{
  static const struct form wide[] = {
      {"select 1 where a in (1", ",?", ")", ""},
      {"insert into t values (1,2)", ",(?,now())", "", ""},
      {"select a", ",lower(t.b)", " from t", ""},
      {"select 1 where a = 1", " or $1", "", ""},
  };
  (void)state;
  for (size_t i = 0; i < sizeof(wide) / sizeof(*wide); i++) {
    char *text = write_form(&wide[i], 1400);
    struct cen_sql_verdict verdict = cen_verdict_postgres(text, strlen(text), NULL);
    if (!verdict.shareable) {
      fail_msg("%s: %.60s", verdict.why, text);
    }
    free(text);
  }
}

static void an_ordinary_long_report_is_parsed(void **state)
{
  static const char report[] =
      "with recent as (select o.id, o.user_id, o.total from orders o where o.created_at >= $1 and o.created_at < $2), "
      "spent as (select r.user_id, sum(r.total) as total, count(*) filter (where r.total > 100) as large from recent r "
      "group by r.user_id) select u.id, u.name, coalesce(s.total, 0) as total, case when s.large > 10 then 'gold' when "
      "s.large > 5 then 'silver' else 'plain' end as class, rank() over (partition by u.country order by s.total desc) "
      "from users u left join spent s on s.user_id = u.id join countries c on c.code = u.country left join regions g on "
      "g.id = c.region_id where u.active and u.deleted_at is null and (u.name ilike $3 or u.email ilike $3) and "
      "u.country = any($4) and not exists (select 1 from blocks b where b.user_id = u.id and b.until > now()) and "
      "g.name <> 'test' and extract(year from u.created_at) >= 2020 order by total desc nulls last limit 50 offset $5";
  struct cen_sql_verdict verdict = cen_verdict_postgres(report, sizeof(report) - 1, NULL);
  (void)state;
  assert_string_equal(verdict.why, "a plain SELECT");
  assert_true(cen_grammar_depth(report, sizeof(report) - 1) < CEN_GRAMMAR_DEPTH);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_deepest_statements_fit_into_64_kib_of_stack),
      cmocka_unit_test(absurdly_deep_statements_are_unknown),
      cmocka_unit_test(wide_statements_are_parsed),
      cmocka_unit_test(an_ordinary_long_report_is_parsed),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
