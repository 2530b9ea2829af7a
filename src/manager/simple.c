/* simple.c - the simple path's doors: a statement of a caller that blocks, of one that does not. */
#include "manager/budget_member.h"
#include "manager/http_path.h"
#include "manager/simple_inside.h"

#include "base/error.h"

#include <stdlib.h>
#include <string.h>

bool simple_is_there(const struct cenote_manager *manager, bool read_only)
{
  const struct simple *simple = manager->simple;
  if (simple == NULL || cen_setting(&manager->settings, CEN_SET_SIMPLE_CONNECTIONS) <= 0) {
    return false;
  }
  const enum pipeline_role role = read_only ? PIPELINE_READER : PIPELINE_WRITER;
  const int64_t until_ns = atomic_load_explicit(&simple->away_until_ns[role], memory_order_relaxed);
  return until_ns == 0 || cen_now_coarse_ns() >= until_ns;
}

static void call_begin(struct simple_call *call, const struct simple_request *request,
                       struct simple_async *async)
{
  cen_error_begin(&call->error);
  call->request = request;
  call->async = async;
  call->core.role = request->read_only ? PIPELINE_READER : PIPELINE_WRITER;
  call->core.asynchronous = async != NULL;
  call->core.deadline_ns = request->deadline_ns;
  call->core.patience_ns = request->patience_ns;
  call->core.error = &call->error;
}

static cenote_status must_not_block(const struct cenote_manager *manager, cenote_error *error)
{
  if (manager_must_not_block(manager)) {
    return cenote_error_set(error, CENOTE_INVALID,
                            "a statement on the loop's own thread must not block: use "
                            "cenote_query_async");
  }
  return CENOTE_OK;
}

cenote_status simple_query(struct cenote_manager *manager, const struct simple_request *request,
                           cenote_result **result, struct simple_outcome *outcome,
                           cenote_error *error)
{
  struct simple_call call;
  struct pipeline_todo todo;
  struct pipeline_wakes wakes;
  *result = NULL;
  *outcome = (struct simple_outcome){.fate = CEN_FATE_NOT_RUN};
  cenote_status status = must_not_block(manager, error);
  if (status != CENOTE_OK) {
    return status;
  }
  if (request->http) {
    return http_path_query(manager, request, result, outcome, error);
  }
  manager_visit(manager);
  struct simple *simple = manager->simple;
  call_begin(&call, request, NULL);
  wakes_begin(&wakes);
  const int64_t now_ns = cen_now_ns();
  pipeline_submit(&simple->set, &call.core, true, now_ns, &todo, &wakes);
  (void)simple_drive(simple, &call.core.hand, &todo, &wakes, now_ns);
  status = simple_end(simple, &call, result, outcome, error);
  simple_note_rest(manager);
  manager_unvisit(manager);
  return status;
}

cenote_status simple_start(struct cenote_manager *manager, struct simple_async *async,
                           cenote_error *error)
{
  struct pipeline_todo todo;
  struct pipeline_wakes wakes;
  if (async->request.http) {
    return http_path_start(manager, async, error);
  }
  struct simple_call *call = malloc(sizeof *call);
  if (call == NULL) {
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory: statement");
  }
  manager_visit(manager);
  struct simple *simple = manager->simple;
  call_begin(call, &async->request, async);
  async->call = call;
  wakes_begin(&wakes);
  const int64_t now_ns = cen_now_ns();
  pipeline_submit(&simple->set, &call->core, !manager->external, now_ns, &todo, &wakes);
  (void)simple_drive(simple, &call->core.hand, &todo, &wakes, now_ns);
  manager_unvisit(manager);
  return CENOTE_OK;
}

void simple_cancel(struct cenote_manager *manager, struct simple_async *async)
{
  struct simple *simple = manager->simple;
  struct pipeline_wakes wakes;
  if (async->request.http) {
    http_path_cancel(manager, async);
    return;
  }
  wakes_begin(&wakes);
  pipeline_cancel(&simple->set, &async->call->core, cen_now_ns(), &wakes);
  simple_wake(simple, &wakes, false);
}

bool simple_yield(struct cenote_manager *manager)
{
  struct simple *simple = manager->simple;
  if (simple == NULL || atomic_load_explicit(&simple->open, memory_order_relaxed) == 0) {
    return false;
  }
  struct pipeline_wakes wakes;
  wakes_begin(&wakes);
  const bool any = pipeline_yield(&simple->set, &wakes);
  simple_wake(simple, &wakes, false);
  return any;
}

uint32_t simple_resting(struct cenote_manager *manager)
{
  struct simple *simple = manager->simple;
  return simple == NULL || atomic_load_explicit(&simple->open, memory_order_relaxed) == 0
             ? 0
             : pipeline_resting(&simple->set);
}

void simple_note_rest(struct cenote_manager *manager)
{
  if (budget_is_pressed(manager) && simple_resting(manager) > 0) {
    housekeeper_kick(manager);
  }
}

void simple_drain(struct cenote_manager *manager)
{
  struct simple *simple = manager->simple;
  if (simple != NULL) {
    struct pipeline_wakes wakes;
    wakes_begin(&wakes);
    pipeline_drain(&simple->set, cen_now_ns(), &wakes);
    simple_wake(simple, &wakes, false);
  }
}

bool simple_holds(const struct cenote_manager *manager, uint32_t slot, uint64_t generation)
{
  if (manager->simple == NULL) {
    return false;
  }
  for (const struct line *line =
           atomic_load_explicit(&manager->simple->lines, memory_order_acquire);
       line != NULL; line = line->next) {
    if (atomic_load_explicit(&line->serial, memory_order_acquire) != 0 &&
        atomic_load_explicit(&line->slot, memory_order_acquire) == slot &&
        atomic_load_explicit(&line->generation, memory_order_acquire) == generation) {
      return true;
    }
  }
  return false;
}

void simple_look(struct cenote_manager *manager, struct simple_figures *figures)
{
  struct simple *simple = manager->simple;
  *figures = (struct simple_figures){0};
  if (simple == NULL) {
    return;
  }
  struct pipeline_picture picture;
  pipeline_look(&simple->set, &picture);
  figures->releases = atomic_load_explicit(&simple->releases, memory_order_relaxed);
  figures->grants = atomic_load_explicit(&simple->grants, memory_order_relaxed);
  figures->waiters = picture.waiting;
  figures->pipelines = picture.live;
  figures->resting = picture.resting;
  figures->in_flight = picture.in_flight;
  figures->reruns = picture.counters.reruns;
}
