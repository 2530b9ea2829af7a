/*
 * table.c - the process-wide table of managers. A lease names its manager by number; the struct
 * behind a number is recycled for a later manager but never freed, so that a stale lease may
 * always be looked at: its generation matches nothing any more.
 */
#include "manager/manager.h"

#include <stdlib.h>
#include <string.h>

struct cenote_manager *_Atomic manager_table[CEN_MAX_MANAGERS];
static bool in_use[CEN_MAX_MANAGERS]; /* guarded by lock */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t standard_lock = PTHREAD_MUTEX_INITIALIZER;

/* In a forked child every manager is its parent's: acquire and release must say so. Locks that some
 * other thread held when it forked are nobody's here: without this the child's own managers, which
 * may take the place of one that was closed before, would wait for ever. */
static void in_child(void)
{
  pthread_mutex_init(&lock, NULL);
  pthread_mutex_init(&standard_lock, NULL);
  for (uint32_t place = 0; place < CEN_MAX_MANAGERS; place++) {
    struct cenote_manager *manager =
        atomic_load_explicit(&manager_table[place], memory_order_relaxed);
    if (manager != NULL) {
      atomic_fetch_or_explicit(&manager->pool.gate, POOL_GATE_FOREIGN, memory_order_relaxed);
      atomic_store_explicit(&manager->visitors, 0, memory_order_relaxed);
      pthread_mutex_init(&manager->async_lock, NULL);
      if (manager->pool.born) {
        (void)pool_lock_init(&manager->pool.lock);
      }
    }
  }
}

static void watch_forks(void)
{
  cen_fork_watch();
  pthread_atfork(NULL, NULL, in_child);
}

static struct cenote_manager *fill_place(uint32_t place)
{
  struct cenote_manager *manager =
      atomic_load_explicit(&manager_table[place], memory_order_relaxed);
  if (manager != NULL) {
    return manager;
  }
  manager = aligned_alloc(64, (sizeof *manager + 63) / 64 * 64);
  if (manager != NULL) {
    memset(manager, 0, sizeof *manager);
    if (pthread_mutex_init(&manager->async_lock, NULL) != 0) {
      free(manager);
      return NULL;
    }
    cen_link_init(&manager->asking);
    manager->id = place + 1;
    atomic_store_explicit(&manager_table[place], manager, memory_order_release);
  }
  return manager;
}

struct cenote_manager *manager_new(void)
{
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  struct cenote_manager *manager = NULL;
  pthread_once(&once, watch_forks);
  pthread_mutex_lock(&lock);
  for (uint32_t place = 0; place < CEN_MAX_MANAGERS; place++) {
    if (!in_use[place]) {
      manager = fill_place(place);
      in_use[place] = manager != NULL;
      break;
    }
  }
  pthread_mutex_unlock(&lock);
  return manager;
}

/* What lies behind the pool is the manager's own life and starts afresh; the pool keeps its slots. */
void manager_recycle(struct cenote_manager *manager)
{
  const uint32_t id = manager->id;
  const size_t kept = offsetof(struct cenote_manager, external);
  memset((char *)manager + kept, 0, sizeof *manager - kept);
  pthread_mutex_lock(&lock);
  in_use[id - 1] = false;
  pthread_mutex_unlock(&lock);
}

/* ---------------------------------------------------------- the default manager */

static struct cenote_manager *standard; /* guarded by standard_lock */

cenote_status cenote_default_manager(cenote_manager **manager, cenote_error *error)
{
  if (manager == NULL) {
    return cenote_error_set(error, CENOTE_INVALID, "manager: NULL, must point to a variable");
  }
  *manager = NULL;
  cenote_status status = CENOTE_OK;
  pthread_mutex_lock(&standard_lock);
  if (standard != NULL && manager_is_foreign(standard)) {
    standard = NULL; /* the parent's; a child gets one of its own */
  }
  if (standard == NULL) {
    status = cenote_open(NULL, NULL, &standard, error);
  }
  *manager = standard;
  pthread_mutex_unlock(&standard_lock);
  return status;
}

void cenote_reset_default_manager(void)
{
  pthread_mutex_lock(&standard_lock);
  struct cenote_manager *manager = standard;
  standard = NULL;
  pthread_mutex_unlock(&standard_lock);
  cenote_close(manager);
}
