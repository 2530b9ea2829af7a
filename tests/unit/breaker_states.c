/* breaker_states.c - the circuit breaker with a clock of our own: when it opens, what it lets
 * through, how it recovers. */
#include "manager/breaker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define MS INT64_C(1000000)
#define SECOND (1000 * MS)

static const struct cen_breaker_limits usual = {
    .failures = 5,
    .most_at_once = 4,
    .window_ns = 10 * SECOND,
    .open_ns = SECOND,
    .open_max_ns = 30 * SECOND,
    .probe_ns = 6 * SECOND,
};
static struct cen_breaker breaker;
static struct cen_breaker_move moved;
static int64_t now;

static int begin_with(const struct cen_breaker_limits *limits)
{
  now = 1000 * SECOND;
  return cen_breaker_init(&breaker, limits, 7, now) == CENOTE_OK ? 0 : 1;
}

static int begin(void **state)
{
  (void)state;
  return begin_with(&usual);
}

static int end(void **state)
{
  (void)state;
  cen_breaker_deinit(&breaker);
  return 0;
}

static void begin_again(const struct cen_breaker_limits *limits)
{
  cen_breaker_deinit(&breaker);
  assert_int_equal(begin_with(limits), 0);
}

static cenote_breaker_state state_now(void)
{
  struct cen_breaker_view view;
  cen_breaker_look(&breaker, &view);
  return view.state;
}

static struct cen_breaker_view look(void)
{
  struct cen_breaker_view view;
  cen_breaker_look(&breaker, &view);
  return view;
}

static void go_wrong(void)
{
  cenote_error why = CENOTE_ERROR_INIT;
  why.status = CENOTE_CONNECT;
  memcpy(why.message, "connection refused", sizeof "connection refused");
  memcpy(why.sqlstate, "08006", 6);
  cen_breaker_bad(&breaker, &why, now, &moved);
}

static void succeed(void)
{
  cen_breaker_good(&breaker, now, &moved);
}

static enum cen_breaker_pass ask(void)
{
  return cen_breaker_admit(&breaker, now, &moved);
}

/* Five failures, one a second. */
static void fail_for_long(void)
{
  for (int i = 0; i < 5; i++) {
    now += SECOND;
    go_wrong();
  }
}

static void it_opens_at_the_fifth_failure_and_not_before(void **state)
{
  (void)state;
  for (int i = 0; i < 4; i++) {
    go_wrong();
    assert_false(moved.moved);
    assert_int_equal(ask(), CEN_BREAKER_PASS);
    now += SECOND;
  }
  go_wrong();
  assert_true(moved.moved);
  assert_int_equal(moved.from, CENOTE_BREAKER_CLOSED);
  assert_int_equal(moved.to, CENOTE_BREAKER_IS_OPEN);
  assert_int_equal(ask(), CEN_BREAKER_REFUSED);
  const struct cen_breaker_view view = look();
  assert_int_equal(view.opened, 1);
  assert_int_equal(view.opened_ns, now);
  assert_string_equal(view.why, "connection refused");
  assert_string_equal(view.sqlstate, "08006");
  assert_true(view.next_ns >= now + 750 * MS && view.next_ns <= now + 1250 * MS);
}

static void failures_older_than_the_window_do_not_count(void **state)
{
  (void)state;
  for (int i = 0; i < 100; i++) {
    go_wrong();
    now += 2600 * MS; /* never more than four within ten seconds */
    assert_int_equal(state_now(), CENOTE_BREAKER_CLOSED);
  }
  for (int i = 0; i < 5; i++) {
    now += 900 * MS;
    go_wrong();
  }
  assert_int_equal(state_now(), CENOTE_BREAKER_IS_OPEN);
}

static void it_stays_closed_while_less_than_half_fails(void **state)
{
  (void)state;
  for (int i = 0; i < 200; i++) {
    go_wrong();
    succeed();
    succeed();
    now += 100 * MS;
    assert_int_equal(state_now(), CENOTE_BREAKER_CLOSED);
  }
}

static void it_opens_when_half_fails(void **state)
{
  (void)state;
  int rounds = 0;
  while (state_now() == CENOTE_BREAKER_CLOSED && rounds < 1000) {
    succeed();
    go_wrong();
    now += 10 * MS;
    rounds++;
  }
  assert_in_range(rounds, 5, 110); /* in the second tenth of its window */
}

static void what_went_well_before_the_first_failure_does_not_hold_it_back(void **state)
{
  (void)state;
  for (int i = 0; i < 100000; i++) {
    succeed();
  }
  fail_for_long();
  assert_int_equal(state_now(), CENOTE_BREAKER_IS_OPEN);
}

static void a_burst_of_failures_counts_as_one_event(void **state)
{
  (void)state;
  for (int i = 0; i < 64; i++) {
    go_wrong();
    now += MS;
  }
  assert_int_equal(state_now(), CENOTE_BREAKER_CLOSED);
  for (int i = 0; i < 5; i++) { /* and the others go on working */
    now += SECOND;
    succeed();
    succeed();
  }
  go_wrong();
  assert_int_equal(state_now(), CENOTE_BREAKER_CLOSED);
}

static void a_burst_that_goes_on_opens_it(void **state)
{
  (void)state;
  for (int i = 0; i < 64; i++) {
    go_wrong();
  }
  now += SECOND;
  go_wrong();
  assert_int_equal(state_now(), CENOTE_BREAKER_IS_OPEN);
}

static void without_a_ceiling_a_burst_opens_it(void **state)
{
  (void)state;
  struct cen_breaker_limits login = usual;
  login.failures = 3;
  login.most_at_once = 0;
  begin_again(&login);
  go_wrong();
  go_wrong();
  assert_int_equal(state_now(), CENOTE_BREAKER_CLOSED);
  go_wrong();
  assert_int_equal(state_now(), CENOTE_BREAKER_IS_OPEN);
}

static void one_failure_is_enough_where_that_is_set(void **state)
{
  (void)state;
  struct cen_breaker_limits strict = usual;
  strict.failures = strict.most_at_once = 1;
  begin_again(&strict);
  go_wrong();
  assert_int_equal(state_now(), CENOTE_BREAKER_IS_OPEN);
}

static void with_a_limit_of_nought_it_never_opens(void **state)
{
  (void)state;
  struct cen_breaker_limits never = usual;
  never.failures = never.most_at_once = 0;
  begin_again(&never);
  for (int i = 0; i < 10000; i++) {
    go_wrong();
    now += 10 * MS;
    assert_int_equal(ask(), CEN_BREAKER_PASS);
  }
  assert_int_equal(look().opened, 0);
  assert_int_equal(cen_breaker_mode(&breaker), CEN_BREAKER_QUIET);
}

static void setting_nought_closes_an_open_one(void **state)
{
  (void)state;
  fail_for_long();
  struct cen_breaker_limits never = usual;
  never.failures = 0;
  cen_breaker_configure(&breaker, &never, now, &moved);
  assert_true(moved.moved);
  assert_int_equal(moved.to, CENOTE_BREAKER_CLOSED);
  assert_int_equal(ask(), CEN_BREAKER_PASS);
  cen_breaker_configure(&breaker, &usual, now, &moved);
  assert_false(moved.moved);
  fail_for_long();
  assert_int_equal(state_now(), CENOTE_BREAKER_IS_OPEN);
}

static void one_probe_goes_and_the_others_are_refused(void **state)
{
  (void)state;
  fail_for_long();
  now = look().next_ns - 1;
  assert_int_equal(ask(), CEN_BREAKER_REFUSED);
  now++;
  assert_int_equal(ask(), CEN_BREAKER_PROBE);
  assert_true(moved.moved);
  assert_int_equal(moved.to, CENOTE_BREAKER_HALF_OPEN);
  for (int i = 0; i < 10; i++) {
    assert_int_equal(ask(), CEN_BREAKER_REFUSED);
    assert_false(moved.moved);
  }
  succeed();
  assert_true(moved.moved);
  assert_int_equal(moved.from, CENOTE_BREAKER_HALF_OPEN);
  assert_int_equal(moved.to, CENOTE_BREAKER_CLOSED);
  assert_int_equal(ask(), CEN_BREAKER_PASS);
}

static void a_failed_probe_doubles_the_time_up_to_its_limit(void **state)
{
  (void)state;
  fail_for_long();
  int64_t expected = SECOND;
  for (int i = 0; i < 40; i++) {
    const int64_t pause = look().next_ns - now;
    assert_true(pause <= usual.open_max_ns);
    assert_true(pause >= expected / 4 * 3 && pause <= expected / 4 * 5);
    now = look().next_ns;
    assert_int_equal(ask(), CEN_BREAKER_PROBE);
    now += 10 * MS;
    go_wrong();
    assert_true(moved.moved);
    assert_int_equal(moved.to, CENOTE_BREAKER_IS_OPEN);
    expected = expected * 2 < usual.open_max_ns ? expected * 2 : usual.open_max_ns;
  }
  assert_int_equal(look().opened, 41);
  now = look().next_ns;
  assert_int_equal(ask(), CEN_BREAKER_PROBE);
  succeed();
  fail_for_long();
  assert_true(look().next_ns - now <= 1250 * MS); /* from the start again */
}

static void a_lost_probe_is_replaced(void **state)
{
  (void)state;
  fail_for_long();
  now = look().next_ns;
  assert_int_equal(ask(), CEN_BREAKER_PROBE);
  assert_int_equal(look().next_ns, now + usual.probe_ns);
  now += usual.probe_ns - 1;
  assert_int_equal(ask(), CEN_BREAKER_REFUSED);
  now++;
  assert_int_equal(ask(), CEN_BREAKER_PROBE);
  assert_int_equal(ask(), CEN_BREAKER_REFUSED);
}

static void callers_are_refused_until_a_probe_is_due(void **state)
{
  (void)state;
  assert_false(cen_breaker_refuses(&breaker, now));
  fail_for_long();
  now = look().next_ns - 1;
  assert_true(cen_breaker_refuses(&breaker, now));
  assert_int_equal(look().rejected, 1);
  now++;
  assert_false(cen_breaker_refuses(&breaker, now)); /* waits for the probe that goes now */
  assert_int_equal(state_now(), CENOTE_BREAKER_IS_OPEN);
  assert_int_equal(ask(), CEN_BREAKER_PROBE);
  assert_true(cen_breaker_refuses(&breaker, now));
  succeed();
  assert_false(cen_breaker_refuses(&breaker, now));
  assert_int_equal(look().rejected, 2);
}

static void a_failure_that_comes_late_changes_only_the_reason(void **state)
{
  (void)state;
  fail_for_long();
  const int64_t next = look().next_ns;
  cenote_error why = CENOTE_ERROR_INIT;
  memcpy(why.message, "later", sizeof "later");
  cen_breaker_bad(&breaker, &why, now, &moved);
  assert_false(moved.moved);
  assert_int_equal(look().next_ns, next);
  assert_string_equal(look().why, "later");
  assert_string_equal(look().sqlstate, "");
}

static void a_success_closes_it_whatever_its_state(void **state)
{
  (void)state;
  fail_for_long();
  succeed();
  assert_true(moved.moved);
  assert_int_equal(moved.from, CENOTE_BREAKER_IS_OPEN);
  assert_int_equal(moved.to, CENOTE_BREAKER_CLOSED);
  go_wrong();
  assert_int_equal(state_now(), CENOTE_BREAKER_CLOSED); /* what was before is forgotten */
}

static void after_a_window_without_failures_nothing_is_counted(void **state)
{
  (void)state;
  go_wrong();
  assert_int_equal(cen_breaker_mode(&breaker), CEN_BREAKER_ALERT);
  for (int i = 0; i < 200; i++) {
    now += 100 * MS;
    succeed();
  }
  assert_int_equal(cen_breaker_mode(&breaker), CEN_BREAKER_QUIET);
}

static void a_clock_that_is_a_little_behind_or_far_ahead_does_no_harm(void **state)
{
  (void)state;
  go_wrong();
  now -= 3 * SECOND; /* a thread that read it before */
  go_wrong();
  succeed();
  assert_int_equal(ask(), CEN_BREAKER_PASS);
  now += 3 * SECOND;
  fail_for_long();
  assert_int_equal(state_now(), CENOTE_BREAKER_IS_OPEN);
  now -= 3 * SECOND;
  assert_int_equal(ask(), CEN_BREAKER_REFUSED);
  now = INT64_MAX; /* the machine slept for ever */
  assert_int_equal(ask(), CEN_BREAKER_PROBE);
  go_wrong();
  assert_int_equal(ask(), CEN_BREAKER_PROBE); /* there is no later */
  succeed();
  go_wrong();
  succeed();
  assert_int_equal(state_now(), CENOTE_BREAKER_CLOSED);
}

static void a_long_reason_is_cut_between_characters(void **state)
{
  (void)state;
  static const char *const characters[] = {"\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x8c\x8a"};
  for (size_t size = 2; size <= 4; size++) {
    for (size_t before = 0; before < size; before++) {
      cenote_error why = CENOTE_ERROR_INIT;
      memset(why.message, 'a', before);
      for (size_t i = before; i + size < sizeof why.message; i += size) {
        memcpy(why.message + i, characters[size - 2], size);
      }
      cen_breaker_bad(&breaker, &why, now, &moved);
      const struct cen_breaker_view view = look();
      const size_t room = sizeof view.why - 1;
      assert_int_equal(strlen(view.why), room - (room - before) % size);
    }
  }
  cen_breaker_bad(&breaker, NULL, now, &moved);
  assert_string_equal(look().why, "");
}

static void states_have_names(void **state)
{
  (void)state;
  assert_string_equal(cenote_breaker_name(CENOTE_BREAKER_CLOSED), "closed");
  assert_string_equal(cenote_breaker_name(CENOTE_BREAKER_IS_OPEN), "open");
  assert_string_equal(cenote_breaker_name(CENOTE_BREAKER_HALF_OPEN), "half-open");
  assert_string_equal(cenote_breaker_name((cenote_breaker_state)99), "unknown");
}

/* -------------------------------------------------------------- random histories */

/* What is true at every step, whatever happens: a probe goes out only when its time has come and
 * no other is out; what moved is told; and the answer fits the state. */
static void ask_and_judge(void)
{
  const struct cen_breaker_view before = look();
  const enum cen_breaker_pass pass = ask();
  const struct cen_breaker_view after = look();
  if (before.state == CENOTE_BREAKER_CLOSED) {
    assert_int_equal(pass, CEN_BREAKER_PASS);
    assert_false(moved.moved);
  } else {
    assert_int_equal(pass, now >= before.next_ns ? CEN_BREAKER_PROBE : CEN_BREAKER_REFUSED);
  }
  assert_int_equal(cen_breaker_refuses(&breaker, now), after.state != CENOTE_BREAKER_CLOSED);
  assert_int_equal(moved.moved, before.state != after.state);
  assert_true(after.next_ns > now);
}

/* All failures of one history. */
struct book {
  int64_t at[1000];
  size_t count;
};

static size_t failures_within(const struct book *book, int64_t span)
{
  size_t found = 0;
  for (size_t i = 0; i < book->count; i++) {
    found += now - book->at[i] <= span;
  }
  return found;
}

static void report(struct cen_rng *rng, struct book *book, unsigned percent_bad)
{
  const struct cen_breaker_view before = look();
  const bool bad = cen_rng_below(rng, 100) < percent_bad;
  if (bad) {
    go_wrong();
    book->at[book->count++] = now;
  } else {
    succeed();
  }
  const struct cen_breaker_view after = look();
  assert_int_equal(moved.moved, before.state != after.state);
  if (!bad) {
    assert_int_not_equal(after.state, CENOTE_BREAKER_IS_OPEN);
  }
  if (before.state == CENOTE_BREAKER_CLOSED && after.state == CENOTE_BREAKER_IS_OPEN) {
    assert_true(failures_within(book, usual.window_ns) >= usual.failures);
  }
  if (before.state == CENOTE_BREAKER_HALF_OPEN) {
    assert_int_equal(after.state, bad ? CENOTE_BREAKER_IS_OPEN : CENOTE_BREAKER_CLOSED);
  }
}

/* However bad it was: once everything succeeds, it closes, within the longest time it may be open
 * and one lost probe. */
static void recover(void)
{
  const int64_t limit = now + usual.open_max_ns + usual.probe_ns + SECOND;
  while (state_now() != CENOTE_BREAKER_CLOSED) {
    assert_true(now < limit);
    if (ask() == CEN_BREAKER_PROBE) {
      succeed();
    }
    now += 10 * MS;
  }
}

static void random_histories_keep_the_rules_and_always_recover(void **state)
{
  (void)state;
  static struct book book;
  for (uint64_t seed = 1; seed <= 300; seed++) {
    struct cen_rng rng;
    cen_rng_seed(&rng, seed);
    begin_again(&usual);
    book.count = 0;
    const unsigned percent_bad = (unsigned)cen_rng_below(&rng, 101);
    for (size_t step = 0; step < 1000; step++) {
      now += (int64_t)cen_rng_below(&rng, 400) * MS;
      switch (cen_rng_below(&rng, 20)) {
      case 0:
        now -= (int64_t)cen_rng_below(&rng, 50) * MS;
        break;
      case 1:
        now += (int64_t)cen_rng_below(&rng, 30) * SECOND;
        break;
      default:
        break;
      }
      if (cen_rng_below(&rng, 2) == 0) {
        ask_and_judge();
      } else {
        report(&rng, &book, percent_bad);
      }
    }
    recover();
  }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
  const struct CMUnitTest tests[] = {
      TEST(it_opens_at_the_fifth_failure_and_not_before),
      TEST(failures_older_than_the_window_do_not_count),
      TEST(it_stays_closed_while_less_than_half_fails),
      TEST(it_opens_when_half_fails),
      TEST(what_went_well_before_the_first_failure_does_not_hold_it_back),
      TEST(a_burst_of_failures_counts_as_one_event),
      TEST(a_burst_that_goes_on_opens_it),
      TEST(without_a_ceiling_a_burst_opens_it),
      TEST(one_failure_is_enough_where_that_is_set),
      TEST(with_a_limit_of_nought_it_never_opens),
      TEST(setting_nought_closes_an_open_one),
      TEST(one_probe_goes_and_the_others_are_refused),
      TEST(a_failed_probe_doubles_the_time_up_to_its_limit),
      TEST(a_lost_probe_is_replaced),
      TEST(callers_are_refused_until_a_probe_is_due),
      TEST(a_failure_that_comes_late_changes_only_the_reason),
      TEST(a_success_closes_it_whatever_its_state),
      TEST(after_a_window_without_failures_nothing_is_counted),
      TEST(a_clock_that_is_a_little_behind_or_far_ahead_does_no_harm),
      TEST(a_long_reason_is_cut_between_characters),
      TEST(states_have_names),
      TEST(random_histories_keep_the_rules_and_always_recover),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
