/*
 * run.h - a request on a leased session that nobody waits for: the housekeeper drives it and calls
 * back. Where the driver blocks, it runs on a worker thread, so many at a time and the others in
 * order; a session that holds what others wait for (CENOTE_SESSION_WRITING) never waits there.
 *
 *     lease_enter ──► run_start ──► … ──► done ──► run_start, or lease_leave
 *
 * Deadline: cancelled, `cancel_timeout_ms` to answer, then aborted, as in call.c; so too when
 * somebody cancels it, and (by the housekeeper) when the lease is taken back.
 */
#ifndef CEN_RUN_H
#define CEN_RUN_H

#include "base/result.h"
#include "manager/manager.h"

struct run_job;

/* Embedded in the owner's struct; zero-initialised, and used again for the next request if wanted. */
struct run {
  /* --- the owner's, set before run_start */
  struct entry entry;     /* entered; stays so until the owner leaves it, in `done` or later */
  cenote_request request; /* what it points to lives until `done` */
  int64_t deadline_ns;    /* CEN_NEVER: none. For a statement: statement_deadline(&entry) */
  /* Exactly once, on the housekeeper (its thread, or inside cenote_dispatch), never under a lock,
   * never from within run_start. *error is filled when it failed, and may be written to. The run
   * is the owner's again: it may be started anew, or freed. `entry.asked` is set already.
   * CENOTE_CANCELLED: run_cancel; CENOTE_STATEMENT_TIMEOUT: the deadline. When the lease was taken
   * back meanwhile, lease_leave says so. */
  void (*done)(struct run *run, cenote_status status, cenote_error *error);

  /* --- private */
  struct cen_link link;   /* in the manager's posted, guarded by runs.lock */
  struct cen_link queued; /* in the manager's queue for threads; the housekeeper's */
  bool posted;
  _Atomic bool cancelled; /* stays so, for what is started later, until the owner clears it */
  enum run_stage { RUN_IDLE, RUN_NEW, RUN_QUEUED, RUN_GOING } stage;
  enum { RUN_PATIENT, RUN_PRESSED, RUN_ABORTED } pressure;
  bool overdue;               /* pressed because of the deadline */
  int64_t start_ns, limit_ns; /* limit: until the next, harsher step */
  struct cen_watch watch;
  struct cen_timer timer;
  struct run_job *job;
  cenote_status refused; /* not OK: it is over before it begins */
};

/* Any thread. Never fails: what goes wrong is told to `done`. After it returned the run may be gone. */
void run_start(struct run *run);
/* Asks it to stop; `done` still comes, with CENOTE_CANCELLED or the real outcome if that was faster.
 * Any thread; the caller sees to it that `done` is not through meanwhile (tickets: ticket.h). */
void run_cancel(struct run *run);

/* --------------------------------------------------- one statement with its rows */

/* A copy of a statement with its arguments, in one block; freed with free(). NULL: no memory. */
cenote_statement *run_copy(const char *sql, const cenote_value *args, size_t count);

/* A statement on an entered session: rows collected, counted, timed and logged as the blocking one.
 * With `row` they are handed on, one by one, on whichever thread the driver's steps run. */
struct execution {
  struct run run;             /* run.entry is the owner's to set, nothing else of it */
  cenote_statement statement; /* borrowed until `done` (run_copy) */
  unsigned flags;             /* CENOTE_REQUEST_ */
  cenote_row_callback row;    /* or NULL */
  bool (*columns)(void *context, const cenote_result *columns);
  void *context; /* of both */
  /* As run.done; `result` is the owner's, NULL on failure. The session is still entered. */
  void (*done)(struct execution *execution, cenote_status status, cenote_result *result,
               cenote_error *error);
  /* --- private */
  cenote_sink sink;
  cenote_why why;
};
void execution_start(struct execution *execution); /* any thread */
static inline void execution_cancel(struct execution *execution)
{
  run_cancel(&execution->run);
}

/* ------------------------------------------- where the rest of the manager calls it */

cenote_status run_new(struct cenote_manager *manager);
void run_free(struct cenote_manager *manager);
/* The lease was taken back: stop what runs on its session (errand.c). false: nothing does. */
bool run_revoke(struct session *session, bool hard);

#endif
