/* simple_end.c - what a caller of the simple path is told. */
#include "manager/simple_inside.h"

#include "base/error.h"

#include <inttypes.h>
#include <string.h>

static cenote_status timed_out(struct simple *simple, const struct pipeline_call *core,
                               int64_t waited_ms, int64_t took_ms, cenote_error *error)
{
  if (core->sent) {
    return cenote_error_set(error, CENOTE_STATEMENT_TIMEOUT,
                            "statement timeout: cancelled after %" PRId64 " ms", took_ms);
  }
  struct pipeline_picture picture;
  pipeline_look(&simple->set, &picture);
  if (picture.live == 0) { /* it is the pool that gave none: it says why */
    return acquire_failed(simple->manager, CENOTE_TIMEOUT, waited_ms, error);
  }
  return cenote_error_set(error, CENOTE_TIMEOUT,
                          "acquire timeout: the statement was not sent within %" PRId64
                          " ms (%" PRIu32 " in flight on %" PRIu32 " shared connections, %" PRIu32
                          " waiting); raise simple_connections, or give slow statements the hint "
                          "'pool'",
                          waited_ms, picture.in_flight, picture.live, picture.queued);
}

static cenote_status lost(const struct simple_call *call, cenote_error *error)
{
  if (call->core.status != CENOTE_OK) {
    cen_error_copy(error, &call->error);
    return call->error.status;
  }
  return cenote_error_set(error, CENOTE_CONNECTION_LOST, "the shared connection was lost");
}

static cenote_status unknown(const struct simple_call *call, cenote_error *error)
{
  const bool told = call->core.status != CENOTE_OK && call->error.message[0] != '\0';
  return cenote_error_set(error, CENOTE_OUTCOME_UNKNOWN,
                          "the statement was sent, and no answer came: it may have been executed, "
                          "and is not repeated%s%.300s",
                          told ? ": " : "", told ? call->error.message : "");
}

static cenote_status explain(struct simple *simple, struct simple_call *call, cenote_error *error)
{
  const struct pipeline_call *core = &call->core;
  const int64_t sent_ns = core->sent ? core->sent_ns : core->settled_ns;
  const int64_t waited_ms = (sent_ns - core->submitted_ns) / CEN_NS_PER_MS;
  const int64_t took_ms = (core->settled_ns - sent_ns) / CEN_NS_PER_MS;
  switch (core->end) {
  case PIPELINE_DONE:
    return CENOTE_OK;
  case PIPELINE_FAILED:
  case PIPELINE_REFUSED:
  case PIPELINE_NO_CONNECTION:
    cen_error_copy(error, &call->error);
    return call->error.status != CENOTE_OK ? call->error.status : CENOTE_INTERNAL;
  case PIPELINE_TIMEOUT:
    return timed_out(simple, core, waited_ms, took_ms, error);
  case PIPELINE_SLOW:
    return cenote_error_set(error, CENOTE_STATEMENT_TIMEOUT,
                            "statement timeout: cancelled after %" PRId64 " ms", took_ms);
  case PIPELINE_STOPPED:
    return cenote_error_set(error, CENOTE_CANCELLED, "the statement was cancelled");
  case PIPELINE_LOST:
    return lost(call, error);
  case PIPELINE_UNKNOWN:
    return unknown(call, error);
  case PIPELINE_FULL:
    return cenote_error_set(error, CENOTE_QUEUE_FULL,
                            "%" PRId64 " statements wait for a shared connection already "
                            "(max_waiters); try again later",
                            cen_setting(&simple->manager->settings, CEN_SET_MAX_WAITERS));
  case PIPELINE_SHUT:
    break;
  }
  return cenote_error_set(error, CENOTE_SHUTTING_DOWN,
                          "the pool manager is shutting down: the statement was %s",
                          core->sent ? "cut off" : "not sent");
}

cenote_status simple_end(struct simple *simple, struct simple_call *call, cenote_result **result,
                         struct simple_outcome *outcome, cenote_error *error)
{
  const struct pipeline_call *core = &call->core;
  const int64_t sent_ns = core->sent ? core->sent_ns : core->settled_ns;
  *outcome = (struct simple_outcome){.fate = core->answered ? CEN_FATE_ANSWERED
                                             : core->sent   ? CEN_FATE_UNKNOWN
                                                            : CEN_FATE_NOT_RUN,
                                     .cut_off = core->cut_off,
                                     .waited_ns = sent_ns - core->submitted_ns,
                                     .took_ns = core->settled_ns - sent_ns};
  *result = core->result;
  const cenote_status status = explain(simple, call, error);
  outcome->read_only_refused = core->end == PIPELINE_FAILED && core->role == PIPELINE_READER &&
                               strcmp(call->error.sqlstate, "25006") == 0;
  return status;
}
