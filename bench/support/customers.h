/*
 * customers.h - the table that the benchmarks of the simple path ask and change, a statement that
 * reads it and one that writes. Both answer the key, so that an answer of somebody else is noticed.
 */
#ifndef BENCH_CUSTOMERS_H
#define BENCH_CUSTOMERS_H

#include <stdbool.h>
#include <stdint.h>

enum { BENCH_CUSTOMERS = 10000 };

/* One statement to run: which, and its argument. */
typedef struct bench_ask {
  bool write;
  int64_t key;
} bench_ask;

extern const char bench_customer_read[];
extern const char bench_customer_write[];

void bench_customers_make(const char *url);
void bench_customers_drop(const char *url);
/* Each number has a key of its own, until the table is used up. */
int64_t bench_customer_key(int64_t number);
const char *bench_ask_sql(const bench_ask *ask);

#endif
