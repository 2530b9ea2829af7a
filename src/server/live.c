/*
 * live.c - history, and server-sent events for who watches. What a listener has not read is never
 * added to: while any of it waits, events pass him by, and the server drops who does not read at
 * all. So a listener costs one event, and what he reads is never old.
 */
#include "server/monitor_inside.h"

#include "base/error.h"
#include "net/clock.h"

#include <stdlib.h>
#include <string.h>

enum {
  LIVE_LISTENERS = 64,      /* of all loops together; one more is refused */
  LIVE_HEARTBEAT_MS = 5000, /* a comment where nothing else was sent */
  LIVE_HISTORY_CEILING = 1 << 20
};

struct listener {
  struct cen_link link;
  struct gateway_loop *loop;
  struct cen_http_request *request;
  int64_t sent_ns;   /* anything */
  int64_t status_ns; /* the age of the state that was sent last */
  uint64_t points;   /* he has seen so many */
};

/* Of one loop; its thread's. */
struct live_loop {
  struct cen_link listeners;
};

struct live {
  _Atomic bool ending;
};

static void listener_free(struct listener *listener)
{
  struct monitor *monitor = monitor_of(listener->loop->gateway);
  cen_list_remove(&listener->link);
  (void)pthread_mutex_lock(&monitor->lock);
  monitor->listeners--;
  (void)pthread_mutex_unlock(&monitor->lock);
  free(listener);
}

static void on_gone(struct cen_http_request *request, enum cen_http_gone why, void *context)
{
  (void)request;
  (void)why;
  listener_free(context);
}

/* Writing may end the listener: true while he is there. */
static bool send_text(struct listener *listener, const char *text, size_t size, int64_t now)
{
  const struct live_loop *own = listener->loop->part[GATEWAY_LIVE];
  (void)cen_http_write(listener->request, text, size);
  for (struct cen_link *link = own->listeners.next; link != &own->listeners; link = link->next) {
    if (link == &listener->link) {
      listener->sent_ns = now;
      return true;
    }
  }
  return false;
}

/* One event is one piece, so that none is ever cut in the middle. */
static bool send_event(struct listener *listener, const char *event, const char *data, size_t size,
                       int64_t now)
{
  struct cen_buf buf;
  bool there = true;
  cen_buf_init(&buf, 65 << 20);
  cen_buf_format(&buf, "event: %s\ndata: ", event);
  cen_buf_add(&buf, data, size);
  cen_buf_text(&buf, "\n\n");
  if (!buf.failed) {
    there = send_text(listener, buf.data, buf.size, now);
  }
  cen_buf_deinit(&buf);
  return there;
}

static bool send_status(struct listener *listener, int64_t now)
{
  struct monitor_made made;
  bool there = true;
  monitor_look(monitor_of(listener->loop->gateway), MONITOR_STATUS, &made);
  /* not more often than said, with some room for a clock that ticks a little early */
  const int64_t next = listener->status_ns + (MONITOR_STEP_MS - 200) * CEN_NS_PER_MS;
  if (made.text != NULL && (listener->status_ns == 0 || made.at_ns >= next)) {
    listener->status_ns = made.at_ns;
    there = send_event(listener, "status", made.text->data, made.text->size, now);
  }
  monitor_text_free(made.text);
  return there;
}

/* The points that he has not seen; after a gap the newest alone, the rest is in the history. */
static bool send_point(struct listener *listener, int64_t now)
{
  struct monitor *monitor = monitor_of(listener->loop->gateway);
  struct history_point point;
  (void)pthread_mutex_lock(&monitor->lock);
  const bool new = monitor->history.count > listener->points;
  if (new) {
    listener->points = monitor->history.count;
    point = *history_at(&monitor->history, 0);
  }
  (void)pthread_mutex_unlock(&monitor->lock);
  if (!new) {
    return true;
  }
  struct cen_buf buf;
  struct cen_json json;
  bool there = true;
  cen_buf_init(&buf, 65536);
  cen_json_init(&json, &buf);
  history_write_point(&json, &point);
  if (!buf.failed) {
    there = send_event(listener, "point", buf.data, buf.size, now);
  }
  cen_buf_deinit(&buf);
  return there;
}

static void listener_turn(struct listener *listener)
{
  const int64_t now = cen_now_ns();
  const bool is_new = listener->status_ns == 0; /* the head of his answer may still wait */
  /* the point first: a large state may keep waiting what comes behind it, each time */
  if ((!is_new && cen_http_pending(listener->request) > 0) || !send_point(listener, now) ||
      !send_status(listener, now)) {
    return;
  }
  if (now - listener->sent_ns >= LIVE_HEARTBEAT_MS * CEN_NS_PER_MS) {
    (void)send_text(listener, ": still here\n\n", 14, now);
  }
}

/* Each listener once, though any of them may go meanwhile. */
static void listeners_visit(struct gateway_loop *loop, void (*visit)(struct listener *listener))
{
  struct live_loop *own = loop->part[GATEWAY_LIVE];
  struct cen_link rest;
  cen_link_init(&rest);
  for (struct cen_link *link = cen_list_pop(&own->listeners); link != NULL;
       link = cen_list_pop(&own->listeners)) {
    cen_list_push_back(&rest, link);
  }
  for (struct cen_link *link = cen_list_pop(&rest); link != NULL; link = cen_list_pop(&rest)) {
    cen_list_push_back(&own->listeners, link);
    visit(CEN_CONTAINER(link, struct listener, link));
  }
}

static void listener_finish(struct listener *listener)
{
  struct cen_http_request *request = listener->request;
  listener_free(listener);
  cen_http_finish(request);
}

void live_arrived(struct gateway_loop *loop)
{
  const struct live *live = loop->gateway->part[GATEWAY_LIVE];
  const struct live_loop *own = loop->part[GATEWAY_LIVE];
  if (own != NULL && live != NULL) {
    listeners_visit(loop, atomic_load(&live->ending) ? listener_finish : listener_turn);
  }
}

/* ------------------------------------------------------------------- endpoints */

static bool listeners_count(struct monitor *monitor)
{
  (void)pthread_mutex_lock(&monitor->lock);
  const bool free_place = monitor->listeners < LIVE_LISTENERS;
  monitor->listeners += free_place;
  if (free_place) {
    (void)pthread_cond_signal(&monitor->wake);
  }
  (void)pthread_mutex_unlock(&monitor->lock);
  return free_place;
}

static void on_live(struct cen_http_request *request, void *context)
{
  static const struct cen_http_pair unbuffered = {"X-Accel-Buffering", "no"};
  const struct cen_http_answer answer = {.status = 200,
                                         .type = "text/event-stream",
                                         .fields = &unbuffered,
                                         .field_count = 1,
                                         .no_store = true};
  struct gateway_loop *loop = gateway_loop_of(request);
  struct live_loop *own = loop->part[GATEWAY_LIVE];
  const struct live *live = context;
  if (cen_http_method(request) == CEN_HTTP_HEAD) {
    cen_http_respond(request, &answer, NULL, 0);
    return;
  }
  if (atomic_load(&live->ending)) {
    cen_http_refuse(request, 503, "the gateway is about to end");
    return;
  }
  if (!listeners_count(monitor_of(loop->gateway))) {
    cen_http_refuse(request, 503, "too many listeners");
    return;
  }
  struct monitor *monitor = monitor_of(loop->gateway);
  struct listener *listener = calloc(1, sizeof *listener);
  if (listener == NULL) {
    (void)pthread_mutex_lock(&monitor->lock);
    monitor->listeners--;
    (void)pthread_mutex_unlock(&monitor->lock);
    cen_http_refuse(request, 503, "out of memory");
    return;
  }
  listener->loop = loop;
  listener->request = request;
  (void)pthread_mutex_lock(&monitor->lock);
  listener->points = monitor->history.count;
  (void)pthread_mutex_unlock(&monitor->lock);
  cen_list_push_back(&own->listeners, &listener->link);
  cen_http_hold(request, on_gone, listener);
  cen_http_begin(request, &answer);
  listeners_visit(loop, listener_turn); /* begin may have ended him: only those still there */
}

static void on_history(struct cen_http_request *request, void *context)
{
  struct monitor *monitor = monitor_of(gateway_loop_of(request)->gateway);
  const struct cen_http_answer answer = {
      .status = 200, .type = "application/json", .no_store = true};
  struct history *copy = malloc(sizeof *copy);
  struct cen_buf buf;
  struct cen_json json;
  (void)context;
  if (copy == NULL) {
    cen_http_refuse(request, 503, "out of memory");
    return;
  }
  (void)pthread_mutex_lock(&monitor->lock);
  memcpy(copy, &monitor->history, sizeof *copy);
  (void)pthread_mutex_unlock(&monitor->lock);
  cen_buf_init(&buf, LIVE_HISTORY_CEILING);
  cen_json_init(&json, &buf);
  history_write(&json, copy);
  if (buf.failed) {
    cen_http_refuse(request, 503, "out of memory");
  } else {
    cen_http_respond(request, &answer, buf.data, buf.size);
  }
  cen_buf_deinit(&buf);
  free(copy);
}

/* -------------------------------------------------------------------- the part */

static cenote_status start(struct gateway *gateway, cenote_error *error)
{
  struct live *live = calloc(1, sizeof *live);
  const struct cen_http_route routes[] = {
      {CEN_HTTP_GET, "/api/admin/live", on_live, live, CEN_HTTP_ADMIN, 0, 0},
      {CEN_HTTP_GET, "/api/admin/history", on_history, gateway, CEN_HTTP_ADMIN, 0, 0},
  };
  cenote_status status = live != NULL ? CENOTE_OK : CENOTE_NO_MEMORY;
  for (size_t i = 0; status == CENOTE_OK && i < sizeof routes / sizeof routes[0]; i++) {
    status = cen_http_server_route(gateway->http, &routes[i]);
  }
  if (status != CENOTE_OK) {
    free(live);
    return cenote_error_set(error, status, "out of memory");
  }
  gateway->part[GATEWAY_LIVE] = live;
  return CENOTE_OK;
}

static bool loop_started(struct gateway_loop *loop)
{
  struct live_loop *own = calloc(1, sizeof *own);
  if (own != NULL) {
    cen_link_init(&own->listeners);
  }
  loop->part[GATEWAY_LIVE] = own;
  return own != NULL;
}

static void loop_tick(struct gateway_loop *loop)
{
  live_arrived(loop);
}

static void loop_ended(struct gateway_loop *loop)
{
  free(loop->part[GATEWAY_LIVE]);
  loop->part[GATEWAY_LIVE] = NULL;
}

/* The loops see it within their second. */
static void drain(struct gateway *gateway)
{
  struct live *live = gateway->part[GATEWAY_LIVE];
  atomic_store(&live->ending, true);
}

static void stop(struct gateway *gateway)
{
  free(gateway->part[GATEWAY_LIVE]);
  gateway->part[GATEWAY_LIVE] = NULL;
}

const struct gateway_part gateway_live = {
    .name = "live",
    .start = start,
    .loop_started = loop_started,
    .loop_tick = loop_tick,
    .loop_ended = loop_ended,
    .drain = drain,
    .stop = stop,
};
