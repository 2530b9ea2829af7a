/*
 * metrics.c - what /metrics says. Labels are the database, the user, and words of closed lists;
 * never an operation id, which is a caller's text. docs/monitoring.md lists all of them, and a test
 * compares.
 */
#include "server/metrics_text.h"
#include "server/monitor_inside.h"

#include "manager/budget.h"
#include "net/clock.h"

#include <cenote/cenote.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* X(id, name, type, help) */
#define FAMILIES(X)                                                                                \
  X(BUILD, "cenote_build_info", GAUGE, "Version of the gateway; always 1.")                        \
  X(HEALTH, "cenote_health", GAUGE, "1 for the state that the gateway as a whole is in.")          \
  X(DRAINING, "cenote_draining", GAUGE, "1 while the gateway is about to end.")                    \
  X(POOL_HEALTH, "cenote_pool_health", GAUGE, "1 for the state that the pool is in.")              \
  X(MANAGERS, "cenote_pool_managers", GAUGE,                                                       \
    "Managers behind the pool: one, or one for each loop that needed it.")                         \
  X(CONNECTIONS, "cenote_pool_connections", GAUGE, "Connections to the database, by state.")       \
  X(MAX, "cenote_pool_connections_limit", GAUGE, "Most connections that the pool may have.")       \
  X(LEASES, "cenote_pool_leases", GAUGE, "Leases that are held.")                                  \
  X(OLDEST, "cenote_pool_oldest_lease_seconds", GAUGE, "Age of the oldest lease that is held.")    \
  X(WAITERS, "cenote_pool_waiters", GAUGE, "Callers that wait for a connection.")                  \
  X(LONGEST, "cenote_pool_longest_wait_seconds", GAUGE,                                            \
    "How long the one has waited that waits longest.")                                             \
  X(IN_FLIGHT, "cenote_pool_statements_in_flight", GAUGE, "Statements on shared connections.")     \
  X(BREAKER, "cenote_breaker_state", GAUGE, "1 for the state that the circuit breaker is in.")     \
  X(OPENED, "cenote_connections_opened_total", COUNTER, "Connections that were opened.")           \
  X(CLOSED, "cenote_connections_closed_total", COUNTER,                                            \
    "Connections that were closed, by reason.")                                                    \
  X(CONNECT_ERRORS, "cenote_connection_errors_total", COUNTER, "Attempts to connect that failed.") \
  X(LOGIN_FAILURES, "cenote_login_failures_total", COUNTER,                                        \
    "Attempts to connect that the database refused for the login.")                                \
  X(ACQUIRES, "cenote_acquires_total", COUNTER, "Requests for a lease that ended, by outcome.")    \
  X(RELEASED, "cenote_leases_released_total", COUNTER, "Leases that came back.")                   \
  X(EXPIRED, "cenote_leases_expired_total", COUNTER,                                               \
    "Leases that were taken back at their deadline.")                                              \
  X(STATEMENTS, "cenote_statements_total", COUNTER, "Statements that ended, by path and outcome.") \
  X(REASONS, "cenote_statements_by_reason_total", COUNTER,                                         \
    "Statements that ended, by path and why they took it.")                                        \
  X(SLOW, "cenote_slow_statements_total", COUNTER, "Statements slower than slow_statement_ms.")    \
  X(FALLBACKS, "cenote_fallbacks_total", COUNTER,                                                  \
    "Statements that moved from this path to another one.")                                        \
  X(RETRIES, "cenote_retries_total", COUNTER,                                                      \
    "Statements that were tried again after a transient failure.")                                 \
  X(RERUNS, "cenote_reruns_total", COUNTER,                                                        \
    "Statements that were run again because a neighbour's cancel hit them.")                       \
  X(TX_RETRIES, "cenote_transaction_retries_total", COUNTER,                                       \
    "Transactions that were run again after a serialization failure or a deadlock.")               \
  X(BREAKER_OPENED, "cenote_breaker_opened_total", COUNTER, "Times that the breaker opened.")      \
  X(BREAKER_REJECTED, "cenote_breaker_rejections_total", COUNTER,                                  \
    "Callers that the open breaker refused, or, HTTP's, sent to the pool.")                        \
  X(CHECKS, "cenote_checks_total", COUNTER, "Checks of idle connections, by outcome.")             \
  X(RESETS, "cenote_session_resets_total", COUNTER, "Sessions that were cleaned, by outcome.")     \
  X(PRESSURE, "cenote_memory_pressure_total", COUNTER, "Times that memory ran short.")             \
  X(THAWS, "cenote_thaws_total", COUNTER, "Times that the machine had been suspended.")            \
  X(WAIT, "cenote_acquire_wait_seconds", HISTOGRAM, "How long acquires waited for a lease.")       \
  X(HOLD, "cenote_lease_hold_seconds", HISTOGRAM, "How long leases were held.")                    \
  X(CONNECT, "cenote_connect_seconds", HISTOGRAM, "How long it took to connect.")                  \
  X(STATEMENT, "cenote_statement_seconds", HISTOGRAM,                                              \
    "How long statements took once they were sent, by path.")                                      \
  X(STATEMENT_WAIT, "cenote_statement_wait_seconds", HISTOGRAM,                                    \
    "How long statements waited until they were sent on a shared connection.")                     \
  X(BUDGET_LIMIT, "cenote_budget_connections_limit", GAUGE,                                        \
    "Most connections of all pools together.")                                                     \
  X(BUDGET_USED, "cenote_budget_connections", GAUGE,                                               \
    "Connections of all pools that are open or promised.")                                         \
  X(BUDGET_HUNGRY, "cenote_budget_hungry_pools", GAUGE, "Pools that wait for a connection.")       \
  X(BUDGET_MOVED, "cenote_budget_moved_total", COUNTER,                                            \
    "Connections that went from one pool to another.")                                             \
  X(HTTP_CONNECTIONS, "cenote_http_connections", GAUGE, "HTTP connections that are open.")         \
  X(HTTP_ACCEPTED, "cenote_http_accepted_total", COUNTER, "HTTP connections that were accepted.")  \
  X(HTTP_REQUESTS, "cenote_http_requests_total", COUNTER,                                          \
    "HTTP requests, by endpoint and class of status.")                                             \
  X(HTTP_REFUSED, "cenote_http_refused_total", COUNTER,                                            \
    "HTTP requests that were refused before an endpoint saw them.")                                \
  X(HTTP_TIMED_OUT, "cenote_http_timed_out_total", COUNTER,                                        \
    "HTTP connections that were closed because they were too slow.")                               \
  X(HTTP_GONE, "cenote_http_gone_total", COUNTER,                                                  \
    "HTTP clients that went away before they had their answer.")                                   \
  X(HTTP_SECONDS, "cenote_http_request_seconds", HISTOGRAM,                                        \
    "From the whole request to the end of its answer, by endpoint.")                               \
  X(LISTENERS, "cenote_live_listeners", GAUGE, "Clients that follow /api/admin/live.")             \
  X(START, "process_start_time_seconds", GAUGE, "When the process began, in Unix time.")           \
  X(CPU, "process_cpu_seconds_total", COUNTER, "CPU time of the process.")                         \
  X(RESIDENT, "process_resident_memory_bytes", GAUGE, "Resident memory of the process.")           \
  X(VIRTUAL, "process_virtual_memory_bytes", GAUGE, "Virtual memory of the process.")              \
  X(FDS, "process_open_fds", GAUGE, "Descriptors that are open.")                                  \
  X(MAX_FDS, "process_max_fds", GAUGE, "Most descriptors that may be open.")

enum family {
#define FAMILY_ENUM(id, name, type, help) F_##id,
  FAMILIES(FAMILY_ENUM)
#undef FAMILY_ENUM
      FAMILY_COUNT
};

struct metrics_draft {
  struct gateway *gateway;
  struct metrics_family family[FAMILY_COUNT];
  /* pairs that have no series of their own, added up for each database */
  struct cen_sum **others;
  size_t *other_managers;
};

struct metrics_draft *metrics_begin(struct gateway *gateway)
{
  struct metrics_draft *draft = calloc(1, sizeof *draft);
  if (draft == NULL) {
    return NULL;
  }
  draft->gateway = gateway;
  draft->others = calloc(gateway->database_count + 1, sizeof(struct cen_sum *));
  draft->other_managers = calloc(gateway->database_count + 1, sizeof(*draft->other_managers));
  if (draft->others == NULL || draft->other_managers == NULL) {
    metrics_free(draft);
    return NULL;
  }
#define FAMILY_INIT(id, name, type, help) \
  metrics_family_init(&draft->family[F_##id], name, METRICS_##type, help);
  FAMILIES(FAMILY_INIT)
#undef FAMILY_INIT
  return draft;
}

void metrics_free(struct metrics_draft *draft)
{
  if (draft == NULL) {
    return;
  }
  for (unsigned i = 0; i < FAMILY_COUNT; i++) {
    cen_buf_deinit(&draft->family[i].samples);
  }
  for (size_t i = 0; draft->others != NULL && i < draft->gateway->database_count; i++) {
    if (draft->others[i] != NULL) {
      cen_sum_deinit(draft->others[i]);
      free(draft->others[i]);
    }
  }
  free(draft->others);
  free(draft->other_managers);
  free(draft);
}

/* ---------------------------------------------------------------------- of a pool */

/* A draft with the labels that all samples of a pool have. */
struct pool_scope {
  struct metrics_draft *draft;
  struct metrics_labels labels;
};

static void put(const struct pool_scope *scope, enum family family, const char *label,
                const char *word, uint64_t value)
{
  struct metrics_labels labels = scope->labels;
  if (label != NULL && word != NULL) {
    metrics_label(&labels, label, word);
  }
  metrics_count(&scope->draft->family[family], &labels, value);
}

static uint64_t gauge(int64_t value)
{
  return value > 0 ? (uint64_t)value : 0;
}

static void put_breaker(const struct pool_scope *scope, const char *name,
                        const struct cen_breaker_figure *breaker)
{
  struct pool_scope own = *scope;
  metrics_label(&own.labels, "breaker", name);
  for (unsigned i = 0; i <= CENOTE_BREAKER_HALF_OPEN; i++) {
    put(&own, F_BREAKER, "state", cenote_breaker_name((cenote_breaker_state)i),
        breaker->state == (cenote_breaker_state)i);
  }
  put(&own, F_BREAKER_OPENED, NULL, NULL, breaker->opened);
  put(&own, F_BREAKER_REJECTED, NULL, NULL, breaker->rejected);
}

static void put_now(const struct pool_scope *scope, const struct cen_figures *figures)
{
  const cenote_statistics *now = &figures->statistics;
  put(scope, F_CONNECTIONS, "state", "idle", gauge(now->idle_connections));
  put(scope, F_CONNECTIONS, "state", "leased", gauge(now->active_leases));
  put(scope, F_CONNECTIONS, "state", "shared", gauge(now->pipelines));
  put(scope, F_CONNECTIONS, "state", "opening", gauge(now->opening));
  put(scope, F_CONNECTIONS, "state", "closing", gauge(now->closing));
  put(scope, F_MAX, NULL, NULL, gauge(now->max_connections));
  put(scope, F_LEASES, NULL, NULL, gauge(now->active_leases));
  put(scope, F_WAITERS, NULL, NULL, gauge(now->waiters));
  put(scope, F_IN_FLIGHT, NULL, NULL, gauge(now->in_flight));
  metrics_real(&scope->draft->family[F_OLDEST], &scope->labels,
               figures->lease_count > 0 ? (double)figures->leases[0].age_ms / 1000 : 0);
  metrics_real(&scope->draft->family[F_LONGEST], &scope->labels,
               (double)figures->longest_wait_ms / 1000);
}

/* What the pool has no HTTP path for, it has no samples for. */
static void put_of_path(const struct pool_scope *scope, const struct cen_figures *figures,
                        enum family family, const char *path, uint64_t value)
{
  if (figures->http_path || strcmp(path, "http") != 0) {
    put(scope, family, "path", path, value);
  }
}

static void put_counters(const struct pool_scope *scope, const struct cen_sum *sum)
{
  const cenote_statistics *all = &sum->figures.statistics;
  uint64_t value;
#define PUT_PLAIN(family) put(scope, F_##family, NULL, NULL, value);
#define PUT_OUTCOME(family, word) put(scope, F_##family, "outcome", word, value);
#define PUT_OK_BUT(family, other) \
  put(scope, F_##family, "outcome", "ok", value > all->other ? value - all->other : 0);
#define PUT_OF_PATH(family, path) put_of_path(scope, &sum->figures, F_##family, path, value);
#define PUT_IN_PARTS (void)value;
#define PUT(name, object, json, recent, metric) \
  value = all->name;                            \
  PUT_##metric
  CEN_COUNTERS(PUT)
#undef PUT
  for (int i = POOL_REASON_NONE + 1; i < POOL_REASON_COUNT; i++) {
    static const char *const words[] = {
#define REASON_WORD(name, text) text,
        POOL_REASONS(REASON_WORD)
#undef REASON_WORD
    };
    put(scope, F_CLOSED, "reason", words[i], sum->closed_by[i]);
  }
}

static void put_path(const struct pool_scope *scope, const char *name,
                     const cenote_path_statistics *path, const uint64_t why[CENOTE_WHYS],
                     const struct cen_hist *times)
{
  struct pool_scope own = *scope;
  metrics_label(&own.labels, "path", name);
  put(&own, F_STATEMENTS, "outcome", "ok",
      path->statements > path->errors ? path->statements - path->errors : 0);
  put(&own, F_STATEMENTS, "outcome", "error", path->errors);
  for (int reason = 0; reason < CENOTE_WHYS; reason++) {
    put(&own, F_REASONS, "reason", cenote_why_name((cenote_why)reason), why[reason]);
  }
  metrics_hist(&scope->draft->family[F_STATEMENT], &own.labels, times, 0);
}

static void put_statements(const struct pool_scope *scope, const struct cen_sum *sum)
{
  const cenote_statistics *all = &sum->figures.statistics;
#define PUT_PATH(member, word)                                                              \
  if (sum->figures.http_path || &all->member != &all->http) {                               \
    put_path(scope, word, &all->member, all->member##_why, &sum->times.member##_statement); \
  }
  CEN_PATH_MEMBERS(PUT_PATH)
#undef PUT_PATH
}

static void put_times(const struct pool_scope *scope, const struct cen_sum *sum)
{
  cenote_percentiles waited;
  cen_hist_read(&sum->times.wait, &waited);
  const uint64_t granted = sum->figures.statistics.leases_granted;
  metrics_hist(&scope->draft->family[F_WAIT], &scope->labels, &sum->times.wait,
               granted > waited.count ? granted - waited.count : 0);
  metrics_hist(&scope->draft->family[F_HOLD], &scope->labels, &sum->times.hold, 0);
  metrics_hist(&scope->draft->family[F_CONNECT], &scope->labels, &sum->times.connect, 0);
  metrics_hist(&scope->draft->family[F_STATEMENT_WAIT], &scope->labels, &sum->times.simple_wait, 0);
}

static void put_health(const struct pool_scope *scope, enum family family,
                       cenote_health_status health)
{
  for (unsigned i = 0; i <= CENOTE_UNHEALTHY; i++) {
    put(scope, family, "state", cenote_health_name((cenote_health_status)i),
        health == (cenote_health_status)i);
  }
}

static void pool_put(struct metrics_draft *draft, const char *database, const char *user,
                     size_t managers, const struct cen_sum *sum)
{
  struct pool_scope scope = {.draft = draft};
  struct cen_health health;
  metrics_label(&scope.labels, "database", database);
  metrics_label(&scope.labels, "user", user);
  cen_health_judge(&sum->figures, &health);
  put_health(&scope, F_POOL_HEALTH, health.status);
  put(&scope, F_MANAGERS, NULL, NULL, managers);
  put_now(&scope, &sum->figures);
  put_counters(&scope, sum);
  put_statements(&scope, sum);
#define PUT_BREAKER(member, word)                                                     \
  if (sum->figures.http_path || &sum->figures.member != &sum->figures.http_breaker) { \
    put_breaker(&scope, word, &sum->figures.member);                                  \
  }
  CEN_BREAKERS(PUT_BREAKER)
#undef PUT_BREAKER
  put_times(&scope, sum);
}

void metrics_pool(struct metrics_draft *draft, const struct pools_group *group,
                  const struct cen_sum *sum)
{
  if (group->apart) {
    pool_put(draft, group->database, group->user, group->managers, sum);
    return;
  }
  for (size_t i = 0; i < draft->gateway->database_count; i++) {
    if (strcmp(draft->gateway->databases[i].name, group->database) != 0) {
      continue;
    }
    if (draft->others[i] == NULL) {
      draft->others[i] = calloc(1, sizeof *draft->others[i]);
    }
    if (draft->others[i] == NULL) {
      draft->family[F_OPENED].samples.failed = true; /* better no text than one that lacks some */
      return;
    }
    cen_figures_merge(draft->others[i], sum);
    draft->other_managers[i] += group->managers;
  }
}

/* --------------------------------------------------------------- of the gateway */

static void put_http(const struct pool_scope *scope)
{
  struct cen_http_server *http = scope->draft->gateway->http;
  struct cen_http_figures figures;
  cen_http_server_figures(http, &figures);
  put(scope, F_HTTP_CONNECTIONS, NULL, NULL, figures.connections);
  put(scope, F_HTTP_ACCEPTED, NULL, NULL, figures.accepted);
  put(scope, F_HTTP_REFUSED, NULL, NULL, figures.refused);
  put(scope, F_HTTP_TIMED_OUT, NULL, NULL, figures.timed_out);
  put(scope, F_HTTP_GONE, NULL, NULL, figures.gone);
  struct cen_http_endpoint endpoint = {0};
  for (size_t i = 0; cen_http_server_endpoint(http, i, &endpoint); i++) {
    static const char *const classes[] = {"other", "1xx", "2xx", "3xx", "4xx", "5xx"};
    struct pool_scope own = *scope;
    metrics_label(&own.labels, "endpoint", endpoint.path != NULL ? endpoint.path : "(none)");
    metrics_label(&own.labels, "method",
                  endpoint.path != NULL ? cen_http_method_name[endpoint.method] : "");
    for (unsigned digit = 2; digit < 6; digit++) {
      put(&own, F_HTTP_REQUESTS, "status", classes[digit], endpoint.by_class[digit]);
    }
    if (endpoint.path != NULL) {
      metrics_hist(&scope->draft->family[F_HTTP_SECONDS], &own.labels, &endpoint.seconds, 0);
    }
    memset(&endpoint, 0, sizeof endpoint);
  }
}

static void put_budget(const struct pool_scope *scope)
{
  struct cen_budget_figures budget;
  if (scope->draft->gateway->budget == NULL) {
    return;
  }
  cen_budget_read(scope->draft->gateway->budget, &budget);
  put(scope, F_BUDGET_LIMIT, NULL, NULL, gauge(budget.maximum));
  put(scope, F_BUDGET_USED, NULL, NULL, gauge(budget.used));
  put(scope, F_BUDGET_HUNGRY, NULL, NULL, gauge(budget.hungry));
  put(scope, F_BUDGET_MOVED, NULL, NULL, budget.moved);
}

static void put_memory(const struct pool_scope *scope)
{
  unsigned long long total = 0, resident = 0;
  FILE *file = fopen("/proc/self/statm", "re");
  const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
  if (file == NULL) {
    return;
  }
  if (fscanf(file, "%llu %llu", &total, &resident) == 2) {
    put(scope, F_VIRTUAL, NULL, NULL, total * page);
    put(scope, F_RESIDENT, NULL, NULL, resident * page);
  }
  (void)fclose(file);
}

static void put_descriptors(const struct pool_scope *scope)
{
  struct rlimit limit;
  uint64_t open = 0;
  DIR *folder = opendir("/proc/self/fd");
  if (folder != NULL) {
    for (const struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
      open += entry->d_name[0] != '.';
    }
    (void)closedir(folder);
    put(scope, F_FDS, NULL, NULL, open > 0 ? open - 1 : 0); /* our own look */
  }
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    put(scope, F_MAX_FDS, NULL, NULL, limit.rlim_cur);
  }
}

static void put_process(const struct pool_scope *scope)
{
  struct metrics_family *family = scope->draft->family;
  struct rusage usage;
  metrics_real(&family[F_START], NULL, (double)scope->draft->gateway->born_unix_ms / 1000);
  if (getrusage(RUSAGE_SELF, &usage) == 0) {
    const double seconds = (double)usage.ru_utime.tv_sec + (double)usage.ru_stime.tv_sec +
                           ((double)usage.ru_utime.tv_usec + (double)usage.ru_stime.tv_usec) / 1e6;
    metrics_real(&family[F_CPU], NULL, seconds);
  }
  put_memory(scope);
  put_descriptors(scope);
}

struct monitor_text *metrics_end(struct metrics_draft *draft, cenote_health_status health,
                                 unsigned listeners)
{
  if (draft == NULL) {
    return NULL;
  }
  struct pool_scope scope = {.draft = draft};
  struct cen_buf buf;
  for (size_t i = 0; i < draft->gateway->database_count; i++) {
    if (draft->others[i] != NULL) {
      pool_put(draft, draft->gateway->databases[i].name, POOLS_OTHERS, draft->other_managers[i],
               draft->others[i]);
    }
  }
  put(&scope, F_BUILD, "version", cenote_version(), 1);
  put_health(&scope, F_HEALTH, health);
  put(&scope, F_DRAINING, NULL, NULL, atomic_load(&draft->gateway->draining));
  put(&scope, F_LISTENERS, NULL, NULL, listeners);
  put_http(&scope);
  put_budget(&scope);
  put_process(&scope);
  cen_buf_init(&buf, METRICS_CEILING);
  for (unsigned i = 0; i < FAMILY_COUNT; i++) {
    metrics_family_end(&draft->family[i], &buf);
  }
  struct monitor_text *text = buf.failed ? NULL : monitor_text_new(&buf);
  cen_buf_deinit(&buf);
  return text;
}
