/* runner.c - see runner.h. */
#include "sim/runner.h"

#include "sim/sim.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Seen by parent and child. */
struct shared {
  uint64_t seed, events, histories;
  char failure[512];
};

static struct shared *shared;

static const struct runner *runner;

static bool run(const struct wish *wish)
{
  shared->seed = wish->seed;
  return runner->run(wish, &shared->events, shared->failure, sizeof shared->failure);
}

static bool is_enough(const struct wish *wish, time_t started)
{
  return wish->seconds > 0 ? time(NULL) - started >= wish->seconds : shared->events >= wish->events;
}

/* In a child: from wish->seed on until the events are reached, or just that one. 0: all good. */
static int run_child(const struct wish *wish, bool many, bool silent)
{
  fflush(stdout);
  const pid_t child = fork();
  if (child < 0) {
    perror("fork");
    exit(2);
  }
  if (child == 0) {
    struct wish mine = *wish;
    if (silent && freopen("/dev/null", "w", stderr) == NULL) {
      _exit(2);
    }
    bool good = true;
    const time_t started = time(NULL);
    do {
      good = run(&mine);
      shared->histories += good;
      mine.seed++;
    } while (good && many && !is_enough(&mine, started));
    if (good) {
      sim_end();
      exit(0); /* not _exit: the leak check runs */
    }
    fflush(stdout);
    _exit(1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void print_command(const struct wish *wish)
{
  printf("# replay: %s --seed %llu --schedule %llu --trace", runner->program,
         (unsigned long long)wish->seed, (unsigned long long)wish->schedule);
  if (wish->clients >= 0) {
    printf(" --clients %ld", wish->clients);
  }
  if (wish->operations >= 0) {
    printf(" --operations %ld", wish->operations);
  }
  if (wish->slots >= 0) {
    printf(" --slots %ld", wish->slots);
  }
  if (wish->faults >= 0) {
    printf(" --faults %ld", wish->faults);
  }
  putchar('\n');
}

/* Does a smaller one fail too, with any of a few schedules? */
static bool still_fails(struct wish *wish, struct wish *best)
{
  for (uint64_t schedule = 0; schedule < 12; schedule++) {
    wish->schedule = schedule;
    if (run_child(wish, false, true) != 0) {
      *best = *wish;
      return true;
    }
  }
  return false;
}

static void shrink_number(struct wish *best, long *number, long least)
{
  long low = least;
  while (low < *number) {
    struct wish wish = *best;
    const long middle = low + (*number - low) / 2;
    *(long *)((char *)&wish + ((char *)number - (char *)best)) = middle;
    if (!still_fails(&wish, best)) {
      low = middle + 1;
    }
  }
}

static void shrink(struct wish *best)
{
  runner->draw(best);
  for (int round = 0; round < 2; round++) {
    for (long bit = 1; bit < runner->fault_all; bit <<= 1) {
      struct wish wish = *best;
      wish.faults &= ~bit;
      if (wish.faults != best->faults) {
        still_fails(&wish, best);
      }
    }
    shrink_number(best, &best->clients, 1);
    shrink_number(best, &best->operations, 1);
    shrink_number(best, &best->slots, 1);
  }
}

static void report(struct wish *wish)
{
  wish->seed = shared->seed;
  printf("# seed %llu failed: %s\n", (unsigned long long)wish->seed,
         shared->failure[0] != '\0' ? shared->failure : "it crashed");
  print_command(wish);
  if (wish->no_shrink) {
    return;
  }
  printf("# shrinking …\n");
  fflush(stdout);
  struct wish best = *wish;
  shrink(&best);
  print_command(&best);
  shared->failure[0] = '\0';
  best.trace = true;
  run_child(&best, false, false);
  printf("# %s\n", shared->failure[0] != '\0' ? shared->failure : "it crashed");
}

static long number(const char *text)
{
  return text != NULL ? strtol(text, NULL, 0) : 0;
}

static bool parse(int count, char **words, struct wish *wish)
{
  for (int i = 1; i < count; i++) {
    const char *word = words[i];
    const char *value = i + 1 < count ? words[i + 1] : NULL;
    if (strcmp(word, "--trace") == 0) {
      wish->trace = true;
    } else if (strcmp(word, "--steps") == 0) {
      wish->trace = wish->steps = true;
    } else if (strcmp(word, "--no-shrink") == 0) {
      wish->no_shrink = true;
    } else if (value == NULL) {
      return false;
    } else {
      i++;
      if (strcmp(word, "--seed") == 0) {
        wish->seed = (uint64_t)number(value);
        wish->has_seed = true;
      } else if (strcmp(word, "--schedule") == 0) {
        wish->schedule = (uint64_t)number(value);
      } else if (strcmp(word, "--events") == 0) {
        wish->events = (uint64_t)number(value);
      } else if (strcmp(word, "--seconds") == 0) {
        wish->seconds = number(value);
      } else if (strcmp(word, "--from") == 0) {
        wish->seed = (uint64_t)number(value);
      } else if (strcmp(word, "--clients") == 0) {
        wish->clients = number(value);
      } else if (strcmp(word, "--operations") == 0) {
        wish->operations = number(value);
      } else if (strcmp(word, "--slots") == 0) {
        wish->slots = number(value);
      } else if (strcmp(word, "--faults") == 0) {
        wish->faults = number(value);
      } else {
        return false;
      }
    }
  }
  return true;
}

int runner_main(const struct runner *which, int count, char **words)
{
  runner = which;
  struct wish wish = {.events = runner->events,
                      .seed = 1,
                      .seconds = number(getenv("SECONDS")),
                      .clients = -1,
                      .operations = -1,
                      .slots = -1,
                      .faults = -1};
  if (!parse(count, words, &wish)) {
    fprintf(stderr, "usage: see tests/sim/runner.h\n");
    return 2;
  }
  setvbuf(stdout, NULL, _IOLBF, 0);
  shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) {
    perror("mmap");
    return 2;
  }
  const bool many = !wish.has_seed;
  const int result = run_child(&wish, many, false);
  if (!many) {
    printf("# %s\n", shared->failure[0] != '\0' ? shared->failure : result == 0 ? "good" : "crash");
    return result;
  }
  printf("1..1\n# %llu events in %llu histories\n", (unsigned long long)shared->events,
         (unsigned long long)shared->histories);
  if (result == 0) {
    printf("ok 1 - %s\n", runner->claim);
    return 0;
  }
  report(&wish);
  printf("not ok 1 - %s\n", runner->claim);
  return 1;
}
