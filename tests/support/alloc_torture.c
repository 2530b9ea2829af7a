/* alloc_torture.c - see alloc_torture.h. */
#include "support/alloc_torture.h"

#include "base/rng.h"

#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static atomic_bool armed;
static atomic_bool struck;
static atomic_bool onward;
static atomic_bool one_thread;
static atomic_long until;  /* allocations that still succeed */
static atomic_long living; /* blocks that came through here and were not freed */
static _Thread_local bool is_victim;
static _Thread_local int pauses;

bool alloc_torture_strikes(void)
{
  if (!atomic_load(&armed) || pauses > 0 || (atomic_load(&one_thread) && !is_victim)) {
    return false;
  }
  long before = atomic_fetch_sub(&until, 1);
  if (before == 0 || (before < 0 && atomic_load(&onward))) {
    atomic_store(&struck, true);
    return true;
  }
  return false;
}

bool alloc_torture_struck(void)
{
  return atomic_load(&struck);
}

void alloc_torture_disarm(void)
{
  atomic_store(&armed, false);
  is_victim = false;
  pauses = 0;
}

void alloc_torture_pause(void)
{
  pauses++;
}

void alloc_torture_resume(void)
{
  pauses--;
}

static void run(void (*body)(void *context), void *context, unsigned flags, size_t number)
{
  long before = atomic_load(&living);
  atomic_store(&struck, false);
  atomic_store(&onward, (flags & ALLOC_TORTURE_ONWARD) != 0);
  atomic_store(&one_thread, (flags & ALLOC_TORTURE_THIS_THREAD) != 0);
  atomic_store(&until, (long)number - 1);
  is_victim = true;
  atomic_store(&armed, number > 0);
  body(context);
  alloc_torture_disarm();
  if ((flags & ALLOC_TORTURE_BALANCED) != 0 && number > 0 && atomic_load(&living) != before) {
    fail_msg("allocation %zu failed: %ld blocks are left", number, atomic_load(&living) - before);
  }
}

static void run_traced(void (*body)(void *context), void *context, unsigned flags, size_t number)
{
  if (getenv("ALLOC_TORTURE_TRACE") != NULL) {
    fprintf(stderr, "allocation %zu fails\n", number);
  }
  run(body, context, flags, number);
}

size_t alloc_torture_sample(void (*body)(void *context), void *context, unsigned flags, size_t most,
                            uint64_t seed)
{
  struct cen_rng rng;
  size_t met = 0;
  cen_rng_seed(&rng, seed);
  run(body, context, flags, 0);
  run(body, context, flags, (size_t)LONG_MAX); /* so many that none fails: counts */
  const size_t count = (size_t)(LONG_MAX - 1 - atomic_load(&until));
  const size_t runs = count < most ? count : most;
  for (size_t i = 0; i < runs; i++) {
    const size_t from = count * i / runs;
    const size_t to = count * (i + 1) / runs;
    run_traced(body, context, flags, from + 1 + (size_t)cen_rng_below(&rng, to - from));
    met += alloc_torture_struck();
  }
  return met;
}

size_t alloc_torture(void (*body)(void *context), void *context, unsigned flags)
{
  run(body, context, flags, 0);
  for (size_t number = 1; number <= ALLOC_TORTURE_MOST_RUNS; number++) {
    run_traced(body, context, flags, number);
    if (!alloc_torture_struck()) {
      return number - 1;
    }
  }
  fail_msg("more than %d allocations: does the body end?", (int)ALLOC_TORTURE_MOST_RUNS);
  return 0;
}

/* ------------------------------------------------- what the linker puts in place of the libc's */

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void *__real_aligned_alloc(size_t align, size_t size);
int __real_posix_memalign(void **memory, size_t align, size_t size);
void __real_free(void *memory);

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
void *__wrap_reallocarray(void *memory, size_t count, size_t size);
void *__wrap_aligned_alloc(size_t align, size_t size);
int __wrap_posix_memalign(void **memory, size_t align, size_t size);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t size);
int __wrap_vasprintf(char **text, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));
int __wrap_asprintf(char **text, const char *format, ...) __attribute__((format(printf, 2, 3)));
void __wrap_free(void *memory);

static void *counted(void *memory)
{
  if (memory != NULL) {
    atomic_fetch_add(&living, 1);
  }
  return memory;
}

static bool refuses(void)
{
  if (alloc_torture_strikes()) {
    errno = ENOMEM;
    return true;
  }
  return false;
}

void *__wrap_malloc(size_t size)
{
  return refuses() ? NULL : counted(__real_malloc(size));
}

void *__wrap_calloc(size_t count, size_t size)
{
  return refuses() ? NULL : counted(__real_calloc(count, size));
}

void *__wrap_realloc(void *memory, size_t size)
{
  if (refuses()) {
    return NULL;
  }
  void *moved = __real_realloc(memory, size);
  return memory == NULL ? counted(moved) : moved;
}

void *__wrap_reallocarray(void *memory, size_t count, size_t size)
{
  size_t bytes;
  if (__builtin_mul_overflow(count, size, &bytes)) {
    errno = ENOMEM;
    return NULL;
  }
  return __wrap_realloc(memory, bytes);
}

void *__wrap_aligned_alloc(size_t align, size_t size)
{
  return refuses() ? NULL : counted(__real_aligned_alloc(align, size));
}

int __wrap_posix_memalign(void **memory, size_t align, size_t size)
{
  if (refuses()) {
    return ENOMEM;
  }
  int answer = __real_posix_memalign(memory, align, size);
  if (answer == 0) {
    counted(*memory);
  }
  return answer;
}

char *__wrap_strndup(const char *text, size_t size)
{
  size_t length = strnlen(text, size);
  char *copy = __wrap_malloc(length + 1);
  if (copy != NULL) {
    memcpy(copy, text, length);
    copy[length] = '\0';
  }
  return copy;
}

char *__wrap_strdup(const char *text)
{
  return __wrap_strndup(text, strlen(text));
}

int __wrap_vasprintf(char **text, const char *format, va_list args)
{
  va_list again;
  va_copy(again, args);
  int length = vsnprintf(NULL, 0, format, args);
  char *memory = length < 0 ? NULL : __wrap_malloc((size_t)length + 1);
  if (memory == NULL) {
    length = -1;
  } else {
    vsnprintf(memory, (size_t)length + 1, format, again);
    *text = memory;
  }
  va_end(again);
  return length;
}

int __wrap_asprintf(char **text, const char *format, ...)
{
  va_list args;
  va_start(args, format);
  int length = __wrap_vasprintf(text, format, args);
  va_end(args);
  return length;
}

void __wrap_free(void *memory)
{
  if (memory != NULL) {
    atomic_fetch_sub(&living, 1);
  }
  __real_free(memory);
}
