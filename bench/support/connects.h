/*
 * connects.h - how many TCP connections this process has opened, whoever asked for them: a program
 * that calls this has the counting connect() of connects.c in front of the system's. Any thread.
 */
#ifndef BENCH_CONNECTS_H
#define BENCH_CONNECTS_H

int bench_connects(void);

#endif
