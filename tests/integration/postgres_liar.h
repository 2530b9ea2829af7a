/*
 * postgres_liar.h - a server of PostgreSQL's protocol that logs anybody in and then says what a test
 * wants it to say. For one connection.
 */
#ifndef TEST_POSTGRES_LIAR_H
#define TEST_POSTGRES_LIAR_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#define BYTES(text) text, sizeof(text) - 1

#define PARSED "1\0\0\0\4"
#define BOUND "2\0\0\0\4"
#define NONE "n\0\0\0\4"
#define READY "Z\0\0\0\5I"
#define ONE_COLUMN                \
  "T\0\0\0\x1a\0\1"               \
  "a\0\0\0\0\0\0\0\0\0\0\x17\0\4" \
  "\xff\xff\xff\xff\0\0"
#define ROW_42              \
  "D\0\0\0\x0c\0\1\0\0\0\2" \
  "42"
#define SELECT_1 \
  "C\0\0\0\x0d"  \
  "SELECT 1\0"
#define GOOD PARSED BOUND ONE_COLUMN ROW_42 SELECT_1 READY

/* Logs anybody in, waits for the first request, says its piece, and hangs up, or waits for that. */
struct pg_liar {
  int listener;
  char url[64];
  const char *script;
  size_t size, piece;
  bool hangs_up;
  pthread_t thread;
};

/* `piece`: so many bytes at once. */
void pg_liar_start(struct pg_liar *liar, const char *script, size_t size, size_t piece,
                   bool hangs_up);
void pg_liar_stop(struct pg_liar *liar); /* when the connection is closed */

#endif
