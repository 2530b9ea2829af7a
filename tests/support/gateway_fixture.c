#include "support/gateway_fixture.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static void run(const char *database, int port, int out)
{
  const char *command = getenv("CENOTE");
  char listen[32];
  (void)snprintf(listen, sizeof listen, "127.0.0.1:%d", port);
  (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
  (void)dup2(out, STDOUT_FILENO);
  (void)setenv("CENOTE_LOG", "error", 1);
  execl(command != NULL ? command : "cenote", "cenote", "serve", "--listen", listen, "--url",
        database, (char *)NULL);
  _exit(127);
}

bool gateway_fixture_start(struct gateway_fixture *gateway, const char *database, int port)
{
  int out[2];
  char line[128] = "";
  *gateway = (struct gateway_fixture){0};
  if (pipe(out) != 0) {
    return false;
  }
  (void)fflush(NULL);
  gateway->pid = fork();
  if (gateway->pid == 0) {
    (void)close(out[0]);
    run(database, port, out[1]);
  }
  (void)close(out[1]);
  FILE *said = fdopen(out[0], "r");
  const bool told = said != NULL && fgets(line, sizeof line, said) != NULL;
  const char *colon = told ? strrchr(line, ':') : NULL;
  if (said != NULL) {
    (void)fclose(said); /* it prints nothing more */
  }
  if (colon == NULL || sscanf(colon, ":%d", &gateway->port) != 1) {
    (void)gateway_fixture_stop(gateway);
    return false;
  }
  (void)snprintf(gateway->url, sizeof gateway->url, "http://127.0.0.1:%d", gateway->port);
  return true;
}

int gateway_fixture_stop(struct gateway_fixture *gateway)
{
  int status = -1;
  if (gateway->pid > 0) {
    (void)kill(gateway->pid, SIGTERM);
    (void)waitpid(gateway->pid, &status, 0);
    gateway->pid = 0;
    status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  return status;
}
