/* terminal.c - see terminal.h. Plain ECMA-48 sequences: every terminal of the last decades has them. */
#include "cli/terminal.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static const char enter[] = "\x1b[?1049h\x1b[?25l\x1b[H\x1b[2J";
static const char leave[] = "\x1b[0m\x1b[?25h\x1b[?1049l";

bool terminal_there(void)
{
  const char *kind = getenv("TERM");
  return isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && kind != NULL && kind[0] != '\0' &&
         strcmp(kind, "dumb") != 0;
}

static void write_all(const char *bytes, size_t size)
{
  while (size > 0) {
    const ssize_t wrote = write(STDOUT_FILENO, bytes, size);
    if (wrote < 0 && errno == EAGAIN) {
      struct pollfd ready = {.fd = STDOUT_FILENO, .events = POLLOUT};
      (void)poll(&ready, 1, 1000);
    } else if (wrote < 0 && errno != EINTR) {
      return;
    }
    bytes += wrote > 0 ? wrote : 0;
    size -= wrote > 0 ? (size_t)wrote : 0;
  }
}

bool terminal_take(struct terminal *terminal)
{
  if (tcgetattr(STDIN_FILENO, &terminal->before) != 0) {
    return false;
  }
  struct termios raw = terminal->before;
  raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO); /* ISIG stays: Ctrl-C is a signal */
  raw.c_cc[VMIN] = 0;
  raw.c_cc[VTIME] = 0;
  raw.c_cc[VSUSP] = _POSIX_VDISABLE; /* a shell must not get the terminal like this */
  if (tcsetattr(STDIN_FILENO, TCSANOW, &raw) != 0) {
    return false;
  }
  (void)pthread_mutex_init(&terminal->lock, NULL);
  terminal->taken = true;
  write_all(enter, sizeof enter - 1);
  return true;
}

void terminal_restore(struct terminal *terminal)
{
  (void)pthread_mutex_lock(&terminal->lock);
  if (terminal->taken) {
    terminal->taken = false;
    write_all(leave, sizeof leave - 1);
    (void)tcsetattr(STDIN_FILENO, TCSANOW, &terminal->before);
  }
  (void)pthread_mutex_unlock(&terminal->lock);
}

struct terminal_size terminal_size(void)
{
  struct winsize found;
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &found) == 0 && found.ws_col > 0 && found.ws_row > 0) {
    return (struct terminal_size){found.ws_col, found.ws_row};
  }
  return (struct terminal_size){80, 24};
}

void terminal_draw(struct terminal *terminal, const char *bytes, size_t size)
{
  (void)pthread_mutex_lock(&terminal->lock);
  if (terminal->taken) {
    write_all(bytes, size);
  }
  (void)pthread_mutex_unlock(&terminal->lock);
}

/* What a sequence behind ESC means; *used: its bytes. */
static int sequence(const char *bytes, size_t size, size_t *used)
{
  static const struct {
    const char *bytes;
    int key;
  } known[] = {{"[A", TERMINAL_UP},   {"[B", TERMINAL_DOWN},     {"OA", TERMINAL_UP},
               {"OB", TERMINAL_DOWN}, {"[5~", TERMINAL_PAGE_UP}, {"[6~", TERMINAL_PAGE_DOWN},
               {"[H", TERMINAL_HOME}, {"[F", TERMINAL_END},      {"OH", TERMINAL_HOME},
               {"OF", TERMINAL_END},  {"[1~", TERMINAL_HOME},    {"[4~", TERMINAL_END}};
  for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
    const size_t length = strlen(known[i].bytes);
    if (size >= length && memcmp(bytes, known[i].bytes, length) == 0) {
      *used = length;
      return known[i].key;
    }
  }
  size_t at = size > 0 && (bytes[0] == '[' || bytes[0] == 'O') ? 1 : 0;
  while (at > 0 && at < size && (bytes[at] < '@' || bytes[at] > '~')) {
    at++;
  }
  *used = at > 0 && at < size ? at + 1 : at;
  return TERMINAL_NO_KEY;
}

void terminal_keys(void (*on_key)(void *context, int key), void *context)
{
  char bytes[64];
  struct pollfd ready = {.fd = STDIN_FILENO, .events = POLLIN};
  if (poll(&ready, 1, 0) <= 0) {
    return;
  }
  const ssize_t got = read(STDIN_FILENO, bytes, sizeof bytes);
  if (got == 0 || (got < 0 && errno != EINTR && errno != EAGAIN)) {
    on_key(context, TERMINAL_GONE);
  }
  for (size_t at = 0; got > 0 && at < (size_t)got;) {
    size_t used = 0;
    int key = (unsigned char)bytes[at++];
    if (key == '\x1b') {
      key = sequence(bytes + at, (size_t)got - at, &used);
      at += used;
    }
    if (key != TERMINAL_NO_KEY) {
      on_key(context, key);
    }
  }
}
