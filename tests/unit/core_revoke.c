/* core_revoke.c - leases that are taken back now: whoever holds them, whatever they do. */
#include "query_help.h"

#include "base/rng.h"
#include "manager/manager.h"

static void is_stale(cenote_lease lease, const char *operation)
{
  cenote_error error = CENOTE_ERROR_INIT;
  expect(CENOTE_STALE, run_sql(lease, "SELECT 1", &error), &error);
  has_text(error.message, operation);
  has_text(error.message, "was revoked");
  assert_int_equal(cenote_release(lease), CENOTE_STALE);
  assert_int_equal(cenote_revoke(lease), CENOTE_STALE);
}

static struct pool_counters counters_of(cenote_manager *manager)
{
  struct pool_picture picture;
  pool_look(&manager->pool, cen_now_ns(), &picture);
  return picture.counters;
}

static void an_idle_lease_is_taken_back_cleaned_and_does_not_count_as_expired(void **state)
{
  (void)state;
  struct place place;
  place_init(&place);
  place_open_with(&place, "0", "1");
  const cenote_lease lease = must_acquire(place.manager, "gone");
  assert_int_equal(cenote_revoke(lease), CENOTE_OK);
  is_stale(lease, "gone");
  const cenote_lease next = must_acquire(place.manager, "next");
  assert_int_equal(must_read(next, "SELECT 4"), 4);
  assert_true(started(&place, CENOTE_REQUEST_RESET) >= 1); /* cleaned … */
  assert_true(started(&place, CENOTE_REQUEST_CHECK) >= 1); /* … and verified */
  must_release(next);
  assert_int_equal(cenote_revoke(next), CENOTE_STALE); /* nobody's */
  const cenote_statistics now = statistics_of(place.manager);
  assert_int_equal(now.lease_timeouts, 0);
  assert_int_equal(now.leases_granted, 2);
  assert_int_equal(now.leases_released, 1);
  assert_int_equal(counters_of(place.manager).revoked, 1);
  assert_int_equal(noted(&place.notes, "audit: expired"), 0);
  place_close(&place);
}

struct call {
  cenote_lease lease;
  const char *sql;
  cenote_status status;
  cenote_error error;
};

static void *call_in_thread(void *context)
{
  struct call *call = context;
  call->error = (cenote_error)CENOTE_ERROR_INIT;
  call->status = run_sql(call->lease, call->sql, &call->error);
  return NULL;
}

static bool is_inside(cenote_lease lease)
{
  cenote_lease_info info = CENOTE_LEASE_INFO_INIT;
  return cenote_lease_stats(lease, &info) == CENOTE_OK && info.in_call;
}

static void a_running_statement_is_cancelled_and_its_transaction_rolled_back(void **state)
{
  (void)state;
  struct place place;
  cenote_transaction *tx;
  place_init(&place);
  place_open_with(&place, "0", "1");
  struct call call = {.lease = must_acquire(place.manager, "long-report"), .sql = "hang"};
  must(cenote_begin(call.lease, 0, &tx, &place.error), &place.error);
  const pthread_t thread = start_thread(call_in_thread, &call);
  wait_until(is_inside(call.lease));
  assert_int_equal(cenote_revoke(call.lease), CENOTE_OK);
  assert_int_equal(cenote_revoke(call.lease), CENOTE_STALE); /* though he is still inside */
  pthread_join(thread, NULL);
  expect(CENOTE_CANCELLED, call.status, &call.error);
  has_text(call.error.message, "was revoked");
  assert_int_equal(call.error.status, CENOTE_CANCELLED);
  is_stale(call.lease, "long-report");
  must(cenote_rollback(tx, &place.error), &place.error); /* nothing of it remains */
  must_release(must_acquire(place.manager, "next"));
  assert_int_equal(place.script.late_cancels, 0);
  assert_int_equal(place.script.rollbacks_of_open_transactions, 1);
  assert_int_equal(counters_of(place.manager).revoked, 1);
  assert_int_equal(counters_of(place.manager).expired, 0);
  place_close(&place);
}

static void an_asynchronous_statement_is_cancelled_too(void **state)
{
  (void)state;
  const cenote_driver *const drivers[] = {&fake_driver, &fake_driver_blocking};
  for (size_t i = 0; i < 2; i++) {
    struct place place;
    struct answer answer = {0};
    place_init(&place);
    place.options.driver = drivers[i];
    place_open_with(&place, "0", "1");
    const cenote_lease lease = must_acquire(place.manager, "stream");
    execute_async(lease, "hang", &answer);
    wait_until(started(&place, CENOTE_REQUEST_EXECUTE) == 1);
    assert_int_equal(cenote_revoke(lease), CENOTE_OK);
    wait_until(answer.calls == 1);
    assert_int_equal(answer.status, CENOTE_CANCELLED);
    is_stale(lease, "stream");
    must_release(must_acquire(place.manager, "next"));
    place_close(&place);
  }
}

/* Revoked before the housekeeper has come to it. */
static void a_statement_that_was_not_begun_is_not_run(void **state)
{
  (void)state;
  for (int i = 0; i < 50; i++) {
    struct place place;
    struct answer answer = {0};
    place_init(&place);
    place_open_with(&place, "0", "1");
    const cenote_lease lease = must_acquire(place.manager, "stream");
    execute_async(lease, "hang", &answer);
    assert_int_equal(cenote_revoke(lease), CENOTE_OK);
    wait_until(answer.calls == 1);
    assert_int_equal(answer.status, CENOTE_CANCELLED);
    place_close(&place);
  }
}

static void on_a_hosts_loop_another_thread_may_revoke(void **state)
{
  (void)state;
  struct place place;
  struct answer answer = {0};
  place_init(&place);
  place.options.external_loop = true;
  place_open_with(&place, "1", "1");
  cenote_lease lease;
  while (cenote_acquire(place.manager, "stream", 0, &lease, &place.error) != CENOTE_OK) {
    must(cenote_dispatch(place.manager, &place.error), &place.error);
    pause_ms(1);
  }
  execute_async(lease, "hang", &answer);
  while (started(&place, CENOTE_REQUEST_EXECUTE) == 0) {
    must(cenote_dispatch(place.manager, &place.error), &place.error);
  }
  assert_int_equal(cenote_revoke(lease), CENOTE_OK);
  struct pollfd slot = {.fd = cenote_pollfd(place.manager), .events = POLLIN};
  for (const int64_t end = now_ms() + PATIENCE_MS; answer.calls == 0 && now_ms() < end;) {
    (void)poll(&slot, 1, (int)cenote_next_deadline(place.manager));
    must(cenote_dispatch(place.manager, &place.error), &place.error);
  }
  assert_int_equal(answer.calls, 1);
  assert_int_equal(answer.status, CENOTE_CANCELLED);
  is_stale(lease, "stream");
  place_close(&place);
}

static void what_is_no_lease_is_refused(void **state)
{
  (void)state;
  struct place place;
  place_init(&place);
  place_open_with(&place, "0", "1");
  const cenote_lease lease = must_acquire(place.manager, "real");
  assert_int_equal(cenote_revoke((cenote_lease){0}), CENOTE_STALE);
  assert_int_equal(cenote_revoke((cenote_lease){lease.manager, 7, 1}), CENOTE_STALE);
  assert_int_equal(cenote_revoke((cenote_lease){lease.manager, lease.slot, lease.generation + 1}),
                   CENOTE_STALE);
  assert_int_equal(cenote_revoke((cenote_lease){99999, lease.slot, lease.generation}),
                   CENOTE_STALE);
  assert_int_equal(must_read(lease, "SELECT 3"), 3);
  must_release(lease);
  place_close(&place);
  assert_int_equal(cenote_revoke(lease), CENOTE_STALE);
}

static void a_connection_that_statements_share_is_nobodys_to_revoke(void **state)
{
  (void)state;
  struct place place;
  struct answer answer = {0};
  struct pool_lease_view view;
  place_init(&place);
  static cenote_driver driver;
  driver = fake_driver;
  driver.name = "postgres";
  place.options.driver = &driver;
  place_open_with(&place, "0", "1");
  cenote_query_options options = CENOTE_QUERY_OPTIONS_INIT;
  ask(place.manager, "SELECT 1", &options, &answer);
  wait_until(answer.calls == 1);
  assert_int_equal(pool_views(&place.manager->pool, &view, 1), 1); /* it rests there */
  const cenote_lease lease = {place.manager->id, view.slot, view.generation};
  assert_int_equal(cenote_revoke(lease), CENOTE_STALE);
  assert_int_equal(counters_of(place.manager).revoked, 0);
  place_close(&place);
}

/* ------------------------------------------------------------------------ all at once */

enum { THREADS = 6, LEASES = 4 };

struct crew {
  struct place place;
  int64_t end_ms;
  _Atomic uint64_t granted, released, revoked, expired, taken;
  pthread_mutex_t lock;
  cenote_lease latest[LEASES];
};

static void *hold_or_revoke(void *context)
{
  struct crew *crew = context;
  struct cen_rng rng;
  cen_rng_seed(&rng, (uint64_t)(uintptr_t)&rng);
  const int64_t last_ms = crew->end_ms + PATIENCE_MS;
  while (now_ms() < crew->end_ms || /* or nothing has happened yet */
         ((atomic_load(&crew->revoked) == 0 || atomic_load(&crew->released) == 0) &&
          now_ms() < last_ms)) {
    cenote_lease lease;
    if (cenote_acquire(crew->place.manager, "crew", 20, &lease, NULL) == CENOTE_OK) {
      atomic_fetch_add(&crew->granted, 1);
      pthread_mutex_lock(&crew->lock);
      crew->latest[cen_rng_below(&rng, LEASES)] = lease;
      pthread_mutex_unlock(&crew->lock);
      if (cen_rng_below(&rng, 2) == 0) {
        (void)run_sql(lease, cen_rng_below(&rng, 10) == 0 ? "BEGIN" : "SELECT 1", NULL);
      }
      const cenote_status status = cenote_release(lease);
      atomic_fetch_add(status == CENOTE_OK              ? &crew->released
                       : status == CENOTE_LEASE_EXPIRED ? &crew->expired
                                                        : &crew->taken,
                       1);
    }
    pthread_mutex_lock(&crew->lock);
    const cenote_lease other = crew->latest[cen_rng_below(&rng, LEASES)];
    pthread_mutex_unlock(&crew->lock);
    if (cenote_revoke(other) == CENOTE_OK) {
      atomic_fetch_add(&crew->revoked, 1);
    }
  }
  return NULL;
}

static void revokes_and_releases_at_once_end_each_lease_once(void **state)
{
  (void)state;
  struct crew crew = {0};
  pthread_t threads[THREADS];
  place_init(&crew.place);
  pthread_mutex_init(&crew.lock, NULL);
  place_open_with(&crew.place, "0", "3");
  crew.end_ms = now_ms() + 700;
  for (int i = 0; i < THREADS; i++) {
    threads[i] = start_thread(hold_or_revoke, &crew);
  }
  for (int i = 0; i < THREADS; i++) {
    pthread_join(threads[i], NULL);
  }
  const struct pool_counters counters = counters_of(crew.place.manager);
  assert_true(crew.revoked > 0 && crew.released > 0);
  assert_int_equal(crew.revoked, counters.revoked);
  assert_int_equal(crew.granted, crew.released + crew.revoked + counters.expired);
  place_close(&crew.place);
  pthread_mutex_destroy(&crew.lock);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      TEST(an_idle_lease_is_taken_back_cleaned_and_does_not_count_as_expired),
      TEST(a_running_statement_is_cancelled_and_its_transaction_rolled_back),
      TEST(an_asynchronous_statement_is_cancelled_too),
      TEST(a_statement_that_was_not_begun_is_not_run),
      TEST(on_a_hosts_loop_another_thread_may_revoke),
      TEST(what_is_no_lease_is_refused),
      TEST(a_connection_that_statements_share_is_nobodys_to_revoke),
      TEST(revokes_and_releases_at_once_end_each_lease_once),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
