/* step.h - the lock of the core and the points where another thread may get in between.
 *
 * In the library the lock is a mutex and a step is nothing. The simulation (CEN_SIM) gives both
 * to its scheduler: threads become coroutines that may be switched at every step, so that a
 * seed replays one interleaving exactly. */
#ifndef CEN_STEP_H
#define CEN_STEP_H

#ifdef CEN_SIM

struct pool_lock {
  int held;
};

void sim_step(void);
void sim_lock(struct pool_lock *lock);
void sim_unlock(struct pool_lock *lock);

#define POOL_STEP() sim_step()

static inline int pool_lock_init(struct pool_lock *lock)
{
  lock->held = 0;
  return 0;
}
static inline void pool_lock_deinit(struct pool_lock *lock)
{
  (void)lock;
}
static inline void pool_lock_take(struct pool_lock *lock)
{
  sim_lock(lock);
}
static inline void pool_lock_give(struct pool_lock *lock)
{
  sim_unlock(lock);
}

#else

#include <pthread.h>

struct pool_lock {
  pthread_mutex_t mutex;
};

#define POOL_STEP() ((void)0)

static inline int pool_lock_init(struct pool_lock *lock)
{
  return pthread_mutex_init(&lock->mutex, NULL);
}
static inline void pool_lock_deinit(struct pool_lock *lock)
{
  pthread_mutex_destroy(&lock->mutex);
}
static inline void pool_lock_take(struct pool_lock *lock)
{
  pthread_mutex_lock(&lock->mutex);
}
static inline void pool_lock_give(struct pool_lock *lock)
{
  pthread_mutex_unlock(&lock->mutex);
}

#endif

#endif
