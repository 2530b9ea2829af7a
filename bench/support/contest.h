/*
 * contest.h - Cenote, libzdb and a strict FIFO queue under the same load, in turn, and the medians
 * of all rounds. What is not there (libzdb) is left out.
 */
#ifndef BENCH_CONTEST_H
#define BENCH_CONTEST_H

#include "support/load.h"

enum { CONTEST_CENOTE, CONTEST_LIBZDB, CONTEST_FIFO, CONTEST_SIZE };

typedef struct bench_contest {
  bench_load load;
  bench_load_result of[CONTEST_SIZE]; /* medians, field by field */
} bench_contest;

/* All pools open with BENCH_CONNECTIONS connections. */
void contest_open(void);
void contest_close(void);
void contest_run(bench_contest *contest, int rounds);

/* Reports Cenote's value beside the peer's, under "WHAT, 32 threads on 8, zero hold". */
void contest_report(const bench_contest *contest, const char *what, const char *unit, int peer,
                    double value, double peer_value, bool more_is_better);

#endif
