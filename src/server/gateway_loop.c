/* gateway_loop.c - a loop's beginning, its second and its end, handed on to the parts. */
#include "net/clock.h"
#include "server/gateway_inside.h"

#include <cenote/driver.h>
#include <event2/event.h>
#include <stdlib.h>
#include <time.h>

enum { STUCK_MS = 10000 }; /* a loop that has not ticked for so long has no second to spare */

static void tick(evutil_socket_t fd, short what, void *context)
{
  struct gateway_loop *loop = context;
  (void)fd;
  (void)what;
  atomic_store_explicit(&loop->ticked_ns, cen_now_coarse_ns(), memory_order_relaxed);
  for (unsigned i = 0; i < GATEWAY_PARTS; i++) {
    if (gateway_parts[i]->loop_tick != NULL) {
      gateway_parts[i]->loop_tick(loop);
    }
  }
}

/* Those that began give back what they took, the last first. */
static void parts_end(struct gateway_loop *loop, unsigned count)
{
  while (count > 0) {
    count--;
    if (gateway_parts[count]->loop_ended != NULL) {
      gateway_parts[count]->loop_ended(loop);
    }
  }
}

bool gateway_alive(const struct gateway *gateway)
{
  const int64_t now = cen_now_coarse_ns();
  for (unsigned i = 0; i < gateway->loop_count; i++) {
    const int64_t ticked = atomic_load_explicit(&gateway->loops[i].ticked_ns, memory_order_relaxed);
    if (ticked != 0 && now - ticked > STUCK_MS * CEN_NS_PER_MS) {
      return false;
    }
  }
  return true;
}

cenote_status gateway_loops_wait(const struct gateway *gateway, cenote_error *error)
{
  static const struct timespec moment = {0, 1000000};
  for (unsigned i = 0; i < gateway->loop_count; i++) {
    int64_t ticked = 0;
    while ((ticked = atomic_load_explicit(&gateway->loops[i].ticked_ns, memory_order_acquire)) ==
           0) {
      (void)nanosleep(&moment, NULL);
    }
    if (ticked < 0) {
      return cenote_error_set(error, CENOTE_NO_MEMORY, "a loop could not start: out of memory");
    }
  }
  return CENOTE_OK;
}

bool gateway_loop_started(struct cen_http_loop *http, void *context)
{
  static const struct timeval second = {1, 0};
  struct gateway *gateway = context;
  struct gateway_loop *loop = &gateway->loops[cen_http_loop_index(http)];
  loop->gateway = gateway;
  loop->http = http;
  loop->base = cen_http_loop_base(http);
  loop->index = cen_http_loop_index(http);
  cen_http_loop_set_user(http, loop);
  loop->tick = event_new(loop->base, -1, EV_PERSIST, tick, loop);
  if (loop->tick == NULL || event_add(loop->tick, &second) != 0) {
    goto failed;
  }
  for (unsigned i = 0; i < GATEWAY_PARTS; i++) {
    if (gateway_parts[i]->loop_started != NULL && !gateway_parts[i]->loop_started(loop)) {
      parts_end(loop, i);
      goto failed;
    }
  }
  atomic_store_explicit(&loop->ticked_ns, cen_now_coarse_ns(), memory_order_release);
  return true;
failed:
  atomic_store_explicit(&loop->ticked_ns, -1, memory_order_release);
  if (loop->tick != NULL) {
    event_free(loop->tick);
    loop->tick = NULL;
  }
  return false;
}

void gateway_loop_ended(struct cen_http_loop *http, void *context)
{
  struct gateway_loop *loop = cen_http_loop_user(http);
  (void)context;
  parts_end(loop, GATEWAY_PARTS);
  event_free(loop->tick);
  loop->tick = NULL;
}
