/*
 * contender.h - the pools that are compared, behind one table, so that every one of them runs the
 * same loop. Each contender is one file and one pool at a time, opened and closed by the main
 * thread; acquire and release come from any number of threads.
 */
#ifndef BENCH_CONTENDER_H
#define BENCH_CONTENDER_H

#include <cenote/cenote.h>

/* What a thread holds between acquire and release. */
typedef union bench_held {
  cenote_lease lease;
  void *connection;
  unsigned slot;
} bench_held;

typedef struct bench_contender {
  const char *name;
  /* All `connections` are open when it returns NULL; otherwise why it does not take part. */
  const char *(*open)(int connections);
  void (*close)(void);
  /* `count` times acquire and release on one thread without indirect calls: CPU ns a cycle. */
  double (*cycle)(int64_t count);
  /* For many threads. Waits until there is one; ends the program on an error. */
  void (*acquire)(bench_held *held);
  void (*release)(bench_held *held);
} bench_contender;

extern const bench_contender bench_cenote; /* the public API over a driver that does nothing */
extern const bench_contender bench_floor;  /* what no pool can go below; cycle only */
extern const bench_contender bench_fifo;   /* a mutex and a strict queue, no features */
extern const bench_contender bench_libzdb; /* Debian's, on PostgreSQL: no ping when it hands out */
extern const bench_contender bench_hikari; /* Debian's HikariCP over a stub; cycle only */

#endif
