/* resolver.h - getaddrinfo that never blocks the caller: runs on a worker, numeric addresses
 * and sockets' paths answer at once. One owner thread a query. */
#ifndef CEN_RESOLVER_H
#define CEN_RESOLVER_H

#include <cenote/cenote.h>

struct cen_resolve;

enum { CEN_RESOLVE_MAX = 16, CEN_ADDRESS_TEXT = 64 };

/* host: a name, an IPv4 or IPv6 address without brackets, or a socket's directory ("/…", "@…"),
 * or empty (the default socket): for those two the answer is OK with no address. */
cenote_status cen_resolve_start(const char *host, struct cen_resolve **resolve,
                                cenote_error *error);
int cen_resolve_fd(const struct cen_resolve *resolve); /* readable when done; -1: done already */
bool cen_resolve_done(const struct cen_resolve *resolve);
/* After done (else CENOTE_BUSY): the numeric addresses, in the system's order of preference, the
 * first CEN_RESOLVE_MAX of them. CENOTE_CONNECT with the resolver's own words on failure. */
cenote_status cen_resolve_result(struct cen_resolve *resolve,
                                 char addresses[CEN_RESOLVE_MAX][CEN_ADDRESS_TEXT], size_t *count,
                                 cenote_error *error);
void cen_resolve_free(struct cen_resolve *resolve); /* also before it is done; never blocks */

#endif
