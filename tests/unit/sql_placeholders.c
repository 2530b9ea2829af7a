/* `?`, `$1`, `??` and names: what becomes of them for each database. */
#include "base/rng.h"
#include "sql/scan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PG CEN_DIALECT_POSTGRES
#define LITE CEN_DIALECT_SQLITE

/* out NULL: nothing changes */
static const struct {
  enum cen_dialect dialect;
  const char *in, *out;
  size_t highest;
} cases[] = {
    {PG, "SELECT 1", NULL, 0},
    {PG, "SELECT $1, $2", NULL, 2},
    {PG, "SELECT $2", NULL, 2},
    {PG, "SELECT $1, $1", NULL, 1},
    {PG, "SELECT ?, ?", "SELECT $1, $2", 2},
    {PG, "SELECT ?2, ?1", "SELECT $2, $1", 2},
    {PG, "a ?? b", "a ? b", 0},
    {PG, "a ??| ?", "a ?| $1", 1},
    {PG, "a ?? $1", "a ? $1", 1},
    {PG, "???", "?$1", 1},
    {PG, "'?' ? \"?\" -- ?\n/* ? /* ? */ */ $$?$$ E'\\'?' ?",
     "'?' $1 \"?\" -- ?\n/* ? /* ? */ */ $$?$$ E'\\'?' $2", 2},
    {PG, "LIMIT?", "LIMIT $1", 1},
    {PG, "a=?AND b=?", "a=$1 AND b=$2", 2},
    {PG, "f(?,?)", "f($1,$2)", 2},
    {PG, "?::int", "$1::int", 1},
    {PG, ":a @b a[1:2]", NULL, 0},
    {PG, "$65535", NULL, 65535},
    {LITE, "SELECT ?, ?", NULL, 2},
    {LITE, "SELECT ?2", NULL, 2},
    {LITE, "SELECT $1, $2", "SELECT ?1, ?2", 2},
    {LITE, "$2AND", NULL, 0},
    {LITE, "1$1", "1 ?1", 1},
    {LITE, ":a, @b, $c", NULL, 0},
    {LITE, ":1", NULL, 0},
    {LITE, "a ?? b", "a ? b", 0},
    {LITE, "'$1' [?] `?` $1", "'$1' [?] `?` ?1", 1},
    {LITE, "a->>'$.x' = $1", "a->>'$.x' = ?1", 1},
};

static void placeholders_become_what_the_database_takes(void **state)
{
  (void)state;
  for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
    char *out;
    size_t highest;
    cenote_error error = CENOTE_ERROR_INIT;
    assert_int_equal(cen_placeholders(cases[i].in, strlen(cases[i].in), cases[i].dialect, &out,
                                      &highest, &error),
                     CENOTE_OK);
    if ((out == NULL) != (cases[i].out == NULL) || (out && strcmp(out, cases[i].out) != 0)) {
      fail_msg("\"%s\" became \"%s\"", cases[i].in, out ? out : "(unchanged)");
    }
    assert_int_equal(highest, cases[i].highest);
    free(out);
  }
}

static void wrong_numbers_and_mixtures_are_refused(void **state)
{
  static const char *const wrong[] = {
      "?, $1", "$1, ?", "?, ?1", "$0", "?0", "$65536", "$99999999999999999999999999", "a ? b = $1"};
  (void)state;
  for (size_t i = 0; i < 2 * sizeof(wrong) / sizeof(*wrong); i++) {
    const char *sql = wrong[i / 2];
    char *out;
    size_t highest;
    cenote_error error = CENOTE_ERROR_INIT;
    assert_int_equal(cen_placeholders(sql, strlen(sql), i & 1 ? PG : LITE, &out, &highest, &error),
                     CENOTE_INVALID);
    assert_null(out);
    assert_int_equal(highest, 0);
    assert_true(strlen(error.message) > 10);
  }
}

/* Everything but placeholders comes through byte by byte, and the new text has as many. */
static void rewriting_touches_nothing_else(void **state)
{
  static const char *const pieces[] = {"?",       "'?'", "'a''?'", "\"?\"", "-- ?\n", "/* ? */",
                                       "$$?$$",   " ",   "a",      ",",     "??",     "E'\\'?'",
                                       "$a$?$a$", "=",   "::",     "(",     "1"};
  struct cen_rng rng;
  (void)state;
  cen_rng_seed(&rng, 7);
  for (int round = 0; round < 20000; round++) {
    char text[256] = "";
    char *out;
    size_t highest;
    size_t bare = 0;
    for (size_t n = cen_rng_below(&rng, 12); n > 0; n--) {
      const char *piece = pieces[cen_rng_below(&rng, sizeof(pieces) / sizeof(*pieces))];
      strncat(text, piece, sizeof(text) - strlen(text) - 1);
      strncat(text, " ", sizeof(text) - strlen(text) - 1);
      bare += strcmp(piece, "?") == 0;
    }
    assert_int_equal(cen_placeholders(text, strlen(text), PG, &out, &highest, NULL), CENOTE_OK);
    assert_int_equal(highest, bare);
    if (!out) {
      continue;
    }
    struct cen_scanner before;
    struct cen_scanner after;
    struct cen_token old;
    struct cen_token new;
    cen_scan_init(&before, text, strlen(text), PG);
    cen_scan_init(&after, out, strlen(out), PG);
    while (cen_scan_next(&before, &old) != CEN_TOKEN_END) {
      cen_scan_next(&after, &new);
      if (old.kind == CEN_TOKEN_QUESTION) {
        assert_int_equal(new.kind, CEN_TOKEN_PLACEHOLDER); /* a lone "?", an operator there */
      } else {
        assert_int_equal(new.kind, old.kind);
      }
      if (old.kind != CEN_TOKEN_PLACEHOLDER && old.kind != CEN_TOKEN_QUESTION) {
        assert_int_equal(new.size, old.size);
        assert_memory_equal(new.start, old.start, old.size);
      }
    }
    assert_int_equal(cen_scan_next(&after, &new), CEN_TOKEN_END);
    free(out);
  }
}

static void sixty_five_thousand_placeholders_are_the_ceiling(void **state)
{
  enum { CEILING = 65535 };
  char *sql = malloc(2 * (CEILING + 1) + 1);
  char *out;
  size_t highest;
  cenote_error error = CENOTE_ERROR_INIT;
  (void)state;
  assert_non_null(sql);
  for (size_t i = 0; i <= CEILING; i++) {
    memcpy(sql + 2 * i, "?,", 2);
  }
  assert_int_equal(cen_placeholders(sql, 2 * CEILING, PG, &out, &highest, &error), CENOTE_OK);
  assert_int_equal(highest, CEILING);
  assert_non_null(strstr(out, "$65535"));
  free(out);
  assert_int_equal(cen_placeholders(sql, 2 * (CEILING + 1), PG, &out, &highest, &error),
                   CENOTE_TOO_LARGE);
  free(sql);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(placeholders_become_what_the_database_takes),
      cmocka_unit_test(wrong_numbers_and_mixtures_are_refused),
      cmocka_unit_test(rewriting_touches_nothing_else),
      cmocka_unit_test(sixty_five_thousand_placeholders_are_the_ceiling),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
