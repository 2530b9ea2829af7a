/* transact_text.c - which statements begin or end a transaction, and on what terms. */
#include "manager/transact.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

static const char *const texts[] = {
    [TRANSACT_TEXT_PLAIN] = "plain",   [TRANSACT_TEXT_BEGIN] = "begin",
    [TRANSACT_TEXT_COMMIT] = "commit", [TRANSACT_TEXT_ROLLBACK] = "rollback",
    [TRANSACT_TEXT_CHAIN] = "chain",   [TRANSACT_TEXT_WRONG] = "wrong"};

static void is(const char *sql, enum transact_text wanted)
{
  for (int dialect = CEN_DIALECT_POSTGRES; dialect <= CEN_DIALECT_SQLITE; dialect++) {
    struct transact_terms terms = {0};
    const enum transact_text text = transact_read_text(sql, (enum cen_dialect)dialect, &terms);
    if (text != wanted) {
      fail_msg("%s instead of %s: %s", texts[text], texts[wanted], sql);
    }
  }
}

static void begins_commits_and_rollbacks_are_known_in_every_spelling(void **state)
{
  (void)state;
  static const char *const begins[] = {"BEGIN",
                                       "begin;",
                                       " ; begin",
                                       "/* x */ BEGIN -- y",
                                       "BEGIN WORK",
                                       "BEGIN TRANSACTION",
                                       "START TRANSACTION",
                                       "start\n\ttransaction ;",
                                       "BEGIN DEFERRED",
                                       "BEGIN IMMEDIATE TRANSACTION",
                                       "BEGIN EXCLUSIVE"};
  static const char *const commits[] = {"COMMIT", "commit work", "END", "END TRANSACTION;",
                                        "COMMIT AND NO CHAIN"};
  static const char *const rollbacks[] = {"ROLLBACK", "rollback work", "ABORT",
                                          "ROLLBACK TRANSACTION AND NO CHAIN"};
  for (size_t i = 0; i < sizeof begins / sizeof *begins; i++) {
    is(begins[i], TRANSACT_TEXT_BEGIN);
  }
  for (size_t i = 0; i < sizeof commits / sizeof *commits; i++) {
    is(commits[i], TRANSACT_TEXT_COMMIT);
  }
  for (size_t i = 0; i < sizeof rollbacks / sizeof *rollbacks; i++) {
    is(rollbacks[i], TRANSACT_TEXT_ROLLBACK);
  }
  is("COMMIT AND CHAIN", TRANSACT_TEXT_CHAIN);
  is("END WORK AND CHAIN;", TRANSACT_TEXT_CHAIN);
  is("abort and chain", TRANSACT_TEXT_CHAIN);
}

static void everything_else_is_the_databases_business(void **state)
{
  (void)state;
  static const char *const plain[] = {"",
                                      ";",
                                      "SELECT 'BEGIN'",
                                      "\"BEGIN\"",
                                      "begins",
                                      "SAVEPOINT a",
                                      "RELEASE a",
                                      "ROLLBACK TO a",
                                      "ROLLBACK TRANSACTION TO SAVEPOINT a",
                                      "ROLLBACK PREPARED 'x'",
                                      "COMMIT PREPARED 'x'",
                                      "PREPARE TRANSACTION 'x'",
                                      "COMMIT; SELECT 1",
                                      "BEGIN; COMMIT",
                                      "COMMIT nonsense",
                                      "COMMIT AND",
                                      "SET TRANSACTION READ ONLY",
                                      "START SLAVE",
                                      "/* BEGIN */ SELECT 1",
                                      "'unterminated"};
  for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) {
    is(plain[i], TRANSACT_TEXT_PLAIN);
  }
}

static void a_begin_names_its_terms_and_leaves_the_others(void **state)
{
  (void)state;
  static const struct {
    const char *sql;
    struct transact_terms terms;
  } cases[] = {
      {"BEGIN", {CENOTE_BATCH_DEFERRED, CENOTE_ISOLATION_DEFAULT, true}},
      {"BEGIN DEFERRED", {CENOTE_BATCH_DEFERRED, CENOTE_ISOLATION_DEFAULT, true}},
      {"BEGIN IMMEDIATE", {CENOTE_BATCH_WRITE, CENOTE_ISOLATION_DEFAULT, true}},
      {"BEGIN EXCLUSIVE", {CENOTE_BATCH_WRITE, CENOTE_ISOLATION_DEFAULT, true}},
      {"BEGIN READ ONLY", {CENOTE_BATCH_READ, CENOTE_ISOLATION_DEFAULT, true}},
      {"BEGIN READ WRITE NOT DEFERRABLE", {CENOTE_BATCH_WRITE, CENOTE_ISOLATION_DEFAULT, false}},
      {"BEGIN ISOLATION LEVEL READ UNCOMMITTED",
       {CENOTE_BATCH_DEFERRED, CENOTE_READ_COMMITTED, true}},
      {"BEGIN ISOLATION LEVEL READ COMMITTED",
       {CENOTE_BATCH_DEFERRED, CENOTE_READ_COMMITTED, true}},
      {"START TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ WRITE",
       {CENOTE_BATCH_WRITE, CENOTE_REPEATABLE_READ, true}},
      {"begin work isolation level serializable read only, deferrable",
       {CENOTE_BATCH_READ, CENOTE_SERIALIZABLE, true}},
      {"BEGIN READ ONLY, READ WRITE", {CENOTE_BATCH_WRITE, CENOTE_ISOLATION_DEFAULT, true}},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct transact_terms terms = {CENOTE_BATCH_DEFERRED, CENOTE_ISOLATION_DEFAULT, true};
    assert_int_equal(transact_read_text(cases[i].sql, CEN_DIALECT_POSTGRES, &terms),
                     TRANSACT_TEXT_BEGIN);
    assert_int_equal(terms.mode, cases[i].terms.mode);
    assert_int_equal(terms.isolation, cases[i].terms.isolation);
    assert_int_equal(terms.deferrable, cases[i].terms.deferrable);
  }
}

static void a_begin_that_is_not_understood_changes_no_terms(void **state)
{
  (void)state;
  static const char *const wrong[] = {"BEGIN SIDEWAYS",
                                      "BEGIN READ",
                                      "BEGIN READ ONLY,",
                                      "BEGIN ISOLATION LEVEL",
                                      "BEGIN ISOLATION LEVEL READ",
                                      "BEGIN ISOLATION SERIALIZABLE",
                                      "BEGIN NOT",
                                      "BEGIN READ ONLY SIDEWAYS",
                                      "START TRANSACTION IMMEDIATE",
                                      "BEGIN READ 'ONLY'"};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    struct transact_terms terms = {CENOTE_BATCH_WRITE, CENOTE_REPEATABLE_READ, true};
    if (transact_read_text(wrong[i], CEN_DIALECT_POSTGRES, &terms) != TRANSACT_TEXT_WRONG) {
      fail_msg("understood: %s", wrong[i]);
    }
    assert_int_equal(terms.mode, CENOTE_BATCH_WRITE);
    assert_int_equal(terms.isolation, CENOTE_REPEATABLE_READ);
    assert_true(terms.deferrable);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(begins_commits_and_rollbacks_are_known_in_every_spelling),
      cmocka_unit_test(everything_else_is_the_databases_business),
      cmocka_unit_test(a_begin_names_its_terms_and_leaves_the_others),
      cmocka_unit_test(a_begin_that_is_not_understood_changes_no_terms),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
