/* monitor.c - the monitoring endpoints: status, probes, metrics. */
#include "server/monitor_inside.h"

#include "base/error.h"
#include "net/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A request for which the text is being made. */
struct monitor_waiter {
  struct cen_link link;
  struct monitor_loop *loop;
  struct cen_http_request *request;
  enum monitor_kind kind;
  monitor_writer write;
  int64_t asked_ns;
};

static void waiter_free(struct monitor_waiter *waiter)
{
  cen_list_remove(&waiter->link);
  waiter->loop->waiters--;
  free(waiter);
}

static void on_gone(struct cen_http_request *request, enum cen_http_gone why, void *context)
{
  (void)request;
  (void)why;
  waiter_free(context);
}

static bool is_fresh(const struct monitor_made *made, int64_t since_ns)
{
  return made->at_ns != 0 && made->at_ns >= since_ns;
}

void monitor_answer(struct cen_http_request *request, enum monitor_kind kind, monitor_writer write)
{
  struct gateway_loop *loop = gateway_loop_of(request);
  struct monitor_loop *own = loop->part[GATEWAY_MONITOR];
  struct monitor_made made;
  const int64_t now = cen_now_ns();
  monitor_look(monitor_of(loop->gateway), kind, &made);
  if (is_fresh(&made, now - MONITOR_FRESH_MS * CEN_NS_PER_MS)) {
    write(request, &made);
    monitor_text_free(made.text);
    return;
  }
  monitor_text_free(made.text);
  struct monitor_waiter *waiter = own->waiters < MONITOR_WAITERS ? calloc(1, sizeof *waiter) : NULL;
  if (waiter == NULL) {
    cen_http_refuse(request, 503, "too many requests wait for this");
    return;
  }
  *waiter = (struct monitor_waiter){.loop = own,
                                    .request = request,
                                    .kind = kind,
                                    .write = write,
                                    .asked_ns = now - MONITOR_FRESH_MS * CEN_NS_PER_MS};
  cen_list_push_back(&own->waiting, &waiter->link);
  own->waiters++;
  cen_http_hold(request, on_gone, waiter);
}

/* The collector has been there: whoever waited for it is answered. Those who asked while it was
 * at work on something else wait for its next round. */
static void on_arrival(struct cen_task *task)
{
  struct monitor_loop *own = CEN_CONTAINER(task, struct monitor_loop, task);
  struct monitor *monitor = monitor_of(own->loop->gateway);
  struct cen_link due;
  cen_link_init(&due);
  for (struct cen_link *link = cen_list_pop(&own->waiting); link != NULL;
       link = cen_list_pop(&own->waiting)) {
    cen_list_push_back(&due, link); /* an answer may lead to the next request, which waits anew */
  }
  for (struct cen_link *link = cen_list_pop(&due); link != NULL; link = cen_list_pop(&due)) {
    struct monitor_waiter *waiter = CEN_CONTAINER(link, struct monitor_waiter, link);
    struct monitor_made made;
    monitor_look(monitor, waiter->kind, &made);
    if (is_fresh(&made, waiter->asked_ns)) {
      struct cen_http_request *request = waiter->request;
      monitor_writer write = waiter->write;
      waiter_free(waiter);
      write(request, &made);
    } else {
      cen_list_push_back(&own->waiting, link);
    }
    monitor_text_free(made.text);
  }
  live_arrived(own->loop);
}

/* ------------------------------------------------------------------- endpoints */

static void respond(struct cen_http_request *request, int status, const char *type,
                    const char *text, size_t size)
{
  const struct cen_http_answer answer = {.status = status, .type = type, .no_store = true};
  cen_http_respond(request, &answer, text, size);
}

static void write_text(struct cen_http_request *request, const struct monitor_made *made,
                       const char *type)
{
  if (made->text == NULL) {
    cen_http_refuse(request, 503, "out of memory");
  } else {
    respond(request, 200, type, made->text->data, made->text->size);
  }
}

/* 200 also when it is unhealthy: the text says so, and who reads it wants it then most of all. */
static void write_status(struct cen_http_request *request, const struct monitor_made *made)
{
  write_text(request, made, "application/json");
}

static void write_metrics(struct cen_http_request *request, const struct monitor_made *made)
{
  write_text(request, made, "text/plain; version=0.0.4; charset=utf-8");
}

static void write_probe(struct cen_http_request *request, int status, const char *word)
{
  char text[64];
  const int size = snprintf(text, sizeof text, "{\"status\":\"%s\"}", word);
  respond(request, status, "application/json", text, (size_t)size);
}

static void write_ready(struct cen_http_request *request, const struct monitor_made *made)
{
  const bool ready = made->health != CENOTE_UNHEALTHY;
  write_probe(request, ready ? 200 : 503, ready ? "ready" : "unhealthy");
}

static void on_status(struct cen_http_request *request, void *context)
{
  (void)context;
  monitor_answer(request, MONITOR_STATUS, write_status);
}

static void on_metrics(struct cen_http_request *request, void *context)
{
  (void)context;
  monitor_answer(request, MONITOR_METRICS, write_metrics);
}

static void on_healthz(struct cen_http_request *request, void *context)
{
  (void)context;
  write_probe(request, 200, "ok");
}

static void on_readyz(struct cen_http_request *request, void *context)
{
  const struct gateway *gateway = context;
  if (atomic_load(&gateway->draining)) {
    write_probe(request, 503, "draining");
  } else {
    monitor_answer(request, MONITOR_VERDICT, write_ready);
  }
}

/* -------------------------------------------------------------------- the part */

static cenote_status routes_add(struct gateway *gateway)
{
  const struct cen_http_route routes[] = {
      {.path = "/api/admin/connection-pool-status", .handler = on_status, .scope = CEN_HTTP_ADMIN},
      {.path = "/metrics", .handler = on_metrics, .scope = CEN_HTTP_ADMIN},
      {.path = "/healthz", .handler = on_healthz, .flags = CEN_HTTP_ANY_HOST},
      {.path = "/readyz", .handler = on_readyz, .flags = CEN_HTTP_ANY_HOST},
  };
  for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
    struct cen_http_route route = routes[i];
    route.method = CEN_HTTP_GET;
    route.context = gateway;
    const cenote_status status = cen_http_server_route(gateway->http, &route);
    if (status != CENOTE_OK) {
      return status;
    }
  }
  return CENOTE_OK;
}

static void monitor_free(struct monitor *monitor)
{
  monitor_stop_thread(monitor);
  for (unsigned i = 0; i < MONITOR_KINDS; i++) {
    monitor_text_free(monitor->made[i].text);
  }
  for (unsigned i = 0; monitor->loops != NULL && i < monitor->gateway->loop_count; i++) {
    free(monitor->gateway->loops[i].part[GATEWAY_MONITOR]);
    monitor->gateway->loops[i].part[GATEWAY_MONITOR] = NULL;
  }
  free(monitor->loops);
  (void)pthread_cond_destroy(&monitor->wake);
  (void)pthread_mutex_destroy(&monitor->lock);
  monitor->gateway->part[GATEWAY_MONITOR] = NULL;
  free(monitor);
}

static struct monitor *monitor_new(struct gateway *gateway)
{
  struct monitor *monitor = calloc(1, sizeof *monitor);
  pthread_condattr_t attributes;
  if (monitor == NULL) {
    return NULL;
  }
  monitor->gateway = gateway;
  (void)pthread_mutex_init(&monitor->lock, NULL);
  (void)pthread_condattr_init(&attributes);
  (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  (void)pthread_cond_init(&monitor->wake, &attributes);
  (void)pthread_condattr_destroy(&attributes);
  monitor->loops = calloc(gateway->loop_count, sizeof(struct monitor_loop *));
  if (monitor->loops == NULL) {
    monitor_free(monitor);
    return NULL;
  }
  return monitor;
}

static cenote_status start(struct gateway *gateway, cenote_error *error)
{
  struct monitor *monitor = monitor_new(gateway);
  if (monitor == NULL) {
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory");
  }
  gateway->part[GATEWAY_MONITOR] = monitor;
  cenote_status status = routes_add(gateway);
  if (status != CENOTE_OK) {
    status = cenote_error_set(error, status, "out of memory");
  } else {
    status = monitor_start_thread(monitor, error);
  }
  if (status != CENOTE_OK) {
    monitor_free(monitor);
  }
  return status;
}

static bool loop_started(struct gateway_loop *loop)
{
  struct monitor *monitor = monitor_of(loop->gateway);
  struct monitor_loop *own = calloc(1, sizeof *own);
  if (own == NULL) {
    return false;
  }
  own->loop = loop;
  cen_task_init(&own->task, on_arrival);
  cen_link_init(&own->waiting);
  loop->part[GATEWAY_MONITOR] = own;
  (void)pthread_mutex_lock(&monitor->lock);
  monitor->loops[loop->index] = own;
  (void)pthread_mutex_unlock(&monitor->lock);
  return true;
}

/* Its memory stays until the part stops: a task may have been posted. */
static void loop_ended(struct gateway_loop *loop)
{
  struct monitor *monitor = monitor_of(loop->gateway);
  (void)pthread_mutex_lock(&monitor->lock);
  monitor->loops[loop->index] = NULL;
  (void)pthread_mutex_unlock(&monitor->lock);
}

static void stop(struct gateway *gateway)
{
  monitor_free(monitor_of(gateway));
}

const struct gateway_part gateway_monitor = {
    .name = "monitor",
    .start = start,
    .loop_started = loop_started,
    .loop_ended = loop_ended,
    .stop = stop,
};
