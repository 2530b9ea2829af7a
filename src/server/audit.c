/* audit.c - one line of JSON for each event, to standard error or a file. Any thread. */
#include "base/json.h"
#include "base/text.h"
#include "server/gateway_inside.h"

#include <cenote/driver.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct gateway_audit {
  pthread_mutex_t lock;
  char *file; /* NULL: standard error */
  int fd;
};

static int audit_open(const char *file)
{
  return open(file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0600);
}

cenote_status gateway_audit_new(const char *where, const struct cen_log *log,
                                struct gateway_audit **audit, cenote_error *error)
{
  (void)log;
  *audit = NULL;
  if (where == NULL) {
    return CENOTE_OK;
  }
  struct gateway_audit *made = calloc(1, sizeof *made);
  if (made == NULL) {
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory");
  }
  (void)pthread_mutex_init(&made->lock, NULL);
  made->fd = STDERR_FILENO;
  if (strcmp(where, "stderr") != 0) {
    made->file = cen_text_copy(where);
    made->fd = made->file != NULL ? audit_open(where) : -1;
  }
  if (made->fd < 0) {
    const char *why = strerror(errno);
    gateway_audit_free(made);
    return cenote_error_set(error, CENOTE_CONFIG, "audit_log: cannot open %s: %s", where, why);
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
    return cenote_error_set(error, CENOTE_IO, "audit_log: cannot open %s: %s", audit->file,
                            strerror(errno));
  }
  (void)pthread_mutex_lock(&audit->lock);
  const int old = audit->fd;
  audit->fd = fd;
  (void)pthread_mutex_unlock(&audit->lock);
  (void)close(old);
  return CENOTE_OK;
}

void gateway_audit_free(struct gateway_audit *audit)
{
  if (audit == NULL) {
    return;
  }
  if (audit->fd > STDERR_FILENO) {
    (void)close(audit->fd);
  }
  (void)pthread_mutex_destroy(&audit->lock);
  free(audit->file);
  free(audit);
}

static void member(struct cen_json *json, const char *name, const char *value)
{
  if (value != NULL && value[0] != '\0') {
    cen_json_key(json, name);
    cen_json_string(json, value);
  }
}

void gateway_audit_write(struct gateway *gateway, const struct gateway_event *event)
{
  struct gateway_audit *audit = gateway->audit;
  struct cen_buf buf;
  struct cen_json json;
  if (audit == NULL) {
    return;
  }
  cen_buf_init(&buf, 8192);
  cen_json_init(&json, &buf);
  cen_json_object(&json);
  cen_json_key(&json, "time");
  cen_json_int(&json, cen_wall_ms());
  member(&json, "event", event->event);
  member(&json, "database", event->database);
  member(&json, "user", event->user);
  member(&json, "peer", event->peer);
  member(&json, "reason", event->reason);
  member(&json, "operation", event->operation);
  cen_json_object_end(&json);
  cen_buf_char(&buf, '\n');
  if (!buf.failed) {
    (void)pthread_mutex_lock(&audit->lock);
    (void)!write(audit->fd, buf.data, buf.size);
    (void)pthread_mutex_unlock(&audit->lock);
  }
  cen_buf_deinit(&buf);
}

void gateway_audit_manager(void *context, const cenote_audit_event *event)
{
  static const char *const names[] = {[CENOTE_AUDIT_CONNECTION_OPENED] = "connection_opened",
                                      [CENOTE_AUDIT_CONNECTION_CLOSED] = "connection_closed",
                                      [CENOTE_AUDIT_LEASE_EXPIRED] = "lease_expired",
                                      [CENOTE_AUDIT_LOGIN_FAILED] = "login_failed",
                                      [CENOTE_AUDIT_BREAKER_MOVED] = "breaker_moved",
                                      [CENOTE_AUDIT_SETTINGS_CHANGED] = "settings_changed",
                                      [CENOTE_AUDIT_SHUTDOWN] = "pool_shutdown"};
  const struct gateway_event line = {.event = names[event->kind],
                                     .database = event->database,
                                     .reason = event->reason,
                                     .operation = event->operation_id};
  gateway_audit_write(context, &line);
}
