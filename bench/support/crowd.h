/*
 * crowd.h - threads that live through all rounds of a benchmark (so that starting them is not
 * measured) and that all begin together.
 */
#ifndef BENCH_CROWD_H
#define BENCH_CROWD_H

#include <stdint.h>

typedef struct bench_crowd bench_crowd;
/* What thread `number` (0 …) does; `turn` counts its calls. */
typedef void (*bench_crowd_task)(void *context, int number, int64_t turn);

/* Ends the program where no thread can be started. */
bench_crowd *bench_crowd_new(int threads);
void bench_crowd_free(bench_crowd *crowd);

/* Each does its task once: nanoseconds from the first one's beginning to the last one's end. */
int64_t bench_crowd_once(bench_crowd *crowd, bench_crowd_task task, void *context);
/* Each does its task again and again until `until_ns`: how many of them were done. */
int64_t bench_crowd_keep(bench_crowd *crowd, bench_crowd_task task, void *context,
                         int64_t until_ns);

#endif
