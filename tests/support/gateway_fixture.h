/*
 * gateway_fixture.h - `cenote serve` for one test program, on a free port of 127.0.0.1. For the
 * test's main thread. The command is the one of the environment's CENOTE.
 */
#ifndef TEST_GATEWAY_FIXTURE_H
#define TEST_GATEWAY_FIXTURE_H

#include <stdbool.h>
#include <sys/types.h>

struct gateway_fixture {
  pid_t pid; /* 0: it does not run */
  int port;
  char url[64]; /* http://127.0.0.1:PORT, without a slash at the end */
};

/* Serves one database; `port` 0: any. false: it did not start, and said why on standard error. */
bool gateway_fixture_start(struct gateway_fixture *gateway, const char *database, int port);
/* SIGTERM, and waits. Its exit status, or -1. Fine when it does not run. */
int gateway_fixture_stop(struct gateway_fixture *gateway);

#endif
