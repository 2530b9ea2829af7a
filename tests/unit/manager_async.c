/* manager_async.c - acquires that do not block: on the manager's own thread, and driven by a loop
 * of the host's. */
#include "manager_help.h"

#include <cenote/loop.h>

#include <dirent.h>
#include <poll.h>
#include <unistd.h>

/* One asynchronous acquire: what came back, and how often. */
struct ask {
  struct place *place;
  _Atomic int calls;
  _Atomic int status;
  cenote_lease lease;
  cenote_ticket ticket;
  pthread_t thread;
  char message[512];
  bool release; /* from the callback */
  struct ask *then;
};

static void answered(void *context, cenote_status status, cenote_lease lease,
                     const cenote_error *error);

static cenote_status ask_for(struct ask *ask, struct place *place, int64_t timeout_ms)
{
  ask->place = place;
  return cenote_acquire_async(place->manager, "asked", timeout_ms, answered, ask, &ask->ticket,
                              &place->error);
}

static void answered(void *context, cenote_status status, cenote_lease lease,
                     const cenote_error *error)
{
  struct ask *ask = context;
  ask->lease = lease;
  ask->thread = pthread_self();
  snprintf(ask->message, sizeof ask->message, "%s", error->message);
  atomic_store(&ask->status, (int)status);
  if (status == CENOTE_OK && ask->release) {
    (void)cenote_release(lease);
  }
  if (ask->then != NULL) {
    (void)ask_for(ask->then, ask->place, PATIENCE_MS);
  }
  atomic_fetch_add(&ask->calls, 1);
}

static void a_lease_comes_by_callback_on_the_managers_thread(void **state)
{
  (void)state;
  struct place place;
  struct ask ask = {0};
  place_init(&place);
  place_open_with(&place, "0", "1");
  must(ask_for(&ask, &place, PATIENCE_MS), &place.error);
  assert_true(ask.ticket.number != 0);
  wait_until(ask.calls == 1);
  assert_int_equal(ask.status, CENOTE_OK);
  assert_false(pthread_equal(ask.thread, pthread_self()));
  assert_int_equal(must_read(ask.lease, "SELECT 8"), 8);
  assert_int_equal(cenote_cancel_acquire(ask.ticket), CENOTE_STALE);
  must_release(ask.lease);
  pause_ms(20);
  assert_int_equal(ask.calls, 1);
  place_close(&place);
}

static void an_asynchronous_acquire_times_out(void **state)
{
  (void)state;
  struct place place;
  struct ask now = {0}, soon = {0};
  place_init(&place);
  place_open_with(&place, "0", "1");
  cenote_lease lease = must_acquire(place.manager, "holder");
  must(ask_for(&now, &place, 0), &place.error);
  must(ask_for(&soon, &place, 50), &place.error);
  wait_until(now.calls == 1 && soon.calls == 1);
  assert_int_equal(now.status, CENOTE_TIMEOUT);
  assert_int_equal(soon.status, CENOTE_TIMEOUT);
  has_text(soon.message, "timeout");
  assert_int_equal(soon.lease.generation, 0);
  must_release(lease);
  place_close(&place);
}

static void a_cancelled_acquire_calls_back_once_as_cancelled(void **state)
{
  (void)state;
  struct place place;
  struct ask ask = {0}, next = {0};
  place_init(&place);
  place_open_with(&place, "0", "1");
  cenote_lease lease = must_acquire(place.manager, "holder");
  must(ask_for(&ask, &place, PATIENCE_MS), &place.error);
  must(ask_for(&next, &place, PATIENCE_MS), &place.error);
  assert_int_equal(cenote_cancel_acquire(ask.ticket), CENOTE_OK);
  (void)cenote_cancel_acquire(ask.ticket);
  wait_until(ask.calls == 1);
  assert_int_equal(ask.status, CENOTE_CANCELLED);
  must_release(lease);
  wait_until(next.calls == 1);
  assert_int_equal(next.status, CENOTE_OK);
  must_release(next.lease);
  assert_int_equal(ask.calls, 1);
  assert_int_equal(statistics_of(place.manager).acquire_cancelled, 1);
  place_close(&place);
}

static void a_ticket_of_a_closed_manager_cancels_nothing(void **state)
{
  (void)state;
  struct place old, place;
  struct ask first = {.release = true}, second = {0};
  place_init(&old);
  place_open_with(&old, "0", "1");
  must(ask_for(&first, &old, PATIENCE_MS), &old.error);
  wait_until(first.calls == 1);
  place_close(&old);
  assert_int_equal(cenote_cancel_acquire(first.ticket), CENOTE_STALE);
  place_init(&place);
  place_open_with(&place, "0", "1");
  cenote_lease lease = must_acquire(place.manager, "holder");
  must(ask_for(&second, &place, PATIENCE_MS), &place.error);
  assert_int_equal(second.ticket.manager, first.ticket.manager);
  assert_int_equal(cenote_cancel_acquire(first.ticket), CENOTE_STALE);
  const cenote_ticket invented[] = {{0, 0, 1},
                                    {UINT32_MAX, 0, 1},
                                    {second.ticket.manager, 0, 0},
                                    {second.ticket.manager, 0, UINT64_MAX},
                                    {1024, 0, 1}};
  for (size_t i = 0; i < sizeof invented / sizeof *invented; i++) {
    assert_int_equal(cenote_cancel_acquire(invented[i]), CENOTE_STALE);
  }
  must_release(lease);
  wait_until(second.calls == 1);
  assert_int_equal(second.status, CENOTE_OK);
  must_release(second.lease);
  place_close(&place);
}

static void shutdown_answers_every_asynchronous_acquire(void **state)
{
  (void)state;
  enum { ASKS = 200 };
  struct place place;
  static struct ask asks[ASKS];
  memset(asks, 0, sizeof asks);
  place_init(&place);
  place_open_with(&place, "0", "1");
  cenote_lease lease = must_acquire(place.manager, "holder");
  for (int i = 0; i < ASKS; i++) {
    must(ask_for(&asks[i], &place, PATIENCE_MS), &place.error);
  }
  expect(CENOTE_TIMEOUT, cenote_shutdown(place.manager, 20, &place.error), &place.error);
  assert_int_equal(cenote_release(lease), CENOTE_SHUTTING_DOWN);
  place_close(&place);
  for (int i = 0; i < ASKS; i++) {
    assert_int_equal(asks[i].calls, 1);
    assert_int_equal(asks[i].status, CENOTE_SHUTTING_DOWN);
    has_no_text(asks[i].message, "timeout");
  }
}

static void an_acquire_just_before_the_close_is_answered_all_the_same(void **state)
{
  (void)state;
  enum { ROUNDS = 30 };
  for (int i = 0; i < ROUNDS; i++) {
    struct place place;
    struct ask ask = {.release = true}, then = {0};
    ask.then = &then;
    place_init(&place);
    place_open_with(&place, "0", "1");
    if (i % 2 == 0) {
      must(cenote_shutdown(place.manager, PATIENCE_MS, &place.error), &place.error);
    }
    const cenote_status status = ask_for(&ask, &place, PATIENCE_MS);
    place_close(&place);
    assert_int_equal(ask.calls, status == CENOTE_OK ? 1 : 0);
    assert_true(then.ticket.number == 0 || then.calls == 1);
  }
}

static void a_callback_may_ask_again(void **state)
{
  (void)state;
  enum { LINKS = 50 };
  struct place place;
  static struct ask asks[LINKS];
  memset(asks, 0, sizeof asks);
  place_init(&place);
  place_open_with(&place, "0", "1");
  for (int i = 0; i < LINKS; i++) {
    asks[i].release = true;
    asks[i].then = i + 1 < LINKS ? &asks[i + 1] : NULL;
  }
  must(ask_for(&asks[0], &place, PATIENCE_MS), &place.error);
  wait_until(asks[LINKS - 1].calls == 1);
  for (int i = 0; i < LINKS; i++) {
    assert_int_equal(asks[i].calls, 1);
    assert_int_equal(asks[i].status, CENOTE_OK);
  }
  place_close(&place);
}

static void many_asynchronous_acquires_share_few_connections(void **state)
{
  (void)state;
  enum { ASKS = 500 };
  struct place place;
  static struct ask asks[ASKS];
  memset(asks, 0, sizeof asks);
  place_init(&place);
  place_open_with(&place, "0", "3");
  for (int i = 0; i < ASKS; i++) {
    asks[i].release = true;
    must(ask_for(&asks[i], &place, PATIENCE_MS), &place.error);
  }
  for (int i = 0; i < ASKS; i++) {
    wait_until(asks[i].calls == 1);
    assert_int_equal(asks[i].status, CENOTE_OK);
  }
  assert_in_range(place.script.open_most, 1, 3);
  const cenote_statistics now = statistics_of(place.manager);
  assert_int_equal(now.leases_granted, ASKS);
  assert_int_equal(now.leases_released, ASKS);
  assert_int_equal(now.active_leases, 0);
  place_close(&place);
}

static void a_dead_idle_connection_is_replaced_before_the_callback(void **state)
{
  (void)state;
  struct place place;
  struct ask ask = {0};
  place_init(&place);
  place_set(&place, "check_after_ms", "200");
  place_open_with(&place, "0", "2");
  must_release(must_acquire(place.manager, "warm"));
  pause_ms(500);
  fake_kill_all(&place.script);
  must(ask_for(&ask, &place, PATIENCE_MS), &place.error);
  wait_until(ask.calls == 1);
  assert_int_equal(ask.status, CENOTE_OK);
  assert_int_equal(must_read(ask.lease, "who"), 2);
  must_release(ask.lease);
  const cenote_statistics now = statistics_of(place.manager);
  assert_true(now.checks >= now.check_failures && now.check_failures == 1);
  place_close(&place);
}

static void a_check_that_hangs_does_not_outlast_an_asynchronous_acquires_time(void **state)
{
  (void)state;
  struct place place;
  struct ask ask = {0};
  place_init(&place);
  place_set(&place, "check_after_ms", "100");
  place_set(&place, "connect_timeout_ms", "600000");
  place_open_with(&place, "0", "1");
  must_release(must_acquire(place.manager, "warm"));
  pause_ms(300);
  place.script.hang[CENOTE_REQUEST_CHECK] = true;
  place.script.hang[CENOTE_REQUEST_OPEN] = true;
  must(ask_for(&ask, &place, 100), &place.error);
  wait_until(ask.calls == 1);
  assert_int_equal(ask.status, CENOTE_TIMEOUT);
  place_close(&place);
}

/* ------------------------------------------------------------------- the host's loop */

/* Runs the host's loop until the condition holds. */
#define drive_until(place, condition)                                                    \
  do {                                                                                   \
    const int64_t drive_end = now_ms() + PATIENCE_MS;                                    \
    while (!(condition)) {                                                               \
      struct pollfd watched = {.fd = cenote_pollfd((place)->manager), .events = POLLIN}; \
      int64_t wait = cenote_next_deadline((place)->manager);                             \
      wait = wait < 0 || wait > 1000 ? 1000 : wait;                                      \
      (void)poll(&watched, 1, (int)wait);                                                \
      must(cenote_dispatch((place)->manager, &(place)->error), &(place)->error);         \
      if (now_ms() > drive_end) {                                                        \
        fail_msg("never: %s", #condition);                                               \
      }                                                                                  \
    }                                                                                    \
  } while (0)

static int count_threads(void)
{
  int count = 0;
  DIR *tasks = opendir("/proc/self/task");
  assert_non_null(tasks);
  for (struct dirent *entry; (entry = readdir(tasks)) != NULL;) {
    count += entry->d_name[0] != '.';
  }
  closedir(tasks);
  return count;
}

static void external_place(struct place *place, const char *minimum, const char *maximum)
{
  place_init(place);
  place->options.external_loop = true;
  place_open_with(place, minimum, maximum);
}

static void a_host_loop_needs_no_thread_of_ours(void **state)
{
  (void)state;
  struct place place;
  const int before = count_threads();
  struct ask ask = {0};
  external_place(&place, "1", "2");
  const int fd = cenote_pollfd(place.manager);
  assert_true(fd >= 0);
  assert_int_equal(place.script.created, 0);
  assert_int_equal(cenote_next_deadline(place.manager), 0); /* the minimum wants to be filled */
  drive_until(&place, place.script.opened == 1);
  must(ask_for(&ask, &place, PATIENCE_MS), &place.error);
  assert_int_equal(ask.calls, 0); /* never before it returns */
  drive_until(&place, ask.calls == 1);
  assert_int_equal(ask.status, CENOTE_OK);
  assert_true(pthread_equal(ask.thread, pthread_self()));
  assert_int_equal(must_read(ask.lease, "SELECT 2"), 2);
  must_release(ask.lease);
  assert_int_equal(count_threads(), before);
  assert_int_equal(cenote_pollfd(place.manager), fd);
  place_close(&place);
  assert_int_equal(count_threads(), before);
}

static void the_loops_calls_are_refused_without_one(void **state)
{
  (void)state;
  struct place place;
  place_init(&place);
  place_open_with(&place, "0", "1");
  assert_int_equal(cenote_pollfd(place.manager), -1);
  assert_int_equal(cenote_next_deadline(place.manager), -1);
  assert_int_equal(cenote_dispatch(place.manager, &place.error), CENOTE_INVALID);
  assert_int_equal(cenote_pollfd(NULL), -1);
  assert_int_equal(cenote_next_deadline(NULL), -1);
  assert_int_equal(cenote_dispatch(NULL, NULL), CENOTE_INVALID);
  place_close(&place);
}

static void who_takes_at_once_takes_nothing_that_must_be_checked(void **state)
{
  (void)state;
  struct place place;
  cenote_lease lease;
  place_init(&place);
  place_open_with(&place, "1", "1");
  must_release(must_acquire(place.manager, "first"));
  assert_true(cenote_acquire_now(place.manager, "second", &lease));
  assert_false(cenote_acquire_now(place.manager, "third", &(cenote_lease){0}));
  must_release(lease);
  pause_ms(100);
  place_change(&place, "check_after_ms", "20");
  assert_false(cenote_acquire_now(place.manager, "fourth", &lease));
  assert_int_equal(lease.generation, 0);
  assert_int_equal(statistics_of(place.manager).leases_granted, 2);
  assert_int_equal(statistics_of(place.manager).leases_released, 2);
  must_release(must_acquire(place.manager, "fifth"));
  assert_int_equal(statistics_of(place.manager).leases_granted, 3);
  assert_int_equal(statistics_of(place.manager).leases_released, 3);
  place_close(&place);
}

static void a_host_loop_must_not_be_blocked_by_an_acquire(void **state)
{
  (void)state;
  struct place place;
  cenote_lease lease;
  external_place(&place, "0", "1");
  expect(CENOTE_INVALID, cenote_acquire(place.manager, "x", 1000, &lease, &place.error),
         &place.error);
  has_text(place.error.message, "cenote_acquire_async");
  expect(CENOTE_TIMEOUT, cenote_acquire(place.manager, "x", 0, &lease, &place.error), &place.error);
  drive_until(&place, statistics_of(place.manager).idle_connections == 1); /* it was asked for */
  for (int i = 0; i < 20; i++) {
    must(cenote_acquire(place.manager, "x", 0, &lease, &place.error), &place.error);
    must_release(lease);
    pause_ms(i % 3);
  }
  place_close(&place);
}

static void expiry_waiting_and_cancelling_work_on_a_host_loop(void **state)
{
  (void)state;
  struct place place;
  struct ask first = {0}, second = {0}, third = {0}, fourth = {0};
  place_init(&place);
  place.options.external_loop = true;
  place_set(&place, "lease_timeout_ms", "100");
  place_open_with(&place, "0", "1");
  must(ask_for(&first, &place, PATIENCE_MS), &place.error);
  drive_until(&place, first.calls == 1);
  place_change(&place, "lease_timeout_ms", "60000");         /* of the others */
  must(ask_for(&second, &place, PATIENCE_MS), &place.error); /* gets it when the first expires */
  must(ask_for(&third, &place, 30), &place.error);
  must(ask_for(&fourth, &place, PATIENCE_MS), &place.error);
  assert_int_equal(cenote_cancel_acquire(fourth.ticket), CENOTE_OK);
  drive_until(&place, second.calls == 1 && third.calls == 1 && fourth.calls == 1);
  assert_int_equal(second.status, CENOTE_OK);
  assert_int_equal(third.status, CENOTE_TIMEOUT);
  assert_int_equal(fourth.status, CENOTE_CANCELLED);
  assert_int_equal(cenote_release(first.lease), CENOTE_LEASE_EXPIRED);
  must_release(second.lease);
  place_close(&place);
}

static void a_shutdown_drives_the_host_loop_itself(void **state)
{
  (void)state;
  struct place place;
  struct ask ask = {0}, waiting = {0};
  external_place(&place, "0", "1");
  must(ask_for(&ask, &place, PATIENCE_MS), &place.error);
  drive_until(&place, ask.calls == 1);
  must(ask_for(&waiting, &place, PATIENCE_MS), &place.error);
  expect(CENOTE_TIMEOUT, cenote_shutdown(place.manager, 50, &place.error), &place.error);
  has_text(place.error.details, "asked");
  assert_int_equal(waiting.calls, 1);
  assert_int_equal(waiting.status, CENOTE_SHUTTING_DOWN);
  place_close(&place);
}

static void an_idle_host_loop_has_nothing_due(void **state)
{
  (void)state;
  struct place place;
  external_place(&place, "1", "1");
  drive_until(&place, statistics_of(place.manager).idle_connections == 1);
  int turns = 0;
  const int64_t end = now_ms() + 300;
  do {
    struct pollfd watched = {.fd = cenote_pollfd(place.manager), .events = POLLIN};
    const int64_t wait = cenote_next_deadline(place.manager);
    (void)poll(&watched, 1, wait < 0 || wait > 100 ? 100 : (int)wait);
    must(cenote_dispatch(place.manager, &place.error), &place.error);
    turns++;
  } while (now_ms() < end);
  assert_in_range(turns, 1, 60); /* not a busy loop */
  place_close(&place);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      TEST(a_lease_comes_by_callback_on_the_managers_thread),
      TEST(an_asynchronous_acquire_times_out),
      TEST(a_cancelled_acquire_calls_back_once_as_cancelled),
      TEST(a_ticket_of_a_closed_manager_cancels_nothing),
      TEST(shutdown_answers_every_asynchronous_acquire),
      TEST(an_acquire_just_before_the_close_is_answered_all_the_same),
      TEST(a_callback_may_ask_again),
      TEST(many_asynchronous_acquires_share_few_connections),
      TEST(a_dead_idle_connection_is_replaced_before_the_callback),
      TEST(a_check_that_hangs_does_not_outlast_an_asynchronous_acquires_time),
      TEST(a_host_loop_needs_no_thread_of_ours),
      TEST(the_loops_calls_are_refused_without_one),
      TEST(who_takes_at_once_takes_nothing_that_must_be_checked),
      TEST(a_host_loop_must_not_be_blocked_by_an_acquire),
      TEST(expiry_waiting_and_cancelling_work_on_a_host_loop),
      TEST(a_shutdown_drives_the_host_loop_itself),
      TEST(an_idle_host_loop_has_nothing_due),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
