/*
 * http_path.h - SQL over HTTP beside the pool: where a postgres:// URL has an endpoint for it (the
 * setting http_endpoint, or a host of Neon's), simple statements go there. The simple path's doors
 * (simple.h) lead here when a request says so; that is query_plan.c's to decide.
 *
 * It has a breaker of its own: while that is not closed, statements take the pool, and the
 * housekeeper asks the endpoint from time to time. Any thread, unless it says otherwise.
 */
#ifndef CEN_HTTP_PATH_H
#define CEN_HTTP_PATH_H

#include "manager/breaker.h"
#include "manager/simple.h"

/* Makes it where the URL and the settings ask for it; else manager->http stays NULL. */
cenote_status http_path_new(struct cenote_manager *manager, cenote_error *error);
void http_path_free(struct cenote_manager *manager);

enum http_choice {
  HTTP_NONE,   /* there is no such path */
  HTTP_TAKES,  /* send it there */
  HTTP_REFUSES /* there is, and it is not well, or has too much to do */
};
enum http_choice http_path_choose(struct cenote_manager *manager);

/* As simple_query, simple_start, simple_cancel, for a request with `http`. */
cenote_status http_path_query(struct cenote_manager *manager, const struct simple_request *request,
                              cenote_result **result, struct simple_outcome *outcome,
                              cenote_error *error);
cenote_status http_path_start(struct cenote_manager *manager, struct simple_async *async,
                              cenote_error *error);
void http_path_cancel(struct cenote_manager *manager, struct simple_async *async);

/* Is it a failure of the path rather than of the statement, which the pool may serve as well? Asked
 * of what has surely not run. */
bool http_path_failed(cenote_status status);
/* How a statement on it went: feeds the breaker, and logs when that moves. */
void http_path_note(struct cenote_manager *manager, cenote_status status,
                    const cenote_error *error);

/* Asks the endpoint for a sign of life; blocks. */
cenote_status http_path_check(struct cenote_manager *manager, cenote_error *error);

/* The housekeeper's turn: probes. Answers when to come back. */
int64_t http_path_turn(struct cenote_manager *manager, int64_t now_ns);
/* The breaker's limits anew, from the settings. */
void http_path_configure(struct cenote_manager *manager);
/* From here on on new connections; those that are kept are closed, at the latest when what runs on
 * them has ended. CENOTE_NO_MEMORY: nothing has changed. */
cenote_status http_path_flush(struct cenote_manager *manager, cenote_error *error);
/* A shutdown begins: nothing new. */
void http_path_drain(struct cenote_manager *manager);
/* It is over: what runs is cut off. May be called again. */
void http_path_stop(struct cenote_manager *manager);
/* How many statements run there. */
int64_t http_path_in_flight(struct cenote_manager *manager);
/* NULL: there is no such path. */
struct cen_breaker *http_path_breaker(struct cenote_manager *manager);

#endif
