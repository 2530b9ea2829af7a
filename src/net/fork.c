/* fork.c - see fork.h. */
#include "net/fork.h"

#include <pthread.h>
#include <stdbool.h>

uint32_t cen_fork_count;

static pthread_mutex_t install_lock = PTHREAD_MUTEX_INITIALIZER;
static bool installed;

static void in_child(void)
{
  pthread_mutex_init(&install_lock, NULL); /* another thread may have held it */
  cen_fork_count++;
}

void cen_fork_watch(void)
{
  pthread_mutex_lock(&install_lock);
  if (!installed) {
    installed = pthread_atfork(NULL, NULL, in_child) == 0; /* else the next call tries again */
  }
  pthread_mutex_unlock(&install_lock);
}
