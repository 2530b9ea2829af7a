/*
 * connects.h - how many TCP connections (IPv4) this process has opened to a port, whoever asked for
 * them: a program that calls this has the counting connect() of connects.c in front of the system's.
 * Any thread.
 */
#ifndef BENCH_CONNECTS_H
#define BENCH_CONNECTS_H

#include <stdint.h>

int bench_connects(uint16_t port);

#endif
