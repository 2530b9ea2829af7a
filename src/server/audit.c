/*
 * audit.c - what happened, as lines of JSON. Whoever has something to tell puts a line into a queue
 * with a ceiling; a thread of the audit's own writes it, so that a full disk or a reader that does
 * not read stops nobody. What does not fit is counted, logged, and told in the audit when it goes on.
 */
#include "base/json.h"
#include "base/text.h"
#include "net/clock.h"
#include "server/gateway_inside.h"

#include <cenote/driver.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
  QUEUE_BYTES = 1 << 20,
  LINE_BYTES = 4096, /* a longer one is dropped; PIPE_BUF: such a write to a pipe is not torn */
  TEXT_MOST = 512,   /* of a member's text */
  LINGER_MS = 1000,  /* at the end, for what is queued */
  TELL_MS = 10000    /* between two log lines about what was dropped */
};

struct gateway_audit {
  const struct cen_log *log;
  char *file; /* NULL: standard error */
  pthread_t thread;
  bool has_thread;
  int wake; /* an eventfd */
  pthread_mutex_t lock;
  /* guarded by lock */
  char *queue;
  size_t filled;
  uint64_t dropped; /* not told in the audit yet */
  int next_fd;      /* opened anew; -1: none */
  bool over;
  /* the thread's */
  int fd;
  bool torn;      /* the last line is not whole */
  int64_t end_ns; /* nothing is written after it */
  int64_t told_ns;
};

/* ---------------------------------------------------------------------- writing */

static int audit_open(const char *file)
{
  /* not blocking: a pipe that nobody reads is an error, not a wait */
  return open(file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600);
}

static void wake(const struct gateway_audit *audit)
{
  const uint64_t one = 1;
  (void)!write(audit->wake, &one, sizeof one);
}

/* Lines, whole, of at most a pipe's atomic size; 0: the queue is empty. */
static size_t lines_take(struct gateway_audit *audit, char out[LINE_BYTES])
{
  (void)pthread_mutex_lock(&audit->lock);
  if (audit->next_fd >= 0) {
    const int old = audit->fd;
    audit->fd = audit->next_fd;
    audit->next_fd = -1;
    audit->torn = false;
    (void)close(old);
  }
  size_t size = 0;
  for (size_t i = 0; i < audit->filled && i < LINE_BYTES; i++) {
    size = audit->queue[i] == '\n' ? i + 1 : size;
  }
  memcpy(out, audit->queue, size);
  audit->filled -= size;
  memmove(audit->queue, audit->queue + size, audit->filled);
  (void)pthread_mutex_unlock(&audit->lock);
  return size;
}

static void lost(struct gateway_audit *audit, const char *lines, size_t size)
{
  uint64_t count = 0;
  for (size_t i = 0; i < size; i++) {
    count += lines[i] == '\n';
  }
  (void)pthread_mutex_lock(&audit->lock);
  audit->dropped += count;
  (void)pthread_mutex_unlock(&audit->lock);
}

/* Not on every line: who has a full disk knows it after the first. */
static void tell(struct gateway_audit *audit, const char *why)
{
  const int64_t now = cen_now_ns();
  (void)pthread_mutex_lock(&audit->lock);
  const uint64_t dropped = audit->dropped;
  (void)pthread_mutex_unlock(&audit->lock);
  if (audit->told_ns == 0 || now - audit->told_ns >= TELL_MS * CEN_NS_PER_MS) {
    audit->told_ns = now;
    cen_log_write(audit->log, CENOTE_LOG_ERROR,
                  "the audit cannot be written to %s (%s): %" PRIu64 " lines were dropped",
                  audit->file != NULL ? audit->file : "standard error", why, dropped);
  }
}

/* The end has been asked for: what is queued may still take a moment. */
static bool over_look(struct gateway_audit *audit)
{
  uint64_t count;
  (void)!read(audit->wake, &count, sizeof count);
  (void)pthread_mutex_lock(&audit->lock);
  const bool over = audit->over;
  (void)pthread_mutex_unlock(&audit->lock);
  if (over && audit->end_ns == CEN_NEVER) {
    audit->end_ns = cen_deadline_ns(cen_now_ns(), LINGER_MS);
  }
  return over;
}

/* false: it was not written, and why is in errno. Waits for a pipe's reader. */
static bool piece_write(struct gateway_audit *audit, const char *data, size_t size)
{
  while (size > 0) {
    struct pollfd fds[2] = {{.fd = audit->fd, .events = POLLOUT},
                            {.fd = audit->wake, .events = POLLIN}};
    const int ready = poll(fds, 2, cen_poll_timeout_ms(cen_now_ns(), audit->end_ns));
    if (ready == 0) {
      errno = EAGAIN;
      return false;
    }
    if (ready > 0 && fds[1].revents != 0) {
      (void)over_look(audit);
    }
    if (ready < 0 || fds[0].revents == 0) {
      continue;
    }
    const ssize_t written = write(audit->fd, data, size);
    if (written < 0 && errno != EINTR && errno != EAGAIN) {
      return false;
    }
    if (written > 0) {
      audit->torn = data[written - 1] != '\n';
      data += written;
      size -= (size_t)written;
    }
  }
  return true;
}

static void dropped_add(struct gateway_audit *audit);

/* Until the queue is empty. */
static void queue_write(struct gateway_audit *audit)
{
  char lines[LINE_BYTES];
  for (;;) {
    const size_t size = lines_take(audit, lines);
    if (size == 0) {
      return;
    }
    const bool begun = !audit->torn || piece_write(audit, "\n", 1);
    if (!begun || !piece_write(audit, lines, size)) {
      const char *why = strerror(errno);
      lost(audit, lines, size);
      tell(audit, why);
    } else {
      dropped_add(audit);
    }
  }
}

static void signals_block(void)
{
  sigset_t all;
  (void)sigfillset(&all);
  (void)pthread_sigmask(SIG_BLOCK, &all, NULL);
}

static void *audit_main(void *context)
{
  struct gateway_audit *audit = context;
  bool over = false;
  signals_block();
  while (!over) {
    struct pollfd woken = {.fd = audit->wake, .events = POLLIN};
    (void)poll(&woken, 1, audit->end_ns == CEN_NEVER ? -1 : 0);
    over = over_look(audit);
    queue_write(audit);
  }
  return NULL;
}

/* ------------------------------------------------------------------ its beginning and end */

static cenote_status cannot_open(const char *file, cenote_error *error)
{
  char shown[200], why[80] = "";
  const int cause = errno;
  cen_text_escape(shown, sizeof shown, file);
  return cenote_error_set(error, CENOTE_CONFIG, "audit_log: cannot open %s: %s", shown,
                          cause == ENXIO ? "nobody reads this pipe"
                                         : strerror_r(cause, why, sizeof why));
}

static cenote_status audit_start(struct gateway_audit *audit, const char *where,
                                 cenote_error *error)
{
  audit->queue = malloc(QUEUE_BYTES);
  audit->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (strcmp(where, "stderr") != 0) {
    audit->file = cen_text_copy(where);
  }
  if (audit->queue == NULL || audit->wake < 0 ||
      (audit->file == NULL && strcmp(where, "stderr") != 0)) {
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory");
  }
  audit->fd = audit->file != NULL ? audit_open(where) : STDERR_FILENO;
  if (audit->fd < 0) {
    return cannot_open(where, error);
  }
  if (pthread_create(&audit->thread, NULL, audit_main, audit) != 0) {
    return cenote_error_set(error, CENOTE_IO, "no thread could be started");
  }
  audit->has_thread = true;
  return CENOTE_OK;
}

cenote_status gateway_audit_new(const char *where, const struct cen_log *log,
                                struct gateway_audit **audit, cenote_error *error)
{
  *audit = NULL;
  if (where == NULL) {
    return CENOTE_OK;
  }
  struct gateway_audit *made = calloc(1, sizeof *made);
  if (made == NULL) {
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory");
  }
  (void)pthread_mutex_init(&made->lock, NULL);
  made->log = log;
  made->end_ns = CEN_NEVER;
  made->fd = made->wake = made->next_fd = -1;
  const cenote_status status = audit_start(made, where, error);
  if (status != CENOTE_OK) {
    gateway_audit_free(made);
    return status;
  }
  *audit = made;
  return CENOTE_OK;
}

cenote_status gateway_audit_reopen(struct gateway_audit *audit, cenote_error *error)
{
  if (audit == NULL || audit->file == NULL) {
    return CENOTE_OK;
  }
  const int fd = audit_open(audit->file);
  if (fd < 0) {
    return cannot_open(audit->file, error);
  }
  (void)pthread_mutex_lock(&audit->lock);
  const int unused = audit->next_fd;
  audit->next_fd = fd;
  (void)pthread_mutex_unlock(&audit->lock);
  if (unused >= 0) {
    (void)close(unused);
  }
  wake(audit);
  return CENOTE_OK;
}

void gateway_audit_free(struct gateway_audit *audit)
{
  if (audit == NULL) {
    return;
  }
  if (audit->has_thread) {
    (void)pthread_mutex_lock(&audit->lock);
    audit->over = true;
    (void)pthread_mutex_unlock(&audit->lock);
    wake(audit);
    (void)pthread_join(audit->thread, NULL);
  }
  const int fds[] = {audit->fd, audit->next_fd, audit->wake};
  for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++) {
    if (fds[i] > STDERR_FILENO) {
      (void)close(fds[i]);
    }
  }
  (void)pthread_mutex_destroy(&audit->lock);
  free(audit->queue);
  free(audit->file);
  free(audit);
}

/* ------------------------------------------------------------------------- telling */

static void member(struct cen_json *json, const char *name, const char *value)
{
  if (value != NULL && value[0] != '\0') {
    const size_t size = strnlen(value, TEXT_MOST + 1);
    cen_json_key(json, name);
    cen_json_string_n(json, value, size > TEXT_MOST ? cen_utf8_cut(value, TEXT_MOST) : size);
  }
}

static void time_text(char out[40], int64_t unix_ms)
{
  const time_t seconds = (time_t)(unix_ms / 1000);
  struct tm utc;
  char day[32] = "";
  (void)gmtime_r(&seconds, &utc);
  (void)strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &utc);
  (void)snprintf(out, 40, "%s.%03dZ", day, (int)(unix_ms % 1000));
}

static void line_put(struct cen_buf *buf, const struct gateway_event *event)
{
  struct cen_json json;
  char when[40];
  time_text(when, event->unix_ms != 0 ? event->unix_ms : cen_wall_ms());
  cen_json_init(&json, buf);
  cen_json_object(&json);
  member(&json, "time", when);
  member(&json, "event", event->event);
  member(&json, "database", event->database);
  member(&json, "user", event->user);
  member(&json, "peer", event->peer);
  if (event->connection != 0) {
    cen_json_key(&json, "connection");
    cen_json_uint(&json, event->connection);
  }
  member(&json, "reason", event->reason);
  member(&json, "operation", event->operation);
  cen_json_object_end(&json);
  cen_buf_char(buf, '\n');
}

/* Under the lock. */
static bool queue_add(struct gateway_audit *audit, const struct cen_buf *line)
{
  if (line->failed || line->size > QUEUE_BYTES - audit->filled) {
    return false;
  }
  memcpy(audit->queue + audit->filled, line->data, line->size);
  audit->filled += line->size;
  return true;
}

void gateway_audit_put(struct gateway_audit *audit, const struct gateway_event *event)
{
  struct cen_buf line;
  if (audit == NULL) {
    return;
  }
  cen_buf_init(&line, LINE_BYTES);
  line_put(&line, event);
  (void)pthread_mutex_lock(&audit->lock);
  if (!queue_add(audit, &line)) {
    audit->dropped++;
  }
  (void)pthread_mutex_unlock(&audit->lock);
  cen_buf_deinit(&line);
  wake(audit);
}

/* It goes on: how many are missing is told once. */
static void dropped_add(struct gateway_audit *audit)
{
  (void)pthread_mutex_lock(&audit->lock);
  const uint64_t dropped = audit->dropped;
  (void)pthread_mutex_unlock(&audit->lock);
  if (dropped == 0) {
    return;
  }
  char count[48];
  struct cen_buf line;
  (void)snprintf(count, sizeof count, "%" PRIu64 " lines are missing", dropped);
  const struct gateway_event event = {.event = "audit_dropped", .reason = count};
  cen_buf_init(&line, LINE_BYTES);
  line_put(&line, &event);
  (void)pthread_mutex_lock(&audit->lock);
  if (queue_add(audit, &line)) {
    audit->dropped -= dropped;
  }
  (void)pthread_mutex_unlock(&audit->lock);
  cen_buf_deinit(&line);
}

void gateway_audit_write(struct gateway *gateway, const struct gateway_event *event)
{
  gateway_audit_put(gateway->audit, event);
}

/* The name it has here says more than its URL. */
static const char *database_name(const struct gateway *gateway, const char *url)
{
  for (size_t i = 0; url != NULL && i < gateway->database_count; i++) {
    if (strcmp(gateway->databases[i].shown, url) == 0) {
      return gateway->databases[i].name;
    }
  }
  return url;
}

void gateway_audit_manager(void *context, const cenote_audit_event *event)
{
  static const char *const names[] = {[CENOTE_AUDIT_CONNECTION_OPENED] = "connection_opened",
                                      [CENOTE_AUDIT_CONNECTION_CLOSED] = "connection_closed",
                                      [CENOTE_AUDIT_LEASE_EXPIRED] = "lease_expired",
                                      [CENOTE_AUDIT_LOGIN_FAILED] = "login_failed",
                                      [CENOTE_AUDIT_BREAKER_MOVED] = "breaker_moved",
                                      [CENOTE_AUDIT_SETTINGS_CHANGED] = "settings_changed",
                                      [CENOTE_AUDIT_SHUTDOWN] = "pool_closed"};
  struct gateway *gateway = context;
  if (gateway->audit == NULL || (size_t)event->kind >= sizeof names / sizeof names[0]) {
    return;
  }
  const struct gateway_event line = {.event = names[event->kind],
                                     .unix_ms = event->unix_ms,
                                     .database = database_name(gateway, event->database),
                                     .connection = event->connection,
                                     .reason = event->reason,
                                     .operation = event->operation_id};
  gateway_audit_put(gateway->audit, &line);
}
