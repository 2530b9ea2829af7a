/*
 * fake_driver.h - a driver without a database, for tests of what stands above drivers. What it
 * does is written in a script that any thread may change at any time; what was done to it is
 * counted there. It aborts the test program when two threads are inside one connection, or when
 * a connection is used after destroy().
 *
 *   struct fake_script script;
 *   fake_script_init(&script);
 *   options.driver = &fake_driver;            (or &fake_driver_blocking)
 *   options.driver_context = &script;
 *   fake_fail(&script, CENOTE_REQUEST_OPEN, CENOTE_CONNECT, 3);   the next three opens fail
 *   script.delay_ns[CENOTE_REQUEST_OPEN] = 50 * 1000000;          the others take 50 ms
 *   …
 *   fake_script_deinit(&script);              after the manager is closed
 *
 * Statements it knows (one a request; SQL is for databases):
 *   SELECT …       its arguments as one row; without any, the number behind SELECT
 *   who            one row: the connection's number, from 1
 *   rows N         N rows: 1 … N           text N     one row: N bytes of text
 *   sleep MS       takes so long           hang       until it is cancelled or aborted
 *   wait N         until the test has said fake_let_go() with N or more (or as hang)
 *   insert         affects one row         set        makes the session dirty
 *   error SQLSTATE fails; a transaction is failed then, as in PostgreSQL
 *   lose           the connection is lost  begin, commit, rollback
 * With CENOTE_REQUEST_REFUSE, insert and set fail with 25006; scripts are unsupported.
 *
 * It pipelines (fake_driver_blocking does not): a statement's time begins when it is the oldest.
 * After an enter with read_only, `insert` fails with 25006 until a RESET. Answers come in order, one
 * for each push; wants() gives a timer's descriptor, or with virtual time a deadline.
 */
#ifndef TEST_FAKE_DRIVER_H
#define TEST_FAKE_DRIVER_H

#include <cenote/driver.h>

#include <stdatomic.h>

enum { FAKE_KINDS = CENOTE_REQUEST_DESCRIBE + 1 };

struct fake_script {
  /* --- what shall happen; by the request's kind */
  _Atomic int64_t delay_ns[FAKE_KINDS];          /* it takes so long */
  _Atomic int fail_status[FAKE_KINDS];           /* a cenote_status: see fake_fail */
  _Atomic int fail_count[FAKE_KINDS];            /* so many fail; negative: all */
  const char *_Atomic fail_sqlstate[FAKE_KINDS]; /* and the error says so; NULL: nothing */
  _Atomic bool hang[FAKE_KINDS];                 /* it ends only by cancel or abort */
  _Atomic int gate[FAKE_KINDS];                  /* N > 0: as the statement "wait N" */
  _Atomic bool deaf;                             /* cancels do nothing: only abort helps */
  _Atomic bool break_on_failure;                 /* a scripted failure leaves the session BROKEN */
  _Atomic bool always_dirty;                     /* every statement makes the session dirty */
  _Atomic bool lose_idle; /* connections are dead: the next request finds out */
  _Atomic bool lose_sent; /* an EXECUTE that answers CONNECTION_LOST may have been executed */

  /* --- pipelining: what shall happen beside the above (which holds there too) */
  _Atomic int enter_status;           /* a cenote_status: enter() is refused with it */
  _Atomic int enter_read_only_status; /* the same, where read_only is asked for */
  _Atomic int64_t cancel_lag_ns;      /* a cancel travels so long, and hits whoever is oldest
                                           then: CENOTE_CANCELLED if it was meant for that one, else
                                           CENOTE_DATABASE with 57014 */
  _Atomic bool cancel_astray;         /* each cancel leaves the session BROKEN, though it works */
  _Atomic int64_t enough_ns;          /* so long the oldest goes on after ENOUGH; INT64_MAX:
                                           until it is cancelled */
  _Atomic int repeats;                /* so many answers are REPEAT instead */
  _Atomic int lose_before_push;       /* the n-th push from now finds the connection dead … */
  _Atomic int lose_after_push;        /* … or it dies with that push on its way */
  _Atomic int lose_before_answer;     /* the n-th answer from now is LOST, for it and all behind */
  _Atomic int stray_at_answer;        /* before the n-th answer comes one that nobody asked for */
  _Atomic bool holds_back; /* what was pushed is sent when wants() is asked, as libpq 17 does */

  /* virtual time: NULL for real time. With it wants() has no descriptor. Set before use. */
  int64_t (*now_ns)(void *clock);
  void *clock;

  /* --- what was done to it */
  _Atomic uint64_t created, destroyed, opened, closed;
  _Atomic uint64_t started[FAKE_KINDS], done[FAKE_KINDS], failed[FAKE_KINDS];
  _Atomic uint64_t cancels, late_cancels; /* late: nothing was running */
  _Atomic uint64_t enters, leaves, read_only_enters, pushes, answers, reads, repeated, lost;
  _Atomic int64_t most_in_flight; /* on one connection */
  _Atomic uint64_t aborts, taints, shrinks, rollbacks_of_open_transactions;
  _Atomic int begun_mode, begun_isolation, begun_deferrable; /* of the last BEGIN request */
  _Atomic unsigned flags;                                    /* of the last EXECUTE */
  _Atomic int64_t open_now, open_most; /* connections between OPEN and CLOSE or destroy */

  _Atomic int let_go;        /* private: what was let go so far */
  struct fake_grave *graves; /* private: destroyed connections, kept to catch their use */
  _Atomic uint64_t numbers;
  _Atomic uint32_t lock;
};

extern const cenote_driver fake_driver;
extern const cenote_driver fake_driver_blocking; /* CENOTE_DRIVER_BLOCKING */

void fake_script_init(struct fake_script *script);
void fake_script_deinit(struct fake_script *script);
/* The next `count` requests of that kind fail with that status; negative: all; 0: none. */
void fake_fail(struct fake_script *script, cenote_request_kind kind, cenote_status status,
               int count);
/* What waits for that number, or a lower one, is done now, and so is all that comes. */
void fake_let_go(struct fake_script *script, int number);
/* The cancels under way (cancel_lag_ns) arrive now. */
void fake_hasten_cancels(struct fake_script *script);
/* Every connection dies: the requests that run fail, idle ones find out at their next request.
 * New connections are healthy. */
void fake_kill_all(struct fake_script *script);

#endif
