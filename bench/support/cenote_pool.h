/* cenote_pool.h - opening managers for a benchmark. Ends the program where that fails. */
#ifndef BENCH_CENOTE_POOL_H
#define BENCH_CENOTE_POOL_H

#include <cenote/cenote.h>

/* Over the stub driver, over a database, over a database and driven by the caller. */
cenote_manager *bench_open_stub(int minimum, int maximum);
cenote_manager *bench_open_url(const char *url, int minimum, int maximum);
cenote_manager *bench_open_loop(const char *url, int minimum, int maximum);
/* Opens `connections` connections by holding that many leases at once. */
void bench_fill(cenote_manager *manager, int connections);

#endif
