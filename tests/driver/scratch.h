/* scratch.h - a folder of the test's own for database files, removed at the end. Main thread. */
#ifndef TEST_SCRATCH_H
#define TEST_SCRATCH_H

#include <stdbool.h>
#include <stddef.h>

bool scratch_open(void);
void scratch_close(void);
/* The same, as cmocka wants a group's. */
int scratch_setup(void **state);
int scratch_teardown(void **state);
/* A URL of a file that does not exist yet; valid until the next call. */
const char *scratch_url(void);
/* A path in the folder; valid until the next call. */
const char *scratch_path(const char *name);

#endif
