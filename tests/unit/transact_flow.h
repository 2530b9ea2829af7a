/*
 * transact_flow.h - bodies of asynchronous transactions written as lists of statements that go on
 * from callback to callback: what each answered is kept, and how often what was called.
 */
#ifndef TRANSACT_FLOW_H
#define TRANSACT_FLOW_H

#include "manager_help.h"

#include <cenote/loop.h>

#include <poll.h>

enum { MOST = 8 };

struct flow {
  cenote_manager *manager;
  const char *sql[MOST]; /* up to the first NULL */
  bool stubborn;         /* goes on after a failure */
  bool lazy;             /* sends nothing and does not finish: somebody else does */
  cenote_status answer;
  const cenote_execute_options *options; /* of each statement, or NULL */
  /* what happened */
  cenote_transaction *_Atomic transaction; /* while it is the body's turn */
  cenote_ticket ticket, statement;
  int next;
  _Atomic int begun, told, done;
  cenote_status status[MOST];
  char sqlstate[MOST][6];
  char command[MOST][16];
  cenote_status outcome;
  cenote_error error;
};

static inline void go_on(struct flow *flow, cenote_transaction *transaction,
                         const cenote_error *failed);

static inline void on_statement(void *context, cenote_status status, cenote_result *result,
                                const cenote_error *error)
{
  struct flow *flow = context;
  const int i = flow->next++;
  flow->status[i] = status;
  snprintf(flow->sqlstate[i], sizeof flow->sqlstate[i], "%s", error->sqlstate);
  snprintf(flow->command[i], sizeof flow->command[i], "%s", cenote_result_command(result));
  assert_true((result != NULL) == (status == CENOTE_OK));
  cenote_result_free(result);
  atomic_fetch_add(&flow->told, 1);
  const bool failed = status != CENOTE_OK && !flow->stubborn;
  go_on(flow, flow->transaction, failed ? error : NULL);
}

static inline void go_on(struct flow *flow, cenote_transaction *transaction,
                         const cenote_error *failed)
{
  cenote_error error = CENOTE_ERROR_INIT;
  if (failed != NULL) {
    must(cenote_tx_finish(transaction, failed->status, failed), NULL);
  } else if (flow->sql[flow->next] == NULL) {
    must(cenote_tx_finish(transaction, flow->answer, NULL), NULL);
    expect(CENOTE_INVALID, cenote_tx_finish(transaction, CENOTE_OK, NULL), NULL);
  } else {
    must(cenote_tx_execute_async_with(transaction, flow->sql[flow->next], NULL, 0, flow->options,
                                      on_statement, flow, &flow->statement, &error),
         &error);
    expect(CENOTE_BUSY, cenote_tx_finish(transaction, CENOTE_OK, NULL), NULL);
    expect(
        CENOTE_BUSY,
        cenote_tx_execute_async(transaction, "SELECT 1", NULL, 0, on_statement, flow, NULL, &error),
        &error);
  }
}

static inline void on_begin(void *context, cenote_transaction *transaction)
{
  struct flow *flow = context;
  flow->next = 0;
  flow->transaction = transaction;
  atomic_fetch_add(&flow->begun, 1);
  if (!flow->lazy) {
    go_on(flow, transaction, NULL);
  }
}

static inline void on_done(void *context, cenote_status status, const cenote_error *error)
{
  struct flow *flow = context;
  flow->outcome = status;
  flow->error = *error;
  atomic_fetch_add(&flow->done, 1);
}

static inline void flow_start(struct flow *flow, const cenote_transact_options *options)
{
  cenote_error error = CENOTE_ERROR_INIT;
  must(
      cenote_transact_async(flow->manager, options, on_begin, on_done, flow, &flow->ticket, &error),
      &error);
}

/* A little time passes; where the loop is the test's, it is driven. */
static inline void turn(cenote_manager *manager)
{
  cenote_error error = CENOTE_ERROR_INIT;
  struct pollfd slot = {.fd = cenote_pollfd(manager), .events = POLLIN};
  if (slot.fd < 0) {
    pause_ms(1);
    return;
  }
  const int64_t wait = cenote_next_deadline(manager);
  (void)poll(&slot, 1, wait < 0 || wait > 20 ? 20 : (int)wait);
  must(cenote_dispatch(manager, &error), &error);
}

#define drive_until(manager, condition)               \
  do {                                                \
    const int64_t drive_end = now_ms() + PATIENCE_MS; \
    while (!(condition)) {                            \
      if (now_ms() > drive_end) {                     \
        fail_msg("never: %s", #condition);            \
      }                                               \
      turn(manager);                                  \
    }                                                 \
  } while (0)

static inline void flow_run(struct flow *flow, const cenote_transact_options *options)
{
  flow->done = flow->begun = flow->told = 0;
  flow_start(flow, options);
  drive_until(flow->manager, flow->done > 0);
  assert_int_equal(flow->done, 1);
}

static inline void flow_must(struct flow *flow, const cenote_transact_options *options)
{
  flow_run(flow, options);
  must(flow->outcome, &flow->error);
}

static inline void flow_fails(struct flow *flow, const cenote_transact_options *options,
                              cenote_status status, const char *sqlstate)
{
  flow_run(flow, options);
  expect(status, flow->outcome, &flow->error);
  assert_string_equal(flow->error.sqlstate, sqlstate);
}

static inline cenote_transact_options repeating(int64_t retries)
{
  cenote_transact_options options = CENOTE_TRANSACT_OPTIONS_INIT;
  options.retries = retries;
  options.operation_id = "flow";
  return options;
}

#endif
