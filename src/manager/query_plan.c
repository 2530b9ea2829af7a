/* query_plan.c - where a statement goes, and what comes after a try that failed. */
#include "manager/query.h"

#include "base/error.h"
#include "manager/http_path.h"

#include <inttypes.h>
#include <string.h>

static const char UNNAMED[] = "cenote_query";

static cenote_status check(const cenote_manager *manager, const cenote_query_options *options,
                           cenote_error *error)
{
  if (manager == NULL) {
    return cenote_error_set(error, CENOTE_INVALID, "manager: NULL");
  }
  if (manager_is_foreign(manager)) {
    return manager_foreign_error(error);
  }
  if (options->size < sizeof *options) {
    return cenote_error_set(error, CENOTE_INVALID,
                            "options: size %zu; start with CENOTE_QUERY_OPTIONS_INIT",
                            options->size);
  }
  if ((unsigned)options->hint > CENOTE_HINT_POOL) {
    return cenote_error_set(error, CENOTE_INVALID, "options: there is no hint %d",
                            (int)options->hint);
  }
  return statement_flags_check(options->flags, STATEMENT_ROUTED_FLAGS, error);
}

static void set_times(struct query_plan *plan, const cenote_query_options *options)
{
  const struct cen_settings *settings = &plan->manager->settings;
  const int64_t statement_ms = cen_setting(settings, CEN_SET_STATEMENT_TIMEOUT);
  plan->start_ns = cen_now_ns();
  plan->deadline_ns = CEN_NEVER;
  plan->ends_ns = CEN_NEVER;
  plan->named_deadline = options->timeout_ms > 0;
  if (plan->named_deadline) {
    plan->deadline_ns = cen_deadline_ns(plan->start_ns, options->timeout_ms);
  } else if (statement_ms > 0) {
    plan->deadline_ns = cen_deadline_ns(
        plan->start_ns, cen_setting(settings, CEN_SET_ACQUIRE_TIMEOUT) + statement_ms);
  }
  if (options->remaining_ms > 0) {
    plan->ends_ns = cen_deadline_ns(plan->start_ns, options->remaining_ms);
    plan->deadline_ns = plan->ends_ns < plan->deadline_ns ? plan->ends_ns : plan->deadline_ns;
  }
}

static bool is_native(const struct query_plan *plan)
{
  return (plan->flags & CENOTE_QUERY_NATIVE) != 0;
}

/* What may only read never writes: it is refused first. */
static bool takes_turn(const struct query_plan *plan)
{
  return plan->manager->queries->takes_turns && plan->verdict.shareable &&
         !plan->verdict.read_only && (plan->flags & CENOTE_QUERY_READ_ONLY) == 0;
}

/* `judged`: by the text alone, before the hint. */
static void choose(struct query_plan *plan, const struct cen_verdict *judged)
{
  const struct cen_verdict *verdict = &plan->verdict;
  const enum http_choice http = verdict->shareable ? http_path_choose(plan->manager) : HTTP_NONE;
  plan->http = http == HTTP_TAKES;
  plan->simple =
      plan->http || (verdict->shareable && simple_is_there(plan->manager, verdict->read_only));
  if (http == HTTP_REFUSES) {
    paths_http_fallback(plan->manager);
  }
  plan->why = !judged->shareable     ? CENOTE_WHY_SESSION_STATE
              : !verdict->shareable  ? CENOTE_WHY_HINT
              : http == HTTP_REFUSES ? CENOTE_WHY_BREAKER_OPEN
              : plan->simple         ? CENOTE_WHY_SHAREABLE
                                     : CENOTE_WHY_NOT_SHARED;
  plan->turn = !plan->simple && takes_turn(plan);
}

cenote_status query_plan_init(struct query_plan *plan, cenote_manager *manager,
                              const cenote_statement *statement,
                              const cenote_query_options *options, cenote_error *error)
{
  static const cenote_query_options none = CENOTE_QUERY_OPTIONS_INIT;
  options = options != NULL ? options : &none;
  cenote_status status = check(manager, options, error);
  if (status == CENOTE_OK) {
    status = statement_check(statement->sql, statement->args, statement->count, error);
  }
  if (status != CENOTE_OK) {
    return status;
  }
  const char *operation = options->operation_id;
  const int64_t retries =
      options->retries >= 0 ? options->retries : cen_setting(&manager->settings, CEN_SET_RETRIES);
  *plan = (struct query_plan){
      .manager = manager,
      .statement = *statement,
      .sql_size = strlen(statement->sql),
      .operation = operation != NULL && operation[0] != '\0' ? operation : UNNAMED,
      .flags = options->flags,
      .retries = retries < INT32_MAX ? (unsigned)retries : INT32_MAX,
  };
  set_times(plan, options);
  const struct cen_verdict judged =
      cen_route_judge_as(manager->queries->route, statement->sql, plan->sql_size, is_native(plan));
  plan->verdict = cen_route_apply_hint(judged, options->hint);
  choose(plan, &judged);
  return CENOTE_OK;
}

int64_t query_plan_patience(const struct query_plan *plan, int64_t now_ns)
{
  if (plan->named_deadline) {
    return plan->deadline_ns;
  }
  const int64_t usual =
      cen_deadline_ns(now_ns, cen_setting(&plan->manager->settings, CEN_SET_ACQUIRE_TIMEOUT));
  return usual < plan->deadline_ns ? usual : plan->deadline_ns;
}

int64_t query_plan_lease_ns(const struct query_plan *plan, int64_t now_ns)
{
  const struct cen_settings *settings = &plan->manager->settings;
  const int64_t usual = cen_setting(settings, CEN_SET_LEASE_TIMEOUT) * CEN_NS_PER_MS;
  if (plan->deadline_ns == CEN_NEVER) {
    return usual;
  }
  /* Behind its deadline there is time for a cancel, then for an abort. */
  const int64_t grace = 2 * cen_setting(settings, CEN_SET_CANCEL_TIMEOUT) + 1000;
  return cen_deadline_ns(plan->deadline_ns, grace) - now_ns;
}

unsigned query_plan_request_flags(const struct query_plan *plan)
{
  return statement_request_flags(plan->flags) |
         (plan->verdict.read_only ? CENOTE_REQUEST_READ : 0u);
}

/* Without a deadline that the caller named, one wait is as long as an acquire's; but not so short
 * that somebody who is just inside a connection is one too many. */
static int64_t simple_patience(const struct query_plan *plan)
{
  const int64_t ms = cen_setting(&plan->manager->settings, CEN_SET_ACQUIRE_TIMEOUT);
  return plan->named_deadline ? 0 : (ms > 0 ? ms : 1) * CEN_NS_PER_MS;
}

struct simple_request query_plan_simple(const struct query_plan *plan)
{
  return (struct simple_request){.sql = plan->statement.sql,
                                 .sql_size = plan->sql_size,
                                 .args = plan->statement.args,
                                 .count = plan->statement.count,
                                 .read_only = plan->verdict.read_only,
                                 .http = plan->http,
                                 .flags = plan->flags,
                                 .deadline_ns = plan->deadline_ns,
                                 .patience_ns = simple_patience(plan),
                                 .operation_id = plan->operation};
}

enum cen_fate query_fate(cenote_status status, const struct entry *entry)
{
  if (!entry->asked || (status == CENOTE_CONNECTION_LOST && !entry->sent)) {
    return CEN_FATE_NOT_RUN; /* of what was sent, nothing remains: the driver's promise */
  }
  return status == CENOTE_DATABASE ? CEN_FATE_ANSWERED : CEN_FATE_UNKNOWN;
}

/* The database knows better than the text: it writes. */
static bool is_misjudged(const struct query_plan *plan, bool refused, const cenote_error *error)
{
  if (!plan->verdict.read_only) {
    return false;
  }
  return plan->simple
             ? refused
             : plan->manager->queries->takes_turns && strcmp(error->sqlstate, "25006") == 0;
}

/* What was sent runs again only where the session itself refuses to write: the text does not tell
 * what hides behind a view. */
static bool may_run_twice(const struct query_plan *plan)
{
  return plan->verdict.read_only &&
         ((plan->simple && !plan->http) || plan->manager->queries->takes_turns);
}

static enum query_next move(struct query_plan *plan)
{
  if (plan->simple) {
    paths_fallback(plan->manager);
  }
  plan->why = plan->simple ? CENOTE_WHY_FALLBACK : plan->why;
  plan->simple = false;
  plan->turn = takes_turn(plan);
  return QUERY_AGAIN;
}

/* From HTTP to the pool: to a shared connection where there is one. */
static enum query_next leave_http(struct query_plan *plan)
{
  const struct cen_verdict *verdict = &plan->verdict;
  paths_http_fallback(plan->manager);
  plan->http = false;
  plan->why = CENOTE_WHY_FALLBACK;
  plan->simple = simple_is_there(plan->manager, verdict->read_only);
  return QUERY_AGAIN;
}

/* It was sent over HTTP, and no answer came. A read may go on, but only where the session refuses
 * to write: then nothing that hides in it runs twice. */
static bool may_leave_http(const struct query_plan *plan, enum cen_fate fate,
                           const cenote_error *error)
{
  return fate == CEN_FATE_UNKNOWN && plan->verdict.read_only && cen_failure_is_transient(error) &&
         simple_is_there(plan->manager, true);
}

/* The second try, on a shared connection, has shown that it writes, or found no session that
 * refuses to: nobody knows about the first. */
static enum query_next stay_unsure(cenote_status *status, cenote_error *error)
{
  *status =
      cenote_error_set(error, CENOTE_CONNECTION_LOST,
                       "the connection was lost, and the statement may have been executed: it "
                       "cannot be repeated");
  return QUERY_OVER;
}

static enum query_next retry(struct query_plan *plan, cenote_error *error)
{
  struct cen_rng rng;
  const int64_t now = cen_now_ns();
  const int64_t base_ms = cen_setting(&plan->manager->settings, CEN_SET_RETRY_DELAY);
  cen_rng_seed(&rng, (uint64_t)now ^ (uint64_t)(uintptr_t)plan);
  const int64_t delay = cen_retry_delay_ns(base_ms, plan->attempt + 1, error, &rng);
  if (plan->attempt >= plan->retries || delay >= plan->deadline_ns - now) {
    if (plan->attempt > 0) {
      cen_error_details(error, "tried %u times in %" PRId64 " ms\n", plan->attempt + 1,
                        (now - plan->start_ns) / CEN_NS_PER_MS);
    }
    return QUERY_OVER;
  }
  plan->attempt++;
  plan->wait_ns = now + delay;
  paths_retry(plan->manager);
  return delay > 0 ? QUERY_WAIT : QUERY_AGAIN;
}

enum query_next query_plan_judge(struct query_plan *plan, cenote_status *told, enum cen_fate fate,
                                 bool refused, cenote_error *error)
{
  const cenote_status status = *told;
  if (status == CENOTE_OK) {
    return QUERY_OVER;
  }
  if (plan->http && fate == CEN_FATE_NOT_RUN && http_path_failed(status)) {
    return leave_http(plan);
  }
  if (plan->http && may_leave_http(plan, fate, error)) {
    plan->unsure = true;
    return leave_http(plan);
  }
  if (is_misjudged(plan, refused, error)) {
    cen_route_not_read_only_as(plan->manager->queries->route, plan->statement.sql, plan->sql_size,
                               is_native(plan));
    plan->verdict.read_only = false;
    if (plan->unsure) {
      return stay_unsure(told, error);
    }
    return (plan->flags & CENOTE_QUERY_READ_ONLY) != 0 ? QUERY_OVER : move(plan);
  }
  if (plan->simple && status == CENOTE_UNSUPPORTED && fate == CEN_FATE_NOT_RUN) {
    return plan->unsure ? stay_unsure(told, error) : move(plan);
  }
  if (fate == CEN_FATE_NOT_RUN && (status == CENOTE_TIMEOUT || status == CENOTE_QUEUE_FULL)) {
    return QUERY_OVER; /* it has waited as long as it may */
  }
  if (fate == CEN_FATE_NOT_RUN && status == CENOTE_CONNECT &&
      !cen_breaker_is_closed(&plan->manager->breaker)) {
    return QUERY_OVER; /* who asks again is refused: what the server said is the better answer */
  }
  return cen_may_retry(error, fate, may_run_twice(plan)) ? retry(plan, error) : QUERY_OVER;
}

void query_note_simple(const struct query_plan *plan, cenote_status status,
                       const struct simple_outcome *outcome, const cenote_error *error)
{
  if (plan->http && !outcome->cut_off) {
    http_path_note(plan->manager, status, error);
  }
  if (status != CENOTE_OK && outcome->fate == CEN_FATE_NOT_RUN) {
    return;
  }
  statement_note(plan->manager,
                 &(struct statement_outcome){.path = plan->http ? CEN_PATH_HTTP : CEN_PATH_SIMPLE,
                                             .why = plan->why,
                                             .sql = plan->statement.sql,
                                             .operation = plan->operation,
                                             .status = status,
                                             .error = error,
                                             .cut_off = outcome->cut_off,
                                             .waited_ns = outcome->waited_ns,
                                             .took_ns = outcome->took_ns});
}
