/*
 * workers.h - bounded sets of threads for what may block: name resolution, PostgreSQL's cancel
 * requests, SQLite's steps under a loop. Threads start on demand and end after some idle seconds.
 * The sets serve the whole process; they are fork-aware (a child starts afresh, and what the
 * parent had handed over is not run there). Every call from any thread.
 */
#ifndef CEN_WORKERS_H
#define CEN_WORKERS_H

#include <cenote/cenote.h>

/* Apart from each other, so that cancels which hang do not keep names from being resolved, and
 * statements that wait for SQLite's writing turn not those from being run that give it back. */
enum cen_worker_set {
  CEN_WORKERS_RESOLVE,
  CEN_WORKERS_CANCEL,
  CEN_WORKERS_STATEMENT, /* may wait for what another session holds */
  CEN_WORKERS_SESSION,   /* do not: opening, resetting, closing, statements of who has the turn */
  CEN_WORKER_SETS
};

enum { CEN_WORKERS_THREADS = 8, CEN_WORKERS_QUEUE = 256 }; /* ceilings of each set */

/* A job is reference-counted by the two sides that know it: the worker and the owner. The
 * owner may lose interest (cen_job_drop) before or while `work` runs: it runs all the same.
 * `dispose` runs once, when both are through. */
struct cen_job {
  enum cen_worker_set set;
  void (*work)(struct cen_job *job);    /* on a worker thread; may block */
  void (*dispose)(struct cen_job *job); /* frees; on whichever thread is last */
  int done_fd;                          /* readable when work has returned; owned by the job */
  void *private_state;
};

/* Hands the job over. On failure (no thread could be started and none runs: CENOTE_IO; too many
 * wait: CENOTE_QUEUE_FULL; no descriptor, no memory) the job is not disposed and stays the
 * caller's alone. */
cenote_status cen_job_start(struct cen_job *job, cenote_error *error);
bool cen_job_done(const struct cen_job *job); /* what `work` wrote is visible then */
void cen_job_drop(struct cen_job *job);       /* the owner lets go; never blocks */

/* For tests: waits until every job has run, and ends the threads. */
void cen_workers_stop(void);

#endif
