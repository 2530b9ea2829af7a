/* query_turn.c - the turn to write, for simple statements on SQLite. */
#include "manager/query.h"

#include "net/park.h"

#include <inttypes.h>

cenote_status query_turn_ask(struct cenote_manager *manager, struct query_turn *turn, bool *mine)
{
  struct queries *queries = manager->queries;
  const int64_t most = cen_setting(&manager->settings, CEN_SET_MAX_WAITERS);
  cenote_status status = CENOTE_OK;
  cen_link_init(&turn->link);
  atomic_store_explicit(&turn->word, 0, memory_order_relaxed);
  pthread_mutex_lock(&queries->lock);
  *mine = !queries->turn_taken;
  if (*mine) {
    queries->turn_taken = true;
    turn->state = TURN_MINE;
  } else if (queries->turns_waiting >= most) {
    turn->state = TURN_NONE;
    status = CENOTE_QUEUE_FULL;
  } else {
    turn->state = TURN_WAITING;
    cen_list_push_back(&queries->turns, &turn->link);
    queries->turns_waiting++;
  }
  pthread_mutex_unlock(&queries->lock);
  return status;
}

bool query_turn_give_up(struct cenote_manager *manager, struct query_turn *turn)
{
  struct queries *queries = manager->queries;
  pthread_mutex_lock(&queries->lock);
  const bool waited = turn->state == TURN_WAITING;
  if (waited) {
    cen_list_remove(&turn->link);
    queries->turns_waiting--;
    turn->state = TURN_NONE;
  }
  pthread_mutex_unlock(&queries->lock);
  return waited;
}

void query_turn_give(struct cenote_manager *manager, struct query_turn *turn)
{
  struct queries *queries = manager->queries;
  if (turn->state != TURN_MINE) {
    return;
  }
  _Atomic uint32_t *word = NULL;
  manager_visit(manager); /* nothing else of the caller's holds a close back */
  pthread_mutex_lock(&queries->lock);
  turn->state = TURN_NONE;
  struct cen_link *link = cen_list_pop(&queries->turns);
  queries->turn_taken = link != NULL;
  if (link != NULL) {
    struct query_turn *next = CEN_CONTAINER(link, struct query_turn, link);
    queries->turns_waiting--;
    next->state = TURN_MINE;
    if (next->granted != NULL) {
      next->granted(next);
    } else {
      word = &next->word;
      atomic_store_explicit(word, 1, memory_order_release);
    }
  }
  pthread_mutex_unlock(&queries->lock);
  if (word != NULL) {
    cen_unpark(word); /* its frame may be gone: only the word's address is used */
  } else if (link != NULL) {
    cen_loop_post(manager->loop, &queries->task);
  }
  manager_unvisit(manager);
}

cenote_status query_turn_error(struct cenote_manager *manager, cenote_status why, int64_t waited_ms,
                               cenote_error *error)
{
  struct queries *queries = manager->queries;
  pthread_mutex_lock(&queries->lock);
  const int64_t waiting = queries->turns_waiting;
  pthread_mutex_unlock(&queries->lock);
  if (why == CENOTE_QUEUE_FULL) {
    return cenote_error_set(error, why,
                            "%" PRId64 " statements wait for their turn to write already "
                            "(max_waiters); try again later",
                            waiting);
  }
  return cenote_error_set(error, why,
                          "acquire timeout: its turn to write did not come within %" PRId64
                          " ms (%" PRId64 " others waiting); write less, or in fewer and larger "
                          "transactions",
                          waited_ms, waiting);
}
