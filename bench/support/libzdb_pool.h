/* libzdb_pool.h - opening libzdb's pool on a PostgreSQL URL. Only where BENCH_HAVE_LIBZDB is. */
#ifndef BENCH_LIBZDB_POOL_H
#define BENCH_LIBZDB_POOL_H

#include <zdb.h>

/* NULL when the URL does not suit libzdb. The pool keeps its URL until it is closed. */
ConnectionPool_T bench_libzdb_open(const char *url, int initial, int maximum);
void bench_libzdb_close(ConnectionPool_T pool);

#endif
