/*
 * verdict.h - PostgreSQL's grammar asked: does a statement leave session state behind, does it
 * change anything? The rules and their limits: docs/routing.md. Any thread; takes some microseconds
 * (manager/route.c remembers).
 */
#ifndef CEN_VERDICT_H
#define CEN_VERDICT_H

#include "sql/names.h"

/* Bytes of a statement that PostgreSQL's grammar is asked about: parsing takes some 100 ns a byte,
 * which longer statements do not win back. */
enum { CEN_VERDICT_TEXT = 16 << 10 };

struct cen_sql_verdict {
  bool shareable;  /* leaves no trace in its session */
  bool read_only;  /* changes nothing */
  bool passing;    /* no memory to judge it: another time it may be known */
  const char *why; /* static */
};

/* `stateless`: further names (of functions, operators, types) that keep no session state; may be
 * NULL. */
struct cen_sql_verdict cen_verdict_postgres(const char *sql, size_t size,
                                            const struct cen_names *stateless);
/* The same of a text that is sent as it is: `?` is an operator in it. */
struct cen_sql_verdict cen_verdict_postgres_native(const char *sql, size_t size,
                                                   const struct cen_names *stateless);
/* By the scanner alone; the driver asks sqlite3_stmt_readonly() again before it runs anything. */
struct cen_sql_verdict cen_verdict_sqlite(const char *sql, size_t size);

#endif
