/*
 * manager.h - what the files of the manager share: the struct behind cenote_manager, its sessions,
 * and how the parts call each other. The gateway may include it too.
 *
 * Threads: callers (any), and one housekeeper: a thread of the manager's, or the host's loop. The
 * housekeeper alone opens, checks, cleans, cancels and closes; a caller drives the connection it
 * leases on its own thread. Nothing slow runs under a lock.
 */
#ifndef CEN_MANAGER_H
#define CEN_MANAGER_H

#include "base/hist.h"
#include "base/log.h"
#include "core/pool.h"
#include "manager/breaker.h"
#include "manager/paths.h"
#include "manager/settings.h"
#include "manager/ticket.h"
#include "net/clock.h"
#include "net/fork.h"
#include "net/loop.h"

#include <cenote/cenote.h>
#include <cenote/driver.h>

#include <pthread.h>

struct cen_pressure;
struct simple;

/* One connection and what is being done with it. Made and freed by the housekeeper; between that
 * it belongs to whoever holds its slot. */
struct session {
  struct cenote_manager *manager;
  cenote_connection *connection;
  uint32_t slot;
  uint64_t number;
  struct cen_link link; /* in manager->sessions, the housekeeper's */
  _Atomic bool shrink;  /* memory is short: give caches back at the next occasion */

  /* the holder's */
  unsigned depth;                       /* open transactions: 1, and a savepoint each above it */
  bool cut_off;                         /* it did not heed a cancel: call_run aborted it */
  int64_t tx_deadline_ns;               /* of the innermost of those that have a handle */
  struct cenote_transaction *innermost; /* the handles that are open, transaction.c */

  /* the housekeeper's errand: a request that runs on the loop */
  cenote_request request;
  struct cen_watch watch;
  struct cen_timer timer;
  int64_t deadline_ns;
  enum { ERRAND_NONE, ERRAND_OPEN, ERRAND_CHECK, ERRAND_CLEAN, ERRAND_CLOSE, ERRAND_LEASE } errand;
  struct errand_job *job;   /* the request runs on a worker thread: nobody else touches it */
  bool verify;              /* CLEAN after an expiry: a check follows */
  bool stuck;               /* a request did not end in time and still runs: only destroy helps */
  enum pool_reason reason;  /* CLOSE */
  uint64_t told;            /* generation of the last lease whose expiry was logged */
  struct acquisition *asks; /* LEASE: whom the check is for */
  struct run *run;          /* what run.c drives on it; the housekeeper's */
};

enum manager_life { LIFE_OPEN, LIFE_DRAINING, LIFE_FORCED, LIFE_FINISHED };

struct cenote_manager {
  struct pool pool;

  /* What a stale lease may look at; survives recycling, like the pool's slots. */
  uint32_t id;              /* place in the table + 1 */
  _Atomic uint32_t born_in; /* cen_fork_count when it was opened */
  _Atomic bool hooked;      /* the host has a hook: acquire and release go the long way */
  /* Calls that may look at what a close frees, though no lease of theirs holds it back. */
  _Alignas(64) _Atomic uint32_t visitors;
  /* Tickets are looked up by id, like leases: also after the close. */
  pthread_mutex_t async_lock;
  struct cen_link asking; /* of acquisition */
  struct ticket_table tickets;

  bool external; /* the host drives the loop; first of what is recycled */

  const cenote_driver *driver;
  cenote_driver_params params;
  void *shared;
  cenote_options options; /* callbacks; settings were copied into `settings` */
  struct cen_settings settings;
  struct cen_log log;
  char url[512]; /* redacted */

  struct cen_loop *loop;
  pthread_t thread;
  bool has_thread;
  _Atomic bool stop;
  _Atomic bool kicked; /* a task is on its way: no second one */
  struct cen_task kick;
  struct cen_timer tick;
  struct cen_link sessions; /* the housekeeper's */
  int64_t heartbeat_ns;
  char connect_error[512]; /* the last logged, until a connect succeeds; the housekeeper's */
  int64_t slept_ns;        /* boot time - monotonic time, to notice a suspended machine */
  int64_t pressure_ns;     /* when the pressure was last looked at */
  struct cen_pressure *pressure;

  pthread_mutex_t life_lock;
  pthread_cond_t life_changed; /* CLOCK_MONOTONIC */
  enum manager_life life;
  uint32_t forced; /* leases that a shutdown took back */
  char *forced_names;

  int64_t drain_ms; /* what the first shutdown allowed, and until when */
  int64_t drain_until_ns;
  bool turned_away; /* a shutdown has reached the pool: whoever asks now is refused */

  /* figures, any thread */
  _Atomic uint64_t slow_statements;
  _Atomic uint64_t checks; /* on a caller's behalf; the pool counts those of idle connections */
  _Atomic uint64_t failed_probes; /* of them: those that no connection of the pool's stands for */
  struct cen_observer *observer;  /* windows for health, observing.c */

  struct runs *runs;           /* run.c */
  struct queries *queries;     /* query_async.c */
  struct transacts *transacts; /* transact_turn.c */
  _Atomic bool told_begin;     /* transact_steps.c: the warning was given */
  struct cen_paths *paths;     /* what each path did, paths.c */

  struct http_path *http;   /* SQL over HTTP beside the pool, http_path.c; NULL: there is none */
  struct budget_seat *seat; /* budget.c; NULL: a member of none */
  struct simple *simple;    /* the shared connections, simple_loop.c; NULL: there are none */

  /* breaking.c: of the endpoint, and of the login at it */
  struct cen_breaker breaker, login_breaker;
  bool has_breakers;
};

/* ------------------------------------------------------------------- table.c */

/* A fresh or recycled struct with an id, or NULL (no memory, or too many). */
struct cenote_manager *manager_new(void);
void manager_recycle(struct cenote_manager *manager);
extern struct cenote_manager *_Atomic manager_table[CEN_MAX_MANAGERS]
    __attribute__((visibility("hidden")));

/* By the id in a lease; NULL when there was never such a manager. Never dangles. */
static inline struct cenote_manager *manager_find(uint32_t id)
{
  if (id - 1 >= CEN_MAX_MANAGERS) { /* 0 wraps around */
    return NULL;
  }
  return atomic_load_explicit(&manager_table[id - 1], memory_order_acquire);
}

static inline bool manager_is_foreign(const struct cenote_manager *manager)
{
  return atomic_load_explicit(&manager->born_in, memory_order_relaxed) != cen_fork_count;
}

cenote_status manager_foreign_error(cenote_error *error);

/* On a host's loop, and inside a callback on our own thread: what would be waited for is done by
 * the one who would wait. */
static inline bool manager_must_not_block(const struct cenote_manager *manager)
{
  return manager->external || cen_loop_inside(manager->loop);
}

/* Around what is done with a manager by a call that holds no lease (any more): cenote_close waits
 * for it. Short, or nothing that a shutdown does not end. */
static inline void manager_visit(struct cenote_manager *manager)
{
  atomic_fetch_add_explicit(&manager->visitors, 1, memory_order_acq_rel);
}

static inline void manager_unvisit(struct cenote_manager *manager)
{
  atomic_fetch_sub_explicit(&manager->visitors, 1, memory_order_acq_rel);
}

/* ----------------------------------------------------------------- acquire.c */

/* Everything after the lock was given back: unparks, refuses the rest, kicks the housekeeper. */
void manager_wake(struct cenote_manager *manager, struct pool_wakes *wakes);
struct pool_ask manager_ask(struct cenote_manager *manager, const char *operation_id,
                            int64_t lease_ms, int64_t now_ns);
/* A lease of the manager's own for a caller's statement: until when it may be waited for, and how
 * long it lasts. Blocks. */
cenote_status acquire_until(struct cenote_manager *manager, const char *operation_id,
                            int64_t until_ns, int64_t lease_ns, cenote_lease *lease,
                            cenote_error *error);
/* Until when a connection may be asked whether it is alive, for a caller who waits until
 * `deadline_ns`: a living one is not thrown away because the caller was in a hurry. */
int64_t check_deadline(const struct cenote_manager *manager, int64_t now_ns, int64_t deadline_ns);

/* The thread's last connection: found free again, its cache lines are still ours. A slot's memory
 * is never freed, so the pointer is good for ever; the lease says whose it is. */
struct last_slot {
  struct cenote_manager *manager;
  struct slot *slot;
  cenote_lease lease; /* its generation means nothing */
};
extern _Thread_local struct last_slot last_slot __attribute__((visibility("hidden")));

/* ----------------------------------------------------------------- refused.c */

/* The error for a wait that ended with `why`, with who holds what. */
cenote_status acquire_failed(struct cenote_manager *manager, cenote_status why, int64_t waited_ms,
                             cenote_error *error);
/* The leases of users, without the simple path's own connections, of which there are *shared.
 * malloc'ed, never empty; NULL: no memory. */
struct pool_lease_view *manager_leases(struct cenote_manager *manager, size_t *count,
                                       size_t *shared);
/* The shown form of an operation id: redacted by the host's callback, escaped. */
void manager_show_operation(const struct cenote_manager *manager, const char *operation, char *out,
                            size_t size);

/* ------------------------------------------------------------------- lease.c */

/* The manager of a lease with the slot entered for a call, or the error that says why not. */
struct entry {
  struct cenote_manager *manager;
  struct session *session;
  cenote_lease lease;
  bool asked;       /* the database was asked something during this call … */
  bool sent;        /* … and may have executed it, though the connection was lost */
  int64_t until_ns; /* its statements end here, whatever else is allowed; 0: not given */
  cenote_why why;   /* a routed statement: why it is here; LEASE: the lease is the caller's */
};
cenote_status lease_enter(cenote_lease lease, struct entry *entry, cenote_error *error);
/* What the pool has to know of a driver's CENOTE_SESSION_ flags: SLOT_SESSION_ ones. */
unsigned session_flags(unsigned flags);
/* Out again. `status`: how the call went; what comes back is what the caller is told. */
cenote_status lease_leave(struct entry *entry, cenote_status status, cenote_error *error);
void lease_describe(const struct cenote_manager *manager, const struct pool_lease_view *view,
                    cenote_lease_info *info);
cenote_status lease_lost_error(struct cenote_manager *manager, cenote_lease lease,
                               cenote_error *error);

/* -------------------------------------------------------------------- call.c */

/* Drives one request to its end on this thread; cancels at the deadline, aborts when that does
 * not help. */
cenote_status call_run(struct session *session, cenote_request *request, int64_t deadline_ns,
                       cenote_error *error);

/* --------------------------------------------------------------- statement.c */

/* One statement inside an entered call, counted and timed. */
cenote_status statement_run(struct entry *entry, const char *sql, const cenote_value *args,
                            size_t count, cenote_sink *sink, unsigned flags, cenote_error *error);
cenote_status statement_check(const char *sql, const cenote_value *args, size_t count,
                              cenote_error *error);
/* What the caller said beside the statement (CENOTE_QUERY_), and what a driver is told of it. */
enum {
  STATEMENT_ROUTED_FLAGS =
      CENOTE_QUERY_RAW_TEXT | CENOTE_QUERY_NATIVE | CENOTE_QUERY_READ_ONLY | CENOTE_QUERY_TIMES,
  STATEMENT_FLAGS = STATEMENT_ROUTED_FLAGS | CENOTE_QUERY_SCRIPT
};
cenote_status statement_flags_check(unsigned flags, unsigned allowed, cenote_error *error);
unsigned statement_request_flags(unsigned flags);
cenote_status statement_options_check(const cenote_execute_options *options, size_t count,
                                      cenote_error *error);
unsigned statement_flags_for(const cenote_execute_options *options); /* CENOTE_REQUEST_ */
int64_t statement_until(const cenote_execute_options *options);      /* for entry.until_ns */
/* Its rows go to a result, or to the callback that options name. */
cenote_status statement_sink_for(const struct cenote_manager *manager,
                                 const cenote_execute_options *options, cenote_sink *sink,
                                 cenote_error *error);
int64_t statement_deadline(const struct entry *entry);
/* Where its rows go: a result, within the manager's ceilings. */
cenote_status statement_sink(const struct cenote_manager *manager, cenote_sink *sink,
                             cenote_error *error);
/* The same with its rows collected, within the manager's ceilings; `flags` as a request has them. */
cenote_status statement_collect(struct entry *entry, const cenote_statement *statement,
                                unsigned flags, cenote_result **result, cenote_error *error);
/* And out of the call: the last thing that happens in it. `result` may be NULL. */
cenote_status statement_finish(struct entry *entry, const cenote_statement *statement,
                               cenote_result **result, cenote_error *error);
/* Out of the call, with what its sink has; the sink's end too. `result` may be NULL. */
cenote_status statement_leave(struct entry *entry, cenote_sink *sink, cenote_status status,
                              cenote_result **result, cenote_error *error);
/* A statement has ended, on whichever path: feeds the breaker (manager_note), the figures of its
 * path, the count and the log of slow statements. Once for each try that was sent, by whoever ran
 * it; never with its parameters. */
struct statement_outcome {
  enum cen_path path;
  cenote_why why;
  const char *sql;
  const char *operation; /* as the caller gave it, or NULL: looked up by the lease */
  cenote_lease lease;    /* {0}: none */
  cenote_status status;
  const cenote_error *error; /* or NULL */
  bool cut_off;              /* the connection, by our own patience: see statement_note */
  int64_t waited_ns, took_ns;
};
void statement_note(struct cenote_manager *manager, const struct statement_outcome *outcome);
/* The same for what ran inside an entered call. */
void statement_note_call(const struct entry *entry, cenote_why why, const char *sql,
                         cenote_status status, const cenote_error *error, int64_t took_ns);
/* Why a statement that is about to run is on this lease. */
cenote_why statement_why(const struct entry *entry);
/* The statement with its literals as `?`, on one line, cut to fit: for logs. */
void sql_shape(char *out, size_t size, const char *sql);

/* ------------------------------------------------------------- transaction.c */

/* Begin, commit, roll back the innermost one inside an entered call; inside a transaction they
 * work on savepoints. */
struct transact_terms; /* transact.h */
cenote_status transaction_begin(struct entry *entry, const struct transact_terms *terms,
                                cenote_error *error);
cenote_status transaction_commit(struct entry *entry, cenote_error *error);
cenote_status transaction_rollback(struct entry *entry, cenote_error *error);
/* From the innermost one down to `depth`; the outermost takes all savepoints with it. Where that
 * fails, the connection goes: nothing of the transaction may remain. */
void transaction_roll_back_to(struct entry *entry, unsigned depth);
/* A statement of ours, without rows: neither counted nor logged. */
cenote_status transaction_run_own(struct entry *entry, const char *sql, cenote_error *error);
bool transaction_is_open(const struct session *session);
/* The depth as it really is: the caller may have sent COMMIT or ROLLBACK by itself. */
unsigned transaction_depth(struct session *session);

/* ------------------------------------------------- housekeeper.c and errand.c */

cenote_status housekeeper_start(struct cenote_manager *manager, cenote_error *error);
void housekeeper_stop(struct cenote_manager *manager); /* joins, frees the loop */
void housekeeper_kick(struct cenote_manager *manager); /* any thread */
/* The host's loop (external_loop) will call cenote_dispatch before it waits again whenever `soon` is
 * called: see cen_loop_host. On the host's thread; NULL ends it, before the manager is closed. */
void manager_host(struct cenote_manager *manager, void (*soon)(void *context), void *context);
/* One turn of the loop, waiting at most until the deadline (0: not at all). */
void housekeeper_turn(struct cenote_manager *manager, int64_t deadline_ns);
struct pool_limits manager_limits(const struct cenote_manager *manager);

void errand_perform(struct cenote_manager *manager, const struct pool_action *action);
/* A leased connection that must be checked before an asynchronous caller gets it. */
void errand_check_lease(struct session *session, struct acquisition *acquisition,
                        int64_t deadline_ns);

/* ------------------------------------------------------------------- async.c */

/* Looks at all asynchronous acquires: settles, rescans, gives up. Answers the next deadline. */
int64_t async_turn(struct cenote_manager *manager, int64_t now_ns);
/* The manager ends: delivers what the housekeeper did not come to. */
void async_finish(struct cenote_manager *manager);
void async_checked(struct acquisition *acquisition, struct session *session, bool good);

/* ---------------------------------------------------------------- breaking.c */

/* Before a caller waits for a connection or queues a statement: CENOTE_OK, or CENOTE_BREAKER_OPEN
 * with since when, why, and when the next attempt is. Any thread; one relaxed load while closed. */
cenote_status manager_admit(struct cenote_manager *manager, cenote_error *error);
/* How something went that was asked of the database. A failure that is not transient was answered:
 * the endpoint is well. `error` may be NULL. statement_note calls it for statements. Any thread; one
 * relaxed load while all is well. */
void manager_note(struct cenote_manager *manager, cenote_status status, const cenote_error *error);
void manager_note_connect(struct cenote_manager *manager, cenote_status status,
                          const cenote_error *error);
void manager_note_check(struct cenote_manager *manager, bool good);
cenote_status breaking_new(struct cenote_manager *manager); /* cenote_open */
/* The settings have changed: their limits, and those of HTTP's. Not under the life_lock. */
void breaking_configure(struct cenote_manager *manager);
struct cen_breaker_limits breaking_limits(const struct cenote_manager *manager, bool logins);
void breaking_free(struct cenote_manager *manager);
/* The housekeeper's turn: sends the probe that is due. Answers when to come back. */
int64_t breaking_turn(struct cenote_manager *manager, int64_t now_ns);
/* The error for one who was refused. */
cenote_status breaking_error(struct cenote_manager *manager, cenote_error *error);
void breaking_read(struct cenote_manager *manager, cenote_statistics *out);

/* --------------------------------------------------------------- observing.c */

cenote_status observer_new(struct cenote_manager *manager);
void observer_free(struct cenote_manager *manager);
void observer_audit(struct cenote_manager *manager, cenote_audit_kind kind, uint64_t connection,
                    const char *reason, const char *operation);
/* The housekeeper's second: windows move on. */
void observer_turn(struct cenote_manager *manager, int64_t now_ns);

#endif
