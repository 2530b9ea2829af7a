/* manager_fork.c - a forked child is told that the manager is its parent's, whatever it calls, and
 * the parent's sessions do not notice; and what happens to a process that was stopped. */
#include "manager_help.h"

#include "driver/scratch.h"

#include <cenote/loop.h>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FINE = 0, HUNG = 99 };

/* The child's checks: its exit status is the line that failed. cmocka's own must not run there. */
#define child_check(condition)    \
  do {                            \
    if (!(condition)) {           \
      return __LINE__ % 200 + 20; \
    }                             \
  } while (0)

static int wait_for_child(pid_t child)
{
  int status = 0;
  const int64_t end = now_ms() + PATIENCE_MS;
  while (waitpid(child, &status, WNOHANG) == 0) {
    if (now_ms() > end) {
      kill(child, SIGKILL);
      waitpid(child, &status, 0);
      return HUNG;
    }
    pause_ms(5);
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

struct inherited {
  cenote_manager *manager;
  cenote_lease held, free;
  cenote_transaction *tx;
  cenote_ticket ticket;
};

static void never(void *context, cenote_status status, cenote_lease lease,
                  const cenote_error *error)
{
  (void)context, (void)status, (void)lease, (void)error;
}

static int child_is_refused_everywhere(struct inherited *mine)
{
  cenote_lease lease;
  cenote_ticket ticket;
  cenote_transaction *tx;
  cenote_result *result;
  cenote_result **results;
  cenote_statistics statistics = CENOTE_STATISTICS_INIT;
  cenote_lease_info info = CENOTE_LEASE_INFO_INIT;
  cenote_health_status health;
  cenote_error error = CENOTE_ERROR_INIT;
  size_t count;
  char *json = NULL;
  const cenote_statement statement = {"SELECT 1", NULL, 0};
  child_check(cenote_release(mine->held) == CENOTE_FORKED);
  child_check(cenote_acquire(mine->manager, "c", 0, &lease, &error) == CENOTE_FORKED);
  child_check(strstr(error.message, "parent") != NULL && lease.generation == 0);
  child_check(cenote_acquire(mine->manager, "c", 1000, &lease, &error) == CENOTE_FORKED);
  child_check(cenote_acquire_async(mine->manager, "c", 0, never, NULL, &ticket, &error) ==
              CENOTE_FORKED);
  child_check(cenote_cancel_acquire(mine->ticket) == CENOTE_FORKED);
  child_check(cenote_execute(mine->held, "SELECT 1", NULL, 0, &result, &error) == CENOTE_FORKED);
  child_check(cenote_batch(mine->held, &statement, 1, CENOTE_BATCH_READ, &results, &error) ==
              CENOTE_FORKED);
  child_check(cenote_begin(mine->held, 0, &tx, &error) == CENOTE_FORKED);
  child_check(cenote_tx_execute(mine->tx, "SELECT 1", NULL, 0, NULL, &error) == CENOTE_FORKED);
  child_check(cenote_lease_extend(mine->held, 1000, &error) == CENOTE_FORKED);
  child_check(cenote_lease_stats(mine->held, &info) == CENOTE_FORKED);
  child_check(cenote_lease_resource(mine->held) == NULL);
  child_check(cenote_resize(mine->manager, 1, 2, &error) == CENOTE_FORKED);
  child_check(cenote_flush(mine->manager, &error) == CENOTE_FORKED);
  child_check(cenote_pool_statistics(mine->manager, &statistics) == CENOTE_FORKED);
  child_check(cenote_pool_leases(mine->manager, NULL, 0, &count) == CENOTE_FORKED);
  child_check(cenote_health(mine->manager, true, &health, &error) == CENOTE_FORKED);
  child_check(cenote_health_json(mine->manager, true, &json, &error) == CENOTE_FORKED);
  child_check(cenote_pool_statistics_json(mine->manager, &json, &error) == CENOTE_FORKED);
  child_check(cenote_config_json(mine->manager, &json, &error) == CENOTE_FORKED);
  child_check(cenote_dispatch(mine->manager, &error) != CENOTE_OK);
  child_check(cenote_next_deadline(mine->manager) == -1 && cenote_pollfd(mine->manager) == -1);
  child_check(cenote_shutdown(mine->manager, 0, &error) == CENOTE_FORKED);
  child_check(cenote_rollback(mine->tx, &error) == CENOTE_FORKED);
  child_check(cenote_release(mine->held) == CENOTE_FORKED);
  cenote_close(mine->manager);
  child_check(cenote_release(mine->held) == CENOTE_FORKED);
  return FINE;
}

/* And with one of its own it works. */
static int child_opens_its_own(struct inherited *mine)
{
  cenote_manager *manager;
  cenote_lease lease;
  cenote_error error = CENOTE_ERROR_INIT;
  (void)mine;
  child_check(cenote_open("sqlite::memory:", NULL, &manager, &error) == CENOTE_OK);
  child_check(cenote_acquire(manager, "own", PATIENCE_MS, &lease, &error) == CENOTE_OK);
  child_check(run_sql(lease, "SELECT 1", &error) == CENOTE_OK);
  child_check(cenote_release(lease) == CENOTE_OK);
  cenote_close(manager);
  return FINE;
}

static void run_child(struct inherited *mine, int (*body)(struct inherited *mine))
{
  fflush(NULL);
  const pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    _exit(body(mine));
  }
  assert_int_equal(wait_for_child(child), FINE);
}

static void parent_and_child(const char *url, const cenote_options *options)
{
  struct inherited mine = {0};
  cenote_error error = CENOTE_ERROR_INIT;
  must(cenote_open(url, options, &mine.manager, &error), &error);
  mine.held = must_acquire(mine.manager, "parent's");
  must(cenote_begin(mine.held, 0, &mine.tx, &error), &error);
  must(
      cenote_acquire_async(mine.manager, "waiting", PATIENCE_MS, never, NULL, &mine.ticket, &error),
      &error);
  run_child(&mine, child_is_refused_everywhere);
  run_child(&mine, child_opens_its_own);
  /* Nothing of the parent's was touched: the transaction is still open, the rest still works. */
  must(cenote_tx_execute(mine.tx, "SELECT 1", NULL, 0, NULL, &error), &error);
  must(cenote_commit(mine.tx, &error), &error);
  assert_int_equal(must_read(mine.held, "SELECT 5"), 5);
  must_release(mine.held);
  cenote_close(mine.manager);
}

static void a_child_is_refused_and_the_parents_session_goes_on(void **state)
{
  (void)state;
  struct place place;
  place_init(&place);
  place_set(&place, "min_connections", "0");
  place_set(&place, "max_connections", "1");
  place_set(&place, "shutdown_timeout_ms", "50");
  parent_and_child("fake://", &place.options);
  assert_int_equal(place.script.created, place.script.destroyed);
  fake_script_deinit(&place.script);
  notes_deinit(&place.notes);
}

static void a_child_does_not_disturb_sqlite(void **state)
{
  (void)state;
  const cenote_setting settings[] = {
      {"min_connections", "0"}, {"max_connections", "1"}, {"shutdown_timeout_ms", "50"}};
  cenote_options options = CENOTE_OPTIONS_INIT;
  options.settings = settings;
  options.settings_count = 3;
  parent_and_child(scratch_url(), &options);
}

static void a_child_gets_a_default_manager_of_its_own(void **state)
{
  (void)state;
  cenote_manager *manager, *again;
  cenote_error error = CENOTE_ERROR_INIT;
  setenv("CENOTE_URL", "sqlite::memory:", 1);
  must(cenote_default_manager(&manager, &error), &error);
  cenote_lease lease = must_acquire(manager, "parent's");
  fflush(NULL);
  const pid_t child = fork();
  if (child == 0) {
    cenote_manager *mine = NULL;
    cenote_lease own;
    if (cenote_default_manager(&mine, &error) != CENOTE_OK || mine == manager ||
        cenote_acquire(mine, "child's", PATIENCE_MS, &own, &error) != CENOTE_OK ||
        cenote_release(own) != CENOTE_OK) {
      _exit(1);
    }
    cenote_reset_default_manager();
    _exit(FINE);
  }
  assert_int_equal(wait_for_child(child), FINE);
  must(cenote_default_manager(&again, &error), &error);
  assert_ptr_equal(manager, again);
  assert_int_equal(must_read(lease, "SELECT 3"), 3);
  must_release(lease);
  cenote_reset_default_manager();
  unsetenv("CENOTE_URL");
}

struct busy {
  cenote_manager *manager;
  _Atomic bool stop;
};

static void *keep_busy(void *context)
{
  struct busy *busy = context;
  while (!atomic_load(&busy->stop)) {
    cenote_lease lease;
    if (cenote_acquire(busy->manager, "busy", PATIENCE_MS, &lease, NULL) == CENOTE_OK) {
      (void)run_sql(lease, "set x", NULL);
      (void)cenote_release(lease);
    }
  }
  return NULL;
}

/* Locks may be held by threads that do not exist in the child: none of ours may be waited for. */
static void a_child_of_a_busy_parent_never_hangs(void **state)
{
  (void)state;
  enum { THREADS = 4, CHILDREN = 12 };
  struct place place;
  struct inherited mine = {0};
  pthread_t threads[THREADS];
  place_init(&place);
  place_open_with(&place, "1", "3");
  struct busy busy = {.manager = place.manager};
  for (int i = 0; i < THREADS; i++) {
    threads[i] = start_thread(keep_busy, &busy);
  }
  mine.manager = place.manager;
  for (int i = 0; i < CHILDREN; i++) {
    mine.held = must_acquire(place.manager, "forking");
    must(cenote_begin(mine.held, 0, &mine.tx, &place.error), &place.error);
    mine.ticket = (cenote_ticket){mine.held.manager, 0, 1};
    run_child(&mine, child_is_refused_everywhere);
    assert_int_equal(cenote_rollback(mine.tx, NULL), CENOTE_OK);
    must_release(mine.held);
  }
  atomic_store(&busy.stop, true);
  for (int i = 0; i < THREADS; i++) {
    pthread_join(threads[i], NULL);
  }
  place_close(&place);
}

/* ------------------------------------------------------------------- frozen and thawed */

/* A child of ours is stopped for longer than its leases last, and goes on. */
static int child_that_is_frozen(int ready)
{
  struct place place;
  place_init(&place);
  place_set(&place, "min_connections", "0");
  place_set(&place, "max_connections", "3");
  place_set(&place, "lease_timeout_ms", "3000");
  child_check(cenote_open("fake://", &place.options, &place.manager, &place.error) == CENOTE_OK);
  cenote_lease leases[3];
  for (int i = 0; i < 3; i++) {
    child_check(cenote_acquire(place.manager, "frozen", PATIENCE_MS, &leases[i], NULL) ==
                CENOTE_OK);
  }
  child_check(cenote_release(leases[2]) == CENOTE_OK); /* one is idle */
  child_check(write(ready, "x", 1) == 1);
  cenote_statistics now = CENOTE_STATISTICS_INIT;
  const int64_t end = now_ms() + PATIENCE_MS;
  do {
    pause_ms(5);
    child_check(cenote_pool_statistics(place.manager, &now) == CENOTE_OK);
    child_check(now_ms() < end);
  } while (now.thaws == 0);
  child_check(now.lease_timeouts == 0); /* no storm */
  child_check(run_sql(leases[0], "SELECT 1", NULL) == CENOTE_OK);
  child_check(cenote_release(leases[0]) == CENOTE_OK);
  child_check(cenote_release(leases[1]) == CENOTE_OK);
  const uint64_t checks = started(&place, CENOTE_REQUEST_CHECK);
  for (int i = 0; i < 3; i++) {
    child_check(cenote_acquire(place.manager, "thawed", PATIENCE_MS, &leases[i], NULL) ==
                CENOTE_OK);
  }
  child_check(started(&place, CENOTE_REQUEST_CHECK) > checks); /* the idle one, at the least */
  for (int i = 0; i < 3; i++) {
    child_check(cenote_release(leases[i]) == CENOTE_OK);
  }
  cenote_close(place.manager);
  return FINE;
}

static void a_stopped_process_wakes_without_a_storm_of_expiries(void **state)
{
  (void)state;
  int ends[2];
  char byte;
  assert_int_equal(pipe(ends), 0);
  fflush(NULL);
  const pid_t child = fork();
  if (child == 0) {
    _exit(child_that_is_frozen(ends[1]));
  }
  close(ends[1]);
  assert_int_equal(read(ends[0], &byte, 1), 1);
  close(ends[0]);
  kill(child, SIGSTOP);
  pause_ms(7000); /* longer than what counts as asleep, and than the leases last */
  kill(child, SIGCONT);
  assert_int_equal(wait_for_child(child), FINE);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      TEST(a_child_is_refused_and_the_parents_session_goes_on),
      TEST(a_child_does_not_disturb_sqlite),
      TEST(a_child_gets_a_default_manager_of_its_own),
      TEST(a_child_of_a_busy_parent_never_hangs),
      TEST(a_stopped_process_wakes_without_a_storm_of_expiries),
  };
  if (!scratch_open()) {
    return 1;
  }
  const int failed = cmocka_run_group_tests(tests, NULL, NULL);
  scratch_close();
  return failed;
}
