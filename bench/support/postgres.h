/*
 * postgres.h - the PostgreSQL server that a benchmark was started beside, by
 * tests/support/with_postgres: where it is, and how much processor time it used.
 */
#ifndef BENCH_POSTGRES_H
#define BENCH_POSTGRES_H

#include <libpq-fe.h>
#include <stdint.h>

typedef enum bench_postgres_kind {
  BENCH_POSTGRES_TRUST, /* a socket in the file system, no password */
  BENCH_POSTGRES_SCRAM, /* TCP, a password by SCRAM-SHA-256, in clear */
  BENCH_POSTGRES_TLS    /* the same in TLS, the certificate verified */
} bench_postgres_kind;

/* NULL where there is no such server. Static memory. */
const char *bench_postgres_url(bench_postgres_kind kind);
/* The same, but ends the program with status 77 (skipped) where there is none. */
const char *bench_postgres_need(bench_postgres_kind kind);

/* Ends the program where it cannot connect, or where the statement fails. */
PGconn *bench_postgres_connect(const char *url);
void bench_postgres_run(PGconn *connection, const char *sql);

/* Processor time of the server and of all its sessions, past and present; it moves in steps of
 * 10 ms. 0 where it cannot be seen. */
int64_t bench_postgres_cpu_ns(void);
/* The same plus this process's, before and after what is measured: finding the server's processes
 * is not in the difference. */
int64_t bench_both_cpu_begin_ns(void);
int64_t bench_both_cpu_end_ns(void);

/* All sessions that are open now share the processor of the calling thread from here on. */
void bench_postgres_pin_here(void);

#endif
