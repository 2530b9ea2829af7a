/* scenarios.h - scripts in the simulated world: each named scenario is played with many schedules
 * of every kind, and its own assertions hold in each. */
#ifndef SIM_SCENARIOS_H
#define SIM_SCENARIOS_H

#include "sim/world.h"

/* A scenario's own condition, checked by the script itself. */
#define EXPECT(condition)                                              \
  do {                                                                 \
    if (!(condition)) {                                                \
      sim_fail("%s:%d: expected: %s", __FILE__, __LINE__, #condition); \
    }                                                                  \
  } while (0)

struct scenario {
  const char *name;
  void (*set)(struct world_config *config); /* changes the plain configuration */
  sim_body *body[8];                        /* the clients: each ends with client_done */
  unsigned copies;                          /* of the last of them; 0: one */
  void (*after)(void);                      /* when the run is over, before the balance */
  unsigned runs;                            /* 0: as many as usual */
  bool prompt;                              /* nobody is stopped for long: times may be asserted */
};

/* Plays it; fails the cmocka test that runs, with the seed. */
void scenario_play(const struct scenario *scenario);
/* Plain: 2 slots, no faults, connects take 1 ms, statements 0.1 ms, leases 50 ms. */
void scenario_plain(struct world_config *config);

/* Takes a lease or fails the run. */
struct lease *scenario_acquire(int client, int64_t wait_ns);
struct pool_counters *scenario_counters(void);
/* A task's number, 0, 1, 2 … in the order of `body` and its copies. */
int scenario_number(void *argument);

#endif
