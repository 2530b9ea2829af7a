/*
 * loop.c - see loop.h.
 *
 * An event in epoll's hands carries the descriptor and the watch's serial number, never a pointer:
 * between the kernel's answer and the callback another callback may have stopped or freed the
 * watch, or closed the descriptor and opened another under the same number. `watches` says who
 * has a descriptor now; a serial that differs means the event is somebody else's past.
 *
 * Tasks wait in a list under the loop's lock. Who posts writes the eventfd once until the loop has
 * looked; the loop's own thread, inside a callback, needs no wake at all.
 */
#include "net/loop.h"

#include "base/error.h"
#include "net/clock.h"
#include "net/fork.h"
#include "net/heap.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { EVENTS_A_ROUND = 64 };

/* Who has a descriptor; or who parked it, and how epoll knows it. */
struct place {
  struct cen_watch *watch;
  uint64_t owner; /* 0: nobody */
  uint32_t serial;
  short events;
};

struct cen_loop {
  int epoll_fd, wake_fd;
  uint32_t fork_count; /* the process it was made in */
  uint32_t next_serial;
  struct place *watches; /* by descriptor */
  size_t watches_size;
  struct cen_heap timers;
  _Atomic(void *) runner;      /* the thread inside the callbacks, by the address of its own byte */
  _Atomic(void *) host;        /* the thread that promised to run the loop soon, likewise */
  void (*soon)(void *context); /* the host's alone, as is its context */
  void *soon_context;
  bool unpolled; /* whoever runs it: the last round did not ask for events */
  atomic_bool has_tasks;
  pthread_mutex_t lock;
  struct cen_link tasks; /* guarded by lock */
  bool woken;            /* guarded by lock: the eventfd was written and not yet read */
};

static _Thread_local char this_thread;

/* In a forked child the epoll set is still the parent's: nothing there may be touched. */
static bool is_foreign(const struct cen_loop *loop)
{
  return loop->fork_count != cen_fork_count;
}

static cenote_status status_of(int error_number)
{
  switch (error_number) {
  case ENOMEM:
  case ENOSPC:
    return CENOTE_NO_MEMORY;
  case EPERM: /* a regular file: always ready, so nothing to wait for */
  case EBADF:
  case EINVAL:
  case ELOOP:
    return CENOTE_INVALID;
  default:
    return CENOTE_IO;
  }
}

cenote_status cen_loop_new(struct cen_loop **out, cenote_error *error)
{
  *out = NULL;
  cen_fork_watch();
  cenote_status status = CENOTE_OK;
  struct cen_loop *loop = calloc(1, sizeof(*loop));
  if (loop == NULL) {
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory for an event loop");
  }
  loop->wake_fd = -1;
  loop->fork_count = cen_fork_count;
  cen_link_init(&loop->tasks);
  pthread_mutex_init(&loop->lock, NULL); /* cannot fail on Linux */
  loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  if (loop->epoll_fd >= 0) {
    loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  }
  struct epoll_event event = {.events = EPOLLIN, .data.u64 = (uint32_t)loop->wake_fd};
  if (loop->wake_fd < 0 || epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, loop->wake_fd, &event) != 0) {
    status = cenote_error_set(error, CENOTE_IO, "cannot make an event loop: %s", strerror(errno));
    cen_loop_free(loop);
    return status;
  }
  *out = loop;
  return status;
}

static void descriptors_close(struct cen_loop *loop)
{
  if (loop->wake_fd >= 0) {
    close(loop->wake_fd);
  }
  if (loop->epoll_fd >= 0) {
    close(loop->epoll_fd);
  }
}

static void watches_and_timers_forget(struct cen_loop *loop)
{
  for (size_t fd = 0; fd < loop->watches_size; fd++) {
    if (loop->watches[fd].watch != NULL) {
      loop->watches[fd].watch->loop = NULL;
      loop->watches[fd].watch->fd = -1;
    }
  }
  free(loop->watches);
  cen_heap_deinit(&loop->timers);
}

bool cen_loop_inside(const struct cen_loop *loop)
{
  return atomic_load_explicit(&loop->runner, memory_order_relaxed) == &this_thread;
}

void cen_loop_host(struct cen_loop *loop, void (*soon)(void *context), void *context)
{
  loop->soon = soon;
  loop->soon_context = context;
  atomic_store_explicit(&loop->host, soon != NULL ? &this_thread : NULL, memory_order_relaxed);
}

/* Is the caller the host, outside of the loop's callbacks? Only the host's thread ever sees its own
 * address there, so no order is needed. */
static bool is_host(const struct cen_loop *loop, bool inside)
{
  return !inside && atomic_load_explicit(&loop->host, memory_order_relaxed) == &this_thread;
}

void cen_loop_free(struct cen_loop *loop)
{
  if (loop == NULL) {
    return;
  }
  if (is_foreign(loop)) {
    cen_loop_free_child(loop);
    return;
  }
  for (struct cen_link *link; (link = cen_list_pop(&loop->tasks)) != NULL;) {
    CEN_CONTAINER(link, struct cen_task, link)->queued = false;
  }
  watches_and_timers_forget(loop);
  descriptors_close(loop);
  pthread_mutex_destroy(&loop->lock);
  free(loop);
}

void cen_loop_free_child(struct cen_loop *loop)
{
  if (loop == NULL) {
    return;
  }
  /* A thread that does not exist here may have been inside when the parent forked. Then its
   * tables may be half changed and are left alone, as is the lock in any case. */
  if (atomic_load(&loop->runner) == NULL || cen_loop_inside(loop)) {
    watches_and_timers_forget(loop);
  }
  descriptors_close(loop);
  free(loop);
}

int cen_loop_fd(const struct cen_loop *loop)
{
  return loop->epoll_fd;
}

int64_t cen_loop_next_deadline(const struct cen_loop *loop)
{
  if (atomic_load_explicit(&loop->has_tasks, memory_order_acquire)) {
    return 0;
  }
  return loop->timers.count > 0 ? loop->timers.timers[0]->deadline_ns : CEN_NEVER;
}

/* ----------------------------------------------------------------- watches */

static bool watches_reserve(struct cen_loop *loop, size_t fd)
{
  if (fd < loop->watches_size) {
    return true;
  }
  size_t size = loop->watches_size == 0 ? 64 : loop->watches_size;
  while (size <= fd) {
    size *= 2;
  }
  struct place *watches = realloc(loop->watches, size * sizeof(struct place));
  if (watches == NULL) {
    return false;
  }
  memset(watches + loop->watches_size, 0, (size - loop->watches_size) * sizeof(struct place));
  loop->watches = watches;
  loop->watches_size = size;
  return true;
}

static bool has_descriptor(const struct cen_loop *loop, const struct cen_watch *watch)
{
  return watch->fd >= 0 && (size_t)watch->fd < loop->watches_size &&
         loop->watches[watch->fd].watch == watch;
}

void cen_watch_stop(struct cen_watch *watch)
{
  struct cen_loop *loop = watch->loop;
  if (loop != NULL && has_descriptor(loop, watch)) {
    loop->watches[watch->fd].watch = NULL;
    if (!is_foreign(loop)) {
      /* Fails where the descriptor was closed already: then epoll has forgotten it. */
      struct epoll_event none = {0};
      epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, watch->fd, &none);
    }
  }
  watch->loop = NULL;
  watch->fd = -1;
  watch->serial = 0;
}

/* Who knows what epoll knows: the descriptor may have been closed and opened again since. */
static int descriptor_register(struct cen_loop *loop, int fd, struct epoll_event *event, bool known)
{
  int first = known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
  if (epoll_ctl(loop->epoll_fd, first, fd, event) == 0) {
    return 0;
  }
  if (errno != (known ? ENOENT : EEXIST)) {
    return errno;
  }
  int second = known ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
  return epoll_ctl(loop->epoll_fd, second, fd, event) == 0 ? 0 : errno;
}

cenote_status cen_watch_set(struct cen_loop *loop, struct cen_watch *watch, int fd, short events)
{
  if (watch->loop != NULL && (watch->loop != loop || watch->fd != fd)) {
    cen_watch_stop(watch);
  }
  if (fd < 0) {
    return CENOTE_OK;
  }
  if (is_foreign(loop)) {
    return CENOTE_FORKED;
  }
  if (!watches_reserve(loop, (size_t)fd)) {
    cen_watch_stop(watch);
    return CENOTE_NO_MEMORY;
  }
  bool known = loop->watches[fd].watch != NULL || loop->watches[fd].owner != 0;
  uint32_t serial = ++loop->next_serial;
  struct epoll_event event = {.data.u64 = (uint64_t)serial << 32 | (uint32_t)fd};
  event.events = ((events & POLLIN) != 0 ? (uint32_t)EPOLLIN : 0) |
                 ((events & POLLOUT) != 0 ? (uint32_t)EPOLLOUT : 0) |
                 ((events & POLLPRI) != 0 ? (uint32_t)EPOLLPRI : 0);
  int failure = descriptor_register(loop, fd, &event, known);
  if (failure != 0) {
    cen_watch_stop(watch);
    return status_of(failure);
  }
  loop->watches[fd] = (struct place){.watch = watch};
  watch->loop = loop;
  watch->fd = fd;
  watch->events = events;
  watch->serial = serial;
  return CENOTE_OK;
}

void cen_watch_park(struct cen_watch *watch, uint64_t owner)
{
  struct cen_loop *loop = watch->loop;
  if (loop == NULL || owner == 0 || !has_descriptor(loop, watch) || is_foreign(loop)) {
    cen_watch_stop(watch);
    return;
  }
  loop->watches[watch->fd] =
      (struct place){.owner = owner, .serial = (uint32_t)watch->serial, .events = watch->events};
  watch->loop = NULL;
  watch->fd = -1;
  watch->serial = 0;
}

cenote_status cen_watch_resume(struct cen_loop *loop, struct cen_watch *watch, int fd, short events,
                               uint64_t owner)
{
  struct place *place = fd >= 0 && (size_t)fd < loop->watches_size ? &loop->watches[fd] : NULL;
  if (place == NULL || place->owner != owner || place->events != events || watch->loop != NULL ||
      is_foreign(loop)) {
    return cen_watch_set(loop, watch, fd, events);
  }
  watch->loop = loop;
  watch->fd = fd;
  watch->events = events;
  watch->serial = place->serial;
  *place = (struct place){.watch = watch};
  return CENOTE_OK;
}

/* Nobody looks at it now: whoever comes back registers it anew. */
static void parked_forget(struct cen_loop *loop, struct place *place, int fd)
{
  struct epoll_event none = {0};
  place->owner = 0;
  epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, fd, &none);
}

static void event_deliver(struct cen_loop *loop, const struct epoll_event *event)
{
  size_t fd = (uint32_t)event->data.u64;
  struct place *place = fd < loop->watches_size ? &loop->watches[fd] : NULL;
  struct cen_watch *watch = place != NULL ? place->watch : NULL;
  if (place != NULL && place->owner != 0 && place->serial == event->data.u64 >> 32) {
    parked_forget(loop, place, (int)fd);
    return;
  }
  if (watch == NULL || watch->serial != event->data.u64 >> 32) {
    return;
  }
  short revents = 0;
  revents = (short)(revents | ((event->events & EPOLLIN) != 0 ? POLLIN : 0));
  revents = (short)(revents | ((event->events & EPOLLOUT) != 0 ? POLLOUT : 0));
  revents = (short)(revents | ((event->events & EPOLLPRI) != 0 ? POLLPRI : 0));
  revents = (short)(revents | ((event->events & EPOLLERR) != 0 ? POLLERR : 0));
  revents = (short)(revents | ((event->events & EPOLLHUP) != 0 ? POLLHUP : 0));
  watch->ready(watch, revents);
}

/* ------------------------------------------------------------------ timers */

cenote_status cen_timer_set(struct cen_loop *loop, struct cen_timer *timer, int64_t deadline_ns)
{
  if (timer->loop != loop || deadline_ns == CEN_NEVER) {
    cen_timer_stop(timer);
  }
  if (deadline_ns == CEN_NEVER) {
    return CENOTE_OK;
  }
  if (!cen_heap_put(&loop->timers, timer, deadline_ns)) {
    return CENOTE_NO_MEMORY;
  }
  timer->loop = loop;
  return CENOTE_OK;
}

void cen_timer_stop(struct cen_timer *timer)
{
  if (timer->loop != NULL) {
    cen_heap_remove(&timer->loop->timers, timer);
  }
  timer->loop = NULL;
}

/* At most as many as there are now: a timer that sets itself to a past time does not keep the
 * loop from its descriptors. */
static void timers_fire(struct cen_loop *loop)
{
  size_t left = loop->timers.count;
  if (left == 0) {
    return;
  }
  int64_t now = cen_now_ns();
  while (left-- > 0 && loop->timers.count > 0) {
    struct cen_timer *timer = loop->timers.timers[0];
    if (timer->deadline_ns > now) {
      return;
    }
    cen_timer_stop(timer);
    timer->fire(timer);
  }
}

/* ------------------------------------------------------------------- tasks */

void cen_task_init(struct cen_task *task, void (*run)(struct cen_task *task))
{
  cen_link_init(&task->link);
  task->queued = false;
  task->run = run;
}

static void wake_write(struct cen_loop *loop)
{
  int saved = errno;
  uint64_t one = 1;
  /* Fails only where the count is full, and then it is readable anyway. */
  ssize_t ignored = write(loop->wake_fd, &one, sizeof(one));
  (void)ignored;
  errno = saved;
}

void cen_loop_post(struct cen_loop *loop, struct cen_task *task)
{
  if (is_foreign(loop)) {
    return;
  }
  bool inside = cen_loop_inside(loop); /* it looks at the list again before it sleeps */
  const bool host =
      is_host(loop, inside); /* its thread alone frees the loop, or has given it away */
  bool queued = false, write_it = false;
  pthread_mutex_lock(&loop->lock);
  if (!task->queued) {
    task->queued = true;
    cen_list_push_back(&loop->tasks, &task->link);
    atomic_store_explicit(&loop->has_tasks, true, memory_order_release);
    queued = true;
    write_it = !loop->woken && !inside && !host;
    loop->woken = loop->woken || write_it;
  }
  /* Written under the lock: once a poster is through with the lock, the loop may be freed by what
   * the task does. */
  if (write_it) {
    wake_write(loop);
  }
  pthread_mutex_unlock(&loop->lock);
  if (queued && host) {
    loop->soon(loop->soon_context);
  }
}

void cen_loop_wake(struct cen_loop *loop)
{
  if (is_foreign(loop)) {
    return;
  }
  pthread_mutex_lock(&loop->lock);
  if (!loop->woken) {
    loop->woken = true;
    wake_write(loop);
  }
  pthread_mutex_unlock(&loop->lock);
}

static void wake_read(struct cen_loop *loop)
{
  uint64_t count;
  pthread_mutex_lock(&loop->lock);
  loop->woken = false;
  ssize_t ignored = read(loop->wake_fd, &count, sizeof(count));
  (void)ignored;
  pthread_mutex_unlock(&loop->lock);
}

/* Those that were there when it began: a task that posts itself runs in the next round. */
static void tasks_run(struct cen_loop *loop)
{
  if (!atomic_load_explicit(&loop->has_tasks, memory_order_acquire)) {
    return;
  }
  struct cen_link last; /* a mark behind the last of this round */
  cen_link_init(&last);
  pthread_mutex_lock(&loop->lock);
  cen_list_push_back(&loop->tasks, &last);
  for (;;) {
    struct cen_link *link = cen_list_pop(&loop->tasks);
    if (link == &last) {
      break;
    }
    struct cen_task *task = CEN_CONTAINER(link, struct cen_task, link);
    task->queued = false;
    pthread_mutex_unlock(&loop->lock);
    task->run(task);
    pthread_mutex_lock(&loop->lock);
  }
  atomic_store_explicit(&loop->has_tasks, !cen_list_empty(&loop->tasks), memory_order_release);
  pthread_mutex_unlock(&loop->lock);
}

/* A host that runs what it has just posted comes back where a descriptor is ready: that is not asked
 * for then, but not twice in a row. */
static bool only_tasks(struct cen_loop *loop, int64_t deadline_ns)
{
  loop->unpolled = !loop->unpolled && deadline_ns == 0 && is_host(loop, false) &&
                   atomic_load_explicit(&loop->has_tasks, memory_order_acquire);
  return loop->unpolled;
}

void cen_loop_run(struct cen_loop *loop, int64_t deadline_ns)
{
  if (is_foreign(loop) || cen_loop_inside(loop)) {
    return;
  }
  int64_t next = cen_loop_next_deadline(loop);
  int64_t until = next < deadline_ns ? next : deadline_ns;
  int timeout = 0;
  if (until > 0) {
    timeout = until == CEN_NEVER ? -1 : cen_poll_timeout_ms(cen_now_ns(), until);
  }
  struct epoll_event events[EVENTS_A_ROUND];
  int count = 0;
  if (!only_tasks(loop, deadline_ns)) {
    count = epoll_wait(loop->epoll_fd, events, EVENTS_A_ROUND, timeout);
  }
  atomic_store_explicit(&loop->runner, &this_thread, memory_order_relaxed);
  for (int i = 0; i < count; i++) {
    if (events[i].data.u64 == (uint32_t)loop->wake_fd) {
      wake_read(loop);
    } else {
      event_deliver(loop, &events[i]);
    }
  }
  tasks_run(loop);
  timers_fire(loop);
  atomic_store_explicit(&loop->runner, NULL, memory_order_relaxed);
}
