/*
 * manager_stress.c - sixteen threads do whatever they like to one manager for a while, one more
 * resizes, flushes and kills, and then it is shut down under them. The fake driver aborts the
 * program when two threads are inside one connection or one is used after its end; what is counted
 * must balance. CENOTE_STRESS_MS=… makes it longer, CENOTE_STRESS_SEED=… repeats one.
 */
#include "manager_help.h"

#include "base/rng.h"
#include "manager/manager.h"

enum { THREADS = 16, MOST = 5 };

struct crew {
  struct place place;
  uint64_t seed;
  int64_t end_ms;
  _Atomic bool stop;
  _Atomic uint64_t granted, given_back, expired, taken, statements, wrong_rows;
  _Atomic uint64_t asked, answered;
};

struct hand {
  struct crew *crew;
  struct cen_rng rng;
  uint64_t number;
};

static bool is_over(const struct crew *crew)
{
  return atomic_load(&crew->stop) || now_ms() >= crew->end_ms;
}

static void account_release(struct crew *crew, cenote_status status)
{
  switch (status) {
  case CENOTE_OK:
    atomic_fetch_add(&crew->given_back, 1);
    break;
  case CENOTE_LEASE_EXPIRED:
    atomic_fetch_add(&crew->expired, 1);
    break;
  case CENOTE_SHUTTING_DOWN:
  case CENOTE_STALE: /* a later lease of the slot was taken away, too */
    atomic_fetch_add(&crew->taken, 1);
    break;
  default:
    fail_msg("release: %s", cenote_status_name(status));
  }
}

static void tagged_statement(struct hand *hand, cenote_lease lease)
{
  struct crew *crew = hand->crew;
  const int64_t tag = (int64_t)(hand->number << 32 | cen_rng_below(&hand->rng, 1u << 31));
  const cenote_value value = cenote_integer(tag);
  cenote_result *result;
  if (cenote_execute(lease, "SELECT ?", &value, 1, &result, NULL) == CENOTE_OK) {
    if (cenote_result_rows(result) != 1 || cenote_result_integer(result, 0, 0) != tag) {
      atomic_fetch_add(&crew->wrong_rows, 1);
    }
    cenote_result_free(result);
  }
  atomic_fetch_add(&crew->statements, 1);
}

static void transaction(struct hand *hand, cenote_lease lease)
{
  cenote_transaction *tx;
  if (cenote_begin(lease, cen_rng_below(&hand->rng, 3) == 0 ? 2 : 0, &tx, NULL) != CENOTE_OK) {
    return;
  }
  (void)!cenote_tx_execute(tx, "insert", NULL, 0, NULL, NULL);
  switch (cen_rng_below(&hand->rng, 3)) {
  case 0: {
    const cenote_status status = cenote_commit(tx, NULL);
    if (status == CENOTE_INVALID || status == CENOTE_BUSY) {
      (void)cenote_rollback(tx, NULL);
    }
    break;
  }
  case 1:
    (void)cenote_rollback(tx, NULL);
    break;
  default: /* left open: the release cleans up, the handle is given back later */
    account_release(hand->crew, cenote_release(lease));
    (void)cenote_rollback(tx, NULL);
  }
}

/* One thing with a lease. */
static void do_something(struct hand *hand, cenote_lease lease)
{
  static const char *const statements[] = {"set dirty", "error 23505", "sleep 1", "lose",
                                           "rows 50",   "begin",       "sleep 30"};
  const uint64_t choice = cen_rng_below(&hand->rng, 24);
  cenote_lease_info info = CENOTE_LEASE_INFO_INIT;
  if (choice < sizeof statements / sizeof *statements) {
    (void)run_sql(lease, statements[choice], NULL);
  } else if (choice == 7) {
    (void)!cenote_lease_extend(lease, 1 + (int64_t)cen_rng_below(&hand->rng, 50), NULL);
  } else if (choice == 8) {
    (void)!cenote_lease_stats(lease, &info);
  } else if (choice == 9) {
    (void)cenote_lease_resource(lease);
  } else if (choice == 10) {
    pause_ms((int64_t)cen_rng_below(&hand->rng, 60)); /* may expire */
  } else {
    tagged_statement(hand, lease);
  }
}

static void one_lease(struct hand *hand)
{
  struct crew *crew = hand->crew;
  cenote_acquire_options options = CENOTE_ACQUIRE_OPTIONS_INIT;
  cenote_lease lease;
  cenote_error error = CENOTE_ERROR_INIT;
  options.timeout_ms = (int64_t)cen_rng_below(&hand->rng, 40);
  options.lease_ms = cen_rng_below(&hand->rng, 2) == 0 ? 0 : 20;
  const cenote_status status =
      cenote_acquire_with(crew->place.manager, "stress", &options, &lease, &error);
  if (status != CENOTE_OK) {
    pause_ms(status == CENOTE_QUEUE_FULL ? 1 : 0);
    return;
  }
  atomic_fetch_add(&crew->granted, 1);
  for (uint64_t i = cen_rng_below(&hand->rng, 4); i-- > 0;) {
    do_something(hand, lease);
  }
  if (cen_rng_below(&hand->rng, 5) == 0) {
    transaction(hand, lease);
    const cenote_status late = cenote_release(lease);
    if (late != CENOTE_STALE) { /* unless the transaction released it */
      account_release(crew, late);
    }
    return;
  }
  account_release(crew, cenote_release(lease));
}

static void settled(void *context, cenote_status status, cenote_lease lease,
                    const cenote_error *error)
{
  struct crew *crew = context;
  (void)error;
  if (status == CENOTE_OK) {
    atomic_fetch_add(&crew->granted, 1);
    account_release(crew, cenote_release(lease));
  }
  atomic_fetch_add(&crew->answered, 1);
}

static void ask(struct hand *hand)
{
  struct crew *crew = hand->crew;
  cenote_ticket ticket;
  if (cenote_acquire_async(crew->place.manager, "asked", (int64_t)cen_rng_below(&hand->rng, 30),
                           settled, crew, &ticket, NULL) == CENOTE_OK) {
    atomic_fetch_add(&crew->asked, 1);
    if (cen_rng_below(&hand->rng, 3) == 0) {
      (void)cenote_cancel_acquire(ticket);
    }
  }
}

static void *work(void *context)
{
  struct hand *hand = context;
  while (!is_over(hand->crew)) {
    if (cen_rng_below(&hand->rng, 8) == 0) {
      ask(hand);
    } else {
      one_lease(hand);
    }
  }
  return NULL;
}

/* The one who disturbs, and looks. */
static void *disturb(void *context)
{
  struct hand *hand = context;
  struct place *place = &hand->crew->place;
  while (!is_over(hand->crew)) {
    char *json = NULL;
    cenote_health_status health;
    cenote_lease_info infos[MOST];
    size_t count;
    pause_ms((int64_t)cen_rng_below(&hand->rng, 10));
    switch (cen_rng_below(&hand->rng, 12)) {
    case 0:
      (void)!cenote_resize(place->manager, 0, 1 + (int64_t)cen_rng_below(&hand->rng, MOST), NULL);
      break;
    case 1:
      (void)!cenote_flush(place->manager, NULL);
      break;
    case 2:
      fake_kill_all(&place->script);
      break;
    case 3:
      fake_fail(&place->script, CENOTE_REQUEST_OPEN, CENOTE_CONNECT, 1);
      break;
    case 4:
      fake_fail(&place->script, CENOTE_REQUEST_RESET, CENOTE_CONNECTION_LOST, 1);
      break;
    case 5:
      fake_fail(&place->script, CENOTE_REQUEST_CHECK, CENOTE_CONNECTION_LOST, 1);
      break;
    case 6:
      (void)!cenote_health(place->manager, false, &health, NULL);
      break;
    case 7:
      if (cenote_pool_statistics_json(place->manager, &json, NULL) == CENOTE_OK) {
        cenote_string_free(json);
      }
      break;
    case 8:
      (void)!cenote_pool_leases(place->manager, infos, MOST, &count);
      break;
    default: {
      const char *wrong = pool_check(&place->manager->pool);
      if (wrong != NULL) {
        fail_msg("seed %llu: %s", (unsigned long long)hand->crew->seed, wrong);
      }
    }
    }
  }
  return NULL;
}

static void crew_open(struct crew *crew, const cenote_driver *driver, int64_t ms, uint64_t seed)
{
  memset(crew, 0, sizeof *crew);
  place_init(&crew->place);
  crew->seed = seed;
  crew->place.options.driver = driver;
  crew->place.script.delay_ns[CENOTE_REQUEST_OPEN] = 300000;
  crew->place.options.log = NULL; /* too much to note */
  crew->place.options.audit = NULL;
  place_set(&crew->place, "log", "error");
  place_set(&crew->place, "lease_timeout_ms", "40");
  place_set(&crew->place, "check_after_ms", "5");
  place_set(&crew->place, "health_check_interval_ms", "20");
  place_set(&crew->place, "idle_timeout_ms", "30");
  place_set(&crew->place, "max_connection_age_ms", "300");
  place_set(&crew->place, "connect_backoff_ms", "1");
  place_set(&crew->place, "connect_backoff_max_ms", "5");
  place_set(&crew->place, "max_waiters", "10");
  place_open_with(&crew->place, "1", "5");
  crew->end_ms = now_ms() + ms;
}

static void run_crew(struct crew *crew, bool shut_down_under_them)
{
  static struct hand hands[THREADS + 1];
  pthread_t threads[THREADS + 1];
  for (int i = 0; i <= THREADS; i++) {
    hands[i] = (struct hand){.crew = crew, .number = (uint64_t)i + 1};
    cen_rng_seed(&hands[i].rng, crew->seed + (uint64_t)i);
    threads[i] = start_thread(i < THREADS ? work : disturb, &hands[i]);
  }
  if (shut_down_under_them) {
    pause_ms((crew->end_ms - now_ms()) / 2);
    (void)!cenote_shutdown(crew->place.manager, 5, NULL);
    pause_ms(20);
    atomic_store(&crew->stop, true);
  }
  for (int i = 0; i <= THREADS; i++) {
    pthread_join(threads[i], NULL);
  }
}

static void crew_close(struct crew *crew, bool counted)
{
  cenote_manager *manager = crew->place.manager;
  (void)!cenote_shutdown(manager, 5000, NULL);
  wait_until(crew->asked == crew->answered);
  const cenote_statistics now = statistics_of(manager);
  assert_int_equal(crew->wrong_rows, 0);
  assert_int_equal(now.active_leases, 0);
  assert_int_equal(now.total_connections, 0);
  assert_int_equal(now.waiters, 0);
  assert_int_equal(now.connections_created, now.connections_closed);
  assert_true(now.checks >= now.check_failures);
  if (counted) {
    assert_int_equal(now.leases_granted, crew->granted);
    assert_int_equal(now.leases_released + now.lease_timeouts, crew->granted);
    print_message("# %llu leases, %llu expired, %llu statements\n",
                  (unsigned long long)crew->granted, (unsigned long long)now.lease_timeouts,
                  (unsigned long long)crew->statements);
    assert_true(crew->granted > 50 && crew->statements > 50);
  }
  const char *wrong = pool_check(&manager->pool);
  if (wrong != NULL) {
    fail_msg("%s", wrong);
  }
  place_close(&crew->place);
}

static int64_t number_from(const char *variable, int64_t otherwise)
{
  const char *text = getenv(variable);
  return text != NULL ? strtoll(text, NULL, 10) : otherwise;
}

static uint64_t some_seed(void)
{
  const int64_t given = number_from("CENOTE_STRESS_SEED", 0);
  const uint64_t seed = given != 0 ? (uint64_t)given : (uint64_t)cen_now_ns();
  print_message("# CENOTE_STRESS_SEED=%llu\n", (unsigned long long)seed);
  return seed;
}

static void threads_do_what_they_like_and_the_books_balance(void **state)
{
  (void)state;
  static struct crew crew;
  crew_open(&crew, &fake_driver, number_from("CENOTE_STRESS_MS", 2000), some_seed());
  run_crew(&crew, false);
  crew_close(&crew, true);
}

static void a_shutdown_under_load_ends_everything(void **state)
{
  (void)state;
  static struct crew crew;
  for (int i = 0; i < 4; i++) {
    crew_open(&crew, i % 2 == 0 ? &fake_driver : &fake_driver_blocking,
              number_from("CENOTE_STRESS_MS", 2000) / 8, some_seed());
    run_crew(&crew, true);
    crew_close(&crew, false);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      TEST(threads_do_what_they_like_and_the_books_balance),
      TEST(a_shutdown_under_load_ends_everything),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
