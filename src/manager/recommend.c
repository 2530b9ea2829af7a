/* recommend.c - what to change, from the same figures as the health verdict: each advice has a
 * threshold in observe.h, a message with the measured figure, and one thing to do. */
#include "manager/observe.h"

#include "base/text.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const priorities[] = {
    [CEN_CRITICAL] = "critical", [CEN_HIGH] = "high", [CEN_MEDIUM] = "medium", [CEN_LOW] = "low"};

const char *cen_priority_name(enum cen_priority priority)
{
  return priorities[priority];
}

/* Keeps the most urgent first, and among equals the order in which they were found. */
__attribute__((format(printf, 5, 6))) static void add(struct cen_advice *advice, const char *type,
                                                      enum cen_priority priority,
                                                      const char *suggestion, const char *format,
                                                      ...)
{
  size_t at = advice->count;
  if (at == CEN_RECOMMENDATIONS) {
    return;
  }
  while (at > 0 && advice->of[at - 1].priority > priority) {
    advice->of[at] = advice->of[at - 1];
    at--;
  }
  struct cen_recommendation *new = &advice->of[at];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(new->message, sizeof(new->message), format, arguments);
  va_end(arguments);
  new->type = type;
  new->priority = priority;
  new->suggestion = suggestion;
  advice->count++;
}

static void advise_on_shares(const struct cen_figures *figures, struct cen_advice *advice)
{
  struct cen_derived derived;
  double lease_ms = (double)figures->setting[CEN_SET_LEASE_TIMEOUT];
  cen_figures_derive(figures, &derived);
  if (derived.utilization > CEN_UTILIZATION_HIGH) {
    add(advice, "warning", CEN_HIGH,
        "Raise max_connections if the database allows it, or hold leases for a shorter time.",
        "High utilization: %.0f %% of the connections are leased (%" PRId64 " of %" PRId64 ").",
        derived.utilization, figures->statistics.active_leases,
        figures->statistics.max_connections);
  }
  if (derived.success_rate < CEN_SUCCESS_LOW) {
    add(advice, "error", CEN_CRITICAL,
        "Look at the error log and the longest leases; callers fail to get a connection in time.",
        "Low success rate: %.1f %% of the acquires of the last 15 minutes.", derived.success_rate);
  }
  if (derived.average_lease_ms * 100 > lease_ms * CEN_LEASE_AGE_HIGH) {
    add(advice, "warning", CEN_MEDIUM,
        "Release leases earlier, break long operations up, or raise lease_timeout_ms.",
        "Long leases: the live ones are %.0f ms old on average, the time-out is %.0f ms.",
        derived.average_lease_ms, lease_ms);
  }
  if (derived.efficiency < CEN_EFFICIENCY_LOW) {
    add(advice, "info", CEN_MEDIUM,
        "Release every lease in a finally block or its like; leases that are not end by time-out.",
        "Leases are not released: only %.1f %% of those that ended in the last 15 minutes were.",
        derived.efficiency);
  }
}

static void advise_on_connections(const struct cen_figures *figures, struct cen_advice *advice)
{
  const cenote_statistics *now = &figures->statistics;
  const struct cen_recent *quarter = &figures->quarter;
  uint64_t maximum = now->max_connections > 0 ? (uint64_t)now->max_connections : 0;
  if (now->total_connections == 0) {
    add(advice, "warning", CEN_HIGH,
        figures->connect_error != NULL
            ? "Check that the database runs and can be reached from here with this URL."
            : "The first acquire opens one; with min_connections above 0 one is kept open.",
        "No connection is open.");
  }
  if (quarter->connections_created > CEN_CREATED_HIGH * maximum) {
    add(advice, "info", CEN_LOW,
        "Look at the reasons for which connections are closed (docs/observe.md); longer "
        "idle_timeout_ms and max_connection_age_ms keep them.",
        "Many new connections: %" PRIu64 " in the last 15 minutes, the maximum is %" PRIu64 ".",
        quarter->connections_created, maximum);
  }
  if (quarter->connections_created >= CEN_CHURN_CREATED &&
      quarter->connections_created * 100 > quarter->leases_granted * CEN_CHURN_SHARE) {
    add(advice, "info", CEN_LOW,
        "Raise min_connections to the usual load, or idle_timeout_ms, so that connections are "
        "reused.",
        "Connections are opened for few leases: %" PRIu64 " for %" PRIu64
        " leases in the last 15 minutes.",
        quarter->connections_created, quarter->leases_granted);
  }
}

static void advise_on_errors(const struct cen_figures *figures, struct cen_advice *advice)
{
  const struct cen_recent *minute = &figures->minute, *quarter = &figures->quarter;
  if (minute->login_failures > 0) {
    add(advice, "error", CEN_CRITICAL,
        "Check user and password; where the password rotates, give a password callback.",
        "The database refused %" PRIu64 " logins in the last minute.", minute->login_failures);
  }
  if (minute->connection_errors >= CEN_CONNECT_ERRORS_MANY) {
    add(advice, "warning", CEN_HIGH,
        "Check that the database runs, the network, and the database's own connection limit.",
        "%" PRIu64 " attempts to connect failed in the last minute.", minute->connection_errors);
  }
  if (quarter->slow_statements * 100 > quarter->statements * CEN_SLOW_MANY &&
      quarter->statements >= CEN_SLOW_SAMPLES) {
    add(advice, "info", CEN_MEDIUM,
        "Look for missing indexes; the log names the operations of slow statements.",
        "%" PRIu64 " of %" PRIu64
        " statements of the last 15 minutes were slower than slow_statement_ms.",
        quarter->slow_statements, quarter->statements);
  }
  if (quarter->memory_pressure_events > 0) {
    add(advice, "info", CEN_MEDIUM,
        "Give the process more memory, or lower max_connections and max_result_bytes.",
        "Memory ran short %" PRIu64 " times in the last 15 minutes; idle connections were given "
        "back.",
        quarter->memory_pressure_events);
  }
}

/* What is made good without anybody noticing should not become a habit. */
static void advise_on_paths(const struct cen_figures *figures, struct cen_advice *advice)
{
  const struct cen_recent *minute = &figures->minute, *quarter = &figures->quarter;
  const bool enough = quarter->statements >= CEN_SLOW_SAMPLES;
  if (minute->breaker_rejections > 0) {
    add(advice, "warning", CEN_HIGH,
        figures->login_breaker.state != CENOTE_BREAKER_CLOSED
            ? "Check user and password; the next login is tried by itself."
            : "See why the database fails; when it answers again callers are let through by "
              "themselves.",
        "The circuit breaker refused %" PRIu64 " callers in the last minute.",
        minute->breaker_rejections);
  }
  if (enough && quarter->retries * 100 > quarter->statements * CEN_RETRIES_MANY) {
    add(advice, "info", CEN_MEDIUM,
        "Look at what ends the connections: the server's log, a proxy or firewall in between.",
        "%" PRIu64 " statements of the last 15 minutes were tried again after a lost connection.",
        quarter->retries);
  }
  if (enough && quarter->fallbacks * 100 > quarter->statements * CEN_FALLBACKS_MANY) {
    add(advice, "info", CEN_LOW,
        "Give such statements the hint CENOTE_HINT_TRANSACTION, which saves the first try.",
        "%" PRIu64
        " statements of the last 15 minutes were tried on a shared connection first and needed one "
        "of their own.",
        quarter->fallbacks);
  }
}

static void advise_on_waiting(const struct cen_figures *figures, struct cen_advice *advice)
{
  const cenote_statistics *now = &figures->statistics;
  const struct cen_recent *minute = &figures->minute;
  int64_t timeout_us = figures->setting[CEN_SET_ACQUIRE_TIMEOUT] * 1000;
  if (minute->acquire_timeouts + minute->acquire_refused > 0) {
    const bool unreachable = now->total_connections == 0 && figures->connect_error != NULL;
    add(advice, "warning", CEN_HIGH,
        unreachable ? "No connection could be opened: see why the database cannot be reached."
                    : "Raise max_connections, hold leases for a shorter time, or raise "
                      "acquire_timeout_ms.",
        "%" PRIu64 " acquires timed out and %" PRIu64 " were refused in the last minute.",
        minute->acquire_timeouts, minute->acquire_refused);
  }
  if (now->acquire_wait.count >= CEN_WAIT_SAMPLES && timeout_us > 0 &&
      (double)now->acquire_wait.p95_us * 100 > (double)timeout_us * CEN_WAIT_LONG) {
    add(advice, "warning", CEN_MEDIUM,
        "Raise max_connections or hold leases for a shorter time before acquires start to fail.",
        "Long waits: one acquire in twenty waits for %" PRIu64 " ms or more.",
        now->acquire_wait.p95_us / 1000);
  }
}

static void advise_on_the_oldest(const struct cen_figures *figures, struct cen_advice *advice)
{
  char shown[96];
  const cenote_lease_info *oldest = figures->leases;
  if (figures->lease_count == 0 || oldest->remaining_ms >= 0) {
    return;
  }
  cen_text_escape(shown, sizeof(shown), oldest->operation_id);
  add(advice, "warning", CEN_MEDIUM,
      "See what this operation waits for; give its acquire a lease time that fits.",
      "The oldest lease (\"%s\", %" PRId64 " ms) is past its deadline.", shown, oldest->age_ms);
}

void cen_advise(const struct cen_figures *figures, const struct cen_health *health,
                struct cen_advice *advice)
{
  advice->count = 0;
  if (health->status == CENOTE_UNHEALTHY) {
    add(advice, "error", CEN_CRITICAL,
        health->has[CEN_ISSUE_SHUTTING_DOWN]
            ? "Send no new work here; start another instance if this was not meant."
            : "Check the database and the network; the issues say what was seen.",
        "The pool is unhealthy: %s.", health->text[health->worst]);
  }
  if (health->has[CEN_ISSUE_SHUTTING_DOWN]) {
    return; /* it will not serve again: nothing to tune */
  }
  advise_on_shares(figures, advice);
  advise_on_connections(figures, advice);
  advise_on_errors(figures, advice);
  advise_on_paths(figures, advice);
  advise_on_waiting(figures, advice);
  advise_on_the_oldest(figures, advice);
}
