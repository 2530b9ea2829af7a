/* neon_reaper.c - closing a manager waits for its connections: no loop's work. One thread does it, one
 * manager after the other. */
#include "server/neon_inside.h"

#include <signal.h>
#include <stdlib.h>

struct neon_reaper {
  pthread_mutex_t lock;
  pthread_cond_t changed;
  struct neon_pool *pools; /* guarded by lock, as is: */
  bool ending;
  pthread_t thread;
};

static void *reaper_main(void *context)
{
  struct neon_reaper *reaper = context;
  pthread_mutex_lock(&reaper->lock);
  for (;;) {
    struct neon_pool *pools = reaper->pools;
    reaper->pools = NULL;
    if (pools == NULL && reaper->ending) {
      break;
    }
    if (pools == NULL) {
      pthread_cond_wait(&reaper->changed, &reaper->lock);
      continue;
    }
    pthread_mutex_unlock(&reaper->lock);
    while (pools != NULL) {
      struct neon_pool *pool = pools;
      pools = pool->next;
      neon_pool_destroy(pool);
    }
    pthread_mutex_lock(&reaper->lock);
  }
  pthread_mutex_unlock(&reaper->lock);
  return NULL;
}

struct neon_reaper *neon_reaper_new(void)
{
  struct neon_reaper *reaper = calloc(1, sizeof *reaper);
  if (reaper == NULL) {
    return NULL;
  }
  if (pthread_mutex_init(&reaper->lock, NULL) != 0) {
    free(reaper);
    return NULL;
  }
  if (pthread_cond_init(&reaper->changed, NULL) != 0) {
    pthread_mutex_destroy(&reaper->lock);
    free(reaper);
    return NULL;
  }
  sigset_t all, before;
  (void)sigfillset(&all);
  (void)pthread_sigmask(SIG_BLOCK, &all, &before); /* signals are the command's */
  const int failed = pthread_create(&reaper->thread, NULL, reaper_main, reaper);
  (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (failed != 0) {
    pthread_cond_destroy(&reaper->changed);
    pthread_mutex_destroy(&reaper->lock);
    free(reaper);
    return NULL;
  }
  return reaper;
}

void neon_reaper_give(struct neon_reaper *reaper, struct neon_pool *pools)
{
  struct neon_pool *last = pools;
  while (last->next != NULL) {
    last = last->next;
  }
  pthread_mutex_lock(&reaper->lock);
  last->next = reaper->pools;
  reaper->pools = pools;
  pthread_cond_signal(&reaper->changed);
  pthread_mutex_unlock(&reaper->lock);
}

void neon_reaper_free(struct neon_reaper *reaper)
{
  if (reaper == NULL) {
    return;
  }
  pthread_mutex_lock(&reaper->lock);
  reaper->ending = true;
  pthread_cond_signal(&reaper->changed);
  pthread_mutex_unlock(&reaper->lock);
  pthread_join(reaper->thread, NULL);
  pthread_cond_destroy(&reaper->changed);
  pthread_mutex_destroy(&reaper->lock);
  free(reaper);
}
