/* builtin.h - names that PostgreSQL brings along. Names as the catalogue has them (lower case).
 * Pure functions; any thread. The functions that keep no session state: tokens.h. */
#ifndef CEN_BUILTIN_H
#define CEN_BUILTIN_H

#include <stdbool.h>
#include <stddef.h>

bool cen_name_in(const char *name, size_t size, const char *const *table, size_t count);

bool cen_operator_builtin(const char *name, size_t size);
bool cen_type_builtin(const char *name, size_t size); /* arrays go by their element */
/* Of those in stateless.c: does it write, or do something that must not happen twice? */
bool cen_function_writes(const char *name, size_t size);

#endif
