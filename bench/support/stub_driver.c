/* stub_driver.c - see stub_driver.h. Its URL may be anything, "stub:" here. */
#include "support/stub_driver.h"

#include <stdlib.h>

struct cenote_connection {
  int unused;
};

static cenote_status stub_create(const cenote_driver_params *params, cenote_connection **connection,
                                 cenote_error *error)
{
  (void)params;
  *connection = calloc(1, sizeof **connection);
  if (*connection == NULL) {
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory");
  }
  return CENOTE_OK;
}

static void stub_destroy(cenote_connection *connection)
{
  free(connection);
}

static cenote_step stub_start(cenote_connection *connection, const cenote_request *request,
                              cenote_error *error)
{
  (void)connection;
  (void)request;
  (void)error;
  return CENOTE_STEP_DONE;
}

static void stub_wants(const cenote_connection *connection, cenote_wants *wants)
{
  (void)connection;
  *wants = (cenote_wants){.fd = -1, .deadline_ns = INT64_MAX};
}

static cenote_step stub_advance(cenote_connection *connection, short revents, cenote_error *error)
{
  (void)connection;
  (void)revents;
  (void)error;
  return CENOTE_STEP_DONE;
}

static void stub_nothing(cenote_connection *connection)
{
  (void)connection;
}

static unsigned stub_session(const cenote_connection *connection)
{
  (void)connection;
  return 0;
}

static void *stub_resource(cenote_connection *connection)
{
  return connection;
}

const cenote_driver bench_stub_driver = {
    .size = sizeof(cenote_driver),
    .name = "stub",
    .flags = CENOTE_DRIVER_BLOCKING,
    .create = stub_create,
    .destroy = stub_destroy,
    .start = stub_start,
    .wants = stub_wants,
    .advance = stub_advance,
    .cancel = stub_nothing,
    .abort = stub_nothing,
    .session = stub_session,
    .taint = stub_nothing,
    .resource = stub_resource,
};
