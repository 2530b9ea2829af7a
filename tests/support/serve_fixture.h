/* serve_fixture.h - a running `cenote serve` of the test's own, on a free port of 127.0.0.1. The
 * command is $CENOTE. Main thread. */
#ifndef TEST_SERVE_FIXTURE_H
#define TEST_SERVE_FIXTURE_H

#include <stdbool.h>
#include <sys/types.h>

struct serve_fixture {
  pid_t pid;
  int port;
  char url[64]; /* http://127.0.0.1:PORT */
};

/* `args`: what stands behind `cenote serve --listen …`, ended by NULL. */
bool serve_fixture_start(struct serve_fixture *serve, const char *const *args);
/* One database, on a port that is known already; 0: any. */
bool serve_fixture_start_at(struct serve_fixture *serve, const char *database, int port);
/* SIGTERM; true: it ended with status 0. */
bool serve_fixture_stop(struct serve_fixture *serve);

#endif
