/*
 * rig.h - drives any driver by hand, as the manager does: shared state, connections, requests
 * from start() to their end. For driver tests; one thread a connection.
 */
#ifndef TEST_RIG_H
#define TEST_RIG_H

#include <cenote/driver.h>

#include "base/result.h"

struct rig {
  const cenote_driver *driver;
  cenote_driver_params params;
  void *shared;
  int64_t cancel_ms; /* then what a cancel has not ended is aborted; 0: after long enough */
};

/* The settings simple_wire and sqlite_confined, if the environment has CENOTE_TEST_SIMPLE_WIRE or
 * CENOTE_TEST_SQLITE_CONFINED: tests run with both. */
const char *rig_setting(const void *settings, const char *name);

/* Makes the shared state; `context` goes to params.context. */
cenote_status rig_open(struct rig *rig, const cenote_driver *driver, const char *url, void *context,
                       cenote_error *error);
void rig_close(struct rig *rig);

/* create() and the request OPEN; NULL on failure, and *error says why. */
cenote_connection *rig_connect(struct rig *rig, cenote_error *error);
/* The request CLOSE and destroy(). */
void rig_disconnect(struct rig *rig, cenote_connection *connection);

/* Runs a request to its end. Its deadline is enforced as the manager does: a cancel, and ten
 * seconds later an abort. */
cenote_status rig_run(struct rig *rig, cenote_connection *connection, const cenote_request *request,
                      cenote_error *error);
cenote_status rig_kind(struct rig *rig, cenote_connection *connection, cenote_request_kind kind,
                       cenote_error *error);
cenote_status rig_begin(struct rig *rig, cenote_connection *connection, cenote_batch_mode mode,
                        cenote_error *error);

/* One statement with a result; *result NULL on failure. timeout_ms negative: none. */
cenote_status rig_execute(struct rig *rig, cenote_connection *connection, const char *sql,
                          const cenote_value *args, size_t count, int64_t timeout_ms,
                          cenote_result **result, cenote_error *error);

/* The same without arguments, result and deadline. */
cenote_status rig_do(struct rig *rig, cenote_connection *connection, const char *sql);
/* The first value of the first row as an integer, INT64_MIN on failure. */
int64_t rig_integer(struct rig *rig, cenote_connection *connection, const char *sql);

#endif
