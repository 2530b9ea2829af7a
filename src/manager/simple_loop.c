/* simple_loop.c - the housekeeper's part of the simple path: it drives what no caller drives,
 * notices what time and the pool bring, and calls the asynchronous callers back. */
#include "manager/budget_member.h"
#include "manager/simple_inside.h"

#include "base/error.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int64_t turn(struct simple *simple, struct pipeline_did *did, int64_t now_ns);

/* ----------------------------------------------------------------------- watching */

/* Outside simple_turn nobody else sets the timer for us. */
static void arm(struct simple *simple, int64_t until_ns)
{
  if (until_ns == CEN_NEVER) {
    cen_timer_stop(&simple->timer);
  } else if (simple->timer.place == 0 || simple->timer.deadline_ns != until_ns) {
    if (cen_timer_set(simple->manager->loop, &simple->timer, until_ns) != CENOTE_OK) {
      housekeeper_kick(simple->manager); /* no memory for a timer: at once rather than never */
    }
  }
}

static void on_event(struct simple *simple, struct line *line, short revents, bool more)
{
  struct pipeline_did did = {
      .what = PIPELINE_POLLED, .pipeline = &line->core, .revents = revents, .more = more};
  arm(simple, turn(simple, &did, cen_now_ns()));
  simple_note_rest(simple->manager);
}

static void on_ready(struct cen_watch *watch, short revents)
{
  struct line *line = CEN_CONTAINER(watch, struct line, watch);
  on_event(line->simple, line, revents, false);
}

static void on_cancel_done(struct cen_watch *watch, short revents)
{
  struct line *line = CEN_CONTAINER(watch, struct line, done_watch);
  (void)revents;
  on_event(line->simple, line, 0, true);
}

static void on_timer(struct cen_timer *timer)
{
  struct simple *simple = CEN_CONTAINER(timer, struct simple, timer);
  struct pipeline_did did = {.what = PIPELINE_NOTHING};
  arm(simple, turn(simple, &did, cen_now_ns()));
}

static void unwatch_cancel(struct line *line)
{
  const int fd = line->done_watch.fd;
  cen_watch_stop(&line->done_watch);
  if (fd >= 0) {
    close(fd);
  }
}

/* A copy of the descriptor: whoever is inside meanwhile may close the driver's, and the number would
 * be a stranger's then. */
static cenote_status watch_cancel(struct line *line, struct cen_loop *loop, int done_fd)
{
  unwatch_cancel(line);
  const int copy = done_fd >= 0 ? fcntl(done_fd, F_DUPFD_CLOEXEC, 0) : -1;
  if (copy < 0) {
    return CENOTE_OK; /* none, or it was closed by now: then there is news */
  }
  const cenote_status status = cen_watch_set(loop, &line->done_watch, copy, POLLIN);
  if (status != CENOTE_OK) {
    cen_watch_stop(&line->done_watch);
    close(copy);
  }
  return status;
}

void simple_watch(struct simple *simple, struct line *line, const struct pipeline_wants *wants)
{
  struct cen_loop *loop = simple->manager->loop;
  line->watch.ready = on_ready;
  line->done_watch.ready = on_cancel_done;
  cenote_status status = watch_cancel(line, loop, wants->done_fd);
  if (status == CENOTE_OK && wants->fd >= 0) {
    status = cen_watch_set(loop, &line->watch, wants->fd, wants->events);
  } else {
    cen_watch_stop(&line->watch);
  }
  if (status != CENOTE_OK) { /* nobody would hear the answers */
    struct pipeline_wakes wakes;
    wakes_begin(&wakes);
    pipeline_condemn(&simple->set, &line->core,
                     atomic_load_explicit(&line->serial, memory_order_relaxed), &wakes);
  }
}

void simple_forget(struct line *line)
{
  cen_watch_stop(&line->watch);
  unwatch_cancel(line);
}

/* ----------------------------------------------------------------------- delivering */

static void deliver(struct simple *simple)
{
  struct pipeline_call *core;
  while ((core = pipeline_settled(&simple->set)) != NULL) {
    struct simple_call *call = simple_call_of(core);
    struct simple_async *async = call->async;
    struct simple_outcome outcome;
    cenote_result *result;
    cenote_error error;
    cen_error_begin(&error);
    const cenote_status status = simple_end(simple, call, &result, &outcome, &error);
    async->done(async, status, result, &outcome, &error);
    free(call); /* until then it could be cancelled */
  }
}

/* ------------------------------------------------------------------------ its turn */

static bool are_same(const struct pipeline_limits *a, const struct pipeline_limits *b)
{
  return a->most == b->most && a->depth == b->depth && a->queue == b->queue &&
         a->slow_ns == b->slow_ns && a->statement_ns == b->statement_ns &&
         a->cancel_ns == b->cancel_ns && a->check_after_ns == b->check_after_ns &&
         a->check_ns == b->check_ns && a->idle_ns == b->idle_ns;
}

/* In time for the pool to close it at the end of a short idle time-out, but not so soon that it
 * comes and goes between two statements. */
static int64_t idle_of(int64_t timeout_ns)
{
  const int64_t half = timeout_ns / 2, least = 50 * CEN_NS_PER_MS;
  return timeout_ns == 0 || half > PIPELINE_IDLE_NS ? PIPELINE_IDLE_NS
         : half < least                             ? least
                                                    : half;
}

static void configure(struct simple *simple)
{
  const struct cen_settings *settings = &simple->manager->settings;
#define MS(id) (cen_setting(settings, CEN_SET_##id) * CEN_NS_PER_MS)
  const int64_t most = cen_setting(settings, CEN_SET_MAX_CONNECTIONS);
  const int64_t shared = cen_setting(settings, CEN_SET_SIMPLE_CONNECTIONS);
  struct pipeline_limits limits;
  limits.most = (uint32_t)(shared < most ? shared : most);
  limits.most = limits.most < PIPELINE_MOST ? limits.most : PIPELINE_MOST;
  const int64_t quota = budget_quota(simple->manager);
  limits.most = quota < 1 ? 1 : quota < limits.most ? (uint32_t)quota : limits.most;
  limits.depth = (uint32_t)cen_setting(settings, CEN_SET_SIMPLE_DEPTH);
  limits.queue = (uint32_t)cen_setting(settings, CEN_SET_MAX_WAITERS);
  limits.slow_ns = MS(SIMPLE_SLOW);
  limits.statement_ns = MS(STATEMENT_TIMEOUT);
  limits.cancel_ns = MS(CANCEL_TIMEOUT);
  limits.check_after_ns = MS(CHECK_AFTER);
  limits.check_ns = MS(CONNECT_TIMEOUT);
  limits.idle_ns = idle_of(MS(IDLE_TIMEOUT));
#undef MS
  if (!are_same(&limits, &simple->limits)) {
    simple->limits = limits;
    pipeline_configure(&simple->set, &limits);
  }
}

static int64_t drive_loop(struct simple *simple, struct pipeline_did *did)
{
  struct pipeline_todo todo;
  struct pipeline_wakes wakes;
  wakes_begin(&wakes);
  const int64_t now_ns = cen_now_ns();
  pipeline_step(&simple->set, &simple->set.loop, did, now_ns, &todo, &wakes);
  return simple_drive(simple, &simple->set.loop, &todo, &wakes, now_ns);
}

/* A callback that comes back here must not begin a second time: what it wants is done after it. */
static int64_t turn(struct simple *simple, struct pipeline_did *did, int64_t now_ns)
{
  if (simple->inside) {
    housekeeper_kick(simple->manager);
    return now_ns;
  }
  simple->inside = true;
  int64_t until = drive_loop(simple, did);
  deliver(simple);
  simple->inside = false;
  return until;
}

int64_t simple_turn(struct cenote_manager *manager, int64_t now_ns)
{
  struct simple *simple = manager->simple;
  if (simple == NULL || simple->inside) {
    return CEN_NEVER;
  }
  configure(simple);
  simple_look_around(simple);
  simple->inside = true;
  for (enum pipeline_role role = 0; role < PIPELINE_ROLES; role++) {
    cenote_error error;
    struct pipeline_did asked;
    if (simple_asked(simple, role, &asked, &error)) {
      (void)drive_loop(simple, &asked);
    }
  }
  simple->inside = false;
  struct pipeline_did did = {.what = PIPELINE_NOTHING};
  return turn(simple, &did, now_ns);
}

static void timer_init(struct simple *simple)
{
  simple->timer.fire = on_timer;
}

cenote_status simple_new(struct cenote_manager *manager)
{
  manager->simple = NULL;
  const cenote_pipelining *pipelining = manager->driver->pipelining;
  if (pipelining == NULL || pipelining->size < sizeof *pipelining) {
    return CENOTE_OK;
  }
  struct simple *simple = aligned_alloc(64, (sizeof *simple + 63) / 64 * 64);
  if (simple == NULL) {
    return CENOTE_NO_MEMORY;
  }
  memset(simple, 0, sizeof *simple);
  simple->manager = manager;
  struct pipeline_limits none;
  memset(&none, 0, sizeof none);
  cenote_status status = lines_new(simple);
  if (status == CENOTE_OK) {
    status = pipeline_set_init(&simple->set, &none);
    if (status != CENOTE_OK) {
      lines_free(simple);
    }
  }
  if (status != CENOTE_OK) {
    free(simple);
    return status;
  }
  timer_init(simple);
  configure(simple);
  manager->simple = simple;
  return CENOTE_OK;
}

void simple_finish(struct cenote_manager *manager)
{
  if (manager->simple != NULL) {
    deliver(manager->simple);
    cen_timer_stop(&manager->simple->timer);
  }
}

void simple_free(struct cenote_manager *manager)
{
  struct simple *simple = manager->simple;
  if (simple != NULL) {
    pipeline_set_deinit(&simple->set);
    lines_free(simple);
    free(simple);
    manager->simple = NULL;
  }
}
