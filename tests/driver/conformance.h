/*
 * conformance.h - what every driver must do, run against each of them. A subject says how the
 * driver is reached and which words its database has for what the suite asks.
 */
#ifndef TEST_CONFORMANCE_H
#define TEST_CONFORMANCE_H

#include "driver/rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* What a subject's database can do. */
enum {
  HAS_TABLES = 1u << 0,
  HAS_RAW_TEXT = 1u << 1,
  HAS_BOOLEANS = 1u << 2, /* else they come back as integers */
  HAS_NAMED_ARGUMENTS = 1u << 3,
  HAS_READ_ONLY = 1u << 4,      /* CENOTE_BATCH_READ refuses writes */
  HAS_QUESTION_MARKS = 1u << 5, /* literal_question is given */
  HAS_PIPELINING = 1u << 6,     /* the suite finds out by itself */
  HAS_BATCHES = 1u << 8,        /* the same */
  HAS_SESSION = 1u << 7 /* transactions and settings last; all have it that do not lack it */
};

/* A statement that changes the session, and one that reads it: its number differs between. */
struct dirt {
  const char *change;
  const char *probe;
};

struct subject {
  const cenote_driver *driver;
  unsigned has, lacks;
  const char *(*url)(void); /* a new place for each test, as far as it needs one */
  void *context;
  const char *casts[CENOTE_BOOLEAN + 1]; /* behind a placeholder, by type: "::bigint" or "" */
  const char *rows_10000;                /* one integer column: 1 … 10000 */
  const char *slow;                      /* runs for half a minute at least */
  const char *brief;                     /* runs for about a millisecond */
  const char *wrong;                     /* syntax error: 42601 */
  const char *fail_transaction;          /* leaves a transaction that can only roll back */
  const char *fail_prepare;              /* to be run before it, or NULL */
  const char *literal_question;          /* true when ?? is one question mark, or NULL */
  struct dirt dirt[6];
};

struct bench {
  const struct subject *subject;
  struct rig rig;
  cenote_connection *connection;
};

/* Runs the suite; main's exit status. */
int conformance_run(const struct subject *subject);

int bench_setup(void **state);
int bench_teardown(void **state);
struct bench *bench_of(void **state);
/* "SELECT ?::bigint, …": `count` placeholders of the types. */
void bench_select(const struct bench *bench, const cenote_value *values, size_t count, char *sql,
                  size_t capacity);
unsigned bench_session(const struct bench *bench);
/* The connection still works. */
void bench_still_works(struct bench *bench);

/* A test, and what of enum HAS_… a subject needs to be asked it. */
struct bench_test {
  struct CMUnitTest test;
  unsigned needs;
};

#define BENCH_TEST(function, needs)                                               \
  {                                                                               \
    cmocka_unit_test_setup_teardown(function, bench_setup, bench_teardown), needs \
  }

extern const struct bench_test value_tests[];
extern const size_t value_tests_count;
extern const struct bench_test session_tests[];
extern const size_t session_tests_count;
extern const struct bench_test stop_tests[];
extern const size_t stop_tests_count;
extern const struct bench_test pipeline_tests[];
extern const size_t pipeline_tests_count;

#endif
