/* simple_pool.c - shared connections come from the manager's own pool, as leases that the manager
 * itself holds, and go back there. */
#include "manager/simple_inside.h"

#include "base/error.h"
#include "core/fast.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

static const char OPERATION[] = "simple path";

/* What the driver cannot share is asked again after this: the database may be another by then. */
static const int64_t AWAY_NS = 60 * 1000 * CEN_NS_PER_MS;

/* ------------------------------------------------------------------------ lines */

cenote_status lines_new(struct simple *simple)
{
  simple->unused = NULL;
  atomic_init(&simple->lines, NULL);
  return pthread_mutex_init(&simple->lock, NULL) == 0 ? CENOTE_OK : CENOTE_NO_MEMORY;
}

void lines_free(struct simple *simple)
{
  struct line *line = atomic_load_explicit(&simple->lines, memory_order_relaxed);
  while (line != NULL) {
    struct line *next = line->next;
    (void)close(line->nudge_fd);
    free(line);
    line = next;
  }
  pthread_mutex_destroy(&simple->lock);
}

static struct line *line_make(struct simple *simple)
{
  struct line *line = calloc(1, sizeof *line);
  const int fd = line != NULL ? eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) : -1;
  if (fd < 0) {
    free(line);
    return NULL;
  }
  line->simple = simple;
  line->nudge_fd = fd;
  line->core.owner = line;
  line->core.flight = line->flights;
  line->watch.fd = line->done_watch.fd = -1;
  return line;
}

static struct line *line_take(struct simple *simple)
{
  pthread_mutex_lock(&simple->lock);
  struct line *line = simple->unused;
  if (line != NULL) {
    simple->unused = line->next_free;
  }
  pthread_mutex_unlock(&simple->lock);
  if (line != NULL) {
    return line;
  }
  line = line_make(simple);
  if (line != NULL) {
    pthread_mutex_lock(&simple->lock);
    line->next = atomic_load_explicit(&simple->lines, memory_order_relaxed);
    atomic_store_explicit(&simple->lines, line, memory_order_release);
    pthread_mutex_unlock(&simple->lock);
  }
  return line;
}

void line_put(struct simple *simple, struct line *line)
{
  pthread_mutex_lock(&simple->lock);
  line->next_free = simple->unused;
  simple->unused = line;
  pthread_mutex_unlock(&simple->lock);
}

/* ------------------------------------------------------------------- one lease */

static void leave_slot(struct simple *simple, const struct pool_grant *grant, unsigned session,
                       int64_t proven_ns)
{
  struct pool *pool = &simple->manager->pool;
  struct pool_wakes wakes = {0};
  const int64_t now = cen_now_ns();
  /* The pool is told when it was proven, which may be a while ago. */
  enum pool_answer answer = pool_leave(pool, grant->slot, grant->generation, session, proven_ns > 0,
                                       proven_ns > 0 ? proven_ns : now, &wakes);
  if (answer == POOL_OK) {
    (void)pool_release_slow(pool, grant->slot, grant->generation, now, &wakes);
  }
  manager_wake(simple->manager, &wakes);
}

static bool hook(struct cenote_manager *manager, const struct session *session,
                 cenote_hook_kind kind)
{
  return !atomic_load_explicit(&manager->hooked, memory_order_relaxed) ||
         manager->options.hook(manager->options.hook_context, kind,
                               manager->driver->resource(session->connection), "");
}

/* Into pipeline mode. NULL: *error says why not, and the connection is given back. */
static struct line *adopt(struct simple *simple, const struct pool_grant *grant,
                          enum pipeline_role role, cenote_error *error)
{
  struct cenote_manager *manager = simple->manager;
  const cenote_driver *driver = manager->driver;
  void *resource;
  if (pool_enter(&manager->pool, grant->slot, grant->generation, &resource) != POOL_OK) {
    cenote_error_set(error, CENOTE_SHUTTING_DOWN, "the pool manager is shutting down");
    return NULL;
  }
  struct session *session = resource;
  struct line *line = line_take(simple);
  cenote_status status = CENOTE_OK;
  if (line == NULL) {
    status = cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory: shared connection");
  } else if (!hook(manager, session, CENOTE_HOOK_BEFORE_LEASE)) {
    status = cenote_error_set(error, CENOTE_CONNECT, "the hook for leases rejected a connection");
  } else {
    status = driver->pipelining->enter(session->connection, role == PIPELINE_READER, error);
    if (status != CENOTE_OK) {
      (void)hook(manager, session, CENOTE_HOOK_AFTER_RELEASE);
    }
  }
  if (status != CENOTE_OK) {
    if (line != NULL) {
      line_put(simple, line);
    }
    error->status = status;
    leave_slot(simple, grant, session_flags(driver->session(session->connection)), 0);
    atomic_fetch_add_explicit(&simple->releases, 1, memory_order_relaxed);
    return NULL;
  }
  line->session = session;
  line->connection = session->connection;
  line->sunk_from = line->sunk_to = 0;
  line->cancelled = line->cut = false;
  atomic_store_explicit(&line->slot, grant->slot, memory_order_release);
  atomic_store_explicit(&line->generation, grant->generation, memory_order_release);
  return line;
}

void line_report(struct line *line, struct pipeline_did *did)
{
  const cenote_driver *driver = line->simple->manager->driver;
  cenote_wants wants = {.fd = -1, .deadline_ns = CEN_NEVER};
  did->wants.done_fd = -1;
  if (line->cut) {
    did->wants.fd = -1;
    did->wants.deadline_ns = CEN_NEVER;
    return;
  }
  if (line->cancelled) {
    line->cancelled = did->cancelling =
        driver->pipelining->cancelling(line->connection, &did->wants.done_fd);
  }
  did->broken = (driver->session(line->connection) & CENOTE_SESSION_BROKEN) != 0;
  driver->pipelining->wants(line->connection, &wants);
  did->wants.fd = wants.fd;
  did->wants.events = wants.events;
  did->wants.deadline_ns = wants.deadline_ns;
  did->together = wants.together;
  did->wanted = line_is_wanted(line);
}

/* It depends on what stands between us and the database, not on this connection: remembered, or
 * each statement would try, be refused and move. */
static void note_whether_shared(struct simple *simple, enum pipeline_role role,
                                cenote_status status)
{
  const int64_t until_ns = status == CENOTE_UNSUPPORTED ? cen_now_ns() + AWAY_NS : 0;
  if (status == CENOTE_OK || until_ns != 0) {
    atomic_store_explicit(&simple->away_until_ns[role], until_ns, memory_order_relaxed);
  }
}

/* Granted: it is reported with what it wants, or why nothing came of it. */
static void take_grant(struct simple *simple, const struct pool_grant *grant,
                       enum pipeline_role role, struct pipeline_did *did, cenote_error *error)
{
  atomic_fetch_add_explicit(&simple->grants, 1, memory_order_relaxed);
  pool_unsample(&simple->manager->pool, grant);
  struct line *line = adopt(simple, grant, role, error);
  note_whether_shared(simple, role, line != NULL ? CENOTE_OK : error->status);
  if (line == NULL) {
    atomic_fetch_sub_explicit(&simple->open, 1, memory_order_relaxed);
    did->status = error->status;
    return;
  }
  did->serial = atomic_fetch_add_explicit(&simple->serials, 1, memory_order_relaxed) + 1;
  atomic_store_explicit(&line->serial, did->serial, memory_order_release);
  did->pipeline = &line->core;
  did->proven = !grant->must_check;
  line_report(line, did);
}

/* It must never expire, nor overflow when it is looked at. */
static struct pool_ask ask_for(int64_t now_ns)
{
  return (struct pool_ask){.operation = OPERATION,
                           .operation_size = sizeof OPERATION - 1,
                           .now_ns = now_ns,
                           .lease_ns = INT64_MAX / 2};
}

static void begin_report(struct pipeline_did *did, enum pipeline_role role, cenote_error *error)
{
  *did = (struct pipeline_did){.what = PIPELINE_ASKED, .role = role, .error = error};
  did->wants.fd = did->wants.done_fd = -1;
  did->wants.deadline_ns = CEN_NEVER;
  cen_error_begin(error);
}

/* The waiter is settled: granted, or refused. */
static void take_settled(struct simple *simple, enum pipeline_role role, struct pipeline_did *did,
                         cenote_error *error)
{
  struct cenote_manager *manager = simple->manager;
  const struct pool_waiter *waiter = &simple->waiter[role];
  if (waiter->status == CENOTE_OK) {
    const struct pool_ask ask = ask_for(cen_now_ns());
    struct pool_grant grant;
    pool_accept(&manager->pool, waiter, &ask, &grant);
    take_grant(simple, &grant, role, did, error);
    return;
  }
  atomic_fetch_sub_explicit(&simple->open, 1, memory_order_relaxed);
  did->status = waiter->status;
  if (waiter->status != CENOTE_CANCELLED) {
    (void)acquire_failed(manager, waiter->status,
                         (cen_now_ns() - waiter->enqueued_ns) / CEN_NS_PER_MS, error);
  }
}

/* One try. A connection that turned out dead went back as broken: the next may be better. */
static void ask_once(struct simple *simple, enum pipeline_role role, struct pipeline_did *did,
                     cenote_error *error)
{
  struct cenote_manager *manager = simple->manager;
  const struct pool_ask ask = ask_for(cen_now_ns());
  struct pool_grant grant;
  begin_report(did, role, error);
  atomic_fetch_add_explicit(&simple->open, 1, memory_order_relaxed);
  if (pool_take(&manager->pool, UINT32_MAX, &ask, &grant)) {
    take_grant(simple, &grant, role, did, error);
    return;
  }
  struct pool_wakes wakes = {0};
  pool_waiter_init(&simple->waiter[role], true);
  simple->waiter[role].uncounted = true;
  if (pool_wait(&manager->pool, &simple->waiter[role], ask.now_ns, &wakes)) {
    take_settled(simple, role, did, error);
  }
  manager_wake(manager, &wakes);
}

void simple_ask(struct simple *simple, enum pipeline_role role, struct pipeline_did *did,
                cenote_error *error)
{
  int tries = CEN_MAX_CONNECTIONS; /* each that is dead is gone from the pool */
  do {
    ask_once(simple, role, did, error);
  } while (did->status == CENOTE_CONNECTION_LOST && --tries > 0);
}

bool simple_asked(struct simple *simple, enum pipeline_role role, struct pipeline_did *did,
                  cenote_error *error)
{
  struct cenote_manager *manager = simple->manager;
  struct pool_waiter *waiter = &simple->waiter[role];
  if (!pipeline_is_waiting(&simple->set, role)) {
    return false;
  }
  if (atomic_load_explicit(&waiter->signal, memory_order_acquire) == POOL_WOKEN) {
    struct pool_wakes wakes = {0};
    (void)pool_rescan(&manager->pool, waiter, cen_now_ns(), &wakes);
    manager_wake(manager, &wakes);
  }
  if (atomic_load_explicit(&waiter->signal, memory_order_acquire) != POOL_SETTLED) {
    return false;
  }
  begin_report(did, role, error);
  take_settled(simple, role, did, error);
  if (did->status == CENOTE_CONNECTION_LOST) {
    simple_ask(simple, role, did, error);
  }
  return true;
}

void simple_withdraw(struct simple *simple, enum pipeline_role role, struct pipeline_did *did,
                     cenote_error *error)
{
  struct pool_wakes wakes = {0};
  begin_report(did, role, error);
  pool_give_up(&simple->manager->pool, &simple->waiter[role], CENOTE_CANCELLED, cen_now_ns(),
               &wakes);
  manager_wake(simple->manager, &wakes);
  take_settled(simple, role, did, error);
}

/* ---------------------------------------------------------------------- going back */

void simple_give_back(struct simple *simple, struct line *line)
{
  struct cenote_manager *manager = simple->manager;
  const cenote_driver *driver = manager->driver;
  const struct pool_grant grant = {
      .slot = atomic_load_explicit(&line->slot, memory_order_relaxed),
      .generation = atomic_load_explicit(&line->generation, memory_order_relaxed)};
  for (; line->sunk_from != line->sunk_to; line->sunk_from++) {
    cen_sink_deinit(&line->sinks[line->sunk_from % PIPELINE_RING]);
  }
  if (!line->cut) {
    driver->pipelining->leave(line->connection);
    if (driver->shrink != NULL &&
        atomic_exchange_explicit(&line->session->shrink, false, memory_order_relaxed)) {
      driver->shrink(line->connection);
    }
  }
  (void)hook(manager, line->session, CENOTE_HOOK_AFTER_RELEASE); /* of one that was cut off, too */
  const unsigned flags =
      line->cut ? SLOT_SESSION_BROKEN : session_flags(driver->session(line->connection));
  leave_slot(simple, &grant, flags, line->cut ? 0 : line->core.proven_ns);
  atomic_store_explicit(&line->serial, 0, memory_order_release);
  atomic_fetch_add_explicit(&simple->releases, 1, memory_order_relaxed);
  atomic_fetch_sub_explicit(&simple->open, 1, memory_order_relaxed);
}

bool line_is_wanted(const struct line *line)
{
  struct pool *pool = &line->simple->manager->pool;
  const uint32_t index = atomic_load_explicit(&line->slot, memory_order_relaxed);
  const uint64_t word = slot_word(pool_slot(pool, index));
  return (word & SLOT_RETIRE) != 0 || ((word & SLOT_WAITER) != 0 && pool_is_short(pool));
}

void simple_look_around(struct simple *simple)
{
  struct pool *pool = &simple->manager->pool;
  /* So many have to go, whichever; those that rest were told already. */
  uint32_t over = simple->manager->seat != NULL ? pool_excess(pool) : 0;
  const uint32_t leaving = over > 0 ? pipeline_leaving(&simple->set) : 0;
  over -= leaving < over ? leaving : over;
  for (struct line *line = atomic_load_explicit(&simple->lines, memory_order_acquire); line != NULL;
       line = line->next) {
    const uint64_t serial = atomic_load_explicit(&line->serial, memory_order_acquire);
    if (serial == 0) {
      continue;
    }
    const bool gone =
        pool_is_revoked(pool, atomic_load_explicit(&line->slot, memory_order_acquire),
                        atomic_load_explicit(&line->generation, memory_order_acquire));
    struct pipeline_wakes wakes;
    wakes_begin(&wakes);
    if (atomic_load_explicit(&line->serial, memory_order_acquire) != serial) {
      continue; /* what was read is another one's */
    }
    if (gone) {
      pipeline_condemn(&simple->set, &line->core, serial, &wakes);
    } else if (over > 0 || line_is_wanted(line)) {
      over -= over > 0;
      pipeline_want(&simple->set, &line->core, serial, &wakes);
    }
    simple_wake(simple, &wakes, true);
  }
}
