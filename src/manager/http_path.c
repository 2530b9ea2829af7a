/*
 * http_path.c - see http_path.h. A *place* is a connection of the Neon driver: memory for one
 * request at a time (the sockets are the driver's, shared by all). A statement takes a place, runs
 * its steps, gives it back. Who blocks drives its steps on its own thread; the others' are the
 * housekeeper's.
 */
#include "manager/http_path_inside.h"

#include "base/error.h"

#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

/* ---------------------------------------------------------------- places */

void http_place_free(struct place *place)
{
  struct http_path *path = place->path;
  struct http_client *client = place->client;
  if (place->connection != NULL) {
    path->driver->destroy(place->connection);
  }
  free(place);
  http_client_leave(path, client);
}

static cenote_status place_open(struct place *place, cenote_error *error)
{
  const struct http_path *path = place->path;
  const cenote_request open = {.size = sizeof open,
                               .kind = CENOTE_REQUEST_OPEN,
                               .flags = CENOTE_REQUEST_LAZY,
                               .deadline_ns = CEN_NEVER};
  cenote_status status = path->driver->create(&place->client->params, &place->connection, error);
  if (status == CENOTE_OK &&
      path->driver->start(place->connection, &open, error) != CENOTE_STEP_DONE) {
    status = CENOTE_NO_MEMORY;
  }
  return status;
}

static cenote_status place_new(struct http_path *path, struct place **place, cenote_error *error)
{
  struct place *fresh = calloc(1, sizeof *fresh);
  if (fresh == NULL) {
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory: a statement over HTTP");
  }
  fresh->path = path;
  pthread_mutex_lock(&path->lock);
  fresh->client = path->client;
  fresh->client->places++;
  pthread_mutex_unlock(&path->lock);
  fresh->watch.fd = -1;
  cen_link_init(&fresh->link);
  cen_link_init(&fresh->posting);
  const cenote_status status = place_open(fresh, error);
  if (status == CENOTE_OK) {
    *place = fresh;
  } else {
    http_place_free(fresh);
  }
  return status;
}

static cenote_status refused(cenote_status status, cenote_error *error)
{
  return cenote_error_set(error, status,
                          status == CENOTE_QUEUE_FULL ? "%d statements run over HTTP already"
                                                      : "the manager is shutting down",
                          (int)PLACES);
}

cenote_status http_place_take(struct http_path *path, struct place **out, cenote_error *error)
{
  cenote_status status = CENOTE_OK;
  struct place *place = NULL;
  pthread_mutex_lock(&path->lock);
  if (path->draining) {
    status = CENOTE_SHUTTING_DOWN;
  } else if (path->runs >= PLACES) {
    status = CENOTE_QUEUE_FULL;
  } else {
    struct cen_link *link = cen_list_pop(&path->resting);
    path->runs++;
    if (link != NULL) {
      place = CEN_CONTAINER(link, struct place, link);
      path->rests--;
      cen_list_push_back(&path->running, &place->link);
    }
  }
  pthread_mutex_unlock(&path->lock);
  if (status != CENOTE_OK) {
    return refused(status, error);
  }
  if (place == NULL) {
    status = place_new(path, &place, error);
    pthread_mutex_lock(&path->lock);
    const bool late = status == CENOTE_OK && path->draining; /* http_path_stop may have passed */
    if (status == CENOTE_OK && !late) {
      cen_list_push_back(&path->running, &place->link);
    } else {
      path->runs--;
    }
    const bool last = path->draining && path->runs == 0;
    pthread_mutex_unlock(&path->lock);
    if (late) {
      http_place_free(place);
      place = NULL;
      status = refused(CENOTE_SHUTTING_DOWN, error);
    }
    if (last) {
      housekeeper_kick(path->manager); /* the shutdown waits for it */
    }
  }
  *out = place;
  return status;
}

static void give_back(struct place *place)
{
  struct http_path *path = place->path;
  struct cenote_manager *manager = path->manager;
  const bool broken = (path->driver->session(place->connection) & CENOTE_SESSION_BROKEN) != 0;
  pthread_mutex_lock(&path->lock);
  cen_list_remove(&place->link);
  path->runs--;
  const bool flushed = place->client != path->client;
  const bool keep = !broken && !flushed && !path->draining && path->rests < PLACES_KEPT;
  const bool last = path->draining && path->runs == 0;
  if (keep) {
    cen_list_push_front(&path->resting, &place->link);
    path->rests++;
  }
  pthread_mutex_unlock(&path->lock);
  if (!keep) {
    http_place_free(place);
  }
  if (last) {
    housekeeper_kick(manager); /* the shutdown waits for it */
  }
}

/* ---------------------------------------------------------------- a statement */

static int64_t limit_of(const struct cenote_manager *manager, const struct simple_request *request,
                        int64_t now_ns)
{
  const int64_t ms = cen_setting(&manager->settings, CEN_SET_STATEMENT_TIMEOUT);
  const int64_t own = ms > 0 ? cen_deadline_ns(now_ns, ms) : CEN_NEVER;
  return own < request->deadline_ns ? own : request->deadline_ns;
}

static cenote_status prepare(struct place *place, const struct simple_request *request,
                             cenote_error *error)
{
  const struct cenote_manager *manager = place->path->manager;
  place->request = (cenote_request){
      .size = sizeof place->request,
      .kind = CENOTE_REQUEST_EXECUTE,
      .flags =
          statement_request_flags(request->flags) | (request->read_only ? CENOTE_REQUEST_READ : 0u),
      .sql = request->sql,
      .args = request->args,
      .count = request->count,
      .sink = &place->sink,
      .deadline_ns = CEN_NEVER,
  };
  place->start_ns = cen_now_ns();
  place->limit_ns = limit_of(manager, request, place->start_ns);
  place->overdue = place->starved = place->cancelled = false;
  return statement_sink(manager, &place->sink, error);
}

void http_place_check(struct place *place)
{
  const int64_t ms = cen_setting(&place->path->manager->settings, CEN_SET_CONNECT_TIMEOUT);
  place->request = (cenote_request){
      .size = sizeof place->request, .kind = CENOTE_REQUEST_CHECK, .deadline_ns = CEN_NEVER};
  place->sink = (cenote_sink){0};
  place->start_ns = cen_now_ns();
  place->limit_ns = cen_deadline_ns(place->start_ns, ms);
  place->overdue = place->starved = false;
}

/* Its time is over. The driver's request ends at once then, whatever the server does. */
static void press(struct place *place)
{
  place->overdue = true;
  place->limit_ns = CEN_NEVER;
  place->path->driver->cancel(place->connection);
}

/* By the driver's promises: what says that nothing remains, has not run. */
static enum cen_fate fate_of(const struct place *place, const cenote_error *error)
{
  const unsigned session = place->path->driver->session(place->connection);
  const bool sent = (session & CENOTE_SESSION_SENT) != 0;
  switch (error->status) {
  case CENOTE_CONNECTION_LOST:
    return sent ? CEN_FATE_UNKNOWN : CEN_FATE_NOT_RUN;
  case CENOTE_CONNECT:
  case CENOTE_CONFIG:
  case CENOTE_AUTH:
  case CENOTE_IO:
  case CENOTE_INVALID:
  case CENOTE_UNSUPPORTED:
  case CENOTE_FORKED:
    return CEN_FATE_NOT_RUN;
  case CENOTE_DATABASE:
    /* It had no connection for us: 53300, 57P03. What else ended its session, nobody knows. */
    if (strcmp(error->sqlstate, "53300") == 0 || strcmp(error->sqlstate, "57P03") == 0) {
      return cen_failure_is_transient(error) ? CEN_FATE_NOT_RUN : CEN_FATE_ANSWERED;
    }
    return cen_failure_is_transient(error) ? CEN_FATE_UNKNOWN : CEN_FATE_ANSWERED;
  default:
    return CEN_FATE_UNKNOWN;
  }
}

/* The steps have ended: what the caller is told. */
static cenote_status conclude(struct place *place, cenote_step step, cenote_result **result,
                              struct simple_outcome *outcome, cenote_error *error)
{
  cenote_status status = CENOTE_OK;
  *result = NULL;
  *outcome = (struct simple_outcome){.fate = CEN_FATE_ANSWERED,
                                     .cut_off = place->overdue,
                                     .took_ns = cen_now_ns() - place->start_ns};
  if (step == CENOTE_STEP_DONE) {
    *result = cen_sink_take(&place->sink);
  } else {
    status = error->status != CENOTE_OK ? error->status : CENOTE_INTERNAL;
    outcome->fate = fate_of(place, error);
    outcome->cut_off = place->overdue || (place->cancelled && status == CENOTE_OUTCOME_UNKNOWN);
    if (place->starved && status == CENOTE_CANCELLED) {
      status = cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory: a statement over HTTP");
    } else if (place->overdue && status == CENOTE_CANCELLED) {
      status = cenote_error_set(error, CENOTE_STATEMENT_TIMEOUT,
                                "statement timeout: cancelled after %" PRId64 " ms",
                                outcome->took_ns / CEN_NS_PER_MS);
    }
  }
  cen_sink_deinit(&place->sink);
  return status;
}

/* ---------------------------------------------------------------- for one who waits */

static cenote_step drive(struct place *place, cenote_error *error)
{
  const cenote_driver *driver = place->path->driver;
  cenote_step step = driver->start(place->connection, &place->request, error);
  while (step == CENOTE_STEP_AGAIN) {
    cenote_wants wants = {.fd = -1, .deadline_ns = CEN_NEVER};
    const int64_t now = cen_now_ns();
    if (now >= place->limit_ns) {
      press(place);
    }
    driver->wants(place->connection, &wants);
    const int64_t until = wants.deadline_ns < place->limit_ns ? wants.deadline_ns : place->limit_ns;
    struct pollfd slot = {.fd = wants.fd, .events = wants.events};
    const int ready = poll(&slot, wants.fd >= 0 ? 1 : 0, cen_poll_timeout_ms(now, until));
    step = driver->advance(place->connection, ready > 0 ? slot.revents : 0, error);
  }
  return step;
}

cenote_status http_path_query(struct cenote_manager *manager, const struct simple_request *request,
                              cenote_result **result, struct simple_outcome *outcome,
                              cenote_error *error)
{
  struct place *place = NULL;
  *result = NULL;
  *outcome = (struct simple_outcome){.fate = CEN_FATE_NOT_RUN};
  manager_visit(manager);
  cenote_status status = http_place_take(manager->http, &place, error);
  if (status == CENOTE_OK) {
    status = prepare(place, request, error);
    if (status == CENOTE_OK) {
      status = conclude(place, drive(place, error), result, outcome, error);
    }
    give_back(place);
  }
  manager_unvisit(manager);
  return status;
}

cenote_status http_path_check(struct cenote_manager *manager, cenote_error *error)
{
  struct place *place = NULL;
  struct simple_outcome outcome;
  cenote_result *nothing = NULL;
  manager_visit(manager);
  cenote_status status = http_place_take(manager->http, &place, error);
  if (status == CENOTE_OK) {
    http_place_check(place);
    status = conclude(place, drive(place, error), &nothing, &outcome, error);
    give_back(place);
    http_path_note(manager, status, error);
  }
  manager_unvisit(manager);
  return status;
}

/* ---------------------------------------------------------------- for one who does not */

static void post(struct place *place, bool cancelled)
{
  struct http_path *path = place->path;
  struct cenote_manager *manager = path->manager;
  pthread_mutex_lock(&path->lock);
  place->cancelled = place->cancelled || cancelled;
  if (!place->posted) {
    place->posted = true;
    cen_list_push_back(&path->posted, &place->posting);
  }
  pthread_mutex_unlock(&path->lock);
  cen_loop_post(manager->loop, &path->task);
}

static void unpost(struct place *place)
{
  pthread_mutex_lock(&place->path->lock);
  if (place->posted) {
    cen_list_remove(&place->posting);
    place->posted = false;
  }
  pthread_mutex_unlock(&place->path->lock);
}

static void settle(struct place *place, cenote_step step, cenote_error *error)
{
  struct cenote_manager *manager = place->path->manager;
  struct simple_async *async = place->async;
  struct simple_outcome outcome;
  cenote_result *result = NULL;
  cen_watch_stop(&place->watch);
  cen_timer_stop(&place->timer);
  unpost(place);
  const cenote_status status = conclude(place, step, &result, &outcome, error);
  give_back(place);
  if (async != NULL) {
    async->done(async, status, result, &outcome, error);
    return;
  }
  cenote_result_free(result);
  http_path_note(manager, status, error);
  housekeeper_kick(manager); /* the next probe is a new deadline */
}

static void arrange(struct place *place, cenote_step step, cenote_error *error)
{
  const struct http_path *path = place->path;
  struct cen_loop *loop = path->manager->loop;
  while (step == CENOTE_STEP_AGAIN) {
    cenote_wants wants = {.fd = -1, .deadline_ns = CEN_NEVER};
    path->driver->wants(place->connection, &wants);
    if (cen_watch_set(loop, &place->watch, wants.fd, wants.events) == CENOTE_OK &&
        cen_timer_set(loop, &place->timer, place->limit_ns) == CENOTE_OK) {
      return;
    }
    place->starved = !place->overdue; /* nobody can tell us when it goes on */
    press(place);
    struct pollfd slot = {.fd = wants.fd, .events = wants.events};
    (void)poll(&slot, 1, 100);
    step = path->driver->advance(place->connection, 0, error);
  }
  settle(place, step, error);
}

static void on_ready(struct cen_watch *watch, short revents)
{
  struct place *place = CEN_CONTAINER(watch, struct place, watch);
  cenote_error error;
  cen_error_begin(&error);
  cen_watch_stop(watch);
  arrange(place, place->path->driver->advance(place->connection, revents, &error), &error);
}

static void on_timer(struct cen_timer *timer)
{
  press(CEN_CONTAINER(timer, struct place, timer)); /* its descriptor says when that has come */
}

static void on_place(struct place *place, bool cancelled)
{
  cenote_error error;
  cen_error_begin(&error);
  if (place->started) {
    if (cancelled) {
      place->path->driver->cancel(place->connection);
    }
    return;
  }
  place->started = true;
  if (cancelled) {
    (void)!cenote_error_set(&error, CENOTE_CANCELLED, "cancelled before it was sent");
    settle(place, CENOTE_STEP_FAILED, &error);
    return;
  }
  arrange(place, place->path->driver->start(place->connection, &place->request, &error), &error);
}

void http_path_posted(struct cen_task *task)
{
  struct http_path *path = CEN_CONTAINER(task, struct http_path, task);
  for (;;) {
    pthread_mutex_lock(&path->lock);
    struct cen_link *link = cen_list_pop(&path->posted);
    struct place *place = link != NULL ? CEN_CONTAINER(link, struct place, posting) : NULL;
    const bool cancelled = place != NULL && place->cancelled;
    if (place != NULL) {
      place->posted = false;
    }
    pthread_mutex_unlock(&path->lock);
    if (place == NULL) {
      return;
    }
    on_place(place, cancelled);
  }
}

void http_place_begin(struct place *place, struct simple_async *async)
{
  place->async = async;
  place->started = place->cancelled = false;
  place->watch = (struct cen_watch){.fd = -1, .ready = on_ready};
  place->timer = (struct cen_timer){.fire = on_timer};
  post(place, false);
}

cenote_status http_path_start(struct cenote_manager *manager, struct simple_async *async,
                              cenote_error *error)
{
  struct place *place = NULL;
  manager_visit(manager);
  cenote_status status = http_place_take(manager->http, &place, error);
  if (status == CENOTE_OK) {
    status = prepare(place, &async->request, error);
    if (status == CENOTE_OK) {
      async->place = place;
      http_place_begin(place, async); /* neither may be touched after it */
    } else {
      give_back(place);
    }
  }
  manager_unvisit(manager);
  return status;
}

void http_path_cancel(struct cenote_manager *manager, struct simple_async *async)
{
  (void)manager;
  post(async->place, true);
}
