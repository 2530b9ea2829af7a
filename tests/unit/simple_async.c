/* Callers of the simple path that do not block: driven by the manager's thread, or a host's loop. */
#include "unit/simple_help.h"

#include <cenote/loop.h>

#include <poll.h>

static struct place place;

struct later {
  struct simple_async async;
  struct told told;
  _Atomic bool started, over;

  pthread_t thread;
  int times;
};

static void is_done(struct simple_async *async, cenote_status status, cenote_result *result,
                    const struct simple_outcome *outcome, const cenote_error *error)
{
  struct later *later = CEN_CONTAINER(async, struct later, async);
  later->told.status = status;
  later->told.outcome = *outcome;
  later->told.error = *error;
  later->thread = pthread_self();
  later->times++;
  note_result(&later->told, result);
  atomic_store(&later->over, true);
}

static void start(struct later *later, const char *sql, bool read_only, int64_t ms)
{
  memset(later, 0, sizeof *later);
  later->async.request = request_for(sql, read_only, ms);
  later->async.done = is_done;
  must(simple_start(place.manager, &later->async, NULL), NULL);
  atomic_store(&later->started, true);
}

static void wait_for(struct later *later)
{
  wait_until(atomic_load(&later->over));
  assert_int_equal(later->times, 1);
}

static void answers_come_on_the_managers_thread(void **state)
{
  (void)state;
  static struct later later[100];
  place_init(&place);
  place_open_with(&place, "0", "5");
  char sql[100][16];
  for (int i = 0; i < 100; i++) {
    snprintf(sql[i], sizeof sql[i], "SELECT %d", i);
    start(&later[i], sql[i], i % 3 != 0, PATIENCE_MS);
  }
  for (int i = 0; i < 100; i++) {
    wait_for(&later[i]);
    must(later[i].told.status, &later[i].told.error);
    assert_int_equal(later[i].told.value, i);
    assert_true(pthread_equal(later[i].thread, place.manager->thread));
  }
  books_agree(place.manager);
  place_close(&place);
}

static void callers_that_block_and_those_that_do_not_share(void **state)
{
  (void)state;
  struct later slow, quick;
  place_init(&place);
  place_open_with(&place, "0", "1");
  start(&slow, "sleep 40", true, PATIENCE_MS);
  wait_until(picture_of(place.manager).in_flight == 1 || atomic_load(&slow.over));
  must_say(place.manager, true, 5); /* leads from here on */
  wait_for(&slow);
  must(slow.told.status, &slow.told.error);
  start(&quick, "SELECT 6", true, PATIENCE_MS);
  wait_for(&quick);
  assert_int_equal(quick.told.value, 6);
  assert_int_equal(atomic_load(&place.script.enters), 1);
  place_close(&place);
}

static void one_that_is_sent_can_be_cancelled(void **state)
{
  (void)state;
  struct later later;
  place_init(&place);
  place_open_with(&place, "0", "5");
  start(&later, "hang", false, PATIENCE_MS);
  wait_until(picture_of(place.manager).in_flight == 1 && atomic_load(&place.script.pushes) == 1);
  simple_cancel(place.manager, &later.async);
  wait_for(&later);
  assert_int_equal(later.told.status, CENOTE_CANCELLED);
  assert_int_equal(later.told.outcome.fate, CEN_FATE_ANSWERED);
  place_close(&place);
}

static void one_that_is_queued_can_be_cancelled(void **state)
{
  (void)state;
  struct later later;
  place_init(&place);
  place_open_with(&place, "0", "1");
  const cenote_lease lease = must_acquire(place.manager, "holder");
  start(&later, "insert", false, PATIENCE_MS);
  simple_cancel(place.manager, &later.async);
  wait_for(&later);
  assert_int_equal(later.told.status, CENOTE_CANCELLED);
  assert_int_equal(later.told.outcome.fate, CEN_FATE_NOT_RUN);
  must_release(lease);
  place_close(&place);
}

static void dispatch_until(_Atomic bool *over)
{
  const int64_t end = now_ms() + PATIENCE_MS;
  while (!atomic_load(over) && now_ms() < end) {
    struct pollfd slot = {.fd = cenote_pollfd(place.manager), .events = POLLIN};
    const int64_t until = cenote_next_deadline(place.manager);
    (void)poll(&slot, 1, until < 0 || until > 100 ? 100 : (int)until);
    must(cenote_dispatch(place.manager, NULL), NULL);
  }
  assert_true(atomic_load(over));
}

/* What hangs was sent, and its time was over then: with more time, where a machine that stood still
 * let it pass before. */
static void hang_too_long(struct later *later, bool read_only)
{
  uint64_t before;
  int64_t ms = 30;
  do {
    before = started(&place, CENOTE_REQUEST_EXECUTE);
    start(later, "hang", read_only, ms);
    if (place.options.external_loop) {
      dispatch_until(&later->over);
    } else {
      wait_for(later);
    }
    ms *= 2;
  } while (started(&place, CENOTE_REQUEST_EXECUTE) == before && ms < PATIENCE_MS);
}

static void deadlines_are_kept(void **state)
{
  (void)state;
  struct later sent, queued;
  place_init(&place);
  place_open_with(&place, "0", "1");
  hang_too_long(&sent, false);
  assert_int_equal(sent.told.status, CENOTE_STATEMENT_TIMEOUT);
  const cenote_lease lease = must_acquire(place.manager, "holder");
  start(&queued, "insert", false, 30);
  wait_for(&queued);
  assert_int_equal(queued.told.status, CENOTE_TIMEOUT);
  assert_int_equal(queued.told.outcome.fate, CEN_FATE_NOT_RUN);
  must_release(lease);
  place_close(&place);
}

static void a_close_delivers_what_is_left(void **state)
{
  (void)state;
  static struct later later[20];
  place_init(&place);
  place_set(&place, "shutdown_timeout_ms", "0");
  place_open_with(&place, "0", "2");
  for (int i = 0; i < 20; i++) {
    start(&later[i], i % 2 == 0 ? "hang" : "SELECT 1", i % 4 != 0, PATIENCE_MS);
  }
  place_close(&place);
  for (int i = 0; i < 20; i++) {
    assert_true(atomic_load(&later[i].over));
    assert_int_equal(later[i].times, 1);
  }
}

static void a_hosts_loop_drives_all_of_it(void **state)
{
  (void)state;
  struct later later[3];
  place_init(&place);
  place.options.external_loop = true;
  place_open_with(&place, "0", "2");
  start(&later[0], "SELECT 1", true, PATIENCE_MS);
  start(&later[1], "sleep 20", false, PATIENCE_MS);
  assert_int_equal(atomic_load(&place.script.pushes), 0); /* nothing happens outside the loop */
  for (int i = 0; i < 2; i++) {
    dispatch_until(&later[i].over);
  }
  hang_too_long(&later[2], true);
  assert_int_equal(later[0].told.value, 1);
  must(later[1].told.status, &later[1].told.error);
  assert_int_equal(later[2].told.status, CENOTE_STATEMENT_TIMEOUT);
  const struct told told = read_for(place.manager, "SELECT 1");
  assert_int_equal(told.status, CENOTE_INVALID);
  place_close(&place);
}

static struct later again[5];
static _Atomic int asked_again;
static _Atomic bool refused;

static void ask_again(struct simple_async *async, cenote_status status, cenote_result *result,
                      const struct simple_outcome *outcome, const cenote_error *error)
{
  is_done(async, status, result, outcome, error);
  if (read_for(place.manager, "SELECT 1").status == CENOTE_INVALID) {
    atomic_store(&refused, true); /* it would wait for this very thread */
  }
  const int next = atomic_fetch_add(&asked_again, 1) + 1;
  if (next < 5) {
    again[next].async.request = request_for("SELECT 3", next % 2 == 0, PATIENCE_MS);
    again[next].async.done = ask_again;
    must(simple_start(place.manager, &again[next].async, NULL), NULL);
    atomic_store(&again[next].started, true);
  }
}

static void a_callback_may_ask_again_but_not_wait(void **state)
{
  (void)state;
  place_init(&place);
  place_open_with(&place, "0", "3");
  again[0].async.request = request_for("SELECT 3", true, PATIENCE_MS);
  again[0].async.done = ask_again;
  must(simple_start(place.manager, &again[0].async, NULL), NULL);
  wait_until(atomic_load(&asked_again) == 5 && atomic_load(&again[4].over));
  assert_true(atomic_load(&refused));
  for (int i = 0; i < 5; i++) {
    assert_int_equal(again[i].told.value, 3);
  }
  place_close(&place);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      TEST(answers_come_on_the_managers_thread),
      TEST(callers_that_block_and_those_that_do_not_share),
      TEST(one_that_is_sent_can_be_cancelled),
      TEST(one_that_is_queued_can_be_cancelled),
      TEST(deadlines_are_kept),
      TEST(a_close_delivers_what_is_left),
      TEST(a_hosts_loop_drives_all_of_it),
      TEST(a_callback_may_ask_again_but_not_wait),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
