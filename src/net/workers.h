/*
 * workers.h - a bounded set of threads for what may block: name resolution, PostgreSQL's
 * cancel requests. Threads start on demand and end after some idle seconds. One set serves
 * the whole process; it is made at first use and is fork-aware (a child starts afresh).
 */
#ifndef CEN_WORKERS_H
#define CEN_WORKERS_H

#include <cenote/cenote.h>

/* A job is reference-counted by the two sides that know it: the worker and the owner. The
 * owner may lose interest (cen_job_drop) while `work` still runs; `dispose` runs once, when
 * both are through. */
struct cen_job {
  void (*work)(struct cen_job *job);    /* on a worker thread; may block */
  void (*dispose)(struct cen_job *job); /* frees; on whichever thread is last */
  int done_fd;                          /* readable when work has returned; owned by the job */
  void *private_state;
};

/* Hands the job over. On failure (no thread could be started and none runs, queue full,
 * no descriptor) the job is not disposed and stays the caller's alone. */
cenote_status cen_job_start(struct cen_job *job, cenote_error *error);
bool cen_job_done(const struct cen_job *job);
void cen_job_drop(struct cen_job *job); /* the owner lets go; never blocks */

#endif
