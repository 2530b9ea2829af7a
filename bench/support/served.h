/*
 * served.h - an HTTP server in a process of its own, to be measured from outside: started, found,
 * pinned, its processor time and memory read, stopped. Ends the program on any error.
 */
#ifndef BENCH_SERVED_H
#define BENCH_SERVED_H

#include <stdint.h>
#include <sys/types.h>

typedef struct bench_served {
  pid_t process;
  uint16_t port;
} bench_served;

/* Starts `argv[0]` with the path searched; its first line on standard output has to hold its
 * address, http://HOST:PORT. Its standard error goes nowhere unless BENCH_LOUD is set. */
bench_served bench_served_start(const char *const argv[]);
/* The same for a function that is called in a forked child with the descriptor it listens on. */
bench_served bench_served_fork(void (*serve)(int listener));
void bench_served_stop(bench_served *served);

/* All its threads, present and past, in nanoseconds. */
int64_t bench_served_cpu_ns(const bench_served *served);
/* Resident memory that it does not share, in bytes. */
int64_t bench_served_memory(const bench_served *served);

/* The calling thread on one processor, everything that serves on the other; nothing where there is
 * only one. */
enum { BENCH_CPU_SERVER, BENCH_CPU_LOAD };
void bench_pin_to(pid_t process, int which);

/* A descriptor that listens on a free port of 127.0.0.1. */
int bench_listen(uint16_t *port);
/* Where the command under test is: CENOTE, or beside this build. Static memory. */
const char *bench_command(void);

#endif
