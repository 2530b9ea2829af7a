/* answer_error.h - what a client makes of an HTTP answer that is not the protocol's: a proxy's HTML,
 * a plain text, nothing. No state: any thread. */
#ifndef CEN_ANSWER_ERROR_H
#define CEN_ANSWER_ERROR_H

#include <cenote/driver.h>

/* By the status code alone: CENOTE_AUTH (401, 403), CENOTE_TOO_LARGE (413, 507), CENOTE_CONNECT (429
 * and 5xx: it may work later), CENOTE_IO. */
cenote_status cen_http_status(int http);
/* Fills *error: the code, and the beginning of the body, escaped, in its details. */
cenote_status cen_http_error(int http, const char *body, size_t size, cenote_error *error);
/* May the same call succeed later? Not where the request was refused for what it is. */
bool cen_http_retryable(int http);
/* Serialisation failures, deadlocks, locks and lack of resources: the same may succeed later. */
bool cen_sqlstate_retryable(const char *sqlstate);

#endif
