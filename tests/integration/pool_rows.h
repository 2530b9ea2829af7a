/*
 * pool_rows.h - many threads on few connections, everything going wrong, and each of them only
 * ever sees its own rows. pool_rows.c is the crew with leases, pool_rows_query.c what it sends without
 * one; the programs beside them say on which database.
 */
#ifndef TEST_POOL_ROWS_H
#define TEST_POOL_ROWS_H

#include <stdbool.h>
#include <stdint.h>

enum { ROWS_THREADS = 64, ROWS_CONNECTIONS = 8, ROWS_STATEMENT_MS = 60 };

/* What differs between databases. $1 is always the caller's tag. Tables: ledger(tag, thread,
 * number), made before the crew starts. */
struct rows_subject {
  const char *url;
  const char *one;     /* one row: $1 */
  const char *many;    /* $2 rows: $1 */
  const char *slow;    /* one row: $1, after about $2 ms or much work; may run into the time-out */
  const char *wrong;   /* fails while it runs */
  const char *insert;  /* into ledger: $1, $2 thread, $3 number */
  const char *look;    /* tag from ledger where tag = $1 */
  const char *session; /* a number that stays the same on one connection, or NULL */
  const char *leave;   /* leaves $1 in the session's state, or NULL */
  const char *found;   /* what is in the session's state: "" or NULL when clean */
  void (*disturb)(void *context, uint64_t chance); /* called every now and then, or NULL */
  void (*calm)(void *context);                     /* no more of that, or NULL */
  void *context;
  bool pooler; /* behind one in transaction mode */
  bool routed; /* routed statements beside the leases */
};

/* `seconds`: unless SECONDS in the environment says otherwise. Fails the test. */
void rows_run(const struct rows_subject *subject, int64_t seconds);

#endif
