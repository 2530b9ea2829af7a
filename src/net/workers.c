/*
 * workers.c - see workers.h.
 *
 * One lock guards all sets; it is held for a few list operations only, never around a job's work.
 * A fork takes it first, so that the child finds the lists whole. The child has none of the
 * threads: it forgets what was queued (the owners' copies are disposed when they are dropped) and
 * keeps away from what was running, which a thread may have left half done.
 */
#include "net/workers.h"

#include "base/error.h"
#include "base/list.h"
#include "net/clock.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { IDLE_SECONDS = 3 };

struct job_state {
  struct cen_link link; /* in its set's `queued`, or in `running` */
  struct cen_job *job;
  _Atomic unsigned references; /* the worker's and the owner's */
  atomic_bool done;
};

struct worker_set {
  struct cen_link queued;
  unsigned queue_length;
  unsigned threads, idle;
  pthread_cond_t work;
};

static struct {
  pthread_mutex_t lock;
  bool ready;
  bool stopping;
  unsigned threads;
  pthread_cond_t ended; /* a thread ended */
  struct cen_link running;
  struct worker_set sets[CEN_WORKER_SETS];
} workers = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void before_fork(void)
{
  pthread_mutex_lock(&workers.lock);
}

static void after_fork(void)
{
  pthread_mutex_unlock(&workers.lock);
}

static void conditions_init(void)
{
  pthread_condattr_t attributes;
  pthread_condattr_init(&attributes); /* none of these fails on Linux */
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  for (int i = 0; i < CEN_WORKER_SETS; i++) {
    pthread_cond_init(&workers.sets[i].work, &attributes);
  }
  pthread_cond_init(&workers.ended, &attributes);
  pthread_condattr_destroy(&attributes);
}

static void job_release(struct job_state *state)
{
  if (atomic_fetch_sub_explicit(&state->references, 1, memory_order_acq_rel) > 1) {
    return;
  }
  struct cen_job *job = state->job;
  close(job->done_fd);
  job->done_fd = -1;
  job->private_state = NULL;
  free(state);
  if (job->dispose != NULL) {
    job->dispose(job);
  }
}

static void in_child(void)
{
  for (int i = 0; i < CEN_WORKER_SETS; i++) {
    struct worker_set *set = &workers.sets[i];
    for (struct cen_link *link; (link = cen_list_pop(&set->queued)) != NULL;) {
      struct job_state *state = CEN_CONTAINER(link, struct job_state, link);
      if (atomic_load(&state->references) > 1) {
        atomic_fetch_sub(&state->references, 1); /* the owner's drop disposes of it */
      } else {
        cen_list_push_back(&workers.running, link); /* nobody's: kept in sight of leak checkers */
      }
    }
    set->queue_length = set->threads = set->idle = 0;
  }
  workers.threads = 0;
  workers.stopping = false;
  conditions_init(); /* the parent's sleepers are counted in the old ones */
  pthread_mutex_unlock(&workers.lock);
}

/* Under the lock. false: no memory for the fork handlers; the next job tries again. */
static bool workers_prepare(void)
{
  if (workers.ready) {
    return true;
  }
  cen_link_init(&workers.running);
  for (int i = 0; i < CEN_WORKER_SETS; i++) {
    cen_link_init(&workers.sets[i].queued);
  }
  conditions_init();
  workers.ready = pthread_atfork(before_fork, after_fork, in_child) == 0;
  return workers.ready;
}

/* Under the lock, which is given back while the job works. */
static void job_run(struct worker_set *set)
{
  struct cen_link *link = cen_list_pop(&set->queued);
  struct job_state *state = CEN_CONTAINER(link, struct job_state, link);
  set->queue_length--;
  cen_list_push_back(&workers.running, link);
  pthread_mutex_unlock(&workers.lock);

  state->job->work(state->job);
  atomic_store_explicit(&state->done, true, memory_order_release);
  uint64_t one = 1;
  ssize_t ignored = write(state->job->done_fd, &one, sizeof(one));
  (void)ignored;

  pthread_mutex_lock(&workers.lock);
  cen_list_remove(&state->link);
  pthread_mutex_unlock(&workers.lock);
  job_release(state);
  pthread_mutex_lock(&workers.lock);
}

static void *worker_main(void *argument)
{
  struct worker_set *set = argument;
  pthread_mutex_lock(&workers.lock);
  for (;;) {
    while (!cen_list_empty(&set->queued)) {
      job_run(set);
    }
    if (workers.stopping) {
      break;
    }
    int64_t now = cen_now_ns();
    struct timespec until = {.tv_sec = (time_t)(now / 1000000000) + IDLE_SECONDS,
                             .tv_nsec = (long)(now % 1000000000)};
    set->idle++;
    int answer = pthread_cond_timedwait(&set->work, &workers.lock, &until);
    set->idle--;
    if (answer == ETIMEDOUT && cen_list_empty(&set->queued)) {
      break;
    }
  }
  set->threads--;
  workers.threads--;
  pthread_cond_broadcast(&workers.ended);
  pthread_mutex_unlock(&workers.lock);
  return NULL;
}

/* Under the lock. */
static bool thread_start(struct worker_set *set)
{
  pthread_attr_t attributes;
  if (pthread_attr_init(&attributes) != 0) {
    return false;
  }
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  /* The host's signals are the host's threads' business. */
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_t thread;
  bool started = pthread_create(&thread, &attributes, worker_main, set) == 0;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  pthread_attr_destroy(&attributes);
  if (started) {
    pthread_setname_np(thread, "cenote-worker");
    set->threads++;
    workers.threads++;
  }
  return started;
}

/* Under the lock. */
static cenote_status job_enqueue(struct worker_set *set, struct job_state *state,
                                 cenote_error *error)
{
  if (set->queue_length >= CEN_WORKERS_QUEUE) {
    return cenote_error_set(error, CENOTE_QUEUE_FULL, "%d jobs wait for a worker thread already",
                            (int)CEN_WORKERS_QUEUE);
  }
  bool wants_thread = set->idle <= set->queue_length && set->threads < CEN_WORKERS_THREADS;
  if (wants_thread && !thread_start(set) && set->threads == 0) {
    return cenote_error_set(error, CENOTE_IO, "cannot start a worker thread");
  }
  cen_list_push_back(&set->queued, &state->link);
  set->queue_length++;
  pthread_cond_signal(&set->work);
  return CENOTE_OK;
}

cenote_status cen_job_start(struct cen_job *job, cenote_error *error)
{
  job->private_state = NULL;
  job->done_fd = -1;
  if ((unsigned)job->set >= CEN_WORKER_SETS) {
    return cenote_error_set(error, CENOTE_INVALID, "no such set of workers");
  }
  struct job_state *state = calloc(1, sizeof(*state));
  if (state == NULL) {
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory for a background job");
  }
  state->job = job;
  atomic_init(&state->references, 2);
  cenote_status status;
  int done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (done_fd < 0) {
    status =
        cenote_error_set(error, CENOTE_IO, "cannot start a background job: %s", strerror(errno));
    free(state);
    return status;
  }
  job->done_fd = done_fd;
  job->private_state = state;
  pthread_mutex_lock(&workers.lock);
  if (workers_prepare()) {
    status = job_enqueue(&workers.sets[job->set], state, error);
  } else {
    status = cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory for a background job");
  }
  pthread_mutex_unlock(&workers.lock);
  /* On success the job may have run and, once the owner drops it, be gone. */
  if (status != CENOTE_OK) {
    job->done_fd = -1;
    job->private_state = NULL;
    close(done_fd);
    free(state);
  }
  return status;
}

bool cen_job_done(const struct cen_job *job)
{
  const struct job_state *state = job->private_state;
  return state != NULL && atomic_load_explicit(&state->done, memory_order_acquire);
}

void cen_job_drop(struct cen_job *job)
{
  if (job != NULL && job->private_state != NULL) {
    job_release(job->private_state);
  }
}

void cen_workers_stop(void)
{
  pthread_mutex_lock(&workers.lock);
  if (workers.ready) {
    workers.stopping = true;
    for (int i = 0; i < CEN_WORKER_SETS; i++) {
      pthread_cond_broadcast(&workers.sets[i].work);
    }
    while (workers.threads > 0) {
      pthread_cond_wait(&workers.ended, &workers.lock);
    }
    workers.stopping = false;
  }
  pthread_mutex_unlock(&workers.lock);
}
