/*
 * health.c - is the manager well? What happened lately and what is so now decides; what happened
 * long ago does not.
 *
 *     unhealthy   callers cannot be served: shutting down, or nothing is open and the last
 *                 attempt to connect has just failed, or the circuit breaker refuses them, or a
 *                 probe got no answer
 *     degraded    there is any other issue
 *     healthy     there is none; also before the first connect
 */
#include "manager/observe.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const struct {
  bool unhealthy;
  const char *text;
} issues[CEN_ISSUE_COUNT] = {
#define ISSUE_ROW(name, unhealthy, text) [CEN_ISSUE_##name] = {unhealthy, text},
    CEN_ISSUES(ISSUE_ROW)
#undef ISSUE_ROW
};

const char *cenote_health_name(cenote_health_status status)
{
  static const char *const names[] = {
      [CENOTE_HEALTHY] = "healthy",
      [CENOTE_DEGRADED] = "degraded",
      [CENOTE_UNHEALTHY] = "unhealthy",
  };
  return (size_t)status < sizeof(names) / sizeof(names[0]) ? names[status] : "unknown";
}

static void add_issue(struct cen_health *health, enum cen_issue issue, const char *detail)
{
  cenote_health_status status = issues[issue].unhealthy ? CENOTE_UNHEALTHY : CENOTE_DEGRADED;
  bool more = detail != NULL && detail[0] != '\0';
  snprintf(health->text[health->count], CEN_ISSUE_SIZE, "%s%s%s", issues[issue].text,
           more ? ": " : "", more ? detail : "");
  if (status > health->status) {
    health->status = status;
    health->worst = health->count;
  }
  health->count++;
  health->has[issue] = true;
}

static void judge_load(const struct cen_figures *figures, struct cen_health *health)
{
  const cenote_statistics *now = &figures->statistics;
  int64_t ceiling = figures->setting[CEN_SET_MAX_WAITERS];
  char detail[64];
  if (now->active_leases * 100 > now->max_connections * CEN_UTILIZATION_HIGH) {
    add_issue(health, CEN_ISSUE_UTILIZATION, NULL);
  }
  if (figures->minute.acquire_timeouts > 0) {
    snprintf(detail, sizeof(detail), "%" PRIu64 " in the last minute",
             figures->minute.acquire_timeouts);
    add_issue(health, CEN_ISSUE_ACQUIRE_TIMEOUTS, detail);
  }
  if (now->waiters > 0 && now->waiters * 100 >= ceiling * CEN_QUEUE_HIGH) {
    snprintf(detail, sizeof(detail), "%" PRId64 " of %" PRId64, now->waiters, ceiling);
    add_issue(health, CEN_ISSUE_QUEUE, detail);
  }
}

static void judge_connecting(const struct cen_figures *figures, struct cen_health *health)
{
  bool none = figures->statistics.total_connections == 0;
  bool fresh = figures->connect_error_age_ms <= CEN_CONNECT_ERROR_FRESH_MS;
  if (figures->minute.connection_errors >= CEN_CONNECT_ERRORS_MANY) {
    add_issue(health, CEN_ISSUE_CONNECT_ERRORS, NULL);
  }
  if (figures->minute.login_failures > 0) {
    add_issue(health, CEN_ISSUE_LOGIN_REFUSED, NULL);
  }
  /* Where nobody tries again, an old failure proves nothing: a readiness check that stayed red
   * for it would keep away the very callers that would try. */
  if (none && figures->connect_error != NULL && figures->probe != CEN_PROBE_GOOD) {
    add_issue(health, fresh ? CEN_ISSUE_CANNOT_CONNECT : CEN_ISSUE_LOST_CONNECTIONS,
              figures->connect_error);
  }
  if (figures->breaker.state != CENOTE_BREAKER_CLOSED) {
    add_issue(health, CEN_ISSUE_BREAKER_OPEN, figures->breaker.why);
  }
  if (figures->login_breaker.state != CENOTE_BREAKER_CLOSED) {
    add_issue(health, CEN_ISSUE_LOGIN_BREAKER_OPEN, figures->login_breaker.why);
  }
  if (figures->http_path &&
      (figures->http_error != NULL || figures->http_breaker.state != CENOTE_BREAKER_CLOSED)) {
    add_issue(health, CEN_ISSUE_HTTP_AWAY,
              figures->http_error != NULL ? figures->http_error : figures->http_breaker.why);
  }
  if (figures->probe == CEN_PROBE_FAILED) {
    add_issue(health, CEN_ISSUE_PROBE_FAILED, figures->probe_error);
  }
}

/* Past the deadline, and past the time a cancelled statement has to end. */
static size_t count_overdue(const struct cen_figures *figures)
{
  size_t overdue = 0;
  int64_t patience = figures->setting[CEN_SET_CANCEL_TIMEOUT];
  for (size_t i = 0; i < figures->lease_count; i++) {
    const cenote_lease_info *lease = &figures->leases[i];
    overdue += lease->in_call && lease->remaining_ms < -patience ? 1 : 0;
  }
  return overdue;
}

static void judge_leases(const struct cen_figures *figures, struct cen_health *health)
{
  char detail[32];
  size_t overdue = count_overdue(figures);
  if (figures->quarter.lease_timeouts >= CEN_LEASE_TIMEOUTS_MANY) {
    add_issue(health, CEN_ISSUE_LEASE_TIMEOUTS, NULL);
  }
  if (overdue > 0) {
    snprintf(detail, sizeof(detail), "%zu", overdue);
    add_issue(health, CEN_ISSUE_OVERDUE, detail);
  }
}

/* One lately, or several within a few rounds of the background checks. */
static bool checks_failed(const struct cen_figures *figures)
{
  return figures->minute.check_failures > 0 ||
         figures->quarter.check_failures >= CEN_CHECK_FAILURES_MANY;
}

void cen_health_judge(const struct cen_figures *figures, struct cen_health *health)
{
  cenote_state state = figures->statistics.state;
  memset(health, 0, sizeof(*health));
  health->status = CENOTE_HEALTHY;
  if (state == CENOTE_STATE_DRAINING || state == CENOTE_STATE_SHUTDOWN) {
    add_issue(health, CEN_ISSUE_SHUTTING_DOWN, NULL);
  }
  judge_load(figures, health);
  judge_connecting(figures, health);
  judge_leases(figures, health);
  if (checks_failed(figures)) {
    add_issue(health, CEN_ISSUE_CHECK_FAILURES, NULL);
  }
}
