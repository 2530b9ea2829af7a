/*
 * terminal.h - the terminal while `top` has it: its other screen, no cursor, keys as they are typed.
 * The worker draws and reads; terminal_restore may come from any thread, after which nothing is drawn.
 */
#ifndef CEN_CLI_TERMINAL_H
#define CEN_CLI_TERMINAL_H

#include "base/buf.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <termios.h>

struct terminal {
  struct termios before;
  pthread_mutex_t lock;
  bool taken;
};

struct terminal_size {
  int columns, rows;
};

enum terminal_key {
  TERMINAL_NO_KEY,
  TERMINAL_UP = 256,
  TERMINAL_DOWN,
  TERMINAL_PAGE_UP,
  TERMINAL_PAGE_DOWN,
  TERMINAL_HOME,
  TERMINAL_END,
  TERMINAL_GONE /* nobody is there any more */
};

/* Are standard input and output a terminal that can move its cursor? */
bool terminal_there(void);
bool terminal_take(struct terminal *terminal);
void terminal_restore(struct terminal *terminal);
struct terminal_size terminal_size(void);
/* Bytes as they are, in one go. */
void terminal_draw(struct terminal *terminal, const char *bytes, size_t size);
/* Keys that were typed: calls `on_key` for each, does not wait. */
void terminal_keys(void (*on_key)(void *context, int key), void *context);

#endif
