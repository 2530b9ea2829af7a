/*
 * transact.h - routed transactions: begin, body, commit, and when to run it all again. Every
 * decision is made here, by a machine that does no I/O and has no clock; the blocking form
 * (transact.c) and the asynchronous one (transact_async.c) only perform what it answers.
 *
 *              ┌──────────────── again, after a pause ────────────────┐
 *              ▼                                                      │
 *   ACQUIRE ─► RUN begin ─► BODY ─► RUN commit ── 40001, 40P01 ───────┤
 *                           │  ▲ │                                    │
 *                    RUN ◄──┘  │ └► RUN rollback ─────────────────────┘
 *                     └─► TELL ┘
 *
 * In the end RELEASE, DONE. One thread at a time.
 */
#ifndef CEN_TRANSACT_H
#define CEN_TRANSACT_H

#include "manager/manager.h"

#include "base/rng.h"
#include "sql/scan.h"

/* ------------------------------------------------------- what a statement says (transact_text.c) */

/* What a transaction is: of the options, and of a BEGIN that the body sends. */
struct transact_terms {
  cenote_batch_mode mode;
  cenote_isolation isolation;
  bool deferrable;
};

enum transact_text {
  TRANSACT_TEXT_PLAIN, /* the database's business */
  TRANSACT_TEXT_BEGIN,
  TRANSACT_TEXT_COMMIT,
  TRANSACT_TEXT_ROLLBACK,
  TRANSACT_TEXT_CHAIN, /* COMMIT or ROLLBACK AND CHAIN */
  TRANSACT_TEXT_WRONG  /* a BEGIN with something in it that is not known */
};

/* Of a BEGIN, *terms gets what it names; the rest stays as it is. */
enum transact_text transact_read_text(const char *sql, enum cen_dialect dialect,
                                      struct transact_terms *terms);

/* --------------------------------------------------------------------- the handle of the body */

/* What cenote_begin makes, and what the body of a routed transaction gets. The handles of what is
 * open on a session hang together, the innermost first. One that is not among them has ended, also
 * when another transaction is open at its depth by now. */
struct cenote_transaction {
  struct transact *routed; /* the body's; all else is cenote_begin's */
  cenote_lease lease;
  unsigned depth;      /* 1: the transaction itself; above: a savepoint */
  int64_t deadline_ns; /* never later than that of an outer one */
  struct cenote_transaction *outer;
};

/* ------------------------------------------------------------------- the machine (transact_steps.c) */

enum transact_step {
  TRANSACT_ACQUIRE, /* a lease, until `until_ns`: transact_acquired */
  TRANSACT_RUN,     /* `request` on the lease, until `until_ns`: transact_ran */
  TRANSACT_BODY,    /* the transaction is open: the body's turn: transact_send, transact_finish */
  TRANSACT_TELL,    /* the body's statement is over; its turn again */
  TRANSACT_RELEASE, /* the lease: transact_released */
  TRANSACT_WAIT,    /* until `until_ns`: transact_waited */
  TRANSACT_DONE     /* `status` and `error` are the outcome */
};

enum transact_phase {
  PHASE_ACQUIRING,
  PHASE_BEGINNING,
  PHASE_BODY,
  PHASE_STATEMENT,  /* of the body */
  PHASE_FORGETTING, /* rolled back, to be begun anew on the terms of the body's BEGIN */
  PHASE_ANEW,
  PHASE_ENDING,     /* the body's own COMMIT or ROLLBACK */
  PHASE_ABANDONING, /* cancelled while it was the body's turn */
  PHASE_COMMITTING,
  PHASE_UNDOING,
  PHASE_PAUSING,
  PHASE_OVER
};

struct transact {
  struct cenote_transaction handle;
  struct cenote_manager *manager;
  enum cen_dialect dialect;
  struct transact_terms asked, terms; /* by the options; now */
  int64_t deadline_ns;                /* for all of it; CEN_NEVER: the lease's */
  int64_t repetitions;                /* that are still allowed */
  int64_t restarts;                   /* of what failed before the body ran, still allowed */
  unsigned repeated, restarted;
  int64_t pause_ns; /* before the next repetition */
  struct cen_rng rng;

  enum transact_phase phase;
  cenote_lease lease;
  bool leased;
  bool asynchronous;
  bool cancelled;
  bool kept;           /* committed: no cancel and no error undoes that */
  _Atomic bool inside; /* a call of the body's: others are CENOTE_BUSY */
  int64_t lease_until_ns;

  /* of this round */
  bool ran;       /* a statement of the body's reached the database */
  bool ended;     /* by a statement of the body's, or with the connection: nothing more runs */
  bool conflict;  /* its last statement failed with 40001 or 40P01 */
  bool again;     /* run it once more when it is rolled back */
  bool restart;   /* get another connection first */
  bool lost;      /* connection or lease are gone: there is nothing to roll back */
  unsigned flags; /* of the driver's session, after the last request */
  struct transact_terms wanted; /* by the body's BEGIN */
  enum transact_text end_text;  /* what ended it: COMMIT, ROLLBACK; PLAIN: something else */
  cenote_status end_status;     /* and how that went */
  cenote_error end_error;

  /* what to do */
  cenote_request request;
  int64_t until_ns;
  cenote_result *empty; /* TELL: of a statement that did not go to the database as it is, or NULL */
  cenote_status status;
  cenote_error error; /* the body's, then the outcome's */
};

/* `now_ns`: where time counts, it is an argument. */
cenote_status transact_check(const cenote_manager *manager, const cenote_transact_options *options,
                             cenote_error *error);
void transact_init(struct transact *transact, cenote_manager *manager,
                   const cenote_transact_options *options, int64_t now_ns);
enum transact_step transact_start(struct transact *transact, int64_t now_ns);
/* `error` in all of these: full size, filled when status is not OK. It may be written to. */
enum transact_step transact_acquired(struct transact *transact, cenote_status status,
                                     cenote_lease lease, const cenote_error *error);
/* `flags`: of the driver's session after it; 0 where it was not entered. TELL: *status and *error
 * are what the body is told. */
enum transact_step transact_ran(struct transact *transact, cenote_status *status, unsigned flags,
                                cenote_error *error, int64_t now_ns);
/* RUN: request.sql, .args, .count are the statement. */
enum transact_step transact_send(struct transact *transact, const char *sql,
                                 const cenote_value *args, size_t count, cenote_status *status,
                                 cenote_error *error, int64_t now_ns);
/* The body has answered; its error is in transact->error. */
enum transact_step transact_finish(struct transact *transact, cenote_status status, int64_t now_ns);
enum transact_step transact_waited(struct transact *transact, int64_t now_ns);
enum transact_step transact_released(struct transact *transact, int64_t now_ns);

/* How long the lease is to be held at most, counted from now; 0: the setting alone. */
int64_t transact_lease_ms(const struct transact *transact, int64_t now_ns);
/* Asynchronous: it is to end with CENOTE_CANCELLED. While it is the body's turn, transact_abandon is
 * next, and then TELL to nobody. In other phases whoever performs them stops what goes on. */
void transact_cancel(struct transact *transact);
enum transact_step transact_abandon(struct transact *transact, int64_t now_ns);

/* ------------------------------------------------------------ the blocking form (transact.c) */

cenote_status transact_execute(struct transact *transact, const char *sql, const cenote_value *args,
                               size_t count, cenote_result **result, cenote_error *error);

/* ------------------------------------------------- the asynchronous form (transact_async.c, transact_turn.c) */

struct transacts { /* one in each manager */
  pthread_mutex_t lock;
  struct cen_link all, posted; /* under the lock */
  struct cen_task task;
};
cenote_status transact_new(struct cenote_manager *manager);
void transact_free(struct cenote_manager *manager);
/* The manager ends: one that was left behind is told. false: there is none. */
bool transact_settle(struct cenote_manager *manager);

#endif
