/* http_well.c - is SQL over HTTP well? Its breaker, the housekeeper's probes; how it is made, and
 * how it ends. */
#include "manager/http_path_inside.h"

#include "base/error.h"
#include "driver/registry.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---------------------------------------------------------------- is it well? */

static void tell(struct cenote_manager *manager, const struct cen_breaker_move *move)
{
  if (!move->moved) {
    return;
  }
  struct cen_breaker_view view;
  char reason[sizeof view.why + 32];
  cen_breaker_look(&manager->http->breaker, &view);
  const bool open = move->to == CENOTE_BREAKER_IS_OPEN;
  if (open && move->from == CENOTE_BREAKER_CLOSED) {
    cen_log_write(&manager->log, CENOTE_LOG_WARNING,
                  "SQL over HTTP does not work, single statements take the pool: %s", view.why);
  } else if (move->to == CENOTE_BREAKER_CLOSED) {
    cen_log_write(&manager->log, CENOTE_LOG_INFO,
                  "SQL over HTTP works again, single statements go there");
  }
  (void)snprintf(reason, sizeof reason, "http %s%s%s", cenote_breaker_name(move->to),
                 open ? ": " : "", open ? view.why : "");
  observer_audit(manager, CENOTE_AUDIT_BREAKER_MOVED, 0, reason, "");
  housekeeper_kick(manager);
}

bool http_path_failed(cenote_status status)
{
  switch (status) {
  case CENOTE_CONNECTION_LOST:
  case CENOTE_CONNECT:
  case CENOTE_CONFIG:
  case CENOTE_AUTH:
  case CENOTE_IO:
  case CENOTE_UNSUPPORTED:
  case CENOTE_QUEUE_FULL:
  case CENOTE_DATABASE: /* that has not run: it had no connection */
    return true;
  default:
    return false;
  }
}

void http_path_note(struct cenote_manager *manager, cenote_status status, const cenote_error *error)
{
  struct http_path *path = manager->http;
  struct cen_breaker_move move = {.moved = false};
  bool bad = status == CENOTE_CONNECT || status == CENOTE_CONFIG || status == CENOTE_AUTH ||
             status == CENOTE_IO || status == CENOTE_CONNECTION_LOST ||
             status == CENOTE_OUTCOME_UNKNOWN;
  bad = bad || (status == CENOTE_DATABASE && cen_failure_is_transient(error));
  const enum cen_breaker_mode mode = cen_breaker_mode(&path->breaker);
  if (bad) {
    cen_breaker_bad(&path->breaker, error, cen_now_ns(), &move);
  } else if ((status == CENOTE_OK || status == CENOTE_DATABASE) && mode != CEN_BREAKER_QUIET &&
             mode != CEN_BREAKER_REFUSES) {
    cen_breaker_good(&path->breaker, cen_now_ns(), &move);
  } else if (mode == CEN_BREAKER_PROBES && status == CENOTE_STATEMENT_TIMEOUT) {
    cen_breaker_bad(&path->breaker, error, cen_now_ns(), &move); /* a probe without an answer */
  }
  tell(manager, &move);
}

enum http_choice http_path_choose(struct cenote_manager *manager)
{
  struct http_path *path = manager->http;
  if (path == NULL || cen_setting(&manager->settings, CEN_SET_SIMPLE_CONNECTIONS) <= 0) {
    return HTTP_NONE;
  }
  return cen_breaker_turns_away(&path->breaker) ? HTTP_REFUSES : HTTP_TAKES;
}

void http_path_configure(struct cenote_manager *manager)
{
  struct cen_breaker_move move;
  if (manager->http != NULL) {
    const struct cen_breaker_limits limits = breaking_limits(manager, false);
    cen_breaker_configure(&manager->http->breaker, &limits, cen_now_ns(), &move);
    tell(manager, &move);
  }
}

int64_t http_path_turn(struct cenote_manager *manager, int64_t now_ns)
{
  struct http_path *path = manager->http;
  struct cen_breaker_view view;
  struct cen_breaker_move move = {.moved = false};
  struct place *place;
  if (path == NULL || cen_breaker_is_closed(&path->breaker)) {
    return CEN_NEVER;
  }
  if (cen_breaker_admit(&path->breaker, now_ns, &move) == CEN_BREAKER_PROBE &&
      http_place_take(path, &place, NULL) == CENOTE_OK) {
    http_place_check(place);
    http_place_begin(place, NULL);
  }
  tell(manager, &move);
  cen_breaker_look(&path->breaker, &view);
  return view.next_ns;
}

struct cen_breaker *http_path_breaker(struct cenote_manager *manager)
{
  return manager->http != NULL ? &manager->http->breaker : NULL;
}

int64_t http_path_in_flight(struct cenote_manager *manager)
{
  struct http_path *path = manager->http;
  if (path == NULL) {
    return 0;
  }
  pthread_mutex_lock(&path->lock);
  const int64_t runs = path->runs;
  pthread_mutex_unlock(&path->lock);
  return runs;
}

/* ---------------------------------------------------------------- its end */

void http_path_drain(struct cenote_manager *manager)
{
  if (manager->http != NULL) {
    pthread_mutex_lock(&manager->http->lock);
    manager->http->draining = true;
    pthread_mutex_unlock(&manager->http->lock);
  }
}

void http_path_stop(struct cenote_manager *manager)
{
  struct http_path *path = manager->http;
  if (path == NULL) {
    return;
  }
  pthread_mutex_lock(&path->lock);
  for (struct cen_link *at = path->running.next; at != &path->running; at = at->next) {
    path->driver->abort(CEN_CONTAINER(at, struct place, link)->connection);
  }
  pthread_mutex_unlock(&path->lock);
}

/* ---------------------------------------------------------------- life */

/* Neon's hosts have an endpoint by themselves. Of a list of hosts it is not known. */
static bool is_neon_host(const char *url)
{
  static const char *const ends[] = {".neon.tech", ".neon.build"};
  const char *host = strstr(url, "://");
  if (host == NULL) {
    return false;
  }
  host += 3;
  size_t size = strcspn(host, "/?#");
  const char *sign = memrchr(host, '@', size);
  if (sign != NULL) {
    size -= (size_t)(sign + 1 - host);
    host = sign + 1;
  }
  if (memchr(host, ',', size) != NULL) {
    return false;
  }
  const char *colon = memchr(host, ':', size);
  size = colon != NULL ? (size_t)(colon - host) : size;
  for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
    const size_t end = strlen(ends[i]);
    if (size > end && strncasecmp(host + size - end, ends[i], end) == 0) {
      return true;
    }
  }
  return false;
}

static bool is_wanted(const struct cenote_manager *manager)
{
  /* The gateway's pools (those with a budget) are what others ask over HTTP. */
  return strcmp(manager->driver->name, "postgres") == 0 && manager->options.driver == NULL &&
         manager->seat == NULL &&
         (cen_settings_text(&manager->settings, "http_endpoint") != NULL ||
          is_neon_host(manager->settings.url));
}

static cenote_status client_new(struct http_path *path, struct http_client **client,
                                cenote_error *error)
{
  struct http_client *fresh = calloc(1, sizeof *fresh);
  if (fresh == NULL) {
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory: SQL over HTTP");
  }
  fresh->params = path->manager->params;
  fresh->params.shared = NULL;
  const cenote_status status =
      path->driver->shared_new(&fresh->params, &fresh->params.shared, error);
  if (status == CENOTE_OK) {
    *client = fresh;
  } else {
    free(fresh);
  }
  return status;
}

static void client_free(struct http_path *path, struct http_client *client)
{
  path->driver->shared_free(client->params.shared);
  free(client);
}

void http_client_leave(struct http_path *path, struct http_client *client)
{
  pthread_mutex_lock(&path->lock);
  const bool over = --client->places == 0 && client != path->client;
  pthread_mutex_unlock(&path->lock);
  if (over) {
    client_free(path, client);
  }
}

static cenote_status path_make(struct http_path *path, cenote_error *error)
{
  struct cenote_manager *manager = path->manager;
  const struct cen_breaker_limits limits = breaking_limits(manager, false);
  const int64_t now = cen_now_ns();
  cenote_status status =
      cen_breaker_init(&path->breaker, &limits, (uint64_t)now ^ manager->id, now);
  if (status != CENOTE_OK) {
    return cenote_error_set(error, status, "out of memory: SQL over HTTP");
  }
  path->has_breaker = true;
  path->driver = cen_driver_for_url("neon:", error);
  if (path->driver == NULL) {
    return CENOTE_CONFIG;
  }
  return client_new(path, &path->client, error);
}

cenote_status http_path_new(struct cenote_manager *manager, cenote_error *error)
{
  if (!is_wanted(manager)) {
    return CENOTE_OK;
  }
  struct http_path *path = calloc(1, sizeof *path);
  if (path == NULL || pthread_mutex_init(&path->lock, NULL) != 0) {
    free(path);
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory: SQL over HTTP");
  }
  path->manager = manager;
  cen_link_init(&path->resting);
  cen_link_init(&path->running);
  cen_link_init(&path->posted);
  cen_task_init(&path->task, http_path_posted);
  manager->http = path; /* http_path_free has it, if the next fails */
  const cenote_status status = path_make(path, error);
  if (status == CENOTE_CONFIG && error != NULL) {
    cenote_error why;
    cen_error_begin(&why);
    cen_error_copy(&why, error);
    (void)!cenote_error_set(error, status, "SQL over HTTP: %s", why.message);
  }
  if (status != CENOTE_CONFIG || cen_settings_text(&manager->settings, "http_endpoint") != NULL) {
    return status;
  }
  /* Nobody asked for it: a URL that is enough for the pool stays so. */
  cen_log_write(&manager->log, CENOTE_LOG_WARNING,
                "no SQL over HTTP for %s: that needs a user, a host and a database in the URL",
                manager->url);
  http_path_free(manager);
  cen_error_clear(error);
  return CENOTE_OK;
}

cenote_status http_path_flush(struct cenote_manager *manager, cenote_error *error)
{
  struct http_path *path = manager->http;
  struct http_client *client = NULL;
  struct cen_link resting;
  if (path == NULL) {
    return CENOTE_OK;
  }
  const cenote_status status = client_new(path, &client, error);
  if (status != CENOTE_OK) {
    return status;
  }
  cen_link_init(&resting);
  pthread_mutex_lock(&path->lock);
  struct http_client *old = path->client;
  path->client = client;
  for (struct cen_link *link; (link = cen_list_pop(&path->resting)) != NULL;) {
    cen_list_push_back(&resting, link);
  }
  path->rests = 0;
  old->places++; /* so that it stays until we are through */
  pthread_mutex_unlock(&path->lock);
  for (struct cen_link *link; (link = cen_list_pop(&resting)) != NULL;) {
    http_place_free(CEN_CONTAINER(link, struct place, link));
  }
  http_client_leave(path, old);
  return CENOTE_OK;
}

void http_path_free(struct cenote_manager *manager)
{
  struct http_path *path = manager->http;
  if (path == NULL) {
    return;
  }
  manager->http = NULL;
  for (struct cen_link *link; (link = cen_list_pop(&path->resting)) != NULL;) {
    http_place_free(CEN_CONTAINER(link, struct place, link));
  }
  if (path->client != NULL) {
    client_free(path, path->client);
  }
  if (path->has_breaker) {
    cen_breaker_deinit(&path->breaker);
  }
  pthread_mutex_destroy(&path->lock);
  free(path);
}
