/* net_clock.c - deadlines, poll's milliseconds, and threads that sleep on a word. */
#include "net/clock.h"
#include "net/park.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

static void the_clocks_never_run_backwards(void **state)
{
  (void)state;
  int64_t before = cen_now_ns();
  for (int i = 0; i < 10000; i++) {
    int64_t coarse = cen_now_coarse_ns();
    int64_t now = cen_now_ns();
    assert_true(coarse <= now);
    assert_true(now >= before);
    before = now;
  }
  assert_true(cen_wall_ms() > INT64_C(1500000000000));
}

static void a_deadline_saturates_at_never(void **state)
{
  (void)state;
  assert_int_equal(cen_deadline_ns(5, 0), 5);
  assert_int_equal(cen_deadline_ns(5, 2), 2000005);
  assert_true(cen_deadline_ns(5, -1) == CEN_NEVER);
  assert_true(cen_deadline_ns(5, INT64_MIN) == CEN_NEVER);
  assert_true(cen_deadline_ns(5, INT64_MAX) == CEN_NEVER);
  const int64_t most = CEN_NEVER / CEN_NS_PER_MS;
  assert_true(cen_deadline_ns(0, most) == most * CEN_NS_PER_MS);
  assert_true(cen_deadline_ns(0, most + 1) == CEN_NEVER);
  assert_true(cen_deadline_ns(CEN_NEVER - 1000000, 1) == CEN_NEVER);
  assert_true(cen_deadline_ns(CEN_NEVER - 999999, 1) == CEN_NEVER);
  assert_true(cen_deadline_ns(CEN_NEVER - 1000001, 1) == CEN_NEVER - 1);
}

static void polls_time_is_rounded_up_and_bounded(void **state)
{
  (void)state;
  assert_int_equal(cen_poll_timeout_ms(10, CEN_NEVER), -1);
  assert_int_equal(cen_poll_timeout_ms(10, 10), 0);
  assert_int_equal(cen_poll_timeout_ms(10, 9), 0);
  assert_int_equal(cen_poll_timeout_ms(10, INT64_MIN), 0);
  assert_int_equal(cen_poll_timeout_ms(10, 11), 1);
  assert_int_equal(cen_poll_timeout_ms(0, 1000000), 1);
  assert_int_equal(cen_poll_timeout_ms(0, 1000001), 2);
  assert_int_equal(cen_poll_timeout_ms(0, CEN_NEVER - 1), INT_MAX);
  assert_int_equal(cen_poll_timeout_ms(INT64_MIN, CEN_NEVER - 1), INT_MAX);
}

static void a_word_that_changed_already_puts_nobody_to_sleep(void **state)
{
  (void)state;
  _Atomic uint32_t word = 1;
  errno = ENOENT;
  assert_true(cen_park(&word, 0, CEN_NEVER));
  assert_int_equal(errno, ENOENT);
}

static void a_sleeper_gives_up_at_its_deadline_not_before(void **state)
{
  (void)state;
  _Atomic uint32_t word = 0;
  assert_false(cen_park(&word, 0, 0));
  assert_false(cen_park(&word, 0, -5));
  int64_t deadline = cen_now_ns() + 5 * CEN_NS_PER_MS;
  while (cen_park(&word, 0, deadline)) {
  }
  assert_true(cen_now_ns() >= deadline);
}

static void a_wake_for_a_word_that_is_gone_is_harmless(void **state)
{
  (void)state;
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  void *memory = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  assert_true(memory != MAP_FAILED);
  munmap(memory, page);
  errno = 0;
  cen_unpark(memory);
  assert_int_equal(errno, 0);
}

struct relay {
  _Atomic uint32_t turn;
  uint32_t passed; /* guarded by the turn */
};

enum { RELAY_ROUNDS = 300 };

static void *relay_runner(void *argument)
{
  struct relay *relay = argument;
  for (int i = 0; i < RELAY_ROUNDS; i++) {
    while (atomic_load(&relay->turn) != 1) {
      assert_true(cen_park(&relay->turn, 0, cen_now_ns() + 60000 * CEN_NS_PER_MS));
    }
    relay->passed++;
    atomic_store(&relay->turn, 0);
    cen_unpark(&relay->turn);
  }
  return NULL;
}

static void two_threads_take_turns_without_losing_a_wake(void **state)
{
  (void)state;
  struct relay relay = {0};
  pthread_t thread;
  assert_int_equal(pthread_create(&thread, NULL, relay_runner, &relay), 0);
  for (int i = 0; i < RELAY_ROUNDS; i++) {
    assert_int_equal(relay.passed, i);
    atomic_store(&relay.turn, 1);
    cen_unpark(&relay.turn);
    while (atomic_load(&relay.turn) != 0) {
      assert_true(cen_park(&relay.turn, 1, cen_now_ns() + 60000 * CEN_NS_PER_MS));
    }
  }
  pthread_join(thread, NULL);
  assert_int_equal(relay.passed, RELAY_ROUNDS);
}

static void *sleep_until_one(void *argument)
{
  struct relay *relay = argument;
  while (atomic_load(&relay->turn) == 0) {
    assert_true(cen_park(&relay->turn, 0, cen_now_ns() + 60000 * CEN_NS_PER_MS));
  }
  return NULL;
}

static void each_wake_wakes_a_sleeper(void **state)
{
  (void)state;
  enum { SLEEPERS = 4 };
  struct relay relay = {0};
  pthread_t threads[SLEEPERS];
  for (int i = 0; i < SLEEPERS; i++) {
    assert_int_equal(pthread_create(&threads[i], NULL, sleep_until_one, &relay), 0);
  }
  usleep(20000);
  atomic_store(&relay.turn, 1);
  for (int i = 0; i < SLEEPERS; i++) {
    cen_unpark(&relay.turn);
  }
  for (int i = 0; i < SLEEPERS; i++) {
    pthread_join(threads[i], NULL);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_clocks_never_run_backwards),
      cmocka_unit_test(a_deadline_saturates_at_never),
      cmocka_unit_test(polls_time_is_rounded_up_and_bounded),
      cmocka_unit_test(a_word_that_changed_already_puts_nobody_to_sleep),
      cmocka_unit_test(a_sleeper_gives_up_at_its_deadline_not_before),
      cmocka_unit_test(a_wake_for_a_word_that_is_gone_is_harmless),
      cmocka_unit_test(two_threads_take_turns_without_losing_a_wake),
      cmocka_unit_test(each_wake_wakes_a_sleeper),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
