/* run.c - see run.h. Whoever starts or cancels a run only posts it; all else is the housekeeper's,
 * so that nothing of it needs a lock. */
#include "manager/run.h"

#include "base/error.h"
#include "net/workers.h"

#include <inttypes.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { AGAIN_MS = 20 }; /* a cancel that a worker thread may have missed, a full queue */

struct runs { /* one in each manager */
  struct cenote_manager *manager;
  pthread_mutex_t lock;
  struct cen_link posted; /* under the lock: started, or to be cancelled */
  /* the housekeeper's */
  struct cen_task task;
  struct cen_timer timer; /* the threads had no room: once more */
  struct cen_link queue;  /* those that wait for a thread */
  int64_t queue_length;
  unsigned busy; /* threads of the set CEN_WORKERS_STATEMENT that work for us */
};

static void end(struct run *run, cenote_step step, cenote_error *error);
static void feed_threads(struct runs *runs);

/* ----------------------------------------------------------------- any thread */

/* `manager` is visited, or inside a call: the run itself may be gone as soon as it is posted. */
static void post_locked(struct runs *runs, struct run *run)
{
  if (!run->posted) {
    run->posted = true;
    cen_list_push_back(&runs->posted, &run->link);
  }
}

void run_start(struct run *run)
{
  struct cenote_manager *manager = run->entry.manager;
  struct runs *runs = manager->runs;
  run->pressure = RUN_PATIENT;
  run->overdue = false;
  run->job = NULL;
  run->watch = (struct cen_watch){.fd = -1};
  run->timer = (struct cen_timer){0};
  run->request.deadline_ns = run->deadline_ns;
  cen_link_init(&run->queued);
  manager_visit(manager);
  pthread_mutex_lock(&runs->lock);
  run->stage = RUN_NEW;
  post_locked(runs, run);
  pthread_mutex_unlock(&runs->lock);
  cen_loop_post(manager->loop, &runs->task);
  manager_unvisit(manager);
}

void run_cancel(struct run *run)
{
  struct runs *runs = run->entry.manager->runs;
  pthread_mutex_lock(&runs->lock);
  atomic_store_explicit(&run->cancelled, true, memory_order_relaxed);
  if (run->stage != RUN_IDLE) {
    post_locked(runs, run);
  }
  pthread_mutex_unlock(&runs->lock);
  cen_loop_post(runs->manager->loop, &runs->task);
}

/* ------------------------------------------------------------ the housekeeper's side */

static const cenote_driver *driver_of(const struct run *run)
{
  return run->entry.manager->driver;
}

static cenote_connection *connection_of(const struct run *run)
{
  return run->entry.session->connection;
}

static bool is_cancelled(const struct run *run)
{
  return atomic_load_explicit(&run->cancelled, memory_order_relaxed);
}

static void set_stage(struct run *run, enum run_stage stage)
{
  struct runs *runs = run->entry.manager->runs;
  pthread_mutex_lock(&runs->lock);
  run->stage = stage;
  if (stage == RUN_IDLE && run->posted) {
    cen_list_remove(&run->link);
    run->posted = false;
  }
  pthread_mutex_unlock(&runs->lock);
}

/* It is over, and told so. It may be gone, or started again, afterwards. */
static void settle(struct run *run, cenote_status status, cenote_error *error)
{
  cen_watch_stop(&run->watch);
  cen_timer_stop(&run->timer);
  run->entry.session->run = NULL;
  set_stage(run, RUN_IDLE);
  run->done(run, status, error);
}

/* Over before it reached the database. */
static void refuse(struct run *run, cenote_status status, const char *why)
{
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_error_set(&error, status, "%s", why);
  settle(run, status, &error);
}

/* ------------------------------------------------------------- pressing for its end */

struct run_job {
  struct cen_job job;
  struct run *run; /* outlives the job: it ends only when that has */
  _Atomic bool skip;
  cenote_step step;
  cenote_error error;
};

static void press(struct run *run, int64_t now)
{
  const int64_t grace = cen_setting(&run->entry.manager->settings, CEN_SET_CANCEL_TIMEOUT);
  if (run->job != NULL) {
    atomic_store_explicit(&run->job->skip, true, memory_order_relaxed);
  }
  if (run->pressure == RUN_PATIENT && run->request.kind != CENOTE_REQUEST_CHECK) {
    run->pressure = RUN_PRESSED;
    run->limit_ns = cen_deadline_ns(now, grace);
    driver_of(run)->cancel(connection_of(run));
  } else {
    run->pressure = RUN_ABORTED;
    run->limit_ns = CEN_NEVER; /* the driver's promise: the request fails soon */
    driver_of(run)->abort(connection_of(run));
  }
}

/* Nobody can tell us when it goes on: it is cut off, and waited for. */
static cenote_step drive_out(struct run *run, cenote_error *error)
{
  const cenote_driver *driver = driver_of(run);
  cenote_step step = CENOTE_STEP_AGAIN;
  driver->abort(connection_of(run));
  while (step == CENOTE_STEP_AGAIN) {
    cenote_wants wants = {.fd = -1, .deadline_ns = CEN_NEVER};
    driver->wants(connection_of(run), &wants);
    struct pollfd slot = {.fd = wants.fd, .events = wants.events};
    const int ready = poll(&slot, wants.fd >= 0 ? 1 : 0, AGAIN_MS);
    step = driver->advance(connection_of(run), ready > 0 ? slot.revents : 0, error);
  }
  return step;
}

/* ------------------------------------------------------------ a driver that does not block */

/* A statement's descriptor is mostly that of the one before. Not where the housekeeper has the loop:
 * a holder that blocks may close it on a thread of its own. */
static bool is_steady(const struct run *run)
{
  return run->entry.manager->external && run->pressure == RUN_PATIENT &&
         (driver_of(run)->flags & CENOTE_DRIVER_STEADY) != 0;
}

static cenote_status watch(struct run *run, const cenote_wants *wants)
{
  struct cen_loop *loop = run->entry.manager->loop;
  if (is_steady(run)) {
    return cen_watch_resume(loop, &run->watch, wants->fd, wants->events,
                            run->entry.session->number);
  }
  return cen_watch_set(loop, &run->watch, wants->fd, wants->events);
}

static void unwatch(struct run *run)
{
  if (is_steady(run)) {
    cen_watch_park(&run->watch, run->entry.session->number);
  } else {
    cen_watch_stop(&run->watch);
  }
}

static void arrange(struct run *run, cenote_step step, cenote_error *error)
{
  struct cen_loop *loop = run->entry.manager->loop;
  if (step == CENOTE_STEP_AGAIN) {
    cenote_wants wants = {.fd = -1, .deadline_ns = CEN_NEVER};
    driver_of(run)->wants(connection_of(run), &wants);
    const int64_t until = wants.deadline_ns < run->limit_ns ? wants.deadline_ns : run->limit_ns;
    if (watch(run, &wants) == CENOTE_OK && cen_timer_set(loop, &run->timer, until) == CENOTE_OK) {
      return;
    }
    step = drive_out(run, error);
  }
  end(run, step, error);
}

static void advance(struct run *run, short revents)
{
  cenote_error error;
  cen_error_begin(&error);
  /* The driver may close the descriptor, or hand it to a worker who does: the number is then free
   * for anybody. */
  unwatch(run);
  const cenote_step step = driver_of(run)->advance(connection_of(run), revents, &error);
  arrange(run, step, &error);
}

static void start_steps(struct run *run)
{
  cenote_error error;
  cen_error_begin(&error);
  const cenote_step step = driver_of(run)->start(connection_of(run), &run->request, &error);
  arrange(run, step, &error);
}

/* ------------------------------------------------- a driver whose steps block */

static void job_work(struct cen_job *job)
{
  struct run_job *work = CEN_CONTAINER(job, struct run_job, job);
  struct run *run = work->run;
  const cenote_driver *driver = driver_of(run);
  if (atomic_load_explicit(&work->skip, memory_order_relaxed)) {
    cenote_error_set(&work->error, CENOTE_CANCELLED, "cancelled before it was run");
    work->step = CENOTE_STEP_FAILED;
    return;
  }
  work->step = driver->start(connection_of(run), &run->request, &work->error);
  while (work->step == CENOTE_STEP_AGAIN) {
    cenote_wants wants = {.fd = -1, .deadline_ns = CEN_NEVER};
    driver->wants(connection_of(run), &wants);
    struct pollfd slot = {.fd = wants.fd, .events = wants.events};
    const int ready =
        poll(&slot, wants.fd >= 0 ? 1 : 0, cen_poll_timeout_ms(cen_now_ns(), wants.deadline_ns));
    work->step = driver->advance(connection_of(run), ready > 0 ? slot.revents : 0, &work->error);
  }
}

static void job_dispose(struct cen_job *job)
{
  free(CEN_CONTAINER(job, struct run_job, job));
}

/* What others wait for goes on ahead of those who wait, and on threads of its own: or all of these
 * might be taken by ones who wait for it. */
static bool is_ahead(const struct run *run)
{
  return (driver_of(run)->session(connection_of(run)) & CENOTE_SESSION_WRITING) != 0;
}

static void job_ended(struct run *run)
{
  struct run_job *job = run->job;
  struct runs *runs = run->entry.manager->runs;
  cenote_error error;
  const cenote_step step = job->step;
  cen_error_begin(&error);
  if (step != CENOTE_STEP_DONE) {
    cen_error_copy(&error, &job->error);
  }
  cen_watch_stop(&run->watch);
  run->job = NULL;
  if (job->job.set == CEN_WORKERS_STATEMENT) {
    runs->busy--;
  }
  cen_job_drop(&job->job);
  end(run, step, &error);
  feed_threads(runs);
}

static cenote_status start_job(struct run *run, enum cen_worker_set set, cenote_error *error)
{
  struct cenote_manager *manager = run->entry.manager;
  struct run_job *job = malloc(sizeof *job);
  if (job == NULL) {
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory: a statement's thread");
  }
  job->run = run;
  job->step = CENOTE_STEP_AGAIN;
  atomic_init(&job->skip, false);
  cen_error_begin(&job->error);
  job->job = (struct cen_job){.set = set, .work = job_work, .dispose = job_dispose, .done_fd = -1};
  const cenote_status status = cen_job_start(&job->job, error);
  if (status != CENOTE_OK) {
    free(job);
    return status;
  }
  run->job = job;
  set_stage(run, RUN_GOING);
  manager->runs->busy += set == CEN_WORKERS_STATEMENT ? 1 : 0;
  const int64_t grace = cen_setting(&manager->settings, CEN_SET_CANCEL_TIMEOUT);
  run->limit_ns =
      run->deadline_ns == CEN_NEVER ? CEN_NEVER : cen_deadline_ns(run->deadline_ns, grace);
  (void)cen_timer_set(manager->loop, &run->timer, run->limit_ns);
  if (cen_watch_set(manager->loop, &run->watch, job->job.done_fd, POLLIN) != CENOTE_OK) {
    struct pollfd done = {.fd = job->job.done_fd, .events = POLLIN};
    while (!cen_job_done(&job->job)) {
      (void)poll(&done, 1, 100); /* no memory to be told: wait for it */
    }
    job_ended(run);
  }
  return CENOTE_OK;
}

static void leave_queue(struct run *run)
{
  struct runs *runs = run->entry.manager->runs;
  cen_list_remove(&run->queued);
  runs->queue_length--;
}

/* The first of the queue, as long as threads are free. */
static void feed_threads(struct runs *runs)
{
  while (runs->busy < CEN_WORKERS_THREADS && !cen_list_empty(&runs->queue)) {
    struct run *run = CEN_CONTAINER(runs->queue.next, struct run, queued);
    cenote_error error;
    cen_error_begin(&error);
    cen_timer_stop(&run->timer);
    leave_queue(run);
    const cenote_status status = start_job(run, CEN_WORKERS_STATEMENT, &error);
    if (status == CENOTE_QUEUE_FULL) { /* other managers' work */
      cen_list_push_front(&runs->queue, &run->queued);
      runs->queue_length++;
      (void)cen_timer_set(runs->manager->loop, &run->timer, run->deadline_ns);
      (void)cen_timer_set(runs->manager->loop, &runs->timer,
                          cen_deadline_ns(cen_now_ns(), AGAIN_MS));
      return;
    }
    if (status != CENOTE_OK) {
      settle(run, status, &error);
    }
  }
}

static void start_on_thread(struct run *run)
{
  struct cenote_manager *manager = run->entry.manager;
  struct runs *runs = manager->runs;
  cenote_error error = CENOTE_ERROR_INIT;
  if (is_ahead(run)) {
    const cenote_status status = start_job(run, CEN_WORKERS_SESSION, &error);
    if (status != CENOTE_OK) {
      settle(run, status, &error);
    }
    return;
  }
  if (runs->busy >= CEN_WORKERS_THREADS &&
      runs->queue_length >= cen_setting(&manager->settings, CEN_SET_MAX_WAITERS)) {
    refuse(run, CENOTE_QUEUE_FULL,
           "too many statements wait for a thread (max_waiters); try again later");
    return;
  }
  set_stage(run, RUN_QUEUED);
  cen_list_push_back(&runs->queue, &run->queued);
  runs->queue_length++;
  (void)cen_timer_set(manager->loop, &run->timer, run->deadline_ns);
  feed_threads(runs);
}

/* --------------------------------------------------------------------- events */

static void watch_over_job(struct run *run, int64_t now)
{
  const int64_t again = cen_deadline_ns(now, AGAIN_MS);
  const int64_t until =
      run->pressure == RUN_PRESSED && again < run->limit_ns ? again : run->limit_ns;
  (void)cen_timer_set(run->entry.manager->loop, &run->timer, until);
}

static void press_job(struct run *run, int64_t now)
{
  if (now >= run->limit_ns) {
    run->pressure = RUN_PRESSED; /* it did not mind its deadline, or a cancel */
    press(run, now);
  } else if (run->pressure == RUN_PRESSED) {
    driver_of(run)->cancel(connection_of(run)); /* the first may have come before it was inside */
  }
  watch_over_job(run, now);
}

static void on_timer(struct cen_timer *timer)
{
  struct run *run = CEN_CONTAINER(timer, struct run, timer);
  const int64_t now = cen_now_ns();
  if (run->stage == RUN_QUEUED) {
    leave_queue(run);
    refuse(run, CENOTE_STATEMENT_TIMEOUT, "statement timeout: no thread came free in time");
    return;
  }
  if (run->job != NULL) {
    press_job(run, now);
    return;
  }
  if (now >= run->limit_ns) {
    run->overdue = run->overdue || run->pressure == RUN_PATIENT;
    press(run, now);
  }
  advance(run, 0);
}

static void on_ready(struct cen_watch *watch, short revents)
{
  struct run *run = CEN_CONTAINER(watch, struct run, watch);
  if (run->job == NULL) {
    advance(run, revents);
  } else if (cen_job_done(&run->job->job)) {
    job_ended(run);
  }
}

/* The request has ended: how, for whoever asked? */
static void end(struct run *run, cenote_step step, cenote_error *error)
{
  run->entry.asked = true;
  if (step == CENOTE_STEP_DONE) {
    settle(run, CENOTE_OK, error);
    return;
  }
  cenote_status status = error->status != CENOTE_OK ? error->status : CENOTE_INTERNAL;
  if (status == CENOTE_CANCELLED && run->overdue) {
    status = cenote_error_set(error, CENOTE_STATEMENT_TIMEOUT,
                              "statement timeout: cancelled after %" PRId64 " ms",
                              (cen_now_ns() - run->start_ns) / CEN_NS_PER_MS);
  }
  settle(run, status, error);
}

static void begin(struct run *run)
{
  struct entry *entry = &run->entry;
  struct cenote_manager *manager = entry->manager;
  run->watch.ready = on_ready;
  run->timer.fire = on_timer;
  run->start_ns = cen_now_ns();
  run->limit_ns = run->deadline_ns;
  entry->session->run = run;
  if (run->refused != CENOTE_OK) {
    refuse(run, run->refused, cenote_status_text(run->refused));
  } else if (is_cancelled(run)) {
    refuse(run, CENOTE_CANCELLED, "cancelled before it was run");
  } else if (pool_is_revoked(&manager->pool, entry->lease.slot, entry->lease.generation)) {
    refuse(run, CENOTE_CANCELLED, "the lease was taken back"); /* lease_leave knows more */
  } else if (run->start_ns >= run->deadline_ns) {
    refuse(run, CENOTE_STATEMENT_TIMEOUT, "statement timeout: its time was over before it began");
  } else if ((driver_of(run)->flags & CENOTE_DRIVER_BLOCKING) != 0) {
    start_on_thread(run);
  } else {
    set_stage(run, RUN_GOING);
    start_steps(run);
  }
}

/* Somebody wants it to end. */
static void stop(struct run *run, bool hard)
{
  const int64_t now = cen_now_ns();
  if (run->stage == RUN_QUEUED) {
    leave_queue(run);
    refuse(run, CENOTE_CANCELLED, "cancelled before it was run");
    return;
  }
  if (hard) {
    run->pressure = RUN_PRESSED;
  }
  if (run->pressure == RUN_PATIENT || hard) {
    press(run, now);
  }
  if (run->job != NULL) {
    watch_over_job(run, now);
  } else {
    advance(run, 0);
  }
}

bool run_revoke(struct session *session, bool hard)
{
  struct run *run = session->run;
  if (run == NULL) {
    return false;
  }
  stop(run, hard);
  return true;
}

static struct run *next_of(struct runs *runs, struct cen_link *list)
{
  pthread_mutex_lock(&runs->lock);
  struct cen_link *link = cen_list_pop(list);
  struct run *run = link != NULL ? CEN_CONTAINER(link, struct run, link) : NULL;
  if (run != NULL) {
    run->posted = false;
  }
  pthread_mutex_unlock(&runs->lock);
  return run;
}

/* Those that are posted now: what they cause is met in the next round of the loop. */
static void on_posted(struct cen_task *task)
{
  struct runs *runs = CEN_CONTAINER(task, struct runs, task);
  struct cen_link now;
  cen_link_init(&now);
  pthread_mutex_lock(&runs->lock);
  for (struct cen_link *link; (link = cen_list_pop(&runs->posted)) != NULL;) {
    cen_list_push_back(&now, link);
  }
  pthread_mutex_unlock(&runs->lock);
  for (struct run *run; (run = next_of(runs, &now)) != NULL;) {
    if (run->stage == RUN_NEW) {
      begin(run);
    } else if (is_cancelled(run)) {
      stop(run, false);
    }
  }
}

static void on_room(struct cen_timer *timer)
{
  feed_threads(CEN_CONTAINER(timer, struct runs, timer));
}

cenote_status run_new(struct cenote_manager *manager)
{
  struct runs *runs = calloc(1, sizeof *runs);
  if (runs == NULL || pthread_mutex_init(&runs->lock, NULL) != 0) {
    free(runs);
    return CENOTE_NO_MEMORY;
  }
  runs->manager = manager;
  cen_link_init(&runs->posted);
  cen_link_init(&runs->queue);
  cen_task_init(&runs->task, on_posted);
  runs->timer.fire = on_room;
  manager->runs = runs;
  return CENOTE_OK;
}

void run_free(struct cenote_manager *manager)
{
  if (manager->runs != NULL) {
    pthread_mutex_destroy(&manager->runs->lock);
    free(manager->runs);
    manager->runs = NULL;
  }
}
