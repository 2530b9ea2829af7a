#include "driver/rig.h"

#include "base/error.h"
#include "net/clock.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

enum { CANCEL_TIMEOUT_MS = 10000 };

const char *rig_setting(const void *settings, const char *name)
{
  (void)settings;
  if (strcmp(name, "sqlite_confined") == 0) {
    return getenv("CENOTE_TEST_SQLITE_CONFINED");
  }
  return strcmp(name, "simple_wire") == 0 ? getenv("CENOTE_TEST_SIMPLE_WIRE") : NULL;
}

cenote_status rig_open(struct rig *rig, const cenote_driver *driver, const char *url, void *context,
                       cenote_error *error)
{
  *rig = (struct rig){
      .driver = driver,
      .params = {
          .size = sizeof(rig->params), .url = url, .context = context, .setting = rig_setting}};
  if (!driver->shared_new) {
    return CENOTE_OK;
  }
  cenote_status status = driver->shared_new(&rig->params, &rig->shared, error);
  rig->params.shared = rig->shared;
  return status;
}

void rig_close(struct rig *rig)
{
  if (rig->driver && rig->driver->shared_free && rig->shared) {
    rig->driver->shared_free(rig->shared);
  }
  *rig = (struct rig){0};
}

cenote_connection *rig_connect(struct rig *rig, cenote_error *error)
{
  cenote_connection *connection = NULL;
  if (rig->driver->create(&rig->params, &connection, error)) {
    return NULL;
  }
  if (rig_kind(rig, connection, CENOTE_REQUEST_OPEN, error)) {
    rig->driver->destroy(connection);
    return NULL;
  }
  return connection;
}

void rig_disconnect(struct rig *rig, cenote_connection *connection)
{
  if (connection) {
    (void)rig_kind(rig, connection, CENOTE_REQUEST_CLOSE, NULL);
    rig->driver->destroy(connection);
  }
}

static void wait_for(const cenote_wants *wants, int64_t deadline_ns, short *revents)
{
  struct pollfd fd = {.fd = wants->fd, .events = wants->events};
  int64_t until = wants->deadline_ns < deadline_ns ? wants->deadline_ns : deadline_ns;
  int timeout = cen_poll_timeout_ms(cen_now_ns(), until);
  int ready;
  do {
    ready = poll(&fd, wants->fd < 0 ? 0 : 1, timeout);
  } while (ready < 0 && errno == EINTR);
  *revents = ready > 0 ? fd.revents : 0;
}

cenote_status rig_run(struct rig *rig, cenote_connection *connection, const cenote_request *request,
                      cenote_error *error)
{
  const cenote_driver *driver = rig->driver;
  cenote_error local = CENOTE_ERROR_INIT;
  int64_t deadline = driver->flags & CENOTE_DRIVER_BLOCKING ? CEN_NEVER : request->deadline_ns;
  bool timed_out = false;
  cenote_step step;

  error = error ? error : &local;
  cen_error_clear(error);
  step = driver->start(connection, request, error);
  while (step == CENOTE_STEP_AGAIN) {
    cenote_wants wants = {.fd = -1, .deadline_ns = CEN_NEVER};
    short revents = 0;
    driver->wants(connection, &wants);
    wait_for(&wants, deadline, &revents);
    if (cen_now_ns() >= deadline) {
      (timed_out ? driver->abort : driver->cancel)(connection);
      const int64_t patience = rig->cancel_ms > 0 ? rig->cancel_ms : CANCEL_TIMEOUT_MS;
      deadline = timed_out ? CEN_NEVER : cen_deadline_ns(cen_now_ns(), patience);
      timed_out = true;
    }
    step = driver->advance(connection, revents, error);
  }
  if (step == CENOTE_STEP_DONE) {
    return CENOTE_OK;
  }
  if (timed_out && error->status == CENOTE_CANCELLED) {
    error->status = CENOTE_STATEMENT_TIMEOUT;
  }
  return error->status ? error->status : CENOTE_INTERNAL;
}

cenote_status rig_kind(struct rig *rig, cenote_connection *connection, cenote_request_kind kind,
                       cenote_error *error)
{
  cenote_request request = {
      .size = sizeof(request), .kind = kind, .deadline_ns = cen_deadline_ns(cen_now_ns(), 20000)};
  return rig_run(rig, connection, &request, error);
}

cenote_status rig_begin(struct rig *rig, cenote_connection *connection, cenote_batch_mode mode,
                        cenote_error *error)
{
  cenote_request request = {.size = sizeof(request),
                            .kind = CENOTE_REQUEST_BEGIN,
                            .mode = mode,
                            .deadline_ns = cen_deadline_ns(cen_now_ns(), 20000)};
  return rig_run(rig, connection, &request, error);
}

cenote_status rig_execute(struct rig *rig, cenote_connection *connection, const char *sql,
                          const cenote_value *args, size_t count, int64_t timeout_ms,
                          cenote_result **result, cenote_error *error)
{
  struct cenote_sink sink;
  cenote_error local = CENOTE_ERROR_INIT;
  cenote_request request = {.size = sizeof(request),
                            .kind = CENOTE_REQUEST_EXECUTE,
                            .sql = sql,
                            .args = args,
                            .count = count,
                            .sink = &sink,
                            .deadline_ns = cen_deadline_ns(cen_now_ns(), timeout_ms)};
  *result = NULL;
  cenote_status status = cen_sink_init_result(&sink, 0, 0, &local);
  if (status == CENOTE_OK) {
    status = rig_run(rig, connection, &request, error);
  }
  if (status == CENOTE_OK) {
    *result = cen_sink_take(&sink);
  }
  cen_sink_deinit(&sink);
  return status;
}

cenote_status rig_do(struct rig *rig, cenote_connection *connection, const char *sql)
{
  cenote_result *result = NULL;
  cenote_status status = rig_execute(rig, connection, sql, NULL, 0, 20000, &result, NULL);
  cenote_result_free(result);
  return status;
}

int64_t rig_integer(struct rig *rig, cenote_connection *connection, const char *sql)
{
  cenote_result *result = NULL;
  cenote_status status = rig_execute(rig, connection, sql, NULL, 0, 20000, &result, NULL);
  int64_t value = INT64_MIN;
  if (status == CENOTE_OK && cenote_result_rows(result) > 0) {
    value = cenote_result_integer(result, 0, 0);
  }
  cenote_result_free(result);
  return value;
}
