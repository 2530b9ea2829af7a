/*
 * breaking.c - the manager's circuit breakers: what counts as a failure, who is refused, and who
 * probes. docs/manager.md explains it.
 *
 *     breaker         the endpoint. Connects, checks and statements; while it is not closed
 *                     everybody is refused, and POOL_GATE_BREAKER turns the fast path off.
 *     login_breaker   the login. Connects only; while it is not closed nobody logs in, and who
 *                     would need a new connection is refused. Those that are open go on working.
 *
 * While both are closed the pool's back-off decides when a connect is tried again; while one is
 * not, the breaker alone does: the pool is held (pool_hold) and opens nothing but the probe that
 * breaking_turn asks for. Only the housekeeper probes, so that recovery is noticed without any
 * caller, and callers change nothing.
 */
#include "manager/manager.h"

#include "base/error.h"
#include "manager/http_path.h"
#include "manager/retry.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum which { ENDPOINT, LOGIN };

static struct cen_breaker *breaker_of(struct cenote_manager *manager, enum which which)
{
  return which == LOGIN ? &manager->login_breaker : &manager->breaker;
}

struct cen_breaker_limits breaking_limits(const struct cenote_manager *manager, bool logins)
{
  const struct cen_settings *settings = &manager->settings;
#define MS(id) (cen_setting(settings, CEN_SET_##id) * CEN_NS_PER_MS)
  const int64_t failures =
      cen_setting(settings, logins ? CEN_SET_LOGIN_FAILURES : CEN_SET_BREAKER_FAILURES);
  return (struct cen_breaker_limits){
      .failures = (uint32_t)failures,
      /* Accounts are locked for logins that fail quickly, too: these count one by one. */
      .most_at_once = logins         ? 0
                      : failures > 1 ? (uint32_t)failures - 1
                                     : 1,
      .window_ns = MS(BREAKER_WINDOW),
      .open_ns = MS(BREAKER_OPEN),
      .open_max_ns = MS(BREAKER_OPEN_MAX),
      .probe_ns = MS(CONNECT_TIMEOUT) + 1000 * CEN_NS_PER_MS,
  };
#undef MS
}

cenote_status breaking_new(struct cenote_manager *manager)
{
  const int64_t now = cen_now_ns();
  const struct cen_breaker_limits endpoint = breaking_limits(manager, false);
  const struct cen_breaker_limits login = breaking_limits(manager, true);
  cenote_status status =
      cen_breaker_init(&manager->breaker, &endpoint, (uint64_t)now ^ manager->id, now);
  if (status != CENOTE_OK) {
    return status;
  }
  status = cen_breaker_init(&manager->login_breaker, &login, (uint64_t)now + manager->id, now);
  if (status != CENOTE_OK) {
    cen_breaker_deinit(&manager->breaker);
  }
  manager->has_breakers = status == CENOTE_OK;
  return status;
}

void breaking_free(struct cenote_manager *manager)
{
  if (manager->has_breakers) {
    cen_breaker_deinit(&manager->breaker);
    cen_breaker_deinit(&manager->login_breaker);
    manager->has_breakers = false;
  }
}

static bool is_draining(const struct cenote_manager *manager)
{
  return atomic_load_explicit(&manager->pool.phase, memory_order_acquire) != POOL_OPEN;
}

/* ------------------------------------------------------------- what a move brings */

/* Whoever moved a breaker comes here afterwards: the last one sees how both stand, and leaves the
 * pool like that. */
static void settle(struct cenote_manager *manager)
{
  struct pool_wakes wakes = {0};
  pthread_mutex_lock(&manager->life_lock);
  const bool serves = cen_breaker_is_closed(&manager->breaker);
  const bool logs_in = cen_breaker_is_closed(&manager->login_breaker);
  if (serves) {
    atomic_fetch_and_explicit(&manager->pool.gate, ~(uint32_t)POOL_GATE_BREAKER,
                              memory_order_release);
  } else {
    atomic_fetch_or_explicit(&manager->pool.gate, POOL_GATE_BREAKER, memory_order_release);
  }
  pool_hold(&manager->pool, !serves || !logs_in, cen_now_ns(), &wakes);
  pthread_mutex_unlock(&manager->life_lock);
  manager_wake(manager, &wakes);
}

static int64_t ms_between(int64_t from_ns, int64_t to_ns)
{
  return to_ns > from_ns ? (to_ns - from_ns) / CEN_NS_PER_MS : 0;
}

static const char *name_of(enum which which)
{
  return which == LOGIN ? "login circuit breaker" : "circuit breaker";
}

static void log_move(struct cenote_manager *manager, enum which which,
                     const struct cen_breaker_move *move, const struct cen_breaker_view *view)
{
  const int64_t now = cen_now_ns();
  if (move->to == CENOTE_BREAKER_IS_OPEN) {
    cen_log_write(&manager->log,
                  move->from == CENOTE_BREAKER_CLOSED ? CENOTE_LOG_WARNING : CENOTE_LOG_INFO,
                  "%s for %s open, next attempt in %" PRId64 " ms: %s", name_of(which),
                  manager->url, ms_between(now, view->next_ns), view->why);
  } else if (move->to == CENOTE_BREAKER_HALF_OPEN) {
    cen_log_write(&manager->log, CENOTE_LOG_DEBUG, "%s for %s half-open: one attempt",
                  name_of(which), manager->url);
  } else {
    cen_log_write(&manager->log, CENOTE_LOG_INFO, "%s for %s closed after %" PRId64 " ms",
                  name_of(which), manager->url, ms_between(view->opened_ns, now));
  }
}

static void tell(struct cenote_manager *manager, enum which which,
                 const struct cen_breaker_move *move)
{
  if (!move->moved) {
    return;
  }
  struct cen_breaker_view view;
  char reason[sizeof view.why + 32];
  settle(manager);
  cen_breaker_look(breaker_of(manager, which), &view);
  log_move(manager, which, move, &view);
  const bool open = move->to == CENOTE_BREAKER_IS_OPEN;
  snprintf(reason, sizeof reason, "%s%s%s%s", which == LOGIN ? "login " : "",
           cenote_breaker_name(move->to), open ? ": " : "", open ? view.why : "");
  observer_audit(manager, CENOTE_AUDIT_BREAKER_MOVED, 0, reason, "");
  housekeeper_kick(manager); /* the next probe is a new deadline */
}

void breaking_configure(struct cenote_manager *manager)
{
  static const enum which both[] = {ENDPOINT, LOGIN};
  for (int i = 0; i < 2; i++) {
    const struct cen_breaker_limits limits = breaking_limits(manager, both[i] == LOGIN);
    struct cen_breaker_move move;
    cen_breaker_configure(breaker_of(manager, both[i]), &limits, cen_now_ns(), &move);
    tell(manager, both[i], &move);
  }
  http_path_configure(manager);
}

/* --------------------------------------------------------------------- outcomes */

static void note_good(struct cenote_manager *manager, enum which which)
{
  struct cen_breaker *breaker = breaker_of(manager, which);
  struct cen_breaker_move move;
  if (cen_breaker_mode(breaker) == CEN_BREAKER_QUIET) {
    return;
  }
  cen_breaker_good(breaker, cen_now_ns(), &move);
  tell(manager, which, &move);
}

static void note_bad(struct cenote_manager *manager, enum which which, const cenote_error *error)
{
  struct cen_breaker_move move;
  if (is_draining(manager)) {
    return; /* what is cut off now, we cut off */
  }
  cen_breaker_bad(breaker_of(manager, which), error, cen_now_ns(), &move);
  tell(manager, which, &move);
}

enum verdict { SAYS_NOTHING, IS_WELL, IS_NOT };

/* libSQL: a session that rested for too long. The connection is lost; the server is well, and said so. */
static bool is_expiry(const cenote_error *error)
{
  const char *code = cenote_error_field(error, 'X');
  return error->status == CENOTE_CONNECTION_LOST && code != NULL &&
         strcmp(code, "STREAM_EXPIRED") == 0;
}

static enum verdict judge(const cenote_error *error)
{
  if (is_expiry(error)) {
    return IS_WELL;
  }
  if (cen_failure_is_transient(error)) {
    return IS_NOT;
  }
  switch (error->status) {
  case CENOTE_AUTH:
  case CENOTE_DATABASE:
    return IS_WELL;
  case CENOTE_CONNECT: /* no such database: it answered; no such certificate: of no use to us */
    return error->sqlstate[0] != '\0' ? IS_WELL : IS_NOT;
  default:
    return SAYS_NOTHING;
  }
}

/* The error as we know it, with the status's own words where the caller did not want any. */
static const cenote_error *full_error(cenote_status status, const cenote_error *error,
                                      cenote_error *room)
{
  if (error != NULL && error->size >= sizeof *error && error->status == status) {
    return error;
  }
  *room = (cenote_error)CENOTE_ERROR_INIT;
  (void)cenote_error_set(room, status, "%s", cenote_status_text(status));
  return room;
}

void manager_note(struct cenote_manager *manager, cenote_status status, const cenote_error *error)
{
  if (status == CENOTE_OK) {
    /* While it is open, only a connect, or a check that it asked for, closes it: holders whose
     * connections still work say nothing about those that would be refused. */
    if (cen_breaker_mode(&manager->breaker) != CEN_BREAKER_REFUSES) {
      note_good(manager, ENDPOINT);
    }
    return;
  }
  cenote_error room;
  error = full_error(status, error, &room);
  const enum verdict verdict = judge(error);
  if (verdict == IS_NOT) {
    note_bad(manager, ENDPOINT, error);
  } else if (verdict == IS_WELL && cen_breaker_mode(&manager->breaker) != CEN_BREAKER_REFUSES) {
    note_good(manager, ENDPOINT);
  }
}

void manager_note_connect(struct cenote_manager *manager, cenote_status status,
                          const cenote_error *error)
{
  cenote_error room;
  if (status != CENOTE_OK) {
    error = full_error(status, error, &room);
  }
  const enum verdict verdict = status == CENOTE_OK ? IS_WELL : judge(error);
  if (status == CENOTE_OK) {
    note_good(manager, LOGIN);
  } else if (status == CENOTE_AUTH || !cen_breaker_is_closed(&manager->login_breaker)) {
    note_bad(manager, LOGIN, error); /* a probe that came to nothing is a failed one */
  }
  if (verdict == IS_WELL) {
    note_good(manager, ENDPOINT);
  } else if (verdict == IS_NOT) {
    note_bad(manager, ENDPOINT, error);
  }
}

void manager_note_check(struct cenote_manager *manager, bool good)
{
  if (good) {
    manager_note(manager, CENOTE_OK, NULL);
  } else if (cen_breaker_mode(&manager->breaker) == CEN_BREAKER_PROBES) {
    /* Else one that a firewall forgot would count. */
    manager_note(manager, CENOTE_CONNECTION_LOST, NULL);
  }
}

/* --------------------------------------------------------------------- refusing */

/* Message and details for whoever is refused, or was. */
static cenote_status refuse(struct cenote_manager *manager, enum which which, cenote_error *error)
{
  const int64_t now = cen_now_ns();
  struct cen_breaker_view view;
  char next[64] = "";
  cen_breaker_look(breaker_of(manager, which), &view);
  if (view.state == CENOTE_BREAKER_HALF_OPEN) {
    snprintf(next, sizeof next, "; the next attempt is under way");
  } else if (view.state == CENOTE_BREAKER_IS_OPEN) {
    snprintf(next, sizeof next, "; next attempt in %" PRId64 " ms", ms_between(now, view.next_ns));
  }
  cenote_error_set(error, CENOTE_BREAKER_OPEN,
                   "the %s is open since %" PRId64
                   " ms%s: %s (the acquire timeout is not waited for)",
                   name_of(which), ms_between(view.opened_ns, now), next, view.why);
  cen_error_sqlstate(error, view.sqlstate);
  cen_error_details(error, "%s\nopened %" PRIu64 " times, %" PRIu64 " callers refused\n",
                    which == LOGIN ? "no login is tried meanwhile, so that the account is not "
                                     "locked; check user and password"
                                   : "callers are refused at once until an attempt succeeds",
                    view.opened, view.rejected);
  return CENOTE_BREAKER_OPEN;
}

cenote_status breaking_error(struct cenote_manager *manager, cenote_error *error)
{
  const bool login =
      cen_breaker_is_closed(&manager->breaker) && !cen_breaker_is_closed(&manager->login_breaker);
  return refuse(manager, login ? LOGIN : ENDPOINT, error);
}

cenote_status manager_admit(struct cenote_manager *manager, cenote_error *error)
{
  if ((cen_breaker_is_closed(&manager->breaker) &&
       cen_breaker_is_closed(&manager->login_breaker)) ||
      is_draining(manager)) {
    return CENOTE_OK;
  }
  const int64_t now = cen_now_ns();
  if (cen_breaker_refuses(&manager->breaker, now)) {
    return refuse(manager, ENDPOINT, error);
  }
  if (!pool_has_connections(&manager->pool) && cen_breaker_refuses(&manager->login_breaker, now)) {
    return refuse(manager, LOGIN, error);
  }
  return CENOTE_OK; /* a probe is due: he waits for its outcome, like for any connect */
}

/* ---------------------------------------------------------------------- probing */

/* When something may be asked again of the one that must wait longer. */
static int64_t next_probe(struct cenote_manager *manager)
{
  struct cen_breaker_view endpoint, login;
  cen_breaker_look(&manager->breaker, &endpoint);
  cen_breaker_look(&manager->login_breaker, &login);
  if (endpoint.state == CENOTE_BREAKER_CLOSED) {
    return login.next_ns;
  }
  if (login.state == CENOTE_BREAKER_CLOSED) {
    return endpoint.next_ns;
  }
  return endpoint.next_ns > login.next_ns ? endpoint.next_ns : login.next_ns;
}

static void send_probe(struct cenote_manager *manager, int64_t now_ns)
{
  struct pool_wakes wakes = {0};
  struct cen_breaker_move move;
  (void)cen_breaker_admit(&manager->login_breaker, now_ns, &move);
  tell(manager, LOGIN, &move);
  (void)cen_breaker_admit(&manager->breaker, now_ns, &move);
  tell(manager, ENDPOINT, &move);
  /* Where every connection is in somebody's hands, what they do there decides. */
  const bool asks = pool_probe(&manager->pool, now_ns, &wakes);
  (void)asks;
  manager_wake(manager, &wakes);
}

int64_t breaking_turn(struct cenote_manager *manager, int64_t now_ns)
{
  if (is_draining(manager)) {
    return CEN_NEVER;
  }
  const int64_t next = next_probe(manager);
  if (now_ns < next) {
    return next;
  }
  if (!cen_breaker_is_closed(&manager->login_breaker) && !pool_misses_connections(&manager->pool)) {
    return CEN_NEVER; /* no login that nobody asked for; who asks comes by here */
  }
  send_probe(manager, now_ns);
  return next_probe(manager);
}

void breaking_read(struct cenote_manager *manager, cenote_statistics *out)
{
  struct cen_breaker_view endpoint, login;
  cen_breaker_look(&manager->breaker, &endpoint);
  cen_breaker_look(&manager->login_breaker, &login);
  out->breaker = endpoint.state;
  out->login_breaker = login.state;
  out->breaker_opened = endpoint.opened + login.opened;
  out->breaker_rejections = endpoint.rejected + login.rejected;
}
