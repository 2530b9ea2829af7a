/*
 * route.h - which path a statement takes: two separate verdicts from its text, remembered by text.
 * Unknown means: not shareable, not read-only. Every call from any thread.
 */
#ifndef CEN_ROUTE_H
#define CEN_ROUTE_H

#include <cenote/cenote.h>

struct cen_route;

struct cen_verdict {
  bool shareable;  /* leaves no trace in its session: may run on a shared connection */
  bool read_only;  /* changes nothing: may run again, and on a session that refuses to write */
  const char *why; /* static: what decided, for logs and docs ("a plain SELECT", "SET", …) */
};

enum cen_route_database { CEN_ROUTE_POSTGRES, CEN_ROUTE_SQLITE, CEN_ROUTE_UNKNOWN };

/* `stateless`: the setting stateless_functions (names, comma separated, may be NULL). */
cenote_status cen_route_new(enum cen_route_database database, const char *stateless,
                            struct cen_route **route, cenote_error *error);
void cen_route_free(struct cen_route *route);
/* Never fails: what cannot be judged (no memory, too long) is unknown. `native`: the text is sent
 * as it is, and judged so (CENOTE_QUERY_NATIVE). */
struct cen_verdict cen_route_judge_as(struct cen_route *route, const char *sql, size_t size,
                                      bool native);
static inline struct cen_verdict cen_route_judge(struct cen_route *route, const char *sql,
                                                 size_t size)
{
  return cen_route_judge_as(route, sql, size, false);
}
/* The caller's hint, where it is safe. */
struct cen_verdict cen_route_apply_hint(struct cen_verdict verdict, cenote_hint hint);
/* The database said otherwise (25006): from now on this text is no read. */
void cen_route_not_read_only_as(struct cen_route *route, const char *sql, size_t size, bool native);
static inline void cen_route_not_read_only(struct cen_route *route, const char *sql, size_t size)
{
  cen_route_not_read_only_as(route, sql, size, false);
}

#endif
