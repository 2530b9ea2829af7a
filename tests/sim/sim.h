/*
 * sim.h - the simulation's threads, lock and time. Threads are coroutines on one real thread; a
 * seeded generator decides at every step (see stepped_atomics.h and core/step.h) who runs next,
 * so that a seed replays one interleaving exactly. Time is virtual: a step takes some
 * nanoseconds, and when everybody sleeps the clock jumps to the next deadline.
 */
#ifndef SIM_SIM_H
#define SIM_SIM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum {
  SIM_TASKS = 40,
  SIM_US = 1000,
  SIM_MS = 1000 * 1000,
};

/* How the next thread is chosen. Rare races need different kinds of unfairness. */
enum sim_strategy {
  SIM_UNIFORM,  /* anyone, at any step */
  SIM_PRIORITY, /* the highest priority runs; now and then the one that runs loses it */
  SIM_STARVE,   /* one victim hardly ever runs */
  SIM_BURST,    /* long runs of the same thread */
  SIM_STRATEGIES
};

struct sim_options {
  uint64_t seed;
  int64_t start_ns; /* what the clock shows when the run begins */
  enum sim_strategy strategy;
  unsigned switch_every; /* one step in so many asks the scheduler */
  unsigned delay_every;  /* one step in so many stops the thread for a while; 0: never */
  bool trace;            /* print events */
  bool steps;            /* print switches too, with file and line */
};

typedef void sim_body(void *argument);
typedef void sim_hook(void);

/* A run: begin, spawn, run, end. */
void sim_begin(const struct sim_options *options);
void sim_spawn(const char *name, sim_body *body, void *argument);
/* `quiet_hook` is called when nobody can run before time goes on. false: somebody failed. */
bool sim_run(sim_hook *quiet_hook);
void sim_end(void);

/* What a thread may do. */
int64_t sim_now(void);
int64_t sim_coarse(void); /* moves in steps of 4 ms, never ahead of sim_now */
uint64_t sim_random(uint64_t bound);
bool sim_chance(unsigned one_in); /* 0: never */
void sim_sleep(int64_t ns);
void sim_sleep_until(int64_t when_ns);
bool sim_park(_Atomic uint32_t *word, uint32_t expected, int64_t deadline_ns);
void sim_unpark(const void *word);
void sim_jump(int64_t ns); /* the whole process was frozen */
int sim_self(void);
bool sim_lock_is_free(void);
/* Between these nobody is switched: for looking at the state. */
void sim_quiet(bool on);

/* An event in the trace. */
__attribute__((format(printf, 1, 2))) void sim_note(const char *format, ...);
/* The run has failed; a thread does not come back from this. */
__attribute__((format(printf, 1, 2))) void sim_fail(const char *format, ...);
const char *sim_failure(void); /* NULL: none */
uint64_t sim_steps(void);

#endif
