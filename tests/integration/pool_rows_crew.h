/*
 * pool_rows_crew.h - what pool_rows.c (leases) and pool_rows_query.c (routed statements) share: the
 * crew, its members, and what a member was promised. Each member is one thread's.
 */
#ifndef TEST_POOL_ROWS_CREW_H
#define TEST_POOL_ROWS_CREW_H

#include "integration/pool_rows.h"

#include "base/rng.h"
#include "fault/pool_rig.h"

#include <inttypes.h>
#include <stdatomic.h>

enum fate { FATE_ABSENT, FATE_PRESENT, FATE_UNKNOWN };
enum { LEDGER = 1 << 16 };

struct crew {
  const struct rows_subject *subject;
  cenote_manager *manager;
  _Atomic bool stop;
  _Atomic uint64_t granted, released, expired, statements, good, timeouts, lost, cancelled;
  _Atomic uint64_t refused; /* by the circuit breaker */
  /* the first thing that was wrong */
  pthread_mutex_t lock;
  char wrong[1024];
};

struct member {
  struct crew *crew;
  pthread_t thread;
  unsigned number;
  struct cen_rng rng;
  uint32_t tags;
  cenote_lease lease;
  char tag[64];
  uint32_t written; /* rows this thread tried to write, and what must have become of each */
  unsigned char *fate;
  /* an asynchronous call */
  pthread_mutex_t lock;
  pthread_cond_t changed;
  bool settled;
  cenote_status outcome;
  cenote_result *rows;
  cenote_error error;
};

/* A statement and its arguments. */
struct asked {
  const char *what;
  const char *sql;
  size_t count;
  cenote_value args[3];
};

void wrong(struct member *m, const char *format, ...) __attribute__((format(printf, 2, 3)));
int64_t dice(struct member *m, uint64_t bound);
void next_tag(struct member *m);
void check_rows(struct member *m, const char *what, const cenote_result *result, size_t rows);
enum fate fate_of(cenote_status status);
struct asked row_to_write(struct member *m, uint32_t number);

/* A few routed statements. */
void routed_work(struct member *m);

#endif
