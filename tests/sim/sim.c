/* sim.c - the scheduler. */
#include "sim/sim.h"

#include "base/rng.h"
#include "base/sanitized.h"
#include "core/step.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#if CEN_SANITIZED_ADDRESS
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

enum { STACK_SIZE = 128 * 1024, STEP_LIMIT = 20 * 1000 * 1000 };

static const int64_t COARSE_NS = 4 * SIM_MS;

enum task_state { TASK_READY, TASK_SLEEPING, TASK_PARKED, TASK_BLOCKED, TASK_DELAYED, TASK_DONE };

struct task {
  const char *name;
  sim_body *body;
  void *argument;
  enum task_state state;
  int64_t until_ns;
  const void *word; /* parked on */
  bool woken;
  unsigned priority;
  ucontext_t context;
  void *fake_stack;
};

static struct {
  struct sim_options options;
  struct cen_rng rng;
  int64_t now_ns;
  uint64_t steps;
  struct task task[SIM_TASKS];
  int count;
  int current; /* -1: the scheduler */
  int last;
  int victim;
  int lock_holder; /* -1: free */
  int quiet;
  bool failed;
  char failure[512];
  ucontext_t context;
  void *fake_stack;
  const void *main_stack;
  size_t main_size;
  char *stack[SIM_TASKS]; /* kept from run to run */
} sim;

/* ------------------------------------------------------------------ switching */

static void fiber_leave(void **fake_stack, const void *bottom, size_t size)
{
#if CEN_SANITIZED_ADDRESS
  __sanitizer_start_switch_fiber(fake_stack, bottom, size);
#else
  (void)fake_stack;
  (void)bottom;
  (void)size;
#endif
}

static void fiber_arrive(void *fake_stack, bool in_task)
{
#if CEN_SANITIZED_ADDRESS
  const void *bottom;
  size_t size;
  __sanitizer_finish_switch_fiber(fake_stack, &bottom, &size);
  if (in_task) {
    sim.main_stack = bottom;
    sim.main_size = size;
  }
#else
  (void)fake_stack;
  (void)in_task;
#endif
}

static void to_scheduler(void)
{
  struct task *self = &sim.task[sim.current];
  sim.last = sim.current;
  sim.current = -1;
  fiber_leave(self->state == TASK_DONE ? NULL : &self->fake_stack, sim.main_stack, sim.main_size);
  swapcontext(&self->context, &sim.context);
  fiber_arrive(self->fake_stack, true);
}

static void to_task(int index)
{
  struct task *task = &sim.task[index];
  sim.current = index;
  fiber_leave(&sim.fake_stack, sim.stack[index], STACK_SIZE);
  swapcontext(&sim.context, &task->context);
  fiber_arrive(sim.fake_stack, false);
}

static void task_entry(void)
{
  fiber_arrive(NULL, true);
  struct task *self = &sim.task[sim.current];
  self->body(self->argument);
  self->state = TASK_DONE;
  to_scheduler();
}

void sim_spawn(const char *name, sim_body *body, void *argument)
{
  if (sim.count == SIM_TASKS) {
    sim_fail("too many simulated threads");
    return;
  }
  const int index = sim.count++;
  struct task *task = &sim.task[index];
  memset(task, 0, sizeof *task);
  task->name = name;
  task->body = body;
  task->argument = argument;
  task->priority = (unsigned)cen_rng_below(&sim.rng, 1000) + 1000;
  if (sim.stack[index] == NULL) {
    sim.stack[index] = malloc(STACK_SIZE);
  }
#if CEN_SANITIZED_ADDRESS
  __asan_unpoison_memory_region(sim.stack[index], STACK_SIZE);
#endif
  getcontext(&task->context);
  task->context.uc_stack.ss_sp = sim.stack[index];
  task->context.uc_stack.ss_size = STACK_SIZE;
  makecontext(&task->context, task_entry, 0);
  task->context.uc_stack.ss_size = 0; /* or ASan's interceptor wipes the shadow at each switch */
}

/* ------------------------------------------------------------------- scheduling */

void sim_begin(const struct sim_options *options)
{
  sim.options = *options;
  cen_rng_seed(&sim.rng, options->seed);
  sim.now_ns = options->start_ns;
  sim.steps = 0;
  sim.count = 0;
  sim.current = sim.last = -1;
  sim.victim = 0;
  sim.lock_holder = -1;
  sim.quiet = 0;
  sim.failed = false;
  sim.failure[0] = '\0';
}

void sim_end(void)
{
  for (int i = 0; i < SIM_TASKS; i++) {
    free(sim.stack[i]);
    sim.stack[i] = NULL;
  }
}

/* Those whose time has come are ready. Answers the next time when somebody will be. */
static int64_t wake_due(void)
{
  int64_t next = INT64_MAX;
  for (int i = 0; i < sim.count; i++) {
    struct task *task = &sim.task[i];
    if (task->state == TASK_SLEEPING || task->state == TASK_PARKED || task->state == TASK_DELAYED) {
      if (task->until_ns <= sim.now_ns) {
        task->state = TASK_READY;
      } else if (task->until_ns < next) {
        next = task->until_ns;
      }
    }
  }
  return next;
}

static int pick_priority(const int *ready, int count)
{
  int best = ready[0];
  for (int i = 1; i < count; i++) {
    best = sim.task[ready[i]].priority > sim.task[best].priority ? ready[i] : best;
  }
  if (sim_chance(24)) {
    sim.task[best].priority = (unsigned)sim_random(1000);
  }
  return best;
}

static int pick_starve(const int *ready, int count)
{
  if (sim_chance(4000)) {
    sim.victim = (int)sim_random((uint64_t)sim.count);
  }
  const int choice = ready[sim_random((uint64_t)count)];
  if (choice != sim.victim || count == 1 || sim_chance(200)) {
    return choice;
  }
  for (int i = 0; i < count; i++) {
    if (ready[i] != sim.victim) {
      return ready[i];
    }
  }
  return choice;
}

static int pick(const int *ready, int count)
{
  switch (sim.options.strategy) {
  case SIM_PRIORITY:
    return pick_priority(ready, count);
  case SIM_STARVE:
    return pick_starve(ready, count);
  case SIM_BURST:
    if (sim.last >= 0 && sim.task[sim.last].state == TASK_READY && !sim_chance(20)) {
      return sim.last;
    }
    return ready[sim_random((uint64_t)count)];
  default:
    return ready[sim_random((uint64_t)count)];
  }
}

static void wake_spuriously(void)
{
  const int index = (int)sim_random((uint64_t)sim.count);
  if (sim.task[index].state == TASK_PARKED) {
    sim.task[index].state = TASK_READY;
    sim.task[index].woken = true;
  }
}

static int collect(int *ready, bool *all_done, bool *delayed)
{
  int count = 0;
  *all_done = true;
  *delayed = false;
  for (int i = 0; i < sim.count; i++) {
    const enum task_state state = sim.task[i].state;
    if (state == TASK_READY) {
      ready[count++] = i;
    }
    *all_done = *all_done && state == TASK_DONE;
    *delayed = *delayed || state == TASK_DELAYED;
  }
  return count;
}

bool sim_run(sim_hook *quiet_hook)
{
  while (!sim.failed) {
    int ready[SIM_TASKS];
    bool all_done, delayed;
    const int64_t next = wake_due();
    const int count = collect(ready, &all_done, &delayed);
    if (all_done) {
      break;
    }
    if (count > 0) {
      const int choice = pick(ready, count);
      if (sim.options.steps && choice != sim.last) {
        printf("                                     -> %s\n", sim.task[choice].name);
      }
      to_task(choice);
      if (sim_chance(1000)) {
        wake_spuriously();
      }
      continue;
    }
    if (!delayed && sim.lock_holder < 0 && quiet_hook != NULL) {
      quiet_hook();
    }
    if (next == INT64_MAX) {
      sim_fail("deadlock: everybody waits for somebody");
    } else {
      sim.now_ns = next;
    }
  }
  return !sim.failed;
}

/* ------------------------------------------------------------------------ steps */

static int64_t delay_length(void)
{
  const uint64_t kind = sim_random(100);
  if (kind < 60) {
    return 1 * SIM_US + (int64_t)sim_random(50 * SIM_US);
  }
  if (kind < 88) {
    return 100 * SIM_US + (int64_t)sim_random(5 * SIM_MS);
  }
  if (kind < 99) {
    return 5 * SIM_MS + (int64_t)sim_random(100 * SIM_MS);
  }
  return 200 * SIM_MS + (int64_t)sim_random(INT64_C(2000) * SIM_MS);
}

void sim_step_at(const char *file, int line)
{
  if (sim.current < 0 || sim.quiet > 0) {
    return;
  }
  struct task *self = &sim.task[sim.current];
  sim.now_ns += 10;
  if (++sim.steps > STEP_LIMIT) {
    sim_fail("no end: %d steps", STEP_LIMIT);
  }
  const bool delay = sim_chance(sim.options.delay_every);
  if (delay) {
    self->state = TASK_DELAYED;
    self->until_ns = sim.now_ns + delay_length();
  }
  if (delay || sim_chance(sim.options.switch_every)) {
    if (sim.options.steps && file != NULL) {
      const char *slash = strrchr(file, '/');
      printf("                                     %s %s before %s:%d\n", self->name,
             delay ? "is stopped" : "may be switched", slash != NULL ? slash + 1 : file, line);
    }
    to_scheduler();
  }
}

void sim_step(void)
{
  sim_step_at(NULL, 0);
}

void sim_lock(struct pool_lock *lock)
{
  sim_step();
  while (lock->held != 0) {
    if (sim.current < 0 || sim.quiet > 0) {
      sim_fail("the lock is taken twice");
      return;
    }
    sim.task[sim.current].state = TASK_BLOCKED;
    to_scheduler();
  }
  lock->held = 1;
  sim.lock_holder = sim.current >= 0 ? sim.current : SIM_TASKS;
}

void sim_unlock(struct pool_lock *lock)
{
  lock->held = 0;
  sim.lock_holder = -1;
  for (int i = 0; i < sim.count; i++) {
    if (sim.task[i].state == TASK_BLOCKED) {
      sim.task[i].state = TASK_READY;
    }
  }
  sim_step();
}

/* ------------------------------------------------------------ what threads may do */

int64_t sim_now(void)
{
  return sim.now_ns;
}

int64_t sim_coarse(void)
{
  return sim.now_ns - sim.now_ns % COARSE_NS;
}

uint64_t sim_random(uint64_t bound)
{
  return cen_rng_next(&sim.rng) % bound; /* hardly biased, and quick */
}

bool sim_chance(unsigned one_in)
{
  return one_in > 0 && (one_in == 1 || cen_rng_next(&sim.rng) % one_in == 0);
}

void sim_sleep_until(int64_t when_ns)
{
  struct task *self = &sim.task[sim.current];
  self->state = TASK_SLEEPING;
  self->until_ns = when_ns;
  to_scheduler();
}

void sim_sleep(int64_t ns)
{
  sim_sleep_until(sim.now_ns + ns);
}

bool sim_park(_Atomic uint32_t *word, uint32_t expected, int64_t deadline_ns)
{
  struct task *self = &sim.task[sim.current];
  sim_step();
  sim_quiet(true);
  const bool same = atomic_load_explicit(word, memory_order_acquire) == expected;
  sim_quiet(false);
  if (!same) {
    return true;
  }
  self->state = TASK_PARKED;
  self->until_ns = deadline_ns;
  self->word = word;
  self->woken = false;
  to_scheduler();
  return self->woken;
}

void sim_unpark(const void *word)
{
  sim_step();
  for (int i = 0; i < sim.count; i++) {
    if (sim.task[i].state == TASK_PARKED && sim.task[i].word == word) {
      sim.task[i].state = TASK_READY;
      sim.task[i].woken = true;
      return;
    }
  }
}

void sim_jump(int64_t ns)
{
  sim.now_ns += ns;
}

int sim_self(void)
{
  return sim.current;
}

bool sim_lock_is_free(void)
{
  return sim.lock_holder < 0;
}

void sim_quiet(bool on)
{
  sim.quiet += on ? 1 : -1;
}

uint64_t sim_steps(void)
{
  return sim.steps;
}

/* ------------------------------------------------------------------------ telling */

void sim_note(const char *format, ...)
{
  if (!sim.options.trace) {
    return;
  }
  va_list arguments;
  printf("%12.6f ms  %-12s ", (double)sim.now_ns / SIM_MS,
         sim.current >= 0 ? sim.task[sim.current].name : "-");
  va_start(arguments, format);
  vprintf(format, arguments);
  va_end(arguments);
  putchar('\n');
}

void sim_fail(const char *format, ...)
{
  if (!sim.failed) {
    sim.failed = true;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sim.failure, sizeof sim.failure, format, arguments);
    va_end(arguments);
    sim_note("FAILED: %s", sim.failure);
  }
  while (sim.current >= 0) {
    to_scheduler(); /* the scheduler ends the run */
  }
}

const char *sim_failure(void)
{
  return sim.failed ? sim.failure : NULL;
}
