/* budget_pools.c - many managers under one maximum: never more connections than that, and everybody
 * is served. On the fake driver; with threads of their own, on loops of the host's, with the simple
 * path. */
#include "manager_help.h"

#include "driver/scratch.h"

#include "base/rng.h"
#include "manager/budget.h"
#include "manager/budget_member.h"
#include "manager/manager.h"

#include <cenote/loop.h>

#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MANAGERS = 24 };

/* One fake database behind all of them. */
struct town {
  struct place place; /* its script and notes; no manager of its own */
  struct cen_budget *budget;
  cenote_manager *manager[MANAGERS];
  size_t count;
};

static void town_init(struct town *town, int64_t maximum, int64_t per_group)
{
  memset(town, 0, sizeof *town);
  place_init(&town->place);
  town->budget = cen_budget_new(maximum, per_group);
  assert_non_null(town->budget);
}

static cenote_manager *add(struct town *town, const char *group)
{
  cenote_manager **manager = &town->manager[town->count++];
  must(cen_budget_open(town->budget, group, "fake://town", &town->place.options, manager,
                       &town->place.error),
       &town->place.error);
  return *manager;
}

static void town_close(struct town *town)
{
  struct cen_budget_figures figures;
  for (size_t i = 0; i < town->count; i++) {
    cenote_close(town->manager[i]);
  }
  cen_budget_read(town->budget, &figures);
  assert_int_equal(figures.members, 0);
  assert_int_equal(figures.used, 0);
  cen_budget_free(town->budget);
  place_close(&town->place);
}

static struct cen_budget_figures figures_of(const struct town *town)
{
  struct cen_budget_figures figures;
  cen_budget_read(town->budget, &figures);
  return figures;
}

static int64_t open_now(const struct town *town)
{
  return atomic_load(&town->place.script.open_now);
}

/* ------------------------------------------------------------------------ one by one */

static void a_single_member_may_have_everything(void **state)
{
  (void)state;
  struct town town;
  cenote_lease lease[4];
  town_init(&town, 4, 0);
  place_set(&town.place, "min_connections", "0");
  place_set(&town.place, "max_connections", "10");
  cenote_manager *manager = add(&town, "a");
  for (int i = 0; i < 4; i++) {
    lease[i] = must_acquire(manager, "all of them");
  }
  cenote_lease none;
  cenote_error error = CENOTE_ERROR_INIT;
  assert_int_equal(cenote_acquire(manager, "more", 50, &none, &error), CENOTE_TIMEOUT);
  has_text(error.details, "at most 4 now: other pools share a maximum");
  assert_int_equal(open_now(&town), 4);
  for (int i = 0; i < 4; i++) {
    must_release(lease[i]);
  }
  town_close(&town);
}

static void idle_connections_give_way_at_once(void **state)
{
  (void)state;
  struct town town;
  cenote_lease lease[3];
  town_init(&town, 3, 0);
  place_set(&town.place, "min_connections", "0");
  cenote_manager *first = add(&town, "a"), *second = add(&town, "b");
  for (int i = 0; i < 3; i++) {
    lease[i] = must_acquire(first, "first");
  }
  for (int i = 0; i < 3; i++) {
    must_release(lease[i]);
  }
  assert_int_equal(open_now(&town), 3); /* nobody else wants them */
  for (int i = 0; i < 3; i++) {
    lease[i] = must_acquire(second, "second");
  }
  assert_true(noted(&town.place.notes, "audit: closed quota") >= 3);
  assert_int_equal(atomic_load(&town.place.script.open_most), 3);
  for (int i = 0; i < 3; i++) {
    must_release(lease[i]);
  }
  assert_true(figures_of(&town).moved >= 3);
  town_close(&town);
}

static void what_only_rests_on_the_simple_path_gives_way_too(void **state)
{
  (void)state;
  struct town town;
  static cenote_driver driver;
  town_init(&town, 2, 0);
  driver = fake_driver;
  driver.name = "postgres";
  town.place.options.driver = &driver;
  place_set(&town.place, "min_connections", "0");
  cenote_manager *first = add(&town, "a"), *second = add(&town, "b");
  cenote_result *result;
  for (int i = 0; i < 20; i++) {
    cenote_manager *manager = i % 2 == 0 ? first : second;
    must(cenote_query(manager, "SELECT 5", NULL, 0, NULL, &result, &town.place.error),
         &town.place.error);
    cenote_result_free(result);
    must(cenote_query(manager, "INSERT 5", NULL, 0, NULL, &result, &town.place.error),
         &town.place.error);
    cenote_result_free(result);
  }
  cenote_lease one = must_acquire(first, "one"), two = must_acquire(second, "two");
  assert_true(atomic_load(&town.place.script.open_most) <= 2);
  must_release(one);
  must_release(two);
  town_close(&town);
}

static void the_minimum_is_kept_only_where_nobody_else_wants(void **state)
{
  (void)state;
  struct town town;
  town_init(&town, 2, 0);
  place_set(&town.place, "min_connections", "2");
  cenote_manager *first = add(&town, "a");
  wait_until(open_now(&town) == 2);
  town.place.settings[0].value = "0";
  cenote_manager *second = add(&town, "b");
  cenote_lease one = must_acquire(second, "one"), two = must_acquire(second, "two");
  cenote_lease none;
  assert_int_equal(cenote_acquire(first, "none", 0, &none, NULL), CENOTE_TIMEOUT);
  must_release(one);
  must_release(two);
  town_close(&town);
}

static void a_group_has_its_own_maximum(void **state)
{
  (void)state;
  struct town town;
  town_init(&town, 10, 2);
  place_set(&town.place, "min_connections", "0");
  cenote_manager *a1 = add(&town, "a"), *a2 = add(&town, "a"), *b = add(&town, "b");
  cenote_lease one = must_acquire(a1, "1"), two = must_acquire(a2, "2"), none;
  assert_int_equal(cenote_acquire(a1, "3", 100, &none, NULL), CENOTE_TIMEOUT);
  assert_int_equal(cenote_acquire(a2, "3", 100, &none, NULL), CENOTE_TIMEOUT);
  must_release(must_acquire(b, "other"));
  must_release(one);
  one = must_acquire(a2, "from the other of the group");
  must_release(one);
  must_release(two);
  town_close(&town);
}

static void a_member_takes_what_it_holds_to_another_group(void **state)
{
  (void)state;
  struct town town;
  town_init(&town, 10, 1);
  place_set(&town.place, "min_connections", "0");
  cenote_manager *a1 = add(&town, "a"), *a2 = add(&town, "a");
  cenote_lease one = must_acquire(a1, "1"), none;
  assert_int_equal(cenote_acquire(a2, "2", 100, &none, NULL), CENOTE_TIMEOUT);
  assert_true(cen_budget_regroup(a1, "b"));
  assert_true(cen_budget_regroup(a1, "b")); /* it is there already */
  cenote_lease two = must_acquire(a2, "2");
  cenote_manager *b = add(&town, "b");
  assert_int_equal(cenote_acquire(b, "3", 100, &none, NULL), CENOTE_TIMEOUT);
  must_release(one);
  must_release(must_acquire(b, "3"));
  assert_true(cen_budget_regroup(a2, "c")); /* the last of its group takes the group away */
  must_release(two);
  town_close(&town);
}

static void a_smaller_maximum_is_reached_as_leases_come_back(void **state)
{
  (void)state;
  struct town town;
  cenote_lease lease[4];
  town_init(&town, 4, 0);
  place_set(&town.place, "min_connections", "0");
  cenote_manager *first = add(&town, "a"), *second = add(&town, "b");
  for (int i = 0; i < 4; i++) {
    lease[i] = must_acquire(i % 2 == 0 ? first : second, "some");
  }
  cen_budget_resize(town.budget, 2, 0);
  assert_int_equal(must_read(lease[0], "SELECT 6"), 6); /* nobody is disturbed */
  for (int i = 0; i < 4; i++) {
    must_release(lease[i]);
  }
  wait_until(open_now(&town) <= 2);
  cen_budget_resize(town.budget, 0, 0);
  wait_until(open_now(&town) == 0);
  cen_budget_resize(town.budget, 1, 0);
  must_release(must_acquire(first, "again"));
  must_release(must_acquire(second, "again"));
  town_close(&town);
}

static void a_member_that_leaves_gives_its_share_back(void **state)
{
  (void)state;
  struct town town;
  town_init(&town, 1, 0);
  place_set(&town.place, "min_connections", "0");
  place_set(&town.place, "shutdown_timeout_ms", "0");
  cenote_manager *first = add(&town, "a"), *second = add(&town, "a");
  (void)must_acquire(first, "never given back");
  cenote_close(first);
  town.manager[0] = NULL;
  must_release(must_acquire(second, "at last"));
  assert_int_equal(figures_of(&town).members, 1);
  town_close(&town);
}

static void a_forked_child_only_forgets_it(void **state)
{
  (void)state;
  struct town town;
  town_init(&town, 1, 0);
  place_set(&town.place, "min_connections", "0");
  cenote_manager *manager = add(&town, "a");
  must_release(must_acquire(manager, "parent"));
  const pid_t child = fork();
  if (child == 0) {
    cenote_manager *none;
    const cenote_status status =
        cen_budget_open(town.budget, "a", "fake://town", &town.place.options, &none, NULL);
    cenote_close(manager);
    cen_budget_free(town.budget);
    _exit(status == CENOTE_FORKED ? 0 : 1);
  }
  int result = -1;
  assert_int_equal(waitpid(child, &result, 0), child);
  assert_int_equal(result, 0);
  must_release(must_acquire(manager, "parent"));
  town_close(&town);
}

static void a_failing_member_does_not_keep_its_place(void **state)
{
  (void)state;
  struct town town;
  struct fake_script bad;
  town_init(&town, 1, 0);
  fake_script_init(&bad);
  place_set(&town.place, "min_connections", "0");
  place_set(&town.place, "breaker_failures", "0");
  cenote_manager *good = add(&town, "good");
  town.place.options.driver_context = &bad;
  cenote_manager *failing = add(&town, "bad");
  fake_fail(&bad, CENOTE_REQUEST_OPEN, CENOTE_CONNECT, -1);
  cenote_lease none;
  for (int i = 0; i < 3; i++) {
    assert_int_not_equal(cenote_acquire(failing, "hopeless", 30, &none, NULL), CENOTE_OK);
    must_release(must_acquire(good, "meanwhile"));
  }
  cenote_close(failing);
  town.manager[1] = NULL;
  fake_script_deinit(&bad);
  town_close(&town);
}

/* A breaker that is open asks with one connection, which the budget has to allow first. */
static void a_probe_finds_its_place(void **state)
{
  (void)state;
  struct town town;
  struct fake_script sick;
  town_init(&town, 1, 0);
  fake_script_init(&sick);
  place_set(&town.place, "min_connections", "0");
  place_set(&town.place, "breaker_failures", "1");
  place_set(&town.place, "breaker_open_ms", "100");
  cenote_manager *good = add(&town, "good");
  town.place.options.driver_context = &sick;
  cenote_manager *healing = add(&town, "sick");
  fake_fail(&sick, CENOTE_REQUEST_OPEN, CENOTE_CONNECT, -1);
  cenote_lease lease;
  assert_int_not_equal(cenote_acquire(healing, "hopeless", 100, &lease, NULL), CENOTE_OK);
  const cenote_lease held = must_acquire(good, "has the only one");
  fake_fail(&sick, CENOTE_REQUEST_OPEN, CENOTE_CONNECT, 0);
  pause_ms(300);
  must_release(held);
  wait_until(cenote_acquire(healing, "healed", 100, &lease, NULL) == CENOTE_OK);
  must_release(lease);
  cenote_close(healing);
  town.manager[1] = NULL;
  fake_script_deinit(&sick);
  town_close(&town);
}

/* ------------------------------------------------------------------------ all at once */

enum { THREADS = 12, MAXIMUM = 5, RUN_MS = 1500 };

struct crew {
  struct town town;
  int64_t end_ms;
  bool routed;
  _Atomic uint64_t served[MANAGERS], refused;
};

struct hand {
  struct crew *crew;
  uint64_t seed;
};

static void use(struct crew *crew, cenote_manager *manager, size_t at, struct cen_rng *rng)
{
  cenote_error error = CENOTE_ERROR_INIT;
  if (crew->routed && cen_rng_below(rng, 3) != 0) {
    cenote_result *result = NULL;
    const cenote_status status =
        cenote_query(manager, cen_rng_below(rng, 2) == 0 ? "SELECT 1" : "INSERT 1", NULL, 0, NULL,
                     &result, &error);
    must(status, &error);
    cenote_result_free(result);
  } else {
    const cenote_lease lease = must_acquire(manager, "crew");
    must_run(lease, "SELECT 1");
    if (cen_rng_below(rng, 8) == 0) {
      pause_ms((int64_t)cen_rng_below(rng, 5));
    }
    must_release(lease);
  }
  atomic_fetch_add(&crew->served[at], 1);
}

static void *work(void *context)
{
  struct hand *hand = context;
  struct cen_rng rng;
  cen_rng_seed(&rng, hand->seed);
  while (now_ms() < hand->crew->end_ms) {
    const size_t at = cen_rng_below(&rng, MANAGERS);
    use(hand->crew, hand->crew->town.manager[at], at, &rng);
  }
  return NULL;
}

static void crew_run(bool routed, const char *maximum)
{
  static struct crew crew;
  static cenote_driver driver;
  struct hand hands[THREADS];
  pthread_t threads[THREADS];
  memset(&crew, 0, sizeof crew);
  town_init(&crew.town, MAXIMUM, routed ? 3 : 0);
  driver = fake_driver;
  driver.name = routed ? "postgres" : driver.name;
  crew.town.place.options.driver = &driver;
  crew.routed = routed;
  place_set(&crew.town.place, "min_connections", routed ? "0" : "1");
  place_set(&crew.town.place, "max_connections", maximum);
  place_set(&crew.town.place, "acquire_timeout_ms", "20000");
  for (int i = 0; i < MANAGERS; i++) {
    char group[16];
    snprintf(group, sizeof group, "group %d", i / 2);
    add(&crew.town, group);
  }
  crew.end_ms = now_ms() + RUN_MS;
  for (int i = 0; i < THREADS; i++) {
    hands[i] = (struct hand){.crew = &crew, .seed = (uint64_t)i + 1};
    threads[i] = start_thread(work, &hands[i]);
  }
  for (int i = 0; i < THREADS; i++) {
    pthread_join(threads[i], NULL);
  }
  assert_true(atomic_load(&crew.town.place.script.open_most) <= MAXIMUM);
  assert_true(figures_of(&crew.town).used <= MAXIMUM);
  assert_int_equal(figures_of(&crew.town).overdrawn, 0);
  uint64_t served = 0;
  for (int i = 0; i < MANAGERS; i++) {
    served += crew.served[i];
  }
  print_message("# %llu served, %llu connections, %llu changed hands\n", (unsigned long long)served,
                (unsigned long long)crew.town.place.script.created,
                (unsigned long long)figures_of(&crew.town).moved);
  assert_true(served >= THREADS);
  wait_until(figures_of(&crew.town).hungry == 0);
  town_close(&crew.town);
}

static void many_managers_never_have_more_than_the_maximum(void **state)
{
  (void)state;
  crew_run(false, "4");
}

static void shared_connections_count_too(void **state)
{
  (void)state;
  crew_run(true, "4");
}

/* ------------------------------------------------------------------------- on SQLite */

enum { FILES = 8, WRITERS = 6 };

struct writer {
  cenote_manager **manager;
  int64_t end_ms;
  uint64_t seed;
  _Atomic uint64_t *written; /* in each */
};

static _Atomic int64_t sqlite_open, sqlite_most;

static void count_connections(void *context, const cenote_audit_event *event)
{
  (void)context;
  if (event->kind == CENOTE_AUDIT_CONNECTION_OPENED) {
    const int64_t now = atomic_fetch_add(&sqlite_open, 1) + 1;
    int64_t most = atomic_load(&sqlite_most);
    while (now > most && !atomic_compare_exchange_weak(&sqlite_most, &most, now)) {
    }
  } else if (event->kind == CENOTE_AUDIT_CONNECTION_CLOSED) {
    atomic_fetch_sub(&sqlite_open, 1);
  }
}

static void *write_rows(void *context)
{
  struct writer *writer = context;
  struct cen_rng rng;
  cen_rng_seed(&rng, writer->seed);
  for (size_t n = 0; n < FILES || now_ms() < writer->end_ms; n++) { /* each at least once */
    const size_t at = n < FILES ? (n + writer->seed) % FILES : cen_rng_below(&rng, FILES);
    cenote_error error = CENOTE_ERROR_INIT;
    cenote_result *result = NULL;
    must(cenote_query(writer->manager[at], "INSERT INTO t VALUES (1)", NULL, 0, NULL, &result,
                      &error),
         &error);
    cenote_result_free(result);
    atomic_fetch_add(&writer->written[at], 1);
  }
  return NULL;
}

static void files_of_sqlite_share_a_maximum(void **state)
{
  (void)state;
  struct cen_budget *budget = cen_budget_new(3, 0);
  cenote_manager *manager[FILES];
  _Atomic uint64_t written[FILES] = {0};
  struct writer writers[WRITERS];
  pthread_t threads[WRITERS];
  cenote_options options = CENOTE_OPTIONS_INIT;
  cenote_error error = CENOTE_ERROR_INIT;
  const cenote_setting settings[] = {{"min_connections", "1"}, {"max_connections", "2"}};
  options.settings = settings;
  options.settings_count = 2;
  options.audit = count_connections;
  assert_true(scratch_open());
  assert_non_null(budget);
  for (int i = 0; i < FILES; i++) {
    must(cen_budget_open(budget, "file", scratch_url(), &options, &manager[i], &error), &error);
    const cenote_lease lease = must_acquire(manager[i], "table");
    must_run(lease, "CREATE TABLE t (a)");
    must_release(lease);
  }
  for (int i = 0; i < WRITERS; i++) {
    writers[i] = (struct writer){manager, now_ms() + RUN_MS, (uint64_t)i + 1, written};
    threads[i] = start_thread(write_rows, &writers[i]);
  }
  for (int i = 0; i < WRITERS; i++) {
    pthread_join(threads[i], NULL);
  }
  for (int i = 0; i < FILES; i++) {
    const cenote_lease lease = must_acquire(manager[i], "count");
    assert_int_equal(must_read(lease, "SELECT count(*) FROM t"), written[i]);
    assert_true(written[i] > 0);
    must_release(lease);
  }
  assert_true(atomic_load(&sqlite_most) <= 3);
  for (int i = 0; i < FILES; i++) {
    cenote_close(manager[i]);
  }
  assert_int_equal(atomic_load(&sqlite_open), 0);
  cen_budget_free(budget);
  scratch_close();
}

/* --------------------------------------------------------------- loops of the host's */

enum { LOOPS = 3, EACH = 4 };

struct loop_thread {
  _Atomic int
      *asking; /* loops that still wait for something: who is not driven gives nothing back */
  bool done;
  cenote_manager *manager[EACH];
  _Atomic int answered[EACH];
  int asked[EACH];
  int64_t end_ms;
};

struct loop_ask {
  struct loop_thread *thread;
  int at;
};

static void loop_has(void *context, cenote_status status, cenote_lease lease,
                     const cenote_error *error)
{
  struct loop_ask *ask = context;
  must(status, error);
  atomic_fetch_add(&ask->thread->answered[ask->at], 1);
  must_release(lease);
}

static void *run_loop(void *context)
{
  struct loop_thread *thread = context;
  struct loop_ask ask[EACH];
  cenote_error error = CENOTE_ERROR_INIT;
  const int64_t last_ms = thread->end_ms + PATIENCE_MS;
  for (bool busy = true; atomic_load(thread->asking) > 0;) {
    struct pollfd fds[EACH];
    int64_t wait = 20;
    busy = false;
    for (int i = 0; i < EACH; i++) {
      if (thread->asked[i] == thread->answered[i] &&
          (thread->asked[i] == 0 || now_ms() < thread->end_ms)) {
        ask[i] = (struct loop_ask){.thread = thread, .at = i};
        thread->asked[i]++;
        must(cenote_acquire_async(thread->manager[i], "loop", PATIENCE_MS, loop_has, &ask[i], NULL,
                                  &error),
             &error);
      }
      fds[i] = (struct pollfd){.fd = cenote_pollfd(thread->manager[i]), .events = POLLIN};
      const int64_t next = cenote_next_deadline(thread->manager[i]);
      wait = next >= 0 && next < wait ? next : wait;
      busy = busy || thread->asked[i] != thread->answered[i];
    }
    (void)poll(fds, EACH, (int)wait);
    for (int i = 0; i < EACH; i++) {
      must(cenote_dispatch(thread->manager[i], &error), &error);
    }
    if (!busy && !thread->done && now_ms() >= thread->end_ms) {
      thread->done = true;
      atomic_fetch_sub(thread->asking, 1);
    }
    if (now_ms() > last_ms) {
      fail_msg("somebody was never answered");
    }
  }
  return NULL;
}

/* Their loops stand still while they wait: a kick has to wake them. */
static void members_on_different_loops_are_kicked(void **state)
{
  (void)state;
  struct town town;
  struct loop_thread loops[LOOPS];
  pthread_t threads[LOOPS];
  memset(loops, 0, sizeof loops);
  town_init(&town, 2, 0);
  place_set(&town.place, "min_connections", "0");
  town.place.options.external_loop = true;
  _Atomic int asking = LOOPS;
  for (int i = 0; i < LOOPS; i++) {
    loops[i].asking = &asking;
    loops[i].end_ms = now_ms() + RUN_MS;
    for (int k = 0; k < EACH; k++) {
      char group[16];
      snprintf(group, sizeof group, "group %d", k);
      loops[i].manager[k] = add(&town, group);
    }
  }
  for (int i = 0; i < LOOPS; i++) {
    threads[i] = start_thread(run_loop, &loops[i]);
  }
  for (int i = 0; i < LOOPS; i++) {
    pthread_join(threads[i], NULL);
  }
  for (int i = 0; i < LOOPS * EACH; i++) {
    assert_true(loops[i / EACH].answered[i % EACH] > 0);
  }
  assert_true(atomic_load(&town.place.script.open_most) <= 2);
  town_close(&town);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      TEST(a_single_member_may_have_everything),
      TEST(idle_connections_give_way_at_once),
      TEST(what_only_rests_on_the_simple_path_gives_way_too),
      TEST(the_minimum_is_kept_only_where_nobody_else_wants),
      TEST(a_group_has_its_own_maximum),
      TEST(a_member_takes_what_it_holds_to_another_group),
      TEST(a_smaller_maximum_is_reached_as_leases_come_back),
      TEST(a_member_that_leaves_gives_its_share_back),
      TEST(a_forked_child_only_forgets_it),
      TEST(a_failing_member_does_not_keep_its_place),
      TEST(a_probe_finds_its_place),
      TEST(many_managers_never_have_more_than_the_maximum),
      TEST(shared_connections_count_too),
      TEST(files_of_sqlite_share_a_maximum),
      TEST(members_on_different_loops_are_kicked),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
