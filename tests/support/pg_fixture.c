#include "support/pg_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { SKIP_STATUS = 77, MAX_WORDS = 6 };

/* The script lies beside this file; the build tells the top of the sources. */
static void script_path(char *path, size_t size)
{
  const char *top = getenv("CENOTE_SOURCE");
  if (top) {
    snprintf(path, size, "%s/tests/support/with_postgres", top);
    return;
  }
  snprintf(path, size, "%s", __FILE__);
  char *slash = strrchr(path, '/');
  size_t kept = slash ? (size_t)(slash - path) + 1 : 0;
  snprintf(path + kept, size - kept, "with_postgres");
}

static int wait_for(pid_t pid)
{
  int status;
  while (waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) {
      return -1;
    }
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

/* Starts words[0] with its standard input and output, where given, on these descriptors. */
static pid_t spawn(const char *const *words, int in, int out)
{
  posix_spawn_file_actions_t actions;
  char *argv[MAX_WORDS + 1] = {NULL};
  for (size_t i = 0; i < MAX_WORDS && words[i]; i++) {
    argv[i] = (char *)(uintptr_t)words[i];
  }
  pid_t pid = -1;
  if (posix_spawn_file_actions_init(&actions) != 0) {
    return -1;
  }
  if (in >= 0) {
    posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
  }
  if (out >= 0) {
    posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
  } else {
    posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO); /* TAP stays clean */
  }
  if (posix_spawn(&pid, argv[0], &actions, NULL, argv, environ) != 0) {
    pid = -1;
  }
  posix_spawn_file_actions_destroy(&actions);
  return pid;
}

/* Reads up to the empty line; lines become NUL-terminated. */
static bool read_vars(struct pg_fixture *pg, int fd)
{
  size_t size = 0;
  while (size + 1 < sizeof(pg->vars)) {
    ssize_t got = read(fd, pg->vars + size, 1);
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got <= 0) {
      return false;
    }
    if (pg->vars[size] == '\n') {
      pg->vars[size] = '\0';
      if (size == 0 || pg->vars[size - 1] == '\0') {
        return size > 0;
      }
    }
    size++;
  }
  return false;
}

static void export_vars(const struct pg_fixture *pg)
{
  for (const char *var = pg->vars; *var; var += strlen(var) + 1) {
    const char *equals = strchr(var, '=');
    if (equals) {
      char name[64];
      snprintf(name, sizeof(name), "%.*s", (int)(equals - var), var);
      setenv(name, equals + 1, 1);
    }
  }
}

bool pg_fixture_start(struct pg_fixture *pg, const char *max_connections)
{
  int to[2], from[2];
  char script[1024];
  memset(pg, 0, sizeof(*pg));
  pg->leash = -1;
  if (pipe2(to, O_CLOEXEC) != 0) {
    return false;
  }
  if (pipe2(from, O_CLOEXEC) != 0) {
    close(to[0]);
    close(to[1]);
    return false;
  }
  script_path(script, sizeof(script));
  const char *const words[] = {script, "--max-connections",
                               max_connections ? max_connections : "60", "--serve", NULL};
  pg->script = spawn(words, to[0], from[1]);
  close(to[0]);
  close(from[1]);
  pg->leash = to[1];
  bool ready = pg->script > 0 && read_vars(pg, from[0]);
  close(from[0]);
  if (ready) {
    export_vars(pg);
    return true;
  }
  close(pg->leash);
  pg->leash = -1;
  pg->missing = pg->script > 0 && wait_for(pg->script) == SKIP_STATUS;
  pg->script = 0;
  return false;
}

void pg_fixture_stop(struct pg_fixture *pg)
{
  if (pg->leash >= 0) {
    close(pg->leash);
    pg->leash = -1;
  }
  if (pg->script > 0) {
    (void)wait_for(pg->script);
    pg->script = 0;
  }
}

int pg_fixture_skip(const struct pg_fixture *pg)
{
  if (pg->missing) {
    printf("1..0 # SKIP no PostgreSQL server on this machine\n");
    return 0;
  }
  printf("Bail out! the PostgreSQL server did not start\n");
  return 1;
}

const char *pg_fixture_get(const struct pg_fixture *pg, const char *name)
{
  static const char prefix[] = "CENOTE_TEST_";
  size_t size = strlen(name);
  for (const char *var = pg->vars; *var; var += strlen(var) + 1) {
    const char *at = var + sizeof(prefix) - 1;
    if (strncmp(var, prefix, sizeof(prefix) - 1) == 0 && strncmp(at, name, size) == 0 &&
        at[size] == '=') {
      return at + size + 1;
    }
  }
  return "";
}

int pg_fixture_ctl(const struct pg_fixture *pg, const char *verb, const char *argument)
{
  const char *const words[] = {pg_fixture_get(pg, "POSTGRES_CTL"), verb, argument, NULL};
  pid_t pid = spawn(words, -1, -1);
  return pid > 0 ? wait_for(pid) : -1;
}

bool pg_fixture_shutdown(const struct pg_fixture *pg)
{
  return pg_fixture_ctl(pg, "stop", NULL) == 0;
}

bool pg_fixture_kill(const struct pg_fixture *pg)
{
  return pg_fixture_ctl(pg, "kill", NULL) == 0;
}

bool pg_fixture_restart(const struct pg_fixture *pg)
{
  return pg_fixture_ctl(pg, "start", NULL) == 0;
}

bool pg_fixture_pause(const struct pg_fixture *pg)
{
  const bool paused = pg_fixture_ctl(pg, "pause", NULL) == 0;
  nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL); /* the signals take a moment */
  return paused;
}

bool pg_fixture_resume(const struct pg_fixture *pg)
{
  return pg_fixture_ctl(pg, "resume", NULL) == 0;
}
