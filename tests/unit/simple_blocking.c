/* What a caller of the simple path that blocks gets, on the fake driver. */
#include "unit/simple_help.h"

static struct place place;

static void open_place(const char *maximum)
{
  place_set(&place, "cancel_timeout_ms", "20000");
  place_open_with(&place, "0", maximum);
}

/* Where the database does not heed a cancel, it is cut off soon. */
static void open_impatient(const char *maximum)
{
  place_set(&place, "cancel_timeout_ms", "100");
  place_open_with(&place, "0", maximum);
}

/* What hangs was sent, and its time was over then: with more time, where a machine that stood still
 * let it pass before. */
static struct told hang_too_long(bool read_only)
{
  struct told told;
  uint64_t before;
  int64_t ms = 40;
  do {
    before = started(&place, CENOTE_REQUEST_EXECUTE);
    told = ask(place.manager, "hang", read_only, ms);
    ms *= 2;
  } while (started(&place, CENOTE_REQUEST_EXECUTE) == before && ms < PATIENCE_MS);
  return told;
}

static uint64_t count_of(const _Atomic uint64_t *counter)
{
  return atomic_load(counter);
}

static void a_single_caller_uses_one_connection(void **state)
{
  (void)state;
  place_init(&place);
  open_place("5");
  for (int i = 0; i < 20; i++) {
    must_say(place.manager, true, i);
  }
  assert_int_equal(count_of(&place.script.enters), 1);
  assert_int_equal(count_of(&place.script.pushes), 20);
  assert_int_equal(count_of(&place.script.opened), 1);
  assert_int_equal(place.script.most_in_flight, 1);
  books_agree(place.manager);
  place_close(&place);
}

static void reads_go_to_a_session_that_refuses_to_write(void **state)
{
  (void)state;
  place_init(&place);
  open_place("5");
  must_say(place.manager, true, 1);
  assert_int_equal(count_of(&place.script.read_only_enters), 1);
  must_say(place.manager, false, 2);
  assert_int_equal(count_of(&place.script.read_only_enters), 1);
  assert_int_equal(count_of(&place.script.enters), 2);
  const struct told refused = read_for(place.manager, "insert");
  assert_int_equal(refused.status, CENOTE_DATABASE);
  assert_true(refused.outcome.read_only_refused);
  assert_int_equal(refused.outcome.fate, CEN_FATE_ANSWERED);
  const struct told written = write_for(place.manager, "insert");
  must(written.status, &written.error);
  assert_false(written.outcome.read_only_refused);
  place_close(&place);
}

static void an_error_is_for_its_own_caller(void **state)
{
  (void)state;
  place_init(&place);
  open_place("5");
  must_say(place.manager, true, 1);
  struct asker slow, wrong, good;
  asker_start(&slow, place.manager, "wait 1", true, PATIENCE_MS);
  wait_until(picture_of(place.manager).in_flight == 1);
  asker_start(&wrong, place.manager, "error 22012", true, PATIENCE_MS);
  asker_start(&good, place.manager, "SELECT 7", true, PATIENCE_MS);
  pause_ms(50);
  fake_let_go(&place.script, 1);
  must(asker_end(&good)->status, &good.told.error);
  assert_int_equal(good.told.value, 7);
  assert_int_equal(asker_end(&wrong)->status, CENOTE_DATABASE);
  assert_string_equal(wrong.told.error.sqlstate, "22012");
  assert_int_equal(wrong.told.outcome.fate, CEN_FATE_ANSWERED);
  must(asker_end(&slow)->status, &slow.told.error);
  books_agree(place.manager);
  place_close(&place);
}

static void a_statement_of_its_own_time_is_cancelled(void **state)
{
  (void)state;
  place_init(&place);
  place_set(&place, "statement_timeout_ms", "200");
  open_place("5");
  must_say(place.manager, true, 1);
  const struct told hangs = read_for(place.manager, "hang");
  assert_int_equal(hangs.status, CENOTE_STATEMENT_TIMEOUT);
  assert_int_equal(hangs.outcome.fate, CEN_FATE_ANSWERED);
  assert_int_equal(count_of(&place.script.cancels), 1);
  assert_int_equal(count_of(&place.script.aborts), 0);
  must_say(place.manager, true, 2);
  assert_int_equal(count_of(&place.script.opened), 1);
  place_close(&place);
}

static void a_deadline_stops_what_was_sent(void **state)
{
  (void)state;
  place_init(&place);
  open_place("5");
  const struct told hangs = hang_too_long(false);
  assert_int_equal(hangs.status, CENOTE_STATEMENT_TIMEOUT);
  assert_int_equal(hangs.outcome.fate, CEN_FATE_ANSWERED);
  must_say(place.manager, false, 2);
  place_close(&place);
}

static void what_does_not_stop_is_cut_off(void **state)
{
  (void)state;
  place_init(&place);
  place_set(&place, "statement_timeout_ms", "200");
  open_impatient("5");
  atomic_store(&place.script.deaf, true);
  const struct told read = read_for(place.manager, "hang");
  assert_int_equal(read.status, CENOTE_STATEMENT_TIMEOUT);
  assert_int_equal(read.outcome.fate, CEN_FATE_UNKNOWN);
  const struct told write = write_for(place.manager, "hang");
  assert_int_equal(write.status, CENOTE_OUTCOME_UNKNOWN);
  assert_int_equal(count_of(&place.script.aborts), 2);
  atomic_store(&place.script.deaf, false);
  must_say(place.manager, true, 2);
  place_close(&place);
}

struct hooked {
  _Atomic int before, after;
};

static bool count_hook(void *context, cenote_hook_kind kind, void *resource, const char *reason)
{
  struct hooked *hooked = context;
  (void)resource;
  (void)reason;
  atomic_fetch_add(&hooked->before, kind == CENOTE_HOOK_BEFORE_LEASE);
  atomic_fetch_add(&hooked->after, kind == CENOTE_HOOK_AFTER_RELEASE);
  return true;
}

static void a_hook_hears_the_end_of_each_shared_connection(void **state)
{
  (void)state;
  struct hooked hooked = {0};
  place_init(&place);
  place.options.hook = count_hook;
  place.options.hook_context = &hooked;
  place_set(&place, "statement_timeout_ms", "200");
  open_impatient("5");
  must_say(place.manager, true, 1);
  atomic_store(&place.script.deaf, true); /* it is cut off */
  assert_int_equal(read_for(place.manager, "hang").status, CENOTE_STATEMENT_TIMEOUT);
  atomic_store(&place.script.deaf, false);
  must_say(place.manager, true, 2);
  atomic_store(&place.script.enter_status, CENOTE_UNSUPPORTED);
  assert_int_equal(write_for(place.manager, "SELECT 1").status, CENOTE_UNSUPPORTED);
  place_close(&place);
  assert_true(hooked.before >= 3);
  assert_int_equal(hooked.before, hooked.after);
}

static void a_neighbour_that_a_cancel_hit_runs_again(void **state)
{
  (void)state;
  place_init(&place);
  place_set(&place, "simple_slow_ms", "60000");
  open_place("1");
  /* The cancel travels for long: what it was meant for is over by then, and a write is the oldest. */
  atomic_store(&place.script.cancel_lag_ns, 600000 * CEN_NS_PER_MS);
  must_say(place.manager, false, 1);
  struct asker first, second;
  asker_start(&first, place.manager, "wait 1", false, 400);
  wait_until(picture_of(place.manager).in_flight == 1);
  asker_start(&second, place.manager, "wait 2", false, PATIENCE_MS);
  wait_until(count_of(&place.script.cancels) == 1);
  assert_int_equal(picture_of(place.manager).in_flight, 2);
  fake_let_go(&place.script, 1);
  must(asker_end(&first)->status, &first.told.error); /* it was faster than the cancel */
  fake_hasten_cancels(&place.script);
  wait_until(count_of(&place.script.pushes) == 4);
  fake_let_go(&place.script, 2);
  must(asker_end(&second)->status, &second.told.error);
  assert_int_equal(picture_of(place.manager).counters.reruns, 1);
  assert_int_equal(count_of(&place.script.pushes), 4);
  struct simple_figures figures;
  simple_look(place.manager, &figures);
  assert_int_equal(figures.reruns, 1);
  place_close(&place);
}

static void a_slow_statement_does_not_hold_up_others(void **state)
{
  (void)state;
  place_init(&place);
  open_place("5");
  must_say(place.manager, true, 1);
  struct asker slow;
  asker_start(&slow, place.manager, "hang", true, PATIENCE_MS);
  wait_until(count_of(&place.script.pushes) == 2);
  for (int i = 0; i < 5; i++) {
    must_say(place.manager, true, i);
    pause_ms(5);
  }
  assert_false(atomic_load(&slow.over));
  fake_kill_all(&place.script);
  assert_int_equal(asker_end(&slow)->status, CENOTE_CONNECTION_LOST);
  assert_int_equal(slow.told.outcome.fate, CEN_FATE_UNKNOWN);
  books_agree(place.manager);
  place_close(&place);
}

static void a_lost_write_is_of_unknown_outcome(void **state)
{
  (void)state;
  place_init(&place);
  open_place("5");
  const struct told write = write_for(place.manager, "lose");
  assert_int_equal(write.status, CENOTE_OUTCOME_UNKNOWN);
  assert_int_equal(write.outcome.fate, CEN_FATE_UNKNOWN);
  const struct told read = read_for(place.manager, "lose");
  assert_int_equal(read.status, CENOTE_CONNECTION_LOST);
  must_say(place.manager, false, 3);
  place_close(&place);
}

static void what_was_not_pushed_goes_elsewhere(void **state)
{
  (void)state;
  place_init(&place);
  open_place("5");
  must_say(place.manager, false, 1);
  atomic_store(&place.script.lose_before_push, 1);
  must_say(place.manager, false, 2);
  assert_int_equal(count_of(&place.script.opened), 2);
  place_close(&place);
}

static void a_dead_connection_is_found_before_a_write(void **state)
{
  (void)state;
  place_init(&place);
  place_set(&place, "check_after_ms", "1");
  open_place("5");
  must_say(place.manager, false, 1);
  pause_ms(20);
  atomic_store(&place.script.lose_before_answer, 1); /* the check's */
  must_say(place.manager, false, 2);
  assert_int_equal(count_of(&place.script.opened), 2);
  place_close(&place);
}

static void a_stale_plan_is_tried_again_twice(void **state)
{
  (void)state;
  place_init(&place);
  open_place("5");
  atomic_store(&place.script.repeats, 2);
  must_say(place.manager, false, 1);
  atomic_store(&place.script.repeats, 3);
  const struct told told = write_for(place.manager, "SELECT 2");
  assert_int_not_equal(told.status, CENOTE_OK);
  place_close(&place);
}

static void too_many_rows_are_an_error(void **state)
{
  (void)state;
  place_init(&place);
  place_set(&place, "max_result_rows", "5");
  open_place("5");
  atomic_store(&place.script.enough_ns, INT64_MAX); /* it ends only when it is cancelled */
  const struct told told = read_for(place.manager, "rows 50");
  assert_int_equal(told.status, CENOTE_TOO_LARGE);
  assert_int_equal(count_of(&place.script.cancels), 1);
  must_say(place.manager, true, 1);
  place_close(&place);
}

static void a_deadline_in_the_queue_means_not_run(void **state)
{
  (void)state;
  place_init(&place);
  open_place("1");
  const cenote_lease lease = must_acquire(place.manager, "holder");
  const struct told told = ask(place.manager, "insert", false, 30);
  assert_int_equal(told.status, CENOTE_TIMEOUT);
  assert_int_equal(told.outcome.fate, CEN_FATE_NOT_RUN);
  has_text(told.error.message, "acquire timeout");
  has_text(told.error.details, "holder");
  must_release(lease);
  must_say(place.manager, false, 1);
  place_close(&place);
}

static void a_full_queue_refuses(void **state)
{
  (void)state;
  place_init(&place);
  place_set(&place, "max_waiters", "2");
  place_set(&place, "simple_depth", "1");
  place_set(&place, "simple_connections", "1");
  place_set(&place, "simple_slow_ms", "60000");
  open_place("2");
  struct asker askers[3];
  for (int i = 0; i < 3; i++) {
    asker_start(&askers[i], place.manager, "wait 1", true, PATIENCE_MS);
    wait_until(picture_of(place.manager).in_flight + picture_of(place.manager).queued ==
               (uint32_t)i + 1);
    if (i == 0) {
      wait_until(picture_of(place.manager).in_flight == 1);
    }
  }
  const struct told told = read_for(place.manager, "SELECT 1");
  assert_int_equal(told.status, CENOTE_QUEUE_FULL);
  assert_int_equal(told.outcome.fate, CEN_FATE_NOT_RUN);
  fake_let_go(&place.script, 1);
  for (int i = 0; i < 3; i++) {
    must(asker_end(&askers[i])->status, &askers[i].told.error);
  }
  place_close(&place);
}

static void readers_writers_and_leases_take_turns(void **state)
{
  (void)state;
  place_init(&place);
  open_place("1");
  for (int i = 0; i < 5; i++) {
    must_say(place.manager, true, i);
    const cenote_lease lease = must_acquire(place.manager, "between");
    must_run(lease, "SELECT 1");
    must_release(lease);
    must_say(place.manager, false, i);
  }
  assert_int_equal(count_of(&place.script.opened), 1);
  place_close(&place);
}

static void shared_connections_are_nobodys_leases(void **state)
{
  (void)state;
  size_t count;
  place_init(&place);
  open_place("5");
  must_say(place.manager, true, 1);
  assert_int_equal(cenote_pool_leases(place.manager, NULL, 0, &count), CENOTE_OK);
  assert_int_equal(count, 0);
  struct simple_figures figures;
  simple_look(place.manager, &figures);
  assert_int_equal(figures.pipelines, 1);
  assert_int_equal(figures.grants, 1);
  const cenote_lease lease = must_acquire(place.manager, "mine");
  assert_int_equal(cenote_pool_leases(place.manager, NULL, 0, &count), CENOTE_OK);
  assert_int_equal(count, 1);
  must_release(lease);
  place_close(&place);
}

static void an_idle_connection_goes_back(void **state)
{
  (void)state;
  place_init(&place);
  open_place("5");
  must_say(place.manager, true, 1);
  assert_int_equal(picture_of(place.manager).live, 1);
  wait_until(picture_of(place.manager).live == 0);
  assert_int_equal(count_of(&place.script.leaves), 1);
  struct simple_figures figures;
  simple_look(place.manager, &figures);
  assert_int_equal(figures.releases, 1);
  place_close(&place);
}

static void a_flush_gives_it_back_at_once(void **state)
{
  (void)state;
  place_init(&place);
  open_place("5");
  must_say(place.manager, true, 1);
  must(cenote_flush(place.manager, NULL), NULL);
  wait_until(count_of(&place.script.closed) == 1);
  must_say(place.manager, true, 2);
  assert_int_equal(count_of(&place.script.opened), 2);
  place_close(&place);
}

static void what_does_not_pipeline_says_so(void **state)
{
  (void)state;
  place_init(&place);
  open_place("5");
  atomic_store(&place.script.enter_status, CENOTE_UNSUPPORTED);
  const struct told told = read_for(place.manager, "SELECT 1");
  assert_int_equal(told.status, CENOTE_UNSUPPORTED);
  assert_int_equal(told.outcome.fate, CEN_FATE_NOT_RUN);
  place_close(&place);
}

static void a_login_that_is_refused_is_told(void **state)
{
  (void)state;
  place_init(&place);
  open_place("5");
  fake_fail(&place.script, CENOTE_REQUEST_OPEN, CENOTE_AUTH, -1);
  const struct told told = read_for(place.manager, "SELECT 1");
  assert_int_equal(told.status, CENOTE_AUTH);
  assert_int_equal(told.outcome.fate, CEN_FATE_NOT_RUN);
  place_close(&place);
}

static void a_shutdown_lets_finish_what_was_sent(void **state)
{
  (void)state;
  place_init(&place);
  open_place("5");
  struct asker slow;
  asker_start(&slow, place.manager, "sleep 80", false, PATIENCE_MS);
  wait_until(count_of(&place.script.pushes) == 1);
  must(cenote_shutdown(place.manager, PATIENCE_MS, NULL), NULL);
  must(asker_end(&slow)->status, &slow.told.error);
  const struct told late = read_for(place.manager, "SELECT 1");
  assert_int_equal(late.status, CENOTE_SHUTTING_DOWN);
  assert_int_equal(late.outcome.fate, CEN_FATE_NOT_RUN);
  has_text(late.error.message, "shutting down");
  place_close(&place);
}

static void a_forced_shutdown_cuts_off(void **state)
{
  (void)state;
  place_init(&place);
  open_place("5");
  atomic_store(&place.script.deaf, true);
  struct asker reader, writer;
  asker_start(&reader, place.manager, "hang", true, PATIENCE_MS);
  asker_start(&writer, place.manager, "hang", false, PATIENCE_MS);
  wait_until(count_of(&place.script.pushes) == 2);
  (void)!cenote_shutdown(place.manager, 0, NULL);
  assert_int_equal(asker_end(&reader)->status, CENOTE_SHUTTING_DOWN);
  assert_int_equal(asker_end(&writer)->status, CENOTE_OUTCOME_UNKNOWN);
  place_close(&place);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      TEST(a_single_caller_uses_one_connection),
      TEST(reads_go_to_a_session_that_refuses_to_write),
      TEST(an_error_is_for_its_own_caller),
      TEST(a_statement_of_its_own_time_is_cancelled),
      TEST(a_deadline_stops_what_was_sent),
      TEST(what_does_not_stop_is_cut_off),
      TEST(a_hook_hears_the_end_of_each_shared_connection),
      TEST(a_neighbour_that_a_cancel_hit_runs_again),
      TEST(a_slow_statement_does_not_hold_up_others),
      TEST(a_lost_write_is_of_unknown_outcome),
      TEST(what_was_not_pushed_goes_elsewhere),
      TEST(a_dead_connection_is_found_before_a_write),
      TEST(a_stale_plan_is_tried_again_twice),
      TEST(too_many_rows_are_an_error),
      TEST(a_deadline_in_the_queue_means_not_run),
      TEST(a_full_queue_refuses),
      TEST(readers_writers_and_leases_take_turns),
      TEST(shared_connections_are_nobodys_leases),
      TEST(an_idle_connection_goes_back),
      TEST(a_flush_gives_it_back_at_once),
      TEST(what_does_not_pipeline_says_so),
      TEST(a_login_that_is_refused_is_told),
      TEST(a_shutdown_lets_finish_what_was_sent),
      TEST(a_forced_shutdown_cuts_off),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
