/*
 * runner.h - runs random histories, in a child process each lot of them, so that a crash or a
 * sanitizer's report names its seed as well; makes a failing one smaller; prints the command that
 * replays it.
 *
 *   PROGRAM                                histories until so many events have passed (CI)
 *   PROGRAM --events N --from SEED         more of them, from another seed on; --no-shrink: a failing
 *                                          one is reported as it is
 *   PROGRAM --seconds N                    by the clock (or SECONDS=N in the environment)
 *   PROGRAM --seed S [--schedule K]        one history; with --trace every event is printed, with
 *           [--trace] [--steps]            --steps every switch as well
 *   further, to make a history smaller: --clients N --operations N --slots N --faults MASK
 */
#ifndef SIM_RUNNER_H
#define SIM_RUNNER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct wish {
  bool has_seed;
  uint64_t seed, schedule, events, from;
  long seconds;                            /* 0: by events */
  long clients, operations, slots, faults; /* -1: as drawn */
  bool trace, steps, no_shrink;
};

struct runner {
  const char *program; /* as it stands in the command that replays */
  const char *claim;   /* the test's name */
  uint64_t events;     /* in CI */
  long fault_all;
  /* One history. false: `failure` says what went wrong. */
  bool (*run)(const struct wish *wish, uint64_t *events, char *failure, size_t size);
  /* The four numbers that may be made smaller, as the seed draws them where they are -1. */
  void (*draw)(struct wish *wish);
};

int runner_main(const struct runner *runner, int count, char **words);

#endif
