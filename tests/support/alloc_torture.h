/*
 * alloc_torture.h - fail every allocation in turn.
 *
 * alloc_torture() runs a body again and again: in the first run the first allocation fails, in the
 * second run the second, until a run meets no failure. The body opens what it tests, uses it, frees
 * it, and checks that each call either succeeded or answered CENOTE_NO_MEMORY (or, for what may
 * carry on without the memory, that it did). AddressSanitizer finds what leaks or is freed twice;
 * ALLOC_TORTURE_BALANCED finds leaks without it.
 *
 *     static void open_and_close(void *context)
 *     {
 *       struct thing *thing;
 *       cenote_status status = thing_open(&thing);
 *       if (status == CENOTE_OK) {
 *         thing_close(thing);
 *       } else {
 *         assert_int_equal(status, CENOTE_NO_MEMORY);
 *         assert_true(alloc_torture_struck());
 *       }
 *     }
 *     …
 *     assert_true(alloc_torture(open_and_close, NULL, ALLOC_TORTURE_BALANCED) > 0);
 *
 * A test that uses it says `'deps': [alloc_torture_dep]` in its meson.build: the linker then sends
 * malloc, calloc, realloc, reallocarray, aligned_alloc, posix_memalign, strdup, strndup, asprintf,
 * vasprintf and free through here (-Wl,--wrap), for the test and for libcenote.a, with every
 * sanitizer. Shared libraries (libpq, sqlite3, libc itself) keep their own; a test that can hook
 * another allocator (sqlite3_config) asks alloc_torture_strikes() there. With ALLOC_TORTURE_TRACE
 * set in the environment, each run prints its number to standard error.
 *
 * One body at a time in a process. A failed assertion leaves the torture armed: call
 * alloc_torture_disarm() in the teardown when other tests follow.
 */
#ifndef ALLOC_TORTURE_H
#define ALLOC_TORTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
  ALLOC_TORTURE_ONWARD = 1u << 0,      /* the n-th and all that follow fail, not only the n-th */
  ALLOC_TORTURE_THIS_THREAD = 1u << 1, /* other threads' allocations neither count nor fail */
  ALLOC_TORTURE_BALANCED = 1u << 2     /* after each run as many blocks live as before it */
};

enum { ALLOC_TORTURE_MOST_RUNS = 100000 };

/* How many runs met a failure. The body runs once before, untouched, so that what is made once a
 * process is there. Fails the test after ALLOC_TORTURE_MOST_RUNS runs. */
size_t alloc_torture(void (*body)(void *context), void *context, unsigned flags);

/* For bodies that are too slow to be run for each: counts the allocations of an untouched run and
 * fails at most `most` of them, each in a run of its own, spread evenly and chosen by chance within
 * each part. Threads make the count differ a little from run to run, so a few runs may meet none. */
size_t alloc_torture_sample(void (*body)(void *context), void *context, unsigned flags, size_t most,
                            uint64_t seed);

bool alloc_torture_struck(void);  /* has an allocation failed in this run? */
bool alloc_torture_strikes(void); /* counts one allocation; true: let it fail */
/* In a body: from here on memory is back, for every thread; in the teardown of a test that failed. */
void alloc_torture_disarm(void);

/* Around the parts of a body that are not under test (setting up a fixture): on this thread nothing
 * counts or fails in between. They nest. */
void alloc_torture_pause(void);
void alloc_torture_resume(void);

#endif
