/* hrana_work.c - see hrana_work.h. */
#include "server/hrana_work.h"

#include "net/clock.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

struct worker {
  struct worker *next; /* in work->ended */
  struct hrana_work *work;
  pthread_t thread;
};

struct hrana_work {
  pthread_mutex_t lock;
  pthread_cond_t given, all_ended;
  /* guarded by lock */
  struct cen_link jobs;
  unsigned waiting; /* jobs in the list */
  unsigned idle, threads;
  bool ending;
  struct worker *ended; /* to be joined */
};

struct hrana_work *hrana_work_new(void)
{
  struct hrana_work *work = calloc(1, sizeof *work);
  pthread_condattr_t attributes;
  if (work == NULL) {
    return NULL;
  }
  cen_link_init(&work->jobs);
  pthread_mutex_init(&work->lock, NULL);
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_cond_init(&work->given, &attributes);
  pthread_cond_init(&work->all_ended, NULL);
  pthread_condattr_destroy(&attributes);
  return work;
}

/* A job, or NULL after the idle time. Locked. */
static struct hrana_job *next_job(struct hrana_work *work)
{
  const int64_t until = cen_deadline_ns(cen_now_ns(), HRANA_WORK_IDLE_MS);
  const struct timespec when = {.tv_sec = (time_t)(until / 1000000000),
                                .tv_nsec = (long)(until % 1000000000)};
  work->idle++;
  int waited = 0;
  while (cen_list_empty(&work->jobs) && !work->ending && waited != ETIMEDOUT) {
    waited = pthread_cond_timedwait(&work->given, &work->lock, &when);
  }
  work->idle--;
  struct cen_link *link = cen_list_pop(&work->jobs);
  if (link == NULL) {
    return NULL;
  }
  work->waiting--;
  return CEN_CONTAINER(link, struct hrana_job, link);
}

static void *worker_main(void *context)
{
  struct worker *worker = context;
  struct hrana_work *work = worker->work;
  struct hrana_job *job;
  pthread_mutex_lock(&work->lock);
  while ((job = next_job(work)) != NULL) {
    pthread_mutex_unlock(&work->lock);
    job->run(job);
    pthread_mutex_lock(&work->lock);
  }
  work->threads--;
  worker->next = work->ended;
  work->ended = worker;
  pthread_cond_signal(&work->all_ended);
  pthread_mutex_unlock(&work->lock);
  return NULL;
}

/* Those that have ended leave their stacks. */
static void join_ended(struct hrana_work *work)
{
  pthread_mutex_lock(&work->lock);
  struct worker *ended = work->ended;
  work->ended = NULL;
  pthread_mutex_unlock(&work->lock);
  while (ended != NULL) {
    struct worker *next = ended->next;
    pthread_join(ended->thread, NULL);
    free(ended);
    ended = next;
  }
}

/* Locked, so that the thread does not look before it is written down. */
static bool worker_start(struct hrana_work *work)
{
  struct worker *worker = calloc(1, sizeof *worker);
  if (worker == NULL) {
    return false;
  }
  worker->work = work;
  if (pthread_create(&worker->thread, NULL, worker_main, worker) != 0) {
    free(worker);
    return false;
  }
  work->threads++;
  return true;
}

bool hrana_work_give(struct hrana_work *work, struct hrana_job *job)
{
  join_ended(work);
  pthread_mutex_lock(&work->lock);
  const bool taken = work->idle > work->waiting || worker_start(work);
  if (taken) {
    cen_list_push_back(&work->jobs, &job->link);
    work->waiting++;
    pthread_cond_signal(&work->given);
  }
  pthread_mutex_unlock(&work->lock);
  return taken;
}

unsigned hrana_work_threads(struct hrana_work *work)
{
  pthread_mutex_lock(&work->lock);
  const unsigned threads = work->threads;
  pthread_mutex_unlock(&work->lock);
  return threads;
}

void hrana_work_free(struct hrana_work *work)
{
  if (work == NULL) {
    return;
  }
  pthread_mutex_lock(&work->lock);
  work->ending = true;
  pthread_cond_broadcast(&work->given);
  while (work->threads > 0) {
    pthread_cond_wait(&work->all_ended, &work->lock);
  }
  pthread_mutex_unlock(&work->lock);
  join_ended(work);
  pthread_cond_destroy(&work->given);
  pthread_cond_destroy(&work->all_ended);
  pthread_mutex_destroy(&work->lock);
  free(work);
}
