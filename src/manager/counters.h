/*
 * counters.h - each counter of cenote_statistics once: what it is called in the JSON, in the recent
 * windows and in /metrics. Merging (merge.c), windows (observe.h), JSON (stats_json.c) and metrics
 * (server/metrics.c) are all made from these lists; a new counter is a row here, a line in
 * observing.c or paths.c that fills it, and a row in the docs. A test finds a member of
 * cenote_statistics that has none. Any thread: there is nothing but macros.
 *
 * X(member, object, json, recent, metric)
 *   object   of the JSON: METRICS, PATHS, or SHOWN_ELSEWHERE (json is NULL)
 *   recent   its name in lastMinute and last15Minutes, or NULL
 *   metric   PLAIN(family): a sample of its own; OUTCOME(family, word): with that label;
 *            OK_BUT(family, other): what is left of it without `other`, with outcome "ok";
 *            OF_PATH(family, path): with that label; IN_PARTS: it is the sum of others there
 */
#ifndef CEN_COUNTERS_H
#define CEN_COUNTERS_H

/* Those that are also known for the last minute and quarter hour. */
#define CEN_COUNTERS_LATELY(X)                                                                     \
  X(connections_created, METRICS, "totalConnectionsCreated", "connectionsCreated", PLAIN(OPENED))  \
  X(leases_granted, METRICS, "totalLeasesGranted", "leasesGranted", OUTCOME(ACQUIRES, "granted"))  \
  X(leases_released, METRICS, "totalLeasesReleased", "leasesReleased", PLAIN(RELEASED))            \
  X(connection_errors, METRICS, "connectionCreationErrors", "connectionCreationErrors",            \
    PLAIN(CONNECT_ERRORS))                                                                         \
  X(lease_timeouts, METRICS, "leaseTimeouts", "leaseTimeouts", PLAIN(EXPIRED))                     \
  X(check_failures, METRICS, "healthCheckFailures", "healthCheckFailures",                         \
    OUTCOME(CHECKS, "failed"))                                                                     \
  X(connections_closed, METRICS, "totalConnectionsClosed", "connectionsClosed", IN_PARTS)          \
  X(login_failures, METRICS, "loginFailures", "loginFailures", PLAIN(LOGIN_FAILURES))              \
  X(acquire_timeouts, METRICS, "acquireTimeouts", "acquireTimeouts", OUTCOME(ACQUIRES, "timeout")) \
  X(acquire_refused, METRICS, "acquireRefused", "acquireRefused", OUTCOME(ACQUIRES, "refused"))    \
  X(checks, METRICS, "healthChecks", "healthChecks", OK_BUT(CHECKS, check_failures))               \
  X(statements, METRICS, "statements", "statements", IN_PARTS)                                     \
  X(statement_errors, METRICS, "statementErrors", "statementErrors", IN_PARTS)                     \
  X(slow_statements, METRICS, "slowStatements", "slowStatements", PLAIN(SLOW))                     \
  X(memory_pressure_events, METRICS, "memoryPressureEvents", "memoryPressureEvents",               \
    PLAIN(PRESSURE))                                                                               \
  X(breaker_rejections, METRICS, "breakerRejections", "breakerRejections", IN_PARTS)               \
  X(fallbacks, PATHS, "fallbacks", "fallbacks", OF_PATH(FALLBACKS, "simple"))                      \
  X(retries, PATHS, "retries", "retries", PLAIN(RETRIES))

/* Those of which only the total is known. */
#define CEN_COUNTERS_TOTAL(X)                                                             \
  X(acquire_cancelled, METRICS, "acquireCancelled", NULL, OUTCOME(ACQUIRES, "cancelled")) \
  X(resets, METRICS, "sessionResets", NULL, OK_BUT(RESETS, reset_failures))               \
  X(reset_failures, METRICS, "sessionResetFailures", NULL, OUTCOME(RESETS, "failed"))     \
  X(thaws, METRICS, "thaws", NULL, PLAIN(THAWS))                                          \
  X(breaker_opened, METRICS, "breakerOpened", NULL, IN_PARTS)                             \
  X(reruns, PATHS, "reruns", NULL, PLAIN(RERUNS))                                         \
  X(transaction_retries, PATHS, "transactionRetries", NULL, PLAIN(TX_RETRIES))            \
  X(simple.statements, SHOWN_ELSEWHERE, NULL, NULL, IN_PARTS)                             \
  X(simple.errors, SHOWN_ELSEWHERE, NULL, NULL, IN_PARTS)                                 \
  X(exclusive.statements, SHOWN_ELSEWHERE, NULL, NULL, IN_PARTS)                          \
  X(exclusive.errors, SHOWN_ELSEWHERE, NULL, NULL, IN_PARTS)                              \
  X(http.statements, SHOWN_ELSEWHERE, NULL, NULL, IN_PARTS)                               \
  X(http.errors, SHOWN_ELSEWHERE, NULL, NULL, IN_PARTS)                                   \
  X(http_fallbacks, SHOWN_ELSEWHERE, NULL, NULL, OF_PATH(FALLBACKS, "http"))

#define CEN_COUNTERS(X)  \
  CEN_COUNTERS_LATELY(X) \
  CEN_COUNTERS_TOTAL(X)

/* What is now: added up over several managers, and written where each belongs. */
#define CEN_GAUGES(X)  \
  X(total_connections) \
  X(idle_connections)  \
  X(active_leases)     \
  X(waiters)           \
  X(opening)           \
  X(closing)           \
  X(min_connections)   \
  X(max_connections)   \
  X(pipelines)         \
  X(pipelines_idle)    \
  X(in_flight)         \
  X(http_in_flight)

/* The paths, with their words: X(member, word). Each has counts by reason, too: member##_why. */
#define CEN_PATH_MEMBERS(X) \
  X(simple, "simple")       \
  X(exclusive, "exclusive") \
  X(http, "http")

/* The breakers as figures have them: X(member, word in JSON and metrics). */
#define CEN_BREAKERS(X)     \
  X(breaker, "endpoint")    \
  X(login_breaker, "login") \
  X(http_breaker, "http")

#endif
