/*
 * gateway_drive.c - a manager whose loop is ours: its descriptor is watched, its deadline is a
 * timer, and both end in cenote_dispatch. What the loop's own thread asks of the manager is
 * dispatched at the end of the loop's turn, without a detour over the descriptor. Callbacks of the manager run in there and may free the
 * drive: the memory then goes when the dispatch is over.
 */
#include "server/gateway.h"

#include "manager/manager.h"

#include <cenote/loop.h>
#include <event2/event.h>
#include <stdlib.h>

struct gateway_drive {
  cenote_manager *manager;
  const struct cen_log *log;
  struct event *watch, *timer;
  bool inside, over;
};

static void drive_destroy(struct gateway_drive *drive)
{
  if (drive->watch != NULL) {
    event_free(drive->watch);
  }
  if (drive->timer != NULL) {
    event_free(drive->timer);
  }
  free(drive);
}

static void timer_set(struct gateway_drive *drive)
{
  const int64_t ms = cenote_next_deadline(drive->manager);
  if (ms < 0) {
    (void)event_del(drive->timer);
    return;
  }
  const struct timeval after = {(time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000)};
  if (event_add(drive->timer, &after) != 0) {
    cen_log_write(drive->log, CENOTE_LOG_ERROR, "a pool's timer could not be set: out of memory");
  }
}

static void on_event(evutil_socket_t fd, short what, void *context)
{
  struct gateway_drive *drive = context;
  cenote_error error = CENOTE_ERROR_INIT;
  (void)fd;
  (void)what;
  drive->inside = true;
  if (cenote_dispatch(drive->manager, &error) != CENOTE_OK) {
    cen_log_write(drive->log, CENOTE_LOG_ERROR, "a pool cannot be driven: %s", error.message);
  }
  drive->inside = false;
  if (drive->over) {
    drive_destroy(drive);
  } else {
    timer_set(drive);
  }
}

/* Behind what is ready now, so that statements of one turn are sent together; once, however often. */
static void on_soon(void *context)
{
  struct gateway_drive *drive = context;
  event_active(drive->timer, EV_TIMEOUT, 0);
}

struct gateway_drive *gateway_drive_new(struct gateway_loop *loop, cenote_manager *manager)
{
  struct gateway_drive *drive = calloc(1, sizeof *drive);
  if (drive == NULL) {
    return NULL;
  }
  drive->manager = manager;
  drive->log = &loop->gateway->log;
  drive->watch =
      event_new(loop->base, cenote_pollfd(manager), EV_READ | EV_PERSIST, on_event, drive);
  drive->timer = event_new(loop->base, -1, 0, on_event, drive);
  if (drive->watch == NULL || drive->timer == NULL || event_add(drive->watch, NULL) != 0) {
    drive_destroy(drive);
    return NULL;
  }
  timer_set(drive);
  manager_host(manager, on_soon, drive);
  return drive;
}

void gateway_drive_free(struct gateway_drive *drive)
{
  if (drive == NULL) {
    return;
  }
  manager_host(drive->manager, NULL, NULL);
  if (drive->inside) {
    drive->over = true;
    (void)event_del(drive->watch);
    (void)event_del(drive->timer);
  } else {
    drive_destroy(drive);
  }
}
