/* transact.c - routed transactions for callers that wait: performs on the caller's thread what the
 * machine in transact_steps.c decides. And how either form starts. */
#include "manager/transact.h"

#include "base/error.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { FIRST_PAUSE_MS = 5 };

/* ------------------------------------------------------------------------ both forms */

cenote_status transact_check(const cenote_manager *manager, const cenote_transact_options *options,
                             cenote_error *error)
{
  if (manager == NULL) {
    return cenote_error_set(error, CENOTE_INVALID, "manager: NULL");
  }
  if (options != NULL && options->size < sizeof *options) {
    return cenote_error_set(error, CENOTE_INVALID,
                            "options: size %zu; start with CENOTE_TRANSACT_OPTIONS_INIT",
                            options->size);
  }
  if (options != NULL && ((unsigned)options->mode > CENOTE_BATCH_READ ||
                          (unsigned)options->isolation > CENOTE_READ_UNCOMMITTED)) {
    return cenote_error_set(error, CENOTE_INVALID, "options: there is no mode %d, or isolation %d",
                            (int)options->mode, (int)options->isolation);
  }
  return manager_is_foreign(manager) ? manager_foreign_error(error) : CENOTE_OK;
}

static int64_t deadline_of(const cenote_transact_options *options, int64_t now_ns)
{
  const int64_t own =
      options->timeout_ms > 0 ? cen_deadline_ns(now_ns, options->timeout_ms) : CEN_NEVER;
  const int64_t outer =
      options->remaining_ms > 0 ? cen_deadline_ns(now_ns, options->remaining_ms) : CEN_NEVER;
  return own < outer ? own : outer;
}

void transact_init(struct transact *transact, cenote_manager *manager,
                   const cenote_transact_options *options, int64_t now_ns)
{
  /* Without options: as cenote_begin does it, with the write lock where there is one. */
  static const cenote_transact_options usual = {.size = sizeof usual, .mode = CENOTE_BATCH_WRITE};
  const char *name = manager->driver->name;
  const bool sqlite = strcmp(name, "sqlite") == 0 || strcmp(name, "libsql") == 0;
  options = options != NULL ? options : &usual;
  *transact = (struct transact){
      .handle = {.routed = transact},
      .manager = manager,
      .dialect = sqlite ? CEN_DIALECT_SQLITE : CEN_DIALECT_POSTGRES,
      .asked = {options->mode, options->isolation, options->deferrable},
      .deadline_ns = deadline_of(options, now_ns),
      .repetitions = options->retries > 0 ? options->retries : 0,
      .restarts = cen_setting(&manager->settings, CEN_SET_RETRIES),
      .pause_ns = FIRST_PAUSE_MS * CEN_NS_PER_MS,
      .error = CENOTE_ERROR_INIT,
      .end_error = CENOTE_ERROR_INIT,
  };
  cen_rng_seed(&transact->rng, (uint64_t)now_ns ^ (uint64_t)(uintptr_t)transact);
}

int64_t transact_lease_ms(const struct transact *transact, int64_t now_ns)
{
  if (transact->deadline_ns == CEN_NEVER) {
    return 0;
  }
  /* Longer than the deadline, so that the statement that meets it is told so, not that its lease
   * expired; and so that there is time to roll back. */
  const int64_t left = (transact->deadline_ns - now_ns) / CEN_NS_PER_MS;
  return (left > 0 ? left : 0) + cen_setting(&transact->manager->settings, CEN_SET_CANCEL_TIMEOUT);
}

/* ------------------------------------------------------------------ one step each */

static int64_t ms_until(int64_t now_ns, int64_t until_ns)
{
  return until_ns <= now_ns ? 0 : (until_ns - now_ns + CEN_NS_PER_MS - 1) / CEN_NS_PER_MS;
}

static enum transact_step acquire(struct transact *transact, const char *operation_id)
{
  const int64_t now = cen_now_ns();
  cenote_acquire_options options = CENOTE_ACQUIRE_OPTIONS_INIT;
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_lease lease;
  options.timeout_ms = ms_until(now, transact->until_ns);
  options.lease_ms = transact_lease_ms(transact, now);
  const cenote_status status =
      cenote_acquire_with(transact->manager, operation_id, &options, &lease, &error);
  return transact_acquired(transact, status, lease, &error);
}

/* The rows of an EXECUTE go to *result, also when it is told to have failed in the end. */
static cenote_status ask(struct transact *transact, struct entry *entry, cenote_result **result,
                         cenote_error *error)
{
  cenote_request *request = &transact->request;
  entry->until_ns = transact->until_ns;
  if (request->kind == CENOTE_REQUEST_EXECUTE) {
    const cenote_statement statement = {request->sql, request->args, request->count};
    return statement_collect(entry, &statement, 0, result, error);
  }
  entry->asked = true;
  return call_run(entry->session, request, statement_deadline(entry), error);
}

static enum transact_step run(struct transact *transact, cenote_result **result,
                              cenote_status *status, cenote_error *error)
{
  struct entry entry;
  unsigned flags = 0;
  *status = lease_enter(transact->lease, &entry, error);
  if (*status == CENOTE_OK) {
    *status = ask(transact, &entry, result, error);
    flags = entry.manager->driver->session(entry.session->connection);
    *status = lease_leave(&entry, *status, error);
  }
  return transact_ran(transact, status, flags, error, cen_now_ns());
}

static void nap_until(int64_t until_ns)
{
  const struct timespec until = {.tv_sec = until_ns / 1000000000, .tv_nsec = until_ns % 1000000000};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) != 0) {
  }
}

/* ------------------------------------------------------------------ the body's statements */

/* Until it tells how the statement went. Two requests where a BEGIN begins anew. */
cenote_status transact_execute(struct transact *transact, const char *sql, const cenote_value *args,
                               size_t count, cenote_result **result, cenote_error *error)
{
  cenote_status status = CENOTE_OK;
  cenote_error local = CENOTE_ERROR_INIT;
  cenote_result *rows = NULL;
  if (transact->asynchronous) {
    return cenote_error_set(error, CENOTE_INVALID,
                            "this transaction is cenote_transact_async's: use "
                            "cenote_tx_execute_async");
  }
  if (atomic_exchange_explicit(&transact->inside, true, memory_order_acquire)) {
    return cenote_error_set(error, CENOTE_BUSY,
                            "another thread is inside a call on this transaction");
  }
  enum transact_step step =
      transact_send(transact, sql, args, count, &status, &local, cen_now_ns());
  while (step == TRANSACT_RUN) {
    step = run(transact, &rows, &status, &local);
  }
  if (transact->empty != NULL) {
    rows = transact->empty;
    transact->empty = NULL;
  }
  atomic_store_explicit(&transact->inside, false, memory_order_release);
  if (status != CENOTE_OK) {
    cen_error_copy(error, &local);
  }
  if (status == CENOTE_OK && result != NULL) {
    *result = rows;
  } else {
    cenote_result_free(rows);
  }
  return status;
}

/* --------------------------------------------------------------------- all of it */

static enum transact_step call_body(struct transact *transact, cenote_transact_callback callback,
                                    void *context)
{
  const cenote_status status = callback(context, &transact->handle, &transact->error);
  /* Another thread of the body's may still be inside: it must not be, but it must come out. */
  while (atomic_exchange_explicit(&transact->inside, true, memory_order_acquire)) {
    nap_until(cen_now_ns() + CEN_NS_PER_MS);
  }
  const enum transact_step step = transact_finish(transact, status, cen_now_ns());
  atomic_store_explicit(&transact->inside, false, memory_order_release);
  return step;
}

static enum transact_step perform(struct transact *transact, enum transact_step step,
                                  const char *operation_id, cenote_transact_callback callback,
                                  void *context)
{
  cenote_status status;
  cenote_error error = CENOTE_ERROR_INIT;
  switch (step) {
  case TRANSACT_ACQUIRE:
    return acquire(transact, operation_id);
  case TRANSACT_RUN:
    return run(transact, NULL, &status, &error);
  case TRANSACT_BODY:
    return call_body(transact, callback, context);
  case TRANSACT_WAIT:
    nap_until(transact->until_ns);
    return transact_waited(transact, cen_now_ns());
  case TRANSACT_RELEASE:
    (void)!cenote_release(transact->lease); /* stale when it was taken back: as good */
    return transact_released(transact, cen_now_ns());
  default:
    return TRANSACT_DONE;
  }
}

cenote_status cenote_transact_with(cenote_manager *manager, const cenote_transact_options *options,
                                   cenote_transact_callback callback, void *context,
                                   cenote_error *error)
{
  if (callback == NULL) {
    return cenote_error_set(error, CENOTE_INVALID, "callback: NULL");
  }
  cenote_status status = transact_check(manager, options, error);
  if (status != CENOTE_OK) {
    return status;
  }
  if (manager_must_not_block(manager)) {
    return cenote_error_set(error, CENOTE_INVALID,
                            "a transaction on the loop's own thread must not block: use "
                            "cenote_transact_async");
  }
  struct transact *transact = calloc(1, sizeof *transact);
  if (transact == NULL) {
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory: transaction");
  }
  transact_init(transact, manager, options, cen_now_ns());
  const char *operation_id = options != NULL ? options->operation_id : NULL;
  enum transact_step step = transact_start(transact, cen_now_ns());
  while (step != TRANSACT_DONE) {
    step = perform(transact, step, operation_id, callback, context);
  }
  status = transact->status;
  if (status != CENOTE_OK) {
    cen_error_copy(error, &transact->error);
  }
  free(transact);
  return status;
}

cenote_status cenote_transact(cenote_manager *manager, cenote_transact_callback callback,
                              void *context, cenote_error *error)
{
  return cenote_transact_with(manager, NULL, callback, context, error);
}
