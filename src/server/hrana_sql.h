/* hrana_sql.h - what Hrana's part asks about a statement's text. (The scanner and the JSON reader
 * both have tokens, so no file can include both.) Pure; any thread. */
#ifndef CEN_HRANA_SQL_H
#define CEN_HRANA_SQL_H

#include <stdbool.h>
#include <stddef.h>

/* Reads, writes or changes the schema, and leaves its session as it was: no BEGIN, no PRAGMA. */
bool hrana_sql_is_plain(const char *sql, size_t size);
/* BEGIN … READONLY: to SQLite itself that is but a name. */
enum hrana_begin { HRANA_NO_BEGIN, HRANA_BEGINS_TO_WRITE, HRANA_BEGINS_TO_READ };
enum hrana_begin hrana_sql_begins(const char *sql, size_t size);
bool hrana_sql_may_dirty(const char *sql, size_t size);
/* The next one of a script from *offset on; false at its end. */
bool hrana_sql_next(const char *sql, size_t size, size_t *offset, const char **part,
                    size_t *part_size);

#endif
