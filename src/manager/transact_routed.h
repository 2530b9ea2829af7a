/*
 * transact_routed.h - what the two files of asynchronous transactions share: transact_async.c, the
 * calls from any thread, which only leave a note, and transact_turn.c, the housekeeper's side, which
 * performs what the machine in transact_steps.c decides.
 */
#ifndef CEN_TRANSACT_ROUTED_H
#define CEN_TRANSACT_ROUTED_H

#include "manager/async.h"
#include "manager/run.h"
#include "manager/transact.h"

enum body_turn { TURN_NOT_YET, TURN_BODY, TURN_ASKED, TURN_RUNS, TURN_FINISHED };

struct routed {
  struct transact transact;
  char operation[CEN_MAX_OPERATION_ID + 1];
  cenote_transact_begin begin;
  cenote_transact_done done;
  void *context;
  struct ticket ticket;
  struct ticket statement_ticket;
  struct cen_link link; /* in transacts->all; this and what follows: guarded by its lock */
  struct cen_link post;
  bool posted;
  bool cancel, cancel_statement; /* asked for */
  enum body_turn turn;
  cenote_statement *statement;    /* ASKED, RUNS */
  cenote_execute_options options; /* the same */
  int64_t statement_until_ns;     /* the same; 0: nothing but the transaction's */
  cenote_query_callback callback;
  void *callback_context;
  cenote_status answer; /* FINISHED */
  /* the housekeeper's */
  bool begun, waits; /* `waits`: a step of the machine is under way */
  struct cen_timer timer;
  struct acquisition acquisition;
  struct execution execution; /* its run serves all requests */
};

static inline struct cenote_manager *routed_manager(const struct routed *routed)
{
  return routed->transact.manager;
}

static inline void routed_lock(struct routed *routed)
{
  pthread_mutex_lock(&routed_manager(routed)->transacts->lock);
}

static inline void routed_unlock(struct routed *routed)
{
  pthread_mutex_unlock(&routed_manager(routed)->transacts->lock);
}

/* Any thread; the housekeeper looks at it soon. */
static inline void routed_post_locked(struct routed *routed)
{
  struct transacts *transacts = routed_manager(routed)->transacts;
  if (!routed->posted) {
    routed->posted = true;
    cen_list_push_back(&transacts->posted, &routed->post);
  }
  cen_loop_post(routed_manager(routed)->loop, &transacts->task);
}

#endif
