/*
 * batch.c - several statements in one request: a batch of Hrana whose steps depend on each other.
 *
 *   0       BEGIN …
 *   1 … n   a statement each, if the step before it went well
 *   n + 1   COMMIT, if the last statement did
 *   n + 2   ROLLBACK, if BEGIN went well and COMMIT did not
 *
 * The server's answer tells of each step. Nothing is left open, whatever happens on the way: where
 * nothing was set in the session the stream ends with the same request.
 */
#include "driver/libsql/libsql.h"

#include "base/error.h"
#include "wire/hrana.h"

#include <stdlib.h>
#include <string.h>

enum { BEFORE = 1, BEHIND = 2 }; /* steps of ours */

const char *ls_begin_text(cenote_batch_mode mode)
{
  static const char *const texts[] = {
      [CENOTE_BATCH_DEFERRED] = "BEGIN",
      [CENOTE_BATCH_WRITE] = "BEGIN IMMEDIATE",
      [CENOTE_BATCH_READ] = "BEGIN TRANSACTION READONLY", /* SQLite takes it for a name */
  };
  return texts[mode];
}

/* ---------------------------------------------------------------- what is sent */

static struct cen_hrana_stmt plain(const char *sql)
{
  return (struct cen_hrana_stmt){.sql = {.text = sql, .size = strlen(sql)}};
}

/* One block of memory: the steps, then their conditions. */
cenote_status ls_batch_make(const cenote_connection *c, struct cen_hrana_step **out, size_t *size,
                            cenote_error *error)
{
  enum { BEGUN = 1, NOT_COMMITTED, COMMITTED, OWN = 4 }; /* the conditions of ROLLBACK */
  const cenote_request *request = c->request;
  const size_t n = request->statement_count;
  const size_t count = BEFORE + n + BEHIND;
  struct cen_hrana_step *steps =
      calloc(1, count * sizeof *steps + (n + 1 + OWN) * sizeof(struct cen_hrana_condition));
  *out = steps;
  *size = count;
  if (steps == NULL) {
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory: a batch of %zu", n);
  }
  struct cen_hrana_condition *fine = (struct cen_hrana_condition *)(void *)(steps + count);
  struct cen_hrana_condition *own = fine + n + 1;
  steps[0].stmt = plain(ls_begin_text(request->mode));
  for (size_t i = 0; i <= n; i++) {
    fine[i] = (struct cen_hrana_condition){.kind = CEN_HRANA_OK, .step = (int32_t)i};
    steps[i + 1].condition = &fine[i];
  }
  for (size_t i = 0; i < n; i++) {
    ls_stmt_make(&steps[BEFORE + i].stmt, &c->texts[i], request->statements[i].args,
                 request->statements[i].count, request->sinks != NULL && request->sinks[i] != NULL);
  }
  steps[BEFORE + n].stmt = plain("COMMIT");
  own[COMMITTED] =
      (struct cen_hrana_condition){.kind = CEN_HRANA_OK, .step = (int32_t)(BEFORE + n)};
  own[NOT_COMMITTED] =
      (struct cen_hrana_condition){.kind = CEN_HRANA_NOT, .below = &own[COMMITTED], .count = 1};
  own[BEGUN] = (struct cen_hrana_condition){.kind = CEN_HRANA_OK, .step = 0};
  own[0] = (struct cen_hrana_condition){.kind = CEN_HRANA_AND, .below = &own[BEGUN], .count = 2};
  steps[BEFORE + n + 1].stmt = plain("ROLLBACK");
  steps[BEFORE + n + 1].condition = &own[0];
  return CENOTE_OK;
}

/* ---------------------------------------------------------------- what comes back */

/* One step: its result goes into the sink. *outcome FAILED: *why is the server's word. A status is
 * CENOTE_IO (not understood), or the sink's own. */
static cenote_status step_take(const cenote_connection *c, struct cen_hrana_answer *answer,
                               cenote_sink *sink, enum cen_hrana_outcome *outcome,
                               cenote_error *why)
{
  const bool raw = sink != NULL && (c->request->flags & CENOTE_REQUEST_RAW_TEXT) != 0;
  if (!raw) {
    return cen_hrana_answer_step(answer, sink, outcome, why);
  }
  struct ls_raw *between = ls_raw_new(sink);
  if (between == NULL) {
    const cenote_status status = cen_hrana_answer_step(answer, NULL, outcome, why);
    return status != CENOTE_OK || *outcome == CEN_HRANA_FAILED
               ? status
               : cenote_error_set(why, CENOTE_NO_MEMORY, "out of memory for an answer");
  }
  const cenote_status status = cen_hrana_answer_step(answer, ls_raw_sink(between), outcome, why);
  const cenote_status told = ls_raw_status(between, status, why);
  ls_raw_free(between);
  return told;
}

/* Where the steps stand in the reading. */
struct reading {
  bool failed;          /* in the database: what is behind it must have been skipped */
  cenote_status status; /* of the first failure, or of the first sink that refused */
};

static cenote_status outcome_note(struct reading *r, enum cen_hrana_outcome outcome,
                                  cenote_status status, const cenote_error *why, int64_t statement,
                                  cenote_error *error)
{
  if (r->failed != (outcome == CEN_HRANA_SKIPPED)) {
    return cenote_error_set(error, CENOTE_IO,
                            r->failed ? "the answer of the server: a step of the batch ran behind "
                                        "one that had failed"
                                      : "the answer of the server: a step of the batch was "
                                        "skipped, and nobody knows why");
  }
  const bool fails = outcome == CEN_HRANA_FAILED;
  if (fails || (status != CENOTE_OK && r->status == CENOTE_OK)) {
    cen_error_copy(error, why);
    cen_error_statement(error, statement);
    r->status = why->status;
    r->failed = fails;
  }
  return CENOTE_OK;
}

/* Whatever a sink says to its rows, all steps are read: whether it was committed must be known. */
static cenote_status steps_take(const cenote_connection *c, struct cen_hrana_answer *answer,
                                struct reading *r, cenote_error *error)
{
  const cenote_request *request = c->request;
  const size_t n = request->statement_count;
  for (size_t i = 0; i <= BEFORE + n; i++) {
    const bool asked = i >= BEFORE && i < BEFORE + n;
    const bool wanted = asked && request->sinks != NULL && r->status == CENOTE_OK;
    const int64_t statement = asked ? (int64_t)(i - BEFORE) : -1;
    enum cen_hrana_outcome outcome;
    cenote_error why;
    cen_error_begin(&why);
    cenote_status status =
        step_take(c, answer, wanted ? request->sinks[i - BEFORE] : NULL, &outcome, &why);
    if (status == CENOTE_IO) {
      cen_error_copy(error, &why);
      return status;
    }
    status = outcome_note(r, outcome, status, &why, statement, error);
    if (status != CENOTE_OK) {
      return status;
    }
  }
  return CENOTE_OK;
}

cenote_status ls_batch_take(const cenote_connection *c, struct cen_hrana_answer *answer,
                            cenote_error *error)
{
  struct reading reading = {.status = CENOTE_OK};
  cenote_status status = cen_hrana_answer_next(answer, CEN_HRANA_BATCH, NULL, NULL, error);
  if (status == CENOTE_TOO_LARGE) {
    cen_error_details(error, "\nthe server's answer was too large: whether the batch was committed "
                             "is not known");
  }
  if (status != CENOTE_OK) {
    return status; /* the whole batch: it did not run, or not to its end */
  }
  status = steps_take(c, answer, &reading, error);
  if (status == CENOTE_OK && reading.status != CENOTE_OK && !reading.failed) {
    cen_error_details(error, "\nthe batch was executed; its results are not complete");
  }
  return status != CENOTE_OK ? status : reading.status;
}
