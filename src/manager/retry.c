/* retry.c - see retry.h. */
#include "manager/retry.h"

#include <string.h>

static bool is_transient_state(const char *sqlstate)
{
  static const char *const states[] = {
      "57P01", /* the administrator shuts it down, or ended this session */
      "57P02", /* it crashes */
      "57P03", /* it starts, stops or recovers */
      "53300", /* it has no connection left */
  };
  if (strncmp(sqlstate, "08", 2) == 0) {
    return true;
  }
  for (size_t i = 0; i < sizeof states / sizeof states[0]; i++) {
    if (strcmp(sqlstate, states[i]) == 0) {
      return true;
    }
  }
  return false;
}

/* A function may raise, or pass on from elsewhere (dblink), any SQLSTATE: as a plain ERROR it is an
 * answer of a session that lives on. What concerns the session itself ends it. */
static bool ended_its_session(const cenote_error *error)
{
  const char *severity = cenote_error_field(error, 'V');
  severity = severity != NULL ? severity : cenote_error_field(error, 'S');
  return severity == NULL || strcmp(severity, "FATAL") == 0 || strcmp(severity, "PANIC") == 0;
}

static bool is_lost(const cenote_error *error)
{
  return error->status == CENOTE_CONNECTION_LOST || error->status == CENOTE_OUTCOME_UNKNOWN ||
         strcmp(error->sqlstate, "57P01") == 0;
}

bool cen_failure_is_transient(const cenote_error *error)
{
  if (error == NULL) {
    return false;
  }
  switch (error->status) {
  case CENOTE_CONNECTION_LOST:
  case CENOTE_OUTCOME_UNKNOWN:
    return true;
  case CENOTE_CONNECT:
    /* What the driver calls final (no such database, an unknown CA) does not pass by itself. */
    return error->retryable || is_transient_state(error->sqlstate);
  case CENOTE_DATABASE:
    return is_transient_state(error->sqlstate) && ended_its_session(error);
  default:
    return false;
  }
}

bool cen_may_retry(const cenote_error *error, enum cen_fate fate, bool read_only)
{
  /* An answer is no proof that a write has done nothing: a pooler answers 08P01 for a server that
   * died on it, and a procedure may have committed before it failed. */
  return cen_failure_is_transient(error) && (fate == CEN_FATE_NOT_RUN || read_only);
}

int64_t cen_retry_delay_ns(int64_t base_ms, unsigned attempt, const cenote_error *error,
                           struct cen_rng *rng)
{
  const int64_t most = CEN_RETRY_DELAY_MAX_MS * INT64_C(1000000);
  if (base_ms <= 0 || (attempt <= 1 && error != NULL && is_lost(error))) {
    return 0;
  }
  int64_t delay = base_ms < CEN_RETRY_DELAY_MAX_MS ? base_ms * INT64_C(1000000) : most;
  for (unsigned i = 1; i < attempt && delay < most; i++) {
    delay *= 2;
  }
  return cen_rng_jitter(rng, delay < most ? delay : most, CEN_RETRY_JITTER);
}
