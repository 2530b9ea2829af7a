/*
 * paths.h - what each path to the database did: leases ("exclusive") and shared connections
 * ("simple"). Counters and histograms that any thread may feed, a few relaxed adds each; read by
 * the statistics.
 *
 * Who tells what: whoever runs a statement calls statement_note (manager.h) once, when it has
 * ended; that feeds the breaker, paths_note, the count of slow statements and the log. Everything
 * else here is called where it happens.
 */
#ifndef CEN_PATHS_H
#define CEN_PATHS_H

#include <cenote/cenote.h>

struct cen_times; /* observe.h */
struct cenote_manager;

enum cen_path { CEN_PATH_SIMPLE, CEN_PATH_EXCLUSIVE, CEN_PATH_HTTP, CEN_PATHS };

cenote_status paths_new(struct cenote_manager *manager); /* cenote_open */
void paths_free(struct cenote_manager *manager);

/* One statement has ended. waited_ns: until it was sent. On a lease that is not counted here: who
 * waited for the lease is in the pool's own figures. Called by statement_note. */
void paths_note(struct cenote_manager *manager, enum cen_path path, cenote_why why,
                cenote_status status, int64_t waited_ns, int64_t took_ns);
/* Shared connections: statements in flight on one, with the one just added; answers by one read. */
void paths_depth(struct cenote_manager *manager, uint64_t in_flight);
void paths_batch(struct cenote_manager *manager, uint64_t answers);
/* A statement moved from the simple path to a connection of its own. */
void paths_fallback(struct cenote_manager *manager);
/* A statement that HTTP could have served went to the pool. */
void paths_http_fallback(struct cenote_manager *manager);
/* A statement is tried again after a transient failure. */
void paths_retry(struct cenote_manager *manager);
/* Run again because a neighbour's cancel hit it. */
void paths_rerun(struct cenote_manager *manager);
/* A transaction is run again after 40001 or 40P01. */
void paths_transaction_retry(struct cenote_manager *manager);

/* Fills the members of the two paths, those above, and the totals of both. */
void paths_read(struct cenote_manager *manager, cenote_statistics *out);
void paths_read_counts(struct cenote_manager *manager, cenote_statistics *out); /* no times */
/* Adds its histograms to these. */
void paths_add_times(struct cenote_manager *manager, struct cen_times *times);

#endif
