/*
 * The process itself: it forks, it stops for a while, and the sessions of the pool take no harm.
 * Not for the thread sanitizer, which does not follow a fork of a process with threads.
 */
#include "fault/pool_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SESSIONS = 3 };

static struct rig rig;

/* Asked by the leak checker: it cannot look at a forked child of a process with threads. */
static bool is_child;
int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void)
{
  return is_child;
}

/* In a child: no assertion of cmocka's, whose jump would lead into the parent's test. */
static void must(bool good, const char *what)
{
  if (!good) {
    fprintf(stderr, "# the child: %s\n", what);
    _exit(1);
  }
}

static void quiet_child(void)
{
  const int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
  is_child = true;
  must(null >= 0 && dup2(null, STDOUT_FILENO) >= 0, "cannot be quiet");
  close(null);
}

static int wait_child(pid_t child)
{
  int status = 0;
  while (waitpid(child, &status, 0) < 0) {
    assert_int_equal(errno, EINTR);
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* -------------------------------------------------------------------------- freezing */

static void frozen_child(int ready, int go)
{
  char url[700];
  char byte = 'r';
  cenote_manager *manager;
  cenote_error error = CENOTE_ERROR_INIT;
  const cenote_setting settings[] = {{"max_connections", "4"},
                                     {"min_connections", "0"},
                                     {"lease_timeout_ms", "4000"},
                                     {"log", "error"},
                                     {"application_name", "frozen"}};
  cenote_options options = CENOTE_OPTIONS_INIT;
  options.settings = settings;
  options.settings_count = sizeof settings / sizeof settings[0];
  snprintf(url, sizeof url, "%s&options=-c%%20idle_session_timeout%%3D1000",
           rig_var("POSTGRES_URL"));
  must(cenote_open(url, &options, &manager, &error) == CENOTE_OK, error.message);
  cenote_lease leases[4];
  for (int i = 0; i < 4; i++) {
    must(cenote_acquire(manager, "before", 10000, &leases[i], &error) == CENOTE_OK, error.message);
    must(rig_run(leases[i], "select 1", &error) == CENOTE_OK, error.message);
  }
  for (int i = 1; i < 4; i++) {
    must(cenote_release(leases[i]) == CENOTE_OK, "release");
  }
  must(write(ready, &byte, 1) == 1 && read(go, &byte, 1) == 1, "pipes");

  /* Thawed: the lease has its time back, and what rested is dead, which nobody must notice. */
  must(rig_run(leases[0], "select 1", &error) == CENOTE_CONNECTION_LOST, "the held lease");
  must(cenote_release(leases[0]) == CENOTE_OK, "the held lease expired");
  for (int i = 0; i < 4; i++) {
    must(cenote_acquire(manager, "after", 20000, &leases[i], &error) == CENOTE_OK, error.message);
    must(rig_run(leases[i], "select 1", &error) == CENOTE_OK, error.message);
  }
  for (int i = 0; i < 4; i++) {
    must(cenote_release(leases[i]) == CENOTE_OK, "release");
  }
  cenote_statistics statistics = CENOTE_STATISTICS_INIT;
  must(cenote_pool_statistics(manager, &statistics) == CENOTE_OK, "statistics");
  must(statistics.lease_timeouts == 0, "a storm of expiries");
  must(statistics.thaws >= 1, "it was not noticed");
  cenote_close(manager);
  _exit(0);
}

/* The process stops, the server reaps its sessions as it was told, the process goes on. */
static void freeze_thaw(void **state)
{
  int ready[2], go[2];
  char byte = 'g';
  (void)state;
  assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
  assert_int_equal(pipe2(go, O_CLOEXEC), 0);
  fflush(NULL);
  const pid_t child = fork();
  if (child == 0) {
    quiet_child();
    close(ready[0]);
    close(go[1]);
    frozen_child(ready[1], go[0]);
  }
  assert_true(child > 0);
  close(ready[1]);
  close(go[0]);
  const bool began = read(ready[0], &byte, 1) == 1;
  const bool stopped = began && kill(child, SIGSTOP) == 0;
  const bool reaped =
      stopped && admin_becomes("select count(*) from pg_stat_activity where application_name = "
                               "'frozen'",
                               0);
  rig_nap_ms(5000); /* longer than the lease's time, and long enough to be noticed */
  const bool told = write(go[1], &byte, 1) == 1;
  kill(child, SIGCONT);
  const int status = wait_child(child);
  close(ready[0]);
  close(go[1]);
  assert_true(began && stopped && reaped && told);
  assert_int_equal(status, 0);
}

/* --------------------------------------------------------------------------- forking */

/* What a program does that does not know better: uses what it inherited, then leaves normally. */
static void forked_child(cenote_lease held)
{
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_lease lease;
  cenote_manager *own;
  quiet_child();
  must(cenote_acquire(rig.manager, "child", 1000, &lease, &error) == CENOTE_FORKED, "acquire");
  must(strstr(error.message, "parent") != NULL, error.message);
  must(rig_run(held, "select 1", &error) == CENOTE_FORKED, "execute");
  must(cenote_release(held) == CENOTE_FORKED, "release");
  must(cenote_lease_resource(held) == NULL, "resource");
  must(cenote_shutdown(rig.manager, 100, &error) == CENOTE_FORKED, "shutdown");
  const cenote_setting settings[] = {{"max_connections", "2"}, {"application_name", "child"}};
  cenote_options options = CENOTE_OPTIONS_INIT;
  options.settings = settings;
  options.settings_count = 2;
  must(cenote_open(rig_var("POSTGRES_URL"), &options, &own, &error) == CENOTE_OK, error.message);
  must(cenote_acquire(own, "own", 20000, &lease, &error) == CENOTE_OK, error.message);
  must(rig_run(lease, "select 1", &error) == CENOTE_OK, error.message);
  must(cenote_release(lease) == CENOTE_OK, "release of its own");
  cenote_close(own);
}

static void fork_child(void **state)
{
  int64_t pids[SESSIONS];
  cenote_lease leases[SESSIONS];
  (void)state;
  rig.options = (cenote_options)CENOTE_OPTIONS_INIT;
  rig_open(&rig, rig_var("POSTGRES_URL"), "max_connections", "3", "min_connections", "0",
           "application_name", "parent", NULL);
  for (int close_it = 0; close_it < 2; close_it++) {
    for (int i = 0; i < SESSIONS; i++) {
      leases[i] = rig_acquire(rig.manager, "parent");
      pids[i] = rig_integer(leases[i], "select pg_backend_pid()");
    }
    rig_must_run(leases[0], "begin");
    rig_release(leases[2]); /* one idle, one in a transaction, one held */
    fflush(NULL);
    const pid_t child = fork();
    if (child == 0) {
      forked_child(leases[0]);
      if (close_it) {
        cenote_close(rig.manager);
      }
      exit(0); /* with everything that runs at a normal end */
    }
    assert_true(child > 0);
    assert_int_equal(wait_child(child), 0);
    for (int i = 0; i < 2; i++) {
      assert_int_equal(rig_integer(leases[i], "select pg_backend_pid()"), pids[i]);
    }
    rig_must_run(leases[0], "commit");
    leases[2] = rig_acquire(rig.manager, "parent");
    assert_int_equal(rig_integer(leases[2], "select pg_backend_pid()"), pids[2]);
    for (int i = 0; i < SESSIONS; i++) {
      rig_release(leases[i]);
    }
  }
  assert_int_equal(rig_statistics(rig.manager).connections_created, SESSIONS);
  rig_close(&rig);
  assert_true(admin_becomes("select count(*) from pg_stat_activity where application_name in "
                            "('parent', 'child')",
                            0));
}

/* A child that is killed, or leaves by _exit(), while its parent runs a statement. */
static void fork_during_a_statement(void **state)
{
  (void)state;
  rig.options = (cenote_options)CENOTE_OPTIONS_INIT;
  rig_open(&rig, rig_var("POSTGRES_URL"), "max_connections", "2", "min_connections", "1", NULL);
  for (int i = 0; i < 10; i++) {
    const cenote_lease lease = rig_acquire(rig.manager, "parent");
    fflush(NULL);
    const pid_t child = fork();
    if (child == 0) {
      _exit(0);
    }
    assert_true(child > 0);
    assert_int_equal(rig_integer(lease, "select 40 + 2 from pg_sleep(0.005)"), 42);
    assert_int_equal(wait_child(child), 0);
    rig_release(lease);
  }
  rig_close(&rig);
}

int main(void)
{
  if (!pg_fixture_start(&rig_server, NULL)) {
    return pg_fixture_skip(&rig_server);
  }
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(freeze_thaw),
      cmocka_unit_test(fork_child),
      cmocka_unit_test(fork_during_a_statement),
  };
  int failed = cmocka_run_group_tests_name("pool_processes", tests, NULL, NULL);
  pg_fixture_stop(&rig_server);
  return failed;
}
