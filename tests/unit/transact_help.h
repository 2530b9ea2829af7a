/*
 * transact_help.h - bodies of routed transactions written as lists of statements: what each answered
 * is kept, and how often the body ran.
 */
#ifndef TRANSACT_HELP_H
#define TRANSACT_HELP_H

#include "manager_help.h"

enum { BODY_STATEMENTS = 12 };

struct body {
  const char *sql[BODY_STATEMENTS]; /* up to the first NULL */
  bool stubborn;                    /* goes on after a failure, and answers `answer` */
  cenote_status answer;
  void (*between)(struct body *body, cenote_transaction *transaction, int done);
  void *context;
  /* what happened, in the last run */
  int calls;
  cenote_status status[BODY_STATEMENTS];
  cenote_error error[BODY_STATEMENTS];
  char command[BODY_STATEMENTS][32];
  int64_t value[BODY_STATEMENTS]; /* the first of the first row */
};

static inline void body_run_one(struct body *body, int i, cenote_transaction *transaction)
{
  cenote_result *result;
  body->error[i] = (cenote_error)CENOTE_ERROR_INIT;
  body->status[i] = cenote_tx_execute(transaction, body->sql[i], NULL, 0, &result, &body->error[i]);
  if (body->status[i] == CENOTE_OK) {
    snprintf(body->command[i], sizeof body->command[i], "%s", cenote_result_command(result));
    body->value[i] = cenote_result_integer(result, 0, 0);
  } else {
    assert_null(result);
  }
  cenote_result_free(result);
}

static inline cenote_status body_run(void *context, cenote_transaction *transaction,
                                     cenote_error *error)
{
  struct body *body = context;
  body->calls++;
  assert_int_equal(error->status, CENOTE_OK); /* nothing is left of an earlier run */
  for (int i = 0; i < BODY_STATEMENTS && body->sql[i] != NULL; i++) {
    body_run_one(body, i, transaction);
    if (body->status[i] != CENOTE_OK && !body->stubborn) {
      *error = body->error[i];
      return body->status[i];
    }
    if (body->between != NULL) {
      body->between(body, transaction, i + 1);
    }
  }
  return body->answer;
}

static inline cenote_status transact(cenote_manager *manager,
                                     const cenote_transact_options *options, struct body *body,
                                     cenote_error *error)
{
  *error = (cenote_error)CENOTE_ERROR_INIT;
  body->calls = 0;
  return cenote_transact_with(manager, options, body_run, body, error);
}

static inline void must_transact(cenote_manager *manager, const cenote_transact_options *options,
                                 struct body *body)
{
  cenote_error error;
  must(transact(manager, options, body, &error), &error);
}

/* It failed with that status, and that SQLSTATE where it is given. */
static inline void transact_fails(cenote_manager *manager, const cenote_transact_options *options,
                                  struct body *body, cenote_status status, const char *sqlstate)
{
  cenote_error error;
  expect(status, transact(manager, options, body, &error), &error);
  assert_int_equal(error.status, status);
  assert_string_equal(error.sqlstate, sqlstate);
}

#endif
