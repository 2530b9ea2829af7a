/* Everything at once on the simple path: callers that block and callers that do not, leases beside
 * them, time-outs, cancels, connections that die. What comes back is always one's own. */
#include "unit/simple_help.h"

enum { ASKERS = 12, ROUNDS = 150, ASYNCS = 200 };

static struct place place;
static _Atomic uint64_t answered, failed;

/* So that a thread's choices are its own. */
static uint32_t draw(uint32_t *seed, uint32_t below)
{
  *seed = *seed * 1664525u + 1013904223u;
  return (*seed >> 8) % below;
}

/* A value of one's own goes there and comes back. */
static struct simple_request tagged(cenote_value *value, int64_t tag, uint32_t *seed)
{
  static const char *const texts[] = {"SELECT $1",   "SELECT $1", "SELECT $1", "SELECT $1",
                                      "error 22012", "sleep 3",   "hang"};
  const uint32_t kind = draw(seed, 80);
  const char *sql = texts[kind < 7 ? kind : 0];
  const int64_t patience = draw(seed, 8) == 0 ? draw(seed, 12) : PATIENCE_MS;
  struct simple_request request =
      request_for(sql, draw(seed, 4) != 0, strcmp(sql, "hang") == 0 ? 30 : patience);
  *value = (cenote_value){.type = CENOTE_INTEGER, .as.integer = tag};
  request.args = value;
  request.count = strncmp(sql, "SELECT", 6) == 0 ? 1 : 0;
  return request;
}

static void look_at(const struct simple_request *request, cenote_status status,
                    cenote_result *result)
{
  const bool reads = strcmp(request->sql, "SELECT $1") == 0;
  if (status == CENOTE_OK && reads) {
    assert_non_null(result);
    assert_int_equal(cenote_result_rows(result), 1);
    assert_int_equal(cenote_result_integer(result, 0, 0), request->args->as.integer);
    atomic_fetch_add(&answered, 1);
  } else {
    atomic_fetch_add(&failed, 1);
  }
  if (status != CENOTE_OK) {
    assert_null(result);
  }
  if (status == CENOTE_OUTCOME_UNKNOWN) {
    assert_false(request->read_only);
  }
  cenote_result_free(result);
}

static void *ask_much(void *context)
{
  const int64_t self = (int64_t)(intptr_t)context;
  uint32_t seed = (uint32_t)self * 77u + 5u;
  for (int i = 0; i < ROUNDS; i++) {
    cenote_value value;
    const struct simple_request request = tagged(&value, self * 100000 + i, &seed);
    struct simple_outcome outcome;
    cenote_result *result;
    const cenote_status status = simple_query(place.manager, &request, &result, &outcome, NULL);
    look_at(&request, status, result);
    if (status == CENOTE_OUTCOME_UNKNOWN || status == CENOTE_CONNECTION_LOST) {
      assert_int_equal(outcome.fate, CEN_FATE_UNKNOWN);
    }
  }
  return NULL;
}

struct later {
  struct simple_async async;
  cenote_value value;
};
static _Atomic int under_way;

static void is_done(struct simple_async *async, cenote_status status, cenote_result *result,
                    const struct simple_outcome *outcome, const cenote_error *error)
{
  struct later *later = CEN_CONTAINER(async, struct later, async);
  (void)outcome;
  assert_int_equal(error->status, status);
  look_at(&async->request, status, result);
  free(later);
  atomic_fetch_sub(&under_way, 1);
}

static void *ask_later(void *context)
{
  const int64_t self = (int64_t)(intptr_t)context;
  uint32_t seed = (uint32_t)self * 31u + 7u;
  for (int i = 0; i < ASYNCS; i++) {
    struct later *later = calloc(1, sizeof *later);
    assert_non_null(later);
    later->async.request = tagged(&later->value, self * 100000 + i, &seed);
    later->async.done = is_done;
    atomic_fetch_add(&under_way, 1);
    must(simple_start(place.manager, &later->async, NULL), NULL);
    if (draw(&seed, 3) == 0) {
      pause_ms(draw(&seed, 3));
    }
  }
  return NULL;
}

static void *lease_now_and_then(void *context)
{
  uint32_t seed = 99;
  (void)context;
  for (int i = 0; i < 60; i++) {
    cenote_lease lease;
    if (cenote_acquire(place.manager, "exclusive", PATIENCE_MS, &lease, NULL) == CENOTE_OK) {
      (void)run_sql(lease, "SELECT 1", NULL);
      pause_ms(draw(&seed, 2));
      must_release(lease);
    }
  }
  return NULL;
}

static void *kill_now_and_then(void *context)
{
  (void)context;
  for (int i = 0; i < 6; i++) {
    pause_ms(40);
    fake_kill_all(&place.script);
    books_agree(place.manager);
  }
  return NULL;
}

static void crowd(const char *maximum, bool kills)
{
  place_init(&place);
  place_set(&place, "cancel_timeout_ms", "50");
  place_set(&place, "statement_timeout_ms", "100");
  place_set(&place, "simple_depth", "8");
  place_set(&place, "connect_backoff_ms", "1");
  atomic_store(&place.script.cancel_lag_ns, 2000000);
  place_open_with(&place, "0", maximum);
  pthread_t threads[ASKERS + 4];
  int count = 0;
  for (; count < ASKERS; count++) {
    threads[count] = start_thread(ask_much, (void *)(intptr_t)(count + 1));
  }
  threads[count++] = start_thread(ask_later, (void *)(intptr_t)100);
  threads[count++] = start_thread(ask_later, (void *)(intptr_t)101);
  threads[count++] = start_thread(lease_now_and_then, NULL);
  if (kills) {
    threads[count++] = start_thread(kill_now_and_then, NULL);
  }
  for (int i = 0; i < count; i++) {
    assert_int_equal(pthread_join(threads[i], NULL), 0);
  }
  wait_until(atomic_load(&under_way) == 0);
  books_agree(place.manager);
  const struct pipeline_picture picture = picture_of(place.manager);
  assert_int_equal(picture.queued, 0);
  assert_true(atomic_load(&answered) > 0);
  place_close(&place);
}

static void nobody_gets_what_is_anothers(void **state)
{
  (void)state;
  crowd("6", false);
}

static void nobody_does_while_connections_die(void **state)
{
  (void)state;
  crowd("6", true);
}

static void nobody_does_on_a_single_connection(void **state)
{
  (void)state;
  crowd("1", false);
}

static void a_manager_closes_in_the_middle_of_it(void **state)
{
  (void)state;
  for (int round = 0; round < 6; round++) {
    place_init(&place);
    place_set(&place, "cancel_timeout_ms", "20");
    place_set(&place, "shutdown_timeout_ms", round % 2 == 0 ? "0" : "200");
    place_open_with(&place, "0", "3");
    pthread_t threads[8];
    for (int i = 0; i < 7; i++) {
      threads[i] = start_thread(ask_much, (void *)(intptr_t)(i + 1));
    }
    threads[7] = start_thread(ask_later, (void *)(intptr_t)100);
    pause_ms(5 * round);
    (void)!cenote_shutdown(place.manager, round % 2 == 0 ? 0 : 200, NULL);
    for (int i = 0; i < 8; i++) {
      assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    wait_until(atomic_load(&under_way) == 0);
    place_close(&place);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      TEST(nobody_gets_what_is_anothers),
      TEST(nobody_does_while_connections_die),
      TEST(nobody_does_on_a_single_connection),
      TEST(a_manager_closes_in_the_middle_of_it),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
