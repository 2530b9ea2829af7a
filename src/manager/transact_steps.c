/* transact_steps.c - the machine behind both forms of a routed transaction: what comes next. */
#include "manager/transact.h"

#include "base/error.h"
#include "base/result.h"
#include "manager/retry.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* A conflict is over when the other transaction has ended: milliseconds, not the second of a
 * database that is away. */
enum { LONGEST_PAUSE_MS = 500, PAUSE_JITTER = 50 };

/* ------------------------------------------------------------------------ starting */

static int64_t sooner(int64_t a, int64_t b)
{
  return a < b ? a : b;
}

static enum transact_step run(struct transact *transact, enum transact_phase phase,
                              cenote_request_kind kind)
{
  transact->phase = phase;
  transact->request = (cenote_request){.size = sizeof transact->request, .kind = kind};
  transact->until_ns = transact->deadline_ns;
  return TRANSACT_RUN;
}

/* Nothing of an earlier round is known in this one. */
static enum transact_step begin(struct transact *transact, enum transact_phase phase,
                                const struct transact_terms *terms)
{
  (void)run(transact, phase, CENOTE_REQUEST_BEGIN);
  transact->terms = *terms;
  transact->request.mode = terms->mode;
  transact->request.isolation = terms->isolation;
  transact->request.deferrable = terms->deferrable;
  return TRANSACT_RUN;
}

static enum transact_step begin_round(struct transact *transact)
{
  transact->ran = transact->ended = transact->conflict = false;
  transact->again = transact->restart = transact->lost = false;
  transact->flags = 0;
  cen_error_clear(&transact->error);
  return begin(transact, PHASE_BEGINNING, &transact->asked);
}

enum transact_step transact_start(struct transact *transact, int64_t now_ns)
{
  const int64_t ms = cen_setting(&transact->manager->settings, CEN_SET_ACQUIRE_TIMEOUT);
  transact->phase = PHASE_ACQUIRING;
  transact->until_ns = sooner(cen_deadline_ns(now_ns, ms), transact->deadline_ns);
  return TRANSACT_ACQUIRE;
}

/* -------------------------------------------------------------------------- ending */

static void set_outcome(struct transact *transact, cenote_status status, const cenote_error *error)
{
  transact->status = status;
  if (status != CENOTE_OK && error != &transact->error) {
    cen_error_copy(&transact->error, error);
  }
}

static cenote_status cancelled_error(cenote_error *error)
{
  return cenote_error_set(error, CENOTE_CANCELLED, "the transaction was cancelled");
}

static enum transact_step over(struct transact *transact)
{
  if (transact->cancelled && !transact->kept && transact->status != CENOTE_OUTCOME_UNKNOWN) {
    transact->status = cancelled_error(&transact->error);
    transact->restart = false;
  }
  transact->phase = PHASE_OVER;
  return transact->leased ? TRANSACT_RELEASE : TRANSACT_DONE;
}

static bool is_conflict(cenote_status status, const cenote_error *error)
{
  return status == CENOTE_DATABASE && error->status == status &&
         (strcmp(error->sqlstate, "40001") == 0 || strcmp(error->sqlstate, "40P01") == 0);
}

/* The body may have answered with an error of its own making: what its last statement met counts. */
static bool may_repeat(const struct transact *transact, cenote_status status,
                       const cenote_error *error)
{
  return transact->repetitions > 0 && !transact->ended &&
         (is_conflict(status, error) || (status == CENOTE_DATABASE && transact->conflict));
}

/* It is rolled back: once more, or was that all? */
static enum transact_step rolled_back(struct transact *transact, int64_t now_ns)
{
  if (!transact->again || transact->cancelled) {
    return over(transact);
  }
  const int64_t pause = cen_rng_jitter(&transact->rng, transact->pause_ns, PAUSE_JITTER);
  const int64_t until = now_ns + pause;
  if (until >= sooner(transact->deadline_ns, transact->lease_until_ns)) {
    cen_error_details(&transact->error, "repeated %u times; no time is left for another try\n",
                      transact->repeated);
    return over(transact);
  }
  transact->pause_ns = sooner(2 * transact->pause_ns, LONGEST_PAUSE_MS * CEN_NS_PER_MS);
  transact->repetitions--;
  transact->repeated++;
  paths_transaction_retry(transact->manager);
  transact->phase = PHASE_PAUSING;
  transact->until_ns = until;
  return TRANSACT_WAIT;
}

/* Its time may be over: all the more reason. */
static enum transact_step roll_back(struct transact *transact, enum transact_phase phase,
                                    int64_t now_ns)
{
  const int64_t ms = cen_setting(&transact->manager->settings, CEN_SET_CANCEL_TIMEOUT);
  (void)run(transact, phase, CENOTE_REQUEST_ROLLBACK);
  transact->until_ns = cen_deadline_ns(now_ns, ms);
  return TRANSACT_RUN;
}

static enum transact_step undo(struct transact *transact, int64_t now_ns)
{
  return transact->lost ? rolled_back(transact, now_ns)
                        : roll_back(transact, PHASE_UNDOING, now_ns);
}

static cenote_status failed_error(cenote_error *error)
{
  cenote_error_set(error, CENOTE_DATABASE,
                   "the transaction was rolled back, not committed: a statement in it failed");
  cen_error_sqlstate(error, "25P02");
  return CENOTE_DATABASE;
}

static cenote_status overdue_error(cenote_error *error)
{
  return cenote_error_set(error, CENOTE_STATEMENT_TIMEOUT,
                          "transaction timeout: nothing of it remains");
}

static enum transact_step commit(struct transact *transact, int64_t now_ns)
{
  cenote_status status = CENOTE_OK;
  cen_error_clear(&transact->error);
  if (transact->cancelled) {
    status = cancelled_error(&transact->error);
  } else if (now_ns >= transact->deadline_ns) {
    status = overdue_error(&transact->error);
  } else if (!transact->lost && (transact->flags & CENOTE_SESSION_FAILED) != 0) {
    status = failed_error(&transact->error);
    transact->again = may_repeat(transact, status, &transact->error);
  }
  if (status == CENOTE_OK) {
    return run(transact, PHASE_COMMITTING, CENOTE_REQUEST_COMMIT);
  }
  transact->status = status;
  return undo(transact, now_ns);
}

static enum transact_step committed(struct transact *transact, cenote_status status,
                                    const cenote_error *error, int64_t now_ns)
{
  set_outcome(transact, status, error);
  if (status == CENOTE_OK) {
    transact->kept = true;
    return over(transact);
  }
  transact->again = may_repeat(transact, status, error) && !transact->lost;
  if ((transact->flags & CENOTE_SESSION_IN_TRANSACTION) != 0) {
    return undo(transact, now_ns); /* a refused COMMIT may leave it open */
  }
  return rolled_back(transact, now_ns);
}

/* The body has sent its COMMIT or ROLLBACK already, or lost the transaction otherwise. */
static enum transact_step finish_ended(struct transact *transact, cenote_status status,
                                       int64_t now_ns)
{
  const bool good = transact->end_status == CENOTE_OK;
  if (status == CENOTE_OK && !good) {
    set_outcome(transact, transact->end_status, &transact->end_error);
  } else if (status != CENOTE_OK && transact->kept) {
    cen_error_details(&transact->error,
                      "the transaction had been committed by a statement of its own\n");
  }
  return (transact->flags & CENOTE_SESSION_IN_TRANSACTION) != 0 ? undo(transact, now_ns)
                                                                : over(transact);
}

enum transact_step transact_finish(struct transact *transact, cenote_status status, int64_t now_ns)
{
  if (status != CENOTE_OK && transact->error.status != status) {
    transact->error.status = status; /* a message of the body's own stays */
    transact->error.retryable = cen_status_retryable(status);
    if (transact->error.message[0] == '\0') {
      cenote_error_set(&transact->error, status, "%s", cenote_status_text(status));
    }
  }
  transact->status = status;
  if (transact->ended) {
    return finish_ended(transact, status, now_ns);
  }
  if (status == CENOTE_OK) {
    return commit(transact, now_ns);
  }
  transact->again = may_repeat(transact, status, &transact->error);
  return undo(transact, now_ns);
}

/* ------------------------------------------------------------- the body's statements */

static cenote_status ended_error(const struct transact *transact, cenote_error *error)
{
  static const char *const how[] = {[TRANSACT_TEXT_PLAIN] = "a statement sent in it",
                                    [TRANSACT_TEXT_BEGIN] = "the BEGIN sent in it, which failed",
                                    [TRANSACT_TEXT_COMMIT] = "the COMMIT sent in it",
                                    [TRANSACT_TEXT_ROLLBACK] = "the ROLLBACK sent in it"};
  cenote_error_set(error, CENOTE_DATABASE,
                   "the transaction was ended by %s: nothing more runs in it; use another "
                   "cenote_transact for what comes after",
                   how[transact->end_text]);
  cen_error_sqlstate(error, "25P01");
  return CENOTE_DATABASE;
}

/* The body's turn again. What it gets for a statement of ours was made before, so that a COMMIT that
 * worked is never told to have failed. */
static enum transact_step told(struct transact *transact, cenote_status *status,
                               cenote_status outcome)
{
  transact->phase = PHASE_BODY;
  if (outcome != CENOTE_OK) {
    cenote_result_free(transact->empty);
    transact->empty = NULL;
  }
  *status = outcome;
  return TRANSACT_TELL;
}

static cenote_status make_empty(struct transact *transact, const char *command, cenote_error *error)
{
  cenote_sink sink;
  const cenote_status status = cen_sink_init_result(&sink, 0, 0, error);
  if (status == CENOTE_OK) {
    cenote_sink_complete(&sink, 0, 0, command);
    transact->empty = cen_sink_take(&sink);
    cen_sink_deinit(&sink);
  }
  return status;
}

static cenote_status refused(cenote_error *error, const char *sqlstate, const char *message)
{
  cenote_error_set(error, CENOTE_DATABASE, "%s", message);
  cen_error_sqlstate(error, sqlstate);
  return CENOTE_DATABASE;
}

static void warn_once(struct cenote_manager *manager)
{
  if (!atomic_exchange_explicit(&manager->told_begin, true, memory_order_relaxed)) {
    cen_log_write(
        &manager->log, CENOTE_LOG_WARNING,
        "a BEGIN was sent inside cenote_transact, which begins by itself: it does nothing "
        "but set its isolation level and access mode (said once)");
  }
}

static bool same_terms(const struct transact_terms *a, const struct transact_terms *b)
{
  return a->mode == b->mode && a->isolation == b->isolation && a->deferrable == b->deferrable;
}

/* The terms of the body's BEGIN hold from here on: by beginning anew, so that every driver can. */
static enum transact_step begin_inside(struct transact *transact, cenote_status *status,
                                       cenote_error *error, int64_t now_ns)
{
  struct transact_terms *wanted = &transact->wanted;
  warn_once(transact->manager);
  if (transact->dialect == CEN_DIALECT_SQLITE) { /* it is always serializable */
    wanted->isolation = transact->terms.isolation;
    wanted->deferrable = transact->terms.deferrable;
  }
  if (same_terms(wanted, &transact->terms)) {
    return told(transact, status, CENOTE_OK);
  }
  if (transact->asked.mode == CENOTE_BATCH_READ && wanted->mode != CENOTE_BATCH_READ) {
    return told(transact, status,
                refused(error, "25001",
                        "the transaction was begun read only by the options of cenote_transact: a "
                        "BEGIN in it cannot make it writable"));
  }
  if (transact->ran) {
    return told(transact, status,
                refused(error, "25001",
                        "a BEGIN with an isolation level or an access mode must come before the "
                        "first statement of the transaction; or put it into the options of "
                        "cenote_transact_with"));
  }
  return roll_back(transact, PHASE_FORGETTING, now_ns);
}

static enum transact_step end_inside(struct transact *transact, enum transact_text text,
                                     int64_t now_ns)
{
  const bool failed = !transact->lost && (transact->flags & CENOTE_SESSION_FAILED) != 0;
  transact->end_text = text;
  if (text == TRANSACT_TEXT_ROLLBACK || failed) {
    return roll_back(transact, PHASE_ENDING, now_ns);
  }
  return run(transact, PHASE_ENDING, CENOTE_REQUEST_COMMIT);
}

static enum transact_step send_known(struct transact *transact, enum transact_text text,
                                     cenote_status *status, cenote_error *error, int64_t now_ns)
{
  static const char *const commands[] = {[TRANSACT_TEXT_BEGIN] = "BEGIN",
                                         [TRANSACT_TEXT_COMMIT] = "COMMIT",
                                         [TRANSACT_TEXT_ROLLBACK] = "ROLLBACK"};
  if (text == TRANSACT_TEXT_CHAIN) {
    return told(transact, status,
                refused(error, "0A000",
                        "AND CHAIN would begin another transaction: end this one, and use another "
                        "cenote_transact"));
  }
  if (text == TRANSACT_TEXT_WRONG) {
    return told(transact, status,
                refused(error, "42601",
                        "this BEGIN is not understood: it names a transaction "
                        "mode that is not known"));
  }
  const cenote_status made = make_empty(transact, commands[text], error);
  if (made != CENOTE_OK) {
    return told(transact, status, made);
  }
  return text == TRANSACT_TEXT_BEGIN ? begin_inside(transact, status, error, now_ns)
                                     : end_inside(transact, text, now_ns);
}

enum transact_step transact_send(struct transact *transact, const char *sql,
                                 const cenote_value *args, size_t count, cenote_status *status,
                                 cenote_error *error, int64_t now_ns)
{
  transact->wanted = transact->terms;
  transact->empty = NULL;
  const enum transact_text text = transact_read_text(sql, transact->dialect, &transact->wanted);
  if (transact->cancelled) {
    return told(transact, status, cancelled_error(error));
  }
  if (transact->ended) {
    /* What was not committed is rolled back: who makes sure of that is told so. */
    const bool nothing_remains =
        transact->end_text == TRANSACT_TEXT_ROLLBACK ||
        (transact->end_status != CENOTE_OK && transact->end_status != CENOTE_OUTCOME_UNKNOWN);
    return told(transact, status,
                text == TRANSACT_TEXT_ROLLBACK && nothing_remains
                    ? make_empty(transact, "ROLLBACK", error)
                    : ended_error(transact, error));
  }
  if (now_ns >= transact->deadline_ns && text != TRANSACT_TEXT_ROLLBACK) {
    return told(transact, status, overdue_error(error));
  }
  if (text == TRANSACT_TEXT_PLAIN) {
    (void)run(transact, PHASE_STATEMENT, CENOTE_REQUEST_EXECUTE);
    transact->request.sql = sql;
    transact->request.args = args;
    transact->request.count = count;
    return TRANSACT_RUN;
  }
  if (count > 0) {
    return told(transact, status,
                cenote_error_set(error, CENOTE_INVALID,
                                 "the statement takes no arguments, but %zu were given", count));
  }
  return send_known(transact, text, status, error, now_ns);
}

static void end_round(struct transact *transact, enum transact_text text, cenote_status status,
                      const cenote_error *error)
{
  transact->ended = true;
  transact->end_text = text;
  transact->end_status = status;
  if (status != CENOTE_OK) {
    cen_error_copy(&transact->end_error, error);
  }
}

/* A plain statement may have ended it all the same (PREPARE TRANSACTION, a text that we read
 * otherwise than the database): the session knows. */
static enum transact_step statement_ran(struct transact *transact, cenote_status *status,
                                        const cenote_error *error)
{
  const bool open = (transact->flags & CENOTE_SESSION_IN_TRANSACTION) != 0;
  transact->ran = true;
  transact->conflict = is_conflict(*status, error);
  if (!open && !transact->lost) {
    end_round(transact, TRANSACT_TEXT_PLAIN, *status, error);
    transact->kept = *status == CENOTE_OK;
  }
  return told(transact, status, *status);
}

static enum transact_step ending_ran(struct transact *transact, cenote_status *status,
                                     cenote_error *error)
{
  const bool rolled_back = transact->request.kind == CENOTE_REQUEST_ROLLBACK;
  if (transact->end_text == TRANSACT_TEXT_COMMIT) {
    *status = rolled_back ? failed_error(error) : *status;
  } else {
    *status = CENOTE_OK; /* however that went: nothing of it remains */
  }
  end_round(transact, transact->end_text, *status, error);
  transact->kept = *status == CENOTE_OK && transact->end_text == TRANSACT_TEXT_COMMIT;
  return told(transact, status, *status);
}

static enum transact_step abandoned(struct transact *transact, cenote_status *status,
                                    cenote_error *error)
{
  end_round(transact, TRANSACT_TEXT_ROLLBACK, cancelled_error(error), error);
  return told(transact, status, CENOTE_CANCELLED);
}

static enum transact_step anew_ran(struct transact *transact, cenote_status *status,
                                   const cenote_error *error)
{
  if (*status != CENOTE_OK) {
    end_round(transact, TRANSACT_TEXT_BEGIN, *status, error);
    return told(transact, status, *status);
  }
  if (transact->phase == PHASE_FORGETTING) {
    const struct transact_terms wanted = transact->wanted;
    return begin(transact, PHASE_ANEW, &wanted);
  }
  return told(transact, status, CENOTE_OK);
}

/* ------------------------------------------------------------------ what was performed */

enum transact_step transact_acquired(struct transact *transact, cenote_status status,
                                     cenote_lease lease, const cenote_error *error)
{
  if (status != CENOTE_OK) {
    set_outcome(transact, status, error);
    return over(transact);
  }
  struct pool_lease_view view;
  transact->lease = transact->handle.lease = lease;
  transact->leased = true;
  if (transact->cancelled) {
    return over(transact);
  }
  transact->lease_until_ns =
      pool_view(&transact->manager->pool, lease.slot, lease.generation, &view) ? view.deadline_ns
                                                                               : CEN_NEVER;
  return begin_round(transact);
}

/* The connection died before anything was done on it: another one may be fine. */
static enum transact_step begin_failed(struct transact *transact, cenote_status status,
                                       const cenote_error *error)
{
  set_outcome(transact, status, error);
  transact->restart = transact->restarts > 0 && cen_failure_is_transient(error);
  return over(transact);
}

static bool is_taken(cenote_status status)
{
  return status == CENOTE_LEASE_EXPIRED || status == CENOTE_SHUTTING_DOWN ||
         status == CENOTE_STALE || status == CENOTE_FORKED || status == CENOTE_CLOSED;
}

enum transact_step transact_ran(struct transact *transact, cenote_status *status, unsigned flags,
                                cenote_error *error, int64_t now_ns)
{
  transact->flags = flags;
  transact->lost = (flags & CENOTE_SESSION_BROKEN) != 0 || is_taken(*status);
  switch (transact->phase) {
  case PHASE_BEGINNING:
    if (*status != CENOTE_OK) {
      return begin_failed(transact, *status, error);
    }
    transact->phase = PHASE_BODY;
    return transact->cancelled ? undo(transact, now_ns) : TRANSACT_BODY;
  case PHASE_STATEMENT:
    return statement_ran(transact, status, error);
  case PHASE_FORGETTING:
  case PHASE_ANEW:
    return anew_ran(transact, status, error);
  case PHASE_ENDING:
    return ending_ran(transact, status, error);
  case PHASE_ABANDONING:
    return abandoned(transact, status, error);
  case PHASE_COMMITTING:
    return committed(transact, *status, error, now_ns);
  default:
    transact->again = transact->again && *status == CENOTE_OK;
    return rolled_back(transact, now_ns);
  }
}

enum transact_step transact_waited(struct transact *transact, int64_t now_ns)
{
  if (transact->cancelled) {
    return over(transact);
  }
  return transact->leased ? begin_round(transact) : transact_start(transact, now_ns);
}

enum transact_step transact_released(struct transact *transact, int64_t now_ns)
{
  transact->leased = false;
  if (!transact->restart) {
    return TRANSACT_DONE;
  }
  const int64_t base = cen_setting(&transact->manager->settings, CEN_SET_RETRY_DELAY);
  const int64_t pause =
      cen_retry_delay_ns(base, ++transact->restarted, &transact->error, &transact->rng);
  transact->restart = false;
  transact->restarts--;
  if (now_ns + pause >= transact->deadline_ns) {
    return TRANSACT_DONE;
  }
  paths_retry(transact->manager);
  transact->phase = PHASE_PAUSING;
  transact->until_ns = now_ns + pause;
  return TRANSACT_WAIT;
}

void transact_cancel(struct transact *transact)
{
  transact->cancelled = true;
}

enum transact_step transact_abandon(struct transact *transact, int64_t now_ns)
{
  return transact->ended || transact->lost ? TRANSACT_TELL
                                           : roll_back(transact, PHASE_ABANDONING, now_ns);
}
