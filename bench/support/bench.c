/* bench.c - see bench.h. */
#include "support/bench.h"

#include <math.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static bench_options given;

void bench_start(int argc, char **argv, const char *purpose)
{
  for (int i = 1; i < argc; i++) {
    if (strcmp(argv[i], "--smoke") == 0) {
      given.smoke = true;
    } else if (strcmp(argv[i], "--json") == 0) {
      given.json = true;
    } else if (strcmp(argv[i], "--help") == 0) {
      printf("%s [--smoke] [--json]\n%s\n", argv[0], purpose);
      exit(EXIT_SUCCESS);
    } else {
      fprintf(stderr, "%s: unknown argument %s (try --help)\n", argv[0], argv[i]);
      exit(2);
    }
  }
  setvbuf(stdout, NULL, _IOLBF, 0);
}

bench_options bench_given(void)
{
  return given;
}

int bench_scaled(int full, int smoke)
{
  return given.smoke ? smoke : full;
}

static int64_t clock_ns(clockid_t clock)
{
  struct timespec now;
  clock_gettime(clock, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t bench_wall_ns(void)
{
  return clock_ns(CLOCK_MONOTONIC);
}

int64_t bench_thread_cpu_ns(void)
{
  return clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

int64_t bench_process_cpu_ns(void)
{
  return clock_ns(CLOCK_PROCESS_CPUTIME_ID);
}

void bench_pause_ms(int ms)
{
  nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L}, NULL);
}

/* Process 0 is the calling thread. */
static void pin(int process)
{
  int cpu = sched_getcpu();
  cpu_set_t only;
  CPU_ZERO(&only);
  CPU_SET(cpu >= 0 ? (size_t)cpu : 0, &only);
  if (cpu < 0 || sched_setaffinity(process, sizeof only, &only) != 0) {
    bench_skip("pinning to a processor", "refused by the system; the figures vary more");
  }
}

void bench_pin_thread(void)
{
  pin(0);
}

void bench_pin_process_here(int process)
{
  if (process > 0) {
    pin(process);
  }
}

static int compare_doubles(const void *a, const void *b)
{
  double left = *(const double *)a;
  double right = *(const double *)b;
  return (left > right) - (left < right);
}

double bench_median(double *values, size_t count)
{
  if (count == 0) {
    return 0;
  }
  qsort(values, count, sizeof *values, compare_doubles);
  return count % 2 == 1 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

static int compare_samples(const void *a, const void *b)
{
  uint32_t left = *(const uint32_t *)a;
  uint32_t right = *(const uint32_t *)b;
  return (left > right) - (left < right);
}

void bench_sort(uint32_t *values, size_t count)
{
  qsort(values, count, sizeof *values, compare_samples);
}

double bench_percentile(const uint32_t *ascending, size_t count, double share)
{
  if (count == 0) {
    return 0;
  }
  size_t rank = (size_t)ceil(share * (double)count);
  return ascending[rank > 0 ? rank - 1 : 0];
}

/* Names and units are ours: no character in them needs escaping in JSON. */
void bench_report(const bench_figure *figure)
{
  bool compared = figure->peer != NULL && figure->value > 0 && figure->peer_value > 0;
  double ratio = !compared                ? 0
                 : figure->more_is_better ? figure->value / figure->peer_value
                                          : figure->peer_value / figure->value;
  if (!given.json) {
    printf("%-52s %12.6g %s", figure->name, figure->value, figure->unit);
    if (compared) {
      printf("   %s: %.6g   %.3gx", figure->peer, figure->peer_value, ratio);
    }
    printf("\n");
    return;
  }
  printf("{\"name\":\"%s\",\"unit\":\"%s\",\"value\":%.9g,", figure->name, figure->unit,
         figure->value);
  if (figure->peer == NULL) {
    printf("\"peer\":null,\"peer_value\":null,\"ratio\":null}\n");
  } else if (!compared) {
    printf("\"peer\":\"%s\",\"peer_value\":%.9g,\"ratio\":null}\n", figure->peer,
           figure->peer_value);
  } else {
    printf("\"peer\":\"%s\",\"peer_value\":%.9g,\"ratio\":%.6g}\n", figure->peer,
           figure->peer_value, ratio);
  }
}

void bench_skip(const char *what, const char *why)
{
  fprintf(stderr, "skipped: %s: %s\n", what, why);
}

void bench_die(const char *format, ...)
{
  va_list args;
  va_start(args, format);
  fprintf(stderr, "bench: ");
  vfprintf(stderr, format, args);
  fprintf(stderr, "\n");
  va_end(args);
  exit(EXIT_FAILURE);
}
