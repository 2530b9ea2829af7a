/*
 * observe.h - from figures to words: whether a manager is well, what to change, and all of it as
 * JSON in the shapes that dashboards read. Pure functions of one struct, which the manager fills
 * without holding a lock while they run; any thread. docs/observe.md has every threshold.
 */
#ifndef CEN_OBSERVE_H
#define CEN_OBSERVE_H

#include "base/buf.h"
#include "base/hist.h"
#include "base/json.h"
#include "core/slot.h"
#include "manager/counters.h"
#include "manager/settings.h"
#include "manager/window.h"

/* ------------------------------------------------------------------ lately */

/* Of the last minute, or quarter hour. */
struct cen_recent {
#define CEN_RECENT_FIELD(name, object, json, recent, metric) uint64_t name;
  CEN_COUNTERS_LATELY(CEN_RECENT_FIELD)
#undef CEN_RECENT_FIELD
  uint64_t closed_by[POOL_REASON_COUNT]; /* connections closed, by enum pool_reason */
};

/* The windows behind it, one set a manager; guarded by a lock of the manager's. */
struct cen_recent_windows {
#define CEN_RECENT_WINDOW(name, object, json, recent, metric) struct cen_window name;
  CEN_COUNTERS_LATELY(CEN_RECENT_WINDOW)
#undef CEN_RECENT_WINDOW
  struct cen_window closed_by[POOL_REASON_COUNT];
};

void cen_recent_init(struct cen_recent_windows *windows, int64_t now_ns);
/* Takes in what the counters grew by since the last call, as happening now. Call it in each pass
 * of the janitor and before reading; no counter on a fast path pays for it. */
void cen_recent_track(struct cen_recent_windows *windows, int64_t now_ns,
                      const cenote_statistics *statistics,
                      const uint64_t closed_by[POOL_REASON_COUNT]);
void cen_recent_read(struct cen_recent_windows *windows, int64_t now_ns, struct cen_recent *minute,
                     struct cen_recent *quarter);

/* ----------------------------------------------------------------- figures */

enum cen_probe { CEN_PROBE_NONE, CEN_PROBE_GOOD, CEN_PROBE_FAILED };

/* One circuit breaker. */
struct cen_breaker_figure {
  cenote_breaker_state state;
  int64_t not_closed_ms; /* for so long it has not been closed; 0 while it is */
  int64_t next_ms;       /* until the next attempt; 0 while it is closed, or one is under way */
  uint64_t opened, rejected;
  const char *why; /* the last failure, without secrets; NULL or "": none yet */
};

/* Everything the words are made from. Texts are borrowed. */
struct cen_figures {
  cenote_statistics statistics;
  int64_t setting[CEN_SETTING_COUNT]; /* cen_figures_settings */
  int64_t unix_ms;                    /* wall clock, for timestamps */
  int64_t uptime_ms;
  const char *profile;  /* "server", or NULL */
  const char *driver;   /* "postgres", or NULL */
  const char *database; /* redacted URL, or NULL */

  /* live leases, oldest first, operation ids redacted already; may be fewer than active_leases */
  const cenote_lease_info *leases;
  size_t lease_count;

  struct cen_recent minute;
  struct cen_recent quarter;

  int64_t longest_wait_ms;   /* of those who wait now */
  const uint64_t *closed_by; /* connections closed, by enum pool_reason; or NULL */

  /* the last attempt to connect that failed, without secrets; NULL: none since the last success */
  const char *connect_error;
  int64_t connect_error_age_ms;

  enum cen_probe probe;
  const char *probe_error; /* or NULL */

  bool simple_path; /* single statements may share connections */
  struct cen_breaker_figure breaker, login_breaker;

  bool http_path; /* there is SQL over HTTP beside the pool; else the next mean nothing */
  struct cen_breaker_figure http_breaker;
  const char *http_error; /* what a probe of it met, or NULL */
};

void cen_figures_settings(struct cen_figures *figures, const struct cen_settings *settings);

/* Percentages are 0 … 100. */
struct cen_derived {
  double utilization;         /* leases of the maximum, now */
  double success_rate;        /* acquires that got a lease which came back in time; last 15 min */
  double average_lease_ms;    /* age of the live leases; 0 without */
  double efficiency;          /* leases that were released, of those that ended; last 15 min */
  double reuse_rate;          /* leases that needed no new connection, since the start */
  double acquires_per_second; /* last minute */
  double statements_per_second;
  double error_rate; /* of statements; last minute */
};

void cen_figures_derive(const struct cen_figures *figures, struct cen_derived *derived);

/* ------------------------------------------- figures of several managers (merge.c) */

/* What percentiles are computed from, so that they can be computed over several managers. */
#define CEN_TIMES(X)          \
  X(wait) /* who waited */    \
  X(hold)                     \
  X(connect)                  \
  X(simple_wait)              \
  X(simple_statement)         \
  X(exclusive_statement)      \
  X(http_wait)                \
  X(http_statement)           \
  X(depth) /* plain counts */ \
  X(batch)

struct cen_times {
#define CEN_TIMES_FIELD(name) struct cen_hist name;
  CEN_TIMES(CEN_TIMES_FIELD)
#undef CEN_TIMES_FIELD
};

enum { CEN_SUM_LEASES = 1000, CEN_SUM_TEXT = 512 };

/* The figures of one manager, or the sum of those of several, with all that they point to: large,
 * and never copied. All zeros is an empty sum. One owner, any thread. */
struct cen_sum {
  struct cen_figures figures; /* its percentiles are empty until cen_sum_settle */
  struct cen_times times;
  uint64_t closed_by[POOL_REASON_COUNT];
  size_t managers;           /* that it is of */
  size_t failing;            /* of them without a connection, and the last attempt failed */
  size_t working;            /* that have a connection, or lost none that they wanted */
  cenote_lease_info *leases; /* malloc'ed: at most CEN_SUM_LEASES, oldest first */
  size_t lease_room;
  char database[CEN_SUM_TEXT], connect_error[CEN_SUM_TEXT], breaker_why[CEN_SUM_TEXT],
      login_breaker_why[CEN_SUM_TEXT], http_breaker_why[CEN_SUM_TEXT];
};

/* The manager's figures into a sum that is emptied first; without a probe. Takes no lock for long. */
void cen_figures_collect(cenote_manager *manager, struct cen_sum *sum);
/* The figures of one manager, percentiles apart. */
void cen_sum_add(struct cen_sum *sum, const struct cen_figures *figures);
/* Counters, gauges and windows are added up, histograms joined; the oldest leases, the worst
 * breaker, the longest wait and uptime stay. Settings are the first one's, but for the bounds of
 * connections and of waiters, which are added up. A connect error remains only while no manager
 * has fared better. What `from` points to is copied. */
void cen_figures_merge(struct cen_sum *to, const struct cen_sum *from);
/* Computes the percentiles, when all is merged. */
void cen_sum_settle(struct cen_sum *sum);
/* The manager is no more: only what counts since its start remains. */
void cen_sum_retire(struct cen_sum *sum);
void cen_sum_empty(struct cen_sum *sum); /* keeps its memory for the next */
void cen_sum_deinit(struct cen_sum *sum);

/* Most acquires do not wait, and only those that did are in the histogram; the percentiles are of
 * all of them. */
void cen_waits_read(const struct cen_hist *wait, uint64_t grants, cenote_percentiles *out);
/* Of a histogram that holds counts where others hold nanoseconds: nothing is divided. */
void cen_plain_read(const struct cen_hist *hist, cenote_percentiles *out);

/* ------------------------------------------------------------------ health */

/* Thresholds, named once. */
enum {
  CEN_UTILIZATION_HIGH = 80,   /* percent; above */
  CEN_SUCCESS_LOW = 95,        /* percent; below */
  CEN_LEASE_AGE_HIGH = 80,     /* percent of the lease time-out; above */
  CEN_EFFICIENCY_LOW = 98,     /* percent; below */
  CEN_CREATED_HIGH = 2,        /* times the maximum in 15 min; above */
  CEN_CONNECT_ERRORS_MANY = 3, /* in the last minute; from */
  CEN_LEASE_TIMEOUTS_MANY = 3, /* in 15 min; from */
  CEN_CHECK_FAILURES_MANY = 3, /* in 15 min; from; one in the last minute is enough, too */
  CEN_QUEUE_HIGH = 80,         /* percent of max_waiters; from */
  CEN_WAIT_LONG = 10,          /* p95 in percent of the acquire time-out; above */
  CEN_WAIT_SAMPLES = 20,       /* waits before that is said */
  CEN_SLOW_MANY = 5,           /* percent of the statements of 15 min; above */
  CEN_SLOW_SAMPLES = 20,
  CEN_RETRIES_MANY = 5,              /* percent of the statements of 15 min; above */
  CEN_FALLBACKS_MANY = 20,           /* the same */
  CEN_CHURN_SHARE = 20,              /* new connections in percent of the leases of 15 min; above */
  CEN_CHURN_CREATED = 10,            /* connections before that is said */
  CEN_CONNECT_ERROR_FRESH_MS = 60000 /* a failed connect older than this is history */
};

/* X(name, whether it alone makes a manager unhealthy, text). The first four texts are part of the
 * contract with dashboards; some of the others end with what happened. */
#define CEN_ISSUES(X)                                                       \
  X(UTILIZATION, false, "High lease utilization")                           \
  X(CONNECT_ERRORS, false, "Multiple connection creation errors")           \
  X(LEASE_TIMEOUTS, false, "Frequent lease timeouts")                       \
  X(CHECK_FAILURES, false, "Recent health check failures")                  \
  X(SHUTTING_DOWN, true, "The manager is shutting down")                    \
  X(CANNOT_CONNECT, true, "No connection, and the last attempt failed")     \
  X(PROBE_FAILED, true, "The database did not answer")                      \
  X(LOST_CONNECTIONS, false, "No connection since the last attempt failed") \
  X(BREAKER_OPEN, true, "The circuit breaker is open")                      \
  X(LOGIN_BREAKER_OPEN, false, "The login circuit breaker is open")         \
  X(LOGIN_REFUSED, false, "The database refuses the login")                 \
  X(ACQUIRE_TIMEOUTS, false, "Callers timed out waiting for a connection")  \
  X(QUEUE, false, "The waiting queue is nearly full")                       \
  X(OVERDUE, false, "Leases past their deadline are still in a call")       \
  X(HTTP_AWAY, false, "SQL over HTTP does not work, the pool serves all")

enum cen_issue {
#define CEN_ISSUE_ENUM(name, unhealthy, text) CEN_ISSUE_##name,
  CEN_ISSUES(CEN_ISSUE_ENUM)
#undef CEN_ISSUE_ENUM
      CEN_ISSUE_COUNT
};

enum { CEN_ISSUE_SIZE = 320 };

struct cen_health {
  cenote_health_status status;
  bool has[CEN_ISSUE_COUNT];
  size_t count;
  size_t worst; /* of the texts: the first that made the status what it is */
  char text[CEN_ISSUE_COUNT][CEN_ISSUE_SIZE]; /* `count` of them */
};

void cen_health_judge(const struct cen_figures *figures, struct cen_health *health);

/* --------------------------------------------------------- recommendations */

enum cen_priority { CEN_CRITICAL, CEN_HIGH, CEN_MEDIUM, CEN_LOW };

struct cen_recommendation {
  const char *type; /* "error", "warning", "info" */
  enum cen_priority priority;
  char message[256];
  const char *suggestion;
};

enum { CEN_RECOMMENDATIONS = 20 };

struct cen_advice {
  size_t count; /* the most urgent first */
  struct cen_recommendation of[CEN_RECOMMENDATIONS];
};

void cen_advise(const struct cen_figures *figures, const struct cen_health *health,
                struct cen_advice *advice);
const char *cen_priority_name(enum cen_priority priority); /* "critical", … */

/* -------------------------------------------------------------------- JSON */

/* Each answers a malloc'ed text, or NULL when memory is short. */
char *cen_statistics_json(const struct cen_figures *figures); /* getPoolStatistics() */
char *cen_health_json(const struct cen_figures *figures);     /* getHealthStatus() */
char *cen_stats_json(const struct cen_figures *figures);      /* getStats() */
char *cen_status_json(const struct cen_figures *figures);     /* the monitoring endpoint */
/* The parts, for a writer of one's own: values, to be placed after a key. */
/* Members of an open object: what `connectionPool` has. */
void cen_write_pool_members(struct cen_json *json, const struct cen_figures *figures,
                            const struct cen_health *health);
void cen_write_statistics(struct cen_json *json, const struct cen_figures *figures);
void cen_write_derived(struct cen_json *json, const struct cen_figures *figures);
void cen_write_issues(struct cen_json *json, const struct cen_health *health);
void cen_write_advice(struct cen_json *json, const struct cen_advice *advice);
enum { CEN_TIME_SIZE = 32 };
void cen_time_text(char out[CEN_TIME_SIZE], int64_t unix_ms); /* 2024-01-15T10:30:00.000Z */
enum { CEN_LEASE_ID_SIZE = 48 };
void cen_lease_id(char out[CEN_LEASE_ID_SIZE], cenote_lease lease);

#endif
