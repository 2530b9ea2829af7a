/*
 * observe.h - what a manager is doing and how it is: statistics, live leases, health, settings, as
 * structs and as JSON. cenote.h includes it. Everything here may be called on any thread, and takes
 * nothing away from those who work.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef CENOTE_OBSERVE_H
#define CENOTE_OBSERVE_H

#include <cenote/cenote.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum cenote_state {
  CENOTE_STATE_IDLE,
  CENOTE_STATE_ACTIVE,
  CENOTE_STATE_DRAINING,
  CENOTE_STATE_SHUTDOWN
} cenote_state;

CENOTE_API const char *cenote_state_name(cenote_state state); /* "IDLE", … */

/* Times in microseconds. */
typedef struct cenote_percentiles {
  uint64_t count;
  uint64_t p50_us, p95_us, p99_us, max_us;
  double mean_us;
} cenote_percentiles;

/* One path to the database: leases ("exclusive"), or shared connections ("simple"). */
typedef struct cenote_path_statistics {
  uint64_t statements, errors;
  cenote_percentiles wait;      /* until it was sent */
  cenote_percentiles statement; /* from then on */
} cenote_path_statistics;

typedef enum cenote_breaker_state {
  CENOTE_BREAKER_CLOSED,
  CENOTE_BREAKER_IS_OPEN,
  CENOTE_BREAKER_HALF_OPEN
} cenote_breaker_state;

CENOTE_API const char *cenote_breaker_name(cenote_breaker_state state); /* "closed", … */

/* Why a statement went the way it went. */
typedef enum cenote_why {
  CENOTE_WHY_LEASE,         /* on a lease that the caller holds, outside a transaction */
  CENOTE_WHY_TRANSACTION,   /* in a transaction, or a batch */
  CENOTE_WHY_SHAREABLE,     /* it may share a connection, or go over HTTP */
  CENOTE_WHY_SESSION_STATE, /* it may not: session state, or not understood */
  CENOTE_WHY_HINT,          /* it might, but for the caller's hint */
  CENOTE_WHY_BREAKER_OPEN,  /* it might, but HTTP's breaker was not closed */
  CENOTE_WHY_FALLBACK,      /* it might, but the way that was tried first failed, or was full */
  CENOTE_WHY_NOT_SHARED,    /* it might, but nothing is shared here */
  CENOTE_WHYS
} cenote_why;

CENOTE_API const char *cenote_why_name(cenote_why why); /* "lease", … */

typedef struct cenote_statistics {
  size_t size;
  cenote_state state;
  /* now */
  int64_t total_connections, idle_connections, active_leases, waiters, opening, closing;
  int64_t min_connections, max_connections;
  /* since the start */
  uint64_t connections_created, connections_closed, connection_errors, login_failures;
  uint64_t leases_granted, leases_released, lease_timeouts, acquire_timeouts, acquire_cancelled,
      acquire_refused;
  uint64_t checks, check_failures, resets, reset_failures;
  uint64_t statements, statement_errors, slow_statements;
  uint64_t memory_pressure_events, thaws;
  cenote_percentiles acquire_wait, hold, statement, connect;
  /* the two paths */
  cenote_path_statistics simple, exclusive;
  int64_t pipelines, in_flight;    /* now: shared connections, statements on them */
  cenote_percentiles depth, batch; /* statements in flight when one is added; answered by one read
                                      (plain counts, not times) */
  uint64_t fallbacks;              /* statements that moved from the simple path to the other */
  uint64_t retries;                /* statements tried again after a transient failure */
  uint64_t reruns;                 /* run again because a neighbour's cancel hit them */
  uint64_t transaction_retries;    /* after 40001 and 40P01 */
  uint64_t breaker_rejections;
  uint64_t breaker_opened;                     /* transitions to open, both breakers */
  cenote_breaker_state breaker, login_breaker; /* now */
  /* SQL over HTTP beside the pool; zeros where there is none */
  cenote_path_statistics http;
  int64_t http_in_flight;            /* now */
  uint64_t http_fallbacks;           /* statements for it that went to the pool */
  cenote_breaker_state http_breaker; /* now; breaker_opened does not count it */
  /* the statements of each path by reason */
  uint64_t simple_why[CENOTE_WHYS], exclusive_why[CENOTE_WHYS], http_why[CENOTE_WHYS];
  /* now: shared connections with nothing to do, for a second or until somebody wants one */
  int64_t pipelines_idle;
} cenote_statistics;

#define CENOTE_STATISTICS_INIT        \
  {                                   \
    .size = sizeof(cenote_statistics) \
  }

CENOTE_API CENOTE_MUST_USE cenote_status cenote_pool_statistics(cenote_manager *manager,
                                                                cenote_statistics *statistics);

/* The live leases, oldest first: up to `capacity` into `leases`, how many
 * there are into *count. Start leases[0] with CENOTE_LEASE_INFO_INIT: its
 * size says how large each of them is. */
CENOTE_API CENOTE_MUST_USE cenote_status cenote_pool_leases(cenote_manager *manager,
                                                            cenote_lease_info *leases,
                                                            size_t capacity, size_t *count);

typedef enum cenote_health_status {
  CENOTE_HEALTHY,
  CENOTE_DEGRADED,
  CENOTE_UNHEALTHY
} cenote_health_status;

CENOTE_API const char *cenote_health_name(cenote_health_status status); /* "healthy", … */

/* How the manager is. With `probe` a connection is checked now (bounded by
 * connect_timeout_ms; not with external_loop, nor inside a callback of the
 * loop); without, the measured figures alone decide. A manager
 * that has not connected yet is not unhealthy. *health is never empty on
 * CENOTE_OK. */
CENOTE_API CENOTE_MUST_USE cenote_status cenote_health(cenote_manager *manager, bool probe,
                                                       cenote_health_status *health,
                                                       cenote_error *error);

/* A host that asks the database by itself (with external_loop) tells how that
 * went: it counts among the checks, and a failure as cenote_health's own. Any
 * thread. */
CENOTE_API void cenote_note_health_check(cenote_manager *manager, bool good);

/* JSON texts, owned by the caller, freed with cenote_string_free: the
 * statistics in the shape of getPoolStatistics(), the health in the shape of
 * getHealthStatus() with issues and recommendations (docs/observe.md). */
CENOTE_API CENOTE_MUST_USE cenote_status cenote_pool_statistics_json(cenote_manager *manager,
                                                                     char **json,
                                                                     cenote_error *error);
CENOTE_API CENOTE_MUST_USE cenote_status cenote_health_json(cenote_manager *manager, bool probe,
                                                            char **json, cenote_error *error);
/* The effective settings, each with value, default, range, unit and where it
 * came from; secrets redacted. */
CENOTE_API CENOTE_MUST_USE cenote_status cenote_config_json(cenote_manager *manager, char **json,
                                                            cenote_error *error);
CENOTE_API void cenote_string_free(char *text);

#ifdef __cplusplus
}
#endif

#endif
