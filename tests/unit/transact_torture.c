/* transact_torture.c - every allocation of a routed transaction fails once: it is told once, says that
 * memory is short or succeeds, leaks nothing, and a COMMIT that worked is never told to have failed. */
#include "manager_help.h"

#include "support/alloc_torture.h"

#include <cenote/loop.h>

#include <poll.h>

static bool place_try(struct place *place, bool external)
{
  place_init(place);
  place_set(place, "min_connections", "0");
  place_set(place, "max_connections", "1");
  place_set(place, "connect_backoff_ms", "1");
  place_set(place, "connect_backoff_max_ms", "2");
  place_set(place, "retry_delay_ms", "1");
  place_set(place, "memory_pressure", "false");
  place->options.external_loop = external;
  const cenote_status status =
      cenote_open("fake://place", &place->options, &place->manager, &place->error);
  if (status == CENOTE_OK) {
    return true;
  }
  expect(CENOTE_NO_MEMORY, status, &place->error);
  place_close(place);
  return false;
}

/* Lost: where a rollback found no memory the connection had to go. */
static void settle(cenote_status status, const cenote_error *error)
{
  const bool expected = status == CENOTE_NO_MEMORY || status == CENOTE_CONNECTION_LOST;
  if (status != CENOTE_OK && (!expected || !alloc_torture_struck())) {
    fail_msg("%s: %s (%s)", cenote_status_name(status), error->message, error->details);
  }
}

static const char *const sent[] = {"BEGIN ISOLATION LEVEL SERIALIZABLE", "insert", "SELECT 1",
                                   "COMMIT"};
enum { SENT = 4 };

static cenote_status run_body(void *context, cenote_transaction *transaction, cenote_error *error)
{
  struct place *place = context;
  cenote_status status = CENOTE_OK;
  for (int i = 0; i < SENT && status == CENOTE_OK; i++) {
    cenote_result *result;
    status = cenote_tx_execute(transaction, sent[i], NULL, 0, &result, error);
    assert_true((result != NULL) == (status == CENOTE_OK));
    cenote_result_free(result);
  }
  const uint64_t committed = atomic_load(&place->script.done[CENOTE_REQUEST_COMMIT]);
  assert_int_equal(committed, status == CENOTE_OK ? 1 : 0);
  return status;
}

static void blocking(void *context)
{
  struct place place;
  (void)context;
  if (!place_try(&place, false)) {
    return;
  }
  settle(cenote_transact(place.manager, run_body, &place, &place.error), &place.error);
  place_close(&place);
}

static void a_blocking_one_survives_it(void **state)
{
  (void)state;
  assert_true(alloc_torture(blocking, NULL, ALLOC_TORTURE_BALANCED) > 30);
}

struct steps {
  struct place *place;
  cenote_transaction *transaction;
  int next, done;
  cenote_status outcome;
  cenote_error error;
};

static void go_on(struct steps *steps, cenote_status status, const cenote_error *error);

static void on_statement(void *context, cenote_status status, cenote_result *result,
                         const cenote_error *error)
{
  struct steps *steps = context;
  assert_true((result != NULL) == (status == CENOTE_OK));
  cenote_result_free(result);
  steps->next++;
  go_on(steps, status, error);
}

static void go_on(struct steps *steps, cenote_status status, const cenote_error *error)
{
  cenote_error own = CENOTE_ERROR_INIT;
  if (status == CENOTE_OK && steps->next < SENT) {
    status = cenote_tx_execute_async(steps->transaction, sent[steps->next], NULL, 0, on_statement,
                                     steps, NULL, &own);
    if (status == CENOTE_OK) {
      return;
    }
    error = &own;
  }
  assert_int_equal(cenote_tx_finish(steps->transaction, status, error), CENOTE_OK);
}

static void on_begin(void *context, cenote_transaction *transaction)
{
  struct steps *steps = context;
  steps->transaction = transaction;
  steps->next = 0;
  go_on(steps, CENOTE_OK, NULL);
}

static void on_done(void *context, cenote_status status, const cenote_error *error)
{
  struct steps *steps = context;
  steps->done++;
  steps->outcome = status;
  steps->error = *error;
}

static void asynchronous(void *context)
{
  struct place place;
  cenote_ticket ticket;
  (void)context;
  if (!place_try(&place, true)) {
    return;
  }
  struct steps steps = {.place = &place};
  const cenote_status status =
      cenote_transact_async(place.manager, NULL, on_begin, on_done, &steps, &ticket, &place.error);
  settle(status, &place.error);
  for (int i = 0; status == CENOTE_OK && steps.done == 0 && i < 5000; i++) {
    struct pollfd watched = {.fd = cenote_pollfd(place.manager), .events = POLLIN};
    (void)poll(&watched, 1, 1);
    settle(cenote_dispatch(place.manager, &place.error), &place.error);
  }
  if (status == CENOTE_OK) {
    assert_int_equal(steps.done, 1);
    settle(steps.outcome, &steps.error);
    assert_int_equal(atomic_load(&place.script.done[CENOTE_REQUEST_COMMIT]),
                     steps.outcome == CENOTE_OK ? 1 : 0);
  }
  place_close(&place);
}

static void an_asynchronous_one_is_told_once(void **state)
{
  (void)state;
  assert_true(alloc_torture(asynchronous, NULL, ALLOC_TORTURE_BALANCED) > 30);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      TEST(a_blocking_one_survives_it),
      TEST(an_asynchronous_one_is_told_once),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
