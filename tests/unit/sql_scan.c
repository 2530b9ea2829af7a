/*
 * The scanner: where tokens begin and end, table-driven, and properties over random texts.
 * A case's expectation is one letter a token (see letters) and, after a bar, the tokens.
 */
#include "base/rng.h"
#include "sql/scan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define PG CEN_DIALECT_POSTGRES
#define LITE CEN_DIALECT_SQLITE

static const char letters[] = {
    [CEN_TOKEN_END] = '.',       [CEN_TOKEN_SPACE] = '_',       [CEN_TOKEN_COMMENT] = 'c',
    [CEN_TOKEN_WORD] = 'w',      [CEN_TOKEN_QUOTED_NAME] = 'n', [CEN_TOKEN_STRING] = 's',
    [CEN_TOKEN_NUMBER] = '1',    [CEN_TOKEN_PLACEHOLDER] = '?', [CEN_TOKEN_QUESTION] = 'q',
    [CEN_TOKEN_SEMICOLON] = ';', [CEN_TOKEN_SYMBOL] = '+',
};

static const struct {
  enum cen_dialect dialect;
  const char *sql;
  const char *kinds;
} kinds_cases[] = {
    {PG, "", ""},
    {PG, "SELECT 1", "w_1"},
    {PG, "a$b$c", "w"},
    {PG, "caf\xc3\xa9", "w"},
    {PG, "-- one\n2", "c_1"},
    {PG, "-- ?", "c"},
    {PG, "/* a /* b */ ? */1", "c1"},
    {LITE, "/* a /* b */1", "c1"},
    {PG, "/* a", "c"},
    {PG, "/**/1", "c1"},
    {PG, "1-1", "1+1"},
    {PG, "1--1", "1c"},
    {PG, "1/1", "1+1"},
    {PG, "'it''s'", "s"},
    {PG, "'a' 'b'", "s_s"},
    {PG, "'\\'?'", "s?s"},
    {PG, "E'\\'?'", "s"},
    {PG, "e'\\\\'?", "s?"},
    {LITE, "E'\\'?'", "ws?s"},
    {PG, "E'a'\n  '\\'?'", "s"},
    {PG, "E'a' -- c\n '\\'?'", "s"},
    {PG, "E'a' '\\'?'", "s_s?s"},
    {PG, "B'01' X'ff' N'x' U&'d\\0061' U&\"n\"", "s_s_s_s_n"},
    {LITE, "x'ff'", "s"},
    {PG, "U&x", "w+w"},
    {PG, "\"a\"\"b\"", "n"},
    {PG, "\"a", "n"},
    {LITE, "[a?b]", "n"},
    {PG, "[1]", "+1+"},
    {LITE, "`a``b`", "n"},
    {PG, "$$ ? ; ' $$", "s"},
    {PG, "$a$ $$ $b$ $a$", "s"},
    {PG, "$a$ $A$", "s"},
    {PG, "$1", "?"},
    {PG, "$12$13", "??"},
    {PG, "$1$", "?+"},
    {PG, "$ 1", "+_1"},
    {PG, "$a b", "+w_w"},
    {PG, "a$1", "w"},
    {PG, "$\xc3\xa9$ ? $\xc3\xa9$", "s"},
    {LITE, "$$ $ ", "?_+_"}, /* as SQLite: a dollar sign is a character of a name */
    {LITE, "$1 $a $a::b $a(b)", "?_?_?_?"},
    {LITE, ":a @a :1 :", "?_?_?_+"},
    {LITE, "#a", "+w"},
    {PG, ":a @a", "+w_+w"},
    {PG, "a::int", "w+w"},
    {PG, "a[1:2]", "w+1+1+"},
    {PG, "a[b:c]", "w+w+w+"},
    {LITE, "a[b:c]", "wn"},
    {PG, "?", "?"},
    {PG, "?1 ?23", "?_?"},
    {PG, "??", "q"},
    {PG, "???", "q?"},
    {PG, "????", "qq"},
    {PG, "a ??| b ??& c", "w_q+_w_q+_w"},
    {PG, "a @?? b", "w_+q_w"},
    {PG, "a->>'x'", "w+++s"},
    {PG, "a#>>'{b,c}'", "w+++s"},
    {PG, "1.5 .5 1. 1e3 1.5e-3 1e+ 1_000", "1_1_1_1_1_1w+_1w"},
    {PG, "1..2", "1+1"},
    {PG, "0x1F 0xg", "1_1w"},
    {PG, "a;b", "w;w"},
    {PG, "';';", "s;"},
    {PG, "a.b.c", "w+w+w"},
    {PG, "\t\r\n\f\v ", "_"},
};

static void kinds_of(char *out, size_t capacity, const char *sql, size_t size,
                     enum cen_dialect dialect)
{
  struct cen_scanner scanner;
  struct cen_token token;
  size_t used = 0;
  cen_scan_init(&scanner, sql, size, dialect);
  while (cen_scan_next(&scanner, &token) != CEN_TOKEN_END && used + 1 < capacity) {
    out[used++] = letters[token.kind];
  }
  out[used] = '\0';
}

static void every_kind_of_token_ends_where_the_manuals_say(void **state)
{
  (void)state;
  for (size_t i = 0; i < sizeof(kinds_cases) / sizeof(*kinds_cases); i++) {
    char kinds[64];
    kinds_of(kinds, sizeof(kinds), kinds_cases[i].sql, strlen(kinds_cases[i].sql),
             kinds_cases[i].dialect);
    if (strcmp(kinds, kinds_cases[i].kinds) != 0) {
      fail_msg("case %zu \"%s\": %s instead of %s", i, kinds_cases[i].sql, kinds,
               kinds_cases[i].kinds);
    }
  }
}

static void what_the_end_cuts_is_marked(void **state)
{
  static const char *const cut[] = {"'a",   "\"a",   "/* a",   "/* /* */",
                                    "$$ a", "$a$ $", "E'a\\'", "U&'"};
  static const char *const whole[] = {"'a'", "\"a\"", "/* a */", "$$$$", "E''", "-- a", "''''"};
  struct cen_scanner scanner;
  struct cen_token token;
  (void)state;
  for (size_t i = 0; i < sizeof(cut) / sizeof(*cut); i++) {
    cen_scan_init(&scanner, cut[i], strlen(cut[i]), PG);
    cen_scan_next(&scanner, &token);
    assert_true(token.unterminated);
    assert_int_equal(token.size, strlen(cut[i]));
  }
  for (size_t i = 0; i < sizeof(whole) / sizeof(*whole); i++) {
    cen_scan_init(&scanner, whole[i], strlen(whole[i]), PG);
    cen_scan_next(&scanner, &token);
    assert_false(token.unterminated);
    assert_int_equal(token.size, strlen(whole[i]));
  }
}

static void words_compare_in_any_case_and_only_words(void **state)
{
  struct cen_scanner scanner;
  struct cen_token token;
  (void)state;
  cen_scan_init(&scanner, "SeLeCt", 6, PG);
  cen_scan_next(&scanner, &token);
  assert_true(cen_token_is(&token, "select"));
  assert_false(cen_token_is(&token, "selec"));
  assert_false(cen_token_is(&token, "selects"));
  cen_scan_init(&scanner, "\"select\"", 8, PG);
  cen_scan_next(&scanner, &token);
  assert_false(cen_token_is(&token, "select"));
}

/* Texts of characters that matter, so that quotes and comments meet often. */
static size_t random_text(struct cen_rng *rng, char *out, size_t capacity)
{
  static const char pieces[] = "'\"$$$[]`?:@-/*--;()eEuU&xXaA1.\\ \n\t_\xc3";
  size_t size = cen_rng_below(rng, capacity);
  for (size_t i = 0; i < size; i++) {
    out[i] = pieces[cen_rng_below(rng, sizeof(pieces) - 1)];
  }
  return size;
}

static void tokens_put_together_give_the_text(void **state)
{
  struct cen_rng rng;
  char text[64];
  (void)state;
  cen_rng_seed(&rng, 42);
  for (int round = 0; round < 200000; round++) {
    size_t size = random_text(&rng, text, sizeof(text));
    const char *at = text;
    struct cen_scanner scanner;
    struct cen_token token;
    cen_scan_init(&scanner, text, size, round & 1 ? PG : LITE);
    while (cen_scan_next(&scanner, &token) != CEN_TOKEN_END) {
      assert_ptr_equal(token.start, at);
      assert_true(token.size > 0);
      at += token.size;
    }
    assert_ptr_equal(at, text + size);
    assert_int_equal(token.size, 0);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_kind_of_token_ends_where_the_manuals_say),
      cmocka_unit_test(what_the_end_cuts_is_marked),
      cmocka_unit_test(words_compare_in_any_case_and_only_words),
      cmocka_unit_test(tokens_put_together_give_the_text),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
