#include "support/serve_fixture.h"

#include "support/low_port.h"

#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST_ARGS = 32, TRIES = 5 };

static void run(int out, const char *listen, const char *const *args)
{
  const char *command = getenv("CENOTE");
  const char *argv[MOST_ARGS + 8] = {command ? command : "build/cenote", "serve", "--listen",
                                     listen};
  size_t count = 4;
  for (size_t i = 0; i < MOST_ARGS && args[i]; i++) {
    argv[count++] = args[i];
  }
  prctl(PR_SET_PDEATHSIG, SIGKILL); /* no test leaves one behind */
  dup2(out, STDOUT_FILENO);
  execv(argv[0], (char *const *)(uintptr_t)argv);
  _exit(127);
}

static bool start(struct serve_fixture *serve, const char *listen, const char *const *args)
{
  static const char begin[] = "cenote: listening on ";
  int ends[2];
  char line[256] = "";
  *serve = (struct serve_fixture){.pid = -1};
  if (pipe2(ends, O_CLOEXEC) != 0) {
    return false;
  }
  fflush(NULL); /* or the child says it again */
  serve->pid = fork();
  if (serve->pid == 0) {
    close(ends[0]);
    run(ends[1], listen, args);
  }
  close(ends[1]);
  FILE *out = fdopen(ends[0], "r");
  const bool said = out && fgets(line, sizeof line, out);
  if (out) {
    fclose(out);
  }
  line[strcspn(line, "\n")] = '\0';
  if (!said || strncmp(line, begin, strlen(begin)) != 0) {
    fprintf(stderr, "no gateway: \"%s\"\n", line);
    (void)serve_fixture_stop(serve);
    return false;
  }
  snprintf(serve->url, sizeof serve->url, "%.63s", line + strlen(begin));
  serve->port = (int)strtol(strrchr(line, ':') + 1, NULL, 10);
  return true;
}

/* A test may stop it, and start another at its port. */
bool serve_fixture_start(struct serve_fixture *serve, const char *const *args)
{
  char listen[32];
  bool fine = false;
  for (int i = 0; i < TRIES && !fine; i++) {
    snprintf(listen, sizeof listen, "127.0.0.1:%d", low_port());
    fine = start(serve, listen, args);
  }
  return fine;
}

bool serve_fixture_start_at(struct serve_fixture *serve, const char *database, int port)
{
  const char *const args[] = {"--url", database, NULL};
  char listen[32];
  if (port == 0) {
    return serve_fixture_start(serve, args);
  }
  snprintf(listen, sizeof listen, "127.0.0.1:%d", port);
  return start(serve, listen, args);
}

bool serve_fixture_stop(struct serve_fixture *serve)
{
  int status = -1;
  if (serve->pid <= 0) {
    return false;
  }
  kill(serve->pid, SIGTERM);
  const pid_t ended = waitpid(serve->pid, &status, 0);
  serve->pid = -1;
  return ended > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}
